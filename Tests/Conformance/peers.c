// Several processes: all to all, many to one, dead peers, restarted peers. Man pages: fi_endpoint(3), fi_cq(3).
#include "fixture.h"

#include <stdatomic.h>

static char slot[4096];

// Bound for the library to notice that a peer is gone, in seconds.
#define give_up (4 * DEFAULT_WAIT)

// ---- two processes ------------------------------------------------------------------------------------------------

static void two_exchange(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, NULL);
  team_connect(team, &node, peers);
  int other = 1 - team->rank;
  static const size_t sizes[] = {0, 1, 64, 1400, 1500, 9000, 65536, 300000, 4 << 20};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char *out = allocate(sizes[i]), *in = allocate(sizes[i]);
    fill(out, sizes[i], i * 2 + (uint64_t)team->rank);
    post(fi_recv(node.ep, in, sizes[i], NULL, FI_ADDR_UNSPEC, &slot[0]));
    post(fi_send(node.ep, out, sizes[i], NULL, peers[other], &slot[1]));
    wait_for(node.rx_cq, &slot[0]);
    wait_for(node.tx_cq, &slot[1]);
    verify(in, sizes[i], i * 2 + (uint64_t)other);
    free(out);
    free(in);
  }
  team_barrier(team);
  node_close(&node);
}

CASE(two_processes_exchange_messages) { team_run(2, two_exchange); }

static void two_ping_pong(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, NULL);
  team_connect(team, &node, peers);
  uint32_t in = 0;
  for (uint32_t round = 0; round < 300; round++) {
    post(fi_recv(node.ep, &in, 4, NULL, FI_ADDR_UNSPEC, &slot[0]));
    if (team->rank == 0) post(fi_inject(node.ep, &round, 4, peers[1]));
    wait_for(node.rx_cq, &slot[0]);
    assert_int_equal(in, round);
    if (team->rank == 1) post(fi_inject(node.ep, &in, 4, peers[0]));
  }
  team_barrier(team);
  node_close(&node);
}

CASE(two_processes_play_ping_pong) { team_run(2, two_ping_pong); }

static void two_remote_memory(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, NULL);
  enum { length = 1 << 20 };
  char *memory = allocate(length), *local = allocate(length);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(node.domain, memory, length, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 5, 0, &mr, NULL));
  team_connect(team, &node, peers);
  if (team->rank == 0) {
    for (uint64_t round = 0; round < 3; round++) {
      fill(local, length, round);
      post(fi_writedata(node.ep, local, length, NULL, round, peers[1], 0, 5, &slot[0]));
      wait_for(node.tx_cq, &slot[0]);
      memset(local, 0, length);
      post(fi_read(node.ep, local, length, NULL, peers[1], 0, 5, &slot[1]));
      wait_for(node.tx_cq, &slot[1]);
      verify(local, length, round);
      team_barrier(team);
    }
  } else {
    for (uint64_t round = 0; round < 3; round++) {
      struct fi_cq_tagged_entry entry = {0};
      wait_completion(node.rx_cq, &entry);
      assert_true(entry.flags & FI_REMOTE_CQ_DATA);
      assert_true(entry.data == round);
      verify(memory, length, round);
      team_barrier(team);
    }
  }
  team_barrier(team);
  close_fid(mr);
  node_close(&node);
  free(memory);
  free(local);
}

CASE(two_processes_share_memory) { team_run(2, two_remote_memory); }

// ---- more processes -----------------------------------------------------------------------------------------------

