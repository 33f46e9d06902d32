import CFabric
import Provider

// Atomic operations: fi_atomic(3). None is built: the endpoints' table is fi_enosys.swift's.

/// fi_atomic(3), fi_query_atomic: -FI_ENOSYS.
func domain_query_atomic(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ datatype: fi_datatype, _ op: fi_op,
  _ attr: UnsafeMutablePointer<fi_atomic_attr>?, _ flags: UInt64
) -> Int32 {
  notBuilt
}
