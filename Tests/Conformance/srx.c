// Shared receive and transmit contexts. Man page: fi_endpoint(3).
#include "fixture.h"

enum { endpoints = 3 };

// A node with several endpoints in one domain that share contexts and completion queues, and a peer for each.
struct group {
  struct node peer;
  struct node node;  // fabric, domain, av and queues; ep is the first endpoint
  struct fid_ep *srx;
  struct fid_stx *stx;
  struct fid_ep *eps[endpoints];
  struct fid_cq *rx_cqs[endpoints];
  fi_addr_t to[endpoints];  // the endpoints in the peer's address vector
  fi_addr_t to_peer;
};

static struct fi_info *shared_info(struct node *node, const struct setup *setup, bool rx, bool tx) {
  struct fi_info *hints = fi_dupinfo(node->info);
  free(hints->src_addr);
  hints->src_addr = NULL;
  hints->src_addrlen = 0;
  if (rx) hints->ep_attr->rx_ctx_cnt = FI_SHARED_CONTEXT;
  if (tx) hints->ep_attr->tx_ctx_cnt = FI_SHARED_CONTEXT;
  struct fi_info *info = NULL;
  int result = fi_getinfo(DEFAULT_VERSION, setup->node ? setup->node : "127.0.0.1", NULL, FI_SOURCE, hints, &info);
  fi_freeinfo(hints);
  if (result == -FI_ENODATA) unsupported("fi_getinfo offers no endpoints with shared contexts");
  assert_success(result);
  if (rx) assert_true(info->ep_attr->rx_ctx_cnt == FI_SHARED_CONTEXT);
  if (tx) assert_true(info->ep_attr->tx_ctx_cnt == FI_SHARED_CONTEXT);
  return info;
}

static const struct setup directed = {.caps = FI_MSG | FI_TAGGED | FI_DIRECTED_RECV | FI_SOURCE};

static void group_open_with(struct group *group, const struct setup *setup, bool rx, bool tx, size_t rx_size,
                            size_t tx_size) {
  memset(group, 0, sizeof *group);
  node_open(&group->peer, setup);
  node_open_domain(&group->node, setup);
  struct fi_info *info = shared_info(&group->node, setup, rx, tx);
  if (rx_size) info->rx_attr->size = rx_size;
  if (tx_size) info->tx_attr->size = tx_size;
  group->node.av = av_open(&group->node, FI_AV_UNSPEC);
  group->node.tx_cq = cq_open(&group->node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 1024);
  watch_cq(group->node.tx_cq);
  if (rx) assert_offered(fi_srx_context(group->node.domain, info->rx_attr, &group->srx, group));
  if (tx) assert_offered(fi_stx_context(group->node.domain, info->tx_attr, &group->stx, group));
  for (int i = 0; i < endpoints; i++) {
    group->rx_cqs[i] = cq_open(&group->node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 1024);
    watch_cq(group->rx_cqs[i]);
    assert_success(fi_endpoint(group->node.domain, info, &group->eps[i], NULL));
    assert_success(fi_ep_bind(group->eps[i], &group->node.av->fid, 0));
    assert_success(fi_ep_bind(group->eps[i], &group->node.tx_cq->fid, FI_TRANSMIT));
    assert_success(fi_ep_bind(group->eps[i], &group->rx_cqs[i]->fid, FI_RECV));
    if (rx) assert_success(fi_ep_bind(group->eps[i], &group->srx->fid, 0));
    if (tx) assert_success(fi_ep_bind(group->eps[i], &group->stx->fid, 0));
    assert_success(fi_enable(group->eps[i]));
    char address[128];
    size_t length = sizeof address;
    assert_success(fi_getname(&group->eps[i]->fid, address, &length));
    group->to[i] = node_insert(&group->peer, address);
  }
  group->to_peer = node_insert(&group->node, group->peer.address);
  fi_freeinfo(info);
}

static void group_open(struct group *group, bool rx, bool tx) { group_open_with(group, &directed, rx, tx, 0, 0); }

static void group_close(struct group *group) {
  for (int i = 0; i < endpoints; i++) {
    if (group->eps[i]) close_fid(group->eps[i]);
    unwatch_cq(group->rx_cqs[i]);
    close_fid(group->rx_cqs[i]);
  }
  if (group->srx) close_fid(group->srx);
  if (group->stx) close_fid(group->stx);
  node_close(&group->node);
  node_close(&group->peer);
}

