import Datagram
import Testing

@testable import Native

@Suite struct GateTests {
  /// A gate that threads can share.
  private final class Shared: @unchecked Sendable {
    let gate = Gate()
    var count = 0
  }

  @Test func letsOneInAtATime() async {
    let shared = Shared()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<50 where shared.gate.enter() {
            let before = shared.count
            Thread.yield()
            shared.count = before + 1
            shared.gate.leave()
          }
        }
      }
    }
    #expect(shared.count == 200)
  }

  @Test func whoeverWaitsForNothingGoesAway() {
    let gate = Gate()
    let first = gate.enter()
    var looks = 0
    let isIn = gate.enter {
      looks += 1
      return looks > 3
    }
    gate.leave()
    let second = gate.enter()
    #expect(first && !isIn && looks == 4 && second)
  }
}
