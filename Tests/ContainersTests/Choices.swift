import Testing

/// Walks every sequence of choices that a test makes, depth first.
///
/// ```
/// var choices = Choices()
/// while choices.start() { let a = choices.pick(3); let b = choices.pick(2) … }   // 6 rounds
/// ```
struct Choices {
  private var taken: [(value: Int, bound: Int)] = []
  private var position = 0
  private var started = false
  private(set) var rounds = 0

  /// Begins the next sequence; false when all were tried.
  mutating func start() -> Bool {
    position = 0
    if started {
      while let last = taken.last, last.value + 1 == last.bound { taken.removeLast() }
      guard !taken.isEmpty else { return false }
      taken[taken.count - 1].value += 1
    }
    started = true
    rounds += 1
    return true
  }

  /// One of `0 ..< bound`.
  mutating func pick(_ bound: Int) -> Int {
    precondition(bound > 0)
    if position == taken.count { taken.append((0, bound)) }
    precondition(taken[position].bound == bound, "the test must choose the same way again")
    position += 1
    return taken[position - 1].value
  }
}

/// Random numbers of a seed (splitmix64), for what is too large to be tried exhaustively.
struct Splitmix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

/// `#expect` for values that cannot be copied and for loops that run a million times.
func check(_ condition: Bool, _ comment: @autoclosure () -> String = "", at location: SourceLocation = #_sourceLocation)
{
  if !condition { Issue.record(Comment(rawValue: comment()), sourceLocation: location) }
}
