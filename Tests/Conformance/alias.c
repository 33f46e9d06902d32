// Aliases of endpoints. Man page: fi_endpoint(3), fi_ep_alias.
#include "fixture.h"

static struct fid_ep *alias_open(struct fid_ep *ep, uint64_t flags) {
  struct fid_ep *alias = NULL;
  assert_offered(fi_ep_alias(ep, &alias, flags));
  assert_non_null(alias);
  return alias;
}

static uint64_t operation_flags(struct fid_ep *ep, uint64_t direction) {
  uint64_t flags = direction;
  assert_offered(fi_control(&ep->fid, FI_GETOPSFLAG, &flags));
  return flags;
}

// ---- opening and closing ------------------------------------------------------------------------------------------

CASE(alias_has_class_and_context) {
  struct node node;
  node_open(&node, NULL);
  struct fid_ep *alias = alias_open(node.ep, FI_TRANSMIT);
  assert_true(alias != node.ep);
  assert_int_equal(alias->fid.fclass, FI_CLASS_EP);
  assert_ptr_equal(alias->fid.context, &node);
  close_fid(alias);
  node_close(&node);
}

CASE(alias_needs_one_direction) {
  struct node node;
  node_open(&node, NULL);
  struct fid_ep *alias = alias_open(node.ep, FI_RECV);
  close_fid(alias);
  alias = NULL;
  assert_fails(fi_ep_alias(node.ep, &alias, 0));
  assert_fails(fi_ep_alias(node.ep, &alias, FI_COMPLETION));
  assert_fails(fi_ep_alias(node.ep, &alias, FI_TRANSMIT | FI_RECV));
  assert_null(alias);
  node_close(&node);
}

CASE(alias_refuses_flags_that_are_no_defaults) {
  struct node node;
  node_open(&node, NULL);
  struct fid_ep *alias = alias_open(node.ep, FI_TRANSMIT);
  close_fid(alias);
  alias = NULL;
  assert_fails(fi_ep_alias(node.ep, &alias, FI_TRANSMIT | FI_MULTI_RECV));
  assert_fails(fi_ep_alias(node.ep, &alias, FI_RECV | FI_DELIVERY_COMPLETE));
  assert_null(alias);
  node_close(&node);
}

CASE(endpoint_is_busy_while_aliases_are_open) {
  struct node node;
  node_open(&node, NULL);
  struct fid_ep *first = alias_open(node.ep, FI_TRANSMIT);
  struct fid_ep *second = alias_open(node.ep, FI_RECV);
  assert_returns(fi_close(&node.ep->fid), -FI_EBUSY);
  close_fid(first);
  assert_returns(fi_close(&node.ep->fid), -FI_EBUSY);
  close_fid(second);
  node_close(&node);
}

CASE(alias_of_an_alias) {
  struct node node;
  node_open(&node, NULL);
  struct fid_ep *first = alias_open(node.ep, FI_TRANSMIT | FI_DELIVERY_COMPLETE);
  struct fid_ep *second = alias_open(first, FI_RECV);
  assert_int_equal(operation_flags(second, FI_TRANSMIT), operation_flags(first, FI_TRANSMIT));
  close_fid(first);  // the order does not matter
  assert_returns(fi_close(&node.ep->fid), -FI_EBUSY);
  close_fid(second);
  node_close(&node);
}

CASE(many_aliases) {
  enum { count = 100 };
  struct node node;
  node_open(&node, NULL);
  struct fid_ep *aliases[count];
  for (int i = 0; i < count; i++) aliases[i] = alias_open(node.ep, FI_TRANSMIT);
  for (int i = 0; i < count; i += 2) close_fid(aliases[i]);
  for (int i = count - 1; i > 0; i -= 2) close_fid(aliases[i]);
  node_close(&node);
}

CASE(alias_of_an_endpoint_that_is_not_enabled) {
  struct node node;
  node_open_domain(&node, NULL);
  assert_success(fi_endpoint(node.domain, node.info, &node.ep, NULL));
  struct fid_ep *alias = alias_open(node.ep, FI_TRANSMIT);
  assert_fails(fi_send(alias, NULL, 0, NULL, 0, NULL));
  node.av = av_open(&node, FI_AV_UNSPEC);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 0);
  node.rx_cq = cq_open(&node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 0);
  watch_cq(node.tx_cq);
  watch_cq(node.rx_cq);
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(node.ep, &node.rx_cq->fid, FI_RECV));
  assert_success(fi_enable(node.ep));
  char address[128], source[16], target[16];
  size_t length = sizeof address;
  assert_success(fi_getname(&alias->fid, address, &length));
  fi_addr_t self = node_insert(&node, address);
  fill(source, sizeof source, 1);
  post(fi_recv(alias, target, sizeof target, NULL, FI_ADDR_UNSPEC, target));
  post(fi_send(alias, source, sizeof source, NULL, self, source));
  wait_for(node.rx_cq, target);
  wait_for(node.tx_cq, source);
  verify(target, sizeof target, 1);
  close_fid(alias);
  node_close(&node);
}

