// What splice(2) into a UDP socket takes: page counts (MAX_SKB_FRAGS), alignment, unconnected sockets, UDP_SEGMENT.
// Each line: what was spliced, what splice(2) answered, and how long the datagrams were that arrived.
#include "common.h"

static int pair[2], channel[2];
static char *source, *header;
static union address to;

static void reopen(bool connected, int segment) {
  static bool opened;
  union address self;
  if (opened) {
    for (int i = 0; i < 2; i++) {
      close(pair[i]);
      close(channel[i]);
    }
  }
  opened = true;
  pair[0] = udp_socket(false, AF_INET, &self);
  pair[1] = udp_socket(false, AF_INET, &to);
  set(pair[1], SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20);
  if (connected) check(connect(pair[0], &to.any, address_length(&to)), "connect");
  if (segment) set(pair[0], IPPROTO_UDP, UDP_SEGMENT, segment);
  check(pipe(channel), "pipe");
  check(fcntl(channel[1], F_SETPIPE_SZ, 1 << 20), "F_SETPIPE_SZ");
}

// `count` times a header and `length` bytes of payload, which begins `misalign` bytes into a page; `cork` sends the
// first header with MSG_MORE and the address instead.
static void attempt(const char *name, bool connected, bool cork, int segment, int count, long length, long misalign) {
  reopen(connected, segment);
  struct iovec pieces[128];
  int used = 0;
  long total = 0;
  for (int i = 0; i < count; i++) {
    if (!cork || i) pieces[used++] = (struct iovec){header, 40};
    pieces[used++] = (struct iovec){source + misalign + i * length, (size_t)length};
  }
  for (int i = 0; i < used; i++) total += (long)pieces[i].iov_len;
  if (cork) check(sendto(pair[0], header, 40, MSG_MORE, &to.any, address_length(&to)), "send(MSG_MORE)");
  long spliced = vmsplice(channel[1], pieces, (size_t)used, 0);
  printf("%-62s", name);
  if (spliced != total) {
    printf(" vmsplice took %ld of %ld\n", spliced, total);
    return;
  }
  long sent = splice(channel[0], NULL, pair[0], NULL, (size_t)total, 0);
  if (sent == total) printf(" all %6ld bytes;", sent);
  else printf(" %ld (%s);", sent, sent < 0 ? strerror(errno) : "short");
  static char bytes[65536];
  int datagrams = 0;
  long last = 0, n, verified = 0;
  while ((n = recv(pair[1], bytes, sizeof bytes, MSG_DONTWAIT)) >= 0) {
    datagrams++;
    last = n;
    if (memcmp(bytes + 40, source + misalign + verified, (size_t)n - 40) != 0) puts(" WRONG BYTES");
    verified += n - 40;
  }
  printf(" %d datagrams arrived, last of %ld bytes\n", datagrams, last);
}

int main(void) {
  source = memory(1 << 20, false);
  for (int i = 0; i < 1 << 20; i++) source[i] = (char)(i * 2654435761u >> 13);
  header = memory(4096, false);
  attempt("60 KiB aligned, header in the pipe: 16 pieces", true, false, 0, 1, 61440, 0);
  attempt("60 KiB unaligned: 17 pieces", true, false, 0, 1, 61440, 64);
  attempt("65,467 B aligned: 17 pieces", true, false, 0, 1, 65467, 0);
  attempt("65,467 B unaligned: 18 pieces", true, false, 0, 1, 65467, 4000);
  attempt("65,467 B unaligned, header by MSG_MORE: 17 pieces", true, true, 0, 1, 65467, 4000);
  attempt("60 KiB, unconnected socket, header in the pipe", false, false, 0, 1, 61440, 0);
  attempt("60 KiB, unconnected socket, header by MSG_MORE", false, true, 0, 1, 61440, 0);
  attempt("UDP_SEGMENT 1472, 4 segments", true, false, 1472, 4, 1432, 0);
  attempt("UDP_SEGMENT 1472, 6 segments", true, false, 1472, 6, 1432, 0);
  attempt("UDP_SEGMENT 1472, 7 segments", true, false, 1472, 7, 1432, 0);
  attempt("UDP_SEGMENT 1472, 8 segments", true, false, 1472, 8, 1432, 0);
  attempt("UDP_SEGMENT 1472, 44 segments", true, false, 1472, 44, 1432, 0);
  attempt("UDP_SEGMENT 8972, 3 segments", true, false, 8972, 3, 8932, 0);
  attempt("UDP_SEGMENT 8972, 4 segments", true, false, 8972, 4, 8932, 0);
  attempt("UDP_SEGMENT 8972, 5 segments", true, false, 8972, 5, 8932, 0);
  attempt("UDP_SEGMENT 8232, 4 segments of 2 whole pages", true, false, 8232, 4, 8192, 0);
  attempt("UDP_SEGMENT 8232, 5 segments of 2 whole pages", true, false, 8232, 5, 8192, 0);
  attempt("UDP_SEGMENT 8232, 6 segments of 2 whole pages", true, false, 8232, 6, 8192, 0);
}
