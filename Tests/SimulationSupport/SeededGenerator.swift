/// Random numbers that are a function of a seed: xoshiro256**, filled by splitmix64.
package struct SeededGenerator: RandomNumberGenerator {
  private var state: (UInt64, UInt64, UInt64, UInt64)

  package init(seed: UInt64) {
    var mixer = seed
    func next() -> UInt64 {
      mixer &+= 0x9E37_79B9_7F4A_7C15
      var mixed = mixer
      mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
      return mixed ^ (mixed >> 31)
    }
    state = (next(), next(), next(), next())
  }

  package mutating func next() -> UInt64 {
    let result = rotate(state.1 &* 5, 7) &* 9
    let shifted = state.1 << 17
    state.2 ^= state.0
    state.3 ^= state.1
    state.1 ^= state.2
    state.0 ^= state.3
    state.2 ^= shifted
    state.3 = rotate(state.3, 45)
    return result
  }

  /// A generator whose numbers are independent of what this one gives later.
  package mutating func split() -> SeededGenerator { SeededGenerator(seed: next()) }

  /// A number below `bound`, which is positive.
  package mutating func below(_ bound: Int) -> Int {
    precondition(bound > 0)
    return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// A number in a range, both ends included.
  package mutating func within(_ range: ClosedRange<Int>) -> Int { range.lowerBound + below(range.count) }

  /// A number whose logarithm is evenly spread, so that small ones are as likely as large ones.
  package mutating func logarithmic(_ range: ClosedRange<Int>) -> Int {
    precondition(range.lowerBound > 0)
    let low = range.lowerBound.bitWidth - range.lowerBound.leadingZeroBitCount
    let high = range.upperBound.bitWidth - range.upperBound.leadingZeroBitCount
    let bits = within(low...high)
    let value = (1 << (bits - 1)) | below(1 << (bits - 1))
    return min(max(value, range.lowerBound), range.upperBound)
  }

  /// True with a probability from 0 to 1.
  package mutating func chance(_ probability: Double) -> Bool {
    probability > 0 && Double(next() >> 11) * 0x1p-53 < probability
  }

  /// One of several values.
  package mutating func one<Value>(of values: [Value]) -> Value { values[below(values.count)] }

  private func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }
}
