// Counters: values, what counts, remote memory events, waiting. Man pages: fi_cntr(3), fi_endpoint(3), fi_mr(3).
#include "fixture.h"

enum { mebi = 1 << 20, room = 2 * mebi };

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const size_t sizes[] = {0, 1, 64, 1000, 4096, 20000, 65536, 65537, 300000, 2 * mebi};

// ---- counters of a pair of nodes ----------------------------------------------------------------------------------

// What is bound to an endpoint; NULL for kinds that are not counted.
struct counters {
  struct fid_cntr *send, *recv, *read, *write, *remote_read, *remote_write;
};

static struct counters of[2];  // of a, then of b
static int opened;
static struct {
  uint64_t kinds;
  enum fi_cntr_events events;
  enum fi_wait_obj wait_obj;
} wanted;

static struct fid_cntr *counter_open(struct node *node, enum fi_cntr_events events, enum fi_wait_obj wait_obj) {
  struct fi_cntr_attr attributes = {.events = events, .wait_obj = wait_obj};
  struct fid_cntr *counter = NULL;
  int result = fi_cntr_open(node->domain, &attributes, &counter, NULL);
  if (events == FI_CNTR_EVENTS_BYTES && result) unsupported("no counters of bytes: %d", result);
  assert_offered(result);
  assert_non_null(counter);
  return counter;
}

static struct fid_cntr *bind_counter(struct node *node, uint64_t kind) {
  if (!(wanted.kinds & kind)) return NULL;
  struct fid_cntr *counter = counter_open(node, wanted.events, wanted.wait_obj);
  assert_success(fi_ep_bind(node->ep, &counter->fid, kind));
  return counter;
}

static void bind_counters(struct node *node) {
  struct counters *mine = &of[opened++];
  mine->send = bind_counter(node, FI_SEND);
  mine->recv = bind_counter(node, FI_RECV);
  mine->read = bind_counter(node, FI_READ);
  mine->write = bind_counter(node, FI_WRITE);
  mine->remote_read = bind_counter(node, FI_REMOTE_READ);
  mine->remote_write = bind_counter(node, FI_REMOTE_WRITE);
}

static void counted_pair_open(struct pair *pair, struct setup setup, uint64_t kinds) {
  setup.before_enable = bind_counters;
  wanted.kinds = kinds;
  opened = 0;
  memset(of, 0, sizeof of);
  pair_open(pair, &setup);
}

static void counted_pair_close(struct pair *pair) {
  struct fid_cntr *all[2 * 6];
  memcpy(all, of, sizeof all);
  close_fid(pair->a.ep);
  close_fid(pair->b.ep);
  pair->a.ep = pair->b.ep = NULL;
  for (size_t i = 0; i < COUNT(all); i++) {
    if (all[i]) close_fid(all[i]);
  }
  pair_close(pair);
}

static void drive_all(void) {
  drive_progress();
  struct fid_cntr *all[2 * 6];
  memcpy(all, of, sizeof all);
  for (size_t i = 0; i < COUNT(all); i++) {
    if (all[i]) (void)fi_cntr_read(all[i]);
  }
}

// Waits until a counter has a value, and fails when it goes beyond.
#define await_value(counter, value) await_value_at(__LINE__, counter, value)
static void await_value_at(int line, struct fid_cntr *counter, uint64_t value) {
  double deadline = deadline_after(DEFAULT_WAIT);
  uint64_t seen;
  while ((seen = fi_cntr_read(counter)) < value && seconds() < deadline) drive_all();
  if (seen != value) {
    fail_at(__FILE__, line, "the counter is at %" PRIu64 ", expected %" PRIu64 " (errors %" PRIu64 ")", seen, value,
            fi_cntr_readerr(counter));
  }
}

#define await_errors(counter, value) await_errors_at(__LINE__, counter, value)
static void await_errors_at(int line, struct fid_cntr *counter, uint64_t value) {
  double deadline = deadline_after(DEFAULT_WAIT);
  while (fi_cntr_readerr(counter) < value && seconds() < deadline) drive_all();
  if (fi_cntr_readerr(counter) != value) {
    fail_at(__FILE__, line, "the counter has %" PRIu64 " errors, expected %" PRIu64, fi_cntr_readerr(counter), value);
  }
}

