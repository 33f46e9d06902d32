"""What each inline function does: the table and slot it calls, with which arguments, and whether it looks at the size.

A program is generated in which every slot of every table of an object is a recorder. Compiled with our headers it shows
what our wrappers do; compiled with Debian's it shows that the expectations are libfabric's own.
"""

import os

from checks.common import (HERE, INCLUDE, SYSTEM_INCLUDE, Failure, compile_cleanly, load, require, require_equal,
                           run as run_program)

TABLES = 8
SLOTS = 16
FOUR_BYTES = ("int", "uint32_t", "enum ")

RECORDER = """
#include <stdio.h>
#include <string.h>

// What the last call was: table, slot, arguments.
static int at_table, at_slot;
static unsigned long got[16];

#define RECORD(t, s)                                                                                                \\
  static long stub_##t##_##s(unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e,   \\
                             unsigned long f, unsigned long g, unsigned long h, unsigned long i, unsigned long j,   \\
                             unsigned long k, unsigned long l, unsigned long m, unsigned long n, unsigned long o,   \\
                             unsigned long p) {                                                                     \\
    unsigned long all[16] = {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};                                       \\
    memcpy(got, all, sizeof got);                                                                                   \\
    at_table = t;                                                                                                   \\
    at_slot = s;                                                                                                    \\
    return 7;                                                                                                       \\
  }
"""

MAIN = """
// An object: all its members that can be tables are. Members of `struct fid` other than `ops` stay 0.
static void *tables[TABLES][SLOTS + 1];
static void *object[32];

static void prepare(unsigned long size) {
  for (int t = 0; t < TABLES; t++)
    for (int s = 0; s < SLOTS; s++)
      tables[t][s] = s ? stubs[t][s] : (void *)size;
  memset(object, 0, sizeof object);
  for (int t = 0; t < TABLES; t++)
    object[2 + t] = tables[t];
  at_table = at_slot = -1;
  memset(got, 0, sizeof got);
}

static int same(int table, int slot, int count, const unsigned long *expected, unsigned long four_bytes) {
  if (at_table != table || at_slot != slot)
    return 0;
  for (int i = 0; i < count; i++) {
    unsigned long mask = four_bytes >> i & 1 ? 0xFFFFFFFFul : ~0ul;
    if ((got[i] & mask) != (expected[i] & mask))
      return 0;
  }
  return 1;
}

static void report(const char *name, int good) {
  printf("%s %s (reached table %d slot %d)\\n", good ? "ok" : "FAIL", name, at_table, at_slot);
}
"""


def field_offset(facts, record, field):
  for name, offset, _, _ in facts["records"][record]["fields"]:
    if name == field:
      return offset
  raise Failure(f"the facts have no {record}.{field}")


def is_four_bytes(kind):
  return not kind.endswith("*") and kind.startswith(FOUR_BYTES)


def call_case(facts, name, place):
  """The C statements that call one wrapper and compare what its slot got."""
  holder, slot_name = place.split()
  record, member = ("fid", "ops") if holder == "fid.ops" else holder.split(".")
  table = field_offset(facts, record, member) // 8 - 2
  slot = field_offset(facts, *slot_name.split(".")) // 8
  function = facts["inline_functions"][name]
  arguments, expected, four_bytes = [], [], 0
  for number, (_, kind) in enumerate(function["parameters"]):
    if number == 0:
      value = "(unsigned long)object"
    elif name == "fi_cq_readerr" and number == 1:
      value = "(unsigned long)scratch"
    else:
      value = str(1001 + number)
    expected.append(value)
    pointer = "*" in kind
    arguments.append(f"({kind}){value}" if pointer or "fid_t" in kind else value)
    four_bytes |= is_four_bytes(kind) << number
  if name == "fi_profile_register_callback":
    arguments[2] = "(void *)1003"
  call = f"{name}({', '.join(arguments)})"
  result = "" if function["return"] == "void" else "long result = (long)(uintptr_t)"
  good = "1" if function["return"] == "void" else "result == 7"
  lines = [f"  {{ unsigned long expected[] = {{{', '.join(expected)}}};"]
  test = f"same({table}, {slot}, {len(expected)}, expected, {four_bytes:#x}) && {good}"
  # A wrapper that looks at the size gets one that just includes the slot, the others one that does not.
  checked = function.get("checks")
  lines.append(f"    prepare({slot * 8 + 1 if checked else 0}); {result}{call}; report(\"{name}\", {test}); }}")
  if checked:
    require_equal(slot_name, checked, f"slot that {name} checks")
    for what, preparation in (("short table", f"prepare({slot * 8});"),
                              ("empty slot", f"prepare(4096); tables[{table}][{slot}] = NULL;"),
                              ("no table", f"prepare(4096); object[{table + 2}] = NULL;")):
      lines.append(f"  {{ {preparation} long result = {call};")
      lines.append(f"    report(\"{name}: {what}\", result == -FI_ENOSYS && at_table == -1); }}")
  return lines


def program(facts, names, places, special):
  lines = [f"#include <{header}>" for header in facts["headers"] if header in special["headers"]]
  lines += [RECORDER]
  for table in range(TABLES):
    lines.append(" ".join(f"RECORD({table}, {slot})" for slot in range(1, SLOTS)))
  lines.append(f"#define TABLES {TABLES}\n#define SLOTS {SLOTS}")
  rows = ["{0, " + ", ".join(f"(void *)stub_{t}_{s}" for s in range(1, SLOTS)) + "}" for t in range(TABLES)]
  lines.append("static void *stubs[TABLES][SLOTS] = {" + ", ".join(rows) + "};")
  lines.append(MAIN)
  lines.append(special["text"])
  lines.append("int main(void) {\n  static unsigned long scratch[16];")
  for name in names:
    lines += call_case(facts, name, places[name])
  lines.append("  special_calls();\n  return 0;\n}")
  return "\n".join(lines) + "\n"


def run_calls(suite, facts, include, names, places, special, label):
  binary = suite.path(label)
  # The recorder returns a long where the slot returns less, and takes more than it is given.
  flags = ["-O0", "-Wno-deprecated-declarations", "-fno-strict-aliasing", *special.get("flags", [])]
  compile_cleanly(program(facts, names, places, special), include=include, flags=flags, output=binary)
  done = run_program([binary])
  require(done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}")
  lines = done.stdout.splitlines()
  bad = [line for line in lines if not line.startswith("ok ")]
  require(not bad, "\n".join(bad))
  require(len(lines) >= len(names), f"only {len(lines)} calls were made")


def check_all_are_listed(facts, places, special_text):
  for name in facts["inline_functions"]:
    require(name in places or f'"{name}' in special_text, f"no expectation for {name}")


def run(suite, facts):
  places = load("calls.json")
  del places["note"]
  with open(os.path.join(HERE, "programs", "special_calls.h"), encoding="utf-8") as file:
    text = file.read()
  special = {"headers": facts["headers"], "text": text, "flags": ["-DSINCE_2_0"]}
  names = [name for name in facts["inline_functions"] if name in places]
  suite.check("calls: every inline function has an expectation", check_all_are_listed, facts, places, text)
  suite.check("calls: our inline functions", run_calls, suite, facts, INCLUDE, names, places, special, "calls-ours")

  later = load("differences-from-1.17.json")["added"]
  old_names = [name for name in names if name not in later["inline_functions"]]
  old_headers = [header for header in facts["headers"] if header not in later["headers"]]
  old_special = {"headers": old_headers, "text": text}
  suite.check("calls: the expectations hold for libfabric 1.17", run_calls, suite, facts, SYSTEM_INCLUDE, old_names,
              places, old_special, "calls-debian")
