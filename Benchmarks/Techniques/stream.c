// A stream of messages from one pinned process to another: datagrams (or GSO segments) of header and payload, a window,
// acknowledgements, every byte in the target at the end. What each way to send, receive and place gains.
//
// stream [ROUNDS [WORD...]]   only variants whose name contains one of the words
//
// GB/s is payload; "send" and "receive" are the microseconds that one datagram (one GSO send) costs either side.
#include "common.h"

#include <linux/errqueue.h>

enum { room = 65536, most_pieces = 64 };
static int header_length = 40;
#define KiB 1024l
#define MiB (1024l * 1024)

enum sender { one, many, zerocopy, splice_cork, splice_header, splice_batch, splice_gift };
enum receiver { staging, direct, peek, staging_many, discard };

struct variant {
  const char *name;
  enum sender send;
  enum receiver receive;
  long payload;  // of a datagram, or of a segment
  int segments;  // of one GSO send; 0 without GSO
  long message, window, buffer;
  int batch;
  bool unconnected, huge;
  long misalign, pipe;
  int header;  // 0: 40 bytes
  int rest;  // nanoseconds that the receiver stays away after an empty poll
};

#define LARGE .payload = 60 * KiB, .message = MiB, .window = 512 * KiB
#define GSO .payload = 1472 - 40, .segments = 44, .message = MiB, .window = 512 * KiB
#define JUMBO .payload = 8972 - 40, .segments = 7, .message = MiB, .window = 512 * KiB

