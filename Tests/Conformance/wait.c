// Wait sets and wait objects of queues and counters: fi_poll(3), fi_cq(3), fi_eq(3), fi_cntr(3), fi_control(3).
#include "fixture.h"

#include <time.h>

enum { size = 200000, rounds = 60 };

#define COUNT(array) (sizeof(array) / sizeof *(array))

static char slots[8];

static struct fid_wait *wait_open(struct node *node, enum fi_wait_obj wait_obj) {
  struct fi_wait_attr attributes = {.wait_obj = wait_obj};
  struct fid_wait *set = NULL;
  int result = fi_wait_open(node->fabric, &attributes, &set);
  if (result && wait_obj != FI_WAIT_UNSPEC) unsupported("no wait sets with this wait object: %d", result);
  assert_offered(result);
  assert_non_null(set);
  return set;
}

static struct fid_cq *queue_in(struct node *node, struct fid_wait *set) {
  struct fi_cq_attr attributes = {.format = FI_CQ_FORMAT_TAGGED, .wait_obj = FI_WAIT_SET, .wait_set = set};
  struct fid_cq *cq = NULL;
  int result = fi_cq_open(node->domain, &attributes, &cq, NULL);
  if (result) unsupported("completion queues do not join wait sets: %d", result);
  return cq;
}

static struct fid_cntr *counter_in(struct node *node, struct fid_wait *set) {
  struct fi_cntr_attr attributes = {.wait_obj = FI_WAIT_SET, .wait_set = set};
  struct fid_cntr *counter = NULL;
  int result = fi_cntr_open(node->domain, &attributes, &counter, NULL);
  if (result) unsupported("counters do not join wait sets: %d", result);
  return counter;
}

static struct fid_eq *events_in(struct node *node, struct fid_wait *set) {
  struct fi_eq_attr attributes = {.flags = FI_WRITE, .wait_obj = FI_WAIT_SET, .wait_set = set};
  struct fid_eq *eq = NULL;
  int result = fi_eq_open(node->fabric, &attributes, &eq, NULL);
  if (result) unsupported("event queues do not join wait sets: %d", result);
  return eq;
}

static struct fid_eq *events_open(struct node *node, enum fi_wait_obj wait_obj) {
  struct fi_eq_attr attributes = {.flags = FI_WRITE, .wait_obj = wait_obj};
  struct fid_eq *eq = NULL;
  int result = fi_eq_open(node->fabric, &attributes, &eq, NULL);
  if (result) unsupported("no event queue with this wait object: %d", result);
  return eq;
}

// ---- opening and closing ------------------------------------------------------------------------------------------

CASE(wait_sets_of_every_kind_open) {
  struct node node;
  node_open_domain(&node, NULL);
  static const enum fi_wait_obj kinds[] = {FI_WAIT_UNSPEC, FI_WAIT_FD, FI_WAIT_POLLFD, FI_WAIT_MUTEX_COND, FI_WAIT_YIELD};
  for (size_t i = 0; i < COUNT(kinds); i++) {
    struct fid_wait *set = wait_open(&node, kinds[i]);
    assert_returns(fi_close(&node.fabric->fid), -FI_EBUSY);
    close_fid(set);
  }
  node_close(&node);
}

CASE(strange_wait_sets_are_refused) {
  struct node node;
  node_open_domain(&node, NULL);
  close_fid(wait_open(&node, FI_WAIT_UNSPEC));
  static const enum fi_wait_obj kinds[] = {FI_WAIT_NONE, FI_WAIT_SET, (enum fi_wait_obj)99};
  struct fid_wait *set = NULL;
  for (size_t i = 0; i < COUNT(kinds); i++) {
    struct fi_wait_attr attributes = {.wait_obj = kinds[i]};
    assert_fails(fi_wait_open(node.fabric, &attributes, &set));
  }
  struct fi_wait_attr attributes = {.wait_obj = FI_WAIT_FD, .flags = 1};
  assert_fails(fi_wait_open(node.fabric, &attributes, &set));
  assert_null(set);
  node_close(&node);
}

