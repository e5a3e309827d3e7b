//! What a path can ask of a value: our own evaluator, on a tape of spans.
//!
//! It follows RFC 9535 to the letter and differs from its neighbours where they leak: `count` of nothing is 0, numbers are
//! compared by their decimal spelling, and lists of nodes are kept as sets with multiplicities, so that no query takes more
//! than one visit of a node for each segment. No recursion over the document; over the expression it is bounded by the limits
//! of [`super::path`]. Start at [`select`] and [`holds`].

use std::sync::Arc;

use super::FaultKind;
use super::path::{Segment, Selector};
use super::regexp::Regexp;
use super::tape::{NodeId, Tape};

mod compare;
pub(super) mod reads;
pub(super) mod run;

/// A parsed, type-checked filter expression with its regular expressions compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    expr: Arc<Expr>,
    reads_root: bool,
}

impl Filter {
    pub(crate) fn new(expr: Expr) -> Self {
        Self { reads_root: expr.reads_root(), expr: Arc::new(expr) }
    }

    /// Does it, or a filter in it, read `$`?
    pub fn reads_root(&self) -> bool {
        self.reads_root
    }

    /// Its queries: whether each begins at `$` (else at `@`), and its segments, in which there may be filters again.
    pub fn queries(&self) -> Vec<(bool, &[Segment])> {
        let mut queries = Vec::new();
        let mut open = vec![&*self.expr];
        while let Some(expr) = open.pop() {
            let mut operands: Vec<&Operand> = Vec::new();
            match expr {
                Expr::Or(all) | Expr::And(all) => open.extend(all),
                Expr::Not(inner) => open.push(inner),
                Expr::Exists(query) => queries.push((query.root, query.segments.as_slice())),
                Expr::Compare(_, left, right) => operands.extend([left, right]),
                Expr::Match { text, pattern, .. } => {
                    operands.push(text);
                    if let Pattern::Read(operand) = &**pattern {
                        operands.push(operand);
                    }
                }
            }
            while let Some(operand) = operands.pop() {
                match operand {
                    Operand::Literal(_) => {}
                    Operand::Length(inner) => operands.push(inner),
                    Operand::Query(query) | Operand::Count(query) | Operand::Value(query) => {
                        queries.push((query.root, query.segments.as_slice()));
                    }
                }
            }
        }
        queries
    }
}

/// RFC 9535, section 2.3.5.1: `logical-expr`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    Exists(Query),
    Compare(Comparison, Operand, Operand),
    Match { whole: bool, text: Box<Operand>, pattern: Box<Pattern> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A query inside a filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    /// From `$`, not from `@`.
    pub(crate) root: bool,
    pub(crate) segments: Vec<Segment>,
}

impl Query {
    /// RFC 9535, section 2.3.5.1: names and indices alone, so that there is one node or none.
    pub(crate) fn is_singular(&self) -> bool {
        self.segments
            .iter()
            .all(|s| !s.descendant && matches!(s.selectors.as_slice(), [Selector::Name(_) | Selector::Index(_)]))
    }

    fn reads_root(&self) -> bool {
        let mut selectors = self.segments.iter().flat_map(|segment| &segment.selectors);
        self.root || selectors.any(|s| matches!(s, Selector::Filter(filter) if filter.reads_root()))
    }
}

/// What has at most one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    Literal(Literal),
    /// Singular.
    Query(Query),
    Length(Box<Operand>),
    Count(Query),
    Value(Query),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    True,
    False,
    /// As spelt; [`super::text::Decimal`] has read it.
    Number(Arc<str>),
    String(Arc<str>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pattern {
    Fixed(Regexp),
    /// Comes from the document.
    Read(Operand),
}

impl Expr {
    fn reads_root(&self) -> bool {
        match self {
            Self::Or(all) | Self::And(all) => all.iter().any(Self::reads_root),
            Self::Not(expr) => expr.reads_root(),
            Self::Exists(query) => query.reads_root(),
            Self::Compare(_, left, right) => left.reads_root() || right.reads_root(),
            Self::Match { text, pattern, .. } => {
                text.reads_root() || matches!(&**pattern, Pattern::Read(operand) if operand.reads_root())
            }
        }
    }
}

impl Operand {
    fn reads_root(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Query(query) | Self::Count(query) | Self::Value(query) => query.reads_root(),
            Self::Length(operand) => operand.reads_root(),
        }
    }
}

/// Runs `segments` from `from` (with `root` for `$` in filters) and appends the nodes selected, each once, in document order.
///
/// `steps` is what may still be taken, and is counted down.
///
/// # Errors
/// `FilterSteps` where `steps` do not suffice, `DuplicateName` where a filter reads an object that has a name twice, `Rule`
/// where a pattern from the document is too great or a number's exponent cannot be compared, or the tape is not sound.
pub fn select(
    segments: &[Segment],
    bytes: &[u8],
    tape: &Tape,
    root: NodeId,
    from: NodeId,
    steps: &mut u64,
    out: &mut Vec<NodeId>,
) -> Result<(), FaultKind> {
    let mut run = run::Run::new(bytes, tape, root, steps)?;
    let nodes = run.segments(segments, from, false)?;
    out.extend(nodes.into_iter().map(|(node, _)| node));
    Ok(())
}

/// Does the filter hold for this one element? `steps` is what may still be taken, and is counted down.
///
/// # Errors
/// As [`select`].
pub fn holds(
    filter: &Filter,
    bytes: &[u8],
    tape: &Tape,
    root: NodeId,
    at: NodeId,
    steps: &mut u64,
) -> Result<bool, FaultKind> {
    run::Run::new(bytes, tape, root, steps)?.holds(filter, at)
}

#[cfg(test)]
mod tests;
