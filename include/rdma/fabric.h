#ifndef FABRIC_H
#define FABRIC_H
#include <stdint.h>
#include <stddef.h>
#ifndef FI_INLINE
#define FI_INLINE static inline
#endif
struct fi_info { uint64_t caps; };
struct fi_info *fi_dupinfo(const struct fi_info *info);
uint32_t fi_version(void);
FI_INLINE struct fi_info *fi_allocinfo(void) { return fi_dupinfo(NULL); }
#endif
