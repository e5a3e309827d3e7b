//! One exchange, top to bottom. Start at [`Proxy::handle`].
//!
//! ```text
//! admit ──> cross request ──> (record) ──> send ──> cross response ──> (record) ──> answer ──> finish
//!   └────────────┴───────────────┴───────────┴────────────┴───────────────┴──> refuse
//! ```
//!
//! Not here: what a policy means (`policy`, `json`), what a token is (`vault`), how connections are kept (`http`). A later step
//! takes what proves the earlier one: [`admission::Admitted`], `Released`, a receipt inside [`exchange::Exchange`].

pub mod admission;
pub mod alarm;
pub mod answer;
mod bell;
pub mod exchange;
pub mod headers;
pub mod limits;
pub mod passage;
pub mod pool;
pub mod pump;
pub mod refuse;
pub mod retry;
pub mod snapshot;
pub mod tag;
pub mod upstream;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, response};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, oneshot};

use crate::clock::{Clock, Time};
use crate::crossing::bind::BoundLeg;
use crate::crossing::head::HeadCrossing;
use crate::crossing::{Released, head::ReleasedHead};
use crate::http::body::{self, Outgoing, Writer};
use crate::http::fate::Fate;
use crate::http::listener::{Peer, Service, Unreadable};
use crate::http::pace::Pace;
use crate::ids::{Direction, ExchangeId, Leg, UpstreamId};
use crate::ledger::Ledger;
use crate::registry::set::PolicySet;
use crate::telemetry::Metrics;
use crate::telemetry::meters::RouteMetrics;
use crate::verdict::{Outcome, Refusal};
use admission::Admitted;
use answer::{Answered, Rest, Then};
use exchange::{Exchange, Facts, Ids};
use limits::{Capacity, Limits};
use passage::{Collected, Passage};
use pump::Pump;
use snapshot::Snapshot;
use tag::Tagger;
use upstream::Upstream;

/// What our requests to partners say we are.
const USER_AGENT: HeaderValue = HeaderValue::from_static("tidegate");

/// The codings in which a partner may answer us: a body that crosses the open net is worth packing. Our own upstreams are
/// near, and are asked for none: undoing a coding costs more than the bytes.
const PARTNER_CODINGS: HeaderValue = HeaderValue::from_static("gzip, br, zstd, deflate");
const NO_CODING: HeaderValue = HeaderValue::from_static("identity");

