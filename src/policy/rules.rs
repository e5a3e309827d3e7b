//! Rules and reveals: where they look, what kind of data it is, and what they are called.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::ids::{Category, Direction, Leg, RuleId};
use crate::json::path::{Path, Selector};

use super::rule::{Action, Identify, Locator, Plain, Reveal, Rule};
use super::source::{Report, Section, Text, list, near, quote};
use super::{actions, codes, headers, inside, partner, shapes};

/// What a rule may say.
pub const RULE_KEYS: &[&str] = &[
    "path",
    "query",
    "header",
    "capture",
    "cookie",
    "event",
    "form",
    "part",
    "do",
    "is",
    "reason",
    "except",
    "must",
    "whole",
    "with",
    "to",
    "as",
    "normalize",
    "store",
    "once",
    "ttl",
    "keep_first",
    "keep_last",
    "same_length",
    "inside",
    "keep",
    "fields",
    "reveal",
    "default",
    "names",
    "id",
];

/// What a reveal may say.
pub const REVEAL_KEYS: &[&str] =
    &["path", "query", "header", "capture", "cookie", "event", "form", "part", "is", "as", "plain", "id"];

const LOCATORS: &[&str] = &["path", "query", "header", "capture", "cookie", "event", "form", "part"];

/// The leg that a rule stands in.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// `inbound.response`
    pub name: &'a str,
    /// Who calls.
    pub direction: Direction,
    /// Which half.
    pub leg: Leg,
    /// The route's captures; `None` where the route could not be read.
    pub captures: Option<&'a [String]>,
    /// Whether the body is JSON.
    pub json: bool,
    /// Whether the body is an event stream.
    pub events: bool,
    /// Whether the body is a form.
    pub form: bool,
    /// Whether the body is made of parts.
    pub parts: bool,
    /// How the partner proves who it is: its credential is never sent on.
    pub identify: &'a Identify,
    /// Strings and codings around the rule.
    pub depth: usize,
    /// Whether they stand beside the body.
    pub beside: bool,
}

impl Around<'_> {
    /// Whether what crosses this leg leaves to the partner.
    pub fn discloses(&self) -> bool {
        self.leg.discloses(self.direction)
    }

    /// Why this header cannot be named on this leg.
    pub fn refuse_header(&self, name: &str) -> Option<&'static str> {
        let arrives = self.direction == Direction::Inbound && self.leg == Leg::Request;
        let key = self.identify.api_key.as_ref().is_some_and(|key| key.header == name);
        let token = self.identify.jwt.is_some() && name == "authorization";
        if headers::is_never(name) {
            Some("the proxy checks it, makes its own, or sends none")
        } else if arrives && (key || token) {
            Some("it carries the partner's credential, which is never sent on")
        } else {
            None
        }
    }
}

/// A rule that has its name only if it asks for one.
#[derive(Debug)]
pub struct Draft<T> {
    /// With an empty id, where it asks for none.
    pub thing: T,
    /// `id = "…"`, of the rules inside it too.
    pub ids: Vec<(String, Range<usize>)>,
}

/// The rules of a leg, or of the inside of a string.
#[derive(Debug, Default)]
pub struct Found {
    /// `keep` and `fields`, in the order of the file.
    pub rules: Vec<Draft<Rule>>,
    /// `reveal`
    pub reveals: Vec<Draft<Reveal>>,
    /// Whether all of them could be read.
    pub whole: bool,
}

/// Reads `keep`, `fields` and `reveal`.
pub fn all(report: &mut Report<'_>, section: &Section<'_, '_>, around: &Around<'_>) -> Found {
    let mut found = Found { whole: true, ..Found::default() };
    let fields = section.sections(report, "fields", "rule", RULE_KEYS);
    let kept = section.texts(report, "keep");
    let reveals = section.sections(report, "reveal", "reveal", REVEAL_KEYS);
    if around.json || around.form || around.parts {
        for text in &kept {
            let draft = keep(report, text, around);
            found.whole &= draft.is_some();
            found.rules.extend(draft);
        }
    }
    for field in &fields {
        let draft = rule(report, field, around);
        found.whole &= draft.is_some();
        found.rules.extend(draft);
    }
    for item in &reveals {
        let draft = reveal(report, item, around);
        found.whole &= draft.is_some();
        found.reveals.extend(draft);
    }
    // In the order of the file: `fields` may stand before `keep`.
    found.rules.sort_by_key(|draft| draft.thing.place.span.start);
    found
}

