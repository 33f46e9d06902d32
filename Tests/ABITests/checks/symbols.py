"""The library as the loader sees it: exported symbols and versions, dependencies, size, and what loading it does."""

import os
import re
import sys

from checks.common import OWN_FUNCTIONS, ROOT, Failure, require, require_equal, require_same_set, run as run_program, succeed

SONAME = "libfabric-polyfill.so.1"
OWN_NODE = "POLYFILL_1.0"
# Names that the dynamic loader itself and libc's version nodes bring.
NEEDED = {"libc.so.6", "ld-linux-x86-64.so.2"}
GLIBC_FLOOR = (2, 31)
SIZE_LIMIT = 1_000_000

LOADING = """
import ctypes, os, sys

def state():
  files = {}
  for number in os.listdir('/proc/self/fd'):
    try:
      files[number] = os.readlink('/proc/self/fd/' + number)
    except OSError:
      pass
  files = {number: name for number, name in files.items() if not name.startswith('/proc/')}
  return len(os.listdir('/proc/self/task')), files, dict(os.environ), os.listdir('.')

before = state()
library = ctypes.CDLL(sys.argv[1])
after = state()
if before != after:
  sys.exit(f'loading changed {before} to {after}')
with open('/proc/self/maps') as maps:
  for line in maps:
    if sys.argv[1] in line and 'w' in line.split()[1] and 'x' in line.split()[1]:
      sys.exit('writable code: ' + line)
library.fi_version.restype = ctypes.c_uint32
if library.fi_version() != 0x20006:
  sys.exit(f'fi_version is {library.fi_version():#x}')
"""


def exported(library):
  """name -> [(kind, version, is the default, visibility)] of all defined symbols but the version nodes themselves."""
  symbols = {}
  for line in succeed(["readelf", "--dyn-syms", "--wide", library]).splitlines():
    columns = line.split()
    if len(columns) < 8 or not columns[0].rstrip(":").isdigit():
      continue
    kind, binding, visibility, place, name = columns[3:8]
    if place in ("UND", "ABS") or binding == "LOCAL":
      continue
    name, at, version = name.partition("@")
    is_default = version.startswith("@") or not at
    symbols.setdefault(name, []).append((kind, version.lstrip("@"), is_default, visibility))
  return symbols


def check_core(library, facts):
  symbols = exported(library)
  for name, fact in facts["symbols"].items():
    found = symbols.get(name, [])
    require_same_set([version for _, version, _, _ in found], fact["versions"], f"versions of {name}")
    require_equal([version for _, version, default, _ in found if default], [fact["default"]], f"default of {name}")
    require(all(kind == "FUNC" for kind, _, _, _ in found), f"{name} is no function")


def check_inline(library, facts):
  symbols = exported(library)
  wrong = [name for name in [*facts["inline_functions"], *OWN_FUNCTIONS]
           if [found[:3] for found in symbols.get(name, [])] != [("FUNC", OWN_NODE, True)]]
  require(not wrong, f"not exported as {OWN_NODE}: {wrong}")


def check_nothing_else(library, facts):
  expected = [*facts["symbols"], *facts["inline_functions"], *OWN_FUNCTIONS]
  require_same_set(exported(library), expected, "exported symbols")


def check_visibility(library):
  """A program that is not position-independent may take the address of a function only if it is of this visibility."""
  others = [name for name, found in exported(library).items() if any(entry[3] != "DEFAULT" for entry in found)]
  require(not others, f"not of default visibility: {others}")


def check_nodes(library, facts):
  """The version nodes and which inherits which, as libfabric has them."""
  text = succeed(["readelf", "--version-info", "--wide", library])
  nodes = re.findall(r"Name: (FABRIC_[\d.]+|POLYFILL_[\d.]+)", text)
  require_same_set(nodes, [f"FABRIC_1.{number}" for number in range(11)] + [OWN_NODE], "version nodes")
  parents = re.findall(r"Index: \d+  Cnt: 2  Name: (FABRIC_[\d.]+)\s+\S+: Parent 1: (FABRIC_[\d.]+)", text)
  require_equal(sorted(parents), sorted((f"FABRIC_1.{n}", f"FABRIC_1.{n - 1}") for n in range(1, 11)), "inheritance")


