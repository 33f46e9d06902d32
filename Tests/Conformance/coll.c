// Sets of addresses and collective operations. Man pages: fi_av_set(3), fi_collective(3).
#include "fixture.h"

#include <complex.h>
#include <rdma/fi_collective.h>
#include <stdatomic.h>

enum { most = 9 };  // members of a world
static char slot[4096];

// ---- worlds -------------------------------------------------------------------------------------------------------

// An endpoint with an event queue, and the addresses of all members in its own order.
struct member {
  struct node node;
  struct fid_eq *eq;
  fi_addr_t peers[most];
};

// The endpoints of several members in this process.
struct world {
  int size;
  struct member members[most];
};

// One group, and each member's view of it; members that are not in it have none.
struct group {
  int size;
  int ranks[most];
  struct fid_av_set *sets[most];
  struct fid_mc *mcs[most];
};

static void bind_event_queue(struct node *node) {
  struct member *member = (struct member *)node;
  struct fi_eq_attr attributes = {.wait_obj = FI_WAIT_NONE};
  assert_success(fi_eq_open(node->fabric, &attributes, &member->eq, NULL));
  assert_success(fi_ep_bind(node->ep, &member->eq->fid, 0));
}

static struct setup collective(void) {
  return (struct setup){.caps = FI_MSG | FI_TAGGED | FI_COLLECTIVE, .before_enable = bind_event_queue};
}

static void member_open(struct member *member, const struct setup *setup) {
  memset(member, 0, sizeof *member);
  node_open(&member->node, setup);
}

static void member_close(struct member *member) {
  struct fid_eq *eq = member->eq;
  close_fid(member->node.ep);
  member->node.ep = NULL;
  close_fid(eq);
  node_close(&member->node);
}

static void world_open_with(struct world *world, int size, const struct setup *setup) {
  world->size = size;
  for (int i = 0; i < size; i++) member_open(&world->members[i], setup);
  for (int i = 0; i < size; i++) {
    for (int j = 0; j < size; j++) {
      int other = (i + j) % size;  // numbers of addresses are each member's own
      world->members[i].peers[other] = node_insert(&world->members[i].node, world->members[other].node.address);
    }
  }
}

static void world_open(struct world *world, int size) {
  struct setup setup = collective();
  world_open_with(world, size, &setup);
}

static void world_close(struct world *world) {
  for (int i = 0; i < world->size; i++) member_close(&world->members[i]);
}

static struct fid_av_set *empty_set(struct member *member, uint64_t flags) {
  struct fi_av_set_attr attributes = {.start_addr = FI_ADDR_NOTAVAIL, .end_addr = FI_ADDR_NOTAVAIL, .flags = flags};
  struct fid_av_set *set = NULL;
  assert_offered(fi_av_set(member->node.av, &attributes, &set, NULL));
  return set;
}

static void begin_join(struct world *world, struct group *group, int index, uint64_t set_flags) {
  struct member *member = &world->members[group->ranks[index]];
  group->sets[index] = empty_set(member, set_flags);
  for (int i = 0; i < group->size; i++) {
    assert_success(fi_av_set_insert(group->sets[index], member->peers[group->ranks[i]]));
  }
  fi_addr_t address = FI_ADDR_NOTAVAIL;
  assert_success(fi_av_set_addr(group->sets[index], &address));
  assert_success(fi_join_collective(member->node.ep, address, group->sets[index], 0, &group->mcs[index], group));
}

// Waits for the event of a join, which is to be an FI_JOIN_COMPLETE, or for its error, which is returned.
static int join_ended(struct member *member, struct fid_mc *mc, void *context) {
  double end = deadline_after(4 * DEFAULT_WAIT);
  uint32_t event = 0;
  struct fi_eq_entry entry = {0};
  ssize_t result;
  while ((result = fi_eq_read(member->eq, &event, &entry, sizeof entry, 0)) == -FI_EAGAIN) {
    if (seconds() > end) failed("no end of the join");
    drive_progress();
  }
  if (result == -FI_EAVAIL) {
    struct fi_eq_err_entry error = {0};
    assert_returns(fi_eq_readerr(member->eq, &error, 0), (long)sizeof error);
    assert_ptr_equal(error.context, context);
    return error.err;
  }
  assert_returns(result, (long)sizeof entry);
  assert_int_equal(event, FI_JOIN_COMPLETE);
  assert_ptr_equal(entry.fid, &mc->fid);
  assert_ptr_equal(entry.context, context);
  return 0;
}

static void group_join(struct world *world, struct group *group, int size, const int *ranks) {
  *group = (struct group){.size = size};
  for (int i = 0; i < size; i++) group->ranks[i] = ranks ? ranks[i] : i;
  for (int i = 0; i < size; i++) begin_join(world, group, i, 0);
  for (int i = 0; i < size; i++) {
    assert_int_equal(join_ended(&world->members[group->ranks[i]], group->mcs[i], group), 0);
  }
}

static void group_leave(struct group *group) {
  for (int i = 0; i < group->size; i++) {
    close_fid(group->mcs[i]);
    close_fid(group->sets[i]);
  }
}

// A member of a group by its place in it, and what its calls name.
static struct member *at(struct world *world, const struct group *group, int rank) {
  return &world->members[group->ranks[rank]];
}
static fi_addr_t root_of(struct world *world, const struct group *group, int rank, int root) {
  return at(world, group, rank)->peers[group->ranks[root]];
}

static void wait_all(struct world *world, const struct group *group, void *context) {
  for (int i = 0; i < group->size; i++) {
    struct fi_cq_tagged_entry entry;
    wait_completion_within(at(world, group, i)->node.tx_cq, &entry, 4 * DEFAULT_WAIT);
    assert_ptr_equal(entry.op_context, context);
    assert_true(entry.flags == FI_COLLECTIVE);
  }
}

// ---- one call for all operations ----------------------------------------------------------------------------------

struct call {
  enum fi_collective_op kind;
  enum fi_datatype datatype;
  enum fi_op op;
  size_t count;
  int root;
  uint64_t flags;
};

static bool is_whole(enum fi_collective_op kind) {
  return kind == FI_BROADCAST || kind == FI_ALLREDUCE || kind == FI_REDUCE;
}

static ssize_t begin(struct world *world, struct group *group, int rank, const struct call *call, void *in, void *out,
                     void *context) {
  struct fid_ep *ep = at(world, group, rank)->node.ep;
  fi_addr_t to = fi_mc_addr(group->mcs[rank]), root = root_of(world, group, rank, call->root);
  switch (call->kind) {
    case FI_BARRIER:
      return call->flags ? fi_barrier2(ep, to, call->flags, context) : fi_barrier(ep, to, context);
    case FI_BROADCAST:
      return fi_broadcast(ep, rank == call->root ? in : out, call->count, NULL, to, root, call->datatype, call->flags,
                          context);
    case FI_ALLTOALL:
      return fi_alltoall(ep, in, call->count, NULL, out, NULL, to, call->datatype, call->flags, context);
    case FI_ALLREDUCE:
      return fi_allreduce(ep, in, call->count, NULL, out, NULL, to, call->datatype, call->op, call->flags, context);
    case FI_ALLGATHER:
      return fi_allgather(ep, in, call->count, NULL, out, NULL, to, call->datatype, call->flags, context);
    case FI_REDUCE_SCATTER:
      return fi_reduce_scatter(ep, in, call->count, NULL, out, NULL, to, call->datatype, call->op, call->flags,
                               context);
    case FI_REDUCE:
      return fi_reduce(ep, in, call->count, NULL, rank == call->root ? out : NULL, NULL, to, root, call->datatype,
                       call->op, call->flags, context);
    case FI_SCATTER:
      return fi_scatter(ep, rank == call->root ? in : NULL, call->count, NULL, out, NULL, to, root, call->datatype,
                        call->flags, context);
    case FI_GATHER:
      return fi_gather(ep, in, call->count, NULL, rank == call->root ? out : NULL, NULL, to, root, call->datatype,
                       call->flags, context);
  }
  failed("no such operation");
}

static size_t size_of(struct world *world, enum fi_datatype datatype) {
  struct fi_collective_attr attributes = {.op = FI_NOOP, .datatype = datatype};
  int result = fi_query_collective(world->members[0].node.domain, FI_ALLGATHER, &attributes, 0);
  return result ? 0 : attributes.datatype_attr.size;
}

static bool is_offered(struct world *world, enum fi_collective_op kind, enum fi_datatype datatype, enum fi_op op) {
  struct fi_collective_attr attributes = {.op = op, .datatype = datatype};
  return fi_query_collective(world->members[0].node.domain, kind, &attributes, 0) == 0;
}

// Elements of the memory that a member gives and gets, for every operation more than it needs.
static size_t elements(const struct group *group, const struct call *call) {
  return is_whole(call->kind) ? call->count : call->count * (size_t)group->size;
}

