// SPDX-License-Identifier: Apache-2.0
//
// Domains and what is opened on them: memory regions, address vectors, and the datatypes of atomic and collective
// operations. Man pages: fi_domain(3), fi_mr(3), fi_av(3), fi_atomic(3).

#ifndef FI_DOMAIN_H
#define FI_DOMAIN_H

#include <string.h>

#include <rdma/fabric.h>
#include <rdma/fi_eq.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fi_mr_attr;
struct fi_av_attr;
struct fi_av_set_attr;
struct fi_atomic_attr;
struct fi_collective_attr;
struct fi_xpu_attr;

// ---- Datatypes and operators: fi_atomic(3), fi_collective(3) ------------------------------------

/// Values of fi_datatype, fi_op and fi_collective_op from here on belong to collective operations alone.
#define FI_COLLECTIVE_OFFSET 256

enum fi_datatype {
  FI_INT8,
  FI_UINT8,
  FI_INT16,
  FI_UINT16,
  FI_INT32,
  FI_UINT32,
  FI_INT64,
  FI_UINT64,
  FI_FLOAT,
  FI_DOUBLE,
  FI_FLOAT_COMPLEX,
  FI_DOUBLE_COMPLEX,
  FI_LONG_DOUBLE,
  FI_LONG_DOUBLE_COMPLEX,
  FI_INT128,
  FI_UINT128,
  FI_FLOAT16,
  FI_BFLOAT16,
  FI_FLOAT8_E4M3,  ///< 4 bits of exponent, 3 of mantissa
  FI_FLOAT8_E5M2,  ///< 5 bits of exponent, 2 of mantissa
  FI_VOID = FI_COLLECTIVE_OFFSET,
};

/// `target` is what the peer's memory holds, `operand` what the operation brings, `compare` the other operand.
enum fi_op {
  FI_MIN,
  FI_MAX,
  FI_SUM,
  FI_PROD,
  FI_LOR,  ///< logical
  FI_LAND,
  FI_BOR,  ///< bitwise
  FI_BAND,
  FI_LXOR,
  FI_BXOR,
  FI_ATOMIC_READ,
  FI_ATOMIC_WRITE,
  FI_CSWAP,     ///< stores the operand if compare == target
  FI_CSWAP_NE,  ///< stores the operand if compare != target
  FI_CSWAP_LE,  ///< stores the operand if compare <= target
  FI_CSWAP_LT,  ///< stores the operand if compare < target
  FI_CSWAP_GE,  ///< stores the operand if compare >= target
  FI_CSWAP_GT,  ///< stores the operand if compare > target
  FI_MSWAP,     ///< stores those bits of the operand that compare has set
  FI_DIFF,      ///< target - operand
  FI_NOOP = FI_COLLECTIVE_OFFSET,
};

enum fi_collective_op {
  FI_BARRIER,
  FI_BROADCAST,
  FI_ALLTOALL,
  FI_ALLREDUCE,
  FI_ALLGATHER,
  FI_REDUCE_SCATTER,
  FI_REDUCE,
  FI_SCATTER,
  FI_GATHER,
};

// ---- The domain: fi_domain(3) -------------------------------------------------------------------

