//! Turns a partner's policy file into something that can be run.
//!
//! Pure: no I/O, no clock, nothing of HTTP, vaults or keys. A policy passes through types that are each harder to get
//! wrong than the last: [`source`] (as written, with spans), [`rule::Policy`] (checked), [`compile::CompiledPolicy`]
//! (ready to run). Start at [`read`].

pub mod actions;
pub mod budget;
pub mod caution;
pub mod clash;
pub mod codes;
pub mod compile;
pub mod diagnostic;
pub mod explain;
pub mod format;
pub mod headers;
pub mod held;
pub mod inside;
pub mod kept;
pub mod legs;
pub mod lint;
pub mod oracle;
pub mod partner;
pub mod route;
pub mod rule;
pub mod rules;
pub mod shapes;
pub mod source;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use crate::ids::Direction;

use diagnostic::Diagnostic;
use rule::{Places, Policy, Route};
use source::{Report, Section};

const FILE_KEYS: &[&str] = &["partner", "agreement", "identify", "limits", "inbound", "outbound"];

/// Reads and checks one policy file. All complaints at once, in the file's order; a `Policy` only if none of them is an error.
pub fn read(file: &str, text: &str) -> (Option<Policy>, Vec<Diagnostic>) {
    let mut report = Report::new(file, text);
    let policy = match DeTable::parse_recoverable(text) {
        (table, faults) if faults.is_empty() => check(&mut report, text, table.get_ref()),
        (_, faults) => {
            for fault in faults {
                let message = fault.message().lines().collect::<Vec<_>>().join(": ");
                report.error(codes::SYNTAX, fault.span().unwrap_or(0..0), message);
            }
            None
        }
    };
    let policy = policy.filter(|_| !report.failed());
    (policy, report.finish())
}

fn check(report: &mut Report<'_>, text: &str, table: &DeTable<'_>) -> Option<Policy> {
    let root = Section::new(report, "the file", table, 0..0, FILE_KEYS);
    for key in ["partner", "agreement"] {
        if !root.has(key) {
            root.missing(report, key);
        }
    }
    let on_partner = root.section(report, "partner", "[partner]", partner::PARTNER_KEYS);
    let partner = on_partner.as_ref().and_then(|section| partner::partner(report, section));
    let on_agreement = root.section(report, "agreement", "[agreement]", partner::AGREEMENT_KEYS);
    let agreement = on_agreement.as_ref().and_then(|section| partner::agreement(report, section));
    let on_identify = root.section(report, "identify", "[identify]", partner::IDENTIFY_KEYS);
    let identify = on_identify.as_ref().map(|section| partner::identify(report, section)).unwrap_or_default();
    let kinds = ["client_certificate", "api_key", "jwt"];
    let described = on_identify.as_ref().is_some_and(|section| kinds.iter().any(|kind| section.has(kind)));
    let on_limits = root.section(report, "limits", "[limits]", partner::LIMITS_KEYS);
    let limits = on_limits.as_ref().map(|section| partner::limits(report, section)).unwrap_or_default();

    let mut routes: Vec<Option<Route>> = Vec::new();
    for direction in [Direction::Inbound, Direction::Outbound] {
        let key = direction.as_str();
        for section in root.sections(report, key, &format!("[[{key}]]"), legs::ROUTE_KEYS) {
            routes.push(legs::route(report, &section, direction, &identify));
        }
    }
    if root.has("inbound") && !described {
        report.error_with(
            codes::NO_IDENTITY,
            root.key_span("inbound"),
            "the partner calls us, and nothing says how it proves who it is",
            "add `[identify]` with `client_certificate`, `api_key` or `jwt`",
        );
    }
    let nowhere = partner.as_ref().is_some_and(|partner| partner.hosts.is_empty());
    if root.has("outbound") && nowhere {
        report.error_with(
            codes::NO_HOST,
            root.key_span("outbound"),
            "we call the partner, and nothing says by which host",
            "add `hosts = [\"parcelo.internal\"]` to `[partner]`: the authority that our own callers use",
        );
    }
    let place = |section: &Option<Section<'_, '_>>, key: &str| {
        report.place(section.as_ref().map_or(0..0, |section| section.value_span(key)))
    };
    let places = Places {
        id: place(&on_partner, "id"),
        hosts: place(&on_partner, "hosts"),
        domain: place(&on_partner, "domain"),
        expires: place(&on_agreement, "expires"),
        suspended: place(&on_agreement, "suspended"),
        client_certificate: place(&on_identify, "client_certificate"),
        api_key: place(&on_identify, "api_key"),
        jwt: place(&on_identify, "jwt"),
    };
    let routes = routes.into_iter().collect::<Option<Vec<Route>>>();
    if let (Some(section), Some(routes)) = (&on_limits, &routes) {
        budget::check(report, section, &limits, routes);
    }
    Some(Policy {
        file: report.file().clone(),
        digest: data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes())).into(),
        partner: partner?,
        agreement: agreement?,
        identify,
        limits,
        routes: routes?,
        places,
    })
}

#[cfg(test)]
mod tests;
