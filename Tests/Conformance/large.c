// Transfers beyond 2^32 bytes. The memory is a small file mapped again and again, so that little of it is resident; the
// pattern repeats with the file. Man pages: fi_msg(3), fi_rma(3).
#include "fixture.h"

static char slot[4];

static const size_t window = 16 << 20;

// Maps `length` bytes that are all one and the same window of memory.
static char *repeated(size_t length, int *file) {
  *file = memfd_create("conformance", 0);
  assert_true(*file >= 0);
  assert_int_equal(ftruncate(*file, (off_t)window), 0);
  char *base = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) environment_lacks("address space for %zu bytes", length);
  for (size_t place = 0; place < length; place += window) {
    size_t size = length - place < window ? length - place : window;
    void *part = mmap(base + place, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, *file, 0);
    assert_true(part == base + place);
  }
  return base;
}

enum { extra = 12345 };
static const size_t length = (UINT64_C(1) << 32) + extra;

static void finish(struct fid_cq *cq, void *context) {
  struct fi_cq_tagged_entry entry = {0};
  wait_completion_within(cq, &entry, 60);
  assert_ptr_equal(entry.op_context, context);
}

CASE(message_beyond_four_gibibytes) {
  int out_file, in_file;
  char *out = repeated(length, &out_file), *in = repeated(length, &in_file);
  fill(out, window, 1);
  struct pair pair;
  pair_open(&pair, NULL);
  if (pair.a.info->ep_attr->max_msg_size < length) {
    unsupported("max_msg_size is %zu", pair.a.info->ep_attr->max_msg_size);
  }
  post(fi_recv(pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_send(pair.a.ep, out, length, NULL, pair.to_b, &slot[1]));
  struct fi_cq_tagged_entry entry = {0};
  wait_completion_within(pair.b.rx_cq, &entry, 60);
  assert_ptr_equal(entry.op_context, &slot[0]);
  assert_true(entry.len == length);
  finish(pair.a.tx_cq, &slot[1]);
  verify(in, window, 1);
  pair_close(&pair);
}

CASE(write_beyond_four_gibibytes) {
  int out_file, in_file;
  char *out = repeated(length, &out_file), *in = repeated(length, &in_file);
  fill(out, window, 2);
  struct pair pair;
  pair_open(&pair, NULL);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(pair.b.domain, in, length, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 1, 0, &mr, NULL));
  post(fi_write(pair.a.ep, out, length, NULL, pair.to_b, 0, 1, &slot[0]));
  finish(pair.a.tx_cq, &slot[0]);
  wait_until(matches(in, window, 2));
  close_fid(mr);
  pair_close(&pair);
}

CASE(read_beyond_four_gibibytes) {
  int out_file, in_file;
  char *out = repeated(length, &out_file), *in = repeated(length, &in_file);
  fill(out, window, 3);
  struct pair pair;
  pair_open(&pair, NULL);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(pair.b.domain, out, length, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 1, 0, &mr, NULL));
  post(fi_read(pair.a.ep, in, length, NULL, pair.to_b, 0, 1, &slot[0]));
  finish(pair.a.tx_cq, &slot[0]);
  verify(in, window, 3);
  close_fid(mr);
  pair_close(&pair);
}

// Small accesses at both ends of a region larger than 2^32 bytes: offsets must not be cut to 32 bits.
CASE(offsets_beyond_four_gibibytes) {
  char *region = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) environment_lacks("address space for %zu bytes", length);
  struct pair pair;
  pair_open(&pair, NULL);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(pair.b.domain, region, length, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 1, 0, &mr, NULL));
  char out[1000], in[1000];
  fill(out, sizeof out, 4);
  uint64_t offset = length - sizeof out;
  post(fi_write(pair.a.ep, out, sizeof out, NULL, pair.to_b, offset, 1, &slot[0]));
  finish(pair.a.tx_cq, &slot[0]);
  wait_until(matches(region + offset, sizeof out, 4));
  verify_bytes(region + extra - sizeof out, sizeof out, 0);  // where a cut offset would have led
  post(fi_read(pair.a.ep, in, sizeof in, NULL, pair.to_b, offset, 1, &slot[1]));
  finish(pair.a.tx_cq, &slot[1]);
  verify(in, sizeof in, 4);
  close_fid(mr);
  pair_close(&pair);
  munmap(region, length);
}
