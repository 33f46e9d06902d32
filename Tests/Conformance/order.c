// Orders between operations on the same memory: msg_order and max_order_*_size of fi_endpoint(3).
#include "fixture.h"

enum { mebi = 1 << 20 };

static char slot[2000];
static const struct setup plain;

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const size_t lengths[] = {8, 1000, 9000, 65536, 65537, 700000, 4 * mebi};

static void orders_open(struct pair *pair, uint64_t order) {
  pair_open(pair, &(struct setup){.msg_order = order});
  assert_int_equal(pair->a.info->tx_attr->msg_order & order, order);
}

static void read_from(struct pair *pair, void *buffer, size_t length, struct region *region, size_t offset,
                      void *context) {
  post(fi_read(pair->a.ep, buffer, length, NULL, pair->to_b, region->base + offset, region->key, context));
}

static void write_to(struct pair *pair, void *buffer, size_t length, struct region *region, size_t offset,
                     void *context) {
  post(fi_write(pair->a.ep, buffer, length, NULL, pair->to_b, region->base + offset, region->key, context));
}

// ---- discovery ----------------------------------------------------------------------------------------------------

CASE(each_order_can_be_asked_for) {
  struct fi_info *offered = find_info(&plain);
  for (int bit = 0; bit < 64; bit++) {
    uint64_t order = UINT64_C(1) << bit;
    struct fi_info *hints = new_hints(), *info = NULL;
    hints->tx_attr->msg_order = order;
    hints->rx_attr->msg_order = order;
    int found = fi_getinfo(DEFAULT_VERSION, NULL, NULL, 0, hints, &info);
    if (offered->tx_attr->msg_order & order) {
      assert_success(found);
      assert_true(info->tx_attr->msg_order & order);
      assert_true(info->rx_attr->msg_order & order);
    } else {
      assert_returns(found, -FI_ENODATA);
    }
    fi_freeinfo(info);
    fi_freeinfo(hints);
  }
  fi_freeinfo(offered);
}

// Where orders of remote memory are kept, so they are for some size.
CASE(sizes_of_ordered_transfers) {
  struct fi_info *info = find_info(&plain);
  uint64_t order = info->tx_attr->msg_order & info->rx_attr->msg_order;
  if (order & FI_ORDER_RAW) assert_true(info->ep_attr->max_order_raw_size > 0);
  if (order & FI_ORDER_WAR) assert_true(info->ep_attr->max_order_war_size > 0);
  if (order & FI_ORDER_WAW) assert_true(info->ep_attr->max_order_waw_size > 0);
  fi_freeinfo(info);
}

// ---- two operations -----------------------------------------------------------------------------------------------

CASE(write_after_read) {
  struct pair pair;
  orders_open(&pair, FI_ORDER_WAR);
  for (size_t i = 0; i < COUNT(lengths); i++) {
    for (size_t j = 0; j < COUNT(lengths); j++) {
      // The write lies at the end of what is read, so that it would come first if it could.
      size_t longer = lengths[i] > lengths[j] ? lengths[i] : lengths[j];
      struct region target;
      region_open(&target, &pair.b, longer, all_rights, 1);
      char *in = allocate(lengths[i]), *out = allocate(lengths[j]);
      fill(target.memory, longer, 1);
      fill(out, lengths[j], 2);
      read_from(&pair, in, lengths[i], &target, longer - lengths[i], &slot[0]);
      write_to(&pair, out, lengths[j], &target, longer - lengths[j], &slot[1]);
      wait_for_all(pair.a.tx_cq, slot, 2);
      char *expected = allocate(longer);
      fill(expected, longer, 1);
      assert_memory_equal(in, expected + longer - lengths[i], lengths[i]);
      wait_until(matches(target.memory + longer - lengths[j], lengths[j], 2));
      free(expected);
      free(in);
      free(out);
      region_close(&target);
    }
  }
  pair_close(&pair);
}