// ---- moving data --------------------------------------------------------------------------------------------------

// What a member has from each other member after an operation that moves data; all blocks have patterns of their own.
static void verify_moved(const struct group *group, const struct call *call, int rank, const char *out, size_t block,
                         uint64_t seed) {
  int n = group->size;
  switch (call->kind) {
    case FI_BROADCAST:
      if (rank != call->root) verify(out, block, seed + (uint64_t)call->root * most);
      break;
    case FI_SCATTER: verify(out, block, seed + (uint64_t)(call->root * most + rank)); break;
    case FI_ALLTOALL:
      for (int i = 0; i < n; i++) verify(out + (size_t)i * block, block, seed + (uint64_t)(i * most + rank));
      break;
    case FI_GATHER:
      if (rank != call->root) break;
      // fall through
    case FI_ALLGATHER:
      for (int i = 0; i < n; i++) verify(out + (size_t)i * block, block, seed + (uint64_t)i * most);
      break;
    default: break;
  }
}

// Runs an operation that moves data over a whole group and checks what comes of it, and that nothing else is written.
static void move(struct world *world, struct group *group, const struct call *call, size_t element, uint64_t seed) {
  int n = group->size;
  size_t block = call->count * element, all = elements(group, call) * element, guard = 64;
  char *in[most], *out[most];
  for (int rank = 0; rank < n; rank++) {
    in[rank] = allocate(all + guard);
    out[rank] = allocate(all + guard);
    memset(out[rank], 0x5a, all + guard);
    // Block i of member r begins the pattern r * most + i; what has one block only is block 0.
    for (size_t i = 0; i < all / (block ? block : 1); i++) {
      fill(in[rank] + i * block, block, seed + (uint64_t)rank * most + i);
    }
    post(begin(world, group, rank, call, in[rank], out[rank], &slot[1]));
  }
  wait_all(world, group, &slot[1]);
  for (int rank = 0; rank < n; rank++) {
    verify_moved(group, call, rank, out[rank], block, seed);
    verify_bytes(out[rank] + all, guard, 0x5a);
    free(in[rank]);
    free(out[rank]);
  }
}

static void move_all(enum fi_collective_op kind, bool has_root) {
  for (int n = 1; n <= most; n++) {
    struct world world;
    struct group group;
    world_open(&world, n);
    group_join(&world, &group, n, NULL);
    static const size_t counts[] = {0, 1, 3, 250, 5000};
    static const enum fi_datatype types[] = {FI_UINT8, FI_INT16, FI_FLOAT, FI_UINT64, FI_LONG_DOUBLE_COMPLEX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
      struct call call = {.kind = kind, .datatype = types[i], .op = FI_NOOP, .count = counts[i]};
      size_t element = size_of(&world, types[i]);
      if (!element || !is_offered(&world, kind, types[i], FI_NOOP)) unsupported("the operation is not offered");
      for (call.root = 0; call.root < (has_root ? n : 1); call.root++) move(&world, &group, &call, element, i * 1000);
    }
    group_leave(&group);
    world_close(&world);
  }
}

CASE(broadcasts_reach_all) { move_all(FI_BROADCAST, true); }
CASE(scatters_reach_all) { move_all(FI_SCATTER, true); }
CASE(gathers_collect_from_all) { move_all(FI_GATHER, true); }
CASE(allgathers_collect_from_all) { move_all(FI_ALLGATHER, false); }
CASE(all_to_all_exchanges_blocks) { move_all(FI_ALLTOALL, false); }

CASE(every_datatype_is_moved) {
  struct world world;
  struct group group;
  world_open(&world, 3);
  group_join(&world, &group, 3, NULL);
  static const enum fi_collective_op kinds[] = {FI_BROADCAST, FI_SCATTER, FI_GATHER, FI_ALLGATHER, FI_ALLTOALL};
  for (int type = FI_INT8; type <= FI_UINT128; type++) {
    size_t element = size_of(&world, type);
    assert_true(element > 0);
    for (int i = 0; i < 5; i++) {
      struct call call = {.kind = kinds[i], .datatype = type, .op = FI_NOOP, .count = 7, .root = 1};
      move(&world, &group, &call, element, (uint64_t)type * 10 + (uint64_t)i);
    }
  }
  group_leave(&group);
  world_close(&world);
}

CASE(large_data_is_moved) {
  for (int n = 2; n <= 5; n++) {
    struct world world;
    struct group group;
    world_open(&world, n);
    group_join(&world, &group, n, NULL);
    static const enum fi_collective_op kinds[] = {FI_BROADCAST, FI_SCATTER, FI_GATHER, FI_ALLGATHER, FI_ALLTOALL};
    for (int i = 0; i < 5; i++) {
      struct call call = {.kind = kinds[i], .datatype = FI_UINT8, .op = FI_NOOP, .root = n - 1};
      call.count = (kinds[i] == FI_BROADCAST ? 3u << 20 : 700000) + (size_t)i;
      move(&world, &group, &call, 1, (uint64_t)i);
    }
    group_leave(&group);
    world_close(&world);
  }
}

// ---- reductions ---------------------------------------------------------------------------------------------------

typedef long double ldouble;
typedef float complex fcomplex;
typedef double complex dcomplex;

#define INTEGER_MODEL(name, type)                                   \
  static type model_##name(enum fi_op op, type a, type b) {         \
    switch (op) {                                                   \
      case FI_MIN: return a < b ? a : b;                            \
      case FI_MAX: return a > b ? a : b;                            \
      case FI_SUM: return (type)(a + b);                            \
      case FI_PROD: return (type)(a * b);                           \
      case FI_LOR: return a || b;                                   \
      case FI_LAND: return a && b;                                  \
      case FI_LXOR: return (type)(!a != !b);                        \
      case FI_BOR: return (type)(a | b);                            \
      case FI_BAND: return (type)(a & b);                           \
      case FI_BXOR: return (type)(a ^ b);                           \
      default: failed("no model");                                  \
    }                                                               \
  }
#define REAL_MODEL(name, type)                                      \
  static type model_##name(enum fi_op op, type a, type b) {         \
    switch (op) {                                                   \
      case FI_MIN: return a < b ? a : b;                            \
      case FI_MAX: return a > b ? a : b;                            \
      case FI_SUM: return a + b;                                    \
      case FI_PROD: return a * b;                                   \
      case FI_LOR: return a || b;                                   \
      case FI_LAND: return a && b;                                  \
      case FI_LXOR: return !a != !b;                                \
      default: failed("no model");                                  \
    }                                                               \
  }
#define COMPLEX_MODEL(name, type)                                   \
  static type model_##name(enum fi_op op, type a, type b) {         \
    switch (op) {                                                   \
      case FI_SUM: return a + b;                                    \
      case FI_PROD: return a * b;                                   \
      case FI_LOR: return a || b;                                   \
      case FI_LAND: return a && b;                                  \
      case FI_LXOR: return !a != !b;                                \
      default: failed("no model");                                  \
    }                                                               \
  }
INTEGER_MODEL(int8, int8_t)
INTEGER_MODEL(uint16, uint16_t)
INTEGER_MODEL(int32, int32_t)
INTEGER_MODEL(uint64, uint64_t)
INTEGER_MODEL(int128, __int128)
REAL_MODEL(float, float)
REAL_MODEL(double, double)
REAL_MODEL(ldouble, ldouble)
COMPLEX_MODEL(fcomplex, fcomplex)
COMPLEX_MODEL(dcomplex, dcomplex)

// Values for which no order of combining matters: floating-point results are exact.
static int operand(int rank, size_t index) { return (int)((index * 7 + (size_t)rank * 3 + index / 5) % 5) - 2; }

#define TYPES(apply)                        \
  apply(FI_INT8, int8, int8_t)              \
  apply(FI_UINT16, uint16, uint16_t)        \
  apply(FI_INT32, int32, int32_t)           \
  apply(FI_UINT64, uint64, uint64_t)        \
  apply(FI_INT128, int128, __int128)        \
  apply(FI_FLOAT, float, float)             \
  apply(FI_DOUBLE, double, double)          \
  apply(FI_LONG_DOUBLE, ldouble, ldouble)   \
  apply(FI_FLOAT_COMPLEX, fcomplex, fcomplex) \
  apply(FI_DOUBLE_COMPLEX, dcomplex, dcomplex)

static void fill_operands(int datatype, int rank, void *memory, size_t count) {
#define FILL(number, name, type) \
  if (datatype == number) for (size_t i = 0; i < count; i++) ((type *)memory)[i] = (type)operand(rank, i);
  TYPES(FILL)
}

