import SimulationSupport
import Testing

/// Seeds of the simulator that failed once; `simulator --seed N --trace` tells their story.
///
/// A change of the generator gives a seed another scenario, so these keep their worth only as long as it stays; what
/// they found has tests of its own where it could be reproduced by hand.
@Suite struct SeedTests {
  @Test(arguments: [
    // The path shrank during the walk over lost packets: freed twice, or without end.
    3, 36,
    // A handshake given up after two seconds, its peer not yet polling.
    113, 146,
    // No slot for the probe when all packets were in flight.
    166,
    // Retransmissions without room kept those out that would have made it.
    300, 301, 404,
    // A connection that waited for packet slots was never woken.
    491, 10_901,
    // A late acknowledgement counted for another operation in the same slot.
    651,
    // A dead peer's half message.
    365, 1_467,
    // Packet numbers began anew in a session that went on.
    6_051, 6_835,
    // A read without a slot, in one packet with what would have freed one.
    11_511,
    // Two processes of the responder took part in one handshake.
    3_056, 23_492,
    // Packets without room were never answered, and their receiver taken for dead.
    53_400,
    // Staged fragments behind an operation that could not start.
    103_389,
    // A probe timeout shorter than the round trip, for ever.
    126_725,
    // A path that shrank while a larger size was being tried.
    162_146,
    2_688, 154_822,
    // A responder gave a session up that its initiator had heard nothing in, and began one of its own.
    5_646,
  ])
  func passes(seed: UInt64) {
    let result = simulate(seed: seed)
    #expect(result.failure == nil, "\(result.scenario.description)")
  }

  /// The same seed does the same.
  @Test func runsRepeat() {
    for seed in 1...20 as ClosedRange<UInt64> {
      var traces: [[String]] = [[], []]
      for round in 0..<2 { _ = simulate(seed: seed) { traces[round].append($0) } }
      #expect(traces[0] == traces[1])
      #expect(traces[0].count > 10)
    }
  }

  /// The checkers find what they are there for.
  @Test func lostBytesAreNoticed() {
    let memory = GuardedMemory(parts: [10, 0, 7], gap: 3)
    let content = Content(5, salt: 9)
    memory.fill(content)
    #expect(memory.difference(content, length: 17) == nil)
    memory.slice(2).base!.storeBytes(of: 0, toByteOffset: 6, as: UInt8.self)
    #expect(memory.difference(content, length: 17) != nil)
    #expect(memory.difference(content, length: 16) == nil)
    memory.fill(0x11)
    #expect(memory.damage(0x11) == nil)
    (memory.slice(0).base! + 10).storeBytes(of: 1, as: UInt8.self)
    #expect(memory.damage(0x11) != nil)
    #expect(Content(5, salt: 9).firstDifference(memory.slice(0).base!, count: 10, offset: 0) != nil)
  }
}
