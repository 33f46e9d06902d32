import Containers
import Transport

/// A message that came before its receive, or that FI_PEEK with FI_CLAIM set aside.
package struct UnexpectedMessage: ListLinked {
  package var next: UInt32 = .max
  package var previous: UInt32 = .max
  /// What the transport calls it.
  package var handle: MessageHandle = 0
  /// The port that it came to, whose connection and message these are.
  package var port: Unmanaged<Port>?
  package var sender: ConnectionIndex
  /// What directed receives know its sender by: the same, or in a context that ports share its number in the address
  /// vector.
  package var connection: ConnectionIndex
  package var flags: OperationFlags
  package var isClaimed = false
  /// In the chains of `WaitingMessages`.
  var isChained = false
  package var tag: UInt64
  package var data: UInt64
  package var length: UInt64
  /// Who claimed it.
  package var context: UInt = 0

  package init(connection: ConnectionIndex, flags: OperationFlags, tag: UInt64, data: UInt64, length: UInt64) {
    self.connection = connection
    sender = connection
    self.flags = flags
    self.tag = tag
    self.data = data
    self.length = length
  }

  /// Whether a receive takes it.
  @inline(__always)
  func fits(_ tag: UInt64, _ ignore: UInt64, _ connection: ConnectionIndex) -> Bool {
    (self.tag ^ tag) & ~ignore == 0 && (connection == PostedReceive.anyConnection || connection == self.connection)
  }
}

/// Messages of one kind in the order of arrival.
///
/// The first few are looked at one by one. Once a receive fits none of them, all others stand in chains as well, by tag,
/// and by tag and peer, as in `WaitingReceives`.
private struct WaitingMessages: ~Copyable {
  private var list = IndexList()
  /// All messages but the first few are in chains.
  private var isChaining = false
  private var byTag: HashChains
  private var byTagAndPeer: HashChains
  /// Messages that were looked at beyond the first few.
  private(set) var steps: UInt64 = 0

  init(capacity: Int) {
    byTag = HashChains(capacity: capacity, chains: capacity / 4 + 1)
    byTagAndPeer = HashChains(capacity: capacity, chains: capacity / 4 + 1)
  }

  @inline(__always)
  var isEmpty: Bool { list.isEmpty }

  var first: UInt32 { list.first }

  mutating func append(_ index: UInt32, in slab: borrowing Slab<UnexpectedMessage>) {
    slab[index].pointee.isChained = false
    if isChaining && list.count >= Self.firstFew { chain(index, in: slab) }
    list.append(index, in: slab)
  }

  mutating func remove(_ index: UInt32, in slab: borrowing Slab<UnexpectedMessage>) {
    let message = slab[index]
    list.remove(index, in: slab)
    guard message.pointee.isChained else { return }
    byTag.remove(index, from: chain(message.pointee.tag))
    byTagAndPeer.remove(index, from: chain(message.pointee.tag, message.pointee.connection))
    isChaining = byTag.count > 0
  }

  private mutating func chain(_ index: UInt32, in slab: borrowing Slab<UnexpectedMessage>) {
    let message = slab[index]
    message.pointee.isChained = true
    byTag.append(index, to: chain(message.pointee.tag))
    byTagAndPeer.append(index, to: chain(message.pointee.tag, message.pointee.connection))
  }

  /// The first message that fits a receive; `Slab.none` when none does.
  mutating func find(
    _ tag: UInt64, _ ignore: UInt64, _ connection: ConnectionIndex, in slab: borrowing Slab<UnexpectedMessage>
  ) -> UInt32 {
    var index = list.first
    // With bits to ignore there is no hash.
    var left = ignore == 0 ? Self.firstFew : .max
    while index != .max && left > 0 {
      if slab[index].pointee.fits(tag, ignore, connection) { return index }
      index = slab[index].pointee.next
      left -= 1
    }
    if index == .max { return index }
    if !isChaining { chainAll(from: index, in: slab) }
    let isAny = connection == PostedReceive.anyConnection
    index = isAny ? byTag.first(chain(tag)) : byTagAndPeer.first(chain(tag, connection))
    while index != .max {
      steps &+= 1
      if slab[index].pointee.fits(tag, 0, connection) { break }
      index = isAny ? byTag.next(index) : byTagAndPeer.next(index)
    }
    return index
  }

  @inline(never)
  private mutating func chainAll(from successor: UInt32, in slab: borrowing Slab<UnexpectedMessage>) {
    isChaining = true
    var index = successor
    while index != .max {
      chain(index, in: slab)
      index = slab[index].pointee.next
    }
  }

  /// Goes without chains until they are needed again, which then have room for elements below `capacity`.
  mutating func dropChains(capacity: Int, in slab: borrowing Slab<UnexpectedMessage>) {
    byTag = HashChains(capacity: capacity, chains: capacity / 4 + 1)
    byTagAndPeer = HashChains(capacity: capacity, chains: capacity / 4 + 1)
    isChaining = false
    var index = list.first
    while index != .max {
      slab[index].pointee.isChained = false
      index = slab[index].pointee.next
    }
  }

