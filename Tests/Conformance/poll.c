// Poll sets: what they report, members that come and go, progress. Man page: fi_poll(3).
#include "fixture.h"

static char slots[8];

static struct fid_poll *set_open(struct node *node) {
  struct fi_poll_attr attributes = {0};
  struct fid_poll *set = NULL;
  assert_offered(fi_poll_open(node->domain, &attributes, &set));
  assert_non_null(set);
  return set;
}

static struct fid_cntr *counter_open(struct node *node, void *context) {
  struct fi_cntr_attr attributes = {0};
  struct fid_cntr *counter = NULL;
  assert_offered(fi_cntr_open(node->domain, &attributes, &counter, context));
  return counter;
}

// The queue gets a completion that is an error, without any peer.
static void make_error(struct node *node) {
  static char in;
  post(fi_recv(node->ep, &in, 1, NULL, FI_ADDR_UNSPEC, &slots[0]));
  assert_success(fi_cancel(&node->ep->fid, &slots[0]));
}

static void expect_contexts(struct fid_poll *set, int count, void *first, void *second) {
  void *contexts[4] = {NULL};
  double deadline = deadline_after(DEFAULT_WAIT);
  int result;
  do {
    result = fi_poll(set, contexts, 4);
  } while (result == 0 && count > 0 && seconds() < deadline);
  assert_returns(result, count);
  bool straight = contexts[0] == first && contexts[1] == second;
  bool crossed = contexts[0] == second && contexts[1] == first;
  if (!straight && !(count == 2 && crossed)) failed("other contexts than expected");
}

CASE(poll_set_opens_and_closes) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_poll *set = set_open(&node);
  void *context = NULL;
  assert_returns(fi_poll(set, &context, 1), 0);
  assert_returns(fi_close(&node.domain->fid), -FI_EBUSY);
  close_fid(set);
  node_close(&node);
}

CASE(poll_set_with_flags_is_refused) {
  struct node node;
  node_open_domain(&node, NULL);
  close_fid(set_open(&node));
  struct fi_poll_attr attributes = {.flags = 1};
  struct fid_poll *set = NULL;
  assert_returns(fi_poll_open(node.domain, &attributes, &set), -FI_EINVAL);
  node_close(&node);
}

CASE(only_queues_and_counters_are_polled) {
  struct node node;
  node_open(&node, NULL);
  struct fid_poll *set = set_open(&node);
  assert_returns(fi_poll_add(set, &node.domain->fid, 0), -FI_EINVAL);
  assert_returns(fi_poll_add(set, &node.ep->fid, 0), -FI_EINVAL);
  close_fid(set);
  node_close(&node);
}

CASE(poll_reports_queues_that_are_not_empty) {
  struct node node;
  node_open(&node, NULL);
  struct fid_poll *set = set_open(&node);
  assert_success(fi_poll_add(set, &node.tx_cq->fid, 0));
  assert_success(fi_poll_add(set, &node.rx_cq->fid, 0));
  expect_contexts(set, 0, NULL, NULL);
  make_error(&node);
  expect_contexts(set, 1, &node.rx_cq, NULL);
  expect_contexts(set, 1, &node.rx_cq, NULL);  // until it is read
  struct fi_cq_err_entry error;
  wait_error(node.rx_cq, &error);
  expect_contexts(set, 0, NULL, NULL);
  assert_success(fi_poll_del(set, &node.tx_cq->fid, 0));
  assert_success(fi_poll_del(set, &node.rx_cq->fid, 0));
  close_fid(set);
  node_close(&node);
}

static struct fid_cntr *counter;

static void bind_counter(struct node *node) {
  counter = counter_open(node, &slots[3]);
  assert_success(fi_ep_bind(node->ep, &counter->fid, FI_RECV));
}

CASE(poll_reports_counters_that_have_changed) {
  struct node node;
  node_open(&node, &(struct setup){.before_enable = bind_counter});
  struct fid_poll *set = set_open(&node);
  assert_success(fi_poll_add(set, &counter->fid, 0));
  assert_success(fi_poll_add(set, &node.rx_cq->fid, 0));
  expect_contexts(set, 0, NULL, NULL);
  make_error(&node);
  expect_contexts(set, 2, &slots[3], &node.rx_cq);
  expect_contexts(set, 1, &node.rx_cq, NULL);  // no change since
  make_error(&node);
  expect_contexts(set, 2, &slots[3], &node.rx_cq);
  assert_success(fi_poll_del(set, &node.rx_cq->fid, 0));
  assert_success(fi_cntr_seterr(counter, 0));
  expect_contexts(set, 1, &slots[3], NULL);
  expect_contexts(set, 0, NULL, NULL);
  assert_success(fi_poll_del(set, &counter->fid, 0));
  close_fid(set);
  close_fid(node.ep);
  node.ep = NULL;
  close_fid(counter);
  node_close(&node);
}

