import Packet

/// What of an authorization key travels: a hash, which tells jobs apart and is no secret.
package enum KeyDigest {
  /// SipHash-2-4 of the key's bytes under the key 0, 1; never 0, which stands for no key. docs/PROTOCOL.md section 3.2.
  package static func make(_ key: UnsafeRawBufferPointer) -> UInt64 {
    var state = SipState((0, 1))
    var position = 0
    while key.count - position >= 8 {
      state.absorb(UInt64(littleEndian: key.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
      position += 8
    }
    var last: UInt64 = 0
    for index in position..<key.count { last |= UInt64(key[index]) << UInt64(8 * (index - position)) }
    return max(state.finish(length: UInt64(key.count), last: last), 1)
  }
}

/// The keys, as digests, that an endpoint shares with peers; without any it talks to those that have none.
package struct AuthorizationSet: BitwiseCopyable {
  package static var capacity: Int { 8 }

  private var digests: InlineArray<8, UInt64> = .init(repeating: 0)
  package private(set) var count = 0

  package init() {}

  /// Adds a digest; there is room for `capacity`.
  package mutating func append(_ digest: UInt64) {
    precondition(count < Self.capacity)
    digests[count] = digest
    count += 1
  }

  /// What sessions with peers begin with that nothing else is said about; 0 for no key.
  package var standard: UInt64 { digests[0] }

  /// Whether a peer that names a digest, or 0, is let in.
  package func contains(_ digest: UInt64) -> Bool {
    if count == 0 { return digest == 0 }
    for index in 0..<count where digests[index] == digest { return true }
    return false
  }
}

extension TransportEndpoint {
  /// Chooses the key that sessions with a peer begin with from now on, by its digest; 0 for none.
  package func authorize(_ connection: ConnectionIndex, _ digest: UInt64) {
    self[connection].pointee.authorization = digest
  }

  /// The key that the session with a peer began with, at whichever side; 0 for none.
  package func authorization(of connection: ConnectionIndex) -> UInt64 { self[connection].pointee.sessionAuthorization }
}
