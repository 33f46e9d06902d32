import CFabric
import CPlatform
import Datagram

/// The addresses of a vector that has a name: memory of this user's processes on this host, found by the names of domain
/// and vector.
///
/// | bytes | |
/// |---|---|
/// | 0 | magic u64, layout u32, format u32 |
/// | 16 | generation u32: changes with each insertion and removal |
/// | 20 | count u32: entries that were ever used |
/// | 24 | rewrites u32: changes when an entry below the count does |
/// | 28 | capacity u32, a power of two |
/// | 4096 | numbers: capacity × u64, entry i holds i: what `map_addr` points to |
/// | … | entries: capacity × (address 24 bytes, uses u32, reserved u32) |
///
/// Two locks belong to the file: one is held while entries are read or changed, the other, shared, as long as the vector
/// is open, so that what a dead process left behind is told from what is in use. Both end with their process. What is
/// read here is believed only after a check: other programs of the user may write what they like.
///
/// The memory is mapped in full and never grows, so that nobody has to be told of a new place; what is not used takes no
/// memory.
///
/// Man page: fi_av(3), "name" and "map_addr"
final class SharedAddresses {
  let isReadOnly: Bool
  let capacity: Int
  private let isCreator: Bool
  private let descriptor: Int32
  private let base: UnsafeMutableRawPointer
  private let path: UnsafeMutablePointer<CChar>
  /// No entry below is free, as long as `rewrites` is what it was.
  private var searched = 0
  private var searchedRewrites: UInt32 = .max

  /// Opens the vector called `name` of a domain, and creates it if it does not exist and may be written. Throws FI_ENOENT
  /// for one that is to be read and does not exist, FI_EINVAL for a name that is empty or too long or a file that is no
  /// vector, FI_EACCES for another user's, FI_ENOMEM.
  static func open(
    name: CString, domain: CString, count: Int, isReadOnly: Bool
  ) throws(FabricError) -> SharedAddresses {
    guard let path = path(name, domain) else { throw refuse("the name is empty or too long") }
    // What is found may lose its name before it is locked.
    for _ in 0..<Self.attempts {
      do throws(FabricError) {
        if let opened = try openOnce(path, count, isReadOnly) { return opened }
      } catch {
        free(path)
        throw error
      }
    }
    free(path)
    throw .busy
  }

  /// Takes `path` if it succeeds; nil when the file vanished meanwhile.
  private static func openOnce(
    _ path: UnsafeMutablePointer<CChar>, _ count: Int, _ isReadOnly: Bool
  ) throws(FabricError) -> SharedAddresses? {
    let opened = platform_shared_open(path, !isReadOnly, !isReadOnly)
    if opened < 0 {
      throw refuse("the shared vector does not exist or is not this user's", FabricError(code: Int32(-opened)))
    }
    let descriptor = Int32(opened)
    do throws(FabricError) {
      try check(platform_shared_lock(descriptor, Int16(isReadOnly ? F_RDLCK : F_WRLCK)))
      let size = platform_shared_size(descriptor)
      if size == -Int(ENOENT) {
        _ = platform_close(descriptor)
        return nil
      }
      try check(size)
      // Nobody else has it open: it is new, or somebody died.
      let isOrphan = platform_shared_hold(descriptor, true) == 0
      if isOrphan && isReadOnly { throw refuse("nobody has the shared vector open", .noEntry) }
      let capacity = isOrphan ? try create(descriptor, count) : try capacity(descriptor, size)
      try check(platform_shared_hold(descriptor, false))
      guard let base = platform_shared_map(descriptor, bytes(capacity), !isReadOnly) else { throw .noMemory }
      _ = platform_shared_lock(descriptor, Int16(F_UNLCK))
      return SharedAddresses(
        isReadOnly: isReadOnly, capacity: capacity, isCreator: isOrphan, descriptor, base, path)
    } catch {
      _ = platform_close(descriptor)
      throw error
    }
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    isReadOnly: Bool, capacity: Int, isCreator: Bool, _ descriptor: Int32, _ base: UnsafeMutableRawPointer,
    _ path: UnsafeMutablePointer<CChar>
  ) {
    self.isReadOnly = isReadOnly
    self.capacity = capacity
    self.isCreator = isCreator
    self.descriptor = descriptor
    self.base = base
    self.path = path
  }

