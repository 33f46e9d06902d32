import CFabric
import Provider

// The names that fi_tostr prints for constants. What libfabric 2 retired has no name any more and is "Unknown".

/// Names of enumerated values; nil for values that have none.
enum ConstantName {
  static func endpointType(_ value: Int) -> StaticString? {
    switch fi_ep_type(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_EP_UNSPEC: "FI_EP_UNSPEC"
    case FI_EP_MSG: "FI_EP_MSG"
    case FI_EP_DGRAM: "FI_EP_DGRAM"
    case FI_EP_RDM: "FI_EP_RDM"
    default: nil
    }
  }

  static func threading(_ value: Int) -> StaticString? {
    switch fi_threading(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_THREAD_UNSPEC: "FI_THREAD_UNSPEC"
    case FI_THREAD_SAFE: "FI_THREAD_SAFE"
    case FI_THREAD_DOMAIN: "FI_THREAD_DOMAIN"
    case FI_THREAD_COMPLETION: "FI_THREAD_COMPLETION"
    default: nil
    }
  }

  static func progress(_ value: Int) -> StaticString? {
    switch fi_progress(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_PROGRESS_UNSPEC: "FI_PROGRESS_UNSPEC"
    case FI_PROGRESS_AUTO: "FI_PROGRESS_AUTO"
    case FI_PROGRESS_MANUAL: "FI_PROGRESS_MANUAL"
    case FI_PROGRESS_CONTROL_UNIFIED: "FI_PROGRESS_CONTROL_UNIFIED"
    default: nil
    }
  }

  static func resourceManagement(_ value: Int) -> StaticString? {
    switch fi_resource_mgmt(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_RM_UNSPEC: "FI_RM_UNSPEC"
    case FI_RM_DISABLED: "FI_RM_DISABLED"
    case FI_RM_ENABLED: "FI_RM_ENABLED"
    default: nil
    }
  }

  static func addressVectorType(_ value: Int) -> StaticString? {
    switch fi_av_type(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_AV_UNSPEC: "FI_AV_UNSPEC"
    case FI_AV_MAP: "FI_AV_MAP"
    case FI_AV_TABLE: "FI_AV_TABLE"
    default: nil
    }
  }

  static func datatype(_ value: Int) -> StaticString? {
    switch fi_datatype(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_INT8: "FI_INT8"
    case FI_UINT8: "FI_UINT8"
    case FI_INT16: "FI_INT16"
    case FI_UINT16: "FI_UINT16"
    case FI_INT32: "FI_INT32"
    case FI_UINT32: "FI_UINT32"
    case FI_INT64: "FI_INT64"
    case FI_UINT64: "FI_UINT64"
    case FI_FLOAT: "FI_FLOAT"
    case FI_DOUBLE: "FI_DOUBLE"
    case FI_FLOAT_COMPLEX: "FI_FLOAT_COMPLEX"
    case FI_DOUBLE_COMPLEX: "FI_DOUBLE_COMPLEX"
    case FI_LONG_DOUBLE: "FI_LONG_DOUBLE"
    case FI_LONG_DOUBLE_COMPLEX: "FI_LONG_DOUBLE_COMPLEX"
    case FI_INT128: "FI_INT128"
    case FI_UINT128: "FI_UINT128"
    default: nil
    }
  }

  static func atomicOperation(_ value: Int) -> StaticString? {
    switch fi_op(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_MIN: "FI_MIN"
    case FI_MAX: "FI_MAX"
    case FI_SUM: "FI_SUM"
    case FI_PROD: "FI_PROD"
    case FI_LOR: "FI_LOR"
    case FI_LAND: "FI_LAND"
    case FI_BOR: "FI_BOR"
    case FI_BAND: "FI_BAND"
    case FI_LXOR: "FI_LXOR"
    case FI_BXOR: "FI_BXOR"
    case FI_ATOMIC_READ: "FI_ATOMIC_READ"
    case FI_ATOMIC_WRITE: "FI_ATOMIC_WRITE"
    case FI_CSWAP: "FI_CSWAP"
    case FI_CSWAP_NE: "FI_CSWAP_NE"
    case FI_CSWAP_LE: "FI_CSWAP_LE"
    case FI_CSWAP_LT: "FI_CSWAP_LT"
    case FI_CSWAP_GE: "FI_CSWAP_GE"
    case FI_CSWAP_GT: "FI_CSWAP_GT"
    case FI_MSWAP: "FI_MSWAP"
    default: nil
    }
  }

