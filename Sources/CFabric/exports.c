#define FI_INLINE __attribute__((visibility("default")))
#include <rdma/fabric.h>
