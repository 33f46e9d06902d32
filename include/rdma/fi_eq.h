// SPDX-License-Identifier: Apache-2.0
//
// Event queues, completion queues, counters, and ways to wait for them.
// Man pages: fi_eq(3), fi_cq(3), fi_cntr(3), fi_poll(3).

#ifndef FI_EQ_H
#define FI_EQ_H

#include <poll.h>
#include <pthread.h>

#include <rdma/fabric.h>
#include <rdma/fi_errno.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- Wait objects -------------------------------------------------------------------------------

/// What a program can sleep on until a queue or counter has something to say.
enum fi_wait_obj {
  FI_WAIT_NONE,        ///< nothing: the program polls
  FI_WAIT_UNSPEC,      ///< what the provider likes best, through its own waiting calls
  FI_WAIT_SET,         ///< a wait set; retired
  FI_WAIT_FD,          ///< a file descriptor for poll() and the like
  FI_WAIT_MUTEX_COND,  ///< retired
  FI_WAIT_YIELD,       ///< the waiting calls yield the processor
  FI_WAIT_POLLFD,      ///< a list of file descriptors
};

/// FI_GETWAIT's answer for FI_WAIT_MUTEX_COND.
struct fi_mutex_cond {
  pthread_mutex_t *mutex;
  pthread_cond_t *cond;
};

/// FI_GETWAIT's answer for FI_WAIT_POLLFD.
struct fi_wait_pollfd {
  uint64_t change_index;  ///< differs when the set of descriptors has changed
  size_t nfds;            ///< in: room at fd; out: descriptors
  struct pollfd *fd;
};

/// 0 when the program may sleep on the wait objects of `fids`; -FI_EAGAIN when events are waiting.
FI_INLINE int fi_trywait(struct fid_fabric *fabric, struct fid **fids, int count) {
  return fabric->ops->trywait(fabric, fids, count);
}

// ---- Wait sets and poll sets: fi_poll(3); deprecated since 2.0 ----------------------------------

struct fi_wait_attr {
  enum fi_wait_obj wait_obj;
  uint64_t flags;
};

struct fi_ops_wait {
  size_t size;
  int (*wait)(struct fid_wait *waitset, int timeout);
};

struct fid_wait {
  struct fid fid;
  struct fi_ops_wait *ops;
};

/// Waits up to `timeout` milliseconds for any member of the set; forever if negative.
FI_INLINE FI_DEPRECATED_FUNC int fi_wait(struct fid_wait *waitset, int timeout) {
  return waitset->ops->wait(waitset, timeout);
}

struct fi_poll_attr {
  uint64_t flags;
};

struct fi_ops_poll {
  size_t size;
  int (*poll)(struct fid_poll *pollset, void **context, int count);
  int (*poll_add)(struct fid_poll *pollset, struct fid *event_fid, uint64_t flags);
  int (*poll_del)(struct fid_poll *pollset, struct fid *event_fid, uint64_t flags);
};

struct fid_poll {
  struct fid fid;
  struct fi_ops_poll *ops;
};

/// Stores the contexts of members that may have events; returns how many.
FI_INLINE FI_DEPRECATED_FUNC int fi_poll(struct fid_poll *pollset, void **context, int count) {
  return pollset->ops->poll(pollset, context, count);
}

FI_INLINE FI_DEPRECATED_FUNC int fi_poll_add(struct fid_poll *pollset, struct fid *event_fid, uint64_t flags) {
  return pollset->ops->poll_add(pollset, event_fid, flags);
}

FI_INLINE FI_DEPRECATED_FUNC int fi_poll_del(struct fid_poll *pollset, struct fid *event_fid, uint64_t flags) {
  return pollset->ops->poll_del(pollset, event_fid, flags);
}

// ---- Event queues: fi_eq(3) ---------------------------------------------------------------------

struct fi_eq_attr {
  size_t size;     ///< events, or 0 for the provider's choice
  uint64_t flags;  ///< FI_WRITE: the program itself will insert events
  enum fi_wait_obj wait_obj;
  int signaling_vector;
  struct fid_wait *wait_set;  ///< with FI_WAIT_SET; deprecated
};

