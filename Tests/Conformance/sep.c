// Scalable endpoints. Man pages: fi_endpoint(3), "Scalable endpoints"; fi_av(3), fi_rx_addr.
#include "fixture.h"

#include <rdma/fi_atomic.h>
#include <rdma/fi_collective.h>
#include <rdma/fi_trigger.h>

enum { most = 4, bits = 3 };

// A scalable endpoint, with a queue for each context.
struct scalable {
  struct node node;  // fabric, domain and av
  struct fid_ep *sep;
  int count;
  struct fid_ep *tx[most];
  struct fid_ep *rx[most];
  struct fid_cq *tx_cqs[most];
  struct fid_cq *rx_cqs[most];
  _Alignas(8) char address[128];
};

static const struct setup defaults = {
    .caps = FI_MSG | FI_TAGGED | FI_RMA | FI_NAMED_RX_CTX | FI_SOURCE | FI_DIRECTED_RECV};

static struct fid_av *open_av(struct node *node, int context_bits) {
  struct fi_av_attr attributes = {.type = FI_AV_UNSPEC, .count = 16, .rx_ctx_bits = context_bits};
  struct fid_av *av = NULL;
  assert_success(fi_av_open(node->domain, &attributes, &av, NULL));
  return av;
}

static void open_sep(struct scalable *s, const struct setup *setup, int count) {
  memset(s, 0, sizeof *s);
  node_open_domain(&s->node, setup ? setup : &defaults);
  s->node.info->ep_attr->tx_ctx_cnt = (size_t)count;
  s->node.info->ep_attr->rx_ctx_cnt = (size_t)count;
  s->count = count;
  s->node.av = open_av(&s->node, bits);
  assert_offered(fi_scalable_ep(s->node.domain, s->node.info, &s->sep, s));
}

static struct fid_cq *open_queue(struct node *node, size_t size) {
  struct fid_cq *cq = cq_open(node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, size);
  watch_cq(cq);
  return cq;
}

static void open_tx(struct scalable *s, int i, uint64_t flags) {
  s->tx_cqs[i] = open_queue(&s->node, 256);
  assert_success(fi_tx_context(s->sep, i, NULL, &s->tx[i], &s->tx[i]));
  assert_success(fi_ep_bind(s->tx[i], &s->tx_cqs[i]->fid, FI_TRANSMIT | flags));
  assert_success(fi_enable(s->tx[i]));
}

static void open_rx(struct scalable *s, int i, uint64_t flags) {
  s->rx_cqs[i] = open_queue(&s->node, 256);
  assert_success(fi_rx_context(s->sep, i, NULL, &s->rx[i], &s->rx[i]));
  assert_success(fi_ep_bind(s->rx[i], &s->rx_cqs[i]->fid, FI_RECV | flags));
  assert_success(fi_enable(s->rx[i]));
}

static void read_address(struct scalable *s) {
  size_t length = sizeof s->address;
  assert_success(fi_getname(&s->sep->fid, s->address, &length));
}

static void scalable_open(struct scalable *s, const struct setup *setup, int count) {
  open_sep(s, setup, count);
  assert_success(fi_scalable_ep_bind(s->sep, &s->node.av->fid, 0));
  for (int i = 0; i < count; i++) open_tx(s, i, 0);
  for (int i = 0; i < count; i++) open_rx(s, i, 0);
  assert_success(fi_enable(s->sep));
  read_address(s);
}

static void close_queue(struct fid_cq **cq) {
  if (!*cq) return;
  unwatch_cq(*cq);
  close_fid(*cq);
  *cq = NULL;
}

static void close_tx(struct scalable *s, int i) {
  if (s->tx[i]) close_fid(s->tx[i]);
  s->tx[i] = NULL;
  close_queue(&s->tx_cqs[i]);
}

static void close_rx(struct scalable *s, int i) {
  if (s->rx[i]) close_fid(s->rx[i]);
  s->rx[i] = NULL;
  close_queue(&s->rx_cqs[i]);
}

static void scalable_close(struct scalable *s) {
  for (int i = 0; i < s->count; i++) close_tx(s, i);
  for (int i = 0; i < s->count; i++) close_rx(s, i);
  if (s->sep) close_fid(s->sep);
  node_close(&s->node);
}

struct two {
  struct scalable a;
  struct scalable b;
  fi_addr_t to_b;  // b in a's address vector
  fi_addr_t to_a;
};

static void two_open(struct two *two, const struct setup *setup, int count) {
  scalable_open(&two->a, setup, count);
  scalable_open(&two->b, setup, count);
  two->to_b = node_insert(&two->a.node, two->b.address);
  two->to_a = node_insert(&two->b.node, two->a.address);
}

static void two_close(struct two *two) {
  scalable_close(&two->b);
  scalable_close(&two->a);
}

static fi_addr_t named(fi_addr_t address, int index) { return fi_rx_addr(address, index, bits); }

static void let_arrive(int milliseconds) {
  double deadline = seconds() + milliseconds / 1e3;
  while (seconds() < deadline) drive_progress();
}

// ---- discovery and opening ----------------------------------------------------------------------------------------

CASE(getinfo_grants_contexts) {
  struct node node;
  node_open_domain(&node, &defaults);
  size_t transmits = node.info->domain_attr->max_ep_tx_ctx, receives = node.info->domain_attr->max_ep_rx_ctx;
  assert_true(transmits > 1 && receives > 1);
  assert_true(node.info->caps & FI_NAMED_RX_CTX);
  struct fi_info *hints = fi_dupinfo(node.info), *info = NULL;
  hints->ep_attr->tx_ctx_cnt = 2;
  hints->ep_attr->rx_ctx_cnt = receives;
  assert_success(fi_getinfo(DEFAULT_VERSION, NULL, NULL, 0, hints, &info));
  assert_true(info->ep_attr->tx_ctx_cnt >= 2);
  assert_true(info->ep_attr->rx_ctx_cnt >= receives);
  fi_freeinfo(info);
  hints->ep_attr->rx_ctx_cnt = receives + 1;
  assert_returns(fi_getinfo(DEFAULT_VERSION, NULL, NULL, 0, hints, &info), -FI_ENODATA);
  fi_freeinfo(hints);
  node_close(&node);
}

CASE(classes_and_contexts_of_fids) {
  struct scalable s;
  scalable_open(&s, NULL, 2);
  assert_int_equal(s.sep->fid.fclass, FI_CLASS_SEP);
  assert_ptr_equal(s.sep->fid.context, &s);
  assert_int_equal(s.tx[1]->fid.fclass, FI_CLASS_TX_CTX);
  assert_ptr_equal(s.tx[1]->fid.context, &s.tx[1]);
  assert_int_equal(s.rx[1]->fid.fclass, FI_CLASS_RX_CTX);
  assert_ptr_equal(s.rx[1]->fid.context, &s.rx[1]);
  scalable_close(&s);
}

CASE(index_out_of_range) {
  struct scalable s;
  open_sep(&s, NULL, 2);
  struct fid_ep *context = NULL;
  assert_returns(fi_tx_context(s.sep, 2, NULL, &context, NULL), -FI_EINVAL);
  assert_returns(fi_rx_context(s.sep, 2, NULL, &context, NULL), -FI_EINVAL);
  assert_null(context);
  scalable_close(&s);
}

CASE(negative_index) {
  struct scalable s;
  open_sep(&s, NULL, 2);
  struct fid_ep *context = NULL;
  assert_fails(fi_tx_context(s.sep, -1, NULL, &context, NULL));
  assert_fails(fi_rx_context(s.sep, -1, NULL, &context, NULL));
  scalable_close(&s);
}

CASE(context_is_opened_once) {
  struct scalable s;
  open_sep(&s, NULL, 2);
  struct fid_ep *tx = NULL, *rx = NULL, *again = NULL;
  assert_success(fi_tx_context(s.sep, 1, NULL, &tx, NULL));
  assert_success(fi_rx_context(s.sep, 1, NULL, &rx, NULL));
  assert_fails(fi_tx_context(s.sep, 1, NULL, &again, NULL));
  assert_fails(fi_rx_context(s.sep, 1, NULL, &again, NULL));
  close_fid(tx);
  close_fid(rx);
  assert_success(fi_tx_context(s.sep, 1, NULL, &tx, NULL));
  assert_success(fi_rx_context(s.sep, 1, NULL, &rx, NULL));
  close_fid(tx);
  close_fid(rx);
  scalable_close(&s);
}

CASE(contexts_of_an_ordinary_endpoint) {
  struct node node;
  node_open(&node, &defaults);
  struct fid_ep *context = NULL;
  assert_fails(fi_tx_context(node.ep, 0, NULL, &context, NULL));
  assert_fails(fi_rx_context(node.ep, 0, NULL, &context, NULL));
  node_close(&node);
}

CASE(shared_contexts_do_not_combine) {
  struct node node;
  node_open_domain(&node, &defaults);
  node.info->ep_attr->tx_ctx_cnt = FI_SHARED_CONTEXT;
  node.info->ep_attr->rx_ctx_cnt = 2;
  struct fid_ep *sep = NULL;
  assert_fails(fi_scalable_ep(node.domain, node.info, &sep, NULL));
  node_close(&node);
}

