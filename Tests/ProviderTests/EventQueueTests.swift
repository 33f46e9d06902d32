import CFabric
import CPlatform
import Datagram
import Provider
import Testing

private func open(
  _ fabric: Fabric, flags: UInt64 = FI_WRITE, wait: fi_wait_obj = FI_WAIT_NONE, size: Int = 0
) throws(FabricError) -> EventQueue {
  let attributes = UnsafeMutablePointer<fi_eq_attr>.allocate(capacity: 1)
  attributes.initialize(to: fi_eq_attr())
  defer { attributes.deallocate() }
  attributes.pointee.flags = flags
  attributes.pointee.wait_obj = wait
  attributes.pointee.size = size
  return try EventQueue(fabric, attributes)
}

private func read(_ queue: EventQueue, room: Int = 64, flags: UInt64 = 0) throws -> (event: UInt32, bytes: [UInt8]) {
  var event: UInt32 = 0
  var bytes = [UInt8](repeating: 0, count: room)
  let count = try bytes.withUnsafeMutableBytes {
    try queue.read(event: &event, into: $0.baseAddress, length: room, flags: flags)
  }
  return (event, Array(bytes.prefix(count)))
}

@Suite struct EventQueueTests {
  let fabric: Fabric
  init() throws { fabric = try Fabric(name: "10.0.0.0/8", apiVersion: .library) }

  @Test func keepsOrderAndBytes() throws {
    let queue = try open(fabric)
    #expect(readCode(queue) == FI_EAGAIN)
    for number in 0..<50 {
      let bytes = [UInt8](repeating: UInt8(number), count: number)
      #expect(try queue.write(event: UInt32(number), bytes, length: number) == number)
    }
    #expect(try read(queue, flags: FI_PEEK) == (0, []))
    for number in 0..<50 {
      let (event, bytes) = try read(queue, room: 20)
      #expect(event == UInt32(number) && bytes == [UInt8](repeating: UInt8(number), count: min(number, 20)))
    }
    #expect(readCode(queue) == FI_EAGAIN)
    try queue.close()
    try fabric.close()
  }

  @Test func errorsStandInTheWay() throws {
    let queue = try open(fabric)
    var error = fi_eq_err_entry()
    #expect(errorCode { () throws(FabricError) in _ = try queue.readError(into: &error, flags: 0) } == FI_EAGAIN)
    _ = try queue.write(event: 1, nil, length: 0)
    var entry = fi_eq_err_entry()
    entry.err = 5
    entry.data = 77
    try queue.report(entry)
    _ = try queue.write(event: 2, nil, length: 0)
    #expect(errorCode { () throws(FabricError) in _ = try queue.readError(into: &error, flags: 0) } == FI_EAGAIN)
    #expect(try read(queue).event == 1)
    #expect(readCode(queue) == Int32(FI_EAVAIL))
    #expect(try queue.readError(into: &error, flags: FI_PEEK) == 48)
    error = fi_eq_err_entry()
    error.err_data = UnsafeMutableRawPointer(bitPattern: 0x1000)
    error.err_data_size = 8
    #expect(try queue.readError(into: &error, flags: 0) == 48)
    #expect(error.err == 5 && error.data == 77 && error.err_data_size == 0)
    #expect(error.err_data == UnsafeMutableRawPointer(bitPattern: 0x1000))
    #expect(try read(queue).event == 2)
    try queue.close()
  }

  /// The structure ends with err_data before 1.5.
  @Test func errorsForProgramsOfBefore1_5() throws {
    let fabric = try Fabric(name: "10.0.0.0/8", apiVersion: APIVersion(1, 4))
    let queue = try open(fabric)
    var entry = fi_eq_err_entry()
    entry.err = 5
    try queue.report(entry)
    var error = fi_eq_err_entry()
    error.err_data = UnsafeMutableRawPointer(bitPattern: 0x1000)
    error.err_data_size = 0x5555
    _ = try queue.readError(into: &error, flags: 0)
    #expect(error.err == 5 && error.err_data == nil && error.err_data_size == 0x5555)
    try queue.close()
    try fabric.close()
  }

