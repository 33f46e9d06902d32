import CPlatform

/// A descriptor that any thread makes readable, to end another's ``Poller/wait(timeout:)``: an eventfd(2), or a pipe
/// where there is none.
public struct WakeDescriptor: ~Copyable {
  /// Readable while signalled. To be watched, not read.
  package let descriptor: Int32
  private let writeEnd: Int32

  package init(portable: Bool = false) throws(SystemError) {
    #if os(Linux)
    if !portable {
      let result = Syscall.eventfd()
      if result < 0 { throw SystemError(result: result) }
      descriptor = Int32(result)
      writeEnd = descriptor
      return
    }
    #endif
    var ends: (Int32, Int32) = (-1, -1)
    let result = withUnsafeMutableBytes(of: &ends) { Syscall.pipe($0.baseAddress!.assumingMemoryBound(to: Int32.self)) }
    if result < 0 { throw SystemError(result: result) }
    descriptor = ends.0
    writeEnd = ends.1
  }

  /// Makes the descriptor readable until ``drain()``. Any thread; a signal more or less makes no difference, so a full
  /// pipe or counter is no error.
  package func signal() {
    var one: UInt64 = 1
    _ = Syscall.write(writeEnd, &one, 8)
  }

  /// Takes all signals back. Call it before looking at the state that signals are about, so that none is lost.
  package func drain() {
    var bytes: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    let size = MemoryLayout.size(ofValue: bytes)
    while Syscall.read(descriptor, &bytes, size) == size {}
  }

  deinit {
    Syscall.close(descriptor)
    if writeEnd != descriptor { Syscall.close(writeEnd) }
  }
}
