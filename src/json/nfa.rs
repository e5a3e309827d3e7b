//! All paths of a program side by side: sets of positions and how they move from a container to its child.
//!
//! The truth that `dfa` caches. It does not know verbs beyond whether they reach into what they select. Start at
//! [`Nfa::step`].
//!
//! A position is a place in one path, behind some of its segments. It is *plain* while only names and indices led there;
//! behind a wildcard, a slice, a filter or `..` it is not. `Inside` stands for everything below a place that a `keep` of the
//! whole or a transformation selected.

use super::automaton::{Selection, Verb};
use super::filter::Filter;
use super::names::{Collector, Mention, Names, Symbol};
use super::path::{Path, Selector};

/// A number for a position; sets of them are sorted.
pub(super) type PositionId = u32;

/// Bound on positions. 1,000 rules of ten segments have 22,000.
const POSITIONS_MAX: usize = 1 << 16;

/// What a position is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Position {
    /// In a path of the selection, or in one of its exceptions, behind `step` of its segments.
    At { line: u32, step: u32, plain: bool, selection: u32, except: bool },
    /// Below a place that this selection selected whole.
    Inside { selection: u32 },
}

/// One path of a selection: where it applies, or what is excepted.
#[derive(Debug)]
struct Line {
    selection: u32,
    except: bool,
    folded: bool,
    steps: Vec<Step>,
    /// Its first position.
    base: PositionId,
}

#[derive(Debug)]
struct Step {
    descendant: bool,
    picks: Vec<Pick>,
}

#[derive(Clone, Copy, Debug)]
enum Pick {
    Name(u32),
    Any,
    Test(u32),
}

/// A selector that asks more than the name: the element's index, the array's length or the value itself.
#[derive(Debug, PartialEq)]
pub(super) enum Test {
    Index(i64),
    Slice { start: Option<i64>, end: Option<i64>, step: i64 },
    Filter(Filter),
}

/// Which child.
#[derive(Clone, Copy, Debug)]
pub(super) enum Child<'a> {
    /// A member, with what its symbol answers to; `None` for a name that no path mentions.
    Member(Symbol, Option<&'a Mention>),
    /// An element.
    Element,
}

/// A place that a path selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Selected {
    pub(super) selection: u32,
    /// Names and indices alone led here.
    pub(super) plain: bool,
}

/// What a step gives.
#[derive(Debug, Default)]
pub(super) struct Stepped {
    /// Positions in the child, sorted.
    pub(super) next: Vec<PositionId>,
    /// The selections whose path selects the child, sorted, each once.
    pub(super) selected: Vec<Selected>,
}

#[derive(Debug)]
pub(super) struct Nfa {
    lines: Vec<Line>,
    positions: Vec<Position>,
    /// The first `Inside`.
    inside: PositionId,
    /// By selection: does it reach into the containers that it selects?
    reaches: Vec<bool>,
    tests: Vec<Test>,
    has_exceptions: bool,
    /// By position: the one that goes on in every child, if one does.
    lasting: Vec<Option<PositionId>>,
    /// By symbol: the positions that name it and ask nothing else.
    naming: Vec<Vec<PositionId>>,
    /// The positions that may move on at any child.
    asking: Vec<PositionId>,
}

impl Nfa {
    /// Lays out the paths. `Err` has the selections with the most positions, the dearest first.
    pub(super) fn new(selections: &[Selection]) -> Result<(Self, Names), Vec<usize>> {
        let mut names = Collector::default();
        let mut nfa = Self {
            lines: Vec::new(),
            positions: Vec::new(),
            inside: 0,
            reaches: Vec::new(),
            tests: Vec::new(),
            has_exceptions: selections.iter().any(|selection| !selection.except.is_empty()),
            lasting: Vec::new(),
            naming: Vec::new(),
            asking: Vec::new(),
        };
        for (number, selection) in (0..).zip(selections) {
            nfa.lay(&mut names, number, false, selection.folded, &selection.path);
            for except in &selection.except {
                // Never folded: a fold would widen the exception.
                nfa.lay(&mut names, number, true, false, except);
            }
            nfa.reaches.push(matches!(selection.verb, Verb::Keep { whole: true } | Verb::Transform));
        }
        nfa.inside = id(nfa.positions.len());
        nfa.positions.extend((0..id(selections.len())).map(|selection| Position::Inside { selection }));
        if nfa.positions.len() > POSITIONS_MAX {
            return Err(dearest(selections, |s| paths_of(s).map(|path| path.segments().len()).sum()));
        }
        let names = names.finish();
        nfa.index(&names);
        Ok((nfa, names))
    }

