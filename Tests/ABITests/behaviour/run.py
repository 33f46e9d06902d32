#!/usr/bin/env python3
"""Tests of the core calls without a C compiler: discovery, texts, variables, logging, imports.

usage: run.py [--only PREFIX ...] [LIBRARY]

Prints one line a test and ends with `N passed, N failed`; the exit status is 0 when none failed.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# The variables under test are set by the tests alone. C code reads what was there when the process began. A native
# library that is installed here has no part in them.
ALONE = {"FI_POLYFILL_MODE": "udp"}
if {name: value for name, value in os.environ.items() if name.startswith("FI_")} != ALONE and "--child" not in sys.argv:
  clean = {name: value for name, value in os.environ.items() if not name.startswith("FI_")}
  os.execve(sys.executable, [sys.executable, *sys.argv], clean | ALONE)

from behaviour import discovery, environment, imports, text
from behaviour.library import Library
from checks.common import ROOT, Suite


def main():
  parser = argparse.ArgumentParser(description="Tests of the core calls.")
  parser.add_argument("library", nargs="?", default=os.path.join(ROOT, "build", "lib", "libfabric-polyfill.so"))
  parser.add_argument("--only", nargs="+", metavar="PREFIX", help="run tests whose names begin like this")
  parser.add_argument("--child", help=argparse.SUPPRESS)
  arguments = parser.parse_args()
  path = os.path.abspath(arguments.library)
  if arguments.child:
    environment.answer(arguments.child, path)
    return 0
  suite = Suite(arguments.only, path)
  try:
    for subject in (text, discovery, imports, environment):
      subject.run(suite, Library(path))
  finally:
    suite.close()
  print(f"{suite.passed} passed, {suite.failed} failed")
  return 1 if suite.failed or not suite.passed else 0


if __name__ == "__main__":
  sys.exit(main())
