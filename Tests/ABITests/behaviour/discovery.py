"""fi_getinfo, fi_dupinfo and fi_freeinfo: the answers that libfabric 2.6.0 gives for tcp, and what is our own."""

import ctypes

from behaviour.library import (
  CONSTANTS, INVALID, NODATA, NOSYS, Record, attributes, domain, flags, load, provider, version)
from behaviour.text import TYPES, tostr
from checks.common import require, require_equal

ALIASES = {"udp": ("FI_PROTO_UDP", 0), "udp;ofi_rxd": ("FI_PROTO_RXD", 1), "tcp": ("FI_PROTO_XNET", 1),
           "tcp;ofi_rxm": ("FI_PROTO_RXM", 1), "sockets": ("FI_PROTO_SOCK_TCP", 2)}
# Every order of messages, writes, reads and atomic operations.
ALL_ORDERS = 0xff_0000_01ff
# Where this library offers more than upstream's tcp.
OFFERED = {"dom.mr_iov_limit": 4, "dom.max_ep_stx_ctx": 32768, "dom.max_ep_srx_ctx": 32768,
           "dom.max_ep_tx_ctx": 256, "dom.max_ep_rx_ctx": 256, "dom.max_err_data": 28, "dom.max_ep_auth_key": 8,
           "ep.max_order_war_size": 2**64 - 1, "tx.msg_order": ALL_ORDERS, "rx.msg_order": ALL_ORDERS}
PARTS = {"tx": "tx", "rx": "rx", "ep": "ep", "dom": "domain"}


def field(info, name):
  """A field by its name in the facts: caps, tx.size, dom.mr_mode, domain, fabric."""
  part, _, rest = name.partition(".")
  if rest:
    return attributes(info, PARTS[part])["progress" if rest == "data_progress" else rest]
  if name == "api_version":
    return attributes(info, "fabric")[name]
  if name in ("domain", "fabric"):
    return attributes(info, name).text("name")
  return info[name]


def check_like_tcp(library, api, expected):
  hints = library.hints(ep_type=CONSTANTS["FI_EP_RDM"], domain_name="lo", addr_format=CONSTANTS["FI_SOCKADDR_IN"])
  result, entries = library.getinfo(version(*map(int, api.split("."))), hints=hints)
  require_equal((result, len(entries)), (0, 1), "result and number of entries")
  wanted = expected | OFFERED
  found = {name: field(entries[0], name) for name in wanted}
  require_equal({name: found[name] for name in wanted if found[name] != wanted[name]}, {}, f"version {api}: differences")


def check_threading(library, expected):
  for level, result in expected.items():
    found, entries = library.getinfo(hints=library.hints(domain_threading=int(level)))
    require_equal(found, result, f"threading {level}")
    for info in entries:
      require_equal(attributes(info, "domain")["threading"], int(level) or 1, "threading of an entry")
  for level in ("2", "5"):
    found, entries = library.getinfo(version(1, 17), hints=library.hints(domain_threading=int(level)))
    require_equal((found, attributes(entries[0], "domain")["threading"]), (0, int(level)), "threading before 2.0")


def check_memory_mode(library, api, expected):
  for hint, mode in expected.items():
    hints = library.hints(caps=flags("FI_RMA"), domain_mr_mode=int(hint, 0))
    result, entries = library.getinfo(int(api, 0), hints=hints)
    require_equal(result, NODATA if mode is None else 0, f"version {api}, mr_mode {hint}")
    for info in entries:
      require_equal(attributes(info, "domain")["mr_mode"], mode, f"version {api}, mr_mode {hint}: answer")
      require(info["caps"] & flags("FI_REMOTE_WRITE"), "remote access stays")


def check_refusals(library):
  result, entries = library.getinfo(version(2, 7))
  require_equal((result, entries), (NOSYS, []), "a newer version")
  for what, hints in {
      "another provider": library.hints(fabric_prov_name="verbs"),
      "an unknown interface": library.hints(domain_name="nope"),
      "an unknown network": library.hints(fabric_name="198.51.100.0/24"),
      "a protocol of somebody else": library.hints(ep_protocol=CONSTANTS["FI_PROTO_EFA"])}.items():
    result, entries = library.getinfo(hints=hints)
    require_equal((result, entries), (NODATA, []), what)
  require_equal(library.fi_getinfo(version(2, 6), None, None, 0, None, None), INVALID, "nowhere to put the result")
  require_equal(library.getinfo(flag_bits=flags("FI_SOURCE"))[0], NODATA, "FI_SOURCE alone")
  numeric = flags("FI_NUMERICHOST")
  require_equal(library.getinfo(node=b"localhost", flag_bits=numeric)[0], NODATA, "a name that must be a number")


def check_provider_only(library):
  result, entries = library.getinfo(version(1, 4), flag_bits=flags("FI_PROV_ATTR_ONLY"))
  require_equal((result, [provider(info) for info in entries]), (0, ["polyfill"]), "providers")
  expected = library.hints(fabric_prov_name="polyfill")
  attributes(expected, "fabric")["prov_version"] = attributes(entries[0], "fabric")["prov_version"]
  kind = TYPES["FI_TYPE_INFO"]
  require(attributes(entries[0], "fabric")["prov_version"], "it has a version")
  require_equal(tostr(library, entries[0].address, kind), tostr(library, expected.address, kind), "all other fields")


