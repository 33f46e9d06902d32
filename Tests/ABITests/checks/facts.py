"""Sizes, offsets, values, types and prototypes of our headers against the facts of libfabric 2.6.0 and FABRIC_1.10.

Each check compiles a text of static assertions that includes one header alone, so that a name which has moved to
another header is noticed too.
"""

import os
import re

from checks.common import INCLUDE, ROOT, compile_cleanly, compile_text, load, require, require_same_set


def same_type(found, expected):
  return f"__builtin_types_compatible_p({found}, {expected})"


def function_type(function):
  parameters = [kind for _, kind in function["parameters"]] or ["void"]
  if function.get("variadic"):
    parameters.append("...")
  return f"{function['return']} ({', '.join(parameters)})"


class Probe:
  """A C text of static assertions, one a line."""

  def __init__(self, header):
    self.lines = [f"#include <{header}>", "#include <stddef.h>", "#include <stdint.h>"]

  def expect(self, condition, what):
    text = what.replace("\\", "\\\\").replace('"', '\\"')
    self.lines.append(f'_Static_assert({condition}, "{text}");')

  def text(self):
    return "\n".join(self.lines) + "\n"


def add_record(probe, name, record):
  probe.expect(f"sizeof(struct {name}) == {record['size']}", f"size of {name} is {record['size']}")
  probe.expect(f"_Alignof(struct {name}) == {record['align']}", f"alignment of {name} is {record['align']}")
  for field, offset, size, kind in record["fields"]:
    place = f"((struct {name} *)0)->{field}"
    probe.expect(f"offsetof(struct {name}, {field}) == {offset}", f"{name}.{field} is at {offset}")
    if size:
      probe.expect(f"sizeof({place}) == {size}", f"{name}.{field} has {size} bytes")
    if kind != "union {...}":
      probe.expect(same_type(f"__typeof__({place})", kind), f"{name}.{field} is {kind}")


def add_enum(probe, enum):
  for member, value in enum["members"].items():
    probe.expect(f"{member} == {value}", f"{member} is {value}")
  if enum["name"]:
    probe.expect(f"sizeof(enum {enum['name']}) == {enum['size']}", f"size of enum {enum['name']}")
    positive = "0 <" if enum["underlying"].startswith("unsigned") else "0 >"
    probe.expect(f"{positive} (enum {enum['name']})-1", f"enum {enum['name']} is {enum['underlying']}")


def add_macro(probe, name, macro):
  if macro["type"] == "string":
    probe.expect(f'__builtin_strcmp({name}, "{macro["value"]}") == 0', f"{name} is {macro['value']}")
    return
  suffix = "ULL" if macro["value"] > 0x7FFFFFFF else ""
  probe.expect(f"{name} == {macro['value']}{suffix}", f"{name} is {macro['value']}")
  probe.expect(same_type(f"__typeof__({name})", macro["type"]), f"{name} is of type {macro['type']}")
  if macro["preprocessor"] and macro["type"] != "unsigned long":
    probe.lines += [f"#if {name} != {macro['value']}{suffix}", f"#error {name} in #if", "#endif"]


def add_function(probe, name, function):
  probe.expect(same_type(f"__typeof__({name})", function_type(function)), f"{name} is {function_type(function)}")


def check_header(facts, header):
  probe = Probe(header)
  here = lambda kind: ((name, fact) for name, fact in facts[kind].items() if fact["header"] == header)
  for name, fact in here("records"):
    add_record(probe, name, fact)
  for enum in facts["enums"]:
    if enum["header"] == header:
      add_enum(probe, enum)
  for name, fact in here("typedefs"):
    probe.expect(same_type(name, fact["type"]), f"{name} is {fact['type']}")
  for name, fact in here("macros"):
    add_macro(probe, name, fact)
  for kind in ("functions", "inline_functions"):
    for name, fact in here(kind):
      add_function(probe, name, fact)
  require(len(probe.lines) > 10, f"the facts say too little about {header}")
  # FI_DEPRECATED_FUNC speaks up when __typeof__ names a function.
  compile_cleanly(probe.text(), flags=["-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations"])


def check_probe_can_fail(facts):
  """The assertions do notice a wrong fact: each kind of them is given one."""
  def wrong(add, *arguments):
    probe = Probe("rdma/fabric.h")
    add(probe, *arguments)
    done = compile_text(probe.text())
    require(done.returncode != 0 and "static assertion failed" in done.stdout, f"not noticed: {arguments}")
  record = facts["records"]["fi_info"]
  wrong(add_record, "fi_info", dict(record, size=record["size"] + 8))
  wrong(add_record, "fi_info", dict(record, fields=[["caps", 0, 8, "uint64_t"]]))
  wrong(add_record, "fi_info", dict(record, fields=[["caps", 8, 8, "int64_t"]]))
  wrong(add_record, "fi_ops", dict(facts["records"]["fi_ops"], fields=[["close", 8, 8, "int (*)(struct fid_ep *)"]]))
  wrong(add_enum, {"name": None, "members": {"FI_CLASS_EP": 4}})
  wrong(add_macro, "FI_MSG", {"value": 4, "type": "unsigned long long", "preprocessor": False})
  wrong(add_macro, "FI_MSG", {"value": 2, "type": "int", "preprocessor": False})
  wrong(add_function, "fi_close", {"return": "int", "parameters": [["fid", "struct fid_ep *"]]})


