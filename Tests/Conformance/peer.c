// Serving under another provider, which owns completion queue, counter, address vector, event queue and receives. The
// owner here is a small one of the test's. Man page: fi_peer(3).
#include "fixture.h"

#include <malloc.h>

#include <rdma/fi_trigger.h>
#include <rdma/providers/fi_peer.h>

// ---- an owner -----------------------------------------------------------------------------------------------------

enum { maximum_completions = 4096, maximum_iov = 20 };

struct completion {
  void *context;
  uint64_t flags;
  size_t length;
  void *buffer;
  uint64_t data;
  uint64_t tag;
  fi_addr_t source;
  int error;
  size_t overflow;
};

// A receive or a message, in the owner's list of posted receives, in that of unexpected messages, or with the peer.
struct entry {
  struct fi_peer_rx_entry peer;  // first
  struct entry *next;
  struct iovec iov[maximum_iov];
  uint64_t ignore;
};

static struct {
  struct completion completions[maximum_completions];
  size_t written;
  size_t taken;
  int refusals;  // calls of the queue that are still to fail
  struct fid_peer_cq cq;
  uint64_t count;
  uint64_t errors;
  struct fid_peer_cntr cntr;
  struct fid_peer_srx srx;
  struct entry *posted[2];  // [1]: tagged
  struct entry *unexpected[2];
  int get_refusals;
  int untagged_error;
  int queue_refusals;
  int entries;  // that exist
  int asked;
  pthread_t thread;  // who may call
} owner;

static ssize_t write_completion(struct fid_peer_cq *cq, void *context, uint64_t flags, size_t len, void *buf,
                                uint64_t data, uint64_t tag, fi_addr_t src) {
  assert_ptr_equal(cq, &owner.cq);
  if (owner.refusals > 0) return owner.refusals--, -FI_EAGAIN;
  assert_true(owner.written < maximum_completions);
  owner.completions[owner.written++] = (struct completion){
      .context = context, .flags = flags, .length = len, .buffer = buf, .data = data, .tag = tag, .source = src};
  return 0;
}

static ssize_t write_error(struct fid_peer_cq *cq, const struct fi_cq_err_entry *error) {
  assert_ptr_equal(cq, &owner.cq);
  if (owner.refusals > 0) return owner.refusals--, -FI_EAGAIN;
  assert_true(owner.written < maximum_completions);
  owner.completions[owner.written++] = (struct completion){.context = error->op_context,
                                                           .flags = error->flags,
                                                           .length = error->len,
                                                           .data = error->data,
                                                           .tag = error->tag,
                                                           .source = error->src_addr,
                                                           .error = error->err,
                                                           .overflow = error->olen};
  return 0;
}

static struct fi_ops_cq_owner cq_operations = {
    .size = sizeof cq_operations, .write = write_completion, .writeerr = write_error};

static void increment(struct fid_peer_cntr *cntr) {
  assert_ptr_equal(cntr, &owner.cntr);
  owner.count++;
}

static void increment_errors(struct fid_peer_cntr *cntr) {
  assert_ptr_equal(cntr, &owner.cntr);
  owner.errors++;
}

static struct fi_ops_cntr_owner cntr_operations = {
    .size = sizeof cntr_operations, .inc = increment, .incerr = increment_errors};

static struct entry *new_entry(fi_addr_t addr, uint64_t tag, uint64_t flags) {
  struct entry *entry = calloc(1, sizeof *entry);
  entry->peer.srx = &owner.srx;
  entry->peer.addr = addr;
  entry->peer.tag = tag;
  entry->peer.flags = flags;
  entry->peer.iov = entry->iov;
  owner.entries++;
  return entry;
}

static void append(struct entry **list, struct entry *entry) {
  while (*list) list = &(*list)->next;
  entry->next = NULL;
  *list = entry;
}

static void unlink_entry(struct entry **list, struct entry *entry) {
  while (*list && *list != entry) list = &(*list)->next;
  if (*list) *list = entry->next;
}

static int get(struct fi_peer_match_attr *match, struct fi_peer_rx_entry **found, bool tagged) {
  assert_true(pthread_equal(pthread_self(), owner.thread));
  owner.asked++;
  if (owner.get_refusals > 0) return owner.get_refusals--, -FI_ENOMEM;
  if (!tagged) assert_int_equal(match->tag, 0);
  if (!tagged && owner.untagged_error) return owner.untagged_error;
  for (struct entry *entry = owner.posted[tagged]; entry; entry = entry->next) {
    if (tagged && ((entry->peer.tag ^ match->tag) & ~entry->ignore)) continue;
    if (entry->peer.addr != FI_ADDR_UNSPEC && entry->peer.addr != match->addr) continue;
    unlink_entry(&owner.posted[tagged], entry);
    entry->peer.msg_size = match->msg_size;
    *found = &entry->peer;
    return 0;
  }
  struct entry *entry = new_entry(match->addr, match->tag, (tagged ? FI_TAGGED : FI_MSG) | FI_RECV);
  entry->peer.msg_size = match->msg_size;
  *found = &entry->peer;
  return -FI_ENOENT;
}

static int get_msg(struct fid_peer_srx *srx, struct fi_peer_match_attr *match, struct fi_peer_rx_entry **entry) {
  assert_ptr_equal(srx, &owner.srx);
  return get(match, entry, false);
}

static int get_tag(struct fid_peer_srx *srx, struct fi_peer_match_attr *match, struct fi_peer_rx_entry **entry) {
  assert_ptr_equal(srx, &owner.srx);
  return get(match, entry, true);
}

static int queue(struct fi_peer_rx_entry *peer, bool tagged) {
  assert_true(pthread_equal(pthread_self(), owner.thread));
  assert_non_null(peer->peer_context);
  if (owner.queue_refusals > 0) return owner.queue_refusals--, -FI_ENOMEM;
  append(&owner.unexpected[tagged], (struct entry *)peer);
  return 0;
}

static int queue_msg(struct fi_peer_rx_entry *entry) { return queue(entry, false); }
static int queue_tag(struct fi_peer_rx_entry *entry) { return queue(entry, true); }

