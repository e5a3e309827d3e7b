//! Stored tokens: random, their values sealed in a [`TokenStore`](super::store::TokenStore) until they are forgotten.
//!
//! Not here: how they are spelt ([`spelling`]) and the one round trip of a window ([`ask`]). An [`Issuer`] and a [`Finder`] are
//! made once, when a policy is loaded; each value then costs a keyed hash, and one that is new the sealing. Start at [`Issuer`].
//!
//! ```text
//! token    = random (90 bits) | proof (32 bits of HMAC over it, by domain, epoch and category), in the form of a UUID
//! digest   = HMAC(spelling, kind, value), by domain, epoch and category
//! sealed   = AES-SIV(kind and padding | value | zeros), under a key of this token alone
//! ```
//!
//! The proof lets nobody but us make a token that is worth a look into the store, and tells one that was erased from one that
//! never was. It keeps no secret and guards none: what is revealed is what is found and was sealed for this token.

pub mod ask;
pub mod ends;
pub mod erase;
pub mod spelling;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::ids::{DomainId, Normalize};
use crate::keys::looks::Living;
use crate::keys::{self, DomainSecret, Epoch, KeyRing, Life};
use crate::secret::Secret;

use super::epochs::Family;
use super::seal::block::BLOCK_LEN;
use super::seal::pseudonym::{self, KeyedHash};
use super::seal::siv::{self, Siv, TAG_LEN};
use super::store::{DomainTag, Spelling, SubjectDigest, TokenId, ValueDigest};
use super::token::{KEY_ID_LEN, Value};
use super::{Normal, key_id};

/// Random bytes of a token; what follows is the proof.
const RANDOM_LEN: usize = 12;

/// Issues stored tokens of one (domain, category, spelling). Cheap to clone.
#[derive(Clone)]
pub struct Issuer(Arc<Issue>, Option<Normalize>);

struct Issue {
    /// Of the newest epoch that was known when the policy was loaded.
    keys: Keys,
    finder: Finder,
    /// What rules without a store have issued for the same values.
    sealed: Arc<Family>,
    spelling: Spelling,
    /// Each is issued for itself and ends after so long.
    once: Option<Duration>,
}

/// Finds stored tokens of one (domain, category), of every epoch that lives.
#[derive(Clone)]
pub struct Finder(Arc<Epochs>);

struct Epochs {
    living: Arc<Living>,
    category: String,
    /// Those that were known when the policy was loaded, the newest first.
    known: Vec<Arc<Keys>>,
    /// Those that came up since; empty but for the moments between a rotation and the reload that follows it.
    later: ArcSwap<Vec<Arc<Keys>>>,
}

/// A token that we issued for this domain and category. Whether it is still kept is for the store to say.
#[derive(Clone)]
pub struct Genuine {
    pub(super) token: TokenId,
    keys: Arc<Keys>,
}

/// What stored tokens of one (domain, epoch, category) are made with.
pub(super) struct Keys {
    domain: DomainTag,
    epoch: u32,
    key_id: [u8; KEY_ID_LEN],
    digests: KeyedHash,
    proofs: KeyedHash,
    seals: KeyedHash,
    subjects: KeyedHash,
    life: Life,
}

impl Keys {
    fn new(secret: &DomainSecret, category: &str) -> Self {
        let hash = |purpose, parts: &[&str]| {
            KeyedHash::new(secret.derive::<{ pseudonym::KEY_LEN }>(purpose, parts).expose_secret())
        };
        Self {
            domain: domain_tag(secret.domain()),
            epoch: secret.epoch().0,
            key_id: key_id(secret),
            digests: hash("stored digest", &[category]),
            proofs: hash("stored proof", &[category]),
            seals: hash("stored seal", &[category]),
            // Of all categories: a person is forgotten whole.
            subjects: hash("stored subject", &[]),
            life: secret.life().clone(),
        }
    }

