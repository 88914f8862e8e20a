/// A line that is drawn again and again on a terminal; elsewhere each text gets a line of its own.
public final class StatusLine {
  private let target: Descriptor
  /// Whether there is a terminal.
  public let isTerminal: Bool
  private var width = 0

  /// Draws on a descriptor.
  public init(_ target: Descriptor) {
    self.target = target
    isTerminal = target.isTerminal
  }

  /// Draws the text over the one before. That it cannot be shown stops nobody's work.
  public func show(_ text: String) {
    let rest = String(repeating: " ", count: max(0, width - text.count))
    try? target.write(isTerminal ? "\r" + text + rest : text + "\n")
    width = text.count
  }

  /// Leaves the line as it is.
  public func finish() {
    if isTerminal, width > 0 { try? target.write("\n") }
    width = 0
  }
}
