// Tagged messages: matching by tag and mask, order, peek, claim, cancel. Man page: fi_tagged(3).
#include "fixture.h"

static char slot[20000];

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void settle(void) {
  double end = seconds() + 0.05;
  while (seconds() < end) drive_progress();
}

static void receive(struct pair *pair, void *buffer, size_t length, uint64_t tag, uint64_t ignore, void *context) {
  post(fi_trecv(pair->b.ep, buffer, length, NULL, FI_ADDR_UNSPEC, tag, ignore, context));
}

static void send_byte(struct pair *pair, char byte, uint64_t tag) {
  post(fi_tinject(pair->a.ep, &byte, 1, pair->to_b, tag));
}

// Waits for the receive with this context, and checks the tag of the message.
static void expect_tag(struct pair *pair, void *context, uint64_t tag) {
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair->b.rx_cq, &entry);
  if (entry.op_context != context) {
    failed("completion of slot %td, expected %td (tag 0x%" PRIx64 ")", (char *)entry.op_context - slot,
           (char *)context - slot, entry.tag);
  }
  uint64_t flags = FI_RECV | FI_TAGGED;
  assert_int_equal(entry.flags & flags, flags);
  if (entry.tag != tag) failed("tag 0x%" PRIx64 ", expected 0x%" PRIx64, entry.tag, tag);
}

// One tagged message of `length` bytes.
static void transfer(struct pair *pair, size_t length, uint64_t tag, bool receive_first) {
  char *out = allocate(length + 16), *in = allocate(length + 16);
  fill(out, length, length);
  memset(in, 0xee, length + 16);
  if (receive_first) receive(pair, in, length, tag, 0, &slot[0]);
  post(fi_tsend(pair->a.ep, out, length, NULL, pair->to_b, tag, &slot[1]));
  if (!receive_first) {
    double end = seconds() + 0.002;
    while (seconds() < end) drive_progress();
    receive(pair, in, length, tag, 0, &slot[0]);
  }
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair->b.rx_cq, &entry);
  assert_ptr_equal(entry.op_context, &slot[0]);
  assert_int_equal(entry.len, length);
  assert_true(entry.tag == tag);
  memset(&entry, 0, sizeof entry);
  wait_completion(pair->a.tx_cq, &entry);
  assert_ptr_equal(entry.op_context, &slot[1]);
  uint64_t flags = FI_SEND | FI_TAGGED;
  assert_int_equal(entry.flags & flags, flags);
  verify(in, length, length);
  verify_bytes(in + length, 16, 0xee);
  free(out);
  free(in);
}

static const size_t sizes[] = {0,    1,    8,    63,   64,    65,    256,   1000,  1200,   1400,        1472,
                               1500, 2048, 4096, 9000, 16384, 16385, 65535, 65536, 100000, (1 << 20) + 1};

static void transfer_sizes(bool receive_first) {
  struct pair pair;
  pair_open(&pair, NULL);
  for (size_t i = 0; i < COUNT(sizes); i++) transfer(&pair, sizes[i], 1000 + i, receive_first);
  pair_close(&pair);
}

CASE(messages_of_many_sizes) { transfer_sizes(true); }
CASE(unexpected_messages_of_many_sizes) { transfer_sizes(false); }

CASE(tagged_messages_only) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.caps = FI_TAGGED});
  for (size_t i = 0; i < COUNT(sizes); i += 3) transfer(&pair, sizes[i], i, i % 2);
  pair_close(&pair);
}

CASE(exchange_with_delivery_complete) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.tx_op_flags = FI_DELIVERY_COMPLETE | FI_COMPLETION});
  for (size_t i = 0; i < COUNT(sizes); i += 3) transfer(&pair, sizes[i], i, i % 2);
  pair_close(&pair);
}

// ---- matching -----------------------------------------------------------------------------------------------------

CASE(tags_select_the_receive) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[4] = {0};
  for (int i = 0; i < 4; i++) receive(&pair, in + i, 1, 100 + (uint64_t)i, 0, &slot[i]);
  static const int order[] = {2, 0, 3, 1};
  for (int i = 0; i < 4; i++) {
    send_byte(&pair, (char)('a' + order[i]), 100 + (uint64_t)order[i]);
    expect_tag(&pair, &slot[order[i]], 100 + (uint64_t)order[i]);
  }
  assert_memory_equal(in, "abcd", 4);
  pair_close(&pair);
}

