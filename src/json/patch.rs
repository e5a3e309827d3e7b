//! A text changed in a few places: what only changed changes.
//!
//! A [`Patch`] is a stretch of a text and what to put there. A list of them is in order and never overlaps. [`respell`] turns patches of
//! a string's value into patches of its spelling, so that what no patch touches keeps its escapes. Start at [`apply`].

use std::ops::Range;

use super::text;

/// A stretch of a text and what to put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Bytes of the text.
    pub range: Range<usize>,
    /// What takes their place.
    pub put: Vec<u8>,
}

/// Appends the patched text to `out`. `None` where a patch lies outside the text or before the last one: then `out` is spoilt.
#[must_use]
pub fn apply(text: &[u8], patches: &[Patch], out: &mut Vec<u8>) -> Option<()> {
    let mut copied = 0;
    for patch in patches {
        out.extend_from_slice(text.get(copied..patch.range.start)?);
        out.extend_from_slice(&patch.put);
        copied = patch.range.end;
        text.get(patch.range.clone())?;
    }
    out.extend_from_slice(text.get(copied..)?);
    Some(())
}

/// Patches of a string's value as patches of its spelling; `raw` has its quotes and has passed the scanner. What is put is escaped
/// as little as RFC 8259 allows. `None` where a patch would cut what one escape stands for.
#[must_use]
pub fn respell(raw: &[u8], patches: &[Patch]) -> Option<Vec<Patch>> {
    let mut cursor = Cursor { raw, at: 1, value: 0 };
    let mut spelt = Vec::with_capacity(patches.len());
    for patch in patches {
        let range = cursor.seek(patch.range.start)?..cursor.seek(patch.range.end)?;
        let mut put = Vec::new();
        text::escape(std::str::from_utf8(&patch.put).ok()?, &mut put);
        put.pop();
        put.remove(0);
        spelt.push(Patch { range, put });
    }
    Some(spelt)
}

/// A place in a string's spelling and in its value.
struct Cursor<'a> {
    raw: &'a [u8],
    at: usize,
    value: usize,
}

impl Cursor<'_> {
    /// Goes on to a byte of the value; gives where it is spelt.
    fn seek(&mut self, wanted: usize) -> Option<usize> {
        let end = self.raw.len().checked_sub(1)?;
        while self.value < wanted {
            let rest = self.raw.get(self.at..end)?;
            let left = wanted - self.value;
            let plain = memchr::memchr(b'\\', rest.get(..left).unwrap_or(rest));
            match plain {
                Some(0) => {
                    let (spelling, value) = text::escape_lengths(rest)?;
                    self.at += spelling;
                    self.value += value;
                }
                Some(run) => (self.at, self.value) = (self.at + run, self.value + run),
                None => {
                    let run = left.min(rest.len());
                    (self.at, self.value) = (self.at + run, self.value + run);
                    if run == 0 {
                        return None;
                    }
                }
            }
        }
        (self.value == wanted).then_some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(range: Range<usize>, put: &str) -> Patch {
        Patch { range, put: put.into() }
    }

    fn check(raw: &str, patches: &[Patch], expected: Option<&str>) {
        let mut out = Vec::new();
        let spelt = respell(raw.as_bytes(), patches);
        let done = spelt.as_ref().and_then(|spelt| apply(raw.as_bytes(), spelt, &mut out));
        assert_eq!(done.map(|()| String::from_utf8(out).unwrap()).as_deref(), expected, "{raw} {patches:?}");
        // As slowly: the value is patched and spelt anew.
        if let Some(expected) = expected {
            let mut value = Vec::new();
            apply(text::unescape(raw.as_bytes()).as_bytes(), patches, &mut value).unwrap();
            assert_eq!(text::unescape(expected.as_bytes()).as_bytes(), value);
        }
    }

    #[test]
    fn what_no_patch_touches_keeps_its_spelling() {
        check(r#""a\u0062\/c""#, &[], Some(r#""a\u0062\/c""#));
        check(r#""a\u0062\/c""#, &[patch(3..4, "\"\n")], Some(r#""a\u0062\/\"\n""#));
        check(r#""a\u0062\/c""#, &[patch(1..2, ""), patch(4..4, "d")], Some(r#""a\/cd""#));
        check(r#""\ud83d\ude00\t""#, &[patch(4..5, " ")], Some(r#""\ud83d\ude00 ""#));
        check("\"\u{e9}\\u00e9x\"", &[patch(2..4, "e"), patch(4..5, "")], Some("\"\u{e9}e\""));
        check("\"\"", &[patch(0..0, "x")], Some("\"x\""));
    }

    #[test]
    fn a_patch_that_cuts_an_escape_or_lies_outside_is_none() {
        check(r#""\u00e9""#, &[patch(1..2, "x")], None);
        check(r#""\ud83d\ude00""#, &[patch(0..2, "x")], None);
        check(r#""ab""#, &[patch(1..3, "x")], None);
        check(r#""ab""#, &[Patch { range: Range { start: 2, end: 1 }, put: Vec::new() }], None);
        check(r#""ab""#, &[patch(0..1, "x"), patch(0..1, "x")], None);
    }
}