    /// The selections that make most of the states: what follows a `..` can be under way from any level.
    pub(super) fn dearest(&self, selections: &[Selection]) -> Vec<usize> {
        let open = |path: &Path| path.segments().iter().skip_while(|segment| !segment.descendant).count();
        dearest(selections, |s| paths_of(s).map(open).sum())
    }

    /// Finds what a step has to look at.
    fn index(&mut self, names: &Names) {
        let mut naming = vec![Vec::new(); names.len()];
        for (number, position) in (0..).zip(&self.positions) {
            let mut lasting = None;
            match (*position, self.step_of(number)) {
                (Position::Inside { .. }, _) => lasting = Some(number),
                (Position::At { step, .. }, Some((line, now))) => {
                    lasting = now.descendant.then_some(line.base + 2 * step + 1);
                    if now.picks.iter().all(|pick| matches!(pick, Pick::Name(_))) {
                        for pick in &now.picks {
                            let Pick::Name(name) = pick else { continue };
                            for symbol in names.symbols_of(*name, line.folded) {
                                naming.get_mut(symbol as usize).into_iter().for_each(|n| n.push(number));
                            }
                        }
                    } else {
                        self.asking.push(number);
                    }
                }
                (Position::At { .. }, None) => {}
            }
            self.lasting.push(lasting);
        }
        // A name twice in one segment.
        naming.iter_mut().for_each(Vec::dedup);
        self.naming = naming;
    }

    fn lay(&mut self, names: &mut Collector, selection: u32, except: bool, folded: bool, path: &Path) {
        let base = id(self.positions.len());
        let line = id(self.lines.len());
        let steps: Vec<Step> = (path.segments().iter())
            .map(|segment| Step {
                descendant: segment.descendant,
                picks: (segment.selectors.iter())
                    .map(|selector| match selector {
                        Selector::Name(name) if folded => Pick::Name(names.folded(name)),
                        Selector::Name(name) => Pick::Name(names.exact(name)),
                        Selector::Wildcard => Pick::Any,
                        Selector::Index(index) => self.test(Test::Index(*index)),
                        Selector::Slice { start, end, step } => {
                            self.test(Test::Slice { start: *start, end: *end, step: *step })
                        }
                        Selector::Filter(filter) => self.test(Test::Filter(filter.clone())),
                    })
                    .collect(),
            })
            .collect();
        for step in 0..id(steps.len()) {
            self.positions.extend([true, false].map(|plain| Position::At { line, step, plain, selection, except }));
        }
        self.lines.push(Line { selection, except, folded, steps, base });
    }

    fn test(&mut self, test: Test) -> Pick {
        let known = self.tests.iter().position(|known| *known == test);
        Pick::Test(id(known.unwrap_or_else(|| {
            self.tests.push(test);
            self.tests.len() - 1
        })))
    }

    pub(super) fn tests(&self) -> &[Test] {
        &self.tests
    }

    pub(super) fn position(&self, id: PositionId) -> Option<Position> {
        self.positions.get(id as usize).copied()
    }

