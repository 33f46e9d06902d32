import CFabric
import Transport

/// What an operation's completion needs, carried by the transport in the operation's cookie: no table stands between
/// fi_send and the completion queue.
package struct OperationContext: BitwiseCopyable {
  /// The program's context pointer.
  package var context: UInt
  /// FI_SEND with FI_MSG or FI_TAGGED, or FI_RMA or FI_ATOMIC with FI_READ or FI_WRITE; FI_COMPLETION if a success is
  /// reported; and the number of the transmit context in a place where such flags have none.
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

  // MARK: Transmit contexts

  /// Number of the transmit context of a scalable endpoint, in its place among the flags; 0 for the port's own.
  @inline(__always)
  package var number: UInt64 { flags & Self.nobody }
  @inline(__always)
  package var completionFlags: UInt64 { flags & Self.flagsMask & ~FI_COMPLETION }

  package static func place(ofContext index: Int) -> UInt64 { UInt64(index + 1) << numberShift }
  package static func contextIndex(_ number: UInt64) -> Int { Int(number >> numberShift) - 1 }
  /// Of operations that the program has given up.
  package static var nobody: UInt64 { 0x7FFF << numberShift }

  private static var numberShift: UInt64 { 48 }
  private static var flagsMask: UInt64 { 1 << numberShift - 1 }

  // MARK: The end

  /// Reports success, or gives up the room for that.
  @inline(__always)
  func succeed(_ queue: Unmanaged<CompletionQueue>) {
    queue._withUnsafeGuaranteedRef {
      if flags & FI_COMPLETION != 0 {
        $0.push(
          context: context, flags: completionFlags, length: 0, buffer: 0, data: 0, tag: 0, source: UInt64.max)
      } else {
        $0.unreserve()
      }
    }
  }

  @inline(never)
  func fail(_ status: TransportStatus, _ queue: Unmanaged<CompletionQueue>) {
    queue._withUnsafeGuaranteedRef {
      $0.pushError(
        context: context, flags: completionFlags, length: 0, buffer: 0, data: 0, tag: 0, olen: 0,
        err: TransferError.code(status), provErrno: TransferError.providerCode(status), source: UInt64.max)
    }
  }
}

/// Names, in the first word of a cookie, what a peer's transfer goes to or comes from; in the second the receive context,
/// where there is one: its number in the lowest 16 bits.
package enum TransferName {
  /// A posted receive, by its index.
  @inline(__always)
  package static func receive(_ index: UInt32, of context: ReceiveContext) -> Cookies {
    Cookies(1 << 32 | UInt64(index), context.name)
  }
  /// An unexpected message, by its index.
  package static func unexpected(_ index: UInt32, of context: ReceiveContext) -> Cookies {
    Cookies(2 << 32 | UInt64(index), context.name)
  }
  /// The same in one of the provider's own contexts.
  package static func receive(_ index: UInt32, ofInternal number: UInt16) -> Cookies {
    Cookies(1 << 32 | UInt64(index), UInt64(number))
  }
  package static func unexpected(_ index: UInt32, ofInternal number: UInt16) -> Cookies {
    Cookies(2 << 32 | UInt64(index), UInt64(number))
  }
  /// Memory regions, by the index of the transfer.
  package static func regions(_ index: UInt32) -> Cookies { Cookies(3 << 32 | UInt64(index)) }
  /// A message in a buffer for many, by its index in ``MultiReceives``.
  @inline(__always)
  package static func packed(_ index: UInt32, of context: ReceiveContext) -> Cookies {
    Cookies(8 << 32 | UInt64(index), context.name)
  }
  @inline(__always)
  package static func isPacked(_ cookie: Cookies) -> Bool { cookie.first >> 32 == 8 }

  /// A message for receives that another provider owns, by its address: the lower half of that, and the upper one above
  /// the number of a context, which is 0.
  static func imported(_ message: ImportedMessages.Pointer) -> Cookies {
    let address = UInt64(UInt(bitPattern: message))
    return Cookies(9 << 32 | address & 0xffff_ffff, (address >> 32) << 16)
  }
  @inline(__always)
  package static func isImported(_ cookie: Cookies) -> Bool { cookie.first >> 32 == 9 }
  static func imported(_ cookie: Cookies) -> ImportedMessages.Pointer {
    let address = cookie.first & 0xffff_ffff | (cookie.second >> 16) << 32
    return ImportedMessages.Pointer(bitPattern: UInt(truncatingIfNeeded: address)).unsafelyUnwrapped
  }

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
    case .notPersistent: return FI_EIO
    }
  }

  /// `prov_errno` of the completion: a system error number too, since fi_cq_strerror(3) explains it, which tells apart what
  /// libfabric has one name for.
  package static func providerCode(_ status: TransportStatus) -> Int32 {
    status == .outOfBounds ? FI_EFAULT : code(status)
  }
}
