// fi_log() and fi_param_define() take a printf format: integers of all sizes, text and floating point arrive, long texts
// are cut, and what may not be NULL is refused.
//
// usage: variadic LIBRARY
//
// Prints `ok NAME` or `FAIL NAME: reason` for each case.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rdma/providers/fi_log.h>
#include <rdma/providers/fi_prov.h>

typedef void log_function(const struct fi_provider *, enum fi_log_level, enum fi_log_subsys, const char *, int,
                          const char *, ...);
typedef int define_function(const struct fi_provider *, const char *, enum fi_param_type, const char *, ...);

static log_function *write_log;
static define_function *define;
static int (*get)(struct fi_provider *, const char *, void *);
static int (*list)(struct fi_param **, int *);
static void (*free_list)(struct fi_param *);

static struct fi_provider provider = {.version = 1, .fi_version = FI_VERSION(1, 4), .name = "sample"};

static void report(const char *name, int good, const char *found) {
  if (good)
    printf("ok %s\n", name);
  else
    printf("FAIL %s: found %s\n", name, found);
}

// ---- fi_log ----

/// What a call writes to the standard error stream.
static char captured[8192];
static int saved_stderr;
static FILE *capture;

static void begin_capture(void) {
  fflush(stderr);
  saved_stderr = dup(STDERR_FILENO);
  capture = tmpfile();
  dup2(fileno(capture), STDERR_FILENO);
}

static void end_capture(void) {
  fflush(stderr);
  dup2(saved_stderr, STDERR_FILENO);
  close(saved_stderr);
  rewind(capture);
  captured[fread(captured, 1, sizeof captured - 1, capture)] = 0;
  fclose(capture);
}

static const char *message(void) {
  const char *end = strstr(captured, "> ");
  return end ? end + 2 : captured;
}

static void log_formats(void) {
  char expected[256];
  void *pointer = &provider;
  begin_capture();
  write_log(&provider, FI_LOG_WARN, FI_LOG_EP_DATA, "some_function", 42, "%d %lld %#llx %s %c %.3f %zu %p\n", -7,
            -5000000000LL, 0xFEDCBA9876543210ULL, "text", 'x', 2.5, (size_t)-1, pointer);
  end_capture();
  snprintf(expected, sizeof expected, "-7 -5000000000 0xfedcba9876543210 text x 2.500 %zu %p\n", (size_t)-1, pointer);
  report("fi_log, formats", !strcmp(message(), expected), captured);

  char head[256];
  snprintf(head, sizeof head, "libfabric:%d:%ld", (int)getpid(), (long)time(NULL) / 100);
  report("fi_log, process and time", !strncmp(captured, head, strlen(head)), captured);
  report("fi_log, provider, place and level", !!strstr(captured, "::sample:ep_data:some_function():42<warn> "), captured);

  begin_capture();
  write_log(&provider, FI_LOG_WARN, FI_LOG_CORE, "f", 1, "%g %g %g %g %g %g %g %g %g %d %d %d %d", 1.5, 2.5, 3.5, 4.5, 5.5,
            6.5, 7.5, 8.5, 9.5, 1, 2, 3, 4);
  end_capture();
  report("fi_log, more arguments than registers", !strcmp(message(), "1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5 9.5 1 2 3 4"), captured);

  begin_capture();
  write_log(&provider, FI_LOG_WARN, FI_LOG_CORE, "f", 1, "%02000d", 0);
  end_capture();
  char length[32];
  snprintf(length, sizeof length, "%zu bytes", strlen(message()));
  report("fi_log, a long message is cut to 1023 bytes", strlen(message()) == 1023 && message()[1022] == '0', length);

  begin_capture();
  write_log(&provider, FI_LOG_WARN, FI_LOG_CORE, "f", 1, "no arguments");
  end_capture();
  report("fi_log, no newline is added", !strcmp(message(), "no arguments"), captured);
}

// ---- fi_param_define ----

static const struct fi_param *find(const struct fi_param *params, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (!strcmp(params[i].name, name))
      return &params[i];
  return NULL;
}

static void report_result(const char *name, int result, int expected) {
  char text[32];
  snprintf(text, sizeof text, "%d, not %d", result, expected);
  report(name, result == expected, text);
}

static void parameters(void) {
  struct fi_param *params = NULL;
  const struct fi_param *param;
  int count = 0, number = 0;
  report_result("fi_param_define, formats",
                define(&provider, "depth", FI_PARAM_INT, "how deep, %d to %lld, %.1f %s", 1, 5000000000LL, 0.5, "more"), 0);
  report_result("fi_param_define, no arguments", define(&provider, "plain", FI_PARAM_BOOL, "100 percent"), 0);
  report_result("fi_param_define, no name", define(&provider, NULL, FI_PARAM_INT, "help"), -FI_EINVAL);
  report_result("fi_param_define, no help", define(&provider, "nothing", FI_PARAM_INT, NULL), -FI_EINVAL);
  const char *empty = "";
  report_result("fi_param_define, empty help", define(&provider, "nothing", FI_PARAM_INT, empty), -FI_EINVAL);
  report_result("fi_param_define, help that formats to nothing", define(&provider, "empty", FI_PARAM_INT, "%s", ""), 0);
  setenv("FI_SAMPLE_DEPTH", "0x20", 1);
  report_result("fi_param_get", get(&provider, "depth", &number), 0);
  report("fi_param_get, value", number == 32, "another value");

  report_result("fi_getparams", list(&params, &count), 0);
  param = find(params, count, "FI_SAMPLE_DEPTH");
  report("fi_getparams, help text", param && !strcmp(param->help_string, "sample: how deep, 1 to 5000000000, 0.5 more"),
         param ? param->help_string : "no such variable");
  report("fi_getparams, value", param && param->value && !strcmp(param->value, "0x20"), "another value");
  report("fi_getparams, type", param && param->type == FI_PARAM_INT, "another type");
  free_list(params);
}

static void *symbol(void *library, const char *name) {
  void *address = dlsym(library, name);
  if (!address) {
    fprintf(stderr, "no %s\n", name);
    exit(2);
  }
  return address;
}

int main(int argc, char **argv) {
  void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
  if (!library)
    return 2;
  *(void **)&write_log = symbol(library, "fi_log");
  *(void **)&define = symbol(library, "fi_param_define");
  *(void **)&get = symbol(library, "fi_param_get");
  *(void **)&list = symbol(library, "fi_getparams");
  *(void **)&free_list = symbol(library, "fi_freeparams");
  // libfabric 1.17 learns its process id, and forgets variables, when its first list is asked for.
  struct fi_param *params = NULL;
  int count = 0;
  if (list(&params, &count))
    return 2;
  free_list(params);
  log_formats();
  parameters();
  return 0;
}
