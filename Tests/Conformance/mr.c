// Memory registration. Man page: fi_mr(3). What remote access does with it is in rma.c.
#include "fixture.h"

enum { basic = 1 };  // FI_MR_BASIC: virtual addresses, keys chosen by the provider

static char memory[4096];

static struct fid_mr *reg(struct node *node, void *buffer, size_t length, uint64_t access, uint64_t key) {
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(node->domain, buffer, length, access, 0, key, 0, &mr, NULL));
  assert_non_null(mr);
  return mr;
}

CASE(reg_has_class_context_and_key) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_mr *mr = NULL;
  int context;
  assert_success(
      fi_mr_reg(node.domain, memory, sizeof memory, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 0xabcdef, 0, &mr, &context));
  assert_int_equal(mr->fid.fclass, FI_CLASS_MR);
  assert_ptr_equal(mr->fid.context, &context);
  assert_int_equal(fi_mr_key(mr), 0xabcdef);
  (void)fi_mr_desc(mr);
  close_fid(mr);
  node_close(&node);
}

CASE(reg_with_64_bit_keys) {
  struct node node;
  node_open_domain(&node, NULL);
  static const uint64_t keys[] = {0, 1, UINT64_C(0x8000000000000000), UINT64_C(0x0123456789abcdef),
                                  UINT64_C(0xfffffffffffffffe)};
  struct fid_mr *regions[5];
  for (int i = 0; i < 5; i++) regions[i] = reg(&node, memory, sizeof memory, FI_REMOTE_WRITE, keys[i]);
  for (int i = 0; i < 5; i++) assert_true(fi_mr_key(regions[i]) == keys[i]);
  for (int i = 0; i < 5; i++) close_fid(regions[i]);
  node_close(&node);
}

CASE(key_in_use) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_mr *first = reg(&node, memory, sizeof memory, FI_REMOTE_WRITE, 5);
  struct fid_mr *second = NULL;
  assert_returns(fi_mr_reg(node.domain, memory, 16, FI_REMOTE_READ, 0, 5, 0, &second, NULL), -FI_ENOKEY);
  close_fid(first);
  node_close(&node);
}

CASE(key_is_free_again_after_close) {
  struct node node;
  node_open_domain(&node, NULL);
  for (int i = 0; i < 100; i++) {
    struct fid_mr *mr = reg(&node, memory, sizeof memory, FI_REMOTE_WRITE, 5);
    assert_int_equal(fi_mr_key(mr), 5);
    close_fid(mr);
  }
  node_close(&node);
}

CASE(key_is_per_domain) {
  struct node a, b;
  node_open_domain(&a, NULL);
  node_open_domain(&b, NULL);
  struct fid_mr *first = reg(&a, memory, sizeof memory, FI_REMOTE_WRITE, 5);
  struct fid_mr *second = reg(&b, memory, sizeof memory, FI_REMOTE_WRITE, 5);
  close_fid(first);
  close_fid(second);
  node_close(&b);
  node_close(&a);
}

CASE(provider_keys_differ) {
  struct node node;
  node_open_domain(&node, &(struct setup){.mr_mode = basic});
  struct fid_mr *regions[64];
  for (int i = 0; i < 64; i++) {
    regions[i] = reg(&node, memory, sizeof memory, FI_REMOTE_WRITE, 7);
    assert_true(fi_mr_key(regions[i]) != FI_KEY_NOTAVAIL);
    for (int j = 0; j < i; j++) assert_true(fi_mr_key(regions[i]) != fi_mr_key(regions[j]));
  }
  for (int i = 0; i < 64; i++) close_fid(regions[i]);
  node_close(&node);
}

CASE(regions_may_overlap) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_mr *a = reg(&node, memory, 100, FI_REMOTE_WRITE, 1);
  struct fid_mr *b = reg(&node, memory + 50, 100, FI_REMOTE_READ, 2);
  struct fid_mr *c = reg(&node, memory, sizeof memory, FI_REMOTE_READ | FI_REMOTE_WRITE, 3);
  close_fid(b);
  close_fid(a);
  close_fid(c);
  node_close(&node);
}

CASE(every_access_right) {
  struct node node;
  node_open_domain(&node, NULL);
  static const uint64_t rights[] = {FI_SEND, FI_RECV, FI_READ, FI_WRITE, FI_REMOTE_READ, FI_REMOTE_WRITE,
                                    FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE};
  for (size_t i = 0; i < sizeof rights / sizeof *rights; i++) {
    struct fid_mr *mr = reg(&node, memory, sizeof memory, rights[i], i);
    close_fid(mr);
  }
  node_close(&node);
}

CASE(regv_with_one_buffer) {
  struct node node;
  node_open_domain(&node, NULL);
  struct iovec part = {memory, sizeof memory};
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_regv(node.domain, &part, 1, FI_REMOTE_WRITE, 0, 11, 0, &mr, NULL));
  assert_int_equal(fi_mr_key(mr), 11);
  close_fid(mr);
  node_close(&node);
}

