//! Rate, burst, concurrency and budgets per partner (rates by governor); they live on over a reload.
//!
//! A bucket belongs to a partner's id and stays as long as the partner's quota does: otherwise every reload would fill every
//! bucket. After a restart all are full again. Start at [`Limits::adopt`], then [`Limiter::enter`].

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::crossing::budget::RevealBudget;
use crate::ids::PartnerId;
use crate::policy::rule::{self, Rate};
use crate::verdict::Refusal;

/// How many exchanges there may be at once.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// In the whole process. Default 10,000.
    pub exchanges: usize,
    /// Of each partner whose policy sets no `concurrent`, so that none of them takes all. Default: a quarter of the process's.
    pub share: u32,
}

/// All partners' limiters, over reloads.
#[derive(Debug)]
pub struct Limits {
    clock: Clock,
    /// See [`Capacity::share`].
    share: u32,
    known: Mutex<HashMap<PartnerId, Arc<Limiter>>>,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Steady, NoOpMiddleware<Duration>>;

/// One partner's limits.
#[derive(Debug)]
pub struct Limiter {
    quota: Option<(Rate, NonZeroU32)>,
    bucket: Option<Arc<Bucket>>,
    concurrent: u32,
    open: Arc<AtomicU32>,
    budget: Option<Arc<RevealBudget>>,
    clock: Steady,
}

/// One exchange that counts; gives its place back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicU32>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Our clock as governor wants it.
#[derive(Clone, Debug)]
struct Steady(Clock);

impl governor::clock::Clock for Steady {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.0.steady()
    }
}

impl Limits {
    /// None yet.
    #[must_use]
    pub fn new(clock: Clock, share: u32) -> Self {
        Self { clock, share, known: Mutex::default() }
    }

    /// The limiters of a new set of policies, in its order. Who is no longer in it is forgotten.
    pub fn adopt<'a>(&self, partners: impl Iterator<Item = (&'a PartnerId, &'a rule::Limits)>) -> Vec<Arc<Limiter>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::new();
        let mut adopted = Vec::new();
        for (id, limits) in partners {
            let limiter = Arc::new(self.limiter(limits, known.get(id)));
            next.insert(id.clone(), Arc::clone(&limiter));
            adopted.push(limiter);
        }
        *known = next;
        adopted
    }

    fn limiter(&self, limits: &rule::Limits, known: Option<&Arc<Limiter>>) -> Limiter {
        let clock = Steady(self.clock.clone());
        let quota = limits.rate.map(|rate| (rate, limits.burst.unwrap_or(rate.count)));
        let bucket = match known {
            Some(known) if known.quota == quota => known.bucket.clone(),
            _ => quota.and_then(|(rate, burst)| {
                // Rates beyond one in a nanosecond are no limits.
                let each = rate.per.checked_div(rate.count.get()).filter(|each| !each.is_zero())?;
                let quota = Quota::with_period(each)?.allow_burst(burst);
                Some(Arc::new(RateLimiter::direct_with_clock(quota, clock.clone())))
            }),
        };
        // Exchanges that are open stay counted whatever happens to the limit.
        let open = known.map_or_else(Arc::default, |known| Arc::clone(&known.open));
        let concurrent = limits.concurrent.map_or(self.share, NonZeroU32::get);
        let budget = known.and_then(|known| known.budget.as_deref());
        let budget = RevealBudget::new(limits.reveal, limits.subjects, budget, self.clock.clone());
        Limiter { quota, bucket, concurrent, open, budget, clock }
    }
}

impl Limiter {
    /// What the partner may have turned back, and whose data it may see.
    #[must_use]
    pub fn budget(&self) -> Option<Arc<RevealBudget>> {
        self.budget.clone()
    }

