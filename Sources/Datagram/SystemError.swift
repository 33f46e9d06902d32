import CPlatform

/// A system call's failure: the errno value, positive.
///
/// Man page: errno(3)
package struct SystemError: Error, Equatable {
  /// The errno value, positive.
  package let code: Int32

  package init(code: Int32) { self.code = code }

  /// The error in a kernel-style result, `-errno`.
  init(result: Int) { self.code = Int32(truncatingIfNeeded: -result) }
}
