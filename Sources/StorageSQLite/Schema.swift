import GRDB

/// The tables. Every name is a noun of its domain; a `blob` is opaque to SQL.
enum Schema {
  /// Written to `PRAGMA user_version`; a database of another version is refused.
  static let version = 1

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
    CREATE INDEX command_unfinished ON command (leaf_index) WHERE state = 'authorized';
    CREATE TABLE principal (
      id TEXT PRIMARY KEY, kind TEXT NOT NULL, tenant TEXT NOT NULL, owner TEXT NOT NULL,
      thumbprint TEXT NOT NULL UNIQUE, key BLOB NOT NULL, status TEXT NOT NULL, enrolment_index INTEGER NOT NULL)
      STRICT, WITHOUT ROWID;
    CREATE TABLE invitation (digest BLOB PRIMARY KEY, owner TEXT NOT NULL, tenant TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE account (
      id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, currency TEXT NOT NULL, kind TEXT NOT NULL,
      overdraft_limit INTEGER NOT NULL, debits_posted INTEGER NOT NULL, credits_posted INTEGER NOT NULL,
      debits_pending INTEGER NOT NULL, credits_pending INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX account_owner ON account (owner);
    CREATE TABLE hold (
      id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, entries BLOB NOT NULL,
      expires_at INTEGER NOT NULL, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX hold_due ON hold (expires_at) WHERE state = 'held';
    CREATE TABLE posting (
      leaf_index INTEGER NOT NULL, position INTEGER NOT NULL, account TEXT NOT NULL, side TEXT NOT NULL,
      amount INTEGER NOT NULL, currency TEXT NOT NULL, PRIMARY KEY (leaf_index, position)) STRICT, WITHOUT ROWID;
    """
}
