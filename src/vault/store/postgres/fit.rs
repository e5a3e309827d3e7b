//! Whether a server keeps what it acknowledges: looked at on each new connection. Start at [`look`].

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::failure::Failure;
use super::sql;

/// The oldest version whose statements are ours.
const OLDEST: u32 = 13;

/// What was found, of a server that is fit.
pub(super) struct Fit {
    /// As it is set, for the session to hold on to.
    pub(super) synchronous_commit: String,
    /// Whether our tables are there, of whatever version.
    pub(super) has_tables: bool,
    /// What may be meant so, or not.
    pub(super) warnings: Vec<&'static str>,
}

/// Looks at it. `of_several`: there are other hosts to go to when this one is gone.
pub(super) async fn look(client: &Client, of_several: bool) -> Result<Fit, Failure> {
    let row = one_row(client, sql::PROMISES).await?;
    let of = |column: &str| row.try_get(column).ok().flatten().unwrap_or_default().to_owned();
    let version = of("version").parse().unwrap_or(0_u32) / 10_000;
    if version < OLDEST {
        return unfit(format!("it is PostgreSQL {version}"), "13 or newer is wanted", false);
    }
    // First: a standby's other settings are not those of a primary.
    if of("standby") == "t" {
        return unfit("it is a standby", "name the primary; of several hosts the primary is taken", true);
    }
    if of("read_only") == "on" {
        let wanted = "set `default_transaction_read_only` to `off`, for the server, the database and the user";
        return unfit("it takes no writes", wanted, true);
    }
    let synchronous_commit = of("synchronous_commit");
    if !["on", "remote_apply"].contains(&synchronous_commit.as_str()) {
        let found = format!("`synchronous_commit` is `{synchronous_commit}`");
        let wanted = "set it to `on`, for the server, the database and the user: with anything less a crash, or a standby that takes \
                      over, loses tokens that were given out";
        return unfit(found, wanted, false);
    }
    if of("fsync") != "on" {
        return unfit(
            "`fsync` is `off`",
            "set it to `on`: without it a crash of its machine may destroy all of it",
            false,
        );
    }
    let mut warnings = Vec::new();
    if of("full_page_writes") != "on" {
        warnings.push(
            "`full_page_writes` is `off`: unless its file system writes pages whole, a crash of its machine may damage what was kept",
        );
    }
    if of_several && of("standbys").is_empty() {
        warnings.push(
            "several hosts are named, and `synchronous_standby_names` is empty: when a standby takes over, tokens that were given \
             out last may be missing from it",
        );
    }
    Ok(Fit { synchronous_commit, has_tables: !of("tables").is_empty(), warnings })
}

fn unfit<T>(found: impl Into<std::sync::Arc<str>>, wanted: &'static str, passing: bool) -> Result<T, Failure> {
    Err(Failure::Unfit { found: found.into(), wanted, passing })
}

/// Brings the tables to the version that this program knows; looks that a crash does not empty them.
pub(super) async fn migrate(client: &Client, has_tables: bool) -> Result<(), Failure> {
    let known = sql::MIGRATIONS.len();
    if !has_tables || version(client).await? < known {
        client.batch_execute(sql::PREPARE).await?;
        // Somebody else may have done it while the lock was waited for.
        let made = version(client).await?;
        for (at, migration) in (1..).zip(sql::MIGRATIONS).skip(made) {
            client.batch_execute(&format!("{migration}; INSERT INTO vault_schema (version) VALUES ({at})")).await?;
            tracing::info!(target: "tidegate", version = at, "made the vault's tables in PostgreSQL");
        }
        client.batch_execute("COMMIT").await?;
    }
    if version(client).await? > known {
        let wanted = "a newer program made them; run that one";
        return unfit("its tables have a form that this program does not know", wanted, false);
    }
    let unlogged = client.simple_query(sql::UNLOGGED).await?;
    if unlogged.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) {
        return unfit("its tables are `UNLOGGED`", "alter them with `SET LOGGED`: a crash would empty them", false);
    }
    Ok(())
}

/// By what the database is known again.
pub(super) async fn mark(client: &Client) -> Result<String, Failure> {
    let row = one_row(client, sql::MARK).await?;
    row.try_get("mark").ok().flatten().map(str::to_owned).ok_or(Failure::Damaged)
}

async fn version(client: &Client) -> Result<usize, Failure> {
    let row = one_row(client, sql::VERSION).await?;
    row.try_get("version").ok().flatten().and_then(|text| text.parse().ok()).ok_or(Failure::Damaged)
}

async fn one_row(client: &Client, sql: &str) -> Result<SimpleQueryRow, Failure> {
    let rows = client.simple_query(sql).await?.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.ok_or(Failure::Damaged)
}
