// Address vectors. Man page: fi_av(3).
#include "fixture.h"

#include <dlfcn.h>

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

// ---- identifiers of the program's ---------------------------------------------------------------------------------

// Calls that came after the headers these programs are compiled with.
typedef int set_user_id_call(struct fid_av *av, fi_addr_t entry, fi_addr_t identifier, uint64_t flags);

static set_user_id_call *set_user_id(void) {
  void *call = dlsym(RTLD_DEFAULT, "fi_av_set_user_id");
  if (!call) unsupported("no symbol fi_av_set_user_id");
  return (set_user_id_call *)call;
}

static const struct setup with_identifiers = {.caps = FI_MSG | FI_TAGGED | FI_SOURCE | FI_AV_USER_ID};

// Sends one message to a, and checks whom a names as its source.
static void expect_source(struct pair *pair, fi_addr_t expected) {
  char received[8], sent[8] = "message";
  post(fi_recv(pair->a.ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, received));
  post(fi_send(pair->b.ep, sent, sizeof sent, NULL, pair->to_a, sent));
  wait_for(pair->b.tx_cq, sent);
  struct fi_cq_tagged_entry entry;
  fi_addr_t source = 77;
  wait_until(fi_cq_readfrom(pair->a.rx_cq, &entry, 1, &source) == 1);
  assert_ptr_equal(entry.op_context, received);
  if (source != expected) failed("the source is %" PRIx64 ", not %" PRIx64, source, expected);
}

CASE(insertion_brings_identifiers) {
  struct pair pair;
  pair_open(&pair, &with_identifiers);
  expect_source(&pair, pair.to_b);
  // Known already: the second insertion only names it.
  fi_addr_t identifier = 0xABCDEF0123456789;
  assert_returns(fi_av_insert(pair.a.av, pair.b.address, 1, &identifier, FI_AV_USER_ID, NULL), 1);
  assert_true(identifier == pair.to_b);
  expect_source(&pair, 0xABCDEF0123456789);
  // Where messages go to has no part in it.
  char received[8], sent[8] = "answer";
  post(fi_recv(pair.b.ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, received));
  post(fi_send(pair.a.ep, sent, sizeof sent, NULL, pair.to_b, sent));
  wait_for(pair.b.rx_cq, received);
  wait_for(pair.a.tx_cq, sent);
  assert_returns(fi_av_insert(pair.a.av, pair.b.address, 1, NULL, FI_AV_USER_ID, NULL), -FI_EINVAL);
  pair_close(&pair);
}

