/// The queues that a connection may wait in, in each at most once.
enum Waiting: Int {
  /// Has something to send: takes its turn in `pollTransmit`.
  case toTransmit
  /// Something happened that may have moved its timers.
  case forTimers
  /// Its peer asked for an acknowledgement as soon as the socket is empty.
  case toAcknowledge
  /// Has something to send and found no slot for its packet or frames.
  case forSlots
  /// Has staged frames that found no room.
  case forRoom
}

/// A connection's links in these queues.
struct ConnectionLinks: BitwiseCopyable {
  /// Stands for "last of its queue" and "in no queue"; no connections have these indices.
  static var end: ConnectionIndex { .max }
  static var none: ConnectionIndex { .max - 1 }

  private var links = InlineArray<5, ConnectionIndex>(repeating: none)

  @inline(__always)
  subscript(waiting: Waiting) -> ConnectionIndex {
    get { links[waiting.rawValue] }
    set { links[waiting.rawValue] = newValue }
  }
}

/// Where connections live, by index.
typealias ConnectionTable = UnsafeMutablePointer<UnsafeMutablePointer<Connection>>

/// Connections that wait for the same thing, first come, first served. All operations are O(1).
struct ConnectionQueue: BitwiseCopyable {
  private let waiting: Waiting
  private var first = ConnectionLinks.end
  private var last = ConnectionLinks.end

  init(_ waiting: Waiting) { self.waiting = waiting }

  @inline(__always)
  var isEmpty: Bool { first == ConnectionLinks.end }

  /// Puts a connection at the end, unless it is in the queue already.
  @inline(__always)
  mutating func append(_ connection: UnsafeMutablePointer<Connection>, in table: ConnectionTable) {
    guard connection.pointee.links[waiting] == ConnectionLinks.none else { return }
    connection.pointee.links[waiting] = ConnectionLinks.end
    if isEmpty {
      first = connection.pointee.index
    } else {
      table[Int(last)].pointee.links[waiting] = connection.pointee.index
    }
    last = connection.pointee.index
  }

  /// Takes the first connection out; nil when there is none.
  @inline(__always)
  mutating func popFirst(in table: ConnectionTable) -> UnsafeMutablePointer<Connection>? {
    guard !isEmpty else { return nil }
    let connection = table[Int(first)]
    first = connection.pointee.links[waiting]
    connection.pointee.links[waiting] = ConnectionLinks.none
    return connection
  }
}