static void all_to_all(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, NULL);
  team_connect(team, &node, peers);
  enum { rounds = 20 };
  static const size_t sizes[] = {8, 2000, 60000};
  char *in[TEAM_MAX] = {NULL}, *out[TEAM_MAX] = {NULL};
  for (int rank = 0; rank < team->size; rank++) {
    in[rank] = allocate(60000);
    out[rank] = allocate(60000);
  }
  for (int round = 0; round < rounds; round++) {
    size_t length = sizes[round % 3];
    for (int rank = 0; rank < team->size; rank++) {
      if (rank == team->rank) continue;
      uint64_t seed = (uint64_t)(round * 100 + team->rank * 10 + rank);
      fill(out[rank], length, seed);
      post(fi_trecv(node.ep, in[rank], length, NULL, FI_ADDR_UNSPEC, (uint64_t)rank << 32 | (unsigned)round, 0,
                    &slot[rank]));
      post(fi_tsend(node.ep, out[rank], length, NULL, peers[rank],
                    (uint64_t)team->rank << 32 | (unsigned)round, &slot[100 + rank]));
    }
    for (int i = 0; i < team->size - 1; i++) {
      struct fi_cq_tagged_entry entry = {0};
      wait_completion(node.rx_cq, &entry);
      assert_int_equal(entry.len, length);
      int rank = (int)(entry.tag >> 32);
      assert_ptr_equal(entry.op_context, &slot[rank]);
      verify(in[rank], length, (uint64_t)(round * 100 + rank * 10 + team->rank));
      wait_completion(node.tx_cq, &entry);
    }
  }
  team_barrier(team);
  node_close(&node);
  for (int rank = 0; rank < team->size; rank++) {
    free(in[rank]);
    free(out[rank]);
  }
}

CASE(three_processes_all_to_all) { team_run(3, all_to_all); }
CASE(four_processes_all_to_all) { team_run(4, all_to_all); }

static void many_to_one(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, &(struct setup){.caps = FI_MSG | FI_SOURCE});
  team_connect(team, &node, peers);
  enum { count = 300, length = 3000 };
  if (team->rank == 0) {
    static char in[length];
    int next[TEAM_MAX] = {0};
    for (int i = 0; i < count * (team->size - 1); i++) {
      post(fi_recv(node.ep, in, length, NULL, FI_ADDR_UNSPEC, &slot[0]));
      struct fi_cq_tagged_entry entry = {0};
      fi_addr_t source = FI_ADDR_UNSPEC;
      double deadline = deadline_after(DEFAULT_WAIT);
      ssize_t got;
      while ((got = fi_cq_readfrom(node.rx_cq, &entry, 1, &source)) == -FI_EAGAIN && seconds() < deadline) {
        drive_progress();
      }
      assert_returns(got, 1);
      int rank = 1;
      while (rank < team->size && peers[rank] != source) rank++;
      assert_true(rank < team->size);
      verify(in, length, (uint64_t)(rank * 1000 + next[rank]++));  // in order from each sender
    }
  } else {
    static char out[count][length];
    for (int i = 0; i < count; i++) {
      fill(out[i], length, (uint64_t)(team->rank * 1000 + i));
      post(fi_send(node.ep, out[i], length, NULL, peers[0], &slot[i]));
    }
    for (int i = 0; i < count; i++) {
      struct fi_cq_tagged_entry entry;
      wait_completion(node.tx_cq, &entry);
    }
  }
  team_barrier(team);
  node_close(&node);
}

CASE(three_processes_send_to_one) { team_run(4, many_to_one); }

static void one_large_from_each(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, NULL);
  team_connect(team, &node, peers);
  enum { length = 3 << 20 };
  if (team->rank == 0) {
    char *in[TEAM_MAX];
    for (int rank = 1; rank < team->size; rank++) {
      in[rank] = allocate(length);
      post(fi_trecv(node.ep, in[rank], length, NULL, FI_ADDR_UNSPEC, (uint64_t)rank, 0, &slot[rank]));
    }
    for (int rank = 1; rank < team->size; rank++) {
      struct fi_cq_tagged_entry entry;
      wait_completion(node.rx_cq, &entry);
    }
    for (int rank = 1; rank < team->size; rank++) {
      verify(in[rank], length, (uint64_t)rank);
      free(in[rank]);
    }
  } else {
    char *out = allocate(length);
    fill(out, length, (uint64_t)team->rank);
    post(fi_tsend(node.ep, out, length, NULL, peers[0], (uint64_t)team->rank, &slot[0]));
    wait_for(node.tx_cq, &slot[0]);
    free(out);
  }
  team_barrier(team);
  node_close(&node);
}

