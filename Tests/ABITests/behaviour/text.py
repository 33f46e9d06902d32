"""fi_tostr, fi_tostr_r and fi_strerror against what libfabric 2.6.0 prints."""

import ctypes
import socket
import struct

from behaviour.library import CONSTANTS, FACTS, SIZE_MAX, Record, flags, load, version
from checks.common import require, require_equal

TYPES = next(enum["members"] for enum in FACTS["enums"] if "FI_TYPE_INFO" in enum["members"])
VALUES = [str(value) for value in range(36)] + ["256", "0x80000001"]
# Our own protocol is the only name that 2.6.0 does not know.
OWN_PROTOCOL = 0x80504C46


def tostr(library, data, kind):
  text = library.fi_tostr(data, kind)
  return None if text is None else text.decode()


def check_values(library, kind, names):
  for value in VALUES:
    data = ctypes.c_uint32(int(value, 0))
    require_equal(tostr(library, ctypes.addressof(data), TYPES[kind]), names.get(value, "Unknown"), f"{kind} {value}")


def check_flags(library, kind, expected):
  def text(bits):
    return tostr(library, ctypes.addressof(ctypes.c_uint64(bits)), TYPES[kind])
  require_equal(text(0), "", f"{kind} 0")
  require_equal(text(SIZE_MAX), expected["all"], f"{kind} with all bits")
  width = 32 if kind == "FI_TYPE_MR_MODE" else 64
  for bit in range(width):
    require_equal(text(1 << bit), expected["bits"].get(str(bit), ""), f"{kind} bit {bit}")


def sockaddr(address, port):
  buffer = ctypes.create_string_buffer(16)
  struct.pack_into("=H", buffer, 0, socket.AF_INET)
  struct.pack_into("!H4s", buffer, 2, port, socket.inet_aton(address))
  return buffer


def sample(library):
  """The structures that the vectors of 2.6.0 were made from."""
  info = library.hints(
    caps=flags("FI_MSG", "FI_SEND", "FI_RECV"), mode=flags("FI_CONTEXT"), addr_format=CONSTANTS["FI_SOCKADDR_IN"],
    src_addr=sockaddr("127.0.0.1", 8080), src_addrlen=16, tx_op_flags=flags("FI_COMPLETION", "FI_INJECT"),
    tx_msg_order=flags("FI_ORDER_SAS", "FI_ORDER_RMA_RAR"), tx_inject_size=64, ep_type=CONSTANTS["FI_EP_RDM"],
    ep_protocol=CONSTANTS["FI_PROTO_UDP"], ep_mem_tag_format=0xAAAAAAAAAAAAAAAA, ep_tx_ctx_cnt=SIZE_MAX,
    domain_name="dom", domain_mr_mode=flags("FI_MR_LOCAL", "FI_MR_VIRT_ADDR", "FI_MR_ALLOCATED"), fabric_name="fab",
    fabric_prov_name="prov", fabric_prov_version=version(1, 2), fabric_api_version=version(1, 17))
  return info


def structures(library):
  info = sample(library)
  found = {"fi_info_sample": ("FI_TYPE_INFO", info.address)}
  info.kept.append(library.hints())
  found["fi_info_zeroed"] = ("FI_TYPE_INFO", info.kept[-1].address)
  for part in ("tx", "rx", "ep", "domain", "fabric"):
    found[f"{part}_attr"] = (f"FI_TYPE_{part.upper()}_ATTR", info[f"{part}_attr"])
  for number, (name, record) in enumerate([("AV_ATTR", "fi_av_attr"), ("CQ_ATTR", "fi_cq_attr"),
                                           ("MR_ATTR", "fi_mr_attr"), ("CNTR_ATTR", "fi_cntr_attr"),
                                           ("CQ_ERR_ENTRY", "fi_cq_err_entry")]):
    zeroed = Record(record)
    info.kept.append(zeroed)
    found[f"type{29 + number}_zeroed"] = (f"FI_TYPE_{name}", zeroed.address)
  info.kept.append(ctypes.create_string_buffer(1))
  found["version"] = ("FI_TYPE_VERSION", ctypes.addressof(info.kept[-1]))
  return info, found


def check_structures(library, expected):
  owner, found = structures(library)
  require(set(found) < set(expected), "the facts have all structures")
  for name, (kind, address) in found.items():
    require_equal(tostr(library, address, TYPES[kind]), expected[name], name)
  del owner


