// Persistent memory: FI_RMA_PMEM and FI_COMMIT_COMPLETE. Man pages: fi_cq(3), fi_mr(3), fi_rma(3).
#include "fixture.h"

enum { pages = 64, page = 4096, length = pages * page };

static char slot[100];

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct setup persistent = {.caps = FI_MSG | FI_RMA | FI_RMA_PMEM};

// A file of the target, and a region over a mapping of it.
struct file {
  int descriptor;
  char *memory;
  struct region region;
};

static void file_open(struct file *file, struct pair *pair) {
  char name[] = "persist-XXXXXX";
  file->descriptor = mkstemp(name);
  if (file->descriptor < 0) environment_lacks("no file can be made here");
  unlink(name);
  assert_int_equal(ftruncate(file->descriptor, length), 0);
  file->memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file->descriptor, 0);
  assert_ptr_not_equal(file->memory, MAP_FAILED);
  region_over(&file->region, &pair->b, file->memory, length, all_rights, 1, FI_RMA_PMEM);
}

static void file_close(struct file *file) {
  close_fid(file->region.mr);
  munmap(file->memory, length);
  close(file->descriptor);
}

static void write_with(struct pair *pair, void *buffer, size_t count, struct region *region, size_t offset, uint64_t flags,
                       void *context) {
  struct iovec iov = {buffer, count};
  struct fi_rma_iov remote = {region->base + offset, count, region->key};
  struct fi_msg_rma message = {.msg_iov = &iov, .iov_count = 1, .addr = pair->to_b, .rma_iov = &remote,
                               .rma_iov_count = 1, .context = context, .data = 99};
  post(fi_writemsg(pair->a.ep, &message, flags | FI_COMPLETION));
}

// KiB of the mapping that were written to and not yet to its file, as the kernel counts them.
static long dirty(const struct file *file) {
  FILE *maps = fopen("/proc/self/smaps", "r");
  if (!maps) environment_lacks("no /proc/self/smaps");
  char line[512];
  bool is_here = false;
  long sum = 0, value;
  while (fgets(line, sizeof line, maps)) {
    unsigned long start, end;
    if (sscanf(line, "%lx-%lx ", &start, &end) == 2) is_here = start == (unsigned long)file->memory;
    if (is_here && (sscanf(line, "Shared_Dirty: %ld", &value) == 1 || sscanf(line, "Private_Dirty: %ld", &value) == 1)) {
      sum += value;
    }
  }
  fclose(maps);
  return sum;
}

CASE(persistent_memory_is_offered) {
  struct fi_info *info = find_info(&persistent);
  assert_true(info->caps & FI_RMA_PMEM);
  fi_freeinfo(info);
}

static const size_t sizes[] = {0, 1, 8, page - 1, page, page + 1, 20000, 65536, 65537, length - 100};

CASE(committed_writes_arrive) {
  struct pair pair;
  pair_open(&pair, &persistent);
  struct file file;
  file_open(&file, &pair);
  char *out = allocate(length), *in = allocate(length);
  for (size_t i = 0; i < COUNT(sizes); i++) {
    memset(file.memory, 0xee, length);
    fill(out, sizes[i], i);
    write_with(&pair, out, sizes[i], &file.region, 37, FI_COMMIT_COMPLETE, &slot[i]);
    wait_for(pair.a.tx_cq, &slot[i]);
    verify(file.memory + 37, sizes[i], i);
    assert_int_equal(pread(file.descriptor, in, sizes[i], 37), sizes[i]);
    verify(in, sizes[i], i);
    verify_bytes(file.memory, 37, 0xee);
    verify_bytes(file.memory + 37 + sizes[i], 20, 0xee);
  }
  free(out);
  free(in);
  file_close(&file);
  pair_close(&pair);
}

// Opens the pair and the file and writes without persistence, unless that leaves no page dirty here.
static void dirty_open(struct pair *pair, struct file *file, char *out) {
  pair_open(pair, &persistent);
  file_open(file, pair);
  fill(out, 5 * page, 1);
  write_with(pair, out, 5 * page, &file->region, page, FI_DELIVERY_COMPLETE, &slot[0]);
  wait_for(pair->a.tx_cq, &slot[0]);
  if (dirty(file) == 0) environment_lacks("the file system keeps no pages dirty");
}

