// Atomic operations: every operation on every type against a model in C, vectors, limits, checks, order, atomicity.
// Man page: fi_atomic(3).
#include <complex.h>
#include <stdatomic.h>

#include "fixture.h"

#include <rdma/fi_atomic.h>

enum { diff = 19, last_op = diff, last_type = FI_UINT128, room = 8192 };

static char slot[4000];

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef __int128 int128;
typedef unsigned __int128 uint128;
typedef float complex float_complex;
typedef double complex double_complex;
typedef long double long_double;
typedef long double complex long_double_complex;

// ---- the model ----------------------------------------------------------------------------------------------------

#define INTEGERS(X)                                                                                          \
  X(FI_INT8, int8_t) X(FI_UINT8, uint8_t) X(FI_INT16, int16_t) X(FI_UINT16, uint16_t) X(FI_INT32, int32_t)   \
  X(FI_UINT32, uint32_t) X(FI_INT64, int64_t) X(FI_UINT64, uint64_t) X(FI_INT128, int128) X(FI_UINT128, uint128)
#define REALS(X) X(FI_FLOAT, float) X(FI_DOUBLE, double) X(FI_LONG_DOUBLE, long_double)
#define COMPLEXES(X)                                                     \
  X(FI_FLOAT_COMPLEX, float_complex) X(FI_DOUBLE_COMPLEX, double_complex) \
  X(FI_LONG_DOUBLE_COMPLEX, long_double_complex)

static size_t size_of(int type) {
#define SIZE(number, name) \
  case number: return sizeof(name);
  switch (type) { INTEGERS(SIZE) REALS(SIZE) COMPLEXES(SIZE) }
#undef SIZE
  return 0;
}

// What the operations that all numbers have make of a target `t`, an operand `o` and a comparand `c`.
#define NUMBER_CASES                               \
  case FI_LOR: t = (t != 0) || (o != 0); break;    \
  case FI_LAND: t = (t != 0) && (o != 0); break;   \
  case FI_LXOR: t = (t != 0) != (o != 0); break;   \
  case FI_ATOMIC_READ: break;                      \
  case FI_ATOMIC_WRITE: t = o; break;              \
  case FI_CSWAP: if (c == t) t = o; break;         \
  case FI_CSWAP_NE: if (c != t) t = o; break;
#define ORDER_CASES                                \
  case FI_MIN: if (o < t) t = o; break;            \
  case FI_MAX: if (o > t) t = o; break;            \
  case FI_CSWAP_LE: if (c <= t) t = o; break;      \
  case FI_CSWAP_LT: if (c < t) t = o; break;       \
  case FI_CSWAP_GE: if (c >= t) t = o; break;      \
  case FI_CSWAP_GT: if (c > t) t = o; break;
#define FLOAT_CASES                                \
  case FI_SUM: t = t + o; break;                   \
  case FI_PROD: t = t * o; break;                  \
  case diff: t = t - o; break;
#define BIT_CASES                                  \
  case FI_SUM: __builtin_add_overflow(t, o, &t); break;  \
  case FI_PROD: __builtin_mul_overflow(t, o, &t); break; \
  case diff: __builtin_sub_overflow(t, o, &t); break;    \
  case FI_BOR: t = t | o; break;                   \
  case FI_BAND: t = t & o; break;                  \
  case FI_BXOR: t = t ^ o; break;                  \
  case FI_MSWAP: t = (o & c) | (t & ~c); break;

#define MODEL(number, name, cases)                           \
  case number: {                                             \
    name t, o, c;                                            \
    memcpy(&t, target, sizeof t);                            \
    memcpy(&o, operand, sizeof o);                           \
    memcpy(&c, comparand, sizeof c);                         \
    switch (op) { cases default: failed("no model of %d", op); } \
    memcpy(target, &t, sizeof t);                            \
    return;                                                  \
  }
#define INTEGER_MODEL(number, name) MODEL(number, name, NUMBER_CASES ORDER_CASES BIT_CASES)
#define REAL_MODEL(number, name) MODEL(number, name, NUMBER_CASES ORDER_CASES FLOAT_CASES)
#define COMPLEX_MODEL(number, name) MODEL(number, name, NUMBER_CASES FLOAT_CASES)

// Changes one element as the operation must.
static void model(int op, int type, void *target, const void *operand, const void *comparand) {
  switch (type) { INTEGERS(INTEGER_MODEL) REALS(REAL_MODEL) COMPLEXES(COMPLEX_MODEL) }
  failed("no model of type %d", type);
}

// Elements that meet each other equal, smaller, larger, zero and negative.
static void make(int type, void *memory, size_t count, unsigned seed) {
  char *place = memory;
  size_t size = size_of(type);
  memset(memory, 0, count * size);
  for (size_t i = 0; i < count; i++, place += size) {
    unsigned mixed = (unsigned)(i * 2654435761u) ^ (seed * 40503u + (unsigned)i);
    int value = (int)(mixed >> 7 & 7) - 3;
#define INTEGER(number, name)                                                                        \
  case number: {                                                                                     \
    name v = (name)value;                                                                            \
    if (!(mixed & 0x800)) v = (name)(((uint128)value << (8 * sizeof(name) - 4)) + (mixed >> 12 & 15)); \
    memcpy(place, &v, sizeof v);                                                                     \
    break;                                                                                           \
  }
#define REAL(number, name)              \
  case number: {                        \
    name v = (name)value / 2;           \
    memcpy(place, &v, sizeof v > 10 ? 10 : sizeof v); \
    break;                              \
  }
#define COMPLEX(number, name)                     \
  case number: {                                  \
    name v = value / 2 + (value % 3) * I;         \
    memcpy(place, &v, sizeof v);                  \
    break;                                        \
  }
    switch (type) { INTEGERS(INTEGER) REALS(REAL) COMPLEXES(COMPLEX) }
  }
}

// Whether elements are the same numbers; what of a long double is padding does not count.
static bool same(int type, const void *left, const void *right, size_t count) {
  size_t size = size_of(type);
  if (type != FI_LONG_DOUBLE && type != FI_LONG_DOUBLE_COMPLEX) return memcmp(left, right, count * size) == 0;
  for (size_t i = 0; i < count * size; i += sizeof(long double)) {
    if (memcmp((const char *)left + i, (const char *)right + i, 10) != 0) return false;
  }
  return true;
}

// ---- what there is ------------------------------------------------------------------------------------------------

