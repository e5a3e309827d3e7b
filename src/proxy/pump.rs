//! Hands a body on window by window.
//!
//! An answer's body is handed on by the exchange itself ([`stream`]); a request's by a task beside it ([`Pump`]), because the
//! other side may answer before it has heard everything.

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
    pub fn start(mut passage: Passage, first: Released, writer: Writer) -> Self {
        let task = tokio::spawn(async move {
            let result = stream(&mut passage, first, writer).await;
            (passage, result)
        });
        Self { task, ended: None }
    }

    /// Waits for the answer to the request that `sending` sends, which has its time from the moment when the request is whole.
    pub async fn send(
        &mut self,
        upstream: &Upstream,
        sending: impl Future<Output = Result<Answered, Refusal>>,
    ) -> Result<Answered, Refusal> {
        let mut sending = std::pin::pin!(sending);
        tokio::select! {
            biased;
            answered = &mut sending => return answered,
            ended = &mut self.task => self.ended = ended.ok(),
        }
        match &self.ended {
            Some((_, Ok(_))) => {}
            Some((_, Err(refusal))) => return Err(refusal.clone()),
            None => return Err(Refusal::Overloaded),
        }
        timeout(upstream.response(), sending).await.unwrap_or(Err(Refusal::UpstreamSlow))
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

/// Hands on a body window by window. An error, or a receiver that has gone, leaves it visibly broken off.
pub async fn stream(passage: &mut Passage, first: Released, mut writer: Writer) -> Result<Outcome, Refusal> {
    let mut next = Some(first);
    while let Some(released) = next {
        if writer.write(released.into_bytes()).await.is_err() {
            return Ok(Outcome::Abandoned);
        }
        next = passage.next().await?;
    }
    Ok(if writer.finish().await.is_ok() { Outcome::Delivered } else { Outcome::Abandoned })
}
