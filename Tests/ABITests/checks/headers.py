"""Each public header compiles alone and in any order, in C and C++, without a warning."""

import os
import random
import re

from checks.common import INCLUDE, HERE, OWN_HEADERS, Failure, compile_cleanly, require, require_same_set, succeed

DIALECTS = [("c", "c99"), ("c", "gnu17"), ("c++", "c++11"), ("c++", "c++20")]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
SEED = 20


def include_text(headers):
  return "".join(f"#include <{header}>\n" for header in headers)


def compile_everywhere(text, flags):
  for language, standard in DIALECTS:
    try:
      compile_cleanly(text, language=language, standard=standard, flags=flags)
    except Failure as failure:
      raise Failure(f"{language} {standard}:\n{failure}") from None


def check_files(facts):
  found = []
  for folder, _, names in os.walk(os.path.join(INCLUDE, "rdma")):
    found += [os.path.relpath(os.path.join(folder, name), INCLUDE) for name in names]
  require_same_set(found, facts["headers"] + OWN_HEADERS, "header files")


def check_pairs(headers):
  """Every second header after every first: all ordered pairs, most of them in one dialect to save time."""
  pairs = [(first, second) for first in headers for second in headers if first != second]
  random.Random(SEED).shuffle(pairs)
  for count, pair in enumerate(pairs):
    language, standard = DIALECTS[count % len(DIALECTS)]
    compile_cleanly(include_text(pair), language=language, standard=standard, flags=WARNINGS)


def check_orders(headers):
  orders = [list(headers), list(reversed(headers))]
  generator = random.Random(SEED)
  for _ in range(4):
    orders.append(generator.sample(headers, len(headers)))
  for order in orders:
    compile_everywhere(include_text(order + order), WARNINGS)


def check_two_units(suite, headers):
  """Two files of one program include everything: no symbol may be defined twice."""
  objects = []
  for number in (1, 2):
    objects.append(suite.path(f"unit{number}.o"))
    text = include_text(headers) + f"int unit{number}(void) {{ return FI_EAGAIN; }}\n"
    compile_cleanly(text, flags=["-c", *WARNINGS], output=objects[-1])
  succeed(["ld", "-r", "-o", suite.path("units.o"), *objects])


def check_module_map(facts):
  with open(os.path.join(INCLUDE, "module.modulemap"), encoding="utf-8") as file:
    listed = re.findall(r'header "(rdma/[^"]+)"', file.read())
  require_same_set(listed, facts["headers"] + OWN_HEADERS, "headers in the module map")


def check_style(path):
  """A program in the style of the 1.x releases. Calls that 2.0 deprecated warn, as they do with libfabric."""
  with open(path, encoding="utf-8") as file:
    text = file.read()
  for language, standard in DIALECTS:
    compile_cleanly(text, language=language, standard=standard, flags=[*WARNINGS, "-Wno-deprecated-declarations"])


def run(suite, facts):
  headers = facts["headers"] + OWN_HEADERS
  suite.check("headers: the set of files", check_files, facts)
  suite.check("headers: all are in the module map", check_module_map, facts)
  for header in headers:
    suite.check(f"headers: {header} alone", compile_everywhere, include_text([header]), WARNINGS)
  suite.check("headers: all ordered pairs", check_pairs, headers)
  suite.check("headers: all, in any order, twice", check_orders, headers)
  suite.check("headers: two units of one program", check_two_units, suite, headers)
  folder = os.path.join(HERE, "programs", "style-1.x")
  names = sorted(os.listdir(folder))
  require(names, "no programs in the style of 1.x")
  for name in names:
    suite.check(f"headers: 1.x program {name}", check_style, os.path.join(folder, name))
