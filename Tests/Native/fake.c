// A small libfabric for tests: one provider, whose objects know how to be opened, to send and to be closed. Built with
//   PROVIDER="efa"     its name; layered names are fine
//   VERSION=117        what fi_version() says, major * 100 + minor
//   NODE=1.3           the newest symbol version of fi_getinfo
//   FAILS, HANGS       the step that fails with -FI_EACCES or never returns: getinfo, fabric, domain, endpoint, load
// FAKE_LOG names a file for the steps that are reached, FAKE_SLOW the milliseconds that opening a domain takes.
// Its structures are as short as those of the release that NODE came with, and end where memory ends.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/providers/fi_log.h>
#include <rdma/providers/fi_prov.h>

#define TEXT_OF(text) #text
#define TEXT(text) TEXT_OF(text)
#ifndef FAILS
#define FAILS none
#endif
#ifndef HANGS
#define HANGS none
#endif
#define EXPORT __attribute__((visibility("default")))
#define VERSIONED(name, node) __asm__(".symver own_" #name ", " #name "@@FABRIC_" node)

enum { SENT = 4711 };

// Tells that a call has been reached, for tests that count.
static void tell(const char *what) {
  const char *file = getenv("FAKE_LOG");
  FILE *log = file ? fopen(file, "a") : NULL;
  if (!log) return;
  fprintf(log, "%s\n", what);
  fclose(log);
}

static int step(const char *name) {
  tell(name);
  if (strcmp(name, "domain") == 0 && getenv("FAKE_SLOW")) usleep(1000u * (unsigned)atoi(getenv("FAKE_SLOW")));
  while (strcmp(name, TEXT(HANGS)) == 0) pause();
  return strcmp(name, TEXT(FAILS)) == 0 ? -FI_EACCES : 0;
}

// At this time its own functions may be those of a library that came first.
__attribute__((constructor)) static void load(void) {
  if (step("load") || !fi_strerror(SENT)) exit(1);
}

// As upstream's, which takes the lock that a call which hangs may hold.
__attribute__((destructor)) static void unload(void) {
  while (strcmp(TEXT(HANGS), "none") != 0) pause();
}

// Memory of which not a byte more may be read.
static void *exact(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(pages + page, page, PROT_NONE);
  return pages + page - size;
}

// ---- objects ------------------------------------------------------------------------------------------------------

static int close_any(struct fid *fid) {
  tell("close");
  free(fid);
  return 0;
}

static int bind_any(struct fid *fid, struct fid *other, uint64_t flags) {
  (void)fid, (void)other, (void)flags;
  tell("bind");
  return 0;
}

static struct fi_ops base = {.size = sizeof(struct fi_ops), .close = close_any, .bind = bind_any};

static ssize_t send_any(struct fid_ep *ep, const void *buf, size_t len, void *desc, fi_addr_t dest_addr,
                        void *context) {
  (void)ep, (void)buf, (void)len, (void)desc, (void)dest_addr, (void)context;
  return -SENT;
}

static struct fi_ops_msg messages = {.size = sizeof(struct fi_ops_msg), .send = send_any};

static int open_endpoint(struct fid_domain *domain, struct fi_info *info, struct fid_ep **ep, void *context) {
  (void)domain, (void)info;
  if (step("endpoint")) return -FI_EACCES;
  *ep = calloc(1, sizeof **ep);
  (*ep)->fid = (struct fid){.fclass = FI_CLASS_EP, .context = context, .ops = &base};
  (*ep)->msg = &messages;
  return 0;
}

static int open_vector(struct fid_domain *domain, struct fi_av_attr *attr, struct fid_av **av, void *context) {
  (void)domain, (void)attr;
  *av = calloc(1, sizeof **av);
  (*av)->fid = (struct fid){.fclass = FI_CLASS_AV, .context = context, .ops = &base};
  return 0;
}

static struct fi_ops_domain domains = {
    .size = sizeof(struct fi_ops_domain), .av_open = open_vector, .endpoint = open_endpoint};

