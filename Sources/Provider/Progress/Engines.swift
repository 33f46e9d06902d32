import Datagram

/// The engines of this process, and what those have carried that are gone: for who asks after all of it.
///
/// Any thread. Its lock is taken before an engine's, never while one is held.
package enum Engines {
  /// Includes an engine from now on, until `remove`.
  static func add(_ engine: ProgressEngine) { lock.withLock { all.append(.passUnretained(engine)) } }

  /// Leaves an engine out whose ports, all gone, have carried `traffic`; nothing happens if it was left out before.
  static func remove(_ engine: UnsafeMutableRawPointer, _ traffic: Traffic) {
    lock.lock()
    defer { lock.unlock() }
    for index in 0..<all.count where all[index].toOpaque() == engine {
      all.swapAt(index, all.count - 1)
      all.removeLast()
      bygone += traffic
      return
    }
  }

  /// How the process is doing. Takes the lock of each engine in turn.
  package static var status: ProfileValues {
    lock.lock()
    defer { lock.unlock() }
    var values = ProfileValues()
    values.traffic = bygone
    for engine in all {
      engine._withUnsafeGuaranteedRef {
        $0.lock()
        $0.add(to: &values)
        $0.unlock()
      }
    }
    return values
  }

  private static let lock = Lock()
  private nonisolated(unsafe) static var all: [Unmanaged<ProgressEngine>] = []
  private nonisolated(unsafe) static var bygone = Traffic()
}
