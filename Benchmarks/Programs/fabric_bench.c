// Measures one libfabric provider between two processes: latency, rate, bandwidth, RMA, atomics, unexpected messages,
// datagrams, CPU time.
//
// The server prints the port on which it waits for its client. The client then decides: for every size it asks for a
// run in which the receiver checks every byte, for short ones that tell how fast this is, and for one of the wanted
// duration, of which it prints a line of JSON.
#include "fabric_bench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ping_depth = 4, unexpected_depth = 256, run_seconds_max = 20 };

struct run run;
struct samples durations;

// ---- verification -------------------------------------------------------------------------------------------------

void fill_ring(struct ring *ring) {
  for (size_t i = 0; i < ring->count; i++) fill(ring->data + i * ring->size, ring->size, i + 1);
  ring->ordered = true;
}

static size_t sender_count;  // buffers at the side that sends

static void verify_received(struct operation *operation) {
  if (!matches(operation->buffer, receives->size, operation->sequence % sender_count + 1)) {
    die("message %llu of %zu bytes arrived with wrong content", (unsigned long long)operation->sequence,
        receives->size);
  }
}

void verify_receives(bool verify, size_t senders) {
  sender_count = senders;
  endpoint.received = verify ? verify_received : NULL;
  if (verify) memset(receives->data, 0, receives->count * receives->size);
}

// ---- messages in one direction ------------------------------------------------------------------------------------

void fill_receives(uint64_t count) {
  while (receives->posted < count && receives->posted - receives->completed < receives->count) post_receive();
}

static void prepare_stream_server(uint64_t count, bool verify) {
  ring_arrange(receives, run.depth, run.size);
  ring_arrange_control(sends);
  verify_receives(verify, run.window);
  fill_receives(count);
}

static void serve_stream(uint64_t count, bool verify) {
  (void)verify;
  while (receives->completed < count) {
    wait_for_completions();
    fill_receives(count);
  }
  post_send(reply_size);
  wait_for_sends();
}

static void prepare_stream_client(uint64_t count, bool verify) {
  (void)count;
  ring_arrange(sends, run.window, run.size);
  ring_arrange_control(receives);
  verify_receives(false, 0);
  if (verify) fill_ring(sends);
  post_receive();
}

static void drive_stream(uint64_t count, bool verify) {
  (void)verify;
  if (run.spec->inject) {
    for (uint64_t i = 0; i < count; i++) {
      post_inject(run.size);
      if (i % run.window == 0) make_progress();
    }
  } else {
    for (uint64_t i = 0; i < count; i++) post_send(run.size);
  }
  wait_for_sends();
  wait_for_receives(1);
}

void report_rate(uint64_t count) {
  double bytes = (double)count * (double)run.size;
  if (run.options.blocking) {
    result_value("cpu_s_per_gb", run.cpu / bytes * 1e9);
    result_value("cpu_s_per_million", run.cpu / (double)count * 1e6);
  }
  result_value("rate", (double)count / run.elapsed);
  result_value("bandwidth", bytes / run.elapsed);
}

// ---- there and back -----------------------------------------------------------------------------------------------

static size_t reply_length(void) { return strcmp(run.spec->name, "transfer") == 0 ? reply_size : run.size; }

static void prepare_ping(uint64_t count, bool verify) {
  ring_arrange(sends, ping_depth, run.size);
  ring_arrange(receives, ping_depth, run.size);
  bool whole = !run.options.peer || reply_length() == run.size;
  verify_receives(verify && whole, ping_depth);
  if (verify) fill_ring(sends);
  samples_clear(&durations);
  fill_receives(count);
}

static void send_ping(size_t length) {
  if (run.spec->inject) {
    post_inject(length);
  } else {
    post_send(length);
  }
}

static void serve_ping(uint64_t count, bool verify) {
  (void)verify;
  size_t length = reply_length();
  for (uint64_t i = 0; i < count; i++) {
    wait_for_receives(i + 1);
    send_ping(length);
    fill_receives(count);
  }
  wait_for_sends();
}

static void drive_ping(uint64_t count, bool verify) {
  (void)verify;
  double begin = seconds();
  for (uint64_t i = 0; i < count; i++) {
    send_ping(run.size);
    fill_receives(count);
    wait_for_receives(i + 1);
    double end = seconds();
    samples_add(&durations, end - begin);
    begin = end;
  }
  wait_for_sends();
}

void report_ping(uint64_t count) {
  double trips = strcmp(run.spec->name, "transfer") == 0 ? 1 : 2;
  result_value("mean_us", run.elapsed / (double)count / trips * 1e6);
  result_value("p50_us", samples_quantile(&durations, 0.5) / trips * 1e6);
  result_value("p99_us", samples_quantile(&durations, 0.99) / trips * 1e6);
  result_value("p999_us", samples_quantile(&durations, 0.999) / trips * 1e6);
  result_value("max_us", samples_quantile(&durations, 1) / trips * 1e6);
  result_value("count", (double)count);
}

// ---- messages before their receives -------------------------------------------------------------------------------

