"""A complete exchange without a C compiler: ctypes, and the symbols that dlsym finds in the library.

usage: transfer.py LIBRARY PROVIDER

Opens two endpoints in one process, sends a message and a tagged message from one to the other, writes into its memory and
reads it back, and checks every byte. Every call is an exported symbol; structures are laid out from the facts.
"""

import ctypes
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from checks.common import load_facts

FACTS = load_facts()
SECONDS = 20
AGAIN, AVAILABLE, NO_ADDRESS = 11, 259, 2**64 - 1
VALUES = {name: fact["value"] for name, fact in FACTS["macros"].items()}
VALUES.update({name: value for enum in FACTS["enums"] for name, value in enum["members"].items()})
SIZES = {"int": ctypes.c_int, "ssize_t": ctypes.c_ssize_t, "size_t": ctypes.c_size_t, "uint64_t": ctypes.c_uint64,
         "fi_addr_t": ctypes.c_uint64, "uint32_t": ctypes.c_uint32, "uint8_t": ctypes.c_uint8}


def flags(*names):
  result = 0
  for name in names:
    result |= VALUES[name]
  return result


def foreign_type(kind):
  if kind == "void":
    return None
  if kind == "const char *":
    return ctypes.c_char_p
  if kind.endswith("*") or "(*)" in kind or kind == "fid_t":
    return ctypes.c_void_p
  return ctypes.c_uint32 if kind.startswith("enum ") else SIZES[kind]


class Library:
  """The functions by name, each with the types that the facts give it."""

  def __init__(self, path):
    self.library = ctypes.CDLL(path)
    for kind in ("functions", "inline_functions"):
      for name, fact in FACTS[kind].items():
        if fact.get("variadic") or not hasattr(self.library, name):
          continue
        function = getattr(self.library, name)
        function.restype = foreign_type(fact["return"])
        function.argtypes = [foreign_type(parameter) for _, parameter in fact["parameters"]]
        setattr(self, name, function)

  def check(self, name, *arguments):
    """Calls a function that returns 0."""
    if not hasattr(self, name):
      sys.exit(f"{name} is not exported")
    result = getattr(self, name)(*arguments)
    if result != 0:
      sys.exit(f"{name} returned {result}: {self.fi_strerror(-result).decode()}")


class Record:
  """A structure in memory: its own, or at an address that the library gave."""

  def __init__(self, name, address=None):
    fact = FACTS["records"][name]
    self.fields = {field: (offset, size) for field, offset, size, _ in fact["fields"]}
    self.memory = None if address else ctypes.create_string_buffer(fact["size"])
    self.address = address or ctypes.addressof(self.memory)

  def __getitem__(self, field):
    offset, size = self.fields[field]
    return int.from_bytes(ctypes.string_at(self.address + offset, size), sys.byteorder)

  def __setitem__(self, field, value):
    offset, size = self.fields[field]
    ctypes.memmove(self.address + offset, value.to_bytes(size, sys.byteorder), size)

  def record(self, field, name):
    return Record(name, self[field])


