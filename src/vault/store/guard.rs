//! What stands before every store: a time limit, a breaker, and the counting.
//!
//! A store that is down, slow or full must not make exchanges wait: each call has a time, and after some such failures in a row the store is not
//! asked for a while, so that exchanges that need it are refused at once and all others go on. Health is always asked: it is
//! what closes the breaker first. Start at [`Guard`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::meters::StoreMetrics;

use super::{Answer, Entry, Forget, Forgotten, Page, StoreError, TokenId, TokenStore};

/// Failures in a row after which the store is not asked.
const FAILURES: u32 = 5;
/// How long it is not asked at first; twice as long after each attempt that failed, too.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Operators' calls go through all that is kept: so many times the limit.
const LONG: u32 = 60;
/// How long an answer about its health is good for.
const HEALTH_AGE: Duration = Duration::from_secs(1);

/// A store with a time limit and a breaker.
pub struct Guard {
    store: Arc<dyn TokenStore>,
    limit: Duration,
    breaker: Mutex<Breaker>,
    health: Mutex<Option<(Instant, Result<(), String>)>>,
    meters: StoreMetrics,
}

/// Whether the store is asked.
#[derive(Debug)]
struct Breaker {
    failures: u32,
    pause: Duration,
    /// Not asked before this; then one call is let through.
    until: Option<Instant>,
}

/// Why a store was not asked, or not waited for.
#[derive(Debug, thiserror::Error)]
enum Away {
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error("not asked, because it failed {0} times in a row")]
    Failing(u32),
}

impl Guard {
    /// Before this store, with this much time for a call.
    #[must_use]
    pub fn new(store: Arc<dyn TokenStore>, limit: Duration, meters: StoreMetrics) -> Self {
        meters.healthy.set(1);
        Self { store, limit, breaker: Mutex::default(), health: Mutex::default(), meters }
    }

    /// What its health was within the last second: `Err` says what is wrong with it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn status(&self) -> Result<(), String> {
        let recent = self.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, status)) = recent
            && at.elapsed() < HEALTH_AGE
        {
            return status;
        }
        let status = self.health().await.map_err(|error| error.to_string());
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), status.clone()));
        status
    }

    async fn call<'a, T>(
        &self,
        act: &'static str,
        limit: Duration,
        ask: impl FnOnce() -> Answer<'a, T>,
    ) -> Result<T, StoreError> {
        if act != HEALTH
            && let Err(away) = self.breaker().admit(Instant::now())
        {
            self.meters.not_asked(act);
            return Err(StoreError { act, cause: away.into(), away: true });
        }
        let began = Instant::now();
        let answered = match tokio::time::timeout(limit, ask()).await {
            Ok(answered) => answered,
            Err(_) => Err(StoreError { act, cause: Away::Slow(limit).into(), away: true }),
        };
        self.meters.asked(act, began.elapsed(), answered.is_ok());
        if answered.as_ref().is_err_and(|error| !error.away) {
            // Of this question alone: one damaged entry must not deny the store to all others.
            return answered;
        }
        let (was, is) = self.breaker().told(answered.is_ok(), Instant::now());
        match (&answered, was, is) {
            (Err(error), false, true) => {
                self.meters.healthy.set(0);
                tracing::error!(target: "tidegate", cause = %error, "the vault's store is away: exchanges that need it are refused");
            }
            (_, true, false) => {
                self.meters.healthy.set(1);
                tracing::warn!(target: "tidegate", "the vault's store is back");
            }
            _ => {}
        }
        answered
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const HEALTH: &str = "health";

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 0, pause: PAUSE, until: None }
    }
}

