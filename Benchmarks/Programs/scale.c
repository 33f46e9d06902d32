// One endpoint against many peers: what it costs to know them, to be connected to them, and to talk to them in turn;
// and what it costs to start. Public API only: the same program runs on every provider.
//
//   scale [-p PROVIDER] [-t TEST] [-k KNOWN,...] [-a ACTIVE,...] [-r ROUNDS] [-x EXCHANGES]
//
// TEST: insert     time and memory of fi_av_insert for each of KNOWN addresses that are never talked to
//       known      64-byte half round trip with one peer, among KNOWN addresses in the vector
//       connected  the same among ACTIVE connected peers that are silent meanwhile, and memory for each of them
//       turns      ping-pong with each of ACTIVE peers in turn, and 64-byte messages to each of them in turn
//       startup    from exec to the endpoint enabled, and the process's memory then
//       all        all of them
//
// Prints one JSON object a line: name, value, unit; for what several rounds measured also least and most.
// Peers are endpoints in other processes, each in a domain of its own, so that a peer's own cost does not grow with
// their number. Only one process polls beside this one at a time.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  message_size = 64,
  // Receives kept posted by each endpoint.
  receive_depth = 64,
  // Messages to one peer before the next has its turn.
  burst = 16,
  name_capacity = 64,
  list_capacity = 16,
  rounds_capacity = 101,
  peers_per_process = 2500,
  processes_capacity = 8,
  patience = 30,
};

static const char *provider = "polyfill";
static int rounds = 5, exchanges = 2000;
static struct fi_info *info;
static struct fid_fabric *fabric;

struct node {
  struct fid_domain *domain;
  struct fid_cq *cq;
  struct fid_av *av;
  struct fid_ep *ep;
  struct fi_context2 contexts[receive_depth];
  struct fi_context2 send_context;
  char *memory;
  // Messages that have come, and those that were waited for.
  long received, wanted;
};

// ---- small things --------------------------------------------------------------------------------------------------

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void fail(const char *what, long result) {
  fprintf(stderr, "scale: %s: %s (%ld)\n", what, fi_strerror((int)-result), result);
  exit(1);
}

static void check(const char *what, long result) {
  if (result < 0) fail(what, result);
}

static void report(const char *name, double value, const char *unit) {
  printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name, value, unit);
  fflush(stdout);
}

static int ascending(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static void report_rounds(const char *name, double *values, int count, const char *unit) {
  qsort(values, count, sizeof *values, ascending);
  printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"least\": %.6g, \"most\": %.6g}\n", name,
         values[count / 2], unit, values[0], values[count - 1]);
  fflush(stdout);
}

static void skipped(const char *name, const char *reason) {
  printf("{\"name\": \"%s\", \"value\": null, \"unit\": \"\", \"skipped\": \"%s\"}\n", name, reason);
  fflush(stdout);
}

// Bytes that the program has from malloc, large blocks included.
static double heap_bytes(void) {
  struct mallinfo2 use = mallinfo2();
  return (double)use.uordblks + (double)use.hblkhd;
}

// A figure of /proc/self/smaps_rollup in bytes.
static double resident(const char *field) {
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  char line[256];
  double result = 0;
  while (file && fgets(line, sizeof line, file)) {
    if (!strncmp(line, field, strlen(field))) result = strtod(line + strlen(field), NULL) * 1024;
  }
  if (file) fclose(file);
  return result;
}

static int parse_list(const char *text, int *list) {
  int count = 0;
  for (char *end; *text && count < list_capacity; text = *end ? end + 1 : end) {
    list[count++] = (int)strtol(text, &end, 10);
    if (end == text) fail("not a list of numbers", -FI_EINVAL);
  }
  return count;
}

// ---- endpoints -----------------------------------------------------------------------------------------------------

