#define _GNU_SOURCE
#include "CPlatform.h"

#include <sys/file.h>
#include <sys/stat.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

// Layouts that the Datagram module's arrays rely on.
_Static_assert(sizeof(struct sockaddr_in) == 16, "sockaddr_in");
_Static_assert(sizeof(struct sockaddr_in6) == 28, "sockaddr_in6");

#if defined(__linux__)
_Static_assert(CMSG_SPACE(sizeof(uint16_t)) <= 32, "room for UDP_SEGMENT");
_Static_assert(CMSG_SPACE(sizeof(int)) <= 32, "room for UDP_GRO");
_Static_assert(sizeof(struct mmsghdr) == sizeof(struct platform_mmsghdr), "mmsghdr");
_Static_assert(offsetof(struct mmsghdr, msg_hdr) == 0, "an mmsghdr begins with its msghdr");
_Static_assert(offsetof(struct mmsghdr, msg_len) == offsetof(struct platform_mmsghdr, msg_len), "mmsghdr.msg_len");

void *platform_map_pages(size_t size) {
  void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages == MAP_FAILED ? NULL : pages;
}

void platform_unmap_pages(void *pages, size_t size) { munmap(pages, size); }

ssize_t platform_vmsplice(int pipe, const struct iovec *slices, size_t count) {
  return platform_result(vmsplice(pipe, slices, count, SPLICE_F_NONBLOCK));
}

ssize_t platform_splice(int pipe, int fd, size_t count) {
  return platform_result(splice(pipe, NULL, fd, NULL, count, SPLICE_F_NONBLOCK));
}

ssize_t platform_sendmmsg(int fd, struct platform_mmsghdr *messages, unsigned count, int flags) {
  return platform_result(sendmmsg(fd, (struct mmsghdr *)messages, count, flags));
}

ssize_t platform_recvmmsg(int fd, struct platform_mmsghdr *messages, unsigned count, int flags) {
  return platform_result(recvmmsg(fd, (struct mmsghdr *)messages, count, flags, NULL));
}

#endif

// MARK: Multicast

ssize_t platform_multicast_membership(int fd, const struct sockaddr *group, unsigned interface, bool joins) {
  bool version6 = group->sa_family == AF_INET6;
  struct group_req request;
  memset(&request, 0, sizeof request);
  request.gr_interface = interface;
  memcpy(&request.gr_group, group, version6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
  int level = version6 ? IPPROTO_IPV6 : IPPROTO_IP;
#if defined(IP_MULTICAST_ALL)
  // Otherwise the socket would get what goes to the groups of other sockets of this host, too.
  if (!version6) (void)platform_setsockopt_int(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
#endif
  return platform_result(
      setsockopt(fd, level, joins ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &request, sizeof request));
}

ssize_t platform_multicast_interface(int fd, int family, unsigned interface) {
  if (family == AF_INET6) return platform_setsockopt_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)interface);
  struct ip_mreqn request;
  memset(&request, 0, sizeof request);
  request.imr_ifindex = (int)interface;
  return platform_result(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request));
}

// MARK: Files that processes share

ssize_t platform_shared_open(const char *path, bool creates, bool writes) {
  int flags = (writes ? O_RDWR : O_RDONLY) | (creates ? O_CREAT : 0) | O_CLOEXEC | O_NOFOLLOW;
  int fd = open(path, flags, 0600);
  if (fd < 0) return -errno;
#if defined(__linux__)
  struct statx info;
  bool own = statx(fd, "", AT_EMPTY_PATH, STATX_UID | STATX_TYPE, &info) == 0 && info.stx_uid == geteuid() &&
             S_ISREG(info.stx_mode);
#else
  struct stat info;
  bool own = fstat(fd, &info) == 0 && info.st_uid == geteuid() && S_ISREG(info.st_mode);
#endif
  if (own) return fd;
  close(fd);
  return -EACCES;
}

ssize_t platform_shared_size(int fd) {
#if defined(__linux__)
  struct statx info;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_SIZE | STATX_NLINK, &info) != 0) return -errno;
  return info.stx_nlink == 0 ? -ENOENT : (ssize_t)info.stx_size;
#else
  struct stat info;
  if (fstat(fd, &info) != 0) return -errno;
  return info.st_nlink == 0 ? -ENOENT : (ssize_t)info.st_size;
#endif
}

ssize_t platform_shared_clear(int fd, size_t size) {
  if (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)size) != 0) return -errno;
  return 0;
}