// Compares elements from `first` on with the model of n members.
static void verify_reduced(int datatype, enum fi_op op, int n, const void *memory, size_t first, size_t count) {
#define CHECK(number, name, type)                                                                         \
  if (datatype == number) {                                                                               \
    for (size_t i = 0; i < count; i++) {                                                                  \
      type expected = (type)operand(0, first + i);                                                        \
      for (int rank = 1; rank < n; rank++) expected = model_##name(op, expected, (type)operand(rank, first + i)); \
      if (!(((const type *)memory)[i] == expected)) {                                                     \
        failed("%s, operator %d, element %zu of %zu, %d members", #name, op, i, count, n);                \
      }                                                                                                   \
    }                                                                                                     \
  }
  TYPES(CHECK)
}

static void reduce(struct world *world, struct group *group, const struct call *call, size_t element) {
  int n = group->size;
  size_t count = elements(group, call), guard = 64;
  char *in[most], *out[most];
  for (int rank = 0; rank < n; rank++) {
    in[rank] = allocate(count * element + guard);
    out[rank] = allocate(count * element + guard);
    memset(out[rank], 0x5a, count * element + guard);
    fill_operands(call->datatype, rank, in[rank], count);
    post(begin(world, group, rank, call, in[rank], out[rank], &slot[2]));
  }
  wait_all(world, group, &slot[2]);
  for (int rank = 0; rank < n; rank++) {
    size_t first = call->kind == FI_REDUCE_SCATTER ? (size_t)rank * call->count : 0;
    if (call->kind != FI_REDUCE || rank == call->root) {
      verify_reduced(call->datatype, call->op, n, out[rank], first, call->count);
    }
    verify_bytes(out[rank] + count * element, guard, 0x5a);
    free(in[rank]);
    free(out[rank]);
  }
}

static void reduce_all(enum fi_collective_op kind) {
  static const size_t counts[] = {1, 17, 0, 3000};
  static const int sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    int n = sizes[s], round = 0;
    struct world world;
    struct group group;
    world_open(&world, n);
    group_join(&world, &group, n, NULL);
    if (!is_offered(&world, kind, FI_UINT64, FI_SUM)) unsupported("the operation is not offered");
    for (int op = FI_MIN; op <= FI_BXOR; op++) {
#define RUN(number, name, type)                                                                            \
  if (is_offered(&world, kind, number, op)) {                                                              \
    struct call call = {.kind = kind, .datatype = number, .op = op, .count = counts[round % 4], .root = round % n}; \
    reduce(&world, &group, &call, sizeof(type));                                                           \
    round++;                                                                                               \
  }
      TYPES(RUN)
    }
    assert_true(round > 50);
    group_leave(&group);
    world_close(&world);
  }
}

CASE(allreduces_combine_all) { reduce_all(FI_ALLREDUCE); }
CASE(reduces_combine_all) { reduce_all(FI_REDUCE); }
CASE(reduce_scatters_combine_all) { reduce_all(FI_REDUCE_SCATTER); }

CASE(large_data_is_reduced) {
  static const enum fi_collective_op kinds[] = {FI_ALLREDUCE, FI_REDUCE, FI_REDUCE_SCATTER};
  for (int n = 2; n <= 6; n++) {
    struct world world;
    struct group group;
    world_open(&world, n);
    group_join(&world, &group, n, NULL);
    for (int i = 0; i < 3; i++) {
      struct call call = {.kind = kinds[i], .datatype = FI_DOUBLE, .op = FI_SUM, .count = 200003, .root = 1};
      if (kinds[i] == FI_REDUCE_SCATTER) call.count = 60001;
      reduce(&world, &group, &call, sizeof(double));
    }
    group_leave(&group);
    world_close(&world);
  }
}

// Sums of numbers that rounding treats differently in every order.
static void check_same_bits(struct world *world, struct group *group, size_t count) {
  int n = group->size;
  double *in[most], *out[2][most];
  for (int round = 0; round < 2; round++) {
    for (int rank = 0; rank < n; rank++) {
      if (round == 0) {
        in[rank] = allocate(count * sizeof(double));
        fill(in[rank], count * sizeof(double), (uint64_t)rank);
        for (size_t i = 0; i < count; i++) {
          in[rank][i] = (double)(((uint64_t *)in[rank])[i] >> 11) / (double)(i % 97 + 1);
        }
      }
      out[round][rank] = allocate(count * sizeof(double));
      struct call call = {.kind = FI_ALLREDUCE, .datatype = FI_DOUBLE, .op = FI_SUM, .count = count};
      post(begin(world, group, rank, &call, in[rank], out[round][rank], &slot[3]));
    }
    wait_all(world, group, &slot[3]);
  }
  for (int rank = 0; rank < n; rank++) {
    assert_memory_equal(out[0][rank], out[0][0], count * sizeof(double));
    assert_memory_equal(out[1][rank], out[0][0], count * sizeof(double));
  }
  for (int rank = 0; rank < n; rank++) {
    free(in[rank]);
    free(out[0][rank]);
    free(out[1][rank]);
  }
}

CASE(floating_point_sums_have_the_same_bits_everywhere) {
  for (int n = 3; n <= 7; n++) {
    struct world world;
    struct group group;
    world_open(&world, n);
    group_join(&world, &group, n, NULL);
    check_same_bits(&world, &group, 5);
    check_same_bits(&world, &group, 100000);
    group_leave(&group);
    world_close(&world);
  }
}

CASE(a_result_may_lie_where_the_input_is) {
  struct world world;
  struct group group;
  world_open(&world, 5);
  group_join(&world, &group, 5, NULL);
  static const size_t counts[] = {9, 100001};
  for (int i = 0; i < 2; i++) {
    int32_t *memory[most];
    for (int rank = 0; rank < 5; rank++) {
      memory[rank] = allocate(counts[i] * 4);
      fill_operands(FI_INT32, rank, memory[rank], counts[i]);
      struct call call = {.kind = FI_ALLREDUCE, .datatype = FI_INT32, .op = FI_SUM, .count = counts[i]};
      post(begin(&world, &group, rank, &call, memory[rank], memory[rank], &slot[4]));
    }
    wait_all(&world, &group, &slot[4]);
    for (int rank = 0; rank < 5; rank++) {
      verify_reduced(FI_INT32, FI_SUM, 5, memory[rank], 0, counts[i]);
      free(memory[rank]);
    }
  }
  group_leave(&group);
  world_close(&world);
}

// ---- barriers -----------------------------------------------------------------------------------------------------

CASE(nobody_leaves_a_barrier_before_all_have_come) {
  for (int n = 1; n <= most; n++) {
    struct world world;
    struct group group;
    world_open(&world, n);
    group_join(&world, &group, n, NULL);
    for (int last = 0; last < n; last += 2) {
      struct call call = {.kind = FI_BARRIER};
      for (int rank = 0; rank < n; rank++) {
        if (rank != last) post(begin(&world, &group, rank, &call, NULL, NULL, &slot[5]));
      }
      for (int rank = 0; rank < n; rank++) expect_quiet(at(&world, &group, rank)->node.tx_cq, 2);
      post(begin(&world, &group, last, &call, NULL, NULL, &slot[5]));
      wait_all(&world, &group, &slot[5]);
    }
    group_leave(&group);
    world_close(&world);
  }
}

CASE(a_barrier_takes_flags) {
  struct setup setup = collective();
  setup.tx_bind_flags = FI_SELECTIVE_COMPLETION;
  struct world world;
  struct group group;
  world_open_with(&world, 3, &setup);
  group_join(&world, &group, 3, NULL);
  struct call silent = {.kind = FI_BARRIER};
  struct call told = {.kind = FI_BARRIER, .flags = FI_COMPLETION};
  struct call delivered = {.kind = FI_BARRIER, .flags = FI_COMPLETION | FI_DELIVERY_COMPLETE};
  for (int rank = 0; rank < 3; rank++) {
    post(begin(&world, &group, rank, &silent, NULL, NULL, &slot[6]));
    post(begin(&world, &group, rank, &told, NULL, NULL, &slot[7]));
  }
  wait_all(&world, &group, &slot[7]);
  for (int rank = 0; rank < 3; rank++) expect_quiet(at(&world, &group, rank)->node.tx_cq, 5);
  for (int rank = 0; rank < 3; rank++) post(begin(&world, &group, rank, &delivered, NULL, NULL, &slot[8]));
  wait_all(&world, &group, &slot[8]);
  struct call unknown = {.kind = FI_BARRIER, .flags = FI_REMOTE_CQ_DATA};
  assert_fails(begin(&world, &group, 0, &unknown, NULL, NULL, &slot[9]));
  group_leave(&group);
  world_close(&world);
}

// ---- several at once ----------------------------------------------------------------------------------------------

