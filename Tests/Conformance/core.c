// The calls that need no fabric: fi_version, fi_strerror, fi_tostr, fi_dupinfo, fi_param_*, fi_log.
// Man pages: fi_version(3), fi_errno(3), fi_fabric(3), fi_getinfo(3), fi_param_get(3), fi_provider(3).
#include "fixture.h"

// ---- version and errors -------------------------------------------------------------------------------------------

CASE(version_is_at_least_the_headers) {
  assert_true(FI_VERSION_GE(fi_version(), FI_VERSION(FI_MAJOR_VERSION, FI_MINOR_VERSION)));
  assert_true(FI_MAJOR(fi_version()) < 10);
}

CASE(strerror_of_system_codes) {
  assert_string_equal(fi_strerror(0), "Success");
  assert_string_equal(fi_strerror(FI_EPERM), "Operation not permitted");
  assert_string_equal(fi_strerror(FI_EAGAIN), "Resource temporarily unavailable");
  assert_string_equal(fi_strerror(FI_ENODATA), "No data available");
}

CASE(strerror_accepts_negative_codes) {
  assert_string_equal(fi_strerror(-FI_EINVAL), "Invalid argument");
  assert_string_equal(fi_strerror(-FI_EAVAIL), fi_strerror(FI_EAVAIL));
}

CASE(strerror_of_fabric_codes) {
  static const struct {
    int code;
    const char *text;
  } expected[] = {
      {FI_EOTHER, "Unspecified error"},
      {FI_ETOOSMALL, "Provided buffer is too small"},
      {FI_EOPBADSTATE, "Operation not permitted in current state"},
      {FI_EAVAIL, "Error available"},
      {FI_EBADFLAGS, "Flags not supported"},
      {FI_ENOEQ, "Missing or unavailable event queue"},
      {FI_EDOMAIN, "Invalid resource domain"},
      {FI_ENOCQ, "Missing or unavailable completion queue"},
      {FI_ECRC, "CRC error"},
      {FI_ETRUNC, "Truncation error"},
      {FI_ENOKEY, "Required key not available"},
      {FI_ENOAV, "Missing or unavailable address vector"},
      {FI_EOVERRUN, "Queue has been overrun"},
  };
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
    assert_string_equal(fi_strerror(expected[i].code), expected[i].text);
  }
}

CASE(strerror_beyond_the_table) {
  assert_string_equal(fi_strerror(299), "Unspecified error");
  assert_string_equal(fi_strerror(100000), "Unspecified error");
}

// ---- fi_tostr -----------------------------------------------------------------------------------------------------

static void expect_enum(enum fi_type type, uint32_t value, const char *text) {
  assert_string_equal(fi_tostr(&value, type), text);
}

static void expect_flags(enum fi_type type, uint64_t value, const char *text) {
  assert_string_equal(fi_tostr(&value, type), text);
}

CASE(tostr_of_endpoint_types_and_protocols) {
  expect_enum(FI_TYPE_EP_TYPE, FI_EP_UNSPEC, "FI_EP_UNSPEC");
  expect_enum(FI_TYPE_EP_TYPE, FI_EP_MSG, "FI_EP_MSG");
  expect_enum(FI_TYPE_EP_TYPE, FI_EP_DGRAM, "FI_EP_DGRAM");
  expect_enum(FI_TYPE_EP_TYPE, FI_EP_RDM, "FI_EP_RDM");
  expect_enum(FI_TYPE_EP_TYPE, 99, "Unknown");
  expect_enum(FI_TYPE_PROTOCOL, FI_PROTO_UNSPEC, "FI_PROTO_UNSPEC");
  expect_enum(FI_TYPE_PROTOCOL, FI_PROTO_UDP, "FI_PROTO_UDP");
  expect_enum(FI_TYPE_PROTOCOL, FI_PROTO_SOCK_TCP, "FI_PROTO_SOCK_TCP");
  expect_enum(FI_TYPE_PROTOCOL, FI_PROTO_RXM, "FI_PROTO_RXM");
  expect_enum(FI_TYPE_PROTOCOL, FI_PROTO_RXD, "FI_PROTO_RXD");
  expect_enum(FI_TYPE_PROTOCOL, FI_PROTO_XNET, "FI_PROTO_XNET");
}

