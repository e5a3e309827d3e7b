//! What waits to be written, and who writes it.
//!
//! Callers put their lines straight into a buffer, which whoever writes swaps for an empty one: no allocation for an entry
//! beyond its acknowledgement. The [`Writer`] lies in the queue, and whoever takes it out is the only one who writes. That is
//! the ledger's own thread, which may wait for a disk; or, where a commit is known to take microseconds only (tmpfs,
//! `batched`), the caller itself, who also writes what others queue meanwhile: waking a thread and being woken by it
//! costs ten times as much as such a commit. Start at [`Queue::append`] and [`Queue::serve`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::clock::Time;
use crate::ids::ExchangeId;

use super::Error;
use super::writer::Writer;

/// Groups that a caller writes for others before the ledger's thread has to go on.
const TURNS_MAX: u32 = 16;

/// Told when the entry is durable, or cannot be.
pub(super) struct Waiter(oneshot::Sender<Result<(), Error>>);

impl Waiter {
    /// Whether the one who waits has gone away does not matter: then there is an entry with no disclosure.
    pub(super) fn tell(self, result: Result<(), Error>) {
        let _ = self.0.send(result);
    }
}

/// What is written at once.
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

    fn bytes(&self) -> usize {
        self.closes.len() + self.awaited.len()
    }

    fn is_empty(&self) -> bool {
        self.waiters.is_empty() && self.closes.is_empty()
    }
}

#[derive(Default)]
struct State {
    batch: Batch,
    /// `None` while someone writes, and after the end.
    writer: Option<Box<Writer>>,
    /// The thread sleeps and has to be woken.
    asleep: bool,
    /// It will wake by itself.
    alarm: bool,
    stopping: bool,
    /// The writer is gone for good.
    ended: bool,
    stopped: Vec<oneshot::Sender<()>>,
}

/// Between the callers and the disk.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    healthy: Arc<AtomicBool>,
}

impl Queue {
    /// A queue whose writer has just written its `start`.
    pub(super) fn new(writer: Writer) -> Self {
        let healthy = writer.healthy();
        let state = State { writer: Some(Box::new(writer)), ..State::default() };
        Self { state: Mutex::new(state), wake: Condvar::new(), healthy }
    }

    /// Lets `write` put one line into the next batch; resolves when it is as durable as was promised.
    pub(super) async fn append(
        &self,
        opened: Option<ExchangeId>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Error> {
        let told = self.put(opened, write)?;
        told.await.unwrap_or_else(|_| Err(Error::Unwritable("the writer is gone".into())))
    }

    /// Lets `write` put one line into the next batch, and waits for nothing.
    pub(super) fn note(&self, write: impl FnOnce(&mut Vec<u8>)) {
        drop(self.put(None, write));
    }

    fn put(
        &self,
        opened: Option<ExchangeId>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let (waiter, told) = oneshot::channel();
        let mut state = self.state();
        if state.stopping || state.ended {
            return Err(Error::Unwritable("stopped".into()));
        }
        write(&mut state.batch.awaited);
        state.batch.waiters.push(Waiter(waiter));
        state.batch.opened.extend(opened);
        let bytes = state.batch.bytes();
        match state.writer.as_ref().and_then(|writer| writer.quick(bytes)) {
            Some(now) => Turn { queue: self, writer: state.writer.take() }.go_on(state, now),
            None => self.rouse(state),
        }
        Ok(told)
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

    /// The ledger's thread: writes whatever no caller wrote, syncs and retries when it is time, until it is stopped.
    pub(super) fn serve(&self) {
        let _gone = Gone(self);
        loop {
            let mut state = self.state();
            // Asked for a sync or a retry, with nothing that waits.
            let mut due = false;
            while !state.ended && !(state.writer.is_some() && (due || state.stopping || !state.batch.is_empty())) {
                let patience = state.writer.as_ref().and_then(|writer| writer.patience());
                (state.asleep, state.alarm) = (true, patience.is_some());
                state = match patience {
                    None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                    Some(time) => self.wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
                };
                (state.asleep, state.alarm) = (false, false);
                due = state.writer.as_ref().and_then(|writer| writer.patience()).is_some_and(|time| time.is_zero());
            }
            let stopping = state.stopping;
            let Some(writer) = state.writer.take() else { return };
            let now = writer.now();
            let mut turn = Turn { queue: self, writer: Some(writer) };
            turn.write(state, now);
            if stopping {
                if let Some(writer) = turn.writer.take() {
                    writer.stop();
                }
                return;
            }
        }
    }

    /// Asks the thread to write what waits and to end. Returns when it has.
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

    /// Asks the thread to end, and does not wait.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.stopping = true;
        self.rouse(state);
    }

    /// The writer is gone: whoever waits is told, by the loss of their channel.
    fn end(&self) {
        self.healthy.store(false, Ordering::Release);
        let mut state = self.state();
        state.ended = true;
        state.writer = None;
        if !state.batch.closed.is_empty() {
            tracing::error!(
                closes = state.batch.closed.len(),
                "the record ended before these exchanges were closed in it"
            );
        }
        state.batch = Batch::default();
        let stopped = std::mem::take(&mut state.stopped);
        self.rouse(state);
        for waiter in stopped {
            let _ = waiter.send(());
        }
    }

    /// Whether the last write succeeded.
    pub(super) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Wakes the thread where it sleeps and there is something for it; outside the lock, or it would wake only to wait for us.
    fn rouse(&self, state: MutexGuard<'_, State>) {
        // While someone else has the writer, they look again when they are done.
        let wanted = state.asleep && (state.writer.is_some() || state.ended);
        drop(state);
        if wanted {
            self.wake.notify_one();
        }
    }

    /// A panic of another caller cannot leave a half-written line: lines are written by code that does not panic; and if
    /// one did, refusing everything from then on would be no better than a line that does not read.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has the writer: gives it back at the end, and ends the ledger in a panic, as a writer in an unknown state must
/// not go on and a queue with none would wait for ever.
struct Turn<'a> {
    queue: &'a Queue,
    writer: Option<Box<Writer>>,
}

impl Turn<'_> {
    /// Writes and acknowledges what waits, at `now`.
    fn write(&mut self, mut state: MutexGuard<'_, State>, now: Time) {
        let Some(writer) = &mut self.writer else { return };
        std::mem::swap(writer.batch(), &mut state.batch);
        drop(state);
        writer.turn(now);
    }

    /// As a caller: also what others queue meanwhile, as long as it is quick and not for ever.
    fn go_on(mut self, state: MutexGuard<'_, State>, now: Time) {
        self.write(state, now);
        for _ in 1..TURNS_MAX {
            let state = self.queue.state();
            if state.batch.is_empty() {
                break;
            }
            let bytes = state.batch.bytes();
            let Some(now) = self.writer.as_ref().and_then(|writer| writer.quick(bytes)) else { break };
            self.write(state, now);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        if std::thread::panicking() {
            drop(writer);
            self.queue.end();
            return;
        }
        let mut state = self.queue.state();
        // The thread may sleep with no alarm set for a sync or a retry that this turn made necessary.
        let wanted = state.stopping || !state.batch.is_empty() || (!state.alarm && writer.patience().is_some());
        state.writer = Some(writer);
        if wanted {
            self.queue.rouse(state);
        }
    }
}

/// Tells everyone when the thread is gone, in whatever way.
struct Gone<'a>(&'a Queue);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
