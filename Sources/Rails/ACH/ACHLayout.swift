// The records of the NACHA file format (Nacha Operating Rules, Appendix Three) as one table of fields. A field has a
// name only where we check, write or show it; the rest of a record is kept as it came.

/// A field of a record.
public struct ACHField: Sendable {
  /// What a field may hold.
  public enum Form: Sendable {
    /// Digits, right-justified with zeros.
    case digits
    /// Digits, or nothing but spaces.
    case digitsOrBlank
    /// Printable ASCII, left-justified with spaces.
    case text
  }

  /// The name, in snake case.
  public let name: StaticString
  /// How many characters of the record stand before it.
  public let offset: Int
  /// How many characters it has.
  public let width: Int
  /// What it may hold.
  public let form: Form
}

/// How the 94 characters of a record divide into fields.
public enum ACHLayout: Int, Sendable, CaseIterable {
  /// Record 1.
  case fileHeader
  /// Record 5 of domestic batches and of ADV.
  case batchHeader
  /// Record 5 of IAT batches, and of changes to them.
  case batchHeaderIAT
  /// Record 6 of domestic batches.
  case entry
  /// Record 6 of IAT batches.
  case entryIAT
  /// Record 6 of ADV batches.
  case entryADV
  /// Addenda of POS, SHR and MTE.
  case addenda02
  /// Payment related information.
  case addenda05
  /// IAT: the transaction and the receiver's name.
  case addenda10
  /// IAT: the originator's name and street.
  case addenda11
  /// IAT: the originator's town and country.
  case addenda12
  /// IAT: the originating bank.
  case addenda13
  /// IAT: the receiving bank.
  case addenda14
  /// IAT: the receiver's identification and street.
  case addenda15
  /// IAT: the receiver's town and country.
  case addenda16
  /// IAT: remittance.
  case addenda17
  /// IAT: a foreign correspondent bank.
  case addenda18
  /// A notification of change.
  case addenda98
  /// A refused notification of change.
  case addenda98Refused
  /// A return.
  case addenda99
  /// A dishonored return.
  case addenda99Dishonored
  /// A contested dishonored return.
  case addenda99Contested
  /// Record 8 of all batches but ADV.
  case batchControl
  /// Record 8 of ADV batches.
  case batchControlADV
  /// Record 9 of all files but ADV.
  case fileControl
  /// Record 9 of ADV files.
  case fileControlADV
  /// A line of nines that fills the last block.
  case padding

  /// The fields in order; they cover the record.
  public var fields: [ACHField] { Self.table[rawValue] }

  /// The field of that name; the layout must have one.
  subscript(_ name: StaticString) -> ACHField { fields.first { "\($0.name)" == "\(name)" }! }

  private static let table: [[ACHField]] = allCases.map { layout in
    var offset = 0
    return layout.columns.map { name, width, form in
      defer { offset += width }
      return ACHField(name: name, offset: offset, width: width, form: form)
    }
  }

  private typealias Column = (StaticString, Int, ACHField.Form)

  private static let kind: [Column] = [("record_type", 1, .digits)]
  private static let addenda: [Column] = kind + [("addenda_type", 2, .digits)]
  private static let detail: Column = ("entry_detail_sequence", 7, .digits)
  private static let trace: Column = ("trace_number", 15, .digits)
  private static let bank: [Column] = [
    ("bank_name", 35, .text), ("bank_qualifier", 2, .text), ("bank_id", 34, .text), ("bank_country", 3, .text),
  ]
  private static let receivingBank: [Column] = [
    ("transaction_code", 2, .digits), ("rdfi", 8, .digits), ("check_digit", 1, .digits),
  ]
  private static let batchEnd: [Column] = [
    ("effective_entry_date", 6, .text), ("settlement_date", 3, .digitsOrBlank), ("originator_status", 1, .text),
    ("odfi", 8, .digits), ("batch_number", 7, .digits),
  ]
  private static let returned: [Column] = [
    ("reason_code", 3, .text), ("original_trace_number", 15, .digits), ("date", 6, .digitsOrBlank),
    ("original_rdfi", 8, .digits),
  ]
  private static func totals(_ width: Int) -> [Column] {
    [("entry_hash", 10, .digits), ("debit_total", width, .digits), ("credit_total", width, .digits)]
  }