/// Kinds of event.
enum {
  FI_NOTIFY,         ///< struct fi_eq_entry
  FI_CONNREQ,        ///< struct fi_eq_cm_entry
  FI_CONNECTED,      ///< struct fi_eq_cm_entry
  FI_SHUTDOWN,       ///< struct fi_eq_cm_entry
  FI_MR_COMPLETE,    ///< struct fi_eq_entry
  FI_AV_COMPLETE,    ///< struct fi_eq_entry
  FI_JOIN_COMPLETE,  ///< struct fi_eq_entry
};

struct fi_eq_entry {
  fid_t fid;
  void *context;
  uint64_t data;
};

struct fi_eq_err_entry {
  fid_t fid;
  void *context;
  uint64_t data;
  int err;         ///< FI_E*, positive
  int prov_errno;  ///< the provider's own number
  void *err_data;  ///< room of the caller's, or the provider's memory until the next read
  size_t err_data_size;
};

/// `info` is the caller's to free; `data` holds what the other side gave to its call.
struct fi_eq_cm_entry {
  fid_t fid;
  struct fi_info *info;
  uint8_t data[];
};

struct fi_ops_eq {
  size_t size;
  ssize_t (*read)(struct fid_eq *eq, uint32_t *event, void *buf, size_t len, uint64_t flags);
  ssize_t (*readerr)(struct fid_eq *eq, struct fi_eq_err_entry *buf, uint64_t flags);
  ssize_t (*write)(struct fid_eq *eq, uint32_t event, const void *buf, size_t len, uint64_t flags);
  ssize_t (*sread)(struct fid_eq *eq, uint32_t *event, void *buf, size_t len, int timeout, uint64_t flags);
  const char *(*strerror)(struct fid_eq *eq, int prov_errno, const void *err_data, char *buf, size_t len);
};

struct fid_eq {
  struct fid fid;
  struct fi_ops_eq *ops;
};

FI_INLINE int fi_eq_open(struct fid_fabric *fabric, struct fi_eq_attr *attr, struct fid_eq **eq,
                         void *context) {
  return fabric->ops->eq_open(fabric, attr, eq, context);
}

/// Takes the oldest event; FI_PEEK leaves it. Returns the bytes stored, -FI_EAGAIN when there is none, or -FI_EAVAIL
/// when an error entry has to be read first.
FI_INLINE ssize_t fi_eq_read(struct fid_eq *eq, uint32_t *event, void *buf, size_t len, uint64_t flags) {
  return eq->ops->read(eq, event, buf, len, flags);
}

/// Takes the oldest error entry.
FI_INLINE ssize_t fi_eq_readerr(struct fid_eq *eq, struct fi_eq_err_entry *buf, uint64_t flags) {
  return eq->ops->readerr(eq, buf, flags);
}

/// Appends an event of the program's own.
FI_INLINE ssize_t fi_eq_write(struct fid_eq *eq, uint32_t event, const void *buf, size_t len, uint64_t flags) {
  return eq->ops->write(eq, event, buf, len, flags);
}

/// fi_eq_read() that waits up to `timeout` milliseconds; forever if negative.
FI_INLINE ssize_t fi_eq_sread(struct fid_eq *eq, uint32_t *event, void *buf, size_t len, int timeout,
                              uint64_t flags) {
  return eq->ops->sread(eq, event, buf, len, timeout, flags);
}

/// Text for a provider's error number, in `buf` if it is given.
FI_INLINE const char *fi_eq_strerror(struct fid_eq *eq, int prov_errno, const void *err_data, char *buf,
                                     size_t len) {
  return eq->ops->strerror(eq, prov_errno, err_data, buf, len);
}

// ---- Completion queues: fi_cq(3) ----------------------------------------------------------------

enum fi_cq_format {
  FI_CQ_FORMAT_UNSPEC,
  FI_CQ_FORMAT_CONTEXT,  ///< struct fi_cq_entry
  FI_CQ_FORMAT_MSG,      ///< struct fi_cq_msg_entry
  FI_CQ_FORMAT_DATA,     ///< struct fi_cq_data_entry
  FI_CQ_FORMAT_TAGGED,   ///< struct fi_cq_tagged_entry
};

enum fi_cq_wait_cond {
  FI_CQ_COND_NONE,
  FI_CQ_COND_THRESHOLD,  ///< `cond` is a count, as a size_t
};