static const struct variant variants[] = {
  {"base: sendmsg, staging", LARGE},
  {"place direct", LARGE, .receive = direct},
  {"place peek, then direct", LARGE, .receive = peek},
  {"place none (recv only)", LARGE, .receive = discard},
  {"place 256K staging", LARGE, .message = 256 * KiB},
  {"place 256K direct", LARGE, .message = 256 * KiB, .receive = direct},
  {"place 16M staging", LARGE, .message = 16 * MiB},
  {"place 16M direct", LARGE, .message = 16 * MiB, .receive = direct},
  {"place 64M staging", LARGE, .message = 64 * MiB},
  {"place 64M direct", LARGE, .message = 64 * MiB, .receive = direct},
  {"huge 1M staging", LARGE, .huge = true},
  {"huge 1M direct", LARGE, .huge = true, .receive = direct},
  {"huge 16M staging", LARGE, .huge = true, .message = 16 * MiB},
  {"huge 16M direct", LARGE, .huge = true, .message = 16 * MiB, .receive = direct},
  {"header of 40 bytes", LARGE, .receive = direct},
  {"header of 48 bytes", LARGE, .receive = direct, .header = 48},
  {"header of 64 bytes", LARGE, .receive = direct, .header = 64},
  {"call unconnected", LARGE, .unconnected = true},
  {"call sendmmsg of 4", LARGE, .send = many, .batch = 4},
  {"call sendmmsg of 4, recvmmsg of 4", LARGE, .send = many, .receive = staging_many, .batch = 4},
  {"call sendmsg, recvmmsg of 4", LARGE, .receive = staging_many, .batch = 4},
  {"call 24K sendmsg, recvmsg", .payload = 24 * KiB - 40, .message = MiB, .window = 512 * KiB},
  {"call 24K unconnected", .payload = 24 * KiB - 40, .message = MiB, .window = 512 * KiB, .unconnected = true},
  {"call 24K sendmmsg of 8", .payload = 24 * KiB - 40, .message = MiB, .window = 512 * KiB, .send = many, .batch = 8},
  {"call 24K sendmmsg of 8, recvmmsg of 8", .payload = 24 * KiB - 40, .message = MiB, .window = 512 * KiB, .send = many,
   .receive = staging_many, .batch = 8},
  {"call 24K sendmsg, recvmmsg of 8", .payload = 24 * KiB - 40, .message = MiB, .window = 512 * KiB,
   .receive = staging_many, .batch = 8},
  {"size 12K", LARGE, .payload = 12 * KiB},
  {"size 28K + header", LARGE, .payload = 28 * KiB},
  {"size 32K less header", LARGE, .payload = 32 * KiB - 40 - 8},
  {"size 48K", LARGE, .payload = 48 * KiB},
  {"size 60K", LARGE},
  {"size 65,467 (most there is)", LARGE, .payload = 65507 - 40},
  {"inflight 128K", LARGE, .window = 128 * KiB},
  {"inflight 256K", LARGE, .window = 256 * KiB},
  {"inflight 512K", LARGE},
  {"inflight 1M", LARGE, .window = MiB},
  {"inflight 2M", LARGE, .window = 2 * MiB},
  {"inflight 4M", LARGE, .window = 4 * MiB},
  {"buffer 512K window, SO_*BUF 1M", LARGE, .buffer = MiB},
  {"buffer 512K window, SO_*BUF 32M", LARGE, .buffer = 32 * MiB},
  {"rest 1 us after an empty poll, staging", LARGE, .rest = 1000},
  {"rest 1 us after an empty poll, direct", LARGE, .rest = 1000, .receive = direct},
  {"rest 5 us after an empty poll, direct", LARGE, .rest = 5000, .receive = direct},
  {"zerocopy MSG_ZEROCOPY, staging", LARGE, .send = zerocopy},
  {"zerocopy MSG_ZEROCOPY, direct", LARGE, .send = zerocopy, .receive = direct},
  {"splice header by MSG_MORE, staging", LARGE, .send = splice_cork},
  {"splice header by MSG_MORE, direct", LARGE, .send = splice_cork, .receive = direct},
  {"splice header in the pipe, staging", LARGE, .send = splice_header},
  {"splice header in the pipe, direct", LARGE, .send = splice_header, .receive = direct},
  {"splice header in the pipe, gift, direct", LARGE, .send = splice_gift, .receive = direct},
  {"splice 4 datagrams per vmsplice, direct", LARGE, .send = splice_batch, .batch = 4, .receive = direct},
  {"splice 16 datagrams per vmsplice, direct", LARGE, .send = splice_batch, .batch = 16, .receive = direct},
  {"splice huge pages, direct", LARGE, .send = splice_header, .receive = direct, .huge = true},
  {"splice huge pages, 4 per vmsplice, direct", LARGE, .send = splice_batch, .batch = 4, .receive = direct,
   .huge = true},
  {"sized 4K copy", LARGE, .payload = 4 * KiB, .receive = direct},
  {"sized 4K splice", LARGE, .payload = 4 * KiB, .send = splice_header, .receive = direct},
  {"sized 8K copy", LARGE, .payload = 8 * KiB, .receive = direct},
  {"sized 8K splice", LARGE, .payload = 8 * KiB, .send = splice_header, .receive = direct},
  {"sized 16K copy", LARGE, .payload = 16 * KiB, .receive = direct},
  {"sized 16K splice", LARGE, .payload = 16 * KiB, .send = splice_header, .receive = direct},
  {"sized 28K copy", LARGE, .payload = 28 * KiB, .receive = direct},
  {"sized 28K splice", LARGE, .payload = 28 * KiB, .send = splice_header, .receive = direct},
  {"sized 60K copy", LARGE, .receive = direct},
  {"sized 60K splice", LARGE, .send = splice_header, .receive = direct},
  {"splice unaligned by 64 (17 pieces: 2 sends), direct", LARGE, .misalign = 64, .send = splice_header,
   .receive = direct},
  {"splice by MSG_MORE, unconnected, direct", LARGE, .send = splice_cork, .receive = direct, .unconnected = true},
  {"splice 4 per vmsplice, staging", LARGE, .send = splice_batch, .batch = 4},
  {"splice pipe of 128 KiB, direct", LARGE, .send = splice_header, .receive = direct, .pipe = 128 * KiB},
  {"splice 8 of 24K per vmsplice, staging", LARGE, .payload = 24 * KiB, .send = splice_batch, .batch = 8},
  {"splice 56K unaligned by 64, direct", LARGE, .payload = 56 * KiB, .misalign = 64, .send = splice_header,
   .receive = direct},
  {"copied 16M base, direct", LARGE, .message = 16 * MiB, .receive = direct},
  {"splice 16M, direct", LARGE, .message = 16 * MiB, .send = splice_header, .receive = direct},
  {"copied 16M huge base, direct", LARGE, .message = 16 * MiB, .receive = direct, .huge = true},
  {"splice 16M huge, direct", LARGE, .message = 16 * MiB, .send = splice_header, .receive = direct, .huge = true},
  {"splice 64M, direct", LARGE, .message = 64 * MiB, .send = splice_header, .receive = direct},
  {"copied 64M huge base, direct", LARGE, .message = 64 * MiB, .receive = direct, .huge = true},
  {"splice 64M huge, direct", LARGE, .message = 64 * MiB, .send = splice_header, .receive = direct, .huge = true},
  {"gso 1472 staging", GSO},
  {"gso 1472 direct", GSO, .receive = direct},
  {"gso 1472 none (recv only)", GSO, .receive = discard},
  {"gso 1472 16M staging", GSO, .message = 16 * MiB},
  {"gso 1472 16M direct", GSO, .message = 16 * MiB, .receive = direct},
  {"gso 1472 256K staging", GSO, .message = 256 * KiB},
  {"gso 1472 256K direct", GSO, .message = 256 * KiB, .receive = direct},
  {"gso 1472 header of 48 bytes, staging", GSO, .payload = 1472 - 48, .header = 48},
  {"gso 1472 header of 48 bytes, direct", GSO, .payload = 1472 - 48, .header = 48, .receive = direct},
  {"gso 1472 unconnected", GSO, .unconnected = true},
  {"gso 1472 sendmmsg of 4", GSO, .send = many, .batch = 4},
  {"gso 1472 recvmmsg of 4", GSO, .receive = staging_many, .batch = 4},
  {"gso 1472 window 128K", GSO, .window = 128 * KiB},
  {"gso 1472 window 256K", GSO, .window = 256 * KiB},
  {"gso 1472 window 1M", GSO, .window = MiB},
  {"gso 1472 window 2M", GSO, .window = 2 * MiB},
  {"gso 1472 window 4M", GSO, .window = 4 * MiB},
  {"gso 1472 MSG_ZEROCOPY, 4 segments", GSO, .segments = 4, .send = zerocopy},
  {"gso 1472 8 segments", GSO, .segments = 8},
  {"gso 1472 22 segments", GSO, .segments = 22},
  {"gso 1472 7 segments", GSO, .segments = 7},
  {"gso 1472 7 segments, splice", GSO, .segments = 7, .send = splice_header},
  {"gso 8972 4 segments", JUMBO, .segments = 4},
  {"gso 8972 4 segments, splice", JUMBO, .segments = 4, .send = splice_header},
  {"gso 8972 4 segments, 4 sends per vmsplice", JUMBO, .segments = 4, .send = splice_batch, .batch = 4},
  {"gso 8232 5 segments, splice", JUMBO, .payload = 8192, .segments = 5, .send = splice_header},
  {"gso 8232 5 segments, splice, direct", JUMBO, .payload = 8192, .segments = 5, .send = splice_header,
   .receive = direct},
  {"gso 8232 5 segments, 4 sends per vmsplice", JUMBO, .payload = 8192, .segments = 5, .send = splice_batch,
   .batch = 4},
  {"gso 8972 MSG_ZEROCOPY, 4 segments", JUMBO, .segments = 4, .send = zerocopy},
  {"gso 8972 staging", JUMBO},
  {"gso 8972 direct", JUMBO, .receive = direct},
  {"gso 8960 header of 48 bytes, staging", JUMBO, .payload = 8960 - 48, .header = 48},
  {"gso 8960 header of 48 bytes, direct", JUMBO, .payload = 8960 - 48, .header = 48, .receive = direct},
  {"gso 8972 16M staging", JUMBO, .message = 16 * MiB},
  {"gso 8972 16M direct", JUMBO, .message = 16 * MiB, .receive = direct},
  {"gso 8972 window 128K", JUMBO, .window = 128 * KiB},
  {"gso 8972 window 2M", JUMBO, .window = 2 * MiB},
};

