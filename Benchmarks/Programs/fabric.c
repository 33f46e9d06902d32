#include "fabric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct endpoint endpoint;

enum {
  completions_at_once = 64,
  message_tag = 0x1234,
  control_count = 4,
  control_size = 64,
  control_area = 4096,
};

long check_result(long result, const char *call) {
  if (result < 0) die("%s: %s", call, fi_strerror((int)-result));
  return result;
}

// ---- opening ------------------------------------------------------------------------------------------------------

bool is_atomic(const struct spec *spec) {
  return strcmp(spec->name, "add") == 0 || strcmp(spec->name, "fetch_add") == 0;
}

static bool is_type(const struct options *options, const char *type) { return strcmp(options->endpoint, type) == 0; }

static enum fi_ep_type endpoint_type(const struct options *options) {
  if (is_type(options, "msg")) return FI_EP_MSG;
  if (is_type(options, "dgram")) return FI_EP_DGRAM;
  if (!is_type(options, "rdm")) die("no type of endpoint: %s", options->endpoint);
  return FI_EP_RDM;
}

// What the type of endpoint and the tests need.
static uint64_t capabilities(const struct options *options) {
  if (is_type(options, "dgram")) return FI_MSG;
  uint64_t capabilities = FI_MSG | FI_RMA;
  if (is_type(options, "rdm")) capabilities |= FI_TAGGED;
  for (size_t i = 0; i < options->spec_count; i++) {
    if (is_atomic(&options->specs[i])) capabilities |= FI_ATOMIC;
  }
  return capabilities;
}

struct fi_info *find_provider(const struct options *options) {
  struct fi_info *hints = fi_allocinfo(), *all = NULL, *found = NULL;
  if (!hints) die("fi_allocinfo: no memory");
  hints->caps = capabilities(options);
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->ep_attr->type = endpoint_type(options);
  if (!is_type(options, "dgram")) hints->tx_attr->msg_order = hints->rx_attr->msg_order = FI_ORDER_SAS;
  hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
  hints->domain_attr->threading = FI_THREAD_DOMAIN;
  if (options->provider) hints->fabric_attr->prov_name = strdup(options->provider);
  int result = fi_getinfo(FI_VERSION(1, 17), options->address, NULL, FI_SOURCE, hints, &all);
  if (result && result != -FI_ENODATA) check_result(result, "fi_getinfo");
  // A name may also find providers layered over the one it names.
  for (struct fi_info *info = all; info && !found; info = info->next) {
    bool named = !options->provider || strcasecmp(info->fabric_attr->prov_name, options->provider) == 0;
    if (named) found = fi_dupinfo(info);
  }
  fi_freeinfo(all);
  fi_freeinfo(hints);
  return found;
}

static void ring_open(struct ring *ring, enum operation_kind kind, size_t operations, size_t bytes, uint64_t key) {
  ring->allocated = operations;
  ring->operations = allocate(operations * sizeof *ring->operations);
  for (size_t i = 0; i < operations; i++) ring->operations[i].kind = kind;
  ring->memory = allocate(control_area + bytes);
  ring->data = ring->memory + control_area;
  ring->capacity = bytes;
  if (!(endpoint.info->caps & FI_RMA) && !(endpoint.info->domain_attr->mr_mode & FI_MR_LOCAL)) return;
  uint64_t access = FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE;
  check(fi_mr_reg(endpoint.domain, ring->memory, control_area + bytes, access, 0, key, 0, &ring->region, NULL));
  ring->descriptor = fi_mr_desc(ring->region);
}

static enum fi_wait_obj wait_object(void) { return endpoint.blocking ? FI_WAIT_UNSPEC : FI_WAIT_NONE; }

static struct fid_cntr *bind_counter(uint64_t events) {
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP, .wait_obj = wait_object()};
  struct fid_cntr *counter;
  check(fi_cntr_open(endpoint.domain, &attributes, &counter, NULL));
  check(fi_ep_bind(endpoint.ep, &counter->fid, events));
  return counter;
}

