// Connections: passive and connected endpoints. Man pages: fi_cm(3), fi_endpoint(3), fi_eq(3).
#include "fixture.h"

// What all upstream providers with connected endpoints offer.
static const struct setup connected = {.ep_type = FI_EP_MSG, .caps = FI_MSG};

// A listener, and a client whose endpoint is not connected yet.
static void sides_open(struct pair *pair, const struct setup *setup) {
  node_open_domain(&pair->a, setup);
  node_listen(&pair->a);
  node_open(&pair->b, setup);
}

static void request(struct pair *pair, const void *data, size_t length, struct connection_event *event) {
  assert_success(fi_connect(pair->b.ep, pair->a.address, data, length));
  wait_event(&pair->a, FI_CONNREQ, event);
  assert_ptr_equal(event->entry.fid, &pair->a.pep->fid);
  assert_non_null(event->entry.info);
}

static void accept_request(struct pair *pair, const struct setup *setup, const struct connection_event *event) {
  node_take_request(&pair->a, event);
  node_open_endpoint(&pair->a, setup);
  assert_success(fi_accept(pair->a.ep, NULL, 0));
}

static void expect_connected(struct node *node) {
  struct connection_event event;
  wait_event(node, FI_CONNECTED, &event);
  assert_ptr_equal(event.entry.fid, &node->ep->fid);
}

static void expect_shutdown(struct node *node) {
  struct connection_event event;
  wait_event(node, FI_SHUTDOWN, &event);
  assert_ptr_equal(event.entry.fid, &node->ep->fid);
}

// Accepts a request with an endpoint beside those of a listener that has others.
static void serve(struct node *server, const struct node *listener, const struct setup *setup,
                  const struct connection_event *event) {
  memset(server, 0, sizeof *server);
  server->info = event->entry.info;
  server->fabric = listener->fabric;
  server->domain = listener->domain;
  server->borrowed = true;
  node_open_endpoint(server, setup);
  assert_success(fi_accept(server->ep, NULL, 0));
  expect_connected(server);
}

static void exchange(struct node *from, struct node *to, size_t length, uint64_t seed) {
  uint8_t *sent = allocate(length), *received = allocate(length);
  fill(sent, length, seed);
  post(fi_recv(to->ep, received, length, NULL, FI_ADDR_UNSPEC, received));
  post(fi_send(from->ep, sent, length, NULL, FI_ADDR_UNSPEC, sent));
  wait_for(to->rx_cq, received);
  wait_for(from->tx_cq, sent);
  verify(received, length, seed);
  free(sent);
  free(received);
}

static uint16_t port_of(const void *address) {
  struct sockaddr_in ipv4;
  memcpy(&ipv4, address, sizeof ipv4);
  return ipv4.sin_family == AF_INET ? ntohs(ipv4.sin_port) : ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
}

// ---- passive endpoints --------------------------------------------------------------------------------------------

CASE(discovery_offers_connected_endpoints) {
  struct fi_info *info = find_info(&connected);
  assert_int_equal(info->ep_attr->type, FI_EP_MSG);
  assert_true(info->caps & FI_MSG);
  assert_non_null(info->src_addr);
  assert_int_equal(info->ep_attr->tx_ctx_cnt, 1);
  fi_freeinfo(info);
}

CASE(passive_endpoint_has_class_context_and_name) {
  struct node node;
  node_open_domain(&node, &connected);
  node_listen(&node);
  assert_int_equal(node.pep->fid.fclass, FI_CLASS_PEP);
  assert_ptr_equal(node.pep->fid.context, &node);
  assert_int_not_equal(port_of(node.address), 0);
  char small[4];
  size_t length = sizeof small;
  assert_returns(fi_getname(&node.pep->fid, small, &length), -FI_ETOOSMALL);
  assert_int_equal(length, node.address_length);
  node_close(&node);
}

CASE(passive_endpoint_of_another_type) {
  struct node node;
  node_open_domain(&node, &connected);
  node.info->ep_attr->type = FI_EP_RDM;
  struct fid_pep *pep = NULL;
  assert_fails(fi_passive_ep(node.fabric, node.info, &pep, NULL));
  node.info->ep_attr->type = FI_EP_MSG;
  node_close(&node);
}

CASE(listen_twice) {
  struct node node;
  node_open_domain(&node, &connected);
  node_listen(&node);
  assert_returns(fi_listen(node.pep), -FI_EINVAL);
  node_close(&node);
}

CASE(listen_without_an_event_queue) {
  struct node node;
  node_open_domain(&node, &connected);
  assert_success(fi_passive_ep(node.fabric, node.info, &node.pep, NULL));
  assert_fails(fi_listen(node.pep));
  node_close(&node);
}

CASE(setname_moves_a_passive_endpoint) {
  struct node node;
  node_open_domain(&node, &connected);
  node.eq = event_queue_open(&node, FI_WAIT_UNSPEC);
  assert_success(fi_passive_ep(node.fabric, node.info, &node.pep, NULL));
  struct sockaddr_in wanted = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_success(fi_setname(&node.pep->fid, &wanted, sizeof wanted));
  assert_success(fi_pep_bind(node.pep, &node.eq->fid, 0));
  assert_success(fi_listen(node.pep));
  struct sockaddr_in name = {0};
  size_t length = sizeof name;
  assert_success(fi_getname(&node.pep->fid, &name, &length));
  assert_int_not_equal(name.sin_port, 0);
  assert_int_equal(name.sin_addr.s_addr, wanted.sin_addr.s_addr);
  node_close(&node);
}

CASE(event_queue_stays_open_while_a_passive_endpoint_uses_it) {
  struct node node;
  node_open_domain(&node, &connected);
  node_listen(&node);
  assert_returns(fi_close(&node.eq->fid), -FI_EBUSY);
  node_close(&node);
}

