import CPlatform

/// Whether the capability FI_HMEM, memory of devices as buffers, can be offered by a provider that reaches the system's
/// memory only.
///
/// The capability is for all kinds of memory that the program has, and the request does not say which. So it is offered
/// where there is one kind: on a host without the driver of an accelerator, or where FI_HMEM=system says that the program
/// has no other.
///
/// Man pages: fi_getinfo(3), "FI_HMEM"; fi_mr(3), "iface"
package enum DeviceMemory {
  /// Whether all memory is the system's.
  package static var isAbsent: Bool {
    Configuration.current.hasSystemMemoryOnly || isAbsent { access($0.text, F_OK) == 0 }
  }

  /// Whether none of the drivers' devices `exists`, which is asked by path.
  package static func isAbsent(_ exists: (StaticString) -> Bool) -> Bool {
    !exists("/dev/nvidiactl") && !exists("/dev/dxg") && !exists("/dev/kfd") && !exists("/dev/dri/renderD128")
      && !exists("/dev/neuron0") && !exists("/dev/accel/accel0") && !exists("/dev/hl0")
  }
}
