import CFabric
import Provider

// This library as a provider of another libfabric, its host: what lies in FI_PROVIDER_PATH under a name that ends in
// -fi.so is loaded, and asked for its provider.
//
// Man pages: fi_provider(3), fi_provider(7)

/// The provider for a host; nil where the library does not serve as one, which hosts take for none.
@c @implementation public func lfp_prov_ini(_ caller: UnsafeRawPointer!) -> UnsafeMutablePointer<fi_provider>! {
  guard let caller, ProviderHost.adopt(caller: caller) else { return nil }
  ProviderRecord.polyfill.pointee.getinfo = provider_getinfo
  ProviderRecord.polyfill.pointee.fabric = provider_fabric
  ProviderRecord.polyfill.pointee.cleanup = { ProviderHost.leave() }
  return ProviderRecord.polyfill
}

/// Entries for a request, for the host to own, to name, and to give back with its own fi_freeinfo. Hints are as long as
/// the host's structures are; flags that fi_getinfo(3) does not know are between the host and its own providers.
///
/// One of them is heeded: that a utility provider asks, for something to layer over. It would only add a protocol to one
/// that does as much, and programs that ask for this provider would be offered the two first.
private func provider_getinfo(
  _ version: UInt32, _ node: CString?, _ service: CString?, _ flags: UInt64, _ hints: UnsafePointer<fi_info>?,
  _ result: UnsafeMutablePointer<UnsafeMutablePointer<fi_info>?>?
) -> Int32 {
  guard let result, let host = ProviderHost.current else { return FabricError.invalidArgument.result }
  if flags & forLayering != 0 { return FabricError.noData.result }
  return host.sizes.widen(hints) { hints in
    status { () throws(FabricError) in
      let list = try Discovery.getInfo(
        version: APIVersion(rawValue: version), node: node, service: service,
        flags: flags & (FI_SOURCE | FI_NUMERICHOST), hints: hints)
      InfoMemory.removeProviderNames(list)
      result.pointee = list
    }
  }
}

/// Upstream's internal flag of requests for core providers.
private var forLayering: UInt64 { 1 << 59 }

private func provider_fabric(
  _ attributes: UnsafeMutablePointer<fi_fabric_attr>?,
  _ fabric: UnsafeMutablePointer<UnsafeMutablePointer<fid_fabric>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  fi_fabric_1_1(attributes, fabric, context)
}
