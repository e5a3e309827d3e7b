//! Feed bytes, get windows and edits; splice.
//!
//! The front of the engine. It keeps the bytes that are not decided yet, checks that they are UTF-8, and writes what was
//! decided. What is decided, and how, is in `walk` and `place`. Start at [`Rewriter::feed`].
//!
//! # Memory
//! A rewriter holds what was fed since the last splice, and from before at most: what hangs on an open decision (names, separators,
//! openers; [`super::Limits::name_bytes`], twice where openers wait), a value held for the judge (`value_bytes`), an element or body
//! held for a filter, or elements held for an index from the end (`element_bytes`, and the structure of what the filter reads: 32 bytes
//! a value, which of a body of one-digit numbers held whole is 16 times its size), 64 bytes for each level of
//! nesting (`depth`). A thread holds 24 KiB of marks (`marks`), and room for a few rewriters (`spare`). Strings and numbers that are copied or removed pass through however long they are.

use std::ops::Range;
use std::sync::Arc;

use super::automaton::Program;
use super::judge::is_json;
use super::patch::Patch;
use super::scan::Bad;
use super::spare::{self, Lent};
use super::trace::Trace;
use super::walk::{Input, Stage, Walker};
use super::{Fault, FaultKind};

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
    /// It stays, changed where [`Judge::patches`] says.
    Patch,
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

    /// After [`Judgement::Patch`]: what changes in the leaf's spelling.
    fn patches(&mut self) -> Vec<Patch> {
        Vec::new()
    }
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
    pub(super) arena: Vec<u8>,
}

/// What one body may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Steps of filters.
    pub filter_steps: u64,
    /// Leaves to transform.
    pub leaves: u64,
    /// Bytes by which rules may make it longer.
    pub growth: u64,
}

/// Why a splice was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpliceError {
    /// Fewer or more replacements than [`Put::Later`] edits.
    Count,
    /// A replacement that is not one JSON value.
    Value,
    /// The replacements make the body longer by more than the limit.
    Growth,
}

/// Runs a program over one document, fed in chunks.
pub struct Rewriter {
    program: Arc<Program>,
    work: Lent,
}

/// What a rewriter works with; the room in it serves one document after the other.
#[derive(Default)]
pub(super) struct Work {
    pub(super) walker: Walker,
    pub(super) plan: Plan,
    /// The window, and what is held back behind it.
    pub(super) buf: Vec<u8>,
    /// The window's length.
    window: usize,
    /// Where the walk goes on.
    pos: usize,
    /// So much of `buf` is UTF-8.
    valid: usize,
    /// Bytes of the document before `buf`.
    gone: u64,
    /// A fault ends it.
    fault: Option<Fault>,
}

impl Work {
    /// Forgets the document.
    pub(super) fn clear(&mut self) {
        self.plan.clear();
        self.buf.clear();
        (self.window, self.pos, self.valid, self.gone) = (0, 0, 0, 0);
        self.fault = None;
    }
}

impl Rewriter {
    /// For one document.
    #[must_use]
    pub fn new(program: Arc<Program>) -> Self {
        Self::with(program, None)
    }

    /// Keeps a line per leaf for `explain` (slower). What leaves is the same.
    #[must_use]
    pub fn traced(program: Arc<Program>) -> Self {
        Self::with(program, Some(Trace::default()))
    }

    fn with(program: Arc<Program>, trace: Option<Trace>) -> Self {
        let mut work = Lent::take();
        work.walker.begin(&program, trace);
        Self { program, work }
    }

    /// Makes it ready for another document, with the room that it has. [`Rewriter::counts`] go on; [`Rewriter::matched`] begin anew.
    /// What was not spliced is lost.
    pub fn restart(&mut self) {
        self.work.walker.restart(&self.program);
        self.work.clear();
    }