static bool is_compare(int op) { return op >= FI_CSWAP && op <= FI_MSWAP; }

// Whether at least one of upstream's software providers takes the operation.
static bool is_due(uint64_t class, int op, int type) {
  bool is_integer = type <= FI_UINT64 || type == FI_INT128 || type == FI_UINT128;
  bool is_real = is_integer || type == FI_FLOAT || type == FI_DOUBLE;
  if (is_compare(op) != (class == FI_COMPARE_ATOMIC) || op > FI_MSWAP) return false;
  if (op == FI_ATOMIC_READ && class == 0) return false;
  if (op == FI_BOR || op == FI_BAND || op == FI_BXOR || op == FI_MSWAP) return is_integer;
  bool orders = op == FI_MIN || op == FI_MAX || (op >= FI_CSWAP_LE && op <= FI_CSWAP_GT);
  return is_real || (type == FI_FLOAT_COMPLEX && !orders);
}

static const uint64_t classes[] = {0, FI_FETCH_ATOMIC, FI_COMPARE_ATOMIC};

static int query(struct node *node, uint64_t class, int op, int type, struct fi_atomic_attr *attributes) {
  int result = fi_query_atomic(node->domain, (enum fi_datatype)type, (enum fi_op)op, attributes, class);
  if (result == -FI_ENOSYS) unsupported("no atomic operations");
  return result;
}

static int valid(struct node *node, uint64_t class, int op, int type, size_t *count) {
  enum fi_datatype datatype = (enum fi_datatype)type;
  enum fi_op operation = (enum fi_op)op;
  if (class == FI_FETCH_ATOMIC) return fi_fetch_atomicvalid(node->ep, datatype, operation, count);
  if (class == FI_COMPARE_ATOMIC) return fi_compare_atomicvalid(node->ep, datatype, operation, count);
  return fi_atomicvalid(node->ep, datatype, operation, count);
}

static const struct setup plain = {.caps = FI_MSG | FI_RMA | FI_ATOMIC};

CASE(queries_tell_what_there_is) {
  struct node node;
  node_open(&node, &plain);
  for (size_t class = 0; class < COUNT(classes); class++) {
    for (int op = 0; op <= last_op + 1; op++) {
      for (int type = 0; type <= last_type; type++) {
        struct fi_atomic_attr attributes = {0};
        size_t count = 0;
        int result = query(&node, classes[class], op, type, &attributes);
        if (is_due(classes[class], op, type)) {
          if (result) failed("operation %d of type %d, class %zu: %d", op, type, class, result);
        }
        if (result) {
          assert_returns(result, -FI_EOPNOTSUPP);
          assert_returns(valid(&node, classes[class], op, type, &count), -FI_EOPNOTSUPP);
          continue;
        }
        assert_int_equal(attributes.size, size_of(type));
        assert_true(attributes.count > 0);
        assert_success(valid(&node, classes[class], op, type, &count));
        assert_int_equal(count, attributes.count);
      }
    }
  }
  node_close(&node);
}

CASE(queries_refuse_what_makes_no_sense) {
  struct node node;
  node_open(&node, &plain);
  struct fi_atomic_attr attributes;
  assert_success(query(&node, 0, FI_SUM, FI_UINT64, &attributes));
  assert_success(query(&node, 0, FI_SUM, FI_UINT64, NULL));
  assert_fails(query(&node, FI_FETCH_ATOMIC | FI_COMPARE_ATOMIC, FI_CSWAP, FI_UINT64, &attributes));
  assert_fails(query(&node, FI_RECV, FI_SUM, FI_UINT64, &attributes));
  static const int types[] = {20, 255, 256, 65536, INT32_MAX};
  for (size_t i = 0; i < COUNT(types); i++) {
    assert_returns(query(&node, 0, FI_SUM, types[i], &attributes), -FI_EOPNOTSUPP);
    assert_returns(query(&node, 0, types[i], FI_UINT64, &attributes), -FI_EOPNOTSUPP);
  }
  node_close(&node);
}

static void expect_done(struct pair *pair, void *context, uint64_t flags) {
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(pair->a.tx_cq, &entry);
  assert_ptr_equal(entry.op_context, context);
  uint64_t kinds = FI_ATOMIC | FI_RMA | FI_READ | FI_WRITE | FI_SEND | FI_MSG;
  assert_int_equal(entry.flags & kinds, FI_ATOMIC | flags);
}

// ---- every operation on every type --------------------------------------------------------------------------------

static void start(struct pair *pair, uint64_t class, int op, int type, size_t count, struct region *target,
                  size_t offset, char *operand, char *comparand, char *result) {
  enum fi_datatype datatype = (enum fi_datatype)type;
  enum fi_op operation = (enum fi_op)op;
  uint64_t address = target->base + offset;
  if (class == FI_FETCH_ATOMIC) {
    post(fi_fetch_atomic(pair->a.ep, op == FI_ATOMIC_READ ? NULL : operand, count, NULL, result, NULL, pair->to_b,
                         address, target->key, datatype, operation, &slot[1]));
  } else if (class == FI_COMPARE_ATOMIC) {
    post(fi_compare_atomic(pair->a.ep, operand, count, NULL, comparand, NULL, result, NULL, pair->to_b, address,
                           target->key, datatype, operation, &slot[1]));
  } else {
    post(fi_atomic(pair->a.ep, operand, count, NULL, pair->to_b, address, target->key, datatype, operation, &slot[1]));
  }
}

// One operation on `count` elements at an offset, and what it did to everything around.
static void try_operation(struct pair *pair, uint64_t class, int op, int type, size_t count, struct region *target,
                          size_t offset) {
  static _Alignas(16) char operand[room], comparand[room], result[room], former[room], wanted[room];
  size_t size = size_of(type), length = count * size;
  memset(target->memory, 0xee, room);
  memset(result, 0x77, room);
  make(type, former, count, 1);
  make(type, operand, count, 2);
  make(type, comparand, count, 3);
  memcpy(target->memory + offset, former, length);
  memcpy(wanted, former, length);
  for (size_t i = 0; i < count; i++) model(op, type, wanted + i * size, operand + i * size, comparand + i * size);
  start(pair, class, op, type, count, target, offset, operand, comparand, result);
  expect_done(pair, &slot[1], class ? FI_READ : FI_WRITE);
  double deadline = deadline_after(DEFAULT_WAIT);
  while (!same(type, target->memory + offset, wanted, count) && seconds() < deadline) drive_progress();
  if (!same(type, target->memory + offset, wanted, count)) {
    failed("operation %d on %zu elements of type %d did something else", op, count, type);
  }
  verify_bytes(target->memory, offset, 0xee);
  verify_bytes(target->memory + offset + length, room - offset - length, 0xee);
  if (class && !same(type, result, former, count)) {
    failed("operation %d on %zu elements of type %d returned something else", op, count, type);
  }
  verify_bytes(result + (class ? length : 0), room - (class ? length : 0), 0x77);
}