def check_map(facts):
  """The version script lists each function once where libfabric does."""
  with open(os.path.join(ROOT, "pkgconfig", "libfabric-polyfill.map"), encoding="utf-8") as file:
    text = re.sub(r"#.*", "", file.read())
  listed = {node: re.findall(r"(fi_\w+);", body) for node, body in re.findall(r"(\w+_[\d.]+) \{(.*?)\}", text, re.S)}
  require("local:" in text and "*;" in text, "everything else has to be local")
  expected = {OWN_NODE: [*facts["inline_functions"], *OWN_FUNCTIONS]}
  for name, fact in facts["symbols"].items():
    for version in fact["versions"]:
      expected.setdefault(version, []).append(name)
  require_same_set(listed, expected, "version nodes")
  for node, names in expected.items():
    require_same_set(listed[node], names, f"functions of {node}")
    require_equal(len(listed[node]), len(set(listed[node])), f"number of functions of {node}")


def check_dependencies(library):
  dynamic = succeed(["readelf", "--dynamic", "--wide", library])
  require_same_set(set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)) - NEEDED, [], "needed libraries")
  loaded = [line.split()[0] for line in succeed(["ldd", library]).splitlines()]
  allowed = ["linux-vdso.so.1", "libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
  require_same_set(set(loaded) - set(allowed), [], "libraries that ldd lists")
  require("(RPATH)" not in dynamic and "(RUNPATH)" not in dynamic, "the library has a search path")
  require_equal(re.findall(r"\(SONAME\).*\[(.*)\]", dynamic), [SONAME], "soname")


def check_glibc_floor(library):
  """The library loads on systems whose glibc is years older than the one it is built with."""
  versions = set(re.findall(r"Name: GLIBC_([\d.]+)", succeed(["readelf", "--version-info", "--wide", library])))
  require(versions, "no symbol versions of glibc")
  newer = [version for version in versions if tuple(map(int, version.split("."))) > GLIBC_FLOOR]
  require_same_set(newer, [], f"symbol versions after {'.'.join(map(str, GLIBC_FLOOR))}")


def check_no_text_relocations(library):
  dynamic = succeed(["readelf", "--dynamic", "--wide", library])
  require("TEXTREL" not in dynamic, "the library has text relocations")
  program = succeed(["readelf", "--program-headers", "--wide", library])
  for line in program.splitlines():
    columns = line.split()
    if columns and columns[0] in ("LOAD", "GNU_STACK"):
      flags = "".join(columns[6:-1])
      require(not ("W" in flags and "E" in flags), f"writable and executable: {line}")


def check_size(suite):
  stripped = suite.path("stripped.so")
  succeed(["strip", "-o", stripped, suite.library])
  size = os.path.getsize(stripped)
  require(size < SIZE_LIMIT, f"stripped size is {size} bytes, the limit {SIZE_LIMIT}")


def check_loading(suite):
  folder = suite.path("empty")
  os.makedirs(folder, exist_ok=True)
  environment = {name: value for name, value in os.environ.items() if not name.startswith("FI_")}
  done = run_program([sys.executable, "-c", LOADING, suite.library], cwd=folder, env=environment)
  require(done.returncode == 0 and done.stdout == "", f"exit status {done.returncode}, printed {done.stdout!r}")


def check_loading_twice(suite):
  """Closing and loading again works, and so does loading after fork."""
  text = ("import _ctypes, os, sys\n"
          "for _ in range(3):\n"
          "  handle = _ctypes.dlopen(sys.argv[1], 2)\n"
          "  _ctypes.dlclose(handle)\n"
          "if os.fork() == 0:\n"
          "  _ctypes.dlopen(sys.argv[1], 2)\n"
          "  os._exit(0)\n"
          "sys.exit(os.wait()[1] != 0)\n")
  done = run_program([sys.executable, "-c", text, suite.library])
  require(done.returncode == 0 and done.stdout == "", f"exit status {done.returncode}, printed {done.stdout!r}")


def with_library(suite, check, *arguments):
  if not os.path.exists(suite.library):
    raise Failure(f"there is no {suite.library}: build the library first, or name it as an argument")
  check(*arguments)


def run(suite, facts):
  suite.check("symbols: version script", check_map, facts)
  for name, check, arguments in (
      ("core functions and their versions", check_core, (suite.library, facts)),
      ("every inline function, and our own", check_inline, (suite.library, facts)),
      ("nothing else", check_nothing_else, (suite.library, facts)),
      ("default visibility", check_visibility, (suite.library,)),
      ("version nodes", check_nodes, (suite.library, facts)),
      ("libc alone", check_dependencies, (suite.library,)),
      ("nothing newer than glibc 2.31", check_glibc_floor, (suite.library,)),
      ("no text relocations, no writable code", check_no_text_relocations, (suite.library,)),
      ("stripped size", check_size, (suite,)),
      ("loading starts no thread, opens and writes nothing", check_loading, (suite,)),
      ("loading again", check_loading_twice, (suite,)),
  ):
    suite.check(f"symbols: {name}", with_library, suite, check, *arguments)
