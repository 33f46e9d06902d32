import CFabric
import Provider

// What is not built answers -FI_ENOSYS, from here: single functions for tables that are partly built, whole tables for
// kinds of operations that are not offered at all or not on some endpoints. No slot of any table is ever NULL, because
// programs call through them without looking.

/// -FI_ENOSYS.
var notBuilt: Int32 { -FI_ENOSYS }

// MARK: Any object

func no_bind(_: UnsafeMutablePointer<fid>?, _: UnsafeMutablePointer<fid>?, _: UInt64) -> Int32 { notBuilt }
func no_control(_: UnsafeMutablePointer<fid>?, _: Int32, _: UnsafeMutableRawPointer?) -> Int32 {
  FabricError.notImplemented.because(.core, "the object has no such command", in: "fi_control").result
}
func no_ops_open(
  _: UnsafeMutablePointer<fid>?, _: UnsafePointer<CChar>?, _: UInt64,
  _: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _: UnsafeMutableRawPointer?
) -> Int32 {
  FabricError.notImplemented.because(.core, "the object has no such interface", in: "fi_open_ops").result
}
func no_tostr(_: UnsafePointer<fid>?, _: UnsafeMutablePointer<CChar>?, _: Int) -> Int32 { notBuilt }
func no_ops_set(
  _: UnsafeMutablePointer<fid>?, _: UnsafePointer<CChar>?, _: UInt64, _: UnsafeMutableRawPointer?,
  _: UnsafeMutableRawPointer?
) -> Int32 {
  FabricError.notImplemented.because(.core, "the object has no such callbacks", in: "fi_set_ops").result
}

// MARK: Domains

func no_domain_xpu_ctx(
  _: UnsafeMutablePointer<fid_domain>?, _: UnsafeMutablePointer<fi_xpu_attr>?,
  _: UnsafeMutablePointer<UnsafeMutablePointer<fid_xpu_ctx>?>?, _: UnsafeMutableRawPointer?
) -> Int32 { notBuilt }

// MARK: Completion queues

func no_cq_export_xpu(
  _: UnsafeMutablePointer<fid_cq>?, _: UInt64, _: UnsafeMutablePointer<fid_xpu_cq>?
) -> Int32 { notBuilt }

// MARK: Counters

func no_cntr_export_xpu(
  _: UnsafeMutablePointer<fid_cntr>?, _: UInt64, _: UnsafeMutablePointer<fid_xpu_cntr>?
) -> Int32 { notBuilt }

// MARK: Endpoints

func no_ep_tx_ctx(
  _: UnsafeMutablePointer<fid_ep>?, _: Int32, _: UnsafeMutablePointer<fi_tx_attr>?,
  _: UnsafeMutablePointer<UnsafeMutablePointer<fid_ep>?>?, _: UnsafeMutableRawPointer?
) -> Int32 { notBuilt }
func no_ep_rx_ctx(
  _: UnsafeMutablePointer<fid_ep>?, _: Int32, _: UnsafeMutablePointer<fi_rx_attr>?,
  _: UnsafeMutablePointer<UnsafeMutablePointer<fid_ep>?>?, _: UnsafeMutableRawPointer?
) -> Int32 { notBuilt }
func no_ep_export_xpu(
  _: UnsafeMutablePointer<fid_ep>?, _: UInt64, _: UnsafeMutablePointer<fid_xpu_ep>?
) -> Int32 { notBuilt }

// MARK: Connections

func no_cm_getpeer(
  _: UnsafeMutablePointer<fid_ep>?, _: UnsafeMutableRawPointer?, _: UnsafeMutablePointer<Int>?
) -> Int32 { notBuilt }
func no_cm_connect(
  _: UnsafeMutablePointer<fid_ep>?, _: UnsafeRawPointer?, _: UnsafeRawPointer?, _: Int
) -> Int32 { notBuilt }
func no_cm_listen(_: UnsafeMutablePointer<fid_pep>?) -> Int32 { notBuilt }
func no_cm_accept(_: UnsafeMutablePointer<fid_ep>?, _: UnsafeRawPointer?, _: Int) -> Int32 { notBuilt }
func no_cm_reject(
  _: UnsafeMutablePointer<fid_pep>?, _: UnsafeMutablePointer<fid>?, _: UnsafeRawPointer?, _: Int
) -> Int32 { notBuilt }
func no_cm_shutdown(_: UnsafeMutablePointer<fid_ep>?, _: UInt64) -> Int32 { notBuilt }
func no_cm_join(
  _: UnsafeMutablePointer<fid_ep>?, _: UnsafeRawPointer?, _: UInt64,
  _: UnsafeMutablePointer<UnsafeMutablePointer<fid_mc>?>?, _: UnsafeMutableRawPointer?
) -> Int32 { notBuilt }

