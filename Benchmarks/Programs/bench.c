#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fflush(stdout);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

// ---- options ------------------------------------------------------------------------------------------------------

static const char usage[] =
    "usage: PROGRAM [-s SERVER -P PORT] [options] TEST...   without -s: the server, which prints its port\n"
    "  TEST is NAME:SIZE,SIZE,...[:tagged][:inject][:window=N]; the window is 64 where it is not given\n"
    "  -p PROVIDER   -a OWN_ADDRESS   -c CPU   -d SECONDS per measurement   -f FOOTPRINT in bytes (16 MiB)\n"
    "  -e rdm, msg or dgram: the type of endpoint   -k completions from counters   -b blocking waits\n"
    "  -g SEGMENT in bytes   -F datagrams larger than a segment too   -n only probe";

static size_t parse_size(const char *text, char **end) {
  errno = 0;
  unsigned long long value = strtoull(text, end, 10);
  if (errno || *end == text) die("not a number: %s\n%s", text, usage);
  return (size_t)value;
}

static size_t parse_one_size(const char *text) {
  char *end;
  size_t value = parse_size(text, &end);
  if (*end) die("not a number: %s\n%s", text, usage);
  return value;
}

static void parse_sizes(const char *text, struct spec *spec) {
  for (;;) {
    char *end;
    if (spec->size_count == list_max) die("too many sizes\n%s", usage);
    spec->sizes[spec->size_count++] = parse_size(text, &end);
    if (!*end) return;
    if (*end != ',') die("not a list of sizes: %s\n%s", text, usage);
    text = end + 1;
  }
}

static void parse_spec(char *text, struct spec *spec) {
  *spec = (struct spec){.window = 64};
  spec->name = strtok(text, ":");
  const char *sizes = strtok(NULL, ":");
  if (!spec->name || !sizes) die("not a test: %s\n%s", text, usage);
  parse_sizes(sizes, spec);
  for (const char *option; (option = strtok(NULL, ":"));) {
    if (strcmp(option, "tagged") == 0) {
      spec->tagged = true;
    } else if (strcmp(option, "inject") == 0) {
      spec->inject = true;
    } else if (strncmp(option, "window=", 7) == 0) {
      spec->window = parse_one_size(option + 7);
    } else {
      die("no option %s\n%s", option, usage);
    }
  }
  if (!spec->window) die("%s", usage);
}

void parse_options(int argc, char **argv, struct options *options) {
  *options = (struct options){
      .endpoint = "rdm", .address = "127.0.0.1", .cpu = -1, .seconds = 0.2, .footprint = 16 << 20, .segment = 1472};
  int option;
  while ((option = getopt(argc, argv, "p:e:a:s:P:c:d:f:g:bkFn")) != -1) {
    switch (option) {
      case 'p': options->provider = optarg; break;
      case 'e': options->endpoint = optarg; break;
      case 'a': options->address = optarg; break;
      case 's': options->peer = optarg; break;
      case 'P': options->port = (int)parse_one_size(optarg); break;
      case 'c': options->cpu = (int)parse_one_size(optarg); break;
      case 'd': options->seconds = strtod(optarg, NULL); break;
      case 'f': options->footprint = parse_one_size(optarg); break;
      case 'g': options->segment = parse_one_size(optarg); break;
      case 'b': options->blocking = true; break;
      case 'k': options->counters = true; break;
      case 'F': options->fragment = true; break;
      case 'n': options->probe = true; break;
      default: die("%s", usage);
    }
  }
  for (; optind < argc; optind++) {
    if (options->spec_count == list_max) die("too many tests\n%s", usage);
    parse_spec(argv[optind], &options->specs[options->spec_count++]);
  }
  if (!(options->seconds > 0) || (!options->spec_count && !options->probe)) die("%s", usage);
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody reads what we would print
}

void pin_to_cpu(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set)) die("sched_setaffinity to CPU %d: %s", cpu, strerror(errno));
}

// ---- time and cost ------------------------------------------------------------------------------------------------

double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double of_timeval(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec * 1e-6; }

double cpu_seconds(void) {
  struct rusage usage_of_us;
  getrusage(RUSAGE_SELF, &usage_of_us);
  return of_timeval(usage_of_us.ru_utime) + of_timeval(usage_of_us.ru_stime);
}

// ---- data ---------------------------------------------------------------------------------------------------------

void *allocate(size_t length) {
  void *memory = NULL;
  if (posix_memalign(&memory, 4096, length ? length : 1)) die("no memory for %zu bytes", length);
  memset(memory, 0, length);
  return memory;
}

static uint64_t mix(uint64_t value) {
  value ^= value >> 31;
  value *= 0x9e3779b97f4a7c15u;
  return value ^ (value >> 29);
}