CASE(data_size_of_passive_and_connected_endpoints) {
  struct pair pair;
  sides_open(&pair, &connected);
  size_t size = 0, length = sizeof size;
  assert_success(fi_getopt(&pair.a.pep->fid, FI_OPT_ENDPOINT, FI_OPT_CM_DATA_SIZE, &size, &length));
  assert_true(size >= 256);
  size = 0;
  assert_success(fi_getopt(&pair.b.ep->fid, FI_OPT_ENDPOINT, FI_OPT_CM_DATA_SIZE, &size, &length));
  assert_true(size >= 256);
  length = 1;
  assert_returns(fi_getopt(&pair.b.ep->fid, FI_OPT_ENDPOINT, FI_OPT_CM_DATA_SIZE, &size, &length), -FI_ETOOSMALL);
  assert_returns(fi_getopt(&pair.a.pep->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &size, &length),
                 -FI_ENOPROTOOPT);
  pair_close(&pair);
}

// ---- connecting ---------------------------------------------------------------------------------------------------

CASE(connect_accept_and_exchange) {
  struct pair pair;
  pair_open(&pair, &connected);
  exchange(&pair.a, &pair.b, 100, 1);
  exchange(&pair.b, &pair.a, 100, 2);
  exchange(&pair.a, &pair.b, 3 << 20, 3);
  exchange(&pair.b, &pair.a, 3 << 20, 4);
  pair_close(&pair);
}

CASE(connect_without_enabling) {
  struct pair pair;
  node_open_domain(&pair.a, &connected);
  node_listen(&pair.a);
  node_open_domain(&pair.b, &connected);
  pair.b.eq = event_queue_open(&pair.b, FI_WAIT_UNSPEC);
  pair.b.tx_cq = cq_open(&pair.b, FI_CQ_FORMAT_TAGGED, FI_WAIT_UNSPEC, 64);
  pair.b.rx_cq = cq_open(&pair.b, FI_CQ_FORMAT_TAGGED, FI_WAIT_UNSPEC, 64);
  watch_cq(pair.b.tx_cq);
  watch_cq(pair.b.rx_cq);
  assert_success(fi_endpoint(pair.b.domain, pair.b.info, &pair.b.ep, NULL));
  assert_success(fi_ep_bind(pair.b.ep, &pair.b.eq->fid, 0));
  assert_success(fi_ep_bind(pair.b.ep, &pair.b.tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(pair.b.ep, &pair.b.rx_cq->fid, FI_RECV));
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  accept_request(&pair, &connected, &event);
  expect_connected(&pair.a);
  expect_connected(&pair.b);
  exchange(&pair.a, &pair.b, 5000, 1);
  exchange(&pair.b, &pair.a, 5000, 2);
  pair_close(&pair);
}

CASE(data_of_request_and_acceptance) {
  struct pair pair;
  sides_open(&pair, &connected);
  uint8_t data[maximum_data];
  fill(data, sizeof data, 1);
  struct connection_event event;
  request(&pair, data, sizeof data, &event);
  assert_int_equal(event.data_length, sizeof data);
  verify(event.data, sizeof data, 1);
  node_take_request(&pair.a, &event);
  node_open_endpoint(&pair.a, &connected);
  fill(data, sizeof data, 2);
  assert_success(fi_accept(pair.a.ep, data, 100));
  wait_event(&pair.b, FI_CONNECTED, &event);
  assert_int_equal(event.data_length, 100);
  verify(event.data, 100, 2);
  expect_connected(&pair.a);
  pair_close(&pair);
}

CASE(longer_data_is_cut) {
  struct pair pair;
  sides_open(&pair, &connected);
  uint8_t data[maximum_data + 1];
  fill(data, sizeof data, 1);
  struct connection_event event;
  request(&pair, data, sizeof data, &event);
  assert_int_equal(event.data_length, maximum_data);
  verify(event.data, maximum_data, 1);
  fi_freeinfo(event.entry.info);
  pair_close(&pair);
}

CASE(request_names_both_sides) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  struct fi_info *info = event.entry.info;
  assert_int_equal(event.data_length, 0);
  assert_int_equal(info->ep_attr->type, FI_EP_MSG);
  assert_non_null(info->handle);
  assert_int_equal(info->handle->fclass, FI_CLASS_CONNREQ);
  assert_string_equal(info->fabric_attr->prov_name, pair.a.info->fabric_attr->prov_name);
  assert_non_null(info->src_addr);
  assert_non_null(info->dest_addr);
  size_t length = 128;
  char name[128];
  assert_success(fi_getname(&pair.b.ep->fid, name, &length));
  assert_int_equal(port_of(info->dest_addr), port_of(name));
  accept_request(&pair, &connected, &event);
  expect_connected(&pair.a);
  expect_connected(&pair.b);
  pair_close(&pair);
}

CASE(names_and_peers_of_both_sides) {
  struct pair pair;
  sides_open(&pair, &connected);
  char name[128], peer[128];
  size_t name_length = sizeof name, peer_length = sizeof peer;
  assert_fails(fi_getpeer(pair.b.ep, peer, &peer_length));
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  accept_request(&pair, &connected, &event);
  expect_connected(&pair.a);
  expect_connected(&pair.b);
  struct node *sides[] = {&pair.a, &pair.b};
  for (int i = 0; i < 2; i++) {
    name_length = sizeof name, peer_length = sizeof peer;
    assert_success(fi_getname(&sides[i]->ep->fid, name, &name_length));
    assert_success(fi_getpeer(sides[1 - i]->ep, peer, &peer_length));
    assert_int_equal(name_length, peer_length);
    assert_memory_equal(name, peer, name_length);
    peer_length = 3;
    assert_returns(fi_getpeer(sides[i]->ep, peer, &peer_length), -FI_ETOOSMALL);
    assert_int_equal(peer_length, name_length);
  }
  pair_close(&pair);
}

CASE(rejection_with_data) {
  for (int own_buffer = 0; own_buffer < 2; own_buffer++) {
    struct pair pair;
    sides_open(&pair, &connected);
    struct connection_event event;
    request(&pair, NULL, 0, &event);
    uint8_t data[60], copy[200] = {0};
    fill(data, sizeof data, 7);
    assert_success(fi_reject(pair.a.pep, event.entry.info->handle, data, sizeof data));
    fi_freeinfo(event.entry.info);
    struct fi_eq_err_entry error = {0};
    if (own_buffer) error.err_data = copy, error.err_data_size = sizeof copy;
    wait_event_error(&pair.b, &error);
    assert_ptr_equal(error.fid, &pair.b.ep->fid);
    assert_ptr_equal(error.context, &pair.b);
    assert_int_equal(error.err, FI_ECONNREFUSED);
    assert_int_equal(error.err_data_size, sizeof data);
    if (own_buffer) assert_ptr_equal(error.err_data, copy);
    verify(error.err_data, sizeof data, 7);
    pair_close(&pair);
  }
}

