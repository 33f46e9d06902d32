// rep movsb on some CPUs (Zen 4 here) is an order of magnitude slower where the target begins 1 to 15 bytes further
// into its page than the source. The kernel copies to and from user memory with it, and so does memcpy(3) of large
// blocks. Prints microseconds for 60 KiB by the offset of the target; the source begins at a page.
#include "common.h"

int main(void) {
#ifdef __x86_64__
  static const int offsets[] = {0, 1, 8, 15, 16, 28, 32, 40, 48, 64, 128, 2048, 4056, 4088};
  enum { length = 60 * 1024, repetitions = 200 };
  char *source = memory(128 * 1024, false), *target = memory(128 * 1024, false);
  pin(0);
  for (size_t i = 0; i < COUNT(offsets); i++) {
    double best = 1;
    for (int j = 0; j < repetitions; j++) {
      void *to = target + offsets[i];
      const void *from = source;
      size_t left = length;
      double start = seconds();
      __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(left) : : "memory");
      double took = seconds() - start;
      if (took < best) best = took;
    }
    printf("target + %4d: %6.2f us\n", offsets[i], best * 1e6);
  }
#else
  puts("x86-64 alone");
#endif
}
