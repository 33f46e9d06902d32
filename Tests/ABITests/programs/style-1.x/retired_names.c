// Names that 2.0 retired, used as programs of the 1.x years do.

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

#if FI_MR_BASIC != 1 || FI_MR_SCALABLE != 2
#error FI_MR_BASIC and FI_MR_SCALABLE have to work in the preprocessor
#endif

struct fi_info *basic_hints(void);
uint64_t dummy_flags(void);
int is_stream(const struct fi_info *info);

struct fi_info *basic_hints(void) {
  struct fi_info *hints = fi_allocinfo();
  if (!hints)
    return NULL;
  hints->mode = FI_CONTEXT | FI_LOCAL_MR | FI_RX_CQ_DATA | FI_NOTIFY_FLAGS_ONLY | FI_RESTRICTED_COMP;
  hints->domain_attr->mr_mode = FI_MR_BASIC;
  hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
  hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
  hints->domain_attr->threading = FI_THREAD_ENDPOINT;
  hints->domain_attr->av_type = FI_AV_MAP;
  hints->tx_attr->comp_order = FI_ORDER_NONE;
  hints->rx_attr->comp_order = FI_ORDER_STRICT | FI_ORDER_DATA;
  hints->rx_attr->total_buffered_recv = 0;
  return hints;
}

uint64_t dummy_flags(void) {
  return FI_VARIABLE_MSG | FI_NOTIFY_FLAGS_ONLY | FI_RESTRICTED_COMP | FI_REG_MR;
}

int is_stream(const struct fi_info *info) {
  switch (info->ep_attr->type) {
    case FI_EP_SOCK_STREAM:
      return 1;
    case FI_EP_MSG:
    case FI_EP_DGRAM:
    case FI_EP_RDM:
      return 0;
  }
  return -FI_EINVAL;
}
