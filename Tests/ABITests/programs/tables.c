// Opens every kind of object and walks its tables: each `size` is that of our headers and no slot is empty, so that no
// inline function of any release can call a NULL pointer.
//
// usage: tables LIBRARY PROVIDER [older]    `older`: tables may be shorter, and empty where programs look before they call,
// as those of libfabric 1.17 are
//
// Prints `ok NAME` or `FAIL NAME: reason` for each table.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/fi_cm.h>
#include <rdma/fi_collective.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_ext.h>
#include <rdma/fi_rma.h>
#include <rdma/fi_tagged.h>

static void *library;
static int older;
static char buffer[4096];

static void *exported(const char *name) {
  void *address = dlsym(library, name);
  if (!address) {
    printf("FAIL %s: not exported\n", name);
    exit(1);
  }
  return address;
}

// The exported functions, found in the library given and not in one that the linker chose.
int fi_getinfo(uint32_t version, const char *node, const char *service, uint64_t flags, const struct fi_info *hints,
               struct fi_info **info) {
  int (*call)(uint32_t, const char *, const char *, uint64_t, const struct fi_info *, struct fi_info **);
  *(void **)&call = exported("fi_getinfo");
  return call(version, node, service, flags, hints, info);
}

struct fi_info *fi_dupinfo(const struct fi_info *info) {
  struct fi_info *(*call)(const struct fi_info *);
  *(void **)&call = exported("fi_dupinfo");
  return call(info);
}

int fi_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context) {
  int (*call)(struct fi_fabric_attr *, struct fid_fabric **, void *);
  *(void **)&call = exported("fi_fabric");
  return call(attr, fabric, context);
}

int fi_open(uint32_t version, const char *name, void *attr, size_t attr_len, uint64_t flags, struct fid **fid,
            void *context) {
  int (*call)(uint32_t, const char *, void *, size_t, uint64_t, struct fid **, void *);
  *(void **)&call = exported("fi_open");
  return call(version, name, attr, attr_len, flags, fid, context);
}

/// Slots from here on are called by no inline function that has not looked at `size` and at the slot before.
static size_t checked_from(const char *name) {
  static const struct {
    const char *name;
    size_t offset;
  } tables[] = {
      {"fi_ops", offsetof(struct fi_ops, tostr)},
      {"fi_ops_fabric", offsetof(struct fi_ops_fabric, domain2)},
      {"fi_ops_domain", offsetof(struct fi_ops_domain, query_atomic)},
      {"fi_ops_av", offsetof(struct fi_ops_av, av_set)},
      {"fi_ops_collective", offsetof(struct fi_ops_collective, barrier2)},
  };
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
    if (!strcmp(tables[i].name, name))
      return tables[i].offset;
  return SIZE_MAX;
}

static void walk(const char *object, const char *name, const void *table, size_t expected) {
  const size_t *size = table;
  void *const *slots = table;
  char missing[256] = "";
  if (!table) {
    printf("FAIL %s %s: no table\n", object, name);
    return;
  }
  if (older ? *size > expected || *size % 8 || *size < 16 : *size != expected) {
    printf("FAIL %s %s: size is %zu, not %zu\n", object, name, *size, expected);
    return;
  }
  for (size_t slot = 1; slot < *size / sizeof(void *); slot++)
    if (!slots[slot] && !(older && slot * sizeof(void *) >= checked_from(name)) && strlen(missing) < 200)
      sprintf(missing + strlen(missing), " %zu", slot * sizeof(void *));
  if (missing[0])
    printf("FAIL %s %s: empty slots at%s\n", object, name, missing);
  else
    printf("ok %s %s\n", object, name);
}

#define WALK(object, table, type) walk(object, #type, table, sizeof(struct type))

static void check_fid(const char *object, const struct fid *fid, size_t fclass) {
  if (fid->fclass != fclass)
    printf("FAIL %s class: %zu, not %zu\n", object, fid->fclass, fclass);
  else
    printf("ok %s class\n", object);
  WALK(object, fid->ops, fi_ops);
}

/// Objects that have to be there; the others may be refused, but only with these answers.
static int opened(const char *object, int required, int result) {
  if (!result)
    return 1;
  if (!required && (result == -FI_ENOSYS || result == -FI_EOPNOTSUPP))
    printf("ok %s is not offered (%d)\n", object, result);
  else
    printf("FAIL %s: not opened (%d)\n", object, result);
  return 0;
}

static void close_object(const char *object, struct fid *fid) {
  int result = fi_close(fid);
  if (result)
    printf("FAIL %s: not closed (%d)\n", object, result);
  else
    printf("ok %s closes\n", object);
}

