import CFabric

/// Kinds of operation and what completions tell: what a program asks for, and what an ``Info`` offers.
///
/// Man page: fi_getinfo(3)
public struct Capabilities: OptionSet, Hashable, Sendable {
  /// The bits of `fi_info.caps`.
  public let rawValue: UInt64

  /// Capabilities from the bits of `fi_info.caps`.
  public init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// Messages. `FI_MSG`
  public static let messages = Capabilities(rawValue: FI_MSG)
  /// Messages with tags. `FI_TAGGED`
  public static let taggedMessages = Capabilities(rawValue: FI_TAGGED)
  /// Access to the memory of peers. `FI_RMA`
  public static let remoteMemory = Capabilities(rawValue: FI_RMA)
  /// Atomic operations on the memory of peers. `FI_ATOMIC`
  public static let atomics = Capabilities(rawValue: FI_ATOMIC)
  /// Completions of receives name the peer. `FI_SOURCE`
  public static let source = Capabilities(rawValue: FI_SOURCE)
  /// Receives may name the peer they want. `FI_DIRECTED_RECV`
  public static let directedReceives = Capabilities(rawValue: FI_DIRECTED_RECV)

  /// All that this module has operations for.
  public static let all: Capabilities = [
    .messages, .taggedMessages, .remoteMemory, .atomics, .source, .directedReceives,
  ]
}
