import Packet
import Transport

/// One operation of a workload: what its source posts and what its target does about it.
package struct OperationPlan {
  package var kind: OperationKind
  package var source: Int
  package var target: Int
  package var flags: OperationFlags = []
  package var size: Int
  /// The receive context that a message is for.
  package var context: UInt16 = 0
  /// When it is posted, counted from the start of the run.
  package var time: UInt64 = 0
  /// How the local memory is sliced, and how many bytes lie between slices.
  package var localParts: [Int] = [0]
  package var gap = 0
  /// How the memory at the target is sliced: buffers of a message, segments of a write or read.
  package var remoteParts: [Int] = [0]
  /// How the memory for what an atomic operation returns is sliced.
  package var resultParts: [Int] = [0]
  /// Where that begins in the memory that the operations of its pair share; nil of a message, or without such memory.
  package var place: Int?
  /// The target keeps the message for a while before it has a buffer.
  package var holdFor: UInt64?
  /// The target throws the held message away instead of accepting it.
  package var isDiscarded = false
  /// The target takes its memory away so long after it accepted.
  package var abortAfter: UInt64?
  /// The target refuses the access, or has no such context.
  package var refusal: OperationStatus?

  package init(kind: OperationKind, source: Int, target: Int, size: Int) {
    self.kind = kind
    self.source = source
    self.target = target
    self.size = size
  }

  /// Bytes that its completion tells of.
  package var completedSize: Int { flags.contains(.fetch) ? resultParts.reduce(0, +) : size }

  package var description: String {
    var text = "\(kind) \(source) -> \(target), \(size) bytes"
    if flags.contains(.tagged) { text += ", tagged" }
    if flags.contains(.remoteData) { text += ", data" }
    if flags.contains(.deliveryComplete) { text += ", delivery-complete" }
    if flags.contains(.matchComplete) { text += ", match-complete" }
    if flags.contains(.inject) { text += ", inject" }
    if flags.contains(.fetch) { text += ", fetch to \(resultParts)" }
    if flags.contains(.fence) { text += ", fenced" }
    if flags.contains(.persistent) { text += ", persistent" }
    if context != 0 { text += ", context \(context)" }
    text += ", local \(localParts) gap \(gap), remote \(remoteParts)"
    if let place { text += ", at byte \(place)" }
    if let holdFor { text += ", held \(holdFor)ns" }
    if isDiscarded { text += ", discarded" }
    if let abortAfter { text += ", aborted after \(abortAfter)ns" }
    if let refusal { text += ", refused \(refusal)" }
    return text + ", at \(time)ns"
  }
}

/// Something that happens to hosts or paths during a run. Times count from its start.
package enum Disturbance {
  /// Hosts inside and outside of the set cannot reach each other.
  case partition(hosts: Set<Int>, at: UInt64, duration: UInt64)
  /// The path between two hosts carries at most so many bytes a datagram from then on.
  case pathLimit(Int, Int, bytes: Int, at: UInt64)
  /// A host dies and its successor starts a while later.
  case restart(host: Int, at: UInt64, downFor: UInt64)
  /// A host does nothing for a while.
  case pause(host: Int, at: UInt64, duration: UInt64)
}

/// Everything a run is made of.
package struct Scenario {
  package var seed: UInt64
  package var conditions = NetworkConditions()
  package var configurations: [TransportConfiguration] = []
  package var habits: [HostHabits] = []
  package var operations: [OperationPlan] = []
  package var disturbances: [Disturbance] = []
  /// Pairs, as `source * hosts + target`, whose connection may fail.
  package var unstablePairs: Set<Int> = []
  /// All endpoints are closed at the end.
  package var closes = false
  /// Bytes of the memory that all writes and reads between a host and another go to; nil where each has its own.
  package var sharedMemory: Int?

  package init(seed: UInt64) { self.seed = seed }

  package func isStable(_ left: Int, _ right: Int) -> Bool {
    !unstablePairs.contains(left * configurations.count + right)
  }

  mutating func destabilize(_ left: Int, _ right: Int) {
    unstablePairs.insert(left * configurations.count + right)
    unstablePairs.insert(right * configurations.count + left)
  }

  /// More steps than this mean that something goes round in circles.
  package var stepLimit: Int {
    let datagrams = operations.reduce(0) { $0 + $1.size } / (configurations.map(\.baseDatagram).min() ?? 1)
    return 400_000 + 100 * datagrams
  }

  package var description: String {
    var lines = [
      "seed \(seed): \(configurations.count) hosts, \(operations.count) operations, \(conditions.description)"
    ]
    for (index, configuration) in configurations.enumerated() {
      let habits = habits[index]
      lines.append(
        "host \(index): slots \(configuration.transmitQueueSize) inbound \(configuration.inboundTransfers) packets "
          + "\(configuration.packetsInFlight) datagram \(configuration.maximumDatagram)/\(configuration.interfaceDatagram)/"
          + "\(configuration.baseDatagram) segments \(configuration.maximumSegments) buffer \(configuration.receiveBuffer) "
          + "eager \(configuration.eagerLimit) credit \(configuration.creditWindow)/\(configuration.operationWindow) reads "
          + "\(configuration.maximumReads) silence \(configuration.maximumSilence)ms ack-delay "
          + "\(configuration.acknowledgeDelay)ns; reaction \(habits.reaction)ns cadence \(habits.cadence)ns gap "
          + "\(habits.pollGap)ns batch \(habits.receiveBatch) blocking \(habits.blocking) dropping \(habits.dropping)")
    }
    for disturbance in disturbances { lines.append("\(disturbance)") }
    if let sharedMemory { lines.append("writes, reads and atomic operations share \(sharedMemory) bytes") }
    if closes { lines.append("endpoints are closed at the end") }
    return lines.joined(separator: "\n")
  }
}
