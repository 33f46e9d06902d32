// What the kernel's UDP allows here: the same tests as fabric_bench, with no protocol but what no protocol can do
// without. A header on every piece of a message, segments that are filled, every byte copied from a staging buffer to
// the receiver's memory, and an acknowledgement for every half of a window. Nothing is resent: a run that loses a
// datagram is reported as failed.
//
// Messages are cut into pieces {message, offset, length}. A segment holds as many pieces as fit, so that small messages
// share it and large ones fill it. Segments travel up to 64 KiB a system call under GSO and GRO (variants gso…), or
// are datagrams as large as UDP has them (variants datagram…, where the path takes them).
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

enum {
  datagram_max = 65507,
  segments_max = 64,      // of one GSO send
  pieces_max = 512,       // of one send, two slices each
  gathered_max = 1024,    // payload up to here is copied beside its header, longer payload is referenced
  socket_buffer = 8 << 20,
  burst = 8,              // datagrams read in one call
};

struct piece {
  uint32_t message;  // piece_none: padding up to the end of the segment
  uint32_t offset;
  uint32_t length;
  uint32_t total;
};
#define PIECE_NONE UINT32_MAX

struct acknowledgement {
  uint64_t bytes;  // of payload that were copied out
};

static struct options options;
static const struct spec *spec;  // the test in progress
static int connection;
static int unconnected, connected;  // sockets
static int udp;                     // the one in use
static struct sockaddr_in peer;
static const double silence_max = 0.25;  // seconds after which a datagram is taken for lost

// ---- sockets ------------------------------------------------------------------------------------------------------

static void set_buffer(int forced, int plain) {
  int size = socket_buffer;
  if (setsockopt(udp, SOL_SOCKET, forced, &size, sizeof size)) {
    setsockopt(udp, SOL_SOCKET, plain, &size, sizeof size);
  }
}

static int open_socket(struct sockaddr_in *theirs) {
  udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in own = {.sin_family = AF_INET};
  socklen_t length = sizeof own;
  if (inet_pton(AF_INET, options.address, &own.sin_addr) != 1) die("not an IPv4 address: %s", options.address);
  if (udp < 0 || bind(udp, (struct sockaddr *)&own, sizeof own) || getsockname(udp, (struct sockaddr *)&own, &length)) {
    die("UDP socket: %s", strerror(errno));
  }
  set_buffer(SO_RCVBUFFORCE, SO_RCVBUF);
  set_buffer(SO_SNDBUFFORCE, SO_SNDBUF);
  setsockopt(udp, SOL_UDP, UDP_GRO, &(int){1}, sizeof(int));
  tell(connection, &own, sizeof own);
  hear(connection, theirs, sizeof *theirs, NULL);
  return udp;
}

static void open_sockets(void) {
  unconnected = open_socket(&peer);
  struct sockaddr_in other;
  connected = open_socket(&other);
  if (connect(connected, (struct sockaddr *)&other, sizeof other)) die("connect: %s", strerror(errno));
}

static void wait_readable(void) {
  if (!options.blocking) return;
  struct pollfd descriptor = {.fd = udp, .events = POLLIN};
  poll(&descriptor, 1, 100);
}

static void drain_socket(void) {
  char byte;
  while (recv(udp, &byte, 1, MSG_TRUNC) >= 0) {
  }
}

// ---- sending ------------------------------------------------------------------------------------------------------

static struct {
  size_t segment;       // bytes of one segment, piece headers included
  size_t send_max;      // bytes of one system call
  char gathered[1 << 17];
  size_t gathered_length;
  struct iovec slices[2 * pieces_max + segments_max];
  size_t slice_count;
  size_t length;        // bytes in the slices
} out;

static void add_slice(void *bytes, size_t length) {
  struct iovec *last = out.slice_count ? &out.slices[out.slice_count - 1] : NULL;
  if (last && (char *)last->iov_base + last->iov_len == bytes) {
    last->iov_len += length;
  } else {
    out.slices[out.slice_count++] = (struct iovec){bytes, length};
  }
  out.length += length;
}

static void gather(const void *bytes, size_t length) {
  char *place = out.gathered + out.gathered_length;
  memcpy(place, bytes, length);
  out.gathered_length += length;
  add_slice(place, length);
}

