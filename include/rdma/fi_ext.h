// SPDX-License-Identifier: Apache-2.0
//
// Extensions: handing objects between providers, programs and the library. Man pages: fi_provider(3), fi_fabric(3).

#ifndef FI_EXT_H
#define FI_EXT_H

#include <stdbool.h>

#include <rdma/fabric.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/providers/fi_log.h>
#include <rdma/providers/fi_prov.h>

#ifdef __cplusplus
extern "C" {
#endif

// Numbers of providers' own options and commands: bits 16 to 27 name the provider, the value is negative.
#define FI_PROV_SPECIFIC_EFA (0xefa << 16)
#define FI_PROV_SPECIFIC_TCP (0x7cb << 16)

enum {
  FI_OPT_EFA_RNR_RETRY = -FI_PROV_SPECIFIC_EFA,
  FI_OPT_EFA_EMULATED_READ,
  FI_OPT_EFA_EMULATED_WRITE,
  FI_OPT_EFA_EMULATED_ATOMICS,
  FI_OPT_EFA_USE_DEVICE_RDMA,
  FI_OPT_EFA_SENDRECV_IN_ORDER_ALIGNED_128_BYTES,
  FI_OPT_EFA_WRITE_IN_ORDER_ALIGNED_128_BYTES,
  FI_OPT_EFA_HOMOGENEOUS_PEERS,
  FI_OPT_EFA_USE_UNSOLICITED_WRITE_RECV,
};

// ---- Export and import of objects ---------------------------------------------------------------

/// FI_EXPORT_FID: where to store the exported object.
struct fi_fid_export {
  struct fid **fid;
  uint64_t flags;
  void *context;
};

FI_INLINE int fi_export_fid(struct fid *fid, uint64_t flags, struct fid **expfid, void *context) {
  struct fi_fid_export exported;
  exported.fid = expfid;
  exported.flags = flags;
  exported.context = context;
  return fi_control(fid, FI_EXPORT_FID, &exported);
}

FI_INLINE int fi_import_fid(struct fid *fid, struct fid *expfid, uint64_t flags) {
  return fid->ops->bind(fid, expfid, flags);
}

/// Gives `fid` to the library's object called `name`.
FI_INLINE int fi_import(uint32_t version, const char *name, void *attr, size_t attr_len, uint64_t flags,
                        struct fid *fid, void *context) {
  struct fid *open_fid;
  int ret = fi_open(version, name, attr, attr_len, flags, &open_fid, context);
  if (ret != FI_SUCCESS)
    return ret;

  ret = fi_import_fid(open_fid, fid, flags);
  fi_close(open_fid);
  return ret;
}

// ---- "mr_cache": a memory monitor of the program's ----------------------------------------------

struct fid_mem_monitor;

/// What the library asks of the monitor.
struct fi_ops_mem_monitor {
  size_t size;
  int (*start)(struct fid_mem_monitor *monitor);
  void (*stop)(struct fid_mem_monitor *monitor);
  int (*subscribe)(struct fid_mem_monitor *monitor, const void *addr, size_t len);
  void (*unsubscribe)(struct fid_mem_monitor *monitor, const void *addr, size_t len);
  bool (*valid)(struct fid_mem_monitor *monitor, const void *addr, size_t len);
};

/// What the monitor tells the library.
struct fi_ops_mem_notify {
  size_t size;
  void (*notify)(struct fid_mem_monitor *monitor, const void *addr, size_t len);
};

struct fid_mem_monitor {
  struct fid fid;
  struct fi_ops_mem_monitor *export_ops;  ///< by the program
  struct fi_ops_mem_notify *import_ops;   ///< by the library
};

// ---- "logging": a log of the program's ----------------------------------------------------------

// Set when fi_log(3) filters have already let the provider pass.
#define FI_LOG_PROV_FILTERED (1ULL << 0)

struct fi_ops_log {
  size_t size;
  int (*enabled)(const struct fi_provider *prov, enum fi_log_level level, enum fi_log_subsys subsys,
                 uint64_t flags);
  int (*ready)(const struct fi_provider *prov, enum fi_log_level level, enum fi_log_subsys subsys,
               uint64_t flags, uint64_t *showtime);
  void (*log)(const struct fi_provider *prov, enum fi_log_level level, enum fi_log_subsys subsys,
              const char *func, int line, const char *msg);
};

struct fid_logging {
  struct fid fid;
  struct fi_ops_log *ops;
};

/// Sends the library's log to the program's functions; those that are NULL stay the library's.
FI_INLINE int fi_import_log(uint32_t version, uint64_t flags, struct fid_logging *log_fid) {
  log_fid->fid.fclass = FI_CLASS_LOG;
  log_fid->ops->size = sizeof(struct fi_ops_log);
  return fi_import(version, "logging", NULL, 0, flags, &log_fid->fid, log_fid);
}

#ifdef __cplusplus
}
#endif

#endif /* FI_EXT_H */
