// The tests that work on the server's memory: RMA and atomics. They end with a message there and back.
#include "fabric_bench.h"

#include <string.h>

// The message that ends a test may overtake the last operations, since no order was asked for: the server waits for
// them so long, seconds.
static const double overtaken_seconds = 2;

// ---- the messages at the end --------------------------------------------------------------------------------------

static void prepare_end_server(void) {
  ring_arrange_control(receives);
  ring_arrange_control(sends);
  verify_receives(false, 0);
  post_receive();
}

static void prepare_end_client(void) {
  ring_arrange_control(receives);
  verify_receives(false, 0);
  post_receive();
}

static void end_server(void) {
  post_send(reply_size);
  wait_for_sends();
}

static void end_client(void) {
  post_send(run.size < reply_size ? run.size : reply_size);
  wait_for_sends();
  wait_for_receives(1);
}

// ---- RMA ----------------------------------------------------------------------------------------------------------

static bool reads(void) { return strcmp(run.spec->name, "read") == 0; }

void prepare_rma_server(uint64_t count, bool verify) {
  (void)count;
  ring_arrange(receives, run.window, run.size);
  if (verify) {
    if (reads()) {
      fill_ring(receives);
    } else {
      memset(receives->data, 0, run.window * run.size);
    }
  }
  prepare_end_server();
}

void serve_rma(uint64_t count, bool verify) {
  wait_for_receives(1);
  double deadline = seconds() + overtaken_seconds;
  size_t slots = count < run.window ? count : run.window;
  for (size_t i = 0; verify && !reads() && i < slots; i++) {
    while (!matches(receives->data + i * run.size, run.size, i + 1)) {
      if (seconds() > deadline) die("write %zu of %zu bytes arrived with wrong content", i, run.size);
      make_progress();
    }
  }
  end_server();
}

void prepare_rma_client(uint64_t count, bool verify) {
  (void)count;
  ring_arrange(sends, run.window, run.size);
  if (verify && reads()) {
    memset(sends->data, 0, run.window * run.size);
    sends->ordered = true;
  } else if (verify) {
    fill_ring(sends);
  }
  prepare_end_client();
}

void drive_rma(uint64_t count, bool verify) {
  bool read = reads();
  for (uint64_t i = 0; i < count; i++) {
    if (read) {
      post_read(run.size);
    } else {
      post_write(run.size);
    }
  }
  wait_for_sends();
  size_t slots = count < run.window ? count : run.window;
  for (size_t i = 0; verify && read && i < slots; i++) {
    if (matches(sends->data + i * run.size, run.size, i + 1)) continue;
    die("read %zu of %zu bytes has wrong content", i, run.size);
  }
  end_client();
}

// ---- atomics: each integer of the server's first buffer counts the operations ------------------------------------

static size_t integers(void) { return run.size / sizeof(uint64_t); }

void prepare_add_server(uint64_t count, bool verify) {
  (void)count, (void)verify;
  ring_arrange(receives, 1, run.size);
  memset(receives->data, 0, run.size);
  prepare_end_server();
}

void serve_add(uint64_t count, bool verify) {
  (void)verify;  // checked in every run
  wait_for_receives(1);
  double deadline = seconds() + overtaken_seconds;
  const volatile uint64_t *sums = (const volatile uint64_t *)receives->data;
  for (size_t i = 0; i < integers(); i++) {
    while (sums[i] != count) {
      if (seconds() > deadline) die("%llu additions of %llu", (unsigned long long)sums[i], (unsigned long long)count);
      make_progress();
    }
  }
  end_server();
}

void prepare_add_client(uint64_t count, bool verify) {
  (void)count, (void)verify;
  ring_arrange(sends, run.window, 2 * run.size);  // the operands, and what a fetching one brings back
  uint64_t *operands = (uint64_t *)sends->data;
  for (size_t i = 0; i < 2 * run.window * integers(); i++) operands[i] = 1;
  prepare_end_client();
}

void drive_add(uint64_t count, bool verify) {
  (void)verify;
  for (uint64_t i = 0; i < count; i++) post_add(run.size);
  wait_for_sends();
  end_client();
}

void drive_fetch_add(uint64_t count, bool verify) {
  samples_clear(&durations);
  const uint64_t *fetched = (const uint64_t *)(sends->data + run.size);
  double begin = seconds();
  for (uint64_t i = 0; i < count; i++) {
    post_fetch_add(run.size);
    wait_for_sends();
    double end = seconds();
    samples_add(&durations, end - begin);
    begin = end;
    for (size_t n = 0; verify && n < integers(); n++) {
      if (fetched[n] != i) die("addition %llu fetched %llu", (unsigned long long)i, (unsigned long long)fetched[n]);
    }
  }
  end_client();
}
