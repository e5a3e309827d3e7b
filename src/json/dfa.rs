//! The states of a program, made before a document needs them, shared by all documents.
//!
//! A cache over `nfa` and `decide`, nothing more: where it is full, steps are taken by hand ([`Found::Loose`]); for that a program
//! needs many tests at one place, others are not made if they do not fit. Reading takes no lock. Start at [`Machine::child`].
//!
//! A state is the set of positions in a container; an edge leads to a child and carries what becomes of it. Places that
//! nothing goes on from share one state, so that a thousand rules `$..name` are one state with a thousand edges.

pub(super) mod hot;
mod shelf;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::automaton::{Otherwise, Selection};
use super::decide::{Action, ContainerFate, LeafFate, decide};
use super::filter::reads::Reads;
use super::names::{Names, OTHER, Symbol, grain_of, is_plain};
use super::nfa::{Child, Nfa, PositionId, Stepped, Test, needs_length, reach};

use hot::Hot;
use shelf::Shelf;

/// A state of the shared cache.
pub(super) type StateId = u32;
type ActionId = u32;

/// Bounds of the cache. A program of a hundred rules has some hundred states; 4 MiB of cells are the most that a program takes.
const STATES_MAX: usize = 1 << 12;
const ACTIONS_MAX: usize = 1 << 14;
const CELLS_MAX: usize = 1 << 19;
/// Edges that a state with tests remembers.
const SLOTS: usize = 32;

/// An edge in one word: what becomes of the child, whether anybody counts it, its action and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge(u64);

impl Edge {
    const VALID: u64 = 1;
    const QUIET: u64 = 2;
    const LOOSE: u64 = 1 << 12;
    const LENGTH: u64 = 1 << 13;
    const LEAVES: u64 = Self::VALID | Self::QUIET | 7 << 2 | 7 << 5;

    fn new(action: &Action, action_id: ActionId, to: StateId, state: &State) -> Self {
        let quiet = action.matched.is_empty() && !action.leaf.counts && !action.null.counts && !action.container.counts;
        Self(
            Self::VALID
                | if quiet { Self::QUIET } else { 0 }
                | if state.asks_length { Self::LENGTH } else { 0 }
                | (action.leaf.fate as u64) << 2
                | (action.null.fate as u64) << 5
                | (action.container.fate as u64) << 8
                | u64::from(action_id) << 16
                | u64::from(to) << 40,
        )
    }

    /// To a place that the cache has no room for.
    pub(super) fn loose(action: &Action, state: &State) -> Self {
        Self(Self::new(action, 0, 0, state).0 | Self::LOOSE)
    }

    /// Does the child, if it is an array, have to be held for its length?
    #[inline]
    pub(super) fn asks_length(self) -> bool {
        self.0 & Self::LENGTH != 0
    }

    #[inline]
    pub(super) fn is_loose(self) -> bool {
        self.0 & Self::LOOSE != 0
    }

    #[inline(always)]
    fn read(cell: &AtomicU64) -> Option<Self> {
        let word = cell.load(Ordering::Acquire);
        (word & Self::VALID != 0).then_some(Self(word))
    }
    /// Neither matched nor counted by any selection.
    #[inline]
    pub(super) fn is_quiet(self) -> bool {
        self.0 & Self::QUIET != 0
    }
    #[inline(always)]
    pub(super) fn leaf(self) -> LeafFate {
        LeafFate::numbered(self.0 >> 2 & 7)
    }
    #[inline(always)]
    pub(super) fn null(self) -> LeafFate {
        LeafFate::numbered(self.0 >> 5 & 7)
    }
    #[inline(always)]
    pub(super) fn container(self) -> ContainerFate {
        ContainerFate::numbered(self.0 >> 8 & 7)
    }
    /// Does every leaf stay, and nobody counts it?
    #[inline(always)]
    pub(super) fn leaves_stay(self) -> bool {
        self.0 & Self::LEAVES == Self::VALID | Self::QUIET | (LeafFate::Keep as u64) << 2 | (LeafFate::Keep as u64) << 5
    }
    /// Does every leaf go, and nobody counts it?
    #[inline(always)]
    pub(super) fn leaves_go(self) -> bool {
        self.0 & Self::LEAVES == Self::VALID | Self::QUIET | (LeafFate::Drop as u64) << 2 | (LeafFate::Drop as u64) << 5
    }
    /// Does every leaf stay, `null` too?
    #[inline(always)]
    pub(super) fn leaves_keep(self) -> bool {
        self.0 & (7 << 2 | 7 << 5) == (LeafFate::Keep as u64) << 2 | (LeafFate::Keep as u64) << 5
    }
    /// Does every leaf go, `null` too?
    #[inline(always)]
    pub(super) fn leaves_drop(self) -> bool {
        self.0 & (7 << 2 | 7 << 5) == (LeafFate::Drop as u64) << 2 | (LeafFate::Drop as u64) << 5
    }
    #[inline]
    pub(super) fn action(self) -> ActionId {
        (self.0 >> 16) as u32 & 0xff_ffff
    }
    #[inline]
    pub(super) fn to(self) -> StateId {
        (self.0 >> 40) as u32
    }
}

