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
use super::fate::Ended;
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
    /// What the peer has done of the writing that is under way: kept us waiting for so many milliseconds, taken so many bytes.
    waited: AtomicU64,
    taken: AtomicU64,
    /// How it ended, for the answers that it had then.
    pub(super) ended: Arc<Ended>,
    /// On HTTP/2: the answers that are being sent.
    answers: Mutex<Vec<Weak<Sending>>>,
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
            waited: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            ended: Arc::default(),
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

    /// So many bytes were taken by the peer's side, or (`None`) it takes none now.
    pub(super) fn write(&self, taken: Option<usize>) {
        let stalled = self.stalled.load(Ordering::Relaxed);
        match taken {
            None if stalled == 0 => self.stalled.store(self.now().saturating_add(1), Ordering::Relaxed),
            None => {}
            Some(bytes) if stalled != 0 => {
                let now = self.now();
                self.stalled.store(0, Ordering::Relaxed);
                self.waited.fetch_add((now + 1).saturating_sub(stalled), Ordering::Relaxed);
                self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
                // Whoever takes an answer slowly is not idle meanwhile.
                self.since.fetch_max(now, Ordering::Relaxed);
            }
            Some(bytes) => {
                self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        }
    }

    /// Everything that there was to write is written.
    pub(super) fn written(&self) {
        self.write(Some(0));
        self.waited.store(0, Ordering::Relaxed);
        self.taken.store(0, Ordering::Relaxed);
    }

    /// Whether the peer takes an answer too slowly. An HTTP/2 peer can do that by its windows, stream by stream, while the
    /// connection itself is in the best of health. Looks at each open answer, so it is for timers.
    pub(super) fn stuck(&self, limits: &ConnectionLimits) -> bool {
        let now = self.now();
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().filter_map(Weak::upgrade).any(|answer| answer.overdue(now, limits))
    }

    /// When the connection is to be given up, as things are.
    pub(super) fn deadline(&self, limits: &ConnectionLimits) -> Option<Instant> {
        let after =
            |millis: u64, limit: Duration| self.start.checked_add(Duration::from_millis(millis).saturating_add(limit));
        match self.stalled.load(Ordering::Relaxed) {
            0 if self.busy.load(Ordering::Acquire) == 0 => {
                let limit = if self.reading.load(Ordering::Relaxed) { limits.head } else { limits.idle };
                after(self.since.load(Ordering::Relaxed), limit)
            }
            0 => None,
            since => {
                let waited = Duration::from_millis(self.waited.load(Ordering::Relaxed));
                after(since - 1, limits.taking.left(self.taken.load(Ordering::Relaxed), waited))
            }
        }
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

/// An answer that is being sent over HTTP/2, until the peer has taken the last of its bytes.
struct Sending {
    busy: Busy,
    /// As [`Activity`]'s `stalled`: since when the peer is to take the last piece. Zero: it is ours to go on.
    since: AtomicU64,
    /// As [`Activity`]'s, up to the last piece.
    waited: AtomicU64,
    taken: AtomicU64,
    /// Bytes of the last piece.
    last: AtomicU64,
    /// It has no end of its own.
    endless: bool,
}

impl Sending {
    fn overdue(&self, now: u64, limits: &ConnectionLimits) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        let waited = Duration::from_millis(self.waited.load(Ordering::Relaxed));
        let taking = if self.endless { limits.taking.endless() } else { limits.taking };
        let left = taking.left(self.taken.load(Ordering::Relaxed), waited);
        since != 0 && Duration::from_millis((now + 1).saturating_sub(since)) >= left
    }

    /// The peer has taken the last piece, and asked for more. `piece`: what it gets; `None`: nothing is there yet.
    fn goes_on(&self, piece: Option<usize>) {
        let now = self.busy.0.now().saturating_add(1);
        let since = self.since.swap(if piece.is_some() { now } else { 0 }, Ordering::Relaxed);
        if since != 0 {
            self.waited.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
            self.taken.fetch_add(self.last.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        if let Some(bytes) = piece {
            self.last.store(bytes as u64, Ordering::Relaxed);
        }
    }
}

/// Bytes on their way over HTTP/2, where they may wait for a window long after the body is at its end.
struct Underway(Bytes, #[expect(dead_code, reason = "held for its drop")] Arc<Sending>);

impl AsRef<[u8]> for Underway {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// An answer's body: the exchange is open until the connection has taken it, or dropped it.
pub(super) struct Answer {
    body: Outgoing,
    open: Open,
    /// What is left of a piece that was too large.
    rest: Bytes,
}

enum Open {
    /// Here the connection itself shows how the peer takes it.
    Http1(#[expect(dead_code, reason = "held for its drop")] Busy),
    Http2(Arc<Sending>),
}

/// Largest piece that is given to HTTP/2 at once, so that it can be seen how a long answer is taken.
const PIECE: usize = 64 * 1024;

impl Answer {
    pub(super) fn new(body: Outgoing, busy: Busy) -> Self {
        if let Some(fate) = body.fate() {
            fate.bind(&busy.0.ended);
        }
        if !busy.0.http2 {
            return Self { body, open: Open::Http1(busy), rest: Bytes::new() };
        }
        let activity = Arc::clone(&busy.0);
        let sending = Arc::new(Sending {
            since: AtomicU64::new(activity.now().saturating_add(1)),
            busy,
            waited: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            last: AtomicU64::new(0),
            endless: body.is_endless(),
        });
        let mut answers = activity.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // Swept when it would have to grow, so that each answer pays for about one other.
        if answers.len() == answers.capacity() {
            answers.retain(|answer| answer.strong_count() > 0);
        }
        answers.push(Arc::downgrade(&sending));
        Self { body, open: Open::Http2(sending), rest: Bytes::new() }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(fate) = self.body.fate()
            && !self.is_end_stream()
        {
            fate.leave();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let this = &mut *self;
        let Open::Http2(sending) = &this.open else { return Pin::new(&mut this.body).poll_frame(cx) };
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => this.rest = frame.into_data().unwrap_or_default(),
                Poll::Pending => {
                    sending.goes_on(None);
                    return Poll::Pending;
                }
                end => return end,
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        sending.goes_on(Some(piece.len()));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(Underway(piece, Arc::clone(sending)))))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before the first piece only.
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::http::body::Hold;
    use crate::http::coding::Coding;
    use crate::http::pace::Pace;

    /// Whether the taker of such an answer is given up at once, and after half a minute more, when it has kept us waiting for long.
    async fn given_up(mark: impl Fn(Outgoing) -> Outgoing) -> (bool, bool) {
        let second = Duration::from_secs(1);
        let taking = Pace { idle: 30 * second, total: 300 * second, rate: 0 };
        let limits = ConnectionLimits {
            taking,
            handshake: second,
            head: second,
            idle: second,
            head_bytes: 1,
            head_fields: 1,
            streams: 1,
            connections: 1,
        };
        let activity = Arc::new(Activity { http2: true, ..Activity::new() });
        let (mut writer, body) = Outgoing::stream();
        let mut answer = Answer::new(mark(body), Busy::begin(Arc::clone(&activity)));
        let (written, piece) = tokio::join!(writer.write(Bytes::from_static(b"data: 1\n\n")), answer.frame());
        assert!(written.is_ok() && piece.is_some());
        let Open::Http2(sending) = &answer.open else { panic!("not HTTP/2") };
        sending.waited.store(300_000, Ordering::Relaxed);
        let at = sending.since.load(Ordering::Relaxed);
        (sending.overdue(at, &limits), sending.overdue(at + 30_000, &limits))
    }

    #[tokio::test]
    async fn who_takes_an_endless_answer_over_http2_has_no_limit_in_all() {
        assert_eq!(given_up(|body| body).await, (true, true));
        assert_eq!(given_up(Outgoing::endless).await, (false, true));
        let hold = || Arc::new(()) as Hold;
        assert_eq!(given_up(|body| body.endless().coded(Coding::Gzip).holding(hold())).await, (false, true));
        assert_eq!(given_up(|body| body.holding(hold()).coded(Coding::Gzip)).await, (true, true));
    }
}
