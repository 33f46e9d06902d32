import CPlatform

/// Finds out that a port is closed where the system does not report it by itself, with what POSIX has: a connected socket
/// is told by its next call (ECONNREFUSED). An empty datagram is sent, which no endpoint takes for anything.
///
/// A probe stays with its destination until another one that shares its `slot` takes its place.
///
/// Man pages: udp(7), connect(2)
struct RefusalProbes: ~Copyable {
  private struct Probe {
    var destination = SocketAddress()
    var descriptor: Int32 = -1
  }

  private var probes = InlineArray<8, Probe>(repeating: Probe())

  static func slot(_ destination: SocketAddress) -> Int { Int(destination.hash % 8) }

  deinit {
    for index in probes.indices where probes[index].descriptor >= 0 { Syscall.close(probes[index].descriptor) }
  }

  /// Whether the network has answered an earlier call that nobody listens at `destination`; asks again.
  mutating func isRefused(_ destination: SocketAddress) -> Bool {
    let index = Self.slot(destination)
    if probes[index].destination != destination {
      if probes[index].descriptor >= 0 { Syscall.close(probes[index].descriptor) }
      probes[index] = Probe(destination: destination, descriptor: Self.open(to: destination))
    }
    let descriptor = probes[index].descriptor
    guard descriptor >= 0, Syscall.send(descriptor, nil, 0, nil, 0) == -Int(ECONNREFUSED) else { return false }
    // That was the answer, and nothing was sent.
    _ = Syscall.send(descriptor, nil, 0, nil, 0)
    return true
  }

  /// A socket connected to `destination`; -1 when the system refuses.
  private static func open(to destination: SocketAddress) -> Int32 {
    let descriptor = Int32(truncatingIfNeeded: Syscall.socket(family: destination.family.systemValue))
    guard descriptor >= 0 else { return -1 }
    var storage = sockaddr_in6()
    let length = destination.store(to: &storage, capacity: SocketAddress.sockaddrCapacity)
    guard Syscall.connect(descriptor, &storage, length) < 0 else { return descriptor }
    Syscall.close(descriptor)
    return -1
  }
}