struct result {
  double rate, send, receive;
};

struct shared {
  double receive_busy;
  long receives;
};

struct sending {
  const struct variant *variant;
  int fd, pipe[2];
  char *source, *headers;
  long offset, outstanding;  // outstanding: zero-copy notifications
  union address peer;
};

static long each(const struct variant *variant) {
  return variant->payload * (variant->segments ? variant->segments : 1);
}

// The pieces of one datagram or GSO send: header, payload, header, payload, ...
static int lay_out(const struct variant *variant, struct iovec *pieces, char *headers, char *payload, long length) {
  int count = 0;
  for (long at = 0; at < length; at += variant->payload) {
    long part = length - at < variant->payload ? length - at : variant->payload;
    pieces[count++] = (struct iovec){headers, header_length};
    pieces[count++] = (struct iovec){payload + at, (size_t)part};
  }
  return count;
}

static long next_length(struct sending *state) {
  const struct variant *variant = state->variant;
  if (state->offset >= variant->message) state->offset = 0;
  long length = variant->message - state->offset;
  return length < each(variant) ? length : each(variant);
}

// Takes in notifications of MSG_ZEROCOPY, so that the option memory does not run out.
static void reap(struct sending *state) {
  char control[128];
  struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
  while (recvmsg(state->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0) {
    struct cmsghdr *entry = CMSG_FIRSTHDR(&message);
    if (entry) {
      struct sock_extended_err *error = (void *)CMSG_DATA(entry);
      state->outstanding -= error->ee_data - error->ee_info + 1;
      static bool told;
      if (!told && getenv("TECH_VERBOSE")) {
        fprintf(stderr, "MSG_ZEROCOPY: kernel says %s\n",
                error->ee_code & SO_EE_CODE_ZEROCOPY_COPIED ? "copied after all" : "not copied");
        told = true;
      }
    }
    message.msg_controllen = sizeof control;
  }
}

static long send_plain(struct sending *state) {
  const struct variant *variant = state->variant;
  struct mmsghdr messages[16];
  struct iovec pieces[16][2 * most_pieces];
  int batch = variant->send == many ? variant->batch : 1;
  long total = 0;
  for (int i = 0; i < batch; i++) {
    long length = next_length(state);
    messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = pieces[i]}};
    struct msghdr *message = &messages[i].msg_hdr;
    message->msg_iovlen =
        (size_t)lay_out(variant, pieces[i], state->headers, state->source + state->offset, length);
    if (variant->unconnected) {
      message->msg_name = &state->peer;
      message->msg_namelen = address_length(&state->peer);
    }
    state->offset += length;
    total += length;
  }
  if (variant->send == many) {
    for (int sent = 0; sent < batch;) {
      sent += (int)check(sendmmsg(state->fd, messages + sent, (unsigned)(batch - sent), 0), "sendmmsg");
    }
  } else if (variant->send == zerocopy) {
    while (sendmsg(state->fd, &messages[0].msg_hdr, MSG_ZEROCOPY) < 0) {
      if (errno != ENOBUFS) die("sendmsg(MSG_ZEROCOPY)");
      reap(state);
    }
    if (++state->outstanding >= 16) reap(state);
  } else {
    check(sendmsg(state->fd, &messages[0].msg_hdr, 0), "sendmsg");
  }
  return total;
}

