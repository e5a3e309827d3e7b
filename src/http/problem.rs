//! Problem documents (RFC 9457).
//!
//! Only the shape; which refusal becomes which problem is `proxy`'s. Start at [`Problem`].

use ::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use serde::Serialize;

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

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    exchange: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
}

impl Problem {
    /// As a response: `application/problem+json`, `cache-control: no-store`, the exchange id in header and document.
    pub fn into_response(self, exchange: ExchangeId) -> Response<Outgoing> {
        let id = exchange.to_ascii();
        let document = Document {
            r#type: format!("urn:tidegate:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            exchange: std::str::from_utf8(&id).unwrap_or_default(),
            location: self.location.as_deref(),
        };
        // Text and one number: there is nothing here that could fail to be written.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Outgoing::full(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_bytes(&id) {
            headers.insert(EXCHANGE_HEADER, id);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        // A list of methods of the policy; one that is no header value cannot be told to anyone.
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn text(response: Response<Outgoing>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_problem_is_json_that_names_code_title_status_and_exchange() {
        let problem = Problem {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "method_not_allowed",
            title: "no such method here",
            location: Some("$.\"a\"\n".into()),
            retry_after: Some(7),
            allow: Some("GET, POST".into()),
        };
        let response = problem.into_response(ExchangeId::new(0, 0));
        assert_eq!(response.status(), 405);
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/problem+json");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("retry-after"), "7");
        assert_eq!(header("allow"), "GET, POST");
        assert_eq!(header(EXCHANGE_HEADER), "00000000000000000000000000");
        assert_eq!(
            text(response).await,
            r#"{"type":"urn:tidegate:problem:method_not_allowed","title":"no such method here","status":405,"exchange":"00000000000000000000000000","location":"$.\"a\"\n"}"#
        );
    }

    #[tokio::test]
    async fn what_is_not_known_is_left_out() {
        let problem = Problem {
            status: StatusCode::NOT_FOUND,
            code: "x",
            title: "t",
            location: None,
            retry_after: None,
            allow: None,
        };
        let response = problem.into_response(ExchangeId::new(0, 0));
        assert!(!response.headers().contains_key("retry-after") && !response.headers().contains_key("allow"));
        assert!(!text(response).await.contains("location"));
    }
}
