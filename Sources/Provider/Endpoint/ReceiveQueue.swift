import CFabric
import Containers
import Transport

/// A receive from fi_recv to its completion: 64 bytes, since many of them wait at a time.
package struct PostedReceive: ListLinked {
  package var next: UInt32
  package var previous: UInt32
  /// The only peer it matches, or `anyConnection`; once matched, the sender.
  package var connection: ConnectionIndex
  /// What its completion says: FI_RECV with FI_MSG or FI_TAGGED, and FI_COMPLETION if a success is reported at all.
  package var flags: UInt32
  package var sliceCount: UInt16
  /// In one of the chains of `WaitingReceives`.
  var isChained = false
  /// Of a buffer for many messages (FI_MULTI_RECV): whether it takes more.
  package var bufferState: BufferState
  /// Of such a buffer: messages that are still arriving in it.
  package var messages: UInt32
  /// The tag asked for; once matched, the sender's.
  package var tag: UInt64
  package var ignore: UInt64
  package var context: UInt
  /// The only slice. Of several: no base, and the bytes of all.
  package var slice: Slice

  /// Bytes of all slices.
  @inline(__always)
  package var capacity: Int { slice.count }

  /// Whether it takes one message after the other (FI_MULTI_RECV). Its slice is what is free of it.
  @inline(__always)
  package var isMulti: Bool { flags & UInt32(FI_MULTI_RECV) != 0 }

  /// Remote completion data of the matched message, which takes the place of what only matching needs.
  @inline(__always)
  package var data: UInt64 {
    get { ignore }
    set { ignore = newValue }
  }

  /// Stands for every peer (FI_ADDR_UNSPEC).
  package static var anyConnection: ConnectionIndex { .max }

  /// Whether it takes a message.
  @inline(__always)
  func fits(_ tag: UInt64, _ connection: ConnectionIndex) -> Bool {
    (self.tag ^ tag) & ~ignore == 0 && (self.connection == connection || self.connection == Self.anyConnection)
  }
}

/// How far a buffer for many messages is.
package enum BufferState: UInt8, BitwiseCopyable {
  /// It waits for messages.
  case open
  /// It takes no more; it is the program's again when the last message in it is over.
  case used
  /// The program wants it back: the same, and an error entry tells.
  case cancelled
}

/// Waiting receives of one kind, in the order of posting.
///
/// The first few are looked at one by one. Once a message fits none of them, all others stand in chains as well, by tag
/// and peer, or all in one if they ignore bits of the tag; and those posted later join them, until no chain has any. So
/// whoever receives in the order of posting pays for no chains, and nobody for a long list. Receives only ever move
/// forward: one that is in no chain is among the first few.
private struct WaitingReceives: ~Copyable {
  private var list = IndexList()
  private var chains: HashChains
  /// All receives but the first few are in chains.
  private var isChaining = false
  /// Receives that were looked at beyond the first few.
  private(set) var steps: UInt64 = 0

  init(capacity: Int) { chains = HashChains(capacity: capacity, chains: capacity / 2 + 1) }

  var first: UInt32 { list.first }

  @inline(__always)
  mutating func append(_ index: UInt32, in slab: UnsafeMutablePointer<PostedReceive>) {
    slab[Int(index)].isChained = false
    if isChaining && list.count >= Self.firstFew { chain(index, in: slab) }
    list.append(index, in: slab)
  }

  @inline(__always)
  mutating func remove(_ index: UInt32, in slab: UnsafeMutablePointer<PostedReceive>) {
    list.remove(index, in: slab)
    if slab[Int(index)].isChained { unchain(index, in: slab) }
  }

  @inline(never)
  private mutating func chain(_ index: UInt32, in slab: UnsafeMutablePointer<PostedReceive>) {
    slab[Int(index)].isChained = true
    chains.append(index, to: chain(of: slab + Int(index)))
  }

  @inline(never)
  private mutating func unchain(_ index: UInt32, in slab: UnsafeMutablePointer<PostedReceive>) {
    chains.remove(index, from: chain(of: slab + Int(index)))
    isChaining = chains.count > 0
  }