CASE(more_contexts_than_there_are) {
  struct node node;
  node_open_domain(&node, &defaults);
  node.info->ep_attr->tx_ctx_cnt = 2;
  node.info->ep_attr->rx_ctx_cnt = 1 << 20;
  struct fid_ep *sep = NULL;
  assert_fails(fi_scalable_ep(node.domain, node.info, &sep, NULL));
  node_close(&node);
}

CASE(attributes_of_contexts) {
  struct scalable s;
  open_sep(&s, NULL, 2);
  struct fi_tx_attr tx = *s.node.info->tx_attr;
  struct fi_rx_attr rx = *s.node.info->rx_attr;
  tx.size = 8;
  rx.size = 8;
  assert_success(fi_tx_context(s.sep, 0, &tx, &s.tx[0], NULL));
  assert_success(fi_rx_context(s.sep, 0, &rx, &s.rx[0], NULL));
  assert_true(tx.size >= 8 && rx.size >= 8);
  assert_true(tx.caps & FI_MSG && tx.inject_size <= s.node.info->tx_attr->inject_size);
  assert_true(rx.caps & FI_MSG && rx.iov_limit > 0);
  scalable_close(&s);
}

CASE(attributes_beyond_the_endpoint) {
  struct scalable s;
  open_sep(&s, NULL, 2);
  struct fi_tx_attr tx = *s.node.info->tx_attr;
  struct fi_rx_attr rx = *s.node.info->rx_attr;
  struct fid_ep *context = NULL;
  tx.size *= 2;
  rx.size *= 2;
  assert_fails(fi_tx_context(s.sep, 0, &tx, &context, NULL));
  assert_fails(fi_rx_context(s.sep, 0, &rx, &context, NULL));
  tx = *s.node.info->tx_attr;
  tx.inject_size += 1;
  assert_fails(fi_tx_context(s.sep, 0, &tx, &context, NULL));
  tx = *s.node.info->tx_attr;
  rx = *s.node.info->rx_attr;
  tx.caps |= FI_ATOMIC;
  rx.caps |= FI_ATOMIC;
  assert_fails(fi_tx_context(s.sep, 0, &tx, &context, NULL));
  assert_fails(fi_rx_context(s.sep, 0, &rx, &context, NULL));
  scalable_close(&s);
}

// ---- binding, enabling, closing -----------------------------------------------------------------------------------

CASE(enable_without_an_address_vector) {
  struct scalable s;
  open_sep(&s, NULL, 2);
  assert_returns(fi_enable(s.sep), -FI_ENOAV);
  s.tx_cqs[0] = open_queue(&s.node, 16);
  assert_success(fi_tx_context(s.sep, 0, NULL, &s.tx[0], NULL));
  assert_success(fi_ep_bind(s.tx[0], &s.tx_cqs[0]->fid, FI_TRANSMIT));
  assert_returns(fi_enable(s.tx[0]), -FI_ENOAV);
  scalable_close(&s);
}

CASE(enable_without_a_queue) {
  struct scalable s;
  open_sep(&s, NULL, 2);
  assert_success(fi_scalable_ep_bind(s.sep, &s.node.av->fid, 0));
  assert_success(fi_tx_context(s.sep, 0, NULL, &s.tx[0], NULL));
  assert_success(fi_rx_context(s.sep, 0, NULL, &s.rx[0], NULL));
  assert_returns(fi_enable(s.tx[0]), -FI_ENOCQ);
  assert_returns(fi_enable(s.rx[0]), -FI_ENOCQ);
  assert_success(fi_enable(s.sep));
  scalable_close(&s);
}

// Open MPI's ofi BTL has such: peers reach memory, and nobody sends messages.
CASE(receive_context_without_a_queue_where_nothing_is_received) {
  struct scalable s;
  open_sep(&s, &(struct setup){.caps = FI_RMA}, 2);
  assert_success(fi_scalable_ep_bind(s.sep, &s.node.av->fid, 0));
  open_tx(&s, 0, 0);
  assert_success(fi_rx_context(s.sep, 0, NULL, &s.rx[0], NULL));
  assert_success(fi_enable(s.rx[0]));
  assert_success(fi_enable(s.sep));
  scalable_close(&s);
}

CASE(enable_twice) {
  struct scalable s;
  scalable_open(&s, NULL, 1);
  assert_fails(fi_enable(s.sep));
  assert_fails(fi_enable(s.tx[0]));
  assert_fails(fi_enable(s.rx[0]));
  scalable_close(&s);
}

CASE(transfer_before_enabling) {
  struct scalable s;
  open_sep(&s, NULL, 1);
  assert_success(fi_scalable_ep_bind(s.sep, &s.node.av->fid, 0));
  assert_success(fi_tx_context(s.sep, 0, NULL, &s.tx[0], NULL));
  assert_success(fi_rx_context(s.sep, 0, NULL, &s.rx[0], NULL));
  char buffer[8];
  assert_returns(fi_send(s.tx[0], buffer, sizeof buffer, NULL, 0, NULL), -FI_EOPBADSTATE);
  assert_returns(fi_recv(s.rx[0], buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, NULL), -FI_EOPBADSTATE);
  scalable_close(&s);
}

CASE(transfer_on_the_endpoint_itself) {
  struct scalable s;
  scalable_open(&s, NULL, 1);
  char buffer[8];
  assert_fails(fi_send(s.sep, buffer, sizeof buffer, NULL, 0, NULL));
  assert_fails(fi_recv(s.sep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, NULL));
  scalable_close(&s);
}

CASE(transfer_in_the_wrong_direction) {
  struct scalable s;
  scalable_open(&s, NULL, 1);
  char buffer[8];
  assert_fails(fi_recv(s.tx[0], buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, NULL));
  assert_fails(fi_send(s.rx[0], buffer, sizeof buffer, NULL, 0, NULL));
  scalable_close(&s);
}

CASE(bind_what_contexts_cannot_have) {
  struct scalable s;
  open_sep(&s, NULL, 1);
  assert_success(fi_tx_context(s.sep, 0, NULL, &s.tx[0], NULL));
  assert_success(fi_rx_context(s.sep, 0, NULL, &s.rx[0], NULL));
  s.tx_cqs[0] = open_queue(&s.node, 16);
  assert_fails(fi_ep_bind(s.tx[0], &s.node.av->fid, 0));
  assert_fails(fi_ep_bind(s.rx[0], &s.node.av->fid, 0));
  assert_fails(fi_ep_bind(s.tx[0], &s.tx_cqs[0]->fid, FI_TRANSMIT | FI_MULTICAST));
  assert_fails(fi_ep_bind(s.rx[0], &s.tx_cqs[0]->fid, FI_RECV | FI_MULTICAST));
  scalable_close(&s);
}

CASE(bind_a_second_queue) {
  struct scalable s;
  scalable_open(&s, NULL, 1);
  close_tx(&s, 0);
  assert_success(fi_tx_context(s.sep, 0, NULL, &s.tx[0], NULL));
  s.tx_cqs[0] = open_queue(&s.node, 16);
  assert_success(fi_ep_bind(s.tx[0], &s.tx_cqs[0]->fid, FI_TRANSMIT));
  assert_fails(fi_ep_bind(s.tx[0], &s.rx_cqs[0]->fid, FI_TRANSMIT));
  assert_success(fi_enable(s.tx[0]));
  assert_fails(fi_ep_bind(s.tx[0], &s.rx_cqs[0]->fid, FI_TRANSMIT));
  scalable_close(&s);
}

CASE(bind_two_address_vectors) {
  struct scalable s;
  open_sep(&s, NULL, 1);
  struct fid_av *other = open_av(&s.node, bits);
  assert_success(fi_scalable_ep_bind(s.sep, &s.node.av->fid, 0));
  assert_fails(fi_scalable_ep_bind(s.sep, &other->fid, 0));
  close_fid(other);
  scalable_close(&s);
}

CASE(close_order) {
  struct scalable s;
  scalable_open(&s, NULL, 1);
  assert_returns(fi_close(&s.sep->fid), -FI_EBUSY);
  assert_returns(fi_close(&s.tx_cqs[0]->fid), -FI_EBUSY);
  assert_returns(fi_close(&s.rx_cqs[0]->fid), -FI_EBUSY);
  assert_returns(fi_close(&s.node.av->fid), -FI_EBUSY);
  close_tx(&s, 0);
  assert_returns(fi_close(&s.sep->fid), -FI_EBUSY);
  close_rx(&s, 0);
  close_fid(s.sep);
  s.sep = NULL;
  scalable_close(&s);
}

CASE(too_many_bits_for_contexts) {
  struct node node;
  node_open_domain(&node, &defaults);
  for (int wrong = -1; wrong <= 17; wrong += 18) {
    struct fi_av_attr attributes = {.type = FI_AV_UNSPEC, .rx_ctx_bits = wrong};
    struct fid_av *av = NULL;
    assert_fails(fi_av_open(node.domain, &attributes, &av, NULL));
  }
  node_close(&node);
}

