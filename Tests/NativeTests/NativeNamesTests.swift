import CFabric
import CPlatform
import Provider
import Testing

@testable import Native

@Suite struct NativeNamesTests {
  struct Case: Sendable {
    var hint: String?
    var variables: [String: String] = [:]
    let interest: NativeNames.Interest
  }

  /// What a request wants of the native library, by its own hint and by what the environment says.
  @Test(arguments: [
    Case(hint: nil, interest: .hardware),
    Case(hint: "", interest: .named),
    Case(hint: "polyfill", interest: .none),
    Case(hint: "tcp;ofi_rxm", interest: .none),
    Case(hint: "ofi_rxm;tcp", interest: .none),
    Case(hint: "ofi_rxm", interest: .hardware),
    Case(hint: "^tcp", interest: .hardware),
    Case(hint: "verbs;ofi_rxm", interest: .named),
    Case(hint: "shm", interest: .named),
    // Without aliases their names are another library's.
    Case(hint: "tcp", variables: ["FI_POLYFILL_ALIASES": "0"], interest: .named),
    Case(hint: "polyfill", variables: ["FI_POLYFILL_ALIASES": "0"], interest: .none),
    Case(hint: "tcp;ofi_rxm", variables: ["FI_POLYFILL_HARDWARE": "tcp"], interest: .named),
    Case(hint: "udp", variables: ["FI_POLYFILL_HARDWARE": "tcp"], interest: .none),
    // FI_PROVIDER decides where the hint does not.
    Case(hint: nil, variables: ["FI_PROVIDER": "polyfill,udp"], interest: .none),
    Case(hint: nil, variables: ["FI_PROVIDER": ""], interest: .none),
    Case(hint: nil, variables: ["FI_PROVIDER": "polyfill,shm"], interest: .named),
    Case(hint: nil, variables: ["FI_PROVIDER": "tcp", "FI_POLYFILL_HARDWARE": "efa,tcp"], interest: .named),
    Case(hint: nil, variables: ["FI_PROVIDER": "^shm"], interest: .hardware),
    Case(hint: "polyfill", variables: ["FI_PROVIDER": "shm"], interest: .none),
  ])
  func interest(_ test: Case) throws {
    let hints = try InfoMemory.allocate()
    defer { InfoMemory.free(hints) }
    hints.pointee.fabric_attr.pointee.prov_name = test.hint.map { strdup($0) }
    #expect(names(test.variables).interest(of: hints) == test.interest)
    if test.hint == nil { #expect(names(test.variables).interest(of: nil) == test.interest) }
  }

  @Test(
    arguments: [
      (nil, "efa", true), (nil, "EFA", true), (nil, "verbs;ofi_rxm", true), (nil, "efa2", false), (nil, "shm", false),
      ("shm", "efa", false), ("shm", "shm", true), ("^shm,tcp", "efa", true), ("^shm,tcp", "tcp;ofi_rxm", false),
      ("", "efa", false), ("", "", true),
    ] as [(String?, String, Bool)])
  func hardware(list: String?, name: String, isHardware: Bool) {
    let names = names(list.map { ["FI_POLYFILL_HARDWARE": $0] } ?? [:])
    #expect(name.withCString { names.isHardware($0) } == isHardware)
  }

  @Test func devicesAreFoundByDriverOrByClass() {
    #expect(!FabricDevices.arePresent(exists: { _ in false }, hasEntries: { _ in false }))
    #expect(FabricDevices.arePresent(exists: { CText.equal($0.text, "/dev/cxi0") }, hasEntries: { _ in false }))
    #expect(
      FabricDevices.arePresent(exists: { _ in false }, hasEntries: { CText.equal($0.text, "/sys/class/infiniband") }))
  }

  private func names(_ variables: [String: String]) -> NativeNames {
    NativeNames(
      Configuration { variable in
        // Kept for good: the filters point to it.
        variables["\(variable.description.environmentName)"].map { CString(strdup($0)!) }
      })
  }
}
