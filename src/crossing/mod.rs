//! What crosses the boundary: policy and vault put together. The only maker of [`Released`].
//!
//! No HTTP framing, no identity, no record. Start at [`Crossing`] for bodies and [`head`] for what stands beside them.
//!
//! ```text
//! feed ──> scan, plan (json) ──> resolve (vault) ──> splice ──> take ──> Released
//! ```

pub mod bind;
pub mod head;
pub mod transform;

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Time;
use crate::ids::RuleId;
use crate::json::window::{Judge, Judgement, Kind, Leaf, Rewriter};
use crate::json::{Fault, FaultKind, text};
use crate::policy::compile::Asker;
use crate::verdict::Refusal;
use bind::{Applied, BoundLeg, Input};

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
/// After a refusal a crossing is spent, and what waits in it is lost with it.
pub struct Crossing {
    leg: Arc<BoundLeg>,
    /// Made with the first byte: most requests have no body. `None` too where the body passes unread.
    rewriter: Option<Box<Rewriter>>,
    hand: Hand,
    out: Vec<u8>,
    bytes_in: u64,
    bytes_out: u64,
    failed: bool,
}

/// What transforming needs besides the leg.
struct Hand {
    now: Time,
    scratch: String,
    unfit: u64,
    foreign: u64,
}

struct Bench<'a> {
    leg: &'a BoundLeg,
    hand: &'a mut Hand,
}

impl Crossing {
    /// For one body. `now` is for ages from dates of birth.
    #[must_use]
    pub fn new(leg: Arc<BoundLeg>, now: Time) -> Self {
        let hand = Hand { now, scratch: String::new(), unfit: 0, foreign: 0 };
        Self { leg, rewriter: None, hand, out: Vec::new(), bytes_in: 0, bytes_out: 0, failed: false }
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
        let Some(program) = &self.leg.compiled.program else {
            self.out.extend_from_slice(chunk);
            return Ok(());
        };
        let rewriter = self.rewriter.get_or_insert_with(|| Box::new(Rewriter::new(Arc::clone(program))));
        let fed = rewriter.feed(chunk, &mut Bench { leg: &self.leg, hand: &mut self.hand });
        self.settle(fed).await
    }

    /// The body ends here. An empty body passes unless a rule says `must`.
    ///
    /// # Errors
    /// What the body's leg refuses.
    pub async fn finish(&mut self) -> Result<(), Refusal> {
        if self.failed {
            return Err(self.spent());
        }
        if let Some(rewriter) = &mut self.rewriter {
            let finished = rewriter.finish(&mut Bench { leg: &self.leg, hand: &mut self.hand });
            self.settle(finished).await?;
        }
        let matched = |rule: &usize| {
            let Some(rewriter) = &self.rewriter else { return false };
            let askers = self.leg.compiled.askers.iter().zip(rewriter.matched());
            askers.filter(|(asker, _)| **asker == Asker::Rule(*rule)).any(|(_, count)| *count > 0)
        };
        if let Some(rule) = self.leg.musts.iter().find(|rule| !matched(rule)) {
            self.failed = true;
            let rule = self.leg.rule_id(Asker::Rule(*rule)).cloned();
            let leg = self.leg.side;
            return Err(match rule {
                Some(rule) => Refusal::RuleUnmatched { leg, rule },
                None => Refusal::RuleFailed { leg, rule: None },
            });
        }
        Ok(())
    }

    /// What has been decided since the last call.
    #[must_use]
    pub fn take(&mut self) -> Released {
        if self.failed {
            self.out.clear();
        }
        self.bytes_out = self.bytes_out.saturating_add(self.out.len() as u64);
        Released(Bytes::from(std::mem::take(&mut self.out)))
    }

    /// How often each rule decided.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let Some(rewriter) = &self.rewriter else { return Vec::new() };
        // One selection asks for each rule, so that no rule comes twice.
        let decided = rewriter.counts().iter().filter(|count| **count > 0).count();
        let mut tally = Tally::with_capacity(decided);
        for (asker, count) in self.leg.compiled.askers.iter().zip(rewriter.counts()) {
            if let (1.., Some(id)) = (*count, self.leg.rule_id(*asker)) {
                tally.push((id.clone(), *count));
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

    /// Splices what was planned, or says why not.
    async fn settle(&mut self, planned: Result<(), Fault>) -> Result<(), Refusal> {
        let Some(rewriter) = &mut self.rewriter else { return Ok(()) };
        // Sealed tokens are computed where they are judged, so that no edit is left for later. The stored vault will resolve
        // its batch here; until then an edit that waits is a mismatch, and a mismatch refuses.
        let spliced = match planned {
            Ok(()) => rewriter.splice(std::iter::empty(), &mut self.out).map_err(|_| None),
            Err(fault) => Err(Some(fault)),
        };
        let Err(fault) = spliced else { return Ok(()) };
        self.failed = true;
        let asker = rewriter.failed().and_then(|selection| self.leg.compiled.askers.get(selection)).copied();
        let rule = asker.and_then(|asker| self.leg.rule_id(asker)).cloned();
        let leg = self.leg.side;
        Err(match (fault, asker, rule) {
            (Some(fault), Some(Asker::Reveal(_)), Some(rule)) if fault.kind == FaultKind::Rule => {
                Refusal::TokenNotAccepted { leg, rule }
            }
            (Some(fault), _, rule)
                if matches!(fault.kind, FaultKind::Rule | FaultKind::DuplicateName | FaultKind::FilterSteps) =>
            {
                Refusal::RuleFailed { leg, rule }
            }
            (Some(fault), _, _) => {
                Refusal::BodyMalformed { leg, fault: fault.kind.code(), location: fault.location, offset: fault.offset }
            }
            (None, _, _) => Refusal::RuleFailed { leg, rule: None },
        })
    }

    fn spent(&self) -> Refusal {
        Refusal::RuleFailed { leg: self.leg.side, rule: None }
    }
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
        let asker = self.leg.compiled.askers.get(leaf.selection);
        let Some(transformer) = asker.and_then(|asker| self.leg.transformer(*asker)) else { return Judgement::Refuse };
        // The opening quote goes first, so that a text can be written behind it in place.
        let start = out.len();
        out.push(b'"');
        let applied = match (leaf.kind, std::str::from_utf8(leaf.raw)) {
            (Kind::String, _) => {
                let value = text::unescape(leaf.raw);
                let input = Input::Text(&value, Some(leaf.raw));
                transformer.apply(input, self.hand.now, &mut self.hand.scratch, out)
            }
            (Kind::Number, Ok(raw)) => {
                transformer.apply(Input::Number(raw), self.hand.now, &mut self.hand.scratch, out)
            }
            (Kind::True | Kind::False, Ok(raw)) => {
                transformer.apply(Input::Boolean(raw), self.hand.now, &mut self.hand.scratch, out)
            }
            (_, Err(_)) => Applied::Refuse { foreign: false },
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
}

/// Turns the text behind the opening quote at `start` into a JSON string.
fn close_string(start: usize, out: &mut Vec<u8>) {
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    let body = out.get(start + 1..).unwrap_or_default();
    if body.iter().all(plain) {
        out.push(b'"');
        return;
    }
    let text = String::from_utf8_lossy(body).into_owned();
    out.truncate(start);
    text::escape(&text, out);
}

#[cfg(test)]
mod tests;
