/// A link that serves all who have something to send at once, each with the same share.
package struct ProcessorSharing {
  package var bytesPerSecond: Double

  package init(bytesPerSecond: Double) { self.bytesPerSecond = bytesPerSecond }

  /// When each message of each sender has passed. A sender's messages go one after the other; `time` is in nanoseconds,
  /// ascending for each sender.
  package func finishes(_ senders: [[(time: Double, bytes: Double)]]) -> [[Double]] {
    var results = senders.map { _ in [Double]() }
    var left = senders.map { $0.first?.bytes ?? 0 }
    var now = 0.0
    let rate = bytesPerSecond / 1e9
    while true {
      let pending = senders.indices.filter { results[$0].count < senders[$0].count }
      if pending.isEmpty { return results }
      let active = pending.filter { senders[$0][results[$0].count].time <= now }
      let nextArrival = pending.map { senders[$0][results[$0].count].time }.filter { $0 > now }.min()
      guard !active.isEmpty else {
        now = nextArrival!
        continue
      }
      let share = rate / Double(active.count)
      let least = active.map { left[$0] }.min()!
      let step = min(least / share, (nextArrival ?? .infinity) - now)
      now += step
      for sender in active {
        left[sender] -= step * share
        guard left[sender] < 1e-6 else { continue }
        results[sender].append(now)
        left[sender] = results[sender].count < senders[sender].count ? senders[sender][results[sender].count].bytes : 0
      }
    }
  }
}
