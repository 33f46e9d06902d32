import Fabric
import Glibc
import Testing

@Suite struct WaitingTests {
  @Test(.timeLimit(.minutes(1))) func completionsComeAsASequence() async throws {
    let pair = try Pair()
    let (left, right, peer) = (pair.left, pair.right, pair.rightPeer)
    let domain = pair.domain
    // Who sends reads completions too, since the provider may leave progress to the program.
    let sender = Task {
      for number in 0..<50 {
        try await left.retrying(left.send(domain.sendRegion(copying: "\(number)"), to: peer))
        for try await completion in left.completionQueue.completions {
          if let error = completion.error { throw error }
          break
        }
      }
    }
    for _ in 0..<4 { try right.recv(domain.receiveRegion(byteCount: 8)) }
    var texts: [String] = []
    for try await completion in right.completionQueue.completions {
      let region = try completion.region()
      texts.append(String(region))
      if texts.count == 50 { break }
      try right.recv(region)
    }
    try await sender.value
    #expect(texts == (0..<50).map { "\($0)" })
  }

  @Test(.timeLimit(.minutes(1))) func cancellationEndsTheSequence() async throws {
    let queue = try CompletionQueue(selectProvider().domain)
    let task = Task {
      var count = 0
      for try await _ in queue.completions { count += 1 }
      return count
    }
    try await Task.sleep(for: .milliseconds(50))
    task.cancel()
    #expect(try await task.value == 0)
    // A task that is cancelled before it begins does not begin.
    let late = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      for try await _ in queue.completions { return false }
      return true
    }
    #expect(try await late.value)
  }

  @Test(.timeLimit(.minutes(1))) func aThreadMayWait() throws {
    let pair = try Pair()
    let start = ContinuousClock.now
    let nothing = try pair.right.completionQueue.wait(milliseconds: 30)
    let time = ContinuousClock.now - start
    #expect(nothing?.token == nil && time >= .milliseconds(30) && time < .seconds(5))
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8))
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "now"), to: pair.rightPeer))
    #expect(try pair.left.completionQueue.wait(milliseconds: 10_000)?.operation == .send)
    #expect(try pair.right.completionQueue.wait(milliseconds: 10_000)?.byteCount == 3)
  }

  @Test(.timeLimit(.minutes(1))) func manyTasksShareAQueue() async throws {
    let pair = try Pair()
    let (right, domain) = (pair.right, pair.domain)
    for _ in 0..<40 { try right.recv(domain.receiveRegion(byteCount: 8)) }
    let counts = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<4 {
        group.addTask {
          var count = 0
          do {
            for try await completion in right.completionQueue.completions where completion.error == nil { count += 1 }
          } catch {
            Issue.record(error)
          }
          return count
        }
      }
      group.addTask { [left = pair.left, peer = pair.rightPeer] in
        do {
          for _ in 0..<40 {
            try await left.retrying(left.send(domain.sendRegion(copying: "x"), to: peer))
            for try await _ in left.completionQueue.completions { break }
          }
          // What is sent is there soon; then nobody has to wait any longer.
          try await Task.sleep(for: .milliseconds(300))
        } catch {
          Issue.record(error)
        }
        return 0
      }
      var all = 0
      while let count = await group.next() {
        all += count
        group.cancelAll()
      }
      return all
    }
    #expect(counts == 40)
  }
}
