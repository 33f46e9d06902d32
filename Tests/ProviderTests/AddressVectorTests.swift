import CFabric
import CPlatform
import Datagram
import Provider
import Testing

private func vector(
  _ objects: Objects, type: fi_av_type = FI_AV_UNSPEC, flags: UInt64 = 0, named: Bool = false, count: Int = 0
) throws(FabricError) -> AddressVector {
  let attributes = UnsafeMutablePointer<fi_av_attr>.allocate(capacity: 1)
  attributes.initialize(to: fi_av_attr())
  defer { attributes.deallocate() }
  attributes.pointee.type = type
  attributes.pointee.flags = flags
  attributes.pointee.count = count
  let name: [CChar] = [0x61, 0]
  return try name.withUnsafeBufferPointer { name throws(FabricError) in
    if named { attributes.pointee.name = name.baseAddress }
    return try AddressVector(objects.domain, attributes)
  }
}

/// The addresses as C structures, one behind the other.
private func sockaddrs(_ addresses: [SocketAddress]) -> [UInt8] {
  let size = addresses[0].family == .ipv4 ? 16 : 28
  var bytes = [UInt8](repeating: 0, count: size * addresses.count)
  bytes.withUnsafeMutableBytes {
    for (index, address) in addresses.enumerated() {
      _ = address.store(to: $0.baseAddress! + index * size, capacity: size)
    }
  }
  return bytes
}

/// Reads the event that ends an insertion and returns its number of addresses.
private func readEvent(_ queue: EventQueue) throws(FabricError) -> UInt64 {
  var event: UInt32 = 0
  var entry = fi_eq_entry()
  let length = try queue.read(event: &event, into: &entry, length: MemoryLayout<fi_eq_entry>.size, flags: 0)
  #expect(length == MemoryLayout<fi_eq_entry>.size && event == UInt32(FI_AV_COMPLETE))
  return entry.data
}

/// Inserts sockaddrs and returns the result, the numbers and the errors.
private func insert(_ vector: AddressVector, _ addresses: [SocketAddress]) throws -> (Int, [UInt64], [Int32]) {
  let bytes = sockaddrs(addresses)
  var numbers = [UInt64](repeating: 99, count: addresses.count)
  var errors = [Int32](repeating: 99, count: addresses.count)
  let result = try bytes.withUnsafeBytes { bytes in
    try numbers.withUnsafeMutableBufferPointer { numbers in
      try errors.withUnsafeMutableBufferPointer { errors in
        try vector.insert(
          bytes.baseAddress!, count: addresses.count,
          InsertionReport(numbers: numbers.baseAddress, errors: errors.baseAddress))
      }
    }
  }
  return (result, numbers, errors)
}

private func insert(
  _ vector: AddressVector, node: String, _ nodes: Int, service: String, _ services: Int
) throws(FabricError) -> (Int, [UInt64]) {
  var numbers = [UInt64](repeating: 99, count: max(nodes * services, 1))
  let result = try numbers.withUnsafeMutableBufferPointer { numbers throws(FabricError) in
    try vector.insert(
      node: node, nodeCount: nodes, service: service, serviceCount: services,
      InsertionReport(numbers: numbers.baseAddress, errors: nil))
  }
  return (result, numbers)
}

private func v4(_ last: Int, port: UInt16 = 7471) -> SocketAddress {
  SocketAddress(ipv4: 10, UInt8(last >> 16 & 255), UInt8(last >> 8 & 255), UInt8(last & 255), port: port)
}

@Suite struct AddressVectorTests {
  @Test func insertsFindsAndLooksUp() throws {
    let objects = try Objects()
    let vector = try vector(objects)
    #expect(vector.type == FI_AV_TABLE)
    let (count, numbers, errors) = try insert(vector, [v4(1), v4(2), v4(3)])
    #expect(count == 3 && numbers == [0, 1, 2] && errors == [0, 0, 0])
    #expect(vector.address(1) == v4(2))
    #expect(vector.find(v4(3)) == 2)
    #expect(vector.find(v4(4)) == unavailableAddress)
    #expect(vector.address(3) == nil && vector.address(.max) == nil && vector.address(1 << 32) == nil)
    try vector.close()
    try objects.close()
  }