// Gives what should not happen a moment to happen.
static void settle(int milliseconds) {
  double end = seconds() + milliseconds / 1000.0;
  while (seconds() < end) drive_all();
}

// ---- values -------------------------------------------------------------------------------------------------------

CASE(fi_getinfo_offers_counters) {
  struct fi_info *info = find_info(&(struct setup){0});
  if (info->domain_attr->cntr_cnt == 0) unsupported("cntr_cnt is 0");
  fi_freeinfo(info);
}

CASE(counter_starts_at_zero_and_takes_values) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  await_value(counter, 0);
  await_errors(counter, 0);
  assert_success(fi_cntr_add(counter, 5));
  assert_success(fi_cntr_add(counter, 7));
  await_value(counter, 12);
  assert_success(fi_cntr_set(counter, 3));
  await_value(counter, 3);
  await_errors(counter, 0);
  assert_success(fi_cntr_adderr(counter, 4));
  assert_success(fi_cntr_adderr(counter, 4));
  await_errors(counter, 8);
  assert_success(fi_cntr_seterr(counter, 1));
  await_errors(counter, 1);
  await_value(counter, 3);
  close_fid(counter);
  node_close(&node);
}

CASE(counter_holds_64_bits) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  assert_success(fi_cntr_set(counter, UINT64_MAX - 1));
  assert_success(fi_cntr_add(counter, 1));
  await_value(counter, UINT64_MAX);
  assert_success(fi_cntr_seterr(counter, UINT64_MAX));
  await_errors(counter, UINT64_MAX);
  close_fid(counter);
  node_close(&node);
}

CASE(many_counters_at_once) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counters[100];
  for (size_t i = 0; i < COUNT(counters); i++) {
    counters[i] = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
    assert_success(fi_cntr_set(counters[i], i));
  }
  for (size_t i = 0; i < COUNT(counters); i++) await_value(counters[i], i);
  for (size_t i = 0; i < COUNT(counters); i++) close_fid(counters[i]);
  node_close(&node);
}

CASE(strange_counter_attributes_are_refused) {
  struct node node;
  node_open_domain(&node, NULL);
  close_fid(counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE));
  struct fid_cntr *counter = NULL;
  struct fi_cntr_attr attributes = {.events = (enum fi_cntr_events)99};
  assert_fails(fi_cntr_open(node.domain, &attributes, &counter, NULL));
  attributes = (struct fi_cntr_attr){.wait_obj = (enum fi_wait_obj)99};
  assert_fails(fi_cntr_open(node.domain, &attributes, &counter, NULL));
  attributes = (struct fi_cntr_attr){.flags = 1 << 5};
  assert_fails(fi_cntr_open(node.domain, &attributes, &counter, NULL));
  attributes = (struct fi_cntr_attr){.wait_obj = FI_WAIT_SET};
  assert_fails(fi_cntr_open(node.domain, &attributes, &counter, NULL));
  assert_null(counter);
  node_close(&node);
}

CASE(open_counter_keeps_the_domain_open) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  assert_returns(fi_close(&node.domain->fid), -FI_EBUSY);
  close_fid(counter);
  node_close(&node);
}

// ---- binding ------------------------------------------------------------------------------------------------------

static struct fid_ep *bare_endpoint(struct node *node) {
  struct fid_ep *ep = NULL;
  assert_success(fi_endpoint(node->domain, node->info, &ep, NULL));
  return ep;
}

CASE(bound_counter_cannot_be_closed) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  struct fid_ep *ep = bare_endpoint(&node);
  assert_success(fi_ep_bind(ep, &counter->fid, FI_SEND | FI_RECV));
  assert_returns(fi_close(&counter->fid), -FI_EBUSY);
  close_fid(ep);
  close_fid(counter);
  node_close(&node);
}

CASE(one_counter_for_each_kind) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *first = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  struct fid_cntr *second = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  struct fid_ep *ep = bare_endpoint(&node);
  assert_success(fi_ep_bind(ep, &first->fid, FI_SEND | FI_WRITE));
  assert_returns(fi_ep_bind(ep, &second->fid, FI_WRITE | FI_RECV), -FI_EINVAL);
  assert_success(fi_ep_bind(ep, &second->fid, FI_READ | FI_RECV));
  assert_success(fi_ep_bind(ep, &second->fid, 0));  // fabtests do
  close_fid(ep);
  close_fid(first);
  close_fid(second);
  node_close(&node);
}