void endpoint_make(struct fi_info *info) {
  struct fi_cq_attr cq = {.format = FI_CQ_FORMAT_TAGGED,
                          .size = endpoint.sends.allocated + endpoint.receives.allocated + 16,
                          .wait_obj = wait_object()};
  check(fi_cq_open(endpoint.domain, &cq, &endpoint.cq, NULL));
  check(fi_endpoint(endpoint.domain, info, &endpoint.ep, NULL));
  if (endpoint.eq) {
    check(fi_ep_bind(endpoint.ep, &endpoint.eq->fid, 0));
  } else {
    struct fi_av_attr av = {.type = FI_AV_TABLE, .count = 2};
    check(fi_av_open(endpoint.domain, &av, &endpoint.av, NULL));
    check(fi_ep_bind(endpoint.ep, &endpoint.av->fid, 0));
  }
  uint64_t selective = endpoint.counters ? FI_SELECTIVE_COMPLETION : 0;
  check(fi_ep_bind(endpoint.ep, &endpoint.cq->fid, FI_TRANSMIT | FI_RECV | selective));
  if (endpoint.counters) {
    endpoint.sends.counter = bind_counter(FI_SEND);
    endpoint.receives.counter = bind_counter(FI_RECV);
  }
  check(fi_enable(endpoint.ep));
}

struct introduction {
  uint64_t memory;
  uint64_t key;
  char name[name_max];
};

// Exchanges names with the other side, and where its memory is.
static void introduce(int connection) {
  struct introduction ours = {.memory = control_area}, theirs;
  if (endpoint.receives.region) ours.key = fi_mr_key(endpoint.receives.region);
  if (endpoint.info->domain_attr->mr_mode & (FI_MR_VIRT_ADDR | FI_MR_BASIC)) {
    ours.memory = (uint64_t)(uintptr_t)endpoint.receives.data;
  }
  size_t length = sizeof ours.name;
  check(fi_getname(&endpoint.ep->fid, ours.name, &length));
  tell(connection, &ours, sizeof ours);
  hear(connection, &theirs, sizeof theirs, make_progress);
  endpoint.peer = FI_ADDR_UNSPEC;
  int inserted = endpoint.av ? fi_av_insert(endpoint.av, theirs.name, 1, &endpoint.peer, 0, NULL) : 1;
  if (inserted != 1) die("fi_av_insert failed");
  endpoint.peer_memory = theirs.memory;
  endpoint.peer_key = theirs.key;
}

void endpoint_open(const struct options *options, size_t operations, size_t bytes, int connection) {
  struct fi_info *info = endpoint.info = find_provider(options);
  if (!info) die("not offered");
  endpoint.blocking = options->blocking;
  endpoint.counters = options->counters;
  check(fi_fabric(info->fabric_attr, &endpoint.fabric, NULL));
  check(fi_domain(endpoint.fabric, info, &endpoint.domain, NULL));
  ring_open(&endpoint.sends, operation_send, operations, bytes, 1);
  ring_open(&endpoint.receives, operation_receive, operations, bytes, 2);
  if (info->ep_attr->type == FI_EP_MSG) {
    endpoint_connect(options, connection);
  } else {
    endpoint_make(info);
  }
  introduce(connection);
}

static void arrange(struct ring *ring, char *memory, size_t count, size_t size) {
  ring->count = count;
  ring->size = size;
  ring->posted = ring->completed = 0;
  ring->ordered = false;
  for (size_t i = 0; i < count; i++) {
    struct operation *operation = &ring->operations[i];
    operation->buffer = memory + i * size;
    operation->busy = false;
    operation->next_free = i + 1 < count ? operation + 1 : NULL;
  }
  ring->first_free = ring->operations;
  ring->last_free = &ring->operations[count - 1];
}

void ring_arrange(struct ring *ring, size_t count, size_t size) {
  if (count > ring->allocated || count * size > ring->capacity) die("%zu buffers of %zu bytes do not fit", count, size);
  arrange(ring, ring->data, count, size);
}

void ring_arrange_control(struct ring *ring) { arrange(ring, ring->memory, control_count, control_size); }

// ---- free operations ----------------------------------------------------------------------------------------------

// The one to post next: that which has been free for longest, or NULL. Costs the same whether all are busy or none.
static struct operation *free_operation(const struct ring *ring) {
  struct operation *operation = ring->ordered ? &ring->operations[ring->posted % ring->count] : ring->first_free;
  return operation && !operation->busy ? operation : NULL;
}

