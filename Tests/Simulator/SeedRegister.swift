import Glibc
import Synchronization

/// Which seeds run now, so that a trap or a hang can be told by its seed.
enum SeedRegister {
  static let maximumJobs = 8
  // Signal handlers read these: plain memory, each word written by one thread.
  nonisolated(unsafe) private static let running = UnsafeMutablePointer<UInt64>.allocate(capacity: maximumJobs)
  nonisolated(unsafe) private static let began = UnsafeMutablePointer<Int>.allocate(capacity: maximumJobs)
  /// Longest time that one seed may take, in seconds.
  private static let patience = 20

  /// Reports the running seeds when the process dies of a trap, and makes it die when a seed hangs.
  static func install() {
    running.initialize(repeating: 0, count: maximumJobs)
    began.initialize(repeating: 0, count: maximumJobs)
    for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE] {
      signal(number) { number in
        SeedRegister.report("\nsimulator: died of signal ", UInt64(number))
        for job in 0..<SeedRegister.maximumJobs where SeedRegister.running[job] != 0 {
          SeedRegister.report("simulator: while running seed ", SeedRegister.running[job])
        }
        signal(number, SIG_DFL)
        raise(number)
      }
    }
    signal(SIGALRM) { _ in
      let now = time(nil)
      for job in 0..<SeedRegister.maximumJobs where SeedRegister.running[job] != 0 {
        if now - SeedRegister.began[job] > SeedRegister.patience {
          SeedRegister.report("simulator: hangs in seed ", SeedRegister.running[job])
          abort()
        }
      }
      alarm(5)
    }
    alarm(5)
  }

  static func begin(job: Int, seed: UInt64) {
    began[job] = time(nil)
    running[job] = seed
  }

  static func end(job: Int) { running[job] = 0 }

  /// Writes without allocating, as a signal handler must.
  private static func report(_ text: StaticString, _ number: UInt64) {
    write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { digits in
      var position = 24
      var rest = number
      position -= 1
      digits[position] = 10
      repeat {
        position -= 1
        digits[position] = 48 + UInt8(rest % 10)
        rest /= 10
      } while rest > 0
      _ = write(STDERR_FILENO, digits.baseAddress! + position, 24 - position)
    }
  }
}
