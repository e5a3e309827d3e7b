//! Which rules make us hold a part of a body until they can be decided, and how much of it.
//!
//! Each value that a rule transforms is held too, up to `value`; that is so of all such rules, and is not said here. Start at [`held`].

use std::fmt;
use std::sync::Arc;

use crate::ids::RuleId;
use crate::json::path::{Class, Path};

use super::codes;
use super::compile::CompiledPolicy;
use super::diagnostic::{Diagnostic, Severity};
use super::rule::{Leg, Limits, Locator, Place};

/// A rule or reveal that makes us hold something.
#[derive(Debug)]
pub struct Held<'l> {
    /// Its name.
    pub id: &'l RuleId,
    /// Where it is written.
    pub place: &'l Place,
    what: String,
}

/// What is held, and how much at most.
impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// All of a leg, those that decide by elements before those that open strings.
#[must_use]
pub fn held<'l>(leg: &'l Leg, limits: &Limits) -> Vec<Held<'l>> {
    let mut found = Vec::new();
    let rules = leg.rules.iter().map(|rule| (&rule.id, &rule.locator, &rule.place));
    for (id, locator, place) in
        rules.chain(leg.reveals.iter().map(|reveal| (&reveal.id, &reveal.locator, &reveal.place)))
    {
        let (Locator::Path(path) | Locator::InPart { path, .. }) = locator else { continue };
        let why = match path.class() {
            Class::Stream => continue,
            Class::Element => elements(path),
            Class::Body => "holds all of what it may select in, at most the body, to decide".to_owned(),
        };
        let what = format!("{why} (at most {} bytes): {}", limits.element_bytes, path.text());
        found.push(Held { id, place, what });
    }
    for (rule, inside) in leg.deep_rules().iter().filter_map(|deep| Some((deep.thing, deep.thing.inside()?))) {
        let (words, most) = (inside.words(), limits.value_bytes);
        let what = format!("holds each string, at most {most} bytes, to open it: {words}");
        found.push(Held { id: &rule.id, place: &rule.place, what });
    }
    found
}

/// What a path of class [`Class::Element`] holds.
fn elements(path: &Path) -> String {
    match (path.from_end(), path.has_filter()) {
        (Some(1), false) => "holds the last element of an array to decide".to_owned(),
        (Some(last), false) => format!("holds the last {last} elements of an array to decide"),
        (Some(last), true) => format!("holds one element, or the last {last} of an array, to decide"),
        (None, _) => "holds one element at a time to decide".to_owned(),
    }
}

/// A note for each rule of a policy that makes us hold something, and for each leg that is held whole.
#[must_use]
pub fn notes(compiled: &CompiledPolicy) -> Vec<Diagnostic> {
    let (policy, mut found) = (&compiled.policy, Vec::new());
    let mut note = |place: &Place, message: String| {
        let (file, span) = (Arc::clone(&place.file), place.span.clone());
        found.push(Diagnostic { code: codes::HELD, severity: Severity::Note, file, span, message, help: None });
    };
    for leg in policy.legs().map(|on| on.leg) {
        for held in held(leg, &policy.limits) {
            note(held.place, format!("rule `{}`: {held}", held.id));
        }
        if let Some(must) = leg.deep_rules().iter().map(|deep| deep.thing).find(|rule| rule.must) {
            let unit = if leg.body.is_stream() { "record" } else { "body" };
            let most = policy.limits.atomic_bytes;
            note(
                &must.place,
                format!(
                    "rule `{}`: says `must`, so that each {unit} is held whole, and is at most {most} bytes",
                    must.id
                ),
            );
        }
    }
    found
}
