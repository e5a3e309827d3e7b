//! Keys as files in a folder.
//!
//! The folder (0700) holds `root.key` (0600) and, for each domain and epoch, `DOMAIN@EPOCH.key` (0600): its secret, wrapped by
//! the root key (AES-256-SIV, RFC 5297), with domain and epoch as bound context. Files are text of one line after comments,
//! are written whole under another name, synced, and then linked to their own name, which fails where there is one: a reader
//! never sees half a file, and of two writers one wins. Not a key service: whoever reads the folder has the keys.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::ids::DomainId;
use crate::secret::Secret;

use super::{Epoch, Error, Fault, KEY_LEN, Key, KeySource, expand, random_key};

/// The root key's file.
pub const ROOT: &str = "root.key";
/// Files that are being written; left behind by a crash, and never read.
const UNFINISHED: &str = ".new-";
/// Our longest file has under 1 KiB; what is longer is none of ours.
const FILE_MAX: usize = 4096;
/// The synthetic IV before the secret.
const WRAPPED_LEN: usize = 16 + KEY_LEN;

const ROOT_WORDS: [&str; 3] = ["tidegate", "root-key", "v1"];
const ROOT_COMMENT: &str = "\
# The root key of Tidegate. With it and the files beside it every token can be turned back: keep it secret, and keep a backup
# elsewhere. Without it no token can ever be turned back.
";
const SECRET_WORDS: [&str; 3] = ["tidegate", "domain-secret", "v1"];
const SECRET_COMMENT: &str = "\
# The secret of one domain of tokens, wrapped by the root key. Deleting it, and its backups, makes every token of the domain
# unreadable for good.
";

/// A folder of keys whose root has been read.
pub struct Folder {
    path: PathBuf,
    wrapping: Secret<[u8; 64]>,
    /// From which [`KeySource::derived`] makes its keys.
    deriving: Key,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Folder {
    /// Reads the root key and checks every file's name and permissions.
    ///
    /// # Errors
    /// See [`super::KeyRing::open`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        check_folder(path)?;
        survey(path)?;
        let place = path.join(ROOT);
        let root = read(&place)?.ok_or_else(|| Fault::Missing("root key").at(&place))?;
        let root = parse_root(&root).map_err(|fault| fault.at(&place))?;
        Ok(Self {
            path: path.to_owned(),
            wrapping: expand(&root, b"tidegate/1 wrap domain secrets"),
            deriving: expand(&root, b"tidegate/1 derive keys"),
        })
    }

    fn place(&self, domain: &DomainId, epoch: Epoch) -> PathBuf {
        self.path.join(format!("{domain}@{epoch}.key"))
    }

    fn cipher(&self) -> Aes256Siv {
        Aes256Siv::new(self.wrapping.expose_secret().into())
    }

    fn wrap(&self, domain: &DomainId, epoch: Epoch, key: &Key) -> Result<Zeroizing<String>, Fault> {
        let context = [b"tidegate/1 domain secret".as_slice(), domain.as_str().as_bytes(), &epoch.0.to_be_bytes()];
        let mut secret = Zeroizing::new(*key.expose_secret());
        let tag = self
            .cipher()
            .encrypt_inout_detached(context, secret.as_mut_slice().into())
            .map_err(|_| Fault::Garbled("domain secret"))?;
        let [word, kind, version] = SECRET_WORDS;
        Ok(Zeroizing::new(format!(
            "{SECRET_COMMENT}{word} {kind} {version} {domain} {epoch} {}{}\n",
            HEXLOWER.encode(&tag),
            HEXLOWER.encode(secret.as_slice())
        )))
    }

    fn unwrap(&self, domain: &DomainId, epoch: Epoch, text: &str) -> Result<Key, Fault> {
        let garbled = || Fault::Garbled("domain secret");
        let [name, number, wrapped] = fields(text, SECRET_WORDS).ok_or_else(garbled)?;
        let wrapped = hex::<WRAPPED_LEN>(wrapped).ok_or_else(garbled)?;
        if name != domain.as_str() || number != epoch.to_string() {
            return Err(Fault::Foreign);
        }
        let (tag, secret) = wrapped.expose_secret().split_first_chunk::<16>().ok_or_else(garbled)?;
        let mut key = Key::new(secret.try_into().map_err(|_| garbled())?);
        let context = [b"tidegate/1 domain secret".as_slice(), domain.as_str().as_bytes(), &epoch.0.to_be_bytes()];
        self.cipher()
            .decrypt_inout_detached(context, key.expose_secret_mut().as_mut_slice().into(), tag.into())
            .map_err(|_| Fault::Foreign)?;
        Ok(key)
    }
}

impl KeySource for Folder {
    fn load(&self, domain: &DomainId, epoch: Epoch) -> Result<Option<Key>, Error> {
        let place = self.place(domain, epoch);
        let Some(text) = read(&place)? else { return Ok(None) };
        self.unwrap(domain, epoch, &text).map(Some).map_err(|fault| fault.at(&place))
    }