static void walk_endpoint(const char *object, struct fid_ep *ep, size_t fclass) {
  check_fid(object, &ep->fid, fclass);
  WALK(object, ep->ops, fi_ops_ep);
  WALK(object, ep->cm, fi_ops_cm);
  WALK(object, ep->msg, fi_ops_msg);
  WALK(object, ep->rma, fi_ops_rma);
  WALK(object, ep->tagged, fi_ops_tagged);
  // libfabric 1.17 leaves these out where nobody asked for them.
  if (!older || ep->atomic)
    WALK(object, ep->atomic, fi_ops_atomic);
  if (!older || ep->collective)
    WALK(object, ep->collective, fi_ops_collective);
}

static void fabric_objects(struct fid_fabric *fabric, struct fi_info *info) {
  struct fi_eq_attr eq_attr;
  struct fid_eq *eq;
  struct fi_wait_attr wait_attr;
  struct fid_wait *wait;
  struct fid_pep *pep;
  memset(&eq_attr, 0, sizeof eq_attr);
  memset(&wait_attr, 0, sizeof wait_attr);
  eq_attr.wait_obj = FI_WAIT_UNSPEC;
  wait_attr.wait_obj = FI_WAIT_UNSPEC;
  if (opened("event queue", 1, fi_eq_open(fabric, &eq_attr, &eq, NULL))) {
    check_fid("event queue", &eq->fid, FI_CLASS_EQ);
    WALK("event queue", eq->ops, fi_ops_eq);
    close_object("event queue", &eq->fid);
  }
  if (opened("wait set", 0, fabric->ops->wait_open(fabric, &wait_attr, &wait))) {
    check_fid("wait set", &wait->fid, FI_CLASS_WAIT);
    WALK("wait set", wait->ops, fi_ops_wait);
    close_object("wait set", &wait->fid);
  }
  enum fi_ep_type type = info->ep_attr->type;
  info->ep_attr->type = FI_EP_MSG;  // only such endpoints listen
  if (opened("passive endpoint", 0, fi_passive_ep(fabric, info, &pep, NULL))) {
    check_fid("passive endpoint", &pep->fid, FI_CLASS_PEP);
    WALK("passive endpoint", pep->ops, fi_ops_ep);
    WALK("passive endpoint", pep->cm, fi_ops_cm);
    close_object("passive endpoint", &pep->fid);
  }
  info->ep_attr->type = type;
}

static void shared_contexts(struct fid_domain *domain, struct fi_info *info) {
  struct fid_stx *stx;
  struct fid_ep *srx, *sep;
  struct fi_poll_attr poll_attr = {0};
  struct fid_poll *poll;
  if (opened("shared transmit context", 0, fi_stx_context(domain, info->tx_attr, &stx, NULL))) {
    check_fid("shared transmit context", &stx->fid, FI_CLASS_STX_CTX);
    WALK("shared transmit context", stx->ops, fi_ops_ep);
    close_object("shared transmit context", &stx->fid);
  }
  // A shared receive context has two of the tables, the others do not concern it.
  if (opened("shared receive context", 0, fi_srx_context(domain, info->rx_attr, &srx, NULL))) {
    check_fid("shared receive context", &srx->fid, FI_CLASS_SRX_CTX);
    WALK("shared receive context", srx->ops, fi_ops_ep);
    WALK("shared receive context", srx->msg, fi_ops_msg);
    WALK("shared receive context", srx->tagged, fi_ops_tagged);
    close_object("shared receive context", &srx->fid);
  }
  if (opened("scalable endpoint", 0, fi_scalable_ep(domain, info, &sep, NULL))) {
    walk_endpoint("scalable endpoint", sep, FI_CLASS_SEP);
    close_object("scalable endpoint", &sep->fid);
  }
  if (opened("poll set", 0, domain->ops->poll_open(domain, &poll_attr, &poll))) {
    check_fid("poll set", &poll->fid, FI_CLASS_POLL);
    WALK("poll set", poll->ops, fi_ops_poll);
    close_object("poll set", &poll->fid);
  }
}

