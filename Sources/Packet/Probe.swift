public struct PacketProbe: ~Copyable { public var x = 1; public init() {} }
