//! The root key, and each domain's own secret wrapped by it.
//!
//! Not here: what is made with a secret (see [`crate::vault`]). A secret never leaves this module: what leaves is derived
//! from it by [`DomainSecret::derive`]. Start at [`KeyRing`]; where keys are kept is behind [`KeySource`], and [`folder`] is
//! the one source so far.
//!
//! ```text
//! root key ── wraps ──> secret of (domain, epoch) ── HKDF(purpose, category) ──> working keys, in `vault`
//! ```

pub mod folder;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hkdf::Hkdf;
use sha2::Sha256;

use crate::ids::DomainId;
use crate::secret::Secret;

/// Bytes of a root key and of a domain's secret: 256 random bits.
pub const KEY_LEN: usize = 32;

/// A root key or a domain's secret.
pub type Key = Secret<[u8; KEY_LEN]>;

/// A generation of a domain's secret, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The one that a new domain begins with, and the only one that this version knows.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why keys cannot be used: where, what was found, and what mends it. Never holds key material.
#[derive(Debug, thiserror::Error)]
#[error("keys: `{}`: {fault}", place.display())]
pub struct Error {
    /// The file or folder.
    pub place: PathBuf,
    /// What is wrong with it; the message has it whole, so it is no further link in the chain of causes.
    pub fault: Fault,
}

/// What can be wrong with a place where keys are kept.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No folder, or no root key in it.
    #[error("there is no {0} here: make one with `tidegate keys init`, or restore it from the backup")]
    Missing(&'static str),
    /// Others than the owner may read or write it.
    #[error("mode {found:04o} lets others in: run `chmod {wanted:o} '{}'`", place.display())]
    Loose {
        /// The permission bits found.
        found: u32,
        /// The permission bits wanted.
        wanted: u32,
        /// For the mending command.
        place: PathBuf,
    },
    /// Not what it has to be (a folder, a plain file).
    #[error("expected {0}")]
    Kind(&'static str),
    /// A file that is none of ours.
    #[error("this file does not belong in a key folder: move it elsewhere")]
    Stranger,
    /// A file of an epoch that this version cannot read.
    #[error("epoch {0} is not known to this version: run the version that made it")]
    Epoch(String),
    /// The text is not a key file of the expected kind.
    #[error("not a {0} file, or damaged: restore it from the backup")]
    Garbled(&'static str),
    /// The checksum does not match.
    #[error("the {0} is damaged (its checksum does not match): restore it from the backup")]
    Checksum(&'static str),
    /// A secret that the root key beside it does not unwrap.
    #[error(
        "this secret does not belong to the root key beside it, to this domain, or was changed: restore both files from one backup"
    )]
    Foreign,
    /// `init` where there is a root key.
    #[error("there is a root key already: nothing was changed")]
    Exists,
    /// `init` where secrets have outlived their root key.
    #[error(
        "there are domain secrets without their root key: restore `{}` from the backup, or begin in an empty folder",
        folder::ROOT
    )]
    Orphaned,
    /// The system said no.
    #[error("cannot {act}: {error}")]
    System {
        /// What was tried.
        act: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Randomness,
}

impl Fault {
    fn at(self, place: &Path) -> Error {
        Error { place: place.to_owned(), fault: self }
    }
}

/// Where secrets are kept, wrapped. The seam for other sources (environment, a key service): unwrapping is the source's own
/// affair, because with a key service the root key never comes to us.
///
/// Calls may block and are made when policies are loaded, never for a value.
pub trait KeySource: Send + Sync + fmt::Debug {
    /// The secret of this domain and epoch, if there is one.
    ///
    /// # Errors
    /// A secret that is there and cannot be read or trusted is an error, never `None`: a new one in its place would make
    /// every token of the domain unreadable.
    fn load(&self, domain: &DomainId, epoch: Epoch) -> Result<Option<Key>, Error>;

    /// Keeps `fresh` unless there is a secret already, and gives back the one that is kept. It is durable on return, and any
    /// number of processes that race get the same one.
    ///
    /// # Errors
    /// Nothing was kept, or it is not known whether it is durable.
    fn create(&self, domain: &DomainId, epoch: Epoch, fresh: &Key) -> Result<Key, Error>;

    /// All domains and epochs, sorted.
    ///
    /// # Errors
    /// The source cannot be read.
    fn list(&self) -> Result<Vec<(DomainId, Epoch)>, Error>;

    /// A key for one purpose of the whole program: the same in every process with these keys, and of no use for any other.
    fn derived(&self, purpose: &str) -> Key;
}

