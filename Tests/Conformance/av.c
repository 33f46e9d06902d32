// Address vectors. Man page: fi_av(3).
#include "fixture.h"

static struct sockaddr_in ipv4(const char *host, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  assert_int_equal(inet_pton(AF_INET, host, &address.sin_addr), 1);
  return address;
}

static void open_with_av(struct node *node, enum fi_av_type type) {
  node_open_domain(node, &(struct setup){.av_type = type});
  node->av = av_open(node, type);
}

static void expect_entry(struct fid_av *av, fi_addr_t entry, const struct sockaddr_in *expected) {
  struct sockaddr_in found = {0};
  size_t length = sizeof found;
  assert_success(fi_av_lookup(av, entry, &found, &length));
  assert_int_equal(length, sizeof found);
  assert_int_equal(found.sin_family, AF_INET);
  assert_int_equal(found.sin_port, expected->sin_port);
  assert_int_equal(found.sin_addr.s_addr, expected->sin_addr.s_addr);
}

// ---- opening ------------------------------------------------------------------------------------------------------

CASE(open_writes_the_chosen_type) {
  struct node node;
  node_open_domain(&node, NULL);
  for (int type = FI_AV_UNSPEC; type <= FI_AV_TABLE; type++) {
    struct fi_av_attr attributes = {.type = (enum fi_av_type)type};
    struct fid_av *av = NULL;
    int context;
    assert_success(fi_av_open(node.domain, &attributes, &av, &context));
    assert_int_equal(av->fid.fclass, FI_CLASS_AV);
    assert_ptr_equal(av->fid.context, &context);
    assert_true(attributes.type == FI_AV_MAP || attributes.type == FI_AV_TABLE);
    if (type == FI_AV_TABLE) assert_int_equal(attributes.type, FI_AV_TABLE);
    close_fid(av);
  }
  node_close(&node);
}

CASE(open_with_missing_attributes) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_av *av = NULL;
  assert_returns(fi_av_open(node.domain, NULL, &av, NULL), -FI_EINVAL);
  node_close(&node);
}

CASE(open_with_unknown_type_or_flags) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_av *av = NULL;
  struct fi_av_attr attributes = {.type = (enum fi_av_type)55};
  assert_returns(fi_av_open(node.domain, &attributes, &av, NULL), -FI_EINVAL);
  attributes = (struct fi_av_attr){.type = FI_AV_TABLE, .flags = FI_MULTICAST};
  assert_fails(fi_av_open(node.domain, &attributes, &av, NULL));
  node_close(&node);
}

CASE(open_many_vectors) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_av *vectors[50];
  for (int i = 0; i < 50; i++) vectors[i] = av_open(&node, i % 2 ? FI_AV_TABLE : FI_AV_MAP);
  for (int i = 0; i < 50; i++) close_fid(vectors[i]);
  node_close(&node);
}

// ---- inserting ----------------------------------------------------------------------------------------------------

CASE(table_numbers_entries_from_zero) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in addresses[5];
  for (int i = 0; i < 5; i++) addresses[i] = ipv4("127.0.0.1", 5000 + i);
  fi_addr_t entries[5];
  assert_returns(fi_av_insert(node.av, addresses, 3, entries, 0, NULL), 3);
  assert_returns(fi_av_insert(node.av, addresses + 3, 2, entries + 3, 0, NULL), 2);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(entries[i], i);
    expect_entry(node.av, entries[i], &addresses[i]);
  }
  node_close(&node);
}

CASE(table_needs_no_result_array) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in addresses[3];
  for (int i = 0; i < 3; i++) addresses[i] = ipv4("127.0.0.1", 5100 + i);
  assert_returns(fi_av_insert(node.av, addresses, 3, NULL, 0, NULL), 3);
  for (int i = 0; i < 3; i++) expect_entry(node.av, (fi_addr_t)i, &addresses[i]);
  node_close(&node);
}

CASE(map_returns_usable_entries) {
  struct node node;
  open_with_av(&node, FI_AV_MAP);
  struct sockaddr_in addresses[4];
  fi_addr_t entries[4];
  for (int i = 0; i < 4; i++) addresses[i] = ipv4("127.0.0.1", 5200 + i);
  assert_returns(fi_av_insert(node.av, addresses, 4, entries, 0, NULL), 4);
  for (int i = 0; i < 4; i++) {
    assert_true(entries[i] != FI_ADDR_NOTAVAIL);
    expect_entry(node.av, entries[i], &addresses[i]);
    for (int j = 0; j < i; j++) assert_true(entries[i] != entries[j]);
  }
  node_close(&node);
}

