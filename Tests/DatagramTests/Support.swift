import CPlatform
import Testing

@testable import Datagram

/// Which of the two ways through the kernel a test takes, in which address family.
struct Path: Sendable, CustomTestStringConvertible {
  let portable: Bool
  let family: AddressFamily

  var testDescription: String { "\(portable ? "portable" : "linux"), \(family)" }

  static let all = [
    Path(portable: false, family: .ipv4), Path(portable: false, family: .ipv6),
    Path(portable: true, family: .ipv4), Path(portable: true, family: .ipv6),
  ]
  static let linux = all.filter { !$0.portable }
  static let portable = all.filter { $0.portable }

  func options(_ change: (inout UDPSocketOptions) -> Void = { _ in }) -> UDPSocketOptions {
    var options = UDPSocketOptions()
    options.portable = portable
    change(&options)
    return options
  }
}

/// A socket on loopback, and what tests do with one.
final class Endpoint {
  var socket: UDPSocket

  init(_ path: Path, _ change: (inout UDPSocketOptions) -> Void = { _ in }) throws {
    socket = try UDPSocket.open(bind: .loopback(path.family, port: 0), options: path.options(change))
  }

  // A noncopyable value cannot stand in #expect, what it says can.
  var address: SocketAddress { socket.localAddress }
  var descriptor: Int32 { socket.descriptor }
  var statistics: UDPSocketStatistics { socket.statistics }
  var maximumSegments: Int { socket.maximumSegments }
  var receiveBufferSize: Int { socket.receiveBufferSize }
  var kernelDrops: Int { socket.kernelDrops }
  var reportsErrors: Bool { socket.reportsErrors }
  var forbidsFragmentation: Bool { socket.forbidsFragmentation }
  var errorsPending: Bool { socket.errorsPending }
  var nextDelivery: UInt64 { socket.nextDelivery }
  func receive() -> Int { socket.hasFaults ? socket.receiveThroughFaults(now: Clock.now()) : socket.receive() }
  func nextError() -> PeerError? { socket.nextError() }
  var asksWhoIsSilent: Bool { socket.asksWhoIsSilent }
  func isRefused(_ destination: SocketAddress) -> Bool { socket.isRefused(destination) }

  /// One entry made of slices of `bytes` cut at `cuts`.
  func send(
    _ bytes: Payload, to destination: SocketAddress, segmentSize: Int = 0, cuts: [Int] = [], firstSegment: Int = 0
  ) -> SendOutcome {
    send([bytes], to: destination, segmentSize: segmentSize, cuts: cuts, firstSegment: firstSegment)
  }

  /// One entry for each element, all to one destination.
  func send(
    _ entries: [Payload], to destination: SocketAddress, segmentSize: Int = 0, cuts: [Int] = [], firstSegment: Int = 0
  ) -> SendOutcome {
    send(entries.map { ($0, destination) }, segmentSize: segmentSize, cuts: cuts, firstSegment: firstSegment)
  }

  func send(
    _ entries: [(bytes: Payload, destination: SocketAddress)], segmentSize: Int = 0, cuts: [Int] = [],
    firstSegment: Int = 0
  ) -> SendOutcome {
    var owned: [UnsafeMutableRawBufferPointer] = []
    var slices: [UnsafeMutableBufferPointer<iovec>] = []
    defer {
      owned.forEach { $0.deallocate() }
      slices.forEach { $0.deallocate() }
    }
    var batch: [OutgoingDatagrams] = []
    for (bytes, destination) in entries {
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 1)
      copy.copyBytes(from: bytes.content)
      owned.append(copy)
      let borders = [0] + cuts.filter { $0 < bytes.count } + [bytes.count]
      let list = UnsafeMutableBufferPointer<iovec>.allocate(capacity: borders.count - 1)
      for index in 0..<list.count {
        let slice = iovec(iov_base: copy.baseAddress! + borders[index], iov_len: borders[index + 1] - borders[index])
        list.initializeElement(at: index, to: slice)
      }
      slices.append(list)
      var entry = OutgoingDatagrams(
        destination: destination, slices: list.baseAddress!, sliceCount: list.count, segmentSize: segmentSize,
        totalLength: bytes.count)
      if batch.isEmpty { entry.firstSegment = firstSegment }
      batch.append(entry)
    }
    return socket.send(batch, count: batch.count)
  }

  /// Everything that arrives until `count` datagrams have, or nothing has for `patience` milliseconds.
  func collect(_ count: Int, patience: Int32 = 2000) -> [(bytes: Payload, source: SocketAddress)] {
    var found: [(bytes: Payload, source: SocketAddress)] = []
    while found.count < count {
      let buffers = receive()
      if buffers == 0 {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let now = Clock.now()
        let isExpecting = socket.nextDelivery != .max
        let time = isExpecting ? Int32((max(socket.nextDelivery, now) - now + 999_999) / 1_000_000) : patience
        if poll(&entry, 1, time) == 0 && !isExpecting { break }
        continue
      }
      for index in 0..<buffers {
        let datagrams = socket.datagram(index)
        let bytes = UnsafeRawBufferPointer(start: datagrams.base, count: datagrams.length)
        var start = 0
        repeat {
          let end = min(start + datagrams.segmentSize, datagrams.length)
          found.append((Payload(content: Array(bytes[start..<end])), datagrams.source))
          start = end
        } while start < datagrams.length
      }
    }
    return found
  }

  /// All errors that wait, after at most two seconds for the first.
  func errors() -> [PeerError] {
    var entry = pollfd(fd: descriptor, events: 0, revents: 0)
    _ = poll(&entry, 1, 2000)
    var errors: [PeerError] = []
    while let error = socket.nextError() { errors.append(error) }
    return errors
  }
}

/// The bytes of a datagram, in a failure's message shown by their length and a checksum.
struct Payload: Equatable, CustomDebugStringConvertible, CustomStringConvertible, ExpressibleByArrayLiteral {
  var content: [UInt8]

  init(content: [UInt8]) { self.content = content }
  init(arrayLiteral content: UInt8...) { self.content = content }

  var count: Int { content.count }
  var debugDescription: String { description }
  var description: String { "\(count) bytes, sum \(content.reduce(0) { ($0 &* 31) ^ UInt32($1) })" }
}

/// Bytes that differ from position to position and from seed to seed.
func pattern(_ count: Int, seed: UInt64 = 1) -> Payload {
  var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
  return Payload(
    content: (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 56)
    })
}

/// `bytes` in pieces of `size`, the last as long as it comes out.
func split(_ bytes: Payload, every size: Int) -> [Payload] {
  stride(from: 0, to: bytes.count, by: size).map {
    Payload(content: Array(bytes.content[$0..<min($0 + size, bytes.count)]))
  }
}

/// A loopback address that had a socket a moment ago and has none now.
func closedPort(_ path: Path) throws -> SocketAddress {
  let gone = try Endpoint(path)
  return gone.address
}

/// The text before the zero.
func string(_ text: [CChar]) -> String {
  String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
