"""The contract of every test runner here: a line per case, then `N passed, N failed` as the last line."""

import signal
import subprocess
import sys
import time

SKIPPED = 77  # the exit status that says that nothing could be tested on this machine


class Failure(Exception):
  """A case did not hold; the text says why, and shows what was seen."""


def run(command, *, timeout=60, expected=0, **options):
  """What a command prints, error output included; a Failure unless it ends in time with the expected status."""
  words = " ".join(map(str, command))
  try:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=timeout, check=False, **options)
  except subprocess.TimeoutExpired as error:
    output = (error.stdout or b"").decode(errors="replace")
    raise Failure(f"{words}\nwas not done after {timeout} s\n{output}") from None
  except FileNotFoundError as error:
    raise Failure(f"{words}\n{error}") from None
  if done.returncode != expected:
    raise Failure(f"{words}\nended with status {done.returncode}, not {expected}\n{done.stdout}")
  return done.stdout


def end_in_order_on_sigterm():
  """Lets a termination signal run the `finally` parts, so that processes and namespaces are not left behind."""
  signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def shorten(text, head=25, tail=15):
  """A text without its middle where it is long: compilers say what matters first, programs last."""
  lines = text.rstrip().splitlines()
  if len(lines) > head + tail:
    lines[head:-tail] = [f"... {len(lines) - head - tail} lines left out ..."]
  return "\n".join(lines)


class Cases:
  """Runs cases one after the other and counts them."""

  def __init__(self):
    self.passed = 0
    self.failed = 0

  def case(self, name, function, *arguments, **options):
    """Calls the function: a case passes when it returns. What it returns as text is shown beside the name."""
    started = time.monotonic()
    try:
      note = function(*arguments, **options)
    except Failure as failure:
      self.failed += 1
      print(f"FAIL {name}\n     " + shorten(str(failure)).replace("\n", "\n     "), flush=True)
    else:
      self.passed += 1
      print(f"ok   {name} ({time.monotonic() - started:.1f} s){': ' + note if note else ''}", flush=True)

  def finish(self):
    """Prints the last line and ends the process."""
    print(f"{self.passed} passed, {self.failed} failed", flush=True)
    sys.exit(1 if self.failed or not self.passed else 0)


def skip(reason):
  """Ends the process: nothing can be tested here."""
  print(f"skipped: {' '.join(reason.split())}\n0 passed, 0 failed", flush=True)
  sys.exit(SKIPPED)
