//! What crosses the boundary: policy and vault put together. The only maker of [`Released`].
//!
//! No HTTP framing, no identity, no record. Start at [`Crossing`] for bodies and [`head`] for what stands beside them.
//!
//! ```text
//! feed ──> scan, plan (json) ──> resolve (vault) ──> splice ──> take ──> Released
//! ```

mod beside;
pub mod bind;
pub mod budget;
mod document;
mod events;
mod form;
pub mod head;
pub mod inside;
mod later;
mod look;
mod parts;
mod place;
mod records;
mod settle;
pub mod transform;

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Time;
use crate::frames;
use crate::ids::{Leg, RuleId};
use crate::json::patch::{self, Patch};
use crate::json::text;
use crate::json::window::{Budget, Judge, Judgement, Kind, Leaf};
use crate::policy::compile::Asker;
use crate::policy::rule::BodyKind;
use crate::vault::strays::Strays;
use crate::verdict::Refusal;
use bind::{Applied, BoundLeg, Input, Must, Transformer, Wanted};
use budget::{Alarm, RevealBudget};
use document::Document;
use events::Events;
use form::Form;
use inside::{Hand, Opening};
use later::Sink;
use parts::Parts;
use records::Records;

/// Bytes of a body that may leave.
#[derive(Debug)]
pub struct Released(Bytes);

impl Released {
    /// No bytes: whoever has nothing to release needs no leave.
    #[must_use]
    pub fn none() -> Self {
        Self(Bytes::new())
    }
    /// The bytes, for the wire.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
    /// The bytes, to look at (for a tag).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// None at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How often each rule decided; only those that did. Rules in the order of the file.
pub type Tally = Vec<(RuleId, u64)>;

/// Runs one body through its leg's rules.
///
/// What was fed and decided waits inside until [`Crossing::take`]: whoever wants a body whole takes once, at the end.
/// After a refusal a crossing is spent, and what waits in it is lost with it, save what had passed as a unit of its own (a
/// record): that may still be taken.
pub struct Crossing {
    leg: Arc<BoundLeg>,
    /// Made with the first byte: most requests have no body.
    body: Option<Box<Body>>,
    /// Of parts: the boundary of what comes and of what leaves.
    boundaries: Option<(String, String)>,
    hand: Hand,
    out: Out,
    bytes_in: u64,
    bytes_out: u64,
    failed: bool,
}

/// A body, by its framing.
enum Body {
    /// Passes unread.
    Unread,
    /// One document.
    Json(Document),
    /// Lines of documents.
    Lines(Records),
    /// Events with documents.
    Events(Events),
    /// Pairs of a form.
    Form(Form),
    /// Parts.
    Parts(Box<Parts>),
}

/// What was decided, and how much of it may leave.
#[derive(Default)]
struct Out {
    sink: Sink,
    /// So many bytes of it may leave, once as many gaps are filled.
    ready: (usize, usize),
}

impl Out {
    /// All of it may leave.
    fn release(&mut self) {
        self.ready = (self.sink.bytes.len(), self.sink.gaps.len());
    }

    /// Gives what may leave. What may not stays in its buffer: it is asked after every read, and a record that comes in small pieces
    /// would be copied with each of them.
    fn take(&mut self) -> Vec<u8> {
        let Sink { bytes, gaps } = &mut self.sink;
        match self.ready {
            (0, _) => Vec::new(),
            // INVARIANT: nothing at or behind a gap leaves. What waits here is for the end of its document.
            (_, 1..) => Vec::new(),
            (ready, 0) => {
                self.ready = (0, 0);
                gaps.iter_mut().for_each(|gap| gap.at -= ready.min(gap.at));
                if ready < bytes.len() { bytes.drain(..ready).collect() } else { std::mem::take(bytes) }
            }
        }
    }
}

/// Judges the leaves of one document.
struct Bench<'a> {
    leg: &'a BoundLeg,
    /// Who asks, by selection number of the document's program.
    askers: &'a [Asker],
    hand: &'a mut Hand,
    /// What changes in the leaf that was judged last.
    patches: Vec<Patch>,
    /// Inside a string, which is run again where something waits for the store: nothing waits for itself.
    nested: bool,
}

impl Crossing {
    /// For one body. `now` is for ages from dates of birth.
    #[must_use]
    pub fn new(leg: Arc<BoundLeg>, now: Time) -> Self {
        let hand = Hand::new(now, &leg.compiled.limits);
        Self { leg, body: None, boundaries: None, hand, out: Out::default(), bytes_in: 0, bytes_out: 0, failed: false }
    }