CASE(insert_nothing) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in address = ipv4("127.0.0.1", 5300);
  fi_addr_t entry = 77;
  assert_returns(fi_av_insert(node.av, &address, 0, &entry, 0, NULL), 0);
  assert_int_equal(entry, 77);
  assert_returns(fi_av_insert(node.av, &address, 1, &entry, 0, NULL), 1);
  assert_int_equal(entry, 0);
  node_close(&node);
}

CASE(insert_many_beyond_the_expected_count) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fi_av_attr attributes = {.type = FI_AV_TABLE, .count = 8};
  assert_success(fi_av_open(node.domain, &attributes, &node.av, NULL));
  enum { count = 2000 };
  static struct sockaddr_in addresses[count];
  static fi_addr_t entries[count];
  for (int i = 0; i < count; i++) {
    addresses[i] = ipv4("10.0.0.0", 1000 + i % 50);
    addresses[i].sin_addr.s_addr = htonl(0x0a000001u + (unsigned)i / 50);
  }
  assert_returns(fi_av_insert(node.av, addresses, count, entries, 0, NULL), count);
  for (int i = 0; i < count; i++) {
    assert_int_equal(entries[i], i);
    expect_entry(node.av, entries[i], &addresses[i]);
  }
  node_close(&node);
}

CASE(insert_with_more_flag) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in addresses[2] = {ipv4("127.0.0.1", 5400), ipv4("127.0.0.1", 5401)};
  fi_addr_t entries[2];
  assert_returns(fi_av_insert(node.av, &addresses[0], 1, &entries[0], FI_MORE, NULL), 1);
  assert_returns(fi_av_insert(node.av, &addresses[1], 1, &entries[1], 0, NULL), 1);
  expect_entry(node.av, entries[0], &addresses[0]);
  expect_entry(node.av, entries[1], &addresses[1]);
  node_close(&node);
}

CASE(insert_of_a_wrong_family) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in address = ipv4("127.0.0.1", 5500);
  address.sin_family = 999;
  fi_addr_t entry = 77;
  int result = fi_av_insert(node.av, &address, 1, &entry, 0, NULL);
  assert_true(result <= 0);
  assert_true(entry == FI_ADDR_NOTAVAIL);
  node_close(&node);
}

CASE(insert_reports_each_failure) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in addresses[3] = {ipv4("127.0.0.1", 5600), ipv4("127.0.0.1", 5601), ipv4("127.0.0.1", 5602)};
  addresses[1].sin_family = 999;
  fi_addr_t entries[3] = {77, 77, 77};
  int status[3] = {-1, -1, -1};
  assert_returns(fi_av_insert(node.av, addresses, 3, entries, FI_SYNC_ERR, status), 2);
  assert_int_equal(status[0], 0);
  assert_true(status[1] != 0 && status[1] != -1);
  assert_int_equal(status[2], 0);
  assert_true(entries[1] == FI_ADDR_NOTAVAIL);
  expect_entry(node.av, entries[0], &addresses[0]);
  expect_entry(node.av, entries[2], &addresses[2]);
  node_close(&node);
}

CASE(insert_service) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  fi_addr_t entry = 77;
  assert_returns(fi_av_insertsvc(node.av, "127.0.0.1", "5700", &entry, 0, NULL), 1);
  struct sockaddr_in expected = ipv4("127.0.0.1", 5700);
  expect_entry(node.av, entry, &expected);
  node_close(&node);
}

CASE(insert_service_of_a_name) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  fi_addr_t entry = 77;
  assert_returns(fi_av_insertsvc(node.av, "localhost", "5701", &entry, 0, NULL), 1);
  struct sockaddr_in expected = ipv4("127.0.0.1", 5701);
  expect_entry(node.av, entry, &expected);
  node_close(&node);
}

CASE(insert_service_with_missing_or_bad_parts) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  fi_addr_t entry = 77;
  assert_fails(fi_av_insertsvc(node.av, NULL, NULL, &entry, 0, NULL));
  int result = fi_av_insertsvc(node.av, "127.0.0.1", "no-such-service", &entry, 0, NULL);
  assert_true(result <= 0);
  node_close(&node);
}

CASE(insert_symmetric_services) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  fi_addr_t entries[3];
  assert_returns(fi_av_insertsym(node.av, "127.0.0.1", 1, "5800", 3, entries, 0, NULL), 3);
  for (int i = 0; i < 3; i++) {
    struct sockaddr_in expected = ipv4("127.0.0.1", 5800 + i);
    expect_entry(node.av, entries[i], &expected);
  }
  node_close(&node);
}

