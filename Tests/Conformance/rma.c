// Remote memory: write, read, immediate data, access checks, order. Man pages: fi_rma(3), fi_mr(3).
#include "fixture.h"

enum { mebi = 1 << 20 };

static char slot[20000];

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void expect_done(struct pair *pair, void *context, uint64_t flags) {
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair->a.tx_cq, &entry);
  assert_ptr_equal(entry.op_context, context);
  assert_int_equal(entry.flags & flags, flags);
}

// A completion of the operation means that the target's memory is right only at delivery-complete level: poll for it.
static void await_memory(const void *memory, size_t length, uint64_t seed) {
  double deadline = deadline_after(DEFAULT_WAIT);
  while (!matches(memory, length, seed) && seconds() < deadline) drive_progress();
  verify(memory, length, seed);
}

static const size_t sizes[] = {1,     7,     8,     63,    64,    65,     255,    1000,   1200,     1400,
                               1472,  1500,  2048,  4096,  9000,  16384,  16385,  65535,  65536,    65537,
                               100000, 262144, mebi - 1, mebi, 4 * mebi + 1};

static void write_sizes(const struct setup *setup) {
  struct pair pair;
  pair_open(&pair, setup);
  struct region target;
  enum { room = 4 * mebi + 100 };
  region_open(&target, &pair.b, room, all_rights, 77);
  char *out = allocate(room);
  for (size_t i = 0; i < COUNT(sizes); i++) {
    size_t offset = i * 3 % 40 + 5;
    memset(target.memory, 0xee, room);
    fill(out, sizes[i], i);
    post(fi_write(pair.a.ep, out, sizes[i], NULL, pair.to_b, target.base + offset, target.key, &slot[i]));
    expect_done(&pair, &slot[i], FI_RMA | FI_WRITE);
    await_memory(target.memory + offset, sizes[i], i);
    verify_bytes(target.memory, offset, 0xee);
    verify_bytes(target.memory + offset + sizes[i], 50, 0xee);
  }
  expect_quiet(pair.b.rx_cq, 10);  // plain writes are silent at the target
  free(out);
  region_close(&target);
  pair_close(&pair);
}

static void read_sizes(const struct setup *setup) {
  struct pair pair;
  pair_open(&pair, setup);
  struct region target;
  enum { room = 4 * mebi + 100 };
  region_open(&target, &pair.b, room, all_rights, 77);
  char *in = allocate(room);
  for (size_t i = 0; i < COUNT(sizes); i++) {
    size_t offset = i * 3 % 40 + 5;
    fill(target.memory + offset, sizes[i], i);
    memset(in, 0xee, sizes[i] + 50);
    post(fi_read(pair.a.ep, in, sizes[i], NULL, pair.to_b, target.base + offset, target.key, &slot[i]));
    expect_done(&pair, &slot[i], FI_RMA | FI_READ);
    verify(in, sizes[i], i);
    verify_bytes(in + sizes[i], 50, 0xee);
  }
  expect_quiet(pair.b.rx_cq, 10);
  free(in);
  region_close(&target);
  pair_close(&pair);
}

static const int mode_bits = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;

CASE(write_by_offset) { write_sizes(NULL); }
CASE(read_by_offset) { read_sizes(NULL); }
CASE(write_by_virtual_address) { write_sizes(&(struct setup){.mr_mode = basic_memory}); }
CASE(read_by_virtual_address) { read_sizes(&(struct setup){.mr_mode = basic_memory}); }
CASE(write_with_scalable_mode) { write_sizes(&(struct setup){.mr_mode = 2}); }
CASE(read_with_negotiated_mode) { read_sizes(&(struct setup){.mr_mode = mode_bits & ~FI_MR_LOCAL}); }
CASE(write_with_negotiated_mode) { write_sizes(&(struct setup){.mr_mode = mode_bits & ~FI_MR_LOCAL}); }
CASE(write_with_api_version_1_4) { write_sizes(&(struct setup){.version = FI_VERSION(1, 4)}); }
CASE(read_with_api_version_1_4) { read_sizes(&(struct setup){.version = FI_VERSION(1, 4)}); }
CASE(write_within_one_domain) { write_sizes(&(struct setup){.same_domain = true}); }
CASE(read_within_one_domain) { read_sizes(&(struct setup){.same_domain = true}); }
CASE(write_with_delivery_complete) { write_sizes(&(struct setup){.tx_op_flags = FI_DELIVERY_COMPLETE}); }
CASE(write_without_message_capabilities) { write_sizes(&(struct setup){.caps = FI_RMA}); }
CASE(write_with_automatic_progress) { write_sizes(&(struct setup){.progress = FI_PROGRESS_AUTO}); }

CASE(first_write_of_any_size_is_prompt) {
  static const size_t lengths[] = {8, 1500, 4000, 10000, 20000, 60000, 200000, mebi};
  for (size_t i = 0; i < COUNT(lengths); i++) {
    struct pair pair;
    pair_open(&pair, NULL);
    struct region target;
    region_open(&target, &pair.b, lengths[i], all_rights, 77);
    char *out = allocate(lengths[i]);
    fill(out, lengths[i], i);
    double begin = seconds();
    post(fi_write(pair.a.ep, out, lengths[i], NULL, pair.to_b, target.base, target.key, &slot[0]));
    expect_done(&pair, &slot[0], FI_WRITE);
    double took = seconds() - begin;
    if (took > 0.5 * time_factor()) failed("the first write of %zu bytes took %.3f s", lengths[i], took);
    await_memory(target.memory, lengths[i], i);
    free(out);
    region_close(&target);
    pair_close(&pair);
  }
}

