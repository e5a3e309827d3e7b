//! One text of a body that is not in a JSON document, and the rule of its place: an event's id, a form's value, a part.
//!
//! The same verbs as everywhere; beside a body it is [`super::head`] that runs them. Start at `Bench::cross`.

use crate::verdict::Refusal;

use super::beside::Pick;
use super::bind::{Applied, Input, Transformer};
use super::{Bench, add};
use crate::policy::compile::Asker;

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crossed {
    /// It stays as it was.
    Same,
    /// What was appended takes its place.
    New,
    /// It goes.
    Gone,
}

impl Bench<'_> {
    /// Runs one text through the rule of its place, and appends what takes its place.
    pub(super) fn cross(&mut self, pick: Pick, text: &str, out: &mut Vec<u8>) -> Result<Crossed, Refusal> {
        let Pick::One(asker) = pick else { return Ok(Crossed::Gone) };
        let (Some(transformer), Some(rule)) = (self.leg.transformer(asker), self.leg.rule_id(asker)) else {
            return Err(self.failed(None));
        };
        add(&mut self.hand.tally, rule, 1);
        Ok(match transformer.apply(Input::Text(text, None), self.hand, out) {
            Applied::Text | Applied::Number => Crossed::New,
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
                return Err(self.failed(Some(asker)));
            }
        })
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