static void open_fabric(void) {
  struct fi_info *hints = fi_allocinfo();
  hints->caps = FI_MSG;
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->addr_format = FI_SOCKADDR_IN;
  hints->ep_attr->type = FI_EP_RDM;
  hints->domain_attr->threading = FI_THREAD_DOMAIN;
  hints->domain_attr->data_progress = hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
  hints->domain_attr->av_type = FI_AV_TABLE;
  hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
  hints->fabric_attr->prov_name = strdup(provider);
  check("fi_getinfo", fi_getinfo(FI_VERSION(1, 17), "127.0.0.1", NULL, FI_SOURCE, hints, &info));
  if (info->domain_attr->mr_mode & FI_MR_LOCAL) fail("the provider wants buffers registered", -FI_ENOSYS);
  check("fi_fabric", fi_fabric(info->fabric_attr, &fabric, NULL));
  fi_freeinfo(hints);
}

static void open_node(struct node *node) {
  struct fi_cq_attr cq = {.format = FI_CQ_FORMAT_MSG};
  struct fi_av_attr av = {.type = FI_AV_TABLE};
  memset(node, 0, sizeof *node);
  check("fi_domain", fi_domain(fabric, info, &node->domain, NULL));
  check("fi_cq_open", fi_cq_open(node->domain, &cq, &node->cq, NULL));
  check("fi_av_open", fi_av_open(node->domain, &av, &node->av, NULL));
  check("fi_endpoint", fi_endpoint(node->domain, info, &node->ep, NULL));
  check("fi_ep_bind", fi_ep_bind(node->ep, &node->cq->fid, FI_TRANSMIT | FI_RECV));
  check("fi_ep_bind", fi_ep_bind(node->ep, &node->av->fid, 0));
  check("fi_enable", fi_enable(node->ep));
  node->memory = calloc(1, message_size);
}

static void close_node(struct node *node) {
  fi_close(&node->ep->fid);
  fi_close(&node->cq->fid);
  fi_close(&node->av->fid);
  fi_close(&node->domain->fid);
  free(node->memory);
}

static void post_receive(struct node *node, struct fi_context2 *context) {
  ssize_t result;
  while ((result = fi_recv(node->ep, node->memory, message_size, NULL, FI_ADDR_UNSPEC, context)) == -FI_EAGAIN)
    fi_cq_read(node->cq, NULL, 0);
  check("fi_recv", result);
}

static void post_receives(struct node *node) {
  for (int index = 0; index < receive_depth; index++) post_receive(node, &node->contexts[index]);
}

// Reads completions; receives are posted again.
static void poll_node(struct node *node) {
  struct fi_cq_msg_entry entries[16];
  ssize_t count = fi_cq_read(node->cq, entries, 16);
  if (count == -FI_EAGAIN) return;
  check("fi_cq_read", count);
  for (ssize_t index = 0; index < count; index++) {
    if (!(entries[index].flags & FI_RECV)) continue;
    node->received++;
    post_receive(node, entries[index].op_context);
  }
}

static void send_message(struct node *node, fi_addr_t peer) {
  static const char payload[message_size];
  ssize_t result;
  double deadline = now_us() + patience * 1e6;
  while ((result = fi_inject(node->ep, payload, message_size, peer)) == -FI_EAGAIN) {
    poll_node(node);
    if (now_us() > deadline) fail("a message cannot be sent", -FI_ETIMEDOUT);
  }
  check("fi_inject", result);
}

// Waits for as many messages as are due by now, and some more.
static void await(struct node *node, int more) {
  double deadline = 0;
  node->wanted += more;
  for (unsigned turn = 1; node->received < node->wanted; turn++) {
    poll_node(node);
    if (turn % 65536) continue;
    if (deadline == 0) deadline = now_us() + patience * 1e6;
    if (now_us() > deadline) fail("no message came", -FI_ETIMEDOUT);
  }
}

static fi_addr_t insert(struct node *node, const void *name) {
  fi_addr_t address = FI_ADDR_UNSPEC;
  check("fi_av_insert", fi_av_insert(node->av, name, 1, &address, 0, NULL) == 1 ? 0 : -FI_EADDRNOTAVAIL);
  return address;
}

