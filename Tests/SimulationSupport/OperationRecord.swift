import Packet
import Transport

/// An operation of a run: what was planned, what happened so far, and the memory on both sides.
package final class OperationRecord {
  package let id: Int
  package let plan: OperationPlan
  package let content: Content
  /// What the memory of a read or an atomic operation holds before it.
  package let former: Content
  package var tag: UInt64 = 0
  package var data: UInt64 = 0

  // At the source.
  package var isPosted = false
  /// Which endpoint of the source it was posted on.
  package var incarnation = 0
  /// The source died with it: nobody waits for its completion.
  package var isAbandoned = false
  package var completion: TransportStatus?

  // At the target.
  package var starts = 0
  /// Which process of the target it started at.
  package var targetIncarnation = 0
  /// Accepted and not over yet.
  package var isOpen = false
  package var held: MessageHandle?
  /// All its bytes were placed, or it was refused as planned.
  package var isFinished = false
  /// It ended at the target otherwise.
  package var isLost = false

  /// Source of a message or write, destination of a read, operands of an atomic operation.
  package let local: GuardedMemory
  /// What an atomic operation returns.
  package let result: GuardedMemory
  /// Buffer of a message, memory that is written or read.
  package let remote: GuardedMemory
  /// What `remote` is a part of; nil where it is this operation's alone.
  package let shared: SharedMemory?
  /// Of a read of shared memory: what it must return.
  package var expected: [UInt8] = []

  /// Read and write: addresses carry the operation's number, so that the target knows which one it is.
  package static let regionKey: UInt64 = 0x6B65_79

  /// Memory before it is written, and after the program is done with it: nobody may write it then.
  package static let untouched: UInt8 = 0x11
  package static let done: UInt8 = 0xC3
  package static let reused: UInt8 = 0xDD

  /// `shared`: the memory that the plan's place lies in, if it has one.
  package init(id: Int, plan: OperationPlan, salt: UInt64, shared: SharedMemory?) {
    self.id = id
    self.plan = plan
    content = Content(id, salt: salt)
    former = plan.kind == .read ? content : Content(id, salt: mix(salt))
    local = GuardedMemory(parts: plan.localParts, gap: plan.gap)
    if let shared, let place = plan.place {
      self.shared = shared
      remote = GuardedMemory(parts: plan.remoteParts, gap: plan.gap, at: place, of: shared)
    } else {
      self.shared = nil
      remote = GuardedMemory(parts: plan.remoteParts, gap: plan.gap)
    }
    if plan.flags.contains(.tagged) { tag = mix(salt) ^ UInt64(id) }
    if plan.flags.contains(.remoteData) { data = mix(~salt) ^ UInt64(id) }
    result = GuardedMemory(parts: plan.resultParts, gap: plan.gap)
    local.fill(Self.untouched)
    result.fill(Self.untouched)
    if plan.kind != .read { local.fill(content) }
    resetRemote()
  }

  /// Nobody has accessed the memory yet.
  private func resetRemote() {
    if shared != nil { return }
    if plan.kind == .read || plan.kind == .atomic { remote.fill(former) } else { remote.fill(Self.untouched) }
  }

  /// The program is done with the memory: nobody may write it any more.
  package func leaveRemote() { if shared == nil { remote.fill(Self.done) } }

  /// A process of the target died with all that it knew; its successor begins the operation anew.
  package func reopen() {
    starts = 0
    isFinished = false
    isLost = false
    resetRemote()
  }

  /// What the source names as remote memory.
  package var segments: [RemoteSegment] {
    guard plan.kind != .message else { return [] }
    let key = plan.refusal == .accessDenied ? Self.regionKey + 1 : Self.regionKey
    return remote.parts.map {
      RemoteSegment(address: UInt64(id) << 40 | UInt64($0.start), length: UInt64($0.count), key: key)
    }
  }

  /// Which operation an address belongs to.
  package static func id(ofAddress address: UInt64) -> Int { Int(truncatingIfNeeded: address >> 40) }

  /// How an event that starts an operation differs from this one; nil when it does not.
  package func difference(from event: Event) -> String? {
    let kinds: [EventKind] = [.message, .write, .read, .read, .atomic]
    guard event.kind == kinds[Int(plan.kind.rawValue)] else { return "is a \(event.kind)" }
    let length = plan.kind == .atomic ? remote.count : plan.size
    guard event.length == UInt64(length) else { return "has \(event.length) bytes" }
    if plan.kind == .atomic, let difference = atomicDifference(from: event) { return difference }
    let flags: OperationFlags = [.tagged, .remoteData, .fetch]
    guard event.flags.intersection(flags) == plan.flags.intersection(flags) else { return "has flags \(event.flags)" }
    guard !plan.flags.contains(.tagged) || event.tag == tag else { return "has tag \(event.tag)" }
    guard !plan.flags.contains(.remoteData) || event.data == data else { return "has data \(event.data)" }
    guard event.kind != .message || event.context == plan.context else { return "is for context \(event.context)" }
    let expected = segments
    guard Int(event.segmentCount) == expected.count else { return "has \(event.segmentCount) segments" }
    for (index, segment) in expected.enumerated() {
      let actual = event.segment(index)
      guard actual.address == segment.address, actual.length == segment.length, actual.key == segment.key else {
        return "has segment \(actual) instead of \(segment)"
      }
    }
    return nil
  }

  /// What an atomic operation does, in this one's words.
  package var code: AtomicCode {
    AtomicCode(operation: UInt8(truncatingIfNeeded: id), datatype: UInt8(truncatingIfNeeded: id >> 3))
  }

  private func atomicDifference(from event: Event) -> String? {
    guard event.operandLength == UInt32(plan.size) else { return "has operands of \(event.operandLength) bytes" }
    guard event.atomic.operation == code.operation, event.atomic.datatype == code.datatype else {
      return "does \(event.atomic)"
    }
    return nil
  }

  package var description: String {
    var text = "operation \(id) (\(plan.description))"
    text += isPosted ? " posted by incarnation \(incarnation)" : " not posted"
    if isAbandoned { text += ", abandoned" }
    if let completion { text += ", completed \(completion)" }
    text += ", started \(starts) times"
    if isOpen { text += ", open" }
    if held != nil { text += ", held" }
    if isFinished { text += ", finished" }
    if isLost { text += ", lost" }
    return text
  }
}
