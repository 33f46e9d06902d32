import CFabric
import Datagram

/// Where the ends of operations are reported.
///
/// The ring is protected by the engine's lock: what endpoints and the engine call, they call with the lock held.
/// Reading and waiting take it themselves.
///
/// A queue whose entries go elsewhere, to another provider's queue or nowhere, is always armed: what wakes sleepers then
/// empties the ring instead, and other queues pay nothing for that.
///
/// Man page: fi_cq(3)
package final class CompletionQueue: Waitable {
  package let domain: Domain
  let engine: ProgressEngine
  private let format: fi_cq_format
  private let waiting: WaitChoice?
  private let waitObject: WaitObject?
  private let waitsForThreshold: Bool
  var ring: CompletionRing
  /// Reads since the engine was last asked for progress.
  private var reads = 0
  private var bindings = 0
  /// Somebody sleeps, or is about to, and wants to be woken by the next entry; or entries do not stay here.
  private var isArmed = false
  private let destination: CompletionDestination
  package private(set) var isClosed = false
  /// fi_cq_signal was called and has ended no wait yet.
  private var isInterrupted = false
  /// Of the error that was read last.
  private var errorData: UnsafeMutablePointer<ErrorData>?

  /// With FI_PEER, entries go to the queue that `context`, a `struct fi_peer_cq_context`, names. Throws FI_EINVAL for
  /// unknown formats, flags, wait conditions or wait objects, for an incomplete peer context, and what ``WaitChoice``
  /// throws.
  package convenience init(
    _ domain: Domain, _ attributes: UnsafePointer<fi_cq_attr>, context: UnsafeMutableRawPointer? = nil
  ) throws(FabricError) {
    let flags = attributes.pointee.flags
    guard flags & ~(FI_AFFINITY | FI_PEER) == 0 else { throw Self.refuse("unknown flags") }
    let owner = flags & FI_PEER == 0 ? nil : try Self.owner(context)
    let wanted = attributes.pointee.format
    guard wanted.rawValue <= FI_CQ_FORMAT_TAGGED.rawValue else { throw Self.refuse("unknown format") }
    let size = attributes.pointee.size
    guard size >= 0 && size <= Self.maximumSize else { throw Self.refuse("the size is beyond 2^24 entries") }
    let wait = attributes.pointee.wait_obj
    let condition = attributes.pointee.wait_cond
    guard wait == FI_WAIT_NONE || condition.rawValue <= FI_CQ_COND_THRESHOLD.rawValue else {
      throw Self.refuse("unknown wait_cond")
    }
    // The engine makes descriptors when it is first asked for them.
    let watched = wait == FI_WAIT_NONE ? nil : domain.engine.waitDescriptor
    let waiting = try WaitChoice(
      wait, attributes.pointee.wait_set, in: domain.fabric, watching: watched, for: .completionQueue)
    self.init(
      domain, format: wanted == FI_CQ_FORMAT_UNSPEC ? FI_CQ_FORMAT_CONTEXT : wanted,
      capacity: size == 0 ? Self.defaultSize : size, waitsForThreshold: condition == FI_CQ_COND_THRESHOLD, waiting,
      owner.map { .owner($0) } ?? .program)
    do throws(FabricError) { try waiting.set?.add(self, watching: watched) } catch {
      try close()
      throw error
    }
  }

  /// A queue that nobody reads and nothing stays in, for endpoints whose operations only counters tell of.
  package convenience init(discardingIn domain: Domain) {
    self.init(domain, format: FI_CQ_FORMAT_CONTEXT, capacity: 0, waitsForThreshold: false, nil, .nowhere)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ domain: Domain, format: fi_cq_format, capacity: Int, waitsForThreshold: Bool, _ waiting: WaitChoice?,
    _ destination: CompletionDestination
  ) {
    self.domain = domain
    self.format = format
    self.waitsForThreshold = waitsForThreshold
    self.waiting = waiting
    waitObject = waiting?.object
    self.destination = destination
    isArmed = !destination.isProgram
    engine = domain.engine
    ring = CompletionRing(capacity: capacity)
    // That kind is a part of an endpoint.
    if case .nowhere = destination { return }
    engine.lock()
    domain.addChild()
    engine.unlock()
  }

  deinit { errorData?.deallocate() }

  /// Throws FI_EBUSY while endpoints report here. Entries that were not read are lost.
  package func close() throws(FabricError) {
    engine.lock()
    let isBusy = bindings != 0
    isClosed = !isBusy
    engine.unlock()
    if isBusy { throw .busy.because(.completionQueue, "endpoints are still bound to the queue", in: "fi_close") }
    waiting?.close(self)
    engine.lock()
    domain.removeChild()
    engine.unlock()
  }

  // MARK: For endpoints and the engine, which hold the lock

  /// An endpoint reports here from now on.
  package func addBinding() { bindings += 1 }

  /// It no longer does.
  package func removeBinding() { bindings -= 1 }

  /// Sets room for one completion aside; false (-FI_EAGAIN) when the ring is full. Every operation that will complete
  /// needs it before it is posted; the room is free again when the entry was read.
  @inline(__always)
  package func reserve() -> Bool { ring.reserve() }

  /// As `reserve`, for a completion that no call of the program was counted for. Where all room is set aside and nothing
  /// waits to be read, reading would make none: the queue grows, lest what the room is for never comes.
  package func reserveUncounted() -> Bool {
    if ring.reserve() { return true }
    if ring.count > 0 { return false }
    ring.grow(by: Self.uncountedEntries)
    return ring.reserve()
  }

  /// Gives up room: the operation will not complete.
  @inline(__always)
  package func unreserve(_ count: Int = 1) { ring.unreserve(count) }

  /// Adds room for `entries` more, as many as an endpoint that is bound can have in flight.
  package func grow(by entries: Int) { ring.grow(by: entries) }

  /// Reports success, in room that was set aside. `source` is FI_ADDR_NOTAVAIL where it is unknown or unasked.
  @inline(__always)
  package func push(
    context: UInt, flags: UInt64, length: Int, buffer: UInt, data: UInt64, tag: UInt64, source: UInt64
  ) {
    ring.push(
      Completion(context: context, flags: flags, length: length, buffer: buffer, data: data, tag: tag, source: source))
    if isArmed { wake() }
  }

  /// Reports failure, in room that was set aside. `olen` is the bytes that did not fit, `err` an error number, positive.
  package func pushError(
    context: UInt, flags: UInt64, length: Int, buffer: UInt, data: UInt64, tag: UInt64, olen: Int, err: Int32,
    provErrno: Int32, source: UInt64, errorData: ErrorData = ErrorData()
  ) {
    ring.push(
      Completion(context: context, flags: flags, length: length, buffer: buffer, data: data, tag: tag, source: source),
      CompletionError(code: err, providerCode: provErrno, overflow: olen, data: errorData))
    if isArmed { wake() }
  }

  // MARK: Reading

  /// Takes up to `count` entries in the queue's format and, where `sources` is given, whom they came from. Returns how
  /// many, -FI_EAGAIN when there is none, -FI_EAVAIL when an error is to be read first. A `count` of 0 drives progress.
  package func read(
    into buffer: UnsafeMutableRawPointer?, count: Int, sources: UnsafeMutablePointer<UInt64>?
  ) -> Int {
    engine.lock()
    reads &+= 1
    if ring.count == 0 || reads >= Self.readsPerProgress {
      reads = 0
      engine.progress()
    }
    let result = take(into: buffer, count: count, sources: sources)
    let givesWay = result < 0 && engine.shouldGiveWay
    if result == -Int(FI_EAGAIN), let waitObject, waitObject.sleepsUnannounced { expectSleep(waitObject) }
    engine.unlock()
    if givesWay { Thread.yield() }
    return result
  }

  /// Drives progress and tells whether an entry is there. Part of fi_poll.
  package func poll() -> Bool {
    engine.lock()
    defer { engine.unlock() }
    engine.progress()
    return ring.count > 0
  }

  @inline(__always)
  private func take(
    into buffer: UnsafeMutableRawPointer?, count: Int, sources: UnsafeMutablePointer<UInt64>?
  ) -> Int {
    if ring.count == 0 { return -Int(FI_EAGAIN) }
    let taken: Int
    switch format {
    case FI_CQ_FORMAT_TAGGED:
      taken = ring.read(fi_cq_tagged_entry.self, into: buffer, limit: count, sources: sources)
    case FI_CQ_FORMAT_DATA: taken = ring.read(fi_cq_data_entry.self, into: buffer, limit: count, sources: sources)
    case FI_CQ_FORMAT_MSG: taken = ring.read(fi_cq_msg_entry.self, into: buffer, limit: count, sources: sources)
    default: taken = ring.read(fi_cq_entry.self, into: buffer, limit: count, sources: sources)
    }
    return taken == 0 && count > 0 && ring.isErrorFirst ? -Int(FI_EAVAIL) : taken
  }

  /// Takes the oldest entry if it is an error. Returns 1, or -FI_EAGAIN. Writes no more of `entry` than its structure
  /// had in the version the program was written for.
  ///
  /// Error data goes into the program's buffer; where it has none, or is older than 1.5, into one that lasts until the
  /// next error is read.
  package func readError(into entry: UnsafeMutablePointer<fi_cq_err_entry>) -> Int {
    engine.lock()
    defer { engine.unlock() }
    guard let (completion, error) = ring.readError() else { return -Int(FI_EAGAIN) }
    Self.describe(completion, error, in: entry)
    let version = domain.fabric.apiVersion
    if version >= APIVersion(1, 5) && entry.pointee.err_data_size > 0 {
      let count = min(error.data.count, entry.pointee.err_data_size)
      if count > 0, let target = entry.pointee.err_data {
        withUnsafeBytes(of: error.data.bytes) { target.copyMemory(from: $0.baseAddress!, byteCount: count) }
      }
      entry.pointee.err_data_size = count
    } else {
      entry.pointee.err_data = keep(error.data)
      if version >= APIVersion(1, 5) { entry.pointee.err_data_size = error.data.count }
    }
    if version >= APIVersion(1, 20) { entry.pointee.src_addr = completion.source }
    return 1
  }

  /// The fields that entries of all versions have but for error data.
  static func describe(
    _ completion: Completion, _ error: CompletionError, in entry: UnsafeMutablePointer<fi_cq_err_entry>
  ) {
    entry.pointee.op_context = UnsafeMutableRawPointer(bitPattern: completion.context)
    entry.pointee.flags = completion.flags
    entry.pointee.len = completion.length
    entry.pointee.buf = UnsafeMutableRawPointer(bitPattern: completion.buffer)
    entry.pointee.data = completion.data
    entry.pointee.tag = completion.tag
    entry.pointee.olen = error.overflow
    entry.pointee.err = error.code
    entry.pointee.prov_errno = error.providerCode
  }

  /// Where error data stays until the next error is read; nil when there is none.
  private func keep(_ data: ErrorData) -> UnsafeMutableRawPointer? {
    guard data.count > 0 else { return nil }
    let memory = errorData ?? .allocate(capacity: 1)
    errorData = memory
    memory.initialize(to: data)
    return UnsafeMutableRawPointer(memory)
  }

  // MARK: Waiting

  /// ``read(into:count:sources:)`` that waits up to `timeout` milliseconds, for ever if negative. With
  /// FI_CQ_COND_THRESHOLD it waits until `threshold` entries are there, though never for more than it could return, or
  /// until an error is; when time is up it returns what there is. -FI_ENOSYS for a queue without wait object.
  package func wait(
    into buffer: UnsafeMutableRawPointer?, count: Int, sources: UnsafeMutablePointer<UInt64>?, threshold: Int,
    timeout: Int32
  ) -> Int {
    guard let waitObject else {
      return Int(Self.refuse("the queue has no wait object", in: "fi_cq_sread", .notImplemented).result)
    }
    let wanted = waitsForThreshold ? max(min(threshold, count, ring.capacity), 1) : 1
    let deadline = Clock.deadline(milliseconds: timeout)
    engine.lock()
    defer { engine.unlock() }
    while true {
      engine.progress()
      if ring.count >= wanted || ring.hasErrors { break }
      if isInterrupted {
        isInterrupted = false
        break
      }
      if deadline != .max && Clock.now() >= deadline { break }
      arm(waitObject)
      engine.sleep(on: waitObject, until: deadline)
    }
    return take(into: buffer, count: count, sources: sources)
  }

  /// Ends one wait, now or when it begins: fi_cq_signal. Throws FI_ENOSYS for a queue without wait object.
  package func interrupt() throws(FabricError) {
    guard let waitObject else {
      throw Self.refuse("the queue has no wait object", in: "fi_cq_signal", .notImplemented)
    }
    engine.lock()
    defer { engine.unlock() }
    isInterrupted = true
    waitObject.signal()
    // Only there do waiting calls sleep on the engine itself; elsewhere its signal would end every later sleep.
    if engine.waitDescriptor < 0 || waitObject.isShared { engine.signal() }
  }

  /// Whether the program may sleep on the queue's descriptor: throws FI_EAGAIN when it should read first, FI_EINVAL
  /// without a wait object. Part of fi_trywait.
  package func prepareToWait() throws(FabricError) {
    guard let waitObject else { throw Self.refuse("the queue has no wait object", in: "fi_trywait") }
    engine.lock()
    defer { engine.unlock() }
    engine.progress()
    if isInterrupted {
      isInterrupted = false
      throw .tryAgain
    }
    if ring.count > 0 { throw .tryAgain }
    arm(waitObject)
    if waitObject.kind != FI_WAIT_YIELD && !engine.armWait() { throw .tryAgain }
    if !waitObject.isShared { waitObject.expectSleep() }
  }

  /// FI_GETWAIT and FI_GETWAITOBJ. Throws FI_ENODATA without a wait object.
  package func control(_ command: Int32, _ argument: UnsafeMutableRawPointer?) throws(FabricError) {
    guard command == Int32(FI_GETWAIT) || command == Int32(FI_GETWAITOBJ) else {
      throw Self.refuse("unknown command", in: "fi_control", .notImplemented)
    }
    guard let waitObject else { throw Self.refuse("the queue has no wait object", in: "fi_control", .noData) }
    try waitObject.control(command, argument)
  }

  /// From now on the next entry wakes. Signals that others have still to wake by are left alone, and those of a set are
  /// the set's.
  private func arm(_ waitObject: WaitObject) {
    if waitObject.kind == FI_WAIT_YIELD { return }
    if !waitObject.isShared { waitObject.rearm() }
    isArmed = true
  }

  /// The program waits for the queue's condition without asking first.
  @inline(never)
  private func expectSleep(_ waitObject: WaitObject) {
    arm(waitObject)
    let mayWait = engine.armWait()
    waitObject.expectSleep()
    if !mayWait { waitObject.signal() }
  }

  @inline(never)
  private func wake() {
    switch destination {
    case .nowhere: ring.removeAll()
    case .owner(let owner): forward(to: owner)
    case .program:
      isArmed = false
      waitObject?.signal()
    }
  }

  /// Wakes who sleeps here though no entry came: there is something to poll for. The caller holds the lock.
  package func wakeToPoll() {
    if isArmed { waitObject?.signal() }
  }

  /// The queue that entries go to; nil where the program reads them.
  package var owner: UnsafeMutablePointer<fid_peer_cq>? {
    if case .owner(let owner) = destination { return owner }
    return nil
  }

  static func refuse(
    _ reason: StaticString, in call: StaticString = "fi_cq_open", _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.completionQueue, reason, in: call)
  }

  private static var defaultSize: Int { 1024 }
  private static var uncountedEntries: Int { 64 }
  private static var maximumSize: Int { 1 << 24 }
  /// A program that always finds completions still makes progress, and those reads are cheap.
  private static var readsPerProgress: Int { 64 }
}
