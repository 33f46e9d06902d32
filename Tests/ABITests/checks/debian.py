"""Our headers against Debian's libfabric-dev 1.17: one probe compiled with both, and libabigail on two objects.

What may differ is listed in facts/differences-from-1.17.json and facts/abidiff-from-1.17.txt; a difference that is not
listed fails, and so does one that is listed and not found.
"""

import os
import re

from checks.common import (HERE, INCLUDE, SYSTEM_INCLUDE, Failure, compile_cleanly, compile_text, load, require,
                           require_equal, require_same_set, run as run_program, succeed)
from checks.facts import function_type, own_macros

def include_all(facts, differences, ours):
  absent = [] if ours else differences["added"]["headers"]
  return "".join(f"#include <{header}>\n" for header in facts["headers"] if header not in absent)


def common_names(facts, differences):
  """What both have, by kind: the facts without what was added since, and what was removed from 1.17 left out."""
  added = differences["added"]
  records = {}
  for name, record in facts["records"].items():
    if name not in added["records"]:
      records[name] = [field for field in record["fields"] if f"{name}.{field[0]}" not in added["fields"]]
  enumerators = [name for enum in facts["enums"] for name in enum["members"] if name not in added["enumerators"]]
  enums = [enum["name"] for enum in facts["enums"] if enum["name"] and enum["name"] not in added["enums"]]
  macros = [name for name in facts["macros"] if name not in added["macros"]]
  functions = {name: fact for kind in ("functions", "inline_functions") for name, fact in facts[kind].items()
               if name not in added[kind]}
  return records, enums, enumerators, macros, functions


def probe_text(facts, differences, ours):
  """A program that prints every common fact. Types cannot be printed: it says whether they are those of the facts."""
  records, enums, enumerators, macros, functions = common_names(facts, differences)
  out = []

  def number(what, value):
    out.append(f'  printf("%s = %llu\\n", "{what}", (unsigned long long)({value}));')

  def kind(what, expression, expected):
    out.append(f'  printf("%s %s\\n", "type of {what}", __builtin_types_compatible_p({expression}, {expected}) '
               f'? "as expected" : "another");')

  for name, fields in records.items():
    number(f"sizeof {name}", f"sizeof(struct {name})")
    number(f"alignof {name}", f"_Alignof(struct {name})")
    for field, _, size, expected in fields:
      number(f"offsetof {name}.{field}", f"offsetof(struct {name}, {field})")
      if expected != "union {...}":
        kind(f"{name}.{field}", f"__typeof__(((struct {name} *)0)->{field})", expected)
      if size:
        number(f"sizeof {name}.{field}", f"sizeof(((struct {name} *)0)->{field})")
  for name in enums:
    number(f"sizeof enum {name}", f"sizeof(enum {name})")
  for name in enumerators:
    number(f"value of {name}", name)
  for name in macros:
    if facts["macros"][name]["type"] == "string":
      out.append(f'  printf("value of {name} = %s\\n", {name});')
    else:
      number(f"value of {name}", name)
      kind(name, f"__typeof__({name})", facts["macros"][name]["type"])
  for name, fact in functions.items():
    kind(name, f"__typeof__({name})", function_type(fact))
  # A type that only the newer headers name still has to be a type for the older ones.
  forward = "".join(f"struct {name};\n" for name in differences["added"]["records"])
  return (include_all(facts, differences, ours) + "#include <stddef.h>\n#include <stdio.h>\n" + forward +
          "int main(void) {\n" + "\n".join(out) + "\n  return 0;\n}\n")


def probe_output(suite, facts, differences, ours):
  binary = suite.path(f"probe-{'ours' if ours else 'debian'}")
  compile_cleanly(probe_text(facts, differences, ours), include=INCLUDE if ours else SYSTEM_INCLUDE, output=binary,
                  flags=["-Wno-deprecated-declarations"])
  return succeed([binary]).splitlines()


def check_probe(suite, facts, differences):
  ours, debian = (probe_output(suite, facts, differences, which) for which in (True, False))
  require_equal(len(ours), len(debian), "lines of the two probes")
  require(len(ours) > 1500, f"only {len(ours)} facts were compared")
  found = {}
  for new, old in zip(ours, debian):
    if new == old:
      continue
    if new.startswith("type of"):
      require(new.endswith("as expected"), f"not as the facts say: {new}")
      found[new.rsplit(" ", 2)[0]] = "type"
    else:
      found[new.split(" = ")[0]] = [int(old.split(" = ")[1]), int(new.split(" = ")[1])]
  expected = {}
  for what, values in differences["changed"].items():
    expected[what] = "type" if what.startswith("type of") else values
  # Members of a changed type have another size too; that is one difference, not two.
  for what in list(found):
    if re.match(r"sizeof \w+\.", what) and found[what] in expected.values():
      del found[what]
  require_same_set(found, expected, "changed facts")
  for what, values in expected.items():
    require_equal(found[what], values, what)


