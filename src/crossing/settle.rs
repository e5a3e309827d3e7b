//! The end of a window: what waits is filled in, what it costs is paid, and what may not leave is withheld.

use std::sync::Arc;

use crate::verdict::Refusal;

use super::later::{self, Filler};
use super::{Crossing, Out};

impl Crossing {
    /// One round trip for everything that was asked, and every gap is filled. `before`: what might have left before this window.
    pub(super) async fn resolve(&mut self, done: Result<(), Refusal>, before: (usize, usize)) -> Result<(), Refusal> {
        let leg = Arc::clone(&self.leg);
        // After a refusal only records that had passed are of use.
        if done.is_err() && !leg.compiled.leg.body.is_stream() {
            return self.settle(done);
        }
        let (gaps, asked) = (&self.out.sink.gaps, self.hand.asked());
        let count = match (&done, leg.subject) {
            (Err(_), _) => later::asked_by(gaps.get(..self.out.ready.1).unwrap_or_default()),
            // Whose a document's values are is known at its end.
            (Ok(()), Some(_)) => self.hand.later.as_ref().map_or(0, |later| later.ended),
            (Ok(()), None) => asked,
        };
        if count == 0 {
            return self.settle(done);
        }
        // Whoever drops this future on its way has a crossing that is spent.
        self.failed = true;
        let answered = self.hand.resolve(&leg, count).await;
        let filler = answered.map(|answers| Filler::new(&leg, &mut self.hand, answers));
        let filled = filler.and_then(|filler| filler.fill(&mut self.out.sink, &mut self.out.ready));
        self.failed = false;
        if filled.is_err() {
            self.withhold(before);
            return self.settle(filled);
        }
        self.settle(done)
    }

    /// Nothing of this window leaves. What was written before it does only where all its values stand in it.
    fn withhold(&mut self, before: (usize, usize)) {
        let whole = if before.1 == 0 { before.0.min(self.out.sink.bytes.len()) } else { 0 };
        self.out.sink.gaps.clear();
        self.out.sink.bytes.truncate(whole);
        self.out.ready = (whole, 0);
    }

    /// Pays for what this window turned back and whose data it has, before anything of it leaves.
    pub(super) fn pay(&mut self, done: Result<(), Refusal>, before: (usize, usize)) -> Result<(), Refusal> {
        let paid = self.hand.pay();
        if paid.is_err() {
            self.withhold(before);
            return self.settle(done.and(paid));
        }
        done
    }

    /// A refusal spends the crossing, with all that waits in it but whole records.
    pub(super) fn settle(&mut self, done: Result<(), Refusal>) -> Result<(), Refusal> {
        if done.is_err() {
            self.failed = true;
            if !self.leg.compiled.leg.body.is_stream() {
                self.out = Out::default();
            }
        }
        done
    }

    pub(super) fn spent(&self) -> Refusal {
        Refusal::RuleFailed { leg: self.leg.side, rule: None }
    }
}
