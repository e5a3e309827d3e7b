//! How tokens look, and what they are made of.
//!
//! Not here: keys and ciphers (see [`super::seal`]). Start at [`Sealed`].
//!
//! ```text
//! tk1_ k7q2a 4mz…                          an opaque token: mark, key id, payload
//! ps1_ 5hw…                                a pseudonym: mark, 128 bits of HMAC-SHA-256
//!
//! payload = base32( tag (16) | ciphertext (16 n) | check (2) )
//! text    = kind, padding (4 bits each) | value | zeros, up to a multiple of 16
//! ```
//!
//! - Base32 is that of RFC 4648, without padding, in lower case; upper case is read as well, because mail systems and caches
//!   change case. Every character is a letter, a digit or `_`: nothing to escape in JSON, a header, a path or a query, and
//!   `tk1_[a-z2-7]{60,}` finds them.
//! - The key id is 25 bits derived from the domain's secret. It tells whose a token is, for those who have the keys; it proves
//!   nothing, and two domains of thousands may share one.
//! - Tag and ciphertext are AES-SIV, with version, domain, epoch and category bound both into the key and as context.
//! - The check (CRC-16/XMODEM over key id in lower case, tag and ciphertext) finds damage without keys; it protects nothing.
//! - The e-mail shape is the opaque token spelled as an address below `token.invalid` (RFC 2606): what does not fit in 64 octets
//!   before the `@` follows in labels of at most 63, and 254 octets in all hold values up to 111 bytes.

use zeroize::Zeroize;

use crate::ids::Normalize;

use super::check::Check;
use super::seal::block::BLOCK_LEN;
use super::seal::siv::{Siv, TAG_LEN};
use super::{base32, number};

/// What a token stands for: typed, so that the number 1 and the string "1" have different tokens and come back as they were.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A string, unescaped.
    Text(&'a str),
    /// A number, in canonical decimal (`json::text::canonical_number`).
    Number(&'a str),
    /// A string, unescaped, in the spelling that this makes of it. Its token is another than that of the same text as it was written.
    Normal(Normalize, &'a str),
}

/// What came of issuing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// A token was appended. It leaves as a string, save digits for a number: they begin with 0 only where the value does, so
    /// that they can leave as a number.
    Token,
    /// The value is already a token of this domain and category and stays as it is; nothing was appended.
    Already,
    /// The value does not fit the shape (too long for an e-mail token, not 6 or more digits, …); nothing was appended. The caller drops it and counts it.
    Unfit,
}

/// What came of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A string was appended. After a token of digits: digits, which go on in the type in which the token came, because it does
    /// not say what they were.
    Text,
    /// A JSON number was appended, without an exponent as far as that is sensible.
    Number,
    /// Not a token at all.
    Plain,
    /// Looks like a token and is not one of this domain and category: foreign, tampered with, of another category.
    Foreign,
}

/// What an opaque token begins with.
pub const MARK: &str = "tk1_";
/// What a pseudonym begins with.
pub const PSEUDONYM_MARK: &str = "ps1_";
/// Characters of a key id.
pub const KEY_ID_LEN: usize = 5;
/// What an e-mail token ends with.
pub const MAIL_DOMAIN: &str = "token.invalid";

const CHECK_LEN: usize = 2;
/// Payload bytes that are handled on the stack: of a value of about 470 bytes.
const STACK_LEN: usize = 512;
const LOCAL_MAX: usize = 64;
const LABEL_MAX: usize = 63;
const MAIL_MAX: usize = 254;
const KIND_TEXT: u8 = 0;
const KIND_NUMBER: u8 = 1;
// Of each way the first version. Another takes a number of its own, up to 15, and these are never given to it.
const KIND_NFC: u8 = 2;
const KIND_EMAIL: u8 = 3;
const KIND_E164: u8 = 4;

impl<'a> Value<'a> {
    /// One byte for the type, and the text.
    pub(super) fn parts(self) -> (u8, &'a str) {
        match self {
            Self::Text(text) => (KIND_TEXT, text),
            Self::Number(text) => (KIND_NUMBER, text),
            Self::Normal(how, text) => (kind_of(how), text),
        }
    }
}

fn kind_of(how: Normalize) -> u8 {
    match how {
        Normalize::Nfc => KIND_NFC,
        Normalize::Email => KIND_EMAIL,
        Normalize::E164 => KIND_E164,
    }
}

/// A key id as it stands in tokens, from 25 of the given 32 bits.
#[must_use]
pub fn key_id(bits: [u8; 4]) -> [u8; KEY_ID_LEN] {
    let mut bits = u32::from_be_bytes(bits);
    [(); KEY_ID_LEN].map(|()| {
        let symbol = (bits & 31) as u8;
        bits >>= 5;
        if symbol < 26 { b'a' + symbol } else { b'2' + symbol - 26 }
    })
}