CASE(rejection_data_is_cut_to_the_buffer) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  uint8_t data[60], copy[32];
  memset(copy, 0xee, sizeof copy);
  fill(data, sizeof data, 7);
  assert_success(fi_reject(pair.a.pep, event.entry.info->handle, data, sizeof data));
  fi_freeinfo(event.entry.info);
  struct fi_eq_err_entry error = {.err_data = copy, .err_data_size = 20};
  wait_event_error(&pair.b, &error);
  assert_int_equal(error.err_data_size, 20);
  verify(copy, 20, 7);
  verify_bytes(copy + 20, 12, 0xee);
  pair_close(&pair);
}

CASE(several_requests_at_once) {
  enum { clients = 5 };
  struct node listener, client[clients];
  node_open_domain(&listener, &connected);
  node_listen(&listener);
  struct connection_event events[clients];
  for (int i = 0; i < clients; i++) {
    node_open(&client[i], &connected);
    uint8_t number = (uint8_t)i;
    assert_success(fi_connect(client[i].ep, listener.address, &number, 1));
  }
  for (int i = 0; i < clients; i++) wait_event(&listener, FI_CONNREQ, &events[i]);
  // the latest first, every other one turned down
  for (int i = clients - 1; i >= 0; i--) {
    assert_int_equal(events[i].data_length, 1);
    struct node *peer = &client[events[i].data[0]];
    if (i % 2) {
      assert_success(fi_reject(listener.pep, events[i].entry.info->handle, NULL, 0));
      fi_freeinfo(events[i].entry.info);
      struct fi_eq_err_entry error = {0};
      wait_event_error(peer, &error);
      assert_int_equal(error.err, FI_ECONNREFUSED);
      assert_int_equal(error.err_data_size, 0);
      continue;
    }
    struct node server;
    serve(&server, &listener, &connected, &events[i]);
    expect_connected(peer);
    exchange(peer, &server, 1000, (uint64_t)i);
    node_close(&server);
    expect_shutdown(peer);
  }
  for (int i = 0; i < clients; i++) node_close(&client[i]);
  node_close(&listener);
}

// A client that hears that it is connected may connect again; so the server has to hear of the first connection before
// its client does, whatever that does next.
CASE(acceptance_is_told_before_the_client_knows) {
  struct setup manual = connected;
  manual.progress = FI_PROGRESS_MANUAL;
  struct pair pair;
  sides_open(&pair, &manual);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  accept_request(&pair, &manual, &event);
  // The client does not look meanwhile.
  uint32_t kind = 0;
  double deadline = deadline_after(DEFAULT_WAIT);
  while (fi_eq_read(pair.a.eq, &kind, &event.entry, sizeof event.entry, 0) == -FI_EAGAIN) {
    if (seconds() > deadline) failed("the server waits for its client");
  }
  assert_int_equal(kind, FI_CONNECTED);
  assert_ptr_equal(event.entry.fid, &pair.a.ep->fid);
  // What it sends now comes after the acceptance.
  uint8_t sent = 7, received = 0;
  post(fi_recv(pair.b.ep, &received, 1, NULL, FI_ADDR_UNSPEC, &received));
  post(fi_send(pair.a.ep, &sent, 1, NULL, FI_ADDR_UNSPEC, &sent));
  wait_for(pair.b.rx_cq, &received);
  expect_connected(&pair.b);
  assert_int_equal(received, 7);
  pair_close(&pair);
}

CASE(backlog_bounds_waiting_requests) {
  struct node listener, client[3];
  node_open_domain(&listener, &connected);
  node_listen(&listener);
  int backlog = 2;
  assert_offered(fi_control(&listener.pep->fid, FI_BACKLOG, &backlog));
  struct connection_event events[2];
  for (int i = 0; i < 3; i++) {
    node_open(&client[i], &connected);
    assert_success(fi_connect(client[i].ep, listener.address, NULL, 0));
    if (i < 2) wait_event(&listener, FI_CONNREQ, &events[i]);
  }
  struct fi_eq_err_entry error = {0};
  wait_event_error(&client[2], &error);
  assert_int_equal(error.err, FI_ECONNREFUSED);
  backlog = 0;
  assert_returns(fi_control(&listener.pep->fid, FI_BACKLOG, &backlog), -FI_EINVAL);
  for (int i = 0; i < 2; i++) fi_freeinfo(events[i].entry.info);
  for (int i = 0; i < 3; i++) node_close(&client[i]);
  node_close(&listener);
}

CASE(ipv6) {
  static const struct setup setup = {.ep_type = FI_EP_MSG, .caps = FI_MSG, .node = "::1"};
  int descriptor = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&loopback, sizeof loopback) != 0) {
    environment_lacks("no IPv6 loopback");
  }
  close(descriptor);
  struct pair pair;
  pair_open(&pair, &setup);
  exchange(&pair.a, &pair.b, 5000, 1);
  char peer[128];
  size_t length = sizeof peer;
  assert_success(fi_getpeer(pair.a.ep, peer, &length));
  assert_int_equal(length, sizeof(struct sockaddr_in6));
  pair_close(&pair);
}

CASE(endpoint_takes_over_the_address_of_a_passive_endpoint) {
  struct pair pair;
  node_open_domain(&pair.a, &connected);
  node_listen(&pair.a);
  node_open_domain(&pair.b, &connected);
  assert_success(fi_passive_ep(pair.b.fabric, pair.b.info, &pair.b.pep, NULL));
  char name[128], after[128];
  size_t length = sizeof name, after_length = sizeof after;
  assert_success(fi_getname(&pair.b.pep->fid, name, &length));
  pair.b.info->handle = &pair.b.pep->fid;
  node_open_endpoint(&pair.b, &connected);
  close_fid(pair.b.pep);
  pair.b.pep = NULL;
  assert_success(fi_getname(&pair.b.ep->fid, after, &after_length));
  assert_int_equal(length, after_length);
  assert_memory_equal(name, after, length);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  assert_int_equal(port_of(event.entry.info->dest_addr), port_of(name));
  accept_request(&pair, &connected, &event);
  expect_connected(&pair.a);
  expect_connected(&pair.b);
  exchange(&pair.a, &pair.b, 5000, 1);
  pair_close(&pair);
}

