import CFabric
import CPlatform
import Synchronization

/// What a program may see of an endpoint, or of all endpoints of a domain: variables, and events that it is called for.
///
/// Calls come with the engine's lock held, in whatever thread drives progress; from within them variables may be read.
/// Each endpoint and each domain has one profile at a time.
///
/// Man page: fi_profile(3)
package final class Profile {
  package typealias Callback =
    @convention(c) (
      UnsafeMutablePointer<fid_profile>?, UnsafeMutablePointer<fi_profile_desc>?, UnsafeMutableRawPointer?, Int,
      UnsafeMutableRawPointer?
    ) -> Int32

  private struct Listener {
    var callback: Callback?
    var context: UnsafeMutableRawPointer?
  }

  private let domain: Domain
  /// Nil for all endpoints of the domain.
  private let endpoint: Endpoint?
  /// The handle that callbacks are told; set once, before anybody listens.
  package var handle: UnsafeMutablePointer<fid_profile>?
  private var listeners: (Listener, Listener) = (Listener(), Listener())
  /// From `startReads` to `endReads`.
  private var snapshot: ProfileValues?
  /// The thread that is in a callback, and holds the lock; 0 for none.
  private let caller = Atomic<UInt>(0)

  /// Throws FI_EBUSY where there is a profile already.
  package convenience init(_ endpoint: Endpoint) throws(FabricError) {
    self.init(endpoint.domain, endpoint)
    try attach()
  }

  /// Throws FI_EBUSY where there is a profile already.
  package convenience init(_ domain: Domain) throws(FabricError) {
    self.init(domain, nil)
    try attach()
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ domain: Domain, _ endpoint: Endpoint?) {
    self.domain = domain
    self.endpoint = endpoint
  }

  private func attach() throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    let isFree = endpoint.map { $0.profile == nil } ?? (domain.engine.profile == nil)
    if !isFree { throw FabricError.busy.because(.endpointControl, "there is a profile already", in: "fi_profile_open") }
    if let endpoint { endpoint.profile = .passUnretained(self) } else { domain.engine.profile = .passUnretained(self) }
    domain.addChild()
  }

  package func close() {
    domain.engine.lock()
    if let endpoint { endpoint.profile = nil } else { domain.engine.profile = nil }
    domain.removeChild()
    domain.engine.unlock()
  }

  // MARK: Variables

  /// Takes the lock, unless the thread is in a callback and holds it.
  private func withLock<Result>(_ body: () -> Result) -> Result {
    if caller.load(ordering: .relaxed) == UInt(pthread_self()) { return body() }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    return body()
  }

  private func forEachPort(_ body: (Port) -> Void) {
    guard let endpoint else { return domain.engine.forEachPort(body) }
    endpoint.portReference?._withUnsafeGuaranteedRef(body)
  }

  private var values: ProfileValues {
    var values = ProfileValues()
    if let endpoint { endpoint.add(to: &values) } else { domain.engine.add(to: &values) }
    return values
  }

  /// The value of a variable that is a number.
  package func value(_ index: Int) -> UInt64 { withLock { (snapshot ?? values)[index] } }

  /// The messages that wait for their receives, oldest first within each context, into room for `capacity` entries.
  /// Returns how many there are.
  package func unexpectedMessages(_ entries: UnsafeMutablePointer<fi_cq_err_entry>?, capacity: Int) -> Int {
    withLock {
      var count = 0
      forEachPort { port in
        port.forEachUnexpected { message in
          if count < capacity { (entries! + count).initialize(to: port.entry(message)) }
          count += 1
        }
      }
      return count
    }
  }

  /// Variables that are numbers keep their values until `endReads`.
  package func startReads() { withLock { snapshot = values } }
  package func endReads() { withLock { snapshot = nil } }

  // MARK: Events

  package static var eventCount: Int { 2 }

  /// Name and description of an event.
  package static func text(event: Int) -> (name: StaticString, description: StaticString) {
    event == 0
      ? ("pevent_unexp_msg_recd", "a message came before its receive")
      : ("pevent_unexp_msg_matched", "a message that had come before its receive waits no more")
  }

  /// Has a program's function called when an event happens, in place of the one before; nil for none.
  package func listen(_ event: Int, _ callback: Callback?, _ context: UnsafeMutableRawPointer?) {
    withLock {
      let listener = Listener(callback: callback, context: context)
      if event == 0 { listeners.0 = listener } else { listeners.1 = listener }
    }
  }

  /// An event has happened. The engine's lock is held.
  func notify(_ event: Int) {
    let listener = event == 0 ? listeners.0 : listeners.1
    guard let callback = listener.callback, caller.load(ordering: .relaxed) == 0 else { return }
    caller.store(UInt(pthread_self()), ordering: .relaxed)
    var description = Self.description(event: event)
    _ = callback(handle, &description, nil, 0, listener.context)
    caller.store(0, ordering: .relaxed)
  }
}

extension Profile {
  /// A variable as fi_profile_query_vars tells it.
  package static func description(variable index: Int) -> fi_profile_desc {
    let text = ProfileValues.text(index)
    var description = describe(text.name, text.description, ProfileValues.number(index))
    if index == ProfileValues.queue { return description }
    description.datatype_sel = fi_primitive_type
    description.datatype.primitive = FI_UINT64
    description.size = MemoryLayout<UInt64>.size
    return description
  }

  /// An event as fi_profile_query_events tells it.
  package static func description(event: Int) -> fi_profile_desc {
    let text = text(event: event)
    return describe(text.name, text.description, UInt32(event))
  }

  private static func describe(
    _ name: StaticString, _ text: StaticString, _ number: UInt32
  ) -> fi_profile_desc {
    var description = fi_profile_desc()
    description.id = number
    description.datatype_sel = fi_defined_type
    description.datatype.defined = FI_TYPE_CQ_ERR_ENTRY
    description.size = MemoryLayout<fi_cq_err_entry>.size
    description.name = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
    description.desc = UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
    return description
  }
}
