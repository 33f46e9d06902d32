#include "fixture.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>

// ---- registration and outcome -------------------------------------------------------------------------------------

enum { maximum_cases = 256, exit_unsupported = 77, exit_environment = 78, exit_inapplicable = 79 };

static struct {
  const char *name;
  void (*body)(void);
} cases[maximum_cases];
static size_t case_count;
static int special_exit;

void register_case(const char *name, void (*body)(void)) {
  if (case_count == maximum_cases) abort();
  cases[case_count].name = name;
  cases[case_count++].body = body;
}

static void run_case(void **state) {
  void (*body)(void) = (void (*)(void))*state;
  body();
}

static int run_named(const char *name) {
  for (size_t i = 0; i < case_count; i++) {
    if (strcmp(cases[i].name, name) != 0) continue;
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest test = {cases[i].name, run_case, NULL, NULL, (void *)cases[i].body};
    int failures = _cmocka_run_group_tests(cases[i].name, &test, 1, NULL, NULL);
    return failures ? 1 : special_exit;
  }
  fprintf(stderr, "no case %s\n", name);
  return 2;
}

// Waits for the process; after `limit` seconds it and all that it started are killed, and 124 is its status.
static int status_within(pid_t process, double limit) {
  sigset_t child_ended;
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  double deadline = seconds() + limit;
  for (;;) {
    int status;
    if (waitpid(process, &status, WNOHANG) == process) {
      kill(-process, SIGKILL);  // what it left behind
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    double left = deadline - seconds();
    if (left <= 0) {
      kill(-process, SIGKILL);
      waitpid(process, &status, 0);
      return 124;
    }
    struct timespec pause = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
    (void)sigtimedwait(&child_ended, NULL, &pause);
  }
}

// Runs one case in a forked process, and prints "@@ name status seconds bytes", then that many bytes of its output.
static void report_case(const char *name, double limit) {
  int output = memfd_create("output", 0);
  double begin = seconds();
  pid_t process = output < 0 ? -1 : fork();
  if (process == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    int status = run_named(name);
    if (getenv("CONFORMANCE_QUICK_EXIT")) {
      fflush(NULL);
      _exit(status);
    }
    exit(status);
  }
  int status = process < 0 ? 126 : status_within(process, limit);
  static char text[65536];
  ssize_t length = output < 0 ? 0 : pread(output, text, sizeof text, 0);
  if (length < 0) length = 0;
  if (output >= 0) close(output);
  printf("@@ %s %d %.3f %zd\n", name, status, seconds() - begin, length);
  fwrite(text, 1, (size_t)length, stdout);
  fflush(stdout);
}

int conformance_main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (size_t i = 0; i < case_count; i++) puts(cases[i].name);
    return 0;
  }
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    uint32_t version = fi_version();
    printf("%u.%u\n", FI_MAJOR(version), FI_MINOR(version));
    return 0;
  }
  if (argc >= 3 && strcmp(argv[1], "--each") == 0) {
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_ended, NULL);
    if (getenv("CONFORMANCE_WARM")) {  // a library that takes long to initialize does it once, not in every process
      struct fi_info *info = NULL;
      if (fi_getinfo(DEFAULT_VERSION, NULL, NULL, FI_PROV_ATTR_ONLY, NULL, &info) == 0) fi_freeinfo(info);
    }
    for (int i = 3; i < argc; i++) report_case(argv[i], atof(argv[2]));
    return 0;
  }
  if (argc == 2) return run_named(argv[1]);
  fprintf(stderr, "usage: %s CASE | --list | --version | --each SECONDS CASE...\n", argv[0]);
  return 2;
}

static _Noreturn void skip_with(int code, const char *word, const char *format, va_list arguments) {
  char text[512];
  vsnprintf(text, sizeof text, format, arguments);
  printf("%s: %s\n", word, text);
  special_exit = code;
  skip();
  abort();
}

void unsupported(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  skip_with(exit_unsupported, "unsupported", format, arguments);
}

