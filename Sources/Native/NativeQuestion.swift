import CFabric
import CPlatform
import Datagram
import Provider
import Synchronization

/// One fi_getinfo put to the native library, in a thread of its own: drivers may hang, and then the program goes on
/// without. The library is opened there, and its hardware tried.
///
/// What hangs is left to itself, with what it was given, and nothing is asked of the library again in this process.
final class NativeQuestion {
  /// The entries of an answer, copies in this library's layout.
  struct Answer {
    /// Of providers with hardware that works.
    var hardware = InfoList()
    /// Of others, and none of this library's names.
    var others = InfoList()

    func free() {
      InfoMemory.free(hardware.head)
      InfoMemory.free(others.head)
    }
  }

  private let version: APIVersion
  private let flags: UInt64
  private let node: UnsafeMutablePointer<CChar>?
  private let service: UnsafeMutablePointer<CChar>?
  private let hints: UnsafeMutablePointer<fi_info>?
  private let state: UnsafeMutablePointer<State>
  private var answer = Answer()

  private struct State {
    var mutex = pthread_mutex_t()
    var answered = pthread_cond_t()
    var isAnswered = false
    var isAbandoned = false
  }

  /// The answer; nil where there is none in time, or no memory. What is given is copied, except for objects. Any thread.
  static func ask(
    version: APIVersion, node: CString?, service: CString?, flags: UInt64, hints: UnsafePointer<fi_info>?
  ) -> Answer? {
    let own: UnsafeMutablePointer<fi_info>?
    do {
      own = try hints.map { pointer throws(FabricError) in try InfoMemory.duplicate(pointer) }
    } catch {
      return nil
    }
    let question = NativeQuestion(version, node.flatMap { strdup($0) }, service.flatMap { strdup($0) }, flags, own)
    let thread: Thread
    do {
      thread = try Thread(
        { context in
          Thread.setName("fabric-native")
          Unmanaged<NativeQuestion>.fromOpaque(context!).takeRetainedValue().run()
        }, context: Unmanaged.passRetained(question).toOpaque())
    } catch {
      Unmanaged.passUnretained(question).release()
      Standing.note(.unusable) { $0.append("there is no thread to ask it from") }
      return nil
    }
    let limit = Configuration.current.nativeTimeout
    guard question.wait(milliseconds: limit) else {
      givenUp.store(true, ordering: .releasing)
      NativeLibrary.ifOpen?.abandon()
      Standing.note(.failed, isFinal: true) { text in
        text.append("the native libfabric did not answer within ")
        text.append(decimal: UInt64(limit))
        text.append(" ms")
      }
      return nil
    }
    thread.join()
    return question.answer
  }

  /// Whether the library has hung.
  static var isGivenUp: Bool { givenUp.load(ordering: .acquiring) }

  private init(
    _ version: APIVersion, _ node: UnsafeMutablePointer<CChar>?, _ service: UnsafeMutablePointer<CChar>?,
    _ flags: UInt64, _ hints: UnsafeMutablePointer<fi_info>?
  ) {
    self.version = version
    self.node = node
    self.service = service
    self.flags = flags
    self.hints = hints
    state = .allocate(capacity: 1)
    state.initialize(to: State())
    pthread_mutex_init(&state.pointee.mutex, nil)
    _ = platform_condition_init(&state.pointee.answered)
  }

  deinit {
    pthread_cond_destroy(&state.pointee.answered)
    pthread_mutex_destroy(&state.pointee.mutex)
    state.deallocate()
    free(node)
    free(service)
    InfoMemory.free(hints)
  }

  /// Waits for the answer; false, for good, if it does not come in time.
  private func wait(milliseconds: Int) -> Bool {
    let deadline = Clock.now() + UInt64(milliseconds) * 1_000_000
    pthread_mutex_lock(&state.pointee.mutex)
    defer { pthread_mutex_unlock(&state.pointee.mutex) }
    while !state.pointee.isAnswered {
      let now = Clock.now()
      if now >= deadline {
        state.pointee.isAbandoned = true
        return false
      }
      _ = platform_condition_wait(&state.pointee.answered, &state.pointee.mutex, deadline - now)
    }
    return true
  }

  /// The thread.
  private func run() {
    if let library = NativeLibrary.shared(.current) { ask(library) }
    pthread_mutex_lock(&state.pointee.mutex)
    state.pointee.isAnswered = true
    if state.pointee.isAbandoned { answer.free() }
    pthread_cond_signal(&state.pointee.answered)
    pthread_mutex_unlock(&state.pointee.mutex)
  }

  private func ask(_ library: NativeLibrary) {
    var list: UnsafeMutablePointer<fi_info>?
    let asked = min(version, library.version)
    let code = library.calls.pointee.fi_getinfo(asked.rawValue, node, service, flags, hints, &list)
    guard code == 0 else {
      if code == -FI_ENODATA { return noteNoHardware(library) }
      return Standing.note(.failed) { text in
        text.append(library.path)
        text.append(" failed in fi_getinfo: ")
        text.append(library.calls.pointee.fi_strerror(-code))
      }
    }
    defer { library.calls.pointee.fi_freeinfo(list) }
    var triedAny = false
    var next = list
    while let info = next {
      next = info.pointee.next
      guard let name = info.pointee.fabric_attr?.pointee.prov_name else { continue }
      let names = NativeNames(.current)
      if flags != FI_PROV_ATTR_ONLY && names.isHardware(name) {
        triedAny = true
        guard NativeLibrary.gate.enter(unless: { Self.isGivenUp }) else { return }
        let isPassed = Trial.isPassed(info, library)
        NativeLibrary.gate.leave()
        if isPassed { answer.hardware.append(library.copy(of: info)) }
      } else if !names.isOwn(name) {
        answer.others.append(library.copy(of: info))
      }
    }
    if !triedAny { noteNoHardware(library) }
  }

  private func noteNoHardware(_ library: NativeLibrary) {
    guard flags != FI_PROV_ATTR_ONLY else { return }
    Standing.note(.noHardware) { text in
      text.append(library.path)
      text.append(" offers no provider with hardware")
    }
  }

  private static let givenUp = Atomic<Bool>(false)
}
