//! Problem documents (RFC 9457).

use ::http::{Response, StatusCode};

use crate::ids::ExchangeId;

use super::body::Outgoing;

/// The header that carries the exchange id in every answer.
pub const EXCHANGE_HEADER: &str = "tidegate-exchange";

/// What a partner is told: nothing from inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code; the `type` is `urn:tidegate:problem:<code>`.
    pub code: &'static str,
    /// Short words for a person.
    pub title: &'static str,
    /// A location (names of the policy only), where there is one.
    pub location: Option<String>,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u64>,
    /// For `Allow`.
    pub allow: Option<String>,
}

impl Problem {
    /// As a response: `application/problem+json`, `cache-control: no-store`, the exchange id in header and document.
    pub fn into_response(self, exchange: ExchangeId) -> Response<Outgoing> {
        let _ = exchange;
        todo!()
    }
}
