#include "../CFabric/plugin.h"

FI_EXT_INI { return lfp_prov_ini(__builtin_return_address(0)); }
