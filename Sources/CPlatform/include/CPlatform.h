// The operating system as Swift can call it: the system headers, and an inline function wherever a macro, a variadic
// function or a transparent union stands between Swift and libc.
//
// Every wrapper of a call that sets errno returns -errno instead of -1, as the kernel itself does, so that nothing can
// run between the call and the reading of errno. None retries on EINTR; the Datagram module's Syscalls.swift does.
//
// This header does without _GNU_SOURCE: with it fd_set and others have members that differ from those in Swift's own
// view of glibc, and a program that imports both does not compile. What needs it is behind shims.c.

#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PLATFORM_HIDDEN __attribute__((visibility("hidden")))

static inline ssize_t platform_result(ssize_t result) { return result < 0 ? -(ssize_t)errno : result; }

/// errno(3), for code that must leave it as it was.
static inline int platform_errno(void) { return errno; }
static inline void platform_set_errno(int value) { errno = value; }

// MARK: Time, threads, locks

/// Nanoseconds of CLOCK_MONOTONIC, 0 if the clock cannot be read. clock_gettime(2).
static inline uint64_t platform_monotonic_ns(void) {
  struct timespec now;
  if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0;
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/// A counter of the processor that goes on at a constant rate, for telling whether a moment has passed without the price
/// of a clock; nanoseconds where there is none.
static inline uint64_t platform_ticks(void) {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  uint64_t ticks;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#else
  return platform_monotonic_ns();
#endif
}

/// About 20 us in ticks: 16 to 33 us on x86_64 processors of 4 to 2 GHz, exact elsewhere.
static inline uint64_t platform_moment(void) {
#if defined(__x86_64__)
  return 1u << 16;
#elif defined(__aarch64__)
  uint64_t frequency;
  __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
  return frequency / 50000u;
#else
  return 20000u;
#endif
}

/// Tells the processor that this is a spinning loop.
static inline void platform_spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ volatile("yield");
#endif
}

/// Starts a thread that runs function(context) with every signal blocked: a library's thread must not run the
/// program's signal handlers. `stack_size` 0 means the system's default. Returns 0 or -errno; -ENOSYS in a program
/// without threads, see shims.c. pthread_create(3).
int platform_thread_create(
    pthread_t *thread, size_t stack_size, void (*function)(void *), void *context) PLATFORM_HIDDEN;
/// Waits until a thread that was started here has ended. pthread_join(3).
void platform_thread_join(pthread_t thread) PLATFORM_HIDDEN;
/// Lets a thread that was started here end by itself. pthread_detach(3).
void platform_thread_detach(pthread_t thread) PLATFORM_HIDDEN;
/// Takes a mutex if it is free; in a thread that was started here. pthread_mutex_trylock(3).
bool platform_mutex_trylock(pthread_mutex_t *mutex) PLATFORM_HIDDEN;
/// Names the calling thread; at most 15 bytes.
void platform_thread_set_name(const char *name) PLATFORM_HIDDEN;

/// A condition variable whose timed waits are measured on CLOCK_MONOTONIC where the system can do that.
int platform_condition_init(pthread_cond_t *condition) PLATFORM_HIDDEN;

/// Waits until signalled or until `timeout_ns` from now have passed; 0, -ETIMEDOUT or another -errno.
static inline int platform_condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t timeout_ns) {
  struct timespec at;
#if defined(__APPLE__)
  at.tv_sec = (time_t)(timeout_ns / 1000000000u);
  at.tv_nsec = (long)(timeout_ns % 1000000000u);
  return -pthread_cond_timedwait_relative_np(condition, mutex, &at);
#else
  uint64_t deadline = platform_monotonic_ns() + timeout_ns;
  at.tv_sec = (time_t)(deadline / 1000000000u);
  at.tv_nsec = (long)(deadline % 1000000000u);
  return -pthread_cond_timedwait(condition, mutex, &at);
#endif
}

// MARK: Files that processes share
//
// Not shm_open(3) and fstat(2): before glibc 2.34 and 2.33 they had other symbols.

