import KeyService
import Testing

// What the store of keys promises; `storeContract` runs it.

private func bytes(_ byte: UInt8, _ count: Int = 32) -> [UInt8] { [UInt8](repeating: byte, count: count) }

func keyContract(_ unit: inout some KeyStore) throws {
  func key(_ id: String, tenant: String = "t", _ dataClass: String = "c", _ state: KeyRow.State = .pending) -> KeyRow {
    KeyRow(id: id, tenant: tenant, dataClass: dataClass, leafIndex: 3, state: state, version: 0, since: 0)
  }
  var one = key("b")
  try unit.insert(one)
  try unit.insert(key("a", tenant: "u"))
  try unit.insert(key("c", "d", .disabled))
  refuses { try unit.insert(key("b", tenant: "v")) }
  refuses { try unit.insert(key("x")) }
  refuses { try unit.update(key("nobody")) }
  for state in KeyRow.State.allCases {
    (one.state, one.version, one.since) = (state, .max, .max)
    try unit.update(one)
    let (found, live) = try (unit.key("b"), unit.liveKey(tenant: "t", dataClass: "c"))
    #expect(found == one && live == (state == .destroyed ? nil : one), "\(state)")
  }
  // Once it is destroyed, tenant and class are free for another one, and then it stays so.
  try unit.insert(key("x"))
  try unit.insert(key("y", "c", .destroyed))
  refuses { try unit.insert(key("z")) }
  one.state = .active
  refuses { try unit.update(one) }
  let (live, gone, absent, none) = try (
    unit.liveKey(tenant: "t", dataClass: "c"), unit.key("b")?.state, unit.key("nobody"),
    unit.liveKey(tenant: "u", dataClass: "d")
  )
  #expect(live == key("x") && gone == .destroyed && absent == nil && none == nil)
  let all = try unit.keys().map(\.id)
  #expect(all == ["a", "b", "c", "x", "y"])
}

func keyVersionContract(_ unit: inout some KeyStore) throws {
  func version(_ number: UInt32, of key: String = "k", _ byte: UInt8 = 1, leaf: UInt64 = 5) -> KeyVersionRow {
    KeyVersionRow(key: key, version: number, record: bytes(byte, 300), codes: bytes(2), leafIndex: leaf)
  }
  for row in [version(10), version(2), version(1, of: "other"), version(.max)] { try unit.put(row) }
  try unit.put(version(2, 9, leaf: 7))
  var all = try unit.keyVersions(of: "k")
  #expect(all == [version(2, 9, leaf: 7), version(10), version(.max)])
  let (found, absent, elsewhere) = try (unit.keyVersion("k", 2), unit.keyVersion("k", 1), unit.keyVersion("other", 1))
  #expect(found == version(2, 9, leaf: 7) && absent == nil && elsewhere == version(1, of: "other"))
  let empty = KeyVersionRow(key: "k", version: 2, record: [], codes: [], leafIndex: 7)
  try unit.put(empty)
  all = try unit.keyVersions(of: "k")
  #expect(all == [empty, version(10), version(.max)])
  all = try unit.keyVersions(of: "nothing")
  #expect(all == [])
}

func dataKeyContract(_ unit: inout some KeyStore) throws {
  func dataKey(_ id: String, of key: String = "k", _ version: UInt32, leaf: UInt64 = 5) -> DataKeyRow {
    DataKeyRow(id: id, key: key, version: version, record: bytes(1, 100), codes: bytes(2), leafIndex: leaf)
  }
  for row in [
    dataKey("d", 1), dataKey("b", 3), dataKey("c", 2), dataKey("a", 2), dataKey("e", of: "other", 1),
  ] { try unit.insert(row) }
  refuses { try unit.insert(dataKey("a", of: "other", 9)) }
  refuses { try unit.update(dataKey("nobody", 9)) }
  func below(_ version: UInt32, limit: Int = 10, _ unit: inout some KeyStore) throws -> [String] {
    try unit.dataKeys(of: "k", below: version, limit: limit).map(\.id)
  }
  var found = try [below(1, &unit), below(2, &unit), below(3, &unit), below(.max, &unit), below(4, limit: 2, &unit)]
  #expect(found == [[], ["d"], ["d", "a", "c"], ["d", "a", "c", "b"], ["d", "a"]])
  func counts(_ unit: inout some KeyStore) throws -> [Int] {
    try [1...1, 2...2, 1...2, 2...3, 3...UInt32.max, 4...4, 0...0].map { try unit.countDataKeys(of: "k", versions: $0) }
  }
  var counted = try counts(&unit)
  #expect(counted == [1, 2, 3, 3, 1, 0, 0])
  var changed = dataKey("c", 3, leaf: 9)
  (changed.record, changed.codes) = (bytes(7, 90), [])
  try unit.update(changed)
  let (one, absent) = try (unit.dataKey("c"), unit.dataKey("nobody"))
  #expect(one == changed && absent == nil)
  found = try [below(3, &unit), below(4, &unit)]
  counted = try counts(&unit)
  #expect(found == [["d", "a"], ["d", "a", "b", "c"]] && counted == [1, 1, 2, 3, 2, 0, 0])
  found = try [("", 10), ("", 2), ("b", 2), ("bb", 9), ("e", 9)].map { after, limit in
    try unit.dataKeys(after: after, limit: limit).map(\.id)
  }
  #expect(found == [["a", "b", "c", "d", "e"], ["a", "b"], ["c", "d"], ["c", "d", "e"], []])
}

