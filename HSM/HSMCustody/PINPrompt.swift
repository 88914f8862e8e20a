import Glibc
import SecretMemory
import Synchronization

/// Asks for a PIN at the terminal, without echo. The terminal is put right again whatever happens: a signal that would
/// end or stop the process is held until that is done, and then has its effect.
enum PINPrompt {
  private static let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGALRM, SIGPIPE]
  /// Where the handler writes a signal's number; -1 while nobody asks.
  private static let signalPipe = Atomic<Int32>(-1)
  private static let one = Mutex<Void>(())

  /// - Parameter terminal: The terminal's device.
  static func read(_ text: String, terminal: String = "/dev/tty") throws(SecretMemoryError) -> SecretBytes {
    try one.withLock { (_) throws(SecretMemoryError) -> SecretBytes in try ask(text, terminal) }
  }

  private static func ask(_ text: String, _ terminal: String) throws(SecretMemoryError) -> SecretBytes {
    let descriptor = unsafe open(terminal, O_RDWR | O_NOCTTY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw SecretMemoryError(
        .unreadable, "no terminal to ask for a PIN at (errno \(errno)): give a PIN file or a credential")
    }
    defer { close(descriptor) }
    while true {
      let caught = try withSignals { signals throws(SecretMemoryError) -> Answer in
        try withoutEcho(descriptor) { () throws(SecretMemoryError) -> Answer in
          try readLine(text, descriptor, signals)
        }
      }
      switch consume caught {
      case .pin(let secret): return secret
      case .signal(let number):
        // The handlers and the terminal are as they were: now it counts.
        kill(getpid(), number)
        guard number == SIGTSTP else {
          throw SecretMemoryError(.unreadable, "asking for a PIN was interrupted by signal \(number)")
        }
      }
    }
  }

  private enum Answer: ~Copyable {
    case pin(SecretBytes)
    case signal(Int32)
  }

  private static func withoutEcho<R: ~Copyable>(
    _ terminal: Int32, _ body: () throws(SecretMemoryError) -> R
  ) throws(SecretMemoryError) -> R {
    var before = termios()
    guard unsafe tcgetattr(terminal, &before) == 0 else {
      throw SecretMemoryError(.unreadable, "this is no terminal to ask for a PIN at (errno \(errno))")
    }
    var silent = before
    silent.c_lflag &= ~tcflag_t(ECHO | ECHONL)
    silent.c_lflag |= tcflag_t(ICANON | ISIG)
    guard unsafe tcsetattr(terminal, TCSAFLUSH, &silent) == 0 else {
      throw SecretMemoryError(.unreadable, "the terminal's echo cannot be turned off (errno \(errno))")
    }
    defer {
      // What was typed and not read is thrown away, or the shell would get it.
      unsafe tcsetattr(terminal, TCSAFLUSH, &before)
      write("\n", terminal)
    }
    return try body()
  }

  private static func readLine(
    _ text: String, _ terminal: Int32, _ signals: Int32
  ) throws(SecretMemoryError) -> Answer {
    write(text, terminal)
    // A line in canonical mode comes whole, with its newline.
    let room = PINSource.maximumBytes + 2
    var line = try SecretBytes(zeros: room)
    while true {
      var waits = [
        pollfd(fd: terminal, events: Int16(POLLIN), revents: 0), pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
      ]
      guard unsafe poll(&waits, 2, -1) > 0 else {
        guard errno == EINTR else { throw SecretMemoryError(.unreadable, "the terminal is gone (errno \(errno))") }
        continue
      }
      if waits[1].revents != 0 {
        var number: UInt8 = 0
        if unsafe Glibc.read(signals, &number, 1) == 1 { return .signal(Int32(number)) }
      }
      guard waits[0].revents != 0 else { continue }
      let count = unsafe line.withUnsafeMutableBytes { unsafe Glibc.read(terminal, $0.baseAddress, room) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw SecretMemoryError(.unreadable, "the terminal was closed (errno \(errno))") }
      let last = unsafe line.bytes.unsafeLoad(fromByteOffset: count - 1, as: UInt8.self)
      let length = last == UInt8(ascii: "\n") ? count - 1 : count
      guard (1...PINSource.maximumBytes).contains(length) else {
        throw SecretMemoryError(.badLength, "a PIN has 1 to \(PINSource.maximumBytes) bytes")
      }
      return .pin(try SecretBytes(copying: line.bytes.extracting(first: length)))
    }
  }

  private static func write(_ text: String, _ terminal: Int32) {
    let bytes = Array(text.utf8)
    _ = unsafe Glibc.write(terminal, bytes, bytes.count)
  }

  /// Runs `body` with the signals going into a pipe, whichever thread they reach.
  private static func withSignals<R: ~Copyable>(
    _ body: (Int32) throws(SecretMemoryError) -> R
  ) throws(SecretMemoryError) -> R {
    var ends: [Int32] = [0, 0]
    guard unsafe pipe(&ends) == 0 else {
      throw SecretMemoryError(.unreadable, "no pipe (errno \(errno)): raise RLIMIT_NOFILE")
    }
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    signalPipe.store(ends[1], ordering: .sequentiallyConsistent)
    var handler = sigaction()
    unsafe handler.__sigaction_handler.sa_handler = { number in
      // Nothing but what signal-safety(7) allows.
      let reason = errno
      var byte = UInt8(truncatingIfNeeded: number)
      _ = unsafe Glibc.write(PINPrompt.signalPipe.load(ordering: .sequentiallyConsistent), &byte, 1)
      errno = reason
    }
    var before: [(Int32, sigaction)] = []
    for number in signals {
      var old = sigaction()
      unsafe sigaction(number, nil, &old)
      // What is ignored stays ignored (nohup).
      if unsafe old.__sigaction_handler.sa_handler.map({ unsafe unsafeBitCast($0, to: Int.self) }) == 1 { continue }
      unsafe sigaction(number, &handler, nil)
      before.append((number, old))
    }
    defer {
      for (number, old) in before {
        var action = old
        unsafe sigaction(number, &action, nil)
      }
      signalPipe.store(-1, ordering: .sequentiallyConsistent)
      for end in ends { close(end) }
    }
    return try body(ends[0])
  }
}
