// The entry points for older programs, at every symbol version: they read no byte beyond the structures of that version
// and return what newer callers would get.
//
// usage: compat LIBRARY PROVIDER NEWEST VERSION...   e.g. compat ./libfabric.so.1 tcp 1.3 1.0 1.3
//
// Each case runs in a process of its own, with structures that end where a page without access begins. Prints
// `ok NAME` or `FAIL NAME: reason` for each. `versions.h` is generated from facts/structures-by-version.json.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <rdma/fabric.h>
#include <rdma/fi_endpoint.h>

struct version {
  const char *name;
  size_t info, tx, rx, ep, domain, fabric;
  uint32_t api;  // the newest interface version that a program with these structures asks for
};

#include "versions.h"

typedef int getinfo_function(uint32_t, const char *, const char *, uint64_t, const struct fi_info *, struct fi_info **);
typedef void freeinfo_function(struct fi_info *);
typedef struct fi_info *dupinfo_function(const struct fi_info *);
typedef int fabric_function(struct fi_fabric_attr *, struct fid_fabric **, void *);
typedef int fabric2_function(struct fi_info *, struct fid_fabric **, uint64_t, void *);

static void *library;
static const char *provider;
static const struct version *newest;
static const struct version *now;

static void fail(const char *reason) {
  printf(": %s\n", reason);
  fflush(stdout);
  _exit(1);
}

#define EXPECT(condition) \
  do {                    \
    if (!(condition))     \
      fail(#condition);   \
  } while (0)

#define EXPECT_RESULT(call, expected)                                                           \
  do {                                                                                          \
    long result_ = (call);                                                                      \
    if (result_ != (expected)) {                                                                \
      char reason_[256];                                                                        \
      snprintf(reason_, sizeof reason_, #call " is %ld, not %ld", result_, (long)(expected));   \
      fail(reason_);                                                                            \
    }                                                                                           \
  } while (0)

static void *symbol(const char *name, const char *version) {
  char node[32];
  snprintf(node, sizeof node, "FABRIC_%s", version);
  void *address = dlvsym(library, name, node);
  if (!address) {
    char reason[128];
    snprintf(reason, sizeof reason, "no %s@%s", name, node);
    fail(reason);
  }
  return address;
}

static getinfo_function *getinfo(void) { return (getinfo_function *)symbol("fi_getinfo", now->name); }
static freeinfo_function *freeinfo(void) { return (freeinfo_function *)symbol("fi_freeinfo", now->name); }
static dupinfo_function *dupinfo(void) { return (dupinfo_function *)symbol("fi_dupinfo", now->name); }

/// A copy of `size` bytes whose end is the end of the accessible memory.
static void *guarded(const void *bytes, size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (size + page - 1) / page * page;
  char *memory = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(memory != MAP_FAILED);
  EXPECT(!mprotect(memory + room, page, PROT_NONE));
  return memcpy(memory + room - size, bytes, size);
}

static void *no_access(void) {
  void *memory = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(memory != MAP_FAILED);
  return memory;
}

static const uint8_t auth_key[] = {1, 2, 3, 4, 5};

/// Hints that any reliable provider satisfies, every structure of the size that the version has.
static struct fi_info *old_hints(void) {
  struct fi_info info;
  struct fi_tx_attr tx;
  struct fi_rx_attr rx;
  struct fi_ep_attr ep;
  struct fi_domain_attr domain;
  struct fi_fabric_attr fabric;
  memset(&info, 0, sizeof info);
  memset(&tx, 0, sizeof tx);
  memset(&rx, 0, sizeof rx);
  memset(&ep, 0, sizeof ep);
  memset(&domain, 0, sizeof domain);
  memset(&fabric, 0, sizeof fabric);

  ep.type = FI_EP_RDM;
  domain.mr_mode = now->api < FI_VERSION(1, 5) ? FI_MR_UNSPEC
                                               : FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
  fabric.prov_name = guarded(provider, strlen(provider) + 1);
  info.next = no_access();  // hints are one entry, whatever follows
  info.caps = FI_MSG | FI_TAGGED;
  info.mode = FI_CONTEXT | FI_LOCAL_MR | FI_RX_CQ_DATA | FI_ASYNC_IOV;
  if (now->api >= FI_VERSION(1, 5))
    info.mode |= FI_CONTEXT2;
  info.addr_format = FI_SOCKADDR_IN;
  info.tx_attr = guarded(&tx, now->tx);
  info.rx_attr = guarded(&rx, now->rx);
  info.ep_attr = guarded(&ep, now->ep);
  info.domain_attr = guarded(&domain, now->domain);
  info.fabric_attr = guarded(&fabric, now->fabric);
  return guarded(&info, now->info);
}

static void expect_complete(const struct fi_info *info) {
  EXPECT(info->tx_attr && info->rx_attr && info->ep_attr && info->domain_attr && info->fabric_attr);
}

/// Memory that came from the library is as large as its newest structures, whoever asked.
static void expect_newest_sizes(const struct fi_info *info) {
  EXPECT(malloc_usable_size((void *)info) >= newest->info);
  EXPECT(malloc_usable_size(info->tx_attr) >= newest->tx);
  EXPECT(malloc_usable_size(info->rx_attr) >= newest->rx);
  EXPECT(malloc_usable_size(info->ep_attr) >= newest->ep);
  EXPECT(malloc_usable_size(info->domain_attr) >= newest->domain);
  EXPECT(malloc_usable_size(info->fabric_attr) >= newest->fabric);
}

static int all_zero(const void *bytes, size_t from, size_t to) {
  const char *byte = bytes;
  for (size_t i = from; i < to; i++)
    if (byte[i])
      return 0;
  return 1;
}

static void getinfo_without_hints(void) {
  struct fi_info *info = NULL;
  EXPECT_RESULT(getinfo()(now->api, NULL, NULL, 0, NULL, &info), 0);
  EXPECT(info);
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    expect_complete(entry);
    EXPECT(entry->fabric_attr->api_version == now->api);
  }
  freeinfo()(info);
}

static void getinfo_with_hints(void) {
  struct fi_info *info = NULL, *hints = old_hints();
  EXPECT_RESULT(getinfo()(now->api, NULL, NULL, 0, hints, &info), 0);
  EXPECT(info);
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    expect_complete(entry);
    expect_newest_sizes(entry);
    EXPECT(entry->ep_attr->type == FI_EP_RDM);
    EXPECT((entry->caps & (FI_MSG | FI_TAGGED)) == (FI_MSG | FI_TAGGED));
    EXPECT(!strcasecmp(entry->fabric_attr->prov_name, provider));
    EXPECT(entry->fabric_attr->api_version == now->api);
    if (now->api < FI_VERSION(1, 5))
      EXPECT(entry->domain_attr->mr_mode == FI_MR_BASIC || entry->domain_attr->mr_mode == FI_MR_SCALABLE);
  }
  freeinfo()(info);
}

