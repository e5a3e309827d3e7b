//! Which rule wins on a place, and what that makes of it.
//!
//! The whole of precedence is here, and nothing of bytes or states. Start at [`decide`]; what a place is asked:
//!
//! - **A leaf**: all selections whose path selects it, and those that reach into a container around it (`keep` of the whole,
//!   a transformation). The highest rank wins. A tie between different settings drops. Nobody: the default.
//! - **`null`**: as a leaf, but where a transformation wins it stays.
//! - **A container**: the highest rank among drop, null and replace that select the container itself, whatever the others
//!   say; what is in it then does not matter. Else it is walked, copied or cut by what can still happen in it.

use super::automaton::{Otherwise, Selection, Verb};
use super::nfa::{Nfa, Position, Selected, Stepped};

/// What becomes of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LeafFate {
    /// Its bytes stay.
    Keep = 0,
    /// It is removed.
    Drop = 1,
    /// `null` or a constant takes its place.
    Put = 2,
    /// The judge decides.
    Judge = 3,
    /// The document is refused.
    Unlisted = 4,
}

impl LeafFate {
    /// By its number; a number that is none refuses.
    #[inline(always)]
    pub(super) fn numbered(number: u64) -> Self {
        match number {
            0 => Self::Keep,
            1 => Self::Drop,
            2 => Self::Put,
            3 => Self::Judge,
            _ => Self::Unlisted,
        }
    }
}

/// What becomes of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ContainerFate {
    /// It stays with all that is in it; nothing in it is asked.
    Pass = 0,
    /// It is removed by a rule.
    Remove = 1,
    /// `null` or a constant takes its place.
    Put = 2,
    /// It is removed by default: nothing can be kept in it and no rule is asked in it.
    Cut = 3,
    /// It stays, and is walked.
    Show = 4,
    /// It is walked, and appears once something in it stays.
    Wait = 5,
    /// It is walked, because rules want to see what is in it, but nothing in it can stay.
    Sink = 6,
    /// The document is refused.
    Unlisted = 7,
}

impl ContainerFate {
    /// By its number; a number that is none refuses.
    #[inline(always)]
    pub(super) fn numbered(number: u64) -> Self {
        match number {
            0 => Self::Pass,
            1 => Self::Remove,
            2 => Self::Put,
            3 => Self::Cut,
            4 => Self::Show,
            5 => Self::Wait,
            6 => Self::Sink,
            _ => Self::Unlisted,
        }
    }
}

/// A fate, and who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ruling<F> {
    pub(super) fate: F,
    /// The selection; `None` where the default did.
    pub(super) by: Option<u32>,
    /// Does it count as a decision of that selection? What a `keep` of the whole keeps counts once, at the top.
    pub(super) counts: bool,
}

impl<F> Ruling<F> {
    fn default_of(fate: F) -> Self {
        Self { fate, by: None, counts: false }
    }
}

/// All that can become of one place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Action {
    pub(super) leaf: Ruling<LeafFate>,
    pub(super) null: Ruling<LeafFate>,
    pub(super) container: Ruling<ContainerFate>,
    /// The selections whose path selects the place.
    pub(super) matched: Box<[u32]>,
}

/// Decides a place from what led there.
pub(super) fn decide(selections: &[Selection], otherwise: Otherwise, nfa: &Nfa, stepped: &Stepped) -> Action {
    let place = Place { selections, otherwise, nfa, stepped };
    let leaf = place.leaf();
    let null = match leaf.fate {
        LeafFate::Judge => Ruling { fate: LeafFate::Keep, counts: false, ..leaf },
        _ => leaf,
    };
    let matched = stepped.selected.iter().map(|s| s.selection).collect();
    Action { leaf, null, container: place.container(), matched }
}

struct Place<'a> {
    selections: &'a [Selection],
    otherwise: Otherwise,
    nfa: &'a Nfa,
    stepped: &'a Stepped,
}

