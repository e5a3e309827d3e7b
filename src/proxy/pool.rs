//! Connections to an upstream that speaks HTTP/1.1 on plain text, each driven by the exchange that uses it.
//!
//! A connection with a task of its own costs every exchange two wake-ups, often of another thread. Here the exchange itself
//! polls its connection, while it waits for the head and while it reads the body, and gives it back when the body has ended. Where
//! nobody wants the rest of an answer any more, a task reads it if it is short and comes soon. The other exception is a request whose body is still being sent: upstream may want the rest of it whoever waits for what, so
//! that its connection gets a task. Not here: time between two reads, places, HTTP/2. Start at [`Pool::send`].

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::http::{Request, Response, Uri};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};
use tower_service::Service;

use crate::http::body::{Hold, Outgoing};
use crate::telemetry::meters::UpstreamMetrics;

use super::bell::Bell;
use super::retry;

/// How often unused connections are looked at: what upstream has closed, or nobody has used for long, goes.
const SWEEP: Duration = Duration::from_secs(1);

/// What is read of an answer that nobody wants, and how long: about what a new connection costs.
const REST_BYTES: u64 = 64 << 10;
const REST_TIME: Duration = Duration::from_millis(250);

type Sender = http1::SendRequest<Outgoing>;
type Connection = http1::Connection<TokioIo<TcpStream>, Outgoing>;

/// See the module.
pub struct Pool {
    connector: HttpConnector,
    origin: Uri,
    http1: http1::Builder,
    keep_alive: Duration,
    /// Most at once.
    most: usize,
    open: Arc<AtomicUsize>,
    idle: Mutex<Idle>,
    budget: retry::Budget,
    metrics: Arc<UpstreamMetrics>,
}

/// The unused ones, by the runtime that waits for them, the last one used at the end; and whether they are being looked after.
#[derive(Default)]
struct Idle {
    shards: Vec<(Home, Vec<Kept>)>,
    swept: bool,
}

/// A connection, and since when nobody has used it.
type Kept = (Instant, Box<Line>);

/// A runtime. What it does not wait for itself costs another thread's wake-up.
type Home = Option<tokio::runtime::Id>;

fn here() -> Home {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no connection: nothing was sent.
    Unreachable,
    /// It ended before the head of an answer.
    Closed,
    /// It broke, or did not speak HTTP.
    Broken,
    /// It took too long.
    Slow,
}

/// What an answer takes up until the last of its body has been read, whoever reads it.
#[derive(Default)]
pub struct Places {
    /// Its place among the upstream's connections.
    pub connection: Option<OwnedSemaphorePermit>,
    /// Its places among the exchanges.
    pub exchange: Option<Hold>,
}

/// One connection.
struct Line {
    home: Home,
    _open: Open,
    sender: Sender,
    /// `None` once it has ended.
    connection: Option<Connection>,
    /// What the connection wakes, and the waker that it knows.
    bell: (Arc<Bell>, Waker),
    /// When the head of the last answer was there, if nothing had to be waited for since.
    used: Option<Instant>,
    /// For the head of an answer. Stays registered from one exchange to the next, and so rings too early now and then, which
    /// costs a look; one that is set anew for each exchange costs a lock twice.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Pool {
    /// Connects to nothing yet.
    pub fn new(
        connector: HttpConnector,
        origin: Uri,
        http1: http1::Builder,
        keep_alive: Duration,
        most: usize,
        metrics: Arc<UpstreamMetrics>,
    ) -> Arc<Self> {
        let (open, idle, budget) = Default::default();
        Arc::new(Self { connector, origin, http1, keep_alive, most, open, idle, budget, metrics })
    }

    /// Sends a request, in origin form and with its `Host`, and waits for the head of its answer, from `now` until `deadline`.
    /// `apart`: its body is still being made.
    ///
    /// A kept connection that ended before anything of the request was sent on it costs nothing but another try; one that ended
    /// behind the request does where the request may be repeated ([`retry`]).
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn send(
        self: &Arc<Self>,
        mut request: Request<Outgoing>,
        apart: bool,
        (now, deadline): (Instant, Option<Instant>),
        mut places: Places,
    ) -> Result<Response<Answer>, Failure> {
        let mut repeated = false;
        loop {
            let kept = if repeated { self.make_room() } else { self.take(now) };
            let fresh = kept.is_none();
            let copy = if fresh || apart { None } else { retry::copy(&request) };
            let line = match kept {
                Some(line) => line,
                None => Box::pin(self.connect(deadline)).await.map_err(|failure| match failure {
                    // What is to be repeated went out before, on a connection that ended.
                    Failure::Unreachable if repeated => Failure::Closed,
                    failure => failure,
                })?,
            };
            let asked = if apart {
                Box::pin(ask_apart(Arc::clone(self), line, (request, places), deadline)).await
            } else {
                ask(self, line, (request, places), deadline).await
            };
            let Failed { failure, unsent, places: back } = match asked {
                Ok(response) => {
                    self.budget.earn();
                    return Ok(response);
                }
                Err(failed) => failed,
            };
            request = match (unsent, copy) {
                (Some(unsent), _) if !fresh => unsent,
                (None, Some(copy)) if failure == Failure::Closed && self.budget.spend() => {
                    self.metrics.repeated.inc();
                    repeated = true;
                    copy
                }
                _ => return Err(failure),
            };
            places = back;
        }
    }

