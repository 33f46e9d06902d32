// SPDX-License-Identifier: Apache-2.0
//
// Endpoints and the message operations on them. Man pages: fi_endpoint(3), fi_msg(3).

#ifndef FI_ENDPOINT_H
#define FI_ENDPOINT_H

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fi_ops_cm;
struct fi_ops_rma;
struct fi_ops_tagged;
struct fi_ops_atomic;
struct fi_ops_collective;

// ---- Options: fi_setopt() -----------------------------------------------------------------------

/// Option levels. Negative ones belong to providers.
enum {
  FI_OPT_ENDPOINT,
};

/// Options at FI_OPT_ENDPOINT, with the type of their value. Negative ones belong to providers.
enum {
  FI_OPT_MIN_MULTI_RECV,           ///< size_t, bytes
  FI_OPT_CM_DATA_SIZE,             ///< size_t, bytes
  FI_OPT_BUFFERED_MIN,             ///< retired
  FI_OPT_BUFFERED_LIMIT,           ///< retired
  FI_OPT_SEND_BUF_SIZE,            ///< size_t, bytes
  FI_OPT_RECV_BUF_SIZE,            ///< size_t, bytes
  FI_OPT_TX_SIZE,                  ///< size_t, operations
  FI_OPT_RX_SIZE,                  ///< size_t, operations
  FI_OPT_FI_HMEM_P2P,              ///< int, FI_HMEM_P2P_*
  FI_OPT_XPU_TRIGGER,              ///< retired
  FI_OPT_CUDA_API_PERMITTED,       ///< bool
  FI_OPT_SHARED_MEMORY_PERMITTED,  ///< bool
  FI_OPT_MAX_MSG_SIZE,             ///< size_t, bytes
  FI_OPT_MAX_TAGGED_SIZE,          ///< size_t, bytes
  FI_OPT_MAX_RMA_SIZE,             ///< size_t, bytes
  FI_OPT_MAX_ATOMIC_SIZE,          ///< size_t, bytes
  FI_OPT_INJECT_MSG_SIZE,          ///< size_t, bytes
  FI_OPT_INJECT_TAGGED_SIZE,       ///< size_t, bytes
  FI_OPT_INJECT_RMA_SIZE,          ///< size_t, bytes
  FI_OPT_INJECT_ATOMIC_SIZE,       ///< size_t, bytes
  FI_OPT_FIREWALL_ADDR,            ///< bool
};

/// FI_OPT_FI_HMEM_P2P: transfers directly between devices.
enum {
  FI_HMEM_P2P_ENABLED,    ///< if possible, as the provider likes
  FI_HMEM_P2P_REQUIRED,   ///< always
  FI_HMEM_P2P_PREFERRED,  ///< wherever possible
  FI_HMEM_P2P_DISABLED,   ///< never
};

// ---- Objects ------------------------------------------------------------------------------------

struct fi_ops_ep {
  size_t size;
  ssize_t (*cancel)(fid_t fid, void *context);
  int (*getopt)(fid_t fid, int level, int optname, void *optval, size_t *optlen);
  int (*setopt)(fid_t fid, int level, int optname, const void *optval, size_t optlen);
  int (*tx_ctx)(struct fid_ep *sep, int index, struct fi_tx_attr *attr, struct fid_ep **tx_ep, void *context);
  int (*rx_ctx)(struct fid_ep *sep, int index, struct fi_rx_attr *attr, struct fid_ep **rx_ep, void *context);
  ssize_t (*rx_size_left)(struct fid_ep *ep);
  ssize_t (*tx_size_left)(struct fid_ep *ep);
  /// Since FABRIC_1.10.
  int (*export_xpu)(struct fid_ep *ep, uint64_t flags, struct fid_xpu_ep *xpu_ep);
};

/// A message for the calls that take flags.
struct fi_msg {
  const struct iovec *msg_iov;
  void **desc;  ///< fi_mr_desc() of each piece, or NULL
  size_t iov_count;
  fi_addr_t addr;  ///< the other side
  void *context;
  uint64_t data;  ///< remote completion data, with FI_REMOTE_CQ_DATA
};

