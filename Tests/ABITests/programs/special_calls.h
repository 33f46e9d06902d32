// The inline functions that do more than hand their arguments to a slot. Included by the generated program of
// checks/calls.py, which has the recorder.

static const char *given_name;
static uint64_t given_flags;

// The exported functions that inline functions call, for this program alone.
struct fi_info *fi_dupinfo(const struct fi_info *info) { return info ? NULL : (struct fi_info *)object; }

int fi_open(uint32_t version, const char *name, void *attr, size_t attr_len, uint64_t flags, struct fid **fid,
            void *context) {
  given_name = name;
  given_flags = flags;
  *fid = (struct fid *)object;
  return version == 5 ? -FI_ENOSYS : attr_len || attr || !context ? -FI_EINVAL : 0;
}

int fi_param_get(struct fi_provider *provider, const char *name, void *value) {
  return provider == (void *)object && name[0] == 'n' && value == (void *)object ? 3 : -1;
}

// A slot that keeps what its pointer argument points to, because that is gone when the call returns.
static unsigned long pointed[8];
static int keep_control(struct fid *fid, int command, void *arg) {
  (void)fid;
  at_slot = command;
  if (arg)
    memcpy(pointed, arg, sizeof(struct fi_mr_raw_attr));
  return 9;
}

static int keep_five(struct fid *fid, int command, void *arg) {
  (void)fid;
  at_slot = command;
  memcpy(pointed, arg, 40);
  return 9;
}

static int keep_one(struct fid *fid, int command, void *arg) {
  (void)fid;
  at_slot = command;
  memcpy(pointed, arg, 8);
  return 9;
}

static int keep_two(struct fid *fid, int command, void *arg) {
  (void)fid;
  at_slot = command;
  memcpy(pointed, arg, 16);
  if (command == FI_ALIAS)
    **(struct fid ***)arg = (struct fid *)(object + 4);
  return 9;
}

static int keep_alias(struct fid *fid, int command, void *arg) {
  keep_two(fid, command, arg);
  return 0;
}

static int keep_export(struct fid *fid, int command, void *arg) {
  (void)fid;
  at_slot = command;
  memcpy(pointed, arg, 24);
  return 9;
}

static struct fi_mr_modify refreshed;
static int keep_refresh(struct fid *fid, int command, void *arg) {
  (void)fid;
  at_slot = command;
  refreshed = *(struct fi_mr_modify *)arg;
  return 9;
}

static int keep_join(struct fid_ep *ep, const void *addr, uint64_t flags, struct fid_mc **mc, void *context) {
  (void)ep;
  memcpy(pointed, addr, 16);
  pointed[2] = flags;
  pointed[3] = (unsigned long)mc;
  pointed[4] = (unsigned long)context;
  return 9;
}

#define CONTROL 3  // slot of struct fi_ops

static void with_control(int (*control)(struct fid *, int, void *)) {
  prepare(4096);
  memset(pointed, 0, sizeof pointed);
  tables[0][CONTROL] = (void *)control;
}

#define IS(...)                                                              \
  ({                                                                         \
    unsigned long expected_[] = {__VA_ARGS__};                               \
    !memcmp(pointed, expected_, sizeof expected_);                           \
  })

