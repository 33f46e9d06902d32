// swift-tools-version: 6.2
import PackageDescription

// Two builds of the same modules:
// - regular mode: the Swift API, unit tests, the simulator, tools; full run-time checks.
// - `--traits Embedded`: the shipped shared library, which depends on libc alone.
//
// The other traits are levels of the Swift API: what a program that uses it is linked with.
let embedded: BuildSettingCondition = .when(traits: ["Embedded"])
let swiftSettings: [SwiftSetting] = [
  .enableExperimentalFeature("Embedded", embedded),
  .enableExperimentalFeature("Extern"),
  .enableExperimentalFeature("Lifetimes"),
  // Exclusivity is checked by the tests in regular mode; the checks would cost a call for every access in the library.
  // Every module compiles what it uses of the modules below once more; sections of their own let the linker keep one.
  .unsafeFlags(["-wmo", "-enforce-exclusivity=unchecked", "-Xfrontend", "-function-sections"], embedded),
]

let package = Package(
  name: "libfabric-polyfill",
  products: [
    .library(name: "FabricABI", type: .dynamic, targets: ["FabricABI"]),
    .library(name: "Fabric", targets: ["Fabric"]),
    .executable(name: "fabric-polyfill", targets: ["CommandLineTool"]),
  ],
  traits: [
    .default(enabledTraits: ["Polyfill"]),
    .trait(name: "Polyfill", description: "The Swift API with the polyfill linked in: UDP everywhere."),
    .trait(name: "Native", description: "The Swift API on an installed libfabric, found by pkg-config, alone."),
    .trait(
      name: "NativeFallback",
      description: "The polyfill linked in, which uses an installed libfabric where that has hardware."),
    .trait(name: "Embedded", description: "Build the shipped library in Embedded Swift: no runtime, libc alone."),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ],
  targets: [
    .target(
      name: "CFabric", path: ".", sources: ["Sources/CFabric"], publicHeadersPath: "include",
      cSettings: [.headerSearchPath("include")]),
    .target(
      name: "CFabricCalls", dependencies: ["CFabric"], publicHeadersPath: "."),
    .target(name: "CPlatform"),
    .target(name: "Containers", swiftSettings: swiftSettings),
    .target(name: "Packet", dependencies: ["Containers"], swiftSettings: swiftSettings),
    .target(name: "Transport", dependencies: ["Packet", "Containers"], swiftSettings: swiftSettings),
    .target(name: "Datagram", dependencies: ["CPlatform", "Containers"], swiftSettings: swiftSettings),
    .target(
      name: "Provider", dependencies: ["Transport", "Datagram", "CPlatform", "CFabric"], swiftSettings: swiftSettings),
    .target(
      name: "Native", dependencies: ["Provider", "Datagram", "CPlatform", "CFabric"], swiftSettings: swiftSettings),
    .target(
      name: "FabricABI", dependencies: ["Native", "Provider", "CFabric", "CFabricCalls"], swiftSettings: swiftSettings,
      // Names carry their versions (fi_getinfo@FABRIC_1.3), which a linker only accepts with the script that lists them.
      linkerSettings: [
        .unsafeFlags(
          ["-Xlinker", "--version-script=\(Context.packageDirectory)/pkgconfig/libfabric-polyfill.map"], embedded)
      ]),

    // The Swift API, in regular mode only.
    .systemLibrary(
      name: "CNativeFabric", pkgConfig: "libfabric", providers: [.apt(["libfabric-dev"]), .brew(["libfabric"])]),
    .target(
      name: "Fabric",
      dependencies: [
        "CFabric",
        .target(name: "FabricABI", condition: .when(traits: ["Polyfill", "NativeFallback"])),
        .target(name: "CNativeFabric", condition: .when(traits: ["Native"])),
      ],
      swiftSettings: [.enableExperimentalFeature("Lifetimes")]),

    .executableTarget(
      name: "CommandLineTool",
      dependencies: [
        "Fabric", "CFabric", .target(name: "Provider", condition: .when(traits: ["Polyfill", "NativeFallback"])),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    // Tests, in regular mode only.
    .testTarget(name: "ContainersTests", dependencies: ["Containers"]),
    .testTarget(name: "PacketTests", dependencies: ["Packet", "Containers"]),
    .target(
      name: "SimulationSupport", dependencies: ["Transport", "Packet", "Containers"], path: "Tests/SimulationSupport"),
    .executableTarget(
      name: "simulator",
      dependencies: ["SimulationSupport", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      path: "Tests/Simulator"),
    .testTarget(name: "TransportTests", dependencies: ["SimulationSupport", "Transport", "Packet"]),
    .testTarget(name: "DatagramTests", dependencies: ["Datagram", "CPlatform"]),
    .testTarget(
      name: "NativeTests", dependencies: ["Native", "Provider", "Datagram", "CPlatform", "CFabric"]),
    .testTarget(name: "ProviderTests", dependencies: ["Provider", "Datagram", "CPlatform", "CFabric"]),
    .testTarget(name: "FabricTests", dependencies: ["Fabric"]),
    .testTarget(name: "CommandLineToolTests", dependencies: ["CommandLineTool"]),
  ],
  swiftLanguageModes: [.v6]
)