CASE(write_and_read_64_mebibytes) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  enum { length = 64 * mebi };
  region_open(&target, &pair.b, length, all_rights, 1);
  char *local = allocate(length);
  fill(local, length, 1);
  post(fi_write(pair.a.ep, local, length, NULL, pair.to_b, target.base, target.key, &slot[0]));
  expect_done(&pair, &slot[0], FI_WRITE);
  await_memory(target.memory, length, 1);
  memset(local, 0, length);
  post(fi_read(pair.a.ep, local, length, NULL, pair.to_b, target.base, target.key, &slot[1]));
  expect_done(&pair, &slot[1], FI_READ);
  verify(local, length, 1);
  free(local);
  region_close(&target);
  pair_close(&pair);
}

CASE(nothing_can_be_written_and_read) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 1);
  post(fi_write(pair.a.ep, NULL, 0, NULL, pair.to_b, target.base, target.key, &slot[0]));
  expect_done(&pair, &slot[0], FI_WRITE);
  post(fi_read(pair.a.ep, NULL, 0, NULL, pair.to_b, target.base, target.key, &slot[1]));
  expect_done(&pair, &slot[1], FI_READ);
  verify_bytes(target.memory, 64, 0xee);
  region_close(&target);
  pair_close(&pair);
}

CASE(keys_of_64_bits) {
  struct pair pair;
  pair_open(&pair, NULL);
  static const uint64_t keys[] = {0, UINT64_C(0x8000000000000000), UINT64_C(0x123456789abcdef0),
                                  UINT64_C(0xfffffffffffffffe)};
  struct region targets[COUNT(keys)];
  for (size_t i = 0; i < COUNT(keys); i++) region_open(&targets[i], &pair.b, 64, all_rights, keys[i]);
  char out[64];
  for (size_t i = 0; i < COUNT(keys); i++) {
    fill(out, sizeof out, i);
    post(fi_write(pair.a.ep, out, sizeof out, NULL, pair.to_b, targets[i].base, keys[i], &slot[i]));
    expect_done(&pair, &slot[i], FI_WRITE);
  }
  for (size_t i = 0; i < COUNT(keys); i++) await_memory(targets[i].memory, 64, i);
  for (size_t i = 0; i < COUNT(keys); i++) region_close(&targets[i]);
  pair_close(&pair);
}

CASE(whole_address_space_by_offset) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region everything;
  region_over(&everything, &pair.b, NULL, SIZE_MAX, all_rights, 1, 0);
  static char target[5000], in[5000], out[5000];
  fill(out, sizeof out, 3);
  post(fi_write(pair.a.ep, out, sizeof out, NULL, pair.to_b, (uintptr_t)target, everything.key, &slot[0]));
  expect_done(&pair, &slot[0], FI_WRITE);
  await_memory(target, sizeof target, 3);
  post(fi_read(pair.a.ep, in, sizeof in, NULL, pair.to_b, (uintptr_t)target, everything.key, &slot[1]));
  expect_done(&pair, &slot[1], FI_READ);
  verify(in, sizeof in, 3);
  close_fid(everything.mr);
  pair_close(&pair);
}

CASE(read_of_read_only_memory) {
  struct pair pair;
  pair_open(&pair, NULL);
  char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fill(page, 4096, 8);
  assert_int_equal(mprotect(page, 4096, PROT_READ), 0);
  struct region target;
  region_over(&target, &pair.b, page, 4096, FI_REMOTE_READ, 1, 0);
  static char in[4096];
  post(fi_read(pair.a.ep, in, sizeof in, NULL, pair.to_b, target.base, target.key, &slot[0]));
  expect_done(&pair, &slot[0], FI_READ);
  verify(in, sizeof in, 8);
  close_fid(target.mr);
  munmap(page, 4096);
  pair_close(&pair);
}

CASE(local_descriptors_are_accepted) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target, local;
  region_open(&target, &pair.b, 4096, all_rights, 1);
  region_open(&local, &pair.a, 4096, all_rights | FI_SEND | FI_RECV, 2);
  fill(local.memory, 4096, 6);
  void *descriptor = fi_mr_desc(local.mr);
  post(fi_write(pair.a.ep, local.memory, 4096, descriptor, pair.to_b, target.base, target.key, &slot[0]));
  expect_done(&pair, &slot[0], FI_WRITE);
  await_memory(target.memory, 4096, 6);
  memset(local.memory, 0, 4096);
  post(fi_read(pair.a.ep, local.memory, 4096, descriptor, pair.to_b, target.base, target.key, &slot[1]));
  expect_done(&pair, &slot[1], FI_READ);
  verify(local.memory, 4096, 6);
  region_close(&local);
  region_close(&target);
  pair_close(&pair);
}

CASE(own_memory) {
  struct node node;
  node_open(&node, NULL);
  fi_addr_t self = node_insert(&node, node.address);
  struct region target;
  region_open(&target, &node, 3000, all_rights, 1);
  static char out[3000], in[3000];
  fill(out, sizeof out, 1);
  post(fi_write(node.ep, out, sizeof out, NULL, self, target.base, target.key, &slot[0]));
  wait_for(node.tx_cq, &slot[0]);
  await_memory(target.memory, sizeof out, 1);
  post(fi_read(node.ep, in, sizeof in, NULL, self, target.base, target.key, &slot[1]));
  wait_for(node.tx_cq, &slot[1]);
  verify(in, sizeof in, 1);
  region_close(&target);
  node_close(&node);
}

