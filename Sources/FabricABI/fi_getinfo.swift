import CFabric
import Native
import Provider

// fi_getinfo, fi_dupinfo and fi_freeinfo, for every symbol version that structures grew with. Whatever the version,
// results have the newest layout: older programs look at the beginning only. Versions are the shared library's; a
// program that contains this module has the newest, by its plain name.
//
// Man page: fi_getinfo(3)

private typealias Info = UnsafeMutablePointer<fi_info>
private typealias Hints = UnsafePointer<fi_info>

// MARK: fi_getinfo

@inline(never)
private func getInfo(
  _ version: UInt32, _ node: CString?, _ service: CString?, _ flags: UInt64, _ hints: Hints?,
  _ result: UnsafeMutablePointer<Info?>?
) -> Int32 {
  guard let result else {
    Log.warn(.core, "fi_getinfo has nowhere to put its result", source: .core)
    return FabricError.invalidArgument.result
  }
  result.pointee = nil
  do {
    result.pointee = try Delegation.getInfo(
      version: APIVersion(rawValue: version), node: node, service: service, flags: flags, hints: hints)
    return FI_SUCCESS
  } catch {
    return error.result
  }
}

/// The entries for a request; for programs linked with version 1.10 or compiled now.
#if hasFeature(Embedded)
@_cdecl("fi_getinfo@@FABRIC_1.10")
#else
@_cdecl("fi_getinfo")
#endif
public func fi_getinfo_1_10(
  _ version: UInt32, _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ flags: UInt64,
  _ hints: UnsafePointer<fi_info>?, _ info: UnsafeMutablePointer<UnsafeMutablePointer<fi_info>?>?
) -> Int32 {
  getInfo(version, node, service, flags, hints, info)
}

#if hasFeature(Embedded)
/// The entries for a request; for programs linked with version 1.9.
@_cdecl("fi_getinfo@FABRIC_1.9") public func fi_getinfo_1_9(
  _ version: UInt32, _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ flags: UInt64,
  _ hints: UnsafePointer<fi_info>?, _ info: UnsafeMutablePointer<UnsafeMutablePointer<fi_info>?>?
) -> Int32 {
  StructureSizes.version1_9.widen(hints) { getInfo(version, node, service, flags, $0, info) }
}

/// The entries for a request; for programs linked with version 1.8.
@_cdecl("fi_getinfo@FABRIC_1.8") public func fi_getinfo_1_8(
  _ version: UInt32, _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ flags: UInt64,
  _ hints: UnsafePointer<fi_info>?, _ info: UnsafeMutablePointer<UnsafeMutablePointer<fi_info>?>?
) -> Int32 {
  StructureSizes.version1_8.widen(hints) { getInfo(version, node, service, flags, $0, info) }
}

/// The entries for a request; for programs linked with version 1.7.
@_cdecl("fi_getinfo@FABRIC_1.7") public func fi_getinfo_1_7(
  _ version: UInt32, _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ flags: UInt64,
  _ hints: UnsafePointer<fi_info>?, _ info: UnsafeMutablePointer<UnsafeMutablePointer<fi_info>?>?
) -> Int32 {
  StructureSizes.version1_7.widen(hints) { getInfo(version, node, service, flags, $0, info) }
}

/// The entries for a request; for programs linked with version 1.3.
@_cdecl("fi_getinfo@FABRIC_1.3") public func fi_getinfo_1_3(
  _ version: UInt32, _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ flags: UInt64,
  _ hints: UnsafePointer<fi_info>?, _ info: UnsafeMutablePointer<UnsafeMutablePointer<fi_info>?>?
) -> Int32 {
  StructureSizes.version1_3.widen(hints) { getInfo(version, node, service, flags, $0, info) }
}

/// The entries for a request; for programs linked with version 1.2.
@_cdecl("fi_getinfo@FABRIC_1.2") public func fi_getinfo_1_2(
  _ version: UInt32, _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ flags: UInt64,
  _ hints: UnsafePointer<fi_info>?, _ info: UnsafeMutablePointer<UnsafeMutablePointer<fi_info>?>?
) -> Int32 {
  StructureSizes.version1_2.widen(hints) { getInfo(version, node, service, flags, $0, info) }
}

/// The entries for a request; for programs linked with version 1.1.
@_cdecl("fi_getinfo@FABRIC_1.1") public func fi_getinfo_1_1(
  _ version: UInt32, _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ flags: UInt64,
  _ hints: UnsafePointer<fi_info>?, _ info: UnsafeMutablePointer<UnsafeMutablePointer<fi_info>?>?
) -> Int32 {
  StructureSizes.version1_1.widen(hints) { getInfo(version, node, service, flags, $0, info) }
}

/// The entries for a request; for programs linked with version 1.0.
@_cdecl("fi_getinfo@FABRIC_1.0") public func fi_getinfo_1_0(
  _ version: UInt32, _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ flags: UInt64,
  _ hints: UnsafePointer<fi_info>?, _ info: UnsafeMutablePointer<UnsafeMutablePointer<fi_info>?>?
) -> Int32 {
  StructureSizes.version1_0.widen(hints) { getInfo(version, node, service, flags, $0, info) }
}
#endif

// MARK: fi_dupinfo

/// A copy of one structure; for nil, as fi_allocinfo asks, an empty one with all its attributes.
@inline(never)
private func duplicate(_ info: Hints?) -> Info? {
  guard let info else { return try? InfoMemory.allocate() }
  if let library = Delegation.library(laidOut: info) { return library.copy(of: info) }
  return try? InfoMemory.duplicate(info)
}