static void foreach_unspec_addr(struct fid_peer_srx *srx, fi_addr_t (*get_addr)(struct fi_peer_rx_entry *entry)) {
  assert_ptr_equal(srx, &owner.srx);
  for (int tagged = 0; tagged < 2; tagged++) {
    for (struct entry *entry = owner.unexpected[tagged]; entry; entry = entry->next) {
      if (entry->peer.addr == FI_ADDR_UNSPEC) entry->peer.addr = get_addr(&entry->peer);
    }
  }
}

static void free_entry(struct fi_peer_rx_entry *peer) {
  for (int tagged = 0; tagged < 2; tagged++) unlink_entry(&owner.unexpected[tagged], (struct entry *)peer);
  owner.entries--;
  free(peer);
}

static struct fi_ops_srx_owner srx_operations = {.size = sizeof srx_operations,
                                                 .get_msg = get_msg,
                                                 .get_tag = get_tag,
                                                 .queue_msg = queue_msg,
                                                 .queue_tag = queue_tag,
                                                 .foreach_unspec_addr = foreach_unspec_addr,
                                                 .free_entry = free_entry};

// What the owner's fi_recv and fi_trecv do: an unexpected message is started, else the receive waits.
static void owner_receive_pieces(bool tagged, const struct iovec *iov, size_t count, fi_addr_t from, uint64_t tag,
                                 uint64_t ignore, void *context, uint64_t flags) {
  assert_true(count <= maximum_iov);
  struct entry *entry = owner.unexpected[tagged];
  while (entry && ((tagged && ((entry->peer.tag ^ tag) & ~ignore)) ||
                   (from != FI_ADDR_UNSPEC && from != entry->peer.addr))) {
    entry = entry->next;
  }
  bool start = entry;
  if (start) unlink_entry(&owner.unexpected[tagged], entry);
  if (!entry) entry = new_entry(from, tag, (tagged ? FI_TAGGED : FI_MSG) | FI_RECV);
  memcpy(entry->iov, iov, count * sizeof *iov);
  entry->peer.count = count;
  entry->peer.context = context;
  entry->peer.flags |= flags;
  entry->ignore = ignore;
  if (!start) return append(&owner.posted[tagged], entry);
  struct fi_ops_srx_peer *peer = owner.srx.peer_ops;
  assert_success(tagged ? peer->start_tag(&entry->peer) : peer->start_msg(&entry->peer));
}

static void owner_receive(bool tagged, void *buffer, size_t length, fi_addr_t from, uint64_t tag, void *context) {
  struct iovec iov = {buffer, length};
  owner_receive_pieces(tagged, &iov, 1, from, tag, 0, context, FI_COMPLETION);
}

static size_t count_of(const struct entry *list) {
  size_t count = 0;
  for (; list; list = list->next) count++;
  return count;
}

static struct completion take_completion(void) {
  wait_until(owner.written > owner.taken);
  return owner.completions[owner.taken++];
}

// ---- the peer, and somebody who sends to it ------------------------------------------------------------------------

struct served {
  struct node node;
  struct fid_ep *srx;
  struct node sender;
  fi_addr_t to_served;
  fi_addr_t to_sender;
};

static const struct setup with_peer = {.caps = FI_MSG | FI_TAGGED | FI_DIRECTED_RECV | FI_SOURCE | FI_PEER,
                                       .version = FI_VERSION(2, 3),
                                       .progress = FI_PROGRESS_MANUAL};
static const struct setup plain = {.caps = FI_MSG | FI_TAGGED | FI_SOURCE, .version = FI_VERSION(2, 3)};

static struct fid_cq *import_cq(struct node *node) {
  owner.cq.owner_ops = &cq_operations;
  struct fi_peer_cq_context context = {.size = sizeof context, .cq = &owner.cq};
  struct fi_cq_attr attributes = {.flags = FI_PEER};
  struct fid_cq *cq = NULL;
  assert_offered(fi_cq_open(node->domain, &attributes, &cq, &context));
  memset(&context, 0, sizeof context);
  watch_cq(cq);
  return cq;
}

static struct fid_ep *import_srx(struct node *node) {
  owner.thread = pthread_self();
  owner.srx.owner_ops = &srx_operations;
  struct fi_peer_srx_context context = {.size = sizeof context, .srx = &owner.srx};
  struct fi_rx_attr attributes = {.op_flags = FI_PEER};
  struct fid_ep *srx = NULL;
  assert_offered(fi_srx_context(node->domain, &attributes, &srx, &context));
  memset(&context, 0, sizeof context);
  assert_true(owner.srx.peer_ops->size >= sizeof *owner.srx.peer_ops);
  return srx;
}