// ---- vectors ------------------------------------------------------------------------------------------------------

CASE(local_vectors) {
  struct pair pair;
  pair_open(&pair, NULL);
  if (pair.a.info->tx_attr->iov_limit < 2) unsupported("iov_limit is 1");
  struct region target;
  static char out[10000], in[10000];
  region_open(&target, &pair.b, sizeof out, all_rights, 1);
  static const size_t cuts[] = {1, 100, 1472, 5000, 9999};
  for (size_t i = 0; i < COUNT(cuts); i++) {
    fill(out, sizeof out, i);
    memset(in, 0, sizeof in);
    struct iovec from[2] = {{out, cuts[i]}, {out + cuts[i], sizeof out - cuts[i]}};
    struct iovec to[2] = {{in, sizeof in - cuts[i]}, {in + sizeof in - cuts[i], cuts[i]}};
    post(fi_writev(pair.a.ep, from, NULL, 2, pair.to_b, target.base, target.key, &slot[0]));
    expect_done(&pair, &slot[0], FI_RMA | FI_WRITE);
    await_memory(target.memory, sizeof out, i);
    post(fi_readv(pair.a.ep, to, NULL, 2, pair.to_b, target.base, target.key, &slot[1]));
    expect_done(&pair, &slot[1], FI_RMA | FI_READ);
    verify(in, sizeof in, i);
  }
  region_close(&target);
  pair_close(&pair);
}

CASE(remote_vectors) {
  struct pair pair;
  pair_open(&pair, NULL);
  if (pair.a.info->tx_attr->rma_iov_limit < 3) unsupported("rma_iov_limit below 3");
  static char out[9000], in[9000];
  struct region targets[3];
  for (uint64_t i = 0; i < 3; i++) region_open(&targets[i], &pair.b, 6000, all_rights, 100 + i);
  fill(out, sizeof out, 5);
  // 9000 bytes over three regions in pieces of 1000, 5000 and 3000 bytes, each at its own offset
  struct fi_rma_iov remote[3] = {{targets[0].base + 10, 1000, targets[0].key},
                                 {targets[1].base + 500, 5000, targets[1].key},
                                 {targets[2].base + 33, 3000, targets[2].key}};
  struct iovec from[2] = {{out, 4321}, {out + 4321, sizeof out - 4321}};
  struct fi_msg_rma message = {.msg_iov = from, .iov_count = 2, .addr = pair.to_b, .rma_iov = remote,
                               .rma_iov_count = 3, .context = &slot[0]};
  post(fi_writemsg(pair.a.ep, &message, FI_COMPLETION | FI_DELIVERY_COMPLETE));
  expect_done(&pair, &slot[0], FI_RMA | FI_WRITE);
  assert_memory_equal(targets[0].memory + 10, out, 1000);
  assert_memory_equal(targets[1].memory + 500, out + 1000, 5000);
  assert_memory_equal(targets[2].memory + 33, out + 6000, 3000);
  verify_bytes(targets[0].memory, 10, 0xee);
  verify_bytes(targets[0].memory + 1010, 6000 - 1010, 0xee);
  verify_bytes(targets[1].memory, 500, 0xee);
  verify_bytes(targets[2].memory + 3033, 6000 - 3033, 0xee);
  struct iovec to[2] = {{in, 77}, {in + 77, sizeof in - 77}};
  message.msg_iov = to;
  message.context = &slot[1];
  post(fi_readmsg(pair.a.ep, &message, FI_COMPLETION));
  expect_done(&pair, &slot[1], FI_RMA | FI_READ);
  verify(in, sizeof in, 5);
  for (int i = 0; i < 3; i++) region_close(&targets[i]);
  pair_close(&pair);
}

CASE(large_remote_vectors) {
  struct pair pair;
  pair_open(&pair, NULL);
  if (pair.a.info->tx_attr->rma_iov_limit < 2) unsupported("rma_iov_limit is 1");
  enum { length = 3 * mebi };
  char *out = allocate(length), *in = allocate(length);
  struct region targets[2];
  for (uint64_t i = 0; i < 2; i++) region_open(&targets[i], &pair.b, 2 * mebi, all_rights, i);
  fill(out, length, 5);
  struct fi_rma_iov remote[2] = {{targets[0].base, mebi + 1, targets[0].key},
                                 {targets[1].base, length - mebi - 1, targets[1].key}};
  struct iovec from = {out, length}, to = {in, length};
  struct fi_msg_rma message = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .rma_iov = remote,
                               .rma_iov_count = 2, .context = &slot[0]};
  post(fi_writemsg(pair.a.ep, &message, FI_COMPLETION | FI_DELIVERY_COMPLETE));
  expect_done(&pair, &slot[0], FI_WRITE);
  assert_memory_equal(targets[0].memory, out, mebi + 1);
  assert_memory_equal(targets[1].memory, out + mebi + 1, length - mebi - 1);
  message.msg_iov = &to;
  message.context = &slot[1];
  post(fi_readmsg(pair.a.ep, &message, FI_COMPLETION));
  expect_done(&pair, &slot[1], FI_READ);
  verify(in, length, 5);
  for (int i = 0; i < 2; i++) region_close(&targets[i]);
  free(out);
  free(in);
  pair_close(&pair);
}

