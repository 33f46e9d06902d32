import CPlatform

/// Preallocated message headers, each with an address and a control buffer of its own, laid out as sendmmsg(2) and
/// recvmmsg(2) want them. The same memory serves sendmsg(2) and recvmsg(2), one header at a time.
struct MessageArray: ~Copyable {
  #if os(Linux)
  typealias Element = platform_mmsghdr
  #else
  typealias Element = msghdr
  #endif

  let elements: UnsafeMutablePointer<Element>
  let capacity: Int
  private let addresses: UnsafeMutableRawPointer
  private let controls: UnsafeMutableRawPointer

  init(capacity: Int) {
    self.capacity = capacity
    elements = .allocate(capacity: capacity)
    addresses = .allocate(byteCount: capacity * Self.addressStride, alignment: 16)
    controls = .allocate(byteCount: capacity * Self.controlStride, alignment: 16)
    memset(elements, 0, capacity * MemoryLayout<Element>.stride)
    memset(addresses, 0, capacity * Self.addressStride)
    memset(controls, 0, capacity * Self.controlStride)
    for index in 0..<capacity { self[index].pointee.msg_name = address(index) }
  }

  @inline(__always)
  subscript(index: Int) -> UnsafeMutablePointer<msghdr> {
    // The header is the first member, which CPlatform asserts.
    UnsafeMutableRawPointer(elements + index).assumingMemoryBound(to: msghdr.self)
  }

  @inline(__always)
  func address(_ index: Int) -> UnsafeMutableRawPointer { addresses + index * Self.addressStride }

  @inline(__always)
  func control(_ index: Int) -> UnsafeMutableRawPointer { controls + index * Self.controlStride }

  deinit {
    elements.deallocate()
    addresses.deallocate()
    controls.deallocate()
  }

  @inline(__always) static var addressStride: Int { 32 }
  @inline(__always) static var controlStride: Int { 64 }
}
