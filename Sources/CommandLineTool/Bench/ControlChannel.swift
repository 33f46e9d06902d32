#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif
import Glibc

/// A TCP connection that carries ``ControlMessage``s: four bytes of length, big-endian, and JSON.
///
/// Nothing of what arrives is trusted: a message is short, has to be there in time, and is checked before it is used.
final class ControlChannel {
  private let descriptor: Int32

  /// Bytes of the longest message.
  static let longestMessage = 8192

  /// Takes over a connected socket, and closes it in the end.
  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
  }

  deinit { close(descriptor) }

  /// Sends a message; the peer has `duration` to take it.
  func send(_ message: ControlMessage, within duration: Duration = .seconds(10)) throws {
    let text = try JSONEncoder().encode(message)
    guard text.count <= Self.longestMessage else { throw ToolError("a message of \(text.count) bytes is too long") }
    var bytes = withUnsafeBytes(of: UInt32(text.count).bigEndian) { Array($0) } + text
    let deadline = ContinuousClock.now + duration
    while !bytes.isEmpty {
      let sent = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
      if sent > 0 {
        bytes.removeFirst(sent)
      } else {
        try wait(for: POLLOUT, errno, until: deadline)
      }
    }
  }

  /// The next message, which has to be there within `duration`; nil once the peer has closed the connection.
  ///
  /// - Throws: ``ToolError`` for what is too late or no message, and what the peer says has failed.
  func receive(within duration: Duration) throws -> ControlMessage? {
    let deadline = ContinuousClock.now + duration
    guard let prefix = try receiveBytes(4, until: deadline, mayEnd: true) else { return nil }
    let length = prefix.reduce(0) { $0 << 8 | Int($1) }
    guard (1...Self.longestMessage).contains(length) else {
      throw ToolError("the peer announces a message of \(length) bytes")
    }
    let text = try receiveBytes(length, until: deadline, mayEnd: false) ?? []
    guard let message = try? JSONDecoder().decode(ControlMessage.self, from: Data(text)) else {
      throw ToolError("the peer sent what is no message")
    }
    try message.validate()
    if case .failed(let reason) = message { throw ToolError("the peer says: \(Self.printable(reason))") }
    return message
  }

  /// Receives a message that has to be `wanted`.
  func expect(_ wanted: ControlMessage, within duration: Duration) throws {
    let message = try receive(within: duration)
    guard message == wanted else { throw ToolError("the peer answered out of turn") }
  }

  /// Whether something has come meanwhile.
  enum State {
    case quiet
    /// A message, or its beginning.
    case message
    /// The peer has closed the connection.
    case over
  }

  /// How it stands, without waiting.
  var state: State {
    var byte: UInt8 = 0
    let result = recv(descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT))
    if result > 0 { return .message }
    return result < 0 && (errno == EAGAIN || errno == EINTR) ? .quiet : .over
  }

  /// This side's address as text, which the peer reaches.
  var localAddress: String { SocketName.text(descriptor, getsockname) }

  /// The peer's address as text.
  var peerAddress: String { SocketName.text(descriptor, getpeername) }

  private func receiveBytes(_ count: Int, until deadline: ContinuousClock.Instant, mayEnd: Bool) throws -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var filled = 0
    while filled < count {
      let received = bytes.withUnsafeMutableBytes {
        recv(descriptor, $0.baseAddress! + filled, count - filled, Int32(MSG_DONTWAIT))
      }
      if received > 0 {
        filled += received
      } else if received == 0 {
        guard mayEnd && filled == 0 else { throw ToolError("the peer has closed the connection") }
        return nil
      } else {
        try wait(for: POLLIN, errno, until: deadline)
      }
    }
    return bytes
  }

  private func wait(for event: Int32, _ error: Int32, until deadline: ContinuousClock.Instant) throws {
    guard error == EAGAIN || error == EINTR else {
      throw ToolError("the connection failed: \(String(cString: strerror(error)))")
    }
    _ = try SocketName.wait(descriptor, for: event, until: deadline)
  }

  /// What a peer says, fit for a terminal.
  private static func printable(_ text: String) -> String {
    String(text.unicodeScalars.prefix(200).map { $0.value < 0x20 || $0.value == 0x7F ? " " : Character($0) })
  }
}

/// Names and states of sockets.
enum SocketName {
  /// An address as a number, which IPv6 sockets also give of IPv4.
  static func text(
    _ descriptor: Int32, _ call: (Int32, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> Int32
  ) -> String {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    let result = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        call(descriptor, address, &length) != 0
          ? -1 : getnameinfo(address, length, &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST)
      }
    }
    guard result == 0 else { return "" }
    let text = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return text.hasPrefix("::ffff:") ? String(text.dropFirst(7)) : text
  }

  /// Holds the thread until the socket has an event, and says whether it has; a signal or the clock may come first.
  ///
  /// - Throws: ``ToolError`` when time is up already.
  static func wait(
    _ descriptor: Int32, for event: Int32, until deadline: ContinuousClock.Instant
  ) throws(ToolError) -> Bool {
    let left = ContinuousClock.now.duration(to: deadline)
    guard left > .zero else { throw ToolError("the peer did not answer in time") }
    var request = pollfd(fd: descriptor, events: Int16(event), revents: 0)
    return poll(&request, 1, Int32(clamping: Int64(left / .milliseconds(1)) + 1)) > 0
  }
}