CASE(lookup_and_removal_of_a_named_address) {
  struct scalable s;
  scalable_open(&s, NULL, 1);
  fi_addr_t self = named(node_insert(&s.node, s.address), 5);
  char address[128];
  size_t length = sizeof address;
  assert_success(fi_av_lookup(s.node.av, self, address, &length));
  assert_memory_equal(address, s.address, length);
  scalable_close(&s);
}

// ---- messages -----------------------------------------------------------------------------------------------------

CASE(every_context_gets_its_messages) {
  struct two two;
  two_open(&two, NULL, most);
  char targets[most][64], source[64];
  for (int i = 0; i < most; i++) {
    post(fi_recv(two.b.rx[i], targets[i], sizeof targets[i], NULL, FI_ADDR_UNSPEC, targets[i]));
  }
  for (int i = most - 1; i >= 0; i--) {
    fill(source, sizeof source, (uint64_t)i);
    post(fi_send(two.a.tx[i], source, sizeof source, NULL, named(two.to_b, (i + 1) % most), source));
    wait_for(two.a.tx_cqs[i], source);  // the sending context's queue
    wait_for(two.b.rx_cqs[(i + 1) % most], targets[(i + 1) % most]);
    verify(targets[(i + 1) % most], sizeof source, (uint64_t)i);
  }
  for (int i = 0; i < most; i++) {
    expect_quiet(two.a.tx_cqs[i], 0);
    expect_quiet(two.b.rx_cqs[i], 5);
  }
  two_close(&two);
}

CASE(messages_without_a_name_go_to_the_first_context) {
  struct two two;
  two_open(&two, NULL, 2);
  char first[16], second[16], source[16];
  fill(source, sizeof source, 1);
  post(fi_recv(two.b.rx[1], second, sizeof second, NULL, FI_ADDR_UNSPEC, second));
  post(fi_recv(two.b.rx[0], first, sizeof first, NULL, FI_ADDR_UNSPEC, first));
  post(fi_send(two.a.tx[1], source, sizeof source, NULL, two.to_b, source));
  wait_for(two.b.rx_cqs[0], first);
  verify(first, sizeof first, 1);
  expect_quiet(two.b.rx_cqs[1], 20);
  two_close(&two);
}

static void exchange(bool expected) {
  static const size_t sizes[] = {0, 1, 1000, 20000, 65536, 65537, 1000000};
  struct two two;
  two_open(&two, NULL, most);
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    size_t size = sizes[k];
    char *sources[most], *targets[most];
    for (int i = 0; i < most; i++) {
      sources[i] = allocate(size);
      targets[i] = allocate(size);
      fill(sources[i], size, k * 10 + (size_t)i);
    }
    for (int round = 0; round < 2; round++) {
      for (int i = 0; i < most && (round == 0) == expected; i++) {
        // Tags are the same: contexts tell the messages apart.
        post(fi_trecv(two.b.rx[i], targets[i], size, NULL, FI_ADDR_UNSPEC, k, 0, targets[i]));
      }
      for (int i = 0; i < most && (round == 1) == expected; i++) {
        post(fi_tsend(two.a.tx[most - 1 - i], sources[i], size, NULL, named(two.to_b, i), k, sources[i]));
      }
      if (round == 0 && !expected) let_arrive(20);
    }
    for (int i = 0; i < most; i++) {
      wait_for(two.b.rx_cqs[i], targets[i]);
      verify(targets[i], size, k * 10 + (size_t)i);
      wait_for(two.a.tx_cqs[most - 1 - i], sources[i]);
      free(sources[i]);
      free(targets[i]);
    }
  }
  two_close(&two);
}

CASE(sizes_expected) { exchange(true); }
CASE(sizes_unexpected) { exchange(false); }

CASE(messages_before_the_context_is_opened) {
  struct scalable a, b;
  scalable_open(&a, NULL, 2);
  open_sep(&b, NULL, 2);
  assert_success(fi_scalable_ep_bind(b.sep, &b.node.av->fid, 0));
  open_rx(&b, 0, 0);
  assert_success(fi_enable(b.sep));
  read_address(&b);
  fi_addr_t to_b = node_insert(&a.node, b.address);
  char small[100], target[100];
  size_t size = 200000;
  char *large = allocate(size), *large_target = allocate(size);
  fill(small, sizeof small, 1);
  fill(large, size, 2);
  post(fi_send(a.tx[0], small, sizeof small, NULL, named(to_b, 1), small));
  post(fi_send(a.tx[0], large, size, NULL, named(to_b, 1), large));
  let_arrive(50);
  open_rx(&b, 1, 0);
  post(fi_recv(b.rx[1], target, sizeof target, NULL, FI_ADDR_UNSPEC, target));
  post(fi_recv(b.rx[1], large_target, size, NULL, FI_ADDR_UNSPEC, large_target));
  wait_for(b.rx_cqs[1], target);
  wait_for(b.rx_cqs[1], large_target);
  verify(target, sizeof target, 1);
  verify(large_target, size, 2);
  scalable_close(&b);
  scalable_close(&a);
  free(large);
  free(large_target);
}

CASE(order_within_a_context) {
  enum { count = 100 };
  struct two two;
  two_open(&two, NULL, 2);
  static char targets[2][count];
  for (int i = 0; i < count; i++) {
    for (int k = 0; k < 2; k++) post(fi_recv(two.b.rx[k], &targets[k][i], 1, NULL, FI_ADDR_UNSPEC, &targets[k][i]));
  }
  for (int i = 0; i < count; i++) {
    for (int k = 0; k < 2; k++) {
      char byte = (char)(i ^ k);
      post(fi_inject(two.a.tx[k], &byte, 1, named(two.to_b, k)));
    }
  }
  for (int k = 0; k < 2; k++) {
    wait_for_all(two.b.rx_cqs[k], targets[k], count);
    for (int i = 0; i < count; i++) assert_int_equal(targets[k][i], (char)(i ^ k));
  }
  two_close(&two);
}

