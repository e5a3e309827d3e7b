//! The tables in PostgreSQL, and every statement. Values are never part of a statement's text.

/// What makes each version of the tables from the one before it; run in order, under a lock. Never change one that was released.
pub(super) const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE vault_tokens (
        token bytea PRIMARY KEY, digest bytea NOT NULL, domain bytea NOT NULL, epoch bigint NOT NULL,
        spelling smallint NOT NULL, sealed bytea NOT NULL, issued_ms bigint NOT NULL, ends_ms bigint);
    -- What is sealed does not get shorter.
    ALTER TABLE vault_tokens ALTER COLUMN sealed SET STORAGE EXTERNAL;
    CREATE UNIQUE INDEX vault_digests ON vault_tokens (digest);
    CREATE INDEX vault_domains ON vault_tokens (domain, epoch);
    CREATE INDEX vault_issued ON vault_tokens (issued_ms);
    CREATE INDEX vault_ends ON vault_tokens (ends_ms) WHERE ends_ms IS NOT NULL;
    CREATE TABLE vault_subjects (
        token bytea NOT NULL REFERENCES vault_tokens ON DELETE CASCADE, subject bytea NOT NULL,
        PRIMARY KEY (token, subject));
    CREATE INDEX vault_persons ON vault_subjects (subject);
",
    // By what the database is known again: one row.
    "
    CREATE TABLE vault_mark (mark uuid NOT NULL, one boolean PRIMARY KEY DEFAULT true CHECK (one));
    INSERT INTO vault_mark (mark) VALUES (gen_random_uuid());
",
];

/// Makes what says which version the tables have. The number of the lock is ours by chance: replicas that start together do not
/// collide.
pub(super) const PREPARE: &str = "
    BEGIN;
    SELECT pg_advisory_xact_lock(7232613491);
    CREATE TABLE IF NOT EXISTS vault_schema (version integer PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now());
";

/// The version of the tables; needs the table.
pub(super) const VERSION: &str = "SELECT coalesce(max(version), 0) AS version FROM vault_schema";

/// By what the database is known again.
pub(super) const MARK: &str = "SELECT mark FROM vault_mark";

/// What durability hangs on, whether this is the primary, and whether the tables are there.
pub(super) const PROMISES: &str = "
    SELECT current_setting('server_version_num') AS version, current_setting('synchronous_commit') AS synchronous_commit,
        current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
        current_setting('synchronous_standby_names') AS standbys, pg_is_in_recovery() AS standby,
        current_setting('transaction_read_only') AS read_only, to_regclass('vault_schema') AS tables";

/// Our tables that a crash would empty.
pub(super) const UNLOGGED: &str = "
    SELECT relname FROM pg_class WHERE relpersistence <> 'p'
        AND oid IN (to_regclass('vault_tokens'), to_regclass('vault_subjects'), to_regclass('vault_schema'), to_regclass('vault_mark'))";

/// What holds for a session, whatever the server's or the role's own settings become meanwhile. The plans are the same for any
/// number of values and of rows: every condition has an index, and a plan that was made when the tables were small would read
/// them whole when they are not.
pub(super) fn session(synchronous_commit: &str, limit_ms: u128) -> String {
    format!(
        "SET synchronous_commit = {synchronous_commit}; SET statement_timeout = {limit_ms};
         SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning;
         SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off;"
    )
}

/// Keeps what is new, adds subjects, and gives every winner: those that were known, those that are new, and those that somebody
/// else put meanwhile, which only a row's lock can see (`DO UPDATE`). In the order of digests, so that two of these never wait for
/// each other.
///
/// Where a standby has to confirm each commit, a wait for it can be cut off, and what was waited for is then seen all the same. So
/// that no token is given out before a standby has it, such a server is made to wait for each answer, also of known values.
pub(super) const PUT: &str = "
    WITH new AS MATERIALIZED (
        SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[], $5::smallint[], $6::bytea[],
            $7::bigint[], $8::bigint[]) AS t(digest, token, domain, epoch, spelling, sealed, issued_ms, ends_ms)),
    known AS MATERIALIZED (SELECT k.digest, k.token FROM vault_tokens k WHERE k.digest = ANY($1)),
    put AS (
        INSERT INTO vault_tokens AS kept (digest, token, domain, epoch, spelling, sealed, issued_ms, ends_ms)
        SELECT digest, token, domain, epoch, spelling, sealed, issued_ms, ends_ms FROM new
        WHERE digest NOT IN (SELECT digest FROM known) ORDER BY digest
        ON CONFLICT (digest) DO UPDATE SET epoch = kept.epoch RETURNING digest, token),
    won AS (SELECT digest, token FROM known UNION ALL SELECT digest, token FROM put),
    link AS (
        INSERT INTO vault_subjects (token, subject)
        SELECT DISTINCT won.token, s.subject FROM unnest($9::bytea[], $10::bytea[]) AS s(digest, subject)
        JOIN won USING (digest) ORDER BY 1, 2 ON CONFLICT DO NOTHING),
    confirmed AS MATERIALIZED (
        SELECT CASE WHEN current_setting('synchronous_standby_names') <> ''
            THEN pg_logical_emit_message(true, 'tidegate', '') END AS at)
    SELECT digest, token, (SELECT at FROM confirmed) IS NULL FROM won";

/// Entries with their subjects; a condition and an order follow.
pub(super) const ENTRIES: &str = "
    SELECT token, digest, domain, epoch, spelling, sealed, issued_ms, ends_ms,
        ARRAY(SELECT subject FROM vault_subjects s WHERE s.token = t.token) FROM vault_tokens t ";

/// Commits something, so that a server that cannot keep anything says so.
pub(super) const PROVE: &str = "UPDATE vault_schema SET version = version";

/// At most `$2` of those that a condition on `$1` means.
pub(super) fn seek(condition: &str) -> String {
    format!("SELECT token, domain, epoch, spelling FROM vault_tokens t WHERE {condition} LIMIT $2")
}

/// A page of entries: at most `$1` of those that a condition means, by token.
pub(super) fn page(condition: &str) -> String {
    format!("{ENTRIES}{condition} ORDER BY token LIMIT $1")
}

/// Forgets these; their subjects go with them. A standby confirms it, also where they were gone already (as in [`PUT`]).
pub(super) const REMOVE: &str = "
    WITH gone AS (DELETE FROM vault_tokens WHERE token = ANY($1) RETURNING token),
    confirmed AS MATERIALIZED (
        SELECT CASE WHEN current_setting('synchronous_standby_names') <> ''
            THEN pg_logical_emit_message(true, 'tidegate', '') END AS at)
    SELECT token, at IS NULL FROM confirmed LEFT JOIN gone ON true";
