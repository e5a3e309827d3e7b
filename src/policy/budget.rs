//! `limits.reveal` and `limits.subjects`: what a partner may have turned back, and whose data it may see, in an hour.
//!
//! A budget from which nothing is ever taken protects nobody, so that one that cannot be spent is complained of. Start at
//! [`hourly`] and [`check`].

use std::num::NonZeroU32;

use super::codes;
use super::kept::sees_subject;
use super::rule::{BodyKind, Limits, Route};
use super::source::{Report, Section, quote};

/// Reads `"5000/h"`.
pub fn hourly(report: &mut Report<'_>, section: &Section<'_, '_>, key: &str) -> Option<NonZeroU32> {
    let text = section.text(report, key)?;
    let digits = text.value.strip_suffix("/h").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let count = digits.and_then(|digits| digits.parse().ok());
    if count.is_none() {
        report.error_with(
            codes::BAD_VALUE,
            text.span.clone(),
            format!("[limits]: `{key}` {} is not in its form", quote(text.value)),
            "write how many in an hour: `5000/h`",
        );
    }
    count
}

/// Complains of budgets that nothing, or not everything, is taken from.
pub fn check(report: &mut Report<'_>, section: &Section<'_, '_>, limits: &Limits, routes: &[Route]) {
    let legs = || routes.iter().flat_map(|route| [(route, &route.request, true), (route, &route.response, false)]);
    let mut complain = |key, message: &str, help: &str| {
        report.warning_with(codes::BUDGET, section.value_span(key), format!("[limits]: {message}"), help);
    };
    if limits.reveal.is_some() && legs().all(|(_, leg, _)| leg.deep_reveals().is_empty()) {
        complain("reveal", "`reveal` counts nothing: no leg turns tokens back", "leave it out, or add a `reveal`");
    }
    if limits.subjects.is_none() {
        return;
    }
    let help = "name by `subject` whose the data is, and tokenize or pseudonymize it by a rule with this very path";
    let leaves = |(route, leg, request): &(&Route, &super::rule::Leg, bool)| {
        let side = if *request { crate::ids::Leg::Request } else { crate::ids::Leg::Response };
        side.discloses(route.direction) && !matches!(leg.body, BodyKind::None)
    };
    let uncounted: Vec<&str> =
        legs().filter(|leg| leaves(leg) && sees_subject(leg.1).is_none()).map(|(route, ..)| &*route.pattern).collect();
    if !uncounted.is_empty() {
        let message = format!("`subjects` does not count what leaves by {}", uncounted.join(", "));
        complain("subjects", &message, help);
    }
}
