import CPlatform

extension UDPSocket {
  /// Whether the socket has a ``FaultPlan``: then ``receiveThroughFaults(now:)`` is to be called in place of
  /// ``receive()``.
  @inline(__always)
  package var hasFaults: Bool { faults != nil }

  /// When a datagram that the plan keeps back is due, which no descriptor tells of; `UInt64.max` when there is none.
  package var nextDelivery: UInt64 { faults?.pointee.nextDelivery ?? .max }

  /// Like ``receive()``, on the network of the socket's plan: what is lost is left out, what is late comes later, and
  /// what should come twice does. `now` is the time of ``Clock``. Empty datagrams are dropped.
  package mutating func receiveThroughFaults(now: UInt64) -> Int {
    guard let faults else { return receive() }
    let isTurnOfQueue = faults.pointee.isOverdue
    if isTurnOfQueue {
      receiving.removeAll()
    } else {
      let count = receive()
      var kept = 0
      for index in 0..<count {
        let length = faults.pointee.judge(receiving.datagrams(index), now: now)
        if length > 0 {
          receiving.move(index, to: kept, length: length)
          kept += 1
        }
      }
      receiving.truncate(to: kept)
    }
    while receiving.hasRoom, let entry = faults.pointee.nextLate(now: now) {
      receiving.append(entry)
      entry.free()
    }
    // The kernel and the queue take turns while both have more than the buffers take.
    faults.pointee.isOverdue = !isTurnOfQueue && faults.pointee.nextDelivery <= now
    return receiving.count
  }
}

extension ReceiveQueue {
  /// Has the start of filled buffer `index` stand at `position`, which is not behind it.
  fileprivate func move(_ index: Int, to position: Int, length: Int) {
    var entry = filled[index]
    entry.length = Int32(truncatingIfNeeded: length)
    entry.segmentSize = min(entry.segmentSize, entry.length)
    filled[position] = entry
  }

  /// Empties all filled buffers but the first `count`.
  fileprivate mutating func truncate(to count: Int) { self.count = count }

  /// The first message whose buffer, like all behind it, is free.
  private var freeMessage: Int { count == 0 ? 0 : Int(filled[count - 1].message) + 1 }

  fileprivate var hasRoom: Bool { freeMessage < capacity }

  /// Fills a free buffer.
  fileprivate mutating func append(_ entry: DelayQueue.Entry) {
    let message = freeMessage
    memcpy(buffers + message * stride, entry.bytes, entry.length)
    entry.source.store(to: messages.address(message), capacity: MessageArray.addressStride)
    filled[count] = Filled(
      message: Int32(truncatingIfNeeded: message), length: Int32(truncatingIfNeeded: entry.length),
      segmentSize: Int32(truncatingIfNeeded: entry.segmentSize))
    count += 1
  }
}
