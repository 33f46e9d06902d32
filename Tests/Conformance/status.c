// What the library tells of itself and of its traffic: fi_polyfill_status of rdma/fi_ext_polyfill.h; the same numbers in
// profiles, fi_profile(3).
#include "fixture.h"

#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <rdma/fi_ext_polyfill.h>
#include <rdma/fi_profile.h>

typedef int status_function(struct fid *fid, struct fi_polyfill_report *report, size_t size);

static status_function *status_call(void) {
  status_function *function = (status_function *)dlsym(RTLD_DEFAULT, "fi_polyfill_status");
  if (!function) unsupported("there is no fi_polyfill_status");
  return function;
}

static struct fi_polyfill_report status(void *object) {
  struct fi_polyfill_report report;
  memset(&report, 0xee, sizeof report);
  assert_success(status_call()(object, &report, sizeof report));
  assert_int_equal(report.size, sizeof report);
  return report;
}

// Sends `count` messages of `length` bytes from a to b, and checks each.
static void send_messages(struct pair *pair, int count, size_t length) {
  char *source = allocate(length), *target = allocate(length);
  for (int i = 0; i < count; i++) {
    fill(source, length, (uint64_t)i);
    memset(target, 0, length);
    post(fi_recv(pair->b.ep, target, length, NULL, FI_ADDR_UNSPEC, target));
    post(fi_send(pair->a.ep, source, length, NULL, pair->to_b, source));
    wait_for(pair->b.rx_cq, target);
    wait_for(pair->a.tx_cq, source);
    verify(target, length, (uint64_t)i);
  }
  free(source);
  free(target);
}

static bool is_set(const char *name) {
  const char *value = getenv(name);
  return value && *value && strcmp(value, "0") != 0;
}

CASE(process_without_objects) {
  struct fi_polyfill_report report = status(NULL);
  assert_int_equal(report.sockets + report.sessions + report.packets_sent + report.datagrams_sent, 0);
  assert_int_equal(report.rtt_mean + report.congestion_window + report.smallest_mtu, 0);
  assert_true(report.version >= FI_VERSION(1, 0));
}

CASE(level_and_its_reason) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct fi_polyfill_report report = status(&pair.a.ep->fid);
  assert_int_equal(report.level, FI_POLYFILL_UDP);
  assert_true(report.mode <= FI_POLYFILL_MODE_NATIVE);
  assert_true(report.native != FI_POLYFILL_NATIVE_CHOSEN && report.native != FI_POLYFILL_NATIVE_HOST);
  assert_non_null(report.reason);
  assert_true(strlen(report.reason) > 0 && !strchr(report.reason, '\n'));
  pair_close(&pair);
}

CASE(traffic_moves_the_numbers) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct fi_polyfill_report before = status(&pair.a.ep->fid);
  assert_int_equal(before.sessions, 0);
  assert_int_equal(before.sockets, 1);
  enum { count = 40, length = 3000 };
  send_messages(&pair, count, length);
  struct fi_polyfill_report a = status(&pair.a.ep->fid), b = status(&pair.b.ep->fid);
  assert_int_equal(a.sessions, 1);
  assert_int_equal(b.sessions, 1);
  assert_int_equal(a.sessions_requested, 1);
  assert_int_equal(b.sessions_accepted, 1);
  assert_true(a.bytes_sent >= count * length && b.bytes_received >= count * length);
  assert_true(a.packets_sent > 0 && a.packets_received > 0 && b.packets_received > 0);
  assert_true(a.datagrams_sent >= a.packets_sent);
  assert_true(a.send_calls > 0 && b.receive_calls > 0 && b.receive_buffers > 0);
  assert_true(a.rtt_shortest > 0 && a.rtt_shortest <= a.rtt_mean && a.rtt_mean <= a.rtt_longest);
  assert_true(a.rtt_longest < 5000000000);
  assert_true(a.congestion_window >= 2 * a.smallest_mtu);
  assert_true(a.smallest_mtu >= 1200 && a.smallest_mtu <= 65535);
  assert_int_equal(a.sessions_failed + b.sessions_failed, 0);
  assert_int_equal(b.receive_contexts, 1);
  pair_close(&pair);
}

CASE(domain_is_the_sum_of_its_endpoints) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.same_domain = true});
  send_messages(&pair, 20, 2000);
  wait_until(status(&pair.a.ep->fid).bytes_in_flight + status(&pair.b.ep->fid).bytes_in_flight == 0);
  struct fi_polyfill_report domain = status(&pair.a.domain->fid);
  assert_int_equal(domain.sessions, 2);
  assert_int_equal(domain.sockets, 2);
  assert_int_equal(domain.receive_contexts, 2);
  // What the helper thread does meanwhile may only add.
  struct fi_polyfill_report a = status(&pair.a.ep->fid), b = status(&pair.b.ep->fid);
  assert_true(domain.packets_sent > 0 && domain.packets_sent <= a.packets_sent + b.packets_sent);
  assert_true(domain.bytes_sent >= 20 * 2000 && domain.bytes_sent <= a.bytes_sent + b.bytes_sent);
  assert_success(fi_close(&pair.b.ep->fid));
  pair.b.ep = NULL;
  struct fi_polyfill_report after = status(&pair.a.domain->fid);
  assert_int_equal(after.sockets, 1);
  assert_true(after.packets_sent >= a.packets_sent + b.packets_sent);
  pair_close(&pair);
}

