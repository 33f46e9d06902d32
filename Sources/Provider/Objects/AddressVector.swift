import CFabric
import CPlatform
import Containers
import Datagram

/// Peers by number: what programs call fi_addr_t.
///
/// Numbers are indices into a table, for FI_AV_MAP too, so looking an address up by number is one load; by address it is
/// one probe of a hash index. An address that is inserted twice keeps its number and must be removed twice. Insertion is
/// always over when the call returns; with FI_EVENT its result is told by an event queue. 32 bytes an address, and 12
/// to 24 of the index. Protected by the engine's lock.
///
/// A vector with a name follows what its processes keep in ``SharedAddresses``: the table here is a copy, brought up to
/// date whenever somebody asks and the generation has changed.
///
/// Man page: fi_av(3)
package final class AddressVector {
  private struct Entry {
    var address: SocketAddress
    /// How often the address was inserted; 0 for a free entry.
    var uses: UInt32
    var nextFree: UInt32
  }

  package let domain: Domain
  /// FI_AV_TABLE or FI_AV_MAP.
  package let type: fi_av_type
  /// Where the generation is, as long as the vector lives: it changes whenever an address is inserted or removed, also
  /// by another process, so that whoever remembered one notices.
  package let generationCell: UnsafeMutablePointer<UInt32>
  /// Bits of fi_addr_t, the uppermost ones, that number a peer's receive contexts (fi_rx_addr).
  private let contextBits: UInt64
  /// Opened with FI_EVENT: results of insertions go to `eventQueue`.
  let isAsynchronous: Bool
  private(set) var eventQueue: EventQueue?

  private var chunks: UnsafeMutablePointer<UnsafeMutablePointer<Entry>>
  private var chunkCount = 0
  private var chunkCapacity = 8
  private var untouched: UInt32 = 0
  private var firstFree: UInt32 = .max
  private var index: HashIndex
  private var bindings = 0
  /// Addresses of the sets that were made of it and are not closed, and how many there ever were.
  private var sets: [UInt64] = []
  private var setCount: UInt64 = 0

  private let shared: SharedAddresses?
  /// What the table is a copy of.
  private var copiedGeneration: UInt32 = 0
  private var copiedRewrites: UInt32 = 0

  /// What completions report, and the keys of addresses: for those vectors alone that have any.
  var identities: AddressIdentities

  /// With FI_PEER, type and count are those of the vector that `context`, a `struct fi_peer_av_context`, names: the owner
  /// inserts its addresses here as well, since the interface has no call that looks one up there.
  ///
  /// Throws FI_EINVAL for a type that is not the domain's, unknown flags, more than 16 bits for receive contexts, FI_READ
  /// without a name, FI_AV_USER_ID in a domain without, or an incomplete peer context; FI_ENOSYS for FI_AV_USER_ID with a
  /// name; what the owner's query returns; and what ``SharedAddresses/open(name:domain:count:isReadOnly:)`` throws.
  package convenience init(
    _ domain: Domain, _ attributes: UnsafePointer<fi_av_attr>, context: UnsafeMutableRawPointer? = nil
  ) throws(FabricError) {
    let flags = attributes.pointee.flags
    guard flags & ~(FI_EVENT | FI_READ | FI_SYMMETRIC | FI_PEER | FI_AV_USER_ID) == 0 else {
      throw Self.refuse("unknown flags")
    }
    let owned = flags & FI_PEER == 0 ? attributes.pointee : try Self.ownerAttributes(context)
    let type = try Self.type(owned.type, in: domain)
    let contextBits = attributes.pointee.rx_ctx_bits
    guard contextBits >= 0 && contextBits <= Self.maximumContextBits else {
      throw Self.refuse("rx_ctx_bits is not between 0 and 16")
    }
    let hasUserIDs = flags & FI_AV_USER_ID != 0
    if hasUserIDs && domain.capabilities & FI_AV_USER_ID == 0 {
      throw Self.refuse("FI_AV_USER_ID in a domain without that capability")
    }
    var shared: SharedAddresses?
    if let name = attributes.pointee.name {
      // Identifiers are each process's own, and the generation is not.
      if hasUserIDs { throw Self.refuse("FI_AV_USER_ID does not go with a name", .notImplemented) }
      shared = try SharedAddresses.open(
        name: name, domain: domain.name, count: attributes.pointee.count, isReadOnly: flags & FI_READ != 0)
    } else if flags & FI_READ != 0 {
      throw Self.refuse("FI_READ without a name")
    }
    self.init(
      domain, type, count: owned.count, contextBits: UInt64(contextBits), isAsynchronous: flags & FI_EVENT != 0,
      hasUserIDs: hasUserIDs, shared)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ domain: Domain, _ type: fi_av_type, count: Int, contextBits: UInt64, isAsynchronous: Bool, hasUserIDs: Bool,
    _ shared: SharedAddresses?
  ) {
    self.domain = domain
    self.type = type
    self.contextBits = contextBits
    self.isAsynchronous = isAsynchronous
    self.shared = shared
    identities = AddressIdentities(hasUserIDs: hasUserIDs)
    chunks = .allocate(capacity: chunkCapacity)
    // The count is a hint; a senseless one must not take memory.
    index = HashIndex(minimumCapacity: min(max(count, 16), 1 << 20))
    if let shared {
      generationCell = shared.generation
      copiedGeneration = ~shared.generation.pointee
    } else {
      generationCell = .allocate(capacity: 1)
      generationCell.initialize(to: 0)
    }
    domain.engine.lock()
    domain.addChild()
    domain.engine.unlock()
  }

  deinit {
    for chunk in 0..<chunkCount { chunks[chunk].deallocate() }
    chunks.deallocate()
    if shared == nil { generationCell.deallocate() }
  }

  /// What `map_addr` becomes: an array of the numbers of a shared vector; nil for others.
  package var mapAddress: UnsafeMutableRawPointer? { shared?.numbers }

  /// Throws FI_EBUSY while endpoints use the vector, or sets of it are open.
  package func close() throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if bindings != 0 { throw Self.refuse("endpoints still use the vector", in: "fi_close", .busy) }
    if !sets.isEmpty { throw Self.refuse("sets of the vector are still open", in: "fi_close", .busy) }
    eventQueue?.removeBinding()
    eventQueue = nil
    domain.removeChild()
  }

  /// Chooses the queue that tells how insertions went. Throws FI_EINVAL for a vector opened without FI_EVENT, and when
  /// there is one already.
  package func bind(_ queue: EventQueue) throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard isAsynchronous else { throw Self.refuse("the vector was opened without FI_EVENT", in: "fi_av_bind") }
    guard eventQueue == nil else { throw Self.refuse("an event queue is bound already", in: "fi_av_bind") }
    queue.addBinding()
    eventQueue = queue
  }

  // MARK: With the lock held

  /// An endpoint uses the vector from now on.
  package func addBinding() { bindings += 1 }

  /// It no longer does.
  package func removeBinding() { bindings -= 1 }

  /// Whether endpoints use the vector.
  var isBound: Bool { bindings != 0 }

  /// Counts a set, and returns the address for it.
  func addSet() -> UInt64 {
    setCount += 1
    sets.append(Self.setMark | setCount)
    return Self.setMark | setCount
  }

  func removeSet(_ address: UInt64) { sets.removeAll { $0 == address } }

  /// Whether an address is that of one of the vector's sets.
  func hasSet(_ address: UInt64) -> Bool { sets.contains(address) }

  /// Numbers are below that.
  var extent: UInt32 {
    if shared != nil { copyShared() }
    return untouched
  }

  /// Addresses in the vector.
  package var count: Int { index.count }

  package var generation: UInt32 { generationCell.pointee }

  /// Makes whoever remembers what the vector said ask again.
  func noteChange() { generationCell.pointee &+= 1 }

  /// The number that an address has here, which may name one of the peer's receive contexts.
  package func number(of address: UInt64) -> UInt64 {
    contextBits == 0 ? address : address & (UInt64.max >> contextBits)
  }

  /// The receive context that an address names; 0 where it names none.
  package func receiveContext(_ address: UInt64) -> UInt16 {
    contextBits == 0 ? 0 : UInt16(truncatingIfNeeded: address >> (64 - contextBits))
  }

  /// The address with a number; nil for one that was never given out or was removed. O(1).
  package func address(_ number: UInt64) -> SocketAddress? {
    if shared != nil { copyShared() }
    return known(self.number(of: number))
  }

  @inline(__always)
  private func known(_ number: UInt64) -> SocketAddress? {
    guard number < UInt64(untouched) else { return nil }
    let entry = entry(UInt32(truncatingIfNeeded: number))
    return entry.pointee.uses == 0 ? nil : entry.pointee.address
  }

  /// The number of an address, or FI_ADDR_NOTAVAIL. O(1).
  package func find(_ address: SocketAddress) -> UInt64 {
    if shared != nil { copyShared() }
    return findKnown(address)
  }

  private func findKnown(_ address: SocketAddress) -> UInt64 {
    let found = index.find(address.hash) { entry($0).pointee.address == address }
    return found.map { UInt64($0) } ?? unavailableAddress
  }

  /// What completions name as the source of what comes from an address: its number or the program's identifier for it;
  /// FI_ADDR_NOTAVAIL where there is none. O(1).
  package func source(_ address: SocketAddress) -> UInt64 {
    let number = find(address)
    return number == unavailableAddress ? number : identities.reported(number)
  }

  /// Inserts an address, or counts it once more. Throws FI_EADDRNOTAVAIL for one that no datagram can be sent to,
  /// FI_ENOMEM when the vector is full, FI_EACCES for one that is not in a vector that may only be read.
  package func insert(_ address: SocketAddress) throws(FabricError) -> UInt64 {
    guard address.port != 0, !address.isAny, accepts(address.family) else { throw .addressNotAvailable }
    // An interface index means something for link-local addresses alone; with it others would be several.
    let scope = address.isLinkLocal ? address.words.0 : address.words.0 & 0xffff_ffff
    let address = SocketAddress(words: (scope, address.words.1, address.words.2))
    if let shared { return try insert(address, into: shared) }
    let number = find(address)
    if number != unavailableAddress {
      entry(UInt32(number)).pointee.uses += 1
      return number
    }
    guard let free = allocate() else { throw .noMemory }
    entry(free).initialize(to: Entry(address: address, uses: 1, nextFree: .max))
    index.insert(address.hash, index: free)
    noteChange()
    return UInt64(free)
  }

  /// Takes an insertion back; the number is free after as many removals as insertions. Throws FI_EINVAL for a number
  /// that is not in use, FI_EACCES in a vector that may only be read.
  package func remove(_ number: UInt64) throws(FabricError) {
    guard let address = address(number) else {
      throw Self.refuse("a number that is not in use", in: "fi_av_remove")
    }
    let slot = UInt32(truncatingIfNeeded: number)
    if let shared { return try remove(Int(slot), from: shared) }
    entry(slot).pointee.uses -= 1
    guard entry(slot).pointee.uses == 0 else { return }
    index.remove(address.hash, index: slot)
    entry(slot).pointee.nextFree = firstFree
    firstFree = slot
    identities.forget(UInt64(slot))
    noteChange()
  }

  /// Whether addresses of a family can be in this vector.
  package func accepts(_ family: AddressFamily) -> Bool {
    switch domain.addressFormat {
    case UInt32(FI_SOCKADDR_IN): return family == .ipv4
    case UInt32(FI_SOCKADDR_IN6): return family == .ipv6
    default: return family != .none
    }
  }

  // MARK: Vectors with a name

  private func insert(_ address: SocketAddress, into shared: SharedAddresses) throws(FabricError) -> UInt64 {
    if shared.isReadOnly {
      let number = find(address)
      if number == unavailableAddress { throw .accessDenied }
      return number
    }
    shared.lock(exclusive: true)
    defer { shared.unlock() }
    copyShared(locked: shared)
    let number = findKnown(address)
    if number != unavailableAddress {
      shared.insertAgain(Int(number))
      return number
    }
    guard let free = shared.insert(address) else { throw .noMemory }
    copyShared(locked: shared)
    return UInt64(free)
  }

  private func remove(_ index: Int, from shared: SharedAddresses) throws(FabricError) {
    if shared.isReadOnly { throw Self.refuse("the vector may only be read", in: "fi_av_remove", .accessDenied) }
    shared.lock(exclusive: true)
    defer { shared.unlock() }
    copyShared(locked: shared)
    guard known(UInt64(index)) != nil else {
      throw Self.refuse("a number that is not in use", in: "fi_av_remove")
    }
    shared.remove(index)
    copyShared(locked: shared)
  }

  /// Brings the table up to date with what all processes did. Not inlined: the data path looks up addresses too.
  @inline(never)
  private func copyShared() {
    guard let shared, generationCell.pointee != copiedGeneration else { return }
    shared.lock(exclusive: false)
    copyShared(locked: shared)
    shared.unlock()
  }

  private func copyShared(locked shared: SharedAddresses) {
    let extent = shared.extent
    let generation = generationCell.pointee
    guard generation != copiedGeneration else { return }
    let first = extent.rewrites == copiedRewrites ? min(Int(untouched), extent.count) : 0
    copiedGeneration = generation
    copiedRewrites = extent.rewrites
    for slot in first..<max(extent.count, first) { copy(shared.address(slot), to: UInt32(slot)) }
  }

  /// Makes one entry what it is elsewhere.
  private func copy(_ address: SocketAddress?, to slot: UInt32) {
    while slot >= untouched {
      if untouched == UInt32(chunkCount) << Self.chunkBits { addChunk() }
      entry(untouched).initialize(to: Entry(address: SocketAddress(), uses: 0, nextFree: .max))
      untouched += 1
    }
    let entry = entry(slot)
    let wanted = address.flatMap { accepts($0.family) ? $0 : nil }
    if entry.pointee.uses != 0 {
      if entry.pointee.address == wanted { return }
      index.remove(entry.pointee.address.hash, index: slot)
      entry.pointee.uses = 0
    }
    guard let wanted else { return }
    entry.pointee = Entry(address: wanted, uses: 1, nextFree: .max)
    index.insert(wanted.hash, index: slot)
  }

  // MARK: Entries

  @inline(__always)
  private func entry(_ index: UInt32) -> UnsafeMutablePointer<Entry> {
    chunks[Int(index >> Self.chunkBits)] + Int(index & (1 << Self.chunkBits - 1))
  }

  private func allocate() -> UInt32? {
    if firstFree != .max {
      let free = firstFree
      firstFree = entry(free).pointee.nextFree
      return free
    }
    guard untouched < Self.maximumCount else { return nil }
    if untouched == UInt32(chunkCount) << Self.chunkBits { addChunk() }
    untouched += 1
    return untouched - 1
  }

  private func addChunk() {
    if chunkCount == chunkCapacity {
      doubleCapacity(of: &chunks, count: chunkCount, &chunkCapacity)
    }
    (chunks + chunkCount).initialize(to: .allocate(capacity: 1 << Self.chunkBits))
    chunkCount += 1
  }

  /// What the owner of a vector says of it.
  private static func ownerAttributes(_ context: UnsafeMutableRawPointer?) throws(FabricError) -> fi_av_attr {
    guard let context = context?.assumingMemoryBound(to: fi_peer_av_context.self),
      context.pointee.size >= MemoryLayout<fi_peer_av_context>.size, let owner = context.pointee.av,
      let operations = owner.pointee.owner_ops, operations.pointee.size >= MemoryLayout<fi_ops_av_owner>.size,
      let query = operations.pointee.query
    else { throw refuse("FI_PEER without a vector to share") }
    var attributes = fi_av_attr()
    let result = query(owner, &attributes)
    guard result == 0 else {
      throw refuse("the owner's vector does not answer", in: "fi_av_open", FabricError(code: abs(result)))
    }
    return attributes
  }

  private static func type(_ wanted: fi_av_type, in domain: Domain) throws(FabricError) -> fi_av_type {
    switch wanted {
    case FI_AV_UNSPEC: return domain.addressType == FI_AV_UNSPEC ? FI_AV_TABLE : domain.addressType
    case FI_AV_TABLE, FI_AV_MAP:
      guard domain.addressType == FI_AV_UNSPEC || domain.addressType == wanted else {
        throw refuse("the domain's addresses are of another type")
      }
      return wanted
    default: throw refuse("unknown type")
    }
  }

  static func refuse(
    _ reason: StaticString, in call: StaticString = "fi_av_open", _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.addressVector, reason, in: call)
  }

  private static var maximumContextBits: Int32 { 16 }
  /// Entries come in chunks of 1024, which never move.
  private static var chunkBits: UInt32 { 10 }
  private static var maximumCount: UInt32 { 1 << 30 }
  /// Tells the addresses of sets from numbers of addresses.
  private static var setMark: UInt64 { 1 << 60 }
}

/// FI_ADDR_NOTAVAIL: no peer's number.
package let unavailableAddress = UInt64.max
