import CPlatform
import Synchronization

/// A non-blocking UDP socket that sends and receives in batches. Nothing is allocated after ``open(bind:options:)``.
///
/// On Linux it uses sendmmsg, recvmmsg, UDP_SEGMENT, UDP_GRO and the error queue; on the portable path sendmsg and
/// recvmsg alone. What the kernel refuses is done without, at once and for good. One thread at a time.
///
/// Man pages: udp(7), ip(7), ipv6(7)
public struct UDPSocket: ~Copyable {
  /// For a poller: readable when datagrams or errors wait.
  package let descriptor: Int32
  /// The bound address, with the port that the system chose where none was asked for.
  package let localAddress: SocketAddress
  /// Bytes of the kernel's receive buffer, as granted. Linux counts its own bookkeeping in, so that a buffer full of
  /// small datagrams holds much less payload.
  package let receiveBufferSize: Int
  /// Likewise for sending.
  package let sendBufferSize: Int
  /// Whether every datagram carries the DF bit, so that a path MTU can be found by probing.
  package let forbidsFragmentation: Bool
  /// Whether ``nextError()`` can ever tell something.
  package let reportsErrors: Bool
  package internal(set) var statistics = UDPSocketStatistics()
  /// Set when an error may wait in ``nextError()``; cleared there.
  package internal(set) var errorsPending = false

  /// Memory of the owner's that it uses again after each `send`. Once this is set, the bytes of all other slices must stay
  /// as they are until the peer has them: they may go out by reference.
  package var scratch = UnsafeRawBufferPointer(start: nil, count: 0)

  /// Where to put a part of the hot peer's next datagram; one call to ``receive()`` uses it up.
  package var hole: ReceiveHole?

  let portable: Bool
  /// Where nothing else tells of closed ports.
  var refusalProbes = RefusalProbes()
  /// Whether the kernel cuts sends; only ever goes from true to false.
  var segmentationOffload: Bool
  /// Whether the kernel puts received datagrams together.
  private let receiveOffload: Bool
  #if os(Linux)
  /// A connected socket for the peer that most goes to, while there is one.
  var hotPeer: UnsafeMutablePointer<HotPeer>?
  var hotPeerSearch = HotPeerSearch()
  let hotPeerOptions: UDPSocketOptions
  #endif
  /// Ties the structure to its address, so that the compiler does not copy it for calls that do not change it.
  private let pin = Atomic<UInt8>(0)
  var sending: SendQueue
  var receiving: ReceiveQueue
  /// Nil unless there is something to do.
  let faults: UnsafeMutablePointer<FaultInjector>?

  /// Opens a socket bound to `address`. An IPv6 socket is IPv6 alone (IPV6_V6ONLY). Throws what socket(2), bind(2) and
  /// fcntl(2) return; a feature that is missing is no error.
  package static func open(
    bind address: SocketAddress, options: UDPSocketOptions = UDPSocketOptions()
  ) throws(SystemError) -> UDPSocket {
    guard address.family != .none else { throw SystemError(code: EAFNOSUPPORT) }
    let result = Syscall.socket(family: address.family.systemValue)
    if result < 0 { throw SystemError(result: result) }
    let descriptor = Int32(result)
    let bound: SocketAddress
    do throws(SystemError) {
      bound = try bind(descriptor, address, shared: options.shared)
    } catch {
      Syscall.close(descriptor)
      throw error
    }
    return UDPSocket(descriptor, bound, options)
  }

  /// Most segments of one ``OutgoingDatagrams``: 64 while the kernel cuts sends, 1 otherwise, when larger ones still
  /// work but gain nothing.
  package var maximumSegments: Int { segmentationOffload ? Self.segmentLimit : 1 }

  /// Datagrams lost because the kernel's receive buffer was full; 0 where the system does not tell.
  package var kernelDrops: Int {
    let hot = hotDescriptor < 0 ? 0 : max(0, Syscall.socketDrops(hotDescriptor))
    return max(0, Syscall.socketDrops(descriptor)) + hot
  }

  /// ``statistics`` with what others count: the kernel, which a system call asks, and the fault plan.
  package var allStatistics: UDPSocketStatistics {
    var all = statistics
    all.kernelDrops = UInt64(kernelDrops)
    all.lostOnPurpose = faults?.pointee.lost ?? 0
    return all
  }

