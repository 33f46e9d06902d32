import CPlatform

/// The monotonic clock that every timer of the library is measured on.
package enum Clock {
  /// Nanoseconds since an arbitrary start, never going back. Any thread; costs no system call where the vDSO serves it.
  ///
  /// The corresponding C function is `clock_gettime`.
  @inline(__always)
  package static func now() -> UInt64 { platform_monotonic_ns() }
}

/// Whether a moment has passed: cheaper than the clock, and as exact as a moment.
package enum Ticks {
  /// A count that only differences of mean something. Any thread of one processor; never a system call.
  @inline(__always)
  package static func now() -> UInt64 { platform_ticks() }

  /// About 20 µs.
  @inline(__always)
  package static var moment: UInt64 { platform_moment() }
}