  @Test func reportsEachBadAddress() throws {
    let objects = try Objects()
    let vector = try vector(objects)
    let bad = [v4(1), v4(2, port: 0), .any(.ipv4, port: 5), SocketAddress(), v4(3)]
    let (count, numbers, errors) = try insert(vector, bad)
    #expect(count == 2)
    #expect(numbers == [0, unavailableAddress, unavailableAddress, unavailableAddress, 1])
    #expect(errors == [0, FI_EADDRNOTAVAIL, FI_EADDRNOTAVAIL, FI_EADDRNOTAVAIL, 0])
    #expect(
      errorCode { () throws(FabricError) in
        do { _ = try insert(vector, [.loopback(.ipv6, port: 5)]) } catch { throw error as! FabricError }
      } == FI_EINVAL)
    try vector.close()
    try objects.close()
  }

  /// As upstream's software providers have it: an address is one entry however often it is inserted.
  @Test func insertingTwiceCountsTwice() throws {
    let objects = try Objects()
    let vector = try vector(objects)
    #expect(try insert(vector, [v4(1), v4(1)]).1 == [0, 0])
    try vector.remove(0)
    #expect(vector.address(0) == v4(1))
    let generation = vector.generation
    try vector.remove(0)
    #expect(vector.address(0) == nil && vector.find(v4(1)) == unavailableAddress)
    #expect(vector.generation != generation)
    #expect(errorCode { () throws(FabricError) in try vector.remove(0) } == FI_EINVAL)
    #expect(try insert(vector, [v4(2)]).1 == [0])
    try vector.close()
    try objects.close()
  }

  @Test func cutsWhatDoesNotFit() throws {
    let objects = try Objects(addressFormat: Int(FI_SOCKADDR_IN6))
    let vector = try vector(objects)
    #expect(try insert(vector, [.loopback(.ipv6, port: 0x1234)]).0 == 1)
    var bytes = [UInt8](repeating: 0xA5, count: 32)
    #expect(try bytes.withUnsafeMutableBytes { try vector.lookup(0, into: $0.baseAddress, length: 3) } == 28)
    #expect(bytes[2] == 0x12 && bytes[3] == 0xA5)
    #expect(try bytes.withUnsafeMutableBytes { try vector.lookup(0, into: $0.baseAddress, length: 32) } == 28)
    #expect(bytes[3] == 0x34 && bytes[23] == 1 && bytes[28] == 0xA5)
    #expect(errorCode { () throws(FabricError) in _ = try vector.lookup(1, into: nil, length: 0) } == FI_EINVAL)
    try vector.close()
    try objects.close()
  }

  @Test func countsHostsAndPortsUp() throws {
    let objects = try Objects()
    let vector = try vector(objects)
    let (count, numbers) = try insert(vector, node: "10.0.0.255", 2, service: "7000", 3)
    #expect(count == 6 && numbers == [0, 1, 2, 3, 4, 5])
    #expect(vector.address(2) == v4(255, port: 7002))
    #expect(vector.address(3) == v4(256, port: 7000))
    let (atEnd, last) = try insert(vector, node: "10.0.0.1", 1, service: "65535", 2)
    #expect(atEnd == 1 && last == [6, unavailableAddress])
    let (atTop, top) = try insert(vector, node: "255.255.255.254", 3, service: "1", 1)
    #expect(atTop == 2 && top[2] == unavailableAddress)
    #expect(
      errorCode { () throws(FabricError) in _ = try insert(vector, node: "nodes", 2, service: "1", 1) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in _ = try insert(vector, node: "", 1, service: "1", 1) } == FI_EINVAL)
    #expect(
      errorCode { () throws(FabricError) in _ = try insert(vector, node: "10.0.0.1", 1, service: "x", 1) } == FI_EINVAL)
    #expect(try insert(vector, node: "10.0.0.1", 0, service: "1", 1).0 == 0)
    let (named, one) = try insert(vector, node: "localhost", 1, service: "7471", 1)
    #expect(named == 1 && vector.address(one[0]) == .loopback(.ipv4, port: 7471))
    try vector.close()
    try objects.close()
  }

  @Test func ipv6CountsOverTheHalves() throws {
    let objects = try Objects(addressFormat: Int(FI_SOCKADDR_IN6))
    let vector = try vector(objects)
    #expect(try insert(vector, node: "2001:db8::ffff:ffff:ffff:ffff", 2, service: "9", 1).0 == 2)
    #expect(vector.address(1) == SocketAddress(ipv6: 0x2001_0db8_0000_0001, 0, port: 9))
    try vector.close()
    try objects.close()
  }

  @Test func typesAndFlags() throws {
    let objects = try Objects(addressType: FI_AV_MAP)
    #expect(try vector(objects).type == FI_AV_MAP)
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, type: FI_AV_TABLE) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, flags: FI_PEER) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, flags: 1 << 3) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, flags: FI_READ) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in _ = try vector(objects, flags: FI_AV_USER_ID) } == FI_EINVAL)
    #expect(try vector(objects, type: FI_AV_MAP, flags: FI_SYMMETRIC, count: .max).type == FI_AV_MAP)
  }

  @Test func eventsTellHowInsertionsWent() throws {
    let objects = try Objects()
    let vector = try vector(objects, flags: FI_EVENT)
    let queue = try eventQueue(objects.fabric)
    var list = sockaddrs([v4(1), v4(2, port: 0), v4(3)])
    let report = InsertionReport(numbers: nil, errors: nil, context: UnsafeMutableRawPointer(bitPattern: 64))
    #expect(
      errorCode { () throws(FabricError) in _ = try vector.insert(list, count: 3, report) } == Int32(FI_ENOEQ))
    #expect(vector.count == 0)
    try vector.bind(queue)
    #expect(errorCode { () throws(FabricError) in try vector.bind(queue) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in try queue.close() } == FI_EBUSY)
    #expect(try vector.insert(list, count: 3, report) == 0)
    #expect(vector.count == 2)
    #expect(readCode(queue) == Int32(FI_EAVAIL))
    var error = fi_eq_err_entry()
    _ = try queue.readError(into: &error, flags: 0)
    #expect(error.data == 1 && error.err == FI_EADDRNOTAVAIL && error.context == report.context)
    #expect(try readEvent(queue) == 2)

    // No address at all is an insertion as well, and so is one of names.
    #expect(try vector.insert(nil, count: 0, report) == 0)
    #expect(try readEvent(queue) == 0)
    #expect(try insert(vector, node: "10.1.0.1", 2, service: "7471", 2).0 == 0)
    #expect(try readEvent(queue) == 4)
    #expect(try insert(vector, node: "10.1.0.1", 1, service: "0", 1).0 == 0)
    _ = try queue.readError(into: &error, flags: 0)
    #expect(error.data == 0 && error.err == FI_EADDRNOTAVAIL)
    #expect(try readEvent(queue) == 0)

    var codes: [Int32] = [0, 0, 0]
    let wantsCodes = InsertionReport(numbers: nil, errors: &codes)
    #expect(
      errorCode { () throws(FabricError) in _ = try vector.insert(&list, count: 3, wantsCodes) } == Int32(FI_EBADFLAGS))
    try vector.close()
    try queue.close()
    try objects.close()
  }

  @Test func eventsAreNeitherLostNorEndless() throws {
    let objects = try Objects()
    let vector = try vector(objects, flags: FI_EVENT)
    let queue = try eventQueue(objects.fabric)
    try vector.bind(queue)
    let list = sockaddrs((1...10_000).map { v4($0, port: $0 == 7 ? 7471 : 0) })
    let report = InsertionReport(numbers: nil, errors: nil)
    #expect(try vector.insert(list, count: 10_000, report) == 0)
    #expect(errorCode { () throws(FabricError) in _ = try vector.insert(list, count: 1, report) } == FI_EAGAIN)
    var error = fi_eq_err_entry()
    for index in (0..<10_000) where index != 6 {
      _ = try queue.readError(into: &error, flags: 0)
      #expect(error.data == UInt64(index))
    }
    #expect(try readEvent(queue) == 1)
    #expect(readCode(queue) == FI_EAGAIN)
    try vector.close()
    try queue.close()
    try objects.close()
  }

  @Test func onlyAsynchronousVectorsTakeAQueue() throws {
    let objects = try Objects()
    let vector = try vector(objects)
    let queue = try eventQueue(objects.fabric)
    #expect(errorCode { () throws(FabricError) in try vector.bind(queue) } == FI_EINVAL)
    try queue.close()
    try vector.close()
    try objects.close()
  }

  @Test func isBusyWhileBound() throws {
    let objects = try Objects()
    let vector = try vector(objects)
    vector.addBinding()
    #expect(errorCode { () throws(FabricError) in try vector.close() } == FI_EBUSY)
    #expect(errorCode { () throws(FabricError) in try objects.domain.close() } == FI_EBUSY)
    vector.removeBinding()
    try vector.close()
    try objects.close()
  }

  @Test(arguments: [1, 2] as [UInt64]) func agreesWithAModel(seed: UInt64) throws {
    var random = Seeded(state: seed)
    let objects = try Objects()
    let vector = try vector(objects)
    var model: [Int: (number: UInt64, uses: Int)] = [:]
    for _ in 0..<20_000 {
      let name = Int.random(in: 1...3000, using: &random)
      if Int.random(in: 0..<3, using: &random) > 0 {
        let number = try vector.insert(v4(name))
        if let known = model[name] { #expect(known.number == number) }
        model[name] = (number, (model[name]?.uses ?? 0) + 1)
      } else if let known = model[name] {
        try vector.remove(known.number)
        model[name] = known.uses == 1 ? nil : (known.number, known.uses - 1)
      }
      let probe = Int.random(in: 1...3000, using: &random)
      #expect(vector.find(v4(probe)) == model[probe]?.number ?? unavailableAddress)
      if let known = model[probe] { #expect(vector.address(known.number) == v4(probe)) }
    }
    #expect(vector.count == model.count)
    try vector.close()
    try objects.close()
  }
}
