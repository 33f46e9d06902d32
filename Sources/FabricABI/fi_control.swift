import CFabric
import CPlatform
import Provider

// What fi_control(3) does alike to all that has data calls: default flags and aliases, fi_endpoint(3).

/// Operation flags that may be defaults; nil for a direction that there is not. FI_TRIGGER is one with the capability.
struct DefaultFlags {
  var transmit: UInt64?
  var receive: UInt64?

  init(transmit: UInt64? = nil, receive: UInt64? = nil, capabilities: UInt64) {
    self.transmit = transmit.map { $0 | capabilities & FI_TRIGGER }
    self.receive = receive.map { $0 | capabilities & FI_TRIGGER }
  }
}

/// FI_GETOPSFLAG, FI_SETOPSFLAG and FI_ALIAS. Throws FI_ENOSYS for other commands, FI_EINVAL for an argument that is
/// missing or names no single direction, FI_EBADFLAGS for flags that are no defaults, FI_ENOMEM.
func controlOperations(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?, _ offered: DefaultFlags
) throws(FabricError) {
  let handle = endpointHandle(fid)
  switch Int(command) {
  case Int(FI_GETOPSFLAG):
    guard let flags = argument?.assumingMemoryBound(to: UInt64.self) else { throw refuse("no place for the flags") }
    flags.pointee = try defaultFlags(handle, flags.pointee, offered)
  case Int(FI_SETOPSFLAG):
    guard let flags = argument?.assumingMemoryBound(to: UInt64.self) else { throw refuse("no flags") }
    try setDefaultFlags(&handle.pointee, flags.pointee, offered)
  case Int(FI_ALIAS):
    guard let alias = argument?.assumingMemoryBound(to: fi_alias.self), let place = alias.pointee.fid else {
      throw refuse("no place for the alias")
    }
    place.pointee = try openAlias(handle, alias.pointee.flags, offered)
  default: throw .notImplemented.because(.endpointControl, "unknown command", in: "fi_control")
  }
}

/// The default flags of `direction`, FI_TRANSMIT or FI_RECV.
private func defaultFlags(
  _ handle: UnsafeMutablePointer<lfp_ep>, _ direction: UInt64, _ offered: DefaultFlags
) throws(FabricError) -> UInt64 {
  switch direction & (FI_TRANSMIT | FI_RECV) {
  case FI_TRANSMIT where offered.transmit != nil: return handle.pointee.transmit_flags
  case FI_RECV where offered.receive != nil: return handle.pointee.receive_flags
  default: throw refuse("neither FI_TRANSMIT nor FI_RECV, or both")
  }
}

private func setDefaultFlags(
  _ handle: inout lfp_ep, _ flags: UInt64, _ offered: DefaultFlags
) throws(FabricError) {
  let operations = flags & ~(FI_TRANSMIT | FI_RECV)
  let direction = flags & (FI_TRANSMIT | FI_RECV)
  if direction == FI_TRANSMIT, let transmit = offered.transmit {
    if operations & ~transmit != 0 { throw refuse("flags that are no defaults", .badFlags) }
    handle.transmit_flags = operations
  } else if direction == FI_RECV, let receive = offered.receive {
    if operations & ~receive != 0 { throw refuse("flags that are no defaults", .badFlags) }
    handle.receive_flags = operations
  } else {
    throw refuse("neither FI_TRANSMIT nor FI_RECV, or both")
  }
  chooseTables(&handle)
}

// MARK: Tables

/// Opens the data path of an object, by its own handle and all aliases.
func openDataPath(
  _ handle: UnsafeMutablePointer<lfp_ep>, _ messages: UnsafeMutablePointer<fi_ops_msg>,
  _ tagged: UnsafeMutablePointer<fi_ops_tagged>, _ remoteMemory: UnsafeMutablePointer<fi_ops_rma>
) {
  handle.pointee.tables = lfp_tables(msg: messages, tagged: tagged, rma: remoteMemory)
  chooseTables(&handle.pointee)
  updateAliases(of: handle)
}

/// Gives a handle, once its data path is open, the tables that go with its default flags. Atomic operations look at the
/// flags themselves.
private func chooseTables(_ handle: inout lfp_ep) {
  if handle.tables.msg == nil { return }
  let defers = (handle.transmit_flags | handle.receive_flags) & FI_TRIGGER != 0
  handle.fid.msg = defers ? UnsafeMutablePointer(&deferringMessageOps) : handle.tables.msg
  handle.fid.tagged = defers ? UnsafeMutablePointer(&deferringTaggedOps) : handle.tables.tagged
  handle.fid.rma = defers ? UnsafeMutablePointer(&deferringRemoteMemoryOps) : handle.tables.rma
}

private func refuse(_ reason: StaticString, _ error: FabricError = .invalidArgument) -> FabricError {
  error.because(.endpointControl, reason, in: "fi_control")
}

// MARK: Aliases

/// Another handle of the object behind `handle`, which may be an alias itself, with flags of its own for one direction.
private func openAlias(
  _ handle: UnsafeMutablePointer<lfp_ep>, _ flags: UInt64, _ offered: DefaultFlags
) throws(FabricError) -> UnsafeMutablePointer<fid> {
  var copy = handle.pointee
  try setDefaultFlags(&copy, flags, offered)
  guard let memory = malloc(MemoryLayout<lfp_ep>.stride) else { throw .noMemory }
  let alias = memory.bindMemory(to: lfp_ep.self, capacity: 1)
  let parent = ownHandle(handle)
  copy.parent = parent
  copy.next_alias = parent.pointee.next_alias
  alias.initialize(to: copy)
  parent.pointee.next_alias = alias
  return memory.assumingMemoryBound(to: fid.self)
}

/// The handle that an object was opened with.
func ownHandle(_ fid: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<lfp_ep> {
  let handle = endpointHandle(fid)
  return handle.pointee.parent ?? handle
}

/// What fi_close answers for an alias, which is gone then, and while an object still has aliases; nil when the object
/// itself is to be closed.
func closeAlias(_ fid: UnsafeMutablePointer<fid>?) -> Int32? {
  let handle = endpointHandle(fid)
  guard let parent = handle.pointee.parent else {
    guard handle.pointee.next_alias != nil else { return nil }
    return FabricError.busy.because(.endpointControl, "aliases are still open", in: "fi_close").result
  }
  var previous = parent
  while let next = previous.pointee.next_alias, next != handle { previous = next }
  previous.pointee.next_alias = handle.pointee.next_alias
  free(handle)
  return 0
}

/// Has the aliases of an object follow its own handle, which has got its port or its receive context, and the tables of
/// the data path.
private func updateAliases(of handle: UnsafeMutablePointer<lfp_ep>) {
  var next = handle.pointee.next_alias
  while let alias = next {
    var copy = handle.pointee
    copy.transmit_flags = alias.pointee.transmit_flags
    copy.receive_flags = alias.pointee.receive_flags
    copy.parent = handle
    copy.next_alias = alias.pointee.next_alias
    chooseTables(&copy)
    alias.pointee = copy
    next = copy.next_alias
  }
}