// Makes what free_operation found busy.
static void take(struct ring *ring, struct operation *operation) {
  operation->busy = true;
  operation->sequence = ring->posted++;
  if (!ring->ordered) ring->first_free = operation->next_free;
}

static void give_back(struct ring *ring, struct operation *operation) {
  ring->completed++;
  operation->busy = false;
  if (ring->ordered) return;
  operation->next_free = NULL;
  if (ring->first_free) {
    ring->last_free->next_free = operation;
  } else {
    ring->first_free = operation;
  }
  ring->last_free = operation;
}

// ---- completions --------------------------------------------------------------------------------------------------

_Noreturn static void report_error(void) {
  struct fi_cq_err_entry error = {0};
  fi_cq_readerr(endpoint.cq, &error, 0);
  die("an operation failed: %s (provider's error %d)", fi_strerror(error.err), error.prov_errno);
}

static void complete(struct operation *operation) {
  if (operation->kind == operation_send) {
    give_back(&endpoint.sends, operation);
  } else {
    give_back(&endpoint.receives, operation);
    if (endpoint.received) endpoint.received(operation);
  }
}

static void complete_all(const struct fi_cq_tagged_entry *entries, ssize_t count) {
  for (ssize_t i = 0; i < count; i++) complete(entries[i].op_context);
}

// How many more operations the ring's counter shows; the oldest are those.
static ssize_t read_counter(struct ring *ring) {
  uint64_t counted = fi_cntr_read(ring->counter), news = counted - ring->counted;
  if (!news && fi_cntr_readerr(ring->counter)) report_error();
  ring->counted = counted;
  for (uint64_t i = 0; i < news; i++) complete(&ring->operations[ring->completed % ring->count]);
  return (ssize_t)news;
}

static ssize_t read_completions(void) {
  if (endpoint.counters) return read_counter(&endpoint.sends) + read_counter(&endpoint.receives);
  struct fi_cq_tagged_entry entries[completions_at_once];
  ssize_t count = fi_cq_read(endpoint.cq, entries, completions_at_once);
  if (count == -FI_EAGAIN) return 0;
  if (count == -FI_EAVAIL) report_error();
  complete_all(entries, check_result(count, "fi_cq_read"));
  return count;
}

// Sleeps for one counter at a time, so not for long.
static void sleep_for_counters(void) {
  bool sending = endpoint.sends.completed < endpoint.sends.posted;
  struct ring *ring = sending ? &endpoint.sends : &endpoint.receives;
  (void)fi_cntr_wait(ring->counter, ring->counted + 1, 1);
}

static void sleep_for_completions(int milliseconds) {
  if (endpoint.counters) return sleep_for_counters();
  struct fi_cq_tagged_entry entries[completions_at_once];
  ssize_t count = fi_cq_sread(endpoint.cq, entries, completions_at_once, NULL, milliseconds);
  if (count == -FI_EAGAIN || count == -FI_EINTR || count == -FI_ETIMEDOUT) return;
  if (count == -FI_EAVAIL) report_error();
  complete_all(entries, check_result(count, "fi_cq_sread"));
}

void wait_for_completions(void) {
  if (read_completions() == 0 && endpoint.blocking) sleep_for_completions(1000);
}

void make_progress(void) {
  if (endpoint.counters) {
    (void)fi_cntr_read(endpoint.receives.counter);
  } else {
    (void)fi_cq_read(endpoint.cq, NULL, 0);
  }
}

void wait_briefly(void) {
  if (read_completions() == 0 && endpoint.blocking) sleep_for_completions(1);
}

void wait_for_sends(void) {
  while (endpoint.sends.completed < endpoint.sends.posted) wait_for_completions();
}

void wait_for_receives(uint64_t completed) {
  while (endpoint.receives.completed < completed) wait_for_completions();
}

// ---- posting ------------------------------------------------------------------------------------------------------

static struct operation *next_operation(struct ring *ring) {
  struct operation *operation;
  while (!(operation = free_operation(ring))) wait_for_completions();
  take(ring, operation);
  return operation;
}

