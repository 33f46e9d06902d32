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

  @Test func whoeverWaitsForNothingGoesAway() throws {
    let shared = Shared()
    let first = shared.gate.enter()
    let waiter = try Thread(
      { context in
        let shared = Unmanaged<Shared>.fromOpaque(context!).takeUnretainedValue()
        let isIn = shared.gate.enter {
          shared.count += 1
          return shared.count > 3
        }
        if isIn { shared.count = 0 }
      }, context: Unmanaged.passUnretained(shared).toOpaque())
    waiter.join()
    #expect(first && shared.count == 4)
  }

  @Test func whoeverIsInsideIsToldSo() {
    let gate = Gate()
    let first = gate.enter()
    let again = gate.enter()
    gate.leave()
    let second = gate.enter()
    #expect(first && !again && second)
  }
}
