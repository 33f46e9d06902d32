import CFabric
import CPlatform
import Datagram
import Transport

// What completions name as an address, and the keys of addresses: fi_av(3), "USER IDENTIFIERS FOR ADDRESSES" and
// "fi_av_insert_auth_key".
extension AddressVector {
  // MARK: Identifiers

  /// Chooses what completions name as an address, or as a key (FI_AUTH_KEY). Throws FI_EINVAL for a vector opened without
  /// FI_AV_USER_ID, and for a number that is not in use.
  package func setUserID(_ number: UInt64, _ identifier: UInt64, isKey: Bool) throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard identities.hasUserIDs else {
      throw Self.refuse("the vector was opened without FI_AV_USER_ID", in: "fi_av_set_user_id")
    }
    guard isKey ? identities.keys.entry(number) != nil : address(number) != nil else {
      throw Self.refuse("a number that is not in use", in: "fi_av_set_user_id")
    }
    if isKey { return identities.setReportedKey(Int(number), identifier) }
    setReported(self.number(of: number), identifier)
  }

  /// Throws FI_EBADFLAGS where an insertion cannot bring identifiers, FI_EINVAL where it cannot bring keys or brings no
  /// numbers; FI_ENOSYS for a vector with a name, whose generation is not this process's alone.
  func checkIdentities(_ report: InsertionReport) throws(FabricError) {
    if report.numbers == nil { throw Self.refuse("no identifiers, or no keys", in: "fi_av_insert") }
    if report.bringsIdentifiers && (identities.hasUserIDs || domain.hasVectorKeys) {
      throw Self.refuse("identifiers come from fi_av_set_user_id here", in: "fi_av_insert", .badFlags)
    }
    if report.bringsKeys && !domain.hasVectorKeys {
      throw Self.refuse("the domain was opened without FI_AV_AUTH_KEY", in: "fi_av_insert")
    }
    if mapAddress != nil { throw Self.refuse("neither goes with a name", in: "fi_av_insert", .notImplemented) }
  }

  func setReported(_ number: UInt64, _ identifier: UInt64) {
    identities.setReported(number, identifier)
    noteChange()
  }

  // MARK: Keys

  /// The keys that endpoints which are enabled now are authorized by.
  package var authorizations: AuthorizationSet { identities.keys.digests }

  /// The digest of an address's key; nil for an address without.
  package func authorization(of number: UInt64) -> UInt64? {
    identities.key(number).flatMap { identities.keys.entry(UInt64($0)) }?.key.digest
  }

  /// Adds a key, or counts it once more, and returns its number. Throws FI_EINVAL for a domain opened without
  /// FI_AV_AUTH_KEY and for a key that is empty or beyond 64 bytes, FI_ENOSPC when there are as many as an endpoint can
  /// have.
  package func insertKey(_ bytes: UnsafeRawPointer?, _ length: Int) throws(FabricError) -> UInt64 {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard domain.hasVectorKeys else {
      throw Self.refuse("the domain was opened without FI_AV_AUTH_KEY", in: "fi_av_insert_auth_key")
    }
    guard let key = AuthorizationKey(bytes, length) else {
      throw Self.refuse("no key, or one beyond 64 bytes", in: "fi_av_insert_auth_key")
    }
    guard let number = identities.insertKey(key) else {
      throw Self.refuse(
        "there are as many keys as an endpoint can have", in: "fi_av_insert_auth_key", FabricError(code: FI_ENOSPC))
    }
    return UInt64(number)
  }

  /// Takes insertions of keys back. Throws FI_EINVAL when any is not in use, FI_EBUSY while endpoints use the vector.
  package func removeKeys(_ numbers: UnsafePointer<UInt64>, count: Int) throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if isBound { throw Self.refuse("endpoints still use the keys", in: "fi_av_remove", .busy) }
    for index in 0..<count {
      guard identities.keys.entry(numbers[index]) != nil else {
        throw Self.refuse("a key that is not in use", in: "fi_av_remove")
      }
      identities.removeKey(Int(numbers[index]))
    }
  }

  /// Stores the key that a number stands for, be it a key's or an address's, cut to `length` bytes, and returns its full
  /// length. A number that may be either is taken for an address's if that has a key. Throws FI_EINVAL for one that has
  /// none.
  package func lookupKey(
    _ number: UInt64, into buffer: UnsafeMutableRawPointer?, length: Int
  ) throws(FabricError) -> Int {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    let found = identities.key(self.number(of: number)).map { UInt64($0) } ?? number
    guard let entry = identities.keys.entry(found) else {
      throw Self.refuse("a number without a key", in: "fi_av_lookup_auth_key")
    }
    if let buffer { entry.key.store(to: buffer, capacity: length) }
    return entry.key.length
  }

  /// Inserts an address that is reached under a key. Throws FI_EINVAL for a key that is not in use, FI_EADDRINUSE for an
  /// address that is there under another one: sessions have one key.
  func insert(_ address: SocketAddress, key: UInt64) throws(FabricError) -> UInt64 {
    guard identities.keys.entry(key) != nil else { throw .invalidArgument }
    let isNew = find(address) == unavailableAddress
    let number = try insert(address)
    if !isNew && identities.key(number).map({ UInt64($0) }) != key {
      try remove(number)
      throw Self.refuse("the address is there under another key", in: "fi_av_insert", FabricError(code: FI_EADDRINUSE))
    }
    identities.setKey(number, Int(key))
    return number
  }
}
