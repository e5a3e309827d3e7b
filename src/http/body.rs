//! Bodies in and out: read under limits with their coding undone, written whole or streamed.
//!
//! Not here: what is in a body. A [`Reader`] gives plain bytes until a proper end or a [`BodyError`]; an [`Outgoing`] is what a
//! message is sent with, and its [`Writer`] feeds it while it is being sent.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

use super::codec::{Apply, Failed, Pulled, Undo};
use super::coding::Coding;
use super::fate::Fate;
use super::pace::Pace;

/// What a body may cost on the way in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after the coding was undone (and so before it, too).
    pub body_bytes: u64,
    /// Bytes out of the decoder for each byte into it. Default 100, counted from 64 KiB on.
    pub ratio: u32,
    /// How long its sender may keep us waiting.
    pub pace: Pace,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Over `body_bytes`, or over `ratio`.
    #[error("body too large")]
    TooLarge,
    /// Bytes that are not in the coding that the header names, or bytes after its end.
    #[error("body not in its coding")]
    Coding,
    /// The connection ended before the framing said so.
    #[error("body incomplete")]
    Incomplete,
    /// Its sender kept us waiting for too long: for the next bytes, or in all.
    #[error("body too slow")]
    Slow,
}

/// Reads one body: un-coded chunks under limits. Trailers are dropped.
///
/// A body without coding is handed on as it came, without a copy. In gzip and zstd several members (frames) may follow each
/// other, as RFC 1952 and RFC 8878 say; anything else after the end of a coded stream is [`BodyError::Coding`]. A message of
/// no bytes at all is empty whatever coding it names.
pub struct Reader {
    body: UnsyncBoxBody<Bytes, Foreign>,
    undo: Option<Box<Undo>>,
    limits: Limits,
    expected: Option<u64>,
    received: u64,
    /// How long its sender has kept us waiting so far.
    waited: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    end: Option<Result<(), BodyError>>,
}

/// Whatever a foreign body says went wrong: not looked at, since its text may carry anything.
struct Foreign;

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("received", &self.received).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Reader {
    /// `codings` in the order in which they were applied (RFC 9110, section 8.4); at most two.
    pub fn new<B>(body: B, codings: &[Coding], limits: Limits) -> Self
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let hint = body.size_hint();
        // A length that the sender names itself is believed when it is bad news: nothing is read then.
        let end = match () {
            () if hint.lower() > limits.body_bytes => Some(Err(BodyError::TooLarge)),
            () if codings.len() > 2 => Some(Err(BodyError::Coding)),
            () => None,
        };
        Self {
            body: UnsyncBoxBody::new(body.map_err(|_| Foreign)),
            undo: Undo::new(codings, limits.body_bytes, limits.ratio).map(Box::new),
            limits,
            expected: hint.exact().filter(|_| codings.is_empty()),
            received: 0,
            waited: Duration::ZERO,
            timer: None,
            end,
        }
    }

    /// The length in bytes that the sender announced, where the body has no coding.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Bytes received so far, with their coding.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next un-coded bytes, never empty; `None` at a proper end. Once it gave an error it gives that error again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if let Some(end) = self.end {
            return end.map(|()| None);
        }
        let next = self.read_on().await;
        match next {
            Ok(None) => self.end = Some(Ok(())),
            Err(error) => self.end = Some(Err(error)),
            Ok(Some(_)) => {}
        }
        next
    }

    async fn read_on(&mut self) -> Result<Option<Bytes>, BodyError> {
        // One deadline for the whole wait: coded bytes that yield nothing must not buy more time.
        let mut deadline = None;
        loop {
            if let Some(undo) = &mut self.undo {
                match undo.pull()? {
                    Pulled::Piece(piece) => {
                        // A bomb that is all here must leave the thread to others between its pieces.
                        tokio::task::coop::consume_budget().await;
                        return Ok(Some(piece));
                    }
                    Pulled::End => return Ok(None),
                    Pulled::Starved => {}
                }
            }
            let chunk = self.receive(&mut deadline).await?;
            self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            if self.received > self.limits.body_bytes {
                return Err(BodyError::TooLarge);
            }
            match (&mut self.undo, chunk) {
                (None, chunk) => return Ok(chunk),
                (Some(undo), Some(chunk)) => undo.feed(chunk),
                (Some(undo), None) => undo.end(),
            }
        }
    }

    /// The next bytes as they came. A timer is looked at only when the bytes are not here yet, and stays registered with the
    /// runtime from one wait to the next: a body that flows never touches it.
    async fn receive(&mut self, deadline: &mut Option<Instant>) -> Result<Option<Bytes>, BodyError> {
        let left = self.limits.pace.left(self.received, self.waited);
        let (body, timer) = (&mut self.body, &mut self.timer);
        let mut since = None;
        let received = poll_fn(|cx| {
            loop {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
                        _ => {}
                    },
                    Poll::Ready(Some(Err(Foreign))) => return Poll::Ready(Err(BodyError::Incomplete)),
                    Poll::Ready(None) => return Poll::Ready(Ok(None)),
                    Poll::Pending => break,
                }
            }
            let since = *since.get_or_insert_with(Instant::now);
            let deadline = *deadline.get_or_insert(since + left);
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            // It may have been set for an earlier wait, and so ring too early; or too late, where that wait had more time.
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            while timer.as_mut().poll(cx).is_ready() {
                if timer.deadline() >= deadline {
                    return Poll::Ready(Err(BodyError::Slow));
                }
                timer.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await;
        self.waited += since.map_or(Duration::ZERO, |since| since.elapsed());
        received
    }
}