class Side:
  """An endpoint with its completion queue and address vector."""

  def __init__(self, fi, domain, info):
    self.fi = fi
    attributes = Record("fi_cq_attr")
    attributes["format"] = VALUES["FI_CQ_FORMAT_TAGGED"]
    self.cq = self.open("fi_cq_open", domain, attributes.address)
    attributes = Record("fi_av_attr")
    attributes["type"] = info.record("domain_attr", "fi_domain_attr")["av_type"]
    self.av = self.open("fi_av_open", domain, attributes.address)
    self.ep = self.open("fi_endpoint", domain, info.address)
    fi.check("fi_ep_bind", self.ep, self.cq, flags("FI_TRANSMIT", "FI_RECV"))
    fi.check("fi_ep_bind", self.ep, self.av, 0)
    fi.check("fi_enable", self.ep)

  def open(self, call, parent, argument):
    handle = ctypes.c_void_p()
    self.fi.check(call, parent, argument, ctypes.addressof(handle), None)
    return handle.value

  def name(self):
    name = ctypes.create_string_buffer(128)
    length = ctypes.c_size_t(len(name))
    self.fi.check("fi_getname", self.ep, ctypes.addressof(name), ctypes.addressof(length))
    return name.raw[:length.value]

  def insert(self, address):
    result = ctypes.c_uint64(NO_ADDRESS)
    inserted = self.fi.fi_av_insert(self.av, address_of(address), 1, ctypes.addressof(result), 0, None)
    if inserted != 1 or result.value == NO_ADDRESS:
      sys.exit(f"fi_av_insert returned {inserted}, address {result.value:#x}")
    return result.value

  def read(self):
    """One completion, or None."""
    entry = Record("fi_cq_tagged_entry")
    got = self.fi.fi_cq_read(self.cq, entry.address, 1)
    if got == 1:
      return entry
    if got == -AVAILABLE:
      error = Record("fi_cq_err_entry")
      self.fi.fi_cq_readerr(self.cq, error.address, 0)
      sys.exit(f"an operation failed: {self.fi.fi_strerror(error['err']).decode()}")
    if got != -AGAIN:
      sys.exit(f"fi_cq_read returned {got}")
    return None

  def close(self):
    for handle in (self.ep, self.cq, self.av):
      self.fi.check("fi_close", handle)


def address_of(data):
  """The address of a bytes object's content, which lives as long as the object."""
  return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value


class Memory:
  """A buffer, registered where the domain wants that."""

  def __init__(self, fi, domain, mode, size, access, key):
    self.buffer = ctypes.create_string_buffer(size)
    self.address = ctypes.addressof(self.buffer)
    self.region = None
    self.fi = fi
    if access & flags("FI_REMOTE_READ", "FI_REMOTE_WRITE") or mode & VALUES["FI_MR_LOCAL"]:
      handle = ctypes.c_void_p()
      fi.check("fi_mr_reg", domain, self.address, size, access, 0, key, 0, ctypes.addressof(handle), None)
      self.region = handle.value
    self.descriptor = fi.fi_mr_desc(self.region) if self.region else None
    self.base = self.address if mode & VALUES["FI_MR_VIRT_ADDR"] else 0

  def close(self):
    if self.region:
      self.fi.check("fi_close", self.region)


class Exchange:
  """Posts operations and waits until all their completions are there."""

  def __init__(self, fi, sides):
    self.fi = fi
    self.sides = sides
    self.contexts = {}

  def post(self, side, call, *arguments):
    """`arguments` are those of the call between the endpoint and the context."""
    context = ctypes.create_string_buffer(64)
    deadline = time.monotonic() + SECONDS
    while True:
      result = getattr(self.fi, call)(side.ep, *arguments, ctypes.addressof(context))
      if result == 0:
        break
      if result != -AGAIN or time.monotonic() > deadline:
        sys.exit(f"{call} returned {result}")
      self.poll()
    self.contexts[ctypes.addressof(context)] = [call, context, None]

  def poll(self):
    for side in self.sides:
      entry = side.read()
      if entry:
        self.contexts[entry["op_context"]][2] = entry

  def finish(self):
    """Waits; returns the completions by the name of the call."""
    deadline = time.monotonic() + SECONDS
    while any(entry is None for _, _, entry in self.contexts.values()):
      if time.monotonic() > deadline:
        sys.exit(f"no completion of {[call for call, _, entry in self.contexts.values() if not entry]}")
      self.poll()
    done = {call: entry for call, _, entry in self.contexts.values()}
    self.contexts = {}
    return done


def expect(condition, text):
  if not condition:
    sys.exit(text)


