import Packet
import Transport

/// Who begins and ends the connections of a port: a connected endpoint, or one that listens. All calls come with the
/// engine's lock held, from the midst of the port's work: they may queue messages and say that sessions shall end.
package protocol ConnectionManager: AnyObject {
  /// A message for the management of connections. Returns false to turn it down, which ends its sender's operation.
  func received(_ message: ConnectionMessage, from connection: ConnectionIndex, at port: Port) -> Bool
  /// A message of this side's was taken, or was not.
  func sent(_ kind: ConnectionMessageKind, _ status: TransportStatus, at port: Port)
  /// A session is over, whoever ended it.
  func ended(_ connection: ConnectionIndex, _ status: TransportStatus, at port: Port)
  /// The time that the manager had named to the port has come.
  func timedOut(at port: Port)
}

/// Tells a port's manager, if there is one. That counts references, which the functions of the data path do without.
enum Management {
  @inline(never)
  static func received(_ message: ConnectionMessage, from connection: ConnectionIndex, at port: Port) -> Bool {
    port.manager?.received(message, from: connection, at: port) ?? false
  }

  @inline(never)
  static func sent(_ kind: ConnectionMessageKind, _ status: TransportStatus, at port: Port) {
    port.manager?.sent(kind, status, at: port)
  }

  @inline(never)
  static func ended(_ connection: ConnectionIndex, _ status: TransportStatus, at port: Port) {
    port.manager?.ended(connection, status, at: port)
  }

  /// False where nobody manages connections.
  @inline(never)
  static func timedOut(at port: Port) -> Bool {
    guard let manager = port.manager else { return false }
    manager.timedOut(at: port)
    return true
  }
}
