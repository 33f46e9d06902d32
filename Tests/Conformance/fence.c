// Fences: operations that start when all before them to the same peer have completed. Man pages: fi_getinfo(3),
// fi_msg(3), fi_rma(3), fi_cq(3).
#include "fixture.h"

enum { mebi = 1 << 20 };

static char slot[2000];

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct setup fenced = {.caps = FI_MSG | FI_TAGGED | FI_RMA | FI_FENCE};

static void send_fenced(struct pair *pair, const void *buffer, size_t length, void *context, uint64_t flags) {
  struct iovec iov = {(void *)buffer, length};
  struct fi_msg message = {.msg_iov = &iov, .iov_count = 1, .addr = pair->to_b, .context = context};
  post(fi_sendmsg(pair->a.ep, &message, FI_FENCE | FI_COMPLETION | flags));
}

static void send_tagged_fenced(struct pair *pair, const void *buffer, size_t length, void *context) {
  struct iovec iov = {(void *)buffer, length};
  struct fi_msg_tagged message = {.msg_iov = &iov, .iov_count = 1, .addr = pair->to_b, .tag = 7, .context = context};
  post(fi_tsendmsg(pair->a.ep, &message, FI_FENCE | FI_COMPLETION));
}

static void access_fenced(struct pair *pair, bool is_read, void *buffer, size_t length, struct region *region,
                          void *context) {
  struct iovec iov = {buffer, length};
  struct fi_rma_iov remote = {region->base, length, region->key};
  struct fi_msg_rma message = {.msg_iov = &iov, .iov_count = 1, .addr = pair->to_b, .rma_iov = &remote,
                               .rma_iov_count = 1, .context = context};
  if (is_read) {
    post(fi_readmsg(pair->a.ep, &message, FI_FENCE | FI_COMPLETION));
  } else {
    post(fi_writemsg(pair->a.ep, &message, FI_FENCE | FI_COMPLETION));
  }
}

// Fails unless `count` completions with the contexts slot[0], slot[1], … come before that of `last`.
static void expect_last(struct fid_cq *cq, size_t count, void *last) {
  bool seen[COUNT(slot)] = {false};
  for (size_t i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(cq, &entry);
    ptrdiff_t index = (char *)entry.op_context - slot;
    if (entry.op_context == last) failed("the fenced operation has completed, %zu of those before it have not", count - i);
    if (index < 0 || index >= (ptrdiff_t)count || seen[index]) failed("a strange completion");
    seen[index] = true;
  }
  wait_for(cq, last);
}

CASE(fences_are_offered) {
  struct fi_info *info = find_info(&fenced);
  assert_true(info->caps & FI_FENCE);
  assert_true(info->tx_attr->caps & FI_FENCE);
  assert_false(info->rx_attr->caps & FI_FENCE);
  fi_freeinfo(info);
}

// ---- what is waited for -------------------------------------------------------------------------------------------

CASE(fenced_message_waits_for_writes) {
  struct pair pair;
  pair_open(&pair, &fenced);
  struct region target;
  region_open(&target, &pair.b, 8 * mebi, all_rights, 5);
  char *out = allocate(mebi), in[8];
  fill(out, mebi, 1);
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  for (size_t i = 0; i < 8; i++) {
    post(fi_write(pair.a.ep, out, mebi, NULL, pair.to_b, target.base + i * mebi, target.key, &slot[i]));
  }
  send_fenced(&pair, out, sizeof in, &slot[100], FI_DELIVERY_COMPLETE);
  wait_for(pair.b.rx_cq, &slot[0]);
  for (size_t i = 0; i < 8; i++) verify(target.memory + i * mebi, mebi, 1);
  expect_last(pair.a.tx_cq, 8, &slot[100]);
  free(out);
  region_close(&target);
  pair_close(&pair);
}

// A write that is posted behind a read and a fence does not change what is read.
CASE(fenced_write_waits_for_reads) {
  struct pair pair;
  pair_open(&pair, &fenced);
  struct region target;
  region_open(&target, &pair.b, 4 * mebi, all_rights, 5);
  char *in = allocate(4 * mebi), *out = allocate(4 * mebi);
  for (uint64_t round = 0; round < 4; round++) {
    fill(target.memory, 4 * mebi, round);
    fill(out, 4 * mebi, round + 50);
    post(fi_read(pair.a.ep, in, 4 * mebi, NULL, pair.to_b, target.base, target.key, &slot[0]));
    access_fenced(&pair, false, out, 4 * mebi, &target, &slot[100]);
    expect_last(pair.a.tx_cq, 1, &slot[100]);
    verify(in, 4 * mebi, round);
    wait_until(matches(target.memory, 4 * mebi, round + 50));
  }
  free(in);
  free(out);
  region_close(&target);
  pair_close(&pair);
}