CASE(receives_posted_before_connecting) {
  struct pair pair;
  sides_open(&pair, &connected);
  uint8_t early[100], sent[100];
  post(fi_recv(pair.b.ep, early, sizeof early, NULL, FI_ADDR_UNSPEC, early));
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  accept_request(&pair, &connected, &event);
  expect_connected(&pair.a);
  fill(sent, sizeof sent, 9);
  post(fi_send(pair.a.ep, sent, sizeof sent, NULL, FI_ADDR_UNSPEC, sent));
  wait_for(pair.b.rx_cq, early);
  verify(early, sizeof early, 9);
  expect_connected(&pair.b);
  pair_close(&pair);
}

CASE(destination_addresses_are_ignored) {
  struct pair pair;
  pair_open(&pair, &connected);
  uint8_t sent[3], received[3];
  static const fi_addr_t addresses[] = {0, 77, FI_ADDR_UNSPEC};
  for (int i = 0; i < 3; i++) {
    sent[i] = (uint8_t)i;
    post(fi_recv(pair.b.ep, &received[i], 1, NULL, addresses[i], &received[i]));
    post(fi_send(pair.a.ep, &sent[i], 1, NULL, addresses[i], &sent[i]));
    wait_for(pair.b.rx_cq, &received[i]);
    wait_for(pair.a.tx_cq, &sent[i]);
    assert_int_equal(received[i], i);
  }
  pair_close(&pair);
}

CASE(both_progress_models) {
  static const enum fi_progress models[] = {FI_PROGRESS_AUTO, FI_PROGRESS_MANUAL};
  for (int i = 0; i < 2; i++) {
    struct setup setup = connected;
    setup.progress = models[i];
    struct pair pair;
    pair_open(&pair, &setup);
    exchange(&pair.a, &pair.b, 100000, 1);
    assert_success(fi_shutdown(pair.a.ep, 0));
    expect_shutdown(&pair.b);
    pair_close(&pair);
  }
}

// ---- connecting in vain -------------------------------------------------------------------------------------------

static void expect_refused(struct node *node) {
  struct fi_eq_err_entry error = {0};
  wait_event_error(node, &error);
  assert_ptr_equal(error.fid, &node->ep->fid);
  assert_int_equal(error.err, FI_ECONNREFUSED);
}

CASE(nobody_listens) {
  struct pair pair;
  sides_open(&pair, &connected);
  char address[128];
  memcpy(address, pair.a.address, sizeof address);
  close_fid(pair.a.pep);
  pair.a.pep = NULL;
  // either at once or by an event
  int result = fi_connect(pair.b.ep, address, NULL, 0);
  if (result != -FI_ECONNREFUSED) {
    assert_success(result);
    expect_refused(&pair.b);
  }
  pair_close(&pair);
}

CASE(endpoints_that_do_not_listen_refuse) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct node other;
  node_open(&other, &connected);
  assert_int_not_equal(port_of(other.address), 0);
  assert_success(fi_connect(pair.b.ep, other.address, NULL, 0));
  expect_refused(&pair.b);
  node_close(&other);
  pair_close(&pair);
}

CASE(endpoints_of_another_type_refuse) {
  static const struct setup reliable = {.ep_type = FI_EP_RDM, .caps = FI_MSG};
  struct pair pair;
  sides_open(&pair, &connected);
  struct node other;
  node_open(&other, &reliable);
  assert_success(fi_connect(pair.b.ep, other.address, NULL, 0));
  expect_refused(&pair.b);
  expect_quiet(other.rx_cq, 50);
  node_close(&other);
  pair_close(&pair);
}

CASE(connect_twice) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  assert_returns(fi_connect(pair.b.ep, pair.a.address, NULL, 0), -FI_EINVAL);
  accept_request(&pair, &connected, &event);
  expect_connected(&pair.a);
  expect_connected(&pair.b);
  assert_returns(fi_connect(pair.b.ep, pair.a.address, NULL, 0), -FI_EINVAL);
  assert_returns(fi_connect(pair.a.ep, pair.a.address, NULL, 0), -FI_EINVAL);
  exchange(&pair.a, &pair.b, 10, 1);
  assert_success(fi_shutdown(pair.b.ep, 0));
  assert_returns(fi_connect(pair.b.ep, pair.a.address, NULL, 0), -FI_EINVAL);
  pair_close(&pair);
}

CASE(connect_without_an_event_queue) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct fid_ep *ep = NULL;
  assert_success(fi_endpoint(pair.b.domain, pair.b.info, &ep, NULL));
  assert_success(fi_ep_bind(ep, &pair.b.tx_cq->fid, FI_TRANSMIT));
  assert_success(fi_ep_bind(ep, &pair.b.rx_cq->fid, FI_RECV));
  assert_fails(fi_connect(ep, pair.a.address, NULL, 0));
  close_fid(ep);
  pair_close(&pair);
}

CASE(accept_without_a_request) {
  struct pair pair;
  sides_open(&pair, &connected);
  assert_returns(fi_accept(pair.b.ep, NULL, 0), -FI_EINVAL);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  accept_request(&pair, &connected, &event);
  assert_returns(fi_accept(pair.a.ep, NULL, 0), -FI_EINVAL);
  expect_connected(&pair.a);
  expect_connected(&pair.b);
  pair_close(&pair);
}

CASE(requests_are_answered_once) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  fid_t handle = event.entry.info->handle;
  accept_request(&pair, &connected, &event);
  expect_connected(&pair.a);
  expect_connected(&pair.b);
  struct fid_ep *second = NULL;
  assert_fails(fi_endpoint(pair.a.domain, pair.a.info, &second, NULL));
  assert_fails(fi_reject(pair.a.pep, handle, NULL, 0));
  exchange(&pair.b, &pair.a, 10, 1);
  pair_close(&pair);
}

