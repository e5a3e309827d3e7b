//! Keys as files in a folder.
//!
//! The folder (0700) holds `root.key` (0600) and, for each domain and epoch, `DOMAIN@EPOCH.key` (0600): its secret, wrapped
//! (see `Wrapping`). `DOMAIN@EPOCH.destroyed` says that this epoch and all before it are destroyed: their secrets are dead
//! from the moment at which that file is there, also where a crash left one behind or a backup brought one back.
//! `DOMAIN@EPOCH.made` says that this epoch was made, so that a secret that goes missing is noticed and its number is given to no
//! other. Files are
//! text of one line after comments, are written whole under another name, synced, and then linked to their own name, which
//! fails where there is one: a reader never sees half a file, and of two writers one wins. Who writes holds a lock on the
//! folder. Not a key service: whoever reads the folder has the keys.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::ids::DomainId;

use super::change::After;
use super::fault::Fault;
use super::files::{self, fields, read, system, write_new};
use super::root::{self, Root};
use super::{Epoch, Error, Key, KeySource, Print, State, expand, random_key};

/// The root key's file.
pub const ROOT: &str = "root.key";
/// Where the root key is elsewhere: a secret of the program's own, wrapped as a domain's. It is made with the folder, so that a
/// wrong root is found before anything is wrapped by it.
pub const PROGRAM: &str = "program.key";
/// What it is called when it is wrapped: no domain has such a name.
const PROGRAM_NAME: &str = "*program";
const LIVING: &str = ".key";
const DESTROYED: &str = ".destroyed";

const ROOT_COMMENT: &str = "\
# The root key of Tidegate. With it and the files beside it every token can be turned back: keep it secret, and keep a backup
# elsewhere. Without it no token can ever be turned back.
";
/// The words of all that wrap.
const VERSIONS: [&str; 2] = ["v1", "transit-v1"];
const SECRET: [&str; 2] = ["tidegate", "domain-secret"];
const SECRET_COMMENT: &str = "\
# The secret of one domain of tokens, wrapped by the root key. `tidegate keys destroy` ends it; deleting it, and its backups,
# makes every token of this epoch of the domain unreadable for good.
";
const MADE: &str = ".made";
const MARK: [&str; 3] = ["tidegate", "made", "v1"];
const MARK_COMMENT: &str = "\
# This epoch of the domain was made. Where its secret is missing, nothing else is made in its place.
";
const TOMBSTONE: [&str; 3] = ["tidegate", "destroyed", "v1"];
const TOMBSTONE_COMMENT: &str = "\
# This epoch of the domain, and all before it, were destroyed on purpose: their tokens are dead text. Keep this file: without
# it a secret that comes back from a backup would be taken for a living one.
";

/// How secrets are wrapped.
pub(super) trait Wrapping: Send + Sync + fmt::Debug {
    /// The word for it in a secret's file.
    fn version(&self) -> &'static str;
    /// A word without white space. The same name and epoch have to be given to unwrap it.
    fn wrap(&self, name: &str, epoch: Epoch, key: &Key) -> Result<String, Fault>;
    fn unwrap(&self, name: &str, epoch: Epoch, wrapped: &str) -> Result<Key, Fault>;
}