    /// Whatever is turned back, and whosever data leaves, is charged to this budget.
    pub fn charging(&mut self, budget: Option<Arc<RevealBudget>>) {
        self.hand.charging(budget);
    }

    /// Says how the parts of a body are set apart: where it comes (`theirs`), and where it leaves. Before the first byte; nobody who
    /// sends a part may know `ours`.
    pub fn set_apart(&mut self, theirs: String, ours: String) {
        self.boundaries = Some((theirs, ours));
    }

    /// Scans, plans, resolves, splices the next bytes.
    ///
    /// # Errors
    /// What the body's leg refuses.
    pub async fn feed(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        if self.failed {
            return Err(self.spent());
        }
        if chunk.is_empty() {
            return Ok(());
        }
        self.bytes_in = self.bytes_in.saturating_add(chunk.len() as u64);
        let body = self.body.get_or_insert_with(|| Box::new(Body::new(&self.leg, self.boundaries.as_ref())));
        let mut bench = Bench::new(&self.leg, &mut self.hand);
        let ready = self.out.ready;
        let fed = body.feed(chunk, &mut bench, &mut self.out);
        if self.hand.asked() > 0 {
            // In a box, because it is rare and large, and would make every exchange as large.
            let resolved = Box::pin(self.resolve(fed, ready)).await;
            return self.pay(resolved, ready);
        }
        let settled = self.settle(fed);
        self.pay(settled, ready)
    }

    /// The body ends here. An empty body passes unless a rule says `must`.
    ///
    /// # Errors
    /// What the body's leg refuses.
    pub async fn finish(&mut self) -> Result<(), Refusal> {
        if self.failed {
            return Err(self.spent());
        }
        let ready = self.out.ready;
        let mut bench = Bench::new(&self.leg, &mut self.hand);
        let finished = match &mut self.body {
            Some(body) => body.finish(&mut bench, &mut self.out),
            // Of a stream each record must match; there is none.
            None if self.leg.compiled.leg.body.is_stream() => Ok(()),
            None => bench.must_match(None),
        };
        if self.hand.asked() > 0 {
            let resolved = Box::pin(self.resolve(finished, ready)).await;
            return self.pay(resolved, ready);
        }
        let settled = self.settle(finished);
        self.pay(settled, ready)
    }

    /// What may leave of what has been decided since the last call.
    #[must_use]
    pub fn take(&mut self) -> Released {
        let ready = self.out.take();
        self.bytes_out = self.bytes_out.saturating_add(ready.len() as u64);
        Released(Bytes::from(ready))
    }

    /// How often each rule decided.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let beside = self.leg.compiled.beside.iter().filter_map(|asker| self.leg.transformer(*asker));
        let mut tally = self.hand.tally.clone();
        if let Some(document) = self.body.as_ref().and_then(|body| body.document()) {
            let outside = std::mem::take(&mut tally);
            let decided = document.counts().iter().filter(|count| **count > 0).count();
            tally.reserve_exact(decided + outside.len());
            inside::tally(&self.leg, document.counts(), &self.hand, &mut tally);
            tally.extend(outside);
        }
        for transformer in beside {
            if let Transformer::Inside(opening) = transformer {
                inside::opened(opening, &self.hand, &mut tally);
            }
        }
        tally
    }

    /// Bytes fed.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Bytes taken.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Values that did not fit their rule and were dropped.
    #[must_use]
    pub fn unfit(&self) -> u64 {
        self.hand.unfit
    }

    /// Tokens that came up where they are not turned back: another partner's, another category's, or tampered with.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.hand.foreign
    }

    /// Of those, some to ask whose they are.
    #[must_use]
    pub fn strays(&self) -> &Strays {
        &self.hand.strays
    }

    /// Stored tokens that came up and were erased or have ended.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.hand.gone
    }

    /// What an operator has to know of the partner's budgets.
    #[must_use]
    pub fn alarms(&self) -> &[Alarm] {
        self.hand.alarms()
    }
}

impl Body {
    fn new(leg: &BoundLeg, boundaries: Option<&(String, String)>) -> Self {
        let Some(program) = &leg.compiled.program else {
            return match leg.compiled.leg.body {
                BodyKind::Form => Self::Form(Form::new(leg.compiled.limits.value_bytes)),
                _ => Self::Unread,
            };
        };
        let document = Document::new(program);
        match leg.compiled.leg.body {
            BodyKind::Multipart => {
                // Without boundaries it is no delimiter that can come, and nothing is read.
                let (theirs, ours) = boundaries.map_or(("", ""), |(theirs, ours)| (theirs, ours));
                Self::Parts(Box::new(Parts::new(theirs, ours)))
            }
            BodyKind::Sse => Self::Events(Events::new(document, leg.compiled.unit_bytes)),
            BodyKind::Ndjson => Self::Lines(Records::new(document, leg.compiled.unit_bytes)),
            _ => Self::Json(document),
        }
    }