// Drives progress until one of the endpoints has received something; returns which.
static int receiver_of(struct group *group, struct fi_cq_tagged_entry *entry) {
  double deadline = deadline_after(DEFAULT_WAIT);
  for (;;) {
    for (int i = 0; i < endpoints; i++) {
      ssize_t count = fi_cq_read(group->rx_cqs[i], entry, 1);
      if (count == 1) return i;
      assert_true(count == -FI_EAGAIN);
    }
    if (seconds() > deadline) failed("nothing was received");
    drive_progress();
  }
}

// ---- shared receive contexts --------------------------------------------------------------------------------------

CASE(srx_has_class_and_context) {
  struct group group;
  group_open(&group, true, false);
  assert_int_equal(group.srx->fid.fclass, FI_CLASS_SRX_CTX);
  assert_ptr_equal(group.srx->fid.context, &group);
  group_close(&group);
}

CASE(receives_before_the_messages) {
  struct group group;
  group_open(&group, true, false);
  char buffers[endpoints][64];
  int contexts[endpoints];
  for (int i = 0; i < endpoints; i++) {
    post(fi_recv(group.srx, buffers[i], sizeof buffers[i], NULL, FI_ADDR_UNSPEC, &contexts[i]));
  }
  char source[64];
  for (int i = endpoints - 1; i >= 0; i--) {
    fill(source, sizeof source, (uint64_t)i);
    post(fi_send(group.peer.ep, source, sizeof source, NULL, group.to[i], source));
    wait_for(group.peer.tx_cq, source);
    struct fi_cq_tagged_entry entry;
    assert_int_equal(receiver_of(&group, &entry), i);  // the endpoint's own queue tells
    int *context = entry.op_context;
    assert_ptr_equal(context, &contexts[endpoints - 1 - i]);  // the oldest receive takes it
    verify(buffers[context - contexts], sizeof source, (uint64_t)i);
    assert_true(entry.flags & FI_RECV);
    assert_int_equal(entry.len, sizeof source);
  }
  group_close(&group);
}

CASE(receives_after_the_messages) {
  struct group group;
  group_open(&group, true, false);
  char source[endpoints][3000];
  for (int i = 0; i < endpoints; i++) {
    fill(source[i], sizeof source[i], (uint64_t)i);
    post(fi_tsend(group.peer.ep, source[i], sizeof source[i], NULL, group.to[i], (uint64_t)(100 + i), NULL));
  }
  double deadline = seconds() + 0.1;
  while (seconds() < deadline) drive_progress();
  for (int i = endpoints - 1; i >= 0; i--) {
    char buffer[3000];
    post(fi_trecv(group.srx, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, (uint64_t)(100 + i), 0, buffer));
    struct fi_cq_tagged_entry entry;
    assert_int_equal(receiver_of(&group, &entry), i);
    assert_ptr_equal(entry.op_context, buffer);
    assert_int_equal(entry.tag, 100 + i);
    verify(buffer, sizeof buffer, (uint64_t)i);
  }
  group_close(&group);
}

static void exchange_sizes(bool expected) {
  static const size_t sizes[] = {0, 1, 1000, 20000, 65536, 65537, 1000000};
  struct group group;
  group_open(&group, true, false);
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    char *source = allocate(sizes[k]);
    char *buffer = allocate(sizes[k]);
    int i = (int)k % endpoints;
    fill(source, sizes[k], k);
    if (expected) post(fi_recv(group.srx, buffer, sizes[k], NULL, FI_ADDR_UNSPEC, buffer));
    post(fi_send(group.peer.ep, source, sizes[k], NULL, group.to[i], source));
    if (!expected) {
      double deadline = seconds() + 0.02;
      while (seconds() < deadline) drive_progress();
      post(fi_recv(group.srx, buffer, sizes[k], NULL, FI_ADDR_UNSPEC, buffer));
    }
    wait_for(group.rx_cqs[i], buffer);
    verify(buffer, sizes[k], k);
    wait_for(group.peer.tx_cq, source);
    free(source);
    free(buffer);
  }
  group_close(&group);
}