CASE(region_of_several_buffers) {
  struct pair pair;
  pair_open(&pair, NULL);
  if (pair.b.info->domain_attr->mr_iov_limit < 2) unsupported("mr_iov_limit is 1");
  char *first = allocate(1000), *second = allocate(2000), out[2500];
  struct iovec parts[2] = {{first, 1000}, {second, 2000}};
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_regv(pair.b.domain, parts, 2, all_rights, 0, 3, 0, &mr, NULL));
  fill(out, sizeof out, 1);
  post(fi_write(pair.a.ep, out, sizeof out, NULL, pair.to_b, 200, fi_mr_key(mr), &slot[0]));
  expect_done(&pair, &slot[0], FI_WRITE);
  wait_until(memcmp(second + 1699, out + 2499, 1) == 0);
  assert_memory_equal(first + 200, out, 800);
  assert_memory_equal(second, out + 800, 1700);
  close_fid(mr);
  free(first);
  free(second);
  pair_close(&pair);
}

// ---- immediate data -----------------------------------------------------------------------------------------------

static void expect_immediate(struct pair *pair, uint64_t data) {
  struct fi_cq_tagged_entry entry = {.op_context = &slot[9]};
  wait_completion(pair->b.rx_cq, &entry);
  uint64_t flags = FI_REMOTE_CQ_DATA | FI_REMOTE_WRITE;
  assert_int_equal(entry.flags & flags, flags);
  assert_true(entry.data == data);
  assert_null(entry.op_context);
}

static void immediate(size_t length) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, length + 8, all_rights, 1);
  char *out = allocate(length);
  for (uint64_t round = 0; round < 4; round++) {
    fill(out, length, round);
    uint64_t data = UINT64_C(0xf000000000000000) + round;
    post(fi_writedata(pair.a.ep, out, length, NULL, data, pair.to_b, target.base, target.key, &slot[0]));
    expect_immediate(&pair, data);
    verify(target.memory, length, round);  // the bytes are there when the data is
    expect_done(&pair, &slot[0], FI_RMA | FI_WRITE);
  }
  free(out);
  region_close(&target);
  pair_close(&pair);
}

CASE(immediate_data_with_small_writes) { immediate(40); }
CASE(immediate_data_with_medium_writes) { immediate(9000); }
CASE(immediate_data_with_large_writes) { immediate(700000); }
CASE(immediate_data_with_empty_writes) { immediate(0); }

CASE(immediate_data_consumes_no_receive) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 1);
  char in = 0;
  post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &slot[5]));
  post(fi_writedata(pair.a.ep, "abcd", 4, NULL, 99, pair.to_b, target.base, target.key, &slot[0]));
  expect_immediate(&pair, 99);
  expect_done(&pair, &slot[0], FI_WRITE);
  post(fi_inject(pair.a.ep, "x", 1, pair.to_b));
  wait_for(pair.b.rx_cq, &slot[5]);
  assert_int_equal(in, 'x');
  region_close(&target);
  pair_close(&pair);
}

CASE(immediate_data_from_the_message_call) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 1);
  struct iovec from = {"efgh", 4};
  struct fi_rma_iov remote = {target.base + 3, 4, target.key};
  struct fi_msg_rma message = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .rma_iov = &remote,
                               .rma_iov_count = 1, .context = &slot[0], .data = 1234};
  post(fi_writemsg(pair.a.ep, &message, FI_COMPLETION | FI_REMOTE_CQ_DATA));
  expect_immediate(&pair, 1234);
  assert_memory_equal(target.memory + 3, "efgh", 4);
  expect_done(&pair, &slot[0], FI_WRITE);
  region_close(&target);
  pair_close(&pair);
}

CASE(immediate_data_keeps_the_order) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, 4096, all_rights, 1);
  enum { count = 500 };
  static uint32_t values[count];
  for (uint32_t i = 0; i < count; i++) {
    values[i] = i;
    post(fi_writedata(pair.a.ep, &values[i], 4, NULL, i, pair.to_b, target.base + i % 1000 * 4, target.key, &slot[i]));
  }
  for (uint32_t i = 0; i < count; i++) {
    expect_immediate(&pair, i);
    assert_memory_equal(target.memory + i * 4, &values[i], 4);
  }
  wait_for_all(pair.a.tx_cq, slot, count);
  region_close(&target);
  pair_close(&pair);
}

CASE(immediate_data_reports_the_source) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.caps = FI_MSG | FI_RMA | FI_SOURCE});
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 1);
  post(fi_writedata(pair.a.ep, "abcd", 4, NULL, 99, pair.to_b, target.base, target.key, &slot[0]));
  struct fi_cq_tagged_entry entry = {0};
  fi_addr_t source = 4711;
  double deadline = deadline_after(DEFAULT_WAIT);
  ssize_t count;
  while ((count = fi_cq_readfrom(pair.b.rx_cq, &entry, 1, &source)) == -FI_EAGAIN && seconds() < deadline) {
    drive_progress();
  }
  assert_int_equal(count, 1);
  assert_true(source == pair.to_a);
  expect_done(&pair, &slot[0], FI_WRITE);
  region_close(&target);
  pair_close(&pair);
}

// ---- inject and flags ---------------------------------------------------------------------------------------------

CASE(inject_write_frees_the_buffer_at_once) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  size_t length = pair.a.info->tx_attr->inject_size;
  if (length > 1024) length = 1024;
  region_open(&target, &pair.b, length * 10, all_rights, 1);
  char *out = allocate(length);
  for (size_t i = 0; i < 10; i++) {
    fill(out, length, i);
    post(fi_inject_write(pair.a.ep, out, length, pair.to_b, target.base + i * length, target.key));
    memset(out, 0, length);
  }
  for (size_t i = 0; i < 10; i++) await_memory(target.memory + i * length, length, i);
  expect_quiet(pair.a.tx_cq, 30);
  free(out);
  region_close(&target);
  pair_close(&pair);
}

