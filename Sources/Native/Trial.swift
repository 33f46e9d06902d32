import CFabric
import CPlatform
import Provider

/// Whether a native provider works: its fabric, a domain and an endpoint are opened and closed, once in a process.
///
/// Under ``NativeLibrary/gate``.
enum Trial {
  /// Whether the provider of `info`, an entry of the library's own, works. The first entry that a process sees of a
  /// provider decides for all of them.
  static func isPassed(_ info: UnsafeMutablePointer<fi_info>, _ library: NativeLibrary) -> Bool {
    guard let name = info.pointee.fabric_attr?.pointee.prov_name else { return false }
    if let record = record(of: name) { return record.pointee.isPassed }
    let failure = open(info, library)
    if let failure {
      Standing.note(.failed, provider: name) { text in
        text.append(name)
        text.append(" of ")
        text.append(library.path)
        text.append(" failed on trial, in ")
        text.append(failure.step)
        text.append(": ")
        text.append(library.calls.pointee.fi_strerror(-failure.code))
      }
    } else {
      Standing.note(.chosen, provider: name) { text in
        text.append(name)
        text.append(" of ")
        library.describe(to: &text)
      }
    }
    add(name, isPassed: failure == nil)
    return failure == nil
  }

  /// Whether a provider was tried and works.
  static func wasPassed(_ name: CString) -> Bool { record(of: name)?.pointee.isPassed ?? false }

  /// Whether any provider was tried and works.
  static var wasPassedByAny: Bool {
    var next = head
    while let current = next {
      if current.pointee.isPassed { return true }
      next = current.pointee.next
    }
    return false
  }

  // MARK: Opening

  private typealias Failure = (step: StaticString, code: Int32)

  private static func open(_ info: UnsafeMutablePointer<fi_info>, _ library: NativeLibrary) -> Failure? {
    var fabric: UnsafeMutablePointer<fid_fabric>?
    var code = library.calls.pointee.fi_fabric(info.pointee.fabric_attr, &fabric, nil)
    guard code == 0, let fabric else { return ("fi_fabric", code) }
    defer { close(fabric) }
    var domain: UnsafeMutablePointer<fid_domain>?
    code = fabric.pointee.ops.pointee.domain(fabric, info, &domain, nil)
    guard code == 0, let domain else { return ("fi_domain", code) }
    defer { close(domain) }
    guard info.pointee.ep_attr?.pointee.type != FI_EP_MSG, let openVector = domain.pointee.ops.pointee.av_open else {
      return openEndpoint(of: domain, info, with: nil)
    }
    var attributes = fi_av_attr()
    attributes.type = info.pointee.domain_attr?.pointee.av_type ?? FI_AV_UNSPEC
    var vector: UnsafeMutablePointer<fid_av>?
    code = openVector(domain, &attributes, &vector, nil)
    guard code == 0, let vector else { return ("fi_av_open", code) }
    defer { close(vector) }
    return openEndpoint(of: domain, info, with: vector)
  }

  /// With a vector, because the ofi_rxm of libfabric 1.17 crashes when it closes an endpoint that has none.
  private static func openEndpoint(
    of domain: UnsafeMutablePointer<fid_domain>, _ info: UnsafeMutablePointer<fi_info>,
    with vector: UnsafeMutablePointer<fid_av>?
  ) -> Failure? {
    var endpoint: UnsafeMutablePointer<fid_ep>?
    var code = domain.pointee.ops.pointee.endpoint(domain, info, &endpoint, nil)
    guard code == 0, let endpoint else { return ("fi_endpoint", code) }
    if let vector {
      let fid = asObject(endpoint)
      code = fid.pointee.ops.pointee.bind(fid, asObject(vector), 0)
      // Left open: see above.
      guard code == 0 else { return ("fi_ep_bind", code) }
    }
    close(endpoint)
    return nil
  }

  private static func close<Object>(_ object: UnsafeMutablePointer<Object>) {
    let fid = asObject(object)
    _ = fid.pointee.ops.pointee.close(fid)
  }

  /// Every object begins with its header.
  private static func asObject<Object>(_ object: UnsafeMutablePointer<Object>) -> UnsafeMutablePointer<fid> {
    UnsafeMutableRawPointer(object).assumingMemoryBound(to: fid.self)
  }

  // MARK: Records

  private struct Record {
    let name: CString
    let isPassed: Bool
    var next: UnsafeMutablePointer<Record>?
  }

  private static func record(of name: CString) -> UnsafeMutablePointer<Record>? {
    var next = head
    while let current = next, !CText.equal(current.pointee.name, name) { next = current.pointee.next }
    return next
  }

  /// Without memory the provider will be tried again.
  private static func add(_ name: CString, isPassed: Bool) {
    guard let copy = strdup(name) else { return }
    let record = UnsafeMutablePointer<Record>.allocate(capacity: 1)
    record.initialize(to: Record(name: CString(copy), isPassed: isPassed, next: head))
    head = record
  }

  private nonisolated(unsafe) static var head: UnsafeMutablePointer<Record>?
}
