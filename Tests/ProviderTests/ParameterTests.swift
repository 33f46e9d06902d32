import CFabric
import CPlatform
import Datagram
import Testing

@testable import Provider

@Suite struct ParameterTests {
  @Test(arguments: [
    ("16", 16), ("0x10", 16), ("010", 8), ("-3", -3), ("12abc", 12), ("abc", 0), ("", 0), (" 7", 7),
  ])
  func number(text: String, value: Int) {
    #expect(withText(text) { Parameters.number($0!) } == value)
  }

  @Test(arguments: [
    ("0", false), ("1", true), ("FALSE", false), ("True", true), ("no", false), ("YES", true), ("off", false),
    ("On", true), ("2", nil), ("", nil), ("y", nil), (" 1", nil), ("10", nil),
  ])
  func truth(text: String, value: Bool?) {
    #expect(withText(text) { Parameters.truth($0!) } == value)
  }

  @Test func aProvidersVariable() throws {
    let provider = UnsafeMutablePointer<fi_provider>.allocate(capacity: 1)
    provider.initialize(to: fi_provider())
    provider.pointee.name = CString(strdup("ofi_test"))
    #expect(lookUp(provider, "some_size") == -FI_ENOENT)
    try define(provider, "some_size", .size, "How much")
    #expect(lookUp(provider, "some_size") == -FI_ENODATA)
    #expect(lookUp(nil, "some_size") == -FI_ENOENT)
    setenv("FI_OFI_TEST_SOME_SIZE", "0x20", 1)
    let (kind, text) = try Parameters.value(provider: provider, name: "some_size")
    #expect(kind == .size && String(cString: text) == "0x20")
    let (list, count) = try Parameters.list()
    defer { Parameters.free(list) }
    let entry = (0..<count).map { list[$0] }.first { String(cString: $0.name) == "FI_OFI_TEST_SOME_SIZE" }
    #expect(entry.map { String(cString: $0.help_string) } == "ofi_test: How much")
    #expect(entry.map { String(cString: $0.value) } == "0x20")
    #expect(list[count].name == nil && list[count].help_string == nil && list[count].value == nil)
  }