CASE(tags_select_the_unexpected_message) {
  struct pair pair;
  pair_open(&pair, NULL);
  for (int i = 0; i < 4; i++) send_byte(&pair, (char)('a' + i), 100 + (uint64_t)i);
  settle();
  char in[4] = {0};
  static const int order[] = {2, 0, 3, 1};
  for (int i = 0; i < 4; i++) {
    receive(&pair, in + order[i], 1, 100 + (uint64_t)order[i], 0, &slot[order[i]]);
    expect_tag(&pair, &slot[order[i]], 100 + (uint64_t)order[i]);
  }
  assert_memory_equal(in, "abcd", 4);
  pair_close(&pair);
}

CASE(tags_have_64_bits) {
  struct pair pair;
  pair_open(&pair, NULL);
  uint64_t format = pair.a.info->ep_attr->mem_tag_format;
  if (!(format >> 62)) unsupported("mem_tag_format 0x%" PRIx64, format);
  static const uint64_t tags[] = {0,
                                  1,
                                  UINT64_C(0x100000000),
                                  UINT64_C(0x4000000000000000),
                                  UINT64_C(0x7fffffffffffffff),
                                  UINT64_C(0x123456789abcdef0),
                                  UINT64_C(0x00ff00ff00ff00ff)};
  char in[COUNT(tags)];
  for (size_t i = 0; i < COUNT(tags); i++) receive(&pair, in + i, 1, tags[i], 0, &slot[i]);
  for (size_t i = COUNT(tags); i-- > 0;) {
    send_byte(&pair, (char)i, tags[i]);
    expect_tag(&pair, &slot[i], tags[i]);
    assert_int_equal(in[i], i);
  }
  pair_close(&pair);
}

CASE(highest_tag_bit) {
  struct pair pair;
  pair_open(&pair, NULL);
  uint64_t format = pair.a.info->ep_attr->mem_tag_format;
  if (!(format >> 63)) unsupported("mem_tag_format 0x%" PRIx64, format);
  char in[2];
  receive(&pair, in, 1, UINT64_MAX, 0, &slot[0]);
  receive(&pair, in + 1, 1, UINT64_MAX >> 1, 0, &slot[1]);
  send_byte(&pair, 'a', UINT64_MAX >> 1);
  expect_tag(&pair, &slot[1], UINT64_MAX >> 1);
  send_byte(&pair, 'b', UINT64_MAX);
  expect_tag(&pair, &slot[0], UINT64_MAX);
  pair_close(&pair);
}

CASE(ignored_bits_match_anything) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in = 0;
  receive(&pair, &in, 1, 0xab00, 0xff, &slot[0]);
  send_byte(&pair, 'x', 0xab42);
  expect_tag(&pair, &slot[0], 0xab42);
  assert_int_equal(in, 'x');
  // set bits of the receive's own tag below the mask do not count either
  receive(&pair, &in, 1, 0xab77, 0xff, &slot[1]);
  send_byte(&pair, 'y', 0xab00);
  expect_tag(&pair, &slot[1], 0xab00);
  pair_close(&pair);
}

CASE(unmasked_bits_must_match) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[2] = {0};
  receive(&pair, in, 1, 0xab00, 0xff, &slot[0]);
  receive(&pair, in + 1, 1, 0xac00, 0xff, &slot[1]);
  send_byte(&pair, 'x', 0xac42);
  expect_tag(&pair, &slot[1], 0xac42);
  send_byte(&pair, 'y', 0xab42);
  expect_tag(&pair, &slot[0], 0xab42);
  assert_memory_equal(in, "yx", 2);
  pair_close(&pair);
}

CASE(wildcard_takes_all_in_order) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[5] = {0};
  for (int i = 0; i < 5; i++) receive(&pair, in + i, 1, 0, UINT64_MAX, &slot[i]);
  for (int i = 0; i < 5; i++) send_byte(&pair, (char)('a' + i), 1000u * (unsigned)i + 7);
  for (int i = 0; i < 5; i++) expect_tag(&pair, &slot[i], 1000u * (unsigned)i + 7);
  assert_memory_equal(in, "abcde", 5);
  pair_close(&pair);
}

