import GRDB

/// The tables. Every name is a noun of its domain; a `blob` is opaque to SQL. What never changes about a record and no
/// query asks for is one JCS document; a payment counts against its consent as long as it is in the partial indexes,
/// whose condition is that of `Payment.State.counts`.
enum Schema {
  /// Written to `PRAGMA user_version`; a database of another version is refused.
  static let version = 5

  static let sql = """
    CREATE TABLE log_entry (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL) STRICT;
    CREATE TABLE log_tile (position INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT;
    CREATE TABLE log_head (id INTEGER PRIMARY KEY CHECK (id = 0), size INTEGER NOT NULL, root BLOB NOT NULL) STRICT;
    CREATE TABLE log_checkpoint (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
    CREATE TABLE content (idx INTEGER PRIMARY KEY, salt BLOB NOT NULL, content BLOB NOT NULL) STRICT;
    CREATE TABLE command (
      leaf_index INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, idempotency BLOB NOT NULL UNIQUE, digest BLOB NOT NULL,
      principal TEXT NOT NULL, state TEXT NOT NULL, outcome_index INTEGER UNIQUE, checkpoint_size INTEGER,
      result BLOB NOT NULL) STRICT;
    CREATE INDEX command_unfinished ON command (leaf_index)
      WHERE state = 'authorized' OR (state = 'held' AND checkpoint_size IS NULL);
    CREATE TABLE principal (
      id TEXT PRIMARY KEY, kind TEXT NOT NULL, tenant TEXT NOT NULL, owner TEXT NOT NULL,
      thumbprint TEXT NOT NULL UNIQUE, key BLOB NOT NULL, status TEXT NOT NULL, enrolment_index INTEGER NOT NULL,
      since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE invitation (digest BLOB PRIMARY KEY, owner TEXT NOT NULL, tenant TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE account (
      id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, currency TEXT NOT NULL, kind TEXT NOT NULL,
      overdraft_limit INTEGER NOT NULL, debits_posted INTEGER NOT NULL, credits_posted INTEGER NOT NULL,
      debits_pending INTEGER NOT NULL, credits_pending INTEGER NOT NULL, under_consent INTEGER NOT NULL)
      STRICT, WITHOUT ROWID;
    CREATE INDEX account_owner ON account (owner);
    CREATE TABLE hold (
      id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, entries BLOB NOT NULL,
      expires_at INTEGER NOT NULL, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX hold_due ON hold (expires_at) WHERE state = 'held';
    CREATE TABLE posting (
      leaf_index INTEGER NOT NULL, position INTEGER NOT NULL, account TEXT NOT NULL, side TEXT NOT NULL,
      amount INTEGER NOT NULL, currency TEXT NOT NULL, PRIMARY KEY (leaf_index, position)) STRICT, WITHOUT ROWID;

    CREATE TABLE credential (
      id BLOB PRIMARY KEY, person TEXT NOT NULL, purpose TEXT NOT NULL, public_key BLOB NOT NULL UNIQUE,
      sign_count INTEGER NOT NULL, aaguid BLOB NOT NULL, backup_eligible INTEGER NOT NULL,
      backup_state INTEGER NOT NULL, enrolment_index INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX credential_person ON credential (person);
    CREATE TABLE approver_group (
      id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, members BLOB NOT NULL)
      STRICT, WITHOUT ROWID;
    CREATE TABLE person_invitation (
      id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, person TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
      tenant TEXT NOT NULL, approver_group TEXT, expires_at INTEGER NOT NULL, leaf_index INTEGER NOT NULL,
      used_index INTEGER) STRICT, WITHOUT ROWID;
    CREATE INDEX person_invitation_person ON person_invitation (person, leaf_index);
    CREATE TABLE policy (
      tenant TEXT NOT NULL, version INTEGER NOT NULL, leaf_index INTEGER NOT NULL, document BLOB NOT NULL,
      PRIMARY KEY (tenant, version)) STRICT;

    CREATE TABLE consent (
      id TEXT PRIMARY KEY, owner TEXT NOT NULL, version INTEGER NOT NULL, status TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX consent_owner ON consent (owner);
    CREATE TABLE consent_version (
      consent TEXT NOT NULL, version INTEGER NOT NULL, leaf_index INTEGER NOT NULL, terms BLOB NOT NULL,
      PRIMARY KEY (consent, version)) STRICT;

    CREATE TABLE payment (
      leaf_index INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, consent TEXT NOT NULL,
      counterparty TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, decided_at INTEGER NOT NULL,
      expires_at INTEGER, document BLOB NOT NULL, state TEXT NOT NULL, ended_by TEXT, posted_index INTEGER,
      return_code TEXT) STRICT;
    CREATE INDEX payment_decided ON payment (consent, decided_at, amount, state)
      WHERE state NOT IN ('declined', 'voided', 'expired', 'failed');
    CREATE INDEX payment_counterparty ON payment (consent, counterparty, state)
      WHERE state NOT IN ('declined', 'voided', 'expired', 'failed');
    CREATE INDEX payment_due ON payment (expires_at) WHERE state = 'held';
    CREATE INDEX payment_held ON payment (tenant, expires_at) WHERE state = 'held';
    CREATE TABLE approval (
      payment TEXT NOT NULL, person TEXT NOT NULL, credential BLOB NOT NULL, approves INTEGER NOT NULL,
      command TEXT NOT NULL, leaf_index INTEGER NOT NULL, sealed INTEGER NOT NULL, PRIMARY KEY (payment, person))
      STRICT, WITHOUT ROWID;
    CREATE TABLE budget (
      consent TEXT NOT NULL, ends_at INTEGER NOT NULL, starts_at INTEGER NOT NULL, spent INTEGER NOT NULL,
      PRIMARY KEY (consent, ends_at, starts_at)) STRICT, WITHOUT ROWID;

    CREATE TABLE rail (
      leaf_index INTEGER PRIMARY KEY, tenant TEXT NOT NULL, originator BLOB NOT NULL,
      settlement_account TEXT NOT NULL, bank TEXT NOT NULL) STRICT;
    CREATE INDEX rail_tenant ON rail (tenant);
    CREATE TABLE rail_entry (
      leaf_index INTEGER PRIMARY KEY, payment TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, trace INTEGER NOT NULL,
      rail_index INTEGER NOT NULL, file INTEGER) STRICT;
    CREATE INDEX rail_entry_trace ON rail_entry (tenant, trace);
    CREATE INDEX rail_entry_file ON rail_entry (tenant, file);
    CREATE INDEX rail_entry_waiting ON rail_entry (tenant) WHERE file IS NULL;
    CREATE TABLE rail_file (
      tenant TEXT NOT NULL, number INTEGER NOT NULL, created INTEGER NOT NULL, modifier TEXT NOT NULL,
      leaf_index INTEGER NOT NULL, rail_index INTEGER NOT NULL, entries INTEGER NOT NULL, digest BLOB NOT NULL,
      PRIMARY KEY (tenant, number)) STRICT, WITHOUT ROWID;

    CREATE TABLE kek (
      id TEXT PRIMARY KEY, tenant TEXT NOT NULL, data_class TEXT NOT NULL, leaf_index INTEGER NOT NULL,
      state TEXT NOT NULL, version INTEGER NOT NULL, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX kek_live ON kek (tenant, data_class) WHERE state <> 'destroyed';
    CREATE TABLE kek_version (
      kek TEXT NOT NULL, version INTEGER NOT NULL, record BLOB NOT NULL, codes BLOB NOT NULL,
      leaf_index INTEGER NOT NULL, PRIMARY KEY (kek, version)) STRICT;
    CREATE TABLE data_key (
      id TEXT PRIMARY KEY, kek TEXT NOT NULL, version INTEGER NOT NULL, record BLOB NOT NULL, codes BLOB NOT NULL,
      leaf_index INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX data_key_version ON data_key (kek, version);
    CREATE TABLE key_event (
      sequence INTEGER PRIMARY KEY, record TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
      digest BLOB NOT NULL, leaf_index INTEGER NOT NULL, chain BLOB NOT NULL) STRICT;
    CREATE INDEX key_event_record ON key_event (record);
    CREATE TABLE key_task (
      id TEXT PRIMARY KEY, kek TEXT NOT NULL, kind TEXT NOT NULL, not_before INTEGER NOT NULL,
      leaf_index INTEGER NOT NULL, state TEXT NOT NULL, end_index INTEGER) STRICT, WITHOUT ROWID;
    CREATE INDEX key_task_pending ON key_task (leaf_index) WHERE state = 'pending';
    CREATE TABLE key_manifest (leaf_index INTEGER PRIMARY KEY, document BLOB NOT NULL) STRICT;

    CREATE TABLE entry (
      sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, fingerprint BLOB UNIQUE, selectors BLOB NOT NULL,
      document BLOB NOT NULL, leaf_index INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;
    CREATE INDEX entry_present ON entry (leaf_index, id, selectors) WHERE selectors <> x'';
    CREATE TABLE authority (
      id TEXT PRIMARY KEY, kind TEXT NOT NULL, slot TEXT NOT NULL, state TEXT NOT NULL, public_key BLOB NOT NULL,
      chain BLOB NOT NULL, root BLOB NOT NULL, request BLOB NOT NULL, not_before INTEGER NOT NULL,
      not_after INTEGER NOT NULL, leaf_index INTEGER NOT NULL, change_index INTEGER NOT NULL) STRICT;
    CREATE INDEX authority_kind ON authority (kind, leaf_index);
    CREATE TABLE authority_order (
      leaf_index INTEGER PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, pending INTEGER NOT NULL) STRICT;
    CREATE INDEX authority_order_pending ON authority_order (leaf_index) WHERE pending = 1;
    CREATE TABLE issuance (
      kind TEXT NOT NULL, id TEXT NOT NULL, leaf_index INTEGER NOT NULL, PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
    CREATE TABLE revocation (
      kind TEXT NOT NULL, id TEXT NOT NULL, expires INTEGER NOT NULL, leaf_index INTEGER NOT NULL,
      PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
    CREATE INDEX revocation_expires ON revocation (kind, expires);
    CREATE TABLE revocation_list (
      issuer TEXT PRIMARY KEY, list BLOB NOT NULL, next_update INTEGER NOT NULL, leaf_index INTEGER NOT NULL) STRICT;
    CREATE TABLE federation (
      trust_domain TEXT PRIMARY KEY, terms BLOB NOT NULL, bundle BLOB NOT NULL, leaf_index INTEGER NOT NULL) STRICT;
    """
}