    /// Scans and plans the next bytes. After a fault the rewriter is spent: the fault comes again, and its window is not
    /// to be used.
    ///
    /// # Errors
    /// Whatever the document is refused for, up to here.
    pub fn feed(&mut self, chunk: &[u8], judge: &mut dyn Judge) -> Result<(), Fault> {
        if let Some(fault) = &self.work.fault {
            return Err(fault.clone());
        }
        self.work.buf.extend_from_slice(chunk);
        let wrong = self.validate();
        self.walk(false, judge)?;
        match wrong {
            Some(at) => Err(self.fail(Bad { kind: FaultKind::Utf8, at })),
            None => Ok(()),
        }
    }

    /// The document ends here.
    ///
    /// # Errors
    /// As [`Rewriter::feed`].
    pub fn finish(&mut self, judge: &mut dyn Judge) -> Result<(), Fault> {
        if let Some(fault) = &self.work.fault {
            return Err(fault.clone());
        }
        let at = self.work.valid;
        if at < self.work.buf.len() {
            return Err(self.fail(Bad { kind: FaultKind::Utf8, at }));
        }
        self.walk(true, judge)?;
        match self.work.walker.stage {
            Stage::End => Ok(()),
            Stage::Value if self.work.walker.stack.is_empty() => Err(self.fail(Bad { kind: FaultKind::Empty, at })),
            _ => Err(self.fail(Bad { kind: FaultKind::Truncated, at })),
        }
    }

    /// The bytes in which no edit is left open, and the plan for them. `Put::Later` edits, in order, want a replacement.
    #[must_use]
    pub fn window(&self) -> (&[u8], &Plan) {
        (self.work.buf.get(..self.work.window).unwrap_or_default(), &self.work.plan)
    }