static void every_operation(uint64_t class, const struct setup *setup, size_t misalignment) {
  struct pair pair;
  pair_open(&pair, setup);
  struct region target;
  region_open(&target, &pair.b, room, all_rights, 77);
  int tried = 0;
  for (int op = 0; op <= last_op; op++) {
    for (int type = 0; type <= last_type; type++) {
      struct fi_atomic_attr attributes = {0};
      if (query(&pair.a, class, op, type, &attributes)) continue;
      size_t count = attributes.count < 40 ? attributes.count : 40;
      try_operation(&pair, class, op, type, count, &target, misalignment ? misalignment : 48);
      try_operation(&pair, class, op, type, 1, &target, misalignment ? misalignment : 64);
      tried++;
    }
  }
  assert_true(tried > 0);
  expect_quiet(pair.b.rx_cq, 5);
  region_close(&target);
  pair_close(&pair);
}

CASE(base_operations) { every_operation(0, &plain, 0); }
CASE(fetch_operations) { every_operation(FI_FETCH_ATOMIC, &plain, 0); }
CASE(compare_operations) { every_operation(FI_COMPARE_ATOMIC, &plain, 0); }
CASE(operations_on_unaligned_memory) { every_operation(FI_FETCH_ATOMIC, &plain, 13); }
CASE(operations_by_virtual_address) {
  every_operation(0, &(struct setup){.caps = FI_ATOMIC, .mr_mode = 1}, 0);
}
CASE(operations_within_one_domain) {
  every_operation(FI_COMPARE_ATOMIC, &(struct setup){.caps = FI_ATOMIC, .same_domain = true}, 0);
}
CASE(operations_with_automatic_progress) {
  every_operation(FI_FETCH_ATOMIC, &(struct setup){.caps = FI_ATOMIC, .progress = FI_PROGRESS_AUTO}, 0);
}

// As many elements as the query names, and a few counts around what one datagram carries.
CASE(operations_of_every_length) {
  struct pair pair;
  pair_open(&pair, &plain);
  struct region target;
  region_open(&target, &pair.b, room, all_rights, 77);
  static const int types[] = {FI_UINT8, FI_INT16, FI_UINT64, FI_DOUBLE, FI_FLOAT_COMPLEX};
  static const int ops[] = {FI_SUM, FI_SUM, FI_CSWAP_NE};
  for (size_t class = 0; class < COUNT(classes); class++) {
    for (size_t i = 0; i < COUNT(types); i++) {
      struct fi_atomic_attr attributes = {0};
      if (query(&pair.a, classes[class], ops[class], types[i], &attributes)) continue;
      size_t most = room / 2 / attributes.size;
      if (most > attributes.count) most = attributes.count;
      const size_t counts[] = {2, 3, 17, 70, 130, 139, 145, 290, 500, 1100, most - 1, most};
      for (size_t j = 0; j < COUNT(counts); j++) {
        if (counts[j] <= most) try_operation(&pair, classes[class], ops[class], types[i], counts[j], &target, 32);
      }
    }
  }
  region_close(&target);
  pair_close(&pair);
}

CASE(more_than_the_limit_is_refused) {
  struct pair pair;
  pair_open(&pair, &plain);
  struct fi_atomic_attr attributes = {0};
  assert_success(query(&pair.a, 0, FI_SUM, FI_UINT64, &attributes));
  uint64_t *memory = allocate((attributes.count + 1) * 8);
  static const size_t far[] = {SIZE_MAX, SIZE_MAX / 8 + 1, (size_t)1 << 61};
  assert_fails(fi_atomic(pair.a.ep, memory, attributes.count + 1, NULL, pair.to_b, 0, 1, FI_UINT64, FI_SUM, &slot[0]));
  for (size_t i = 0; i < COUNT(far); i++) {
    assert_fails(fi_atomic(pair.a.ep, memory, far[i], NULL, pair.to_b, 0, 1, FI_UINT64, FI_SUM, &slot[0]));
    assert_fails(fi_fetch_atomic(pair.a.ep, memory, far[i], NULL, memory, NULL, pair.to_b, 0, 1, FI_UINT64,
                                 FI_ATOMIC_READ, &slot[0]));
  }
  expect_quiet(pair.a.tx_cq, 5);
  free(memory);
  pair_close(&pair);
}

// ---- vectors ------------------------------------------------------------------------------------------------------

CASE(local_vectors) {
  struct pair pair;
  pair_open(&pair, &plain);
  if (pair.a.info->tx_attr->iov_limit < 3) unsupported("iov_limit below 3");
  struct region target;
  region_open(&target, &pair.b, room, all_rights, 77);
  uint64_t operand[10], comparand[10], result[10], *memory = (uint64_t *)target.memory;
  for (uint64_t i = 0; i < 10; i++) {
    memory[i] = i;
    operand[i] = 100 + i;
    comparand[i] = i % 2 ? i : 99;
  }
  struct fi_ioc from[3] = {{operand, 1}, {operand + 1, 6}, {operand + 7, 3}};
  struct fi_ioc with[2] = {{comparand, 9}, {comparand + 9, 1}};
  struct fi_ioc to[3] = {{result + 5, 5}, {result, 2}, {result + 2, 3}};
  post(fi_compare_atomicv(pair.a.ep, from, NULL, 3, with, NULL, 2, to, NULL, 3, pair.to_b, target.base, target.key,
                          FI_UINT64, FI_CSWAP, &slot[0]));
  expect_done(&pair, &slot[0], FI_READ);
  for (uint64_t i = 0; i < 10; i++) {
    assert_int_equal(memory[i], i % 2 ? 100 + i : i);
    assert_int_equal(result[i], (i + 5) % 10);
  }
  post(fi_fetch_atomicv(pair.a.ep, from, NULL, 3, to, NULL, 3, pair.to_b, target.base, target.key, FI_UINT64,
                        FI_ATOMIC_WRITE, &slot[1]));
  expect_done(&pair, &slot[1], FI_READ);
  for (uint64_t i = 0; i < 10; i++) {
    assert_int_equal(memory[i], 100 + i);
    assert_int_equal(result[(i + 5) % 10], i % 2 ? 100 + i : i);
  }
  post(fi_atomicv(pair.a.ep, from, NULL, 3, pair.to_b, target.base, target.key, FI_UINT64, FI_SUM, &slot[2]));
  expect_done(&pair, &slot[2], FI_WRITE);
  wait_until(((volatile uint64_t *)memory)[9] == 218);
  for (uint64_t i = 0; i < 10; i++) assert_int_equal(memory[i], 200 + 2 * i);
  post(fi_fetch_atomicv(pair.a.ep, NULL, NULL, 0, to, NULL, 3, pair.to_b, target.base, target.key, FI_UINT64,
                        FI_ATOMIC_READ, &slot[3]));
  expect_done(&pair, &slot[3], FI_READ);
  for (uint64_t i = 0; i < 10; i++) assert_int_equal(result[(i + 5) % 10], 200 + 2 * i);
  region_close(&target);
  pair_close(&pair);
}

