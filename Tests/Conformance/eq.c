// Event queues. Man page: fi_eq(3).
#include "fixture.h"

struct queue {
  struct node node;
  struct fid_eq *eq;
};

static void queue_open(struct queue *queue, enum fi_wait_obj wait, uint64_t flags) {
  node_open_domain(&queue->node, NULL);
  struct fi_eq_attr attributes = {.size = 32, .wait_obj = wait, .flags = flags};
  queue->eq = NULL;
  assert_offered(fi_eq_open(queue->node.fabric, &attributes, &queue->eq, &queue->eq));
  assert_non_null(queue->eq);
}

static void queue_close(struct queue *queue) {
  close_fid(queue->eq);
  node_close(&queue->node);
}

static void write_event(struct queue *queue, uint32_t event, uint64_t data) {
  struct fi_eq_entry entry = {.fid = &queue->node.domain->fid, .context = queue, .data = data};
  assert_returns(fi_eq_write(queue->eq, event, &entry, sizeof entry, 0), sizeof entry);
}

static void expect_event(struct queue *queue, uint64_t flags, uint32_t event, uint64_t data) {
  struct fi_eq_entry entry = {0};
  uint32_t kind = 0xffff;
  assert_returns(fi_eq_read(queue->eq, &kind, &entry, sizeof entry, flags), sizeof entry);
  assert_int_equal(kind, event);
  assert_ptr_equal(entry.fid, &queue->node.domain->fid);
  assert_ptr_equal(entry.context, queue);
  assert_int_equal(entry.data, data);
}

CASE(open_has_class_and_context) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, 0);
  assert_int_equal(queue.eq->fid.fclass, FI_CLASS_EQ);
  assert_ptr_equal(queue.eq->fid.context, &queue.eq);
  queue_close(&queue);
}

CASE(open_every_common_wait_object) {
  static const enum fi_wait_obj objects[] = {FI_WAIT_NONE, FI_WAIT_UNSPEC, FI_WAIT_FD};
  for (int i = 0; i < 3; i++) {
    struct queue queue;
    queue_open(&queue, objects[i], FI_WRITE);
    queue_close(&queue);
  }
}

CASE(open_with_unknown_values) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_eq *eq = NULL;
  struct fi_eq_attr attributes = {.wait_obj = (enum fi_wait_obj)99};
  assert_fails(fi_eq_open(node.fabric, &attributes, &eq, NULL));
  attributes = (struct fi_eq_attr){.flags = FI_MULTICAST};
  assert_fails(fi_eq_open(node.fabric, &attributes, &eq, NULL));
  node_close(&node);
}

CASE(read_from_an_empty_queue) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, FI_WRITE);
  struct fi_eq_entry entry;
  uint32_t kind;
  assert_returns(fi_eq_read(queue.eq, &kind, &entry, sizeof entry, 0), -FI_EAGAIN);
  struct fi_eq_err_entry error = {0};
  assert_returns(fi_eq_readerr(queue.eq, &error, 0), -FI_EAGAIN);
  queue_close(&queue);
}

CASE(written_events_are_read_in_order) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, FI_WRITE);
  for (uint64_t i = 0; i < 10; i++) write_event(&queue, i % 2 ? FI_NOTIFY : FI_MR_COMPLETE, 100 + i);
  for (uint64_t i = 0; i < 10; i++) expect_event(&queue, 0, i % 2 ? FI_NOTIFY : FI_MR_COMPLETE, 100 + i);
  struct fi_eq_entry entry;
  uint32_t kind;
  assert_returns(fi_eq_read(queue.eq, &kind, &entry, sizeof entry, 0), -FI_EAGAIN);
  queue_close(&queue);
}

CASE(events_of_any_size_keep_their_bytes) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, FI_WRITE);
  unsigned char out[300], in[400];
  fill(out, sizeof out, 3);
  for (size_t size = 1; size <= sizeof out; size += 37) {
    assert_returns(fi_eq_write(queue.eq, FI_NOTIFY, out, size, 0), size);
    memset(in, 0xab, sizeof in);
    uint32_t kind;
    assert_returns(fi_eq_read(queue.eq, &kind, in, sizeof in, 0), size);
    assert_memory_equal(in, out, size);
    verify_bytes(in + size, sizeof in - size, 0xab);
  }
  queue_close(&queue);
}

