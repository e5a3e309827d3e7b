//! Strings and numbers as JSON spells them.
//!
//! Every function here takes bytes that have passed the scanner, and gives a defined answer (never a panic) for bytes that have
//! not. Nothing here goes through a float. Start at [`unescape`] and [`Decimal`].

use std::borrow::Cow;
use std::cmp::Ordering;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// The value of a string. `raw` has its quotes and has passed the scanner. Borrowed where there is no escape.
///
/// Of bytes that have not passed the scanner, what cannot be read becomes U+FFFD.
pub fn unescape(raw: &[u8]) -> Cow<'_, str> {
    let inner = inner(raw);
    if memchr::memchr(b'\\', inner).is_none() {
        return match simdutf8::basic::from_utf8(inner) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(inner),
        };
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        rest = take_escape(from, &mut out);
    }
    out.extend_from_slice(rest);
    Cow::Owned(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// What stands between the quotes.
fn inner(raw: &[u8]) -> &[u8] {
    let raw = raw.strip_prefix(b"\"").unwrap_or(raw);
    raw.strip_suffix(b"\"").unwrap_or(raw)
}

/// How long the escape at the head of `from` is, and what it stands for. `None` where there is none.
pub(super) fn escape_lengths(from: &[u8]) -> Option<(usize, usize)> {
    let mut value = Vec::with_capacity(4);
    let rest = from.starts_with(b"\\").then(|| take_escape(from, &mut value))?;
    Some((from.len() - rest.len(), value.len()))
}

/// Reads the escape at the head of `from` into `out`; gives what comes after it.
fn take_escape<'a>(from: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
    let plain = match from {
        [_, b'b', ..] => 8,
        [_, b'f', ..] => 12,
        [_, b'n', ..] => b'\n',
        [_, b'r', ..] => b'\r',
        [_, b't', ..] => b'\t',
        [_, c @ (b'"' | b'\\' | b'/'), ..] => *c,
        [_, b'u', after @ ..] => {
            let (char, rest) = take_unicode(after);
            match char {
                Some(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
                None => out.extend_from_slice(REPLACEMENT),
            }
            return rest;
        }
        _ => {
            out.extend_from_slice(REPLACEMENT);
            return from.get(1..).unwrap_or_default();
        }
    };
    out.push(plain);
    from.get(2..).unwrap_or_default()
}

/// Reads the `XXXX` of `\uXXXX`, and the second half of a surrogate pair with it.
fn take_unicode(after: &[u8]) -> (Option<char>, &[u8]) {
    let Some((high, rest)) = take_hex4(after) else { return (None, after) };
    if let Some(char) = char::from_u32(high) {
        return (Some(char), rest);
    }
    if (0xd800..0xdc00).contains(&high)
        && let [b'\\', b'u', more @ ..] = rest
        && let Some((low @ 0xdc00..=0xdfff, rest)) = take_hex4(more)
    {
        return (char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)), rest);
    }
    (None, rest)
}

fn take_hex4(from: &[u8]) -> Option<(u32, &[u8])> {
    let (four, rest) = from.split_first_chunk::<4>()?;
    let mut code = 0;
    for byte in four {
        code = code << 4 | char::from(*byte).to_digit(16)?;
    }
    Some((code, rest))
}

/// Is this string (with its quotes, scanned) equal to `text` once unescaped? Allocates only where there are escapes.
pub fn equals(raw: &[u8], text: &str) -> bool {
    let inner = inner(raw);
    if inner == text.as_bytes() {
        // What has no backslash is its own value; `text` may hold one only if `inner` spells an escape with it.
        return memchr::memchr(b'\\', inner).is_none();
    }
    // An escape is longer than what it stands for, by six times at most: other lengths are other strings, unread.
    let may = text.len() + 1..=text.len().saturating_mul(6);
    may.contains(&inner.len()) && memchr::memchr(b'\\', inner).is_some() && unescape(raw) == text
}

/// Appends `text` as a JSON string with quotes. Escapes only what RFC 8259, section 7, demands.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend([byte >> 4, byte & 15].iter().filter_map(|n| HEX.get(usize::from(*n))));
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A number's canonical decimal, so that `1`, `1.0` and `1e0` agree: digits and an exponent, never through a float.
///
/// The digits have no zero at either end; the form is `-12e3`, for every zero `0e0`. `None` for what is no number (RFC 8259,
/// section 6) or whose canonical exponent is beyond i32 (so that all spellings of one value get one answer).
pub fn canonical_number(raw: &[u8]) -> Option<String> {
    let number = Decimal::parse(raw)?;
    if number.is_zero() {
        return Some("0e0".to_owned());
    }
    let mut out = String::with_capacity(raw.len() + 4);
    if number.negative {
        out.push('-');
    }
    out.extend(number.digits().map(char::from));
    let digits = i64::try_from(out.len() - usize::from(number.negative)).ok()?;
    let exponent = i32::try_from(number.order - digits).ok()?;
    out.push('e');
    out.push_str(&exponent.to_string());
    Some(out)
}