  private var columns: [Column] {
    switch self {
    case .fileHeader:
      Self.kind + [
        ("priority_code", 2, .digits), ("immediate_destination", 10, .text), ("immediate_origin", 10, .text),
        ("creation_date", 6, .digits), ("creation_time", 4, .digitsOrBlank), ("file_id_modifier", 1, .text),
        ("record_size", 3, .digits), ("blocking_factor", 2, .digits), ("format_code", 1, .digits),
        ("destination_name", 23, .text), ("origin_name", 23, .text), ("reference_code", 8, .text),
      ]
    case .batchHeader:
      Self.kind + [
        ("service_class", 3, .digits), ("company_name", 16, .text), ("company_data", 20, .text),
        ("company_identification", 10, .text), ("entry_class", 3, .text), ("entry_description", 10, .text),
        ("descriptive_date", 6, .text),
      ] + Self.batchEnd
    case .batchHeaderIAT:
      Self.kind + [
        ("service_class", 3, .digits), ("iat_indicator", 16, .text), ("exchange_indicator", 2, .text),
        ("exchange_reference_indicator", 1, .text), ("exchange_reference", 15, .text),
        ("destination_country", 2, .text), ("company_identification", 10, .text), ("entry_class", 3, .text),
        ("entry_description", 10, .text), ("originating_currency", 3, .text), ("destination_currency", 3, .text),
      ] + Self.batchEnd
    case .entry:
      Self.kind + Self.receivingBank + [
        ("account_number", 17, .text), ("amount", 10, .digits), ("identification", 15, .text), ("name", 22, .text),
        ("discretionary_data", 2, .text), ("addenda_indicator", 1, .digits), Self.trace,
      ]
    case .entryIAT:
      Self.kind + Self.receivingBank + [
        ("addenda_count", 4, .digits), ("reserved", 13, .text), ("amount", 10, .digits), ("account_number", 35, .text),
        ("reserved_2", 2, .text), ("ofac_indicator", 1, .text), ("secondary_ofac_indicator", 1, .text),
        ("addenda_indicator", 1, .digits), Self.trace,
      ]
    case .entryADV:
      Self.kind + Self.receivingBank + [
        ("account_number", 15, .text), ("amount", 12, .digits), ("advice_routing_number", 9, .digits),
        ("file_identification", 5, .text), ("operator_data", 1, .text), ("name", 22, .text),
        ("discretionary_data", 2, .text), ("addenda_indicator", 1, .digits), ("operator_routing_number", 8, .digits),
        ("julian_date", 3, .digits), ("sequence_number", 4, .digits),
      ]
    case .addenda02:
      Self.addenda + [
        ("reference_1", 7, .text), ("reference_2", 3, .text), ("terminal_id", 6, .text), ("terminal_serial", 6, .text),
        ("transaction_date", 4, .text), ("authorization_code", 6, .text), ("terminal_location", 27, .text),
        ("terminal_city", 15, .text), ("terminal_state", 2, .text), Self.trace,
      ]
    case .addenda05, .addenda17:
      Self.addenda + [("payment_information", 80, .text), ("addenda_sequence", 4, .digits), Self.detail]
    case .addenda10:
      Self.addenda + [
        ("transaction_type", 3, .text), ("foreign_amount", 18, .digitsOrBlank), ("foreign_trace_number", 22, .text),
        ("name", 35, .text), ("reserved", 6, .text), Self.detail,
      ]
    case .addenda11:
      Self.addenda + [("name", 35, .text), ("street", 35, .text), ("reserved", 14, .text), Self.detail]
    case .addenda12, .addenda16:
      Self.addenda + [("town", 35, .text), ("country", 35, .text), ("reserved", 14, .text), Self.detail]
    case .addenda13, .addenda14: Self.addenda + Self.bank + [("reserved", 10, .text), Self.detail]
    case .addenda15:
      Self.addenda + [("identification", 15, .text), ("street", 35, .text), ("reserved", 34, .text), Self.detail]
    case .addenda18:
      Self.addenda + Self.bank + [("reserved", 6, .text), ("addenda_sequence", 4, .digits), Self.detail]
    case .addenda98:
      Self.addenda + Self.returned + [("corrected_data", 29, .text), ("reserved", 15, .text), Self.trace]
    case .addenda98Refused:
      Self.addenda + Self.returned + [
        ("corrected_data", 29, .text), ("change_code", 3, .text), ("trace_sequence", 7, .digits),
        ("reserved", 5, .text),
        Self.trace,
      ]
    case .addenda99: Self.addenda + Self.returned + [("information", 44, .text), Self.trace]
    case .addenda99Dishonored:
      Self.addenda + Self.returned + [
        ("reserved", 3, .text), ("return_trace_number", 15, .digits), ("return_settlement_date", 3, .text),
        ("return_reason", 2, .text), ("information", 21, .text), Self.trace,
      ]
    case .addenda99Contested:
      Self.addenda + Self.returned + [
        ("original_settlement_date", 3, .text), ("return_trace_number", 15, .digits),
        ("return_settlement_date", 3, .text), ("return_reason", 2, .text), ("dishonored_trace_number", 15, .digits),
        ("dishonored_settlement_date", 3, .text), ("dishonored_reason", 2, .text), ("reserved", 1, .text), Self.trace,
      ]
    case .batchControl:
      Self.kind + [("service_class", 3, .digits), ("entry_addenda_count", 6, .digits)] + Self.totals(12) + [
        ("company_identification", 10, .text), ("message_authentication", 19, .text), ("reserved", 6, .text),
        ("odfi", 8, .digits), ("batch_number", 7, .digits),
      ]
    case .batchControlADV:
      Self.kind + [("service_class", 3, .digits), ("entry_addenda_count", 6, .digits)] + Self.totals(20) + [
        ("operator_data", 19, .text), ("odfi", 8, .digits), ("batch_number", 7, .digits),
      ]
    case .fileControl, .fileControlADV:
      Self.kind + [("batch_count", 6, .digits), ("block_count", 6, .digits), ("entry_addenda_count", 8, .digits)]
        + Self.totals(self == .fileControl ? 12 : 20) + [("reserved", self == .fileControl ? 39 : 23, .text)]
    case .padding: [("nines", 94, .digits)]
    }
  }
}