/// Opens shared memory for this user alone; `creates` it if there is none, `writes` or only reads. Returns a descriptor
/// or -errno, -EACCES for another user's. open(2).
ssize_t platform_shared_open(const char *path, bool creates, bool writes) PLATFORM_HIDDEN;
/// Bytes of a file; -ENOENT once it has no name any more. statx(2).
ssize_t platform_shared_size(int fd) PLATFORM_HIDDEN;
/// Makes a file `size` zero bytes. ftruncate(2).
ssize_t platform_shared_clear(int fd, size_t size) PLATFORM_HIDDEN;
/// Waits for a lock that other descriptors of the file compete for, and that ends with the descriptor at the latest;
/// `type` is F_RDLCK, F_WRLCK or F_UNLCK. fcntl(2), open file description locks.
ssize_t platform_shared_lock(int fd, short type) PLATFORM_HIDDEN;
/// Marks a file as in use by this descriptor; `alone`: unless it is in use by another, which gives -EWOULDBLOCK. Has
/// nothing to do with the other lock. flock(2).
ssize_t platform_shared_hold(int fd, bool alone) PLATFORM_HIDDEN;
static inline ssize_t platform_unlink(const char *path) { return platform_result(unlink(path)); }
/// Memory of a file; NULL if it cannot be mapped. mmap(2).
void *platform_shared_map(int fd, size_t size, bool writes) PLATFORM_HIDDEN;
void platform_shared_unmap(void *memory, size_t size) PLATFORM_HIDDEN;

// MARK: Other libraries
//
// Not for any thread at any time: dlopen(3) takes the loader's lock, and runs code of the library's.

/// Whether libraries can be opened here at all. Without, nothing below may be called that takes or gives one.
bool platform_has_libraries(void) PLATFORM_HIDDEN;
/// Opens a library with all its symbols bound, and keeps its names from other libraries; NULL if that fails, and then
/// platform_library_error() says why. dlopen(3), RTLD_NOW | RTLD_LOCAL.
void *platform_library_open(const char *path) PLATFORM_HIDDEN;
void platform_library_close(void *library) PLATFORM_HIDDEN;
/// The calling thread's last failure, once; NULL without one. dlerror(3).
const char *platform_library_error(void) PLATFORM_HIDDEN;
/// A symbol in its default version, or in `version`; NULL if there is none. dlsym(3), dlvsym(3).
void *platform_library_symbol(void *library, const char *name, const char *version) PLATFORM_HIDDEN;
/// The file that a library was loaded from, the loader's text; NULL if that is not known. dlinfo(3).
const char *platform_library_path(void *library) PLATFORM_HIDDEN;
/// The library, or the program, that an address lies in, to be closed; NULL if it lies in none. dladdr(3).
void *platform_library_at(const void *address) PLATFORM_HIDDEN;
/// Has every reference of a library to a function that it defines lead to its own, whatever libraries came before it
/// in the process: what -Bsymbolic-functions does when a library is linked. Not RTLD_DEEPBIND, which leaves a library
/// alone that is loaded already, parts it from the allocator that the program brought along, and ends programs under
/// AddressSanitizer. Returns 0 or -errno. Any thread.
int platform_library_bind_to_itself(void *library) PLATFORM_HIDDEN;
/// Has a library's destructors not run when the process ends, because they would wait for a thread of it that hangs.
void platform_library_skip_destructors(void *library) PLATFORM_HIDDEN;
/// Whether the process has more rights than who started it, so that variables must not choose code. getauxval(3).
bool platform_is_privileged(void) PLATFORM_HIDDEN;
/// Whether there is a directory with something in it. readdir(3).
bool platform_has_entries(const char *directory) PLATFORM_HIDDEN;

// MARK: Descriptors

static inline ssize_t platform_read(int fd, void *buffer, size_t count) {
  return platform_result(read(fd, buffer, count));
}
static inline ssize_t platform_write(int fd, const void *buffer, size_t count) {
  return platform_result(write(fd, buffer, count));
}
static inline ssize_t platform_close(int fd) { return platform_result(close(fd)); }
static inline ssize_t platform_open_read(const char *path) { return platform_result(open(path, O_RDONLY | O_CLOEXEC)); }
/// Creates a file that must not exist yet, for writing. open(2), O_EXCL.
static inline ssize_t platform_create_new(const char *path, mode_t mode) {
  return platform_result(open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, mode));
}
static inline ssize_t platform_poll(struct pollfd *entries, unsigned count, int timeout_ms) {
  return platform_result(poll(entries, (nfds_t)count, timeout_ms));
}

/// F_GETFL or F_GETFD.
static inline ssize_t platform_fcntl_get(int fd, int command) { return platform_result(fcntl(fd, command)); }

static inline ssize_t platform_set_nonblocking_cloexec(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return -errno;
  return 0;
}

