//! The password for a store on a server: in the settings, or in a file that is read for each new connection.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::http::pem;
use crate::secret::Secret;

/// Where it is.
#[derive(Clone, Debug)]
pub enum Password {
    /// Here.
    Here(Secret<String>),
    /// In a file that only we may read; read again for each connection, because it may have been renewed.
    File(PathBuf),
}

impl Password {
    /// What it is now.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, String> {
        match self {
            Self::Here(text) => Ok(Zeroizing::new(text.expose_secret().clone())),
            Self::File(path) => pem::secret_text(path),
        }
    }
}