  static func collective(_ value: Int) -> StaticString? {
    switch fi_collective_op(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_BARRIER: "FI_BARRIER"
    case FI_BROADCAST: "FI_BROADCAST"
    case FI_ALLTOALL: "FI_ALLTOALL"
    case FI_ALLREDUCE: "FI_ALLREDUCE"
    case FI_ALLGATHER: "FI_ALLGATHER"
    case FI_REDUCE_SCATTER: "FI_REDUCE_SCATTER"
    case FI_REDUCE: "FI_REDUCE"
    case FI_SCATTER: "FI_SCATTER"
    case FI_GATHER: "FI_GATHER"
    default: nil
    }
  }

  static func deferredOperation(_ value: Int) -> StaticString? {
    switch fi_op_type(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_OP_RECV: "FI_OP_RECV"
    case FI_OP_SEND: "FI_OP_SEND"
    case FI_OP_TRECV: "FI_OP_TRECV"
    case FI_OP_TSEND: "FI_OP_TSEND"
    case FI_OP_READ: "FI_OP_READ"
    case FI_OP_WRITE: "FI_OP_WRITE"
    case FI_OP_ATOMIC: "FI_OP_ATOMIC"
    case FI_OP_FETCH_ATOMIC: "FI_OP_FETCH_ATOMIC"
    case FI_OP_COMPARE_ATOMIC: "FI_OP_COMPARE_ATOMIC"
    case FI_OP_CNTR_SET: "FI_OP_CNTR_SET"
    case FI_OP_CNTR_ADD: "FI_OP_CNTR_ADD"
    default: nil
    }
  }

  static func memoryInterface(_ value: Int) -> StaticString? {
    switch fi_hmem_iface(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_HMEM_SYSTEM: "FI_HMEM_SYSTEM"
    case FI_HMEM_CUDA: "FI_HMEM_CUDA"
    case FI_HMEM_ROCR: "FI_HMEM_ROCR"
    case FI_HMEM_ZE: "FI_HMEM_ZE"
    case FI_HMEM_NEURON: "FI_HMEM_NEURON"
    case FI_HMEM_SYNAPSEAI: "FI_HMEM_SYNAPSEAI"
    default: nil
    }
  }

  static func completionFormat(_ value: Int) -> StaticString? {
    switch fi_cq_format(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_CQ_FORMAT_UNSPEC: "FI_CQ_FORMAT_UNSPEC"
    case FI_CQ_FORMAT_CONTEXT: "FI_CQ_FORMAT_CONTEXT"
    case FI_CQ_FORMAT_MSG: "FI_CQ_FORMAT_MSG"
    case FI_CQ_FORMAT_DATA: "FI_CQ_FORMAT_DATA"
    case FI_CQ_FORMAT_TAGGED: "FI_CQ_FORMAT_TAGGED"
    default: nil
    }
  }

  static func waitCondition(_ value: Int) -> StaticString? {
    switch fi_cq_wait_cond(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_CQ_COND_NONE: "FI_CQ_COND_NONE"
    case FI_CQ_COND_THRESHOLD: "FI_CQ_COND_THRESHOLD"
    default: nil
    }
  }

  static func waitObject(_ value: Int) -> StaticString? {
    switch fi_wait_obj(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_WAIT_NONE: "FI_WAIT_NONE"
    case FI_WAIT_UNSPEC: "FI_WAIT_UNSPEC"
    case FI_WAIT_SET: "FI_WAIT_SET"
    case FI_WAIT_FD: "FI_WAIT_FD"
    case FI_WAIT_MUTEX_COND: "FI_WAIT_MUTEX_COND"
    case FI_WAIT_YIELD: "FI_WAIT_YIELD"
    case FI_WAIT_POLLFD: "FI_WAIT_POLLFD"
    default: nil
    }
  }