    /// The one of this runtime that was used last: the others may grow old. Another runtime's only where there must be no more.
    fn take(&self, now: Instant) -> Option<Box<Line>> {
        let home = here();
        loop {
            let full = self.open.load(Ordering::Relaxed) >= self.most;
            let (since, mut line) = self.idle().pop(home, full)?;
            if now.saturating_duration_since(since) < self.keep_alive && line.alive() {
                return Some(line);
            }
        }
    }

    /// Gives up an unused connection where there may be no more: what comes is to be a new one.
    fn make_room(&self) -> Option<Box<Line>> {
        if self.open.load(Ordering::Relaxed) >= self.most {
            drop(self.idle().pop(here(), true));
        }
        None
    }

    async fn connect(&self, deadline: Option<Instant>) -> Result<Box<Line>, Failure> {
        let connecting = self.connector.clone().call(self.origin.clone());
        let connected = match deadline {
            // Whatever ran out of time: nothing was sent.
            Some(deadline) => timeout_at(deadline, connecting).await.map_err(|_| Failure::Unreachable)?,
            None => connecting.await,
        };
        let stream = connected.map_err(|_| Failure::Unreachable)?;
        let (sender, connection) = self.http1.handshake(stream).await.map_err(|_| Failure::Unreachable)?;
        let open = Open::new(&self.open);
        let (home, connection, bell) = (here(), Some(connection), Bell::new());
        Ok(Box::new(Line { home, _open: open, sender, connection, bell, used: None, alarm: None }))
    }

    /// Takes a connection back, if it can be used again.
    fn give_back(self: &Arc<Self>, mut line: Box<Line>) {
        if line.connection.is_none() || !line.sender.is_ready() {
            return;
        }
        line.alarm.take_if(|alarm| alarm.is_elapsed());
        let mut idle = self.idle();
        idle.push(line);
        if !idle.swept
            && let Ok(runtime) = Handle::try_current()
        {
            idle.swept = true;
            runtime.spawn(sweep(Arc::downgrade(self), SWEEP.min(self.keep_alive)));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends unused connections when it is time, as long as there are any.
async fn sweep(pool: Weak<Pool>, every: Duration) {
    loop {
        sleep(every).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        for (_, lines) in &mut idle.shards {
            lines.retain_mut(|(since, line)| since.elapsed() < pool.keep_alive && line.alive());
        }
        if idle.is_empty() {
            *idle = Idle::default();
            return;
        }
    }
}

impl Idle {
    fn pop(&mut self, home: Home, any: bool) -> Option<Kept> {
        let own = self.shards.iter_mut().find(|(known, _)| *known == home).and_then(|(_, lines)| lines.pop());
        own.or_else(|| self.shards.iter_mut().filter(|_| any).find_map(|(_, lines)| lines.pop()))
    }

    fn push(&mut self, mut line: Box<Line>) {
        let home = line.home;
        let kept = (line.used.take().unwrap_or_else(Instant::now), line);
        match self.shards.iter_mut().find(|(known, _)| *known == home) {
            Some((_, lines)) => lines.push(kept),
            None => self.shards.push((home, vec![kept])),
        }
    }

    fn is_empty(&self) -> bool {
        self.shards.iter().all(|(_, lines)| lines.is_empty())
    }
}

/// Counts a connection as open until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    /// Goes on with whatever is to be read or written. Must not be asked again once it has ended.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(connection) = &mut self.connection else { return };
        let (bell, ring) = &self.bell;
        bell.set(cx.waker());
        if Pin::new(connection).poll(&mut Context::from_waker(ring)).is_ready() {
            self.connection = None;
        }
    }

    /// Looks whether upstream has ended it. Wakes nobody: whoever takes it looks again. With a task's budget that is used up
    /// nothing would be looked at, and a connection that upstream has closed would seem to live.
    fn alive(&mut self) -> bool {
        let look = pin!(unconstrained(poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })));
        let _ = look.poll(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }

