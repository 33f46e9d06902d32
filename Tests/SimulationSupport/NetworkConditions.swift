import Transport

/// How a simulated network treats datagrams. Times are nanoseconds, probabilities 0 to 1.
package struct NetworkConditions {
  package var loss = 0.0
  /// Having lost one datagram of a path, the probability to lose the next as well.
  package var lossBurst = 0.0
  package var duplication = 0.0
  /// Probability that a datagram takes a detour of up to `reorderingDelay`.
  package var reordering = 0.0
  package var reorderingDelay: UInt64 = microseconds(200)
  package var delay: UInt64 = microseconds(10)
  package var jitter: UInt64 = 0
  /// Datagrams of a path keep their order unless they take a detour.
  package var keepsOrder = true
  /// Probability that bits flip on the way. The kernel's checksum finds out and drops the datagram.
  package var corruption = 0.0
  /// Probability that somebody who saw a datagram sends a forged one.
  package var forgery = 0.0
  /// Bytes a second that a host's own link carries outward; 0 is without limit.
  package var hostBandwidth = 0
  /// Bytes that wait for a host's link before its socket takes no more.
  package var sendBuffer = 212_992
  /// Bytes a second that the port to a host carries; 0 is without limit.
  package var portBandwidth = 0
  /// Bytes that wait for a port before the switch drops.
  package var portQueue = 256 * 1024
  /// Bytes that a host's socket holds before the kernel drops.
  package var socketBuffer = 212_992
  /// Largest UDP payload of a path when none was set for it.
  package var datagramLimit = 65_507
  /// Whether routers tell the sender that a datagram was too big, and with the size that fits.
  package var reportsTooBig = false
  package var reportsLimit = true
  /// Whether hosts tell the sender that nobody listens.
  package var reportsUnreachable = false

  package init() {}

  /// What is out of the ordinary, in words.
  package var description: String {
    var words: [String] = []
    func add(_ name: String, _ value: Double) { if value > 0 { words.append("\(name) \(value)") } }
    add("loss", loss)
    add("loss-burst", lossBurst)
    add("duplication", duplication)
    add("reordering", reordering)
    add("corruption", corruption)
    add("forgery", forgery)
    words.append("delay \(delay)+\(jitter)ns\(keepsOrder ? "" : " unordered")")
    if hostBandwidth > 0 { words.append("link \(hostBandwidth)B/s") }
    if portBandwidth > 0 { words.append("port \(portBandwidth)B/s queue \(portQueue)") }
    words.append("socket \(socketBuffer) datagram \(datagramLimit)")
    if reportsTooBig { words.append("too-big-reports\(reportsLimit ? "" : " without size")") }
    if reportsUnreachable { words.append("unreachable-reports") }
    return words.joined(separator: ", ")
  }
}

/// What became of the datagrams of a simulated network.
package struct NetworkStatistics {
  package var sent = 0
  package var delivered = 0
  package var lost = 0
  package var duplicated = 0
  package var corrupted = 0
  package var forged = 0
  package var tooBig = 0
  package var queueDrops = 0
  package var socketDrops = 0
  package var partitioned = 0
  package var unreachable = 0

  package init() {}

  package mutating func add(_ other: NetworkStatistics) {
    sent += other.sent
    delivered += other.delivered
    lost += other.lost
    duplicated += other.duplicated
    corrupted += other.corrupted
    forged += other.forged
    tooBig += other.tooBig
    queueDrops += other.queueDrops
    socketDrops += other.socketDrops
    partitioned += other.partitioned
    unreachable += other.unreachable
  }
}