CASE(sizes_expected) { exchange_sizes(true); }
CASE(sizes_unexpected) { exchange_sizes(false); }

CASE(one_queue_for_all_endpoints) {
  struct group group;
  group_open(&group, true, false);
  enum { count = 60 };
  static char buffers[count][32];
  for (int i = 0; i < count; i++) {
    post(fi_recv(group.srx, buffers[i], sizeof buffers[i], NULL, FI_ADDR_UNSPEC, &buffers[i]));
  }
  char source[32];
  fill(source, sizeof source, 7);
  for (int i = 0; i < count; i++) post(fi_inject(group.peer.ep, source, sizeof source, group.to[i % endpoints]));
  int seen[endpoints] = {0};
  for (int i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry;
    seen[receiver_of(&group, &entry)]++;
    verify(entry.op_context, sizeof source, 7);
  }
  for (int i = 0; i < endpoints; i++) assert_int_equal(seen[i], count / endpoints);
  group_close(&group);
}

// Its counter counts receives wherever they end, those of endpoints what ends there.
CASE(a_counter_for_all_endpoints) {
  struct group group;
  group_open(&group, true, false);
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP};
  struct fid_cntr *counter = NULL;
  assert_offered(fi_cntr_open(group.node.domain, &attributes, &counter, NULL));
  int bound = fi_ep_bind(group.srx, &counter->fid, FI_RECV);
  if (bound == -FI_EINVAL) unsupported("no counters of shared receive contexts");
  assert_success(bound);
  assert_fails(fi_ep_bind(group.srx, &counter->fid, FI_RECV));
  assert_fails(fi_ep_bind(group.srx, &counter->fid, FI_SEND));
  assert_returns(fi_close(&counter->fid), -FI_EBUSY);
  char buffers[endpoints + 1][8], source[8] = {0};
  for (int i = 0; i < endpoints; i++) post(fi_recv(group.srx, buffers[i], 8, NULL, FI_ADDR_UNSPEC, buffers[i]));
  for (int i = 0; i < endpoints; i++) {
    assert_int_equal(fi_cntr_read(counter), i);
    post(fi_send(group.peer.ep, source, 8, NULL, group.to[i], source));
    wait_for(group.peer.tx_cq, source);
    struct fi_cq_tagged_entry entry;
    assert_int_equal(receiver_of(&group, &entry), i);
  }
  assert_int_equal(fi_cntr_read(counter), endpoints);
  post(fi_recv(group.srx, buffers[endpoints], 8, NULL, FI_ADDR_UNSPEC, buffers[endpoints]));
  (void)fi_cancel(&group.srx->fid, buffers[endpoints]);
  for (double deadline = deadline_after(DEFAULT_WAIT); fi_cntr_readerr(counter) == 0;) {
    if (seconds() > deadline) failed("a cancelled receive is no error");
    drive_progress();
  }
  assert_int_equal(fi_cntr_read(counter), endpoints);
  for (int i = 0; i < endpoints; i++) {
    close_fid(group.eps[i]);
    group.eps[i] = NULL;
  }
  close_fid(group.srx);
  group.srx = NULL;
  close_fid(counter);
  group_close(&group);
}

CASE(directed_receives) {
  struct group group;
  group_open(&group, true, false);
  struct node other;
  node_open(&other, &directed);
  fi_addr_t to_other = node_insert(&group.node, other.address);
  char address[128];
  size_t length = sizeof address;
  assert_success(fi_getname(&group.eps[1]->fid, address, &length));
  fi_addr_t other_to = node_insert(&other, address);
  char first[16], second[16], a[16], b[16];
  fill(a, sizeof a, 1);
  fill(b, sizeof b, 2);
  post(fi_trecv(group.srx, first, sizeof first, NULL, to_other, 5, 0, first));
  post(fi_trecv(group.srx, second, sizeof second, NULL, group.to_peer, 5, 0, second));
  post(fi_tinject(group.peer.ep, a, sizeof a, group.to[0], 5));
  wait_for(group.rx_cqs[0], second);
  verify(second, sizeof second, 1);
  post(fi_tinject(other.ep, b, sizeof b, other_to, 5));
  wait_for(group.rx_cqs[1], first);
  verify(first, sizeof first, 2);
  // Messages that wait, of which the later one is wanted first.
  post(fi_tinject(group.peer.ep, a, sizeof a, group.to[2], 6));
  double deadline = seconds() + 0.05;
  while (seconds() < deadline) drive_progress();
  post(fi_tinject(other.ep, b, sizeof b, other_to, 6));
  deadline = seconds() + 0.05;
  while (seconds() < deadline) drive_progress();
  post(fi_trecv(group.srx, first, sizeof first, NULL, to_other, 6, 0, first));
  wait_for(group.rx_cqs[1], first);
  verify(first, sizeof first, 2);
  post(fi_trecv(group.srx, second, sizeof second, NULL, group.to_peer, 6, 0, second));
  wait_for(group.rx_cqs[2], second);
  verify(second, sizeof second, 1);
  node_close(&other);
  group_close(&group);
}

