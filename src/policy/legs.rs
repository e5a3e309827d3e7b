//! `[[inbound]]`, `[[outbound]]` and their legs: from sections to checked values.

use std::sync::Arc;

use crate::ids::{Direction, Leg as Half, UpstreamId};
use crate::json::automaton::Otherwise;

use super::route::Template;
use super::rule::{Action, BodyKind, Identify, Leg, Locator, Route};
use super::rules::Around;
use super::source::{Report, Section, Text, list, near, quote};
use super::{caution, clash, codes, headers, kept, partner, rules};

/// What a route may say.
pub const ROUTE_KEYS: &[&str] = &["match", "upstream", "request", "response", "error"];

const LEG_KEYS: &[&str] = &[
    "body",
    "reason",
    "default",
    "keep",
    "fields",
    "reveal",
    "query",
    "headers",
    "default_headers",
    "events",
    "literals",
    "subject",
];

/// Methods that a route may name. `CONNECT` and `TRACE` have no body that could be held to rules.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"];

/// Reads one route.
pub fn route(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    direction: Direction,
    identify: &Identify,
) -> Option<Route> {
    let matched = section.required_text(report, "match");
    let pattern = matched.as_ref().map(|text| pattern(report, text));
    let upstream = section
        .required_text(report, "upstream")
        .and_then(|text| partner::name(report, &text, "upstream", UpstreamId::parse));
    let template = pattern.as_ref().and_then(|pattern| pattern.as_ref()).map(|(_, template)| template);
    let captures: Vec<String> = template.map(|t| t.captures().map(str::to_owned).collect()).unwrap_or_default();
    // Without its template, every capture that a rule names would be said to be unknown: that would be noise.
    let known = template.is_some();
    let mut leg = |key: &str, half: Half| {
        let name = format!("{}.{key}", direction.as_str());
        let sub = section.section(report, key, format!("[{name}]"), LEG_KEYS);
        let around = |json| Around {
            name: &name,
            direction,
            leg: half,
            captures: known.then_some(captures.as_slice()),
            json,
            events: false,
            form: false,
            parts: false,
            identify,
            depth: 0,
            beside: false,
        };
        match sub {
            Some(sub) => self::leg(report, &sub, &around),
            None if section.has(key) => None,
            None => Some(empty(half, direction)),
        }
    };
    let request = leg("request", Half::Request);
    let response = leg("response", Half::Response);
    let error = if section.has("error") { Some(leg("error", Half::Response)) } else { None };
    if let (Direction::Outbound, Some(request), Some(text)) = (direction, &request, &matched) {
        unruled(report, text, &captures, request);
    }
    let (methods, template) = pattern??;
    let place = report.place(section.span.clone());
    Some(Route {
        direction,
        pattern: Arc::from(matched?.value),
        methods,
        template,
        upstream: upstream?,
        request: request?,
        response: response?,
        error: match error {
            Some(read) => Some(read?),
            None => None,
        },
        place,
    })
}

/// A leg that the file does not mention.
fn empty(half: Half, direction: Direction) -> Leg {
    Leg {
        body: BodyKind::Json,
        default: if half.discloses(direction) { Otherwise::Drop } else { Otherwise::Keep },
        rules: Vec::new(),
        reveals: Vec::new(),
        query: Vec::new(),
        headers: Vec::new(),
        default_headers: true,
        events: None,
        literals: Vec::new(),
        subject: None,
    }
}

fn pattern(report: &mut Report<'_>, text: &Text<'_>) -> Option<(Vec<String>, Template)> {
    let mut fail = |message: String, help: String| {
        report.error_with(codes::BAD_MATCH, text.span.clone(), format!("route {}: {message}", quote(text.value)), help);
        None
    };
    let Some((methods, path)) = text.value.split_once(' ') else {
        return fail("method and path are wanted".into(), "write `GET /v1/orders/{id}`".into());
    };
    let mut found: Vec<String> = Vec::new();
    for method in methods.split(',') {
        if !METHODS.contains(&method) {
            let upper = method.to_ascii_uppercase();
            let help = match METHODS.iter().copied().find(|known| *known == upper) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("methods are {}, several with a comma between: `GET,POST`", list(METHODS)),
            };
            return fail(format!("unknown method {}", quote(method)), help);
        }
        if found.iter().any(|m| m == method) {
            return fail(format!("method `{method}` occurs twice"), "name it once".into());
        }
        found.push(method.to_owned());
    }
    if found.iter().any(|m| m == "GET") {
        found.retain(|m| m != "HEAD");
    }
    match Template::parse(path) {
        Ok(template) => Some((found, template)),
        Err(message) => fail(message, "write `/v1/orders/{id}`: whole segments, no query, no `/` at the end".into()),
    }
}

