//! Strings and numbers as JSON spells them.

use std::borrow::Cow;

/// The value of a string. `raw` has its quotes and has passed the scanner. Borrowed where there is no escape.
pub fn unescape(raw: &[u8]) -> Cow<'_, str> {
    let _ = raw;
    todo!()
}
/// Appends `text` as a JSON string with quotes.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let _ = (text, out);
    todo!()
}
/// A number's canonical decimal, so that `1`, `1.0` and `1e0` agree: digits and an exponent, never through a float. `None` for
/// what is no number (RFC 8259, section 6) or has an exponent beyond i32.
pub fn canonical_number(raw: &[u8]) -> Option<String> {
    let _ = raw;
    todo!()
}
/// Folded form of a member name: NFKC, lower case, invisible characters and white space at either end removed.
pub fn fold(name: &str) -> Cow<'_, str> {
    let _ = name;
    todo!()
}
