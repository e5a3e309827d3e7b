//! Issues, reveals and forgets tokens.
//!
//! Knows keys and formats; no policy, no HTTP. The hot path asks for a [`Sealer`], [`Opener`] or [`Pseudonymizer`] once, when a
//! policy is loaded, and then calls it for each value without a look-up, a lock or an expansion of keys. Start at [`Vault`];
//! how tokens look is in [`token`], the ciphers are in [`seal`]; stored tokens are in [`stored`], what keeps them is behind [`store`].

mod base32;
mod check;
mod epochs;
mod number;
pub mod seal;
pub mod store;
pub mod stored;
pub mod strays;
pub mod token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Category, DomainId, Shape};
use crate::keys::{self, DomainSecret, Epoch, KeyRing, Life};

use epochs::Family;
use seal::digits::{DIGITS_MAX, Digits};
use seal::jwe::{PublicKey, Unsealed};
use seal::pseudonym::KeyedHash;
use seal::siv::Siv;
use store::Spelling;
use stored::ask::Stored;
use stored::{Finder, Issuer};
use strays::Directory;
use token::{Issued, KEY_ID_LEN, Opened, Sealed, Value};

/// The category of a value whose rule names none.
const UNNAMED: &str = "unnamed";

/// All domains of one key ring.
#[derive(Clone, Debug)]
pub struct Vault {
    keys: Arc<KeyRing>,
    families: Arc<Directory>,
    stored: Option<Stored>,
}

/// Issues sealed tokens of one (domain, category, shape). Cheap to clone; `&self` from any thread.
#[derive(Clone)]
pub struct Sealer(Arc<Issue>);

/// Digits, as long as their epoch lives.
type LivingDigits = (Digits, Life);

/// How a sealer issues.
enum Issue {
    Opaque(Arc<Family>),
    Mail(Arc<Family>),
    Digits(Box<LivingDigits>),
    /// No value fits: the shape is for stored tokens alone.
    Stored,
}

/// Turns tokens of one (domain, category) back.
#[derive(Clone)]
pub struct Opener(Arc<(Arc<Family>, Option<LivingDigits>)>);

/// Keyed hashes of one (domain, category).
#[derive(Clone)]
pub struct Pseudonymizer(Arc<(KeyedHash, Life)>);

/// Seals to a partner's public key (JWE compact, ECDH-ES + A256GCM; P-256 and X25519).
#[derive(Clone, Debug)]
pub struct Recipient(Arc<PublicKey>);

impl Vault {
    /// Over these keys.
    #[must_use]
    pub fn new(keys: Arc<KeyRing>) -> Self {
        Self { keys, families: Arc::default(), stored: None }
    }

    /// With a store for tokens that are kept.
    #[must_use]
    pub fn with_store(self, stored: Stored) -> Self {
        Self { stored: Some(stored), ..self }
    }

    /// What keeps tokens, if anything does.
    #[must_use]
    pub fn stored(&self) -> Option<&Stored> {
        self.stored.as_ref()
    }

    /// For `tokenize` with a store. `category` as for [`Self::sealer`]. `once`: each value gets a token of its own, which ends after
    /// so long.
    ///
    /// # Errors
    /// See [`KeyRing::domain`].
    pub fn issuer(
        &self,
        domain: &DomainId,
        category: Option<&Category>,
        spelling: Spelling,
        once: Option<Duration>,
    ) -> Result<Issuer, keys::Error> {
        let (newest, category) = (self.keys.domain(domain)?, name(category));
        Ok(Issuer::new(&newest, Finder::new(&self.keys, domain, category)?, category, (spelling, once)))
    }

    /// For `reveal`, of stored tokens; `None` where nothing is stored.
    ///
    /// # Errors
    /// See [`KeyRing::domain`].
    pub fn finder(&self, domain: &DomainId, category: &Category) -> Result<Option<Finder>, keys::Error> {
        self.stored.as_ref().map(|_| Finder::new(&self.keys, domain, name(Some(category)))).transpose()
    }

    /// For `tokenize`. `category` None: the category `unnamed`. Blocks where the domain is new or not yet read. Issues under the
    /// newest epoch; a token of any is a token already.
    ///
    /// # Errors
    /// See [`KeyRing::domain`].
    pub fn sealer(&self, domain: &DomainId, category: Option<&Category>, shape: Shape) -> Result<Sealer, keys::Error> {
        let category = name(category);
        let family = || self.families.family(&self.keys, domain, category);
        Ok(Sealer(Arc::new(match shape {
            Shape::Opaque => Issue::Opaque(family()?),
            Shape::Email => Issue::Mail(family()?),
            Shape::Digits => Issue::Digits(Box::new(self.digits(domain, category)?)),
            Shape::Uuid => Issue::Stored,
        })))
    }

    /// For `reveal`. Opens tokens of every living epoch and of the authenticated shapes, which say themselves what they are; with `shape` digits, also
    /// any run of 6 to 64 digits.
    ///
    /// # Errors
    /// See [`KeyRing::domain`].
    pub fn opener(&self, domain: &DomainId, category: &Category, shape: Option<Shape>) -> Result<Opener, keys::Error> {
        let category = name(Some(category));
        let digits = (shape == Some(Shape::Digits)).then(|| self.digits(domain, category)).transpose()?;
        Ok(Opener(Arc::new((self.families.family(&self.keys, domain, category)?, digits))))
    }

    /// Of the oldest epoch that lives: digits do not say under which they were issued, so that they keep theirs until it is
    /// destroyed.
    fn digits(&self, domain: &DomainId, category: &str) -> Result<LivingDigits, keys::Error> {
        let (newest, epochs) = (self.keys.domain(domain)?, self.keys.epochs(domain)?);
        let oldest = epochs.last().unwrap_or(&newest);
        Ok((digits(oldest, category), oldest.life().clone()))
    }

