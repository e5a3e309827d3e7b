//! What a rule does: `do` and the settings that belong to it.

use std::path::PathBuf;

use crate::ids::Shape;

use super::kept::kept;
use super::route::encode_segment;
use super::rule::{Action, Generalize, Locator, Mask};
use super::source::{Report, Section, Text, list, near, quote};
use super::{codes, shapes};

/// Every action's name, laxest first.
pub const ACTIONS: &[&str] =
    &["keep", "mask", "generalize", "encrypt", "tokenize", "pseudonymize", "replace", "null", "drop"];

/// Every setting and the actions that it belongs to.
const SETTINGS: &[(&str, &[&str])] = &[
    ("whole", &["keep"]),
    ("keep_first", &["mask"]),
    ("keep_last", &["mask"]),
    ("same_length", &["mask"]),
    ("to", &["generalize", "encrypt"]),
    ("as", &["tokenize"]),
    ("normalize", &["tokenize", "pseudonymize"]),
    ("store", &["tokenize"]),
    ("once", &["tokenize"]),
    ("ttl", &["tokenize"]),
    ("with", &["replace"]),
];

impl Action {
    /// Its name in a policy.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keep { .. } => "keep",
            Self::Inside(_) => "inside",
            Self::Mask(_) => "mask",
            Self::Generalize(_) => "generalize",
            Self::Encrypt { .. } => "encrypt",
            Self::Tokenize(_) | Self::Store(_) => "tokenize",
            Self::Pseudonymize => "pseudonymize",
            Self::Replace { .. } => "replace",
            Self::Null => "null",
            Self::Drop => "drop",
        }
    }

    /// Whether it sees the values that it acts on.
    #[must_use]
    pub fn sees_values(&self) -> bool {
        !matches!(self, Self::Keep { .. } | Self::Inside(_) | Self::Replace { .. } | Self::Null | Self::Drop)
    }

    /// Strictness: on one place the highest wins. A reveal stands at [`REVEAL_RANK`].
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self {
            Self::Keep { .. } => 0,
            Self::Inside(_) => 2,
            Self::Mask(_) => 3,
            Self::Generalize(_) => 4,
            Self::Encrypt { .. } => 5,
            Self::Tokenize(_) | Self::Store(_) => 6,
            Self::Pseudonymize => 7,
            Self::Replace { .. } => 8,
            Self::Null => 9,
            Self::Drop => 10,
        }
    }
}

/// Just above `keep`.
pub const REVEAL_RANK: u8 = 1;

/// Reads `do` and its settings. `locator` is `None` where it could not be read.
pub fn action(report: &mut Report<'_>, rule: &Section<'_, '_>, locator: Option<&Locator>) -> Option<Action> {
    if !rule.has("do") {
        report.error_with(
            codes::MISSING_KEY,
            rule.span.clone(),
            format!("{}: `do` is missing", rule.name),
            format!("actions are {}", list(ACTIONS)),
        );
    }
    let verb = rule.text(report, "do")?;
    if !ACTIONS.contains(&verb.value) {
        let meant = match verb.value {
            "remove" | "delete" | "strip" | "redact" | "deny" => "drop",
            "allow" | "pass" => "keep",
            "hash" => "pseudonymize",
            other => other,
        };
        let help = near(meant, ACTIONS, "actions");
        report.error_with(
            codes::UNKNOWN_ACTION,
            verb.span,
            format!("{}: unknown action {}", rule.name, quote(verb.value)),
            help,
        );
        return None;
    }
    stray(report, rule, verb.value);
    let action = match verb.value {
        "keep" => Action::Keep { whole: rule.boolean(report, "whole").unwrap_or(false) },
        "mask" => Action::Mask(mask(report, rule, &verb)?),
        "generalize" => {
            let to = needed(report, rule, &verb, "to", "write `to = \"year\"`")?;
            Action::Generalize(generalize(report, rule, &to)?)
        }
        "encrypt" => {
            let to = needed(report, rule, &verb, "to", "name the partner's public key: `to = \"parcelo.jwk.json\"`")?;
            Action::Encrypt { to: PathBuf::from(to.value) }
        }
        "tokenize" => match kept(report, rule)? {
            Some(kept) => Action::Store(kept),
            None => Action::Tokenize(tokenize(report, rule)?),
        },
        "pseudonymize" => Action::Pseudonymize,
        "replace" => {
            if !rule.has("with") {
                lacks(report, rule, &verb, "with", "write the constant: `with = \"removed\"`");
            }
            Action::Replace { with: rule.json(report, "with")?.into() }
        }
        "null" => Action::Null,
        _ => Action::Drop,
    };
    match locator {
        Some(locator) if !locator.is_path() => beside(report, rule, locator, action, &verb),
        _ => Some(action),
    }
}

/// Complains of settings that belong to other actions than `verb`.
pub fn stray(report: &mut Report<'_>, rule: &Section<'_, '_>, verb: &str) {
    for (setting, actions) in SETTINGS {
        if rule.has(setting) && !actions.contains(&verb) {
            report.error_with(
                codes::SETTING_STRAY,
                rule.key_span(setting),
                format!("{}: `{setting}` says nothing to `{verb}`", rule.name),
                format!("it belongs to {}", list(actions)),
            );
        }
    }
}