CASE(queues_need_the_set_they_name) {
  struct node node;
  node_open_domain(&node, NULL);
  close_fid(wait_open(&node, FI_WAIT_UNSPEC));
  struct fi_cq_attr cq_attributes = {.wait_obj = FI_WAIT_SET};
  struct fid_cq *cq = NULL;
  assert_fails(fi_cq_open(node.domain, &cq_attributes, &cq, NULL));
  struct fi_eq_attr eq_attributes = {.wait_obj = FI_WAIT_SET};
  struct fid_eq *eq = NULL;
  assert_fails(fi_eq_open(node.fabric, &eq_attributes, &eq, NULL));
  node_close(&node);
}

CASE(wait_set_with_members_cannot_be_closed) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_wait *set = wait_open(&node, FI_WAIT_UNSPEC);
  struct fid_cq *cq = queue_in(&node, set);
  assert_returns(fi_close(&set->fid), -FI_EBUSY);
  struct fid_eq *eq = events_in(&node, set);
  close_fid(cq);
  assert_returns(fi_close(&set->fid), -FI_EBUSY);
  close_fid(eq);
  struct fid_cntr *counter = counter_in(&node, set);
  assert_returns(fi_close(&set->fid), -FI_EBUSY);
  close_fid(counter);
  close_fid(set);
  node_close(&node);
}

// ---- fi_wait ------------------------------------------------------------------------------------------------------

struct later {
  int (*act)(void *object);
  void *object;
};

static int write_event(void *object) {
  struct fi_eq_entry entry = {0};
  return fi_eq_write(object, FI_NOTIFY, &entry, sizeof entry, 0) < 0;
}
static int add_one(void *object) { return fi_cntr_add(object, 1); }
static int add_error(void *object) { return fi_cntr_adderr(object, 1); }

static void *act_later(void *argument) {
  struct later *later = argument;
  sleep_ms(100);
  return (void *)(intptr_t)later->act(later->object);
}

static pthread_t start(struct later *later) {
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, act_later, later), 0);
  return thread;
}

static void finish(pthread_t thread, double begin) {
  double waited = seconds() - begin;
  void *result;
  pthread_join(thread, &result);
  assert_success((intptr_t)result);
  if (waited > 1.5 * time_factor() || waited < 0.05) failed("woke after %.3f s", waited);
}

static void wait_while(enum fi_wait_obj wait_obj) {
  struct node node;
  node_open_domain(&node, &(struct setup){.threading = FI_THREAD_SAFE});
  struct fid_wait *set = wait_open(&node, wait_obj);
  struct fid_eq *eq = events_in(&node, set);
  struct fid_cntr *counter = counter_in(&node, set);
  struct fid_cq *cq = queue_in(&node, set);
  struct later changes[] = {{write_event, eq}, {add_one, counter}, {add_error, counter}, {write_event, eq}};
  for (size_t i = 0; i < COUNT(changes); i++) {
    double begin = seconds();
    pthread_t thread = start(&changes[i]);
    assert_success(fi_wait(set, 4000));
    finish(thread, begin);
    uint32_t event;
    struct fi_eq_entry entry;
    if (changes[i].object == eq) {
      assert_returns(fi_eq_read(eq, &event, &entry, sizeof entry, 0), sizeof entry);
    } else {
      assert_true(fi_cntr_read(counter) + fi_cntr_readerr(counter) == i);
    }
    begin = seconds();
    assert_returns(fi_wait(set, 50), -FI_ETIMEDOUT);
    if (seconds() - begin < 0.045) failed("timed out too early");
  }
  close_fid(cq);
  close_fid(counter);
  close_fid(eq);
  close_fid(set);
  node_close(&node);
}

CASE(wait_ends_when_a_member_changes) { wait_while(FI_WAIT_UNSPEC); }
CASE(wait_with_a_descriptor_ends_when_a_member_changes) { wait_while(FI_WAIT_FD); }
CASE(wait_that_yields_ends_when_a_member_changes) { wait_while(FI_WAIT_YIELD); }
CASE(wait_with_a_condition_ends_when_a_member_changes) { wait_while(FI_WAIT_MUTEX_COND); }

CASE(wait_returns_at_once_when_there_is_something) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_wait *set = wait_open(&node, FI_WAIT_UNSPEC);
  assert_returns(fi_wait(set, 0), -FI_ETIMEDOUT);
  struct fid_eq *eq = events_in(&node, set);
  assert_returns(fi_wait(set, 0), -FI_ETIMEDOUT);
  assert_success(write_event(eq));
  assert_success(fi_wait(set, 0));
  assert_success(fi_wait(set, -1));
  close_fid(eq);
  assert_returns(fi_wait(set, 10), -FI_ETIMEDOUT);
  close_fid(set);
  node_close(&node);
}

