//! What goes wrong with a server, in words that hold nothing of what was asked or kept. Start at [`Failure`].

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::super::StoreError;

/// Why a call failed, or a connection did not come about. Told to every caller of a batch.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server, or the way to it.
    #[error("{0}")]
    Server(Server),
    /// A host, and why it is not the one.
    #[error("`{host}`: {why}")]
    Host { host: Arc<str>, why: Box<Failure> },
    /// All hosts of several, and why.
    #[error("none of its hosts will do: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Hosts(Arc<[Failure]>),
    /// It may lose what it acknowledges, or takes no writes.
    #[error("cannot keep tokens: {found}; {wanted}")]
    Unfit { found: Arc<str>, wanted: &'static str, passing: bool },
    /// What we come with: a certificate, a password's file.
    #[error("{0}")]
    Ours(Arc<str>),
    #[error("no answer within {0:?}: the connection was given up")]
    Slow(Duration),
    #[error("the connection was lost, and whether the server did what was asked is not known; asked again, it tells")]
    Lost,
    #[error("the server warned while it committed ({0}): what it acknowledged may not last, and is not given out")]
    Doubtful(Arc<str>),
    #[error("the token is another value's")]
    TokenTaken,
    #[error("a row does not read: something else than this program wrote it; restore a backup")]
    Damaged,
    #[error("what others do in the meantime makes it fail each time; is something locking the tables?")]
    Contended,
    #[error("the store is closed")]
    Ended,
}

/// What the server said, or what the way to it broke by.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Server {
    text: Arc<str>,
    code: Option<SqlState>,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        if error.is_closed() {
            return Self::Lost;
        }
        Self::Server(Server { text: told(&error).into(), code: error.code().cloned() })
    }
}

/// Only what names no row: a server's detail quotes the values of a key.
fn told(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        let help = help(error.code());
        return format!("{} ({}){help}", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// How to mend what the server says, where it does not say so itself.
fn help(code: &SqlState) -> &'static str {
    match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            ": look at the user in `vault.postgres.url`, at `vault.postgres.password`, and at the server's pg_hba.conf"
        }
        SqlState::INVALID_CATALOG_NAME => ": make it with `createdb`, or name another one in `vault.postgres.url`",
        SqlState::INSUFFICIENT_PRIVILEGE => ": grant it as docs/operations.md says",
        SqlState::TOO_MANY_CONNECTIONS => ": raise its `max_connections`, or lower `vault.postgres.connections`",
        SqlState::DISK_FULL => ": give it room",
        _ => "",
    }
}

impl Failure {
    /// As the error of a call.
    pub(super) fn of(self, act: &'static str) -> StoreError {
        let away = self.is_away();
        StoreError::new(act, self, away)
    }

    /// Whether any other question would have failed too.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::TokenTaken | Self::Damaged => false,
            Self::Server(server) => !server.is_of_this_question(),
            _ => true,
        }
    }

    /// Whether it may come right by itself.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Host { why, .. } => why.is_passing(),
            Self::Hosts(all) => all.iter().any(Self::is_passing),
            Self::Unfit { passing, .. } => *passing,
            Self::Server(server) => match &server.code {
                None => true,
                // It is starting, ending or full, or the way to it broke.
                Some(code) => ["57P", "08", "53300"].iter().any(|class| code.code().starts_with(class)),
            },
            Self::Slow(_) | Self::Lost | Self::Doubtful(_) => true,
            _ => false,
        }
    }

    /// Whether the connection is of no use any more, though it may still be open.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            // What is not as it has to be is looked at anew with the next connection.
            Self::Slow(_) | Self::Lost | Self::Doubtful(_) | Self::Ended | Self::Unfit { .. } => true,
            Self::Server(server) => match &server.code {
                None => true,
                // It was a primary, and is none: another host may be.
                Some(code) => *code == SqlState::READ_ONLY_SQL_TRANSACTION,
            },
            _ => false,
        }
    }

    /// Whether it was rolled back because of what others did meanwhile, so that doing it again is right.
    pub(super) fn is_of_the_moment(&self) -> bool {
        self.has_code(&[
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::FOREIGN_KEY_VIOLATION,
            SqlState::UNIQUE_VIOLATION,
        ])
    }

    /// Whether a token is there already.
    pub(super) fn is_clash(&self) -> bool {
        self.has_code(&[SqlState::UNIQUE_VIOLATION])
    }

    fn has_code(&self, codes: &[SqlState]) -> bool {
        matches!(self, Self::Server(Server { code: Some(code), .. }) if codes.contains(code))
    }
}

impl Server {
    /// Data that the server does not take; anything else is its own state.
    fn is_of_this_question(&self) -> bool {
        self.code.as_ref().is_some_and(|code| code.code().starts_with("22") || code.code().starts_with("54"))
    }
}