CASE(process_remembers_what_is_closed) {
  struct pair pair;
  pair_open(&pair, NULL);
  send_messages(&pair, 20, 2000);
  struct fi_polyfill_report a = status(&pair.a.ep->fid), b = status(&pair.b.ep->fid), open = status(NULL);
  assert_int_equal(open.sockets, 2);
  assert_true(open.bytes_sent >= a.bytes_sent + b.bytes_sent);
  pair_close(&pair);
  struct fi_polyfill_report closed = status(NULL);
  assert_int_equal(closed.sockets + closed.sessions + closed.receive_contexts, 0);
  assert_true(closed.bytes_sent >= open.bytes_sent && closed.packets_received >= open.packets_received);
  pair_open(&pair, NULL);
  send_messages(&pair, 5, 2000);
  assert_true(status(NULL).bytes_sent >= closed.bytes_sent + 5 * 2000);
  pair_close(&pair);
}

CASE(numbers_are_those_of_profiles) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.progress = FI_PROGRESS_MANUAL});
  send_messages(&pair, 20, 2000);
  struct fid_profile *profile = NULL;
  assert_offered(fi_profile_open(&pair.a.ep->fid, 0, &profile, NULL));
  size_t count = 0;
  assert_returns(fi_profile_query_vars(profile, NULL, &count), 0);
  struct fi_profile_desc list[128];
  assert_true(count <= 128);
  assert_returns(fi_profile_query_vars(profile, list, &count), count);
  struct fi_polyfill_report report = status(&pair.a.ep->fid);
  uint64_t *number = &report.unexpected_messages, *end = (uint64_t *)(&report + 1);
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) {
    if (list[i].datatype_sel != fi_primitive_type) continue;
    assert_true(number < end);
    uint64_t value = 0;
    assert_success(fi_profile_read_u64(profile, list[i].id, &value));
    if (value != *number) failed("%s is %llu, not %llu", list[i].name, (unsigned long long)value, (unsigned long long)*number);
    if (strcmp(list[i].name, "polyfill_bytes_sent") == 0) assert_ptr_equal(number, &report.bytes_sent);
    if (strcmp(list[i].name, "polyfill_strangers") == 0) assert_ptr_equal(number, &report.strangers);
    if (strcmp(list[i].name, "polyfill_kernel_drops") == 0) assert_ptr_equal(number, &report.kernel_drops);
    if (strcmp(list[i].name, "polyfill_rtt_mean") == 0) assert_ptr_equal(number, &report.rtt_mean);
    if (strcmp(list[i].name, "polyfill_sockets_splicing") == 0) assert_ptr_equal(number, &report.sockets_splicing);
    sum += value;
    number++;
  }
  assert_ptr_equal(number, end);
  assert_true(sum > 20 * 2000);
  assert_success(fi_close(&profile->fid));
  pair_close(&pair);
}

CASE(losses_are_told) {
  setenv("FI_POLYFILL_FAULT", "loss=0.1,dup=0.05,seed=11", 1);
  struct pair pair;
  pair_open(&pair, NULL);
  send_messages(&pair, 150, 8000);
  struct fi_polyfill_report report = status(NULL);
  assert_true(report.dropped_on_purpose > 0);
  assert_true(report.packets_lost > 0);
  assert_true(report.frames_retransmitted > 0);
  assert_true(report.duplicates > 0);
  assert_int_equal(report.malformed, 0);
  pair_close(&pair);
}

CASE(datagrams_of_nobody_are_told) {
  struct pair pair;
  pair_open(&pair, NULL);
  send_messages(&pair, 1, 100);
  struct sockaddr_in address;
  memcpy(&address, pair.b.address, sizeof address);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  // A header of data for a session that does not exist, and bytes that are nothing at all.
  char nonsense[64];
  memset(nonsense, 0xff, sizeof nonsense);
  struct fi_polyfill_report before = status(&pair.b.ep->fid), after;
  double again = 0;
  wait_until((seconds() < again || (again = seconds() + 0.02,
                                    sendto(fd, nonsense, sizeof nonsense, 0, (void *)&address, sizeof address) > 0)) &&
             (after = status(&pair.b.ep->fid), after.malformed + after.strangers > before.malformed + before.strangers));
  close(fd);
  send_messages(&pair, 3, 100);
  pair_close(&pair);
}

CASE(sockets_and_what_they_use) {
  bool plain = is_set("FI_POLYFILL_PORTABLE") || is_set("FI_POLYFILL_FAULT");
  struct pair pair;
  pair_open(&pair, NULL);
  send_messages(&pair, 300, 100);
  struct fi_polyfill_report a = status(&pair.a.ep->fid);
  assert_int_equal(a.sockets, 1);
  assert_true(a.sockets_gso <= 1 && a.sockets_gro <= 1 && a.sockets_splicing <= a.sockets_connected);
  if (!plain) assert_int_equal(a.sockets_connected, 1);
  if (is_set("FI_POLYFILL_PORTABLE")) assert_int_equal(a.sockets_gso + a.sockets_gro + a.sockets_connected, 0);
  pair_close(&pair);
}

