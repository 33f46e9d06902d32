import CFabric
import CPlatform

/// The `fi_provider` records that stand for this library in log lines and in the parameter registry.
package enum ProviderRecord {
  /// The library itself: NULL in the calls that take a provider, "core" in log lines.
  package nonisolated(unsafe) static let core = make("core", version: APIVersion.library)

  /// The UDP provider.
  package nonisolated(unsafe) static let polyfill = make("polyfill", version: Capabilities.providerVersion)

  /// `provider`, or the core's record for NULL.
  package static func normalized(_ provider: UnsafePointer<fi_provider>?) -> UnsafePointer<fi_provider> {
    provider ?? UnsafePointer(core)
  }

  // Lives as long as the process, as C code may keep pointers to it.
  private static func make(_ name: StaticString, version: APIVersion) -> UnsafeMutablePointer<fi_provider> {
    let record = UnsafeMutablePointer<fi_provider>.allocate(capacity: 1)
    record.initialize(to: fi_provider())
    record.pointee.version = version.rawValue
    record.pointee.fi_version = APIVersion.library.rawValue
    record.pointee.name = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
    return record
  }
}
