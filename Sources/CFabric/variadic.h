// The two calls that take a printf format. C formats the text; Swift, which cannot define such functions, does the
// rest.

#ifndef LFP_VARIADIC_H
#define LFP_VARIADIC_H

#include <rdma/providers/fi_log.h>
#include <rdma/providers/fi_prov.h>

/// Bytes of the longest formatted text, terminator included. Longer texts are cut.
#define LFP_TEXT_SIZE 1024

/// fi_log() with its message formatted. Defined in Swift.
void lfp_log_write(const struct fi_provider *prov, enum fi_log_level level, enum fi_log_subsys subsys,
                   const char *func, int line, const char *message);

/// fi_param_define() with its help text formatted. `help` is NULL if the format was NULL or empty, which is an error;
/// a format that comes out empty is none. Defined in Swift.
int lfp_param_define(const struct fi_provider *provider, const char *name, enum fi_param_type type, const char *help);

#endif /* LFP_VARIADIC_H */
