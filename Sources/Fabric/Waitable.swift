import CFabric

/// A queue that threads and tasks can wait for.
protocol Waitable: AnyObject, Sendable {
  /// What the program can sleep on; nil where the provider has none.
  var waitDescriptor: Int32? { get }

  /// The network that the queue belongs to.
  var network: Fabric { get }

  /// The C object.
  var object: UnsafeMutablePointer<fid> { get }
}

extension Waitable {
  /// Holds the thread until there may be something, up to `time`.
  func block(_ time: Duration) throws(FabricError) {
    guard let waitDescriptor else { return Readiness.pause(min(time, Pause.first)) }
    guard try maySleep() else { return }
    Readiness.block(on: waitDescriptor, milliseconds: Int32(clamping: Int64(time / .milliseconds(1))) + 1)
  }

  /// Suspends the task until there may be something, or it is cancelled.
  func suspend(_ pause: inout Pause) async throws(FabricError) {
    if let waitDescriptor {
      if try maySleep() { await Readiness.wait(for: waitDescriptor, owner: self) }
    } else {
      try? await Task.sleep(for: pause.next())
    }
  }

  /// Whether the descriptor will tell of what comes next: fi_trywait(3).
  private func maySleep() throws(FabricError) -> Bool {
    var object: UnsafeMutablePointer<fid>? = object
    let result = fi_trywait(network.handle, &object, 1)
    if result == -FI_EAGAIN { return false }
    try check("fi_trywait", result)
    return true
  }

  /// The descriptor of an object that was opened with FI_WAIT_FD.
  static func descriptor(of object: UnsafeMutablePointer<fid>) -> Int32? {
    var descriptor: Int32 = -1
    let result = fi_control(object, Int32(FI_GETWAIT), &descriptor)
    return result == 0 && descriptor >= 0 ? descriptor : nil
  }
}

/// How long to leave a queue alone that has no descriptor: less and less often, while nothing comes.
struct Pause {
  private var length = first

  mutating func next() -> Duration {
    defer { length = min(length * 2, Pause.longest) }
    return length
  }

  static let first = Duration.microseconds(50)
  static let longest = Duration.milliseconds(1)
}
