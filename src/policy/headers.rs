//! Which headers a policy may name, and how.

/// Framing, hop-by-hop, routing and caching headers: the proxy checks them, makes its own or none, and no rule may touch them.
/// `Sec-*` too: `Sec-GPC` is never removed, and the others are a browser's.
const NEVER: &[&str] = &[
    "accept-encoding",
    "accept-ranges",
    "alt-svc",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Identities, places and credentials: not by a mere listing, only by a rule that says what becomes of them.
const RULE_ONLY: &[&str] = &[
    "authorization",
    "content-location",
    "cookie",
    "forwarded",
    "link",
    "location",
    "referer",
    "refresh",
    "server",
    "set-cookie",
    "via",
    "www-authenticate",
];

/// Whether no policy may name it. `name` in lower case.
pub fn is_never(name: &str) -> bool {
    NEVER.binary_search(&name).is_ok() || name.starts_with("sec-")
}

/// Whether a mere listing under `headers` is not enough. `name` in lower case.
pub fn is_rule_only(name: &str) -> bool {
    RULE_ONLY.binary_search(&name).is_ok() || name.starts_with("x-forwarded-") || name == "x-real-ip"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order_for_the_search() {
        assert!(NEVER.is_sorted() && RULE_ONLY.is_sorted());
        assert!(is_never("content-length") && is_never("te") && is_never("sec-gpc") && !is_never("x-keep"));
        assert!(is_rule_only("authorization") && is_rule_only("x-forwarded-for") && !is_rule_only("x-keep"));
    }
}
