import CPlatform

/// A comma list of names, of which a leading ^ makes an exclude list: the grammar of FI_PROVIDER, FI_LOG_PROV and
/// FI_LOG_SUBSYS. Names compare without case; blanks are part of a name. An empty list names nothing, so that as an
/// include list it keeps everything out.
///
/// Man page: fabric(7), environment variables; examples in fi_info(1).
package struct NameFilter {
  /// The list without the ^; nil lets everything pass. Must stay valid as long as the filter.
  package let names: CString?
  package let isNegated: Bool

  /// The filter that a variable's text makes; none for an unset one.
  package init(_ text: CString?) {
    isNegated = text?.pointee == CChar(UInt8(ascii: "^"))
    names = isNegated ? text.map { $0 + 1 } : text
  }

  /// Whether the list, of either kind, contains `name`.
  package func lists(_ name: StaticString) -> Bool { lists(name.text, name.utf8CodeUnitCount) }

  /// Whether the list, of either kind, contains the `length` bytes at `name`.
  package func lists(_ name: CString, _ length: Int) -> Bool {
    var found = false
    forEachName { part, partLength in
      found = partLength == length && strncasecmp(part, name, length) == 0
      return !found
    }
    return found
  }

  /// Whether something called `name` is to be left out.
  package func excludes(_ name: StaticString) -> Bool {
    names != nil && lists(name) == isNegated
  }

  /// Calls `body` with every name of the list, as position and length, until it returns false.
  package func forEachName(_ body: (CString, Int) -> Bool) {
    guard let names else { return }
    CText.forEachPart(of: names, separator: UInt8(ascii: ","), body)
  }
}