static void *wait_for_set(void *set) { return (void *)(intptr_t)fi_wait(set, 4000); }

CASE(threads_wait_for_one_set) {
  struct node node;
  node_open_domain(&node, &(struct setup){.threading = FI_THREAD_SAFE});
  struct fid_wait *set = wait_open(&node, FI_WAIT_FD);
  struct fid_eq *eq = events_in(&node, set);
  pthread_t threads[3];
  for (size_t i = 0; i < COUNT(threads); i++) pthread_create(&threads[i], NULL, wait_for_set, set);
  sleep_ms(100);
  assert_success(write_event(eq));
  for (size_t i = 0; i < COUNT(threads); i++) {
    void *result;
    pthread_join(threads[i], &result);
    assert_success((intptr_t)result);
  }
  close_fid(eq);
  close_fid(set);
  node_close(&node);
}

// ---- two processes ------------------------------------------------------------------------------------------------

// How a process waits until there may be something to read.
struct sleeper {
  enum fi_wait_obj own;  // of queue and counter, or FI_WAIT_SET
  enum fi_wait_obj of_set;
  enum fi_progress progress;
  bool by_counter;
  void (*sleep)(struct fid *members[], int count, struct fid_wait *set);
} how;

static void sleep_in_fi_wait(struct fid *members[], int count, struct fid_wait *set) {
  (void)members;
  (void)count;
  int result = fi_wait(set, 5000);
  if (result) failed("fi_wait returned %d", result);
}

static struct fid_fabric *fabric;

static int try_wait(struct fid *members[], int count, struct fid_wait *set) {
  int result = set ? fi_trywait(fabric, &(struct fid *){&set->fid}, 1) : fi_trywait(fabric, members, count);
  if (result != -FI_EAGAIN) assert_success(result);
  return result;
}

static void sleep_on_descriptors(struct fid *members[], int count, struct fid_wait *set) {
  struct pollfd entries[2] = {{0}};
  int used = set ? 1 : count;
  for (int i = 0; i < used; i++) {
    struct fid *owner = set ? &set->fid : members[i];
    if ((set ? how.of_set : how.own) == FI_WAIT_POLLFD) {
      struct fi_wait_pollfd list = {.nfds = 1, .fd = &entries[i]};
      assert_success(fi_control(owner, FI_GETWAIT, &list));
      assert_int_equal(list.nfds, 1);
    } else {
      assert_success(fi_control(owner, FI_GETWAIT, &entries[i].fd));
      entries[i].events = POLLIN;
    }
  }
  if (try_wait(members, count, set)) return;
  int ready = poll(entries, (nfds_t)used, 5000);
  if (ready <= 0) failed("nothing woke the program within 5 s");
}

static void wait_for_condition(struct fi_mutex_cond *condition) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += 5;
  if (pthread_cond_timedwait(condition->cond, condition->mutex, &end)) failed("nobody signalled within 5 s");
}

// Asks first, with the mutex held all the time.
static void sleep_on_condition(struct fid *members[], int count, struct fid_wait *set) {
  struct fi_mutex_cond condition = {0};
  assert_success(fi_control(set ? &set->fid : members[0], FI_GETWAIT, &condition));
  assert_true(condition.mutex && condition.cond);
  pthread_mutex_lock(condition.mutex);
  if (try_wait(members, count, set) == 0) wait_for_condition(&condition);
  pthread_mutex_unlock(condition.mutex);
}

static struct fid_cq *queue;
static struct fid_cntr *counter;

// Reads with the mutex held, and waits when that found nothing.
static void sleep_on_condition_after_reading(struct fid *members[], int count, struct fid_wait *set) {
  (void)set;
  (void)count;
  struct fi_mutex_cond condition = {0};
  assert_success(fi_control(members[0], FI_GETWAIT, &condition));
  pthread_mutex_lock(condition.mutex);
  if (fi_cq_read(queue, NULL, 0) == -FI_EAGAIN) wait_for_condition(&condition);
  pthread_mutex_unlock(condition.mutex);
}