/// What our own caller puts into the path would leave unseen.
fn unruled(report: &mut Report<'_>, text: &Text<'_>, captures: &[String], leg: &Leg) {
    for name in captures {
        let ruled = leg.rules.iter().any(|rule| matches!(&rule.locator, Locator::Capture(n) if n == name));
        if !ruled {
            report.error_with(
                codes::CAPTURE_UNRULED,
                text.span.clone(),
                format!("capture `{name}` leaves to the partner without a rule"),
                format!(
                    "add `{{ capture = \"{name}\", do = \"tokenize\" }}` to `outbound.request`, or `do = \"keep\"` if it \
                     may be seen"
                ),
            );
        }
    }
}

fn leg<'a>(report: &mut Report<'_>, section: &Section<'_, '_>, around: &dyn Fn(bool) -> Around<'a>) -> Option<Leg> {
    let body = body(report, section);
    let json = body.as_ref().is_some_and(BodyKind::has_paths);
    // After a complaint about `body`, complaints about paths into it would be noise.
    let events = body.as_ref().is_none_or(|body| *body == BodyKind::Sse);
    let form = body.as_ref().is_none_or(|body| *body == BodyKind::Form);
    let parts = body.as_ref().is_none_or(|body| *body == BodyKind::Multipart);
    let around = Around { events, form, parts, ..around(json || body.is_none()) };
    let default = default(report, section, &around);
    if !around.json {
        let fields = matches!(body, Some(BodyKind::Form | BodyKind::Multipart));
        let keys = ["keep", "subject", "default"].into_iter().filter(|key| !fields || *key == "subject");
        for key in keys.filter(|key| section.has(key)) {
            let message = format!("{}: `{key}` speaks of a JSON body, and this leg has none", section.name);
            report.error_with(codes::NOT_JSON, section.key_span(key), message, "leave it out, or `body`");
        }
    }
    misplaced(report, section, &around);

    let found = rules::all(report, section, &around);
    let whole = found.whole;
    let (rules, reveals) = rules::name_all(report, found);

    let query = section.texts(report, "query").iter().map(|text| text.value.to_owned()).collect();
    let headers = headers_list(report, section, &around);
    let default_headers = section.boolean(report, "default_headers").unwrap_or(true);
    let owned = |texts: Vec<Text<'_>>| texts.iter().map(|text| text.value.to_owned()).collect();
    let events = section.has("events").then(|| owned(section.texts(report, "events")));
    let literals = owned(section.texts(report, "literals"));
    let subject = section.text(report, "subject").map(|text| rules::path(report, &text));
    let leg = Leg {
        body: body?,
        default,
        rules,
        reveals,
        query,
        headers,
        default_headers,
        events,
        literals,
        subject: match subject {
            Some(path) => Some(path?),
            None => None,
        },
    };
    unread(report, &leg, around.name);
    kept::subject(report, section, &leg);
    for on in leg.deep_legs() {
        clash::check(report, on.leg);
        if around.discloses() {
            caution::check(report, on.leg, around.name);
        }
    }
    whole.then_some(leg)
}

/// Files that pass unread are told of on every run.
fn unread(report: &mut Report<'_>, leg: &Leg, name: &str) {
    for rule in &leg.rules {
        if let (Locator::Part(part), Action::Keep { whole: true }, Some(reason)) =
            (&rule.locator, &rule.action, &rule.reason)
        {
            let message = format!("[{name}]: part {} passes unread, with the reason {}", quote(part), quote(reason));
            report.note(codes::OPAQUE_BODY, rule.place.span.clone(), message);
        }
    }
}

