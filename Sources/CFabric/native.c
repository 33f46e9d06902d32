#include "native.h"

#define FIND(name) table->name = (__typeof__(table->name))find(library, #name)

bool lfp_native_fill(struct lfp_native *table, void *getinfo, void *library,
                     void *(*find)(void *library, const char *name)) {
  table->fi_getinfo = (__typeof__(table->fi_getinfo))getinfo;
  FIND(fi_freeinfo);
  FIND(fi_fabric);
  FIND(fi_version);
  FIND(fi_open);
  FIND(fi_strerror);
  FIND(fi_tostr);
  FIND(fi_tostr_r);
  FIND(fi_getparams);
  FIND(fi_freeparams);
  FIND(fi_param_get);
  FIND(fi_log_enabled);
  FIND(fi_log_ready);
  FIND(fi_log);
  FIND(fi_param_define);
  return table->fi_getinfo && table->fi_freeinfo && table->fi_fabric && table->fi_version && table->fi_strerror &&
         table->fi_tostr && table->fi_getparams && table->fi_freeparams && table->fi_param_get &&
         table->fi_log_enabled && table->fi_log && table->fi_param_define;
}

void lfp_native_log(const struct lfp_native *table, const struct fi_provider *prov, enum fi_log_level level,
                    enum fi_log_subsys subsys, const char *func, int line, const char *message) {
  ((__typeof__(&fi_log))table->fi_log)(prov, level, subsys, func, line, "%s", message);
}

int lfp_native_param_define(const struct lfp_native *table, const struct fi_provider *provider, const char *name,
                            enum fi_param_type type, const char *help) {
  __typeof__(&fi_param_define) define = (__typeof__(&fi_param_define))table->fi_param_define;
  return help ? define(provider, name, type, "%s", help) : define(provider, name, type, NULL);
}