CASE(first_posted_matching_receive_wins) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[3] = {0};
  receive(&pair, in, 1, 0, UINT64_MAX, &slot[0]);  // wildcard, posted first
  receive(&pair, in + 1, 1, 7, 0, &slot[1]);       // exact
  receive(&pair, in + 2, 1, 7, 0xf0, &slot[2]);    // masked
  send_byte(&pair, 'a', 7);
  expect_tag(&pair, &slot[0], 7);
  send_byte(&pair, 'b', 7);
  expect_tag(&pair, &slot[1], 7);
  send_byte(&pair, 'c', 7);
  expect_tag(&pair, &slot[2], 7);
  assert_memory_equal(in, "abc", 3);
  pair_close(&pair);
}

CASE(first_arrived_matching_message_wins) {
  struct pair pair;
  pair_open(&pair, NULL);
  send_byte(&pair, 'a', 1);
  send_byte(&pair, 'b', 2);
  send_byte(&pair, 'c', 1);
  settle();
  char in[3] = {0};
  receive(&pair, in, 1, 0, UINT64_MAX, &slot[0]);
  expect_tag(&pair, &slot[0], 1);
  receive(&pair, in + 1, 1, 1, 0, &slot[1]);
  expect_tag(&pair, &slot[1], 1);
  receive(&pair, in + 2, 1, 0, UINT64_MAX, &slot[2]);
  expect_tag(&pair, &slot[2], 2);
  assert_memory_equal(in, "acb", 3);
  pair_close(&pair);
}

CASE(equal_tags_keep_the_order) {
  struct pair pair;
  pair_open(&pair, NULL);
  enum { count = 1000 };
  static uint32_t in[count];
  for (int i = 0; i < count; i++) receive(&pair, &in[i], 4, 9, 0, &slot[i]);
  for (uint32_t i = 0; i < count; i++) post(fi_tinject(pair.a.ep, &i, 4, pair.to_b, 9));
  for (int i = 0; i < count; i++) {
    expect_tag(&pair, &slot[i], 9);
    assert_int_equal(in[i], i);
  }
  pair_close(&pair);
}

CASE(equal_tags_keep_the_order_across_sizes) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.msg_order = FI_ORDER_SAS});
  enum { count = 60 };
  static char out[count][40000], in[count][40000];
  size_t lengths[count];
  for (int i = 0; i < count; i++) {
    lengths[i] = i % 3 == 0 ? 40000 : i % 3 == 1 ? 16 : 3000;
    fill(out[i], lengths[i], (uint64_t)i);
    post(fi_tsend(pair.a.ep, out[i], lengths[i], NULL, pair.to_b, 9, &slot[1000 + i]));
    if (i >= 30) continue;
    receive(&pair, in[i], sizeof in[i], 9, 0, &slot[i]);
  }
  for (int i = 30; i < count; i++) receive(&pair, in[i], sizeof in[i], 9, 0, &slot[i]);
  for (int i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    ptrdiff_t index = (char *)entry.op_context - slot;
    assert_in_range(index, 0, count - 1);
    assert_int_equal(entry.len, lengths[index]);
    verify(in[index], lengths[index], (uint64_t)index);
  }
  for (int i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.a.tx_cq, &entry);
  }
  pair_close(&pair);
}

CASE(many_tags_in_reverse) {
  struct pair pair;
  pair_open(&pair, NULL);
  enum { count = 500 };
  static uint32_t in[count];
  for (uint32_t i = 0; i < count; i++) post(fi_tinject(pair.a.ep, &i, 4, pair.to_b, i));
  settle();
  for (int i = count - 1; i >= 0; i--) {
    receive(&pair, &in[i], 4, (uint64_t)i, 0, &slot[i]);
    expect_tag(&pair, &slot[i], (uint64_t)i);
    assert_int_equal(in[i], i);
  }
  pair_close(&pair);
}

CASE(messages_and_tagged_messages_do_not_mix) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[2] = {0};
  post(fi_recv(pair.b.ep, in, 1, NULL, FI_ADDR_UNSPEC, &slot[0]));
  receive(&pair, in + 1, 1, 0, UINT64_MAX, &slot[1]);
  send_byte(&pair, 't', 5);
  expect_tag(&pair, &slot[1], 5);
  post(fi_inject(pair.a.ep, "m", 1, pair.to_b));
  wait_for(pair.b.rx_cq, &slot[0]);
  assert_memory_equal(in, "mt", 2);
  pair_close(&pair);
}