/// Reads one of `fields`.
pub fn rule(report: &mut Report<'_>, section: &Section<'_, '_>, around: &Around<'_>) -> Option<Draft<Rule>> {
    unsupported(report, section);
    let locator = locator(report, section, around);
    let mut ids: Vec<_> = explicit_id(report, section).into_iter().collect();
    let id = RuleId::new(ids.first().map_or("", |(id, _)| id));
    let action = if section.has("inside") {
        inside::parse::inside(report, section, around, locator.as_ref(), &mut ids).map(Action::Inside)
    } else {
        inside::parse::stray(report, section);
        actions::action(report, section, locator.as_ref())
    };
    let category = category(report, section);
    let reason = section.text(report, "reason").map(|text| text.value.to_owned());
    let normalize = shapes::normalize(report, section, action.as_ref());
    let must = section.boolean(report, "must").unwrap_or(false);
    let except: Vec<Option<Path>> = section.texts(report, "except").iter().map(|text| path(report, text)).collect();
    let outside = locator.as_ref().is_some_and(|locator| !locator.is_path());
    let in_body = locator.as_ref().is_none_or(Locator::is_in_body);
    for (key, beside) in [("except", outside), ("must", !in_body || around.beside)] {
        if beside && section.has(key) {
            report.error_with(
                codes::ACTION_BESIDE,
                section.key_span(key),
                format!("{}: `{key}` speaks of a body", section.name),
                "leave it out: this rule looks outside the body",
            );
        }
    }
    let place = report.place(section.span.clone());
    let thing = Rule {
        id,
        locator: locator?,
        except: except.into_iter().collect::<Option<_>>()?,
        action: action?,
        category: category?,
        normalize: normalize?,
        reason,
        must,
        place,
    };
    Some(Draft { thing, ids })
}

/// One of `keep = […]`.
pub fn keep(report: &mut Report<'_>, text: &Text<'_>, around: &Around<'_>) -> Option<Draft<Rule>> {
    // After a complaint about the body it could be either.
    let name = (around.form || around.parts) && !(around.json && text.value.starts_with('$'));
    let locator = match name {
        true if around.parts => Locator::Part(text.value.to_owned()),
        true => Locator::Form(text.value.to_owned()),
        false => Locator::Path(path(report, text)?),
    };
    let place = report.place(text.span.clone());
    let thing = Rule {
        id: RuleId::new(""),
        locator,
        except: Vec::new(),
        action: Action::Keep { whole: false },
        category: None,
        normalize: None,
        reason: None,
        must: false,
        place,
    };
    Some(Draft { thing, ids: Vec::new() })
}

/// Reads one of `reveal`.
pub fn reveal(report: &mut Report<'_>, section: &Section<'_, '_>, around: &Around<'_>) -> Option<Draft<Reveal>> {
    let locator = locator(report, section, around);
    if !section.has("is") {
        report.error_with(
            codes::MISSING_KEY,
            section.span.clone(),
            "reveal: `is` is missing",
            "name the category under which the token was issued: `is = \"contact.email\"`",
        );
    }
    let category = category(report, section);
    let shape = shapes::shape(report, section);
    let id = explicit_id(report, section);
    let plain = match section.text(report, "plain") {
        None => Plain::Refuse,
        Some(text) => match text.value {
            "refuse" => Plain::Refuse,
            "pass" => Plain::Pass,
            other => {
                let message = format!("reveal: `plain` {} is not known", quote(other));
                report.error_with(codes::BAD_VALUE, text.span, message, "write `refuse` or `pass`");
                return None;
            }
        },
    };
    let place = report.place(section.span.clone());
    let shape = match shape {
        None => None,
        Some(read) => Some(read?),
    };
    let ids: Vec<_> = id.into_iter().collect();
    let id = RuleId::new(ids.first().map_or("", |(id, _)| id));
    let thing = Reveal { id, locator: locator?, category: category??, shape, plain, place };
    Some(Draft { thing, ids })
}

