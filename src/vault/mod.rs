//! Issues, reveals and forgets tokens.
//!
//! Knows keys and formats; no policy, no HTTP. The hot path asks for a [`Sealer`], [`Opener`] or [`Pseudonymizer`] once, when a
//! policy is loaded, and then calls it for each value without a look-up, a lock or an expansion of keys. Start at [`Vault`];
//! how tokens look is in [`token`], the ciphers are in [`seal`]; stored tokens are in [`stored`], what keeps them is behind [`store`].

mod base32;
mod check;
mod date;
mod epochs;
pub mod normalize;
mod number;
pub mod operator;
pub mod seal;
pub mod shaped;
pub mod store;
pub mod stored;
pub mod strays;
pub mod token;
pub mod transfer;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Category, DomainId, Normalize, Shape};
use crate::keys::{self, DomainSecret, Epoch, KeyRing, Life};

use epochs::Family;
use seal::jwe::{PublicKey, Unsealed};
use seal::pseudonym::KeyedHash;
use seal::siv::Siv;
use shaped::Shaped;
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
pub struct Sealer {
    issue: Arc<Issue>,
    /// What rules with a store have issued for the same values.
    kept: Option<Finder>,
    normalize: Option<Normalize>,
}

/// What makes tokens of a shape, as long as its epoch lives.
type LivingShaped = (Shaped, Life);

/// How a sealer issues.
enum Issue {
    Opaque(Arc<Family>),
    Mail(Arc<Family>),
    Shaped(Box<LivingShaped>),
    /// No value fits: the shape is for stored tokens alone.
    Stored,
}

/// Turns tokens of one (domain, category) back.
#[derive(Clone)]
pub struct Opener(Arc<(Arc<Family>, Option<LivingShaped>)>);

/// Keyed hashes of one (domain, category).
#[derive(Clone)]
pub struct Pseudonymizer {
    hash: Arc<(KeyedHash, Life)>,
    normalize: Option<Normalize>,
}

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
        let family = self.families.family(&self.keys, domain, category)?;
        Ok(Issuer::new(&newest, (Finder::new(&self.keys, domain, category)?, family), category, (spelling, once)))
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
        let issue = match (shape, self.shaped(domain, category, shape)?) {
            (_, Some(shaped)) => Issue::Shaped(Box::new(shaped)),
            (Shape::Email, None) => Issue::Mail(family()?),
            (Shape::Uuid, None) => Issue::Stored,
            (_, None) => Issue::Opaque(family()?),
        };
        let kept = match &issue {
            Issue::Opaque(_) | Issue::Mail(_) => Some(Finder::new(&self.keys, domain, category)?),
            Issue::Shaped(_) | Issue::Stored => None,
        };
        Ok(Sealer { issue: Arc::new(issue), kept, normalize: None })
    }

    /// For `reveal`. Opens tokens of every living epoch and of the authenticated shapes, which say themselves what they
    /// are; with another `shape`, also whatever looks like a token of that one.
    ///
    /// # Errors
    /// See [`KeyRing::domain`].
    pub fn opener(&self, domain: &DomainId, category: &Category, shape: Option<Shape>) -> Result<Opener, keys::Error> {
        let category = name(Some(category));
        let shaped = shape.map(|shape| self.shaped(domain, category, shape)).transpose()?.flatten();
        Ok(Opener(Arc::new((self.families.family(&self.keys, domain, category)?, shaped))))
    }

    /// Of the oldest epoch that lives: these tokens do not say under which they were issued, so that they keep theirs until it is
    /// destroyed. `None`: tokens of this shape say what they are.
    fn shaped(&self, domain: &DomainId, category: &str, shape: Shape) -> Result<Option<LivingShaped>, keys::Error> {
        let (newest, epochs) = (self.keys.domain(domain)?, self.keys.epochs(domain)?);
        let oldest = epochs.last().unwrap_or(&newest);
        Ok(Shaped::new(shape, oldest, category).map(|shaped| (shaped, oldest.life().clone())))
    }

    /// For `pseudonymize`. `category` as for [`Self::sealer`].
    ///
    /// # Errors
    /// See [`KeyRing::domain`].
    pub fn pseudonymizer(&self, domain: &DomainId, category: Option<&Category>) -> Result<Pseudonymizer, keys::Error> {
        let newest = self.keys.domain(domain)?;
        let key = newest.derive("pseudonym", &[name(category)]);
        let hash = Arc::new((KeyedHash::new(key.expose_secret()), newest.life().clone()));
        Ok(Pseudonymizer { hash, normalize: None })
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
    pub fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }
}

impl Sealer {
    /// With the spellings of a value made one.
    #[must_use]
    pub fn normalizing(self, normalize: Option<Normalize>) -> Self {
        Self { normalize, ..self }
    }

