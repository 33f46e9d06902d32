import CFabric
import Provider

/// The version of the interface that this library implements, FI_VERSION(2, 6).
///
/// Man page: fi_version(3)
@c @implementation public func fi_version() -> UInt32 { APIVersion.library.rawValue }