/// A number read from its spelling: exact, of any length, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    negative: bool,
    // INVARIANT: `head` then `tail` are the significant digits, no zero at either end; both empty for zero.
    head: &'a [u8],
    tail: &'a [u8],
    /// The value is `0.DIGITS` times ten to this power.
    order: i64,
}

impl<'a> Decimal<'a> {
    /// Reads a number (RFC 8259, section 6). `None` for what is none, or has an exponent beyond about 10^18.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        let (negative, rest) = match raw.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, raw),
        };
        let (int, rest) = take_digits(rest);
        if int.is_empty() || (int.len() > 1 && int.first() == Some(&b'0')) {
            return None;
        }
        let (frac, rest) = match rest.strip_prefix(b".") {
            Some(rest) => take_digits(rest),
            None => (&[][..], rest),
        };
        if frac.is_empty() && raw.contains(&b'.') {
            return None;
        }
        let head = trim_start(int);
        let (head, tail, mut order) = match head.is_empty() {
            true => {
                let tail = trim_start(frac);
                (head, tail, -i64::try_from(frac.len() - tail.len()).ok()?)
            }
            false => (head, frac, i64::try_from(head.len()).ok()?),
        };
        let tail = trim_end(tail);
        let head = if tail.is_empty() { trim_end(head) } else { head };
        let zero = head.is_empty() && tail.is_empty();
        match rest {
            [] => {}
            [b'e' | b'E', exponent @ ..] => match exponent_of(exponent)? {
                // Zero is zero under any exponent.
                _ if zero => {}
                Some(exponent) => order += exponent,
                None => return None,
            },
            _ => return None,
        }
        Some(match zero {
            true => Self { negative: false, head: &[], tail: &[], order: 0 },
            false => Self { negative, head, tail, order },
        })
    }

    /// Is it zero? (`-0` is.)
    pub fn is_zero(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    fn digits(&self) -> impl Iterator<Item = u8> + 'a {
        self.head.iter().chain(self.tail).copied()
    }

    fn sign(&self) -> i8 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_size = || self.order.cmp(&other.order).then_with(|| self.digits().cmp(other.digits()));
        self.sign().cmp(&other.sign()).then_with(|| if self.negative { by_size().reverse() } else { by_size() })
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal<'_> {}

/// The digits at the head of `from`, and the rest.
fn take_digits(from: &[u8]) -> (&[u8], &[u8]) {
    let end = from.iter().position(|b| !b.is_ascii_digit()).unwrap_or(from.len());
    from.split_at_checked(end).unwrap_or((from, &[]))
}

fn trim_start(mut digits: &[u8]) -> &[u8] {
    while let [b'0', rest @ ..] = digits {
        digits = rest;
    }
    digits
}

fn trim_end(mut digits: &[u8]) -> &[u8] {
    while let [rest @ .., b'0'] = digits {
        digits = rest;
    }
    digits
}

/// What stands after the `e`. `None`: malformed. `Some(None)`: too great.
#[expect(clippy::option_option, reason = "malformed and too great are told apart by the one caller, next to this")]
fn exponent_of(raw: &[u8]) -> Option<Option<i64>> {
    let (negative, digits) = match raw {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = trim_start(digits);
    if digits.len() > 18 {
        return Some(None);
    }
    let size = digits.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some(Some(if negative { -size } else { size }))
}

/// Folded form of a member name: NFKC, case folded, invisible characters and white space at either end removed.
///
/// Two names that a person could take for one another by case, width, ligature, invisible characters or surrounding blanks fold
/// to the same text. Look-alikes of other scripts do not. Folding again changes nothing.
pub fn fold(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| matches!(b, b'!'..=b'~') && !b.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    if name.is_ascii() {
        let visible = name.chars().filter(|c| !is_invisible(*c)).map(|c| c.to_ascii_lowercase());
        return Cow::Owned(visible.collect::<String>().trim().to_owned());
    }
    let mut text = fold_once(name);
    // Case folding can undo normal form and the other way round; a few rounds settle every text.
    for _ in 0..4 {
        let again = fold_once(&text);
        if again == text {
            break;
        }
        text = again;
    }
    if text == name { Cow::Borrowed(name) } else { Cow::Owned(text) }
}

fn fold_once(name: &str) -> String {
    let visible = name.chars().filter(|c| !is_invisible(*c));
    // Through upper to lower case, so that `ß` and `SS`, `ς` and `Σ`, `ı` and `I` meet.
    let mut folded = String::with_capacity(name.len());
    for char in visible.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase) {
        // `İ` in lower case is `i` and a dot above, which `i` has already.
        if char == '\u{307}' && folded.ends_with('i') {
            continue;
        }
        folded.push(char);
    }
    let folded = match is_nfkc_quick(folded.chars()) {
        IsNormalized::Yes => folded,
        _ => folded.nfkc().collect(),
    };
    folded.trim_matches(|c: char| c.is_whitespace()).to_owned()
}

/// Characters that show nothing: controls, and what Unicode calls default ignorable, and the blank braille cell.
fn is_invisible(char: char) -> bool {
    (char.is_control() && !char.is_whitespace())
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
