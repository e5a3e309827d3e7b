//! All paths of a leg as one machine: what goes in.
//!
//! What it means that two rules meet is in `decide`, how paths move over a document in `nfa`, how that is made fast in
//! `dfa`. Start at [`Program::new`].

use std::sync::Arc;

use super::Limits;
use super::dfa::{ChildKey, Edge, Machine, StateId};
use super::judge::is_json;
use super::names::Symbol;
use super::nfa::{Nfa, Test};
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
///
/// Its states are made with it, at most 4 MiB of them, so that no document can make new ones. Only where many tests (filters,
/// indices, slices) are asked at one place are those left that several answers together lead to: they are made when a document needs them,
/// and beyond the bound it goes on without remembering.
#[derive(Debug)]
pub struct Program {
    pub(super) machine: Machine,
    pub(super) selections: Vec<Selection>,
    pub(super) limits: Limits,
    /// A filter reads `$`, so the body is held before anything is decided.
    pub(super) holds_body: bool,
    class: Class,
}

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
    /// Compiles the selections. A constant that is no JSON value is taken for a drop.
    ///
    /// # Errors
    /// [`ProgramError::TooComplex`] where the paths together have more than 32,768 segments, or multiply: where what they can be in the
    /// middle of comes to more than 4,096 different sets of places. So `$..a..b` for twelve pairs of names is too much, or `$..a`
    /// with twelve wildcards behind it; for paths that begin alike (`$..items..price`, `$..items..sku`) it is not.
    pub fn new(selections: Vec<Selection>, otherwise: Otherwise, limits: Limits) -> Result<Self, ProgramError> {
        let mut selections = selections;
        for selection in &mut selections {
            // What is no JSON would break the document that it is put into.
            if matches!(&selection.verb, Verb::Replace(bytes) if !is_json(bytes)) {
                selection.verb = Verb::Drop;
            }
        }
        let (nfa, names) = Nfa::new(&selections).map_err(|selections| ProgramError::TooComplex { selections })?;
        let paths = selections.iter().flat_map(|s| std::iter::once(&s.path).chain(&s.except));
        let class = paths.map(Path::class).max().unwrap_or(Class::Stream);
        let holds_body = nfa.tests().iter().any(|test| matches!(test, Test::Filter(filter) if filter.reads_root()));
        let mut machine = Machine::new(nfa, names, otherwise);
        if !machine.explore(&selections) {
            return Err(ProgramError::TooComplex { selections: machine.nfa.dearest(&selections) });
        }
        Ok(Self { machine, selections, limits, holds_body, class })
    }

    /// The dearest class among the paths.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// As given to [`Program::new`].
    #[must_use]
    pub fn selections(&self) -> &[Selection] {
        &self.selections
    }

    /// The symbol of a member's name, and the edge to the member, if that was made.
    #[inline(never)]
    pub(super) fn mention(&self, state: StateId, name: &[u8]) -> Option<(Symbol, Edge)> {
        let symbol = self.machine.names.find(name);
        let edge = self.machine.known(self.machine.state(state)?, ChildKey::Member(symbol))?;
        Some((symbol, edge))
    }

    /// What a selection puts in place of what it selects.
    pub(super) fn constant(&self, selection: u32) -> &[u8] {
        match self.selections.get(selection as usize).map(|s| &s.verb) {
            Some(Verb::Replace(bytes)) => bytes,
            _ => b"null",
        }
    }
}
