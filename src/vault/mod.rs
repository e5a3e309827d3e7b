//! Issues, reveals and forgets tokens.
//!
//! Knows keys and formats; no policy, no HTTP. The hot path asks for a [`Sealer`], [`Opener`] or [`Pseudonymizer`] once, when a
//! policy is loaded, and then calls it for each value without a look-up. Start at [`Vault`].

pub mod seal;
pub mod store;
pub mod token;

use std::sync::Arc;

use crate::ids::{Category, DomainId, Shape};
use crate::keys::{self, KeyRing};

use token::{Issued, Opened, Value};

/// All domains of one key ring.
#[derive(Clone, Debug)]
pub struct Vault {}

/// Issues sealed tokens of one (domain, category, shape). Cheap to clone; `&self` from any thread.
#[derive(Clone, Debug)]
pub struct Sealer {}

/// Turns tokens of one (domain, category) back.
#[derive(Clone, Debug)]
pub struct Opener {}

/// Keyed hashes of one (domain, category).
#[derive(Clone, Debug)]
pub struct Pseudonymizer {}

/// Seals to a partner's public key (JWE compact, ECDH-ES + A256GCM; P-256 and X25519).
#[derive(Clone, Debug)]
pub struct Recipient {}

impl Vault {
    /// Over these keys.
    pub fn new(keys: Arc<KeyRing>) -> Self {
        let _ = keys;
        todo!()
    }
    /// For `tokenize`. `category` None: the category `unnamed`.
    pub fn sealer(&self, domain: &DomainId, category: Option<&Category>, shape: Shape) -> Result<Sealer, keys::Error> {
        let _ = (domain, category, shape);
        todo!()
    }
    /// For `reveal`. `shape` is needed for unauthenticated shapes only.
    pub fn opener(&self, domain: &DomainId, category: &Category, shape: Option<Shape>) -> Result<Opener, keys::Error> {
        let _ = (domain, category, shape);
        todo!()
    }
    /// For `pseudonymize`.
    pub fn pseudonymizer(&self, domain: &DomainId, category: Option<&Category>) -> Result<Pseudonymizer, keys::Error> {
        let _ = (domain, category);
        todo!()
    }
}

impl Sealer {
    /// Appends the token's text (no quotes; only characters that need no escape in JSON, a header, a path or a query) to `out`.
    pub fn issue(&self, value: Value<'_>, out: &mut Vec<u8>) -> Issued {
        let _ = (value, out);
        todo!()
    }
}

impl Opener {
    /// Appends the plain text of the value (unescaped; a number's canonical decimal) to `out`.
    pub fn open(&self, text: &str, out: &mut Vec<u8>) -> Opened {
        let _ = (text, out);
        todo!()
    }
}

impl Pseudonymizer {
    /// Appends the pseudonym's text to `out`.
    pub fn hash(&self, value: Value<'_>, out: &mut Vec<u8>) {
        let _ = (value, out);
        todo!()
    }
}

impl Recipient {
    /// Reads a public JWK (RFC 7517): `EC` P-256 or `OKP` X25519.
    pub fn from_jwk(text: &str) -> Result<Self, String> {
        let _ = text;
        todo!()
    }
    /// Appends a JWE in compact form of the value's JSON text. Randomised: `Err` where there is no randomness.
    pub fn encrypt(&self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), ()> {
        let _ = (plain, out);
        todo!()
    }
}