CASE(large_messages_from_three_processes) { team_run(4, one_large_from_each); }

static void many_writers(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, NULL);
  enum { share = 200000 };
  char *memory = allocate(share * TEAM_MAX);
  struct fid_mr *mr = NULL;
  if (team->rank == 0) {
    assert_success(fi_mr_reg(node.domain, memory, share * TEAM_MAX, FI_REMOTE_WRITE, 0, 9, 0, &mr, NULL));
  }
  team_connect(team, &node, peers);
  if (team->rank == 0) {
    for (int i = 1; i < team->size; i++) {
      struct fi_cq_tagged_entry entry = {0};
      wait_completion(node.rx_cq, &entry);
      assert_in_range(entry.data, 1, team->size - 1);
      verify(memory + entry.data * share, share, entry.data);
    }
  } else {
    uint64_t rank = (uint64_t)team->rank;
    fill(memory, share, rank);
    post(fi_writedata(node.ep, memory, share, NULL, rank, peers[0], rank * share, 9, &slot[0]));
    wait_for(node.tx_cq, &slot[0]);
  }
  team_barrier(team);
  if (mr) close_fid(mr);
  node_close(&node);
  free(memory);
}

CASE(three_processes_write_to_one) { team_run(4, many_writers); }

// ---- a peer that is slow, silent or dead --------------------------------------------------------------------------

static void silent_receiver(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, NULL);
  team_connect(team, &node, peers);
  enum { count = 64, length = 20000 };
  static char buffer[count][length];
  if (team->rank == 0) {
    for (int i = 0; i < count; i++) {
      fill(buffer[i], length, (uint64_t)i);
      post(fi_send(node.ep, buffer[i], length, NULL, peers[1], &slot[i]));
      if (i == 0) wait_until(atomic_load(team_word(team, 1, 0)) == 1);
    }
    for (int i = 0; i < count; i++) {
      struct fi_cq_tagged_entry entry;
      wait_completion_within(node.tx_cq, &entry, 2 * DEFAULT_WAIT);
    }
  } else {
    for (int i = 0; i < count; i++) post(fi_recv(node.ep, buffer[i], length, NULL, FI_ADDR_UNSPEC, &slot[i]));
    atomic_store(team_word(team, 1, 0), 1);
    sleep_ms(1500);  // computing, as far as the library can tell
    for (int i = 0; i < count; i++) {
      struct fi_cq_tagged_entry entry = {0};
      wait_completion(node.rx_cq, &entry);
      ptrdiff_t index = (char *)entry.op_context - slot;
      verify(buffer[index], length, (uint64_t)index);
    }
  }
  team_barrier(team);
  node_close(&node);
}

CASE(busy_receiver_is_waited_for) { team_run(2, silent_receiver); }

