import Containers
import Packet

// Sessions: how they begin and how they end.
//
//   initiator                                      responder
//   INITIAL(index, session)               ──>      no state
//                                         <──      CHALLENGE(cookie)
//   CONFIRM(cookie, parameters) + frames  ──>      the connection is made, frames are processed
//                                         <──      DATA: ACCEPT(index, session, parameters) + frames
//   DATA                                  ──>
//
// When both begin at once, the larger session id is the one that stays: its owner ignores the other's CONFIRM, and the
// owner of the smaller one becomes the responder and sends its frames again.
extension TransportEndpoint {
  /// What this side tells its peers.
  var localParameters: TransportParameters {
    TransportParameters(
      maximumDatagram: UInt32(configuration.maximumDatagram), receiveBuffer: UInt32(configuration.receiveBuffer),
      initialCredit: UInt32(configuration.creditWindow), initialOperations: UInt32(configuration.operationWindow),
      maximumSilence: configuration.maximumSilence,
      maximumAckDelay: UInt32(configuration.acknowledgeDelay / 1_000), maximumReads: UInt32(configuration.maximumReads))
  }

  /// How often a handshake begins anew because the responder turned it down.
  private static var maximumRejections: UInt32 { 8 }
  /// How long the first INITIAL waits for its CHALLENGE; doubled each time, up to a second.
  private static var initialTimeout: UInt64 { milliseconds(20) }

  mutating func startHandshake(_ connection: UnsafeMutablePointer<Connection>, now: Instant) {
    statistics.handshakes += 1
    connection.pointee.state = .initial
    connection.pointee.session = random()
    // Until the peer tells its own, it may be silent as long as this side: it may exist and not poll yet.
    connection.pointee.peer.maximumSilence = configuration.maximumSilence
    connection.pointee.lastReceived = now
    connection.pointee.awaitingSince = now
    beginReceiving(connection)
    sendInitial(connection, now: now)
  }

  /// Makes an INITIAL due, and the next one in case it goes unanswered.
  mutating func sendInitial(_ connection: UnsafeMutablePointer<Connection>, now: Instant) {
    connection.pointee.needsInitial = true
    let wait = Self.initialTimeout << UInt64(min(connection.pointee.initialCount, 6))
    connection.pointee.initialDeadline = now &+ min(wait, milliseconds(1_000))
    connection.pointee.initialCount += 1
    markReady(connection)
  }

  /// What this side grants before its first CREDIT.
  private func beginReceiving(_ connection: UnsafeMutablePointer<Connection>) {
    connection.pointee.creditAdvertised = UInt64(configuration.creditWindow)
    connection.pointee.operationsAdvertised = UInt32(configuration.operationWindow)
  }

  private mutating func learnPeer(
    _ connection: UnsafeMutablePointer<Connection>, index: UInt32, session: UInt64, _ parameters: TransportParameters,
    now: Instant
  ) {
    connection.pointee.state = .established
    connection.pointee.peerIndex = index
    connection.pointee.peerSession = session
    connection.pointee.peer = parameters
    connection.pointee.cookieNotBefore = max(connection.pointee.cookieNotBefore, now)
    connection.pointee.needsInitial = false
    connection.pointee.initialDeadline = never
    connection.pointee.creditLimit = max(connection.pointee.creditLimit, UInt64(parameters.initialCredit))
    if distance(parameters.initialOperations, from: connection.pointee.operationLimit) > 0 {
      connection.pointee.operationLimit = parameters.initialOperations
    }
    let target = min(
      configuration.interfaceDatagram, configuration.maximumDatagram, Int(min(parameters.maximumDatagram, 65_507)))
    connection.pointee.mtu.start(target: target)
    markReady(connection)
  }

  // MARK: Packets that arrive

  /// INITIAL: answered with a cookie, at no cost in memory.
  mutating func receiveInitial(_ reader: inout ByteReader, from source: PeerAddress, now: Instant) {
    guard let packet = InitialPacket(&reader) else { return malformed() }
    guard !isClosing else { return }
    answers.append(
      Answer(
        kind: .challenge, address: source, connection: packet.connection, session: packet.session,
        cookie: cookieKey.make(source, session: packet.session, now: now)))
  }