CASE(reject_after_an_endpoint_was_made) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  node_take_request(&pair.a, &event);
  node_open_endpoint(&pair.a, &connected);
  assert_success(fi_reject(pair.a.pep, pair.a.info->handle, NULL, 0));
  expect_refused(&pair.b);
  assert_fails(fi_accept(pair.a.ep, NULL, 0));
  pair_close(&pair);
}

CASE(endpoint_closed_instead_of_accepting) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  node_take_request(&pair.a, &event);
  node_open_endpoint(&pair.a, &connected);
  close_fid(pair.a.ep);
  pair.a.ep = NULL;
  struct fi_eq_err_entry error = {0};
  wait_event_error(&pair.b, &error);
  assert_true(error.err == FI_ECONNREFUSED || error.err == FI_ECONNRESET || error.err == FI_ENOTCONN);
  pair_close(&pair);
}

CASE(listener_closed_while_a_request_waits) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  fi_freeinfo(event.entry.info);
  close_fid(pair.a.pep);
  pair.a.pep = NULL;
  expect_refused(&pair.b);
  pair_close(&pair);
}

CASE(accept_after_the_listener_is_closed) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  node_take_request(&pair.a, &event);
  node_open_endpoint(&pair.a, &connected);
  close_fid(pair.a.pep);
  pair.a.pep = NULL;
  assert_success(fi_accept(pair.a.ep, NULL, 0));
  expect_connected(&pair.a);
  expect_connected(&pair.b);
  exchange(&pair.b, &pair.a, 10000, 1);
  pair_close(&pair);
}

CASE(accept_after_the_client_went_away) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  close_fid(pair.b.ep);
  pair.b.ep = NULL;
  node_take_request(&pair.a, &event);
  node_open_endpoint(&pair.a, &connected);
  uint8_t buffer[8];
  post(fi_recv(pair.a.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, buffer));
  int result = fi_accept(pair.a.ep, NULL, 0);
  if (result == 0) {
    // an error, or a connection that ends at once
    struct connection_event ended;
    double deadline = deadline_after(DEFAULT_WAIT);
    uint32_t kind = 0;
    ssize_t length;
    for (;;) {
      length = fi_eq_read(pair.a.eq, &kind, &ended.entry, sizeof ended.entry, 0);
      if (length == -FI_EAVAIL || (length >= 0 && kind == FI_SHUTDOWN)) break;
      if (length >= 0) assert_int_equal(kind, FI_CONNECTED);
      if (seconds() > deadline) failed("nobody tells that the client is gone");
      drive_progress();
    }
    struct fi_cq_err_entry error;
    wait_error(pair.a.rx_cq, &error);
    assert_ptr_equal(error.op_context, buffer);
  }
  pair_close(&pair);
}

CASE(transfers_before_connecting_fail) {
  struct pair pair;
  sides_open(&pair, &connected);
  uint8_t byte = 0;
  assert_returns(fi_send(pair.b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, NULL), -FI_ENOTCONN);
  assert_returns(fi_inject(pair.b.ep, &byte, 1, 0), -FI_ENOTCONN);
  pair_close(&pair);
}

CASE(shutdown_before_connecting) {
  struct pair pair;
  sides_open(&pair, &connected);
  assert_returns(fi_shutdown(pair.b.ep, 0), -FI_ENOTCONN);
  pair_close(&pair);
}

CASE(shutdown_while_connecting) {
  struct pair pair;
  sides_open(&pair, &connected);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  fi_freeinfo(event.entry.info);
  assert_success(fi_shutdown(pair.b.ep, 0));
  expect_shutdown(&pair.b);
  pair_close(&pair);
}

CASE(another_key_is_refused) {
  struct setup keyed = connected;
  keyed.domain_key = "one";
  struct pair pair;
  node_open_domain(&pair.a, &keyed);
  node_listen(&pair.a);
  keyed.domain_key = "two";
  node_open(&pair.b, &keyed);
  assert_success(fi_connect(pair.b.ep, pair.a.address, NULL, 0));
  expect_refused(&pair.b);
  node_close(&pair.b);
  keyed.domain_key = "one";
  node_open(&pair.b, &keyed);
  struct connection_event event;
  request(&pair, NULL, 0, &event);
  accept_request(&pair, &keyed, &event);
  expect_connected(&pair.a);
  expect_connected(&pair.b);
  exchange(&pair.a, &pair.b, 10, 1);
  pair_close(&pair);
}

// ---- the end of connections ---------------------------------------------------------------------------------------

CASE(shutdown_tells_both_sides) {
  struct pair pair;
  pair_open(&pair, &connected);
  uint8_t buffer[2][8];
  post(fi_recv(pair.a.ep, buffer[0], 8, NULL, FI_ADDR_UNSPEC, buffer[0]));
  post(fi_recv(pair.b.ep, buffer[1], 8, NULL, FI_ADDR_UNSPEC, buffer[1]));
  assert_success(fi_shutdown(pair.a.ep, 0));
  expect_shutdown(&pair.a);
  expect_shutdown(&pair.b);
  struct node *sides[] = {&pair.a, &pair.b};
  for (int i = 0; i < 2; i++) {
    struct fi_cq_err_entry error;
    wait_error(sides[i]->rx_cq, &error);
    assert_ptr_equal(error.op_context, buffer[i]);
    assert_int_equal(error.err, FI_ECANCELED);
    uint8_t byte = 0;
    assert_fails(fi_send(sides[i]->ep, &byte, 1, NULL, FI_ADDR_UNSPEC, NULL));
    assert_success(fi_shutdown(sides[i]->ep, 0));
  }
  pair_close(&pair);
}

CASE(receives_after_the_end_fail) {
  struct pair pair;
  pair_open(&pair, &connected);
  assert_success(fi_shutdown(pair.a.ep, 0));
  expect_shutdown(&pair.b);
  uint8_t byte;
  assert_fails(fi_recv(pair.b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, &byte));
  assert_fails(fi_recv(pair.a.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, &byte));
  pair_close(&pair);
}

CASE(shutdown_with_flags) {
  struct pair pair;
  pair_open(&pair, &connected);
  assert_fails(fi_shutdown(pair.a.ep, 1));
  exchange(&pair.a, &pair.b, 10, 1);
  pair_close(&pair);
}

