//! Walks segments and expressions over a tape, within a budget of steps.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::FaultKind;
use super::super::path::{Segment, Selector};
use super::super::regexp::{DOCUMENT_BYTES_MAX, DOCUMENT_PATTERN_MAX, Regexp, RegexpError};
use super::super::tape::{NodeId, NodeKind, Tape};
use super::super::text;
use super::compare::Value;
use super::{Expr, Filter, Literal, Operand, Pattern, Query};

/// Nodes in document order, each with how often a list of the RFC would hold it (`count` and `value` ask for that).
type Nodes = Arc<[(NodeId, u64)]>;

/// What evaluations on one tape need not find again. The tape carries it from one to the next.
#[derive(Debug, Default)]
pub(in super::super) struct Memo {
    /// What queries from `$` gave, by the root they were run from.
    rooted: Vec<(NodeId, Query, Nodes)>,
    nodes: usize,
    /// Patterns of the document.
    patterns: Vec<Regexp>,
}

impl Memo {
    pub(in super::super) fn is_empty(&self) -> bool {
        self.rooted.is_empty() && self.patterns.is_empty()
    }
}

/// Compiling a pattern takes about as long as this many steps.
const COMPILE_STEPS: u64 = 5_000;
/// Patterns of the document that are kept compiled.
const PATTERNS_MAX: usize = 16;
/// Nodes that are kept of all queries from `$`: 1 MiB.
const NODES_KEPT_MAX: usize = 1 << 16;

