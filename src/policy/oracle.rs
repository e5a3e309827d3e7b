//! Whether a partner could use us to read its tokens in clear, or to write in clear what it only gets as tokens.

use crate::ids::{Direction, Leg as Half};
use crate::json::automaton::Otherwise;
use crate::json::path::{Path, Selector};
use crate::json::text;

use super::clash::paths_meet;
use super::codes;
use super::diagnostic::{Diagnostic, Severity};
use super::inside::Deep;
use super::lint::complaint;
use super::route::{Template, TemplateSegment};
use super::rule::{Action, BodyKind, Leg, LegOf, Locator, Plain, Policy, Reveal, Rule};

/// Complains of reveals that can be read back, and of tokenized categories that can be written in clear.
pub fn check(policy: &Policy, found: &mut Vec<Diagnostic>) {
    let legs: Vec<LegOf<'_>> = policy.legs().collect();
    for receiving in legs.iter().filter(|on| !on.discloses()) {
        for reveal in receiving.leg.deep_reveals() {
            if !read_back(receiving, &reveal, &legs, found) {
                read_by_name(receiving, &reveal, &legs, found);
            }
            passes(receiving, reveal.thing, &legs, found);
        }
        if receiving.direction() == Direction::Inbound {
            written(receiving, &legs, found);
        }
    }
}

/// A partner that sends its token to the one place and reads the other has what the token stands for. Gives whether that was said.
fn read_back(
    receiving: &LegOf<'_>,
    reveal: &Deep<'_, Reveal>,
    legs: &[LegOf<'_>],
    found: &mut Vec<Diagnostic>,
) -> bool {
    let Deep { way, thing: reveal } = reveal;
    for disclosing in legs.iter().filter(|on| on.discloses()) {
        let mirrored = receiving.direction() == Direction::Inbound
            && disclosing.direction() == Direction::Inbound
            && one_resource(&receiving.route.template, &disclosing.route.template);
        if mirrored && unlisted(disclosing.leg, way, false) {
            let message = format!(
                "reveal `{}`: the partner can read it back in clear: {} lets the same place through",
                reveal.id,
                disclosing.name()
            );
            found.push(complaint(codes::ORACLE, Severity::Error, &reveal.place, message, "tokenize it there as well"));
            return true;
        }
        let rules = disclosing.leg.deep_rules();
        for kept in rules.iter().filter(|deep| matches!(deep.thing.action, Action::Keep { .. })) {
            let rule = kept.thing;
            let by_kind = rule.category.as_ref() == Some(&reveal.category);
            // A kind of its own, or a resource of its own, says that this is another value of the same name.
            let by_place = mirrored && rule.category.is_none() && same_place(kept, way, &rules);
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
                return true;
            }
        }
    }
    false
}

