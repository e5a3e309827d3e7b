//! Entity tags of our own (RFC 9110, section 8.8.3).
//!
//! Upstream's tag speaks of a body that the partner never sees. Ours is an HMAC over partner, policy and what leaves, so that
//! it changes when any of them does, tells nothing of what does not leave, and two partners' tags of one body have nothing in
//! common. The key comes from the root key: a tag outlives a restart, and replicas agree. Start at [`Tagger::tag`].

use ::http::{HeaderMap, HeaderValue, header};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::crossing::Released;
use crate::registry::set::Partner;

/// Makes tags.
pub struct Tagger(Hmac<Sha256>);

impl Tagger {
    /// With a key for this purpose alone.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        // As HMAC itself fills up a key that is shorter than a block.
        let mut block = [0; 64];
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        Self(Hmac::new(&block.into()))
    }

    /// The tag of what one partner gets: weak, because a coding may yet be applied.
    #[must_use]
    pub fn tag(&self, partner: &Partner, body: &Released) -> HeaderValue {
        let mut mac = self.0.clone();
        for part in [partner.id.as_str(), &partner.digest] {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        mac.update(body.as_bytes());
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