// ---- flags --------------------------------------------------------------------------------------------------------

CASE(alias_inherits_the_flags_of_the_other_direction) {
  struct node node;
  node_open(&node, &(struct setup){.tx_op_flags = FI_DELIVERY_COMPLETE});
  struct fid_ep *alias = alias_open(node.ep, FI_RECV);
  assert_true(operation_flags(alias, FI_TRANSMIT) & FI_DELIVERY_COMPLETE);
  close_fid(alias);
  alias = alias_open(node.ep, FI_TRANSMIT);
  assert_false(operation_flags(alias, FI_TRANSMIT) & FI_DELIVERY_COMPLETE);
  close_fid(alias);
  node_close(&node);
}

CASE(flags_of_alias_and_endpoint_change_apart) {
  struct node node;
  node_open(&node, NULL);
  struct fid_ep *alias = alias_open(node.ep, FI_TRANSMIT);
  uint64_t before = operation_flags(node.ep, FI_TRANSMIT);
  uint64_t flags = FI_TRANSMIT | FI_DELIVERY_COMPLETE;
  assert_success(fi_control(&alias->fid, FI_SETOPSFLAG, &flags));
  assert_true(operation_flags(alias, FI_TRANSMIT) & FI_DELIVERY_COMPLETE);
  assert_int_equal(operation_flags(node.ep, FI_TRANSMIT), before);
  flags = FI_TRANSMIT | FI_INJECT_COMPLETE;
  assert_success(fi_control(&node.ep->fid, FI_SETOPSFLAG, &flags));
  assert_true(operation_flags(alias, FI_TRANSMIT) & FI_DELIVERY_COMPLETE);
  close_fid(alias);
  node_close(&node);
}

CASE(alias_that_asks_for_completions) {
  struct setup setup = {.tx_bind_flags = FI_SELECTIVE_COMPLETION, .rx_bind_flags = FI_SELECTIVE_COMPLETION};
  struct pair pair;
  pair_open(&pair, &setup);
  struct fid_ep *sender = alias_open(pair.a.ep, FI_TRANSMIT | FI_COMPLETION);
  struct fid_ep *receiver = alias_open(pair.b.ep, FI_RECV | FI_COMPLETION);
  char source[32], silent[32], told[32];
  fill(source, sizeof source, 1);
  post(fi_recv(pair.b.ep, silent, sizeof silent, NULL, FI_ADDR_UNSPEC, silent));
  post(fi_recv(receiver, told, sizeof told, NULL, FI_ADDR_UNSPEC, told));
  post(fi_send(pair.a.ep, source, sizeof source, NULL, pair.to_b, silent));
  post(fi_send(sender, source, sizeof source, NULL, pair.to_b, told));
  wait_for(pair.a.tx_cq, told);
  wait_for(pair.b.rx_cq, told);
  verify(silent, sizeof silent, 1);  // it came first
  verify(told, sizeof told, 1);
  expect_quiet(pair.a.tx_cq, 50);
  expect_quiet(pair.b.rx_cq, 0);
  close_fid(sender);
  close_fid(receiver);
  pair_close(&pair);
}

// Without completions of its own, in place of those of the endpoint.
CASE(alias_of_an_endpoint_that_asks_for_completions) {
  struct setup setup = {.tx_bind_flags = FI_SELECTIVE_COMPLETION, .tx_op_flags = FI_COMPLETION};
  struct pair pair;
  pair_open(&pair, &setup);
  struct fid_ep *quiet = alias_open(pair.a.ep, FI_TRANSMIT);
  char source[32], first[32], second[32];
  fill(source, sizeof source, 2);
  post(fi_recv(pair.b.ep, first, sizeof first, NULL, FI_ADDR_UNSPEC, first));
  post(fi_recv(pair.b.ep, second, sizeof second, NULL, FI_ADDR_UNSPEC, second));
  post(fi_send(quiet, source, sizeof source, NULL, pair.to_b, first));
  post(fi_send(pair.a.ep, source, sizeof source, NULL, pair.to_b, second));
  wait_for(pair.b.rx_cq, first);
  wait_for(pair.b.rx_cq, second);
  wait_for(pair.a.tx_cq, second);
  expect_quiet(pair.a.tx_cq, 50);
  close_fid(quiet);
  pair_close(&pair);
}

// ---- everything else is shared ------------------------------------------------------------------------------------