CASE(directed_receive_from_who_is_inserted_late) {
  struct group group;
  group_open(&group, true, false);
  struct node other;
  node_open(&other, &directed);
  char address[128];
  size_t length = sizeof address;
  assert_success(fi_getname(&group.eps[1]->fid, address, &length));
  fi_addr_t other_to = node_insert(&other, address);
  char source[16], buffer[16];
  fill(source, sizeof source, 3);
  post(fi_tinject(other.ep, source, sizeof source, other_to, 9));
  double deadline = seconds() + 0.05;
  while (seconds() < deadline) drive_progress();
  fi_addr_t to_other = node_insert(&group.node, other.address);
  post(fi_trecv(group.srx, buffer, sizeof buffer, NULL, to_other, 9, 0, buffer));
  wait_for(group.rx_cqs[1], buffer);
  verify(buffer, sizeof buffer, 3);
  node_close(&other);
  group_close(&group);
}

CASE(source_of_a_shared_receive) {
  struct group group;
  group_open(&group, true, false);
  char buffer[16], source[16];
  fill(source, sizeof source, 3);
  post(fi_recv(group.srx, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, buffer));
  post(fi_inject(group.peer.ep, source, sizeof source, group.to[2]));
  double deadline = deadline_after(DEFAULT_WAIT);
  struct fi_cq_tagged_entry entry;
  fi_addr_t from = FI_ADDR_NOTAVAIL;
  while (fi_cq_readfrom(group.rx_cqs[2], &entry, 1, &from) == -FI_EAGAIN) {
    if (seconds() > deadline) failed("nothing was received");
    drive_progress();
  }
  assert_int_equal(from, group.to_peer);
  group_close(&group);
}

CASE(truncation_in_a_shared_receive) {
  struct group group;
  group_open(&group, true, false);
  char buffer[16], source[64];
  fill(source, sizeof source, 3);
  post(fi_recv(group.srx, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, buffer));
  post(fi_inject(group.peer.ep, source, sizeof source, group.to[1]));
  struct fi_cq_err_entry error;
  wait_error(group.rx_cqs[1], &error);
  assert_int_equal(error.err, FI_ETRUNC);
  assert_ptr_equal(error.op_context, buffer);
  assert_int_equal(error.olen, 48);
  group_close(&group);
}

CASE(peek_and_claim_in_a_shared_context) {
  struct group group;
  group_open(&group, true, false);
  char source[64], buffer[64];
  fill(source, sizeof source, 4);
  post(fi_tsend(group.peer.ep, source, sizeof source, NULL, group.to[1], 77, source));
  struct fi_context2 context;
  struct fi_msg_tagged msg = {.addr = FI_ADDR_UNSPEC, .tag = 77, .context = &context};
  struct fi_cq_tagged_entry entry;
  double deadline = deadline_after(DEFAULT_WAIT);
  for (int where = -1; where < 0;) {
    long result = (long)fi_trecvmsg(group.srx, &msg, FI_PEEK | FI_CLAIM);
    if (result == -FI_ENOSYS || result == -FI_EOPNOTSUPP) unsupported("no FI_PEEK on a shared receive context");
    if (result == -FI_EAGAIN || result == -FI_ENOMSG) {
      drive_progress();
      continue;
    }
    assert_success(result);
    while (where < 0) {
      for (int i = 0; i < endpoints && where < 0; i++) {
        ssize_t count = fi_cq_read(group.rx_cqs[i], &entry, 1);
        if (count == 1) where = i;
        if (count == -FI_EAVAIL) {
          struct fi_cq_err_entry error = {0};
          assert_returns(fi_cq_readerr(group.rx_cqs[i], &error, 0), 1);
          assert_int_equal(error.err, FI_ENOMSG);
          where = -2;
        }
      }
      if (seconds() > deadline) failed("the message never came");
      drive_progress();
      if (where == -2) break;
    }
  }
  assert_int_equal(entry.tag, 77);
  assert_int_equal(entry.len, sizeof source);
  struct iovec iov = {buffer, sizeof buffer};
  msg.msg_iov = &iov;
  msg.iov_count = 1;
  post(fi_trecvmsg(group.srx, &msg, FI_CLAIM));
  wait_for(group.rx_cqs[1], &context);
  verify(buffer, sizeof buffer, 4);
  group_close(&group);
}