struct fi_cq_attr {
  size_t size;  ///< completions, or 0 for the provider's choice
  uint64_t flags;
  enum fi_cq_format format;
  enum fi_wait_obj wait_obj;
  int signaling_vector;
  enum fi_cq_wait_cond wait_cond;
  struct fid_wait *wait_set;    ///< with FI_WAIT_SET; deprecated
  struct fid_xpu_ctx *xpu_ctx;  ///< since FABRIC_1.10
};

// Each format begins with the fields of the shorter one.
struct fi_cq_entry {
  void *op_context;
};

struct fi_cq_msg_entry {
  void *op_context;
  uint64_t flags;  ///< FI_SEND, FI_RECV, FI_MSG and the like
  size_t len;      ///< bytes received
};

struct fi_cq_data_entry {
  void *op_context;
  uint64_t flags;
  size_t len;
  void *buf;      ///< the place in a FI_MULTI_RECV buffer
  uint64_t data;  ///< remote completion data, with FI_REMOTE_CQ_DATA
};

struct fi_cq_tagged_entry {
  void *op_context;
  uint64_t flags;
  size_t len;
  void *buf;
  uint64_t data;
  uint64_t tag;
};

/// An operation that failed. Fields from err_data_size on were added by 1.5, src_addr by 1.20.
struct fi_cq_err_entry {
  void *op_context;
  uint64_t flags;
  size_t len;
  void *buf;
  uint64_t data;
  uint64_t tag;
  size_t olen;     ///< bytes that did not fit
  int err;         ///< FI_E*, positive
  int prov_errno;  ///< the provider's own number
  void *err_data;  ///< room of the caller's, or the provider's memory until the next read
  size_t err_data_size;
  fi_addr_t src_addr;  ///< the other side, or FI_ADDR_NOTAVAIL
};

struct fi_ops_cq {
  size_t size;
  ssize_t (*read)(struct fid_cq *cq, void *buf, size_t count);
  ssize_t (*readfrom)(struct fid_cq *cq, void *buf, size_t count, fi_addr_t *src_addr);
  ssize_t (*readerr)(struct fid_cq *cq, struct fi_cq_err_entry *buf, uint64_t flags);
  ssize_t (*sread)(struct fid_cq *cq, void *buf, size_t count, const void *cond, int timeout);
  ssize_t (*sreadfrom)(struct fid_cq *cq, void *buf, size_t count, fi_addr_t *src_addr, const void *cond,
                       int timeout);
  int (*signal)(struct fid_cq *cq);
  const char *(*strerror)(struct fid_cq *cq, int prov_errno, const void *err_data, char *buf, size_t len);
  /// Since FABRIC_1.10.
  int (*export_xpu)(struct fid_cq *cq, uint64_t flags, struct fid_xpu_cq *xpu_cq);
};

struct fid_cq {
  struct fid fid;
  struct fi_ops_cq *ops;
};

/// Takes up to `count` completions in the queue's format. Returns how many, -FI_EAGAIN when there is none, or
/// -FI_EAVAIL when an error entry has to be read first.
FI_INLINE ssize_t fi_cq_read(struct fid_cq *cq, void *buf, size_t count) {
  return cq->ops->read(cq, buf, count);
}

/// fi_cq_read() that also tells where messages came from.
FI_INLINE ssize_t fi_cq_readfrom(struct fid_cq *cq, void *buf, size_t count, fi_addr_t *src_addr) {
  return cq->ops->readfrom(cq, buf, count, src_addr);
}

/// Takes the oldest error entry. Returns 1, or -FI_EAGAIN when there is none.
FI_INLINE ssize_t fi_cq_readerr(struct fid_cq *cq, struct fi_cq_err_entry *buf, uint64_t flags) {
  // Providers that know only the older, shorter entry leave this field alone.
  if (buf)
    buf->src_addr = FI_ADDR_NOTAVAIL;
  return cq->ops->readerr(cq, buf, flags);
}

/// fi_cq_read() that waits up to `timeout` milliseconds; forever if negative.
FI_INLINE ssize_t fi_cq_sread(struct fid_cq *cq, void *buf, size_t count, const void *cond, int timeout) {
  return cq->ops->sread(cq, buf, count, cond, timeout);
}

/// fi_cq_readfrom() that waits up to `timeout` milliseconds; forever if negative.
FI_INLINE ssize_t fi_cq_sreadfrom(struct fid_cq *cq, void *buf, size_t count, fi_addr_t *src_addr,
                                  const void *cond, int timeout) {
  return cq->ops->sreadfrom(cq, buf, count, src_addr, cond, timeout);
}

