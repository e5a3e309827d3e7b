//! How tokens look, and what they are made of.

/// What a token stands for: typed, so that the number 1 and the string "1" have different tokens and come back as they were.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A string, unescaped.
    Text(&'a str),
    /// A number, in canonical decimal (`json::text::canonical_number`).
    Number(&'a str),
}

/// What came of issuing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// A token was appended.
    Token,
    /// The value is already a token of this domain and stays as it is; nothing was appended.
    Already,
    /// The value does not fit the shape (too long for an e-mail token, not 6 or more digits, …); nothing was appended. The caller drops it and counts it.
    Unfit,
}

/// What came of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A string was appended.
    Text,
    /// A number's canonical decimal was appended.
    Number,
    /// Not a token at all.
    Plain,
    /// Looks like a token and is not one of this domain and category: foreign, tampered with, of another category.
    Foreign,
}
