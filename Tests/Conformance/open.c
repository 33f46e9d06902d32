// Objects of the library itself, and what programs put in their place: fi_open, fi_import_fid, fi_import.
// Man page: fi_provider(3).
#include "fixture.h"

static struct fi_provider own_provider = {.name = "conformance", .version = FI_VERSION(1, 0),
                                          .fi_version = FI_VERSION(1, 17)};

// The library is initialized, and with it its log, by its first call.
static void initialize_library(void) {
  struct fi_param *params = NULL;
  int count = 0;
  assert_success(fi_getparams(&params, &count));
  fi_freeparams(params);
}

// ---- names and versions -------------------------------------------------------------------------------------------

CASE(open_unknown_name) {
  struct fid *fid = NULL;
  assert_returns(fi_open(FI_VERSION(1, 17), "no such thing", NULL, 0, 0, &fid, NULL), -FI_ENOSYS);
}

CASE(open_logging_checks_arguments) {
  struct fid *fid = NULL;
  int attribute = 0;
  assert_returns(fi_open(FI_VERSION(1, 12), "logging", NULL, 0, 0, &fid, NULL), -FI_EINVAL);
  assert_returns(fi_open(FI_VERSION(1, 17), "logging", &attribute, sizeof attribute, 0, &fid, NULL), -FI_EINVAL);
  assert_returns(fi_open(FI_VERSION(1, 17), "logging", NULL, 0, 1, &fid, NULL), -FI_EBADFLAGS);
}

CASE(open_without_regard_to_case) {
  struct fid *fid = NULL;
  assert_success(fi_open(FI_VERSION(1, 13), "Mr_CACHE", NULL, 0, 0, &fid, &fid));
  assert_true(fid->fclass == FI_CLASS_MR_CACHE);
  assert_ptr_equal(fid->context, &fid);
  assert_success(fi_close(fid));
  assert_success(fi_open(FI_VERSION(1, 13), "LOGging", NULL, 0, 0, &fid, &fid));
  assert_true(fid->fclass == FI_CLASS_LOG);
  assert_success(fi_close(fid));
}

CASE(open_cache_checks_arguments) {
  struct fid *fid = NULL;
  int attribute = 0;
  assert_returns(fi_open(FI_VERSION(1, 12), "mr_cache", NULL, 0, 0, &fid, NULL), -FI_EINVAL);
  assert_returns(fi_open(FI_VERSION(1, 17), "mr_cache", &attribute, sizeof attribute, 0, &fid, NULL), -FI_EINVAL);
  assert_returns(fi_open(FI_VERSION(1, 17), "mr_cache", NULL, 0, 1, &fid, NULL), -FI_EBADFLAGS);
}

// ---- "logging" ----------------------------------------------------------------------------------------------------

static char imported_text[256];
static int enabled_calls;

static int import_enabled(const struct fi_provider *provider, enum fi_log_level level, enum fi_log_subsys subsystem,
                          uint64_t flags) {
  (void)provider, (void)level, (void)subsystem, (void)flags;
  enabled_calls++;
  return 1;
}

static int import_ready(const struct fi_provider *provider, enum fi_log_level level, enum fi_log_subsys subsystem,
                        uint64_t flags, uint64_t *show) {
  (void)provider, (void)level, (void)subsystem, (void)flags, (void)show;
  return 1;
}

static void import_log(const struct fi_provider *provider, enum fi_log_level level, enum fi_log_subsys subsystem,
                       const char *function, int line, const char *message) {
  (void)level, (void)subsystem, (void)line;
  snprintf(imported_text, sizeof imported_text, "%s|%s|%s", provider->name, function, message);
}

CASE(imported_log_receives_messages) {
  struct fi_ops_log operations = {
      .size = sizeof operations, .enabled = import_enabled, .ready = import_ready, .log = import_log};
  struct fid_logging logging = {.fid = {.fclass = FI_CLASS_LOG}, .ops = &operations};
  initialize_library();
  assert_offered(fi_import_log(FI_VERSION(1, 17), 0, &logging));
  FI_WARN(&own_provider, FI_LOG_EQ, "value %d", 99);
  assert_true(enabled_calls > 0);
  assert_string_equal(imported_text, "conformance|imported_log_receives_messages|value 99");
  close_fid(&logging);
  imported_text[0] = 0;
  FI_WARN(&own_provider, FI_LOG_EQ, "after close %d\n", 1);
  assert_string_equal(imported_text, "");
}

CASE(only_one_log_may_be_imported) {
  struct fi_ops_log operations = {
      .size = sizeof operations, .enabled = import_enabled, .ready = import_ready, .log = import_log};
  struct fid_logging first = {.fid = {.fclass = FI_CLASS_LOG}, .ops = &operations};
  struct fid_logging second = {.fid = {.fclass = FI_CLASS_LOG}, .ops = &operations};
  assert_offered(fi_import_log(FI_VERSION(1, 17), 0, &first));
  assert_returns(fi_import_log(FI_VERSION(1, 17), 0, &second), -FI_EALREADY);
  close_fid(&first);
  assert_success(fi_import_log(FI_VERSION(1, 17), 0, &second));
  close_fid(&second);
}

