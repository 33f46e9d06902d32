import CFabric
import CPlatform
import Datagram
import Packet
import Provider
import Testing
import Transport

/// A completion as a test looks at it.
struct Outcome: Equatable {
  var context: UInt
  var flags: UInt64
  var length = 0
  var data: UInt64 = 0
  var tag: UInt64 = 0
  /// 0, or the positive error number.
  var error: Int32 = 0
  var overflow = 0
}

/// How a node is opened.
struct NodeOptions {
  var progress: fi_progress = FI_PROGRESS_MANUAL
  var threading: fi_threading = FI_THREAD_SAFE
  var queueSize = 64
  var completions = 64
  var flags: UInt64 = 0
  var bindFlags: UInt64 = 0
  var capabilities =
    FI_MSG | FI_TAGGED | FI_RMA | FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ
    | FI_REMOTE_WRITE | FI_SOURCE | FI_DIRECTED_RECV | FI_LOCAL_COMM | FI_REMOTE_COMM
}

/// An enabled endpoint at 127.0.0.1 with a domain of its own, and one completion queue for everything.
final class Node {
  let fabric: Fabric
  let domain: Domain
  let queue: CompletionQueue
  let addresses: AddressVector
  let endpoint: Endpoint
  private var isClosed = false

  init(_ options: NodeOptions = NodeOptions(), enable: Bool = true) throws {
    fabric = try Fabric(name: "127.0.0.0/8", apiVersion: .library)
    let info = NodeInfo(options)
    defer { info.free() }
    domain = try Domain(fabric, info.pointer)
    var attributes = fi_cq_attr()
    attributes.format = FI_CQ_FORMAT_TAGGED
    attributes.size = options.completions
    queue = try CompletionQueue(domain, &attributes)
    var vector = fi_av_attr()
    vector.type = FI_AV_TABLE
    addresses = try AddressVector(domain, &vector)
    endpoint = try Endpoint(domain, info.pointer)
    guard enable else { return }
    try endpoint.bind(queue, flags: FI_TRANSMIT | FI_RECV | options.bindFlags)
    try endpoint.bind(addresses)
    try endpoint.enable()
  }

  /// The data path. The endpoint keeps the port alive.
  var port: Port { endpoint.portReference!.takeUnretainedValue() }
  var sender: Sender {
    let options = endpoint.options
    return Sender(
      port: endpoint.portReference!, number: 0, flags: options.transmitFlags,
      messageFlags: options.messageTransmitFlags)
  }
  var receiver: ReceiveContext { endpoint.receiver!.takeUnretainedValue() }
  var receiveFlags: UInt64 { endpoint.options.receiveFlags | endpoint.options.messageReceiveFlags }

  /// The number that `peer` has here.
  func insert(_ peer: Node) throws -> UInt64 {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    return try addresses.insert(peer.endpoint.name)
  }

  func poll() -> [Outcome] {
    var entries = [fi_cq_tagged_entry](repeating: fi_cq_tagged_entry(), count: 16)
    let count = queue.read(into: &entries, count: 16, sources: nil)
    if count == -Int(FI_EAVAIL) {
      var entry = fi_cq_err_entry()
      #expect(queue.readError(into: &entry) == 1)
      return [
        Outcome(
          context: UInt(bitPattern: entry.op_context), flags: entry.flags, length: entry.len, data: entry.data,
          tag: entry.tag, error: entry.err, overflow: entry.olen)
      ]
    }
    return entries.prefix(max(count, 0)).map {
      Outcome(
        context: UInt(bitPattern: $0.op_context), flags: $0.flags, length: $0.len, data: $0.data, tag: $0.tag)
    }
  }

  func close() throws {
    guard !isClosed else { return }
    isClosed = true
    endpoint.close()
    try queue.close()
    try addresses.close()
    try domain.close()
    try fabric.close()
  }

  // MARK: Operations

