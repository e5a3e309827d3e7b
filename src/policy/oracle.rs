//! Whether a partner could use us to read its tokens in clear, or to write in clear what it only gets as tokens.

use crate::ids::{Direction, Leg as Half};
use crate::json::automaton::Otherwise;

use super::clash::paths_meet;
use super::codes;
use super::diagnostic::{Diagnostic, Severity};
use super::lint::complaint;
use super::route::{Template, TemplateSegment};
use super::rule::{Action, BodyKind, LegOf, Locator, Plain, Policy, Reveal, Rule};

/// Complains of reveals that can be read back, and of tokenized categories that can be written in clear.
pub fn check(policy: &Policy, found: &mut Vec<Diagnostic>) {
    let legs: Vec<LegOf<'_>> = policy.legs().collect();
    for receiving in legs.iter().filter(|on| !on.discloses()) {
        for reveal in &receiving.leg.reveals {
            read_back(receiving, reveal, &legs, found);
            passes(receiving, reveal, &legs, found);
        }
        if receiving.direction() == Direction::Inbound {
            written(receiving, &legs, found);
        }
    }
}

/// A partner that sends its token to the one place and reads the other has what the token stands for.
fn read_back(receiving: &LegOf<'_>, reveal: &Reveal, legs: &[LegOf<'_>], found: &mut Vec<Diagnostic>) {
    for disclosing in legs.iter().filter(|on| on.discloses()) {
        let mirrored = receiving.direction() == Direction::Inbound
            && disclosing.direction() == Direction::Inbound
            && one_resource(&receiving.route.template, &disclosing.route.template);
        if mirrored && unlisted(reveal, disclosing) {
            let message = format!(
                "reveal `{}`: the partner can read it back in clear: {} lets the same place through",
                reveal.id,
                disclosing.name()
            );
            found.push(complaint(codes::ORACLE, Severity::Error, &reveal.place, message, "tokenize it there as well"));
            return;
        }
        let clear = disclosing.leg.rules.iter().filter(|rule| matches!(rule.action, Action::Keep { .. }));
        for rule in clear {
            let by_kind = rule.category.as_ref() == Some(&reveal.category);
            // A kind of its own, or a resource of its own, says that this is another value of the same name.
            let by_place = mirrored && rule.category.is_none() && same_place(rule, reveal, disclosing);
            if by_kind || by_place {
                let message = format!(
                    "reveal `{}`: the partner can read it back in clear: rule `{}` (line {}) keeps {} on {}",
                    reveal.id,
                    rule.id,
                    rule.place.line,
                    if by_kind { format!("`{}`", reveal.category) } else { "the same place".to_owned() },
                    disclosing.name(),
                );
                let help = if by_kind {
                    "tokenize it there as well, or do not reveal it"
                } else {
                    "tokenize it there as well, or say what other kind of data it is: `is = \"…\"`"
                };
                found.push(complaint(codes::ORACLE, Severity::Error, &reveal.place, message, help));
                return;
            }
        }
    }
}

/// Whether a disclosing leg lets the place through without a rule for it.
fn unlisted(reveal: &Reveal, disclosing: &LegOf<'_>) -> bool {
    let leg = disclosing.leg;
    match &reveal.locator {
        Locator::Path(revealed) => {
            let ruled = leg.rules.iter().any(|rule| {
                matches!(&rule.locator, Locator::Path(path) if paths_meet(path, revealed, true))
                    && !matches!(rule.action, Action::Keep { .. })
            });
            leg.body.has_paths() && leg.default == Otherwise::Keep && !ruled
        }
        Locator::Header(revealed) => {
            let ruled = leg.rules.iter().any(|rule| rule.locator == reveal.locator);
            leg.headers.contains(revealed) && !ruled
        }
        Locator::Form(_) => {
            let ruled = leg.rules.iter().any(|rule| rule.locator == reveal.locator);
            leg.body == BodyKind::Form && leg.default == Otherwise::Keep && !ruled
        }
        Locator::Event(_) => {
            leg.body == BodyKind::Sse && leg.default == Otherwise::Keep && {
                !leg.rules.iter().any(|rule| rule.locator == reveal.locator)
            }
        }
        Locator::Query(_) | Locator::Capture(_) | Locator::Cookie(_) => false,
    }
}