CASE(ordinary_endpoint_names_contexts) {
  struct scalable b;
  scalable_open(&b, NULL, most);
  struct node a;
  node_open_domain(&a, &defaults);
  a.av = open_av(&a, bits);
  a.tx_cq = open_queue(&a, 64);
  a.rx_cq = open_queue(&a, 64);
  assert_success(fi_endpoint(a.domain, a.info, &a.ep, NULL));
  assert_success(fi_ep_bind(a.ep, &a.av->fid, 0));
  assert_success(fi_ep_bind(a.ep, &a.tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(a.ep, &a.rx_cq->fid, FI_RECV));
  assert_success(fi_enable(a.ep));
  char address[128], source[32], target[32];
  size_t length = sizeof address;
  assert_success(fi_getname(&a.ep->fid, address, &length));
  fi_addr_t to_b = node_insert(&a, b.address), to_a = node_insert(&b.node, address);
  for (int i = 0; i < most; i++) {
    fill(source, sizeof source, (uint64_t)i);
    post(fi_tsend(a.ep, source, sizeof source, NULL, named(to_b, i), 9, source));
    post(fi_trecv(b.rx[i], target, sizeof target, NULL, to_a, 9, 0, target));
    wait_for(b.rx_cqs[i], target);
    verify(target, sizeof target, (uint64_t)i);
    wait_for(a.tx_cq, source);
    // And back, from any context.
    post(fi_recv(a.ep, target, sizeof target, NULL, to_b, target));
    post(fi_send(b.tx[i], source, sizeof source, NULL, to_a, source));
    wait_for(a.rx_cq, target);
    wait_for(b.tx_cqs[i], source);
  }
  node_close(&a);
  scalable_close(&b);
}

CASE(sources_and_directed_receives) {
  struct two two;
  two_open(&two, NULL, 2);
  struct scalable other;
  scalable_open(&other, NULL, 2);
  fi_addr_t other_to_b = node_insert(&other.node, two.b.address);
  fi_addr_t to_other = node_insert(&two.b.node, other.address);
  char first[16], second[16], source[16];
  fill(source, sizeof source, 1);
  // Which of its receive contexts the source is named by does not matter.
  post(fi_recv(two.b.rx[1], first, sizeof first, NULL, named(to_other, 1), first));
  post(fi_recv(two.b.rx[1], second, sizeof second, NULL, two.to_a, second));
  post(fi_inject(two.a.tx[1], source, sizeof source, named(two.to_b, 1)));
  struct fi_cq_tagged_entry entry;
  fi_addr_t from = FI_ADDR_NOTAVAIL;
  wait_until(fi_cq_readfrom(two.b.rx_cqs[1], &entry, 1, &from) == 1);
  assert_ptr_equal(entry.op_context, second);
  assert_int_equal(from, two.to_a);
  post(fi_inject(other.tx[0], source, sizeof source, named(other_to_b, 1)));
  wait_until(fi_cq_readfrom(two.b.rx_cqs[1], &entry, 1, &from) == 1);
  assert_ptr_equal(entry.op_context, first);
  assert_int_equal(from, to_other);
  scalable_close(&other);
  two_close(&two);
}

CASE(context_that_the_peer_has_not) {
  struct two two;
  two_open(&two, NULL, 2);
  char source[16], target[16];
  fill(source, sizeof source, 1);
  struct iovec iov = {source, sizeof source};
  struct fi_msg msg = {.msg_iov = &iov, .iov_count = 1, .addr = named(two.to_b, 5), .context = source};
  post(fi_sendmsg(two.a.tx[0], &msg, FI_DELIVERY_COMPLETE));
  struct fi_cq_err_entry error;
  wait_error(two.a.tx_cqs[0], &error);
  assert_ptr_equal(error.op_context, source);
  post(fi_recv(two.b.rx[1], target, sizeof target, NULL, FI_ADDR_UNSPEC, target));
  post(fi_inject(two.a.tx[0], source, sizeof source, named(two.to_b, 1)));
  wait_for(two.b.rx_cqs[1], target);
  two_close(&two);
}

CASE(address_that_is_not_there) {
  struct scalable s;
  scalable_open(&s, NULL, 2);
  char source[16];
  assert_fails(fi_send(s.tx[0], source, sizeof source, NULL, named(77, 1), NULL));
  assert_fails(fi_send(s.tx[0], source, sizeof source, NULL, FI_ADDR_UNSPEC, NULL));
  scalable_close(&s);
}

CASE(one_queue_for_all_contexts) {
  struct scalable s;
  open_sep(&s, NULL, most);
  assert_success(fi_scalable_ep_bind(s.sep, &s.node.av->fid, 0));
  struct fid_cq *cq = open_queue(&s.node, 256);
  for (int i = 0; i < most; i++) {
    assert_success(fi_tx_context(s.sep, i, NULL, &s.tx[i], NULL));
    assert_success(fi_rx_context(s.sep, i, NULL, &s.rx[i], NULL));
    assert_success(fi_ep_bind(s.tx[i], &cq->fid, FI_TRANSMIT));
    assert_success(fi_ep_bind(s.rx[i], &cq->fid, FI_RECV));
    assert_success(fi_enable(s.tx[i]));
    assert_success(fi_enable(s.rx[i]));
  }
  assert_success(fi_enable(s.sep));
  read_address(&s);
  fi_addr_t self = node_insert(&s.node, s.address);
  char targets[most][8], source[8];
  fill(source, sizeof source, 1);
  for (int i = 0; i < most; i++) {
    post(fi_recv(s.rx[i], targets[i], sizeof targets[i], NULL, FI_ADDR_UNSPEC, targets[i]));
    post(fi_send(s.tx[i], source, sizeof source, NULL, named(self, i), source));
  }
  int sent = 0, received = 0;
  while (sent + received < 2 * most) {
    struct fi_cq_tagged_entry entry;
    wait_completion(cq, &entry);
    if (entry.flags & FI_SEND) sent++;
    if (entry.flags & FI_RECV) received++;
  }
  assert_int_equal(sent, most);
  for (int i = 0; i < most; i++) verify(targets[i], sizeof source, 1);
  for (int i = 0; i < most; i++) {
    close_fid(s.tx[i]);
    close_fid(s.rx[i]);
    s.tx[i] = s.rx[i] = NULL;
  }
  close_queue(&cq);
  scalable_close(&s);
}

CASE(completions_of_one_context_are_selective) {
  struct scalable s;
  open_sep(&s, NULL, 2);
  assert_success(fi_scalable_ep_bind(s.sep, &s.node.av->fid, 0));
  open_tx(&s, 0, FI_SELECTIVE_COMPLETION);
  open_tx(&s, 1, 0);
  open_rx(&s, 0, 0);
  open_rx(&s, 1, FI_SELECTIVE_COMPLETION);
  assert_success(fi_enable(s.sep));
  read_address(&s);
  fi_addr_t self = node_insert(&s.node, s.address);
  char source[8], first[8], second[8];
  fill(source, sizeof source, 1);
  post(fi_recv(s.rx[0], first, sizeof first, NULL, FI_ADDR_UNSPEC, first));
  post(fi_recv(s.rx[1], second, sizeof second, NULL, FI_ADDR_UNSPEC, second));
  post(fi_send(s.tx[0], source, sizeof source, NULL, named(self, 0), source));
  post(fi_send(s.tx[1], source, sizeof source, NULL, named(self, 1), source));
  wait_for(s.tx_cqs[1], source);
  wait_for(s.rx_cqs[0], first);
  wait_until(matches(second, sizeof second, 1));
  expect_quiet(s.tx_cqs[0], 20);
  expect_quiet(s.rx_cqs[1], 0);
  // With the flag it is told.
  uint64_t flags = FI_TRANSMIT | FI_COMPLETION;
  assert_success(fi_control(&s.tx[0]->fid, FI_SETOPSFLAG, &flags));
  post(fi_recv(s.rx[0], first, sizeof first, NULL, FI_ADDR_UNSPEC, first));
  post(fi_send(s.tx[0], source, sizeof source, NULL, self, source));
  wait_for(s.tx_cqs[0], source);
  wait_for(s.rx_cqs[0], first);
  scalable_close(&s);
}

CASE(aliases_of_contexts) {
  struct two two;
  two_open(&two, NULL, 2);
  struct fid_ep *tx = NULL, *rx = NULL;
  assert_offered(fi_ep_alias(two.a.tx[1], &tx, FI_TRANSMIT));
  assert_offered(fi_ep_alias(two.b.rx[1], &rx, FI_RECV));
  assert_fails(fi_ep_alias(two.a.tx[1], &tx, FI_RECV));
  char source[8], target[8];
  fill(source, sizeof source, 1);
  post(fi_recv(rx, target, sizeof target, NULL, FI_ADDR_UNSPEC, target));
  post(fi_send(tx, source, sizeof source, NULL, named(two.to_b, 1), source));
  wait_for(two.a.tx_cqs[1], source);
  wait_for(two.b.rx_cqs[1], target);
  verify(target, sizeof target, 1);
  assert_returns(fi_close(&two.a.tx[1]->fid), -FI_EBUSY);
  assert_returns(fi_close(&two.b.rx[1]->fid), -FI_EBUSY);
  close_fid(tx);
  close_fid(rx);
  two_close(&two);
}

CASE(cancel_in_a_context) {
  struct scalable s;
  scalable_open(&s, NULL, 2);
  char first[8], second[8];
  post(fi_recv(s.rx[0], first, sizeof first, NULL, FI_ADDR_UNSPEC, first));
  post(fi_recv(s.rx[1], second, sizeof second, NULL, FI_ADDR_UNSPEC, second));
  assert_success(fi_cancel(&s.rx[1]->fid, second));
  struct fi_cq_err_entry error;
  wait_error(s.rx_cqs[1], &error);
  assert_int_equal(error.err, FI_ECANCELED);
  assert_ptr_equal(error.op_context, second);
  expect_quiet(s.rx_cqs[0], 5);
  scalable_close(&s);
}

CASE(many_operations_at_once) {
  enum { count = 2000 };
  struct two two;
  two_open(&two, NULL, most);
  static uint32_t targets[most][count];
  int posted[most] = {0}, sent[most] = {0}, received[most] = {0};
  double deadline = deadline_after(4 * DEFAULT_WAIT);
  for (int done = 0; done < most;) {
    done = 0;
    for (int i = 0; i < most; i++) {
      while (posted[i] < count && posted[i] < received[i] + 64) {
        uint32_t *target = &targets[i][posted[i]];
        if (fi_recv(two.b.rx[i], target, sizeof *target, NULL, FI_ADDR_UNSPEC, target)) break;
        posted[i]++;
      }
      while (sent[i] < count) {
        uint32_t value = (uint32_t)(sent[i] * most + i);
        if (fi_inject(two.a.tx[i], &value, sizeof value, named(two.to_b, i))) break;
        sent[i]++;
      }
      struct fi_cq_tagged_entry entries[16];
      ssize_t got = fi_cq_read(two.b.rx_cqs[i], entries, 16);
      assert_true(got > 0 || got == -FI_EAGAIN);
      if (got > 0) received[i] += (int)got;
      done += received[i] == count;
    }
    drive_progress();
    if (seconds() > deadline) failed("messages did not come");
  }
  for (int i = 0; i < most; i++) {
    for (int k = 0; k < count; k++) assert_int_equal(targets[i][k], k * most + i);
  }
  two_close(&two);
}

// ---- buffers for many messages ------------------------------------------------------------------------------------

CASE(buffers_for_many_messages) {
  struct setup setup = defaults;
  setup.caps |= FI_MULTI_RECV;
  struct two two;
  two_open(&two, &setup, 2);
  char *buffers[2];
  size_t size = 4096, minimum = 1024;
  for (int i = 0; i < 2; i++) {
    buffers[i] = allocate(size);
    assert_success(fi_setopt(&two.b.rx[i]->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &minimum, sizeof minimum));
    struct iovec iov = {buffers[i], size};
    struct fi_msg msg = {.msg_iov = &iov, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .context = buffers[i]};
    post(fi_recvmsg(two.b.rx[i], &msg, FI_MULTI_RECV));
  }
  char source[500];
  for (int i = 0; i < 2; i++) {
    bool released = false;
    size_t taken = 0;
    for (int k = 0; !released; k++) {
      fill(source, sizeof source, (uint64_t)(k * 2 + i));
      post(fi_send(two.a.tx[i], source, sizeof source, NULL, named(two.to_b, i), source));
      wait_for(two.a.tx_cqs[i], source);
      struct fi_cq_tagged_entry entry;
      wait_completion(two.b.rx_cqs[i], &entry);
      assert_ptr_equal(entry.op_context, buffers[i]);
      verify(buffers[i] + taken, sizeof source, (uint64_t)(k * 2 + i));
      taken += sizeof source;
      released = entry.flags & FI_MULTI_RECV;
    }
    assert_int_equal(taken, 3500);  // then less than the minimum is free
  }
  two_close(&two);
  free(buffers[0]);
  free(buffers[1]);
}

// ---- counters -----------------------------------------------------------------------------------------------------

static struct fid_cntr *counter_open(struct node *node) {
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP};
  struct fid_cntr *counter = NULL;
  assert_offered(fi_cntr_open(node->domain, &attributes, &counter, NULL));
  return counter;
}

