"""What environment variables do. They are read once, so each case is a process of its own."""

import ctypes
import json
import os
import re
import subprocess
import sys

from behaviour.library import CONSTANTS, HERE, INVALID, NODATA, NOENT, Library, Record, provider, version
from checks.common import require, require_equal, require_same_set

RUN = os.path.join(HERE, "behaviour", "run.py")
LINE = r"libfabric:{pid}:\d+::{provider}:{subsystem}:\w+\(\):\d+<{level}> .+"
# FI_PROVIDER, the program's own choice, and the names that answer, each with its entries together.
NAMES = [
  (None, None, ["polyfill"]), ("", None, []), ("^", None, ["polyfill"]), ("polyfill", None, ["polyfill"]),
  ("POLYFILL", None, ["polyfill"]), (" polyfill", None, []), ("verbs", None, []), ("^polyfill", None, []),
  ("^tcp", None, ["polyfill"]), ("^tcp", "tcp;ofi_rxm", []), ("tcp", None, ["tcp"]),
  ("tcp", "tcp;ofi_rxm", ["tcp;ofi_rxm"]), ("tcp;ofi_rxm", None, ["tcp;ofi_rxm"]), ("tcp;ofi_rxm", "tcp", []),
  ("ofi_rxm", None, []), ("udp,polyfill,", None, ["udp", "polyfill"]), ("sockets", "polyfill", []),
]
INTEGER, BOOLEAN, SIZE, STRING = 1, 2, 3, 0


def child(suite, what, environment, *arguments):
  """Runs a query of this file in a process with only these FI_ variables; its answer, standard output and error."""
  clean = {name: value for name, value in os.environ.items() if not name.startswith("FI_")}
  environment = {"FI_POLYFILL_MODE": "udp"} | environment
  command = [sys.executable, RUN, "--child", json.dumps([what, *arguments]), suite.library]
  done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=False, timeout=60)
  require_equal(done.returncode, 0, f"exit status, {done.stderr}")
  *lines, last = done.stdout.splitlines()
  answer = json.loads(last)
  return answer, lines, done.stderr.splitlines()


# Queries, run in the child.

def query_names(library, name):
  result, entries = library.getinfo(hints=library.hints(fabric_prov_name=name) if name else None)
  names = [provider(info) for info in entries]
  return result, [name for position, name in enumerate(names) if position == 0 or names[position - 1] != name]


def query_log(library, levels):
  """One refused request, then a message of each level through fi_log where it is enabled."""
  library.getinfo(flag_bits=1 << 57)
  library.getinfo(version(9, 9))
  enabled = []
  for level in range(levels):
    if library.fi_log_enabled(None, level, 0):
      enabled.append(level)
      library.fi_log(None, level, 0, b"query_log", 7, b"%s %d %llx\n", b"text", -5, ctypes.c_uint64(1 << 40))
  return os.getpid(), enabled


def query_long_line(library):
  library.fi_log(None, 0, 0, b"f", 1, b"%s", b"x" * 5000)
  return None


def query_values(library):
  """The library's own variables and one of a provider, as fi_param_get returns them."""
  own = Record("fi_provider")
  own["name"] = b"ofi_test\0"
  pointer = ctypes.c_void_p(own.address)
  answers = []
  for owner, name in [(None, b"log_interval"), (None, b"universe_size"), (None, b"provider"), (None, b"nothing")]:
    value = ctypes.create_string_buffer(b"\x55" * 8, 8)
    answers.append([library.fi_param_get(owner, name, value), int.from_bytes(value.raw[:4], "little")])
  define = [library.fi_param_define(pointer, b"count", INTEGER, b"Count (%d to %s)", 1, b"ten"),
            library.fi_param_define(pointer, b"truth", BOOLEAN, b"Truth"),
            library.fi_param_define(pointer, b"bytes", SIZE, b"Bytes"),
            library.fi_param_define(pointer, b"word", STRING, b"Word"),
            library.fi_param_define(pointer, None, STRING, b"x"),
            library.fi_param_define(pointer, b"x", STRING, None),
            library.fi_param_define(pointer, b"x", STRING, b"")]
  for name, size in [(b"count", 4), (b"truth", 4), (b"bytes", 8)]:
    value = ctypes.create_string_buffer(b"\x55" * 8, 8)
    result = library.fi_param_get(pointer, name, value)
    answers.append([result, int.from_bytes(value.raw[:size], "little"), value.raw[size:].hex()])
  text = ctypes.c_char_p()
  answers.append([library.fi_param_get(pointer, b"word", ctypes.byref(text)), (text.value or b"").decode()])
  answers.append(library.fi_param_get(pointer, None, value))
  answers.append(library.fi_param_get(pointer, b"word", None))
  return define, answers


