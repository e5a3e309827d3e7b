//! Segment files: their names, and the few things that the writer asks of a disk.
//!
//! The seam for a disk that fails: tests put a [`Folder`] here that says no at the n-th call. Not here: what is written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::entry::civil;

/// `ledger-20261124-000001.jsonl`: the UTC day on which it was begun, and a number that only grows. The number orders
/// segments, so that a clock that was set back cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Days since 1970.
    pub day: u64,
    /// From 1.
    pub number: u64,
}

impl Name {
    /// Reads a file's name. `None`: not a segment.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let (date, number) = file.strip_prefix("ledger-")?.strip_suffix(".jsonl")?.split_once('-')?;
        let whole = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if date.len() != 8 || number.len() < 6 || !whole(date) || !whole(number) {
            return None;
        }
        let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
        let date = jiff::civil::Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?;
        let days = date.duration_since(jiff::civil::Date::constant(1970, 1, 1)).as_hours() / 24;
        Some(Self { day: u64::try_from(days).ok()?, number: number.parse().ok()? })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = civil(self.day);
        write!(f, "ledger-{year:04}{month:02}{day:02}-{:06}.jsonl", self.number)
    }
}

/// Where segments are.
pub(super) trait Folder: Send {
    /// Makes a new, empty segment, and makes its name durable.
    fn create(&mut self, name: Name) -> io::Result<Box<dyn Segment>>;
    /// Removes a segment in which nothing stands.
    fn remove(&mut self, name: Name) -> io::Result<()>;
}

/// One segment that is being written.
pub(super) trait Segment: Send {
    /// Writes all of `bytes` at the end. After an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable. After an error nothing is known of it.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the segment back to `bytes`, durably.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

/// A folder on a disk.
pub(super) struct Disk {
    path: PathBuf,
    /// Held as long as this lives: one process to a folder.
    lock: File,
}

/// By hand, because a child that is just being spawned holds a copy of every open file, and with it the lock.
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Disk {
    /// Makes the folder (0700) where it is missing, and takes its lock.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let told = |what: &str, error: io::Error| format!("{what} `{}`: {error}", path.display());
        if !path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|e| told("cannot make the folder", e))?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|e| told("cannot make the lock in", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(format!("another process keeps the record in `{}`: one folder each", path.display()));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(told("cannot lock", error)),
        }
        let mode = path.metadata().map_err(|e| told("cannot read", e))?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(folder = %path.display(), mode = format_args!("{:o}", mode & 0o777), "ledger folder is open to others");
        }
        Ok(Self { path: path.to_owned(), lock })
    }

    /// All segments, oldest first.
    pub(super) fn segments(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for file in self.path.read_dir()? {
            let name = file?.file_name();
            // Only exactly what we write: a name that reads as one but is spelled otherwise would be opened as another.
            names.extend(name.to_str().and_then(Name::parse).filter(|parsed| name == *parsed.to_string()));
        }
        names.sort_by_key(|name| name.number);
        Ok(names)
    }

    /// The path of a segment.
    pub(super) fn path(&self, name: Name) -> PathBuf {
        self.path.join(name.to_string())
    }

    /// Opens a segment that is there, to go on with it.
    pub(super) fn reopen(&self, name: Name) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(OpenOptions::new().append(true).open(self.path(name))?))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Folder for Disk {
    fn create(&mut self, name: Name) -> io::Result<Box<dyn Segment>> {
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(self.path(name))?;
        // The name has to be as durable as what will stand under it.
        if let Err(error) = self.sync() {
            let _ = self.remove(name);
            return Err(error);
        }
        Ok(Box::new(file))
    }

    fn remove(&mut self, name: Name) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }
}

impl Segment for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)?;
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_nothing_else_is_a_segment() {
        let name = Name { day: 20_781, number: 17 };
        assert_eq!(name.to_string(), "ledger-20261124-000017.jsonl");
        assert_eq!(Name::parse(&name.to_string()), Some(name));
        for other in [
            "lock",
            "ledger-20261124-000017.jsonl.torn",
            "ledger-20261324-000017.jsonl",
            "ledger-20261124-17.jsonl",
            "ledger-20261124-+00017.jsonl",
            "ledger-2026112é-000017.jsonl",
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
