import Foundation

/// What Linux says about another process.
enum ProcessFigures {
  /// Resident memory.
  static func residentMiB(_ pid: Int32) throws -> Double { try memoryMiB(pid, "VmRSS") }

  /// The most resident memory so far.
  static func peakMiB(_ pid: Int32) throws -> Double { try memoryMiB(pid, "VmHWM") }

  private static func memoryMiB(_ pid: Int32, _ name: String) throws -> Double {
    let text = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    let line = text.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    guard let kilobytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Double($0) }) else {
      throw BenchmarkError("/proc/\(pid)/status has no \(name)")
    }
    return kilobytes / 1024
  }

  /// User and system time so far.
  static func cpuSeconds(_ pid: Int32) throws -> Double {
    let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
    // The second field, the name in parentheses, may hold spaces; times are the 14th and 15th.
    let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
    guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else {
      throw BenchmarkError("/proc/\(pid)/stat cannot be read")
    }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }
}
