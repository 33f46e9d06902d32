// Operations that wait for counters: FI_TRIGGER and the deferred work queue. Man page: fi_trigger(3).
#include "fixture.h"

#include <rdma/fi_trigger.h>

enum { length = 2000, unreachable = 1000000 };

static char slot[100], out[length], in[length];

static const struct setup triggered = {.caps = FI_MSG | FI_TAGGED | FI_RMA | FI_TRIGGER};

static struct fid_cntr *counter_of(struct node *node) {
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP};
  struct fid_cntr *counter = NULL;
  assert_offered(fi_cntr_open(node->domain, &attributes, &counter, NULL));
  return counter;
}

static struct fi_triggered_context2 when(struct fid_cntr *counter, size_t threshold) {
  struct fi_triggered_context2 context = {.event_type = FI_TRIGGER_THRESHOLD};
  context.trigger.threshold.cntr = counter;
  context.trigger.threshold.threshold = threshold;
  return context;
}

static struct fi_msg message_to(fi_addr_t address, struct iovec *iov, void *context) {
  return (struct fi_msg){.msg_iov = iov, .iov_count = 1, .addr = address, .context = context};
}

static struct fi_msg_tagged tagged_to(fi_addr_t address, struct iovec *iov, uint64_t tag, void *context) {
  return (struct fi_msg_tagged){.msg_iov = iov, .iov_count = 1, .addr = address, .tag = tag, .context = context};
}

static struct fi_msg_rma access_to(fi_addr_t address, struct iovec *iov, struct fi_rma_iov *remote, void *context) {
  return (struct fi_msg_rma){.msg_iov = iov, .iov_count = 1, .addr = address, .rma_iov = remote, .rma_iov_count = 1,
                             .context = context};
}

static void await_counter(struct fid_cntr *counter, uint64_t value) { wait_until(fi_cntr_read(counter) >= value); }

static void stay_quiet(int milliseconds) {
  double deadline = deadline_after(milliseconds / 1000.0);
  while (seconds() < deadline) drive_progress();
}

// ---- FI_TRIGGER ---------------------------------------------------------------------------------------------------

CASE(triggers_are_offered) {
  struct fi_info *info = find_info(&triggered);
  assert_true(info->caps & FI_TRIGGER);
  fi_freeinfo(info);
}

CASE(messages_wait_for_a_counter) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct fid_cntr *counter = counter_of(&pair.a);
  fill(out, length, 1);
  post(fi_recv(pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  struct fi_triggered_context2 context = when(counter, 2);
  struct iovec iov = {out, length};
  struct fi_msg message = message_to(pair.to_b, &iov, &context);
  post(fi_sendmsg(pair.a.ep, &message, FI_TRIGGER | FI_COMPLETION));
  memset(&iov, 0, sizeof iov);  // it was copied, and so was the message
  memset(&message, 0, sizeof message);
  assert_success(fi_cntr_add(counter, 1));
  expect_quiet(pair.b.rx_cq, 20);
  assert_success(fi_cntr_add(counter, 1));
  wait_for(pair.b.rx_cq, &slot[0]);
  verify(in, length, 1);
  wait_for(pair.a.tx_cq, &context);
  close_fid(counter);
  pair_close(&pair);
}

// The condition may hold already.
CASE(nothing_waits_for_what_is_past) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct fid_cntr *counter = counter_of(&pair.a);
  assert_success(fi_cntr_set(counter, 7));
  post(fi_trecv(pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, 5, 0, &slot[0]));
  struct fi_triggered_context2 context = when(counter, 7);
  struct iovec iov = {out, length};
  fill(out, length, 2);
  struct fi_msg_tagged message = tagged_to(pair.to_b, &iov, 5, &context);
  post(fi_tsendmsg(pair.a.ep, &message, FI_TRIGGER | FI_COMPLETION));
  wait_for(pair.b.rx_cq, &slot[0]);
  wait_for(pair.a.tx_cq, &context);
  verify(in, length, 2);
  close_fid(counter);
  pair_close(&pair);
}

