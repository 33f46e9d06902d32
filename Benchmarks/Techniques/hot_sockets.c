// A connected socket for one peer beside the unconnected one, on the same port: who receives what, and what a free port
// (bind to port 0) means for sockets that may share it.
#include "common.h"

// Datagrams that wait.
static int drain(int fd) {
  char bytes[64];
  int count = 0;
  while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) >= 0) count++;
  return count;
}

// Sets `option` after the first bind, for as long as the second takes.
static void share(const char *name, int option) {
  union address common, friend, unused;
  int cold = bound_socket(false, AF_INET, 0, &common), peer = bound_socket(false, AF_INET, 0, &friend);
  int hot = unbound_socket(false, AF_INET);
  set(cold, SOL_SOCKET, option, 1);
  set(hot, SOL_SOCKET, option, 1);
  check(bind(hot, &common.any, address_length(&common)), "bind the hot socket");
  check(connect(hot, &friend.any, address_length(&friend)), "connect");
  set(cold, SOL_SOCKET, option, 0);
  set(hot, SOL_SOCKET, option, 0);
  enum { strangers = 200 };
  for (int i = 0; i < strangers; i++) {
    int stranger = bound_socket(false, AF_INET, 0, &unused);
    check(sendto(stranger, "s", 1, 0, &common.any, address_length(&common)), "sendto");
    check(sendto(peer, "p", 1, 0, &common.any, address_length(&common)), "sendto");
    close(stranger);
  }
  printf("%s: cold socket received %d, hot socket %d (each expected %d)", name, drain(cold), drain(hot), strangers);
  int thief = unbound_socket(false, AF_INET);
  set(thief, SOL_SOCKET, option, 1);
  bool refused = bind(thief, &common.any, address_length(&common)) < 0;
  close(hot);
  check(sendto(peer, "p", 1, 0, &common.any, address_length(&common)), "sendto");
  printf("; a third socket is %s; after close of the hot one its peer reaches the cold one %d time\n",
         refused ? "refused" : "let in", drain(cold));
  close(cold);
  close(peer);
  close(thief);
}

// How many of many sockets bound to port 0 got a port that another one has.
static void collide(const char *name, int option) {
  enum { sockets = 1000 };
  static int fds[sockets];
  static uint8_t used[65536];
  int twice = 0;
  memset(used, 0, sizeof used);
  for (int i = 0; i < sockets; i++) {
    union address bound;
    fds[i] = bound_socket(false, AF_INET, option, &bound);
    twice += used[ntohs(bound.v4.sin_port)]++ != 0;
  }
  for (int i = 0; i < sockets; i++) close(fds[i]);
  printf("bind to port 0 with %s: %d of %d ports were another socket's already\n", name, twice, sockets);
}

int main(void) {
  share("SO_REUSEPORT set after bind", SO_REUSEPORT);
  share("SO_REUSEADDR set after bind", SO_REUSEADDR);
  collide("SO_REUSEPORT", SO_REUSEPORT);
  collide("SO_REUSEADDR", SO_REUSEADDR);
  collide("neither", 0);
}
