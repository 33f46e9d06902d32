// Endpoints: binding, enabling, names, options, cancel, close. Man pages: fi_endpoint(3), fi_cm(3).
#include "fixture.h"

// Fabric, domain and an unbound endpoint.
static void open_unbound(struct node *node, uint64_t caps) {
  node_open_domain(node, &(struct setup){.caps = caps});
  assert_success(fi_endpoint(node->domain, node->info, &node->ep, node));
}

// ---- opening and binding ------------------------------------------------------------------------------------------

CASE(open_has_class_and_context) {
  struct node node;
  open_unbound(&node, 0);
  assert_int_equal(node.ep->fid.fclass, FI_CLASS_EP);
  assert_ptr_equal(node.ep->fid.context, &node);
  node_close(&node);
}

CASE(open_through_endpoint2) {
  struct node node;
  node_open_domain(&node, NULL);
  assert_offered(fi_endpoint2(node.domain, node.info, &node.ep, 0, &node));
  assert_int_equal(node.ep->fid.fclass, FI_CLASS_EP);
  node_close(&node);
}

CASE(open_of_another_endpoint_type) {
  struct node node;
  node_open_domain(&node, NULL);
  node.info->ep_attr->type = (enum fi_ep_type)77;
  assert_fails(fi_endpoint(node.domain, node.info, &node.ep, NULL));
  node.ep = NULL;
  node_close(&node);
}

CASE(bind_with_unknown_flags) {
  struct node node;
  open_unbound(&node, 0);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
  assert_returns(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT | FI_MULTICAST), -FI_EBADFLAGS);
  node_close(&node);
}

CASE(bind_two_queues_for_one_direction) {
  struct node node;
  open_unbound(&node, 0);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
  node.rx_cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT));
  assert_fails(fi_ep_bind(node.ep, &node.rx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(node.ep, &node.rx_cq->fid, FI_RECV));
  assert_fails(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_RECV));
  node_close(&node);
}

CASE(bind_two_address_vectors) {
  struct node node;
  open_unbound(&node, 0);
  node.av = av_open(&node, FI_AV_UNSPEC);
  struct fid_av *second = av_open(&node, FI_AV_UNSPEC);
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_fails(fi_ep_bind(node.ep, &second->fid, 0));
  close_fid(node.ep);
  node.ep = NULL;
  close_fid(second);
  node_close(&node);
}

CASE(bind_objects_of_another_domain) {
  struct node a, b;
  open_unbound(&a, 0);
  node_open_domain(&b, NULL);
  b.tx_cq = cq_open(&b, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
  b.av = av_open(&b, FI_AV_UNSPEC);
  assert_fails(fi_ep_bind(a.ep, &b.tx_cq->fid, FI_TRANSMIT));
  assert_fails(fi_ep_bind(a.ep, &b.av->fid, 0));
  node_close(&a);
  node_close(&b);
}

CASE(bind_what_cannot_be_bound) {
  struct node node;
  open_unbound(&node, 0);
  assert_fails(fi_ep_bind(node.ep, &node.domain->fid, 0));
  assert_fails(fi_ep_bind(node.ep, &node.fabric->fid, 0));
  assert_fails(fi_ep_bind(node.ep, &node.ep->fid, 0));
  node_close(&node);
}

CASE(bind_an_event_queue) {
  struct node node;
  open_unbound(&node, 0);
  struct fi_eq_attr attributes = {.wait_obj = FI_WAIT_NONE};
  struct fid_eq *eq = NULL;
  assert_success(fi_eq_open(node.fabric, &attributes, &eq, NULL));
  assert_offered(fi_ep_bind(node.ep, &eq->fid, 0));
  assert_returns(fi_close(&eq->fid), -FI_EBUSY);
  close_fid(node.ep);
  node.ep = NULL;
  close_fid(eq);
  node_close(&node);
}

// ---- enabling -----------------------------------------------------------------------------------------------------

CASE(enable_without_a_completion_queue) {
  struct node node;
  open_unbound(&node, 0);
  node.av = av_open(&node, FI_AV_UNSPEC);
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_returns(fi_enable(node.ep), -FI_ENOCQ);
  node_close(&node);
}

CASE(enable_without_a_receive_queue) {
  struct node node;
  open_unbound(&node, FI_MSG);
  node.av = av_open(&node, FI_AV_UNSPEC);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT));
  assert_returns(fi_enable(node.ep), -FI_ENOCQ);
  node_close(&node);
}

CASE(enable_without_an_address_vector) {
  struct node node;
  open_unbound(&node, 0);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT | FI_RECV));
  assert_returns(fi_enable(node.ep), -FI_ENOAV);
  node_close(&node);
}

CASE(enable_for_sending_only) {
  struct node node;
  open_unbound(&node, FI_MSG | FI_SEND);
  node.av = av_open(&node, FI_AV_UNSPEC);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_enable(node.ep));
  node_close(&node);
}