// vmsplice puts references to the pages into a pipe, splice(2) hands them to the socket: no copy on this side.
static long send_spliced(struct sending *state) {
  const struct variant *variant = state->variant;
  struct iovec pieces[4 * most_pieces];
  long lengths[16], total = 0, wanted = 0;
  bool cork = variant->send == splice_cork;  // the header goes first, by send(2)
  int batch = variant->send == splice_batch ? variant->batch : 1, count = 0;
  for (int i = 0; i < batch; i++) {
    long length = next_length(state);
    int added = lay_out(variant, pieces + count, state->headers, state->source + state->offset, length);
    lengths[i] = length + added / 2 * header_length;
    if (cork) {
      pieces[0] = pieces[1];
      added = 1;
      lengths[i] = length;
    }
    count += added;
    state->offset += length;
    total += length;
    wanted += lengths[i];
  }
  unsigned gift = variant->send == splice_gift ? SPLICE_F_GIFT : 0;
  if (check(vmsplice(state->pipe[1], pieces, (size_t)count, gift), "vmsplice") != wanted) die("vmsplice: pipe is full");
  for (int i = 0; i < batch; i++) {
    long length = lengths[i];
    const struct sockaddr *to = variant->unconnected ? &state->peer.any : NULL;
    if (cork) {
      check(sendto(state->fd, state->headers, header_length, MSG_MORE, to, to ? address_length(&state->peer) : 0),
            "send(MSG_MORE)");
    }
    long went = check(splice(state->pipe[0], NULL, state->fd, NULL, (size_t)length, 0), "splice");
    if (went != length) die("splice: short");
  }
  return total;
}