void inapplicable(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  skip_with(exit_inapplicable, "not applicable", format, arguments);
}

void environment_lacks(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  skip_with(exit_environment, "environment", format, arguments);
}

void fail_at(const char *file, int line, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char text[512];
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  print_error("%s\n", text);
  _fail(file, line);
  abort();
}

static const char *code_name(long code) {
  static char text[2][64];
  static int turn;
  turn = !turn;
  if (code >= 0) {
    snprintf(text[turn], sizeof text[turn], "%ld", code);
  } else {
    snprintf(text[turn], sizeof text[turn], "%ld (%s)", code, fi_strerror((int)-code));
  }
  return text[turn];
}

void check_returns(long actual, long expected, const char *call, const char *file, int line) {
  if (actual == expected) return;
  fail_at(file, line, "%s returned %s, expected %s", call, code_name(actual), code_name(expected));
}

void check_fails(long actual, const char *call, const char *file, int line) {
  if (actual < 0) return;
  fail_at(file, line, "%s returned %s, expected an error", call, code_name(actual));
}

void check_offered(long actual, const char *call, const char *file, int line) {
  if (actual == -FI_ENOSYS || actual == -FI_EOPNOTSUPP) unsupported("%s returned %s", call, code_name(actual));
  check_returns(actual, 0, call, file, line);
}

// ---- time ---------------------------------------------------------------------------------------------------------

double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double time_factor(void) {
  const char *text = getenv("CONFORMANCE_TIME_FACTOR");
  double factor = text ? atof(text) : 1;
  return factor > 0 ? factor : 1;
}

double deadline_after(double seconds_from_now) { return seconds() + seconds_from_now * time_factor(); }

double default_wait(void) {
  const char *text = getenv("CONFORMANCE_WAIT");
  double wait = text ? atof(text) : 5;
  return wait > 0 ? wait : 5;
}

void sleep_ms(int milliseconds) {
  struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  nanosleep(&pause, NULL);
}

// ---- data ---------------------------------------------------------------------------------------------------------

static inline uint64_t pattern_word(uint64_t index, uint64_t seed) {
  uint64_t x = (index + 1) * 0x9e3779b97f4a7c15u ^ (seed + 1) * 0xc2b2ae3d27d4eb4fu;
  return x ^ x >> 29;
}

void fill(void *buffer, size_t length, uint64_t seed) {
  unsigned char *bytes = buffer;
  size_t words = length / 8;
  for (size_t i = 0; i < words; i++) {
    uint64_t word = pattern_word(i, seed);
    memcpy(bytes + i * 8, &word, 8);
  }
  uint64_t word = pattern_word(words, seed);
  memcpy(bytes + words * 8, &word, length % 8);
}

static size_t first_difference(const void *buffer, size_t length, uint64_t seed) {
  const unsigned char *bytes = buffer;
  for (size_t i = 0; i < length; i += 8) {
    uint64_t word = pattern_word(i / 8, seed);
    size_t count = length - i < 8 ? length - i : 8;
    if (memcmp(bytes + i, &word, count) == 0) continue;
    for (size_t j = 0; j < count; j++) {
      if (bytes[i + j] != ((unsigned char *)&word)[j]) return i + j;
    }
  }
  return length;
}

bool matches(const void *buffer, size_t length, uint64_t seed) {
  return first_difference(buffer, length, seed) == length;
}

void verify_at(const char *file, int line, const void *buffer, size_t length, uint64_t seed) {
  size_t place = first_difference(buffer, length, seed);
  if (place == length) return;
  fail_at(file, line, "byte %zu of %zu is 0x%02x, not the pattern %" PRIu64, place, length,
          ((const unsigned char *)buffer)[place], seed);
}

void verify_bytes_at(const char *file, int line, const void *buffer, size_t length, int byte) {
  const unsigned char *bytes = buffer;
  for (size_t i = 0; i < length; i++) {
    if (bytes[i] != byte) fail_at(file, line, "byte %zu of %zu is 0x%02x, not 0x%02x", i, length, bytes[i], byte);
  }
}

