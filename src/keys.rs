//! The root key, and each domain's own secret wrapped by it.

use std::path::Path;
use std::sync::Arc;

use crate::ids::DomainId;

/// Why keys cannot be used. Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Placeholder: the real variants say file, what was found, what was wanted, how to mend it.
    #[error("keys: {0}")]
    Unusable(String),
}

/// Where keys come from. The seam for other sources (environment, a key service).
pub trait KeySource: Send + Sync + std::fmt::Debug {}

/// The keys in memory. Wiped when dropped.
#[derive(Debug)]
pub struct KeyRing {}

/// The working secret of one (domain, epoch): 256 random bits, from which `vault` derives keys.
#[derive(Debug)]
pub struct DomainSecret {}

impl KeyRing {
    /// Reads a folder made by [`init`]. Refuses loose permissions, foreign files, a missing or malformed root.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let _ = folder;
        todo!()
    }
    /// The domain's current secret; makes and durably stores one if there is none yet (exclusive creation, so that two processes agree).
    pub fn domain(&self, id: &DomainId) -> Result<Arc<DomainSecret>, Error> {
        let _ = id;
        todo!()
    }
}

/// `tidegate keys init`: makes the folder (0700) and a root key (0600). Refuses where there is one.
pub fn init(folder: &Path) -> Result<(), Error> {
    let _ = folder;
    todo!()
}
