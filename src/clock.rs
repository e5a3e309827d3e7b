//! Time, as an argument.
//!
//! Nothing below the edges asks the system what time it is: it is given a [`Clock`]. So a test turns the clock instead of
//! sleeping. Start at [`Clock`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

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
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `time` until it is turned with [`Clock::set`]. Copies of it turn together.
    #[must_use]
    pub fn manual(time: Time) -> Self {
        Self(Some(Arc::new(AtomicU64::new(time.0))))
    }

    /// Turns a manual clock. Does nothing to the system's.
    pub fn set(&self, time: Time) {
        if let Some(cell) = &self.0 {
            cell.store(time.0, Ordering::SeqCst);
        }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Time {
        match &self.0 {
            Some(cell) => Time(cell.load(Ordering::SeqCst)),
            None => Time(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            ),
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