static void getinfo_with_partial_hints(void) {
  struct fi_info *info = NULL, *hints = old_hints();
  hints->tx_attr = NULL;
  hints->rx_attr = NULL;
  hints->ep_attr = NULL;
  hints->fabric_attr = NULL;
  hints->domain_attr = NULL;
  hints->caps = 0;
  EXPECT_RESULT(getinfo()(now->api, NULL, NULL, 0, hints, &info), 0);
  EXPECT(info);
  expect_complete(info);
  freeinfo()(info);
}

static void getinfo_finds_nothing(void) {
  struct fi_info *info = (struct fi_info *)no_access(), *hints = old_hints();
  char *name = guarded("no-such-provider", sizeof "no-such-provider");
  hints->fabric_attr->prov_name = name;
  EXPECT_RESULT(getinfo()(now->api, NULL, NULL, 0, hints, &info), -FI_ENODATA);
  EXPECT(!info);
}

static void getinfo_of_the_future(void) {
  struct fi_info *info = NULL;
  EXPECT_RESULT(getinfo()(FI_VERSION(9, 0), NULL, NULL, 0, NULL, &info), -FI_ENOSYS);
}

static void dupinfo_of_nothing(void) {
  struct fi_info *info = dupinfo()(NULL);
  EXPECT(info);
  expect_complete(info);
  expect_newest_sizes(info);
  EXPECT(!info->next && !info->caps && !info->src_addr && !info->nic);
  EXPECT(all_zero(info->tx_attr, 0, newest->tx));
  EXPECT(all_zero(info->rx_attr, 0, newest->rx));
  EXPECT(all_zero(info->ep_attr, 0, newest->ep));
  EXPECT(all_zero(info->domain_attr, 0, newest->domain));
  EXPECT(all_zero(info->fabric_attr, 0, newest->fabric));
  freeinfo()(info);
}