CASE(what_was_sent_arrives_before_the_end) {
  enum { messages = 300 };
  struct pair pair;
  pair_open(&pair, &connected);
  static uint32_t received[messages], sent[messages];
  static char contexts[messages];
  for (uint32_t i = 0; i < messages; i++) {
    sent[i] = i * 7;
    post(fi_recv(pair.b.ep, &received[i], 4, NULL, FI_ADDR_UNSPEC, &received[i]));
  }
  for (int i = 0; i < messages; i++) post(fi_send(pair.a.ep, &sent[i], 4, NULL, FI_ADDR_UNSPEC, &contexts[i]));
  wait_for_all(pair.a.tx_cq, contexts, messages);
  assert_success(fi_shutdown(pair.a.ep, 0));
  expect_shutdown(&pair.b);
  for (int i = 0; i < messages; i++) {
    wait_for(pair.b.rx_cq, &received[i]);
    assert_int_equal(received[i], sent[i]);
  }
  pair_close(&pair);
}

CASE(messages_wait_for_receives_beyond_the_end) {
  struct pair pair;
  pair_open(&pair, &connected);
  uint8_t sent[100], received[100];
  fill(sent, sizeof sent, 5);
  post(fi_send(pair.a.ep, sent, sizeof sent, NULL, FI_ADDR_UNSPEC, sent));
  wait_for(pair.a.tx_cq, sent);
  assert_success(fi_shutdown(pair.a.ep, 0));
  expect_shutdown(&pair.b);
  post(fi_recv(pair.b.ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, received));
  wait_for(pair.b.rx_cq, received);
  verify(received, sizeof received, 5);
  assert_fails(fi_recv(pair.b.ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, received));
  pair_close(&pair);
}

CASE(operations_under_way_end_with_the_connection) {
  struct pair pair;
  pair_open(&pair, &connected);
  size_t length = 8 << 20;
  uint8_t *large = allocate(length);
  // nobody receives it
  post(fi_send(pair.a.ep, large, length, NULL, FI_ADDR_UNSPEC, large));
  sleep_ms(20);
  drive_progress();
  assert_success(fi_shutdown(pair.b.ep, 0));
  expect_shutdown(&pair.a);
  struct fi_cq_err_entry error;
  wait_error(pair.a.tx_cq, &error);
  assert_ptr_equal(error.op_context, large);
  pair_close(&pair);
  free(large);
}

CASE(shutdown_ends_own_operations_before_it_returns) {
  struct pair pair;
  pair_open(&pair, &connected);
  size_t length = 8 << 20;
  uint8_t *large = allocate(length);
  post(fi_send(pair.a.ep, large, length, NULL, FI_ADDR_UNSPEC, large));
  assert_success(fi_shutdown(pair.a.ep, 0));
  struct fi_cq_err_entry error = {0};
  struct fi_cq_tagged_entry entry;
  assert_returns(fi_cq_read(pair.a.tx_cq, &entry, 1), -FI_EAVAIL);
  assert_returns(fi_cq_readerr(pair.a.tx_cq, &error, 0), 1);
  assert_ptr_equal(error.op_context, large);
  expect_shutdown(&pair.b);
  pair_close(&pair);
  free(large);
}

CASE(close_without_shutdown) {
  struct pair pair;
  pair_open(&pair, &connected);
  uint8_t buffer[8];
  post(fi_recv(pair.b.ep, buffer, sizeof buffer, NULL, FI_ADDR_UNSPEC, buffer));
  close_fid(pair.a.ep);
  pair.a.ep = NULL;
  expect_shutdown(&pair.b);
  struct fi_cq_err_entry error;
  wait_error(pair.b.rx_cq, &error);
  assert_ptr_equal(error.op_context, buffer);
  pair_close(&pair);
}

CASE(shutdown_at_both_sides) {
  struct pair pair;
  pair_open(&pair, &connected);
  assert_success(fi_shutdown(pair.a.ep, 0));
  assert_success(fi_shutdown(pair.b.ep, 0));
  expect_shutdown(&pair.a);
  expect_shutdown(&pair.b);
  // once each
  uint32_t kind;
  struct fi_eq_cm_entry entry;
  for (int i = 0; i < 20; i++) {
    assert_returns(fi_eq_read(pair.a.eq, &kind, &entry, sizeof entry, 0), -FI_EAGAIN);
    assert_returns(fi_eq_read(pair.b.eq, &kind, &entry, sizeof entry, 0), -FI_EAGAIN);
    sleep_ms(5);
  }
  pair_close(&pair);
}

CASE(many_connections_one_after_the_other) {
  struct node listener, client;
  node_open_domain(&listener, &connected);
  node_listen(&listener);
  node_open_domain(&client, &connected);
  for (uint64_t i = 0; i < 30; i++) {
    node_open_endpoint(&client, &connected);
    assert_success(fi_connect(client.ep, listener.address, NULL, 0));
    struct connection_event event;
    wait_event(&listener, FI_CONNREQ, &event);
    struct node server;
    serve(&server, &listener, &connected, &event);
    expect_connected(&client);
    exchange(&client, &server, 100, i);
    close_fid(client.ep);
    client.ep = NULL;
    unwatch_cq(client.tx_cq);
    unwatch_cq(client.rx_cq);
    close_fid(client.tx_cq);
    close_fid(client.rx_cq);
    client.tx_cq = client.rx_cq = NULL;
    expect_shutdown(&server);
    node_close(&server);
  }
  node_close(&client);
  node_close(&listener);
}

CASE(a_small_event_queue_loses_nothing) {
  enum { clients = 6 };
  struct node listener, client[clients];
  node_open_domain(&listener, &connected);
  struct fi_eq_attr attributes = {.size = 1, .wait_obj = FI_WAIT_UNSPEC};
  assert_offered(fi_eq_open(listener.fabric, &attributes, &listener.eq, NULL));
  watch_eq(listener.eq);
  node_listen(&listener);
  for (int i = 0; i < clients; i++) {
    node_open(&client[i], &connected);
    assert_success(fi_connect(client[i].ep, listener.address, NULL, 0));
  }
  sleep_ms(100);
  for (int i = 0; i < clients; i++) {
    struct connection_event event;
    wait_event(&listener, FI_CONNREQ, &event);
    fi_freeinfo(event.entry.info);
  }
  for (int i = 0; i < clients; i++) node_close(&client[i]);
  node_close(&listener);
}