// An endpoint in the node's domain, bound to its vector and queue, and to `srx` if there is one.
static struct fid_ep *open_served_endpoint(struct node *node, struct fid_ep *srx, uint64_t rx_flags) {
  struct fid_ep *ep = NULL;
  assert_success(fi_endpoint(node->domain, node->info, &ep, NULL));
  assert_success(fi_ep_bind(ep, &node->av->fid, 0));
  assert_success(fi_ep_bind(ep, &node->tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(ep, &node->tx_cq->fid, FI_RECV | rx_flags));
  if (srx) assert_success(fi_ep_bind(ep, &srx->fid, 0));
  return ep;
}

static void served_open_with(struct served *served, const struct setup *setup, bool imports_srx, uint64_t rx_flags,
                             bool knows_sender) {
  memset(served, 0, sizeof *served);
  memset(&owner, 0, sizeof owner);
  node_open(&served->sender, &plain);
  struct node *node = &served->node;
  node_open_domain(node, setup);
  node->av = av_open(node, FI_AV_UNSPEC);
  node->tx_cq = import_cq(node);
  if (imports_srx) served->srx = import_srx(node);
  node->ep = open_served_endpoint(node, served->srx, rx_flags);
  assert_success(fi_enable(node->ep));
  node->address_length = sizeof node->address;
  assert_success(fi_getname(&node->ep->fid, node->address, &node->address_length));
  served->to_served = node_insert(&served->sender, node->address);
  served->to_sender = knows_sender ? node_insert(node, served->sender.address) : FI_ADDR_UNSPEC;
}

static void served_open(struct served *served, bool imports_srx) {
  served_open_with(served, &with_peer, imports_srx, 0, true);
}

static void served_close(struct served *served) {
  close_fid(served->node.ep);
  served->node.ep = NULL;
  if (served->srx) close_fid(served->srx);
  node_close(&served->node);
  node_close(&served->sender);
  for (int tagged = 0; tagged < 2; tagged++) {
    while (owner.posted[tagged]) {
      struct entry *entry = owner.posted[tagged];
      owner.posted[tagged] = entry->next;
      free_entry(&entry->peer);
    }
  }
  assert_int_equal(owner.entries, 0);
  assert_int_equal(owner.written, owner.taken);
}

static void send_to_served(struct served *served, const void *buffer, size_t length, uint64_t tag, void *context) {
  post(fi_tsend(served->sender.ep, buffer, length, NULL, served->to_served, tag, context));
}

// ---- discovery ----------------------------------------------------------------------------------------------------

CASE(the_capability_is_listed_where_asked_for) {
  struct fi_info *info = find_info(&with_peer);
  assert_true(info->caps & FI_PEER);
  assert_true(info->domain_attr->caps & FI_PEER);
  fi_freeinfo(info);
  info = find_info(&plain);
  assert_false(info->caps & FI_PEER);
  fi_freeinfo(info);
}

CASE(datagram_endpoints_serve_nobody) {
  struct fi_info *hints = new_hints(), *info = NULL;
  hints->ep_attr->type = FI_EP_DGRAM;
  hints->caps = FI_MSG | FI_PEER;
  assert_returns(fi_getinfo(FI_VERSION(2, 3), NULL, NULL, 0, hints, &info), -FI_ENODATA);
  fi_freeinfo(hints);
}

// ---- completion queues --------------------------------------------------------------------------------------------

CASE(cq_checks_the_context) {
  struct node node;
  node_open_domain(&node, &with_peer);
  struct fi_cq_attr attributes = {.flags = FI_PEER};
  struct fid_cq *cq = NULL;
  struct fi_ops_cq_owner operations = cq_operations;
  struct fid_peer_cq peer = {.owner_ops = &operations};
  struct fi_peer_cq_context context = {.size = sizeof context, .cq = &peer};
  assert_returns(fi_cq_open(node.domain, &attributes, &cq, NULL), -FI_EINVAL);
  context.size--;
  assert_returns(fi_cq_open(node.domain, &attributes, &cq, &context), -FI_EINVAL);
  context = (struct fi_peer_cq_context){.size = sizeof context};
  assert_returns(fi_cq_open(node.domain, &attributes, &cq, &context), -FI_EINVAL);
  context.cq = &peer;
  operations.writeerr = NULL;
  assert_returns(fi_cq_open(node.domain, &attributes, &cq, &context), -FI_EINVAL);
  peer.owner_ops = NULL;
  assert_returns(fi_cq_open(node.domain, &attributes, &cq, &context), -FI_EINVAL);
  node_close(&node);
}

CASE(an_imported_cq_only_drives_progress) {
  struct served served;
  served_open(&served, false);
  struct fid_cq *cq = served.node.tx_cq;
  struct fi_cq_tagged_entry entry;
  struct fi_cq_err_entry error = {0};
  fi_addr_t source;
  assert_returns(fi_cq_read(cq, NULL, 0), 0);
  assert_returns(fi_cq_readfrom(cq, &entry, 1, &source), -FI_ENOSYS);
  assert_returns(fi_cq_readerr(cq, &error, 0), -FI_ENOSYS);
  assert_returns(fi_cq_sread(cq, &entry, 1, NULL, 0), -FI_ENOSYS);
  assert_returns(fi_cq_sreadfrom(cq, &entry, 1, &source, NULL, 0), -FI_ENOSYS);
  assert_returns(fi_cq_signal(cq), -FI_ENOSYS);
  served_close(&served);
}

CASE(completions_are_written_to_the_owner) {
  struct served served;
  served_open(&served, false);
  char buffer[2][256], payload[200], other[100];
  fill(payload, sizeof payload, 1);
  fill(other, sizeof other, 2);
  post(fi_trecv(served.node.ep, buffer[0], sizeof buffer[0], NULL, FI_ADDR_UNSPEC, 7, 0, &buffer[0]));
  post(fi_recv(served.node.ep, buffer[1], sizeof buffer[1], NULL, FI_ADDR_UNSPEC, &buffer[1]));
  post(fi_tsenddata(served.sender.ep, payload, sizeof payload, NULL, 99, served.to_served, 7, NULL));
  struct completion done = take_completion();
  assert_ptr_equal(done.context, &buffer[0]);
  assert_int_equal(done.flags, FI_TAGGED | FI_RECV | FI_REMOTE_CQ_DATA);
  assert_int_equal(done.length, sizeof payload);
  assert_int_equal(done.data, 99);
  assert_int_equal(done.tag, 7);
  assert_int_equal(done.source, served.to_sender);
  verify(buffer[0], sizeof payload, 1);
  post(fi_send(served.sender.ep, other, sizeof other, NULL, served.to_served, NULL));
  done = take_completion();
  assert_ptr_equal(done.context, &buffer[1]);
  assert_int_equal(done.flags, FI_MSG | FI_RECV);
  verify(buffer[1], sizeof other, 2);
  post(fi_recv(served.sender.ep, buffer[0], sizeof buffer[0], NULL, FI_ADDR_UNSPEC, NULL));
  post(fi_send(served.node.ep, payload, sizeof payload, NULL, served.to_sender, &payload));
  done = take_completion();
  assert_ptr_equal(done.context, &payload);
  assert_int_equal(done.flags, FI_MSG | FI_SEND);
  wait_for(served.sender.rx_cq, NULL);
  served_close(&served);
}

CASE(errors_are_written_to_the_owner) {
  struct served served;
  served_open(&served, false);
  char buffer[64], payload[100];
  fill(payload, sizeof payload, 1);
  post(fi_trecv(served.node.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, 7, 0, &buffer));
  send_to_served(&served, payload, sizeof payload, 7, NULL);
  struct completion done = take_completion();
  assert_int_equal(done.error, FI_ETRUNC);
  assert_int_equal(done.overflow, sizeof payload - sizeof buffer);
  assert_ptr_equal(done.context, &buffer);
  assert_int_equal(done.source, served.to_sender);
  post(fi_trecv(served.node.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, 8, 0, payload));
  assert_success(fi_cancel(&served.node.ep->fid, payload));
  done = take_completion();
  assert_int_equal(done.error, FI_ECANCELED);
  assert_ptr_equal(done.context, payload);
  served_close(&served);
}

CASE(an_owner_without_room_loses_nothing) {
  enum { count = 50 };
  struct served served;
  served_open(&served, false);
  char buffer[count][16];
  for (int i = 0; i < count; i++) {
    post(fi_trecv(served.node.ep, buffer[i], sizeof buffer[i], NULL, FI_ADDR_UNSPEC, (uint64_t)i, 0, buffer[i]));
  }
  owner.refusals = 20;
  for (int i = 0; i < count; i++) send_to_served(&served, "sixteen bytes...", 16, (uint64_t)i, NULL);
  for (int i = 0; i < count; i++) {
    struct completion done = take_completion();
    assert_ptr_equal(done.context, buffer[i]);
    assert_int_equal(done.tag, i);
  }
  assert_int_equal(owner.refusals, 0);
  served_close(&served);
}

// ---- counters -----------------------------------------------------------------------------------------------------

CASE(a_counter_of_the_owner_counts) {
  struct served served;
  memset(&owner, 0, sizeof owner);
  memset(&served, 0, sizeof served);
  node_open(&served.sender, &plain);
  struct node *node = &served.node;
  node_open_domain(node, &with_peer);
  node->av = av_open(node, FI_AV_UNSPEC);
  node->tx_cq = import_cq(node);
  owner.cntr.owner_ops = &cntr_operations;
  struct fi_peer_cntr_context context = {.size = sizeof context, .cntr = &owner.cntr};
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP, .flags = FI_PEER};
  struct fid_cntr *cntr = NULL;
  assert_offered(fi_cntr_open(node->domain, &attributes, &cntr, &context));
  node->ep = open_served_endpoint(node, NULL, 0);
  assert_success(fi_ep_bind(node->ep, &cntr->fid, FI_RECV));
  assert_success(fi_enable(node->ep));
  size_t length = sizeof node->address;
  assert_success(fi_getname(&node->ep->fid, node->address, &length));
  served.to_served = node_insert(&served.sender, node->address);
  char buffer[3][8];
  for (int i = 0; i < 3; i++) post(fi_trecv(node->ep, buffer[i], 8, NULL, FI_ADDR_UNSPEC, 1, 0, NULL));
  send_to_served(&served, "12345678", 8, 1, NULL);
  send_to_served(&served, "123456789", 9, 1, NULL);
  send_to_served(&served, "1234", 4, 1, NULL);
  for (int i = 0; i < 3; i++) (void)take_completion();
  assert_int_equal(owner.count, 2);
  assert_int_equal(owner.errors, 1);
  assert_int_equal(fi_cntr_read(cntr), 0);
  assert_int_equal(fi_cntr_readerr(cntr), 0);
  assert_returns(fi_cntr_add(cntr, 1), -FI_ENOSYS);
  assert_returns(fi_cntr_set(cntr, 1), -FI_ENOSYS);
  assert_returns(fi_cntr_adderr(cntr, 1), -FI_ENOSYS);
  assert_returns(fi_cntr_seterr(cntr, 1), -FI_ENOSYS);
  assert_returns(fi_cntr_wait(cntr, 1, 0), -FI_ENOSYS);
  close_fid(node->ep);
  node->ep = NULL;
  close_fid(cntr);
  node_close(node);
  node_close(&served.sender);
}

