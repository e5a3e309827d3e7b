//! The root key, and each domain's own secret wrapped by it.
//!
//! Not here: what is made with a secret (see [`crate::vault`]). A secret never leaves this module: what leaves is derived
//! from it by [`DomainSecret::derive`]. Start at [`KeyRing`]; where keys are kept is behind [`KeySource`], and which there are is in
//! [`source`].
//!
//! ```text
//! root key ── wraps ──> secret of (domain, epoch) ── HKDF(purpose, category) ──> working keys, in `vault`
//! ```
//!
//! A domain begins with epoch 1. A rotation adds one: the newest is what new tokens are made with, all that live turn tokens
//! back. Destroying ends an epoch and all before it; a domain without a living epoch is destroyed, and stays so until
//! somebody says otherwise.

pub mod change;
pub mod fault;
mod files;
pub mod folder;
pub mod looks;
mod ring;
mod root;
pub mod source;
pub mod transit;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use sha2::Sha256;

use crate::ids::DomainId;
use crate::secret::Secret;

use change::After;
use fault::Fault;
use looks::{Living, Looks};
use ring::Ring;

/// Bytes of a root key and of a domain's secret: 256 random bits.
pub const KEY_LEN: usize = 32;

/// A root key or a domain's secret.
pub type Key = Secret<[u8; KEY_LEN]>;

/// A generation of a domain's secret, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The one that a new domain begins with.
    pub const FIRST: Self = Self(1);

    /// The one after it; `None`: there are no more.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
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

    /// Keeps `fresh` as the epoch that follows `after`, unless there is a secret already, and gives back the one that is kept. It is
    /// durable on return, and any number of processes that race get the same one.
    ///
    /// # Errors
    /// Nothing was kept, or it is not known whether it is durable; [`Fault::Changed`] where the domain is not as `after` says.
    fn create(&self, domain: &DomainId, after: After, fresh: &Key) -> Result<Key, Error>;

    /// All domains and their living epochs, sorted.
    ///
    /// # Errors
    /// The source cannot be read.
    fn list(&self) -> Result<Vec<(DomainId, Epoch)>, Error>;

    /// Up to which epoch domains were destroyed, sorted.
    ///
    /// # Errors
    /// The source cannot be read.
    fn destroyed(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        Ok(Vec::new())
    }

    /// What there is of one domain.
    ///
    /// # Errors
    /// The source cannot be read.
    fn state(&self, domain: &DomainId) -> Result<State, Error> {
        let of =
            |all: Vec<(DomainId, Epoch)>| all.into_iter().filter_map(|(of, epoch)| (of == *domain).then_some(epoch));
        Ok(State { living: of(self.list()?).collect(), destroyed: of(self.destroyed()?).max(), made: None })
    }

    /// What there is of every domain, as far as it can be told: what is wrong with one hides no other.
    ///
    /// # Errors
    /// The source cannot be read at all.
    fn survey(&self) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        for (domain, epoch) in self.list()? {
            survey.domains.entry(domain).or_default().living.push(epoch);
        }
        for (domain, through) in self.destroyed()? {
            let state = survey.domains.entry(domain).or_default();
            state.destroyed = state.destroyed.max(Some(through));
        }
        Ok(survey)
    }

    /// Tells whether what is kept under this name is still the same, without unwrapping it; `None`: there is none, or it
    /// cannot be told.
    ///
    /// # Errors
    /// What is there cannot be read or trusted.
    fn print(&self, domain: &DomainId, epoch: Epoch) -> Result<Option<Print>, Error> {
        let _ = (domain, epoch);
        Ok(None)
    }

    /// Destroys an epoch and all before it, so that they are never loaded or created again. Whatever goes wrong in between:
    /// nothing was changed, or they are dead, and destroying again finishes it. `whole`: the domain ends with it, so that no newer
    /// epoch may be there.
    ///
    /// # Errors
    /// Nothing was destroyed, or it is not known whether it is durable or whole; [`Fault::Changed`] where there is a newer one.
    fn destroy(&self, domain: &DomainId, through: Epoch, whole: bool) -> Result<(), Error> {
        let _ = (through, whole);
        Err(Fault::Unknown(domain.clone()).at(Path::new("this source")))
    }

    /// Secrets that are destroyed and still there: a destruction was cut off, or a backup brought them back. Sorted.
    ///
    /// # Errors
    /// The source cannot be read.
    fn remains(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        Ok(Vec::new())
    }

    /// A key for one purpose of the whole program: the same in every process with these keys, and of no use for any other.
    fn derived(&self, purpose: &str) -> Key;

    /// A folder in which a change of the keys can be noticed.
    fn folder(&self) -> Option<&Path> {
        None
    }
}