  @Test func ownEventsAreTakenBeyondTheCapacity() throws {
    let queue = try open(fabric, size: 1)
    while errorCode({ () throws(FabricError) in _ = try queue.write(event: 1, nil, length: 0) }) == nil {}
    #expect(!queue.hasRoom)
    try queue.report(event: 9, fi_eq_entry())
    var last: UInt32 = 0
    while errorCode({ () throws(FabricError) in
      _ = try queue.read(event: &last, into: nil, length: 0, flags: 0)
    }) == nil {}
    #expect(last == 9 && queue.hasRoom)
    try queue.close()
  }

  @Test func writingIsForQueuesThatAskedForIt() throws {
    let queue = try open(fabric, flags: 0)
    #expect(errorCode { () throws(FabricError) in _ = try queue.write(event: 1, nil, length: 0) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in _ = try open(fabric, flags: 1 << 5) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in _ = try open(fabric, flags: FI_PEER) } == FI_EINVAL)
    try queue.close()
  }

  @Test func isBounded() throws {
    let queue = try open(fabric, size: 1)
    var written = 0
    while errorCode({ () throws(FabricError) in _ = try queue.write(event: 1, nil, length: 0) }) == nil { written += 1 }
    #expect(written >= 1 && written < 100_000)
    _ = try read(queue)
    _ = try queue.write(event: 1, nil, length: 0)
    try queue.close()
  }

  @Test(arguments: [FI_WAIT_FD, FI_WAIT_UNSPEC, FI_WAIT_POLLFD]) func waits(kind: fi_wait_obj) throws {
    let queue = try open(fabric, wait: kind)
    let before = Clock.now()
    #expect(
      errorCode { () throws(FabricError) in
        _ = try queue.wait(event: nil, into: nil, length: 0, timeout: 30, flags: 0)
      } == FI_EAGAIN)
    #expect(Clock.now() - before >= 30_000_000)
    let descriptor = try descriptor(queue, kind)
    #expect(!isReadable(descriptor))
    try queue.prepareToWait()
    _ = try queue.write(event: 1, nil, length: 0)
    #expect(isReadable(descriptor))
    #expect(errorCode { () throws(FabricError) in try queue.prepareToWait() } == FI_EAGAIN)
    #expect(try queue.wait(event: nil, into: nil, length: 0, timeout: -1, flags: 0) == 0)
    #expect(!isReadable(descriptor))
    try queue.close()
  }

  @Test func withoutWaitObjectNobodyWaits() throws {
    let queue = try open(fabric)
    #expect(
      errorCode { () throws(FabricError) in
        _ = try queue.wait(event: nil, into: nil, length: 0, timeout: 0, flags: 0)
      } == FI_ENOSYS)
    #expect(errorCode { () throws(FabricError) in try queue.control(Int32(FI_GETWAITOBJ), nil) } == FI_ENODATA)
    #expect(errorCode { () throws(FabricError) in try queue.prepareToWait() } == FI_EINVAL)
    for kind in [FI_WAIT_SET, fi_wait_obj(rawValue: 99)] {
      #expect(errorCode { () throws(FabricError) in _ = try open(fabric, wait: kind) } == FI_EINVAL)
    }
    try queue.close()
  }

  @Test func keepsItsFabricOpen() throws {
    let fabric = try Fabric(name: "10.0.0.0/8", apiVersion: .library)
    let queue = try open(fabric)
    #expect(errorCode { () throws(FabricError) in try fabric.close() } == FI_EBUSY)
    queue.addBinding()
    #expect(errorCode { () throws(FabricError) in try queue.close() } == FI_EBUSY)
    queue.removeBinding()
    try queue.close()
    try fabric.close()
  }

  private func descriptor(_ queue: EventQueue, _ kind: fi_wait_obj) throws -> Int32 {
    var list = fi_wait_pollfd()
    var entry = pollfd()
    var descriptor: Int32 = -1
    guard kind == FI_WAIT_POLLFD else {
      try queue.control(Int32(FI_GETWAIT), &descriptor)
      return descriptor
    }
    #expect(errorCode { () throws(FabricError) in try queue.control(Int32(FI_GETWAIT), &list) } == Int32(FI_ETOOSMALL))
    #expect(list.nfds == 1)
    try withUnsafeMutablePointer(to: &entry) {
      list.fd = $0
      try queue.control(Int32(FI_GETWAIT), &list)
    }
    return entry.fd
  }
}

/// Whether a descriptor has input now.
func isReadable(_ descriptor: Int32) -> Bool {
  var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
  return poll(&entry, 1, 0) == 1
}
