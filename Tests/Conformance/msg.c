// Messages: sending, receiving, matching in order, limits, errors. Man pages: fi_msg(3), fi_endpoint(3), fi_cq(3).
#include "fixture.h"

enum { mebi = 1 << 20 };

static char slot[20000];  // addresses serve as contexts

// One message of `length` bytes from a to b; the receive is posted before or after the send.
static void transfer(struct pair *pair, size_t length, bool receive_first) {
  char *out = allocate(length + 16), *in = allocate(length + 16);
  fill(out, length, length);
  memset(in, 0xee, length + 16);
  struct fi_cq_tagged_entry entry = {0};
  if (receive_first) post(fi_recv(pair->b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_send(pair->a.ep, out, length, NULL, pair->to_b, &slot[1]));
  if (!receive_first) {
    double end = seconds() + 0.002;
    while (seconds() < end) drive_progress();
    post(fi_recv(pair->b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  }
  wait_completion(pair->b.rx_cq, &entry);
  assert_ptr_equal(entry.op_context, &slot[0]);
  assert_int_equal(entry.len, length);
  uint64_t flags = FI_RECV | FI_MSG;
  assert_int_equal(entry.flags & flags, flags);
  memset(&entry, 0, sizeof entry);
  wait_completion(pair->a.tx_cq, &entry);
  assert_ptr_equal(entry.op_context, &slot[1]);
  flags = FI_SEND | FI_MSG;
  assert_int_equal(entry.flags & flags, flags);
  verify(in, length, length);
  verify_bytes(in + length, 16, 0xee);
  free(out);
  free(in);
}

static const size_t small_sizes[] = {0,    1,    2,    3,    7,    8,    9,    15,   16,   63,   64,   65,
                                     127,  128,  129,  255,  256,  257,  511,  512,  1000, 1024, 1199, 1200,
                                     1201, 1350, 1399, 1400, 1401, 1440, 1452, 1471, 1472, 1473, 1499, 1500};
static const size_t medium_sizes[] = {1501,  2047,  2048,  2049,  2900,  4095,  4096,  4097,  8191,  8192,
                                      8193,  8999,  9000,  9001,  12000, 16383, 16384, 16385, 32768, 65000,
                                      65507, 65535, 65536, 65537, 100000};
static const size_t large_sizes[] = {131071, 131072, 131073, 262144, 524288, mebi - 1, mebi, mebi + 1, 4 * mebi + 1};

static void transfer_all(const size_t *sizes, size_t count, bool receive_first) {
  struct pair pair;
  pair_open(&pair, NULL);
  for (size_t i = 0; i < count; i++) transfer(&pair, sizes[i], receive_first);
  pair_close(&pair);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

CASE(small_messages) { transfer_all(small_sizes, COUNT(small_sizes), true); }
CASE(medium_messages) { transfer_all(medium_sizes, COUNT(medium_sizes), true); }
CASE(large_messages) { transfer_all(large_sizes, COUNT(large_sizes), true); }
CASE(small_unexpected_messages) { transfer_all(small_sizes, COUNT(small_sizes), false); }
CASE(medium_unexpected_messages) { transfer_all(medium_sizes, COUNT(medium_sizes), false); }
CASE(large_unexpected_messages) { transfer_all(large_sizes, COUNT(large_sizes), false); }

CASE(message_of_64_mebibytes) {
  struct pair pair;
  pair_open(&pair, NULL);
  transfer(&pair, 64 * (size_t)mebi, true);
  pair_close(&pair);
}

// The first operation between two endpoints also connects them: on loopback nothing in that may take human time.
CASE(first_message_of_any_size_is_prompt) {
  static const size_t lengths[] = {8, 1500, 4000, 10000, 20000, 60000, 200000, mebi};
  for (size_t i = 0; i < COUNT(lengths); i++) {
    struct pair pair;
    pair_open(&pair, NULL);
    double begin = seconds();
    transfer(&pair, lengths[i], true);
    double took = seconds() - begin;
    if (took > 0.5 * time_factor()) failed("the first message of %zu bytes took %.3f s", lengths[i], took);
    pair_close(&pair);
  }
}

// ---- the same under other attributes ------------------------------------------------------------------------------

static void basic_exchange(const struct setup *setup) {
  struct pair pair;
  pair_open(&pair, setup);
  static const size_t sizes[] = {0, 1, 100, 1500, 10000, 70000, 500000};
  for (size_t i = 0; i < COUNT(sizes); i++) transfer(&pair, sizes[i], i % 2 == 0);
  pair_close(&pair);
}

CASE(exchange_within_one_domain) { basic_exchange(&(struct setup){.same_domain = true}); }
CASE(exchange_with_messages_only) { basic_exchange(&(struct setup){.caps = FI_MSG}); }
CASE(exchange_with_av_map) { basic_exchange(&(struct setup){.av_type = FI_AV_MAP}); }
CASE(exchange_with_av_table) { basic_exchange(&(struct setup){.av_type = FI_AV_TABLE}); }
CASE(exchange_with_thread_safe) { basic_exchange(&(struct setup){.threading = FI_THREAD_SAFE}); }
CASE(exchange_with_thread_domain) { basic_exchange(&(struct setup){.threading = FI_THREAD_DOMAIN}); }
CASE(exchange_with_thread_completion) { basic_exchange(&(struct setup){.threading = FI_THREAD_COMPLETION}); }
CASE(exchange_with_manual_progress) { basic_exchange(&(struct setup){.progress = FI_PROGRESS_MANUAL}); }
CASE(exchange_with_automatic_progress) { basic_exchange(&(struct setup){.progress = FI_PROGRESS_AUTO}); }
CASE(exchange_with_api_version_1_1) { basic_exchange(&(struct setup){.version = FI_VERSION(1, 1)}); }
CASE(exchange_with_api_version_1_4) { basic_exchange(&(struct setup){.version = FI_VERSION(1, 4)}); }
CASE(exchange_with_api_version_1_9) { basic_exchange(&(struct setup){.version = FI_VERSION(1, 9)}); }
CASE(exchange_with_send_order) { basic_exchange(&(struct setup){.msg_order = FI_ORDER_SAS}); }
CASE(exchange_with_inject_complete) { basic_exchange(&(struct setup){.tx_op_flags = FI_INJECT_COMPLETE}); }
CASE(exchange_with_transmit_complete) { basic_exchange(&(struct setup){.tx_op_flags = FI_TRANSMIT_COMPLETE}); }
CASE(exchange_with_delivery_complete) { basic_exchange(&(struct setup){.tx_op_flags = FI_DELIVERY_COMPLETE}); }
CASE(exchange_with_wait_objects) { basic_exchange(&(struct setup){.wait_obj = FI_WAIT_FD}); }

CASE(exchange_over_ipv6) {
  int probe = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  bool works = probe >= 0 && bind(probe, (struct sockaddr *)&address, sizeof address) == 0;
  if (probe >= 0) close(probe);
  if (!works) environment_lacks("no IPv6 loopback");
  basic_exchange(&(struct setup){.node = "::1"});
}

CASE(message_to_oneself) {
  struct node node;
  node_open(&node, NULL);
  fi_addr_t self = node_insert(&node, node.address);
  static char out[3000], in[3000];
  static const size_t sizes[] = {0, 1, 100, 3000};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    fill(out, sizes[i], i);
    post(fi_recv(node.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
    post(fi_send(node.ep, out, sizes[i], NULL, self, &slot[1]));
    wait_for(node.rx_cq, &slot[0]);
    wait_for(node.tx_cq, &slot[1]);
    verify(in, sizes[i], i);
  }
  node_close(&node);
}

// ---- vectors ------------------------------------------------------------------------------------------------------

// Splits a buffer into `count` parts of uneven size; some may be empty.
static void split(struct iovec *parts, size_t count, char *buffer, size_t length, size_t salt) {
  size_t place = 0;
  for (size_t i = 0; i < count; i++) {
    size_t size = i + 1 == count ? length - place : (length - place) * (salt % 7) / 7;
    salt = salt * 31 + 11;
    parts[i] = (struct iovec){buffer + place, size};
    place += size;
  }
}

static void transfer_vectors(size_t length, const struct setup *setup) {
  struct pair pair;
  pair_open(&pair, setup);
  size_t tx_limit = pair.a.info->tx_attr->iov_limit, rx_limit = pair.b.info->rx_attr->iov_limit;
  if (tx_limit < 2 || rx_limit < 2) unsupported("iov_limit is %zu and %zu", tx_limit, rx_limit);
  if (tx_limit > 8) tx_limit = 8;
  if (rx_limit > 8) rx_limit = 8;
  char *out = allocate(length), *in = allocate(length);
  for (size_t round = 1; round <= 6; round++) {
    fill(out, length, round);
    memset(in, 0, length);
    struct iovec from[8], to[8];
    size_t from_count = round % tx_limit + 1, to_count = (round + 1) % rx_limit + 1;
    split(from, from_count, out, length, round);
    split(to, to_count, in, length, round + 3);
    post(fi_recvv(pair.b.ep, to, NULL, to_count, FI_ADDR_UNSPEC, &slot[0]));
    post(fi_sendv(pair.a.ep, from, NULL, from_count, pair.to_b, &slot[1]));
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    assert_int_equal(entry.len, length);
    wait_for(pair.a.tx_cq, &slot[1]);
    verify(in, length, round);
  }
  free(out);
  free(in);
  pair_close(&pair);
}

CASE(vectors_of_small_messages) { transfer_vectors(50, NULL); }
CASE(vectors_of_medium_messages) { transfer_vectors(5000, NULL); }
CASE(vectors_of_large_messages) { transfer_vectors(700001, NULL); }

// More than what nearly all providers offer unasked.
CASE(vectors_of_eight_pieces_on_request) {
  static const struct setup many = {.iov_limit = 8};
  for (size_t length = 50; length <= 500000; length *= 100) transfer_vectors(length, &many);
}

CASE(vectors_up_to_the_limit) {
  struct pair pair;
  pair_open(&pair, NULL);
  size_t limit = pair.a.info->tx_attr->iov_limit;
  assert_in_range(limit, 1, 1024);
  static char out[1024], in[1024];
  fill(out, sizeof out, 1);
  struct iovec *parts = calloc(limit + 1, sizeof *parts);
  for (size_t i = 0; i <= limit; i++) parts[i] = (struct iovec){out + i, 1};
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_sendv(pair.a.ep, parts, NULL, limit, pair.to_b, &slot[1]));
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair.b.rx_cq, &entry);
  assert_int_equal(entry.len, limit);
  wait_for(pair.a.tx_cq, &slot[1]);
  assert_memory_equal(in, out, limit);
  free(parts);
  pair_close(&pair);
}

CASE(vectors_beyond_the_limit) {
  struct pair pair;
  pair_open(&pair, NULL);
  transfer(&pair, 8, true);
  static char buffer[1];
  struct iovec parts[64];
  for (int i = 0; i < 64; i++) parts[i] = (struct iovec){buffer, 1};
  assert_true(pair.a.info->tx_attr->iov_limit < 64);
  ssize_t result = fi_sendv(pair.a.ep, parts, NULL, 64, pair.to_b, &slot[0]);
  assert_true(result < 0 && result != -FI_EAGAIN);
  result = fi_recvv(pair.b.ep, parts, NULL, 64, FI_ADDR_UNSPEC, &slot[0]);
  assert_true(result < 0 && result != -FI_EAGAIN);
  pair_close(&pair);
}

CASE(vector_of_nothing) {
  struct pair pair;
  pair_open(&pair, NULL);
  post(fi_recvv(pair.b.ep, NULL, NULL, 0, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_sendv(pair.a.ep, NULL, NULL, 0, pair.to_b, &slot[1]));
  struct fi_cq_tagged_entry entry = {.len = 77};
  wait_completion(pair.b.rx_cq, &entry);
  assert_int_equal(entry.len, 0);
  wait_for(pair.a.tx_cq, &slot[1]);
  pair_close(&pair);
}

CASE(empty_messages_need_no_buffer) {
  struct pair pair;
  pair_open(&pair, NULL);
  for (int i = 0; i < 10; i++) {
    post(fi_recv(pair.b.ep, NULL, 0, NULL, FI_ADDR_UNSPEC, &slot[i]));
    post(fi_send(pair.a.ep, NULL, 0, NULL, pair.to_b, &slot[100 + i]));
  }
  for (int i = 0; i < 10; i++) wait_for(pair.b.rx_cq, &slot[i]);
  wait_for_all(pair.a.tx_cq, &slot[100], 10);
  pair_close(&pair);
}

// ---- sendmsg, recvmsg, inject, data -------------------------------------------------------------------------------

static struct fi_msg message(struct iovec *part, fi_addr_t address, void *context, uint64_t data) {
  return (struct fi_msg){.msg_iov = part, .iov_count = 1, .addr = address, .context = context, .data = data};
}

static void message_with_flags(uint64_t flags, size_t length) {
  struct pair pair;
  pair_open(&pair, NULL);
  char *out = allocate(length), *in = allocate(length);
  fill(out, length, 9);
  struct iovec to = {in, length}, from = {out, length};
  struct fi_msg receive = message(&to, FI_ADDR_UNSPEC, &slot[0], 0);
  struct fi_msg send = message(&from, pair.to_b, &slot[1], 0xfeedface12345678);
  post(fi_recvmsg(pair.b.ep, &receive, FI_COMPLETION));
  post(fi_sendmsg(pair.a.ep, &send, flags | FI_COMPLETION));
  if (flags & FI_INJECT) memset(out, 0, length);
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair.a.tx_cq, &entry);
  assert_ptr_equal(entry.op_context, &slot[1]);
  // delivered means that the bytes are in the buffer now, before the receiver looks
  if (flags & FI_DELIVERY_COMPLETE) verify(in, length, 9);
  memset(&entry, 0, sizeof entry);
  wait_completion(pair.b.rx_cq, &entry);
  assert_ptr_equal(entry.op_context, &slot[0]);
  assert_int_equal(entry.len, length);
  if (flags & FI_REMOTE_CQ_DATA) {
    assert_true(entry.flags & FI_REMOTE_CQ_DATA);
    assert_true(entry.data == 0xfeedface12345678);
  } else {
    assert_int_equal(entry.flags & FI_REMOTE_CQ_DATA, 0);
  }
  verify(in, length, 9);
  free(out);
  free(in);
  pair_close(&pair);
}

CASE(sendmsg_plain) { message_with_flags(0, 3000); }
CASE(sendmsg_with_data) { message_with_flags(FI_REMOTE_CQ_DATA, 3000); }
CASE(sendmsg_with_data_and_no_bytes) { message_with_flags(FI_REMOTE_CQ_DATA, 0); }
CASE(sendmsg_large_with_data) { message_with_flags(FI_REMOTE_CQ_DATA, 300000); }
CASE(sendmsg_injected) { message_with_flags(FI_INJECT, 32); }
CASE(sendmsg_injected_with_data) { message_with_flags(FI_INJECT | FI_REMOTE_CQ_DATA, 32); }
CASE(sendmsg_inject_complete) { message_with_flags(FI_INJECT_COMPLETE, 3000); }
CASE(sendmsg_transmit_complete) { message_with_flags(FI_TRANSMIT_COMPLETE, 3000); }
CASE(sendmsg_delivery_complete_small) { message_with_flags(FI_DELIVERY_COMPLETE, 8); }
CASE(sendmsg_delivery_complete_medium) { message_with_flags(FI_DELIVERY_COMPLETE, 3000); }
CASE(sendmsg_delivery_complete_large) { message_with_flags(FI_DELIVERY_COMPLETE, 300000); }

CASE(sendmsg_with_more_to_come) {
  struct pair pair;
  pair_open(&pair, NULL);
  static char in[10];
  for (int i = 0; i < 10; i++) post(fi_recv(pair.b.ep, in + i, 1, NULL, FI_ADDR_UNSPEC, &slot[i]));
  for (int i = 0; i < 10; i++) {
    char byte = (char)i;
    struct iovec part = {&byte, 1};
    struct fi_msg send = message(&part, pair.to_b, &slot[100 + i], 0);
    post(fi_sendmsg(pair.a.ep, &send, FI_INJECT | FI_COMPLETION | (i < 9 ? FI_MORE : 0)));
  }
  for (int i = 0; i < 10; i++) {
    wait_for(pair.a.tx_cq, &slot[100 + i]);
    wait_for(pair.b.rx_cq, &slot[i]);
    assert_int_equal(in[i], i);
  }
  pair_close(&pair);
}

CASE(inject_frees_the_buffer_at_once) {
  struct pair pair;
  pair_open(&pair, NULL);
  size_t length = pair.a.info->tx_attr->inject_size;
  assert_true(length >= 8);
  char *out = allocate(length), *in = allocate(length * 20);
  for (int i = 0; i < 20; i++) {
    post(fi_recv(pair.b.ep, in + (size_t)i * length, length, NULL, FI_ADDR_UNSPEC, &slot[i]));
  }
  for (int i = 0; i < 20; i++) {
    fill(out, length, (uint64_t)i);
    post(fi_inject(pair.a.ep, out, length, pair.to_b));
    memset(out, 0, length);
  }
  wait_for_all(pair.b.rx_cq, slot, 20);
  for (int i = 0; i < 20; i++) verify(in + (size_t)i * length, length, (uint64_t)i);
  expect_quiet(pair.a.tx_cq, 30);  // injected messages complete silently
  free(out);
  free(in);
  pair_close(&pair);
}

CASE(inject_beyond_the_limit) {
  struct pair pair;
  pair_open(&pair, NULL);
  transfer(&pair, 8, true);
  size_t length = pair.a.info->tx_attr->inject_size + 1;
  char *out = allocate(length);
  ssize_t result = fi_inject(pair.a.ep, out, length, pair.to_b);
  assert_true(result < 0 && result != -FI_EAGAIN);
  free(out);
  pair_close(&pair);
}

CASE(senddata_and_injectdata) {
  struct pair pair;
  pair_open(&pair, NULL);
  static const uint64_t values[] = {0, 1, UINT64_C(0x8000000000000001), UINT64_MAX};
  char in[8] = {0};
  for (size_t i = 0; i < COUNT(values); i++) {
    for (int injected = 0; injected < 2; injected++) {
      post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
      if (injected) {
        post(fi_injectdata(pair.a.ep, "abcd", 4, values[i], pair.to_b));
      } else {
        post(fi_senddata(pair.a.ep, "abcd", 4, NULL, values[i], pair.to_b, &slot[1]));
        wait_for(pair.a.tx_cq, &slot[1]);
      }
      struct fi_cq_tagged_entry entry = {0};
      wait_completion(pair.b.rx_cq, &entry);
      assert_true(entry.flags & FI_REMOTE_CQ_DATA);
      assert_true(entry.data == values[i]);
      assert_int_equal(entry.len, 4);
    }
  }
  expect_quiet(pair.a.tx_cq, 20);
  pair_close(&pair);
}

CASE(null_contexts_are_fine) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in = 0;
  post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, NULL));
  post(fi_send(pair.a.ep, "x", 1, NULL, pair.to_b, NULL));
  wait_for(pair.a.tx_cq, NULL);
  wait_for(pair.b.rx_cq, NULL);
  assert_int_equal(in, 'x');
  pair_close(&pair);
}