/// What a source has of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The epochs whose secrets live, sorted.
    pub living: Vec<Epoch>,
    /// Up to which epoch it was destroyed, if ever.
    pub destroyed: Option<Epoch>,
    /// The last epoch of which it is known that there was one.
    pub made: Option<Epoch>,
}

/// What a source has of all domains.
#[derive(Debug, Default)]
pub struct Survey {
    /// By domain.
    pub domains: BTreeMap<DomainId, State>,
    /// What is wrong beside.
    pub wrong: Vec<Error>,
}

/// SHA-256 of a secret as it is kept.
pub type Print = [u8; 32];

/// The living secrets of a domain, the newest first; empty only in memory, for a destroyed domain that a policy names.
pub type Epochs = Arc<[Arc<DomainSecret>]>;

/// The keys in memory. Wiped when dropped.
#[derive(Debug)]
pub struct KeyRing(Arc<Ring>);

impl KeyRing {
    /// Reads a folder made by [`init`]. Refuses loose permissions, strange files, a missing or malformed root.
    ///
    /// # Errors
    /// What is wrong with the folder and how to mend it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self::over(Box::new(folder::Folder::open(folder)?)))
    }

    /// Reads what the settings name: a folder, and whatever unwraps what is in it.
    ///
    /// # Errors
    /// As [`Self::open`]; that the root is wrong or a key service cannot be asked.
    pub fn open_source(settings: &source::Settings) -> Result<Self, Error> {
        Ok(Self::over(Box::new(source::open(settings)?)))
    }

    /// Over another source.
    #[must_use]
    pub fn over(source: Box<dyn KeySource>) -> Self {
        Self(Arc::new(Ring::new(source, Looks::default())))
    }

    /// Over another source, with the beat at which tokens make it read.
    #[must_use]
    pub fn beating(source: Box<dyn KeySource>, every: Duration) -> Self {
        Self(Arc::new(Ring::new(source, Looks::every(every))))
    }

    /// The domain's current secret: the newest of [`Self::epochs`].
    ///
    /// # Errors
    /// As there.
    pub fn domain(&self, id: &DomainId) -> Result<Arc<DomainSecret>, Error> {
        let epochs = self.epochs(id)?;
        epochs.first().cloned().ok_or_else(|| Fault::Missing("domain secret").at(Path::new("the keys")))
    }

    /// The domain's living secrets; makes and durably stores a first one for a domain that never was (exclusive creation, so
    /// that two processes agree). Blocks; a lock is held, so it is for loading a policy, not for a value.
    ///
    /// # Errors
    /// The source cannot be read, or cannot be written and there was no secret; [`Fault::Destroyed`].
    pub fn epochs(&self, id: &DomainId) -> Result<Epochs, Error> {
        let _working = self.0.working();
        let held = self.0.held(id);
        if let Some(epochs) = held.as_ref().filter(|epochs| !epochs.is_empty()) {
            return Ok(Arc::clone(epochs));
        }
        let source = &*self.0.source;
        let state = source.state(id)?;
        let mut epochs = self.0.load(id, &state.living)?;
        if epochs.is_empty() {
            if let Some(lost) = state.lost() {
                return Err(Fault::Gone(id.clone(), lost).at(self.place()));
            }
            if state.destroyed.is_some() || held.is_some() {
                // Remembered, so that a new beginning is noticed, and nothing is made where the record of the end is lost.
                self.0.hold(id, epochs);
                return Err(Fault::Destroyed(id.clone()).at(self.place()));
            }
            let epoch = Epoch::FIRST;
            tracing::info!(domain = %id, epoch = epoch.0, "new domain: making its secret");
            let key = source.create(id, After::Nothing, &fresh_key()?)?;
            epochs = Arc::new([Arc::new(self.0.secret(id, epoch, key)?)]);
        }
        for missing in state.missing() {
            let fault = Fault::Gone(id.clone(), missing);
            tracing::error!(domain = %id, epoch = missing.0, cause = %fault, "a secret of this domain is missing");
        }
        self.0.hold(id, Arc::clone(&epochs));
        Ok(epochs)
    }

    /// Reads again what there is of the domains in memory: rotations and destructions by other processes. What was destroyed
    /// ends at once, also for whoever holds it. Blocks.
    ///
    /// # Errors
    /// All that is wrong. Each domain is for itself: of one with which something is wrong what is in memory stays, the others are as
    /// the source has them. A secret that is gone without a record of its end is such an error.
    pub fn refresh(&self) -> Result<(), Vec<Error>> {
        let wrong = self.0.refresh();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Which epochs are in memory: another text after a [`Self::refresh`] that found a change.
    #[must_use]
    pub fn stamp(&self) -> String {
        let one = |secret: &Arc<DomainSecret>| format!("{} {}", secret.epoch, HEXLOWER.encode(&secret.print));
        let line = |(domain, living): (&DomainId, &Arc<Living>)| {
            format!("{domain} {}", living.epochs().iter().map(one).collect::<Vec<_>>().join(","))
        };
        let mut lines: Vec<String> = self.0.domains().iter().map(line).collect();
        lines.sort();
        lines.join("\n")
    }

    /// As [`Self::epochs`], as they are known at any time from now on: for whoever works on values.
    ///
    /// # Errors
    /// As there.
    pub fn living(&self, id: &DomainId) -> Result<Arc<Living>, Error> {
        self.epochs(id)?;
        self.0.living(id).ok_or_else(|| Fault::Missing("domain secret").at(self.place()))
    }

    /// Waits until the source has been read again, by a reading that begins from now on, and not longer than a moment: for a
    /// token that another process issued under an epoch of which this one was not told yet. Blocks no thread. Gives what
    /// [`Self::may_look_again`] wants to know.
    pub async fn look(&self) -> u64 {
        looks::look(&self.0).await
    }

    /// Whether somebody who has waited for a look may do so again.
    #[must_use]
    pub fn may_look_again(&self, looked: Option<u64>) -> bool {
        self.0.looks.may_wait_again(looked)
    }

    /// The key of entity tags.
    #[must_use]
    pub fn tags(&self) -> Key {
        self.0.source.derived("entity tags")
    }

    /// From which the keys of the vault's archives are derived: the same wherever the root key is, so that an archive is of use
    /// where the domains' secrets were restored.
    #[must_use]
    pub fn archives(&self) -> Key {
        self.0.source.derived("vault archives")
    }

    /// All domains and their living epochs, sorted.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn list(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        self.0.source.list()
    }

    /// That there is such a domain, and that it lives; makes nothing. Blocks.
    ///
    /// # Errors
    /// [`Fault::Unknown`], [`Fault::Destroyed`], or the source cannot be read.
    pub fn known(&self, id: &DomainId) -> Result<(), Error> {
        let state = self.state(id)?;
        if !state.living.is_empty() {
            return Ok(());
        }
        let fault = if state.destroyed.is_some() { Fault::Destroyed } else { Fault::Unknown };
        Err(fault(id.clone()).at(self.place()))
    }

    /// What there is of every domain; makes nothing.
    ///
    /// # Errors
    /// The source cannot be read at all.
    pub fn survey(&self) -> Result<Survey, Error> {
        self.0.source.survey()
    }

    /// What there is of a domain; makes nothing.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn state(&self, id: &DomainId) -> Result<State, Error> {
        self.0.source.state(id)
    }

    /// Up to which epoch domains were destroyed, sorted.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn destroyed(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        self.0.source.destroyed()
    }

    /// See [`KeySource::remains`].
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn remains(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        self.0.source.remains()
    }

    fn place(&self) -> &Path {
        self.folder().unwrap_or(Path::new("the keys"))
    }

    /// A folder in which a change of the keys can be noticed.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.0.source.folder()
    }
}

fn fresh_key() -> Result<Key, Error> {
    random_key().map_err(|fault| fault.at(Path::new("the system")))
}

/// The working secret of one (domain, epoch): 256 random bits, from which `vault` derives keys. Wiped when dropped.
#[derive(Debug)]
pub struct DomainSecret {
    domain: DomainId,
    epoch: Epoch,
    key: Key,
    /// Of what is kept; zeros where the source cannot tell.
    print: Print,
    life: Life,
}

/// Whether a secret still lives: whatever is made with it asks this before each value, because its end must not wait for a reload.
#[derive(Clone, Debug, Default)]
pub struct Life(Arc<AtomicBool>);

impl Life {
    /// Whether it was destroyed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.0.store(true, Ordering::Release);
    }
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

    /// Whether it still lives.
    #[must_use]
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// Whether it is neither kept nor destroyed.
    fn is_lost(&self, living: &[Epoch], destroyed: Option<Epoch>) -> bool {
        Some(self.epoch) > destroyed && !living.contains(&self.epoch)
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