    /// A token of these random bytes.
    fn token(&self, random: [u8; RANDOM_LEN]) -> TokenId {
        let random = spelling::uuid_bits(random);
        let mut token = [0; 16];
        let proof = self.proof(&random);
        token.iter_mut().zip(random.iter().chain(&proof)).for_each(|(slot, byte)| *slot = *byte);
        token
    }

    fn proof(&self, random: &[u8]) -> [u8; 4] {
        let [a, b, c, d, ..] = self.proofs.digest(&[random]);
        [a, b, c, d]
    }

    /// Whether we issued it, under these keys.
    fn issued(&self, token: &TokenId) -> bool {
        let (random, proof) = token.split_at(RANDOM_LEN);
        bool::from(subtle::ConstantTimeEq::ct_eq(self.proof(random).as_slice(), proof))
    }

    fn cipher(&self, token: &TokenId) -> Siv {
        let mut key = Secret::new([0; siv::KEY_LEN]);
        let halves = [1_u8, 2].map(|half| Zeroizing::new(self.seals.digest(&[token, &[half]])));
        let bytes = halves.iter().flat_map(|half| half.iter());
        key.expose_secret_mut().iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
        Siv::new(key.expose_secret(), &[b"tidegate/1 stored", &self.domain, &self.epoch.to_be_bytes()])
    }

    fn seal(&self, token: &TokenId, (kind, value): (u8, &[u8])) -> Vec<u8> {
        let padded = (1 + value.len()).next_multiple_of(BLOCK_LEN);
        let mut sealed = vec![0; TAG_LEN];
        sealed.reserve_exact(padded);
        sealed.push(kind << 4 | (padded - 1 - value.len()) as u8);
        sealed.extend_from_slice(value);
        sealed.resize(TAG_LEN + padded, 0);
        if let Some((tag, text)) = sealed.split_first_chunk_mut::<TAG_LEN>() {
            *tag = self.cipher(token).seal(text);
        }
        sealed
    }

    /// `None`: it was not sealed for this token.
    fn open(&self, token: &TokenId, sealed: &[u8]) -> Option<Plain> {
        let (tag, text) = sealed.split_first_chunk::<TAG_LEN>()?;
        let mut text = Zeroizing::new(text.to_vec());
        if !self.cipher(token).open(tag, &mut text) {
            return None;
        }
        let (head, value) = text.split_first()?;
        let (value, padding) = value.split_at_checked(value.len().checked_sub(usize::from(head & 15))?)?;
        let value = Zeroizing::new(std::str::from_utf8(value).ok()?.to_owned());
        match head >> 4 {
            _ if padding.iter().any(|byte| *byte != 0) => None,
            // A text, a number, or a text in the one spelling that was made of it.
            kind @ 0..=4 => Some(Plain { number: kind == 1, value }),
            _ => None,
        }
    }
}

/// A value that was sealed.
pub(super) struct Plain {
    /// A number, in canonical decimal; else a string.
    pub(super) number: bool,
    pub(super) value: Zeroizing<String>,
}

impl Issuer {
    pub(super) fn new(
        newest: &DomainSecret,
        (finder, sealed): (Finder, Arc<Family>),
        category: &str,
        (spelling, once): (Spelling, Option<Duration>),
    ) -> Self {
        Self(Arc::new(Issue { keys: Keys::new(newest, category), finder, sealed, spelling, once }), None)
    }

    /// Makes one of a value's spellings first.
    #[must_use]
    pub fn normalizing(self, normalize: Option<Normalize>) -> Self {
        Self(self.0, normalize)
    }

    /// Whether a value is of the kind that is normalised so. What is not has no token.
    #[must_use]
    pub fn fits(&self, value: Value<'_>) -> bool {
        Normal::of(self.1, value).is_some()
    }

