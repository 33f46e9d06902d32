// Arithmetic on long double, which Swift has on some processors only, as bytes without alignment.

#ifndef LONG_DOUBLE_H
#define LONG_DOUBLE_H

#include <stdbool.h>
#include <string.h>

struct platform_long_double {
  unsigned char bytes[sizeof(long double)];
};

static inline long double platform_long_double_load(struct platform_long_double stored) {
  long double value;
  memcpy(&value, stored.bytes, sizeof value);
  return value;
}

static inline struct platform_long_double platform_long_double_store(long double value) {
  // What of the bytes is padding is zero, so that equal numbers are equal bytes.
  struct platform_long_double stored = {{0}};
  memcpy(stored.bytes, &value, sizeof(long double) == 16 && __LDBL_MANT_DIG__ == 64 ? 10 : sizeof value);
  return stored;
}

static inline struct platform_long_double platform_long_double_of(bool truth) {
  return platform_long_double_store(truth ? 1.0L : 0.0L);
}

static inline struct platform_long_double platform_long_double_sum(struct platform_long_double left,
                                                                   struct platform_long_double right) {
  return platform_long_double_store(platform_long_double_load(left) + platform_long_double_load(right));
}

static inline struct platform_long_double platform_long_double_difference(struct platform_long_double left,
                                                                          struct platform_long_double right) {
  return platform_long_double_store(platform_long_double_load(left) - platform_long_double_load(right));
}

static inline struct platform_long_double platform_long_double_product(struct platform_long_double left,
                                                                       struct platform_long_double right) {
  return platform_long_double_store(platform_long_double_load(left) * platform_long_double_load(right));
}

static inline bool platform_long_double_equal(struct platform_long_double left,
                                              struct platform_long_double right) {
  return platform_long_double_load(left) == platform_long_double_load(right);
}

static inline bool platform_long_double_less(struct platform_long_double left,
                                             struct platform_long_double right) {
  return platform_long_double_load(left) < platform_long_double_load(right);
}

#endif /* LONG_DOUBLE_H */
