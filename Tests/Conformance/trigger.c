// Operations that wait for counters: FI_TRIGGER and the deferred work queue. Man page: fi_trigger(3).
#include "fixture.h"

#include <stdatomic.h>

#include <rdma/fi_atomic.h>
#include <rdma/fi_trigger.h>

enum { length = 2000, unreachable = 1000000 };

static char slot[100], out[length], in[length];

static const struct setup triggered = {.caps = FI_MSG | FI_TAGGED | FI_RMA | FI_TRIGGER};

static const struct setup with_atomics = {.caps = FI_MSG | FI_TAGGED | FI_RMA | FI_ATOMIC | FI_TRIGGER};

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

// ---- FI_TRIGGER as a default flag ----------------------------------------------------------------------------------

static struct fid_ep *alias_of(struct fid_ep *ep, uint64_t flags) {
  struct fid_ep *alias = NULL;
  assert_offered(fi_ep_alias(ep, &alias, flags));
  return alias;
}

// Counts up to `count`; what waits for each value ends with that, and not before.
static void step(struct fid_cntr *counter, struct fid_cq *cq, struct fi_triggered_context2 *contexts, int count) {
  for (int i = 0; i < count; i++) {
    expect_quiet(cq, 3);
    assert_success(fi_cntr_add(counter, 1));
    wait_for(cq, &contexts[i]);
  }
}

CASE(aliases_defer_messages) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct fid_cntr *counter = counter_of(&pair.a);
  struct fid_ep *alias = alias_of(pair.a.ep, FI_TRANSMIT | FI_TRIGGER);
  static char targets[6][length];
  struct fi_triggered_context2 contexts[6];
  for (int i = 0; i < 6; i++) contexts[i] = when(counter, (size_t)i + 1);
  for (int i = 0; i < 3; i++) post(fi_recv(pair.b.ep, targets[i], length, NULL, FI_ADDR_UNSPEC, &slot[i]));
  for (int i = 3; i < 6; i++) {
    post(fi_trecv(pair.b.ep, targets[i], length, NULL, FI_ADDR_UNSPEC, (uint64_t)i, 0, &slot[i]));
  }
  fill(out, length, 1);
  struct iovec iov[2] = {{out, 500}, {out + 500, length - 500}};
  post(fi_send(alias, out, length, NULL, pair.to_b, &contexts[0]));
  post(fi_sendv(alias, iov, NULL, 2, pair.to_b, &contexts[1]));
  post(fi_senddata(alias, out, length, NULL, 77, pair.to_b, &contexts[2]));
  post(fi_tsend(alias, out, length, NULL, pair.to_b, 3, &contexts[3]));
  post(fi_tsendv(alias, iov, NULL, 2, pair.to_b, 4, &contexts[4]));
  post(fi_tsenddata(alias, out, length, NULL, 78, pair.to_b, 5, &contexts[5]));
  memset(iov, 0, sizeof iov);
  step(counter, pair.a.tx_cq, contexts, 6);
  for (int i = 0; i < 6; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    assert_int_equal(entry.flags & FI_REMOTE_CQ_DATA ? entry.data : 0, i == 2 ? 77 : i == 5 ? 78 : 0);
    verify(targets[i], length, 1);
  }
  close_fid(alias);
  close_fid(counter);
  pair_close(&pair);
}

