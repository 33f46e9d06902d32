import CFabric
import Transport

/// The variables of a profile at one moment, and what there is to say of each. The first are libfabric's, whose numbers
/// are their places; those of the transport follow, under numbers of this provider.
///
/// Man page: fi_profile(3)
package struct ProfileValues: BitwiseCopyable {
  var unexpectedMessages: UInt64 = 0
  var receiveContexts: UInt64 = 0
  var sessions: UInt64 = 0
  var bufferBytes: UInt64 = 0
  var transport = TransportStatistics()

  package init() {}

  /// Variables in all.
  package static var count: Int { commonCount + 12 }
  static var commonCount: Int { Int(FI_VAR_OFI_MEM) + 1 }
  /// The only one that is no number.
  static var queue: Int { Int(FI_VAR_UNEXP_MSG_QUEUE) }

  /// As in upstream's fi_ext.h, providers' own numbers are negative ones of their own range.
  private static var firstOwnNumber: UInt32 { 0 &- 0x50F << 16 }

  /// The number that programs know a variable by.
  package static func number(_ index: Int) -> UInt32 {
    index < commonCount ? UInt32(index) : firstOwnNumber &+ UInt32(index - commonCount)
  }

  /// The variable with a number; nil for one that is none.
  package static func index(_ number: UInt32) -> Int? {
    if number < UInt32(commonCount) { return Int(number) }
    let own = number &- firstOwnNumber
    return own < UInt32(count - commonCount) ? commonCount + Int(own) : nil
  }

  /// The value of a variable that is a number.
  package subscript(index: Int) -> UInt64 {
    switch index {
    case Int(FI_VAR_UNEXP_MSG_CNT): unexpectedMessages
    case Int(FI_VAR_MSG_QUEUE_CNT): receiveContexts
    case Int(FI_VAR_CONNECTION_CNT): sessions
    case Int(FI_VAR_CONN_REQUEST): transport.handshakes
    case Int(FI_VAR_CONN_ACCEPT): transport.accepts
    case Int(FI_VAR_CONN_REJECT): transport.rejections
    case Int(FI_VAR_OFI_MEM): bufferBytes
    default: own(index - Self.commonCount)
    }
  }

  private func own(_ index: Int) -> UInt64 {
    switch index {
    case 0: transport.packetsSent
    case 1: transport.packetsReceived
    case 2: transport.bytesSent
    case 3: transport.bytesReceived
    case 4: transport.packetsLost
    case 5: transport.retransmittedFrames
    case 6: transport.spuriousLosses
    case 7: transport.probeTimeouts
    case 8: transport.duplicates
    case 9: transport.malformed
    case 10: transport.droppedForRoom
    default: transport.failures
    }
  }

  /// Name and description of a variable.
  package static func text(_ index: Int) -> (name: StaticString, description: StaticString) {
    switch index {
    case Int(FI_VAR_UNEXP_MSG_CNT): ("pvar_unexp_msg_cnt", "messages that wait for their receives")
    case Int(FI_VAR_UNEXP_MSG_QUEUE): ("pvar_unexp_msg_queue", "the messages that wait for their receives")
    case Int(FI_VAR_MSG_QUEUE_CNT): ("pvar_msg_queue_cnt", "receive contexts")
    case Int(FI_VAR_CONNECTION_CNT): ("pvar_connection_cnt", "sessions with peers that are established")
    case Int(FI_VAR_CONN_REQUEST): ("pvar_conn_request", "sessions that this side asked for")
    case Int(FI_VAR_CONN_ACCEPT): ("pvar_conn_accept", "sessions that peers asked for and got")
    case Int(FI_VAR_CONN_REJECT): ("pvar_conn_reject", "handshakes of peers that were turned down")
    case Int(FI_VAR_OFI_MEM): ("pvar_ofi_mem_alloc", "bytes of buffers for messages")
    default: ownText(index - commonCount)
    }
  }

  private static func ownText(_ index: Int) -> (name: StaticString, description: StaticString) {
    switch index {
    case 0: ("polyfill_packets_sent", "packets sent")
    case 1: ("polyfill_packets_received", "packets received")
    case 2: ("polyfill_bytes_sent", "bytes of packets sent")
    case 3: ("polyfill_bytes_received", "bytes of packets received")
    case 4: ("polyfill_packets_lost", "packets given up as lost")
    case 5: ("polyfill_frames_retransmitted", "frames sent again")
    case 6: ("polyfill_spurious_losses", "packets given up that had arrived after all")
    case 7: ("polyfill_probe_timeouts", "times that a peer was asked whether it is there")
    case 8: ("polyfill_duplicates", "packets that arrived twice")
    case 9: ("polyfill_malformed", "datagrams that no rule of the protocol explains")
    case 10: ("polyfill_dropped_for_room", "packets dropped for lack of room, to come again")
    default: ("polyfill_sessions_failed", "sessions that ended with what was under way in them")
    }
  }
}
