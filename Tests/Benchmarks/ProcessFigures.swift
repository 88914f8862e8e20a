import Foundation

/// What Linux says about processes.
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

  /// User and system time of this process so far, or of the children that it has waited for.
  static func ownCPUSeconds(ofChildren: Bool = false) throws -> Double {
    var usage = rusage()
    guard unsafe getrusage(Int32(ofChildren ? RUSAGE_CHILDREN.rawValue : RUSAGE_SELF.rawValue), &usage) == 0 else {
      throw BenchmarkError("getrusage failed")
    }
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }
}
