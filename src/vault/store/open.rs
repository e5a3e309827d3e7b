//! Opens the store that the settings choose. Start at [`open`].

use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::meters::StoreMetrics;

use super::TokenStore;
use super::embedded::{self, Embedded, OpenError};
use super::guard::Guard;

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
    /// One that is open already: for programs, and tests, that bring their own.
    Given(Arc<dyn TokenStore>),
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
            Arc::new(opened.unwrap_or_else(|_| Err(OpenError::CutOff))?)
        }
    };
    Ok(Guard::new(store, settings.time, meters))
}
