//! Files that only their owner may read, written whole and durably, and how key files are spelled.
//!
//! Knows nothing of what the files mean (see [`super::folder`]). Every step that changes the disk goes by `step`, where tests
//! let the machine die. Start at [`write_new`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use crate::secret::Secret;

use super::Error;
use super::fault::Fault;

/// What the names of files begin with that are being written; left behind by a crash, and never read.
pub(super) const UNFINISHED: &str = ".new-";
/// Our longest file has under 4 KiB; what is longer is none of ours.
const FILE_MAX: usize = 4096;

/// The folder is there, and closed to others.
pub(super) fn check_folder(path: &Path) -> Result<(), Error> {
    let found = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::Missing("key folder").at(path),
        _ => system("look at this folder", error).at(path),
    })?;
    if !found.is_dir() {
        return Err(Fault::Kind("a folder").at(path));
    }
    check_mode(path, found.permissions().mode(), 0o700)
}

fn check_mode(path: &Path, mode: u32, wanted: u32) -> Result<(), Error> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Fault::Loose { found: mode & 0o7777, wanted, place: path.to_owned() }.at(path))
}

/// The file if there is one; what is checked is the opened file, so that it cannot be swapped in between.
pub(super) fn open_checked(place: &Path) -> Result<Option<File>, Error> {
    // A pipe would block when it is opened.
    match fs::metadata(place) {
        Ok(found) if !found.is_file() => return Err(Fault::Kind("a plain file").at(place)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let file = match File::open(place) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(system("open this file", error).at(place)),
    };
    let found = file.metadata().map_err(|error| system("look at this file", error).at(place))?;
    if !found.is_file() {
        return Err(Fault::Kind("a plain file").at(place));
    }
    check_mode(place, found.permissions().mode(), 0o600)?;
    Ok(Some(file))
}

/// The text of a file, if there is one; wiped when dropped.
pub(super) fn read(place: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    let Some(file) = open_checked(place)? else { return Ok(None) };
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(FILE_MAX + 1));
    match file.take(FILE_MAX as u64 + 1).read_to_string(&mut text) {
        Ok(length) if length <= FILE_MAX => Ok(Some(text)),
        Ok(_) => Err(Fault::Garbled("key").at(place)),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(Fault::Garbled("key").at(place)),
        Err(error) => Err(system("read this file", error).at(place)),
    }
}

/// Keeps others from writing in the folder until it is dropped, in this process and in others on this file system. A process
/// that dies lets go.
pub(super) fn lock(folder: &Path) -> Result<File, Error> {
    let locked = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
    locked.map_err(|error| system("lock this folder", error).at(folder))
}

/// Waits until nobody writes in the folder: what is read then is durable, or its writer died. A file system that knows no
/// locks keeps nobody from reading.
pub(super) fn settle(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.lock_shared();
    }
}

/// Writes a file that must not exist yet, durably. `false`: there is one, and it is whole.
pub(super) fn write_new(place: &Path, text: &str) -> Result<bool, Error> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Fault::Randomness.at(place))?;
    let unfinished = folder.join(format!("{UNFINISHED}{}", HEXLOWER.encode(&random)));
    let written = (|| {
        step("begin")?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        step("write")?;
        file.write_all(text.as_bytes())?;
        step("sync")?;
        file.sync_all()?;
        step("link")?;
        // Unlike a rename, a link never replaces what is there.
        match fs::hard_link(&unfinished, place) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    })();
    let removed = step("tidy").and_then(|()| fs::remove_file(&unfinished));
    let written = written.map_err(|error| system("write this file", error).at(place))?;
    removed.map_err(|error| system("remove this file", error).at(&unfinished))?;
    // Also for the loser: the winner may not have come so far, and the caller is told that it is durable.
    sync(folder)?;
    Ok(written)
}

/// Removes a file, if it is there; [`sync`] makes that durable.
pub(super) fn remove(place: &Path) -> Result<(), Error> {
    match step("remove").and_then(|()| fs::remove_file(place)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(system("remove this file", error).at(place)),
        _ => Ok(()),
    }
}

/// Removes what a crash left half written: with a link that went through it may be a second name of a secret. Only under
/// [`lock`], or it takes away what another is writing.
pub(super) fn remove_unfinished(folder: &Path) -> Result<(), Error> {
    for (place, name) in names(folder)? {
        if name.starts_with(UNFINISHED) {
            remove(&place)?;
        }
    }
    Ok(())
}

/// The files in a folder: where, and under which name.
pub(super) fn names(folder: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let unreadable = |error| system("read this folder", error).at(folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let place = entry.path();
        let name = entry.file_name().into_string().map_err(|_| Fault::Stranger.at(&place))?;
        names.push((place, name));
    }
    Ok(names)
}

/// Makes a folder's list of names durable.
pub(super) fn sync(folder: &Path) -> Result<(), Error> {
    step("sync folder")
        .and_then(|()| File::open(folder))
        .and_then(|folder| folder.sync_all())
        .map_err(|error| system("sync this folder", error).at(folder))
}

pub(super) fn system(act: &'static str, error: io::Error) -> Fault {
    Fault::System { act, error }
}

/// The fields after the words that say what the file is: in the one line that is no comment.
pub(super) fn fields<'a, const N: usize>(text: &'a str, words: [&str; 3]) -> Option<[&'a str; N]> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let mut found = lines.next()?.split_ascii_whitespace();
    if lines.next().is_some() || !words.iter().all(|word| found.next() == Some(word)) {
        return None;
    }
    let mut out = [""; N];
    for slot in &mut out {
        *slot = found.next()?;
    }
    found.next().is_none().then_some(out)
}

pub(super) fn hex<const N: usize>(text: &str) -> Option<Secret<[u8; N]>> {
    let mut out = Secret::new([0; N]);
    let fits = HEXLOWER_PERMISSIVE.decode_len(text.len()).ok()? == N;
    (fits && HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), out.expose_secret_mut()).is_ok()).then_some(out)
}

/// Before each step that changes the disk.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "in tests it fails")]
fn step(_: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use death::step;

/// The machine dies before a step: nothing after it happens either.
#[cfg(test)]
pub(super) mod death {
    use std::cell::{Cell, RefCell};
    use std::io;

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
        static DONE: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn step(name: &'static str) -> io::Result<()> {
        let left = LEFT.get();
        if left == Some(0) {
            return Err(io::Error::other("the machine died"));
        }
        LEFT.set(left.map(|left| left - 1));
        DONE.with_borrow_mut(|done| done.push(name));
        Ok(())
    }

    /// Runs `act` on this thread with as many steps as given; what it gave, and the steps that were done.
    pub(in crate::keys) fn after<T>(steps: usize, act: impl FnOnce() -> T) -> (T, Vec<&'static str>) {
        DONE.with_borrow_mut(Vec::clear);
        LEFT.set(Some(steps));
        let got = act();
        LEFT.set(None);
        (got, DONE.with_borrow_mut(std::mem::take))
    }
}