CASE(one_queue_for_both_directions) {
  struct node node;
  open_unbound(&node, 0);
  node.av = av_open(&node, FI_AV_UNSPEC);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 0);
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT | FI_RECV));
  assert_success(fi_enable(node.ep));
  node_close(&node);
}

CASE(transfer_before_enabling) {
  struct node node;
  open_unbound(&node, 0);
  node.av = av_open(&node, FI_AV_UNSPEC);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 0);
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT | FI_RECV));
  char buffer[8];
  assert_fails(fi_recv(node.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, NULL));
  assert_fails(fi_send(node.ep, buffer, sizeof buffer, NULL, 0, NULL));
  node_close(&node);
}

// ---- names --------------------------------------------------------------------------------------------------------

CASE(getname_gives_a_usable_address) {
  struct node node;
  node_open(&node, NULL);
  const struct sockaddr_in *name = (const void *)node.address;
  assert_int_equal(node.address_length, sizeof *name);
  assert_int_equal(name->sin_family, AF_INET);
  assert_int_equal(ntohl(name->sin_addr.s_addr), INADDR_LOOPBACK);
  assert_true(name->sin_port != 0);
  node_close(&node);
}

CASE(getname_into_a_small_buffer) {
  struct node node;
  node_open(&node, NULL);
  unsigned char name[64];
  memset(name, 0xab, sizeof name);
  size_t length = 4;
  assert_returns(fi_getname(&node.ep->fid, name, &length), -FI_ETOOSMALL);
  assert_int_equal(length, sizeof(struct sockaddr_in));
  verify_bytes(name + 4, sizeof name - 4, 0xab);
  length = 0;
  assert_returns(fi_getname(&node.ep->fid, NULL, &length), -FI_ETOOSMALL);
  assert_int_equal(length, sizeof(struct sockaddr_in));
  node_close(&node);
}

CASE(endpoints_have_different_names) {
  struct node node, other;
  node_open(&node, NULL);
  node_open_beside(&other, &node, NULL);
  assert_memory_not_equal(node.address, other.address, node.address_length);
  node_close(&other);
  node_close(&node);
}