/// Everything that exchanges share.
pub struct Proxy {
    live: ArcSwap<Snapshot>,
    /// Held while a set of policies, or upstreams, are put in force.
    upstreams: Mutex<BTreeMap<UpstreamId, Arc<Upstream>>>,
    limits: Limits,
    bodies: body::Limits,
    places: Arc<Semaphore>,
    ledger: Ledger,
    metrics: Metrics,
    /// For exchanges of which no route is known, by direction.
    nobody: [Arc<RouteMetrics>; 2],
    tagger: Tagger,
    clock: Clock,
    ids: Ids,
    draining: AtomicBool,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

impl Proxy {
    /// Puts it together.
    #[must_use]
    pub fn new(
        set: Arc<PolicySet>,
        upstreams: BTreeMap<UpstreamId, Arc<Upstream>>,
        (bodies, capacity): (body::Limits, Capacity),
        tagger: Tagger,
        ledger: Ledger,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let limits = Limits::new(clock.clone(), capacity.share);
        let live = Snapshot::new(set, &limits, &metrics, |name| upstreams.get(name).cloned());
        Self {
            live: ArcSwap::from_pointee(live),
            upstreams: Mutex::new(upstreams),
            limits,
            bodies,
            places: Arc::new(Semaphore::new(capacity.exchanges.clamp(1, Semaphore::MAX_PERMITS))),
            ledger,
            nobody: [Direction::Inbound, Direction::Outbound].map(|direction| metrics.route(None, None, direction)),
            metrics,
            tagger,
            clock,
            ids: Ids::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Puts the current set of policies in force for exchanges that begin from now on. It is asked for under a lock: of two
    /// reloads at once the later one stays, whichever comes here first.
    pub fn adopt(&self, current: impl FnOnce() -> Arc<PolicySet>) -> Arc<PolicySet> {
        self.renew(BTreeMap::new(), current)
    }

    /// As [`Proxy::adopt`], with new upstreams in the place of those of the same name. The old ones, and their connections,
    /// end with the exchanges that began before.
    pub fn renew(
        &self,
        new: BTreeMap<UpstreamId, Arc<Upstream>>,
        current: impl FnOnce() -> Arc<PolicySet>,
    ) -> Arc<PolicySet> {
        let mut upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        upstreams.extend(new);
        let set = current();
        let live = Snapshot::new(Arc::clone(&set), &self.limits, &self.metrics, |name| upstreams.get(name).cloned());
        self.live.store(Arc::new(live));
        set
    }

    /// The upstreams in force.
    #[must_use]
    pub fn upstreams(&self) -> BTreeMap<UpstreamId, Arc<Upstream>> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on every new exchange is refused; open ones go on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// One exchange.
    ///
    /// A caller who hangs up cuts the task of its connection. Inbound that is no harm while the head of the answer has not been
    /// given: the record comes last before it, and what comes after it has a task of its own. Outbound the record comes before
    /// the partner's answer is waited for, so that there the whole exchange has a task of its own: what left is told in full.
    pub async fn handle(
        self: &Arc<Self>,
        peer: Arc<Peer>,
        direction: Direction,
        request: Request<Incoming>,
    ) -> Response<Outgoing> {
        let now = self.clock.now();
        let id = self.ids.next(now);
        if direction == Direction::Inbound {
            return self.run(id, now, &peer, direction, request).await.settle();
        }
        let (give, given) = oneshot::channel();
        let proxy = Arc::clone(self);
        tokio::spawn(async move {
            let mut answered = proxy.run(id, now, &peer, direction, request).await;
            if give.is_closed()
                && let Then::End(outcome @ Outcome::Delivered) = &mut answered.then
            {
                *outcome = Outcome::Abandoned;
            }
            let _ = give.send(answered.settle());
        });
        given.await.unwrap_or_else(|_| refuse::broken(id))
    }

    async fn run(
        &self,
        id: ExchangeId,
        now: Time,
        peer: &Peer,
        direction: Direction,
        request: Request<Incoming>,
    ) -> Answered {
        let mut exchange = self.open(id, now, direction);
        let answered = match self.exchange(&mut exchange, peer, request).await {
            Ok((response, then)) => Answered { exchange, response, then },
            Err(refusal) => {
                let mut response = refuse::problem(&refusal).into_response(id);
                if response.status() == StatusCode::UNAUTHORIZED {
                    let challenge = self.live.load().challenge.clone();
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                }
                exchange.status = response.status().as_u16();
                exchange.refusal = Some(refusal);
                let outcome = if exchange.part_sent { Outcome::Cut } else { Outcome::Refused };
                Answered { exchange, response, then: Then::End(outcome) }
            }
        };
        // However the answer came to be, it takes a place until the connection has got rid of it.
        answered.keep_place()
    }

    fn open(&self, id: ExchangeId, now: Time, direction: Direction) -> Box<Exchange> {
        let [inbound, outbound] = &self.nobody;
        let nobody = if direction == Direction::Inbound { inbound } else { outbound };
        let in_flight = self.metrics.begin();
        let (clock, ledger) = (self.clock.clone(), self.ledger.clone());
        Box::new(Exchange::open(id, now, direction, clock, ledger, Arc::clone(nobody), in_flight))
    }

    /// An exchange of which the request's head could not be read.
    #[must_use]
    pub fn unread(&self, direction: Direction, why: Unreadable) -> Response<Outgoing> {
        let now = self.clock.now();
        let mut exchange = self.open(self.ids.next(now), now, direction);
        let refusal = match why {
            Unreadable::Malformed => Refusal::RequestMalformed,
            Unreadable::TooLarge => Refusal::HeadTooLarge,
        };
        let response = refuse::problem(&refusal).into_response(exchange.id);
        exchange.status = response.status().as_u16();
        exchange.refusal = Some(refusal);
        exchange.finish(Outcome::Refused);
        response
    }

    /// The way of one exchange, up to the head of its answer.
    async fn exchange(
        &self,
        exchange: &mut Exchange,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> Result<(Response<Outgoing>, Then), Refusal> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refusal::Draining);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::Overloaded)?;
        let (head, body) = request.into_parts();
        let snapshot = self.live.load_full();
        let admitted = admission::admit(&snapshot, peer, &head, place, exchange)?;
        let Sent { response, pump } = self.forward(exchange, &snapshot, &admitted, &head, body).await?;
        let reply = self.respond(exchange, &admitted, &head, response).await;
        match (reply, pump) {
            (Ok(Reply::Part { mut response, passage, first, writer }), pump) => {
                let pace = passage.taking(self.bodies.pace);
                let fate = Arc::<Fate>::default();
                response = response.map(|body| body.watched(Arc::clone(&fate)));
                let rest = Rest { passage, first, writer, pace, fate, pump };
                Ok((response, Then::Rest(Box::new(rest))))
            }
            (Ok(Reply::Whole(response)), None) => Ok((response, Then::End(Outcome::Delivered))),
            (Ok(Reply::Whole(response)), Some(pump)) => {
                answer::end(pump, exchange, Ok((response, Then::End(Outcome::Delivered)))).await
            }
            (Err(refusal), Some(pump)) => answer::end(pump, exchange, Err(refusal)).await,
            (Err(refusal), None) => Err(refusal),
        }
    }

