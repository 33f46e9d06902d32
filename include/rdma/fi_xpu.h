// SPDX-License-Identifier: Apache-2.0
//
// Initiation of operations by accelerators, since symbol version FABRIC_1.10. Endpoints, queues and counters are
// exported to an accelerator with fi_ep_export_xpu(), fi_cq_export_xpu() and fi_cntr_export_xpu().

#ifndef FI_XPU_H
#define FI_XPU_H

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>

#ifdef __cplusplus
extern "C" {
#endif

/// How many threads of the accelerator issue an operation together.
enum {
  FI_XPU_WORK_ITEM,
  FI_XPU_SUBGROUP,
  FI_XPU_WORK_GROUP,
  FI_XPU_DEVICE,
};

// ---- What the program supplies ------------------------------------------------------------------

#define FI_XPU_ALLOC_DMABUF (1ULL << 0)  ///< alloc: `fd` gets a DMA buffer

#define FI_XPU_IMPORT_IOMEMORY  (1ULL << 0)  ///< import: the address is a device's register space
#define FI_XPU_IMPORT_DEVICEMAP (1ULL << 1)  ///< import: kernels on the accelerator use the result

/// Memory of the accelerator.
struct fi_xpu_ops {
  size_t size;
  int (*alloc)(uint64_t device, uint64_t size, uint64_t alignment, uint64_t flags, void **addr, int *fd,
               uint64_t *offset);
  int (*import)(uint64_t device, void *host_addr, uint64_t size, uint64_t flags, void **dev_addr);
  void (*free)(uint64_t device, void *addr);
};

struct fi_xpu_attr {
  enum fi_hmem_iface iface;
  uint64_t device;
  struct fi_xpu_ops *ops;
};

// ---- The context --------------------------------------------------------------------------------

#define FI_XPU_CAP_EP   (1ULL << 0)  ///< endpoints can be exported
#define FI_XPU_CAP_CQ   (1ULL << 1)  ///< completion queues can be exported
#define FI_XPU_CAP_CNTR (1ULL << 2)  ///< counters can be exported

struct fi_xpu_ctx_attr {
  uint64_t caps;        ///< FI_XPU_CAP_*
  size_t av_addr_size;  ///< bytes that fi_av_lookup2() stores
  size_t mr_desc_size;  ///< bytes that fi_mr_get_xpu_desc() stores
};

struct fi_ops_xpu_ctx {
  size_t size;
  int (*query)(struct fid_xpu_ctx *ctx, struct fi_xpu_ctx_attr *attr);
};

/// An accelerator as a domain sees it.
struct fid_xpu_ctx {
  struct fid fid;
  struct fi_ops_xpu_ctx *ops;
};

FI_INLINE int fi_xpu_ctx(struct fid_domain *domain, struct fi_xpu_attr *attr, struct fid_xpu_ctx **ctx,
                         void *context) {
  return domain->ops->xpu_ctx(domain, attr, ctx, context);
}

FI_INLINE int fi_xpu_ctx_query(struct fid_xpu_ctx *ctx, struct fi_xpu_ctx_attr *attr) {
  return ctx->ops->query(ctx, attr);
}

// ---- Exported objects: memory of the caller's that the provider fills in ------------------------

/// Providers that accelerators can drive.
enum fi_xpu_provider {
  FI_XPU_PROV_EFA = 1,
};

struct fid_xpu {
  uint32_t fclass;    ///< FI_CLASS_EP, FI_CLASS_CQ or FI_CLASS_CNTR
  uint32_t prov_id;   ///< enum fi_xpu_provider
  uint64_t prov_ctx;  ///< the provider's own
};

struct fid_xpu_ep {
  struct fid_xpu fid;
};

struct fid_xpu_cq {
  struct fid_xpu fid;
};

struct fid_xpu_cntr {
  struct fid_xpu fid;
};

#ifdef __cplusplus
}
#endif

#endif /* FI_XPU_H */