struct fi_ops_msg {
  size_t size;
  ssize_t (*recv)(struct fid_ep *ep, void *buf, size_t len, void *desc, fi_addr_t src_addr, void *context);
  ssize_t (*recvv)(struct fid_ep *ep, const struct iovec *iov, void **desc, size_t count, fi_addr_t src_addr,
                   void *context);
  ssize_t (*recvmsg)(struct fid_ep *ep, const struct fi_msg *msg, uint64_t flags);
  ssize_t (*send)(struct fid_ep *ep, const void *buf, size_t len, void *desc, fi_addr_t dest_addr,
                  void *context);
  ssize_t (*sendv)(struct fid_ep *ep, const struct iovec *iov, void **desc, size_t count, fi_addr_t dest_addr,
                   void *context);
  ssize_t (*sendmsg)(struct fid_ep *ep, const struct fi_msg *msg, uint64_t flags);
  ssize_t (*inject)(struct fid_ep *ep, const void *buf, size_t len, fi_addr_t dest_addr);
  ssize_t (*senddata)(struct fid_ep *ep, const void *buf, size_t len, void *desc, uint64_t data,
                      fi_addr_t dest_addr, void *context);
  ssize_t (*injectdata)(struct fid_ep *ep, const void *buf, size_t len, uint64_t data, fi_addr_t dest_addr);
};

/// An endpoint. Tables of kinds of operation that were not asked for may be NULL or refuse.
struct fid_ep {
  struct fid fid;
  struct fi_ops_ep *ops;
  struct fi_ops_cm *cm;
  struct fi_ops_msg *msg;
  struct fi_ops_rma *rma;
  struct fi_ops_tagged *tagged;
  struct fi_ops_atomic *atomic;
  struct fi_ops_collective *collective;
};

/// A passive endpoint, which listens for connections.
struct fid_pep {
  struct fid fid;
  struct fi_ops_ep *ops;
  struct fi_ops_cm *cm;
};

/// A transmit context that endpoints share.
struct fid_stx {
  struct fid fid;
  struct fi_ops_ep *ops;
};

// ---- Opening and configuring: fi_endpoint(3) ----------------------------------------------------

FI_INLINE int fi_passive_ep(struct fid_fabric *fabric, struct fi_info *info, struct fid_pep **pep,
                            void *context) {
  return fabric->ops->passive_ep(fabric, info, pep, context);
}

FI_INLINE int fi_endpoint(struct fid_domain *domain, struct fi_info *info, struct fid_ep **ep, void *context) {
  return domain->ops->endpoint(domain, info, ep, context);
}

/// The same with flags, as FI_PEER_TRANSFER.
FI_INLINE int fi_endpoint2(struct fid_domain *domain, struct fi_info *info, struct fid_ep **ep, uint64_t flags,
                           void *context) {
  if (!flags)
    return fi_endpoint(domain, info, ep, context);
  if (!FI_CHECK_OP(domain->ops, struct fi_ops_domain, endpoint2))
    return -FI_ENOSYS;
  return domain->ops->endpoint2(domain, info, ep, flags, context);
}

FI_INLINE int fi_scalable_ep(struct fid_domain *domain, struct fi_info *info, struct fid_ep **sep,
                             void *context) {
  return domain->ops->scalable_ep(domain, info, sep, context);
}

/// Binds a completion queue (FI_TRANSMIT, FI_RECV, FI_SELECTIVE_COMPLETION), a counter (FI_SEND, FI_REMOTE_WRITE
/// and the like), an address vector, an event queue or a shared context.
FI_INLINE int fi_ep_bind(struct fid_ep *ep, struct fid *bfid, uint64_t flags) {
  return ep->fid.ops->bind(&ep->fid, bfid, flags);
}

FI_INLINE int fi_pep_bind(struct fid_pep *pep, struct fid *bfid, uint64_t flags) {
  return pep->fid.ops->bind(&pep->fid, bfid, flags);
}

FI_INLINE int fi_scalable_ep_bind(struct fid_ep *sep, struct fid *bfid, uint64_t flags) {
  return sep->fid.ops->bind(&sep->fid, bfid, flags);
}

/// Makes an endpoint ready for use once everything is bound to it.
FI_INLINE int fi_enable(struct fid_ep *ep) {
  return ep->fid.ops->control(&ep->fid, FI_ENABLE, NULL);
}

/// Cancels the oldest operation that was posted with `context`. If it can still be canceled it completes with
/// FI_ECANCELED.
FI_INLINE ssize_t fi_cancel(fid_t fid, void *context) {
  struct fid_ep *ep = (struct fid_ep *)fid;
  return ep->ops->cancel(fid, context);
}

FI_INLINE int fi_setopt(fid_t fid, int level, int optname, const void *optval, size_t optlen) {
  struct fid_ep *ep = (struct fid_ep *)fid;
  return ep->ops->setopt(fid, level, optname, optval, optlen);
}

FI_INLINE int fi_getopt(fid_t fid, int level, int optname, void *optval, size_t *optlen) {
  struct fid_ep *ep = (struct fid_ep *)fid;
  return ep->ops->getopt(fid, level, optname, optval, optlen);
}

