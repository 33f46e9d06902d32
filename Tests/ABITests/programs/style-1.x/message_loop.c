// The skeleton of a 1.0 program: connected endpoints, an event queue, and a completion queue of contexts.

#include <stdio.h>
#include <string.h>

#include <rdma/fi_cm.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <rdma/fi_tagged.h>

#define CHECK(call)                                                     \
  do {                                                                  \
    int check_ret = (int)(call);                                        \
    if (check_ret) {                                                    \
      fprintf(stderr, #call ": %s\n", fi_strerror(-check_ret));         \
      return check_ret;                                                 \
    }                                                                   \
  } while (0)

static int read_event(struct fid_eq *eq, uint32_t expected) {
  struct fi_eq_cm_entry entry;
  struct fi_eq_err_entry error;
  uint32_t event;
  ssize_t got = fi_eq_sread(eq, &event, &entry, sizeof entry, -1, 0);
  if (got == -FI_EAVAIL) {
    memset(&error, 0, sizeof error);
    fi_eq_readerr(eq, &error, 0);
    fprintf(stderr, "%s\n", fi_eq_strerror(eq, error.prov_errno, error.err_data, NULL, 0));
    return -error.err;
  }
  return got == (ssize_t)sizeof entry && event == expected ? 0 : -FI_EOTHER;
}

static int wait_completion(struct fid_cq *cq) {
  struct fi_cq_entry entry;
  struct fi_cq_err_entry error;
  ssize_t got;
  do {
    got = fi_cq_read(cq, &entry, 1);
  } while (got == -FI_EAGAIN);
  if (got == -FI_EAVAIL) {
    memset(&error, 0, sizeof error);
    fi_cq_readerr(cq, &error, 0);
    return -error.err;
  }
  return got == 1 ? 0 : (int)got;
}

int main(int argc, char **argv) {
  static char buffer[4096];
  struct fi_context context;
  struct fi_info *hints = fi_allocinfo(), *info = NULL;
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  struct fid_eq *eq;
  struct fid_cq *cq;
  struct fid_mr *mr;
  struct fid_ep *ep;
  struct fi_eq_attr eq_attr;
  struct fi_cq_attr cq_attr;

  hints->caps = FI_MSG | FI_RMA | FI_TAGGED;
  hints->mode = FI_CONTEXT;
  hints->ep_attr->type = FI_EP_MSG;
  CHECK(fi_getinfo(FI_VERSION(1, 0), argc > 1 ? argv[1] : NULL, "9228", 0, hints, &info));
  CHECK(fi_fabric(info->fabric_attr, &fabric, NULL));
  memset(&eq_attr, 0, sizeof eq_attr);
  eq_attr.wait_obj = FI_WAIT_UNSPEC;
  CHECK(fi_eq_open(fabric, &eq_attr, &eq, NULL));
  CHECK(fi_domain(fabric, info, &domain, NULL));
  memset(&cq_attr, 0, sizeof cq_attr);
  cq_attr.format = FI_CQ_FORMAT_CONTEXT;
  CHECK(fi_cq_open(domain, &cq_attr, &cq, NULL));
  CHECK(fi_mr_reg(domain, buffer, sizeof buffer, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 0, 0, &mr, NULL));
  CHECK(fi_endpoint(domain, info, &ep, NULL));
  CHECK(fi_ep_bind(ep, &eq->fid, 0));
  CHECK(fi_ep_bind(ep, &cq->fid, FI_SEND | FI_RECV));
  CHECK(fi_enable(ep));
  CHECK(fi_connect(ep, info->dest_addr, NULL, 0));
  CHECK(read_event(eq, FI_CONNECTED));
  CHECK(fi_recv(ep, buffer, sizeof buffer, fi_mr_desc(mr), 0, &context));
  CHECK(wait_completion(cq));
  CHECK(fi_tsend(ep, buffer, 64, fi_mr_desc(mr), 0, 0xdeadbeef, &context));
  CHECK(wait_completion(cq));
  CHECK(fi_write(ep, buffer, 64, fi_mr_desc(mr), 0, (uint64_t)(uintptr_t)buffer, fi_mr_key(mr), &context));
  CHECK(wait_completion(cq));
  CHECK(fi_shutdown(ep, 0));
  fi_close(&ep->fid);
  fi_close(&mr->fid);
  fi_close(&cq->fid);
  fi_close(&domain->fid);
  fi_close(&eq->fid);
  fi_close(&fabric->fid);
  fi_freeinfo(info);
  fi_freeinfo(hints);
  return 0;
}