  /// The first receive that fits a message; `Slab.none` when none does.
  @inline(__always)
  mutating func find(
    _ tag: UInt64, _ connection: ConnectionIndex, in slab: UnsafeMutablePointer<PostedReceive>
  ) -> UInt32 {
    var index = list.first
    var left = Self.firstFew
    while index != .max {
      let entry = slab + Int(index)
      if entry.pointee.fits(tag, connection) { return index }
      index = entry.pointee.next
      left &-= 1
      if left == 0 { return index == .max ? index : findInChains(from: index, tag, connection, in: slab) }
    }
    return .max
  }

  /// The first that fits from `successor` on, which follows the first few.
  @inline(never)
  private mutating func findInChains(
    from successor: UInt32, _ tag: UInt64, _ connection: ConnectionIndex, in slab: UnsafeMutablePointer<PostedReceive>
  ) -> UInt32 {
    if !isChaining {
      isChaining = true
      var index = successor
      while index != .max {
        chain(index, in: slab)
        index = slab[Int(index)].next
      }
    }
    var best = find(chains.chain(Self.hash(tag, connection)), tag, connection, in: slab)
    best = older(
      best, find(chains.chain(Self.hash(tag, PostedReceive.anyConnection)), tag, connection, in: slab))
    return older(best, find(chains.unhashed, tag, connection, in: slab))
  }

  /// The first of a chain that fits.
  private mutating func find(
    _ chain: Int, _ tag: UInt64, _ connection: ConnectionIndex, in slab: UnsafeMutablePointer<PostedReceive>
  ) -> UInt32 {
    var index = chains.first(chain)
    while index != .max {
      steps &+= 1
      if slab[Int(index)].fits(tag, connection) { break }
      index = chains.next(index)
    }
    return index
  }

  private func older(_ left: UInt32, _ right: UInt32) -> UInt32 {
    if left == .max { return right }
    return right != .max && chains.isOlder(right, than: left) ? right : left
  }

  private func chain(of entry: UnsafeMutablePointer<PostedReceive>) -> Int {
    entry.pointee.ignore == 0
      ? chains.chain(Self.hash(entry.pointee.tag, entry.pointee.connection)) : chains.unhashed
  }

  private static func hash(_ tag: UInt64, _ connection: ConnectionIndex) -> UInt64 {
    mix(tag ^ UInt64(connection) &* 0x9E37_79B9_7F4A_7C15)
  }

  private static var firstFew: UInt32 { 8 }
}

