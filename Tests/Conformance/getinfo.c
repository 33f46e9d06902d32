// fi_getinfo: what is found, what is filtered, how requests shape results. Man pages: fi_getinfo(3), fabric(7).
#include "fixture.h"

#define LOOPBACK "127.0.0.1"

// fi_getinfo with `hints`, which it frees; the list goes to *info.
static int query_full(uint32_t version, const char *node, const char *service, uint64_t flags, struct fi_info *hints,
                      struct fi_info **info) {
  *info = (struct fi_info *)0x1;
  int result = fi_getinfo(version, node, service, flags, hints, info);
  fi_freeinfo(hints);
  if (result == -FI_ENODATA) assert_null(*info);
  return result;
}

static int query(struct fi_info *hints, struct fi_info **info) {
  return query_full(DEFAULT_VERSION, NULL, NULL, 0, hints, info);
}

static void expect_nothing(const char *what, struct fi_info *hints) {
  struct fi_info *info = NULL;
  int result = query(hints, &info);
  if (result != -FI_ENODATA) failed("%s: returned %d, expected -FI_ENODATA", what, result);
}

static struct fi_info *expect_something(const char *what, struct fi_info *hints) {
  struct fi_info *info = NULL;
  int result = query(hints, &info);
  if (result != 0) failed("%s: returned %d (%s)", what, result, fi_strerror(-result));
  assert_non_null(info);
  return info;
}

// As expect_something, but an optional feature: nothing found means unsupported.
static struct fi_info *expect_if_offered(const char *what, struct fi_info *hints) {
  struct fi_info *info = NULL;
  int result = query(hints, &info);
  if (result == -FI_ENODATA) unsupported("%s", what);
  assert_success(result);
  return info;
}

static size_t length_of(const struct fi_info *info) {
  size_t count = 0;
  for (; info; info = info->next) count++;
  return count;
}

// ---- lists --------------------------------------------------------------------------------------------------------

CASE(no_hints_lists_everything) {
  struct fi_info *info = NULL;
  assert_success(fi_getinfo(DEFAULT_VERSION, NULL, NULL, 0, NULL, &info));
  assert_true(length_of(info) >= 1);
  fi_freeinfo(info);
}

CASE(entries_are_well_formed) {
  struct fi_info *info = expect_something("own name", new_hints());
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    assert_non_null(entry->tx_attr);
    assert_non_null(entry->rx_attr);
    assert_non_null(entry->ep_attr);
    assert_non_null(entry->domain_attr);
    assert_non_null(entry->fabric_attr);
    assert_non_null(entry->domain_attr->name);
    assert_non_null(entry->fabric_attr->name);
    assert_true(entry->caps != 0);
    assert_int_equal(entry->ep_attr->type, FI_EP_RDM);
    assert_true(entry->ep_attr->protocol != FI_PROTO_UNSPEC);
    assert_true(entry->ep_attr->max_msg_size > 0);
    assert_true(entry->tx_attr->size > 0);
    assert_true(entry->rx_attr->size > 0);
    assert_true(entry->tx_attr->iov_limit >= 1);
    assert_true(entry->rx_attr->iov_limit >= 1);
    assert_true(entry->domain_attr->cq_cnt > 0);
    assert_true(entry->domain_attr->ep_cnt > 0);
    assert_true(entry->domain_attr->data_progress != FI_PROGRESS_UNSPEC);
    assert_true(entry->domain_attr->threading != FI_THREAD_UNSPEC);
    assert_true(entry->fabric_attr->prov_version != 0);
    assert_int_equal(entry->fabric_attr->api_version, DEFAULT_VERSION);
    if (entry->src_addr) assert_true(entry->src_addrlen > 0);
    if (entry->nic) assert_int_equal(entry->nic->fid.fclass, FI_CLASS_NIC);
  }
  fi_freeinfo(info);
}

CASE(entries_carry_exactly_the_requested_name) {
  struct fi_info *info = expect_something("own name", new_hints());
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    assert_string_equal(entry->fabric_attr->prov_name, provider_name());
  }
  fi_freeinfo(info);
}

CASE(unknown_provider_name) {
  struct fi_info *hints = new_hints();
  free(hints->fabric_attr->prov_name);
  hints->fabric_attr->prov_name = strdup("no-such-provider");
  expect_nothing("unknown provider", hints);
}

CASE(sockaddr_entries_have_matching_addresses) {
  struct fi_info *info = expect_something("own name", new_hints());
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    if (!entry->src_addr) continue;
    const struct sockaddr *address = entry->src_addr;
    if (entry->addr_format == FI_SOCKADDR_IN) {
      assert_int_equal(address->sa_family, AF_INET);
      assert_int_equal(entry->src_addrlen, sizeof(struct sockaddr_in));
    } else if (entry->addr_format == FI_SOCKADDR_IN6) {
      assert_int_equal(address->sa_family, AF_INET6);
      assert_int_equal(entry->src_addrlen, sizeof(struct sockaddr_in6));
    }
  }
  fi_freeinfo(info);
}

