//! The grammar of tokens: strings, numbers, literals, white space (RFC 8259), strict and resumable at any byte.
//!
//! It knows nothing of nesting (see `skim`) and nothing of paths. All functions look at bytes that are known to be UTF-8,
//! go on where they stopped when more bytes are there, and find a fault at the same byte however the input was cut. Start at
//! [`string`].

use super::{FaultKind, simd};

/// What was found at which byte of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) kind: FaultKind,
    pub(super) at: usize,
}

pub(super) fn bad<T>(kind: FaultKind, at: usize) -> Result<T, Bad> {
    Err(Bad { kind, at })
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The first byte behind it.
    Done(usize),
    /// It goes on behind the buffer; from here with more bytes.
    More(usize),
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Bit 7 of the first byte that ends a plain run of a string: a quote, a backslash, a control character. Bits above the
/// lowest one set mean nothing (borrows run upwards).
#[inline(always)]
fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let slash = word ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let slash = slash.wrapping_sub(ONES) & !slash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | slash | control) & HIGH
}

/// The first byte at or behind `at` that ends a plain run of a string, or the length of `buf`.
#[inline(always)]
pub(super) fn plain(buf: &[u8], mut at: usize) -> usize {
    let far = at + 32;
    while let Some(chunk) = buf.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let found = special(u64::from_le_bytes(*chunk));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
        if at == far {
            at = simd::plain(buf, at);
        }
    }
    while let Some(byte) = buf.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            break;
        }
        at += 1;
    }
    at
}

/// Scans the inside of a string from `at` to behind its closing quote. `escaped` is set where there is an escape. A name
/// may hold no NUL.
#[inline(always)]
pub(super) fn string(buf: &[u8], mut at: usize, name: bool, escaped: &mut bool) -> Result<Token, Bad> {
    loop {
        at = plain(buf, at);
        match buf.get(at) {
            Some(b'"') => return Ok(Token::Done(at + 1)),
            Some(b'\\') => {
                *escaped = true;
                match escape(buf, at, name)? {
                    Token::Done(behind) => at = behind,
                    more @ Token::More(_) => return Ok(more),
                }
            }
            Some(_) => return bad(FaultKind::Control, at),
            None => return Ok(Token::More(at)),
        }
    }
}

/// One escape, a surrogate pair as one. `at` is the backslash.
#[inline]
pub(super) fn escape(buf: &[u8], at: usize, name: bool) -> Result<Token, Bad> {
    match buf.get(at + 1) {
        None => Ok(Token::More(at)),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(Token::Done(at + 2)),
        Some(b'u') => match hex4(buf, at + 2)? {
            None => Ok(Token::More(at)),
            Some(0) if name => bad(FaultKind::NulName, at),
            Some(0xd800..=0xdbff) => low_surrogate(buf, at),
            Some(0xdc00..=0xdfff) => bad(FaultKind::Surrogate, at),
            Some(_) => Ok(Token::Done(at + 6)),
        },
        Some(_) => bad(FaultKind::Escape, at),
    }
}

/// `at` is the backslash of the high half.
fn low_surrogate(buf: &[u8], at: usize) -> Result<Token, Bad> {
    match (buf.get(at + 6), buf.get(at + 7)) {
        (None, _) | (Some(b'\\'), None) => Ok(Token::More(at)),
        (Some(b'\\'), Some(b'u')) => match hex4(buf, at + 8)? {
            None => Ok(Token::More(at)),
            Some(0xdc00..=0xdfff) => Ok(Token::Done(at + 12)),
            Some(_) => bad(FaultKind::Surrogate, at),
        },
        _ => bad(FaultKind::Surrogate, at),
    }
}

/// `None` where the buffer ends before.
fn hex4(buf: &[u8], at: usize) -> Result<Option<u32>, Bad> {
    let mut code = 0;
    for place in at..at + 4 {
        let Some(byte) = buf.get(place) else { return Ok(None) };
        let Some(digit) = char::from(*byte).to_digit(16) else { return bad(FaultKind::Escape, place) };
        code = code << 4 | digit;
    }
    Ok(Some(code))
}

