import CFabric
import Transport

// Groups of collective operations: fi_join_collective, fi_cm(3).
extension Endpoint {
  /// Not of a scalable endpoint, nor of its contexts: fi_collective(3) knows none of those, and members send and receive in
  /// pairs of contexts that nothing there would name.
  package var hasCollectives: Bool { options.capabilities & FI_COLLECTIVE != 0 && contexts == nil }

  /// Makes a group of a set's members, which ``startJoin(_:_:_:)`` joins; returns its address.
  ///
  /// `address` is that of a set, of a group that has the members, or FI_ADDR_NOTAVAIL. An endpoint that is none of the
  /// members may only join where that is another one's: then it takes part in nothing. Throws FI_EOPBADSTATE before
  /// `enable`, FI_ENOSYS without FI_COLLECTIVE, FI_ENOEQ without an event queue, FI_EBADFLAGS for flags other than FI_SEND
  /// and FI_RECV, FI_EINVAL for a set of another vector, an address that is none of these, or only one direction, and
  /// what ``Collectives/join(_:permitted:isSubgroup:)`` throws.
  package func join(_ set: AddressSet, over address: UInt64, flags: UInt64) throws(FabricError) -> UInt64 {
    guard hasCollectives else {
      throw Collectives.refuse("the endpoint lacks FI_COLLECTIVE, or is scalable", .notImplemented)
    }
    guard flags & ~(FI_SEND | FI_RECV) == 0 else { throw Collectives.refuse("unknown flags", .badFlags) }
    guard flags == 0 || flags == FI_SEND | FI_RECV else { throw Collectives.refuse("members both send and receive") }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard eventQueue != nil else { throw Collectives.refuse("the endpoint has no event queue", .noEventQueue) }
    guard let collectives, let addresses else { throw Collectives.refuse("the endpoint is not enabled", .badState) }
    guard set.isOf(addresses) else { throw Collectives.refuse("the set is of another address vector") }
    let isGroup = CollectiveHandle(address: address).flatMap { collectives.group($0) } != nil
    guard isGroup || address == unavailableAddress || addresses.hasSet(address) else {
      throw Collectives.refuse("coll_addr is neither a set's address nor a group's")
    }
    let isOther = isGroup || addresses.hasSet(address) && address != set.address
    let handle = try collectives.join(set.members, permitted: set.permitted, isSubgroup: isOther)
    set.addGroup()
    return handle.address
  }

  private var collectives: Collectives? {
    portReference?._withUnsafeGuaranteedRef { $0.collectives?.takeUnretainedValue() }
  }

  /// Begins to join a group; the end is told to the event queue. Throws FI_EAGAIN when too many operations are under way.
  package func startJoin(
    _ address: UInt64, _ fid: UnsafeMutablePointer<fid>, _ context: UnsafeMutableRawPointer?
  ) throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard let handle = CollectiveHandle(address: address), let eventQueue, let collectives else { throw .badState }
    try collectives.startJoin(handle, eventQueue, fid, context)
  }

  /// Leaves a group that was made with a set.
  package func leave(_ address: UInt64, of set: AddressSet) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    set.removeGroup()
    guard let handle = CollectiveHandle(address: address) else { return }
    collectives?.leave(handle)
  }
}
