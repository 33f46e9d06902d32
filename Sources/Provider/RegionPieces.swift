import Transport

/// The memory of one region: pieces that count as one behind the other.
///
/// Not thread-safe; the owner serializes.
package struct RegionPieces: BitwiseCopyable {
  /// As many as `mr_iov_limit` promises: four segments of so many are as many slices as one transfer takes.
  package static var maximumCount: Int { maximumSlices / 4 }

  private var pieces = InlineArray<4, Slice>(repeating: Slice(base: nil, count: 0))
  package private(set) var count = 0

  /// No memory.
  package init() {}

  /// Adds a piece, which may be empty, behind the others; there must be room for it.
  package mutating func append(_ piece: Slice) {
    precondition(count < Self.maximumCount)
    pieces[count] = piece
    count += 1
  }

  @inline(__always)
  package subscript(index: Int) -> Slice { pieces[index] }

  /// Whether no byte of any piece lies beyond the last address.
  package var areAddressable: Bool {
    for index in 0..<count {
      let length = UInt(bitPattern: pieces[index].count)
      if length != 0 && UInt(bitPattern: pieces[index].base) > UInt.max - (length - 1) { return false }
    }
    return true
  }

  /// Stores the memory of `length` bytes from `offset` on at `slices`, of which there are at least ``maximumCount``, and
  /// returns how many it takes; nil when bytes are outside.
  @inline(__always)
  package func slices(
    offset: UInt64, _ length: UInt64, into slices: UnsafeMutablePointer<Slice>
  ) -> Int? {
    let size = UInt64(UInt(bitPattern: pieces[0].count))
    if offset <= size && length <= size - offset {
      return Self.store(pieces[0], skipping: offset, length, slices)
    }
    return scatteredSlices(offset: offset, length, into: slices)
  }

  /// The same for bytes from a virtual address on, which may be those of several pieces that touch.
  @inline(__always)
  package func slices(
    address: UInt64, _ length: UInt64, into slices: UnsafeMutablePointer<Slice>
  ) -> Int? {
    let base = UInt64(UInt(bitPattern: pieces[0].base))
    let size = UInt64(UInt(bitPattern: pieces[0].count))
    if address >= base, address - base <= size, length <= size - (address - base) {
      return Self.store(pieces[0], skipping: address - base, length, slices)
    }
    return scatteredSlices(address: address, length, into: slices)
  }

  @inline(never)
  private func scatteredSlices(
    offset: UInt64, _ length: UInt64, into slices: UnsafeMutablePointer<Slice>
  ) -> Int? {
    var skipped = offset
    var remaining = length
    var stored = 0
    for index in 0..<count {
      let size = UInt64(UInt(bitPattern: pieces[index].count))
      if skipped > size {
        skipped -= size
        continue
      }
      let part = min(remaining, size - skipped)
      stored += Self.store(pieces[index], skipping: skipped, part, slices + stored)
      remaining -= part
      skipped = 0
      if remaining == 0 { return stored }
    }
    return nil
  }

  @inline(never)
  private func scatteredSlices(
    address: UInt64, _ length: UInt64, into slices: UnsafeMutablePointer<Slice>
  ) -> Int? {
    var address = address
    var remaining = length
    // Each turn ends where one more piece ends, so there are no more turns than pieces.
    for turn in 0..<count {
      guard let (piece, offset, rest) = piece(at: address, remaining) else { return nil }
      let part = min(remaining, rest)
      let stored = Self.store(piece, skipping: offset, part, slices + turn)
      remaining -= part
      if remaining == 0 { return turn + stored }
      let (next, overflow) = address.addingReportingOverflow(part)
      if overflow { return nil }
      address = next
    }
    return nil
  }

  /// A piece that has the byte at an address, or where no byte is wanted one that ends there; how far into it that is,
  /// and how much follows.
  private func piece(at address: UInt64, _ wanted: UInt64) -> (piece: Slice, offset: UInt64, rest: UInt64)? {
    for index in 0..<count {
      let base = UInt64(UInt(bitPattern: pieces[index].base))
      let size = UInt64(UInt(bitPattern: pieces[index].count))
      guard address >= base, address - base <= size else { continue }
      let rest = size - (address - base)
      if rest > 0 || wanted == 0 { return (pieces[index], address - base, rest) }
    }
    return nil
  }

  @inline(__always)
  private static func store(
    _ piece: Slice, skipping offset: UInt64, _ length: UInt64, _ slices: UnsafeMutablePointer<Slice>
  ) -> Int {
    if length == 0 { return 0 }
    let address = UInt(bitPattern: piece.base) &+ UInt(offset)
    slices.initialize(
      to: Slice(base: UnsafeMutableRawPointer(bitPattern: address), count: Int(bitPattern: UInt(length))))
    return 1
  }
}
