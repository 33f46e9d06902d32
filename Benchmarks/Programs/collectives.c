// Collective operations among 2 to 4 processes of this host: how long a barrier and an allreduce take. Public API only:
// the same program runs on every provider. One that has no collectives leaves no line.
//
//   collectives [-p PROVIDER] [-r ROUNDS] [-x OPERATIONS in a round]
//
// Prints one JSON object a line: name, value, unit, least, most; a round's time is the mean of rank 0, and the value is the
// median of the rounds. The sum of every allreduce is checked.
#include "bench.h"

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_collective.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ranks_max = 4, name_max = 128, elements_max = 512, rounds_max = 101, seconds_max = 30 };

static const char *provider = "polyfill";
static int rounds = 7, operations = 300;

// What the processes of one group see of each other besides libfabric.
struct group {
  int ranks;
  atomic_int arrivals;
  char names[ranks_max][name_max];
};

static struct group *group;
static int rank;
static struct fi_info *info;
static struct fid_fabric *fabric;
static struct fid_domain *domain;
static struct fid_eq *eq;
static struct fid_cq *cq;
static struct fid_av *av;
static struct fid_ep *ep;
static struct fid_mc *members;
static uint64_t operands[elements_max], sums[elements_max];

#define check(call) check_result((long)(call), #call)
static long check_result(long result, const char *call) {
  if (result < 0) die("%s: %s", call, fi_strerror((int)-result));
  return result;
}

// ---- opening ------------------------------------------------------------------------------------------------------

static struct fi_info *find(void) {
  struct fi_info *hints = fi_allocinfo(), *all = NULL, *found = NULL;
  if (!hints) die("fi_allocinfo: no memory");
  hints->caps = FI_MSG | FI_COLLECTIVE;
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->ep_attr->type = FI_EP_RDM;
  hints->domain_attr->mr_mode = FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
  hints->domain_attr->threading = FI_THREAD_DOMAIN;
  hints->fabric_attr->prov_name = strdup(provider);
  int result = fi_getinfo(FI_VERSION(1, 17), "127.0.0.1", NULL, FI_SOURCE, hints, &all);
  if (result && result != -FI_ENODATA) check_result(result, "fi_getinfo");
  for (struct fi_info *entry = all; entry && !found; entry = entry->next) {
    if (strcasecmp(entry->fabric_attr->prov_name, provider) == 0) found = fi_dupinfo(entry);
  }
  fi_freeinfo(all);
  fi_freeinfo(hints);
  return found;
}

static void open_endpoint(void) {
  struct fi_eq_attr eq_attributes = {.wait_obj = FI_WAIT_UNSPEC};
  struct fi_cq_attr cq_attributes = {.format = FI_CQ_FORMAT_CONTEXT, .size = 64, .wait_obj = FI_WAIT_NONE};
  struct fi_av_attr av_attributes = {.type = FI_AV_TABLE, .count = ranks_max};
  check(fi_fabric(info->fabric_attr, &fabric, NULL));
  check(fi_domain(fabric, info, &domain, NULL));
  check(fi_eq_open(fabric, &eq_attributes, &eq, NULL));
  check(fi_cq_open(domain, &cq_attributes, &cq, NULL));
  check(fi_av_open(domain, &av_attributes, &av, NULL));
  check(fi_endpoint(domain, info, &ep, NULL));
  check(fi_ep_bind(ep, &eq->fid, 0));
  check(fi_ep_bind(ep, &cq->fid, FI_TRANSMIT | FI_RECV));
  check(fi_ep_bind(ep, &av->fid, 0));
  check(fi_enable(ep));
}

// ---- keeping in step ----------------------------------------------------------------------------------------------

static void make_progress(void) { (void)fi_cq_read(cq, NULL, 0); }

// Nothing has completed: the others may need this CPU.
static void give_way(void) { sched_yield(); }

// Until all processes got here as often as this one. Meanwhile the provider works.
static void meet_all(void) {
  static int meetings;
  meetings++;
  group->arrivals++;
  while (group->arrivals < meetings * group->ranks) {
    make_progress();
    give_way();
  }
}

static void wait_for_completion(void) {
  struct fi_cq_entry entry;
  ssize_t count;
  while ((count = fi_cq_read(cq, &entry, 1)) == -FI_EAGAIN) give_way();
  check_result(count, "fi_cq_read");
}

static void introduce(void) {
  size_t length = name_max;
  check(fi_getname(&ep->fid, group->names[rank], &length));
  meet_all();
  for (int i = 0; i < group->ranks; i++) {
    fi_addr_t address;
    if (fi_av_insert(av, group->names[i], 1, &address, 0, NULL) != 1) die("fi_av_insert failed");
    if (address != (fi_addr_t)i) die("rank %d has the address %llu", i, (unsigned long long)address);
  }
}

