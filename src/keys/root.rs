//! The root key in our own hands: how it is spelled, and how it wraps secrets (AES-256-SIV, RFC 5297, with the secret's name
//! and epoch as bound context).

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::secret::Secret;

use super::fault::Fault;
use super::files::{fields, hex};
use super::folder::Wrapping;
use super::{Epoch, KEY_LEN, Key, expand};

/// The synthetic IV before the secret.
const WRAPPED_LEN: usize = 16 + KEY_LEN;
const CONTEXT: &[u8] = b"tidegate/1 domain secret";
const WORDS: [&str; 3] = ["tidegate", "root-key", "v1"];

/// Wraps by a root key.
#[derive(Debug)]
pub(super) struct Root {
    wrapping: Secret<[u8; 64]>,
}

impl Root {
    pub(super) fn new(root: &Key) -> Self {
        Self { wrapping: expand(root, b"tidegate/1 wrap domain secrets") }
    }

    fn cipher(&self) -> Aes256Siv {
        Aes256Siv::new(self.wrapping.expose_secret().into())
    }
}

impl Wrapping for Root {
    fn version(&self) -> &'static str {
        "v1"
    }

    fn wrap(&self, name: &str, epoch: Epoch, key: &Key) -> Result<String, Fault> {
        let mut secret = Zeroizing::new(*key.expose_secret());
        let tag = self
            .cipher()
            .encrypt_inout_detached([CONTEXT, name.as_bytes(), &epoch.0.to_be_bytes()], secret.as_mut_slice().into())
            .map_err(|_| Fault::Garbled("domain secret"))?;
        Ok(format!("{}{}", HEXLOWER.encode(&tag), HEXLOWER.encode(secret.as_slice())))
    }

    fn unwrap(&self, name: &str, epoch: Epoch, wrapped: &str) -> Result<Key, Fault> {
        let garbled = || Fault::Garbled("domain secret");
        let wrapped = hex::<WRAPPED_LEN>(wrapped).ok_or_else(garbled)?;
        let (tag, secret) = wrapped.expose_secret().split_first_chunk::<16>().ok_or_else(garbled)?;
        let mut key = Key::new(secret.try_into().map_err(|_| garbled())?);
        self.cipher()
            .decrypt_inout_detached(
                [CONTEXT, name.as_bytes(), &epoch.0.to_be_bytes()],
                key.expose_secret_mut().as_mut_slice().into(),
                tag.into(),
            )
            .map_err(|_| Fault::Foreign)?;
        Ok(key)
    }
}

/// The line of a root key.
pub(super) fn spell(key: &Key) -> Zeroizing<String> {
    let [word, kind, version] = WORDS;
    let secret = Zeroizing::new(HEXLOWER.encode(key.expose_secret()));
    Zeroizing::new(format!("{word} {kind} {version} {} {}\n", *secret, checksum(key)))
}

/// Reads a root key's file.
pub(super) fn parse(text: &str) -> Result<Key, Fault> {
    let garbled = || Fault::Garbled("root key");
    let [key, check] = fields(text, WORDS).ok_or_else(garbled)?;
    let key = hex::<KEY_LEN>(key).ok_or_else(garbled)?;
    if check.eq_ignore_ascii_case(&checksum(&key)) { Ok(key) } else { Err(Fault::Checksum("root key")) }
}

/// Reads a root key that stands alone: 64 hex digits, or the line of a file.
pub(super) fn parse_value(text: &str) -> Result<Key, Fault> {
    hex::<KEY_LEN>(text.trim()).map_or_else(|| parse(text), Ok)
}

/// The first 32 bits of a hash of the key: finds a slip of the pen, and is of no use to who does not have the key.
fn checksum(key: &Key) -> String {
    let hash = Sha256::new().chain_update(b"tidegate/1 root key").chain_update(key.expose_secret()).finalize();
    HEXLOWER.encode(hash.get(..4).unwrap_or_default())
}