CASE(remote_vectors) {
  struct pair pair;
  pair_open(&pair, &plain);
  if (pair.a.info->tx_attr->rma_iov_limit < 3) unsupported("rma_iov_limit below 3");
  struct region targets[2];
  region_open(&targets[0], &pair.b, room, all_rights, 77);
  region_over(&targets[1], &pair.b, allocate(room), room, all_rights, 78, 0);
  memset(targets[0].memory, 0, room);
  memset(targets[1].memory, 0, room);
  uint32_t operand[400], result[400], one[400];
  for (uint32_t i = 0; i < 400; i++) {
    operand[i] = i;
    one[i] = 1;
  }
  struct fi_ioc from = {operand, 400}, to = {result, 400}, ones = {one, 400};
  // The last piece comes back to the first one's memory: it finds what that left there.
  struct fi_rma_ioc remote[3] = {{targets[0].base + 4, 100, targets[0].key},
                                 {targets[1].base, 250, targets[1].key},
                                 {targets[0].base + 4, 50, targets[0].key}};
  struct fi_msg_atomic message = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .rma_iov = remote,
                                  .rma_iov_count = 3, .datatype = FI_UINT32, .op = FI_SUM, .context = &slot[0]};
  post(fi_fetch_atomicmsg(pair.a.ep, &message, &to, NULL, 1, FI_COMPLETION));
  expect_done(&pair, &slot[0], FI_READ);
  uint32_t *first = (uint32_t *)targets[0].memory, *second = (uint32_t *)targets[1].memory;
  for (uint32_t i = 0; i < 100; i++) assert_int_equal(first[1 + i], i < 50 ? i + 350 + i : i);
  for (uint32_t i = 0; i < 250; i++) assert_int_equal(second[i], 100 + i);
  for (uint32_t i = 0; i < 400; i++) assert_int_equal(result[i], i < 350 ? 0 : i - 350);
  assert_int_equal(first[0] + first[101] + second[250], 0);
  message.op = FI_CSWAP_NE;
  message.rma_iov_count = 1;
  remote[0].count = 400;
  message.context = &slot[1];
  post(fi_compare_atomicmsg(pair.a.ep, &message, &ones, NULL, 1, &to, NULL, 1, FI_COMPLETION));
  expect_done(&pair, &slot[1], FI_READ);
  for (uint32_t i = 0; i < 400; i++) {
    assert_int_equal(result[i], i < 50 ? 350 + 2 * i : i < 100 ? i : 0);
    assert_int_equal(first[1 + i], operand[i]);
  }
  region_close(&targets[1]);
  region_close(&targets[0]);
  pair_close(&pair);
}

CASE(elements_in_several_buffers) {
  struct pair pair;
  pair_open(&pair, &plain);
  if (pair.b.info->domain_attr->mr_iov_limit < 3) unsupported("mr_iov_limit below 3");
  char *first = allocate(13), *second = allocate(6), *third = allocate(61);
  struct iovec parts[3] = {{first, 13}, {second, 6}, {third, 61}};
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_regv(pair.b.domain, parts, 3, all_rights, 0, 3, 0, &mr, NULL));
  uint64_t before[10], operand[10], result[10], after[10];
  for (uint64_t i = 0; i < 10; i++) {
    before[i] = UINT64_C(0x0102030405060708) * (i + 1);
    operand[i] = UINT64_C(0x1011121314151617) + i;
  }
  memcpy(first, before, 13);
  memcpy(second, (char *)before + 13, 6);
  memcpy(third, (char *)before + 19, 61);
  post(fi_fetch_atomic(pair.a.ep, operand, 10, NULL, result, NULL, pair.to_b, 0, fi_mr_key(mr), FI_UINT64, FI_SUM,
                       &slot[0]));
  expect_done(&pair, &slot[0], FI_READ);
  memcpy(after, first, 13);
  memcpy((char *)after + 13, second, 6);
  memcpy((char *)after + 19, third, 61);
  for (int i = 0; i < 10; i++) {
    assert_true(result[i] == before[i]);
    assert_true(after[i] == before[i] + operand[i]);
  }
  close_fid(mr);
  free(first);
  free(second);
  free(third);
  pair_close(&pair);
}

// ---- injection, completions ---------------------------------------------------------------------------------------

CASE(injected_operands_may_be_reused) {
  struct pair pair;
  pair_open(&pair, &plain);
  struct region target;
  region_open(&target, &pair.b, room, all_rights, 77);
  memset(target.memory, 0, room);
  uint64_t operand[4];
  for (uint64_t round = 1; round <= 100; round++) {
    for (uint64_t i = 0; i < 4; i++) operand[i] = round * (i + 1);
    post(fi_inject_atomic(pair.a.ep, operand, 4, pair.to_b, target.base, target.key, FI_UINT64, FI_SUM));
    memset(operand, 0xff, sizeof operand);
  }
  struct fi_ioc from = {operand, 1};
  struct fi_rma_ioc remote = {target.base + 32, 1, target.key};
  struct fi_msg_atomic message = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .rma_iov = &remote,
                                  .rma_iov_count = 1, .datatype = FI_UINT64, .op = FI_SUM, .context = &slot[0]};
  operand[0] = 5;
  post(fi_atomicmsg(pair.a.ep, &message, FI_INJECT | FI_COMPLETION));
  operand[0] = 6;
  expect_done(&pair, &slot[0], FI_WRITE);
  volatile uint64_t *memory = (uint64_t *)target.memory;
  wait_until(memory[4] == 5);
  for (uint64_t i = 0; i < 4; i++) assert_int_equal(memory[i], 5050 * (i + 1));
  expect_quiet(pair.a.tx_cq, 5);
  size_t limit = pair.a.info->tx_attr->inject_size / 8;
  uint64_t *large = allocate((limit + 1) * 8);
  assert_fails(fi_inject_atomic(pair.a.ep, large, limit + 1, pair.to_b, target.base, target.key, FI_UINT64, FI_SUM));
  free(large);
  region_close(&target);
  pair_close(&pair);
}

