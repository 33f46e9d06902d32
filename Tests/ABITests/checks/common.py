"""What all checks share: the suite that counts, the tools it calls, and the facts."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
INCLUDE = os.path.join(ROOT, "include")
SYSTEM_INCLUDE = "/usr/include"  # where Debian's libfabric-dev puts libfabric 1.17
TIMEOUT = 120
# What this library has and libfabric has not.
OWN_HEADERS = ["rdma/fi_ext_polyfill.h"]
OWN_FUNCTIONS = ["fi_polyfill_status", "fi_prov_ini"]


class Failure(Exception):
  """A check that did not hold. The text says what was found and what was expected."""


def require(condition, text):
  if not condition:
    raise Failure(text)


def require_equal(found, expected, what):
  if found != expected:
    raise Failure(f"{what}: found {found!r}, expected {expected!r}")


def require_same_set(found, expected, what):
  missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
  if missing or extra:
    raise Failure(f"{what}: missing {missing}, not expected {extra}")


class Suite:
  """Runs checks one by one, prints a line for each, and counts."""

  def __init__(self, only, library):
    self.only = only
    self.library = library
    self.passed = 0
    self.failed = 0
    self.work = tempfile.mkdtemp(prefix="abi-tests-")

  def check(self, name, function, *arguments):
    if self.only and not any(name.startswith(prefix) for prefix in self.only):
      return
    try:
      function(*arguments)
    except Failure as failure:
      self.report(name, str(failure))
    except subprocess.TimeoutExpired as expired:
      self.report(name, f"took longer than {expired.timeout} s: {' '.join(expired.cmd)}")
    else:
      self.report(name, None)

  def report(self, name, failure):
    """One line for a check that another program made."""
    if failure is None:
      self.passed += 1
      print(f"ok    {name}", flush=True)
    else:
      self.failed += 1
      print(f"FAIL  {name}", flush=True)
      for line in failure.strip().splitlines()[:40]:
        print(f"      {line}", flush=True)

  def path(self, name):
    return os.path.join(self.work, name)

  def write(self, name, text):
    with open(self.path(name), "w", encoding="utf-8") as file:
      file.write(text)
    return self.path(name)

  def close(self):
    shutil.rmtree(self.work, ignore_errors=True)


def run(command, **options):
  """Runs a program; never raises for its exit status."""
  options.setdefault("timeout", TIMEOUT)
  return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)


def succeed(command, **options):
  """Runs a program that has to succeed; returns what it printed."""
  done = run(command, **options)
  if done.returncode != 0:
    raise Failure(f"exit status {done.returncode}: {' '.join(command)}\n{done.stdout}")
  return done.stdout


def compile_text(text, language="c", standard="gnu17", include=INCLUDE, flags=(), output=None):
  """Compiles a text, for its syntax alone unless `output` is given."""
  compiler = "gcc" if language == "c" else "g++"
  command = [compiler, "-x", language, f"-std={standard}", "-isystem" if include == SYSTEM_INCLUDE else "-I", include]
  command += list(flags) + (["-o", output] if output else ["-fsyntax-only"]) + ["-"]
  return subprocess.run(
    command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=TIMEOUT)


def compile_cleanly(text, **options):
  done = compile_text(text, **options)
  require(done.returncode == 0, done.stdout)


def load(name):
  with open(os.path.join(HERE, "facts", name), encoding="utf-8") as file:
    return json.load(file)


def load_facts():
  """The facts of 2.6.0 with what FABRIC_1.10 added: what our headers have to be."""
  facts, added = load("libfabric-2.6.json"), load("after-2.6.json")
  facts["headers"] = sorted(facts["headers"] + added["headers"])
  for name, version in added["symbols"].items():
    facts["symbols"][name]["versions"].append(version)
    facts["symbols"][name]["default"] = version
  for name, more in added["extended_records"].items():
    facts["records"][name]["size"] = more["size"]
    facts["records"][name]["fields"] += more["fields"]
  for enum in facts["enums"]:
    enum["members"].update(added["extended_enums"].get(next(iter(enum["members"])), {}))
  facts["enums"] += added["enums"]
  for kind in ("records", "macros", "other_macros", "inline_functions"):
    facts[kind].update(added[kind])
  return facts


def stop(text):
  sys.exit(f"error: {text}")