CASE(tostr_of_domain_enumerations) {
  expect_enum(FI_TYPE_THREADING, FI_THREAD_SAFE, "FI_THREAD_SAFE");
  expect_enum(FI_TYPE_THREADING, FI_THREAD_DOMAIN, "FI_THREAD_DOMAIN");
  expect_enum(FI_TYPE_THREADING, FI_THREAD_COMPLETION, "FI_THREAD_COMPLETION");
  expect_enum(FI_TYPE_PROGRESS, FI_PROGRESS_UNSPEC, "FI_PROGRESS_UNSPEC");
  expect_enum(FI_TYPE_PROGRESS, FI_PROGRESS_AUTO, "FI_PROGRESS_AUTO");
  expect_enum(FI_TYPE_PROGRESS, FI_PROGRESS_MANUAL, "FI_PROGRESS_MANUAL");
  expect_enum(FI_TYPE_AV_TYPE, FI_AV_UNSPEC, "FI_AV_UNSPEC");
  expect_enum(FI_TYPE_AV_TYPE, FI_AV_MAP, "FI_AV_MAP");
  expect_enum(FI_TYPE_AV_TYPE, FI_AV_TABLE, "FI_AV_TABLE");
}

CASE(tostr_of_addresses_formats) {
  expect_enum(FI_TYPE_ADDR_FORMAT, FI_FORMAT_UNSPEC, "FI_FORMAT_UNSPEC");
  expect_enum(FI_TYPE_ADDR_FORMAT, FI_SOCKADDR, "FI_SOCKADDR");
  expect_enum(FI_TYPE_ADDR_FORMAT, FI_SOCKADDR_IN, "FI_SOCKADDR_IN");
  expect_enum(FI_TYPE_ADDR_FORMAT, FI_SOCKADDR_IN6, "FI_SOCKADDR_IN6");
  expect_enum(FI_TYPE_ADDR_FORMAT, FI_ADDR_STR, "FI_ADDR_STR");
}

CASE(tostr_of_queue_enumerations) {
  expect_enum(FI_TYPE_CQ_FORMAT, FI_CQ_FORMAT_UNSPEC, "FI_CQ_FORMAT_UNSPEC");
  expect_enum(FI_TYPE_CQ_FORMAT, FI_CQ_FORMAT_CONTEXT, "FI_CQ_FORMAT_CONTEXT");
  expect_enum(FI_TYPE_CQ_FORMAT, FI_CQ_FORMAT_MSG, "FI_CQ_FORMAT_MSG");
  expect_enum(FI_TYPE_CQ_FORMAT, FI_CQ_FORMAT_DATA, "FI_CQ_FORMAT_DATA");
  expect_enum(FI_TYPE_CQ_FORMAT, FI_CQ_FORMAT_TAGGED, "FI_CQ_FORMAT_TAGGED");
  expect_enum(FI_TYPE_EQ_EVENT, FI_NOTIFY, "FI_NOTIFY");
  expect_enum(FI_TYPE_EQ_EVENT, FI_CONNREQ, "FI_CONNREQ");
  expect_enum(FI_TYPE_EQ_EVENT, FI_AV_COMPLETE, "FI_AV_COMPLETE");
  expect_enum(FI_TYPE_LOG_LEVEL, FI_LOG_WARN, "warn");
  expect_enum(FI_TYPE_LOG_LEVEL, FI_LOG_DEBUG, "debug");
  expect_enum(FI_TYPE_LOG_SUBSYS, FI_LOG_CORE, "core");
  expect_enum(FI_TYPE_LOG_SUBSYS, FI_LOG_EP_DATA, "ep_data");
}

