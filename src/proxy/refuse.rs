//! The one place where a refusal becomes an answer.
//!
//! What the caller is told is less than what we know. Its own mistakes are named, with their place, because it can mend them.
//! What is wrong with the other side (down, slow, unreadable) is named by its code alone: the status says as much. What is
//! wrong with us (vault, record, load, going down) is `temporarily_unavailable` and nothing else; the log and the metrics
//! have the real code, under the same exchange id. Start at [`problem`].

use std::time::Duration;

use ::http::{Response, StatusCode};

use crate::http::body::Outgoing;
use crate::http::problem::Problem;
use crate::ids::{ExchangeId, Leg};
use crate::verdict::Refusal;

/// When to come back after a fault of ours, in seconds.
const RETRY_SECONDS: u64 = 2;

/// The answer to a refusal.
#[must_use]
pub fn problem(refusal: &Refusal) -> Problem {
    use Refusal as R;
    let (status, code, title) = match refusal {
        R::CredentialMissing => (401, "credential_missing", "no credential was presented"),
        R::CredentialWrong => (401, "credential_wrong", "a credential was not accepted"),
        R::CredentialIncomplete => (401, "credential_incomplete", "another credential is needed as well"),
        R::CredentialsDisagree => (403, "credentials_disagree", "the credentials do not name one and the same partner"),
        R::AgreementExpired => (403, "agreement_expired", "the agreement has ended"),
        R::AgreementSuspended => (403, "agreement_suspended", "the agreement is suspended"),
        R::RequestMalformed => (400, "request_malformed", "the request cannot be read in exactly one way"),
        R::HeadTooLarge => (431, "head_too_large", "the head of the request is too large"),
        R::PathNotNormal => (400, "path_not_normal", "the path is not in its normal form"),
        R::QueryMalformed => (400, "query_malformed", "the query cannot be read in exactly one way"),
        R::RouteUnknown => (404, "route_unknown", "there is nothing here"),
        R::MethodNotAllowed { .. } => (405, "method_not_allowed", "not with this method"),
        R::RateExceeded { .. } => (429, "rate_exceeded", "too many requests"),
        R::ConcurrencyExceeded => (429, "concurrency_exceeded", "too many requests at the same time"),
        R::BudgetExceeded { .. } => (429, "budget_exceeded", "more than is agreed for an hour"),
        R::BodySlow { leg: Leg::Response } => (504, refusal.code(), "the service did not answer in time"),
        R::BodyMalformed { leg: Leg::Response, .. }
        | R::BodyIncomplete { leg: Leg::Response }
        | R::BodyTypeWrong { leg: Leg::Response }
        | R::BodyCodingWrong { leg: Leg::Response }
        | R::BodyTooLarge { leg: Leg::Response }
        | R::TokenNotAccepted { leg: Leg::Response, .. }
        | R::MaskedValueReturned { leg: Leg::Response, .. }
        | R::RuleUnmatched { leg: Leg::Response, .. }
        | R::RuleFailed { leg: Leg::Response, .. } => {
            (502, refusal.code(), "the service answered with something that cannot be passed on")
        }
        R::BodyMalformed { leg: Leg::Request, fault, .. } => return malformed(fault, refusal),
        R::BodyIncomplete { leg: Leg::Request } => (400, "body_incomplete", "the body ended too early"),
        R::BodyTypeWrong { leg: Leg::Request } => {
            (415, "body_type_wrong", "the body is not of the type that is taken here")
        }
        R::BodyCodingWrong { leg: Leg::Request } => {
            (415, "body_coding_wrong", "the body is in a coding that cannot be undone")
        }
        R::BodyTooLarge { leg: Leg::Request } => (413, "body_too_large", "the body is too large"),
        R::BodySlow { leg: Leg::Request } => (408, "body_slow", "the body did not come in time"),
        R::TokenNotAccepted { leg: Leg::Request, .. } => (422, "token_not_accepted", "a token was not accepted"),
        R::MaskedValueReturned { leg: Leg::Request, .. } => {
            (422, "masked_value_returned", "a masked value cannot be written back")
        }
        R::RuleUnmatched { leg: Leg::Request, .. } => {
            (422, "rule_unmatched", "a field that has to be there is missing")
        }
        R::RuleFailed { leg: Leg::Request, .. } => (422, "rule_failed", "a value cannot be taken"),
        R::UpstreamUnreachable => (502, "upstream_unreachable", "the service cannot be reached"),
        R::UpstreamMalformed => (502, "upstream_malformed", "the service did not answer in HTTP"),
        R::UpstreamSlow => (504, "upstream_slow", "the service did not answer in time"),
        // Told to nobody: the head of that answer has gone.
        R::AnswerSlow => (408, "answer_slow", "the answer was not taken in time"),
        R::VaultUnavailable | R::LedgerUnavailable | R::Overloaded | R::Draining => {
            (503, "temporarily_unavailable", "try again later")
        }
    };
    let mut problem = plain(StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), code, title);
    match refusal {
        R::RateExceeded { retry_after } | R::BudgetExceeded { retry_after } => {
            problem.retry_after = Some(whole_seconds(*retry_after))
        }
        R::ConcurrencyExceeded => problem.retry_after = Some(1),
        R::MethodNotAllowed { allow } => problem.allow = Some(allow.clone()),
        _ if problem.status == StatusCode::SERVICE_UNAVAILABLE => problem.retry_after = Some(RETRY_SECONDS),
        _ => {}
    }
    problem
}

