//! Reads `inside`, and the rules below it.

use std::ops::Range;
use std::sync::Arc;

use crate::policy::rule::{BodyKind, Leg, Locator};
use crate::policy::rules::{self, Around};
use crate::policy::source::{Report, Section, Text, near, quote};
use crate::policy::{actions, codes, legs};

use super::Inside;
use super::coding::Coding;

/// So many strings and codings in each other at most: every one is held, decoded, beside the others.
pub const DEPTH_MAX: usize = 6;

/// What a rule with `inside` says of the strings that it opens.
const OWN: &[&str] = &["keep", "fields", "reveal", "default"];

const WORDS: &[&str] = &["json", "form", "base64", "base64url"];

/// The keys of rules inside strings, on a rule that opens none.
pub fn stray(report: &mut Report<'_>, section: &Section<'_, '_>) {
    for key in OWN.iter().filter(|key| section.has(key)) {
        let message =
            format!("{}: `{key}` speaks of what is inside a string, and nothing says what that is", section.name);
        report.error_with(codes::SETTING_STRAY, section.key_span(key), message, "add `inside = \"json\"`");
    }
}

/// Reads a rule's `inside`; its rules have no names yet, but those that they ask for, which are added to `ids`. `locator` is the rule's
/// own, where it could be read.
pub fn inside(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    around: &Around<'_>,
    locator: Option<&Locator>,
    ids: &mut Vec<(String, Range<usize>)>,
) -> Option<Inside> {
    for (key, help) in [
        ("do", "the rules inside say what is done; to act on the whole string, leave `inside` out"),
        ("is", "say in the rules inside what each value is"),
    ] {
        if section.has(key) {
            let message = format!("{}: `{key}` and `inside` on one rule", section.name);
            report.error_with(codes::SETTING_STRAY, section.key_span(key), message, help);
        }
    }
    actions::stray(report, section, "inside");
    if !OWN.iter().any(|key| section.has(key)) {
        report.error_with(
            codes::SETTING_MISSING,
            section.key_span("inside"),
            format!("{}: `inside` without rules", section.name),
            "say what becomes of what is in there: `keep = [\"$.a\"]`, `fields = […]`",
        );
    }
    let opened = codings(report, section);
    let depth = around.depth + opened.as_ref().map_or(1, |(codings, _)| codings.len() + 1);
    let form = opened.as_ref().is_some_and(|(_, body)| *body == BodyKind::Form);
    if depth > DEPTH_MAX {
        report.error_with(
            codes::INSIDE,
            section.key_span("inside"),
            format!("{}: more than {DEPTH_MAX} strings and codings in each other", section.name),
            "keep, drop or replace the string as a whole",
        );
        return None;
    }
    let beside =
        around.beside || locator.is_some_and(|locator| !matches!(locator, Locator::Path(_) | Locator::Form(_)));
    let around = Around { depth, beside, json: !form, events: false, form, parts: around.parts && !form, ..*around };
    legs::reveal_misplaced(report, section, &around);
    let default = legs::default(report, section, &around);
    let found = rules::all(report, section, &around);
    let drafts = found.rules.into_iter().map(|draft| (draft.thing, draft.ids));
    let (rules, of_rules): (Vec<_>, Vec<_>) = drafts.unzip();
    let drafts = found.reveals.into_iter().map(|draft| (draft.thing, draft.ids));
    let (reveals, of_reveals): (Vec<_>, Vec<_>) = drafts.unzip();
    ids.extend(of_rules.into_iter().chain(of_reveals).flatten());
    let (codings, body) = opened?;
    let leg = Leg {
        body,
        default,
        rules,
        reveals,
        query: Vec::new(),
        headers: Vec::new(),
        default_headers: true,
        subject: None,
        events: None,
        literals: Vec::new(),
    };
    found.whole.then_some(Inside { codings, leg: Arc::new(leg) })
}

/// What has to be undone before there is something to read, and what that is. `None` after a complaint.
fn codings(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<(Vec<Coding>, BodyKind)> {
    let words = match section.is_text("inside") {
        true => section.text(report, "inside").into_iter().collect(),
        false => section.texts(report, "inside"),
    };
    if words.is_empty() {
        if section.is_array("inside") {
            let message = format!("{}: `inside` is empty", section.name);
            report.error_with(codes::BAD_VALUE, section.value_span("inside"), message, "write `inside = \"json\"`");
        }
        return None;
    }
    let last = words.len() - 1;
    let (mut codings, mut body) = (Some(Vec::new()), BodyKind::Json);
    for (at, word) in words.iter().enumerate() {
        match word.value {
            "base64" | "base64url" => {
                let coding = if word.value == "base64" { Coding::Base64 } else { Coding::Base64Url };
                codings = codings.map(|codings| [codings.as_slice(), &[coding]].concat());
            }
            "json" if at == last => {}
            "form" if at == last => body = BodyKind::Form,
            _ => {
                refuse(report, section, word);
                codings = None;
            }
        }
    }
    codings.map(|codings| (codings, body))
}

fn refuse(report: &mut Report<'_>, section: &Section<'_, '_>, word: &Text<'_>) {
    let (code, message, help) = match word.value {
        word @ ("json" | "form") => (
            codes::INSIDE,
            format!("nothing can be undone behind `{word}`"),
            "a string in there has a rule of its own, with an `inside` of its own".to_owned(),
        ),
        "jwt" | "jws" | "jwe" => (
            codes::INSIDE,
            format!("a `{}` cannot be edited: the edit would break its signature", word.value),
            "keep, drop or replace it as a whole: `do = \"drop\"`".to_owned(),
        ),
        other => (codes::BAD_VALUE, format!("unknown word {}", quote(other)), near(other, WORDS, "words for `inside`")),
    };
    report.error_with(code, word.span.clone(), format!("{}: {message}", section.name), help);
}
