//! What a walk counts: who decided, who matched; and what it keeps from one value to the next.
//!
//! Uses of the cache's actions are counted by action and spread over the selections once a feed. Start at [`Tally::hit`].

use super::FaultKind;
use super::automaton::Program;
use super::decide::Action;
use super::dfa::{Edge, State};
use super::window::Budget;

/// What the walk counts and keeps beside its place.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Vec<u64>,
    pub(super) matched: Vec<u64>,
    /// Uses of each ruling of each action, one behind the other, since the counts were brought up to date; and which are not zero.
    hits: Vec<u64>,
    hit: Vec<usize>,
    pub(super) failed: Option<usize>,
    /// Filter steps left.
    pub(super) steps: u64,
    /// Leaves that may still be transformed.
    leaves: u64,
    /// Bytes that may still be added.
    growth: u64,
    /// States of open containers that the cache has no room for.
    pub(super) loose: Vec<State>,
    /// The last edge, where the cache had no room for it.
    pub(super) found: Option<(Box<Action>, Box<State>)>,
    /// Answers to the tests of a state.
    pub(super) truth: Vec<u64>,
}

impl Tally {
    /// For the first document of a program.
    pub(super) fn begin(&mut self, program: &Program) {
        for counts in [&mut self.counts, &mut self.matched] {
            counts.clear();
            counts.resize(program.selections.len(), 0);
        }
        self.hits.clear();
        self.hit.clear();
        self.restart(program);
    }

    /// How much it has grown.
    pub(super) fn room(&self) -> usize {
        self.counts.capacity().max(self.hits.capacity())
    }

    /// For the next document: what was counted stays.
    pub(super) fn restart(&mut self, program: &Program) {
        self.matched.fill(0);
        self.failed = None;
        self.steps = program.limits.filter_steps;
        (self.leaves, self.growth) = (program.limits.leaves, program.limits.growth_bytes);
        self.loose.clear();
        self.found = None;
    }

    /// What is left.
    pub(super) fn budget(&self) -> Budget {
        Budget { filter_steps: self.steps, leaves: self.leaves, growth: self.growth }
    }

    /// Allows no more than this.
    pub(super) fn limit(&mut self, budget: Budget) {
        (self.steps, self.leaves, self.growth) = (budget.filter_steps, budget.leaves, budget.growth);
    }

    /// A leaf is to be transformed.
    pub(super) fn spend_leaf(&mut self) -> Result<(), FaultKind> {
        self.leaves = self.leaves.checked_sub(1).ok_or(FaultKind::Leaves)?;
        Ok(())
    }

    /// So many bytes are put where there were so many.
    #[inline]
    pub(super) fn grow(&mut self, to: usize, from: usize) -> Result<(), FaultKind> {
        self.growth = self.growth.checked_sub(to.saturating_sub(from) as u64).ok_or(FaultKind::Growth)?;
        Ok(())
    }

    /// A ruling of an edge in the cache was used.
    #[inline]
    pub(super) fn hit(&mut self, edge: Edge, ruled: Ruled) {
        let place = edge.action() as usize * 3 + ruled as usize;
        match self.hits.get_mut(place) {
            Some(hits) => {
                if *hits == 0 {
                    self.hit.push(place);
                }
                *hits += 1;
            }
            None => self.first_hit(place),
        }
    }

    #[cold]
    fn first_hit(&mut self, place: usize) {
        self.hits.resize(place + 1, 0);
        if let Some(hits) = self.hits.get_mut(place) {
            self.hit.push(place);
            *hits = 1;
        }
    }

    /// Brings the counts up to date.
    pub(super) fn settle(&mut self, program: &Program) {
        for place in self.hit.drain(..) {
            let Some(hits) = self.hits.get_mut(place) else { continue };
            let times = std::mem::take(hits);
            let Some(action) = u32::try_from(place / 3).ok().and_then(|id| program.machine.action(id)) else {
                continue;
            };
            let ruled = match place % 3 {
                0 => Ruled::Leaf,
                1 => Ruled::Null,
                _ => Ruled::Container,
            };
            add(&mut self.counts, &mut self.matched, action, ruled, times);
        }
    }
}

/// Which ruling of an action was used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruled {
    Leaf = 0,
    Null = 1,
    Container = 2,
}

/// Adds one ruling of an action to the counts.
pub(super) fn add(counts: &mut [u64], matched: &mut [u64], action: &Action, ruled: Ruled, times: u64) {
    for selection in &action.matched {
        if let Some(count) = matched.get_mut(*selection as usize) {
            *count += times;
        }
    }
    let (by, decided) = match ruled {
        Ruled::Leaf => (action.leaf.by, action.leaf.counts),
        Ruled::Null => (action.null.by, action.null.counts),
        Ruled::Container => (action.container.by, action.container.counts),
    };
    if decided && let Some(count) = by.and_then(|by| counts.get_mut(by as usize)) {
        *count += times;
    }
}