static void domain_objects(struct fid_domain *domain, struct fi_info *info) {
  struct fi_cq_attr cq_attr;
  struct fi_cntr_attr cntr_attr;
  struct fi_av_attr av_attr;
  struct fi_av_set_attr set_attr;
  struct fid_cq *cq;
  struct fid_cntr *cntr;
  struct fid_av *av;
  struct fid_av_set *set;
  struct fid_mr *mr;
  struct fid_ep *ep;
  memset(&cq_attr, 0, sizeof cq_attr);
  memset(&cntr_attr, 0, sizeof cntr_attr);
  memset(&av_attr, 0, sizeof av_attr);
  memset(&set_attr, 0, sizeof set_attr);
  set_attr.start_addr = set_attr.end_addr = FI_ADDR_NOTAVAIL;
  cq_attr.format = FI_CQ_FORMAT_TAGGED;

  if (opened("counter", 0, fi_cntr_open(domain, &cntr_attr, &cntr, NULL))) {
    check_fid("counter", &cntr->fid, FI_CLASS_CNTR);
    WALK("counter", cntr->ops, fi_ops_cntr);
    close_object("counter", &cntr->fid);
  }
  if (opened("memory region", 1,
             fi_mr_reg(domain, buffer, sizeof buffer, FI_SEND | FI_RECV, 0, 0, 0, &mr, NULL))) {
    check_fid("memory region", &mr->fid, FI_CLASS_MR);
    close_object("memory region", &mr->fid);
  }
  if (!opened("completion queue", 1, fi_cq_open(domain, &cq_attr, &cq, NULL)) ||
      !opened("address vector", 1, fi_av_open(domain, &av_attr, &av, NULL)) ||
      !opened("endpoint", 1, fi_endpoint(domain, info, &ep, NULL)))
    return;
  check_fid("completion queue", &cq->fid, FI_CLASS_CQ);
  WALK("completion queue", cq->ops, fi_ops_cq);
  check_fid("address vector", &av->fid, FI_CLASS_AV);
  WALK("address vector", av->ops, fi_ops_av);
  if (!older && opened("address vector set", 0, fi_av_set(av, &set_attr, &set, NULL))) {
    check_fid("address vector set", &set->fid, FI_CLASS_AV_SET);
    WALK("address vector set", set->ops, fi_ops_av_set);
    close_object("address vector set", &set->fid);
  }

  walk_endpoint("endpoint before it is enabled", ep, FI_CLASS_EP);
  if (opened("binding of a completion queue", 1, fi_ep_bind(ep, &cq->fid, FI_TRANSMIT | FI_RECV)) &&
      opened("binding of an address vector", 1, fi_ep_bind(ep, &av->fid, 0)) &&
      opened("enabling", 1, fi_enable(ep)))
    walk_endpoint("enabled endpoint", ep, FI_CLASS_EP);
  close_object("endpoint", &ep->fid);
  close_object("address vector", &av->fid);
  close_object("completion queue", &cq->fid);
  shared_contexts(domain, info);
}

static void library_objects(void) {
  struct fid *fid;
  if (opened("log", 0, fi_open(FI_VERSION(1, 13), "logging", NULL, 0, 0, &fid, NULL))) {
    check_fid("log", fid, FI_CLASS_LOG);
    close_object("log", fid);
  }
  if (opened("memory registration cache", 0, fi_open(FI_VERSION(1, 13), "mr_cache", NULL, 0, 0, &fid, NULL))) {
    check_fid("memory registration cache", fid, FI_CLASS_MR_CACHE);
    close_object("memory registration cache", fid);
  }
}

int main(int argc, char **argv) {
  struct fi_info *hints, *info = NULL;
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  if (argc < 3)
    return 2;
  library = dlopen(argv[1], RTLD_NOW);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  older = argc > 3;

  hints = fi_allocinfo();
  hints->caps = FI_MSG | FI_TAGGED | FI_RMA;
  hints->mode = FI_CONTEXT | FI_CONTEXT2 | FI_ASYNC_IOV | FI_RX_CQ_DATA;
  hints->ep_attr->type = FI_EP_RDM;
  hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
  hints->fabric_attr->prov_name = strdup(argv[2]);
  if (!opened("match", 1, fi_getinfo(FI_VERSION(1, 17), "127.0.0.1", NULL, FI_SOURCE, hints, &info)) ||
      !opened("fabric", 1, fi_fabric(info->fabric_attr, &fabric, NULL)))
    return 1;
  check_fid("fabric", &fabric->fid, FI_CLASS_FABRIC);
  WALK("fabric", fabric->ops, fi_ops_fabric);
  fabric_objects(fabric, info);
  if (opened("domain", 1, fi_domain(fabric, info, &domain, NULL))) {
    check_fid("domain", &domain->fid, FI_CLASS_DOMAIN);
    WALK("domain", domain->ops, fi_ops_domain);
    WALK("domain", domain->mr, fi_ops_mr);
    domain_objects(domain, info);
    close_object("domain", &domain->fid);
  }
  close_object("fabric", &fabric->fid);
  library_objects();
  return 0;
}