CASE(result_works_as_hints) {
  struct fi_info *info = expect_something("own name", new_hints());
  struct fi_info *again = expect_something("result as hints", fi_dupinfo(info));
  assert_string_equal(again->domain_attr->name, info->domain_attr->name);
  assert_string_equal(again->fabric_attr->prov_name, info->fabric_attr->prov_name);
  assert_int_equal(again->addr_format, info->addr_format);
  assert_int_equal(again->caps & info->caps, info->caps);
  fi_freeinfo(again);
  fi_freeinfo(info);
}

CASE(provider_attributes_only) {
  struct fi_info *info = NULL;
  assert_success(query_full(DEFAULT_VERSION, NULL, NULL, FI_PROV_ATTR_ONLY, NULL, &info));
  bool found = false;
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    assert_non_null(entry->fabric_attr);
    assert_non_null(entry->fabric_attr->prov_name);
    assert_true(entry->fabric_attr->prov_version != 0);
    assert_int_equal(entry->caps, 0);
    assert_null(entry->src_addr);
    if (strcmp(entry->fabric_attr->prov_name, provider_name()) == 0) found = true;
  }
  if (!strchr(provider_name(), ';')) assert_true(found);
  fi_freeinfo(info);
}

// ---- versions -----------------------------------------------------------------------------------------------------

CASE(version_newer_than_the_library) {
  struct fi_info *info = NULL;
  uint32_t newer = FI_VERSION(FI_MAJOR(fi_version()), FI_MINOR(fi_version()) + 1);
  assert_returns(query_full(newer, NULL, NULL, 0, new_hints(), &info), -FI_ENOSYS);
  assert_returns(query_full(FI_VERSION(9, 0), NULL, NULL, 0, NULL, &info), -FI_ENOSYS);
}

CASE(every_version_up_to_the_library) {
  for (uint32_t minor = 1; minor <= 17; minor++) {
    struct fi_info *info = NULL;
    assert_success(query_full(FI_VERSION(1, minor), NULL, NULL, 0, new_hints(), &info));
    assert_int_equal(info->fabric_attr->api_version, FI_VERSION(1, minor));
    fi_freeinfo(info);
  }
  struct fi_info *info = NULL;
  assert_success(query_full(fi_version(), NULL, NULL, 0, new_hints(), &info));
  assert_int_equal(info->fabric_attr->api_version, fi_version());
  fi_freeinfo(info);
}

CASE(version_zero_is_accepted) {
  struct fi_info *info = NULL;
  assert_success(query_full(0, NULL, NULL, 0, new_hints(), &info));
  fi_freeinfo(info);
}

CASE(old_versions_ignore_newer_domain_hints) {
  struct fi_info *info = NULL;
  struct fi_info *hints = new_hints();
  hints->domain_attr->mr_iov_limit = 1 << 20;
  hints->domain_attr->caps = UINT64_C(1) << 62;
  assert_success(query_full(FI_VERSION(1, 4), NULL, NULL, 0, hints, &info));
  fi_freeinfo(info);
  hints = new_hints();
  hints->domain_attr->mr_iov_limit = 1 << 20;
  assert_returns(query_full(FI_VERSION(1, 5), NULL, NULL, 0, hints, &info), -FI_ENODATA);
  hints = new_hints();
  hints->domain_attr->caps = FI_SHARED_AV << 5;
  assert_returns(query_full(FI_VERSION(1, 5), NULL, NULL, 0, hints, &info), -FI_ENODATA);
}

// ---- capabilities -------------------------------------------------------------------------------------------------

static struct fi_info *hints_with_caps(uint64_t caps) {
  struct fi_info *hints = new_hints();
  hints->caps = caps;
  return hints;
}

CASE(capabilities_unspecified_offers_all_primary) {
  struct fi_info *info = expect_something("no caps", new_hints());
  uint64_t expected = FI_MSG | FI_TAGGED | FI_RMA | FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ |
                      FI_REMOTE_WRITE;
  assert_int_equal(info->caps & expected, expected);
  fi_freeinfo(info);
}

CASE(each_capability_is_granted) {
  static const uint64_t wanted[] = {FI_MSG,
                                    FI_TAGGED,
                                    FI_RMA,
                                    FI_MSG | FI_SEND,
                                    FI_MSG | FI_RECV,
                                    FI_TAGGED | FI_SEND | FI_RECV,
                                    FI_RMA | FI_READ,
                                    FI_RMA | FI_WRITE,
                                    FI_RMA | FI_REMOTE_READ,
                                    FI_RMA | FI_REMOTE_WRITE,
                                    FI_MSG | FI_TAGGED | FI_RMA,
                                    FI_MSG | FI_LOCAL_COMM,
                                    FI_MSG | FI_REMOTE_COMM};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    struct fi_info *info = expect_something(fi_tostr(&wanted[i], FI_TYPE_CAPS), hints_with_caps(wanted[i]));
    assert_int_equal(info->caps & wanted[i], wanted[i]);
    fi_freeinfo(info);
  }
}

CASE(source_capability_is_granted) {
  struct fi_info *info = expect_if_offered("FI_SOURCE", hints_with_caps(FI_MSG | FI_TAGGED | FI_SOURCE));
  assert_true(info->caps & FI_SOURCE);
  fi_freeinfo(info);
}

