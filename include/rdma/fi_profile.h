// SPDX-License-Identifier: Apache-2.0
//
// Statistics that providers keep. Man page: fi_profile(3).

#ifndef FI_PROFILE_H
#define FI_PROFILE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/fi_domain.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Variables that mean the same with every provider; all but the second are counts, FI_UINT64.
enum {
  FI_VAR_UNEXP_MSG_CNT,    ///< unexpected messages
  FI_VAR_UNEXP_MSG_QUEUE,  ///< their entries: FI_TYPE_CQ_ERR_ENTRY
  FI_VAR_MSG_QUEUE_CNT,    ///< posted receives
  FI_VAR_CONNECTION_CNT,
  FI_VAR_CONN_REQUEST,
  FI_VAR_CONN_ACCEPT,
  FI_VAR_CONN_REJECT,
  FI_VAR_OFI_MEM,  ///< bytes of memory
};

enum {
  FI_EVENT_UNEXP_MSG_RECVD,    ///< FI_VAR_UNEXP_MSG_CNT went up
  FI_EVENT_UNEXP_MSG_MATCHED,  ///< FI_VAR_UNEXP_MSG_CNT went down
};

/// Which member of fi_profile_desc.datatype says what the data is.
enum fi_profile_type {
  fi_primitive_type,
  fi_defined_type,
};

/// A variable or an event.
struct fi_profile_desc {
  uint32_t id;
  enum fi_profile_type datatype_sel;
  union {
    enum fi_datatype primitive;
    enum fi_type defined;
  } datatype;
  uint64_t flags;
  size_t size;  ///< bytes
  const char *name;
  const char *desc;
};

struct fid_profile;

struct fi_profile_ops {
  size_t size;
  void (*reset)(struct fid_profile *prof_fid, uint64_t flags);
  ssize_t (*query_vars)(struct fid_profile *prof_fid, struct fi_profile_desc *varlist, size_t *count);
  ssize_t (*query_events)(struct fid_profile *prof_fid, struct fi_profile_desc *eventlist, size_t *count);
  ssize_t (*read_var)(struct fid_profile *prof_fid, uint32_t var_id, void *data, size_t *size);
  int (*reg_callback)(struct fid_profile *prof_fid, uint32_t event_id,
                      int (*callback)(struct fid_profile *prof_fid, struct fi_profile_desc *event,
                                      void *param, size_t size, void *context),
                      void *context);
  void (*start_reads)(struct fid_profile *prof_fid, uint64_t flags);
  void (*end_reads)(struct fid_profile *prof_fid, uint64_t flags);
};

struct fid_profile {
  struct fid fid;
  struct fi_profile_ops *ops;
};

/// Opens the profile of an object.
FI_INLINE int fi_profile_open(struct fid *fid, uint64_t flags, struct fid_profile **prof_fid, void *context) {
  // What is opened by name is the place of the table inside the profile.
  void *ops;
  int ret = fi_open_ops(fid, "fi_profile_ops", flags, &ops, context);
  if (!ret)
    *prof_fid = (struct fid_profile *)((char *)ops - offsetof(struct fid_profile, ops));
  return ret;
}

FI_INLINE int fi_profile_close(struct fid_profile *prof_fid) {
  return prof_fid->fid.ops->close(&prof_fid->fid);
}

FI_INLINE void fi_profile_reset(struct fid_profile *prof_fid, uint64_t flags) {
  prof_fid->ops->reset(prof_fid, flags);
}

/// Lists up to `count` variables; for a NULL list, counts them.
FI_INLINE ssize_t fi_profile_query_vars(struct fid_profile *prof_fid, struct fi_profile_desc *varlist,
                                        size_t *count) {
  return prof_fid->ops->query_vars(prof_fid, varlist, count);
}

/// Lists up to `count` events; for a NULL list, counts them.
FI_INLINE ssize_t fi_profile_query_events(struct fid_profile *prof_fid, struct fi_profile_desc *eventlist,
                                          size_t *count) {
  return prof_fid->ops->query_events(prof_fid, eventlist, count);
}

FI_INLINE ssize_t fi_profile_read_u64(struct fid_profile *prof_fid, uint32_t var_id, uint64_t *data) {
  size_t size = sizeof(uint64_t);
  ssize_t ret = prof_fid->ops->read_var(prof_fid, var_id, (void *)data, &size);
  return ret > 0 ? 0 : ret;
}

/// Calls `callback` when the event happens.
FI_INLINE int fi_profile_register_callback(struct fid_profile *prof_fid, uint32_t event_id,
                                           int (*callback)(struct fid_profile *prof_fid,
                                                           struct fi_profile_desc *event, void *param,
                                                           size_t size, void *context),
                                           void *context) {
  return prof_fid->ops->reg_callback(prof_fid, event_id, callback, context);
}

/// Between these two calls variables are read at one moment.
FI_INLINE void fi_profile_start_reads(struct fid_profile *prof_fid, uint64_t flags) {
  prof_fid->ops->start_reads(prof_fid, flags);
}

FI_INLINE void fi_profile_end_reads(struct fid_profile *prof_fid, uint64_t flags) {
  prof_fid->ops->end_reads(prof_fid, flags);
}

#ifdef __cplusplus
}
#endif

#endif /* FI_PROFILE_H */