fn unsupported(report: &mut Report<'_>, section: &Section<'_, '_>) {
    for (key, help) in [("names", "list the members by name; a member appears only once something in it is kept")] {
        if section.has(key) {
            let message = format!("{}: `{key}` is not supported by this version", section.name);
            report.error_with(codes::UNSUPPORTED, section.key_span(key), message, help);
        }
    }
}

/// `Some(None)` where there is none, `None` after a complaint.
fn category(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Option<Category>> {
    match section.text(report, "is") {
        Some(text) => partner::name(report, &text, "category", Category::parse).map(Some),
        None if section.has("is") => None,
        None => Some(None),
    }
}

fn explicit_id(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<(String, Range<usize>)> {
    let text = section.text(report, "id")?;
    let id = partner::name(report, &text, "rule id", Category::parse)?;
    Some((id.to_string(), text.span))
}

/// Reads a JSONPath.
pub fn path(report: &mut Report<'_>, text: &Text<'_>) -> Option<Path> {
    match Path::parse(text.value) {
        Ok(path) => Some(path),
        Err(error) => {
            let mut span = text.span.clone();
            if report.is_plain(text) {
                let at = (span.start + 1 + error.offset).min(span.end.saturating_sub(1));
                span = at..at + text.value.get(error.offset..).and_then(|t| t.chars().next()).map_or(1, char::len_utf8);
            }
            let message = format!("path {}: {}", quote(text.value), error.message);
            report.error_maybe(codes::BAD_PATH, span, message, error.help);
            None
        }
    }
}

fn locator(report: &mut Report<'_>, section: &Section<'_, '_>, around: &Around<'_>) -> Option<Locator> {
    let written: Vec<&str> = LOCATORS.iter().copied().filter(|key| section.has(key)).collect();
    if written == ["path", "part"] {
        let (path_text, part_text) = (section.required_text(report, "path")?, section.required_text(report, "part")?);
        let path = path(report, &path_text)?;
        let part = part(report, &part_text, around)?.value.to_owned();
        return Some(Locator::InPart { part, path });
    }
    let [key] = written.as_slice() else {
        let message = match written.as_slice() {
            [] => format!("{}: it does not say where to look", section.name),
            several => format!("{}: it looks at several places: {}", section.name, list(several)),
        };
        let help = "write one of `path`, `query`, `header`, `capture` and `cookie`; a second place is a second rule";
        report.error_with(codes::LOCATOR, section.span.clone(), message, help);
        return None;
    };
    let text = section.required_text(report, key)?;
    let key_span = section.key_span(key);
    let own = if around.form { "form" } else { "path" };
    if around.depth > 0 && *key != own {
        let what = if around.form { "a form in a string" } else { "a string" };
        let message = format!("{}: inside {what} there is no `{key}`", section.name);
        let help = match own {
            "form" => "write `form`: the name of the pair",
            _ => "write `path`: where it is in the JSON inside the string",
        };
        report.error_with(codes::LOCATOR_LEG, key_span, message, help);
        return None;
    }
    match *key {
        "form" => form(report, &text, around),
        "part" => part(report, &text, around).map(|text| Locator::Part(text.value.to_owned())),
        "path" => {
            let path = path(report, &text)?;
            if !around.json {
                let message = format!("{}: the body of `{}` is not read as JSON", section.name, around.name);
                report.error_with(codes::NOT_JSON, key_span, message, "leave `body` out, or the rule");
                return None;
            }
            Some(Locator::Path(path))
        }
        "header" => header(report, &text, around).map(Locator::Header),
        "event" => event(report, &text, around),
        _ if around.leg != Leg::Request => {
            report.error_with(
                codes::LOCATOR_LEG,
                key_span,
                format!("{}: a {} has no `{key}`", section.name, around.leg.as_str()),
                "write it in the request leg, or use `path` or `header`",
            );
            None
        }
        "query" => Some(Locator::Query(text.value.to_owned())),
        "capture" => capture(report, &text, around),
        _ => {
            let token = |b: u8| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&b);
            if !text.value.bytes().all(token) {
                report.error(codes::BAD_NAME, text.span, format!("cookie {} is no name (RFC 6265)", quote(text.value)));
                return None;
            }
            Some(Locator::Cookie(text.value.to_owned()))
        }
    }
}

fn part<'t, 'a>(report: &mut Report<'_>, text: &'t Text<'a>, around: &Around<'_>) -> Option<&'t Text<'a>> {
    if around.parts {
        return Some(text);
    }
    let message = format!("the body of `{}` has no parts", around.name);
    report.error_with(
        codes::NOT_JSON,
        text.span.clone(),
        message,
        "write `body = \"multipart\"`, or leave the rule out",
    );
    None
}

fn form(report: &mut Report<'_>, text: &Text<'_>, around: &Around<'_>) -> Option<Locator> {
    if around.form {
        return Some(Locator::Form(text.value.to_owned()));
    }
    let message = format!("the body of `{}` is not a form", around.name);
    report.error_with(codes::NOT_JSON, text.span.clone(), message, "write `body = \"form\"`, or leave the rule out");
    None
}

/// A line of an event. Names of events and the time of `retry` have ways of their own.
fn event(report: &mut Report<'_>, text: &Text<'_>, around: &Around<'_>) -> Option<Locator> {
    if !around.events {
        let message = format!("the body of `{}` has no events", around.name);
        report.error_with(codes::NOT_JSON, text.span.clone(), message, "write `body = \"sse\"`, or leave the rule out");
        return None;
    }
    if !["id", "comment"].contains(&text.value) {
        let message = format!("event {} is no line that a rule may name", quote(text.value));
        let help = "lines are `id` and `comment`; data is reached by `path`, and names are listed in `events`";
        report.error_with(codes::BAD_VALUE, text.span.clone(), message, help);
        return None;
    }
    Some(Locator::Event(text.value.to_owned()))
}

fn capture(report: &mut Report<'_>, text: &Text<'_>, around: &Around<'_>) -> Option<Locator> {
    let captures = around.captures?;
    if captures.iter().any(|name| name == text.value) {
        return Some(Locator::Capture(text.value.to_owned()));
    }
    let names: Vec<&str> = captures.iter().map(String::as_str).collect();
    let help = near(text.value, &names, "captures");
    let message = format!("capture {} is not in the route", quote(text.value));
    report.error_with(codes::CAPTURE_UNKNOWN, text.span.clone(), message, help);
    None
}

/// A header's name in lower case, if a policy may name it here.
pub fn header(report: &mut Report<'_>, text: &Text<'_>, around: &Around<'_>) -> Option<String> {
    let lower = text.value.to_ascii_lowercase();
    if http::HeaderName::try_from(lower.as_str()).is_err() {
        report.error(codes::BAD_NAME, text.span.clone(), format!("{} is no header name (RFC 9110)", quote(text.value)));
        return None;
    }
    if let Some(why) = around.refuse_header(&lower) {
        let message = format!("header {} cannot be named on `{}`", quote(text.value), around.name);
        report.error_with(codes::HEADER_NEVER, text.span.clone(), message, why);
        return None;
    }
    if lower == "cookie" && around.leg == Leg::Request {
        let message = "header `cookie` cannot be named: its cookies are";
        report.error_with(codes::HEADER_NEVER, text.span.clone(), message, "write `cookie = \"name\"`");
        return None;
    }
    Some(lower)
}

/// Gives every rule and reveal of a leg its name: the one that it asks for, or one from its place, made unique. Rules inside
/// strings come last, so that they do not change the names of others.
pub fn name_all(report: &mut Report<'_>, found: Found) -> (Vec<Rule>, Vec<Reveal>) {
    let mut taken = BTreeSet::new();
    let written = found.rules.iter().map(|draft| &draft.ids).chain(found.reveals.iter().map(|draft| &draft.ids));
    for (id, span) in written.flatten() {
        if !taken.insert(id.clone()) {
            let message = format!("rule id `{id}` occurs twice in its leg");
            report.error_with(codes::ID_TWICE, span.clone(), message, "records name the rule by it: choose another");
        }
    }
    let mut rules: Vec<Rule> = found.rules.into_iter().map(|draft| draft.thing).collect();
    let mut reveals: Vec<Reveal> = found.reveals.into_iter().map(|draft| draft.thing).collect();
    name(&mut taken, &mut rules, &mut reveals, "");
    (rules, reveals)
}

/// `around` is the name of the rule that opens the string around them.
fn name(taken: &mut BTreeSet<String>, rules: &mut [Rule], reveals: &mut [Reveal], around: &str) {
    let mut choose = |locator: &Locator, verb: &str| {
        let stem = match (around, derive(locator)) {
            ("", own) => own,
            (around, own) if own.is_empty() => format!("{around}.{verb}"),
            (around, own) => format!("{around}.{own}"),
        };
        RuleId::new(&free(taken, &stem.chars().take(100).collect::<String>(), verb))
    };
    for rule in rules.iter_mut().filter(|rule| rule.id.as_str().is_empty()) {
        rule.id = choose(&rule.locator, rule.action.name());
    }
    for reveal in reveals.iter_mut().filter(|reveal| reveal.id.as_str().is_empty()) {
        reveal.id = choose(&reveal.locator, "reveal");
    }
    for rule in rules {
        if let Action::Inside(inside) = &mut rule.action {
            let leg = Arc::make_mut(&mut inside.leg);
            name(taken, &mut leg.rules, &mut leg.reveals, rule.id.as_str());
        }
    }
}

/// `customer.email`, `items.sku`, `header.x-operator`; empty where a path names nothing.
fn derive(locator: &Locator) -> String {
    let (head, text) = match locator {
        Locator::Path(path) => {
            let segment = |selectors: &[Selector]| {
                let names = selectors.iter().filter_map(|selector| match selector {
                    Selector::Name(name) => Some(clean(name)),
                    _ => None,
                });
                names.collect::<Vec<_>>().join("+")
            };
            let names = path.segments().iter().map(|s| segment(&s.selectors)).filter(|name| !name.is_empty());
            ("", names.collect::<Vec<_>>().join("."))
        }
        Locator::Query(name) => ("query.", clean(name)),
        Locator::Header(name) => ("header.", clean(name)),
        Locator::Capture(name) => ("capture.", clean(name)),
        Locator::Cookie(name) => ("cookie.", clean(name)),
        Locator::Event(name) => ("event.", clean(name)),
        Locator::Form(name) => ("form.", clean(name)),
        Locator::Part(name) => ("part.", clean(name)),
        Locator::InPart { part, path } => ("part.", {
            let path = derive(&Locator::Path(path.clone()));
            if path.is_empty() { clean(part) } else { format!("{}.{path}", clean(part)) }
        }),
    };
    let mut id = format!("{head}{text}");
    id.truncate(64); // Only ASCII.
    id
}

fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).collect()
}

fn free(taken: &mut BTreeSet<String>, stem: &str, verb: &str) -> String {
    if !stem.is_empty() && taken.insert(stem.to_owned()) {
        return stem.to_owned();
    }
    let (stem, first) = if stem.is_empty() { (verb, 1_usize) } else { (stem, 2) };
    let mut number = first;
    loop {
        let id = format!("{stem}-{number}");
        if taken.insert(id.clone()) {
            return id;
        }
        number += 1;
    }
}