CASE(directed_receive_capability_is_granted) {
  struct fi_info *info = expect_if_offered("FI_DIRECTED_RECV", hints_with_caps(FI_MSG | FI_TAGGED | FI_DIRECTED_RECV));
  assert_true(info->caps & FI_DIRECTED_RECV);
  fi_freeinfo(info);
}

CASE(primary_capabilities_not_requested_are_absent) {
  struct fi_info *info = expect_something("FI_MSG", hints_with_caps(FI_MSG));
  assert_int_equal(info->caps & (FI_TAGGED | FI_RMA | FI_ATOMIC | FI_READ | FI_WRITE), 0);
  fi_freeinfo(info);
  info = expect_something("FI_RMA", hints_with_caps(FI_RMA));
  assert_int_equal(info->caps & (FI_MSG | FI_TAGGED | FI_ATOMIC | FI_DIRECTED_RECV), 0);
  fi_freeinfo(info);
}

CASE(modifiers_restrict_capabilities) {
  struct fi_info *info = expect_something("send only", hints_with_caps(FI_MSG | FI_SEND));
  assert_int_equal(info->caps & (FI_SEND | FI_RECV), FI_SEND);
  fi_freeinfo(info);
  info = expect_something("write only", hints_with_caps(FI_RMA | FI_WRITE));
  assert_int_equal(info->caps & (FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE), FI_WRITE);
  fi_freeinfo(info);
  info = expect_something("no modifier", hints_with_caps(FI_RMA));
  uint64_t all = FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE;
  assert_int_equal(info->caps & all, all);
  fi_freeinfo(info);
}

CASE(transmit_and_receive_capabilities_are_split) {
  struct fi_info *info = expect_something("all", hints_with_caps(FI_MSG | FI_TAGGED | FI_RMA));
  assert_int_equal(info->tx_attr->caps & (FI_RECV | FI_REMOTE_READ | FI_REMOTE_WRITE), 0);
  assert_int_equal(info->rx_attr->caps & (FI_SEND | FI_READ | FI_WRITE), 0);
  assert_true(info->tx_attr->caps & FI_SEND);
  assert_true(info->rx_attr->caps & FI_RECV);
  fi_freeinfo(info);
}

CASE(unknown_capabilities_are_refused) {
  expect_nothing("bit 48", hints_with_caps(FI_MSG | UINT64_C(1) << 48));
  expect_nothing("multicast on RDM", hints_with_caps(FI_MSG | FI_MULTICAST));
}

// ---- names, types, formats ----------------------------------------------------------------------------------------

CASE(endpoint_types_nobody_offers) {
  struct fi_info *hints = new_hints();
  hints->ep_attr->type = (enum fi_ep_type)4;  // FI_EP_SOCK_STREAM
  expect_nothing("FI_EP_SOCK_STREAM", hints);
  hints = new_hints();
  hints->ep_attr->type = (enum fi_ep_type)77;
  expect_nothing("type 77", hints);
}

CASE(address_format_filters) {
  struct fi_info *hints = new_hints();
  hints->addr_format = FI_SOCKADDR_IN;
  struct fi_info *info = expect_something("FI_SOCKADDR_IN", hints);
  for (struct fi_info *entry = info; entry; entry = entry->next) assert_int_equal(entry->addr_format, FI_SOCKADDR_IN);
  fi_freeinfo(info);
  hints = new_hints();
  hints->addr_format = FI_SOCKADDR;
  fi_freeinfo(expect_something("FI_SOCKADDR", hints));
  hints = new_hints();
  hints->addr_format = FI_ADDR_EFA;
  expect_nothing("FI_ADDR_EFA", hints);
}

static bool have_ipv6(void) {
  int socket6 = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  bool works = socket6 >= 0 && bind(socket6, (struct sockaddr *)&address, sizeof address) == 0;
  if (socket6 >= 0) close(socket6);
  return works;
}

CASE(address_format_ipv6_filters) {
  if (!have_ipv6()) environment_lacks("no IPv6 loopback");
  struct fi_info *hints = new_hints();
  hints->addr_format = FI_SOCKADDR_IN6;
  struct fi_info *info = expect_something("FI_SOCKADDR_IN6", hints);
  for (struct fi_info *entry = info; entry; entry = entry->next) assert_int_equal(entry->addr_format, FI_SOCKADDR_IN6);
  fi_freeinfo(info);
}

CASE(domain_name_filters) {
  struct fi_info *all = expect_something("own name", new_hints());
  for (struct fi_info *entry = all; entry; entry = entry->next) {
    struct fi_info *hints = new_hints();
    hints->domain_attr->name = strdup(entry->domain_attr->name);
    struct fi_info *info = expect_something(entry->domain_attr->name, hints);
    for (struct fi_info *found = info; found; found = found->next) {
      assert_string_equal(found->domain_attr->name, entry->domain_attr->name);
    }
    fi_freeinfo(info);
  }
  fi_freeinfo(all);
  struct fi_info *hints = new_hints();
  hints->domain_attr->name = strdup("no-such-interface");
  expect_nothing("unknown domain", hints);
}

