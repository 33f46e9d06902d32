// The entry points of a libfabric that was opened at run time, with the types that the public headers give them.

#ifndef LFP_NATIVE_H
#define LFP_NATIVE_H

#include <stdbool.h>

#include <rdma/fabric.h>
#include <rdma/providers/fi_log.h>
#include <rdma/providers/fi_prov.h>

/// Entry points by their own names. Those that some release lacks that is otherwise new enough may be NULL: fi_open,
/// fi_tostr_r, fi_log_ready.
struct lfp_native {
  __typeof__(&fi_getinfo) fi_getinfo;
  __typeof__(&fi_freeinfo) fi_freeinfo;
  __typeof__(&fi_fabric) fi_fabric;
  __typeof__(&fi_version) fi_version;
  __typeof__(&fi_open) fi_open;
  __typeof__(&fi_strerror) fi_strerror;
  __typeof__(&fi_tostr) fi_tostr;
  __typeof__(&fi_tostr_r) fi_tostr_r;
  __typeof__(&fi_getparams) fi_getparams;
  __typeof__(&fi_freeparams) fi_freeparams;
  __typeof__(&fi_param_get) fi_param_get;
  __typeof__(&fi_log_enabled) fi_log_enabled;
  __typeof__(&fi_log_ready) fi_log_ready;
  // Take a printf format, which Swift cannot give; see the functions below.
  void *fi_log;
  void *fi_param_define;
};

/// Fills in the table: `find` gives the default version of a symbol of `library`, or NULL; fi_getinfo is the version
/// that the caller chose. False if something is missing that every release has.
bool lfp_native_fill(struct lfp_native *table, void *getinfo, void *library,
                     void *(*find)(void *library, const char *name));

/// The native fi_log() and fi_param_define() with the text formatted.
void lfp_native_log(const struct lfp_native *table, const struct fi_provider *prov, enum fi_log_level level,
                    enum fi_log_subsys subsys, const char *func, int line, const char *message);
int lfp_native_param_define(const struct lfp_native *table, const struct fi_provider *provider, const char *name,
                            enum fi_param_type type, const char *help);

#endif /* LFP_NATIVE_H */
