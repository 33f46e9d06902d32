import CFabric
import Native
import Provider

/// The version of the interface that this library implements, FI_VERSION(2, 6); with FI_POLYFILL_MODE=native the native
/// library's.
///
/// Man page: fi_version(3)
@c @implementation public func fi_version() -> UInt32 {
  Delegation.everything?.pointee.fi_version() ?? APIVersion.library.rawValue
}
