"""The library through ctypes: the core calls, and structures as bytes whose fields are found in the facts."""

import ctypes
import json
import os

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FORMATS = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}
SIZE_MAX = 2**64 - 1
NODATA, NOSYS, INVALID, NOENT, BADFLAGS, ALREADY = -61, -38, -22, -2, -260, -114


def load(name):
  with open(os.path.join(HERE, "facts", name), encoding="utf-8") as file:
    return json.load(file)


def merged(name):
  """The facts of 2.6.0 with what FABRIC_1.10 added to structures: what our structures are."""
  facts, added = load(name), load("after-2.6.json")
  for record, more in added["extended_records"].items():
    facts["records"][record]["size"] = more["size"]
    facts["records"][record]["fields"] += more["fields"]
  return facts


FACTS = merged("libfabric-2.6.json")
CONSTANTS = {name: macro["value"] for name, macro in FACTS["macros"].items() if isinstance(macro["value"], int)}
for _enum in FACTS["enums"]:
  CONSTANTS.update(_enum["members"])


def version(major, minor):
  return major << 16 | minor


def flags(*names):
  value = 0
  for name in names:
    value |= CONSTANTS[name]
  return value


class Record:
  """A structure in memory: its own, or one that a pointer names. Fields read and write as numbers."""

  def __init__(self, kind, address=None):
    record = FACTS["records"][kind]
    self.fields = {field[0]: (field[1], FORMATS[field[2]]) for field in record["fields"] if field[2] in FORMATS}
    self.memory = None if address else ctypes.create_string_buffer(record["size"])
    self.address = address or ctypes.addressof(self.memory)
    self.kept = []

  def __getitem__(self, name):
    offset, kind = self.fields[name]
    return kind.from_address(self.address + offset).value

  def __setitem__(self, name, value):
    offset, kind = self.fields[name]
    if isinstance(value, Record):
      self.kept.append(value)
      value = value.address
    elif isinstance(value, (bytes, ctypes.Array)):
      buffer = ctypes.create_string_buffer(value) if isinstance(value, bytes) else value
      self.kept.append(buffer)
      value = ctypes.addressof(buffer)
    kind.from_address(self.address + offset).value = value & (2 ** (8 * ctypes.sizeof(kind)) - 1)

  def text(self, name):
    return ctypes.string_at(self[name]).decode() if self[name] else None


class Library:
  def __init__(self, path):
    self.calls = ctypes.CDLL(path)
    self.calls.fi_getinfo.argtypes = [
      ctypes.c_uint32, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p]
    self.calls.fi_dupinfo.argtypes = [ctypes.c_void_p]
    self.calls.fi_dupinfo.restype = ctypes.c_void_p
    self.calls.fi_freeinfo.argtypes = [ctypes.c_void_p]
    self.calls.fi_freeparams.argtypes = [ctypes.c_void_p]
    self.calls.fi_tostr.argtypes = [ctypes.c_void_p, ctypes.c_int]
    self.calls.fi_tostr.restype = ctypes.c_char_p
    self.calls.fi_tostr_r.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int]
    self.calls.fi_tostr_r.restype = ctypes.c_char_p
    self.calls.fi_strerror.restype = ctypes.c_char_p
    self.calls.fi_version.restype = ctypes.c_uint32
    self.calls.fi_open.argtypes = [
      ctypes.c_uint32, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_void_p,
      ctypes.c_void_p]

  def __getattr__(self, name):
    return getattr(self.calls, name)

  def hints(self, **fields):
    """Hints with all attributes; a field is named caps, or after its attributes: tx_size, ep_type, domain_name."""
    parts = {"tx": Record("fi_tx_attr"), "rx": Record("fi_rx_attr"), "ep": Record("fi_ep_attr"),
             "domain": Record("fi_domain_attr"), "fabric": Record("fi_fabric_attr")}
    info = Record("fi_info")
    for name, part in parts.items():
      info[f"{name}_attr"] = part
    for name, value in fields.items():
      part, _, field = name.partition("_")
      target, field = (parts[part], field) if part in parts else (info, name)
      target[field] = value.encode() + b"\0" if isinstance(value, str) else value
    return info

  def getinfo(self, api=version(2, 6), node=None, service=None, flag_bits=0, hints=None):
    """The result and the entries, which stay valid: they are never freed here."""
    head = ctypes.c_void_p(0xdead)
    result = self.fi_getinfo(api, node, service, flag_bits, hints.address if hints else None, ctypes.byref(head))
    entries, address = [], head.value
    while address:
      entries.append(Record("fi_info", address))
      address = entries[-1]["next"]
    return result, entries


def attributes(info, part):
  return Record(f"fi_{part}_attr", info[f"{part}_attr"])


def provider(info):
  return attributes(info, "fabric").text("prov_name")


def domain(info):
  return attributes(info, "domain").text("name")
