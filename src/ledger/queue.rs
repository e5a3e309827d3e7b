//! What waits for the writer.
//!
//! Callers write their lines straight into a buffer that the writer swaps for an empty one: no allocation for an entry
//! beyond its acknowledgement, and a wake-up only where the writer sleeps. Start at [`Queue`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ids::ExchangeId;

use super::Error;

/// Told when the entry is durable, or cannot be.
pub(super) struct Waiter(oneshot::Sender<Result<(), Error>>);

impl Waiter {
    /// Whether the one who waits has gone away does not matter: then there is an entry with no disclosure.
    pub(super) fn tell(self, result: Result<(), Error>) {
        let _ = self.0.send(result);
    }
}

/// What the writer takes at once.
#[derive(Default)]
pub(super) struct Batch {
    /// Lines that someone waits for.
    pub awaited: Vec<u8>,
    /// One to each of those lines.
    pub waiters: Vec<Waiter>,
    /// The exchanges of the `open` lines among them.
    pub opened: Vec<ExchangeId>,
    /// `close` lines: nobody waits, and they are kept until they are written.
    pub closes: Vec<u8>,
    /// The exchanges of those.
    pub closed: Vec<ExchangeId>,
}

impl Batch {
    /// Empties it; what it holds of memory is kept, up to a bound.
    pub(super) fn clear(&mut self) {
        self.awaited.clear();
        self.awaited.shrink_to(1024 * 1024);
        self.waiters.clear();
        self.opened.clear();
        self.closes.clear();
        self.closed.clear();
    }

    fn is_empty(&self) -> bool {
        self.waiters.is_empty() && self.closes.is_empty()
    }
}

#[derive(Default)]
struct State {
    batch: Batch,
    /// The writer sleeps and has to be woken.
    asleep: bool,
    stopping: bool,
    /// The writer is gone.
    ended: bool,
    stopped: Vec<oneshot::Sender<()>>,
}

/// Between the callers and the writer.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    healthy: AtomicBool,
}

impl Queue {
    /// A queue whose writer has just written its `start`.
    pub(super) fn new() -> Self {
        Self { healthy: AtomicBool::new(true), ..Self::default() }
    }

    /// Lets `write` put one line into the next batch; resolves when it is as durable as was promised.
    pub(super) async fn append(
        &self,
        opened: Option<ExchangeId>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Error> {
        let (waiter, told) = oneshot::channel();
        {
            let mut state = self.state();
            if state.stopping || state.ended {
                return Err(Error::Unwritable("stopped".into()));
            }
            write(&mut state.batch.awaited);
            state.batch.waiters.push(Waiter(waiter));
            state.batch.opened.extend(opened);
            self.rouse(state);
        }
        told.await.unwrap_or_else(|_| Err(Error::Unwritable("the writer is gone".into())))
    }

    /// Lets `write` put one line into the next batch, and does not wait. `false`: there is no writer any more.
    pub(super) fn close(&self, exchange: ExchangeId, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state();
        if state.ended {
            return false;
        }
        write(&mut state.batch.closes);
        state.batch.closed.push(exchange);
        self.rouse(state);
        true
    }

    /// Swaps the (empty) batch for what waits; waits for something, at most for `patience`. `false`: stopping.
    pub(super) fn take(&self, batch: &mut Batch, patience: Option<Duration>) -> bool {
        let mut state = self.state();
        if state.batch.is_empty() && !state.stopping {
            state.asleep = true;
            let idle = |state: &mut State| state.batch.is_empty() && !state.stopping;
            state = match patience {
                None => self.wake.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
                Some(time) => self.wake.wait_timeout_while(state, time, idle).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.asleep = false;
        }
        std::mem::swap(batch, &mut state.batch);
        !state.stopping
    }

    /// Asks the writer to write what waits and to end. Returns when it has.
    pub(super) async fn stop(&self) {
        let (stopped, told) = oneshot::channel();
        {
            let mut state = self.state();
            if state.ended {
                return;
            }
            state.stopping = true;
            state.stopped.push(stopped);
            self.rouse(state);
        }
        let _ = told.await;
    }

    /// Asks the writer to end, and does not wait.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.stopping = true;
        self.rouse(state);
    }

    /// The writer is gone: whoever waits is told, by the loss of their channel.
    pub(super) fn end(&self) {
        self.set_healthy(false);
        let mut state = self.state();
        state.ended = true;
        if !state.batch.closed.is_empty() {
            tracing::error!(
                closes = state.batch.closed.len(),
                "the record ended before these exchanges were closed in it"
            );
        }
        state.batch = Batch::default();
        let stopped = std::mem::take(&mut state.stopped);
        drop(state);
        for waiter in stopped {
            let _ = waiter.send(());
        }
    }

    /// Whether the last write succeeded.
    pub(super) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Set by the writer.
    pub(super) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Release);
    }

    /// Wakes the writer where it sleeps; outside the lock, or it would wake only to wait for us.
    fn rouse(&self, state: MutexGuard<'_, State>) {
        let asleep = state.asleep;
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
    }

    /// A panic of another caller cannot leave a half-written line: lines are written by code that does not panic; and if
    /// one did, refusing everything from then on would be no better than a line that does not read.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