CASE(operations_start_in_the_order_of_thresholds) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct fid_cntr *counter = counter_of(&pair.a);
  static const size_t thresholds[] = {5, 2, 9, 2, 1, 5};
  static const uint64_t expected[] = {4, 1, 3, 0, 5, 2};
  struct fi_triggered_context2 contexts[6];
  uint64_t numbers[6], received[6];
  for (uint64_t i = 0; i < 6; i++) {
    post(fi_recv(pair.b.ep, &received[i], sizeof received[i], NULL, FI_ADDR_UNSPEC, &slot[i]));
    numbers[i] = i;
    contexts[i] = when(counter, thresholds[i]);
    struct iovec iov = {&numbers[i], sizeof numbers[i]};
    struct fi_msg message = message_to(pair.to_b, &iov, &contexts[i]);
    post(fi_sendmsg(pair.a.ep, &message, FI_TRIGGER | FI_COMPLETION));
  }
  assert_success(fi_cntr_set(counter, 20));
  for (int i = 0; i < 6; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
  }
  for (int i = 0; i < 6; i++) assert_int_equal(received[i], expected[i]);
  for (int i = 0; i < 6; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.a.tx_cq, &entry);
  }
  close_fid(counter);
  pair_close(&pair);
}

CASE(remote_memory_is_accessed_when_a_counter_says_so) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct region target;
  region_open(&target, &pair.b, length, all_rights, 1);
  struct fid_cntr *counter = counter_of(&pair.a);
  struct fi_triggered_context2 write = when(counter, 1), read = when(counter, 2);
  struct iovec from = {out, length}, to = {in, length};
  struct fi_rma_iov remote = {target.base, length, target.key};
  fill(out, length, 3);
  memset(in, 0, length);
  struct fi_msg_rma message = access_to(pair.to_b, &from, &remote, &write);
  post(fi_writemsg(pair.a.ep, &message, FI_TRIGGER | FI_COMPLETION | FI_DELIVERY_COMPLETE));
  message = access_to(pair.to_b, &to, &remote, &read);
  post(fi_readmsg(pair.a.ep, &message, FI_TRIGGER | FI_COMPLETION));
  stay_quiet(20);
  verify_bytes(target.memory, length, 0xee);
  assert_success(fi_cntr_add(counter, 1));
  wait_for(pair.a.tx_cq, &write);
  verify(target.memory, length, 3);
  expect_quiet(pair.a.tx_cq, 10);
  assert_success(fi_cntr_add(counter, 1));
  wait_for(pair.a.tx_cq, &read);
  verify(in, length, 3);
  close_fid(counter);
  region_close(&target);
  pair_close(&pair);
}

CASE(receives_wait_for_a_counter) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct fid_cntr *counter = counter_of(&pair.b);
  struct fi_triggered_context2 plain = when(counter, 1), tagged = when(counter, 2);
  static char second[length];
  struct iovec iov = {in, length}, other = {second, length};
  struct fi_msg message = message_to(FI_ADDR_UNSPEC, &iov, &plain);
  struct fi_msg_tagged with_tag = tagged_to(FI_ADDR_UNSPEC, &other, 6, &tagged);
  post(fi_recvmsg(pair.b.ep, &message, FI_TRIGGER | FI_COMPLETION));
  post(fi_trecvmsg(pair.b.ep, &with_tag, FI_TRIGGER | FI_COMPLETION));
  fill(out, length, 4);
  post(fi_send(pair.a.ep, out, length, NULL, pair.to_b, &slot[0]));
  post(fi_tsend(pair.a.ep, out, length, NULL, pair.to_b, 6, &slot[1]));
  expect_quiet(pair.b.rx_cq, 20);
  assert_success(fi_cntr_add(counter, 1));
  wait_for(pair.b.rx_cq, &plain);
  expect_quiet(pair.b.rx_cq, 10);
  assert_success(fi_cntr_add(counter, 1));
  wait_for(pair.b.rx_cq, &tagged);
  verify(in, length, 4);
  verify(second, length, 4);
  wait_for_all(pair.a.tx_cq, slot, 2);
  close_fid(counter);
  pair_close(&pair);
}