    /// The positions in paths, and the selections that reach in from above.
    pub(super) fn split<'a>(&self, set: &'a [PositionId]) -> (&'a [PositionId], impl Iterator<Item = u32> + use<'a>) {
        let first = self.inside;
        let (at, inside) = set.split_at(set.partition_point(|id| *id < first));
        (at, inside.iter().map(move |id| id - first))
    }

    /// The names (by number, with whether folded) and tests that positions ask for.
    pub(super) fn questions(&self, set: &[PositionId]) -> (Vec<(u32, bool)>, Vec<u32>) {
        let (mut names, mut tests) = (Vec::new(), Vec::new());
        for (line, step) in set.iter().filter_map(|id| self.step_of(*id)) {
            for pick in &step.picks {
                match pick {
                    Pick::Name(name) => names.push((*name, line.folded)),
                    Pick::Test(test) => tests.push(*test),
                    Pick::Any => {}
                }
            }
        }
        tests.sort_unstable();
        tests.dedup();
        (names, tests)
    }

    /// Does anything below a child ask for a filter or a length?
    pub(super) fn asks_below(&self, set: &[PositionId]) -> bool {
        set.iter().any(|id| {
            let Some(Position::At { line, step, .. }) = self.position(*id) else { return false };
            let Some(line) = self.lines.get(line as usize) else { return false };
            let (now, below) = line.steps.get(step as usize..).and_then(<[Step]>::split_first).unzip();
            let lasting = now.filter(|now| now.descendant);
            lasting
                .into_iter()
                .chain(below.unwrap_or_default())
                .flat_map(|step| &step.picks)
                .any(|pick| self.holds(*pick))
        })
    }

    /// Is the length of no array needed below `..`, and for no step backwards?
    pub(super) fn looks_ahead(&self, set: &[PositionId]) -> bool {
        set.iter().filter_map(|id| self.step_of(*id)).all(|(_, step)| {
            let mut lengths =
                step.picks.iter().filter_map(|pick| self.test_of(*pick)).filter(|test| needs_length(test));
            lengths.all(|test| !step.descendant && !matches!(test, Test::Slice { step: ..0, .. }))
        })
    }

    fn test_of(&self, pick: Pick) -> Option<&Test> {
        match pick {
            Pick::Test(test) => self.tests.get(test as usize),
            _ => None,
        }
    }

    fn holds(&self, pick: Pick) -> bool {
        self.test_of(pick).is_some_and(|test| matches!(test, Test::Filter(_)) || needs_length(test))
    }

    fn step_of(&self, id: PositionId) -> Option<(&Line, &Step)> {
        match self.position(id)? {
            Position::At { line, step, .. } => {
                let line = self.lines.get(line as usize)?;
                Some((line, line.steps.get(step as usize)?))
            }
            Position::Inside { .. } => None,
        }
    }

    /// The root of a document.
    pub(super) fn root(&self) -> Stepped {
        let mut arrived = Arrived::default();
        for (number, _) in (0..).zip(&self.lines) {
            self.arrive(number, 0, true, &mut arrived);
        }
        self.settle(arrived)
    }

    /// From a container to one of its children. `truth` answers the tests.
    pub(super) fn step(&self, set: &[PositionId], child: Child<'_>, truth: &dyn Fn(u32) -> bool) -> Stepped {
        let mut arrived = Arrived::default();
        let lasting = set.iter().filter_map(|id| self.lasting.get(*id as usize).copied().flatten());
        arrived.next.extend(lasting);
        let naming = match child {
            Child::Member(symbol, Some(_)) => self.naming.get(symbol as usize).map(Vec::as_slice).unwrap_or_default(),
            _ => &[],
        };
        if self.asking.len() + naming.len() < set.len() {
            // A thousand positions wait for a thousand names, and this child has but one.
            for id in self.asking.iter().chain(naming).filter(|id| set.binary_search(id).is_ok()) {
                self.move_on(*id, child, truth, &mut arrived);
            }
        } else {
            for id in set {
                self.move_on(*id, child, truth, &mut arrived);
            }
        }
        self.settle(arrived)
    }

    fn move_on(&self, id: PositionId, child: Child<'_>, truth: &dyn Fn(u32) -> bool, arrived: &mut Arrived) {
        let Some(Position::At { line: number, step, plain, .. }) = self.position(id) else { return };
        let Some((line, now)) = self.step_of(id) else { return };
        for pick in &now.picks {
            let (picked, by_place) = match (pick, child) {
                (Pick::Any, _) => (true, false),
                (Pick::Name(name), Child::Member(_, Some(mention))) => {
                    (if line.folded { mention.fold == *name } else { mention.exact == *name }, true)
                }
                (Pick::Name(_), _) => (false, true),
                (Pick::Test(test), _) => (truth(*test), matches!(self.tests.get(*test as usize), Some(Test::Index(_)))),
            };
            if picked {
                self.arrive(number, step + 1, plain && by_place && !now.descendant, arrived);
            }
        }
    }

    fn arrive(&self, number: u32, step: u32, plain: bool, arrived: &mut Arrived) {
        let Some(line) = self.lines.get(number as usize) else { return };
        if (step as usize) < line.steps.len() {
            arrived.next.push(line.base + 2 * step + u32::from(!plain));
        } else if line.except {
            arrived.excepted.push(line.selection);
        } else {
            arrived.selected.push(Selected { selection: line.selection, plain });
        }
    }

    fn settle(&self, arrived: Arrived) -> Stepped {
        let Arrived { mut next, mut selected, mut excepted } = arrived;
        excepted.sort_unstable();
        let stays = |selection: u32| excepted.binary_search(&selection).is_err();
        if !excepted.is_empty() {
            selected.retain(|s| stays(s.selection));
        }
        // Plain before not plain, and then each once: what can be reached by names alone is.
        selected.sort_unstable_by_key(|s| (s.selection, !s.plain));
        selected.dedup_by_key(|s| s.selection);
        let reaching = selected.iter().filter(|s| self.reaches.get(s.selection as usize) == Some(&true));
        next.extend(reaching.map(|s| self.inside + s.selection));
        // Nearly in order already, which the stable sort makes use of.
        next.sort();
        next.dedup();
        if self.has_exceptions {
            // Exceptions of a selection that can select nothing more are dead weight, and would hide that a place is dead.
            let owner = |id: &PositionId| match self.position(*id)? {
                Position::At { selection, except, .. } => Some((selection, !except)),
                Position::Inside { selection } => Some((selection, true)),
            };
            let mut selecting: Vec<u32> = (next.iter().filter_map(owner))
                .filter_map(|(selection, selects)| selects.then_some(selection))
                .collect();
            selecting.sort_unstable();
            next.retain(|id| owner(id).is_some_and(|(s, _)| stays(s) && selecting.binary_search(&s).is_ok()));
        }
        Stepped { next, selected }
    }
}

