// Threading levels: several threads on the same objects. Man page: fi_domain(3).
#include "fixture.h"

#include <stdatomic.h>

enum { thread_count = 4, per_thread = 400 };

static char slot[thread_count * per_thread];
static struct pair pair;
static _Atomic int failures;
static _Atomic int transmitted;
static _Atomic int received;
static uint32_t inbox[thread_count * per_thread];
static uint32_t outbox[thread_count * per_thread];

// Threads must not use cmocka's assertions: they note what went wrong.
static void note(const char *what, long code) {
  if (atomic_fetch_add(&failures, 1) < 5) fprintf(stderr, "%s: %ld (%s)\n", what, code, fi_strerror((int)-code));
}

static void *send_many(void *argument) {
  int base = (int)(intptr_t)argument * per_thread;
  double deadline = deadline_after(3 * DEFAULT_WAIT);
  for (int i = base; i < base + per_thread; i++) {
    outbox[i] = (uint32_t)i;
    ssize_t result;
    while ((result = fi_tsend(pair.a.ep, &outbox[i], 4, NULL, pair.to_b, (uint64_t)i, &slot[i])) == -FI_EAGAIN) {
      if (seconds() > deadline) break;
      sched_yield();
    }
    if (result != 0) {
      note("fi_tsend", result);
      break;
    }
  }
  return NULL;
}

static void *receive_many(void *argument) {
  int base = (int)(intptr_t)argument * per_thread;
  double deadline = deadline_after(3 * DEFAULT_WAIT);
  for (int i = base; i < base + per_thread; i++) {
    ssize_t result;
    while ((result = fi_trecv(pair.b.ep, &inbox[i], 4, NULL, FI_ADDR_UNSPEC, (uint64_t)i, 0, &slot[i])) == -FI_EAGAIN) {
      if (seconds() > deadline) break;
      sched_yield();
    }
    if (result != 0) {
      note("fi_trecv", result);
      break;
    }
  }
  return NULL;
}

static void *read_queue(struct fid_cq *cq, _Atomic int *counter) {
  double deadline = deadline_after(3 * DEFAULT_WAIT);
  while (atomic_load(counter) < thread_count * per_thread) {
    struct fi_cq_tagged_entry entries[8];
    ssize_t count = fi_cq_read(cq, entries, 8);
    if (count > 0) {
      atomic_fetch_add(counter, (int)count);
    } else if (count != -FI_EAGAIN) {
      note("fi_cq_read", count);
      break;
    } else {
      sched_yield();
    }
    if (seconds() > deadline || atomic_load(&failures)) break;
  }
  return NULL;
}

static void *read_transmitted(void *unused) {
  (void)unused;
  return read_queue(pair.a.tx_cq, &transmitted);
}

static void *read_received(void *unused) {
  (void)unused;
  return read_queue(pair.b.rx_cq, &received);
}

static void start_and_join(void *(**bodies)(void *), void **arguments, int count) {
  pthread_t threads[16];
  for (int i = 0; i < count; i++) assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], arguments[i]), 0);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static void many_threads(enum fi_progress progress, bool same_domain) {
  pair_open(&pair, &(struct setup){.threading = FI_THREAD_SAFE, .progress = progress, .cq_size = 4096,
                                   .same_domain = same_domain});
  void *(*bodies[10])(void *);
  void *arguments[10] = {NULL};
  int count = 0;
  for (intptr_t i = 0; i < thread_count; i++) {
    bodies[count] = send_many;
    arguments[count++] = (void *)i;
  }
  for (intptr_t i = 0; i < 2; i++) {
    bodies[count] = receive_many;
    arguments[count++] = (void *)i;
  }
  bodies[count++] = read_transmitted;
  bodies[count++] = read_received;
  // the other half of the receives is posted before
  receive_many((void *)2);
  receive_many((void *)3);
  start_and_join(bodies, arguments, count);
  assert_int_equal(atomic_load(&failures), 0);
  assert_int_equal(atomic_load(&transmitted), thread_count * per_thread);
  assert_int_equal(atomic_load(&received), thread_count * per_thread);
  for (int i = 0; i < thread_count * per_thread; i++) assert_int_equal(inbox[i], i);
  pair_close(&pair);
}

CASE(many_threads_on_one_endpoint) { many_threads(FI_PROGRESS_UNSPEC, false); }
CASE(many_threads_within_one_domain) { many_threads(FI_PROGRESS_UNSPEC, true); }
CASE(many_threads_with_automatic_progress) { many_threads(FI_PROGRESS_AUTO, false); }

// ---- one endpoint per thread --------------------------------------------------------------------------------------

struct own {
  struct pair pair;
  int number;
};

