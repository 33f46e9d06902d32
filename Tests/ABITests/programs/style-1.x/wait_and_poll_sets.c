// Wait sets, poll sets, and the other calls that 2.0 deprecates but keeps.

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>

int wait_for(struct fid_fabric *fabric, struct fid_domain *domain, struct fid_cq **cq);
ssize_t room(struct fid_ep *ep);

int wait_for(struct fid_fabric *fabric, struct fid_domain *domain, struct fid_cq **cq) {
  struct fi_wait_attr wait_attr = {FI_WAIT_UNSPEC, 0};
  struct fi_poll_attr poll_attr = {0};
  struct fi_cq_attr cq_attr;
  struct fid_wait *waitset = NULL;
  struct fid_poll *pollset = NULL;
  void *contexts[4];
  int ret = fi_wait_open(fabric, &wait_attr, &waitset);
  if (ret)
    return ret;
  memset(&cq_attr, 0, sizeof cq_attr);
  cq_attr.format = FI_CQ_FORMAT_CONTEXT;
  cq_attr.wait_obj = FI_WAIT_SET;
  cq_attr.wait_set = waitset;
  if ((ret = fi_cq_open(domain, &cq_attr, cq, NULL)))
    return ret;
  if ((ret = fi_poll_open(domain, &poll_attr, &pollset)))
    return ret;
  if ((ret = fi_poll_add(pollset, &(*cq)->fid, 0)))
    return ret;
  if ((ret = fi_wait(waitset, 100)))
    return ret;
  ret = fi_poll(pollset, contexts, 4);
  fi_poll_del(pollset, &(*cq)->fid, 0);
  fi_close(&pollset->fid);
  fi_close(&waitset->fid);
  return ret;
}

ssize_t room(struct fid_ep *ep) {
  return fi_tx_size_left(ep) + fi_rx_size_left(ep);
}
