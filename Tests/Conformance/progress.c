// Progress models. Man page: fi_domain(3).
#include "fixture.h"

#include <stdatomic.h>

static char slot[256];

enum { length = 300000 };

// ---- automatic progress: the target makes no calls at all ---------------------------------------------------------

static void passive_target(struct team *team, bool write) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, &(struct setup){.progress = FI_PROGRESS_AUTO});
  char *memory = allocate(length);
  if (!write) fill(memory, length, 3);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(node.domain, memory, length, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 1, 0, &mr, NULL));
  team_connect(team, &node, peers);
  if (team->rank == 0) {
    char *local = allocate(length);
    if (write) {
      fill(local, length, 3);
      post(fi_write(node.ep, local, length, NULL, peers[1], 0, 1, &slot[0]));
    } else {
      post(fi_read(node.ep, local, length, NULL, peers[1], 0, 1, &slot[0]));
    }
    wait_for(node.tx_cq, &slot[0]);
    if (!write) verify(local, length, 3);
    atomic_store(team_word(team, 0, 0), 1);
    free(local);
  } else {
    // no call of the library while waiting
    double deadline = deadline_after(2 * DEFAULT_WAIT);
    while (atomic_load(team_word(team, 0, 0)) == 0 && seconds() < deadline) sleep_ms(2);
    assert_int_equal(atomic_load(team_word(team, 0, 0)), 1);
    while (write && !matches(memory, length, 3) && seconds() < deadline) sleep_ms(2);
    if (write) verify(memory, length, 3);
  }
  team_barrier(team);
  close_fid(mr);
  node_close(&node);
  free(memory);
}

static void passive_write(struct team *team) { passive_target(team, true); }
static void passive_read(struct team *team) { passive_target(team, false); }

CASE(automatic_target_of_writes_makes_no_calls) { team_run(2, passive_write); }
CASE(automatic_target_of_reads_makes_no_calls) { team_run(2, passive_read); }

static void passive_receiver(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, &(struct setup){.progress = FI_PROGRESS_AUTO});
  team_connect(team, &node, peers);
  char *buffer = allocate(length);
  if (team->rank == 0) {
    wait_until(atomic_load(team_word(team, 1, 0)) == 1);
    fill(buffer, length, 4);
    struct iovec part = {buffer, length};
    struct fi_msg message = {.msg_iov = &part, .iov_count = 1, .addr = peers[1], .context = &slot[0]};
    post(fi_sendmsg(node.ep, &message, FI_COMPLETION | FI_DELIVERY_COMPLETE));
    wait_for(node.tx_cq, &slot[0]);
    atomic_store(team_word(team, 0, 0), 1);
  } else {
    post(fi_recv(node.ep, buffer, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
    atomic_store(team_word(team, 1, 0), 1);
    double deadline = deadline_after(2 * DEFAULT_WAIT);
    while (atomic_load(team_word(team, 0, 0)) == 0 && seconds() < deadline) sleep_ms(2);
    assert_int_equal(atomic_load(team_word(team, 0, 0)), 1);
    verify(buffer, length, 4);
    wait_for(node.rx_cq, &slot[0]);
  }
  team_barrier(team);
  node_close(&node);
  free(buffer);
}

CASE(automatic_receiver_makes_no_calls) { team_run(2, passive_receiver); }

static void passive_sender(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, &(struct setup){.progress = FI_PROGRESS_AUTO});
  team_connect(team, &node, peers);
  char *buffer = allocate(length);
  if (team->rank == 0) {
    fill(buffer, length, 5);
    post(fi_send(node.ep, buffer, length, NULL, peers[1], &slot[0]));
    double deadline = deadline_after(2 * DEFAULT_WAIT);
    while (atomic_load(team_word(team, 1, 0)) == 0 && seconds() < deadline) sleep_ms(2);
    assert_int_equal(atomic_load(team_word(team, 1, 0)), 1);
    wait_for(node.tx_cq, &slot[0]);
  } else {
    post(fi_recv(node.ep, buffer, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
    wait_for(node.rx_cq, &slot[0]);
    verify(buffer, length, 5);
    atomic_store(team_word(team, 1, 0), 1);
  }
  team_barrier(team);
  node_close(&node);
  free(buffer);
}

CASE(automatic_sender_of_a_large_message_makes_no_calls) { team_run(2, passive_sender); }

CASE(automatic_domain_is_idle_when_quiet) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.progress = FI_PROGRESS_AUTO});
  char in = 0;
  post(fi_recv(pair.b.ep, &in, 1, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_send(pair.a.ep, "x", 1, NULL, pair.to_b, &slot[1]));
  wait_for(pair.b.rx_cq, &slot[0]);
  wait_for(pair.a.tx_cq, &slot[1]);
  sleep_ms(200);
  struct timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  sleep_ms(500);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  double used = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
  if (used > 0.1 * time_factor()) failed("used %.3f s of processor time in 0.5 quiet seconds", used);
  pair_close(&pair);
}

