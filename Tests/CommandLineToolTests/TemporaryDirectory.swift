import Glibc

/// A directory of a test's own, which goes with it.
final class TemporaryDirectory {
  let path: String
  private var names: [String] = []

  struct Failed: Error {}

  init(suffix: String = "") throws {
    var template = Array("/tmp/fabric-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Failed() }
    let made = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard rename(made, made + suffix) == 0 else { throw Failed() }
    path = made + suffix
  }

  deinit {
    for name in names { unlink("\(path)/\(name)") }
    rmdir(path)
  }

  func write(_ text: String, to name: String) throws {
    guard let file = fopen("\(path)/\(name)", "w") else { throw Failed() }
    fputs(text, file)
    fclose(file)
    names.append(name)
  }

  func link(_ target: String, as name: String) throws {
    guard symlink(target, "\(path)/\(name)") == 0 else { throw Failed() }
    names.append(name)
  }
}