void *allocate(size_t length) {
  void *memory = NULL;
  if (posix_memalign(&memory, 64, length ? length : 1)) abort();
  memset(memory, 0, length ? length : 1);
  return memory;
}

// ---- fabric -------------------------------------------------------------------------------------------------------

const char *provider_name(void) {
  const char *name = getenv("CONFORMANCE_PROVIDER");
  if (!name || !*name) failed("CONFORMANCE_PROVIDER is not set");
  return name;
}

// Whether cases that leave the type open are run on connected endpoints.
static bool prefers_connections(void) {
  const char *type = getenv("CONFORMANCE_ENDPOINT");
  return type && strcmp(type, "msg") == 0;
}

struct fi_info *new_hints(void) {
  struct fi_info *hints = fi_allocinfo();
  assert_non_null(hints);
  hints->ep_attr->type = prefers_connections() ? FI_EP_MSG : FI_EP_RDM;
  hints->fabric_attr->prov_name = strdup(provider_name());
  return hints;
}

static void apply_key(const char *key, uint8_t **bytes, size_t *size) {
  if (!key) return;
  *size = strlen(key);
  *bytes = malloc(*size);
  memcpy(*bytes, key, *size);
}

static void apply_setup(struct fi_info *hints, const struct setup *setup) {
  hints->caps = setup->caps ? setup->caps : FI_MSG | FI_TAGGED | FI_RMA;
  if (setup->ep_type) hints->ep_attr->type = setup->ep_type;
  hints->domain_attr->mr_mode = setup->mr_mode;
  hints->domain_attr->data_progress = setup->progress;
  hints->domain_attr->threading = setup->threading;
  hints->domain_attr->av_type = setup->av_type;
  hints->tx_attr->op_flags = setup->tx_op_flags;
  hints->rx_attr->op_flags = setup->rx_op_flags;
  hints->tx_attr->size = setup->tx_size;
  hints->rx_attr->size = setup->rx_size;
  hints->tx_attr->msg_order = setup->msg_order;
  hints->rx_attr->msg_order = setup->msg_order;
  hints->tx_attr->iov_limit = setup->iov_limit;
  hints->rx_attr->iov_limit = setup->iov_limit;
  apply_key(setup->domain_key, &hints->domain_attr->auth_key, &hints->domain_attr->auth_key_size);
  apply_key(setup->endpoint_key, &hints->ep_attr->auth_key, &hints->ep_attr->auth_key_size);
}

struct fi_info *find_info(const struct setup *setup) {
  struct fi_info *hints = new_hints();
  apply_setup(hints, setup);
  struct fi_info *info = NULL;
  uint32_t version = setup->version ? setup->version : DEFAULT_VERSION;
  const char *node = setup->node ? setup->node : "127.0.0.1";
  int result = fi_getinfo(version, node, setup->service, FI_SOURCE, hints, &info);
  fi_freeinfo(hints);
  if (result == -FI_ENODATA) unsupported("fi_getinfo offers no such endpoint");
  if (result == -FI_ENOSYS && FI_VERSION_LT(fi_version(), version)) unsupported("libfabric is older than that");
  assert_success(result);
  assert_non_null(info);
  return info;
}

void node_open_domain(struct node *node, const struct setup *setup) {
  static const struct setup defaults;
  memset(node, 0, sizeof *node);
  node->info = find_info(setup ? setup : &defaults);
  assert_success(fi_fabric(node->info->fabric_attr, &node->fabric, NULL));
  assert_success(fi_domain(node->fabric, node->info, &node->domain, NULL));
}

struct fid_cq *cq_open(struct node *node, enum fi_cq_format format, enum fi_wait_obj wait, size_t size) {
  struct fi_cq_attr attributes = {.format = format, .wait_obj = wait, .size = size};
  struct fid_cq *cq = NULL;
  assert_offered(fi_cq_open(node->domain, &attributes, &cq, NULL));
  assert_non_null(cq);
  return cq;
}