static void receive_all(const struct variant *variant, int fd, const union address *peer, long total,
                        struct shared *shared) {
  static struct mmsghdr messages[16];
  static struct iovec pieces[16][2 * most_pieces];
  char *target = memory((size_t)variant->message + room, variant->huge), *stage = memory(16 * (room + 4096), false);
  char headers[64], control[64];
  long received = 0, acknowledged = 0, offset = 0;
  long every = variant->window / 2 < 256 * KiB ? variant->window / 2 : 256 * KiB;
  while (received < total) {
    double start = seconds();
    int batch = variant->receive == staging_many ? variant->batch : 1, count;
    for (int i = 0; i < batch; i++) {
      struct msghdr *message = &messages[i].msg_hdr;
      *message = (struct msghdr){.msg_iov = pieces[i], .msg_iovlen = 1};
      if (variant->segments) {
        message->msg_control = control;
        message->msg_controllen = sizeof control;
      }
      pieces[i][0] = (struct iovec){stage + i * (room + 4096), room};
      if (variant->receive == direct || variant->receive == peek) {
        long length = variant->message - offset < each(variant) ? variant->message - offset : each(variant);
        message->msg_iovlen = (size_t)lay_out(variant, pieces[i], headers, target + offset, length);
      }
    }
    if (variant->receive == peek && recv(fd, headers, header_length, MSG_PEEK | MSG_DONTWAIT) < 0) continue;
    if (variant->receive == staging_many) {
      count = recvmmsg(fd, messages, (unsigned)batch, MSG_DONTWAIT, NULL);
    } else {
      ssize_t length = recvmsg(fd, &messages[0].msg_hdr, MSG_DONTWAIT);
      messages[0].msg_len = length > 0 ? (unsigned)length : 0;
      count = length > 0 ? 1 : -1;
    }
    if (count <= 0) {
      for (double end = seconds() + variant->rest * 1e-9; variant->rest && seconds() < end;) __builtin_ia32_pause();
      continue;
    }
    for (int i = 0; i < count; i++) {
      char *bytes = pieces[i][0].iov_base;
      long step = variant->payload + header_length;
      for (long at = 0; at < messages[i].msg_len; at += step) {
        long part = (messages[i].msg_len - at < step ? messages[i].msg_len - at : step) - header_length;
        if (variant->receive == staging || variant->receive == staging_many) {
          memcpy(target + offset, bytes + at + header_length, (size_t)part);
        }
        offset += part;
        received += part;
      }
      if (offset >= variant->message) offset = 0;
    }
    shared->receives += count;
    shared->receive_busy += seconds() - start;
    if (received - acknowledged >= every) {
      acknowledged = received;
      check(sendto(fd, &acknowledged, sizeof acknowledged, 0, &peer->any, address_length(peer)), "acknowledge");
    }
  }
}

