import CPlatform

/// The monotonic clock that every timer of the library is measured on.
package enum Clock {
  /// Nanoseconds since an arbitrary start, never going back. Any thread; costs no system call where the vDSO serves it.
  ///
  /// The corresponding C function is `clock_gettime`.
  @inline(__always)
  package static func now() -> UInt64 { platform_monotonic_ns() }
}
