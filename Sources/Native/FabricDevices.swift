import CPlatform
import Provider

/// Whether this host has a device that providers for hardware drive.
///
/// Some builds of libfabric take hundreds of milliseconds to load and to find out that there is none. So a library that
/// nobody has named is not opened for its hardware on a host without any.
enum FabricDevices {
  /// Asks the system.
  static var arePresent: Bool {
    arePresent(exists: { access($0.text, F_OK) == 0 }, hasEntries: { platform_has_entries($0.text) })
  }

  /// Whether one of the drivers' devices `exists`, or a class of devices `hasEntries`; both are asked by path.
  static func arePresent(exists: (StaticString) -> Bool, hasEntries: (StaticString) -> Bool) -> Bool {
    // verbs, EFA, Omni-Path, usNIC and all else that rdma-core knows
    hasEntries("/sys/class/infiniband") || hasEntries("/dev/infiniband")
      // Slingshot; Omni-Path and True Scale; Aries and Gemini
      || hasEntries("/sys/class/cxi") || exists("/dev/cxi0") || exists("/dev/hfi1_0") || exists("/dev/ipath")
      || exists("/dev/kgni0")
  }
}