CASE(many_operations_are_outstanding) {
  enum { rounds = 60 };
  struct world world;
  struct group group;
  world_open(&world, 4);
  group_join(&world, &group, 4, NULL);
  static uint64_t in[4][rounds], out[4][rounds][4];
  // All of one member's calls come before the first of the next one's.
  for (int rank = 0; rank < 4; rank++) {
    for (int i = 0; i < rounds; i++) {
      in[rank][i] = (uint64_t)(rank * 1000 + i);
      struct call gather = {.kind = FI_ALLGATHER, .datatype = FI_UINT64, .op = FI_NOOP, .count = 1};
      struct call sum = {.kind = FI_ALLREDUCE, .datatype = FI_UINT64, .op = FI_SUM, .count = 1};
      struct call barrier = {.kind = FI_BARRIER};
      post(begin(&world, &group, rank, i % 3 == 0 ? &gather : i % 3 == 1 ? &sum : &barrier, &in[rank][i], out[rank][i],
                 &slot[100 + i]));
    }
  }
  for (int rank = 0; rank < 4; rank++) wait_for_all(at(&world, &group, rank)->node.tx_cq, &slot[100], rounds);
  for (int rank = 0; rank < 4; rank++) {
    for (int i = 0; i < rounds; i++) {
      for (int other = 0; i % 3 == 0 && other < 4; other++) assert_true(out[rank][i][other] == in[other][i]);
      if (i % 3 == 1) assert_true(out[rank][i][0] == (uint64_t)(6000 + 4 * i));
    }
  }
  group_leave(&group);
  world_close(&world);
}

CASE(too_many_operations_are_asked_to_come_again) {
  struct world world;
  struct group group;
  world_open(&world, 2);
  group_join(&world, &group, 2, NULL);
  struct call call = {.kind = FI_BARRIER};
  int begun = 0;
  ssize_t result;
  while ((result = begin(&world, &group, 0, &call, NULL, NULL, &slot[10])) == 0) {
    if (++begun > 100000) unsupported("there is no bound");
  }
  assert_returns(result, -FI_EAGAIN);
  // The other member takes part in all of them, and one more.
  int ended = 0;
  for (int i = 0; i < begun + 1; i++) {
    post(begin(&world, &group, 1, &call, NULL, NULL, &slot[10]));
    wait_until(i == begun || ({
      struct fi_cq_tagged_entry entry;
      fi_cq_read(at(&world, &group, 1)->node.tx_cq, &entry, 1) == 1 && ++ended;
    }));
  }
  for (int i = 0; i < begun; i++) wait_for(at(&world, &group, 0)->node.tx_cq, &slot[10]);
  post(begin(&world, &group, 0, &call, NULL, NULL, &slot[10]));
  wait_all(&world, &group, &slot[10]);
  group_leave(&group);
  world_close(&world);
}

CASE(groups_with_common_members_do_not_mix) {
  struct world world;
  world_open(&world, 5);
  struct group all, odd, same, turned;
  group_join(&world, &all, 5, NULL);
  group_join(&world, &odd, 3, (int[]){4, 1, 3});
  group_join(&world, &same, 5, NULL);
  group_join(&world, &turned, 5, (int[]){4, 3, 2, 1, 0});
  struct group *groups[] = {&all, &odd, &same, &turned};
  static int32_t in[4][most], out[4][most][most];
  // Every member calls in an order of its own.
  for (int number = 0; number < 5; number++) {
    for (int turn = 0; turn < 4; turn++) {
      int g = (turn + number) % 4;
      for (int rank = 0; rank < groups[g]->size; rank++) {
        if (groups[g]->ranks[rank] != number) continue;
        in[g][rank] = g * 100 + rank;
        struct call call = {.kind = FI_ALLGATHER, .datatype = FI_INT32, .op = FI_NOOP, .count = 1};
        post(begin(&world, groups[g], rank, &call, &in[g][rank], out[g][rank], &slot[20 + g]));
      }
    }
  }
  for (int number = 0; number < 5; number++) {
    bool in_second = number == 1 || number == 3 || number == 4;
    int ended = 0;
    for (int due = in_second ? 4 : 3; due > 0; due--) {
      struct fi_cq_tagged_entry entry;
      wait_completion(world.members[number].node.tx_cq, &entry);
      ended |= 1 << ((char *)entry.op_context - &slot[20]);
    }
    assert_int_equal(ended, in_second ? 15 : 13);
  }
  for (int g = 0; g < 4; g++) {
    for (int rank = 0; rank < groups[g]->size; rank++) {
      for (int i = 0; i < groups[g]->size; i++) assert_int_equal(out[g][rank][i], g * 100 + i);
    }
  }
  for (int g = 0; g < 4; g++) group_leave(groups[g]);
  world_close(&world);
}

CASE(joins_of_different_sets_come_in_any_order) {
  struct world world;
  world_open(&world, 4);
  struct group groups[3] = {
      {.size = 4, .ranks = {0, 1, 2, 3}}, {.size = 3, .ranks = {2, 1, 0}}, {.size = 3, .ranks = {1, 2, 3}}};
  for (int number = 0; number < 4; number++) {
    for (int turn = 0; turn < 3; turn++) {
      struct group *group = &groups[(turn + number) % 3];
      for (int rank = 0; rank < group->size; rank++) {
        if (group->ranks[rank] == number) begin_join(&world, group, rank, 0);
      }
    }
  }
  for (int number = 0; number < 4; number++) {
    int due = number == 0 || number == 3 ? 2 : 3, found = 0;
    while (due--) {
      struct member *member = &world.members[number];
      uint32_t event = 0;
      struct fi_eq_entry entry = {0};
      wait_until(fi_eq_read(member->eq, &event, &entry, sizeof entry, 0) == sizeof entry);
      assert_int_equal(event, FI_JOIN_COMPLETE);
      found |= 1 << ((struct group *)entry.context - groups);
    }
    assert_int_equal(found, number == 0 ? 3 : number == 3 ? 5 : 7);
  }
  for (int g = 0; g < 3; g++) {
    struct call call = {.kind = FI_ALLGATHER, .datatype = FI_UINT8, .op = FI_NOOP, .count = 100};
    move(&world, &groups[g], &call, 1, (uint64_t)g);
    group_leave(&groups[g]);
  }
  world_close(&world);
}

CASE(messages_of_the_program_go_on_beside_it) {
  enum { size = 16 };
  struct setup setup = collective();
  setup.tx_size = size;
  struct world world;
  struct group group;
  world_open_with(&world, 3, &setup);
  group_join(&world, &group, 3, NULL);
  struct node *node = &world.members[0].node, *peer = &world.members[1].node;
  static char in[size][8], out[8] = "message";
  for (uint64_t round = 0; round < 30; round++) {
    for (int i = 0; i < size; i++) post(fi_trecv(peer->ep, in[i], 8, NULL, FI_ADDR_UNSPEC, 0, ~0ull, &slot[50 + i]));
    struct call call = {.kind = FI_BARRIER};
    post(begin(&world, &group, 0, &call, NULL, NULL, &slot[31]));
    // A collective operation takes nothing of the transmit queue.
    for (int i = 0; i < size; i++) {
      assert_success(fi_tsend(node->ep, out, 8, NULL, world.members[0].peers[1], round, &slot[100 + i]));
    }
    wait_for_all(node->tx_cq, &slot[100], size);
    wait_for_all(peer->rx_cq, &slot[50], size);
    for (int i = 0; i < size; i++) assert_string_equal(in[i], "message");
    post(begin(&world, &group, 1, &call, NULL, NULL, &slot[31]));
    post(begin(&world, &group, 2, &call, NULL, NULL, &slot[31]));
    wait_all(&world, &group, &slot[31]);
  }
  group_leave(&group);
  world_close(&world);
}

// ---- sets ---------------------------------------------------------------------------------------------------------

// What a set has shows in who takes part: the members gather their numbers.
static void check_members(struct world *world, int number, struct fid_av_set *set, int count, const int *expected) {
  struct member *member = &world->members[number];
  struct group group = {.size = count};
  int own = -1;
  for (int i = 0; i < count; i++) {
    group.ranks[i] = expected[i];
    if (expected[i] == number) own = i;
  }
  assert_true(own >= 0);
  fi_addr_t address;
  assert_success(fi_av_set_addr(set, &address));
  for (int i = 0; i < count; i++) {
    if (i != own) begin_join(world, &group, i, 0);
  }
  group.sets[own] = set;
  assert_success(fi_join_collective(member->node.ep, address, set, 0, &group.mcs[own], &group));
  for (int i = 0; i < count; i++) {
    assert_int_equal(join_ended(&world->members[group.ranks[i]], group.mcs[i], &group), 0);
  }
  struct call call = {.kind = FI_ALLGATHER, .datatype = FI_UINT8, .op = FI_NOOP, .count = 1};
  move(world, &group, &call, 1, 0);
  for (int i = 0; i < count; i++) {
    close_fid(group.mcs[i]);
    if (i != own) close_fid(group.sets[i]);
  }
}

