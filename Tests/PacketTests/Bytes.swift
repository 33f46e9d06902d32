import Packet

/// Bytes written as in docs/PROTOCOL.md: hexadecimal digits, blanks and line breaks ignored.
func bytes(_ hex: String) -> [UInt8] {
  let digits = hex.compactMap { $0.hexDigitValue.map(UInt8.init) }
  precondition(digits.count % 2 == 0)
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// What `body` writes into memory of exactly `capacity` bytes, and that it wrote nothing around it.
func encoded(_ capacity: Int, _ body: (inout ByteWriter) -> Void) -> [UInt8] {
  let guardSize = 16
  var memory = [UInt8](repeating: 0xEE, count: capacity + 2 * guardSize)
  let written = memory.withUnsafeMutableBytes { memory -> Int in
    let start = memory.baseAddress! + guardSize
    var writer = ByteWriter(start: start, end: start + capacity)
    body(&writer)
    return writer.position - start
  }
  precondition(memory[..<guardSize].allSatisfy { $0 == 0xEE }, "wrote before the start")
  precondition(memory[(guardSize + written)...].allSatisfy { $0 == 0xEE }, "wrote behind the end")
  return Array(memory[guardSize..<(guardSize + written)])
}

/// Runs `body` on a reader over a heap copy of exactly these bytes, so that a sanitizer sees a read beyond them.
func withReader<Result>(_ bytes: some Collection<UInt8>, _ body: (inout ByteReader) -> Result) -> Result {
  let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
  defer { memory.deallocate() }
  memory.copyBytes(from: bytes)
  var reader = ByteReader(UnsafeRawBufferPointer(memory))
  return body(&reader)
}

func pattern(_ pointer: UnsafeRawPointer, _ count: Int) -> [UInt8] {
  Array(UnsafeRawBufferPointer(start: pointer, count: count))
}
