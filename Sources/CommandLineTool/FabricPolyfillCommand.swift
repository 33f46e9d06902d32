import ArgumentParser

/// The command-line tool. Each subcommand is a file.
@main
struct FabricPolyfillCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fabric-polyfill",
    abstract: "Looks at libfabric-polyfill, runs programs on it, measures it, and finds what is in its way.",
    discussion: """
      EXIT STATUS: 0 when all is well, 1 for a failure (for doctor: for anything to mend), 64 for arguments that make \
      no sense. `run` ends as its program does; 125, 126 and 127 mean that none could be started.
      """,
    version: LibraryStatus.versionText,
    subcommands: [InfoCommand.self, RunCommand.self, BenchCommand.self, DoctorCommand.self])
}