struct fi_ops_domain {
  size_t size;
  int (*av_open)(struct fid_domain *domain, struct fi_av_attr *attr, struct fid_av **av, void *context);
  int (*cq_open)(struct fid_domain *domain, struct fi_cq_attr *attr, struct fid_cq **cq, void *context);
  int (*endpoint)(struct fid_domain *domain, struct fi_info *info, struct fid_ep **ep, void *context);
  int (*scalable_ep)(struct fid_domain *domain, struct fi_info *info, struct fid_ep **sep, void *context);
  int (*cntr_open)(struct fid_domain *domain, struct fi_cntr_attr *attr, struct fid_cntr **cntr, void *context);
  int (*poll_open)(struct fid_domain *domain, struct fi_poll_attr *attr, struct fid_poll **pollset);
  int (*stx_ctx)(struct fid_domain *domain, struct fi_tx_attr *attr, struct fid_stx **stx, void *context);
  int (*srx_ctx)(struct fid_domain *domain, struct fi_rx_attr *attr, struct fid_ep **rx_ep, void *context);
  int (*query_atomic)(struct fid_domain *domain, enum fi_datatype datatype, enum fi_op op,
                      struct fi_atomic_attr *attr, uint64_t flags);
  int (*query_collective)(struct fid_domain *domain, enum fi_collective_op coll,
                          struct fi_collective_attr *attr, uint64_t flags);
  int (*endpoint2)(struct fid_domain *domain, struct fi_info *info, struct fid_ep **ep, uint64_t flags,
                   void *context);
  /// Since FABRIC_1.10.
  int (*xpu_ctx)(struct fid_domain *domain, struct fi_xpu_attr *attr, struct fid_xpu_ctx **ctx, void *context);
};

struct fi_ops_mr {
  size_t size;
  int (*reg)(struct fid *fid, const void *buf, size_t len, uint64_t acs, uint64_t offset,
             uint64_t requested_key, uint64_t flags, struct fid_mr **mr, void *context);
  int (*regv)(struct fid *fid, const struct iovec *iov, size_t count, uint64_t acs, uint64_t offset,
              uint64_t requested_key, uint64_t flags, struct fid_mr **mr, void *context);
  int (*regattr)(struct fid *fid, const struct fi_mr_attr *attr, uint64_t flags, struct fid_mr **mr);
};

struct fid_domain {
  struct fid fid;
  struct fi_ops_domain *ops;
  struct fi_ops_mr *mr;
};

// fi_domain_bind: registrations complete through the event queue. Retired, see FI_MR_UNSPEC.
#define FI_REG_MR (1ULL << 59)

/// Opens the domain that `info` describes.
FI_INLINE int fi_domain(struct fid_fabric *fabric, struct fi_info *info, struct fid_domain **domain,
                        void *context) {
  return fabric->ops->domain(fabric, info, domain, context);
}

/// The same with flags, as FI_PEER.
FI_INLINE int fi_domain2(struct fid_fabric *fabric, struct fi_info *info, struct fid_domain **domain,
                         uint64_t flags, void *context) {
  if (!flags)
    return fi_domain(fabric, info, domain, context);
  if (!FI_CHECK_OP(fabric->ops, struct fi_ops_fabric, domain2))
    return -FI_ENOSYS;
  return fabric->ops->domain2(fabric, info, domain, flags, context);
}

FI_INLINE int fi_domain_bind(struct fid_domain *domain, struct fid *fid, uint64_t flags) {
  return domain->fid.ops->bind(&domain->fid, fid, flags);
}

FI_INLINE int fi_cq_open(struct fid_domain *domain, struct fi_cq_attr *attr, struct fid_cq **cq,
                         void *context) {
  return domain->ops->cq_open(domain, attr, cq, context);
}

FI_INLINE int fi_cntr_open(struct fid_domain *domain, struct fi_cntr_attr *attr, struct fid_cntr **cntr,
                           void *context) {
  return domain->ops->cntr_open(domain, attr, cntr, context);
}

FI_INLINE FI_DEPRECATED_FUNC int fi_wait_open(struct fid_fabric *fabric, struct fi_wait_attr *attr,
                                              struct fid_wait **waitset) {
  return fabric->ops->wait_open(fabric, attr, waitset);
}

FI_INLINE FI_DEPRECATED_FUNC int fi_poll_open(struct fid_domain *domain, struct fi_poll_attr *attr,
                                              struct fid_poll **pollset) {
  return domain->ops->poll_open(domain, attr, pollset);
}

// ---- Memory regions: fi_mr(3) -------------------------------------------------------------------