def query_list(library):
  head, count = ctypes.c_void_p(), ctypes.c_int()
  result = library.fi_getparams(ctypes.byref(head), ctypes.byref(count))
  size, entries, address = 32, [], head.value
  for position in range(count.value):
    entry = Record("fi_param", address + size * position)
    entries.append([entry.text("name"), entry["type"], entry.text("help_string"), entry.text("value")])
  end = ctypes.string_at(address + size * count.value, size)
  library.fi_freeparams(head)
  library.fi_freeparams(None)
  return result, entries, end == bytes(size)


QUERIES = {"names": query_names, "log": query_log, "long_line": query_long_line, "values": query_values,
           "list": query_list}


def answer(request, path):
  what, *arguments = json.loads(request)
  print(json.dumps(QUERIES[what](Library(path), *arguments)), flush=True)


# Checks.

def check_names(suite, variable, hint, expected):
  environment = {} if variable is None else {"FI_PROVIDER": variable}
  (result, names), *_ = child(suite, "names", environment, hint)
  require_equal((result, names), (0 if expected else NODATA, expected), f"FI_PROVIDER={variable}, hint {hint}")


def check_aliases_off(suite):
  for hint, expected in [("tcp", []), ("udp;ofi_rxd", []), ("polyfill", ["polyfill"]), (None, ["polyfill"])]:
    (_, names), *_ = child(suite, "names", {"FI_POLYFILL_ALIASES": "0"}, hint)
    require_equal(names, expected, f"hint {hint}")


def pattern(pid, level, name="core", subsystem="core"):
  return re.compile(LINE.format(pid=pid, provider=name, subsystem=subsystem, level=level))


def check_silence(suite):
  (_, enabled), printed, errors = child(suite, "log", {}, 4)
  require_equal((enabled, printed, errors), ([], [], []), "without FI_LOG_LEVEL")


def check_levels(suite, text, highest):
  names = ["warn", "trace", "info", "debug"]
  (pid, enabled), printed, errors = child(suite, "log", {"FI_LOG_LEVEL": text}, 5)
  require_equal((enabled, printed), (list(range(highest + 1)), []), "levels, and standard output")
  require(any(pattern(pid, "warn").fullmatch(line) for line in errors), f"a newer version is a warning in {errors}")
  require(any(pattern(pid, "warn", "polyfill", "fabric").fullmatch(line) for line in errors), f"FI_SOURCE in {errors}")
  for level in enabled:
    line = rf"libfabric:{pid}:\d+::core:core:query_log\(\):7<{names[level]}> text -5 10000000000"
    require(any(re.fullmatch(line, found) for found in errors), f"no line of level {level} in {errors}")


def check_selection(suite):
  def logged(**environment):
    (pid, _), _, errors = child(suite, "log", {"FI_LOG_LEVEL": "warn"} | environment, 1)
    core = any(pattern(pid, "warn").fullmatch(line) for line in errors)
    own = any(pattern(pid, "warn", "polyfill", "fabric").fullmatch(line) for line in errors)
    return core, own
  require_equal(logged(FI_LOG_PROV="verbs"), (True, False), "another provider's log")
  require_equal(logged(FI_LOG_PROV="verbs,Polyfill"), (True, True), "ours among others")
  require_equal(logged(FI_LOG_PROV="^polyfill"), (True, False), "all but ours")
  require_equal(logged(FI_LOG_SUBSYS="fabric"), (False, True), "one subsystem")
  require_equal(logged(FI_LOG_SUBSYS="^fabric,cq"), (True, False), "all but some subsystems")


def check_location(suite):
  warn = {"FI_LOG_LEVEL": "warn"}
  (pid, _), printed, errors = child(suite, "log", warn | {"FI_LOG_LOCATION": "stdout"}, 1)
  require(any(pattern(pid, "warn").fullmatch(line) for line in printed) and not errors, f"stdout: {printed} {errors}")
  file = suite.path("log")
  (pid, _), _, errors = child(suite, "log", warn | {"FI_LOG_LOCATION": file, "FI_LOG_LOCATION_MODE": "0640"}, 1)
  with open(file, encoding="utf-8") as lines:
    require(any(pattern(pid, "warn").fullmatch(line.rstrip("\n")) for line in lines), "a new file")
  require_equal((errors, os.stat(file).st_mode & 0o777), ([], 0o640), "what else")
  before = os.stat(file).st_size
  (pid, _), _, errors = child(suite, "log", warn | {"FI_LOG_LOCATION": file}, 1)
  require(any("cannot log to" in line for line in errors) and len(errors) > 1, f"an existing file: {errors}")
  require_equal(os.stat(file).st_size, before, "size of the existing file")
  os.mkdir(suite.path("logs"))
  (pid, _), _, errors = child(suite, "log", warn | {"FI_LOG_LOCATION": suite.path("logs")}, 1)
  require_equal((os.listdir(suite.path("logs")), errors), ([f"ofi_{pid}.log"], []), "a directory")


