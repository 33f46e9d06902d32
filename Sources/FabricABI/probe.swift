import CFabric
import CPlatform
import Containers

@c @implementation public func fi_version() -> UInt32 { 0x20006 }

final class Foo { var a = 1; var d: [Int: Int] = [:] }
nonisolated(unsafe) var foo = Foo()

@_cdecl("fi_dupinfo@@FABRIC_1.1") public func dupinfo11(_ i: UnsafePointer<fi_info>?) -> UnsafeMutablePointer<fi_info>? { foo.d[1] = 1; return .allocate(capacity: 1) }
@_cdecl("fi_dupinfo@FABRIC_1.0") public func dupinfo10(_ i: UnsafePointer<fi_info>?) -> UnsafeMutablePointer<fi_info>? { nil }
