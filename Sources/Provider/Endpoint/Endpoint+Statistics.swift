import Transport

extension Endpoint {
  /// How the endpoint is doing. Takes the engine's lock.
  package var status: ProfileValues {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    var values = ProfileValues()
    add(to: &values)
    return values
  }

  /// Adds what the endpoint has to the variables; none before it is enabled. The engine's lock is held.
  func add(to values: inout ProfileValues) {
    port?.add(to: &values)
    datagramPort?.add(to: &values)
  }

  /// Writes what the endpoint has carried and what it took to the log: one line under FI_LOG_LEVEL=info, when the endpoint
  /// closes. Bytes are of UDP payload, headers of the protocol included. The engine's lock is held.
  func logStatistics(of port: Port) {
    let statistics = port.transport.statistics
    Log.write(.info, .endpointControl, function: "fi_close") { text in
      text.append(decimal: statistics.bytesSent)
      text.append(" bytes in " as StaticString)
      text.append(decimal: statistics.packetsSent)
      text.append(" packets sent, " as StaticString)
      text.append(decimal: statistics.bytesReceived)
      text.append(" bytes in " as StaticString)
      text.append(decimal: statistics.packetsReceived)
      text.append(" packets received, " as StaticString)
      text.append(decimal: statistics.packetsLost)
      text.append(" packets lost, " as StaticString)
      text.append(decimal: statistics.retransmittedFrames)
      text.append(" frames sent again, " as StaticString)
      text.append(decimal: statistics.duplicates)
      text.append(" duplicates" as StaticString)
    }
  }
}