  private func chain(_ tag: UInt64) -> Int { byTag.chain(mix(tag)) }

  private func chain(_ tag: UInt64, _ connection: ConnectionIndex) -> Int {
    byTagAndPeer.chain(mix(tag ^ UInt64(connection) &* 0x9E37_79B9_7F4A_7C15))
  }

  private static var firstFew: UInt32 { 8 }
}

/// Messages that nobody waits for yet, in the order of arrival. The transport keeps their bytes and bounds them.
///
/// Not thread-safe; the owner serializes.
package struct UnexpectedQueue: ~Copyable {
  private var slab: Slab<UnexpectedMessage>
  private var tagged: WaitingMessages
  private var untagged: WaitingMessages
  private var claimed = IndexList()

  package init(capacity: Int) {
    slab = Slab(capacity: capacity)
    tagged = WaitingMessages(capacity: capacity)
    untagged = WaitingMessages(capacity: capacity)
  }

  @inline(__always)
  package func isEmpty(tagged isTagged: Bool) -> Bool { isTagged ? tagged.isEmpty : untagged.isEmpty }

  /// The oldest message of a kind, `Slab.none` if there is none; `next` of its element leads to the others.
  package func first(tagged isTagged: Bool) -> UInt32 { isTagged ? tagged.first : untagged.first }

  /// Any message, claimed ones included; nil if there is none.
  package var firstOfAll: UInt32? {
    for index in [tagged.first, untagged.first, claimed.first] where index != .max { return index }
    return nil
  }

  /// Messages there is room for.
  package var capacity: Int { Int(slab.capacity) }
  /// All messages, claimed ones included.
  package var count: Int { Int(slab.count) }
  /// Messages that were looked at one by one beyond the first few of their kind.
  package var steps: UInt64 { tagged.steps &+ untagged.steps }

  @inline(__always)
  package subscript(index: UInt32) -> UnsafeMutablePointer<UnexpectedMessage> { slab[index] }

  /// Room for one message, in no list yet; nil when full.
  package mutating func allocate() -> UInt32? { slab.allocate() }

  /// Gives back an element that is in no list.
  package mutating func free(_ index: UInt32) { slab.free(index) }

  /// Puts a message behind all others.
  package mutating func append(_ index: UInt32) {
    slab[index].pointee.isClaimed = false
    if slab[index].pointee.flags.contains(.tagged) {
      tagged.append(index, in: slab)
    } else {
      untagged.append(index, in: slab)
    }
  }

  /// The first message that fits a receive, left in its place; nil if none does.
  package mutating func find(
    tagged isTagged: Bool, tag: UInt64, ignore: UInt64, from connection: ConnectionIndex
  ) -> UInt32? {
    let index =
      isTagged ? tagged.find(tag, ignore, connection, in: slab) : untagged.find(tag, ignore, connection, in: slab)
    return index == .max ? nil : index
  }

  /// Sets a message aside: only `find(claimedBy:)` with the same context finds it from now on.
  package mutating func claim(_ index: UInt32, context: UInt) {
    unlink(index)
    slab[index].pointee.isClaimed = true
    slab[index].pointee.context = context
    claimed.append(index, in: slab)
  }

  /// The oldest message that was set aside for `context`.
  package func find(claimedBy context: UInt) -> UInt32? {
    var index = claimed.first
    while index != .max && slab[index].pointee.context != context { index = slab[index].pointee.next }
    return index == .max ? nil : index
  }

  // MARK: In contexts that ports share

  /// Makes room for `count` messages more.
  package mutating func grow(by count: Int) {
    let capacity = Int(slab.capacity) + count
    slab = Slab(slab, capacity: capacity)
    tagged.dropChains(capacity: capacity, in: slab)
    untagged.dropChains(capacity: capacity, in: slab)
  }

  /// Calls `body` with each message, claimed ones included; it may unlink and free it.
  package mutating func forEach(_ body: (inout UnexpectedQueue, UInt32) -> Void) {
    for first in [tagged.first, untagged.first, claimed.first] {
      var index = first
      while index != .max {
        let next = slab[index].pointee.next
        body(&self, index)
        index = next
      }
    }
  }

  /// Senders have got other numbers.
  package mutating func sendersChanged() {
    tagged.dropChains(capacity: Int(slab.capacity), in: slab)
    untagged.dropChains(capacity: Int(slab.capacity), in: slab)
  }

  /// Takes a message out of its list; its element stays in use until `free`.
  package mutating func unlink(_ index: UInt32) {
    if slab[index].pointee.isClaimed {
      claimed.remove(index, in: slab)
    } else if slab[index].pointee.flags.contains(.tagged) {
      tagged.remove(index, in: slab)
    } else {
      untagged.remove(index, in: slab)
    }
  }
}
