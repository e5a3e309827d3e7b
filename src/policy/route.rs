//! Paths of requests, in their one normal form, and the templates that match them.
//!
//! Pure. What is not normal is refused, never repaired (`policy-language`: Routes). Start at [`Router::find`].

use std::fmt::Write as _;

/// Most segments of a path or template.
pub const SEGMENTS_MAX: usize = 64;

/// `/v1/orders/{id}` as segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// In order.
    pub segments: Vec<TemplateSegment>,
}

/// One segment of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateSegment {
    /// This text, decoded.
    Literal(String),
    /// Any one segment, under this name.
    Capture(String),
}

impl Template {
    /// Whether both match the same paths: the names of captures do not count.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let alike = |(one, other): (&TemplateSegment, &TemplateSegment)| match (one, other) {
            (TemplateSegment::Capture(_), TemplateSegment::Capture(_)) => true,
            (one, other) => one == other,
        };
        self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(alike)
    }

    /// Reads a template. The error says what is wrong, in words for the policy's author.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a path begins with `/`".into());
        };
        let mut segments = Vec::new();
        for raw in rest.split('/').filter(|_| !rest.is_empty()) {
            let inner = raw.strip_prefix('{').and_then(|raw| raw.strip_suffix('}'));
            if let Some(name) = inner {
                let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                if name.is_empty() || name.len() > 64 || !name.bytes().all(ok) {
                    return Err(format!("a capture's name is letters, digits, `_` and `-`, found `{{{name}}}`"));
                }
                if segments.iter().any(|s| matches!(s, TemplateSegment::Capture(n) if n == name)) {
                    return Err(format!("capture `{{{name}}}` occurs twice"));
                }
                segments.push(TemplateSegment::Capture(name.to_owned()));
            } else if raw.contains(['{', '}']) {
                return Err("a capture fills its whole segment, as in `/orders/{id}`".into());
            } else if raw.is_empty() {
                return Err("a path has no empty segment, also not at its end".into());
            } else {
                let literal = decode_segment(raw).ok_or_else(|| format!("segment `{raw}` is not in normal form"))?;
                segments.push(TemplateSegment::Literal(literal));
            }
        }
        if segments.len() > SEGMENTS_MAX {
            return Err(format!("a path has at most {SEGMENTS_MAX} segments"));
        }
        Ok(Self { segments })
    }

    /// The names of its captures, in order.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|s| match s {
            TemplateSegment::Capture(name) => Some(name.as_str()),
            TemplateSegment::Literal(_) => None,
        })
    }

    fn matches(&self, path: &NormalPath) -> bool {
        self.segments.len() == path.segments.len()
            && self.segments.iter().zip(&path.segments).all(|(segment, given)| match segment {
                TemplateSegment::Literal(text) => text == given,
                TemplateSegment::Capture(_) => true,
            })
    }

    /// One bit a segment, the first one highest: set where it is a literal.
    fn literals(&self) -> u64 {
        self.segments.iter().fold(0, |mask, s| mask << 1 | u64::from(matches!(s, TemplateSegment::Literal(_))))
    }

    /// Whether some path matches both.
    fn meets(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (TemplateSegment::Literal(a), TemplateSegment::Literal(b)) => a == b,
                _ => true,
            })
    }
}

/// Why a request target was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// The path is not normal.
    Path,
    /// The query cannot be read in exactly one way.
    Query,
}

/// A request's path, normal, split and percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalPath {
    /// Decoded segments.
    pub segments: Vec<String>,
}

impl NormalPath {
    /// Checks and splits the raw path of a request target. `/` has no segments. Refused: what does not begin with `/`, empty
    /// and dot segments, `;`, bytes outside RFC 3986 (section 3.3), bad escapes, escapes that stand for `/ ? # % \ ;` or a control
    /// character, invalid UTF-8, more than [`SEGMENTS_MAX`] segments.
    pub fn parse(raw: &str) -> Result<Self, TargetError> {
        let rest = raw.strip_prefix('/').ok_or(TargetError::Path)?;
        if rest.is_empty() {
            return Ok(Self { segments: Vec::new() });
        }
        let mut segments = Vec::with_capacity(4);
        for part in rest.split('/') {
            if segments.len() == SEGMENTS_MAX {
                return Err(TargetError::Path);
            }
            segments.push(decode_segment(part).ok_or(TargetError::Path)?);
        }
        Ok(Self { segments })
    }
}

/// RFC 3986, section 3.3, without `;`.
fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

/// What may be in a decoded segment: nothing that another reader might take for structure.
fn is_segment_char(char: char) -> bool {
    !char.is_control() && !matches!(char, '/' | '?' | '#' | '%' | '\\' | ';')
}

fn decode_segment(raw: &str) -> Option<String> {
    let text = decode(raw, is_segment_byte, false)?;
    is_segment(&text).then_some(text)
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.chars().all(is_segment_char)
}