CASE(tostr_of_atomic_enumerations) {
  expect_enum(FI_TYPE_ATOMIC_TYPE, FI_INT8, "FI_INT8");
  expect_enum(FI_TYPE_ATOMIC_TYPE, FI_UINT64, "FI_UINT64");
  expect_enum(FI_TYPE_ATOMIC_TYPE, FI_LONG_DOUBLE_COMPLEX, "FI_LONG_DOUBLE_COMPLEX");
  expect_enum(FI_TYPE_ATOMIC_OP, FI_MIN, "FI_MIN");
  expect_enum(FI_TYPE_ATOMIC_OP, FI_MSWAP, "FI_MSWAP");
}

CASE(tostr_of_capabilities) {
  expect_flags(FI_TYPE_CAPS, 0, "");
  expect_flags(FI_TYPE_CAPS, FI_MSG, "FI_MSG");
  expect_flags(FI_TYPE_CAPS, FI_TAGGED | FI_MSG | FI_RMA, "FI_MSG, FI_RMA, FI_TAGGED");
  expect_flags(FI_TYPE_CAPS, FI_SOURCE | FI_DIRECTED_RECV, "FI_SOURCE, FI_DIRECTED_RECV");
  expect_flags(FI_TYPE_CAPS, FI_REMOTE_READ | FI_READ, "FI_READ, FI_REMOTE_READ");
}

CASE(tostr_of_operation_flags) {
  expect_flags(FI_TYPE_OP_FLAGS, 0, "");
  expect_flags(FI_TYPE_OP_FLAGS, FI_INJECT | FI_COMPLETION, "FI_COMPLETION, FI_INJECT");
  expect_flags(FI_TYPE_OP_FLAGS, FI_DELIVERY_COMPLETE, "FI_DELIVERY_COMPLETE");
  expect_flags(FI_TYPE_CQ_EVENT_FLAGS, FI_RECV | FI_MSG | FI_REMOTE_CQ_DATA, "FI_RECV, FI_MSG, FI_REMOTE_CQ_DATA");
}

CASE(tostr_of_order_mode_and_mr_mode) {
  expect_flags(FI_TYPE_MSG_ORDER, FI_ORDER_SAS, "FI_ORDER_SAS");
  expect_flags(FI_TYPE_MSG_ORDER, FI_ORDER_RMA_WAW | FI_ORDER_RAR, "FI_ORDER_RAR, FI_ORDER_RMA_WAW");
  expect_flags(FI_TYPE_MODE, FI_CONTEXT, "FI_CONTEXT");
  expect_flags(FI_TYPE_MODE, FI_CONTEXT2, "FI_CONTEXT2");
  uint32_t mode = FI_MR_LOCAL | FI_MR_PROV_KEY;
  uint64_t wide = mode;
  assert_string_equal(fi_tostr(&wide, FI_TYPE_MR_MODE), "FI_MR_LOCAL, FI_MR_PROV_KEY");
}

CASE(tostr_of_the_version) {
  char expected[32];
  uint32_t version = fi_version();
  snprintf(expected, sizeof expected, "%u.%u", FI_MAJOR(version), FI_MINOR(version));
  const char *text = fi_tostr(&version, FI_TYPE_VERSION);
  assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
}

CASE(tostr_of_an_unknown_type) {
  uint64_t value = 0;
  assert_string_equal(fi_tostr(&value, (enum fi_type)4711), "Unknown type");
}

CASE(tostr_of_an_info) {
  struct fi_info *info = fi_allocinfo();
  info->caps = FI_MSG | FI_RMA;
  info->addr_format = FI_SOCKADDR_IN;
  info->ep_attr->type = FI_EP_RDM;
  info->tx_attr->inject_size = 1234;
  info->domain_attr->name = strdup("the-domain");
  info->fabric_attr->prov_name = strdup("the-provider");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  info->src_addr = malloc(sizeof address);
  memcpy(info->src_addr, &address, sizeof address);
  info->src_addrlen = sizeof address;
  const char *text = fi_tostr(info, FI_TYPE_INFO);
  static const char *const lines[] = {
      "fi_info:\n",
      "    caps: [ FI_MSG, FI_RMA ]\n",
      "    mode: [  ]\n",
      "    addr_format: FI_SOCKADDR_IN\n",
      "    src_addrlen: 16\n",
      "    src_addr: fi_sockaddr_in://127.0.0.1:8080\n",
      "    dest_addr: (null)\n",
      "    fi_tx_attr:\n",
      "        inject_size: 1234\n",
      "    fi_rx_attr:\n",
      "    fi_ep_attr:\n",
      "        type: FI_EP_RDM\n",
      "        mem_tag_format: 0x0000000000000000\n",
      "    fi_domain_attr:\n",
      "        name: the-domain\n",
      "    fi_fabric_attr:\n",
      "        prov_name: the-provider\n",
  };
  const char *place = text;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    const char *found = strstr(place, lines[i]);
    if (!found) failed("missing or out of order: %s", lines[i]);
    place = found;
  }
  fi_freeinfo(info);
}

