// What the tests of the benchmark share: the run in progress, and the parts of which they are made.
#ifndef FABRIC_BENCH_H
#define FABRIC_BENCH_H

#include "fabric.h"

enum { reply_size = 8 };

// A part of a test: what it does for `count` messages. When verifying, content is checked.
typedef void part(uint64_t count, bool verify);

// One way to use the endpoint. The server prepares, then both move messages of the size.
struct test {
  const char *name;
  part *prepare_server, *serve, *prepare_client, *drive;
  void (*report)(uint64_t count);
};

// What the run in progress is about.
struct run {
  const struct test *test;
  struct options options;
  const struct spec *spec;
  int connection;
  size_t size;
  size_t window;   // sends, writes or reads outstanding
  size_t depth;    // receives posted
  double elapsed;  // of the client's last run
  double cpu;      // of both processes
  double value;    // what the server measured
};

extern struct run run;
// Of single operations in the run.
extern struct samples durations;

static struct ring *const sends = &endpoint.sends;
static struct ring *const receives = &endpoint.receives;

// Gives each buffer of the ring the content by which its messages are known, and the order that this takes.
void fill_ring(struct ring *ring);
// Has the receiver check the content of what arrives, from so many buffers of the sender; or not.
void verify_receives(bool verify, size_t senders);
// Posts receives for the next of `count` messages, as many as there are buffers.
void fill_receives(uint64_t count);

void report_rate(uint64_t count);
void report_ping(uint64_t count);

// Reads and writes of the server's memory, and additions to it.
part prepare_rma_server, serve_rma, prepare_rma_client, drive_rma;
part prepare_add_server, serve_add, prepare_add_client, drive_add, drive_fetch_add;

// Datagrams that may be lost.
part prepare_datagrams_server, serve_datagrams, prepare_datagrams_client, drive_datagrams;
void report_datagrams(uint64_t count);

#endif
