public struct TransportProbe: ~Copyable { public var x = 1; public init() {} }
