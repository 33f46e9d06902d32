import CFabric
import Synchronization

/// A piece of memory, registered with its domain where the provider wants that. Regions are views of it; operations
/// under way own it too, so it goes with the last of them.
final class RegisteredMemory: @unchecked Sendable {
  let bytes: UnsafeMutableRawBufferPointer

  /// What local operations are given: fi_mr_desc(3).
  var descriptor: UnsafeMutableRawPointer? { registration.map { fi_mr_desc($0) } }

  /// Counts how often an operation has given the memory back. See ``ReturnedRegion``.
  fileprivate let returns = Atomic<UInt64>(0)

  let registration: UnsafeMutablePointer<fid_mr>?
  private let domain: Domain

  /// What a region of FI_MR_ENDPOINT is bound to.
  private let endpoint: EndpointHandle?

  /// Memory for local operations.
  convenience init(_ domain: Domain, byteCount: Int) throws(FabricError) {
    let access = domain.registers(FI_MR_LOCAL) ? FI_SEND | FI_RECV | FI_READ | FI_WRITE : 0
    try self.init(domain, byteCount: byteCount, access: access, endpoint: nil)
  }

  /// Memory that is all zero; `access` of 0 leaves it unregistered.
  init(_ domain: Domain, byteCount: Int, access: UInt64, endpoint: EndpointHandle?) throws(FabricError) {
    guard byteCount >= 0 else { throw FabricError(.invalidArgument, in: "region of \(byteCount) bytes") }
    // Whole pages where it is large: devices map pages, and the kernel takes them without a copy.
    let alignment = byteCount < RegisteredMemory.pageSize ? RegisteredMemory.cacheLine : RegisteredMemory.pageSize
    bytes = .allocate(byteCount: byteCount, alignment: alignment)
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
    self.domain = domain
    self.endpoint = endpoint
    guard access != 0 && byteCount > 0 else {
      registration = nil
      return
    }
    do {
      registration = try domain.register(bytes, access: access, endpoint: endpoint)
    } catch {
      bytes.deallocate()
      throw error
    }
  }

  deinit {
    // What cannot be deregistered may still be accessed: it is never given to anybody else.
    if let registration, fi_close(registration.base) != 0 { return }
    bytes.deallocate()
  }

  private static let pageSize = 4096
  private static let cacheLine = 64
}

extension RegisteredMemory {
  /// The first `count` bytes. What it is handed out for keeps the memory.
  @_lifetime(borrow self)
  func span(count: Int) -> RawSpan {
    _overrideLifetime(RawSpan(_unsafeStart: bytes.baseAddress!, byteCount: count), borrowing: self)
  }

  /// Hands the memory to whoever asks the result first.
  func giveBack(count: Int) -> ReturnedRegion {
    ReturnedRegion(memory: self, turn: returns.load(ordering: .acquiring), count: count)
  }
}

/// A region that an operation has ended with, until somebody takes it.
///
/// It can be copied, as completions and errors are; the region it stands for has one owner. Each turn of the memory,
/// from one operation to its owner, can be taken once, and copies that were kept from an earlier turn are worth nothing.
struct ReturnedRegion: Sendable {
  let memory: RegisteredMemory
  let turn: UInt64
  let count: Int

  func take() -> ReceiveRegion? {
    let (taken, _) = memory.returns.compareExchange(
      expected: turn, desired: turn &+ 1, ordering: .acquiringAndReleasing)
    return taken ? ReceiveRegion(memory, count: count) : nil
  }
}

extension Domain {
  /// Registers memory with a key of its own.
  fileprivate func register(
    _ bytes: UnsafeMutableRawBufferPointer, access: UInt64, endpoint: EndpointHandle?
  ) throws(FabricError) -> UnsafeMutablePointer<fid_mr> {
    var region: UnsafeMutablePointer<fid_mr>?
    var result: Int32
    var attempts = 0
    repeat {
      result = fi_mr_reg(handle, bytes.baseAddress, bytes.count, access, 0, makeKey(), 0, &region, nil)
      attempts += 1
    } while result == -Int32(FI_ENOKEY) && !registers(FI_MR_PROV_KEY) && attempts < Domain.keyAttempts
    try check("fi_mr_reg", result)
    guard let region else { throw FabricError(.noMemory, in: "fi_mr_reg") }
    guard let endpoint else { return region }
    do {
      try check("fi_mr_bind", fi_mr_bind(region, endpoint.pointer.base, 0))
      try check("fi_mr_enable", fi_mr_enable(region))
      return region
    } catch {
      fi_close(region.base)
      throw error
    }
  }

  /// Keys in use that are passed over. They come from regions that outlive a whole round of short keys.
  private static let keyAttempts = 64
}
