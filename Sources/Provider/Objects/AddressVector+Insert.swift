import CFabric
import CPlatform
import Datagram

/// Where one call of a program wants to be told how its insertions went.
package struct InsertionReport {
  /// Room for a number for each address, or nil.
  package var numbers: UnsafeMutablePointer<UInt64>?
  /// Room for an error number for each address (FI_SYNC_ERR), or nil.
  package var errors: UnsafeMutablePointer<Int32>?

  /// What events about it name: the vector's handle and the call's context.
  package var fid: UnsafeMutablePointer<fid>?
  package var context: UnsafeMutableRawPointer?

  /// `numbers` come with what completions are to report for each address (FI_AV_USER_ID), or with the number of its key
  /// (FI_AUTH_KEY).
  package var bringsIdentifiers = false
  package var bringsKeys = false

  package init(
    numbers: UnsafeMutablePointer<UInt64>?, errors: UnsafeMutablePointer<Int32>?, fid: UnsafeMutablePointer<fid>? = nil,
    context: UnsafeMutableRawPointer? = nil
  ) {
    self.numbers = numbers
    self.errors = errors
    self.fid = fid
    self.context = context
  }
}

/// One call's insertions: tells the program how each went, and what they came to.
private struct Insertion {
  private let report: InsertionReport
  private let queue: EventQueue?
  private var inserted = 0
  private var failed = 0
  /// Of an event that could not be queued.
  private var shortage: FabricError?

  /// Throws FI_ENOEQ when events are wanted and no queue is bound, FI_EBADFLAGS when error numbers are wanted as well, or
  /// for FI_AV_USER_ID where identifiers come from fi_av_set_user_id, FI_EAGAIN when the program has not read the events
  /// of many earlier calls.
  init(_ vector: AddressVector, _ report: InsertionReport) throws(FabricError) {
    self.report = report
    queue = vector.eventQueue
    if report.bringsIdentifiers || report.bringsKeys { try vector.checkIdentities(report) }
    guard vector.isAsynchronous else { return }
    guard let queue else { throw Self.refuse("no event queue is bound", .noEventQueue) }
    if report.errors != nil { throw Self.refuse("FI_SYNC_ERR does not go with FI_EVENT", .badFlags) }
    if !queue.hasRoom { throw .tryAgain }
  }

  /// Inserts one address.
  mutating func place(_ index: Int, _ address: SocketAddress, in vector: AddressVector) throws(FabricError) {
    let brought = report.numbers?[index] ?? unavailableAddress
    if report.bringsKeys { return succeed(index, try vector.insert(address, key: brought)) }
    let number = try vector.insert(address)
    if report.bringsIdentifiers { vector.setReported(number, brought) }
    succeed(index, number)
  }

  private mutating func succeed(_ index: Int, _ number: UInt64) {
    inserted += 1
    report.numbers?[index] = number
    report.errors?[index] = 0
  }

  mutating func fail(_ index: Int, _ error: FabricError) {
    failed += 1
    report.numbers?[index] = unavailableAddress
    report.errors?[index] = error.code
    guard let queue else { return }
    var entry = fi_eq_err_entry()
    entry.fid = report.fid
    entry.context = report.context
    entry.data = UInt64(index)
    entry.err = error.code
    entry.prov_errno = error.code
    do throws(FabricError) { try queue.report(entry) } catch { shortage = error }
  }

  /// Ends the call with what it returns: how many addresses were inserted, or 0 where an event says so. Throws FI_ENOMEM
  /// when there was no memory for the events.
  mutating func finish() throws(FabricError) -> Int {
    if failed > 0 {
      let (inserted, failed) = (inserted, failed)
      Log.write(.warn, .addressVector, function: "fi_av_insert") { text in
        text.append(decimal: Int64(failed))
        text.append(" of ")
        text.append(decimal: Int64(inserted + failed))
        text.append(" addresses are none that datagrams can be sent to from here")
      }
    }
    guard let queue else { return inserted }
    if let shortage { throw shortage }
    try queue.report(
      event: UInt32(FI_AV_COMPLETE), fi_eq_entry(fid: report.fid, context: report.context, data: UInt64(inserted)))
    return 0
  }

  static func refuse(_ reason: StaticString, _ error: FabricError) -> FabricError {
    AddressVector.refuse(reason, in: "fi_av_insert", error)
  }
}

