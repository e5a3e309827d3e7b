//! Normalised paths (RFC 9535, section 2.7), written piece by piece.

use std::fmt::Write as _;

/// Appends `['name']`.
pub(super) fn push_name(out: &mut String, name: &str) {
    out.push_str("['");
    for char in name.chars() {
        match char {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            other => out.push(other),
        }
    }
    out.push_str("']");
}

/// Appends `[3]`.
pub(super) fn push_index(out: &mut String, index: u64) {
    let _ = write!(out, "[{index}]");
}
