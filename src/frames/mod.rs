//! How a body that is not one JSON document is cut into what it is made of: lines, events, pairs, parts.
//!
//! Pure: bytes in, pieces out, the same however the bytes were cut into chunks; nothing of JSON, policies or HTTP. A reader takes
//! from the front of what it is given and says what it found; it holds no more than what it cannot decide yet. What becomes of a
//! piece is `crossing`'s affair. Start at [`lines::Lines`].

use std::fmt;

pub mod events;
pub mod form;
pub mod head;
pub mod lines;
pub mod parts;

/// Why a body is not in its framing. Holds no byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was found.
    pub kind: FaultKind,
    /// Bytes of the body before the place.
    pub offset: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}", self.kind.as_str(), self.offset)
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
    /// A carriage return that no line feed follows.
    LineReturn => "line_return", "a carriage return inside a line";
    /// An event that is longer than what is held.
    EventTooLong => "event_too_long", "an event that is too long";
    /// An event that is not UTF-8.
    EventUtf8 => "event_utf8", "bytes that are not UTF-8";
    /// The leg's default is `refuse`, and no rule names this.
    EventUnlisted => "event_unlisted", "an event or id that the policy does not list";
    /// A `%` without two hexadecimal digits behind it.
    FormEscape => "form_escape", "a malformed escape";
    /// A byte that has no place in a form.
    FormByte => "form_byte", "a byte that a form does not allow here";
    /// Escapes that are not UTF-8.
    FormUtf8 => "form_utf8", "bytes that are not UTF-8";
    /// A name that is longer than what is held.
    FormName => "form_name_too_long", "a name that is too long";
    /// A value that has to be held to be transformed is longer than the limit.
    FormValue => "form_value_too_long", "a value that is too long to be transformed";
    /// The leg's default is `refuse`, and no rule names this pair.
    FormUnlisted => "form_unlisted", "a field that the policy does not list";
    /// Bytes before the first part.
    PartsPreamble => "part_preamble", "bytes before the first part";
    /// Bytes behind the last part.
    PartsEpilogue => "part_epilogue", "bytes behind the last part";
    /// The end came before the last delimiter.
    PartsTruncated => "part_truncated", "a body that ends too early";
    /// A line that begins as a delimiter and goes on otherwise.
    PartsDelimiter => "part_delimiter", "a malformed delimiter";
    /// A head that is longer than what is held.
    PartsHeadTooLong => "part_head_too_long", "the head of a part that is too long";
    /// A head that cannot be read in one way.
    PartsHead => "part_head", "a malformed head of a part";
    /// No name, or one that some readers would read otherwise.
    PartsName => "part_name", "a name of a part that is missing or can be read in two ways";
    /// `Content-Transfer-Encoding`.
    PartsEncoding => "part_encoding", "a part in an encoding of its own";
    /// Another type than its rule takes.
    PartType => "part_type", "a part that is not of its type";
    /// Text that is not UTF-8.
    PartUtf8 => "part_utf8", "bytes that are not UTF-8";
    /// A value that has to be held to be transformed is longer than the limit.
    PartValue => "part_value_too_long", "a value that is too long to be transformed";
    /// The leg's default is `refuse`, and no rule names this part.
    PartUnlisted => "part_unlisted", "a part that the policy does not list";
    /// A file, or a part of a type that is not read, without a permission.
    PartFile => "part_file", "a file that the policy does not list";
}
