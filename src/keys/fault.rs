//! What can be wrong with keys, in the words for who has to mend it.

use std::path::{Path, PathBuf};

use crate::ids::DomainId;

use super::{Epoch, Error};

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
    /// A file whose name has no epoch.
    #[error("`{0}` is no epoch: this file does not belong in a key folder, move it elsewhere")]
    Epoch(String),
    /// A domain that was destroyed.
    #[error(
        "domain `{0}` was destroyed, and its tokens are dead text: to begin anew with another secret, `tidegate keys rotate {0} --begin-anew`"
    )]
    Destroyed(DomainId),
    /// A secret in memory that is kept no more, and was not destroyed.
    #[error(
        "the file of domain `{0}`, epoch {1}, is gone, and nothing says that it was destroyed: this program goes on with the secret in memory, and cannot after a restart. Restore `{0}@{1}.key` from the backup"
    )]
    Lost(DomainId, Epoch),
    /// A secret that was made, was not destroyed, and is not there.
    #[error(
        "the file of domain `{0}`, epoch {1}, is missing, and nothing says that it was destroyed: its tokens cannot be turned back. Restore `{0}@{1}.key` from the backup; \
         if there is none, `tidegate keys destroy {0}` and `tidegate keys rotate {0} --begin-anew`"
    )]
    Gone(DomainId, Epoch),
    /// A domain that is not as it was a moment ago.
    #[error(
        "domain `{0}` was rotated or destroyed by another at the same time: nothing was changed, look at `tidegate keys list` and begin again"
    )]
    Changed(DomainId),
    /// A domain that lives, where one was wanted that does not.
    #[error("domain `{0}` was not destroyed: leave `--begin-anew` out to rotate it")]
    Alive(DomainId),
    /// A domain that has no keys.
    #[error("there is no domain `{0}`: `tidegate keys list` names those that there are")]
    Unknown(DomainId),
    /// A domain that cannot be rotated any more.
    #[error("domain `{0}` has used up its epochs")]
    Exhausted(DomainId),
    /// An epoch that cannot be destroyed alone.
    #[error(
        "domain `{domain}` has the living epochs {living}: those before the newest can be ended, or the whole domain"
    )]
    NotOld {
        /// Whose.
        domain: DomainId,
        /// Which it has, in words.
        living: String,
    },
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
    /// A folder or file whose secrets are wrapped by another source than the settings name.
    #[error("this was made for another source of keys than {0}: correct `keys.source` in the settings")]
    Elsewhere(&'static str),
    /// The root key from the environment.
    #[error("{0} is no root key: expected 64 hex digits, or the line of a `root.key`")]
    Root(String),
    /// The key service.
    #[error("the key service {0}")]
    Service(Service),
    /// `init` where there is a root key.
    #[error("there is a root key already: nothing was changed")]
    Exists,
    /// `init` where secrets have outlived their root key.
    #[error(
        "there are domain secrets without their root key: restore `{}` from the backup, or begin in an empty folder",
        super::folder::ROOT
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
    pub(super) fn at(self, place: &Path) -> Error {
        Error { place: place.to_owned(), fault: self }
    }
}

/// What a key service did. Nothing of what it said is repeated.
#[derive(Debug, thiserror::Error)]
pub enum Service {
    /// It was not called at all.
    #[error("cannot be called: {0}")]
    Settings(String),
    /// No connection.
    #[error("cannot be reached")]
    Unreachable,
    /// No answer in time.
    #[error("did not answer in time")]
    Slow,
    /// An answer that is none.
    #[error("gave an answer that cannot be understood: is `keys.transit.url` right?")]
    Broken,
    /// 503.
    #[error("is sealed or not ready (503): unseal it")]
    Sealed,
    /// 403.
    #[error("denied access (403): its token has run out, or lacks `update` on `encrypt` and `decrypt` of the key")]
    Denied,
    /// 404.
    #[error("has no such mount or key (404): see `keys.transit.mount` and `keys.transit.key`")]
    Missing,
    /// The role or its secret.
    #[error("did not take the role: `role_id` or `secret_id` is wrong, or has run out")]
    Login,
    /// 400 on `encrypt`.
    #[error("did not wrap a secret (400): is there a key of this name, and may it encrypt?")]
    NotWrapped,
    /// 400 on `decrypt`.
    #[error(
        "did not unwrap this secret (400): it was wrapped by another key, by a version that is below the least allowed, or was changed"
    )]
    NotUnwrapped,
    /// Any other status.
    #[error("answered with status {0}")]
    Status(u16),
}

impl Service {
    pub(super) fn of(status: u16) -> Self {
        match status {
            403 => Self::Denied,
            404 => Self::Missing,
            503 => Self::Sealed,
            status => Self::Status(status),
        }
    }
}