    fn feed(&mut self, chunk: &[u8], bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        match self {
            Self::Unread => out.sink.extend_from_slice(chunk),
            Self::Json(document) => document.feed(chunk, bench, &mut out.sink)?,
            Self::Lines(records) => return records.feed(chunk, bench, out),
            Self::Events(events) => return events.feed(chunk, bench, out),
            Self::Form(form) => return form.feed(chunk, bench, out),
            Self::Parts(parts) => return parts.feed(chunk, bench, out),
        }
        out.release();
        Ok(())
    }

    fn finish(&mut self, bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        match self {
            Self::Unread => {}
            Self::Json(document) => {
                document.finish(bench, &mut out.sink)?;
                bench.must_match(Some(document))?;
            }
            Self::Lines(records) => return records.finish(bench, out),
            // What stands behind the last event is none.
            Self::Events(_) => return Ok(()),
            Self::Form(form) => return form.finish(bench, out),
            Self::Parts(parts) => return parts.finish(bench, out),
        }
        out.release();
        Ok(())
    }

    /// The one that counts.
    fn document(&self) -> Option<&Document> {
        match self {
            Self::Unread | Self::Form(_) | Self::Parts(_) => None,
            Self::Json(document) => Some(document),
            Self::Lines(records) => Some(records.document()),
            Self::Events(events) => Some(events.document()),
        }
    }
}

impl<'a> Bench<'a> {
    fn new(leg: &'a BoundLeg, hand: &'a mut Hand) -> Self {
        Self { leg, askers: &leg.compiled.askers, hand, patches: Vec::new(), nested: false }
    }

    /// As [`Bench::new`], inside a string.
    fn nested(leg: &'a BoundLeg, hand: &'a mut Hand) -> Self {
        Self { nested: true, ..Self::new(leg, hand) }
    }

    /// The same, for a document of which others ask.
    fn with<'b>(&'b mut self, askers: &'b [Asker]) -> Bench<'b> {
        Bench { leg: self.leg, askers, hand: self.hand, patches: Vec::new(), nested: self.nested }
    }

    /// Opens a string.
    fn open(&mut self, asker: Asker, opening: &Opening, leaf: &Leaf<'_>) -> Judgement {
        if leaf.kind != Kind::String {
            let rule = Some(opening.rule.clone());
            self.hand.cause = Some(Refusal::RuleFailed { leg: self.leg.side, rule });
            return Judgement::Refuse;
        }
        let (asked, budget) = (self.hand.asked(), self.hand.left);
        let patches = opening.cross(&text::unescape(leaf.raw), self.hand);
        if patches.is_some() && self.hand.asked() > asked {
            return self.wait(asker, asked, budget);
        }
        match patches.and_then(|patches| patch::respell(leaf.raw, &patches)) {
            Some(patches) if patches.is_empty() => Judgement::Pass,
            Some(patches) => {
                self.patches = patches;
                Judgement::Patch
            }
            None => Judgement::Refuse,
        }
    }

    /// The value that says whose data the document is.
    fn tell_subject(&mut self, leaf: &Leaf<'_>) {
        let subject = match (leaf.kind, std::str::from_utf8(leaf.raw)) {
            (Kind::String, _) => text::unescape(leaf.raw),
            (_, Ok(raw)) => text::canonical_number(raw.as_bytes()).map_or(raw.into(), Into::into),
            (_, Err(_)) => return,
        };
        self.hand.belongs_to(&subject);
        if self.leg.compiled.counts_subjects {
            self.hand.discloses(&subject);
        }
    }

    /// The leaf waits for what was asked from `asked` on.
    fn wait(&mut self, asker: Asker, asked: usize, budget: Budget) -> Judgement {
        if self.nested {
            // The string around it waits, and is run again.
            return Judgement::Pass;
        }
        self.hand.wait(asker, asked, None, budget);
        Judgement::Later
    }