static void flush_segments(void) {
  if (!out.length) return;
  char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
  struct msghdr message = {.msg_name = &peer, .msg_namelen = sizeof peer, .msg_iov = out.slices,
                           .msg_iovlen = out.slice_count};
  if (out.length > out.segment) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof(uint16_t))};
    uint16_t segment = (uint16_t)out.segment;
    memcpy(CMSG_DATA(header), &segment, sizeof segment);
  }
  while (sendmsg(udp, &message, 0) < 0) {
    if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) die("sendmsg: %s", strerror(errno));
  }
  out.length = out.slice_count = out.gathered_length = 0;
}

// Bytes left in the segment being filled.
static size_t room_in_segment(void) { return out.segment - out.length % out.segment; }

static void pad_segment(void) {
  static const char zeros[sizeof(struct piece)];
  size_t room = room_in_segment();
  if (room == out.segment) return;
  if (room < sizeof(struct piece)) {
    gather(zeros, room);
    return;
  }
  if (room == sizeof(struct piece)) gather(&(struct piece){.message = PIECE_NONE}, room);
}

// Adds `part` bytes at `offset` of a message; what is full goes out, the rest waits for flush_segments.
static void send_part(uint32_t number, const char *message, size_t offset, size_t part, size_t total) {
  for (size_t end = offset + part; offset < end;) {
    pad_segment();
    if (out.length + sizeof(struct piece) >= out.send_max || out.slice_count + 4 > 2 * pieces_max) flush_segments();
    size_t room = room_in_segment() - sizeof(struct piece);
    size_t length = end - offset < room ? end - offset : room;
    struct piece piece = {number, (uint32_t)offset, (uint32_t)length, (uint32_t)total};
    gather(&piece, sizeof piece);
    if (length <= gathered_max) {
      gather(message + offset, length);
    } else {
      add_slice((void *)(uintptr_t)(message + offset), length);
    }
    offset += length;
  }
}

// ---- receiving ----------------------------------------------------------------------------------------------------

static struct {
  char *staging[burst];
  struct mmsghdr headers[burst];
  struct iovec slices[burst];
  char control[burst][CMSG_SPACE(sizeof(int))];
  char *memory;     // where messages go: `slots` places of `size` bytes
  size_t slots;
  size_t size;
  uint64_t bytes;   // of payload so far
  double heard;     // when something last arrived
  unsigned vain;    // empty reads in a row
} in;

static void copy_out(const char *segment, size_t length) {
  while (length > sizeof(struct piece)) {
    struct piece piece;
    memcpy(&piece, segment, sizeof piece);
    if (piece.message == PIECE_NONE) return;
    segment += sizeof piece;
    length -= sizeof piece;
    if (piece.length > length || piece.total > in.size || piece.offset + piece.length > in.size) die("a bad piece");
    memcpy(in.memory + piece.message % in.slots * in.size + piece.offset, segment, piece.length);
    in.bytes += piece.length;
    segment += piece.length;
    length -= piece.length;
  }
}

static size_t stride_of(struct msghdr *message, size_t length) {
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_UDP || header->cmsg_type != UDP_GRO) continue;
    int stride;
    memcpy(&stride, CMSG_DATA(header), sizeof stride);
    return (size_t)stride;
  }
  return length;
}

// One recvmmsg; false if nothing was there.
static bool receive_burst(void) {
  for (int i = 0; i < burst; i++) {
    in.slices[i] = (struct iovec){in.staging[i], 65536};
    in.headers[i].msg_hdr = (struct msghdr){.msg_iov = &in.slices[i], .msg_iovlen = 1, .msg_control = in.control[i],
                                            .msg_controllen = sizeof in.control[i]};
  }
  int count = recvmmsg(udp, in.headers, burst, MSG_DONTWAIT, NULL);
  if (count <= 0) {
    if (count < 0 && errno != EAGAIN && errno != EINTR) die("recvmmsg: %s", strerror(errno));
    return false;
  }
  for (int i = 0; i < count; i++) {
    size_t length = in.headers[i].msg_len, stride = stride_of(&in.headers[i].msg_hdr, length);
    for (size_t at = 0; at < length; at += stride) {
      copy_out(in.staging[i] + at, length - at < stride ? length - at : stride);
    }
  }
  return true;
}

