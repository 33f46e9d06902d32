#if DEBUG && !hasFeature(Embedded)
import CPlatform

/// Which call of ``Syscall`` is about to be made.
package enum SyscallName: Sendable {
  case socket, bind, connect, socketOption, socketName, sendmsg, sendmmsg, recvmsg, recvmmsg, errorQueue, splice
  case read, write, poll, epollControl, epollWait, timer, random
}

/// One call about to be made: what the hook sees.
package struct SyscallRecord: Sendable {
  package let name: SyscallName
  package let descriptor: Int32
  /// Messages or bytes the call was asked for.
  package let count: Int
  /// The first message carries a control message, that is: it asks for segmentation.
  package let segmented: Bool
}

/// What becomes of a call.
package enum SyscallVerdict {
  /// Make it.
  case pass
  /// Do not make it; it fails with this errno.
  case fail(Int32)
  /// Make it for at most this many messages.
  case limit(Int)
}

/// Watches and bends the system calls of one thread, for tests of the error paths. Exists in debug builds only.
package final class SyscallHook {
  /// Every call since installation, in order.
  package private(set) var trace: [SyscallRecord] = []
  /// Every descriptor closed since installation, in order.
  package private(set) var closed: [Int32] = []
  private let decide: (SyscallRecord) -> SyscallVerdict

  package init(_ decide: @escaping (SyscallRecord) -> SyscallVerdict = { _ in .pass }) { self.decide = decide }

  /// Runs `body` with this hook around every system call that the calling thread makes.
  package func run<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    let slot = platform_syscall_hook()!
    let before = slot.pointee
    slot.pointee = Unmanaged.passUnretained(self).toOpaque()
    defer { slot.pointee = before }
    return try body()
  }

  static var current: SyscallHook? {
    platform_syscall_hook()!.pointee.map { Unmanaged<SyscallHook>.fromOpaque($0).takeUnretainedValue() }
  }

  func noteClose(_ descriptor: Int32) { closed.append(descriptor) }

  func verdict(_ record: SyscallRecord) -> SyscallVerdict {
    trace.append(record)
    return decide(record)
  }
}
#endif