// The owner alone knows the count. What would wait for it is refused at once; it is told what has ended.
CASE(a_counter_of_the_owner_triggers_nothing) {
  struct setup setup = with_peer;
  setup.caps |= FI_TRIGGER;
  struct node node;
  memset(&owner, 0, sizeof owner);
  node_open(&node, &setup);
  owner.cntr.owner_ops = &cntr_operations;
  struct fi_peer_cntr_context context = {.size = sizeof context, .cntr = &owner.cntr};
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_COMP, .flags = FI_PEER};
  struct fid_cntr *imported = NULL, *own = NULL;
  assert_offered(fi_cntr_open(node.domain, &attributes, &imported, &context));
  attributes.flags = 0;
  assert_success(fi_cntr_open(node.domain, &attributes, &own, NULL));
  fi_addr_t self = node_insert(&node, node.address);
  char byte = 1, received = 0;
  struct iovec iov = {&byte, 1};
  struct fi_triggered_context2 trigger = {.event_type = FI_TRIGGER_THRESHOLD};
  trigger.trigger.threshold.cntr = imported;
  struct fi_msg msg = {.msg_iov = &iov, .iov_count = 1, .addr = self, .context = &trigger};
  assert_returns(fi_sendmsg(node.ep, &msg, FI_TRIGGER), -FI_ENOSYS);
  assert_returns(fi_recvmsg(node.ep, &msg, FI_TRIGGER), -FI_ENOSYS);
  struct fi_op_msg send = {.ep = node.ep, .msg = msg};
  struct fi_deferred_work work = {.op_type = FI_OP_SEND, .triggering_cntr = imported, .op.msg = &send};
  assert_returns(fi_control(&node.domain->fid, FI_QUEUE_WORK, &work), -FI_ENOSYS);
  struct fi_op_cntr change = {imported, 1};
  struct fi_deferred_work add = {.op_type = FI_OP_CNTR_ADD, .triggering_cntr = own, .op.cntr = &change};
  assert_returns(fi_control(&node.domain->fid, FI_QUEUE_WORK, &add), -FI_ENOSYS);
  add.op_type = FI_OP_CNTR_SET;
  assert_returns(fi_control(&node.domain->fid, FI_QUEUE_WORK, &add), -FI_ENOSYS);
  // The owner's own one is no object of this library's.
  struct fi_ops operations = {.size = sizeof operations};
  struct fid_cntr foreign = {.fid = {.fclass = FI_CLASS_CNTR, .ops = &operations}};
  work.triggering_cntr = &foreign;
  assert_returns(fi_control(&node.domain->fid, FI_QUEUE_WORK, &work), -FI_ENOSYS);
  assert_returns(fi_control(&node.domain->fid, FI_FLUSH_WORK, &foreign), -FI_ENOSYS);
  work.triggering_cntr = own;
  work.completion_cntr = imported;
  assert_success(fi_control(&node.domain->fid, FI_QUEUE_WORK, &work));
  post(fi_recv(node.ep, &received, 1, NULL, FI_ADDR_UNSPEC, &received));
  wait_for(node.rx_cq, &received);
  wait_until(owner.count == 1);
  close_fid(imported);
  close_fid(own);
  node_close(&node);
}

