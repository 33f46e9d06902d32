// The objects that programs hold. Each begins with the structure of the public headers, so its address is the
// object's `fid`; `object` is the Swift object behind it, as an unmanaged pointer.

#ifndef LFP_HANDLES_H
#define LFP_HANDLES_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_collective.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_ext.h>
#include <rdma/fi_profile.h>

struct lfp_fabric {
  struct fid_fabric fid;
  void *object;
};

struct lfp_domain {
  struct fid_domain fid;
  void *object;
};

/// Tables of the data path, as a handle has them that defers nothing.
struct lfp_tables {
  struct fi_ops_msg *msg;
  struct fi_ops_tagged *tagged;
  struct fi_ops_rma *rma;
};

/// What has data calls begins alike, so that the calls are the same. They find here: `port`, where operations are
/// posted, and `receiver`, the receive context, once there are any; the number of the transmit context that posts; the
/// flags of operations whose call takes none; and what is added to those and to the flags of the others, FI_COMPLETION
/// unless completions are selective. `tables` are set once the data path is open; `fid` has others in their place while
/// default flags hold FI_TRIGGER. An alias is another handle of the same object; `next_alias` leads from the object's own
/// handle, the `parent`, through all of them.
#define LFP_ENDPOINT            \
  struct fid_ep fid;            \
  void *object;                 \
  void *port;                   \
  void *receiver;               \
  uint64_t transmit_context;    \
  uint64_t transmit_flags;      \
  uint64_t transmit_completion; \
  uint64_t receive_flags;       \
  uint64_t receive_completion;  \
  struct lfp_tables tables;     \
  struct lfp_ep *parent;        \
  struct lfp_ep *next_alias

struct lfp_ep {
  LFP_ENDPOINT;
};

struct lfp_srx {
  LFP_ENDPOINT;
};

/// Transmit and receive contexts of a scalable endpoint.
struct lfp_tx_ctx {
  LFP_ENDPOINT;
};

struct lfp_rx_ctx {
  LFP_ENDPOINT;
};

struct lfp_pep {
  struct fid_pep fid;
  void *object;
};

struct lfp_stx {
  struct fid_stx fid;
  void *object;
};

struct lfp_eq {
  struct fid_eq fid;
  void *object;
};

struct lfp_cq {
  struct fid_cq fid;
  void *object;
};

struct lfp_cntr {
  struct fid_cntr fid;
  void *object;
};

struct lfp_wait {
  struct fid_wait fid;
  void *object;
};

struct lfp_poll {
  struct fid_poll fid;
  void *object;
};

struct lfp_av {
  struct fid_av fid;
  void *object;
};

struct lfp_av_set {
  struct fid_av_set fid;
  void *object;
};

struct lfp_mr {
  struct fid_mr fid;
  void *object;
};

struct lfp_mc {
  struct fid_mc fid;
  void *object;
};

struct lfp_profile {
  struct fid_profile fid;
  void *object;
};

#endif /* LFP_HANDLES_H */
