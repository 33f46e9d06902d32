import CPlatform

/// A thread of the library itself: every signal blocked, joined before its owner goes away.
public struct Thread: ~Copyable {
  private let handle: pthread_t
  private var joined = false

  /// Starts `function(context)`. The context must live until ``join()`` has returned.
  ///
  /// The corresponding C function is `pthread_create`.
  package init(
    stackSize: Int = 0, _ function: @convention(c) (UnsafeMutableRawPointer?) -> Void, context: UnsafeMutableRawPointer?
  ) throws(SystemError) {
    var handle = pthread_t()
    let result = platform_thread_create(&handle, stackSize, function, context)
    if result != 0 { throw SystemError(result: Int(result)) }
    self.handle = handle
  }

  /// Waits until the function has returned.
  package consuming func join() {
    platform_thread_join(handle)
    joined = true
  }

  /// Names the calling thread in debuggers and top(1); at most 15 bytes.
  package static func setName(_ name: StaticString) {
    name.utf8Start.withMemoryRebound(to: CChar.self, capacity: name.utf8CodeUnitCount + 1) {
      platform_thread_set_name($0)
    }
  }

  /// Gives the processor to another thread that is ready.
  @inline(__always)
  package static func yield() { sched_yield() }

  deinit { if !joined { platform_thread_detach(handle) } }
}