struct fid_av *av_open(struct node *node, enum fi_av_type type) {
  struct fi_av_attr attributes = {.type = type, .count = 16};
  struct fid_av *av = NULL;
  assert_success(fi_av_open(node->domain, &attributes, &av, NULL));
  assert_non_null(av);
  return av;
}

struct fid_eq *event_queue_open(struct node *node, enum fi_wait_obj wait) {
  struct fi_eq_attr attributes = {.wait_obj = wait};
  struct fid_eq *eq = NULL;
  assert_offered(fi_eq_open(node->fabric, &attributes, &eq, NULL));
  assert_non_null(eq);
  watch_eq(eq);
  return eq;
}

static void open_endpoint(struct node *node, const struct setup *setup) {
  bool connects = node->info->ep_attr->type == FI_EP_MSG;
  if (!connects) node->av = av_open(node, setup->av_type);
  if (connects && !node->eq) node->eq = event_queue_open(node, FI_WAIT_UNSPEC);
  struct fi_cq_attr attributes = {
      .format = setup->cq_format ? setup->cq_format : FI_CQ_FORMAT_TAGGED,
      .wait_obj = setup->wait_obj,
      .wait_cond = setup->wait_cond,
      .size = setup->cq_size ? setup->cq_size : 1024,
  };
  struct fi_cq_attr again = attributes;
  assert_offered(fi_cq_open(node->domain, &attributes, &node->tx_cq, &node->tx_cq));
  assert_offered(fi_cq_open(node->domain, &again, &node->rx_cq, &node->rx_cq));
  assert_success(fi_endpoint(node->domain, node->info, &node->ep, node));
  assert_success(fi_ep_bind(node->ep, connects ? &node->eq->fid : &node->av->fid, 0));
  if (!setup->no_queues) {
    assert_success(fi_ep_bind(node->ep, &node->tx_cq->fid, FI_TRANSMIT | setup->tx_bind_flags));
    assert_success(fi_ep_bind(node->ep, &node->rx_cq->fid, FI_RECV | setup->rx_bind_flags));
  }
  if (setup->before_enable) setup->before_enable(node);
  int enabled = fi_enable(node->ep);
  if (setup->no_queues && enabled == -FI_ENOCQ) unsupported("an endpoint needs completion queues");
  assert_success(enabled);
  node->address_length = sizeof node->address;
  assert_success(fi_getname(&node->ep->fid, node->address, &node->address_length));
  watch_cq(node->tx_cq);
  watch_cq(node->rx_cq);
}

void node_open(struct node *node, const struct setup *setup) {
  static const struct setup defaults;
  node_open_domain(node, setup);
  open_endpoint(node, setup ? setup : &defaults);
}

void node_open_beside(struct node *node, const struct node *host, const struct setup *setup) {
  static const struct setup defaults;
  memset(node, 0, sizeof *node);
  node->info = fi_dupinfo(host->info);
  node->fabric = host->fabric;
  node->domain = host->domain;
  node->borrowed = true;
  open_endpoint(node, setup ? setup : &defaults);
}

void node_close(struct node *node) {
  if (node->ep) close_fid(node->ep);
  if (node->pep) close_fid(node->pep);
  if (node->eq) {
    unwatch_eq(node->eq);
    close_fid(node->eq);
  }
  struct fid_cq *queues[] = {node->tx_cq, node->rx_cq};
  for (int i = 0; i < 2; i++) {
    if (!queues[i]) continue;
    unwatch_cq(queues[i]);
    close_fid(queues[i]);
  }
  if (node->av) close_fid(node->av);
  if (!node->borrowed && node->domain) close_fid(node->domain);
  if (!node->borrowed && node->fabric) close_fid(node->fabric);
  fi_freeinfo(node->info);
  memset(node, 0, sizeof *node);
}