/// A pipe, non-blocking and close-on-exec at both ends: the portable stand-in for eventfd(2).
static inline ssize_t platform_pipe(int ends[2]) {
  if (pipe(ends) != 0) return -errno;
  ssize_t result = platform_set_nonblocking_cloexec(ends[0]);
  if (result == 0) result = platform_set_nonblocking_cloexec(ends[1]);
  if (result != 0) {
    close(ends[0]);
    close(ends[1]);
  }
  return result;
}

// MARK: Sockets

static inline ssize_t platform_bind(int fd, const void *address, socklen_t length) {
  return platform_result(bind(fd, (const struct sockaddr *)address, length));
}
static inline ssize_t platform_connect(int fd, const void *address, socklen_t length) {
  return platform_result(connect(fd, (const struct sockaddr *)address, length));
}
static inline ssize_t platform_getsockname(int fd, void *address, socklen_t *length) {
  return platform_result(getsockname(fd, (struct sockaddr *)address, length));
}
static inline ssize_t platform_setsockopt_int(int fd, int level, int option, int value) {
  return platform_result(setsockopt(fd, level, option, &value, sizeof value));
}
/// The option's value in `*value`; 0 or -errno.
static inline ssize_t platform_getsockopt_int(int fd, int level, int option, int *value) {
  socklen_t length = sizeof *value;
  return platform_result(getsockopt(fd, level, option, value, &length));
}
static inline ssize_t platform_sendto(
    int fd, const void *bytes, size_t count, int flags, const void *address, socklen_t length) {
  return platform_result(sendto(fd, bytes, count, flags, (const struct sockaddr *)address, length));
}
static inline ssize_t platform_sendmsg(int fd, const struct msghdr *message, int flags) {
  return platform_result(sendmsg(fd, message, flags));
}
static inline ssize_t platform_recv(int fd, void *bytes, size_t count, int flags) {
  return platform_result(recv(fd, bytes, count, flags));
}
static inline ssize_t platform_recvmsg(int fd, struct msghdr *message, int flags) {
  return platform_result(recvmsg(fd, message, flags));
}
static inline ssize_t platform_interface_mtu(int fd, const char *name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
  return ioctl(fd, SIOCGIFMTU, &request) < 0 ? -errno : request.ifr_mtu;
}

// MARK: Addresses

/// getifaddrs(3) asks the kernel through a netlink socket, which a very busy host refuses for a moment.
static inline ssize_t platform_getifaddrs(struct ifaddrs **list) {
  ssize_t result = -ECONNREFUSED;
  for (int attempt = 0; attempt < 8 && result == -ECONNREFUSED; attempt++) result = platform_result(getifaddrs(list));
  return result;
}
/// An EAI_ code; `*error` is errno where that is EAI_SYSTEM.
static inline int platform_getaddrinfo(
    const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list, int *error) {
  int code = getaddrinfo(node, service, hints, list);
  *error = code == EAI_SYSTEM ? errno : 0;
  return code;
}

// MARK: Multicast

/// Has a socket join a group on the interface with index `interface`, 0 for the one that routing says, or leave it.
/// Returns 0 or -errno. RFC 3678, section 5.
ssize_t platform_multicast_membership(int fd, const struct sockaddr *group, unsigned interface, bool joins)
    PLATFORM_HIDDEN;
/// Has a socket send to groups through an interface. Returns 0 or -errno. IP_MULTICAST_IF, IPV6_MULTICAST_IF.
ssize_t platform_multicast_interface(int fd, int family, unsigned interface) PLATFORM_HIDDEN;

// MARK: Control messages, cmsg(3)

static inline size_t platform_cmsg_space(size_t length) { return CMSG_SPACE(length); }
static inline size_t platform_cmsg_len(size_t length) { return CMSG_LEN(length); }
static inline struct cmsghdr *platform_cmsg_first(const struct msghdr *message) { return CMSG_FIRSTHDR(message); }
static inline struct cmsghdr *platform_cmsg_next(struct msghdr *message, struct cmsghdr *control) {
  return CMSG_NXTHDR(message, control);
}
static inline void *platform_cmsg_data(struct cmsghdr *control) { return CMSG_DATA(control); }

// MARK: Test hook

/// The calling thread's syscall hook, used by debug builds of the Datagram module only (shims.c).
void **platform_syscall_hook(void) PLATFORM_HIDDEN;