def check_long_line(suite):
  _, _, errors = child(suite, "long_line", {})
  require_equal([line.count("x") for line in errors], [1023], "length of a message, unasked for")


def check_values(suite):
  own = {"FI_LOG_INTERVAL": "0x10", "FI_OFI_TEST_COUNT": "-7", "FI_OFI_TEST_TRUTH": "Yes",
         "FI_OFI_TEST_BYTES": "8589934592", "FI_OFI_TEST_WORD": "a word"}
  (define, answers), *_ = child(suite, "values", own)
  require_equal(define, [0, 0, 0, 0, INVALID, INVALID, INVALID], "definitions")
  require_equal(answers[0], [0, 16], "a number in base 16")
  require_equal(answers[1], [NODATA, 0x55555555], "an unset variable")
  require_equal(answers[2][0], NODATA, "FI_PROVIDER, unset")
  require_equal(answers[3], [NOENT, 0x55555555], "a variable that nobody defined")
  require_equal(answers[4:7], [[0, 2**32 - 7, "55555555"], [0, 1, "55555555"], [0, 8589934592, ""]], "values")
  require_equal(answers[7:], [[0, "a word"], INVALID, INVALID], "a string, and missing arguments")
  (_, answers), *_ = child(suite, "values", {"FI_OFI_TEST_TRUTH": "maybe"})
  require_equal(answers[5], [INVALID, 0x55555555, "55555555"], "neither true nor false")


def check_list(suite):
  (result, entries, ends), *_ = child(suite, "list", {"FI_PROVIDER": "polyfill", "FI_POLYFILL_TX_SIZE": "64"})
  require_equal((result, ends), (0, True), "result, and the entry behind the last")
  found = {name: rest for name, *rest in entries}
  require_equal(len(found), len(entries), "each is listed once")
  for name, kind in {"FI_PROVIDER": STRING, "FI_LOG_LEVEL": STRING, "FI_LOG_INTERVAL": INTEGER,
                     "FI_UNIVERSE_SIZE": SIZE, "FI_POLYFILL_ALIASES": BOOLEAN, "FI_POLYFILL_TX_SIZE": SIZE}.items():
    require_equal(found[name][0], kind, f"type of {name}")
  require_equal((found["FI_PROVIDER"][2], found["FI_POLYFILL_TX_SIZE"][2]), ("polyfill", "64"), "values")
  require_equal(found["FI_LOG_LEVEL"][2], None, "value of an unset one")
  for name, (_, text, _) in found.items():
    require_equal(text.startswith("polyfill: "), name.startswith("FI_POLYFILL_"), f"whose {name} is")


def check_read_means_listed(suite):
  """Every name of an FI_ variable in the library is in the list; enumerators are there for the debugger."""
  (_, entries, _), *_ = child(suite, "list", {})
  with open(suite.library, "rb") as file:
    content = file.read()
  prefixes = rb"\0(FI_(?:(?:LOG|POLYFILL|PROVIDER|UNIVERSE|HOOK|FORK|AV|MR_CACHE|PREFER)[A-Z0-9_]*|HMEM))(?=\0)"
  names = {name.decode() for name in re.findall(prefixes, content)}
  # FI_HMEM is both a variable and an enumerator.
  require_same_set(names - (set(CONSTANTS) - {"FI_HMEM"}), {entry[0] for entry in entries}, "variables")


def run(suite, _):
  for variable, hint, expected in NAMES:
    shown = "unset" if variable is None else repr(variable)
    suite.check(f"environment: FI_PROVIDER {shown}, hint {hint}", check_names, suite, variable, hint, expected)
  for text, highest in [("warn", 0), ("TRACE", 1), ("info", 2), ("debug", 3), ("nonsense", 0), ("", 0)]:
    suite.check(f"environment: FI_LOG_LEVEL {text!r}", check_levels, suite, text, highest)
  for name, function in [
      ("aliases off", check_aliases_off), ("silence", check_silence), ("log selection", check_selection),
      ("log location", check_location), ("long message", check_long_line), ("values", check_values),
      ("list", check_list), ("nothing unlisted is read", check_read_means_listed)]:
    suite.check(f"environment: {name}", function, suite)
