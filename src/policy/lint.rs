//! What is allowed and still worth a warning as days pass, and what files must not say together.
//!
//! What one file shows by itself at any time is found by [`super::read`] already. Start at [`lint`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{Category, DomainId, Shape};

use super::compile::CompiledPolicy;
use super::diagnostic::{Diagnostic, Severity};
use super::rule::{Action, Jwt, Place, Policy};
use super::{codes, oracle};

/// How long before its end an agreement is spoken of.
const EXPIRY_DAYS: i32 = 60;

/// Looks over a whole set. Errors too: two files with one partner id, one API key, one outbound host; an oracle across legs.
/// `today` in UTC.
pub fn lint(set: &[CompiledPolicy], today: jiff::civil::Date) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let issued = issued(set);
    for (index, compiled) in set.iter().enumerate() {
        let policy = &compiled.policy;
        alone(policy, today, &mut found);
        unissued(policy, &issued, &mut found);
        mixed(policy, &mut found);
        oracle::check(policy, &mut found);
        for other in set.iter().take(index) {
            together(&other.policy, policy, &mut found);
        }
    }
    found
}

pub(super) fn complaint(
    code: &'static str,
    severity: Severity,
    place: &Place,
    message: String,
    help: impl Into<String>,
) -> Diagnostic {
    let help = Some(help.into()).filter(|help| !help.is_empty());
    Diagnostic { code, severity, file: Arc::clone(&place.file), span: place.span.clone(), message, help }
}

fn alone(policy: &Policy, today: jiff::civil::Date, found: &mut Vec<Diagnostic>) {
    let places = &policy.places;
    if let Some(expires) = policy.agreement.expires {
        let days = today.until(expires).map_or(i32::MAX, |span| span.get_days());
        let message = match days {
            ..0 => Some(format!("the agreement ended on {expires}: nothing is shared any more")),
            0 => Some("the agreement ends with this day (UTC)".to_owned()),
            1 => Some("the agreement ends with tomorrow (UTC)".to_owned()),
            2..=EXPIRY_DAYS => Some(format!("the agreement ends in {days} days")),
            _ => None,
        };
        if let Some(message) = message {
            let help = "prolong the agreement, and write its new end here";
            found.push(complaint(codes::EXPIRES_SOON, Severity::Warning, &places.expires, message, help));
        }
    }
    if policy.agreement.suspended {
        let message = "the agreement is suspended: nothing is shared".to_owned();
        found.push(complaint(codes::SUSPENDED, Severity::Note, &places.suspended, message, ""));
    }
    if policy.routes.is_empty() {
        let message = "the policy has no routes: nothing is shared".to_owned();
        let help = "add `[[inbound]]` or `[[outbound]]`";
        found.push(complaint(codes::NO_ROUTES, Severity::Warning, &places.id, message, help));
    }
}

/// Category and shape of all tokens, by domain.
type Issued<'p> = BTreeMap<&'p DomainId, BTreeMap<Option<&'p Category>, Vec<Shape>>>;

fn issued(set: &[CompiledPolicy]) -> Issued<'_> {
    let mut issued = Issued::new();
    for policy in set.iter().map(|compiled| &compiled.policy) {
        let categories = issued.entry(&policy.partner.domain).or_default();
        for rule in policy.legs().flat_map(|on| on.leg.deep_rules()).map(|deep| deep.thing) {
            let shape = match rule.action {
                Action::Tokenize(shape) => shape,
                Action::Store(kept) => kept.shape,
                _ => continue,
            };
            categories.entry(rule.category.as_ref()).or_default().push(shape);
        }
    }
    issued
}

fn unissued(policy: &Policy, issued: &Issued<'_>, found: &mut Vec<Diagnostic>) {
    let none = BTreeMap::new();
    let categories = issued.get(&policy.partner.domain).unwrap_or(&none);
    for reveal in policy.legs().flat_map(|on| on.leg.deep_reveals()).map(|deep| deep.thing) {
        let (message, help) = match categories.get(&Some(&reveal.category)) {
            None => (
                format!("reveal `{}`: no rule tokenizes `{}` toward this partner", reveal.id, reveal.category),
                "name the category of the rule that issues the token".to_owned(),
            ),
            Some(shapes) => {
                // Other tokens do not say what they are: the reveal has to.
                let proven = |shape: &Shape| shape.is_authentic();
                let wanted = reveal.shape.filter(|shape| !shape.is_authentic());
                match (wanted, shapes.first()) {
                    (None, Some(first)) if !shapes.iter().any(proven) => (
                        format!("reveal `{}`: tokens of `{}` are of another shape here", reveal.id, reveal.category),
                        format!("add `as = \"{}\"`", first.name()),
                    ),
                    (Some(wanted), _) if !shapes.contains(&wanted) => (
                        format!(
                            "reveal `{}`: no token of `{}` has the shape `{}`",
                            reveal.id,
                            reveal.category,
                            wanted.name()
                        ),
                        "leave `as` out, or name the shape of the rule that issues the token".to_owned(),
                    ),
                    _ => continue,
                }
            }
        };
        found.push(complaint(codes::NEVER_ISSUED, Severity::Warning, &reveal.place, message, help));
    }
}