CASE(strange_flags_with_a_counter_are_refused) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  struct fid_ep *ep = bare_endpoint(&node);
  assert_returns(fi_ep_bind(ep, &counter->fid, FI_SEND | FI_PEEK), -FI_EBADFLAGS);
  close_fid(ep);
  close_fid(counter);
  node_close(&node);
}

CASE(no_counter_is_bound_to_an_enabled_endpoint) {
  struct node node;
  node_open(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  assert_fails(fi_ep_bind(node.ep, &counter->fid, FI_SEND));
  close_fid(counter);
  node_close(&node);
}

// ---- messages -----------------------------------------------------------------------------------------------------

static char *memory_a, *memory_b;

static void exchange_sizes(struct pair *pair, bool in_bytes, bool unexpected) {
  uint64_t count = 0;
  for (size_t i = 0; i < COUNT(sizes); i++) {
    bool tagged = i % 2;
    count += in_bytes ? sizes[i] : 1;
    fill(memory_a, sizes[i], i);
    if (unexpected) {
      post(tagged ? fi_tsend(pair->a.ep, memory_a, sizes[i], NULL, pair->to_b, i, NULL)
                  : fi_send(pair->a.ep, memory_a, sizes[i], NULL, pair->to_b, NULL));
      settle(3);
    }
    post(tagged ? fi_trecv(pair->b.ep, memory_b, room, NULL, FI_ADDR_UNSPEC, i, 0, NULL)
                : fi_recv(pair->b.ep, memory_b, room, NULL, FI_ADDR_UNSPEC, NULL));
    if (!unexpected) {
      post(tagged ? fi_tsend(pair->a.ep, memory_a, sizes[i], NULL, pair->to_b, i, NULL)
                  : fi_send(pair->a.ep, memory_a, sizes[i], NULL, pair->to_b, NULL));
    }
    await_value(of[1].recv, count);
    verify(memory_b, sizes[i], i);
    await_value(of[0].send, count);
  }
  await_errors(of[0].send, 0);
  await_errors(of[1].recv, 0);
  assert_true(fi_cntr_read(of[1].send) == 0 && fi_cntr_read(of[0].recv) == 0);
}

static const struct setup selective = {
    .caps = FI_MSG | FI_TAGGED, .tx_bind_flags = FI_SELECTIVE_COMPLETION, .rx_bind_flags = FI_SELECTIVE_COMPLETION};

static void messages(struct setup setup, enum fi_cntr_events events, bool unexpected) {
  memory_a = allocate(room);
  memory_b = allocate(room);
  wanted.events = events;
  struct pair pair;
  counted_pair_open(&pair, setup, FI_SEND | FI_RECV);
  exchange_sizes(&pair, events == FI_CNTR_EVENTS_BYTES, unexpected);
  if (setup.tx_bind_flags) {
    expect_quiet(pair.a.tx_cq, 5);
    expect_quiet(pair.b.rx_cq, 5);
  }
  counted_pair_close(&pair);
  free(memory_a);
  free(memory_b);
}

CASE(messages_are_counted) { messages(selective, FI_CNTR_EVENTS_COMP, false); }
CASE(unexpected_messages_are_counted) { messages(selective, FI_CNTR_EVENTS_COMP, true); }
CASE(bytes_of_messages_are_counted) { messages(selective, FI_CNTR_EVENTS_BYTES, false); }
CASE(bytes_of_unexpected_messages_are_counted) { messages(selective, FI_CNTR_EVENTS_BYTES, true); }
CASE(messages_with_completions_are_counted) {
  messages((struct setup){.caps = FI_MSG | FI_TAGGED}, FI_CNTR_EVENTS_COMP, false);
}
CASE(messages_are_counted_without_queues) {
  messages((struct setup){.caps = FI_MSG | FI_TAGGED, .no_queues = true}, FI_CNTR_EVENTS_COMP, false);
}
CASE(messages_are_counted_with_automatic_progress) {
  struct setup setup = selective;
  setup.progress = FI_PROGRESS_AUTO;
  messages(setup, FI_CNTR_EVENTS_COMP, false);
}
CASE(messages_are_counted_with_manual_progress) {
  struct setup setup = selective;
  setup.progress = FI_PROGRESS_MANUAL;
  messages(setup, FI_CNTR_EVENTS_COMP, true);
}

CASE(injected_messages_are_counted) {
  struct pair pair;
  counted_pair_open(&pair, selective, FI_SEND | FI_RECV);
  char in[64], out[64];
  enum { number = 50 };
  for (uint64_t i = 1; i <= number; i++) {
    post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, NULL));
    fill(out, sizeof out, i);
    post(fi_inject(pair.a.ep, out, sizeof out, pair.to_b));
    await_value(of[1].recv, i);
    verify(in, sizeof in, i);
  }
  await_value(of[0].send, number);
  counted_pair_close(&pair);
}

