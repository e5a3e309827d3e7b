//! How the rules of one leg stand to each other: which cannot be decided between, and which never decide.

use crate::json::path::{Path, Segment, Selector};

use super::codes;
use super::rule::{Action, Leg, Locator, Reveal, Rule};
use super::source::Report;

/// Complains of rules that disagree on one place, and of rules that another always beats.
pub fn check(report: &mut Report<'_>, leg: &Leg) {
    for (index, later) in leg.rules.iter().enumerate() {
        for earlier in leg.rules.iter().take(index) {
            if earlier.action.rank() == later.action.rank() {
                if differ(earlier, later) && rules_meet(earlier, later) {
                    report.error_with(
                        codes::RULES_CLASH,
                        later.place.span.clone(),
                        format!(
                            "rule `{}`: another setting of `{}` than rule `{}` (line {}) on the same place",
                            later.id,
                            later.action.name(),
                            earlier.id,
                            earlier.place.line
                        ),
                        "order says nothing: take the place out of one of them with `except`",
                    );
                }
                continue;
            }
            let (lax, strict) =
                if earlier.action.rank() < later.action.rank() { (earlier, later) } else { (later, earlier) };
            if strict.except.is_empty() && same(&lax.locator, &strict.locator) {
                report.warning_with(
                    codes::RULE_IDLE,
                    lax.place.span.clone(),
                    format!(
                        "rule `{}`: never decides: `{}` of rule `{}` (line {}) is stricter",
                        lax.id,
                        strict.action.name(),
                        strict.id,
                        strict.place.line
                    ),
                    "remove one of the two",
                );
            }
        }
    }
    for (index, later) in leg.reveals.iter().enumerate() {
        for earlier in leg.reveals.iter().take(index) {
            if reveals_differ(earlier, later) && meet(&earlier.locator, &later.locator, true) {
                report.error_with(
                    codes::RULES_CLASH,
                    later.place.span.clone(),
                    format!(
                        "reveal `{}`: another category or setting than `{}` (line {}) on the same place",
                        later.id, earlier.id, earlier.place.line
                    ),
                    "one place holds one kind of data: make the paths narrower",
                );
            }
        }
    }
}

/// Whether two rules of one kind would leave different things behind.
pub fn differ(a: &Rule, b: &Rule) -> bool {
    match (&a.action, &b.action) {
        (Action::Keep { .. }, _) => false,
        // A token and a pseudonym are made for a category.
        (Action::Tokenize(x), Action::Tokenize(y)) => x != y || a.category != b.category || a.normalize != b.normalize,
        (Action::Store(x), Action::Store(y)) => x != y || a.category != b.category || a.normalize != b.normalize,
        (Action::Pseudonymize, _) => a.category != b.category || a.normalize != b.normalize,
        (x, y) => x != y,
    }
}

/// As [`differ`], of reveals.
pub fn reveals_differ(a: &Reveal, b: &Reveal) -> bool {
    (&a.category, a.shape, a.plain) != (&b.category, b.shape, b.plain)
}

fn rules_meet(a: &Rule, b: &Rule) -> bool {
    let below = !matches!(a.action, Action::Drop | Action::Null | Action::Replace { .. });
    let out = |rule: &Rule, other: &Rule| match &other.locator {
        Locator::Path(path) | Locator::InPart { path, .. } => {
            rule.except.iter().any(|out| covers(out.segments(), path.segments()))
        }
        _ => false,
    };
    meet(&a.locator, &b.locator, below) && !out(a, b) && !out(b, a)
}

fn same(a: &Locator, b: &Locator) -> bool {
    match (a, b) {
        (Locator::Path(a), Locator::Path(b)) => a.segments() == b.segments(),
        (Locator::InPart { part: x, path: a }, Locator::InPart { part: y, path: b }) => {
            x == y && a.segments() == b.segments()
        }
        (a, b) => a == b,
    }
}

/// Whether two locators surely select one place in some document. `below`: what is below a selected place counts too.
pub fn meet(a: &Locator, b: &Locator, below: bool) -> bool {
    match (a, b) {
        (Locator::Path(a), Locator::Path(b)) => paths_meet(a, b, below),
        (Locator::InPart { part: x, path: a }, Locator::InPart { part: y, path: b }) => {
            x == y && paths_meet(a, b, below)
        }
        (a, b) => a == b,
    }
}

/// As [`meet`], of two paths. Filters and slices are not looked into: they meet only what is written alike.
pub fn paths_meet(a: &Path, b: &Path, below: bool) -> bool {
    segments_meet(a.segments(), b.segments(), below)
}

/// As [`paths_meet`], of their segments.
pub fn segments_meet(a: &[Segment], b: &[Segment], below: bool) -> bool {
    // A walk over pairs of positions: each is how many segments have been matched. One step down the document each time.
    let mut seen = vec![false; (a.len() + 1) * (b.len() + 1)];
    let mut open = vec![(0, 0)];
    while let Some((i, j)) = open.pop() {
        match seen.get_mut(i * (b.len() + 1) + j) {
            Some(flag) if !*flag => *flag = true,
            _ => continue,
        }
        if i == a.len() && j == b.len() {
            return true;
        }
        let (x, y) = (moves(a, i, below), moves(b, j, below));
        for (next_i, by_x) in &x {
            for (next_j, by_y) in &y {
                if steps_meet(*by_x, *by_y) {
                    open.push((*next_i, *next_j));
                }
            }
        }
    }
    false
}

/// Where a path can be after one more step down, and by which selectors (`None`: any step).
fn moves(path: &[Segment], at: usize, below: bool) -> Vec<(usize, Option<&[Selector]>)> {
    match path.get(at) {
        Some(segment) => {
            let mut moves = vec![(at + 1, Some(segment.selectors.as_slice()))];
            if segment.descendant {
                moves.push((at, None));
            }
            moves
        }
        None if below => vec![(at, None)],
        None => Vec::new(),
    }
}

fn steps_meet(a: Option<&[Selector]>, b: Option<&[Selector]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.iter().any(|x| b.iter().any(|y| selectors_meet(x, y))),
        _ => true,
    }
}

fn selectors_meet(a: &Selector, b: &Selector) -> bool {
    match (a, b) {
        (Selector::Wildcard, Selector::Filter(_)) | (Selector::Filter(_), Selector::Wildcard) => false,
        (Selector::Wildcard, _) | (_, Selector::Wildcard) => true,
        (a, b) => a == b,
    }
}

/// Whether everything that `path` selects is at or below something that `over` selects, as far as the texts show it: segment by
/// segment the same or wider, without descendants.
pub fn covers(over: &[Segment], path: &[Segment]) -> bool {
    over.len() <= path.len()
        && over.iter().zip(path).all(|(wide, narrow)| {
            wide == narrow
                || (!wide.descendant
                    && !narrow.descendant
                    && narrow
                        .selectors
                        .iter()
                        .all(|n| wide.selectors.iter().any(|w| w == n || *w == Selector::Wildcard)))
        })
}