CASE(unexpected_messages_and_tagged_messages_do_not_mix) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[2] = {0};
  send_byte(&pair, 't', 0);
  post(fi_inject(pair.a.ep, "m", 1, pair.to_b));
  settle();
  post(fi_recv(pair.b.ep, in, 1, NULL, FI_ADDR_UNSPEC, &slot[0]));
  wait_for(pair.b.rx_cq, &slot[0]);
  receive(&pair, in + 1, 1, 0, 0, &slot[1]);
  expect_tag(&pair, &slot[1], 0);
  assert_memory_equal(in, "mt", 2);
  pair_close(&pair);
}

CASE(unmatched_receive_stays) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[2] = {0};
  receive(&pair, in, 1, 1, 0, &slot[0]);
  send_byte(&pair, 'b', 2);
  expect_quiet(pair.b.rx_cq, 50);
  receive(&pair, in + 1, 1, 2, 0, &slot[1]);
  expect_tag(&pair, &slot[1], 2);
  send_byte(&pair, 'a', 1);
  expect_tag(&pair, &slot[0], 1);
  assert_memory_equal(in, "ab", 2);
  pair_close(&pair);
}

// ---- the other calls ----------------------------------------------------------------------------------------------

CASE(vectors) {
  struct pair pair;
  pair_open(&pair, NULL);
  static char out[5000], in[5000];
  fill(out, sizeof out, 2);
  struct iovec from[2] = {{out, 1700}, {out + 1700, 3300}}, to[2] = {{in, 4000}, {in + 4000, 1000}};
  post(fi_trecvv(pair.b.ep, to, NULL, 2, FI_ADDR_UNSPEC, 5, 0, &slot[0]));
  post(fi_tsendv(pair.a.ep, from, NULL, 2, pair.to_b, 5, &slot[1]));
  expect_tag(&pair, &slot[0], 5);
  wait_for(pair.a.tx_cq, &slot[1]);
  verify(in, sizeof in, 2);
  pair_close(&pair);
}

static void message_with_flags(uint64_t flags, size_t length) {
  struct pair pair;
  pair_open(&pair, NULL);
  char *out = allocate(length), *in = allocate(length);
  fill(out, length, 9);
  struct iovec to = {in, length}, from = {out, length};
  struct fi_msg_tagged receiving = {.msg_iov = &to, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .tag = 0x50,
                                    .ignore = 0xf, .context = &slot[0]};
  struct fi_msg_tagged sending = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .tag = 0x53,
                                  .context = &slot[1], .data = UINT64_C(0xfeedface12345678)};
  post(fi_trecvmsg(pair.b.ep, &receiving, FI_COMPLETION));
  post(fi_tsendmsg(pair.a.ep, &sending, flags | FI_COMPLETION));
  if (flags & FI_INJECT) memset(out, 0, length);
  wait_for(pair.a.tx_cq, &slot[1]);
  if (flags & FI_DELIVERY_COMPLETE) verify(in, length, 9);
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair.b.rx_cq, &entry);
  assert_ptr_equal(entry.op_context, &slot[0]);
  assert_int_equal(entry.len, length);
  assert_true(entry.tag == 0x53);
  assert_int_equal(!!(entry.flags & FI_REMOTE_CQ_DATA), !!(flags & FI_REMOTE_CQ_DATA));
  if (flags & FI_REMOTE_CQ_DATA) assert_true(entry.data == UINT64_C(0xfeedface12345678));
  verify(in, length, 9);
  free(out);
  free(in);
  pair_close(&pair);
}

CASE(sendmsg_plain) { message_with_flags(0, 3000); }
CASE(sendmsg_with_data) { message_with_flags(FI_REMOTE_CQ_DATA, 300); }
CASE(sendmsg_large_with_data) { message_with_flags(FI_REMOTE_CQ_DATA, 300000); }
CASE(sendmsg_injected) { message_with_flags(FI_INJECT, 32); }
CASE(sendmsg_transmit_complete) { message_with_flags(FI_TRANSMIT_COMPLETE, 3000); }
CASE(sendmsg_delivery_complete) { message_with_flags(FI_DELIVERY_COMPLETE, 3000); }
CASE(sendmsg_delivery_complete_large) { message_with_flags(FI_DELIVERY_COMPLETE, 300000); }