static void dupinfo_of_hints(void) {
  struct fi_info *hints = old_hints();
  struct sockaddr_in source = {.sin_family = AF_INET, .sin_port = htons(7471)}, target = source;
  hints->handle = (fid_t)no_access();  // a value: nothing looks behind it
  hints->src_addr = guarded(&source, sizeof source);
  hints->src_addrlen = sizeof source;
  hints->dest_addr = guarded(&target, sizeof target);
  hints->dest_addrlen = sizeof target;
  hints->domain_attr->name = guarded("lo", 3);
  hints->fabric_attr->name = guarded("127.0.0.0/8", 12);
  hints->tx_attr->inject_size = 17;
  hints->rx_attr->iov_limit = 4;
  hints->ep_attr->rx_ctx_cnt = 3;
  hints->domain_attr->max_ep_srx_ctx = 9;
  int keys = now->ep > offsetof(struct fi_ep_attr, auth_key);
  if (keys) {
    hints->ep_attr->auth_key = guarded(auth_key, sizeof auth_key);
    hints->ep_attr->auth_key_size = sizeof auth_key;
    hints->domain_attr->auth_key = guarded(auth_key, sizeof auth_key);
    hints->domain_attr->auth_key_size = sizeof auth_key;
  }

  struct fi_info *copy = dupinfo()(hints);
  EXPECT(copy);
  expect_complete(copy);
  expect_newest_sizes(copy);
  EXPECT(!copy->next);
  EXPECT(copy->caps == hints->caps && copy->mode == hints->mode && copy->handle == hints->handle);
  EXPECT(copy->src_addr != hints->src_addr && !memcmp(copy->src_addr, &source, sizeof source));
  EXPECT(copy->dest_addr != hints->dest_addr && !memcmp(copy->dest_addr, &target, sizeof target));
  EXPECT(copy->domain_attr->name != hints->domain_attr->name && !strcmp(copy->domain_attr->name, "lo"));
  EXPECT(copy->fabric_attr->name != hints->fabric_attr->name && !strcmp(copy->fabric_attr->name, "127.0.0.0/8"));
  EXPECT(!strcmp(copy->fabric_attr->prov_name, provider));
  EXPECT(!memcmp(copy->tx_attr, hints->tx_attr, offsetof(struct fi_tx_attr, tclass)));
  EXPECT(!memcmp(copy->rx_attr, hints->rx_attr, now->rx));
  EXPECT(copy->ep_attr->rx_ctx_cnt == 3 && copy->domain_attr->max_ep_srx_ctx == 9);
  EXPECT(!copy->nic);
  EXPECT(all_zero(copy->tx_attr, now->tx, newest->tx));
  EXPECT(all_zero(copy->ep_attr, now->ep, newest->ep));
  EXPECT(all_zero(copy->domain_attr, now->domain, newest->domain));
  if (keys) {
    EXPECT(copy->ep_attr->auth_key != hints->ep_attr->auth_key && copy->ep_attr->auth_key_size == sizeof auth_key);
    EXPECT(!memcmp(copy->ep_attr->auth_key, auth_key, sizeof auth_key));
    EXPECT(copy->domain_attr->auth_key != hints->domain_attr->auth_key);
    EXPECT(!memcmp(copy->domain_attr->auth_key, auth_key, sizeof auth_key));
  } else {
    EXPECT(!copy->ep_attr->auth_key && !copy->domain_attr->auth_key);
  }
  freeinfo()(copy);
}

static void dupinfo_without_attributes(void) {
  struct fi_info info;
  memset(&info, 0, sizeof info);
  info.caps = FI_MSG;
  struct fi_info *copy = dupinfo()(guarded(&info, now->info));
  EXPECT(copy && copy->caps == FI_MSG);
  EXPECT(!copy->tx_attr && !copy->rx_attr && !copy->ep_attr && !copy->domain_attr && !copy->fabric_attr);
  freeinfo()(copy);
}

