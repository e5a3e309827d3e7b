//! One accepted connection, from its first byte to its last: which protocol it speaks, what it may cost in time, how it is
//! told to end.
//!
//! Not here: accepting and TLS (`listener`). Start at [`serve`].
//!
//! hyper's own timers are not used: its head timer also runs between requests, its HTTP/2 side has no timer for a peer that
//! never speaks, and nothing in it looks at a peer that does not read. [`Activity`] knows the state of the connection, and
//! [`drive`] holds it against [`ConnectionLimits`]: one timer a connection, which a busy connection hardly ever touches.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::http::{HeaderValue, Request, Response, Version, header};
use bytes::{Buf, Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::activity::{Activity, Answer, Busy};
use super::fate::{Ended, Lost};
use super::gate::{Gate, Pass};
use super::listener::{ConnectionLimits, Peer, Service, Unreadable};
use super::workers::SharedRuntime;

/// How a client begins that speaks HTTP/2 without asking (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What `hyper` takes without an allocation for each request.
const FIELDS_ON_STACK: usize = 100;

/// Streams that a peer opened and reset before we looked at them; more is an attack (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 20;

/// Tells a group of connections to end.
#[derive(Debug, Default)]
pub(super) struct Stop {
    phase: AtomicU8,
    drain: Notify,
    cut: Notify,
}

const DRAIN: u8 = 1;
const CUT: u8 = 2;

impl Stop {
    /// Open exchanges may end, new ones are not taken.
    pub(super) fn drain(&self) {
        self.phase.fetch_max(DRAIN, Ordering::SeqCst);
        self.drain.notify_waiters();
    }

    /// Now.
    pub(super) fn cut(&self) {
        self.phase.fetch_max(CUT, Ordering::SeqCst);
        self.drain.notify_waiters();
        self.cut.notify_waiters();
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::SeqCst)
    }

    /// Resolves when [`Self::drain`] or [`Self::cut`] was called.
    pub(super) async fn draining(&self) {
        let mut told = pin!(self.drain.notified());
        // Registered before the phase is read, so that a call in between is not missed.
        told.as_mut().enable();
        if self.phase() < DRAIN {
            told.await;
        }
    }
}

/// How HTTP is spoken on a listener's connections.
#[derive(Clone)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<SharedRuntime>,
    limits: ConnectionLimits,
}

impl Protocols {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // See the module's words on timers.
            .header_read_timeout(None)
            // Also the size of a read and of a write: bodies want more than heads.
            .max_buf_size(limits.head_bytes.max(64 * 1024));
        if limits.head_fields != FIELDS_ON_STACK {
            http1.max_headers(limits.head_fields);
        }
        let mut http2 = http2::Builder::new(SharedRuntime::current());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            // What a connection may make us hold: its window, whatever the number of its streams.
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_send_buf_size(256 * 1024)
            // Finds peers that are gone while an exchange is open; idle ones are closed by us.
            .keep_alive_interval(limits.idle)
            .keep_alive_timeout(limits.head);
        Self { http1, http2, limits }
    }
}

/// What TLS agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreed {
    /// HTTP/1.1, or nothing.
    Http1,
    /// HTTP/2.
    Http2,
    /// No TLS: whatever the first bytes say.
    Unknown,
}

/// Serves a connection until it ends, is told to, or breaks a limit.
pub(super) async fn serve<S, T>(
    mut stream: T,
    agreed: Agreed,
    peer: Peer,
    service: Arc<S>,
    protocols: &Protocols,
    stop: &Stop,
) where
    S: Service,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut activity = Activity::new();
    let (prefix, http2) = match agreed {
        Agreed::Http1 => (Bytes::new(), false),
        Agreed::Http2 => (Bytes::new(), true),
        Agreed::Unknown => {
            let sniffed = tokio::time::timeout(protocols.limits.head, sniff(&mut stream));
            let sniffed = tokio::select! {
                sniffed = sniffed => sniffed,
                () = stop.draining() => return,
            };
            match sniffed {
                Ok(Ok(sniffed)) => sniffed,
                Ok(Err(_)) | Err(_) => return,
            }
        }
    };
    activity.http2 = http2;
    let activity = Arc::new(activity);
    let ConnectionLimits { head_bytes, head_fields, .. } = protocols.limits;
    let gate = (!http2).then(|| Gate::new(head_bytes, head_fields));
    let mut io = Io { inner: stream, prefix, held: BytesMut::new(), ended: None, gate, activity: activity.clone() };
    io.admit_prefix();
    let io = TokioIo::new(io);
    let shared = Arc::new(Shared { service, peer: Arc::new(peer), fields_max: protocols.limits.head_fields });
    let calls = {
        let activity = activity.clone();
        service_fn(move |request| call(shared.clone(), Busy::begin(activity.clone()), request))
    };
    if http2 {
        let connection = protocols.http2.serve_connection(io, calls);
        drive(connection, http2::Connection::graceful_shutdown, &activity, &protocols.limits, stop).await;
    } else {
        let connection = protocols.http1.serve_connection(io, calls);
        drive(connection, http1::Connection::graceful_shutdown, &activity, &protocols.limits, stop).await;
    }
}