CASE(many_messages_in_flight_are_counted) {
  struct pair pair;
  counted_pair_open(&pair, selective, FI_SEND | FI_RECV);
  static char in[256], out[256];
  enum { number = 3000, window = 64 };
  uint64_t posted = 0;
  for (uint64_t sent = 0; sent < number; sent++) {
    while (posted < number && posted < sent + window) {
      post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, NULL));
      posted++;
    }
    post(sent % 3 ? fi_send(pair.a.ep, out, sizeof out, NULL, pair.to_b, NULL)
                  : fi_inject(pair.a.ep, out, 8, pair.to_b));
  }
  await_value(of[0].send, number);
  await_value(of[1].recv, number);
  counted_pair_close(&pair);
}

static struct fid_cntr *shared_counter;

static void bind_shared(struct node *node) {
  if (!shared_counter) shared_counter = counter_open(node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  assert_success(fi_ep_bind(node->ep, &shared_counter->fid, FI_SEND | FI_RECV));
}

CASE(endpoints_share_a_counter) {
  struct pair pair;
  struct setup setup = selective;
  setup.same_domain = true;
  setup.before_enable = bind_shared;
  pair_open(&pair, &setup);
  char in[8], out[8] = {0};
  for (uint64_t i = 1; i <= 20; i++) {
    post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, NULL));
    post(fi_send(pair.a.ep, out, sizeof out, NULL, pair.to_b, NULL));
    await_value(shared_counter, 2 * i);
  }
  close_fid(pair.b.ep);
  pair.b.ep = NULL;
  assert_returns(fi_close(&shared_counter->fid), -FI_EBUSY);
  close_fid(pair.a.ep);
  pair.a.ep = NULL;
  close_fid(shared_counter);
  pair_close(&pair);
}

// ---- errors -------------------------------------------------------------------------------------------------------

static void truncated(enum fi_cntr_events events) {
  wanted.events = events;
  struct pair pair;
  counted_pair_open(&pair, selective, FI_SEND | FI_RECV);
  char in[8], out[100] = {0};
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, NULL));
  post(fi_send(pair.a.ep, out, sizeof out, NULL, pair.to_b, NULL));
  await_errors(of[1].recv, 1);
  await_value(of[1].recv, 0);
  counted_pair_close(&pair);
}

CASE(truncated_message_counts_as_an_error) { truncated(FI_CNTR_EVENTS_COMP); }
CASE(error_counts_once_among_bytes) { truncated(FI_CNTR_EVENTS_BYTES); }

CASE(errors_are_counted_without_queues) {
  struct pair pair;
  counted_pair_open(&pair, (struct setup){.caps = FI_MSG | FI_TAGGED, .no_queues = true}, FI_SEND | FI_RECV);
  char in[8], out[100] = {0};
  for (uint64_t i = 1; i <= 2000; i++) {  // more than any queue holds
    post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, NULL));
    post(fi_send(pair.a.ep, out, sizeof out, NULL, pair.to_b, NULL));
    await_errors(of[1].recv, i);
  }
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, NULL));
  post(fi_send(pair.a.ep, out, sizeof in, NULL, pair.to_b, NULL));
  await_value(of[1].recv, 1);
  counted_pair_close(&pair);
}

// ---- remote memory ------------------------------------------------------------------------------------------------

static struct region counted_region(struct node *node, void *memory, size_t length, uint64_t key, uint64_t flags) {
  struct region region;
  region_over(&region, node, memory, length, all_rights, key, flags);
  return region;
}

static const struct setup remote = {.caps = FI_MSG | FI_RMA | FI_RMA_EVENT,
                                    .tx_bind_flags = FI_SELECTIVE_COMPLETION,
                                    .rx_bind_flags = FI_SELECTIVE_COMPLETION};
