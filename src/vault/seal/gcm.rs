//! AES-256-GCM under a key that seals one thing only.
//!
//! The caller sees to that: the same key with the same nonce must not seal two texts. Start at [`seal`].

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// By how much what is sealed is longer.
pub const TAG_LEN: usize = 16;

/// Seals `text` in place, bound to `context`, whose first twelve bytes are the nonce; the tag is appended.
pub fn seal(key: &[u8; KEY_LEN], context: &[u8; 16], text: &mut Vec<u8>) {
    #[expect(
        clippy::expect_used,
        reason = "AWS-LC refuses texts of 64 GiB only; a failure must not pass for a result"
    )]
    expanded(key)
        .seal_in_place_append_tag(nonce(context), Aad::from(context), text)
        .expect("a text that is not too long");
}

/// Opens `text` in place and takes its tag away; `false`: it was not sealed so, and is no use.
#[must_use]
pub fn open(key: &[u8; KEY_LEN], context: &[u8; 16], text: &mut Vec<u8>) -> bool {
    let opened = expanded(key).open_in_place(nonce(context), Aad::from(context), text).map(|plain| plain.len());
    text.truncate(opened.unwrap_or(0));
    opened.is_ok()
}

#[expect(clippy::expect_used, reason = "AWS-LC refuses keys of another length only")]
fn expanded(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes"))
}

fn nonce(context: &[u8; 16]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce.iter_mut().zip(context).for_each(|(slot, byte)| *slot = *byte);
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_with_its_key_and_context_alone() {
        let (key, context) = ([1; KEY_LEN], [2; 16]);
        let mut sealed = b"anna".to_vec();
        seal(&key, &context, &mut sealed);
        assert_eq!(sealed.len(), 4 + TAG_LEN);
        let opened = |key: [u8; KEY_LEN], context: [u8; 16], text: &[u8]| {
            let mut text = text.to_vec();
            open(&key, &context, &mut text).then_some(text)
        };
        assert_eq!(opened(key, context, &sealed).as_deref(), Some(b"anna".as_slice()));
        let mut other_end = context;
        other_end[15] = 3;
        assert!(opened([9; KEY_LEN], context, &sealed).is_none());
        assert!(opened(key, other_end, &sealed).is_none(), "all of the context counts, not the nonce alone");
        assert!((0..sealed.len()).all(|cut| opened(key, context, &sealed[..cut]).is_none()));
    }
}
