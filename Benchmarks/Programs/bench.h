// What the benchmark programs share: options, time, patterns of data, statistics, and the connection on which server
// and client agree on what to run next. Nothing here touches libfabric.
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { list_max = 32 };

// One test and how to run it: NAME:SIZE,SIZE,...[:tagged][:inject][:window=N] on the command line.
struct spec {
  char *name;
  size_t sizes[list_max];
  size_t size_count;
  size_t window;  // operations outstanding
  bool tagged;
  bool inject;    // fi_inject, where the size allows
};

// The command line; both programs understand all of it and use what concerns them.
struct options {
  const char *provider;  // -p: name for fi_getinfo
  const char *endpoint;  // -e: rdm, msg or dgram
  const char *address;   // -a: our own address
  const char *peer;      // -s: where the server is; NULL: we are the server
  int port;              // -P: the server's TCP port (client)
  int cpu;               // -c: the CPU to run on; -1: any
  double seconds;        // -d: how long one measurement should take
  size_t footprint;      // -f: bytes of buffers at one side that a window may not exceed
  size_t segment;        // -g: payload of one UDP segment (udp_limit)
  bool blocking;         // -b: sleep in fi_cq_sread or poll instead of polling
  bool counters;         // -k: learn of completions from counters, not from a queue
  bool fragment;         // -F: also datagrams beyond the MTU (udp_limit)
  bool probe;            // -n: only say what the library offers
  struct spec specs[list_max];
  size_t spec_count;
};

// Parses the command line; prints the usage and ends the process when it is wrong.
void parse_options(int argc, char **argv, struct options *options);

// Prints the reason and ends the process.
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

void pin_to_cpu(int cpu);

// ---- time and cost ------------------------------------------------------------------------------------------------

// Monotonic seconds.
double seconds(void);
// User and system time of this process so far, seconds.
double cpu_seconds(void);

// ---- data ---------------------------------------------------------------------------------------------------------

void *allocate(size_t length);
// Fills with a pattern that depends on position and seed.
void fill(void *buffer, size_t length, uint64_t seed);
bool matches(const void *buffer, size_t length, uint64_t seed);

// How many buffers of `size` are in use at one side: the window, less where the footprint would be exceeded, but enough
// to overlap two.
size_t window_for(size_t window, size_t footprint, size_t size);

// ---- statistics ---------------------------------------------------------------------------------------------------

// Durations of single operations, seconds.
struct samples {
  double *values;
  size_t count;
  size_t capacity;
};

void samples_clear(struct samples *samples);
// Drops what does not fit.
void samples_add(struct samples *samples, double value);
// Sorts, then answers the quantile; 1 is the largest value. NaN without samples.
double samples_quantile(struct samples *samples, double quantile);

// ---- results ------------------------------------------------------------------------------------------------------

// One line of JSON on standard output: which test of the command line, which size, then name-value pairs in any number.
void result_begin(size_t spec, size_t size, const char *variant);
void result_value(const char *name, double value);
void result_end(void);
// A line that says why there is no result.
void result_failed(size_t spec, size_t size, const char *reason);

// ---- agreement ----------------------------------------------------------------------------------------------------

// What the client asks of the server next.
enum command { command_end, command_size, command_run };
struct order {
  uint64_t command;
  uint64_t spec;
  uint64_t size;
  uint64_t count;
  uint64_t flags;
};
enum { order_verify = 1 };

// What the server answers when it is done.
struct answer {
  uint64_t failed;
  double cpu;
  double value;
};

// The server listens, prints `listening PORT` and waits for its client; the client connects. Returns the connection.
int meet(const struct options *options);
// Sends and receives whole buffers. While waiting, `progress` is called again and again; NULL: sleep.
void tell(int connection, const void *data, size_t length);
void hear(int connection, void *data, size_t length, void (*progress)(void));
// Whether something has arrived.
bool has_news(int connection);

#endif
