"""The features of libfabric 2.6, each with the conformance cases that show it.

A feature's value is a list of patterns as in fnmatch, matched against area.case.
"""

import fnmatch

FEATURES = {
    "FI_EP_RDM": ["ep.*", "msg.*"],
    "FI_EP_MSG, passive endpoints, connection manager": ["cm.*"],
    "FI_EP_DGRAM": ["dgram.*"],
    "FI_MULTICAST, FI_EP_DGRAM": ["dgram.multicast_*"],
    "FI_MSG: FI_SEND, FI_RECV": ["msg.*"],
    "FI_TAGGED": ["tagged.*"],
    "FI_PEEK, FI_CLAIM, FI_DISCARD": ["tagged.*peek*", "tagged.*claim*", "tagged.*discard*"],
    "FI_RMA: FI_READ, FI_WRITE, FI_REMOTE_READ, FI_REMOTE_WRITE": ["rma.*"],
    "FI_ATOMIC": ["atomic.*"],
    "FI_COLLECTIVE, address sets": ["coll.*"],
    "FI_MULTI_RECV": ["multirecv.*"],
    "FI_TAGGED_MULTI_RECV": ["multirecv.tagged_*"],
    "FI_SOURCE": ["msg.*source*", "tagged.*source*"],
    "FI_SOURCE_ERR": ["directed.*stranger*", "directed.address_in_a_buffer_*"],
    "FI_DIRECTED_RECV": ["msg.*directed*", "tagged.*directed*"],
    "FI_TAGGED_DIRECTED_RECV": ["directed.tagged_directed_*"],
    "FI_EXACT_DIRECTED_RECV": ["directed.exact_*"],
    "FI_NAMED_RX_CTX, scalable endpoints": ["sep.*"],
    "shared receive and transmit contexts": ["srx.*"],
    "aliases of endpoints": ["alias.*"],
    "FI_AV_USER_ID": ["av.*identifiers*"],
    "FI_SHARED_AV": ["av.shared_*"],
    "FI_AV_AUTH_KEY, authorization keys": ["av.endpoints_with_*_key*"],
    "FI_SYMMETRIC": ["av.insert_symmetric_*"],
    "FI_EVENT: asynchronous insertion": ["av.insertion_events"],
    "FI_TRIGGER, deferred work": ["trigger.*"],
    "FI_FENCE": ["fence.*"],
    "message order": ["order.*"],
    "FI_RMA_EVENT": ["cntr.*region*", "cntr.remote_*"],
    "FI_RMA_PMEM, FI_COMMIT_COMPLETE": ["persist.*"],
    "FI_HMEM, memory of the system": ["mr.memory_of_*", "mr.kinds_of_memory_*"],
    "FI_PEER": ["peer.*"],
    "FI_LOCAL_COMM, FI_REMOTE_COMM": ["peers.*"],
    "completion queues: formats, errors, FI_SELECTIVE_COMPLETION": ["cq.*"],
    "event queues": ["eq.*"],
    "counters": ["cntr.*"],
    "wait objects and wait sets": ["wait.*"],
    "poll sets": ["poll.*"],
    "both progress models": ["progress.*"],
    "all threading levels": ["threads.*"],
    "fi_profile": ["profile.*"],
    "objects of the library: logging, mr_cache": ["open.*"],
    "FI_XPU, device memory": [],
}


def cases_of(feature, cases):
  """The cases that show a feature. A pattern that matches none is a mistake here, and ends the program."""
  found = []
  for pattern in FEATURES[feature]:
    matching = fnmatch.filter(cases, pattern)
    if not matching:
      raise SystemExit(f"features.py: no case is called {pattern}")
    found += [case for case in matching if case not in found]
  return found


def describe(results):
  """What a column's results of a feature's cases come to."""
  ran = [result for result in results if result not in (None, "n/a")]
  if not ran:
    return ""
  passed = ran.count("pass")
  if passed == len(ran):
    return "yes"
  if passed == 0:
    return "no"
  return f"{passed} of {len(ran)}"


def table(columns, cases, results):
  """Markdown: a row for each feature, a column for each library, and the cases that show it."""
  out = ["| feature | " + " | ".join(column.title for column in columns) + " | shown by |",
         "|---|" + "---|" * (len(columns) + 1)]
  for feature, patterns in FEATURES.items():
    own = cases_of(feature, cases)
    cells = [describe([results.get((column.key, case)) for case in own]) for column in columns]
    shown = ", ".join(f"`{pattern}`" for pattern in patterns) or "not built: `-FI_ENOSYS`"
    out.append(f"| {feature} | " + " | ".join(cells) + f" | {shown} |")
  return out
