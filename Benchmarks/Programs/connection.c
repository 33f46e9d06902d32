// The connection of two FI_EP_MSG endpoints: fi_cm(3).
#include "fabric.h"

// What the client needs to find the server.
struct name {
  size_t length;
  char bytes[name_max];
};

// Waits for the next event, which has to be the wanted one; answers the information that comes with a request.
static struct fi_info *await_event(uint32_t wanted) {
  struct fi_eq_cm_entry entry;
  uint32_t event;
  ssize_t length;
  do {
    length = fi_eq_read(endpoint.eq, &event, &entry, sizeof entry, 0);
    if (endpoint.cq) make_progress();
  } while (length == -FI_EAGAIN);
  if (length == -FI_EAVAIL) {
    struct fi_eq_err_entry error = {0};
    fi_eq_readerr(endpoint.eq, &error, 0);
    die("the connection failed: %s", fi_strerror(error.err));
  }
  check_result(length, "fi_eq_read");
  if (event != wanted) die("event %u of the connection where %u was due", event, wanted);
  return entry.info;
}

static void accept_client(int connection) {
  struct fid_pep *passive;
  struct name name = {.length = sizeof name.bytes};
  check(fi_passive_ep(endpoint.fabric, endpoint.info, &passive, NULL));
  check(fi_pep_bind(passive, &endpoint.eq->fid, 0));
  check(fi_listen(passive));
  check(fi_getname(&passive->fid, name.bytes, &name.length));
  tell(connection, &name, sizeof name);
  endpoint_make(await_event(FI_CONNREQ));
  check(fi_accept(endpoint.ep, NULL, 0));
}

static void connect_to_server(int connection) {
  struct name name;
  hear(connection, &name, sizeof name, NULL);
  endpoint_make(endpoint.info);
  check(fi_connect(endpoint.ep, name.bytes, NULL, 0));
}

void endpoint_connect(const struct options *options, int connection) {
  struct fi_eq_attr attributes = {.wait_obj = FI_WAIT_UNSPEC};
  check(fi_eq_open(endpoint.fabric, &attributes, &endpoint.eq, NULL));
  if (options->peer) {
    connect_to_server(connection);
  } else {
    accept_client(connection);
  }
  await_event(FI_CONNECTED);
}
