import CPlatform

/// Random bytes from the kernel, fit for session identifiers and keys.
package enum Random {
  /// Fills `count` bytes at `bytes`. Any thread. Throws where the system has no randomness to give.
  ///
  /// The corresponding C function is `getrandom`.
  package static func fill(_ bytes: UnsafeMutableRawPointer, count: Int) throws(SystemError) {
    var filled = 0
    while filled < count {
      let result = Syscall.random(bytes + filled, count - filled)
      if result < 0 { throw SystemError(result: result) }
      filled += result
    }
  }

  /// One random word.
  package static func word() throws(SystemError) -> UInt64 {
    var word: UInt64 = 0
    try fill(&word, count: 8)
    return word
  }
}