CASE(aliases_defer_access_to_remote_memory) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct region target;
  region_open(&target, &pair.b, 3 * length, all_rights, 1);
  struct fid_cntr *counter = counter_of(&pair.a);
  struct fid_ep *alias = alias_of(pair.a.ep, FI_TRANSMIT | FI_TRIGGER | FI_DELIVERY_COMPLETE);
  static char second[length];
  struct fi_triggered_context2 contexts[5];
  for (int i = 0; i < 5; i++) contexts[i] = when(counter, (size_t)i + 1);
  fill(out, length, 2);
  memset(in, 0, length);
  struct iovec from[2] = {{out, 500}, {out + 500, length - 500}}, to[2] = {{second, 700}, {second + 700, length - 700}};
  post(fi_write(alias, out, length, NULL, pair.to_b, target.base, target.key, &contexts[0]));
  post(fi_writev(alias, from, NULL, 2, pair.to_b, target.base + length, target.key, &contexts[1]));
  post(fi_writedata(alias, out, length, NULL, 79, pair.to_b, target.base + 2 * length, target.key, &contexts[2]));
  post(fi_read(alias, in, length, NULL, pair.to_b, target.base, target.key, &contexts[3]));
  post(fi_readv(alias, to, NULL, 2, pair.to_b, target.base + length, target.key, &contexts[4]));
  stay_quiet(10);
  verify_bytes(target.memory, 3 * length, 0xee);
  // What the endpoint itself posts goes at once.
  post(fi_read(pair.a.ep, slot, 8, NULL, pair.to_b, target.base, target.key, slot));
  wait_for(pair.a.tx_cq, slot);
  step(counter, pair.a.tx_cq, contexts, 5);
  for (int i = 0; i < 3; i++) verify(target.memory + i * length, length, 2);
  verify(in, length, 2);
  verify(second, length, 2);
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair.b.rx_cq, &entry);
  assert_int_equal(entry.data, 79);
  close_fid(alias);
  close_fid(counter);
  region_close(&target);
  pair_close(&pair);
}

CASE(aliases_defer_receives) {
  struct pair pair;
  pair_open(&pair, &triggered);
  struct fid_cntr *counter = counter_of(&pair.b);
  struct fid_ep *alias = alias_of(pair.b.ep, FI_RECV | FI_TRIGGER);
  static char targets[4][length];
  struct fi_triggered_context2 contexts[4];
  for (int i = 0; i < 4; i++) contexts[i] = when(counter, (size_t)i + 1);
  struct iovec plain[2] = {{targets[1], 300}, {targets[1] + 300, length - 300}};
  struct iovec tagged[2] = {{targets[3], 900}, {targets[3] + 900, length - 900}};
  post(fi_recv(alias, targets[0], length, NULL, FI_ADDR_UNSPEC, &contexts[0]));
  post(fi_recvv(alias, plain, NULL, 2, FI_ADDR_UNSPEC, &contexts[1]));
  post(fi_trecv(alias, targets[2], length, NULL, FI_ADDR_UNSPEC, 2, 0, &contexts[2]));
  post(fi_trecvv(alias, tagged, NULL, 2, FI_ADDR_UNSPEC, 3, 0, &contexts[3]));
  fill(out, length, 3);
  for (int i = 0; i < 2; i++) post(fi_send(pair.a.ep, out, length, NULL, pair.to_b, &slot[i]));
  for (int i = 2; i < 4; i++) post(fi_tsend(pair.a.ep, out, length, NULL, pair.to_b, (uint64_t)i, &slot[i]));
  step(counter, pair.b.rx_cq, contexts, 4);
  for (int i = 0; i < 4; i++) verify(targets[i], length, 3);
  wait_for_all(pair.a.tx_cq, slot, 4);
  // It defers no sends, nor what has no context.
  char small = 0;
  post(fi_recv(pair.a.ep, &small, 1, NULL, FI_ADDR_UNSPEC, &slot[4]));
  post(fi_inject(alias, "x", 1, pair.to_a));
  wait_for(pair.a.rx_cq, &slot[4]);
  assert_int_equal(small, 'x');
  post(fi_recv(pair.a.ep, &small, 1, NULL, FI_ADDR_UNSPEC, &slot[4]));
  post(fi_send(alias, "y", 1, NULL, pair.to_a, &slot[5]));
  wait_for(pair.b.tx_cq, &slot[5]);
  wait_for(pair.a.rx_cq, &slot[4]);
  assert_int_equal(small, 'y');
  expect_quiet(pair.b.tx_cq, 5);
  close_fid(alias);
  close_fid(counter);
  pair_close(&pair);
}