// MARK: Tables

/// Messages, on endpoints without FI_MSG.
nonisolated(unsafe) var noMessages = fi_ops_msg(
  size: MemoryLayout<fi_ops_msg>.size,
  recv: { _, _, _, _, _, _ in Int(notBuilt) },
  recvv: { _, _, _, _, _, _ in Int(notBuilt) },
  recvmsg: { _, _, _ in Int(notBuilt) },
  send: { _, _, _, _, _, _ in Int(notBuilt) },
  sendv: { _, _, _, _, _, _ in Int(notBuilt) },
  sendmsg: { _, _, _ in Int(notBuilt) },
  inject: { _, _, _, _ in Int(notBuilt) },
  senddata: { _, _, _, _, _, _, _ in Int(notBuilt) },
  injectdata: { _, _, _, _, _ in Int(notBuilt) })

/// Tagged messages, on endpoints without FI_TAGGED.
nonisolated(unsafe) var noTaggedMessages = fi_ops_tagged(
  size: MemoryLayout<fi_ops_tagged>.size,
  recv: { _, _, _, _, _, _, _, _ in Int(notBuilt) },
  recvv: { _, _, _, _, _, _, _, _ in Int(notBuilt) },
  recvmsg: { _, _, _ in Int(notBuilt) },
  send: { _, _, _, _, _, _, _ in Int(notBuilt) },
  sendv: { _, _, _, _, _, _, _ in Int(notBuilt) },
  sendmsg: { _, _, _ in Int(notBuilt) },
  inject: { _, _, _, _, _ in Int(notBuilt) },
  senddata: { _, _, _, _, _, _, _, _ in Int(notBuilt) },
  injectdata: { _, _, _, _, _, _ in Int(notBuilt) })

/// Remote memory, on endpoints without FI_RMA.
nonisolated(unsafe) var noRemoteMemory = fi_ops_rma(
  size: MemoryLayout<fi_ops_rma>.size,
  read: { _, _, _, _, _, _, _, _ in Int(notBuilt) },
  readv: { _, _, _, _, _, _, _, _ in Int(notBuilt) },
  readmsg: { _, _, _ in Int(notBuilt) },
  write: { _, _, _, _, _, _, _, _ in Int(notBuilt) },
  writev: { _, _, _, _, _, _, _, _ in Int(notBuilt) },
  writemsg: { _, _, _ in Int(notBuilt) },
  inject: { _, _, _, _, _, _ in Int(notBuilt) },
  writedata: { _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  injectdata: { _, _, _, _, _, _, _ in Int(notBuilt) })

/// Atomic operations.
nonisolated(unsafe) var noAtomics = fi_ops_atomic(
  size: MemoryLayout<fi_ops_atomic>.size,
  write: { _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  writev: { _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  writemsg: { _, _, _ in Int(notBuilt) },
  inject: { _, _, _, _, _, _, _, _ in Int(notBuilt) },
  readwrite: { _, _, _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  readwritev: { _, _, _, _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  readwritemsg: { _, _, _, _, _, _ in Int(notBuilt) },
  compwrite: { _, _, _, _, _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  compwritev: { _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  compwritemsg: { _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  writevalid: { _, _, _, _ in notBuilt },
  readwritevalid: { _, _, _, _ in notBuilt },
  compwritevalid: { _, _, _, _ in notBuilt })

/// Collective operations, on endpoints without FI_COLLECTIVE.
nonisolated(unsafe) var noCollectives = fi_ops_collective(
  size: MemoryLayout<fi_ops_collective>.size,
  barrier: { _, _, _ in Int(notBuilt) },
  broadcast: { _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  alltoall: { _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  allreduce: { _, _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  allgather: { _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  reduce_scatter: { _, _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  reduce: { _, _, _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  scatter: { _, _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  gather: { _, _, _, _, _, _, _, _, _, _, _ in Int(notBuilt) },
  msg: { _, _, _, _, _, _ in Int(notBuilt) },
  barrier2: { _, _, _, _ in Int(notBuilt) })
