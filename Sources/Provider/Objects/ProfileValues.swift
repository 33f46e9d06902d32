import CFabric
import Datagram
import Transport

/// What ports have carried since they were made, those included that are gone.
struct Traffic: BitwiseCopyable {
  var transport = TransportStatistics()
  var socket = UDPSocketStatistics()

  static func += (left: inout Traffic, right: Traffic) {
    left.transport += right.transport
    left.socket += right.socket
  }
}

/// The variables of a profile at one moment, and what there is to say of each. The first are libfabric's, whose numbers
/// are their places; those of the transport follow, under numbers of this provider. All that are numbers are also what
/// fi_polyfill_status tells, in the same order.
///
/// Man page: fi_profile(3)
package struct ProfileValues: BitwiseCopyable {
  var unexpectedMessages: UInt64 = 0
  var receiveContexts: UInt64 = 0
  var bufferBytes: UInt64 = 0
  var traffic = Traffic()
  var sessions = SessionSummary()
  var use = UDPSocketUse()

  package init() {}

  /// Variables in all.
  package static var count: Int { Int(LFP_REPORT_NUMBER_COUNT) + 1 }
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
    case Int(FI_VAR_CONNECTION_CNT): sessions.count
    case Int(FI_VAR_CONN_REQUEST): traffic.transport.handshakes
    case Int(FI_VAR_CONN_ACCEPT): traffic.transport.accepts
    case Int(FI_VAR_CONN_REJECT): traffic.transport.rejections
    case Int(FI_VAR_OFI_MEM): bufferBytes
    default: own(index - Self.commonCount)
    }
  }

  private func own(_ index: Int) -> UInt64 {
    let transport = traffic.transport
    let socket = traffic.socket
    return switch index {
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
    case 11: transport.failures
    case 12: transport.unknown
    case 13: transport.stagedFrames
    case 14: transport.deferredTransfers
    case 15: socket.datagramsSent
    case 16: socket.sendCalls
    case 17: socket.receiveCalls
    case 18: socket.buffersReceived
    case 19: socket.segmentationRefusals
    case 20: socket.pendingErrors
    case 21: socket.truncated
    case 22: socket.kernelDrops
    case 23: socket.lostOnPurpose
    case 24: sessions.shortestRoundTrip
    case 25: sessions.meanRoundTrip
    case 26: sessions.longestRoundTrip
    case 27: sessions.congestionWindow
    case 28: sessions.bytesInFlight
    case 29: sessions.smallestDatagram
    case 30: use.sockets
    case 31: use.segmenting
    case 32: use.merging
    case 33: use.connected
    default: use.splicing
    }
  }

  /// All values that are numbers, one after the other.
  package func store(at numbers: UnsafeMutablePointer<UInt64>) {
    var place = 0
    for index in 0..<Self.count where index != Self.queue {
      numbers[place] = self[index]
      place += 1
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
    case 8: ("polyfill_duplicates", "packets dropped because they arrived twice")
    case 9: ("polyfill_malformed", "datagrams dropped because no rule of the protocol explains them")
    case 10: ("polyfill_dropped_for_room", "packets dropped for lack of room, to come again")
    case 11: ("polyfill_sessions_failed", "sessions that ended with what was under way in them")
    case 12: ("polyfill_strangers", "datagrams dropped because they belong to no session")
    case 13: ("polyfill_frames_staged", "frames that came before their turn, and waited for it")
    case 14: ("polyfill_transfers_deferred", "transfers that waited for an earlier access to the same memory")
    default: socketText(index)
    }
  }

  private static func socketText(_ index: Int) -> (name: StaticString, description: StaticString) {
    switch index {
    case 15: ("polyfill_datagrams_sent", "datagrams sent, segments counted one by one")
    case 16: ("polyfill_send_calls", "system calls to send")
    case 17: ("polyfill_receive_calls", "system calls to receive")
    case 18: ("polyfill_receive_buffers", "buffers that those filled, each perhaps with several datagrams")
    case 19: ("polyfill_segmentation_refusals", "sockets whose kernel or device refused to cut a send")
    case 20: ("polyfill_socket_errors", "errors about earlier datagrams that a call was told")
    case 21: ("polyfill_truncated", "datagrams dropped because they were larger than any that is expected")
    case 22: ("polyfill_kernel_drops", "datagrams dropped because a socket's receive buffer was full")
    case 23: ("polyfill_dropped_on_purpose", "datagrams dropped by FI_POLYFILL_FAULT")
    case 24: ("polyfill_rtt_shortest", "the shortest round trip of late, in nanoseconds")
    case 25: ("polyfill_rtt_mean", "the mean of the sessions' smoothed round trips, in nanoseconds")
    case 26: ("polyfill_rtt_longest", "the longest of the sessions' smoothed round trips, in nanoseconds")
    case 27: ("polyfill_congestion_window", "bytes that may be in flight")
    case 28: ("polyfill_bytes_in_flight", "bytes in flight")
    case 29: ("polyfill_smallest_mtu", "UDP payload of the largest datagram that every session's path carries")
    case 30: ("polyfill_sockets", "sockets")
    case 31: ("polyfill_sockets_gso", "sockets where the kernel cuts sends")
    case 32: ("polyfill_sockets_gro", "sockets where the kernel puts received datagrams together")
    case 33: ("polyfill_sockets_connected", "sockets with a second one, connected to the peer that most goes to")
    default: ("polyfill_sockets_splicing", "sockets whose second one takes large datagrams by reference")
    }
  }
}