CASE(fabric_name_filters) {
  struct fi_info *all = expect_something("own name", new_hints());
  for (struct fi_info *entry = all; entry; entry = entry->next) {
    struct fi_info *hints = new_hints();
    hints->fabric_attr->name = strdup(entry->fabric_attr->name);
    struct fi_info *info = expect_something(entry->fabric_attr->name, hints);
    for (struct fi_info *found = info; found; found = found->next) {
      assert_string_equal(found->fabric_attr->name, entry->fabric_attr->name);
    }
    fi_freeinfo(info);
  }
  fi_freeinfo(all);
  struct fi_info *hints = new_hints();
  hints->fabric_attr->name = strdup("no-such-fabric");
  expect_nothing("unknown fabric", hints);
}

CASE(opened_fabric_and_domain_are_reported) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fi_info *hints = new_hints();
  hints->fabric_attr->name = strdup(node.info->fabric_attr->name);
  struct fi_info *info = NULL;
  assert_success(query_full(DEFAULT_VERSION, LOOPBACK, NULL, FI_SOURCE, hints, &info));
  int reported = 0;
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    if (strcmp(entry->fabric_attr->name, node.info->fabric_attr->name) != 0) continue;
    assert_ptr_equal(entry->fabric_attr->fabric, node.fabric);
    reported++;
  }
  assert_true(reported > 0);
  fi_freeinfo(info);
  hints = new_hints();
  hints->fabric_attr->name = strdup(node.info->fabric_attr->name);
  hints->domain_attr->name = strdup(node.info->domain_attr->name);
  hints->domain_attr->domain = node.domain;
  info = expect_something("opened domain in hints", hints);
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    assert_string_equal(entry->domain_attr->name, node.info->domain_attr->name);
  }
  fi_freeinfo(info);
  node_close(&node);
}

// ---- mode and memory registration mode ----------------------------------------------------------------------------

CASE(no_mode_bits_are_required) {
  struct fi_info *hints = new_hints();
  hints->caps = FI_MSG | FI_TAGGED | FI_RMA;
  hints->mode = 0;
  struct fi_info *info = expect_something("mode 0", hints);
  assert_int_equal(info->mode, 0);
  assert_int_equal(info->tx_attr->mode, 0);
  assert_int_equal(info->rx_attr->mode, 0);
  assert_int_equal(info->domain_attr->mode, 0);
  fi_freeinfo(info);
}

CASE(offered_mode_bits_do_no_harm) {
  struct fi_info *hints = new_hints();
  hints->mode = FI_CONTEXT | FI_CONTEXT2 | FI_ASYNC_IOV | FI_RX_CQ_DATA;
  struct fi_info *info = expect_something("mode bits", hints);
  assert_int_equal(info->mode & ~(FI_CONTEXT | FI_CONTEXT2 | FI_ASYNC_IOV | FI_RX_CQ_DATA), 0);
  fi_freeinfo(info);
}

static int mr_mode_result(uint32_t version, int requested, int *result) {
  struct fi_info *hints = new_hints();
  hints->caps = FI_MSG | FI_RMA;
  hints->domain_attr->mr_mode = requested;
  struct fi_info *info = NULL;
  int status = query_full(version, NULL, NULL, 0, hints, &info);
  if (status == 0) {
    *result = info->domain_attr->mr_mode;
    fi_freeinfo(info);
  }
  return status;
}

CASE(mr_mode_since_1_5) {
  int result = -1;
  assert_success(mr_mode_result(FI_VERSION(1, 5), 0, &result));
  assert_int_equal(result, 0);
  assert_success(mr_mode_result(FI_VERSION(1, 17), 1 /* FI_MR_BASIC */, &result));
  assert_int_equal(result, 1);
  assert_success(mr_mode_result(FI_VERSION(1, 17), 2 /* FI_MR_SCALABLE */, &result));
  assert_int_equal(result, 2);
}

CASE(mr_mode_bits_are_cleared_not_added) {
  int result = -1;
  int bits = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
  assert_success(mr_mode_result(FI_VERSION(1, 17), bits, &result));
  assert_int_equal(result & ~bits, 0);
  assert_success(mr_mode_result(FI_VERSION(1, 17), FI_MR_ALLOCATED, &result));
  assert_int_equal(result & ~FI_MR_ALLOCATED, 0);
}

CASE(mr_mode_basic_and_scalable_stand_alone) {
  int result = -1;
  assert_returns(mr_mode_result(FI_VERSION(1, 17), 1 | FI_MR_LOCAL, &result), -FI_ENODATA);
  assert_returns(mr_mode_result(FI_VERSION(1, 17), 2 | FI_MR_VIRT_ADDR, &result), -FI_ENODATA);
  assert_returns(mr_mode_result(FI_VERSION(1, 17), -1, &result), -FI_ENODATA);
}

CASE(mr_mode_before_1_5) {
  int result = -1;
  assert_success(mr_mode_result(FI_VERSION(1, 4), 0, &result));
  assert_in_range(result, 1, 2);
  assert_success(mr_mode_result(FI_VERSION(1, 4), 1, &result));
  assert_int_equal(result, 1);
  assert_success(mr_mode_result(FI_VERSION(1, 4), 2, &result));
  assert_int_equal(result, 2);
  assert_returns(mr_mode_result(FI_VERSION(1, 4), FI_MR_VIRT_ADDR, &result), -FI_ENODATA);
  assert_returns(mr_mode_result(FI_VERSION(1, 4), FI_MR_LOCAL | FI_MR_PROV_KEY, &result), -FI_ENODATA);
}

