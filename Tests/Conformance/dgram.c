// Datagram endpoints: plain datagrams, their limits and errors, multicast. Man pages: fi_endpoint(3), fi_msg(3), fi_cm(3).
//
// A datagram may be lost, on a bad network it will be. So nothing here waits for one particular datagram: what is sent is
// sent again until something arrives.
#include "fixture.h"

static char slot[4096];  // addresses serve as contexts

static const struct setup plain = {.caps = FI_MSG | FI_SOURCE, .ep_type = FI_EP_DGRAM};

// Sends `length` bytes from a to b, again and again, until the receive that was posted at b is over.
static void send_until_received(struct pair *pair, const void *bytes, size_t length, struct fi_cq_tagged_entry *entry) {
  double end = deadline_after(DEFAULT_WAIT), again = 0;
  for (;;) {
    if (seconds() >= again) {
      post(fi_inject(pair->a.ep, bytes, length, pair->to_b));
      again = seconds() + 0.02;
    }
    ssize_t result = fi_cq_read(pair->b.rx_cq, entry, 1);
    if (result == 1) return;
    if (result != -FI_EAGAIN) failed("fi_cq_read returned %zd", result);
    if (seconds() > end) failed("no datagram of %zu bytes arrived", length);
    drive_progress();
  }
}

CASE(attributes) {
  struct fi_info *info = find_info(&plain);
  assert_int_equal(info->ep_attr->type, FI_EP_DGRAM);
  assert_int_equal(info->ep_attr->protocol, FI_PROTO_UDP);
  assert_true(info->ep_attr->max_msg_size >= 1400);
  assert_int_equal(info->tx_attr->inject_size, info->ep_attr->max_msg_size);
  assert_int_equal(info->ep_attr->msg_prefix_size, 0);
  assert_int_equal(info->mode & FI_MSG_PREFIX, 0);
  uint64_t caps = FI_MSG | FI_SEND | FI_RECV | FI_SOURCE;
  assert_int_equal(info->caps & caps, caps);
  assert_int_equal(info->caps & (FI_TAGGED | FI_RMA | FI_ATOMIC), 0);
  assert_int_equal(info->tx_attr->msg_order, 0);
  fi_freeinfo(info);
}

CASE(offers_no_more_than_datagrams_do) {
  uint64_t caps[] = {FI_TAGGED, FI_RMA, FI_ATOMIC, FI_MSG | FI_DIRECTED_RECV};
  for (int i = 0; i < 4; i++) {
    struct fi_info *hints = new_hints(), *info = NULL;
    hints->ep_attr->type = FI_EP_DGRAM;
    hints->ep_attr->protocol = FI_PROTO_UDP;
    hints->caps = caps[i];
    assert_returns(fi_getinfo(DEFAULT_VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &info), -FI_ENODATA);
    fi_freeinfo(hints);
  }
  struct fi_info *hints = new_hints(), *info = NULL;
  hints->ep_attr->type = FI_EP_DGRAM;
  hints->ep_attr->protocol = FI_PROTO_UDP;
  hints->ep_attr->rx_ctx_cnt = FI_SHARED_CONTEXT;
  assert_returns(fi_getinfo(DEFAULT_VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &info), -FI_ENODATA);
  hints->ep_attr->rx_ctx_cnt = 1;
  hints->ep_attr->auth_key = malloc(4);
  hints->ep_attr->auth_key_size = 4;
  memset(hints->ep_attr->auth_key, 7, 4);
  assert_returns(fi_getinfo(DEFAULT_VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &info), -FI_ENODATA);
  fi_freeinfo(hints);
}

CASE(sizes) {
  struct pair pair;
  pair_open(&pair, &plain);
  size_t longest = pair.a.info->ep_attr->max_msg_size;
  size_t sizes[] = {1, 2, 63, 64, 65, 1000, longest - 1, longest};
  for (int i = 0; i < 8; i++) {
    char *out = allocate(sizes[i]), *in = allocate(sizes[i] + 16);
    fill(out, sizes[i], sizes[i]);
    struct fi_cq_tagged_entry entry = {0};
    while (entry.len != sizes[i]) {  // a shorter one that was sent once more may come first
      memset(in, 0xee, sizes[i] + 16);
      post(fi_recv(pair.b.ep, in, sizes[i], NULL, FI_ADDR_UNSPEC, &slot[0]));
      send_until_received(&pair, out, sizes[i], &entry);
    }
    assert_ptr_equal(entry.op_context, &slot[0]);
    assert_int_equal(entry.len, sizes[i]);
    assert_int_equal(entry.flags & FI_RECV, FI_RECV);
    verify(in, sizes[i], sizes[i]);
    verify_bytes(in + sizes[i], 16, 0xee);
    free(out);
    free(in);
  }
  pair_close(&pair);
}

