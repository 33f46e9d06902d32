import CFabric
import Containers
import Datagram
import Transport

// Joining groups and leaving them.
extension Collectives {
  /// Makes a group for fi_join_collective, and a program's handle can be made; `startJoin` begins the join.
  ///
  /// `isSubgroup`: the members are some of another group's, of which the endpoint need not be one. Throws FI_EINVAL for
  /// a set without members, with a member that the address vector does not have, or without the endpoint; FI_ENOMEM when
  /// 4,096 groups are joined.
  func join(_ members: [UInt64], permitted: UInt16, isSubgroup: Bool) throws(FabricError) -> CollectiveHandle {
    guard !members.isEmpty else { throw Self.refuse("the set is empty") }
    let names = try ownNames()
    var key = UInt64(members.count)
    var rank: Int?
    for index in 0..<members.count {
      guard
        let address = withPort({ port in
          port.binding.addresses?._withUnsafeGuaranteedRef { $0.address(members[index]) }
        })
      else { throw Self.refuse("a member is not in the address vector") }
      if names.contains(where: { Self.areSame($0, address) }) { rank = index }
      // Scopes are each host's own.
      key = mix(mix(mix(key ^ address.words.0 & 0xffff_ffff) ^ address.words.1) ^ address.words.2)
    }
    guard rank != nil || isSubgroup else { throw Self.refuse("the endpoint is not in the set") }
    guard let handle = makeGroup(permitted: permitted, key: key & CollectiveTag.keyMask, members: members, rank: rank)
    else { throw Self.refuse("too many groups are joined", .noMemory) }
    return handle
  }

  /// Begins the join, whose end is told to the queue: FI_JOIN_COMPLETE with the group's handle and context, or an error.
  ///
  /// Members send each other their handles (an allgather), and so no join ends before all have begun theirs. Throws
  /// FI_EAGAIN when too many operations are under way.
  func startJoin(
    _ handle: CollectiveHandle, _ queue: EventQueue, _ fid: UnsafeMutablePointer<fid>,
    _ context: UnsafeMutableRawPointer?
  ) throws(FabricError) {
    let group = groups[handle.slot]
    if group.pointee.rank != nil, operations.available == 0 { throw .tryAgain }
    group.pointee.eventQueue = .passRetained(queue)
    group.pointee.fid = fid
    group.pointee.context = context
    joining.append(handle)
    guard let rank = group.pointee.rank else { return finishJoin(handle, 0) }
    group.pointee.handles[rank] = handle.bits
    let schedule = CollectiveSchedule(
      .allgather, members: group.pointee.count, rank: rank, count: 1, elementSize: MemoryLayout<UInt32>.size)
    var operation = CollectiveOperation(schedule, in: handle, sequence: group.pointee.sequence, isJoin: true)
    operation.result = UnsafeMutableRawPointer(group.pointee.handles)
    operation.input = UnsafeRawPointer(group.pointee.handles + rank)
    group.pointee.sequence &+= 1
    let index = operations.allocate()!
    operations[index].initialize(to: operation)
    start(index)
  }

  /// The join is over; a program that has left the group meanwhile is not told.
  func finishJoin(_ handle: CollectiveHandle, _ code: Int32) {
    let group = groups[handle.slot]
    joining.removeAll { $0 == handle }
    guard let queue = group.pointee.eventQueue.take() else { return }
    if group.pointee.state == .joining {
      if code == 0 { group.pointee.state = .joined }
      let fid = group.pointee.fid
      let context = group.pointee.context
      queue._withUnsafeGuaranteedRef { tell($0, fid, context, code) }
    }
    queue.release()
  }

  private func tell(
    _ queue: EventQueue, _ fid: UnsafeMutablePointer<fid>?, _ context: UnsafeMutableRawPointer?, _ code: Int32
  ) {
    // Memory is all that can be missing: then there is nobody to tell.
    do throws(FabricError) {
      if code == 0 {
        try queue.report(event: UInt32(FI_JOIN_COMPLETE), fi_eq_entry(fid: fid, context: context, data: 0))
      } else {
        var entry = fi_eq_err_entry()
        entry.fid = fid
        entry.context = context
        entry.err = code
        entry.prov_errno = code
        try queue.report(entry)
      }
    } catch {}
  }

  /// The program leaves a group. Operations that are under way are cancelled, and with them those of the other members.
  func leave(_ handle: CollectiveHandle) {
    guard let group = group(handle) else { return }
    if !group.pointee.operations.isEmpty { fail(handle, FI_ECANCELED) }
    group.pointee.state = .left
    freeIfOver(handle)
    withPort { $0.workAtOnce() }
  }

  /// The addresses that messages to the endpoint may be sent to: its own or, of one that is bound to none, all of this
  /// host with its port.
  private func ownNames() throws(FabricError) -> [SocketAddress] {
    let address = withPort { $0.localAddress }
    guard address.isAny else { return [address] }
    var names: [SocketAddress] = []
    do throws(SystemError) {
      let interfaces = try InterfaceList()
      for index in 0..<interfaces.count { names.append(interfaces[index].address.with(port: address.port)) }
    } catch {
      throw FabricError(code: error.code)
    }
    return names
  }

  /// Whether two addresses are the same but for the scope, which address vectors keep of link-local ones alone.
  private static func areSame(_ left: SocketAddress, _ right: SocketAddress) -> Bool {
    (left.words.0 ^ right.words.0) & 0xffff_ffff == 0 && left.words.1 == right.words.1
      && left.words.2 == right.words.2
  }

  static func refuse(_ reason: StaticString, _ error: FabricError = .invalidArgument) -> FabricError {
    error.because(.endpointControl, reason, in: "fi_join_collective")
  }
}