static int free_port(void) {
  int probe = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  assert_int_equal(bind(probe, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(getsockname(probe, (struct sockaddr *)&address, &length), 0);
  close(probe);
  return ntohs(address.sin_port);
}

CASE(service_decides_the_port) {
  char service[16];
  int port = free_port();
  snprintf(service, sizeof service, "%d", port);
  struct node node;
  node_open(&node, &(struct setup){.service = service});
  const struct sockaddr_in *name = (const void *)node.address;
  assert_int_equal(ntohs(name->sin_port), port);
  node_close(&node);
}

CASE(port_in_use) {
  char service[16];
  snprintf(service, sizeof service, "%d", free_port());
  struct setup setup = {.service = service};
  struct node node, other;
  node_open(&node, &setup);
  node_open_domain(&other, &setup);
  int result = fi_endpoint(other.domain, other.info, &other.ep, NULL);
  if (result == 0) {
    other.av = av_open(&other, FI_AV_UNSPEC);
    other.tx_cq = cq_open(&other, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
    assert_success(fi_ep_bind(other.ep, &other.av->fid, 0));
    assert_success(fi_ep_bind(other.ep, &other.tx_cq->fid, FI_TRANSMIT | FI_RECV));
    result = fi_enable(other.ep);
  } else {
    other.ep = NULL;
  }
  assert_true(result < 0);
  node_close(&other);
  node_close(&node);
}

CASE(port_is_free_again_after_close) {
  char service[16];
  snprintf(service, sizeof service, "%d", free_port());
  struct setup setup = {.service = service};
  for (int round = 0; round < 5; round++) {
    struct node node;
    node_open(&node, &setup);
    node_close(&node);
  }
}

CASE(setname_decides_the_port) {
  struct node node;
  open_unbound(&node, 0);
  struct sockaddr_in wanted = {.sin_family = AF_INET, .sin_port = htons((uint16_t)free_port())};
  wanted.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  assert_offered(fi_setname(&node.ep->fid, &wanted, sizeof wanted));
  node.av = av_open(&node, FI_AV_UNSPEC);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT | FI_RECV));
  assert_success(fi_enable(node.ep));
  struct sockaddr_in name = {0};
  size_t length = sizeof name;
  assert_success(fi_getname(&node.ep->fid, &name, &length));
  assert_int_equal(name.sin_port, wanted.sin_port);
  assert_int_equal(name.sin_addr.s_addr, wanted.sin_addr.s_addr);
  node_close(&node);
}

CASE(connectionless_endpoints_do_not_connect) {
  struct node node;
  node_open(&node, NULL);
  char address[64];
  size_t length = sizeof address;
  assert_fails(fi_getpeer(node.ep, address, &length));
  assert_fails(fi_connect(node.ep, node.address, NULL, 0));
  assert_fails(fi_accept(node.ep, NULL, 0));
  node_close(&node);
}

// ---- options and flags --------------------------------------------------------------------------------------------

CASE(unknown_options) {
  struct node node;
  node_open(&node, NULL);
  size_t value = 0, length = sizeof value;
  assert_returns(fi_getopt(&node.ep->fid, FI_OPT_ENDPOINT, 12345, &value, &length), -FI_ENOPROTOOPT);
  assert_returns(fi_setopt(&node.ep->fid, FI_OPT_ENDPOINT, 12345, &value, sizeof value), -FI_ENOPROTOOPT);
  length = sizeof value;
  assert_returns(fi_getopt(&node.ep->fid, 77, FI_OPT_MIN_MULTI_RECV, &value, &length), -FI_ENOPROTOOPT);
  node_close(&node);
}

// FI_OPT_CUDA_API_PERMITTED, since 1.18: FI_EINVAL without CUDA, FI_EOPNOTSUPP where a provider cannot do without its API.
CASE(cuda_option_is_known) {
  struct node node;
  node_open(&node, NULL);
  bool permitted = false;
  int result = fi_setopt(&node.ep->fid, FI_OPT_ENDPOINT, 10, &permitted, sizeof permitted);
  if (result == -FI_ENOPROTOOPT) unsupported("FI_OPT_CUDA_API_PERMITTED");
  assert_true(result == -FI_EINVAL || result == -FI_EOPNOTSUPP || result == 0);
  node_close(&node);
}

CASE(options_can_be_set_and_read) {
  struct node node;
  node_open(&node, NULL);
  size_t value = 12345, length = sizeof value;
  assert_success(fi_setopt(&node.ep->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &value, sizeof value));
  value = 0;
  assert_success(fi_getopt(&node.ep->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &value, &length));
  assert_int_equal(value, 12345);
  assert_int_equal(length, sizeof value);
  node_close(&node);
}

CASE(option_into_a_small_buffer) {
  struct node node;
  node_open(&node, NULL);
  char value[2] = {1, 2};
  size_t length = 1;
  assert_returns(fi_getopt(&node.ep->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, value, &length), -FI_ETOOSMALL);
  assert_int_equal(value[1], 2);
  node_close(&node);
}

CASE(operation_flags_can_be_read_and_changed) {
  struct node node;
  node_open(&node, &(struct setup){.tx_op_flags = FI_DELIVERY_COMPLETE});
  uint64_t flags = FI_TRANSMIT;
  assert_offered(fi_control(&node.ep->fid, FI_GETOPSFLAG, &flags));
  assert_true(flags & FI_DELIVERY_COMPLETE);
  flags = FI_TRANSMIT | FI_TRANSMIT_COMPLETE;
  assert_success(fi_control(&node.ep->fid, FI_SETOPSFLAG, &flags));
  flags = FI_TRANSMIT;
  assert_success(fi_control(&node.ep->fid, FI_GETOPSFLAG, &flags));
  assert_true(flags & FI_TRANSMIT_COMPLETE);
  assert_int_equal(flags & FI_DELIVERY_COMPLETE, 0);
  node_close(&node);
}

CASE(operation_flags_need_one_direction) {
  struct node node;
  node_open(&node, NULL);
  uint64_t flags = FI_TRANSMIT | FI_RECV;
  int result = fi_control(&node.ep->fid, FI_GETOPSFLAG, &flags);
  if (result == -FI_ENOSYS) unsupported("FI_GETOPSFLAG");
  assert_true(result < 0);
  flags = 0;
  assert_fails(fi_control(&node.ep->fid, FI_SETOPSFLAG, &flags));
  node_close(&node);
}

CASE(unknown_control_command) {
  struct node node;
  node_open(&node, NULL);
  int argument = 0;
  assert_fails(fi_control(&node.ep->fid, 0x7fff, &argument));
  node_close(&node);
}

// ---- cancel -------------------------------------------------------------------------------------------------------

CASE(cancel_a_receive) {
  struct node node;
  node_open(&node, NULL);
  char buffer[64];
  int context;
  post(fi_recv(node.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, &context));
  assert_success(fi_cancel(&node.ep->fid, &context));
  struct fi_cq_err_entry error;
  wait_error(node.rx_cq, &error);
  assert_int_equal(error.err, FI_ECANCELED);
  assert_ptr_equal(error.op_context, &context);
  assert_true(error.flags & FI_RECV);
  expect_quiet(node.rx_cq, 20);
  node_close(&node);
}

CASE(cancel_one_of_many) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[4] = {0};
  int contexts[4];
  for (int i = 0; i < 4; i++) post(fi_recv(pair.b.ep, in + i, 1, NULL, FI_ADDR_UNSPEC, &contexts[i]));
  assert_success(fi_cancel(&pair.b.ep->fid, &contexts[1]));
  struct fi_cq_err_entry error;
  wait_error(pair.b.rx_cq, &error);
  assert_ptr_equal(error.op_context, &contexts[1]);
  for (int i = 0; i < 3; i++) {
    char byte = (char)('a' + i);
    post(fi_inject(pair.a.ep, &byte, 1, pair.to_b));
  }
  wait_for(pair.b.rx_cq, &contexts[0]);
  wait_for(pair.b.rx_cq, &contexts[2]);
  wait_for(pair.b.rx_cq, &contexts[3]);
  assert_int_equal(in[0], 'a');
  assert_int_equal(in[1], 0);
  assert_int_equal(in[2], 'b');
  assert_int_equal(in[3], 'c');
  pair_close(&pair);
}