/// Positions in a container, with what a walker wants to know at every child.
#[derive(Debug)]
pub(super) struct State {
    set: Box<[PositionId]>,
    /// Bit n: a mentioned name has n bytes (63: or more). A name of another length is [`OTHER`].
    pub(super) lengths: u64,
    /// Bit n: a mentioned name has n as its [`names::grain`](super::names::grain). A name of another grain is [`OTHER`], and where
    /// names are folded a [plain](is_plain) one.
    sieve: u64,
    folds: bool,
    /// The symbols that lead elsewhere than [`OTHER`] does, sorted; empty if `cells` has all.
    symbols: Box<[Symbol]>,
    cells: Box<[AtomicU64]>,
    element: AtomicU64,
    /// The tests that are asked here, sorted.
    pub(super) tests: Box<[u32]>,
    pub(super) asks_filter: bool,
    pub(super) asks_length: bool,
    /// What its filters read of a child; `None` where all of it must be laid out, because more is asked below.
    pub(super) reads: Option<Box<Reads>>,
    /// How many elements have to be seen behind one to decide it; `None` where the whole array has to be held.
    pub(super) reach: Option<u64>,
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
struct Slot {
    symbol: AtomicU64,
    truth: AtomicU64,
    edge: AtomicU64,
}

/// The answers to a state's tests: bit n for the n-th of them.
pub(super) type Truth = u64;
/// More tests than this in one state and its edges are not remembered.
const TRUTH_BITS: usize = 64;

/// Which child, for the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChildKey {
    Member(Symbol),
    Element,
}

/// Where an edge leads.
#[derive(Debug)]
pub(super) enum Found {
    /// Into the cache.
    Edge(Edge),
    /// Beside the cache, which is full.
    Loose(Box<Action>, Box<State>),
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) nfa: Nfa,
    pub(super) names: Names,
    otherwise: Otherwise,
    states: Shelf<State>,
    actions: Shelf<Action>,
    made: Mutex<Made>,
    root: OnceLock<Edge>,
    /// Of the states that were made with the program, by their number.
    hot: Box<[Option<Hot>]>,
}

/// What has been made already.
#[derive(Debug, Default)]
struct Made {
    states: HashMap<Box<[PositionId]>, StateId>,
    actions: HashMap<Action, ActionId>,
    cells: usize,
    /// A state did not fit; no other is tried.
    full: bool,
}

impl Machine {
    pub(super) fn new(nfa: Nfa, names: Names, otherwise: Otherwise) -> Self {
        let (states, actions) = (Shelf::new(), Shelf::new());
        Self {
            nfa,
            names,
            otherwise,
            states,
            actions,
            made: Mutex::default(),
            root: OnceLock::new(),
            hot: Box::default(),
        }
    }

    #[inline(always)]
    pub(super) fn state(&self, id: StateId) -> Option<&State> {
        self.states.get(id)
    }

    #[inline]
    pub(super) fn action(&self, id: ActionId) -> Option<&Action> {
        self.actions.get(id)
    }

    /// To the root of a document. The cache has room for its first state, so this is never loose.
    pub(super) fn root(&self, selections: &[Selection]) -> Option<Edge> {
        if let Some(edge) = self.root.get() {
            return Some(*edge);
        }
        match self.admit(selections, self.nfa.root()) {
            Found::Edge(edge) => Some(*self.root.get_or_init(|| edge)),
            Found::Loose(..) => None,
        }
    }

    /// Makes the states and edges that documents can lead to. False if there are more than the cache has room for.
    pub(super) fn explore(&mut self, selections: &[Selection]) -> bool {
        let explored = self.make(selections);
        self.hot = (0..).map_while(|id| self.state(id)).map(|state| Hot::of(self, state)).collect();
        explored
    }

    /// Is most of a document asked about, because what is not is removed?
    #[inline(always)]
    pub(super) fn asks(&self) -> bool {
        self.otherwise != Otherwise::Keep
    }

    /// What the tightest loop asks of a state; `None` where it is none for that loop.
    #[inline(always)]
    pub(super) fn hot(&self, id: StateId) -> Option<&Hot> {
        self.hot.get(id as usize)?.as_ref()
    }

