// Completion queues. Man page: fi_cq(3).
#include "fixture.h"

// Sends `count` messages from a to b, received into the queue of b; contexts are &slots[i].
static char slots[256];

static void exchange(struct pair *pair, int count) {
  static char buffer[256];
  for (int i = 0; i < count; i++) post(fi_recv(pair->b.ep, buffer + i, 1, NULL, FI_ADDR_UNSPEC, &slots[i]));
  for (int i = 0; i < count; i++) {
    post(fi_send(pair->a.ep, "x", 1, NULL, pair->to_b, &slots[i]));
    wait_for(pair->a.tx_cq, &slots[i]);
  }
}

// Makes one error completion in b's receive queue.
static void make_error(struct node *node, void *context) {
  static char buffer[8];
  post(fi_recv(node->ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, context));
  assert_success(fi_cancel(&node->ep->fid, context));
}

// ---- opening ------------------------------------------------------------------------------------------------------

CASE(open_has_class_and_context) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fi_cq_attr attributes = {.format = FI_CQ_FORMAT_CONTEXT};
  struct fid_cq *cq = NULL;
  int context;
  assert_success(fi_cq_open(node.domain, &attributes, &cq, &context));
  assert_int_equal(cq->fid.fclass, FI_CLASS_CQ);
  assert_ptr_equal(cq->fid.context, &context);
  close_fid(cq);
  node_close(&node);
}

CASE(open_every_format) {
  struct node node;
  node_open_domain(&node, NULL);
  for (int format = FI_CQ_FORMAT_UNSPEC; format <= FI_CQ_FORMAT_TAGGED; format++) {
    struct fid_cq *cq = cq_open(&node, (enum fi_cq_format)format, FI_WAIT_NONE, 16);
    close_fid(cq);
  }
  node_close(&node);
}

CASE(open_every_common_wait_object) {
  struct node node;
  node_open_domain(&node, NULL);
  static const enum fi_wait_obj objects[] = {FI_WAIT_NONE, FI_WAIT_UNSPEC, FI_WAIT_FD};
  for (int i = 0; i < 3; i++) {
    struct fid_cq *cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, objects[i], 0);
    close_fid(cq);
  }
  node_close(&node);
}

CASE(open_with_unknown_values) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cq *cq = NULL;
  struct fi_cq_attr attributes = {.format = (enum fi_cq_format)99};
  assert_fails(fi_cq_open(node.domain, &attributes, &cq, NULL));
  attributes = (struct fi_cq_attr){.wait_obj = (enum fi_wait_obj)99};
  assert_fails(fi_cq_open(node.domain, &attributes, &cq, NULL));
  attributes = (struct fi_cq_attr){.flags = FI_MULTICAST};
  assert_fails(fi_cq_open(node.domain, &attributes, &cq, NULL));
  node_close(&node);
}

CASE(open_many_queues) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cq *queues[100];
  for (int i = 0; i < 100; i++) queues[i] = cq_open(&node, FI_CQ_FORMAT_DATA, FI_WAIT_NONE, 64);
  for (int i = 0; i < 100; i++) close_fid(queues[i]);
  node_close(&node);
}

CASE(queue_of_an_endpoint_is_busy) {
  struct node node;
  node_open(&node, NULL);
  assert_returns(fi_close(&node.tx_cq->fid), -FI_EBUSY);
  assert_returns(fi_close(&node.rx_cq->fid), -FI_EBUSY);
  node_close(&node);
}

// ---- reading ------------------------------------------------------------------------------------------------------

CASE(read_from_an_empty_queue) {
  struct node node;
  node_open(&node, NULL);
  struct fi_cq_tagged_entry entry;
  assert_returns(fi_cq_read(node.rx_cq, &entry, 1), -FI_EAGAIN);
  struct fi_cq_err_entry error = {0};
  assert_returns(fi_cq_readerr(node.rx_cq, &error, 0), -FI_EAGAIN);
  node_close(&node);
}

CASE(read_of_zero_entries_consumes_nothing) {
  struct pair pair;
  pair_open(&pair, NULL);
  exchange(&pair, 1);
  double end = seconds() + 0.05;
  while (seconds() < end) {
    ssize_t count = fi_cq_read(pair.b.rx_cq, NULL, 0);
    assert_true(count == 0 || count == -FI_EAGAIN);
  }
  wait_for(pair.b.rx_cq, &slots[0]);
  pair_close(&pair);
}

