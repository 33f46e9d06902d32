import Testing

@testable import CommandLineTool

@Suite struct RunTests {
  /// A directory with a libfabric.so.1.
  private func dropIn() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    try directory.write("", to: "real.so")
    try directory.link("real.so", as: "libfabric.so.1")
    return directory
  }

  private func variables(_ arguments: [String], in dropIn: String, present: [String: String] = [:]) throws
    -> [String: String]
  {
    let command = try RunCommand.parse(arguments)
    let variables = try RunEnvironment(dropIn: dropIn, command: command).variables { present[$0] }
    return Dictionary(uniqueKeysWithValues: variables.map { ($0.name, $0.value) })
  }

  @Test func aProgramGetsTheLibraryPath() throws {
    let directory = try dropIn()
    let path = directory.path
    #expect(try variables(["--", "p"], in: path) == ["LD_LIBRARY_PATH": path])
    #expect(
      try variables(["--", "p"], in: path, present: ["LD_LIBRARY_PATH": "/a:/b"])
        == ["LD_LIBRARY_PATH": "\(path):/a:/b"])
    // An empty element would be the current directory.
    #expect(try variables(["--", "p"], in: path, present: ["LD_LIBRARY_PATH": ""]) == ["LD_LIBRARY_PATH": path])
    // Programs that run others through this tool do not make it longer and longer.
    #expect(
      try variables(["--", "p"], in: path, present: ["LD_LIBRARY_PATH": "\(path):/a"])
        == ["LD_LIBRARY_PATH": "\(path):/a"])
    withExtendedLifetime(directory) {}
  }

  @Test func optionsBecomeVariables() throws {
    let directory = try dropIn()
    let path = directory.path
    let arguments = [
      "--preload", "--provider", "tcp", "--interface", "eth0", "--mode", "udp", "--log-level", "info", "--", "p",
      "-x",
    ]
    let present = ["LD_PRELOAD": "/other.so"]
    #expect(
      try variables(arguments, in: path, present: present) == [
        "LD_LIBRARY_PATH": path, "LD_PRELOAD": "\(path)/real.so:/other.so", "FI_PROVIDER": "tcp",
        "FI_POLYFILL_IFACE": "eth0", "FI_POLYFILL_MODE": "udp", "FI_LOG_LEVEL": "info",
      ])
    withExtendedLifetime(directory) {}
  }

  @Test func argumentsAfterTheDashesAreTheProgramsOwn() throws {
    let command = try RunCommand.parse(["--preload", "--", "program", "--json", "-h", "--", "--preload"])
    #expect(command.command == ["program", "--json", "-h", "--", "--preload"] && command.preload)
    #expect(throws: (any Error).self) { try RunCommand.parse([]) }
    #expect(throws: (any Error).self) { try RunCommand.parse(["--mode", "sometimes", "--", "p"]) }
    #expect(throws: (any Error).self) { try RunCommand.parse(["--log-level", "loud", "--", "p"]) }
  }

  @Test func aDirectoryWithoutTheLibraryIsRefused() throws {
    let directory = try TemporaryDirectory()
    let command = try RunCommand.parse(["--", "p"])
    #expect(throws: ToolError.self) { try RunEnvironment(dropIn: directory.path, command: command) }
    #expect(throws: ToolError.self) { try RunEnvironment(dropIn: "/nonexistent", command: command) }
    let named = try TemporaryDirectory(suffix: "a:b")
    try named.write("", to: "libfabric.so.1")
    #expect(throws: ToolError.self) { try RunEnvironment(dropIn: named.path, command: command) }
  }

  @Test func theLibraryIsLookedForWhereItBelongs() {
    let installed = DropIn.candidates("/opt/p/bin/fabric-polyfill")
    #expect(installed.contains("/opt/p/lib/libfabric-polyfill") && installed.contains("/opt/p/lib/dropin"))
    #expect(installed.allSatisfy { $0.hasPrefix("/opt/p/lib") })
    let built = DropIn.candidates("/home/me/checkout/.build/debug/fabric-polyfill")
    #expect(built.contains("/home/me/checkout/build/lib/dropin"))
    #expect(DropIn.candidates("/tool").isEmpty)
  }
}
