import Fabric
import Glibc
import Testing

@testable import CommandLineTool

@Suite struct ControlTests {
  /// A channel, and the other end of its socket.
  private func pair() throws -> (ControlChannel, Int32) {
    var ends: [Int32] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
    return (ControlChannel(ends[0]), ends[1])
  }

  private func put(_ bytes: [UInt8], _ descriptor: Int32) {
    #expect(send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
  }

  /// A message as it travels.
  private func framed(_ text: String) -> [UInt8] {
    withUnsafeBytes(of: UInt32(text.utf8.count).bigEndian) { Array($0) } + Array(text.utf8)
  }

  private static let messages: [ControlMessage] = [
    .hello(version: 1, provider: "tcp;ofi_rxm", address: EndpointAddress(bytes: [1, 2, 3])),
    .welcome(address: EndpointAddress(bytes: [0, 255])), .echo(size: 64, count: 10), .stream(size: 0, count: 1), .ready,
    .arrivals, .arrived(datagrams: .max),
  ]

  @Test(arguments: messages) func messagesArriveAsTheyWere(message: ControlMessage) throws {
    let (left, descriptor) = try pair()
    let right = ControlChannel(descriptor)
    #expect(right.state == .quiet)
    try left.send(message)
    #expect(right.state == .message)
    #expect(try right.receive(within: .seconds(5)) == message)
  }

  @Test func theEndIsToldFromACut() throws {
    let (channel, other) = try pair()
    close(other)
    #expect(channel.state == .over)
    #expect(try channel.receive(within: .seconds(5)) == nil)
    let (cut, end) = try pair()
    put([0, 0, 0], end)
    close(end)
    #expect(throws: ToolError.self) { try cut.receive(within: .seconds(5)) }
  }

  @Test func silenceHasAnEnd() throws {
    let (channel, other) = try pair()
    defer { close(other) }
    #expect(throws: ToolError.self) { try channel.receive(within: .milliseconds(20)) }
    // Not even drop by drop.
    put([0, 0, 0, 9, 0x22], other)
    #expect(throws: ToolError.self) { try channel.receive(within: .milliseconds(20)) }
  }

  @Test(arguments: [
    [0, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0xFF], [0x7F, 0xFF, 0xFF, 0xFF], [0, 0, 0x20, 1, 0x7B],
    [0, 0, 0, 2, 0x7B, 0x7D], [0, 0, 0, 4, 0x6E, 0x75, 0x6C, 0x6C], [0, 0, 0, 3, 0xFF, 0xFE, 0xFD],
  ])
  func whatIsNoMessageIsRefused(bytes: [UInt8]) throws {
    let (channel, other) = try pair()
    defer { close(other) }
    put(bytes, other)
    #expect(throws: ToolError.self) { try channel.receive(within: .seconds(5)) }
  }

  @Test(arguments: [
    String(repeating: "[", count: 8_000), #"{"echo":{"size":-1,"count":1}}"#, #"{"echo":{"size":1,"count":0}}"#,
    #"{"echo":{"size":99999999999999999999,"count":1}}"#, #"{"stream":{"size":67108865,"count":1}}"#,
    #"{"stream":{"size":67108864,"count":10000000}}"#, #"{"stream":{"size":1,"count":9223372036854775807}}"#,
    #"{"hello":{"version":2,"provider":"polyfill","address":{"bytes":[1]}}}"#,
    #"{"hello":{"version":1,"provider":"a b","address":{"bytes":[1]}}}"#,
    #"{"hello":{"version":1,"provider":"../x","address":{"bytes":[1]}}}"#,
    #"{"hello":{"version":1,"provider":"polyfill","address":{"bytes":[]}}}"#,
    #"{"hello":{"version":1,"provider":"polyfill","address":{"bytes":[256]}}}"#,
    #"{"failed":{"reason":"so \u001b[31m it is"}}"#, #"{"nonesuch":{}}"#,
  ])
  func whatIsOutOfRangeIsRefused(text: String) throws {
    let (channel, other) = try pair()
    defer { close(other) }
    put(framed(text), other)
    let error = #expect(throws: ToolError.self) { try channel.receive(within: .seconds(5)) }
    // What a peer says is shown, but cannot drive the terminal.
    #expect(error?.description.unicodeScalars.allSatisfy { $0.value >= 0x20 } == true)
  }

  @Test func addressesThatAreTooLongAreRefused() {
    let long = EndpointAddress(bytes: [UInt8](repeating: 1, count: 257))
    #expect(throws: ToolError.self) { try ControlMessage.welcome(address: long).validate() }
    let name = String(repeating: "x", count: 65)
    let address = EndpointAddress(bytes: [1])
    #expect(throws: ToolError.self) {
      try ControlMessage.hello(version: 1, provider: name, address: address).validate()
    }
  }

  @Test func windowsFitQueuesAndMemory() {
    #expect(PeerLink.window(size: 64, queue: 1_024) == 64)
    #expect(PeerLink.window(size: 64, queue: 8) == 4)
    #expect(PeerLink.window(size: 64 << 20, queue: 1_024) == 1)
    #expect(PeerLink.window(size: 0, queue: 1) == 1)
  }
}