CASE(cancel_in_a_shared_context) {
  struct group group;
  group_open(&group, true, false);
  char first[16], second[16], source[16];
  fill(source, sizeof source, 5);
  post(fi_recv(group.srx, first, sizeof first, NULL, FI_ADDR_UNSPEC, first));
  post(fi_recv(group.srx, second, sizeof second, NULL, FI_ADDR_UNSPEC, second));
  assert_success(fi_cancel(&group.srx->fid, first));
  struct fi_cq_err_entry error;
  int found = -1;
  double deadline = deadline_after(DEFAULT_WAIT);
  while (found < 0) {
    for (int i = 0; i < endpoints && found < 0; i++) {
      if (fi_cq_read(group.rx_cqs[i], NULL, 0) == -FI_EAVAIL || fi_cq_readerr(group.rx_cqs[i], &error, 0) == 1) found = i;
    }
    if (seconds() > deadline) unsupported("no queue tells of a receive that was cancelled in a shared context");
  }
  assert_int_equal(error.err, FI_ECANCELED);
  assert_ptr_equal(error.op_context, first);
  post(fi_inject(group.peer.ep, source, sizeof source, group.to[2]));
  wait_for(group.rx_cqs[2], second);
  verify(second, sizeof second, 5);
  group_close(&group);
}

CASE(as_many_receives_as_the_context_has) {
  struct group group;
  group_open_with(&group, &directed, true, false, 8, 0);
  char buffer[16];
  long result = 0;
  int posted = 0;
  while (posted < 4096 && (result = (long)fi_recv(group.srx, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, NULL)) == 0) {
    posted++;
  }
  assert_true(posted >= 8);
  if (posted == 4096) unsupported("receives of a shared context are not limited");
  assert_int_equal(result, -FI_EAGAIN);
  group_close(&group);
}

CASE(an_endpoint_that_closes_leaves_the_receives) {
  struct group group;
  group_open(&group, true, false);
  char buffer[64], source[64];
  fill(source, sizeof source, 6);
  post(fi_recv(group.srx, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, buffer));
  // A message that nobody has asked for goes with its endpoint.
  post(fi_tinject(group.peer.ep, source, sizeof source, group.to[0], 1));
  double deadline = seconds() + 0.05;
  while (seconds() < deadline) drive_progress();
  assert_returns(fi_close(&group.srx->fid), -FI_EBUSY);
  close_fid(group.eps[0]);
  group.eps[0] = NULL;
  char other[64];
  post(fi_trecv(group.srx, other, sizeof other, NULL, FI_ADDR_UNSPEC, 1, 0, other));
  post(fi_inject(group.peer.ep, source, sizeof source, group.to[1]));
  wait_for(group.rx_cqs[1], buffer);
  verify(buffer, sizeof buffer, 6);
  post(fi_tinject(group.peer.ep, source, sizeof source, group.to[2], 1));
  wait_for(group.rx_cqs[2], other);
  verify(other, sizeof other, 6);
  group_close(&group);
}