# ---- Nothing besides ----


def own_macros(headers):
  """Names of all macros that are defined in our headers: name -> definition."""
  text = "".join(f"#include <{header}>\n" for header in headers)
  done = compile_text(text, flags=["-dD", "-E"], output="/dev/stdout")
  require(done.returncode == 0, done.stdout)
  macros, ours = {}, False
  for line in done.stdout.splitlines():
    place = re.match(r'# \d+ "([^"]+)"', line)
    if place:
      ours = os.path.abspath(place[1]).startswith(INCLUDE)
    elif ours and line.startswith("#define "):
      name = re.match(r"#define (\w+)", line)[1]
      macros[name] = line[len("#define ") + len(name):]
  return macros


def check_macro_names(facts):
  expected = [*facts["macros"], *facts["function_macros"], *facts["other_macros"]]
  require_same_set(own_macros(facts["headers"]), expected, "macros")


def check_macro_parameters(facts):
  macros = own_macros(facts["headers"])
  for name, fact in facts["function_macros"].items():
    parameters = re.match(r"\(([^)]*)\)", macros[name])
    require(parameters, f"{name} takes no parameters")
    names = [text.strip() for text in parameters[1].split(",")]
    found = (len([text for text in names if text != "..."]), "..." in names)
    require(found == (fact["parameters"], fact["variadic"]), f"{name} takes {names}")


def check_type_names(facts):
  records, enums, functions = [], [], []
  for header in facts["headers"]:
    with open(os.path.join(INCLUDE, header), encoding="utf-8") as file:
      text = file.read()
    records += re.findall(r"^struct (\w+) \{", text, re.M)
    enums += re.findall(r"^enum (\w+) \{", text, re.M)
    functions += re.findall(r"^FI_INLINE (?:FI_DEPRECATED_FUNC )?[^(=]*?(\w+)\(", text, re.M)
  require_same_set(records, facts["records"], "structures")
  require_same_set(enums, [enum["name"] for enum in facts["enums"] if enum["name"]], "enumerations")
  require_same_set(functions, facts["inline_functions"], "inline functions")
  require(len(set(functions)) == len(functions), "an inline function is defined twice")


VERSION_MACROS = """
#include <rdma/fabric.h>
_Static_assert(FI_VERSION(1, 17) == 0x10011, "FI_VERSION");
_Static_assert(FI_VERSION(FI_MAJOR_VERSION, FI_MINOR_VERSION) == 0x20006, "version of the headers");
_Static_assert(FI_MAJOR(0x20006) == 2 && FI_MINOR(0x20006) == 6, "FI_MAJOR, FI_MINOR");
_Static_assert(FI_VERSION_GE(FI_VERSION(1, 5), FI_VERSION(1, 5)), "FI_VERSION_GE");
_Static_assert(!FI_VERSION_GE(FI_VERSION(1, 4), FI_VERSION(1, 5)), "FI_VERSION_GE");
_Static_assert(FI_VERSION_LT(FI_VERSION(1, 9), FI_VERSION(1, 10)), "FI_VERSION_LT");
_Static_assert(!FI_VERSION_LT(FI_VERSION(2, 0), FI_VERSION(1, 20)), "FI_VERSION_LT");
"""


def check_library_constants():
  """The sizes of older structures as the library's own sources have them, against the facts by version."""
  versions = load("structures-by-version.json")
  lines = [f'#include "{ROOT}/Sources/CFabric/constants.h"']
  short = {"fi_info": "INFO", "fi_tx_attr": "TX_ATTR", "fi_ep_attr": "EP_ATTR", "fi_domain_attr": "DOMAIN_ATTR"}
  compared = 0
  with open(os.path.join(ROOT, "Sources/CFabric/constants.h"), encoding="utf-8") as file:
    text = file.read()
  for version, records in versions.items():
    if version == "note":
      continue
    for name, macro in short.items():
      constant = f"LFP_{macro}_SIZE_{version.replace('.', '_')}"
      if constant in text:
        lines.append(f'_Static_assert({constant} == {records[name]["size"]}, "{constant}");')
        compared += 1
  require(compared >= 8, f"only {compared} constants were compared")
  compile_cleanly("\n".join(lines) + "\n")


def run(suite, facts):
  for header in facts["headers"]:
    suite.check(f"facts: {header}", check_header, facts, header)
  suite.check("facts: a wrong fact is noticed", check_probe_can_fail, facts)
  suite.check("facts: macros, and no others", check_macro_names, facts)
  suite.check("facts: parameters of macros", check_macro_parameters, facts)
  suite.check("facts: types and inline functions, and no others", check_type_names, facts)
  suite.check("facts: version macros", compile_cleanly, VERSION_MACROS)
  suite.check("facts: sizes of older structures in the library's sources", check_library_constants)