def check_limits(library, expected):
  data = ctypes.c_uint32(3)
  address = ctypes.addressof(data)
  require_equal(tostr(library, address, 99), expected["unknown_type_99"], "unknown type")
  require_equal(tostr(library, None, TYPES["FI_TYPE_INFO"]), None, "no data")
  buffer = ctypes.create_string_buffer(b"\x7f" * 16, 16)
  end = ctypes.addressof(buffer)
  for length in range(1, 16):
    text = library.fi_tostr_r(end, length, address, TYPES["FI_TYPE_EP_TYPE"])
    require_equal(text.decode(), "FI_EP_RDM"[:length - 1], f"cut to {length} bytes")
    require_equal(buffer.raw[15:], b"\x7f", "the byte behind the buffer")
  require_equal(library.fi_tostr_r(end, 0, address, 1), None, "no length")
  require_equal(library.fi_tostr_r(None, 16, address, 1), None, "no buffer")
  require_equal(library.fi_tostr_r(end, 16, None, 1), None, "no data")


def check_addresses(library):
  info = library.hints(addr_format=CONSTANTS["FI_SOCKADDR_IN6"])
  six = ctypes.create_string_buffer(28)
  struct.pack_into("=H", six, 0, socket.AF_INET6)
  struct.pack_into("!H", six, 2, 7471)
  six[8:24] = socket.inet_pton(socket.AF_INET6, "fe80::6:12")
  six[24] = 1
  info["dest_addr"] = six
  def line():
    text = tostr(library, info.address, TYPES["FI_TYPE_INFO"])
    return next(line.strip() for line in text.splitlines() if "dest_addr:" in line)
  require_equal(line(), "dest_addr: fi_sockaddr_in6://[fe80::6:12]:7471", "IPv6 without its scope")
  info["addr_format"] = CONSTANTS["FI_SOCKADDR"]
  require_equal(line(), "dest_addr: fi_sockaddr_in6://[fe80::6:12]:7471", "any socket address")
  info["addr_format"] = CONSTANTS["FI_ADDR_STR"]
  info["dest_addr"] = b"fi_shm://12:34\0"
  require_equal(line(), "dest_addr: fi_shm://12:34", "an address string")


def check_missing_attributes(library):
  info = Record("fi_info")
  text = tostr(library, info.address, TYPES["FI_TYPE_INFO"])
  for part in ("tx", "rx", "ep", "domain", "fabric"):
    require(f"    fi_{part}_attr: (null)\n" in text, f"{part} is missing in\n{text}")


def check_objects(library):
  """An object describes itself where it can; otherwise it is an address."""
  describe = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
  def write(_, buffer, length):
    ctypes.memmove(buffer, b"an object\n\0", min(length, 11))
    return 0
  slot, ops, fid = describe(write), Record("fi_ops"), Record("fid")
  ops["size"] = FACTS["records"]["fi_ops"]["size"]
  fid["ops"] = ops
  address = f"fid: {hex(fid.address)}\n"
  kind = TYPES["FI_TYPE_FID"]
  require_equal(tostr(library, fid.address, kind), address, "an object without a description")
  ops["tostr"] = ctypes.cast(slot, ctypes.c_void_p).value
  require_equal(tostr(library, fid.address, kind), "an object\n", "an object with a description")
  ops["size"] = 40
  require_equal(tostr(library, fid.address, kind), address, "an object of before 1.7, whose table has no such slot")


def check_own_protocol(library):
  data = ctypes.c_uint32(OWN_PROTOCOL)
  require_equal(tostr(library, ctypes.addressof(data), TYPES["FI_TYPE_PROTOCOL"]), "FI_PROTO_POLYFILL", "own protocol")


def check_errors(library, expected):
  for number, text in expected.items():
    require_equal(library.fi_strerror(int(number)).decode(), text, f"fi_strerror({number})")
  require_equal(library.fi_strerror(-2**31).decode(), "Unspecified error", "fi_strerror(INT_MIN)")


def run(suite, library):
  facts = load("text-2.6.json")
  for kind, names in facts["enums"].items():
    suite.check(f"text: {kind}", check_values, library, kind, names)
  for kind, expected in facts["flags"].items():
    suite.check(f"text: {kind}", check_flags, library, kind, expected)
  suite.check("text: structures", check_structures, library, facts["structures"])
  suite.check("text: limits", check_limits, library, facts["structures"])
  suite.check("text: addresses", check_addresses, library)
  suite.check("text: missing attributes", check_missing_attributes, library)
  suite.check("text: objects", check_objects, library)
  suite.check("text: own protocol", check_own_protocol, library)
  suite.check("text: errors", check_errors, library, facts["errors"])
