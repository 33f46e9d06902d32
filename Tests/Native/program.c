// What a program sees of the native libfabric, line by line. Arguments are what to do, in order:
//   list              the providers of all entries, each run of entries once: `list: efa polyfill`
//   hint=NAME         from here on hints name a provider
//   version           fi_version()
//   open=NAME         opens a fabric, a domain and an endpoint of the first entry of that provider, and tells whose
//                     functions the endpoint has
//   exchange=NAME     sends a message from one endpoint of that provider to another
//   owners            from here on that tells whose functions the endpoints have, too
//   copy              copies, prints and frees the list
//   threads           lists in eight threads at once
//   fork              lists in a child
//   meanwhile         lists in a child that is made while another thread lists
//   status            fi_polyfill_status()
//   loaded            the libfabrics that are mapped into the process
//   leave             ends without the ends of libraries
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_ext_polyfill.h>

static const char *hint;
static int tells_owners;

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

static void check(const char *call, long result) {
  if (result >= 0) return;
  printf("%s: %s\n", call, fi_strerror((int)-result));
  exit(3);
}

static int query(struct fi_info **info) {
  struct fi_info *hints = NULL;
  if (hint) {
    hints = fi_allocinfo();
    hints->fabric_attr->prov_name = strdup(hint);
    hints->mode = ~0ull;
    hints->domain_attr->mr_mode = ~3;
  }
  *info = NULL;
  int result = fi_getinfo(FI_VERSION(1, 17), NULL, NULL, 0, hints, info);
  if (hints) fi_freeinfo(hints);
  return result;
}

static char *names(char *text, size_t size) {
  struct fi_info *info;
  int result = query(&info);
  if (result) {
    snprintf(text, size, "%s", fi_strerror(-result));
    return text;
  }
  const char *last = "";
  size_t length = 0;
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    const char *name = entry->fabric_attr->prov_name;
    if (strcmp(name, last)) length += (size_t)snprintf(text + length, size - length, length ? " %s" : "%s", name);
    last = name;
  }
  fi_freeinfo(info);
  return text;
}

static void list(void) {
  char text[4096] = "";
  double start = seconds();
  printf("list: %s\n", names(text, sizeof text));
  printf("milliseconds: %.3f\n", (seconds() - start) * 1e3);
}

static struct fi_info *find(const char *provider, struct fi_info **whole) {
  check("fi_getinfo", query(whole));
  for (struct fi_info *entry = *whole; entry; entry = entry->next)
    if (!strcmp(entry->fabric_attr->prov_name, provider) && entry->ep_attr->type == FI_EP_RDM) return entry;
  printf("no entry of %s\n", provider);
  exit(3);
}

static void tell_owner(struct fid_ep *ep) {
  Dl_info owner;
  if (!dladdr((void *)ep->msg->send, &owner)) exit(3);
  printf("send: %s\n", basename((char *)owner.dli_fname));
}

static void open_one(const char *provider) {
  struct fi_info *whole, *info = find(provider, &whole);
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  struct fid_ep *ep;
  check("fi_fabric", fi_fabric(info->fabric_attr, &fabric, NULL));
  check("fi_domain", fi_domain(fabric, info, &domain, NULL));
  check("fi_endpoint", fi_endpoint(domain, info, &ep, NULL));
  tell_owner(ep);
  if (!strcmp(info->fabric_attr->name, "fake")) printf("sent: %zd\n", fi_send(ep, "", 0, NULL, 0, NULL));
  check("fi_close", fi_close(&ep->fid));
  check("fi_close", fi_close(&domain->fid));
  check("fi_close", fi_close(&fabric->fid));
  fi_freeinfo(whole);
}

struct side {
  struct fid_ep *ep;
  struct fid_cq *cq;
  struct fid_av *av;
  char name[256];
  fi_addr_t other;
  struct fi_context2 context;
};

static void open_side(struct side *side, struct fid_domain *domain, struct fi_info *info) {
  struct fi_cq_attr cq_attr = {.format = FI_CQ_FORMAT_CONTEXT};
  struct fi_av_attr av_attr = {.type = FI_AV_UNSPEC};
  size_t size = sizeof side->name;
  check("fi_endpoint", fi_endpoint(domain, info, &side->ep, NULL));
  check("fi_cq_open", fi_cq_open(domain, &cq_attr, &side->cq, NULL));
  check("fi_av_open", fi_av_open(domain, &av_attr, &side->av, NULL));
  check("fi_ep_bind", fi_ep_bind(side->ep, &side->cq->fid, FI_TRANSMIT | FI_RECV));
  check("fi_ep_bind", fi_ep_bind(side->ep, &side->av->fid, 0));
  check("fi_enable", fi_enable(side->ep));
  check("fi_getname", fi_getname(&side->ep->fid, side->name, &size));
}

static int poll_side(struct side *side) {
  struct fi_cq_entry entry;
  ssize_t result = fi_cq_read(side->cq, &entry, 1);
  if (result != -FI_EAGAIN) check("fi_cq_read", result);
  return result == 1;
}

