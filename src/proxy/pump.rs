//! Hands a body on window by window.
//!
//! An answer's body is handed on by the exchange itself ([`stream`]); a request's by a task beside it ([`Pump`]), because the
//! other side may answer before it has heard everything.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use ::http::Response;
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::crossing::Released;
use crate::http::body::Writer;
use crate::http::pace::{Pace, Pacer};
use crate::verdict::{Outcome, Refusal};

use super::exchange::Facts;
use super::passage::Passage;
use super::pool::Answer;
use super::upstream::Upstream;

/// Hands on the rest of a request's body while the answer is waited for.
pub struct Pump {
    task: JoinHandle<End>,
    /// Dropped to have the task end at its next pause. It is not aborted then: it alone knows what left.
    go_on: Option<oneshot::Sender<()>>,
    /// Why the request was broken off: known before the other side can notice, so that our fault is not taken for its own.
    fault: Arc<OnceLock<Refusal>>,
    /// Whether the task's end was waited for. A task must not be waited for twice, even if it gave nothing.
    joined: bool,
    ended: Option<End>,
}

/// What the task gives back, however it ends.
type End = (Passage, Result<Outcome, Refusal>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pump {
    /// Begins.
    #[must_use]
    pub fn start(mut passage: Passage, first: Released, writer: Writer, pace: Pace) -> Self {
        let fault = Arc::new(OnceLock::new());
        let tell = Arc::clone(&fault);
        let (go_on, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let tell = |refusal: &Refusal| drop(tell.set(refusal.clone()));
            let handed_on = whole(stream(&mut passage, first, writer, pace, &Refusal::UpstreamSlow, tell));
            let result = tokio::select! {
                biased;
                result = handed_on => result,
                _ = stopped => Ok(Outcome::Cut),
            };
            (passage, result)
        });
        Self { task, go_on: Some(go_on), fault, joined: false, ended: None }
    }

    /// Waits for the answer to the request that `sending` sends, which has its time from the moment when the request is whole.
    pub async fn send(
        &mut self,
        upstream: &Upstream,
        sending: impl Future<Output = Result<Response<Answer>, Refusal>>,
    ) -> Result<Response<Answer>, Refusal> {
        let mut sending = std::pin::pin!(sending);
        let answered = tokio::select! {
            biased;
            answered = &mut sending => answered,
            ended = &mut self.task, if !self.joined => {
                self.joined = true;
                self.ended = ended.ok();
                match &self.ended {
                    // A request that will never be whole has no answer worth waiting for.
                    Some((_, Err(refusal))) => Err(refusal.clone()),
                    _ => timeout(upstream.response(), sending).await.unwrap_or(Err(Refusal::UpstreamSlow)),
                }
            }
        };
        let answered = answered.map_err(|refusal| self.fault.get().cloned().unwrap_or(refusal));
        if let Err(Refusal::UpstreamSlow) = &answered {
            // The time is kept here, so that the upstream has not counted it.
            upstream.slow();
        }
        answered
    }

    /// Ends it. True if everything had been handed on.
    pub async fn stop(&mut self, facts: &mut Facts) -> bool {
        drop(self.go_on.take());
        if !self.joined {
            self.ended = (&mut self.task).await.ok();
            self.joined = true;
        }
        let Some((passage, result)) = &self.ended else { return false };
        passage.tell(facts);
        matches!(result, Ok(Outcome::Delivered))
    }

    /// What was wrong with the caller's side of the request, if that is why it was broken off.
    #[must_use]
    pub fn fault(&self) -> Option<&Refusal> {
        self.fault.get().filter(|refusal| **refusal != Refusal::UpstreamSlow)
    }
}

/// What it comes to. A panic is a fault of ours that must not take along what is known of what has left.
async fn whole(handed_on: impl Future<Output = Result<Outcome, Refusal>>) -> Result<Outcome, Refusal> {
    AssertUnwindSafe(handed_on).catch_unwind().await.unwrap_or(Err(Refusal::Overloaded))
}

/// Hands on a body window by window. An error, or a receiver that has gone or is slower than `pace`, leaves it visibly broken
/// off. `slow`: what the last of these is. `on_fault` hears of an error before the receiver can.
///
/// # Errors
/// Whatever is wrong with the rest of the body; `slow`.
pub async fn stream(
    passage: &mut Passage,
    first: Released,
    mut writer: Writer,
    pace: Pace,
    slow: &Refusal,
    on_fault: impl FnOnce(&Refusal),
) -> Result<Outcome, Refusal> {
    let mut pacer = Pacer::new(pace);
    let mut next = Some(first);
    while let Some(released) = next {
        // Whoever takes nothing, or next to nothing, must not be able to hold us for ever.
        let bytes = released.into_bytes();
        match pacer.wait(bytes.len(), writer.write(bytes)).await {
            Some(Ok(())) => {}
            Some(Err(_)) => return Ok(Outcome::Abandoned),
            None => return Err(slow.clone()).inspect_err(on_fault),
        }
        // A quiet sender must not keep the places of an exchange of which nobody wants any more.
        let read = tokio::select! {
            biased;
            read = passage.next() => read,
            () = writer.closed() => return Ok(Outcome::Abandoned),
        };
        next = match read {
            Ok(next) => next,
            Err(refusal) => {
                on_fault(&refusal);
                return Err(refusal);
            }
        };
    }
    match pacer.wait(0, writer.finish()).await {
        Some(Ok(())) => Ok(Outcome::Delivered),
        Some(Err(_)) => Ok(Outcome::Abandoned),
        None => Err(slow.clone()).inspect_err(on_fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_on_the_way_is_an_end_like_another() {
        let handed_on = async {
            let none: [u8; 0] = [];
            Ok(if none[..].first().copied().unwrap() == 0 { Outcome::Delivered } else { Outcome::Cut })
        };
        assert_eq!(whole(handed_on).await, Err(Refusal::Overloaded));
        assert_eq!(whole(async { Ok(Outcome::Cut) }).await, Ok(Outcome::Cut));
    }
}
