import CFabric
import CPlatform
import Datagram
import Provider
import Testing

private func queue(
  _ objects: Objects, format: fi_cq_format = FI_CQ_FORMAT_TAGGED, wait: fi_wait_obj = FI_WAIT_NONE, size: Int = 0,
  flags: UInt64 = 0, condition: fi_cq_wait_cond = FI_CQ_COND_NONE
) throws(FabricError) -> CompletionQueue {
  let attributes = UnsafeMutablePointer<fi_cq_attr>.allocate(capacity: 1)
  attributes.initialize(to: fi_cq_attr())
  defer { attributes.deallocate() }
  attributes.pointee.format = format
  attributes.pointee.wait_obj = wait
  attributes.pointee.size = size
  attributes.pointee.flags = flags
  attributes.pointee.wait_cond = condition
  return try CompletionQueue(objects.domain, attributes)
}

extension CompletionQueue {
  fileprivate func complete(_ number: UInt64) {
    domain.engine.lock()
    #expect(reserve())
    push(context: UInt(number), flags: FI_RECV, length: 1, buffer: 2, data: 3, tag: 4, source: number)
    domain.engine.unlock()
  }

  fileprivate func fail(_ number: UInt64) {
    domain.engine.lock()
    #expect(reserve())
    pushError(
      context: UInt(number), flags: FI_RECV, length: 1, buffer: 2, data: 3, tag: 4, olen: 5, err: Int32(FI_ETRUNC),
      provErrno: -6, source: 7)
    domain.engine.unlock()
  }

  fileprivate func readOne() -> (Int, fi_cq_tagged_entry) {
    var entry = fi_cq_tagged_entry()
    return (read(into: &entry, count: 1, sources: nil), entry)
  }
}

private let again = -Int(FI_EAGAIN)

@Suite struct CompletionQueueTests {
  @Test func readsInOrderAndStopsAtErrors() throws {
    let objects = try Objects()
    let queue = try queue(objects)
    #expect(queue.readOne().0 == again)
    #expect(queue.read(into: nil, count: 0, sources: nil) == again)
    queue.complete(1)
    queue.complete(2)
    queue.fail(3)
    queue.complete(4)
    #expect(queue.read(into: nil, count: 0, sources: nil) == 0)
    var entries = [fi_cq_tagged_entry](repeating: fi_cq_tagged_entry(), count: 4)
    var sources = [UInt64](repeating: 0, count: 4)
    var error = fi_cq_err_entry()
    #expect(queue.readError(into: &error) == again)
    #expect(queue.read(into: &entries, count: 4, sources: &sources) == 2)
    #expect(sources[0] == 1 && sources[1] == 2 && entries[1].tag == 4)
    #expect(queue.readOne().0 == -Int(FI_EAVAIL))
    #expect(queue.readError(into: &error) == 1)
    #expect(error.op_context == UnsafeMutableRawPointer(bitPattern: 3) && error.err == Int32(FI_ETRUNC))
    #expect(error.olen == 5 && error.prov_errno == -6 && error.src_addr == 7)
    #expect(queue.readOne().0 == 1)
    #expect(queue.readOne().0 == again)
    try queue.close()
    try objects.close()
  }

