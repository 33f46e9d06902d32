import Testing

@testable import CommandLineTool

@Suite struct OutputTests {
  @Test func numbersHaveThreeDigits() {
    #expect(Output.rounded(0) == "0.00" && Output.rounded(3.456) == "3.46" && Output.rounded(9.999) == "10.00")
    #expect(Output.rounded(12.04) == "12.0" && Output.rounded(1234.5) == "1235" && Output.rounded(.nan) == "-")
  }

  @Test func sizesAreShort() {
    #expect(Output.size(64) == "64 B" && Output.size(1_500) == "1500 B" && Output.size(4_096) == "4 KiB")
    #expect(Output.size(4 << 20) == "4 MiB" && Output.size(.max) == "any" && Output.size(0) == "0 B")
  }

  @Test func columnsAreAsWideAsTheirCells() {
    var table = TextTable(["A", "LONG"])
    table.append(["three", "x"])
    #expect(table.lines == ["A      LONG", "three  x"])
    var numbers = TextTable(["A", "B"], isRightAligned: true)
    numbers.append(["100", "2"])
    #expect(numbers.lines == ["  A  B", "100  2"])
  }

  @Test func theBarFills() {
    #expect(ProgressBar.line(done: 0, of: 4, "x") == "[" + String(repeating: " ", count: 24) + "] x")
    #expect(ProgressBar.line(done: 4, of: 4, "x") == "[" + String(repeating: "#", count: 24) + "] x")
    #expect(ProgressBar.line(done: 1, of: 4, "x").count { $0 == "#" } == 6)
  }

  @Test func sizesAreAList() {
    #expect(SizeList(argument: "64,4096")?.sizes == [64, 4096] && SizeList(argument: "0")?.sizes == [0])
    for text in ["", "64,", "-1", "x", "1,,2", "67108865", "99999999999999999999"] {
      #expect(SizeList(argument: text) == nil, "\(text)")
    }
  }

  @Test func quantilesAreOfTheSamples() {
    let latency = BenchFigures.Latency(size: 64, halfRoundTrips: (1...100).reversed().map { Double($0) * 1_000 })
    #expect(latency.count == 100 && latency.minimum == 1 && latency.maximum == 100 && latency.mean == 50.5)
    #expect(latency.median == 50 && latency.percentile99 == 99)
    let single = BenchFigures.Latency(size: 64, halfRoundTrips: [2_000])
    #expect(single.minimum == 2 && single.median == 2 && single.percentile99 == 2 && single.maximum == 2)
  }

  @Test func ratesFollowFromTimes() {
    let stream = BenchFigures.Stream(size: 1_000, count: 500, seconds: 0.5)
    #expect(stream.messagesPerSecond == 1_000 && stream.megabytesPerSecond == 1)
    #expect(BenchFigures.Stream(size: 1, count: 1, seconds: 0).messagesPerSecond.isFinite)
  }

  @Test func aListingSaysWhy() {
    var status = LibraryStatus(level: "udp", mode: "auto", reason: "no device", native: .init(state: "no hardware"))
    var listing = Listing(version: "2.6", status: status, entries: [])
    #expect(listing.lines.contains("why:     no device") && listing.lines.contains("native:  no hardware"))
    status.native = .init(state: "chosen", path: "/l.so", version: "1.17", provider: "efa")
    listing = Listing(version: "2.6", status: status, entries: [])
    #expect(listing.lines.contains("native:  chosen: /l.so, version 1.17, provider efa"))
  }

  @Test func optionsOfTheOtherSideAreRefused() {
    let wrong = [["--json"], ["--provider", "x"], ["h", "--once"], ["h", "--bind", "x"], ["h", "--seconds", "0"]]
    for arguments in wrong {
      #expect(throws: (any Error).self, "\(arguments)") { try BenchCommand.parse(arguments) }
    }
    for arguments in [["--once"], ["--listen", "--json"], ["--listen", "h"]] {
      #expect(throws: (any Error).self, "\(arguments)") { try DoctorCommand.parse(arguments) }
    }
  }
}