CASE(regv_up_to_the_limit_and_beyond) {
  struct node node;
  node_open_domain(&node, NULL);
  size_t limit = node.info->domain_attr->mr_iov_limit;
  assert_in_range(limit, 1, 1024);
  struct iovec *parts = calloc(limit + 1, sizeof *parts);
  for (size_t i = 0; i <= limit; i++) parts[i] = (struct iovec){memory + i % 4000, 1};
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_regv(node.domain, parts, limit, FI_REMOTE_WRITE, 0, 11, 0, &mr, NULL));
  close_fid(mr);
  assert_fails(fi_mr_regv(node.domain, parts, limit + 1, FI_REMOTE_WRITE, 0, 12, 0, &mr, NULL));
  free(parts);
  node_close(&node);
}

CASE(regattr_uses_the_attributes) {
  struct node node;
  node_open_domain(&node, NULL);
  struct iovec part = {memory, sizeof memory};
  int context;
  struct fi_mr_attr attributes = {
      .mr_iov = &part, .iov_count = 1, .access = FI_REMOTE_READ, .requested_key = 99, .context = &context};
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_regattr(node.domain, &attributes, 0, &mr));
  assert_int_equal(fi_mr_key(mr), 99);
  assert_ptr_equal(mr->fid.context, &context);
  struct fid_mr *second = NULL;
  assert_returns(fi_mr_regattr(node.domain, &attributes, 0, &second), -FI_ENOKEY);
  close_fid(mr);
  node_close(&node);
}

CASE(whole_address_space_as_one_region) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(node.domain, NULL, SIZE_MAX, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 1, 0, &mr, NULL));
  close_fid(mr);
  node_close(&node);
}

CASE(unbacked_addresses_can_be_registered) {
  struct node node;
  node_open_domain(&node, NULL);
  void *reserved = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(reserved != MAP_FAILED);
  struct fid_mr *mr = reg(&node, reserved, 1 << 20, FI_REMOTE_READ | FI_REMOTE_WRITE, 1);
  close_fid(mr);
  munmap(reserved, 1 << 20);
  node_close(&node);
}

CASE(thousands_of_regions) {
  struct node node;
  node_open_domain(&node, NULL);
  enum { count = 5000 };
  static struct fid_mr *regions[count];
  for (uint64_t i = 0; i < count; i++) regions[i] = reg(&node, memory, 64, FI_REMOTE_WRITE, i * 7919);
  for (uint64_t i = 0; i < count; i++) assert_true(fi_mr_key(regions[i]) == i * 7919);
  for (uint64_t i = 0; i < count; i += 2) close_fid(regions[i]);
  for (uint64_t i = 0; i < count; i += 2) regions[i] = reg(&node, memory, 64, FI_REMOTE_WRITE, i * 7919);
  for (uint64_t i = 0; i < count; i++) close_fid(regions[i]);
  node_close(&node);
}

CASE(registration_needs_no_endpoint_or_order) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_mr *mr = reg(&node, memory, sizeof memory, FI_REMOTE_WRITE, 1);
  assert_success(fi_endpoint(node.domain, node.info, &node.ep, NULL));
  close_fid(node.ep);
  node.ep = NULL;
  close_fid(mr);
  node_close(&node);
}

// ---- kinds of memory ----------------------------------------------------------------------------------------------

static char log_line[512];

static int want_lines(const struct fi_provider *provider, enum fi_log_level level, enum fi_log_subsys subsystem,
                      uint64_t flags) {
  (void)provider, (void)level, (void)subsystem, (void)flags;
  return 1;
}

static void take_line(const struct fi_provider *provider, enum fi_log_level level, enum fi_log_subsys subsystem,
                      const char *function, int line, const char *message) {
  (void)provider, (void)level, (void)subsystem, (void)function, (void)line;
  snprintf(log_line, sizeof log_line, "%s", message);
}

static const struct setup with_hmem = {.caps = FI_MSG | FI_RMA | FI_HMEM, .mr_mode = FI_MR_HMEM};

static int register_kind(struct fid_domain *domain, enum fi_hmem_iface iface, uint64_t flags, struct fid_mr **mr) {
  static char memory[64];
  static uint64_t key = 1000;
  struct iovec iov = {memory, sizeof memory};
  struct fi_mr_attr attr = {.mr_iov = &iov, .iov_count = 1, .access = FI_SEND | FI_REMOTE_READ, .requested_key = key++,
                            .iface = iface};
  return fi_mr_regattr(domain, &attr, flags, mr);
}

CASE(memory_of_the_system) {
  setenv("FI_HMEM", "system", 1);
  struct node node;
  node_open_domain(&node, &with_hmem);
  assert_true(node.info->caps & FI_HMEM);
  assert_true(node.info->tx_attr->caps & FI_HMEM);
  assert_true(node.info->rx_attr->caps & FI_HMEM);
  struct fid_mr *mr = NULL;
  assert_success(register_kind(node.domain, FI_HMEM_SYSTEM, 0, &mr));
  close_fid(mr);
  node_close(&node);
}

