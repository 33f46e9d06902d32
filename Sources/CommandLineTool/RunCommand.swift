import ArgumentParser
import Glibc

/// Becomes another program, for which this library is libfabric.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Runs a program, and what it starts, on this library instead of the installed libfabric.",
    discussion: """
      The program replaces this one, so signals and exit status are its own; 127 means that it was not found, 126 that \
      it could not be started, 125 that this library was not found. What is set in the environment stays, LD_LIBRARY_PATH and LD_PRELOAD are added to.

      EXAMPLES:
        fabric-polyfill run -- fi_info
        fabric-polyfill run --interface eth0 --log-level info -- mpirun -n 2 ./program
      """)

  /// What FI_POLYFILL_MODE may be.
  enum Mode: String, CaseIterable, ExpressibleByArgument {
    case auto, udp, native
  }

  /// What FI_LOG_LEVEL may be.
  enum LogLevel: String, CaseIterable, ExpressibleByArgument {
    case warn, trace, info, debug
  }

  @Option(help: "Directory with the drop-in libfabric.so.1; found beside this tool when not given.")
  var library: String?

  @Flag(help: "Preloads the library, too, for programs that name a directory of their own (DT_RPATH).")
  var preload = false

  @Option(help: "Sets FI_PROVIDER: the names to offer, a comma list.")
  var provider: String?

  @Option(help: "Sets FI_POLYFILL_IFACE: the one network interface to use.")
  var interface: String?

  @Option(help: "Sets FI_POLYFILL_MODE.")
  var mode: Mode?

  @Option(help: "Sets FI_LOG_LEVEL.")
  var logLevel: LogLevel?

  @Argument(help: ArgumentHelp("The program and its arguments, after --.", valueName: "program"))
  var command: [String]

  func validate() throws {
    if command.isEmpty { throw ValidationError("a program is needed, after --") }
  }

  func run() throws {
    do {
      guard let dropIn = library ?? DropIn.find() else {
        throw ToolError("the library is not beside this tool; name its drop-in directory with --library")
      }
      let changes = try RunEnvironment(dropIn: dropIn, command: self).variables { name in
        getenv(name).map { String(cString: $0) }
      }
      for (name, value) in changes { setenv(name, value, 1) }
    } catch {
      Output.note("fabric-polyfill: \(error)")
      throw ExitCode(RunCommand.ownFailure)
    }
    throw ExitCode(RunCommand.become(command))
  }

  /// What env(1) and others end with when the fault is theirs.
  private static let ownFailure: Int32 = 125

  /// Replaces this process; returns only if that fails, the status to end with.
  private static func become(_ command: [String]) -> Int32 {
    var arguments = command.map { strdup($0) } + [nil]
    execvp(command[0], &arguments)
    let error = errno
    Output.note("fabric-polyfill: \(command[0]): \(String(cString: strerror(error)))")
    return error == ENOENT || error == ENOTDIR ? 127 : 126
  }
}

/// The variables that make a program use the library.
struct RunEnvironment {
  private let dropIn: String
  private let command: RunCommand

  /// - Throws: ``ToolError`` for a directory without the library, or one that the variables cannot name.
  init(dropIn: String, command: RunCommand) throws {
    guard let dropIn = DropIn.resolved(dropIn) else {
      throw ToolError("no libfabric.so.1 in \(dropIn)")
    }
    // These variables have no way to quote.
    guard !dropIn.contains(where: { ":; ".contains($0) }) else {
      throw ToolError("LD_LIBRARY_PATH and LD_PRELOAD cannot hold this path: \(dropIn)")
    }
    self.dropIn = dropIn
    self.command = command
  }

  /// Names and values to set; `present` says what is set now.
  func variables(present: (String) -> String?) -> [(name: String, value: String)] {
    var variables = [(name: "LD_LIBRARY_PATH", value: prepend(dropIn, to: present("LD_LIBRARY_PATH")))]
    if command.preload, let library = DropIn.resolved(dropIn + "/libfabric.so.1", isDirectory: false) {
      variables.append(("LD_PRELOAD", prepend(library, to: present("LD_PRELOAD"))))
    }
    if let provider = command.provider { variables.append(("FI_PROVIDER", provider)) }
    if let interface = command.interface { variables.append(("FI_POLYFILL_IFACE", interface)) }
    if let mode = command.mode { variables.append(("FI_POLYFILL_MODE", mode.rawValue)) }
    if let level = command.logLevel { variables.append(("FI_LOG_LEVEL", level.rawValue)) }
    return variables
  }

  /// An empty element would mean the current directory.
  private func prepend(_ path: String, to present: String?) -> String {
    guard let present, !present.isEmpty else { return path }
    return path == present || present.hasPrefix(path + ":") ? present : path + ":" + present
  }
}

/// The directory where the library answers to the name `libfabric.so.1`.
enum DropIn {
  /// The one that belongs to this executable; nil if there is none.
  static func find() -> String? {
    guard let executable = resolved("/proc/self/exe", isDirectory: false) else { return nil }
    return candidates(executable).first { resolved($0) != nil }
  }

  /// Where it may be: installed under a prefix, in a build directory, or in a checkout that SwiftPM has built. No other
  /// directories are tried, for those above them may be anybody's.
  static func candidates(_ executable: String) -> [String] {
    let parts = executable.split(separator: "/").map(String.init)
    guard parts.count > 2 else { return [] }
    let prefix = "/" + parts.dropLast(2).joined(separator: "/")
    var candidates = ["lib/libfabric-polyfill", "lib64/libfabric-polyfill", "lib/dropin"].map { "\(prefix)/\($0)" }
    #if arch(x86_64)
    candidates.append("\(prefix)/lib/x86_64-linux-gnu/libfabric-polyfill")
    #elseif arch(arm64)
    candidates.append("\(prefix)/lib/aarch64-linux-gnu/libfabric-polyfill")
    #endif
    if let build = parts.firstIndex(of: ".build") {
      candidates.append("/" + (parts[..<build] + ["build/lib/dropin"]).joined(separator: "/"))
    }
    return candidates
  }

  /// The real path of a drop-in directory, or of a file; nil if it is none.
  static func resolved(_ path: String, isDirectory: Bool = true) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    let text = String(cString: real)
    guard isDirectory else { return text }
    return access(text + "/libfabric.so.1", R_OK) == 0 ? text : nil
  }
}