// A message does not change what a read before it returns, though it is received in the very memory.
CASE(message_after_read) {
  struct pair pair;
  orders_open(&pair, FI_ORDER_SAR);
  for (size_t i = 0; i < COUNT(lengths); i++) {
    struct region target;
    region_open(&target, &pair.b, lengths[i], all_rights, 1);
    char *in = allocate(lengths[i]), *out = allocate(lengths[i]);
    fill(target.memory, lengths[i], 1);
    fill(out, lengths[i], 2);
    for (size_t length = 8; length <= lengths[i]; length *= 20) {
      post(fi_recv(pair.b.ep, target.memory + lengths[i] - length, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
      read_from(&pair, in, lengths[i], &target, 0, &slot[1]);
      post(fi_send(pair.a.ep, out, length, NULL, pair.to_b, &slot[2]));
      wait_for(pair.b.rx_cq, &slot[0]);
      wait_for_all(pair.a.tx_cq, &slot[1], 2);
      verify(in, lengths[i], 1);
      verify(target.memory + lengths[i] - length, length, 2);
      fill(target.memory, lengths[i], 1);
    }
    free(in);
    free(out);
    region_close(&target);
  }
  pair_close(&pair);
}

// ---- rows ---------------------------------------------------------------------------------------------------------

// Reads and writes of the same bytes in turn: each read sees the write before it and none behind it.
static void alternate(size_t length) {
  struct pair pair;
  orders_open(&pair, FI_ORDER_RAW | FI_ORDER_WAR | FI_ORDER_WAW | FI_ORDER_RAR);
  enum { rounds = 40 };
  struct region target;
  region_open(&target, &pair.b, length, all_rights, 1);
  char *out = allocate(rounds * length), *in = allocate(rounds * length);
  for (size_t i = 0; i < rounds; i++) fill(out + i * length, length, i);
  for (size_t i = 0; i < rounds; i++) {
    write_to(&pair, out + i * length, length, &target, 0, &slot[2 * i]);
    read_from(&pair, in + i * length, length, &target, 0, &slot[2 * i + 1]);
  }
  wait_for_all(pair.a.tx_cq, slot, 2 * rounds);
  for (size_t i = 0; i < rounds; i++) verify(in + i * length, length, i);
  free(out);
  free(in);
  region_close(&target);
  pair_close(&pair);
}

CASE(reads_and_writes_of_a_word) { alternate(8); }
CASE(reads_and_writes_of_some_packets) { alternate(5000); }
CASE(reads_and_writes_of_a_large_piece) { alternate(200000); }

// Parts of the memory are written while all of it is being read, and beside what is being read.
CASE(writes_into_and_beside_what_is_read) {
  struct pair pair;
  orders_open(&pair, FI_ORDER_WAR);
  enum { length = mebi, part = 1000, count = 50 };
  struct region target;
  region_open(&target, &pair.b, 2 * length, all_rights, 1);
  char *in = allocate(length), *out = allocate(count * part);
  fill(target.memory, length, 1);
  for (size_t i = 0; i < count; i++) fill(out + i * part, part, 10 + i);
  read_from(&pair, in, length, &target, 0, &slot[0]);
  for (size_t i = 0; i < count; i++) {
    size_t offset = length - 10 * part + i * part;  // some in front of the end, one across it, the others behind it
    write_to(&pair, out + i * part, part, &target, offset, &slot[1 + i]);
  }
  wait_for_all(pair.a.tx_cq, slot, 1 + count);
  verify(in, length, 1);
  for (size_t i = 0; i < count; i++) {
    wait_until(matches(target.memory + length - 10 * part + i * part, part, 10 + i));
  }
  free(in);
  free(out);
  region_close(&target);
  pair_close(&pair);
}

// A write that has to wait keeps what is behind it waiting where order asks for that.
CASE(message_behind_a_write_behind_a_read) {
  struct pair pair;
  orders_open(&pair, FI_ORDER_WAR | FI_ORDER_SAW);
  struct region target;
  region_open(&target, &pair.b, 4 * mebi, all_rights, 1);
  char *in = allocate(4 * mebi), out[1000], received[8];
  fill(out, sizeof out, 2);
  for (uint64_t round = 0; round < 5; round++) {
    fill(target.memory, 4 * mebi, 1);
    post(fi_recv(pair.b.ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, &slot[0]));
    read_from(&pair, in, 4 * mebi, &target, 0, &slot[1]);
    write_to(&pair, out, sizeof out, &target, 3 * mebi, &slot[2]);
    post(fi_send(pair.a.ep, out, sizeof received, NULL, pair.to_b, &slot[3]));
    wait_for(pair.b.rx_cq, &slot[0]);
    verify(target.memory + 3 * mebi, sizeof out, 2);
    wait_for_all(pair.a.tx_cq, &slot[1], 3);
    verify(in, 4 * mebi, 1);
  }
  free(in);
  region_close(&target);
  pair_close(&pair);
}