/// Makes and reads the sealed tokens of one (domain, epoch, category), of both shapes: the shape is a spelling, and says nothing.
#[derive(Debug)]
pub struct Sealed {
    key_id: [u8; KEY_ID_LEN],
    /// After the key id.
    check: Check,
    siv: Siv,
}

impl Sealed {
    /// With a cipher that is bound to domain, epoch and category.
    #[must_use]
    pub fn new(key_id: [u8; KEY_ID_LEN], siv: Siv) -> Self {
        Self { key_id, check: Check::default().with(&key_id), siv }
    }

    /// Whether this text has the key id of these tokens. It proves nothing.
    #[must_use]
    pub fn claims(&self, text: &str) -> bool {
        key_id_of(text) == Some(self.key_id)
    }

    /// Whether this text is one of these tokens, in either shape. Nothing of what it stands for is kept.
    #[must_use]
    pub fn owns(&self, text: &str) -> bool {
        if !looks_sealed(text) {
            return false;
        }
        let mut payload = Payload::default();
        let owned = self.read(text, &mut payload).is_some();
        payload.wipe();
        owned
    }

    /// Appends the opaque token of `value`.
    pub fn issue_opaque(&self, value: Value<'_>, out: &mut Vec<u8>) {
        let (kind, text) = value.parts();
        let mut payload = Payload::default();
        let bytes = payload.of_length(TAG_LEN + padded_len(text.len()) + CHECK_LEN);
        let Some((tag, rest)) = bytes.split_first_chunk_mut::<TAG_LEN>() else { return };
        let Some((sealed, check)) = rest.split_last_chunk_mut::<CHECK_LEN>() else { return };
        let padding = sealed.len() - 1 - text.len();
        let Some((head, slots)) = sealed.split_first_mut() else { return };
        let Some(slots) = slots.get_mut(..text.len()) else { return };
        *head = kind << 4 | padding as u8;
        slots.copy_from_slice(text.as_bytes());
        *tag = self.siv.seal(sealed);
        *check = self.check.with(tag).with(sealed).bytes();
        out.extend_from_slice(MARK.as_bytes());
        out.extend_from_slice(&self.key_id);
        base32::encode(bytes, out);
    }

    /// Appends the e-mail token of `value`. `false`, and nothing appended: the value is too long.
    #[must_use]
    pub fn issue_mail(&self, value: Value<'_>, out: &mut Vec<u8>) -> bool {
        let length =
            MARK.len() + KEY_ID_LEN + base32::encoded_len(TAG_LEN + padded_len(value.parts().1.len()) + CHECK_LEN);
        if mail_len(length) > MAIL_MAX {
            return false;
        }
        let start = out.len();
        self.issue_opaque(value, out);
        let mut opaque = [0; MAIL_MAX];
        let written = out.get(start..).unwrap_or_default();
        let Some(opaque) = opaque.get_mut(..written.len()) else {
            out.truncate(start);
            return false;
        };
        opaque.copy_from_slice(written);
        out.truncate(start);
        spell_mail(opaque, out);
        true
    }

    /// Appends what a token stands for; nothing where the answer is `Plain` or `Foreign`. That answer is all that anybody
    /// learns: what is wrong with the token is not told, and every text of the right form takes the way through the cipher.
    #[must_use]
    pub fn open(&self, text: &str, out: &mut Vec<u8>) -> Opened {
        if !looks_sealed(text) {
            return Opened::Plain;
        }
        let mut payload = Payload::default();
        let opened = match self.read(text, &mut payload) {
            Some(Value::Text(value) | Value::Normal(_, value)) => {
                out.extend_from_slice(value.as_bytes());
                Opened::Text
            }
            Some(Value::Number(value)) => {
                number::spell(value, out);
                Opened::Number
            }
            None => Opened::Foreign,
        };
        payload.wipe();
        opened
    }

    fn read<'p>(&self, text: &str, payload: &'p mut Payload) -> Option<Value<'p>> {
        let Some(parts) = decode(text, payload) else {
            // What cannot be a token for its form costs what one costs.
            self.siv.idle();
            return None;
        };
        let Parts { key_id, tag, sealed, whole } = parts;
        let authentic = self.siv.open(tag, sealed);
        if !(authentic && whole && key_id == self.key_id) {
            return None;
        }
        let (head, value) = sealed.split_first()?;
        let (value, padding) = value.split_at_checked(value.len().checked_sub(usize::from(head & 15))?)?;
        let value = std::str::from_utf8(value).ok()?;
        match head >> 4 {
            _ if padding.iter().any(|byte| *byte != 0) => None,
            KIND_TEXT | KIND_NFC | KIND_EMAIL | KIND_E164 => Some(Value::Text(value)),
            KIND_NUMBER => Some(Value::Number(value)),
            _ => None,
        }
    }
}

/// A token's parts, as they are spelled.
struct Parts<'p> {
    key_id: [u8; KEY_ID_LEN],
    tag: &'p [u8; TAG_LEN],
    sealed: &'p mut [u8],
    /// Its check is right.
    whole: bool,
}