fi_addr_t node_insert(struct node *node, const void *address) {
  needs_addresses(node);
  fi_addr_t result = FI_ADDR_UNSPEC;
  assert_returns(fi_av_insert(node->av, address, 1, &result, 0, NULL), 1);
  return result;
}

// ---- connections --------------------------------------------------------------------------------------------------

void node_open_endpoint(struct node *node, const struct setup *setup) {
  static const struct setup defaults;
  open_endpoint(node, setup ? setup : &defaults);
}

void node_listen(struct node *node) {
  if (!node->eq) node->eq = event_queue_open(node, FI_WAIT_UNSPEC);
  assert_offered(fi_passive_ep(node->fabric, node->info, &node->pep, node));
  assert_success(fi_pep_bind(node->pep, &node->eq->fid, 0));
  assert_offered(fi_listen(node->pep));
  node->address_length = sizeof node->address;
  assert_success(fi_getname(&node->pep->fid, node->address, &node->address_length));
}

// Reads an event, or an error entry (-FI_EAVAIL), within the time.
static ssize_t next_event(struct node *node, struct connection_event *event, double wait) {
  struct {
    struct fi_eq_cm_entry entry;
    uint8_t data[maximum_data];
  } read;
  double deadline = deadline_after(wait);
  for (;;) {
    ssize_t length = fi_eq_read(node->eq, &event->event, &read, sizeof read, 0);
    if (length >= 0) {
      event->entry = read.entry;
      event->data_length = (size_t)length > sizeof read.entry ? (size_t)length - sizeof read.entry : 0;
      memcpy(event->data, read.data, event->data_length);
    }
    if (length != -FI_EAGAIN || seconds() > deadline) return length;
    drive_progress();
  }
}

void wait_event_at(const char *file, int line, struct node *node, uint32_t kind, struct connection_event *event,
                   double wait) {
  ssize_t length = next_event(node, event, wait);
  if (length == -FI_EAVAIL) {
    struct fi_eq_err_entry error = {0};
    (void)fi_eq_readerr(node->eq, &error, 0);
    fail_at(file, line, "error entry: err %d (%s), prov_errno %d", error.err, fi_strerror(error.err), error.prov_errno);
  }
  if (length < 0) fail_at(file, line, "no event %u within %.1f s: %s", kind, wait, code_name(length));
  if ((size_t)length < sizeof event->entry) fail_at(file, line, "an event of %zd bytes", length);
  if (event->event != kind) fail_at(file, line, "event %u, expected %u", event->event, kind);
}

void wait_event_error_at(const char *file, int line, struct node *node, struct fi_eq_err_entry *entry, double wait) {
  struct connection_event event = {0};
  ssize_t length = next_event(node, &event, wait);
  if (length >= 0) fail_at(file, line, "event %u, expected an error", event.event);
  if (length != -FI_EAVAIL) fail_at(file, line, "no error entry within %.1f s: %s", wait, code_name(length));
  check_returns(fi_eq_readerr(node->eq, entry, 0), sizeof *entry, "fi_eq_readerr", file, line);
}

void node_take_request(struct node *node, const struct connection_event *event) {
  fi_freeinfo(node->info);
  node->info = event->entry.info;
}

static void pair_connect(struct pair *pair, const struct setup *setup) {
  static const struct setup defaults;
  if (!setup) setup = &defaults;
  node_open_domain(&pair->b, setup);
  node_listen(&pair->b);
  if (setup->same_domain) {
    memset(&pair->a, 0, sizeof pair->a);
    pair->a.info = fi_dupinfo(pair->b.info);
    pair->a.fabric = pair->b.fabric;
    pair->a.domain = pair->b.domain;
    pair->a.borrowed = true;
  } else {
    node_open_domain(&pair->a, setup);
  }
  open_endpoint(&pair->a, setup);
  assert_success(fi_connect(pair->a.ep, pair->b.address, NULL, 0));
  struct connection_event event;
  wait_event(&pair->b, FI_CONNREQ, &event);
  node_take_request(&pair->b, &event);
  open_endpoint(&pair->b, setup);
  assert_success(fi_accept(pair->b.ep, NULL, 0));
  wait_event(&pair->b, FI_CONNECTED, &event);
  wait_event(&pair->a, FI_CONNECTED, &event);
  pair->to_a = pair->to_b = FI_ADDR_UNSPEC;
}

