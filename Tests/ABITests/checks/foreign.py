"""The library from a language without C headers: a Python program that finds every call with dlsym."""

import os
import sys

from checks.common import HERE, INCLUDE, ROOT, require, run as run_program, succeed
from checks.library import DEBIAN_PROVIDER, PROVIDER


def check_transfer(library, provider):
  require(os.path.exists(library), f"there is no {library}")
  environment = {name: value for name, value in os.environ.items() if not name.startswith("FI_")}
  program = os.path.join(HERE, "programs", "transfer.py")
  done = run_program([sys.executable, program, library, provider], env=environment, timeout=90)
  require(done.returncode == 0 and done.stdout == "complete\n", f"exit status {done.returncode}\n{done.stdout}")


def check_transfer_on_debian(suite):
  """libfabric 1.17 behind our exported inline functions: shows that the Python program itself is right."""
  library = suite.path("libfabric-with-inlines.so")
  succeed(["gcc", "-shared", "-fPIC", "-O1", "-I", INCLUDE, os.path.join(ROOT, "Sources", "CFabricCalls", "exports.c"),
           "-o", library, "-lfabric"])
  check_transfer(library, DEBIAN_PROVIDER)


def run(suite, _):
  suite.check("foreign: exchange on libfabric 1.17", check_transfer_on_debian, suite)
  suite.check("foreign: exchange on polyfill", check_transfer, suite.library, PROVIDER)