CASE(send_completes_without_a_receive) {
  struct pair pair;
  pair_open(&pair, &plain);
  struct fi_cq_tagged_entry entry = {0};
  for (int i = 0; i < 100; i++) {
    post(fi_send(pair.a.ep, "datagram", 8, NULL, pair.to_b, &slot[i]));
    wait_completion(pair.a.tx_cq, &entry);
    assert_ptr_equal(entry.op_context, &slot[i]);
    assert_int_equal(entry.flags & FI_SEND, FI_SEND);
  }
  expect_quiet(pair.b.rx_cq, 20);
  pair_close(&pair);
}

CASE(vectors) {
  struct pair pair;
  pair_open(&pair, &plain);
  char out[300], first[100], second[50], third[200];
  fill(out, 300, 5);
  struct iovec pieces[] = {{first, 100}, {second, 50}, {third, 200}};
  post(fi_recvv(pair.b.ep, pieces, NULL, 3, FI_ADDR_UNSPEC, &slot[0]));
  struct iovec parts[] = {{out, 1}, {out + 1, 199}, {out + 200, 100}};
  struct fi_cq_tagged_entry entry = {0};
  double end = deadline_after(DEFAULT_WAIT);
  while (fi_cq_read(pair.b.rx_cq, &entry, 1) != 1) {
    struct fi_msg message = {.msg_iov = parts, .iov_count = 3, .addr = pair.to_b, .context = &slot[1]};
    post(fi_sendmsg(pair.a.ep, &message, 0));
    wait_for(pair.a.tx_cq, &slot[1]);
    post(fi_sendv(pair.a.ep, parts, NULL, 3, pair.to_b, &slot[2]));
    wait_for(pair.a.tx_cq, &slot[2]);
    if (seconds() > end) failed("no datagram arrived");
  }
  assert_int_equal(entry.len, 300);
  assert_memory_equal(first, out, 100);
  assert_memory_equal(second, out + 100, 50);
  assert_memory_equal(third, out + 150, 150);
  pair_close(&pair);
}

CASE(source) {
  struct pair pair;
  pair_open(&pair, &plain);
  char in[16];
  struct fi_cq_tagged_entry entry = {0};
  double end = deadline_after(DEFAULT_WAIT);
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  fi_addr_t from = 12345;
  while (fi_cq_readfrom(pair.b.rx_cq, &entry, 1, &from) != 1) {
    post(fi_inject(pair.a.ep, "who", 3, pair.to_b));
    sleep_ms(1);
    if (seconds() > end) failed("no datagram arrived");
  }
  assert_int_equal(from, pair.to_a);
  // A stranger is nobody.
  assert_success(fi_av_remove(pair.b.av, &pair.to_a, 1, 0));
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  end = deadline_after(DEFAULT_WAIT);
  while (fi_cq_readfrom(pair.b.rx_cq, &entry, 1, &from) != 1) {
    post(fi_inject(pair.a.ep, "who", 3, pair.to_b));
    sleep_ms(1);
    if (seconds() > end) failed("no datagram arrived");
  }
  assert_int_equal(from, FI_ADDR_NOTAVAIL);
  pair_close(&pair);
}

CASE(truncation_is_an_error) {
  struct pair pair;
  pair_open(&pair, &plain);
  char out[1000], in[116];
  fill(out, sizeof out, 3);
  memset(in, 0xee, sizeof in);
  post(fi_recv(pair.b.ep, in, 100, NULL, FI_ADDR_UNSPEC, &slot[7]));
  struct fi_cq_tagged_entry entry;
  double end = deadline_after(DEFAULT_WAIT);
  ssize_t result;
  while ((result = fi_cq_read(pair.b.rx_cq, &entry, 1)) == -FI_EAGAIN) {
    post(fi_inject(pair.a.ep, out, sizeof out, pair.to_b));
    sleep_ms(1);
    if (seconds() > end) failed("no datagram arrived");
  }
  assert_returns(result, -FI_EAVAIL);
  struct fi_cq_err_entry error = {0};
  assert_returns(fi_cq_readerr(pair.b.rx_cq, &error, 0), 1);
  assert_int_equal(error.err, FI_ETRUNC);
  assert_int_equal(error.olen, 900);
  assert_int_equal(error.len, 100);
  assert_ptr_equal(error.op_context, &slot[7]);
  assert_memory_equal(in, out, 100);
  verify_bytes(in + 100, 16, 0xee);
  pair_close(&pair);
}

CASE(too_large) {
  struct pair pair;
  pair_open(&pair, &plain);
  size_t longest = pair.a.info->ep_attr->max_msg_size;
  char *out = allocate(longest + 1);
  assert_fails(fi_send(pair.a.ep, out, longest + 1, NULL, pair.to_b, &slot[0]));
  assert_fails(fi_inject(pair.a.ep, out, longest + 1, pair.to_b));
  expect_quiet(pair.a.tx_cq, 5);
  free(out);
  pair_close(&pair);
}