    fn late(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // It may be set for an earlier exchange, and so ring too early, but must never ring too late.
        if alarm.deadline() > deadline {
            alarm.as_mut().reset(deadline);
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if alarm.deadline() >= deadline {
                return true;
            }
            alarm.as_mut().reset(deadline);
        }
        false
    }
}

/// A request, and what its answer will take up.
type Question = (Request<Outgoing>, Places);

type Asked = Result<Response<Answer>, Failed>;

/// Why there is no answer, the request if nothing of it was sent, and what the answer would have taken up.
struct Failed {
    failure: Failure,
    unsent: Option<Request<Outgoing>>,
    places: Places,
}

/// Sends a request on a connection, and drives it until the head of the answer is there.
async fn ask(pool: &Arc<Pool>, mut line: Box<Line>, (request, places): Question, deadline: Option<Instant>) -> Asked {
    let answering = Box::pin(line.sender.try_send_request(request));
    Asking { pool: Arc::clone(pool), line: Some((line, answering)), places, spare: true }.head(deadline).await
}

/// The head of an answer; or why there is none, and the request if nothing of it was sent.
type Headed = Result<Response<Incoming>, (Failure, Option<Request<Outgoing>>)>;

/// A request that is being answered. Dropped before its head it leaves the rest to [`read_out`].
struct Asking<F: Answering> {
    pool: Arc<Pool>,
    /// `None` once it is known what came of it.
    line: Option<(Box<Line>, Pin<Box<F>>)>,
    places: Places,
    /// Whether the rest may be left to others.
    spare: bool,
}

/// What hyper gives for a request.
trait Answering: Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>> + Send + 'static {}

impl<F: Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>> + Send + 'static> Answering for F {}

impl<F: Answering> Asking<F> {
    async fn head(mut self, deadline: Option<Instant>) -> Asked {
        let answered = poll_fn(|cx| self.poll_head(cx, deadline)).await;
        let line = self.line.take();
        let places = std::mem::take(&mut self.places);
        match (answered, line) {
            (Ok(response), Some((mut line, _))) => {
                let at = Instant::now();
                line.used = Some(at);
                let held = Held::Here(Arc::clone(&self.pool), line);
                Ok(response.map(|body| Answer::new(body, at, held, places)))
            }
            (Ok(_), None) => Err(Failed { failure: Failure::Broken, unsent: None, places }),
            (Err((failure, unsent)), _) => Err(Failed { failure, unsent, places }),
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<Headed> {
        let Some((line, answering)) = &mut self.line else { return Poll::Ready(Err((Failure::Broken, None))) };
        line.drive(cx);
        // Only the connection can answer, and nobody but us polls the connection: we look when it has moved, and need no waker.
        // With a budget that were used up the look would be put off, and nobody would wake us for it.
        let look = pin!(unconstrained(answering.as_mut()));
        match look.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answered) => {
                return Poll::Ready(answered.map_err(|mut error| (failure(error.error()), error.take_message())));
            }
            Poll::Pending if line.connection.is_none() => return Poll::Ready(Err((Failure::Closed, None))),
            Poll::Pending => {}
        }
        match deadline {
            Some(deadline) if line.late(deadline, cx) => Poll::Ready(Err((Failure::Slow, None))),
            _ => Poll::Pending,
        }
    }
}

fn failure(error: &hyper::Error) -> Failure {
    if error.is_parse() || error.is_parse_too_large() { Failure::Broken } else { Failure::Closed }
}

impl<F: Answering> Drop for Asking<F> {
    fn drop(&mut self) {
        let (Some(line), true) = (self.line.take(), self.spare) else { return };
        let places = std::mem::take(&mut self.places);
        let asking = Self { pool: Arc::clone(&self.pool), line: Some(line), places, spare: false };
        leave(async move {
            if let Ok(response) = asking.head(None).await {
                read_out(response.into_body()).await;
            }
        });
    }
}

/// Lets a task end what nobody waits for, if that does not take long.
fn leave(rest: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(timeout(REST_TIME, rest));
    }
}

/// Reads an answer that nobody wants to its end, if that is near: then its connection can be used again, which is cheaper for both
/// sides than a new one.
async fn read_out(mut answer: Answer) {
    answer.spare = false;
    let mut left = REST_BYTES;
    while let Some(Ok(frame)) = answer.frame().await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(less) = left.checked_sub(bytes) else { return };
        left = less;
    }
}

