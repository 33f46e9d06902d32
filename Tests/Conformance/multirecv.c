// Buffers that take many messages: FI_MULTI_RECV. Man pages: fi_msg(3), fi_endpoint(3), fi_cq(3).
#include "fixture.h"

#ifndef FI_TAGGED_MULTI_RECV
#define FI_TAGGED_MULTI_RECV (1ULL << 46)
#endif

static char slot[20000];
enum { room = 4096 };

static const struct setup messages = {.caps = FI_MSG | FI_MULTI_RECV};

static void set_minimum(struct node *node, size_t bytes) {
  assert_success(fi_setopt(&node->ep->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &bytes, sizeof bytes));
}

static void open_with_minimum(struct pair *pair, const struct setup *setup, size_t minimum) {
  pair_open(pair, setup);
  set_minimum(&pair->b, minimum);
}

static void post_buffer(struct node *node, void *buffer, size_t length, void *context) {
  struct iovec iov = {buffer, length};
  struct fi_msg message = {.msg_iov = &iov, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .context = context};
  post(fi_recvmsg(node->ep, &message, FI_MULTI_RECV | FI_COMPLETION));
}

static void send_pattern(struct pair *pair, size_t length, uint64_t seed) {
  char *out = allocate(length + 1);
  fill(out, length, seed);
  post(fi_send(pair->a.ep, out, length, NULL, pair->to_b, &slot[9000]));
  wait_for(pair->a.tx_cq, &slot[9000]);
  free(out);
}

// What is told of one message, or of a buffer alone, which some providers report in an entry of its own.
struct arrival {
  struct fi_cq_tagged_entry entry;
  bool is_message;
  bool is_release;
};

static struct arrival next_arrival(struct pair *pair) {
  struct arrival arrival = {0};
  wait_completion(pair->b.rx_cq, &arrival.entry);
  arrival.is_message = arrival.entry.flags & FI_RECV;
  arrival.is_release = arrival.entry.flags & FI_MULTI_RECV;
  assert_true(arrival.is_message || arrival.is_release);
  return arrival;
}

// Waits for a message at a place in a buffer.
static struct arrival expect_at(struct pair *pair, void *context, char *place, size_t length, uint64_t seed) {
  struct arrival arrival = next_arrival(pair);
  assert_true(arrival.is_message);
  assert_ptr_equal(arrival.entry.op_context, context);
  assert_ptr_equal(arrival.entry.buf, place);
  assert_int_equal(arrival.entry.len, length);
  assert_int_equal(arrival.entry.flags & FI_MSG, FI_MSG);
  verify(place, length, seed);
  return arrival;
}

static void expect_release(struct pair *pair, struct arrival last, void *context) {
  if (!last.is_release) {
    last = next_arrival(pair);
    assert_false(last.is_message);
    assert_true(last.is_release);
  }
  assert_ptr_equal(last.entry.op_context, context);
}

CASE(one_buffer_takes_many_messages) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 64);
  char *buffer = allocate(room);
  post_buffer(&pair.b, buffer, room, &slot[1]);
  size_t used = 0;
  struct arrival last = {0};
  for (uint64_t i = 0; used < room; i++) {
    assert_false(last.is_release);
    send_pattern(&pair, 512, i);
    last = expect_at(&pair, &slot[1], buffer + used, 512, i);
    used += 512;
  }
  expect_release(&pair, last, &slot[1]);
  expect_quiet(pair.b.rx_cq, 20);
  pair_close(&pair);
  free(buffer);
}

CASE(buffer_is_released_below_the_minimum) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 1000);
  char *buffer = allocate(room), *next = allocate(room);
  post_buffer(&pair.b, buffer, room, &slot[1]);
  post_buffer(&pair.b, next, room, &slot[2]);
  send_pattern(&pair, 3096, 1);  // 1,000 bytes are left: enough
  struct arrival arrival = expect_at(&pair, &slot[1], buffer, 3096, 1);
  assert_false(arrival.is_release);
  send_pattern(&pair, 1, 2);  // 999 bytes are left
  arrival = expect_at(&pair, &slot[1], buffer + 3096, 1, 2);
  expect_release(&pair, arrival, &slot[1]);
  send_pattern(&pair, 10, 3);
  expect_at(&pair, &slot[2], next, 10, 3);
  pair_close(&pair);
  free(buffer);
  free(next);
}

