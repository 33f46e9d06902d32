#!/usr/bin/env python3
"""Tests of the binary interface: headers, symbols, tables, and the entry points for older programs.

usage: run.py [LIBRARY] [--only PREFIX ...]

Prints one line a test and ends with `N passed, N failed`; the exit status is 0 when none failed.
Needs gcc, g++, binutils, and Debian's abigail-tools and libfabric-dev.
"""

import argparse
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from checks import calls, debian, facts, foreign, headers, library, symbols
from checks.common import ROOT, Suite, load_facts, stop

TOOLS = ["gcc", "g++", "ld", "nm", "readelf", "strip", "ldd", "abidiff"]
SUBJECTS = [headers, facts, calls, debian, symbols, library, foreign]


def main():
  parser = argparse.ArgumentParser(description="Tests of the binary interface.")
  parser.add_argument("library", nargs="?", default=os.path.join(ROOT, "build", "lib", "libfabric-polyfill.so"))
  parser.add_argument("--only", nargs="+", metavar="PREFIX", help="run tests whose names begin like this")
  arguments = parser.parse_args()
  for tool in TOOLS:
    if not shutil.which(tool):
      stop(f"{tool} is not installed")

  suite = Suite(arguments.only, os.path.abspath(arguments.library))
  all_facts = load_facts()
  try:
    for subject in SUBJECTS:
      subject.run(suite, all_facts)
  finally:
    suite.close()
  print(f"{suite.passed} passed, {suite.failed} failed")
  return 1 if suite.failed or not suite.passed else 0


if __name__ == "__main__":
  sys.exit(main())