CASE(selective_completions) {
  struct setup setup = plain;
  setup.tx_bind_flags = FI_SELECTIVE_COMPLETION;
  struct pair pair;
  pair_open(&pair, &setup);
  struct region target;
  region_open(&target, &pair.b, room, all_rights, 77);
  memset(target.memory, 0, room);
  uint64_t one = 1, result = 0;
  struct fi_ioc from = {&one, 1}, to = {&result, 1};
  struct fi_rma_ioc remote = {target.base, 1, target.key};
  struct fi_msg_atomic message = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .rma_iov = &remote,
                                  .rma_iov_count = 1, .datatype = FI_UINT64, .op = FI_SUM, .context = &slot[2]};
  post(fi_atomic(pair.a.ep, &one, 1, NULL, pair.to_b, target.base, target.key, FI_UINT64, FI_SUM, &slot[0]));
  post(fi_atomicmsg(pair.a.ep, &message, 0));
  post(fi_fetch_atomicmsg(pair.a.ep, &message, &to, NULL, 1, FI_COMPLETION | FI_DELIVERY_COMPLETE));
  expect_done(&pair, &slot[2], FI_READ);
  wait_until(*(volatile uint64_t *)target.memory == 3);
  expect_quiet(pair.a.tx_cq, 5);
  assert_int_equal(result, 2);
  region_close(&target);
  pair_close(&pair);
}

CASE(completion_data_is_told_at_the_target) {
  struct pair pair;
  pair_open(&pair, &plain);
  struct region target;
  region_open(&target, &pair.b, room, all_rights, 77);
  memset(target.memory, 0, room);
  static uint64_t operand[300], result[300];
  struct fi_ioc from = {operand, 300}, to = {result, 300};
  struct fi_rma_ioc remote = {target.base, 300, target.key};
  struct fi_msg_atomic message = {.msg_iov = &from, .iov_count = 1, .addr = pair.to_b, .rma_iov = &remote,
                                  .rma_iov_count = 1, .datatype = FI_UINT64, .op = FI_SUM, .context = &slot[0]};
  for (size_t i = 0; i < 300; i++) operand[i] = i;
  message.data = UINT64_C(0xf000000000000001);
  post(fi_atomicmsg(pair.a.ep, &message, FI_COMPLETION | FI_REMOTE_CQ_DATA));
  struct fi_cq_tagged_entry entry = {.op_context = &slot[9]};
  wait_completion(pair.b.rx_cq, &entry);
  assert_true((entry.flags & FI_REMOTE_CQ_DATA) != 0);
  assert_int_equal(entry.flags & (FI_ATOMIC | FI_RMA | FI_REMOTE_WRITE | FI_REMOTE_READ), FI_ATOMIC | FI_REMOTE_WRITE);
  assert_true(entry.data == message.data);
  for (uint64_t i = 0; i < 300; i++) assert_int_equal(((uint64_t *)target.memory)[i], i);
  expect_done(&pair, &slot[0], FI_WRITE);
  message.data = 7;
  post(fi_fetch_atomicmsg(pair.a.ep, &message, &to, NULL, 1, FI_COMPLETION | FI_REMOTE_CQ_DATA));
  wait_completion(pair.b.rx_cq, &entry);
  assert_int_equal(entry.data, 7);
  assert_int_equal(entry.flags & (FI_ATOMIC | FI_RMA), FI_ATOMIC);
  expect_done(&pair, &slot[0], FI_READ);
  region_close(&target);
  pair_close(&pair);
}

// ---- what is refused ----------------------------------------------------------------------------------------------

CASE(calls_that_make_no_sense_are_refused) {
  struct pair pair;
  pair_open(&pair, &plain);
  uint64_t one[2] = {1, 1}, result[2];
  struct fid_ep *ep = pair.a.ep;
  fi_addr_t peer = pair.to_b;
  // No such operation.
  assert_returns(fi_atomic(ep, one, 1, NULL, peer, 0, 1, FI_UINT64, FI_ATOMIC_READ, &slot[0]), -FI_EOPNOTSUPP);
  assert_returns(fi_atomic(ep, one, 1, NULL, peer, 0, 1, FI_DOUBLE, FI_BOR, &slot[0]), -FI_EOPNOTSUPP);
  assert_returns(fi_inject_atomic(ep, one, 1, peer, 0, 1, FI_UINT64, FI_CSWAP), -FI_EOPNOTSUPP);
  assert_returns(fi_fetch_atomic(ep, one, 1, NULL, result, NULL, peer, 0, 1, FI_UINT64, FI_CSWAP, &slot[0]),
                 -FI_EOPNOTSUPP);
  assert_returns(fi_compare_atomic(ep, one, 1, NULL, one, NULL, result, NULL, peer, 0, 1, FI_UINT64, FI_SUM, &slot[0]),
                 -FI_EOPNOTSUPP);
  assert_returns(fi_atomic(ep, one, 1, NULL, peer, 0, 1, (enum fi_datatype)300, FI_SUM, &slot[0]), -FI_EOPNOTSUPP);
  assert_returns(fi_atomic(ep, one, 1, NULL, peer, 0, 1, FI_UINT64, (enum fi_op)300, &slot[0]), -FI_EOPNOTSUPP);
  // Between 1 and the maximum, says the man page.
  assert_fails(fi_atomic(ep, one, 0, NULL, peer, 0, 1, FI_UINT64, FI_SUM, &slot[0]));
  assert_fails(fi_fetch_atomic(ep, one, 0, NULL, result, NULL, peer, 0, 1, FI_UINT64, FI_SUM, &slot[0]));
  // Vectors that do not go together.
  struct fi_ioc two = {one, 2}, single = {one, 1}, to = {result, 1};
  struct fi_rma_ioc remote = {0, 2, 1};
  struct fi_msg_atomic message = {.msg_iov = &single, .iov_count = 1, .addr = peer, .rma_iov = &remote,
                                  .rma_iov_count = 1, .datatype = FI_UINT64, .op = FI_SUM, .context = &slot[0]};
  assert_fails(fi_atomicmsg(ep, &message, 0));
  message.msg_iov = &two;
  assert_fails(fi_fetch_atomicmsg(ep, &message, &to, NULL, 1, 0));
  message.op = FI_CSWAP;
  assert_fails(fi_compare_atomicmsg(ep, &message, &single, NULL, 1, &two, NULL, 1, 0));
  message.op = FI_SUM;
  message.rma_iov_count = pair.a.info->tx_attr->rma_iov_limit + 1;
  assert_fails(fi_atomicmsg(ep, &message, 0));
  message.rma_iov_count = 0;
  assert_fails(fi_atomicmsg(ep, &message, 0));
  message.rma_iov_count = 1;
  message.iov_count = pair.a.info->tx_attr->iov_limit + 1;
  assert_fails(fi_atomicmsg(ep, &message, 0));
  assert_fails(fi_atomicv(ep, &two, NULL, 0, peer, 0, 1, FI_UINT64, FI_SUM, &slot[0]));
  assert_fails(fi_atomic(ep, one, 1, NULL, 12345, 0, 1, FI_UINT64, FI_SUM, &slot[0]));
  expect_quiet(pair.a.tx_cq, 5);
  pair_close(&pair);
}

