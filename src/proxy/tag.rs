//! Entity tags of our own (RFC 9110, section 8.8.3).
//!
//! Upstream's tag speaks of a body that the partner never sees. Ours is a keyed hash of partner, policy and what leaves, so that
//! it changes when any of them does, tells nothing of what does not leave, and two partners' tags of one body have nothing in
//! common. The key comes from the root key: a tag outlives a restart, and replicas agree. Start at [`Tagger::tag`].
//!
//! HMAC-SHA-256 over the body would cost more than all else that is done with it. So the body is hashed by GHASH under a
//! secret point (GMAC with one fixed nonce), a universal hash: two bodies of n blocks meet with odds of n in 2^128. What it
//! gives is no tag and is never shown, or the fixed nonce would give the point away; it goes through HMAC, which makes of a
//! universal hash a pseudorandom function.

use ::http::{HeaderMap, HeaderValue, header};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::crossing::Released;
use crate::registry::set::Partner;

/// Makes tags.
pub struct Tagger {
    body: LessSafeKey,
    whole: Hmac<Sha256>,
}

impl Tagger {
    /// With a key for this purpose alone.
    #[must_use]
    #[expect(clippy::expect_used, reason = "three fixed lengths, all fitting")]
    pub fn new(key: &[u8; 32]) -> Self {
        let expand = Hkdf::<Sha256>::new(None, key);
        let (mut body, mut whole) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 64]));
        expand.expand(b"tidegate/2 entity tags, body", &mut *body).expect("32 bytes");
        expand.expand(b"tidegate/2 entity tags, whole", &mut *whole).expect("64 bytes");
        let point = UnboundKey::new(&AES_256_GCM, &*body).expect("a key of 32 bytes");
        Self { body: LessSafeKey::new(point), whole: Hmac::new(&(*whole).into()) }
    }

    /// The tag of what one partner gets: weak, because a coding may yet be applied.
    #[must_use]
    pub fn tag(&self, partner: &Partner, body: &Released) -> HeaderValue {
        self.of([partner.id.as_str(), &partner.digest], body.as_bytes())
    }

    /// `names` hold no NUL.
    fn of(&self, names: [&str; 2], body: &[u8]) -> HeaderValue {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        // Refused for bodies of 2^61 bytes: such a one has a tag that is known to nobody.
        let Ok(hash) = self.body.seal_in_place_separate_tag(nonce, Aad::from(body), &mut []) else {
            return HeaderValue::from_static("W/\"\"");
        };
        let mut mac = self.whole.clone();
        for part in names {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        mac.update(hash.as_ref());
        let digest = mac.finalize().into_bytes();
        let mut text = *b"W/\"______________________\"";
        let (digest, room) = (digest.get(..16), text.get_mut(3..25));
        if let (Some(digest), Some(room)) = (digest, room) {
            BASE64URL_NOPAD.encode_mut(digest, room);
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("W/\"\""))
    }
}

/// Whether the caller has it already: `If-None-Match`, by weak comparison.
#[must_use]
pub fn known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let Some(tag) = tag.to_str().ok().map(opaque).filter(|tag| tag.len() > 2) else { return false };
    let fields = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|one| one.trim() == "*" || opaque(one.trim()) == tag)
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_tag_is_the_same_for_the_same_and_another_for_anything_else() {
        let tagger = Tagger::new(&[7; 32]);
        let body = vec![b'x'; 1000];
        let mut others: Vec<Vec<u8>> = (0..1000).map(|length| body[..length].to_vec()).collect();
        for place in 0..1000 {
            let mut changed = body.clone();
            changed[place] ^= 1 << (place % 8);
            others.push(changed);
        }
        others.extend([
            [body.as_slice(), &[0]].concat(),
            [body.as_slice(), &[0; 16]].concat(),
            vec![0; 16],
            vec![0; 32],
        ]);
        let mut tags: HashSet<_> = others.iter().map(|body| tagger.of(["parcelo", "policy"], body)).collect();
        assert_eq!(tags.len(), others.len());
        for (tagger, names) in [
            (&tagger, ["parcelo", "policy"]),
            (&tagger, ["adnet", "policy"]),
            (&tagger, ["parcelo", "other"]),
            (&tagger, ["parcelopolicy", ""]),
            (&Tagger::new(&[8; 32]), ["parcelo", "policy"]),
        ] {
            let tag = tagger.of(names, &body);
            assert_eq!(tag, tagger.of(names, &body));
            assert!(tag.to_str().unwrap().starts_with("W/\"") && tag.len() == 26, "{tag:?}");
            assert!(tags.insert(tag));
        }
    }
}