CASE(cntr_checks_the_context) {
  struct node node;
  node_open_domain(&node, &with_peer);
  struct fi_ops_cntr_owner operations = cntr_operations;
  struct fid_peer_cntr peer = {.owner_ops = &operations};
  struct fi_peer_cntr_context context = {.size = sizeof context, .cntr = &peer};
  struct fi_cntr_attr attributes = {.events = FI_CNTR_EVENTS_BYTES, .flags = FI_PEER};
  struct fid_cntr *cntr = NULL;
  assert_returns(fi_cntr_open(node.domain, &attributes, &cntr, &context), -FI_EINVAL);  // owners count one by one
  attributes.events = FI_CNTR_EVENTS_COMP;
  assert_returns(fi_cntr_open(node.domain, &attributes, &cntr, NULL), -FI_EINVAL);
  operations.size--;
  assert_returns(fi_cntr_open(node.domain, &attributes, &cntr, &context), -FI_EINVAL);
  operations.size++;
  operations.inc = NULL;
  assert_returns(fi_cntr_open(node.domain, &attributes, &cntr, &context), -FI_EINVAL);
  node_close(&node);
}

// ---- address vectors, event queues, domains -----------------------------------------------------------------------

static int query_result;

static int query_vector(struct fid_peer_av *av, struct fi_av_attr *attributes) {
  (void)av;
  attributes->type = FI_AV_TABLE;
  attributes->count = 5;
  return query_result;
}

static struct fi_ops_av_owner av_operations = {.size = sizeof av_operations, .query = query_vector};

CASE(a_vector_of_the_owner_is_asked) {
  struct served served;
  served_open(&served, false);
  struct fid_peer_av peer = {.owner_ops = &av_operations};
  struct fi_peer_av_context context = {.size = sizeof context, .av = &peer};
  struct fi_av_attr attributes = {.type = FI_AV_UNSPEC, .flags = FI_PEER};
  struct fid_av *av = NULL;
  assert_returns(fi_av_open(served.node.domain, &attributes, &av, NULL), -FI_EINVAL);
  query_result = -FI_ENOMEM;
  assert_returns(fi_av_open(served.node.domain, &attributes, &av, &context), -FI_ENOMEM);
  query_result = 0;
  assert_offered(fi_av_open(served.node.domain, &attributes, &av, &context));
  assert_true(attributes.type == FI_AV_TABLE);
  fi_addr_t number = FI_ADDR_UNSPEC;
  assert_returns(fi_av_insert(av, served.sender.address, 1, &number, 0, NULL), 1);
  assert_int_equal(number, 0);
  close_fid(av);
  served_close(&served);
}

static uint32_t event_numbers[8];
static int event_count, event_refusals;

static ssize_t write_event(struct fid_eq *eq, uint32_t event, const void *buffer, size_t length, uint64_t flags) {
  (void)eq, (void)buffer, (void)flags;
  if (event_refusals > 0) return event_refusals--, -FI_EAGAIN;
  event_numbers[event_count++] = event;
  return (ssize_t)length;
}

static struct fi_ops_eq eq_operations = {.size = sizeof eq_operations, .write = write_event};

CASE(events_are_written_to_the_owner) {
  struct served served;
  served_open(&served, false);
  struct fid_eq peer = {.ops = &eq_operations};
  struct fi_peer_eq_context context = {.size = sizeof context, .eq = &peer};
  struct fi_eq_attr attributes = {.flags = FI_PEER};
  struct fid_eq *eq = NULL;
  assert_returns(fi_eq_open(served.node.fabric, &attributes, &eq, NULL), -FI_EINVAL);
  assert_offered(fi_eq_open(served.node.fabric, &attributes, &eq, &context));
  struct fi_av_attr vector = {.flags = FI_EVENT};
  struct fid_av *av = NULL;
  assert_success(fi_av_open(served.node.domain, &vector, &av, NULL));
  assert_success(av->fid.ops->bind(&av->fid, &eq->fid, 0));
  event_refusals = 1;
  fi_addr_t number;
  assert_true(fi_av_insert(av, served.sender.address, 1, &number, 0, &number) >= 0);
  assert_int_equal(event_count, 0);
  uint32_t event;
  struct fi_eq_entry entry;
  assert_returns(fi_eq_read(eq, &event, &entry, sizeof entry, 0), -FI_EAGAIN);
  assert_int_equal(event_count, 1);
  assert_int_equal(event_numbers[0], FI_AV_COMPLETE);
  struct fi_eq_err_entry error = {0};
  assert_returns(fi_eq_readerr(eq, &error, 0), -FI_ENOSYS);
  assert_returns(fi_eq_sread(eq, &event, &entry, sizeof entry, 0, 0), -FI_ENOSYS);
  assert_returns(fi_eq_write(eq, 0, &entry, sizeof entry, 0), -FI_ENOSYS);
  close_fid(av);
  close_fid(eq);
  served_close(&served);
}

