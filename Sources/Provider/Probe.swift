public struct ProviderProbe: ~Copyable { public var x = 1; public init() {} }