// Addresses 127.64.0.0 and up, where nobody is.
static void insert_nobodies(struct node *node, int from, int to) {
  struct sockaddr_in *names = calloc(to - from + 1, sizeof *names);
  for (int index = from; index < to; index++) {
    names[index - from].sin_family = AF_INET;
    names[index - from].sin_port = htons(9);
    names[index - from].sin_addr.s_addr = htonl(0x7f400001u + index);
  }
  if (to > from && fi_av_insert(node->av, names, to - from, NULL, 0, NULL) != to - from)
    fail("fi_av_insert", -FI_EADDRNOTAVAIL);
  free(names);
}

// ---- the peers' processes ------------------------------------------------------------------------------------------

enum verb { answer_one, answer_turns, count_turns, settle, quit };

// Do `verb` with endpoints 0 to `count` - 1 (answer_one: with endpoint `count`), `times` times (settle: milliseconds).
struct command {
  enum verb verb;
  int count, times;
};

struct process {
  pid_t pid;
  int channel;
  int count;
  char (*names)[name_capacity];
};

static void transfer(bool writing, int channel, void *data, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t part = writing ? send(channel, (char *)data + done, size - done, MSG_NOSIGNAL)
                           : recv(channel, (char *)data + done, size - done, 0);
    if (part <= 0) {
      if (writing) fail("a peer's process is gone", -FI_ECONNRESET);
      exit(0);
    }
    done += part;
  }
}

static void answer(struct node *node) {
  await(node, 1);
  send_message(node, 0);
}

static void serve(struct node *nodes, struct command command) {
  if (command.verb == settle) {
    double deadline = now_us() + command.times * 1e3;
    do {
      for (int index = 0; index < command.count; index++) poll_node(&nodes[index]);
    } while (now_us() < deadline);
    return;
  }
  for (int time = 0; time < command.times; time++) {
    if (command.verb == answer_one) {
      answer(&nodes[command.count]);
      continue;
    }
    for (int index = 0; index < command.count; index++) {
      if (command.verb == answer_turns) {
        answer(&nodes[index]);
      } else {
        await(&nodes[index], burst);
        // So that acknowledgements leave.
        for (int extra = 0; extra < 2; extra++) poll_node(&nodes[index]);
      }
    }
  }
  // All of them: what is left to acknowledge must not wait for this process's next turn.
  if (command.verb == count_turns) send_message(&nodes[command.count - 1], 0);
  int first = command.verb == answer_one ? command.count : 0;
  int last = command.verb == answer_one ? first + 1 : command.count;
  for (int extra = 0; extra < 3; extra++)
    for (int index = first; index < last; index++) poll_node(&nodes[index]);
}

static void run_peers(int channel, int count) {
  char target[name_capacity];
  open_fabric();
  struct node *nodes = calloc(count, sizeof *nodes);
  for (int index = 0; index < count; index++) {
    size_t size = name_capacity;
    char name[name_capacity] = {0};
    open_node(&nodes[index]);
    check("fi_getname", fi_getname(&nodes[index].ep->fid, name, &size));
    transfer(true, channel, name, sizeof name);
    post_receives(&nodes[index]);
  }
  transfer(false, channel, target, sizeof target);
  for (int index = 0; index < count; index++) insert(&nodes[index], target);
  for (;;) {
    struct command command;
    transfer(false, channel, &command, sizeof command);
    if (command.verb == quit) _exit(0);
    serve(nodes, command);
    transfer(true, channel, &command, 1);
  }
}

static struct process processes[processes_capacity];
static int process_count;

