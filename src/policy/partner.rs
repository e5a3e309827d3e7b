//! `[partner]`, `[agreement]`, `[identify]` and `[limits]`: from sections to checked values.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use crate::ids::{DomainId, PartnerId};

use super::rule::{Agreement, ApiKey, ClientCertificate, CredentialKind, Identify, Jwt, Limits, Partner, Rate};
use super::source::{Report, Section, Text, list, near, quote};
use super::{budget, codes};

/// What `[partner]` may say.
pub const PARTNER_KEYS: &[&str] = &["id", "name", "countries", "purpose", "hosts", "domain"];
/// What `[agreement]` may say.
pub const AGREEMENT_KEYS: &[&str] = &["reference", "expires", "suspended"];
/// What `[identify]` may say.
pub const IDENTIFY_KEYS: &[&str] = &["client_certificate", "api_key", "jwt", "require"];
/// What `[limits]` may say.
pub const LIMITS_KEYS: &[&str] =
    &["rate", "burst", "concurrent", "body", "atomic", "value", "element", "leaves", "growth", "reveal", "subjects"];

/// Asymmetric signatures (RFC 7518, RFC 8037); a shared secret would let the verifier forge.
const ALGORITHMS: &[&str] = &["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"];

/// Officially assigned codes of ISO 3166-1 alpha-2.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Reads `[partner]`.
pub fn partner(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Partner> {
    let id = section.required_text(report, "id").and_then(|text| name(report, &text, "partner id", PartnerId::parse));
    let name_text = section.required_text(report, "name");
    let purpose = section.required_text(report, "purpose");
    let countries = countries(report, section);
    let hosts: BTreeSet<String> = section.texts(report, "hosts").iter().filter_map(|text| host(report, text)).collect();
    let domain = section.text(report, "domain").map(|text| name(report, &text, "token domain", DomainId::parse));
    let id = id?;
    Some(Partner {
        name: name_text?.value.to_owned(),
        countries,
        purpose: purpose?.value.to_owned(),
        hosts: hosts.into_iter().collect(),
        domain: match domain {
            Some(written) => written?,
            None => DomainId::parse(id.as_str())?,
        },
        id,
    })
}

/// A name of our own (`ids`), or a complaint.
pub fn name<T>(report: &mut Report<'_>, text: &Text<'_>, what: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    let name = parse(text.value);
    if name.is_none() {
        report.error_with(
            codes::BAD_NAME,
            text.span.clone(),
            format!("{what} {} is not allowed", quote(text.value)),
            "a name has 1 to 128 of `a-z`, `0-9`, `-`, `_` and `.`, and begins with a letter or digit",
        );
    }
    name
}

fn countries(report: &mut Report<'_>, section: &Section<'_, '_>) -> Vec<String> {
    if !section.has("countries") {
        section.missing(report, "countries");
    }
    let texts = section.texts(report, "countries");
    for text in &texts {
        if text.value.len() != 2 || !COUNTRIES.split(' ').any(|code| code == text.value) {
            let upper = text.value.to_ascii_uppercase();
            let near = match upper.as_str() {
                "UK" => Some("GB"),
                "EL" => Some("GR"),
                _ => COUNTRIES.split(' ').find(|code| *code == upper),
            };
            report.error_maybe(
                codes::BAD_VALUE,
                text.span.clone(),
                format!("country {} is no code of ISO 3166-1 alpha-2", quote(text.value)),
                near.map(|near| format!("did you mean `{near}`?")),
            );
        }
    }
    texts.iter().map(|text| text.value.to_owned()).collect()
}

/// `name` or `name:port`, lower case, without a default port.
fn host(report: &mut Report<'_>, text: &Text<'_>) -> Option<String> {
    let lower = text.value.to_ascii_lowercase();
    let bare = lower.strip_suffix(":443").or_else(|| lower.strip_suffix(":80")).unwrap_or(&lower);
    let (name, port) = match bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, port)) => (inner.parse::<std::net::Ipv6Addr>().is_ok(), port.strip_prefix(':').unwrap_or(port)),
        None => {
            let (name, port) = bare.split_once(':').map_or((bare, ""), |(name, port)| (name, port));
            (is_host_name(name) && !bare.ends_with(':'), port)
        }
    };
    let port =
        port.is_empty() || (port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0));
    if name && port {
        return Some(bare.to_owned());
    }
    report.error_with(
        codes::BAD_VALUE,
        text.span.clone(),
        format!("host {} is no authority", quote(text.value)),
        "write a host name, and a port where it is not the default: `parcelo.internal:8443`",
    );
    None
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Reads `[agreement]`.
pub fn agreement(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Agreement> {
    let reference = section.required_text(report, "reference");
    let expires = section.date(report, "expires");
    let suspended = section.boolean(report, "suspended").unwrap_or(false);
    Some(Agreement { reference: reference?.value.to_owned(), expires, suspended })
}

/// Reads `[identify]`.
pub fn identify(report: &mut Report<'_>, section: &Section<'_, '_>) -> Identify {
    let sub =
        |report: &mut Report<'_>, key: &str, known: &[&str]| section.section(report, key, format!("`{key}`"), known);
    let certificate = sub(report, "client_certificate", &["san", "ca"]);
    let client_certificate = certificate.and_then(|section| client_certificate(report, &section));
    let api_key = sub(report, "api_key", &["header", "sha256"]).and_then(|section| api_key(report, &section));
    let jwt = sub(report, "jwt", &["issuer", "audience", "algorithms", "claims", "jwks"])
        .and_then(|section| jwt(report, &section));
    let mut require = Vec::new();
    for text in section.texts(report, "require") {
        let kind = match text.value {
            "client_certificate" => CredentialKind::ClientCertificate,
            "api_key" => CredentialKind::ApiKey,
            "jwt" => CredentialKind::Jwt,
            other => {
                let kinds = ["client_certificate", "api_key", "jwt"];
                let help = near(other, &kinds, "kinds of credential");
                let message = format!("`require`: unknown kind of credential {}", quote(other));
                report.error_with(codes::REQUIRE_UNKNOWN, text.span, message, help);
                continue;
            }
        };
        if !section.has(text.value) {
            report.error_with(
                codes::REQUIRE_UNKNOWN,
                text.span,
                format!("`require` demands `{}`, which `[identify]` does not describe", text.value),
                format!("add `{} = {{ … }}`, or take it out of `require`", text.value),
            );
        }
        if !require.contains(&kind) {
            require.push(kind);
        }
    }
    Identify { client_certificate, api_key, jwt, require }
}

fn client_certificate(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<ClientCertificate> {
    let san = section.required_text(report, "san");
    let ca = section.required_text(report, "ca");
    let san = san?;
    let uri = san.value.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty()
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !rest.is_empty()
            && rest.bytes().all(|b| b.is_ascii_graphic())
    });
    // A wildcard over a whole top-level domain would name anybody.
    let dns = match san.value.strip_prefix("*.") {
        Some(rest) => is_host_name(rest) && rest.contains('.'),
        None => is_host_name(san.value),
    };
    if !uri && !dns {
        report.error_with(
            codes::BAD_VALUE,
            san.span,
            format!("`client_certificate`: {} is no subject alternative name", quote(san.value)),
            "write a DNS name, with `*.` in front for one free label, or a URI such as `spiffe://parcelo.example/orders`",
        );
        return None;
    }
    let san = if uri { san.value.to_owned() } else { san.value.to_ascii_lowercase() };
    Some(ClientCertificate { san, ca: PathBuf::from(ca?.value) })
}