    /// The request's half: crosses, records where it discloses, sends.
    async fn forward(
        &self,
        exchange: &mut Exchange,
        snapshot: &Snapshot,
        admitted: &Admitted,
        head: &Parts,
        body: Incoming,
    ) -> Result<Sent, Refusal> {
        let (route, upstream) = (&admitted.route.route, &admitted.route.upstream);
        let leg = &route.request;
        let discloses = Leg::Request.discloses(exchange.direction);
        let mut passage = self.passage(body, &head.headers, leg, admitted, self.bodies.pace.idle, exchange.now)?;
        let mut crossing = HeadCrossing::new(leg, exchange.now);
        crossing.charging(admitted.partner.limiter.budget());
        let cross = |crossing: &mut HeadCrossing<'_>| request_head(crossing, exchange, snapshot, admitted, head);
        let mut crossed = cross(&mut crossing);
        if crossed.is_ok() && crossing.waits() {
            crossed = Box::pin(crossing.resolve()).await.and_then(|()| cross(&mut crossing));
        }
        let released = finish_head(crossing, crossed, &mut exchange.request)?;
        exchange.request.beside(&released);
        let collected = passage.collect().await.inspect_err(|_| passage.tell(&mut exchange.request))?;
        let (target, mut headers) = released.into_parts();
        if let Some(media) = passage.media() {
            headers.insert(header::CONTENT_TYPE, media);
        }
        if discloses {
            headers.insert(header::USER_AGENT, USER_AGENT);
            headers.insert(header::ACCEPT_ENCODING, PARTNER_CODINGS);
            // The record is kept open until it is known whether anything left: an upstream may be down.
            exchange.record_open().await?;
        } else {
            headers.insert(header::ACCEPT_ENCODING, NO_CODING);
        }
        let method = head.method.clone();
        let sent = match collected {
            Collected::Whole(released) => {
                passage.tell(&mut exchange.request);
                let body = Outgoing::full(released.into_bytes());
                let answered = upstream
                    .send(method, &target, headers, body, (Some(upstream.response()), exchange.hold.clone()))
                    .await;
                answered.map(|response| Sent { response, pump: None })
            }
            Collected::Part(first) => {
                // In a box, because it is rare and large, and would make every exchange as large.
                let pace = Pace { idle: upstream.idle(), ..self.bodies.pace };
                Box::pin(send_part(exchange, upstream, (method, &target, headers), passage, first, pace)).await
            }
        };
        match &sent {
            // Closed when the rest has been handed on.
            Ok(Sent { pump: Some(_), .. }) => {}
            // Nothing was sent where there was no connection. Where there was one, it may have been.
            Err(refusal) if upstream::unsent(refusal) => exchange.close(Outcome::Refused),
            Err(_) if exchange.part_sent => exchange.close(Outcome::Cut),
            Ok(_) | Err(_) => exchange.close(Outcome::Delivered),
        }
        sent
    }