    /// Whether this text is a token of this domain and category already, stored or sealed.
    #[must_use]
    pub fn owns(&self, text: &str) -> bool {
        self.0.finder.genuine(text).is_some() || self.0.sealed.owns(text)
    }

    /// Whether this text names a key that nobody here knows, so that [`Self::owns`] may say another thing when the keys have been
    /// read again. It proves nothing.
    #[must_use]
    pub fn is_unknown(&self, text: &str) -> bool {
        self.0.sealed.is_unknown(text)
    }

    /// Says that the keys were read again for this text.
    pub fn have_looked(&self, text: &str) {
        self.0.sealed.give_up(text);
    }

    /// By which a value is found; `None` for a token that is issued anew each time.
    fn digest(&self, value: Value<'_>) -> Option<ValueDigest> {
        let Issue { keys, spelling, once, .. } = &*self.0;
        let (kind, text) = value.parts();
        once.is_none().then(|| keys.digests.digest(&[&[spelling.code(), kind], text.as_bytes()]))
    }

    /// By which all of a person is found.
    fn subject(&self, subject: &str) -> SubjectDigest {
        self.0.keys.subjects.hash(0, subject.as_bytes())
    }
}

#[cfg(test)]
impl Issuer {
    /// The token of these random bytes, without what all have in common: version and variant.
    pub(in crate::vault) fn drawn(&self, random: [u8; RANDOM_LEN]) -> String {
        let hex = data_encoding::HEXLOWER.encode(&self.0.keys.token(random));
        hex.char_indices().filter(|(at, _)| ![12, 16].contains(at)).map(|(_, digit)| digit).collect()
    }
}

impl Finder {
    pub(super) fn new(ring: &Arc<KeyRing>, domain: &DomainId, category: &str) -> Result<Self, keys::Error> {
        let known = ring.epochs(domain)?.iter().map(|secret| Arc::new(Keys::new(secret, category))).collect();
        let (living, category) = (ring.living(domain)?, category.to_owned());
        Ok(Self(Arc::new(Epochs { living, category, known, later: ArcSwap::default() })))
    }

    /// Whether this text is a stored token of this domain and category.
    #[must_use]
    pub fn genuine(&self, text: &str) -> Option<Genuine> {
        let claim = spelling::read(text)?;
        let of = |keys: &&Arc<Keys>| !keys.life.has_ended() && claim.is_of(&keys.key_id) && keys.issued(&claim.token);
        let known = self.0.known.iter().find(of).cloned();
        let keys = known.or_else(|| self.stranger()?.iter().find(of).cloned())?;
        Some(Genuine { token: claim.token, keys })
    }

    /// The epochs that came up since the policy was loaded.
    fn stranger(&self) -> Option<Arc<Vec<Arc<Keys>>>> {
        let Epochs { living, category, known, later } = &*self.0;
        let newest = Epoch(later.load().first().or(known.first())?.epoch);
        if let Some(secrets) = living.newer(newest) {
            let after = known.first().map(|keys| keys.epoch);
            let fresh = secrets.iter().filter(|secret| Some(secret.epoch().0) > after);
            later.store(Arc::new(fresh.map(|secret| Arc::new(Keys::new(secret, category))).collect()));
        }
        Some(later.load_full())
    }
}

/// Names a domain to a store. No secret: a partner's name is none, and it has to be found when its keys are gone.
#[must_use]
pub fn domain_tag(domain: &DomainId) -> DomainTag {
    let mut hash = Sha256::new_with_prefix(b"tidegate/1 domain ");
    hash.update(domain.as_str().as_bytes());
    let mut tag = DomainTag::default();
    tag.iter_mut().zip(hash.finalize()).for_each(|(slot, byte)| *slot = byte);
    tag
}

macro_rules! print_no_keys {
    ($($type:ident),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "([secret])"))
            }
        }
    )*};
}
print_no_keys!(Issuer, Finder, Genuine, Keys, Plain);

#[cfg(test)]
mod tests;
