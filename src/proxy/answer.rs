//! The answer, put together from what was released, and what is left to do when its head is given.
//!
//! The one place where a response is made of a released head and body. Start at [`Answered`].

use std::sync::{Arc, Mutex, PoisonError};

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::crossing::Released;
use crate::http::body::{Hold, Keep, Outgoing, Writer};
use crate::http::coding;
use crate::http::fate::{Fate, Lost};
use crate::http::pace::Pace;
use crate::http::problem::EXCHANGE_HEADER;
use crate::ids::{ExchangeId, Leg};
use crate::verdict::{Outcome, Refusal};

use super::exchange::Exchange;
use super::passage::Passage;
use super::pump::{Pump, stream};

/// An exchange of which the answer can be given.
pub struct Answered {
    /// What is known of it.
    pub exchange: Box<Exchange>,
    /// What the caller gets.
    pub response: Response<Outgoing>,
    /// What is still to come.
    pub then: Then,
}

/// What is still to come when the answer's head is given.
pub enum Then {
    /// Nothing: the answer is whole.
    End(Outcome),
    /// The rest of its body.
    Rest(Box<Rest>),
}

impl Answered {
    /// Lets the answer keep the exchange's places for as long as any of its bytes are ours to keep.
    pub fn keep_place(mut self) -> Self {
        if let Some(hold) = self.exchange.hold.take() {
            self.response = self.response.map(|body| body.holding(hold));
        }
        self
    }

    /// Tells of the end, at once or when the rest of the body has been handed on by a task of its own, and gives the answer.
    pub fn settle(self) -> Response<Outgoing> {
        let Self { exchange, response, then } = self;
        match then {
            Then::End(Outcome::Delivered) if !http_body::Body::is_end_stream(response.body()) => {
                return response.map(|body| hand_over(exchange, body));
            }
            Then::End(outcome) => exchange.finish(outcome),
            Then::Rest(rest) => drop(tokio::spawn(rest.hand_on(exchange))),
        }
        response
    }
}

/// Tells of the end, and stays with the answer: a connection takes it at once, and may lose it long after.
fn hand_over(mut exchange: Box<Exchange>, body: Outgoing) -> Outgoing {
    exchange.hand_over();
    let handed = Handed { exchange: Mutex::new(exchange), fate: Fate::default(), _hold: body.hold().cloned() };
    body.holding(Arc::new(handed))
}

/// A whole answer that a connection has.
#[derive(Debug)]
struct Handed {
    exchange: Mutex<Box<Exchange>>,
    fate: Fate,
    _hold: Option<Hold>,
}

impl Keep for Handed {
    fn fate(&self) -> Option<&Fate> {
        Some(&self.fate)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(lost) = self.fate.lost() {
            self.exchange.get_mut().unwrap_or_else(PoisonError::into_inner).lost(lost);
        }
    }
}

/// The rest of an answer's body, with all that has to last as long.
pub struct Rest {
    /// Where it comes from.
    pub passage: Box<Passage>,
    /// What has come of it.
    pub first: Released,
    /// Where it goes.
    pub writer: Writer,
    /// How long the receiver may keep us waiting.
    pub pace: Pace,
    /// What becomes of it at the connection.
    pub fate: Arc<Fate>,
    /// What may still be on its way to upstream.
    pub pump: Option<Box<Pump>>,
}

impl Rest {
    async fn hand_on(self: Box<Self>, mut exchange: Box<Exchange>) {
        let Self { mut passage, first, writer, pace, fate, pump } = *self;
        let streamed = stream(&mut passage, first, writer, pace, &Refusal::AnswerSlow, |_| {}).await;
        // The connection may see first that it is taken too slowly: both have the same time.
        let streamed = match streamed {
            Ok(Outcome::Abandoned) if fate.lost() == Some(Lost::Slow) => Err(Refusal::AnswerSlow),
            streamed => streamed,
        };
        passage.tell(&mut exchange.response);
        // With it goes what upstream's answer takes up.
        drop(passage);
        let streamed = match pump {
            Some(pump) => end(pump, &mut exchange, streamed).await,
            None => streamed,
        };
        let outcome = streamed.unwrap_or_else(|refusal| {
            exchange.refusal = Some(refusal);
            Outcome::Cut
        });
        exchange.finish(outcome);
    }
}

/// Ends the request that was still on its way when it was answered: whoever has answered in full wants no more of it.
///
/// # Errors
/// What came of the answer, if that was an error: told as what was wrong with the request, if something was.
pub async fn end<T>(mut pump: Box<Pump>, exchange: &mut Exchange, result: Result<T, Refusal>) -> Result<T, Refusal> {
    let whole = pump.stop(&mut exchange.request).await;
    exchange.part_sent = !whole;
    if Leg::Request.discloses(exchange.direction) {
        exchange.close(if whole { Outcome::Delivered } else { Outcome::Cut });
    }
    let Some(fault) = pump.fault() else { return result };
    // Whatever came of an answer to half a request: its cause is what was wrong with that request.
    let outcome = result.map_err(|_| fault.clone())?;
    exchange.refusal = Some(fault.clone());
    Ok(outcome)
}

/// A response of what was released. `coding`: what codings the caller takes, if its body may be coded.
#[must_use]
pub fn response(
    exchange: ExchangeId,
    status: StatusCode,
    mut headers: HeaderMap,
    mut body: Outgoing,
    coding: Option<&HeaderValue>,
) -> Response<Outgoing> {
    if let Some(coding) = coding.and_then(|accepted| coding::negotiate(Some(accepted)))
        && !http_body::Body::is_end_stream(&body)
    {
        body = body.coded(coding);
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Ok(id) = HeaderValue::from_bytes(&exchange.to_ascii()) {
        headers.insert(EXCHANGE_HEADER, id);
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
