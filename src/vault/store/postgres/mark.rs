//! By what a database is known again: one row, written with the tables, and never changed.
//!
//! A database that was made anew, restored from before there was a vault, or taken for another, would give new tokens for values that partners
//! hold tokens of, and nobody would notice. It lacks the mark, or has another one: looked for on each new connection. Start at [`Mark::check`].

use std::sync::OnceLock;

use super::Settings;
use super::failure::Failure;

const MEND: &str = "known values would get new tokens there, and the old ones could not be turned back: look at `vault.postgres.url`, restore a backup, \
                    or see docs/operations.md, \"A server that lost what it kept\"";

/// The mark, as far as it is known.
#[derive(Debug)]
pub(super) struct Mark(OnceLock<String>);

impl Mark {
    /// As it is remembered, if it is.
    pub(super) fn new(settings: &Settings) -> Self {
        let known = settings.memo.as_ref().and_then(|memo| memo.known(&settings.address.place()));
        Self(known.map_or_else(OnceLock::new, OnceLock::from))
    }

    /// Whether tables may be made where there are none.
    pub(super) fn may_be_new(&self) -> Result<(), Failure> {
        match self.0.get() {
            None => Ok(()),
            Some(_) => lost("the vault's tables are not there any more"),
        }
    }

    /// Whether this is the mark, if it is known; from now on it is.
    pub(super) fn check(&self, settings: &Settings, found: String) -> Result<(), Failure> {
        if self.0.get_or_init(|| found.clone()) != &found {
            return lost("it has the mark of another vault than before");
        }
        if let Some(memo) = &settings.memo {
            memo.note(&settings.address.place(), &found);
        }
        Ok(())
    }
}

fn lost<T>(found: &str) -> Result<T, Failure> {
    Err(Failure::Unfit { found: found.into(), wanted: MEND, passing: false })
}