  /// CHALLENGE: the way to the peer and back is proven; data may go out.
  mutating func receiveChallenge(_ reader: inout ByteReader, from source: PeerAddress, now: Instant) {
    guard let packet = ChallengePacket(&reader) else { return malformed() }
    guard let index = findConnection(source) else { return unknown() }
    let connection = self[index]
    guard packet.connection == index, packet.session == connection.pointee.session,
      connection.pointee.state == .initial
    else { return unknown() }
    // The first one counts: the cookie binds the session to the process that made it. Were another let in later, what the
    // first had acknowledged would be missing there.
    connection.pointee.cookie = packet.cookie
    heard(connection, now: now)
    connection.pointee.state = .confirming
    // The responder is to learn of the connection even if nothing fits into what may be sent before its ACCEPT.
    connection.pointee.probesDue = 1
    connection.pointee.needsInitial = false
    connection.pointee.initialDeadline = never
    // Enough to start with; the true limits come with ACCEPT.
    connection.pointee.creditLimit = UInt64(configuration.baseDatagram * 8)
    connection.pointee.operationLimit = 64
    connection.pointee.peer.receiveBuffer = 64 * 1024
    connection.pointee.peer.maximumReads = 1
    markReady(connection)
  }

  /// CONFIRM: data of a peer that may be new. Returns the connection its frames belong to, nil when it is dropped.
  mutating func receiveConfirm(
    _ header: ConfirmHeader, from source: PeerAddress, now: Instant
  ) -> UnsafeMutablePointer<Connection>? {
    if let index = findConnection(source), self[index].pointee.state == .established,
      self[index].pointee.peerSession == header.session
    {
      return self[index]
    }
    guard !isClosing else { return dropUnknown() }
    guard cookieKey.isValid(header.cookie, source, session: header.session, now: now) else {
      return reject(header, source)
    }
    guard configuration.authorizations.contains(header.authorization) else { return refuse(header, source) }
    let connection = self[self.connection(to: source)]
    switch connection.pointee.state {
    case .established:
      guard header.cookie.time > connection.pointee.cookieNotBefore else { return reject(header, source) }
      // The peer began anew: what was under way between us is lost.
      fail(connection, .reset, now: now)
    case .idle:
      guard header.cookie.time > connection.pointee.cookieNotBefore else { return reject(header, source) }
    case .initial, .confirming:
      guard header.cookie.time >= connection.pointee.cookieNotBefore else { return reject(header, source) }
      if header.session == connection.pointee.session && source == localAddress {
        // A connection of the endpoint with itself: both sides are this one.
        learnPeer(connection, index: connection.pointee.index, session: header.session, header.parameters, now: now)
        connection.pointee.sessionAuthorization = header.authorization
        return connection
      }
      guard header.session > connection.pointee.session else { return dropUnknown() }
      let hasEnded = header.ended != 0 && header.ended == UInt32(truncatingIfNeeded: connection.pointee.session)
      if connection.pointee.received.count > 0 || hasEnded {
        // Somebody at that address had taken part in this side's session, another process or, unheard, the same one until
        // it lost its patience: the peer began anew.
        fail(connection, .reset, now: now)
      } else {
        giveUpAttempt(connection)
      }
    }
    if connection.pointee.state == .idle {
      connection.pointee.session = random()
      beginReceiving(connection)
    }
    connection.pointee.needsAccept = true
    statistics.accepts += 1
    learnPeer(connection, index: header.connection, session: header.session, header.parameters, now: now)
    connection.pointee.sessionAuthorization = header.authorization
    return connection
  }

  /// Turns a CONFIRM down. Its initiator may try again unless the session is one that had begun and ended.
  private mutating func reject(_ header: ConfirmHeader, _ source: PeerAddress) -> UnsafeMutablePointer<Connection>? {
    unknown()
    statistics.rejections += 1
    let isOver = findConnection(source).map { self[$0].pointee.endedSession == header.session } ?? false
    answers.append(
      Answer(
        kind: .reset, address: source, connection: header.connection, session: header.session, mayRetry: !isOver))
    return nil
  }

  /// Turns a CONFIRM down whose key is none of this side's: another job's.
  private mutating func refuse(_ header: ConfirmHeader, _ source: PeerAddress) -> UnsafeMutablePointer<Connection>? {
    unknown()
    statistics.rejections += 1
    answers.append(
      Answer(
        kind: .reset, address: source, connection: header.connection, session: header.session, isUnauthorized: true))
    return nil
  }

  private mutating func dropUnknown() -> UnsafeMutablePointer<Connection>? {
    unknown()
    return nil
  }

  /// Gives up this side's attempt, of which no answer has come: all that was sent is due again, in a session of another
  /// name, lest late answers be taken for the new peer's. Packet numbers go on.
  private mutating func giveUpAttempt(_ connection: UnsafeMutablePointer<Connection>) {
    while !connection.pointee.sent.isEmpty {
      let packet = connection.pointee.sent.first
      connection.pointee.sent.remove(packet, after: .max, in: sentPackets)
      requeueFrames(of: packet, connection)
      sentPackets.free(packet)
    }
    connection.pointee.session = random()
    connection.pointee.bytesInFlight = 0
    connection.pointee.probeCount = 0
    connection.pointee.probesDue = 0
    connection.pointee.lossTime = never
    connection.pointee.lost = LostPackets()
  }

