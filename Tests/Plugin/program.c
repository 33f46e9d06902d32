// A program over a native libfabric that has loaded the polyfill as a provider: exchanges messages with itself, and asks
// the provider's library what it thinks it is. `program LIBRARY [leave]`: LIBRARY is the file of the provider's; with
// `leave` the program ends with everything open.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_ext_polyfill.h>

#define CHECK(call)                                                                      \
  do {                                                                                   \
    long result_ = (long)(call);                                                         \
    if (result_) {                                                                       \
      printf("%s returned %ld (%s)\n", #call, result_, fi_strerror((int)-result_)); \
      return 1;                                                                          \
    }                                                                                    \
  } while (0)

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  struct fi_info *hints = fi_allocinfo(), *info = NULL;
  hints->fabric_attr->prov_name = strdup("polyfill");
  hints->ep_attr->type = FI_EP_RDM;
  hints->caps = FI_MSG;
  hints->domain_attr->data_progress = FI_PROGRESS_AUTO;
  CHECK(fi_getinfo(FI_VERSION(1, 17), "127.0.0.1", NULL, FI_SOURCE, hints, &info));
  struct fi_info *copy = fi_dupinfo(info);
  fi_freeinfo(hints);
  printf("provider: %s\n", copy->fabric_attr->prov_name);
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  struct fid_av *av;
  struct fid_cq *cq;
  struct fid_ep *ep;
  CHECK(fi_fabric(copy->fabric_attr, &fabric, NULL));
  printf("api: %u.%u\n", FI_MAJOR(fabric->api_version), FI_MINOR(fabric->api_version));
  CHECK(fi_domain(fabric, copy, &domain, NULL));
  CHECK(fi_av_open(domain, &(struct fi_av_attr){.type = FI_AV_TABLE}, &av, NULL));
  CHECK(fi_cq_open(domain, &(struct fi_cq_attr){.format = FI_CQ_FORMAT_CONTEXT}, &cq, NULL));
  CHECK(fi_endpoint(domain, copy, &ep, NULL));
  CHECK(fi_ep_bind(ep, &av->fid, 0));
  CHECK(fi_ep_bind(ep, &cq->fid, FI_TRANSMIT | FI_RECV));
  CHECK(fi_enable(ep));
  char address[128];
  size_t length = sizeof address;
  CHECK(fi_getname(&ep->fid, address, &length));
  fi_addr_t self;
  if (fi_av_insert(av, address, 1, &self, 0, NULL) != 1) return 1;
  char target[32] = "";
  CHECK(fi_recv(ep, target, sizeof target, NULL, FI_ADDR_UNSPEC, target));
  CHECK(fi_send(ep, "a message to myself", 20, NULL, self, address));
  for (int done = 0; done < 2;) {
    struct fi_cq_entry entry;
    ssize_t count = fi_cq_read(cq, &entry, 1);
    if (count > 0) done++;
    if (count < 0 && count != -FI_EAGAIN) return 1;
  }
  printf("received: %s\n", target);

  void *library = dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD);
  if (!library) {
    printf("%s is not loaded\n", argv[1]);
    return 1;
  }
  int (*status)(struct fid *, struct fi_polyfill_report *, size_t);
  *(void **)&status = dlsym(library, "fi_polyfill_status");
  struct fi_polyfill_report report;
  CHECK(status(&ep->fid, &report, sizeof report));
  printf("level: %u\nnative: %u\nhost: %u.%u %s\n", report.level, report.native, FI_MAJOR(report.native_version),
         FI_MINOR(report.native_version), report.native_path);
  printf("sent: %s\n", report.packets_sent > 0 ? "yes" : "no");

  if (argc > 2) exit(0);
  CHECK(fi_close(&ep->fid));
  CHECK(fi_close(&cq->fid));
  CHECK(fi_close(&av->fid));
  CHECK(fi_close(&domain->fid));
  CHECK(fi_close(&fabric->fid));
  fi_freeinfo(copy);
  fi_freeinfo(info);
  dlclose(library);
  return 0;
}