/// Wakes whoever waits in fi_cq_sread().
FI_INLINE int fi_cq_signal(struct fid_cq *cq) {
  return cq->ops->signal(cq);
}

/// Text for a provider's error number, in `buf` if it is given.
FI_INLINE const char *fi_cq_strerror(struct fid_cq *cq, int prov_errno, const void *err_data, char *buf,
                                     size_t len) {
  return cq->ops->strerror(cq, prov_errno, err_data, buf, len);
}

/// Gives an accelerator access to the queue.
FI_INLINE int fi_cq_export_xpu(struct fid_cq *cq, uint64_t flags, struct fid_xpu_cq *xpu_cq) {
  return cq->ops->export_xpu(cq, flags, xpu_cq);
}

// ---- Counters: fi_cntr(3) -----------------------------------------------------------------------

enum fi_cntr_events {
  FI_CNTR_EVENTS_COMP,   ///< operations
  FI_CNTR_EVENTS_BYTES,  ///< bytes
};

struct fi_cntr_attr {
  enum fi_cntr_events events;
  enum fi_wait_obj wait_obj;
  struct fid_wait *wait_set;  ///< with FI_WAIT_SET; deprecated
  uint64_t flags;
  struct fid_xpu_ctx *xpu_ctx;  ///< since FABRIC_1.10
};

struct fi_ops_cntr {
  size_t size;
  uint64_t (*read)(struct fid_cntr *cntr);
  uint64_t (*readerr)(struct fid_cntr *cntr);
  int (*add)(struct fid_cntr *cntr, uint64_t value);
  int (*set)(struct fid_cntr *cntr, uint64_t value);
  int (*wait)(struct fid_cntr *cntr, uint64_t threshold, int timeout);
  int (*adderr)(struct fid_cntr *cntr, uint64_t value);
  int (*seterr)(struct fid_cntr *cntr, uint64_t value);
  /// Since FABRIC_1.10.
  int (*export_xpu)(struct fid_cntr *cntr, uint64_t flags, struct fid_xpu_cntr *xpu_cntr);
};

struct fid_cntr {
  struct fid fid;
  struct fi_ops_cntr *ops;
};

/// Operations that succeeded.
FI_INLINE uint64_t fi_cntr_read(struct fid_cntr *cntr) {
  return cntr->ops->read(cntr);
}

/// Operations that failed.
FI_INLINE uint64_t fi_cntr_readerr(struct fid_cntr *cntr) {
  return cntr->ops->readerr(cntr);
}

FI_INLINE int fi_cntr_add(struct fid_cntr *cntr, uint64_t value) {
  return cntr->ops->add(cntr, value);
}

FI_INLINE int fi_cntr_adderr(struct fid_cntr *cntr, uint64_t value) {
  if (!FI_CHECK_OP(cntr->ops, struct fi_ops_cntr, adderr))
    return -FI_ENOSYS;
  return cntr->ops->adderr(cntr, value);
}

FI_INLINE int fi_cntr_set(struct fid_cntr *cntr, uint64_t value) {
  return cntr->ops->set(cntr, value);
}

FI_INLINE int fi_cntr_seterr(struct fid_cntr *cntr, uint64_t value) {
  if (!FI_CHECK_OP(cntr->ops, struct fi_ops_cntr, seterr))
    return -FI_ENOSYS;
  return cntr->ops->seterr(cntr, value);
}

/// Waits until the counter reaches `threshold`, up to `timeout` milliseconds; forever if negative. -FI_EAVAIL when an
/// operation fails meanwhile, -FI_ETIMEDOUT when time is up.
FI_INLINE int fi_cntr_wait(struct fid_cntr *cntr, uint64_t threshold, int timeout) {
  return cntr->ops->wait(cntr, threshold, timeout);
}

/// Gives an accelerator access to the counter.
FI_INLINE int fi_cntr_export_xpu(struct fid_cntr *cntr, uint64_t flags, struct fid_xpu_cntr *xpu_cntr) {
  return cntr->ops->export_xpu(cntr, flags, xpu_cntr);
}

#ifdef __cplusplus
}
#endif

#endif /* FI_EQ_H */
