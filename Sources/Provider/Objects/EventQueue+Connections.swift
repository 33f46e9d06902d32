import Datagram

/// An engine whose ports report to an event queue, and how many of them do.
struct DrivenEngine {
  let engine: ProgressEngine
  /// What the queue's wait object watches for it; nil for nothing.
  let watched: Int32?
  var uses: Int
}

// Connections begin and end while the program only looks at its event queue, so that drives the engines behind them. An
// engine with a helper thread reports by itself; the queue then watches nothing, lest each datagram of a data transfer
// wake whoever waits for the end of a connection.
extension EventQueue {
  /// Something of the engine reports here from now on. Throws FI_ENOSYS where the program waits by itself for a wait object
  /// that nothing but the engine's descriptor could wake, and there is none; FI_ENOMEM and the like.
  package func attach(_ engine: ProgressEngine) throws(FabricError) {
    lock.lock()
    defer { lock.unlock() }
    for index in 0..<engines.count where engines[index].engine === engine {
      engines[index].uses += 1
      return
    }
    let watched = engine.isAutomatic || waitObject == nil ? nil : engine.waitDescriptor
    if let watched, let waitObject {
      if watched < 0 && waitObject.isHandedOut {
        throw .notImplemented.because(.eventQueue, "the portable path has no descriptor to wait on", in: "attach")
      }
      try waitObject.watch(watched)
    }
    engines.append(DrivenEngine(engine: engine, watched: watched, uses: 1))
  }

  /// Undoes one ``attach(_:)``.
  package func detach(_ engine: ProgressEngine) {
    lock.lock()
    defer { lock.unlock() }
    for index in 0..<engines.count where engines[index].engine === engine {
      engines[index].uses -= 1
      if engines[index].uses > 0 { return }
      if let watched = engines[index].watched { waitObject?.unwatch(watched) }
      engines.remove(at: index)
      return
    }
  }

  /// Has the engines work if no event waits.
  func driveWhenEmpty() {
    lock.lock()
    let driven = ring.count == 0 ? engines : []
    lock.unlock()
    for entry in driven { entry.engine.progressForEvents() }
  }

  /// Gets the engines ready for a sleep: until when that may last at most, nil if there is work to do first.
  func prepareEngines() -> UInt64? {
    lock.lock()
    let driven = engines
    lock.unlock()
    var limit = UInt64.max
    for entry in driven where !entry.engine.isAutomatic {
      entry.engine.lock()
      defer { entry.engine.unlock() }
      if !entry.engine.armWait() { return nil }
      // Others may poll the engine meanwhile, and with that take back what it is to wake up for.
      limit = Clock.now() + Self.longestSleep
    }
    return limit
  }

  /// Nanoseconds.
  private static var longestSleep: UInt64 { 100_000_000 }
}
