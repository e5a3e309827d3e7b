//! Which headers pass without being asked for, and what their values may look like.
//!
//! The default list holds what every API needs and nothing personal. A value that does not fit its grammar is removed, never
//! repaired, save `cache-control`, of which the known directives stay. What a policy adds, and what never crosses, is
//! `crossing::head`'s. Start at [`default_request`] and [`default_response`].

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::ids::Leg;
use crate::policy::rule::BodyKind;
use crate::verdict::Refusal;

/// Fields that a message has once or not at all: whoever reads the first and whoever reads the last must see the same.
const SINGLETONS: [HeaderName; 11] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::AUTHORIZATION,
    header::DATE,
    header::EXPIRES,
    header::RETRY_AFTER,
    header::USER_AGENT,
    header::ETAG,
    header::LOCATION,
    HeaderName::from_static("idempotency-key"),
];

/// Whether no field that stands once stands twice.
#[must_use]
pub fn singletons(headers: &HeaderMap) -> bool {
    // As many values as names: nothing stands twice, and nothing need be looked up.
    headers.len() == headers.keys_len() || SINGLETONS.iter().all(|name| headers.get_all(name).iter().nth(1).is_none())
}

/// Whether an answer's length is said in one way: a number, or `chunked` alone, or not at all (RFC 9112, section 6.3). hyper lets the
/// coding win over a length, takes a list of equal numbers for one, and reads other codings to the end of the connection.
#[must_use]
pub fn framed(headers: &HeaderMap) -> bool {
    let digits = |length: &HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    match headers.get(header::TRANSFER_ENCODING) {
        None => headers.get(header::CONTENT_LENGTH).is_none_or(digits),
        Some(coding) => {
            let twice = headers.get_all(header::TRANSFER_ENCODING).iter().nth(1).is_some();
            coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && !twice
                && !headers.contains_key(header::CONTENT_LENGTH)
        }
    }
}

/// The value as it passes, if the header is on the default list of requests. `ours`: our own callers' requests show their
/// `user-agent` to no partner.
#[must_use]
pub fn default_request(name: &HeaderName, value: &HeaderValue, ours: bool) -> Option<HeaderValue> {
    let fits = match name.as_str() {
        "accept" => short(value, 1024) && list(value, media_range),
        "content-language" => languages(value),
        "date" => http_date(value),
        "user-agent" => !ours && short(value, 256) && value.as_bytes().iter().all(|b| (0x20..0x7f).contains(b)),
        "idempotency-key" => short(value, 255) && value.as_bytes().iter().all(u8::is_ascii_graphic),
        "sec-gpc" => value == "1",
        _ => false,
    };
    fits.then(|| value.clone())
}

/// The value as it passes, if the header is on the default list of responses.
#[must_use]
pub fn default_response(name: &HeaderName, value: &HeaderValue) -> Option<HeaderValue> {
    let fits = match name.as_str() {
        "cache-control" => return cache_control(value),
        "content-language" => languages(value),
        "date" | "expires" => http_date(value),
        "retry-after" => retry_seconds(value).is_some() || http_date(value),
        "allow" => short(value, 256) && list(value, method),
        "vary" => short(value, 256) && list(value, word),
        _ => false,
    };
    fits.then(|| value.clone())
}

/// The seconds of a `Retry-After`, where it has seconds.
#[must_use]
pub fn retry_seconds(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok()
}

fn short(value: &HeaderValue, most: usize) -> bool {
    (1..=most).contains(&value.len())
}

/// RFC 9110, section 5.6.2.
fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(token)
}

/// A list of what `fits` (RFC 9110, section 5.6.1); empty elements count for nothing.
fn list(value: &HeaderValue, fits: impl Fn(&str) -> bool) -> bool {
    let Ok(text) = value.to_str() else { return false };
    text.split(',').map(str::trim).filter(|element| !element.is_empty()).all(fits)
}