// ---- order and amount ---------------------------------------------------------------------------------------------

// Sizes that mix eager and large transfers.
static size_t mixed_size(int i) {
  static const size_t sizes[] = {8, 64, 8, 200, 8, 1500, 8, 40, 5000, 8, 8, 20000};
  return sizes[(size_t)i % COUNT(sizes)];
}

CASE(order_of_ten_thousand_messages) {
  struct pair pair;
  pair_open(&pair, NULL);
  enum { count = 10000, window = 100 };
  uint32_t in[window];
  // One each: sends need not complete in order, so their number says nothing about whose memory is free again.
  static uint32_t out[count];
  int sent = 0, posted = 0, received = 0, completed = 0;
  double deadline = deadline_after(4 * DEFAULT_WAIT);
  while (received < count || completed < count) {
    if (seconds() > deadline) failed("%d received, %d sent, %d completed", received, sent, completed);
    while (posted < count && posted - received < window) {
      ssize_t result = fi_recv(pair.b.ep, &in[posted % window], 4, NULL, FI_ADDR_UNSPEC, &slot[posted]);
      if (result == -FI_EAGAIN) break;
      assert_success(result);
      posted++;
    }
    while (sent < count && sent - completed < window) {
      out[sent] = (uint32_t)sent;
      ssize_t result = fi_send(pair.a.ep, &out[sent], 4, NULL, pair.to_b, &slot[sent]);
      if (result == -FI_EAGAIN) break;
      assert_success(result);
      sent++;
    }
    struct fi_cq_tagged_entry entries[16];
    ssize_t got = fi_cq_read(pair.b.rx_cq, entries, 16);
    for (ssize_t i = 0; i < got; i++) {
      assert_ptr_equal(entries[i].op_context, &slot[received]);
      assert_int_equal(in[received % window], received);
      received++;
    }
    got = fi_cq_read(pair.a.tx_cq, entries, 16);
    if (got > 0) completed += (int)got;
  }
  pair_close(&pair);
}

