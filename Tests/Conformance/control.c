// Commands of fi_control(3) on all objects. Man pages: fi_control(3), fi_endpoint(3), fi_cq(3), fi_mr(3), fi_tcp(7).
#include "fixture.h"

// Commands that no object of these providers has.
CASE(commands_that_there_are_not) {
  struct node node;
  node_open(&node, NULL);
  struct fid *fids[] = {&node.fabric->fid, &node.domain->fid, &node.ep->fid,
                        &node.av->fid,     &node.tx_cq->fid,  &node.rx_cq->fid};
  uint64_t argument[8] = {0};
  for (size_t i = 0; i < sizeof fids / sizeof *fids; i++) {
    assert_fails(fi_control(fids[i], FI_GETFIDFLAG, argument));
    assert_fails(fi_control(fids[i], FI_SETFIDFLAG, argument));
    assert_fails(fi_control(fids[i], FI_GET_VAL, argument));
    assert_fails(fi_control(fids[i], FI_SET_VAL, argument));
    assert_fails(fi_control(fids[i], 0x7fff, argument));
  }
  node_close(&node);
}

CASE(values_by_name) {
  struct node node;
  node_open(&node, NULL);
  uint64_t value = 7;
  assert_returns(fi_get_val(&node.domain->fid, 4711, &value), -FI_ENOSYS);
  assert_returns(fi_set_val(&node.domain->fid, 4711, &value), -FI_ENOSYS);
  assert_int_equal(value, 7);
  node_close(&node);
}

CASE(device_memory_callbacks) {
  struct node node;
  node_open_domain(&node, NULL);
  struct {
    size_t size;
    void *functions[2];
  } ops = {sizeof ops, {NULL, NULL}};
  assert_returns(fi_set_ops(&node.domain->fid, "hmem_override_ops", 0, &ops, NULL), -FI_ENOSYS);
  node_close(&node);
}

CASE(commands_without_an_argument) {
  struct node node;
  node_open(&node, NULL);
  uint64_t flags = FI_TRANSMIT;
  assert_offered(fi_control(&node.ep->fid, FI_GETOPSFLAG, &flags));
  assert_fails(fi_control(&node.ep->fid, FI_GETOPSFLAG, NULL));
  assert_fails(fi_control(&node.ep->fid, FI_SETOPSFLAG, NULL));
  assert_fails(fi_control(&node.ep->fid, FI_ALIAS, NULL));
  node_close(&node);
}

enum { socket_of_an_endpoint = FI_EXPORT_FID + 1 };  // FI_GET_FD, which 1.17 has not

static void socket_is_told(const struct setup *setup) {
  struct node node;
  node_open(&node, setup);
  int descriptor = -1;
  assert_offered(fi_control(&node.ep->fid, socket_of_an_endpoint, &descriptor));
  assert_true(descriptor >= 0);
  _Alignas(8) char address[128];
  socklen_t length = sizeof address;
  assert_int_equal(getsockname(descriptor, (struct sockaddr *)address, &length), 0);
  assert_memory_equal(address, node.address, node.address_length);
  int size = 65536;
  assert_int_equal(setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
  assert_fails(fi_control(&node.ep->fid, socket_of_an_endpoint, NULL));
  node_close(&node);
}

CASE(socket_of_a_reliable_endpoint) { socket_is_told(NULL); }
CASE(socket_of_a_datagram_endpoint) { socket_is_told(&(struct setup){.ep_type = FI_EP_DGRAM, .caps = FI_MSG}); }

CASE(enable_and_refresh_a_region) {
  struct node node;
  node_open(&node, NULL);
  char memory[64];
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(node.domain, memory, sizeof memory, FI_REMOTE_WRITE, 0, 7, 0, &mr, NULL));
  assert_offered(fi_mr_enable(mr));
  struct iovec iov = {memory, sizeof memory};
  assert_success(fi_mr_refresh(mr, &iov, 1, 0));
  assert_success(fi_mr_bind(mr, &node.ep->fid, 0));
  assert_fails(fi_mr_bind(mr, &node.av->fid, 0));
  assert_fails(fi_control(&mr->fid, 0x7fff, &iov));
  close_fid(mr);
  node_close(&node);
}

CASE(raw_keys) {
  struct node node;
  node_open(&node, NULL);
  char memory[64];
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(node.domain, memory, sizeof memory, FI_REMOTE_WRITE, 0, 7, 0, &mr, NULL));
  uint64_t base = 1, key = 0;
  uint8_t raw[64];
  size_t size = 0;
  int result = fi_mr_raw_attr(mr, &base, raw, &size, 0);
  if (result == -FI_ENOSYS) unsupported("fi_mr_raw_attr");
  assert_returns(result, -FI_ETOOSMALL);
  assert_true(size > 0 && size <= sizeof raw);
  assert_success(fi_mr_raw_attr(mr, &base, raw, &size, 0));
  assert_success(fi_mr_map_raw(node.domain, base, raw, size, &key, 0));
  assert_int_equal(key, fi_mr_key(mr));
  assert_fails(fi_mr_map_raw(node.domain, base, raw, size - 1, &key, 0));
  assert_success(fi_mr_unmap_key(node.domain, key));
  close_fid(mr);
  node_close(&node);
}