static const uint64_t remote_kinds = FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE;

// Writes and reads all sizes; `target` counters are what should move at the target.
static void access_sizes(struct pair *pair, struct region *region, struct fid_cntr *target_write,
                         struct fid_cntr *target_read, bool in_bytes) {
  uint64_t count = 0;
  for (size_t i = 0; i < COUNT(sizes); i++) {
    if (sizes[i] == 0) continue;  // nothing is accessed
    count += in_bytes ? sizes[i] : 1;
    fill(memory_a, sizes[i], i);
    post(fi_write(pair->a.ep, memory_a, sizes[i], NULL, pair->to_b, region->base, region->key, NULL));
    if (target_write) {
      await_value(target_write, count);
      verify(memory_b, sizes[i], i);  // the data is in place when it is counted
    }
    await_value(of[0].write, count);
    memset(memory_a, 0xee, sizes[i]);
    post(fi_read(pair->a.ep, memory_a, sizes[i], NULL, pair->to_b, region->base, region->key, NULL));
    await_value(of[0].read, count);
    verify(memory_a, sizes[i], i);
    if (target_read) await_value(target_read, count);
  }
}

static void memory_open(void) {
  memory_a = allocate(room);
  memory_b = allocate(room);
}

static void memory_close(void) {
  free(memory_a);
  free(memory_b);
}

static void remote_memory(struct setup setup, enum fi_cntr_events events) {
  memory_open();
  wanted.events = events;
  struct pair pair;
  counted_pair_open(&pair, setup, setup.caps & FI_RMA_EVENT ? remote_kinds : FI_READ | FI_WRITE);
  struct region region = counted_region(&pair.b, memory_b, room, 7, 0);
  access_sizes(&pair, &region, of[1].remote_write, of[1].remote_read, events == FI_CNTR_EVENTS_BYTES);
  assert_true(fi_cntr_read(of[1].read) == 0 && fi_cntr_read(of[1].write) == 0);
  if (of[0].remote_write) assert_true(fi_cntr_read(of[0].remote_write) == 0);
  if (of[0].remote_read) assert_true(fi_cntr_read(of[0].remote_read) == 0);
  close_fid(region.mr);
  counted_pair_close(&pair);
  memory_close();
}

CASE(own_writes_and_reads_are_counted) {
  struct setup setup = remote;
  setup.caps = FI_MSG | FI_RMA;
  remote_memory(setup, FI_CNTR_EVENTS_COMP);
}
CASE(remote_writes_and_reads_are_counted) { remote_memory(remote, FI_CNTR_EVENTS_COMP); }
CASE(bytes_of_remote_writes_and_reads_are_counted) { remote_memory(remote, FI_CNTR_EVENTS_BYTES); }
CASE(remote_accesses_are_counted_with_automatic_progress) {
  struct setup setup = remote;
  setup.progress = FI_PROGRESS_AUTO;
  remote_memory(setup, FI_CNTR_EVENTS_COMP);
}
CASE(remote_accesses_are_counted_without_queues) {
  struct setup setup = {.caps = FI_RMA | FI_RMA_EVENT, .no_queues = true};
  remote_memory(setup, FI_CNTR_EVENTS_COMP);
}

CASE(writes_with_data_are_counted_at_the_target) {
  memory_open();
  struct pair pair;
  struct setup setup = remote;
  setup.rx_bind_flags = 0;
  counted_pair_open(&pair, setup, remote_kinds);
  struct region region = counted_region(&pair.b, memory_b, room, 7, 0);
  char in;  // where a completion takes a receive, FI_RX_CQ_DATA
  for (uint64_t i = 1; i <= 20; i++) {
    if (pair.b.info->rx_attr->mode & FI_RX_CQ_DATA) post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, NULL));
    post(fi_writedata(pair.a.ep, memory_a, 100, NULL, i, pair.to_b, region.base, region.key, NULL));
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    assert_true(entry.data == i);
    await_value(of[1].remote_write, i);
  }
  close_fid(region.mr);
  counted_pair_close(&pair);
  memory_close();
}