// MARK: Linux

#if defined(__linux__)

#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

static inline ssize_t platform_udp_socket(int family) {
  return platform_result(socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
}

/// Sets the DF bit on everything sent and ignores the kernel's idea of the path MTU (IP_PMTUDISC_PROBE): datagram
/// sizes are the transport's decision, RFC 8899.
static inline ssize_t platform_set_path_mtu_probe(int fd, int family) {
  return family == AF_INET6 ? platform_setsockopt_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)
                            : platform_setsockopt_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
}

static inline ssize_t platform_set_receive_errors(int fd, int family) {
  return family == AF_INET6 ? platform_setsockopt_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1)
                            : platform_setsockopt_int(fd, IPPROTO_IP, IP_RECVERR, 1);
}

/// Buffer size beyond the system's limit if this process may, else up to the limit. `receive` chooses the direction.
static inline ssize_t platform_set_buffer_size(int fd, bool receive, int bytes) {
  ssize_t result = platform_setsockopt_int(fd, SOL_SOCKET, receive ? SO_RCVBUFFORCE : SO_SNDBUFFORCE, bytes);
  if (result == 0) return 0;
  return platform_setsockopt_int(fd, SOL_SOCKET, receive ? SO_RCVBUF : SO_SNDBUF, bytes);
}

/// Datagrams the kernel dropped because this socket's receive buffer was full, or -errno.
static inline ssize_t platform_socket_drops(int fd) {
  uint32_t information[SK_MEMINFO_VARS];
  socklen_t length = sizeof information;
  memset(information, 0, sizeof information);
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, information, &length) != 0) return -errno;
  return (ssize_t)information[SK_MEMINFO_DROPS];
}

/// Bytes of the largest IP packet on the route of a connected socket, or -errno. IP_MTU, IPV6_MTU.
static inline ssize_t platform_route_mtu(int fd, int family) {
  int mtu = 0;
  ssize_t result = family == AF_INET6 ? platform_getsockopt_int(fd, IPPROTO_IPV6, IPV6_MTU, &mtu)
                                      : platform_getsockopt_int(fd, IPPROTO_IP, IP_MTU, &mtu);
  return result < 0 ? result : mtu;
}

/// Fresh zeroed pages of their own, NULL if there are none. mmap(2).
void *platform_map_pages(size_t size) PLATFORM_HIDDEN;
void platform_unmap_pages(void *pages, size_t size) PLATFORM_HIDDEN;

/// Puts references to memory into a pipe, without copying and without waiting. Bytes, or -errno. vmsplice(2).
ssize_t platform_vmsplice(int pipe, const struct iovec *slices, size_t count) PLATFORM_HIDDEN;
/// Moves what a pipe holds into a socket, without waiting. Bytes, or -errno. splice(2).
ssize_t platform_splice(int pipe, int fd, size_t count) PLATFORM_HIDDEN;

/// glibc's struct mmsghdr.
struct platform_mmsghdr {
  struct msghdr msg_hdr;
  unsigned int msg_len;
};

/// How many messages went out or came in, or -errno. sendmmsg(2), recvmmsg(2).
ssize_t platform_sendmmsg(int fd, struct platform_mmsghdr *messages, unsigned count, int flags) PLATFORM_HIDDEN;
ssize_t platform_recvmmsg(int fd, struct platform_mmsghdr *messages, unsigned count, int flags) PLATFORM_HIDDEN;

/// Writes the one control message UDP_SEGMENT into `control`, which has room for platform_segment_control_size().
static inline size_t platform_segment_control_size(void) { return CMSG_SPACE(sizeof(uint16_t)); }
static inline void platform_put_segment_control(void *control, uint16_t segment_size) {
  struct cmsghdr *header = (struct cmsghdr *)control;
  header->cmsg_level = SOL_UDP;
  header->cmsg_type = UDP_SEGMENT;
  header->cmsg_len = CMSG_LEN(sizeof segment_size);
  memcpy(CMSG_DATA(header), &segment_size, sizeof segment_size);
}

/// The segment size that UDP_GRO reported with a received message, 0 when it was not aggregated.
static inline int platform_gro_segment_size(struct msghdr *message) {
  for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
    if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
      int size = 0;
      memcpy(&size, CMSG_DATA(control), sizeof size);
      return size;
    }
  }
  return 0;
}