CASE(unread_requests_are_freed_with_the_queue) {
  struct pair pair;
  sides_open(&pair, &connected);
  assert_success(fi_connect(pair.b.ep, pair.a.address, "hello", 5));
  uint32_t kind = 0;
  struct fi_eq_cm_entry entry;
  wait_until(fi_eq_read(pair.a.eq, &kind, &entry, sizeof entry, FI_PEEK) == sizeof entry);
  assert_int_equal(kind, FI_CONNREQ);
  pair_close(&pair);
}

// ---- waiting ------------------------------------------------------------------------------------------------------

struct connector {
  struct node *node;
  const void *address;
};

static void *connect_later(void *argument) {
  struct connector *connector = argument;
  sleep_ms(100);
  if (fi_connect(connector->node->ep, connector->address, NULL, 0) != 0) abort();
  return NULL;
}

static void wait_with_sread(enum fi_progress progress) {
  struct setup setup = connected;
  setup.progress = progress;
  struct pair pair;
  sides_open(&pair, &setup);
  pthread_t thread;
  struct connector connector = {&pair.b, pair.a.address};
  assert_int_equal(pthread_create(&thread, NULL, connect_later, &connector), 0);
  uint32_t kind = 0;
  struct fi_eq_cm_entry entry;
  double begin = seconds();
  // With manual progress somebody has to drive the client's side as well.
  ssize_t length = -FI_EAGAIN;
  if (progress == FI_PROGRESS_AUTO) {
    length = fi_eq_sread(pair.a.eq, &kind, &entry, sizeof entry, (int)(DEFAULT_WAIT * 1000), 0);
  } else {
    while (length == -FI_EAGAIN && seconds() < begin + DEFAULT_WAIT) {
      length = fi_eq_sread(pair.a.eq, &kind, &entry, sizeof entry, 5, 0);
      drive_progress();
    }
  }
  assert_returns(length, sizeof entry);
  assert_int_equal(kind, FI_CONNREQ);
  pthread_join(thread, NULL);
  struct connection_event event = {.event = kind, .entry = entry};
  accept_request(&pair, &setup, &event);
  length = -FI_EAGAIN;
  while (length == -FI_EAGAIN && seconds() < begin + 2 * DEFAULT_WAIT) {
    length = fi_eq_sread(pair.b.eq, &kind, &entry, sizeof entry, progress == FI_PROGRESS_AUTO ? 5000 : 5, 0);
    if (progress != FI_PROGRESS_AUTO) drive_progress();
  }
  assert_returns(length, sizeof entry);
  assert_int_equal(kind, FI_CONNECTED);
  expect_connected(&pair.a);
  pair_close(&pair);
}

CASE(sread_with_automatic_progress) { wait_with_sread(FI_PROGRESS_AUTO); }
CASE(sread_with_manual_progress) { wait_with_sread(FI_PROGRESS_MANUAL); }

// A client in a process of its own: connects to the address that the test has put on the board.
static void connect_to_rank_0(struct team *team, struct node *node) {
  node_open(node, &connected);
  assert_success(fi_connect(node->ep, team_address(team, 0), NULL, 0));
}

static void descriptor_body(struct team *team) {
  if (team->rank == 1) {
    team_barrier(team);
    struct node node;
    connect_to_rank_0(team, &node);
    expect_connected(&node);
    team_barrier(team);
    node_close(&node);
    return;
  }
  struct setup setup = connected;
  setup.progress = FI_PROGRESS_MANUAL;
  struct pair pair = {0};
  node_open_domain(&pair.a, &setup);
  pair.a.eq = event_queue_open(&pair.a, FI_WAIT_FD);
  node_listen(&pair.a);
  memcpy(team_address(team, 0), pair.a.address, sizeof pair.a.address);
  int descriptor = -1;
  assert_success(fi_control(&pair.a.eq->fid, FI_GETWAIT, &descriptor));
  team_barrier(team);
  // nothing but the descriptor says that there is something to do
  uint32_t kind = 0;
  struct fi_eq_cm_entry entry;
  double deadline = deadline_after(DEFAULT_WAIT);
  ssize_t length = -FI_EAGAIN;
  while (length == -FI_EAGAIN && seconds() < deadline) {
    struct fid *queues[] = {&pair.a.eq->fid};
    if (fi_trywait(pair.a.fabric, queues, 1) == FI_SUCCESS) {
      struct pollfd entry = {.fd = descriptor, .events = POLLIN};
      assert_true(poll(&entry, 1, (int)(DEFAULT_WAIT * 1000)) >= 0);
    }
    length = fi_eq_read(pair.a.eq, &kind, &entry, sizeof entry, 0);
  }
  assert_returns(length, sizeof entry);
  assert_int_equal(kind, FI_CONNREQ);
  struct connection_event event = {.event = kind, .entry = entry};
  accept_request(&pair, &setup, &event);
  expect_connected(&pair.a);
  team_barrier(team);
  expect_shutdown(&pair.a);
  node_close(&pair.a);
}

CASE(descriptor_with_manual_progress) { team_run(2, descriptor_body); }

// ---- dead peers ---------------------------------------------------------------------------------------------------

// The client connects; the test kills it, with `prepare` having been called on the test's endpoint.
static void killed_client(struct team *team, void (*prepare)(struct node *node), void (*check)(struct node *node)) {
  setenv("FI_POLYFILL_PEER_TIMEOUT", "2000", 1);
  if (team->rank == 1) {
    team_barrier(team);
    struct node node;
    connect_to_rank_0(team, &node);
    expect_connected(&node);
    team_barrier(team);
    for (;;) drive_progress();
  }
  struct pair pair = {0};
  node_open_domain(&pair.a, &connected);
  node_listen(&pair.a);
  memcpy(team_address(team, 0), pair.a.address, sizeof pair.a.address);
  team_barrier(team);
  struct connection_event event;
  wait_event(&pair.a, FI_CONNREQ, &event);
  accept_request(&pair, &connected, &event);
  expect_connected(&pair.a);
  team_barrier(team);
  prepare(&pair.a);
  team_kill(team, 1);
  wait_event_within(&pair.a, FI_SHUTDOWN, &event, 4 * time_factor() + DEFAULT_WAIT);
  assert_ptr_equal(event.entry.fid, &pair.a.ep->fid);
  check(&pair.a);
  node_close(&pair.a);
}