CASE(cancel_equal_contexts_one_at_a_time) {
  struct node node;
  node_open(&node, NULL);
  char buffer[3];
  int context;
  for (int i = 0; i < 3; i++) post(fi_recv(node.ep, buffer + i, 1, NULL, FI_ADDR_UNSPEC, &context));
  for (int i = 0; i < 3; i++) {
    assert_success(fi_cancel(&node.ep->fid, &context));
    struct fi_cq_err_entry error;
    wait_error(node.rx_cq, &error);
    assert_int_equal(error.err, FI_ECANCELED);
    expect_quiet(node.rx_cq, 5);
  }
  node_close(&node);
}

CASE(cancel_of_an_unknown_context_does_nothing) {
  struct pair pair;
  pair_open(&pair, NULL);
  int context, other;
  char in = 0;
  post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &context));
  (void)fi_cancel(&pair.b.ep->fid, &other);
  expect_quiet(pair.b.rx_cq, 20);
  post(fi_inject(pair.a.ep, "x", 1, pair.to_b));
  wait_for(pair.b.rx_cq, &context);
  assert_int_equal(in, 'x');
  pair_close(&pair);
}

CASE(cancel_after_completion_is_too_late) {
  struct pair pair;
  pair_open(&pair, NULL);
  int context;
  char in = 0;
  post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &context));
  post(fi_inject(pair.a.ep, "x", 1, pair.to_b));
  wait_for(pair.b.rx_cq, &context);
  (void)fi_cancel(&pair.b.ep->fid, &context);
  expect_quiet(pair.b.rx_cq, 20);
  pair_close(&pair);
}

// ---- close --------------------------------------------------------------------------------------------------------

CASE(close_discards_posted_receives) {
  struct node node;
  node_open(&node, NULL);
  char buffer[16][8];
  for (int i = 0; i < 16; i++) post(fi_recv(node.ep, buffer[i], 8, NULL, FI_ADDR_UNSPEC, buffer[i]));
  close_fid(node.ep);
  node.ep = NULL;
  // no success may be reported; the queue stays usable
  struct fi_cq_tagged_entry entry;
  ssize_t count = fi_cq_read(node.rx_cq, &entry, 1);
  assert_true(count == -FI_EAGAIN || count == -FI_EAVAIL);
  node_close(&node);
}

CASE(close_with_outstanding_sends) {
  struct pair pair;
  pair_open(&pair, NULL);
  static char big[1 << 20];
  static char slot[32];
  fill(big, sizeof big, 1);
  for (int i = 0; i < 8; i++) {
    ssize_t result = fi_send(pair.a.ep, big, sizeof big, NULL, pair.to_b, &slot[i]);
    assert_true(result == 0 || result == -FI_EAGAIN);
  }
  double begin = seconds();
  node_close(&pair.a);
  if (seconds() - begin > 5 * time_factor()) failed("closing took %.1f s", seconds() - begin);
  node_close(&pair.b);
}

CASE(close_with_unexpected_messages) {
  struct pair pair;
  pair_open(&pair, NULL);
  static char out[100000];
  int context;
  for (int i = 0; i < 20; i++) post(fi_inject(pair.a.ep, out, 8, pair.to_b));
  post(fi_send(pair.a.ep, out, sizeof out, NULL, pair.to_b, &context));
  double end = seconds() + 0.05;
  while (seconds() < end) drive_progress();
  double begin = seconds();
  node_close(&pair.b);
  node_close(&pair.a);
  if (seconds() - begin > 5 * time_factor()) failed("closing took %.1f s", seconds() - begin);
}

CASE(open_and_close_many_endpoints) {
  struct node node;
  node_open(&node, NULL);
  struct node others[20];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 8; i++) node_open_beside(&others[i], &node, NULL);
    for (int i = 0; i < 8; i++) node_close(&others[i]);
  }
  node_close(&node);
}