    fn create(&self, domain: &DomainId, epoch: Epoch, fresh: &Key) -> Result<Key, Error> {
        let place = self.place(domain, epoch);
        let text = self.wrap(domain, epoch, fresh).map_err(|fault| fault.at(&place))?;
        // Whoever won: what counts is what is in the file now, and that we can read it.
        write_new(&place, &text)?;
        self.load(domain, epoch)?.ok_or_else(|| Fault::Missing("domain secret").at(&place))
    }

    fn list(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        check_folder(&self.path)?;
        Ok(survey(&self.path)?.secrets)
    }

    fn derived(&self, purpose: &str) -> Key {
        expand(&self.deriving, purpose.as_bytes())
    }
}

/// See [`super::init`].
pub(super) fn init(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(system("make this folder", error).at(path)),
    }
    check_folder(path)?;
    let found = survey(path)?;
    if found.root {
        return Err(Fault::Exists.at(&path.join(ROOT)));
    }
    if !found.secrets.is_empty() {
        return Err(Fault::Orphaned.at(path));
    }
    let key = random_key().map_err(|fault| fault.at(path))?;
    let place = path.join(ROOT);
    let [word, kind, version] = ROOT_WORDS;
    let secret = Zeroizing::new(HEXLOWER.encode(key.expose_secret()));
    let text = Zeroizing::new(format!("{ROOT_COMMENT}{word} {kind} {version} {} {}\n", *secret, checksum(&key)));
    if write_new(&place, &text)? { Ok(()) } else { Err(Fault::Exists.at(&place)) }
}

/// What a folder holds.
struct Survey {
    root: bool,
    secrets: Vec<(DomainId, Epoch)>,
}

/// Reads the names in the folder; every file must be one of ours and closed to others.
fn survey(path: &Path) -> Result<Survey, Error> {
    let unreadable = |error| system("read this folder", error).at(path);
    let (mut root, mut secrets) = (false, Vec::new());
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (place, name) = (entry.path(), entry.file_name());
        let name = name.to_str().ok_or_else(|| Fault::Stranger.at(&place))?;
        if name.starts_with(UNFINISHED) {
            continue;
        }
        if name == ROOT {
            root = true;
        } else {
            let (domain, epoch) = name
                .strip_suffix(".key")
                .and_then(|stem| stem.split_once('@'))
                .and_then(|(domain, epoch)| Some((DomainId::parse(domain)?, epoch)))
                .ok_or_else(|| Fault::Stranger.at(&place))?;
            if epoch != Epoch::FIRST.to_string() {
                return Err(Fault::Epoch(epoch.to_owned()).at(&place));
            }
            secrets.push((domain, Epoch::FIRST));
        }
        open_checked(&place)?;
    }
    secrets.sort();
    Ok(Survey { root, secrets })
}

fn check_folder(path: &Path) -> Result<(), Error> {
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
fn open_checked(place: &Path) -> Result<Option<File>, Error> {
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
fn read(place: &Path) -> Result<Option<Zeroizing<String>>, Error> {
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

/// Writes a file that must not exist yet, durably. `false`: there is one, and it is whole.
fn write_new(place: &Path, text: &str) -> Result<bool, Error> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Fault::Randomness.at(place))?;
    let unfinished = folder.join(format!("{UNFINISHED}{}", HEXLOWER.encode(&random)));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces what is there.
        match fs::hard_link(&unfinished, place) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    })();
    let removed = fs::remove_file(&unfinished);
    let written = written.map_err(|error| system("write this file", error).at(place))?;
    removed.map_err(|error| system("remove this file", error).at(&unfinished))?;
    // Also for the loser: the winner may not have come so far, and the caller is told that it is durable.
    sync(folder)?;
    Ok(written)
}

/// Makes a folder's list of names durable.
fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| system("sync this folder", error).at(folder))
}

fn system(act: &'static str, error: std::io::Error) -> Fault {
    Fault::System { act, error }
}

fn parse_root(text: &str) -> Result<Key, Fault> {
    let garbled = || Fault::Garbled("root key");
    let [key, check] = fields(text, ROOT_WORDS).ok_or_else(garbled)?;
    let key = hex::<KEY_LEN>(key).ok_or_else(garbled)?;
    if check.eq_ignore_ascii_case(&checksum(&key)) { Ok(key) } else { Err(Fault::Checksum("root key")) }
}

/// The fields after the words that say what the file is: in the one line that is no comment.
fn fields<'a, const N: usize>(text: &'a str, words: [&str; 3]) -> Option<[&'a str; N]> {
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

fn hex<const N: usize>(text: &str) -> Option<Secret<[u8; N]>> {
    let mut out = Secret::new([0; N]);
    let fits = HEXLOWER_PERMISSIVE.decode_len(text.len()).ok()? == N;
    (fits && HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), out.expose_secret_mut()).is_ok()).then_some(out)
}

/// The first 32 bits of a hash of the key: finds a slip of the pen, and is of no use to who does not have the key.
fn checksum(key: &Key) -> String {
    let hash = Sha256::new().chain_update(b"tidegate/1 root key").chain_update(key.expose_secret()).finalize();
    HEXLOWER.encode(hash.get(..4).unwrap_or_default())
}
