import CFabric
import CPlatform

/// One interface of this host, with what endpoints on it share: the engine that drives them, and the memory peers may
/// access.
///
/// Everything but the constants is protected by the engine's lock.
///
/// Man page: fi_domain(3)
package final class Domain {
  package let fabric: Fabric
  package let engine: ProgressEngine
  /// The interface; zero-terminated, valid as long as the domain.
  package let name: CString
  /// As opened, FI_THREAD_UNSPEC resolved.
  package let threading: fi_threading
  package let addressType: fi_av_type
  /// FI_SOCKADDR_IN, FI_SOCKADDR_IN6, or a wider one.
  package let addressFormat: UInt32
  /// Memory registration bits in effect; the values of before 1.5, FI_MR_BASIC and FI_MR_SCALABLE, are resolved.
  package let memoryMode: UInt32
  package let capabilities: UInt64
  /// The key of endpoints that bring none of their own.
  package let key: AuthorizationKey?
  /// Keys come from the address vector (FI_AV_AUTH_KEY).
  package let hasVectorKeys: Bool
  package var regions: RegionTable
  private var children = 0
  private var eventQueue: EventQueue?

  /// Opens a domain on `fabric` as an entry of fi_getinfo describes it. Throws FI_ENODEV for a name that no interface
  /// has, FI_EINVAL for attributes that this provider never offers, FI_ENOMEM.
  package convenience init(_ fabric: Fabric, _ info: UnsafePointer<fi_info>) throws(FabricError) {
    guard let attributes = info.pointee.domain_attr, let name = attributes.pointee.name else {
      throw .invalidArgument.because(.domain, "the domain has no name", in: "fi_domain")
    }
    if if_nametoindex(name) == 0 { throw unknownInterface(name) }
    let threading = try Self.threading(attributes.pointee.threading)
    let isAutomatic = try Self.isAutomatic(attributes.pointee.progress)
    let memoryMode = try Self.memoryMode(UInt32(bitPattern: attributes.pointee.mr_mode))
    let addressType = try Self.addressType(attributes.pointee.av_type)
    guard attributes.pointee.resource_mgmt.rawValue <= FI_RM_ENABLED.rawValue else {
      throw .invalidArgument.because(.domain, "unknown resource_mgmt", in: "fi_domain")
    }
    let format = info.pointee.addr_format
    guard Self.isSocketFormat(format) else {
      throw .invalidArgument.because(.domain, "addr_format is none of the socket address formats", in: "fi_domain")
    }
    let hasVectorKeys =
      attributes.pointee.auth_key_size == Capabilities.vectorKeys && fabric.apiVersion >= APIVersion(1, 20)
    var key: AuthorizationKey?
    if !hasVectorKeys && attributes.pointee.auth_key_size != 0 && fabric.apiVersion >= APIVersion(1, 5) {
      key = AuthorizationKey(attributes.pointee.auth_key, attributes.pointee.auth_key_size)
      if key == nil {
        throw .invalidArgument.because(.domain, "no authorization key, or one beyond 64 bytes", in: "fi_domain")
      }
    }
    // Connections go on in calls for event queues, which are no part of the domain.
    let isConnected =
      info.pointee.ep_attr?.pointee.type == FI_EP_MSG && attributes.pointee.progress != FI_PROGRESS_CONTROL_UNIFIED
    let engine = ProgressEngine(
      locking: threading != FI_THREAD_DOMAIN || isAutomatic || isConnected, automatic: isAutomatic)
    guard let copy = strdup(name) else { throw .noMemory }
    self.init(
      fabric, engine, ownedName: CString(copy), threading, addressType, addressFormat: format, memoryMode: memoryMode,
      capabilities: info.pointee.caps | attributes.pointee.caps, key: key, hasVectorKeys: hasVectorKeys)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ fabric: Fabric, _ engine: ProgressEngine, ownedName: CString, _ threading: fi_threading,
    _ addressType: fi_av_type, addressFormat: UInt32, memoryMode: UInt32, capabilities: UInt64, key: AuthorizationKey?,
    hasVectorKeys: Bool
  ) {
    self.key = key
    self.hasVectorKeys = hasVectorKeys
    self.fabric = fabric
    self.engine = engine
    self.threading = threading
    self.addressType = addressType
    self.addressFormat = addressFormat
    self.memoryMode = memoryMode
    self.capabilities = capabilities
    name = ownedName
    regions = RegionTable(
      areVirtual: memoryMode & UInt32(FI_MR_VIRT_ADDR) != 0, choosesKeys: memoryMode & UInt32(FI_MR_PROV_KEY) != 0)
    fabric.addChild()
  }

  deinit { free(UnsafeMutablePointer(mutating: name)) }

  /// An object that depends on the domain was opened. The engine's lock is held.
  package func addChild() { children += 1 }

  /// An object that depends on the domain was closed. The engine's lock is held.
  package func removeChild() { children -= 1 }

  /// Sends events of asynchronous operations to `queue`: none exist yet, so this only keeps the queue open. Throws
  /// FI_EINVAL when a queue is bound already.
  package func bind(_ queue: EventQueue) throws(FabricError) {
    engine.lock()
    defer { engine.unlock() }
    if eventQueue != nil {
      throw .invalidArgument.because(.domain, "an event queue is bound already", in: "fi_domain_bind")
    }
    queue.addBinding()
    eventQueue = queue
  }

  /// Ends the domain. Throws FI_EBUSY while objects depend on it.
  package func close() throws(FabricError) {
    engine.lock()
    let busy = children != 0
    engine.unlock()
    if busy { throw .busy.because(.domain, "objects of the domain are still open", in: "fi_close") }
    engine.shutdown()
    eventQueue?.removeBinding()
    eventQueue = nil
    fabric.removeChild()
  }

  private static func threading(_ value: fi_threading) throws(FabricError) -> fi_threading {
    switch value {
    case FI_THREAD_UNSPEC: return FI_THREAD_SAFE
    case FI_THREAD_SAFE, FI_THREAD_FID, FI_THREAD_DOMAIN, FI_THREAD_COMPLETION, FI_THREAD_ENDPOINT: return value
    default: throw .invalidArgument.because(.domain, "unknown threading level", in: "fi_domain")
    }
  }

  private static func isAutomatic(_ value: fi_progress) throws(FabricError) -> Bool {
    switch value {
    case FI_PROGRESS_AUTO: return true
    case FI_PROGRESS_UNSPEC, FI_PROGRESS_MANUAL, FI_PROGRESS_CONTROL_UNIFIED: return false
    default: throw .invalidArgument.because(.domain, "unknown progress model", in: "fi_domain")
    }
  }

  private static func addressType(_ value: fi_av_type) throws(FabricError) -> fi_av_type {
    switch value {
    case FI_AV_UNSPEC, FI_AV_MAP, FI_AV_TABLE: return value
    default: throw .invalidArgument.because(.domain, "unknown av_type", in: "fi_domain")
    }
  }

  /// FI_MR_BASIC means what its bits would; FI_MR_SCALABLE is no bit at all. Neither goes together with bits.
  private static func memoryMode(_ value: UInt32) throws(FabricError) -> UInt32 {
    if value == basicMemory { return UInt32(FI_MR_VIRT_ADDR) | UInt32(FI_MR_ALLOCATED) | UInt32(FI_MR_PROV_KEY) }
    if value == scalableMemory { return 0 }
    if value & (basicMemory | scalableMemory) != 0 {
      throw .invalidArgument.because(
        .domain, "FI_MR_BASIC and FI_MR_SCALABLE go with no other mr_mode bit", in: "fi_domain")
    }
    return value
  }

  private static func isSocketFormat(_ format: UInt32) -> Bool {
    switch format {
    case UInt32(FI_FORMAT_UNSPEC), UInt32(FI_SOCKADDR), UInt32(FI_SOCKADDR_IN), UInt32(FI_SOCKADDR_IN6),
      UInt32(FI_SOCKADDR_IP):
      return true
    default: return false
    }
  }

  private static var basicMemory: UInt32 { 1 }
  private static var scalableMemory: UInt32 { 2 }
}

private func unknownInterface(_ name: CString) -> FabricError {
  Log.write(.warn, .domain, function: "fi_domain") { text in
    text.append("no network interface has the domain's name, ")
    text.append(name)
  }
  return .noDevice
}
