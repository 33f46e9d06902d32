"""Programs that run against a library: entry points for older programs, a walk through all tables, and the calls that
take a printf format.

Each program runs against Debian's libfabric 1.17 too, as far as that goes: that shows that the program is right.
"""

import os
import re

from checks.common import HERE, INCLUDE, Failure, load, require, run as run_program, succeed

DEBIAN = "/usr/lib/x86_64-linux-gnu/libfabric.so.1"
DEBIAN_PROVIDER = "tcp;ofi_rxm"
PROVIDER = "polyfill"
# The newest interface version that the programs of a symbol version ask for: the last release before the next one.
API = {"1.0": (1, 4), "1.1": (1, 6), "1.2": (1, 8), "1.3": (1, 17), "1.7": (1, 20), "1.8": (2, 0), "1.9": (2, 5),
       "1.10": (2, 6)}
NEWEST = "1.10"
RECORDS = ["fi_info", "fi_tx_attr", "fi_rx_attr", "fi_ep_attr", "fi_domain_attr", "fi_fabric_attr"]


def versions_header(facts):
  versions = load("structures-by-version.json")
  del versions["note"]
  versions[NEWEST] = facts["records"]
  lines = ["static const struct version versions[] = {"]
  for name, records in versions.items():
    sizes = ", ".join(str(records[record]["size"]) for record in RECORDS)
    lines.append(f'  {{"{name}", {sizes}, FI_VERSION({API[name][0]}, {API[name][1]})}},')
  return "\n".join(lines + ["};"]) + "\n"


def build(suite, name, facts):
  suite.write("versions.h", versions_header(facts))
  binary = suite.path(name)
  source = os.path.join(HERE, "programs", f"{name}.c")
  succeed(["gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations", "-O1", "-g",
           "-I", INCLUDE, "-I", suite.work, source, "-o", binary, "-ldl"])
  return binary


def run_cases(suite, label, command, at_least):
  """Counts each line of a program as a check of its own."""
  environment = {name: value for name, value in os.environ.items() if not name.startswith("FI_")}
  done = run_program(command, env=environment)
  lines = [line for line in done.stdout.splitlines() if re.match(r"(ok|FAIL) ", line)]
  for line in lines:
    verdict, case = line.split(" ", 1)
    name, _, reason = case.partition(": ")
    suite.report(f"{label}: {name}", None if verdict == "ok" else reason)
  if done.returncode != 0:
    suite.report(f"{label}: exit status", f"{done.returncode}\n{done.stdout[-2000:]}")
  elif len(lines) < at_least:
    suite.report(f"{label}: number of cases", f"{len(lines)}, expected {at_least} at least\n{done.stdout[-2000:]}")


def wanted(suite, label):
  """Programs print many cases, so that a selection by name decides about whole programs."""
  return not suite.only or any(label.startswith(prefix) or prefix.startswith(label) for prefix in suite.only)


def run_program_against(suite, facts, label, name, arguments, at_least):
  if not wanted(suite, label):
    return
  try:
    binary = build(suite, name, facts)
    require(os.path.exists(arguments[0]), f"there is no {arguments[0]}")
    run_cases(suite, label, [binary, *arguments], at_least)
  except Failure as failure:
    suite.report(label, str(failure))


def check_overread_is_noticed(suite, facts):
  """libfabric 1.17 reads too far at 1.1 and 1.2, where it widens the outer structure alone: the program sees it."""
  binary = build(suite, "compat", facts)
  done = run_program([binary, DEBIAN, DEBIAN_PROVIDER, "1.3", "1.1"])
  require("touched memory that the structures of this version do not have" in done.stdout, done.stdout)


def run(suite, facts):
  run_program_against(suite, facts, "compat of libfabric 1.17", "compat",
                      [DEBIAN, DEBIAN_PROVIDER, "1.3", "1.0", "1.3"], 25)
  suite.check("compat of libfabric 1.17: an overread is noticed", check_overread_is_noticed, suite, facts)
  run_program_against(suite, facts, "tables of libfabric 1.17", "tables", [DEBIAN, DEBIAN_PROVIDER, "older"], 40)
  run_program_against(suite, facts, "variadic calls of libfabric 1.17", "variadic", [DEBIAN], 10)
  run_program_against(suite, facts, "variadic calls of polyfill", "variadic", [suite.library], 10)
  run_program_against(suite, facts, "compat of polyfill", "compat", [suite.library, PROVIDER, NEWEST, *API], 92)
  run_program_against(suite, facts, "tables of polyfill", "tables", [suite.library, PROVIDER], 50)
