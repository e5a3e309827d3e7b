//! JSON Web Tokens (RFC 7519) as a partner's credential: which key, which algorithm, which claims.
//!
//! The algorithm comes from the policy and never from the token alone; the key comes from the partner's own key set (RFC 7517),
//! never from the token. Claims are checked here and not by the library, because it lets a token pass that lacks `iss` or
//! `aud`, and because time comes from our clock. Start at [`Verifier::verify`].

use std::fmt;

use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use crate::clock::Time;
use crate::policy::rule;

use super::verified::{self, Verified};

/// How far two clocks may be apart, in seconds: for `exp` and `nbf`.
const LEEWAY_SECONDS: f64 = 10.0;

/// Longest token that is looked at, in bytes: a bearer token is some hundreds.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// One partner's way to check its tokens.
pub struct Verifier {
    settings: rule::Jwt,
    algorithms: Vec<Algorithm>,
    keys: Vec<Key>,
    verified: Verified,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("issuer", &self.settings.issuer).finish_non_exhaustive()
    }
}

impl Verifier {
    /// From the policy and the text of its key set.
    ///
    /// # Errors
    /// What is wrong with the algorithms or the key set.
    pub fn new(settings: rule::Jwt, jwks: &[u8]) -> Result<Self, String> {
        let mut algorithms = Vec::new();
        for name in &settings.algorithms {
            let algorithm: Algorithm = name.parse().map_err(|_| format!("unknown algorithm `{name}`"))?;
            if matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
                return Err(format!("algorithm `{name}` is symmetric: whoever checks such a token can make one"));
            }
            algorithms.push(algorithm);
        }
        let set: JwkSet = serde_json::from_slice(jwks)
            .map_err(|e| format!("not a key set (RFC 7517): line {}, column {}", e.line(), e.column()))?;
        let mut keys = Vec::new();
        for jwk in &set.keys {
            let encrypts = jwk.common.public_key_use == Some(PublicKeyUse::Encryption);
            let Ok(key) = DecodingKey::from_jwk(jwk) else { continue };
            if encrypts || !algorithms.iter().any(|algorithm| algorithm.family() == key.family()) {
                continue;
            }
            let algorithm = match jwk.common.key_algorithm {
                Some(algorithm) => match algorithm.to_string().parse() {
                    Ok(algorithm) => Some(algorithm),
                    Err(_) => continue,
                },
                None => None,
            };
            keys.push(Key { id: jwk.common.key_id.clone(), algorithm, key });
        }
        if keys.is_empty() {
            return Err("no key in the set fits the algorithms".to_owned());
        }
        Ok(Self { settings, algorithms, keys, verified: Verified::default() })
    }

    /// Whether the token is this partner's and valid now. `claimed`: what [`Claimed::read`] read from it.
    #[must_use]
    pub fn verify(&self, token: &str, claimed: &Claimed, now: Time) -> bool {
        // A signature is dear to check, and many partners may have one issuer: only what claims to be this one's is checked.
        if !self.claims(&claimed.0, now) {
            return false;
        }
        let digest = verified::digest(token);
        if self.verified.knows(&digest) {
            return true;
        }
        let good = self.signed(token, now);
        if good {
            self.verified.remember(digest);
        }
        good
    }

    fn signed(&self, token: &str, now: Time) -> bool {
        let Ok(header) = jsonwebtoken::decode_header(token) else { return false };
        // An extension that we must understand (RFC 7515, section 4.1.11): we understand none.
        if token.len() > TOKEN_BYTES_MAX || header.crit.is_some() || !self.algorithms.contains(&header.alg) {
            return false;
        }
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let fits = |key: &&Key| {
            key.key.family() == header.alg.family()
                && key.algorithm.is_none_or(|algorithm| algorithm == header.alg)
                && (header.kid.is_none() || key.id.is_none() || key.id == header.kid)
        };
        let mut keys = self.keys.iter().filter(fits);
        keys.any(|key| {
            jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation)
                .is_ok_and(|data| self.claims(&data.claims, now))
        })
    }

    fn claims(&self, claims: &Map<String, Value>, now: Time) -> bool {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let audience = match claims.get("aud") {
            Some(Value::String(one)) => *one == self.settings.audience,
            Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(&self.settings.audience)),
            _ => false,
        };
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in an f64 for 285,000 years")]
        let seconds = now.0 as f64 / 1000.0;
        let expires = claims.get("exp").and_then(Value::as_f64);
        let begins = match claims.get("nbf") {
            Some(value) => value.as_f64(),
            None => Some(f64::MIN),
        };
        audience
            && text("iss") == Some(&self.settings.issuer)
            && expires.is_some_and(|at| seconds < at + LEEWAY_SECONDS)
            && begins.is_some_and(|at| seconds >= at - LEEWAY_SECONDS)
            && self.settings.claims.iter().all(|(name, value)| text(name) == Some(value))
    }
}

/// What a token says of itself, unverified: only to find out which partners' keys to try.
#[derive(Debug)]
pub struct Claimed(Map<String, Value>);

impl Claimed {
    /// `None`: it cannot be read, or is too long to be looked at.
    #[must_use]
    pub fn read(token: &str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        jsonwebtoken::dangerous::insecure_decode_claims(token).ok().map(Self)
    }

    /// Whose token it says it is.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.get("iss").and_then(Value::as_str)
    }
}