CASE(order_of_mixed_sizes) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.msg_order = FI_ORDER_SAS});
  enum { count = 240 };
  static char out[count][20000], in[count][20000];
  for (int i = 0; i < count; i++) {
    fill(out[i], mixed_size(i), (uint64_t)i);
    post(fi_recv(pair.b.ep, in[i], sizeof in[i], NULL, FI_ADDR_UNSPEC, &slot[i]));
  }
  for (int i = 0; i < count; i++) post(fi_send(pair.a.ep, out[i], mixed_size(i), NULL, pair.to_b, &slot[1000 + i]));
  bool seen[count] = {false};
  for (int i = 0; i < count; i++) {  // matched in order, completed in any
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    ptrdiff_t index = (char *)entry.op_context - slot;
    assert_in_range(index, 0, count - 1);
    assert_false(seen[index]);
    seen[index] = true;
    assert_int_equal(entry.len, mixed_size((int)index));
    verify(in[index], entry.len, (uint64_t)index);
  }
  for (int i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.a.tx_cq, &entry);
  }
  pair_close(&pair);
}

CASE(ping_pong_of_many_rounds) {
  struct pair pair;
  pair_open(&pair, NULL);
  for (uint32_t i = 0; i < 300; i++) {
    uint32_t there = 0, back = 0, answer;
    post(fi_recv(pair.b.ep, &there, 4, NULL, FI_ADDR_UNSPEC, &slot[0]));
    post(fi_recv(pair.a.ep, &back, 4, NULL, FI_ADDR_UNSPEC, &slot[1]));
    post(fi_inject(pair.a.ep, &i, 4, pair.to_b));
    wait_for(pair.b.rx_cq, &slot[0]);
    assert_int_equal(there, i);
    answer = ~there;
    post(fi_inject(pair.b.ep, &answer, 4, pair.to_a));
    wait_for(pair.a.rx_cq, &slot[1]);
    assert_int_equal(back, ~i);
  }
  pair_close(&pair);
}