CASE(empty_messages_use_nothing_up) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 64);
  char *buffer = allocate(room);
  post_buffer(&pair.b, buffer, room, &slot[1]);
  for (int i = 0; i < 10; i++) {
    send_pattern(&pair, 0, 0);
    struct arrival arrival = expect_at(&pair, &slot[1], buffer, 0, 0);
    assert_false(arrival.is_release);
  }
  send_pattern(&pair, 100, 5);
  expect_at(&pair, &slot[1], buffer, 100, 5);
  pair_close(&pair);
  free(buffer);
}

CASE(messages_that_came_before) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 64);
  char out[100], *buffer = allocate(room);
  for (int i = 0; i < 20; i++) {
    fill(out, sizeof out, i);
    post(fi_inject(pair.a.ep, out, sizeof out, pair.to_b));
  }
  double end = seconds() + 0.05;
  while (seconds() < end) drive_progress();
  post_buffer(&pair.b, buffer, room, &slot[1]);
  for (int i = 0; i < 20; i++) expect_at(&pair, &slot[1], buffer + 100 * i, 100, i);
  send_pattern(&pair, 200, 77);
  expect_at(&pair, &slot[1], buffer + 2000, 200, 77);
  pair_close(&pair);
  free(buffer);
}

// Messages that take many packets, among small ones: each is at its place, and the buffer is released once, after the last
// byte of any of them.
static void large_messages(bool posted_first) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 1000);
  enum { count = 12 };
  static const size_t lengths[count] = {300000, 10, 70000, 5000, 0, 200000, 64, 100000, 3, 65536, 65537, 12345};
  size_t total = 0;
  char *out[count];
  for (int i = 0; i < count; i++) {
    out[i] = allocate(lengths[i] + 1);
    fill(out[i], lengths[i], 100 + i);
    total += lengths[i];
  }
  char *buffer = allocate(total);
  if (posted_first) post_buffer(&pair.b, buffer, total, &slot[1]);
  for (int i = 0; i < count; i++) post(fi_send(pair.a.ep, out[i], lengths[i], NULL, pair.to_b, &slot[100 + i]));
  if (!posted_first) {
    double end = seconds() + 0.05;
    while (seconds() < end) drive_progress();
    post_buffer(&pair.b, buffer, total, &slot[1]);
  }
  int messages = 0, releases = 0;
  bool seen[count] = {0};
  while (messages < count || releases < 1) {
    struct arrival arrival = next_arrival(&pair);
    assert_int_equal(releases, 0);
    assert_ptr_equal(arrival.entry.op_context, &slot[1]);
    releases += arrival.is_release;
    if (!arrival.is_message) continue;
    messages++;
    size_t offset = 0;
    int i = 0;
    while (i < count && !((char *)arrival.entry.buf == buffer + offset && arrival.entry.len == lengths[i] && !seen[i])) {
      offset += lengths[i++];
    }
    assert_true(i < count);
    seen[i] = true;
    verify(buffer + offset, lengths[i], 100 + i);
    if (arrival.is_release) assert_int_equal(messages, count);
  }
  wait_for_all(pair.a.tx_cq, &slot[100], count);
  expect_quiet(pair.b.rx_cq, 20);
  pair_close(&pair);
  for (int i = 0; i < count; i++) free(out[i]);
  free(buffer);
}

CASE(large_messages_among_small_ones) { large_messages(true); }
CASE(large_unexpected_messages_among_small_ones) { large_messages(false); }

CASE(message_longer_than_what_is_free) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 64);
  char *buffer = allocate(room);
  post_buffer(&pair.b, buffer, room, &slot[1]);
  send_pattern(&pair, 3000, 1);
  expect_at(&pair, &slot[1], buffer, 3000, 1);
  char *out = allocate(2000);
  fill(out, 2000, 2);
  post(fi_send(pair.a.ep, out, 2000, NULL, pair.to_b, &slot[2]));
  struct fi_cq_err_entry error = {0};
  wait_error(pair.b.rx_cq, &error);
  assert_int_equal(error.err, FI_ETRUNC);
  assert_ptr_equal(error.op_context, &slot[1]);
  assert_int_equal(error.flags & (FI_RECV | FI_MSG), FI_RECV | FI_MSG);
  if (!(error.flags & FI_MULTI_RECV)) {
    struct arrival arrival = next_arrival(&pair);
    assert_false(arrival.is_message);
    assert_true(arrival.is_release);
  }
  assert_int_equal(error.olen, 2000 - (room - 3000));
  verify(buffer + 3000, room - 3000, 2);
  pair_close(&pair);
  free(buffer);
  free(out);
}