CASE(inject_write_with_data) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 1);
  post(fi_inject_writedata(pair.a.ep, "abcd", 4, 4321, pair.to_b, target.base + 1, target.key));
  expect_immediate(&pair, 4321);
  assert_memory_equal(target.memory + 1, "abcd", 4);
  expect_quiet(pair.a.tx_cq, 30);
  region_close(&target);
  pair_close(&pair);
}

static void write_with_flags(uint64_t flags, size_t length) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, length, all_rights, 1);
  char *out = allocate(length);
  fill(out, length, 7);
  struct iovec from = {out, length};
  struct fi_rma_iov remote = {target.base, length, target.key};
  struct fi_msg_rma message = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .rma_iov = &remote,
                               .rma_iov_count = 1, .context = &slot[0]};
  post(fi_writemsg(pair.a.ep, &message, FI_COMPLETION | flags));
  if (flags & FI_INJECT) memset(out, 0, length);
  expect_done(&pair, &slot[0], FI_RMA | FI_WRITE);
  if (flags & FI_DELIVERY_COMPLETE) verify(target.memory, length, 7);
  await_memory(target.memory, length, 7);
  free(out);
  region_close(&target);
  pair_close(&pair);
}

CASE(writemsg_plain) { write_with_flags(0, 3000); }
CASE(writemsg_injected) { write_with_flags(FI_INJECT, 32); }
CASE(writemsg_inject_complete) { write_with_flags(FI_INJECT_COMPLETE, 3000); }
CASE(writemsg_transmit_complete) { write_with_flags(FI_TRANSMIT_COMPLETE, 3000); }
CASE(writemsg_delivery_complete_small) { write_with_flags(FI_DELIVERY_COMPLETE, 8); }
CASE(writemsg_delivery_complete_medium) { write_with_flags(FI_DELIVERY_COMPLETE, 3000); }
CASE(writemsg_delivery_complete_large) { write_with_flags(FI_DELIVERY_COMPLETE, 900000); }

CASE(selective_completion) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.tx_bind_flags = FI_SELECTIVE_COMPLETION});
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 1);
  char in[4] = {0};
  struct iovec to = {in, 4};
  struct fi_rma_iov remote = {target.base, 4, target.key};
  struct fi_msg_rma message = {.msg_iov = &to, .iov_count = 1, .addr = pair.to_b, .rma_iov = &remote,
                               .rma_iov_count = 1, .context = &slot[2]};
  post(fi_write(pair.a.ep, "abcd", 4, NULL, pair.to_b, target.base, target.key, &slot[0]));
  wait_until(memcmp(target.memory, "abcd", 4) == 0);
  post(fi_read(pair.a.ep, in, 4, NULL, pair.to_b, target.base, target.key, &slot[1]));
  wait_until(memcmp(in, "abcd", 4) == 0);
  post(fi_readmsg(pair.a.ep, &message, FI_COMPLETION));
  wait_for(pair.a.tx_cq, &slot[2]);
  expect_quiet(pair.a.tx_cq, 30);
  region_close(&target);
  pair_close(&pair);
}

// ---- access checks ------------------------------------------------------------------------------------------------

enum access { access_write, access_read };

// The operation must end as an error at the initiator, the target's memory must stay as it was, and the endpoints must
// still work.
static void refused(struct pair *pair, struct region *target, enum access access, uint64_t address, size_t length,
                    uint64_t key) {
  char *local = allocate(length);
  memset(local, 0x11, length);
  if (access == access_write) {
    post(fi_write(pair->a.ep, local, length, NULL, pair->to_b, address, key, &slot[0]));
  } else {
    post(fi_read(pair->a.ep, local, length, NULL, pair->to_b, address, key, &slot[0]));
  }
  struct fi_cq_err_entry error;
  wait_error(pair->a.tx_cq, &error);
  assert_ptr_equal(error.op_context, &slot[0]);
  assert_true(error.err > 0);
  assert_true(error.flags & FI_RMA);
  assert_true(error.flags & (access == access_write ? FI_WRITE : FI_READ));
  for (int i = 0; i < 20; i++) drive_progress();
  if (target) verify_bytes(target->memory, target->length, 0xee);
  if (access == access_read) verify_bytes(local, length, 0x11);
  free(local);
  // still alive
  char in = 0;
  post(fi_recv(pair->b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post(fi_send(pair->a.ep, "x", 1, NULL, pair->to_b, &slot[2]));
  wait_for(pair->b.rx_cq, &slot[1]);
  wait_for(pair->a.tx_cq, &slot[2]);
}

static void wrong_key(enum access access, size_t length, int mr_mode) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.mr_mode = mr_mode});
  struct region target;
  region_open(&target, &pair.b, length, all_rights, 1);
  refused(&pair, &target, access, target.base, length, target.key ^ 0x40);
  region_close(&target);
  pair_close(&pair);
}

CASE(write_with_a_wrong_key) { wrong_key(access_write, 100, 0); }
CASE(write_with_a_wrong_provider_key) { wrong_key(access_write, 100, basic_memory); }
CASE(write_of_much_with_a_wrong_key) { wrong_key(access_write, 500000, 0); }
CASE(read_with_a_wrong_key) { wrong_key(access_read, 100, 0); }
CASE(read_of_much_with_a_wrong_key) { wrong_key(access_read, 500000, 0); }

