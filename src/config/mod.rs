//! `tidegate.toml` to every part's checked settings. All complaints at once.
//!
//! Not here: what the settings do. The file is read into a tree of values that know their places (`file`), environment and
//! command line are laid over it (`layers`), and the tree becomes [`Settings`] (`check`). Start at [`load`];
//! `docs/settings.md` tells every key and why its default is what it is.

mod check;
pub mod file;
mod layers;
mod redis;
mod reveal;
pub mod value;
mod vault;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::http::listener;
use crate::ids::UpstreamId;
use crate::proxy::limits::Capacity;
use crate::proxy::upstream;
use crate::{http, keys, ledger, telemetry};

/// Everything, checked; paths are relative to the settings file's folder and made absolute.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the settings came from.
    pub file: PathBuf,
    /// At least one.
    pub listeners: Vec<ListenerSettings>,
    /// By name.
    pub upstreams: BTreeMap<UpstreamId, upstream::Settings>,
    /// For bodies.
    pub body: http::body::Limits,
    /// Exchanges at once.
    pub capacity: Capacity,
    /// Threads that serve connections. `None`: one for each processor.
    pub threads: Option<NonZero<usize>>,
    /// How long a drain may take. Default 30 s.
    pub drain: Duration,
    /// The key ring.
    pub keys: keys::source::Settings,
    /// What keeps stored tokens; `None`: nothing does.
    pub vault: Option<crate::vault::store::open::Settings>,
    /// Operators who may have tokens turned back outside of traffic; `None`: nobody may.
    pub reveal: Option<crate::admin::desk::Settings>,
    /// Settings whose vault is to have all that this one keeps.
    pub vault_to: Option<PathBuf>,
    /// The record.
    pub ledger: ledger::Settings,
    /// Folder of the policies.
    pub policies: PathBuf,
    /// Logs and metrics.
    pub telemetry: telemetry::Settings,
    /// Where `/metrics`, `/livez`, `/readyz` are. `None`: nowhere. Loopback only unless the setting says `danger`.
    pub admin: Option<SocketAddr>,
}

/// A listener and whom it faces.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// How it listens.
    pub listener: listener::Settings,
    /// Who calls.
    pub facing: Facing,
}

/// Who calls on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facing {
    /// Partners (inbound routes).
    Partner,
    /// Our own systems (outbound routes). Loopback only, unless it has a client CA.
    Inside,
}

/// One complaint about the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// `tidegate.toml:12:3`, `TIDEGATE_LEDGER__FOLDER`, `--set ledger.folder`
    pub place: String,
    /// The key's path: `listener.partners.tls.key`. Empty where the file as a whole is meant.
    pub key: String,
    /// What was found, what was wanted.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Complaint {
    fn new(place: String, key: &str, message: String) -> Self {
        Self { place, key: key.to_owned(), message, help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// In the form of all our diagnostics: the message, the place below it, and how to mend it.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "error: {}\n  --> {}", self.message, self.place)?,
            key => write!(f, "error: {key}: {}\n  --> {}", self.message, self.place)?,
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// All complaints for a terminal, an empty line between them, and their number at the end.
pub fn render(complaints: &[Complaint]) -> String {
    let mut out = String::new();
    for complaint in complaints {
        out.push_str(&format!("{complaint}\n\n"));
    }
    let noun = if complaints.len() == 1 { "complaint" } else { "complaints" };
    out.push_str(&format!("{} {noun} about the settings\n", complaints.len()));
    out
}

/// Reads file, environment (`TIDEGATE_LEDGER__DURABILITY=batched`), and `--set ledger.durability=batched`, later over earlier.
///
/// The environment is also where `headers = { … = { env = "NAME" } }` are read from. Files that the settings name are opened and
/// read (certificates, keys, header values); folders are not made and need not be there. `Err`: every complaint, in the order
/// of the file's lines as far as there are any.
pub fn load(
    file: &Path,
    environment: impl Iterator<Item = (String, String)>,
    set: &[String],
) -> Result<Settings, Vec<Complaint>> {
    let name = file.display().to_string();
    let whole = |message: String| vec![Complaint::new(name.clone(), "", message)];
    let text = std::fs::read_to_string(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            vec![
                Complaint::new(name.clone(), "", "no such file".into())
                    .help("`tidegate init` writes one; `--config` names another"),
            ]
        }
        std::io::ErrorKind::InvalidData => whole("not UTF-8".into()),
        _ => whole(format!("cannot read: {}", error.to_string().to_lowercase())),
    })?;
    let absolute = std::path::absolute(file).map_err(|error| whole(error.to_string()))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let environment: BTreeMap<String, String> = environment.collect();

    let mut complaints = Vec::new();
    let mut table = file::parse(&name, &text, &mut complaints);
    if !complaints.is_empty() {
        // What could not be read would be complained of as missing.
        return Err(complaints);
    }
    layers::environment(&mut table, environment.iter(), &mut complaints);
    layers::set(&mut table, set, &mut complaints);
    let mut reader = check::Reader { file, folder, environment: &environment, complaints };
    let settings = check::settings(&mut reader, &table);
    let mut complaints = reader.complaints;
    if complaints.is_empty() {
        return Ok(Settings { file: absolute.clone(), ..settings });
    }
    complaints.sort_by_key(|complaint| line_and_column(&complaint.place));
    Err(complaints)
}

/// The store that other settings have, for who moves to it. Variables for `vault` are for the store that is moved.
///
/// # Errors
/// What is wrong with the file.
pub fn other_vault(file: &Path) -> Result<crate::vault::store::open::Settings, String> {
    let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let environment = environment.filter(|(key, _)| !key.starts_with("TIDEGATE_VAULT__"));
    let settings = load(file, environment, &[]).map_err(|complaints| render(&complaints))?;
    settings.vault.ok_or_else(|| format!("there is no `[vault]` in `{}`", file.display()))
}

/// The two numbers at the end of a place in the file; places elsewhere come last.
fn line_and_column(place: &str) -> (usize, usize) {
    let mut parts = place.rsplit(':').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(column)), Some(Ok(line))) => (line, column),
        _ => (usize::MAX, 0),
    }
}

#[cfg(test)]
mod tests;
