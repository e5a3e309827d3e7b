//! Hands a body on window by window.
//!
//! An answer's body is handed on by the exchange itself ([`stream`]); a request's by a task beside it ([`Pump`]), because the
//! other side may answer before it has heard everything.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::crossing::Released;
use crate::http::body::Writer;
use crate::verdict::{Outcome, Refusal};

use super::exchange::Facts;
use super::passage::Passage;
use super::upstream::{Answered, Upstream};

/// Hands on the rest of a request's body while the answer is waited for.
pub struct Pump {
    task: JoinHandle<(Passage, Result<Outcome, Refusal>)>,
    /// Why the request was broken off: known before the other side can notice, so that our fault is not taken for its own.
    fault: Arc<OnceLock<Refusal>>,
    ended: Option<(Passage, Result<Outcome, Refusal>)>,
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pump {
    /// Begins.
    #[must_use]
    pub fn start(mut passage: Passage, first: Released, writer: Writer, idle: Duration) -> Self {
        let fault = Arc::new(OnceLock::new());
        let tell = Arc::clone(&fault);
        let task = tokio::spawn(async move {
            let tell = |refusal: &Refusal| drop(tell.set(refusal.clone()));
            let result = stream(&mut passage, first, writer, idle, tell).await;
            (passage, result)
        });
        Self { task, fault, ended: None }
    }

    /// Waits for the answer to the request that `sending` sends, which has its time from the moment when the request is whole.
    pub async fn send(
        &mut self,
        upstream: &Upstream,
        sending: impl Future<Output = Result<Answered, Refusal>>,
    ) -> Result<Answered, Refusal> {
        let mut sending = std::pin::pin!(sending);
        let answered = tokio::select! {
            biased;
            answered = &mut sending => answered,
            ended = &mut self.task => {
                self.ended = ended.ok();
                timeout(upstream.response(), sending).await.unwrap_or(Err(Refusal::UpstreamSlow))
            }
        };
        answered.map_err(|refusal| self.fault.get().cloned().unwrap_or(refusal))
    }

    /// Ends it. True if everything had been handed on.
    pub async fn stop(&mut self, facts: &mut Facts) -> bool {
        if self.ended.is_none() {
            if !self.task.is_finished() {
                self.task.abort();
            }
            self.ended = (&mut self.task).await.ok();
        }
        let Some((passage, result)) = &self.ended else { return false };
        passage.tell(facts);
        matches!(result, Ok(Outcome::Delivered))
    }
}

/// Hands on a body window by window. An error, or a receiver that has gone or takes nothing for `idle`, leaves it visibly
/// broken off. `on_fault` hears of an error before the receiver can.
///
/// # Errors
/// Whatever is wrong with the rest of the body.
pub async fn stream(
    passage: &mut Passage,
    first: Released,
    mut writer: Writer,
    idle: Duration,
    on_fault: impl FnOnce(&Refusal),
) -> Result<Outcome, Refusal> {
    let mut next = Some(first);
    while let Some(released) = next {
        // Whoever takes nothing must not be able to hold us for ever.
        let written = timeout(idle, writer.write(released.into_bytes())).await;
        if !matches!(written, Ok(Ok(()))) {
            return Ok(Outcome::Abandoned);
        }
        next = match passage.next().await {
            Ok(next) => next,
            Err(refusal) => {
                on_fault(&refusal);
                return Err(refusal);
            }
        };
    }
    let taken = timeout(idle, writer.finish()).await;
    Ok(if matches!(taken, Ok(Ok(()))) { Outcome::Delivered } else { Outcome::Abandoned })
}
