//! When to connect again: what became of the attempts of all connections of a store. One failure holds all of them off for a
//! moment, one success lets all of them try. Start at [`Tries::begin`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::Failure;

/// Between two attempts at first; twice as long after each that failed.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What became of the attempts so far.
#[derive(Default)]
pub(super) struct Tries(Mutex<State>);

#[derive(Default)]
struct State {
    /// Connections that were made.
    made: u64,
    /// Attempts that failed since the last that did not.
    failures: u32,
    /// When the last began or failed, and why it failed.
    failed: Option<(Instant, Failure)>,
}

/// An attempt that began.
#[derive(Clone, Copy)]
pub(super) struct Try(u64);

impl Tries {
    /// Begins an attempt, unless one failed a moment ago: then its failure. After each pause there is one attempt.
    pub(super) fn begin(&self, now: Instant) -> Result<Try, Failure> {
        let mut state = self.state();
        let pause = state.pause();
        if let Some((at, failure)) = &mut state.failed {
            if now.duration_since(*at) < pause {
                return Err(failure.clone());
            }
            *at = now;
        }
        Ok(Try(state.made))
    }

    /// It is connected.
    pub(super) fn succeeded(&self) {
        let mut state = self.state();
        *state = State { made: state.made + 1, ..State::default() };
    }

    /// It is not. Nothing to those who come now, if another was connected meanwhile.
    pub(super) fn failed(&self, begun: Try, failure: &Failure, now: Instant) {
        let mut state = self.state();
        if state.made == begun.0 {
            state.failures = state.failures.saturating_add(1);
            state.failed = Some((now, failure.clone()));
        }
    }

    /// From one attempt to the next.
    pub(super) fn pause(&self) -> Duration {
        self.state().pause()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause(&self) -> Duration {
        PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_there_is_one_attempt_a_pause_and_the_pauses_grow() {
        let (tries, mut now) = (Tries::default(), Instant::now());
        let first = tries.begin(now).ok().unwrap();
        tries.failed(first, &Failure::Lost, now);
        for pause in [1, 2, 4, 8, 16, 32, 40, 40].map(|steps| PAUSE * steps) {
            assert!(tries.begin(now + pause - Duration::from_millis(1)).is_err());
            now += pause;
            let next = tries.begin(now).ok().unwrap();
            assert!(tries.begin(now).is_err(), "the others are held off while one tries");
            tries.failed(next, &Failure::Lost, now);
        }
    }

    #[test]
    fn one_success_lets_all_try_and_a_failure_from_before_it_holds_nobody_off() {
        let (tries, now) = (Tries::default(), Instant::now());
        let (slow, other) = (tries.begin(now).ok().unwrap(), tries.begin(now).ok().unwrap());
        tries.failed(other, &Failure::Lost, now);
        tries.succeeded();
        assert!(tries.begin(now).is_ok());
        tries.failed(slow, &Failure::Lost, now);
        assert!(tries.begin(now).is_ok());
        assert_eq!(tries.pause(), PAUSE);
    }
}