CASE(imported_log_receives_the_librarys_lines) {
  struct fi_ops_log operations = {.size = sizeof operations, .enabled = import_enabled, .log = import_log};
  struct fid_logging logging = {.fid = {.fclass = FI_CLASS_LOG}, .ops = &operations};
  initialize_library();
  assert_offered(fi_import_log(FI_VERSION(1, 17), 0, &logging));
  struct node node = {0};
  node_open_domain(&node, &(struct setup){0});
  imported_text[0] = 0;
  struct fi_cq_attr attributes = {.flags = 1ULL << 62};
  struct fid_cq *cq = NULL;
  assert_fails(fi_cq_open(node.domain, &attributes, &cq, NULL));
  assert_true(imported_text[0] != 0);
  close_fid(&logging);
  node_close(&node);
}

CASE(import_log_checks_the_object) {
  struct fi_ops_log operations = {.size = sizeof operations - 1, .log = import_log};
  struct fid_logging logging = {.fid = {.fclass = FI_CLASS_LOG}, .ops = &operations};
  struct fid *log = NULL;
  assert_success(fi_open(FI_VERSION(1, 17), "logging", NULL, 0, 0, &log, NULL));
  assert_returns(fi_import_fid(log, &logging.fid, 0), -FI_EINVAL);
  operations.size = sizeof operations;
  assert_returns(fi_import_fid(log, &logging.fid, 1), -FI_EINVAL);
  logging.fid.fclass = FI_CLASS_EQ;
  assert_returns(fi_import_fid(log, &logging.fid, 0), -FI_EINVAL);
  assert_success(fi_close(log));
}

// ---- "mr_cache" ---------------------------------------------------------------------------------------------------

static int monitor_start(struct fid_mem_monitor *monitor) {
  (void)monitor;
  return 0;
}

static void monitor_stop(struct fid_mem_monitor *monitor) { (void)monitor; }

static int monitor_subscribe(struct fid_mem_monitor *monitor, const void *address, size_t length) {
  (void)monitor, (void)address, (void)length;
  return 0;
}

static void monitor_unsubscribe(struct fid_mem_monitor *monitor, const void *address, size_t length) {
  (void)monitor, (void)address, (void)length;
}

static bool monitor_valid(struct fid_mem_monitor *monitor, const void *address, size_t length) {
  (void)monitor, (void)address, (void)length;
  return true;
}

static struct fi_ops_mem_monitor monitor_operations = {.size = sizeof monitor_operations,
                                                       .start = monitor_start,
                                                       .stop = monitor_stop,
                                                       .subscribe = monitor_subscribe,
                                                       .unsubscribe = monitor_unsubscribe,
                                                       .valid = monitor_valid};

// What Open MPI does before it opens a domain.
CASE(import_a_memory_monitor) {
  struct fid_mem_monitor monitor = {.fid = {.fclass = FI_CLASS_MEM_MONITOR}, .export_ops = &monitor_operations};
  struct fid *cache = NULL;
  assert_success(fi_open(FI_VERSION(1, 13), "mr_cache", NULL, 0, 0, &cache, NULL));
  assert_success(fi_import_fid(cache, &monitor.fid, 0));
  assert_success(fi_close(cache));
  assert_non_null(monitor.import_ops);
  assert_true(monitor.import_ops->size >= sizeof *monitor.import_ops);
  struct pair pair;
  pair_open(&pair, &(struct setup){0});
  char *memory = allocate(4096);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(pair.a.domain, memory, 4096, FI_SEND | FI_RECV, 0, 1, 0, &mr, NULL));
  monitor.import_ops->notify(&monitor, memory, 4096);
  close_fid(mr);
  free(memory);
  pair_close(&pair);
  assert_success(fi_close(&monitor.fid));
}

CASE(only_one_memory_monitor_may_be_imported) {
  struct fid_mem_monitor first = {.fid = {.fclass = FI_CLASS_MEM_MONITOR}, .export_ops = &monitor_operations};
  struct fid_mem_monitor second = first;
  assert_success(fi_import(FI_VERSION(1, 17), "mr_cache", NULL, 0, 0, &first.fid, NULL));
  assert_returns(fi_import(FI_VERSION(1, 17), "mr_cache", NULL, 0, 0, &second.fid, NULL), -FI_EBUSY);
  assert_success(fi_close(&first.fid));
  assert_success(fi_import(FI_VERSION(1, 17), "mr_cache", NULL, 0, 0, &second.fid, NULL));
  assert_success(fi_close(&second.fid));
}

CASE(import_monitor_checks_the_object) {
  struct fi_ops_mem_monitor operations = monitor_operations;
  operations.size = sizeof operations - 1;
  struct fid_mem_monitor monitor = {.fid = {.fclass = FI_CLASS_MEM_MONITOR}, .export_ops = &operations};
  struct fid *cache = NULL;
  assert_success(fi_open(FI_VERSION(1, 17), "mr_cache", NULL, 0, 0, &cache, NULL));
  assert_returns(fi_import_fid(cache, &monitor.fid, 0), -FI_EINVAL);
  operations.size = sizeof operations;
  assert_returns(fi_import_fid(cache, &monitor.fid, 1), -FI_EINVAL);
  monitor.fid.fclass = FI_CLASS_LOG;
  assert_returns(fi_import_fid(cache, &monitor.fid, 0), -FI_EINVAL);
  assert_success(fi_close(cache));
}

// ---- exports ------------------------------------------------------------------------------------------------------

// fi_peer(3): reserved for future use.
CASE(objects_are_not_exported) {
  struct node node;
  node_open(&node, NULL);
  struct fid *exported = NULL;
  struct fid *objects[] = {&node.tx_cq->fid, &node.av->fid, &node.ep->fid, &node.domain->fid};
  for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
    assert_returns(fi_export_fid(objects[i], 0, &exported, NULL), -FI_ENOSYS);
  }
  node_close(&node);
}