impl Breaker {
    /// Whether to ask now. One call is let through after each pause: if its caller goes away, the next pause brings another.
    fn admit(&mut self, now: Instant) -> Result<(), Away> {
        match self.until {
            Some(until) if now < until => Err(Away::Failing(self.failures)),
            Some(_) => {
                self.until = Some(now + self.pause);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What came of a call; gives whether the store was held to be away, and whether it is.
    fn told(&mut self, ok: bool, now: Instant) -> (bool, bool) {
        let was = self.until.is_some();
        if ok {
            *self = Self::default();
            return (was, false);
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.pause = if was { (self.pause * 2).min(PAUSE_MAX) } else { PAUSE };
            self.until = Some(now + self.pause);
        }
        (was, self.until.is_some())
    }
}

impl TokenStore for Guard {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        Box::pin(self.call("put_if_absent", self.limit, || self.store.put_if_absent(entries)))
    }

    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        Box::pin(self.call("find", self.limit, || self.store.find(tokens)))
    }

    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(self.call("seek", self.limit * LONG, move || self.store.seek(what, most)))
    }

    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(self.call("forget", self.limit * LONG, move || self.store.forget(what, most)))
    }

    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page> {
        Box::pin(self.call("visit", self.limit * LONG, move || self.store.visit(after, count)))
    }

    fn health(&self) -> Answer<'_, ()> {
        Box::pin(self.call(HEALTH, self.limit, || self.store.health()))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("store", &self.store).field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use super::*;

    /// Answers as it is told to, and counts how often it was asked.
    #[derive(Debug, Default)]
    struct Moody {
        asked: AtomicU32,
        mood: AtomicU64,
    }

    const GOOD: u64 = 0;
    const BAD: u64 = 1;
    const SILENT: u64 = 2;
    const PICKY: u64 = 3;

    impl Moody {
        fn answer<T: Default + Send + 'static>(&self, act: &'static str) -> Answer<'_, T> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            match self.mood.load(Ordering::SeqCst) {
                GOOD => Box::pin(async { Ok(T::default()) }),
                SILENT => Box::pin(std::future::pending()),
                mood => Box::pin(async move { Err(StoreError { act, cause: "bad mood".into(), away: mood != PICKY }) }),
            }
        }
    }

    impl TokenStore for Moody {
        fn put_if_absent<'a>(&'a self, _: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
            self.answer("put_if_absent")
        }
        fn find<'a>(&'a self, _: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
            self.answer("find")
        }
        fn seek<'a>(&'a self, _: &'a Forget, _: usize) -> Answer<'a, Vec<Forgotten>> {
            self.answer("seek")
        }
        fn forget<'a>(&'a self, _: &'a Forget, _: usize) -> Answer<'a, Vec<Forgotten>> {
            self.answer("forget")
        }
        fn visit(&self, _: Option<TokenId>, _: usize) -> Answer<'_, Page> {
            self.answer("visit")
        }
        fn health(&self) -> Answer<'_, ()> {
            self.answer("health")
        }
    }

    fn guarded() -> (Arc<Moody>, Guard) {
        let store = Arc::new(Moody::default());
        let guard = Guard::new(Arc::clone(&store) as Arc<dyn TokenStore>, Duration::from_millis(5), Default::default());
        (store, guard)
    }

    async fn fail(guard: &Guard, part: &str) {
        let error = guard.find(&[]).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_fails_within_the_limit() {
        let (store, guard) = guarded();
        store.mood.store(SILENT, Ordering::SeqCst);
        fail(&guard, "find: no answer within 5ms").await;
        assert!(guard.put_if_absent(&[]).await.is_err() && guard.health().await.is_err());
    }

    #[tokio::test]
    async fn a_store_that_fails_in_a_row_is_not_asked_until_its_health_is_good() {
        let (store, guard) = guarded();
        store.mood.store(BAD, Ordering::SeqCst);
        for _ in 0..FAILURES {
            fail(&guard, "bad mood").await;
        }
        fail(&guard, "find: not asked, because it failed 5 times in a row").await;
        assert_eq!((store.asked.load(Ordering::SeqCst), guard.meters.healthy.get()), (FAILURES, 0));
        assert_eq!(guard.status().await.unwrap_err(), "health: bad mood");
        store.mood.store(GOOD, Ordering::SeqCst);
        assert!(guard.status().await.is_err(), "told from the last second");
        guard.health().await.unwrap();
        guard.find(&[]).await.unwrap();
        assert_eq!(guard.meters.healthy.get(), 1);
    }

    #[tokio::test]
    async fn what_fails_for_itself_alone_does_not_keep_others_from_the_store() {
        let (store, guard) = guarded();
        store.mood.store(PICKY, Ordering::SeqCst);
        for _ in 0..3 * FAILURES {
            fail(&guard, "bad mood").await;
        }
        store.mood.store(GOOD, Ordering::SeqCst);
        guard.find(&[]).await.unwrap();
        assert_eq!((store.asked.load(Ordering::SeqCst), guard.meters.healthy.get()), (3 * FAILURES + 1, 1));
    }

    #[test]
    fn one_call_is_let_through_after_each_pause_and_the_pauses_grow() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES - 1 {
            assert_eq!(breaker.told(false, start), (false, false));
        }
        breaker.admit(start).unwrap();
        assert_eq!(breaker.told(false, start), (false, true));
        let mut now = start;
        for pause in [1, 2, 4, 8, 16, 20, 20].map(|halves| PAUSE * halves) {
            breaker.admit(now + pause - Duration::from_millis(1)).unwrap_err();
            now += pause;
            breaker.admit(now).unwrap();
            breaker.admit(now).unwrap_err();
            assert_eq!(breaker.told(false, now), (true, true));
        }
        // A caller that goes away tells nothing: another one is let through later.
        now += PAUSE_MAX;
        breaker.admit(now).unwrap();
        breaker.admit(now + PAUSE_MAX).unwrap();
        assert_eq!(breaker.told(true, now), (true, false));
        breaker.admit(now).unwrap();
    }
}