/// Posted receives that wait for a message, in the order of posting: tagged and untagged ones apart.
///
/// A message takes the first receive that fits (fi_msg(3), fi_tagged(3)). Receives of one slice, which are nearly all,
/// live in one element; the slices of others stand in memory beside the slab that is first touched when needed.
///
/// Not thread-safe; the owner serializes.
package struct ReceiveQueue: ~Copyable {
  private var slab: Slab<PostedReceive>
  private let vectors: UnsafeMutablePointer<Slice>
  private var tagged: WaitingReceives
  private var untagged: WaitingReceives

  package init(capacity: Int) {
    slab = Slab(capacity: capacity)
    vectors = .allocate(capacity: capacity * Capabilities.iovLimit)
    tagged = WaitingReceives(capacity: capacity)
    untagged = WaitingReceives(capacity: capacity)
  }

  deinit { vectors.deallocate() }

  /// Receives from post to completion.
  package var count: Int { Int(slab.count) }
  /// Receives that were looked at one by one beyond the first few of their kind.
  package var steps: UInt64 { tagged.steps &+ untagged.steps }
  /// No receive waits for a message.
  @inline(__always)
  package var areAllTaken: Bool { tagged.first == .max && untagged.first == .max }
  /// Receives that may still be posted.
  package var available: Int { Int(slab.available) }

  @inline(__always)
  package subscript(index: UInt32) -> UnsafeMutablePointer<PostedReceive> { slab[index] }

  /// Where the elements live, for lists of receives that wait for nothing any more.
  var elements: UnsafeMutablePointer<PostedReceive> { slab.elements }

  /// An element with its memory named, in no list yet; nil when all are in use. `slices` holds at most `iovLimit`.
  @inline(__always)
  package mutating func allocate(_ slices: UnsafePointer<Slice>, count: Int) -> UInt32? {
    guard let index = slab.allocate() else { return nil }
    let entry = slab[index]
    entry.pointee.sliceCount = UInt16(truncatingIfNeeded: count)
    if count == 1 {
      entry.pointee.slice = slices.pointee
    } else {
      store(slices, count, entry, vectors + Int(index) * Capabilities.iovLimit)
    }
    return index
  }

  @inline(__always)
  package mutating func free(_ index: UInt32) { slab.free(index) }

  /// Where the message goes.
  @inline(__always)
  package func slices(_ index: UInt32) -> UnsafePointer<Slice> {
    let entry = slab[index]
    if entry.pointee.sliceCount <= 1 {
      return UnsafeRawPointer(entry).advanced(by: Self.sliceOffset).assumingMemoryBound(to: Slice.self)
    }
    return UnsafePointer(vectors + Int(index) * Capabilities.iovLimit)
  }

  /// Makes a receive wait, behind all others of its kind.
  @inline(__always)
  package mutating func append(_ index: UInt32, tagged isTagged: Bool) {
    if isTagged { tagged.append(index, in: slab.elements) } else { untagged.append(index, in: slab.elements) }
  }

  /// Takes out the first receive that fits a message; nil if none does. A buffer for many messages stays in its place.
  @inline(__always)
  package mutating func take(tagged isTagged: Bool, tag: UInt64, from connection: ConnectionIndex) -> UInt32? {
    if isTagged {
      let index = tagged.find(tag, connection, in: slab.elements)
      if index == .max { return nil }
      if !slab[index].pointee.isMulti { tagged.remove(index, in: slab.elements) }
      return index
    }
    let index = untagged.find(tag, connection, in: slab.elements)
    if index == .max { return nil }
    if !slab[index].pointee.isMulti { untagged.remove(index, in: slab.elements) }
    return index
  }

  /// The first receive that fits a message, left in its place; nil if none does.
  package mutating func find(tagged isTagged: Bool, tag: UInt64, from connection: ConnectionIndex) -> UInt32? {
    let index =
      isTagged
      ? tagged.find(tag, connection, in: slab.elements) : untagged.find(tag, connection, in: slab.elements)
    return index == .max ? nil : index
  }

  /// Takes a receive out of its list; its element stays in use until `free`.
  package mutating func unlink(_ index: UInt32) {
    if slab[index].pointee.flags & UInt32(FI_TAGGED) != 0 {
      tagged.remove(index, in: slab.elements)
    } else {
      untagged.remove(index, in: slab.elements)
    }
  }

  /// Takes out any waiting receive; nil if there is none.
  package mutating func removeFirst() -> UInt32? {
    let index = tagged.first == .max ? untagged.first : tagged.first
    if index == .max { return nil }
    unlink(index)
    return index
  }

  /// Takes out the oldest waiting receive that was posted with `context`; nil if there is none.
  package mutating func take(context: UInt) -> UInt32? {
    var index = find(from: tagged.first, context)
    if index != .max {
      tagged.remove(index, in: slab.elements)
      return index
    }
    index = find(from: untagged.first, context)
    if index == .max { return nil }
    untagged.remove(index, in: slab.elements)
    return index
  }

  private func find(from first: UInt32, _ context: UInt) -> UInt32 {
    var index = first
    while index != .max && slab[index].pointee.context != context { index = slab[index].pointee.next }
    return index
  }

  @inline(never)
  private func store(
    _ slices: UnsafePointer<Slice>, _ count: Int, _ entry: UnsafeMutablePointer<PostedReceive>,
    _ vector: UnsafeMutablePointer<Slice>
  ) {
    entry.pointee.slice = Slice(base: nil, count: 0)
    for position in 0..<count {
      vector[position] = slices[position]
      entry.pointee.slice.count += slices[position].count
    }
  }

  /// Offset of `slice`: it is the last field, and as long as it is aligned.
  @inline(__always)
  private static var sliceOffset: Int { MemoryLayout<PostedReceive>.size - MemoryLayout<Slice>.size }
}