static void freeinfo_of_nothing(void) { freeinfo()(NULL); }

/// What fi_getinfo() returns is duplicated and freed by every other version too.
static void versions_mix(void) {
  getinfo_function *newest_getinfo = (getinfo_function *)symbol("fi_getinfo", newest->name);
  freeinfo_function *newest_freeinfo = (freeinfo_function *)symbol("fi_freeinfo", newest->name);
  struct fi_info *info = NULL, *copy;
  EXPECT_RESULT(newest_getinfo(newest->api, NULL, NULL, 0, NULL, &info), 0);
  copy = dupinfo()(info);
  EXPECT(copy && !copy->next);
  EXPECT(copy->domain_attr->mr_mode == info->domain_attr->mr_mode);
  // The nic is copied where the version has one, and not shared.
  if (now->info <= offsetof(struct fi_info, nic) || !info->nic)
    EXPECT(!copy->nic);
  else
    EXPECT(copy->nic && copy->nic != info->nic && copy->nic->fid.fclass == FI_CLASS_NIC);
  newest_freeinfo(copy);
  freeinfo()(info);
}

// ---- fi_fabric, which has two versions, and fi_fabric2 ----

/// The attributes of the first match, as a caller of the version holds them.
static struct fi_fabric_attr *fabric_attr(uint32_t api) {
  getinfo_function *newest_getinfo = (getinfo_function *)symbol("fi_getinfo", newest->name);
  struct fi_info *info = NULL;
  EXPECT_RESULT(newest_getinfo(api, NULL, NULL, 0, old_hints(), &info), 0);
  return guarded(info->fabric_attr, sizeof *info->fabric_attr);
}

static void fabric_1_0(void) {
  fabric_function *open = (fabric_function *)symbol("fi_fabric", "1.0");
  struct fi_fabric_attr *attr = fabric_attr(now->api);
  struct fid_fabric *fabric = NULL;
  // In 1.0 these four bytes were padding.
  attr->api_version = 0xEEEEEEEE;
  EXPECT_RESULT(open(attr, &fabric, (void *)41), 0);
  EXPECT(fabric && fabric->fid.context == (void *)41 && fabric->fid.fclass == FI_CLASS_FABRIC);
  EXPECT(fabric->api_version == FI_VERSION(1, 0));
  EXPECT_RESULT(fi_close(&fabric->fid), 0);
  EXPECT_RESULT(open(NULL, &fabric, NULL), -FI_EINVAL);
}

static void fabric_1_1(void) {
  fabric_function *open = (fabric_function *)symbol("fi_fabric", "1.1");
  struct fi_fabric_attr *attr = fabric_attr(FI_VERSION(1, 9));
  struct fid_fabric *fabric = NULL;
  EXPECT_RESULT(open(attr, &fabric, (void *)41), 0);
  EXPECT(fabric && fabric->fid.context == (void *)41);
  EXPECT(fabric->api_version == FI_VERSION(1, 9));
  EXPECT_RESULT(fi_close(&fabric->fid), 0);
  EXPECT_RESULT(open(NULL, &fabric, NULL), -FI_EINVAL);
  char *name = attr->name;
  attr->name = NULL;
  EXPECT_RESULT(open(attr, &fabric, NULL), -FI_EINVAL);
  attr->name = name;
  attr->prov_name = NULL;
  EXPECT_RESULT(open(attr, &fabric, NULL), -FI_EINVAL);
  attr->prov_name = guarded("no-such-provider", sizeof "no-such-provider");
  EXPECT_RESULT(open(attr, &fabric, NULL), -FI_ENODEV);
}

static void fabric2(void) {
  fabric2_function *open = (fabric2_function *)symbol("fi_fabric2", "1.8");
  getinfo_function *newest_getinfo = (getinfo_function *)symbol("fi_getinfo", newest->name);
  struct fi_info *info = NULL;
  struct fid_fabric *fabric = NULL;
  EXPECT_RESULT(newest_getinfo(FI_VERSION(2, 0), NULL, NULL, 0, old_hints(), &info), 0);
  EXPECT_RESULT(open(info, &fabric, 1, NULL), -FI_EINVAL);
  EXPECT_RESULT(open(NULL, &fabric, 0, NULL), -FI_EINVAL);
  EXPECT_RESULT(open(info, &fabric, 0, (void *)41), 0);
  EXPECT(fabric && fabric->fid.context == (void *)41 && fabric->api_version == FI_VERSION(2, 0));
  EXPECT_RESULT(fi_close(&fabric->fid), 0);
}