/// A body on the way out.
pub struct Outgoing {
    kind: Kind,
    /// See [`Outgoing::holding`].
    hold: Option<Hold>,
    /// See [`Outgoing::endless`].
    endless: bool,
    /// See [`Outgoing::watched`].
    fate: Option<Arc<Fate>>,
}

/// What a body's bytes take up, such as a place among the exchanges; given back when it is dropped.
pub type Hold = Arc<dyn Keep>;

/// What can be kept with a body.
pub trait Keep: std::fmt::Debug + Send + Sync {
    /// Who is to be told what becomes of the body.
    fn fate(&self) -> Option<&Fate> {
        None
    }
}

impl Keep for () {}

/// Bytes with what they take up: a connection keeps them, or slices of them, until the peer has taken them.
struct Held(Bytes, #[expect(dead_code, reason = "held for its drop")] Hold);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

enum Kind {
    /// Nothing, or nothing more.
    Empty,
    Full(Bytes),
    Stream(mpsc::Receiver<Piece>),
    Coded(Box<Coded>),
    /// About to be broken off: what was handed over before goes out first.
    Breaking,
    /// Broken off.
    Broken,
}

enum Piece {
    Chunk(Bytes),
    /// The proper end. Answered when the connection has taken it.
    End(oneshot::Sender<()>),
}

struct Coded {
    inner: Outgoing,
    apply: Apply,
    input: Bytes,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Read,
    Encode,
    Flush,
    Finish,
    /// Some encoders would begin a new stream if they were asked to finish twice.
    Done,
}

/// Whole bodies up to this size are coded at once, so that they have a length; larger ones piece by piece as they are sent.
const CODED_AT_ONCE: usize = 64 * 1024;

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Stream(_) => "stream",
            Kind::Coded(_) => "coded",
            Kind::Breaking | Kind::Broken => "broken",
        };
        write!(f, "Outgoing({kind})")
    }
}

impl Outgoing {
    fn new(kind: Kind) -> Self {
        Self { kind, hold: None, endless: false, fate: None }
    }

    /// None.
    pub fn empty() -> Self {
        Self::new(Kind::Empty)
    }

    /// Whole: a `Content-Length` is sent.
    pub fn full(bytes: Bytes) -> Self {
        Self::new(if bytes.is_empty() { Kind::Empty } else { Kind::Full(bytes) })
    }

    /// Streamed, with back pressure: at most one chunk waits. Dropping the writer without [`Writer::finish`] breaks the message off
    /// (no final chunk on HTTP/1.1; RST_STREAM on HTTP/2), so that nobody takes the part for the whole.
    pub fn stream() -> (Writer, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (Writer { sender }, Self::new(Kind::Stream(receiver)))
    }

    /// Keeps `hold` until the body is gone and the last of its bytes has been written to the peer or dropped: who reads
    /// slowly, or by a window of HTTP/2 not at all, keeps what our memory costs. A coding that is applied keeps it, too.
    #[must_use]
    pub fn holding(self, hold: Hold) -> Self {
        Self { hold: Some(hold), ..self }
    }

    /// What it keeps by [`Outgoing::holding`].
    #[must_use]
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Tells `fate` what becomes of it.
    #[must_use]
    pub fn watched(self, fate: Arc<Fate>) -> Self {
        Self { fate: Some(fate), ..self }
    }

    /// Who is told by [`Outgoing::watched`], or by what it keeps.
    pub(super) fn fate(&self) -> Option<&Fate> {
        self.fate.as_deref().or_else(|| self.hold.as_ref()?.fate())
    }

    /// Marks it as one that has no end of its own: its taker is not held to a wait in all ([`Pace::endless`]).
    #[must_use]
    pub fn endless(self) -> Self {
        Self { endless: true, ..self }
    }