CASE(nothing_that_is_injected_waits) {
  struct pair pair;
  pair_open(&pair, &with_atomics);
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 1);
  struct fid_ep *alias = alias_of(pair.a.ep, FI_TRANSMIT | FI_TRIGGER);
  assert_returns(fi_inject(alias, out, 8, pair.to_b), -FI_EINVAL);
  assert_returns(fi_injectdata(alias, out, 8, 1, pair.to_b), -FI_EINVAL);
  assert_returns(fi_tinject(alias, out, 8, pair.to_b, 1), -FI_EINVAL);
  assert_returns(fi_tinjectdata(alias, out, 8, 1, pair.to_b, 1), -FI_EINVAL);
  assert_returns(fi_inject_write(alias, out, 8, pair.to_b, target.base, target.key), -FI_EINVAL);
  assert_returns(fi_inject_writedata(alias, out, 8, 1, pair.to_b, target.base, target.key), -FI_EINVAL);
  assert_returns(fi_inject_atomic(alias, out, 1, pair.to_b, target.base, target.key, FI_UINT64, FI_SUM), -FI_EINVAL);
  assert_returns(fi_send(alias, out, 8, NULL, pair.to_b, NULL), -FI_EINVAL);
  assert_returns(fi_write(alias, out, 8, NULL, pair.to_b, target.base, target.key, NULL), -FI_EINVAL);
  stay_quiet(10);
  verify_bytes(target.memory, 64, 0xee);
  close_fid(alias);
  region_close(&target);
  pair_close(&pair);
}

// The endpoint itself, an alias that is older than its data path, and one of both directions.
CASE(default_flags_come_and_go) {
  struct node node;
  node_open_domain(&node, &triggered);
  assert_success(fi_endpoint(node.domain, node.info, &node.ep, NULL));
  struct fid_ep *early = alias_of(node.ep, FI_TRANSMIT | FI_TRIGGER);
  assert_returns(fi_send(early, out, 8, NULL, 0, NULL), -FI_EOPBADSTATE);
  node.av = av_open(&node, FI_AV_UNSPEC);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 0);
  node.rx_cq = cq_open(&node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 0);
  watch_cq(node.tx_cq);
  watch_cq(node.rx_cq);
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(node.ep, &node.rx_cq->fid, FI_RECV));
  assert_success(fi_enable(node.ep));
  char address[128];
  size_t size = sizeof address;
  assert_success(fi_getname(&node.ep->fid, address, &size));
  fi_addr_t self = node_insert(&node, address);
  struct fid_cntr *counter = counter_of(&node);
  struct fid_ep *both = alias_of(early, FI_RECV | FI_TRIGGER);
  struct fi_triggered_context2 contexts[4];
  for (int i = 0; i < 4; i++) contexts[i] = when(counter, (size_t)i + 1);
  uint64_t numbers[3] = {1, 2, 3}, received[3] = {0};
  uint64_t flags = FI_TRANSMIT | FI_TRIGGER;
  assert_success(fi_control(&node.ep->fid, FI_SETOPSFLAG, &flags));
  flags = FI_TRANSMIT;
  assert_success(fi_control(&node.ep->fid, FI_GETOPSFLAG, &flags));
  assert_true(flags & FI_TRIGGER);
  post(fi_recv(both, &received[0], 8, NULL, FI_ADDR_UNSPEC, &contexts[0]));
  post(fi_send(early, &numbers[0], 8, NULL, self, &contexts[1]));
  post(fi_send(both, &numbers[1], 8, NULL, self, &contexts[2]));
  post(fi_send(node.ep, &numbers[2], 8, NULL, self, &contexts[3]));
  for (int i = 1; i < 3; i++) post(fi_recv(node.ep, &received[i], 8, NULL, FI_ADDR_UNSPEC, &slot[i]));
  expect_quiet(node.rx_cq, 5);
  assert_success(fi_cntr_set(counter, 4));
  for (int i = 1; i < 4; i++) wait_for(node.tx_cq, &contexts[i]);
  // The receive that waited was posted last.
  wait_for(node.rx_cq, &slot[1]);
  wait_for(node.rx_cq, &slot[2]);
  wait_for(node.rx_cq, &contexts[0]);
  assert_true(received[1] == 1 && received[2] == 2 && received[0] == 3);
  flags = FI_TRANSMIT;
  assert_success(fi_control(&node.ep->fid, FI_SETOPSFLAG, &flags));
  post(fi_recv(node.ep, &received[0], 8, NULL, FI_ADDR_UNSPEC, &slot[3]));
  post(fi_send(node.ep, &numbers[0], 8, NULL, self, &slot[4]));
  wait_for(node.tx_cq, &slot[4]);
  wait_for(node.rx_cq, &slot[3]);
  close_fid(both);
  close_fid(early);
  close_fid(counter);
  node_close(&node);
}

