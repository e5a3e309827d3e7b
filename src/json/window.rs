//! Feed bytes, get windows and edits; splice.

use std::ops::Range;
use std::sync::Arc;

use super::Fault;
use super::automaton::Program;

/// What kind of leaf a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    String,
    /// A number.
    Number,
    /// `true`
    True,
    /// `false`
    False,
}

/// A leaf that a `Transform` selection reached. `raw` is its spelling in the document, a string with its quotes.
pub struct Leaf<'a> {
    /// Which selection.
    pub selection: usize,
    /// What kind.
    pub kind: Kind,
    /// Its bytes.
    pub raw: &'a [u8],
}

/// What to do with such a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The bytes appended to `out` (one JSON value) take its place.
    Put,
    /// It stays as it was.
    Pass,
    /// It is removed, as by `drop`.
    Drop,
    /// Its replacement is not known yet: the edit is [`Put::Later`] and the caller fills it before the splice.
    Later,
    /// The document is refused (`FaultKind::Rule`).
    Refuse,
}

/// The half of a transformation that knows what a selection means. `crossing` implements it.
pub trait Judge {
    /// Decides one leaf.
    fn judge(&mut self, leaf: Leaf<'_>, out: &mut Vec<u8>) -> Judgement;
}

/// A stretch of the window and what to put there.
#[derive(Debug, PartialEq, Eq)]
pub struct Edit {
    /// Bytes of the window.
    pub range: Range<usize>,
    /// What takes their place.
    pub put: Put,
}

/// What takes a stretch's place.
#[derive(Debug, PartialEq, Eq)]
pub enum Put {
    /// Nothing.
    Nothing,
    /// These bytes of the plan's arena.
    Here(Range<usize>),
    /// What the caller gives at the splice.
    Later {
        /// Which selection.
        selection: usize,
        /// The kind of the leaf.
        kind: Kind,
    },
}

/// What a program asks of one window.
#[derive(Debug, Default)]
pub struct Plan {
    /// In order, never overlapping.
    pub edits: Vec<Edit>,
    #[allow(dead_code)]
    arena: Vec<u8>,
}

/// Why a splice was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpliceError {
    /// Fewer or more replacements than [`Put::Later`] edits.
    Count,
}

/// Runs a program over one document, fed in chunks.
pub struct Rewriter {}

impl Rewriter {
    /// For one document.
    pub fn new(program: Arc<Program>) -> Self {
        let _ = program;
        todo!()
    }
    /// Keeps a line per leaf for `explain` (slower).
    pub fn traced(program: Arc<Program>) -> Self {
        let _ = program;
        todo!()
    }
    /// Scans and plans the next bytes. After a fault the rewriter is spent.
    pub fn feed(&mut self, chunk: &[u8], judge: &mut dyn Judge) -> Result<(), Fault> {
        let _ = (chunk, judge);
        todo!()
    }
    /// The document ends here.
    pub fn finish(&mut self, judge: &mut dyn Judge) -> Result<(), Fault> {
        let _ = judge;
        todo!()
    }
    /// The bytes in which no edit is left open, and the plan for them. `Put::Later` edits, in order, want a replacement.
    pub fn window(&self) -> (&[u8], &Plan) {
        todo!()
    }
    /// Bytes scanned that are not in the window yet (held back), for limits.
    pub fn held_bytes(&self) -> usize {
        todo!()
    }
    /// Writes the window with its edits to `out` and goes on to the next. `later` gives, for each `Put::Later` in order, the
    /// bytes to put (one JSON value each); another number of them is an error and writes nothing.
    pub fn splice<'l>(&mut self, later: impl Iterator<Item = &'l [u8]>, out: &mut Vec<u8>) -> Result<(), SpliceError> {
        let _ = (later, out);
        todo!()
    }
    /// How often each selection was the one that decided, by selection number.
    pub fn counts(&self) -> &[u64] {
        todo!()
    }
    /// How often each selection's path matched a place at all (for `must`).
    pub fn matched(&self) -> &[u64] {
        todo!()
    }
    /// The selection at which the last `FaultKind::Rule` fault came up.
    pub fn failed(&self) -> Option<usize> {
        todo!()
    }
    /// The lines of a traced run.
    pub fn take_trace(&mut self) -> Vec<TraceLine> {
        todo!()
    }
}

/// One line of `explain`. Full names: the document is the operator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// A normalised path (RFC 9535, section 2.7).
    pub location: String,
    /// `None` for null and containers.
    pub kind: Option<Kind>,
    /// The selection that decided; `None` where the default did.
    pub selection: Option<usize>,
    /// What became of it.
    pub outcome: TraceOutcome,
    /// The bytes that take its place, where they are known.
    pub put: Option<Vec<u8>>,
}

/// What became of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceOutcome {
    /// Its bytes stayed.
    Kept,
    /// Removed.
    Dropped,
    /// `null` was put.
    Null,
    /// The constant was put.
    Replaced,
    /// The judge's bytes were put.
    Transformed,
}