/// A second name of an endpoint with operation flags of its own.
FI_INLINE int fi_ep_alias(struct fid_ep *ep, struct fid_ep **alias_ep, uint64_t flags) {
  struct fid *fid;
  int ret = fi_alias(&ep->fid, &fid, flags);
  if (!ret)
    *alias_ep = (struct fid_ep *)fid;
  return ret;
}

/// Opens transmit context `idx` of a scalable endpoint.
FI_INLINE int fi_tx_context(struct fid_ep *ep, int idx, struct fi_tx_attr *attr, struct fid_ep **tx_ep,
                            void *context) {
  return ep->ops->tx_ctx(ep, idx, attr, tx_ep, context);
}

/// Opens receive context `idx` of a scalable endpoint.
FI_INLINE int fi_rx_context(struct fid_ep *ep, int idx, struct fi_rx_attr *attr, struct fid_ep **rx_ep,
                            void *context) {
  return ep->ops->rx_ctx(ep, idx, attr, rx_ep, context);
}

FI_INLINE int fi_stx_context(struct fid_domain *domain, struct fi_tx_attr *attr, struct fid_stx **stx,
                             void *context) {
  return domain->ops->stx_ctx(domain, attr, stx, context);
}

FI_INLINE int fi_srx_context(struct fid_domain *domain, struct fi_rx_attr *attr, struct fid_ep **rx_ep,
                             void *context) {
  return domain->ops->srx_ctx(domain, attr, rx_ep, context);
}

FI_INLINE FI_DEPRECATED_FUNC ssize_t fi_rx_size_left(struct fid_ep *ep) {
  return ep->ops->rx_size_left(ep);
}

FI_INLINE FI_DEPRECATED_FUNC ssize_t fi_tx_size_left(struct fid_ep *ep) {
  return ep->ops->tx_size_left(ep);
}

/// Gives an accelerator access to the endpoint.
FI_INLINE int fi_ep_export_xpu(struct fid_ep *ep, uint64_t flags, struct fid_xpu_ep *xpu_ep) {
  return ep->ops->export_xpu(ep, flags, xpu_ep);
}

// ---- Messages: fi_msg(3) ------------------------------------------------------------------------
//
// All return 0 when the operation was accepted, -FI_EAGAIN when it has to be tried again after reading completions, or
// another negative error. The outcome is a completion with `context`.

FI_INLINE ssize_t fi_recv(struct fid_ep *ep, void *buf, size_t len, void *desc, fi_addr_t src_addr,
                          void *context) {
  return ep->msg->recv(ep, buf, len, desc, src_addr, context);
}

FI_INLINE ssize_t fi_recvv(struct fid_ep *ep, const struct iovec *iov, void **desc, size_t count,
                           fi_addr_t src_addr, void *context) {
  return ep->msg->recvv(ep, iov, desc, count, src_addr, context);
}

FI_INLINE ssize_t fi_recvmsg(struct fid_ep *ep, const struct fi_msg *msg, uint64_t flags) {
  return ep->msg->recvmsg(ep, msg, flags);
}

FI_INLINE ssize_t fi_send(struct fid_ep *ep, const void *buf, size_t len, void *desc, fi_addr_t dest_addr,
                          void *context) {
  return ep->msg->send(ep, buf, len, desc, dest_addr, context);
}

FI_INLINE ssize_t fi_sendv(struct fid_ep *ep, const struct iovec *iov, void **desc, size_t count,
                           fi_addr_t dest_addr, void *context) {
  return ep->msg->sendv(ep, iov, desc, count, dest_addr, context);
}

FI_INLINE ssize_t fi_sendmsg(struct fid_ep *ep, const struct fi_msg *msg, uint64_t flags) {
  return ep->msg->sendmsg(ep, msg, flags);
}

/// Sends up to inject_size bytes: the buffer is reusable on return and there is no completion.
FI_INLINE ssize_t fi_inject(struct fid_ep *ep, const void *buf, size_t len, fi_addr_t dest_addr) {
  return ep->msg->inject(ep, buf, len, dest_addr);
}

/// Sends with remote completion data.
FI_INLINE ssize_t fi_senddata(struct fid_ep *ep, const void *buf, size_t len, void *desc, uint64_t data,
                              fi_addr_t dest_addr, void *context) {
  return ep->msg->senddata(ep, buf, len, desc, data, dest_addr, context);
}

/// fi_inject() with remote completion data.
FI_INLINE ssize_t fi_injectdata(struct fid_ep *ep, const void *buf, size_t len, uint64_t data,
                                fi_addr_t dest_addr) {
  return ep->msg->injectdata(ep, buf, len, data, dest_addr);
}

#ifdef __cplusplus
}
#endif

#endif /* FI_ENDPOINT_H */
