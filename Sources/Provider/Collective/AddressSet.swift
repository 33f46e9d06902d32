import CFabric

/// An ordered subset of an address vector: who takes part in collective operations.
///
/// Addresses are numbers of the vector, each at most once. Making and changing a set is local; a group that was joined
/// keeps the members that the set had then. Protected by the engine's lock.
///
/// Man page: fi_av_set(3)
package final class AddressSet {
  private let vector: AddressVector
  /// What fi_av_set_addr returns.
  package let address: UInt64
  /// Operations that its groups are for, a bit each, in the order of ``CollectiveKind``.
  let permitted: UInt16
  private(set) var members: [UInt64] = []
  private var groups = 0

  /// A set with the addresses that are in the vector, of a range, each so many after the one before (`stride`), or of the
  /// whole vector (FI_UNIVERSE).
  ///
  /// Throws FI_EBADFLAGS for unknown flags; FI_EINVAL for a range of which only one end is given, one that ends before it
  /// begins, without stride, or with more addresses than `count`, if that is not 0. Of the communication key nothing is
  /// taken: members find each other by the address vector.
  package convenience init(
    _ vector: AddressVector, _ attributes: UnsafePointer<fi_av_set_attr>
  ) throws(FabricError) {
    let attributes = attributes.pointee
    guard attributes.flags & ~(FI_UNIVERSE | Self.operationFlags) == 0 else {
      throw Self.refuse("unknown flags", .badFlags)
    }
    let first = attributes.start_addr
    let last = attributes.end_addr
    let isEmpty = first == unavailableAddress && last == unavailableAddress
    if attributes.flags & FI_UNIVERSE == 0 && !isEmpty {
      guard first != unavailableAddress, last != unavailableAddress, first <= last, attributes.stride > 0 else {
        throw Self.refuse("a range without an end or a stride")
      }
    }
    let operations = (attributes.flags & Self.operationFlags) >> 40
    self.init(vector, permitted: operations == 0 ? .max : UInt16(truncatingIfNeeded: operations))
    let isUniverse = attributes.flags & FI_UNIVERSE != 0
    if isEmpty && !isUniverse { return }
    let isTooLong = !add(
      from: isUniverse ? 0 : first, through: isUniverse ? .max : last, stride: isUniverse ? 1 : attributes.stride,
      limit: isUniverse || attributes.count == 0 ? .max : attributes.count)
    guard isTooLong else { return }
    try close()
    throw Self.refuse("more addresses than count")
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ vector: AddressVector, permitted: UInt16) {
    self.vector = vector
    self.permitted = permitted
    vector.domain.engine.lock()
    address = vector.addSet()
    vector.domain.engine.unlock()
  }

  /// The range's addresses that are in the vector; false, when they are more than `limit`.
  private func add(from first: UInt64, through last: UInt64, stride: UInt64, limit: Int) -> Bool {
    vector.domain.engine.lock()
    defer { vector.domain.engine.unlock() }
    let end = min(last, UInt64(vector.extent))
    var number = first
    while number <= end {
      if vector.address(number) != nil {
        guard members.count < limit else { return false }
        members.append(number)
      }
      let (next, overflow) = number.addingReportingOverflow(stride)
      if overflow { break }
      number = next
    }
    return true
  }

  /// Throws FI_EBUSY while groups that were joined with the set are not left.
  package func close() throws(FabricError) {
    vector.domain.engine.lock()
    defer { vector.domain.engine.unlock() }
    if groups != 0 { throw Self.refuse("groups of the set are still joined", in: "fi_close", .busy) }
    vector.removeSet(address)
  }

  /// Appends what the other set has and this one has not. Throws FI_EINVAL for a set of another vector.
  package func unite(with other: AddressSet) throws(FabricError) {
    try change(with: other, in: "fi_av_set_union") {
      for member in other.members where !members.contains(member) { members.append(member) }
    }
  }

  /// Keeps what the other set has, too.
  package func intersect(with other: AddressSet) throws(FabricError) {
    try change(with: other, in: "fi_av_set_intersect") {
      let kept = other.members
      members.removeAll { !kept.contains($0) }
    }
  }

  /// Removes what the other set has.
  package func subtract(_ other: AddressSet) throws(FabricError) {
    try change(with: other, in: "fi_av_set_diff") {
      let removed = other.members
      members.removeAll { removed.contains($0) }
    }
  }

  /// Appends an address. Throws FI_EINVAL for one that the vector does not have, and one that is there already.
  package func insert(_ number: UInt64) throws(FabricError) {
    vector.domain.engine.lock()
    defer { vector.domain.engine.unlock() }
    guard vector.address(number) != nil else {
      throw Self.refuse("an address that is not in the vector", in: "fi_av_set_insert")
    }
    if members.contains(number) { throw Self.refuse("the address is there already", in: "fi_av_set_insert") }
    members.append(number)
  }

  /// Removes an address; the others stay in their order. Throws FI_EINVAL for one that is not there.
  package func remove(_ number: UInt64) throws(FabricError) {
    vector.domain.engine.lock()
    defer { vector.domain.engine.unlock() }
    for index in 0..<members.count where members[index] == number {
      members.remove(at: index)
      return
    }
    throw Self.refuse("an address that is not in the set", in: "fi_av_set_remove")
  }

  private func change(
    with other: AddressSet, in call: StaticString, _ body: () -> Void
  ) throws(FabricError) {
    if other.vector !== vector { throw Self.refuse("the sets are of different vectors", in: call) }
    vector.domain.engine.lock()
    body()
    vector.domain.engine.unlock()
  }

  // MARK: With the lock held

  func isOf(_ vector: AddressVector) -> Bool { self.vector === vector }

  /// A group was joined, or left.
  func addGroup() { groups += 1 }
  func removeGroup() { groups -= 1 }

  private static func refuse(
    _ reason: StaticString, in call: StaticString = "fi_av_set", _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.addressVector, reason, in: call)
  }

  private static func refuse(_ reason: StaticString, _ error: FabricError) -> FabricError {
    refuse(reason, in: "fi_av_set", error)
  }

  /// FI_BARRIER_SET to FI_GATHER_SET.
  private static var operationFlags: UInt64 { 0x1FF << 40 }
}