/// What is revealed in a path, a query or a form is often one of the fields of the answer, which bears the same name.
fn read_by_name(receiving: &LegOf<'_>, reveal: &Deep<'_, Reveal>, legs: &[LegOf<'_>], found: &mut Vec<Diagnostic>) {
    let inbound = |on: &LegOf<'_>| on.direction() == Direction::Inbound;
    for disclosing in legs.iter().filter(|on| on.discloses() && inbound(on) && inbound(receiving)) {
        if !one_resource(&receiving.route.template, &disclosing.route.template) {
            continue;
        }
        let rules = disclosing.leg.deep_rules();
        let is_keep = |deep: &Deep<'_, Rule>| matches!(deep.thing.action, Action::Keep { .. });
        let stricter = |kept: &Deep<'_, Rule>| rules.iter().any(|r| !is_keep(r) && spell(&r.way) == spell(&kept.way));
        let kept = rules.iter().find(|deep| {
            is_keep(deep) && deep.thing.category.is_none() && one_name(&deep.way, &reveal.way) && !stricter(deep)
        });
        if let Some(Deep { thing: rule, .. }) = kept {
            let message = format!(
                "reveal `{}`: rule `{}` (line {}) keeps what bears the same name on {}: if it is the same value, the partner can \
                 read it back in clear",
                reveal.thing.id,
                rule.id,
                rule.place.line,
                disclosing.name(),
            );
            let help = "tokenize it there as well, or say what other kind of data it is: `is = \"…\"`";
            found.push(complaint(codes::ORACLE, Severity::Warning, &reveal.thing.place, message, help));
            return;
        }
    }
}

/// Whether two places of different kinds bear one name.
fn one_name(a: &[&Locator], b: &[&Locator]) -> bool {
    let ([a], [b]) = (a, b) else { return false };
    let kinds = [a, b].map(|locator| std::mem::discriminant(*locator));
    let [a, b] = [a, b].map(|locator| name(locator).map(text::fold));
    kinds[0] != kinds[1] && a.is_some() && a == b
}

/// The name of a place that is a field of something flat: no header's, and of a document only its own members'.
fn name(locator: &Locator) -> Option<&str> {
    match locator {
        Locator::Capture(name)
        | Locator::Query(name)
        | Locator::Cookie(name)
        | Locator::Form(name)
        | Locator::Part(name) => Some(name),
        Locator::Path(path) => match path.segments() {
            [segment] => match segment.selectors.as_slice() {
                [Selector::Name(name)] => Some(name),
                _ => None,
            },
            _ => None,
        },
        Locator::Header(_) | Locator::Event(_) | Locator::InPart { .. } => None,
    }
}

/// The place of the same name in a body of this kind, where that is another kind of place.
fn in_body(way: &[&Locator], body: &BodyKind) -> Option<Locator> {
    let [locator] = way else { return None };
    let name = name(locator)?;
    match (body, locator) {
        (BodyKind::Form, Locator::Form(_)) | (BodyKind::Multipart, Locator::Part(_)) => None,
        (BodyKind::Form, _) => Some(Locator::Form(name.to_owned())),
        (BodyKind::Multipart, _) => Some(Locator::Part(name.to_owned())),
        (_, Locator::Form(_) | Locator::Part(_)) => Path::parse(&format!("$.{name}")).ok().map(Locator::Path),
        _ => None,
    }
}

/// Whether a leg lets the place through, or a part of it, without a rule for it. `keeps`: whether a `keep` counts as one.
fn unlisted(leg: &Leg, way: &[&Locator], keeps: bool) -> bool {
    let Some((first, rest)) = way.split_first() else { return leg.default == Otherwise::Keep };
    let here: Vec<&Rule> = leg.rules.iter().filter(|rule| locators_meet(&rule.locator, first)).collect();
    let counts = keeps || !matches!(first, Locator::Path(_));
    let speaks = |rule: &&Rule| rule.inside().is_none() && (counts || !matches!(rule.action, Action::Keep { .. }));
    if here.iter().any(speaks) || leg.reveals.iter().any(|reveal| locators_meet(&reveal.locator, first)) {
        return false;
    }
    if let Some(inside) = here.iter().find_map(|rule| rule.inside()) {
        return unlisted(&inside.leg, rest, keeps);
    }
    match first {
        Locator::Path(_) => leg.body.has_paths() && leg.default == Otherwise::Keep,
        Locator::Header(name) => leg.headers.contains(name),
        Locator::Event(_) => leg.body == BodyKind::Sse && leg.default == Otherwise::Keep,
        Locator::Form(_) => leg.body == BodyKind::Form && leg.default == Otherwise::Keep,
        Locator::Part(_) | Locator::InPart { .. } => leg.body == BodyKind::Multipart && leg.default == Otherwise::Keep,
        Locator::Query(_) | Locator::Capture(_) | Locator::Cookie(_) => false,
    }
}

/// Whether a kept place and a revealed one are one, or one is inside the other.
fn same_place(kept: &Deep<'_, Rule>, revealed: &[&Locator], rules: &[Deep<'_, Rule>]) -> bool {
    let shared = kept.way.len().min(revealed.len());
    let Some(last) = revealed.get(shared.saturating_sub(1)) else { return false };
    let stricter = rules.iter().any(|other| {
        let beats = !matches!(other.thing.action, Action::Keep { .. });
        let here = |path: &Path| matches!(last, Locator::Path(last) if path.segments() == last.segments());
        beats && other.way.len() == shared && matches!(other.way.last(), Some(Locator::Path(path)) if here(path))
    });
    !stricter && kept.way.iter().zip(revealed).all(|(kept, revealed)| locators_meet(kept, revealed))
}