impl Place<'_> {
    fn selection(&self, number: u32) -> Option<&Selection> {
        self.selections.get(number as usize)
    }

    /// Selections that reach into the place, or that begin to here.
    fn inside(&self) -> impl Iterator<Item = u32> {
        self.nfa.split(&self.stepped.next).1
    }

    fn is_selected(&self, number: u32) -> Option<&Selected> {
        self.stepped.selected.iter().find(|s| s.selection == number)
    }

    fn leaf(&self) -> Ruling<LeafFate> {
        let selected = self.stepped.selected.iter().map(|s| s.selection);
        let Some((winner, verb)) = self.strictest(selected.chain(self.inside())) else {
            return Ruling::default_of(match self.otherwise {
                Otherwise::Keep => LeafFate::Keep,
                Otherwise::Drop => LeafFate::Drop,
                Otherwise::Refuse => LeafFate::Unlisted,
            });
        };
        let (fate, counts) = match verb {
            None | Some(Verb::Drop) => (LeafFate::Drop, true),
            Some(Verb::Keep { .. }) => (LeafFate::Keep, self.is_selected(winner).is_some()),
            Some(Verb::Null | Verb::Replace(_)) => (LeafFate::Put, true),
            Some(Verb::Transform) => (LeafFate::Judge, true),
        };
        Ruling { fate, by: Some(winner), counts }
    }

    fn container(&self) -> Ruling<ContainerFate> {
        let whole = |verb: &Verb| matches!(verb, Verb::Drop | Verb::Null | Verb::Replace(_));
        let selected = self.stepped.selected.iter().map(|s| s.selection);
        let whole = selected.filter(|number| self.selection(*number).is_some_and(|s| whole(&s.verb)));
        if let Some((winner, verb)) = self.strictest(whole) {
            let fate = match verb {
                Some(Verb::Null | Verb::Replace(_)) => ContainerFate::Put,
                _ => ContainerFate::Remove,
            };
            return Ruling { fate, by: Some(winner), counts: true };
        }
        let is_keep = |number: u32| self.selection(number).is_some_and(|s| matches!(s.verb, Verb::Keep { .. }));
        let is_drop = |number: u32| self.selection(number).is_some_and(|s| s.verb == Verb::Drop);
        let (under_way, mut inside) = self.nfa.split(&self.stepped.next);
        // Nothing but `keep` of the whole reaches below: then everything below is kept by it.
        let only_kept = under_way.is_empty() && inside.all(is_keep);
        let keeper = self.inside().find(|number| is_keep(*number));
        // Of what ends here only a transformation reaches below, beside the `keep` of the whole.
        let transforms = |s: &Selected| self.selection(s.selection).is_some_and(|s| s.verb == Verb::Transform);
        let mut named = self.stepped.selected.iter().any(|s| s.plain && transforms(s));
        let mut can_stay = self.inside().any(|number| !is_drop(number));
        for position in under_way.iter().filter_map(|id| self.nfa.position(*id)) {
            if let Position::At { plain, selection, except: false, .. } = position
                && !is_drop(selection)
            {
                (named, can_stay) = (named || plain, true);
            }
        }
        let dead = self.stepped.next.is_empty();
        let kept_by = |fate| match keeper {
            Some(number) => Ruling { fate, by: keeper, counts: self.is_selected(number).is_some() },
            None => Ruling::default_of(fate),
        };
        match self.otherwise {
            Otherwise::Keep if only_kept => kept_by(ContainerFate::Pass),
            Otherwise::Keep => kept_by(ContainerFate::Show),
            _ if keeper.is_some() && only_kept => kept_by(ContainerFate::Pass),
            _ if keeper.is_some() => kept_by(ContainerFate::Show),
            Otherwise::Refuse if dead => Ruling::default_of(ContainerFate::Unlisted),
            _ if dead => Ruling::default_of(ContainerFate::Cut),
            _ if !can_stay => Ruling::default_of(ContainerFate::Sink),
            _ if named => Ruling::default_of(ContainerFate::Show),
            _ => Ruling::default_of(ContainerFate::Wait),
        }
    }

    /// The winner; without a verb where a tie between different settings means drop.
    fn strictest(&self, candidates: impl Iterator<Item = u32>) -> Option<(u32, Option<&Verb>)> {
        let mut best: Option<(u32, &Selection, bool)> = None;
        for (number, selection) in candidates.filter_map(|n| Some((n, self.selection(n)?))) {
            best = match best {
                Some((first, winner, tied)) if winner.rank == selection.rank => {
                    let tied = tied || !agree(winner, selection);
                    if number < first { Some((number, selection, tied)) } else { Some((first, winner, tied)) }
                }
                Some(best) if best.1.rank > selection.rank => Some(best),
                _ => Some((number, selection, false)),
            };
        }
        best.map(|(number, selection, tied)| (number, (!tied).then_some(&selection.verb)))
    }
}

/// Do two selections of one rank ask for the same?
fn agree(a: &Selection, b: &Selection) -> bool {
    let same = match (&a.verb, &b.verb) {
        (Verb::Keep { .. }, Verb::Keep { .. }) => true,
        (a, b) => a == b,
    };
    same && a.settings == b.settings
}