static void out_of_bounds(enum access access, size_t region_length, int64_t offset, size_t length, int mr_mode) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.mr_mode = mr_mode});
  // the region is the middle of a larger buffer, so that stray bytes are seen
  size_t room = region_length + 2 * 65536;
  char *memory = allocate(room);
  memset(memory, 0xee, room);
  struct region target;
  region_over(&target, &pair.b, memory + 65536, region_length, all_rights, 1, 0);
  struct region whole = {.memory = memory, .length = room};
  refused(&pair, &whole, access, target.base + (uint64_t)offset, length, target.key);
  close_fid(target.mr);
  free(memory);
  pair_close(&pair);
}

CASE(write_one_byte_beyond_the_end) { out_of_bounds(access_write, 100, 0, 101, 0); }
CASE(write_across_the_end) { out_of_bounds(access_write, 100, 50, 51, 0); }
CASE(write_after_the_end) { out_of_bounds(access_write, 100, 100, 1, 0); }
CASE(write_much_across_the_end) { out_of_bounds(access_write, 300000, 100, 300000, 0); }
CASE(write_before_the_beginning) { out_of_bounds(access_write, 100, -1, 10, basic_memory); }
CASE(write_at_a_wrapping_offset) { out_of_bounds(access_write, 100, -10, 20, 0); }
CASE(read_one_byte_beyond_the_end) { out_of_bounds(access_read, 100, 0, 101, 0); }
CASE(read_across_the_end) { out_of_bounds(access_read, 100, 50, 51, 0); }
CASE(read_much_across_the_end) { out_of_bounds(access_read, 300000, 100, 300000, 0); }
CASE(read_before_the_beginning) { out_of_bounds(access_read, 100, -1, 10, basic_memory); }
CASE(read_at_a_wrapping_offset) { out_of_bounds(access_read, 100, -10, 20, 0); }

static void without_right(enum access access, uint64_t rights, size_t length) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, length, rights, 1);
  refused(&pair, &target, access, target.base, length, target.key);
  region_close(&target);
  pair_close(&pair);
}

CASE(write_to_memory_that_may_be_read) { without_right(access_write, FI_REMOTE_READ, 100); }
CASE(write_much_to_memory_that_may_be_read) { without_right(access_write, FI_REMOTE_READ, 500000); }
CASE(read_of_memory_that_may_be_written) { without_right(access_read, FI_REMOTE_WRITE, 100); }
CASE(read_of_much_memory_that_may_be_written) { without_right(access_read, FI_REMOTE_WRITE, 500000); }
CASE(write_to_local_memory) { without_right(access_write, FI_READ | FI_WRITE | FI_SEND | FI_RECV, 100); }

static void after_close(enum access access) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, 100, all_rights, 1);
  close_fid(target.mr);
  refused(&pair, &target, access, target.base, 100, target.key);
  free(target.memory);
  pair_close(&pair);
}

CASE(write_to_a_closed_region) { after_close(access_write); }
CASE(read_of_a_closed_region) { after_close(access_read); }

CASE(immediate_data_of_a_refused_write_is_not_delivered) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, 100, all_rights, 1);
  post(fi_writedata(pair.a.ep, "abcd", 4, NULL, 5, pair.to_b, target.base, target.key ^ 1, &slot[0]));
  struct fi_cq_err_entry error;
  wait_error(pair.a.tx_cq, &error);
  expect_quiet(pair.b.rx_cq, 30);
  verify_bytes(target.memory, 100, 0xee);
  region_close(&target);
  pair_close(&pair);
}

CASE(second_remote_part_out_of_bounds) {
  struct pair pair;
  pair_open(&pair, NULL);
  if (pair.a.info->tx_attr->rma_iov_limit < 2) unsupported("rma_iov_limit is 1");
  struct region target;
  region_open(&target, &pair.b, 100, all_rights, 1);
  char local[60];
  memset(local, 0x11, sizeof local);
  struct fi_rma_iov remote[2] = {{target.base, 30, target.key}, {target.base + 80, 30, target.key}};
  struct iovec from = {local, sizeof local};
  struct fi_msg_rma message = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .rma_iov = remote,
                               .rma_iov_count = 2, .context = &slot[0]};
  post(fi_writemsg(pair.a.ep, &message, FI_COMPLETION));
  struct fi_cq_err_entry error;
  wait_error(pair.a.tx_cq, &error);
  verify_bytes(target.memory + 80, 20, 0xee);
  region_close(&target);
  pair_close(&pair);
}

CASE(errors_do_not_harm_their_neighbours) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, 3000, all_rights, 1);
  static char out[30][100];
  for (size_t i = 0; i < 30; i++) {
    fill(out[i], 100, i);
    uint64_t key = i % 3 == 1 ? target.key ^ 2 : target.key;
    post(fi_write(pair.a.ep, out[i], 100, NULL, pair.to_b, target.base + i * 100, key, &slot[i]));
  }
  bool seen[30] = {false};
  double deadline = deadline_after(DEFAULT_WAIT);
  for (int count = 0; count < 30 && seconds() < deadline;) {
    struct fi_cq_tagged_entry entry;
    ssize_t result = fi_cq_read(pair.a.tx_cq, &entry, 1);
    drive_progress();
    if (result == -FI_EAGAIN) continue;
    bool failed_one = result == -FI_EAVAIL;
    struct fi_cq_err_entry error = {0};
    if (failed_one) assert_returns(fi_cq_readerr(pair.a.tx_cq, &error, 0), 1);
    ptrdiff_t index = (char *)(failed_one ? error.op_context : entry.op_context) - slot;
    assert_in_range(index, 0, 29);
    assert_false(seen[index]);
    assert_int_equal(failed_one, index % 3 == 1);
    seen[index] = true;
    count++;
  }
  for (size_t i = 0; i < 30; i++) {
    assert_true(seen[i]);
    if (i % 3 == 1) {
      verify_bytes(target.memory + i * 100, 100, 0xee);
    } else {
      await_memory(target.memory + i * 100, 100, i);
    }
  }
  region_close(&target);
  pair_close(&pair);
}

