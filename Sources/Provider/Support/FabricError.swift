import CFabric

/// A failed call: the positive fabric error number. C callers receive it negated.
///
/// Man page: fi_errno(3)
package struct FabricError: Error, Equatable {
  /// The error number, positive (FI_EINVAL, FI_ENODATA, …).
  package let code: Int32

  package init(code: Int32) { self.code = code }

  /// What a C function returns for this error: the negated number.
  package var result: Int32 { -code }

  package static var noEntry: FabricError { FabricError(code: FI_ENOENT) }
  package static var tryAgain: FabricError { FabricError(code: FI_EAGAIN) }
  package static var noMemory: FabricError { FabricError(code: FI_ENOMEM) }
  package static var accessDenied: FabricError { FabricError(code: FI_EACCES) }
  package static var busy: FabricError { FabricError(code: FI_EBUSY) }
  package static var noDevice: FabricError { FabricError(code: FI_ENODEV) }
  package static var invalidArgument: FabricError { FabricError(code: FI_EINVAL) }
  package static var notImplemented: FabricError { FabricError(code: FI_ENOSYS) }
  package static var noData: FabricError { FabricError(code: FI_ENODATA) }
  package static var noSuchOption: FabricError { FabricError(code: FI_ENOPROTOOPT) }
  package static var addressNotAvailable: FabricError { FabricError(code: FI_EADDRNOTAVAIL) }
  package static var timedOut: FabricError { FabricError(code: FI_ETIMEDOUT) }
  package static var hostUnreachable: FabricError { FabricError(code: FI_EHOSTUNREACH) }
  package static var notSupported: FabricError { FabricError(code: FI_EOPNOTSUPP) }
  package static var already: FabricError { FabricError(code: FI_EALREADY) }

  package static var other: FabricError { FabricError(code: Int32(FI_EOTHER)) }
  package static var tooSmall: FabricError { FabricError(code: Int32(FI_ETOOSMALL)) }
  package static var badState: FabricError { FabricError(code: Int32(FI_EOPBADSTATE)) }
  package static var errorAvailable: FabricError { FabricError(code: Int32(FI_EAVAIL)) }
  package static var badFlags: FabricError { FabricError(code: Int32(FI_EBADFLAGS)) }
  package static var noEventQueue: FabricError { FabricError(code: Int32(FI_ENOEQ)) }
  package static var wrongDomain: FabricError { FabricError(code: Int32(FI_EDOMAIN)) }
  package static var noCompletionQueue: FabricError { FabricError(code: Int32(FI_ENOCQ)) }
  package static var truncated: FabricError { FabricError(code: Int32(FI_ETRUNC)) }
  package static var noKey: FabricError { FabricError(code: Int32(FI_ENOKEY)) }
  package static var noAddressVector: FabricError { FabricError(code: Int32(FI_ENOAV)) }
  package static var overrun: FabricError { FabricError(code: Int32(FI_EOVERRUN)) }
}
