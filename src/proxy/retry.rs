//! When a request is sent a second time: it may be, and nothing of an answer was seen.
//!
//! An upstream may close an unused connection at the very moment at which a request goes out on it. Such a request may have been seen
//! and acted on, so that only one that may be repeated is (RFC 9110, section 9.2.2; RFC 9112, section 9.3.1), once, over a new
//! connection, and within a budget: an upstream that breaks off everything is not asked twice as much. Start at [`Budget`].

use std::sync::atomic::{AtomicU32, Ordering};

use ::http::{Method, Request};
use http_body::Body;

use crate::http::body::Outgoing;

/// What may be saved for repeated requests, and what one costs.
const MOST: u32 = 100;
const COST: u32 = 10;

/// One repeated request for each ten that are answered; ten at once.
#[derive(Debug)]
pub struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(MOST))
    }
}

impl Budget {
    /// A request was answered.
    pub fn earn(&self) {
        // Nearly always it is full, and then nothing is written that other threads read.
        if self.0.load(Ordering::Relaxed) < MOST {
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| (left < MOST).then_some(left + 1));
        }
    }

    /// Whether one may be repeated.
    pub fn spend(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(COST)).is_ok()
    }
}

/// The request once more, if it may be repeated. One with a body is not: the body has gone.
pub fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let methods = [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS];
    if !methods.contains(request.method()) || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Outgoing::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_done_twice_and_has_no_body_is_repeated() {
        let request =
            |method: &str, body| Request::builder().method(method).uri("/a").header("x", "y").body(body).unwrap();
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let copied = copy(&request(method, Outgoing::empty())).unwrap();
            assert_eq!(
                (copied.method().as_str(), copied.uri().path(), &copied.headers()["x"]),
                (method, "/a", &"y".parse().unwrap())
            );
        }
        for method in ["POST", "PATCH", "PURGE"] {
            assert!(copy(&request(method, Outgoing::empty())).is_none());
        }
        assert!(copy(&request("PUT", Outgoing::full("x".into()))).is_none());
    }

    #[test]
    fn a_budget_is_spent_and_earned_again() {
        let budget = Budget::default();
        assert_eq!((0..20).filter(|_| budget.spend()).count(), 10);
        (0..9).for_each(|_| budget.earn());
        assert!(!budget.spend());
        budget.earn();
        assert!(budget.spend() && !budget.spend());
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..20).filter(|_| budget.spend()).count(), 10);
    }
}