    /// For `pseudonymize`. `category` as for [`Self::sealer`].
    ///
    /// # Errors
    /// See [`KeyRing::domain`].
    pub fn pseudonymizer(&self, domain: &DomainId, category: Option<&Category>) -> Result<Pseudonymizer, keys::Error> {
        let newest = self.keys.domain(domain)?;
        let key = newest.derive("pseudonym", &[name(category)]);
        Ok(Pseudonymizer(Arc::new((KeyedHash::new(key.expose_secret()), newest.life().clone()))))
    }

    /// The domain's living epochs, the newest first, each with what its sealed tokens have after their mark.
    ///
    /// # Errors
    /// See [`KeyRing::epochs`].
    pub fn key_ids(&self, domain: &DomainId) -> Result<Vec<(Epoch, String)>, keys::Error> {
        let spell = |secret: &DomainSecret| key_id(secret).into_iter().map(char::from).collect();
        Ok(self.keys.epochs(domain)?.iter().map(|secret| (secret.epoch(), spell(secret))).collect())
    }

    /// The keys that it is over.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }
}

impl Sealer {
    /// Appends the token's text (no quotes; only characters that need no escape in JSON, a header, a path or a query) to `out`.
    ///
    /// The same value gives the same token. Digits are taken as they are spelled (leading zeros and all); of a number those of
    /// its whole value.
    pub fn issue(&self, value: Value<'_>, out: &mut Vec<u8>) -> Issued {
        match &*self.0 {
            Issue::Opaque(family) | Issue::Mail(family) if matches!(value, Value::Text(text) if family.owns(text)) => {
                Issued::Already
            }
            Issue::Opaque(family) => match family.newest() {
                Some(sealed) => {
                    sealed.issue_opaque(value, out);
                    Issued::Token
                }
                None => Issued::Unfit,
            },
            Issue::Mail(family) if family.newest().is_some_and(|sealed| sealed.issue_mail(value, out)) => Issued::Token,
            Issue::Digits(of) => {
                let (digits, life) = &**of;
                let mut room = [0; DIGITS_MAX];
                let plain = match value {
                    Value::Text(text) => Some(text.as_bytes()),
                    Value::Number(number) => number::whole_digits(number, &mut room),
                };
                match plain {
                    Some(plain) if !life.has_ended() && digits.encrypt(plain, out) => Issued::Token,
                    _ => Issued::Unfit,
                }
            }
            Issue::Mail(_) | Issue::Stored => Issued::Unfit,
        }
    }
}

impl Opener {
    fn family(&self) -> &Arc<Family> {
        &self.0.0
    }

    /// Appends the plain text of the value (unescaped; a number as a JSON number) to `out`; nothing where there is none.
    pub fn open(&self, text: &str, out: &mut Vec<u8>) -> Opened {
        let (family, digits) = &*self.0;
        match (family.open(text, out), digits) {
            (Opened::Plain, Some((digits, life))) if !life.has_ended() && digits.decrypt(text.as_bytes(), out) => {
                Opened::Text
            }
            (opened, _) => opened,
        }
    }
}

impl Pseudonymizer {
    /// Appends the pseudonym's text (30 characters, `ps1_` and letters and digits) to `out`. The number 1 and the string "1"
    /// differ. `false`, and nothing: the domain is destroyed.
    pub fn hash(&self, value: Value<'_>, out: &mut Vec<u8>) -> bool {
        let (hash, life) = &*self.0;
        if life.has_ended() {
            return false;
        }
        let (kind, text) = value.parts();
        out.extend_from_slice(token::PSEUDONYM_MARK.as_bytes());
        base32::encode(&hash.hash(kind, text.as_bytes()), out);
        true
    }
}

impl Recipient {
    /// Reads a public JWK (RFC 7517): `EC` P-256 or `OKP` X25519.
    ///
    /// # Errors
    /// What was found and what was wanted, in one line for the author of the policy.
    pub fn from_jwk(text: &str) -> Result<Self, String> {
        PublicKey::from_jwk(text).map(|key| Self(Arc::new(key)))
    }

    /// Appends a JWE in compact form of the value's JSON text (letters, digits, `-`, `_` and `.`). Randomised.
    ///
    /// # Errors
    /// There is no randomness; nothing is appended, and the value must not leave.
    pub fn encrypt(&self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealed> {
        self.0.encrypt(plain, out)
    }
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
print_no_keys!(Sealer, Opener, Pseudonymizer);

fn name(category: Option<&Category>) -> &str {
    category.map_or(UNNAMED, Category::as_str)
}

fn key_id(secret: &DomainSecret) -> [u8; KEY_ID_LEN] {
    token::key_id(*secret.derive("key id", &[]).expose_secret())
}

fn sealed(secret: &DomainSecret, category: &str) -> Sealed {
    let epoch = secret.epoch().0.to_be_bytes();
    let context = [token::MARK.as_bytes(), secret.domain().as_str().as_bytes(), &epoch, category.as_bytes()];
    let key = secret.derive("sealed", &[category]);
    Sealed::new(key_id(secret), Siv::new(key.expose_secret(), &context))
}

fn digits(secret: &DomainSecret, category: &str) -> Digits {
    let tweak = format!("tidegate/1 digits {} {} {category} ", secret.domain(), secret.epoch());
    Digits::new(secret.derive("digits", &[category]).expose_secret(), tweak.as_bytes())
}

#[cfg(test)]
mod tests;