static uint8_t of_the_dead[8];

static void do_nothing(struct node *node) { (void)node; }

static void post_receive(struct node *node) {
  post(fi_recv(node->ep, of_the_dead, sizeof of_the_dead, NULL, FI_ADDR_UNSPEC, of_the_dead));
}

static void check_receive(struct node *node) {
  struct fi_cq_err_entry error;
  wait_error(node->rx_cq, &error);
  assert_ptr_equal(error.op_context, of_the_dead);
}

static uint8_t *unwanted;

static void post_send(struct node *node) {
  if (!unwanted) unwanted = allocate(4 << 20);
  post(fi_send(node->ep, unwanted, 4 << 20, NULL, FI_ADDR_UNSPEC, unwanted));
}

static void check_send(struct node *node) {
  struct fi_cq_err_entry error;
  wait_error(node->tx_cq, &error);
  assert_ptr_equal(error.op_context, unwanted);
}

static void idle_body(struct team *team) { killed_client(team, do_nothing, do_nothing); }
static void receive_body(struct team *team) { killed_client(team, post_receive, check_receive); }
static void send_body(struct team *team) { killed_client(team, post_send, check_send); }

CASE(killed_peer_of_an_idle_connection) { team_run(2, idle_body); }
CASE(killed_peer_ends_receives) { team_run(2, receive_body); }
CASE(killed_peer_ends_sends) { team_run(2, send_body); }

static void listener_body(struct team *team) {
  setenv("FI_POLYFILL_PEER_TIMEOUT", "2000", 1);
  if (team->rank == 1) {
    struct node node;
    node_open_domain(&node, &connected);
    node_listen(&node);
    memcpy(team_address(team, 0), node.address, sizeof node.address);
    team_barrier(team);
    struct connection_event event;
    wait_event(&node, FI_CONNREQ, &event);
    team_barrier(team);
    for (;;) drive_progress();
  }
  team_barrier(team);
  struct node node;
  connect_to_rank_0(team, &node);
  team_barrier(team);
  team_kill(team, 1);
  struct fi_eq_err_entry error = {0};
  wait_event_error_within(&node, &error, 4 * time_factor() + DEFAULT_WAIT);
  assert_ptr_equal(error.fid, &node.ep->fid);
  node_close(&node);
}

CASE(killed_listener_ends_the_attempt) { team_run(2, listener_body); }

// ---- shared receive contexts --------------------------------------------------------------------------------------

static struct fid_ep *shared;

static void bind_shared(struct node *node) {
  if (!shared) assert_offered(fi_srx_context(node->domain, node->info->rx_attr, &shared, NULL));
  assert_success(fi_ep_bind(node->ep, &shared->fid, 0));
}

CASE(connections_share_receives) {
  struct setup setup = connected;
  struct node listener, client[2], server[2];
  struct fi_info *hints = new_hints();
  hints->caps = FI_MSG;
  hints->ep_attr->type = FI_EP_MSG;
  hints->ep_attr->rx_ctx_cnt = FI_SHARED_CONTEXT;
  node_open_domain(&listener, &setup);
  fi_freeinfo(listener.info);
  int result = fi_getinfo(DEFAULT_VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &listener.info);
  fi_freeinfo(hints);
  if (result == -FI_ENODATA) unsupported("no shared contexts for connected endpoints");
  assert_success(result);
  node_listen(&listener);
  for (int i = 0; i < 2; i++) {
    node_open(&client[i], &setup);
    assert_success(fi_connect(client[i].ep, listener.address, NULL, 0));
    struct connection_event event;
    wait_event(&listener, FI_CONNREQ, &event);
    struct setup sharing = setup;
    sharing.before_enable = bind_shared;
    serve(&server[i], &listener, &sharing, &event);
    expect_connected(&client[i]);
  }
  uint8_t received[4], sent[2] = {1, 2};
  for (int i = 0; i < 4; i++) post(fi_recv(shared, &received[i], 1, NULL, FI_ADDR_UNSPEC, &received[i]));
  for (int i = 0; i < 2; i++) {
    post(fi_send(client[i].ep, &sent[i], 1, NULL, FI_ADDR_UNSPEC, &sent[i]));
    wait_for(server[i].rx_cq, &received[i]);
    assert_int_equal(received[i], i + 1);
  }
  // the end of one leaves the receives to the other
  assert_success(fi_shutdown(client[0].ep, 0));
  expect_shutdown(&server[0]);
  expect_quiet(server[0].rx_cq, 20);
  post(fi_send(client[1].ep, &sent[0], 1, NULL, FI_ADDR_UNSPEC, &sent[0]));
  wait_for(server[1].rx_cq, &received[2]);
  for (int i = 0; i < 2; i++) {
    node_close(&client[i]);
    node_close(&server[i]);
  }
  close_fid(shared);
  node_close(&listener);
}

// ---- remote memory ------------------------------------------------------------------------------------------------

CASE(write_and_read_over_a_connection) {
  struct setup setup = connected;
  setup.caps = FI_MSG | FI_RMA;
  struct pair pair;
  pair_open(&pair, &setup);
  uint8_t remote[1000], local[1000];
  fill(remote, sizeof remote, 1);
  struct fid_mr *region = NULL;
  assert_success(fi_mr_reg(pair.a.domain, remote, sizeof remote, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 5, 0, &region,
                           NULL));
  uint64_t base = pair.a.info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uint64_t)(uintptr_t)remote : 0;
  post(fi_read(pair.b.ep, local, sizeof local, NULL, FI_ADDR_UNSPEC, base, fi_mr_key(region), local));
  wait_for(pair.b.tx_cq, local);
  verify(local, sizeof local, 1);
  fill(local, sizeof local, 2);
  post(fi_write(pair.b.ep, local, sizeof local, NULL, FI_ADDR_UNSPEC, base, fi_mr_key(region), local));
  wait_for(pair.b.tx_cq, local);
  verify(remote, sizeof remote, 2);
  close_fid(region);
  pair_close(&pair);
}