static void expect_refusal(struct pair *pair, uint64_t flags) {
  struct fi_cq_err_entry error = {0};
  wait_error(pair->a.tx_cq, &error);
  assert_ptr_equal(error.op_context, &slot[5]);
  assert_int_equal(error.err, FI_EACCES);
  assert_int_equal(error.flags & (FI_ATOMIC | FI_READ | FI_WRITE), FI_ATOMIC | flags);
}

CASE(access_is_checked) {
  struct pair pair;
  pair_open(&pair, &plain);
  struct region target, readable, writable;
  region_open(&target, &pair.b, room, all_rights, 77);
  region_over(&readable, &pair.b, allocate(room), room, FI_REMOTE_READ, 78, 0);
  region_over(&writable, &pair.b, allocate(room), room, FI_REMOTE_WRITE, 79, 0);
  memset(readable.memory, 0xee, room);
  memset(writable.memory, 0xee, room);
  static uint64_t one[500], result[500];
  memset(result, 0x77, sizeof result);
  struct fid_ep *ep = pair.a.ep;
  fi_addr_t peer = pair.to_b;
  struct {
    uint64_t address, key;
  } places[] = {{target.base, 4711},
                {target.base + room - 7, target.key},
                {target.base + room, target.key},
                {target.base - 1, target.key},
                {UINT64_MAX - 3, target.key},
                {readable.base, readable.key}};
  for (size_t i = 0; i < COUNT(places); i++) {
    for (size_t count = 1; count <= 500; count += 499) {
      post(fi_atomic(ep, one, count, NULL, peer, places[i].address, places[i].key, FI_UINT64, FI_SUM, &slot[5]));
      expect_refusal(&pair, FI_WRITE);
      post(fi_fetch_atomic(ep, one, count, NULL, result, NULL, peer, places[i].address, places[i].key, FI_UINT64,
                           FI_SUM, &slot[5]));
      expect_refusal(&pair, FI_READ);
    }
  }
  post(fi_fetch_atomic(ep, NULL, 1, NULL, result, NULL, peer, writable.base, writable.key, FI_UINT64, FI_ATOMIC_READ,
                       &slot[5]));
  expect_refusal(&pair, FI_READ);
  verify_bytes(result, sizeof result, 0x77);
  verify_bytes(target.memory, room, 0xee);
  verify_bytes(readable.memory, room, 0xee);
  verify_bytes(writable.memory, room, 0xee);
  // What is permitted.
  post(fi_fetch_atomic(ep, NULL, 1, NULL, result, NULL, peer, readable.base, readable.key, FI_UINT64, FI_ATOMIC_READ,
                       &slot[0]));
  expect_done(&pair, &slot[0], FI_READ);
  verify_bytes(result, 8, 0xee);
  one[0] = 1;
  post(fi_atomic(ep, one, 1, NULL, peer, writable.base, writable.key, FI_UINT64, FI_ATOMIC_WRITE, &slot[1]));
  expect_done(&pair, &slot[1], FI_WRITE);
  wait_until(*(volatile uint64_t *)writable.memory == 1);
  region_close(&writable);
  region_close(&readable);
  region_close(&target);
  pair_close(&pair);
}

// A region that is closed is gone, whatever is under way.
CASE(closed_regions_are_out_of_reach) {
  struct pair pair;
  pair_open(&pair, &plain);
  struct region target;
  region_open(&target, &pair.b, room, all_rights, 77);
  uint64_t one = 1, result;
  char *memory = target.memory;
  post(fi_fetch_atomic(pair.a.ep, &one, 1, NULL, &result, NULL, pair.to_b, target.base, target.key, FI_UINT64, FI_SUM,
                       &slot[0]));
  expect_done(&pair, &slot[0], FI_READ);
  close_fid(target.mr);
  post(fi_fetch_atomic(pair.a.ep, &one, 1, NULL, &result, NULL, pair.to_b, target.base, target.key, FI_UINT64, FI_SUM,
                       &slot[5]));
  expect_refusal(&pair, FI_READ);
  free(memory);
  pair_close(&pair);
}

static struct fid_ep *unready;
static void try_before_enable(struct node *node) {
  if (unready) return;
  unready = node->ep;
  uint64_t one = 1;
  assert_fails(fi_atomic(node->ep, &one, 1, NULL, 0, 0, 0, FI_UINT64, FI_SUM, NULL));
  assert_fails(fi_inject_atomic(node->ep, &one, 1, 0, 0, 0, FI_UINT64, FI_SUM));
}

CASE(endpoints_must_be_enabled) {
  struct setup setup = plain;
  setup.before_enable = try_before_enable;
  struct pair pair;
  pair_open(&pair, &setup);
  assert_non_null(unready);
  pair_close(&pair);
}