  /// ACCEPT: the responder's side of the connection.
  mutating func receiveAccept(
    _ connection: UnsafeMutablePointer<Connection>, _ frame: AcceptFrame, now: Instant
  ) {
    guard connection.pointee.state == .confirming else { return }
    connection.pointee.sessionAuthorization = connection.pointee.authorization
    learnPeer(connection, index: frame.connection, session: frame.session, frame.parameters, now: now)
  }

  /// RESET: the peer does not know the session that this side's packets name.
  mutating func receiveReset(_ reader: inout ByteReader, from source: PeerAddress, now: Instant) {
    guard let packet = ResetPacket(&reader) else { return malformed() }
    guard let index = findConnection(source) else { return unknown() }
    let connection = self[index]
    switch connection.pointee.state {
    case .established:
      guard packet.connection == connection.pointee.peerIndex, packet.session == connection.pointee.peerSession else {
        return unknown()
      }
      fail(connection, .reset, now: now)
    case .confirming:
      guard packet.connection == index, packet.session == connection.pointee.session else { return unknown() }
      if packet.isUnauthorized { return fail(connection, .accessDenied, now: now) }
      receiveRejection(connection, mayRetry: packet.mayRetry, now: now)
    case .idle, .initial: unknown()
    }
  }

  /// The responder has turned CONFIRM down: its cookie is too old, or another process has the address by now. As long as
  /// nobody has answered, nothing is lost.
  private mutating func receiveRejection(
    _ connection: UnsafeMutablePointer<Connection>, mayRetry: Bool, now: Instant
  ) {
    connection.pointee.rejectedCount += 1
    guard mayRetry, connection.pointee.received.count == 0,
      connection.pointee.rejectedCount < Self.maximumRejections
    else { return fail(connection, .reset, now: now) }
    giveUpAttempt(connection)
    connection.pointee.state = .initial
    connection.pointee.initialCount = 0
    connection.pointee.awaitingSince = now
    sendInitial(connection, now: now)
  }

  // MARK: Ends

  /// Tells each connected peer that this side goes away, once its own operations are over. Keep pumping until
  /// `isDrained`.
  package mutating func close(now: Instant) {
    isClosing = true
    for index in 0..<connectionCount { close(ConnectionIndex(index)) }
  }

  /// Tells one peer, if there is a session with it, that this side ends that, once its own operations are over. Other
  /// sessions go on.
  package mutating func close(_ index: ConnectionIndex) {
    let connection = self[index]
    guard connection.pointee.state == .established else { return }
    connection.pointee.needsClose = true
    markReady(connection)
  }

  /// Ends all sessions at this side, and the operations with them; nothing is told to the peers.
  package mutating func abandon(now: Instant) {
    isClosing = true
    if cursor.answer != .none { settle() }
    for index in 0..<connectionCount {
      let connection = self[ConnectionIndex(index)]
      if connection.pointee.state != .idle || !connection.pointee.operations.isEmpty {
        fail(connection, .closed, now: now)
      }
    }
  }

  /// CLOSE: the peer is gone in good order. The answer is the RESET that any later packet of it would get.
  mutating func receiveClose(_ connection: UnsafeMutablePointer<Connection>, now: Instant) {
    answers.append(
      Answer(
        kind: .reset, address: connection.pointee.address, connection: connection.pointee.index,
        session: connection.pointee.session))
    fail(connection, .closed, now: now)
  }

  /// The peer's host says that nobody listens at the address (ICMP). Once may be a peer that is just starting or
  /// restarting; that it goes on is the end.
  package mutating func peerUnreachable(_ address: PeerAddress, now: Instant) {
    guard let index = findConnection(address) else { return }
    let connection = self[index]
    guard connection.pointee.state != .idle else { return }
    connection.pointee.unreachableCount += 1
    if connection.pointee.unreachableSince == never { connection.pointee.unreachableSince = now }
    let bearable = connection.pointee.state == .established ? milliseconds(100) : milliseconds(1_000)
    if connection.pointee.unreachableCount >= 3 && now &- connection.pointee.unreachableSince >= bearable {
      fail(connection, .refused, now: now)
    }
  }

  /// The first hop or a router refuses datagrams of the size in use; `maximumDatagram` is the UDP payload that it
  /// carries, 0 if it did not say.
  package mutating func datagramTooBig(_ address: PeerAddress, maximumDatagram: Int, now: Instant) {
    guard let index = findConnection(address) else { return }
    let connection = self[index]
    guard connection.pointee.state == .established else { return }
    if connection.pointee.mtu.onTooBig(maximumDatagram) { pathShrank(connection, now: now) }
  }

  mutating func malformed() { statistics.malformed += 1 }
  mutating func unknown() { statistics.unknown += 1 }
}