CASE(default_flag_for_receives) {
  struct setup setup = messages;
  setup.rx_op_flags = FI_MULTI_RECV;
  struct pair pair;
  open_with_minimum(&pair, &setup, 64);
  char *buffer = allocate(room);
  post(fi_recv(pair.b.ep, buffer, room, NULL, FI_ADDR_UNSPEC, &slot[1]));
  for (int i = 0; i < 5; i++) {
    send_pattern(&pair, 300, i);
    struct arrival arrival = expect_at(&pair, &slot[1], buffer + 300 * i, 300, i);
    assert_false(arrival.is_release);
  }
  pair_close(&pair);
  free(buffer);
}

// The flag is about messages without tags unless FI_TAGGED_MULTI_RECV was asked for.
CASE(default_flag_leaves_tagged_receives_alone) {
  struct setup setup = {.caps = FI_MSG | FI_TAGGED | FI_MULTI_RECV, .rx_op_flags = FI_MULTI_RECV};
  struct pair pair;
  open_with_minimum(&pair, &setup, 64);
  char buffer[200], second[200];
  post(fi_trecv(pair.b.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, 7, 0, &slot[1]));
  post(fi_trecv(pair.b.ep, second, sizeof second, NULL, FI_ADDR_UNSPEC, 7, 0, &slot[2]));
  post(fi_tinject(pair.a.ep, "a", 1, pair.to_b, 7));
  post(fi_tinject(pair.a.ep, "b", 1, pair.to_b, 7));
  wait_for(pair.b.rx_cq, &slot[1]);
  wait_for(pair.b.rx_cq, &slot[2]);
  assert_int_equal(buffer[0], 'a');
  assert_int_equal(second[0], 'b');
  pair_close(&pair);
}

CASE(data_comes_with_each_message) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 64);
  char *buffer = allocate(room), out[50];
  post_buffer(&pair.b, buffer, room, &slot[1]);
  for (int i = 0; i < 4; i++) {
    fill(out, sizeof out, i);
    post(fi_injectdata(pair.a.ep, out, sizeof out, 0x1111u * (unsigned)(i + 1), pair.to_b));
    struct arrival arrival = expect_at(&pair, &slot[1], buffer + 50 * i, 50, i);
    assert_int_equal(arrival.entry.flags & FI_REMOTE_CQ_DATA, FI_REMOTE_CQ_DATA);
    assert_int_equal(arrival.entry.data, 0x1111u * (unsigned)(i + 1));
  }
  pair_close(&pair);
  free(buffer);
}

CASE(cancel_gives_the_buffer_back) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 64);
  char *buffer = allocate(room), next[100];
  post_buffer(&pair.b, buffer, room, &slot[1]);
  send_pattern(&pair, 100, 1);
  expect_at(&pair, &slot[1], buffer, 100, 1);
  assert_success(fi_cancel(&pair.b.ep->fid, &slot[1]));
  struct fi_cq_err_entry error = {0};
  wait_error(pair.b.rx_cq, &error);
  assert_int_equal(error.err, FI_ECANCELED);
  assert_ptr_equal(error.op_context, &slot[1]);
  post(fi_recv(pair.b.ep, next, sizeof next, NULL, FI_ADDR_UNSPEC, &slot[2]));
  send_pattern(&pair, 80, 2);
  wait_for(pair.b.rx_cq, &slot[2]);
  verify(next, 80, 2);
  pair_close(&pair);
  free(buffer);
}