static void wait_for_count(struct fid_cq *cq, int number, struct fid *members[], int count, struct fid_wait *set) {
  static uint64_t received;
  double deadline = deadline_after(4 * DEFAULT_WAIT);
  while (number > 0) {
    struct fi_cq_tagged_entry entry;
    ssize_t read = fi_cq_read(cq, &entry, 1);
    if (read == 1) {
      number--;
      if (entry.flags & FI_RECV) received++;
      continue;
    }
    assert_returns(read, -FI_EAGAIN);
    if (counter) (void)fi_cntr_read(counter);
    if (seconds() > deadline) failed("%d completions missing", number);
    how.sleep(members, count, set);
  }
  if (counter) assert_true(fi_cntr_read(counter) == received);
}

static void exchange(struct team *team) {
  struct node node;
  node_open_domain(&node, &(struct setup){.progress = how.progress});
  fabric = node.fabric;
  struct fid_wait *set = how.own == FI_WAIT_SET ? wait_open(&node, how.of_set) : NULL;
  struct fi_cq_attr cq_attributes = {.format = FI_CQ_FORMAT_TAGGED, .wait_obj = how.own, .wait_set = set};
  int result = fi_cq_open(node.domain, &cq_attributes, &queue, NULL);
  if (result) unsupported("no queue with this wait object: %d", result);
  struct fid *members[2] = {&queue->fid, NULL};
  if (how.by_counter) {
    struct fi_cntr_attr attributes = {.wait_obj = how.own, .wait_set = set};
    result = fi_cntr_open(node.domain, &attributes, &counter, NULL);
    if (result) unsupported("no counter with this wait object: %d", result);
    members[1] = &counter->fid;
  }
  node.av = av_open(&node, FI_AV_UNSPEC);
  assert_success(fi_endpoint(node.domain, node.info, &node.ep, NULL));
  assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
  assert_success(fi_ep_bind(node.ep, &queue->fid, FI_TRANSMIT | FI_RECV));
  if (counter) assert_success(fi_ep_bind(node.ep, &counter->fid, FI_RECV));
  assert_success(fi_enable(node.ep));
  node.address_length = sizeof node.address;
  assert_success(fi_getname(&node.ep->fid, node.address, &node.address_length));
  watch_cq(queue);
  fi_addr_t peers[TEAM_MAX];
  team_connect(team, &node, peers);
  char *in = allocate(size), *out = allocate(size);
  for (int i = 0; i < rounds; i++) {
    size_t length = i % 8 ? 64 : size;
    uint64_t seed = (uint64_t)(i + team->rank);
    fill(out, length, seed);
    post(fi_recv(node.ep, in, length, NULL, FI_ADDR_UNSPEC, &slots[0]));
    if (team->rank == 0) post(fi_send(node.ep, out, length, NULL, peers[1], &slots[1]));
    // Rank 1 sleeps until the message is here, and rank 0 until it is answered.
    wait_for_count(queue, team->rank == 0 ? 2 : 1, members, counter ? 2 : 1, set);
    verify(in, length, (uint64_t)(i + 1 - team->rank));
    if (team->rank == 1) {
      if (i % 10 == 5) sleep_ms(20);
      post(fi_send(node.ep, out, length, NULL, peers[0], &slots[1]));
      wait_for_count(queue, 1, members, counter ? 2 : 1, set);
    }
  }
  team_barrier(team);
  unwatch_cq(queue);
  close_fid(node.ep);
  node.ep = NULL;
  close_fid(queue);
  if (counter) close_fid(counter);
  if (set) close_fid(set);
  node_close(&node);
  free(in);
  free(out);
}

static void exchange_with(struct sleeper sleeper) {
  how = sleeper;
  // Both processes find out what is not offered; ask before there are two.
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_wait *set = how.own == FI_WAIT_SET ? wait_open(&node, how.of_set) : NULL;
  struct fi_cq_attr cq_attributes = {.wait_obj = how.own, .wait_set = set};
  struct fid_cq *cq = NULL;
  int result = fi_cq_open(node.domain, &cq_attributes, &cq, NULL);
  if (result) unsupported("no queue with this wait object: %d", result);
  close_fid(cq);
  if (set) close_fid(set);
  node_close(&node);
  team_run(2, exchange);
}

#define MANUAL .progress = FI_PROGRESS_MANUAL
#define AUTOMATIC .progress = FI_PROGRESS_AUTO