/// Kinds of memory.
enum fi_hmem_iface {
  FI_HMEM_SYSTEM,  ///< ordinary memory
  FI_HMEM_CUDA,
  FI_HMEM_ROCR,  ///< AMD
  FI_HMEM_ZE,    ///< Intel, oneAPI Level Zero
  FI_HMEM_NEURON,
  FI_HMEM_SYNAPSEAI,
};

/// The `device` of memory behind a Level Zero driver.
FI_INLINE int fi_hmem_ze_device(int driver_index, int device_index) {
  return driver_index << 16 | device_index;
}

// Flags of registrations.
#define FI_MR_DMABUF        (1ULL << 40)  ///< the region is given as a DMA buffer
#define FI_MR_SINGLE_USE    (1ULL << 41)  ///< the key is good for one access
#define FI_HMEM_HOST_ALLOC  (1ULL << 45)  ///< device memory that the host can access
#define FI_HMEM_DEVICE_ONLY (1ULL << 46)  ///< device memory that the host cannot access

struct fi_mr_dmabuf {
  int fd;  ///< the DMA buffer
  uint64_t offset;
  size_t len;
  void *base_addr;
};

/// The authorization key of a region where keys come from an address vector.
struct fi_mr_auth_key {
  struct fid_av *av;
  fi_addr_t src_addr;
};

struct fi_mr_attr {
  union {
    const struct iovec *mr_iov;         ///< the memory
    const struct fi_mr_dmabuf *dmabuf;  ///< with FI_MR_DMABUF
  };
  size_t iov_count;        ///< pieces
  uint64_t access;         ///< FI_SEND, FI_REMOTE_WRITE and the like
  uint64_t offset;         ///< without FI_MR_VIRT_ADDR, the address that peers call the region's first byte
  uint64_t requested_key;  ///< without FI_MR_PROV_KEY, the key
  void *context;
  size_t auth_key_size;
  uint8_t *auth_key;
  enum fi_hmem_iface iface;
  union {
    uint64_t reserved;
    int cuda;
    int ze;
    int neuron;
    int synapseai;
    int rocr;
  } device;
  void *hmem_data;
  size_t page_size;              ///< bytes, or 0
  const struct fid_mr *base_mr;  ///< the region that this one is a part of, or NULL
  size_t sub_mr_cnt;
};

/// FI_REFRESH: what became of a region.
struct fi_mr_modify {
  uint64_t flags;
  struct fi_mr_attr attr;
};

struct fid_mr {
  struct fid fid;
  void *mem_desc;  ///< for the `desc` arguments of local operations
  uint64_t key;    ///< for peers
};

// fi_set_ops() name with which a program supplies its own copying to and from device memory.
#define FI_SET_OPS_HMEM_OVERRIDE "hmem_override_ops"

struct fi_hmem_override_ops {
  size_t size;
  ssize_t (*copy_from_hmem_iov)(void *dest, size_t size, enum fi_hmem_iface iface, uint64_t device,
                                const struct iovec *hmem_iov, size_t hmem_iov_count, uint64_t hmem_iov_offset);
  ssize_t (*copy_to_hmem_iov)(enum fi_hmem_iface iface, uint64_t device, const struct iovec *hmem_iov,
                              size_t hmem_iov_count, uint64_t hmem_iov_offset, const void *src, size_t size);
};

/// Registers memory. `acs` holds FI_SEND, FI_REMOTE_WRITE and the like.
FI_INLINE int fi_mr_reg(struct fid_domain *domain, const void *buf, size_t len, uint64_t acs, uint64_t offset,
                        uint64_t requested_key, uint64_t flags, struct fid_mr **mr, void *context) {
  return domain->mr->reg(&domain->fid, buf, len, acs, offset, requested_key, flags, mr, context);
}

FI_INLINE int fi_mr_regv(struct fid_domain *domain, const struct iovec *iov, size_t count, uint64_t acs,
                         uint64_t offset, uint64_t requested_key, uint64_t flags, struct fid_mr **mr,
                         void *context) {
  return domain->mr->regv(&domain->fid, iov, count, acs, offset, requested_key, flags, mr, context);
}