CASE(an_endpoint_that_closes_amid_a_transfer) {
  struct group group;
  group_open(&group, true, false);
  size_t size = 64 << 20;
  char *source = allocate(size), *buffer = allocate(size);
  post(fi_recv(group.srx, buffer, size, NULL, FI_ADDR_UNSPEC, buffer));
  post(fi_send(group.peer.ep, source, size, NULL, group.to[0], source));
  // Time to begin, also on a bad network, but mostly not to end.
  for (double begun = seconds() + 0.02; seconds() < begun;) drive_progress();
  close_fid(group.eps[0]);
  group.eps[0] = NULL;
  // Whether it was complete or cancelled, the buffer is the program's again; a later message needs a new receive.
  struct fi_cq_tagged_entry entry;
  ssize_t count = fi_cq_read(group.rx_cqs[0], &entry, 1);
  if (count == -FI_EAGAIN) unsupported("a receive of a shared context is lost with the endpoint that it was used by");
  if (count == -FI_EAVAIL) {
    struct fi_cq_err_entry error = {0};
    assert_returns(fi_cq_readerr(group.rx_cqs[0], &error, 0), 1);
    assert_ptr_equal(error.op_context, buffer);
  }
  char small[16];
  post(fi_recv(group.srx, small, sizeof small, NULL, FI_ADDR_UNSPEC, small));
  fill(source, sizeof small, 8);
  post(fi_inject(group.peer.ep, source, sizeof small, group.to[1]));
  wait_for(group.rx_cqs[1], small);
  verify(small, sizeof small, 8);
  group_close(&group);
  free(source);
  free(buffer);
}

CASE(full_completion_queue_holds_messages_back) {
  struct group group;
  group_open_with(&group, &directed, true, false, 0, 0);
  enum { count = 5000 };
  static char buffers[count];
  int posted = 0, received = 0;
  for (int sent = 0; sent < count; sent++) {
    char byte = (char)sent;
    double deadline = deadline_after(DEFAULT_WAIT);
    long result;
    while ((result = (long)fi_inject(group.peer.ep, &byte, 1, group.to[0])) == -FI_EAGAIN) {
      while (posted - received < 500 && posted < count &&
             fi_recv(group.srx, &buffers[posted], 1, NULL, FI_ADDR_UNSPEC, &buffers[posted]) == 0) {
        posted++;
      }
      struct fi_cq_tagged_entry entry;
      if (fi_cq_read(group.rx_cqs[0], &entry, 1) == 1) received++;
      if (seconds() > deadline) failed("stuck after %d messages, %d received", sent, received);
      drive_progress();
    }
    assert_success(result);
  }
  double deadline = deadline_after(2 * DEFAULT_WAIT);
  while (received < count) {
    while (posted - received < 500 && posted < count &&
           fi_recv(group.srx, &buffers[posted], 1, NULL, FI_ADDR_UNSPEC, &buffers[posted]) == 0) {
      posted++;
    }
    struct fi_cq_tagged_entry entry;
    ssize_t result = fi_cq_read(group.rx_cqs[0], &entry, 1);
    if (result == 1) received++;
    if (seconds() > deadline) failed("%d of %d messages received", received, count);
    drive_progress();
  }
  for (int i = 0; i < count; i++) assert_int_equal(buffers[i], (char)i);
  group_close(&group);
}

CASE(receives_on_an_endpoint_that_shares) {
  struct group group;
  group_open(&group, true, false);
  char buffer[16];
  assert_fails(fi_recv(group.eps[0], buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, NULL));
  assert_fails(fi_trecv(group.eps[0], buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, 1, 0, NULL));
  group_close(&group);
}

CASE(sends_on_a_shared_receive_context) {
  struct group group;
  group_open(&group, true, false);
  char buffer[16] = {0};
  assert_fails(fi_send(group.srx, buffer, sizeof buffer, NULL, group.to_peer, NULL));
  assert_fails(fi_tinject(group.srx, buffer, sizeof buffer, group.to_peer, 1));
  group_close(&group);
}

CASE(enable_without_the_shared_receive_context) {
  struct node node;
  node_open_domain(&node, &directed);
  struct fi_info *info = shared_info(&node, &directed, true, false);
  node.av = av_open(&node, FI_AV_UNSPEC);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 0);
  assert_success(fi_endpoint(node.domain, info, &node.ep, NULL));
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT | FI_RECV));
  assert_fails(fi_enable(node.ep));
  fi_freeinfo(info);
  node_close(&node);
}