fn same_place(rule: &Rule, reveal: &Reveal, disclosing: &LegOf<'_>) -> bool {
    match (&rule.locator, &reveal.locator) {
        (Locator::Path(kept), Locator::Path(revealed)) => {
            let stricter = disclosing.leg.rules.iter().any(|other| {
                let beats = !matches!(other.action, Action::Keep { .. });
                beats && matches!(&other.locator, Locator::Path(path) if path.segments() == revealed.segments())
            });
            !stricter && paths_meet(kept, revealed, true)
        }
        (Locator::Header(kept), Locator::Header(revealed)) => kept == revealed,
        (Locator::Form(kept), Locator::Form(revealed)) => kept == revealed,
        // What leaves as an id comes back in a header.
        (Locator::Event(kept), Locator::Header(revealed)) => kept == "id" && revealed == "last-event-id",
        _ => false,
    }
}

/// `POST /orders` and `GET /orders/{id}` speak of the same thing: one path begins with the other.
fn one_resource(a: &Template, b: &Template) -> bool {
    a.segments.iter().zip(&b.segments).all(|pair| match pair {
        (TemplateSegment::Literal(x), TemplateSegment::Literal(y)) => x == y,
        _ => true,
    })
}

fn tokenizes<'p>(on: &LegOf<'p>) -> impl Iterator<Item = &'p Rule> {
    let rules = if on.discloses() { on.leg.rules.as_slice() } else { &[] };
    rules.iter().filter(|rule| matches!(rule.action, Action::Tokenize(_)))
}

fn passes(receiving: &LegOf<'_>, reveal: &Reveal, legs: &[LegOf<'_>], found: &mut Vec<Diagnostic>) {
    let outward = legs.iter().flat_map(tokenizes).any(|rule| rule.category.as_ref() == Some(&reveal.category));
    if reveal.plain == Plain::Pass && receiving.direction() == Direction::Inbound && outward {
        let message = format!(
            "reveal `{}`: `{}` leaves as tokens, and may be written here in clear: values can be guessed and tried",
            reveal.id, reveal.category
        );
        let help = "leave `plain = \"pass\"` out: what is no token is refused";
        found.push(complaint(codes::CLEAR_WRITE, Severity::Warning, &reveal.place, message, help));
    }
}

/// Places that leave as tokens and that the partner may write as it likes.
fn written(receiving: &LegOf<'_>, legs: &[LegOf<'_>], found: &mut Vec<Diagnostic>) {
    for disclosing in legs.iter().filter(|on| on.direction() == Direction::Inbound) {
        for rule in tokenizes(disclosing) {
            let Locator::Path(path) = &rule.locator else { continue };
            let explicit = receiving.leg.rules.iter().find(|other| {
                matches!(other.action, Action::Keep { .. })
                    && (other.category.is_some() && other.category == rule.category)
            });
            if let Some(keep) = explicit {
                let message = format!(
                    "rule `{}`: takes in clear what leaves as tokens (rule `{}`, line {})",
                    keep.id, rule.id, rule.place.line
                );
                let help = "write a `reveal` for it: the token is turned back, and what is no token is refused";
                found.push(complaint(codes::CLEAR_WRITE, Severity::Warning, &keep.place, message, help));
                return;
            }
            let meets = |locator: &Locator| matches!(locator, Locator::Path(other) if paths_meet(path, other, true));
            let touched = receiving.leg.rules.iter().any(|other| meets(&other.locator))
                || receiving.leg.reveals.iter().any(|reveal| meets(&reveal.locator));
            let writes = receiving.route.methods.iter().any(|m| matches!(m.as_str(), "POST" | "PUT" | "PATCH"));
            let takes = receiving.half == Half::Request
                && receiving.leg.default == Otherwise::Keep
                && receiving.leg.body.has_paths();
            if takes && writes && !touched && one_resource(&receiving.route.template, &disclosing.route.template) {
                let message = format!(
                    "route `{}`: takes `{}` as it comes, though it leaves as tokens (rule `{}`, line {}): a token that comes \
                     back would be stored as if it were the value",
                    receiving.route.pattern,
                    path.text(),
                    rule.id,
                    rule.place.line
                );
                let help = "add a `reveal` for that path, or `default = \"drop\"` with a list of what may come in";
                found.push(complaint(codes::CLEAR_WRITE, Severity::Warning, &receiving.route.place, message, help));
            }
        }
    }
}
