//! All paths of a leg as one machine.

use std::sync::Arc;

use super::Limits;
use super::path::{Class, Path};

/// What the engine does with a place. The order of strictness comes from the policy as `rank`.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// Leaves the bytes as they were. Of a container only with `whole`.
    Keep {
        /// Containers too, with all that is in them.
        whole: bool,
    },
    /// Removes the member or element (of the root: `null`). Whole value, containers too.
    Drop,
    /// Puts `null`. Whole value, containers and null too.
    Null,
    /// Puts these bytes (one JSON value). Whole value, containers and null too.
    Replace(Arc<[u8]>),
    /// Each leaf in it is given to the `Judge`; `null` stays as it is.
    Transform,
}

/// One rule's body half. Its number is its index in the list given to [`Program::new`].
#[derive(Clone, Debug)]
pub struct Selection {
    /// Where.
    pub path: Path,
    /// Places taken out of the rule, each with everything below it.
    pub except: Vec<Path>,
    /// What.
    pub verb: Verb,
    /// Higher is stricter; on one place the strictest selection wins.
    pub rank: u8,
    /// Two selections of one rank with different `settings` on one place: the value is dropped.
    pub settings: u32,
    /// Names are compared folded (`default = "keep"`, never for a `Keep`).
    pub folded: bool,
}

/// What happens to a leaf that no selection reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It stays.
    Keep,
    /// It is removed.
    Drop,
    /// The document is refused (`FaultKind::Unlisted`).
    Refuse,
}

/// All selections of a leg, ready to run. Shared by every exchange.
#[derive(Debug)]
pub struct Program {}

/// Why a program was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// The selections together pass the bound; these are the dear ones.
    TooComplex {
        /// Their numbers.
        selections: Vec<usize>,
    },
}

impl Program {
    /// Compiles the selections.
    pub fn new(selections: Vec<Selection>, otherwise: Otherwise, limits: Limits) -> Result<Self, ProgramError> {
        let _ = (selections, otherwise, limits);
        todo!()
    }
    /// The dearest class among the paths.
    pub fn class(&self) -> Class {
        todo!()
    }
    /// As given to [`Program::new`].
    pub fn selections(&self) -> &[Selection] {
        todo!()
    }
}