CASE(only_with_the_capability) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.caps = FI_MSG});
  struct fid_ep *alias = NULL;
  assert_fails(fi_ep_alias(pair.a.ep, &alias, FI_TRANSMIT | FI_TRIGGER));
  assert_fails(fi_ep_alias(pair.a.ep, &alias, FI_RECV | FI_TRIGGER));
  assert_null(alias);
  pair_close(&pair);
}

// ---- atomic operations with FI_TRIGGER -----------------------------------------------------------------------------

CASE(atomics_wait_for_a_counter) {
  struct pair pair;
  pair_open(&pair, &with_atomics);
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 1);
  uint64_t *word = (uint64_t *)target.memory;
  *word = 5;
  struct fid_cntr *counter = counter_of(&pair.a);
  struct fi_triggered_context2 contexts[6];
  for (int i = 0; i < 6; i++) contexts[i] = when(counter, (size_t)i + 1);
  uint64_t operand[3] = {7, 0, 100}, compare = 12, fetched[3] = {0}, compared = 0;
  struct fi_ioc operands = {&operand[0], 1}, results = {&fetched[0], 1}, comparands = {&compare, 1};
  struct fi_rma_ioc remote = {target.base, 1, target.key};
  struct fi_msg_atomic msg = {.msg_iov = &operands, .iov_count = 1, .addr = pair.to_b, .rma_iov = &remote,
                              .rma_iov_count = 1, .datatype = FI_UINT64, .op = FI_SUM, .context = &contexts[0]};
  uint64_t flags = FI_TRIGGER | FI_COMPLETION | FI_DELIVERY_COMPLETE;
  post(fi_atomicmsg(pair.a.ep, &msg, flags));
  msg.op = FI_ATOMIC_READ;
  msg.context = &contexts[1];
  post(fi_fetch_atomicmsg(pair.a.ep, &msg, &results, NULL, 1, flags));
  msg.op = FI_CSWAP;
  msg.context = &contexts[2];
  operands.addr = &operand[2];
  results.addr = &compared;
  post(fi_compare_atomicmsg(pair.a.ep, &msg, &comparands, NULL, 1, &results, NULL, 1, flags));
  memset(&operands, 0, sizeof operands);  // all that was copied
  memset(&results, 0, sizeof results);
  memset(&comparands, 0, sizeof comparands);
  memset(&remote, 0, sizeof remote);
  // Plain calls of an alias wait as well.
  struct fid_ep *alias = alias_of(pair.a.ep, FI_TRANSMIT | FI_TRIGGER | FI_DELIVERY_COMPLETE);
  uint64_t one = 1, hundred = 100, zero = 0, old = 0;
  post(fi_fetch_atomic(alias, &one, 1, NULL, &fetched[1], NULL, pair.to_b, target.base, target.key, FI_UINT64, FI_SUM,
                       &contexts[3]));
  post(fi_compare_atomic(alias, &zero, 1, NULL, &hundred, NULL, &old, NULL, pair.to_b, target.base, target.key,
                         FI_UINT64, FI_CSWAP_NE, &contexts[4]));
  post(fi_atomic(alias, &one, 1, NULL, pair.to_b, target.base, target.key, FI_UINT64, FI_BOR, &contexts[5]));
  stay_quiet(10);
  assert_int_equal(*word, 5);
  step(counter, pair.a.tx_cq, contexts, 6);
  assert_int_equal(fetched[0], 12);
  assert_int_equal(compared, 12);
  assert_int_equal(fetched[1], 100);
  assert_int_equal(old, 101);
  assert_int_equal(*word, 1);
  close_fid(alias);
  close_fid(counter);
  region_close(&target);
  pair_close(&pair);
}