// Either the event is cut to the buffer, or it stays and -FI_ETOOSMALL says why.
CASE(read_into_a_small_buffer) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, FI_WRITE);
  write_event(&queue, FI_NOTIFY, 5);
  char small[8];
  memset(small, 0xab, sizeof small);
  uint32_t kind;
  ssize_t count = fi_eq_read(queue.eq, &kind, small, 4, 0);
  if (count == -FI_ETOOSMALL) {
    expect_event(&queue, 0, FI_NOTIFY, 5);
  } else {
    assert_returns(count, 4);
  }
  verify_bytes(small + 4, 4, 0xab);
  queue_close(&queue);
}

CASE(peek_leaves_the_event) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, FI_WRITE);
  write_event(&queue, FI_NOTIFY, 5);
  write_event(&queue, FI_NOTIFY, 6);
  for (int i = 0; i < 3; i++) expect_event(&queue, FI_PEEK, FI_NOTIFY, 5);
  expect_event(&queue, 0, FI_NOTIFY, 5);
  expect_event(&queue, FI_PEEK, FI_NOTIFY, 6);
  expect_event(&queue, 0, FI_NOTIFY, 6);
  queue_close(&queue);
}

CASE(many_events) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, FI_WRITE);
  // beyond the size asked for, an event may be refused, never lost
  uint64_t written = 0;
  struct fi_eq_entry entry = {.fid = &queue.node.domain->fid, .context = &queue};
  for (; written < 1000; written++) {
    entry.data = written;
    ssize_t result = fi_eq_write(queue.eq, FI_NOTIFY, &entry, sizeof entry, 0);
    if (result < 0) break;
  }
  assert_true(written >= 32);
  for (uint64_t i = 0; i < written; i++) expect_event(&queue, 0, FI_NOTIFY, i);
  queue_close(&queue);
}

CASE(strerror_explains_errors) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, 0);
  const char *text = fi_eq_strerror(queue.eq, FI_EINVAL, NULL, NULL, 0);
  assert_non_null(text);
  assert_true(strlen(text) > 0);
  char buffer[80];
  memset(buffer, 'x', sizeof buffer);
  assert_non_null(fi_eq_strerror(queue.eq, FI_EINVAL, NULL, buffer, sizeof buffer));
  assert_non_null(memchr(buffer, 0, sizeof buffer));
  queue_close(&queue);
}

// ---- waiting ------------------------------------------------------------------------------------------------------

CASE(sread_times_out) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_UNSPEC, FI_WRITE);
  struct fi_eq_entry entry;
  uint32_t kind;
  double begin = seconds();
  assert_returns(fi_eq_sread(queue.eq, &kind, &entry, sizeof entry, 150, 0), -FI_EAGAIN);
  double waited = seconds() - begin;
  if (waited < 0.14 || waited > 1.0 * time_factor()) failed("returned after %.3f s", waited);
  queue_close(&queue);
}

CASE(sread_without_a_wait_object) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, FI_WRITE);
  struct fi_eq_entry entry;
  uint32_t kind;
  assert_fails(fi_eq_sread(queue.eq, &kind, &entry, sizeof entry, 0, 0));
  queue_close(&queue);
}

static void *write_later(void *argument) {
  struct queue *queue = argument;
  sleep_ms(100);
  struct fi_eq_entry entry = {.fid = &queue->node.domain->fid, .context = queue, .data = 42};
  return (void *)(intptr_t)fi_eq_write(queue->eq, FI_NOTIFY, &entry, sizeof entry, 0);
}

CASE(sread_wakes_on_an_event) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_UNSPEC, FI_WRITE);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, write_later, &queue), 0);
  struct fi_eq_entry entry = {0};
  uint32_t kind = 0;
  double begin = seconds();
  ssize_t count = fi_eq_sread(queue.eq, &kind, &entry, sizeof entry, 4000, 0);
  double waited = seconds() - begin;
  void *result;
  pthread_join(thread, &result);
  assert_int_equal((intptr_t)result, sizeof entry);
  assert_returns(count, sizeof entry);
  assert_int_equal(entry.data, 42);
  if (waited > 1.5 * time_factor()) failed("woke after %.3f s", waited);
  queue_close(&queue);
}

