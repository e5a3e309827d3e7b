//! Tokens that look like what they stand for, for systems that accept nothing else. **Unauthenticated**: they do not say what they
//! are, so that a reveal has to name the shape, and they are of no epoch that one could tell.
//!
//! Not here: the ciphers (see [`super::seal`]). Start at `Shaped`.

use crate::ids::Shape;
use crate::keys::DomainSecret;

use super::date::DateShift;
use super::number;
use super::seal::alnum::Alnum;
use super::seal::block;
use super::seal::digits::{self, DIGITS_MAX, Digits};
use super::seal::iban::Iban;
use super::token::Value;

/// Most characters of a card number or an IBAN, blanks included.
const GROUPED_MAX: usize = 64;

/// Makes and turns back the tokens of one (domain, category, shape).
pub(super) enum Shaped {
    Digits(Box<Digits>),
    Card(Box<Digits>),
    Alnum(Box<Alnum>),
    Iban(Box<Iban>),
    Date(DateShift),
}

impl Shaped {
    /// `None`: tokens of this shape say themselves what they are.
    pub(super) fn new(shape: Shape, secret: &DomainSecret, category: &str) -> Option<Self> {
        let name = shape.name();
        let tweak = format!("tidegate/1 {name} {} {} {category} ", secret.domain(), secret.epoch());
        Self::keyed(shape, secret.derive(name, &[category]).expose_secret(), tweak.as_bytes())
    }

    /// Each takes what it needs of the key.
    fn keyed(shape: Shape, key: &[u8; digits::KEY_LEN], tweak: &[u8]) -> Option<Self> {
        let [first, _] = block::halves(key);
        Some(match shape {
            Shape::Digits => Self::Digits(Box::new(Digits::new(key, tweak))),
            Shape::Card => Self::Card(Box::new(Digits::new(key, tweak))),
            Shape::Alnum => Self::Alnum(Box::new(Alnum::new(first, tweak))),
            Shape::Iban => Self::Iban(Box::new(Iban::new(key, tweak))),
            Shape::Date => Self::Date(DateShift::new(first)),
            Shape::Opaque | Shape::Email | Shape::Uuid => return None,
        })
    }

    /// Appends the token of a value. `false`, and nothing appended: it does not fit.
    pub(super) fn issue(&self, value: Value<'_>, out: &mut Vec<u8>) -> bool {
        match (self, value) {
            (Self::Digits(digits), Value::Number(number)) => {
                number::whole_digits(number, &mut [0; DIGITS_MAX]).is_some_and(|plain| digits.encrypt(plain, out))
            }
            (Self::Card(digits), Value::Number(number)) => number::whole_digits(number, &mut [0; DIGITS_MAX])
                .is_some_and(|plain| digits::is_card(plain) && digits.encrypt(plain, out)),
            (_, Value::Number(_)) => false,
            (_, Value::Text(text) | Value::Normal(_, text)) => self.issue_text(text, out),
        }
    }

    fn issue_text(&self, text: &str, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Digits(digits) => digits.encrypt(text.as_bytes(), out),
            Self::Card(card) => {
                grouped(text, b" -", out, |plain, out| digits::is_card(plain) && card.encrypt(plain, out))
            }
            Self::Alnum(alnum) => alnum.encrypt(text.as_bytes(), out),
            Self::Iban(iban) => grouped(text, b" ", out, |plain, out| iban.encrypt(plain, out)),
            Self::Date(shift) => shift.forth(text, out),
        }
    }

    /// Appends what a token stands for. `false`, and nothing appended: no token of this shape looks like that.
    pub(super) fn open(&self, token: &str, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Digits(digits) => digits.decrypt(token.as_bytes(), out),
            Self::Card(card) => grouped(token, b" -", out, |token, out| {
                // A token never passes for a card, and what it stands for always does.
                !digits::is_card(token) && card.decrypt(token, out) && digits::is_card(out)
            }),
            Self::Alnum(alnum) => alnum.decrypt(token.as_bytes(), out),
            Self::Iban(iban) => grouped(token, b" ", out, |token, out| iban.decrypt(token, out)),
            Self::Date(shift) => shift.back(token, out),
        }
    }
}

/// Whether a text has a token of this shape, under whatever keys.
#[must_use]
pub fn fits(shape: Shape, text: &str) -> bool {
    let any = Shaped::keyed(shape, &[0; digits::KEY_LEN], b"");
    any.is_none_or(|any| any.issue_text(text, &mut Vec::new()))
}

/// Takes the blanks out, converts what is left into an empty buffer, to as many characters, and puts the blanks back where they were.
fn grouped(text: &str, blanks: &[u8], out: &mut Vec<u8>, convert: impl FnOnce(&[u8], &mut Vec<u8>) -> bool) -> bool {
    let is_blank = |byte: &u8| blanks.contains(byte);
    let (plain, mut converted): (Vec<u8>, _) = (text.bytes().filter(|byte| !is_blank(byte)).collect(), Vec::new());
    if text.len() > GROUPED_MAX || !convert(&plain, &mut converted) {
        return false;
    }
    let mut converted = converted.into_iter();
    out.extend(text.bytes().filter_map(|byte| if is_blank(&byte) { Some(byte) } else { converted.next() }));
    true
}