CASE(counters_of_contexts) {
  struct scalable s;
  open_sep(&s, NULL, 2);
  assert_success(fi_scalable_ep_bind(s.sep, &s.node.av->fid, 0));
  struct fid_cntr *sends[2], *receives[2];
  for (int i = 0; i < 2; i++) {
    sends[i] = counter_open(&s.node);
    receives[i] = counter_open(&s.node);
    s.tx_cqs[i] = open_queue(&s.node, 64);
    s.rx_cqs[i] = open_queue(&s.node, 64);
    assert_success(fi_tx_context(s.sep, i, NULL, &s.tx[i], NULL));
    assert_success(fi_rx_context(s.sep, i, NULL, &s.rx[i], NULL));
    assert_success(fi_ep_bind(s.tx[i], &s.tx_cqs[i]->fid, FI_TRANSMIT));
    assert_success(fi_ep_bind(s.rx[i], &s.rx_cqs[i]->fid, FI_RECV));
    assert_success(fi_ep_bind(s.tx[i], &sends[i]->fid, FI_SEND));
    assert_success(fi_ep_bind(s.rx[i], &receives[i]->fid, FI_RECV));
    assert_success(fi_enable(s.tx[i]));
    assert_success(fi_enable(s.rx[i]));
  }
  assert_success(fi_enable(s.sep));
  read_address(&s);
  fi_addr_t self = node_insert(&s.node, s.address);
  char source[8], targets[3][8];
  for (int k = 0; k < 3; k++) post(fi_recv(s.rx[1], targets[k], 8, NULL, FI_ADDR_UNSPEC, targets[k]));
  for (int k = 0; k < 3; k++) post(fi_send(s.tx[k == 2], source, 8, NULL, named(self, 1), source));
  wait_until(fi_cntr_read(receives[1]) == 3 && fi_cntr_read(sends[0]) == 2 && fi_cntr_read(sends[1]) == 1);
  assert_int_equal(fi_cntr_read(receives[0]), 0);
  for (int i = 0; i < 2; i++) assert_returns(fi_close(&sends[i]->fid), -FI_EBUSY);
  for (int i = 0; i < 2; i++) {
    close_tx(&s, i);
    close_rx(&s, i);
    close_fid(sends[i]);
    close_fid(receives[i]);
  }
  scalable_close(&s);
}

// ---- remote memory ------------------------------------------------------------------------------------------------

CASE(remote_memory_through_contexts) {
  struct two two;
  two_open(&two, NULL, 2);
  size_t size = 100000;
  char *source = allocate(size), *target = allocate(size), *back = allocate(size);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(two.b.node.domain, target, size, FI_REMOTE_WRITE | FI_REMOTE_READ, 0, 7, 0, &mr, NULL));
  uint64_t base = two.b.node.info->domain_attr->mr_mode & (FI_MR_VIRT_ADDR | FI_MR_BASIC) ? (uintptr_t)target : 0;
  for (int i = 0; i < 2; i++) {
    fill(source, size, (uint64_t)i);
    struct iovec iov = {source, size};
    struct fi_rma_iov remote = {base, size, fi_mr_key(mr)};
    struct fi_msg_rma msg = {.msg_iov = &iov, .iov_count = 1, .addr = two.to_b, .rma_iov = &remote,
                             .rma_iov_count = 1, .context = source};
    post(fi_writemsg(two.a.tx[i], &msg, FI_DELIVERY_COMPLETE));
    wait_for(two.a.tx_cqs[i], source);
    verify(target, size, (uint64_t)i);
    post(fi_read(two.a.tx[1 - i], back, size, NULL, named(two.to_b, 1), base, fi_mr_key(mr), back));
    wait_for(two.a.tx_cqs[1 - i], back);
    verify(back, size, (uint64_t)i);
  }
  close_fid(mr);
  two_close(&two);
  free(source);
  free(target);
  free(back);
}

CASE(write_with_data_is_told_by_the_first_context) {
  struct two two;
  two_open(&two, NULL, 2);
  char source[64], target[64];
  fill(source, sizeof source, 1);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(two.b.node.domain, target, sizeof target, FI_REMOTE_WRITE, 0, 7, 0, &mr, NULL));
  uint64_t base = two.b.node.info->domain_attr->mr_mode & (FI_MR_VIRT_ADDR | FI_MR_BASIC) ? (uintptr_t)target : 0;
  post(fi_writedata(two.a.tx[1], source, sizeof source, NULL, 0xABCDEF, two.to_b, base, fi_mr_key(mr), source));
  wait_for(two.a.tx_cqs[1], source);
  struct fi_cq_tagged_entry entry;
  wait_completion(two.b.rx_cqs[0], &entry);
  assert_true(entry.flags & FI_REMOTE_WRITE && entry.flags & FI_REMOTE_CQ_DATA);
  assert_int_equal(entry.data, 0xABCDEF);
  verify(target, sizeof target, 1);
  close_fid(mr);
  two_close(&two);
}

// ---- closing contexts ---------------------------------------------------------------------------------------------

CASE(closed_context_refuses_messages) {
  struct two two;
  two_open(&two, NULL, 2);
  char source[16], target[16], waiting[16];
  fill(source, sizeof source, 1);
  post(fi_recv(two.b.rx[1], waiting, sizeof waiting, NULL, FI_ADDR_UNSPEC, waiting));
  close_rx(&two.b, 1);
  struct iovec iov = {source, sizeof source};
  struct fi_msg msg = {.msg_iov = &iov, .iov_count = 1, .addr = named(two.to_b, 1), .context = source};
  post(fi_sendmsg(two.a.tx[0], &msg, FI_DELIVERY_COMPLETE));
  struct fi_cq_err_entry error;
  wait_error(two.a.tx_cqs[0], &error);
  // The others go on, and so does the same one when it is opened again.
  open_rx(&two.b, 1, 0);
  for (int i = 0; i < 2; i++) {
    post(fi_recv(two.b.rx[i], target, sizeof target, NULL, FI_ADDR_UNSPEC, target));
    post(fi_inject(two.a.tx[i], source, sizeof source, named(two.to_b, i)));
    wait_for(two.b.rx_cqs[i], target);
    verify(target, sizeof target, 1);
  }
  two_close(&two);
}

// The memory of receives is the program's again when the context is closed.
CASE(close_while_messages_arrive) {
  struct two two;
  two_open(&two, NULL, 2);
  size_t size = 16 << 20;
  char *source = allocate(size);
  fill(source, size, 1);
  char *target = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(target != MAP_FAILED);
  post(fi_recv(two.b.rx[1], target, size, NULL, FI_ADDR_UNSPEC, target));
  post(fi_send(two.a.tx[1], source, size, NULL, named(two.to_b, 1), source));
  post(fi_send(two.a.tx[1], source, 1000, NULL, named(two.to_b, 1), source + 1));  // nobody waits for that one
  double deadline = deadline_after(DEFAULT_WAIT);
  while (!target[4096 * 8] && seconds() < deadline) drive_progress();
  close_rx(&two.b, 1);
  munmap(target, size);
  let_arrive(50);
  char small[16], small_target[16];
  fill(small, sizeof small, 2);
  post(fi_recv(two.b.rx[0], small_target, sizeof small_target, NULL, FI_ADDR_UNSPEC, small_target));
  post(fi_inject(two.a.tx[0], small, sizeof small, two.to_b));
  wait_for(two.b.rx_cqs[0], small_target);
  verify(small_target, sizeof small_target, 2);
  two_close(&two);
  free(source);
}

