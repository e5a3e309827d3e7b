//! Opens the store that the settings choose. Start at [`open`].

use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::meters::StoreMetrics;

use super::TokenStore;
use super::embedded::{self, Embedded};
use super::guard::Guard;
#[cfg(feature = "postgres")]
use super::postgres::{self, Postgres};
use super::redis::{self, Redis};

/// Which store, and how long a call may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which.
    pub kind: Kind,
    /// Longest time for a call.
    pub time: Duration,
}

/// The kinds of store.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Files of this process.
    Embedded(embedded::Settings),
    /// A PostgreSQL server.
    #[cfg(feature = "postgres")]
    Postgres(postgres::Settings),
    /// Redis or Valkey, a server by itself or a cluster.
    Redis(redis::settings::Settings),
    /// One that is open already: for programs, and tests, that bring their own.
    Given(Arc<dyn TokenStore>),
}

/// Why a store cannot be opened, and how to mend it. Holds no value, no password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The one that is built in.
    #[error(transparent)]
    Embedded(#[from] embedded::OpenError),
    /// PostgreSQL.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// Redis or Valkey.
    #[error("the store on Redis: {0}")]
    Redis(#[from] redis::fault::Fault),
}

impl Settings {
    /// For a command, whose user waits: a store that cannot be had at once is told at once.
    pub fn wait_for_nothing(&mut self) {
        match &mut self.kind {
            Kind::Embedded(embedded) => embedded.patience = Duration::ZERO,
            #[cfg(feature = "postgres")]
            Kind::Postgres(postgres) => postgres.patience = Duration::ZERO,
            Kind::Redis(redis) => redis.patience = Duration::ZERO,
            Kind::Given(_) => {}
        }
    }
}

/// Opens it, and puts the guard before it.
///
/// # Errors
/// What is wrong with the store, and how to mend it.
pub async fn open(settings: &Settings, meters: StoreMetrics) -> Result<Guard, OpenError> {
    let store: Arc<dyn TokenStore> = match &settings.kind {
        Kind::Given(store) => Arc::clone(store),
        Kind::Embedded(embedded) => {
            let embedded = embedded.clone();
            let opened = tokio::task::spawn_blocking(move || Embedded::open(&embedded)).await;
            Arc::new(opened.unwrap_or(Err(embedded::OpenError::CutOff))?)
        }
        #[cfg(feature = "postgres")]
        Kind::Postgres(postgres) => Arc::new(Postgres::open(postgres).await?),
        Kind::Redis(redis) => Arc::new(Redis::open(redis.clone()).await?),
    };
    Ok(Guard::new(store, settings.time, meters))
}
