// The entry point by which another libfabric loads this library as a provider: fi_provider(7).

#ifndef LFP_PLUGIN_H
#define LFP_PLUGIN_H

#include <rdma/providers/fi_prov.h>

/// fi_prov_ini(), which is told nothing: who calls follows from the address that it returns to. NULL if the library is
/// not to serve the caller. Defined in Swift.
struct fi_provider *lfp_prov_ini(const void *caller);

#endif /* LFP_PLUGIN_H */