    /// Every rule that must match has matched in this document.
    fn must_match(&self, document: Option<&Document>) -> Result<(), Refusal> {
        let matched = |must: &Must| match (must.what, document) {
            (Wanted::Inside(slot, selection), _) => self.hand.matched(slot, selection) > 0,
            (Wanted::Selection(selection), Some(document)) => {
                document.matched().get(selection).is_some_and(|count| *count > 0)
            }
            (Wanted::Selection(_), None) | (Wanted::Rule(_), _) => false,
        };
        self.must(matched)
    }

    /// Every rule that must match has.
    fn must(&self, matched: impl Fn(&Must) -> bool) -> Result<(), Refusal> {
        match self.leg.musts.iter().find(|must| !matched(must)) {
            Some(must) => Err(Refusal::RuleUnmatched { leg: self.leg.side, rule: must.rule.clone() }),
            None => Ok(()),
        }
    }
}

/// A body that is not in its framing. `unit`: the number of its line, event or part.
fn malformed(leg: Leg, fault: frames::Fault, unit: u64) -> Refusal {
    use frames::FaultKind as K;
    let word = match fault.kind {
        K::LineReturn => "line",
        K::EventTooLong | K::EventUtf8 | K::EventUnlisted => "event",
        K::FormEscape | K::FormByte | K::FormUtf8 | K::FormName | K::FormValue | K::FormUnlisted => "pair",
        _ => "part",
    };
    Refusal::BodyMalformed { leg, fault: fault.kind.code(), location: format!("{word} {unit}"), offset: fault.offset }
}

/// Adds to a rule's count.
pub(crate) fn add(tally: &mut Tally, id: &RuleId, count: u64) {
    match tally.iter_mut().find(|(known, _)| known == id) {
        Some((_, sum)) => *sum = sum.saturating_add(count),
        None => tally.push((id.clone(), count)),
    }
}

impl Judge for Bench<'_> {
    fn judge(&mut self, leaf: Leaf<'_>, out: &mut Vec<u8>) -> Judgement {
        let Some(asker) = self.askers.get(leaf.selection).copied() else { return Judgement::Refuse };
        let Some(transformer) = self.leg.transformer(asker) else { return Judgement::Refuse };
        if let Transformer::Inside(opening) = transformer {
            return self.open(asker, opening, &leaf);
        }
        if self.leg.subject.is_some_and(|rule| asker == Asker::Rule(rule)) {
            self.tell_subject(&leaf);
        }
        let asked = self.hand.asked();
        // The opening quote goes first, so that a text can be written behind it in place.
        let start = out.len();
        out.push(b'"');
        let applied = if leaf.kind == Kind::String {
            let value = text::unescape(leaf.raw);
            transformer.apply(Input::Text(&value, Some(leaf.raw)), self.hand, out)
        } else {
            match std::str::from_utf8(leaf.raw) {
                Ok(raw) if leaf.kind == Kind::Number => transformer.apply(Input::Number(raw), self.hand, out),
                Ok(raw) => transformer.apply(Input::Boolean(raw), self.hand, out),
                Err(_) => Applied::Refuse { foreign: false },
            }
        };
        match applied {
            Applied::Text => {
                close_string(start, out);
                return Judgement::Put;
            }
            Applied::Number => {
                out.remove(start);
                return Judgement::Put;
            }
            _ => out.truncate(start),
        }
        match applied {
            Applied::Unfit => {
                self.hand.unfit = self.hand.unfit.saturating_add(1);
                Judgement::Drop
            }
            Applied::Later => self.wait(asker, asked, self.hand.left),
            Applied::Remove => Judgement::Drop,
            Applied::Pass => Judgement::Pass,
            Applied::PassForeign => {
                self.hand.foreign = self.hand.foreign.saturating_add(1);
                Judgement::Pass
            }
            Applied::Refuse { foreign } => {
                self.hand.foreign = self.hand.foreign.saturating_add(u64::from(foreign));
                Judgement::Refuse
            }
            Applied::Text | Applied::Number => Judgement::Put,
        }
    }

    fn patches(&mut self) -> Vec<Patch> {
        std::mem::take(&mut self.patches)
    }
}

/// Turns the text behind the opening quote at `start` into a JSON string.
fn close_string(start: usize, out: &mut Vec<u8>) {
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    let body = out.get(start + 1..).unwrap_or_default();
    // Looked at to the end: without a way out the loop is done on many bytes at a time.
    if body.iter().fold(true, |all, byte| all & plain(byte)) {
        out.push(b'"');
        return;
    }
    let text = String::from_utf8_lossy(body).into_owned();
    out.truncate(start);
    text::escape(&text, out);
}

#[cfg(test)]
mod tests;
