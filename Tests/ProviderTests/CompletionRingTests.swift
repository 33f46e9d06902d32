import CFabric
import Provider
import Testing

/// What a ring must hold, kept as an array.
private struct Model {
  var entries: [(number: UInt64, isError: Bool)] = []
  var used = 0
}

private func completion(_ number: UInt64) -> Completion {
  Completion(
    context: UInt(number), flags: number + 1, length: Int(number + 2), buffer: UInt(number + 3), data: number + 4,
    tag: number + 5, source: number + 6)
}

/// A ring that #expect can look at: the macro copies what it calls methods of.
private final class Ring {
  private var ring: CompletionRing
  init(_ capacity: Int) { ring = CompletionRing(capacity: capacity) }
  var count: Int { ring.count }
  var used: Int { ring.used }
  var isErrorFirst: Bool { ring.isErrorFirst }
  func reserve() -> Bool { ring.reserve() }
  func unreserve() { ring.unreserve() }
  func push(_ completion: Completion) { ring.push(completion) }
  func push(_ completion: Completion, _ error: CompletionError) { ring.push(completion, error) }
  func grow(by count: Int) { ring.grow(by: count) }
  func readError() -> (Completion, CompletionError)? { ring.readError() }
  func read<Entry: BitwiseCopyable>(
    _: Entry.Type, into buffer: UnsafeMutableRawPointer?, limit: Int, sources: UnsafeMutablePointer<UInt64>?
  ) -> Int {
    ring.read(Entry.self, into: buffer, limit: limit, sources: sources)
  }
}

@Suite struct CompletionRingTests {
  /// Every capacity, starting position and number of entries up to 9, with an error at every place or none.
  @Test func keepsOrderFromEveryPosition() {
    for capacity in 1...9 {
      for start in 0..<16 {
        for count in 0...capacity {
          for error in -1..<count { check(capacity: capacity, start: start, count: count, error: error) }
        }
      }
    }
  }

  private func check(capacity: Int, start: Int, count: Int, error: Int) {
    let ring = Ring(capacity)
    var buffer = [fi_cq_tagged_entry](repeating: fi_cq_tagged_entry(), count: 10)
    var sources = [UInt64](repeating: 0, count: 10)
    for number in 0..<start {
      #expect(ring.reserve())
      ring.push(completion(UInt64(number)))
      #expect(ring.read(fi_cq_tagged_entry.self, into: &buffer, limit: 1, sources: nil) == 1)
    }
    for number in 0..<count {
      #expect(ring.reserve())
      if number == error {
        ring.push(completion(UInt64(number)), CompletionError(code: 5, providerCode: -5, overflow: number))
      } else {
        ring.push(completion(UInt64(number)))
      }
    }
    let before = error < 0 ? count : error
    #expect(ring.read(fi_cq_tagged_entry.self, into: &buffer, limit: 10, sources: &sources) == before)
    for number in 0..<before {
      #expect(buffer[number].op_context == UnsafeMutableRawPointer(bitPattern: number))
      #expect(buffer[number].tag == UInt64(number + 5))
      #expect(sources[number] == UInt64(number + 6))
    }
    #expect(ring.isErrorFirst == (error >= 0))
    guard error >= 0 else { return }
    let read = ring.readError()
    #expect(read?.0.context == UInt(error))
    #expect(read?.1.overflow == error)
    #expect(ring.read(fi_cq_tagged_entry.self, into: &buffer, limit: 10, sources: nil) == count - error - 1)
    #expect(ring.count == 0 && ring.used == 0)
  }

  @Test func storesEachFormatAndNotAByteMore() {
    func check<Entry: BitwiseCopyable>(_: Entry.Type) {
      let ring = Ring(4)
      for number in 1...2 {
        #expect(ring.reserve())
        ring.push(completion(UInt64(number) * 1000))
      }
      let size = MemoryLayout<Entry>.stride
      var bytes = [UInt8](repeating: 0xA5, count: 3 * size)
      #expect(bytes.withUnsafeMutableBytes { ring.read(Entry.self, into: $0.baseAddress, limit: 2, sources: nil) } == 2)
      for word in 0..<size / 8 {
        let first = bytes.withUnsafeBytes { $0.load(fromByteOffset: word * 8, as: UInt64.self) }
        let second = bytes.withUnsafeBytes { $0.load(fromByteOffset: size + word * 8, as: UInt64.self) }
        #expect(first == 1000 + UInt64(word) && second == 2000 + UInt64(word))
      }
      #expect(bytes[(2 * size)...].allSatisfy { $0 == 0xA5 })
    }
    check(fi_cq_entry.self)
    check(fi_cq_msg_entry.self)
    check(fi_cq_data_entry.self)
    check(fi_cq_tagged_entry.self)
  }

  @Test func roomIsBoundedUntilEntriesAreRead() {
    let ring = Ring(3)
    #expect(ring.reserve() && ring.reserve() && ring.reserve())
    #expect(!ring.reserve())
    ring.unreserve()
    #expect(ring.reserve())
    ring.push(completion(1))
    #expect(!ring.reserve())
    var entry = fi_cq_entry()
    #expect(ring.read(fi_cq_entry.self, into: &entry, limit: 1, sources: nil) == 1)
    #expect(ring.reserve())
    #expect(!ring.reserve())
    ring.grow(by: 1)
    #expect(ring.reserve())
    #expect(!ring.reserve())
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64]) func agreesWithAModel(seed: UInt64) {
    var random = Seeded(state: seed)
    let ring = Ring(5)
    var capacity = 5
    var model = Model()
    var number: UInt64 = 0
    var buffer = [fi_cq_entry](repeating: fi_cq_entry(), count: 8)
    for _ in 0..<20_000 {
      switch Int.random(in: 0..<100, using: &random) {
      case 0..<35:
        #expect(ring.reserve() == (model.used < capacity))
        model.used = min(model.used + 1, capacity)
      case 35..<65 where model.used > model.entries.count:
        let isError = Int.random(in: 0..<4, using: &random) == 0
        if isError {
          ring.push(completion(number), CompletionError(code: 1, providerCode: Int32(number & 0xff)))
        } else {
          ring.push(completion(number))
        }
        model.entries.append((number, isError))
        number += 1
      case 65..<68 where model.used > model.entries.count:
        ring.unreserve()
        model.used -= 1
      case 68 where capacity < 600:
        ring.grow(by: 3)
        capacity += 3
      case 69..<90:
        let limit = Int.random(in: 0...8, using: &random)
        let expected = model.entries.prefix(limit).prefix { !$0.isError }
        #expect(ring.read(fi_cq_entry.self, into: &buffer, limit: limit, sources: nil) == expected.count)
        for (index, entry) in expected.enumerated() {
          #expect(UInt(bitPattern: buffer[index].op_context) == UInt(entry.number))
        }
        model.entries.removeFirst(expected.count)
        model.used -= expected.count
      default:
        guard model.entries.first?.isError == true else {
          #expect(ring.readError() == nil)
          continue
        }
        let entry = model.entries.removeFirst()
        model.used -= 1
        #expect(ring.readError()?.1.providerCode == Int32(entry.number & 0xff))
      }
      #expect(ring.count == model.entries.count && ring.used == model.used)
    }
  }
}