// The server lets the provider work for so long after the last message was sent, before it posts receives.
static const double settle_seconds = 0.001;
// The client takes it that no more can be sent ahead when nothing moved for so long.
static const double patience_seconds = 0.02;

static void prepare_unexpected_server(uint64_t count, bool verify) {
  (void)count;
  ring_arrange(receives, run.depth, run.size);
  ring_arrange_control(sends);
  verify_receives(verify, run.window);
}

static void serve_unexpected(uint64_t count, bool verify) {
  (void)verify;
  uint64_t sent;
  (void)count;
  hear(run.connection, &sent, sizeof sent, make_progress);
  for (double end = seconds() + settle_seconds; seconds() < end;) make_progress();
  double begin = seconds();
  fill_receives(sent);
  wait_for_receives(sent);
  run.value = sent ? (seconds() - begin) / (double)sent : 0;
}

static void drive_unexpected(uint64_t count, bool verify) {
  (void)verify;
  uint64_t sent = 0;
  while (sent < count && try_post_send(run.size, patience_seconds)) sent++;
  for (double end = seconds() + patience_seconds; sends->completed < sent && seconds() < end;) wait_for_completions();
  tell(run.connection, &sent, sizeof sent);
  wait_for_sends();
}

static void prepare_unexpected_client(uint64_t count, bool verify) {
  (void)count;
  ring_arrange(sends, run.window, run.size);
  verify_receives(false, 0);
  if (verify) fill_ring(sends);
}

static void report_unexpected(uint64_t count) {
  result_value("ns_per_message", samples_quantile(&durations, 0.5) * 1e9);
  result_value("count", (double)count);
}

// ---- the tests ----------------------------------------------------------------------------------------------------

static const struct test tests[] = {
    {"pingpong", prepare_ping, serve_ping, prepare_ping, drive_ping, report_ping},
    {"transfer", prepare_ping, serve_ping, prepare_ping, drive_ping, report_ping},
    {"stream", prepare_stream_server, serve_stream, prepare_stream_client, drive_stream, report_rate},
    {"write", prepare_rma_server, serve_rma, prepare_rma_client, drive_rma, report_rate},
    {"read", prepare_rma_server, serve_rma, prepare_rma_client, drive_rma, report_rate},
    {"add", prepare_add_server, serve_add, prepare_add_client, drive_add, report_rate},
    {"fetch_add", prepare_add_server, serve_add, prepare_add_client, drive_fetch_add, report_ping},
    {"datagrams", prepare_datagrams_server, serve_datagrams, prepare_datagrams_client, drive_datagrams,
     report_datagrams},
    {"unexpected", prepare_unexpected_server, serve_unexpected, prepare_unexpected_client, drive_unexpected,
     report_unexpected},
};

static bool is_unexpected(void) { return run.test->serve == serve_unexpected; }
static bool is_ping(void) { return run.test->serve == serve_ping; }
static bool is_fetch(void) { return run.test->drive == drive_fetch_add; }

static void choose_test(const struct spec *spec) {
  run.spec = spec;
  run.test = NULL;
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
    if (strcmp(tests[i].name, spec->name) == 0) run.test = &tests[i];
  }
  if (!run.test) die("no test %s", spec->name);
  endpoint.tagged = spec->tagged;
}

// Both sides come to the same numbers: they have the same options and provider.
static void choose_size(size_t size) {
  size_t footprint = run.options.footprint;
  size_t sendable = endpoint.info->tx_attr->size, receivable = endpoint.info->rx_attr->size;
  run.size = size;
  if (is_ping()) {
    run.window = run.depth = ping_depth;
  } else if (is_fetch()) {
    run.window = run.depth = 1;
  } else if (is_unexpected()) {
    run.window = run.depth = window_for(unexpected_depth, footprint, size);
  } else {
    run.window = window_for(run.spec->window, footprint, size);
    if (sendable && run.window > sendable) run.window = sendable;
    // A receiver that is busy for a moment still has somewhere to put what arrives.
    run.depth = window_for(4 * run.window, footprint, size);
  }
  if (receivable && run.depth > receivable) run.depth = receivable;
}

static size_t operations_needed(void) {
  size_t needed = unexpected_depth;
  for (size_t i = 0; i < run.options.spec_count; i++) {
    if (4 * run.options.specs[i].window > needed) needed = 4 * run.options.specs[i].window;
  }
  return needed;
}

static size_t bytes_needed(void) {
  size_t needed = run.options.footprint;
  for (size_t i = 0; i < run.options.spec_count; i++) {
    const struct spec *spec = &run.options.specs[i];
    for (size_t s = 0; s < spec->size_count; s++) {
      if (ping_depth * spec->sizes[s] > needed) needed = ping_depth * spec->sizes[s];
    }
  }
  return needed;
}

// ---- server -------------------------------------------------------------------------------------------------------