# ---- Names ----


def undeclared(text, include):
  """The names that a text uses and the compiler does not know."""
  done = compile_text(text, include=include, flags=["-fmax-errors=0", "-Wno-deprecated-declarations"])
  names = re.findall(r"[‘'](\w+)[’'] undeclared", done.stdout)
  names += re.findall(r"incomplete type [‘']struct (\w+)[’']", done.stdout)
  names += re.findall(r"no member named [‘'](\w+)[’']", done.stdout)
  return names


def check_added_names(facts, differences):
  """What the list calls new is unknown to 1.17."""
  added = differences["added"]
  text = include_all(facts, differences, False) + "void use(void);\nvoid use(void) {\n"
  names = [*added["enumerators"], *added["macros"], *added["inline_functions"], *added["functions"]]
  text += "".join(f"  (void){name};\n" for name in names)
  text += "".join(f"  (void)sizeof(struct {name});\n" for name in added["records"]) + "}\n"
  # FI_MR_BASIC and its like were enumerators and are macros: removed and added under one name.
  both = set(differences["removed"]["enumerators"]) & set(added["macros"])
  require_same_set(undeclared(text, SYSTEM_INCLUDE), set(names + added["records"]) - both, "names unknown to 1.17")


def check_removed_names(facts, differences):
  """What the list calls removed is known to 1.17 and unknown to us."""
  removed = differences["removed"]
  both = set(removed["enumerators"]) & set(differences["added"]["macros"])
  names = sorted(set(removed["enumerators"] + removed["macros"]) - both)
  use = "void use(void);\nvoid use(void) {\n" + "".join(f"  (void){name};\n" for name in names) + "}\n"
  require_same_set(undeclared(include_all(facts, differences, True) + use, INCLUDE), names, "names unknown to us")
  require_same_set(undeclared(include_all(facts, differences, False) + use, SYSTEM_INCLUDE), [], "names of 1.17")
  macros = own_macros(facts["headers"])
  for name in removed["function_macros"]:
    require(name not in macros, f"{name} is defined")


# ---- libabigail ----


def object_text(facts, differences, ours):
  """A library that uses every common type, so that its debug information has them all."""
  records, enums, _, _, _ = common_names(facts, differences)
  lines = [include_all(facts, differences, ours)]
  lines += [f"void use_{name}(struct {name} *value) {{ (void)value; }}" for name in records]
  lines += [f"void use_enum_{name}(enum {name} value) {{ (void)value; }}" for name in enums]
  return "\n".join(lines) + "\n"


def normalized(report):
  """abidiff's report without places in files and without repeated blank lines."""
  lines = []
  for line in report.splitlines():
    line = re.sub(r" at [\w./-]+:\d+:\d+", "", line).rstrip()
    if line:
      lines.append(line)
  return lines


def check_abidiff(suite, facts, differences):
  libraries = []
  for ours in (False, True):
    libraries.append(suite.path(f"types-{'ours' if ours else 'debian'}.so"))
    compile_cleanly(object_text(facts, differences, ours), include=INCLUDE if ours else SYSTEM_INCLUDE,
                    flags=["-g", "-shared", "-fPIC", "-fno-eliminate-unused-debug-types", "-w"], output=libraries[-1])
  same = run_program(["abidiff", libraries[1], libraries[1]])
  require_equal(same.returncode, 0, "abidiff of a library with itself")
  done = run_program(["abidiff", "--leaf-changes-only", "--no-show-locs", *libraries])
  require(done.returncode & 3 == 0, f"abidiff failed: {done.returncode}\n{done.stdout}")
  found = normalized(done.stdout)
  path = os.path.join(HERE, "facts", "abidiff-from-1.17.txt")
  with open(path, encoding="utf-8") as file:
    expected = [line.rstrip("\n") for line in file if not line.startswith("#")]
  if found != expected:
    missing = [f"- {line}" for line in expected if line not in found]
    extra = [f"+ {line}" for line in found if line not in expected]
    raise Failure("\n".join(missing + extra) or "the lines are in another order")


def run(suite, facts):
  differences = load("differences-from-1.17.json")
  suite.check("debian: sizes, offsets, values and types", check_probe, suite, facts, differences)
  suite.check("debian: names that 1.17 does not have", check_added_names, facts, differences)
  suite.check("debian: names that only 1.17 has", check_removed_names, facts, differences)
  suite.check("debian: libabigail", check_abidiff, suite, facts, differences)