// Nor is that of sends read, and that of reads written.
CASE(close_with_operations_in_flight) {
  struct two two;
  two_open(&two, NULL, 2);
  size_t size = 1 << 20;
  char *memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(memory != MAP_FAILED);
  fill(memory, size, 1);
  char *target = allocate(size);
  post(fi_tsend(two.a.tx[1], memory, size, NULL, two.to_b, 1, memory));  // nobody receives these yet
  post(fi_tsend(two.a.tx[1], memory, 30000, NULL, two.to_b, 2, memory));
  let_arrive(20);
  double start = seconds();
  close_tx(&two.a, 1);
  assert_true(seconds() - start < 3 * time_factor());
  munmap(memory, 2 * size);
  post(fi_trecv(two.b.rx[0], target, size, NULL, FI_ADDR_UNSPEC, 3, 0, target));
  char small[16];
  fill(small, sizeof small, 3);
  post(fi_tsend(two.a.tx[0], small, sizeof small, NULL, two.to_b, 3, small));
  wait_for(two.b.rx_cqs[0], target);
  verify(target, sizeof small, 3);
  // What was given up may still come, whole, or not at all.
  post(fi_trecv(two.b.rx[0], target, size, NULL, FI_ADDR_UNSPEC, 1, 0, target));
  let_arrive(100);
  struct fi_cq_tagged_entry entry;
  if (fi_cq_read(two.b.rx_cqs[0], &entry, 1) == 1) verify(target, size, 1);
  wait_for(two.a.tx_cqs[0], small);
  open_tx(&two.a, 1, 0);
  post(fi_trecv(two.b.rx[1], small, sizeof small, NULL, FI_ADDR_UNSPEC, 4, 0, small));
  post(fi_tinject(two.a.tx[1], "again", 6, named(two.to_b, 1), 4));
  wait_for(two.b.rx_cqs[1], small);
  assert_string_equal(small, "again");
  two_close(&two);
  free(target);
}

// Nor is that which atomic operations return something to.
CASE(close_with_atomics_in_flight) {
  struct setup setup = defaults;
  setup.caps |= FI_ATOMIC;
  setup.progress = FI_PROGRESS_MANUAL;
  struct two two;
  two_open(&two, &setup, 2);
  static uint64_t target[512];
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(two.b.node.domain, target, sizeof target, FI_REMOTE_WRITE | FI_REMOTE_READ, 0, 7, 0, &mr,
                           NULL));
  uint64_t base = two.b.node.info->domain_attr->mr_mode & (FI_MR_VIRT_ADDR | FI_MR_BASIC) ? (uintptr_t)target : 0;
  uint64_t key = fi_mr_key(mr), one = 1;
  // A session, so that the operations are on their way when the context is closed.
  post(fi_atomic(two.a.tx[0], &one, 1, NULL, two.to_b, base, key, FI_UINT64, FI_SUM, &one));
  wait_for(two.a.tx_cqs[0], &one);
  size_t size = 4096;
  uint64_t *memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(memory != MAP_FAILED);
  for (int i = 0; i < 512; i++) memory[i] = 1;
  uint64_t *results = memory + 512;
  post(fi_fetch_atomic(two.a.tx[1], memory, 512, NULL, results, NULL, two.to_b, base, key, FI_UINT64, FI_SUM, memory));
  post(fi_compare_atomic(two.a.tx[1], memory, 4, NULL, memory, NULL, results, NULL, two.to_b, base, key, FI_UINT64,
                         FI_CSWAP, memory));
  post(fi_fetch_atomic(two.a.tx[1], NULL, 4, NULL, results, NULL, two.to_b, base, key, FI_UINT64, FI_ATOMIC_READ,
                       memory));
  close_tx(&two.a, 1);  // the peer is not driven meanwhile
  munmap(memory, 2 * size);
  let_arrive(100);
  // They were done all the same, and the other context goes on.
  uint64_t fetched = 0;
  post(fi_fetch_atomic(two.a.tx[0], &one, 1, NULL, &fetched, NULL, two.to_b, base, key, FI_UINT64, FI_SUM, &one));
  wait_for(two.a.tx_cqs[0], &one);
  assert_int_equal(fetched, 2);
  close_fid(mr);
  two_close(&two);
}

CASE(open_and_close_contexts_often) {
  struct two two;
  two_open(&two, NULL, 2);
  char source[100], target[100];
  for (int k = 0; k < 200; k++) {
    close_rx(&two.b, 1);
    close_tx(&two.a, 1);
    open_rx(&two.b, 1, 0);
    open_tx(&two.a, 1, 0);
    fill(source, sizeof source, (uint64_t)k);
    post(fi_recv(two.b.rx[1], target, sizeof target, NULL, FI_ADDR_UNSPEC, target));
    post(fi_send(two.a.tx[1], source, sizeof source, NULL, named(two.to_b, 1), source));
    wait_for(two.a.tx_cqs[1], source);
    wait_for(two.b.rx_cqs[1], target);
    verify(target, sizeof target, (uint64_t)k);
  }
  two_close(&two);
}

// ---- triggered and deferred work -----------------------------------------------------------------------------------

static const struct setup with_triggers = {.caps = FI_MSG | FI_TAGGED | FI_RMA | FI_ATOMIC | FI_NAMED_RX_CTX | FI_TRIGGER};

static struct fi_triggered_context2 when(struct fid_cntr *counter, size_t threshold) {
  struct fi_triggered_context2 context = {.event_type = FI_TRIGGER_THRESHOLD};
  context.trigger.threshold.cntr = counter;
  context.trigger.threshold.threshold = threshold;
  return context;
}

CASE(operations_of_contexts_wait_for_counters) {
  struct two two;
  two_open(&two, &with_triggers, 2);
  struct fid_cntr *counter = counter_open(&two.a.node), *other = counter_open(&two.b.node);
  char source[100], first[100], second[100];
  fill(source, sizeof source, 1);
  struct fi_triggered_context2 send = when(counter, 1), alias_send = when(counter, 2), receive = when(other, 1),
                               alias_receive = when(other, 2);
  struct iovec from = {source, sizeof source}, to = {first, sizeof first};
  struct fi_msg msg = {.msg_iov = &from, .iov_count = 1, .addr = named(two.to_b, 1), .context = &send};
  assert_offered(fi_sendmsg(two.a.tx[1], &msg, FI_TRIGGER | FI_COMPLETION));
  msg = (struct fi_msg){.msg_iov = &to, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .context = &receive};
  assert_offered(fi_recvmsg(two.b.rx[1], &msg, FI_TRIGGER | FI_COMPLETION));
  struct fid_ep *sender = NULL, *receiver = NULL;
  assert_offered(fi_ep_alias(two.a.tx[1], &sender, FI_TRANSMIT | FI_TRIGGER));
  assert_offered(fi_ep_alias(two.b.rx[1], &receiver, FI_RECV | FI_TRIGGER));
  post(fi_tsend(sender, source, sizeof source, NULL, named(two.to_b, 1), 5, &alias_send));
  post(fi_trecv(receiver, second, sizeof second, NULL, FI_ADDR_UNSPEC, 5, 0, &alias_receive));
  assert_fails(fi_recv(sender, second, sizeof second, NULL, FI_ADDR_UNSPEC, &send));
  assert_fails(fi_send(receiver, source, sizeof source, NULL, two.to_a, &send));
  assert_success(fi_cntr_add(other, 1));
  expect_quiet(two.b.rx_cqs[1], 20);
  assert_success(fi_cntr_add(counter, 1));
  wait_for(two.b.rx_cqs[1], &receive);
  verify(first, sizeof first, 1);
  wait_for(two.a.tx_cqs[1], &send);  // the context's own queue
  expect_quiet(two.a.tx_cqs[0], 0);
  assert_success(fi_cntr_add(other, 1));
  assert_success(fi_cntr_add(counter, 1));
  wait_for(two.b.rx_cqs[1], &alias_receive);
  wait_for(two.a.tx_cqs[1], &alias_send);
  verify(second, sizeof second, 1);
  close_fid(sender);
  close_fid(receiver);
  close_fid(counter);
  close_fid(other);
  two_close(&two);
}

struct desk {
  struct two two;
  struct fid_cntr *trigger, *done;
};

static void desk_open(struct desk *desk) {
  two_open(&desk->two, &with_triggers, 2);
  desk->trigger = counter_open(&desk->two.a.node);
  desk->done = counter_open(&desk->two.a.node);
}

static void desk_close(struct desk *desk) {
  close_fid(desk->trigger);
  close_fid(desk->done);
  two_close(&desk->two);
}

static struct fi_deferred_work work_of(struct desk *desk, uint64_t threshold, enum fi_op_type type) {
  return (struct fi_deferred_work){.threshold = threshold, .triggering_cntr = desk->trigger,
                                   .completion_cntr = desk->done, .op_type = type};
}

static void queue(struct desk *desk, struct fi_deferred_work *work) {
  assert_offered(fi_control(&desk->two.a.node.domain->fid, FI_QUEUE_WORK, work));
}