CASE(buffer_and_ordinary_receive_in_turn) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 512);
  char first[100], last[100], *buffer = allocate(1024);
  post(fi_recv(pair.b.ep, first, sizeof first, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post_buffer(&pair.b, buffer, 1024, &slot[2]);
  post(fi_recv(pair.b.ep, last, sizeof last, NULL, FI_ADDR_UNSPEC, &slot[3]));
  for (int i = 0; i < 2; i++) send_pattern(&pair, 100, i);
  wait_for(pair.b.rx_cq, &slot[1]);
  expect_at(&pair, &slot[2], buffer, 100, 1);
  send_pattern(&pair, 500, 2);
  struct arrival arrival = expect_at(&pair, &slot[2], buffer + 100, 500, 2);
  expect_release(&pair, arrival, &slot[2]);
  send_pattern(&pair, 90, 3);
  wait_for(pair.b.rx_cq, &slot[3]);
  verify(last, 90, 3);
  pair_close(&pair);
  free(buffer);
}

// Completions are not wanted, but that the buffer is free again is told all the same.
CASE(release_is_told_although_completions_are_selective) {
  struct setup setup = messages;
  setup.rx_bind_flags = FI_SELECTIVE_COMPLETION;
  struct pair pair;
  open_with_minimum(&pair, &setup, 64);
  char *buffer = allocate(room);
  struct iovec iov = {buffer, room};
  struct fi_msg message = {.msg_iov = &iov, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .context = &slot[1]};
  post(fi_recvmsg(pair.b.ep, &message, FI_MULTI_RECV));
  for (int i = 0; i < 4; i++) send_pattern(&pair, 1000, i);
  expect_quiet(pair.b.rx_cq, 20);
  send_pattern(&pair, 90, 9);
  struct arrival arrival = next_arrival(&pair);
  assert_true(arrival.is_release);
  assert_ptr_equal(arrival.entry.op_context, &slot[1]);
  for (int i = 0; i < 4; i++) verify(buffer + 1000 * i, 1000, i);
  verify(buffer + 4000, 90, 9);
  pair_close(&pair);
  free(buffer);
}

// A small completion queue that nobody reads: messages wait for room in it, and none is lost.
CASE(small_queue_loses_nothing) {
  enum { count = 600 };
  struct setup setup = messages;
  setup.cq_size = 4;
  setup.rx_size = 16;
  setup.tx_size = 64;
  struct pair pair;
  open_with_minimum(&pair, &setup, 8);
  char *buffer = allocate(count * 8);
  post_buffer(&pair.b, buffer, count * 8, &slot[1]);
  uint64_t sent = 0, received = 0;
  double end = deadline_after(DEFAULT_WAIT);
  while (sent < count && seconds() < end) {
    uint64_t word = sent;
    long result = fi_inject(pair.a.ep, &word, sizeof word, pair.to_b);
    if (result == 0) {
      sent++;
      continue;
    }
    assert_returns(result, -FI_EAGAIN);
    if (sent - received > 200) break;
    struct fi_cq_tagged_entry entry;
    long read = fi_cq_read(pair.b.rx_cq, &entry, 1);
    if (read == 1 && (entry.flags & FI_RECV)) {
      assert_ptr_equal(entry.buf, buffer + received * 8);
      received++;
    }
    fi_cq_read(pair.a.tx_cq, &entry, 0);
  }
  while (received < count && seconds() < end) {
    struct fi_cq_tagged_entry entry;
    long read = fi_cq_read(pair.b.rx_cq, &entry, 1);
    if (read == 1 && (entry.flags & FI_RECV)) {
      assert_ptr_equal(entry.buf, buffer + received * 8);
      received++;
      if (received == count) break;
    } else if (read != 1) {
      assert_returns(read, -FI_EAGAIN);
    }
    drive_progress();
    if (sent < count) {
      uint64_t word = sent;
      if (fi_inject(pair.a.ep, &word, sizeof word, pair.to_b) == 0) sent++;
    }
  }
  assert_int_equal(received, count);
  for (uint64_t i = 0; i < count; i++) assert_int_equal(((uint64_t *)buffer)[i], i);
  pair_close(&pair);
  free(buffer);
}

// The same for messages that came before their buffer, and a receive behind it.
CASE(small_queue_keeps_the_order_of_unexpected_messages) {
  enum { count = 100 };
  struct setup setup = messages;
  setup.cq_size = 2;
  setup.rx_size = 4;
  setup.tx_size = 256;
  struct pair pair;
  open_with_minimum(&pair, &setup, 8);
  uint64_t *buffer = allocate(count * 8), last = 0;
  for (uint64_t i = 0; i <= count; i++) post(fi_inject(pair.a.ep, &i, sizeof i, pair.to_b));
  double end = seconds() + 0.05;
  while (seconds() < end) drive_progress();
  post_buffer(&pair.b, buffer, count * 8, &slot[1]);
  struct arrival arrival = {0};
  bool posted = false;
  for (uint64_t i = 0; i < count; i++) {
    if (!posted) {
      // It needs room in the queue, which the messages take as soon as it is there; behind the buffer it is in any case.
      long result = fi_recv(pair.b.ep, &last, sizeof last, NULL, FI_ADDR_UNSPEC, &slot[2]);
      if (result != -FI_EAGAIN) assert_success(result);
      posted = result == 0;
    }
    arrival = next_arrival(&pair);
    assert_true(arrival.is_message);
    assert_ptr_equal(arrival.entry.op_context, &slot[1]);
    assert_ptr_equal(arrival.entry.buf, buffer + i);
    assert_int_equal(buffer[i], i);
  }
  expect_release(&pair, arrival, &slot[1]);
  if (!posted) post(fi_recv(pair.b.ep, &last, sizeof last, NULL, FI_ADDR_UNSPEC, &slot[2]));
  wait_for(pair.b.rx_cq, &slot[2]);
  assert_int_equal(last, count);
  pair_close(&pair);
  free(buffer);
}

CASE(close_with_a_buffer_in_use) {
  struct pair pair;
  open_with_minimum(&pair, &messages, 64);
  needs_addresses(&pair.b);
  char *buffer = allocate(1 << 20), *out = allocate(1 << 19);
  post_buffer(&pair.b, buffer, 1 << 20, &slot[1]);
  send_pattern(&pair, 100, 1);
  expect_at(&pair, &slot[1], buffer, 100, 1);
  post(fi_send(pair.a.ep, out, 1 << 19, NULL, pair.to_b, &slot[2]));
  close_fid(pair.b.ep);
  // What was arriving may be reported, most likely as failed. The queue serves another endpoint.
  struct fi_cq_err_entry error = {0};
  struct fi_cq_tagged_entry entry;
  ssize_t count;
  while ((count = fi_cq_read(pair.b.rx_cq, &entry, 1)) != -FI_EAGAIN) {
    if (count == 1) assert_ptr_equal(entry.op_context, &slot[1]);
    else assert_returns(fi_cq_readerr(pair.b.rx_cq, &error, 0), 1);
  }
  assert_success(fi_endpoint(pair.b.domain, pair.b.info, &pair.b.ep, NULL));
  assert_success(fi_ep_bind(pair.b.ep, &pair.b.tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(pair.b.ep, &pair.b.rx_cq->fid, FI_RECV));
  assert_success(fi_ep_bind(pair.b.ep, &pair.b.av->fid, 0));
  assert_success(fi_enable(pair.b.ep));
  set_minimum(&pair.b, 64);
  memset(buffer, 0, 1 << 20);
  post_buffer(&pair.b, buffer, 1 << 20, &slot[3]);
  pair.b.address_length = sizeof pair.b.address;
  assert_success(fi_getname(&pair.b.ep->fid, pair.b.address, &pair.b.address_length));
  pair.to_b = node_insert(&pair.a, pair.b.address);
  wait_error(pair.a.tx_cq, &error);
  send_pattern(&pair, 60, 6);
  expect_at(&pair, &slot[3], buffer, 60, 6);
  pair_close(&pair);
  free(buffer);
  free(out);
}

CASE(several_pieces_are_no_buffer) {
  struct pair pair;
  pair_open(&pair, &messages);
  char buffer[64];
  struct iovec iov[2] = {{buffer, 32}, {buffer + 32, 32}};
  struct fi_msg message = {.msg_iov = iov, .iov_count = 2, .addr = FI_ADDR_UNSPEC, .context = &slot[1]};
  assert_fails(fi_recvmsg(pair.b.ep, &message, FI_MULTI_RECV));
  pair_close(&pair);
}

CASE(buffer_of_a_shared_context) {
  struct node sender, node;
  node_open(&sender, &messages);
  node_open(&node, &messages);
  needs_addresses(&node);
  struct fi_info *hints = fi_dupinfo(node.info), *info = NULL;
  free(hints->src_addr);
  hints->src_addr = NULL;
  hints->src_addrlen = 0;
  hints->ep_attr->rx_ctx_cnt = FI_SHARED_CONTEXT;
  int result = fi_getinfo(DEFAULT_VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &info);
  fi_freeinfo(hints);
  if (result == -FI_ENODATA) unsupported("no shared receive contexts");
  assert_success(result);
  struct fid_ep *srx, *eps[2];
  assert_offered(fi_srx_context(node.domain, info->rx_attr, &srx, NULL));
  size_t minimum = 64;
  assert_offered(fi_setopt(&srx->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &minimum, sizeof minimum));
  fi_addr_t to[2];
  for (int i = 0; i < 2; i++) {
    assert_success(fi_endpoint(node.domain, info, &eps[i], NULL));
    assert_success(fi_ep_bind(eps[i], &node.av->fid, 0));
    assert_success(fi_ep_bind(eps[i], &node.tx_cq->fid, FI_TRANSMIT));
    assert_success(fi_ep_bind(eps[i], &node.rx_cq->fid, FI_RECV));
    assert_success(fi_ep_bind(eps[i], &srx->fid, 0));
    assert_success(fi_enable(eps[i]));
    char address[128];
    size_t length = sizeof address;
    assert_success(fi_getname(&eps[i]->fid, address, &length));
    to[i] = node_insert(&sender, address);
  }
  char *buffer = allocate(room);
  struct iovec iov = {buffer, room};
  struct fi_msg message = {.msg_iov = &iov, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .context = &slot[1]};
  post(fi_recvmsg(srx, &message, FI_MULTI_RECV | FI_COMPLETION));
  size_t used = 0;
  for (int i = 0; used < room; i++) {
    char out[512];
    fill(out, sizeof out, i);
    post(fi_inject(sender.ep, out, sizeof out, to[i % 2]));
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(node.rx_cq, &entry);
    assert_ptr_equal(entry.op_context, &slot[1]);
    assert_ptr_equal(entry.buf, buffer + used);
    verify(buffer + used, 512, i);
    used += 512;
    if (used == room) assert_true(entry.flags & FI_MULTI_RECV);
    else assert_false(entry.flags & FI_MULTI_RECV);
  }
  expect_quiet(node.rx_cq, 10);
  // One endpoint goes away, and the other goes on with the buffer.
  post(fi_recvmsg(srx, &message, FI_MULTI_RECV | FI_COMPLETION));
  close_fid(eps[0]);
  post(fi_inject(sender.ep, "x", 1, to[1]));
  wait_for(node.rx_cq, &slot[1]);
  assert_success(fi_cancel(&srx->fid, &slot[1]));
  struct fi_cq_err_entry error = {0};
  wait_error(node.rx_cq, &error);
  assert_int_equal(error.err, FI_ECANCELED);
  close_fid(eps[1]);
  close_fid(srx);
  fi_freeinfo(info);
  node_close(&sender);
  node_close(&node);
  free(buffer);
}

// ---- tagged ------------------------------------------------------------------------------------------------------

CASE(tagged_buffer_takes_what_fits_its_tag) {
  struct setup setup = {.caps = FI_TAGGED | FI_TAGGED_MULTI_RECV};
  struct pair pair;
  open_with_minimum(&pair, &setup, 64);
  char *buffer = allocate(room), other[64] = {0};
  struct iovec iov = {buffer, room};
  struct fi_msg_tagged message = {
      .msg_iov = &iov, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .tag = 0x50, .ignore = 0xf, .context = &slot[1]};
  post(fi_trecvmsg(pair.b.ep, &message, FI_MULTI_RECV | FI_COMPLETION));
  post(fi_trecv(pair.b.ep, other, sizeof other, NULL, FI_ADDR_UNSPEC, 0x60, 0, &slot[2]));
  char out[100];
  for (int i = 0; i < 10; i++) {
    fill(out, sizeof out, i);
    post(fi_tinject(pair.a.ep, out, sizeof out, pair.to_b, 0x50u + (unsigned)i));
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    assert_ptr_equal(entry.op_context, &slot[1]);
    assert_int_equal(entry.tag, 0x50 + i);
    assert_int_equal(entry.len, 100);
    assert_ptr_equal(entry.buf, buffer + 100 * i);
    assert_int_equal(entry.flags & (FI_TAGGED | FI_RECV | FI_MULTI_RECV), FI_TAGGED | FI_RECV);
    verify(entry.buf, 100, i);
  }
  post(fi_tinject(pair.a.ep, "x", 1, pair.to_b, 0x60));
  wait_for(pair.b.rx_cq, &slot[2]);
  assert_int_equal(other[0], 'x');
  pair_close(&pair);
  free(buffer);
}
