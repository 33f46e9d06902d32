// 64-byte ping-pong between two pinned processes that poll: what each way to call the socket, and each socket option,
// costs. Prints the half round trip of every variant: median, least and most of alternating rounds.
//
// pingpong [ROUNDS [WORD...]]   only variants whose name contains one of the words
#include "common.h"

enum { message = 64, exchanges = 12000, room = 65536 };

enum way { plain, msg, msg_control, mmsg, mmsg_many, without_name, connected_plain, connected_msg, connected_mmsg };
enum {
  recverr = 1, probe = 2, gro = 4, buffers = 8, ipv6 = 16, busy_poll = 32, two_sockets = 64, rarely = 128,
  nonblocking = 256, pause_between = 512, trunc = 1024, no_check = 2048, reuse_address = 4096, segment = 8192,
  read_write = 16384, prefer_busy = 32768, cold_hot = 65536, force_connect = 1 << 17,
};

struct variant {
  const char *name;
  enum way send, receive;
  int options, pieces;
};

static const struct variant variants[] = {
  {"raw: sendto, recvfrom", plain, plain, 0, 1},
  {"raw: sendto, recv without address", plain, without_name, 0, 1},
  {"raw, O_NONBLOCK instead of MSG_DONTWAIT", plain, plain, nonblocking, 1},
  {"raw, pause after an empty poll", plain, plain, pause_between, 1},
  {"raw, MSG_TRUNC", plain, plain, trunc, 1},
  {"sendmsg, recvmsg", msg, msg, 0, 1},
  {"sendmsg, recvfrom", msg, plain, 0, 1},
  {"sendto, recvmsg", plain, msg, 0, 1},
  {"sendmsg, recvmsg with control room", msg, msg_control, 0, 1},
  {"sendmsg with UDP_SEGMENT control, recvmsg", msg, msg, segment, 1},
  {"sendmsg, recvmsg, 2 pieces", msg, msg, 0, 2},
  {"sendmsg, recvmsg, 4 pieces", msg, msg, 0, 4},
  {"sendmsg, recvmsg, 8 pieces", msg, msg, 0, 8},
  {"sendmsg, recvmsg, 16 pieces", msg, msg, 0, 16},
  {"sendmsg, recvmmsg of 1", msg, mmsg, 0, 1},
  {"sendmsg, recvmmsg of 32", msg, mmsg_many, 0, 1},
  {"sendmmsg of 1, recvmsg", mmsg, msg, 0, 1},
  {"option IP_RECVERR", plain, plain, recverr, 1},
  {"option IP_MTU_DISCOVER=PROBE", plain, plain, probe, 1},
  {"option UDP_GRO", plain, plain, gro, 1},
  {"option UDP_GRO, recvmsg with control room", plain, msg_control, gro, 1},
  {"option SO_RCVBUF, SO_SNDBUF 8 MiB", plain, plain, buffers, 1},
  {"option SO_NO_CHECK", plain, plain, no_check, 1},
  {"option SO_BUSY_POLL 50 us", plain, plain, busy_poll, 1},
  {"option SO_BUSY_POLL and SO_PREFER_BUSY_POLL", plain, plain, busy_poll | prefer_busy, 1},
  {"options IP_RECVERR, PROBE, UDP_GRO, buffers", plain, plain, recverr | probe | gro | buffers, 1},
  {"IPv6", plain, plain, ipv6, 1},
  {"as the library: all options, sendmsg, recvmsg", msg, msg_control, recverr | probe | gro | buffers | nonblocking, 1},
  {"as the library, connected", connected_msg, msg_control, recverr | probe | gro | buffers | nonblocking, 1},
  {"as the library, IPv6", msg, msg_control, recverr | probe | gro | buffers | nonblocking | ipv6, 1},
  {"connected: send, recv", connected_plain, without_name, 0, 1},
  {"connected: send, recv, all options", connected_plain, without_name, recverr | probe | gro | buffers, 1},
  {"connected: write, read", connected_plain, without_name, nonblocking | read_write, 1},
  {"connected: sendmsg, recvmsg without address", connected_msg, connected_msg, 0, 1},
  {"connected: sendto with address, recvfrom", plain, plain, force_connect, 1},
  {"connected, IPv6", connected_plain, without_name, ipv6, 1},
  {"connected + SO_REUSEPORT cold socket, both polled", connected_plain, without_name, two_sockets, 1},
  {"connected + SO_REUSEPORT cold socket, 1 poll in 16", connected_plain, without_name, two_sockets | rarely, 1},
  {"connected + SO_REUSEADDR cold socket, 1 poll in 16", connected_plain, without_name,
   two_sockets | rarely | reuse_address, 1},
  {"cold path: unconnected while a hot socket is polled too", plain, plain, two_sockets | cold_hot, 1},
};

