// Shared ground of the conformance cases: opening endpoints, waiting with a deadline, patterns of data, teams of
// processes. A case runs alone in a process of its own, so that a crash or a hang fails only itself.
#ifndef CONFORMANCE_FIXTURE_H
#define CONFORMANCE_FIXTURE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_ext.h>
#include <rdma/fi_rma.h>
#include <rdma/fi_tagged.h>
#include <rdma/providers/fi_log.h>
#include <rdma/providers/fi_prov.h>

// Younger than the oldest headers that the cases are built with.
#if FI_MAJOR_VERSION < 2
#define FI_CNTR_EVENTS_BYTES ((enum fi_cntr_events)1)
#endif

// ---- registration -------------------------------------------------------------------------------------------------

// CASE(name) { body } defines and registers one test case.
#define CASE(name)                                                                            \
  static void name(void);                                                                     \
  __attribute__((constructor)) static void register_##name(void) { register_case(#name, name); } \
  static void name(void)

void register_case(const char *name, void (*body)(void));

// ---- outcome ------------------------------------------------------------------------------------------------------

// Ends the case as "unsupported": the library says that it does not offer what the case is about.
_Noreturn void unsupported(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Ends the case as "not applicable": it is about something that endpoints of the type under test cannot have.
_Noreturn void inapplicable(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Ends the case as "not possible here": the machine lacks something (no IPv6, say); nothing about the library.
_Noreturn void environment_lacks(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Fails the case with a message.
#define failed(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void fail_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Asserts that a libfabric call returned exactly `expected`; prints both codes by name.
#define assert_returns(call, expected) check_returns((long)(call), (long)(expected), #call, __FILE__, __LINE__)
#define assert_success(call) assert_returns(call, 0)
#define assert_fails(call) check_fails((long)(call), #call, __FILE__, __LINE__)
// As assert_success, but -FI_ENOSYS and -FI_EOPNOTSUPP end the case as unsupported.
#define assert_offered(call) check_offered((long)(call), #call, __FILE__, __LINE__)
void check_returns(long actual, long expected, const char *call, const char *file, int line);
void check_fails(long actual, const char *call, const char *file, int line);
void check_offered(long actual, const char *call, const char *file, int line);

// ---- time ---------------------------------------------------------------------------------------------------------

// Monotonic seconds.
double seconds(void);
// `seconds_from_now`, stretched by CONFORMANCE_TIME_FACTOR (for valgrind).
double deadline_after(double seconds_from_now);
double time_factor(void);
void sleep_ms(int milliseconds);

// How long waiting helpers wait: 5 s, or CONFORMANCE_WAIT.
#define DEFAULT_WAIT default_wait()
double default_wait(void);

// ---- data ---------------------------------------------------------------------------------------------------------

// Fills with a pattern that depends on the position and the seed; verify() names the first wrong byte.
void fill(void *buffer, size_t length, uint64_t seed);
#define verify(buffer, length, seed) verify_at(__FILE__, __LINE__, buffer, length, seed)
void verify_at(const char *file, int line, const void *buffer, size_t length, uint64_t seed);
bool matches(const void *buffer, size_t length, uint64_t seed);
// Fails unless all bytes equal `byte`.
#define verify_bytes(buffer, length, byte) verify_bytes_at(__FILE__, __LINE__, buffer, length, byte)
void verify_bytes_at(const char *file, int line, const void *buffer, size_t length, int byte);
void *allocate(size_t length);

// ---- fabric -------------------------------------------------------------------------------------------------------

#define DEFAULT_VERSION FI_VERSION(1, 17)

// How to open a node; all zero means: FI_MSG, FI_TAGGED, FI_RMA on 127.0.0.1, everything else up to the provider.
struct node;
struct setup {
  uint64_t caps;
  enum fi_ep_type ep_type;  // default FI_EP_RDM, or FI_EP_MSG with CONFORMANCE_ENDPOINT=msg
  uint32_t version;
  int mr_mode;
  const char *node;
  const char *service;
  enum fi_av_type av_type;
  enum fi_cq_format cq_format;  // default FI_CQ_FORMAT_TAGGED
  enum fi_wait_obj wait_obj;
  enum fi_cq_wait_cond wait_cond;
  enum fi_progress progress;
  enum fi_threading threading;
  size_t cq_size;
  size_t tx_size;
  size_t rx_size;
  uint64_t tx_op_flags;
  uint64_t rx_op_flags;
  uint64_t tx_bind_flags;  // besides FI_TRANSMIT
  uint64_t rx_bind_flags;  // besides FI_RECV
  uint64_t msg_order;
  size_t iov_limit;
  const char *domain_key;  // authorization keys, NULL for none
  const char *endpoint_key;
  bool same_domain;  // for pair_open: both endpoints in one domain
  bool no_queues;    // the endpoint is bound to no completion queue
  void (*before_enable)(struct node *node);  // binds what else there is
};

struct node {
  struct fi_info *info;
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  struct fid_av *av;
  struct fid_cq *tx_cq;
  struct fid_cq *rx_cq;
  struct fid_ep *ep;
  struct fid_eq *eq;    // of FI_EP_MSG, for events of connections
  struct fid_pep *pep;  // where it accepts connections, if it does
  bool borrowed;        // fabric and domain belong to another node
  _Alignas(8) char address[128];
  size_t address_length;
};

struct pair {
  struct node a;
  struct node b;
  fi_addr_t to_b;  // b in a's address vector
  fi_addr_t to_a;  // a in b's address vector
};

const char *provider_name(void);
// Hints for reliable datagram endpoints of the provider under test.
struct fi_info *new_hints(void);
// fi_getinfo for `setup`; ends the case as unsupported when nothing matches.
struct fi_info *find_info(const struct setup *setup);
// Opens fabric and domain only.
void node_open_domain(struct node *node, const struct setup *setup);
// Opens everything: endpoint bound, enabled, its address read.
void node_open(struct node *node, const struct setup *setup);
// As node_open, but in another node's domain.
void node_open_beside(struct node *node, const struct node *host, const struct setup *setup);
void node_close(struct node *node);
fi_addr_t node_insert(struct node *node, const void *address);
// Ends the case as not applicable if the node has no address vector.
void needs_addresses(const struct node *node);
// Two nodes that know each other; of FI_EP_MSG, that are connected: a has connected to b.
void pair_open(struct pair *pair, const struct setup *setup);
void pair_close(struct pair *pair);
// Opens an AV, two CQs and an endpoint in the node's domain without binding anything.
struct fid_cq *cq_open(struct node *node, enum fi_cq_format format, enum fi_wait_obj wait, size_t size);
struct fid_av *av_open(struct node *node, enum fi_av_type type);
struct fid_eq *event_queue_open(struct node *node, enum fi_wait_obj wait);
#define close_fid(object) assert_success(fi_close(&(object)->fid))

// Memory of one node that its peer accesses.
struct region {
  char *memory;
  size_t length;
  struct fid_mr *mr;
  uint64_t key;
  uint64_t base;  // address of the first byte, as the peer must name it
};

enum { basic_memory = 1 };  // the value of mr_mode from before version 1.5

// Both directions, for the node itself and for peers.
extern const uint64_t all_rights;
// Registers memory with the flags of fi_mr_regattr; ends the case as unsupported where those are not offered.
void region_over(struct region *region, struct node *node, void *memory, size_t length, uint64_t rights, uint64_t key,
                 uint64_t flags);
// Registers memory of its own, filled with 0xee.
void region_open(struct region *region, struct node *node, size_t length, uint64_t rights, uint64_t key);
void region_close(struct region *region);

// ---- connections --------------------------------------------------------------------------------------------------

enum { maximum_data = 256 };

// An event of an event queue about a connection, with the peer's data.
struct connection_event {
  uint32_t event;
  struct fi_eq_cm_entry entry;
  uint8_t data[maximum_data];
  size_t data_length;
};

// Opens a passive endpoint that listens, and an event queue if the node has none; its address becomes the node's.
void node_listen(struct node *node);
// Opens the endpoint of a node whose domain is open, for its info: unconnected, or for a request.
void node_open_endpoint(struct node *node, const struct setup *setup);
// Reads one event within the default wait; an error entry, another event or silence fails the case.
#define wait_event(node, kind, event) wait_event_at(__FILE__, __LINE__, node, kind, event, DEFAULT_WAIT)
#define wait_event_within(node, kind, event, secs) wait_event_at(__FILE__, __LINE__, node, kind, event, secs)
void wait_event_at(const char *file, int line, struct node *node, uint32_t kind, struct connection_event *event,
                   double wait);
// Reads one error entry; an event or silence fails the case.
#define wait_event_error(node, entry) wait_event_error_at(__FILE__, __LINE__, node, entry, DEFAULT_WAIT)
#define wait_event_error_within(node, entry, secs) wait_event_error_at(__FILE__, __LINE__, node, entry, secs)
void wait_event_error_at(const char *file, int line, struct node *node, struct fi_eq_err_entry *entry, double wait);
// Takes a request: the node's info becomes that of the request.
void node_take_request(struct node *node, const struct connection_event *event);
void watch_eq(struct fid_eq *eq);
void unwatch_eq(struct fid_eq *eq);

// ---- completions --------------------------------------------------------------------------------------------------

// Calls that wait drive the progress of every watched queue, so that manual progress works within one process.
void watch_cq(struct fid_cq *cq);
void unwatch_cq(struct fid_cq *cq);
void drive_progress(void);

// Reads one completion within the default wait; an error completion or silence fails the case.
#define wait_completion(cq, entry) wait_completion_at(__FILE__, __LINE__, cq, entry, DEFAULT_WAIT)
#define wait_completion_within(cq, entry, secs) wait_completion_at(__FILE__, __LINE__, cq, entry, secs)
void wait_completion_at(const char *file, int line, struct fid_cq *cq, struct fi_cq_tagged_entry *entry, double wait);
// Waits for one completion and checks its context.
#define wait_for(cq, context) wait_for_at(__FILE__, __LINE__, cq, context)
void wait_for_at(const char *file, int line, struct fid_cq *cq, void *context);
// Waits for `count` completions with the contexts `first`, `first + 1`, ... in any order: without comp_order none is
// promised, and on a bad network what is sent later may be done earlier.
#define wait_for_all(cq, first, count) wait_for_all_at(__FILE__, __LINE__, cq, first, count)
void wait_for_all_at(const char *file, int line, struct fid_cq *cq, char *first, size_t count);
// Reads one error completion; a good completion or silence fails the case.
#define wait_error(cq, entry) wait_error_at(__FILE__, __LINE__, cq, entry, DEFAULT_WAIT)
#define wait_error_within(cq, entry, secs) wait_error_at(__FILE__, __LINE__, cq, entry, secs)
void wait_error_at(const char *file, int line, struct fid_cq *cq, struct fi_cq_err_entry *entry, double wait);
// Fails if the queue reports anything within the time.
#define expect_quiet(cq, milliseconds) expect_quiet_at(__FILE__, __LINE__, cq, milliseconds)
void expect_quiet_at(const char *file, int line, struct fid_cq *cq, int milliseconds);
// Repeats a data transfer call while it says -FI_EAGAIN (driving progress); anything else but 0 fails the case.
#define post(call)                                                                        \
  do {                                                                                    \
    double post_deadline = deadline_after(DEFAULT_WAIT);                                  \
    long post_result;                                                                     \
    while ((post_result = (call)) == -FI_EAGAIN) {                                        \
      if (seconds() > post_deadline) failed("%s: still -FI_EAGAIN after %.0f s", #call, DEFAULT_WAIT); \
      drive_progress();                                                                   \
    }                                                                                     \
    check_returns(post_result, 0, #call, __FILE__, __LINE__);                             \
  } while (0)
// Waits until the condition holds, driving progress.
#define wait_until(condition)                                                             \
  do {                                                                                    \
    double until_deadline = deadline_after(DEFAULT_WAIT);                                 \
    while (!(condition)) {                                                                \
      if (seconds() > until_deadline) failed("not true after %.0f s: %s", DEFAULT_WAIT, #condition); \
      drive_progress();                                                                   \
    }                                                                                     \
  } while (0)

// ---- processes ----------------------------------------------------------------------------------------------------

#define TEAM_MAX 5

// A group of processes running the same function; rank 0 is the test itself.
struct team {
  int rank;
  int size;
  struct board *board;  // shared memory
};

// Forks size - 1 processes before any fabric object exists, runs `body` in all, and checks that all ended well.
void team_run(int size, void (*body)(struct team *team));
// Meets all (living) members; drives progress while waiting.
void team_barrier(struct team *team);
// Exchanges endpoint addresses; peers[rank] is valid for every other rank. A barrier.
void team_connect(struct team *team, struct node *node, fi_addr_t *peers);
// A word shared by the team, 64 for each rank.
_Atomic uint64_t *team_word(struct team *team, int rank, int index);
// Shared bytes for addresses: one slot of 128 per rank.
void *team_address(struct team *team, int rank);
// Kills a member with SIGKILL and waits for its end (rank 0 only); barriers no longer wait for it.
void team_kill(struct team *team, int rank);
// Whether a member is still expected at barriers.
bool in_team(const struct team *team, int rank);

// Runs `body` in a forked process, and returns its exit status (or 128 + signal). Output goes to ours.
int run_in_child(int (*body)(void *argument), void *argument, double wait);

// The main program: runs one case by name, or each of several in a process of its own.
int conformance_main(int argc, char **argv);

#endif