CASE(memory_of_devices) {
  setenv("FI_HMEM", "system", 1);
  struct node node;
  node_open_domain(&node, &with_hmem);
  assert_int_equal(node.info->domain_attr->mr_mode & FI_MR_HMEM, FI_MR_HMEM);
  struct fi_ops_log operations = {.size = sizeof operations, .enabled = want_lines, .log = take_line};
  struct fid_logging logging = {.fid = {.fclass = FI_CLASS_LOG}, .ops = &operations};
  assert_success(fi_import_log(FI_VERSION(1, 17), 0, &logging));
  struct fid_mr *mr = NULL;
  for (enum fi_hmem_iface iface = FI_HMEM_CUDA; iface <= FI_HMEM_SYNAPSEAI; iface++) {
    log_line[0] = 0;
    assert_returns(register_kind(node.domain, iface, 0, &mr), -FI_ENOSYS);
    assert_non_null(strstr(log_line, fi_tostr(&iface, FI_TYPE_HMEM_IFACE)));
  }
  assert_returns(register_kind(node.domain, FI_HMEM_SYSTEM, FI_HMEM_DEVICE_ONLY, &mr), -FI_ENOSYS);
  assert_returns(register_kind(node.domain, (enum fi_hmem_iface)99, 0, &mr), -FI_EINVAL);
  close_fid(&logging);
  // What a device's library allocated for the host.
  assert_success(register_kind(node.domain, FI_HMEM_CUDA, FI_HMEM_HOST_ALLOC, &mr));
  close_fid(mr);
  node_close(&node);
}

CASE(kinds_of_memory_mean_nothing_without_the_capability) {
  struct node node;
  node_open_domain(&node, &(struct setup){.caps = FI_MSG | FI_RMA, .mr_mode = FI_MR_HMEM});
  assert_false(node.info->caps & FI_HMEM);
  assert_int_equal(node.info->domain_attr->mr_mode & FI_MR_HMEM, 0);
  struct fid_mr *mr = NULL;
  assert_success(register_kind(node.domain, FI_HMEM_CUDA, 0, &mr));
  close_fid(mr);
  node_close(&node);
}

// ---- parts of regions ---------------------------------------------------------------------------------------------

// struct fi_mr_attr of 2.0 and later.
struct mr_attr_2_0 {
  const struct iovec *mr_iov;
  size_t iov_count;
  uint64_t access;
  uint64_t offset;
  uint64_t requested_key;
  void *context;
  size_t auth_key_size;
  uint8_t *auth_key;
  enum fi_hmem_iface iface;
  uint64_t device;
  void *hmem_data;
  size_t page_size;
  const struct fid_mr *base_mr;
  size_t sub_mr_cnt;
};

static int register_part(struct fid_domain *domain, const struct fid_mr *whole, void *buffer, size_t length,
                         struct fid_mr **mr) {
  static uint64_t key = 500;
  struct iovec iov = {buffer, length};
  struct mr_attr_2_0 attr = {
      .mr_iov = &iov, .iov_count = 1, .access = FI_REMOTE_READ, .requested_key = key++, .base_mr = whole};
  return fi_mr_regattr(domain, (const struct fi_mr_attr *)&attr, 0, mr);
}

CASE(a_part_of_a_region) {
  struct setup setup = {.version = FI_VERSION(2, 0)};
  struct node node, other;
  node_open_domain(&node, &setup);
  node_open_domain(&other, &setup);
  char buffer[200];
  struct fid_mr *whole = NULL, *part = NULL, *rest = NULL;
  assert_success(register_part(node.domain, NULL, buffer + 50, 100, &whole));
  assert_offered(register_part(node.domain, whole, buffer + 60, 20, &part));
  assert_success(register_part(node.domain, part, buffer + 60, 1, &rest));
  assert_true(fi_mr_key(whole) != fi_mr_key(part));
  assert_returns(fi_close(&whole->fid), -FI_EBUSY);
  assert_returns(fi_close(&part->fid), -FI_EBUSY);
  close_fid(rest);
  close_fid(part);
  assert_returns(register_part(node.domain, whole, buffer + 49, 10, &part), -FI_EINVAL);
  assert_returns(register_part(node.domain, whole, buffer + 140, 11, &part), -FI_EINVAL);
  assert_returns(register_part(node.domain, whole, buffer + 60, SIZE_MAX, &part), -FI_EINVAL);
  assert_fails(register_part(other.domain, whole, buffer + 60, 10, &part));
  assert_returns(register_part(node.domain, (struct fid_mr *)node.domain, buffer + 60, 10, &part), -FI_EINVAL);
  close_fid(whole);
  node_close(&other);
  node_close(&node);
}
