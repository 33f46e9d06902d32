import Datagram

/// What a domain's sleepers sleep on: its sockets, a timer and a wake descriptor.
final class Waiter {
  private var poller: Poller
  private let wake: WakeDescriptor
  #if os(Linux)
  private var timer: TimerDescriptor?
  #endif

  convenience init() throws(SystemError) {
    let isPortable = Configuration.current.isPortable
    var poller = try Poller(portable: isPortable)
    let wake = try WakeDescriptor(portable: isPortable)
    try poller.add(wake.descriptor)
    #if os(Linux)
    var timer: TimerDescriptor?
    if !isPortable {
      let made = try TimerDescriptor()
      try poller.add(made.descriptor)
      timer = consume made
    }
    self.init(poller, wake, timer)
    #else
    self.init(poller, wake)
    #endif
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  #if os(Linux)
  private init(_ poller: consuming Poller, _ wake: consuming WakeDescriptor, _ timer: consuming TimerDescriptor?) {
    self.poller = poller
    self.wake = wake
    self.timer = consume timer
  }
  #else
  private init(_ poller: consuming Poller, _ wake: consuming WakeDescriptor) {
    self.poller = poller
    self.wake = wake
  }
  #endif

  /// For a program's own poll(2); -1 on the portable path.
  var descriptor: Int32 { poller.descriptor }

  func add(_ watched: Int32) throws(SystemError) { try poller.add(watched) }

  /// Removing what is not there does no harm.
  func remove(_ watched: Int32) { do throws(SystemError) { try poller.remove(watched) } catch {} }

  /// At most `timeout` nanoseconds.
  func sleep(_ timeout: UInt64) { _ = poller.wait(timeout: timeout) }

  func signal() { wake.signal() }
  func drain() { wake.drain() }

  /// Makes the descriptor readable from `deadline` on; `UInt64.max` turns that off.
  func setTimer(_ deadline: UInt64) {
    #if os(Linux)
    if deadline == .max { timer?.disarm() } else { timer?.arm(at: deadline) }
    #endif
  }
}