CASE(a_set_is_made_of_a_range) {
  struct world world;
  world_open(&world, 6);
  struct fid_av *av = world.members[0].node.av;
  struct fid_av_set *set = NULL;
  // Member 0 has inserted the addresses in order.
  struct fi_av_set_attr range = {.start_addr = 0, .end_addr = 5, .stride = 2};
  assert_offered(fi_av_set(av, &range, &set, NULL));
  check_members(&world, 0, set, 3, (int[]){0, 2, 4});
  close_fid(set);
  struct fi_av_set_attr beyond = {.start_addr = 0, .end_addr = 3, .stride = 3, .count = 2};
  assert_success(fi_av_set(av, &beyond, &set, NULL));
  check_members(&world, 0, set, 2, (int[]){0, 3});
  close_fid(set);
  struct fi_av_set_attr universe = {.start_addr = FI_ADDR_NOTAVAIL, .end_addr = FI_ADDR_NOTAVAIL, .flags = FI_UNIVERSE};
  assert_success(fi_av_set(av, &universe, &set, NULL));
  check_members(&world, 0, set, 6, (int[]){0, 1, 2, 3, 4, 5});
  close_fid(set);
  struct fi_av_set_attr short_of_one = {.start_addr = 0, .end_addr = 5, .stride = 1, .count = 5};
  assert_returns(fi_av_set(av, &short_of_one, &set, NULL), -FI_EINVAL);
  struct fi_av_set_attr open_end = {.start_addr = 0, .end_addr = FI_ADDR_NOTAVAIL, .stride = 1};
  assert_returns(fi_av_set(av, &open_end, &set, NULL), -FI_EINVAL);
  world_close(&world);
}

CASE(a_range_without_stride_is_refused) {
  struct world world;
  world_open(&world, 2);
  close_fid(empty_set(&world.members[0], 0));
  struct fid_av_set *set = NULL;
  struct fi_av_set_attr range = {.start_addr = 0, .end_addr = 1};
  assert_returns(fi_av_set(world.members[0].node.av, &range, &set, NULL), -FI_EINVAL);
  struct fi_av_set_attr unknown = {
      .start_addr = FI_ADDR_NOTAVAIL, .end_addr = FI_ADDR_NOTAVAIL, .flags = FI_BARRIER_SET | 1};
  assert_returns(fi_av_set(world.members[0].node.av, &unknown, &set, NULL), -FI_EBADFLAGS);
  world_close(&world);
}

CASE(sets_are_combined) {
  struct world world;
  world_open(&world, 6);
  struct member *member = &world.members[2];
  struct fid_av_set *a = empty_set(member, 0), *b = empty_set(member, 0);
  for (int i = 0; i < 4; i++) assert_success(fi_av_set_insert(a, member->peers[3 - i]));
  for (int i = 2; i < 6; i++) assert_success(fi_av_set_insert(b, member->peers[i]));
  check_members(&world, 2, a, 4, (int[]){3, 2, 1, 0});
  assert_success(fi_av_set_union(a, b));
  check_members(&world, 2, a, 6, (int[]){3, 2, 1, 0, 4, 5});
  assert_success(fi_av_set_remove(a, member->peers[1]));
  check_members(&world, 2, a, 5, (int[]){3, 2, 0, 4, 5});
  assert_success(fi_av_set_intersect(a, b));
  check_members(&world, 2, a, 4, (int[]){3, 2, 4, 5});
  assert_success(fi_av_set_remove(b, member->peers[2]));
  assert_success(fi_av_set_remove(b, member->peers[4]));
  assert_success(fi_av_set_diff(a, b));
  check_members(&world, 2, a, 2, (int[]){2, 4});
  assert_returns(fi_av_set_insert(a, member->peers[4]), -FI_EINVAL);
  assert_returns(fi_av_set_insert(a, 12345), -FI_EINVAL);
  assert_returns(fi_av_set_remove(a, member->peers[0]), -FI_EINVAL);
  close_fid(a);
  close_fid(b);
  world_close(&world);
}

CASE(sets_of_different_vectors_do_not_combine) {
  struct world world;
  world_open(&world, 2);
  struct fid_av_set *a = empty_set(&world.members[0], 0), *b = empty_set(&world.members[1], 0);
  assert_returns(fi_av_set_union(a, b), -FI_EINVAL);
  close_fid(a);
  close_fid(b);
  world_close(&world);
}

CASE(what_is_in_use_is_not_closed) {
  struct world world;
  struct group group;
  world_open(&world, 2);
  group_join(&world, &group, 2, NULL);
  struct member *member = &world.members[0];
  assert_returns(fi_close(&group.sets[0]->fid), -FI_EBUSY);
  assert_returns(fi_close(&member->node.ep->fid), -FI_EBUSY);
  struct fid_av *av = av_open(&member->node, FI_AV_UNSPEC);
  struct fi_av_set_attr attributes = {.start_addr = FI_ADDR_NOTAVAIL, .end_addr = FI_ADDR_NOTAVAIL};
  struct fid_av_set *set = NULL;
  assert_success(fi_av_set(av, &attributes, &set, NULL));
  assert_returns(fi_close(&av->fid), -FI_EBUSY);
  close_fid(set);
  close_fid(av);
  group_leave(&group);
  world_close(&world);
}

CASE(a_set_is_for_what_it_was_made_for) {
  struct world world;
  struct group group = {.size = 2, .ranks = {0, 1}};
  world_open(&world, 2);
  for (int i = 0; i < 2; i++) begin_join(&world, &group, i, FI_BARRIER_SET | FI_ALLREDUCE_SET);
  for (int i = 0; i < 2; i++) assert_int_equal(join_ended(&world.members[i], group.mcs[i], &group), 0);
  struct call barrier = {.kind = FI_BARRIER};
  struct call gather = {.kind = FI_ALLGATHER, .datatype = FI_UINT8, .op = FI_NOOP, .count = 1};
  char in[2] = {0}, out[2] = {0};
  assert_returns(begin(&world, &group, 0, &gather, in, out, &slot[0]), -FI_EOPNOTSUPP);
  for (int i = 0; i < 2; i++) post(begin(&world, &group, i, &barrier, NULL, NULL, &slot[1]));
  wait_all(&world, &group, &slot[1]);
  group_leave(&group);
  world_close(&world);
}

// ---- joining ------------------------------------------------------------------------------------------------------

CASE(a_join_needs_an_event_queue_and_an_enabled_endpoint) {
  struct setup setup = collective();
  struct member member, other;
  setup.before_enable = NULL;
  member_open(&member, &setup);
  fi_addr_t self = node_insert(&member.node, member.node.address);
  struct fid_av_set *set = empty_set(&member, 0);
  assert_success(fi_av_set_insert(set, self));
  struct fid_mc *mc = NULL;
  fi_addr_t address;
  assert_success(fi_av_set_addr(set, &address));
  assert_returns(fi_join_collective(member.node.ep, address, set, 0, &mc, NULL), -FI_ENOEQ);
  close_fid(set);
  node_close(&member.node);

  setup = collective();
  member_open(&other, &setup);
  struct fid_ep *ep = NULL;
  assert_success(fi_endpoint(other.node.domain, other.node.info, &ep, NULL));
  assert_success(fi_ep_bind(ep, &other.eq->fid, 0));
  set = empty_set(&other, 0);
  assert_success(fi_av_set_addr(set, &address));
  assert_fails(fi_join_collective(ep, address, set, 0, &mc, NULL));
  assert_fails(fi_barrier(ep, 0, NULL));
  close_fid(set);
  close_fid(ep);
  member_close(&other);
}

CASE(a_set_without_the_endpoint_is_not_joined) {
  struct world world;
  world_open(&world, 2);
  struct member *member = &world.members[0];
  struct fid_av_set *set = empty_set(member, 0);
  struct fid_mc *mc = NULL;
  fi_addr_t address;
  assert_success(fi_av_set_addr(set, &address));
  assert_returns(fi_join_collective(member->node.ep, address, set, 0, &mc, NULL), -FI_EINVAL);
  assert_success(fi_av_set_insert(set, member->peers[1]));
  assert_returns(fi_join_collective(member->node.ep, address, set, 0, &mc, NULL), -FI_EINVAL);
  assert_success(fi_av_set_insert(set, member->peers[0]));
  assert_returns(fi_join_collective(member->node.ep, 0, set, 0, &mc, NULL), -FI_EINVAL);
  close_fid(set);
  world_close(&world);
}