fn api_key(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<ApiKey> {
    let header = section.required_text(report, "header").and_then(|text| {
        let lower = text.value.to_ascii_lowercase();
        let taken = ["authorization", "cookie", "proxy-authorization"].contains(&lower.as_str());
        let usable = http::HeaderName::try_from(lower.as_str()).is_ok();
        if !usable || taken || super::headers::is_never(&lower) {
            report.error_with(
                codes::BAD_KEY_HEADER,
                text.span,
                format!("`api_key`: header {} cannot carry a key", quote(text.value)),
                "use a header of its own, such as `x-api-key`; a bearer token belongs under `jwt`",
            );
            return None;
        }
        Some(lower)
    });
    if !section.has("sha256") {
        section.missing(report, "sha256");
        return None;
    }
    let mut sha256 = Vec::new();
    let texts = section.texts(report, "sha256");
    if texts.is_empty() {
        report.error(codes::BAD_VALUE, section.value_span("sha256"), "`api_key`: `sha256` lists no digest");
    }
    for text in texts {
        let digest = data_encoding::HEXLOWER_PERMISSIVE.decode(text.value.as_bytes()).ok();
        match digest.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(digest) if digest == [0; 32] => report.warning_with(
                codes::PLACEHOLDER,
                text.span,
                "`api_key`: the digest is a placeholder: no key is accepted",
                "put in the partner's: `printf %s KEY | sha256sum`",
            ),
            Some(digest) => sha256.push(digest),
            // Never the word itself, also not in the excerpt: it may be the key.
            None => report.error_with(
                codes::BAD_DIGEST,
                text.span,
                "`api_key`: `sha256` must be 64 hexadecimal digits",
                "make it with `printf %s KEY | sha256sum`; the key itself does not belong in this file",
            ),
        }
    }
    Some(ApiKey { header: header?, sha256 })
}