void fill(void *buffer, size_t length, uint64_t seed) {
  unsigned char *bytes = buffer;
  for (size_t position = 0; position < length; position += 8) {
    uint64_t word = mix(position / 8 + (seed << 40) + 1);
    memcpy(bytes + position, &word, length - position < 8 ? length - position : 8);
  }
}

bool matches(const void *buffer, size_t length, uint64_t seed) {
  const unsigned char *bytes = buffer;
  for (size_t position = 0; position < length; position += 8) {
    uint64_t word = mix(position / 8 + (seed << 40) + 1);
    if (memcmp(bytes + position, &word, length - position < 8 ? length - position : 8) != 0) return false;
  }
  return true;
}

size_t window_for(size_t window, size_t footprint, size_t size) {
  size_t fit = footprint / (size ? size : 1);
  if (fit < 2) fit = 2;
  return window < fit ? window : fit;
}

// ---- statistics ---------------------------------------------------------------------------------------------------

enum { samples_max = 1 << 20 };

void samples_clear(struct samples *samples) {
  if (!samples->values) {
    samples->capacity = samples_max;
    samples->values = allocate(samples->capacity * sizeof *samples->values);
  }
  samples->count = 0;
}

void samples_add(struct samples *samples, double value) {
  if (samples->count < samples->capacity) samples->values[samples->count++] = value;
}

static int compare(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

double samples_quantile(struct samples *samples, double quantile) {
  if (!samples->count) return NAN;
  qsort(samples->values, samples->count, sizeof *samples->values, compare);
  double rank = ceil(quantile * (double)samples->count);
  size_t index = rank < 1 ? 0 : (size_t)rank - 1;
  return samples->values[index < samples->count ? index : samples->count - 1];
}

// ---- results ------------------------------------------------------------------------------------------------------

void result_begin(size_t spec, size_t size, const char *variant) {
  printf("{\"test\": %zu, \"size\": %zu, \"variant\": \"%s\", \"values\": {", spec, size, variant);
}

static bool more_values;

void result_value(const char *name, double value) {
  if (!isfinite(value)) return;
  printf("%s\"%s\": %.9g", more_values ? ", " : "", name, value);
  more_values = true;
}

void result_end(void) {
  puts("}}");
  fflush(stdout);
  more_values = false;
}

void result_failed(size_t spec, size_t size, const char *reason) {
  printf("{\"test\": %zu, \"size\": %zu, \"failed\": \"%s\"}\n", spec, size, reason);
  fflush(stdout);
}

// ---- agreement ----------------------------------------------------------------------------------------------------

static struct sockaddr_in address_of(const char *text, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, text, &address.sin_addr) != 1) die("not an IPv4 address: %s", text);
  return address;
}

static int accept_client(const struct options *options) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in own = address_of(options->address, 0);
  socklen_t length = sizeof own;
  if (listener < 0 || bind(listener, (struct sockaddr *)&own, sizeof own) || listen(listener, 1) ||
      getsockname(listener, (struct sockaddr *)&own, &length)) {
    die("listening on %s: %s", options->address, strerror(errno));
  }
  printf("listening %d\n", ntohs(own.sin_port));
  fflush(stdout);
  int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (connection < 0) die("accept: %s", strerror(errno));
  close(listener);
  return connection;
}

int meet(const struct options *options) {
  int connection;
  if (options->peer) {
    struct sockaddr_in server = address_of(options->peer, options->port);
    connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0 || connect(connection, (struct sockaddr *)&server, sizeof server)) {
      die("connecting to %s port %d: %s", options->peer, options->port, strerror(errno));
    }
  } else {
    connection = accept_client(options);
  }
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  return connection;
}

void tell(int connection, const void *data, size_t length) {
  const char *bytes = data;
  while (length) {
    ssize_t sent = send(connection, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EINTR) die("the other side is gone: %s", strerror(errno));
    if (sent <= 0) continue;
    bytes += sent;
    length -= (size_t)sent;
  }
}

bool has_news(int connection) {
  struct pollfd descriptor = {.fd = connection, .events = POLLIN};
  return poll(&descriptor, 1, 0) > 0;
}

void hear(int connection, void *data, size_t length, void (*progress)(void)) {
  char *bytes = data;
  while (length) {
    ssize_t got = recv(connection, bytes, length, progress ? MSG_DONTWAIT : 0);
    if (got == 0) die("the other side ended early");
    if (got < 0) {
      if (errno != EAGAIN && errno != EINTR) die("the other side is gone: %s", strerror(errno));
      if (progress) progress();
      continue;
    }
    bytes += got;
    length -= (size_t)got;
  }
}