CASE(inject_frees_the_buffer_at_once) {
  struct pair pair;
  pair_open(&pair, NULL);
  size_t length = pair.a.info->tx_attr->inject_size;
  char *out = allocate(length), *in = allocate(length * 10);
  for (size_t i = 0; i < 10; i++) receive(&pair, in + i * length, length, i, 0, &slot[i]);
  for (size_t i = 0; i < 10; i++) {
    fill(out, length, i);
    post(fi_tinject(pair.a.ep, out, length, pair.to_b, i));
    memset(out, 0, length);
  }
  wait_for_all(pair.b.rx_cq, slot, 10);
  for (size_t i = 0; i < 10; i++) verify(in + i * length, length, i);
  expect_quiet(pair.a.tx_cq, 30);
  free(out);
  free(in);
  pair_close(&pair);
}

CASE(senddata_and_injectdata) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[8];
  for (int injected = 0; injected < 2; injected++) {
    receive(&pair, in, sizeof in, 77, 0, &slot[0]);
    if (injected) {
      post(fi_tinjectdata(pair.a.ep, "abcd", 4, UINT64_C(0x8877665544332211), pair.to_b, 77));
    } else {
      post(fi_tsenddata(pair.a.ep, "abcd", 4, NULL, UINT64_C(0x8877665544332211), pair.to_b, 77, &slot[1]));
      wait_for(pair.a.tx_cq, &slot[1]);
    }
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    assert_true(entry.flags & FI_REMOTE_CQ_DATA);
    assert_true(entry.flags & FI_TAGGED);
    assert_true(entry.data == UINT64_C(0x8877665544332211));
    assert_true(entry.tag == 77);
    assert_int_equal(entry.len, 4);
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
  if (receive_first) receive(&pair, in, room, 3, 0, &slot[0]);
  post(fi_tsend(pair.a.ep, out, sent, NULL, pair.to_b, 3, &slot[1]));
  if (!receive_first) {
    settle();
    receive(&pair, in, room, 3, 0, &slot[0]);
  }
  struct fi_cq_err_entry error;
  wait_error(pair.b.rx_cq, &error);
  assert_int_equal(error.err, FI_ETRUNC);
  assert_ptr_equal(error.op_context, &slot[0]);
  assert_true(error.flags & FI_TAGGED);
  assert_int_equal(error.tag, 3);
  assert_int_equal(error.len, room);
  assert_int_equal(error.olen, sent - room);
  verify(in, room, 4);
  verify_bytes(in + room, sent - room, 0xee);
  wait_for(pair.a.tx_cq, &slot[1]);
  transfer(&pair, 100, 8, true);
  free(out);
  free(in);
  pair_close(&pair);
}

CASE(truncation_of_a_small_message) { truncation(100, 40, true); }
CASE(truncation_of_a_small_unexpected_message) { truncation(100, 40, false); }
CASE(truncation_of_a_large_message) { truncation(500000, 100001, true); }
CASE(truncation_of_a_large_unexpected_message) { truncation(500000, 100001, false); }

CASE(cancel_a_receive) {
  struct pair pair;
  pair_open(&pair, NULL);
  char in[2] = {0};
  receive(&pair, in, 1, 5, 0, &slot[0]);
  receive(&pair, in + 1, 1, 5, 0, &slot[1]);
  assert_success(fi_cancel(&pair.b.ep->fid, &slot[0]));
  struct fi_cq_err_entry error;
  wait_error(pair.b.rx_cq, &error);
  assert_int_equal(error.err, FI_ECANCELED);
  assert_ptr_equal(error.op_context, &slot[0]);
  assert_true(error.flags & FI_TAGGED);
  send_byte(&pair, 'x', 5);
  expect_tag(&pair, &slot[1], 5);
  assert_int_equal(in[0], 0);
  assert_int_equal(in[1], 'x');
  pair_close(&pair);
}

// ---- directed receive ---------------------------------------------------------------------------------------------

struct trio {
  struct node receiver, first, second;
  fi_addr_t from_first, from_second, first_to, second_to;
};

static void trio_open(struct trio *trio) {
  struct setup setup = {.caps = FI_TAGGED | FI_DIRECTED_RECV | FI_SOURCE};
  node_open(&trio->receiver, &setup);
  node_open(&trio->first, &setup);
  node_open(&trio->second, &setup);
  trio->from_first = node_insert(&trio->receiver, trio->first.address);
  trio->from_second = node_insert(&trio->receiver, trio->second.address);
  trio->first_to = node_insert(&trio->first, trio->receiver.address);
  trio->second_to = node_insert(&trio->second, trio->receiver.address);
}

