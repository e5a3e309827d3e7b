//! Rules inside strings, with their keys: opens a string, crosses what is in it, and says what changes in the string.
//!
//! What is counted inside all the strings of a body is counted together. Start at `Opening::cross`.

use std::sync::Arc;

use crate::clock::Time;
use crate::ids::RuleId;
use crate::json;
use crate::json::FaultKind;
use crate::json::patch::Patch;
use crate::json::window::{Budget, Rewriter};
use crate::policy::compile::Asker;
use crate::policy::inside::coding::Coding;
use crate::policy::inside::form::Stopped;
use crate::policy::inside::{self, Fault};
use crate::policy::rule::BodyKind;
use crate::vault::strays::Strays;
use crate::verdict::Refusal;

use super::bind::{BoundLeg, Transformer};
use super::budget::Purse;
use super::later::Later;
use super::look::Looked;
use super::{Bench, Tally, add, form};

/// A rule with `inside`: what it opens, and the rules for what is in there.
#[derive(Debug)]
pub struct Opening {
    /// What is undone first.
    pub codings: Vec<Coding>,
    /// The rules.
    pub leg: Box<BoundLeg>,
    /// The rule's own name.
    pub rule: RuleId,
    /// Its number among the openings of the whole leg.
    pub slot: usize,
}

/// What transforming needs besides the leg, and what it counts.
pub(super) struct Hand {
    pub(super) now: Time,
    pub(super) scratch: String,
    /// Of rules that look outside of documents.
    pub(super) tally: Tally,
    pub(super) unfit: u64,
    pub(super) foreign: u64,
    /// Of those, some to ask whose they are.
    pub(super) strays: Strays,
    /// Why a string could not be crossed.
    pub(super) cause: Option<Refusal>,
    /// By number of the opening.
    inner: Vec<Counts>,
    /// What a document may take, and what is left of it for all its strings together; of a body that is no document, for its texts too.
    full: Budget,
    pub(super) left: Budget,
    /// Stored tokens that were erased or have ended.
    pub(super) gone: u64,
    /// What waits for the store.
    pub(super) later: Option<Box<Later>>,
    /// When the keys were last looked at for a token of this.
    pub(super) looked: Looked,
    /// What is charged to the partner's budget.
    pub(super) purse: Option<Box<Purse>>,
}

/// As of a [`Rewriter`], of all strings that one rule opened.
#[derive(Default)]
struct Counts {
    decided: Vec<u64>,
    matched: Vec<u64>,
    /// Of forms, which have no selections: how often each rule decided.
    named: Tally,
}

impl Hand {
    pub(super) fn new(now: Time, limits: &json::Limits) -> Self {
        let (scratch, tally, inner) = (String::new(), Vec::new(), Vec::new());
        let json::Limits { filter_steps, leaves, growth_bytes: growth, .. } = *limits;
        let full = Budget { filter_steps, leaves, growth };
        let strays = Strays::default();
        Self {
            now,
            scratch,
            tally,
            unfit: 0,
            foreign: 0,
            strays,
            cause: None,
            inner,
            full,
            left: full,
            gone: 0,
            later: None,
            looked: None,
            purse: None,
        }
    }

    /// The next document begins. Counts of decisions go on.
    pub(super) fn restart(&mut self) {
        self.left = self.full;
        self.next_document();
        for counts in &mut self.inner {
            counts.matched.clear();
        }
    }

    /// How often a selection inside strings matched in this document.
    pub(super) fn matched(&self, slot: usize, selection: usize) -> u64 {
        self.inner.get(slot).and_then(|counts| counts.matched.get(selection)).copied().unwrap_or(0)
    }

    /// A string took what is between the two. Strings inside it have been charged for theirs. Not what it grew by: that is charged
    /// where it is written.
    fn spend(&mut self, before: Budget, after: Budget) {
        let left = &mut self.left;
        let take = |left: u64, before: u64, after: u64| left.saturating_sub(before.saturating_sub(after));
        left.filter_steps = take(left.filter_steps, before.filter_steps, after.filter_steps);
        left.leaves = take(left.leaves, before.leaves, after.leaves);
    }

    /// As [`Hand::spend`], of one of several documents, which is written as it is.
    pub(super) fn spend_all(&mut self, before: Budget, after: Budget) {
        self.spend(before, after);
        self.left.growth = self.left.growth.saturating_sub(before.growth.saturating_sub(after.growth));
    }

    /// As [`Hand::count`], of forms: the rules that decided, and those that have to match and did.
    fn count_named(&mut self, slot: usize, decided: &Tally, seen: &[usize]) {
        self.make_room(slot);
        let Some(Counts { named, matched, .. }) = self.inner.get_mut(slot) else { return };
        for (rule, count) in decided {
            add(named, rule, *count);
        }
        for rule in seen {
            if matched.len() <= *rule {
                matched.resize(rule + 1, 0);
            }
            if let Some(count) = matched.get_mut(*rule) {
                *count = count.saturating_add(1);
            }
        }
    }

    fn make_room(&mut self, slot: usize) {
        if self.inner.len() <= slot {
            self.inner.resize_with(slot + 1, Counts::default);
        }
    }

    fn count(&mut self, slot: usize, rewriter: &Rewriter) {
        self.make_room(slot);
        let Some(Counts { decided, matched, .. }) = self.inner.get_mut(slot) else { return };
        for (sums, new) in [(decided, rewriter.counts()), (matched, rewriter.matched())] {
            sums.resize(new.len(), 0);
            for (sum, new) in sums.iter_mut().zip(new) {
                *sum = sum.saturating_add(*new);
            }
        }
    }
}

