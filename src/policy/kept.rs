//! `tokenize` with `store = "vault"`: what only a stored token can be, and whose it is.
//!
//! Start at [`kept`].

use std::time::Duration;

use crate::ids::Shape;
use crate::json::path::{Path, Selector};

use super::codes;
use super::rule::{Action, Kept, Leg, Locator, Rule};
use super::source::{Report, Section, Text, list, near, quote};

const STORES: &[&str] = &["none", "vault"];
/// The shapes of stored tokens.
const SHAPES: &[&str] = &["opaque", "email", "uuid"];
/// The shapes that need no store.
const SEALED: &[&str] = &["digits", "alnum", "card", "iban", "date"];
/// The longest life of a token of one flow, in seconds: who needs it for longer wants one that is erased by name.
const TTL_MAX: u64 = 366 * 86_400;

/// Reads `store`, `once` and `ttl`, and with a store `as`. `Some(None)`: nothing is stored. `None`: after a complaint.
pub fn kept(report: &mut Report<'_>, rule: &Section<'_, '_>) -> Option<Option<Kept>> {
    let store = rule.text(report, "store");
    let stored = match &store {
        None if rule.has("store") => return None,
        None => false,
        Some(text) if STORES.contains(&text.value) => text.value == "vault",
        Some(text) => {
            let message = format!("{}: unknown store {}", rule.name, quote(text.value));
            let help = near(text.value, STORES, "stores");
            report.error_with(codes::BAD_VALUE, text.span.clone(), message, help);
            return None;
        }
    };
    let once = rule.boolean(report, "once").unwrap_or(false);
    let ttl = rule.text(report, "ttl");
    if !stored {
        return sealed(report, rule, once).then_some(None);
    }
    let shape = shape(report, rule);
    let once = match (once, &ttl) {
        (false, None) => Some(None),
        (true, Some(text)) => life(report, rule, text).map(Some),
        (true, None) => {
            let message = format!("{}: `once` needs to know how long such a token lives", rule.name);
            report.error_with(codes::SETTING_MISSING, rule.key_span("once"), message, "write `ttl = \"1h\"`");
            None
        }
        (false, Some(text)) => {
            let message = format!("{}: `ttl` says nothing without `once`", rule.name);
            let help = "a value that has one token keeps it until it is erased: leave `ttl` out, or add `once = true`";
            report.error_with(codes::SETTING_STRAY, text.span.clone(), message, help);
            None
        }
    };
    Some(Some(Kept { shape: shape?, once: once? }))
}

/// What needs a store where there is none.
fn sealed(report: &mut Report<'_>, rule: &Section<'_, '_>, once: bool) -> bool {
    let uuid = rule.has("as") && rule.is_text("as") && rule.text(report, "as").is_some_and(|text| text.value == "uuid");
    let mut fine = true;
    for (key, wrong) in [("once", once), ("ttl", rule.has("ttl") && !once), ("as", uuid)] {
        if wrong {
            let what = if key == "as" { "`as = \"uuid\"`" } else { &format!("`{key}`") };
            let message = format!("{}: {what} needs a store: such a token has no room for its value", rule.name);
            report.error_with(codes::STORED, rule.key_span(key), message, "add `store = \"vault\"`");
            fine = false;
        }
    }
    fine
}

fn shape(report: &mut Report<'_>, rule: &Section<'_, '_>) -> Option<Shape> {
    if !rule.has("as") {
        return Some(Shape::Opaque);
    }
    let text = rule.text(report, "as")?;
    match text.value {
        "opaque" => Some(Shape::Opaque),
        "email" => Some(Shape::Email),
        "uuid" => Some(Shape::Uuid),
        other => {
            if SEALED.contains(&other) {
                let message = format!("{}: tokens of `as = \"{other}\"` are not stored", rule.name);
                let help = format!("leave `store` out; shapes of stored tokens are {}", list(SHAPES));
                report.error_with(codes::STORED, text.span, message, help);
            } else {
                let message = format!("{}: unknown shape {} of a stored token", rule.name, quote(other));
                report.error_with(codes::BAD_VALUE, text.span, message, near(other, SHAPES, "shapes"));
            }
            None
        }
    }
}

fn life(report: &mut Report<'_>, rule: &Section<'_, '_>, text: &Text<'_>) -> Option<Duration> {
    let read = || {
        let (digits, unit) = text.value.split_at_checked(text.value.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        let seconds = digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)?;
        (1..=TTL_MAX).contains(&seconds).then(|| Duration::from_secs(seconds))
    };
    let life = read();
    if life.is_none() {
        let message = format!("{}: `ttl` {} is no time from a second to a year", rule.name, quote(text.value));
        report.error_with(codes::BAD_VALUE, text.span.clone(), message, "write `30s`, `15m`, `1h` or `7d`");
    }
    life
}

/// Complains of a leg's `subject` that cannot be told where tokens are stored.
pub fn subject(report: &mut Report<'_>, section: &Section<'_, '_>, leg: &Leg) {
    let Some(path) = &leg.subject else { return };
    if !leg.deep_rules().iter().any(|deep| matches!(deep.thing.action, Action::Store(_))) {
        return;
    }
    let (message, help) = if !is_single(path) {
        (
            "more than one place can say whose the data is: tokens that are stored belong to one person a document",
            "name one place, without wildcards; of lists send a line or an event for each person",
        )
    } else if sees_subject(leg).is_none() {
        (
            "no rule sees the value that says whose the data is",
            "tokenize or pseudonymize it by a rule with this very path",
        )
    } else {
        return;
    };
    report.error_with(codes::SUBJECT, section.value_span("subject"), format!("{}: {message}", section.name), help);
}

/// The rule of a leg that sees the value of its `subject`, by its index.
#[must_use]
pub fn sees_subject(leg: &Leg) -> Option<usize> {
    let path = leg.subject.as_ref()?;
    let at = |rule: &Rule| matches!(&rule.locator, Locator::Path(at) if at.segments() == path.segments());
    leg.rules.iter().position(|rule| at(rule) && rule.except.is_empty() && rule.action.sees_values())
}

fn is_single(path: &Path) -> bool {
    let single = |selector: &Selector| matches!(selector, Selector::Name(_) | Selector::Index(_));
    path.segments()
        .iter()
        .all(|segment| !segment.descendant && segment.selectors.len() == 1 && segment.selectors.iter().all(single))
}
