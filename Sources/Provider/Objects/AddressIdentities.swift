import CFabric
import CPlatform
import Containers
import Transport

/// What an address vector knows of its addresses beside where they are: the identifiers that the program wants completions
/// to name (FI_AV_USER_ID), and authorization keys (FI_AV_AUTH_KEY).
///
/// Takes 16 bytes an address, once there is any of either. Protected by the engine's lock.
///
/// Man page: fi_av(3), "USER IDENTIFIERS FOR ADDRESSES" and fi_av_insert_auth_key
public struct AddressIdentities: ~Copyable {
  private struct Identity: BitwiseCopyable {
    var reported: UInt64
    /// Index of the address's key; `.max` for none.
    var key: UInt64
  }

  /// Identifiers come from fi_av_set_user_id alone, and until then there is none.
  let hasUserIDs: Bool
  private var list: UnsafeMutablePointer<Identity>?
  private var capacity = 0
  private(set) var keys = AuthorizationKeys()

  init(hasUserIDs: Bool) { self.hasUserIDs = hasUserIDs }

  deinit { list?.deallocate() }

  /// What completions name as the address with a number.
  func reported(_ number: UInt64) -> UInt64 {
    guard number < UInt64(capacity), let list else { return standard(number) }
    return list[Int(number)].reported
  }

  mutating func setReported(_ number: UInt64, _ identifier: UInt64) {
    makeRoom(for: number)[Int(number)].reported = identifier
  }

  /// The index of an address's key; nil for none.
  func key(_ number: UInt64) -> Int? {
    guard number < UInt64(capacity), let list, list[Int(number)].key != .max else { return nil }
    return Int(list[Int(number)].key)
  }

  mutating func setKey(_ number: UInt64, _ key: Int) { makeRoom(for: number)[Int(number)].key = UInt64(key) }

  /// The number is free.
  mutating func forget(_ number: UInt64) {
    if number < UInt64(capacity), let list { list[Int(number)] = Identity(reported: standard(number), key: .max) }
  }

  mutating func insertKey(_ key: AuthorizationKey) -> Int? { keys.insert(key) }
  /// Takes one insertion of a key back; addresses have it no more with the last one.
  mutating func removeKey(_ index: Int) {
    keys.remove(index)
    guard keys.entry(UInt64(index)) == nil, let list else { return }
    for number in 0..<capacity where list[number].key == UInt64(index) { list[number].key = .max }
  }
  mutating func setReportedKey(_ index: Int, _ identifier: UInt64) { keys.setReported(index, identifier) }

  private func standard(_ number: UInt64) -> UInt64 { hasUserIDs ? unavailableAddress : number }

  /// Numbers are those of the vector's entries, so at most 2^30.
  private mutating func makeRoom(for number: UInt64) -> UnsafeMutablePointer<Identity> {
    if let list, number < UInt64(capacity) { return list }
    var size = max(capacity * 2, 64)
    while UInt64(size) <= number { size *= 2 }
    let larger = UnsafeMutablePointer<Identity>.allocate(capacity: size)
    if let list {
      larger.update(from: list, count: capacity)
      list.deallocate()
    }
    for index in capacity..<size {
      (larger + index).initialize(to: Identity(reported: standard(UInt64(index)), key: .max))
    }
    list = larger
    capacity = size
    return larger
  }
}

/// An authorization key: up to 64 bytes that mean nothing to the provider, and what of them travels.
///
/// Man page: fi_endpoint(3), auth_key
package struct AuthorizationKey: BitwiseCopyable {
  package private(set) var length: Int
  private var bytes: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)

  /// The key in `length` bytes; nil for an empty or too long one.
  package init?(_ bytes: UnsafeRawPointer?, _ length: Int) {
    guard let bytes, length > 0, length <= Self.longest else { return nil }
    self.length = length
    withUnsafeMutableBytes(of: &self.bytes) { $0.baseAddress!.copyMemory(from: bytes, byteCount: length) }
  }

  /// Never 0.
  package var digest: UInt64 {
    withUnsafeBytes(of: bytes) { KeyDigest.make(UnsafeRawBufferPointer(rebasing: $0[0..<length])) }
  }

  /// Stores as much as fits.
  func store(to buffer: UnsafeMutableRawPointer, capacity: Int) {
    withUnsafeBytes(of: bytes) { buffer.copyMemory(from: $0.baseAddress!, byteCount: min(length, capacity)) }
  }

  func equals(_ other: AuthorizationKey) -> Bool {
    withUnsafeBytes(of: bytes) { mine in
      withUnsafeBytes(of: other.bytes) {
        length == other.length && memcmp(mine.baseAddress!, $0.baseAddress!, length) == 0
      }
    }
  }

  package static var longest: Int { 64 }
}

/// The keys of a vector, of which an endpoint takes those that are there when it is enabled.
package struct AuthorizationKeys {
  package struct Entry {
    var key: AuthorizationKey
    var uses: Int
    var reported: UInt64?
  }

  /// By number; nil where a key was removed.
  private var entries: [Entry?] = []

  package init() {}

  /// The key's number, that which it has already if it is there; nil when there are as many as an endpoint can have.
  mutating func insert(_ key: AuthorizationKey) -> Int? {
    for index in entries.indices {
      guard let entry = entries[index], entry.key.equals(key) else { continue }
      entries[index] = Entry(key: key, uses: entry.uses + 1, reported: entry.reported)
      return index
    }
    let made = Entry(key: key, uses: 1, reported: nil)
    for index in entries.indices where entries[index] == nil {
      entries[index] = made
      return index
    }
    guard entries.count < Capabilities.keysPerEndpoint else { return nil }
    entries.append(made)
    return entries.count - 1
  }

  mutating func remove(_ index: Int) {
    guard var entry = entries[index] else { return }
    entry.uses -= 1
    entries[index] = entry.uses == 0 ? nil : entry
  }

  mutating func setReported(_ index: Int, _ identifier: UInt64) { entries[index]?.reported = identifier }

  /// The key with a number; nil for one that is none.
  package func entry(_ number: UInt64) -> Entry? {
    number < UInt64(entries.count) ? entries[Int(number)] : nil
  }

  /// What endpoints are authorized by.
  package var digests: AuthorizationSet {
    var set = AuthorizationSet()
    for entry in entries { if let entry { set.append(entry.key.digest) } }
    return set
  }
}
