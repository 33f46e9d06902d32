public struct DatagramProbe: ~Copyable { public var x = 1; public init() {} }
