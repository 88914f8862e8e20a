import TestSupport
import Testing
import Wire
import WorkloadIdentity

@testable import WorkloadService

@Suite("The schedule of federation")
struct FederationScheduleTests {
  static func terms(_ name: String, _ url: String? = nil) throws -> FederationTerms {
    let object: JSONObject = [
      "trust_domain": .string(name), "bundle_endpoint_url": .string(url ?? "https://\(name)/b"),
      "bundle_endpoint_profile": "https_web",
    ]
    var reader = ObjectReader(object, "the terms")
    return try FederationTerms(reading: &reader)
  }

  @Test(
    "waits after a success: the hint within its bounds",
    arguments: [
      (nil, 300), (0, 60), (59, 60), (60, 60), (61, 61), (300, 300), (86_400, 86_400), (86_401, 86_400),
      (.max, 86_400),
    ] as [(Int64?, Int64)])
  func interval(_ hint: Int64?, _ wait: Int64) { #expect(RefreshSchedule.interval(hint) == wait) }

  @Test("waits after failures: doubled from a minute up to the interval")
  func retry() {
    let table: [(interval: Int64, waits: [Int64])] = [
      (60, [60, 60, 60]), (300, [60, 120, 240, 300, 300]),
      (86_400, [60, 120, 240, 480, 960, 1920, 3840, 7680, 15_360, 30_720, 61_440, 86_400, 86_400]),
    ]
    for row in table {
      for (index, wait) in row.waits.enumerated() {
        #expect(RefreshSchedule.retry(after: index + 1, interval: row.interval) == wait)
      }
      #expect(RefreshSchedule.retry(after: .max, interval: row.interval) == row.interval)
    }
  }

  @Test(
    "waits are drawn out by a tenth at most, never beyond the cap",
    arguments: [
      (60, 0, 60), (60, 255, 66), (300, 0, 300), (300, 128, 315), (300, 255, 330), (86_400, 255, 86_400),
      (80_000, 255, 86_400),
    ] as [(Int64, UInt8, Int64)])
  func drawnOut(_ wait: Int64, _ fraction: UInt8, _ result: Int64) {
    #expect(RefreshSchedule.drawnOut(wait, by: fraction) == result)
  }

  /// What happens to one federation, second by second.
  private enum Step {
    case starts, waits
    case succeeds(hint: Int64?)
    case fails
  }

  @Test("one federation's course")
  func course() throws {
    let terms = try Self.terms("a.test")
    let table: [(at: Int64, step: Step)] = [
      (0, .starts), (1, .waits), (100, .waits), (0, .succeeds(hint: 100)), (99, .waits), (100, .starts),
      (100, .fails), (159, .waits), (160, .starts), (160, .fails), (259, .waits), (260, .starts),
      // The hint is the most that a retry waits.
      (260, .fails), (359, .waits), (360, .starts), (360, .succeeds(hint: nil)), (659, .waits), (660, .starts),
      (660, .fails), (719, .waits), (720, .starts), (720, .succeeds(hint: 7)), (779, .waits),
      // The clock is set back, and nothing waits for it to come round again.
      (-5000, .starts), (-5000, .succeeds(hint: 60)), (-4941, .waits), (-4940, .starts),
    ]
    let zero = FederationAuthority.now
    var schedule = RefreshSchedule()
    for (at, step) in table {
      let now = zero.adding(seconds: at)
      switch step {
      case .starts: #expect(schedule.start([(terms, 1, nil)], limit: 1, at: now) == [terms], "at \(at)")
      case .waits: #expect(schedule.start([(terms, 1, nil)], limit: 1, at: now) == [], "at \(at)")
      case .succeeds(let hint): schedule.finish(terms, .success((hint, 1)), at: now, fraction: 0)
      case .fails:
        schedule.finish(terms, .failure(FederationFailure(FederationError(.tls, "x"))), at: now, fraction: 0)
      }
    }
  }

  @Test("the hint of the bundle at hand bounds retries before the first success")
  func hintAtHand() throws {
    let terms = try Self.terms("a.test")
    var schedule = RefreshSchedule()
    var now = FederationAuthority.now
    for wait in [60, 120, 200, 200] as [Int64] {
      #expect(schedule.start([(terms, 1, 200)], limit: 1, at: now) == [terms])
      schedule.finish(terms, .failure(FederationFailure(FederationError(.tls, "x"))), at: now, fraction: 0)
      now = now.adding(seconds: wait)
      #expect(schedule.start([(terms, 1, 200)], limit: 1, at: now.adding(seconds: -1)) == [])
    }
  }

  @Test("at most so many at once, the longest overdue first, none of one trust domain twice")
  func limit() throws {
    let all = try ["a", "b", "c", "d", "e"].map { (try Self.terms($0), 1 as UInt64, nil as Int64?) }
    let names = { (terms: [FederationTerms]) in terms.map(\.trustDomain.name) }
    let now = FederationAuthority.now
    var schedule = RefreshSchedule()
    #expect(names(schedule.start(all, limit: 2, at: now)) == ["a", "b"])
    #expect(schedule.start(all, limit: 2, at: now) == [])
    schedule.finish(all[0].0, .success((60, 1)), at: now, fraction: 0)
    #expect(names(schedule.start(all, limit: 2, at: now.adding(seconds: 100))) == ["c"])
    schedule.finish(all[1].0, .success((60, 1)), at: now, fraction: 0)
    schedule.finish(all[2].0, .success((60, 1)), at: now, fraction: 0)
    #expect(names(schedule.start(all, limit: 3, at: now.adding(seconds: 100))) == ["d", "e", "a"])
    #expect(schedule.start(all, limit: 0, at: now.adding(seconds: 100)) == [])
  }

  @Test("new terms start at once, but not beside a fetch of the old ones, whose outcome they do not take")
  func changed() throws {
    let (old, new) = (try Self.terms("a.test"), try Self.terms("a.test", "https://elsewhere.test/b"))
    let now = FederationAuthority.now
    var schedule = RefreshSchedule()
    #expect(schedule.start([(old, 1, nil)], limit: 9, at: now) == [old])
    #expect(schedule.start([(new, 2, nil)], limit: 9, at: now) == [])
    schedule.finish(old, .success((300, 1)), at: now, fraction: 0)
    #expect(schedule.items[new.trustDomain]?.lastSuccess == nil)
    #expect(schedule.start([(new, 2, nil)], limit: 9, at: now) == [new])
    // It ends, and begins anew, while the fetch is under way.
    #expect(schedule.start([], limit: 9, at: now) == [])
    #expect(schedule.items.isEmpty)
    #expect(schedule.start([(old, 1, nil)], limit: 9, at: now) == [])
    schedule.finish(new, .success((300, 2)), at: now, fraction: 0)
    #expect(schedule.start([(old, 1, nil)], limit: 9, at: now) == [old])
  }

  @Test("the same terms set again start at once, after a failure as after a success; a new bundle's leaf is no news")
  func setAgain() throws {
    let terms = try Self.terms("a.test")
    let now = FederationAuthority.now
    var schedule = RefreshSchedule()
    #expect(schedule.start([(terms, 1, nil)], limit: 9, at: now) == [terms])
    schedule.finish(terms, .failure(FederationFailure(FederationError(.tls, "x"))), at: now, fraction: 0)
    #expect(schedule.start([(terms, 1, nil)], limit: 9, at: now) == [])
    #expect(schedule.start([(terms, 2, nil)], limit: 9, at: now) == [terms])
    // The leaf of the bundle that it brings is seen before it ends.
    #expect(schedule.start([(terms, 3, nil)], limit: 9, at: now) == [])
    schedule.finish(terms, .success((300, 3)), at: now, fraction: 0)
    #expect(schedule.items[terms.trustDomain]?.lastSuccess == now)
    #expect(schedule.start([(terms, 3, nil)], limit: 9, at: now) == [])
    #expect(schedule.start([(terms, 4, nil)], limit: 9, at: now) == [terms])
  }
}