static int open_domain(struct fid_fabric *fabric, struct fi_info *info, struct fid_domain **domain, void *context) {
  (void)fabric, (void)info;
  if (step("domain")) return -FI_EACCES;
  *domain = calloc(1, sizeof **domain);
  (*domain)->fid = (struct fid){.fclass = FI_CLASS_DOMAIN, .context = context, .ops = &base};
  (*domain)->ops = &domains;
  return 0;
}

static struct fi_ops_fabric fabrics = {.size = sizeof(struct fi_ops_fabric), .domain = open_domain};

EXPORT int fi_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context) {
  if (step("fabric")) return -FI_EACCES;
  *fabric = calloc(1, sizeof **fabric);
  (*fabric)->fid = (struct fid){.fclass = FI_CLASS_FABRIC, .context = context, .ops = &base};
  (*fabric)->ops = &fabrics;
  (*fabric)->api_version = attr->api_version;
  return 0;
}

// ---- discovery ----------------------------------------------------------------------------------------------------

EXPORT uint32_t fi_version(void) { return FI_VERSION(VERSION / 100, VERSION % 100); }

EXPORT void own_fi_freeinfo(struct fi_info *info) {
  (void)info;  // there is one, for good
}

// Calls within the library, which must not lead to another one's function of that name.
EXPORT int own_fi_getinfo(uint32_t version, const char *node, const char *service, uint64_t flags,
                          const struct fi_info *hints, struct fi_info **info) {
  static struct fi_info *only;
  (void)node, (void)service, (void)hints;
  *info = NULL;
  if (step("getinfo")) return -FI_EACCES;
  if (version > fi_version()) return -FI_ENOSYS;
  tell(fi_strerror(SENT));
  if (!only) {
    static const int domain_size = VERSION < 120 ? 192 : VERSION < 200 ? 200 : VERSION < 205 ? 208 : 224;
    only = exact(sizeof *only);
    only->tx_attr = exact(sizeof *only->tx_attr);
    only->rx_attr = exact(sizeof *only->rx_attr);
    only->ep_attr = exact(96);
    only->domain_attr = exact(domain_size);
    only->fabric_attr = exact(sizeof *only->fabric_attr);
    only->caps = FI_MSG;
    only->ep_attr->type = FI_EP_RDM;
    only->domain_attr->name = (char *)"fake0";
    only->domain_attr->tclass = 7;
    only->fabric_attr->name = (char *)"fake";
    only->fabric_attr->prov_name = (char *)PROVIDER;
    only->fabric_attr->prov_version = FI_VERSION(1, 0);
  }
  only->fabric_attr->api_version = version;
  if (flags == 0) only->next = NULL;
  *info = only;
  return 0;
}

// ---- the rest -----------------------------------------------------------------------------------------------------

EXPORT const char *fi_strerror(int errnum) { return errnum == SENT ? "own strerror" : strerror(abs(errnum)); }
EXPORT char *fi_tostr(const void *data, enum fi_type datatype) { return (void)data, (void)datatype, (char *)"fake"; }
EXPORT int fi_getparams(struct fi_param **params, int *count) { return *params = NULL, *count = 0; }
EXPORT void fi_freeparams(struct fi_param *params) { (void)params; }
EXPORT int fi_param_get(struct fi_provider *provider, const char *param_name, void *value) {
  return (void)provider, (void)param_name, (void)value, -FI_ENOENT;
}
EXPORT int fi_param_define(const struct fi_provider *provider, const char *param_name, enum fi_param_type type,
                           const char *help_string_fmt, ...) {
  return (void)provider, (void)param_name, (void)type, (void)help_string_fmt, 0;
}
EXPORT int fi_log_enabled(const struct fi_provider *prov, enum fi_log_level level, enum fi_log_subsys subsys) {
  return (void)prov, (void)level, (void)subsys, 0;
}
EXPORT void fi_log(const struct fi_provider *prov, enum fi_log_level level, enum fi_log_subsys subsys, const char *func,
                   int line, const char *fmt, ...) {
  (void)prov, (void)level, (void)subsys, (void)func, (void)line, (void)fmt;
}

VERSIONED(fi_getinfo, NODE);
VERSIONED(fi_freeinfo, NODE);
