// A stream of datagrams, some of which may be lost: what counts is how many a second arrive. The two sides keep in step
// by their connection alone, and receives stay posted from one run to the next.
#include "fabric_bench.h"

enum { content = 1, datagram_max = 2048 };

// Nothing more arrives when nothing has for so long after the last one was sent.
static const double silence_seconds = 0.002;

static void verify_datagram(struct operation *operation) {
  if (!matches(operation->buffer, run.size, content)) die("a datagram of %zu bytes has wrong content", run.size);
}

void prepare_datagrams_server(uint64_t count, bool verify) {
  (void)count;
  if (receives->size != datagram_max) ring_arrange(receives, run.depth, datagram_max);
  endpoint.received = verify ? verify_datagram : NULL;
  fill_receives(UINT64_MAX);
}

void serve_datagrams(uint64_t count, bool verify) {
  (void)count, (void)verify;
  uint64_t sent, before = receives->completed;
  bool is_sent = false;
  double first = 0, last = 0, heard = 0;
  do {
    uint64_t seen = receives->completed;
    wait_briefly();
    double now = seconds();
    if (receives->completed != seen) {
      last = now;
      if (!first) first = now;
      fill_receives(UINT64_MAX);
    } else if (!is_sent && has_news(run.connection)) {
      hear(run.connection, &sent, sizeof sent, NULL);
      is_sent = true;
      heard = now;
    }
  } while (!is_sent || seconds() < (last > heard ? last : heard) + silence_seconds);
  uint64_t arrived = receives->completed - before;
  if (!arrived) die("none of %llu datagrams arrived", (unsigned long long)sent);
  run.value = last > first ? (double)arrived / (last - first) : 0;
}

void prepare_datagrams_client(uint64_t count, bool verify) {
  (void)count, (void)verify;
  ring_arrange(sends, run.window, run.size);
  for (size_t i = 0; i < sends->count; i++) fill(sends->data + i * run.size, run.size, content);
}

void drive_datagrams(uint64_t count, bool verify) {
  (void)verify;
  for (uint64_t i = 0; i < count; i++) post_send(run.size);
  wait_for_sends();
  tell(run.connection, &count, sizeof count);
}

void report_datagrams(uint64_t count) {
  (void)count;
  result_value("rate", run.value);
  result_value("bandwidth", run.value * (double)run.size);
}
