import CFabric
import CPlatform
import Provider

/// What tests of objects start from: a fabric, and a domain of the loopback interface.
struct Objects {
  let fabric: Fabric
  let domain: Domain

  init(
    version: APIVersion = .library, threading: fi_threading = FI_THREAD_SAFE, memoryMode: Int = 0,
    addressFormat: Int = Int(FI_SOCKADDR_IN), addressType: fi_av_type = FI_AV_UNSPEC,
    change: (inout fi_info, inout fi_domain_attr) -> Void = { _, _ in }
  ) throws {
    fabric = try Fabric(name: "10.0.0.0/8", apiVersion: version)
    let fabric = fabric
    domain = try "lo".withCString { name throws(FabricError) in
      var attributes = fi_domain_attr()
      attributes.name = UnsafeMutablePointer(mutating: name)
      attributes.threading = threading
      attributes.progress = FI_PROGRESS_MANUAL
      attributes.mr_mode = Int32(memoryMode)
      attributes.av_type = addressType
      var info = fi_info()
      info.addr_format = UInt32(addressFormat)
      change(&info, &attributes)
      return try withAttributes(&info, &attributes) { info throws(FabricError) in try Domain(fabric, info) }
    }
  }

  func close() throws {
    try domain.close()
    try fabric.close()
  }
}

private func withAttributes(
  _ info: inout fi_info, _ attributes: inout fi_domain_attr,
  _ body: (UnsafePointer<fi_info>) throws(FabricError) -> Domain
) throws(FabricError) -> Domain {
  let copy = UnsafeMutablePointer<fi_domain_attr>.allocate(capacity: 1)
  copy.initialize(to: attributes)
  defer { copy.deallocate() }
  info.domain_attr = copy
  let whole = UnsafeMutablePointer<fi_info>.allocate(capacity: 1)
  whole.initialize(to: info)
  defer { whole.deallocate() }
  return try body(whole)
}

/// A queue for what the library reports.
func eventQueue(_ fabric: Fabric) throws(FabricError) -> EventQueue {
  let attributes = UnsafeMutablePointer<fi_eq_attr>.allocate(capacity: 1)
  attributes.initialize(to: fi_eq_attr())
  defer { attributes.deallocate() }
  return try EventQueue(fabric, attributes)
}

/// What stands in the way of reading an event.
func readCode(_ queue: EventQueue) -> Int32? {
  errorCode { () throws(FabricError) in _ = try queue.read(event: nil, into: nil, length: 0, flags: FI_PEEK) }
}

/// The error that `body` throws, or nil.
func errorCode(_ body: () throws(FabricError) -> Void) -> Int32? {
  do throws(FabricError) {
    try body()
    return nil
  } catch {
    return error.code
  }
}

/// A seeded generator (splitmix64), so that a failure can be repeated.
struct Seeded: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
