//! JWE in compact form (RFC 7516): ECDH-ES (RFC 7518, section 4.6) on P-256 or X25519 (RFC 8037), and A256GCM.
//!
//! Encrypts only: the private key is the partner's. Start at [`PublicKey`].

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{Algorithm, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const COORDINATE_LEN: usize = 32;
const UNCOMPRESSED: u8 = 4;

/// Nothing was sealed, because the system gave no random bytes; nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes to encrypt with")]
pub struct Unsealed;

/// A recipient's public key.
#[derive(Clone)]
pub struct PublicKey {
    curve: Curve,
    /// As the key agreement reads it.
    point: Vec<u8>,
    kid: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    X25519,
}

/// A JWK (RFC 7517) as far as it concerns us; unknown members are allowed there.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    enc: &'static str,
    cty: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    epk: EphemeralKey,
}

#[derive(Serialize)]
struct EphemeralKey {
    kty: &'static str,
    crv: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

impl Curve {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::P256 => &ECDH_P256,
            Self::X25519 => &X25519,
        }
    }
}

impl PublicKey {
    /// Reads a public JWK. The key is tried once, so that a point off the curve or of small order is found here.
    ///
    /// # Errors
    /// What was found and what was wanted, for the author of the policy; no key material.
    pub fn from_jwk(text: &str) -> Result<Self, String> {
        let jwk: Jwk = serde_json::from_str(text).map_err(|error| match text.contains("\"keys\"") {
            true => "this is a key set: give the one key of it that the partner decrypts with".to_owned(),
            false => format!("not a JWK (RFC 7517): line {}, column {}", error.line(), error.column()),
        })?;
        if jwk.d.is_some() {
            return Err("this is a private key (`d`): give its public part, and treat the key as disclosed".to_owned());
        }
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "enc") {
            return Err("`use` is not `enc`: this key is not for encryption".to_owned());
        }
        if jwk
            .key_ops
            .is_some_and(|ops| !ops.is_empty() && !ops.iter().any(|op| op == "deriveKey" || op == "deriveBits"))
        {
            return Err("`key_ops` has neither `deriveKey` nor `deriveBits`".to_owned());
        }
        if jwk.alg.as_deref().is_some_and(|alg| alg != "ECDH-ES") {
            return Err("`alg` is not `ECDH-ES`, the one that is written here".to_owned());
        }
        let x = coordinate("x", jwk.x.as_deref())?;
        let (curve, point) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("EC", Some("P-256")) => {
                let y = coordinate("y", jwk.y.as_deref())?;
                (Curve::P256, [[UNCOMPRESSED].as_slice(), &x, &y].concat())
            }
            ("OKP", Some("X25519")) => (Curve::X25519, x.to_vec()),
            _ => return Err("expected `kty` `EC` with `crv` `P-256`, or `OKP` with `X25519`".to_owned()),
        };
        let key = Self { curve, point, kid: jwk.kid };
        match key.encrypt(b"null", &mut Vec::new()) {
            Ok(()) => Ok(key),
            Err(Unsealed) => Err("`x` and `y` are not a point that can be agreed with on this curve".to_owned()),
        }
    }

    /// Appends the JWE of a JSON text. A new ephemeral key each time, so equal texts differ; their length shows.
    ///
    /// # Errors
    /// There is no randomness; nothing is appended.
    pub fn encrypt(&self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealed> {
        let own = EphemeralPrivateKey::generate(self.curve.algorithm(), &SystemRandom::new()).map_err(|_| Unsealed)?;
        let public = own.compute_public_key().map_err(|_| Unsealed)?;
        let epk = self.epk(public.as_ref()).ok_or(Unsealed)?;
        let header = Header { alg: "ECDH-ES", enc: "A256GCM", cty: "json", kid: self.kid.as_deref(), epk };
        let header = BASE64URL_NOPAD.encode(&serde_json::to_vec(&header).map_err(|_| Unsealed)?);

        let theirs = UnparsedPublicKey::new(self.curve.algorithm(), &self.point);
        let key = agree_ephemeral(own, theirs, Unsealed, |shared| Ok(concat_kdf(shared, b"A256GCM", b"", b"", 256)))?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| Unsealed)?;
        let mut iv = [0; 12];
        getrandom::fill(&mut iv).map_err(|_| Unsealed)?;
        let mut text = plain.to_vec();
        let tag = LessSafeKey::new(key)
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::from(header.as_bytes()), &mut text)
            .map_err(|_| Unsealed)?;

        let written = [header, String::new(), encode(&iv), encode(&text), encode(tag.as_ref())];
        out.extend_from_slice(written.join(".").as_bytes());
        Ok(())
    }

    fn epk(&self, public: &[u8]) -> Option<EphemeralKey> {
        Some(match self.curve {
            Curve::P256 => {
                let (x, y) = public.strip_prefix(&[UNCOMPRESSED])?.split_at_checked(COORDINATE_LEN)?;
                EphemeralKey { kty: "EC", crv: "P-256", x: encode(x), y: Some(encode(y)) }
            }
            Curve::X25519 => EphemeralKey { kty: "OKP", crv: "X25519", x: encode(public), y: None },
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("curve", &self.curve).field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn coordinate(name: &str, text: Option<&str>) -> Result<[u8; COORDINATE_LEN], String> {
    let text = text.ok_or_else(|| format!("`{name}` is missing"))?;
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("`{name}` is not {COORDINATE_LEN} bytes in base64url without padding"))
}

/// The one-step key derivation of NIST SP 800-56A with SHA-256, as RFC 7518 (section 4.6.2) uses it, for a key of up to 256 bits:
/// one hash is enough, and a shorter key is its beginning. The names are short (they have 32-bit lengths).
pub(super) fn concat_kdf(shared: &[u8], algorithm: &[u8], apu: &[u8], apv: &[u8], bits: u32) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha256::new().chain_update(1u32.to_be_bytes()).chain_update(shared);
    for part in [algorithm, apu, apv] {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    Zeroizing::new(hash.chain_update(bits.to_be_bytes()).finalize().into())
}