CASE(insert_symmetric_nodes_and_services) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  fi_addr_t entries[4];
  assert_returns(fi_av_insertsym(node.av, "10.1.1.1", 2, "5000", 2, entries, 0, NULL), 4);
  static const char *const hosts[] = {"10.1.1.1", "10.1.1.1", "10.1.1.2", "10.1.1.2"};
  for (int i = 0; i < 4; i++) {
    struct sockaddr_in expected = ipv4(hosts[i], 5000 + i % 2);
    expect_entry(node.av, entries[i], &expected);
  }
  node_close(&node);
}

// ---- lookup, straddr, remove --------------------------------------------------------------------------------------

CASE(lookup_truncates_and_tells_the_size) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in address = ipv4("127.0.0.1", 5900);
  fi_addr_t entry;
  assert_returns(fi_av_insert(node.av, &address, 1, &entry, 0, NULL), 1);
  unsigned char found[sizeof address];
  memset(found, 0xee, sizeof found);
  size_t length = 4;
  assert_success(fi_av_lookup(node.av, entry, found, &length));
  assert_int_equal(length, sizeof address);
  assert_memory_equal(found, &address, 4);
  verify_bytes(found + 4, sizeof found - 4, 0xee);
  node_close(&node);
}

CASE(lookup_of_unknown_entries) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in found;
  size_t length = sizeof found;
  assert_fails(fi_av_lookup(node.av, 3, &found, &length));
  length = sizeof found;
  assert_fails(fi_av_lookup(node.av, 1u << 20, &found, &length));
  node_close(&node);
}

CASE(straddr_prints_addresses) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in address = ipv4("127.0.0.1", 6000);
  char text[128];
  size_t length = sizeof text;
  assert_ptr_equal(fi_av_straddr(node.av, &address, text, &length), text);
  assert_string_equal(text, "fi_sockaddr_in://127.0.0.1:6000");
  assert_int_equal(length, strlen(text) + 1);
  node_close(&node);
}

CASE(straddr_truncates_and_tells_the_size) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in address = ipv4("127.0.0.1", 6000);
  char text[16];
  memset(text, 'x', sizeof text);
  size_t length = 10;
  fi_av_straddr(node.av, &address, text, &length);
  assert_int_equal(length, sizeof "fi_sockaddr_in://127.0.0.1:6000");
  assert_int_equal(strncmp(text, "fi_sockaddr_in", 9), 0);
  assert_int_equal(text[10], 'x');
  node_close(&node);
}

CASE(remove_frees_the_entry) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in addresses[3] = {ipv4("127.0.0.1", 6100), ipv4("127.0.0.1", 6101), ipv4("127.0.0.1", 6102)};
  fi_addr_t entries[3];
  assert_returns(fi_av_insert(node.av, addresses, 3, entries, 0, NULL), 3);
  assert_offered(fi_av_remove(node.av, &entries[1], 1, 0));
  struct sockaddr_in found;
  size_t length = sizeof found;
  assert_fails(fi_av_lookup(node.av, entries[1], &found, &length));
  expect_entry(node.av, entries[0], &addresses[0]);
  expect_entry(node.av, entries[2], &addresses[2]);
  node_close(&node);
}

CASE(removed_addresses_can_come_back) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in address = ipv4("127.0.0.1", 6200);
  for (int round = 0; round < 100; round++) {
    fi_addr_t entry;
    assert_returns(fi_av_insert(node.av, &address, 1, &entry, 0, NULL), 1);
    assert_int_equal(entry, 0);  // the lowest unused place
    expect_entry(node.av, entry, &address);
    assert_offered(fi_av_remove(node.av, &entry, 1, 0));
  }
  node_close(&node);
}

CASE(removal_of_several_entries) {
  struct node node;
  open_with_av(&node, FI_AV_MAP);
  struct sockaddr_in addresses[4];
  fi_addr_t entries[4];
  for (int i = 0; i < 4; i++) addresses[i] = ipv4("127.0.0.1", 6300 + i);
  assert_returns(fi_av_insert(node.av, addresses, 4, entries, 0, NULL), 4);
  assert_offered(fi_av_remove(node.av, entries, 4, 0));
  assert_returns(fi_av_insert(node.av, addresses, 4, entries, 0, NULL), 4);
  for (int i = 0; i < 4; i++) expect_entry(node.av, entries[i], &addresses[i]);
  node_close(&node);
}

CASE(removal_of_an_unknown_entry) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  fi_addr_t entry = 12345;
  assert_fails(fi_av_remove(node.av, &entry, 1, 0));
  node_close(&node);
}

CASE(removal_with_flags) {
  struct node node;
  open_with_av(&node, FI_AV_TABLE);
  struct sockaddr_in address = ipv4("127.0.0.1", 6400);
  fi_addr_t entry;
  assert_returns(fi_av_insert(node.av, &address, 1, &entry, 0, NULL), 1);
  assert_fails(fi_av_remove(node.av, &entry, 1, FI_MORE));
  expect_entry(node.av, entry, &address);
  node_close(&node);
}