  /// The entry had 72 bytes before 1.5 and 80 before 1.20.
  @Test(arguments: [(4, 72), (5, 80), (19, 80), (20, 88)] as [(UInt32, Int)])
  func writesNoMoreThanTheProgramsEntry(minor: UInt32, size: Int) throws {
    let objects = try Objects(version: APIVersion(1, minor))
    let queue = try queue(objects)
    queue.fail(1)
    var bytes = [UInt8](repeating: 0xA5, count: 96)
    #expect(
      bytes.withUnsafeMutableBytes {
        queue.readError(into: $0.baseAddress!.assumingMemoryBound(to: fi_cq_err_entry.self))
      } == 1)
    #expect(bytes[size...].allSatisfy { $0 == 0xA5 })
    #expect(bytes[60] == 0xFA && bytes[..<8].elementsEqual([1, 0, 0, 0, 0, 0, 0, 0]))
    try queue.close()
    try objects.close()
  }

  @Test func leavesTheProgramsErrorDataAlone() throws {
    let objects = try Objects()
    let queue = try queue(objects)
    queue.fail(1)
    var error = fi_cq_err_entry()
    error.err_data = UnsafeMutableRawPointer(bitPattern: 0x1000)
    error.err_data_size = 16
    #expect(queue.readError(into: &error) == 1)
    #expect(error.err_data == UnsafeMutableRawPointer(bitPattern: 0x1000) && error.err_data_size == 0)
    try queue.close()
  }

  @Test func takesWhatUpstreamTakes() throws {
    let objects = try Objects()
    for format in 0...4 { try queue(objects, format: fi_cq_format(rawValue: UInt32(format))).close() }
    for wait in [FI_WAIT_NONE, FI_WAIT_UNSPEC, FI_WAIT_FD, FI_WAIT_POLLFD, FI_WAIT_MUTEX_COND, FI_WAIT_YIELD] {
      try queue(objects, wait: wait, condition: FI_CQ_COND_THRESHOLD).close()
    }
    try queue(objects, flags: FI_AFFINITY).close()
    let refused: [(Int32, (Objects) throws(FabricError) -> Void)] = [
      (FI_EINVAL, { (o) throws(FabricError) in _ = try queue(o, format: fi_cq_format(rawValue: 5)) }),
      (FI_EINVAL, { (o) throws(FabricError) in _ = try queue(o, wait: fi_wait_obj(rawValue: 99)) }),
      (FI_EINVAL, { (o) throws(FabricError) in _ = try queue(o, wait: FI_WAIT_SET) }),
      (FI_EINVAL, { (o) throws(FabricError) in _ = try queue(o, flags: 1 << 3) }),
      (FI_EINVAL, { (o) throws(FabricError) in _ = try queue(o, flags: FI_PEER) }),
      (FI_EINVAL, { (o) throws(FabricError) in _ = try queue(o, size: .max) }),
      (
        FI_EINVAL,
        { (o) throws(FabricError) in
          _ = try queue(o, wait: FI_WAIT_FD, condition: fi_cq_wait_cond(rawValue: 2))
        }
      ),
    ]
    for (code, attempt) in refused {
      #expect(errorCode { () throws(FabricError) in try attempt(objects) } == code)
    }
    try objects.close()
  }

  @Test func roomGrowsWithBindingsAndKeepsEntries() throws {
    let objects = try Objects()
    let queue = try queue(objects, size: 2)
    queue.addBinding()
    queue.complete(1)
    queue.complete(2)
    #expect(!queue.reserve())
    queue.grow(by: 40)
    for number in 3...42 { queue.complete(UInt64(number)) }
    #expect(!queue.reserve())
    for number in 1...42 { #expect(queue.readOne().1.op_context == UnsafeMutableRawPointer(bitPattern: number)) }
    #expect(errorCode { () throws(FabricError) in try queue.close() } == FI_EBUSY)
    queue.removeBinding()
    try queue.close()
    try objects.close()
  }

  @Test func waitingEndsWithTimeEntriesErrorsAndSignals() throws {
    let objects = try Objects()
    let queue = try queue(objects, wait: FI_WAIT_UNSPEC)
    var entry = fi_cq_tagged_entry()
    func wait(_ timeout: Int32) -> Int {
      queue.wait(into: &entry, count: 1, sources: nil, threshold: 0, timeout: timeout)
    }
    let before = Clock.now()
    #expect(wait(30) == again)
    #expect(Clock.now() - before >= 30_000_000)
    #expect(wait(0) == again)
    queue.complete(1)
    #expect(wait(-1) == 1)
    queue.fail(1)
    #expect(wait(-1) == -Int(FI_EAVAIL))
    var error = fi_cq_err_entry()
    #expect(queue.readError(into: &error) == 1)
    try queue.interrupt()
    #expect(wait(-1) == again)
    #expect(wait(1) == again)
    try queue.close()
    try objects.close()
  }

  @Test func waitsForAsManyAsAsked() throws {
    let objects = try Objects()
    let queue = try queue(objects, wait: FI_WAIT_FD, condition: FI_CQ_COND_THRESHOLD)
    var entries = [fi_cq_tagged_entry](repeating: fi_cq_tagged_entry(), count: 4)
    queue.complete(1)
    queue.complete(2)
    #expect(queue.wait(into: &entries, count: 4, sources: nil, threshold: 2, timeout: -1) == 2)
    queue.complete(3)
    #expect(queue.wait(into: &entries, count: 4, sources: nil, threshold: 3, timeout: 10) == 1)
    // No more than can be returned; and no longer than until an error.
    queue.complete(4)
    #expect(queue.wait(into: &entries, count: 1, sources: nil, threshold: 1 << 40, timeout: -1) == 1)
    queue.complete(5)
    queue.fail(6)
    #expect(queue.wait(into: &entries, count: 4, sources: nil, threshold: 4, timeout: -1) == 1)
    var error = fi_cq_err_entry()
    #expect(queue.readError(into: &error) == 1)
    try queue.close()
    try objects.close()
  }

  @Test func aSleeperIsWokenByAnotherThread() throws {
    let objects = try Objects()
    let queue = try queue(objects, wait: FI_WAIT_FD)
    for round in 0..<20 {
      let context = Unmanaged.passUnretained(queue).toOpaque()
      let thread = try Thread(
        { Unmanaged<CompletionQueue>.fromOpaque($0!).takeUnretainedValue().completeSoon() }, context: context)
      var entry = fi_cq_tagged_entry()
      #expect(queue.wait(into: &entry, count: 1, sources: nil, threshold: 0, timeout: 5000) == 1, "round \(round)")
      thread.join()
    }
    try queue.close()
    try objects.close()
  }

  @Test func theDescriptorTellsAfterTrywait() throws {
    let objects = try Objects()
    let queue = try queue(objects, wait: FI_WAIT_FD)
    var descriptor: Int32 = -1
    var kind = FI_WAIT_NONE
    try queue.control(Int32(FI_GETWAIT), &descriptor)
    try queue.control(Int32(FI_GETWAITOBJ), &kind)
    #expect(kind == FI_WAIT_FD && descriptor >= 0)
    for _ in 0..<3 {
      try queue.prepareToWait()
      #expect(!isReadable(descriptor))
      queue.complete(1)
      #expect(isReadable(descriptor))
      #expect(errorCode { () throws(FabricError) in try queue.prepareToWait() } == FI_EAGAIN)
      #expect(queue.readOne().0 == 1)
    }
    // A signal is used up by the wait that it ends.
    try queue.interrupt()
    #expect(isReadable(descriptor))
    #expect(queue.wait(into: nil, count: 0, sources: nil, threshold: 0, timeout: -1) == again)
    try queue.prepareToWait()
    #expect(!isReadable(descriptor))
    try queue.close()
    try objects.close()
  }

  /// On the portable path nothing a program sleeps on by itself would tell of traffic, so nothing is handed out.
  @Test func withoutADescriptorOfTheEngineNoneIsHandedOut() throws {
    for kind in [FI_WAIT_FD, FI_WAIT_POLLFD, FI_WAIT_MUTEX_COND] {
      #expect(
        errorCode { () throws(FabricError) in
          _ = try WaitObject.open(kind, watching: -1, for: .completionQueue)
        } == FI_ENOSYS)
    }
    let object = try #require(try WaitObject.open(FI_WAIT_UNSPEC, watching: -1, for: .completionQueue))
    var descriptor: Int32 = -1
    var kind = FI_WAIT_NONE
    #expect(errorCode { () throws(FabricError) in try object.control(Int32(FI_GETWAIT), &descriptor) } == FI_ENOSYS)
    try object.control(Int32(FI_GETWAITOBJ), &kind)
    #expect(kind == FI_WAIT_UNSPEC && descriptor == -1)
  }

  @Test func withoutWaitObjectNobodyWaits() throws {
    let objects = try Objects()
    let queue = try queue(objects)
    #expect(queue.wait(into: nil, count: 0, sources: nil, threshold: 0, timeout: 0) == -Int(FI_ENOSYS))
    #expect(errorCode { () throws(FabricError) in try queue.interrupt() } == FI_ENOSYS)
    #expect(errorCode { () throws(FabricError) in try queue.prepareToWait() } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in try queue.control(Int32(FI_GETWAIT), nil) } == FI_ENODATA)
    try queue.close()
    try objects.close()
  }
}

extension CompletionQueue {
  fileprivate func completeSoon() {
    usleep(2000)
    complete(1)
  }
}