CASE(bind_two_shared_receive_contexts) {
  struct group group;
  group_open(&group, true, false);
  struct fi_info *info = shared_info(&group.node, &directed, true, false);
  struct fid_ep *second = NULL, *ep = NULL;
  assert_success(fi_srx_context(group.node.domain, info->rx_attr, &second, NULL));
  assert_success(fi_endpoint(group.node.domain, info, &ep, NULL));
  assert_success(fi_ep_bind(ep, &group.srx->fid, 0));
  assert_fails(fi_ep_bind(ep, &second->fid, 0));
  close_fid(ep);
  close_fid(second);
  fi_freeinfo(info);
  group_close(&group);
}

// ---- shared transmit contexts -------------------------------------------------------------------------------------

CASE(stx_has_class_and_context) {
  struct group group;
  group_open(&group, false, true);
  assert_int_equal(group.stx->fid.fclass, FI_CLASS_STX_CTX);
  assert_ptr_equal(group.stx->fid.context, &group);
  group_close(&group);
}

CASE(sends_through_a_shared_transmit_context) {
  struct group group;
  group_open(&group, false, true);
  char source[64], buffer[64];
  for (int i = 0; i < 3 * endpoints; i++) {
    fill(source, sizeof source, (uint64_t)i);
    post(fi_recv(group.peer.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, buffer));
    post(fi_send(group.eps[i % endpoints], source, sizeof source, NULL, group.to_peer, &source[i]));
    wait_for(group.node.tx_cq, &source[i]);
    wait_for(group.peer.rx_cq, buffer);
    verify(buffer, sizeof buffer, (uint64_t)i);
  }
  group_close(&group);
}

CASE(both_contexts_shared) {
  struct group group;
  group_open(&group, true, true);
  char source[64], buffer[64];
  for (int i = 0; i < endpoints; i++) {
    fill(source, sizeof source, (uint64_t)i);
    post(fi_recv(group.peer.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, buffer));
    post(fi_send(group.eps[i], source, sizeof source, NULL, group.to_peer, source));
    wait_for(group.node.tx_cq, source);
    wait_for(group.peer.rx_cq, buffer);
    verify(buffer, sizeof buffer, (uint64_t)i);
    post(fi_recv(group.srx, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, buffer));
    post(fi_inject(group.peer.ep, source, sizeof source, group.to[i]));
    wait_for(group.rx_cqs[i], buffer);
  }
  group_close(&group);
}

// The queue's size bounds what is in flight over all endpoints, and any of them may use all of it.
CASE(a_shared_transmit_queue_is_one_queue) {
  struct group group;
  group_open_with(&group, &directed, false, true, 0, 8);
  size_t size = 1 << 20;
  char *source = allocate(size), *buffer = allocate(size);
  int posted[endpoints] = {0}, total = 0;
  bool full = false;
  // Nobody has asked for these large messages, so none of them ends.
  for (int round = 0; round < 64 && !full; round++) {
    full = true;
    for (int i = 0; i < endpoints; i++) {
      if (fi_tsend(group.eps[i], source, size, NULL, group.to_peer, 5, source) != 0) continue;
      posted[i]++;
      total++;
      full = false;
    }
  }
  if (!full || total > 8) unsupported("the size of a shared transmit context bounds nothing");
  assert_int_equal(total, 8);
  for (int i = 0; i < total; i++) {
    post(fi_trecv(group.peer.ep, buffer, size, NULL, FI_ADDR_UNSPEC, 5, 0, buffer));
    wait_for(group.peer.rx_cq, buffer);
    wait_for(group.node.tx_cq, source);
  }
  // One endpoint alone has all of it.
  total = 0;
  while (total < 64 && fi_tsend(group.eps[1], source, size, NULL, group.to_peer, 5, source) == 0) total++;
  assert_int_equal(total, 8);
  for (int i = 0; i < total; i++) {
    post(fi_trecv(group.peer.ep, buffer, size, NULL, FI_ADDR_UNSPEC, 5, 0, buffer));
    wait_for(group.peer.rx_cq, buffer);
    wait_for(group.node.tx_cq, source);
  }
  group_close(&group);
  free(source);
  free(buffer);
}

CASE(close_a_transmit_context_in_use) {
  struct group group;
  group_open(&group, false, true);
  assert_returns(fi_close(&group.stx->fid), -FI_EBUSY);
  group_close(&group);
}