void pair_open(struct pair *pair, const struct setup *setup) {
  if (setup && setup->ep_type ? setup->ep_type == FI_EP_MSG : prefers_connections()) return pair_connect(pair, setup);
  node_open(&pair->a, setup);
  if (setup && setup->same_domain) {
    node_open_beside(&pair->b, &pair->a, setup);
  } else {
    node_open(&pair->b, setup);
  }
  pair->to_b = node_insert(&pair->a, pair->b.address);
  pair->to_a = node_insert(&pair->b, pair->a.address);
}

void pair_close(struct pair *pair) {
  struct node *last = pair->a.borrowed ? &pair->b : &pair->a;
  node_close(last == &pair->a ? &pair->b : &pair->a);
  node_close(last);
}

void needs_addresses(const struct node *node) {
  if (!node->av) inapplicable("connected endpoints have no address vector");
}

const uint64_t all_rights = FI_REMOTE_READ | FI_REMOTE_WRITE | FI_READ | FI_WRITE;

void region_over(struct region *region, struct node *node, void *memory, size_t length, uint64_t rights, uint64_t key,
                 uint64_t flags) {
  region->memory = memory;
  region->length = length;
  region->mr = NULL;
  int registered = fi_mr_reg(node->domain, memory, length, rights, 0, key, flags, &region->mr, NULL);
  if (flags) assert_offered(registered);
  assert_success(registered);
  int mode = node->info->domain_attr->mr_mode;
  if (mode != basic_memory && (mode & FI_MR_ENDPOINT)) {
    assert_success(fi_mr_bind(region->mr, &node->ep->fid, 0));
    assert_success(fi_mr_enable(region->mr));
  }
  region->key = fi_mr_key(region->mr);
  region->base = mode == basic_memory || (mode & FI_MR_VIRT_ADDR) ? (uintptr_t)memory : 0;
}

void region_open(struct region *region, struct node *node, size_t length, uint64_t rights, uint64_t key) {
  char *memory = allocate(length);
  memset(memory, 0xee, length);
  region_over(region, node, memory, length, rights, key, 0);
}

void region_close(struct region *region) {
  close_fid(region->mr);
  free(region->memory);
}

// ---- completions --------------------------------------------------------------------------------------------------

enum { maximum_watched = 32 };
static struct fid_cq *watched[maximum_watched];
static struct fid_eq *watched_events[maximum_watched];

void watch_eq(struct fid_eq *eq) {
  for (int i = 0; i < maximum_watched; i++) {
    if (watched_events[i]) continue;
    watched_events[i] = eq;
    return;
  }
  abort();
}

void unwatch_eq(struct fid_eq *eq) {
  for (int i = 0; i < maximum_watched; i++) {
    if (watched_events[i] == eq) watched_events[i] = NULL;
  }
}

void watch_cq(struct fid_cq *cq) {
  for (int i = 0; i < maximum_watched; i++) {
    if (watched[i]) continue;
    watched[i] = cq;
    return;
  }
  abort();
}

void unwatch_cq(struct fid_cq *cq) {
  for (int i = 0; i < maximum_watched; i++) {
    if (watched[i] == cq) watched[i] = NULL;
  }
}

// Drives what is behind an event queue; the event stays.
static void peek_event(struct fid_eq *eq) {
  uint32_t kind;
  struct fi_eq_cm_entry entry;
  (void)fi_eq_read(eq, &kind, &entry, sizeof entry, FI_PEEK);
}

void drive_progress(void) {
  for (int i = 0; i < maximum_watched; i++) {
    if (watched[i]) (void)fi_cq_read(watched[i], NULL, 0);
    if (watched_events[i]) peek_event(watched_events[i]);
  }
  sched_yield();  // more processes than processors: let the peer run
}

