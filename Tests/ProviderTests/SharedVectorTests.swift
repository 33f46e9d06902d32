import CFabric
import CPlatform
import Datagram
import Provider
import Testing

private func vector(_ objects: Objects, _ name: String, flags: UInt64 = 0) throws(FabricError) -> AddressVector {
  let attributes = UnsafeMutablePointer<fi_av_attr>.allocate(capacity: 1)
  attributes.initialize(to: fi_av_attr())
  defer { attributes.deallocate() }
  attributes.pointee.flags = flags
  let copy = strdup(name)
  defer { free(copy) }
  attributes.pointee.name = UnsafePointer(copy)
  return try AddressVector(objects.domain, attributes)
}

private func path(_ name: String) -> String { "/dev/shm/libfabric-polyfill.lo.\(name)" }

private func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }

private func v4(_ host: Int) -> SocketAddress {
  SocketAddress(ipv4: 10, 0, UInt8(host >> 8 & 0xff), UInt8(host & 0xff), port: 7471)
}

/// Vectors with names. Several in one process stand for several processes: each has a descriptor and a copy of its own.
@Suite struct SharedVectorTests {
  private let name = "test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"

  @Test func followsWhatOthersDo() throws {
    let objects = try Objects()
    let one = try vector(objects, name)
    let two = try vector(objects, name)
    let reader = try vector(objects, name, flags: FI_READ)
    #expect(one.mapAddress != nil && reader.mapAddress != nil)
    var random = Seeded(state: 7)
    var model: [Int: (number: UInt64, uses: Int)] = [:]
    for step in 0..<4000 {
      let actor = step % 3 == 0 ? one : two
      let host = Int.random(in: 1...200, using: &random)
      let generation = reader.generation
      if Int.random(in: 0..<3, using: &random) > 0 {
        let number = try actor.insert(v4(host))
        if let known = model[host] { #expect(known.number == number) }
        if model[host] == nil { #expect(reader.generation != generation) }
        #expect(number < 200, "the lowest number that is free")
        model[host] = (number, (model[host]?.uses ?? 0) + 1)
      } else if let known = model[host] {
        try actor.remove(known.number)
        model[host] = known.uses == 1 ? nil : (known.number, known.uses - 1)
        if known.uses == 1 { #expect(reader.generation != generation) }
      }
      let probe = Int.random(in: 1...200, using: &random)
      for vector in [one, two, reader] {
        #expect(vector.find(v4(probe)) == model[probe]?.number ?? unavailableAddress)
        if let known = model[probe] { #expect(vector.address(known.number) == v4(probe)) }
      }
    }
    let numbers = reader.mapAddress!.assumingMemoryBound(to: UInt64.self)
    for entry in model.values { #expect(numbers[Int(entry.number)] == entry.number) }
    let known = try #require(model.first)
    #expect(try reader.insert(v4(known.key)) == known.value.number)
    #expect(errorCode { () throws(FabricError) in _ = try reader.insert(v4(900)) } == FI_EACCES)
    #expect(errorCode { () throws(FabricError) in try reader.remove(known.value.number) } == FI_EACCES)
    for vector in [reader, two, one] { try vector.close() }
    try objects.close()
  }

  @Test func endsWithItsCreator() throws {
    let objects = try Objects()
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, name, flags: FI_READ) } == FI_ENOENT)
    #expect(!exists(name))
    var creator: AddressVector? = try vector(objects, name)
    let other = try vector(objects, name)
    #expect(try creator!.insert(v4(1)) == 0)
    try creator!.close()
    creator = nil
    #expect(!exists(name))
    #expect(other.find(v4(1)) == 0, "who has it open goes on")
    let next = try vector(objects, name)
    #expect(next.find(v4(1)) == unavailableAddress, "the name is a new vector's")
    try next.close()
    try other.close()
    try objects.close()
  }

  /// Whatever a dead process left under the name is no vector, unless somebody has it open.
  @Test(arguments: [0, 1, 4095, 4096, 1 << 20]) func ignoresWhatIsLeftOver(size: Int) throws {
    let objects = try Objects()
    let file = Int32(platform_shared_open(path(name), true, true))
    let garbage = [UInt8](repeating: 0xA5, count: size)
    #expect(write(file, garbage, size) == size)
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, name, flags: FI_READ) } == FI_ENOENT)
    let made = try vector(objects, name)
    #expect(try made.insert(v4(3)) == 0)
    try made.close()
    _ = platform_close(file)
    try objects.close()
  }

  /// The file is somebody's, and no vector: its sizes and counts are not believed.
  @Test(arguments: 0..<6) func refusesWhatIsNoVector(damage: Int) throws {
    let objects = try Objects()
    let creator = try vector(objects, name)
    _ = try creator.insert(v4(1))
    let file = Int32(platform_shared_open(path(name), false, true))
    func store(_ value: UInt32, at offset: Int) {
      withUnsafeBytes(of: value) { _ = pwrite(file, $0.baseAddress!, 4, off_t(offset)) }
    }
    switch damage {
    case 0: store(0, at: 0)
    case 1: store(2, at: 8)
    case 2: store(0, at: 28)
    case 3: store(3 << 16, at: 28)
    case 4: store(1 << 31, at: 28)
    default: store(1 << 22, at: 28)
    }
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, name) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, name, flags: FI_READ) } == FI_EINVAL)
    _ = platform_close(file)
    try creator.close()
    try objects.close()
  }

  /// Counts and entries that make no sense: nothing is read beyond the memory, and what is no address is none.
  @Test func survivesNonsenseInTheEntries() throws {
    let objects = try Objects()
    let creator = try vector(objects, name)
    _ = try creator.insert(v4(1))
    let file = Int32(platform_shared_open(path(name), false, true))
    let words = [UInt32](repeating: .max, count: 32)
    words.withUnsafeBytes { _ = pwrite(file, $0.baseAddress!, 128, off_t(4096 + 65_536 * 8 + 32)) }
    var extent: (UInt32, UInt32, UInt32) = (77, .max, 99)
    withUnsafeBytes(of: &extent) { _ = pwrite(file, $0.baseAddress!, 12, 16) }
    #expect(creator.find(v4(1)) == 0)
    #expect(creator.address(1) == nil && creator.address(65_535) == nil && creator.address(65_536) == nil)
    #expect(try creator.insert(v4(2)) > 1)
    _ = platform_close(file)
    try creator.close()
    try objects.close()
  }

  @Test func namesMayHoldAnythingButMuch() throws {
    let objects = try Objects()
    let odd = "a/../b%\(name)"
    let made = try vector(objects, odd)
    #expect(exists("a%2F..%2Fb%25\(name)"))
    try made.close()
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, "") } == FI_EINVAL)
    let long = String(repeating: "n", count: 260)
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, long) } == FI_EINVAL)
    try objects.close()
  }
}

