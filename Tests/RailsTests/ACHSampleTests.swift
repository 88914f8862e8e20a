import Foundation
import Rails
import TestSupport
import Testing

/// Other people's files: each is read and written back byte by byte, or refused with the code and at the line that
/// stand here.
@Suite("ACH samples", .enabled(if: Vectors.has("nacha")))
struct ACHSampleTests {
  static let refused: [String: String] = table(
    """
    # A line is cut off, too long or in several pieces, though a record has 94 characters.
    examples/testdata/cie-credit.ach record_length 6
    test/testdata/20110729A-invalid.ach record_length 1
    test/testdata/FISERV-ZEROFILE-PIMRET825324_032720_110221.ach record_length 1
    test/testdata/extended-ascii.ach record_length 15
    test/testdata/file_parsing_missing_file_control.txt record_length 1
    test/testdata/long-line.ach record_length 3
    test/testdata/nonascii-utf8.ach record_length 1
    test/testdata/nonascii.ach record_length 1
    test/testdata/ppd-debit-customTraceNumber.ach record_length 1
    test/testdata/ppd-debit-invalid-entryDetail-checkDigit.ach record_length 1
    test/testdata/ppd-debit.ach record_length 1
    test/testdata/return-PPD-custom-reason-code.ach record_length 1
    test/testdata/short-line.ach record_length 5
    test/testdata/shr-credit.ach record_length 1
    test/testdata/txp-credit.ach record_length 6
    # The last block is not filled.
    test/testdata/ppd-debit-fixedLength.ach padding 5
    test/testdata/rck.ach padding 5
    # Pieces of files.
    test/testdata/adv-invalidBatchEntries.ach record_order 3
    test/testdata/adv-noFileControl.ach record_order 6
    test/testdata/bh-ed-ad-bh-ed-ad-ed-ad.ach record_order 1
    test/testdata/crashers/0.ach record_order 1
    test/testdata/crashers/1.ach record_order 1
    test/testdata/crashers/2.ach record_order 1
    test/testdata/crashers/3.ach record_order 1
    test/testdata/crashers/4.ach record_order 1
    test/testdata/return-no-batch-controls.ach record_order 1
    test/testdata/return-no-batch-header.ach record_order 1
    test/testdata/return-no-file-header-control.ach record_order 1
    # What they say of themselves, or a rule of the Operating Rules that their makers do not check.
    test/testdata/crashers/5.ach character 1
    test/testdata/crashers/d8f3557bf70ce706c9efbfcfd8143f131a2eef20 entry_detail_sequence 4
    test/testdata/pos-invalidEntryDetail.ach character 3
    test/testdata/ppd-debit-fixedLengthInvalid.ach numeric_field 1
    test/testdata/invalid-two-micro-deposits.ach numeric_field 15
    test/testdata/txp-debit.ach numeric_field 4
    test/testdata/20110805A.ach batch_count 93
    test/testdata/adv-invalidFileControl.ach entry_addenda_count 6
    test/testdata/flattenADVBatchesMultipleBatchHeaders.ach credit_total 22
    test/testdata/iat-invalidAddenda98.ach reason_code 11
    test/testdata/iat-invalidAddenda99.ach reason_code 11
    test/testdata/pos-invalidReturnFile.ach reason_code 4
    test/testdata/web-invalidNOCFile.ach reason_code 4
    test/testdata/iat-invalidAddendaRecordIndicator.ach addenda_indicator 3
    test/testdata/iat-mixedDebitCredit.ach addenda_sequence 11
    test/testdata/moov-ids.ach trace_odfi 3
    cmd/writeACH/202001172118.ach amount 3
    # A debit in a class of credits, or a credit in one of debits.
    test/testdata/20180713-IAT.ach service_class 13
    test/testdata/20180716-IAT-A17-A18.ach service_class 20
    test/testdata/20180716-IAT-A17.ach service_class 15
    test/testdata/Iat-invalidAddenda13.ach service_class 3
    test/testdata/iat-invalidAddenda11.ach service_class 3
    test/testdata/iat-invalidAddenda12.ach service_class 3
    test/testdata/iat-invalidAddenda14.ach service_class 3
    test/testdata/iat-invalidAddenda15.ach service_class 3
    test/testdata/iat-invalidAddenda16.ach service_class 3
    test/testdata/iat-invalidAddenda17.ach service_class 3
    test/testdata/iat-invalidAddenda18.ach service_class 3
    # The destination 987654321 has a wrong check digit, or there is none.
    test/testdata/iat-batchHeaderErr.ach routing_number 1
    test/testdata/iat-invalidAddenda10.ach routing_number 1
    test/testdata/iat-invalidBatchControl.ach routing_number 1
    test/testdata/iat-invalidBatchHeader.ach routing_number 1
    test/testdata/iat-invalidEntryDetail.ach routing_number 1
    test/testdata/skip-validation.ach routing_number 1
    """)