static void exchange(const char *provider) {
  struct fi_info *whole, *info = find(provider, &whole);
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  struct side sides[2];
  char received[32] = "";
  check("fi_fabric", fi_fabric(info->fabric_attr, &fabric, NULL));
  check("fi_domain", fi_domain(fabric, info, &domain, NULL));
  for (int i = 0; i < 2; i++) open_side(&sides[i], domain, info);
  if (tells_owners) tell_owner(sides[0].ep);
  for (int i = 0; i < 2; i++)
    if (fi_av_insert(sides[i].av, sides[1 - i].name, 1, &sides[i].other, 0, NULL) != 1) exit(3);
  double deadline = seconds() + 10;
  ssize_t result;
  check("fi_recv", fi_recv(sides[1].ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, &sides[1].context));
  do {
    poll_side(&sides[0]), poll_side(&sides[1]);
    result = fi_send(sides[0].ep, "a message", 10, NULL, sides[0].other, &sides[0].context);
  } while (result == -FI_EAGAIN && seconds() < deadline);
  check("fi_send", result);
  int sent = 0, arrived = 0;
  while (!(sent && arrived) && seconds() < deadline) sent |= poll_side(&sides[0]), arrived |= poll_side(&sides[1]);
  printf("received: %s\n", received);
  for (int i = 0; i < 2; i++) {
    check("fi_close", fi_close(&sides[i].ep->fid));
    check("fi_close", fi_close(&sides[i].cq->fid));
    check("fi_close", fi_close(&sides[i].av->fid));
  }
  check("fi_close", fi_close(&domain->fid));
  check("fi_close", fi_close(&fabric->fid));
  fi_freeinfo(whole);
}

static void copy(void) {
  struct fi_info *info, *copies = NULL;
  check("fi_getinfo", query(&info));
  int count = 0, texts = 0;
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    struct fi_info *copy = fi_dupinfo(entry);
    if (!copy || strcmp(copy->fabric_attr->prov_name, entry->fabric_attr->prov_name) ||
        strcmp(copy->domain_attr->name, entry->domain_attr->name))
      exit(3);
    copy->next = copies;
    copies = copy;
    texts += fi_tostr(copy, FI_TYPE_INFO) != NULL;
    count++;
  }
  fi_freeinfo(info);
  fi_freeinfo(copies);
  printf("copied: %s\n", count > 0 && texts == count ? "all" : "not all");
}

static void *list_in_thread(void *text) { return names(text, 4096); }

static void threads(void) {
  enum { COUNT = 8 };
  static char texts[COUNT][4096];
  pthread_t ids[COUNT];
  for (int i = 0; i < COUNT; i++) pthread_create(&ids[i], NULL, list_in_thread, texts[i]);
  for (int i = 0; i < COUNT; i++) pthread_join(ids[i], NULL);
  int same = 0;
  for (int i = 0; i < COUNT; i++) same += !strcmp(texts[i], texts[0]);
  printf("threads: %s\n", same == COUNT ? texts[0] : "differ");
}

static void in_child(void) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    list();
    fflush(stdout);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  if (status) printf("child: status %d\n", status);
}

static void meanwhile(void) {
  static char text[4096];
  pthread_t id;
  pthread_create(&id, NULL, list_in_thread, text);
  usleep(50000);
  in_child();
  pthread_join(id, NULL);
  printf("list: %s\n", text);
}

static void status(void) {
  int (*ask)(struct fid *, struct fi_polyfill_report *, size_t);
  *(void **)&ask = dlsym(RTLD_DEFAULT, "fi_polyfill_status");
  struct fi_polyfill_report report;
  check("fi_polyfill_status", ask(NULL, &report, sizeof report));
  printf("status: level %u mode %u native %u version %x path %s provider %s\n", report.level, report.mode,
         report.native, report.native_version, report.native_path ? report.native_path : "-",
         report.native_provider ? report.native_provider : "-");
  printf("reason: %s\n", report.reason);
}

static void loaded(void) {
  char line[4096], last[4096] = "";
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps && fgets(line, sizeof line, maps)) {
    char *path = strchr(line, '/');
    if (!path || !strstr(path, "fabric") || !strstr(path, ".so") || !strcmp(path, last)) continue;
    strcpy(last, path);
    printf("loaded: %s", path);
  }
  if (maps) fclose(maps);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    char *value = strchr(argv[i], '=');
    if (value) *value++ = 0;
    if (!strcmp(argv[i], "list")) list();
    else if (!strcmp(argv[i], "hint")) hint = value;
    else if (!strcmp(argv[i], "version")) printf("version: %x\n", fi_version());
    else if (!strcmp(argv[i], "open")) open_one(value);
    else if (!strcmp(argv[i], "owners")) tells_owners = 1;
    else if (!strcmp(argv[i], "exchange")) exchange(value);
    else if (!strcmp(argv[i], "copy")) copy();
    else if (!strcmp(argv[i], "threads")) threads();
    else if (!strcmp(argv[i], "fork")) in_child();
    else if (!strcmp(argv[i], "meanwhile")) meanwhile();
    else if (!strcmp(argv[i], "status")) status();
    else if (!strcmp(argv[i], "loaded")) loaded();
    else if (!strcmp(argv[i], "leave")) fflush(stdout), _exit(0);
    else return 2;
  }
  return 0;
}