// ---- attributes: too much is refused ------------------------------------------------------------------------------

CASE(excessive_transmit_attributes) {
  struct fi_info *hints = new_hints();
  hints->tx_attr->inject_size = SIZE_MAX;
  expect_nothing("inject_size", hints);
  hints = new_hints();
  hints->tx_attr->size = SIZE_MAX;
  expect_nothing("tx size", hints);
  hints = new_hints();
  hints->tx_attr->iov_limit = 10000;
  expect_nothing("tx iov_limit", hints);
  hints = new_hints();
  hints->tx_attr->rma_iov_limit = 10000;
  expect_nothing("rma_iov_limit", hints);
  hints = new_hints();
  hints->tx_attr->op_flags = FI_MULTICAST;
  expect_nothing("tx op_flags", hints);
}

CASE(excessive_receive_attributes) {
  struct fi_info *hints = new_hints();
  hints->rx_attr->size = SIZE_MAX;
  expect_nothing("rx size", hints);
  hints = new_hints();
  hints->rx_attr->iov_limit = 10000;
  expect_nothing("rx iov_limit", hints);
  hints = new_hints();
  hints->rx_attr->op_flags = FI_MULTICAST;
  expect_nothing("rx op_flags", hints);
}

CASE(excessive_domain_attributes) {
  struct fi_info *hints = new_hints();
  hints->domain_attr->cq_data_size = 16;
  expect_nothing("cq_data_size", hints);
  hints = new_hints();
  hints->domain_attr->mr_iov_limit = 100000;
  expect_nothing("mr_iov_limit", hints);
}

CASE(excessive_endpoint_attributes) {
  struct fi_info *hints = new_hints();
  hints->ep_attr->protocol = FI_PROTO_EFA;
  expect_nothing("protocol", hints);
  hints = new_hints();
  hints->ep_attr->protocol_version = 1000;
  expect_nothing("protocol_version", hints);
  hints = new_hints();
  hints->ep_attr->tx_ctx_cnt = 100000;
  expect_nothing("tx_ctx_cnt", hints);
  hints = new_hints();
  hints->ep_attr->rx_ctx_cnt = 100000;
  expect_nothing("rx_ctx_cnt", hints);
  hints = new_hints();
  hints->ep_attr->auth_key_size = 1 << 20;
  hints->ep_attr->auth_key = calloc(1, 1 << 20);
  expect_nothing("auth_key_size", hints);
}

CASE(unknown_enumeration_values) {
  struct fi_info *hints = new_hints();
  hints->domain_attr->threading = (enum fi_threading)99;
  expect_nothing("threading", hints);
  hints = new_hints();
  hints->domain_attr->data_progress = (enum fi_progress)99;
  expect_nothing("progress", hints);
  hints = new_hints();
  hints->domain_attr->resource_mgmt = (enum fi_resource_mgmt)99;
  expect_nothing("resource_mgmt", hints);
}

// ---- attributes: what is possible is granted ----------------------------------------------------------------------

CASE(possible_limits_are_granted) {
  struct fi_info *all = expect_something("own name", new_hints());
  struct fi_info *hints = new_hints();
  hints->tx_attr->inject_size = all->tx_attr->inject_size;
  hints->tx_attr->iov_limit = all->tx_attr->iov_limit;
  hints->tx_attr->rma_iov_limit = all->tx_attr->rma_iov_limit;
  hints->rx_attr->iov_limit = all->rx_attr->iov_limit;
  hints->ep_attr->max_msg_size = all->ep_attr->max_msg_size;
  hints->ep_attr->protocol = all->ep_attr->protocol;
  hints->ep_attr->protocol_version = all->ep_attr->protocol_version;
  hints->domain_attr->mr_key_size = all->domain_attr->mr_key_size;
  hints->domain_attr->cq_data_size = all->domain_attr->cq_data_size;
  hints->domain_attr->cq_cnt = all->domain_attr->cq_cnt;
  hints->domain_attr->ep_cnt = all->domain_attr->ep_cnt;
  struct fi_info *info = expect_something("the limits themselves", hints);
  assert_true(info->tx_attr->inject_size >= all->tx_attr->inject_size);
  assert_true(info->tx_attr->iov_limit >= all->tx_attr->iov_limit);
  assert_true(info->ep_attr->max_msg_size >= all->ep_attr->max_msg_size);
  assert_int_equal(info->ep_attr->protocol, all->ep_attr->protocol);
  fi_freeinfo(info);
  fi_freeinfo(all);
}

CASE(modest_requests_are_met) {
  struct fi_info *hints = new_hints();
  hints->tx_attr->size = 16;
  hints->rx_attr->size = 16;
  hints->tx_attr->inject_size = 8;
  hints->tx_attr->iov_limit = 2;
  hints->rx_attr->iov_limit = 2;
  hints->ep_attr->max_msg_size = 1 << 20;
  struct fi_info *info = expect_something("modest", hints);
  assert_true(info->tx_attr->size >= 16);
  assert_true(info->rx_attr->size >= 16);
  assert_true(info->tx_attr->inject_size >= 8);
  assert_true(info->tx_attr->iov_limit >= 2);
  assert_true(info->rx_attr->iov_limit >= 2);
  assert_true(info->ep_attr->max_msg_size >= 1 << 20);
  fi_freeinfo(info);
}

