// Receives that name their source, and sources that nobody knows: FI_DIRECTED_RECV, FI_TAGGED_DIRECTED_RECV,
// FI_EXACT_DIRECTED_RECV, FI_SOURCE, FI_SOURCE_ERR. Man pages: fi_getinfo(3), fi_cq(3).
#include "fixture.h"

#ifndef FI_TAGGED_DIRECTED_RECV
#define FI_TAGGED_DIRECTED_RECV (1ULL << 45)
#endif
#ifndef FI_EXACT_DIRECTED_RECV
#define FI_EXACT_DIRECTED_RECV (1ULL << 48)
#endif

static char slot[100];

// A library of 1.x knows neither the bits nor their version.
static struct setup since_2_0(uint64_t caps) {
  if (FI_VERSION_LT(fi_version(), FI_VERSION(2, 0))) unsupported("libfabric is older than 2.0");
  return (struct setup){.caps = caps, .version = FI_VERSION(2, 0)};
}

// Two senders, a and c, in the address vector of b.
struct trio {
  struct pair pair;
  struct node c;
  fi_addr_t c_to_b;
  fi_addr_t to_c;
};

static void trio_open(struct trio *trio, const struct setup *setup) {
  pair_open(&trio->pair, setup);
  node_open(&trio->c, setup);
  trio->c_to_b = node_insert(&trio->c, trio->pair.b.address);
  trio->to_c = node_insert(&trio->pair.b, trio->c.address);
}

static void trio_close(struct trio *trio) {
  node_close(&trio->c);
  pair_close(&trio->pair);
}

CASE(tagged_directed_receive_waits_for_its_source) {
  struct trio trio;
  trio_open(&trio, &(struct setup){.caps = FI_MSG | FI_TAGGED | FI_TAGGED_DIRECTED_RECV});
  char from_a = 0, from_c = 0;
  post(fi_trecv(trio.pair.b.ep, &from_c, 1, NULL, trio.to_c, 5, 0, &slot[1]));
  post(fi_trecv(trio.pair.b.ep, &from_a, 1, NULL, trio.pair.to_a, 5, 0, &slot[2]));
  post(fi_tinject(trio.pair.a.ep, "a", 1, trio.pair.to_b, 5));
  wait_for(trio.pair.b.rx_cq, &slot[2]);
  post(fi_tinject(trio.c.ep, "c", 1, trio.c_to_b, 5));
  wait_for(trio.pair.b.rx_cq, &slot[1]);
  assert_int_equal(from_a, 'a');
  assert_int_equal(from_c, 'c');
  trio_close(&trio);
}

// The capability is about tagged receives alone: others ignore the source.
CASE(tagged_directed_receive_leaves_messages_alone) {
  struct trio trio;
  trio_open(&trio, &(struct setup){.caps = FI_MSG | FI_TAGGED | FI_TAGGED_DIRECTED_RECV});
  char byte = 0;
  post(fi_recv(trio.pair.b.ep, &byte, 1, NULL, trio.to_c, &slot[1]));
  post(fi_inject(trio.pair.a.ep, "a", 1, trio.pair.to_b));
  wait_for(trio.pair.b.rx_cq, &slot[1]);
  assert_int_equal(byte, 'a');
  trio_close(&trio);
}

CASE(exact_directed_receive_needs_a_source) {
  struct setup setup = since_2_0(FI_MSG | FI_TAGGED | FI_EXACT_DIRECTED_RECV);
  struct trio trio;
  trio_open(&trio, &setup);
  char byte = 0, other = 0;
  assert_fails(fi_recv(trio.pair.b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, &slot[1]));
  assert_fails(fi_trecv(trio.pair.b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, 1, 0, &slot[1]));
  post(fi_recv(trio.pair.b.ep, &byte, 1, NULL, trio.to_c, &slot[1]));
  post(fi_recv(trio.pair.b.ep, &other, 1, NULL, trio.pair.to_a, &slot[2]));
  post(fi_inject(trio.pair.a.ep, "a", 1, trio.pair.to_b));
  wait_for(trio.pair.b.rx_cq, &slot[2]);
  post(fi_inject(trio.c.ep, "c", 1, trio.c_to_b));
  wait_for(trio.pair.b.rx_cq, &slot[1]);
  assert_int_equal(byte, 'c');
  assert_int_equal(other, 'a');
  trio_close(&trio);
}

