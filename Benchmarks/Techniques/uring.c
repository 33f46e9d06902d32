// io_uring against plain calls: the 64-byte ping-pong, and the stream of 60 KiB datagrams. Needs liburing 2.3 or newer.
//
// uring [ROUNDS [WORD...]]   only variants whose name contains one of the words
#include "common.h"

#include <liburing.h>

enum { header_length = 40, payload = 60 * 1024, slots = 32, slot_size = 65536, depth = 64, pingpong_length = 64 };
enum { exchanges = 8000 };
static const long window = 512 * 1024, ack_every = 256 * 1024, message_length = 1 << 20, stream_total = 1024l << 20;

enum {
  ring_receive = 1,  // multishot recvmsg or recv with a ring of provided buffers
  ring_send = 2,     // sends are submitted to the ring
  deferred = 4,      // IORING_SETUP_SINGLE_ISSUER | DEFER_TASKRUN: completions are made when this thread asks
  cooperative = 8,   // IORING_SETUP_COOP_TASKRUN: completions are made at the next system call
  kernel_thread = 16,  // IORING_SETUP_SQPOLL
  fixed = 32,        // registered file (and, for zero copy, registered buffers)
  zero_copy = 64,    // IORING_OP_SEND_ZC from a registered buffer
  recvmsg_multishot = 128,
  stream = 256,
};

struct variant {
  const char *name;
  int flags, batch;
};

static const struct variant variants[] = {
  {"pingpong: send, recv", 0, 1},
  {"pingpong: send(2); multishot recv", ring_receive, 1},
  {"pingpong: send(2); multishot recv, COOP_TASKRUN", ring_receive | cooperative, 1},
  {"pingpong: send(2); multishot recv, DEFER_TASKRUN", ring_receive | deferred, 1},
  {"pingpong: send(2); multishot recvmsg, DEFER_TASKRUN", ring_receive | deferred | recvmsg_multishot, 1},
  {"pingpong: all by ring", ring_receive | ring_send, 1},
  {"pingpong: all by ring, DEFER_TASKRUN, registered file", ring_receive | ring_send | deferred | fixed, 1},
  {"pingpong: all by ring, SQPOLL", ring_receive | ring_send | kernel_thread | fixed, 1},
  {"stream: sendmsg, recvmsg", stream, 1},
  {"stream: sendmsg; multishot recvmsg, DEFER_TASKRUN", stream | ring_receive | deferred | recvmsg_multishot, 1},
  {"stream: sendmsg; multishot recv, DEFER_TASKRUN", stream | ring_receive | deferred, 1},
  {"stream: 4 ring sendmsg a submit; recvmsg", stream | ring_send | deferred | fixed, 4},
  {"stream: 4 ring sendmsg a submit; multishot recv", stream | ring_send | ring_receive | deferred | fixed, 4},
  {"stream: 4 SEND_ZC from registered buffers; recvmsg", stream | ring_send | zero_copy | deferred | fixed, 4},
  {"stream: SQPOLL sendmsg; recvmsg", stream | ring_send | kernel_thread | fixed, 4},
};

struct port {
  const struct variant *variant;
  int fd, file, flags;
  struct io_uring ring;
  struct io_uring_buf_ring *buffers;
  struct msghdr shape;
  char *bytes, *source;
  int sending;  // sends whose completions are still to come
  int notices;  // zero-copy notifications still to come
};

static struct io_uring_sqe *entry(struct port *port) {
  struct io_uring_sqe *entry = io_uring_get_sqe(&port->ring);
  if (!entry) {
    io_uring_submit(&port->ring);
    entry = io_uring_get_sqe(&port->ring);
  }
  if (!entry) die("io_uring_get_sqe");
  return entry;
}

static void own_file(struct port *port, struct io_uring_sqe *entry) {
  if (port->flags & fixed) entry->flags |= IOSQE_FIXED_FILE;
}

static void arm(struct port *port) {
  struct io_uring_sqe *next = entry(port);
  if (port->flags & recvmsg_multishot) io_uring_prep_recvmsg_multishot(next, port->file, &port->shape, 0);
  else io_uring_prep_recv_multishot(next, port->file, NULL, 0, 0);
  next->flags |= IOSQE_BUFFER_SELECT;
  next->user_data = 1;
  own_file(port, next);
  io_uring_submit(&port->ring);
}