FI_INLINE int fi_mr_regattr(struct fid_domain *domain, const struct fi_mr_attr *attr, uint64_t flags,
                            struct fid_mr **mr) {
  return domain->mr->regattr(&domain->fid, attr, flags, mr);
}

/// What local operations take as `desc`.
FI_INLINE void *fi_mr_desc(struct fid_mr *mr) {
  return mr->mem_desc;
}

/// What peers take as `key`; FI_KEY_NOTAVAIL when it is longer than 64 bits.
FI_INLINE uint64_t fi_mr_key(struct fid_mr *mr) {
  return mr->key;
}

/// A region's key and base address where keys are longer than 64 bits: FI_MR_RAW.
FI_INLINE int fi_mr_raw_attr(struct fid_mr *mr, uint64_t *base_addr, uint8_t *raw_key, size_t *key_size,
                             uint64_t flags) {
  struct fi_mr_raw_attr attr;
  attr.flags = flags;
  attr.base_addr = base_addr;
  attr.raw_key = raw_key;
  attr.key_size = key_size;
  return mr->fid.ops->control(&mr->fid, FI_GET_RAW_MR, &attr);
}

/// Makes a peer's long key into one of 64 bits for use with `domain`.
FI_INLINE int fi_mr_map_raw(struct fid_domain *domain, uint64_t base_addr, uint8_t *raw_key, size_t key_size,
                            uint64_t *key, uint64_t flags) {
  struct fi_mr_map_raw map;
  map.flags = flags;
  map.base_addr = base_addr;
  map.raw_key = raw_key;
  map.key_size = key_size;
  map.key = key;
  return domain->fid.ops->control(&domain->fid, FI_MAP_RAW_MR, &map);
}

FI_INLINE int fi_mr_unmap_key(struct fid_domain *domain, uint64_t key) {
  return domain->fid.ops->control(&domain->fid, FI_UNMAP_KEY, &key);
}

FI_INLINE int fi_mr_bind(struct fid_mr *mr, struct fid *bfid, uint64_t flags) {
  return mr->fid.ops->bind(&mr->fid, bfid, flags);
}

/// Tells the provider that the mapping of a region's memory has changed: FI_MR_MMU_NOTIFY.
FI_INLINE int fi_mr_refresh(struct fid_mr *mr, const struct iovec *iov, size_t count, uint64_t flags) {
  struct fi_mr_modify modify;
  memset(&modify, 0, sizeof(modify));
  modify.flags = flags;
  modify.attr.mr_iov = iov;
  modify.attr.iov_count = count;
  return mr->fid.ops->control(&mr->fid, FI_REFRESH, &modify);
}

/// Makes a region usable after it was bound: FI_MR_ENDPOINT, FI_MR_RMA_EVENT.
FI_INLINE int fi_mr_enable(struct fid_mr *mr) {
  return mr->fid.ops->control(&mr->fid, FI_ENABLE, NULL);
}

/// A region's descriptor for an accelerator.
FI_INLINE int fi_mr_get_xpu_desc(struct fid_mr *mr, void *buf, size_t *len, uint64_t flags,
                                 struct fid_xpu_ctx *ctx) {
  struct fi_mr_xpu_desc desc;
  desc.buf = buf;
  desc.len = len;
  desc.flags = flags;
  desc.ctx = ctx;
  return fi_control(&mr->fid, FI_GET_MR_XPU_DESC, &desc);
}

// ---- Address vectors: fi_av(3) ------------------------------------------------------------------

// Flags of address vectors.
#define FI_SYMMETRIC (1ULL << 59)  ///< every process inserts the same addresses in the same order
#define FI_SYNC_ERR  (1ULL << 58)  ///< fi_av_insert: `context` is an array of error numbers, one for each address
#define FI_UNIVERSE  (1ULL << 57)  ///< fi_av_set: the set begins with all addresses