CASE(unknown_destination) {
  struct pair pair;
  pair_open(&pair, &plain);
  assert_fails(fi_send(pair.a.ep, "x", 1, NULL, 77, &slot[0]));
  assert_fails(fi_inject(pair.a.ep, "x", 1, FI_ADDR_UNSPEC));
  pair_close(&pair);
}

CASE(nobody_there_is_no_error) {
  struct pair pair;
  pair_open(&pair, &plain);
  close_fid(pair.b.ep);
  pair.b.ep = NULL;
  for (int i = 0; i < 10; i++) {
    post(fi_send(pair.a.ep, "x", 1, NULL, pair.to_b, &slot[i]));
    wait_for(pair.a.tx_cq, &slot[i]);
    sleep_ms(1);
  }
  pair_close(&pair);
}

CASE(order_of_posting) {
  struct pair pair;
  pair_open(&pair, &plain);
  char in[200][8];
  for (int i = 0; i < 200; i++) post(fi_recv(pair.b.ep, in[i], 8, NULL, FI_ADDR_UNSPEC, &slot[i]));
  double end = deadline_after(DEFAULT_WAIT);
  struct fi_cq_tagged_entry entry;
  for (int got = 0; got < 200;) {
    post(fi_inject(pair.a.ep, "8 bytes.", 8, pair.to_b));
    while (got < 200 && fi_cq_read(pair.b.rx_cq, &entry, 1) == 1) {
      assert_ptr_equal(entry.op_context, &slot[got]);
      got++;
    }
    if (seconds() > end) failed("%d of 200 datagrams arrived", got);
  }
  pair_close(&pair);
}

CASE(what_nobody_wants_waits_in_the_socket) {
  struct pair pair;
  pair_open(&pair, &plain);
  for (int i = 0; i < 50; i++) post(fi_inject(pair.a.ep, "early", 5, pair.to_b));
  for (int i = 0; i < 10; i++) drive_progress();
  char in[16];
  struct fi_cq_tagged_entry entry = {0};
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  wait_completion(pair.b.rx_cq, &entry);
  assert_int_equal(entry.len, 5);
  assert_memory_equal(in, "early", 5);
  pair_close(&pair);
}

CASE(cancel) {
  struct pair pair;
  pair_open(&pair, &plain);
  char in[4][16];
  for (int i = 0; i < 4; i++) post(fi_recv(pair.b.ep, in[i], 16, NULL, FI_ADDR_UNSPEC, &slot[i]));
  long result = fi_cancel(&pair.b.ep->fid, &slot[1]);
  if (result == -FI_ENOSYS) unsupported("fi_cancel returned -FI_ENOSYS");
  assert_int_equal(result, 0);
  struct fi_cq_err_entry error = {0};
  wait_error(pair.b.rx_cq, &error);
  assert_int_equal(error.err, FI_ECANCELED);
  assert_ptr_equal(error.op_context, &slot[1]);
  struct fi_cq_tagged_entry entry = {0};
  send_until_received(&pair, "a", 1, &entry);
  assert_ptr_equal(entry.op_context, &slot[0]);
  send_until_received(&pair, "b", 1, &entry);
  assert_ptr_equal(entry.op_context, &slot[2]);
  assert_true(in[2][0] == 'a' || in[2][0] == 'b');
  assert_success(fi_cancel(&pair.b.ep->fid, &slot[99]));
  pair_close(&pair);
}

CASE(selective_completion) {
  struct setup setup = plain;
  setup.tx_bind_flags = setup.rx_bind_flags = FI_SELECTIVE_COMPLETION;
  struct pair pair;
  pair_open(&pair, &setup);
  char in[16];
  struct iovec piece = {in, sizeof in};
  struct fi_msg wanted = {.msg_iov = &piece, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .context = &slot[2]};
  post(fi_send(pair.a.ep, "quiet", 5, NULL, pair.to_b, &slot[0]));
  expect_quiet(pair.a.tx_cq, 10);
  struct iovec part = {"loud", 4};
  struct fi_msg message = {.msg_iov = &part, .iov_count = 1, .addr = pair.to_b, .context = &slot[1]};
  post(fi_sendmsg(pair.a.ep, &message, FI_COMPLETION));
  wait_for(pair.a.tx_cq, &slot[1]);
  post(fi_recvmsg(pair.b.ep, &wanted, FI_COMPLETION));
  struct fi_cq_tagged_entry entry = {0};
  send_until_received(&pair, "loud", 4, &entry);
  assert_ptr_equal(entry.op_context, &slot[2]);
  pair_close(&pair);
}

