// Atomics with their validity queries, triggered operations, counters, multicast and collectives.

#include <rdma/fi_atomic.h>
#include <rdma/fi_collective.h>
#include <rdma/fi_trigger.h>

int add_remote(struct fid_ep *ep, struct fid_cntr *cntr, fi_addr_t peer, uint64_t addr, uint64_t key);
int is_known_datatype(enum fi_datatype datatype);

int add_remote(struct fid_ep *ep, struct fid_cntr *cntr, fi_addr_t peer, uint64_t addr, uint64_t key) {
  static uint64_t operand = 1, result;
  static struct fi_triggered_context trigger;
  struct fi_ioc operands = {&operand, 1}, results = {&result, 1};
  struct fi_rma_ioc target = {addr, 1, key};
  struct fi_msg_atomic msg = {&operands, NULL, 1, peer, &target, 1, FI_UINT64, FI_SUM, &trigger, 0};
  size_t count;
  int ret = fi_fetch_atomicvalid(ep, FI_UINT64, FI_SUM, &count);
  if (ret || !count)
    return ret;
  trigger.event_type = FI_TRIGGER_THRESHOLD;
  trigger.trigger.threshold.cntr = cntr;
  trigger.trigger.threshold.threshold = fi_cntr_read(cntr) + 1;
  ret = (int)fi_fetch_atomicmsg(ep, &msg, &results, NULL, 1, FI_TRIGGER);
  if (ret)
    return ret;
  fi_cntr_add(cntr, 1);
  fi_cntr_adderr(cntr, 0);
  return fi_cntr_wait(cntr, trigger.trigger.threshold.threshold, -1);
}

// Programs size tables by these limits.
static const int sizes[FI_DATATYPE_LAST] = {1, 1, 2, 2, 4, 4, 8, 8};
static char operators[FI_ATOMIC_OP_LAST];

int is_known_datatype(enum fi_datatype datatype) {
  return (int)datatype < (int)(sizeof sizes / sizeof sizes[0]) && sizes[datatype] && sizeof operators == 19;
}