CASE(set_of_queue_and_counter_wakes) {
  exchange_with((struct sleeper){FI_WAIT_SET, FI_WAIT_UNSPEC, MANUAL, .by_counter = true, .sleep = sleep_in_fi_wait});
}
CASE(set_wakes_with_automatic_progress) {
  exchange_with((struct sleeper){FI_WAIT_SET, FI_WAIT_FD, AUTOMATIC, .by_counter = true, .sleep = sleep_in_fi_wait});
}
CASE(set_that_yields_wakes) {
  exchange_with((struct sleeper){FI_WAIT_SET, FI_WAIT_YIELD, MANUAL, .sleep = sleep_in_fi_wait});
}
CASE(descriptor_of_a_set_wakes) {
  exchange_with((struct sleeper){FI_WAIT_SET, FI_WAIT_FD, MANUAL, .by_counter = true, .sleep = sleep_on_descriptors});
}
CASE(descriptors_of_a_set_wake) {
  exchange_with((struct sleeper){FI_WAIT_SET, FI_WAIT_POLLFD, AUTOMATIC, .sleep = sleep_on_descriptors});
}
CASE(descriptors_of_queue_and_counter_wake) {
  exchange_with((struct sleeper){FI_WAIT_FD, FI_WAIT_NONE, MANUAL, .by_counter = true, .sleep = sleep_on_descriptors});
}
CASE(descriptor_lists_of_queue_and_counter_wake) {
  exchange_with(
      (struct sleeper){FI_WAIT_POLLFD, FI_WAIT_NONE, AUTOMATIC, .by_counter = true, .sleep = sleep_on_descriptors});
}
CASE(condition_of_a_queue_wakes_with_manual_progress) {
  exchange_with((struct sleeper){FI_WAIT_MUTEX_COND, FI_WAIT_NONE, MANUAL, .sleep = sleep_on_condition});
}
CASE(condition_of_a_queue_wakes_with_automatic_progress) {
  exchange_with((struct sleeper){FI_WAIT_MUTEX_COND, FI_WAIT_NONE, AUTOMATIC, .sleep = sleep_on_condition});
}
CASE(condition_of_a_queue_wakes_who_reads_first) {
  exchange_with((struct sleeper){FI_WAIT_MUTEX_COND, FI_WAIT_NONE, AUTOMATIC, .sleep = sleep_on_condition_after_reading});
}
CASE(condition_wakes_who_reads_first_with_manual_progress) {
  exchange_with((struct sleeper){FI_WAIT_MUTEX_COND, FI_WAIT_NONE, MANUAL, .sleep = sleep_on_condition_after_reading});
}
CASE(condition_of_a_set_wakes) {
  exchange_with((struct sleeper){FI_WAIT_SET, FI_WAIT_MUTEX_COND, MANUAL, .by_counter = true, .sleep = sleep_on_condition});
}

// ---- queues by themselves -----------------------------------------------------------------------------------------

static void event_wakes(enum fi_wait_obj wait_obj) {
  struct node node;
  node_open_domain(&node, &(struct setup){.threading = FI_THREAD_SAFE});
  struct fid_eq *eq = events_open(&node, wait_obj);
  uint32_t event;
  struct fi_eq_entry entry;
  double begin = seconds();
  assert_returns(fi_eq_sread(eq, &event, &entry, sizeof entry, 50, 0), -FI_EAGAIN);
  if (seconds() - begin < 0.045) failed("timed out too early");
  begin = seconds();
  struct later later = {write_event, eq};
  pthread_t thread = start(&later);
  assert_returns(fi_eq_sread(eq, &event, &entry, sizeof entry, 4000, 0), sizeof entry);
  finish(thread, begin);
  close_fid(eq);
  node_close(&node);
}

CASE(event_ends_a_read_that_yields) { event_wakes(FI_WAIT_YIELD); }
CASE(event_ends_a_read_with_a_condition) { event_wakes(FI_WAIT_MUTEX_COND); }
CASE(event_ends_a_read_with_descriptors) { event_wakes(FI_WAIT_POLLFD); }