CASE(messages_through_aliases) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct fid_ep *sender = alias_open(pair.a.ep, FI_TRANSMIT);
  struct fid_ep *receiver = alias_open(pair.b.ep, FI_RECV);
  static const size_t sizes[] = {0, 1, 1000, 65536, 300000};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    char *source = allocate(sizes[k]);
    char *target = allocate(sizes[k]);
    fill(source, sizes[k], k);
    post(fi_trecv(k % 2 ? receiver : pair.b.ep, target, sizes[k], NULL, FI_ADDR_UNSPEC, k, 0, target));
    post(fi_tsend(k % 2 ? pair.a.ep : sender, source, sizes[k], NULL, pair.to_b, k, source));
    wait_for(pair.a.tx_cq, source);
    wait_for(pair.b.rx_cq, target);
    verify(target, sizes[k], k);
    free(source);
    free(target);
  }
  close_fid(sender);
  close_fid(receiver);
  pair_close(&pair);
}

CASE(writes_through_an_alias) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct fid_ep *alias = alias_open(pair.a.ep, FI_TRANSMIT | FI_DELIVERY_COMPLETE);
  char source[256], target[256] = {0};
  fill(source, sizeof source, 3);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(pair.b.domain, target, sizeof target, FI_REMOTE_WRITE, 0, 7, 0, &mr, NULL));
  uint64_t base = pair.b.info->domain_attr->mr_mode & (FI_MR_VIRT_ADDR | FI_MR_BASIC) ? (uintptr_t)target : 0;
  post(fi_write(alias, source, sizeof source, NULL, pair.to_b, base, fi_mr_key(mr), source));
  wait_for(pair.a.tx_cq, source);
  verify(target, sizeof target, 3);
  close_fid(mr);
  close_fid(alias);
  pair_close(&pair);
}

CASE(alias_has_the_name_and_options_of_its_endpoint) {
  struct node node;
  node_open(&node, NULL);
  struct fid_ep *alias = alias_open(node.ep, FI_TRANSMIT);
  char address[128];
  size_t length = sizeof address;
  assert_success(fi_getname(&alias->fid, address, &length));
  assert_int_equal(length, node.address_length);
  assert_memory_equal(address, node.address, length);
  size_t minimum = 4711;
  assert_success(fi_setopt(&alias->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &minimum, sizeof minimum));
  minimum = 0;
  length = sizeof minimum;
  assert_success(fi_getopt(&node.ep->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &minimum, &length));
  assert_int_equal(minimum, 4711);
  close_fid(alias);
  node_close(&node);
}

CASE(receive_is_cancelled_through_an_alias) {
  struct node node;
  node_open(&node, NULL);
  struct fid_ep *alias = alias_open(node.ep, FI_RECV);
  char buffer[16];
  post(fi_recv(node.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, buffer));
  assert_success(fi_cancel(&alias->fid, buffer));
  struct fi_cq_err_entry error;
  wait_error(node.rx_cq, &error);
  assert_int_equal(error.err, FI_ECANCELED);
  assert_ptr_equal(error.op_context, buffer);
  close_fid(alias);
  node_close(&node);
}

CASE(operations_of_a_closed_alias_go_on) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct fid_ep *sender = alias_open(pair.a.ep, FI_TRANSMIT);
  struct fid_ep *receiver = alias_open(pair.b.ep, FI_RECV);
  size_t size = 200000;
  char *source = allocate(size), *target = allocate(size);
  fill(source, size, 4);
  post(fi_recv(receiver, target, size, NULL, FI_ADDR_UNSPEC, target));
  post(fi_send(sender, source, size, NULL, pair.to_b, source));
  close_fid(sender);
  close_fid(receiver);
  wait_for(pair.b.rx_cq, target);
  wait_for(pair.a.tx_cq, source);
  verify(target, size, 4);
  free(source);
  free(target);
  pair_close(&pair);
}

CASE(alias_of_a_datagram_endpoint) {
  struct node node;
  node_open(&node, &(struct setup){.ep_type = FI_EP_DGRAM, .caps = FI_MSG});
  struct fid_ep *alias = alias_open(node.ep, FI_TRANSMIT);
  char source[16], target[16];
  fill(source, sizeof source, 5);
  fi_addr_t self = node_insert(&node, node.address);
  post(fi_recv(alias, target, sizeof target, NULL, FI_ADDR_UNSPEC, target));
  post(fi_send(alias, source, sizeof source, NULL, self, source));
  wait_for(node.tx_cq, source);
  wait_for(node.rx_cq, target);
  verify(target, sizeof target, 5);
  assert_returns(fi_close(&node.ep->fid), -FI_EBUSY);
  close_fid(alias);
  node_close(&node);
}
