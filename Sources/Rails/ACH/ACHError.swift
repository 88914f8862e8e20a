public import Wire

/// Why an ACH file, or a part of one, is refused. Equality is by code.
public struct ACHError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
  }

  /// The reason.
  public let code: Code
  /// What is wrong and what to do about it; never an account number.
  public let message: String
  /// The line of the file, counted from 1; nil where there is no file yet.
  public let line: Int?

  /// Makes an error.
  public init(_ code: Code, _ message: String, line: Int? = nil) {
    self.code = code
    self.message = message
    self.line = line
  }

  /// The code, the line and the message.
  public var description: String { "\(code): " + (line.map { "line \($0): " } ?? "") + message }

  /// The refusal as an HTTP answer, status 422.
  public var problem: Problem { Problem(422, code.description, (line.map { "Line \($0): " } ?? "") + message) }

  /// Errors are equal when their codes are.
  public static func == (a: ACHError, b: ACHError) -> Bool { a.code == b.code }
}

/// What is wrong with a text or a number before it enters a file.
extension ACHError.Code {
  /// A text is empty, too long, or has characters that ACH files do not carry.
  public static let text = Self("ach_text")
  /// A routing number has not 9 digits, or its check digit is wrong.
  public static let routingNumber = Self("ach_routing_number")
  /// An account number is empty, too long, or has other characters than letters, digits and hyphens.
  public static let accountNumber = Self("ach_account_number")
  /// An account is neither `checking` nor `savings`.
  public static let accountType = Self("ach_account_type")
  /// The standard entry class is unknown, or not one that may be used here.
  public static let entryClass = Self("ach_entry_class")
  /// An amount is zero where it must not be, not zero where it must be, or too large.
  public static let amount = Self("ach_amount")
  /// A leaf index is too large for the 13 digits of an individual identification number.
  public static let leafIndex = Self("ach_leaf_index")
  /// Credits are not in the order of their leaves.
  public static let leafOrder = Self("ach_leaf_order")
  /// The seven digits of the trace number's sequence wrap; the file must be cut there.
  public static let traceWrap = Self("ach_trace_wrap")
  /// A count or total does not fit its field; the file must be cut.
  public static let tooLarge = Self("ach_too_large")
  /// Nothing is left to write.
  public static let empty = Self("ach_empty")
}

/// What is wrong with the form of a file.
extension ACHError.Code {
  /// A record has not 94 characters.
  public static let recordLength = Self("ach_record_length")
  /// A character is not printable ASCII.
  public static let character = Self("ach_character")
  /// Lines end in different ways.
  public static let lineEnding = Self("ach_line_ending")
  /// A record stands where its type may not stand, or one is missing.
  public static let recordOrder = Self("ach_record_order")
  /// A numeric field has other characters than digits.
  public static let numeric = Self("ach_numeric_field")
  /// The number of lines is not a multiple of ten, or padding is more than needed.
  public static let padding = Self("ach_padding")
  /// A constant of the file header is not what it must be.
  public static let fileHeader = Self("ach_file_header")
  /// The file's creation date or time is no date or time.
  public static let fileCreation = Self("ach_file_creation")
  /// The file ID modifier is none of A to Z and 0 to 9.
  public static let fileIDModifier = Self("ach_file_id_modifier")
}

/// What is wrong with a batch, an entry or an addenda record.
extension ACHError.Code {
  /// The service class is unknown or does not match the entries.
  public static let serviceClass = Self("ach_service_class")
  /// The batch control repeats a field of the batch header with another value.
  public static let batchControl = Self("ach_batch_control")
  /// Batch numbers do not ascend.
  public static let batchNumber = Self("ach_batch_number")
  /// The originator status code is not allowed here.
  public static let originatorStatus = Self("ach_originator_status")
  /// The settlement date, which the operator fills in, is not blank in a file that we originate.
  public static let settlementDate = Self("ach_settlement_date")
  /// The effective entry date is no banking day, or lies before the file's date.
  public static let effectiveDate = Self("ach_effective_date")
  /// The transaction code is unknown, or not one of the entry class.
  public static let transactionCode = Self("ach_transaction_code")
  /// The check digit of the receiving bank's routing number is wrong.
  public static let checkDigit = Self("ach_check_digit")
  /// Trace numbers do not ascend within the batch.
  public static let traceNumber = Self("ach_trace_number")
  /// A trace number does not begin with the originating bank's identification.
  public static let traceODFI = Self("ach_trace_odfi")
  /// The addenda record indicator does not tell whether addenda follow.
  public static let addendaIndicator = Self("ach_addenda_indicator")
  /// An addenda type may not stand in this class, or here.
  public static let addendaType = Self("ach_addenda_type")
  /// The transaction type code of an IAT entry is unknown.
  public static let transactionType = Self("ach_transaction_type")
  /// An entry has too many or too few addenda records.
  public static let addendaCount = Self("ach_addenda_count")
  /// Addenda sequence numbers do not count up from 1.
  public static let addendaSequence = Self("ach_addenda_sequence")
  /// An addenda record names another entry than the one it follows.
  public static let entryDetailSequence = Self("ach_entry_detail_sequence")
  /// A return, change or refusal code is unknown.
  public static let reasonCode = Self("ach_reason_code")
  /// Returns or changes stand in one file with forward entries.
  public static let returnsMixed = Self("ach_returns_mixed")
  /// ADV batches stand in one file with others.
  public static let advMixed = Self("ach_adv_mixed")
  /// An IAT batch is marked for Same Day ACH.
  public static let sameDayIAT = Self("ach_same_day_iat")
  /// A Same Day entry exceeds the limit of its day.
  public static let sameDayAmount = Self("ach_same_day_amount")
  /// The count of entries and addenda is wrong.
  public static let entryAddendaCount = Self("ach_entry_addenda_count")
  /// The entry hash is wrong.
  public static let entryHash = Self("ach_entry_hash")
  /// The total of debits is wrong.
  public static let debitTotal = Self("ach_debit_total")
  /// The total of credits is wrong.
  public static let creditTotal = Self("ach_credit_total")
  /// The number of batches is wrong.
  public static let batchCount = Self("ach_batch_count")
  /// The number of blocks, padding included, is wrong.
  public static let blockCount = Self("ach_block_count")
}