// Connects both, lets rank 1 post `receives` receives, and kills it when rank 0 says so.
static void doomed(struct team *team, struct node *node) {
  fi_addr_t peers[TEAM_MAX];
  team_connect(team, node, peers);
  char in[16];
  post(fi_recv(node->ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
  wait_for(node->rx_cq, &slot[0]);
  atomic_store(team_word(team, 1, 0), 1);
  for (;;) drive_progress();
}

static fi_addr_t meet_doomed(struct team *team, struct node *node) {
  fi_addr_t peers[TEAM_MAX];
  team_connect(team, node, peers);
  post(fi_send(node->ep, "hello", 6, NULL, peers[1], &slot[0]));
  wait_for(node->tx_cq, &slot[0]);
  wait_until(atomic_load(team_word(team, 1, 0)) == 1);
  return peers[1];
}

// The call fails at once, or its operation ends as an error in bounded time.
static void expect_end(struct node *node, ssize_t result, void *context) {
  if (result < 0 && result != -FI_EAGAIN) return;
  assert_success(result);
  struct fi_cq_err_entry error;
  wait_error_within(node->tx_cq, &error, give_up);
  assert_ptr_equal(error.op_context, context);
  assert_true(error.err > 0);
}

static void dead_receiver(struct team *team) {
  struct node node;
  node_open(&node, NULL);
  if (team->rank == 1) doomed(team, &node);
  fi_addr_t peer = meet_doomed(team, &node);
  team_kill(team, 1);
  static char big[1 << 20];
  expect_end(&node, fi_send(node.ep, big, sizeof big, NULL, peer, &slot[1]), &slot[1]);
  node_close(&node);
}

CASE(send_to_a_dead_process_fails) { team_run(2, dead_receiver); }

static void dead_reader(struct team *team) {
  struct node node;
  node_open(&node, NULL);
  if (team->rank == 1) doomed(team, &node);
  fi_addr_t peer = meet_doomed(team, &node);
  team_kill(team, 1);
  char in[64];
  expect_end(&node, fi_read(node.ep, in, sizeof in, NULL, peer, 0, 1, &slot[1]), &slot[1]);
  node_close(&node);
}

CASE(read_from_a_dead_process_fails) { team_run(2, dead_reader); }

static void dead_with_outstanding(struct team *team) {
  struct node node;
  node_open(&node, NULL);
  if (team->rank == 1) doomed(team, &node);
  fi_addr_t peer = meet_doomed(team, &node);
  // nobody receives these: they are under way when the peer dies
  enum { count = 8, length = 1 << 20 };
  static char big[count][length];
  for (int i = 0; i < count; i++) post(fi_send(node.ep, big[i], length, NULL, peer, &slot[10 + i]));
  double end = seconds() + 0.05;
  while (seconds() < end) drive_progress();
  team_kill(team, 1);
  bool seen[count] = {false};
  double deadline = deadline_after(give_up);
  for (int ended = 0; ended < count;) {
    struct fi_cq_tagged_entry entry = {0};
    ssize_t got = fi_cq_read(node.tx_cq, &entry, 1);
    void *context = entry.op_context;
    if (got == -FI_EAVAIL) {
      struct fi_cq_err_entry error = {0};
      assert_returns(fi_cq_readerr(node.tx_cq, &error, 0), 1);
      context = error.op_context;
    } else if (got != 1) {
      if (seconds() > deadline) failed("%d of %d operations ended within %.0f s", ended, count, give_up);
      continue;
    }
    ptrdiff_t index = (char *)context - slot - 10;
    assert_in_range(index, 0, count - 1);
    assert_false(seen[index]);
    seen[index] = true;
    ended++;
  }
  node_close(&node);
}

CASE(outstanding_sends_end_when_the_peer_dies) { team_run(2, dead_with_outstanding); }

static void dead_does_not_disturb(struct team *team) {
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, NULL);
  team_connect(team, &node, peers);
  char in[8];
  if (team->rank != 0) {
    for (int i = 0; i < 200; i++) {
      post(fi_recv(node.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
      struct fi_cq_tagged_entry entry;
      wait_completion_within(node.rx_cq, &entry, give_up);
    }
    team_barrier(team);
    node_close(&node);
    return;
  }
  for (int i = 0; i < 10; i++) {
    for (int rank = 1; rank <= 2; rank++) post(fi_inject(node.ep, "12345678", 8, peers[rank]));
  }
  double end = seconds() + 0.05;
  while (seconds() < end) drive_progress();
  team_kill(team, 1);
  static char big[100000];
  ssize_t result = fi_send(node.ep, big, sizeof big, NULL, peers[1], &slot[1]);  // will fail, sooner or later
  assert_true(result <= 0);
  double begin = seconds();
  for (int i = 0; i < 190; i++) post(fi_inject(node.ep, "12345678", 8, peers[2]));
  team_barrier(team);
  double took = seconds() - begin;
  if (took > DEFAULT_WAIT * time_factor()) failed("the living peer was held up for %.1f s", took);
  node_close(&node);
}

CASE(dead_process_does_not_disturb_others) { team_run(3, dead_does_not_disturb); }

CASE(nobody_was_ever_there) {
  struct node node;
  node_open(&node, NULL);
  // a port that is certainly closed: bound by a TCP and a UDP socket that do not answer, then released
  int probe = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  assert_int_equal(bind(probe, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(getsockname(probe, (struct sockaddr *)&address, &length), 0);
  close(probe);
  fi_addr_t nobody = node_insert(&node, &address);
  double deadline = deadline_after(give_up);
  ssize_t result;
  while ((result = fi_send(node.ep, "x", 1, NULL, nobody, &slot[0])) == -FI_EAGAIN && seconds() < deadline) {
    drive_progress();
    struct fi_cq_err_entry error;
    if (fi_cq_readerr(node.tx_cq, &error, 0) == 1) break;
  }
  if (result == 0) {
    struct fi_cq_err_entry error;
    wait_error_within(node.tx_cq, &error, give_up);
    assert_ptr_equal(error.op_context, &slot[0]);
    assert_true(error.err > 0);
  } else {
    assert_true(result != -FI_EAGAIN || seconds() < deadline);
  }
  node_close(&node);
}

// ---- restart ------------------------------------------------------------------------------------------------------

static int unused_port(void) {
  int probe = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(probe, (struct sockaddr *)&address, sizeof address) != 0) return -1;
  if (getsockname(probe, (struct sockaddr *)&address, &length) != 0) return -1;
  close(probe);
  return ntohs(address.sin_port);
}

// A process that closes its endpoint and opens a new one at the same address is a new peer: nothing of the old one's
// state may be taken for the new one's.
static void restarted(struct team *team) {
  if (team->rank == 1) {
    char service[16];
    snprintf(service, sizeof service, "%d", unused_port());
    struct setup setup = {.service = service};
    fi_addr_t peers[TEAM_MAX];
    for (int life = 0; life < 3; life++) {
      struct node node;
      node_open(&node, &setup);
      if (life == 0) {
        team_connect(team, &node, peers);
      } else {
        team_barrier(team);
      }
      char in[32] = {0};
      post(fi_recv(node.ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, &slot[0]));
      struct fi_cq_tagged_entry entry;
      wait_completion_within(node.rx_cq, &entry, give_up);
      char expected[32];
      snprintf(expected, sizeof expected, "life %d", life);
      assert_string_equal(in, expected);
      team_barrier(team);
      node_close(&node);
      team_barrier(team);
    }
    return;
  }
  struct node node;
  fi_addr_t peers[TEAM_MAX];
  node_open(&node, NULL);
  for (int life = 0; life < 3; life++) {
    if (life == 0) {
      team_connect(team, &node, peers);
    } else {
      team_barrier(team);
    }
    char out[32];
    snprintf(out, sizeof out, "life %d", life);
    // the first tries may fail while the library learns that the old peer is gone
    double deadline = deadline_after(give_up);
    for (bool sent = false; !sent;) {
      if (seconds() > deadline) failed("life %d was not reached", life);
      ssize_t result = fi_send(node.ep, out, sizeof out, NULL, peers[1], &slot[life]);
      drive_progress();
      if (result != 0) continue;
      struct fi_cq_tagged_entry entry;
      ssize_t got;
      while ((got = fi_cq_read(node.tx_cq, &entry, 1)) == -FI_EAGAIN && seconds() < deadline) continue;
      struct fi_cq_err_entry error = {0};
      if (got == -FI_EAVAIL) (void)fi_cq_readerr(node.tx_cq, &error, 0);
      sent = got == 1;
    }
    team_barrier(team);
    team_barrier(team);
  }
  node_close(&node);
}

CASE(restarted_peer_is_reached_again) { team_run(2, restarted); }