static void join(void) {
  struct fi_av_set_attr attributes = {
      .count = (size_t)group->ranks, .start_addr = 0, .end_addr = (fi_addr_t)group->ranks - 1, .stride = 1};
  static struct fi_context2 context;
  struct fid_av_set *set;
  struct fi_eq_entry entry;
  fi_addr_t everyone;
  uint32_t event;
  ssize_t length;
  check(fi_av_set(av, &attributes, &set, NULL));
  check(fi_av_set_addr(set, &everyone));
  meet_all();
  check(fi_join_collective(ep, everyone, set, 0, &members, &context));
  while ((length = fi_eq_read(eq, &event, &entry, sizeof entry, 0)) == -FI_EAGAIN) {
    make_progress();
    give_way();
  }
  check_result(length, "fi_eq_read");
  if (event != FI_JOIN_COMPLETE) die("event %u where FI_JOIN_COMPLETE was due", event);
  meet_all();
}

// ---- measuring ----------------------------------------------------------------------------------------------------

// Repeats a call while the provider has no room.
#define post(call)                                                \
  do {                                                            \
    ssize_t post_result;                                          \
    while ((post_result = (call)) == -FI_EAGAIN) make_progress(); \
    check_result(post_result, #call);                             \
  } while (0)

// An allreduce of so many elements; a barrier where there are none.
static void operate(size_t elements, uint64_t turn) {
  static struct fi_context2 context;
  if (!elements) {
    post(fi_barrier(ep, fi_mc_addr(members), &context));
    return wait_for_completion();
  }
  for (size_t i = 0; i < elements; i++) operands[i] = turn + i + (uint64_t)rank;
  post(fi_allreduce(ep, operands, elements, NULL, sums, NULL, fi_mc_addr(members), FI_UINT64, FI_SUM, 0, &context));
  wait_for_completion();
  uint64_t ranks = (uint64_t)group->ranks, of_ranks = ranks * (ranks - 1) / 2;
  for (size_t i = 0; i < elements; i++) {
    if (sums[i] == ranks * (turn + i) + of_ranks) continue;
    die("element %zu of an allreduce is %llu", i, (unsigned long long)sums[i]);
  }
}

static void measure(const char *name, size_t elements) {
  static struct samples means;
  samples_clear(&means);
  for (int round = -1; round < rounds; round++) {
    meet_all();
    double begin = seconds();
    for (int i = 0; i < operations; i++) operate(elements, (uint64_t)(round + 1) * (uint64_t)operations + (uint64_t)i);
    if (round >= 0) samples_add(&means, (seconds() - begin) / operations);  // the first warms up
  }
  meet_all();
  if (rank) return;
  printf("{\"name\": \"%s ranks=%d\", \"value\": %.6g, \"unit\": \"us\", \"least\": %.6g, \"most\": %.6g}\n", name,
         group->ranks, samples_quantile(&means, 0.5) * 1e6, samples_quantile(&means, 0) * 1e6,
         samples_quantile(&means, 1) * 1e6);
  fflush(stdout);
}

static bool has(enum fi_collective_op operation) {
  struct fi_collective_attr attributes = {.op = FI_SUM, .datatype = FI_UINT64};
  return fi_query_collective(domain, operation, &attributes, 0) == 0;
}

_Noreturn static void run_rank(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(seconds_max);
  pin_to_cpu(rank % (int)sysconf(_SC_NPROCESSORS_ONLN));
  open_endpoint();
  introduce();
  join();
  if (has(FI_BARRIER)) measure("barrier", 0);
  if (has(FI_ALLREDUCE)) measure("allreduce of 8 B", 1);
  if (has(FI_ALLREDUCE)) measure("allreduce of 4 KiB", elements_max);
  _exit(0);  // closing in order is another test's business
}

static void run_group(int ranks) {
  pid_t processes[ranks_max];
  int status, failed = 0;
  *group = (struct group){.ranks = ranks};
  for (rank = 0; rank < ranks; rank++) {
    processes[rank] = fork();
    if (processes[rank] < 0) die("fork failed");
    if (processes[rank] == 0) run_rank();
  }
  for (int ended = 0; ended < ranks; ended++) {
    wait(&status);
    if (!status || failed++) continue;
    for (int i = 0; i < ranks; i++) kill(processes[i], SIGKILL);  // they wait for it in vain
  }
  if (failed) die("%d ranks did not come to an end", ranks);
}

int main(int argc, char **argv) {
  for (int option; (option = getopt(argc, argv, "p:r:x:")) != -1;) {
    switch (option) {
      case 'p': provider = optarg; break;
      case 'r': rounds = atoi(optarg); break;
      case 'x': operations = atoi(optarg); break;
      default: die("see the head of collectives.c");
    }
  }
  if (rounds < 1 || rounds > rounds_max || operations < 1) die("see the head of collectives.c");
  info = find();
  if (!info) return 0;
  group = mmap(NULL, sizeof *group, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (group == MAP_FAILED) die("no shared memory");
  for (int ranks = 2; ranks <= ranks_max; ranks++) run_group(ranks);
  return 0;
}