static void read_format(enum fi_cq_format format, size_t entry_size) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.cq_format = format});
  static char in[3][100], out[100];
  for (int i = 0; i < 3; i++) post(fi_recv(pair.b.ep, in[i], 100, NULL, FI_ADDR_UNSPEC, &slots[i]));
  for (int i = 0; i < 3; i++) {
    post(fi_senddata(pair.a.ep, out, 10 + (size_t)i, NULL, 1000 + (uint64_t)i, pair.to_b, &slots[100 + i]));
  }
  unsigned char raw[6 * sizeof(struct fi_cq_tagged_entry)];
  size_t got = 0;
  double deadline = deadline_after(DEFAULT_WAIT);
  while (got < 3 && seconds() < deadline) {
    drive_progress();
    memset(raw + got * entry_size, 0xab, sizeof raw - got * entry_size);
    ssize_t count = fi_cq_read(pair.b.rx_cq, raw + got * entry_size, 3 - got);
    if (count == -FI_EAGAIN) continue;
    assert_in_range(count, 1, 3 - got);
    got += (size_t)count;
    verify_bytes(raw + got * entry_size, sizeof raw - got * entry_size, 0xab);
  }
  assert_int_equal(got, 3);
  for (int i = 0; i < 3; i++) {
    const struct fi_cq_tagged_entry *entry = (const void *)(raw + (size_t)i * entry_size);
    assert_ptr_equal(entry->op_context, &slots[i]);
    if (format == FI_CQ_FORMAT_CONTEXT) continue;
    uint64_t expected = FI_RECV | FI_MSG;
    assert_int_equal(entry->flags & expected, expected);
    assert_int_equal(entry->flags & (FI_SEND | FI_TAGGED | FI_RMA), 0);
    assert_int_equal(entry->len, 10 + i);
    if (format == FI_CQ_FORMAT_MSG) continue;
    assert_true(entry->flags & FI_REMOTE_CQ_DATA);
    assert_int_equal(entry->data, 1000 + i);
  }
  pair_close(&pair);
}

CASE(format_context) { read_format(FI_CQ_FORMAT_CONTEXT, sizeof(struct fi_cq_entry)); }
CASE(format_msg) { read_format(FI_CQ_FORMAT_MSG, sizeof(struct fi_cq_msg_entry)); }
CASE(format_data) { read_format(FI_CQ_FORMAT_DATA, sizeof(struct fi_cq_data_entry)); }
CASE(format_tagged) { read_format(FI_CQ_FORMAT_TAGGED, sizeof(struct fi_cq_tagged_entry)); }

CASE(read_returns_at_most_what_is_asked) {
  struct pair pair;
  pair_open(&pair, NULL);
  exchange(&pair, 10);
  int seen = 0;
  double deadline = deadline_after(DEFAULT_WAIT);
  while (seen < 10 && seconds() < deadline) {
    struct fi_cq_tagged_entry entries[4];
    memset(entries, 0, sizeof entries);
    ssize_t count = fi_cq_read(pair.b.rx_cq, entries, 4);
    if (count == -FI_EAGAIN) continue;
    assert_in_range(count, 1, 4);
    for (ssize_t i = 0; i < count; i++) assert_ptr_equal(entries[i].op_context, &slots[seen++]);
  }
  assert_int_equal(seen, 10);
  struct fi_cq_tagged_entry entry;
  assert_returns(fi_cq_read(pair.b.rx_cq, &entry, 1), -FI_EAGAIN);
  pair_close(&pair);
}

CASE(readfrom_reports_the_source) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.caps = FI_MSG | FI_SOURCE});
  // other entries, so that the source is not entry 0 by chance
  struct sockaddr_in decoy = {.sin_family = AF_INET, .sin_port = htons(9)};
  decoy.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  node_insert(&pair.b, &decoy);
  exchange(&pair, 2);
  int seen = 0;
  double deadline = deadline_after(DEFAULT_WAIT);
  while (seen < 2 && seconds() < deadline) {
    struct fi_cq_tagged_entry entry;
    fi_addr_t source = 4711;
    ssize_t count = fi_cq_readfrom(pair.b.rx_cq, &entry, 1, &source);
    if (count == -FI_EAGAIN) continue;
    assert_int_equal(count, 1);
    assert_true(source == pair.to_a);
    seen++;
  }
  assert_int_equal(seen, 2);
  pair_close(&pair);
}