  func send(
    _ bytes: UnsafeRawBufferPointer, to peer: UInt64, tag: UInt64? = nil, data: UInt64? = nil, context: UInt = 1,
    flags: UInt64? = nil
  ) -> Int {
    var slice = Slice(base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), count: bytes.count)
    return sender.send(
      Pieces(&slice, 1), to: peer, kind: tag == nil ? FI_MSG : FI_TAGGED, tag: tag ?? 0, data: data ?? 0,
      context: context, flags: (flags ?? sender.flags) | (data == nil ? 0 : FI_REMOTE_CQ_DATA))
  }

  func receive(
    _ bytes: UnsafeMutableRawBufferPointer, from peer: UInt64 = unspecifiedAddress, tag: UInt64? = nil,
    ignore: UInt64 = 0, context: UInt = 2
  ) -> Int {
    var slice = Slice(base: bytes.baseAddress, count: bytes.count)
    return receiver.receive(
      Pieces(&slice, 1), from: peer, kind: tag == nil ? FI_MSG : FI_TAGGED, tag: tag ?? 0, ignore: ignore,
      context: context, flags: receiveFlags)
  }

  func access(
    _ direction: OperationKind, _ bytes: UnsafeMutableRawBufferPointer, at address: UInt64, key: UInt64,
    of peer: UInt64, data: UInt64? = nil, context: UInt = 3
  ) -> Int {
    var slice = Slice(base: bytes.baseAddress, count: bytes.count)
    var segment = RemoteSegment(address: address, length: UInt64(bytes.count), key: key)
    return sender.access(
      direction, Pieces(&slice, 1), at: &segment, segmentCount: 1, of: peer, data: data ?? 0, context: context,
      flags: sender.flags | (data == nil ? 0 : FI_REMOTE_CQ_DATA))
  }

  func register(
    _ bytes: UnsafeMutableRawBufferPointer, key: UInt64, access: UInt64 = FI_REMOTE_READ | FI_REMOTE_WRITE
  ) throws -> MemoryRegion {
    var pieces = RegionPieces()
    pieces.append(Slice(base: bytes.baseAddress, count: bytes.count))
    return try MemoryRegion(domain, pieces, access: access, requestedKey: key)
  }
}

/// Polls all nodes until `done`; false when it does not come within ten seconds.
func progress(_ nodes: [Node], until done: () -> Bool) -> Bool {
  let deadline = Clock.now() + 10_000_000_000
  while Clock.now() < deadline {
    for node in nodes { _ = node.queue.read(into: nil, count: 0, sources: nil) }
    if done() { return true }
  }
  return false
}

/// Collects `count` completions of `node`, polling `others` meanwhile.
func completions(_ count: Int, of node: Node, with others: [Node]) -> [Outcome] {
  var found: [Outcome] = []
  _ = progress(others) {
    found += node.poll()
    return found.count >= count
  }
  return found
}

/// Memory of a test, filled with a pattern.
final class Memory {
  let bytes: UnsafeMutableRawBufferPointer
  init(_ count: Int, seed: UInt8? = nil) {
    bytes = .allocate(byteCount: max(count, 1), alignment: 64)
    for index in 0..<count { bytes[index] = seed.map { UInt8(truncatingIfNeeded: index &* 31) &+ $0 } ?? 0 }
    self.count = count
  }
  deinit { bytes.deallocate() }
  let count: Int
  var whole: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(rebasing: bytes[0..<count]) }
  var source: UnsafeRawBufferPointer { UnsafeRawBufferPointer(whole) }
  func isEqual(_ other: Memory) -> Bool {
    count == other.count && memcmp(bytes.baseAddress!, other.bytes.baseAddress!, count) == 0
  }
}

/// An fi_info as fi_getinfo answers it for the loopback interface.
private struct NodeInfo {
  let pointer: UnsafeMutablePointer<fi_info>

  init(_ options: NodeOptions) {
    pointer = make(fi_info())
    let transmit = make(fi_tx_attr())
    transmit.pointee.size = options.queueSize
    transmit.pointee.inject_size = Capabilities.injectSize
    transmit.pointee.op_flags = options.flags
    let receive = make(fi_rx_attr())
    receive.pointee.size = options.queueSize
    let endpoint = make(fi_ep_attr())
    endpoint.pointee.type = FI_EP_RDM
    let domain = make(fi_domain_attr())
    domain.pointee.name = strdup("lo")
    domain.pointee.threading = options.threading
    domain.pointee.progress = options.progress
    let address = UnsafeMutableRawPointer.allocate(byteCount: SocketAddress.sockaddrCapacity, alignment: 8)
    let length = SocketAddress.loopback(.ipv4, port: 0).store(to: address, capacity: SocketAddress.sockaddrCapacity)
    pointer.pointee.caps = options.capabilities
    pointer.pointee.addr_format = UInt32(FI_SOCKADDR_IN)
    pointer.pointee.src_addr = address
    pointer.pointee.src_addrlen = length
    pointer.pointee.tx_attr = transmit
    pointer.pointee.rx_attr = receive
    pointer.pointee.ep_attr = endpoint
    pointer.pointee.domain_attr = domain
  }

  func free() {
    CPlatform.free(pointer.pointee.domain_attr.pointee.name)
    pointer.pointee.src_addr.deallocate()
    pointer.pointee.tx_attr.deallocate()
    pointer.pointee.rx_attr.deallocate()
    pointer.pointee.ep_attr.deallocate()
    pointer.pointee.domain_attr.deallocate()
    pointer.deallocate()
  }
}

private func make<Value>(_ value: Value) -> UnsafeMutablePointer<Value> {
  let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
  pointer.initialize(to: value)
  return pointer
}