  static func counterEvents(_ value: Int) -> StaticString? {
    switch fi_cntr_events(rawValue: UInt32(truncatingIfNeeded: value)) {
    case FI_CNTR_EVENTS_COMP: "FI_CNTR_EVENTS_COMP"
    case FI_CNTR_EVENTS_BYTES: "FI_CNTR_EVENTS_BYTES"
    default: nil
    }
  }

  static func event(_ value: Int) -> StaticString? {
    switch value {
    case Int(FI_NOTIFY): "FI_NOTIFY"
    case Int(FI_CONNREQ): "FI_CONNREQ"
    case Int(FI_CONNECTED): "FI_CONNECTED"
    case Int(FI_SHUTDOWN): "FI_SHUTDOWN"
    case Int(FI_MR_COMPLETE): "FI_MR_COMPLETE"
    case Int(FI_AV_COMPLETE): "FI_AV_COMPLETE"
    case Int(FI_JOIN_COMPLETE): "FI_JOIN_COMPLETE"
    default: nil
    }
  }

  static func addressFormat(_ value: Int) -> StaticString? {
    switch value {
    case Int(FI_FORMAT_UNSPEC): "FI_FORMAT_UNSPEC"
    case Int(FI_SOCKADDR): "FI_SOCKADDR"
    case Int(FI_SOCKADDR_IN): "FI_SOCKADDR_IN"
    case Int(FI_SOCKADDR_IN6): "FI_SOCKADDR_IN6"
    case Int(FI_SOCKADDR_IB): "FI_SOCKADDR_IB"
    case Int(FI_ADDR_MLX): "FI_ADDR_MLX"
    case Int(FI_ADDR_STR): "FI_ADDR_STR"
    case Int(FI_ADDR_PSMX2): "FI_ADDR_PSMX2"
    case Int(FI_ADDR_IB_UD): "FI_ADDR_IB_UD"
    case Int(FI_ADDR_EFA): "FI_ADDR_EFA"
    case Int(FI_ADDR_PSMX3): "FI_ADDR_PSMX3"
    case Int(FI_ADDR_OPX): "FI_ADDR_OPX"
    case Int(FI_ADDR_CXI): "FI_ADDR_CXI"
    case Int(FI_ADDR_UCX): "FI_ADDR_UCX"
    case Int(FI_SOCKADDR_IP): "FI_SOCKADDR_IP"
    default: nil
    }
  }

  static func endpointProtocol(_ value: Int) -> StaticString? {
    switch value {
    case Int(FI_PROTO_UNSPEC): "FI_PROTO_UNSPEC"
    case Int(FI_PROTO_RDMA_CM_IB_RC): "FI_PROTO_RDMA_CM_IB_RC"
    case Int(FI_PROTO_IWARP): "FI_PROTO_IWARP"
    case Int(FI_PROTO_IB_UD): "FI_PROTO_IB_UD"
    case Int(FI_PROTO_UDP): "FI_PROTO_UDP"
    case Int(FI_PROTO_SOCK_TCP): "FI_PROTO_SOCK_TCP"
    case Int(FI_PROTO_IWARP_RDM): "FI_PROTO_IWARP_RDM"
    case Int(FI_PROTO_IB_RDM): "FI_PROTO_IB_RDM"
    case Int(FI_PROTO_RXM): "FI_PROTO_RXM"
    case Int(FI_PROTO_RXD): "FI_PROTO_RXD"
    case Int(FI_PROTO_MLX): "FI_PROTO_MLX"
    case Int(FI_PROTO_NETWORKDIRECT): "FI_PROTO_NETWORKDIRECT"
    case Int(FI_PROTO_PSMX2): "FI_PROTO_PSMX2"
    case Int(FI_PROTO_SHM): "FI_PROTO_SHM"
    case Int(FI_PROTO_RDMA_CM_IB_XRC): "FI_PROTO_RDMA_CM_IB_XRC"
    case Int(FI_PROTO_EFA): "FI_PROTO_EFA"
    case Int(FI_PROTO_PSMX3): "FI_PROTO_PSMX3"
    case Int(FI_PROTO_RXM_TCP): "FI_PROTO_RXM_TCP"
    case Int(FI_PROTO_OPX): "FI_PROTO_OPX"
    case Int(FI_PROTO_CXI): "FI_PROTO_CXI"
    case Int(FI_PROTO_XNET): "FI_PROTO_XNET"
    case Int(FI_PROTO_UCX): "FI_PROTO_UCX"
    case Int(FI_PROTO_SM2): "FI_PROTO_SM2"
    case Int(FI_PROTO_CXI_RNR): "FI_PROTO_CXI_RNR"
    case Int(FI_PROTO_LPP): "FI_PROTO_LPP"
    case Int(FI_PROTO_LNX): "FI_PROTO_LNX"
    case Int(Capabilities.endpointProtocol): "FI_PROTO_POLYFILL"
    default: nil
    }
  }
}

