//! Forgets the values of tokens that have ended.
//!
//! A token of one flow is not turned back from its end on, whether its value is still kept or not; this sees to it that it is not kept for long.
//! Start at [`forget_ended`].

use std::sync::Weak;
use std::time::Duration;

use crate::clock::{Clock, Time};

use super::super::store::guard::Guard;
use super::super::store::{Forget, StoreError, TokenStore};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(60);
/// How long a value is kept beyond the end of its token, in milliseconds: for the clocks of other processes, which may be behind.
const GRACE_MS: u64 = 3_600_000;
/// Entries that are forgotten in one step.
const STEP: usize = 1000;

/// Forgets what has ended, again and again, for as long as there is the store.
pub async fn forget_ended(store: Weak<Guard>, clock: Clock) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(store) = store.upgrade() else { return };
        match clear(&*store, clock.now()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(target: "tidegate", count, "values of tokens that have ended are forgotten"),
            // The store says by itself that it is away; what is left is forgotten another time.
            Err(error) => tracing::debug!(target: "tidegate", cause = %error, "what has ended is not forgotten yet"),
        }
    }
}

/// Forgets all that had ended an hour before `now`, and says how many that were.
async fn clear(store: &dyn TokenStore, now: Time) -> Result<u64, StoreError> {
    let ended = Forget::EndedBefore(now.0.saturating_sub(GRACE_MS));
    let mut count = 0;
    loop {
        let step = store.forget(&ended, STEP).await?.len();
        count += step as u64;
        if step < STEP {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::store::memory::Memory;
    use super::super::super::store::{Entry, Spelling};
    use super::*;

    #[tokio::test]
    async fn what_has_ended_is_kept_for_an_hour_and_no_longer() {
        let store = Memory::default();
        let entry = |n: u16, ends_ms| {
            let [high, low] = n.to_be_bytes();
            let (mut token, mut digest) = ([0; 16], [0; 32]);
            (token[0], token[1], digest[0], digest[1]) = (high, low, high, low);
            let (domain, spelling) = ([1; 16], Spelling::Opaque);
            Entry {
                token,
                digest,
                domain,
                epoch: 1,
                spelling,
                sealed: vec![1],
                subjects: vec![],
                issued_ms: 0,
                ends_ms,
            }
        };
        let mut entries: Vec<_> = (0..2500).map(|n| entry(n, Some(1000))).collect();
        entries.extend([entry(2500, Some(5000)), entry(2501, None)]);
        store.put_if_absent(&entries).await.unwrap();
        assert_eq!(clear(&store, Time(GRACE_MS + 1000)).await.unwrap(), 0);
        assert_eq!(clear(&store, Time(GRACE_MS + 1001)).await.unwrap(), 2500);
        assert_eq!(store.visit(None, 10).await.unwrap().entries.len(), 2);
    }
}
