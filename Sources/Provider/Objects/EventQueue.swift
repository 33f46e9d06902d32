import CFabric
import CPlatform
import Datagram

/// What happens to objects besides data transfers, and what a program tells itself (FI_WRITE).
///
/// A fabric's queue belongs to no domain, so it has a lock of its own. Any thread. Events of a queue that another provider
/// owns (FI_PEER) only pass through it.
///
/// Man pages: fi_eq(3); fi_peer(3), "Peer EQ"
package final class EventQueue: Waitable {
  private let fabric: Fabric
  private let isWritable: Bool
  let waiting: WaitChoice
  /// Whose the events are; nil where the program reads them here.
  private let owner: UnsafeMutablePointer<fid_eq>?
  let lock = Lock()
  var ring: EventRing
  private var bindings = 0
  /// Where what is told here happens; see EventQueue+Connections.
  var engines: [DrivenEngine] = []
  /// What the error entry read last refers to.
  private var errorData: UnsafeMutableRawPointer?

  /// With FI_PEER, events go to the queue that `context`, a `struct fi_peer_eq_context`, names. Throws FI_EINVAL for
  /// unknown flags or wait objects, for an incomplete peer context, and what ``WaitChoice`` throws.
  package convenience init(
    _ fabric: Fabric, _ attributes: UnsafePointer<fi_eq_attr>, context: UnsafeMutableRawPointer? = nil
  ) throws(FabricError) {
    let flags = attributes.pointee.flags
    guard flags & ~(FI_WRITE | FI_AFFINITY | FI_PEER) == 0 else { throw Self.refuse("unknown flags") }
    let owner = flags & FI_PEER == 0 ? nil : try Self.owner(context)
    // Engines may come to be driven from here, which the portable path cannot watch: only who asks gets a descriptor then.
    let kind = attributes.pointee.wait_obj
    let watched: Int32? = kind == FI_WAIT_UNSPEC && Configuration.current.isPortable ? -1 : nil
    let waiting = try WaitChoice(
      kind, attributes.pointee.wait_set, in: fabric, watching: watched, for: .eventQueue)
    // The size is a hint: a program that asked for little must not lose events.
    let capacity = max(attributes.pointee.size, Self.leastCapacity)
    self.init(fabric, isWritable: flags & FI_WRITE != 0, capacity: capacity, waiting, owner)
    do throws(FabricError) { try waiting.set?.add(self, watching: nil) } catch {
      try close()
      throw error
    }
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ fabric: Fabric, isWritable: Bool, capacity: Int, _ waiting: WaitChoice, _ owner: UnsafeMutablePointer<fid_eq>?
  ) {
    self.fabric = fabric
    self.owner = owner
    self.isWritable = isWritable
    self.waiting = waiting
    ring = EventRing(capacity: capacity)
    fabric.addChild()
  }

  deinit { free(errorData) }

  /// Something sends its events here.
  package func addBinding() { lock.withLock { bindings += 1 } }

  /// It no longer does.
  package func removeBinding() { lock.withLock { bindings -= 1 } }

  /// Throws FI_EBUSY while something is bound to the queue. Events that were not read are lost.
  package func close() throws(FabricError) {
    if lock.withLock({ bindings != 0 }) {
      throw Self.refuse("objects are still bound to the queue", in: "fi_close", .busy)
    }
    waiting.close(self)
    fabric.removeChild()
  }

  var waitObject: WaitObject? { waiting.object }

  /// Appends an event of the program's. Returns `length`. Throws FI_EINVAL for a queue opened without FI_WRITE,
  /// FI_EAGAIN when too many events wait.
  package func write(event: UInt32, _ bytes: UnsafeRawPointer?, length: Int) throws(FabricError) -> Int {
    guard isWritable else { throw Self.refuse("the queue was opened without FI_WRITE", in: "fi_eq_write") }
    guard bytes != nil || length == 0 else { throw Self.refuse("an event without its bytes", in: "fi_eq_write") }
    try append(event: event, bytes, length: length)
    return length
  }

  /// Whether the program reads its events: what makes events should not begin otherwise.
  package var hasRoom: Bool { lock.withLock { ring.count < ring.capacity } }

  /// Appends an event of the library's own, also to a queue without room: none is lost. Throws FI_ENOMEM.
  package func report(event: UInt32, _ entry: fi_eq_entry) throws(FabricError) {
    var entry = entry
    try append(event: event, &entry, length: MemoryLayout<fi_eq_entry>.size, isOwn: true)
  }

  /// Appends an error entry, also to a queue without room. Throws FI_ENOMEM.
  ///
  /// `data` comes with it as err_data, which a program gets a copy of.
  package func report(_ entry: fi_eq_err_entry, data: UnsafeRawBufferPointer = noData) throws(FabricError) {
    var entry = entry
    try append(event: 0, &entry, length: MemoryLayout<fi_eq_err_entry>.size, data: data, isError: true, isOwn: true)
  }

  /// Appends an event about the connection of `fid`, with what its peer's program has to say; `info` becomes the reader's.
  /// Also to a queue without room. Throws FI_ENOMEM, and `info` remains the caller's.
  package func report(
    event: UInt32, _ fid: UnsafeMutablePointer<fid>?, info: UnsafeMutablePointer<fi_info>? = nil,
    data: UnsafeRawBufferPointer = noData
  ) throws(FabricError) {
    var entry = fi_eq_cm_entry()
    entry.fid = fid
    entry.info = info
    try append(
      event: event, &entry, length: MemoryLayout<fi_eq_cm_entry>.size, data: data, isOwn: true, ownsInfo: info != nil)
  }

  /// Takes the oldest event, or looks at it with FI_PEEK, and returns how many of its bytes were stored. Throws
  /// FI_EAGAIN when there is none, FI_EAVAIL when an error is to be read first.
  package func read(
    event: UnsafeMutablePointer<UInt32>?, into buffer: UnsafeMutableRawPointer?, length: Int, flags: UInt64
  ) throws(FabricError) -> Int {
    driveWhenEmpty()
    lock.lock()
    defer { lock.unlock() }
    guard let oldest = ring.oldest else {
      if let waitObject, waitObject.sleepsUnannounced { waitObject.expectSleep() }
      throw .tryAgain
    }
    if ring.isErrorFirst { throw .errorAvailable }
    event?.pointee = oldest.event
    let stored = buffer == nil ? 0 : max(min(length, oldest.length), 0)
    if let buffer, stored > 0 { memcpy(buffer, oldest.bytes, stored) }
    if flags & FI_PEEK == 0 { removeFirst(read: stored) }
    return stored
  }

  /// Takes the oldest entry if it is an error, or looks at it with FI_PEEK. Throws FI_EAGAIN when it is none.
  ///
  /// Further data goes to the program's own buffer if it brings one, else to memory of the queue until the next call.
  /// Writes no more of `entry` than its structure had in the version the program was written for.
  package func readError(
    into entry: UnsafeMutablePointer<fi_eq_err_entry>, flags: UInt64
  ) throws(FabricError) -> Int {
    lock.lock()
    defer { lock.unlock() }
    guard ring.isErrorFirst, let oldest = ring.oldest else { throw .tryAgain }
    let stored = oldest.bytes.load(as: fi_eq_err_entry.self)
    entry.pointee.fid = stored.fid
    entry.pointee.context = stored.context
    entry.pointee.data = stored.data
    entry.pointee.err = stored.err
    entry.pointee.prov_errno = stored.prov_errno
    let size = MemoryLayout<fi_eq_err_entry>.size
    storeData(UnsafeRawBufferPointer(start: oldest.bytes + size, count: oldest.length - size), in: entry)
    if flags & FI_PEEK == 0 { removeFirst() }
    return size
  }

  private func storeData(_ data: UnsafeRawBufferPointer, in entry: UnsafeMutablePointer<fi_eq_err_entry>) {
    let knowsSize = fabric.apiVersion >= APIVersion(1, 5)
    if knowsSize && entry.pointee.err_data_size != 0 {
      let stored = min(Int(entry.pointee.err_data_size), data.count)
      if stored > 0, let target = entry.pointee.err_data { memcpy(target, data.baseAddress!, stored) }
      entry.pointee.err_data_size = stored
      return
    }
    free(errorData)
    errorData = data.isEmpty ? nil : malloc(data.count)
    if let errorData { memcpy(errorData, data.baseAddress!, data.count) }
    entry.pointee.err_data = errorData
    if knowsSize { entry.pointee.err_data_size = errorData == nil ? 0 : data.count }
  }

  /// ``read(event:into:length:flags:)`` that waits up to `timeout` milliseconds, for ever if negative. Throws FI_EAGAIN
  /// when time is up, FI_ENOSYS for a queue without wait object.
  package func wait(
    event: UnsafeMutablePointer<UInt32>?, into buffer: UnsafeMutableRawPointer?, length: Int, timeout: Int32,
    flags: UInt64
  ) throws(FabricError) -> Int {
    guard let waitObject else {
      throw Self.refuse("the queue has no wait object", in: "fi_eq_sread", .notImplemented)
    }
    let deadline = Clock.deadline(milliseconds: timeout)
    while true {
      do {
        return try read(event: event, into: buffer, length: length, flags: flags)
      } catch {
        guard error == .tryAgain, deadline == .max || Clock.now() < deadline else { throw error }
      }
      if waitObject.isShared {
        // What others of the set have to say would end every sleep.
        let pause = deadline == .max ? Self.pause : min(Self.pause, deadline &- Clock.now())
        _ = platform_poll(nil, 0, Int32(clamping: (pause + 999_999) / 1_000_000))
      } else if let limit = prepareEngines() {
        waitObject.announceSleep()
        waitObject.sleep(until: min(deadline, limit))
      }
    }
  }

  /// Whether the program may sleep: throws FI_EAGAIN when events wait, FI_EINVAL without a wait object.
  package func prepareToWait() throws(FabricError) {
    guard let waitObject else { throw Self.refuse("the queue has no wait object", in: "fi_trywait") }
    driveWhenEmpty()
    if lock.withLock({ ring.count != 0 }) || prepareEngines() == nil { throw .tryAgain }
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

  private func append(
    event: UInt32, _ bytes: UnsafeRawPointer?, length: Int, data: UnsafeRawBufferPointer = noData,
    isError: Bool = false, isOwn: Bool = false, ownsInfo: Bool = false
  ) throws(FabricError) {
    lock.lock()
    defer { lock.unlock() }
    try ring.append(
      event: event, bytes, length: length, data: data, isError: isError, exceedsCapacity: isOwn, ownsInfo: ownsInfo)
    if let owner { return forward(to: owner) }
    waitObject?.signal()
  }

  // MARK: Queues that another provider owns

  /// Whether another provider owns the queue: then there is nothing to read here.
  package var isImported: Bool { owner != nil }

  /// Offers the owner once more what it had no room for.
  package func forward() {
    guard let owner else { return }
    lock.lock()
    defer { lock.unlock() }
    forward(to: owner)
  }

  /// Writes all events into the owner's queue, in order, until one is not taken. The lock is held.
  private func forward(to owner: UnsafeMutablePointer<fid_eq>) {
    while let oldest = ring.oldest {
      let flags = ring.isErrorFirst ? Self.errorFlag : 0
      if owner.pointee.ops.pointee.write(owner, oldest.event, oldest.bytes, oldest.length, flags) < 0 { return }
      ring.removeFirst()
    }
  }

  /// The queue that a `struct fi_peer_eq_context` names; only that outlives the call.
  private static func owner(_ context: UnsafeMutableRawPointer?) throws(FabricError) -> UnsafeMutablePointer<fid_eq> {
    guard let context = context?.assumingMemoryBound(to: fi_peer_eq_context.self),
      context.pointee.size >= MemoryLayout<fi_peer_eq_context>.size, let owner = context.pointee.eq,
      owner.pointee.ops?.pointee.write != nil
    else { throw refuse("FI_PEER without a queue to write to") }
    return owner
  }

  /// How upstream's queues know that what is written to them is an error entry; fi_eq(3) has no name for it.
  private static var errorFlag: UInt64 { 1 << 60 }

  /// The queue's own wait object is readable exactly while there are events. `read`: bytes that the program has.
  private func removeFirst(read: Int = .max) {
    ring.removeFirst(read: read)
    if ring.count == 0, let waitObject, !waitObject.isShared { waitObject.drain() }
  }

  private static func refuse(
    _ reason: StaticString, in call: StaticString = "fi_eq_open", _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.eventQueue, reason, in: call)
  }

  /// Nanoseconds.
  private static var pause: UInt64 { 1_000_000 }
  private static var leastCapacity: Int { 4096 }
}
