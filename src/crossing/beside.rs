//! What of a leg looks outside of JSON, by place: which rule decides there.
//!
//! Made once, when a leg is bound. Start at [`Beside`].

use std::collections::HashMap;
use std::sync::Arc;

use ::http::HeaderName;

use crate::json::automaton::Otherwise;
use crate::json::text;
use crate::policy::actions::REVEAL_RANK;
use crate::policy::clash;
use crate::policy::compile::{Asker, CompiledLeg};
use crate::policy::rule::Locator;

use super::head::never;

/// Which rule decides at a place beside the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// The strictest one.
    One(Asker),
    /// Two of one kind with different settings: removed.
    Clash,
}

/// What of a leg looks beside the body, by place.
#[derive(Debug, Default)]
pub struct Beside {
    pub(super) captures: Vec<(Arc<str>, Pick)>,
    pub(super) query: Vec<(Arc<str>, Pick)>,
    pub(super) headers: Vec<(HeaderName, Pick)>,
    pub(super) cookies: Vec<(Arc<str>, Pick)>,
    events: Vec<(Arc<str>, Pick)>,
    form: Names,
    parts: Names,
    pub(super) listed_headers: Vec<HeaderName>,
    pub(super) musts: Vec<usize>,
}

impl Beside {
    pub(super) fn new(compiled: &CompiledLeg) -> Self {
        let leg = &compiled.leg;
        let mut beside = Self {
            // INVARIANT: nothing that must never cross is on the list, whatever the policy says.
            listed_headers: leg.headers.iter().filter_map(|name| name.parse().ok()).filter(|n| !never(n)).collect(),
            ..Self::default()
        };
        let (mut form, mut folded) = (Vec::new(), Vec::new());
        let (mut parts, mut folded_parts) = (Vec::new(), Vec::new());
        for asker in &compiled.beside {
            let locator = match asker {
                Asker::Rule(index) => leg.rules.get(*index).map(|rule| &rule.locator),
                Asker::Reveal(index) => leg.reveals.get(*index).map(|reveal| &reveal.locator),
                // Guards look into documents only.
                Asker::Guard(_) => None,
            };
            match locator {
                Some(Locator::Capture(name)) => pick(&mut beside.captures, name.as_str().into(), *asker, compiled),
                Some(Locator::Query(name)) => pick(&mut beside.query, name.as_str().into(), *asker, compiled),
                // A fold never widens a `keep`, nor a reveal.
                Some(Locator::Form(name)) if leg.default == Otherwise::Keep && rank(*asker, compiled) > REVEAL_RANK => {
                    pick(&mut folded, text::fold(name).as_ref().into(), *asker, compiled);
                }
                Some(Locator::Form(name)) => pick(&mut form, name.as_str().into(), *asker, compiled),
                Some(Locator::Part(name)) if leg.default == Otherwise::Keep && rank(*asker, compiled) > REVEAL_RANK => {
                    pick(&mut folded_parts, text::fold(name).as_ref().into(), *asker, compiled);
                }
                Some(Locator::Part(name)) => pick(&mut parts, name.as_str().into(), *asker, compiled),
                Some(Locator::Event(name)) => pick(&mut beside.events, name.as_str().into(), *asker, compiled),
                Some(Locator::Cookie(name)) => pick(&mut beside.cookies, name.as_str().into(), *asker, compiled),
                Some(Locator::Header(name)) => {
                    if let Ok(name) = name.parse::<HeaderName>()
                        && !never(&name)
                    {
                        pick(&mut beside.headers, name, *asker, compiled);
                    }
                }
                Some(Locator::Path(_) | Locator::InPart { .. }) | None => {}
            }
            if let Asker::Rule(index) = asker
                && leg.rules.get(*index).is_some_and(|rule| rule.must && !rule.locator.is_in_body())
            {
                beside.musts.push(*index);
            }
        }
        beside.form = Names { exact: form.into_iter().collect(), folded: folded.into_iter().collect() };
        beside.parts = Names { exact: parts.into_iter().collect(), folded: folded_parts.into_iter().collect() };
        beside
    }
}

/// Rules by name.
#[derive(Debug, Default)]
struct Names {
    exact: HashMap<Arc<str>, Pick>,
    /// By folded name. A rule that is compared folded is stricter than one that is not.
    folded: HashMap<Arc<str>, Pick>,
}

impl Names {
    fn find(&self, name: &str) -> Option<Pick> {
        let folded = if self.folded.is_empty() { None } else { self.folded.get(text::fold(name).as_ref()) };
        folded.or_else(|| self.exact.get(name)).copied()
    }
}

impl Beside {
    /// Which rule decides on a pair of a form.
    pub(super) fn form(&self, name: &str) -> Option<Pick> {
        self.form.find(name)
    }

    /// Which rule decides on a part.
    pub(super) fn part(&self, name: &str) -> Option<Pick> {
        self.parts.find(name)
    }

    /// Which rule decides on this line of an event.
    pub(super) fn event(&self, line: &str) -> Option<Pick> {
        self.events.iter().find(|(known, _)| **known == *line).map(|(_, pick)| *pick)
    }
}

/// Puts `asker` where it is the strictest at its place.
fn pick<K: PartialEq>(list: &mut Vec<(K, Pick)>, key: K, asker: Asker, compiled: &CompiledLeg) {
    let Some((_, known)) = list.iter_mut().find(|(known, _)| *known == key) else {
        list.push((key, Pick::One(asker)));
        return;
    };
    let Pick::One(other) = *known else { return };
    let (new, old) = (rank(asker, compiled), rank(other, compiled));
    if new > old {
        *known = Pick::One(asker);
    } else if new == old && !same(asker, other, compiled) {
        *known = Pick::Clash;
    }
}

/// The order of strictness (`policy-language`: Rules).
fn rank(asker: Asker, compiled: &CompiledLeg) -> u8 {
    let Asker::Rule(index) = asker else { return REVEAL_RANK };
    compiled.leg.rules.get(index).map_or(u8::MAX, |rule| rule.action.rank())
}

/// Whether two askers of one rank leave the same thing behind.
fn same(one: Asker, other: Asker, compiled: &CompiledLeg) -> bool {
    let leg = &compiled.leg;
    match (one, other) {
        (Asker::Rule(a), Asker::Rule(b)) => match (leg.rules.get(a), leg.rules.get(b)) {
            (Some(a), Some(b)) => !clash::differ(a, b),
            _ => false,
        },
        (Asker::Reveal(a), Asker::Reveal(b)) => match (leg.reveals.get(a), leg.reveals.get(b)) {
            (Some(a), Some(b)) => !clash::reveals_differ(a, b),
            _ => false,
        },
        _ => false,
    }
}