// ---- capabilities -------------------------------------------------------------------------------------------------

CASE(capabilities_are_answered) {
  struct fi_info *info = find_info(&(struct setup){.caps = FI_ATOMIC});
  uint64_t implied = FI_ATOMIC | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE;
  assert_int_equal(info->caps & implied, implied);
  assert_int_equal(info->tx_attr->caps & (FI_ATOMIC | FI_READ | FI_WRITE), FI_ATOMIC | FI_READ | FI_WRITE);
  assert_int_equal(info->rx_attr->caps & FI_ATOMIC, FI_ATOMIC);
  assert_int_equal(info->caps & (FI_RMA | FI_MSG | FI_TAGGED), 0);
  fi_freeinfo(info);
  info = find_info(&(struct setup){.caps = FI_MSG});
  assert_int_equal(info->caps & FI_ATOMIC, 0);
  fi_freeinfo(info);
}

CASE(order_of_atomics_is_offered) {
  struct setup setup = plain;
  setup.msg_order =
      FI_ORDER_ATOMIC_RAR | FI_ORDER_ATOMIC_RAW | FI_ORDER_ATOMIC_WAR | FI_ORDER_ATOMIC_WAW;
  struct fi_info *info = find_info(&setup);
  assert_int_equal(info->tx_attr->msg_order & setup.msg_order, setup.msg_order);
  assert_int_equal(info->rx_attr->msg_order & setup.msg_order, setup.msg_order);
  fi_freeinfo(info);
}

// ---- order and atomicity ------------------------------------------------------------------------------------------

CASE(each_is_done_once_and_in_order) {
  struct pair pair;
  pair_open(&pair, &plain);
  struct region target;
  region_open(&target, &pair.b, room, all_rights, 77);
  memset(target.memory, 0, room);
  enum { rounds = 1000 };
  static uint64_t results[rounds];
  uint64_t one = 1;
  size_t done = 0;
  for (size_t i = 0; i < rounds; i++) {
    post(fi_fetch_atomic(pair.a.ep, &one, 1, NULL, &results[i], NULL, pair.to_b, target.base, target.key, FI_UINT64,
                         FI_SUM, &slot[0]));
    if (i - done >= 100) {
      wait_for(pair.a.tx_cq, &slot[0]);
      done++;
    }
  }
  for (; done < rounds; done++) wait_for(pair.a.tx_cq, &slot[0]);
  for (size_t i = 0; i < rounds; i++) assert_int_equal(results[i], i);
  assert_int_equal(*(uint64_t *)target.memory, rounds);
  region_close(&target);
  pair_close(&pair);
}

// Writes, reads and atomic operations on the same words see each other's results in the order of the calls.
CASE(writes_and_reads_are_ordered_with_atomics) {
  struct pair pair;
  pair_open(&pair, &plain);
  if ((pair.a.info->tx_attr->msg_order & (FI_ORDER_RAW | FI_ORDER_WAW)) != (FI_ORDER_RAW | FI_ORDER_WAW)) {
    unsupported("neither reads nor writes are ordered");
  }
  enum { length = 300000 };
  struct region target;
  region_over(&target, &pair.b, allocate(length), length, all_rights, 1, 0);
  static const size_t sizes[] = {8, 2000, 60000, length};
  char *out = allocate(length);
  for (size_t i = 0; i < COUNT(sizes); i++) {
    uint64_t first = 1000 + i, add = 5, fetched = 0, read = 0;
    memset(out, 0, length);
    memcpy(out, &first, sizeof first);
    post(fi_write(pair.a.ep, out, sizes[i], NULL, pair.to_b, target.base, target.key, &slot[0]));
    post(fi_fetch_atomic(pair.a.ep, &add, 1, NULL, &fetched, NULL, pair.to_b, target.base, target.key, FI_UINT64,
                         FI_SUM, &slot[1]));
    post(fi_atomic(pair.a.ep, &add, 1, NULL, pair.to_b, target.base, target.key, FI_UINT64, FI_PROD, &slot[2]));
    post(fi_read(pair.a.ep, &read, sizeof read, NULL, pair.to_b, target.base, target.key, &slot[3]));
    wait_for_all(pair.a.tx_cq, slot, 4);
    assert_int_equal(fetched, first);
    assert_int_equal(read, (first + 5) * 5);
  }
  free(out);
  region_close(&target);
  pair_close(&pair);
}

// Two processes add to one word of a third; a lock of compare-and-swap guards another.
static void two_initiators(struct team *team) {
  enum { rounds = 200 };
  struct node node;
  node_open(&node, &plain);
  fi_addr_t peers[TEAM_MAX];
  struct region target = {0};
  static uint64_t words[3];
  if (team->rank == 0) {
    region_over(&target, &node, words, sizeof words, all_rights, 5, 0);
    atomic_store(team_word(team, 0, 0), target.base);
    atomic_store(team_word(team, 0, 1), target.key);
  }
  team_connect(team, &node, peers);
  uint64_t base = atomic_load(team_word(team, 0, 0)), key = atomic_load(team_word(team, 0, 1));
  if (team->rank != 0) {
    uint64_t one = 1, zero = 0, previous = 0, result = 0, last = 0;
    for (int i = 0; i < rounds; i++) {
      post(fi_fetch_atomic(node.ep, &one, 1, NULL, &result, NULL, peers[0], base, key, FI_UINT64, FI_SUM, &slot[0]));
      wait_for(node.tx_cq, &slot[0]);
      assert_true(i == 0 || result > last);
      last = result;
    }
    for (int i = 0; i < rounds / 8; i++) {
      do {
        post(fi_compare_atomic(node.ep, &one, 1, NULL, &zero, NULL, &previous, NULL, peers[0], base + 8, key,
                               FI_UINT64, FI_CSWAP, &slot[1]));
        wait_for(node.tx_cq, &slot[1]);
      } while (previous != 0);
      uint64_t value = 0;
      post(fi_read(node.ep, &value, 8, NULL, peers[0], base + 16, key, &slot[2]));
      wait_for(node.tx_cq, &slot[2]);
      value++;
      post(fi_atomic(node.ep, &value, 1, NULL, peers[0], base + 16, key, FI_UINT64, FI_ATOMIC_WRITE, &slot[3]));
      post(fi_atomic(node.ep, &zero, 1, NULL, peers[0], base + 8, key, FI_UINT64, FI_ATOMIC_WRITE, &slot[4]));
      wait_for_all(node.tx_cq, &slot[3], 2);
    }
  }
  team_barrier(team);
  if (team->rank == 0) {
    assert_int_equal(words[0], 2 * rounds);
    assert_int_equal(words[1], 0);
    assert_int_equal(words[2], 2 * (rounds / 8));
    close_fid(target.mr);
  }
  team_barrier(team);
  node_close(&node);
}