CASE(large_messages_in_both_directions_at_once) {
  struct pair pair;
  pair_open(&pair, NULL);
  enum { length = 4 * mebi };
  char *out_a = allocate(length), *out_b = allocate(length), *in_a = allocate(length), *in_b = allocate(length);
  fill(out_a, length, 1);
  fill(out_b, length, 2);
  post(fi_recv(pair.a.ep, in_a, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_recv(pair.b.ep, in_b, length, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post(fi_send(pair.a.ep, out_a, length, NULL, pair.to_b, &slot[2]));
  post(fi_send(pair.b.ep, out_b, length, NULL, pair.to_a, &slot[3]));
  wait_for(pair.a.rx_cq, &slot[0]);
  wait_for(pair.b.rx_cq, &slot[1]);
  wait_for(pair.a.tx_cq, &slot[2]);
  wait_for(pair.b.tx_cq, &slot[3]);
  verify(in_a, length, 2);
  verify(in_b, length, 1);
  free(out_a), free(out_b), free(in_a), free(in_b);
  pair_close(&pair);
}

CASE(many_large_messages_at_once) {
  struct pair pair;
  pair_open(&pair, NULL);
  enum { count = 48, length = 200000 };
  static char out[count][length], in[count][length];
  for (int i = 0; i < count; i++) {
    fill(out[i], length, (uint64_t)i);
    post(fi_recv(pair.b.ep, in[i], length, NULL, FI_ADDR_UNSPEC, &slot[i]));
  }
  for (int i = 0; i < count; i++) post(fi_send(pair.a.ep, out[i], length, NULL, pair.to_b, &slot[100 + i]));
  for (int i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    assert_int_equal(entry.len, length);
  }
  for (int i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.a.tx_cq, &entry);
    verify(in[i], length, (uint64_t)i);
  }
  pair_close(&pair);
}

// Sends without posted receives until `limit` or until the library pushes back for a while; returns how many.
static int send_unexpected(struct pair *pair, int limit, size_t length, char *out) {
  int sent = 0;
  double patience = seconds() + 0.3;
  while (sent < limit && seconds() < patience) {
    fill(out + (size_t)sent * length, length, (uint64_t)sent);
    ssize_t result = fi_send(pair->a.ep, out + (size_t)sent * length, length, NULL, pair->to_b, &slot[sent]);
    if (result == 0) {
      sent++;
      patience = seconds() + 0.3;
    } else {
      assert_returns(result, -FI_EAGAIN);
      drive_progress();
    }
  }
  return sent;
}

static void many_unexpected(int limit, size_t length, int least) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.cq_size = 4096});
  char *out = allocate((size_t)limit * length), *in = allocate(length);
  int sent = send_unexpected(&pair, limit, length, out);
  if (sent < least) failed("only %d unexpected messages were accepted", sent);
  double end = seconds() + 0.05;
  while (seconds() < end) drive_progress();
  for (int i = 0; i < sent; i++) {
    struct fi_cq_tagged_entry entry = {0};
    post(fi_recv(pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[10000 + i]));
    wait_completion(pair.b.rx_cq, &entry);
    assert_ptr_equal(entry.op_context, &slot[10000 + i]);
    assert_int_equal(entry.len, length);
    verify(in, length, (uint64_t)i);
  }
  for (int i = 0; i < sent; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.a.tx_cq, &entry);
  }
  free(out);
  free(in);
  pair_close(&pair);
}