/// How far into a number the scanner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digits {
    /// Behind nothing: a minus or a digit must come.
    Start,
    /// Behind the minus: a digit must come.
    Minus,
    /// Behind a leading zero: no digit may come.
    Zero,
    /// In the integer.
    Integer,
    /// Behind the point: a digit must come.
    Point,
    /// In the fraction.
    Fraction,
    /// Behind the `e`: a sign or digit must come.
    E,
    /// Behind the sign of the exponent: a digit must come.
    Sign,
    /// In the exponent.
    Exponent,
}

impl Digits {
    /// May the number end here?
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Exponent)
    }
}

/// Scans a number on from `at`. Only a byte that is no part of it ends it, so a number at the end of the buffer goes on.
#[inline(always)]
pub(super) fn number(buf: &[u8], mut at: usize, digits: &mut Digits) -> Result<Token, Bad> {
    while let Some(byte) = buf.get(at) {
        *digits = match (*digits, byte) {
            (Digits::Integer, b'0'..=b'9') => Digits::Integer,
            (Digits::Fraction | Digits::Point, b'0'..=b'9') => Digits::Fraction,
            (Digits::Exponent | Digits::E | Digits::Sign, b'0'..=b'9') => Digits::Exponent,
            (Digits::Start | Digits::Minus, b'1'..=b'9') => Digits::Integer,
            (Digits::Start | Digits::Minus, b'0') => Digits::Zero,
            (Digits::Start, b'-') => Digits::Minus,
            (Digits::Zero | Digits::Integer, b'.') => Digits::Point,
            (Digits::Zero | Digits::Integer | Digits::Fraction, b'e' | b'E') => Digits::E,
            (Digits::E, b'+' | b'-') => Digits::Sign,
            (Digits::Zero, b'0'..=b'9') => return bad(FaultKind::Number, at),
            (end, _) if end.is_number() => return Ok(Token::Done(at)),
            _ => return bad(FaultKind::Number, at),
        };
        at += 1;
    }
    Ok(Token::More(at))
}

/// The end of a number of the plain kind (no exponent) that is there with the byte behind it. `None` says nothing.
#[inline(always)]
pub(super) fn plain_number(buf: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        while buf.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    if buf.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match buf.get(at)? {
        b'0' => at + 1,
        b'1'..=b'9' => digits(at + 1),
        _ => return None,
    };
    if buf.get(at) == Some(&b'.') {
        let behind = digits(at + 1);
        if behind == at + 1 {
            return None;
        }
        at = behind;
    }
    matches!(buf.get(at)?, b',' | b'}' | b']' | b'\n' | b'\r' | b' ' | b'\t').then_some(at)
}

/// Scans `true`, `false` or `null` from its first byte, which is known to be `t`, `f` or `n`.
#[inline(always)]
pub(super) fn literal(buf: &[u8], at: usize) -> Result<Token, Bad> {
    let word: &[u8] = match buf.get(at) {
        Some(b't') => b"true",
        Some(b'f') => b"false",
        _ => b"null",
    };
    if buf.get(at..at + word.len()) == Some(word) {
        return Ok(Token::Done(at + word.len()));
    }
    for (i, wanted) in word.iter().enumerate() {
        match buf.get(at + i) {
            None => return Ok(Token::More(at)),
            Some(byte) if byte == wanted => {}
            Some(_) => return bad(FaultKind::Syntax, at + i),
        }
    }
    Ok(Token::Done(at + word.len()))
}

/// The first byte at or behind `at` that is no white space, or the length of `buf`.
#[inline(always)]
pub(super) fn blank(buf: &[u8], at: usize) -> usize {
    match buf.get(at) {
        Some(0x21..) => at,
        _ => long_blank(buf, at),
    }
}

fn long_blank(buf: &[u8], mut at: usize) -> usize {
    const SPACES: u64 = ONES * b' ' as u64;
    loop {
        match buf.get(at) {
            Some(b' ') => match buf.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
                Some(chunk) => match u64::from_le_bytes(*chunk) ^ SPACES {
                    0 => at += 8,
                    other => at += (other.trailing_zeros() / 8) as usize,
                },
                None => at += 1,
            },
            Some(b'\t' | b'\n' | b'\r') => at += 1,
            _ => return at,
        }
    }
}
