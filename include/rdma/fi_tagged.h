// SPDX-License-Identifier: Apache-2.0
//
// Tagged messages. Man page: fi_tagged(3).

#ifndef FI_TAGGED_H
#define FI_TAGGED_H

#include <rdma/fabric.h>
#include <rdma/fi_endpoint.h>

#ifdef __cplusplus
extern "C" {
#endif

// FI_TAG_MPI: the `ignore` bits with which a receive takes any tag, or any kind of payload.
#define FI_MPI_IGNORE_TAG ((uint64_t)UINT32_MAX)
#define FI_MPI_IGNORE_PAYLOAD (((uint64_t)UINT8_MAX) << 32)

/// A tag in the layout of FI_TAG_MPI.
FI_INLINE uint64_t fi_tag_mpi(int tag, uint8_t payload_id) {
  return ((uint64_t)payload_id << 32) | (uint64_t)(uint32_t)tag;
}

/// A tagged message for the calls that take flags.
struct fi_msg_tagged {
  const struct iovec *msg_iov;
  void **desc;  ///< fi_mr_desc() of each piece, or NULL
  size_t iov_count;
  fi_addr_t addr;  ///< the other side
  uint64_t tag;
  uint64_t ignore;  ///< receives: bits of the tag that need not match
  void *context;
  uint64_t data;  ///< remote completion data, with FI_REMOTE_CQ_DATA
};

struct fi_ops_tagged {
  size_t size;
  ssize_t (*recv)(struct fid_ep *ep, void *buf, size_t len, void *desc, fi_addr_t src_addr, uint64_t tag,
                  uint64_t ignore, void *context);
  ssize_t (*recvv)(struct fid_ep *ep, const struct iovec *iov, void **desc, size_t count, fi_addr_t src_addr,
                   uint64_t tag, uint64_t ignore, void *context);
  ssize_t (*recvmsg)(struct fid_ep *ep, const struct fi_msg_tagged *msg, uint64_t flags);
  ssize_t (*send)(struct fid_ep *ep, const void *buf, size_t len, void *desc, fi_addr_t dest_addr, uint64_t tag,
                  void *context);
  ssize_t (*sendv)(struct fid_ep *ep, const struct iovec *iov, void **desc, size_t count, fi_addr_t dest_addr,
                   uint64_t tag, void *context);
  ssize_t (*sendmsg)(struct fid_ep *ep, const struct fi_msg_tagged *msg, uint64_t flags);
  ssize_t (*inject)(struct fid_ep *ep, const void *buf, size_t len, fi_addr_t dest_addr, uint64_t tag);
  ssize_t (*senddata)(struct fid_ep *ep, const void *buf, size_t len, void *desc, uint64_t data,
                      fi_addr_t dest_addr, uint64_t tag, void *context);
  ssize_t (*injectdata)(struct fid_ep *ep, const void *buf, size_t len, uint64_t data, fi_addr_t dest_addr,
                        uint64_t tag);
};

// All return 0 when the operation was accepted, -FI_EAGAIN when it has to be tried again after reading completions, or
// another negative error. The outcome is a completion with `context`.

/// Receives a message whose tag equals `tag` in all bits that are not in `ignore`.
FI_INLINE ssize_t fi_trecv(struct fid_ep *ep, void *buf, size_t len, void *desc, fi_addr_t src_addr,
                           uint64_t tag, uint64_t ignore, void *context) {
  return ep->tagged->recv(ep, buf, len, desc, src_addr, tag, ignore, context);
}

FI_INLINE ssize_t fi_trecvv(struct fid_ep *ep, const struct iovec *iov, void **desc, size_t count,
                            fi_addr_t src_addr, uint64_t tag, uint64_t ignore, void *context) {
  return ep->tagged->recvv(ep, iov, desc, count, src_addr, tag, ignore, context);
}

FI_INLINE ssize_t fi_trecvmsg(struct fid_ep *ep, const struct fi_msg_tagged *msg, uint64_t flags) {
  return ep->tagged->recvmsg(ep, msg, flags);
}

FI_INLINE ssize_t fi_tsend(struct fid_ep *ep, const void *buf, size_t len, void *desc, fi_addr_t dest_addr,
                           uint64_t tag, void *context) {
  return ep->tagged->send(ep, buf, len, desc, dest_addr, tag, context);
}

FI_INLINE ssize_t fi_tsendv(struct fid_ep *ep, const struct iovec *iov, void **desc, size_t count,
                            fi_addr_t dest_addr, uint64_t tag, void *context) {
  return ep->tagged->sendv(ep, iov, desc, count, dest_addr, tag, context);
}

FI_INLINE ssize_t fi_tsendmsg(struct fid_ep *ep, const struct fi_msg_tagged *msg, uint64_t flags) {
  return ep->tagged->sendmsg(ep, msg, flags);
}

/// Sends up to inject_size bytes: the buffer is reusable on return and there is no completion.
FI_INLINE ssize_t fi_tinject(struct fid_ep *ep, const void *buf, size_t len, fi_addr_t dest_addr,
                             uint64_t tag) {
  return ep->tagged->inject(ep, buf, len, dest_addr, tag);
}

/// Sends with remote completion data.
FI_INLINE ssize_t fi_tsenddata(struct fid_ep *ep, const void *buf, size_t len, void *desc, uint64_t data,
                               fi_addr_t dest_addr, uint64_t tag, void *context) {
  return ep->tagged->senddata(ep, buf, len, desc, data, dest_addr, tag, context);
}

/// fi_tinject() with remote completion data.
FI_INLINE ssize_t fi_tinjectdata(struct fid_ep *ep, const void *buf, size_t len, uint64_t data,
                                 fi_addr_t dest_addr, uint64_t tag) {
  return ep->tagged->injectdata(ep, buf, len, data, dest_addr, tag);
}

#ifdef __cplusplus
}
#endif

#endif /* FI_TAGGED_H */
