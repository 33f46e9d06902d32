/// A version of the libfabric interface as FI_VERSION(major, minor) encodes it.
///
/// Man page: fi_version(3)
package struct APIVersion: Comparable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }
  package init(_ major: UInt32, _ minor: UInt32) { rawValue = major << 16 | minor }

  package var major: UInt32 { rawValue >> 16 }
  package var minor: UInt32 { rawValue & 0xffff }

  package static func < (a: APIVersion, b: APIVersion) -> Bool { a.rawValue < b.rawValue }

  /// What this library implements: the answer of fi_version().
  package static var library: APIVersion { APIVersion(2, 6) }
}
