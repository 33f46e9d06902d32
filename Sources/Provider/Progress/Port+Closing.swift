// The end of a port's work.
extension Port {
  /// Pumps until all peers have what is theirs: long for operations of the program, briefly for the last
  /// acknowledgements and farewells, since a peer that does not call the library answers nothing. The engine's lock is
  /// held, and released while this waits.
  func linger() {
    startClosing()
    linger(forAtMost: Self.longLinger) { isDrained || isIdle }
    if isIdle { linger(forAtMost: binding.addresses == nil ? Self.lastLinger : Self.briefLinger) { isDrained } }
  }

  /// Nanoseconds.
  static var longLinger: UInt64 { 1_000_000_000 }
  private static var briefLinger: UInt64 { 20_000_000 }
  /// For the one peer of a connection, whose program waits for nothing else to learn of its end: time to send it again.
  private static var lastLinger: UInt64 { 100_000_000 }
}