    /// Bytes scanned that are not in the window yet (held back), for limits.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.work.buf.len().saturating_sub(self.work.window) + self.work.walker.pending.bytes()
    }

    /// Writes the window with its edits to `out` and goes on to the next. `later` gives, for each `Put::Later` in order, the
    /// bytes to put (one JSON value each).
    ///
    /// # Errors
    /// Another number of them, one that is no JSON value, or too many bytes: then nothing is written and the window stays.
    pub fn splice<'l>(
        &mut self,
        mut later: impl Iterator<Item = &'l [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), SpliceError> {
        let (start, mut grown, mut wrong) = (out.len(), 0, None);
        self.write(out, |raw, out| match later.next() {
            Some(value) if is_json(value) => {
                grown += value.len().saturating_sub(raw.len());
                out.extend_from_slice(value);
            }
            Some(_) => wrong = Some(SpliceError::Value),
            None => wrong = Some(SpliceError::Count),
        });
        let wrong = wrong.or_else(|| later.next().map(|_| SpliceError::Count));
        let wrong = wrong.or_else(|| self.charge_growth(grown).err().map(|_| SpliceError::Growth));
        if let Some(wrong) = wrong {
            out.truncate(start);
            return Err(wrong);
        }
        self.advance();
        Ok(())
    }

    /// As [`Rewriter::splice`], where the replacements are not there yet: for each `Put::Later` in order, `gap` hears where in
    /// `out` it has to be filled in, and what stood there. What is filled in has to be charged by [`Rewriter::charge_growth`].
    pub fn splice_around(&mut self, out: &mut Vec<u8>, mut gap: impl FnMut(usize, &[u8])) {
        self.write(out, |raw, out| gap(out.len(), raw));
        self.advance();
    }

    /// So many bytes are put in excess of what they stand for.
    ///
    /// # Errors
    /// That is more than this document may still grow by.
    pub fn charge_growth(&mut self, bytes: usize) -> Result<(), FaultKind> {
        self.work.walker.tally.grow(bytes, 0)
    }

    /// The next window begins.
    fn advance(&mut self) {
        let work = &mut *self.work;
        let window = std::mem::take(&mut work.window);
        work.plan.clear();
        work.buf.drain(..window);
        work.gone += window as u64;
        work.walker.shift(window);
        work.pos = work.pos.saturating_sub(window);
        work.valid = work.valid.saturating_sub(window);
    }

    /// Writes the window with its edits; `later` puts what is not known yet, and sees what stood there.
    fn write(&self, out: &mut Vec<u8>, mut later: impl FnMut(&[u8], &mut Vec<u8>)) {
        let (window, plan) = self.window();
        out.reserve(window.len());
        let mut copied = 0;
        for edit in &plan.edits {
            append(window, copied..edit.range.start, out);
            copied = edit.range.end;
            match &edit.put {
                Put::Nothing => {}
                Put::Here(range) => append(&plan.arena, range.clone(), out),
                Put::Later { .. } => later(window.get(edit.range.clone()).unwrap_or_default(), out),
            }
        }
        out.extend_from_slice(window.get(copied..).unwrap_or_default());
    }

    /// How often each selection was the one that decided, by selection number. What a `keep` of the whole keeps counts once,
    /// at the container that it selects; of a transformation each leaf counts, but no `null`.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.work.walker.tally.counts
    }

    /// How often each selection's path matched a place at all (for `must`). Places in what another rule has removed or
    /// replaced as a whole are not looked at.
    #[must_use]
    pub fn matched(&self) -> &[u64] {
        &self.work.walker.tally.matched
    }

    /// The selection at which the last `FaultKind::Rule` fault came up.
    #[must_use]
    pub fn failed(&self) -> Option<usize> {
        self.work.walker.tally.failed
    }

    /// What is left of what one body may take.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.work.walker.tally.budget()
    }

    /// Allows no more than this, where several documents share what one body may take.
    pub fn limit(&mut self, budget: Budget) {
        self.work.walker.tally.limit(budget);
    }

    /// The lines of a traced run.
    pub fn take_trace(&mut self) -> Vec<TraceLine> {
        self.work.walker.trace.as_mut().map(|trace| std::mem::take(&mut trace.lines)).unwrap_or_default()
    }

    /// Extends `valid` over the new bytes; gives where they stop being UTF-8. A code point that is cut waits for the rest.
    fn validate(&mut self) -> Option<usize> {
        let new = self.work.buf.get(self.work.valid..).unwrap_or_default();
        if simdutf8::basic::from_utf8(new).is_ok() {
            self.work.valid = self.work.buf.len();
            return None;
        }
        let Err(error) = simdutf8::compat::from_utf8(new) else { return None };
        self.work.valid += error.valid_up_to();
        error.error_len().map(|_| self.work.valid)
    }

    fn walk(&mut self, end: bool, judge: &mut dyn Judge) -> Result<(), Fault> {
        let work = &mut *self.work;
        let input = Input { buf: work.buf.get(..work.valid).unwrap_or_default(), end };
        let mut marks = spare::marks();
        let walked = work.walker.run(&self.program, &mut marks, input, work.pos, &mut work.plan, judge);
        spare::keep_marks(marks);
        // Its places are places in this buffer.
        work.walker.region.clear();
        work.walker.tally.settle(&self.program);
        match walked {
            Ok(pos) => work.pos = pos,
            Err(bad) => return Err(self.fail(bad)),
        }
        work.window = work.walker.sep;
        work.walker.pending.settle(&work.buf, work.window, &mut work.plan);
        Ok(())
    }

    fn fail(&mut self, bad: Bad) -> Fault {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        let offset = self.work.gone + bad.at as u64;
        let mark = offset == 0 && self.work.buf.starts_with(MARK);
        let kind = if mark { FaultKind::ByteOrderMark } else { bad.kind };
        let fault = Fault { kind, offset, location: self.work.walker.location(&self.program) };
        self.work.fault = Some(fault.clone());
        fault
    }
}

/// Appends a stretch of `bytes`. A short one, as most are, is copied with what is behind it, and that is taken away again: so many
/// bytes are a few moves, and no call.
#[inline(always)]
fn append(bytes: &[u8], range: Range<usize>, out: &mut Vec<u8>) {
    const SHORT: usize = 32;
    let (start, len) = (range.start, range.len());
    match bytes.get(start..).and_then(|rest| rest.first_chunk::<SHORT>()) {
        Some(more) if len <= SHORT => {
            let end = out.len() + len;
            out.extend_from_slice(more);
            out.truncate(end);
        }
        _ => out.extend_from_slice(bytes.get(range).unwrap_or_default()),
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
