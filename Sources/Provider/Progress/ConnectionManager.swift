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
