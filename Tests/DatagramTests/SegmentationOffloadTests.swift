import CPlatform
import Testing

@testable import Datagram

/// A kernel or a driver may refuse UDP_SEGMENT at any send. Nothing may be lost by that, and nothing sent twice.
@Suite struct SegmentationOffloadTests {
  @Test(arguments: [EIO, EINVAL, EOPNOTSUPP, ENOPROTOOPT]) func endsWithTheFirstRefusal(code: Int32) throws {
    for path in Path.linux {
      let a = try Endpoint(path)
      let b = try Endpoint(path)
      let bytes = pattern(30500)
      let hook = SyscallHook { $0.segmented ? .fail(code) : .pass }
      let first = hook.run { a.send(bytes, to: b.address, segmentSize: 1000, cuts: [24, 1000, 2500, 17777]) }
      #expect(first == SendOutcome(sent: 1, segments: 0, stop: .finished))
      #expect(b.collect(31).map(\.bytes) == split(bytes, every: 1000))
      #expect(a.maximumSegments == 1)
      #expect(a.statistics.segmentationRefusals == 1)
      #expect(a.statistics.segmentsResent == 31)
      #expect(a.statistics.datagramsSent == 31)

      // The second send does not even ask.
      let second = SyscallHook { $0.segmented ? .fail(code) : .pass }
      #expect(second.run { a.send(bytes, to: b.address, segmentSize: 1000) }.stop == .finished)
      #expect(!second.trace.contains { $0.segmented })
      #expect(b.collect(31).map(\.bytes) == split(bytes, every: 1000))
      #expect(a.statistics.segmentsResent == 31)
    }
  }

  @Test(arguments: Path.linux) func refusalInTheMiddleOfABatchLosesNothing(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let entries = [pattern(500), pattern(10000, seed: 2), pattern(700, seed: 3), pattern(5001, seed: 4)]
    var calls = 0
    let hook = SyscallHook { record in
      if record.segmented { return .fail(EIO) }
      calls += 1
      return calls == 1 ? .limit(1) : .pass
    }
    let outcome = hook.run { a.send(entries, to: b.address, segmentSize: 1000) }
    #expect(outcome == SendOutcome(sent: 4, segments: 0, stop: .finished))
    let expected = entries.flatMap { split($0, every: 1000) }
    #expect(b.collect(expected.count + 1, patience: 50).map(\.bytes) == expected)
    #expect(a.statistics.segmentsResent == 10)
    #expect(a.statistics.datagramsSent == UInt64(expected.count))
  }

  @Test(arguments: Path.all) func anInterruptedCutIsResumed(path: Path) throws {
    let a = try Endpoint(path) { $0.segmentationOffload = false }
    let b = try Endpoint(path)
    let bytes = pattern(20000)
    var calls = 0
    let hook = SyscallHook { record in
      guard record.name == .sendmsg || record.name == .sendmmsg else { return .pass }
      calls += 1
      if record.name == .sendmmsg && calls == 1 { return .limit(7) }
      return path.portable && calls <= 7 ? .pass : .fail(EAGAIN)
    }
    let outcome = hook.run { a.send(bytes, to: b.address, segmentSize: 1000) }
    #expect(outcome == SendOutcome(sent: 0, segments: 7, stop: .wouldBlock))
    let rest = a.send(bytes, to: b.address, segmentSize: 1000, firstSegment: outcome.segments)
    #expect(rest == SendOutcome(sent: 1, segments: 0, stop: .finished))
    #expect(b.collect(21, patience: 50).map(\.bytes) == split(bytes, every: 1000))
  }

  @Test(arguments: Path.linux) func aSegmentLargerThanTheMTUDoesNotEndIt(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    // Some kernels answer EINVAL to that, others EMSGSIZE.
    for code in [EINVAL, EMSGSIZE] {
      let hook = SyscallHook { record in
        guard record.name == .sendmsg || record.name == .sendmmsg else { return .pass }
        return record.segmented ? .fail(code) : .fail(EMSGSIZE)
      }
      let outcome = hook.run { a.send(pattern(40000), to: b.address, segmentSize: 20000) }
      #expect(outcome == SendOutcome(sent: 0, segments: 0, stop: .tooBig))
      #expect(a.maximumSegments == 64)
      #expect(a.statistics.segmentationRefusals == 0)
    }
    #expect(a.send(pattern(40000), to: b.address, segmentSize: 20000).stop == .finished)
    #expect(b.collect(2).map(\.bytes) == split(pattern(40000), every: 20000))
  }

  @Test(arguments: Path.all) func aThousandSlicesAreCutRight(path: Path) throws {
    let a = try Endpoint(path) { $0.segmentationOffload = false }
    let b = try Endpoint(path)
    let bytes = pattern(64 * 800)
    let cuts = Array(stride(from: 50, to: bytes.count, by: 50))
    #expect(cuts.count == 1023)
    #expect(a.send([bytes, bytes], to: b.address, segmentSize: 815, cuts: cuts).stop == .finished)
    let expected = split(bytes, every: 815)
    #expect(b.collect(2 * expected.count).map(\.bytes) == expected + expected)
  }
}