// ---- manual progress: calls that poll do the work -----------------------------------------------------------------

static void manual_exchange(struct team *team, enum fi_wait_obj wait) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, &(struct setup){.progress = FI_PROGRESS_MANUAL, .wait_obj = wait});
  team_connect(team, &node, peers);
  int other = 1 - team->rank;
  char *out = allocate(length), *in = allocate(length);
  for (uint64_t round = 0; round < 10; round++) {
    fill(out, length, round * 2 + (uint64_t)team->rank);
    post(fi_recv(node.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
    post(fi_send(node.ep, out, length, NULL, peers[other], &slot[1]));
    wait_for(node.rx_cq, &slot[0]);
    wait_for(node.tx_cq, &slot[1]);
    verify(in, length, round * 2 + (uint64_t)other);
  }
  team_barrier(team);
  node_close(&node);
  free(out);
  free(in);
}

static void manual_polling(struct team *team) { manual_exchange(team, FI_WAIT_NONE); }

CASE(manual_progress_by_polling) { team_run(2, manual_polling); }

static void sleeping_receiver(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, &(struct setup){.progress = FI_PROGRESS_MANUAL, .wait_obj = FI_WAIT_FD});
  team_connect(team, &node, peers);
  char *buffer = allocate(length);
  if (team->rank == 0) {
    for (uint64_t round = 0; round < 3; round++) {
      fill(buffer, length, round);
      sleep_ms(50);
      post(fi_send(node.ep, buffer, length, NULL, peers[1], &slot[0]));
      wait_for(node.tx_cq, &slot[0]);
    }
  } else {
    for (uint64_t round = 0; round < 3; round++) {
      post(fi_recv(node.ep, buffer, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
      struct fi_cq_tagged_entry entry = {0};
      double deadline = deadline_after(DEFAULT_WAIT);
      ssize_t count;
      do {  // the blocking read alone must drive the transfer
        count = fi_cq_sread(node.rx_cq, &entry, 1, NULL, 1000);
      } while (count == -FI_EAGAIN && seconds() < deadline);
      assert_returns(count, 1);
      verify(buffer, length, round);
    }
  }
  team_barrier(team);
  node_close(&node);
  free(buffer);
}

CASE(manual_progress_by_blocking_reads) { team_run(2, sleeping_receiver); }

CASE(reading_either_queue_drives_the_endpoint) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.progress = FI_PROGRESS_MANUAL});
  char *out = allocate(length), *in = allocate(length);
  fill(out, length, 6);
  post(fi_recv(pair.b.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
  post(fi_send(pair.a.ep, out, length, NULL, pair.to_b, &slot[1]));
  // only the queues that will not report the transfer are read
  struct fi_cq_tagged_entry entry;
  double deadline = deadline_after(DEFAULT_WAIT);
  while (!matches(in, length, 6) && seconds() < deadline) {
    assert_returns(fi_cq_read(pair.a.rx_cq, &entry, 1), -FI_EAGAIN);
    assert_returns(fi_cq_read(pair.b.tx_cq, &entry, 1), -FI_EAGAIN);
  }
  verify(in, length, 6);
  wait_for(pair.b.rx_cq, &slot[0]);
  wait_for(pair.a.tx_cq, &slot[1]);
  free(out);
  free(in);
  pair_close(&pair);
}