CASE(immediate_data_and_keys_have_eight_bytes) {
  struct fi_info *hints = new_hints();
  hints->domain_attr->cq_data_size = 8;
  hints->domain_attr->mr_key_size = 8;
  struct fi_info *info = expect_something("8 bytes", hints);
  assert_int_equal(info->domain_attr->cq_data_size, 8);
  assert_int_equal(info->domain_attr->mr_key_size, 8);
  fi_freeinfo(info);
}

CASE(send_after_send_order_is_granted) {
  struct fi_info *hints = new_hints();
  hints->caps = FI_MSG | FI_TAGGED;
  hints->tx_attr->msg_order = FI_ORDER_SAS;
  hints->rx_attr->msg_order = FI_ORDER_SAS;
  struct fi_info *info = expect_something("FI_ORDER_SAS", hints);
  assert_true(info->tx_attr->msg_order & FI_ORDER_SAS);
  assert_true(info->rx_attr->msg_order & FI_ORDER_SAS);
  fi_freeinfo(info);
}

CASE(threading_levels_are_granted) {
  static const enum fi_threading levels[] = {FI_THREAD_SAFE, FI_THREAD_DOMAIN, FI_THREAD_COMPLETION};
  for (size_t i = 0; i < 3; i++) {
    struct fi_info *hints = new_hints();
    hints->domain_attr->threading = levels[i];
    struct fi_info *info = expect_something("threading", hints);
    // a level that asks less of the application is as good
    assert_true(info->domain_attr->threading == levels[i] || info->domain_attr->threading == FI_THREAD_SAFE);
    fi_freeinfo(info);
  }
}

CASE(manual_progress_is_granted) {
  struct fi_info *hints = new_hints();
  hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
  struct fi_info *info = expect_something("manual", hints);
  assert_true(info->domain_attr->data_progress == FI_PROGRESS_MANUAL ||
              info->domain_attr->data_progress == FI_PROGRESS_AUTO);
  fi_freeinfo(info);
}

CASE(automatic_progress_is_granted) {
  struct fi_info *hints = new_hints();
  hints->domain_attr->control_progress = FI_PROGRESS_AUTO;
  hints->domain_attr->data_progress = FI_PROGRESS_AUTO;
  struct fi_info *info = expect_if_offered("FI_PROGRESS_AUTO", hints);
  assert_int_equal(info->domain_attr->data_progress, FI_PROGRESS_AUTO);
  fi_freeinfo(info);
}

CASE(resource_management_is_granted) {
  struct fi_info *hints = new_hints();
  hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
  struct fi_info *info = expect_something("FI_RM_ENABLED", hints);
  assert_int_equal(info->domain_attr->resource_mgmt, FI_RM_ENABLED);
  fi_freeinfo(info);
}

CASE(av_types_are_granted) {
  struct fi_info *hints = new_hints();
  hints->domain_attr->av_type = FI_AV_TABLE;
  struct fi_info *info = expect_something("FI_AV_TABLE", hints);
  assert_int_equal(info->domain_attr->av_type, FI_AV_TABLE);
  fi_freeinfo(info);
  hints = new_hints();
  hints->domain_attr->av_type = FI_AV_MAP;
  info = expect_something("FI_AV_MAP", hints);
  assert_int_equal(info->domain_attr->av_type, FI_AV_MAP);
  fi_freeinfo(info);
}

CASE(operation_flags_are_granted_and_returned) {
  static const uint64_t flags[] = {FI_INJECT, FI_COMPLETION, FI_INJECT_COMPLETE, FI_TRANSMIT_COMPLETE,
                                   FI_DELIVERY_COMPLETE, FI_COMPLETION | FI_DELIVERY_COMPLETE};
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
    struct fi_info *hints = new_hints();
    hints->tx_attr->op_flags = flags[i];
    struct fi_info *info = expect_something(fi_tostr(&flags[i], FI_TYPE_OP_FLAGS), hints);
    assert_int_equal(info->tx_attr->op_flags, flags[i]);
    fi_freeinfo(info);
  }
  struct fi_info *hints = new_hints();
  hints->rx_attr->op_flags = FI_COMPLETION;
  struct fi_info *info = expect_something("rx op_flags", hints);
  assert_int_equal(info->rx_attr->op_flags, FI_COMPLETION);
  fi_freeinfo(info);
}

CASE(tag_format_of_mpi_is_accepted) {
  struct fi_info *hints = new_hints();
  hints->ep_attr->mem_tag_format = UINT64_C(0x00c000007fffffff);
  fi_freeinfo(expect_something("mem_tag_format", hints));
}

// ---- node, service, flags -----------------------------------------------------------------------------------------

static void expect_ipv4(const void *address, const char *host, int port) {
  const struct sockaddr_in *in = address;
  assert_non_null(in);
  assert_int_equal(in->sin_family, AF_INET);
  char text[INET_ADDRSTRLEN];
  assert_non_null(inet_ntop(AF_INET, &in->sin_addr, text, sizeof text));
  assert_string_equal(text, host);
  if (port >= 0) assert_int_equal(ntohs(in->sin_port), port);
}

