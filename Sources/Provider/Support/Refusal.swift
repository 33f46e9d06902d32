extension FabricError {
  /// The error itself, after a warning why `call` is refused: for control calls, whose programs want to know what was
  /// wrong. Not for what is no mistake, such as FI_EAGAIN.
  @inline(never)
  package func because(
    _ subsystem: Log.Subsystem, _ reason: StaticString, in call: StaticString = #function, line: Int32 = #line
  ) -> FabricError {
    Log.warn(subsystem, reason, function: call, line: line)
    return self
  }
}