CASE(many_small_unexpected_messages) { many_unexpected(1000, 64, 100); }
CASE(many_medium_unexpected_messages) { many_unexpected(200, 4000, 50); }
CASE(many_large_unexpected_messages) { many_unexpected(16, mebi, 16); }

CASE(sender_is_pushed_back_when_nobody_receives) {
  struct pair pair;
  pair_open(&pair, NULL);
  transfer(&pair, 64, true);  // connected
  static char out[64];
  int sent = 0;
  ssize_t result = 0;
  while (sent < 20000 && (result = fi_send(pair.a.ep, out, sizeof out, NULL, pair.to_b, &slot[0])) == 0) sent++;
  assert_returns(result, -FI_EAGAIN);
  assert_true(sent > 0);
  // nothing was lost: all sent messages arrive
  char in[64];
  int received = 0, completed = 0;
  double deadline = deadline_after(3 * DEFAULT_WAIT);
  post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[1]));
  while ((received < sent || completed < sent) && seconds() < deadline) {
    struct fi_cq_tagged_entry entry;
    if (fi_cq_read(pair.b.rx_cq, &entry, 1) == 1 && ++received < sent) {
      post(fi_recv(pair.b.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[1]));
    }
    ssize_t count = fi_cq_read(pair.a.tx_cq, &entry, 1);
    if (count == 1) completed++;
    if (count == -FI_EAVAIL) wait_for(pair.a.tx_cq, NULL);
  }
  assert_int_equal(received, sent);
  assert_int_equal(completed, sent);
  // and the way is free again
  transfer(&pair, 64, true);
  pair_close(&pair);
}

