// Objects that come and go: after thousands of them no descriptor, no thread and no memory is left.
// Man pages: fi_close of fi_endpoint(3), fi_domain(3), fi_cq(3), fi_eq(3), fi_av(3), fi_cntr(3), fi_mr(3), fi_poll(3).
#include "fixture.h"

#include <dirent.h>
#include <malloc.h>

// ---- what a process has -------------------------------------------------------------------------------------------

struct usage {
  size_t descriptors;
  size_t threads;
  size_t bytes;
};

static size_t entries_of(const char *path) {
  DIR *directory = opendir(path);
  if (!directory) environment_lacks("%s", path);
  size_t count = 0;
  while (readdir(directory)) count++;
  closedir(directory);
  return count;
}

// Bytes in use are 0 throughout where another allocator takes the place of malloc (AddressSanitizer).
static struct usage measure(void) {
  struct mallinfo2 memory = mallinfo2();
  return (struct usage){.descriptors = entries_of("/proc/self/fd"),
                        .threads = entries_of("/proc/self/task"),
                        .bytes = memory.uordblks + memory.hblkhd};
}

enum { warm_up = 50, spare_bytes = 8192 };

// Runs `round` so often that what it leaves behind each time must show; a tenth is enough where all would take too long
// (AddressSanitizer on a busy machine).
static void churn(int rounds, void (*round)(int number)) {
  struct usage before = {0};
  double end = seconds() + 25;
  int done = 0;
  while (done < rounds && (seconds() < end || done < rounds / 10)) {
    if (done == warm_up) before = measure();
    round(done++);
  }
  if (done < rounds) printf("%d rounds of %d in 25 s\n", done, rounds);
  // A thread that was joined may still be listed for a moment.
  double patience = deadline_after(2);
  while (measure().threads > before.threads && seconds() < patience) sleep_ms(1);
  struct usage after = measure();
  assert_int_equal(after.descriptors, before.descriptors);
  assert_int_equal(after.threads, before.threads);
  if (after.bytes > before.bytes + spare_bytes) {
    failed("%d rounds left %zu bytes", done, after.bytes - before.bytes);
  }
}

// ---- objects ------------------------------------------------------------------------------------------------------

static struct fi_info *info;
static char memory[4096];

static void find(enum fi_progress progress) {
  info = find_info(&(struct setup){.progress = progress});
}

// Offered by most providers; what is not offered is left out.
#define open_optional(call) ((call) == 0)

