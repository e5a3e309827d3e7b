//! RFC 9535 text to a checked [`Path`].

use std::sync::Arc;

use super::filter::Filter;

/// A checked JSONPath query.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    pub(crate) text: Arc<str>,
    pub(crate) segments: Vec<Segment>,
}

/// One segment (RFC 9535, section 2.5).
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// `..`
    pub descendant: bool,
    /// One or more.
    pub selectors: Vec<Selector>,
}

/// One selector (RFC 9535, section 2.3).
#[derive(Clone, Debug, PartialEq)]
pub enum Selector {
    /// A member's name, unescaped.
    Name(Arc<str>),
    /// `*`
    Wildcard,
    /// An array index; negative counts from the end.
    Index(i64),
    /// An array slice.
    Slice {
        /// First index.
        start: Option<i64>,
        /// End, exclusive.
        end: Option<i64>,
        /// Zero selects nothing (RFC 9535, section 2.3.4.2.2).
        step: i64,
    },
    /// `?…`
    Filter(Filter),
}

/// How much of a body must be held to decide a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing: one pass decides.
    Stream,
    /// One element.
    Element,
    /// The body.
    Body,
}

/// Why a text is no path that we run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// Byte offset in the text.
    pub offset: usize,
    /// What was found and what was wanted.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Path {
    /// Parses and checks a path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let _ = text;
        todo!()
    }
    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The segments behind `$`.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
    /// How much must be held to decide it.
    pub fn class(&self) -> Class {
        todo!()
    }
    /// The names that occur in name selectors on the main path, for printing locations and suggestions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(|s| &s.selectors).filter_map(|s| match s {
            Selector::Name(n) => Some(&**n),
            _ => None,
        })
    }
}