struct side {
  int hot, cold;
  union address self, peer;
  unsigned turn;
};

static void apply(int fd, int options) {
  if (options & recverr && options & ipv6) set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
  else if (options & recverr) set(fd, IPPROTO_IP, IP_RECVERR, 1);
  if (options & probe && options & ipv6) set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
  else if (options & probe) set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  if (options & gro) set(fd, IPPROTO_UDP, UDP_GRO, 1);
  if (options & buffers) set(fd, SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20);
  if (options & buffers) set(fd, SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20);
  if (options & busy_poll) set(fd, SOL_SOCKET, SO_BUSY_POLL, 50);
  if (options & prefer_busy) set(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1);
  if (options & no_check) set(fd, SOL_SOCKET, SO_NO_CHECK, 1);
  if (options & nonblocking) fcntl(fd, F_SETFL, O_NONBLOCK);
}

static inline ssize_t transmit(struct side *side, const struct variant *variant, char *bytes) {
  if (variant->send == plain) {
    return sendto(side->hot, bytes, message, 0, &side->peer.any, address_length(&side->peer));
  }
  if (variant->send == connected_plain) {
    return variant->options & read_write ? write(side->hot, bytes, message) : send(side->hot, bytes, message, 0);
  }
  struct iovec slices[16];
  int pieces = variant->pieces, each = message / pieces;
  for (int i = 0; i < pieces; i++) slices[i] = (struct iovec){bytes + i * each, (size_t)each};
  struct mmsghdr header = {.msg_hdr = {.msg_iov = slices, .msg_iovlen = (size_t)pieces}};
  char control[CMSG_SPACE(sizeof(uint16_t))];
  if (variant->send != connected_msg) {
    header.msg_hdr.msg_name = &side->peer;
    header.msg_hdr.msg_namelen = address_length(&side->peer);
  }
  if (variant->options & segment) {
    header.msg_hdr.msg_control = control;
    header.msg_hdr.msg_controllen = sizeof control;
    struct cmsghdr *entry = CMSG_FIRSTHDR(&header.msg_hdr);
    *entry = (struct cmsghdr){.cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(2)};
    memcpy(CMSG_DATA(entry), &(uint16_t){message}, sizeof(uint16_t));
  }
  if (variant->send == mmsg) return sendmmsg(side->hot, &header, 1, 0) == 1 ? message : -1;
  return sendmsg(side->hot, &header.msg_hdr, 0);
}

static inline ssize_t take(int fd, const struct variant *variant, char *bytes) {
  static struct mmsghdr headers[32];
  static struct iovec slices[32];
  int flags = (variant->options & nonblocking ? 0 : MSG_DONTWAIT) | (variant->options & trunc ? MSG_TRUNC : 0);
  union address source;
  socklen_t length = sizeof source;
  if (variant->receive == plain) return recvfrom(fd, bytes, room, flags, &source.any, &length);
  if (variant->receive == without_name) {
    return variant->options & read_write ? read(fd, bytes, room) : recv(fd, bytes, room, flags);
  }
  if (variant->receive == mmsg_many) {
    for (int i = 0; i < 32; i++) {
      slices[i] = (struct iovec){bytes, room};
      headers[i].msg_hdr = (struct msghdr){.msg_iov = &slices[i], .msg_iovlen = 1, .msg_name = &source,
                                           .msg_namelen = sizeof source};
    }
    return recvmmsg(fd, headers, 32, flags, NULL) > 0 ? message : -1;
  }
  int pieces = variant->pieces, each = message / pieces;
  for (int i = 0; i < pieces; i++) slices[i] = (struct iovec){bytes + i * each, (size_t)each};
  slices[pieces - 1].iov_len = room - message;
  char control[64];
  struct mmsghdr header = {.msg_hdr = {.msg_iov = slices, .msg_iovlen = (size_t)pieces}};
  if (variant->receive != connected_msg) {
    header.msg_hdr.msg_name = &source;
    header.msg_hdr.msg_namelen = sizeof source;
  }
  if (variant->receive == msg_control) {
    header.msg_hdr.msg_control = control;
    header.msg_hdr.msg_controllen = sizeof control;
  }
  if (variant->receive == mmsg) return recvmmsg(fd, &header, 1, flags, NULL) == 1 ? message : -1;
  return recvmsg(fd, &header.msg_hdr, flags);
}