/// A flag and its name.
struct NamedFlag {
  let bits: UInt64
  let name: StaticString

  init(_ bits: UInt64, _ name: StaticString) {
    self.bits = bits
    self.name = name
  }
}

/// Flags in the order in which they are printed, by position from 0; nil after the last.
enum FlagName {
  static func capability(_ position: Int) -> NamedFlag? {
    switch position {
    case 0: NamedFlag(FI_MSG, "FI_MSG")
    case 1: NamedFlag(FI_RMA, "FI_RMA")
    case 2: NamedFlag(FI_TAGGED, "FI_TAGGED")
    case 3: NamedFlag(FI_ATOMIC, "FI_ATOMIC")
    case 4: NamedFlag(FI_MULTICAST, "FI_MULTICAST")
    case 5: NamedFlag(FI_COLLECTIVE, "FI_COLLECTIVE")
    case 6: NamedFlag(FI_READ, "FI_READ")
    case 7: NamedFlag(FI_WRITE, "FI_WRITE")
    case 8: NamedFlag(FI_RECV, "FI_RECV")
    case 9: NamedFlag(FI_SEND, "FI_SEND")
    case 10: NamedFlag(FI_REMOTE_READ, "FI_REMOTE_READ")
    case 11: NamedFlag(FI_REMOTE_WRITE, "FI_REMOTE_WRITE")
    case 12: NamedFlag(FI_MULTI_RECV, "FI_MULTI_RECV")
    case 13: NamedFlag(FI_REMOTE_CQ_DATA, "FI_REMOTE_CQ_DATA")
    case 14: NamedFlag(FI_TRIGGER, "FI_TRIGGER")
    case 15: NamedFlag(FI_FENCE, "FI_FENCE")
    case 16: NamedFlag(FI_RMA_PMEM, "FI_RMA_PMEM")
    case 17: NamedFlag(FI_SOURCE_ERR, "FI_SOURCE_ERR")
    case 18: NamedFlag(FI_LOCAL_COMM, "FI_LOCAL_COMM")
    case 19: NamedFlag(FI_REMOTE_COMM, "FI_REMOTE_COMM")
    case 20: NamedFlag(FI_SHARED_AV, "FI_SHARED_AV")
    case 21: NamedFlag(FI_RMA_EVENT, "FI_RMA_EVENT")
    case 22: NamedFlag(FI_SOURCE, "FI_SOURCE")
    case 23: NamedFlag(FI_NAMED_RX_CTX, "FI_NAMED_RX_CTX")
    case 24: NamedFlag(FI_DIRECTED_RECV, "FI_DIRECTED_RECV")
    case 25: NamedFlag(FI_AV_USER_ID, "FI_AV_USER_ID")
    case 26: NamedFlag(FI_PEER, "FI_PEER")
    case 27: NamedFlag(FI_HMEM, "FI_HMEM")
    default: nil
    }
  }