    /// Whether [`Outgoing::endless`] was said of it.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        self.endless
    }

    /// Applies a coding on the way out (streams stay streams and are flushed with each chunk). An empty body stays empty: it
    /// must not be labelled as coded. A whole body of up to 64 KiB is coded here and now and keeps a length; a larger one
    /// becomes a stream.
    #[must_use]
    pub fn coded(self, coding: Coding) -> Self {
        let mut apply = Apply::new(coding);
        let kind = match self.kind {
            Kind::Empty => Kind::Empty,
            Kind::Full(bytes) if bytes.len() <= CODED_AT_ONCE => match code_at_once(&mut apply, bytes) {
                Ok(coded) => Kind::Full(coded),
                Err(Failed) => Kind::Broken,
            },
            kind => {
                let coded = Coded { inner: Self::new(kind), apply, input: Bytes::new(), step: Step::Read };
                Kind::Coded(Box::new(coded))
            }
        };
        Self { kind, ..self }
    }

    /// The next bytes as they are.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        Poll::Ready(match &mut self.kind {
            Kind::Empty => None,
            Kind::Breaking | Kind::Broken => Some(Err(CutOff)),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Some(Ok(bytes))
            }
            Kind::Stream(receiver) => match std::task::ready!(receiver.poll_recv(cx)) {
                Some(Piece::Chunk(chunk)) => Some(Ok(chunk)),
                Some(Piece::End(taken)) => {
                    // Whoever waits for this may have gone; that changes nothing.
                    let _ = taken.send(());
                    None
                }
                None => {
                    // A connection forgets what it has not written yet when a body fails: it writes when the body has nothing.
                    self.kind = Kind::Breaking;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            },
            Kind::Coded(coded) => std::task::ready!(coded.poll_chunk(cx)),
        })
    }
}

fn code_at_once(apply: &mut Apply, mut bytes: Bytes) -> Result<Bytes, Failed> {
    let mut out = Vec::with_capacity(bytes.len() / 4 + 64);
    while !bytes.is_empty() {
        out.extend(apply.encode(&mut bytes, usize::MAX)?.unwrap_or_default());
    }
    loop {
        let (piece, done) = apply.finish()?;
        out.extend(piece.unwrap_or_default());
        if done {
            return Ok(out.into());
        }
    }
}

/// Cut off on purpose.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("cut off")]
pub struct CutOff;

impl Body for Outgoing {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let this = self.get_mut();
        let next = std::task::ready!(this.poll_piece(cx));
        match next {
            Some(Ok(chunk)) => {
                let chunk = match &this.hold {
                    Some(hold) => Bytes::from_owner(Held(chunk, Arc::clone(hold))),
                    None => chunk,
                };
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Some(Err(CutOff)) => {
                this.kind = Kind::Broken;
                Poll::Ready(Some(Err(CutOff)))
            }
            None => {
                this.kind = Kind::Empty;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(_) | Kind::Coded(_) | Kind::Breaking | Kind::Broken => SizeHint::default(),
        }
    }
}

impl Coded {
    /// Codes until there is something to send. `None`: the end is out.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        let mut taken = 0;
        loop {
            let out = match self.step {
                Step::Read => {
                    match std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                        Some(Ok(frame)) => {
                            self.input = frame.into_data().unwrap_or_default();
                            self.step = Step::Encode;
                        }
                        Some(Err(CutOff)) => return Poll::Ready(Some(Err(CutOff))),
                        None => self.step = Step::Finish,
                    }
                    continue;
                }
                Step::Encode if self.input.is_empty() => {
                    // What a writer hands over is meant to arrive; after the last of a whole body the end follows at once.
                    self.step = if self.inner.is_end_stream() { Step::Finish } else { Step::Flush };
                    continue;
                }
                Step::Encode if taken >= CODED_AT_ONCE => {
                    // Coding a megabyte without a pause would hold up everyone else on this thread.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Encode => {
                    let before = self.input.len();
                    let out = self.apply.encode(&mut self.input, CODED_AT_ONCE - taken);
                    taken += before - self.input.len();
                    out
                }
                Step::Flush => self.apply.flush().map(|(out, done)| {
                    if done {
                        self.step = Step::Read;
                    }
                    out
                }),
                Step::Finish => self.apply.finish().map(|(out, done)| {
                    if done {
                        self.step = Step::Done;
                    }
                    out
                }),
                Step::Done => return Poll::Ready(None),
            };
            match out {
                Ok(None) => {}
                Ok(Some(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Err(Failed) => return Poll::Ready(Some(Err(CutOff))),
            }
        }
    }
}

/// Feeds a streamed [`Outgoing`].
#[derive(Debug)]
pub struct Writer {
    sender: mpsc::Sender<Piece>,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Piece")
    }
}

impl Writer {
    /// Waits for room and hands on the chunk. `Err`: the receiver is gone.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Gone> {
        if chunk.is_empty() {
            return if self.sender.is_closed() { Err(Gone) } else { Ok(()) };
        }
        self.sender.send(Piece::Chunk(chunk)).await.map_err(|_| Gone)
    }

    /// The body is whole. Resolves when the last chunk has been taken by the connection, as far as can be known; `Err`: the receiver went away first.
    pub async fn finish(self) -> Result<(), Gone> {
        let (taken, wait) = oneshot::channel();
        self.sender.send(Piece::End(taken)).await.map_err(|_| Gone)?;
        wait.await.map_err(|_| Gone)
    }

    /// Resolves when the receiver is gone. May be dropped and asked for again.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("receiver gone")]
pub struct Gone;

#[cfg(test)]
mod tests;
