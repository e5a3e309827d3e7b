//! A state as the tightest loop wants it: few words, side by side.
//!
//! Made once, with the program. Start at [`Hot::find`].

use std::borrow::Cow;

use super::super::names::{self, Key, OTHER, Sieve, Symbol, grain_of, is_plain};
use super::{ChildKey, Edge, Machine, State};

/// What the tightest loop asks of a state that asks no tests.
#[derive(Debug)]
pub(in crate::json) struct Hot {
    /// Of the names that are asked.
    sieve: Sieve,
    /// Are names compared folded? Then the sieve tells plain ones apart only.
    folds: bool,
    /// See [`State`].
    pub(in crate::json) lengths: u64,
    /// To a member with a name that no path mentions, and to an element.
    pub(in crate::json) member: Edge,
    pub(in crate::json) element: Edge,
    /// The names that lead elsewhere, if they are few and short.
    few: Option<Box<Few>>,
}

/// Names by their grain.
#[derive(Debug)]
struct Few {
    /// By grain: the number of the first name, from 1.
    first: [u8; 64],
    names: Vec<Asked>,
}

/// A name that is asked in a state.
#[derive(Debug)]
struct Asked {
    key: Key,
    symbol: Symbol,
    edge: Edge,
    /// The next name of the same grain, from 1.
    next: u8,
}

impl Hot {
    /// More names than this are looked up in the table of all.
    const FEW: usize = 32;

    /// `None` where tests are asked, or an edge is not known.
    pub(in crate::json) fn of(machine: &Machine, state: &State) -> Option<Self> {
        if !state.tests.is_empty() {
            return None;
        }
        let (member, element) =
            (machine.known(state, ChildKey::Member(OTHER))?, machine.known(state, ChildKey::Element)?);
        let mut few = Some(Few { first: [0; 64], names: Vec::new() });
        for symbol in state.asked(&machine.names) {
            let Some(mention) = machine.names.mention(symbol) else { continue };
            let edge = machine.known(state, ChildKey::Member(symbol))?;
            if edge == member {
                continue;
            }
            let name = if state.folds { mention.folded() } else { Cow::Borrowed(&*mention.text) };
            let fits = state.folds <= machine.names.only_folds() && name.len() <= Key::WHOLE;
            few = few.filter(|few| fits && few.names.len() < Self::FEW);
            few.iter_mut().for_each(|few| few.add(name.as_bytes(), symbol, edge));
        }
        let few = few.map(Box::new);
        let asked = state.asked(&machine.names).filter_map(|symbol| machine.names.mention(symbol));
        let sieve = if state.remembers() { Sieve::of(asked) } else { Sieve::open() };
        Some(Self { sieve, folds: state.folds, lengths: state.lengths, member, element, few })
    }

    /// May the name of `len` bytes at `at`, which begins and ends so and has this grain, be one that is asked?
    /// `FOLDS`: it is not known that no name is folded.
    #[inline(always)]
    pub(in crate::json) fn may_ask<const FOLDS: bool>(
        &self,
        bytes: &[u8],
        (at, len): (usize, usize),
        (initial, last): (u8, u8),
        grain: u32,
    ) -> bool {
        self.sieve.lets(initial, grain)
            || FOLDS && self.folds && (initial == b' ' || last == b' ' || !names::is_printable(bytes, at, len))
    }

    /// The symbol of the name of `len` bytes and this grain at `at`, and the edge to its member. `None`: not known here.
    #[inline(always)]
    pub(in crate::json) fn find<const FOLDS: bool>(
        &self,
        bytes: &[u8],
        at: usize,
        len: usize,
        grain: u32,
    ) -> Option<(Symbol, Edge)> {
        let (few, mut key, mut grain) = (self.few.as_ref()?, Key::at(bytes, at, len)?, grain);
        if FOLDS && self.folds {
            // What folding takes more for is looked up in the table of all.
            if !is_plain(bytes, at, len) {
                return None;
            }
            let ends =
                (bytes.get(at)?.to_ascii_lowercase(), bytes.get((at + len).wrapping_sub(1))?.to_ascii_lowercase());
            (key, grain) = (key.lower(), names::grain(len, ends));
        }
        let mut number = few.first.get(grain as usize & 63).copied()?;
        while let Some(asked) = few.names.get(usize::from(number).wrapping_sub(1)) {
            if asked.key == key {
                return Some((asked.symbol, asked.edge));
            }
            number = asked.next;
        }
        Some((OTHER, self.member))
    }
}

impl Few {
    fn add(&mut self, name: &[u8], symbol: Symbol, edge: Edge) {
        if let Some(first) = self.first.get_mut(grain_of(name) as usize) {
            self.names.push(Asked { key: Key::new(name), symbol, edge, next: *first });
            *first = u8::try_from(self.names.len()).unwrap_or(0);
        }
    }
}