CASE(readfrom_an_unknown_peer) {
  struct node a, b;
  struct setup setup = {.caps = FI_MSG | FI_SOURCE};
  node_open(&a, &setup);
  node_open(&b, &setup);
  fi_addr_t to_b = node_insert(&a, b.address);
  char in[4];
  int receive, send;
  post(fi_recv(b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &receive));
  post(fi_send(a.ep, "abc", 4, NULL, to_b, &send));
  struct fi_cq_tagged_entry entry = {0};
  fi_addr_t source = 4711;
  double deadline = deadline_after(DEFAULT_WAIT);
  ssize_t count;
  while ((count = fi_cq_readfrom(b.rx_cq, &entry, 1, &source)) == -FI_EAGAIN && seconds() < deadline) drive_progress();
  assert_int_equal(count, 1);
  assert_true(source == FI_ADDR_NOTAVAIL);
  wait_for(a.tx_cq, &send);
  node_close(&b);
  node_close(&a);
}

CASE(transmit_and_receive_queues_are_separate) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in;
  int receive, send;
  post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &receive));
  post(fi_send(pair.a.ep, "x", 1, NULL, pair.to_b, &send));
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair.a.tx_cq, &entry);
  assert_ptr_equal(entry.op_context, &send);
  assert_true(entry.flags & FI_SEND);
  assert_int_equal(entry.flags & FI_RECV, 0);
  wait_for(pair.b.rx_cq, &receive);
  expect_quiet(pair.a.rx_cq, 20);
  expect_quiet(pair.b.tx_cq, 20);
  pair_close(&pair);
}

CASE(two_endpoints_share_a_queue) {
  struct node a;
  node_open(&a, NULL);
  struct fid_ep *endpoints[2];
  struct fid_av *av = av_open(&a, FI_AV_UNSPEC);
  fi_addr_t addresses[2];
  for (int i = 0; i < 2; i++) {
    assert_success(fi_endpoint(a.domain, a.info, &endpoints[i], NULL));
    assert_success(fi_ep_bind(endpoints[i], &av->fid, 0));
    assert_success(fi_ep_bind(endpoints[i], &a.rx_cq->fid, FI_TRANSMIT | FI_RECV));
    assert_success(fi_enable(endpoints[i]));
    char name[128];
    size_t length = sizeof name;
    assert_success(fi_getname(&endpoints[i]->fid, name, &length));
    addresses[i] = node_insert(&a, name);
  }
  char in[2] = {0};
  for (int i = 0; i < 2; i++) {
    post(fi_recv(endpoints[i], &in[i], 1, NULL, FI_ADDR_UNSPEC, &slots[i]));
    post(fi_send(a.ep, i ? "1" : "0", 1, NULL, addresses[i], &slots[10 + i]));
    wait_for(a.tx_cq, &slots[10 + i]);
    wait_for(a.rx_cq, &slots[i]);
  }
  assert_memory_equal(in, "01", 2);
  for (int i = 0; i < 2; i++) close_fid(endpoints[i]);
  close_fid(av);
  node_close(&a);
}

// ---- errors -------------------------------------------------------------------------------------------------------

CASE(error_blocks_reads_until_it_is_read) {
  struct node node;
  node_open(&node, NULL);
  make_error(&node, &slots[0]);
  struct fi_cq_tagged_entry entry;
  double deadline = deadline_after(DEFAULT_WAIT);
  ssize_t count;
  while ((count = fi_cq_read(node.rx_cq, &entry, 1)) == -FI_EAGAIN && seconds() < deadline) continue;
  assert_returns(count, -FI_EAVAIL);
  assert_returns(fi_cq_read(node.rx_cq, &entry, 1), -FI_EAVAIL);
  struct fi_cq_err_entry error = {0};
  assert_returns(fi_cq_readerr(node.rx_cq, &error, 0), 1);
  assert_ptr_equal(error.op_context, &slots[0]);
  assert_int_equal(error.err, FI_ECANCELED);
  assert_returns(fi_cq_readerr(node.rx_cq, &error, 0), -FI_EAGAIN);
  assert_returns(fi_cq_read(node.rx_cq, &entry, 1), -FI_EAGAIN);
  node_close(&node);
}

