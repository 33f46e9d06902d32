#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif
import Glibc

/// What this host allows, asked once. The checks are functions of it.
struct HostFacts {
  /// A network interface that is up.
  struct Interface: Equatable {
    var name: String
    /// Bytes of its largest IP packet; nil if it does not say.
    var mtu: Int?
    var isLoopback: Bool
  }

  /// A socket buffer: what was asked for, what the kernel gave, and the limit for those without privileges.
  struct Buffer: Equatable {
    var wanted: Int
    var granted: Int
    /// nil where the kernel does not show it, as in containers.
    var limit: Int?
  }

  var kernel = ""
  var receiveBuffer = Buffer(wanted: 0, granted: 0)
  var sendBuffer = Buffer(wanted: 0, granted: 0)
  /// Whether the kernel cuts sends (UDP_SEGMENT) and merges receives (UDP_GRO).
  var segments = false
  var merges = false
  var interfaces: [Interface] = []
  /// Descriptors that a process may have now, and up to where it may raise that itself.
  var openFiles = 0
  var openFilesLimit = 0
  /// Bytes that all UDP sockets together may hold; nil where it cannot be read.
  var udpMemory: Int?
  /// Ports that the kernel hands out.
  var ports: ClosedRange<Int>?
  /// Pages that pipes of one user may have; nil without such a limit for this user.
  var pipePages: Int?
  /// Commands of firewalls that are installed.
  var firewalls: [String] = []

  init() {}

  /// Asks the system; `wanted` is the socket buffer that the library asks for.
  static func gather(wanted: Int) -> HostFacts {
    var facts = HostFacts()
    facts.kernel = words("/proc/sys/kernel/osrelease").first ?? ""
    facts.measureSocket(wanted: wanted)
    facts.interfaces = presentInterfaces()
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
      facts.openFiles = Int(clamping: limit.rlim_cur)
      facts.openFilesLimit = Int(clamping: limit.rlim_max)
    }
    let memory = numbers("/proc/sys/net/ipv4/udp_mem")
    if memory.count == 3 { facts.udpMemory = memory[2] * Int(sysconf(Int32(_SC_PAGESIZE))) }
    let ports = numbers("/proc/sys/net/ipv4/ip_local_port_range")
    if ports.count == 2 && ports[0] <= ports[1] { facts.ports = ports[0]...ports[1] }
    // 0 is no limit, and root has none.
    if geteuid() != 0, let pages = numbers("/proc/sys/fs/pipe-user-pages-soft").first, pages > 0 {
      facts.pipePages = pages
    }
    facts.firewalls = ["firewall-cmd", "ufw", "nft", "iptables"].filter { command in
      ["/usr/sbin/", "/sbin/", "/usr/bin/"].contains { access($0 + command, X_OK) == 0 }
    }
    return facts
  }

  /// Tries on a socket what the library sets on its own.
  private mutating func measureSocket(wanted: Int) {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    receiveBuffer = Buffer(
      wanted: wanted, granted: HostFacts.grant(descriptor, SO_RCVBUFFORCE, SO_RCVBUF, wanted),
      limit: HostFacts.numbers("/proc/sys/net/core/rmem_max").first)
    sendBuffer = Buffer(
      wanted: wanted, granted: HostFacts.grant(descriptor, SO_SNDBUFFORCE, SO_SNDBUF, wanted),
      limit: HostFacts.numbers("/proc/sys/net/core/wmem_max").first)
    var (size, on): (Int32, Int32) = (1_200, 1)
    let length = socklen_t(MemoryLayout<Int32>.size)
    segments = setsockopt(descriptor, Int32(IPPROTO_UDP), HostFacts.udpSegment, &size, length) == 0
    merges = setsockopt(descriptor, Int32(IPPROTO_UDP), HostFacts.udpGRO, &on, length) == 0
  }

  /// Asks for a buffer with privileges, then without, and says what came of it. The kernel doubles it for its own use.
  private static func grant(_ descriptor: Int32, _ forced: Int32, _ plain: Int32, _ wanted: Int) -> Int {
    var value = Int32(clamping: wanted)
    var length = socklen_t(MemoryLayout<Int32>.size)
    if setsockopt(descriptor, SOL_SOCKET, forced, &value, length) != 0 {
      setsockopt(descriptor, SOL_SOCKET, plain, &value, length)
    }
    value = 0
    getsockopt(descriptor, SOL_SOCKET, plain, &value, &length)
    return Int(value) / 2
  }

  private static func presentInterfaces() -> [Interface] {
    var first: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&first) == 0 else { return [] }
    defer { freeifaddrs(first) }
    var interfaces: [Interface] = []
    var next = first
    while let entry = next?.pointee {
      next = entry.ifa_next
      let name = String(cString: entry.ifa_name)
      let flags = Int32(bitPattern: entry.ifa_flags)
      let family = entry.ifa_addr.map { Int32($0.pointee.sa_family) }
      guard flags & Int32(IFF_UP) != 0, family == AF_INET || family == AF_INET6,
        !interfaces.contains(where: { $0.name == name })
      else { continue }
      interfaces.append(
        Interface(
          name: name, mtu: numbers("/sys/class/net/\(name)/mtu").first,
          isLoopback: flags & Int32(IFF_LOOPBACK) != 0))
    }
    return interfaces
  }

  private static func words(_ path: String) -> [String] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
    return text.split(whereSeparator: \.isWhitespace).map(String.init)
  }

  private static func numbers(_ path: String) -> [Int] { words(path).compactMap { Int($0) } }

  // netinet/udp.h and linux/udp.h, which do not always have both.
  private static let udpSegment: Int32 = 103
  private static let udpGRO: Int32 = 104
}