static void describe_error(const char *file, int line, struct fid_cq *cq) {
  struct fi_cq_err_entry error = {0};
  long got = (long)fi_cq_readerr(cq, &error, 0);
  fail_at(file, line, "error completion (read %ld): err %d (%s), prov_errno %d, flags 0x%" PRIx64 ", len %zu, olen %zu",
          got, error.err, fi_strerror(error.err), error.prov_errno, error.flags, error.len, error.olen);
}

void wait_completion_at(const char *file, int line, struct fid_cq *cq, struct fi_cq_tagged_entry *entry, double wait) {
  double deadline = deadline_after(wait);
  for (;;) {
    ssize_t count = fi_cq_read(cq, entry, 1);
    if (count == 1) return;
    if (count == -FI_EAVAIL) describe_error(file, line, cq);
    if (count != -FI_EAGAIN) fail_at(file, line, "fi_cq_read returned %s", code_name(count));
    if (seconds() > deadline) fail_at(file, line, "no completion within %.1f s", wait);
    drive_progress();
  }
}

void wait_for_at(const char *file, int line, struct fid_cq *cq, void *context) {
  struct fi_cq_tagged_entry entry = {0};
  wait_completion_at(file, line, cq, &entry, DEFAULT_WAIT);
  if (entry.op_context != context) {
    fail_at(file, line, "completion of context %p, expected %p (flags 0x%" PRIx64 ")", entry.op_context, context,
            entry.flags);
  }
}

void wait_for_all_at(const char *file, int line, struct fid_cq *cq, char *first, size_t count) {
  bool *seen = calloc(count, sizeof *seen);
  for (size_t i = 0; i < count; i++) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion_at(file, line, cq, &entry, DEFAULT_WAIT);
    ptrdiff_t index = (char *)entry.op_context - first;
    if (index < 0 || (size_t)index >= count) fail_at(file, line, "completion of a strange context");
    if (seen[index]) fail_at(file, line, "two completions of context %td", index);
    seen[index] = true;
  }
  free(seen);
}

void wait_error_at(const char *file, int line, struct fid_cq *cq, struct fi_cq_err_entry *entry, double wait) {
  double deadline = deadline_after(wait);
  memset(entry, 0, sizeof *entry);
  for (;;) {
    struct fi_cq_tagged_entry good = {0};
    ssize_t count = fi_cq_read(cq, &good, 1);
    if (count == 1) fail_at(file, line, "good completion (flags 0x%" PRIx64 "), expected an error", good.flags);
    if (count == -FI_EAVAIL) {
      check_returns(fi_cq_readerr(cq, entry, 0), 1, "fi_cq_readerr", file, line);
      return;
    }
    if (count != -FI_EAGAIN) fail_at(file, line, "fi_cq_read returned %s", code_name(count));
    if (seconds() > deadline) fail_at(file, line, "no error completion within %.1f s", wait);
    drive_progress();
  }
}

void expect_quiet_at(const char *file, int line, struct fid_cq *cq, int milliseconds) {
  double deadline = seconds() + milliseconds / 1000.0;
  do {
    struct fi_cq_tagged_entry entry = {0};
    ssize_t count = fi_cq_read(cq, &entry, 1);
    if (count == -FI_EAVAIL) describe_error(file, line, cq);
    if (count != -FI_EAGAIN) {
      fail_at(file, line, "fi_cq_read returned %s (flags 0x%" PRIx64 "), expected nothing", code_name(count),
              entry.flags);
    }
    drive_progress();
  } while (seconds() < deadline);
}

// ---- processes ----------------------------------------------------------------------------------------------------

struct board {
  _Atomic int arrived[TEAM_MAX];  // barriers reached by each member
  _Atomic bool gone[TEAM_MAX];
  pid_t processes[TEAM_MAX];
  _Alignas(8) char addresses[TEAM_MAX][128];
  _Atomic uint64_t words[TEAM_MAX][64];
};