#[derive(Default)]
struct Arrived {
    next: Vec<PositionId>,
    selected: Vec<Selected>,
    excepted: Vec<u32>,
}

fn paths_of(selection: &Selection) -> impl Iterator<Item = &Path> {
    std::iter::once(&selection.path).chain(&selection.except)
}

/// The selections with the highest cost, the dearest first.
fn dearest(selections: &[Selection], cost: impl Fn(&Selection) -> usize) -> Vec<usize> {
    let mut dear: Vec<(usize, usize)> = selections.iter().map(cost).enumerate().collect();
    dear.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
    dear.into_iter().take(16).map(|(number, _)| number).collect()
}

fn id(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Does an index selector take element `index` of an array of `len`? (RFC 9535, section 2.3.3.2)
pub(super) fn takes_index(wanted: i64, index: u64, len: Option<u64>) -> bool {
    match u64::try_from(wanted) {
        Ok(wanted) => wanted == index,
        Err(_) => len.is_some_and(|len| index < len && len - index == wanted.unsigned_abs()),
    }
}

/// Can the test be answered without the array's length?
pub(super) fn needs_length(test: &Test) -> bool {
    match test {
        Test::Index(index) => *index < 0,
        Test::Slice { start, end, step } => *step < 0 || start.is_some_and(|s| s < 0) || end.is_some_and(|e| e < 0),
        Test::Filter(_) => false,
    }
}

/// How far from the end of an array the test counts.
pub(super) fn reach(test: &Test) -> u64 {
    let back = |at: i64| if at < 0 { at.unsigned_abs() } else { 0 };
    match test {
        Test::Index(index) => back(*index),
        Test::Slice { start, end, .. } => back(start.unwrap_or(0)).max(back(end.unwrap_or(0))),
        Test::Filter(_) => 0,
    }
}

/// Does a slice take element `index` of an array of `len`? (RFC 9535, section 2.3.4.2.2)
pub(super) fn takes_slice(start: Option<i64>, end: Option<i64>, step: i64, index: u64, len: Option<u64>) -> bool {
    // Without a length only slices that do not need it come here; then the end is as good as infinite.
    let len = i128::from(len.unwrap_or(u64::MAX));
    let (index, step) = (i128::from(index), i128::from(step));
    let normal = |at: Option<i64>, default: i128| match at.map(i128::from) {
        None => default,
        Some(at) if at < 0 => len + at,
        Some(at) => at,
    };
    match step.signum() {
        1 => {
            let lower = normal(start, 0).clamp(0, len);
            let upper = normal(end, len).clamp(0, len);
            (lower..upper).contains(&index) && (index - lower) % step == 0
        }
        -1 => {
            let upper = normal(start, len - 1).clamp(-1, len - 1);
            let lower = normal(end, -1).clamp(-1, len - 1);
            lower < index && index <= upper && (upper - index) % -step == 0
        }
        _ => false,
    }
}