CASE(refused_write_counts_as_an_error) {
  memory_open();
  struct pair pair;
  counted_pair_open(&pair, remote, remote_kinds);
  struct region region = counted_region(&pair.b, memory_b, 100, 7, 0);
  post(fi_write(pair.a.ep, memory_a, 50, NULL, pair.to_b, region.base, region.key + 1, NULL));
  await_errors(of[0].write, 1);
  post(fi_read(pair.a.ep, memory_a, 200, NULL, pair.to_b, region.base, region.key, NULL));
  await_errors(of[0].read, 1);
  await_value(of[0].write, 0);
  await_value(of[0].read, 0);
  await_value(of[1].remote_write, 0);
  await_value(of[1].remote_read, 0);
  close_fid(region.mr);
  counted_pair_close(&pair);
  memory_close();
}

static void bind_region(struct region *region, struct fid_cntr *counter, uint64_t flags) {
  assert_offered(fi_mr_bind(region->mr, &counter->fid, flags));
}

static void region_counters(enum fi_cntr_events events) {
  memory_open();
  wanted.events = events;
  struct pair pair;
  counted_pair_open(&pair, remote, FI_READ | FI_WRITE);
  struct fid_cntr *writes = counter_open(&pair.b, events, FI_WAIT_NONE);
  struct fid_cntr *reads = counter_open(&pair.b, events, FI_WAIT_NONE);
  struct region region = counted_region(&pair.b, memory_b, room, 7, FI_RMA_EVENT);
  struct region other = counted_region(&pair.b, memory_b, room, 8, 0);
  bind_region(&region, writes, FI_REMOTE_WRITE);
  bind_region(&region, reads, FI_REMOTE_READ);
  access_sizes(&pair, &region, writes, reads, events == FI_CNTR_EVENTS_BYTES);
  uint64_t count = fi_cntr_read(writes);
  uint64_t done = fi_cntr_read(of[0].write);
  post(fi_write(pair.a.ep, memory_a, 10, NULL, pair.to_b, other.base, other.key, NULL));
  await_value(of[0].write, done + (events == FI_CNTR_EVENTS_BYTES ? 10 : 1));
  settle(5);
  assert_true(fi_cntr_read(writes) == count);  // not through the other region
  assert_returns(fi_close(&writes->fid), -FI_EBUSY);
  close_fid(region.mr);
  close_fid(other.mr);
  close_fid(writes);
  close_fid(reads);
  counted_pair_close(&pair);
  memory_close();
}

CASE(accesses_of_a_region_are_counted) { region_counters(FI_CNTR_EVENTS_COMP); }
CASE(bytes_in_a_region_are_counted) { region_counters(FI_CNTR_EVENTS_BYTES); }

CASE(strange_bindings_of_regions_are_refused) {
  struct node node;
  node_open_domain(&node, &remote);
  char memory[64];
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  struct region region = counted_region(&node, memory, sizeof memory, 7, FI_RMA_EVENT);
  if (fi_mr_bind(region.mr, &counter->fid, FI_REMOTE_WRITE) == -FI_ENOSYS) unsupported("no counters of regions");
  assert_fails(fi_mr_bind(region.mr, &counter->fid, FI_SEND));
  assert_fails(fi_mr_bind(region.mr, &node.domain->fid, 0));
  close_fid(region.mr);
  close_fid(counter);
  node_close(&node);
}