impl Opening {
    /// What changes in `text`; `None` if it is refused, and then [`Hand::cause`] says why.
    pub(super) fn cross(&self, text: &str, hand: &mut Hand) -> Option<Vec<Patch>> {
        // An empty string holds nothing.
        if text.is_empty() {
            return Some(Vec::new());
        }
        if self.leg.compiled.leg.body == BodyKind::Form {
            return self.cross_form(text, hand);
        }
        let program = self.leg.compiled.program.as_ref()?;
        let mut rewriter = Rewriter::new(Arc::clone(program));
        let before = hand.left;
        rewriter.limit(before);
        let mut bench = Bench::nested(&self.leg, hand);
        let crossed = inside::rewrite(&self.codings, text, &mut rewriter, &mut bench);
        hand.spend(before, rewriter.budget());
        hand.count(self.slot, &rewriter);
        match crossed {
            Ok(patches) => Some(patches),
            Err(fault) => {
                let cause = hand.cause.take();
                hand.cause = Some(self.refusal(fault, rewriter.failed(), cause));
                None
            }
        }
    }

    /// As [`Opening::cross`], of a form. What it grows by is charged where it is written, as everything in strings.
    fn cross_form(&self, text: &str, hand: &mut Hand) -> Option<Vec<Patch>> {
        let (outside, growth) = (std::mem::take(&mut hand.tally), hand.left.growth);
        let mut seen = Vec::new();
        let mut bench = Bench::nested(&self.leg, hand);
        let crossed = inside::form::rewrite(&self.codings, text, |pair| form::in_string(pair, &mut bench, &mut seen));
        let decided = std::mem::replace(&mut hand.tally, outside);
        hand.left.growth = growth;
        hand.count_named(self.slot, &decided, &seen);
        match crossed {
            Ok(patches) => Some(patches),
            Err(stopped) => {
                hand.cause = Some(match stopped {
                    Stopped::Refused(refusal) => refusal,
                    Stopped::Fault(fault) => self.refusal(fault, None, None),
                });
                None
            }
        }
    }

    /// As [`Opening::cross`], where it was crossed before and counted then: nothing is counted or charged again. `budget`: what was left
    /// for it then.
    pub(super) fn cross_again(&self, text: &str, budget: Budget, hand: &mut Hand) -> Option<Vec<Patch>> {
        let counted = (std::mem::take(&mut hand.inner), std::mem::replace(&mut hand.left, budget));
        let (unfit, foreign, strays) = (hand.unfit, hand.foreign, hand.strays.clone());
        let patches = self.cross(text, hand);
        (hand.inner, hand.left) = counted;
        (hand.unfit, hand.foreign, hand.strays) = (unfit, foreign, strays);
        patches
    }

    /// Why the exchange is refused. `cause`: why a string in this string is.
    fn refusal(&self, fault: Fault, failed: Option<usize>, cause: Option<Refusal>) -> Refusal {
        let side = self.leg.side;
        let own = || Refusal::RuleFailed { leg: side, rule: Some(self.rule.clone()) };
        let Fault::Json(fault) = fault else { return own() };
        if let Some(mut cause) = cause {
            within(&mut cause, &fault);
            return cause;
        }
        match fault.kind {
            FaultKind::Rule | FaultKind::DuplicateName | FaultKind::FilterSteps => {
                let asker = failed.and_then(|selection| self.leg.compiled.askers.get(selection)).copied();
                match (asker, asker.and_then(|asker| self.leg.rule_id(asker)).cloned()) {
                    (Some(Asker::Reveal(_)), Some(rule)) => Refusal::TokenNotAccepted { leg: side, rule },
                    (_, Some(rule)) => Refusal::RuleFailed { leg: side, rule: Some(rule) },
                    (_, None) => own(),
                }
            }
            FaultKind::Unlisted | FaultKind::Leaves | FaultKind::Growth => Refusal::BodyMalformed {
                leg: side,
                fault: fault.kind.code(),
                location: fault.location,
                offset: fault.offset,
            },
            // What is in the string is not what the rule says: it cannot be evaluated.
            _ => own(),
        }
    }
}

/// Says where the string is in which a place is that a refusal names.
pub(super) fn within(cause: &mut Refusal, around: &json::Fault) {
    if let Refusal::BodyMalformed { location, offset, .. } = cause {
        *location = format!("{} > {location}", around.location);
        *offset = around.offset;
    }
}

/// How often each rule of a leg decided, those inside strings too, each behind the rule that opens the string. No rule comes twice.
pub(super) fn tally(leg: &BoundLeg, decided: &[u64], hand: &Hand, tally: &mut Tally) {
    for (asker, count) in leg.compiled.askers.iter().zip(decided) {
        if let (1.., Some(id)) = (*count, leg.rule_id(*asker)) {
            tally.push((id.clone(), *count));
        }
        if let Some(Transformer::Inside(opening)) = leg.transformer(*asker) {
            self::opened(opening, hand, tally);
        }
    }
}

/// As [`tally`], of the rules inside the strings that one rule opened.
pub(super) fn opened(opening: &Opening, hand: &Hand, tally: &mut Tally) {
    if let Some(counts) = hand.inner.get(opening.slot) {
        self::tally(&opening.leg, &counts.decided, hand, tally);
        tally.extend(counts.named.iter().cloned());
    }
    // Strings in a form are opened beside any document.
    for asker in &opening.leg.compiled.beside {
        if let Some(Transformer::Inside(inner)) = opening.leg.transformer(*asker) {
            opened(inner, hand, tally);
        }
    }
}