CASE(a_group_is_not_usable_before_all_have_joined) {
  struct world world;
  struct group group = {.size = 3, .ranks = {0, 1, 2}};
  world_open(&world, 3);
  begin_join(&world, &group, 0, 0);
  begin_join(&world, &group, 2, 0);
  double end = seconds() + 0.05;
  uint32_t event;
  struct fi_eq_entry entry;
  while (seconds() < end) {
    drive_progress();
    assert_returns(fi_eq_read(world.members[0].eq, &event, &entry, sizeof entry, 0), -FI_EAGAIN);
    assert_returns(fi_eq_read(world.members[2].eq, &event, &entry, sizeof entry, 0), -FI_EAGAIN);
  }
  struct call barrier = {.kind = FI_BARRIER};
  assert_fails(begin(&world, &group, 0, &barrier, NULL, NULL, &slot[0]));
  begin_join(&world, &group, 1, 0);
  for (int i = 0; i < 3; i++) assert_int_equal(join_ended(&world.members[i], group.mcs[i], &group), 0);
  for (int i = 0; i < 3; i++) post(begin(&world, &group, i, &barrier, NULL, NULL, &slot[1]));
  wait_all(&world, &group, &slot[1]);
  group_leave(&group);
  world_close(&world);
}

CASE(a_subgroup_is_joined_over_a_group) {
  struct world world;
  struct group all, some = {.size = 2, .ranks = {1, 3}};
  world_open(&world, 4);
  group_join(&world, &all, 4, NULL);
  // Members of the group call, whether they are in the subgroup or not.
  struct fid_av_set *sets[4];
  struct fid_mc *mcs[4];
  for (int number = 0; number < 4; number++) {
    struct member *member = &world.members[number];
    sets[number] = empty_set(member, 0);
    for (int i = 0; i < 2; i++) assert_success(fi_av_set_insert(sets[number], member->peers[some.ranks[i]]));
    fi_addr_t over = fi_mc_addr(all.mcs[number]);
    assert_success(fi_join_collective(member->node.ep, over, sets[number], 0, &mcs[number], &some));
  }
  for (int number = 0; number < 4; number++) {
    assert_int_equal(join_ended(&world.members[number], mcs[number], &some), 0);
  }
  assert_fails(fi_barrier(world.members[0].node.ep, fi_mc_addr(mcs[0]), NULL));
  for (int i = 0; i < 2; i++) some.mcs[i] = mcs[some.ranks[i]];
  struct call call = {.kind = FI_ALLTOALL, .datatype = FI_UINT8, .op = FI_NOOP, .count = 33};
  move(&world, &some, &call, 1, 5);
  move(&world, &all, &call, 1, 6);
  for (int number = 0; number < 4; number++) {
    close_fid(mcs[number]);
    close_fid(sets[number]);
  }
  group_leave(&all);
  world_close(&world);
}

CASE(groups_are_joined_and_left_many_times) {
  struct world world;
  world_open(&world, 3);
  for (int round = 0; round < 200; round++) {
    struct group group;
    group_join(&world, &group, 3, NULL);
    struct call barrier = {.kind = FI_BARRIER};
    for (int i = 0; i < 3; i++) post(begin(&world, &group, i, &barrier, NULL, NULL, &slot[1]));
    wait_all(&world, &group, &slot[1]);
    group_leave(&group);
  }
  world_close(&world);
}

// ---- what is refused ----------------------------------------------------------------------------------------------

CASE(queries_tell_what_is_offered) {
  struct world world;
  world_open(&world, 1);
  struct fid_domain *domain = world.members[0].node.domain;
  struct fi_collective_attr attributes = {.op = FI_NOOP, .datatype = FI_VOID};
  assert_offered(fi_query_collective(domain, FI_BARRIER, &attributes, 0));
  assert_true(attributes.max_members > 1000);
  for (int kind = FI_BROADCAST; kind <= FI_GATHER; kind++) {
    bool reduces = kind == FI_ALLREDUCE || kind == FI_REDUCE_SCATTER || kind == FI_REDUCE;
    attributes = (struct fi_collective_attr){.op = reduces ? FI_MAX : FI_NOOP, .datatype = FI_UINT32};
    assert_offered(fi_query_collective(domain, kind, &attributes, 0));
    assert_int_equal(attributes.datatype_attr.size, 4);
    assert_true(attributes.datatype_attr.count > 1 << 20);
    attributes = (struct fi_collective_attr){.op = reduces ? FI_SUM : FI_NOOP, .datatype = FI_VOID};
    assert_fails(fi_query_collective(domain, kind, &attributes, 0));
  }
  attributes = (struct fi_collective_attr){.op = FI_BAND, .datatype = FI_DOUBLE};
  assert_fails(fi_query_collective(domain, FI_ALLREDUCE, &attributes, 0));
  attributes = (struct fi_collective_attr){.op = FI_MIN, .datatype = FI_DOUBLE_COMPLEX};
  assert_fails(fi_query_collective(domain, FI_ALLREDUCE, &attributes, 0));
  attributes = (struct fi_collective_attr){.op = FI_CSWAP, .datatype = FI_UINT32};
  assert_fails(fi_query_collective(domain, FI_REDUCE, &attributes, 0));
  attributes = (struct fi_collective_attr){.op = FI_SUM, .datatype = FI_UINT32, .mode = 1};
  assert_returns(fi_query_collective(domain, FI_ALLREDUCE, &attributes, 0), -FI_EINVAL);
  assert_returns(fi_query_collective(domain, FI_ALLREDUCE, NULL, 0), -FI_EINVAL);
  attributes = (struct fi_collective_attr){.op = FI_SUM, .datatype = FI_UINT32};
  assert_success(fi_query_collective(domain, FI_REDUCE, &attributes, FI_SCATTER));
  world_close(&world);
}

CASE(bad_calls_are_refused) {
  struct world world;
  struct group group;
  world_open(&world, 2);
  group_join(&world, &group, 2, NULL);
  struct fid_ep *ep = world.members[0].node.ep;
  fi_addr_t to = fi_mc_addr(group.mcs[0]), peer = world.members[0].peers[1];
  uint64_t in[2] = {0}, out[2] = {0};
  assert_returns(fi_barrier(ep, peer, NULL), -FI_EINVAL);
  assert_returns(fi_barrier(ep, to + 1, NULL), -FI_EINVAL);
  assert_returns(fi_broadcast(ep, out, 1, NULL, to, 12345, FI_UINT64, 0, NULL), -FI_EINVAL);
  assert_returns(fi_broadcast(ep, NULL, 1, NULL, to, peer, FI_UINT64, 0, NULL), -FI_EINVAL);
  assert_returns(fi_broadcast(ep, out, 1, NULL, to, peer, FI_VOID, 0, NULL), -FI_EOPNOTSUPP);
  assert_returns(fi_allreduce(ep, in, 1, NULL, out, NULL, to, FI_UINT64, FI_ATOMIC_READ, 0, NULL), -FI_EOPNOTSUPP);
  assert_returns(fi_allreduce(ep, in, 1, NULL, out, NULL, to, FI_DOUBLE, FI_BOR, 0, NULL), -FI_EOPNOTSUPP);
  assert_returns(fi_allreduce(ep, in, SIZE_MAX / 8, NULL, out, NULL, to, FI_UINT64, FI_SUM, 0, NULL), -FI_EMSGSIZE);
  assert_returns(fi_alltoall(ep, in, SIZE_MAX / 16, NULL, out, NULL, to, FI_UINT64, 0, NULL), -FI_EMSGSIZE);
  assert_returns(fi_alltoall(ep, in, 1, NULL, in, NULL, to, FI_UINT64, 0, NULL), -FI_EINVAL);
  assert_fails(fi_broadcast(ep, out, 1, NULL, to, peer, FI_UINT64, FI_PEEK, NULL));
  expect_quiet(world.members[0].node.tx_cq, 5);
  // None of them counted as a call of the group.
  struct call call = {.kind = FI_ALLTOALL, .datatype = FI_UINT64, .op = FI_NOOP, .count = 3};
  move(&world, &group, &call, 8, 1);
  group_leave(&group);
  assert_returns(fi_barrier(ep, to, NULL), -FI_EINVAL);
  world_close(&world);
}

CASE(endpoints_without_the_capability_have_no_collectives) {
  struct node node;
  node_open(&node, NULL);
  assert_fails(fi_barrier(node.ep, 0, NULL));
  node_close(&node);
}