static void open_port(struct port *port, const struct variant *variant, int fd, int flags) {
  *port = (struct port){.variant = variant, .fd = fd, .file = fd, .flags = flags};
  port->bytes = memory(slots * slot_size, false);
  if (!(flags & (ring_receive | ring_send))) return;
  struct io_uring_params parameters = {0};
  if (flags & deferred) parameters.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  if (flags & cooperative) parameters.flags |= IORING_SETUP_COOP_TASKRUN;
  if (flags & kernel_thread) parameters.flags |= IORING_SETUP_SQPOLL;
  parameters.sq_thread_idle = 1000;
  errno = -io_uring_queue_init_params(depth, &port->ring, &parameters);
  if (errno) die("io_uring_queue_init");
  if (flags & fixed) {
    errno = -io_uring_register_files(&port->ring, &fd, 1);
    if (errno) die("io_uring_register_files");
    port->file = 0;
  }
  if (flags & ring_receive) {
    size_t size = slots * sizeof(struct io_uring_buf);
    port->buffers = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)port->buffers, .ring_entries = slots};
    errno = -io_uring_register_buf_ring(&port->ring, &registration, 0);
    if (errno) die("io_uring_register_buf_ring");
    io_uring_buf_ring_init(port->buffers);
    for (int i = 0; i < slots; i++) {
      io_uring_buf_ring_add(port->buffers, port->bytes + i * slot_size, slot_size, (unsigned short)i, slots - 1, i);
    }
    io_uring_buf_ring_advance(port->buffers, slots);
    port->shape = (struct msghdr){.msg_namelen = sizeof(struct sockaddr_in6)};
    arm(port);
  }
}

// One received datagram into `target` (NULL: left where it is), or -1 when there is none.
static long receive(struct port *port, char *target) {
  if (!(port->flags & ring_receive)) {
    long count = recv(port->fd, port->bytes, slot_size, MSG_DONTWAIT);
    if (count > header_length && target) memcpy(target, port->bytes + header_length, (size_t)count - header_length);
    return count;
  }
  struct io_uring_cqe *completion;
  if (io_uring_peek_cqe(&port->ring, &completion) != 0) {
    if (!(port->flags & (deferred | cooperative))) return -1;
    io_uring_get_events(&port->ring);
    if (io_uring_peek_cqe(&port->ring, &completion) != 0) return -1;
  }
  long count = completion->res;
  unsigned flags = completion->flags;
  bool is_send = completion->user_data != 1;
  io_uring_cqe_seen(&port->ring, completion);
  if (is_send) {
    errno = count < 0 ? (int)-count : 0;
    if (errno) die("send by ring");
    port->sending--;
    return -1;
  }
  if (count > 0) {
    int slot = (int)(flags >> IORING_CQE_BUFFER_SHIFT);
    char *bytes = port->bytes + slot * slot_size;
    if (port->flags & recvmsg_multishot) {
      struct io_uring_recvmsg_out *out = io_uring_recvmsg_validate(bytes, (int)count, &port->shape);
      count = io_uring_recvmsg_payload_length(out, (int)count, &port->shape);
      bytes = io_uring_recvmsg_payload(out, &port->shape);
    }
    if (count > header_length && target) memcpy(target, bytes + header_length, (size_t)count - header_length);
    io_uring_buf_ring_add(port->buffers, port->bytes + slot * slot_size, slot_size, (unsigned short)slot, slots - 1, 0);
    io_uring_buf_ring_advance(port->buffers, 1);
  }
  if (!(flags & IORING_CQE_F_MORE)) arm(port);
  return count;
}

static void transmit_small(struct port *port) {
  static char bytes[pingpong_length];
  if (!(port->flags & ring_send)) {
    check(send(port->fd, bytes, sizeof bytes, 0), "send");
    return;
  }
  struct io_uring_sqe *next = entry(port);
  io_uring_prep_send(next, port->file, bytes, sizeof bytes, 0);
  own_file(port, next);
  next->flags |= IOSQE_CQE_SKIP_SUCCESS;
  next->user_data = 2;
  io_uring_submit(&port->ring);
}