CASE(errors_and_successes_are_all_reported) {
  struct pair pair;
  pair_open(&pair, NULL);
  exchange(&pair, 2);  // contexts 0 and 1 succeed
  make_error(&pair.b, &slots[2]);
  char in;
  post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &slots[3]));
  post(fi_send(pair.a.ep, "x", 1, NULL, pair.to_b, &slots[50]));
  wait_for(pair.a.tx_cq, &slots[50]);
  bool seen[4] = {false};
  double deadline = deadline_after(DEFAULT_WAIT);
  while (!(seen[0] && seen[1] && seen[2] && seen[3]) && seconds() < deadline) {
    struct fi_cq_tagged_entry entry;
    ssize_t count = fi_cq_read(pair.b.rx_cq, &entry, 1);
    if (count == -FI_EAVAIL) {
      struct fi_cq_err_entry error = {0};
      assert_returns(fi_cq_readerr(pair.b.rx_cq, &error, 0), 1);
      assert_ptr_equal(error.op_context, &slots[2]);
      seen[2] = true;
    } else if (count == 1) {
      ptrdiff_t index = (char *)entry.op_context - slots;
      assert_true(index == 0 || index == 1 || index == 3);
      seen[index] = true;
    }
  }
  assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
  pair_close(&pair);
}

CASE(error_data_goes_to_the_callers_buffer) {
  struct node node;
  node_open(&node, NULL);
  make_error(&node, &slots[0]);
  char buffer[64];
  memset(buffer, 0xcd, sizeof buffer);
  struct fi_cq_err_entry error = {.err_data = buffer, .err_data_size = 16};
  double deadline = deadline_after(DEFAULT_WAIT);
  struct fi_cq_tagged_entry entry;
  while (fi_cq_read(node.rx_cq, &entry, 1) == -FI_EAGAIN && seconds() < deadline) continue;
  assert_returns(fi_cq_readerr(node.rx_cq, &error, 0), 1);
  assert_ptr_equal(error.err_data, buffer);
  assert_in_range(error.err_data_size, 0, 16);
  verify_bytes(buffer + 16, sizeof buffer - 16, 0xcd);
  node_close(&node);
}

CASE(error_without_a_buffer) {
  struct node node;
  node_open(&node, NULL);
  make_error(&node, &slots[0]);
  struct fi_cq_err_entry error;
  wait_error(node.rx_cq, &error);
  if (error.err_data_size > 0) assert_non_null(error.err_data);
  assert_int_equal(error.err, FI_ECANCELED);
  node_close(&node);
}

CASE(strerror_explains_errors) {
  struct node node;
  node_open(&node, NULL);
  make_error(&node, &slots[0]);
  struct fi_cq_err_entry error;
  wait_error(node.rx_cq, &error);
  const char *text = fi_cq_strerror(node.rx_cq, error.prov_errno, error.err_data, NULL, 0);
  assert_non_null(text);
  assert_true(strlen(text) > 0);
  char buffer[64];
  memset(buffer, 'x', sizeof buffer);
  text = fi_cq_strerror(node.rx_cq, error.prov_errno, error.err_data, buffer, sizeof buffer);
  assert_non_null(text);
  assert_non_null(memchr(buffer, 0, sizeof buffer));
  node_close(&node);
}

// ---- waiting ------------------------------------------------------------------------------------------------------

struct later {
  struct pair *pair;
  int delay;
  long result;
  void (*act)(struct later *later);
};

static void *run_later(void *argument) {
  struct later *later = argument;
  sleep_ms(later->delay);
  later->act(later);
  return NULL;
}

// Sends one message and drives the sender until it is complete; runs in a thread.
static void send_one(struct later *later) {
  struct pair *pair = later->pair;
  double deadline = deadline_after(DEFAULT_WAIT);
  while ((later->result = fi_send(pair->a.ep, "x", 1, NULL, pair->to_b, &slots[200])) == -FI_EAGAIN) {
    if (seconds() > deadline) return;
    (void)fi_cq_read(pair->a.tx_cq, NULL, 0);
  }
  struct fi_cq_tagged_entry entry;
  ssize_t count;
  while ((count = fi_cq_read(pair->a.tx_cq, &entry, 1)) == -FI_EAGAIN && seconds() < deadline) sched_yield();
  if (count != 1) later->result = count;
}

static void signal_queue(struct later *later) { later->result = fi_cq_signal(later->pair->b.rx_cq); }

static pthread_t start(struct later *later) {
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, run_later, later), 0);
  return thread;
}