/// The keys in memory. Wiped when dropped.
#[derive(Debug)]
pub struct KeyRing {
    source: Box<dyn KeySource>,
    domains: Mutex<HashMap<DomainId, Arc<DomainSecret>>>,
}

impl KeyRing {
    /// Reads a folder made by [`init`]. Refuses loose permissions, strange files, a missing or malformed root.
    ///
    /// # Errors
    /// What is wrong with the folder and how to mend it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self::over(Box::new(folder::Folder::open(folder)?)))
    }

    /// Over another source.
    #[must_use]
    pub fn over(source: Box<dyn KeySource>) -> Self {
        Self { source, domains: Mutex::default() }
    }

    /// The domain's current secret; makes and durably stores one if there is none yet (exclusive creation, so that two
    /// processes agree). Blocks; a lock is held, so it is for loading a policy, not for a value.
    ///
    /// # Errors
    /// The source cannot be read, or cannot be written and there was no secret.
    pub fn domain(&self, id: &DomainId) -> Result<Arc<DomainSecret>, Error> {
        // A panic of another thread under this lock leaves at worst a secret that is not cached.
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = domains.get(id) {
            return Ok(Arc::clone(secret));
        }
        let epoch = Epoch::FIRST;
        let key = match self.source.load(id, epoch)? {
            Some(key) => key,
            None => {
                tracing::info!(domain = %id, epoch = epoch.0, "new domain: making its secret");
                self.source.create(id, epoch, &random_key().map_err(|fault| fault.at(Path::new("the system")))?)?
            }
        };
        let secret = Arc::new(DomainSecret { domain: id.clone(), epoch, key });
        domains.insert(id.clone(), Arc::clone(&secret));
        Ok(secret)
    }

    /// The key of entity tags.
    #[must_use]
    pub fn tags(&self) -> Key {
        self.source.derived("entity tags")
    }

    /// All domains and epochs that have a secret, sorted.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn list(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        self.source.list()
    }
}

/// The working secret of one (domain, epoch): 256 random bits, from which `vault` derives keys. Wiped when dropped.
#[derive(Debug)]
pub struct DomainSecret {
    domain: DomainId,
    epoch: Epoch,
    key: Key,
}

impl DomainSecret {
    /// Whose it is.
    #[must_use]
    pub fn domain(&self) -> &DomainId {
        &self.domain
    }

    /// Which generation.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A working key: HKDF-SHA-256 (RFC 5869) without salt, with the info `tidegate/1`, domain, epoch, `purpose` and
    /// `parts`, each after its length in 8 bytes, so that no two lists read alike. At most 255 * 32 bytes are asked for;
    /// `N` is a small constant everywhere.
    #[must_use]
    pub fn derive<const N: usize>(&self, purpose: &str, parts: &[&str]) -> Secret<[u8; N]> {
        let epoch = self.epoch.0.to_be_bytes();
        let mut info = Vec::with_capacity(128);
        let fixed = [b"tidegate/1".as_slice(), self.domain.as_str().as_bytes(), &epoch, purpose.as_bytes()];
        for part in fixed.into_iter().chain(parts.iter().map(|part| part.as_bytes())) {
            info.extend_from_slice(&(part.len() as u64).to_be_bytes());
            info.extend_from_slice(part);
        }
        expand(&self.key, &info)
    }
}

/// HKDF-SHA-256 (RFC 5869) without salt.
#[expect(
    clippy::expect_used,
    reason = "`expand` fails for more than 255 * 32 bytes only, and N is checked when compiled"
)]
fn expand<const N: usize>(key: &Key, info: &[u8]) -> Secret<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF gives no more") };
    let mut out = Secret::new([0; N]);
    Hkdf::<Sha256>::new(None, key.expose_secret()).expand(info, out.expose_secret_mut()).expect("a length that fits");
    out
}

/// 256 bits from the system.
fn random_key() -> Result<Key, Fault> {
    let mut key = Key::new([0; KEY_LEN]);
    getrandom::fill(key.expose_secret_mut()).map_err(|_| Fault::Randomness)?;
    Ok(key)
}

/// `tidegate keys init`: makes the folder (0700) and a root key (0600). Refuses where there is one.
///
/// # Errors
/// What is wrong with the place and how to mend it; an existing root key is never touched.
pub fn init(folder: &Path) -> Result<(), Error> {
    folder::init(folder)
}

#[cfg(test)]
mod tests;