    /// Takes a place and spends from the quota.
    ///
    /// # Errors
    /// [`Refusal::ConcurrencyExceeded`] (nothing is spent then), [`Refusal::RateExceeded`].
    pub fn enter(&self) -> Result<Permit, Refusal> {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Arc::clone(&self.open));
        if open >= self.concurrent {
            return Err(Refusal::ConcurrencyExceeded);
        }
        match self.bucket.as_ref().map(|bucket| bucket.check()) {
            Some(Err(not_until)) => {
                use governor::clock::Clock as _;
                Err(Refusal::RateExceeded { retry_after: not_until.wait_time_from(self.clock.now()) })
            }
            Some(Ok(())) | None => Ok(permit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;

    fn quota(count: u32, burst: Option<u32>, concurrent: Option<u32>) -> rule::Limits {
        let of = |n: u32| NonZeroU32::new(n).unwrap();
        rule::Limits {
            rate: Some(Rate { count: of(count), per: Duration::from_secs(1) }),
            burst: burst.map(of),
            concurrent: concurrent.map(of),
            reveal: None,
            subjects: None,
            body_bytes: None,
            atomic_bytes: 1 << 20,
            value_bytes: 64 << 10,
            element_bytes: 1 << 20,
            leaves: 1_000_000,
            growth_bytes: 16 << 20,
        }
    }

    fn one(limits: &Limits, id: &str, quota: &rule::Limits) -> Arc<Limiter> {
        limits.adopt([(&PartnerId::parse(id).unwrap(), quota)].into_iter()).remove(0)
    }

    #[test]
    fn a_partner_over_its_burst_is_told_when_to_come_back() {
        let clock = Clock::manual(Time(1_000_000));
        let limiter = one(&Limits::new(clock.clone(), 3), "a", &quota(2, Some(3), None));
        for _ in 0..3 {
            limiter.enter().unwrap();
        }
        assert_eq!(limiter.enter().unwrap_err(), Refusal::RateExceeded { retry_after: Duration::from_millis(500) });
        clock.set(Time(1_000_500));
        limiter.enter().unwrap();
        limiter.enter().unwrap_err();
    }

    #[test]
    fn a_place_is_given_back_and_a_full_house_spends_nothing() {
        let clock = Clock::manual(Time(1_000_000));
        let limiter = one(&Limits::new(clock, 3), "a", &quota(2, Some(2), Some(1)));
        let first = limiter.enter().unwrap();
        for _ in 0..9 {
            assert_eq!(limiter.enter().unwrap_err(), Refusal::ConcurrencyExceeded);
        }
        drop(first);
        limiter.enter().unwrap();
    }

    #[test]
    fn a_bucket_lives_on_over_a_reload_while_its_quota_is_unchanged() {
        let limits = Limits::new(Clock::manual(Time(1_000_000)), 3);
        let enter = |limiter: &Limiter| limiter.enter().map(drop).is_ok();
        assert!(enter(&one(&limits, "a", &quota(1, None, None))));
        assert!(!enter(&one(&limits, "a", &quota(1, None, None))));
        assert!(enter(&one(&limits, "a", &quota(2, None, None))), "another quota, another bucket");
    }

    #[test]
    fn a_budget_lives_on_over_a_reload_with_another_number_too() {
        let limits = Limits::new(Clock::manual(Time(1_000_000)), 3);
        let with = |reveal| rule::Limits { reveal: NonZeroU32::new(reveal), ..quota(1, None, None) };
        let shared = |one: &Arc<Limiter>, other: &Arc<Limiter>| one.budget().unwrap().is_of(&other.budget().unwrap());
        let (first, second, other) =
            (one(&limits, "a", &with(5)), one(&limits, "a", &with(7)), one(&limits, "b", &with(7)));
        assert!(shared(&first, &second) && !shared(&second, &other));
        assert!(one(&limits, "b", &with(0)).budget().is_none());
    }

    #[test]
    fn open_exchanges_stay_counted_over_a_reload() {
        let limits = Limits::new(Clock::manual(Time(1_000_000)), 3);
        let _open = one(&limits, "a", &quota(9, None, Some(1))).enter().unwrap();
        let refused = one(&limits, "a", &quota(8, None, Some(1))).enter().unwrap_err();
        assert_eq!(refused, Refusal::ConcurrencyExceeded);
    }

    #[test]
    fn a_partner_without_a_limit_has_its_share_and_no_more() {
        let limiter = one(&Limits::new(Clock::manual(Time(1_000_000)), 3), "a", &quota(100, None, None));
        let open = [(); 3].map(|()| limiter.enter().unwrap());
        assert_eq!(limiter.enter().unwrap_err(), Refusal::ConcurrencyExceeded);
        drop(open);
        limiter.enter().unwrap();
    }
}
