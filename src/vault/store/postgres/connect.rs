//! To a host that keeps tokens: one of several that is up, is the primary, and is set up as the contract needs. Start at
//! [`connect`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Statement};
use zeroize::Zeroizing;

use crate::http::trust;

use super::address::One;
use super::failure::Failure;
use super::mark::Mark;
use super::tls::Connector;
use super::{Settings, Tls, fit, sql};

/// Longest time to tell a server that nobody waits any more.
const CANCEL: Duration = Duration::from_secs(5);

/// A connection whose server was looked at.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) put: Statement,
    pub(super) find: Statement,
    doubt: Doubt,
    connector: Option<Connector>,
}

/// What the server warned of while it did what it was asked for.
#[derive(Clone, Default)]
struct Doubt(Arc<Mutex<Option<Arc<str>>>>);

/// What we come with, read from its files.
struct Papers {
    password: Option<Zeroizing<String>>,
    connector: Option<Connector>,
}

/// Connects to the first host that keeps tokens.
pub(super) async fn connect(settings: &Arc<Settings>, mark: &Arc<Mark>, time: Duration) -> Result<Connection, Failure> {
    let papers = {
        let settings = Arc::clone(settings);
        let read = tokio::task::spawn_blocking(move || Papers::read(&settings)).await;
        read.unwrap_or(Err(Failure::Ended))?
    };
    let hosts = &settings.address.hosts;
    let mut failures = Vec::with_capacity(hosts.len());
    for host in hosts {
        match to_host(host, &papers, settings, mark, time).await {
            Ok(connection) => return Ok(connection),
            Err(why) => failures.push(Failure::Host { host: host.shown.as_str().into(), why: Box::new(why) }),
        }
    }
    match <[Failure; 1]>::try_from(failures) {
        Ok([only]) => Err(only),
        Err(all) => Err(Failure::Hosts(all.into())),
    }
}

impl Papers {
    fn read(settings: &Settings) -> Result<Self, Failure> {
        let ours = |error: String| Failure::Ours(error.into());
        let password = settings.password.as_ref().map(|password| password.read().map_err(ours)).transpose()?;
        let connector = match &settings.tls {
            Tls::Off => None,
            Tls::Verified { ca, identity } => {
                let identity = identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
                let (config, _) = trust::client_config(ca.as_deref(), identity).map_err(ours)?;
                Some(Connector(Arc::new(config)))
            }
        };
        Ok(Self { password, connector })
    }
}

/// For bringing the tables to the newest form, or waiting for another process that does; it comes once a version.
const MIGRATION: Duration = Duration::from_secs(60);

/// Connects to one, looks at it and gets it ready, each within the time for it.
async fn to_host(
    host: &One,
    papers: &Papers,
    settings: &Arc<Settings>,
    mark: &Arc<Mark>,
    time: Duration,
) -> Result<Connection, Failure> {
    let mut config = host.config.clone();
    if let Some(password) = &papers.password {
        config.password(password.as_str());
    }
    // A peer that has gone without a word is found out before an exchange runs into it.
    config.keepalives_idle(Duration::from_secs(15)).keepalives_interval(Duration::from_secs(5)).keepalives_retries(3);
    let doubt = Doubt::default();
    let connecting = async {
        let client = dial(&config, papers.connector.clone(), &doubt).await?;
        let fit = fit::look(&client, settings.address.hosts.len() > 1).await?;
        Ok((client, fit))
    };
    let connected = tokio::time::timeout(settings.connect, connecting).await;
    let (client, fit) = connected.unwrap_or(Err(Failure::Slow(settings.connect)))?;
    if !fit.has_tables {
        mark.may_be_new()?;
    }
    let migrating = tokio::time::timeout(settings.connect.max(MIGRATION), fit::migrate(&client, fit.has_tables));
    migrating.await.unwrap_or(Err(Failure::Slow(settings.connect.max(MIGRATION))))?;
    let preparing = async {
        client.batch_execute(&sql::session(&fit.synchronous_commit, time.as_millis().max(1))).await?;
        let put = client.prepare(sql::PUT).await?;
        let find = client.prepare(&format!("{}WHERE token = ANY($1)", sql::ENTRIES)).await?;
        Ok((put, find, fit::mark(&client).await?))
    };
    let prepared = tokio::time::timeout(settings.connect, preparing).await;
    let (put, find, found) = prepared.unwrap_or(Err(Failure::Slow(settings.connect)))?;
    // Remembers it in a file.
    let (known, own) = (Arc::clone(mark), Arc::clone(settings));
    let checked = tokio::task::spawn_blocking(move || known.check(&own, found)).await;
    checked.unwrap_or(Err(Failure::Ended))?;
    for warning in fit.warnings {
        tracing::warn!(target: "tidegate", host = host.shown, "the vault's PostgreSQL: {warning}");
    }
    // Of the session's beginning, such as another version of the system's collation: no answer hangs on it.
    doubt.clear();
    Ok(Connection { client, put, find, doubt, connector: papers.connector.clone() })
}

async fn dial(config: &Config, connector: Option<Connector>, doubt: &Doubt) -> Result<Client, Failure> {
    let mut config = config.clone();
    match connector {
        Some(connector) => {
            let (client, connection) = config.ssl_mode(SslMode::Require).connect(connector).await?;
            tokio::spawn(drive(connection, doubt.clone()));
            Ok(client)
        }
        None => {
            let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
            tokio::spawn(drive(connection, doubt.clone()));
            Ok(client)
        }
    }
}

/// Carries what is sent and answered, until the client is dropped or the connection breaks. A warning is noted before the
/// answer that it comes with is handed on.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, doubt: Doubt)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notice(notice))) if notice.parsed_severity() == Some(Severity::Warning) => {
                doubt.note(format!("{} ({})", notice.message(), notice.code().code()));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

impl Connection {
    /// Whether the server ever warned of something: such a connection is given up.
    pub(super) fn doubt(&self) -> Result<(), Failure> {
        self.doubt.told().map_or(Ok(()), |warning| Err(Failure::Doubtful(warning)))
    }

    /// Gives it up in the middle of something, and has the server do so too: a commit that waits for its standby would hold a place
    /// there for as long as the standby is away, and so would all that come after it.
    pub(super) fn cancel(self) {
        let token = self.client.cancel_token();
        tokio::spawn(async move {
            let cancelled = async {
                match self.connector {
                    Some(connector) => token.cancel_query(connector).await,
                    None => token.cancel_query(NoTls).await,
                }
            };
            // Whether it can be told does not matter to anybody here.
            let _ = tokio::time::timeout(CANCEL, cancelled).await;
        });
    }

    /// Commits something.
    pub(super) async fn prove(&self) -> Result<(), Failure> {
        fit::look(&self.client, false).await?;
        self.client.batch_execute(sql::PROVE).await?;
        self.doubt()
    }
}

impl Doubt {
    fn note(&self, warning: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(warning.into());
    }

    fn told(&self) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