/// A folder of keys whose root has been read.
pub struct Folder {
    path: PathBuf,
    wrapping: Box<dyn Wrapping>,
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
        files::check_folder(path)?;
        if survey(path)?.program {
            return Err(Fault::Elsewhere("`folder`").at(path));
        }
        let place = path.join(ROOT);
        let root = read(&place)?.ok_or_else(|| Fault::Missing("root key").at(&place))?;
        let root = root::parse(&root).map_err(|fault| fault.at(&place))?;
        Ok(Self {
            path: path.to_owned(),
            wrapping: Box::new(Root::new(&root)),
            deriving: expand(&root, b"tidegate/1 derive keys"),
        })
    }

    /// A folder of secrets whose root is elsewhere: checks that it is the one by which they were wrapped.
    pub(super) fn open_over(path: &Path, wrapping: Box<dyn Wrapping>, source: &'static str) -> Result<Self, Error> {
        files::check_folder(path)?;
        if survey(path)?.root {
            return Err(Fault::Elsewhere(source).at(&path.join(ROOT)));
        }
        let place = path.join(PROGRAM);
        let text = read(&place)?.ok_or_else(|| Fault::Missing("program key").at(&place))?;
        let program = parse_secret(&text, wrapping.version(), PROGRAM_NAME, Epoch::FIRST)
            .and_then(|wrapped| wrapping.unwrap(PROGRAM_NAME, Epoch::FIRST, wrapped))
            .map_err(|fault| fault.at(&place))?;
        Ok(Self { path: path.to_owned(), wrapping, deriving: expand(&program, b"tidegate/1 derive keys") })
    }

    fn place(&self, domain: &DomainId, epoch: Epoch, ending: &str) -> PathBuf {
        self.path.join(format!("{domain}@{epoch}{ending}"))
    }

    /// Writes down that this epoch was made, in the place of those before it.
    fn mark(&self, domain: &DomainId, epoch: Epoch) -> Result<(), Error> {
        let [word, kind, version] = MARK;
        let text = format!("{MARK_COMMENT}{word} {kind} {version} {domain} {epoch}\n");
        write_new(&self.place(domain, epoch, MADE), &text)?;
        self.unmark(domain, |made| made < epoch)
    }

    /// Removes such marks; one that stays behind does no harm.
    fn unmark(&self, domain: &DomainId, which: impl Fn(Epoch) -> bool) -> Result<(), Error> {
        for (place, name) in files::names(&self.path)? {
            if epoch_of(domain, &name, MADE, &place)?.is_some_and(&which) {
                files::remove(&place)?;
            }
        }
        Ok(())
    }
}

impl KeySource for Folder {
    fn load(&self, domain: &DomainId, epoch: Epoch) -> Result<Option<Key>, Error> {
        let place = self.place(domain, epoch, LIVING);
        let Some(text) = read(&place)? else { return Ok(None) };
        files::settle(&self.path);
        if state(&self.path, domain)?.destroyed >= Some(epoch) {
            return Ok(None);
        }
        let key = parse_secret(&text, self.wrapping.version(), domain.as_str(), epoch)
            .and_then(|wrapped| self.wrapping.unwrap(domain.as_str(), epoch, wrapped));
        key.map(Some).map_err(|fault| fault.at(&place))
    }

    fn create(&self, domain: &DomainId, after: After, fresh: &Key) -> Result<Key, Error> {
        let epoch = after.epoch().ok_or_else(|| Fault::Exhausted(domain.clone()).at(&self.path))?;
        let place = self.place(domain, epoch, LIVING);
        let wrapped = self.wrapping.wrap(domain.as_str(), epoch, fresh).map_err(|fault| fault.at(&place))?;
        let text = spell_secret(self.wrapping.version(), domain.as_str(), epoch, &wrapped);
        {
            let _lock = files::lock(&self.path)?;
            let found = state(&self.path, domain)?;
            if found.destroyed >= Some(epoch) {
                return Err(Fault::Destroyed(domain.clone()).at(&self.path));
            }
            if let Some(lost) = found.lost() {
                return Err(Fault::Gone(domain.clone(), lost).at(&self.path));
            }
            if !after.fits(&found) {
                return Err(Fault::Changed(domain.clone()).at(&self.path));
            }
            // Whoever won: what counts is what is in the file now, and that we can read it.
            write_new(&place, &text)?;
            self.mark(domain, epoch)?;
        }
        self.load(domain, epoch)?.ok_or_else(|| Fault::Missing("domain secret").at(&place))
    }

    fn list(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        files::check_folder(&self.path)?;
        let Survey { mut secrets, destroyed, .. } = survey(&self.path)?;
        secrets.retain(|(domain, epoch)| destroyed.get(domain).is_none_or(|through| epoch > through));
        Ok(secrets)
    }

    fn survey(&self) -> Result<super::Survey, Error> {
        files::check_folder(&self.path)?;
        glance(&self.path)
    }

    fn print(&self, domain: &DomainId, epoch: Epoch) -> Result<Option<Print>, Error> {
        let place = self.place(domain, epoch, LIVING);
        let Some(text) = read(&place)? else { return Ok(None) };
        let wrapped = parse_secret(&text, self.wrapping.version(), domain.as_str(), epoch);
        wrapped.map(|wrapped| Some(Sha256::digest(wrapped).into())).map_err(|fault| fault.at(&place))
    }