CASE(source_node_and_service) {
  struct fi_info *info = NULL;
  assert_success(query_full(DEFAULT_VERSION, LOOPBACK, "47592", FI_SOURCE, new_hints(), &info));
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    assert_int_equal(entry->addr_format, FI_SOCKADDR_IN);
    assert_int_equal(entry->src_addrlen, sizeof(struct sockaddr_in));
    expect_ipv4(entry->src_addr, LOOPBACK, 47592);
    assert_null(entry->dest_addr);
  }
  fi_freeinfo(info);
}

CASE(source_node_selects_its_domain) {
  struct fi_info *info = NULL;
  assert_success(query_full(DEFAULT_VERSION, LOOPBACK, NULL, FI_SOURCE, new_hints(), &info));
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    expect_ipv4(entry->src_addr, LOOPBACK, -1);
    assert_string_equal(entry->domain_attr->name, "lo");
  }
  fi_freeinfo(info);
}

CASE(source_service_alone) {
  struct fi_info *info = NULL;
  assert_success(query_full(DEFAULT_VERSION, NULL, "47593", FI_SOURCE, new_hints(), &info));
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    assert_non_null(entry->src_addr);
    const struct sockaddr_in *in = entry->src_addr;  // the port is at the same place in both families
    assert_int_equal(ntohs(in->sin_port), 47593);
  }
  fi_freeinfo(info);
}

CASE(destination_node_and_service) {
  struct fi_info *info = NULL;
  assert_success(query_full(DEFAULT_VERSION, LOOPBACK, "47594", 0, new_hints(), &info));
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    assert_int_equal(entry->addr_format, FI_SOCKADDR_IN);
    assert_int_equal(entry->dest_addrlen, sizeof(struct sockaddr_in));
    expect_ipv4(entry->dest_addr, LOOPBACK, 47594);
  }
  fi_freeinfo(info);
}

CASE(destination_is_resolved_by_name) {
  struct fi_info *info = NULL;
  struct fi_info *hints = new_hints();
  hints->addr_format = FI_SOCKADDR_IN;
  assert_success(query_full(DEFAULT_VERSION, "localhost", "47595", 0, hints, &info));
  expect_ipv4(info->dest_addr, LOOPBACK, 47595);
  fi_freeinfo(info);
}

CASE(numeric_host_flag) {
  struct fi_info *info = NULL;
  assert_success(query_full(DEFAULT_VERSION, LOOPBACK, "47596", FI_NUMERICHOST, new_hints(), &info));
  expect_ipv4(info->dest_addr, LOOPBACK, 47596);
  fi_freeinfo(info);
  assert_returns(query_full(DEFAULT_VERSION, "localhost", "47596", FI_NUMERICHOST, new_hints(), &info), -FI_ENODATA);
}

// Either nothing is found, or what is found cannot be opened.
CASE(source_that_is_not_ours) {
  struct fi_info *info = NULL;
  int result = query_full(DEFAULT_VERSION, "203.0.113.77", "47597", FI_SOURCE | FI_NUMERICHOST, new_hints(), &info);
  if (result == -FI_ENODATA) return;
  assert_success(result);
  struct node node = {.info = info};
  result = fi_fabric(info->fabric_attr, &node.fabric, NULL);
  if (result == 0) result = fi_domain(node.fabric, info, &node.domain, NULL);
  if (result == 0) result = fi_endpoint(node.domain, info, &node.ep, NULL);
  if (result == 0) {
    node.av = av_open(&node, FI_AV_UNSPEC);
    node.tx_cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
    assert_success(fi_ep_bind(node.ep, &node.av->fid, 0));
    assert_success(fi_ep_bind(node.ep, &node.tx_cq->fid, FI_TRANSMIT | FI_RECV));
    result = fi_enable(node.ep);
  }
  assert_true(result < 0);
  node_close(&node);
}

CASE(source_without_node_and_service) {
  struct fi_info *info = NULL;
  assert_fails(query_full(DEFAULT_VERSION, NULL, NULL, FI_SOURCE, new_hints(), &info));
}

CASE(source_address_in_hints) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(47598)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  struct fi_info *hints = new_hints();
  hints->addr_format = FI_SOCKADDR_IN;
  hints->src_addrlen = sizeof address;
  hints->src_addr = malloc(sizeof address);
  memcpy(hints->src_addr, &address, sizeof address);
  struct fi_info *info = expect_something("src_addr", hints);
  for (struct fi_info *entry = info; entry; entry = entry->next) expect_ipv4(entry->src_addr, LOOPBACK, 47598);
  fi_freeinfo(info);
}

CASE(destination_address_in_hints) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(47599)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  struct fi_info *hints = new_hints();
  hints->addr_format = FI_SOCKADDR_IN;
  hints->dest_addrlen = sizeof address;
  hints->dest_addr = malloc(sizeof address);
  memcpy(hints->dest_addr, &address, sizeof address);
  struct fi_info *info = expect_something("dest_addr", hints);
  expect_ipv4(info->dest_addr, LOOPBACK, 47599);
  fi_freeinfo(info);
}