  @Test func refusedDefinitions() {
    let kind = ParameterKind.string.rawValue
    let refused = -FI_EINVAL
    #expect(
      code { () throws(FabricError) in try Parameters.define(provider: nil, name: nil, kind: kind, help: "x") }
        == refused)
    #expect(
      code { () throws(FabricError) in try Parameters.define(provider: nil, name: "x", kind: kind, help: nil) }
        == refused)
    #expect(
      code { () throws(FabricError) in try Parameters.define(provider: nil, name: "x", kind: 4, help: "x") } == refused)
  }

  @Test func everyVariableOfTheLibraryIsListed() throws {
    let (list, count) = try Parameters.list()
    defer { Parameters.free(list) }
    var names: [String: Int] = [:]
    for index in 0..<count { names[String(cString: list[index].name), default: 0] += 1 }
    for variable in Variable.allCases {
      let description = variable.description
      #expect(names["\(description.environmentName)"] == 1)
      #expect(
        description.help.utf8CodeUnitCount + description.defaultText.utf8CodeUnitCount + 14 < Variable.textCapacity)
      #expect((description.owner == .polyfill) == "\(description.environmentName)".hasPrefix("FI_POLYFILL_"))
    }
    #expect(lookUp(nil, "log_interval") != -FI_ENOENT)
    #expect(lookUp(ProviderRecord.polyfill, "tx_size") != -FI_ENOENT)
  }

  @Test func defaultsOfTheConfiguration() {
    let configuration = Configuration(environment: [:])
    #expect(configuration.answersAliases && configuration.usesGSO && configuration.usesGRO)
    #expect(!configuration.isPortable && !configuration.grantsProviderKeys)
    #expect(configuration.interface == nil && configuration.portRange == nil)
    #expect(configuration.txSize == 1024 && configuration.rxSize == 1024 && configuration.mtu == 0)
    #expect(configuration.peerTimeout == 0 && configuration.universeSize == 1024)
    #expect(configuration.socketBuffer == 4 << 20)
    #expect(!configuration.faults.isActive)
  }

  @Test func valuesOfTheConfiguration() {
    let configuration = Configuration(environment: [
      "FI_POLYFILL_ALIASES": "no", "FI_POLYFILL_GSO": "0", "FI_POLYFILL_PORTABLE": "yes", "FI_POLYFILL_IFACE": "eth7",
      "FI_POLYFILL_PORT_RANGE": "4000-4010", "FI_POLYFILL_TX_SIZE": "0x200", "FI_POLYFILL_MTU": "9000",
      "FI_POLYFILL_PEER_TIMEOUT": "1500", "FI_UNIVERSE_SIZE": "64",
    ])
    #expect(!configuration.answersAliases && !configuration.usesGSO && configuration.isPortable)
    #expect(configuration.interface.map { String(cString: $0) } == "eth7")
    #expect(configuration.portRange == 4000...4010 && configuration.txSize == 512 && configuration.mtu == 9000)
    #expect(configuration.peerTimeout == 1500 && configuration.universeSize == 64)
  }

  @Test(arguments: [
    ("FI_POLYFILL_TX_SIZE", "0"), ("FI_POLYFILL_TX_SIZE", "65537"), ("FI_POLYFILL_TX_SIZE", "many"),
    ("FI_POLYFILL_TX_SIZE", ""), ("FI_POLYFILL_TX_SIZE", "1024 "), ("FI_POLYFILL_PEER_TIMEOUT", "-1"),
    ("FI_POLYFILL_GSO", "maybe"), ("FI_POLYFILL_PORT_RANGE", "4010-4000"), ("FI_POLYFILL_PORT_RANGE", "0-10"),
    ("FI_POLYFILL_PORT_RANGE", "1-65536"), ("FI_POLYFILL_PORT_RANGE", "a-b"), ("FI_POLYFILL_PORT_RANGE", "5-"),
    ("FI_POLYFILL_MTU", "99999999999999999999"),
  ])
  func unusableValuesLeaveTheDefault(name: String, value: String) {
    let configuration = Configuration(environment: [name: value])
    let plain = Configuration(environment: [:])
    #expect(configuration.txSize == plain.txSize && configuration.peerTimeout == plain.peerTimeout)
    #expect(configuration.usesGSO == plain.usesGSO && configuration.mtu == plain.mtu)
    #expect(configuration.portRange == nil)
  }

  @Test func faults() {
    var plan = FaultPlan()
    plan.loss = 20_000_000
    plan.duplication = 1_000_000_000
    plan.reordering = 50_000_001
    plan.delay = 200_000
    plan.jitter = 10_000_000_000
    plan.seed = .max
    #expect(
      faults("loss=0.02,dup=1,reorder=0.050000001,delay=200us,jitter=10s,seed=18446744073709551615") == plan)
    #expect(faults("seed=7").seed == 7 && !faults("seed=7").isActive)
    #expect(faults("delay=3ms").delay == 3_000_000 && faults("delay=9ns").delay == 9)
    #expect(faults("LOSS=1.0").loss == FaultPlan.always)
    #expect(!faults("loss=0,delay=0s").isActive)
  }

  @Test(arguments: [
    "", ",", "loss", "loss=", "=1", "loss=1.1", "loss=2", "loss=-0.1", "loss=0.1x", "loss=2%", "loss=0.0000000001",
    "loss=.5", "delay=200", "delay=us", "delay=1.5ms", "delay=11s", "delay=1h", "delay=99999999999999999999ns",
    "jitter=-1us", "seed=", "seed=x", "seed=18446744073709551616", "seed=0x7", "corrupt=0.1", "loss=0.1,",
    "loss=0.1,loss=0.2", "loss=0.1 ", " loss=0.1", "loss=0.1;dup=0.1", "loss==0.1", "lossy=0.1",
  ])
  func unusableFaults(text: String) {
    // Nothing is taken of a list that is wrong somewhere.
    #expect(faults(text) == FaultPlan())
    #expect(faults("dup=0.5,\(text)") == FaultPlan())
  }

  private func faults(_ text: String) -> FaultPlan {
    Configuration(environment: ["FI_POLYFILL_FAULT": text]).faults
  }

  private func define(
    _ provider: UnsafePointer<fi_provider>, _ name: String, _ kind: ParameterKind, _ help: String
  ) throws {
    try name.withCString { name in
      try help.withCString { help in
        try Parameters.define(provider: provider, name: name, kind: kind.rawValue, help: help)
      }
    }
  }

  private func lookUp(_ provider: UnsafePointer<fi_provider>?, _ name: String) -> Int32 {
    name.withCString { name in
      code { () throws(FabricError) in _ = try Parameters.value(provider: provider, name: name) }
    }
  }
}
