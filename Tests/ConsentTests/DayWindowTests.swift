import Consent
import Testing
import TestSupport
import Wire

@Suite struct DayWindowTests {
  typealias Day = (zone: String, date: String, start: Int64, end: Int64, minutes: Int64)

  /// Found by Python's zoneinfo, second by second, in the tz database 2025b.
  static let days: [Day] = [
    ("America/New_York", "2025-03-09", 1_741_496_400, 1_741_579_200, 1380),
    ("America/New_York", "2025-11-02", 1_762_056_000, 1_762_146_000, 1500),
    ("America/New_York", "2025-06-01", 1_748_750_400, 1_748_836_800, 1440),
    ("America/Sao_Paulo", "2018-11-04", 1_541_300_400, 1_541_383_200, 1380),
    ("America/Sao_Paulo", "2018-02-17", 1_518_832_800, 1_518_922_800, 1500),
    ("America/Sao_Paulo", "2018-02-18", 1_518_922_800, 1_519_009_200, 1440),
    ("America/Sao_Paulo", "2018-11-03", 1_541_214_000, 1_541_300_400, 1440),
    ("Asia/Beirut", "2025-03-30", 1_743_285_600, 1_743_368_400, 1380),
    ("Asia/Beirut", "2025-10-25", 1_761_339_600, 1_761_429_600, 1500),
    ("Asia/Beirut", "2025-10-26", 1_761_429_600, 1_761_516_000, 1440),
    ("Africa/Cairo", "2025-04-25", 1_745_532_000, 1_745_614_800, 1380),
    ("Africa/Cairo", "2025-10-30", 1_761_771_600, 1_761_861_600, 1500),
    ("Africa/Cairo", "2025-10-31", 1_761_861_600, 1_761_948_000, 1440),
    ("Australia/Lord_Howe", "2025-04-06", 1_743_858_000, 1_743_946_200, 1470),
    ("Australia/Lord_Howe", "2025-10-05", 1_759_584_600, 1_759_669_200, 1410),
    ("Pacific/Apia", "2011-12-29", 1_325_152_800, 1_325_239_200, 1440),
    ("Pacific/Apia", "2011-12-31", 1_325_239_200, 1_325_325_600, 1440),
    ("America/St_Johns", "2010-11-06", 1_289_010_600, 1_289_097_000, 1440),
    ("America/St_Johns", "2010-11-07", 1_289_097_000, 1_289_187_000, 1500),
    ("America/St_Johns", "2010-03-14", 1_268_537_400, 1_268_620_200, 1380),
    ("America/Havana", "2025-11-02", 1_762_056_000, 1_762_146_000, 1500),
    ("America/Havana", "2025-03-09", 1_741_496_400, 1_741_579_200, 1380),
    ("Asia/Kathmandu", "2025-01-01", 1_735_668_900, 1_735_755_300, 1440),
    ("UTC", "2025-01-01", 1_735_689_600, 1_735_776_000, 1440),
    ("Asia/Tehran", "2021-03-22", 1_616_358_600, 1_616_441_400, 1380),
    ("Asia/Tehran", "2021-09-21", 1_632_166_200, 1_632_256_200, 1500),
    ("America/Asuncion", "2024-03-23", 1_711_162_800, 1_711_252_800, 1500),
    ("Pacific/Kwajalein", "1993-08-20", 745_848_000, 745_934_400, 1440),
    ("Asia/Gaza", "2023-04-29", 1_682_719_200, 1_682_802_000, 1380),
    ("Africa/Casablanca", "2025-02-23", 1_740_265_200, 1_740_355_200, 1500),
    ("Europe/London", "1970-06-01", 13_042_800, 13_129_200, 1440),
    ("Pacific/Kiritimati", "1994-12-30", 788_781_600, 788_868_000, 1440),
  ]

  @Test func daysAreHalfOpenToTheMillisecond() throws {
    var tally = Tally("days of zones")
    for day in Self.days {
      let zone = try #require(Zone(day.zone))
      func window(_ milliseconds: Int64) -> DayWindow {
        .containing(Timestamp(milliseconds: milliseconds), zone: zone)
      }
      let (start, end) = (day.start * 1000, day.end * 1000)
      let found = window(start)
      tally.expect(
        found.start.milliseconds == start && found.end.milliseconds == end && end - start == day.minutes * 60_000,
        "\(day.zone) \(day.date): \(found)")
      let same = [start + 1, (start + end) / 2, end - 1000, end - 1].allSatisfy { window($0) == found }
      tally.expect(same, "\(day.zone) \(day.date): not one day")
      let neighbours = (window(start - 1), window(end))
      tally.expect(
        neighbours.0.end == found.start && neighbours.1.start == found.end, "\(day.zone) \(day.date): gap or overlap")
      let edges = [(start - 1, false), (start, true), (end - 1, true), (end, false)]
      let halfOpen = edges.allSatisfy { found.contains(Timestamp(milliseconds: $0.0)) == $0.1 }
      tally.expect(halfOpen, "\(day.zone) \(day.date): bounds")
    }
    tally.report()
    let lengths: Set<Int64> = [1380, 1410, 1440, 1470, 1500]
    #expect(lengths.isSubset(of: Self.days.map(\.minutes)))
  }

