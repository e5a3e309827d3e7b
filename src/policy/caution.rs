//! What one disclosing leg may do and still deserves a second look.

use crate::ids::Shape;
use crate::json::automaton::Otherwise;
use crate::json::path::{Path, Segment, Selector};

use super::clash::segments_meet;
use super::codes;
use super::rule::{Action, Leg, Locator, Rule};
use super::source::{Report, quote};

/// Complains of wildcards, of filters on values that do not leave, and lists tokens that bear no proof.
pub fn check(report: &mut Report<'_>, leg: &Leg, name: &str) {
    for rule in &leg.rules {
        if let Action::Tokenize(shape) = rule.action {
            unproven(report, rule, shape);
        }
        if let Locator::Path(path) = &rule.locator {
            wildcard(report, rule, path);
            filters(report, leg, rule, path, name);
        }
    }
}

/// Lists tokens that bear no proof of where they come from.
fn unproven(report: &mut Report<'_>, rule: &Rule, shape: Shape) {
    let (what, dropped) = match shape {
        Shape::Opaque | Shape::Email | Shape::Uuid => return,
        Shape::Digits => ("digits", "values with fewer than 6 digits"),
        Shape::Alnum => ("letters and digits", "values with fewer than 4 characters, or with others,"),
        Shape::Card => ("the form of a card number", "values that fail the Luhn check"),
        Shape::Iban => ("the form of an IBAN", "values whose check digits are wrong"),
        Shape::Date => {
            if rule.reason.is_none() {
                report.warning_with(
                    codes::DATES,
                    rule.place.span.clone(),
                    format!(
                        "rule `{}`: whoever knows one date and its token knows all dates of this category",
                        rule.id
                    ),
                    "use `generalize`, `to = \"year\"`, where the partner needs no intervals, or write a `reason`",
                );
            }
            return;
        }
    };
    report.note(
        codes::DIGITS,
        rule.place.span.clone(),
        format!("rule `{}`: tokens of {what} bear no proof of where they come from; {dropped} are dropped", rule.id),
    );
}

/// `[*]` is how one writes "every element", `.*` how one writes "every member". A reason shows that somebody has thought of it.
fn wildcard(report: &mut Report<'_>, rule: &Rule, path: &Path) {
    if rule.reason.is_some() || rule.action == Action::Drop {
        return;
    }
    let id = &rule.id;
    if rule.action == (Action::Keep { whole: true }) {
        report.warning_with(
            codes::WILDCARD,
            rule.place.span.clone(),
            format!("rule `{id}`: keeps whatever is in there, also what is added later"),
            "list what may leave, or write a `reason`",
        );
    } else if let Some(last) = members(path) {
        let message = if last && matches!(rule.action, Action::Keep { .. }) {
            format!("rule `{id}`: keeps every member, also those added later")
        } else {
            format!("rule `{id}`: the names of the members that it reaches leave as they are")
        };
        let help = "write the names that may leave, or a `reason`; elements of arrays are `[*]`";
        report.warning_with(codes::WILDCARD, rule.place.span.clone(), message, help);
    }
}

/// Whether the path reaches members by a wildcard; `Some(true)` if its last segment does.
fn members(path: &Path) -> Option<bool> {
    let wild = |segment: &Segment| segment.selectors.contains(&Selector::Wildcard);
    let dotted = is_dotted(path.text());
    let (last, before) = path.segments().split_last()?;
    if wild(last) && (last.descendant || dotted.last) {
        Some(true)
    } else if before.iter().any(|segment| wild(segment) && segment.descendant) || dotted.before {
        Some(false)
    } else {
        None
    }
}

struct Dotted {
    before: bool,
    last: bool,
}

/// Where the text has `.*` outside of strings and brackets.
fn is_dotted(text: &str) -> Dotted {
    let trimmed = text.trim_end();
    let (mut quote, mut depth, mut escaped, mut dot) = (None, 0_u32, false, false);
    let mut found = Dotted { before: false, last: false };
    for (at, byte) in trimmed.bytes().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None => match byte {
                b'\'' | b'"' => quote = Some(byte),
                b'[' => depth += 1,
                b']' => depth = depth.saturating_sub(1),
                b'*' if dot && depth == 0 => {
                    if at + 1 == trimmed.len() {
                        found.last = true;
                    } else {
                        found.before = true;
                    }
                }
                _ => {}
            },
        }
        dot = byte == b'.';
    }
    found
}

/// Which elements pass tells the partner about what the filter reads.
fn filters(report: &mut Report<'_>, leg: &Leg, rule: &Rule, path: &Path, name: &str) {
    let mut reads = Vec::new();
    gather(&[], path.segments(), &mut reads);
    let withheld = reads.into_iter().find(|read| !leaves(leg, read));
    if let Some(read) = withheld {
        report.warning_with(
            codes::FILTER_WITHHELD,
            rule.place.span.clone(),
            format!(
                "rule `{}`: its filter reads {}, which does not leave in clear on `{name}`: which elements match tells it",
                rule.id,
                quote(&spell(&read))
            ),
            "filter by a value that the partner gets anyway, or accept that it learns this one",
        );
    }
}

/// All that the filters of a path read, as segments from `$`, filters on the way widened to wildcards.
fn gather(prefix: &[Segment], segments: &[Segment], reads: &mut Vec<Vec<Segment>>) {
    let mut here = prefix.to_vec();
    for segment in segments {
        here.push(widened(segment));
        for selector in &segment.selectors {
            let Selector::Filter(filter) = selector else { continue };
            for (root, query) in filter.queries() {
                let from: &[Segment] = if root { &[] } else { &here };
                let mut read = from.to_vec();
                read.extend(query.iter().map(widened));
                reads.push(read);
                // Paths have a limit on their nesting, so this ends.
                gather(from, query, reads);
            }
        }
    }
}

fn widen(selector: &Selector) -> Selector {
    match selector {
        Selector::Filter(_) | Selector::Slice { .. } => Selector::Wildcard,
        other => other.clone(),
    }
}

/// Whether what stands there leaves in clear.
fn leaves(leg: &Leg, read: &[Segment]) -> bool {
    let meets = |rule: &&Rule| match &rule.locator {
        Locator::Path(path) => segments_meet(&path.segments().iter().map(widened).collect::<Vec<_>>(), read, true),
        _ => false,
    };
    let mut touching = leg.rules.iter().filter(meets).peekable();
    let listed = touching.peek().is_some() || leg.default == Otherwise::Keep;
    listed && touching.all(|rule| matches!(rule.action, Action::Keep { .. }))
}

fn widened(segment: &Segment) -> Segment {
    Segment { descendant: segment.descendant, selectors: segment.selectors.iter().map(widen).collect() }
}

fn spell(segments: &[Segment]) -> String {
    let mut text = String::from("$");
    for segment in segments {
        text.push_str(if segment.descendant { ".." } else { "" });
        let parts: Vec<String> = segment
            .selectors
            .iter()
            .map(|selector| match selector {
                Selector::Name(name) => format!("'{}'", name.escape_default()),
                Selector::Index(index) => index.to_string(),
                _ => "*".into(),
            })
            .collect();
        text.push_str(&format!("[{}]", parts.join(", ")));
    }
    text
}