// With the mode bit FI_MR_RMA_EVENT a region that is to be counted is out of reach until it is enabled.
CASE(counted_region_is_enabled_where_the_mode_says_so) {
  memory_open();
  struct node a, b;
  struct setup setup = remote;
  node_open(&a, &setup);
  memset(&b, 0, sizeof b);
  b.info = find_info(&setup);
  int mode = b.info->domain_attr->mr_mode;
  if (mode == basic_memory || mode == 2) unsupported("no mode bits");
  b.info->domain_attr->mr_mode |= FI_MR_RMA_EVENT;
  struct fid_fabric *fabric = NULL;
  struct fid_domain *domain = NULL;
  assert_success(fi_fabric(b.info->fabric_attr, &fabric, NULL));
  if (fi_domain(fabric, b.info, &domain, NULL)) unsupported("FI_MR_RMA_EVENT is not taken");
  struct node host = {.info = b.info, .fabric = fabric, .domain = domain};
  struct node target;
  node_open_beside(&target, &host, &setup);
  fi_addr_t to_target = node_insert(&a, target.address);
  (void)node_insert(&target, a.address);
  struct fid_cntr *counter = counter_open(&target, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  struct region region = counted_region(&target, memory_b, 100, 7, FI_RMA_EVENT);
  bind_region(&region, counter, FI_REMOTE_WRITE);
  post(fi_write(a.ep, memory_a, 10, NULL, to_target, region.base, region.key, NULL));
  struct fi_cq_err_entry error;
  wait_error(a.tx_cq, &error);
  assert_success(fi_mr_enable(region.mr));
  assert_fails(fi_mr_bind(region.mr, &counter->fid, FI_REMOTE_READ));
  post(fi_write(a.ep, memory_a, 10, NULL, to_target, region.base, region.key, NULL));
  await_value(counter, 1);
  close_fid(region.mr);
  close_fid(target.ep);
  target.ep = NULL;
  close_fid(counter);
  node_close(&target);
  close_fid(domain);
  close_fid(fabric);
  fi_freeinfo(b.info);
  node_close(&a);
  memory_close();
}

// ---- waiting ------------------------------------------------------------------------------------------------------

struct change {
  struct fid_cntr *counter;
  int delay;  // milliseconds
  int (*act)(struct fid_cntr *counter, uint64_t value);
  uint64_t value;
};

static int add(struct fid_cntr *counter, uint64_t value) { return fi_cntr_add(counter, value); }
static int set(struct fid_cntr *counter, uint64_t value) { return fi_cntr_set(counter, value); }
static int add_errors(struct fid_cntr *counter, uint64_t value) { return fi_cntr_adderr(counter, value); }
static int set_errors(struct fid_cntr *counter, uint64_t value) { return fi_cntr_seterr(counter, value); }

static void *change_later(void *argument) {
  struct change *change = argument;
  sleep_ms(change->delay);
  return (void *)(intptr_t)change->act(change->counter, change->value);
}

// What fi_cntr_wait says when another thread changes the counter meanwhile.
static void wait_while(enum fi_wait_obj wait_obj, int (*act)(struct fid_cntr *, uint64_t), uint64_t value, int expected) {
  struct node node;
  node_open_domain(&node, &(struct setup){.threading = FI_THREAD_SAFE});
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, wait_obj);
  struct change change = {counter, 100, act, value};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, change_later, &change), 0);
  double begin = seconds();
  int result = fi_cntr_wait(counter, 5, 4000);
  double waited = seconds() - begin;
  void *changed;
  pthread_join(thread, &changed);
  assert_success((intptr_t)changed);
  assert_returns(result, expected);
  if (waited > 1.5 * time_factor() || waited < 0.05) failed("woke after %.3f s", waited);
  close_fid(counter);
  node_close(&node);
}

CASE(wait_ends_when_another_thread_adds) { wait_while(FI_WAIT_UNSPEC, add, 5, 0); }
CASE(wait_ends_when_another_thread_sets) { wait_while(FI_WAIT_UNSPEC, set, 9, 0); }
CASE(wait_ends_with_an_error) { wait_while(FI_WAIT_UNSPEC, add_errors, 1, -FI_EAVAIL); }
CASE(wait_ends_when_errors_are_set) { wait_while(FI_WAIT_UNSPEC, set_errors, 3, -FI_EAVAIL); }
CASE(wait_with_a_descriptor_ends) { wait_while(FI_WAIT_FD, add, 5, 0); }
CASE(wait_that_yields_ends) { wait_while(FI_WAIT_YIELD, add, 5, 0); }
CASE(wait_that_yields_ends_with_an_error) { wait_while(FI_WAIT_YIELD, add_errors, 1, -FI_EAVAIL); }
CASE(wait_with_a_condition_ends) { wait_while(FI_WAIT_MUTEX_COND, add, 5, 0); }

CASE(wait_times_out) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_UNSPEC);
  assert_success(fi_cntr_set(counter, 4));
  double begin = seconds();
  assert_returns(fi_cntr_wait(counter, 5, 100), -FI_ETIMEDOUT);
  double waited = seconds() - begin;
  if (waited < 0.09 || waited > 1.5 * time_factor()) failed("waited %.3f s", waited);
  assert_returns(fi_cntr_wait(counter, 5, 0), -FI_ETIMEDOUT);
  await_errors(counter, 0);
  close_fid(counter);
  node_close(&node);
}

CASE(wait_for_what_is_there_returns_at_once) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_UNSPEC);
  assert_success(fi_cntr_set(counter, 4));
  assert_success(fi_cntr_wait(counter, 4, -1));
  assert_success(fi_cntr_wait(counter, 0, -1));
  assert_success(fi_cntr_wait(counter, 3, 0));
  close_fid(counter);
  node_close(&node);
}

