//! Paths of requests, in their one normal form, and the templates that match them.
//!
//! Pure. What is not normal is refused, never repaired (`policy-language`: Routes).

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
    /// Checks and splits the raw path of a request target.
    pub fn parse(raw: &str) -> Result<Self, TargetError> {
        let _ = raw;
        todo!()
    }
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

/// Reads a raw query (behind the `?`) in the one way: split at `&`; `+` is a space in decoded values.
pub fn parse_query(raw: &str) -> Result<Vec<QueryPair>, TargetError> {
    let _ = raw;
    todo!()
}

/// Percent-encodes one path segment so that [`NormalPath::parse`] gives it back. `None` where it cannot be a segment of a
/// normal path (it contains `/`, is `.` or `..` or empty, …).
pub fn encode_segment(text: &str) -> Option<String> {
    let _ = text;
    todo!()
}

/// Percent-encodes a query value.
pub fn encode_query(text: &str) -> String {
    let _ = text;
    todo!()
}

/// All routes of one direction of one partner.
#[derive(Clone, Debug, Default)]
pub struct Router {}

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
    /// Finds the route. `HEAD` finds the route of `GET`. A literal segment beats a capture.
    pub fn find(&self, method: &str, path: &NormalPath) -> Matched {
        let _ = (method, path);
        todo!()
    }
}
