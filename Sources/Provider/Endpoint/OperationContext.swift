import CFabric
import Transport

/// What an operation's completion needs, carried by the transport in the operation's cookie: no table stands between
/// fi_send and the completion queue.
package struct OperationContext: BitwiseCopyable {
  /// The program's context pointer.
  package var context: UInt
  /// FI_SEND with FI_MSG or FI_TAGGED, or FI_RMA or FI_ATOMIC with FI_READ or FI_WRITE; and FI_COMPLETION if a success is reported.
  package var flags: UInt64

  @inline(__always)
  package init(context: UInt, flags: UInt64) {
    self.context = context
    self.flags = flags
  }

  @inline(__always)
  package init(_ cookie: Cookies) { self.init(context: UInt(truncatingIfNeeded: cookie.first), flags: cookie.second) }

  @inline(__always)
  package var cookie: Cookies { Cookies(UInt64(context), flags) }

  /// An operation of the provider's own, for one of its receive contexts: of no completion queue and no counter.
  package init(internal context: UInt, for number: UInt16) {
    self.init(context: context, flags: Self.internalMark | UInt64(number))
  }

  /// Whether the program knows nothing of it.
  @inline(__always)
  package var isInternal: Bool { flags & Self.internalMark != 0 }
  /// Of an operation of the provider's own: the receive context that its message is for.
  package var internalNumber: UInt16 { UInt16(truncatingIfNeeded: flags) }

  /// No flag of a completion.
  @inline(__always) private static var internalMark: UInt64 { 1 << 63 }
}

/// Names, in the first word of a cookie, what a peer's transfer goes to or comes from.
package enum TransferName {
  /// A posted receive, by its index and the number of its context.
  @inline(__always)
  package static func receive(_ index: UInt32, of context: UInt16) -> Cookies {
    Cookies(1 << 32 | UInt64(index), UInt64(context))
  }
  /// An unexpected message, by its index and the number of the context it waits in.
  package static func unexpected(_ index: UInt32, of context: UInt16) -> Cookies {
    Cookies(2 << 32 | UInt64(index), UInt64(context))
  }
  /// Memory regions, by the index of the transfer.
  package static func regions(_ index: UInt32) -> Cookies { Cookies(3 << 32 | UInt64(index)) }
  /// A message in a buffer for many, by its index in ``MultiReceives`` and the number of their context.
  @inline(__always)
  package static func packed(_ index: UInt32, of context: UInt16) -> Cookies {
    Cookies(8 << 32 | UInt64(index), UInt64(context))
  }
  @inline(__always)
  package static func isPacked(_ cookie: Cookies) -> Bool { cookie.first >> 32 == 8 }

  @inline(__always)
  package static func index(_ cookie: Cookies) -> UInt32 { UInt32(truncatingIfNeeded: cookie.first) }
  @inline(__always)
  package static func context(_ cookie: Cookies) -> UInt16 { UInt16(truncatingIfNeeded: cookie.second) }
  /// Whether what it names belongs to one of the provider's own contexts.
  @inline(__always)
  package static func isInternal(_ cookie: Cookies) -> Bool { context(cookie) >= ReceiveContext.firstInternal }
}

/// How the transport's outcomes read in C.
package enum TransferError {
  /// The positive FI_E value of an operation that did not end well. What the target refuses is FI_EACCES, as in upstream's
  /// check of memory regions.
  package static func code(_ status: TransportStatus) -> Int32 {
    switch status {
    case .ok: return 0
    case .accessDenied, .outOfBounds: return FI_EACCES
    case .unsupported: return FI_EOPNOTSUPP
    case .aborted: return FI_EREMOTEIO
    case .refused: return FI_ECONNREFUSED
    case .timedOut: return FI_ETIMEDOUT
    case .reset: return FI_ECONNRESET
    case .closed: return FI_ECONNABORTED
    }
  }

  /// `prov_errno` of the completion: a system error number too, since fi_cq_strerror(3) explains it, which tells apart what
  /// libfabric has one name for.
  package static func providerCode(_ status: TransportStatus) -> Int32 {
    status == .outOfBounds ? FI_EFAULT : code(status)
  }
}