    /// The response's half: crosses, records where it discloses.
    async fn respond(
        &self,
        exchange: &mut Exchange,
        admitted: &Admitted,
        asked: &Parts,
        response: Response<pool::Answer>,
    ) -> Result<Reply, Refusal> {
        let (head, mut body) = response.into_parts();
        let route = &admitted.route.route;
        let discloses = Leg::Response.discloses(exchange.direction);
        let status = head.status;
        // We asked for no part, no change of protocol and under no condition: such an answer is to another question.
        if status.is_informational() || [StatusCode::NOT_MODIFIED, StatusCode::PARTIAL_CONTENT].contains(&status) {
            return Err(Refusal::UpstreamMalformed);
        }
        if !headers::framed(&head.headers) {
            return Err(Refusal::UpstreamMalformed);
        }
        if !headers::singletons(&head.headers) {
            let types = head.headers.get_all(header::CONTENT_TYPE).iter().nth(1).is_some();
            let leg = Leg::Response;
            return Err(if types { Refusal::BodyTypeWrong { leg } } else { Refusal::UpstreamMalformed });
        }
        let failed = status.is_client_error() || status.is_server_error();
        let leg = match (&route.error, failed) {
            (Some(leg), true) => {
                exchange.response.error = true;
                leg
            }
            (None, true) => return answer_error(exchange, discloses, &head).await,
            (_, false) => &route.response,
        };
        let bodyless =
            asked.method == Method::HEAD || [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT].contains(&status);
        if leg.compiled.leg.body.is_stream() {
            body.endless();
        }
        let mut passage = if bodyless {
            Passage::empty(leg, exchange.now)
        } else {
            self.passage(body, &head.headers, leg, admitted, admitted.route.upstream.idle(), exchange.now)?
        };
        let mut crossing = HeadCrossing::new(leg, exchange.now);
        crossing.charging(admitted.partner.limiter.budget());
        let cross = |crossing: &mut HeadCrossing<'_>| crossing.headers(&head.headers, &[], headers::default_response);
        let mut crossed = cross(&mut crossing);
        if crossed.is_ok() && crossing.waits() {
            crossed = Box::pin(crossing.resolve()).await.and_then(|()| cross(&mut crossing));
        }
        let released = if asked.method == Method::HEAD && crossed.is_ok() {
            let paid = crossing.pay();
            exchange.response.budgets.extend_from_slice(crossing.alarms());
            paid.map(|()| crossing.finish_unread())?
        } else {
            finish_head(crossing, crossed, &mut exchange.response)?
        };
        exchange.response.beside(&released);
        let collected = if asked.method == Method::HEAD {
            // There is no body in which a rule could miss anything.
            Collected::Whole(Released::none())
        } else {
            passage.collect().await.inspect_err(|_| passage.tell(&mut exchange.response))?
        };
        let (_, mut headers) = released.into_parts();
        if let Some(media) = passage.media() {
            headers.insert(header::CONTENT_TYPE, media);
        } else if asked.method == Method::HEAD
            && let Ok(media) = headers::media_type(&head.headers, &leg.compiled.leg.body, Leg::Response)
        {
            headers.insert(header::CONTENT_TYPE, media);
        }
        // HTTP/1.0 knows neither the codings' negotiation nor the framing of a coded stream.
        let coded = passage.coded() && asked.version >= Version::HTTP_11;
        let coding = asked.headers.get(header::ACCEPT_ENCODING).filter(|_| coded);
        match collected {
            Collected::Whole(body) => {
                let mut status = status;
                let mut body = body;
                if asked.method == Method::GET && status == StatusCode::OK && discloses {
                    let tag = self.tagger.tag(&admitted.partner.partner, &body);
                    if tag::known(&asked.headers, &tag) {
                        status = StatusCode::NOT_MODIFIED;
                        body = Released::none();
                        headers.remove(header::CONTENT_TYPE);
                    }
                    headers.insert(header::ETAG, tag);
                }
                passage.tell(&mut exchange.response);
                if status == StatusCode::NOT_MODIFIED {
                    exchange.response.bytes_out = 0;
                }
                if discloses {
                    exchange.record_whole(status.as_u16()).await?;
                }
                exchange.status = status.as_u16();
                let body = Outgoing::full(body.into_bytes());
                Ok(Reply::Whole(answer::response(exchange.id, status, headers, body, coding)))
            }
            Collected::Part(first) => {
                // A receiver that knows no framing but the end of the connection would take a part for the whole.
                if asked.version < Version::HTTP_11 {
                    passage.tell(&mut exchange.response);
                    return Err(Refusal::BodyTooLarge { leg: Leg::Response });
                }
                if discloses {
                    exchange.record_open().await?;
                }
                exchange.status = status.as_u16();
                exchange.answered = true;
                let (writer, body) = Outgoing::stream();
                let body = if passage.is_endless() { body.endless() } else { body };
                let response = answer::response(exchange.id, status, headers, body, coding);
                Ok(Reply::Part { response, passage: Box::new(passage), first, writer })
            }
        }
    }