    fn family(&self) -> Option<&Family> {
        match &*self.issue {
            Issue::Opaque(family) | Issue::Mail(family) => Some(family),
            Issue::Shaped(_) | Issue::Stored => None,
        }
    }

    /// Whether this text is a token of this domain and category already, sealed or stored.
    #[must_use]
    pub fn owns(&self, text: &str) -> bool {
        self.family().is_some_and(|family| family.owns(text))
            || self.kept.as_ref().is_some_and(|kept| kept.genuine(text).is_some())
    }

    /// Whether this text names a key that nobody here knows, so that [`Self::owns`] may say another thing when the keys have been
    /// read again. It proves nothing.
    #[must_use]
    pub fn is_unknown(&self, text: &str) -> bool {
        self.family().is_some_and(|family| family.is_unknown(text))
    }

    /// Says that the keys were read again for this text.
    pub fn have_looked(&self, text: &str) {
        if let Some(family) = self.family() {
            family.give_up(text);
        }
    }

    /// Appends the token's text (no quotes; only characters that need no escape in JSON, a header, a path or a query, save the blanks
    /// that stood in a card number, an IBAN or a time) to `out`.
    ///
    /// The same value gives the same token. Digits are taken as they are spelled (leading zeros and all); of a number those of
    /// its whole value.
    pub fn issue(&self, value: Value<'_>, out: &mut Vec<u8>) -> Issued {
        if let Value::Text(text) = value
            && self.owns(text)
        {
            return Issued::Already;
        }
        let Some(normal) = Normal::of(self.normalize, value) else { return Issued::Unfit };
        let issued = match &*self.issue {
            Issue::Opaque(family) => family.newest().is_some_and(|sealed| {
                sealed.issue_opaque(normal.value(), out);
                true
            }),
            Issue::Mail(family) => family.newest().is_some_and(|sealed| sealed.issue_mail(normal.value(), out)),
            Issue::Shaped(of) => !of.1.has_ended() && of.0.issue(normal.value(), out),
            Issue::Stored => false,
        };
        if issued { Issued::Token } else { Issued::Unfit }
    }
}

/// A value, and where it was normalised what became of it.
pub(in crate::vault) enum Normal<'a> {
    As(Value<'a>),
    Made(Normalize, Cow<'a, str>),
}

impl<'a> Normal<'a> {
    /// `None`: it is none of the kind that is normalised so.
    pub(in crate::vault) fn of(how: Option<Normalize>, value: Value<'a>) -> Option<Self> {
        match (how, value) {
            (Some(how), Value::Text(text)) => Some(Self::Made(how, normalize::normalize(how, text)?)),
            // A number is spelled in one way already; it is no address, and no number to be called.
            (Some(Normalize::Email | Normalize::E164), Value::Number(_)) => None,
            (_, value) => Some(Self::As(value)),
        }
    }

    pub(in crate::vault) fn value(&self) -> Value<'_> {
        match self {
            Self::As(value) => *value,
            Self::Made(how, text) => Value::Normal(*how, text),
        }
    }
}

impl Opener {
    fn family(&self) -> &Arc<Family> {
        &self.0.0
    }

    /// Whether this text names a key that nobody here knows, so that it may be turned back when the keys have been read again. It
    /// proves nothing.
    #[must_use]
    pub fn is_unknown(&self, text: &str) -> bool {
        self.family().is_unknown(text)
    }

    /// Says that the keys were read again for this text.
    pub fn have_looked(&self, text: &str) {
        self.family().give_up(text);
    }

    /// Appends the plain text of the value (unescaped; a number as a JSON number) to `out`; nothing where there is none.
    pub fn open(&self, text: &str, out: &mut Vec<u8>) -> Opened {
        let (family, shaped) = &*self.0;
        match (family.open(text, out), shaped) {
            (Opened::Plain, Some((shaped, life))) if !life.has_ended() && shaped.open(text, out) => Opened::Text,
            (opened, _) => opened,
        }
    }
}

impl Pseudonymizer {
    /// With the spellings of a value made one.
    #[must_use]
    pub fn normalizing(self, normalize: Option<Normalize>) -> Self {
        Self { normalize, ..self }
    }

    /// Appends the pseudonym's text (30 characters, `ps1_` and letters and digits) to `out`. The number 1 and the string "1"
    /// differ. `false`, and nothing appended: the domain is destroyed, or the value is none of the kind that is normalised so.
    #[must_use]
    pub fn hash(&self, value: Value<'_>, out: &mut Vec<u8>) -> bool {
        let (hash, life) = &*self.hash;
        let Some(normal) = Normal::of(self.normalize, value).filter(|_| !life.has_ended()) else { return false };
        let (kind, text) = normal.value().parts();
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

#[cfg(test)]
mod tests;
