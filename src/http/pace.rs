//! How long the other side of a body may keep us waiting: for the next bytes, and in all.
//!
//! Only waiting counts, and each side's by itself: whoever sends is not blamed for who receives. A byte now and then resets
//! the shortest of the three limits only. Start at [`Pace`].

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Limits of waiting for one body.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Longest wait for the next bytes. Default 30 s.
    pub idle: Duration,
    /// Longest wait in all. Default 5 min.
    pub total: Duration,
    /// Least bytes a second of waiting, from `idle` on. Default 1 KiB; zero: none.
    pub rate: u64,
}

impl Pace {
    /// Without a limit on the wait in all: for what has no end of its own.
    #[must_use]
    pub fn endless(self) -> Self {
        Self { total: Duration::MAX, ..self }
    }

    /// How long the next wait may be, for who has moved `bytes` and kept us waiting for `waited`.
    #[must_use]
    pub fn left(&self, bytes: u64, waited: Duration) -> Duration {
        let all = match (bytes.saturating_mul(1000)).checked_div(self.rate) {
            Some(millis) => self.total.min(self.idle.saturating_add(Duration::from_millis(millis))),
            None => self.total,
        };
        self.idle.min(all.saturating_sub(waited))
    }
}

/// Holds someone who takes a body against a [`Pace`].
#[derive(Debug)]
pub struct Pacer {
    pace: Pace,
    bytes: u64,
    waited: Duration,
}

impl Pacer {
    /// From the body's beginning.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, bytes: 0, waited: Duration::ZERO }
    }

    /// Waits until `bytes` are taken. `None`: for too long.
    pub async fn wait<T>(&mut self, bytes: usize, taken: impl Future<Output = T>) -> Option<T> {
        let start = Instant::now();
        let taken = timeout(self.pace.left(self.bytes, self.waited), taken).await.ok();
        self.waited += start.elapsed();
        self.bytes += bytes as u64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_buys_no_time_beyond_the_rate_and_the_total() {
        let seconds = Duration::from_secs;
        let pace = Pace { idle: seconds(30), total: seconds(300), rate: 1024 };
        let check =
            |bytes, waited, left| assert_eq!(pace.left(bytes, seconds(waited)), seconds(left), "{bytes} {waited}");
        check(0, 0, 30);
        check(1, 29, 1);
        check(10 << 10, 29, 11);
        check(10 << 10, 40, 0);
        check(1 << 20, 100, 30);
        check(1 << 30, 299, 1);
        check(u64::MAX, 300, 0);
        let no_rate = Pace { rate: 0, ..pace };
        assert_eq!(no_rate.left(0, seconds(200)), seconds(30));
        assert_eq!(no_rate.left(0, seconds(290)), seconds(10));
        let endless = pace.endless();
        assert_eq!(endless.left(1 << 30, seconds(10_000)), seconds(30));
        assert_eq!(endless.left(1, seconds(29)), seconds(1), "the rate stays");
    }
}