// Flags of address vector sets: the collective operations that they are for.
#define FI_BARRIER_SET        (1ULL << 40)
#define FI_BROADCAST_SET      (1ULL << 41)
#define FI_ALLTOALL_SET       (1ULL << 42)
#define FI_ALLREDUCE_SET      (1ULL << 43)
#define FI_ALLGATHER_SET      (1ULL << 44)
#define FI_REDUCE_SCATTER_SET (1ULL << 45)
#define FI_REDUCE_SET         (1ULL << 46)
#define FI_SCATTER_SET        (1ULL << 47)
#define FI_GATHER_SET         (1ULL << 48)

struct fi_av_attr {
  enum fi_av_type type;
  int rx_ctx_bits;     ///< bits of fi_addr_t that number a peer's receive contexts
  size_t count;        ///< addresses expected, or 0
  size_t ep_per_node;  ///< endpoints per host expected, or 0
  const char *name;    ///< of a vector shared between processes, or NULL
  void *map_addr;      ///< where a shared vector is mapped
  uint64_t flags;
};

struct fi_av_set_attr {
  size_t count;          ///< addresses expected
  fi_addr_t start_addr;  ///< first address to include
  fi_addr_t end_addr;    ///< last address to include
  uint64_t stride;       ///< between addresses to include
  size_t comm_key_size;
  uint8_t *comm_key;
  uint64_t flags;
};

struct fi_ops_av {
  size_t size;
  int (*insert)(struct fid_av *av, const void *addr, size_t count, fi_addr_t *fi_addr, uint64_t flags,
                void *context);
  int (*insertsvc)(struct fid_av *av, const char *node, const char *service, fi_addr_t *fi_addr, uint64_t flags,
                   void *context);
  int (*insertsym)(struct fid_av *av, const char *node, size_t nodecnt, const char *service, size_t svccnt,
                   fi_addr_t *fi_addr, uint64_t flags, void *context);
  int (*remove)(struct fid_av *av, fi_addr_t *fi_addr, size_t count, uint64_t flags);
  int (*lookup)(struct fid_av *av, fi_addr_t fi_addr, void *addr, size_t *addrlen);
  const char *(*straddr)(struct fid_av *av, const void *addr, char *buf, size_t *len);
  int (*av_set)(struct fid_av *av, struct fi_av_set_attr *attr, struct fid_av_set **set, void *context);
  int (*insert_auth_key)(struct fid_av *av, const void *auth_key, size_t auth_key_size, fi_addr_t *fi_addr,
                         uint64_t flags);
  int (*lookup_auth_key)(struct fid_av *av, fi_addr_t addr, void *auth_key, size_t *auth_key_size);
  int (*set_user_id)(struct fid_av *av, fi_addr_t fi_addr, fi_addr_t user_id, uint64_t flags);
  /// Since FABRIC_1.10.
  int (*lookup2)(struct fid_av *av, fi_addr_t fi_addr, void *buf, size_t *len, uint64_t flags,
                struct fid_xpu_ctx *ctx);
};

struct fid_av {
  struct fid fid;
  struct fi_ops_av *ops;
};

FI_INLINE int fi_av_open(struct fid_domain *domain, struct fi_av_attr *attr, struct fid_av **av,
                         void *context) {
  return domain->ops->av_open(domain, attr, av, context);
}

FI_INLINE FI_DEPRECATED_FUNC int fi_av_bind(struct fid_av *av, struct fid *fid, uint64_t flags) {
  return av->fid.ops->bind(&av->fid, fid, flags);
}

/// Inserts `count` addresses in the format of the domain. Returns how many were inserted; the others are
/// FI_ADDR_NOTAVAIL in `fi_addr`.
FI_INLINE int fi_av_insert(struct fid_av *av, const void *addr, size_t count, fi_addr_t *fi_addr,
                           uint64_t flags, void *context) {
  return av->ops->insert(av, addr, count, fi_addr, flags, context);
}