  deinit {
    if isCreator {
      // Whoever opens the name waits for the lock and then finds that this is no file any more.
      lock(exclusive: true)
      _ = platform_unlink(path)
      unlock()
    }
    platform_shared_unmap(base, Self.bytes(capacity))
    _ = platform_close(descriptor)
    free(path)
  }

  // MARK: Making and checking

  private static func create(_ descriptor: Int32, _ count: Int) throws(FabricError) -> Int {
    var capacity = leastCapacity
    while capacity < min(count, largestCapacity) { capacity *= 2 }
    try check(platform_shared_clear(descriptor, bytes(capacity)))
    guard let base = platform_shared_map(descriptor, headerSize, true) else { throw .noMemory }
    base.storeBytes(of: magic, toByteOffset: 0, as: UInt64.self)
    base.storeBytes(of: layout, toByteOffset: 8, as: UInt32.self)
    base.storeBytes(of: UInt32(capacity), toByteOffset: 28, as: UInt32.self)
    platform_shared_unmap(base, headerSize)
    return capacity
  }

  private static func capacity(_ descriptor: Int32, _ size: Int) throws(FabricError) -> Int {
    guard size >= headerSize, let base = platform_shared_map(descriptor, headerSize, false) else {
      throw refuse("the file is no shared vector")
    }
    defer { platform_shared_unmap(base, headerSize) }
    let capacity = Int(base.load(fromByteOffset: 28, as: UInt32.self))
    guard base.load(as: UInt64.self) == magic, base.load(fromByteOffset: 8, as: UInt32.self) == layout,
      capacity >= leastCapacity, capacity <= largestCapacity, capacity & (capacity - 1) == 0, size >= bytes(capacity)
    else { throw refuse("the file is no shared vector") }
    return capacity
  }

  private static func check(_ result: Int) throws(FabricError) {
    if result < 0 { throw FabricError(code: Int32(-result)) }
  }

  // MARK: Entries

  /// Changes with every change of an entry; read without the lock.
  var generation: UnsafeMutablePointer<UInt32> { (base + 16).assumingMemoryBound(to: UInt32.self) }

  /// Entry i of this array is i.
  var numbers: UnsafeMutableRawPointer { base + Self.headerSize }

  /// Waits until no other process is at it.
  func lock(exclusive: Bool) { _ = platform_shared_lock(descriptor, Int16(exclusive ? F_WRLCK : F_RDLCK)) }
  func unlock() { _ = platform_shared_lock(descriptor, Int16(F_UNLCK)) }

  // With the lock held.

  /// Entries to look at, and a number that changes when others than new ones did.
  var extent: (count: Int, rewrites: UInt32) {
    let count = Int(base.load(fromByteOffset: 20, as: UInt32.self))
    return (min(count, capacity), base.load(fromByteOffset: 24, as: UInt32.self))
  }

  /// An address; nil for an entry that is not in use or holds none.
  func address(_ index: Int) -> SocketAddress? {
    let entry = entry(index)
    guard entry.load(fromByteOffset: 24, as: UInt32.self) != 0 else { return nil }
    let address = SocketAddress(words: entry.load(as: (UInt64, UInt64, UInt64).self))
    return address.family == .none || address.port == 0 || address.isAny ? nil : address
  }