fn jwt(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Jwt> {
    let issuer = section.required_text(report, "issuer");
    let audience = section.required_text(report, "audience");
    let jwks = section.required_text(report, "jwks");
    if !section.has("algorithms") {
        section.missing(report, "algorithms");
    }
    let algorithms = section.texts(report, "algorithms");
    if section.has("algorithms") && algorithms.is_empty() {
        report.error(codes::BAD_ALGORITHM, section.value_span("algorithms"), "`jwt`: `algorithms` lists none");
    }
    for text in &algorithms {
        if !ALGORITHMS.contains(&text.value) {
            report.error_with(
                codes::BAD_ALGORITHM,
                text.span.clone(),
                format!("`jwt`: algorithm {} is not accepted", quote(text.value)),
                format!("algorithms are {}; shared secrets are not offered", list(ALGORITHMS)),
            );
        }
    }
    let claims = section.free_section(report, "claims", "`claims`").map(|section| section.pairs(report));
    Some(Jwt {
        issuer: issuer?.value.to_owned(),
        audience: audience?.value.to_owned(),
        algorithms: algorithms.iter().map(|text| text.value.to_owned()).collect(),
        claims: claims.unwrap_or_default().into_iter().map(|(k, v)| (k.to_owned(), v.value.to_owned())).collect(),
        jwks: PathBuf::from(jwks?.value),
    })
}

/// Reads `[limits]`.
pub fn limits(report: &mut Report<'_>, section: &Section<'_, '_>) -> Limits {
    let default = Limits::default();
    let count = |report: &mut Report<'_>, key| section.whole(report, key, 1, u32::MAX).and_then(NonZeroU32::new);
    let burst = count(report, "burst");
    let concurrent = count(report, "concurrent");
    let rate = section.text(report, "rate").and_then(|text| rate(report, &text));
    if let (Some(_), None, true) = (burst, rate, !section.has("rate")) {
        report.error(codes::MISSING_KEY, section.key_span("burst"), "[limits]: `burst` without a `rate`");
    }
    Limits {
        rate,
        burst,
        concurrent,
        reveal: budget::hourly(report, section, "reveal"),
        subjects: budget::hourly(report, section, "subjects"),
        body_bytes: size(report, section, "body", 1 << 40),
        atomic_bytes: size(report, section, "atomic", 1 << 30).unwrap_or(default.atomic_bytes),
        value_bytes: small(report, section, "value").unwrap_or(default.value_bytes),
        element_bytes: small(report, section, "element").unwrap_or(default.element_bytes),
        leaves: section.whole(report, "leaves", 1, u32::MAX).map_or(default.leaves, u64::from),
        growth_bytes: size(report, section, "growth", 1 << 40).unwrap_or(default.growth_bytes),
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate: None,
            burst: None,
            concurrent: None,
            reveal: None,
            subjects: None,
            body_bytes: None,
            atomic_bytes: 1 << 20,
            value_bytes: 64 << 10,
            element_bytes: 1 << 20,
            leaves: 1_000_000,
            growth_bytes: 16 << 20,
        }
    }
}

fn rate(report: &mut Report<'_>, text: &Text<'_>) -> Option<Rate> {
    let read = || {
        let (count, per) = text.value.split_once('/')?;
        let per = match per {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return None,
        };
        let digits = count.bytes().all(|b| b.is_ascii_digit());
        Some(Rate { count: count.parse().ok().filter(|_| digits)?, per })
    };
    let rate = read();
    if rate.is_none() {
        report.error_with(
            codes::BAD_VALUE,
            text.span.clone(),
            format!("[limits]: `rate` {} is not in its form", quote(text.value)),
            "write a count and a period: `200/s`, `6000/m` or `50000/h`",
        );
    }
    rate
}

fn small(report: &mut Report<'_>, section: &Section<'_, '_>, key: &str) -> Option<usize> {
    size(report, section, key, 1 << 28).and_then(|bytes| usize::try_from(bytes).ok())
}

/// `"2MiB"`, `"64KiB"`, `"1GiB"` or plain bytes, from 1 to `most`.
fn size(report: &mut Report<'_>, section: &Section<'_, '_>, key: &str, most: u64) -> Option<u64> {
    let (text, span) = section.amount(report, key)?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit.trim_start_matches(' ') {
        "" | "B" => Some(1_u64),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    let bytes = bytes.filter(|bytes| (1..=most).contains(bytes));
    if bytes.is_none() {
        report.error_with(
            codes::BAD_VALUE,
            span,
            format!("[limits]: `{key}` {} is no size from 1 byte to {} MiB", quote(&text), most >> 20),
            "write bytes, or a number with `KiB`, `MiB` or `GiB`",
        );
    }
    bytes
}
