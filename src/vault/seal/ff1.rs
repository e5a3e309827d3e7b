//! FF1 (NIST SP 800-38G) with AES-256, under a tweak: a keyed permutation of the numeral strings of each length. **Unauthenticated.**

use fpe::ff1::{FF1, FlexibleNumeralString};

use super::block::{Aes256, KEY_LEN};

/// Which way.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Toward a token.
    Encrypt,
    /// Back.
    Decrypt,
}

/// A key, a radix and the part of the tweak that is always there. Wiped when dropped.
pub struct Ff1 {
    cipher: FF1<Aes256>,
    tweak: Vec<u8>,
}

impl Ff1 {
    /// `radix` is 10, 36 or 62; `tweak` names domain and category.
    #[must_use]
    #[expect(clippy::expect_used, reason = "FF1 has a fault for a radix under 2 or over 65536 only")]
    pub fn new(key: &[u8; KEY_LEN], radix: u32, tweak: &[u8]) -> Self {
        Self { cipher: FF1::new(key, radix).expect("a radix that FF1 takes"), tweak: tweak.to_owned() }
    }

    /// Numerals below the radix, with `more` behind the tweak. `None`: fewer than a million strings have this length.
    #[must_use]
    pub fn run(&self, way: Way, numerals: Vec<u16>, more: &[u8]) -> Option<Vec<u16>> {
        let (numerals, tweak) = (FlexibleNumeralString::from(numerals), [&self.tweak, more].concat());
        let converted = match way {
            Way::Encrypt => self.cipher.encrypt(&tweak, &numerals),
            Way::Decrypt => self.cipher.decrypt(&tweak, &numerals),
        };
        converted.ok().map(Vec::from)
    }
}
