// SPDX-License-Identifier: Apache-2.0
//
// Names of endpoints, connections and multicast groups. Man page: fi_cm(3).

#ifndef FI_CM_H
#define FI_CM_H

#include <rdma/fi_endpoint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A multicast or collective group that an endpoint has joined.
struct fid_mc {
  struct fid fid;
  fi_addr_t fi_addr;  ///< what to send to
};

struct fi_ops_cm {
  size_t size;
  int (*setname)(fid_t fid, void *addr, size_t addrlen);
  int (*getname)(fid_t fid, void *addr, size_t *addrlen);
  int (*getpeer)(struct fid_ep *ep, void *addr, size_t *addrlen);
  int (*connect)(struct fid_ep *ep, const void *addr, const void *param, size_t paramlen);
  int (*listen)(struct fid_pep *pep);
  int (*accept)(struct fid_ep *ep, const void *param, size_t paramlen);
  int (*reject)(struct fid_pep *pep, fid_t handle, const void *param, size_t paramlen);
  int (*shutdown)(struct fid_ep *ep, uint64_t flags);
  int (*join)(struct fid_ep *ep, const void *addr, uint64_t flags, struct fid_mc **mc, void *context);
};

// ---- Names --------------------------------------------------------------------------------------

FI_INLINE int fi_setname(fid_t fid, void *addr, size_t addrlen) {
  struct fid_ep *ep = (struct fid_ep *)fid;
  return ep->cm->setname(fid, addr, addrlen);
}

/// The address peers reach this endpoint at. `addrlen` is in: room at addr; out: bytes of the address.
FI_INLINE int fi_getname(fid_t fid, void *addr, size_t *addrlen) {
  struct fid_ep *ep = (struct fid_ep *)fid;
  return ep->cm->getname(fid, addr, addrlen);
}

FI_INLINE int fi_getpeer(struct fid_ep *ep, void *addr, size_t *addrlen) {
  return ep->cm->getpeer(ep, addr, addrlen);
}

// ---- Connections --------------------------------------------------------------------------------

FI_INLINE int fi_listen(struct fid_pep *pep) {
  return pep->cm->listen(pep);
}

FI_INLINE int fi_connect(struct fid_ep *ep, const void *addr, const void *param, size_t paramlen) {
  return ep->cm->connect(ep, addr, param, paramlen);
}

FI_INLINE int fi_accept(struct fid_ep *ep, const void *param, size_t paramlen) {
  return ep->cm->accept(ep, param, paramlen);
}

FI_INLINE int fi_reject(struct fid_pep *pep, fid_t handle, const void *param, size_t paramlen) {
  return pep->cm->reject(pep, handle, param, paramlen);
}

FI_INLINE int fi_shutdown(struct fid_ep *ep, uint64_t flags) {
  return ep->cm->shutdown(ep, flags);
}

// ---- Groups -------------------------------------------------------------------------------------

FI_INLINE int fi_join(struct fid_ep *ep, const void *addr, uint64_t flags, struct fid_mc **mc, void *context) {
  if (!FI_CHECK_OP(ep->cm, struct fi_ops_cm, join))
    return -FI_ENOSYS;
  return ep->cm->join(ep, addr, flags, mc, context);
}

FI_INLINE fi_addr_t fi_mc_addr(struct fid_mc *mc) {
  return mc->fi_addr;
}

#ifdef __cplusplus
}
#endif

#endif /* FI_CM_H */