    fn destroyed(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        files::check_folder(&self.path)?;
        Ok(survey(&self.path)?.destroyed.into_iter().collect())
    }

    fn state(&self, domain: &DomainId) -> Result<State, Error> {
        files::check_folder(&self.path)?;
        state(&self.path, domain)
    }

    fn destroy(&self, domain: &DomainId, through: Epoch, whole: bool) -> Result<(), Error> {
        let _lock = files::lock(&self.path)?;
        let found = state(&self.path, domain)?;
        if whole && found.living.last().copied().max(found.lost()) > Some(through) {
            return Err(Fault::Changed(domain.clone()).at(&self.path));
        }
        // The order is what makes a crash harmless: once the tombstone is durable the secrets are dead, whether their files
        // are gone or not, and whoever destroys again finds them.
        let [word, kind, version] = TOMBSTONE;
        let text = format!("{TOMBSTONE_COMMENT}{word} {kind} {version} {domain} {through}\n");
        write_new(&self.place(domain, through, DESTROYED), &text)?;
        for (secret, epoch) in survey(&self.path)?.secrets {
            if secret == *domain && epoch <= through {
                files::remove(&self.place(domain, epoch, LIVING))?;
            }
        }
        if found.made <= Some(through) {
            self.unmark(domain, |_| true)?;
        }
        files::remove_unfinished(&self.path)?;
        files::sync(&self.path)
    }

    fn remains(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        files::check_folder(&self.path)?;
        let Survey { mut secrets, destroyed, .. } = survey(&self.path)?;
        secrets.retain(|(domain, epoch)| destroyed.get(domain).is_some_and(|through| epoch <= through));
        Ok(secrets)
    }