CASE(strange_atomics_do_not_wait) {
  struct pair pair;
  pair_open(&pair, &with_atomics);
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 1);
  struct fid_cntr *counter = counter_of(&pair.a);
  struct fi_triggered_context2 context = when(counter, 1);
  uint64_t value[2] = {1, 1};
  struct fi_ioc operands = {value, 1}, results = {value, 2};
  struct fi_rma_ioc remote = {target.base, 1, target.key};
  struct fi_msg_atomic msg = {.msg_iov = &operands, .iov_count = 1, .addr = pair.to_b, .rma_iov = &remote,
                              .rma_iov_count = 1, .datatype = FI_UINT64, .op = FI_SUM, .context = &context};
  assert_offered(fi_atomicmsg(pair.a.ep, &msg, FI_TRIGGER | FI_COMPLETION));
  assert_returns(fi_atomicmsg(pair.a.ep, &msg, FI_TRIGGER | FI_INJECT), -FI_EINVAL);
  assert_fails(fi_fetch_atomicmsg(pair.a.ep, &msg, &results, NULL, 1, FI_TRIGGER));  // more results than elements
  remote.count = 2;
  assert_fails(fi_atomicmsg(pair.a.ep, &msg, FI_TRIGGER));
  remote.count = 1;
  msg.op = FI_CSWAP;
  assert_fails(fi_atomicmsg(pair.a.ep, &msg, FI_TRIGGER));
  msg.op = FI_SUM;
  msg.context = NULL;
  assert_returns(fi_atomicmsg(pair.a.ep, &msg, FI_TRIGGER), -FI_EINVAL);
  memset(target.memory, 0, 64);
  assert_success(fi_cntr_add(counter, 1));
  wait_for(pair.a.tx_cq, &context);
  stay_quiet(10);
  assert_int_equal(*(uint64_t *)target.memory, 1);
  close_fid(counter);
  region_close(&target);
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

// ---- deferred atomics ----------------------------------------------------------------------------------------------

static struct fi_msg_atomic atomic_on(struct bench *bench, struct fi_ioc *iov, struct fi_rma_ioc *remote, enum fi_op op) {
  return (struct fi_msg_atomic){.msg_iov = iov, .iov_count = 1, .addr = bench->pair.to_b, .rma_iov = remote,
                                .rma_iov_count = 1, .datatype = FI_UINT64, .op = op};
}

// Operands and comparands are read when it is time, and not before.
CASE(queued_atomics_of_each_kind) {
  struct bench bench;
  bench_open(&bench, &with_atomics);
  uint64_t *words = (uint64_t *)bench.target.memory;
  words[0] = 10;
  words[1] = 20;
  uint64_t operands[2] = {0}, compare[2] = {0}, fetched[2] = {0}, compared[2] = {0};
  struct fi_ioc iov = {operands, 2}, compare_iov[2] = {{&compare[0], 1}, {&compare[1], 1}}, fetch_iov = {fetched, 2},
                compared_iov = {compared, 2};
  struct fi_rma_ioc remote = {bench.target.base, 2, bench.target.key};
  struct fi_deferred_work works[] = {work_of(&bench, 1, FI_OP_ATOMIC), work_of(&bench, 2, FI_OP_FETCH_ATOMIC),
                                     work_of(&bench, 3, FI_OP_COMPARE_ATOMIC)};
  struct fi_op_atomic base = {.ep = bench.pair.a.ep, .msg = atomic_on(&bench, &iov, &remote, FI_SUM),
                              .flags = FI_DELIVERY_COMPLETE};
  struct fi_op_fetch_atomic fetch = {.ep = bench.pair.a.ep, .msg = atomic_on(&bench, &iov, &remote, FI_MAX),
                                     .fetch = {&fetch_iov, NULL, 1}};
  struct fi_op_compare_atomic comparing = {.ep = bench.pair.a.ep, .msg = atomic_on(&bench, &iov, &remote, FI_CSWAP),
                                           .fetch = {&compared_iov, NULL, 1}, .compare = {compare_iov, NULL, 2}};
  works[0].op.atomic = &base;
  works[1].op.fetch_atomic = &fetch;
  works[2].op.compare_atomic = &comparing;
  for (int i = 0; i < 3; i++) queue(&bench, &works[i]);
  memset(&iov, 0, sizeof iov);
  memset(compare_iov, 0, sizeof compare_iov);
  memset(&remote, 0, sizeof remote);
  stay_quiet(10);
  assert_true(words[0] == 10 && words[1] == 20);
  static const uint64_t values[3][2] = {{1, 2}, {100, 3}, {7, 8}};
  for (uint64_t i = 0; i < 3; i++) {
    memcpy(operands, values[i], sizeof operands);
    compare[0] = 100;
    compare[1] = 1;
    assert_success(fi_cntr_add(bench.trigger, 1));
    await_counter(bench.done, i + 1);
  }
  assert_true(fetched[0] == 11 && fetched[1] == 22);
  assert_true(compared[0] == 100 && compared[1] == 22);
  assert_true(words[0] == 7 && words[1] == 22);
  expect_quiet(bench.pair.a.tx_cq, 10);
  bench_close(&bench);
}