CASE(domains_are_not_imported) {
  struct node node;
  node_open_domain(&node, &with_peer);
  struct fi_peer_domain_context context = {.size = sizeof context, .domain = node.domain};
  struct fid_domain *domain = NULL;
  assert_returns(fi_domain2(node.fabric, node.info, &domain, FI_PEER, &context), -FI_EINVAL);
  node_close(&node);
}

// ---- receives -----------------------------------------------------------------------------------------------------

CASE(srx_checks_the_context) {
  struct node node;
  node_open_domain(&node, &with_peer);
  struct fi_ops_srx_owner operations = srx_operations;
  struct fid_peer_srx peer = {.owner_ops = &operations};
  struct fi_peer_srx_context context = {.size = sizeof context, .srx = &peer};
  struct fi_rx_attr attributes = {.op_flags = FI_PEER};
  struct fid_ep *srx = NULL;
  assert_returns(fi_srx_context(node.domain, &attributes, &srx, NULL), -FI_EINVAL);
  operations.size--;
  assert_returns(fi_srx_context(node.domain, &attributes, &srx, &context), -FI_EINVAL);
  operations.size++;
  operations.get_tag = NULL;
  assert_returns(fi_srx_context(node.domain, &attributes, &srx, &context), -FI_EINVAL);
  node_close(&node);
}

CASE(receives_are_posted_at_the_owner_only) {
  struct served served;
  served_open(&served, true);
  char buffer[8];
  assert_returns(fi_recv(served.srx, buffer, 8, NULL, FI_ADDR_UNSPEC, NULL), -FI_ENOSYS);
  assert_returns(fi_trecv(served.srx, buffer, 8, NULL, FI_ADDR_UNSPEC, 0, 0, NULL), -FI_ENOSYS);
  assert_returns(fi_recv(served.node.ep, buffer, 8, NULL, FI_ADDR_UNSPEC, NULL), -FI_ENOSYS);
  assert_returns(fi_close(&served.srx->fid), -FI_EBUSY);
  assert_fails(fi_ep_bind(served.srx, &served.node.tx_cq->fid, FI_RECV));
  served_close(&served);
}

CASE(messages_meet_the_owners_receives) {
  struct served served;
  served_open(&served, true);
  char small[64], message[64], *large = allocate(1 << 20), *payload = allocate(1 << 20);
  fill(payload, 1 << 20, 5);
  owner_receive(true, small, sizeof small, FI_ADDR_UNSPEC, 3, small);
  owner_receive(true, large, 1 << 20, served.to_sender, 4, large);
  owner_receive(false, message, sizeof message, FI_ADDR_UNSPEC, 0, message);
  post(fi_send(served.sender.ep, payload, 10, NULL, served.to_served, NULL));
  post(fi_tsend(served.sender.ep, payload, 1 << 20, NULL, served.to_served, 4, NULL));
  post(fi_tsenddata(served.sender.ep, payload, sizeof small, NULL, 77, served.to_served, 3, NULL));
  for (int i = 0; i < 3; i++) {
    struct completion done = take_completion();
    assert_int_equal(done.error, 0);
    assert_int_equal(done.source, served.to_sender);
    assert_ptr_equal(done.buffer, done.context);
    if (done.context == message) {
      assert_int_equal(done.flags, FI_MSG | FI_RECV);
      assert_int_equal(done.length, 10);
      verify(message, 10, 5);
    } else if (done.context == large) {
      assert_int_equal(done.flags, FI_TAGGED | FI_RECV);
      assert_int_equal(done.tag, 4);
      assert_int_equal(done.length, 1 << 20);
      verify(large, 1 << 20, 5);
    } else {
      assert_ptr_equal(done.context, small);
      assert_int_equal(done.flags, FI_TAGGED | FI_RECV | FI_REMOTE_CQ_DATA);
      assert_int_equal(done.data, 77);
      verify(small, sizeof small, 5);
    }
  }
  assert_int_equal(owner.entries, 0);
  assert_int_equal(owner.asked, 3);
  for (int i = 0; i < 3; i++) wait_for(served.sender.tx_cq, NULL);
  free(large);
  free(payload);
  served_close(&served);
}

CASE(unexpected_messages_are_the_owners) {
  struct served served;
  served_open(&served, true);
  size_t lengths[] = {0, 8, 1000, 40000, 300000};
  char *payload = allocate(300000), *buffer = allocate(300000);
  fill(payload, 300000, 9);
  for (int i = 0; i < 5; i++) {
    post(fi_tsenddata(served.sender.ep, payload, lengths[i], NULL, 100 + (uint64_t)i, served.to_served, (uint64_t)i,
                      NULL));
  }
  wait_until(count_of(owner.unexpected[1]) == 5);
  int order = 0;
  for (struct entry *entry = owner.unexpected[1]; entry; entry = entry->next, order++) {
    assert_int_equal(entry->peer.tag, order);
    assert_int_equal(entry->peer.msg_size, lengths[order]);
    assert_int_equal(entry->peer.addr, served.to_sender);
    assert_int_equal(entry->peer.cq_data, 100 + order);
    assert_true(entry->peer.flags & FI_REMOTE_CQ_DATA);
  }
  for (int i = 4; i >= 0; i--) {
    memset(buffer, 0, 300000);
    owner_receive(true, buffer, 300000, served.to_sender, (uint64_t)i, &lengths[i]);
    struct completion done = take_completion();
    assert_ptr_equal(done.context, &lengths[i]);
    assert_int_equal(done.flags, FI_TAGGED | FI_RECV | FI_REMOTE_CQ_DATA);
    assert_int_equal(done.length, lengths[i]);
    assert_int_equal(done.data, 100 + i);
    verify(buffer, lengths[i], 9);
  }
  assert_int_equal(owner.entries, 0);
  for (int i = 0; i < 5; i++) wait_for(served.sender.tx_cq, NULL);
  free(buffer);
  free(payload);
  served_close(&served);
}