CASE(poll_does_not_report_what_the_program_set) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_cntr *mine = counter_open(&node, &slots[1]);
  struct fid_poll *set = set_open(&node);
  assert_success(fi_poll_add(set, &mine->fid, 0));
  assert_success(fi_cntr_set(mine, 7));
  expect_contexts(set, 0, NULL, NULL);
  assert_success(fi_cntr_add(mine, 7));
  expect_contexts(set, 0, NULL, NULL);
  assert_success(fi_cntr_adderr(mine, 1));
  expect_contexts(set, 1, &slots[1], NULL);
  assert_success(fi_poll_del(set, &mine->fid, 0));
  close_fid(set);
  close_fid(mine);
  node_close(&node);
}

CASE(poll_reports_no_more_than_asked_for_and_loses_nothing) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_poll *set = set_open(&node);
  struct fid_cntr *counters[3];
  for (int i = 0; i < 3; i++) {
    counters[i] = counter_open(&node, &slots[i]);
    assert_success(fi_poll_add(set, &counters[i]->fid, 0));
    assert_success(fi_cntr_adderr(counters[i], 1));
  }
  bool seen[3] = {false};
  for (int i = 0; i < 3; i++) {
    void *contexts[2] = {NULL, &node};
    assert_returns(fi_poll(set, contexts, 1), 1);
    assert_ptr_equal(contexts[1], &node);
    long index = (char *)contexts[0] - slots;
    assert_in_range(index, 0, 2);
    if (seen[index]) failed("reported twice");
    seen[index] = true;
  }
  expect_contexts(set, 0, NULL, NULL);
  for (int i = 0; i < 3; i++) {
    assert_success(fi_poll_del(set, &counters[i]->fid, 0));
    close_fid(counters[i]);
  }
  close_fid(set);
  node_close(&node);
}

CASE(removed_members_are_not_reported) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_poll *set = set_open(&node);
  struct fid_cntr *one = counter_open(&node, &slots[1]), *two = counter_open(&node, &slots[2]);
  assert_success(fi_poll_add(set, &one->fid, 0));
  assert_success(fi_poll_add(set, &two->fid, 0));
  assert_success(fi_cntr_adderr(one, 1));
  assert_success(fi_cntr_adderr(two, 1));
  assert_success(fi_poll_del(set, &one->fid, 0));
  expect_contexts(set, 1, &slots[2], NULL);
  assert_success(fi_poll_del(set, &one->fid, 0));  // not there any more
  assert_success(fi_poll_del(set, &two->fid, 0));
  close_fid(set);
  close_fid(one);
  close_fid(two);
  node_close(&node);
}

CASE(poll_set_with_members_cannot_be_closed) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_poll *set = set_open(&node);
  struct fid_cntr *one = counter_open(&node, &slots[1]);
  assert_success(fi_poll_add(set, &one->fid, 0));
  assert_returns(fi_close(&set->fid), -FI_EBUSY);
  assert_success(fi_poll_del(set, &one->fid, 0));
  close_fid(set);
  close_fid(one);
  node_close(&node);
}

// Two processes: nothing but fi_poll drives progress until there is something to read.
static void exchange_by_polling(struct team *team) {
  struct node node;
  node_open(&node, &(struct setup){.progress = FI_PROGRESS_MANUAL});
  fi_addr_t peers[TEAM_MAX];
  team_connect(team, &node, peers);
  fi_addr_t peer = peers[1 - team->rank];
  struct fid_poll *set = set_open(&node);
  assert_success(fi_poll_add(set, &node.tx_cq->fid, 0));
  assert_success(fi_poll_add(set, &node.rx_cq->fid, 0));
  enum { size = 300000, rounds = 20 };
  char *in = allocate(size), *out = allocate(size);
  for (int i = 0; i < rounds; i++) {
    fill(out, size, (uint64_t)(i + team->rank));
    post(fi_recv(node.ep, in, size, NULL, FI_ADDR_UNSPEC, &slots[0]));
    post(fi_send(node.ep, out, size, NULL, peer, &slots[1]));
    int left = 2;
    double deadline = deadline_after(DEFAULT_WAIT);
    while (left > 0) {
      void *contexts[2];
      int count = fi_poll(set, contexts, 2);
      if (count < 0 || seconds() > deadline) failed("fi_poll returned %d with %d completions to come", count, left);
      for (int j = 0; j < count; j++) {
        struct fi_cq_tagged_entry entry;
        ssize_t read = fi_cq_read(*(struct fid_cq **)contexts[j], &entry, 1);
        if (read == 1) left--;
        else assert_returns(read, -FI_EAGAIN);
      }
    }
    verify(in, size, (uint64_t)(i + 1 - team->rank));
  }
  team_barrier(team);
  assert_success(fi_poll_del(set, &node.tx_cq->fid, 0));
  assert_success(fi_poll_del(set, &node.rx_cq->fid, 0));
  close_fid(set);
  node_close(&node);
  free(in);
  free(out);
}

CASE(poll_drives_progress) { team_run(2, exchange_by_polling); }