// As receive_burst, and false for good (in.bytes unchanged) once silence lasted too long.
static bool receive_some(void) {
  if (receive_burst()) {
    in.vain = 0;
    return true;
  }
  if (in.vain++ == 0) in.heard = seconds();
  wait_readable();
  return in.vain % 256 || seconds() - in.heard < silence_max;
}

static void receive_from_now(size_t slots, size_t size) {
  in.slots = slots;
  in.size = size;
  in.bytes = 0;
  in.vain = 0;
}

static bool receive_bytes(uint64_t bytes) {
  while (in.bytes < bytes) {
    if (!receive_some()) return false;
  }
  return true;
}

// ---- the bare ping-pong -------------------------------------------------------------------------------------------

static void bounce_once(const char *buffer, size_t size) {
  ssize_t sent = udp == connected ? send(udp, buffer, size, 0)
                                  : sendto(udp, buffer, size, 0, (struct sockaddr *)&peer, sizeof peer);
  if (sent < 0) die("sendto: %s", strerror(errno));
}

// One datagram of exactly `size` bytes each way, as sendto and recvfrom, or send and recv on a connected socket.
static bool bounce(uint64_t count, size_t size, bool first) {
  char *buffer = in.staging[0];
  struct sockaddr_in from;
  for (uint64_t i = 0; i < count; i++) {
    if (first || i) {
      bounce_once(buffer, size);
    }
    double begin = 0;
    for (unsigned vain = 0;; vain++) {
      socklen_t length = sizeof from;
      ssize_t got = udp == connected ? recv(udp, buffer, 65536, 0)
                                     : recvfrom(udp, buffer, 65536, 0, (struct sockaddr *)&from, &length);
      if (got == (ssize_t)size) break;
      if (got < 0 && errno != EAGAIN && errno != EINTR) die("recvfrom: %s", strerror(errno));
      if (vain % 1024 != 0) continue;
      if (vain == 0) begin = seconds();
      if (seconds() - begin > silence_max) return false;
    }
  }
  if (!first) bounce_once(buffer, size);
  return true;
}

// ---- variants -----------------------------------------------------------------------------------------------------

enum flags { flag_connected = 2, flag_bare = 4, flag_datagrams = 8, flag_window_shift = 8 };

struct variant {
  const char *name;
  uint64_t flags;
};

#define WINDOW(kibibytes) ((uint64_t)(kibibytes) << flag_window_shift)

static const struct variant stream_variants[] = {
    {"gso, window 256 KiB", WINDOW(256)},
    {"gso, window 2 MiB", WINDOW(2048)},
    {"datagram, window 256 KiB", WINDOW(256) | flag_datagrams},
    {"datagram, window 2 MiB", WINDOW(2048) | flag_datagrams},
    {"datagram, window 4 MiB", WINDOW(4096) | flag_datagrams},
};

static const struct variant ping_variants[] = {
    {"unconnected", flag_bare},
    {"connected", flag_bare | flag_connected},
    {"gso", 0},
    {"datagram", flag_datagrams},
};

static bool is_ping(void) { return strcmp(spec->name, "pingpong") == 0; }

static bool applies(const struct variant *variant, size_t size) {
  // What fits one datagram is tried as one, bare of any header; what does not fit a segment, in pieces too.
  if (variant->flags & flag_bare) return size <= options.segment || (options.fragment && size <= datagram_max);
  if (is_ping() && size <= options.segment) return false;
  return !(variant->flags & flag_datagrams) || options.fragment;
}

static void use_variant(const struct order *order) {
  out.segment = order->flags & flag_datagrams ? datagram_max : options.segment;
  size_t segments = datagram_max / out.segment;
  if (segments > segments_max) segments = segments_max;
  out.send_max = segments * out.segment;
  out.length = out.slice_count = out.gathered_length = 0;
  udp = order->flags & flag_connected ? connected : unconnected;
}

static uint64_t window_bytes(const struct order *order) { return order->flags >> flag_window_shift << 10; }

