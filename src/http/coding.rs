//! Content codings (RFC 9110, section 8.4.1): gzip, deflate, br, zstd.
//!
//! Names and negotiation only; the bytes are `codec`'s. Start at [`parse`] and [`negotiate`].

/// One coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, `x-gzip`
    Gzip,
    /// `deflate`: zlib (RFC 1950).
    Deflate,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
}

/// More codings than anyone has a reason for: each is a chance to hide something, and costs a decoder.
const MOST: usize = 2;

/// What is made, best first where the receiver likes them equally: zstd costs us least, br packs best, and `deflate` has been
/// read in two ways for too long to be anything but the last resort.
const MADE: [Coding; 4] = [Coding::Zstd, Coding::Brotli, Coding::Gzip, Coding::Deflate];

/// A `Content-Encoding` that names an unknown coding, more than two, or is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("content coding unknown, or more than two")]
pub struct UnknownCoding;

impl Coding {
    /// The token in `Content-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn from_token(token: &str) -> Option<Self> {
        let known = MADE.into_iter().find(|coding| token.eq_ignore_ascii_case(coding.as_str()));
        known.or_else(|| token.eq_ignore_ascii_case("x-gzip").then_some(Self::Gzip))
    }
}

/// Reads all `Content-Encoding` fields of a message, in the order in which the codings were applied; `identity` counts as none.
/// `Err`: an unknown one, or more than two.
pub fn parse(headers: &::http::HeaderMap) -> Result<Vec<Coding>, UnknownCoding> {
    let mut codings = Vec::new();
    for value in headers.get_all(::http::header::CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| UnknownCoding)?;
        for token in value.split(',').map(trim) {
            // Empty list elements are to be ignored (RFC 9110, section 5.6.1.2).
            if token.is_empty() || token.eq_ignore_ascii_case("identity") {
                continue;
            }
            codings.push(Coding::from_token(token).ok_or(UnknownCoding)?);
            if codings.len() > MOST {
                return Err(UnknownCoding);
            }
        }
    }
    Ok(codings)
}

/// The coding to answer with by the receiver's `Accept-Encoding` (RFC 9110, section 12.5.3), among those that we make; `None`: identity.
///
/// Without the field, or where nothing that we make is acceptable, the answer is identity: that section lets us choose so, and
/// everyone can read it. Elements that do not parse are ignored.
pub fn negotiate(accept_encoding: Option<&::http::HeaderValue>) -> Option<Coding> {
    let accept = accept_encoding?.to_str().ok()?;
    let (mut identity, mut any) = (None, None);
    let mut weights = [None; MADE.len()];
    for element in accept.split(',') {
        let Some((token, weight)) = weighted(element) else { continue };
        if token == "*" {
            any = Some(weight);
        } else if token.eq_ignore_ascii_case("identity") {
            identity = Some(weight);
        } else if let Some(coding) = Coding::from_token(token) {
            for (slot, made) in weights.iter_mut().zip(MADE) {
                if made == coding {
                    *slot = Some(weight);
                }
            }
        }
    }
    let mut best: Option<(u16, Coding)> = None;
    for (weight, coding) in weights.into_iter().zip(MADE) {
        let weight = weight.or(any).unwrap_or(0);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, coding));
        }
    }
    // Identity that is not named is acceptable, but nobody asked for it.
    best.filter(|(weight, _)| *weight >= identity.unwrap_or(0)).map(|(_, coding)| coding)
}

/// `token [;q=…]`, the weight in thousandths.
fn weighted(element: &str) -> Option<(&str, u16)> {
    let mut parts = element.split(';').map(trim);
    let token = parts.next().filter(|token| !token.is_empty())?;
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => {
            let (name, value) = parameter.split_once('=')?;
            if !name.eq_ignore_ascii_case("q") {
                return None;
            }
            qvalue(value)?
        }
    };
    parts.next().is_none().then_some((token, weight))
}

/// RFC 9110, section 12.4.2: `0` to `1` with at most three decimals.
fn qvalue(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_parse(fields: &[&str], expected: Result<&[Coding], UnknownCoding>) {
        let mut headers = ::http::HeaderMap::new();
        for field in fields {
            headers.append("content-encoding", ::http::HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        assert_eq!(parse(&headers), expected.map(<[_]>::to_vec), "{fields:?}");
    }

    #[test]
    fn content_encoding_is_a_list_over_all_its_fields() {
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        check_parse(&[], Ok(&[]));
        check_parse(&[""], Ok(&[]));
        check_parse(&["identity"], Ok(&[]));
        check_parse(&["GZip"], Ok(&[Gzip]));
        check_parse(&["x-gzip"], Ok(&[Gzip]));
        check_parse(&["br, \tzstd"], Ok(&[Brotli, Zstd]));
        check_parse(&["deflate", "gzip"], Ok(&[Deflate, Gzip]));
        check_parse(&[",identity, ,gzip,"], Ok(&[Gzip]));
    }

    #[test]
    fn unknown_codings_and_more_than_two_are_refused() {
        for fields in
            [&["compress"][..], &["gzip;q=1"], &["gzip br"], &["gzip, gzip, gzip"], &["gzip", "br", "zstd"], &["é"]]
        {
            check_parse(fields, Err(UnknownCoding));
        }
    }

    #[test]
    fn the_receivers_weights_decide_and_then_our_order() {
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        let check = |accept: &str, expected: Option<Coding>| {
            let value = ::http::HeaderValue::from_str(accept).unwrap();
            assert_eq!(negotiate(Some(&value)), expected, "{accept}");
        };
        assert_eq!(negotiate(None), None);
        check("", None);
        check("gzip", Some(Gzip));
        check("X-GZIP", Some(Gzip));
        check("gzip, deflate, br", Some(Brotli));
        check("gzip, deflate, br, zstd", Some(Zstd));
        check("gzip;q=1.0, br;q=0.5, zstd;q=0.1", Some(Gzip));
        check("gzip;q=0", None);
        check("*", Some(Zstd));
        check("zstd;q=0, br;q=0, *;q=0.2", Some(Gzip));
        check("*;q=0", None);
        check("identity;q=0, deflate", Some(Deflate));
        check("identity, gzip;q=0.5", None);
        check("identity;q=0.5, gzip;q=0.5", Some(Gzip));
        check("identity;q=0", None);
        check("gzip;q=2, br;q=0.1234, deflate;q=0.001", Some(Deflate));
        check("gzip;level=9", None);
        check("gzip ; Q=1.000", Some(Gzip));
        check("gzip;q=1.001", None);
        check("snappy, gzip", Some(Gzip));
    }
}
