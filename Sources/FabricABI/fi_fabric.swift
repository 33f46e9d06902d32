import CFabric
import Native
import Provider

/// fi_fabric(3)
#if hasFeature(Embedded)
@_cdecl("fi_fabric@@FABRIC_1.1")
#else
@_cdecl("fi_fabric")
#endif
public func fi_fabric_1_1(
  _ attr: UnsafeMutablePointer<fi_fabric_attr>?, _ fabric: UnsafeMutablePointer<UnsafeMutablePointer<fid_fabric>?>?,
  _ context: UnsafeMutableRawPointer?
) -> Int32 {
  guard let attr else { return refuseMissing("no attributes").result }
  let version = APIVersion(rawValue: attr.pointee.api_version)
  return openFabric(attr, version: version, fabric, context)
}

#if hasFeature(Embedded)
/// fi_fabric(3) for programs linked before 1.5: their structure ends where `api_version` begins, so they are of version
/// 1.0 whatever they gave fi_getinfo.
@_cdecl("fi_fabric@FABRIC_1.0") public func fi_fabric_1_0(
  _ attr: UnsafeMutablePointer<fi_fabric_attr>?, _ fabric: UnsafeMutablePointer<UnsafeMutablePointer<fid_fabric>?>?,
  _ context: UnsafeMutableRawPointer?
) -> Int32 {
  openFabric(attr, version: APIVersion(1, 0), fabric, context)
}
#endif

/// fi_fabric(3), fi_fabric2
#if hasFeature(Embedded)
@_cdecl("fi_fabric2@@FABRIC_1.8")
#else
@_cdecl("fi_fabric2")
#endif
public func fi_fabric2_1_8(
  _ info: UnsafeMutablePointer<fi_info>?, _ fabric: UnsafeMutablePointer<UnsafeMutablePointer<fid_fabric>?>?,
  _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  guard flags == 0, let info else { return refuseMissing("no info, or flags, of which there are none").result }
  return fi_fabric_1_1(info.pointee.fabric_attr, fabric, context)
}

/// Reads no field of `attr` but the names and the object, which all versions have at the same place.
private func openFabric(
  _ attr: UnsafeMutablePointer<fi_fabric_attr>?, version: APIVersion,
  _ fabric: UnsafeMutablePointer<UnsafeMutablePointer<fid_fabric>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let attr, let fabric, let provider = attr.pointee.prov_name, let name = attr.pointee.name else {
      throw refuseMissing("no attributes, no provider's or fabric's name, or no place for the fabric")
    }
    if let library = Delegation.library(opening: provider) {
      return try openNative(attr, version: version, fabric, context, library)
    }
    let configuration = Configuration.current
    guard configuration.mode != .native,
      ProviderName(opening: provider, aliases: configuration.answersAliases) != nil
    else { throw unknownProvider(provider) }
    let object = try Fabric(name: name, apiVersion: version)
    let handle = try makeHandle(object, lfp_fabric.self) {
      $0.fid.fid = fid(fclass: Int(FI_CLASS_FABRIC), context: context, ops: &fabricBaseOps)
      $0.fid.ops = UnsafeMutablePointer(&fabricOps)
      $0.fid.api_version = version.rawValue
    }
    let opened = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_fabric.self)
    do throws(FabricError) {
      try OpenInstances.add(fabric: opened, name: object.name)
    } catch {
      destroyHandle(handle, lfp_fabric.self)
      throw error
    }
    fabric.pointee = opened
  }
}

/// The fabric is the native library's from here on: its table of functions leads to all else.
private func openNative(
  _ attr: UnsafeMutablePointer<fi_fabric_attr>, version: APIVersion,
  _ fabric: UnsafeMutablePointer<UnsafeMutablePointer<fid_fabric>?>, _ context: UnsafeMutableRawPointer?,
  _ library: NativeLibrary
) throws(FabricError) {
  var wanted = fi_fabric_attr()
  wanted.fabric = attr.pointee.fabric
  wanted.name = attr.pointee.name
  wanted.prov_name = attr.pointee.prov_name
  wanted.prov_version = attr.pointee.prov_version
  wanted.api_version = min(version, library.version).rawValue
  let code = library.calls.pointee.fi_fabric(&wanted, fabric, context)
  if code != 0 { throw FabricError(code: -code) }
}

private func refuseMissing(_ what: StaticString) -> FabricError {
  .invalidArgument.because(.fabric, what, in: "fi_fabric")
}

private func unknownProvider(_ name: CString) -> FabricError {
  Log.write(.warn, .fabric, source: .core, function: "fi_fabric") { text in
    text.append("there is no provider ")
    text.append(name)
  }
  return .noDevice
}

private func fabric_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_fabric.self).close()
    if let fid { OpenInstances.remove(UnsafeMutableRawPointer(fid)) }
    destroyHandle(fid, lfp_fabric.self)
  }
}

nonisolated(unsafe) private var fabricBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: fabric_close, bind: no_bind, control: no_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) private var fabricOps = fi_ops_fabric(
  size: MemoryLayout<fi_ops_fabric>.size, domain: fabric_domain, passive_ep: fabric_passive_ep,
  eq_open: fabric_eq_open, wait_open: fabric_wait_open, trywait: fabric_trywait, domain2: fabric_domain2)