  /// Counts this socket among those that make use of what it makes use of.
  package func count(in use: inout UDPSocketUse) {
    use.sockets += 1
    if segmentationOffload { use.segmenting += 1 }
    if receiveOffload { use.merging += 1 }
    #if os(Linux)
    guard let hotPeer else { return }
    use.connected += 1
    if hotPeer.pointee.splice != nil { use.splicing += 1 }
    #endif
  }

  /// A second descriptor to poll for, which comes and goes in ``send(_:count:)``; -1 while there is none.
  @inline(__always)
  package var hotDescriptor: Int32 {
    #if os(Linux)
    return hotPeer?.pointee.descriptor ?? -1
    #else
    return -1
    #endif
  }

  private init(_ descriptor: Int32, _ bound: SocketAddress, _ options: UDPSocketOptions) {
    self.descriptor = descriptor
    localAddress = bound
    let family = bound.family.systemValue
    receiveBufferSize = Self.resize(descriptor, receive: true, options.receiveBufferSize)
    sendBufferSize = Self.resize(descriptor, receive: false, options.sendBufferSize)
    forbidsFragmentation = !options.plain && Syscall.setPathMTUProbe(descriptor, family: family) >= 0
    #if os(Linux)
    portable = options.portable
    let isSimple = options.portable || options.plain
    let features = isSimple ? Features() : Self.enableFeatures(descriptor, family, options)
    #else
    portable = true
    let features = Features()
    #endif
    segmentationOffload = features.segmentation
    receiveOffload = features.receiveOffload
    reportsErrors = features.errors
    sending = SendQueue()
    let capacity = features.receiveOffload ? max(options.receiveCapacity, 65535) : options.receiveCapacity
    receiving = ReceiveQueue(batch: options.receiveBatch, capacity: capacity)
    #if os(Linux)
    hotPeer = nil
    hotPeerOptions = options
    hotPeerSearch.isOver = isSimple || !options.connects
    #endif
    faults = options.faults.isActive ? .allocate(capacity: 1) : nil
    faults?.initialize(to: FaultInjector(options.faults, socket: FaultInjector.nextSocket()))
  }

  deinit {
    #if os(Linux)
    hotPeer?.deinitialize(count: 1)
    hotPeer?.deallocate()
    #endif
    faults?.deinitialize(count: 1)
    faults?.deallocate()
    Syscall.close(descriptor)
  }

  /// What the kernel agreed to.
  struct Features {
    var segmentation = false
    var receiveOffload = false
    var errors = false
  }

  private static func bind(
    _ descriptor: Int32, _ address: SocketAddress, shared: Bool
  ) throws(SystemError) -> SocketAddress {
    if shared {
      let result = Syscall.setOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
      if result < 0 { throw SystemError(result: result) }
    }
    if address.family == .ipv6 {
      let result = Syscall.setOption(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1)
      if result < 0 { throw SystemError(result: result) }
    }
    var storage = sockaddr_in6()
    let length = address.store(to: &storage, capacity: SocketAddress.sockaddrCapacity)
    let result = Syscall.bind(descriptor, &storage, length)
    if result < 0 { throw SystemError(result: result) }
    let named = Syscall.socketName(descriptor, &storage, capacity: SocketAddress.sockaddrCapacity)
    if named < 0 { throw SystemError(result: named) }
    guard let bound = SocketAddress(sockaddr: &storage, length: named) else { throw SystemError(code: EAFNOSUPPORT) }
    return bound
  }

  /// Asks for a buffer size and returns the one granted.
  static func resize(_ descriptor: Int32, receive: Bool, _ bytes: Int) -> Int {
    if bytes > 0 { _ = Syscall.setBufferSize(descriptor, receive: receive, bytes: Int32(clamping: bytes)) }
    return max(0, Syscall.option(descriptor, SOL_SOCKET, receive ? SO_RCVBUF : SO_SNDBUF))
  }

  /// Segments that every kernel with UDP_SEGMENT takes in one message.
  @inline(__always) static var segmentLimit: Int { 64 }
}