static void control_calls(void) {
  struct fid *fid = (struct fid *)object, *alias = NULL;
  struct fid_mr *mr = (struct fid_mr *)object;
  struct fid_domain *domain = (struct fid_domain *)object;
  struct fid_ep *ep = (struct fid_ep *)object, *ep_alias = NULL;
  int result;

  with_control(keep_two);
  result = fi_alias(fid, &alias, 77);
  report("fi_alias", result == 9 && at_slot == FI_ALIAS && IS((unsigned long)&alias, 77));
  with_control(keep_alias);
  result = fi_ep_alias(ep, &ep_alias, 77);
  report("fi_ep_alias", !result && at_slot == FI_ALIAS && pointed[1] == 77 && ep_alias == (void *)(object + 4));
  with_control(keep_two);
  ep_alias = NULL;
  result = fi_ep_alias(ep, &ep_alias, 77);
  report("fi_ep_alias: refused", result == 9 && !ep_alias);
  with_control(keep_two);
  result = fi_get_val(fid, 5, (void *)11);
  report("fi_get_val", result == 9 && at_slot == FI_GET_VAL && (int)pointed[0] == 5 && pointed[1] == 11);
  with_control(keep_two);
  result = fi_set_val(fid, 5, (void *)11);
  report("fi_set_val", result == 9 && at_slot == FI_SET_VAL && (int)pointed[0] == 5 && pointed[1] == 11);
  with_control(keep_control);
  result = fi_enable(ep);
  report("fi_enable", result == 9 && at_slot == FI_ENABLE);
  with_control(keep_control);
  result = fi_mr_enable(mr);
  report("fi_mr_enable", result == 9 && at_slot == FI_ENABLE);
  with_control(keep_control);
  result = fi_mr_raw_attr(mr, (uint64_t *)11, (uint8_t *)12, (size_t *)13, 14);
  report("fi_mr_raw_attr", result == 9 && at_slot == FI_GET_RAW_MR && IS(14, 11, 12, 13));
  with_control(keep_five);
  result = fi_mr_map_raw(domain, 11, (uint8_t *)12, 13, (uint64_t *)14, 15);
  report("fi_mr_map_raw", result == 9 && at_slot == FI_MAP_RAW_MR && IS(15, 11, 12, 13, 14));
  with_control(keep_one);
  result = fi_mr_unmap_key(domain, 11);
  report("fi_mr_unmap_key", result == 9 && at_slot == FI_UNMAP_KEY && IS(11));
  with_control(keep_refresh);
  result = fi_mr_refresh(mr, (struct iovec *)11, 12, 13);
  struct fi_mr_modify expected;
  memset(&expected, 0, sizeof expected);
  expected.flags = 13;
  expected.attr.mr_iov = (struct iovec *)11;
  expected.attr.iov_count = 12;
  report("fi_mr_refresh", result == 9 && at_slot == FI_REFRESH && !memcmp(&refreshed, &expected, sizeof expected));
  with_control(keep_export);
  result = fi_export_fid(fid, 11, (struct fid **)12, (void *)13);
  report("fi_export_fid", result == 9 && at_slot == FI_EXPORT_FID && IS(12, 11, 13));
#ifdef SINCE_2_0
  with_control(keep_control);
  result = fi_mr_get_xpu_desc(mr, (void *)11, (size_t *)12, 13, (struct fid_xpu_ctx *)14);
  report("fi_mr_get_xpu_desc", result == 9 && at_slot == FI_GET_MR_XPU_DESC && IS(11, 12, 13, 14));
#endif
}

static int refuse_bind(struct fid *fid, struct fid *other, uint64_t flags) {
  given_flags = flags;
  return fid == (void *)object && other == (void *)11 ? 8 : -1;
}

static int closed;
static int count_close(struct fid *fid) {
  closed += fid == (void *)object;
  return 0;
}

static void import_calls(void) {
  prepare(4096);
  tables[0][1] = (void *)count_close;
  tables[0][2] = (void *)refuse_bind;
  int result = fi_import(1, "any", NULL, 0, 6, (struct fid *)11, object);
  report("fi_import", result == 8 && closed == 1 && given_flags == 6 && !strcmp(given_name, "any"));
  result = fi_import(5, "any", NULL, 0, 6, (struct fid *)11, object);
  report("fi_import: not opened", result == -FI_ENOSYS && closed == 1);
  struct fi_ops_log ops = {0, NULL, NULL, NULL};
  struct fid_logging log = {{0, NULL, NULL}, &ops};
  result = fi_import_log(1, 6, &log);
  report("fi_import_log", result == -1 && !strcmp(given_name, "logging") && log.fid.fclass == FI_CLASS_LOG &&
                              ops.size == sizeof ops && closed == 2);
}

