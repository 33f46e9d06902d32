import Containers
import Packet

// Transfers towards memory that an earlier operation of the same session still writes or reads: they wait, so that all
// bytes are as if one operation had come after the other (FI_ORDER_WAW, WAR, SAR).
//
// A read is over when all it was answered with is acknowledged, not before: what is lost is read again from the memory,
// and where the socket takes pages by reference, what has left it too.
extension TransportEndpoint {
  /// Whether a transfer has to wait. Eager writes do not start before earlier writes are in place, and messages neither.
  func overlapsEarlierAccess(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) -> Bool {
    let entry = inbound[slot]
    if entry.pointee.isWrite && entry.pointee.isPulled && overlapsEarlierWrite(slot, connection) { return true }
    return !connection.pointee.responses.isEmpty && overlapsEarlierRead(slot, connection)
  }

  private func overlapsEarlierWrite(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) -> Bool {
    var other = inbound[slot].pointee.previous
    while other != .max {
      let entry = inbound[other]
      if entry.pointee.isWrite, entry.pointee.state == .accepted,
        entry.pointee.memory.overlaps(inbound[slot].pointee.memory, scatters)
      {
        return true
      }
      other = entry.pointee.previous
    }
    return false
  }

  /// Reads that were posted later do not count: a message may have been held for long.
  private func overlapsEarlierRead(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) -> Bool {
    let entry = inbound[slot]
    var other = connection.pointee.responses.first
    while other != .max {
      let response = operations[other]
      if distance(response.pointee.sequence, from: entry.pointee.sequence) < 0,
        response.pointee.memory.overlaps(entry.pointee.memory, scatters)
      {
        return true
      }
      other = response.pointee.next
    }
    return false
  }

  /// Has an accepted transfer wait. What comes of it eagerly waits beside its memory.
  mutating func postpone(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    let entry = inbound[slot]
    entry.pointee.isDeferred = true
    connection.pointee.deferredTransfers += 1
    statistics.deferredTransfers += 1
    if !entry.pointee.isPulled && entry.pointee.staging == nil {
      entry.pointee.staging = buffers.allocate(max(Int(entry.pointee.length), 1))
    }
  }

  /// An access is over: starts the transfers that waited for it alone.
  mutating func startDeferred(_ connection: UnsafeMutablePointer<Connection>) {
    // From the first one each time: a transfer that ends may let others go, and takes itself out of the list.
    while let slot = nextToStart(connection) {
      inbound[slot].pointee.isDeferred = false
      connection.pointee.deferredTransfers -= 1
      if inbound[slot].pointee.isPulled { startPull(slot, connection) } else { unstage(slot) }
    }
  }

  /// A read is over: atomic operations of its peer may go on, which wait for all of them.
  mutating func endRead(_ connection: UnsafeMutablePointer<Connection>) {
    connection.pointee.activeReads -= 1
    if connection.pointee.activeReads == 0 && !connection.pointee.staged.isEmpty { noteStarved(connection) }
  }

  private func nextToStart(_ connection: UnsafeMutablePointer<Connection>) -> UInt32? {
    guard connection.pointee.deferredTransfers > 0 else { return nil }
    var slot = connection.pointee.inbound.first
    while slot != .max {
      if inbound[slot].pointee.isDeferred && !overlapsEarlierAccess(slot, connection) { return slot }
      slot = inbound[slot].pointee.next
    }
    return nil
  }

  /// Moves what has come of an accepted eager transfer to its memory, where the rest follows.
  mutating func unstage(_ slot: UInt32) {
    let entry = inbound[slot]
    guard let staging = entry.pointee.staging else { return }
    entry.pointee.staging = nil
    scatter(staging, Int(entry.pointee.length), to: entry.pointee.memory, at: 0)
    buffers.deallocate(staging, count: max(Int(entry.pointee.length), 1))
    if entry.pointee.received.isComplete(entry.pointee.length) { finish(slot, .ok) }
  }

  mutating func startPull(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    let entry = inbound[slot]
    connection.pointee.activePulls += 1
    entry.pointee.granted = nextGrant(0, 0, entry.pointee.wanted, connection)
    queuePull(.pull, slot, entry.pointee.sequence, connection)
  }
}