// ---- messages in one direction ------------------------------------------------------------------------------------

static char *source;  // the sender's buffers
static size_t slots_for(size_t size) { return window_for(spec->window, options.footprint, size); }

static bool serve_stream(const struct order *order) {
  uint64_t total = order->count * order->size, half = window_bytes(order) / 2, acknowledged = 0;
  receive_from_now(slots_for(order->size), order->size);
  while (in.bytes < total) {
    if (!receive_some()) return false;
    if (in.bytes - acknowledged < half && in.bytes < total) continue;
    struct acknowledgement message = {in.bytes};
    acknowledged = in.bytes;
    while (sendto(udp, &message, sizeof message, 0, (struct sockaddr *)&peer, sizeof peer) < 0) {
      if (errno != EAGAIN && errno != ENOBUFS) die("sendto: %s", strerror(errno));
    }
  }
  return true;
}

// Waits until no more than `most` bytes are on their way.
static bool await_acknowledgement(uint64_t sent, uint64_t *acknowledged, uint64_t most) {
  double begin = 0;
  for (unsigned vain = 0; sent - *acknowledged > most;) {
    struct acknowledgement message;
    if (recv(udp, &message, sizeof message, MSG_DONTWAIT) == (ssize_t)sizeof message) {
      if (message.bytes > *acknowledged) *acknowledged = message.bytes;
      vain = 0;
      continue;
    }
    if (vain++ == 0) begin = seconds();
    wait_readable();
    if (vain % 256 == 0 && seconds() - begin > silence_max) return false;
  }
  return true;
}

static bool drive_stream(const struct order *order) {
  uint64_t window = window_bytes(order), sent = 0, acknowledged = 0;
  size_t slots = slots_for(order->size);
  // A message larger than the window goes in parts: what counts is bytes on their way.
  size_t part_max = window / 4 < order->size ? window / 4 : order->size;
  for (uint64_t i = 0; i < order->count; i++) {
    const char *message = source + i % slots * order->size;
    for (size_t at = 0; at < order->size; at += part_max) {
      size_t part = order->size - at < part_max ? order->size - at : part_max;
      if (sent + part - acknowledged > window) {
        flush_segments();
        if (!await_acknowledgement(sent, &acknowledged, window - part)) return false;
      }
      send_part((uint32_t)i, message, at, part, order->size);
      sent += part;
    }
  }
  flush_segments();
  return await_acknowledgement(sent, &acknowledged, 0);
}

// ---- there and back -----------------------------------------------------------------------------------------------

static bool ping(const struct order *order, bool first) {
  if (order->flags & flag_bare) return bounce(order->count, order->size, first);
  receive_from_now(slots_for(order->size), order->size);
  for (uint64_t i = 0; i < order->count; i++) {
    if (first) {
      send_part((uint32_t)i, source, 0, order->size, order->size);
      flush_segments();
    }
    if (!receive_bytes((i + 1) * order->size)) return false;
    if (!first) {
      send_part((uint32_t)i, source, 0, order->size, order->size);
      flush_segments();
    }
  }
  return true;
}

// ---- runs ---------------------------------------------------------------------------------------------------------

struct outcome {
  bool good;
  double elapsed;
  double cpu;
};

static bool verified(const struct order *order) {
  size_t slots = slots_for(order->size);
  bool bare = order->flags & flag_bare;
  for (size_t i = 0; !bare && i < slots && i < order->count; i++) {
    size_t sender = is_ping() ? 0 : i;
    if (!matches(in.memory + i * order->size, order->size, sender + 1)) return false;
  }
  return true;
}

static void serve(void) {
  struct order order;
  for (;;) {
    hear(connection, &order, sizeof order, NULL);
    if (order.command == command_end) return;
    spec = &options.specs[order.spec];
    drain_socket();
    use_variant(&order);
    bool verify = order.flags & order_verify;
    if (verify) memset(in.memory, 0, slots_for(order.size) * order.size);
    tell(connection, &order, sizeof order);  // ready
    double cpu = cpu_seconds();
    bool good = is_ping() ? ping(&order, false) : serve_stream(&order);
    struct answer answer = {.failed = !good, .cpu = cpu_seconds() - cpu};
    if (good && verify && !verified(&order)) die("wrong content of %zu bytes", (size_t)order.size);
    tell(connection, &answer, sizeof answer);
  }
}

