//! One process at a time has an embedded store: a file that the system unlocks when its process is gone, in whatever way.
//!
//! The file says which process it is. Start at [`Lock::take`].

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::OpenError;

/// Held as long as the store is open.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the store in `folder`; waits so long for another process to let go of it.
    pub(super) fn take(folder: &Path, patience: Duration) -> Result<Self, OpenError> {
        let path = folder.join("in-use");
        let failed = |source| OpenError::Folder { path: path.clone(), source };
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(failed)?;
        let (began, mut told) = (Instant::now(), false);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if began.elapsed() >= patience => {
                    return Err(OpenError::InUse { folder: folder.to_owned(), process: holder(&path) });
                }
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        let process = holder(&path);
                        tracing::warn!(target: "tidegate", process, "the vault's store is in use: waiting for that process to end");
                        told = true;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
        // Only a help for who reads it: the lock holds without.
        let _ = file.set_len(0);
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}

/// The number that the holder has written, or a question mark.
fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(20).read_to_string(&mut text));
    let text = text.trim();
    match read {
        Ok(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => text.to_owned(),
        _ => "?".to_owned(),
    }
}