  @Test("Samoa's 2011-12-30 has no window: the days before and after it meet")
  func missingDay() throws {
    let zone = try #require(Zone("Pacific/Apia"))
    let last = DayWindow.containing(Timestamp(milliseconds: 1_325_239_199_999), zone: zone)
    let next = DayWindow.containing(Timestamp(milliseconds: 1_325_239_200_000), zone: zone)
    #expect(last.end == next.start && last != next)
  }

  @Test("where clocks go back over midnight, the day stays one: it begins at the first midnight")
  func midnightTwice() throws {
    // Newfoundland, 2010-11-07: at 00:01 back to 23:01 of the 6th.
    let zone = try #require(Zone("America/St_Johns"))
    let first = Int64(1_289_097_000)
    let day = DayWindow.containing(Timestamp(seconds: first), zone: zone)
    for second in [first, first + 59, first + 60, first + 3599, first + 3660] {
      #expect(DayWindow.containing(Timestamp(seconds: second), zone: zone) == day, "\(second - first)")
    }
  }

  @Test(
    "days follow one another without gap or overlap, and agree with the calendar's dates",
    arguments: [
      "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "America/New_York",
      "Asia/Gaza", "Africa/Casablanca", "America/Santiago", "Antarctica/Troll", "Asia/Pyongyang",
    ])
  func daysTile(name: String) throws {
    let zone = try #require(Zone(name))
    let model = LocalDates(name)
    var day = DayWindow.containing(Timestamp(seconds: 1_199_145_600), zone: zone)
    while day.start < Timestamp(seconds: 1_830_000_000) {
      let last = Timestamp(milliseconds: day.end.milliseconds - 1)
      let next = DayWindow.containing(day.end, zone: zone)
      #expect(next.start == day.end && DayWindow.containing(last, zone: zone) == day)
      #expect(model.date(of: day.start) == model.date(of: last), "\(day)")
      #expect(model.date(of: day.end) != model.date(of: last), "\(day)")
      day = next
    }
  }

  @Test func momentsWithoutRulesDoNotTrap() throws {
    for name in ["UTC", "America/Sao_Paulo", "Pacific/Apia"] {
      let zone = try #require(Zone(name))
      for milliseconds in [Int64.min, -62_135_596_800_001, -1, 0, 253_402_300_800_000, .max] {
        let moment = Timestamp(milliseconds: milliseconds)
        let day = DayWindow.containing(moment, zone: zone)
        #expect(day.start < day.end)
        if abs(moment.seconds) < 315_000_000_000 { #expect(day.contains(moment)) }
      }
    }
  }

  @Test func hoursAreHalfOpenToTheMillisecond() {
    let end: Int64 = 1_770_000_000_000
    let hour = HourWindow(endingAt: Timestamp(milliseconds: end))
    for (at, inside) in [(end - 3_600_000, false), (end - 3_599_999, true), (end, true), (end + 1, false)] {
      #expect(hour.contains(Timestamp(milliseconds: at)) == inside)
    }
    #expect(!HourWindow(endingAt: Timestamp(milliseconds: .min)).contains(Timestamp(milliseconds: .min)))
  }

  @Test func theCacheSaysTheSame() throws {
    let random = SeededRandom(0xDA)
    let zones = try ["UTC", "America/Sao_Paulo", "Pacific/Apia", "Asia/Beirut"].map { try #require(Zone($0)) }
    var cache = DayWindowCache()
    for _ in 0..<5000 {
      let zone = random.pick(zones)
      // Near the edges of a day as often as not.
      let day = Int64(random.below(200)) * 86_400_000 + 1_541_214_000_000
      let moment = Timestamp(milliseconds: day + Int64(random.below(7_200_000)) - 3_600_000)
      #expect(cache.containing(moment, zone: zone) == DayWindow.containing(moment, zone: zone))
    }
  }

  @Test func zonesAreNamesOfPlaces() {
    for name in ["UTC", "Etc/UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Calcutta", "America/Argentina/Ushuaia"] {
      #expect(Zone(name)?.name == name)
    }
    for name in [
      "", "EST", "GMT", "GMT+5", "Z", "utc", "Europe/Atlantis", "europe/berlin", "/", "Europe/", " Europe/Berlin",
      "Europe/Berlin\u{0}", "Europe/\u{212A}yiv", String(repeating: "a/", count: 33),
    ] { #expect(Zone(name) == nil, "\(name)") }
  }
}
