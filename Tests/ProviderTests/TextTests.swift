import CFabric
import CPlatform
import Datagram
import Testing

@testable import Provider

@Suite struct TextTests {
  @Test(arguments: [
    (UInt64(0), "0"), (9, "9"), (10, "10"), (1_000_000, "1000000"), (.max, "18446744073709551615"),
  ])
  func decimal(value: UInt64, text: String) {
    #expect(write { $0.append(decimal: value) } == text)
  }

  @Test func signed() {
    #expect(write { $0.append(decimal: Int64.min) } == "-9223372036854775808")
    #expect(write { $0.append(decimal: Int64(-1)) } == "-1")
  }

  @Test(arguments: [
    (UInt64(0), 1, "0"), (0xa, 1, "a"), (0x10, 1, "10"), (0xf, 4, "000f"), (0x12345, 4, "12345"),
    (.max, 1, "ffffffffffffffff"), (0, 16, "0000000000000000"), (0x0123_4567_89ab_cdef, 16, "0123456789abcdef"),
  ])
  func hexadecimal(value: UInt64, digits: Int, text: String) {
    #expect(write { $0.append(hexadecimal: value, digits: digits) } == text)
  }

  @Test func pointersAndMissingStrings() {
    #expect(write { $0.append(pointer: UnsafeRawPointer(bitPattern: 0xbeef)) } == "0xbeef")
    #expect(write { $0.append(pointer: nil) } == "(nil)")
    #expect(write { $0.append(CString?.none) } == "(null)")
  }

  @Test(arguments: 1...12)
  func cutAtEveryCapacity(capacity: Int) {
    let full = "ab-12-cd"
    let text = write(capacity: capacity) { writer in
      writer.append("ab" as StaticString)
      writer.append(byte: UInt8(ascii: "-"))
      writer.append(decimal: UInt64(12))
      "-cd".withCString { writer.append($0) }
    }
    #expect(text == String(full.prefix(capacity - 1)))
  }

  @Test func foreignTextIsKeptOrDropped() {
    let kept = write { writer in
      writer.append("x: ")
      let done = writer.append { buffer, capacity in
        strncpy(buffer, "foreign", capacity)
        return true
      }
      #expect(done)
      writer.append("!")
    }
    #expect(kept == "x: foreign!")
    let dropped = write { writer in
      writer.append("x: ")
      #expect(!writer.append { buffer, _ in strcpy(buffer, "foreign") == nil })
      writer.append("!")
    }
    #expect(dropped == "x: !")
  }

  @Test func parts() {
    func parts(_ text: String) -> [String] {
      var list: [String] = []
      text.withCString { text in
        CText.forEachPart(of: text, separator: UInt8(ascii: ";")) { part, length in
          list.append(String(decoding: UnsafeRawBufferPointer(start: part, count: length), as: UTF8.self))
          return true
        }
      }
      return list
    }
    #expect(parts("") == [""])
    #expect(parts("a") == ["a"])
    #expect(parts("a;bc;") == ["a", "bc", ""])
    #expect(parts(";;") == ["", "", ""])
  }

  private func write(capacity: Int = 64, _ body: (inout TextWriter) -> Void) -> String {
    // A byte beyond the capacity shows whether the writer keeps to it.
    var buffer = [CChar](repeating: 0x7f, count: capacity + 1)
    return buffer.withUnsafeMutableBufferPointer { buffer in
      var writer = TextWriter(buffer: buffer.baseAddress!, capacity: capacity)
      body(&writer)
      #expect(buffer[capacity] == 0x7f && buffer[writer.count] == 0)
      return String(cString: writer.text)
    }
  }
}

@Suite(.serialized) struct LogTests {
  /// What the callbacks saw, of other tests too; they are C functions and so cannot capture.
  nonisolated(unsafe) static var lines: [String] = []
  static let lock = Lock()

  @Test func importedCallbacksReplaceTheLog() {
    #expect(!Log.isInstalled)
    #expect(Log.isEnabled(.warn, .core) == (getenv("FI_LOG_LEVEL") != nil))
    var functions = fi_ops_log()
    functions.size = MemoryLayout<fi_ops_log>.size
    functions.enabled = { _, level, _, _ in level.rawValue <= FI_LOG_TRACE.rawValue ? 1 : 0 }
    functions.log = { provider, level, subsystem, function, line, message in
      let provider = String(cString: provider!.pointee.name)
      LogTests.lock.lock()
      defer { LogTests.lock.unlock() }
      LogTests.lines.append(
        "\(provider) \(level.rawValue) \(subsystem.rawValue) \(String(cString: function!)) \(String(cString: message!))"
      )
    }
    Log.install(functions)
    #expect(Log.isInstalled && Log.isEnabled(.warn, .core) && !Log.isEnabled(.info, .core))
    platform_set_errno(EBUSY)
    Log.warn(.addressVector, "a warning")
    #expect(platform_errno() == EBUSY)
    Log.write(.info, .core) { _ in Issue.record("nobody wants this message") }
    Log.uninstall()
    Log.warn(.core, "not seen")
    let lines = Self.lock.withLock { Self.lines }
    #expect(lines.contains("polyfill 0 5 importedCallbacksReplaceTheLog a warning\n"))
    #expect(!lines.contains { $0.contains("not seen") })
    #expect(!Log.isInstalled)
  }

  @Test func rateLimit() {
    var functions = fi_ops_log()
    functions.enabled = { _, _, _, _ in 1 }
    functions.log = { _, _, _, _, _, _ in }
    Log.install(functions)
    defer { Log.uninstall() }
    var showTime: UInt64 = 0
    #expect(Log.isReady(provider: nil, level: 0, subsystem: 0, showTime: &showTime))
    #expect(showTime > 0)
    #expect(!Log.isReady(provider: nil, level: 0, subsystem: 0, showTime: &showTime))
    showTime = 1
    #expect(Log.isReady(provider: nil, level: 0, subsystem: 0, showTime: &showTime))
  }

  @Test func names() {
    #expect((0..<5).map { Log.name(level: $0).map { "\($0)" } } == ["warn", "trace", "info", "debug", nil])
    let subsystems = ["core", "fabric", "domain", "ep_ctrl", "ep_data", "av", "cq", "eq", "mr", "cntr", nil]
    #expect((0..<11).map { Log.name(subsystem: $0).map { "\($0)" } } == subsystems)
  }
}