CASE(tostr_r_truncates_and_terminates) {
  uint32_t type = FI_EP_RDM;
  char small[6];
  memset(small, 'x', sizeof small);
  assert_ptr_equal(fi_tostr_r(small, sizeof small, &type, FI_TYPE_EP_TYPE), small);
  assert_non_null(memchr(small, 0, sizeof small));
  assert_in_range(strlen(small), 4, 5);
  assert_int_equal(strncmp(small, "FI_EP", strlen(small)), 0);
  char large[64];
  assert_string_equal(fi_tostr_r(large, sizeof large, &type, FI_TYPE_EP_TYPE), "FI_EP_RDM");
}

CASE(tostr_r_rejects_missing_arguments) {
  uint32_t type = FI_EP_RDM;
  char text[64];
  assert_null(fi_tostr_r(NULL, sizeof text, &type, FI_TYPE_EP_TYPE));
  assert_null(fi_tostr_r(text, 0, &type, FI_TYPE_EP_TYPE));
  assert_null(fi_tostr_r(text, sizeof text, NULL, FI_TYPE_EP_TYPE));
}

// ---- info ---------------------------------------------------------------------------------------------------------

CASE(allocinfo_has_all_parts_zeroed) {
  struct fi_info *info = fi_allocinfo();
  assert_non_null(info);
  assert_non_null(info->tx_attr);
  assert_non_null(info->rx_attr);
  assert_non_null(info->ep_attr);
  assert_non_null(info->domain_attr);
  assert_non_null(info->fabric_attr);
  assert_null(info->next);
  assert_null(info->src_addr);
  assert_null(info->nic);
  assert_int_equal(info->caps, 0);
  verify_bytes(info->tx_attr, sizeof *info->tx_attr, 0);
  verify_bytes(info->rx_attr, sizeof *info->rx_attr, 0);
  verify_bytes(info->ep_attr, sizeof *info->ep_attr, 0);
  verify_bytes(info->domain_attr, sizeof *info->domain_attr, 0);
  verify_bytes(info->fabric_attr, sizeof *info->fabric_attr, 0);
  fi_freeinfo(info);
}