static void start_processes(int number, int count) {
  process_count = number;
  if (process_count > processes_capacity) fail("too many peers", -FI_EINVAL);
  for (int index = 0; index < process_count; index++) {
    struct process *process = &processes[index];
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) fail("socketpair", -FI_EMFILE);
    process->count = count;
    process->pid = fork();
    if (process->pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(ends[0]);
      run_peers(ends[1], process->count);
    }
    close(ends[1]);
    process->channel = ends[0];
  }
  for (int index = 0; index < process_count; index++) {
    processes[index].names = calloc(processes[index].count, name_capacity);
    transfer(false, processes[index].channel, processes[index].names, (size_t)processes[index].count * name_capacity);
  }
}

// Peers in as few processes as may be; there may be a few more of them than asked for.
static int start_peers(int count) {
  int number = (count + peers_per_process - 1) / peers_per_process;
  int each = (count + number - 1) / number;
  start_processes(number, each);
  return number * each;
}

static void stop_peers(void) {
  for (int index = 0; index < process_count; index++) {
    struct command command = {.verb = quit};
    transfer(true, processes[index].channel, &command, sizeof command);
    waitpid(processes[index].pid, NULL, 0);
    close(processes[index].channel);
    free(processes[index].names);
  }
  process_count = 0;
}

static void meet(struct node *node) {
  char name[name_capacity] = {0};
  size_t size = name_capacity;
  check("fi_getname", fi_getname(&node->ep->fid, name, &size));
  for (int index = 0; index < process_count; index++) transfer(true, processes[index].channel, name, sizeof name);
}

static void begin(int process, enum verb verb, int count, int times) {
  struct command command = {verb, count, times};
  transfer(true, processes[process].channel, &command, sizeof command);
}

// The process is done. This side keeps polling meanwhile, since it may owe something.
static void finish(struct node *node, int process) {
  struct pollfd entry = {.fd = processes[process].channel, .events = POLLIN};
  char done;
  while (poll(&entry, 1, 0) == 0) poll_node(node);
  transfer(false, processes[process].channel, &done, 1);
}