CASE(sread_without_a_wait_object) {
  struct node node;
  node_open(&node, &(struct setup){.wait_obj = FI_WAIT_NONE});
  struct fi_cq_tagged_entry entry;
  assert_fails(fi_cq_sread(node.rx_cq, &entry, 1, NULL, 0));
  node_close(&node);
}

CASE(sread_times_out) {
  struct node node;
  node_open(&node, &(struct setup){.wait_obj = FI_WAIT_UNSPEC});
  struct fi_cq_tagged_entry entry;
  double begin = seconds();
  assert_returns(fi_cq_sread(node.rx_cq, &entry, 1, NULL, 150), -FI_EAGAIN);
  double waited = seconds() - begin;
  if (waited < 0.14) failed("returned after %.3f s", waited);
  if (waited > 1.0 * time_factor()) failed("returned after %.3f s only", waited);
  node_close(&node);
}

CASE(sread_sleeps_while_it_waits) {
  struct node node;
  node_open(&node, &(struct setup){.wait_obj = FI_WAIT_UNSPEC});
  struct fi_cq_tagged_entry entry;
  struct timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  assert_returns(fi_cq_sread(node.rx_cq, &entry, 1, NULL, 300), -FI_EAGAIN);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  double used = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
  if (used > 0.15 * time_factor()) failed("300 ms of waiting used %.3f s of processor time", used);
  node_close(&node);
}

CASE(sread_with_timeout_zero) {
  struct node node;
  node_open(&node, &(struct setup){.wait_obj = FI_WAIT_UNSPEC});
  struct fi_cq_tagged_entry entry;
  double begin = seconds();
  assert_returns(fi_cq_sread(node.rx_cq, &entry, 1, NULL, 0), -FI_EAGAIN);
  assert_true(seconds() - begin < 0.1 * time_factor());
  node_close(&node);
}

CASE(sread_finds_what_is_there) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.wait_obj = FI_WAIT_UNSPEC});
  exchange(&pair, 1);
  struct fi_cq_tagged_entry entry = {0};
  assert_returns(fi_cq_sread(pair.b.rx_cq, &entry, 1, NULL, 3000), 1);
  assert_ptr_equal(entry.op_context, &slots[0]);
  pair_close(&pair);
}

// With FI_CQ_COND_THRESHOLD the argument `cond` is itself the number of entries, not the address of one.
static const void *threshold_of(size_t entries) { return (const void *)(uintptr_t)entries; }

static void sread_wakes(enum fi_wait_obj wait_obj, enum fi_cq_wait_cond wait_cond) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.wait_obj = wait_obj, .wait_cond = wait_cond, .threading = FI_THREAD_SAFE});
  char in;
  post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &slots[0]));
  struct later later = {.pair = &pair, .delay = 100, .act = send_one};
  pthread_t thread = start(&later);
  struct fi_cq_tagged_entry entry = {0};
  double begin = seconds();
  ssize_t count;
  do {  // waking early without an entry is allowed
    count = fi_cq_sread(pair.b.rx_cq, &entry, 1, wait_cond ? threshold_of(1) : NULL, 3000);
  } while (count == -FI_EAGAIN && seconds() - begin < 3);
  double waited = seconds() - begin;
  pthread_join(thread, NULL);
  assert_returns(count, 1);
  assert_ptr_equal(entry.op_context, &slots[0]);
  assert_success(later.result);
  if (waited > 1.5 * time_factor()) failed("woke after %.3f s", waited);
  pair_close(&pair);
}

CASE(sread_wakes_on_arrival) { sread_wakes(FI_WAIT_UNSPEC, FI_CQ_COND_NONE); }
CASE(sread_wakes_on_arrival_with_fd) { sread_wakes(FI_WAIT_FD, FI_CQ_COND_NONE); }
CASE(sread_wakes_at_the_threshold) { sread_wakes(FI_WAIT_FD, FI_CQ_COND_THRESHOLD); }