// Waits for the end of an operation at each member; returns how many ended in an error.
static int count_errors(struct world *world, struct group *group, void *context) {
  int errors = 0;
  for (int i = 0; i < group->size; i++) {
    struct fid_cq *cq = at(world, group, i)->node.tx_cq;
    struct fi_cq_tagged_entry entry = {0};
    double end = deadline_after(4 * DEFAULT_WAIT);
    ssize_t result;
    while ((result = fi_cq_read(cq, &entry, 1)) == -FI_EAGAIN) {
      if (seconds() > end) failed("member %d waits for ever", i);
      drive_progress();
    }
    if (result == 1) {
      assert_ptr_equal(entry.op_context, context);
      continue;
    }
    assert_returns(result, -FI_EAVAIL);
    struct fi_cq_err_entry error = {0};
    assert_returns(fi_cq_readerr(cq, &error, 0), 1);
    assert_ptr_equal(error.op_context, context);
    assert_true(error.flags == FI_COLLECTIVE);
    assert_true(error.err > 0);
    errors++;
  }
  return errors;
}

CASE(members_that_disagree_get_errors) {
  struct world world;
  struct group group;
  world_open(&world, 4);
  group_join(&world, &group, 4, NULL);
  uint8_t in[64] = {0}, out[4][64];
  int refused = 0;
  for (int rank = 0; rank < 4; rank++) {
    struct call call = {.kind = FI_ALLREDUCE, .datatype = FI_UINT8, .op = FI_SUM, .count = rank == 1 ? 9 : 8};
    // The last ones may know by now.
    ssize_t result = begin(&world, &group, rank, &call, in, out[rank], &slot[1]);
    if (rank < 2) assert_success(result);
    if (result < 0) refused++;
  }
  struct group begun = group;
  begun.size -= refused;
  assert_true(count_errors(&world, &begun, &slot[1]) >= 2);
  // The group is over; a new one works.
  struct call barrier = {.kind = FI_BARRIER};
  for (int rank = 0; rank < 4; rank++) wait_until(begin(&world, &group, rank, &barrier, NULL, NULL, &slot[2]) < 0);
  group_leave(&group);
  group_join(&world, &group, 4, NULL);
  for (int rank = 0; rank < 4; rank++) post(begin(&world, &group, rank, &barrier, NULL, NULL, &slot[3]));
  wait_all(&world, &group, &slot[3]);
  group_leave(&group);
  world_close(&world);
}

CASE(leaving_cancels_what_is_outstanding) {
  struct world world;
  struct group group;
  world_open(&world, 5);
  group_join(&world, &group, 5, NULL);
  static char memory[5][1 << 20];
  struct call call = {.kind = FI_ALLREDUCE, .datatype = FI_UINT8, .op = FI_SUM, .count = 1 << 18};
  for (int rank = 0; rank < 4; rank++) {
    post(begin(&world, &group, rank, &call, memory[rank], memory[rank] + (1 << 18), &slot[1]));
  }
  for (int i = 0; i < 100; i++) drive_progress();
  close_fid(group.mcs[1]);
  group.size = 4;
  assert_int_equal(count_errors(&world, &group, &slot[1]), 4);
  group.size = 5;
  for (int rank = 0; rank < 5; rank++) {
    if (rank != 1) close_fid(group.mcs[rank]);
    close_fid(group.sets[rank]);
  }
  group_join(&world, &group, 5, NULL);
  struct call again = {.kind = FI_ALLTOALL, .datatype = FI_UINT8, .op = FI_NOOP, .count = 1000};
  move(&world, &group, &again, 1, 7);
  group_leave(&group);
  world_close(&world);
}

CASE(a_join_that_is_left_fails_for_the_others) {
  struct world world;
  struct group group = {.size = 3, .ranks = {0, 1, 2}};
  world_open(&world, 4);
  begin_join(&world, &group, 0, 0);
  begin_join(&world, &group, 1, 0);
  for (int i = 0; i < 50; i++) drive_progress();
  close_fid(group.mcs[0]);
  assert_true(join_ended(&world.members[1], group.mcs[1], &group) > 0);
  close_fid(group.mcs[1]);
  close_fid(group.sets[0]);
  close_fid(group.sets[1]);
  // Others are not concerned.
  group_join(&world, &group, 3, (int[]){0, 1, 3});
  group_leave(&group);
  world_close(&world);
}

// What a member sends in a join that has failed for others before does not stand in the way of the next one.
CASE(a_list_is_joined_again_after_a_failed_join) {
  enum { members = 5 };
  struct world world;
  world_open(&world, members);
  for (int leaver = 0; leaver < members; leaver++) {
    struct group group = {.size = members, .ranks = {0, 1, 2, 3, 4}}, again = group;
    int late = (leaver + 2) % members;
    for (int i = 0; i < members; i++) {
      if (i != late) begin_join(&world, &group, i, 0);
    }
    for (int i = 0; i < 50; i++) drive_progress();
    close_fid(group.mcs[leaver]);
    // Some are at their next join before the last one is at its first.
    int first = (leaver + 1) % members;
    assert_true(join_ended(&world.members[first], group.mcs[first], &group) > 0);
    begin_join(&world, &again, leaver, 0);
    begin_join(&world, &again, first, 0);
    for (int i = 0; i < 20; i++) drive_progress();
    begin_join(&world, &group, late, 0);
    // On a bad network a member may hear that the leaver has entered, and be done, before it hears that it is gone.
    int least = getenv("FI_POLYFILL_FAULT") ? 0 : 1;
    for (int i = 0; i < members; i++) {
      if (i != leaver && i != first) assert_true(join_ended(&world.members[i], group.mcs[i], &group) >= least);
    }
    for (int i = 0; i < members; i++) {
      if (i != leaver) close_fid(group.mcs[i]);
      close_fid(group.sets[i]);
      if (i != leaver && i != first) begin_join(&world, &again, i, 0);
    }
    for (int i = 0; i < members; i++) {
      assert_int_equal(join_ended(&world.members[i], again.mcs[i], &again), 0);
    }
    struct call call = {.kind = FI_ALLTOALL, .datatype = FI_UINT8, .op = FI_NOOP, .count = 100};
    move(&world, &again, &call, 1, 7);
    group_leave(&again);
  }
  world_close(&world);
}

// ---- counters, pieces, injection ----------------------------------------------------------------------------------

static struct fid_cntr *counters[most];
static int counter_count;

static void bind_counter(struct node *node) {
  bind_event_queue(node);
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP};
  assert_offered(fi_cntr_open(node->domain, &attributes, &counters[counter_count], NULL));
  assert_success(fi_ep_bind(node->ep, &counters[counter_count]->fid, FI_WRITE));
  counter_count++;
}

CASE(operations_are_counted) {
  struct setup setup = collective();
  setup.caps |= FI_RMA;
  setup.before_enable = bind_counter;
  struct world world;
  struct group group;
  counter_count = 0;
  world_open_with(&world, 3, &setup);
  group_join(&world, &group, 3, NULL);
  // A join is none.
  for (int i = 0; i < 3; i++) assert_true(fi_cntr_read(counters[i]) == 0);
  struct call call = {.kind = FI_ALLGATHER, .datatype = FI_UINT8, .op = FI_NOOP, .count = 100};
  for (int round = 0; round < 3; round++) move(&world, &group, &call, 1, 1);
  for (int i = 0; i < 3; i++) assert_true(fi_cntr_read(counters[i]) == 3 && fi_cntr_readerr(counters[i]) == 0);
  group_leave(&group);
  for (int i = 0; i < 3; i++) {
    struct member *member = &world.members[i];
    struct fid_eq *eq = member->eq;
    close_fid(member->node.ep);
    member->node.ep = NULL;
    close_fid(counters[i]);
    close_fid(eq);
    node_close(&member->node);
  }
}

CASE(injected_input_is_free_at_once) {
  struct world world;
  struct group group;
  world_open(&world, 4);
  group_join(&world, &group, 4, NULL);
  int32_t in[8], out[4][8];
  for (int rank = 0; rank < 4; rank++) {
    fill_operands(FI_INT32, rank, in, 8);
    struct call call = {.kind = FI_ALLREDUCE, .datatype = FI_INT32, .op = FI_SUM, .count = 8, .flags = FI_INJECT};
    post(begin(&world, &group, rank, &call, in, out[rank], &slot[1]));
    memset(in, 0x77, sizeof in);
  }
  wait_all(&world, &group, &slot[1]);
  for (int rank = 0; rank < 4; rank++) verify_reduced(FI_INT32, FI_SUM, 4, out[rank], 0, 8);
  char *large = allocate(1 << 20);
  struct call call = {.kind = FI_ALLREDUCE, .datatype = FI_UINT8, .op = FI_SUM, .count = 1 << 19, .flags = FI_INJECT};
  assert_returns(begin(&world, &group, 0, &call, large, large + (1 << 19), &slot[1]), -FI_EINVAL);
  free(large);
  group_leave(&group);
  world_close(&world);
}

