// What Swift cannot import from the public headers: macros with arguments or made of other macros, and the sizes that
// structures had in older releases, which are offsets of the fields that came later.

#ifndef LFP_CONSTANTS_H
#define LFP_CONSTANTS_H

#include <stdbool.h>
#include <stddef.h>

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_ext_polyfill.h>
#include <rdma/fi_tagged.h>

static inline uint32_t lfp_version(uint32_t major, uint32_t minor) { return FI_VERSION(major, minor); }
static inline uint32_t lfp_major(uint32_t version) { return FI_MAJOR(version); }
static inline uint32_t lfp_minor(uint32_t version) { return FI_MINOR(version); }
static inline bool lfp_version_ge(uint32_t v1, uint32_t v2) { return FI_VERSION_GE(v1, v2); }
static inline bool lfp_version_lt(uint32_t v1, uint32_t v2) { return FI_VERSION_LT(v1, v2); }

static const uint64_t LFP_MPI_IGNORE_TAG = FI_MPI_IGNORE_TAG;
static const uint64_t LFP_MPI_IGNORE_PAYLOAD = FI_MPI_IGNORE_PAYLOAD;

// Bytes a caller of an older symbol version provides. Structures only ever grew at their end; a name carries the first
// version with that size, and the plain sizeof is the size since the last one named here.
enum {
  LFP_INFO_SIZE_1_0 = offsetof(struct fi_info, nic),
  LFP_TX_ATTR_SIZE_1_0 = offsetof(struct fi_tx_attr, tclass),
  LFP_EP_ATTR_SIZE_1_0 = offsetof(struct fi_ep_attr, auth_key_size),
  LFP_EP_ATTR_SIZE_1_1 = offsetof(struct fi_ep_attr, xpu_ctx),
  LFP_DOMAIN_ATTR_SIZE_1_0 = offsetof(struct fi_domain_attr, cntr_cnt),
  LFP_DOMAIN_ATTR_SIZE_1_1 = offsetof(struct fi_domain_attr, tclass),
  LFP_DOMAIN_ATTR_SIZE_1_3 = offsetof(struct fi_domain_attr, max_ep_auth_key),
  LFP_DOMAIN_ATTR_SIZE_1_7 = offsetof(struct fi_domain_attr, max_group_id),
  LFP_DOMAIN_ATTR_SIZE_1_8 = offsetof(struct fi_domain_attr, max_cntr_value),
  LFP_DOMAIN_ATTR_SIZE_1_9 = offsetof(struct fi_domain_attr, max_xpu_ctx_cnt),
  LFP_FABRIC_ATTR_SIZE_1_0 = offsetof(struct fi_fabric_attr, api_version),
  LFP_CQ_ATTR_SIZE_1_0 = offsetof(struct fi_cq_attr, xpu_ctx),
  LFP_CNTR_ATTR_SIZE_1_0 = offsetof(struct fi_cntr_attr, xpu_ctx),
};

// The same for structures whose size goes by the interface version the program asked fi_getinfo() for.
enum {
  LFP_CQ_ERR_ENTRY_SIZE_1_0 = offsetof(struct fi_cq_err_entry, err_data_size),
  LFP_CQ_ERR_ENTRY_SIZE_1_5 = offsetof(struct fi_cq_err_entry, src_addr),
  LFP_MR_ATTR_SIZE_1_0 = offsetof(struct fi_mr_attr, auth_key_size),
  LFP_MR_ATTR_SIZE_1_5 = offsetof(struct fi_mr_attr, iface),
  LFP_MR_ATTR_SIZE_1_9 = offsetof(struct fi_mr_attr, hmem_data),
  LFP_MR_ATTR_SIZE_1_19 = offsetof(struct fi_mr_attr, page_size),
  LFP_MR_ATTR_SIZE_1_22 = offsetof(struct fi_mr_attr, base_mr),
};

// Where the numbers of a status begin, which are 64 bits each, and how many there are.
enum {
  LFP_REPORT_NUMBERS = offsetof(struct fi_polyfill_report, unexpected_messages),
  LFP_REPORT_NUMBER_COUNT = (sizeof(struct fi_polyfill_report) - LFP_REPORT_NUMBERS) / sizeof(uint64_t),
};

#endif /* LFP_CONSTANTS_H */