static struct fid_cntr *bound;

static void bind_receive_counter(struct node *node) {
  if (!bound) return;
  assert_offered(fi_ep_bind(node->ep, &bound->fid, FI_RECV));
}

// A message is passed on as soon as it was received, without anything that the program does in between but progress.
CASE(receives_start_sends) {
  struct node b, a;
  bound = NULL;
  node_open(&a, &triggered);
  node_open_domain(&b, &triggered);
  struct node host = b;
  struct setup setup = triggered;
  setup.before_enable = bind_receive_counter;
  bound = counter_of(&host);
  struct node relay;
  node_open_beside(&relay, &host, &setup);
  fi_addr_t to_relay = node_insert(&a, relay.address), to_a = node_insert(&relay, a.address);
  static char passed[length];
  struct fi_triggered_context2 context = when(bound, 1);
  struct iovec iov = {passed, length};
  struct fi_msg message = message_to(to_a, &iov, &context);
  post(fi_sendmsg(relay.ep, &message, FI_TRIGGER | FI_COMPLETION));
  post(fi_recv(relay.ep, passed, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_recv(a.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[1]));
  fill(out, length, 5);
  post(fi_send(a.ep, out, length, NULL, to_relay, &slot[2]));
  wait_for(a.rx_cq, &slot[1]);
  verify(in, length, 5);
  wait_for(a.tx_cq, &slot[2]);
  wait_for(relay.tx_cq, &context);
  wait_for(relay.rx_cq, &slot[0]);
  node_close(&relay);
  close_fid(bound);
  bound = NULL;
  node_close(&b);
  node_close(&a);
}

CASE(triggered_operations_are_cancelled) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct fid_cntr *counter = counter_of(&pair.b);
  struct fi_triggered_context2 context = when(counter, 1);
  struct iovec iov = {in, length};
  struct fi_msg message = message_to(FI_ADDR_UNSPEC, &iov, &context);
  post(fi_recvmsg(pair.b.ep, &message, FI_TRIGGER | FI_COMPLETION));
  assert_success(fi_cancel(&pair.b.ep->fid, &context));
  struct fi_cq_err_entry error = {0};
  wait_error(pair.b.rx_cq, &error);
  assert_ptr_equal(error.op_context, &context);
  assert_int_equal(error.err, FI_ECANCELED);
  assert_success(fi_cntr_add(counter, 1));
  expect_quiet(pair.b.rx_cq, 10);
  close_fid(counter);
  pair_close(&pair);
}

CASE(strange_triggers_are_refused) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct fid_cntr *counter = counter_of(&pair.a);
  struct fi_triggered_context2 context = when(counter, 1);
  struct iovec iov = {out, 8};
  struct fi_msg message = message_to(pair.to_b, &iov, &context);
  assert_returns(fi_sendmsg(pair.a.ep, &message, FI_TRIGGER | FI_INJECT), -FI_EINVAL);
  message.context = NULL;
  assert_returns(fi_sendmsg(pair.a.ep, &message, FI_TRIGGER), -FI_EINVAL);
  message.context = &context;
  context.event_type = FI_TRIGGER_XPU;
  assert_fails(fi_sendmsg(pair.a.ep, &message, FI_TRIGGER));
  context.event_type = (enum fi_trigger_event)77;
  assert_fails(fi_sendmsg(pair.a.ep, &message, FI_TRIGGER));
  assert_success(fi_cntr_add(counter, 1));
  expect_quiet(pair.a.tx_cq, 10);
  close_fid(counter);
  pair_close(&pair);
}

// ---- the deferred work queue --------------------------------------------------------------------------------------