CASE(the_owner_discards_messages) {
  struct served served;
  served_open(&served, true);
  char *payload = allocate(300000), buffer[8];
  fill(payload, 300000, 9);
  send_to_served(&served, payload, 8, 1, NULL);
  send_to_served(&served, payload, 300000, 2, NULL);
  send_to_served(&served, payload, 8, 3, NULL);
  wait_until(count_of(owner.unexpected[1]) == 3);
  for (int i = 0; i < 2; i++) {
    struct entry *entry = owner.unexpected[1];
    unlink_entry(&owner.unexpected[1], entry);
    assert_success(owner.srx.peer_ops->discard_tag(&entry->peer));
    free_entry(&entry->peer);
  }
  owner_receive(true, buffer, sizeof buffer, FI_ADDR_UNSPEC, 3, buffer);
  assert_ptr_equal(take_completion().context, buffer);
  for (int i = 0; i < 3; i++) wait_for(served.sender.tx_cq, NULL);
  assert_int_equal(owner.entries, 0);
  free(payload);
  served_close(&served);
}

CASE(receives_that_are_too_short) {
  struct served served;
  served_open(&served, true);
  char *payload = allocate(300000), *buffer = allocate(100);
  fill(payload, 300000, 3);
  owner_receive(true, buffer, 100, FI_ADDR_UNSPEC, 1, buffer);
  send_to_served(&served, payload, 150, 1, NULL);
  send_to_served(&served, payload, 300000, 2, NULL);
  struct completion done = take_completion();
  assert_int_equal(done.error, FI_ETRUNC);
  assert_int_equal(done.length, 100);
  assert_int_equal(done.overflow, 50);
  verify(buffer, 100, 3);
  wait_until(owner.unexpected[1]);
  owner_receive(true, buffer, 100, FI_ADDR_UNSPEC, 2, buffer);
  done = take_completion();
  assert_int_equal(done.error, FI_ETRUNC);
  assert_int_equal(done.overflow, 300000 - 100);
  owner_receive(true, NULL, 0, FI_ADDR_UNSPEC, 3, buffer);
  send_to_served(&served, payload, 10, 3, NULL);
  assert_int_equal(take_completion().error, FI_ETRUNC);
  for (int i = 0; i < 3; i++) wait_for(served.sender.tx_cq, NULL);
  free(payload);
  free(buffer);
  served_close(&served);
}

CASE(receives_of_several_pieces) {
  struct served served;
  served_open(&served, true);
  char pieces[maximum_iov][10], payload[40];
  struct iovec iov[maximum_iov];
  for (int i = 0; i < maximum_iov; i++) iov[i] = (struct iovec){pieces[i], sizeof pieces[i]};
  fill(payload, sizeof payload, 4);
  owner_receive_pieces(true, iov, 4, FI_ADDR_UNSPEC, 1, 0, iov, FI_COMPLETION);
  send_to_served(&served, payload, sizeof payload, 1, NULL);
  assert_int_equal(take_completion().length, sizeof payload);
  verify(pieces[0], sizeof payload, 4);
  // More than any operation has.
  owner_receive_pieces(true, iov, maximum_iov, FI_ADDR_UNSPEC, 2, 0, iov, FI_COMPLETION);
  send_to_served(&served, payload, sizeof payload, 2, NULL);
  assert_int_equal(take_completion().error, FI_EINVAL);
  served_close(&served);
}

CASE(an_owner_that_fails_is_asked_again) {
  enum { count = 20 };
  struct served served;
  served_open(&served, true);
  uint64_t values[count], received = 0;
  owner.get_refusals = 3;
  owner.queue_refusals = 2;
  for (uint64_t i = 0; i < count; i++) {
    values[i] = i;
    send_to_served(&served, &values[i], sizeof values[i], 1, NULL);
  }
  wait_until(count_of(owner.unexpected[1]) == count);
  for (uint64_t i = 0; i < count; i++) {
    owner_receive(true, &received, sizeof received, FI_ADDR_UNSPEC, 1, NULL);
    assert_int_equal(take_completion().error, 0);
    assert_int_equal(received, i);
  }
  served_close(&served);
}

CASE(an_owner_that_takes_no_messages) {
  struct served served;
  served_open(&served, true);
  owner.untagged_error = -FI_ENOSYS;
  char buffer[8];
  owner_receive(true, buffer, sizeof buffer, FI_ADDR_UNSPEC, 1, buffer);
  post(fi_sendmsg(served.sender.ep,
                  &(struct fi_msg){.msg_iov = &(struct iovec){"12345678", 8}, .iov_count = 1, .addr = served.to_served},
                  FI_DELIVERY_COMPLETE | FI_COMPLETION));
  send_to_served(&served, "12345678", 8, 1, NULL);
  assert_ptr_equal(take_completion().context, buffer);
  struct fi_cq_err_entry error = {0};
  struct fi_cq_tagged_entry entry;
  wait_until(fi_cq_read(served.sender.tx_cq, &entry, 1) == -FI_EAVAIL);
  assert_returns(fi_cq_readerr(served.sender.tx_cq, &error, 0), 1);
  assert_int_equal(error.err, FI_EREMOTEIO);
  served_close(&served);
}

CASE(senders_become_known_later) {
  struct served served;
  served_open_with(&served, &with_peer, true, 0, false);
  char buffer[8];
  send_to_served(&served, "12345678", 8, 1, NULL);
  wait_until(owner.unexpected[1]);
  assert_int_equal(owner.unexpected[1]->peer.addr, FI_ADDR_UNSPEC);
  fi_addr_t number = node_insert(&served.node, served.sender.address);
  assert_int_equal(owner.unexpected[1]->peer.addr, number);
  owner_receive(true, buffer, sizeof buffer, number, 1, buffer);
  assert_int_equal(take_completion().source, number);
  served_close(&served);
}

CASE(selective_completions) {
  struct served served;
  served_open_with(&served, &with_peer, true, FI_SELECTIVE_COMPLETION, true);
  char buffer[2][8];
  struct iovec iov = {buffer[0], 8};
  owner_receive_pieces(true, &iov, 1, FI_ADDR_UNSPEC, 1, 0, buffer[0], 0);
  owner_receive(true, buffer[1], 8, FI_ADDR_UNSPEC, 2, buffer[1]);
  send_to_served(&served, "12345678", 8, 1, NULL);
  send_to_served(&served, "12345678", 8, 2, NULL);
  assert_ptr_equal(take_completion().context, buffer[1]);
  wait_until(owner.entries == 0);
  served_close(&served);
}