CASE(sread_finds_the_threshold_reached) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.wait_obj = FI_WAIT_FD, .wait_cond = FI_CQ_COND_THRESHOLD});
  exchange(&pair, 3);
  int seen = 0;
  double begin = seconds();
  while (seen < 3 && seconds() - begin < 5) {
    struct fi_cq_tagged_entry entries[3];
    ssize_t count = fi_cq_sread(pair.b.rx_cq, entries, 3 - (size_t)seen, threshold_of(3 - (size_t)seen), 2500);
    if (count == -FI_EAGAIN) continue;
    assert_in_range(count, 1, 3 - seen);
    for (ssize_t i = 0; i < count; i++) assert_ptr_equal(entries[i].op_context, &slots[seen++]);
  }
  assert_int_equal(seen, 3);
  if (seconds() - begin > 1.5 * time_factor()) failed("took %.3f s", seconds() - begin);
  pair_close(&pair);
}

CASE(sread_reports_errors) {
  struct node node;
  node_open(&node, &(struct setup){.wait_obj = FI_WAIT_UNSPEC});
  make_error(&node, &slots[0]);
  struct fi_cq_tagged_entry entry;
  assert_returns(fi_cq_sread(node.rx_cq, &entry, 1, NULL, 3000), -FI_EAVAIL);
  struct fi_cq_err_entry error;
  wait_error(node.rx_cq, &error);
  assert_int_equal(error.err, FI_ECANCELED);
  node_close(&node);
}

CASE(sreadfrom_reports_the_source) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.caps = FI_MSG | FI_SOURCE, .wait_obj = FI_WAIT_UNSPEC});
  exchange(&pair, 1);
  struct fi_cq_tagged_entry entry = {0};
  fi_addr_t source = 4711;
  assert_returns(fi_cq_sreadfrom(pair.b.rx_cq, &entry, 1, &source, NULL, 3000), 1);
  assert_true(source == pair.to_a);
  pair_close(&pair);
}

CASE(signal_wakes_a_waiter) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.wait_obj = FI_WAIT_UNSPEC, .threading = FI_THREAD_SAFE});
  struct later later = {.pair = &pair, .delay = 100, .act = signal_queue};
  pthread_t thread = start(&later);
  struct fi_cq_tagged_entry entry;
  double begin = seconds();
  ssize_t count = fi_cq_sread(pair.b.rx_cq, &entry, 1, NULL, 4000);
  double waited = seconds() - begin;
  pthread_join(thread, NULL);
  assert_success(later.result);
  assert_returns(count, -FI_EAGAIN);
  if (waited > 2 * time_factor()) failed("woke after %.3f s", waited);
  pair_close(&pair);
}

// ---- wait object FI_WAIT_FD ---------------------------------------------------------------------------------------

static int wait_descriptor(struct fid_cq *cq) {
  int descriptor = -1;
  assert_success(fi_control(&cq->fid, FI_GETWAIT, &descriptor));
  assert_true(descriptor >= 0);
  return descriptor;
}

CASE(getwait_gives_a_descriptor) {
  struct node node;
  node_open(&node, &(struct setup){.wait_obj = FI_WAIT_FD});
  int descriptor = wait_descriptor(node.rx_cq);
  assert_true(fcntl(descriptor, F_GETFD) >= 0);
  node_close(&node);
}

CASE(getwait_without_a_wait_object) {
  struct node node;
  node_open(&node, &(struct setup){.wait_obj = FI_WAIT_NONE});
  int descriptor = -1;
  assert_fails(fi_control(&node.rx_cq->fid, FI_GETWAIT, &descriptor));
  node_close(&node);
}

CASE(trywait_says_when_sleeping_is_safe) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.wait_obj = FI_WAIT_FD});
  struct fid *fids[] = {&pair.b.rx_cq->fid};
  wait_descriptor(pair.b.rx_cq);
  double deadline = deadline_after(DEFAULT_WAIT);
  int result;
  while ((result = fi_trywait(pair.b.fabric, fids, 1)) == -FI_EAGAIN && seconds() < deadline) {
    (void)fi_cq_read(pair.b.rx_cq, NULL, 0);
  }
  assert_success(result);
  exchange(&pair, 1);
  // wait until the completion has been queued
  deadline = deadline_after(DEFAULT_WAIT);
  while ((result = fi_trywait(pair.b.fabric, fids, 1)) == 0 && seconds() < deadline) drive_progress();
  assert_returns(result, -FI_EAGAIN);
  wait_for(pair.b.rx_cq, &slots[0]);
  pair_close(&pair);
}