struct bench {
  struct pair pair;
  struct region target;
  struct fid_cntr *trigger, *done;
};

static void bench_open(struct bench *bench, const struct setup *setup) {
  pair_open(&bench->pair, setup);
  region_open(&bench->target, &bench->pair.b, length, all_rights, 1);
  bench->trigger = counter_of(&bench->pair.a);
  bench->done = counter_of(&bench->pair.a);
}

static void bench_close(struct bench *bench) {
  region_close(&bench->target);
  close_fid(bench->pair.a.ep);
  bench->pair.a.ep = NULL;
  close_fid(bench->trigger);
  close_fid(bench->done);
  pair_close(&bench->pair);
}

static struct fi_deferred_work work_of(struct bench *bench, uint64_t threshold, enum fi_op_type type) {
  return (struct fi_deferred_work){.threshold = threshold, .triggering_cntr = bench->trigger,
                                   .completion_cntr = bench->done, .op_type = type};
}

static void queue(struct bench *bench, struct fi_deferred_work *work) {
  assert_offered(fi_control(&bench->pair.a.domain->fid, FI_QUEUE_WORK, work));
}

// Queues one send of `out` and clobbers what described it.
static void queue_send(struct bench *bench, struct fi_deferred_work *work, uint64_t flags) {
  struct iovec iov = {out, length};
  struct fi_op_msg op = {.ep = bench->pair.a.ep, .msg = message_to(bench->pair.to_b, &iov, &work->context), .flags = flags};
  work->op.msg = &op;
  queue(bench, work);
  memset(&op, 0, sizeof op);
  memset(&iov, 0, sizeof iov);
}