// ---- order and amount ---------------------------------------------------------------------------------------------

CASE(message_after_write) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.msg_order = FI_ORDER_SAW | FI_ORDER_SAS});
  static const size_t lengths[] = {8, 1000, 20000, 700000};
  for (size_t i = 0; i < COUNT(lengths); i++) {
    struct region target;
    region_open(&target, &pair.b, lengths[i], all_rights, 1);
    char *out = allocate(lengths[i]), in = 0;
    fill(out, lengths[i], i);
    post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &slot[0]));
    post(fi_write(pair.a.ep, out, lengths[i], NULL, pair.to_b, target.base, target.key, &slot[1]));
    post(fi_send(pair.a.ep, "x", 1, NULL, pair.to_b, &slot[2]));
    wait_for(pair.b.rx_cq, &slot[0]);
    verify(target.memory, lengths[i], i);  // the message tells that the write is done
    struct fi_cq_tagged_entry entry;
    wait_completion(pair.a.tx_cq, &entry);
    wait_completion(pair.a.tx_cq, &entry);
    free(out);
    region_close(&target);
  }
  pair_close(&pair);
}

CASE(write_after_write) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.msg_order = FI_ORDER_WAW});
  struct region target;
  region_open(&target, &pair.b, 4000, all_rights, 1);
  static char out[50][4000];
  for (int round = 0; round < 50; round++) {
    fill(out[round], 4000, (uint64_t)round);
    post(fi_write(pair.a.ep, out[round], 4000, NULL, pair.to_b, target.base, target.key, &slot[round]));
  }
  for (int round = 0; round < 50; round++) {
    struct fi_cq_tagged_entry entry;
    wait_completion(pair.a.tx_cq, &entry);
  }
  await_memory(target.memory, 4000, 49);
  region_close(&target);
  pair_close(&pair);
}

CASE(read_after_write) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.msg_order = FI_ORDER_RAW});
  struct region target;
  region_open(&target, &pair.b, 4000, all_rights, 1);
  static char out[4000], in[4000];
  for (uint64_t round = 0; round < 20; round++) {
    fill(out, sizeof out, round);
    post(fi_write(pair.a.ep, out, sizeof out, NULL, pair.to_b, target.base, target.key, &slot[0]));
    post(fi_read(pair.a.ep, in, sizeof in, NULL, pair.to_b, target.base, target.key, &slot[1]));
    struct fi_cq_tagged_entry entry;
    wait_completion(pair.a.tx_cq, &entry);
    wait_completion(pair.a.tx_cq, &entry);
    verify(in, sizeof in, round);
  }
  region_close(&target);
  pair_close(&pair);
}

CASE(many_outstanding_writes) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.cq_size = 2048});
  enum { count = 1000, length = 700 };
  struct region target;
  region_open(&target, &pair.b, count * length, all_rights, 1);
  static char out[count][length];
  for (size_t i = 0; i < count; i++) {
    fill(out[i], length, i);
    post(fi_write(pair.a.ep, out[i], length, NULL, pair.to_b, target.base + i * length, target.key, &slot[i]));
  }
  for (int i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry;
    wait_completion(pair.a.tx_cq, &entry);
  }
  for (size_t i = 0; i < count; i++) await_memory(target.memory + i * length, length, i);
  region_close(&target);
  pair_close(&pair);
}

CASE(many_outstanding_reads) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.cq_size = 2048});
  enum { count = 1000, length = 700 };
  struct region target;
  region_open(&target, &pair.b, count * length, all_rights, 1);
  static char in[count][length];
  for (size_t i = 0; i < count; i++) fill(target.memory + i * length, length, i);
  for (size_t i = 0; i < count; i++) {
    post(fi_read(pair.a.ep, in[i], length, NULL, pair.to_b, target.base + i * length, target.key, &slot[i]));
  }
  for (int i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry;
    wait_completion(pair.a.tx_cq, &entry);
  }
  for (size_t i = 0; i < count; i++) verify(in[i], length, i);
  region_close(&target);
  pair_close(&pair);
}

CASE(many_large_reads_and_writes_at_once) {
  struct pair pair;
  pair_open(&pair, NULL);
  enum { count = 16, length = 300000 };
  struct region target;
  region_open(&target, &pair.b, 2 * count * length, all_rights, 1);
  static char out[count][length], in[count][length];
  for (size_t i = 0; i < count; i++) {
    fill(out[i], length, i);
    fill(target.memory + (count + i) * length, length, 100 + i);
  }
  for (size_t i = 0; i < count; i++) {
    post(fi_write(pair.a.ep, out[i], length, NULL, pair.to_b, target.base + i * length, target.key, &slot[i]));
    post(fi_read(pair.a.ep, in[i], length, NULL, pair.to_b, target.base + (count + i) * length, target.key,
                 &slot[100 + i]));
  }
  for (int i = 0; i < 2 * count; i++) {
    struct fi_cq_tagged_entry entry;
    wait_completion(pair.a.tx_cq, &entry);
  }
  for (size_t i = 0; i < count; i++) {
    await_memory(target.memory + i * length, length, i);
    verify(in[i], length, 100 + i);
  }
  region_close(&target);
  pair_close(&pair);
}

