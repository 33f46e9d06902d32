// What the technique programs share: clocks, pinning, two processes per run, medians of alternating rounds.
#ifndef TECHNIQUES_COMMON_H
#define TECHNIQUES_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif

enum { maximum_rounds = 64, maximum_variants = 128 };

static inline double seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static inline void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static inline long check(long result, const char *what) {
  if (result < 0) die(what);
  return result;
}

static inline void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  check(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

static inline void set(int fd, int level, int option, int value) {
  if (setsockopt(fd, level, option, &value, sizeof value) < 0) {
    fprintf(stderr, "setsockopt(%d, %d, %d): %s\n", level, option, value, strerror(errno));
  }
}

// Page-aligned, touched memory; `huge` asks for transparent huge pages.
static inline char *memory(size_t size, bool huge) {
  size_t align = 2 << 20;
  char *base = aligned_alloc(align, (size + align - 1) / align * align);
  if (!base) die("aligned_alloc");
  madvise(base, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  memset(base, 1, size);
  return base;
}

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static inline socklen_t address_length(const union address *address) {
  return address->any.sa_family == AF_INET6 ? sizeof address->v6 : sizeof address->v4;
}

// Where the two processes live: loopback, or one network namespace each (TECH_NETNS names the child's, TECH_ADDRESSES
// is "parent child"). The parent is started inside its own.
static inline union address node(bool child, int family) {
  union address address = {0};
  address.any.sa_family = (sa_family_t)family;
  char parent_text[64] = "127.0.0.1", child_text[64] = "127.0.0.1";
  const char *given = getenv("TECH_ADDRESSES");
  if (given) sscanf(given, "%63s %63s", parent_text, child_text);
  if (family == AF_INET6) address.v6.sin6_addr = in6addr_loopback;
  else inet_pton(AF_INET, child ? child_text : parent_text, &address.v4.sin_addr);
  return address;
}

static inline void enter_namespace_of_child(void) {
  const char *name = getenv("TECH_NETNS");
  if (!name) return;
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", name);
  int fd = (int)check(open(path, O_RDONLY | O_CLOEXEC), path);
  check(setns(fd, CLONE_NEWNET), "setns");
  close(fd);
}

// A UDP socket in the namespace of the child or of the parent; the parent makes both.
static inline int unbound_socket(bool child, int family) {
  int home = -1;
  if (child && getenv("TECH_NETNS")) {
    home = (int)check(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "ns/net");
    enter_namespace_of_child();
  }
  int fd = (int)check(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  if (home >= 0) {
    check(setns(home, CLONE_NEWNET), "setns");
    close(home);
  }
  return fd;
}

// The same, bound to a free port; `reuse` is SO_REUSEPORT, SO_REUSEADDR or 0.
static inline int bound_socket(bool child, int family, int reuse, union address *bound) {
  int fd = unbound_socket(child, family);
  if (reuse) set(fd, SOL_SOCKET, reuse, 1);
  *bound = node(child, family);
  check(bind(fd, &bound->any, address_length(bound)), "bind");
  socklen_t length = sizeof *bound;
  check(getsockname(fd, &bound->any, &length), "getsockname");
  return fd;
}

static inline int udp_socket(bool child, int family, union address *bound) {
  return bound_socket(child, family, 0, bound);
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static inline double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, compare_doubles);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

// Whether a variant is asked for: no words ask for all, a word for every name that contains it.
static inline bool chosen(const char *name, char **words, int count) {
  for (int i = 0; i < count; i++) {
    if (strstr(name, words[i])) return true;
  }
  return count == 0;
}

#endif