CASE(memory_is_named_in_pieces) {
  struct world world;
  struct group group;
  world_open(&world, 3);
  group_join(&world, &group, 3, NULL);
  static int32_t in[3][6], out[3][6];
  for (int rank = 0; rank < 3; rank++) {
    fill_operands(FI_INT32, rank, in[rank], 6);
    struct fid_ep *ep = at(&world, &group, rank)->node.ep;
    struct fi_ioc given[2] = {{in[rank], 2}, {in[rank] + 2, 4}}, wanted[2] = {{out[rank], 5}, {out[rank] + 5, 1}};
    struct fi_msg_collective message = {
        .msg_iov = given, .iov_count = 2, .coll_addr = fi_mc_addr(group.mcs[rank]), .coll = FI_ALLREDUCE,
        .datatype = FI_INT32, .op = FI_SUM, .context = &slot[1]};
    ssize_t result = ep->collective->msg(ep, &message, wanted, NULL, 2, 0);
    if (result == -FI_ENOSYS) unsupported("the table has no call with a message");
    assert_returns(result, 0);
  }
  wait_all(&world, &group, &slot[1]);
  for (int rank = 0; rank < 3; rank++) verify_reduced(FI_INT32, FI_SUM, 3, out[rank], 0, 6);
  // A broadcast has one vector.
  for (int rank = 0; rank < 3; rank++) {
    struct fid_ep *ep = at(&world, &group, rank)->node.ep;
    if (rank != 1) memset(in[rank], 0, sizeof in[rank]);
    struct fi_ioc both[2] = {{in[rank], 1}, {in[rank] + 1, 5}};
    struct fi_msg_collective message = {
        .msg_iov = both, .iov_count = 2, .coll_addr = fi_mc_addr(group.mcs[rank]), .coll = FI_BROADCAST,
        .root_addr = root_of(&world, &group, rank, 1), .datatype = FI_INT32, .context = &slot[2]};
    assert_success(ep->collective->msg(ep, &message, NULL, NULL, 0, 0));
  }
  wait_all(&world, &group, &slot[2]);
  for (int rank = 0; rank < 3; rank++) {
    for (int i = 0; i < 6; i++) assert_int_equal(in[rank][i], operand(1, (size_t)i));
  }
  // Sizes that do not go together are refused.
  struct fid_ep *ep = at(&world, &group, 0)->node.ep;
  struct fi_ioc given = {in[0], 6}, wanted = {out[0], 5};
  struct fi_msg_collective message = {.msg_iov = &given, .iov_count = 1, .coll_addr = fi_mc_addr(group.mcs[0]),
                                      .coll = FI_ALLREDUCE, .datatype = FI_INT32, .op = FI_SUM};
  assert_returns(ep->collective->msg(ep, &message, &wanted, NULL, 1, 0), -FI_EINVAL);
  group_leave(&group);
  world_close(&world);
}

// ---- processes ----------------------------------------------------------------------------------------------------

// Opens a member in each process of a team and joins a group of all.
static void team_join(struct team *team, struct member *member, const struct setup *setup, struct fid_av_set **set,
                      struct fid_mc **mc) {
  member_open(member, setup);
  team_connect(team, &member->node, member->peers);
  member->peers[team->rank] = node_insert(&member->node, member->node.address);
  *set = empty_set(member, 0);
  for (int i = 0; i < team->size; i++) assert_success(fi_av_set_insert(*set, member->peers[i]));
  fi_addr_t address;
  assert_success(fi_av_set_addr(*set, &address));
  assert_success(fi_join_collective(member->node.ep, address, *set, 0, mc, member));
  assert_int_equal(join_ended(member, *mc, member), 0);
}

static void team_sums(struct team *team) {
  struct member member;
  struct fid_av_set *set;
  struct fid_mc *mc;
  struct setup setup = collective();
  team_join(team, &member, &setup, &set, &mc);
  enum { most_elements = 70000 };
  uint64_t *in = allocate(most_elements * 8), *out = allocate(most_elements * 8);
  for (uint64_t round = 0; round < 40; round++) {
    size_t count = round % 8 == 7 ? most_elements : round * 13 % 50;
    for (size_t i = 0; i < count; i++) in[i] = i * (uint64_t)(team->rank + 1) + round;
    post(fi_allreduce(member.node.ep, in, count, NULL, out, NULL, fi_mc_addr(mc), FI_UINT64, FI_SUM, 0, &slot[1]));
    wait_for(member.node.tx_cq, &slot[1]);
    uint64_t n = (uint64_t)team->size;
    for (size_t i = 0; i < count; i++) assert_true(out[i] == i * (n * (n + 1) / 2) + n * round);
  }
  free(in);
  free(out);
  close_fid(mc);
  close_fid(set);
  member_close(&member);
}

CASE(processes_sum) { team_run(TEAM_MAX, team_sums); }

static void team_sleeps(struct team *team) {
  struct member member;
  struct fid_av_set *set;
  struct fid_mc *mc;
  struct setup setup = collective();
  setup.wait_obj = FI_WAIT_FD;
  setup.progress = FI_PROGRESS_AUTO;
  team_join(team, &member, &setup, &set, &mc);
  for (int round = 0; round < 20; round++) {
    if (round % team->size == team->rank) sleep_ms(5);
    post(fi_barrier(member.node.ep, fi_mc_addr(mc), &slot[1]));
    struct fi_cq_tagged_entry entry;
    assert_returns(fi_cq_sread(member.node.tx_cq, &entry, 1, NULL, (int)(DEFAULT_WAIT * 1000)), 1);
    assert_ptr_equal(entry.op_context, &slot[1]);
  }
  close_fid(mc);
  close_fid(set);
  member_close(&member);
}

CASE(processes_sleep_until_a_barrier_is_over) { team_run(4, team_sleeps); }

static void team_loses_a_member(struct team *team) {
  struct member member;
  struct fid_av_set *set;
  struct fid_mc *mc;
  struct setup setup = collective();
  team_join(team, &member, &setup, &set, &mc);
  team_barrier(team);
  int victim = team->size - 1;
  if (team->rank == victim) {
    for (;;) sleep_ms(1000);
  }
  // The others begin before it dies: some wait for it directly, others for those that do.
  post(fi_barrier(member.node.ep, fi_mc_addr(mc), &slot[1]));
  for (int i = 0; i < 20; i++) drive_progress();
  if (team->rank == 0) team_kill(team, victim);
  double end = deadline_after(4 * DEFAULT_WAIT);
  struct fi_cq_tagged_entry entry;
  ssize_t result;
  while ((result = fi_cq_read(member.node.tx_cq, &entry, 1)) == -FI_EAGAIN) {
    if (seconds() > end) failed("the death is not noticed");
  }
  assert_returns(result, -FI_EAVAIL);
  struct fi_cq_err_entry error = {0};
  assert_returns(fi_cq_readerr(member.node.tx_cq, &error, 0), 1);
  assert_ptr_equal(error.op_context, &slot[1]);
  assert_true(error.err > 0);
  assert_true(fi_barrier(member.node.ep, fi_mc_addr(mc), &slot[2]) < 0);
  // The survivors go on in a group of their own.
  assert_success(fi_av_set_remove(set, member.peers[victim]));
  fi_addr_t address;
  struct fid_mc *smaller;
  assert_success(fi_av_set_addr(set, &address));
  assert_success(fi_join_collective(member.node.ep, address, set, 0, &smaller, &slot[3]));
  assert_int_equal(join_ended(&member, smaller, &slot[3]), 0);
  post(fi_barrier(member.node.ep, fi_mc_addr(smaller), &slot[4]));
  wait_for(member.node.tx_cq, &slot[4]);
  close_fid(smaller);
  close_fid(mc);
  close_fid(set);
  member_close(&member);
}

CASE(a_death_ends_the_operation_of_all) { team_run(TEAM_MAX, team_loses_a_member); }

static void team_loses_a_joiner(struct team *team) {
  struct member member;
  struct setup setup = collective();
  member_open(&member, &setup);
  team_connect(team, &member.node, member.peers);
  member.peers[team->rank] = node_insert(&member.node, member.node.address);
  int victim = 1;
  if (team->rank == victim) {
    for (;;) sleep_ms(1000);
  }
  struct fid_av_set *set = empty_set(&member, 0);
  for (int i = 0; i < team->size; i++) assert_success(fi_av_set_insert(set, member.peers[i]));
  fi_addr_t address;
  struct fid_mc *mc;
  assert_success(fi_av_set_addr(set, &address));
  assert_success(fi_join_collective(member.node.ep, address, set, 0, &mc, &member));
  for (int i = 0; i < 20; i++) drive_progress();
  if (team->rank == 0) team_kill(team, victim);
  assert_true(join_ended(&member, mc, &member) > 0);
  close_fid(mc);
  close_fid(set);
  member_close(&member);
}

CASE(a_death_ends_the_join_of_all) { team_run(TEAM_MAX, team_loses_a_joiner); }