func keyEventContract(_ unit: inout some KeyStore) throws {
  func event(_ sequence: UInt64, _ record: String, _ number: UInt32 = 1) -> KeyEventRow {
    KeyEventRow(
      sequence: sequence, record: record, number: number, state: "active", digest: bytes(UInt8(sequence & 255)),
      leafIndex: 40, chain: bytes(4))
  }
  let (nothing, noRecord) = try (unit.lastKeyEvent(), unit.lastKeyEvent(of: "key_a/1"))
  #expect(nothing == nil && noRecord == nil)
  refuses { try unit.append(event(2, "key_a/1")) }
  refuses { try unit.append(event(0, "key_a/1")) }
  let all = [event(1, "key_a/1"), event(2, "dek_b"), event(3, "key_a/1", .max), event(4, "key_a/10")]
  for one in all { try unit.append(one) }
  for sequence in [0, 1, 4, 6, UInt64.max] { refuses { try unit.append(event(sequence, "key_a/1")) } }
  let (last, first, other, absent) = try (
    unit.lastKeyEvent(), unit.lastKeyEvent(of: "key_a/1"), unit.lastKeyEvent(of: "dek_b"),
    unit.lastKeyEvent(of: "key_a")
  )
  #expect(last == all[3] && first == all[2] && other == all[1] && absent == nil)
  let pages = try [(0, 10), (0, 2), (2, 1), (3, 10), (4, 10), (UInt64.max, 10)].map { sequence, limit in
    try unit.keyEvents(after: sequence, limit: limit)
  }
  #expect(pages == [all, Array(all[0...1]), [all[2]], [all[3]], [], []])
}

func keyTaskContract(_ unit: inout some KeyStore) throws {
  func task(_ id: String, leaf: UInt64, _ kind: KeyTask.Kind = .rotate) -> KeyTask {
    KeyTask(id: id, key: "k", kind: kind, notBefore: 77, leafIndex: leaf)
  }
  for (number, kind) in KeyTask.Kind.allCases.enumerated() {
    try unit.insert(task("t\(number)", leaf: UInt64(90 - number), kind))
  }
  refuses { try unit.insert(task("t1", leaf: 9)) }
  refuses { try unit.update(task("nobody", leaf: 9)) }
  let kinds = try unit.pendingKeyTasks().map(\.kind)
  #expect(kinds == KeyTask.Kind.allCases.reversed())
  var ended = task("t1", leaf: 89)
  for (state, end) in [(.done, 100), (.cancelled, 101), (.pending, nil)] as [(KeyTask.State, UInt64?)] {
    (ended.state, ended.endIndex) = (state, end)
    try unit.update(ended)
    let (found, isPending) = try (unit.keyTask("t1"), unit.pendingKeyTasks().contains(ended))
    #expect(found == ended && isPending == (state == .pending))
  }
  let absent = try unit.keyTask("nobody")
  #expect(absent == nil)
}

func keyManifestContract(_ unit: inout some KeyStore) throws {
  func manifest(_ leaf: UInt64, _ byte: UInt8) -> KeyManifestRow { .init(leafIndex: leaf, document: bytes(byte)) }
  var inForce = try unit.keyManifest()
  #expect(inForce == nil)
  for (leaf, byte) in [(1, 7), (20, 8)] as [(UInt64, UInt8)] {
    try unit.insert(manifest(leaf, byte))
    inForce = try unit.keyManifest()
    #expect(inForce == manifest(leaf, byte))
  }
  refuses { try unit.insert(manifest(20, 9)) }
}