// Polls until a message comes.
static inline void receive(struct side *side, const struct variant *variant, char *bytes) {
  for (;;) {
    ssize_t count = take(side->hot, variant, bytes);
    if (count == message) return;
    if (count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) die("receive");
    if (side->cold >= 0 && (!(variant->options & rarely) || ++side->turn % 16 == 0)) {
      if (take(side->cold, variant, bytes) >= 0) {
        fprintf(stderr, "%s: came to the cold socket\n", variant->name);
        exit(1);
      }
    }
    if (variant->options & pause_between) {
      for (int i = 0; i < 8; i++) __builtin_ia32_pause();
    }
  }
}

static int reuse(const struct variant *variant) {
  if (!(variant->options & two_sockets)) return 0;
  return variant->options & reuse_address ? SO_REUSEADDR : SO_REUSEPORT;
}

// A second socket on the same local address and port, connected to the peer, so that the first is left to strangers.
static int hot_socket(bool child, const struct variant *variant, const union address *self, const union address *peer) {
  int fd = unbound_socket(child, self->any.sa_family);
  set(fd, SOL_SOCKET, reuse(variant), 1);
  check(bind(fd, &self->any, address_length(self)), "bind the hot socket");
  check(connect(fd, &peer->any, address_length(peer)), "connect");
  return fd;
}

// Half round trip in microseconds, and what a poll that finds nothing costs in nanoseconds.
static double measure(const struct variant *variant, double *empty_poll) {
  int family = variant->options & ipv6 ? AF_INET6 : AF_INET;
  struct side sides[2];
  for (int i = 0; i < 2; i++) {
    sides[i] = (struct side){.cold = -1};
    sides[i].hot = bound_socket(i == 1, family, reuse(variant), &sides[i].self);
  }
  for (int i = 0; i < 2; i++) {
    struct side *side = &sides[i];
    side->peer = sides[!i].self;
    bool connects = variant->send >= connected_plain || variant->options & force_connect;
    if (variant->options & two_sockets) {
      if (variant->options & cold_hot) {
        // The hot socket belongs to somebody else; this peer's datagrams come to the common one.
        union address other = side->peer;
        other.v4.sin_port = (in_port_t)(other.v4.sin_port ^ htons(1));
        side->cold = hot_socket(i == 1, variant, &side->self, &other);
      } else {
        side->cold = side->hot;
        side->hot = hot_socket(i == 1, variant, &side->self, &side->peer);
      }
    } else if (connects) {
      check(connect(side->hot, &side->peer.any, address_length(&side->peer)), "connect");
    }
    apply(side->hot, variant->options);
  }
  static char bytes[room];
  pid_t child = fork();
  if (child == 0) {
    pin(1);
    alarm(20);
    for (;;) {
      receive(&sides[1], variant, bytes);
      check(transmit(&sides[1], variant, bytes), "send");
    }
  }
  pin(0);
  double start = 0;
  for (int i = -1000; i < exchanges; i++) {
    if (i == 0) start = seconds();
    check(transmit(&sides[0], variant, bytes), "send");
    receive(&sides[0], variant, bytes);
  }
  double half = (seconds() - start) / exchanges / 2 * 1e6;
  start = seconds();
  for (int i = 0; i < 5000; i++) take(sides[0].hot, variant, bytes);
  *empty_poll = (seconds() - start) / 5000 * 1e9;
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  for (int i = 0; i < 2; i++) {
    close(sides[i].hot);
    if (sides[i].cold >= 0) close(sides[i].cold);
  }
  return half;
}

int main(int count, char **words) {
  int rounds = count > 1 ? atoi(words[1]) : 7;
  static double halves[COUNT(variants)][maximum_rounds], polls[COUNT(variants)][maximum_rounds];
  if (rounds > maximum_rounds) rounds = maximum_rounds;
  double unused;
  for (int i = 0; i < 3; i++) measure(&variants[0], &unused);  // warm up
  for (int round = 0; round < rounds; round++) {
    for (size_t i = 0; i < COUNT(variants); i++) {
      if (i && !chosen(variants[i].name, words + 2, count > 2 ? count - 2 : 0)) continue;
      if (getenv("TECH_NETNS") && variants[i].options & ipv6) continue;
      halves[i][round] = measure(&variants[i], &polls[i][round]);
    }
  }
  printf("%-58s %8s %7s %7s %7s %10s\n", "64 B half round trip", "us", "least", "most", "ratio", "empty poll");
  double base = median(halves[0], rounds);
  for (size_t i = 0; i < COUNT(variants); i++) {
    double middle = median(halves[i], rounds);
    if (middle == 0) continue;
    printf("%-58s %8.3f %7.3f %7.3f %7.3f %7.0f ns\n", variants[i].name, middle, halves[i][0], halves[i][rounds - 1],
           middle / base, median(polls[i], rounds));
  }
}
