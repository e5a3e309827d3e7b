//! ASCII letters and digits to as many of them: FF1 with AES-256. **Unauthenticated**: any letters and digits of fitting length
//! decrypt to something.
//!
//! The case of letters stays, so that a token passes where `[A-Z0-9]+` is wanted: a text without small letters becomes one
//! without (of 36 characters), one without capitals another without, and a text with both becomes one with both (of 62). That
//! needs no mark in the token: FF1 is applied until the result is of the value's own kind (cycle walking: the walk stays on one
//! cycle of a permutation, so walking back from the result ends where it began). A text of digits alone is one without
//! small letters, and its token may have capitals.

use std::fmt;

use super::block::KEY_LEN;
use super::ff1::{Ff1, Way};

/// Fewest characters: 36^4 is 1.7 million values, and 36^3 are fewer than the million that NIST asks for.
pub const ALNUM_MIN: usize = 4;
/// Most characters: FF1's time grows faster than the length.
pub const ALNUM_MAX: usize = 64;

/// A keyed permutation of texts, for each length and kind its own. `&self` throughout. Wiped when dropped.
pub struct Alnum {
    one_case: Ff1,
    both: Ff1,
}

/// Which letters a text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No small ones.
    Capitals,
    /// Small ones alone.
    Small,
    /// Both.
    Both,
}

impl Kind {
    /// `None`: there is something else than ASCII letters and digits.
    fn of(text: &[u8]) -> Option<Self> {
        let has = |found: fn(&u8) -> bool| text.iter().any(found);
        match (has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase)) {
            _ if !text.iter().all(u8::is_ascii_alphanumeric) => None,
            (_, false) => Some(Self::Capitals),
            (false, true) => Some(Self::Small),
            (true, true) => Some(Self::Both),
        }
    }

    fn numeral(self, character: u8) -> u16 {
        u16::from(match character {
            b'0'..=b'9' => character - b'0',
            b'A'..=b'Z' => character - b'A' + 10,
            _ if self == Self::Both => character.wrapping_sub(b'a') + 36,
            _ => character.wrapping_sub(b'a') + 10,
        })
    }

    fn character(self, numeral: u16) -> u8 {
        let numeral = numeral as u8;
        match numeral {
            0..10 => b'0' + numeral,
            10..36 if self == Self::Small => b'a' + numeral - 10,
            10..36 => b'A' + numeral - 10,
            _ => b'a' + numeral.wrapping_sub(36) % 26,
        }
    }
}

impl Alnum {
    /// With the names of domain and category as `tweak`.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN], tweak: &[u8]) -> Self {
        Self { one_case: Ff1::new(key, 36, tweak), both: Ff1::new(key, 62, tweak) }
    }

    /// Appends the token of ASCII letters and digits. `false`, and nothing appended: other characters, or fewer than
    /// [`ALNUM_MIN`], or more than [`ALNUM_MAX`].
    #[must_use]
    pub fn encrypt(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        self.convert(Way::Encrypt, text, out).is_some()
    }

    /// Appends the text of a token, or what it decrypts to if it is none. `false` as in [`Self::encrypt`].
    #[must_use]
    pub fn decrypt(&self, token: &[u8], out: &mut Vec<u8>) -> bool {
        self.convert(Way::Decrypt, token, out).is_some()
    }

    fn convert(&self, way: Way, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if !(ALNUM_MIN..=ALNUM_MAX).contains(&text.len()) {
            return None;
        }
        let kind = Kind::of(text)?;
        let (ff1, more) = match kind {
            Kind::Capitals => (&self.one_case, b"A"),
            Kind::Small => (&self.one_case, b"a"),
            Kind::Both => (&self.both, b"*"),
        };
        let mut numerals: Vec<u16> = text.iter().map(|character| kind.numeral(*character)).collect();
        loop {
            numerals = ff1.run(way, numerals, more)?;
            let spelled: Vec<u8> = numerals.iter().map(|numeral| kind.character(*numeral)).collect();
            if Kind::of(&spelled) == Some(kind) {
                out.extend_from_slice(&spelled);
                return Some(());
            }
        }
    }
}

impl fmt::Debug for Alnum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alnum([secret])")
    }
}
