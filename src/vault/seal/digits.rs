//! Digits to as many digits: FF1 (NIST SP 800-38G) with AES-256. **Unauthenticated**: any digits of fitting length decrypt to
//! something, and nobody can tell a token from a number that merely looks like one.
//!
//! Two properties are added to FF1, and both can be undone without knowing what went in:
//!
//! - **A token begins with 0 exactly where the value does**, so that what was a JSON number can stay one. Where the first digit
//!   is not 0, FF1 is applied until the result does not begin with 0 either (cycle walking: the walk stays on one cycle of a
//!   permutation, so walking back from the result ends where it began; 1.1 calls on average). A leading 0 stays, and the other
//!   digits are encrypted; where there are but 6 digits, the other 5 are too few for FF1, and the walk is used (10 calls on
//!   average).
//! - **What looks like a card number (13 to 19 digits that pass the Luhn check) becomes digits that fail it.** At these lengths
//!   all but the last digit are encrypted, with the offset of the last one from the right check digit in the tweak; then the
//!   last digit is written with that offset shifted by 1 to 9, how far being a keyed function of the encrypted digits. Offset 0
//!   is never mapped to 0; for given encrypted digits the ten offsets are permuted, so decrypting finds the offset first and
//!   then the digits. (Cycle walking alone cannot do this: it maps a set to itself, and never valid numbers to invalid ones.)

use std::fmt;

use super::block::{self, Aes256};
use super::ff1::{Ff1, Way};

/// Bytes of a key: one half for FF1, one for the check digit.
pub const KEY_LEN: usize = 2 * block::KEY_LEN;
/// Fewest digits: 10^6 values, the least that NIST allows.
pub const DIGITS_MIN: usize = 6;
/// Most digits: FF1's time grows faster than the length.
pub const DIGITS_MAX: usize = 64;

/// Lengths of card numbers (ISO/IEC 7812-1).
const CARD: std::ops::RangeInclusive<usize> = 13..=19;
/// Tweak of a string whose leading zero was put aside; added to the others.
const AFTER_ZERO: u8 = 0x40;

/// A keyed permutation of digit strings, for each length its own. `&self` throughout. Wiped when dropped.
pub struct Digits {
    ff1: Ff1,
    check: Aes256,
}

impl Digits {
    /// With the names of domain and category as `tweak`.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN], tweak: &[u8]) -> Self {
        let [ff1, check] = block::halves(key);
        Self { ff1: Ff1::new(ff1, 10, tweak), check: Aes256::new(check) }
    }

    /// Appends the token of ASCII digits. `false`, and nothing appended: not digits, or fewer than [`DIGITS_MIN`], or more than
    /// [`DIGITS_MAX`].
    #[must_use]
    pub fn encrypt(&self, digits: &[u8], out: &mut Vec<u8>) -> bool {
        self.convert(Way::Encrypt, digits, out)
    }

    /// Appends the digits of a token, or what it decrypts to if it is none. `false` as in [`Self::encrypt`].
    #[must_use]
    pub fn decrypt(&self, token: &[u8], out: &mut Vec<u8>) -> bool {
        self.convert(Way::Decrypt, token, out)
    }

    fn convert(&self, way: Way, digits: &[u8], out: &mut Vec<u8>) -> bool {
        if !(DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return false;
        }
        let mut digits: Vec<u16> = digits.iter().map(|digit| u16::from(digit - b'0')).collect();
        let converted = match digits.pop() {
            Some(last) if CARD.contains(&(digits.len() + 1)) => self.card(way, digits, last),
            Some(last) => {
                digits.push(last);
                self.keep_lead(way, digits, 0)
            }
            None => None,
        };
        let Some(converted) = converted else { return false };
        out.extend(converted.iter().map(|digit| b'0' + *digit as u8));
        true
    }

    fn card(&self, way: Way, base: Vec<u16>, last: u16) -> Option<Vec<u16>> {
        let modulo = |n: u16| n % 10;
        let found = modulo(last + 10 - check_digit(&base));
        let shift = |encrypted: &[u16]| self.shift(encrypted);
        let (mut base, offset) = match way {
            Way::Encrypt => {
                let encrypted = self.keep_lead(way, base, 1 + found as u8)?;
                let offset = modulo(found + shift(&encrypted));
                (encrypted, offset)
            }
            Way::Decrypt => {
                let offset = modulo(found + 10 - shift(&base));
                (self.keep_lead(way, base, 1 + offset as u8)?, offset)
            }
        };
        base.push(modulo(check_digit(&base) + offset));
        Some(base)
    }

    /// 1 to 9, by the encrypted digits (at most 18, so they fit).
    fn shift(&self, encrypted: &[u16]) -> u16 {
        let number =
            encrypted.iter().fold(0u128, |number, digit| number.wrapping_mul(10).wrapping_add(u128::from(*digit)));
        let mut block = (((encrypted.len() as u128) << 64) | number).to_be_bytes();
        self.check.encrypt(&mut block);
        1 + (u128::from_be_bytes(block) % 9) as u16
    }

    fn keep_lead(&self, way: Way, digits: Vec<u16>, tweak: u8) -> Option<Vec<u16>> {
        let zero = digits.first() == Some(&0);
        if zero && digits.len() > DIGITS_MIN {
            let rest = self.ff1.run(way, digits.get(1..)?.to_vec(), &[tweak | AFTER_ZERO])?;
            return Some(std::iter::once(0).chain(rest).collect());
        }
        let mut digits = digits;
        loop {
            digits = self.ff1.run(way, digits, &[tweak])?;
            if (digits.first() == Some(&0)) == zero {
                return Some(digits);
            }
        }
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digits([secret])")
    }
}

/// Whether these are 13 to 19 digits that pass the Luhn check.
#[must_use]
pub fn is_card(text: &[u8]) -> bool {
    let digits: Vec<u16> = text.iter().map(|digit| u16::from(digit.wrapping_sub(b'0'))).collect();
    let is_last = |(last, base): (&u16, &[u16])| *last == check_digit(base);
    CARD.contains(&text.len()) && text.iter().all(u8::is_ascii_digit) && digits.split_last().is_some_and(is_last)
}

/// The Luhn check digit to be written after `base` (ISO/IEC 7812-1, annex B).
fn check_digit(base: &[u16]) -> u16 {
    let sum: u16 = base
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, *digit) {
            (0, digit @ 5..) => 2 * digit - 9,
            (0, digit) => 2 * digit,
            (_, digit) => digit,
        })
        .sum();
    (10 - sum % 10) % 10
}
