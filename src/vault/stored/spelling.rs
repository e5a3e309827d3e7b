//! How stored tokens are spelt.
//!
//! ```text
//! tk1_ k7q2a 4mz…                 payload = base32( token (16) | check (2) ): 38 characters, shorter than any sealed token
//! tk1_ k7q2a 4mz…@token.invalid   the same as an address: 52 characters, whatever the value
//! 0193bc5e-…                      the token as a UUID of version 8 (RFC 9562)
//! ```
//!
//! Knows no keys: what is read here is a claim. Start at `write` and `read`.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::super::base32;
use super::super::check::Check;
use super::super::store::{Spelling, TokenId};
use super::super::token::{KEY_ID_LEN, MAIL_DOMAIN, MARK};
use super::RANDOM_LEN;

const CHECK_LEN: usize = 2;
const PAYLOAD_LEN: usize = 18;
/// Characters of the payload.
const ENCODED_LEN: usize = 29;
const UUID_LEN: usize = 36;
/// Where a UUID has hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// What a text claims to be.
pub(super) struct Claim {
    pub(super) token: TokenId,
    /// A UUID names no key.
    key_id: Option<[u8; KEY_ID_LEN]>,
}

impl Claim {
    /// Whether it may have been issued under this key.
    pub(super) fn is_of(&self, key_id: &[u8; KEY_ID_LEN]) -> bool {
        self.key_id.is_none_or(|claimed| claimed == *key_id)
    }
}

/// Sets version and variant, so that the bytes are the beginning of a UUID of version 8.
pub(super) fn uuid_bits(mut random: [u8; RANDOM_LEN]) -> [u8; RANDOM_LEN] {
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut random;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    random
}

fn is_uuid(token: &TokenId) -> bool {
    matches!(token, [_, _, _, _, _, _, version, _, variant, ..] if version >> 4 == 8 && variant >> 6 == 2)
}

/// Appends a token's text: only characters that need no escape in JSON, a header, a path or a query.
pub(super) fn write(token: &TokenId, key_id: [u8; KEY_ID_LEN], spelling: Spelling, out: &mut Vec<u8>) {
    if spelling == Spelling::Uuid {
        let hex = HEXLOWER.encode(token);
        for (at, digit) in hex.bytes().enumerate() {
            if matches!(at, 8 | 12 | 16 | 20) {
                out.push(b'-');
            }
            out.push(digit);
        }
        return;
    }
    let mut payload = [0; PAYLOAD_LEN];
    let check = check(&key_id, token);
    payload.iter_mut().zip(token.iter().chain(&check)).for_each(|(slot, byte)| *slot = *byte);
    out.extend_from_slice(MARK.as_bytes());
    out.extend_from_slice(&key_id);
    base32::encode(&payload, out);
    if spelling == Spelling::Mail {
        out.push(b'@');
        out.extend_from_slice(MAIL_DOMAIN.as_bytes());
    }
}

/// Whether a text is spelt as a stored token that names a key, and its check is right; that anybody can bring about.
pub(crate) fn is_whole(text: &str) -> bool {
    read(text).is_some_and(|claim| claim.key_id.is_some())
}

/// What a text claims to be, in any case (mail systems and caches change it); `None` if it is not spelt as a stored token.
pub(super) fn read(text: &str) -> Option<Claim> {
    if text.len() == UUID_LEN {
        return read_uuid(text);
    }
    let (mark, rest) = text.split_at_checked(MARK.len())?;
    let (key_id, rest) = rest.as_bytes().split_first_chunk::<KEY_ID_LEN>()?;
    let (encoded, domain) = rest.split_at_checked(ENCODED_LEN)?;
    let mail = || domain.strip_prefix(b"@").is_some_and(|domain| domain.eq_ignore_ascii_case(MAIL_DOMAIN.as_bytes()));
    if !mark.eq_ignore_ascii_case(MARK) || !(domain.is_empty() || mail()) {
        return None;
    }
    let mut payload = [0; PAYLOAD_LEN];
    if !base32::decode(encoded, &mut payload) {
        return None;
    }
    let (token, said) = payload.split_first_chunk::<16>()?;
    let key_id = key_id.map(|symbol| symbol.to_ascii_lowercase());
    let whole = *said == check(&key_id, token);
    (whole && is_uuid(token)).then_some(Claim { token: *token, key_id: Some(key_id) })
}

fn check(key_id: &[u8], token: &TokenId) -> [u8; CHECK_LEN] {
    Check::default().with(key_id).with(token).bytes()
}

fn read_uuid(text: &str) -> Option<Claim> {
    let mut digits = [0; 32];
    let mut slots = digits.iter_mut();
    for (at, byte) in text.bytes().enumerate() {
        match (HYPHENS.contains(&at), byte) {
            (true, b'-') => {}
            (true, _) | (false, b'-') => return None,
            (false, digit) => *slots.next()? = digit,
        }
    }
    let mut token = TokenId::default();
    HEXLOWER_PERMISSIVE.decode_mut(&digits, &mut token).ok()?;
    is_uuid(&token).then_some(Claim { token, key_id: None })
}
