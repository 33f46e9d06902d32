#include "../CFabric/variadic.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((visibility("default"))) void fi_log(const struct fi_provider *prov, enum fi_log_level level,
                                                   enum fi_log_subsys subsys, const char *func, int line,
                                                   const char *fmt, ...) {
  char message[LFP_TEXT_SIZE] = "";
  va_list args;
  va_start(args, fmt);
  vsnprintf(message, sizeof(message), fmt, args);
  va_end(args);
  lfp_log_write(prov, level, subsys, func, line, message);
}

__attribute__((visibility("default"))) int fi_param_define(const struct fi_provider *provider, const char *param_name,
                                                           enum fi_param_type type, const char *help_string_fmt,
                                                           ...) {
  // What is wrong with the arguments is for the Swift side to say, so that the rule is in one place.
  if (!help_string_fmt || !*help_string_fmt)
    return lfp_param_define(provider, param_name, type, NULL);
  char help[LFP_TEXT_SIZE] = "";
  va_list args;
  va_start(args, help_string_fmt);
  vsnprintf(help, sizeof(help), help_string_fmt, args);
  va_end(args);
  return lfp_param_define(provider, param_name, type, help);
}