// A completion counter of bytes counts those of remote memory, however many operands there are.
CASE(queued_work_is_counted_in_bytes) {
  struct bench bench;
  bench_open(&bench, &with_atomics);
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_BYTES};
  struct fid_cntr *bytes = NULL;
  int opened = fi_cntr_open(bench.pair.a.domain, &attributes, &bytes, NULL);
  if (opened) unsupported("no counters of bytes: %d", opened);
  uint64_t operands[3] = {1, 2, 3}, compare[3] = {0}, result[3] = {0};
  struct fi_ioc iov = {operands, 3}, compare_iov = {compare, 3}, result_iov = {result, 3};
  struct fi_rma_ioc remote = {bench.target.base, 3, bench.target.key};
  struct fi_op_compare_atomic op = {.ep = bench.pair.a.ep, .msg = atomic_on(&bench, &iov, &remote, FI_CSWAP),
                                    .fetch = {&result_iov, NULL, 1}, .compare = {&compare_iov, NULL, 1}};
  struct fi_deferred_work work = work_of(&bench, 0, FI_OP_COMPARE_ATOMIC), send = work_of(&bench, 0, FI_OP_SEND);
  work.op.compare_atomic = &op;
  work.completion_cntr = bytes;
  queue(&bench, &work);
  wait_until(fi_cntr_read(bytes) > 0);
  assert_int_equal(fi_cntr_read(bytes), sizeof operands);
  send.completion_cntr = bytes;
  post(fi_recv(bench.pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  queue_send(&bench, &send, 0);
  wait_until(fi_cntr_read(bytes) > sizeof operands);
  assert_int_equal(fi_cntr_read(bytes), sizeof operands + length);
  wait_for(bench.pair.b.rx_cq, &slot[0]);
  close_fid(bytes);
  bench_close(&bench);
}

CASE(queued_atomics_fail) {
  struct bench bench;
  bench_open(&bench, &with_atomics);
  uint64_t value = 1, result = 0;
  struct fi_ioc iov = {&value, 1}, results = {&result, 1};
  struct fi_rma_ioc remote = {bench.target.base, 1, bench.target.key + 1};
  struct fi_deferred_work work = work_of(&bench, 1, FI_OP_FETCH_ATOMIC);
  struct fi_op_fetch_atomic op = {.ep = bench.pair.a.ep, .msg = atomic_on(&bench, &iov, &remote, FI_SUM),
                                  .fetch = {&results, NULL, 1}};
  work.op.fetch_atomic = &op;
  struct fid *domain = &bench.pair.a.domain->fid;
  queue(&bench, &work);
  assert_success(fi_cntr_add(bench.trigger, 1));
  wait_until(fi_cntr_readerr(bench.done) == 1);
  assert_int_equal(fi_cntr_read(bench.done), 0);
  // What cannot be done at all is not queued.
  op.flags = FI_TAGGED;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  op.flags = FI_INJECT;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  op.flags = 0;
  op.fetch.iov_count = 0;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  op.fetch.iov_count = 1;
  op.msg.datatype = (enum fi_datatype)99;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  op.msg.datatype = FI_UINT64;
  op.ep = NULL;
  assert_fails(fi_control(domain, FI_QUEUE_WORK, &work));
  bench_close(&bench);
}

// ---- several processes ---------------------------------------------------------------------------------------------

enum { ring_rounds = 20 };

// A message goes round; each member, when it comes, adds to a word of the first and passes it on, all by deferred work.
static void pass_around(struct team *team) {
  struct node host, node;
  node_open_domain(&host, &with_atomics);
  bound = counter_of(&host);
  struct setup setup = with_atomics;
  setup.before_enable = bind_receive_counter;
  node_open_beside(&node, &host, &setup);
  static uint64_t word;
  struct region target = {0};
  if (team->rank == 0) {
    region_over(&target, &node, &word, sizeof word, all_rights, 5, 0);
    atomic_store(team_word(team, 0, 0), target.base);
    atomic_store(team_word(team, 0, 1), target.key);
  }
  fi_addr_t peers[TEAM_MAX];
  team_connect(team, &node, peers);
  bool is_first = team->rank == 0;
  struct fid_cntr *added = counter_of(&host), *passed = counter_of(&host);
  static struct fi_deferred_work adds[ring_rounds], sends[ring_rounds];
  static uint64_t results[ring_rounds], receives[ring_rounds];
  uint64_t amount = (uint64_t)team->rank + 1, message = 1;
  struct fi_ioc operands = {&amount, 1};
  struct fi_rma_ioc remote = {atomic_load(team_word(team, 0, 0)), 1, atomic_load(team_word(team, 0, 1))};
  for (int i = 0; i < ring_rounds; i++) {
    post(fi_recv(node.ep, &receives[i], sizeof receives[i], NULL, FI_ADDR_UNSPEC, &receives[i]));
    if (is_first) continue;
    struct fi_ioc result = {&results[i], 1};
    struct fi_op_fetch_atomic add = {.ep = node.ep, .fetch = {&result, NULL, 1}};
    add.msg = (struct fi_msg_atomic){.msg_iov = &operands, .iov_count = 1, .addr = peers[0], .rma_iov = &remote,
                                     .rma_iov_count = 1, .datatype = FI_UINT64, .op = FI_SUM};
    adds[i] = (struct fi_deferred_work){.threshold = (uint64_t)i + 1, .triggering_cntr = bound, .completion_cntr = added,
                                        .op_type = FI_OP_FETCH_ATOMIC, .op.fetch_atomic = &add};
    assert_offered(fi_control(&host.domain->fid, FI_QUEUE_WORK, &adds[i]));
    struct iovec iov = {&message, sizeof message};
    struct fi_op_msg send = {.ep = node.ep, .msg = message_to(peers[(team->rank + 1) % team->size], &iov, &sends[i].context)};
    sends[i] = (struct fi_deferred_work){.threshold = (uint64_t)i + 1, .triggering_cntr = added, .completion_cntr = passed,
                                         .op_type = FI_OP_SEND, .op.msg = &send};
    assert_offered(fi_control(&host.domain->fid, FI_QUEUE_WORK, &sends[i]));
  }
  team_barrier(team);
  if (is_first) {
    for (uint64_t i = 1; i <= ring_rounds; i++) {
      post(fi_inject(node.ep, &message, sizeof message, peers[1]));
      await_counter(bound, i);
      assert_int_equal(word, i * (2 + 3));
    }
  } else {
    await_counter(passed, ring_rounds);
    assert_int_equal(results[ring_rounds - 1], (ring_rounds - 1) * (2 + 3) + (team->rank == 1 ? 0 : 2));
  }
  team_barrier(team);
  if (is_first) close_fid(target.mr);
  node_close(&node);
  close_fid(added);
  close_fid(passed);
  close_fid(bound);
  bound = NULL;
  node_close(&host);
}

CASE(processes_pass_work_on) { team_run(3, pass_around); }
