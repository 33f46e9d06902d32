import CPlatform

/// The messages of one system call to send, built from entries of a batch in place.
struct SendQueue: ~Copyable {
  /// What a message carries of the batch.
  struct Origin {
    var entry: Int32
    var firstSegment: Int32
    var segments: Int32
    /// Nothing of the entry comes after it.
    var isLast: Bool
  }

  let messages: MessageArray
  let origins: UnsafeMutablePointer<Origin>
  /// Slices of entries that are cut here; whole entries use the caller's slices.
  private let slices: UnsafeMutablePointer<iovec>
  private var slicesUsed = 0
  /// Messages filled.
  private(set) var count = 0
  /// They go through a connected socket, and need no address.
  private var isConnected = false

  init() {
    messages = MessageArray(capacity: Self.messageCapacity)
    origins = .allocate(capacity: Self.messageCapacity)
    slices = .allocate(capacity: Self.sliceCapacity)
    for index in 0..<Self.messageCapacity { Self.prepare(messages, index) }
  }

  /// Builds as many messages as fit, beginning with segment `segment` of `batch[entry]`.
  mutating func fill(
    _ batch: UnsafePointer<OutgoingDatagrams>, _ batchCount: Int, entry: Int, segment: Int, offload: Bool,
    connected: Bool
  ) {
    count = 0
    isConnected = connected
    slicesUsed = 0
    var entry = entry
    var segment = segment
    while entry < batchCount && count < Self.messageCapacity {
      let datagrams = batch + entry
      if segment == 0 && (offload || datagrams.pointee.isSingle) {
        putWhole(datagrams, entry)
      } else if !putSegments(datagrams, entry, from: segment) {
        return
      }
      entry += 1
      segment = entry < batchCount ? batch[entry].firstSegment : 0
    }
  }

  /// An entry as one message, which the kernel cuts if it is several segments.
  @inline(__always)
  private mutating func putWhole(_ datagrams: UnsafePointer<OutgoingDatagrams>, _ entry: Int) {
    let single = datagrams.pointee.isSingle
    let segments = single ? 1 : datagrams.pointee.segmentCount
    let header = put(
      datagrams.pointee.destination,
      Origin(
        entry: Int32(truncatingIfNeeded: entry), firstSegment: 0, segments: Int32(truncatingIfNeeded: segments),
        isLast: true))
    header.pointee.msg_iov = UnsafeMutablePointer(mutating: datagrams.pointee.slices)
    header.pointee.msg_iovlen = .init(truncatingIfNeeded: datagrams.pointee.sliceCount)
    if single {
      header.pointee.msg_controllen = 0
    } else {
      #if os(Linux)
      platform_put_segment_control(
        header.pointee.msg_control, UInt16(truncatingIfNeeded: datagrams.pointee.segmentSize))
      header.pointee.msg_controllen = .init(platform_segment_control_size())
      #endif
    }
  }

  /// An entry as one message for each segment from `first`, cutting slices at the borders. False when not all fitted.
  private mutating func putSegments(
    _ datagrams: UnsafePointer<OutgoingDatagrams>, _ entry: Int, from first: Int
  ) -> Bool {
    let total = datagrams.pointee.segmentCount
    var slice = datagrams.pointee.slices
    let end = slice + datagrams.pointee.sliceCount
    var offset = first * datagrams.pointee.segmentSize
    while slice < end && offset >= slice.pointee.iov_len {
      offset -= slice.pointee.iov_len
      slice += 1
    }
    for segment in first..<max(total, first) {
      guard count < Self.messageCapacity else { return false }
      let start = slicesUsed
      var missing = datagrams.pointee.length(ofSegment: segment)
      while missing > 0 && slice < end {
        guard slicesUsed < Self.sliceCapacity else {
          slicesUsed = start
          return false
        }
        let length = min(missing, slice.pointee.iov_len - offset)
        let base = slice.pointee.iov_base?.advanced(by: offset)
        (slices + slicesUsed).initialize(to: iovec(iov_base: base, iov_len: length))
        slicesUsed += 1
        missing -= length
        offset += length
        if offset == slice.pointee.iov_len {
          offset = 0
          slice += 1
        }
      }
      let header = put(
        datagrams.pointee.destination,
        Origin(
          entry: Int32(truncatingIfNeeded: entry), firstSegment: Int32(truncatingIfNeeded: segment), segments: 1,
          isLast: segment == total - 1))
      header.pointee.msg_iov = slices + start
      header.pointee.msg_iovlen = .init(truncatingIfNeeded: slicesUsed - start)
      header.pointee.msg_controllen = 0
    }
    return true
  }

  /// The next message's header with its address filled in.
  @inline(__always)
  private mutating func put(_ destination: SocketAddress, _ origin: Origin) -> UnsafeMutablePointer<msghdr> {
    let header = messages[count]
    if isConnected {
      header.pointee.msg_name = nil
      header.pointee.msg_namelen = 0
    } else {
      let address = messages.address(count)
      let length = destination.store(to: address, capacity: MessageArray.addressStride)
      header.pointee.msg_name = address
      header.pointee.msg_namelen = socklen_t(truncatingIfNeeded: length)
    }
    origins[count] = origin
    count += 1
    return header
  }

  private static func prepare(_ messages: borrowing MessageArray, _ index: Int) {
    messages[index].pointee.msg_control = messages.control(index)
  }

  deinit {
    origins.deallocate()
    slices.deallocate()
  }

  /// One large entry cut by hand is one call.
  @inline(__always) static var messageCapacity: Int { 64 }
  /// The slices of one entry (1024 at most), each border adding one: any single segment fits.
  @inline(__always) static var sliceCapacity: Int { 1024 + 64 }
}
