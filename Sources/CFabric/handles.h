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

/// Endpoints. `receiver` is the receive context that the receive calls post to, once there is one.
struct lfp_ep {
  struct fid_ep fid;
  void *object;
  void *receiver;
};

/// Laid out as lfp_ep, so that the receive calls are the same.
struct lfp_srx {
  struct fid_ep fid;
  void *object;
  void *receiver;
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

/// Objects without a structure of their own: connection requests, and the "logging" and "mr_cache" of fi_open().
struct lfp_object {
  struct fid fid;
  void *object;
};

#endif /* LFP_HANDLES_H */