static struct result measure(const struct variant *variant) {
  header_length = variant->header ? variant->header : 40;
  union address self, peer;
  int a = udp_socket(false, AF_INET, &self), b = udp_socket(true, AF_INET, &peer);
  int buffer = variant->buffer ? (int)variant->buffer / 2 : 8 << 20;  // the kernel doubles it
  for (int i = 0; i < 2; i++) {
    set(i ? b : a, SOL_SOCKET, SO_RCVBUFFORCE, buffer);
    set(i ? b : a, SOL_SOCKET, SO_SNDBUFFORCE, buffer);
  }
  if (variant->segments) {
    set(a, IPPROTO_UDP, UDP_SEGMENT, (int)variant->payload + header_length);
    set(b, IPPROTO_UDP, UDP_GRO, 1);
  }
  if (variant->send == zerocopy) set(a, SOL_SOCKET, SO_ZEROCOPY, 1);
  long total = (variant->segments ? 512 : 1024) * MiB;
  if (variant->segments && variant->segments < 16) total /= 2;
  struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t child = fork();
  if (child == 0) {
    pin(1);
    alarm(15);
    receive_all(variant, b, &self, total, shared);
    _exit(0);
  }
  pin(0);
  alarm(20);
  struct sending state = {.variant = variant, .fd = a, .peer = peer};
  state.source = memory((size_t)variant->message + 8192, variant->huge) + variant->misalign;
  state.headers = memory(4096, false);
  check(pipe(state.pipe), "pipe");
  check(fcntl(state.pipe[1], F_SETPIPE_SZ, variant->pipe ? variant->pipe : MiB), "F_SETPIPE_SZ");
  if (!variant->unconnected) check(connect(a, &peer.any, address_length(&peer)), "connect");
  usleep(30000);
  long sent = 0, acknowledged = 0, sends = 0;
  double start = seconds(), busy = 0;
  while (sent < total) {
    while (sent - acknowledged >= variant->window) {
      long word;
      if (recv(a, &word, sizeof word, MSG_DONTWAIT) == sizeof word) acknowledged = word;
    }
    double begin = seconds();
    sent += variant->send >= splice_cork ? send_spliced(&state) : send_plain(&state);
    sends += variant->send == many || variant->send == splice_batch ? variant->batch : 1;
    busy += seconds() - begin;
  }
  int status = 0;
  waitpid(child, &status, 0);
  struct result result = {.rate = (double)total / (seconds() - start) / 1e9, .send = busy / (double)sends * 1e6};
  if (status) result.rate = -1;
  result.receive = shared->receive_busy / (double)shared->receives * 1e6;
  free(state.source - variant->misalign);
  free(state.headers);
  munmap(shared, 4096);
  int descriptors[] = {a, b, state.pipe[0], state.pipe[1]};
  for (size_t i = 0; i < COUNT(descriptors); i++) close(descriptors[i]);
  return result;
}

int main(int count, char **words) {
  int rounds = count > 1 ? atoi(words[1]) : 5;
  static double rate[COUNT(variants)][maximum_rounds], send_time[COUNT(variants)][maximum_rounds],
      receive_time[COUNT(variants)][maximum_rounds];
  if (rounds > maximum_rounds) rounds = maximum_rounds;
  for (int round = 0; round < rounds; round++) {
    for (size_t i = 0; i < COUNT(variants); i++) {
      if (!chosen(variants[i].name, words + 2, count > 2 ? count - 2 : 0)) continue;
      struct result result = measure(&variants[i]);
      rate[i][round] = result.rate;
      send_time[i][round] = result.send;
      receive_time[i][round] = result.receive;
    }
  }
  printf("%-46s %7s %6s %6s %9s %9s\n", "stream", "GB/s", "least", "most", "send", "receive");
  for (size_t i = 0; i < COUNT(variants); i++) {
    double middle = median(rate[i], rounds);
    if (middle == 0) continue;
    printf("%-46s %7.2f %6.2f %6.2f %6.2f us %6.2f us\n", variants[i].name, middle, rate[i][0], rate[i][rounds - 1],
           median(send_time[i], rounds), median(receive_time[i], rounds));
  }
}
