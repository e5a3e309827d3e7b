//! What a key ring has in memory, and when it looks whether its source has more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::ids::DomainId;

use super::{DomainSecret, Epoch, Epochs, Error, KeySource};

/// Least time between two readings of the source that a token has caused: whoever sends tokens of unknown epochs makes us
/// read no oftener than this, and a reading brings what is new of all domains.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest time for which such a reading holds up the one who asked; it goes on without them.
const LOOK_WAIT: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Ring {
    pub(super) source: Box<dyn KeySource>,
    domains: Mutex<HashMap<DomainId, Epochs>>,
    clock: Clock,
    /// When a token last caused a reading, by the clock's steady time.
    looked: Mutex<Option<Duration>>,
}

impl Ring {
    pub(super) fn new(source: Box<dyn KeySource>, clock: Clock) -> Self {
        Self { source, domains: Mutex::default(), clock, looked: Mutex::default() }
    }

    pub(super) fn domains(&self) -> MutexGuard<'_, HashMap<DomainId, Epochs>> {
        // A panic of another thread under this lock leaves at worst a secret that is not cached.
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secrets of these epochs, the newest first; those that are known are not read again, and one that is destroyed
    /// just now is left out.
    pub(super) fn load(&self, id: &DomainId, epochs: &[Epoch], known: &[Arc<DomainSecret>]) -> Result<Epochs, Error> {
        let mut secrets = Vec::with_capacity(epochs.len());
        for epoch in epochs.iter().rev() {
            if let Some(secret) = known.iter().find(|secret| secret.epoch == *epoch) {
                secrets.push(Arc::clone(secret));
            } else if let Some(key) = self.source.load(id, *epoch)? {
                secrets.push(Arc::new(DomainSecret { domain: id.clone(), epoch: *epoch, key }));
            }
        }
        Ok(secrets.into())
    }

    pub(super) fn refresh(&self) -> Result<(), Error> {
        let mut listed: HashMap<DomainId, Vec<Epoch>> = HashMap::new();
        for (domain, epoch) in self.source.list()? {
            listed.entry(domain).or_default().push(epoch);
        }
        let known: Vec<(DomainId, Epochs)> = self.domains().iter().map(|(id, e)| (id.clone(), Arc::clone(e))).collect();
        for (id, epochs) in known {
            let found = listed.remove(&id).unwrap_or_default();
            if found.iter().rev().eq(epochs.iter().map(|secret| &secret.epoch)) {
                continue;
            }
            let loaded = self.load(&id, &found, &epochs)?;
            let newest = loaded.first().map_or(0, |secret| secret.epoch.0);
            tracing::info!(domain = %id, epochs = loaded.len(), newest, "the keys of a domain have changed");
            self.domains().insert(id, loaded);
        }
        Ok(())
    }

    /// Whether a token may cause a reading now; if so, it is the one that does.
    pub(super) fn may_look(&self) -> bool {
        let (mut looked, now) = (self.looked.lock().unwrap_or_else(PoisonError::into_inner), self.clock.steady());
        if looked.is_some_and(|looked| now.saturating_sub(looked) < LOOK_EVERY) {
            return false;
        }
        *looked = Some(now);
        true
    }
}

/// Reads the source on a thread of its own, because the one who asks serves others beside, and waits a moment for it.
pub(super) fn look(ring: &Arc<Ring>) {
    let ring = Arc::clone(ring);
    let (done, waiting) = std::sync::mpsc::sync_channel(1);
    let looking = move || {
        if let Err(error) = ring.refresh() {
            tracing::warn!(cause = %error, "a token of an unknown epoch came, and the keys could not be read again");
        }
        let _ = done.send(());
    };
    if std::thread::Builder::new().name("keys".to_owned()).spawn(looking).is_ok() {
        let _ = waiting.recv_timeout(LOOK_WAIT);
    }
}
