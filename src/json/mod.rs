//! The JSON engine: strict, byte-preserving, incremental, pure.
//!
//! It knows paths and verbs; it knows nothing of partners, HTTP, keys or time. The same program and the same bytes give
//! the same plan, however the bytes were cut. Start at [`window::Rewriter`].

use std::fmt;

pub mod automaton;
mod decide;
mod dfa;
pub mod filter;
mod items;
mod judge;
mod location;
mod marks;
mod names;
mod nfa;
pub mod patch;
pub mod path;
mod pending;
mod place;
mod plan;
pub mod regexp;
mod region;
mod scan;
mod scout;
mod simd;
mod skim;
mod spare;
mod tally;
pub mod tape;
pub mod text;
mod trace;
mod walk;
pub mod window;

/// What a body may cost. Every limit has a default and a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nesting of containers. Default 512: deeper than any API's, small enough that the stack of frames is a few KiB.
    pub depth: usize,
    /// Bytes of names, white space and opening brackets that are held back at one time until it is known whether they stay.
    /// Default 64 KiB: what a body in good faith holds back is below 1 KiB.
    pub name_bytes: usize,
    /// Bytes of one value that has to be held to be transformed. Default 64 KiB.
    pub value_bytes: usize,
    /// Bytes of an element or body that has to be held to decide a filter or an index from the end. Default 1 MiB.
    pub element_bytes: usize,
    /// Steps that filters may take in one body, beside one for each byte of the elements that they decide about (so that a long
    /// stream of usual elements never runs out). Default 4,000,000.
    pub filter_steps: u64,
    /// Leaves of one body that may be transformed. Default 1,000,000: a stand-in costs as much as some hundred bytes of scanning.
    pub leaves: u64,
    /// Bytes by which rules may make one body longer: what they put, less the leaf that it stands for; a constant counts whole.
    /// Default 16 MiB: `{"email":""}` and a token make four bytes of one.
    pub growth_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 512,
            name_bytes: 64 << 10,
            value_bytes: 64 << 10,
            element_bytes: 1 << 20,
            filter_steps: 4_000_000,
            leaves: 1_000_000,
            growth_bytes: 16 << 20,
        }
    }
}

/// Why a document was not accepted, and where. Holds no byte of the document.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault {
    /// What was found.
    pub kind: FaultKind,
    /// Bytes of the document before the place.
    pub offset: u64,
    /// A normalised path (RFC 9535, section 2.7) in which names that no rule mentions are printed as `[*]`.
    pub location: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, byte {}", self.kind.as_str(), self.location, self.offset)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! fault_kinds {
    ($($(#[$doc:meta])* $variant:ident => $code:literal, $text:literal;)*) => {
        /// Every cause of a [`Fault`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FaultKind { $($(#[$doc])* $variant,)* }
        impl FaultKind {
            /// All kinds, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str { match self { $(Self::$variant => $code,)* } }
            /// The kind in words.
            #[must_use]
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $text,)* } }
        }
    };
}

fault_kinds! {
    /// Nothing but white space.
    Empty => "json_empty", "an empty document";
    /// The document ends inside a value.
    Truncated => "json_truncated", "a document that ends too early";
    /// Bytes after the document.
    Trailing => "json_trailing", "bytes after the document";
    /// A byte order mark.
    ByteOrderMark => "json_bom", "a byte order mark";
    /// Not UTF-8.
    Utf8 => "json_utf8", "bytes that are not UTF-8";
    /// A byte that the grammar does not allow here.
    Syntax => "json_syntax", "a byte that JSON does not allow here";
    /// A number not spelt as RFC 8259 says.
    Number => "json_number", "a malformed number";
    /// An unknown or unfinished escape.
    Escape => "json_escape", "a malformed escape";
    /// A `\uD800`-`\uDFFF` without its other half.
    Surrogate => "json_surrogate", "a lone surrogate";
    /// A control character inside a string.
    Control => "json_control", "a control character in a string";
    /// `\u0000` in a member's name.
    NulName => "json_nul_name", "a NUL in a member name";
    /// More nesting than the limit.
    Depth => "json_depth", "more nesting than the limit";
    /// A member's name, with what else is held back until it is known whether it stays, is longer than the limit.
    NameTooLong => "json_name_too_long", "a member name that is too long";
    /// A value that has to be held to be transformed is longer than the limit.
    ValueTooLong => "json_value_too_long", "a value that is too long to be transformed";
    /// An element that has to be held to decide a rule is longer than the limit.
    ElementTooLong => "json_element_too_long", "an element that is too long to decide a rule";
    /// A filter reads an object that has the same name twice.
    DuplicateName => "json_duplicate_name", "a duplicate member name that a filter reads";
    /// Filters took more steps than the limit.
    FilterSteps => "json_filter_steps", "more filter steps than the limit";
    /// More leaves would be transformed than the limit.
    Leaves => "json_leaves", "more values to transform than the limit";
    /// Rules would make the body longer by more than the limit.
    Growth => "json_growth", "a body that rules make too much longer";
    /// The leg's default is `refuse` and no rule names this place.
    Unlisted => "json_unlisted", "a field that the policy does not list";
    /// A rule could not be evaluated on this value.
    Rule => "json_rule", "a value that a rule cannot be applied to";
}