/// The extended error of a message read with MSG_ERRQUEUE; false when it carries none. ip(7), IP_RECVERR.
static inline bool platform_extended_error(struct msghdr *message, struct sock_extended_err *error) {
  for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
    bool version4 = control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_RECVERR;
    bool version6 = control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_RECVERR;
    if ((version4 || version6) && control->cmsg_len >= CMSG_LEN(sizeof *error)) {
      memcpy(error, CMSG_DATA(control), sizeof *error);
      return true;
    }
  }
  return false;
}

static inline ssize_t platform_getrandom(void *bytes, size_t count) {
  return platform_result(getrandom(bytes, count, 0));
}

static inline ssize_t platform_epoll_create(void) { return platform_result(epoll_create1(EPOLL_CLOEXEC)); }
/// Watches `fd` for input and errors, level-triggered.
static inline ssize_t platform_epoll_add(int poller, int fd) {
  struct epoll_event event;
  memset(&event, 0, sizeof event);
  event.events = EPOLLIN;
  event.data.fd = fd;
  return platform_result(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event));
}
static inline ssize_t platform_epoll_remove(int poller, int fd) {
  struct epoll_event unused;  // Kernels before 2.6.9 wanted one.
  memset(&unused, 0, sizeof unused);
  return platform_result(epoll_ctl(poller, EPOLL_CTL_DEL, fd, &unused));
}
/// The same number on all architectures.
#define PLATFORM_EPOLL_PWAIT2 441

/// How many events are ready, 0 after `timeout_ns` (UINT64_MAX: never), or -errno. Kernels without epoll_pwait2
/// (before 5.11) wait in whole milliseconds, rounded up. The call is made without glibc, which has it since 2.35 only.
static inline ssize_t platform_epoll_wait(int poller, uint64_t timeout_ns) {
  struct epoll_event events[8];
  if (timeout_ns == UINT64_MAX) return platform_result(epoll_wait(poller, events, 8, -1));
  if (timeout_ns == 0) return platform_result(epoll_wait(poller, events, 8, 0));
  int64_t at[2] = {(int64_t)(timeout_ns / 1000000000u), (int64_t)(timeout_ns % 1000000000u)};
  long result = syscall(PLATFORM_EPOLL_PWAIT2, poller, events, 8, at, NULL, (size_t)0);
  if (result < 0 && (errno == ENOSYS || errno == EPERM)) {
    uint64_t milliseconds = (timeout_ns + 999999u) / 1000000u;
    result = epoll_wait(poller, events, 8, milliseconds > INT_MAX ? INT_MAX : (int)milliseconds);
  }
  return platform_result(result);
}

static inline ssize_t platform_eventfd(void) { return platform_result(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

static inline ssize_t platform_timerfd_create(void) {
  return platform_result(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
}
/// Fires once at `deadline_ns` of CLOCK_MONOTONIC; 0 disarms.
static inline ssize_t platform_timerfd_set(int fd, uint64_t deadline_ns) {
  struct itimerspec at;
  memset(&at, 0, sizeof at);
  at.it_value.tv_sec = (time_t)(deadline_ns / 1000000000u);
  at.it_value.tv_nsec = (long)(deadline_ns % 1000000000u);
  return platform_result(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL));
}

#else

static inline ssize_t platform_udp_socket(int family) {
  ssize_t fd = platform_result(socket(family, SOCK_DGRAM, IPPROTO_UDP));
  if (fd < 0) return fd;
  ssize_t result = platform_set_nonblocking_cloexec((int)fd);
  if (result == 0) return fd;
  close((int)fd);
  return result;
}

static inline ssize_t platform_set_path_mtu_probe(int fd, int family) {
#if defined(IP_DONTFRAG) && defined(IPV6_DONTFRAG)
  return family == AF_INET6 ? platform_setsockopt_int(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1)
                            : platform_setsockopt_int(fd, IPPROTO_IP, IP_DONTFRAG, 1);
#else
  return -ENOPROTOOPT;
#endif
}

static inline ssize_t platform_set_buffer_size(int fd, bool receive, int bytes) {
  return platform_setsockopt_int(fd, SOL_SOCKET, receive ? SO_RCVBUF : SO_SNDBUF, bytes);
}

static inline ssize_t platform_socket_drops(int fd) {
  (void)fd;
  return -ENOSYS;
}

static inline ssize_t platform_getrandom(void *bytes, size_t count) {
  arc4random_buf(bytes, count);
  return (ssize_t)count;
}

#endif

#endif
