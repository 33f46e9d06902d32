import CFabric

/// Why a call or an operation failed.
///
/// The code is libfabric's own, the same on every level, so programs compare ``code`` and show the error itself. Calls
/// that consume a ``ReceiveRegion`` keep it here when they fail: see ``takeRegion()``.
///
/// Man page: fi_errno(3)
public struct FabricError: Error, Sendable {
  /// What went wrong.
  public let code: Code

  /// The call, or the operation, that failed: `fi_domain`, `receive`.
  public let call: String

  /// The provider's own number for the error; 0 where it has none.
  public let providerCode: Int32

  /// What the provider itself says about ``providerCode``, if anything.
  public let providerText: String?

  let returned: ReturnedRegion?

  init(
    _ code: Code, in call: String, providerCode: Int32 = 0, providerText: String? = nil,
    returned: ReturnedRegion? = nil
  ) {
    self.code = code
    self.call = call
    self.providerCode = providerCode
    self.providerText = providerText
    self.returned = returned
  }

  /// The region that the failed call was given, so that it can be used again. A region has one owner: the first to ask
  /// gets it, everybody later nil.
  ///
  ///     do {
  ///       try endpoint.recv(region)
  ///     } catch {
  ///       if let region = error.takeRegion() { spare.append(region) }
  ///     }
  public func takeRegion() -> ReceiveRegion? {
    returned?.take()
  }
}

extension FabricError {
  /// An error number of fi_errno(3), positive.
  public struct Code: RawRepresentable, Hashable, Sendable {
    /// The number.
    public let rawValue: Int32

    /// The error with the number `rawValue`, of either sign, as C calls return it.
    public init(rawValue: Int32) {
      self.rawValue = rawValue < 0 ? 0 &- rawValue : rawValue
    }

    /// The queue is full: read completions and try again. `FI_EAGAIN`
    public static let tryAgain = Code(rawValue: FI_EAGAIN)
    /// Nothing satisfies the request. `FI_ENODATA`
    public static let noData = Code(rawValue: FI_ENODATA)
    /// What was given makes no sense. `FI_EINVAL`
    public static let invalidArgument = Code(rawValue: FI_EINVAL)
    /// The provider does not do this. `FI_ENOSYS`
    public static let notImplemented = Code(rawValue: FI_ENOSYS)
    /// The provider does this, but not so. `FI_EOPNOTSUPP`
    public static let notSupported = Code(rawValue: FI_EOPNOTSUPP)
    /// There is no memory, or no room. `FI_ENOMEM`
    public static let noMemory = Code(rawValue: FI_ENOMEM)
    /// The operation was cancelled. `FI_ECANCELED`
    public static let cancelled = Code(rawValue: FI_ECANCELED)
    /// The message was longer than the region; what fits is there. `FI_ETRUNC`
    public static let truncated = Code(rawValue: Int32(FI_ETRUNC))
    /// Longer than the provider carries, or injects. `FI_EMSGSIZE`
    public static let messageTooLong = Code(rawValue: FI_EMSGSIZE)
    /// The peer's memory has no such key, or not for this. `FI_EACCES`
    public static let accessDenied = Code(rawValue: FI_EACCES)
    /// The key is in use, or nobody has it. `FI_ENOKEY`
    public static let noKey = Code(rawValue: Int32(FI_ENOKEY))
    /// Time is up. `FI_ETIMEDOUT`
    public static let timedOut = Code(rawValue: FI_ETIMEDOUT)
    /// The address cannot be had, or means nothing here. `FI_EADDRNOTAVAIL`
    public static let addressNotAvailable = Code(rawValue: FI_EADDRNOTAVAIL)
    /// The peer answers no more. `FI_EHOSTUNREACH`
    public static let hostUnreachable = Code(rawValue: FI_EHOSTUNREACH)
    /// The peer does not want the connection. `FI_ECONNREFUSED`
    public static let connectionRefused = Code(rawValue: FI_ECONNREFUSED)
    /// An error waits to be read. `FI_EAVAIL`
    public static let errorAvailable = Code(rawValue: Int32(FI_EAVAIL))
  }
}

extension FabricError.Code: CustomStringConvertible {
  /// What the library says the error means: `Resource temporarily unavailable`.
  public var description: String { String(cString: fi_strerror(rawValue)) }
}

extension FabricError: CustomStringConvertible {
  /// One line: the call, the meaning, and what the provider adds.
  public var description: String {
    guard let providerText, !providerText.isEmpty else { return "\(call): \(code)" }
    return "\(call): \(code) (\(providerText))"
  }
}

/// Throws what a C call returned, unless it is 0.
@inline(__always)
func check(_ call: @autoclosure () -> String, _ result: Int32) throws(FabricError) {
  guard result == 0 else { throw FabricError(FabricError.Code(rawValue: result), in: call()) }
}
