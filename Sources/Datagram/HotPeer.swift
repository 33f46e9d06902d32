#if os(Linux)
import CPlatform

/// A second socket on the same port, connected to the one peer that nearly everything goes to.
///
/// A connected socket saves the kernel the route and the address of each datagram: 0.4 to 0.5 µs of a ping of 3.3 µs. It
/// also lets large datagrams go out by reference, see ``Splice``. The peer's datagrams arrive here too, since the kernel
/// prefers the socket that names their source; all others still arrive at the main one.
///
/// Man pages: udp(7), connect(2)
struct HotPeer: ~Copyable {
  let descriptor: Int32
  let address: SocketAddress
  /// Datagrams come one by one: the route carries the largest, so that nobody cuts.
  let isWhole: Bool
  var splice: Splice?
  /// Receives in a row that did not look at the main socket.
  var turns = 0
  /// There were so many that it has its turn now.
  var isTurnOfMain = false
  /// Times that nothing was there, since the main socket last had something.
  var quietLooks: UInt32 = 0
  /// More than one datagram can be expected, so that a batch is worth asking for.
  var isBusy = false
  /// Pipes that the kernel did not serve.
  private var refusals = 0

  /// Opens the socket beside `main`, which is bound to `local`; nil when the system refuses.
  static func open(beside main: Int32, _ local: SocketAddress, to peer: SocketAddress, _ options: UDPSocketOptions)
    -> HotPeer?
  {
    let family = local.family.systemValue
    let result = Syscall.socket(family: family)
    guard result >= 0 else { return nil }
    let descriptor = Int32(result)
    guard bind(descriptor, beside: main, local, to: peer) else {
      Syscall.close(descriptor)
      return nil
    }
    _ = UDPSocket.resize(descriptor, receive: true, options.receiveBufferSize)
    _ = UDPSocket.resize(descriptor, receive: false, options.sendBufferSize)
    _ = Syscall.setPathMTUProbe(descriptor, family: family)
    _ = Syscall.setReceiveErrors(descriptor, family: family)
    let isWhole = Syscall.routeMTU(descriptor, family: family) >= wholeMTU
    if options.receiveOffload && !isWhole { _ = Syscall.setOption(descriptor, Int32(SOL_UDP), UDP_GRO, 1) }
    // What came before it was connected may be anybody's.
    var byte: UInt8 = 0
    for _ in 0..<strangers where Syscall.receive(descriptor, &byte, 1) < 0 { break }
    return HotPeer(descriptor, peer, isWhole, splices: options.splices && isWhole)
  }

  private init(_ descriptor: Int32, _ address: SocketAddress, _ isWhole: Bool, splices: Bool) {
    self.descriptor = descriptor
    self.address = address
    self.isWhole = isWhole
    splice = splices ? Splice() : nil
  }

  deinit { Syscall.close(descriptor) }

  /// Goes on with a clean pipe; without one when splicing fails again and again, since a pipe for each datagram costs more
  /// than copying it. A full socket is no failure.
  mutating func replaceSplice() {
    if splice?.isRefused == true { refusals += 1 }
    splice = nil
    if refusals < Self.mostRefusals { splice = Splice() }
  }

  /// The port is shared for this moment only, lest other processes could join.
  private static func bind(
    _ descriptor: Int32, beside main: Int32, _ local: SocketAddress, to peer: SocketAddress
  ) -> Bool {
    guard Syscall.setOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 1) >= 0,
      Syscall.setOption(main, SOL_SOCKET, SO_REUSEADDR, 1) >= 0
    else { return false }
    var storage = sockaddr_in6()
    var length = local.store(to: &storage, capacity: SocketAddress.sockaddrCapacity)
    var result = Syscall.bind(descriptor, &storage, length)
    if result >= 0 {
      length = peer.store(to: &storage, capacity: SocketAddress.sockaddrCapacity)
      result = Syscall.connect(descriptor, &storage, length)
    }
    _ = Syscall.setOption(main, SOL_SOCKET, SO_REUSEADDR, 0)
    _ = Syscall.setOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 0)
    return result >= 0
  }

  /// Route MTU from which on every datagram travels in one piece: the loopback interface's.
  @inline(__always) private static var wholeMTU: Int { 65_535 }
  /// So many may come of errors about earlier datagrams, but not many more.
  @inline(__always) private static var mostRefusals: Int { 64 }
  /// Datagrams of others that may have come in the moment before connect(2).
  @inline(__always) private static var strangers: Int { 64 }
}

/// Finds out whether one peer deserves a socket of its own.
struct HotPeerSearch {
  private var candidate = SocketAddress()
  private var streak = 0
  /// Datagrams in a row that went elsewhere while a peer had its socket.
  private var strays = 0
  var isOver = false

  /// Notes a destination; true when it has become hot.
  @inline(__always)
  mutating func note(_ destination: SocketAddress) -> Bool {
    guard destination == candidate else {
      candidate = destination
      streak = 1
      return false
    }
    streak &+= 1
    return streak == Self.hotStreak
  }

  /// Notes sends while there is a hot peer; true when it has cooled down.
  @inline(__always)
  mutating func note(hot: Int, others: Int) -> Bool {
    strays = hot > 0 ? 0 : strays &+ others
    return strays > Self.coldStreak
  }

  mutating func restart() { self = HotPeerSearch() }

  @inline(__always) private static var hotStreak: Int { 64 }
  @inline(__always) private static var coldStreak: Int { 1024 }
}
#endif
