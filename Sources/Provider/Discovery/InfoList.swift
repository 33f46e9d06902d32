import CFabric

/// A list of `fi_info` structures that grows at its end, in constant time.
///
/// Owned by whoever takes ``head``, to be given back with ``InfoMemory/free(_:)``. One thread.
package struct InfoList {
  /// The first structure; nil for an empty list.
  package private(set) var head: UnsafeMutablePointer<fi_info>?
  private var tail: UnsafeMutablePointer<fi_info>?

  package init() {}

  /// Appends a structure, and those linked to it.
  package mutating func append(_ info: UnsafeMutablePointer<fi_info>?) {
    guard let info else { return }
    if let tail { tail.pointee.next = info } else { head = info }
    var last = info
    while let next = last.pointee.next { last = next }
    tail = last
  }
}