static void trio_close(struct trio *trio) {
  node_close(&trio->second);
  node_close(&trio->first);
  node_close(&trio->receiver);
}

CASE(directed_receive_needs_source_and_tag) {
  struct trio trio;
  trio_open(&trio);
  char in[3] = {0};
  struct fid_ep *ep = trio.receiver.ep;
  post(fi_trecv(ep, in, 1, NULL, trio.from_second, 1, 0, &slot[0]));
  post(fi_trecv(ep, in + 1, 1, NULL, trio.from_first, 2, 0, &slot[1]));
  post(fi_trecv(ep, in + 2, 1, NULL, FI_ADDR_UNSPEC, 1, 0, &slot[2]));
  post(fi_tinject(trio.first.ep, "a", 1, trio.first_to, 1));
  wait_for(trio.receiver.rx_cq, &slot[2]);
  post(fi_tinject(trio.second.ep, "b", 1, trio.second_to, 1));
  wait_for(trio.receiver.rx_cq, &slot[0]);
  post(fi_tinject(trio.first.ep, "c", 1, trio.first_to, 2));
  wait_for(trio.receiver.rx_cq, &slot[1]);
  assert_memory_equal(in, "bca", 3);
  trio_close(&trio);
}

CASE(directed_receive_finds_unexpected_messages) {
  struct trio trio;
  trio_open(&trio);
  for (int i = 0; i < 3; i++) {
    char byte = (char)('a' + i);
    post(fi_tinject(trio.first.ep, &byte, 1, trio.first_to, 1));
    byte = (char)('p' + i);
    post(fi_tinject(trio.second.ep, &byte, 1, trio.second_to, 1));
  }
  settle();
  char in[6] = {0};
  for (int i = 0; i < 3; i++) {
    post(fi_trecv(trio.receiver.ep, in + i, 1, NULL, trio.from_second, 0, UINT64_MAX, &slot[i]));
    wait_for(trio.receiver.rx_cq, &slot[i]);
  }
  for (int i = 3; i < 6; i++) {
    post(fi_trecv(trio.receiver.ep, in + i, 1, NULL, FI_ADDR_UNSPEC, 1, 0, &slot[i]));
    wait_for(trio.receiver.rx_cq, &slot[i]);
  }
  assert_memory_equal(in, "pqrabc", 6);
  trio_close(&trio);
}

// ---- peek, claim, discard -----------------------------------------------------------------------------------------

static struct fi_msg_tagged peek(uint64_t tag, uint64_t ignore, void *context) {
  return (struct fi_msg_tagged){.addr = FI_ADDR_UNSPEC, .tag = tag, .ignore = ignore, .context = context};
}

// One fi_context per operation: a claim passes the context of its peek.
static struct fi_context2 contexts[4];

CASE(peek_finds_nothing) {
  struct pair pair;
  pair_open(&pair, NULL);
  struct fi_msg_tagged message = peek(5, 0, &contexts[0]);
  ssize_t result = fi_trecvmsg(pair.b.ep, &message, FI_PEEK);
  if (result == -FI_ENOSYS || result == -FI_EOPNOTSUPP) unsupported("FI_PEEK");
  assert_success(result);
  struct fi_cq_err_entry error;
  wait_error(pair.b.rx_cq, &error);
  assert_int_equal(error.err, FI_ENOMSG);
  assert_ptr_equal(error.op_context, &contexts[0]);
  pair_close(&pair);
}

CASE(peek_describes_a_message_and_leaves_it) {
  struct pair pair;
  pair_open(&pair, NULL);
  post(fi_tinject(pair.a.ep, "hello", 5, pair.to_b, 5));
  settle();
  for (int round = 0; round < 2; round++) {
    struct fi_msg_tagged message = peek(0, 0xf, &contexts[0]);
    post(fi_trecvmsg(pair.b.ep, &message, FI_PEEK));
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(pair.b.rx_cq, &entry);
    assert_ptr_equal(entry.op_context, &contexts[0]);
    assert_int_equal(entry.len, 5);
    assert_int_equal(entry.tag, 5);
  }
  char in[5];
  receive(&pair, in, 5, 5, 0, &slot[0]);
  expect_tag(&pair, &slot[0], 5);
  assert_memory_equal(in, "hello", 5);
  pair_close(&pair);
}