/// Inserts the address that `node` and `service` resolve to.
FI_INLINE int fi_av_insertsvc(struct fid_av *av, const char *node, const char *service, fi_addr_t *fi_addr,
                              uint64_t flags, void *context) {
  return av->ops->insertsvc(av, node, service, fi_addr, flags, context);
}

/// Inserts `nodecnt` * `svccnt` addresses by counting names up.
FI_INLINE int fi_av_insertsym(struct fid_av *av, const char *node, size_t nodecnt, const char *service,
                              size_t svccnt, fi_addr_t *fi_addr, uint64_t flags, void *context) {
  return av->ops->insertsym(av, node, nodecnt, service, svccnt, fi_addr, flags, context);
}

FI_INLINE int fi_av_remove(struct fid_av *av, fi_addr_t *fi_addr, size_t count, uint64_t flags) {
  return av->ops->remove(av, fi_addr, count, flags);
}

/// The address behind `fi_addr`. `addrlen` is in: room at addr; out: bytes of the address.
FI_INLINE int fi_av_lookup(struct fid_av *av, fi_addr_t fi_addr, void *addr, size_t *addrlen) {
  return av->ops->lookup(av, fi_addr, addr, addrlen);
}

/// An address as text. `len` is in: room at buf; out: bytes of the text.
FI_INLINE const char *fi_av_straddr(struct fid_av *av, const void *addr, char *buf, size_t *len) {
  return av->ops->straddr(av, addr, buf, len);
}

/// A name for an authorization key.
FI_INLINE int fi_av_insert_auth_key(struct fid_av *av, const void *auth_key, size_t auth_key_size,
                                    fi_addr_t *fi_addr, uint64_t flags) {
  if (!FI_CHECK_OP(av->ops, struct fi_ops_av, insert_auth_key))
    return -FI_ENOSYS;
  return av->ops->insert_auth_key(av, auth_key, auth_key_size, fi_addr, flags);
}

FI_INLINE int fi_av_lookup_auth_key(struct fid_av *av, fi_addr_t addr, void *auth_key, size_t *auth_key_size) {
  if (!FI_CHECK_OP(av->ops, struct fi_ops_av, lookup_auth_key))
    return -FI_ENOSYS;
  return av->ops->lookup_auth_key(av, addr, auth_key, auth_key_size);
}

/// Chooses what completions report as source instead of `fi_addr`: FI_AV_USER_ID.
FI_INLINE int fi_av_set_user_id(struct fid_av *av, fi_addr_t fi_addr, fi_addr_t user_id, uint64_t flags) {
  if (!FI_CHECK_OP(av->ops, struct fi_ops_av, set_user_id))
    return -FI_ENOSYS;
  return av->ops->set_user_id(av, fi_addr, user_id, flags);
}

/// The address behind `fi_addr` in a form that an accelerator can use.
FI_INLINE int fi_av_lookup2(struct fid_av *av, fi_addr_t fi_addr, void *buf, size_t *len, uint64_t flags,
                            struct fid_xpu_ctx *ctx) {
  if (!FI_CHECK_OP(av->ops, struct fi_ops_av, lookup2))
    return -FI_ENOSYS;
  return av->ops->lookup2(av, fi_addr, buf, len, flags, ctx);
}

/// One receive context of a peer: FI_NAMED_RX_CTX.
FI_INLINE fi_addr_t fi_rx_addr(fi_addr_t fi_addr, int rx_index, int rx_ctx_bits) {
  return (fi_addr_t)(((uint64_t)rx_index << (64 - rx_ctx_bits)) | fi_addr);
}

/// A peer within a group: see fi_domain_attr.max_group_id.
FI_INLINE fi_addr_t fi_group_addr(fi_addr_t fi_addr, uint32_t group_id) {
  return (fi_addr_t)(((uint64_t)group_id << 32) | fi_addr);
}

#ifdef __cplusplus
}
#endif

#endif /* FI_DOMAIN_H */