// The loop of an event-driven program: trywait, poll, read.
static ssize_t poll_for_one(struct node *node, struct fi_cq_tagged_entry *entry, int *sleeps) {
  struct fid *fids[] = {&node->rx_cq->fid};
  struct pollfd descriptor = {.fd = wait_descriptor(node->rx_cq), .events = POLLIN};
  double deadline = deadline_after(DEFAULT_WAIT);
  while (seconds() < deadline) {
    int ready = fi_trywait(node->fabric, fids, 1);
    if (ready == 0) {
      poll(&descriptor, 1, 2000);
      ++*sleeps;
    } else if (ready != -FI_EAGAIN) {
      return ready;
    }
    ssize_t count = fi_cq_read(node->rx_cq, entry, 1);
    if (count != -FI_EAGAIN) return count;
  }
  return -FI_ETIMEDOUT;
}

CASE(poll_wakes_on_arrival) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.wait_obj = FI_WAIT_FD, .threading = FI_THREAD_SAFE});
  for (int round = 0; round < 5; round++) {
    char in;
    post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &slots[round]));
    struct later later = {.pair = &pair, .delay = 20, .act = send_one};
    pthread_t thread = start(&later);
    struct fi_cq_tagged_entry entry = {0};
    int sleeps = 0;
    double begin = seconds();
    ssize_t count = poll_for_one(&pair.b, &entry, &sleeps);
    double waited = seconds() - begin;
    pthread_join(thread, NULL);
    assert_returns(count, 1);
    assert_ptr_equal(entry.op_context, &slots[round]);
    assert_success(later.result);
    if (waited > 1.5 * time_factor()) failed("woke after %.3f s", waited);
  }
  pair_close(&pair);
}

CASE(poll_sleeps_without_traffic) {
  struct node node;
  node_open(&node, &(struct setup){.wait_obj = FI_WAIT_FD});
  struct fid *fids[] = {&node.rx_cq->fid};
  struct pollfd descriptor = {.fd = wait_descriptor(node.rx_cq), .events = POLLIN};
  double end = seconds() + 0.3;
  int wakes = 0;
  while (seconds() < end) {
    int ready = fi_trywait(node.fabric, fids, 1);
    if (ready == 0) poll(&descriptor, 1, 300);
    (void)fi_cq_read(node.rx_cq, NULL, 0);
    wakes++;
  }
  if (wakes > 50) failed("%d rounds of poll in 0.3 s without any traffic", wakes);
  node_close(&node);
}

// ---- size ---------------------------------------------------------------------------------------------------------

CASE(small_queue_loses_nothing) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.cq_size = 4});
  static char in[64];
  for (int i = 0; i < 64; i++) post(fi_recv(pair.b.ep, in + i, 1, NULL, FI_ADDR_UNSPEC, &slots[i]));
  for (int i = 0; i < 64; i++) {
    char byte = (char)i;
    post(fi_inject(pair.a.ep, &byte, 1, pair.to_b));
  }
  double end = seconds() + 0.1;
  while (seconds() < end) drive_progress();
  for (int i = 0; i < 64; i++) wait_for(pair.b.rx_cq, &slots[i]);
  for (int i = 0; i < 64; i++) assert_int_equal(in[i], i);
  pair_close(&pair);
}

CASE(unread_transmit_queue_pushes_back_or_grows) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.cq_size = 8});
  static char in[200];
  for (int i = 0; i < 200; i++) post(fi_recv(pair.b.ep, in + i, 1, NULL, FI_ADDR_UNSPEC, &slots[i]));
  bool seen[200] = {false};
  int sent = 0, completed = 0;
  double deadline = deadline_after(DEFAULT_WAIT);
  while (completed < 200 && seconds() < deadline) {
    ssize_t result = sent < 200 ? fi_send(pair.a.ep, "x", 1, NULL, pair.to_b, &slots[sent]) : -FI_EAGAIN;
    if (result == 0) {
      sent++;
      continue;
    }
    assert_returns(result, -FI_EAGAIN);
    struct fi_cq_tagged_entry entry;
    ssize_t count = fi_cq_read(pair.a.tx_cq, &entry, 1);
    if (count == 1) {
      // In any order: fi_cq(3) promises none.
      ptrdiff_t index = (typeof(&slots[0]))entry.op_context - slots;
      assert_in_range(index, 0, 199);
      assert_false(seen[index]);
      seen[index] = true;
      completed++;
    }
    drive_progress();
  }
  assert_int_equal(completed, 200);
  for (int i = 0; i < 200; i++) wait_for(pair.b.rx_cq, &slots[i]);
  pair_close(&pair);
}