// ---- IPv6 ---------------------------------------------------------------------------------------------------------

CASE(ipv6_addresses) {
  int probe = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  bool works = probe >= 0 && bind(probe, (struct sockaddr *)&address, sizeof address) == 0;
  if (probe >= 0) close(probe);
  if (!works) environment_lacks("no IPv6 loopback");
  address.sin6_port = htons(6500);
  struct node node;
  node_open_domain(&node, &(struct setup){.node = "::1"});
  node.av = av_open(&node, FI_AV_TABLE);
  fi_addr_t entry = node_insert(&node, &address);
  struct sockaddr_in6 found = {0};
  size_t length = sizeof found;
  assert_success(fi_av_lookup(node.av, entry, &found, &length));
  assert_int_equal(length, sizeof found);
  assert_memory_equal(&found.sin6_addr, &address.sin6_addr, sizeof found.sin6_addr);
  assert_int_equal(found.sin6_port, address.sin6_port);
  char text[128];
  length = sizeof text;
  fi_av_straddr(node.av, &address, text, &length);
  assert_string_equal(text, "fi_sockaddr_in6://[::1]:6500");
  node_close(&node);
}

// ---- asynchronous insertion ---------------------------------------------------------------------------------------

CASE(insertion_events) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fi_av_attr attributes = {.type = FI_AV_TABLE, .flags = FI_EVENT};
  assert_offered(fi_av_open(node.domain, &attributes, &node.av, NULL));
  struct sockaddr_in addresses[2] = {ipv4("127.0.0.1", 6600), ipv4("127.0.0.1", 6601)};
  fi_addr_t entries[2];
  int context;
  assert_returns(fi_av_insert(node.av, addresses, 2, entries, 0, &context), -FI_ENOEQ);
  struct fi_eq_attr queue_attributes = {.wait_obj = FI_WAIT_NONE};
  struct fid_eq *eq = NULL;
  assert_success(fi_eq_open(node.fabric, &queue_attributes, &eq, NULL));
  assert_success(fi_av_bind(node.av, &eq->fid, 0));
  assert_success(fi_av_insert(node.av, addresses, 2, entries, 0, &context));
  struct fi_eq_entry event = {0};
  uint32_t kind = 0;
  double deadline = deadline_after(DEFAULT_WAIT);
  ssize_t count;
  while ((count = fi_eq_read(eq, &kind, &event, sizeof event, 0)) == -FI_EAGAIN && seconds() < deadline) continue;
  assert_int_equal(count, sizeof event);
  assert_int_equal(kind, FI_AV_COMPLETE);
  assert_ptr_equal(event.fid, &node.av->fid);
  assert_ptr_equal(event.context, &context);
  assert_int_equal(event.data, 2);
  expect_entry(node.av, entries[1], &addresses[1]);
  close_fid(node.av);
  node.av = NULL;
  close_fid(eq);
  node_close(&node);
}

// ---- life ---------------------------------------------------------------------------------------------------------

CASE(vector_of_an_endpoint_is_busy) {
  struct node node;
  node_open(&node, NULL);
  assert_returns(fi_close(&node.av->fid), -FI_EBUSY);
  node_close(&node);
}

CASE(one_vector_for_two_endpoints) {
  struct node a;
  node_open(&a, NULL);
  struct fid_ep *second = NULL;
  assert_success(fi_endpoint(a.domain, a.info, &second, NULL));
  assert_success(fi_ep_bind(second, &a.av->fid, 0));
  assert_success(fi_ep_bind(second, &a.tx_cq->fid, FI_TRANSMIT | FI_RECV));
  assert_success(fi_enable(second));
  struct sockaddr_in name = {0};
  size_t length = sizeof name;
  assert_success(fi_getname(&second->fid, &name, &length));
  fi_addr_t to_second = node_insert(&a, &name);
  char out[32], in[32] = {0};
  fill(out, sizeof out, 1);
  int receive, send;
  post(fi_recv(second, in, sizeof in, NULL, FI_ADDR_UNSPEC, &receive));
  post(fi_send(a.ep, out, sizeof out, NULL, to_second, &send));
  bool received = false, sent = false;
  while (!received || !sent) {
    struct fi_cq_tagged_entry entry = {0};
    wait_completion(a.tx_cq, &entry);
    if (entry.op_context == &receive) received = true;
    if (entry.op_context == &send) sent = true;
  }
  verify(in, sizeof in, 1);
  close_fid(second);
  node_close(&a);
}
