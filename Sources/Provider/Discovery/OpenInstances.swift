import CFabric
import CPlatform
import Datagram

/// The fabrics and domains that are open in this process, by name, so that fi_getinfo can say which it found open.
///
/// Any thread. Names are borrowed: they stay valid until the object is removed.
///
/// Man pages: fi_fabric(3), fi_fabric_attr.fabric; fi_domain(3), fi_domain_attr.domain
package enum OpenInstances {
  /// Notes an open fabric. Throws ``FabricError/noMemory``.
  package static func add(fabric: UnsafeMutablePointer<fid_fabric>, name: CString) throws(FabricError) {
    try add(UnsafeMutableRawPointer(fabric), parent: nil, name: name)
  }

  /// Notes an open domain of `fabric`. Throws ``FabricError/noMemory``.
  package static func add(
    domain: UnsafeMutablePointer<fid_domain>, fabric: UnsafeMutablePointer<fid_fabric>, name: CString
  ) throws(FabricError) {
    try add(UnsafeMutableRawPointer(domain), parent: UnsafeMutableRawPointer(fabric), name: name)
  }

  /// Forgets a fabric or domain that is being closed; nothing happens if it is not known.
  package static func remove(_ object: UnsafeMutableRawPointer) {
    lock.lock()
    defer { lock.unlock() }
    var previous: UnsafeMutablePointer<Instance>?
    var next = head
    while let current = next, current.pointee.object != object {
      previous = current
      next = current.pointee.next
    }
    guard let found = next else { return }
    if let previous { previous.pointee.next = found.pointee.next } else { head = found.pointee.next }
    free(found)
  }

  /// The first fabric opened under `name`, or nil.
  package static func fabric(named name: CString) -> UnsafeMutablePointer<fid_fabric>? {
    find(parent: nil, name: name)?.assumingMemoryBound(to: fid_fabric.self)
  }

  /// The first domain opened under `name` in `fabric`, or nil.
  package static func domain(
    named name: CString, in fabric: UnsafeMutablePointer<fid_fabric>
  ) -> UnsafeMutablePointer<fid_domain>? {
    find(parent: UnsafeMutableRawPointer(fabric), name: name)?.assumingMemoryBound(to: fid_domain.self)
  }

  /// Whether a fabric or domain is this library's, and open.
  package static func contains(_ object: UnsafeMutableRawPointer) -> Bool {
    lock.lock()
    defer { lock.unlock() }
    var next = head
    while let current = next, current.pointee.object != object { next = current.pointee.next }
    return next != nil
  }

  private struct Instance {
    let object: UnsafeMutableRawPointer
    let parent: UnsafeMutableRawPointer?
    let name: CString
    var next: UnsafeMutablePointer<Instance>?
  }

  private static func add(
    _ object: UnsafeMutableRawPointer, parent: UnsafeMutableRawPointer?, name: CString
  ) throws(FabricError) {
    guard let memory = malloc(MemoryLayout<Instance>.stride) else { throw .noMemory }
    let instance = memory.bindMemory(to: Instance.self, capacity: 1)
    instance.initialize(to: Instance(object: object, parent: parent, name: name, next: nil))
    lock.lock()
    defer { lock.unlock() }
    guard var last = head else {
      head = instance
      return
    }
    while let next = last.pointee.next { last = next }
    last.pointee.next = instance
  }

  private static func find(parent: UnsafeMutableRawPointer?, name: CString) -> UnsafeMutableRawPointer? {
    lock.lock()
    defer { lock.unlock() }
    var next = head
    while let current = next {
      if current.pointee.parent == parent && strcmp(current.pointee.name, name) == 0 { return current.pointee.object }
      next = current.pointee.next
    }
    return nil
  }

  private static let lock = Lock()
  private nonisolated(unsafe) static var head: UnsafeMutablePointer<Instance>?
}