ssize_t platform_shared_lock(int fd, short type) {
  struct flock range = {.l_type = type, .l_whence = SEEK_SET};
#if defined(F_OFD_SETLKW)
  int command = F_OFD_SETLKW;
#else
  int command = F_SETLKW;
#endif
  while (fcntl(fd, command, &range) != 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

ssize_t platform_shared_hold(int fd, bool alone) {
  return platform_result(flock(fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB));
}

void *platform_shared_map(int fd, size_t size, bool writes) {
  void *memory = mmap(NULL, size, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

void platform_shared_unmap(void *memory, size_t size) { munmap(memory, size); }

// MARK: Threads
//
// The library loads with glibc 2.31 and later. Versions before 2.34 have these functions in libpthread, a library that
// only programs with threads load; with 2.34 they moved, under new symbol versions, into libc. So they are asked for by
// the versions that both know, and are weak: in an old program without threads there are none, and none can be made.

#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))
#if defined(__x86_64__)
#define BASE_VERSION "GLIBC_2.2.5"
#define SETCLOCK_VERSION "GLIBC_2.3.3"
#else
#define BASE_VERSION "GLIBC_2.17"
#define SETCLOCK_VERSION "GLIBC_2.17"
#endif

#define OLD_VERSION(name, version) __asm__(".symver old_" #name ", " #name "@" version)
#define WEAK __attribute__((weak))

WEAK int old_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
WEAK int old_pthread_join(pthread_t, void **);
WEAK int old_pthread_detach(pthread_t);
WEAK int old_pthread_attr_setstacksize(pthread_attr_t *, size_t);
WEAK int old_pthread_condattr_setclock(pthread_condattr_t *, clockid_t);
WEAK int old_pthread_mutex_trylock(pthread_mutex_t *);
OLD_VERSION(pthread_create, BASE_VERSION);
OLD_VERSION(pthread_join, BASE_VERSION);
OLD_VERSION(pthread_detach, BASE_VERSION);
OLD_VERSION(pthread_attr_setstacksize, BASE_VERSION);
OLD_VERSION(pthread_condattr_setclock, SETCLOCK_VERSION);
OLD_VERSION(pthread_mutex_trylock, BASE_VERSION);

static bool has_threads(void) {
  return old_pthread_create && old_pthread_join && old_pthread_detach && old_pthread_attr_setstacksize &&
         old_pthread_condattr_setclock && old_pthread_mutex_trylock;
}
#else
#define old_pthread_create pthread_create
#define old_pthread_join pthread_join
#define old_pthread_detach pthread_detach
#define old_pthread_attr_setstacksize pthread_attr_setstacksize
#define old_pthread_condattr_setclock pthread_condattr_setclock
#define old_pthread_mutex_trylock pthread_mutex_trylock

static bool has_threads(void) { return true; }
#endif

// Sets the calling thread's signal mask. On Linux sigprocmask(2) is that too, and pthread_sigmask is another function
// that moved.
static void set_signal_mask(const sigset_t *mask, sigset_t *before) {
#if defined(__linux__)
  sigprocmask(SIG_SETMASK, mask, before);
#else
  pthread_sigmask(SIG_SETMASK, mask, before);
#endif
}

struct thread_start {
  void (*function)(void *context);
  void *context;
};

static void *thread_main(void *argument) {
  struct thread_start start = *(struct thread_start *)argument;
  free(argument);
  start.function(start.context);
  return NULL;
}

int platform_thread_create(pthread_t *thread, size_t stack_size, void (*function)(void *), void *context) {
  if (!has_threads()) return -ENOSYS;
  struct thread_start *start = (struct thread_start *)malloc(sizeof *start);
  if (start == NULL) return -ENOMEM;
  start->function = function;
  start->context = context;
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error == 0) {
    if (stack_size != 0) error = old_pthread_attr_setstacksize(&attributes, stack_size);
    if (error == 0) {
      sigset_t all, before;
      sigfillset(&all);
      set_signal_mask(&all, &before);
      error = old_pthread_create(thread, &attributes, thread_main, start);
      set_signal_mask(&before, NULL);
    }
    pthread_attr_destroy(&attributes);
  }
  if (error != 0) free(start);
  return -error;
}

void platform_thread_join(pthread_t thread) { old_pthread_join(thread, NULL); }

void platform_thread_detach(pthread_t thread) { old_pthread_detach(thread); }

bool platform_mutex_trylock(pthread_mutex_t *mutex) { return old_pthread_mutex_trylock(mutex) == 0; }

void platform_thread_set_name(const char *name) {
#if defined(__linux__)
  prctl(PR_SET_NAME, name);
#else
  (void)name;
#endif
}

int platform_condition_init(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  int error = pthread_condattr_init(&attributes);
  if (error != 0) return -error;
#if !defined(__APPLE__)
  // Without threads nobody waits.
  if (has_threads()) error = old_pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
  if (error == 0) error = pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
  return -error;
}

// MARK: What Swift itself asks libc for

#if defined(__GLIBC__)
// Seeds the hashes of Swift's own collections. glibc has it since 2.36 only.
PLATFORM_HIDDEN void arc4random_buf(void *bytes, size_t count) {
  unsigned char *position = (unsigned char *)bytes;
  while (count > 0) {
    ssize_t filled = getrandom(position, count, 0);
    if (filled < 0 && errno != EINTR) {
      // No kernel before 3.17 is without it; a seed that can be guessed then has to do.
      uint64_t now = platform_monotonic_ns();
      for (size_t index = 0; index < count; index++) position[index] = (unsigned char)(now >> (index % 8 * 8));
      return;
    }
    if (filled > 0) {
      position += filled;
      count -= (size_t)filled;
    }
  }
}
#endif

#if defined(DEBUG)
static _Thread_local void *syscall_hook;
void **platform_syscall_hook(void) { return &syscall_hook; }
#endif
