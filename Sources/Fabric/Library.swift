import CFabric

/// The library behind this module, whichever level it is: the polyfill linked in, or libfabric.
///
/// Man page: fi_version(3)
public enum Library {
  /// The release whose interface the library has, as `2.6`.
  public static var version: String { "\(lfp_major(fi_version())).\(lfp_minor(fi_version()))" }

  /// The interface that is asked for: that of 1.17, or of the library where it is older. It decides what calls mean and
  /// which structures they are given; a fixed one lets the same program do the same on every level. This module reads
  /// no field and makes no call that came later.
  static var interfaceVersion: UInt32 { min(fi_version(), lfp_version(1, 17)) }
}

extension UnsafeMutablePointer {
  /// The head that every object of the library begins with.
  var base: UnsafeMutablePointer<fid> { UnsafeMutableRawPointer(self).assumingMemoryBound(to: fid.self) }
}