CASE(queued_work_of_each_kind) {
  struct bench bench;
  bench_open(&bench, &triggered);
  struct pair *pair = &bench.pair;
  static char received[2][length];
  fill(out, length, 1);
  struct fi_deferred_work send = work_of(&bench, 1, FI_OP_SEND), tsend = work_of(&bench, 2, FI_OP_TSEND),
                          write = work_of(&bench, 3, FI_OP_WRITE), read = work_of(&bench, 4, FI_OP_READ),
                          recv = work_of(&bench, 5, FI_OP_RECV), trecv = work_of(&bench, 6, FI_OP_TRECV);
  struct iovec from = {out, length}, to = {in, length}, to_first = {received[0], length}, to_second = {received[1], length};
  struct fi_rma_iov remote = {bench.target.base, length, bench.target.key};
  struct fi_op_msg op_send = {.ep = pair->a.ep, .msg = message_to(pair->to_b, &from, &send.context)};
  struct fi_op_tagged op_tsend = {.ep = pair->a.ep, .msg = tagged_to(pair->to_b, &from, 5, &tsend.context)};
  struct fi_op_rma op_write = {.ep = pair->a.ep, .msg = access_to(pair->to_b, &from, &remote, &write.context),
                               .flags = FI_DELIVERY_COMPLETE};
  struct fi_op_rma op_read = {.ep = pair->a.ep, .msg = access_to(pair->to_b, &to, &remote, &read.context)};
  struct fi_op_msg op_recv = {.ep = pair->a.ep, .msg = message_to(FI_ADDR_UNSPEC, &to_first, &recv.context)};
  struct fi_op_tagged op_trecv = {.ep = pair->a.ep, .msg = tagged_to(FI_ADDR_UNSPEC, &to_second, 5, &trecv.context)};
  send.op.msg = &op_send;
  tsend.op.tagged = &op_tsend;
  write.op.rma = &op_write;
  read.op.rma = &op_read;
  recv.op.msg = &op_recv;
  trecv.op.tagged = &op_trecv;
  struct fi_deferred_work *all[] = {&send, &tsend, &write, &read, &recv, &trecv};
  for (int i = 0; i < 6; i++) queue(&bench, all[i]);
  static char at_b[2][length];
  post(fi_recv(pair->b.ep, at_b[0], length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_trecv(pair->b.ep, at_b[1], length, NULL, FI_ADDR_UNSPEC, 5, 0, &slot[1]));
  post(fi_send(pair->b.ep, out, length, NULL, pair->to_a, &slot[2]));
  post(fi_tsend(pair->b.ep, out, length, NULL, pair->to_a, 5, &slot[3]));
  stay_quiet(20);
  assert_true(fi_cntr_read(bench.done) == 0);
  for (uint64_t i = 1; i <= 6; i++) {
    assert_success(fi_cntr_add(bench.trigger, 1));
    await_counter(bench.done, i);
    stay_quiet(2);
    assert_true(fi_cntr_read(bench.done) == i);
  }
  wait_for(pair->b.rx_cq, &slot[0]);
  wait_for(pair->b.rx_cq, &slot[1]);
  wait_for_all(pair->b.tx_cq, &slot[2], 2);
  verify(at_b[0], length, 1);
  verify(at_b[1], length, 1);
  verify(bench.target.memory, length, 1);
  verify(in, length, 1);
  verify(received[0], length, 1);
  verify(received[1], length, 1);
  // Nothing of all that is told to the endpoint's queues.
  expect_quiet(pair->a.tx_cq, 10);
  expect_quiet(pair->a.rx_cq, 10);
  bench_close(&bench);
}

CASE(queued_work_completes_where_it_asks_for_it) {
  struct bench bench;
  bench_open(&bench, &triggered);
  struct fi_deferred_work work = work_of(&bench, 1, FI_OP_SEND);
  post(fi_recv(bench.pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  queue_send(&bench, &work, FI_COMPLETION);
  assert_success(fi_cntr_add(bench.trigger, 1));
  wait_for(bench.pair.b.rx_cq, &slot[0]);
  wait_for(bench.pair.a.tx_cq, &work.context);
  await_counter(bench.done, 1);
  bench_close(&bench);
}

// Counter operations make other work due, and one piece of work may be queued many times.
CASE(counters_change_counters) {
  struct bench bench;
  bench_open(&bench, &triggered);
  struct fid_cntr *second = counter_of(&bench.pair.a), *third = counter_of(&bench.pair.a);
  struct fi_op_cntr set = {second, 5}, add = {third, 2};
  struct fi_deferred_work first = work_of(&bench, 3, FI_OP_CNTR_SET);
  first.completion_cntr = NULL;
  first.op.cntr = &set;
  queue(&bench, &first);
  struct fi_deferred_work next = work_of(&bench, 5, FI_OP_CNTR_ADD);
  next.triggering_cntr = second;
  next.completion_cntr = NULL;
  next.op.cntr = &add;
  for (int i = 0; i < 4; i++) queue(&bench, &next);
  assert_success(fi_cntr_add(bench.trigger, 2));
  stay_quiet(5);
  assert_true(fi_cntr_read(second) == 0);
  assert_success(fi_cntr_add(bench.trigger, 1));
  await_counter(third, 8);
  assert_true(fi_cntr_read(second) == 5 && fi_cntr_read(third) == 8);
  struct fi_deferred_work counted = work_of(&bench, 1, FI_OP_CNTR_ADD);
  counted.op.cntr = &add;
  assert_fails(fi_control(&bench.pair.a.domain->fid, FI_QUEUE_WORK, &counted));  // it has a completion counter
  close_fid(second);
  close_fid(third);
  bench_close(&bench);
}

CASE(errors_count_towards_the_threshold) {
  struct bench bench;
  bench_open(&bench, &triggered);
  struct fi_deferred_work work = work_of(&bench, 2, FI_OP_SEND);
  post(fi_recv(bench.pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  queue_send(&bench, &work, 0);
  assert_success(fi_cntr_add(bench.trigger, 1));
  expect_quiet(bench.pair.b.rx_cq, 10);
  assert_success(fi_cntr_adderr(bench.trigger, 1));
  wait_for(bench.pair.b.rx_cq, &slot[0]);
  await_counter(bench.done, 1);
  bench_close(&bench);
}

CASE(failed_work_is_counted_as_an_error) {
  struct bench bench;
  bench_open(&bench, &triggered);
  struct iovec iov = {out, length};
  struct fi_rma_iov remote = {bench.target.base, length, bench.target.key + 1};
  struct fi_deferred_work work = work_of(&bench, 1, FI_OP_WRITE);
  struct fi_op_rma op = {.ep = bench.pair.a.ep, .msg = access_to(bench.pair.to_b, &iov, &remote, &work.context)};
  work.op.rma = &op;
  queue(&bench, &work);
  assert_success(fi_cntr_add(bench.trigger, 1));
  wait_until(fi_cntr_readerr(bench.done) == 1);
  assert_true(fi_cntr_read(bench.done) == 0);
  verify_bytes(bench.target.memory, length, 0xee);
  bench_close(&bench);
}

// More than fits the transmit queue becomes due at once: what finds no room waits for it, and nothing is lost.
CASE(more_work_than_room) {
  struct setup setup = triggered;
  setup.tx_size = 4;
  struct bench bench;
  bench_open(&bench, &setup);
  enum { count = 300 };
  static struct fi_deferred_work works[count];
  static uint64_t numbers[count], received[count];
  for (uint64_t i = 0; i < count; i++) {
    numbers[i] = i;
    post(fi_recv(bench.pair.b.ep, &received[i], sizeof received[i], NULL, FI_ADDR_UNSPEC, NULL));
    works[i] = work_of(&bench, 1 + i / 100, FI_OP_SEND);
    struct iovec iov = {&numbers[i], sizeof numbers[i]};
    struct fi_op_msg op = {.ep = bench.pair.a.ep, .msg = message_to(bench.pair.to_b, &iov, &works[i].context)};
    works[i].op.msg = &op;
    queue(&bench, &works[i]);
  }
  assert_success(fi_cntr_set(bench.trigger, 3));
  await_counter(bench.done, count);
  for (uint64_t i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(bench.pair.b.rx_cq, &entry);
  }
  for (uint64_t i = 0; i < count; i++) assert_int_equal(received[i], i);
  bench_close(&bench);
}

CASE(queued_work_is_cancelled) {
  struct bench bench;
  bench_open(&bench, &triggered);
  struct fid *domain = &bench.pair.a.domain->fid;
  struct fi_deferred_work works[4];
  for (int i = 0; i < 4; i++) {
    works[i] = work_of(&bench, 1, FI_OP_SEND);
    queue_send(&bench, &works[i], 0);
  }
  assert_offered(fi_control(domain, FI_CANCEL_WORK, &works[1]));
  assert_fails(fi_control(domain, FI_CANCEL_WORK, &works[1]));
  post(fi_recv(bench.pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  for (int i = 1; i < 4; i++) post(fi_recv(bench.pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[i]));
  assert_success(fi_cntr_add(bench.trigger, 1));
  await_counter(bench.done, 3);
  stay_quiet(10);
  assert_true(fi_cntr_read(bench.done) == 3);
  assert_fails(fi_control(domain, FI_CANCEL_WORK, &works[0]));  // it is over
  bench_close(&bench);
}

CASE(queued_work_is_flushed) {
  struct bench bench;
  bench_open(&bench, &triggered);
  struct fid *domain = &bench.pair.a.domain->fid;
  struct fid_cntr *other = counter_of(&bench.pair.a);
  struct fi_deferred_work works[4];
  for (int i = 0; i < 4; i++) {
    works[i] = work_of(&bench, 1, FI_OP_SEND);
    if (i % 2) works[i].triggering_cntr = other;
    queue_send(&bench, &works[i], 0);
  }
  for (int i = 0; i < 4; i++) post(fi_recv(bench.pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[i]));
  assert_returns(fi_close(&other->fid), -FI_EBUSY);  // work waits for it
  assert_offered(fi_control(domain, FI_FLUSH_WORK, other));
  assert_success(fi_cntr_add(other, 1));
  expect_quiet(bench.pair.b.rx_cq, 10);
  assert_success(fi_cntr_add(bench.trigger, 1));
  await_counter(bench.done, 2);
  works[0].threshold = unreachable;
  queue_send(&bench, &works[0], 0);
  assert_success(fi_control(domain, FI_FLUSH_WORK, NULL));
  assert_success(fi_cntr_set(bench.trigger, unreachable));
  stay_quiet(10);
  assert_true(fi_cntr_read(bench.done) == 2);
  close_fid(other);
  bench_close(&bench);
}

// Work that still waits goes with its endpoint.
CASE(endpoints_take_their_work_along) {
  struct bench bench;
  bench_open(&bench, &triggered);
  struct fi_deferred_work work = work_of(&bench, 1, FI_OP_SEND);
  queue_send(&bench, &work, 0);
  struct iovec iov = {in, length};
  struct fi_op_msg op = {.ep = bench.pair.a.ep, .msg = message_to(FI_ADDR_UNSPEC, &iov, &work.context)};
  struct fi_deferred_work receive = work_of(&bench, 1, FI_OP_RECV), started = work_of(&bench, 0, FI_OP_RECV);
  receive.op.msg = &op;
  started.op.msg = &op;
  queue(&bench, &receive);
  queue(&bench, &started);
  close_fid(bench.pair.a.ep);
  bench.pair.a.ep = NULL;
  assert_success(fi_cntr_add(bench.trigger, 1));
  assert_true(fi_cntr_read(bench.done) == 0);
  region_close(&bench.target);
  close_fid(bench.trigger);
  close_fid(bench.done);
  pair_close(&bench.pair);
}

CASE(strange_work_is_refused) {
  struct bench bench;
  bench_open(&bench, &triggered);
  struct fid *domain = &bench.pair.a.domain->fid;
  struct fi_deferred_work work = work_of(&bench, 1, FI_OP_SEND);
  assert_fails(fi_control(domain, FI_QUEUE_WORK, NULL));
  assert_fails(fi_control(domain, FI_CANCEL_WORK, NULL));
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));  // no operation
  struct iovec iov = {out, length};
  struct fi_op_msg op = {.ep = bench.pair.a.ep, .msg = message_to(bench.pair.to_b, &iov, &work.context)};
  work.op.msg = &op;
  op.flags = FI_INJECT;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  op.flags = 0;
  op.ep = NULL;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  op.ep = bench.pair.a.ep;
  work.triggering_cntr = NULL;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  work.triggering_cntr = bench.trigger;
  work.op_type = (enum fi_op_type)99;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  struct fid_cntr *foreign = counter_of(&bench.pair.b);
  work.op_type = FI_OP_SEND;
  work.completion_cntr = foreign;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  close_fid(foreign);
  bench_close(&bench);
}

// With automatic progress nobody needs to call the library for work to start.
CASE(work_starts_by_itself) {
  struct setup setup = triggered;
  setup.progress = FI_PROGRESS_AUTO;
  struct bench bench;
  bench_open(&bench, &setup);
  struct fi_deferred_work relay = work_of(&bench, 1, FI_OP_CNTR_ADD), send = work_of(&bench, 1, FI_OP_SEND);
  struct fid_cntr *second = counter_of(&bench.pair.a);
  struct fi_op_cntr add = {second, 1};
  relay.triggering_cntr = bench.done;
  relay.completion_cntr = NULL;
  relay.op.cntr = &add;
  queue(&bench, &relay);
  queue_send(&bench, &send, FI_DELIVERY_COMPLETE);
  post(fi_recv(bench.pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  assert_success(fi_cntr_add(bench.trigger, 1));
  sleep_ms(300);
  assert_true(fi_cntr_read(second) == 1);
  wait_for(bench.pair.b.rx_cq, &slot[0]);
  close_fid(second);
  bench_close(&bench);
}