  static func operationFlag(_ position: Int) -> NamedFlag? {
    switch position {
    case 0: NamedFlag(FI_MULTICAST, "FI_MULTICAST")
    case 1: NamedFlag(FI_MULTI_RECV, "FI_MULTI_RECV")
    case 2: NamedFlag(FI_REMOTE_CQ_DATA, "FI_REMOTE_CQ_DATA")
    case 3: NamedFlag(FI_MORE, "FI_MORE")
    case 4: NamedFlag(FI_PEEK, "FI_PEEK")
    case 5: NamedFlag(FI_TRIGGER, "FI_TRIGGER")
    case 6: NamedFlag(FI_FENCE, "FI_FENCE")
    case 7: NamedFlag(FI_COMPLETION, "FI_COMPLETION")
    case 8: NamedFlag(FI_INJECT, "FI_INJECT")
    case 9: NamedFlag(FI_INJECT_COMPLETE, "FI_INJECT_COMPLETE")
    case 10: NamedFlag(FI_TRANSMIT_COMPLETE, "FI_TRANSMIT_COMPLETE")
    case 11: NamedFlag(FI_DELIVERY_COMPLETE, "FI_DELIVERY_COMPLETE")
    case 12: NamedFlag(FI_MATCH_COMPLETE, "FI_MATCH_COMPLETE")
    case 13: NamedFlag(FI_AFFINITY, "FI_AFFINITY")
    case 14: NamedFlag(FI_CLAIM, "FI_CLAIM")
    case 15: NamedFlag(FI_DISCARD, "FI_DISCARD")
    default: nil
    }
  }

  static func messageOrder(_ position: Int) -> NamedFlag? {
    switch position {
    case 0: NamedFlag(FI_ORDER_RAR, "FI_ORDER_RAR")
    case 1: NamedFlag(FI_ORDER_RAW, "FI_ORDER_RAW")
    case 2: NamedFlag(FI_ORDER_RAS, "FI_ORDER_RAS")
    case 3: NamedFlag(FI_ORDER_WAR, "FI_ORDER_WAR")
    case 4: NamedFlag(FI_ORDER_WAW, "FI_ORDER_WAW")
    case 5: NamedFlag(FI_ORDER_WAS, "FI_ORDER_WAS")
    case 6: NamedFlag(FI_ORDER_SAR, "FI_ORDER_SAR")
    case 7: NamedFlag(FI_ORDER_SAW, "FI_ORDER_SAW")
    case 8: NamedFlag(FI_ORDER_SAS, "FI_ORDER_SAS")
    case 9: NamedFlag(FI_ORDER_RMA_RAR, "FI_ORDER_RMA_RAR")
    case 10: NamedFlag(FI_ORDER_RMA_RAW, "FI_ORDER_RMA_RAW")
    case 11: NamedFlag(FI_ORDER_RMA_WAR, "FI_ORDER_RMA_WAR")
    case 12: NamedFlag(FI_ORDER_RMA_WAW, "FI_ORDER_RMA_WAW")
    case 13: NamedFlag(FI_ORDER_ATOMIC_RAR, "FI_ORDER_ATOMIC_RAR")
    case 14: NamedFlag(FI_ORDER_ATOMIC_RAW, "FI_ORDER_ATOMIC_RAW")
    case 15: NamedFlag(FI_ORDER_ATOMIC_WAR, "FI_ORDER_ATOMIC_WAR")
    case 16: NamedFlag(FI_ORDER_ATOMIC_WAW, "FI_ORDER_ATOMIC_WAW")
    default: nil
    }
  }

  static func mode(_ position: Int) -> NamedFlag? {
    switch position {
    case 0: NamedFlag(FI_CONTEXT, "FI_CONTEXT")
    case 1: NamedFlag(FI_MSG_PREFIX, "FI_MSG_PREFIX")
    case 2: NamedFlag(FI_ASYNC_IOV, "FI_ASYNC_IOV")
    case 3: NamedFlag(FI_RX_CQ_DATA, "FI_RX_CQ_DATA")
    case 4: NamedFlag(1 << 55, "FI_LOCAL_MR")
    case 5: NamedFlag(FI_CONTEXT2, "FI_CONTEXT2")
    default: nil
    }
  }