fn lacks(report: &mut Report<'_>, rule: &Section<'_, '_>, verb: &Text<'_>, setting: &str, help: &str) {
    let message = format!("{}: action `{}` needs `{setting}`", rule.name, verb.value);
    report.error_with(codes::SETTING_MISSING, verb.span.clone(), message, help);
}

fn needed<'a>(
    report: &mut Report<'_>,
    rule: &Section<'a, '_>,
    verb: &Text<'_>,
    setting: &str,
    help: &str,
) -> Option<Text<'a>> {
    if !rule.has(setting) {
        lacks(report, rule, verb, setting, help);
    }
    rule.text(report, setting)
}

fn mask(report: &mut Report<'_>, rule: &Section<'_, '_>, verb: &Text<'_>) -> Option<Mask> {
    if !rule.has("keep_first") && !rule.has("keep_last") {
        report.error_with(
            codes::SETTING_MISSING,
            verb.span.clone(),
            format!("{}: action `mask` needs to know what to keep", rule.name),
            "write `keep_last = 4`, or use `drop`",
        );
        return None;
    }
    let mut kept = |key| match rule.has(key) {
        true => rule.whole(report, key, 0, 256).map(|n| n as usize),
        false => Some(0),
    };
    let (keep_first, keep_last) = (kept("keep_first"), kept("keep_last"));
    let same_length = rule.boolean(report, "same_length").unwrap_or(false);
    Some(Mask { keep_first: keep_first?, keep_last: keep_last?, same_length })
}

fn tokenize(report: &mut Report<'_>, rule: &Section<'_, '_>) -> Option<Shape> {
    shapes::shape(report, rule).unwrap_or(Some(Shape::Opaque))
}

fn generalize(report: &mut Report<'_>, rule: &Section<'_, '_>, to: &Text<'_>) -> Option<Generalize> {
    let read = || {
        let (kind, size) = to.value.split_once(':').map_or((to.value, None), |(kind, size)| (kind, Some(size)));
        let number = |text: &str, most: u64| {
            let digits = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u64>().ok().filter(|n| digits && (1..=most).contains(n))
        };
        Some(match (kind, size) {
            ("year", None) => Generalize::Year,
            ("month", None) => Generalize::Month,
            ("ip-net", None) => Generalize::IpNet,
            ("age-band", Some(size)) => Generalize::AgeBand(number(size, 100)?.try_into().ok()?),
            ("prefix", Some(size)) => Generalize::Prefix(number(size, 64)?.try_into().ok()?),
            ("bucket", Some(size)) => Generalize::Bucket(number(size, 1 << 53)?),
            ("geo", Some(size)) => {
                let metres = match size.strip_suffix("km") {
                    Some(size) => number(size, 1000)? * 1000,
                    None => number(size.strip_suffix('m')?, 1_000_000)?,
                };
                Generalize::Geo(metres.try_into().ok()?)
            }
            _ => return None,
        })
    };
    let found = read();
    if found.is_none() {
        report.error_with(
            codes::BAD_VALUE,
            to.span.clone(),
            format!("{}: `to` {} is no generalization", rule.name, quote(to.value)),
            "write `year`, `month`, `age-band:10`, `prefix:3`, `ip-net`, `bucket:100` or `geo:1km`",
        );
    }
    found
}

/// Beside the body there is only text: no null, no containers, and a path keeps its segments.
fn beside(
    report: &mut Report<'_>,
    rule: &Section<'_, '_>,
    locator: &Locator,
    action: Action,
    verb: &Text<'_>,
) -> Option<Action> {
    let mut refuse = |span, message: &str, help: &str| {
        report.error_with(codes::ACTION_BESIDE, span, format!("{}: {message}", rule.name), help);
        None
    };
    match (&action, locator) {
        (Action::Null, _) => refuse(verb.span.clone(), "there is no null outside a body", "use `drop`"),
        (Action::Drop, Locator::Capture(_)) => refuse(
            verb.span.clone(),
            "a part of the path cannot be dropped",
            "use `replace`, `tokenize` or `pseudonymize`, or leave the route out",
        ),
        (Action::Keep { whole: true }, Locator::Part(_)) if rule.has("reason") => Some(action),
        (Action::Keep { whole: true }, Locator::Part(_)) => {
            refuse(rule.key_span("whole"), "a file passes unread: say why", "write a `reason`")
        }
        (Action::Keep { whole: true }, _) => {
            refuse(rule.key_span("whole"), "`whole` speaks of containers in a body", "leave it out")
        }
        (Action::Replace { .. }, _) if !rule.is_text("with") => {
            refuse(rule.value_span("with"), "outside a body the constant must be a string", "put it in quotes")
        }
        (Action::Replace { with }, locator) => {
            let text: String = serde_json::from_slice(with).ok()?;
            let fits = match locator {
                Locator::Capture(_) => encode_segment(&text).is_some(),
                Locator::Header(_) => text.bytes().all(|b| (b' '..=b'~').contains(&b)) && text.trim() == text,
                Locator::Cookie(_) => {
                    text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\'))
                }
                Locator::Event(_) => !text.contains(['\0', '\r', '\n']),
                Locator::Query(_) | Locator::Path(_) | Locator::Form(_) | Locator::Part(_) | Locator::InPart { .. } => {
                    true
                }
            };
            if !fits {
                return refuse(
                    rule.value_span("with"),
                    "this constant cannot stand there",
                    "use plain letters and digits",
                );
            }
            Some(action)
        }
        _ => Some(action),
    }
}