@Suite struct VectorKeyTests {
  private func open(_ objects: Objects) throws(FabricError) -> AddressVector {
    let attributes = UnsafeMutablePointer<fi_av_attr>.allocate(capacity: 1)
    attributes.initialize(to: fi_av_attr())
    defer { attributes.deallocate() }
    attributes.pointee.flags = FI_AV_USER_ID
    return try AddressVector(objects.domain, attributes)
  }

  private func insert(
    _ vector: AddressVector, _ address: SocketAddress, _ number: inout UInt64, key: Bool
  ) throws(FabricError) -> Int {
    var bytes = [UInt8](repeating: 0, count: 16)
    _ = bytes.withUnsafeMutableBytes { address.store(to: $0.baseAddress!, capacity: 16) }
    let numbers = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
    defer { numbers.deallocate() }
    numbers.initialize(to: number)
    var report = InsertionReport(numbers: numbers, errors: nil)
    report.bringsKeys = key
    report.bringsIdentifiers = !key
    let count = try vector.insert(bytes, count: 1, report)
    number = numbers.pointee
    return count
  }

  @Test func keysHaveNumbers() throws {
    let objects = try Objects { info, domain in
      info.caps = FI_AV_USER_ID
      domain.auth_key_size = -1
    }
    let vector = try open(objects)
    let keys = (0..<8).map { [UInt8]("key \($0)".utf8) }
    for (index, key) in keys.enumerated() { #expect(try vector.insertKey(key, key.count) == UInt64(index)) }
    #expect(try vector.insertKey(keys[3], 5) == 3)
    #expect(errorCode { () throws(FabricError) in _ = try vector.insertKey("one more", 8) } == FI_ENOSPC)
    #expect(errorCode { () throws(FabricError) in _ = try vector.insertKey("", 0) } == FI_EINVAL)
    let long = [UInt8](repeating: 1, count: 65)
    #expect(errorCode { () throws(FabricError) in _ = try vector.insertKey(long, 65) } == FI_EINVAL)
    #expect(vector.authorizations.count == 8)

    var number: UInt64 = 5
    #expect(try insert(vector, v4(9), &number, key: true) == 1 && number == 0)
    var text = [UInt8](repeating: 0, count: 5)
    #expect(try vector.lookupKey(0, into: &text, length: 5) == 5 && text == keys[5])
    #expect(try vector.lookupKey(3, into: &text, length: 3) == 5 && text == Array("key 5".utf8))
    number = 6
    #expect(try insert(vector, v4(9), &number, key: true) == 0 && number == unavailableAddress, "another key")
    number = 99
    #expect(try insert(vector, v4(10), &number, key: true) == 0, "no such key")
    #expect(
      errorCode { () throws(FabricError) in _ = try insert(vector, v4(10), &number, key: false) } == Int32(FI_EBADFLAGS)
    )
    #expect(vector.authorization(of: 0) != nil && vector.count == 1)

    vector.addBinding()
    #expect(errorCode { () throws(FabricError) in try vector.removeKeys([5], count: 1) } == FI_EBUSY)
    vector.removeBinding()
    try vector.removeKeys([5], count: 1)
    #expect(vector.authorization(of: 0) == nil && vector.authorizations.count == 7)
    #expect(errorCode { () throws(FabricError) in try vector.removeKeys([5], count: 1) } == FI_EINVAL)
    try vector.removeKeys([3], count: 1)
    #expect(vector.authorizations.count == 7, "it was inserted twice")

    try vector.setUserID(0, 1234, isKey: false)
    #expect(vector.source(v4(9)) == 1234)
    try vector.setUserID(3, 77, isKey: true)
    #expect(errorCode { () throws(FabricError) in try vector.setUserID(5, 77, isKey: true) } == FI_EINVAL)
    try vector.close()
    try objects.close()
  }

  @Test func keysNeedADomainForThem() throws {
    let objects = try Objects { info, _ in info.caps = FI_AV_USER_ID }
    let vector = try open(objects)
    #expect(errorCode { () throws(FabricError) in _ = try vector.insertKey("key", 3) } == FI_EINVAL)
    var number: UInt64 = 0
    #expect(errorCode { () throws(FabricError) in _ = try insert(vector, v4(9), &number, key: true) } == FI_EINVAL)
    try vector.close()
    try objects.close()
  }
}