static void value_calls(void) {
  prepare(4096);
  struct fid_mr mr = {{0, NULL, NULL}, (void *)11, 12};
  struct fid_mc mc = {{0, NULL, NULL}, 13};
  report("fi_mr_desc", fi_mr_desc(&mr) == (void *)11);
  report("fi_mr_key", fi_mr_key(&mr) == 12);
  report("fi_mc_addr", fi_mc_addr(&mc) == 13);
  report("fi_allocinfo", fi_allocinfo() == (void *)object);
  report("fi_tc_dscp_set", fi_tc_dscp_set(46) == 0x12E);
  report("fi_tc_dscp_get", fi_tc_dscp_get(0x12E) == 46);
  report("fi_tc_dscp_get: no code point", fi_tc_dscp_get(FI_TC_BULK_DATA) == 0);
  report("fi_rx_addr", fi_rx_addr(5, 3, 4) == 0x3000000000000005ul);
  struct fi_provider *provider = (struct fi_provider *)object;
  report("fi_param_get_str", fi_param_get_str(provider, "n", (char **)object) == 3);
  report("fi_param_get_int", fi_param_get_int(provider, "n", (int *)object) == 3);
  report("fi_param_get_bool", fi_param_get_bool(provider, "n", (int *)object) == 3);
  report("fi_param_get_size_t", fi_param_get_size_t(provider, "n", (size_t *)object) == 3);
#ifdef SINCE_2_0
  report("fi_hmem_ze_device", fi_hmem_ze_device(2, 3) == 0x20003);
  report("fi_group_addr", fi_group_addr(5, 3) == 0x300000005ul);
  report("fi_tag_mpi", fi_tag_mpi(-2, 3) == 0x3FFFFFFFEul);
  report("fi_tag_mpi: ignore", FI_MPI_IGNORE_TAG == 0xFFFFFFFFul && FI_MPI_IGNORE_PAYLOAD == 0xFF00000000ul);
#endif
}

// With flags 0 the calls of version 1.17 are the older ones, so that providers need not know the newer slot.
static void flagless_calls(void) {
  unsigned long expected[] = {(unsigned long)object, 11, 12, 13};
  struct fid_domain *domain = (struct fid_domain *)object;
  prepare(0);
  fi_domain2((struct fid_fabric *)object, (struct fi_info *)11, (struct fid_domain **)12, 0, (void *)13);
  report("fi_domain2: no flags", same(1, 1, 4, expected, 0));
  prepare(0);
  fi_endpoint2(domain, (struct fi_info *)11, (struct fid_ep **)12, 0, (void *)13);
  report("fi_endpoint2: no flags", same(1, 3, 4, expected, 0));
  prepare(0);
  fi_barrier2((struct fid_ep *)object, 11, 0, (void *)12);
  report("fi_barrier2: no flags", same(7, 1, 3, expected, 0));
}

#ifdef SINCE_2_0
static ssize_t read_variable(struct fid_profile *profile, uint32_t id, void *data, size_t *size) {
  *(uint64_t *)data = *size == 8 ? 100 + id : 0;
  return profile == (void *)object ? (id < 5 ? 8 : -FI_EINVAL) : -1;
}

static int open_profile(struct fid *fid, const char *name, uint64_t flags, void **ops, void *context) {
  (void)flags;
  *ops = context;
  return fid == (void *)object && !strcmp(name, "fi_profile_ops") ? 0 : -1;
}

static void profile_calls(void) {
  uint64_t value = 0;
  struct fid_profile profile, *opened = NULL;
  prepare(4096);
  tables[1][4] = (void *)read_variable;
  int result = (int)fi_profile_read_u64((struct fid_profile *)object, 4, &value);
  report("fi_profile_read_u64", result == 0 && value == 104);
  result = (int)fi_profile_read_u64((struct fid_profile *)object, 6, &value);
  report("fi_profile_read_u64: refused", result == -FI_EINVAL);
  tables[0][4] = (void *)open_profile;
  result = fi_profile_open((struct fid *)object, 0, &opened, &profile.ops);
  report("fi_profile_open", !result && opened == &profile);
}
#endif

static void special_calls(void) {
  control_calls();
  import_calls();
  value_calls();
  flagless_calls();

  prepare(4096);
  struct fi_cq_err_entry entry;
  memset(&entry, 0, sizeof entry);
  fi_cq_readerr((struct fid_cq *)object, &entry, 5);
#ifdef SINCE_2_0
  report("fi_cq_readerr: source", entry.src_addr == FI_ADDR_NOTAVAIL);
  fi_cq_readerr((struct fid_cq *)object, NULL, 5);
  report("fi_cq_readerr: no entry", at_table == 1 && at_slot == 3);
  profile_calls();
#endif

  prepare(4096);
  memset(pointed, 0, sizeof pointed);
  tables[2][9] = (void *)keep_join;
  int result = fi_join_collective((struct fid_ep *)object, 11, (struct fid_av_set *)12, 1, (struct fid_mc **)13,
                                  (void *)14);
  report("fi_join_collective", result == 9 && IS(12, 11, FI_COLLECTIVE | 1, 13, 14));
}