// A batch of datagrams, all of them sent when this returns, as with sendmsg(2).
static long transmit_large(struct port *port, long offset) {
  static char header[header_length];
  static struct iovec pieces[16][2];
  static struct msghdr messages[16];
  long total = 0;
  int batch = port->variant->batch, pending = 0;
  for (int i = 0; i < batch; i++) {
    char *from = port->source + (offset + total) % (message_length - payload);
    pieces[i][0] = (struct iovec){header, header_length};
    pieces[i][1] = (struct iovec){from, payload};
    messages[i] = (struct msghdr){.msg_iov = pieces[i], .msg_iovlen = 2};
    total += payload;
    if (!(port->flags & ring_send)) {
      check(sendmsg(port->fd, &messages[i], 0), "sendmsg");
      continue;
    }
    struct io_uring_sqe *next = entry(port);
    // Header and payload of a registered buffer lie together: the kernel takes no vector of them here.
    if (port->flags & zero_copy) {
      io_uring_prep_send_zc_fixed(next, port->file, from, payload + header_length, 0, 0, 0);
      port->notices++;
    } else {
      io_uring_prep_sendmsg(next, port->file, &messages[i], 0);
    }
    own_file(port, next);
    next->user_data = 2;
    pending++;
  }
  if (!pending) return total;
  io_uring_submit(&port->ring);
  while (pending > 0 || port->notices > 24) {
    struct io_uring_cqe *completion;
    errno = -io_uring_wait_cqe(&port->ring, &completion);
    if (errno) die("io_uring_wait_cqe");
    if (completion->flags & IORING_CQE_F_NOTIF) {
      port->notices--;
    } else {
      errno = completion->res < 0 ? -completion->res : 0;
      if (errno) die("send by ring");
      pending--;
    }
    io_uring_cqe_seen(&port->ring, completion);
  }
  return total;
}

static void peer(const struct variant *variant, int fd) {
  pin(1);
  alarm(15);
  struct port port;
  bool streams = variant->flags & stream;
  open_port(&port, variant, fd, streams ? variant->flags & ~ring_send : variant->flags);
  char *target = memory((size_t)message_length + slot_size, false);
  long received = 0, acknowledged = 0;
  for (;;) {
    long count = receive(&port, streams ? target + received % message_length / payload * payload : NULL);
    if (count < 0) continue;
    if (!streams) {
      transmit_small(&port);
      continue;
    }
    received += count - header_length;
    if (received - acknowledged >= ack_every || received >= stream_total) {
      acknowledged = received;
      check(send(fd, &acknowledged, sizeof acknowledged, 0), "acknowledge");
    }
  }
}

// Half round trip in microseconds, or GB/s.
static double measure(const struct variant *variant) {
  union address self, other;
  int a = udp_socket(false, AF_INET, &self), b = udp_socket(true, AF_INET, &other);
  int fds[] = {a, b};
  for (int i = 0; i < 2; i++) {
    set(fds[i], SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20);
    set(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20);
    union address *to = i ? &self : &other;
    check(connect(fds[i], &to->any, address_length(to)), "connect");
  }
  pid_t child = fork();
  if (child == 0) peer(variant, b);
  pin(0);
  alarm(20);
  struct port port;
  bool streams = variant->flags & stream;
  open_port(&port, variant, a, streams ? variant->flags & ~ring_receive : variant->flags);
  port.source = memory(2 << 20, false);
  if (variant->flags & zero_copy) {
    errno = -io_uring_register_buffers(&port.ring, &(struct iovec){port.source, 2 << 20}, 1);
    if (errno) die("io_uring_register_buffers");
  }
  usleep(30000);
  double start = seconds(), result;
  if (streams) {
    long sent = 0, acknowledged = 0, word;
    while (acknowledged < stream_total) {
      while (sent < stream_total && sent - acknowledged < window) sent += transmit_large(&port, sent);
      if (recv(a, &word, sizeof word, MSG_DONTWAIT) == sizeof word) acknowledged = word;
    }
    result = (double)stream_total / (seconds() - start) / 1e9;
  } else {
    int done = 0;
    for (; done < exchanges && seconds() - start < 1; done++) {
      transmit_small(&port);
      while (receive(&port, NULL) < 0) {}
    }
    result = (seconds() - start) / done / 2 * 1e6;
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  if (port.ring.ring_fd) io_uring_queue_exit(&port.ring);
  free(port.bytes);
  free(port.source);
  close(a);
  close(b);
  return result;
}

int main(int count, char **words) {
  int rounds = count > 1 ? atoi(words[1]) : 5;
  static double results[COUNT(variants)][maximum_rounds];
  if (rounds > maximum_rounds) rounds = maximum_rounds;
  for (int round = 0; round < rounds; round++) {
    for (size_t i = 0; i < COUNT(variants); i++) {
      if (chosen(variants[i].name, words + 2, count > 2 ? count - 2 : 0)) results[i][round] = measure(&variants[i]);
    }
  }
  printf("%-58s %8s %7s %7s\n", "io_uring: half round trip us, stream GB/s", "median", "least", "most");
  for (size_t i = 0; i < COUNT(variants); i++) {
    double middle = median(results[i], rounds);
    if (middle == 0) continue;
    printf("%-58s %8.3f %7.3f %7.3f\n", variants[i].name, middle, results[i][0], results[i][rounds - 1]);
  }
}
