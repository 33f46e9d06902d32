import CFabric
import CPlatform
import Datagram
import Transport

// What the program posts. All return 0 or a negative FI_E value, as their C functions do.
extension DatagramPort {
  /// Sends a datagram; it is over when the kernel has it. `flags` are those of fi_sendmsg(3) with the endpoint's own
  /// merged in; with FI_MULTICAST `address` is what fi_mc_addr returned.
  @inline(__always)
  package func send(_ pieces: Pieces, to address: UInt64, context: UInt, flags: UInt64) -> Int {
    let length = pieces.length
    guard length >= 0 && (flags & FI_INJECT == 0 || length <= options.injectSize) else { return Int(-FI_EINVAL) }
    guard length <= Self.maximumMessageSize else { return Int(-FI_EMSGSIZE) }
    guard options.hasTransmitQueue else { return -Int(FI_ENOCQ) }
    lock()
    defer { unlock() }
    guard let destination = destination(address, flags) else { return Int(-FI_EINVAL) }
    let isReported = flags & FI_COMPLETION != 0
    guard !isReported || binding.transmitQueue._withUnsafeGuaranteedRef({ $0.reserve() }) else { return tryAgain() }
    let slices = UnsafeRawPointer(pieces.first).assumingMemoryBound(to: iovec.self)
    let outcome = socket.send(
      OutgoingDatagrams(
        destination: destination, slices: slices, sliceCount: pieces.count, segmentSize: 0, totalLength: length))
    guard outcome.stop == .finished else { return refused(outcome.stop, isReported) }
    if isReported {
      binding.transmitQueue._withUnsafeGuaranteedRef {
        $0.push(
          context: context, flags: FI_MSG | FI_SEND, length: 0, buffer: 0, data: 0, tag: 0, source: UInt64.max)
      }
    }
    if let counter = binding.counters.send {
      counter._withUnsafeGuaranteedRef { $0.count(UInt64(truncatingIfNeeded: length)) }
      binding.engine._withUnsafeGuaranteedRef { $0.startDeferredWork() }
    }
    return 0
  }

  /// Where a datagram goes; nil for a number that is not in use.
  @inline(__always)
  private func destination(_ address: UInt64, _ flags: UInt64) -> SocketAddress? {
    if flags & FI_MULTICAST != 0 { return groupAddress(address) }
    return binding.addresses?._withUnsafeGuaranteedRef { $0.address(address) }
  }

  @inline(never)
  private func refused(_ stop: SendStop, _ isReported: Bool) -> Int {
    if isReported { binding.transmitQueue._withUnsafeGuaranteedRef { $0.unreserve() } }
    switch stop {
    case .finished: return 0
    case .wouldBlock, .noBuffers: return tryAgain()
    case .tooBig: return Int(-FI_EMSGSIZE)
    case .unreachable: return Int(-FI_EHOSTUNREACH)
    case .refused: return Int(-FI_ECONNREFUSED)
    case .other(let code): return -Int(code)
    }
  }

  /// For programs that try again without ever polling, which is what frees resources.
  @inline(never)
  private func tryAgain() -> Int {
    binding.engine._withUnsafeGuaranteedRef { $0.progressAside() }
    return Int(-FI_EAGAIN)
  }

  /// Posts a receive, for a datagram from anybody.
  @inline(__always)
  package func receive(_ pieces: Pieces, context: UInt, flags: UInt64) -> Int {
    guard options.hasReceiveQueue else { return -Int(FI_ENOCQ) }
    guard pieces.length >= 0 else { return Int(-FI_EINVAL) }
    lock()
    defer { unlock() }
    guard receives.available > 0, binding.receiveQueue._withUnsafeGuaranteedRef({ $0.reserve() }) else {
      return tryAgain()
    }
    receives.append(pieces, context: context, flags: FI_MSG | FI_RECV | flags & FI_COMPLETION)
    if isUnwatched { binding.engine._withUnsafeGuaranteedRef { $0.watchForSleepers(self) } }
    return 0
  }

  /// Cancels the oldest receive with a context.
  package func cancel(context: UInt) {
    lock()
    defer { unlock() }
    guard let entry = receives.take(context: context) else { return }
    fail(entry, buffer: 0, length: 0, overflow: 0, code: FI_ECANCELED)
  }

  func fail(_ entry: DatagramReceives.Entry, buffer: UInt, length: Int, overflow: Int, code: Int32) {
    binding.receiveQueue._withUnsafeGuaranteedRef {
      $0.pushError(
        context: entry.context, flags: entry.flags & ~FI_COMPLETION, length: length, buffer: buffer, data: 0, tag: 0,
        olen: overflow, err: code, provErrno: code, source: unavailableAddress)
    }
    binding.counters.receive?._withUnsafeGuaranteedRef { $0.countError() }
  }

  @inline(__always) private static var maximumMessageSize: Int { EndpointType.dgram.maximumMessageSize }
}