CASE(dupinfo_copies_deeply) {
  struct fi_info *info = fi_allocinfo();
  info->caps = FI_TAGGED;
  info->mode = FI_CONTEXT;
  info->addr_format = FI_SOCKADDR_IN;
  info->src_addrlen = info->dest_addrlen = 16;
  info->src_addr = calloc(1, 16);
  info->dest_addr = calloc(1, 16);
  memset(info->src_addr, 0x11, 16);
  memset(info->dest_addr, 0x22, 16);
  info->tx_attr->size = 77;
  info->tx_attr->tclass = 5;
  info->rx_attr->size = 78;
  info->ep_attr->type = FI_EP_RDM;
  info->ep_attr->auth_key_size = 3;
  info->ep_attr->auth_key = malloc(3);
  memcpy(info->ep_attr->auth_key, "abc", 3);
  info->domain_attr->name = strdup("domain");
  info->domain_attr->auth_key_size = 4;
  info->domain_attr->auth_key = malloc(4);
  memcpy(info->domain_attr->auth_key, "wxyz", 4);
  info->fabric_attr->name = strdup("fabric");
  info->fabric_attr->prov_name = strdup("provider");
  info->fabric_attr->api_version = FI_VERSION(1, 9);
  struct fi_info *copy = fi_dupinfo(info);
  assert_non_null(copy);
  assert_ptr_not_equal(copy->src_addr, info->src_addr);
  assert_ptr_not_equal(copy->tx_attr, info->tx_attr);
  assert_ptr_not_equal(copy->domain_attr->name, info->domain_attr->name);
  assert_ptr_not_equal(copy->ep_attr->auth_key, info->ep_attr->auth_key);
  fi_freeinfo(info);
  assert_int_equal(copy->caps, FI_TAGGED);
  assert_int_equal(copy->mode, FI_CONTEXT);
  verify_bytes(copy->src_addr, 16, 0x11);
  verify_bytes(copy->dest_addr, 16, 0x22);
  assert_int_equal(copy->tx_attr->size, 77);
  assert_int_equal(copy->tx_attr->tclass, 5);
  assert_int_equal(copy->rx_attr->size, 78);
  assert_int_equal(copy->ep_attr->type, FI_EP_RDM);
  assert_memory_equal(copy->ep_attr->auth_key, "abc", 3);
  assert_memory_equal(copy->domain_attr->auth_key, "wxyz", 4);
  assert_string_equal(copy->domain_attr->name, "domain");
  assert_string_equal(copy->fabric_attr->name, "fabric");
  assert_string_equal(copy->fabric_attr->prov_name, "provider");
  assert_int_equal(copy->fabric_attr->api_version, FI_VERSION(1, 9));
  fi_freeinfo(copy);
}

CASE(dupinfo_copies_one_entry_only) {
  struct fi_info *first = fi_allocinfo();
  first->next = fi_allocinfo();
  struct fi_info *copy = fi_dupinfo(first);
  assert_null(copy->next);
  fi_freeinfo(copy);
  fi_freeinfo(first);
}

CASE(dupinfo_keeps_missing_parts_missing) {
  struct fi_info bare = {.caps = FI_MSG};
  struct fi_info *copy = fi_dupinfo(&bare);
  assert_non_null(copy);
  assert_int_equal(copy->caps, FI_MSG);
  assert_null(copy->tx_attr);
  assert_null(copy->domain_attr);
  assert_null(copy->fabric_attr);
  fi_freeinfo(copy);
}

CASE(freeinfo_accepts_null) {
  fi_freeinfo(NULL);
  struct fi_info *info = fi_allocinfo();
  assert_non_null(info);
  fi_freeinfo(info);
}

// ---- parameters ---------------------------------------------------------------------------------------------------

static struct fi_provider own_provider = {.name = "conformance", .version = FI_VERSION(1, 0),
                                          .fi_version = FI_VERSION(1, 17)};

CASE(param_define_checks_arguments) {
  assert_returns(fi_param_define(&own_provider, NULL, FI_PARAM_STRING, "help"), -FI_EINVAL);
  assert_returns(fi_param_define(&own_provider, "word", FI_PARAM_STRING, ""), -FI_EINVAL);
  assert_success(fi_param_define(&own_provider, "word", FI_PARAM_STRING, "help with %s %d", "format", 7));
}

CASE(param_get_undefined_and_unset) {
  char *text = (char *)"untouched";
  assert_returns(fi_param_get_str(&own_provider, "nobody", &text), -FI_ENOENT);
  assert_success(fi_param_define(&own_provider, "unset", FI_PARAM_STRING, "help"));
  assert_returns(fi_param_get_str(&own_provider, "unset", &text), -FI_ENODATA);
  assert_string_equal(text, "untouched");
  assert_returns(fi_param_get(&own_provider, "unset", NULL), -FI_EINVAL);
  assert_returns(fi_param_get(&own_provider, NULL, &text), -FI_EINVAL);
}

CASE(param_get_strings) {
  setenv("FI_CONFORMANCE_WORD", "hello there", 1);
  assert_success(fi_param_define(&own_provider, "word", FI_PARAM_STRING, "help"));
  char *text = NULL;
  assert_success(fi_param_get_str(&own_provider, "word", &text));
  assert_string_equal(text, "hello there");
}