static struct fid_cntr *counters[2][2];  // of a, then of b: sent, received
static int nodes_counted;

static void bind_counters(struct node *node) {
  static const uint64_t kinds[] = {FI_SEND, FI_RECV};
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP};
  for (int i = 0; i < 2; i++) {
    assert_offered(fi_cntr_open(node->domain, &attributes, &counters[nodes_counted][i], NULL));
    assert_offered(fi_ep_bind(node->ep, &counters[nodes_counted][i]->fid, kinds[i]));
  }
  nodes_counted++;
}

CASE(counted) {
  struct setup setup = plain;
  setup.before_enable = bind_counters;
  struct pair pair;
  pair_open(&pair, &setup);
  char in[4];
  struct fi_cq_tagged_entry entry = {0};
  post(fi_send(pair.a.ep, "four", 4, NULL, pair.to_b, &slot[0]));
  wait_for(pair.a.tx_cq, &slot[0]);
  assert_int_equal(fi_cntr_read(counters[0][0]), 1);
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[1]));
  send_until_received(&pair, "four", 4, &entry);
  assert_int_equal(fi_cntr_read(counters[1][1]), 1);
  assert_true(fi_cntr_read(counters[0][0]) >= 2);
  assert_int_equal(fi_cntr_read(counters[1][0]), 0);
  // What does not fit is an error.
  post(fi_recv(pair.b.ep, in, 2, NULL, FI_ADDR_UNSPEC, &slot[2]));
  double end = deadline_after(DEFAULT_WAIT);
  while (fi_cq_read(pair.b.rx_cq, &entry, 1) != -FI_EAVAIL) {
    post(fi_inject(pair.a.ep, "four", 4, pair.to_b));
    sleep_ms(1);
    if (seconds() > end) failed("no datagram arrived");
  }
  assert_int_equal(fi_cntr_readerr(counters[1][1]), 1);
  assert_int_equal(fi_cntr_read(counters[1][1]), 1);
  close_fid(pair.a.ep);
  close_fid(pair.b.ep);
  pair.a.ep = pair.b.ep = NULL;
  for (int i = 0; i < 4; i++) close_fid(counters[i / 2][i % 2]);
  pair_close(&pair);
}

static void wait_with(enum fi_wait_obj object, enum fi_progress progress) {
  struct setup setup = plain;
  setup.wait_obj = object;
  setup.progress = progress;
  struct pair pair;
  pair_open(&pair, &setup);
  char in[16];
  struct fi_cq_tagged_entry entry = {0};
  // Nothing comes.
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  double begin = seconds();
  assert_returns(fi_cq_sread(pair.b.rx_cq, &entry, 1, NULL, 30), -FI_EAGAIN);
  assert_true(seconds() - begin >= 0.025);
  // Something does, again and again.
  for (int i = 0; i < 20; i++) {
    double end = deadline_after(DEFAULT_WAIT);
    ssize_t result;
    do {
      post(fi_inject(pair.a.ep, "wake", 4, pair.to_b));
      result = fi_cq_sread(pair.b.rx_cq, &entry, 1, NULL, 200);
      if (seconds() > end) failed("no datagram woke the reader");
    } while (result == -FI_EAGAIN);
    assert_returns(result, 1);
    assert_int_equal(entry.len, 4);
    post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  }
  pair_close(&pair);
}

CASE(sread) { wait_with(FI_WAIT_UNSPEC, FI_PROGRESS_UNSPEC); }
CASE(sread_with_a_descriptor) { wait_with(FI_WAIT_FD, FI_PROGRESS_UNSPEC); }
CASE(sread_with_manual_progress) { wait_with(FI_WAIT_UNSPEC, FI_PROGRESS_MANUAL); }

CASE(trywait) {
  struct setup setup = plain;
  setup.wait_obj = FI_WAIT_FD;
  struct pair pair;
  pair_open(&pair, &setup);
  int descriptor = -1;
  assert_offered(fi_control(&pair.b.rx_cq->fid, FI_GETWAIT, &descriptor));
  char in[16];
  struct fi_cq_tagged_entry entry = {0};
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  struct fid *queue = &pair.b.rx_cq->fid;
  for (int i = 0; i < 20; i++) {
    double end = deadline_after(DEFAULT_WAIT);
    for (;;) {
      post(fi_inject(pair.a.ep, "wake", 4, pair.to_b));
      int result = fi_trywait(pair.b.fabric, &queue, 1);
      if (result == FI_SUCCESS) {
        struct pollfd entry_of_poll = {.fd = descriptor, .events = POLLIN};
        poll(&entry_of_poll, 1, 100);
      } else {
        assert_returns(result, -FI_EAGAIN);
      }
      if (fi_cq_read(pair.b.rx_cq, &entry, 1) == 1) break;
      if (seconds() > end) failed("no datagram woke the reader");
    }
    assert_int_equal(entry.len, 4);
    post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  }
  pair_close(&pair);
}

