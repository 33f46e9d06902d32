import Packet

/// Makes and checks handshake cookies with a secret of this endpoint: SipHash-2-4 over address, session and time.
struct CookieKey: BitwiseCopyable {
  /// How long a cookie proves anything.
  static var lifetime: UInt64 { milliseconds(30_000) }

  private var key: (UInt64, UInt64)

  init(seed: UInt64) { key = (mix(seed ^ 0x636F_6F6B_6965), mix(seed &+ 0x6B65_79)) }

  func make(_ address: PeerAddress, session: UInt64, now: Instant) -> Cookie {
    Cookie(time: now, code: code(address, session, now))
  }

  /// Whether the cookie was made here, for this session of this address, and not too long ago.
  func isValid(_ cookie: Cookie, _ address: PeerAddress, session: UInt64, now: Instant) -> Bool {
    cookie.time <= now && now - cookie.time <= Self.lifetime && cookie.code == code(address, session, cookie.time)
  }

  private func code(_ address: PeerAddress, _ session: UInt64, _ time: UInt64) -> UInt64 {
    var state = SipState(key)
    state.absorb(address.words.0)
    state.absorb(address.words.1)
    state.absorb(address.words.2)
    state.absorb(session)
    state.absorb(time)
    return state.finish(length: 40)
  }
}

/// SipHash-2-4 (Aumasson, Bernstein 2012) over whole words.
struct SipState {
  private var v0, v1, v2, v3: UInt64

  init(_ key: (UInt64, UInt64)) {
    v0 = key.0 ^ 0x736F_6D65_7073_6575
    v1 = key.1 ^ 0x646F_7261_6E64_6F6D
    v2 = key.0 ^ 0x6C79_6765_6E65_7261
    v3 = key.1 ^ 0x7465_6462_7974_6573
  }

  mutating func absorb(_ word: UInt64) {
    v3 ^= word
    round()
    round()
    v0 ^= word
  }

  /// `last` is what is left of bytes that are no whole words.
  mutating func finish(length: UInt64, last: UInt64 = 0) -> UInt64 {
    absorb(length << 56 | last)
    v2 ^= 0xFF
    for _ in 0..<4 { round() }
    return v0 ^ v1 ^ v2 ^ v3
  }

  private mutating func round() {
    v0 = v0 &+ v1
    v1 = rotate(v1, 13) ^ v0
    v0 = rotate(v0, 32)
    v2 = v2 &+ v3
    v3 = rotate(v3, 16) ^ v2
    v0 = v0 &+ v3
    v3 = rotate(v3, 21) ^ v0
    v2 = v2 &+ v1
    v1 = rotate(v1, 17) ^ v2
    v2 = rotate(v2, 32)
  }

  private func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }
}