CASE(several_endpoints_serve_one_owner) {
  struct served served;
  served_open(&served, true);
  struct fid_ep *second = open_served_endpoint(&served.node, served.srx, 0);
  assert_success(fi_enable(second));
  char address[128], buffer[2][8];
  size_t length = sizeof address;
  assert_success(fi_getname(&second->fid, address, &length));
  fi_addr_t to_second = node_insert(&served.sender, address);
  post(fi_tsend(served.sender.ep, "12345678", 8, NULL, to_second, 1, NULL));
  wait_until(owner.unexpected[1]);
  owner_receive(true, buffer[1], 8, FI_ADDR_UNSPEC, 2, buffer[1]);
  send_to_served(&served, "12345678", 8, 2, NULL);
  assert_ptr_equal(take_completion().context, buffer[1]);
  owner_receive(true, buffer[0], 8, FI_ADDR_UNSPEC, 1, buffer[0]);
  assert_ptr_equal(take_completion().context, buffer[0]);
  close_fid(second);
  served_close(&served);
}

CASE(an_endpoint_that_closes_returns_the_entries) {
  struct served served;
  served_open(&served, true);
  char *payload = allocate(300000);
  send_to_served(&served, payload, 8, 1, NULL);
  send_to_served(&served, payload, 300000, 2, NULL);
  wait_until(count_of(owner.unexpected[1]) == 2);
  send_to_served(&served, payload, 8, 3, NULL);
  served_close(&served);
  free(payload);
}

CASE(a_message_that_is_lost_while_the_owner_has_it) {
  struct served served;
  served_open(&served, true);
  char *payload = allocate(300000), *buffer = allocate(300000);
  send_to_served(&served, payload, 300000, 1, NULL);
  wait_until(owner.unexpected[1]);
  close_fid(served.sender.ep);  // gives the message up
  served.sender.ep = NULL;
  double end = deadline_after(1);
  while (seconds() < end) drive_progress();
  owner_receive(true, buffer, 300000, FI_ADDR_UNSPEC, 1, buffer);
  struct completion done = take_completion();
  assert_ptr_equal(done.context, buffer);
  assert_true(done.error > 0);
  assert_int_equal(owner.entries, 0);
  free(payload);
  free(buffer);
  served_close(&served);
}

CASE(the_owner_is_called_by_who_polls) {
  struct served served;
  struct setup setup = with_peer;
  setup.progress = FI_PROGRESS_AUTO;
  served_open_with(&served, &setup, true, 0, true);
  char buffer[8];
  owner_receive(true, buffer, sizeof buffer, FI_ADDR_UNSPEC, 1, buffer);
  // The library's own thread takes the messages meanwhile.
  for (int i = 0; i < 5; i++) {
    post(fi_tsend(served.sender.ep, "12345678", 8, NULL, served.to_served, 1 + (uint64_t)i, NULL));
    double end = deadline_after(0.03);
    while (seconds() < end) (void)fi_cq_read(served.sender.tx_cq, NULL, 0);
  }
  assert_int_equal(owner.asked, 0);
  assert_ptr_equal(take_completion().context, buffer);
  wait_until(count_of(owner.unexpected[1]) == 4);
  served_close(&served);
}

CASE(many_messages_in_order) {
  enum { count = 3000, window = 40 };
  struct served served;
  served_open(&served, true);
  uint64_t values[window], received[window];
  uint64_t sent = 0, posted = 0, done = 0;
  unsigned state = 12345;
  double end = deadline_after(20);
  while (done < count) {
    if (seconds() > end) failed("%" PRIu64 " messages after 20 s", done);
    state = state * 1103515245 + 12345;
    if (state >> 16 & 1 && sent < count && sent - done < window) {
      values[sent % window] = sent;
      long result = fi_tsend(served.sender.ep, &values[sent % window], 8, NULL, served.to_served, sent % 3, NULL);
      if (result == 0) sent++;
    } else if (posted < count && posted - done < window) {
      owner_receive(true, &received[posted % window], 8, served.to_sender, posted % 3, &received[posted % window]);
      posted++;
    }
    drive_progress();
    struct fi_cq_tagged_entry entry;
    while (fi_cq_read(served.sender.tx_cq, &entry, 1) == 1) {}
    while (owner.written > owner.taken) {
      struct completion completion = take_completion();
      assert_int_equal(completion.error, 0);
      uint64_t *place = completion.context;
      assert_int_equal(*place % window, place - received);
      assert_int_equal(completion.tag, *place % 3);
      done++;
    }
    if (owner.written == owner.taken) owner.written = owner.taken = 0;
  }
  assert_int_equal(owner.entries, 0);
  served_close(&served);
}

// ---- the end ------------------------------------------------------------------------------------------------------

CASE(imported_objects_come_and_go) {
  enum { rounds = 200, warm_up = 20, spare_bytes = 8192 };
  size_t before = 0;
  for (int i = 0; i < rounds; i++) {
    struct mallinfo2 memory = mallinfo2();
    if (i == warm_up) before = memory.uordblks + memory.hblkhd;
    struct served served;
    char buffer[8];
    served_open(&served, true);
    owner_receive(true, buffer, sizeof buffer, FI_ADDR_UNSPEC, 1, buffer);
    owner_receive(true, buffer, sizeof buffer, FI_ADDR_UNSPEC, 3, buffer);
    send_to_served(&served, "12345678", 8, 2, NULL);
    send_to_served(&served, "12345678", 8, 1, NULL);
    (void)take_completion();
    wait_until(owner.unexpected[1]);
    served_close(&served);
  }
  struct mallinfo2 memory = mallinfo2();
  size_t after = memory.uordblks + memory.hblkhd;
  if (after > before + spare_bytes) failed("%d rounds left %zu bytes", rounds, after - before);
}