  static func completionFlag(_ position: Int) -> NamedFlag? {
    switch position {
    case 0: NamedFlag(FI_SEND, "FI_SEND")
    case 1: NamedFlag(FI_RECV, "FI_RECV")
    case 2: NamedFlag(FI_RMA, "FI_RMA")
    case 3: NamedFlag(FI_ATOMIC, "FI_ATOMIC")
    case 4: NamedFlag(FI_MSG, "FI_MSG")
    case 5: NamedFlag(FI_TAGGED, "FI_TAGGED")
    case 6: NamedFlag(FI_READ, "FI_READ")
    case 7: NamedFlag(FI_WRITE, "FI_WRITE")
    case 8: NamedFlag(FI_REMOTE_READ, "FI_REMOTE_READ")
    case 9: NamedFlag(FI_REMOTE_WRITE, "FI_REMOTE_WRITE")
    case 10: NamedFlag(FI_REMOTE_CQ_DATA, "FI_REMOTE_CQ_DATA")
    case 11: NamedFlag(FI_MULTI_RECV, "FI_MULTI_RECV")
    case 12: NamedFlag(FI_MORE, "FI_MORE")
    case 13: NamedFlag(FI_CLAIM, "FI_CLAIM")
    default: nil
    }
  }

  static func memoryMode(_ position: Int) -> NamedFlag? {
    switch position {
    case 0: NamedFlag(UInt64(MemoryMode.basic), "FI_MR_BASIC")
    case 1: NamedFlag(UInt64(MemoryMode.scalable), "FI_MR_SCALABLE")
    case 2: NamedFlag(UInt64(FI_MR_LOCAL), "FI_MR_LOCAL")
    case 3: NamedFlag(UInt64(FI_MR_RAW), "FI_MR_RAW")
    case 4: NamedFlag(UInt64(FI_MR_VIRT_ADDR), "FI_MR_VIRT_ADDR")
    case 5: NamedFlag(UInt64(FI_MR_ALLOCATED), "FI_MR_ALLOCATED")
    case 6: NamedFlag(UInt64(FI_MR_PROV_KEY), "FI_MR_PROV_KEY")
    case 7: NamedFlag(UInt64(FI_MR_MMU_NOTIFY), "FI_MR_MMU_NOTIFY")
    case 8: NamedFlag(UInt64(FI_MR_RMA_EVENT), "FI_MR_RMA_EVENT")
    case 9: NamedFlag(UInt64(FI_MR_ENDPOINT), "FI_MR_ENDPOINT")
    case 10: NamedFlag(UInt64(FI_MR_HMEM), "FI_MR_HMEM")
    case 11: NamedFlag(UInt64(FI_MR_COLLECTIVE), "FI_MR_COLLECTIVE")
    default: nil
    }
  }

  static func addressVectorFlag(_ position: Int) -> NamedFlag? {
    switch position {
    case 0: NamedFlag(FI_EVENT, "FI_EVENT")
    case 1: NamedFlag(FI_READ, "FI_READ")
    case 2: NamedFlag(FI_SYMMETRIC, "FI_SYMMETRIC")
    default: nil
    }
  }

  static func queueFlag(_ position: Int) -> NamedFlag? {
    switch position {
    case 0: NamedFlag(FI_AFFINITY, "FI_AFFINITY")
    default: nil
    }
  }

  static func access(_ position: Int) -> NamedFlag? {
    switch position {
    case 0: NamedFlag(FI_RECV, "FI_RECV")
    case 1: NamedFlag(FI_SEND, "FI_SEND")
    case 2: NamedFlag(FI_READ, "FI_READ")
    case 3: NamedFlag(FI_WRITE, "FI_WRITE")
    case 4: NamedFlag(FI_REMOTE_READ, "FI_REMOTE_READ")
    case 5: NamedFlag(FI_REMOTE_WRITE, "FI_REMOTE_WRITE")
    case 6: NamedFlag(FI_COLLECTIVE, "FI_COLLECTIVE")
    default: nil
    }
  }
}