def open_domain(fi, provider):
  hints = Record("fi_info", fi.fi_allocinfo())
  hints["caps"] = flags("FI_MSG", "FI_TAGGED", "FI_RMA")
  hints["mode"] = flags("FI_CONTEXT", "FI_CONTEXT2", "FI_ASYNC_IOV", "FI_RX_CQ_DATA")
  hints.record("ep_attr", "fi_ep_attr")["type"] = VALUES["FI_EP_RDM"]
  hints.record("domain_attr", "fi_domain_attr")["mr_mode"] = flags(
    "FI_MR_LOCAL", "FI_MR_VIRT_ADDR", "FI_MR_ALLOCATED", "FI_MR_PROV_KEY")
  duplicate = ctypes.CDLL(None).strdup
  duplicate.restype = ctypes.c_void_p
  hints.record("fabric_attr", "fi_fabric_attr")["prov_name"] = duplicate(provider.encode())

  found = ctypes.c_void_p()
  fi.check("fi_getinfo", 0x10011, b"127.0.0.1", None, VALUES["FI_SOURCE"], hints.address, ctypes.addressof(found))
  fi.fi_freeinfo(hints.address)
  info = Record("fi_info", found.value)
  fabric, domain = ctypes.c_void_p(), ctypes.c_void_p()
  fi.check("fi_fabric", info["fabric_attr"], ctypes.addressof(fabric), None)
  fi.check("fi_domain", fabric.value, info.address, ctypes.addressof(domain), None)
  return info, fabric.value, domain.value


def send_messages(exchange, sender, receiver, peer, source, target):
  text = b"a message through exported symbols alone " * 3
  source.buffer[:len(text)] = text
  exchange.post(receiver, "fi_recv", target.address, 1024, target.descriptor, NO_ADDRESS)
  exchange.post(sender, "fi_send", source.address, len(text), source.descriptor, peer)
  done = exchange.finish()
  expect(done["fi_recv"]["len"] == len(text), f"fi_recv: {done['fi_recv']['len']} bytes")
  expect(target.buffer[:len(text)] == text, "the message arrived changed")
  expect(done["fi_recv"]["flags"] & VALUES["FI_RECV"], "the completion of fi_recv has no FI_RECV")

  exchange.post(receiver, "fi_trecv", target.address + 2048, 512, target.descriptor, NO_ADDRESS, 0x1200, 0xFF)
  exchange.post(sender, "fi_tsend", source.address + 2, 64, source.descriptor, peer, 0x1234)
  done = exchange.finish()
  expect(done["fi_trecv"]["tag"] == 0x1234, f"tag {done['fi_trecv']['tag']:#x}")
  expect(target.buffer[2048:2048 + 64] == text[2:66], "the tagged message arrived changed")


def access_memory(exchange, sender, peer, source, target):
  size = 100_000
  pattern = bytes((number * 7 + number // 251) % 256 for number in range(size))
  source.buffer[:size] = pattern
  key = sender.fi.fi_mr_key(target.region)
  before = target.buffer[:4096], target.buffer[4096 + size:]
  exchange.post(sender, "fi_write", source.address, size, source.descriptor, peer, target.base + 4096, key)
  exchange.finish()
  # A completed write may still be on its way into the peer's memory; a read behind it is not.
  source.buffer[:size] = bytes(size)
  exchange.post(sender, "fi_read", source.address, size, source.descriptor, peer, target.base + 4096, key)
  exchange.finish()
  expect(target.buffer[4096:4096 + size] == pattern, "the peer's memory does not hold what was written")
  expect(source.buffer[:size] == pattern, "what was read back is not what was written")
  expect((target.buffer[:4096], target.buffer[4096 + size:]) == before, "memory beside the target was written")


def main():
  fi = Library(sys.argv[1])
  info, fabric, domain = open_domain(fi, sys.argv[2])
  mode = info.record("domain_attr", "fi_domain_attr")["mr_mode"]
  sender, receiver = Side(fi, domain, info), Side(fi, domain, info)
  peer = sender.insert(receiver.name())
  receiver.insert(sender.name())
  access = flags("FI_SEND", "FI_RECV", "FI_READ", "FI_WRITE", "FI_REMOTE_READ", "FI_REMOTE_WRITE")
  source = Memory(fi, domain, mode, 1 << 18, access, 11)
  target = Memory(fi, domain, mode, 1 << 18, access, 12)

  exchange = Exchange(fi, (sender, receiver))
  send_messages(exchange, sender, receiver, peer, source, target)
  access_memory(exchange, sender, peer, source, target)

  sender.close()
  receiver.close()
  source.close()
  target.close()
  fi.check("fi_close", domain)
  fi.check("fi_close", fabric)
  fi.fi_freeinfo(info.address)
  print("complete")


main()
