// One endpoint and its one peer, used as programs use it: one completion queue or two counters, buffers of the
// program's own, operations named by their context. Public API only.
#ifndef BENCH_FABRIC_H
#define BENCH_FABRIC_H

#include "bench.h"

#include <rdma/fabric.h>
#include <rdma/fi_atomic.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <rdma/fi_tagged.h>

enum { name_max = 128 };  // bytes of an endpoint's name

enum operation_kind { operation_send, operation_receive };

// One posted operation; libfabric hands its address back in the completion.
struct operation {
  struct fi_context2 context;  // first: the provider's scratch memory where it wants one
  enum operation_kind kind;
  bool busy;
  uint64_t sequence;  // which message it is of
  char *buffer;
  struct operation *next_free;
};

// Operations over consecutive buffers.
struct ring {
  struct operation *operations;
  struct operation *first_free;  // those that are not busy, the longest free first; unused while ordered
  struct operation *last_free;
  size_t allocated;    // operations that there are
  size_t count;        // operations in use
  char *memory;  // the control buffers, then the data
  char *data;
  struct fid_mr *region;
  void *descriptor;
  size_t capacity;     // bytes of data
  size_t size;         // bytes of each buffer
  bool ordered;        // message n is in buffer n modulo count, even if others are free: so that content can be checked
  uint64_t posted;     // since ring_arrange
  uint64_t completed;
  struct fid_cntr *counter;  // where completions are counted: they come in the order of posting
  uint64_t counted;          // what it showed last
};

struct endpoint {
  struct fi_info *info;
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  struct fid_eq *eq;  // of a connection
  struct fid_av *av;
  struct fid_cq *cq;
  struct fid_ep *ep;
  fi_addr_t peer;
  uint64_t peer_memory;  // where and with which key RMA reaches the peer's receive ring
  uint64_t peer_key;
  struct ring sends;
  struct ring receives;
  bool blocking;
  bool counters;
  bool tagged;
  void (*received)(struct operation *operation);  // called for each receive that completed
};

// The endpoint of this process.
extern struct endpoint endpoint;

#define check(call) check_result((long)(call), #call)
long check_result(long result, const char *call);

// Whether a test needs FI_ATOMIC.
bool is_atomic(const struct spec *spec);
// fi_getinfo for the named provider; NULL where it offers no such endpoint, or not all that the tests need.
struct fi_info *find_provider(const struct options *options);
// Opens the endpoint with rings of so many operations and bytes, and makes it and the other side's known to each other.
void endpoint_open(const struct options *options, size_t operations, size_t bytes, int connection);

// Opens the objects of an endpoint of `info`, and enables it where nothing else has to come first.
void endpoint_make(struct fi_info *info);
// Both sides of fi_connect(3): the client's connection to the endpoint of the server, each with an endpoint made.
void endpoint_connect(const struct options *options, int connection);

// Cuts the ring's memory into `count` buffers of `size` bytes and forgets its counts. Nothing may be outstanding.
void ring_arrange(struct ring *ring, size_t count, size_t size);
// Gives the ring a few small buffers apart from that memory, for the messages by which the two sides keep in step.
void ring_arrange_control(struct ring *ring);

// Reads what has completed; sleeps until something has where the program was told to block.
void wait_for_completions(void);
// The same, for a millisecond at most: where the provider had no room no completion need follow.
void wait_briefly(void);
// Lets the provider work; leaves completions where they are.
void make_progress(void);

// Posts the next operation of a ring, waiting until its buffer and the provider have room.
void post_receive(void);
void post_send(size_t length);
void post_inject(size_t length);
void post_write(size_t length);
void post_read(size_t length);
// Adds the integers in the operation's buffer, of 64 bits each, to those at the beginning of the peer's receive ring.
void post_add(size_t length);
// The same; what was there before replaces the second half of the operation's buffer.
void post_fetch_add(size_t length);
// Whether the provider has those for so many bytes.
bool has_atomic(bool fetch, size_t length);
// As post_send, but false where the provider has had no room for so many seconds.
bool try_post_send(size_t length, double patience);

void wait_for_sends(void);
void wait_for_receives(uint64_t completed);

#endif
