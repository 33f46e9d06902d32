#define _GNU_SOURCE
#include "CPlatform.h"

// Layouts that the Datagram module's arrays rely on.
_Static_assert(sizeof(struct sockaddr_in) == 16, "sockaddr_in");
_Static_assert(sizeof(struct sockaddr_in6) == 28, "sockaddr_in6");

#if defined(__linux__)
_Static_assert(CMSG_SPACE(sizeof(uint16_t)) <= 32, "room for UDP_SEGMENT");
_Static_assert(CMSG_SPACE(sizeof(int)) <= 32, "room for UDP_GRO");
_Static_assert(sizeof(struct mmsghdr) == sizeof(struct platform_mmsghdr), "mmsghdr");
_Static_assert(offsetof(struct mmsghdr, msg_hdr) == 0, "an mmsghdr begins with its msghdr");
_Static_assert(offsetof(struct mmsghdr, msg_len) == offsetof(struct platform_mmsghdr, msg_len), "mmsghdr.msg_len");

ssize_t platform_sendmmsg(int fd, struct platform_mmsghdr *messages, unsigned count, int flags) {
  return platform_result(sendmmsg(fd, (struct mmsghdr *)messages, count, flags));
}

ssize_t platform_recvmmsg(int fd, struct platform_mmsghdr *messages, unsigned count, int flags) {
  return platform_result(recvmmsg(fd, (struct mmsghdr *)messages, count, flags, NULL));
}

void platform_thread_set_name(const char *name) { pthread_setname_np(pthread_self(), name); }
#endif

#if defined(DEBUG)
static _Thread_local void *syscall_hook;
void **platform_syscall_hook(void) { return &syscall_hook; }
#endif