CASE(param_get_integers) {
  setenv("FI_CONFORMANCE_SIGNED", "-42", 1);
  setenv("FI_CONFORMANCE_HEX", "0x10", 1);
  setenv("FI_CONFORMANCE_LARGE", "8589934592", 1);
  assert_success(fi_param_define(&own_provider, "signed", FI_PARAM_INT, "help"));
  assert_success(fi_param_define(&own_provider, "hex", FI_PARAM_INT, "help"));
  assert_success(fi_param_define(&own_provider, "large", FI_PARAM_SIZE_T, "help"));
  int number[2] = {0, 0x5555};
  assert_success(fi_param_get_int(&own_provider, "signed", number));
  assert_int_equal(number[0], -42);
  assert_int_equal(number[1], 0x5555);
  assert_success(fi_param_get_int(&own_provider, "hex", number));
  assert_int_equal(number[0], 16);
  size_t size = 0;
  assert_success(fi_param_get_size_t(&own_provider, "large", &size));
  assert_int_equal(size, 8589934592u);
}

CASE(param_get_booleans) {
  static const struct {
    const char *text;
    int result;
    int value;
  } expected[] = {{"0", 0, 0},  {"1", 0, 1},   {"true", 0, 1}, {"FALSE", 0, 0}, {"Yes", 0, 1},
                  {"no", 0, 0}, {"On", 0, 1}, {"off", 0, 0},  {"perhaps", -FI_EINVAL, 0}, {"2", -FI_EINVAL, 0}};
  assert_success(fi_param_define(&own_provider, "flag", FI_PARAM_BOOL, "help"));
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
    setenv("FI_CONFORMANCE_FLAG", expected[i].text, 1);
    int value = !expected[i].value;
    assert_returns(fi_param_get_bool(&own_provider, "flag", &value), expected[i].result);
    if (expected[i].result == 0) assert_int_equal(value, expected[i].value);
  }
}

// A provider's parameters are defined after the library has initialized itself.
static void initialize_library(void) {
  struct fi_param *params = NULL;
  int count = 0;
  assert_success(fi_getparams(&params, &count));
  fi_freeparams(params);
}

static const struct fi_param *find_param(const struct fi_param *params, int count, const char *name) {
  for (int i = 0; i < count; i++) {
    if (strcmp(params[i].name, name) == 0) return &params[i];
  }
  return NULL;
}

CASE(getparams_lists_core_variables) {
  setenv("FI_LOG_LEVEL", "warn", 1);
  struct fi_param *params = NULL;
  int count = 0;
  assert_success(fi_getparams(&params, &count));
  assert_true(count >= 4);
  static const char *const names[] = {"FI_PROVIDER", "FI_LOG_LEVEL", "FI_LOG_PROV", "FI_LOG_SUBSYS"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const struct fi_param *param = find_param(params, count, names[i]);
    if (!param) failed("fi_getparams lacks %s", names[i]);
    assert_non_null(param->help_string);
    assert_true(strlen(param->help_string) > 0);
  }
  assert_string_equal(find_param(params, count, "FI_LOG_LEVEL")->value, "warn");
  assert_int_equal(find_param(params, count, "FI_LOG_LEVEL")->type, FI_PARAM_STRING);
  assert_null(find_param(params, count, "FI_LOG_PROV")->value);
  assert_null(params[count].name);
  fi_freeparams(params);
}

CASE(getparams_lists_what_was_defined) {
  setenv("FI_CONFORMANCE_DEPTH", "12", 1);
  initialize_library();
  assert_success(fi_param_define(&own_provider, "depth", FI_PARAM_INT, "how deep: %d", 3));
  struct fi_param *params = NULL;
  int count = 0;
  assert_success(fi_getparams(&params, &count));
  const struct fi_param *param = find_param(params, count, "FI_CONFORMANCE_DEPTH");
  assert_non_null(param);
  assert_int_equal(param->type, FI_PARAM_INT);
  assert_string_equal(param->value, "12");
  assert_non_null(strstr(param->help_string, "how deep: 3"));
  fi_freeparams(params);
}

// ---- log ----------------------------------------------------------------------------------------------------------

