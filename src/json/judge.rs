//! Leaves that are held: what the judge says of them, and what `explain` prints.
//!
//! Start at [`Walker::judge`].

use super::FaultKind;
use super::automaton::{Program, Verb};
use super::marks::Marks;
use super::patch::{self, Patch};
use super::scan::{self, Bad, Token};
use super::skim::Skim;
use super::trace::Line;
use super::walk::{Mode, Walker};
use super::window::{self, Edit, Judge, Judgement, Leaf, Plan, Put, TraceOutcome};

/// What a judge said of a leaf.
pub(super) struct Asked {
    pub(super) judgement: Judgement,
    kind: window::Kind,
    selection: u32,
    /// What it wrote ends the plan's arena, and begins here.
    pub(super) written: usize,
    patches: Vec<Patch>,
}

impl Walker {
    /// Gives a held leaf to the judge.
    pub(super) fn judge(
        &mut self,
        buf: &[u8],
        end: usize,
        selection: u32,
        plan: &mut Plan,
        judge: &mut dyn Judge,
    ) -> Result<(), Bad> {
        let raw = buf.get(self.value..end).unwrap_or_default();
        let asked = self.ask(raw, self.value, selection, plan, judge)?;
        self.judged(asked, end, plan)
    }

    /// What does the judge say of the leaf at `at`? What it writes is checked and within the body's limit.
    pub(super) fn ask(
        &mut self,
        raw: &[u8],
        at: usize,
        selection: u32,
        plan: &mut Plan,
        judge: &mut dyn Judge,
    ) -> Result<Asked, Bad> {
        let bad = |kind| Bad { kind, at };
        let kind = kind_of(raw).unwrap_or(window::Kind::String);
        self.tally.spend_leaf().map_err(bad)?;
        let written = plan.arena.len();
        let mut judgement = judge.judge(Leaf { selection: selection as usize, kind, raw }, &mut plan.arena);
        let mut patches = Vec::new();
        if judgement == Judgement::Patch {
            patches = judge.patches();
            plan.arena.truncate(written);
            if patch::apply(raw, &patches, &mut plan.arena).is_none() {
                judgement = Judgement::Refuse;
            }
        }
        if matches!(judgement, Judgement::Put | Judgement::Patch) {
            let bytes = plan.arena.get(written..).unwrap_or_default();
            if is_json(bytes) {
                self.tally.grow(bytes.len(), raw.len()).map_err(bad)?;
            } else {
                judgement = Judgement::Refuse;
            }
        }
        Ok(Asked { judgement, kind, selection, written, patches })
    }

    /// Does with the current leaf what the judge said.
    pub(super) fn judged(&mut self, asked: Asked, end: usize, plan: &mut Plan) -> Result<(), Bad> {
        let Asked { judgement, kind, selection, written, patches } = asked;
        let mut mode = Mode::Gone;
        let traced = self.trace.is_some() && matches!(judgement, Judgement::Put | Judgement::Patch);
        let put = traced.then(|| plan.arena.get(written..).unwrap_or_default().to_vec());
        if judgement != Judgement::Put {
            plan.arena.truncate(written);
        }
        let bytes = written..plan.arena.len();
        let outcome = match judgement {
            Judgement::Put => {
                self.keep(plan);
                plan.place(self.value, bytes);
                TraceOutcome::Transformed
            }
            Judgement::Patch => {
                self.keep(plan);
                for Patch { range, put } in &patches {
                    plan.remove(self.value + range.start..self.value + range.end);
                    plan.put(self.value + range.end, put);
                }
                mode = Mode::Keep;
                TraceOutcome::Transformed
            }
            Judgement::Later => {
                self.keep(plan);
                let put = Put::Later { selection: selection as usize, kind };
                plan.edits.push(Edit { range: self.value..end, put });
                self.sep = end;
                TraceOutcome::Transformed
            }
            Judgement::Pass => {
                self.keep(plan);
                mode = Mode::Keep;
                TraceOutcome::Kept
            }
            Judgement::Drop => {
                mode = Mode::Drop;
                TraceOutcome::Dropped
            }
            Judgement::Refuse => {
                self.tally.failed = Some(selection as usize);
                return scan::bad(FaultKind::Rule, self.value);
            }
        };
        if let Some(trace) = &mut self.trace {
            let line = Line { kind: Some(kind), by: Some(selection), outcome, put };
            trace.leaf(&self.stack, &self.top, line);
        }
        self.end_leaf(mode, end, plan);
        Ok(())
    }

    /// A line for a place whose fate is known at its first byte.
    pub(super) fn trace_begun(&mut self, program: &Program, by: Option<u32>, first: u8, mode: Mode) {
        let verb = by.and_then(|by| program.selections.get(by as usize)).map(|s| &s.verb);
        let outcome = match (mode, verb) {
            // The judge has yet to say.
            (Mode::Hold { .. } | Mode::Probe, _) => return,
            (Mode::Keep, _) => TraceOutcome::Kept,
            (Mode::Drop, _) => TraceOutcome::Dropped,
            (Mode::Gone, Some(Verb::Replace(_))) => TraceOutcome::Replaced,
            (Mode::Gone, _) => TraceOutcome::Null,
        };
        let put = by.filter(|_| mode == Mode::Gone).map(|by| program.constant(by).to_vec());
        if let Some(trace) = &mut self.trace {
            trace.leaf(&self.stack, &self.top, Line { kind: kind_of(&[first]), by, outcome, put });
        }
    }
}

/// The kind of a leaf by its first byte; `None` for null and containers.
fn kind_of(raw: &[u8]) -> Option<window::Kind> {
    match raw.first() {
        Some(b'"') => Some(window::Kind::String),
        Some(b't') => Some(window::Kind::True),
        Some(b'f') => Some(window::Kind::False),
        Some(b'-' | b'0'..=b'9') => Some(window::Kind::Number),
        _ => None,
    }
}

/// Are these bytes one JSON value, with nothing around it but white space?
pub(super) fn is_json(bytes: &[u8]) -> bool {
    /// Deep enough for any constant.
    const DEPTH: usize = 128;
    if is_plain_string(bytes) {
        return true;
    }
    if simdutf8::basic::from_utf8(bytes).is_err() {
        return false;
    }
    let mut skim = Skim::new();
    match skim.run(&mut Marks::default(), bytes, 0, DEPTH) {
        Ok(Token::Done(end)) => scan::blank(bytes, end) == bytes.len(),
        Ok(Token::More(_)) => skim.is_whole_at_end(),
        Err(_) => false,
    }
}

/// A JSON string of printable ASCII without an escape, as tokens are? Anything else has to be looked at closely.
fn is_plain_string(bytes: &[u8]) -> bool {
    let [b'"', inner @ .., b'"'] = bytes else { return false };
    inner.iter().fold(true, |plain, &byte| plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\'))
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn a_replacement_is_json_exactly_where_serde_json_says_so() {
        let inner = |text: &[u8]| [b"\"", text, b"\""].concat();
        let pairs = (0..=u16::MAX).map(|pair| inner(&pair.to_be_bytes()));
        let ones = (0..=u8::MAX).map(|byte| inner(&[byte]));
        let others =
            ["", "\"", "\"\"", "\"\"\"", "\"a\" ", " \"a\"", "12", "{\"a\":[1]}", "{\"a\":[1]", "tru", "\"a\"\"b\""];
        let others = others.into_iter().map(|text| text.as_bytes().to_vec());
        for text in pairs.chain(ones).chain(others) {
            assert_eq!(is_json(&text), serde_json::from_slice::<serde_json::Value>(&text).is_ok(), "{text:02x?}");
        }
    }
}