/// Undoes percent-encoding strictly: every other byte must be `allowed`.
fn decode(raw: &str, allowed: fn(u8) -> bool, plus_is_space: bool) -> Option<String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high << 4 | low).ok()?
            }
            b'+' if plus_is_space => b' ',
            other if allowed(other) => other,
            _ => return None,
        });
    }
    String::from_utf8(out).ok()
}

/// A query's pairs in order: raw name and raw value as sent, and both decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryPair {
    /// Decoded.
    pub name: String,
    /// Decoded; empty where there is no `=`.
    pub value: String,
    /// As sent, both sides of the `=` with it.
    pub raw: String,
}

/// Reads a raw query (behind the `?`) in the one way: split at `&`, then at the first `=`; `+` is a space in decoded values.
/// Nothing between two `&` is no pair. Refused: `;`, a second `?`, `#`, bad escapes, bytes outside RFC 3986 (section 3.4), a NUL,
/// invalid UTF-8.
pub fn parse_query(raw: &str) -> Result<Vec<QueryPair>, TargetError> {
    let allowed = |byte| is_segment_byte(byte) || byte == b'/';
    let read = |text: &str| decode(text, allowed, true).filter(|t| !t.contains('\0')).ok_or(TargetError::Query);
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok(QueryPair { name: read(name)?, value: read(value)?, raw: pair.to_owned() })
        })
        .collect()
}

/// Percent-encodes one path segment so that [`NormalPath::parse`] gives it back. `None` where it cannot be a segment of a
/// normal path (it contains `/`, is `.` or `..` or empty, …).
pub fn encode_segment(text: &str) -> Option<String> {
    is_segment(text).then(|| encode(text, is_segment_byte))
}

/// Percent-encodes a query name or value: everything but the unreserved characters of RFC 3986 (section 2.3).
pub fn encode_query(text: &str) -> String {
    encode(text, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

fn encode(text: &str, bare: fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if bare(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// All routes of one direction of one partner.
#[derive(Clone, Debug, Default)]
pub struct Router {
    /// INVARIANT: by `literals`, highest first, so that a template comes before every template that it beats.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    template: Template,
    literals: u64,
    methods: Vec<String>,
    index: usize,
}

impl Entry {
    fn serves(&self, method: &str) -> bool {
        self.methods.iter().any(|m| m == method || (m == "GET" && method == "HEAD"))
    }
    /// A literal segment beats a capture: literal wherever `other` is, and somewhere more.
    fn beats(&self, other: &Self) -> bool {
        self.literals != other.literals && self.literals & other.literals == other.literals
    }
}

/// What a router answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched {
    /// Index into `CompiledPolicy::routes`, and the captures by name, decoded.
    Route {
        /// Which.
        index: usize,
        /// Name and decoded value, in the template's order.
        captures: Vec<(String, String)>,
    },
    /// The path is known, the method is not: these are.
    Method {
        /// For the `Allow` header: `GET, HEAD, POST`.
        allow: String,
    },
    /// No route.
    None,
}

impl Router {
    /// From (index, methods, template) of each route. The error lists the pairs of indices that some request matches both of, with
    /// neither more literal than the other.
    pub fn new<'r>(
        routes: impl IntoIterator<Item = (usize, &'r [String], &'r Template)>,
    ) -> Result<Self, Vec<(usize, usize)>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut clashes = Vec::new();
        for (index, methods, template) in routes {
            let literals = template.literals();
            let new = Entry { template: template.clone(), literals, methods: methods.to_vec(), index };
            for old in &entries {
                let both = old.methods.iter().any(|m| new.serves(m)) || new.methods.iter().any(|m| old.serves(m));
                if both && old.template.meets(template) && !old.beats(&new) && !new.beats(old) {
                    clashes.push((old.index, index));
                }
            }
            entries.push(new);
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.literals));
        if clashes.is_empty() { Ok(Self { entries }) } else { Err(clashes) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Finds the route. `HEAD` finds the route of `GET`. A literal segment beats a capture, whatever the methods: where
    /// `POST /orders/search` stands beside `GET /orders/{id}`, `GET /orders/search` is answered with the methods of the former, and
    /// never read as an order's id.
    pub fn find(&self, method: &str, path: &NormalPath) -> Matched {
        let mut best: Vec<&Entry> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.template.matches(path)) {
            if best.iter().any(|better| better.beats(entry)) {
                continue;
            }
            if entry.serves(method) {
                return Matched::Route { index: entry.index, captures: captures(&entry.template, path) };
            }
            best.push(entry);
        }
        if best.is_empty() { Matched::None } else { Matched::Method { allow: allow(&best) } }
    }
}

fn captures(template: &Template, path: &NormalPath) -> Vec<(String, String)> {
    let pairs = template.segments.iter().zip(&path.segments);
    pairs
        .filter_map(|(segment, given)| match segment {
            TemplateSegment::Capture(name) => Some((name.clone(), given.clone())),
            TemplateSegment::Literal(_) => None,
        })
        .collect()
}

fn allow(entries: &[&Entry]) -> String {
    let mut methods: Vec<&str> = entries.iter().flat_map(|entry| &entry.methods).map(String::as_str).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

#[cfg(test)]
mod tests;
