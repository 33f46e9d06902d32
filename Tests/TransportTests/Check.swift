import Testing

/// `#expect` for conditions that change what they look at.
func check(_ condition: Bool, _ comment: @autoclosure () -> String = "", at location: SourceLocation = #_sourceLocation)
{
  if !condition { Issue.record(Comment(rawValue: comment()), sourceLocation: location) }
}
