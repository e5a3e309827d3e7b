//! What a partner may have turned back, and whose data it may see, in an hour.
//!
//! Counts what differs: the same token, the same person again costs nothing. Knows keyed hashes only, of keys that end with the
//! process. Belongs to a partner and lives on over reloads; after a restart nothing is counted yet. Start at [`RevealBudget`]; how
//! it is counted is in [`distinct`].

pub mod distinct;
mod sketch;

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::verdict::Refusal;

use super::inside::Hand;
use distinct::{Distinct, STEP};

/// At how many percent an operator is told.
const ALARM_PERCENT: u64 = 80;
/// They are told so often of one budget.
const ALARM_EVERY: Duration = Duration::from_secs(3600);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Tokens that are turned back.
    Tokens,
    /// Persons whose data leaves.
    Subjects,
}

impl What {
    /// The word in records, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Subjects => "subjects",
        }
    }
}

/// Something that an operator has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Of what.
    pub what: What,
    /// How many in the last hour.
    pub count: u64,
    /// How many there may be.
    pub limit: u64,
    /// Whether something was refused.
    pub refused: bool,
}

/// The budgets of one partner.
#[derive(Debug)]
pub struct RevealBudget {
    tokens: Option<NonZeroU32>,
    subjects: Option<NonZeroU32>,
    counts: Arc<Counts>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Counts {
    /// Keyed by the system's randomness.
    hasher: RandomState,
    tokens: Mutex<Count>,
    subjects: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    distinct: Distinct,
    /// When somebody was last told of much, and of too much.
    told: [Option<Duration>; 2],
}

impl RevealBudget {
    /// With these limits; what `known` has counted goes on. `None`: there are no limits.
    #[must_use]
    pub fn new(
        tokens: Option<NonZeroU32>,
        subjects: Option<NonZeroU32>,
        known: Option<&Self>,
        clock: Clock,
    ) -> Option<Arc<Self>> {
        let counts = known.map_or_else(Arc::default, |known| Arc::clone(&known.counts));
        (tokens.is_some() || subjects.is_some()).then(|| Arc::new(Self { tokens, subjects, counts, clock }))
    }

    /// Whether both count into one.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.counts, &other.counts)
    }

    fn mark(&self, text: &str) -> u64 {
        self.counts.hasher.hash_one(text)
    }

    /// Takes all of these from the budget, or nothing. What to tell an operator comes with it.
    ///
    /// # Errors
    /// They are too many.
    fn charge(&self, what: What, mut marks: Vec<u64>) -> (Result<(), Refusal>, Option<Alarm>) {
        let (limit, count) = match what {
            What::Tokens => (self.tokens, &self.counts.tokens),
            What::Subjects => (self.subjects, &self.counts.subjects),
        };
        let Some(limit) = limit.map(|limit| u64::from(limit.get())).filter(|_| !marks.is_empty()) else {
            return (Ok(()), None);
        };
        marks.sort_unstable();
        marks.dedup();
        let now = self.clock.steady();
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        let (fits, used) = count.distinct.add(&marks, now, limit);
        let much = used.saturating_mul(100) >= limit.saturating_mul(ALARM_PERCENT);
        let told = count.told.get_mut(usize::from(!fits)).filter(|_| much || !fits);
        let alarm = told.filter(|told| told.is_none_or(|told| now.saturating_sub(told) >= ALARM_EVERY)).map(|told| {
            *told = Some(now);
            Alarm { what, count: used, limit, refused: !fits }
        });
        let retry_after = STEP.saturating_sub(Duration::from_secs(now.as_secs() % STEP.as_secs()));
        (if fits { Ok(()) } else { Err(Refusal::BudgetExceeded { retry_after }) }, alarm)
    }
}

/// What one body or head wants of its partner's budget.
pub(super) struct Purse {
    budget: Arc<RevealBudget>,
    tokens: Vec<u64>,
    subjects: Vec<u64>,
    pub(super) alarms: Vec<Alarm>,
}

impl Hand {
    /// Whatever it turns back is charged to this budget.
    pub(super) fn charging(&mut self, budget: Option<Arc<RevealBudget>>) {
        let purse = |budget| Purse { budget, tokens: Vec::new(), subjects: Vec::new(), alarms: Vec::new() };
        self.purse = budget.map(|budget| Box::new(purse(budget)));
    }

    /// A token is turned back.
    pub(super) fn reveals(&mut self, token: &str) {
        if let Some(purse) = &mut self.purse
            && purse.budget.tokens.is_some()
        {
            purse.tokens.push(purse.budget.mark(token));
        }
    }

    /// Data of this person leaves.
    pub(super) fn discloses(&mut self, subject: &str) {
        if let Some(purse) = &mut self.purse {
            purse.subjects.push(purse.budget.mark(subject));
        }
    }

    /// Pays for all that has come up since it last did.
    ///
    /// # Errors
    /// It is too much: then nothing of that may leave.
    pub(super) fn pay(&mut self) -> Result<(), Refusal> {
        let Some(purse) = &mut self.purse else { return Ok(()) };
        let mut paid = Ok(());
        for (what, marks) in [(What::Tokens, &mut purse.tokens), (What::Subjects, &mut purse.subjects)] {
            let (charged, alarm) = purse.budget.charge(what, std::mem::take(marks));
            purse.alarms.extend(alarm);
            paid = paid.and(charged);
        }
        paid
    }

    /// What to tell an operator.
    pub(super) fn alarms(&self) -> &[Alarm] {
        self.purse.as_ref().map_or(&[], |purse| &purse.alarms)
    }
}
