import CFabric
import CPlatform
import Datagram

/// The mutex and condition of FI_WAIT_MUTEX_COND, and the thread that signals them.
///
/// Whoever completes something holds locks of the library, and the program may call the library with its mutex held; so
/// neither can take the other's lock. The thread holds none: it sleeps on the wait object's descriptor, takes the mutex
/// and broadcasts, each time the program is about to wait. Traffic wakes the program too, so this works with manual
/// progress as well; wakes for nothing happen, as with every condition.
///
/// A child made by fork(2) has no such thread: there nobody signals.
final class ConditionNotifier {
  private let object: Unmanaged<WaitObject>
  /// The program's.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private let state: UnsafeMutablePointer<State>
  private var thread: Thread?
  private let owner = getpid()

  /// What the thread gets its orders by.
  private struct State {
    var orderMutex = pthread_mutex_t()
    var order = pthread_cond_t()
    var isArmed = false
    var isStopping = false
  }

  convenience init(_ object: WaitObject) throws(FabricError) {
    self.init(unstarted: object)
    do throws(SystemError) {
      thread = try Thread(
        { context in
          Thread.setName("fabric-notify")
          Unmanaged<ConditionNotifier>.fromOpaque(context!)._withUnsafeGuaranteedRef { $0.run() }
        }, context: Unmanaged.passUnretained(self).toOpaque())
    } catch {
      throw FabricError(code: error.code)
    }
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(unstarted object: WaitObject) {
    self.object = .passUnretained(object)
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    condition = .allocate(capacity: 1)
    condition.initialize(to: pthread_cond_t())
    state = .allocate(capacity: 1)
    state.initialize(to: State())
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
    pthread_mutex_init(&state.pointee.orderMutex, nil)
    pthread_cond_init(&state.pointee.order, nil)
  }

  deinit {
    pthread_cond_destroy(&state.pointee.order)
    pthread_mutex_destroy(&state.pointee.orderMutex)
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    state.deallocate()
    condition.deallocate()
    mutex.deallocate()
  }

  /// FI_GETWAIT's answer; valid while the notifier is.
  func store(_ answer: UnsafeMutablePointer<fi_mutex_cond>) {
    answer.pointee.mutex = mutex
    answer.pointee.cond = condition
  }

  /// The next thing that happens is to be told. Any thread.
  func arm() {
    pthread_mutex_lock(&state.pointee.orderMutex)
    if !state.pointee.isArmed {
      state.pointee.isArmed = true
      pthread_cond_signal(&state.pointee.order)
    }
    pthread_mutex_unlock(&state.pointee.orderMutex)
  }

  /// Ends the thread and waits for it. `wake` ends its sleep on the object.
  func stop(_ wake: () -> Void) {
    guard getpid() == owner else {
      // Nothing of a thread that is not there may be touched, not even to forget it.
      _ = Unmanaged.passRetained(self)
      return
    }
    guard let running = thread.take() else { return }
    pthread_mutex_lock(&state.pointee.orderMutex)
    state.pointee.isStopping = true
    pthread_cond_signal(&state.pointee.order)
    pthread_mutex_unlock(&state.pointee.orderMutex)
    wake()
    running.join()
  }

  private func run() {
    while takeOrder() {
      object._withUnsafeGuaranteedRef { $0.sleepUnannounced() }
      tell()
    }
  }

  /// Waits until the program expects to be told; false when the thread is to end.
  private func takeOrder() -> Bool {
    pthread_mutex_lock(&state.pointee.orderMutex)
    defer { pthread_mutex_unlock(&state.pointee.orderMutex) }
    while !state.pointee.isArmed && !state.pointee.isStopping {
      pthread_cond_wait(&state.pointee.order, &state.pointee.orderMutex)
    }
    state.pointee.isArmed = false
    return !state.pointee.isStopping
  }

  private var isStopping: Bool {
    pthread_mutex_lock(&state.pointee.orderMutex)
    defer { pthread_mutex_unlock(&state.pointee.orderMutex) }
    return state.pointee.isStopping
  }

  /// Wakes whoever waits for the condition. The program may close the object with its mutex held.
  private func tell() {
    while !platform_mutex_trylock(mutex) {
      if isStopping { return }
      _ = platform_poll(nil, 0, 1)
    }
    pthread_cond_broadcast(condition)
    pthread_mutex_unlock(mutex)
  }
}