    fn derived(&self, purpose: &str) -> Key {
        expand(&self.deriving, purpose.as_bytes())
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

/// See [`super::init`].
pub(super) fn init(path: &Path) -> Result<(), Error> {
    make(path, ROOT, || {
        let key = random_key().map_err(|fault| fault.at(path))?;
        Ok(Zeroizing::new(format!("{ROOT_COMMENT}{}", *root::spell(&key))))
    })
}

/// [`init`] where the root is elsewhere.
pub(super) fn init_over(path: &Path, wrapping: &dyn Wrapping) -> Result<(), Error> {
    make(path, PROGRAM, || {
        let wrapped = random_key().and_then(|key| wrapping.wrap(PROGRAM_NAME, Epoch::FIRST, &key));
        let wrapped = wrapped.map_err(|fault| fault.at(path))?;
        Ok(spell_secret(wrapping.version(), PROGRAM_NAME, Epoch::FIRST, &wrapped))
    })
}

fn make(path: &Path, name: &str, text: impl FnOnce() -> Result<Zeroizing<String>, Error>) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => files::sync(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(system("make this folder", error).at(path)),
    }
    files::check_folder(path)?;
    let text = text()?;
    let _lock = files::lock(path)?;
    let found = survey(path)?;
    if found.root || found.program {
        return Err(Fault::Exists.at(path));
    }
    if !found.secrets.is_empty() {
        return Err(Fault::Orphaned.at(path));
    }
    let place = path.join(name);
    if write_new(&place, &text)? { Ok(()) } else { Err(Fault::Exists.at(&place)) }
}

/// All that is wrong with a folder, without changing it. `wrapping`: what unwraps its secrets, and the word for it; without it
/// only their form is looked at.
pub(super) fn inspect(path: &Path, version: &str, wrapping: Option<&dyn Wrapping>) -> Vec<Error> {
    let glanced = files::check_folder(path).and_then(|()| Ok((glance(path)?, files::names(path)?)));
    let (glance, names) = match glanced {
        Ok(found) => found,
        Err(error) => return vec![error],
    };
    let mut wrong = glance.wrong;
    for (place, name) in names {
        if name.starts_with(files::UNFINISHED) {
            continue;
        }
        // What does not belong here is told already.
        let stem = name.strip_suffix(LIVING).filter(|_| name != ROOT && name != PROGRAM);
        let stem = stem.and_then(|stem| parse_stem(stem, &place).ok());
        let looked = match stem {
            Some((domain, epoch)) => look_at(&place, version, domain.as_str(), epoch, wrapping),
            None => match name.strip_suffix(DESTROYED).and_then(|stem| parse_stem(stem, &place).ok()) {
                Some((domain, through)) => check_tombstone(&place, &domain, through),
                None => files::open_checked(&place).map(drop),
            },
        };
        wrong.extend(looked.err());
    }
    for (domain, state) in &glance.domains {
        wrong.extend(state.missing().into_iter().map(|epoch| Fault::Gone(domain.clone(), epoch).at(path)));
    }
    wrong
}

fn look_at(
    place: &Path,
    version: &str,
    name: &str,
    epoch: Epoch,
    wrapping: Option<&dyn Wrapping>,
) -> Result<(), Error> {
    let Some(text) = read(place)? else { return Ok(()) };
    let unwrapped = parse_secret(&text, version, name, epoch).and_then(|wrapped| match wrapping {
        Some(wrapping) => wrapping.unwrap(name, epoch, wrapped).map(drop),
        None => Ok(()),
    });
    unwrapped.map_err(|fault| fault.at(place))
}

/// As [`inspect`], of a folder with its root in it.
pub(super) fn inspect_root(path: &Path) -> Vec<Error> {
    let place = path.join(ROOT);
    let root = files::check_folder(path).and_then(|()| {
        let root = read(&place)?.ok_or_else(|| Fault::Missing("root key").at(&place))?;
        root::parse(&root).map_err(|fault| fault.at(&place))
    });
    match root {
        Ok(root) => {
            let root = Root::new(&root);
            inspect(path, root.version(), Some(&root))
        }
        Err(error) => {
            // The same fault may be found again: a folder that is not there, a file that is loose.
            let mut wrong = inspect(path, VERSIONS[0], None);
            if !wrong.iter().any(|known| known.place == error.place) {
                wrong.insert(0, error);
            }
            wrong
        }
    }
}

/// As [`inspect`], of a folder whose root is elsewhere; without `wrapping` nobody is asked to unwrap anything.
pub(super) fn inspect_over(path: &Path, version: &str, wrapping: Option<&dyn Wrapping>) -> Vec<Error> {
    let place = path.join(PROGRAM);
    let mut wrong = inspect(path, version, wrapping);
    if files::check_folder(path).is_ok() {
        let program = match read(&place) {
            Ok(Some(_)) => look_at(&place, version, PROGRAM_NAME, Epoch::FIRST, wrapping),
            Ok(None) => Err(Fault::Missing("program key").at(&place)),
            // Told already.
            Err(_) => Ok(()),
        };
        wrong.extend(program.err());
    }
    wrong
}

/// What a folder holds.
struct Survey {
    root: bool,
    program: bool,
    /// Sorted; also those that are dead.
    secrets: Vec<(DomainId, Epoch)>,
    /// Up to which epoch each domain was destroyed.
    destroyed: BTreeMap<DomainId, Epoch>,
}

/// Reads the names in the folder; every file must be one of ours and closed to others.
fn survey(path: &Path) -> Result<Survey, Error> {
    let (mut root, mut program, mut secrets, mut destroyed) = (false, false, Vec::new(), BTreeMap::new());
    for (place, name) in files::names(path)? {
        if name.starts_with(files::UNFINISHED) {
            continue;
        }
        if name == ROOT {
            root = true;
        } else if name == PROGRAM {
            program = true;
        } else if let Some(stem) = name.strip_suffix(LIVING) {
            secrets.push(parse_stem(stem, &place)?);
        } else if let Some(stem) = name.strip_suffix(MADE) {
            parse_stem(stem, &place)?;
        } else if let Some(stem) = name.strip_suffix(DESTROYED) {
            let (domain, through) = parse_stem(stem, &place)?;
            check_tombstone(&place, &domain, through)?;
            let known = destroyed.entry(domain).or_insert(through);
            *known = through.max(*known);
        } else {
            return Err(Fault::Stranger.at(&place));
        }
        files::open_checked(&place)?;
    }
    secrets.sort();
    Ok(Survey { root, program, secrets, destroyed })
}

/// Its name says all; that it is one of ours at all, and whole, its text has to say.
fn check_tombstone(place: &Path, domain: &DomainId, through: Epoch) -> Result<(), Error> {
    let (text, number) = (read(place)?.unwrap_or_default(), through.to_string());
    if fields(&text, TOMBSTONE) == Some([domain.as_str(), number.as_str()]) {
        return Ok(());
    }
    Err(Fault::Garbled("record of a destroyed domain").at(place))
}

/// What there is of all domains: from names alone, each for itself.
fn glance(path: &Path) -> Result<super::Survey, Error> {
    let mut glance = super::Survey::default();
    for (place, name) in files::names(path)? {
        if name == ROOT || name == PROGRAM || name.starts_with(files::UNFINISHED) {
            continue;
        }
        let ending = [LIVING, DESTROYED, MADE].into_iter().find_map(|end| Some((name.strip_suffix(end)?, end)));
        let Some((stem, ending)) = ending else {
            glance.wrong.push(Fault::Stranger.at(&place));
            continue;
        };
        match parse_stem(stem, &place) {
            Ok((domain, epoch)) => note(glance.domains.entry(domain).or_default(), ending, epoch),
            Err(error) => glance.wrong.push(error),
        }
    }
    glance.domains.values_mut().for_each(sort_out);
    Ok(glance)
}

/// A file of a domain with this ending.
fn note(state: &mut State, ending: &str, epoch: Epoch) {
    match ending {
        LIVING => state.living.push(epoch),
        DESTROYED => state.destroyed = state.destroyed.max(Some(epoch)),
        _ => state.made = state.made.max(Some(epoch)),
    }
}

fn sort_out(state: &mut State) {
    state.living.retain(|epoch| Some(*epoch) > state.destroyed);
    state.living.sort();
}

/// What there is of one domain: from names alone, because it is asked for each domain when policies are loaded.
fn state(path: &Path, domain: &DomainId) -> Result<State, Error> {
    let mut state = State::default();
    for (place, name) in files::names(path)? {
        for ending in [LIVING, DESTROYED, MADE] {
            if let Some(epoch) = epoch_of(domain, &name, ending, &place)? {
                note(&mut state, ending, epoch);
            }
        }
    }
    sort_out(&mut state);
    Ok(state)
}

/// The epoch in the name of a file of this domain.
fn epoch_of(domain: &DomainId, name: &str, ending: &str, place: &Path) -> Result<Option<Epoch>, Error> {
    let Some(stem) = name.strip_suffix(ending) else { return Ok(None) };
    match stem.split_once('@') {
        Some((of, _)) if of == domain.as_str() => parse_stem(stem, place).map(|(_, epoch)| Some(epoch)),
        _ => Ok(None),
    }
}

/// `DOMAIN@EPOCH`
fn parse_stem(stem: &str, place: &Path) -> Result<(DomainId, Epoch), Error> {
    let (domain, epoch) = stem
        .split_once('@')
        .and_then(|(domain, epoch)| Some((DomainId::parse(domain)?, epoch)))
        .ok_or_else(|| Fault::Stranger.at(place))?;
    match epoch.parse() {
        // In its one spelling, or two files would claim to be one epoch.
        Ok(number) if number >= Epoch::FIRST.0 && Epoch(number).to_string() == epoch => Ok((domain, Epoch(number))),
        _ => Err(Fault::Epoch(epoch.to_owned()).at(place)),
    }
}

fn spell_secret(version: &str, name: &str, epoch: Epoch, wrapped: &str) -> Zeroizing<String> {
    let [word, kind] = SECRET;
    Zeroizing::new(format!("{SECRET_COMMENT}{word} {kind} {version} {name} {epoch} {wrapped}\n"))
}

/// The wrapped secret in a file's text, if it is the one of this name and epoch.
fn parse_secret<'a>(text: &'a str, version: &str, name: &str, epoch: Epoch) -> Result<&'a str, Fault> {
    let [word, kind] = SECRET;
    let other = |other: &&str| *other != version && fields::<3>(text, [word, kind, other]).is_some();
    let [found, number, wrapped] = match fields(text, [word, kind, version]) {
        Some(fields) => fields,
        None if VERSIONS.iter().any(other) => return Err(Fault::Elsewhere("the one in use")),
        None => return Err(Fault::Garbled("domain secret")),
    };
    if found != name || number != epoch.to_string() {
        return Err(Fault::Foreign);
    }
    Ok(wrapped)
}