CASE(contexts_take_deferred_work) {
  struct desk desk;
  desk_open(&desk);
  struct two *two = &desk.two;
  uint64_t target = 40, word = 41, read = 0, fetched = 0, one = 1, received = 0, message = 7, at_b = 0;
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(two->b.node.domain, &target, sizeof target, FI_REMOTE_WRITE | FI_REMOTE_READ, 0, 7, 0, &mr,
                           NULL));
  uint64_t base = two->b.node.info->domain_attr->mr_mode & (FI_MR_VIRT_ADDR | FI_MR_BASIC) ? (uintptr_t)&target : 0;
  struct iovec from = {&word, 8}, to = {&read, 8}, into = {&received, 8}, text = {&message, 8};
  struct fi_rma_iov remote = {base, 8, fi_mr_key(mr)};
  struct fi_ioc operands = {&one, 1}, results = {&fetched, 1};
  struct fi_rma_ioc element = {base, 1, fi_mr_key(mr)};
  struct fi_op_rma write = {.ep = two->a.tx[1], .msg = {.msg_iov = &from, .iov_count = 1, .addr = two->to_b,
                                                        .rma_iov = &remote, .rma_iov_count = 1}};
  struct fi_op_rma get = {.ep = two->a.tx[0], .msg = write.msg};
  get.msg.msg_iov = &to;
  struct fi_op_fetch_atomic add = {
      .ep = two->a.tx[1], .fetch = {&results, NULL, 1},
      .msg = {.msg_iov = &operands, .iov_count = 1, .addr = two->to_b, .rma_iov = &element, .rma_iov_count = 1,
              .datatype = FI_UINT64, .op = FI_SUM}};
  struct fi_op_msg recv = {.ep = two->a.rx[1], .msg = {.msg_iov = &into, .iov_count = 1, .addr = FI_ADDR_UNSPEC}};
  struct fi_op_tagged tsend = {.ep = two->a.tx[1], .flags = FI_COMPLETION,
                               .msg = {.msg_iov = &text, .iov_count = 1, .addr = named(two->to_b, 1), .tag = 3}};
  struct fi_deferred_work works[] = {work_of(&desk, 1, FI_OP_WRITE), work_of(&desk, 2, FI_OP_READ),
                                     work_of(&desk, 3, FI_OP_FETCH_ATOMIC), work_of(&desk, 4, FI_OP_RECV),
                                     work_of(&desk, 5, FI_OP_TSEND)};
  tsend.msg.context = &works[4].context;
  works[0].op.rma = &write;
  works[1].op.rma = &get;
  works[2].op.fetch_atomic = &add;
  works[3].op.msg = &recv;
  works[4].op.tagged = &tsend;
  for (int i = 0; i < 5; i++) queue(&desk, &works[i]);
  post(fi_trecv(two->b.rx[1], &at_b, 8, NULL, FI_ADDR_UNSPEC, 3, 0, &at_b));
  post(fi_send(two->b.tx[0], &message, 8, NULL, named(two->to_a, 1), &message));
  let_arrive(10);
  assert_true(fi_cntr_read(desk.done) == 0 && target == 40);
  for (uint64_t i = 1; i <= 5; i++) {
    assert_success(fi_cntr_add(desk.trigger, 1));
    wait_until(fi_cntr_read(desk.done) >= i);
    let_arrive(2);
    assert_true(fi_cntr_read(desk.done) == i);
  }
  assert_true(read == 41 && fetched == 41 && target == 42 && received == 7);
  wait_for(two->b.rx_cqs[1], &at_b);
  assert_int_equal(at_b, 7);
  wait_for(two->b.tx_cqs[0], &message);
  wait_for(two->a.tx_cqs[1], &works[4].context);  // the only one that asked for it
  for (int i = 0; i < 2; i++) {
    expect_quiet(two->a.tx_cqs[i], 3);
    expect_quiet(two->a.rx_cqs[i], 0);
  }
  close_fid(mr);
  desk_close(&desk);
}

