//! One text of a body that is not in a JSON document, and the rule of its place: an event's id, a form's value, a part.
//!
//! The same verbs as everywhere; beside a body it is [`super::head`] that runs them. Start at `Bench::cross`.

use crate::json::FaultKind;
use crate::verdict::Refusal;

use super::beside::Pick;
use super::bind::{Applied, Input, Transformer};
use super::later::{Dress, Sink};
use super::{Bench, add};
use crate::policy::compile::Asker;

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crossed {
    /// It stays as it was.
    Same,
    /// What was appended takes its place.
    New,
    /// What the store says takes its place: the next gap is for it.
    Later,
    /// It goes.
    Gone,
}

/// Where a text stands, for a refusal.
#[derive(Clone, Copy)]
pub(super) struct At {
    /// `pair`, `part` or `event`.
    pub(super) word: &'static str,
    /// Its number.
    pub(super) unit: u64,
    /// Bytes of the body before it.
    pub(super) offset: u64,
}

impl At {
    /// Says of a refusal whose place is in a string where that string is.
    fn around(self, mut refusal: Refusal) -> Refusal {
        if let Refusal::BodyMalformed { location, offset, .. } = &mut refusal {
            *location = format!("{} {}: {location}", self.word, self.unit);
            *offset = self.offset;
        }
        refusal
    }
}

impl Bench<'_> {
    /// Runs one text through the rule of its place, and appends what takes its place.
    pub(super) fn cross(&mut self, pick: Pick, text: &str, at: At, out: &mut Vec<u8>) -> Result<Crossed, Refusal> {
        let Pick::One(asker) = pick else { return Ok(Crossed::Gone) };
        if !self.is_blind(pick) {
            self.hand.left.leaves =
                self.hand.left.leaves.checked_sub(1).ok_or_else(|| self.exceeded(FaultKind::Leaves, at))?;
        }
        let (Some(transformer), Some(rule)) = (self.leg.transformer(asker), self.leg.rule_id(asker)) else {
            return Err(self.failed(None));
        };
        add(&mut self.hand.tally, rule, 1);
        let (asked, budget) = (self.hand.asked(), self.hand.left);
        Ok(match transformer.apply(Input::Text(text, None), self.hand, out) {
            Applied::Text | Applied::Number => Crossed::New,
            // The string around it waits, and is run again.
            Applied::Later if self.nested => Crossed::Same,
            Applied::Later => {
                let text = matches!(transformer, Transformer::Inside(_)).then(|| text.to_owned());
                self.hand.wait(asker, asked, text, budget);
                Crossed::Later
            }
            Applied::Pass => Crossed::Same,
            Applied::Remove => Crossed::Gone,
            Applied::PassForeign => {
                self.hand.foreign += 1;
                Crossed::Same
            }
            Applied::Unfit => {
                self.hand.unfit += 1;
                Crossed::Gone
            }
            Applied::Refuse { foreign } => {
                self.hand.foreign += u64::from(foreign);
                return Err(at.around(self.failed(Some(asker))));
            }
        })
    }

    /// So many bytes are put where there were so many; of a constant all count.
    pub(super) fn grow(&mut self, to: usize, from: usize, at: At) -> Result<(), Refusal> {
        let grown = to.saturating_sub(from) as u64;
        let left = self.hand.left.growth.checked_sub(grown);
        self.hand.left.growth = left.ok_or_else(|| self.exceeded(FaultKind::Growth, at))?;
        Ok(())
    }

    fn exceeded(&self, kind: FaultKind, at: At) -> Refusal {
        let location = format!("{} {}", at.word, at.unit);
        Refusal::BodyMalformed { leg: self.leg.side, fault: kind.code(), location, offset: at.offset }
    }

    /// Leaves the gap for what waits for the store.
    pub(super) fn leave_gap(&mut self, stood: &[u8], dress: Dress, out: &mut Sink) -> Result<(), Refusal> {
        let left = self.hand.leave_gap(out.bytes.len(), stood, dress, &mut out.gaps);
        if left { Ok(()) } else { Err(self.failed(None)) }
    }

    /// Whether the rule decides without seeing the value.
    pub(super) fn is_blind(&self, pick: Pick) -> bool {
        let Pick::One(asker) = pick else { return true };
        let transformer = self.leg.transformer(asker);
        matches!(transformer, Some(Transformer::Keep | Transformer::Remove | Transformer::Replace(_)))
    }

    /// A rule that could not be evaluated, or a token that was not accepted.
    pub(super) fn failed(&mut self, asker: Option<Asker>) -> Refusal {
        if let Some(cause) = self.hand.cause.take() {
            return cause;
        }
        let leg = self.leg.side;
        match (asker, asker.and_then(|asker| self.leg.rule_id(asker)).cloned()) {
            (Some(Asker::Reveal(_)), Some(rule)) => Refusal::TokenNotAccepted { leg, rule },
            (_, rule) => Refusal::RuleFailed { leg, rule },
        }
    }
}