CASE(peek_of_a_large_message) {
  struct pair pair;
  pair_open(&pair, NULL);
  static char out[300000], in[300000];
  fill(out, sizeof out, 1);
  post(fi_tsend(pair.a.ep, out, sizeof out, NULL, pair.to_b, 5, &slot[1]));
  settle();
  struct fi_msg_tagged message = peek(5, 0, &contexts[0]);
  post(fi_trecvmsg(pair.b.ep, &message, FI_PEEK));
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair.b.rx_cq, &entry);
  assert_int_equal(entry.len, sizeof out);
  receive(&pair, in, sizeof in, 5, 0, &slot[0]);
  expect_tag(&pair, &slot[0], 5);
  verify(in, sizeof in, 1);
  wait_for(pair.a.tx_cq, &slot[1]);
  pair_close(&pair);
}

static void peek_and_claim(uint64_t claim_flags, size_t length) {
  struct pair pair;
  pair_open(&pair, NULL);
  char *out = allocate(length), *in = allocate(length);
  fill(out, length, 1);
  memset(in, 0xee, length);
  post(fi_tsend(pair.a.ep, out, length, NULL, pair.to_b, 5, &slot[1]));
  settle();
  struct fi_msg_tagged message = peek(5, 0, &contexts[0]);
  post(fi_trecvmsg(pair.b.ep, &message, FI_PEEK | FI_CLAIM));
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair.b.rx_cq, &entry);
  assert_int_equal(entry.len, length);
  // claimed: no other receive may have it
  char other = 0;
  receive(&pair, &other, 1, 0, UINT64_MAX, &slot[2]);
  expect_quiet(pair.b.rx_cq, 20);
  struct iovec part = {in, length};
  message.msg_iov = &part;
  message.iov_count = 1;
  post(fi_trecvmsg(pair.b.ep, &message, claim_flags));
  if (claim_flags & FI_DISCARD) {
    settle();
    verify_bytes(in, length, 0xee);
  } else {
    wait_for(pair.b.rx_cq, &contexts[0]);
    verify(in, length, 1);
  }
  wait_for(pair.a.tx_cq, &slot[1]);
  free(out);
  free(in);
  assert_success(fi_cancel(&pair.b.ep->fid, &slot[2]));
  pair_close(&pair);
}

CASE(claim_a_small_message) { peek_and_claim(FI_CLAIM, 50); }
CASE(claim_a_large_message) { peek_and_claim(FI_CLAIM, 300000); }
CASE(discard_a_claimed_message) { peek_and_claim(FI_CLAIM | FI_DISCARD, 50); }

CASE(discard_while_peeking) {
  struct pair pair;
  pair_open(&pair, NULL);
  send_byte(&pair, 'a', 5);
  send_byte(&pair, 'b', 5);
  settle();
  struct fi_msg_tagged message = peek(5, 0, &contexts[0]);
  post(fi_trecvmsg(pair.b.ep, &message, FI_PEEK | FI_DISCARD));
  wait_for(pair.b.rx_cq, &contexts[0]);
  char in = 0;
  receive(&pair, &in, 1, 5, 0, &slot[0]);
  expect_tag(&pair, &slot[0], 5);
  assert_int_equal(in, 'b');
  pair_close(&pair);
}

// ---- selective completion -----------------------------------------------------------------------------------------

CASE(selective_completion) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.tx_bind_flags = FI_SELECTIVE_COMPLETION,
                                   .rx_bind_flags = FI_SELECTIVE_COMPLETION});
  char in[2] = {0};
  struct iovec to = {in + 1, 1}, from = {"b", 1};
  struct fi_msg_tagged receiving = {.msg_iov = &to, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .tag = 2,
                                    .context = &slot[1]};
  struct fi_msg_tagged sending = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .tag = 2,
                                  .context = &slot[3]};
  receive(&pair, in, 1, 1, 0, &slot[0]);
  post(fi_trecvmsg(pair.b.ep, &receiving, FI_COMPLETION));
  post(fi_tsend(pair.a.ep, "a", 1, NULL, pair.to_b, 1, &slot[2]));
  post(fi_tsendmsg(pair.a.ep, &sending, FI_COMPLETION));
  expect_tag(&pair, &slot[1], 2);
  wait_for(pair.a.tx_cq, &slot[3]);
  wait_until(in[0] == 'a');
  expect_quiet(pair.b.rx_cq, 30);
  expect_quiet(pair.a.tx_cq, 5);
  pair_close(&pair);
}
