//! HMAC-SHA-256 (RFC 2104), keyed once.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes that are kept of the 32: 128 bits, so that among 2^40 values two share a pseudonym with odds of one in 2^49.
pub const HASH_LEN: usize = 16;

/// Bytes of the whole hash.
pub const DIGEST_LEN: usize = 32;

/// A keyed hash. Cloning its state for each value is cheaper than keying it anew. Wiped when dropped.
pub struct KeyedHash(Hmac<Sha256>);

impl KeyedHash {
    /// Keys it.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        // Hashed by HMAC's own rule only where a key is longer than a block; ours is half as long.
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        for (slot, byte) in block.iter_mut().zip(key) {
            *slot = *byte;
        }
        Self(Hmac::new(&block))
    }

    /// The first 128 bits of the keyed hash of a kind and a text.
    #[must_use]
    pub fn hash(&self, kind: u8, text: &[u8]) -> [u8; HASH_LEN] {
        let mut mac = self.0.clone();
        mac.update(&[kind]);
        mac.update(text);
        let full = mac.finalize().into_bytes();
        let mut out = [0; HASH_LEN];
        for (slot, byte) in out.iter_mut().zip(&full) {
            *slot = *byte;
        }
        out
    }

    /// The whole keyed hash of all parts, one behind the other: at most the last may vary in length.
    #[must_use]
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash([secret])")
    }
}
