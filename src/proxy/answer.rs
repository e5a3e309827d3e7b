//! The caller, waiting for its answer.
//!
//! The one place where a response is put together from what was released. Start at [`Answer`].

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use tokio::sync::oneshot;

use crate::crossing::Released;
use crate::http::body::{Outgoing, Writer};
use crate::http::coding;
use crate::http::problem::EXCHANGE_HEADER;
use crate::ids::ExchangeId;
use crate::verdict::Outcome;

/// The caller, waiting.
#[derive(Debug)]
pub struct Answer {
    give: Option<oneshot::Sender<Response<Outgoing>>>,
    id: ExchangeId,
    /// What codings the caller takes, while the answer may be coded.
    pub coding: Option<HeaderValue>,
    /// What the caller speaks.
    pub version: Version,
}

impl Answer {
    /// Given once, through `give`.
    #[must_use]
    pub fn new(id: ExchangeId, version: Version, give: oneshot::Sender<Response<Outgoing>>) -> Self {
        Self { give: Some(give), id, coding: None, version }
    }

    /// Whether the caller has gone.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.give.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Gives this response.
    pub fn give(&mut self, response: Response<Outgoing>) -> Outcome {
        let given = self.give.take().is_some_and(|give| give.send(response).is_ok());
        if given { Outcome::Delivered } else { Outcome::Abandoned }
    }

    /// Gives a whole body.
    pub fn whole(&mut self, status: StatusCode, headers: HeaderMap, body: Released) -> Outcome {
        let response = self.response(status, headers, Outgoing::full(body.into_bytes()));
        // It was recorded as delivered before it was handed over, and from here on it is the connection's.
        let _ = self.give(response);
        Outcome::Delivered
    }

    /// Gives a body that is yet to be written.
    pub fn stream(&mut self, status: StatusCode, headers: HeaderMap) -> Writer {
        let (writer, body) = Outgoing::stream();
        let response = self.response(status, headers, body);
        let _ = self.give(response);
        writer
    }

    fn response(&self, status: StatusCode, mut headers: HeaderMap, body: Outgoing) -> Response<Outgoing> {
        let mut body = body;
        // HTTP/1.0 knows neither the codings' negotiation nor the framing of a coded stream.
        if self.version >= Version::HTTP_11
            && let Some(coding) = self.coding.as_ref().and_then(|accepted| coding::negotiate(Some(accepted)))
            && !http_body::Body::is_end_stream(&body)
        {
            body = body.coded(coding);
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
            headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        if let Ok(id) = HeaderValue::from_bytes(&self.id.to_ascii()) {
            headers.insert(EXCHANGE_HEADER, id);
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