CASE(fenced_read_waits_for_writes) {
  struct pair pair;
  pair_open(&pair, &fenced);
  struct region target;
  region_open(&target, &pair.b, 2 * mebi, all_rights, 5);
  char *in = allocate(2 * mebi), *out = allocate(2 * mebi);
  fill(out, 2 * mebi, 9);
  post(fi_write(pair.a.ep, out, mebi, NULL, pair.to_b, target.base, target.key, &slot[0]));
  post(fi_write(pair.a.ep, out + mebi, mebi, NULL, pair.to_b, target.base + mebi, target.key, &slot[1]));
  access_fenced(&pair, true, in, 2 * mebi, &target, &slot[100]);
  expect_last(pair.a.tx_cq, 2, &slot[100]);
  verify(in, 2 * mebi, 9);
  free(in);
  free(out);
  region_close(&target);
  pair_close(&pair);
}

// A message that nobody has asked for may be over at its sender or not; if it is not, the fence is shut.
CASE(fenced_write_waits_for_an_unmatched_message) {
  struct pair pair;
  pair_open(&pair, &fenced);
  struct region target;
  region_open(&target, &pair.b, 64, all_rights, 5);
  char *out = allocate(4 * mebi), *in = allocate(4 * mebi);
  fill(out, 4 * mebi, 3);
  post(fi_send(pair.a.ep, out, 4 * mebi, NULL, pair.to_b, &slot[0]));
  access_fenced(&pair, false, out, 64, &target, &slot[100]);
  // Behind the fence, though not fenced.
  post(fi_write(pair.a.ep, out, 1, NULL, pair.to_b, target.base + 63, target.key, &slot[101]));
  struct fi_cq_tagged_entry entry = {0};
  bool is_over = false;
  double deadline = deadline_after(0.1);
  while (seconds() < deadline && !is_over) {
    drive_progress();
    bool is_written = target.memory[63] != (char)0xee || target.memory[0] != (char)0xee;
    is_over = fi_cq_read(pair.a.tx_cq, &entry, 1) == 1;
    if (is_written && !is_over) failed("the fenced write is there, the message before it has not completed");
  }
  if (is_over) assert_ptr_equal(entry.op_context, &slot[0]);
  post(fi_recv(pair.b.ep, in, 4 * mebi, NULL, FI_ADDR_UNSPEC, &slot[0]));
  wait_for(pair.b.rx_cq, &slot[0]);
  verify(in, 4 * mebi, 3);
  if (!is_over) wait_for(pair.a.tx_cq, &slot[0]);
  wait_for_all(pair.a.tx_cq, &slot[100], 2);
  free(in);
  free(out);
  region_close(&target);
  pair_close(&pair);
}

// The fence is for one peer: others are not waited for.
CASE(fences_are_one_peers) {
  struct pair pair;
  pair_open(&pair, &fenced);
  struct node other;
  node_open(&other, &fenced);
  fi_addr_t to_other = node_insert(&pair.a, other.address);
  (void)node_insert(&other, pair.a.address);
  char *out = allocate(4 * mebi), *in = allocate(4 * mebi);
  fill(out, 4 * mebi, 3);
  post(fi_send(pair.a.ep, out, 4 * mebi, NULL, to_other, &slot[0]));
  post(fi_recv(pair.b.ep, in, 8, NULL, FI_ADDR_UNSPEC, &slot[0]));
  send_fenced(&pair, out, 8, &slot[100], 0);
  wait_for(pair.b.rx_cq, &slot[0]);
  post(fi_recv(other.ep, in, 4 * mebi, NULL, FI_ADDR_UNSPEC, &slot[0]));
  wait_for(other.rx_cq, &slot[0]);
  verify(in, 4 * mebi, 3);
  struct fi_cq_tagged_entry entry = {0};
  for (int i = 0; i < 2; i++) wait_completion(pair.a.tx_cq, &entry);
  free(in);
  free(out);
  node_close(&other);
  pair_close(&pair);
}

// ---- in rows ------------------------------------------------------------------------------------------------------

