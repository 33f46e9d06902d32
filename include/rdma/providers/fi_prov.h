// SPDX-License-Identifier: Apache-2.0
//
// What a provider that is loaded at run time gives to the library, and how it reads its variables.
// Man pages: fi_provider(3), fi_provider(7).

#ifndef FI_PROV_H
#define FI_PROV_H

#include <rdma/fabric.h>

#ifdef __cplusplus
extern "C" {
#endif

// Provider libraries are called lib<name>-fi.so.
#define FI_LIB_EXTENSION "fi"
#define FI_LIB_SUFFIX FI_LIB_EXTENSION ".so"

/// Head of the definition of a provider library's entry point.
#define FI_EXT_INI \
  __attribute__((visibility("default"), EXTERNALLY_VISIBLE)) struct fi_provider *fi_prov_ini(void)

/// `context` is the library's to write.
struct fi_provider {
  uint32_t version;     ///< the provider's own
  uint32_t fi_version;  ///< the interface's, as FI_VERSION()
  struct fi_context context;
  const char *name;
  int (*getinfo)(uint32_t version, const char *node, const char *service, uint64_t flags,
                 const struct fi_info *hints, struct fi_info **info);
  int (*fabric)(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context);
  void (*cleanup)(void);
};

// ---- Variables: FI_<PROVIDER>_<NAME> in the environment -----------------------------------------

/// Declares a variable. The help text is a printf format.
int fi_param_define(const struct fi_provider *provider, const char *param_name, enum fi_param_type type,
                    const char *help_string_fmt, ...);

/// Reads a variable into an int, a size_t or a char * as its type says. -FI_ENODATA when it is not set.
int fi_param_get(struct fi_provider *provider, const char *param_name, void *value);

FI_INLINE int fi_param_get_str(struct fi_provider *provider, const char *param_name, char **value) {
  return fi_param_get(provider, param_name, value);
}

FI_INLINE int fi_param_get_int(struct fi_provider *provider, const char *param_name, int *value) {
  return fi_param_get(provider, param_name, value);
}

FI_INLINE int fi_param_get_bool(struct fi_provider *provider, const char *param_name, int *value) {
  return fi_param_get(provider, param_name, value);
}

FI_INLINE int fi_param_get_size_t(struct fi_provider *provider, const char *param_name, size_t *value) {
  return fi_param_get(provider, param_name, value);
}

#ifdef __cplusplus
}
#endif

#endif /* FI_PROV_H */