extension AddressVector {
  /// Inserts `count` addresses of the vector's format, one behind the other, and returns how many were inserted; 0 where
  /// events tell (FI_EVENT). In a vector for both families all have the family of the first.
  ///
  /// Throws FI_EINVAL when the first one is of a family that does not fit at all; and where events tell, FI_ENOEQ when no
  /// queue is bound, FI_EBADFLAGS with FI_SYNC_ERR, FI_EAGAIN when too many events wait.
  package func insert(
    _ addresses: UnsafeRawPointer?, count: Int, _ report: InsertionReport
  ) throws(FabricError) -> Int {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    var insertion = try Insertion(self, report)
    guard count > 0 else { return try insertion.finish() }
    guard let addresses else { throw Self.refuse("no addresses", in: "fi_av_insert") }
    guard let size = entrySize(addresses) else {
      throw Self.refuse("the first address is of another family than the domain's", in: "fi_av_insert")
    }
    for index in 0..<count {
      do throws(FabricError) {
        guard let address = SocketAddress(sockaddr: addresses + index * size, length: size) else {
          throw .addressNotAvailable
        }
        try insertion.place(index, address, in: self)
      } catch {
        insertion.fail(index, error)
      }
    }
    return try insertion.finish()
  }

  /// Removes `count` numbers, the last first. Throws FI_EINVAL when any was not in use; the others are removed.
  package func remove(_ numbers: UnsafePointer<UInt64>, count: Int) throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    var failure: FabricError?
    for index in stride(from: count - 1, through: 0, by: -1) {
      do throws(FabricError) { try remove(numbers[index]) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// Stores the address with a number, cut to `length` bytes, and returns its full length. Throws FI_EINVAL for a number
  /// that is not in use.
  package func lookup(_ number: UInt64, into sockaddr: UnsafeMutableRawPointer?, length: Int) throws(FabricError) -> Int
  {
    domain.engine.lock()
    let address = address(number)
    domain.engine.unlock()
    guard let address else { throw Self.refuse("a number that is not in use", in: "fi_av_lookup") }
    guard let sockaddr else { return address.family == .ipv4 ? 16 : 28 }
    return address.store(to: sockaddr, capacity: length)
  }

  /// Inserts `nodeCount` × `serviceCount` addresses: hosts whose names or addresses count up from `node`, and for each
  /// all ports from `service` on. Names are resolved first, which may take seconds; no lock is held meanwhile. Returns
  /// as ``insert(_:count:_:)`` does.
  ///
  /// Throws FI_EINVAL for names that cannot be counted up, FI_EADDRNOTAVAIL when a single name has no address and no
  /// event tells; and what ``insert(_:count:_:)`` throws.
  package func insert(
    node: UnsafePointer<CChar>, nodeCount: Int, service: UnsafePointer<CChar>, serviceCount: Int,
    _ report: InsertionReport
  ) throws(FabricError) -> Int {
    domain.engine.lock()
    let opened = Result { () throws(FabricError) in try Insertion(self, report) }
    domain.engine.unlock()
    var insertion = try opened.get()
    if nodeCount == 0 || serviceCount == 0 { return try insertion.finish() }
    var series = try HostSeries(node, service, nodeCount: nodeCount, serviceCount: serviceCount, family: family)
    let (total, overflow) = nodeCount.multipliedReportingOverflow(by: serviceCount)
    guard !overflow, nodeCount > 0, serviceCount > 0 else {
      throw Self.refuse("too many hosts and services", in: "fi_av_insertsym")
    }
    for index in 0..<total {
      do throws(FabricError) {
        let address = try series.address(node: index / serviceCount, service: index % serviceCount)
        domain.engine.lock()
        defer { domain.engine.unlock() }
        try insertion.place(index, address, in: self)
      } catch {
        if total == 1 && !isAsynchronous {
          throw Self.refuse(
            "no such host or service, or none that datagrams can be sent to", in: "fi_av_insertsvc", error)
        }
        insertion.fail(index, error)
      }
    }
    return try insertion.finish()
  }

  private var family: AddressFamily {
    accepts(.ipv4) && accepts(.ipv6) ? .none : accepts(.ipv4) ? .ipv4 : .ipv6
  }

  /// Bytes from one address of a list to the next; nil when the first is none that fits.
  private func entrySize(_ addresses: UnsafeRawPointer) -> Int? {
    let family = Int32(addresses.loadUnaligned(as: sa_family_t.self))
    switch self.family {
    // A list for IPv6 whose first entry is empty or IPv4 still has entries of that size; each fails by itself.
    case .ipv6: return MemoryLayout<sockaddr_in6>.size
    case .ipv4: return family == AF_INET6 ? nil : MemoryLayout<sockaddr_in>.size
    case .none where family == AF_INET: return MemoryLayout<sockaddr_in>.size
    case .none where family == AF_INET6: return MemoryLayout<sockaddr_in6>.size
    case .none: return nil
    }
  }
}

/// Hosts and ports that count up: 10.0.0.1, 10.0.0.2, …; node07, node08, …; each with ports 7471, 7472, ….
private struct HostSeries: ~Copyable {
  private let service: UnsafePointer<CChar>
  private let serviceCount: Int
  private let family: AddressFamily
  /// The first address, where the node is one and no name.
  private let numeric: SocketAddress?
  private let port: UInt16
  /// A copy of the name to write numbers into, and the place and width of its number.
  private let name: UnsafeMutablePointer<CChar>
  private let digitsStart: Int
  private let digits: Int
  private let firstNumber: UInt64
  /// The host resolved last, so that its services need no further question.
  private var resolved: (node: Int, address: SocketAddress)?

  init(
    _ node: UnsafePointer<CChar>, _ service: UnsafePointer<CChar>, nodeCount: Int, serviceCount: Int,
    family: AddressFamily
  ) throws(FabricError) {
    let numeric = SocketAddress(numericHost: node, port: 0)
    let length = strlen(node)
    guard length > 0, length < Self.nameCapacity - Self.widestNumber else {
      throw Self.refuse("the node's name is empty or too long")
    }
    var port: UInt16 = 0
    if numeric != nil || serviceCount > 1 {
      guard let number = Self.number(service), number <= UInt64(UInt16.max) else {
        throw Self.refuse("the service is no port number")
      }
      port = UInt16(number)
    }
    var digits = 0
    var firstNumber: UInt64 = 0
    if numeric == nil && nodeCount > 1 {
      while digits < min(length, Self.widestNumber), Self.isDigit(node[length - digits - 1]) { digits += 1 }
      guard digits > 0, let number = Self.number(node + length - digits) else {
        throw Self.refuse("the node's name has no number at its end to count up")
      }
      firstNumber = number
    }
    self.service = service
    self.serviceCount = serviceCount
    self.family = family
    self.numeric = numeric
    self.port = port
    self.digits = digits
    self.firstNumber = firstNumber
    digitsStart = length - digits
    name = .allocate(capacity: Self.nameCapacity)
    memcpy(name, node, length + 1)
  }

  deinit { name.deallocate() }

  /// One address of the series. Throws FI_EADDRNOTAVAIL when there is no such host, or no port of that number.
  mutating func address(node: Int, service: Int) throws(FabricError) -> SocketAddress {
    if let numeric {
      guard let host = numeric.advanced(by: node) else { throw .addressNotAvailable }
      return try host.with(port: port(service))
    }
    if let resolved, resolved.node == node { return try resolved.address.with(port: port(service)) }
    if digits > 0 { write(firstNumber + UInt64(node)) }
    var address = SocketAddress()
    do {
      // A single service may be a name; several are numbers, which need no lookup.
      _ = try Resolver.resolve(
        node: name, service: serviceCount == 1 ? self.service : nil, family: family, into: &address, capacity: 1)
    } catch {
      throw .addressNotAvailable
    }
    if serviceCount == 1 { return address }
    resolved = (node, address)
    return try address.with(port: port(service))
  }

  private func port(_ service: Int) throws(FabricError) -> UInt16 {
    guard service <= Int(UInt16.max - port) else { throw .addressNotAvailable }
    return port + UInt16(service)
  }

  /// Writes a number in place of the name's own, as wide as that was.
  private func write(_ number: UInt64) {
    var width = digits
    var rest = number
    var needed = 1
    while rest >= 10 {
      rest /= 10
      needed += 1
    }
    width = max(width, needed)
    rest = number
    for position in stride(from: width - 1, through: 0, by: -1) {
      name[digitsStart + position] = CChar(0x30 + Int8(rest % 10))
      rest /= 10
    }
    name[digitsStart + width] = 0
  }

  private static func refuse(_ reason: StaticString) -> FabricError {
    AddressVector.refuse(reason, in: "fi_av_insertsym")
  }

  private static func isDigit(_ character: CChar) -> Bool { character >= 0x30 && character <= 0x39 }

  /// A decimal number of at most nine digits, and nothing else.
  private static func number(_ text: UnsafePointer<CChar>) -> UInt64? {
    var number: UInt64 = 0
    var position = 0
    while isDigit(text[position]), position < widestNumber {
      number = number * 10 + UInt64(text[position] - 0x30)
      position += 1
    }
    return position > 0 && text[position] == 0 ? number : nil
  }

  private static var nameCapacity: Int { 1100 }
  private static var widestNumber: Int { 9 }
}

extension SocketAddress {
  /// The address `count` after this one; nil where there is none.
  fileprivate func advanced(by count: Int) -> SocketAddress? {
    if count == 0 { return self }
    switch family {
    case .none: return nil
    case .ipv4:
      let bytes = withUnsafeBytes(of: words.1) { UInt32(bigEndian: $0.load(as: UInt32.self)) }
      guard count <= Int(UInt32.max - bytes) else { return nil }
      let next = bytes + UInt32(count)
      return SocketAddress(
        ipv4: UInt8(next >> 24), UInt8(next >> 16 & 0xff), UInt8(next >> 8 & 0xff), UInt8(next & 0xff), port: port)
    case .ipv6:
      let (low, carry) = words.2.bigEndian.addingReportingOverflow(UInt64(count))
      let (high, overflow) = words.1.bigEndian.addingReportingOverflow(carry ? 1 : 0)
      return overflow ? nil : SocketAddress(ipv6: high, low, port: port, scope: scope)
    }
  }
}
