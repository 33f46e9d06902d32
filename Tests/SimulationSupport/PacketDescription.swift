import Packet

/// A datagram in words, for traces: its header and every frame in it.
package func describe(_ datagram: UnsafeRawBufferPointer) -> String {
  guard let first = datagram.first else { return "empty datagram" }
  guard let kind = PacketKind(rawValue: first >> 4), first & 0x0F == protocolVersion else {
    return "unknown datagram of \(datagram.count) bytes, first \(hexadecimal(UInt64(first)))"
  }
  var reader = ByteReader(datagram)
  let text: String?
  switch kind {
  case .data:
    text = DataHeader(&reader).map {
      "DATA #\($0.packetNumber) to \($0.connection)/\(short($0.session))\(describe($0.flags))" + frames(&reader)
    }
  case .initial:
    text = InitialPacket(&reader).map { "INITIAL from \($0.connection)/\(short($0.session))" }
  case .challenge:
    text = ChallengePacket(&reader).map {
      "CHALLENGE to \($0.connection)/\(short($0.session)) cookie \($0.cookie.time)/\(short($0.cookie.code))"
    }
  case .confirm:
    text = ConfirmHeader(&reader).map {
      "CONFIRM #\($0.packetNumber) from \($0.connection)/\(short($0.session))\(describe($0.flags)) cookie "
        + "\($0.cookie.time)/\(short($0.cookie.code))" + frames(&reader)
    }
  case .reset:
    text = ResetPacket(&reader).map {
      "RESET of \($0.connection)/\(short($0.session))\($0.mayRetry ? " try again" : "")"
    }
  case .version: text = ResetPacket(&reader).map { "VERSION for \($0.connection)/\(short($0.session))" }
  }
  return (text ?? "truncated \(kind)") + " (\(datagram.count) bytes)"
}

private func frames(_ reader: inout ByteReader) -> String {
  var text = ""
  while reader.remaining > 0 {
    guard let type = FrameType(rawValue: reader.peek(0, as: UInt8.self)) else {
      return text + " | unknown frame, \(reader.remaining) bytes left"
    }
    if type == .padding {
      var count = 0
      while reader.remaining > 0 && reader.peek(0, as: UInt8.self) == 0 {
        reader.skip(1)
        count += 1
      }
      text += " | padding \(count)"
    } else if let frame = describe(type, &reader) {
      text += " | " + frame
    } else {
      return text + " | malformed \(type), \(reader.remaining) bytes left"
    }
  }
  return text
}

private func describe(_ type: FrameType, _ reader: inout ByteReader) -> String? {
  switch type {
  case .padding: return nil
  case .probe: return ShortFrame.decode(&reader) ? "PROBE" : nil
  case .close: return ShortFrame.decode(&reader) ? "CLOSE" : nil
  case .rangeAck: return RangeAckFrame(&reader).map(describe)
  case .accept:
    return AcceptFrame(&reader).map {
      "ACCEPT \($0.connection)/\(short($0.session)) datagram \($0.parameters.maximumDatagram) credit "
        + "\($0.parameters.initialCredit)/\($0.parameters.initialOperations)"
    }
  case .credit: return CreditFrame(&reader).map { "CREDIT operations \($0.operations) bytes \($0.bytes)" }
  case .pullRequest:
    return PullRequestFrame(&reader).map {
      "PULL_REQUEST\($0.isRead ? " read" : "") op \($0.operation) token \($0.token) transfer \($0.transfer) "
        + "limit \($0.limit)"
    }
  case .operationDone:
    return OperationDoneFrame(&reader).map { "OPERATION_DONE op \($0.operation) x\($0.count) status \($0.status)" }
  case .dataChunk:
    return DataChunkFrame(&reader).map {
      "DATA_CHUNK transfer \($0.transfer) op \($0.operation) \($0.offset)+\($0.payloadLength)"
    }
  case .readResponse:
    return ReadResponseFrame(&reader).map {
      "READ_RESPONSE token \($0.token) op \($0.operation) responder \($0.responder) \($0.offset)+\($0.payloadLength)"
    }
  case .message, .messageFragment, .writeData, .transferNotify, .readRequest, .atomic:
    return OrderedFrame(type, &reader).map(describe)
  }
}

private func describe(_ frame: OrderedFrame) -> String {
  var text = "\(frame.type) op \(frame.operation) \(frame.offset)+\(frame.payloadLength) of \(frame.total)"
  if frame.token != 0 { text += " token \(frame.token)" }
  if frame.limit != 0 { text += " limit \(frame.limit)" }
  if frame.flags.contains(.tagged) { text += " tag \(hexadecimal(frame.tag))" }
  if frame.flags.contains(.remoteData) { text += " data \(hexadecimal(frame.data))" }
  if frame.flags.contains(.wantsDone) { text += " wants-done" }
  if frame.flags.contains(.write) { text += frame.type == .atomic ? " fetch" : " write" }
  if frame.context != 0 { text += " context \(frame.context)" }
  if frame.segmentCount > 0 { text += " segments \(frame.segmentCount)" }
  return text
}

private func describe(_ ack: RangeAckFrame) -> String {
  var walk = RangeAckFrame.Runs(ack, largest: UInt64(ack.largest))
  var runs: [String] = []
  while let run = walk.next() { runs.append(run.first == run.last ? "\(run.last)" : "\(run.last)-\(run.first)") }
  return "ACK \(runs.joined(separator: ",")) delay \(ack.delay)us"
}

private func describe(_ flags: PacketFlags) -> String { flags.contains(.acknowledgeSoon) ? " ack-soon" : "" }

private func short(_ value: UInt64) -> String { String(value >> 40, radix: 16) }

private func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