static void exchange(struct node *node, fi_addr_t peer) {
  send_message(node, peer);
  await(node, 1);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

// Each count in an endpoint and vector of its own.
static void test_insert(const int *known, int count) {
  open_fabric();
  for (int index = 0; index < count; index++) {
    struct node node;
    char name[96];
    open_node(&node);
    double heap = heap_bytes(), pages = resident("Rss:"), start = now_us();
    insert_nobodies(&node, 0, known[index]);
    double time = now_us() - start;
    snprintf(name, sizeof name, "insert known=%d", known[index]);
    report(name, 1e3 * time / known[index], "ns/address");
    snprintf(name, sizeof name, "heap known=%d", known[index]);
    report(name, (heap_bytes() - heap) / known[index], "bytes/address");
    snprintf(name, sizeof name, "rss known=%d", known[index]);
    report(name, (resident("Rss:") - pages) / known[index], "bytes/address");
    close_node(&node);
  }
}

// One endpoint for each count, measured in turns. The peer is inserted last, so that tables by number are full.
static void test_known(const int *known, int count) {
  double times[list_capacity][rounds_capacity];
  struct node nodes[list_capacity];
  fi_addr_t peers[list_capacity];
  char name[96];
  // Each endpoint of this side has its own peer, in a process of its own; only one of them polls at a time.
  start_processes(count, 1);
  open_fabric();
  for (int index = 0; index < count; index++) {
    open_node(&nodes[index]);
    post_receives(&nodes[index]);
    size_t size = name_capacity;
    char target[name_capacity] = {0};
    check("fi_getname", fi_getname(&nodes[index].ep->fid, target, &size));
    transfer(true, processes[index].channel, target, sizeof target);
    insert_nobodies(&nodes[index], 0, known[index] - 1);
    peers[index] = insert(&nodes[index], processes[index].names[0]);
  }
  for (int round = -1; round < rounds; round++) {
    for (int index = 0; index < count; index++) {
      begin(index, answer_one, 0, exchanges + 10);
      for (int warm = 0; warm < 10; warm++) exchange(&nodes[index], peers[index]);
      double start = now_us();
      for (int time = 0; time < exchanges; time++) exchange(&nodes[index], peers[index]);
      if (round >= 0) times[index][round] = (now_us() - start) / exchanges / 2;
      finish(&nodes[index], index);
    }
  }
  for (int index = 0; index < count; index++) {
    snprintf(name, sizeof name, "half round trip known=%d", known[index]);
    report_rounds(name, times[index], rounds, "us");
  }
  for (int index = 0; index < count; index++) close_node(&nodes[index]);
  stop_peers();
}

// All peers of all processes; returns their numbers, process by process.
static fi_addr_t *insert_peers(struct node *node) {
  int total = 0;
  for (int process = 0; process < process_count; process++) total += processes[process].count;
  fi_addr_t *peers = calloc(total, sizeof *peers);
  for (int process = 0, next = 0; process < process_count; process++)
    for (int index = 0; index < processes[process].count; index++, next++)
      peers[next] = insert(node, processes[process].names[index]);
  return peers;
}

// One exchange with each peer in turn. Returns the time without each process's first.
static double take_turns(struct node *node, const fi_addr_t *peers) {
  double time = 0;
  for (int process = 0, first = 0; process < process_count; first += processes[process++].count) {
    int count = processes[process].count;
    begin(process, answer_turns, count, 1);
    exchange(node, peers[first]);
    double start = now_us();
    for (int index = 1; index < count; index++) exchange(node, peers[first + index]);
    time += now_us() - start;
    finish(node, process);
  }
  return time;
}

// Lets all connections come to rest: what goes on beside the messages, such as the search for the path's MTU, ends.
static void rest(struct node *node) {
  for (int process = 0; process < process_count; process++) {
    begin(process, settle, processes[process].count, 300);
    finish(node, process);
  }
}

static double stream(struct node *node, const fi_addr_t *peers, int times) {
  double time = 0;
  for (int process = 0, first = 0; process < process_count; first += processes[process++].count) {
    int count = processes[process].count;
    double start = now_us();
    begin(process, count_turns, count, times);
    for (int turn = 0; turn < times; turn++)
      for (int index = 0; index < count; index++)
        for (int message = 0; message < burst; message++) send_message(node, peers[first + index]);
    await(node, 1);
    time += now_us() - start;
    finish(node, process);
  }
  return time;
}

static void test_active(int active, bool connected, bool turns) {
  double times[rounds_capacity];
  struct node node;
  char name[96];
  active = start_peers(active);
  open_fabric();
  open_node(&node);
  post_receives(&node);
  meet(&node);
  fi_addr_t *peers = insert_peers(&node);
  // The first connection brings what there is one of.
  begin(0, answer_one, 0, 1);
  exchange(&node, peers[0]);
  finish(&node, 0);
  double heap = heap_bytes(), pages = resident("Rss:");
  take_turns(&node, peers);
  rest(&node);
  if (connected && active > 1) {
    snprintf(name, sizeof name, "heap connected=%d", active);
    report(name, (heap_bytes() - heap) / (active - 1), "bytes/peer");
    snprintf(name, sizeof name, "rss connected=%d", active);
    report(name, (resident("Rss:") - pages) / (active - 1), "bytes/peer");
  }
  for (int round = -1; round < rounds && connected; round++) {
    begin(0, answer_one, 0, exchanges + 10);
    for (int warm = 0; warm < 10; warm++) exchange(&node, peers[0]);
    double start = now_us();
    for (int time = 0; time < exchanges; time++) exchange(&node, peers[0]);
    if (round >= 0) times[round] = (now_us() - start) / exchanges / 2;
    finish(&node, 0);
  }
  snprintf(name, sizeof name, "half round trip connected=%d", active);
  if (connected) report_rounds(name, times, rounds, "us");
  if (turns && active > 1) {
    for (int round = 0; round < rounds; round++) times[round] = take_turns(&node, peers) / (active - process_count) / 2;
    snprintf(name, sizeof name, "half round trip in turns active=%d", active);
    report_rounds(name, times, rounds, "us");
  }
  if (turns) {
    int repeat = active < 1000 ? 1000 / active : 1;
    for (int round = 0; round < rounds; round++)
      times[round] = (double)active * repeat * burst / stream(&node, peers, repeat);
    snprintf(name, sizeof name, "message rate in turns active=%d", active);
    report_rounds(name, times, rounds, "M/s");
    snprintf(name, sizeof name, "rss after streams active=%d", active);
    report(name, resident("Rss:") - pages, "bytes");
  }
  free(peers);
  close_node(&node);
  stop_peers();
}

// The program that `startup` starts over and over.
static int started(void) {
  struct node node;
  open_fabric();
  open_node(&node);
  printf("%.3f %.0f %.0f\n", now_us(), resident("Rss:"), resident("Pss:"));
  fflush(stdout);
  _exit(0);
}

static void test_startup(char *program) {
  double times[rounds_capacity], rss = 0, pss = 0;
  int count = rounds * 5 < rounds_capacity ? rounds * 5 : rounds_capacity;
  for (int round = -1; round < count; round++) {
    int ends[2];
    if (pipe(ends)) fail("pipe", -FI_EMFILE);
    double start = now_us(), end = 0;
    pid_t pid = fork();
    if (pid == 0) {
      dup2(ends[1], 1);
      execl("/proc/self/exe", program, "-p", provider, "-t", "started", NULL);
      _exit(127);
    }
    close(ends[1]);
    FILE *output = fdopen(ends[0], "r");
    if (fscanf(output, "%lf %lf %lf", &end, &rss, &pss) != 3) fail("the started program", -FI_EOTHER);
    fclose(output);
    waitpid(pid, NULL, 0);
    if (round >= 0) times[round] = (end - start) / 1e3;
  }
  report_rounds("startup", times, count, "ms");
  report("startup rss", rss, "bytes");
  report("startup pss", pss, "bytes");
}

// Runs a test in a process of its own, so that none finds what another left.
static void apart(const char *name, void (*test)(const int *, int), const int *list, int count) {
  pid_t pid = fork();
  int status = 0;
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    test(list, count);
    exit(0);
  }
  waitpid(pid, &status, 0);
  if (status) skipped(name, "it did not come to an end");
}