// A datagram that nobody has posted a receive for must not keep sleepers awake.
CASE(unwanted_datagrams_let_sleepers_sleep) {
  struct setup setup = plain;
  setup.wait_obj = FI_WAIT_FD;
  struct pair pair;
  pair_open(&pair, &setup);
  int descriptor = -1;
  assert_offered(fi_control(&pair.b.rx_cq->fid, FI_GETWAIT, &descriptor));
  for (int i = 0; i < 20; i++) post(fi_inject(pair.a.ep, "early", 5, pair.to_b));
  sleep_ms(5);
  struct fid *queue = &pair.b.rx_cq->fid;
  struct fi_cq_tagged_entry entry;
  struct timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  assert_returns(fi_cq_sread(pair.b.rx_cq, &entry, 1, NULL, 200), -FI_EAGAIN);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  double used = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
  if (used > 0.1 * time_factor()) failed("sleeping 200 ms took %.0f ms of the processor", used * 1e3);
  assert_success(fi_trywait(pair.b.fabric, &queue, 1));
  struct pollfd entry_of_poll = {.fd = descriptor, .events = POLLIN};
  assert_int_equal(poll(&entry_of_poll, 1, 20), 0);
  // And a receive posted then gets it.
  char in[16];
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  wait_for(pair.b.rx_cq, &slot[0]);
  pair_close(&pair);
}

CASE(queue_of_receives_pushes_back) {
  struct setup setup = plain;
  setup.rx_size = 16;
  struct pair pair;
  pair_open(&pair, &setup);
  char in[16];
  long result = 0;
  int posted = 0;
  while (posted < 5000 && (result = fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0])) == 0) posted++;
  assert_returns(result, -FI_EAGAIN);
  assert_true(posted >= 16);
  struct fi_cq_tagged_entry entry = {0};
  send_until_received(&pair, "x", 1, &entry);
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  pair_close(&pair);
}

CASE(no_other_operations) {
  struct pair pair;
  pair_open(&pair, &plain);
  char byte = 0;
  assert_returns(fi_senddata(pair.a.ep, &byte, 1, NULL, 5, pair.to_b, NULL), -FI_ENOSYS);
  assert_returns(fi_injectdata(pair.a.ep, &byte, 1, 5, pair.to_b), -FI_ENOSYS);
  pair_close(&pair);
}

// What plain datagrams have no place for needs another protocol.
static struct fi_info *find_carried(void (*ask)(struct fi_info *hints)) {
  struct fi_info *hints = new_hints(), *info = NULL;
  hints->ep_attr->type = FI_EP_DGRAM;
  ask(hints);
  int result = fi_getinfo(DEFAULT_VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &info);
  fi_freeinfo(hints);
  if (result == -FI_ENODATA) unsupported("datagrams with more than bytes");
  assert_success(result);
  assert_int_equal(info->ep_attr->type, FI_EP_DGRAM);
  assert_true(info->ep_attr->protocol != FI_PROTO_UDP);
  return info;
}

static void ask_shared_contexts(struct fi_info *hints) {
  hints->ep_attr->tx_ctx_cnt = hints->ep_attr->rx_ctx_cnt = FI_SHARED_CONTEXT;
}

CASE(shared_contexts_are_offered_by_another_protocol) {
  struct fi_info *info = find_carried(ask_shared_contexts);
  assert_int_equal(info->ep_attr->tx_ctx_cnt, FI_SHARED_CONTEXT);
  assert_int_equal(info->ep_attr->rx_ctx_cnt, FI_SHARED_CONTEXT);
  fi_freeinfo(info);
}

static void ask_remote_data(struct fi_info *hints) { hints->domain_attr->cq_data_size = 4; }

CASE(remote_cq_data_is_offered_by_another_protocol) {
  struct fi_info *info = find_carried(ask_remote_data);
  assert_true(info->domain_attr->cq_data_size >= 4);
  fi_freeinfo(info);
}

CASE(tagged_datagrams_carry_remote_cq_data) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.caps = FI_MSG | FI_TAGGED, .ep_type = FI_EP_DGRAM});
  char in[5] = "";
  post(fi_trecv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, 7, 0, &slot[1]));
  post(fi_tsenddata(pair.a.ep, "tagged", 5, NULL, 0x5a5a, pair.to_b, 7, &slot[2]));
  struct fi_cq_tagged_entry entry;
  wait_completion(pair.b.rx_cq, &entry);
  assert_ptr_equal(entry.op_context, &slot[1]);
  assert_int_equal(entry.tag, 7);
  assert_int_equal(entry.data, 0x5a5a);
  assert_int_equal(entry.flags & FI_REMOTE_CQ_DATA, FI_REMOTE_CQ_DATA);
  assert_memory_equal(in, "tagge", 5);
  wait_for(pair.a.tx_cq, &slot[2]);
  pair_close(&pair);
}

