import CFabric

/// Listens for peers that want to connect, for endpoints of ``Hints/EndpointType/connected``.
///
/// Man page: fi_cm(3)
public final class PassiveEndpoint: @unchecked Sendable {
  private let handle: UnsafeMutablePointer<fid_pep>

  /// Where requests are told.
  public let events: EventQueue

  /// Listens where `info` says: at the address that ``Info/discover(_:node:service:local:)`` was given with `local`, or at
  /// one of the provider's choice.
  public init(_ info: Info, events: EventQueue) throws(FabricError) {
    var handle: UnsafeMutablePointer<fid_pep>?
    try check("fi_passive_ep", fi_passive_ep(events.fabric.handle, info.pointer, &handle, nil))
    self.handle = handle!
    self.events = events
    try check("fi_pep_bind", fi_pep_bind(self.handle, events.handle.base, 0))
    try check("fi_listen", fi_listen(self.handle))
  }

  deinit { fi_close(handle.base) }

  /// Where peers connect to.
  public var address: EndpointAddress {
    get throws(FabricError) { try EndpointAddress("fi_getname") { fi_getname(handle.base, $0, $1) } }
  }

  /// Turns a peer down, and tells it `data`.
  ///
  /// - Throws: ``FabricError/Code/invalidArgument`` for a request that was answered.
  public func reject(_ request: ConnectionRequest, data: [UInt8] = []) throws(FabricError) {
    try request.answer("fi_reject")
    let result = data.withUnsafeBytes {
      fi_reject(handle, request.info.pointer.pointee.handle, $0.baseAddress, $0.count)
    }
    try check("fi_reject", result)
  }
}
