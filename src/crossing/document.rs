//! One JSON document on its way through a program: planned, resolved, spliced.
//!
//! A body that is one document has one of these; a body of many uses one again and again. Start at [`Document::feed`].

use std::sync::Arc;

use crate::json::automaton::Program;
use crate::json::window::{Budget, Rewriter};
use crate::json::{Fault, FaultKind};
use crate::policy::compile::Asker;
use crate::verdict::Refusal;

use super::inside::Hand;
use super::later::{Dress, Sink};
use super::{Bench, inside};

/// See the module.
pub(super) struct Document {
    rewriter: Rewriter,
    /// What it was allowed, where it shares that with others.
    allowed: Option<Budget>,
}

impl Document {
    pub(super) fn new(program: &Arc<Program>) -> Self {
        Self { rewriter: Rewriter::new(Arc::clone(program)), allowed: None }
    }

    /// Scans, plans, resolves, splices the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        let fed = self.rewriter.feed(bytes, bench);
        self.settle(fed, bench, out)
    }

    /// The document ends here.
    pub(super) fn finish(&mut self, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        let finished = self.rewriter.finish(bench);
        self.settle(finished, bench, out)?;
        bench.hand.document_ended(bench.leg)
    }

    /// Makes it ready for the next document. Counts go on.
    pub(super) fn restart(&mut self) {
        self.rewriter.restart();
        self.allowed = None;
    }

    /// Allows it no more than what others have left. Before its first byte.
    pub(super) fn share(&mut self, hand: &Hand) {
        self.rewriter.limit(hand.left);
        self.allowed = Some(hand.left);
    }

    /// Takes from what is left what it took. Behind its last byte.
    pub(super) fn spend(&mut self, hand: &mut Hand) {
        if let Some(allowed) = self.allowed.take() {
            hand.spend_all(allowed, self.rewriter.budget());
        }
    }

    /// How often each selection decided.
    pub(super) fn counts(&self) -> &[u64] {
        self.rewriter.counts()
    }

    /// How often each selection's path matched in this document.
    pub(super) fn matched(&self) -> &[u64] {
        self.rewriter.matched()
    }

    /// Writes the window. Edits that wait for the store leave gaps; one that waits for nothing is a mismatch, and a mismatch refuses.
    fn splice(&mut self, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Option<Fault>> {
        let (mut all, Sink { bytes, gaps }) = (true, out);
        self.rewriter.splice_around(bytes, |at, raw| all &= bench.hand.leave_gap(at, raw, Dress::Json, gaps));
        if all { Ok(()) } else { Err(None) }
    }

    /// Splices what was planned, or says why not.
    fn settle(&mut self, planned: Result<(), Fault>, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        let spliced = match planned {
            Ok(()) => self.splice(bench, out),
            Err(fault) => Err(Some(fault)),
        };
        let Err(fault) = spliced else { return Ok(()) };
        if let (Some(fault), Some(mut cause)) = (&fault, bench.hand.cause.take()) {
            inside::within(&mut cause, fault);
            return Err(cause);
        }
        let leg = bench.leg;
        let asker = self.rewriter.failed().and_then(|selection| bench.askers.get(selection)).copied();
        let rule = asker.and_then(|asker| leg.rule_id(asker)).cloned();
        let leg = leg.side;
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
}