// Repeats a call while the provider has no room.
#define post(call)                                               \
  do {                                                           \
    ssize_t post_result;                                         \
    while ((post_result = (call)) == -FI_EAGAIN) wait_briefly(); \
    check_result(post_result, #call);                            \
  } while (0)

void post_receive(void) {
  struct operation *operation = next_operation(&endpoint.receives);
  char *buffer = operation->buffer;
  size_t length = endpoint.receives.size;
  void *descriptor = endpoint.receives.descriptor;
  if (endpoint.tagged) {
    post(fi_trecv(endpoint.ep, buffer, length, descriptor, FI_ADDR_UNSPEC, message_tag, 0, operation));
  } else {
    post(fi_recv(endpoint.ep, buffer, length, descriptor, FI_ADDR_UNSPEC, operation));
  }
}

static ssize_t send_operation(struct operation *operation, size_t length) {
  void *descriptor = endpoint.sends.descriptor;
  if (endpoint.tagged) {
    return fi_tsend(endpoint.ep, operation->buffer, length, descriptor, endpoint.peer, message_tag, operation);
  }
  return fi_send(endpoint.ep, operation->buffer, length, descriptor, endpoint.peer, operation);
}

void post_send(size_t length) {
  struct operation *operation = next_operation(&endpoint.sends);
  post(send_operation(operation, length));
}

bool try_post_send(size_t length, double patience) {
  double deadline = seconds() + patience;
  for (;;) {
    struct operation *operation = free_operation(&endpoint.sends);
    ssize_t result = operation ? send_operation(operation, length) : -FI_EAGAIN;
    if (result != -FI_EAGAIN) {
      check_result(result, "fi_send");
      take(&endpoint.sends, operation);
      return true;
    }
    if (seconds() > deadline) return false;
    wait_briefly();
  }
}

void post_inject(size_t length) {
  struct ring *ring = &endpoint.sends;
  char *buffer = ring->operations[ring->posted % ring->count].buffer;
  if (endpoint.tagged) {
    post(fi_tinject(endpoint.ep, buffer, length, endpoint.peer, message_tag));
  } else {
    post(fi_inject(endpoint.ep, buffer, length, endpoint.peer));
  }
  ring->posted++;
  ring->completed++;  // there is no completion: the buffer is free at once
}

void post_write(size_t length) {
  struct operation *operation = next_operation(&endpoint.sends);
  uint64_t target = endpoint.peer_memory + (uint64_t)(operation->buffer - endpoint.sends.data);
  post(fi_write(endpoint.ep, operation->buffer, length, endpoint.sends.descriptor, endpoint.peer, target,
                endpoint.peer_key, operation));
}

void post_read(size_t length) {
  struct operation *operation = next_operation(&endpoint.sends);
  uint64_t source = endpoint.peer_memory + (uint64_t)(operation->buffer - endpoint.sends.data);
  post(fi_read(endpoint.ep, operation->buffer, length, endpoint.sends.descriptor, endpoint.peer, source,
               endpoint.peer_key, operation));
}

void post_add(size_t length) {
  struct operation *operation = next_operation(&endpoint.sends);
  post(fi_atomic(endpoint.ep, operation->buffer, length / sizeof(uint64_t), endpoint.sends.descriptor, endpoint.peer,
                 endpoint.peer_memory, endpoint.peer_key, FI_UINT64, FI_SUM, operation));
}

void post_fetch_add(size_t length) {
  struct operation *operation = next_operation(&endpoint.sends);
  char *operands = operation->buffer, *fetched = operands + length;
  void *descriptor = endpoint.sends.descriptor;
  post(fi_fetch_atomic(endpoint.ep, operands, length / sizeof(uint64_t), descriptor, fetched, descriptor, endpoint.peer,
                       endpoint.peer_memory, endpoint.peer_key, FI_UINT64, FI_SUM, operation));
}

bool has_atomic(bool fetch, size_t length) {
  size_t count = 0;
  int result = fetch ? fi_fetch_atomicvalid(endpoint.ep, FI_UINT64, FI_SUM, &count)
                     : fi_atomicvalid(endpoint.ep, FI_UINT64, FI_SUM, &count);
  return result == 0 && length / sizeof(uint64_t) <= count;
}