CASE(identifiers_are_set_later) {
  set_user_id_call *set = set_user_id();
  struct pair pair;
  pair_open(&pair, &with_identifiers);
  assert_returns(set(pair.a.av, pair.to_b, 5, 0), -FI_EINVAL);  // the vector was not opened for that
  close_fid(pair.a.ep);
  pair.a.ep = NULL;
  close_fid(pair.a.av);
  struct fi_av_attr attributes = {.type = FI_AV_TABLE, .flags = FI_AV_USER_ID};
  assert_success(fi_av_open(pair.a.domain, &attributes, &pair.a.av, NULL));
  assert_success(fi_endpoint(pair.a.domain, pair.a.info, &pair.a.ep, NULL));
  assert_success(fi_ep_bind(pair.a.ep, &pair.a.av->fid, 0));
  assert_success(fi_ep_bind(pair.a.ep, &pair.a.tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(pair.a.ep, &pair.a.rx_cq->fid, FI_RECV));
  assert_success(fi_enable(pair.a.ep));
  pair.a.address_length = sizeof pair.a.address;
  assert_success(fi_getname(&pair.a.ep->fid, pair.a.address, &pair.a.address_length));
  pair.to_b = node_insert(&pair.a, pair.b.address);
  pair.to_a = node_insert(&pair.b, pair.a.address);
  expect_source(&pair, FI_ADDR_NOTAVAIL);
  assert_success(set(pair.a.av, pair.to_b, 0x1122334455667788, 0));
  expect_source(&pair, 0x1122334455667788);
  assert_success(set(pair.a.av, pair.to_b, 9, 0));
  expect_source(&pair, 9);
  assert_returns(set(pair.a.av, pair.to_b + 50, 9, 0), -FI_EINVAL);
  fi_addr_t identifier = 3;
  assert_returns(fi_av_insert(pair.a.av, pair.b.address, 1, &identifier, FI_AV_USER_ID, NULL), -FI_EBADFLAGS);
  // Forgotten with the address.
  assert_success(fi_av_remove(pair.a.av, &pair.to_b, 1, 0));
  pair.to_b = node_insert(&pair.a, pair.b.address);
  expect_source(&pair, FI_ADDR_NOTAVAIL);
  pair_close(&pair);
}

// ---- vectors that processes share ---------------------------------------------------------------------------------

static const struct setup with_sharing = {.caps = FI_MSG | FI_TAGGED | FI_SHARED_AV, .av_type = FI_AV_TABLE};

static void open_named(struct node *node, const char *name, uint64_t flags) {
  struct fi_av_attr attributes = {.type = FI_AV_TABLE, .count = 64, .name = name, .flags = flags};
  node->av = NULL;
  assert_offered(fi_av_open(node->domain, &attributes, &node->av, NULL));
  assert_non_null(attributes.map_addr);
}

static void bind_endpoint(struct node *node) {
  node->tx_cq = cq_open(node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 64);
  node->rx_cq = cq_open(node, FI_CQ_FORMAT_TAGGED, FI_WAIT_NONE, 64);
  assert_success(fi_endpoint(node->domain, node->info, &node->ep, NULL));
  assert_success(fi_ep_bind(node->ep, &node->av->fid, 0));
  assert_success(fi_ep_bind(node->ep, &node->tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(node->ep, &node->rx_cq->fid, FI_RECV));
  assert_success(fi_enable(node->ep));
  watch_cq(node->tx_cq);
  watch_cq(node->rx_cq);
  node->address_length = sizeof node->address;
  assert_success(fi_getname(&node->ep->fid, node->address, &node->address_length));
}

static void share(struct team *team) {
  char name[64];
  snprintf(name, sizeof name, "conformance/%d", (int)getppid() + (team->rank ? 0 : (int)getpid() - (int)getppid()));
  struct node node;
  node_open_domain(&node, &with_sharing);
  if (team->rank == 0) open_named(&node, name, 0);
  team_barrier(team);
  if (team->rank == 1) open_named(&node, name, FI_READ);
  bind_endpoint(&node);
  struct sockaddr_in others[3] = {ipv4("127.0.0.1", 6001), ipv4("127.0.0.1", 6002), ipv4("127.0.0.1", 6003)};
  fi_addr_t entries[3] = {77, 77, 77}, to_first = 77;
  if (team->rank == 0) {
    assert_returns(fi_av_insert(node.av, node.address, 1, &to_first, 0, NULL), 1);
    assert_returns(fi_av_insert(node.av, others, 2, entries, 0, NULL), 2);
    assert_true(to_first == 0 && entries[0] == 1 && entries[1] == 2);
  }
  team_barrier(team);
  if (team->rank == 1) {  // sees them without having inserted any, and can insert none
    expect_entry(node.av, 1, &others[0]);
    expect_entry(node.av, 2, &others[1]);
    struct sockaddr_in none;
    size_t length = sizeof none;
    assert_returns(fi_av_lookup(node.av, 3, &none, &length), -FI_EINVAL);
    assert_returns(fi_av_insert(node.av, &others[1], 1, entries, 0, NULL), 1);
    assert_true(entries[0] == 2);
    assert_returns(fi_av_insert(node.av, &others[2], 1, entries, 0, NULL), 0);
    assert_true(entries[0] == FI_ADDR_NOTAVAIL);
    entries[0] = 1;
    assert_fails(fi_av_remove(node.av, entries, 1, 0));
    char sent[8] = "shared";
    post(fi_send(node.ep, sent, sizeof sent, NULL, 0, sent));
    wait_for(node.tx_cq, sent);
  } else {
    char received[8] = "";
    post(fi_recv(node.ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, received));
    wait_for(node.rx_cq, received);
    assert_string_equal(received, "shared");
  }
  team_barrier(team);
  if (team->rank == 0) {  // the place of a removed address is given out again
    assert_success(fi_av_remove(node.av, &entries[0], 1, 0));
    assert_returns(fi_av_insert(node.av, &others[2], 1, entries, 0, NULL), 1);
    assert_true(entries[0] == 1);
  }
  team_barrier(team);
  if (team->rank == 1) {
    expect_entry(node.av, 1, &others[2]);
    expect_entry(node.av, 2, &others[1]);
  }
  team_barrier(team);
  node_close(&node);
  team_barrier(team);
  if (team->rank == 0) {  // gone with its creator
    node_open_domain(&node, &with_sharing);
    struct fi_av_attr attributes = {.type = FI_AV_TABLE, .count = 64, .name = name, .flags = FI_READ};
    assert_returns(fi_av_open(node.domain, &attributes, &node.av, NULL), -FI_ENOENT);
    node.av = NULL;
    node_close(&node);
  }
}

CASE(shared_between_processes) {
  fi_freeinfo(find_info(&with_sharing));
  team_run(2, share);
}

static void insert_together(struct team *team) {
  enum { each = 500 };
  char name[64];
  snprintf(name, sizeof name, "together-%d", (int)getppid() + (team->rank ? 0 : (int)getpid() - (int)getppid()));
  struct node node;
  node_open_domain(&node, &with_sharing);
  if (team->rank == 0) open_named(&node, name, 0);
  team_barrier(team);
  if (team->rank != 0) open_named(&node, name, 0);
  team_barrier(team);
  fi_addr_t entries[each];
  for (int i = 0; i < each; i++) {
    struct sockaddr_in address = ipv4("127.0.0.1", 1000 + i * 4 + team->rank);
    assert_returns(fi_av_insert(node.av, &address, 1, &entries[i], 0, NULL), 1);
    *team_word(team, team->rank, 0) = i;
  }
  team_barrier(team);
  for (int i = 0; i < each; i++) {
    struct sockaddr_in address = ipv4("127.0.0.1", 1000 + i * 4 + team->rank);
    expect_entry(node.av, entries[i], &address);
    // Every process has it under the same number.
    struct sockaddr_in other = ipv4("127.0.0.1", 1000 + i * 4 + (team->rank + 1) % team->size);
    fi_addr_t entry = 77;
    assert_returns(fi_av_insert(node.av, &other, 1, &entry, 0, NULL), 1);
    assert_true(entry < (fi_addr_t)each * team->size);
    expect_entry(node.av, entry, &other);
  }
  team_barrier(team);
  node_close(&node);
}

CASE(shared_by_several_that_insert) {
  if (strcmp(provider_name(), "sockets") == 0) unsupported("the second to open the vector empties it");
  fi_freeinfo(find_info(&with_sharing));
  team_run(3, insert_together);
}

CASE(shared_vectors_must_exist_to_be_read) {
  struct node node;
  node_open_domain(&node, &with_sharing);
  struct fi_av_attr attributes = {.type = FI_AV_TABLE, .name = "conformance-none", .flags = FI_READ};
  assert_fails(fi_av_open(node.domain, &attributes, &node.av, NULL));
  attributes.name = NULL;
  assert_returns(fi_av_open(node.domain, &attributes, &node.av, NULL), -FI_EINVAL);
  node.av = NULL;
  node_close(&node);
}

// ---- authorization keys -------------------------------------------------------------------------------------------

static void exchange(struct pair *pair) {
  char received[8] = "", sent[8] = "allowed";
  post(fi_recv(pair->b.ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, received));
  post(fi_send(pair->a.ep, sent, sizeof sent, NULL, pair->to_b, sent));
  wait_for(pair->b.rx_cq, received);
  wait_for(pair->a.tx_cq, sent);
  assert_string_equal(received, sent);
}

CASE(endpoints_with_one_key_talk) {
  struct pair pair;
  pair_open(&pair, &(struct setup){.endpoint_key = "job 17"});
  assert_int_equal(pair.a.info->ep_attr->auth_key_size, 6);
  assert_memory_equal(pair.a.info->ep_attr->auth_key, "job 17", 6);
  exchange(&pair);
  pair_close(&pair);
  // The domain's key is that of endpoints without one.
  pair_open(&pair, &(struct setup){.domain_key = "domain"});
  exchange(&pair);
  pair_close(&pair);
  node_open(&pair.a, &(struct setup){.domain_key = "same"});
  node_open(&pair.b, &(struct setup){.domain_key = "other", .endpoint_key = "same"});
  pair.to_b = node_insert(&pair.a, pair.b.address);
  exchange(&pair);
  pair_close(&pair);
}

static void expect_refusal(const struct setup *one, const struct setup *other) {
  struct pair pair;
  node_open(&pair.a, one);
  node_open(&pair.b, other);
  pair.to_b = node_insert(&pair.a, pair.b.address);
  pair.to_a = node_insert(&pair.b, pair.a.address);
  char received[8] = "", sent[8] = "secret";
  post(fi_recv(pair.b.ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, received));
  post(fi_send(pair.a.ep, sent, sizeof sent, NULL, pair.to_b, sent));
  struct fi_cq_err_entry error;
  wait_error(pair.a.tx_cq, &error);
  assert_ptr_equal(error.op_context, sent);
  assert_int_equal(error.err, FI_EACCES);
  expect_quiet(pair.b.rx_cq, 50);
  // Nor the other way.
  post(fi_send(pair.b.ep, sent, sizeof sent, NULL, pair.to_a, sent));
  wait_error(pair.b.tx_cq, &error);
  assert_int_equal(error.err, FI_EACCES);
  pair_close(&pair);
}

CASE(endpoints_with_different_keys_do_not) {
  expect_refusal(&(struct setup){.endpoint_key = "job 17"}, &(struct setup){.endpoint_key = "job 18"});
  expect_refusal(&(struct setup){.endpoint_key = "job 17"}, &(struct setup){0});
  expect_refusal(&(struct setup){0}, &(struct setup){.domain_key = "job 17"});
}
