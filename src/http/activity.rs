//! What a connection is doing, in a few numbers that any of its tasks may change, and when that has gone on for too long.
//!
//! Not here: what happens then (`connection`). Start at [`Activity::deadline`].

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::body::{CutOff, Outgoing};
use super::listener::ConnectionLimits;

/// What a connection is doing, in a few numbers that any of its tasks may change.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// On HTTP/2 bytes say nothing: pings and window updates come at any time.
    pub(super) http2: bool,
    /// Exchanges whose answer has not been taken whole.
    busy: AtomicUsize,
    /// Whether a head has begun to arrive since the last exchange ended.
    reading: AtomicBool,
    /// Milliseconds after `start`: when `busy` fell to none, or `reading` began.
    since: AtomicU64,
    /// Milliseconds after `start`, plus one: since when the peer takes no more bytes. Zero: it takes them.
    stalled: AtomicU64,
    /// On HTTP/2: the answers that are being sent. Each has the time since when its peer is to take the next piece, as `stalled`.
    answers: Mutex<Vec<Weak<AtomicU64>>>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            http2: false,
            busy: AtomicUsize::new(0),
            // Who has just connected has something to say.
            reading: AtomicBool::new(true),
            since: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            answers: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Bytes have arrived.
    pub(super) fn read(&self) {
        if !self.http2 && self.busy.load(Ordering::Relaxed) == 0 && !self.reading.swap(true, Ordering::Relaxed) {
            self.since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Bytes were, or were not, taken by the peer's side.
    pub(super) fn write(&self, taken: bool) {
        if taken {
            self.stalled.store(0, Ordering::Relaxed);
        } else if self.stalled.load(Ordering::Relaxed) == 0 {
            self.stalled.store(self.now().saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Whether the peer has taken nothing of an answer for too long. An HTTP/2 peer can do that by its windows, stream by stream,
    /// while the connection itself is in the best of health. Looks at each open answer, so it is for timers.
    pub(super) fn stuck(&self, limits: &ConnectionLimits) -> bool {
        let Some(latest) = self.now().checked_sub(u64::try_from(limits.idle.as_millis()).unwrap_or(u64::MAX)) else {
            return false;
        };
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().filter_map(Weak::upgrade).any(|since| {
            let since = since.load(Ordering::Relaxed);
            since != 0 && since - 1 <= latest
        })
    }

    /// When the connection is to be given up, as things are.
    pub(super) fn deadline(&self, limits: &ConnectionLimits) -> Option<Instant> {
        let after =
            |millis: u64, limit: Duration| self.start.checked_add(Duration::from_millis(millis).saturating_add(limit));
        let stalled = match self.stalled.load(Ordering::Relaxed) {
            0 => None,
            since => after(since - 1, limits.idle),
        };
        let waiting = (self.busy.load(Ordering::Acquire) == 0).then(|| {
            let limit = if self.reading.load(Ordering::Relaxed) { limits.head } else { limits.idle };
            after(self.since.load(Ordering::Relaxed), limit)
        });
        stalled.into_iter().chain(waiting.flatten()).min()
    }
}

/// An open exchange, as far as the connection knows.
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    pub(super) fn begin(activity: Arc<Activity>) -> Self {
        activity.busy.fetch_add(1, Ordering::Relaxed);
        Self(activity)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // The time first, so that nobody sees an idle connection with the time of long ago.
        self.0.since.store(self.0.now(), Ordering::Relaxed);
        self.0.reading.store(false, Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Release);
    }
}

/// An answer's body: the exchange is open until the connection has taken it, or dropped it.
pub(super) struct Answer {
    body: Outgoing,
    busy: Busy,
    /// See [`Activity::stuck`]; on HTTP/1.1 the connection's own `stalled` says it.
    since: Option<Arc<AtomicU64>>,
}

impl Answer {
    pub(super) fn new(body: Outgoing, busy: Busy) -> Self {
        let activity = &busy.0;
        let since = activity.http2.then(|| Arc::new(AtomicU64::new(activity.now().saturating_add(1))));
        if let Some(since) = &since {
            let mut answers = activity.answers.lock().unwrap_or_else(PoisonError::into_inner);
            // Swept when it would have to grow, so that each answer pays for about one other.
            if answers.len() == answers.capacity() {
                answers.retain(|answer| answer.strong_count() > 0);
            }
            answers.push(Arc::downgrade(since));
        }
        Self { body, busy, since }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(since) = &self.since {
            // Nothing to send: it is ours to go on. Something sent: the peer's, until it asks for more.
            let now = if frame.is_pending() { 0 } else { self.busy.0.now().saturating_add(1) };
            since.store(now, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