CASE(sizes_of_other_versions) {
  struct pair pair;
  pair_open(&pair, NULL);
  send_messages(&pair, 3, 100);
  status_function *call = status_call();
  char bytes[2 * sizeof(struct fi_polyfill_report)];
  struct fi_polyfill_report *report = (struct fi_polyfill_report *)bytes;
  memset(bytes, 0xee, sizeof bytes);
  assert_success(call(&pair.a.ep->fid, report, offsetof(struct fi_polyfill_report, bytes_sent)));
  assert_int_equal(report->size, offsetof(struct fi_polyfill_report, bytes_sent));
  assert_true(report->packets_sent > 0 && report->packets_sent < 1000);
  verify_bytes(&report->bytes_sent, sizeof bytes - offsetof(struct fi_polyfill_report, bytes_sent), 0xee);
  assert_success(call(NULL, report, 8));
  assert_int_equal(report->size, 8);
  memset(bytes, 0xee, sizeof bytes);
  assert_success(call(NULL, report, sizeof bytes));
  assert_int_equal(report->size, sizeof *report);
  verify_bytes(report + 1, sizeof bytes - sizeof *report, 0);
  pair_close(&pair);
}

CASE(what_has_no_status) {
  struct node node;
  node_open(&node, NULL);
  status_function *call = status_call();
  struct fi_polyfill_report report;
  assert_returns(call(&node.ep->fid, NULL, sizeof report), -FI_EINVAL);
  assert_returns(call(&node.ep->fid, &report, 7), -FI_EINVAL);
  assert_returns(call(&node.ep->fid, &report, 0), -FI_EINVAL);
  struct fid *others[] = {&node.fabric->fid, &node.tx_cq->fid, &node.av->fid};
  for (int i = 0; i < 3; i++) assert_returns(call(others[i], &report, sizeof report), -FI_EINVAL);
  // An object that is not the library's.
  struct fi_ops ops = {.size = sizeof ops};
  struct fid_domain foreign = {.fid = {.fclass = FI_CLASS_DOMAIN, .ops = &ops}};
  struct fid_ep stranger = {.fid = {.fclass = FI_CLASS_EP, .ops = &ops}};
  assert_int_equal(status(&foreign.fid).level, FI_POLYFILL_NATIVE);
  assert_int_equal(status(&stranger.fid).level, FI_POLYFILL_NATIVE);
  assert_int_equal(status(&stranger.fid).sockets, 0);
  node_close(&node);
}

CASE(datagram_endpoints) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.ep_type = FI_EP_DGRAM, .caps = FI_MSG});
  struct fi_polyfill_report before = status(&pair.a.ep->fid);
  assert_int_equal(before.sockets, 1);
  for (int i = 0; i < 10; i++) post(fi_inject(pair.a.ep, "datagram", 8, pair.to_b));
  struct fi_polyfill_report after = status(&pair.a.ep->fid);
  assert_int_equal(after.datagrams_sent, before.datagrams_sent + 10);
  assert_int_equal(after.sessions + after.packets_sent, 0);
  assert_int_equal(status(&pair.a.domain->fid).datagrams_sent, 10);
  pair_close(&pair);
  assert_int_equal(status(NULL).datagrams_sent, 10);
}

CASE(endpoint_that_is_not_enabled) {
  struct node node;
  node_open_domain(&node, NULL);
  assert_success(fi_endpoint(node.domain, node.info, &node.ep, NULL));
  assert_int_equal(status(&node.ep->fid).sockets, 0);
  node_close(&node);
}

CASE(scalable_endpoint) {
  struct node node;
  node_open_domain(&node, &(struct setup){.caps = FI_MSG | FI_NAMED_RX_CTX});
  node.info->ep_attr->tx_ctx_cnt = node.info->ep_attr->rx_ctx_cnt = 3;
  struct fid_ep *sep = NULL, *tx = NULL;
  assert_offered(fi_scalable_ep(node.domain, node.info, &sep, NULL));
  assert_success(fi_tx_context(sep, 0, NULL, &tx, NULL));
  assert_int_equal(status(&sep->fid).level, FI_POLYFILL_UDP);
  struct fi_polyfill_report report;
  assert_returns(status_call()(&tx->fid, &report, sizeof report), -FI_EINVAL);
  close_fid(tx);
  close_fid(sep);
  node_close(&node);
}

static void *ask_often(void *stop) {
  while (!*(_Atomic bool *)stop) status(NULL);
  return NULL;
}

CASE(asked_from_another_thread) {
  status_call();
  _Atomic bool stop = false;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, ask_often, (void *)&stop), 0);
  for (int i = 0; i < 5; i++) {
    struct pair pair;
    pair_open(&pair, NULL);
    send_messages(&pair, 100, 1000);
    pair_close(&pair);
  }
  stop = true;
  pthread_join(thread, NULL);
}
