//! Time, as an argument.
//!
//! Nothing below the edges asks the system what time it is: it is given a [`Clock`]. So a test turns the clock instead of
//! sleeping. Start at [`Clock`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z. Prints as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "9999-12-31T23:59:59.999Z"),
        }
    }
}

/// Where the time comes from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// With the moment at which the clock was made, as a mark for steady time.
    System(Instant),
    Manual(Arc<AtomicU64>),
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands at `time` until it is turned with [`Clock::set`]. Copies of it turn together.
    #[must_use]
    pub fn manual(time: Time) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(time.0))))
    }

    /// Turns a manual clock. Does nothing to the system's.
    pub fn set(&self, time: Time) {
        if let Source::Manual(cell) = &self.0 {
            cell.store(time.0, Ordering::SeqCst);
        }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::Manual(cell) => Time(cell.load(Ordering::SeqCst)),
            Source::System(_) => Time(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            ),
        }
    }

    /// Time that never goes back when the system's clock is set, since some fixed moment: for measuring and for quotas. A
    /// manual clock turned back stands still instead, as far as its user sees to it.
    #[must_use]
    pub fn steady(&self) -> Duration {
        match &self.0 {
            Source::Manual(cell) => Duration::from_millis(cell.load(Ordering::SeqCst)),
            Source::System(start) => start.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_prints_as_rfc_3339_in_utc() {
        assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Time(1_790_000_000_123).to_string(), "2026-09-21T14:13:20.123Z");
    }

    #[test]
    fn copies_of_a_manual_clock_turn_together() {
        let clock = Clock::manual(Time(5));
        let copy = clock.clone();
        clock.set(Time(9));
        assert_eq!(copy.now(), Time(9));
    }
}