  /// What stands behind a first fault once that is mended: short lines filled, the destination's check digit put right,
  /// and mixed batches called so. `-` is a file that is good then.
  static let mended: [String: String] = table(
    """
    examples/testdata/cie-credit.ach -
    test/testdata/20110729A-invalid.ach numeric_field 1
    test/testdata/20180713-IAT.ach -
    test/testdata/20180716-IAT-A17-A18.ach -
    test/testdata/20180716-IAT-A17.ach -
    test/testdata/FISERV-ZEROFILE-PIMRET825324_032720_110221.ach routing_number 1
    test/testdata/Iat-invalidAddenda13.ach character 7
    test/testdata/crashers/d8f3557bf70ce706c9efbfcfd8143f131a2eef20 entry_detail_sequence 4
    test/testdata/file_parsing_missing_file_control.txt service_class 2
    test/testdata/iat-batchHeaderErr.ach record_order 4
    test/testdata/iat-invalidAddenda10.ach transaction_type 4
    test/testdata/iat-invalidAddenda11.ach character 5
    test/testdata/iat-invalidAddenda12.ach character 6
    test/testdata/iat-invalidAddenda14.ach character 8
    test/testdata/iat-invalidAddenda15.ach character 9
    test/testdata/iat-invalidAddenda16.ach character 10
    test/testdata/iat-invalidAddenda17.ach character 11
    test/testdata/iat-invalidAddenda18.ach character 12
    test/testdata/iat-invalidBatchControl.ach batch_control 11
    test/testdata/iat-invalidBatchHeader.ach service_class 2
    test/testdata/iat-invalidEntryDetail.ach transaction_code 3
    test/testdata/nonascii-utf8.ach record_length 3
    test/testdata/nonascii.ach record_length 3
    test/testdata/ppd-debit-customTraceNumber.ach trace_odfi 3
    test/testdata/ppd-debit-invalid-entryDetail-checkDigit.ach check_digit 3
    test/testdata/ppd-debit.ach -
    test/testdata/return-PPD-custom-reason-code.ach reason_code 4
    test/testdata/short-line.ach -
    test/testdata/shr-credit.ach batch_count 32
    test/testdata/txp-credit.ach -
    """)

  static func table(_ text: String) -> [String: String] {
    var table: [String: String] = [:]
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      let cells = line.split(separator: " ", maxSplits: 1).map(String.init)
      table[cells[0]] = cells[1]
    }
    return table
  }

  static func outcome(_ bytes: [UInt8]) -> String {
    do {
      return try ACHFile(parsing: bytes).bytes == bytes ? "-" : "written back otherwise"
    } catch {
      return error.code.description.dropFirst("ach_".count) + " \(error.line ?? 0)"
    }
  }

  static func samples(_ tally: inout Tally, _ body: (String, [UInt8], inout Tally) -> Void) throws {
    for folder in ["cmd", "examples", "test"] {
      let root = Vectors.root.appendingPathComponent("nacha/\(folder)")
      let paths = FileManager.default.enumerator(atPath: root.path)?.compactMap { $0 as? String } ?? []
      for path in paths.sorted() {
        guard let data = try? Data(contentsOf: root.appendingPathComponent(path)) else { continue }
        guard !path.hasSuffix(".json") else {
          tally.leaveOut("JSON of the library's own")
          continue
        }
        body("\(folder)/\(path)", Array(data), &tally)
      }
    }
  }

  @Test("every sample is written back byte by byte or refused where it is wrong")
  func samples() throws {
    var tally = Tally("nacha samples")
    var seen: Set<String> = []
    try Self.samples(&tally) { path, bytes, tally in
      seen.insert(path)
      let outcome = Self.outcome(bytes)
      tally.expect(outcome == Self.refused[path] ?? "-", "\(path): \(outcome)")
    }
    #expect(Set(Self.refused.keys).isSubset(of: seen), "gone: \(Set(Self.refused.keys).subtracting(seen))")
    tally.report()
  }

  @Test("behind the first fault stands what the sample was made for")
  func mended() throws {
    var tally = Tally("nacha samples, mended")
    try Self.samples(&tally) { path, bytes, tally in
      guard Self.refused[path] != nil else { return }
      var lines = Lines(bytes.filter { $0 != 0x0D })
      var changed = false
      for line in lines.lines.indices.map({ $0 + 1 }) {
        let missing = 94 - lines[line].utf8.count
        if missing > 0, line > 1 || lines[line].hasPrefix("1") {
          let nines = lines[line].utf8.allSatisfy { $0 == UInt8(ascii: "9") }
          lines[line] += String(repeating: nines ? "9" : " ", count: missing)
          changed = true
        }
        let mixed = Self.refused[path]?.hasPrefix("service_class") == true || path.contains("iat-invalidAddenda1")
        if mixed, lines[line].hasPrefix("52") || lines[line].hasPrefix("82") {
          lines.set(line, 3, "00")
          changed = true
        }
        if lines[line].hasPrefix("101 987654321") {
          lines.set(line, 13, "0")
          changed = true
        }
      }
      guard changed else { return }
      let outcome = Self.outcome(lines.bytes())
      tally.expect(outcome == Self.mended[path], "\(path) \(outcome)")
    }
    tally.report()
  }
}
