"""The demonstration behind Scripts/demo: a distribution's own libfabric programs, unmodified, over the polyfill."""

import argparse
import os
import re
import shutil
import sys
import time
from pathlib import Path

import pingpong
from cases import Failure, end_in_order_on_sigterm, run

LIB = Path(__file__).resolve().parents[2] / "build/lib"
LIBRARY = LIB / "libfabric-polyfill.so"
WAYS_IN = {
    "LD_PRELOAD": {"LD_PRELOAD": str(LIBRARY)},
    "LD_LIBRARY_PATH": {"LD_LIBRARY_PATH": str(LIB / "dropin")},
}
PROVIDERS = (("polyfill", "rdm"), ("tcp;ofi_rxm", "rdm"), ("polyfill", "msg"), ("tcp", "msg"))
SHORT_TABLE_SIZES = {"0", "1", "4", "16", "64", "256", "1k", "4k", "16k", "64k", "256k", "1m", "4m"}
LARGEST = "4m"

proofs = []


def heading(text):
  print(f"\n== {text}", flush=True)


def prove(text):
  print(f"   {text}", flush=True)
  proofs.append(text)


def udp_datagrams_sent():
  """UDP datagrams sent by this host since it started."""
  text = Path("/proc/net/snmp").read_text()
  names, values = (line.split() for line in text.splitlines() if line.startswith("Udp:"))
  return int(values[names.index("OutDatagrams")])


def library_version(environment):
  text = run(["fi_info", "--version"], env=os.environ | environment)
  return re.search(r"^libfabric: (\S+)", text, re.MULTILINE)[1]


def show_untouched():
  heading("The programs")
  programs = f"fi_info and fi_pingpong ({shutil.which('fi_pingpong')})"
  if not shutil.which("dpkg"):
    print(f"   {programs}: not from a Debian package, their origin is not checked")
    return
  package = run(["dpkg-query", "--show", "libfabric-bin"]).split()
  changed = run(["dpkg", "--verify", "libfabric-bin"])
  if re.search(r"\s/usr/bin/", changed):
    raise Failure(f"dpkg --verify says that these programs are not Debian's any more:\n{changed}")
  prove(f"{programs} are the unmodified files of {' '.join(package)} (dpkg --verify)")


def run_fi_info(way, environment):
  command = ["fi_info", "-p", "polyfill"]
  heading(f"{way}: {' '.join(command)}")
  output = run(command, env=os.environ | environment)
  print(output, end="")
  entries = output.count("provider: polyfill\n")
  if not entries:
    raise Failure("fi_info does not list the provider polyfill")
  native, ours = library_version({}), library_version(environment)
  prove(f"{way}: fi_info was answered by our library: {entries} entries of provider polyfill, version {ours}; "
        f"Debian's library is {native} and has no such provider")


def check_what_was_held(way, outcome):
  """The names of our library as both processes mapped it, once it is certain that it carried the messages."""
  for role, seen in (("server", outcome.server), ("client", outcome.client)):
    ours = {path for path in seen.libraries if Path(path).exists() and LIBRARY.samefile(path)}
    if not ours:
      raise Failure(f"the {role} did not load {LIBRARY}, but {seen.libraries}")
    if way == "LD_LIBRARY_PATH" and seen.libraries != ours:
      raise Failure(f"the {role} also loaded {seen.libraries - ours}")
    if not seen.udp_ports:
      raise Failure(f"the {role} never had a UDP socket; TCP sockets: {seen.tcp_ports}")
  return outcome.server.udp_ports, outcome.client.udp_ports


def run_pingpong(way, environment, provider, endpoint, full):
  port = pingpong.free_port()
  heading(f"{way}: fi_pingpong -p '{provider}' -e {endpoint} -c -S all")
  datagrams = udp_datagrams_sent()
  outcome = pingpong.run(provider, "127.0.0.1", arguments=["-S", "all"], environment=environment, endpoint=endpoint,
                         port=port)
  datagrams = udp_datagrams_sent() - datagrams
  for line in outcome.table.splitlines():
    size = line.split()[:1]
    if full or size == ["bytes"] or size and size[0] in SHORT_TABLE_SIZES:
      print(line)
  sizes = [size for size, _, _ in outcome.rows]
  if LARGEST not in sizes:
    raise Failure(f"fi_pingpong did not reach {LARGEST} bytes:\n{outcome.table}")
  server, client = check_what_was_held(way, outcome)
  others = {ports for seen in (outcome.server, outcome.client) for ports in seen.tcp_ports if port not in ports}
  if others:
    raise Failure(f"TCP sockets besides fi_pingpong's own control connection: {others}")
  ports = " and ".join(",".join(map(str, sorted(side))) for side in (server, client))
  prove(f"{way}: -p '{provider}' -e {endpoint}: {len(sizes)} sizes from {sizes[0]} to {sizes[-1]} bytes, every byte checked, in "
        f"{outcome.seconds:.1f} s, between UDP ports {ports} ({datagrams} datagrams; the only TCP connection is "
        "fi_pingpong's own control connection)")


def main():
  parser = argparse.ArgumentParser(prog="Scripts/demo", description="Debian's libfabric programs over the polyfill.")
  parser.add_argument("--full", action="store_true", help="print every row of fi_pingpong's tables")
  full = parser.parse_args().full
  started = time.monotonic()
  end_in_order_on_sigterm()
  try:
    if re.search(r"[ :;]", str(LIB)):  # these variables have no way to quote
      raise Failure(f"LD_PRELOAD and LD_LIBRARY_PATH cannot hold this path: {LIB}")
    show_untouched()
    for way, environment in WAYS_IN.items():
      run_fi_info(way, environment)
      for provider, endpoint in PROVIDERS:
        run_pingpong(way, environment, provider, endpoint, full)
  except Failure as failure:
    sys.stdout.flush()
    print(f"\nerror: {failure}", file=sys.stderr)
    failed = 1
  else:
    failed = 0
    heading(f"Proven in {time.monotonic() - started:.0f} s")
    for number, text in enumerate(proofs, 1):
      print(f"{number}. {text}")
  print(f"{len(proofs)} passed, {failed} failed")
  return failed


if __name__ == "__main__":
  sys.exit(main())