static void default_versions(void) {
  static const char *const changing[] = {"fi_getinfo", "fi_freeinfo", "fi_dupinfo"};
  for (int i = 0; i < 3; i++)
    EXPECT(dlsym(library, changing[i]) == symbol(changing[i], newest->name));
  EXPECT(dlsym(library, "fi_fabric") == symbol("fi_fabric", "1.1"));
}

// ---- Running ----

#define FINISHED 42  // exit status of a case that held

/// Proves that the guard works: a read one byte further does not survive.
static void read_beyond(void) {
  struct fi_info *hints = old_hints();
  volatile char *end = (char *)hints + now->info;
  (void)*end;
}

static void run(const char *name, void (*function)(void), int dies) {
  fflush(stdout);
  int channel[2];
  if (pipe(channel))
    exit(2);
  pid_t child = fork();
  if (!child) {
    dup2(channel[1], STDOUT_FILENO);
    close(channel[0]);
    // Libraries that libfabric loads may have installed a handler that exits.
    signal(SIGSEGV, SIG_DFL);
    alarm(20);
    function();
    fflush(stdout);
    _exit(FINISHED);
  }
  close(channel[1]);
  char reason[512] = "";
  size_t length = 0;
  ssize_t got;
  while ((got = read(channel[0], reason + length, sizeof reason - 1 - length)) > 0)
    length += (size_t)got;
  close(channel[0]);
  int status = 0;
  waitpid(child, &status, 0);
  int died = WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
  if (dies ? died : WIFEXITED(status) && WEXITSTATUS(status) == FINISHED)
    printf("ok @%s %s\n", now->name, name);
  else if (died)
    printf("FAIL @%s %s: touched memory that the structures of this version do not have\n", now->name, name);
  else if (WIFSIGNALED(status))
    printf("FAIL @%s %s: signal %d\n", now->name, name, WTERMSIG(status));
  else
    printf("FAIL @%s %s%s\n", now->name, name, reason[0] ? strtok(reason, "\n") : ": no reason given");
}

static const struct version *find(const char *name) {
  for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
    if (!strcmp(versions[i].name, name))
      return &versions[i];
  fprintf(stderr, "no version %s\n", name);
  exit(2);
}

int main(int argc, char **argv) {
  if (argc < 5)
    return 2;
  library = dlopen(argv[1], RTLD_NOW);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  provider = argv[2];
  now = newest = find(argv[3]);
  run("default versions", default_versions, 0);
  run("fi_fabric@FABRIC_1.0", fabric_1_0, 0);
  run("fi_fabric@FABRIC_1.1", fabric_1_1, 0);
  if (dlsym(library, "fi_fabric2") || newest->api >= FI_VERSION(2, 0))
    run("fi_fabric2@FABRIC_1.8", fabric2, 0);
  for (int i = 4; i < argc; i++) {
    now = find(argv[i]);
    run("the guard stops a read beyond the structure", read_beyond, 1);
    run("fi_getinfo without hints", getinfo_without_hints, 0);
    run("fi_getinfo with hints", getinfo_with_hints, 0);
    run("fi_getinfo with hints without attributes", getinfo_with_partial_hints, 0);
    run("fi_getinfo that finds nothing", getinfo_finds_nothing, 0);
    run("fi_getinfo with a version of the future", getinfo_of_the_future, 0);
    run("fi_dupinfo of nothing", dupinfo_of_nothing, 0);
    run("fi_dupinfo of hints", dupinfo_of_hints, 0);
    run("fi_dupinfo of an entry without attributes", dupinfo_without_attributes, 0);
    run("fi_freeinfo of nothing", freeinfo_of_nothing, 0);
    run("fi_dupinfo and fi_freeinfo of a newer entry", versions_mix, 0);
  }
  return 0;
}