CASE(many_posted_receives) {
  struct pair pair;
  pair_open(&pair, NULL);
  static char in[10000];
  int posted = 0;
  ssize_t result = 0;
  while (posted < 10000 && (result = fi_recv(pair.b.ep, in + posted, 1, NULL, FI_ADDR_UNSPEC, &slot[posted])) == 0) {
    posted++;
  }
  if (result != 0) assert_returns(result, -FI_EAGAIN);
  assert_true((size_t)posted >= pair.b.info->rx_attr->size || posted == 10000);
  for (int i = 0; i < 20; i++) {
    char byte = (char)('A' + i);
    post(fi_inject(pair.a.ep, &byte, 1, pair.to_b));
  }
  for (int i = 0; i < 20; i++) {
    wait_for(pair.b.rx_cq, &slot[i]);
    assert_int_equal(in[i], 'A' + i);
  }
  pair_close(&pair);
}

// ---- errors -------------------------------------------------------------------------------------------------------

static void truncation(size_t sent, size_t room, bool receive_first) {
  struct pair pair;
  pair_open(&pair, NULL);
  char *out = allocate(sent), *in = allocate(sent);
  fill(out, sent, 4);
  memset(in, 0xee, sent);
  if (receive_first) post(fi_recv(pair.b.ep, in, room, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_send(pair.a.ep, out, sent, NULL, pair.to_b, &slot[1]));
  if (!receive_first) {
    double end = seconds() + 0.02;
    while (seconds() < end) drive_progress();
    post(fi_recv(pair.b.ep, in, room, NULL, FI_ADDR_UNSPEC, &slot[0]));
  }
  struct fi_cq_err_entry error;
  wait_error(pair.b.rx_cq, &error);
  assert_int_equal(error.err, FI_ETRUNC);
  assert_ptr_equal(error.op_context, &slot[0]);
  assert_true(error.flags & FI_RECV);
  assert_int_equal(error.len, room);
  assert_int_equal(error.olen, sent - room);
  verify(in, room, 4);
  verify_bytes(in + room, sent - room, 0xee);
  wait_for(pair.a.tx_cq, &slot[1]);  // the sender did nothing wrong
  transfer(&pair, 100, true);        // and the endpoints go on
  free(out);
  free(in);
  pair_close(&pair);
}

CASE(truncation_of_a_small_message) { truncation(100, 40, true); }
CASE(truncation_of_a_small_unexpected_message) { truncation(100, 40, false); }
CASE(truncation_to_nothing) { truncation(100, 0, true); }
CASE(truncation_of_a_medium_message) { truncation(5000, 2001, true); }
CASE(truncation_of_a_large_message) { truncation(500000, 100001, true); }
CASE(truncation_of_a_large_unexpected_message) { truncation(500000, 100001, false); }

CASE(message_to_an_address_never_inserted) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.av_type = FI_AV_TABLE});
  needs_addresses(&pair.a);
  ssize_t result = fi_send(pair.a.ep, "x", 1, NULL, pair.to_b + 1000, &slot[0]);
  if (result == 0) {
    struct fi_cq_err_entry error;
    wait_error(pair.a.tx_cq, &error);
  } else {
    assert_true(result != -FI_EAGAIN);
  }
  result = fi_send(pair.a.ep, "x", 1, NULL, FI_ADDR_UNSPEC, &slot[0]);
  assert_true(result < 0 && result != -FI_EAGAIN);
  transfer(&pair, 10, true);
  pair_close(&pair);
}

