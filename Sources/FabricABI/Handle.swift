import CFabric
import CPlatform
import Provider

/// A C structure of CFabric's handles.h: what a program holds, with the Swift object behind it as last member.
///
/// The handle owns the object; closing frees both.
protocol Handle {
  associatedtype Object: AnyObject

  /// The object, unmanaged.
  var object: UnsafeMutableRawPointer! { get set }

  /// An empty handle.
  init()
}

extension lfp_fabric: Handle { typealias Object = Fabric }
extension lfp_domain: Handle { typealias Object = Domain }
extension lfp_eq: Handle { typealias Object = EventQueue }
extension lfp_cq: Handle { typealias Object = CompletionQueue }
extension lfp_cntr: Handle { typealias Object = Counter }
extension lfp_wait: Handle { typealias Object = WaitSet }
extension lfp_poll: Handle { typealias Object = PollSet }
extension lfp_av: Handle { typealias Object = AddressVector }
extension lfp_av_set: Handle { typealias Object = AddressSet }
extension lfp_mr: Handle { typealias Object = MemoryRegion }
extension lfp_ep: Handle { typealias Object = Endpoint }
extension lfp_pep: Handle { typealias Object = PassiveEndpoint }
extension lfp_profile: Handle { typealias Object = Profile }
extension lfp_mc: Handle { typealias Object = GroupMembership }
extension lfp_tx_ctx: Handle { typealias Object = TransmitContext }
extension lfp_rx_ctx: Handle { typealias Object = NamedReceiveContext }
extension lfp_srx: Handle { typealias Object = SharedReceiveContext }
extension lfp_stx: Handle { typealias Object = SharedTransmitContext }

/// Calls `body` with the object behind a program's handle, without retaining it: the handle keeps it alive.
@inline(__always)
func withObject<H: Handle, Result>(
  _ fid: UnsafeMutableRawPointer?, _: H.Type, _ body: (H.Object) -> Result
) -> Result {
  let handle = fid.unsafelyUnwrapped.assumingMemoryBound(to: H.self)
  return Unmanaged<H.Object>.fromOpaque(handle.pointee.object.unsafelyUnwrapped)._withUnsafeGuaranteedRef(body)
}

/// The object behind a program's handle, for calls that are not hot.
@inline(__always)
func object<H: Handle>(_ fid: UnsafeMutableRawPointer?, _: H.Type) -> H.Object {
  let handle = fid.unsafelyUnwrapped.assumingMemoryBound(to: H.self)
  return Unmanaged<H.Object>.fromOpaque(handle.pointee.object.unsafelyUnwrapped).takeUnretainedValue()
}

/// A handle for `object`, its C part filled in by `fill`. Throws FI_ENOMEM.
func makeHandle<H: Handle>(
  _ object: H.Object, _: H.Type, _ fill: (inout H) -> Void
) throws(FabricError) -> UnsafeMutablePointer<H> {
  guard let memory = malloc(MemoryLayout<H>.stride) else { throw .noMemory }
  let handle = memory.bindMemory(to: H.self, capacity: 1)
  handle.initialize(to: H())
  fill(&handle.pointee)
  handle.pointee.object = Unmanaged.passRetained(object).toOpaque()
  return handle
}

/// Frees a handle and lets its object go.
func destroyHandle<H: Handle>(_ fid: UnsafeMutableRawPointer?, _: H.Type) {
  guard let fid else { return }
  let handle = fid.assumingMemoryBound(to: H.self)
  Unmanaged<H.Object>.fromOpaque(handle.pointee.object.unsafelyUnwrapped).release()
  free(fid)
}

/// What a C function returns for `body`: 0, or the negative error it throws.
@inline(__always)
func status(_ body: () throws(FabricError) -> Void) -> Int32 {
  do throws(FabricError) {
    try body()
    return 0
  } catch {
    return error.result
  }
}

/// What a C function returns for `body`: its number, or the negative error it throws.
@inline(__always)
func count(_ body: () throws(FabricError) -> Int) -> Int {
  do throws(FabricError) {
    return try body()
  } catch {
    return Int(error.result)
  }
}
