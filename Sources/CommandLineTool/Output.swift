#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif
import Glibc

/// What the commands print.
enum Output {
  /// Prints a value as JSON, keys in order, to standard output.
  static func json(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
  }

  /// Prints a line to standard error.
  static func note(_ line: String) {
    write(line + "\n")
  }

  /// Writes to standard error.
  static func write(_ text: String) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let written = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      guard written > 0 || errno == EINTR else { return }
      bytes = bytes.dropFirst(max(written, 0))
    }
  }

  /// A number with as many decimals as three significant digits need.
  static func rounded(_ value: Double) -> String {
    guard value.isFinite else { return "-" }
    let decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2
    let scale = [1.0, 10, 100][decimals]
    let units = Int((value * scale).rounded())
    guard decimals > 0 else { return "\(units)" }
    let fraction = String(units % Int(scale))
    return "\(units / Int(scale))." + String(repeating: "0", count: decimals - fraction.count) + fraction
  }

  /// A size in the unit that keeps it short: `64 B`, `64 KiB`, `1 MiB`.
  static func size(_ bytes: Int) -> String {
    if bytes == .max { return "any" }
    if bytes >= 1 << 20 && bytes % (1 << 20) == 0 { return "\(bytes >> 20) MiB" }
    if bytes >= 1 << 10 && bytes % (1 << 10) == 0 { return "\(bytes >> 10) KiB" }
    return "\(bytes) B"
  }
}

/// Rows in columns as wide as their widest cell.
struct TextTable {
  private var rows: [[String]]
  private let isRightAligned: Bool

  init(_ header: [String], isRightAligned: Bool = false) {
    rows = [header]
    self.isRightAligned = isRightAligned
  }

  mutating func append(_ row: [String]) {
    precondition(row.count == rows[0].count, "a row has as many cells as the header")
    rows.append(row)
  }

  /// The lines, without blanks at their ends.
  var lines: [String] {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = zip(row, widths).map { cell, width in
        let padding = String(repeating: " ", count: width - cell.count)
        return isRightAligned ? padding + cell : cell + padding
      }
      let line = cells.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
  }
}

/// How far something is, on a terminal; elsewhere nothing is shown.
struct ProgressBar {
  private let steps: Int
  private var done = 0
  private let isShown = isatty(STDERR_FILENO) == 1

  init(steps: Int) {
    self.steps = max(steps, 1)
  }

  /// Shows what is being done now.
  func show(_ label: String) {
    if isShown { Output.write("\r\u{1B}[K" + ProgressBar.line(done: done, of: steps, label)) }
  }

  /// Counts a step as done.
  mutating func advance() { done = min(done + 1, steps) }

  /// Takes the bar away.
  func clear() {
    if isShown { Output.write("\r\u{1B}[K") }
  }

  static func line(done: Int, of steps: Int, _ label: String) -> String {
    let filled = width * done / steps
    return "[" + String(repeating: "#", count: filled) + String(repeating: " ", count: width - filled) + "] " + label
  }

  private static let width = 24
}