_Atomic uint64_t *team_word(struct team *team, int rank, int index) { return &team->board->words[rank][index]; }
void *team_address(struct team *team, int rank) { return team->board->addresses[rank]; }
bool in_team(const struct team *team, int rank) { return !atomic_load(&team->board->gone[rank]); }

// A member that ended before its time would leave the others waiting: notice it.
static void check_members(struct team *team) {
  if (team->rank != 0) return;
  for (int rank = 1; rank < team->size; rank++) {
    int status;
    if (!in_team(team, rank) || waitpid(team->board->processes[rank], &status, WNOHANG) <= 0) continue;
    atomic_store(&team->board->gone[rank], true);
    if (WIFEXITED(status) && WEXITSTATUS(status) == exit_inapplicable) inapplicable("process %d says so", rank);
    if (status != 0) failed("process %d of the team ended early with status 0x%x", rank, status);
  }
}

void team_barrier(struct team *team) {
  int goal = atomic_fetch_add(&team->board->arrived[team->rank], 1) + 1;
  double deadline = deadline_after(2 * DEFAULT_WAIT);
  for (int rank = 0; rank < team->size; rank++) {
    while (in_team(team, rank) && atomic_load(&team->board->arrived[rank]) < goal) {
      drive_progress();
      check_members(team);
      if (seconds() > deadline) failed("process %d waited in vain for process %d", team->rank, rank);
    }
  }
}

void team_connect(struct team *team, struct node *node, fi_addr_t *peers) {
  memcpy(team_address(team, team->rank), node->address, sizeof node->address);
  team_barrier(team);
  for (int rank = 0; rank < team->size; rank++) {
    peers[rank] = FI_ADDR_UNSPEC;
    if (rank != team->rank) peers[rank] = node_insert(node, team_address(team, rank));
  }
  team_barrier(team);
}

void team_kill(struct team *team, int rank) {
  pid_t process = team->board->processes[rank];
  atomic_store(&team->board->gone[rank], true);
  assert_return_code(kill(process, SIGKILL), errno);
  int status;
  assert_int_equal(waitpid(process, &status, 0), process);
}

static int end_of(pid_t process, double wait) {
  double deadline = deadline_after(wait);
  for (;;) {
    int status;
    pid_t ended = waitpid(process, &status, WNOHANG);
    if (ended == process) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ended < 0) return 255;
    if (seconds() > deadline) {
      kill(process, SIGKILL);
      waitpid(process, &status, 0);
      return 124;
    }
    drive_progress();
    sleep_ms(1);
  }
}

void team_run(int size, void (*body)(struct team *team)) {
  struct team team = {.size = size};
  team.board = mmap(NULL, sizeof *team.board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(team.board != MAP_FAILED);
  fflush(NULL);
  for (int rank = 1; rank < size; rank++) {
    pid_t process = fork();
    assert_true(process >= 0);
    if (process == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      team.rank = rank;
      body(&team);  // a failed assertion leaves through cmocka and ends this process with status 1
      fflush(NULL);
      _exit(0);
    }
    team.board->processes[rank] = process;
  }
  body(&team);
  for (int rank = 1; rank < size; rank++) {
    if (!in_team(&team, rank)) continue;
    int status = end_of(team.board->processes[rank], 2 * DEFAULT_WAIT);
    if (status == exit_inapplicable) inapplicable("process %d says so", rank);
    if (status != 0) failed("process %d of the team ended with status %d", rank, status);
  }
  munmap(team.board, sizeof *team.board);
}

int run_in_child(int (*body)(void *argument), void *argument, double wait) {
  fflush(NULL);
  pid_t process = fork();
  assert_true(process >= 0);
  if (process == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int status = body(argument);
    fflush(NULL);
    _exit(status);
  }
  return end_of(process, wait);
}

int main(int argc, char **argv) { return conformance_main(argc, argv); }
