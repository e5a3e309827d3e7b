//! Which sources of keys there are, as settings name them.
//!
//! All keep wrapped secrets in a folder; they differ in who wraps. Start at [`Settings`].

use std::path::{Path, PathBuf};

use crate::secret::Secret;

use super::fault::Fault;
use super::folder::{self, Folder, Wrapping};
use super::root::{self, Root};
use super::transit::{self, Transit};
use super::{Error, init as init_folder};

/// Where keys are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the wrapped secrets.
    pub folder: PathBuf,
    /// Who wraps them.
    pub root: Source,
}

/// Who wraps secrets.
#[derive(Clone, Debug)]
pub enum Source {
    /// A root key in the folder.
    Folder,
    /// A root key in a variable of the environment.
    Environment {
        /// Its name.
        variable: String,
        /// What it holds.
        value: Secret<String>,
    },
    /// A key service.
    Transit(Box<transit::Settings>),
}

impl Settings {
    /// A folder with its root key in it.
    #[must_use]
    pub fn folder(path: &Path) -> Self {
        Self { folder: path.to_owned(), root: Source::Folder }
    }

    /// As settings call the source.
    fn name(&self) -> &'static str {
        match &self.root {
            Source::Folder => "`folder`",
            Source::Environment { .. } => "`environment`",
            Source::Transit(_) => "`transit`",
        }
    }

    /// `None`: the root key is in the folder.
    fn wrapping(&self) -> Result<Option<Box<dyn Wrapping>>, Error> {
        Ok(match &self.root {
            Source::Folder => None,
            Source::Environment { variable, value } => {
                // What is wrong with the value is not told in detail: the detail could hold some of it.
                let root = root::parse_value(value.expose_secret());
                let root =
                    root.map_err(|_| Fault::Root(format!("what the variable `{variable}` holds")).at(&self.folder))?;
                Some(Box::new(Root::new(&root)))
            }
            Source::Transit(settings) => {
                let place = PathBuf::from(settings.url.to_string());
                Some(Box::new(Transit::new((**settings).clone()).map_err(|fault| fault.at(&place))?))
            }
        })
    }
}

/// Reads the folder, and checks that its secrets can be unwrapped.
pub(super) fn open(settings: &Settings) -> Result<Folder, Error> {
    match settings.wrapping()? {
        None => Folder::open(&settings.folder),
        Some(wrapping) => Folder::open_over(&settings.folder, wrapping, settings.name()),
    }
}

/// Makes the folder, and a root key in it or, where the root is elsewhere, a first secret by which a wrong one is found.
///
/// # Errors
/// As [`super::init`]; that the root is wrong or a key service cannot be asked.
pub fn init(settings: &Settings) -> Result<(), Error> {
    match settings.wrapping()? {
        None => init_folder(&settings.folder),
        Some(wrapping) => folder::init_over(&settings.folder, &*wrapping),
    }
}

/// All that is wrong with the keys, without making or changing anything: what is missing, damaged, open to others, or does not belong to
/// its root. A key service is not asked: of what it wraps the form alone is looked at.
#[must_use]
pub fn inspect(settings: &Settings) -> Vec<Error> {
    let folder = &settings.folder;
    match (&settings.root, settings.wrapping()) {
        (Source::Folder, _) => folder::inspect_root(folder),
        (Source::Transit(_), Ok(Some(wrapping))) => folder::inspect_over(folder, wrapping.version(), None),
        (_, Ok(Some(wrapping))) => folder::inspect_over(folder, wrapping.version(), Some(&*wrapping)),
        (_, Ok(None)) => Vec::new(),
        (_, Err(error)) => vec![error],
    }
}