/// The answer to a status of the upstream's that tells of an error: the status, and nothing else of what it said.
#[must_use]
pub fn error_status(status: StatusCode, retry_after: Option<u64>, allow: Option<String>) -> Problem {
    let mut problem = plain(status, "error_status", "the service answered with an error status");
    (problem.retry_after, problem.allow) = (retry_after, allow);
    problem
}

/// The answer where the exchange's own task came to an end without one, which it never should.
#[must_use]
pub fn broken(exchange: ExchangeId) -> Response<Outgoing> {
    problem(&Refusal::Overloaded).into_response(exchange)
}

fn plain(status: StatusCode, code: &'static str, title: &'static str) -> Problem {
    Problem { status, code, title, location: None, retry_after: None, allow: None }
}

/// A body of the caller's that is not what it has to be, with the place.
fn malformed(fault: &'static str, refusal: &Refusal) -> Problem {
    let (status, title) = match fault {
        "json_value_too_long"
        | "json_element_too_long"
        | "event_too_long"
        | "form_name_too_long"
        | "form_value_too_long"
        | "part_value_too_long"
        | "part_head_too_long" => (StatusCode::PAYLOAD_TOO_LARGE, "a value is too long"),
        "json_leaves" | "json_growth" => (StatusCode::PAYLOAD_TOO_LARGE, "the body asks for too much"),
        "json_unlisted" | "event_unlisted" | "form_unlisted" | "part_unlisted" | "part_file" => {
            (StatusCode::UNPROCESSABLE_ENTITY, "a value cannot be taken")
        }
        "part_type" => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "a part is not of the type that is taken here"),
        _ => (StatusCode::BAD_REQUEST, "the body is malformed"),
    };
    let mut problem = plain(status, fault, title);
    if let Refusal::BodyMalformed { location, .. } = refusal {
        problem.location = Some(location.clone());
    }
    problem
}