    fn make(&self, selections: &[Selection]) -> bool {
        let mut next = 0;
        if self.root(selections).is_none() {
            return false;
        }
        while let Some(state) = self.state(next) {
            next += 1;
            let mut truths: Vec<Vec<Truth>> = vec![vec![0; state.truth_words()]];
            // All answers of a few tests; of many, each test alone and all together.
            match state.tests.len() {
                0 => {}
                few @ ..=3 => truths.extend((1..1 << few).map(|answers| vec![answers])),
                many => {
                    truths.extend((0..many).map(|n| {
                        let word = |word| if n / TRUTH_BITS == word { 1 << (n % TRUTH_BITS) } else { 0 };
                        (0..state.truth_words()).map(word).collect()
                    }));
                    truths.push(vec![Truth::MAX; state.truth_words()]);
                }
            }
            for truth in &truths {
                let children = state.asked(&self.names).map(ChildKey::Member).chain([ChildKey::Element]);
                for child in children {
                    if matches!(self.child(selections, state, child, truth), Found::Loose(..)) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// To a child, where no test is asked, if the edge is known.
    #[inline(always)]
    pub(super) fn known(&self, state: &State, child: ChildKey) -> Option<Edge> {
        match child {
            ChildKey::Member(symbol) => state.cell(symbol).and_then(Edge::read),
            ChildKey::Element => Edge::read(&state.element),
        }
    }

    /// To a child. `truth` answers the state's tests, in their order.
    pub(super) fn child(&self, selections: &[Selection], state: &State, child: ChildKey, truth: &[Truth]) -> Found {
        let tested = truth.iter().any(|word| *word != 0);
        if !tested && let Some(edge) = self.known(state, child) {
            return Found::Edge(edge);
        }
        let slot = match truth {
            [truth] if tested => {
                let key = child.key();
                for slot in &state.slots {
                    let Some(edge) = Edge::read(&slot.edge) else { break };
                    if slot.truth.load(Ordering::Relaxed) == *truth && slot.symbol.load(Ordering::Relaxed) == key {
                        return Found::Edge(edge);
                    }
                }
                Some((key, *truth))
            }
            _ => None,
        };
        let kind = match child {
            ChildKey::Member(symbol) => Child::Member(symbol, self.names.mention(symbol)),
            ChildKey::Element => Child::Element,
        };
        let holds = |test: u32| match state.tests.binary_search(&test) {
            Ok(n) => truth.get(n / TRUTH_BITS).is_some_and(|word| word >> (n % TRUTH_BITS) & 1 == 1),
            Err(_) => false,
        };
        let found = self.admit(selections, self.nfa.step(&state.set, kind, &holds));
        if let Found::Edge(edge) = &found {
            match (slot, child) {
                (Some((key, truth)), _) => self.remember(state, key, truth, *edge),
                (None, _) if tested => {}
                (None, ChildKey::Member(symbol)) => {
                    if let Some(cell) = state.cell(symbol) {
                        cell.store(edge.0, Ordering::Release);
                    }
                }
                (None, ChildKey::Element) => state.element.store(edge.0, Ordering::Release),
            }
        }
        found
    }

    fn remember(&self, state: &State, key: u64, truth: Truth, edge: Edge) {
        // Under the lock, so that no two threads write one slot; the edge is written last.
        let _made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = state.slots.iter().find(|slot| Edge::read(&slot.edge).is_none()) {
            slot.symbol.store(key, Ordering::Relaxed);
            slot.truth.store(truth, Ordering::Relaxed);
            slot.edge.store(edge.0, Ordering::Release);
        }
    }

    fn admit(&self, selections: &[Selection], stepped: Stepped) -> Found {
        let action = decide(selections, self.otherwise, &self.nfa, &stepped);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let action_id = match made.actions.get(&action) {
            Some(id) => Some(*id),
            None => self.actions.push(ACTIONS_MAX, action.clone()).inspect(|id| {
                made.actions.insert(action.clone(), *id);
            }),
        };
        let state_id = match (action_id, made.states.get(&*stepped.next)) {
            (None, _) => None,
            (_, Some(id)) => Some(*id),
            (_, None) if made.full => None,
            (_, None) => {
                let state = State::new(&self.nfa, &self.names, &stepped.next, true);
                made.cells += state.cells.len() + 4 * state.slots.len();
                let fits = made.cells <= CELLS_MAX;
                let id = fits.then(|| self.states.push(STATES_MAX, state)).flatten();
                made.full = id.is_none();
                id.inspect(|id| {
                    made.states.insert(stepped.next.clone().into_boxed_slice(), *id);
                })
            }
        };
        match (action_id, state_id.and_then(|id| Some((id, self.state(id)?)))) {
            (Some(action_id), Some((id, state))) => Found::Edge(Edge::new(&action, action_id, id, state)),
            _ => {
                let state = State::new(&self.nfa, &self.names, &stepped.next, false);
                Found::Loose(Box::new(action), Box::new(state))
            }
        }
    }
}

impl ChildKey {
    fn key(self) -> u64 {
        match self {
            Self::Member(symbol) => u64::from(symbol),
            Self::Element => u64::MAX,
        }
    }
}

impl State {
    fn new(nfa: &Nfa, names: &Names, set: &[PositionId], remembers: bool) -> Self {
        // What does not remember need not know the names: each is looked up.
        let (asked, tests) = if remembers || !nfa.tests().is_empty() { nfa.questions(set) } else { Default::default() };
        let (mut lengths, mut sieve) = (0_u64, 0_u64);
        let mut symbols: Vec<Symbol> = Vec::new();
        let folds = asked.iter().any(|(_, folded)| *folded);
        for symbol in asked.iter().flat_map(|(number, folded)| names.symbols_of(*number, *folded)) {
            let Some(mention) = names.mention(symbol) else { continue };
            // A folded name answers to spellings of every length.
            lengths |= if folds { u64::MAX } else { 1 << mention.text.len().min(63) };
            sieve |= mention.grains().fold(0, |sieve, (_, grain)| sieve | 1 << grain);
            symbols.push(symbol);
        }
        if remembers {
            symbols.sort_unstable();
            symbols.dedup();
        } else {
            (lengths, sieve, symbols) = (u64::MAX, u64::MAX, Vec::new());
        }
        let dense = symbols.len() * 4 >= names.len();
        let cells = match (remembers, dense) {
            (false, _) => 0,
            (true, true) => names.len(),
            (true, false) => symbols.len() + 1,
        };
        let test = |number: &u32| nfa.tests().get(*number as usize);
        let asks_filter = tests.iter().filter_map(test).any(|test| matches!(test, Test::Filter(_)));
        let filters = tests.iter().filter_map(test).filter_map(|test| match test {
            Test::Filter(filter) => Some(filter),
            _ => None,
        });
        let reads = (asks_filter && !nfa.asks_below(set)).then(|| Box::new(Reads::of(filters)));
        let reach = nfa.looks_ahead(set).then(|| tests.iter().filter_map(test).map(reach).max().unwrap_or(0));
        let slots = if remembers && !tests.is_empty() && tests.len() <= TRUTH_BITS { SLOTS } else { 0 };
        Self {
            set: set.into(),
            lengths,
            sieve,
            folds,
            symbols: if dense { Box::default() } else { symbols.into() },
            cells: std::iter::repeat_with(AtomicU64::default).take(cells).collect(),
            element: AtomicU64::default(),
            asks_filter,
            asks_length: tests.iter().filter_map(test).any(needs_length),
            reads,
            reach,
            tests: tests.into(),
            slots: std::iter::repeat_with(Slot::default).take(slots).collect(),
        }
    }

    fn remembers(&self) -> bool {
        !self.cells.is_empty()
    }

    /// A symbol for each way that members can go.
    fn asked<'a>(&'a self, names: &Names) -> impl Iterator<Item = Symbol> + use<'a> {
        let all = if self.symbols.is_empty() && self.cells.len() > 1 { number(names.len()) } else { 1 };
        (OTHER..all).chain(self.symbols.iter().copied())
    }

    /// Words of answers that its tests need.
    pub(super) fn truth_words(&self) -> usize {
        self.tests.len().div_ceil(TRUTH_BITS)
    }

    /// May this name, unescaped, be a mentioned one? Most are told apart by their length and their ends.
    #[inline(always)]
    pub(super) fn may_mention(&self, name: &[u8]) -> bool {
        self.sieve >> grain_of(name) & 1 == 1 && self.may_have_length(name)
            || self.folds && !is_plain(name, 0, name.len())
    }

    #[inline(always)]
    pub(super) fn may_have_length(&self, name: &[u8]) -> bool {
        self.lengths >> name.len().min(63) & 1 == 1
    }

    #[inline(always)]
    fn cell(&self, symbol: Symbol) -> Option<&AtomicU64> {
        if symbol == OTHER {
            return self.cells.first();
        }
        if self.symbols.is_empty() {
            // All symbols, or none but the others: then the first cell stands for every one.
            return self.cells.get(symbol as usize).or_else(|| self.cells.first());
        }
        match self.symbols.len() {
            0..=8 => match self.symbols.iter().position(|known| *known == symbol) {
                Some(n) => self.cells.get(n + 1),
                None => self.cells.first(),
            },
            _ => match self.symbols.binary_search(&symbol) {
                Ok(n) => self.cells.get(n + 1),
                Err(_) => self.cells.first(),
            },
        }
    }
}

fn number(len: usize) -> Symbol {
    Symbol::try_from(len).unwrap_or(Symbol::MAX)
}