/// A copy of a structure; for programs linked with version 1.10 or compiled now.
#if hasFeature(Embedded)
@_cdecl("fi_dupinfo@@FABRIC_1.10")
#else
@_cdecl("fi_dupinfo")
#endif
public func fi_dupinfo_1_10(
  _ info: UnsafePointer<fi_info>?
) -> UnsafeMutablePointer<fi_info>? {
  duplicate(info)
}

#if hasFeature(Embedded)
/// A copy of a structure; for programs linked with version 1.9.
@_cdecl("fi_dupinfo@FABRIC_1.9") public func fi_dupinfo_1_9(
  _ info: UnsafePointer<fi_info>?
) -> UnsafeMutablePointer<fi_info>? {
  StructureSizes.version1_9.widen(info) { duplicate($0) }
}

/// A copy of a structure; for programs linked with version 1.8.
@_cdecl("fi_dupinfo@FABRIC_1.8") public func fi_dupinfo_1_8(
  _ info: UnsafePointer<fi_info>?
) -> UnsafeMutablePointer<fi_info>? {
  StructureSizes.version1_8.widen(info) { duplicate($0) }
}

/// A copy of a structure; for programs linked with version 1.7.
@_cdecl("fi_dupinfo@FABRIC_1.7") public func fi_dupinfo_1_7(
  _ info: UnsafePointer<fi_info>?
) -> UnsafeMutablePointer<fi_info>? {
  StructureSizes.version1_7.widen(info) { duplicate($0) }
}

/// A copy of a structure; for programs linked with version 1.3.
@_cdecl("fi_dupinfo@FABRIC_1.3") public func fi_dupinfo_1_3(
  _ info: UnsafePointer<fi_info>?
) -> UnsafeMutablePointer<fi_info>? {
  StructureSizes.version1_3.widen(info) { duplicate($0) }
}

/// A copy of a structure; for programs linked with version 1.2.
@_cdecl("fi_dupinfo@FABRIC_1.2") public func fi_dupinfo_1_2(
  _ info: UnsafePointer<fi_info>?
) -> UnsafeMutablePointer<fi_info>? {
  StructureSizes.version1_2.widen(info) { duplicate($0) }
}

/// A copy of a structure; for programs linked with version 1.1.
@_cdecl("fi_dupinfo@FABRIC_1.1") public func fi_dupinfo_1_1(
  _ info: UnsafePointer<fi_info>?
) -> UnsafeMutablePointer<fi_info>? {
  StructureSizes.version1_1.widen(info) { duplicate($0) }
}

/// A copy of a structure; for programs linked with version 1.0.
@_cdecl("fi_dupinfo@FABRIC_1.0") public func fi_dupinfo_1_0(
  _ info: UnsafePointer<fi_info>?
) -> UnsafeMutablePointer<fi_info>? {
  StructureSizes.version1_0.widen(info) { duplicate($0) }
}
#endif

// MARK: fi_freeinfo

// All structures that programs hold came from this library, in its layout; but for those that come with a connection
// request of a native endpoint, of which nothing is read here that any native library lacks.

/// Gives back a list of structures; for programs linked with version 1.10 or compiled now.
#if hasFeature(Embedded)
@_cdecl("fi_freeinfo@@FABRIC_1.10")
#else
@_cdecl("fi_freeinfo")
#endif
public func fi_freeinfo_1_10(_ info: UnsafeMutablePointer<fi_info>?) {
  InfoMemory.free(info)
}

#if hasFeature(Embedded)
/// Gives back a list of structures; for programs linked with version 1.9.
@_cdecl("fi_freeinfo@FABRIC_1.9") public func fi_freeinfo_1_9(_ info: UnsafeMutablePointer<fi_info>?) {
  InfoMemory.free(info)
}

/// Gives back a list of structures; for programs linked with version 1.8.
@_cdecl("fi_freeinfo@FABRIC_1.8") public func fi_freeinfo_1_8(_ info: UnsafeMutablePointer<fi_info>?) {
  InfoMemory.free(info)
}

/// Gives back a list of structures; for programs linked with version 1.7.
@_cdecl("fi_freeinfo@FABRIC_1.7") public func fi_freeinfo_1_7(_ info: UnsafeMutablePointer<fi_info>?) {
  InfoMemory.free(info)
}

/// Gives back a list of structures; for programs linked with version 1.3.
@_cdecl("fi_freeinfo@FABRIC_1.3") public func fi_freeinfo_1_3(_ info: UnsafeMutablePointer<fi_info>?) {
  InfoMemory.free(info)
}

/// Gives back a list of structures; for programs linked with version 1.2.
@_cdecl("fi_freeinfo@FABRIC_1.2") public func fi_freeinfo_1_2(_ info: UnsafeMutablePointer<fi_info>?) {
  InfoMemory.free(info)
}

/// Gives back a list of structures; for programs linked with version 1.1.
@_cdecl("fi_freeinfo@FABRIC_1.1") public func fi_freeinfo_1_1(_ info: UnsafeMutablePointer<fi_info>?) {
  InfoMemory.free(info)
}

/// Gives back a list of structures; for programs linked with version 1.0.
@_cdecl("fi_freeinfo@FABRIC_1.0") public func fi_freeinfo_1_0(_ info: UnsafeMutablePointer<fi_info>?) {
  InfoMemory.free(info)
}
#endif