CASE(to_itself) {
  struct pair pair;
  pair_open(&pair, &plain);
  fi_addr_t own = node_insert(&pair.b, pair.b.address);
  char in[16];
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  struct fi_cq_tagged_entry entry = {0};
  double end = deadline_after(DEFAULT_WAIT);
  while (fi_cq_read(pair.b.rx_cq, &entry, 1) != 1) {
    post(fi_inject(pair.b.ep, "me", 2, own));
    sleep_ms(1);
    if (seconds() > end) failed("no datagram arrived");
  }
  assert_int_equal(entry.len, 2);
  pair_close(&pair);
}

CASE(plain_sockets_are_peers) {
  struct node node;
  node_open(&node, &plain);
  int peer = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(bind(peer, (struct sockaddr *)&address, sizeof address), 0);
  socklen_t length = sizeof address;
  assert_int_equal(getsockname(peer, (struct sockaddr *)&address, &length), 0);
  fi_addr_t to_peer = node_insert(&node, &address);
  // What goes out is the program's bytes and nothing else.
  char bytes[64];
  post(fi_inject(node.ep, "just these", 10, to_peer));
  struct pollfd ready = {.fd = peer, .events = POLLIN};
  assert_int_equal(poll(&ready, 1, 2000), 1);
  assert_int_equal(recv(peer, bytes, sizeof bytes, 0), 10);
  assert_memory_equal(bytes, "just these", 10);
  // And so comes what comes in.
  char in[64];
  post(fi_recv(node.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  struct fi_cq_tagged_entry entry = {0};
  fi_addr_t from = 0;
  double end = deadline_after(DEFAULT_WAIT);
  while (fi_cq_readfrom(node.rx_cq, &entry, 1, &from) != 1) {
    sendto(peer, "and these", 9, 0, (struct sockaddr *)node.address, (socklen_t)node.address_length);
    sleep_ms(1);
    if (seconds() > end) failed("no datagram arrived");
  }
  assert_int_equal(entry.len, 9);
  assert_memory_equal(in, "and these", 9);
  assert_int_equal(from, to_peer);
  close(peer);
  node_close(&node);
}

CASE(opened_and_closed_ten_thousand_times) {
  struct node host;
  node_open(&host, &plain);
  for (int i = 0; i < 10000; i++) {
    struct node node;
    node_open_beside(&node, &host, &plain);
    node_close(&node);
  }
  node_close(&host);
}

// ---- multicast ----------------------------------------------------------------------------------------------------

static const struct setup multicast = {.caps = FI_MSG | FI_MULTICAST, .ep_type = FI_EP_DGRAM};

static struct fid_eq *eq_open(struct node *node) {
  struct fi_eq_attr attributes = {.wait_obj = FI_WAIT_UNSPEC};
  struct fid_eq *eq = NULL;
  assert_success(fi_eq_open(node->fabric, &attributes, &eq, NULL));
  return eq;
}

// A node with an event queue. Upstream's provider has one socket: it receives what is sent to a group only when it is
// bound to no address, and to the group's port.
static struct fid_eq *member_open_at(struct node *node, const struct sockaddr_in *own) {
  node_open_domain(node, &multicast);
  struct fid_eq *eq = eq_open(node);
  node->av = av_open(node, FI_AV_UNSPEC);
  node->tx_cq = cq_open(node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 256);
  node->rx_cq = cq_open(node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 256);
  if (own) memcpy(node->info->src_addr, own, sizeof *own);
  assert_success(fi_endpoint(node->domain, node->info, &node->ep, NULL));
  assert_success(fi_ep_bind(node->ep, &node->av->fid, 0));
  assert_success(fi_ep_bind(node->ep, &eq->fid, 0));
  assert_success(fi_ep_bind(node->ep, &node->tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(node->ep, &node->rx_cq->fid, FI_RECV));
  assert_success(fi_enable(node->ep));
  watch_cq(node->tx_cq);
  watch_cq(node->rx_cq);
  return eq;
}

static struct fid_eq *member_open(struct node *node) { return member_open_at(node, NULL); }

static void member_close(struct node *node, struct fid_eq *eq) {
  close_fid(node->ep);
  node->ep = NULL;
  close_fid(eq);
  node_close(node);
}

static struct sockaddr_in group_address(int last) {
  // A port of the test's own, lest the datagrams of tests that run beside it come here.
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(20000 + getpid() % 10000))};
  address.sin_addr.s_addr = htonl(0xefff1600u + (uint32_t)last);  // 239.255.22.x
  return address;
}

static struct fid_mc *join(struct node *node, struct fid_eq *eq, const struct sockaddr_in *address, uint64_t flags) {
  struct fid_mc *group = NULL;
  assert_offered(fi_join(node->ep, address, flags, &group, &slot[50]));
  uint32_t event = 0;
  struct fi_eq_entry entry = {0};
  double end = deadline_after(DEFAULT_WAIT);
  ssize_t result;
  while ((result = fi_eq_read(eq, &event, &entry, sizeof entry, 0)) == -FI_EAGAIN && seconds() < end) sleep_ms(1);
  assert_returns(result, (long)sizeof entry);
  assert_int_equal(event, FI_JOIN_COMPLETE);
  assert_ptr_equal(entry.fid, &group->fid);
  assert_ptr_equal(entry.context, &slot[50]);
  return group;
}

static void send_to_group(struct node *node, fi_addr_t group, const char *text) {
  struct iovec part = {(void *)text, strlen(text)};
  struct fi_msg message = {.msg_iov = &part, .iov_count = 1, .addr = group, .context = &slot[60]};
  post(fi_sendmsg(node->ep, &message, FI_MULTICAST));
  wait_for(node->tx_cq, &slot[60]);
}

// Sends to the group until the receive that was posted at `node` is over.
static void send_until(struct node *sender, fi_addr_t group, struct node *node, const char *text) {
  struct fi_cq_tagged_entry entry = {0};
  double end = deadline_after(DEFAULT_WAIT);
  while (fi_cq_read(node->rx_cq, &entry, 1) != 1) {
    send_to_group(sender, group, text);
    sleep_ms(1);
    if (seconds() > end) failed("nothing that was sent to the group arrived");
  }
  assert_int_equal(entry.len, strlen(text));
}

CASE(multicast_reaches_members) {
  struct node a, b, c;
  struct fid_eq *eq_a = member_open(&a), *eq_b = member_open(&b), *eq_c = member_open(&c);
  struct sockaddr_in address = group_address(1), other = group_address(2);
  struct fid_mc *at_a = join(&a, eq_a, &address, FI_SEND);
  struct fid_mc *at_b = join(&b, eq_b, &address, 0);
  struct fid_mc *at_c = join(&c, eq_c, &address, FI_RECV);
  struct fid_mc *elsewhere = join(&c, eq_c, &other, FI_SEND);
  char in_a[16], in_b[16], in_c[16];
  post(fi_recv(a.ep, in_a, 16, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_recv(b.ep, in_b, 16, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post(fi_recv(c.ep, in_c, 16, NULL, FI_ADDR_UNSPEC, &slot[2]));
  // Nobody is a receiving member of the other group.
  for (int i = 0; i < 5; i++) send_to_group(&c, fi_mc_addr(elsewhere), "nobody");
  expect_quiet(b.rx_cq, 10);
  expect_quiet(c.rx_cq, 10);
  send_until(&a, fi_mc_addr(at_a), &b, "all of you");
  assert_memory_equal(in_b, "all of you", 10);
  send_until(&a, fi_mc_addr(at_a), &c, "all of you");
  assert_memory_equal(in_c, "all of you", 10);
  // A member that only sends receives nothing; one that does both hears itself.
  expect_quiet(a.rx_cq, 10);
  post(fi_recv(b.ep, in_b, 16, NULL, FI_ADDR_UNSPEC, &slot[1]));
  send_until(&b, fi_mc_addr(at_b), &b, "myself too");
  close_fid(elsewhere);
  close_fid(at_a);
  close_fid(at_b);
  close_fid(at_c);
  member_close(&c, eq_c);
  member_close(&b, eq_b);
  member_close(&a, eq_a);
}

CASE(multicast_ends_when_the_group_is_left) {
  struct node a, b;
  struct fid_eq *eq_a = member_open(&a), *eq_b = member_open(&b);
  struct sockaddr_in address = group_address(3);
  struct fid_mc *at_a = join(&a, eq_a, &address, FI_SEND), *at_b = join(&b, eq_b, &address, 0);
  char in[16];
  post(fi_recv(b.ep, in, 16, NULL, FI_ADDR_UNSPEC, &slot[0]));
  send_until(&a, fi_mc_addr(at_a), &b, "member");
  assert_returns(fi_close(&b.ep->fid), -FI_EBUSY);
  close_fid(at_b);
  post(fi_recv(b.ep, in, 16, NULL, FI_ADDR_UNSPEC, &slot[0]));
  for (int i = 0; i < 5; i++) send_to_group(&a, fi_mc_addr(at_a), "gone");
  expect_quiet(b.rx_cq, 20);
  // And begins anew.
  at_b = join(&b, eq_b, &address, 0);
  send_until(&a, fi_mc_addr(at_a), &b, "again");
  close_fid(at_b);
  close_fid(at_a);
  member_close(&b, eq_b);
  member_close(&a, eq_a);
}

CASE(multicast_with_members_bound_to_no_address) {
  struct sockaddr_in address = group_address(6), any = {.sin_family = AF_INET}, port = any;
  port.sin_port = address.sin_port;
  struct node a, b;
  struct fid_eq *eq_a = member_open_at(&a, &any), *eq_b = member_open_at(&b, &port);
  struct fid_mc *at_a = join(&a, eq_a, &address, 0), *at_b = join(&b, eq_b, &address, 0);
  char in[16];
  post(fi_recv(b.ep, in, 16, NULL, FI_ADDR_UNSPEC, &slot[0]));
  send_until(&a, fi_mc_addr(at_a), &b, "to the port");
  close_fid(at_b);
  close_fid(at_a);
  member_close(&b, eq_b);
  member_close(&a, eq_a);
}

CASE(multicast_by_default_flags) {
  struct node receiver;
  struct fid_eq *eq = member_open(&receiver);
  struct setup setup = multicast;
  struct node sender;
  node_open_domain(&sender, &setup);
  sender.info->tx_attr->op_flags = FI_MULTICAST;
  struct fid_eq *sender_eq = eq_open(&sender);
  sender.av = av_open(&sender, FI_AV_UNSPEC);
  sender.tx_cq = cq_open(&sender, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 256);
  assert_success(fi_endpoint(sender.domain, sender.info, &sender.ep, NULL));
  assert_success(fi_ep_bind(sender.ep, &sender.av->fid, 0));
  assert_success(fi_ep_bind(sender.ep, &sender_eq->fid, 0));
  assert_success(fi_ep_bind(sender.ep, &sender.tx_cq->fid, FI_TRANSMIT | FI_RECV));
  assert_success(fi_enable(sender.ep));
  struct sockaddr_in address = group_address(4);
  struct fid_mc *at_sender = join(&sender, sender_eq, &address, FI_SEND), *at = join(&receiver, eq, &address, 0);
  char in[16];
  struct fi_cq_tagged_entry entry = {0};
  post(fi_recv(receiver.ep, in, 16, NULL, FI_ADDR_UNSPEC, &slot[0]));
  double end = deadline_after(DEFAULT_WAIT);
  while (fi_cq_read(receiver.rx_cq, &entry, 1) != 1) {
    post(fi_send(sender.ep, "sent", 4, NULL, fi_mc_addr(at_sender), &slot[1]));
    wait_for(sender.tx_cq, &slot[1]);
    if (seconds() > end) failed("nothing that was sent to the group arrived");
    sleep_ms(1);
  }
  post(fi_recv(receiver.ep, in, 16, NULL, FI_ADDR_UNSPEC, &slot[0]));
  while (fi_cq_read(receiver.rx_cq, &entry, 1) != 1 || entry.len != 8) {
    (void)!fi_recv(receiver.ep, in, 16, NULL, FI_ADDR_UNSPEC, &slot[0]);
    post(fi_inject(sender.ep, "injected", 8, fi_mc_addr(at_sender)));
    if (seconds() > end) failed("nothing that was injected to the group arrived");
    sleep_ms(1);
  }
  close_fid(at_sender);
  close_fid(at);
  close_fid(sender.ep);
  sender.ep = NULL;
  close_fid(sender_eq);
  node_close(&sender);
  member_close(&receiver, eq);
}

CASE(multicast_refusals) {
  struct node node;
  node_open_domain(&node, &multicast);
  struct fid_eq *eq = eq_open(&node);
  struct sockaddr_in address = group_address(5), host = address;
  host.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  struct fid_mc *group = NULL;
  struct pair pair;
  pair_open(&pair, &multicast);
  assert_returns(fi_join(pair.a.ep, &address, 0, &group, NULL), -FI_ENOEQ);
  pair_close(&pair);
  node.av = av_open(&node, FI_AV_UNSPEC);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 256);
  assert_success(fi_endpoint(node.domain, node.info, &node.ep, NULL));
  assert_success(fi_ep_bind(node.ep, &eq->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT | FI_RECV));
  assert_fails(fi_join(node.ep, &address, 0, &group, NULL));
  assert_success(fi_enable(node.ep));
  assert_fails(fi_join(node.ep, &host, 0, &group, NULL));
  assert_fails(fi_join(node.ep, &address, FI_RMA, &group, NULL));
  struct iovec part = {"x", 1};
  struct fi_msg message = {.msg_iov = &part, .iov_count = 1, .addr = 12345, .context = &slot[0]};
  assert_fails(fi_sendmsg(node.ep, &message, FI_MULTICAST));
  close_fid(node.ep);
  node.ep = NULL;
  close_fid(eq);
  node_close(&node);
}