CASE(descriptor_becomes_readable) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_FD, FI_WRITE);
  int descriptor = -1;
  assert_success(fi_control(&queue.eq->fid, FI_GETWAIT, &descriptor));
  struct pollfd poller = {.fd = descriptor, .events = POLLIN};
  struct fid *fids[] = {&queue.eq->fid};
  assert_success(fi_trywait(queue.node.fabric, fids, 1));
  assert_int_equal(poll(&poller, 1, 50), 0);
  write_event(&queue, FI_NOTIFY, 1);
  assert_int_equal(poll(&poller, 1, 1000), 1);
  assert_returns(fi_trywait(queue.node.fabric, fids, 1), -FI_EAGAIN);
  expect_event(&queue, 0, FI_NOTIFY, 1);
  queue_close(&queue);
}

// ---- errors: a failed asynchronous insertion into an address vector makes one -------------------------------------

static void make_error(struct queue *queue, void *context) {
  struct fi_av_attr attributes = {.type = FI_AV_TABLE, .flags = FI_EVENT};
  assert_offered(fi_av_open(queue->node.domain, &attributes, &queue->node.av, NULL));
  assert_success(fi_av_bind(queue->node.av, &queue->eq->fid, 0));
  struct sockaddr_in address = {.sin_family = 999};
  assert_success(fi_av_insert(queue->node.av, &address, 1, NULL, 0, context));
}

static void close_with_av(struct queue *queue) {
  close_fid(queue->node.av);
  queue->node.av = NULL;
  queue_close(queue);
}

CASE(error_blocks_reads_until_it_is_read) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, 0);
  int context;
  make_error(&queue, &context);
  struct fi_eq_entry entry;
  uint32_t kind = 0;
  double deadline = deadline_after(DEFAULT_WAIT);
  ssize_t count;
  while ((count = fi_eq_read(queue.eq, &kind, &entry, sizeof entry, 0)) == -FI_EAGAIN && seconds() < deadline) continue;
  assert_returns(count, -FI_EAVAIL);
  assert_returns(fi_eq_read(queue.eq, &kind, &entry, sizeof entry, 0), -FI_EAVAIL);
  struct fi_eq_err_entry error = {0};
  assert_returns(fi_eq_readerr(queue.eq, &error, 0), sizeof error);
  assert_ptr_equal(error.fid, &queue.node.av->fid);
  assert_ptr_equal(error.context, &context);
  assert_int_equal(error.data, 0);
  assert_true(error.err > 0);
  // then the event that ends the insertion
  while ((count = fi_eq_read(queue.eq, &kind, &entry, sizeof entry, 0)) == -FI_EAGAIN && seconds() < deadline) continue;
  assert_returns(count, sizeof entry);
  assert_int_equal(kind, FI_AV_COMPLETE);
  assert_int_equal(entry.data, 0);
  close_with_av(&queue);
}

CASE(error_can_be_peeked) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, 0);
  int context;
  make_error(&queue, &context);
  struct fi_eq_err_entry error = {0};
  double deadline = deadline_after(DEFAULT_WAIT);
  ssize_t count;
  while ((count = fi_eq_readerr(queue.eq, &error, FI_PEEK)) == -FI_EAGAIN && seconds() < deadline) continue;
  assert_returns(count, sizeof error);
  memset(&error, 0, sizeof error);
  assert_returns(fi_eq_readerr(queue.eq, &error, 0), sizeof error);
  assert_ptr_equal(error.context, &context);
  memset(&error, 0, sizeof error);
  assert_returns(fi_eq_readerr(queue.eq, &error, 0), -FI_EAGAIN);
  close_with_av(&queue);
}

CASE(queue_bound_to_an_address_vector_is_busy) {
  struct queue queue;
  queue_open(&queue, FI_WAIT_NONE, 0);
  struct fi_av_attr attributes = {.type = FI_AV_TABLE, .flags = FI_EVENT};
  assert_offered(fi_av_open(queue.node.domain, &attributes, &queue.node.av, NULL));
  assert_success(fi_av_bind(queue.node.av, &queue.eq->fid, 0));
  assert_returns(fi_close(&queue.eq->fid), -FI_EBUSY);
  close_with_av(&queue);
}
