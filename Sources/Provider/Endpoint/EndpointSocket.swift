import Datagram
import Transport

/// How endpoints get their sockets, and what the transport has to know about them.
enum EndpointSocket {
  /// A socket at `address`; for port 0 at one of the configured range, or wherever the system likes. `plain` and `shared`
  /// as in `UDPSocketOptions`.
  static func open(
    at address: SocketAddress, plain: Bool = false, shared: Bool = false
  ) throws(FabricError) -> UDPSocket {
    let configuration = Configuration.current
    var options = UDPSocketOptions()
    options.sendBufferSize = configuration.socketBuffer
    options.receiveBufferSize = configuration.socketBuffer
    options.segmentationOffload = configuration.usesGSO
    options.receiveOffload = configuration.usesGRO
    options.connects = configuration.connects
    options.splices = configuration.splices
    options.plain = plain
    options.shared = shared
    options.portable = configuration.isPortable
    options.faults = configuration.faults
    do throws(SystemError) {
      guard address.port == 0, let range = configuration.portRange else {
        return try UDPSocket.open(bind: address, options: options)
      }
      // Processes that start together should not all try the same ports.
      let count = Int(range.upperBound) - Int(range.lowerBound) + 1
      let start = Int(try Random.word() % UInt64(count))
      for attempt in 0..<count - 1 {
        let port = range.lowerBound + UInt16((start + attempt) % count)
        if let socket = try? UDPSocket.open(bind: address.with(port: port), options: options) { return socket }
      }
      let last = range.lowerBound + UInt16((start + count - 1) % count)
      return try UDPSocket.open(bind: address.with(port: last), options: options)
    } catch {
      throw FabricError(code: error.code)
    }
  }

  /// The transport's configuration for a socket.
  static func configuration(
    for socket: borrowing UDPSocket, transmitQueueSize: Int, isAutomatic: Bool
  ) throws(FabricError) -> TransportConfiguration {
    let settings = Configuration.current
    var configuration = TransportConfiguration()
    do throws(SystemError) { configuration.seed = try Random.word() } catch { throw FabricError(code: error.code) }
    configuration.transmitQueueSize = transmitQueueSize
    configuration.maximumSegments = socket.maximumSegments
    configuration.pageSize = settings.connects && settings.splices ? 4096 : 0
    if socket.receiveBufferSize > 0 { configuration.receiveBuffer = socket.receiveBufferSize }
    let headers = socket.localAddress.family == .ipv6 ? 48 : 28
    // The path decides, not the interface: to an address of this host it leads over loopback. What the first hop does
    // not carry is refused at once, unless the kernel may fragment.
    let mtu = settings.mtu > 0 ? settings.mtu : settings.isPortable ? interfaceMTU(socket.localAddress) : 0
    if mtu > 0 {
      let payload = max(mtu - headers, smallestDatagram)
      configuration.interfaceDatagram = min(payload, configuration.maximumDatagram)
      configuration.baseDatagram = min(configuration.baseDatagram, configuration.interfaceDatagram)
    }
    configuration.maximumSilence =
      settings.peerTimeout > 0
      ? UInt32(clamping: settings.peerTimeout) : isAutomatic ? automaticSilence : manualSilence
    return configuration
  }

  /// The largest IP packet of the interface with an address, or of any interface for 0.0.0.0 and ::; 0 if unknown.
  private static func interfaceMTU(_ address: SocketAddress) -> Int {
    guard let interfaces = try? InterfaceList() else { return 0 }
    var largest = 0
    for index in 0..<interfaces.count {
      let interface = interfaces[index]
      if address.isAny {
        largest = max(largest, interface.mtu)
      } else if interface.address.with(port: address.port) == address {
        return interface.mtu
      } else if address.isLoopback && interface.isLoopback {
        largest = max(largest, interface.mtu)
      }
    }
    return largest
  }

  /// Milliseconds of silence that peers are to bear: a program that drives progress by its own calls may compute for
  /// minutes in between.
  private static var automaticSilence: UInt32 { 30_000 }
  private static var manualSilence: UInt32 { 300_000 }
  /// IPv4 hosts accept packets of 576 bytes.
  private static var smallestDatagram: Int { 548 }
}
