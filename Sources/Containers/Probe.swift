public struct ContainersProbe: ~Copyable { public var x = 1; public init() {} }