static void everything(int number) {
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  assert_success(fi_fabric(info->fabric_attr, &fabric, NULL));
  assert_success(fi_domain(fabric, info, &domain, NULL));
  struct fi_eq_attr eq_attr = {.wait_obj = number % 2 ? FI_WAIT_FD : FI_WAIT_NONE};
  struct fi_cq_attr cq_attr = {.format = FI_CQ_FORMAT_TAGGED, .size = 64};
  struct fi_cq_attr waiting_attr = {.format = FI_CQ_FORMAT_DATA, .wait_obj = FI_WAIT_FD, .size = 64};
  struct fi_cntr_attr cntr_attr = {.events = FI_CNTR_EVENTS_COMP};
  struct fi_av_attr av_attr = {.count = 4};
  struct fi_wait_attr wait_attr = {.wait_obj = FI_WAIT_FD};
  struct fi_poll_attr poll_attr = {0};
  struct fid_eq *eq;
  struct fid_cq *cq, *waiting;
  struct fid_cntr *cntr;
  struct fid_av *av;
  struct fid_mr *mr;
  struct fid_wait *wait;
  struct fid_poll *poll;
  struct fid_ep *ep, *srx;
  struct fid_stx *stx;
  assert_success(fi_eq_open(fabric, &eq_attr, &eq, NULL));
  assert_success(fi_cq_open(domain, &cq_attr, &cq, NULL));
  assert_success(fi_cq_open(domain, &waiting_attr, &waiting, NULL));
  bool has_cntr = open_optional(fi_cntr_open(domain, &cntr_attr, &cntr, NULL));
  bool has_wait = open_optional(fi_wait_open(fabric, &wait_attr, &wait));
  bool has_poll = open_optional(fi_poll_open(domain, &poll_attr, &poll));
  bool has_srx = open_optional(fi_srx_context(domain, NULL, &srx, NULL));
  bool has_stx = open_optional(fi_stx_context(domain, NULL, &stx, NULL));
  assert_success(fi_av_open(domain, &av_attr, &av, NULL));
  assert_success(fi_mr_reg(domain, memory, sizeof memory, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 1, 0, &mr, NULL));
  assert_success(fi_endpoint(domain, info, &ep, NULL));
  assert_success(fi_ep_bind(ep, &av->fid, 0));
  assert_success(fi_ep_bind(ep, &eq->fid, 0));
  assert_success(fi_ep_bind(ep, &cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(ep, &waiting->fid, FI_RECV));
  if (has_cntr) assert_success(fi_ep_bind(ep, &cntr->fid, FI_SEND));
  if (has_poll) assert_success(fi_poll_add(poll, &cq->fid, 0));
  assert_success(fi_enable(ep));
  assert_success(fi_recv(ep, memory, sizeof memory, NULL, FI_ADDR_UNSPEC, NULL));
  if (has_poll) assert_success(fi_poll_del(poll, &cq->fid, 0));
  close_fid(ep);
  close_fid(mr);
  close_fid(av);
  if (has_stx) close_fid(stx);
  if (has_srx) close_fid(srx);
  if (has_poll) close_fid(poll);
  if (has_wait) close_fid(wait);
  if (has_cntr) close_fid(cntr);
  close_fid(waiting);
  close_fid(cq);
  close_fid(eq);
  close_fid(domain);
  close_fid(fabric);
}

CASE(everything_10000_times) {
  find(FI_PROGRESS_MANUAL);
  churn(10000, everything);
  fi_freeinfo(info);
}

CASE(everything_with_a_thread) {
  find(FI_PROGRESS_AUTO);
  churn(1000, everything);
  fi_freeinfo(info);
}

// ---- discovery ----------------------------------------------------------------------------------------------------

static void discover(int number) {
  struct fi_info *hints = new_hints(), *found = NULL;
  hints->caps = FI_MSG | FI_TAGGED | FI_RMA;
  if (number % 2) hints->domain_attr->name = strdup("no such domain");
  int result = fi_getinfo(DEFAULT_VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &found);
  assert_returns(result, number % 2 ? -FI_ENODATA : 0);
  struct fi_info *copy = found ? fi_dupinfo(found) : NULL;
  fi_freeinfo(copy);
  fi_freeinfo(found);
  fi_freeinfo(hints);
}

CASE(discovery_2000_times) { churn(2000, discover); }

// ---- errors -------------------------------------------------------------------------------------------------------

static struct node shared;

// Each call fails half way, with what it had made so far.
static void refused(int number) {
  struct fi_cq_attr cq_attr = {.format = FI_CQ_FORMAT_TAGGED, .wait_obj = (enum fi_wait_obj)99};
  struct fi_av_attr av_attr = {.type = (enum fi_av_type)99};
  struct fi_eq_attr eq_attr = {.wait_obj = (enum fi_wait_obj)99};
  struct fi_fabric_attr fabric_attr = *shared.info->fabric_attr;
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  struct fid_cq *cq;
  struct fid_av *av;
  struct fid_eq *eq;
  struct fid_mr *mr, *other;
  struct fid_ep *ep;
  fabric_attr.prov_name = (char *)"no such provider";
  assert_fails(fi_fabric(&fabric_attr, &fabric, NULL));
  assert_fails(fi_cq_open(shared.domain, &cq_attr, &cq, NULL));
  assert_fails(fi_av_open(shared.domain, &av_attr, &av, NULL));
  assert_fails(fi_eq_open(shared.fabric, &eq_attr, &eq, NULL));
  assert_success(fi_mr_reg(shared.domain, memory, 64, FI_REMOTE_READ, 0, 77, 0, &mr, NULL));
  if (!(shared.info->domain_attr->mr_mode & FI_MR_PROV_KEY)) {
    assert_fails(fi_mr_reg(shared.domain, memory, 64, FI_REMOTE_READ, 0, 77, 0, &other, NULL));
  }
  close_fid(mr);
  struct fi_info *wrong = fi_dupinfo(shared.info);
  wrong->domain_attr->name[0] = '?';
  assert_fails(fi_domain(shared.fabric, wrong, &domain, NULL));
  fi_freeinfo(wrong);
  assert_success(fi_endpoint(shared.domain, shared.info, &ep, NULL));
  assert_fails(fi_enable(ep));
  if (number % 2) assert_success(fi_ep_bind(ep, &shared.av->fid, 0));
  if (number % 2) assert_fails(fi_enable(ep));
  close_fid(ep);
}

CASE(refused_calls_2000_times) {
  node_open_domain(&shared, NULL);
  free(shared.info->src_addr);
  shared.info->src_addr = NULL;
  shared.info->src_addrlen = 0;
  shared.av = av_open(&shared, FI_AV_UNSPEC);
  churn(2000, refused);
  node_close(&shared);
}

// ---- traffic ------------------------------------------------------------------------------------------------------

// Endpoints that have talked, and have receives, unexpected messages and unread completions when they are closed.
static void talk(int number) {
  struct pair pair;
  char buffer[64];
  pair_open(&pair, &(struct setup){.progress = FI_PROGRESS_MANUAL, .same_domain = number % 2});
  post(fi_trecv(pair.b.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, 1, 0, NULL));
  post(fi_trecv(pair.b.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, 2, 0, NULL));
  post(fi_tsend(pair.a.ep, memory, 64, NULL, pair.to_b, 3, NULL));
  post(fi_tsend(pair.a.ep, memory, 64, NULL, pair.to_b, 1, NULL));
  wait_for(pair.b.rx_cq, NULL);
  pair_close(&pair);
}

CASE(talking_endpoints_200_times) { churn(200, talk); }