static struct outcome request(const struct variant *variant, size_t size, uint64_t count, bool verify) {
  struct order order = {.command = command_run, .spec = (uint64_t)(spec - options.specs), .size = size, .count = count,
                        .flags = variant->flags | (verify ? order_verify : 0)};
  drain_socket();
  use_variant(&order);
  tell(connection, &order, sizeof order);
  hear(connection, &order, sizeof order, NULL);
  double cpu = cpu_seconds(), begin = seconds();
  bool good = is_ping() ? ping(&order, true) : drive_stream(&order);
  struct outcome outcome = {.elapsed = seconds() - begin, .cpu = cpu_seconds() - cpu};
  struct answer answer;
  hear(connection, &answer, sizeof answer, NULL);
  outcome.good = good && !answer.failed;
  outcome.cpu += answer.cpu;
  return outcome;
}

static void report(const struct variant *variant, size_t size, uint64_t count, const struct outcome *outcome) {
  double bytes = (double)count * (double)size;
  result_begin((size_t)(spec - options.specs), size, variant->name);
  if (is_ping()) {
    result_value("mean_us", outcome->elapsed / (double)count / 2 * 1e6);
  } else {
    if (options.blocking) {
      result_value("cpu_s_per_gb", outcome->cpu / bytes * 1e9);
      result_value("cpu_s_per_million", outcome->cpu / (double)count * 1e6);
    }
    result_value("rate", (double)count / outcome->elapsed);
    result_value("bandwidth", bytes / outcome->elapsed);
  }
  result_end();
}

static void measure(const struct variant *variant, size_t size) {
  uint64_t count = is_ping() ? 16 : slots_for(size);
  for (size_t i = 0; i < slots_for(size); i++) fill(source + i * size, size, i + 1);
  struct outcome outcome = request(variant, size, count, true);
  while (outcome.good && outcome.elapsed < options.seconds / 8) {
    double wanted = (double)count / outcome.elapsed * options.seconds / 4;
    count = wanted > 16.0 * (double)count ? 16 * count : wanted > 2.0 * (double)count ? (uint64_t)wanted : 2 * count;
    outcome = request(variant, size, count, false);
  }
  if (outcome.good) {
    count = (uint64_t)((double)count / outcome.elapsed * options.seconds) + 1;
    outcome = request(variant, size, count, false);
  }
  if (outcome.good) {
    report(variant, size, count, &outcome);
  } else {
    fprintf(stderr, "%s, %zu bytes, %s: a datagram was lost\n", spec->name, size, variant->name);
  }
}

static void drive(void) {
  for (size_t i = 0; i < options.spec_count; i++) {
    spec = &options.specs[i];
    if (!is_ping() && strcmp(spec->name, "stream") != 0) die("no test %s", spec->name);
    const struct variant *variants = is_ping() ? ping_variants : stream_variants;
    size_t count = is_ping() ? sizeof ping_variants / sizeof *variants : sizeof stream_variants / sizeof *variants;
    for (size_t s = 0; s < spec->size_count; s++) {
      for (size_t v = 0; v < count; v++) {
        if (applies(&variants[v], spec->sizes[s])) measure(&variants[v], spec->sizes[s]);
      }
    }
  }
  tell(connection, &(struct order){.command = command_end}, sizeof(struct order));
}

int main(int argc, char **argv) {
  parse_options(argc, argv, &options);
  pin_to_cpu(options.cpu);
  size_t bytes = options.footprint;
  for (size_t i = 0; i < options.spec_count; i++) {
    spec = &options.specs[i];
    for (size_t s = 0; s < spec->size_count; s++) {
      size_t needed = slots_for(spec->sizes[s]) * spec->sizes[s];
      if (needed > bytes) bytes = needed;
    }
  }
  source = allocate(bytes);
  in.memory = allocate(bytes);
  for (int i = 0; i < burst; i++) in.staging[i] = allocate(65536);
  connection = meet(&options);
  open_sockets();
  if (options.peer) {
    drive();
  } else {
    serve();
  }
  return 0;
}