/// In a body or in headers: whether two locators may mean one place.
fn locators_meet(a: &Locator, b: &Locator) -> bool {
    match (a, b) {
        (Locator::Path(a), Locator::Path(b)) => paths_meet(a, b, true),
        (Locator::Header(a), Locator::Header(b))
        | (Locator::Event(a), Locator::Event(b))
        | (Locator::Form(a), Locator::Form(b))
        | (Locator::Part(a), Locator::Part(b)) => a == b,
        (Locator::InPart { part: x, path: a }, Locator::InPart { part: y, path: b }) => {
            x == y && paths_meet(a, b, true)
        }
        // What leaves as an id comes back in a header.
        (Locator::Event(a), Locator::Header(b)) => a == "id" && b == "last-event-id",
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

fn tokenizes<'p>(on: &LegOf<'p>) -> Vec<Deep<'p, Rule>> {
    let mut rules = if on.discloses() { on.leg.deep_rules() } else { Vec::new() };
    rules.retain(|deep| matches!(deep.thing.action, Action::Tokenize(_) | Action::Store(_)));
    rules
}

fn passes(receiving: &LegOf<'_>, reveal: &Reveal, legs: &[LegOf<'_>], found: &mut Vec<Diagnostic>) {
    let outward = legs.iter().flat_map(tokenizes).any(|deep| deep.thing.category.as_ref() == Some(&reveal.category));
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
        for Deep { way, thing: rule } in tokenizes(disclosing) {
            let in_a_body = |locator: &&Locator| {
                matches!(locator, Locator::Path(_) | Locator::Form(_) | Locator::Part(_) | Locator::InPart { .. })
            };
            if !way.first().is_some_and(in_a_body) {
                continue;
            }
            let mut rules = receiving.leg.deep_rules().into_iter().map(|deep| deep.thing);
            let explicit = rules.find(|other| {
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
            let writes = receiving.route.methods.iter().any(|m| matches!(m.as_str(), "POST" | "PUT" | "PATCH"));
            let other = in_body(&way, &receiving.leg.body);
            let there = other.as_ref().map_or_else(|| way.clone(), |locator| vec![locator]);
            let takes = receiving.half == Half::Request && unlisted(receiving.leg, &there, true);
            if takes && writes && one_resource(&receiving.route.template, &disclosing.route.template) {
                let message = format!(
                    "route `{}`: takes `{}` as it comes, though it leaves as tokens (rule `{}`, line {}): a token that comes \
                     back would be stored as if it were the value",
                    receiving.route.pattern,
                    spell(&there),
                    rule.id,
                    rule.place.line
                );
                let help = "add a `reveal` for that place, or `default = \"drop\"` with a list of what may come in";
                found.push(complaint(codes::CLEAR_WRITE, Severity::Warning, &receiving.route.place, message, help));
            }
        }
    }
}

/// `$.payload > $.email`
fn spell(way: &[&Locator]) -> String {
    let text = |locator: &&Locator| match locator {
        Locator::Path(path) => path.text().to_owned(),
        Locator::Query(name)
        | Locator::Header(name)
        | Locator::Capture(name)
        | Locator::Cookie(name)
        | Locator::Event(name)
        | Locator::Form(name)
        | Locator::Part(name) => name.clone(),
        Locator::InPart { part, path } => format!("{part}: {}", path.text()),
    };
    way.iter().map(text).collect::<Vec<_>>().join(" > ")
}
