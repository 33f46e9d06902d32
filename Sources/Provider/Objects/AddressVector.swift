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
  /// Changes whenever an address is inserted or removed, so that whoever remembered one notices.
  package private(set) var generation: UInt32 = 0
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

  /// Throws FI_EINVAL for a type that is not the domain's, or unknown flags; FI_ENOSYS for shared vectors and a peer's.
  package convenience init(_ domain: Domain, _ attributes: UnsafePointer<fi_av_attr>) throws(FabricError) {
    let flags = attributes.pointee.flags
    if attributes.pointee.name != nil { throw Self.refuse("shared vectors are not offered", .notImplemented) }
    guard flags & ~(FI_EVENT | FI_READ | FI_SYMMETRIC | FI_PEER) == 0 else { throw Self.refuse("unknown flags") }
    if flags & FI_PEER != 0 { throw Self.refuse("peer vectors are not offered", .notImplemented) }
    let type = try Self.type(attributes.pointee.type, in: domain)
    self.init(domain, type, count: attributes.pointee.count, isAsynchronous: flags & FI_EVENT != 0)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ domain: Domain, _ type: fi_av_type, count: Int, isAsynchronous: Bool) {
    self.domain = domain
    self.type = type
    self.isAsynchronous = isAsynchronous
    chunks = .allocate(capacity: chunkCapacity)
    // The count is a hint; a senseless one must not take memory.
    index = HashIndex(minimumCapacity: min(max(count, 16), 1 << 20))
    domain.engine.lock()
    domain.addChild()
    domain.engine.unlock()
  }

  deinit {
    for chunk in 0..<chunkCount { chunks[chunk].deallocate() }
    chunks.deallocate()
  }

  /// Throws FI_EBUSY while endpoints use the vector.
  package func close() throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if bindings != 0 { throw Self.refuse("endpoints still use the vector", in: "fi_close", .busy) }
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

  /// Addresses in the vector.
  package var count: Int { index.count }

  /// The address with a number; nil for one that was never given out or was removed. O(1).
  @inline(__always)
  package func address(_ number: UInt64) -> SocketAddress? {
    guard number < UInt64(untouched) else { return nil }
    let entry = entry(UInt32(truncatingIfNeeded: number))
    return entry.pointee.uses == 0 ? nil : entry.pointee.address
  }

  /// The number of an address, or FI_ADDR_NOTAVAIL. O(1).
  package func find(_ address: SocketAddress) -> UInt64 {
    let found = index.find(address.hash) { entry($0).pointee.address == address }
    return found.map { UInt64($0) } ?? unavailableAddress
  }

  /// Inserts an address, or counts it once more. Throws FI_EADDRNOTAVAIL for one that no datagram can be sent to,
  /// FI_ENOMEM when the vector is full.
  package func insert(_ address: SocketAddress) throws(FabricError) -> UInt64 {
    guard address.port != 0, !address.isAny, accepts(address.family) else { throw .addressNotAvailable }
    // An interface index means something for link-local addresses alone; with it others would be several.
    let scope = address.isLinkLocal ? address.words.0 : address.words.0 & 0xffff_ffff
    let address = SocketAddress(words: (scope, address.words.1, address.words.2))
    let number = find(address)
    if number != unavailableAddress {
      entry(UInt32(number)).pointee.uses += 1
      return number
    }
    guard let free = allocate() else { throw .noMemory }
    entry(free).initialize(to: Entry(address: address, uses: 1, nextFree: .max))
    index.insert(address.hash, index: free)
    generation &+= 1
    return UInt64(free)
  }

  /// Takes an insertion back; the number is free after as many removals as insertions. Throws FI_EINVAL for a number
  /// that is not in use.
  package func remove(_ number: UInt64) throws(FabricError) {
    guard let address = address(number) else {
      throw Self.refuse("a number that is not in use", in: "fi_av_remove")
    }
    let slot = UInt32(truncatingIfNeeded: number)
    entry(slot).pointee.uses -= 1
    guard entry(slot).pointee.uses == 0 else { return }
    index.remove(address.hash, index: slot)
    entry(slot).pointee.nextFree = firstFree
    firstFree = slot
    generation &+= 1
  }

  /// Whether addresses of a family can be in this vector.
  package func accepts(_ family: AddressFamily) -> Bool {
    switch domain.addressFormat {
    case UInt32(FI_SOCKADDR_IN): return family == .ipv4
    case UInt32(FI_SOCKADDR_IN6): return family == .ipv6
    default: return family != .none
    }
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

  /// Entries come in chunks of 1024, which never move.
  private static var chunkBits: UInt32 { 10 }
  private static var maximumCount: UInt32 { 1 << 30 }
}

/// FI_ADDR_NOTAVAIL: no peer's number.
package let unavailableAddress = UInt64.max
