import CFabric
import CPlatform
import Native
import Provider

/// The meaning of an error number, given with either sign. The system's numbers have the system's texts, the fabric's
/// own follow from 256, and an unknown number is an unspecified error.
///
/// Man page: fi_errno(3)
@c @implementation public func fi_strerror(_ errnum: Int32) -> UnsafePointer<CChar>! {
  if let native = Delegation.everything { return native.pointee.fi_strerror(errnum) }
  let number = errnum.magnitude
  if number < UInt32(FI_ERRNO_OFFSET) { return UnsafePointer(strerror(Int32(number))) }
  return errorText(Int(number)).text
}

private func errorText(_ number: Int) -> StaticString {
  switch number {
  case Int(FI_ETOOSMALL): "Provided buffer is too small"
  case Int(FI_EOPBADSTATE): "Operation not permitted in current state"
  case Int(FI_EAVAIL): "Error available"
  case Int(FI_EBADFLAGS): "Flags not supported"
  case Int(FI_ENOEQ): "Missing or unavailable event queue"
  case Int(FI_EDOMAIN): "Invalid resource domain"
  case Int(FI_ENOCQ): "Missing or unavailable completion queue"
  case Int(FI_ECRC): "CRC error"
  case Int(FI_ETRUNC): "Truncation error"
  case Int(FI_ENOKEY): "Required key not available"
  case Int(FI_ENOAV): "Missing or unavailable address vector"
  case Int(FI_EOVERRUN): "Queue has been overrun"
  case Int(FI_ENORX): "Receiver not ready, no receive buffers available"
  case Int(FI_ENOMR): "Memory registration limit exceeded"
  // Spelled as programs that compare it know it.
  case Int(FI_EFIREWALLADDR): "Host unreacheable due to firewall"
  default: "Unspecified error"
  }
}
