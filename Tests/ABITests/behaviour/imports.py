"""fi_open: taking over the log, and handing in a monitor of memory mappings."""

import ctypes

from behaviour.library import ALREADY, BADFLAGS, CONSTANTS, FACTS, INVALID, NOSYS, Record, version
from checks.common import require, require_equal

ENABLED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_uint64)
LOG = ctypes.CFUNCTYPE(
  None, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
CLOSE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
BIND = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)
NOTIFY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def open_object(library, name, api=version(1, 13), length=0, flag_bits=0):
  found = ctypes.c_void_p()
  result = library.fi_open(api, name, None, length, flag_bits, ctypes.byref(found), 0x1234)
  return result, Record("fid", found.value) if found.value else None


def operation(kind, fid, name):
  return kind(Record("fi_ops", fid["ops"])[name])


def close(fid):
  return operation(CLOSE, fid, "close")(fid.address)


def check_refusals(library):
  for name in (b"logging", b"mr_cache"):
    require_equal(open_object(library, name, version(1, 12))[0], INVALID, "before version 1.13")
    require_equal(open_object(library, name, length=8)[0], INVALID, "attributes")
    require_equal(open_object(library, name, flag_bits=1)[0], BADFLAGS, "flags")
  require_equal(open_object(library, b"nothing")[0], NOSYS, "another name")
  require_equal(library.fi_open(version(2, 6), None, None, 0, 0, None, None), INVALID, "no name")


def check_tables(library):
  for name, kind in ((b"Logging", "FI_CLASS_LOG"), (b"MR_CACHE", "FI_CLASS_MR_CACHE")):
    result, fid = open_object(library, name)
    require_equal(result, 0, "names are found without case")
    require_equal((fid["fclass"], fid["context"]), (CONSTANTS[kind], 0x1234), "class and context")
    ops = Record("fi_ops", fid["ops"])
    require_equal(ops["size"], FACTS["records"]["fi_ops"]["size"], "size of the table")
    require(all(ops[slot] for slot in ("close", "bind", "control", "ops_open", "tostr", "ops_set")), "no empty slot")
    require_equal(close(fid), 0, "closing")


def own_log(**functions):
  """A program's fid_logging; the functions stay alive with it."""
  ops, fid = Record("fi_ops_log"), Record("fid_logging")
  ops["size"] = FACTS["records"]["fi_ops_log"]["size"]
  for name, function in functions.items():
    ops[name] = ctypes.cast(function, ctypes.c_void_p).value
    ops.kept.append(function)
  fid["ops"] = ops
  head = Record("fid", fid.address)
  head["fclass"] = CONSTANTS["FI_CLASS_LOG"]
  head.kept.append(fid)
  return head, ops


def check_log(library):
  lines = []
  own, _ = own_log(
    enabled=ENABLED(lambda *_: 1),
    log=LOG(lambda provider, level, subsystem, function, line, text: lines.append((level, function, line, text))))
  _, fid = open_object(library, b"logging")
  bind = operation(BIND, fid, "bind")
  require_equal(bind(fid.address, own.address, 1), INVALID, "flags")
  require_equal(bind(fid.address, own.address, 0), 0, "importing")
  close(fid)
  require_equal(open_object(library, b"logging")[0], ALREADY, "a second import")
  require_equal(len(lines), 1, "what the library says about it")
  lines.clear()
  library.fi_log(None, 1, 0, b"here", 12, b"%d%%\n", 50)
  require_equal(lines, [(1, b"here", 12, b"50%\n")], "lines")
  library.getinfo(version(9, 9))
  require_equal((len(lines), lines[-1][0]), (2, 0), "the library's own message")
  require_equal(close(own), 0, "giving the log back")
  library.getinfo(version(9, 9))
  require_equal(len(lines), 2, "messages after that")
  result, fid = open_object(library, b"logging")
  require_equal(result, 0, "opening again")
  wrong, ops = own_log()
  ops["size"] -= 8
  require_equal(operation(BIND, fid, "bind")(fid.address, wrong.address, 0), INVALID, "a table that is too short")
  wrong["fclass"] = CONSTANTS["FI_CLASS_EQ"]
  require_equal(operation(BIND, fid, "bind")(fid.address, wrong.address, 0), INVALID, "another object")
  close(fid)


def check_monitor(library):
  monitor, ops = Record("fid_mem_monitor"), Record("fi_ops_mem_monitor")
  ops["size"] = FACTS["records"]["fi_ops_mem_monitor"]["size"]
  head = Record("fid", monitor.address)
  head["fclass"] = CONSTANTS["FI_CLASS_MEM_MONITOR"]
  monitor["export_ops"] = ops
  _, fid = open_object(library, b"mr_cache")
  bind = operation(BIND, fid, "bind")
  require_equal(bind(fid.address, head.address, 1), INVALID, "flags")
  require_equal(bind(fid.address, head.address, 0), 0, "importing")
  require_equal(close(fid), 0, "closing the cache")
  notify = Record("fi_ops_mem_notify", monitor["import_ops"])
  NOTIFY(notify["notify"])(monitor.address, 0x1000, 4096)
  require_equal(close(head), 0, "taking the monitor back")


def run(suite, library):
  for name, function in [("refusals", check_refusals), ("tables", check_tables), ("log", check_log),
                         ("memory monitor", check_monitor)]:
    suite.check(f"imports: {name}", function, library)