CASE(message_to_a_removed_address) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.av_type = FI_AV_TABLE});
  needs_addresses(&pair.a);
  transfer(&pair, 10, true);
  fi_addr_t gone = pair.to_b;
  assert_offered(fi_av_remove(pair.a.av, &gone, 1, 0));
  ssize_t result = fi_send(pair.a.ep, "x", 1, NULL, gone, &slot[0]);
  if (result == 0) {
    struct fi_cq_err_entry error;
    wait_error(pair.a.tx_cq, &error);
  } else {
    assert_true(result != -FI_EAGAIN);
  }
  pair.to_b = node_insert(&pair.a, pair.b.address);
  transfer(&pair, 10, true);
  pair_close(&pair);
}

// ---- selective completion -----------------------------------------------------------------------------------------

CASE(selective_transmit_completion) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.tx_bind_flags = FI_SELECTIVE_COMPLETION});
  char in[3] = {0};
  for (int i = 0; i < 3; i++) post(fi_recv(pair.b.ep, in + i, 1, NULL, FI_ADDR_UNSPEC, &slot[i]));
  char a = 'a', b = 'b', c = 'c';
  struct iovec part_b = {&b, 1}, part_c = {&c, 1};
  struct fi_msg silent = message(&part_b, pair.to_b, &slot[11], 0), loud = message(&part_c, pair.to_b, &slot[12], 0);
  post(fi_send(pair.a.ep, &a, 1, NULL, pair.to_b, &slot[10]));
  post(fi_sendmsg(pair.a.ep, &silent, 0));
  post(fi_sendmsg(pair.a.ep, &loud, FI_COMPLETION));
  for (int i = 0; i < 3; i++) wait_for(pair.b.rx_cq, &slot[i]);
  assert_memory_equal(in, "abc", 3);
  wait_for(pair.a.tx_cq, &slot[12]);
  expect_quiet(pair.a.tx_cq, 30);
  pair_close(&pair);
}