/// RFC 9110, section 12.5.1, without quoted parameters.
fn media_range(text: &str) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().and_then(|range| range.split_once('/'));
    let parameter = |text: &str| text.split_once('=').is_some_and(|(name, value)| word(name) && word(value));
    range.is_some_and(|(main, sub)| word(main) && word(sub)) && parts.all(|text| text.is_empty() || parameter(text))
}

/// As the registry has them (RFC 9110, section 16.1): any other word may be a value.
fn method(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

/// Tags by shape (RFC 5646, section 2.1).
fn languages(value: &HeaderValue) -> bool {
    let subtag = |text: &str| (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let tag = |text: &str| {
        let language = text.split('-').next().unwrap_or_default();
        language.bytes().all(|b| b.is_ascii_alphabetic()) && text.split('-').all(subtag)
    };
    short(value, 128) && list(value, tag)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7), by shape.
fn http_date(value: &HeaderValue) -> bool {
    const SHAPE: &[u8; 29] = b"Aaa, 00 Aaa 0000 00:00:00 GMT";
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    value.len() == SHAPE.len() && value.as_bytes().iter().zip(SHAPE).all(fits)
}

/// The known directives (RFC 9111, RFC 5861, RFC 8246), in their order, in lower case; a number where one belongs.
fn cache_control(value: &HeaderValue) -> Option<HeaderValue> {
    let text = value.to_str().ok().filter(|text| text.len() <= 512)?;
    let mut kept = String::new();
    for directive in text.split(',') {
        let (name, argument) = match directive.trim().split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (directive.trim(), None),
        };
        let name = name.to_ascii_lowercase();
        let seconds = argument.filter(|a| (1..=10).contains(&a.len()) && a.bytes().all(|b| b.is_ascii_digit()));
        let seconds = match name.as_str() {
            "no-cache" | "no-store" | "no-transform" | "must-revalidate" | "proxy-revalidate" | "must-understand"
            | "private" | "public" | "immutable" => None,
            "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error" if seconds.is_some() => seconds,
            _ => continue,
        };
        if !kept.is_empty() {
            kept.push_str(", ");
        }
        kept.push_str(&name);
        if let Some(seconds) = seconds {
            kept.push('=');
            kept.push_str(seconds);
        }
    }
    if kept.is_empty() { None } else { HeaderValue::from_str(&kept).ok() }
}

/// None of them is registered; these are in use. `application/json-seq` (RFC 7464) is another framing.
const NDJSON: &[&str] = &["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];

/// What a message says about its body's media type, held against what the leg takes. For a message with a body; the answer is
/// how it is said on.
///
/// # Errors
/// [`Refusal::BodyTypeWrong`].
pub fn media_type(headers: &HeaderMap, kind: &BodyKind, leg: Leg) -> Result<HeaderValue, Refusal> {
    let wrong = || Refusal::BodyTypeWrong { leg };
    let mut fields = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return Err(wrong()) };
    // The one that nearly everyone sends.
    if field == "application/json" && *kind == BodyKind::Json {
        return Ok(HeaderValue::from_static("application/json"));
    }
    let text = field.to_str().map_err(|_| wrong())?;
    let mut parts = text.split(';');
    let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let (main, sub) = essence.split_once('/').ok_or_else(wrong)?;
    let name = |text: &str| (1..=127).contains(&text.len()) && text.bytes().all(token);
    if !name(main) || !name(sub) {
        return Err(wrong());
    }
    let fits = match kind {
        BodyKind::Json => essence == "application/json" || sub.ends_with("+json"),
        BodyKind::Sse => essence == "text/event-stream",
        BodyKind::Form => essence == "application/x-www-form-urlencoded",
        BodyKind::Multipart => essence == "multipart/form-data",
        BodyKind::Ndjson => NDJSON.contains(&essence.as_str()),
        BodyKind::None => false,
        BodyKind::Opaque { .. } => true,
    };
    if !fits {
        return Err(wrong());
    }
    let mut normal = essence.clone();
    for parameter in parts {
        let parameter = parameter.trim();
        if parameter.is_empty() {
            continue;
        }
        let (key, value) = parameter.split_once('=').ok_or_else(wrong)?;
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        if key.eq_ignore_ascii_case("charset") {
            if !bare.eq_ignore_ascii_case("utf-8") || normal.contains(';') {
                return Err(wrong());
            }
            normal.push_str("; charset=utf-8");
        } else if key.eq_ignore_ascii_case("boundary")
            && main == "multipart"
            && name(bare)
            && matches!(kind, BodyKind::Opaque { .. })
        {
            // Without it nobody could read the parts. Of a body that is read, we write the parts, and set them apart anew.
            normal.push_str("; boundary=");
            normal.push_str(bare);
        }
    }
    HeaderValue::from_str(&normal).map_err(|_| wrong())
}

/// The boundary of a body of parts (RFC 2046, section 5.1.1). `None`: it has none, two, or one that is none.
#[must_use]
pub fn boundary(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let parameters = text.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut found = parameters.filter(|(key, _)| key.trim().eq_ignore_ascii_case("boundary"));
    let (Some((_, value)), None) = (found.next(), found.next()) else { return None };
    let value = value.trim();
    let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    let fits = (1..=70).contains(&bare.len()) && bare.bytes().all(allowed) && !bare.ends_with(' ');
    fits.then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &'static str, value: &'static str) -> Option<String> {
        let value = default_request(&HeaderName::from_static(name), &HeaderValue::from_static(value), false);
        value.map(|value| value.to_str().unwrap().to_owned())
    }

    fn response(name: &'static str, value: &'static str) -> Option<String> {
        let value = default_response(&HeaderName::from_static(name), &HeaderValue::from_static(value));
        value.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_every_api_needs_passes_and_what_does_not_fit_its_grammar_goes() {
        for (name, value) in [
            ("accept", "application/json;q=0.9, */*"),
            ("accept", "text/*; charset=utf-8 ;q=0.5,, image/svg+xml"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("user-agent", "curl/8.1"),
            ("idempotency-key", "4f8e-12"),
            ("sec-gpc", "1"),
            ("content-language", "de-DE, en"),
            ("content-language", "zh-Hant-TW,de-1996"),
        ] {
            assert_eq!(request(name, value).as_deref(), Some(value), "{name}");
        }
        for (name, value) in [
            ("accept", "anna@example.com"),
            ("accept", "anna"),
            ("accept", "anna kern"),
            ("accept", "text/html, anna"),
            ("accept", "text/html;anna"),
            ("accept", "text/anna kern"),
            ("date", "yesterday"),
            ("sec-gpc", "0"),
            ("idempotency-key", "a b"),
            ("content-language", "anna kern (de)"),
            ("content-language", "anna kern, 10115 berlin"),
            ("content-language", "de, 0151-1234567"),
            ("content-language", "annakerns"),
            ("cookie", "a=b"),
            ("x-anything", "1"),
            ("referer", "https://a.example/"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ] {
            assert_eq!(request(name, value), None, "{name}: {value}");
        }
    }

    #[test]
    fn our_own_callers_user_agent_is_shown_to_no_partner() {
        let value = HeaderValue::from_static("curl/8.1");
        assert_eq!(default_request(&header::USER_AGENT, &value, true), None);
    }

    #[test]
    fn of_a_response_only_the_known_passes() {
        assert_eq!(response("retry-after", "120").as_deref(), Some("120"));
        assert_eq!(response("expires", "0"), None);
        assert_eq!(response("vary", "accept, origin").as_deref(), Some("accept, origin"));
        assert_eq!(response("vary", "*").as_deref(), Some("*"));
        assert_eq!(response("vary", "anna kern"), None);
        assert_eq!(response("allow", "GET, M-SEARCH").as_deref(), Some("GET, M-SEARCH"));
        for value in ["anna", "GET, anna", "GET POST", "GET4711"] {
            assert_eq!(response("allow", value), None, "{value}");
        }
        for name in ["server", "via", "set-cookie", "location", "link", "etag", "last-modified", "x-powered-by"] {
            assert_eq!(response(name, "x"), None, "{name}");
        }
    }

    #[test]
    fn cache_control_keeps_the_known_directives_without_their_field_names() {
        let known = "private=\"x-anna\", Max-Age=60, for=anna, stale-if-error=many, no-cache";
        assert_eq!(response("cache-control", known).as_deref(), Some("private, max-age=60, no-cache"));
        assert_eq!(response("cache-control", "anna"), None);
    }

    #[test]
    fn a_field_that_stands_once_may_not_stand_twice() {
        let mut headers = HeaderMap::new();
        headers.append("accept", HeaderValue::from_static("a/b"));
        headers.append("accept", HeaderValue::from_static("c/d"));
        assert!(singletons(&headers));
        headers.append("content-type", HeaderValue::from_static("application/json"));
        assert!(singletons(&headers));
        headers.append("content-type", HeaderValue::from_static("application/json"));
        assert!(!singletons(&headers));
    }

    #[test]
    fn a_length_is_said_in_one_way() {
        let says = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            framed(&headers)
        };
        for right in [&[][..], &[("content-length", "7")], &[("transfer-encoding", "Chunked")]] {
            assert!(says(right), "{right:?}");
        }
        for wrong in [
            &[("content-length", "7, 7")][..],
            &[("content-length", "+7")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked"), ("content-length", "7")],
        ] {
            assert!(!says(wrong), "{wrong:?}");
        }
    }

    fn media(kind: &BodyKind, types: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in types {
            headers.append(header::CONTENT_TYPE, HeaderValue::from_static(value));
        }
        media_type(&headers, kind, Leg::Request).ok().map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_json_body_says_that_it_is_one_and_in_utf_8() {
        for (said, normal) in [
            ("application/json", "application/json"),
            ("Application/JSON; charset=UTF-8", "application/json; charset=utf-8"),
            ("application/json;charset=\"utf-8\"; profile=anna", "application/json; charset=utf-8"),
            ("application/problem+json;", "application/problem+json"),
        ] {
            assert_eq!(media(&BodyKind::Json, &[said]).as_deref(), Some(normal), "{said}");
        }
        for wrong in [
            &[][..],
            &["application/json", "application/json"],
            &["application/json, text/html"],
            &["text/json"],
            &["application/json; charset=utf-16"],
            &["application/json; charset=utf-8; charset=utf-8"],
            &["application/json; charset"],
            &["application/jsonx"],
            &["json"],
        ] {
            assert_eq!(media(&BodyKind::Json, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn lines_of_json_have_types_of_their_own() {
        for said in ["application/x-ndjson", "application/jsonl; charset=utf-8"] {
            assert_eq!(media(&BodyKind::Ndjson, &[said]).as_deref(), Some(said));
            assert_eq!(media(&BodyKind::Json, &[said]), None);
        }
        for wrong in ["application/json", "application/json-seq", "text/plain"] {
            assert_eq!(media(&BodyKind::Ndjson, &[wrong]), None, "{wrong}");
        }
    }

    #[test]
    fn no_type_fits_a_leg_without_body_and_any_fits_an_opaque_one() {
        assert_eq!(media(&BodyKind::None, &["application/json"]), None);
        let opaque = BodyKind::Opaque { reason: "labels".to_owned() };
        let boundary = "multipart/mixed; boundary=abc";
        assert_eq!(media(&opaque, &[boundary]).as_deref(), Some(boundary));
        assert_eq!(media(&opaque, &["application/pdf; name=anna"]).as_deref(), Some("application/pdf"));
        assert_eq!(media(&opaque, &[]), None);
    }
}