CASE(two_initiators_disturb_each_other_not) { team_run(3, two_initiators); }

// The same memory behind two domains, whose progress threads both work on it.
CASE(two_domains_share_memory) {
  struct setup setup = plain;
  setup.progress = FI_PROGRESS_AUTO;
  struct pair pairs[2];
  struct region targets[2];
  static int128 sum[64], one[64];
  for (int i = 0; i < 64; i++) one[i] = 1;
  for (int i = 0; i < 2; i++) {
    pair_open(&pairs[i], &setup);
    struct fi_atomic_attr attributes;
    if (query(&pairs[i].a, 0, FI_SUM, FI_INT128, &attributes)) unsupported("no 128-bit integers");
    unwatch_cq(pairs[i].b.tx_cq);
    unwatch_cq(pairs[i].b.rx_cq);
    region_over(&targets[i], &pairs[i].b, sum, sizeof sum, all_rights, 9, 0);
  }
  enum { rounds = 1500 };
  for (int round = 0; round < rounds; round++) {
    for (int i = 0; i < 2; i++) {
      post(fi_inject_atomic(pairs[i].a.ep, one, 64, pairs[i].to_b, targets[i].base, targets[i].key, FI_INT128, FI_SUM));
    }
  }
  wait_until(*(volatile uint64_t *)&sum[63] == 2 * rounds);
  for (int i = 0; i < 64; i++) assert_true(sum[i] == 2 * rounds);
  for (int i = 0; i < 2; i++) {
    watch_cq(pairs[i].b.tx_cq);
    watch_cq(pairs[i].b.rx_cq);
    close_fid(targets[i].mr);
    pair_close(&pairs[i]);
  }
}

CASE(own_memory) {
  struct node node;
  node_open(&node, &plain);
  fi_addr_t self = node_insert(&node, node.address);
  struct region target;
  region_open(&target, &node, room, all_rights, 77);
  static uint64_t operand[400], result[400];
  memset(target.memory, 0, room);
  for (uint64_t i = 0; i < 400; i++) operand[i] = i;
  for (uint64_t round = 0; round < 3; round++) {
    post(fi_fetch_atomic(node.ep, operand, 400, NULL, result, NULL, self, target.base, target.key, FI_UINT64, FI_SUM,
                         &slot[0]));
    wait_for(node.tx_cq, &slot[0]);
    for (uint64_t i = 0; i < 400; i++) assert_int_equal(result[i], i * round);
  }
  region_close(&target);
  node_close(&node);
}

// ---- counters -----------------------------------------------------------------------------------------------------

static struct fid_cntr *counters[2][4];
static int counted;

static void bind_counters(struct node *node) {
  static const uint64_t kinds[] = {FI_READ, FI_WRITE, FI_REMOTE_READ, FI_REMOTE_WRITE};
  for (int i = 0; i < 4; i++) {
    struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP};
    assert_offered(fi_cntr_open(node->domain, &attributes, &counters[counted][i], NULL));
    assert_success(fi_ep_bind(node->ep, &counters[counted][i]->fid, kinds[i]));
  }
  counted++;
}

// Returning something makes a read of an operation, whatever it does to the memory; to the region it is a write all the
// same.
CASE(counters_count_each_kind) {
  struct setup setup = plain;
  setup.caps |= FI_RMA_EVENT;
  setup.before_enable = bind_counters;
  struct pair pair;
  pair_open(&pair, &setup);
  struct region target;
  region_open(&target, &pair.b, room, all_rights, 77);
  struct fid_cntr *changes;
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP};
  assert_success(fi_cntr_open(pair.b.domain, &attributes, &changes, NULL));
  assert_success(fi_mr_bind(target.mr, &changes->fid, FI_REMOTE_WRITE));
  uint64_t one = 1, result;
  for (int i = 0; i < 3; i++) {
    post(fi_atomic(pair.a.ep, &one, 1, NULL, pair.to_b, target.base, target.key, FI_UINT64, FI_SUM, &slot[0]));
    wait_for(pair.a.tx_cq, &slot[0]);
  }
  for (int i = 0; i < 2; i++) {
    post(fi_fetch_atomic(pair.a.ep, &one, 1, NULL, &result, NULL, pair.to_b, target.base, target.key, FI_UINT64,
                         FI_SUM, &slot[0]));
    wait_for(pair.a.tx_cq, &slot[0]);
    post(fi_compare_atomic(pair.a.ep, &one, 1, NULL, &one, NULL, &result, NULL, pair.to_b, target.base, target.key,
                           FI_UINT64, FI_CSWAP, &slot[0]));
    wait_for(pair.a.tx_cq, &slot[0]);
  }
  post(fi_fetch_atomic(pair.a.ep, NULL, 1, NULL, &result, NULL, pair.to_b, target.base, target.key, FI_UINT64,
                       FI_ATOMIC_READ, &slot[0]));
  wait_for(pair.a.tx_cq, &slot[0]);
  wait_until(fi_cntr_read(counters[1][2]) == 5 && fi_cntr_read(counters[1][3]) == 3 && fi_cntr_read(changes) == 7);
  assert_int_equal(fi_cntr_read(counters[0][0]), 5);
  assert_int_equal(fi_cntr_read(counters[0][1]), 3);
  post(fi_atomic(pair.a.ep, &one, 1, NULL, pair.to_b, target.base, 4711, FI_UINT64, FI_SUM, &slot[5]));
  expect_refusal(&pair, FI_WRITE);
  wait_until(fi_cntr_readerr(counters[0][1]) == 1);
  assert_int_equal(fi_cntr_read(counters[1][3]), 3);
  region_close(&target);
  close_fid(changes);
  close_fid(pair.a.ep);
  close_fid(pair.b.ep);
  pair.a.ep = pair.b.ep = NULL;
  for (int i = 0; i < 8; i++) close_fid(counters[i / 4][i % 4]);
  pair_close(&pair);
}