CASE(selective_transmit_completion_by_default_flags) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.tx_bind_flags = FI_SELECTIVE_COMPLETION, .tx_op_flags = FI_COMPLETION});
  char in = 0;
  post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_send(pair.a.ep, "x", 1, NULL, pair.to_b, &slot[1]));
  wait_for(pair.b.rx_cq, &slot[0]);
  wait_for(pair.a.tx_cq, &slot[1]);
  pair_close(&pair);
}

CASE(selective_receive_completion) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.rx_bind_flags = FI_SELECTIVE_COMPLETION});
  char in[2] = {0};
  struct iovec part = {in + 1, 1};
  struct fi_msg loud = message(&part, FI_ADDR_UNSPEC, &slot[1], 0);
  post(fi_recv(pair.b.ep, in, 1, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_recvmsg(pair.b.ep, &loud, FI_COMPLETION));
  post(fi_inject(pair.a.ep, "a", 1, pair.to_b));
  post(fi_inject(pair.a.ep, "b", 1, pair.to_b));
  wait_for(pair.b.rx_cq, &slot[1]);
  assert_memory_equal(in, "ab", 2);
  expect_quiet(pair.b.rx_cq, 30);
  pair_close(&pair);
}

CASE(selective_completion_does_not_hide_errors) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.rx_bind_flags = FI_SELECTIVE_COMPLETION});
  char in[4];
  post(fi_recv(pair.b.ep, in, 2, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_inject(pair.a.ep, "abcd", 4, pair.to_b));
  struct fi_cq_err_entry error;
  wait_error(pair.b.rx_cq, &error);
  assert_int_equal(error.err, FI_ETRUNC);
  pair_close(&pair);
}

// ---- source and directed receive ----------------------------------------------------------------------------------

CASE(directed_receive_waits_for_its_source) {
  struct setup setup = {.caps = FI_MSG | FI_DIRECTED_RECV};
  struct node receiver, first, second;
  node_open(&receiver, &setup);
  node_open(&first, &setup);
  node_open(&second, &setup);
  fi_addr_t from_first = node_insert(&receiver, first.address), from_second = node_insert(&receiver, second.address);
  fi_addr_t first_to = node_insert(&first, receiver.address), second_to = node_insert(&second, receiver.address);
  char in[3] = {0};
  post(fi_recv(receiver.ep, in, 1, NULL, from_second, &slot[0]));
  post(fi_recv(receiver.ep, in + 1, 1, NULL, from_first, &slot[1]));
  post(fi_recv(receiver.ep, in + 2, 1, NULL, FI_ADDR_UNSPEC, &slot[2]));
  post(fi_inject(first.ep, "1", 1, first_to));
  wait_for(receiver.rx_cq, &slot[1]);
  post(fi_inject(second.ep, "2", 1, second_to));
  wait_for(receiver.rx_cq, &slot[0]);
  post(fi_inject(first.ep, "3", 1, first_to));
  wait_for(receiver.rx_cq, &slot[2]);
  assert_memory_equal(in, "213", 3);
  node_close(&second);
  node_close(&first);
  node_close(&receiver);
}

CASE(directed_receive_finds_unexpected_messages) {
  struct setup setup = {.caps = FI_MSG | FI_DIRECTED_RECV};
  struct node receiver, first, second;
  node_open(&receiver, &setup);
  node_open(&first, &setup);
  node_open(&second, &setup);
  fi_addr_t from_first = node_insert(&receiver, first.address), from_second = node_insert(&receiver, second.address);
  fi_addr_t first_to = node_insert(&first, receiver.address), second_to = node_insert(&second, receiver.address);
  post(fi_inject(first.ep, "1", 1, first_to));
  post(fi_inject(second.ep, "2", 1, second_to));
  double end = seconds() + 0.1;
  while (seconds() < end) drive_progress();
  char in[2] = {0};
  post(fi_recv(receiver.ep, in, 1, NULL, from_second, &slot[0]));
  wait_for(receiver.rx_cq, &slot[0]);
  post(fi_recv(receiver.ep, in + 1, 1, NULL, from_first, &slot[1]));
  wait_for(receiver.rx_cq, &slot[1]);
  assert_memory_equal(in, "21", 2);
  node_close(&second);
  node_close(&first);
  node_close(&receiver);
}

CASE(source_is_ignored_without_directed_receive) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.caps = FI_MSG});
  struct sockaddr_in other = {.sin_family = AF_INET, .sin_port = htons(9)};
  other.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  fi_addr_t somebody = node_insert(&pair.b, &other);
  char in = 0;
  post(fi_recv(pair.b.ep, &in, 1, NULL, somebody, &slot[0]));
  post(fi_inject(pair.a.ep, "x", 1, pair.to_b));
  wait_for(pair.b.rx_cq, &slot[0]);
  pair_close(&pair);
}
