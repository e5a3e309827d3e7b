//! Looks at a store's folder without opening it: a program may have it open. Start at [`inspect`].

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::slots::{self, HEAD_LEN};
use super::tables::KEYS;
use super::{KeysTrouble, OpenError};

/// Why the store in this folder would not open, as far as can be seen from outside. How its file of keys fits its tables shows only when it is opened.
#[must_use]
pub fn inspect(folder: &Path) -> Vec<OpenError> {
    let keys = folder.join(KEYS);
    let tables = fs::read_dir(folder.join("tables")).is_ok_and(|mut tables| tables.next().is_some());
    let trouble = match head(&keys) {
        Ok(None) if !tables => None,
        Ok(None) => Some(KeysTrouble::Missing),
        Ok(Some(head)) if tables && slots::changes(&head).is_none() => Some(KeysTrouble::Damaged),
        Ok(Some(_)) if !tables && is_used(&keys) => Some(KeysTrouble::Alone),
        Ok(Some(_)) => None,
        Err(source) => return vec![OpenError::Folder { path: keys, source }],
    };
    let trouble = trouble.map(|trouble| OpenError::Keys { path: keys.clone(), trouble });
    trouble.into_iter().chain(check_mode(&keys).err()).collect()
}

/// Keys are for our eyes only. A file that is not there is for nobody's.
pub(super) fn check_mode(keys: &Path) -> Result<(), OpenError> {
    let mode = fs::metadata(keys).map(|found| found.permissions().mode() & 0o7777).unwrap_or_default();
    if mode & 0o077 == 0 { Ok(()) } else { Err(OpenError::Loose { path: keys.to_owned(), mode }) }
}

/// The beginning of the file; `None`: there is no such file.
fn head(keys: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match File::open(keys) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut head = Vec::new();
    file.take(HEAD_LEN as u64).read_to_end(&mut head)?;
    Ok(Some(head))
}

/// Whether there are keys in it.
fn is_used(keys: &Path) -> bool {
    fs::metadata(keys).is_ok_and(|found| found.len() > HEAD_LEN as u64)
}
