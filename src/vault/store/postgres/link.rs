//! A connection that is made when it is needed, and again when it broke: at most so often. Start at [`Link::take`].

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Settings;
use super::connect::{Connection, connect};
use super::failure::Failure;
use super::mark::Mark;
use super::tries::Tries;

/// More than the server has for a statement: it says itself that this was too long, as a rule.
const GRACE: Duration = Duration::from_millis(250);

/// A connection, if there is one.
pub(super) struct Link {
    settings: Arc<Settings>,
    /// Of the database, for all links of the store.
    mark: Arc<Mark>,
    /// Longest time for what is asked.
    time: Duration,
    connection: Option<Connection>,
    /// Of all links of the store.
    tries: Arc<Tries>,
}

impl Link {
    /// Not connected yet.
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let (time, mark) = (settings.time, Arc::new(Mark::new(&settings)));
        Self { settings, mark, time, connection: None, tries: Arc::default() }
    }

    /// Another one to the same server, for what may take so long; not connected yet.
    pub(super) fn another(&self, time: Duration) -> Self {
        let (settings, mark) = (Arc::clone(&self.settings), Arc::clone(&self.mark));
        Self { settings, mark, time, connection: None, tries: Arc::clone(&self.tries) }
    }

    /// Connects; a server that is not to be had yet is waited for so long.
    pub(super) async fn wait_for(&mut self, patience: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match self.take().await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    return Ok(());
                }
                Err(failure) if !failure.is_passing() || began.elapsed() >= patience => return Err(failure),
                Err(_) => tokio::time::sleep(self.tries.pause()).await,
            }
        }
    }

    /// A connection that works as far as is known. While none can be made, the last attempt's failure, at once.
    pub(super) async fn take(&mut self) -> Result<Connection, Failure> {
        if let Some(connection) = self.connection.take().filter(|connection| !connection.client.is_closed()) {
            return Ok(connection);
        }
        let begun = self.tries.begin(Instant::now())?;
        let connected = connect(&self.settings, &self.mark, self.time).await;
        match &connected {
            Ok(_) => self.tries.succeeded(),
            Err(failure) => self.tries.failed(begun, failure, Instant::now()),
        }
        connected
    }

    /// Waits for what a connection was asked, within the limit.
    pub(super) async fn limited<T>(&self, asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let limit = self.time + GRACE;
        tokio::time::timeout(limit, asked).await.unwrap_or(Err(Failure::Slow(limit)))
    }

    /// Takes a connection back after it was used. One that is not given back, because whoever used it stopped waiting, is closed:
    /// nobody knows what it is in the middle of.
    pub(super) fn give_back<'f>(&mut self, connection: Connection, failures: impl Iterator<Item = &'f Failure>) {
        let (mut ends, mut slow) = (false, false);
        for failure in failures {
            ends |= failure.ends_connection();
            slow |= matches!(failure, Failure::Slow(_));
        }
        if slow {
            connection.cancel();
        } else if !ends {
            self.connection = Some(connection);
        }
    }
}
