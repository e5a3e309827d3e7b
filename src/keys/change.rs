//! Rotations, and the end of epochs and of domains.
//!
//! What is read before the source's own lock is only what somebody was told: the source does nothing where the domain has become
//! another one meanwhile. Start at [`KeyRing::rotate`] and [`KeyRing::destroy`].

use std::sync::Arc;

use crate::ids::DomainId;

use super::fault::Fault;
use super::{DomainSecret, Epoch, Error, KeyRing, State, fresh_key};

/// Missing epochs that are named; whoever has lost more has lost a folder.
const MISSING_MAX: usize = 16;

impl State {
    /// Epochs that were not destroyed and are not there: numbers are given in turn, and ended from the first.
    #[must_use]
    pub fn missing(&self) -> Vec<Epoch> {
        let from = self.destroyed.map_or(1, |through| through.0.saturating_add(1));
        let last = self.living.last().copied().max(self.made).map_or(0, |last| last.0);
        let missing = (from..=last).map(Epoch).filter(|epoch| !self.living.contains(epoch));
        missing.take(MISSING_MAX).collect()
    }

    /// The newest epoch, if it is missing: its number is not given to another secret, because its file may come back.
    pub(super) fn lost(&self) -> Option<Epoch> {
        self.made.filter(|made| Some(*made) > self.living.last().copied() && Some(*made) > self.destroyed)
    }
}

/// What a new epoch follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing: the domain never was.
    Nothing,
    /// The newest epoch, which lives.
    Living(Epoch),
    /// The end of the domain, up to this epoch.
    End(Epoch),
}

impl After {
    /// The new epoch; `None`: there are no more.
    #[must_use]
    pub fn epoch(self) -> Option<Epoch> {
        match self {
            Self::Nothing => Some(Epoch::FIRST),
            Self::Living(last) | Self::End(last) => last.next(),
        }
    }

    /// Whether a domain is so that the new epoch may follow, or has it already.
    #[must_use]
    pub fn fits(self, state: &State) -> bool {
        let last = state.living.last().copied();
        self.epoch().is_some_and(|epoch| state.living.contains(&epoch))
            || match self {
                Self::Nothing => last.is_none() && state.destroyed.is_none(),
                Self::Living(newest) => last == Some(newest),
                Self::End(through) => last.is_none() && state.destroyed == Some(through),
            }
    }
}

impl KeyRing {
    /// Adds an epoch: what is issued from now on is issued under it. `anew`: also for a domain that was destroyed, and for
    /// none other. Of two that rotate at once both get the same. Blocks.
    ///
    /// # Errors
    /// [`Fault::Unknown`], [`Fault::Destroyed`], or the source cannot be read or written.
    pub fn rotate(&self, id: &DomainId, anew: bool) -> Result<Arc<DomainSecret>, Error> {
        let _working = self.0.working();
        let (source, place) = (&*self.0.source, self.place());
        let state = source.state(id)?;
        let State { living, destroyed, .. } = &state;
        let (living, destroyed) = (living.as_slice(), *destroyed);
        // The number of one that is lost is not given to another: its file may come back.
        let held = self.0.held(id).unwrap_or_default();
        if let Some(lost) = held.iter().find(|secret| secret.is_lost(living, destroyed)) {
            return Err(Fault::Lost(id.clone(), lost.epoch).at(place));
        }
        if let Some(lost) = state.lost() {
            return Err(Fault::Gone(id.clone(), lost).at(place));
        }
        let after = match (living.last(), destroyed, anew) {
            (Some(living), _, false) => After::Living(*living),
            (None, Some(through), true) => {
                // What a cut off destruction left would otherwise stay beside the new beginning.
                source.destroy(id, through, true)?;
                After::End(through)
            }
            (None, Some(_), false) => return Err(Fault::Destroyed(id.clone()).at(place)),
            (Some(_), _, true) => return Err(Fault::Alive(id.clone()).at(place)),
            (None, None, _) => return Err(Fault::Unknown(id.clone()).at(place)),
        };
        let epoch = after.epoch().ok_or_else(|| Fault::Exhausted(id.clone()).at(place))?;
        let key = source.create(id, after, &fresh_key()?)?;
        let secret = Arc::new(self.0.secret(id, epoch, key)?);
        if self.0.held(id).is_some() {
            let older = held.iter().filter(|held| held.epoch < epoch && Some(held.epoch) > destroyed).cloned();
            self.0.hold(id, std::iter::once(Arc::clone(&secret)).chain(older).collect());
        }
        Ok(secret)
    }

    /// Destroys an epoch and all before it; without an epoch the whole domain. Gives what was ended, which is as many
    /// epochs as there were to be ended. `shown`: what somebody was told would end; nothing else ends. Blocks.
    ///
    /// # Errors
    /// [`Fault::Unknown`], [`Fault::NotOld`], [`Fault::Changed`], or the source cannot be read or written.
    pub fn destroy(&self, id: &DomainId, through: Option<Epoch>, shown: Option<&[Epoch]>) -> Result<Vec<Epoch>, Error> {
        let _working = self.0.working();
        let (source, place) = (&*self.0.source, self.place());
        let state = source.state(id)?;
        if shown.is_some_and(|shown| *shown != *ending(&state, through)) {
            return Err(Fault::Changed(id.clone()).at(place));
        }
        let remains = source.remains()?.into_iter().filter_map(|(domain, epoch)| (domain == *id).then_some(epoch));
        let remains: Vec<Epoch> = remains.collect();
        let last = state.living.last().copied().max(state.lost());
        let State { living, destroyed, .. } = state;
        let whole = through.is_none();
        let through = match (through, last, destroyed) {
            // To finish what was cut off.
            (None, None, Some(through)) => through,
            (None, Some(last), _) => last,
            (Some(through), Some(last), _) if through < last => through,
            (Some(_), Some(_), _) => {
                let living = living.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(Fault::NotOld { domain: id.clone(), living }.at(place));
            }
            (Some(_), None, Some(_)) => return Err(Fault::Destroyed(id.clone()).at(place)),
            (_, None, None) => return Err(Fault::Unknown(id.clone()).at(place)),
        };
        source.destroy(id, through, whole)?;
        self.0.end(id, through);
        let mut ended = [remains, living].concat();
        ended.retain(|epoch| *epoch <= through);
        Ok(ended)
    }
}

/// The living epochs that would end.
#[must_use]
pub fn ending(state: &State, through: Option<Epoch>) -> Vec<Epoch> {
    state.living.iter().copied().filter(|epoch| through.is_none_or(|through| *epoch <= through)).collect()
}