// Serialized by its own thread: exactly what FI_THREAD_DOMAIN and FI_THREAD_COMPLETION ask for.
static void *own_ping_pong(void *argument) {
  struct own *own = argument;
  double deadline = deadline_after(3 * DEFAULT_WAIT);
  char in[100], out[100];
  for (int round = 0; round < 100; round++) {
    struct node *from = round % 2 ? &own->pair.b : &own->pair.a, *to = round % 2 ? &own->pair.a : &own->pair.b;
    fi_addr_t address = round % 2 ? own->pair.to_a : own->pair.to_b;
    uint64_t seed = (uint64_t)(own->number * 1000 + round);
    fill(out, sizeof out, seed);
    memset(in, 0, sizeof in);
    ssize_t result = fi_recv(to->ep, in, sizeof in, NULL, FI_ADDR_UNSPEC, in);
    if (result != 0) note("fi_recv", result);
    while ((result = fi_send(from->ep, out, sizeof out, NULL, address, out)) == -FI_EAGAIN && seconds() < deadline) {
      (void)fi_cq_read(from->tx_cq, NULL, 0);
      (void)fi_cq_read(to->rx_cq, NULL, 0);
    }
    if (result != 0) note("fi_send", result);
    bool sent = false, arrived = false;
    while (!sent || !arrived) {
      struct fi_cq_tagged_entry entry;
      if (fi_cq_read(from->tx_cq, &entry, 1) == 1) sent = true;
      if (fi_cq_read(to->rx_cq, &entry, 1) == 1) arrived = true;
      sched_yield();
      if (seconds() > deadline) {
        note("deadline", -FI_ETIMEDOUT);
        return NULL;
      }
    }
    if (!matches(in, sizeof in, seed)) note("wrong data", round);
    if (atomic_load(&failures)) return NULL;
  }
  return NULL;
}

static void thread_per_pair(enum fi_threading threading) {
  static struct own owns[3];
  void *(*bodies[3])(void *);
  void *arguments[3];
  for (int i = 0; i < 3; i++) {
    owns[i].number = i;
    pair_open(&owns[i].pair, &(struct setup){.threading = threading});
    bodies[i] = own_ping_pong;
    arguments[i] = &owns[i];
  }
  start_and_join(bodies, arguments, 3);
  assert_int_equal(atomic_load(&failures), 0);
  for (int i = 0; i < 3; i++) pair_close(&owns[i].pair);
}

CASE(thread_per_domain) { thread_per_pair(FI_THREAD_DOMAIN); }
CASE(thread_per_queue) { thread_per_pair(FI_THREAD_COMPLETION); }

// ---- opening and closing in parallel ------------------------------------------------------------------------------

static void *open_and_close(void *argument) {
  const struct fi_info *info = argument;
  for (int round = 0; round < 10; round++) {
    struct fid_fabric *fabric = NULL;
    struct fid_domain *domain = NULL;
    struct fi_info *copy = fi_dupinfo(info);
    long result = fi_fabric(copy->fabric_attr, &fabric, NULL);
    if (result == 0) {
      result = fi_domain(fabric, copy, &domain, NULL);
      if (result == 0) {
        struct fid_ep *ep = NULL;
        result = fi_endpoint(domain, copy, &ep, NULL);
        if (result == 0) result = fi_close(&ep->fid);
        long closing = fi_close(&domain->fid);
        if (result == 0) result = closing;
      }
      long closing = fi_close(&fabric->fid);
      if (result == 0) result = closing;
    }
    fi_freeinfo(copy);
    if (result != 0) note("open or close", result);
  }
  return NULL;
}

CASE(objects_are_opened_and_closed_in_parallel) {
  static const struct setup defaults;
  struct fi_info *info = find_info(&defaults);
  void *(*bodies[4])(void *) = {open_and_close, open_and_close, open_and_close, open_and_close};
  void *arguments[4] = {info, info, info, info};
  start_and_join(bodies, arguments, 4);
  assert_int_equal(atomic_load(&failures), 0);
  fi_freeinfo(info);
}

static void *ask(void *argument) {
  (void)argument;
  for (int round = 0; round < 10; round++) {
    struct fi_info *hints = fi_allocinfo(), *info = NULL;
    hints->fabric_attr->prov_name = strdup(provider_name());
    int result = fi_getinfo(DEFAULT_VERSION, NULL, NULL, 0, hints, &info);
    if (result != 0) note("fi_getinfo", result);
    fi_freeinfo(hints);
    fi_freeinfo(info);
  }
  return NULL;
}

CASE(getinfo_in_parallel_from_the_first_call) {
  void *(*bodies[4])(void *) = {ask, ask, ask, ask};
  void *arguments[4] = {NULL};
  start_and_join(bodies, arguments, 4);
  assert_int_equal(atomic_load(&failures), 0);
}
