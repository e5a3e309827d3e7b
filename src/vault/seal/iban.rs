//! An IBAN (ISO 13616) to one that no bank has: FF1 with AES-256. **Unauthenticated**, though 95 in 96 texts that merely look like a
//! token are told from one.
//!
//! The country stays, and so does the length. The account is encrypted: digits alone to digits alone, else capitals and digits to as many
//! with at least one capital. The check digits are wrong on purpose: the right ones of the encrypted account, moved on by 1 to 96 places of the 97
//! that there are, how far being a keyed function of country and account. So a token fails ISO 7064's check wherever it is made, and the
//! value's own check digits need no room in it, because they follow from the account; a value whose check is wrong has no token.

use std::fmt;

use super::block::{self, Aes256, Block};
use super::ff1::{Ff1, Way};

/// Bytes of a key: one half for FF1, one for the check digits.
pub const KEY_LEN: usize = 2 * block::KEY_LEN;

/// Country and check digits.
const HEAD: usize = 4;
/// Lengths that countries have given themselves (15 to 33), and the most that the standard has room for.
const LENGTHS: std::ops::RangeInclusive<usize> = 15..=34;

/// A keyed permutation of accounts, for each country and length its own. `&self` throughout. Wiped when dropped.
pub struct Iban {
    digits: Ff1,
    mixed: Ff1,
    check: Aes256,
}

/// Parts of an IBAN without blanks.
struct Parts<'a> {
    country: [u8; 2],
    check: u32,
    account: &'a [u8],
}

impl Iban {
    /// With the names of domain and category as `tweak`.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN], tweak: &[u8]) -> Self {
        let [ff1, check] = block::halves(key);
        Self { digits: Ff1::new(ff1, 10, tweak), mixed: Ff1::new(ff1, 36, tweak), check: Aes256::new(check) }
    }

    /// Appends the token of an IBAN without blanks. `false`, and nothing appended: its form or its check digits are wrong.
    #[must_use]
    pub fn encrypt(&self, iban: &[u8], out: &mut Vec<u8>) -> bool {
        let plain = Parts::of(iban).filter(|iban| iban.check == right_check(iban.country, iban.account));
        let sealed = plain.and_then(|iban| Some((iban.country, self.account(Way::Encrypt, &iban)?)));
        let Some((country, account)) = sealed else { return false };
        spell(country, self.wrong_check(country, &account), &account, out);
        true
    }

    /// Appends the IBAN of a token. `false`, and nothing appended: it is no token.
    #[must_use]
    pub fn decrypt(&self, token: &[u8], out: &mut Vec<u8>) -> bool {
        let token = Parts::of(token).filter(|token| token.check == self.wrong_check(token.country, token.account));
        let plain = token.and_then(|token| Some((token.country, self.account(Way::Decrypt, &token)?)));
        let Some((country, account)) = plain else { return false };
        spell(country, right_check(country, &account), &account, out);
        true
    }

    fn account(&self, way: Way, iban: &Parts<'_>) -> Option<Vec<u8>> {
        let digits = iban.account.iter().all(u8::is_ascii_digit);
        let ff1 = if digits { &self.digits } else { &self.mixed };
        let mut numerals: Vec<u16> = iban.account.iter().map(|character| value(*character) as u16).collect();
        loop {
            numerals = ff1.run(way, numerals, &iban.country)?;
            // Digits alone are another kind of account: the walk goes on, as in `alnum`.
            if digits || numerals.iter().any(|numeral| *numeral >= 10) {
                return Some(numerals.iter().map(|numeral| character(*numeral)).collect());
            }
        }
    }

    fn wrong_check(&self, country: [u8; 2], account: &[u8]) -> u32 {
        // Of one length, whatever the account's, so that the chain of blocks is a pseudorandom function.
        let mut blocks = [Block::default(); 3];
        let slots = blocks.as_flattened_mut().iter_mut();
        slots.zip([account.len() as u8].iter().chain(&country).chain(account)).for_each(|(slot, byte)| *slot = *byte);
        let drawn = u128::from_be_bytes(self.check.chain(Block::default(), &blocks));
        let moved = 1 + (drawn % 96) as u32;
        2 + (right_check(country, account) - 2 + moved) % 97
    }
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let ([first, second, tens, ones], account) = text.split_first_chunk::<HEAD>()?;
        let country = [*first, *second];
        let fits = LENGTHS.contains(&text.len())
            && country.iter().all(u8::is_ascii_uppercase)
            && tens.is_ascii_digit()
            && ones.is_ascii_digit()
            && account.iter().all(|character| character.is_ascii_digit() || character.is_ascii_uppercase());
        fits.then(|| Self { country, check: value(*tens) * 10 + value(*ones), account })
    }
}

fn spell(country: [u8; 2], check: u32, account: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&country);
    out.extend([check / 10, check % 10].map(|digit| b'0' + digit as u8));
    out.extend_from_slice(account);
}

/// 2 to 98 (ISO 7064, MOD 97-10).
fn right_check(country: [u8; 2], account: &[u8]) -> u32 {
    let remainder = account.iter().chain(&country).chain(b"00").fold(0, |remainder, character| {
        let value = value(*character);
        (remainder * if value < 10 { 10 } else { 100 } + value) % 97
    });
    98 - remainder
}

/// Of a digit or a capital.
fn value(character: u8) -> u32 {
    u32::from(if character.is_ascii_digit() { character - b'0' } else { character.wrapping_sub(b'A').wrapping_add(10) })
}

fn character(numeral: u16) -> u8 {
    let numeral = numeral as u8;
    if numeral < 10 { b'0' + numeral } else { b'A' + (numeral - 10) % 26 }
}

impl fmt::Debug for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Iban([secret])")
    }
}
