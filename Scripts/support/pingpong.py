"""Runs fi_pingpong as two processes, looks at both from outside while they run, and judges what they printed."""

import os
import re
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cases import Failure

SOCKET_TABLES = ("udp", "udp6", "tcp", "tcp6")
LISTENING = "0A"


@dataclass
class Seen:
  """What one process was observed to hold."""

  libraries: set = field(default_factory=set)  # paths of mapped files that are some libfabric
  udp_ports: set = field(default_factory=set)  # local ports
  tcp_ports: set = field(default_factory=set)  # (local port, remote port)


@dataclass
class Outcome:
  """One finished run: the client's table, its rows as (size, sent, acknowledged), and what both processes held."""

  table: str
  rows: list
  server: Seen
  client: Seen
  seconds: float


def free_port():
  """A TCP port that nobody listens on right now."""
  with socket.socket() as probe:
    probe.bind(("", 0))
    return probe.getsockname()[1]


def socket_table(pid, protocol):
  """(inode, local port, remote port, state) of every socket of a kind in the network namespace of a process."""
  for line in Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]:
    fields = line.split()
    local, remote = (int(address.rsplit(":", 1)[1], 16) for address in fields[1:3])
    yield fields[9], local, remote, fields[3]


def observe(pid, seen):
  """Adds to `seen` what a process holds at this moment. A process that is gone adds nothing."""
  try:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
      path = line.split(maxsplit=5)[5:]
      if path and Path(path[0]).name.startswith("libfabric"):
        seen.libraries.add(path[0])
    links = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    inodes = {link[len("socket:["):-1] for link in links if link.startswith("socket:[")}
    for protocol in SOCKET_TABLES:
      for inode, local, remote, _ in socket_table(pid, protocol):
        if inode not in inodes:
          continue
        if protocol.startswith("udp"):
          seen.udp_ports.add(local)
        else:
          seen.tcp_ports.add((local, remote))
  except (FileNotFoundError, ProcessLookupError):
    pass


def listens(pid, port):
  """Whether somebody in the network namespace of the process listens on the TCP port."""
  try:
    return any(local == port and state == LISTENING
               for protocol in ("tcp", "tcp6") for _, local, _, state in socket_table(pid, protocol))
  except (FileNotFoundError, ProcessLookupError):
    return False


def parse_rows(output):
  """The rows of fi_pingpong's table: (size, sent, acknowledged)."""
  return re.findall(r"^(\d[\d.]*[kmg]?)\s+(\d+[kmg]?)\s+=(\d+[kmg]?)\s", output, re.MULTILINE)


def run(provider, address, *, arguments, environment, client_provider=None, client_environment=None, endpoint="rdm",
        on_server=(), on_client=(), port=None, timeout=60, during=None):
  """Runs `fi_pingpong -p provider -e endpoint -c arguments` against `address` and returns the Outcome.

  The client has the server's provider and environment unless it has its own. on_server and on_client are command
  prefixes (`ip netns exec X`) that replace themselves by what they run. `during` is called with the client's Popen
  again and again while both run. Raises Failure with both outputs. No process is left behind.
  """
  port = port or free_port()
  providers = {"server": provider, "client": client_provider or provider}
  environments = {"server": environment, "client": client_environment or environment}
  started = time.monotonic()
  processes, outputs, seen = {}, {}, {"server": Seen(), "client": Seen()}

  def start(role, prefix, *more):
    outputs[role] = tempfile.TemporaryFile("w+")
    command = [*prefix, "fi_pingpong", "-p", providers[role], "-e", endpoint, "-c", *arguments, *more]
    processes[role] = subprocess.Popen(command, env={**os.environ, **environments[role]}, stdin=subprocess.DEVNULL,
                                       stdout=outputs[role], stderr=subprocess.STDOUT)

  def text(role):
    outputs[role].seek(0)
    return outputs[role].read()

  def fail(message):
    shown = "".join(f"\n--- {role}: {' '.join(process.args)}\n{text(role)}" for role, process in processes.items())
    raise Failure(f"{message}{shown}")

  def wait_until(condition):
    while not condition():
      if time.monotonic() - started > timeout:
        fail(f"fi_pingpong was not done after {timeout} s")
      time.sleep(0.02)

  try:
    start("server", on_server, "-B", str(port))
    wait_until(lambda: listens(processes["server"].pid, port) or processes["server"].poll() is not None)
    start("client", on_client, "-P", str(port), address)

    def finished():
      for role, process in processes.items():
        observe(process.pid, seen[role])
      if during:
        during(processes["client"])
      if any(process.poll() for process in processes.values()):  # one failed, the other may wait for ever
        return True
      return all(process.poll() is not None for process in processes.values())

    wait_until(finished)
    for role, process in processes.items():
      with suppress(subprocess.TimeoutExpired):  # the one that only follows the other's failure: let it speak
        process.wait(1)
      if process.returncode:
        fail(f"the {role} of fi_pingpong failed with status {process.returncode}")
    table = text("client")
    rows = parse_rows(table)
    if not rows or any(sent != acknowledged for _, sent, acknowledged in rows):
      fail("fi_pingpong printed no table, or one with missing acknowledgements")
    return Outcome(table, rows, seen["server"], seen["client"], time.monotonic() - started)
  finally:
    for process in processes.values():
      if process.poll() is None:
        process.kill()
      process.wait()
    for output in outputs.values():
      output.close()