/// One evaluation.
pub(super) struct Run<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) tape: &'a Tape,
    root: NodeId,
    steps: &'a mut u64,
    /// Taken from the tape when it is first needed.
    memo: Option<Memo>,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if let Some(memo) = self.memo.take() {
            self.tape.put_memo(memo);
        }
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(bytes: &'a [u8], tape: &'a Tape, root: NodeId, steps: &'a mut u64) -> Result<Self, FaultKind> {
        match tape.is_sound() {
            true => Ok(Self { bytes, tape, root, steps, memo: None }),
            false => Err(FaultKind::Rule),
        }
    }

    fn memo(&mut self) -> &mut Memo {
        self.memo.get_or_insert_with(|| self.tape.take_memo())
    }

    pub(super) fn spend(&mut self, steps: u64) -> Result<(), FaultKind> {
        match self.steps.checked_sub(steps) {
            Some(left) => {
                *self.steps = left;
                Ok(())
            }
            None => {
                *self.steps = 0;
                Err(FaultKind::FilterSteps)
            }
        }
    }

    /// Steps for touching this many bytes.
    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Result<(), FaultKind> {
        self.spend(1 + bytes as u64 / 32)
    }

    pub(super) fn raw(&self, node: NodeId) -> &'a [u8] {
        self.bytes.get(self.tape.span(node)).unwrap_or_default()
    }

    pub(super) fn name(&self, node: NodeId) -> &'a [u8] {
        self.tape.name_span(node).and_then(|span| self.bytes.get(span)).unwrap_or_default()
    }

    /// Called for each object that a filter reads. Two readers of doubled names may differ on which one counts.
    pub(super) fn read(&self, node: NodeId) -> Result<(), FaultKind> {
        if self.tape.has_doubled_names(node) { Err(FaultKind::DuplicateName) } else { Ok(()) }
    }

    /// Runs segments from one node. `reading`: for a filter.
    pub(super) fn segments(
        &mut self,
        segments: &[Segment],
        from: NodeId,
        reading: bool,
    ) -> Result<Vec<(NodeId, u64)>, FaultKind> {
        let mut nodes = vec![(from, 1)];
        for segment in segments {
            let visited = if segment.descendant { self.descend(&nodes)? } else { nodes };
            let mut found = Vec::new();
            for (node, times) in visited {
                if reading {
                    self.read(node)?;
                }
                for selector in &segment.selectors {
                    self.selector(selector, node, times, &mut found)?;
                }
            }
            if !found.is_sorted_by(|(a, _), (b, _)| a < b) {
                self.spend(found.len() as u64 * 2)?;
                found.sort_unstable_by_key(|(node, _)| *node);
                found.dedup_by(|(later, more), (kept, times)| {
                    let same = later == kept;
                    if same {
                        *times = times.saturating_add(*more);
                    }
                    same
                });
            }
            nodes = found;
        }
        Ok(nodes)
    }

    /// The containers among the nodes and all below them, each once, with how often a list of the RFC would hold it.
    fn descend(&mut self, nodes: &[(NodeId, u64)]) -> Result<Vec<(NodeId, u64)>, FaultKind> {
        let mut found = Vec::new();
        let mut nodes = nodes.iter().copied().peekable();
        // The given nodes whose subtree we are in, as (its end, times). INVARIANT: ends fall from first to last.
        let mut within: Vec<(NodeId, u64)> = Vec::new();
        let mut times: u64 = 0;
        let mut at = 0;
        loop {
            while let Some((_, once)) = within.pop_if(|(end, _)| *end <= at) {
                times = times.saturating_sub(once);
            }
            if within.is_empty() {
                let Some((node, _)) = nodes.peek() else { return Ok(found) };
                at = *node;
                times = 0;
            }
            while let Some((node, once)) = nodes.next_if(|(node, _)| *node == at) {
                within.push((self.tape.next(node), once));
                times = times.saturating_add(once);
            }
            self.spend(1)?;
            if self.tape.is_container(at) {
                found.push((at, times));
            }
            at = at.saturating_add(1);
        }
    }

    fn selector(
        &mut self,
        selector: &Selector,
        node: NodeId,
        times: u64,
        found: &mut Vec<(NodeId, u64)>,
    ) -> Result<(), FaultKind> {
        let tape = self.tape;
        let kind = tape.kind(node);
        let object = kind == NodeKind::Object;
        if !object && kind != NodeKind::Array {
            return self.spend(1);
        }
        match selector {
            Selector::Name(name) if object => {
                self.spend(1 + tape.count(node) as u64)?;
                found.extend(tape.children(node).filter(|c| text::equals(self.name(*c), name)).map(|c| (c, times)));
            }
            Selector::Wildcard => {
                self.spend(1 + tape.count(node) as u64)?;
                found.extend(tape.children(node).map(|c| (c, times)));
            }
            Selector::Index(index) if !object => found.extend(self.index(node, *index)?.map(|c| (c, times))),
            Selector::Slice { start, end, step } if !object => {
                self.spend(1 + tape.count(node) as u64)?;
                let picked = Picked::new(*start, *end, *step, tape.count(node));
                let children = (0_i64..).zip(tape.children(node));
                found.extend(children.filter(|(i, _)| picked.contains(*i)).map(|(_, c)| (c, times)));
            }
            Selector::Filter(filter) => {
                for child in tape.children(node) {
                    if self.holds(filter, child)? {
                        found.push((child, times));
                    }
                }
            }
            Selector::Name(_) | Selector::Index(_) | Selector::Slice { .. } => self.spend(1)?,
        }
        Ok(())
    }

    /// The element of an array under an index that may count from its end.
    fn index(&mut self, array: NodeId, index: i64) -> Result<Option<NodeId>, FaultKind> {
        let count = self.tape.count(array);
        let index = match usize::try_from(index) {
            Ok(index) => Some(index),
            Err(_) => usize::try_from(index.unsigned_abs()).ok().and_then(|back| count.checked_sub(back)),
        };
        match index.filter(|index| *index < count) {
            Some(index) => {
                self.spend(1 + index as u64)?;
                Ok(self.tape.children(array).nth(index))
            }
            None => self.spend(1).map(|()| None),
        }
    }

    /// Does the filter hold for this node?
    pub(super) fn holds(&mut self, filter: &Filter, at: NodeId) -> Result<bool, FaultKind> {
        self.spend(1)?;
        self.expr(&filter.expr, at)
    }

    fn expr(&mut self, expr: &Expr, at: NodeId) -> Result<bool, FaultKind> {
        match expr {
            Expr::Or(all) => {
                for expr in all {
                    if self.expr(expr, at)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Expr::And(all) => {
                for expr in all {
                    if !self.expr(expr, at)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Expr::Not(expr) => Ok(!self.expr(expr, at)?),
            Expr::Exists(query) if query.is_singular() => Ok(self.singular(query, at)?.is_some()),
            Expr::Exists(query) => Ok(!self.query(query, at)?.is_empty()),
            Expr::Compare(comparison, left, right) => {
                let (left, right) = (self.operand(left, at)?, self.operand(right, at)?);
                self.compare(*comparison, left, right)
            }
            Expr::Match { whole, text, pattern } => {
                let Some(text) = self.operand(text, at).map(|value| self.string(value))? else { return Ok(false) };
                self.matches(*whole, &text, pattern, at)
            }
        }
    }

    fn matches(&mut self, whole: bool, text: &str, pattern: &Pattern, at: NodeId) -> Result<bool, FaultKind> {
        let operand = match pattern {
            Pattern::Fixed(regexp) => {
                self.spend(regexp.steps(text.len()))?;
                return Ok(regexp.matches(text));
            }
            Pattern::Read(operand) => operand,
        };
        let Some(pattern) = self.operand(operand, at).map(|value| self.string(value))? else { return Ok(false) };
        self.spend_bytes(pattern.len())?;
        if let Some(at) = self.memo().patterns.iter().position(|regexp| regexp.is(&pattern, whole)) {
            let steps = self.memo().patterns.get(at).map_or(0, |regexp| regexp.steps(text.len()));
            self.spend(steps)?;
            return Ok(self.memo().patterns.get(at).is_some_and(|regexp| regexp.matches(text)));
        }
        self.spend(COMPILE_STEPS)?;
        if pattern.len() > DOCUMENT_PATTERN_MAX {
            return Err(FaultKind::Rule);
        }
        match Regexp::new(&pattern, whole, DOCUMENT_BYTES_MAX) {
            Ok(regexp) => {
                self.spend(regexp.steps(text.len()))?;
                let matches = regexp.matches(text);
                let memo = self.memo();
                if memo.patterns.len() >= PATTERNS_MAX {
                    memo.patterns.remove(0);
                }
                memo.patterns.push(regexp);
                Ok(matches)
            }
            // RFC 9535, sections 2.4.6 and 2.4.7: what is no I-Regexp matches nothing.
            Err(RegexpError::Syntax { .. }) => Ok(false),
            Err(RegexpError::TooGreat) => Err(FaultKind::Rule),
        }
    }

    fn query(&mut self, query: &Query, at: NodeId) -> Result<Nodes, FaultKind> {
        if !query.root {
            return self.segments(&query.segments, at, true).map(Nodes::from);
        }
        self.spend(1)?;
        let root = self.root;
        let kept = self.memo().rooted.iter().find(|(from, kept, _)| *from == root && kept == query);
        if let Some((_, _, nodes)) = kept {
            return Ok(Arc::clone(nodes));
        }
        let nodes: Nodes = self.segments(&query.segments, self.root, true)?.into();
        let memo = self.memo();
        if memo.nodes + nodes.len() < NODES_KEPT_MAX {
            memo.nodes += nodes.len() + 1;
            memo.rooted.push((root, query.clone(), Arc::clone(&nodes)));
        }
        Ok(nodes)
    }

    /// The one node of a singular query; nothing is allocated.
    fn singular(&mut self, query: &Query, at: NodeId) -> Result<Option<NodeId>, FaultKind> {
        if query.root {
            return Ok(self.query(query, at)?.first().map(|(node, _)| *node));
        }
        let tape = self.tape;
        let mut node = at;
        for segment in &query.segments {
            let next = match (segment.selectors.first(), tape.kind(node)) {
                (Some(Selector::Name(name)), NodeKind::Object) => {
                    self.read(node)?;
                    self.spend(1 + tape.count(node) as u64)?;
                    tape.children(node).find(|child| text::equals(self.name(*child), name))
                }
                (Some(Selector::Index(index)), NodeKind::Array) => self.index(node, *index)?,
                (Some(_), NodeKind::Object) => {
                    self.read(node)?;
                    None
                }
                _ => None,
            };
            let Some(next) = next else { return Ok(None) };
            node = next;
        }
        self.spend(1)?;
        Ok(Some(node))
    }

    fn operand<'e>(&mut self, operand: &'e Operand, at: NodeId) -> Result<Value<'e>, FaultKind>
    where
        'a: 'e,
    {
        Ok(match operand {
            Operand::Literal(literal) => Value::Literal(literal),
            Operand::Query(query) => self.singular(query, at)?.map_or(Value::Nothing, Value::Node),
            Operand::Count(query) => {
                Value::Count(self.query(query, at)?.iter().fold(0, |sum, (_, times)| sum.saturating_add(*times)))
            }
            Operand::Value(query) => match &*self.query(query, at)? {
                [(node, 1)] => Value::Node(*node),
                _ => Value::Nothing,
            },
            Operand::Length(operand) => match self.operand(operand, at)? {
                Value::Node(node) => match self.tape.kind(node) {
                    NodeKind::Object | NodeKind::Array => {
                        self.read(node)?;
                        Value::Count(self.tape.count(node) as u64)
                    }
                    NodeKind::String => {
                        let raw = self.raw(node);
                        self.spend_bytes(raw.len())?;
                        Value::Count(text::unescape(raw).chars().count() as u64)
                    }
                    _ => Value::Nothing,
                },
                Value::Literal(Literal::String(text)) => Value::Count(text.chars().count() as u64),
                _ => Value::Nothing,
            },
        })
    }

    /// The value as a string, if it is one.
    fn string<'e>(&self, value: Value<'e>) -> Option<Cow<'e, str>>
    where
        'a: 'e,
    {
        match value {
            Value::Node(node) if self.tape.kind(node) == NodeKind::String => Some(text::unescape(self.raw(node))),
            Value::Literal(Literal::String(text)) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }
}

/// The indices that a slice picks (RFC 9535, section 2.3.4.2.2).
struct Picked {
    /// The first one, by the step's direction.
    first: i64,
    /// Both included.
    lowest: i64,
    highest: i64,
    step: u64,
}

impl Picked {
    fn new(start: Option<i64>, end: Option<i64>, step: i64, count: usize) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let from_front = |index: i64| if index >= 0 { index } else { index.saturating_add(count) };
        let (first, lowest, highest) = match step {
            0 => (0, 0, -1),
            1.. => {
                let bound = |index: i64| from_front(index).clamp(0, count);
                let lower = start.map_or(0, bound);
                (lower, lower, end.map_or(count, bound) - 1)
            }
            _ => {
                let bound = |index: i64| from_front(index).clamp(-1, count - 1);
                let upper = start.map_or(count - 1, bound);
                (upper, end.map_or(-1, bound) + 1, upper)
            }
        };
        Self { first, lowest, highest, step: step.unsigned_abs().max(1) }
    }

    fn contains(&self, index: i64) -> bool {
        (self.lowest..=self.highest).contains(&index) && index.abs_diff(self.first).is_multiple_of(self.step)
    }
}