/// The same, with a task for the connection.
async fn ask_apart(pool: Arc<Pool>, line: Box<Line>, (request, places): Question, deadline: Option<Instant>) -> Asked {
    let Line { home, _open, mut sender, connection, bell, alarm, .. } = *line;
    let answering = sender.try_send_request(request);
    let (give, given) = oneshot::channel();
    tokio::spawn(async move {
        let Some(mut connection) = connection else { return };
        tokio::select! {
            biased;
            _ = &mut connection => {}
            given = given => if let Ok(sender) = given {
                let connection = Some(connection);
                pool.give_back(Box::new(Line { home, _open, sender, connection, bell, used: None, alarm }));
            }
        }
    });
    let answered = match deadline {
        Some(deadline) => match timeout_at(deadline, answering).await {
            Ok(answered) => answered,
            Err(_) => return Err(Failed { failure: Failure::Slow, unsent: None, places }),
        },
        None => answering.await,
    };
    match answered {
        Ok(response) => {
            let held = Held::Apart(give, sender);
            Ok(response.map(|body| Answer::new(body, Instant::now(), held, places)))
        }
        Err(mut error) => Err(Failed { failure: failure(error.error()), unsent: error.take_message(), places }),
    }
}

/// The body of an answer, with the connection that it comes from. Dropped before its end it takes the connection with it, unless
/// the rest is short and comes soon.
pub struct Answer {
    /// `None` once it has ended.
    body: Option<Incoming>,
    at: Instant,
    held: Held,
    places: Places,
    /// Whether the rest is worth reading where nobody wants it.
    spare: bool,
}

enum Held {
    Here(Arc<Pool>, Box<Line>),
    /// To the task that has the connection.
    Apart(oneshot::Sender<Sender>, Sender),
    /// Given back, or somebody else's affair.
    Nothing,
}

impl Held {
    fn give_back(self) {
        match self {
            Self::Here(pool, line) => pool.give_back(line),
            // The task may have ended with the connection.
            Self::Apart(give, sender) => drop(give.send(sender)),
            Self::Nothing => {}
        }
    }
}

impl Answer {
    /// Of a connection that someone else drives.
    pub fn foreign(body: Incoming, places: Places) -> Self {
        Self::new(body, Instant::now(), Held::Nothing, places)
    }

    fn new(body: Incoming, at: Instant, held: Held, places: Places) -> Self {
        let mut answer = Self { body: Some(body), at, held, places, spare: true };
        if answer.is_end_stream() {
            answer.end();
        }
        answer
    }

    /// When its head was there.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Says that it has no end of its own: dropped, it ends its connection at once.
    pub fn endless(&mut self) {
        self.spare = false;
    }

    /// The last of it has been read: its connection is free, and then its place.
    fn end(&mut self) {
        self.body = None;
        std::mem::replace(&mut self.held, Held::Nothing).give_back();
        self.places = Places::default();
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = match &mut this.held {
            // What is asked for here need wake nobody: if it is not there, the connection is looked at below.
            Held::Here(_, line) => match line.bell.0.muted(|| look(body)) {
                Poll::Pending => {
                    line.used = None;
                    line.drive(cx);
                    std::task::ready!(look(body))
                }
                Poll::Ready(frame) => frame,
            },
            Held::Apart(..) | Held::Nothing => std::task::ready!(Pin::new(body).poll_frame(cx)),
        };
        match &frame {
            None => this.end(),
            Some(Err(_)) => (this.held, this.spare) = (Held::Nothing, false),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// What the connection has left for us. As with the head: nobody else fills it, so that nobody need wake us.
fn look(body: &mut Incoming) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    let look = pin!(unconstrained(poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))));
    look.poll(&mut Context::from_waker(Waker::noop()))
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        if !self.spare || body.size_hint().lower() > REST_BYTES {
            drop(body);
            // What is here already costs nothing to read.
            if let Held::Here(pool, mut line) = held
                && line.alive()
            {
                pool.give_back(line);
            }
            return;
        }
        let places = std::mem::take(&mut self.places);
        let mut rest = Box::pin(read_out(Self { body: Some(body), at: self.at, held, places, spare: false }));
        // An error status is answered with a short text that nobody reads, and that is most often here with the head.
        let look = pin!(unconstrained(rest.as_mut()));
        if look.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            leave(rest);
        }
    }
}

#[cfg(test)]
mod tests;