struct Shared<S> {
    service: Arc<S>,
    peer: Arc<Peer>,
    fields_max: usize,
}

async fn call<S: Service>(
    shared: Arc<Shared<S>>,
    busy: Busy,
    request: Request<Incoming>,
) -> Result<Response<Answer>, std::convert::Infallible> {
    let response = match unreadable(&request, shared.fields_max) {
        Some(why) => {
            let mut response = shared.service.refuse(why).await;
            if request.version() < Version::HTTP_2 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
        None => shared.service.call(shared.peer.clone(), request).await,
    };
    Ok(response.map(|body| Answer::new(body, busy)))
}

/// What the gate, or on HTTP/2 nobody yet, has to say against a head.
fn unreadable(request: &Request<Incoming>, fields_max: usize) -> Option<Unreadable> {
    if request.headers().len() > fields_max {
        return Some(Unreadable::TooLarge);
    }
    let large = request.uri().path() == Unreadable::LARGE;
    let refused = request.method().as_str() == Unreadable::METHOD;
    refused.then_some(if large { Unreadable::TooLarge } else { Unreadable::Malformed })
}

/// Reads until it is clear whether the peer speaks HTTP/2; gives back what was read. A single read for nearly everyone.
async fn sniff<T: AsyncRead + Unpin>(stream: &mut T) -> io::Result<(Bytes, bool)> {
    let mut read = Vec::with_capacity(PREFACE.len());
    loop {
        let mut rest = [0; PREFACE.len()];
        let room = rest.get_mut(read.len()..).unwrap_or_default();
        let count = stream.read(room).await?;
        read.extend_from_slice(room.get(..count).unwrap_or_default());
        let same = PREFACE.starts_with(&read);
        if count == 0 || !same || read.len() == PREFACE.len() {
            let http2 = same && read.len() == PREFACE.len();
            return Ok((read.into(), http2));
        }
    }
}

/// Runs a connection to its end, under its limits.
async fn drive<C, E>(
    connection: C,
    graceful: fn(Pin<&mut C>),
    activity: &Activity,
    limits: &ConnectionLimits,
    stop: &Stop,
) where
    C: Future<Output = Result<(), E>>,
{
    let mut connection = pin!(connection);
    // Whoever drops us ends the connection, too; what it has then is dropped after this.
    let ended = CutUnlessEnded(&activity.ended);
    let (mut drain, mut cut) = (pin!(stop.drain.notified()), pin!(stop.cut.notified()));
    let mut registered: Option<Waker> = None;
    let mut told = false;
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    // How often a busy connection is looked at, and whether the timer does.
    let (often, mut looks_in) = (limits.idle.min(limits.taking.total), false);
    let mut last_call: Option<Instant> = None;
    std::future::poll_fn(|cx| {
        // The two signals lie behind locks that all connections share; they are asked once, and after that a number is read.
        if !registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            registered = Some(cx.waker().clone());
            let _ = (drain.as_mut().poll(cx), cut.as_mut().poll(cx));
        }
        match stop.phase() {
            CUT => {
                ended.0.by(Lost::Cut);
                return Poll::Ready(());
            }
            DRAIN if !told => {
                told = true;
                graceful(connection.as_mut());
            }
            _ => {}
        }
        // Whether it ended well concerns those who answered; they know from their bodies.
        if let Poll::Ready(served) = connection.as_mut().poll(cx) {
            // HTTP/2 holds the last piece that it wrote until it has something else to do.
            if served.is_err() && !activity.http2 {
                ended.0.by(Lost::Gone);
            }
            ended.0.well();
            return Poll::Ready(());
        }
        loop {
            let deadline = activity.deadline(limits);
            // While a timer is silent that rings early enough, nobody need ask what time it is.
            if let Some(timer) = &mut timer
                && deadline.map_or(looks_in, |deadline| timer.deadline() <= deadline)
                && timer.as_mut().poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            let now = Instant::now();
            let at = match deadline {
                // Busy: nothing to watch, but look in again, for it may end in another task.
                None => now + often,
                Some(deadline) if deadline > now => deadline,
                Some(_) => match last_call {
                    Some(until) if until > now => until,
                    Some(_) => {
                        ended.0.by(Lost::Slow);
                        return Poll::Ready(());
                    }
                    None => {
                        graceful(connection.as_mut());
                        // HTTP/1.1 closes here if it is between requests, and is cut in the middle of a head. An HTTP/2 peer
                        // is told which of its streams we saw, and gets a moment to hear it.
                        if connection.as_mut().poll(cx).is_ready() {
                            ended.0.well();
                            return Poll::Ready(());
                        }
                        if !activity.http2 {
                            ended.0.by(Lost::Slow);
                            return Poll::Ready(());
                        }
                        *last_call.insert(now + limits.head)
                    }
                },
            };
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            // A timer that rings early costs a look; one that is moved for each request costs a lock.
            if timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            looks_in = timer.deadline() <= now + often;
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if activity.stuck(limits) {
                ended.0.by(Lost::Slow);
                return Poll::Ready(());
            }
            timer.as_mut().reset(at.max(now + Duration::from_millis(1)));
        }
    })
    .await;
}