  /// Stores an address that is not there yet at the lowest free index; nil when all are in use.
  func insert(_ address: SocketAddress) -> Int? {
    let extent = extent
    var index = extent.rewrites == searchedRewrites ? searched : 0
    while index < extent.count, uses(index) != 0 { index += 1 }
    guard index < capacity else { return nil }
    let entry = entry(index)
    entry.storeBytes(of: address.words, as: (UInt64, UInt64, UInt64).self)
    entry.storeBytes(of: 1, toByteOffset: 24, as: UInt32.self)
    (numbers + index * 8).storeBytes(of: UInt64(index), as: UInt64.self)
    if index == extent.count {
      base.storeBytes(of: UInt32(index + 1), toByteOffset: 20, as: UInt32.self)
    } else {
      base.storeBytes(of: extent.rewrites &+ 1, toByteOffset: 24, as: UInt32.self)
    }
    searched = index + 1
    searchedRewrites = self.extent.rewrites
    generation.pointee &+= 1
    return index
  }

  /// Counts an insertion of an address that is there.
  func insertAgain(_ index: Int) { setUses(index, uses(index) &+ 1) }

  /// Takes one insertion back.
  func remove(_ index: Int) {
    setUses(index, uses(index) &- 1)
    guard uses(index) == 0 else { return }
    base.storeBytes(of: extent.rewrites &+ 1, toByteOffset: 24, as: UInt32.self)
    generation.pointee &+= 1
  }

  private func entry(_ index: Int) -> UnsafeMutableRawPointer {
    precondition(index >= 0 && index < capacity)
    return base + Self.headerSize + capacity * 8 + index * Self.entrySize
  }

  private func uses(_ index: Int) -> UInt32 { entry(index).load(fromByteOffset: 24, as: UInt32.self) }
  private func setUses(_ index: Int, _ uses: UInt32) {
    entry(index).storeBytes(of: uses, toByteOffset: 24, as: UInt32.self)
  }

  // MARK: Names

  /// "/dev/shm/libfabric-polyfill.lo.name", with `%` and `/` of the names as %25 and %2F; memory of malloc(3).
  private static func path(_ name: CString, _ domain: CString) -> UnsafeMutablePointer<CChar>? {
    guard name[0] != 0, let text = calloc(1, pathCapacity) else { return nil }
    let path = text.bindMemory(to: CChar.self, capacity: pathCapacity)
    var length = 0
    func append(_ character: UInt8) {
      if length < longestPath { path[length] = CChar(bitPattern: character) }
      length += 1
    }
    func append(_ text: StaticString) { for index in 0..<text.utf8CodeUnitCount { append(text.utf8Start[index]) } }
    func append(name: CString) {
      var index = 0
      while name[index] != 0 && length <= longestPath {
        let character = UInt8(bitPattern: name[index])
        switch character {
        case UInt8(ascii: "%"): append("%25")
        case UInt8(ascii: "/"): append("%2F")
        default: append(character)
        }
        index += 1
      }
    }
    append(directory)
    append(name: domain)
    append(".")
    append(name: name)
    if length <= longestPath { return path }
    free(path)
    return nil
  }

  private static func refuse(_ reason: StaticString, _ error: FabricError = .invalidArgument) -> FabricError {
    error.because(.addressVector, reason, in: "fi_av_open")
  }

  private static func bytes(_ capacity: Int) -> Int { headerSize + capacity * (8 + entrySize) }

  #if os(Linux)
  private static var directory: StaticString { "/dev/shm/libfabric-polyfill." }
  #else
  private static var directory: StaticString { "/tmp/libfabric-polyfill." }
  #endif
  private static var magic: UInt64 { 0x5641_6C6C_6966_796C }
  private static var layout: UInt32 { 1 }
  private static var headerSize: Int { 4096 }
  private static var entrySize: Int { 32 }
  private static var leastCapacity: Int { 65_536 }
  private static var largestCapacity: Int { 1 << 22 }
  /// NAME_MAX, behind the directory.
  private static var longestPath: Int { 9 + 255 }
  private static var pathCapacity: Int { 272 }
  private static var attempts: Int { 100 }
}
