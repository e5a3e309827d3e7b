//! What a key ring has in memory, and how it takes over what its source has.
//!
//! Whoever reads or writes the source holds one lock, and no other: what is in memory is looked at without waiting for them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::DomainId;

use super::fault::Fault;
use super::looks::{Living, Looks};
use super::{DomainSecret, Epoch, Epochs, Error, Key, KeySource, Life, State};

#[derive(Debug)]
pub(super) struct Ring {
    pub(super) source: Box<dyn KeySource>,
    /// Held for a look into it alone, and not for values: whoever works on those has the [`Living`] of its domain.
    domains: Mutex<HashMap<DomainId, Arc<Living>>>,
    /// Held while the source is read or written, which may take long.
    working: Mutex<()>,
    pub(super) looks: Arc<Looks>,
}

impl Ring {
    pub(super) fn new(source: Box<dyn KeySource>, looks: Looks) -> Self {
        Self { source, domains: Mutex::default(), working: Mutex::default(), looks: Arc::new(looks) }
    }

    pub(super) fn domains(&self) -> MutexGuard<'_, HashMap<DomainId, Arc<Living>>> {
        // A panic of another thread under this lock leaves at worst a secret that is not cached.
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that reads or writes the source at a time.
    pub(super) fn working(&self) -> MutexGuard<'_, ()> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn living(&self, id: &DomainId) -> Option<Arc<Living>> {
        self.domains().get(id).cloned()
    }

    pub(super) fn held(&self, id: &DomainId) -> Option<Epochs> {
        self.living(id).map(|living| living.epochs())
    }

    pub(super) fn hold(&self, id: &DomainId, epochs: Epochs) {
        match self.domains().entry(id.clone()) {
            std::collections::hash_map::Entry::Occupied(known) => known.get().set(epochs),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(Arc::new(Living::new(epochs, &self.looks)));
            }
        }
    }

    /// Ends what is in memory of a domain up to this epoch, for all who hold it.
    pub(super) fn end(&self, id: &DomainId, through: Epoch) {
        let Some(held) = self.held(id) else { return };
        let (ended, left): (Vec<_>, Vec<_>) = held.iter().cloned().partition(|secret| secret.epoch <= through);
        if ended.is_empty() {
            return;
        }
        for secret in ended {
            secret.life.end();
            tracing::info!(domain = %id, epoch = secret.epoch.0, "this epoch of a domain is destroyed");
        }
        self.hold(id, left.into());
    }

    /// A secret as the source keeps it now.
    pub(super) fn secret(&self, id: &DomainId, epoch: Epoch, key: Key) -> Result<DomainSecret, Error> {
        let print = self.source.print(id, epoch)?.unwrap_or_default();
        Ok(DomainSecret { domain: id.clone(), epoch, key, print, life: Life::default() })
    }

    /// The secrets of these epochs, the newest first; one that is destroyed just now is left out.
    pub(super) fn load(&self, id: &DomainId, epochs: &[Epoch]) -> Result<Epochs, Error> {
        let mut secrets = Vec::with_capacity(epochs.len());
        for epoch in epochs.iter().rev() {
            if let Some(key) = self.source.load(id, *epoch)? {
                secrets.push(Arc::new(self.secret(id, *epoch, key)?));
            }
        }
        Ok(secrets.into())
    }

    /// See [`super::KeyRing::refresh`].
    pub(super) fn refresh(&self) -> Vec<Error> {
        let _working = self.working();
        let mut survey = match self.source.survey() {
            Ok(survey) => survey,
            Err(error) => return vec![error],
        };
        let known: Vec<DomainId> = self.domains().keys().cloned().collect();
        // What has ended goes first: nothing that is wrong elsewhere may put it off.
        for id in &known {
            if let Some(through) = survey.domains.get(id).and_then(|state| state.destroyed) {
                self.end(id, through);
            }
        }
        for id in known {
            let state = survey.domains.remove(&id).unwrap_or_default();
            self.renew(&id, &state, &mut survey.wrong);
        }
        survey.wrong
    }

    /// Takes over what has ended and what is new, from names alone as far as nothing is: because a token asks for it.
    pub(super) fn look(&self) -> Vec<Error> {
        let _working = self.working();
        let mut survey = match self.source.survey() {
            Ok(survey) => survey,
            Err(error) => return vec![error],
        };
        let known: Vec<(DomainId, Epochs)> =
            self.domains().iter().map(|(id, living)| (id.clone(), living.epochs())).collect();
        for (id, held) in known {
            let Some(state) = survey.domains.remove(&id) else { continue };
            if let Some(through) = state.destroyed {
                self.end(&id, through);
            }
            if !state.living.iter().all(|epoch| held.iter().any(|secret| secret.epoch == *epoch)) {
                self.renew(&id, &state, &mut survey.wrong);
            }
        }
        survey.wrong
    }

    /// Takes over what the source has of a domain; where something is wrong with a secret the one in memory stays.
    fn renew(&self, id: &DomainId, state: &State, wrong: &mut Vec<Error>) {
        let held = self.held(id).unwrap_or_default();
        let mut secrets = Vec::with_capacity(state.living.len());
        for epoch in &state.living {
            let known = held.iter().find(|secret| secret.epoch == *epoch);
            match self.current(id, *epoch, known) {
                Ok(secret) => secrets.extend(secret),
                Err(error) => {
                    wrong.push(error);
                    secrets.extend(known.cloned());
                }
            }
        }
        for lost in held.iter().filter(|secret| secret.is_lost(&state.living, state.destroyed)) {
            let place = self.source.folder().unwrap_or(Path::new("the keys"));
            wrong.push(Fault::Lost(id.clone(), lost.epoch).at(place));
            secrets.push(Arc::clone(lost));
        }
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.epoch));
        if !(secrets.len() == held.len() && secrets.iter().zip(held.iter()).all(|(new, old)| Arc::ptr_eq(new, old))) {
            let newest = secrets.first().map_or(0, |secret| secret.epoch.0);
            tracing::info!(domain = %id, epochs = secrets.len(), newest, "the keys of a domain have changed");
            self.hold(id, secrets.into());
        }
    }

    /// The secret of an epoch: the known one, if what is kept is still that.
    fn current(
        &self,
        id: &DomainId,
        epoch: Epoch,
        known: Option<&Arc<DomainSecret>>,
    ) -> Result<Option<Arc<DomainSecret>>, Error> {
        let Some(known) = known else {
            let Some(key) = self.source.load(id, epoch)? else { return Ok(None) };
            return self.secret(id, epoch, key).map(|secret| Some(Arc::new(secret)));
        };
        match self.source.print(id, epoch)? {
            Some(print) if print != known.print => {}
            _ => return Ok(Some(Arc::clone(known))),
        }
        let Some(key) = self.source.load(id, epoch)? else { return Ok(Some(Arc::clone(known))) };
        if key.expose_secret() != known.key.expose_secret() {
            tracing::error!(domain = %id, epoch = epoch.0, "another secret is kept for this epoch than before: tokens of the other are dead text");
        }
        let fresh = self.secret(id, epoch, key)?;
        // Of one epoch, and so of one life.
        Ok(Some(Arc::new(DomainSecret { life: known.life.clone(), ..fresh })))
    }
}