/// Says of a connection that is dropped that it was cut, unless it is known how it ended.
struct CutUnlessEnded<'a>(&'a Ended);

impl Drop for CutUnlessEnded<'_> {
    fn drop(&mut self) {
        self.0.by(Lost::Cut);
    }
}

/// A stream that reports to [`Activity`], and gives what has passed the [`Gate`].
struct Io<T> {
    inner: T,
    /// What was read already and may be given.
    prefix: Bytes,
    /// A head that is not whole.
    held: BytesMut,
    /// Nothing more is given: `Some(true)`: as if it ended in the middle.
    ended: Option<bool>,
    /// `None` on HTTP/2.
    gate: Option<Gate>,
    activity: Arc<Activity>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Io<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.prefix.is_empty() {
                let count = this.prefix.len().min(buf.remaining());
                buf.put_slice(this.prefix.get(..count).unwrap_or_default());
                this.prefix.advance(count);
                this.activity.read();
                return Poll::Ready(Ok(()));
            }
            match this.ended {
                // The connection ends with the answer that this waits for.
                Some(false) => return Poll::Pending,
                Some(true) => return Poll::Ready(Ok(())),
                None => {}
            }
            let before = buf.filled().len();
            let result = Pin::new(&mut this.inner).poll_read(cx, buf);
            if buf.filled().len() == before {
                return result;
            }
            this.activity.read();
            this.admit(buf, before);
            if buf.filled().len() > before {
                return result;
            }
        }
    }
}

impl<T> Io<T> {
    /// Takes back from `buf` what may not be given, or not yet; what stands before `before` is none of ours.
    fn admit(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let Some(gate) = &mut self.gate else { return };
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if !self.held.is_empty() {
            self.held.extend_from_slice(fresh);
            buf.set_filled(before);
            return self.admit_held();
        }
        match gate.look(fresh) {
            Pass::All => {}
            Pass::Before(at) => {
                self.held.extend_from_slice(fresh.get(at..).unwrap_or_default());
                buf.set_filled(before + at);
            }
            Pass::Never(at, why) => {
                buf.set_filled(before + at);
                self.end(why);
            }
        }
    }

    /// Gives of what is held all that may be given.
    fn admit_held(&mut self) {
        let Some(gate) = &mut self.gate else { return };
        match gate.look(&self.held) {
            Pass::All => self.prefix = self.held.split().freeze(),
            Pass::Before(at) => self.prefix = self.held.split_to(at).freeze(),
            Pass::Never(at, why) => {
                self.prefix = self.held.split_to(at).freeze();
                self.end(why);
            }
        }
    }

    /// Looks at what was read to find out which protocol is spoken.
    fn admit_prefix(&mut self) {
        if self.gate.is_some() {
            self.held = std::mem::take(&mut self.prefix).into();
            self.admit_held();
        }
    }

    /// Gives nothing more; but in the place of a head that cannot be read, what says so.
    fn end(&mut self, why: Option<Unreadable>) {
        self.held = BytesMut::new();
        self.ended = Some(why.is_none());
        let Some(why) = why else { return };
        let (method, target) = (Unreadable::METHOD, if why == Unreadable::TooLarge { Unreadable::LARGE } else { "/" });
        let instead = format!("{method} {target} HTTP/1.1\r\nhost: -\r\n\r\n");
        self.prefix = [&self.prefix, instead.as_bytes()].concat().into();
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Io<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.activity.write(taken(&result));
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.activity.write(taken(&result));
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        match result {
            Poll::Ready(_) => self.activity.written(),
            Poll::Pending => self.activity.write(None),
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.activity.write(result.is_ready().then_some(0));
        result
    }
}

/// How many bytes a write gave away; an error gives away none, and ends the connection.
fn taken(result: &Poll<io::Result<usize>>) -> Option<usize> {
    match result {
        Poll::Ready(bytes) => Some(*bytes.as_ref().unwrap_or(&0)),
        Poll::Pending => None,
    }
}