static bool wants_connected, wants_turns;
static void active_one(const int *list, int count) {
  (void)count;
  test_active(list[0], wants_connected, wants_turns);
}

int main(int argc, char **argv) {
  int known[list_capacity] = {1, 100, 10000}, known_count = 3;
  int active[list_capacity] = {1, 100, 1000}, active_count = 3;
  const char *test = "all";
  struct rlimit files;
  for (int option; (option = getopt(argc, argv, "p:t:k:a:r:x:")) != -1;) {
    switch (option) {
    case 'p': provider = optarg; break;
    case 't': test = optarg; break;
    case 'k': known_count = parse_list(optarg, known); break;
    case 'a': active_count = parse_list(optarg, active); break;
    case 'r': rounds = atoi(optarg); break;
    case 'x': exchanges = atoi(optarg); break;
    default: fprintf(stderr, "see the head of scale.c\n"); return 2;
    }
  }
  if (rounds < 1 || rounds > rounds_capacity || exchanges < 1) return 2;
  if (!strcmp(test, "started")) return started();
  if (!getrlimit(RLIMIT_NOFILE, &files)) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  bool all = !strcmp(test, "all");
  if (all || !strcmp(test, "startup")) test_startup(argv[0]);
  if (all || !strcmp(test, "insert")) apart("insert", test_insert, known, known_count);
  if (all || !strcmp(test, "known")) apart("known", test_known, known, known_count);
  wants_connected = all || !strcmp(test, "connected");
  wants_turns = all || !strcmp(test, "turns");
  for (int index = 0; index < active_count && (wants_connected || wants_turns); index++)
    apart("active", active_one, active + index, 1);
  return 0;
}
