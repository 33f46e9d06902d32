// A provider library: entry point, variables and log, as a plug-in for any 1.x release is written.

#include <rdma/fabric.h>
#include <rdma/providers/fi_log.h>
#include <rdma/providers/fi_prov.h>

static int plugin_getinfo(uint32_t version, const char *node, const char *service, uint64_t flags,
                          const struct fi_info *hints, struct fi_info **info);
static int plugin_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context);
static void plugin_cleanup(void);

static struct fi_provider plugin = {
    FI_VERSION(1, 0), FI_VERSION(1, 4), {{0}}, "plugin", plugin_getinfo, plugin_fabric, plugin_cleanup,
};

static int plugin_getinfo(uint32_t version, const char *node, const char *service, uint64_t flags,
                          const struct fi_info *hints, struct fi_info **info) {
  FI_INFO(&plugin, FI_LOG_CORE, "version %u.%u node %s service %s flags %llx\n", FI_MAJOR(version), FI_MINOR(version),
          node ? node : "-", service ? service : "-", (unsigned long long)flags);
  FI_DBG(&plugin, FI_LOG_CORE, "nothing found\n");
  if (hints)
    FI_INFO(&plugin, FI_LOG_CORE, "%s\n", fi_tostr(hints, FI_TYPE_INFO));
  *info = NULL;
  return -FI_ENODATA;
}

static int plugin_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context) {
  (void)context;
  *fabric = NULL;
  FI_WARN(&plugin, FI_LOG_FABRIC, "no fabric %s\n", attr->name);
  FI_WARN_ONCE(&plugin, FI_LOG_FABRIC, "and never will be%s\n", ".");
  FI_WARN_SPARSE(&plugin, FI_LOG_FABRIC, "asked again%s\n", ".");
  FI_TRACE(&plugin, FI_LOG_FABRIC, "left %s\n", __func__);
  return -FI_ENODEV;
}

static void plugin_cleanup(void) {
}

FI_EXT_INI {
  int count = 0, flag = 0;
  size_t bytes = 0;
  char *text = NULL;
  fi_param_define(&plugin, "count", FI_PARAM_INT, "How many, up to %d", 16);
  fi_param_get_int(&plugin, "count", &count);
  fi_param_get_bool(&plugin, "flag", &flag);
  fi_param_get_size_t(&plugin, "bytes", &bytes);
  fi_param_get_str(&plugin, "text", &text);
  return &plugin;
}