struct log_run {
  const char *level;
  const char *providers;
  const char *subsystems;
  char output[2048];
};

static void set_or_clear(const char *name, const char *value) {
  if (value) {
    setenv(name, value, 1);
  } else {
    unsetenv(name);
  }
}

static int write_logs(void *argument) {
  struct log_run *run = argument;
  set_or_clear("FI_LOG_LEVEL", run->level);
  set_or_clear("FI_LOG_PROV", run->providers);
  set_or_clear("FI_LOG_SUBSYS", run->subsystems);
  struct fi_info *info = NULL;
  struct fi_info *hints = fi_allocinfo();
  hints->fabric_attr->prov_name = strdup("no-such-provider");
  (void)fi_getinfo(FI_VERSION(1, 9), NULL, NULL, 0, hints, &info);  // initializes the library
  fi_freeinfo(hints);
  FI_WARN(&own_provider, FI_LOG_CQ, "marker-warn-%d\n", 1);
  FI_INFO(&own_provider, FI_LOG_AV, "marker-info-%" PRIu64 "-%s\n", (uint64_t)5000000000, "text");
  return 0;
}

static void capture_logs(struct log_run *run) {
  int pipes[2];
  assert_int_equal(pipe(pipes), 0);
  int saved = dup(STDERR_FILENO);
  fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20);
  dup2(pipes[1], STDERR_FILENO);
  int status = run_in_child(write_logs, run, DEFAULT_WAIT);
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(pipes[1]);
  assert_int_equal(status, 0);
  static char everything[1 << 20];
  size_t length = 0;
  ssize_t count;
  while ((count = read(pipes[0], everything + length, sizeof everything - 1 - length)) > 0) length += (size_t)count;
  close(pipes[0]);
  everything[length] = 0;
  // keep the lines with our markers
  run->output[0] = 0;
  for (char *line = strtok(everything, "\n"); line; line = strtok(NULL, "\n")) {
    if (!strstr(line, "marker-") || strlen(run->output) + strlen(line) + 2 > sizeof run->output) continue;
    strcat(strcat(run->output, line), "\n");
  }
}

CASE(log_is_silent_by_default) {
  struct log_run run = {.level = NULL};
  capture_logs(&run);
  assert_string_equal(run.output, "");
}

CASE(log_level_warn_shows_warnings_only) {
  struct log_run run = {.level = "warn"};
  capture_logs(&run);
  assert_non_null(strstr(run.output, "marker-warn-1"));
  assert_null(strstr(run.output, "marker-info"));
}

CASE(log_level_info_shows_both_and_formats) {
  struct log_run run = {.level = "INFO"};
  capture_logs(&run);
  assert_non_null(strstr(run.output, "marker-warn-1"));
  assert_non_null(strstr(run.output, "marker-info-5000000000-text"));
}

CASE(log_line_has_the_usual_parts) {
  struct log_run run = {.level = "warn"};
  capture_logs(&run);
  int process, line;
  long time;
  char prefix[64] = "", rest[1024] = "";
  assert_int_equal(sscanf(run.output, "libfabric:%d:%ld:%63[^m]%1023[^\n]", &process, &time, prefix, rest), 4);
  assert_non_null(strstr(run.output, ":conformance:cq:write_logs():"));
  const char *place = strstr(run.output, "write_logs():") + strlen("write_logs():");
  assert_int_equal(sscanf(place, "%d<warn> marker-warn-1", &line), 1);
}

CASE(log_subsystem_filter) {
  struct log_run run = {.level = "info", .subsystems = "av,mr"};
  capture_logs(&run);
  assert_null(strstr(run.output, "marker-warn-1"));
  assert_non_null(strstr(run.output, "marker-info"));
  run.subsystems = "^av";
  capture_logs(&run);
  assert_non_null(strstr(run.output, "marker-warn-1"));
  assert_null(strstr(run.output, "marker-info"));
}

CASE(log_enabled_follows_the_level) {
  unsetenv("FI_LOG_LEVEL");
  initialize_library();
  assert_false(fi_log_enabled(&own_provider, FI_LOG_WARN, FI_LOG_CORE));
}