CASE(source_flag_keeps_destination_of_hints) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(47600)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  struct fi_info *hints = new_hints();
  hints->addr_format = FI_SOCKADDR_IN;
  hints->dest_addrlen = sizeof address;
  hints->dest_addr = malloc(sizeof address);
  memcpy(hints->dest_addr, &address, sizeof address);
  struct fi_info *info = NULL;
  assert_success(query_full(DEFAULT_VERSION, LOOPBACK, "47601", FI_SOURCE, hints, &info));
  expect_ipv4(info->src_addr, LOOPBACK, 47601);
  expect_ipv4(info->dest_addr, LOOPBACK, 47600);
  fi_freeinfo(info);
}

CASE(ipv6_node_and_service) {
  if (!have_ipv6()) environment_lacks("no IPv6 loopback");
  struct fi_info *info = NULL;
  assert_success(query_full(DEFAULT_VERSION, "::1", "47603", FI_SOURCE, new_hints(), &info));
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    assert_int_equal(entry->addr_format, FI_SOCKADDR_IN6);
    const struct sockaddr_in6 *address = entry->src_addr;
    assert_int_equal(address->sin6_family, AF_INET6);
    assert_true(IN6_IS_ADDR_LOOPBACK(&address->sin6_addr));
    assert_int_equal(ntohs(address->sin6_port), 47603);
  }
  fi_freeinfo(info);
}

CASE(node_of_the_other_family_than_the_hints) {
  struct fi_info *info = NULL;
  struct fi_info *hints = new_hints();
  hints->addr_format = FI_SOCKADDR_IN6;
  int result = query_full(DEFAULT_VERSION, LOOPBACK, "47604", FI_SOURCE | FI_NUMERICHOST, hints, &info);
  if (result == -FI_ENODATA) return;
  assert_success(result);
  for (struct fi_info *entry = info; entry; entry = entry->next) assert_int_equal(entry->addr_format, FI_SOCKADDR_IN6);
  fi_freeinfo(info);
}

CASE(bad_service_name) {
  struct fi_info *info = NULL;
  assert_returns(query_full(DEFAULT_VERSION, LOOPBACK, "no-such-service", FI_SOURCE, new_hints(), &info), -FI_ENODATA);
}

// ---- FI_PROVIDER --------------------------------------------------------------------------------------------------

struct filter {
  const char *value;   // of FI_PROVIDER
  bool named;          // ask for the provider by name
  bool expected;
};

static int apply_filter(void *argument) {
  const struct filter *filter = argument;
  setenv("FI_PROVIDER", filter->value, 1);
  struct fi_info *hints = fi_allocinfo();
  if (filter->named) hints->fabric_attr->prov_name = strdup(provider_name());
  hints->ep_attr->type = FI_EP_RDM;
  struct fi_info *info = NULL;
  int result = fi_getinfo(DEFAULT_VERSION, NULL, NULL, 0, hints, &info);
  bool found = false;
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    if (strcmp(entry->fabric_attr->prov_name, provider_name()) == 0) found = true;
  }
  fi_freeinfo(hints);
  fi_freeinfo(info);
  if (result != 0 && result != -FI_ENODATA) return 3;
  return found;
}

static void expect_filtered(bool named, bool expected, const char *format) {
  char value[256];
  snprintf(value, sizeof value, format, provider_name());
  struct filter filter = {value, named, expected};
  int found = run_in_child(apply_filter, &filter, DEFAULT_WAIT);
  if (found != expected) failed("FI_PROVIDER=\"%s\": status %d, expected %d", value, found, expected);
}

CASE(environment_selects_the_provider) {
  expect_filtered(false, true, "%s");
  expect_filtered(true, true, "%s");
  expect_filtered(true, true, "%s,");
  expect_filtered(true, true, "nobody,%s");
}

CASE(environment_selects_another_provider) {
  expect_filtered(true, false, "nobody");
  expect_filtered(false, false, "nobody");
}

CASE(environment_set_but_empty_hides_all) {
  expect_filtered(true, false, "");
  expect_filtered(false, false, "");
}

CASE(environment_excludes_the_provider) {
  expect_filtered(true, false, "^%s");
  expect_filtered(true, false, "^nobody,%s");
  expect_filtered(true, true, "^nobody");
  expect_filtered(true, true, "^");
}

CASE(environment_blanks_are_not_trimmed) { expect_filtered(true, false, " %s"); }

CASE(environment_ignores_case) {
  char name[128] = "";
  for (size_t i = 0; provider_name()[i] && i < sizeof name - 1; i++) {
    char c = provider_name()[i];
    name[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
  }
  struct filter filter = {name, true, true};
  assert_int_equal(run_in_child(apply_filter, &filter, DEFAULT_WAIT), 1);
}

static int only_named_entries(void *argument) {
  (void)argument;
  setenv("FI_PROVIDER", provider_name(), 1);
  struct fi_info *info = NULL;
  if (fi_getinfo(DEFAULT_VERSION, NULL, NULL, 0, NULL, &info) != 0) return 2;
  int status = 0;
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    if (strcmp(entry->fabric_attr->prov_name, provider_name()) != 0) status = 1;
  }
  fi_freeinfo(info);
  return status;
}

CASE(environment_restricts_calls_without_hints) {
  assert_int_equal(run_in_child(only_named_entries, NULL, DEFAULT_WAIT), 0);
}
