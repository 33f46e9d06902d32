import CFabric
import Containers
import Transport

/// A group that an endpoint has joined, or is joining.
///
/// Members know each other's groups by handles, which they exchange when they join: messages of a group that is gone are
/// told from those of the next one in its slot. 12 bytes a member.
struct CollectiveGroup: BitwiseCopyable {
  /// The slab's, while the group is in nobody's hands.
  private var link: UInt32 = .max
  var state = CollectiveGroupState.joining
  let generation: UInt16
  /// What made the group unusable, a positive FI_E value, or 0.
  var failure: Int32 = 0
  /// Messages under way; and those of them that ask whether members are alive.
  var messages: UInt32 = 0
  var probes: UInt32 = 0
  /// Operations that it may be used for, a bit each.
  let permitted: UInt16
  /// The same in all members' lists.
  let key: UInt64
  let count: Int
  /// This side's place; nil of one that has joined a group of others.
  let rank: Int?
  /// Of each member its number in the address vector, and what its messages are addressed to.
  let addresses: UnsafeMutablePointer<UInt64>
  let handles: UnsafeMutablePointer<UInt32>
  /// Of the next operation; the first is the join itself.
  var sequence: UInt32 = 0
  /// Operations under way.
  var operations = IndexList()

  /// Where the end of the join is told, as long as that is due.
  var eventQueue: Unmanaged<EventQueue>?
  var fid: UnsafeMutablePointer<fid>?
  var context: UnsafeMutableRawPointer?

  init(generation: UInt16, permitted: UInt16, key: UInt64, members: [UInt64], rank: Int?) {
    self.generation = generation
    self.permitted = permitted
    self.key = key
    self.rank = rank
    count = members.count
    addresses = .allocate(capacity: members.count)
    handles = .allocate(capacity: members.count)
    handles.initialize(repeating: 0, count: members.count)
    for index in 0..<members.count { (addresses + index).initialize(to: members[index]) }
  }

  func releaseMemory() {
    addresses.deallocate()
    handles.deallocate()
    eventQueue?.release()
  }

  /// The place of a member by its number in the address vector. O(members).
  func rank(of address: UInt64) -> Int? {
    for index in 0..<count where addresses[index] == address { return index }
    return nil
  }
}

/// A member's message of a join that has failed at this side before it came: not one of the next join of the list.
struct OwedJoin: BitwiseCopyable, Equatable {
  let key: UInt64
  let connection: ConnectionIndex
}

enum CollectiveGroupState: UInt8, BitwiseCopyable {
  case free
  /// The handle is out, the program has not been given it yet or the members have not all come.
  case joining
  case joined
  /// Left by the program; operations are being brought to their ends, and messages to their receivers.
  case left
}

/// What members call a group: its slot, and a number that tells it from others that had the slot.
struct CollectiveHandle: BitwiseCopyable, Equatable {
  /// 30 bits.
  let bits: UInt32

  init(bits: UInt32) { self.bits = bits }
  /// Of no group.
  static var none: CollectiveHandle { CollectiveHandle(bits: 0) }
  init(slot: UInt32, generation: UInt16) { bits = UInt32(generation) << Self.slotBits | slot }

  var slot: UInt32 { bits & (1 << Self.slotBits - 1) }
  var generation: UInt16 { UInt16(truncatingIfNeeded: bits >> Self.slotBits) }

  /// What fi_mc_addr returns, and operations are addressed to.
  var address: UInt64 { Self.addressMark | UInt64(bits) }

  /// Nil for an address that is no group's.
  init?(address: UInt64) {
    guard address >> 30 == Self.addressMark >> 30 else { return nil }
    bits = UInt32(truncatingIfNeeded: address & (1 << 30 - 1))
  }

  /// Tells the addresses of groups from numbers of the address vector, and from sets'.
  private static var addressMark: UInt64 { 1 << 61 }
  private static var slotBits: UInt32 { 14 }
}

/// The tag of a message to the receive context of collective operations: docs/PROTOCOL.md, section 10.
enum CollectiveTag: Equatable {
  /// A step of an operation, in the receiver's group, with the operation's number in the group.
  case step(CollectiveHandle, UInt32)
  /// A step of a join, with the key of the members' list; without payload the sender's join has failed.
  case join(UInt64)
  /// The sender's group has failed: the receiver's group, a positive FI_E value.
  case failure(CollectiveHandle, UInt16)
  /// Its sender waits for a message of the receiver's in a group, or in one whose handle it does not know yet. The
  /// transport tells whether the receiver is alive, and the receiver refuses what cannot come.
  case probe(CollectiveHandle)

  var bits: UInt64 {
    switch self {
    case .step(let handle, let sequence): UInt64(handle.bits) << 32 | UInt64(sequence)
    case .join(let key): 1 << 62 | key & Self.keyMask
    case .failure(let handle, let code): 2 << 62 | UInt64(handle.bits) << 32 | UInt64(code)
    case .probe(let handle): 3 << 62 | UInt64(handle.bits) << 32
    }
  }

  init(bits: UInt64) {
    let handle = CollectiveHandle(bits: UInt32(truncatingIfNeeded: bits >> 32) & (1 << 30 - 1))
    switch bits >> 62 {
    case 0: self = .step(handle, UInt32(truncatingIfNeeded: bits))
    case 1: self = .join(bits & Self.keyMask)
    case 2: self = .failure(handle, UInt16(truncatingIfNeeded: bits))
    default: self = .probe(handle)
    }
  }

  /// Bits of a key.
  static var keyMask: UInt64 { 1 << 62 - 1 }
}