// What the kernel still has to write tells whether a commit did what it says.
CASE(committed_data_has_reached_its_file) {
  struct pair pair;
  struct file file;
  static char out[5 * page];
  dirty_open(&pair, &file, out);
  long before = dirty(&file);
  write_with(&pair, out, page + 1, &file.region, 2 * page, FI_COMMIT_COMPLETE, &slot[1]);
  wait_for(pair.a.tx_cq, &slot[1]);
  long after = dirty(&file);
  if (after > before - 8) failed("%ld KiB were dirty, and %ld are after a commit of two pages", before, after);
  write_with(&pair, out, 5 * page, &file.region, page, FI_COMMIT_COMPLETE, &slot[2]);
  wait_for(pair.a.tx_cq, &slot[2]);
  assert_int_equal(dirty(&file), 0);
  file_close(&file);
  pair_close(&pair);
}

// A fenced commit is for all writes before it (fi_cq(3), FI_FENCE).
CASE(fenced_commits_are_for_all_before) {
  struct pair pair;
  struct file file;
  static char out[5 * page];
  dirty_open(&pair, &file, out);
  write_with(&pair, out, 0, &file.region, 0, FI_COMMIT_COMPLETE | FI_FENCE, &slot[1]);
  wait_for(pair.a.tx_cq, &slot[1]);
  assert_int_equal(dirty(&file), 0);
  file_close(&file);
  pair_close(&pair);
}

CASE(commits_tell_the_target) {
  struct pair pair;
  pair_open(&pair, &persistent);
  struct file file;
  file_open(&file, &pair);
  static char out[70000];
  fill(out, sizeof out, 3);
  for (size_t count = 8; count <= sizeof out; count *= 20) {
    write_with(&pair, out, count, &file.region, 0, FI_COMMIT_COMPLETE | FI_REMOTE_CQ_DATA, &slot[0]);
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    assert_int_equal(entry.data, 99);
    verify(file.memory, count, 3);
    wait_for(pair.a.tx_cq, &slot[0]);
  }
  file_close(&file);
  pair_close(&pair);
}

// As a default of the endpoint it is for calls without flags, messages included.
CASE(commit_by_default) {
  struct setup setup = persistent;
  setup.tx_op_flags = FI_COMMIT_COMPLETE;
  struct pair pair;
  pair_open(&pair, &setup);
  struct file file;
  file_open(&file, &pair);
  static char out[3000], in[3000];
  fill(out, sizeof out, 4);
  post(fi_write(pair.a.ep, out, sizeof out, NULL, pair.to_b, file.region.base, file.region.key, &slot[0]));
  wait_for(pair.a.tx_cq, &slot[0]);
  verify(file.memory, sizeof out, 4);
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post(fi_send(pair.a.ep, out, sizeof out, NULL, pair.to_b, &slot[2]));
  wait_for(pair.b.rx_cq, &slot[1]);
  wait_for(pair.a.tx_cq, &slot[2]);
  verify(in, sizeof in, 4);
  memset(in, 0, sizeof in);
  post(fi_read(pair.a.ep, in, sizeof in, NULL, pair.to_b, file.region.base, file.region.key, &slot[3]));
  wait_for(pair.a.tx_cq, &slot[3]);
  verify(in, sizeof in, 4);
  file_close(&file);
  pair_close(&pair);
}

// Memory that nothing backs is as persistent as it gets.
CASE(commits_to_other_memory) {
  struct pair pair;
  pair_open(&pair, &persistent);
  struct region target;
  region_open(&target, &pair.b, 100000, all_rights, 1);
  static char out[100000];
  for (size_t count = 1; count <= sizeof out; count *= 10) {
    fill(out, count, count);
    write_with(&pair, out, count, &target, 0, FI_COMMIT_COMPLETE, &slot[0]);
    wait_for(pair.a.tx_cq, &slot[0]);
    verify(target.memory, count, count);
  }
  region_close(&target);
  pair_close(&pair);
}

// What cannot be made persistent is an error, at both sides.
CASE(failed_commits_are_errors) {
  struct setup setup = persistent;
  setup.caps |= FI_FENCE;
  struct pair pair;
  pair_open(&pair, &setup);
  struct file file;
  file_open(&file, &pair);
  // A part of the region is no memory any more.
  assert_int_equal(munmap(file.memory + 10 * page, page), 0);
  static char out[100];
  write_with(&pair, out, sizeof out, &file.region, 0, FI_COMMIT_COMPLETE | FI_FENCE | FI_REMOTE_CQ_DATA, &slot[0]);
  struct fi_cq_err_entry error = {0};
  wait_error(pair.a.tx_cq, &error);
  assert_ptr_equal(error.op_context, &slot[0]);
  assert_int_equal(error.err, FI_EIO);
  expect_quiet(pair.b.rx_cq, 10);
  write_with(&pair, out, sizeof out, &file.region, 0, FI_COMMIT_COMPLETE, &slot[1]);
  wait_for(pair.a.tx_cq, &slot[1]);
  file_close(&file);
  pair_close(&pair);
}