CASE(event_signals_the_condition) {
  struct node node;
  node_open_domain(&node, &(struct setup){.threading = FI_THREAD_SAFE});
  struct fid_eq *eq = events_open(&node, FI_WAIT_MUTEX_COND);
  struct fi_mutex_cond condition = {0};
  assert_success(fi_control(&eq->fid, FI_GETWAIT, &condition));
  for (int i = 0; i < 3; i++) {
    double begin = seconds();
    struct later later = {write_event, eq};
    pthread_t thread = start(&later);
    uint32_t event;
    struct fi_eq_entry entry;
    pthread_mutex_lock(condition.mutex);
    while (fi_eq_read(eq, &event, &entry, sizeof entry, 0) == -FI_EAGAIN) wait_for_condition(&condition);
    pthread_mutex_unlock(condition.mutex);
    finish(thread, begin);
  }
  close_fid(eq);
  node_close(&node);
}

static void kind_is_told(enum fi_wait_obj wait_obj) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_eq *eq = events_open(&node, wait_obj);
  struct fid_cq *cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, wait_obj, 0);
  struct fi_cntr_attr attributes = {.wait_obj = wait_obj};
  struct fid_cntr *mine = NULL;
  assert_offered(fi_cntr_open(node.domain, &attributes, &mine, NULL));
  struct fid *objects[] = {&eq->fid, &cq->fid, &mine->fid};
  for (size_t i = 0; i < COUNT(objects); i++) {
    enum fi_wait_obj told = FI_WAIT_NONE;
    int result = fi_control(objects[i], FI_GETWAITOBJ, &told);
    if (result == -FI_ENOSYS) unsupported("FI_GETWAITOBJ");
    assert_success(result);
    assert_int_equal(told, wait_obj);
  }
  close_fid(mine);
  close_fid(cq);
  close_fid(eq);
  node_close(&node);
}

CASE(kind_of_descriptor_is_told) { kind_is_told(FI_WAIT_FD); }
CASE(kind_of_descriptor_list_is_told) { kind_is_told(FI_WAIT_POLLFD); }
CASE(kind_of_condition_is_told) { kind_is_told(FI_WAIT_MUTEX_COND); }
CASE(kind_that_yields_is_told) { kind_is_told(FI_WAIT_YIELD); }

// Objects with threads and descriptors of their own, a thousand times.
CASE(wait_objects_leave_nothing_behind) {
  struct node node;
  node_open_domain(&node, NULL);
  static const enum fi_wait_obj kinds[] = {FI_WAIT_FD, FI_WAIT_MUTEX_COND, FI_WAIT_YIELD};
  for (int i = 0; i < 900; i++) {
    struct fid_wait *set = wait_open(&node, kinds[i % 3]);
    struct fid_cq *member = queue_in(&node, set);
    struct fid_cq *cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, kinds[i % 3], 0);
    struct fid_eq *eq = events_open(&node, kinds[i % 3]);
    close_fid(cq);
    close_fid(eq);
    close_fid(member);
    close_fid(set);
  }
  int descriptor = dup(0);
  if (descriptor > 60) failed("descriptors are still open: the next one is %d", descriptor);
  close(descriptor);
  node_close(&node);
}

CASE(trywait_refuses_what_cannot_wait) {
  struct node node;
  node_open(&node, NULL);
  struct fid *objects[] = {&node.ep->fid, &node.domain->fid};
  for (size_t i = 0; i < COUNT(objects); i++) assert_fails(fi_trywait(node.fabric, &objects[i], 1));
  node_close(&node);
}

CASE(trywait_says_when_a_counter_has_changed) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fi_cntr_attr attributes = {.wait_obj = FI_WAIT_FD};
  struct fid_cntr *mine = NULL;
  assert_offered(fi_cntr_open(node.domain, &attributes, &mine, NULL));
  int descriptor = -1;
  if (fi_control(&mine->fid, FI_GETWAIT, &descriptor)) unsupported("FI_GETWAIT on counters");
  struct fid *objects[] = {&mine->fid};
  assert_success(fi_trywait(node.fabric, objects, 1));
  struct pollfd entry = {descriptor, POLLIN, 0};
  assert_int_equal(poll(&entry, 1, 20), 0);
  assert_success(fi_cntr_adderr(mine, 1));
  assert_int_equal(poll(&entry, 1, 1000), 1);
  assert_returns(fi_trywait(node.fabric, objects, 1), -FI_EAGAIN);
  assert_true(fi_cntr_readerr(mine) == 1);
  assert_success(fi_trywait(node.fabric, objects, 1));
  assert_int_equal(poll(&entry, 1, 20), 0);
  close_fid(mine);
  node_close(&node);
}