static void serve(void) {
  for (;;) {
    struct order order;
    hear(run.connection, &order, sizeof order, make_progress);
    if (order.command == command_end) return;
    if (order.command == command_size) {
      choose_test(&run.options.specs[order.spec]);
      choose_size(order.size);
      continue;
    }
    alarm(run_seconds_max);
    bool verify = order.flags & order_verify;
    run.test->prepare_server(order.count, verify);
    tell(run.connection, &order, sizeof order);  // ready
    double cpu = cpu_seconds();
    run.test->serve(order.count, verify);
    struct answer answer = {.cpu = cpu_seconds() - cpu, .value = run.value};
    tell(run.connection, &answer, sizeof answer);
  }
}

// ---- client -------------------------------------------------------------------------------------------------------

static void request(uint64_t count, bool verify) {
  alarm(run_seconds_max);
  struct order order = {.command = command_run, .count = count, .flags = verify ? order_verify : 0};
  run.test->prepare_client(count, verify);
  tell(run.connection, &order, sizeof order);
  hear(run.connection, &order, sizeof order, make_progress);
  double cpu = cpu_seconds(), begin = seconds();
  run.test->drive(count, verify);
  run.elapsed = seconds() - begin;
  cpu = cpu_seconds() - cpu;
  struct answer answer;
  hear(run.connection, &answer, sizeof answer, make_progress);
  run.cpu = cpu + answer.cpu;
  run.value = answer.value;
}

// Runs until one run takes a good part of the wanted time; answers how many messages fill all of it.
static uint64_t calibrate(void) {
  double wanted = run.options.seconds;
  uint64_t count = run.window;
  for (;;) {
    request(count, false);
    double rate = (double)count / run.elapsed;
    if (run.elapsed > wanted / 8) return (uint64_t)(rate * wanted) + 1;
    uint64_t next = (uint64_t)(rate * wanted / 4) + 1;
    count = next > 16 * count ? 16 * count : next > 2 * count ? next : 2 * count;
  }
}

static uint64_t measure_batches(void) {
  double end = seconds() + run.options.seconds;
  uint64_t batches = 0;
  samples_clear(&durations);
  do {
    request(run.window, false);
    samples_add(&durations, run.value);
    batches++;
  } while (seconds() < end);
  return batches * run.window;
}

static void measure(size_t spec, size_t size) {
  choose_test(&run.options.specs[spec]);
  if (run.spec->inject && size > endpoint.info->tx_attr->inject_size) {
    result_failed(spec, size, "beyond the inject size");
    return;
  }
  if (size > endpoint.info->ep_attr->max_msg_size) {
    result_failed(spec, size, "beyond the largest message");
    return;
  }
  if (is_atomic(run.spec) && !has_atomic(is_fetch(), size)) {
    result_failed(spec, size, "no such atomic operation");
    return;
  }
  struct order order = {.command = command_size, .spec = spec, .size = size};
  tell(run.connection, &order, sizeof order);
  choose_size(size);
  request(run.window, true);
  uint64_t count;
  if (is_unexpected()) {
    count = measure_batches();
  } else {
    count = calibrate();
    if (count < run.window) count = run.window;
    request(count, false);
  }
  result_begin(spec, size, "");
  run.test->report(count);
  result_end();
}

static void drive(void) {
  for (size_t spec = 0; spec < run.options.spec_count; spec++) {
    for (size_t i = 0; i < run.options.specs[spec].size_count; i++) measure(spec, run.options.specs[spec].sizes[i]);
  }
  tell(run.connection, &(struct order){.command = command_end}, sizeof(struct order));
}

// Whether the library has a variable of this name, of any provider.
static bool knows_parameter(const char *name) {
  struct fi_param *parameters = NULL;
  int count = 0;
  bool found = false;
  if (fi_getparams(&parameters, &count)) return false;
  for (int i = 0; i < count; i++) {
    if (strstr(parameters[i].name, name)) found = true;
  }
  fi_freeparams(parameters);
  return found;
}

static void probe(const struct options *options) {
  struct fi_info *info = find_provider(options);
  printf("{\"version\": \"%u.%u\", \"offered\": %s, \"faults\": %s}\n", FI_MAJOR(fi_version()), FI_MINOR(fi_version()),
         info ? "true" : "false", knows_parameter("POLYFILL_FAULT") ? "true" : "false");
}

static void stuck(int signal_number) {
  (void)signal_number;
  static const char text[] = "no end of the run in sight\n";
  (void)!write(STDERR_FILENO, text, sizeof text - 1);
  _exit(1);
}

int main(int argc, char **argv) {
  parse_options(argc, argv, &run.options);
  pin_to_cpu(run.options.cpu);
  if (run.options.probe) {
    probe(&run.options);
    return 0;
  }
  signal(SIGALRM, stuck);
  alarm(run_seconds_max);
  run.connection = meet(&run.options);  // first, so that both sides open their endpoints at the same time
  endpoint_open(&run.options, operations_needed(), bytes_needed(), run.connection);
  if (run.options.peer) {
    drive();
  } else {
    serve();
  }
  fflush(stdout);
  _exit(0);  // closing in order is another test's business
}