CASE(exact_modifies_tagged_directed_receives_only) {
  struct setup setup = since_2_0(FI_MSG | FI_TAGGED | FI_TAGGED_DIRECTED_RECV | FI_EXACT_DIRECTED_RECV);
  struct pair pair;
  pair_open(&pair, &setup);
  char byte = 0;
  assert_fails(fi_trecv(pair.b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, 1, 0, &slot[1]));
  post(fi_recv(pair.b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post(fi_inject(pair.a.ep, "a", 1, pair.to_b));
  wait_for(pair.b.rx_cq, &slot[1]);
  pair_close(&pair);
}

// FI_VARIABLE_MSG of 1.x is the same bit; a program that only sets it receives from anybody.
CASE(variable_messages_of_1_x) {
  struct setup setup = {.caps = FI_MSG | FI_TAGGED | FI_EXACT_DIRECTED_RECV, .version = FI_VERSION(1, 9)};
  struct pair pair;
  pair_open(&pair, &setup);
  assert_true(pair.b.info->caps & FI_EXACT_DIRECTED_RECV);
  char byte = 0;
  post(fi_recv(pair.b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post(fi_inject(pair.a.ep, "v", 1, pair.to_b));
  wait_for(pair.b.rx_cq, &slot[1]);
  assert_int_equal(byte, 'v');
  pair_close(&pair);
}

CASE(peek_looks_for_its_source) {
  struct trio trio;
  trio_open(&trio, &(struct setup){.caps = FI_MSG | FI_TAGGED | FI_DIRECTED_RECV});
  post(fi_tinject(trio.pair.a.ep, "a", 1, trio.pair.to_b, 5));
  double end = seconds() + 0.05;
  while (seconds() < end) drive_progress();
  struct fi_msg_tagged peek = {.addr = trio.to_c, .tag = 5, .context = &slot[1]};
  post(fi_trecvmsg(trio.pair.b.ep, &peek, FI_PEEK | FI_COMPLETION));
  struct fi_cq_err_entry error = {0};
  wait_error(trio.pair.b.rx_cq, &error);
  assert_int_equal(error.err, FI_ENOMSG);
  peek.addr = trio.pair.to_a;
  post(fi_trecvmsg(trio.pair.b.ep, &peek, FI_PEEK | FI_COMPLETION));
  struct fi_cq_tagged_entry entry = {0};
  wait_completion(trio.pair.b.rx_cq, &entry);
  assert_int_equal(entry.len, 1);
  trio_close(&trio);
}

// ---- unknown sources ---------------------------------------------------------------------------------------------

// As wait_error, with the error data where the entry says.
static void wait_error_data(struct fid_cq *cq, struct fi_cq_err_entry *error) {
  struct fi_cq_tagged_entry entry;
  long result;
  double end = deadline_after(DEFAULT_WAIT);
  while ((result = fi_cq_read(cq, &entry, 1)) == -FI_EAGAIN && seconds() < end) drive_progress();
  assert_returns(result, -FI_EAVAIL);
  assert_returns(fi_cq_readerr(cq, error, 0), 1);
}

// b, which does not know a.
static void open_strangers(struct node *a, struct node *b, fi_addr_t *to_b, const struct setup *setup) {
  node_open(a, setup);
  node_open(b, setup);
  *to_b = node_insert(a, b->address);
}

static const struct setup reporting = {.caps = FI_MSG | FI_TAGGED | FI_RMA | FI_SOURCE | FI_SOURCE_ERR};

static void message_from_a_stranger(size_t length, bool unexpected) {
  struct node a, b;
  fi_addr_t to_b;
  open_strangers(&a, &b, &to_b, &reporting);
  char *out = allocate(length + 1), *in = allocate(length + 1);
  fill(out, length, 3);
  if (!unexpected) post(fi_trecv(b.ep, in, length, NULL, FI_ADDR_UNSPEC, 5, 0, &slot[1]));
  post(fi_tsenddata(a.ep, out, length, NULL, 0x77, to_b, 5, &slot[2]));
  if (unexpected) {
    double end = seconds() + 0.02;
    while (seconds() < end) drive_progress();
    post(fi_trecv(b.ep, in, length, NULL, FI_ADDR_UNSPEC, 5, 0, &slot[1]));
  }
  char data[128];
  struct fi_cq_err_entry error = {.err_data = data, .err_data_size = sizeof data};
  wait_error_data(b.rx_cq, &error);
  assert_int_equal(error.err, FI_EADDRNOTAVAIL);
  assert_ptr_equal(error.op_context, &slot[1]);
  assert_int_equal(error.len, length);
  assert_int_equal(error.tag, 5);
  assert_int_equal(error.data, 0x77);
  uint64_t flags = FI_RECV | FI_TAGGED | FI_REMOTE_CQ_DATA;
  assert_int_equal(error.flags & flags, flags);
  verify(in, length, 3);
  // The address is a's, and can be inserted as it is.
  assert_ptr_equal(error.err_data, data);
  assert_int_equal(error.err_data_size, a.address_length);
  assert_memory_equal(data, a.address, a.address_length);
  fi_addr_t source = node_insert(&b, data);
  wait_for(a.tx_cq, &slot[2]);
  post(fi_trecv(b.ep, in, length, NULL, FI_ADDR_UNSPEC, 6, 0, &slot[3]));
  post(fi_tsend(a.ep, out, length, NULL, to_b, 6, &slot[4]));
  struct fi_cq_tagged_entry entry = {0};
  fi_addr_t from = FI_ADDR_NOTAVAIL;
  long result;
  double end = deadline_after(DEFAULT_WAIT);
  while ((result = fi_cq_readfrom(b.rx_cq, &entry, 1, &from)) == -FI_EAGAIN && seconds() < end) drive_progress();
  assert_returns(result, 1);
  assert_ptr_equal(entry.op_context, &slot[3]);
  assert_true(from == source);
  node_close(&a);
  node_close(&b);
  free(out);
  free(in);
}

CASE(small_message_from_a_stranger) { message_from_a_stranger(100, false); }
CASE(large_message_from_a_stranger) { message_from_a_stranger(300000, false); }
CASE(unexpected_message_from_a_stranger) { message_from_a_stranger(100, true); }

CASE(address_in_a_buffer_of_the_library) {
  struct node a, b;
  fi_addr_t to_b;
  open_strangers(&a, &b, &to_b, &reporting);
  char byte = 0;
  post(fi_recv(b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post(fi_inject(a.ep, "x", 1, to_b));
  struct fi_cq_err_entry error = {0};
  wait_error_data(b.rx_cq, &error);
  assert_int_equal(error.err, FI_EADDRNOTAVAIL);
  assert_non_null(error.err_data);
  assert_int_equal(error.err_data_size, a.address_length);
  assert_memory_equal(error.err_data, a.address, a.address_length);
  assert_int_equal(byte, 'x');
  node_close(&a);
  node_close(&b);
}

CASE(address_in_a_buffer_that_is_too_small) {
  struct node a, b;
  fi_addr_t to_b;
  open_strangers(&a, &b, &to_b, &reporting);
  char byte = 0, data[5] = {1, 2, 3, 4, 5};
  post(fi_recv(b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post(fi_inject(a.ep, "x", 1, to_b));
  struct fi_cq_err_entry error = {.err_data = data, .err_data_size = 4};
  wait_error_data(b.rx_cq, &error);
  assert_int_equal(error.err, FI_EADDRNOTAVAIL);
  assert_int_equal(error.err_data_size, 4);
  assert_memory_equal(data, a.address, 4);
  assert_int_equal(data[4], 5);
  node_close(&a);
  node_close(&b);
}

CASE(write_with_data_from_a_stranger) {
  struct node a, b;
  fi_addr_t to_b;
  open_strangers(&a, &b, &to_b, &reporting);
  char *memory = allocate(4096), out[64];
  memset(memory, 0, 4096);
  fill(out, sizeof out, 4);
  struct fid_mr *region;
  assert_success(fi_mr_reg(b.domain, memory, 4096, FI_REMOTE_WRITE, 0, 9, 0, &region, NULL));
  uint64_t address = b.info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uint64_t)(uintptr_t)memory : 0;
  post(fi_writedata(a.ep, out, sizeof out, NULL, 0xabc, to_b, address, fi_mr_key(region), &slot[1]));
  char data[128];
  struct fi_cq_err_entry error = {.err_data = data, .err_data_size = sizeof data};
  wait_error_data(b.rx_cq, &error);
  assert_int_equal(error.err, FI_EADDRNOTAVAIL);
  assert_int_equal(error.data, 0xabc);
  assert_int_equal(error.err_data_size, a.address_length);
  assert_memory_equal(data, a.address, a.address_length);
  uint64_t flags = FI_RMA | FI_REMOTE_WRITE | FI_REMOTE_CQ_DATA;
  assert_int_equal(error.flags & flags, flags);
  verify(memory, sizeof out, 4);
  close_fid(region);
  node_close(&a);
  node_close(&b);
  free(memory);
}

// FI_SOURCE alone reports nothing but that the source is not known.
CASE(stranger_without_source_errors) {
  struct node a, b;
  fi_addr_t to_b;
  open_strangers(&a, &b, &to_b, &(struct setup){.caps = FI_MSG | FI_SOURCE});
  char byte = 0;
  post(fi_recv(b.ep, &byte, 1, NULL, FI_ADDR_UNSPEC, &slot[1]));
  post(fi_inject(a.ep, "x", 1, to_b));
  struct fi_cq_tagged_entry entry = {0};
  fi_addr_t from = 0;
  long result;
  double end = deadline_after(DEFAULT_WAIT);
  while ((result = fi_cq_readfrom(b.rx_cq, &entry, 1, &from)) == -FI_EAGAIN && seconds() < end) drive_progress();
  assert_returns(result, 1);
  assert_true(from == FI_ADDR_NOTAVAIL);
  node_close(&a);
  node_close(&b);
}

// Programs that name no capability compare what they get with all that they know of.
CASE(capabilities_of_version_2_are_not_answered_unasked) {
  struct fi_info *hints = new_hints();
  hints->ep_attr->type = FI_EP_UNSPEC;
  hints->caps = 0;
  struct fi_info *info = NULL;
  assert_success(fi_getinfo(DEFAULT_VERSION, NULL, NULL, 0, hints, &info));
  for (struct fi_info *entry = info; entry; entry = entry->next) {
    assert_int_equal(entry->rx_attr->caps & (FI_TAGGED_DIRECTED_RECV | FI_EXACT_DIRECTED_RECV), 0);
  }
  fi_freeinfo(info);
  fi_freeinfo(hints);
}
