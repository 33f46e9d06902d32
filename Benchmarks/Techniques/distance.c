// How far apart CPU 0 and 1 are: nanoseconds to hand one cache line over, and GB/s at which one CPU overwrites what the
// other has just read. In a virtual machine both change when the host moves a virtual CPU to another cache or socket,
// and with them every figure of two communicating processes: run it before and after a measurement.
#include "common.h"

#include <pthread.h>
#include <stdatomic.h>

enum { handovers = 20000, block = 64 * 1024, blocks = 2000 };

static _Alignas(64) atomic_int turn;
static char *data, *scratch;

static void *answer(void *unused) {
  (void)unused;
  pin(1);
  for (int i = 0; i < handovers; i++) {
    while (atomic_load(&turn) != 2 * i + 1) __builtin_ia32_pause();
    atomic_store(&turn, 2 * i + 2);
  }
  static char copy[block];
  for (int i = 0; i < blocks; i++) {
    while (atomic_load(&turn) != 2 * (handovers + i) + 1) __builtin_ia32_pause();
    memcpy(copy, data, block);
    atomic_store(&turn, 2 * (handovers + i) + 2);
  }
  return NULL;
}

int main(void) {
  data = memory(block, false);
  scratch = memory(block, false);
  pthread_t thread;
  if (pthread_create(&thread, NULL, answer, NULL)) die("pthread_create");
  pin(0);
  double start = seconds();
  for (int i = 0; i < handovers; i++) {
    atomic_store(&turn, 2 * i + 1);
    while (atomic_load(&turn) != 2 * i + 2) __builtin_ia32_pause();
  }
  double line = (seconds() - start) / handovers / 2 * 1e9, writing = 0;
  for (int i = 0; i < blocks; i++) {
    double begin = seconds();
    memcpy(data, scratch, block);
    writing += seconds() - begin;
    atomic_store(&turn, 2 * (handovers + i) + 1);
    while (atomic_load(&turn) != 2 * (handovers + i) + 2) __builtin_ia32_pause();
  }
  pthread_join(thread, NULL);
  printf("cache line handed over in %.0f ns; overwriting what the other CPU has read: %.1f GB/s\n", line,
         block * (double)blocks / writing / 1e9);
}