/// A record of a file, as it came.
public struct ACHRecord: Sendable, Hashable {
  /// The 94 characters.
  public let bytes: [UInt8]
  /// Its line, counted from 1.
  public let line: Int
  /// How it divides into fields.
  public let layout: ACHLayout

  /// A field's characters, spaces included.
  public subscript(_ field: ACHField) -> ArraySlice<UInt8> { bytes[field.offset..<field.offset + field.width] }

  /// The characters of the field of that name without the spaces behind them; nil where the layout has no such field.
  public func text(_ name: String) -> String? { layout.fields.first { "\($0.name)" == name }.map { text($0) } }

  /// A field's characters without the spaces behind them.
  public func text(_ field: ACHField) -> String {
    let bytes = self[field]
    guard let last = bytes.lastIndex(where: { $0 != 0x20 }) else { return "" }
    return String(decoding: bytes[...last], as: UTF8.self)
  }

  /// A numeric field's value; blanks count as zero, and what 64 bits do not hold as the greatest value.
  public func number(_ field: ACHField) -> UInt64 {
    var value: UInt64 = 0
    for index in field.offset..<field.offset + field.width {
      let (product, high) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(bytes[index] & 15))
      if high || carry { return .max }
      value = sum
    }
    return value
  }

  func isBlank(_ field: ACHField) -> Bool { self[field].allSatisfy { $0 == 0x20 } }
}

/// The fields that are read or checked by name. Where layouts share a field, it stands at the same place in them.
extension ACHField {
  static let serviceClass = ACHLayout.batchHeader["service_class"]
  static let iatIndicator = ACHLayout.batchHeaderIAT["iat_indicator"]
  static let companyName = ACHLayout.batchHeader["company_name"]
  static let companyData = ACHLayout.batchHeader["company_data"]
  static let companyIdentification = ACHLayout.batchHeader["company_identification"]
  static let entryClass = ACHLayout.batchHeader["entry_class"]
  static let entryDescription = ACHLayout.batchHeader["entry_description"]
  static let descriptiveDate = ACHLayout.batchHeader["descriptive_date"]
  static let effectiveEntryDate = ACHLayout.batchHeader["effective_entry_date"]
  static let settlementDate = ACHLayout.batchHeader["settlement_date"]
  static let originatorStatus = ACHLayout.batchHeader["originator_status"]
  /// In batch headers and controls.
  static let odfi = ACHLayout.batchHeader["odfi"]
  /// In batch headers and controls.
  static let batchNumber = ACHLayout.batchHeader["batch_number"]
  static let transactionCode = ACHLayout.entry["transaction_code"]
  static let rdfi = ACHLayout.entry["rdfi"]
  static let checkDigit = ACHLayout.entry["check_digit"]
  static let accountNumber = ACHLayout.entry["account_number"]
  /// In domestic and IAT entries.
  static let amount = ACHLayout.entry["amount"]
  static let amountADV = ACHLayout.entryADV["amount"]
  static let sequenceADV = ACHLayout.entryADV["sequence_number"]
  static let identification = ACHLayout.entry["identification"]
  static let name = ACHLayout.entry["name"]
  static let discretionaryData = ACHLayout.entry["discretionary_data"]
  /// In all entries.
  static let addendaIndicator = ACHLayout.entry["addenda_indicator"]
  /// In domestic and IAT entries, and in addenda 02, 98 and 99.
  static let traceNumber = ACHLayout.entry["trace_number"]
  static let paymentInformation = ACHLayout.addenda05["payment_information"]
  /// In addenda 05, 17 and 18.
  static let addendaSequence = ACHLayout.addenda05["addenda_sequence"]
  /// In addenda 05 and 10 to 18.
  static let entryDetailSequence = ACHLayout.addenda05["entry_detail_sequence"]
  static let transactionType = ACHLayout.addenda10["transaction_type"]
  static let reasonCode = ACHLayout.addenda99["reason_code"]
  static let originalTrace = ACHLayout.addenda99["original_trace_number"]
  static let returnDate = ACHLayout.addenda99["date"]
  static let originalRDFI = ACHLayout.addenda99["original_rdfi"]
  static let entryAddendaCount = ACHLayout.batchControl["entry_addenda_count"]
  static let entryHash = ACHLayout.batchControl["entry_hash"]
  static let controlCompany = ACHLayout.batchControl["company_identification"]
  static let fileEntryAddendaCount = ACHLayout.fileControl["entry_addenda_count"]
  static let fileEntryHash = ACHLayout.fileControl["entry_hash"]
  static let batchCount = ACHLayout.fileControl["batch_count"]
  static let blockCount = ACHLayout.fileControl["block_count"]
}