CASE(both_directions_at_once) {
  struct pair pair;
  pair_open(&pair, NULL);
  enum { length = 2 * mebi };
  struct region at_a, at_b;
  region_open(&at_a, &pair.a, length, all_rights, 1);
  region_open(&at_b, &pair.b, length, all_rights, 1);
  char *out_a = allocate(length), *out_b = allocate(length);
  fill(out_a, length, 1);
  fill(out_b, length, 2);
  post(fi_write(pair.a.ep, out_a, length, NULL, pair.to_b, at_b.base, at_b.key, &slot[0]));
  post(fi_write(pair.b.ep, out_b, length, NULL, pair.to_a, at_a.base, at_a.key, &slot[1]));
  wait_for(pair.a.tx_cq, &slot[0]);
  wait_for(pair.b.tx_cq, &slot[1]);
  await_memory(at_b.memory, length, 1);
  await_memory(at_a.memory, length, 2);
  free(out_a);
  free(out_b);
  region_close(&at_a);
  region_close(&at_b);
  pair_close(&pair);
}

CASE(messages_and_remote_memory_interleave) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region target;
  region_open(&target, &pair.b, 64 * 5000, all_rights, 1);
  static char out[64][5000], in[64][100];
  for (size_t i = 0; i < 64; i++) {
    fill(out[i], 5000, i);
    post(fi_trecv(pair.b.ep, in[i], 100, NULL, FI_ADDR_UNSPEC, i, 0, &slot[i]));
  }
  for (size_t i = 0; i < 64; i++) {
    post(fi_write(pair.a.ep, out[i], 5000, NULL, pair.to_b, target.base + i * 5000, target.key, &slot[100 + i]));
    post(fi_tsend(pair.a.ep, out[i], 100, NULL, pair.to_b, i, &slot[200 + i]));
  }
  struct fi_cq_tagged_entry entry;
  for (int i = 0; i < 128; i++) wait_completion(pair.a.tx_cq, &entry);
  for (int i = 0; i < 64; i++) wait_completion(pair.b.rx_cq, &entry);
  for (size_t i = 0; i < 64; i++) {
    await_memory(target.memory + i * 5000, 5000, i);
    verify(in[i], 100, i);
  }
  region_close(&target);
  pair_close(&pair);
}

// A transfer of each kind, whose memory is filled anew as soon as it may be: the peer must have got what was there before.
static void reuse_at_once(struct pair *pair, struct region *at_b, size_t offset, size_t length, uint64_t seed) {
  char *out = allocate(length + offset), *in = allocate(length + offset);
  char *there = at_b->memory + offset;
  fill(out + offset, length, seed);
  post(fi_recv(pair->b.ep, in + offset, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_send(pair->a.ep, out + offset, length, NULL, pair->to_b, &slot[1]));
  wait_for(pair->a.tx_cq, &slot[1]);
  fill(out + offset, length, seed + 1);
  wait_for(pair->b.rx_cq, &slot[0]);
  verify(in + offset, length, seed);

  post(fi_write(pair->a.ep, out + offset, length, NULL, pair->to_b, at_b->base + offset, at_b->key, &slot[2]));
  wait_for(pair->a.tx_cq, &slot[2]);
  fill(out + offset, length, seed + 2);
  await_memory(there, length, seed + 1);

  post(fi_read(pair->a.ep, in + offset, length, NULL, pair->to_b, at_b->base + offset, at_b->key, &slot[3]));
  wait_for(pair->a.tx_cq, &slot[3]);
  fill(there, length, seed + 3);
  verify(in + offset, length, seed + 1);
  // Back the other way, so that each side is sender and receiver in turn.
  post(fi_recv(pair->a.ep, in + offset, length, NULL, FI_ADDR_UNSPEC, &slot[4]));
  post(fi_send(pair->b.ep, there, length, NULL, pair->to_a, &slot[5]));
  wait_for(pair->b.tx_cq, &slot[5]);
  fill(there, length, seed + 4);
  wait_for(pair->a.rx_cq, &slot[4]);
  verify(in + offset, length, seed + 3);
  verify(there, length, seed + 4);
  free(out);
  free(in);
}

// More than enough packets to one peer for whatever a library does about a peer that it talks to all the time.
CASE(memory_may_be_reused_at_once) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct region at_b;
  region_open(&at_b, &pair.b, 16 * mebi + 4096, all_rights, 1);
  char byte = 0;
  for (int i = 0; i < 100; i++) {
    post(fi_recv(pair.b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, &slot[0]));
    post(fi_send(pair.a.ep, "a", 1, NULL, pair.to_b, &slot[1]));
    wait_for(pair.a.tx_cq, &slot[1]);
    wait_for(pair.b.rx_cq, &slot[0]);
  }
  static const size_t offsets[] = {0, 1, 8, 63, 1000, 4095};
  for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
    reuse_at_once(&pair, &at_b, offsets[i], mebi + 517 * i, 10 * i + 1);
  }
  reuse_at_once(&pair, &at_b, 3, 4 * mebi + 1, 1001);
  reuse_at_once(&pair, &at_b, 5, 16 * mebi, 2001);
  region_close(&at_b);
  pair_close(&pair);
}
