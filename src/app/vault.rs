//! Opens the vault's store; where `vault.to` says so, it is copied to another one meanwhile. Start at `open`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::config::{self, Settings};
use crate::telemetry::Metrics;
use crate::vault::store::TokenStore;
use crate::vault::store::guard::Guard;
use crate::vault::store::open;
use crate::vault::transfer::moving::Moving;
use crate::vault::transfer::{Progress, marks};

use super::Error;

/// Between two lines of the log that say how far a copy has come.
const TOLD: Duration = Duration::from_secs(30);

/// The store, if there is one, and what copies it, which ends when it is dropped.
pub(super) async fn open(settings: &Settings, metrics: &Metrics) -> Result<(Option<Arc<Guard>>, JoinSet<()>), Error> {
    let mut copying = JoinSet::new();
    let Some(vault) = &settings.vault else { return Ok((None, copying)) };
    let Some(file) = &settings.vault_to else {
        let store = open::open(vault, metrics.store()).await?;
        marks::take(&store).await.map_err(|error| Error::System(format!("the vault: {error}")))?;
        return Ok((Some(Arc::new(store)), copying));
    };
    let failed = |error: &dyn std::fmt::Display| Error::System(format!("`vault.to`: {error}"));
    let other = config::other_vault(file).map_err(|error| failed(&error))?;
    let (moving, time) = both(vault, &other).await?;
    moving.begin().await.map_err(|error| failed(&error))?;
    copying.spawn(follow(moving.clone()));
    Ok((Some(Arc::new(Guard::new(Arc::new(moving), time, metrics.store()))), copying))
}

/// Both stores of a move, and how long a call of both may take.
///
/// # Errors
/// What is wrong with one of them.
pub async fn both(vault: &open::Settings, other: &open::Settings) -> Result<(Moving, Duration), open::OpenError> {
    // What is counted is what is asked of both together.
    let from: Arc<dyn TokenStore> = Arc::new(open::open(vault, Metrics::new().store()).await?);
    let to: Arc<dyn TokenStore> = Arc::new(open::open(other, Metrics::new().store()).await?);
    Ok((Moving::new(from, to), vault.time.max(other.time) * 4))
}

async fn follow(moving: Moving) {
    let (began, entries, told) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    tracing::info!(target: "tidegate", "the vault is being copied to another store; new tokens are kept in both");
    let tell = |progress: Progress| {
        let entries = entries.fetch_add(progress.entries, Ordering::Relaxed) + progress.entries;
        let turn = began.elapsed().as_secs() / TOLD.as_secs();
        if told.swap(turn, Ordering::Relaxed) < turn {
            let percent = (progress.share * 100.0).round();
            tracing::info!(target: "tidegate", entries, percent, "the vault is being copied");
        }
    };
    match moving.follow(&tell).await {
        Ok(verified) => tracing::info!(
            target: "tidegate", entries = verified.to.entries,
            "the vault is copied and verified: change `[vault]` to the other store, take `vault.to` away, and start the program anew"
        ),
        Err(cause) => {
            tracing::error!(target: "tidegate", %cause, "the vault is not copied, and that is not tried again")
        }
    }
}