fn decode<'p>(text: &str, payload: &'p mut Payload) -> Option<Parts<'p>> {
    let mut joined = [0; MAIL_MAX];
    let token = if text.contains('@') { join_mail(text, &mut joined)? } else { text.as_bytes() };
    let (key_id, encoded) = token.get(MARK.len()..)?.split_first_chunk::<KEY_ID_LEN>()?;
    let bytes = payload.of_length(base32::decoded_len(encoded.len())?);
    if !base32::decode(encoded, bytes) {
        return None;
    }
    let (tag, rest) = bytes.split_first_chunk_mut::<TAG_LEN>()?;
    let (sealed, check) = rest.split_last_chunk_mut::<CHECK_LEN>()?;
    if sealed.is_empty() || sealed.len() % BLOCK_LEN != 0 {
        return None;
    }
    let key_id = key_id.map(|symbol| symbol.to_ascii_lowercase());
    let whole = Check::default().with(&key_id).with(tag).with(sealed).bytes() == *check;
    Some(Parts { key_id, tag, sealed, whole })
}

/// Whether a text is spelled as a sealed token and its check is right; that anybody can bring about.
pub(super) fn is_whole(text: &str) -> bool {
    decode(text, &mut Payload::default()).is_some_and(|parts| parts.whole)
}

/// The key id that a text has, if it is long enough to have one.
pub(super) fn key_id_of(text: &str) -> Option<[u8; KEY_ID_LEN]> {
    let id = text.as_bytes().get(MARK.len()..)?.first_chunk::<KEY_ID_LEN>()?;
    Some(id.map(|symbol| symbol.to_ascii_lowercase()))
}

/// Room for a payload, on the stack where it fits.
struct Payload {
    short: [u8; STACK_LEN],
    long: Vec<u8>,
    used: usize,
}

impl Default for Payload {
    fn default() -> Self {
        Self { short: [0; STACK_LEN], long: Vec::new(), used: 0 }
    }
}

impl Payload {
    /// Zeros.
    fn of_length(&mut self, length: usize) -> &mut [u8] {
        self.used = length;
        if length > STACK_LEN {
            self.long.resize(length, 0);
            return &mut self.long;
        }
        self.short.get_mut(..length).unwrap_or_default()
    }

    /// For a payload that was opened; one that was sealed holds no secret.
    fn wipe(&mut self) {
        self.long.zeroize();
        if let Some(used) = self.short.get_mut(..self.used) {
            used.zeroize();
        }
    }
}

/// Whether a text claims to be a sealed token, in either shape and any case.
pub(super) fn looks_sealed(text: &str) -> bool {
    text.get(..MARK.len()).is_some_and(|mark| mark.eq_ignore_ascii_case(MARK))
}

fn padded_len(value: usize) -> usize {
    (1 + value).next_multiple_of(BLOCK_LEN)
}

/// Octets of the address that spells an opaque token of this length.
fn mail_len(opaque: usize) -> usize {
    let spilled = opaque.saturating_sub(LOCAL_MAX);
    opaque + 1 + spilled.div_ceil(LABEL_MAX) + MAIL_DOMAIN.len()
}

fn spell_mail(opaque: &[u8], out: &mut Vec<u8>) {
    let (local, spilled) = opaque.split_at(opaque.len().min(LOCAL_MAX));
    out.extend_from_slice(local);
    out.push(b'@');
    for label in spilled.chunks(LABEL_MAX) {
        out.extend_from_slice(label);
        out.push(b'.');
    }
    out.extend_from_slice(MAIL_DOMAIN.as_bytes());
}

/// The opaque token that an address spells, if it is spelled as we do it.
fn join_mail<'a>(text: &str, room: &'a mut [u8; MAIL_MAX]) -> Option<&'a [u8]> {
    let (local, domain) = text.split_once('@')?;
    let cut = domain.len().checked_sub(MAIL_DOMAIN.len())?;
    let (labels, end) = domain.split_at_checked(cut)?;
    let spilled = labels.ends_with('.') && local.len() == LOCAL_MAX;
    if text.len() > MAIL_MAX || !end.eq_ignore_ascii_case(MAIL_DOMAIN) || !(labels.is_empty() || spilled) {
        return None;
    }
    let mut length = 0;
    let mut push = |part: &str| -> Option<()> {
        room.get_mut(length..length + part.len())?.copy_from_slice(part.as_bytes());
        length += part.len();
        Some(())
    };
    push(local)?;
    let mut labels = labels.split_terminator('.').peekable();
    while let Some(label) = labels.next() {
        let fits =
            if labels.peek().is_some() { label.len() == LABEL_MAX } else { (1..=LABEL_MAX).contains(&label.len()) };
        push(fits.then_some(label)?)?;
    }
    room.get(..length)
}