// Every kind of operation may be fenced; each is over before the next begins.
CASE(fences_in_a_row) {
  struct pair pair;
  pair_open(&pair, &fenced);
  struct region target;
  region_open(&target, &pair.b, 4096, all_rights, 5);
  enum { rounds = 50 };
  static char out[4096], in[4096], received[2 * rounds][8];
  fill(out, sizeof out, 4);
  for (size_t i = 0; i < rounds; i++) {
    post(fi_recv(pair.b.ep, received[i], 8, NULL, FI_ADDR_UNSPEC, &slot[1000 + i]));
    post(fi_trecv(pair.b.ep, received[rounds + i], 8, NULL, FI_ADDR_UNSPEC, 7, 0, &slot[1000 + rounds + i]));
  }
  for (size_t i = 0; i < rounds; i++) {
    send_fenced(&pair, out, 8, &slot[4 * i], i % 2 ? FI_INJECT : 0);
    access_fenced(&pair, false, out, sizeof out, &target, &slot[4 * i + 1]);
    send_tagged_fenced(&pair, out, 8, &slot[4 * i + 2]);
    access_fenced(&pair, true, in, sizeof in, &target, &slot[4 * i + 3]);
  }
  for (size_t i = 0; i < 4 * rounds; i++) wait_for(pair.a.tx_cq, &slot[i]);
  wait_for_all(pair.b.rx_cq, &slot[1000], 2 * rounds);
  for (size_t i = 0; i < 2 * rounds; i++) verify(received[i], 8, 4);
  verify(in, sizeof in, 4);
  region_close(&target);
  pair_close(&pair);
}

// Many small messages, which the library may call over early, among them one with a fence that wants to be delivered.
CASE(fence_behind_small_messages) {
  struct pair pair;
  pair_open(&pair, &fenced);
  enum { count = 400 };
  static uint64_t received[count + 1];
  for (size_t i = 0; i <= count; i++) {
    post(fi_recv(pair.b.ep, &received[i], sizeof *received, NULL, FI_ADDR_UNSPEC, &slot[i]));
  }
  for (uint64_t i = 0; i < count; i++) post(fi_inject(pair.a.ep, &i, sizeof i, pair.to_b));
  uint64_t last = count;
  send_fenced(&pair, &last, sizeof last, &slot[0], FI_DELIVERY_COMPLETE);
  wait_for(pair.a.tx_cq, &slot[0]);
  for (size_t i = 0; i <= count; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
  }
  for (uint64_t i = 0; i <= count; i++) assert_int_equal(received[i], i);
  pair_close(&pair);
}

// ---- errors -------------------------------------------------------------------------------------------------------

// What has failed is over: the fence opens.
CASE(fence_behind_a_failure) {
  struct pair pair;
  pair_open(&pair, &fenced);
  static char out[5000], in[8];
  fill(out, sizeof out, 2);
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_write(pair.a.ep, out, sizeof out, NULL, pair.to_b, 0, 1234, &slot[0]));
  send_fenced(&pair, out, sizeof in, &slot[100], 0);
  struct fi_cq_err_entry error = {0};
  wait_error(pair.a.tx_cq, &error);
  assert_ptr_equal(error.op_context, &slot[0]);
  wait_for(pair.a.tx_cq, &slot[100]);
  wait_for(pair.b.rx_cq, &slot[0]);
  verify(in, sizeof in, 2);
  pair_close(&pair);
}

// Fenced operations without a completion of their own keep the order all the same.
CASE(silent_fences) {
  struct setup setup = fenced;
  setup.tx_bind_flags = FI_SELECTIVE_COMPLETION;
  struct pair pair;
  pair_open(&pair, &setup);
  struct region target;
  region_open(&target, &pair.b, mebi, all_rights, 5);
  char *in = allocate(mebi), *out = allocate(mebi);
  fill(target.memory, mebi, 1);
  fill(out, mebi, 2);
  struct iovec to = {in, mebi}, from = {out, mebi};
  struct fi_rma_iov remote = {target.base, mebi, target.key};
  struct fi_msg_rma message = {.msg_iov = &to, .iov_count = 1, .addr = pair.to_b, .rma_iov = &remote,
                               .rma_iov_count = 1};
  post(fi_readmsg(pair.a.ep, &message, 0));
  message.msg_iov = &from;
  post(fi_writemsg(pair.a.ep, &message, FI_FENCE));
  message.context = &slot[0];
  post(fi_writemsg(pair.a.ep, &message, FI_FENCE | FI_COMPLETION));
  wait_for(pair.a.tx_cq, &slot[0]);
  verify(in, mebi, 1);
  wait_until(matches(target.memory, mebi, 2));
  expect_quiet(pair.a.tx_cq, 10);
  free(in);
  free(out);
  region_close(&target);
  pair_close(&pair);
}