// Errors that were there before do not end a wait: only a change does.
CASE(wait_ignores_older_errors) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_UNSPEC);
  assert_success(fi_cntr_seterr(counter, 3));
  assert_true(fi_cntr_readerr(counter) == 3);
  assert_returns(fi_cntr_wait(counter, 5, 50), -FI_ETIMEDOUT);
  close_fid(counter);
  node_close(&node);
}

CASE(wait_without_wait_object_does_not_invent_a_value) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *counter = counter_open(&node, FI_CNTR_EVENTS_COMP, FI_WAIT_NONE);
  assert_fails(fi_cntr_wait(counter, 5, 100));
  int descriptor = -1;
  assert_fails(fi_control(&counter->fid, FI_GETWAIT, &descriptor));
  close_fid(counter);
  node_close(&node);
}

// The man page says that programs may not do this. Those written for upstream's sockets provider do, fi_multi_mr for one.
CASE(wait_without_wait_object_sees_what_arrives) {
  wanted.events = FI_CNTR_EVENTS_COMP;
  wanted.wait_obj = FI_WAIT_NONE;
  struct pair pair;
  counted_pair_open(&pair, selective, FI_SEND | FI_RECV);
  char in[8], out[8] = {0};
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, NULL));
  post(fi_send(pair.a.ep, out, sizeof out, NULL, pair.to_b, NULL));
  int result = fi_cntr_wait(of[1].recv, 1, 5000);
  if (result == -FI_ENOSYS) unsupported("fi_cntr_wait without a wait object");
  assert_success(result);
  assert_returns(fi_cntr_wait(of[1].recv, 2, 50), -FI_ETIMEDOUT);
  counted_pair_close(&pair);
}

// Two processes: each waits for the other's messages in fi_cntr_wait, with nothing else that drives progress.
static enum fi_progress progress;
static enum fi_wait_obj wait_obj;

static void ping_pong(struct team *team) {
  wanted.events = FI_CNTR_EVENTS_COMP;
  wanted.wait_obj = wait_obj;
  wanted.kinds = FI_SEND | FI_RECV;
  struct node node;
  struct setup setup = selective;
  setup.progress = progress;
  setup.before_enable = bind_counters;
  node_open(&node, &setup);
  fi_addr_t peers[TEAM_MAX];
  team_connect(team, &node, peers);
  fi_addr_t peer = peers[1 - team->rank];
  char *in = allocate(300000), *out = allocate(300000);
  for (uint64_t i = 1; i <= 100; i++) {
    size_t size = i % 10 ? 64 : 300000;
    post(fi_recv(node.ep, in, size, NULL, FI_ADDR_UNSPEC, NULL));
    fill(out, size, i + (uint64_t)team->rank);
    if (team->rank == 0) post(fi_send(node.ep, out, size, NULL, peer, NULL));
    assert_returns(fi_cntr_wait(of[0].recv, i, 10000), 0);
    verify(in, size, i + 1 - (uint64_t)team->rank);
    if (team->rank == 1) post(fi_send(node.ep, out, size, NULL, peer, NULL));
    assert_returns(fi_cntr_wait(of[0].send, i, 10000), 0);
  }
  team_barrier(team);
  close_fid(node.ep);
  node.ep = NULL;
  close_fid(of[0].send);
  close_fid(of[0].recv);
  node_close(&node);
  free(in);
  free(out);
}

static void ping_pong_with(enum fi_progress model, enum fi_wait_obj object) {
  progress = model;
  wait_obj = object;
  team_run(2, ping_pong);
}

CASE(processes_wait_for_messages_by_counter) { ping_pong_with(FI_PROGRESS_UNSPEC, FI_WAIT_UNSPEC); }
CASE(processes_wait_by_counter_with_manual_progress) { ping_pong_with(FI_PROGRESS_MANUAL, FI_WAIT_UNSPEC); }
CASE(processes_wait_by_counter_with_a_descriptor) { ping_pong_with(FI_PROGRESS_MANUAL, FI_WAIT_FD); }
CASE(processes_wait_by_counter_yielding) { ping_pong_with(FI_PROGRESS_MANUAL, FI_WAIT_YIELD); }
