import Fabric

/// What the two sides of a measurement tell each other over TCP, before and between the messages over the fabric.
///
/// The client says `hello` and gets `welcome`; then it asks, and the server answers `ready` and does what was asked.
/// Whatever the server cannot do is answered with `failed`, and ends the connection.
enum ControlMessage: Codable, Equatable {
  /// The client's provider, and where its endpoint is.
  case hello(version: Int, provider: String, address: EndpointAddress)
  /// Where the server's endpoint is.
  case welcome(address: EndpointAddress)
  /// Asks for `count` messages of `size` bytes to be sent back one by one.
  case echo(size: Int, count: Int)
  /// Asks for `count` messages of `size` bytes to be received, and one to be sent back then.
  case stream(size: Int, count: Int)
  case ready
  /// Asks what has arrived at the server's sockets since `hello`.
  case arrivals
  case arrived(datagrams: UInt64)
  case failed(reason: String)
}

extension ControlMessage {
  /// Both sides speak this version or not at all.
  static let version = 1

  /// Bytes of the longest message over the fabric.
  static let largestSize = 64 << 20

  /// Messages of one request.
  static let largestCount = 10_000_000

  /// Bytes of one request, so that nobody keeps a server busy for long.
  private static let largestTotal = 1 << 40

  private static let longestName = 64
  private static let longestAddress = 256

  /// Checks what came from the network against what this side is ready to do.
  ///
  /// - Throws: ``ToolError`` that names what is wrong.
  func validate() throws(ToolError) {
    switch self {
    case .hello(let version, let provider, let address):
      guard version == Self.version else { throw ToolError("the peer speaks version \(version), not \(Self.version)") }
      guard provider.utf8.count <= Self.longestName, provider.utf8.allSatisfy(Self.isInName) else {
        throw ToolError("the peer names a provider that cannot be")
      }
      try Self.validate(address)
    case .welcome(let address): try Self.validate(address)
    case .echo(let size, let count), .stream(let size, let count):
      guard (0...Self.largestSize).contains(size), (1...Self.largestCount).contains(count),
        size * count <= Self.largestTotal
      else { throw ToolError("\(count) messages of \(size) bytes are out of range") }
    case .ready, .arrivals, .arrived, .failed: break
    }
  }

  private static func validate(_ address: EndpointAddress) throws(ToolError) {
    guard (1...longestAddress).contains(address.bytes.count) else {
      throw ToolError("the peer's address has \(address.bytes.count) bytes")
    }
  }

  private static func isInName(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
    case UInt8(ascii: "0")...UInt8(ascii: "9"): true
    case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: ";"): true
    default: false
    }
  }
}

/// Why a command could not do what it was asked to.
struct ToolError: Error, CustomStringConvertible, Equatable {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