def check_order(library):
  _, entries = library.getinfo()
  types = [attributes(info, "ep")["type"] for info in entries]
  require_equal(types[0], CONSTANTS["FI_EP_RDM"], "reliable datagrams come first")
  for ep_type in sorted(set(types)):
    kinds = [(domain(info), info["addr_format"]) for info, found in zip(entries, types) if found == ep_type]
    require_equal(len(set(kinds)), len(kinds), f"entries per interface and family, endpoint type {ep_type}")
    loopback = [name == "lo" for name, _ in kinds]
    require(True in loopback and loopback == sorted(loopback), f"loopback is last: {kinds}")
  require_equal({provider(info) for info in entries}, {"polyfill"}, "the name without a request")


def check_alias(library, name):
  protocol, protocol_version = ALIASES[name]
  hints = library.hints(fabric_prov_name=name, ep_protocol=CONSTANTS[protocol], ep_protocol_version=protocol_version)
  result, entries = library.getinfo(hints=hints)
  require_equal(result, 0, "result")
  for info in entries:
    require_equal(provider(info), name, "provider name")
    endpoint = attributes(info, "ep")
    require_equal(endpoint["protocol"], CONSTANTS[protocol], "protocol")
    require_equal(endpoint["protocol_version"], protocol_version, "protocol version")
  hints = library.hints(fabric_prov_name=name, ep_protocol=CONSTANTS[protocol], ep_protocol_version=3)
  require_equal(library.getinfo(hints=hints)[0], NODATA, "a newer protocol")


def check_addresses(library):
  _, entries = library.getinfo(node=b"127.0.0.1", service=b"5000", flag_bits=flags("FI_SOURCE"))
  types = [attributes(info, "ep")["type"] for info in entries]
  require_equal(len(set(types)), len(entries), "one source, one entry for each type of endpoints")
  text = tostr(library, entries[0].address, TYPES["FI_TYPE_INFO"])
  require("src_addr: fi_sockaddr_in://127.0.0.1:5000\n" in text and "dest_addr: (null)\n" in text, text)
  _, entries = library.getinfo(node=b"127.0.0.1", service=b"5000")
  text = tostr(library, entries[0].address, TYPES["FI_TYPE_INFO"])
  require("src_addr: fi_sockaddr_in://127.0.0.1:0\n" in text, text)
  require("dest_addr: fi_sockaddr_in://127.0.0.1:5000\n" in text, text)
  require_equal((domain(entries[0]), field(entries[0], "fabric")), ("lo", "127.0.0.1/32"), "interface of the route")


def check_duplicate(library):
  empty = Record("fi_info", library.fi_dupinfo(None))
  for part in ("tx", "rx", "ep", "domain", "fabric"):
    require(empty[f"{part}_attr"], f"{part}_attr of an empty structure")
  kind = TYPES["FI_TYPE_INFO"]
  zeroed = library.hints()
  require_equal(tostr(library, empty.address, kind), tostr(library, zeroed.address, kind), "empty structure")
  library.fi_freeinfo(empty.address)
  _, entries = library.getinfo()
  copies = [Record("fi_info", library.fi_dupinfo(info.address)) for info in entries]
  for info, copy in zip(entries, copies):
    require_equal(copy["next"], 0, "a copy is alone")
    require(copy["domain_attr"] != info["domain_attr"] and copy["src_addr"] != info["src_addr"], "it is deep")
    require_equal(tostr(library, copy.address, kind), tostr(library, info.address, kind), "its text")
  before = tostr(library, copies[0].address, kind)
  library.fi_freeinfo(entries[0].address)
  require_equal(tostr(library, copies[0].address, kind), before, "a copy outlives its original")
  for copy in copies:
    library.fi_freeinfo(copy.address)
  library.fi_freeinfo(None)


def check_results_as_hints(library):
  for name in (None, "tcp;ofi_rxm"):
    _, entries = library.getinfo(hints=library.hints(fabric_prov_name=name) if name else None)
    for info in entries:
      result, again = library.getinfo(hints=info)
      require_equal((result, len(again)), (0, 1), f"the entry of {domain(info)} as hints")
      require_equal(again[0]["caps"], info["caps"], "capabilities")


def check_many_threads(library):
  """Several threads at once, each with its own list."""
  from concurrent.futures import ThreadPoolExecutor
  def once(_):
    head = ctypes.c_void_p()
    result = library.fi_getinfo(version(2, 6), None, None, 0, None, ctypes.byref(head))
    library.fi_freeinfo(head)
    return result
  with ThreadPoolExecutor(8) as pool:
    require_equal(set(pool.map(once, range(200))), {0}, "results")


def run(suite, library):
  facts = load("discovery-2.6.json")
  suite.check("discovery: version", lambda: require_equal(library.fi_version(), version(2, 6), "fi_version"))
  for api, expected in facts["fields"].items():
    suite.check(f"discovery: like tcp at version {api}", check_like_tcp, library, api, expected)
  for api, expected in facts["mr_mode"].items():
    suite.check(f"discovery: mr_mode at version {api}", check_memory_mode, library, api, expected)
  suite.check("discovery: threading", check_threading, library, facts["threading"])
  for name in ALIASES:
    suite.check(f"discovery: alias {name}", check_alias, library, name)
  for name, function in [
      ("refusals", check_refusals), ("providers only", check_provider_only), ("order", check_order),
      ("addresses", check_addresses), ("copies", check_duplicate), ("results as hints", check_results_as_hints),
      ("many threads", check_many_threads)]:
    suite.check(f"discovery: {name}", function, library)