/// Tokens that do not say what they are, of one category and of several shapes: one value has several tokens, and a reveal takes
/// each for a token of its own shape.
fn mixed(policy: &Policy, found: &mut Vec<Diagnostic>) {
    let mut first = BTreeMap::new();
    for rule in policy.legs().flat_map(|on| on.leg.deep_rules()).map(|deep| deep.thing) {
        let Action::Tokenize(shape) = rule.action else { continue };
        if shape.is_authentic() {
            continue;
        }
        let (earlier, other) = *first.entry(rule.category.as_ref()).or_insert((shape, &rule.id));
        if earlier != shape {
            let message = format!(
                "rule `{}`: tokens of this category are `{}` in rule `{other}`, and neither says which it is",
                rule.id,
                earlier.name()
            );
            let help = "give one of them a category of its own, or both one shape";
            found.push(complaint(codes::SHAPES_MEET, Severity::Warning, &rule.place, message, help));
        }
    }
}

/// What two files must not both say.
fn together(earlier: &Policy, later: &Policy, found: &mut Vec<Diagnostic>) {
    let (a, b) = (&earlier.partner, &later.partner);
    let mut error = |code, place: &Place, message: String, help: &str| {
        found.push(complaint(code, Severity::Error, place, message, help));
    };
    if a.id == b.id {
        let message = format!("partner `{}` has another file: `{}`", b.id, earlier.file);
        error(codes::PARTNER_TWICE, &later.places.id, message, "one file says all that a partner gets");
        return;
    }
    let hosts: BTreeSet<&String> = a.hosts.iter().collect();
    for host in b.hosts.iter().filter(|host| hosts.contains(host)) {
        let message = format!("host `{host}` names partner `{}` too (`{}`)", a.id, earlier.file);
        error(codes::HOST_TWICE, &later.places.hosts, message, "each partner has hosts of its own");
    }
    for (owner, taker) in [(earlier, later), (later, earlier)] {
        if taker.partner.domain.as_str() == owner.partner.id.as_str() {
            let message = format!("token domain `{}` is partner `{}`'s own", taker.partner.domain, owner.partner.id);
            let help = "two partners whose tokens agree can join their records: where that is meant, give the domain a name \
                        of its own, and write it in both files";
            error(codes::DOMAIN_TAKEN, &taker.places.domain, message, help);
        }
    }
    let shared = |what: &str| format!("{what} names partner `{}` too (`{}`)", a.id, earlier.file);
    let (one, two) = (&earlier.identify, &later.identify);
    if let (Some(x), Some(y)) = (&one.api_key, &two.api_key)
        && x.sha256.iter().any(|digest| y.sha256.contains(digest))
    {
        let help = "give each partner a key of its own";
        error(codes::CREDENTIAL_SHARED, &later.places.api_key, shared("an API key of this file"), help);
    }
    if let (Some(x), Some(y)) = (&one.client_certificate, &two.client_certificate)
        && x.ca == y.ca
        && (san_covers(&x.san, &y.san) || san_covers(&y.san, &x.san))
    {
        let help = "use names that no other partner's certificate can bear, or another authority";
        let message = shared("a certificate with this name");
        error(codes::CREDENTIAL_SHARED, &later.places.client_certificate, message, help);
    }
    if let (Some(x), Some(y)) = (&one.jwt, &two.jwt)
        && tokens_overlap(x, y)
    {
        let help = "tell them apart by a claim: `claims = { azp = \"…\" }` in both files";
        error(codes::CREDENTIAL_SHARED, &later.places.jwt, shared("a token that this file accepts"), help);
    }
}

/// `*.a.example` stands for one label.
fn san_covers(wide: &str, narrow: &str) -> bool {
    let parent = |name: &str| name.split_once('.').map(|(_, parent)| parent.to_owned());
    wide == narrow || wide.strip_prefix("*.").is_some_and(|rest| parent(narrow).as_deref() == Some(rest))
}

/// Whether one token may satisfy both.
fn tokens_overlap(a: &Jwt, b: &Jwt) -> bool {
    a.issuer == b.issuer
        // A token may have several audiences, so that different ones do not tell partners apart.
        && a.claims.iter().all(|(name, value)| b.claims.get(name).is_none_or(|other| other == value))
}