/// Rounded up, at least one: `Retry-After: 0` asks for more of the same.
fn whole_seconds(duration: Duration) -> u64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    seconds.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RuleId;

    const ERRORS: &str = include_str!("../../docs/errors.md");

    fn check(refusal: &Refusal, status: u16, code: &str) {
        let problem = problem(refusal);
        assert_eq!((problem.status.as_u16(), problem.code), (status, code), "{refusal:?}");
        let waits = [429, 503].contains(&status);
        assert_eq!(problem.retry_after.is_some(), waits, "{refusal:?}");
        let row = format!("| `{}` | ", refusal.code());
        let documented =
            ERRORS.lines().find_map(|line| line.strip_prefix(&row)).and_then(|rest| rest.split('|').next());
        assert!(documented.is_some_and(|said| said.contains(&status.to_string())), "{row}{documented:?}: {status}");
    }

    #[test]
    fn every_refusal_answers_with_the_status_of_the_table() {
        let both = |refusal: &dyn Fn(Leg) -> Refusal, status: u16, code: &str, upstream: u16| {
            check(&refusal(Leg::Request), status, code);
            check(&refusal(Leg::Response), upstream, code);
        };
        let rule = || RuleId::new("r");
        check(&Refusal::CredentialMissing, 401, "credential_missing");
        check(&Refusal::CredentialWrong, 401, "credential_wrong");
        check(&Refusal::CredentialIncomplete, 401, "credential_incomplete");
        check(&Refusal::CredentialsDisagree, 403, "credentials_disagree");
        check(&Refusal::AgreementExpired, 403, "agreement_expired");
        check(&Refusal::AgreementSuspended, 403, "agreement_suspended");
        check(&Refusal::RequestMalformed, 400, "request_malformed");
        check(&Refusal::HeadTooLarge, 431, "head_too_large");
        check(&Refusal::PathNotNormal, 400, "path_not_normal");
        check(&Refusal::QueryMalformed, 400, "query_malformed");
        check(&Refusal::RouteUnknown, 404, "route_unknown");
        check(&Refusal::MethodNotAllowed { allow: "GET".to_owned() }, 405, "method_not_allowed");
        check(&Refusal::RateExceeded { retry_after: Duration::from_millis(1) }, 429, "rate_exceeded");
        check(&Refusal::ConcurrencyExceeded, 429, "concurrency_exceeded");
        check(&Refusal::BudgetExceeded { retry_after: Duration::from_secs(9) }, 429, "budget_exceeded");
        for fault in crate::json::FaultKind::ALL.iter().map(|kind| kind.code()) {
            let status = match fault {
                // Told as a rule that failed.
                "json_duplicate_name" | "json_filter_steps" | "json_rule" => continue,
                "json_value_too_long" | "json_element_too_long" | "json_leaves" | "json_growth" => 413,
                "json_unlisted" => 422,
                _ => 400,
            };
            both(&|leg| Refusal::BodyMalformed { leg, fault, location: "$".to_owned(), offset: 0 }, status, fault, 502);
        }
        both(&|leg| Refusal::BodyIncomplete { leg }, 400, "body_incomplete", 502);
        both(&|leg| Refusal::BodyTypeWrong { leg }, 415, "body_type_wrong", 502);
        both(&|leg| Refusal::BodyCodingWrong { leg }, 415, "body_coding_wrong", 502);
        both(&|leg| Refusal::BodyTooLarge { leg }, 413, "body_too_large", 502);
        both(&|leg| Refusal::BodySlow { leg }, 408, "body_slow", 504);
        both(&|leg| Refusal::TokenNotAccepted { leg, rule: rule() }, 422, "token_not_accepted", 502);
        both(&|leg| Refusal::MaskedValueReturned { leg, rule: rule() }, 422, "masked_value_returned", 502);
        both(&|leg| Refusal::RuleUnmatched { leg, rule: rule() }, 422, "rule_unmatched", 502);
        both(&|leg| Refusal::RuleFailed { leg, rule: Some(rule()) }, 422, "rule_failed", 502);
        check(&Refusal::UpstreamUnreachable, 502, "upstream_unreachable");
        check(&Refusal::UpstreamMalformed, 502, "upstream_malformed");
        check(&Refusal::UpstreamSlow, 504, "upstream_slow");
        check(&Refusal::AnswerSlow, 408, "answer_slow");
        for ours in [Refusal::VaultUnavailable, Refusal::LedgerUnavailable, Refusal::Overloaded, Refusal::Draining] {
            check(&ours, 503, "temporarily_unavailable");
        }
    }

    #[test]
    fn the_place_of_a_fault_in_the_upstreams_body_is_not_told_to_the_partner() {
        let fault = Refusal::BodyMalformed {
            leg: Leg::Response,
            fault: "json_syntax",
            location: "$.customer".to_owned(),
            offset: 3,
        };
        assert_eq!(problem(&fault).location, None);
    }

    #[test]
    fn the_time_to_wait_is_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
