import CFabric
import Native
import Provider

/// All declared variables as a list that ends in a zeroed entry, to be given back with fi_freeparams. Returns 0,
/// -FI_EINVAL for a missing argument, or -FI_ENOMEM. Any thread.
///
/// Man page: fi_getparams(3)
@c @implementation public func fi_getparams(
  _ params: UnsafeMutablePointer<UnsafeMutablePointer<fi_param>?>!, _ count: UnsafeMutablePointer<Int32>!
) -> Int32 {
  if let native = Delegation.everything { return native.pointee.fi_getparams(params, count) }
  guard let params, let count else {
    Log.warn(.core, "fi_getparams has nowhere to put its result", source: .core)
    return FabricError.invalidArgument.result
  }
  do {
    let list = try Parameters.list()
    params.pointee = list.first
    count.pointee = Int32(list.count)
    return FI_SUCCESS
  } catch {
    return error.result
  }
}

/// Gives back what fi_getparams returned; NULL is allowed.
///
/// Man page: fi_getparams(3)
@c @implementation public func fi_freeparams(_ params: UnsafeMutablePointer<fi_param>!) {
  if let params, let native = Delegation.everything { return native.pointee.fi_freeparams(params) }
  Parameters.free(params)
}

/// Stores the value of a declared variable: a `char *` that stays the environment's, an `int`, an `int` of 0 or 1, or
/// a `size_t`. Returns 0, -FI_ENOENT if the variable was never declared, -FI_ENODATA if it is not set, or -FI_EINVAL
/// for a missing argument or a text that is no truth value; then the value is left alone. Any thread.
///
/// Man page: fi_provider(3)
@c @implementation public func fi_param_get(
  _ provider: UnsafeMutablePointer<fi_provider>!, _ param_name: UnsafePointer<CChar>!,
  _ value: UnsafeMutableRawPointer!
) -> Int32 {
  if let native = Delegation.everything { return native.pointee.fi_param_get(provider, param_name, value) }
  guard let param_name, let value else {
    Log.warn(.core, "fi_param_get needs a name and a place for the value", source: .core)
    return FabricError.invalidArgument.result
  }
  do throws(FabricError) {
    let (kind, text) = try Parameters.value(provider: provider, name: param_name)
    switch kind {
    case .string:
      value.storeBytes(of: text, as: CString.self)
    case .integer:
      value.storeBytes(of: Int32(truncatingIfNeeded: Parameters.number(text)), as: Int32.self)
    case .size:
      value.storeBytes(of: Parameters.number(text), as: Int.self)
    case .boolean:
      guard let truth = Parameters.truth(text) else {
        warnNoTruth(param_name, text)
        throw .invalidArgument
      }
      value.storeBytes(of: truth ? 1 : 0, as: Int32.self)
    }
    return FI_SUCCESS
  } catch {
    return error.result
  }
}

/// fi_param_define, after C has formatted the help text.
///
/// Man page: fi_provider(3)
@c @implementation public func lfp_param_define(
  _ provider: UnsafePointer<fi_provider>!, _ name: UnsafePointer<CChar>!, _ type: fi_param_type,
  _ help: UnsafePointer<CChar>!
) -> Int32 {
  if let native = Delegation.everything { return lfp_native_param_define(native, provider, name, type, help) }
  do {
    try Parameters.define(provider: provider, name: name, kind: type.rawValue, help: help)
    return FI_SUCCESS
  } catch {
    Log.write(.warn, .core, source: .core) { text in
      text.append("cannot define the variable ")
      text.append(name)
    }
    return error.result
  }
}

private func warnNoTruth(_ name: CString, _ value: CString) {
  Log.write(.warn, .core, source: .core) { text in
    text.append("variable ")
    text.append(name)
    text.append(" is neither true nor false: ")
    text.append(value)
  }
}