    fn passage<B>(
        &self,
        body: B,
        headers: &HeaderMap,
        leg: &Arc<BoundLeg>,
        admitted: &Admitted,
        idle: std::time::Duration,
        now: Time,
    ) -> Result<Passage, Refusal>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
    {
        let limits = &admitted.partner.partner.limits;
        let body_bytes = limits.body_bytes.unwrap_or(self.bodies.body_bytes);
        let bodies = body::Limits { body_bytes, pace: Pace { idle, ..self.bodies.pace }, ..self.bodies };
        let mut passage = Passage::open(body, headers, leg, bodies, limits.atomic_bytes, now)?;
        passage.charging(admitted.partner.limiter.budget());
        Ok(passage)
    }
}

/// Sends a request of which only a part has passed, and goes on to hand on the rest.
async fn send_part(
    exchange: &mut Exchange,
    upstream: &Upstream,
    (method, target, headers): (Method, &str, HeaderMap),
    passage: Passage,
    first: Released,
    pace: Pace,
) -> Result<Sent, Refusal> {
    let (writer, body) = Outgoing::stream();
    // Until more is known: an exchange that is cut here may have sent something.
    exchange.part_sent = true;
    let mut pump = Pump::start(passage, first, writer, pace);
    let answered =
        pump.send(upstream, upstream.send(method, target, headers, body, (None, exchange.hold.clone()))).await;
    if let Err(refusal) = &answered {
        // What was handed on is told even so.
        let whole = pump.stop(&mut exchange.request).await;
        exchange.part_sent = !whole && !upstream::unsent(refusal);
    }
    answered.map(|response| Sent { response, pump: Some(Box::new(pump)) })
}

/// An error status and nothing else of what upstream said.
async fn answer_error(exchange: &mut Exchange, discloses: bool, head: &response::Parts) -> Result<Reply, Refusal> {
    if discloses {
        exchange.record_whole(head.status.as_u16()).await?;
    }
    let retry = head.headers.get(header::RETRY_AFTER).and_then(headers::retry_seconds);
    let allow = head.headers.get(header::ALLOW);
    let allow = allow.filter(|value| headers::default_response(&header::ALLOW, value).is_some());
    let allow = allow.and_then(|value| value.to_str().ok()).map(str::to_owned);
    exchange.status = head.status.as_u16();
    Ok(Reply::Whole(refuse::error_status(head.status, retry, allow).into_response(exchange.id)))
}

/// What stands beside the request's body.
fn request_head(
    crossing: &mut HeadCrossing<'_>,
    exchange: &Exchange,
    snapshot: &Snapshot,
    admitted: &Admitted,
    head: &Parts,
) -> Result<(), Refusal> {
    let outbound = exchange.direction == Direction::Outbound;
    let exclude = if outbound { &[][..] } else { &snapshot.credentials };
    crossing.path(&admitted.route.route.path, &admitted.captures, outbound)?;
    crossing.query(&admitted.query)?;
    crossing.headers(&head.headers, exclude, |name, value| headers::default_request(name, value, outbound))
}

/// Ends a head's crossing. A refusal leaves no released head to tell of the tokens that came up in it.
fn finish_head(
    mut crossing: HeadCrossing<'_>,
    crossed: Result<(), Refusal>,
    facts: &mut Facts,
) -> Result<ReleasedHead, Refusal> {
    let crossed = crossed.and_then(|()| crossing.pay());
    facts.budgets.extend_from_slice(crossing.alarms());
    facts.strays.add(crossing.strays());
    let (foreign, gone) = (crossing.foreign(), crossing.gone());
    crossed.and_then(|()| crossing.finish()).inspect_err(|_| {
        facts.foreign += foreign;
        facts.gone += gone;
    })
}

/// A request that was sent, its answer, and what may still be on its way.
struct Sent {
    response: Response<pool::Answer>,
    pump: Option<Box<Pump>>,
}

/// What the caller gets.
enum Reply {
    /// All of it.
    Whole(Response<Outgoing>),
    /// The head, and what has passed of a body that is to be written.
    Part { response: Response<Outgoing>, passage: Box<Passage>, first: Released, writer: Writer },
}

/// The proxy as a listener's service: whom the listener faces decides who calls.
#[derive(Debug)]
pub struct Door {
    proxy: Arc<Proxy>,
    direction: Direction,
}

impl Door {
    /// `Inbound` for a listener that faces partners, `Outbound` for one that faces inside.
    #[must_use]
    pub fn new(proxy: Arc<Proxy>, direction: Direction) -> Self {
        Self { proxy, direction }
    }
}

impl Service for Door {
    async fn call(&self, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Outgoing> {
        self.proxy.handle(peer, self.direction, request).await
    }

    async fn refuse(&self, why: Unreadable) -> Response<Outgoing> {
        self.proxy.unread(self.direction, why)
    }
}