// What a context receives has another send; its counter counts that if it is triggered, not if it is queued work.
CASE(counters_of_contexts_start_operations) {
  struct two two;
  scalable_open(&two.b, &with_triggers, 1);
  open_sep(&two.a, &with_triggers, 1);
  struct scalable *a = &two.a;
  assert_success(fi_scalable_ep_bind(a->sep, &a->node.av->fid, 0));
  struct fid_cntr *sends = counter_open(&a->node), *receives = counter_open(&a->node), *done = counter_open(&a->node);
  a->tx_cqs[0] = open_queue(&a->node, 64);
  a->rx_cqs[0] = open_queue(&a->node, 64);
  assert_success(fi_tx_context(a->sep, 0, NULL, &a->tx[0], NULL));
  assert_success(fi_rx_context(a->sep, 0, NULL, &a->rx[0], NULL));
  assert_success(fi_ep_bind(a->tx[0], &a->tx_cqs[0]->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(a->rx[0], &a->rx_cqs[0]->fid, FI_RECV));
  assert_success(fi_ep_bind(a->tx[0], &sends->fid, FI_SEND | FI_READ | FI_WRITE));
  assert_success(fi_ep_bind(a->rx[0], &receives->fid, FI_RECV));
  assert_success(fi_enable(a->tx[0]));
  assert_success(fi_enable(a->rx[0]));
  assert_success(fi_enable(a->sep));
  read_address(a);
  two.to_b = node_insert(&a->node, two.b.address);
  two.to_a = node_insert(&two.b.node, a->address);
  uint64_t passed = 0, targets[2] = {0}, source = 9;
  struct iovec iov = {&passed, 8};
  struct fi_triggered_context2 context = when(receives, 1);
  struct fi_msg msg = {.msg_iov = &iov, .iov_count = 1, .addr = two.to_b, .context = &context};
  assert_offered(fi_sendmsg(a->tx[0], &msg, FI_TRIGGER | FI_COMPLETION));
  struct fi_op_msg op = {.ep = a->tx[0], .msg = msg};
  struct fi_deferred_work work = {.threshold = 1, .triggering_cntr = sends, .completion_cntr = done,
                                  .op_type = FI_OP_SEND, .op.msg = &op};
  assert_offered(fi_control(&a->node.domain->fid, FI_QUEUE_WORK, &work));
  for (int i = 0; i < 2; i++) post(fi_recv(two.b.rx[0], &targets[i], 8, NULL, FI_ADDR_UNSPEC, &targets[i]));
  post(fi_recv(a->rx[0], &passed, 8, NULL, FI_ADDR_UNSPEC, &passed));
  post(fi_send(two.b.tx[0], &source, 8, NULL, two.to_a, &source));
  wait_for(two.b.rx_cqs[0], &targets[0]);
  wait_for(two.b.rx_cqs[0], &targets[1]);
  wait_until(fi_cntr_read(done) == 1);
  assert_true(targets[0] == 9 && targets[1] == 9);
  assert_int_equal(fi_cntr_read(sends), 1);
  wait_for(a->tx_cqs[0], &context);
  wait_for(a->rx_cqs[0], &passed);
  wait_for(two.b.tx_cqs[0], &source);
  expect_quiet(a->tx_cqs[0], 3);
  close_tx(a, 0);
  close_rx(a, 0);
  close_fid(sends);
  close_fid(receives);
  close_fid(done);
  two_close(&two);
}

// Many at a time, in a context that takes four; those of the other one need not wait for them.
CASE(more_work_than_a_context_takes) {
  enum { count = 100 };
  struct desk desk;
  desk_open(&desk);
  struct two *two = &desk.two;
  close_tx(&two->a, 1);
  struct fi_tx_attr attributes = *two->a.node.info->tx_attr;
  attributes.size = 4;
  two->a.tx_cqs[1] = open_queue(&two->a.node, 256);
  assert_success(fi_tx_context(two->a.sep, 1, &attributes, &two->a.tx[1], NULL));
  assert_success(fi_ep_bind(two->a.tx[1], &two->a.tx_cqs[1]->fid, FI_TRANSMIT));
  assert_success(fi_enable(two->a.tx[1]));
  static struct fi_deferred_work works[count];
  static uint64_t numbers[count], received[count];
  for (uint64_t i = 0; i < count; i++) {
    numbers[i] = i;
    post(fi_recv(two->b.rx[i % 2], &received[i], 8, NULL, FI_ADDR_UNSPEC, &received[i]));
    works[i] = work_of(&desk, 1, FI_OP_SEND);
    struct iovec iov = {&numbers[i], 8};
    struct fi_op_msg op = {.ep = two->a.tx[i % 2],
                           .msg = {.msg_iov = &iov, .iov_count = 1, .addr = named(two->to_b, (int)(i % 2))}};
    works[i].op.msg = &op;
    queue(&desk, &works[i]);
  }
  assert_success(fi_cntr_add(desk.trigger, 1));
  wait_until(fi_cntr_read(desk.done) == count);
  for (int k = 0; k < 2; k++) {
    for (uint64_t i = (uint64_t)k; i < count; i += 2) wait_for(two->b.rx_cqs[k], &received[i]);
  }
  for (uint64_t i = 0; i < count; i++) assert_int_equal(received[i], i);
  desk_close(&desk);
}

CASE(triggered_sends_of_contexts_are_cancelled) {
  struct desk desk;
  desk_open(&desk);
  struct two *two = &desk.two;
  struct fi_triggered_context2 context = when(desk.trigger, 1);
  char byte = 1;
  struct iovec iov = {&byte, 1};
  struct fi_msg msg = {.msg_iov = &iov, .iov_count = 1, .addr = two->to_b, .context = &context};
  assert_offered(fi_sendmsg(two->a.tx[1], &msg, FI_TRIGGER | FI_COMPLETION));
  assert_fails(fi_cancel(&two->a.tx[0]->fid, &context));  // not there
  assert_success(fi_cancel(&two->a.rx[1]->fid, &context));
  expect_quiet(two->a.tx_cqs[1], 3);
  assert_success(fi_cancel(&two->a.tx[1]->fid, &context));
  struct fi_cq_err_entry error = {0};
  wait_error(two->a.tx_cqs[1], &error);
  assert_int_equal(error.err, FI_ECANCELED);
  assert_ptr_equal(error.op_context, &context);
  assert_success(fi_cntr_add(desk.trigger, 1));
  expect_quiet(two->b.rx_cqs[0], 10);
  desk_close(&desk);
}

// What waits, and what has begun and cannot end, is gone with the context; nothing touches its memory afterwards.
CASE(contexts_take_their_work_along) {
  struct desk desk;
  desk_open(&desk);
  struct two *two = &desk.two;
  size_t size = 100000;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(memory != MAP_FAILED);
  fill(memory, size, 1);
  struct iovec iov = {memory, size};
  struct fi_op_msg send = {.ep = two->a.tx[1], .msg = {.msg_iov = &iov, .iov_count = 1, .addr = named(two->to_b, 1)}};
  struct fi_op_msg receive = {.ep = two->a.rx[1], .msg = {.msg_iov = &iov, .iov_count = 1, .addr = FI_ADDR_UNSPEC}};
  struct fi_deferred_work works[4];
  for (uint64_t i = 0; i < 4; i++) {
    works[i] = work_of(&desk, i % 2, i < 2 ? FI_OP_SEND : FI_OP_RECV);  // 0: begins at once
    works[i].op.msg = i < 2 ? &send : &receive;
    queue(&desk, &works[i]);
  }
  let_arrive(20);
  close_tx(&two->a, 1);
  close_rx(&two->a, 1);
  munmap(memory, size);
  assert_success(fi_cntr_add(desk.trigger, 1));
  char small[8] = {0};
  post(fi_recv(two->b.rx[0], small, sizeof small, NULL, FI_ADDR_UNSPEC, small));
  post(fi_inject(two->a.tx[0], "still", 6, two->to_b));
  wait_for(two->b.rx_cqs[0], small);
  let_arrive(20);
  assert_true(fi_cntr_read(desk.done) == 0);
  close_fid(desk.trigger);  // nothing refers to the counters any more
  close_fid(desk.done);
  two_close(&desk.two);
}

// fi_collective(3) knows endpoints with an address each, whose members both send and receive.
CASE(scalable_endpoints_join_no_groups) {
  struct setup setup = defaults;
  setup.caps |= FI_COLLECTIVE;
  struct scalable s;
  scalable_open(&s, &setup, 1);
  fi_addr_t self = node_insert(&s.node, s.address);
  struct fi_av_set_attr attributes = {.start_addr = FI_ADDR_NOTAVAIL, .end_addr = FI_ADDR_NOTAVAIL};
  struct fid_av_set *set = NULL;
  assert_offered(fi_av_set(s.node.av, &attributes, &set, NULL));
  assert_success(fi_av_set_insert(set, self));
  fi_addr_t address = FI_ADDR_NOTAVAIL;
  assert_success(fi_av_set_addr(set, &address));
  struct fid_mc *mc = NULL;
  assert_returns(fi_join_collective(s.sep, address, set, 0, &mc, NULL), -FI_ENOSYS);
  assert_returns(fi_join_collective(s.tx[0], address, set, 0, &mc, NULL), -FI_ENOSYS);
  assert_null(mc);
  assert_returns(fi_barrier(s.sep, address, NULL), -FI_ENOSYS);
  assert_returns(fi_barrier(s.tx[0], address, NULL), -FI_ENOSYS);
  close_fid(set);
  scalable_close(&s);
}

// ---- as many as there are -----------------------------------------------------------------------------------------

CASE(as_many_contexts_as_offered) {
  struct node node;
  node_open_domain(&node, &defaults);
  size_t count = node.info->domain_attr->max_ep_rx_ctx;
  if (node.info->domain_attr->max_ep_tx_ctx < count) count = node.info->domain_attr->max_ep_tx_ctx;
  if (count > 256) count = 256;
  node.info->ep_attr->tx_ctx_cnt = node.info->ep_attr->rx_ctx_cnt = count;
  node.info->tx_attr->size = node.info->rx_attr->size = 16;
  node.av = open_av(&node, 8);
  struct fid_ep *sep = NULL, **tx = calloc(count, sizeof *tx), **rx = calloc(count, sizeof *rx);
  assert_offered(fi_scalable_ep(node.domain, node.info, &sep, NULL));
  assert_success(fi_scalable_ep_bind(sep, &node.av->fid, 0));
  struct fid_cq *sent = open_queue(&node, 2 * count), *received = open_queue(&node, 2 * count);
  uint32_t *values = calloc(count, sizeof *values), *targets = calloc(count, sizeof *targets);
  for (size_t i = 0; i < count; i++) {
    assert_success(fi_tx_context(sep, (int)i, NULL, &tx[i], NULL));
    assert_success(fi_rx_context(sep, (int)i, NULL, &rx[i], NULL));
    assert_success(fi_ep_bind(tx[i], &sent->fid, FI_TRANSMIT));
    assert_success(fi_ep_bind(rx[i], &received->fid, FI_RECV));
    assert_success(fi_enable(tx[i]));
    assert_success(fi_enable(rx[i]));
  }
  assert_success(fi_enable(sep));
  char address[128];
  size_t length = sizeof address;
  assert_success(fi_getname(&sep->fid, address, &length));
  fi_addr_t self = node_insert(&node, address);
  for (size_t i = 0; i < count; i++) {
    values[i] = (uint32_t)(i * 3 + 1);
    post(fi_recv(rx[i], &targets[i], sizeof targets[i], NULL, FI_ADDR_UNSPEC, &targets[i]));
    post(fi_send(tx[i], &values[i], sizeof values[i], NULL, fi_rx_addr(self, (int)i, 8), &values[i]));
  }
  struct fi_cq_tagged_entry entry;
  for (size_t i = 0; i < count; i++) wait_completion(received, &entry);
  for (size_t i = 0; i < count; i++) wait_completion(sent, &entry);
  for (size_t i = 0; i < count; i++) assert_int_equal(targets[i], values[i]);
  for (size_t i = 0; i < count; i++) {
    close_fid(tx[i]);
    close_fid(rx[i]);
  }
  close_fid(sep);
  close_queue(&sent);
  close_queue(&received);
  node_close(&node);
  free(tx);
  free(rx);
  free(values);
  free(targets);
}

// ---- threads ------------------------------------------------------------------------------------------------------

struct worker {
  struct two *two;
  int index;
  int rounds;
};

static void *work(void *argument) {
  struct worker *worker = argument;
  struct two *two = worker->two;
  int i = worker->index;
  uint32_t value, target;
  for (int k = 0; k < 300; k++) {
    value = (uint32_t)(k * most + i);
    double deadline = deadline_after(DEFAULT_WAIT);
    struct fi_cq_tagged_entry entry;
    while (fi_recv(two->b.rx[i], &target, sizeof target, NULL, FI_ADDR_UNSPEC, &target) == -FI_EAGAIN) sched_yield();
    while (fi_send(two->a.tx[i], &value, sizeof value, NULL, named(two->to_b, i), NULL) == -FI_EAGAIN) sched_yield();
    bool sent = false, received = false;
    while (!sent || !received) {
      if (!sent) sent = fi_cq_read(two->a.tx_cqs[i], &entry, 1) == 1;
      if (!received) received = fi_cq_read(two->b.rx_cqs[i], &entry, 1) == 1;
      if (seconds() > deadline) return NULL;
    }
    if (target != value) return NULL;
    worker->rounds++;
  }
  return NULL;
}

CASE(a_thread_for_each_context) {
  struct setup setup = defaults;
  setup.threading = FI_THREAD_SAFE;
  struct two two;
  two_open(&two, &setup, most);
  struct worker workers[most];
  pthread_t threads[most];
  for (int i = 0; i < most; i++) {
    workers[i] = (struct worker){&two, i, 0};
    pthread_create(&threads[i], NULL, work, &workers[i]);
  }
  for (int i = 0; i < most; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < most; i++) assert_int_equal(workers[i].rounds, 300);
  two_close(&two);
}