fn body(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<BodyKind> {
    const KINDS: &[&str] = &["json", "ndjson", "sse", "form", "multipart", "none", "opaque"];
    let reason = section.text(report, "reason");
    let Some(text) = section.text(report, "body") else {
        if let (Some(reason), false) = (reason, section.has("body")) {
            let message = format!("{}: `reason` belongs to `body = \"opaque\"`", section.name);
            report.error_with(codes::LEG_KEY, reason.span, message, "write the reason into the rule that it explains");
        }
        return (!section.has("body")).then_some(BodyKind::Json);
    };
    match text.value {
        "json" => Some(BodyKind::Json),
        "ndjson" => Some(BodyKind::Ndjson),
        "sse" => Some(BodyKind::Sse),
        "form" => Some(BodyKind::Form),
        "multipart" => Some(BodyKind::Multipart),
        "none" => Some(BodyKind::None),
        "opaque" => match reason.filter(|reason| !reason.value.trim().is_empty()) {
            Some(reason) => {
                let why = quote(reason.value);
                report.note(
                    codes::OPAQUE_BODY,
                    text.span,
                    format!("{}: the body passes unread, with the reason {why}", section.name),
                );
                Some(BodyKind::Opaque { reason: reason.value.to_owned() })
            }
            None => {
                report.error_with(
                    codes::MISSING_KEY,
                    text.span,
                    format!("{}: `body = \"opaque\"` needs a `reason`", section.name),
                    "such a body passes unread: say why that may be",
                );
                None
            }
        },
        other => {
            let help = near(other, KINDS, "bodies");
            let message = format!("{}: unknown kind of body {}", section.name, quote(other));
            report.error_with(codes::BAD_VALUE, text.span, message, help);
            None
        }
    }
}

/// Reads `default`.
pub fn default(report: &mut Report<'_>, section: &Section<'_, '_>, around: &Around<'_>) -> Otherwise {
    let strictest = if around.discloses() { Otherwise::Drop } else { Otherwise::Keep };
    let Some(text) = section.text(report, "default") else {
        return strictest;
    };
    match text.value {
        "drop" => Otherwise::Drop,
        "keep" => {
            if around.discloses() {
                report.warning_with(
                    codes::DEFAULT_KEEP,
                    text.span,
                    format!("{}: what no rule lists leaves to the partner, also fields added later", section.name),
                    "list what may leave under `keep`, and leave `default` out",
                );
            }
            Otherwise::Keep
        }
        "refuse" => Otherwise::Refuse,
        other => {
            let message = format!("{}: unknown default {}", section.name, quote(other));
            report.error_with(codes::BAD_VALUE, text.span, message, "defaults are `drop`, `keep` and `refuse`");
            strictest
        }
    }
}

/// Keys that only some legs have.
fn misplaced(report: &mut Report<'_>, section: &Section<'_, '_>, around: &Around<'_>) {
    reveal_misplaced(report, section, around);
    for key in ["events", "literals"].into_iter().filter(|key| section.has(key) && !around.events) {
        report.error_with(
            codes::LEG_KEY,
            section.key_span(key),
            format!("{}: `{key}` speaks of events, and this body has none", section.name),
            "leave it out, or write `body = \"sse\"`",
        );
    }
    if section.has("query") && around.leg == Half::Response {
        report.error_with(
            codes::LEG_KEY,
            section.key_span("query"),
            format!("{}: a response has no `query`", section.name),
            "write it in the request leg",
        );
    }
}

/// Complains of `reveal` in what leaves.
pub fn reveal_misplaced(report: &mut Report<'_>, section: &Section<'_, '_>, around: &Around<'_>) {
    if section.has("reveal") && around.discloses() {
        report.error_with(
            codes::LEG_KEY,
            section.key_span("reveal"),
            format!("{}: `reveal` on a leg that leaves to the partner", section.name),
            "tokens are turned back only in what arrives: `inbound.request` and `outbound.response`",
        );
    }
}

fn headers_list(report: &mut Report<'_>, section: &Section<'_, '_>, around: &Around<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for text in section.texts(report, "headers") {
        let Some(name) = rules::header(report, &text, around) else { continue };
        if headers::is_rule_only(&name) {
            report.error_with(
                codes::HEADER_NEEDS_RULE,
                text.span,
                format!("header {} passes only by a rule", quote(text.value)),
                format!(
                    "say what becomes of it: `fields = [{{ header = \"{name}\", do = \"keep\", reason = \"…\" }}]`"
                ),
            );
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
