//! `tidegate.toml` to every part's checked settings. All complaints at once.

pub mod file;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::http::listener;
use crate::ids::UpstreamId;
use crate::proxy::upstream;
use crate::{http, ledger, telemetry};

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
    /// Exchanges at once in the whole process. Default 10,000.
    pub exchanges: usize,
    /// How long a drain may take. Default 30 s.
    pub drain: Duration,
    /// Folder of the key ring.
    pub keys: PathBuf,
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
    /// The key's path: `listener.tls.key`.
    pub key: String,
    /// What was found, what was wanted.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// Reads file, environment (`TIDEGATE_LEDGER__DURABILITY=batched`), and `--set ledger.durability=batched`, later over earlier.
pub fn load(
    file: &Path,
    environment: impl Iterator<Item = (String, String)>,
    set: &[String],
) -> Result<Settings, Vec<Complaint>> {
    let _ = (file, environment, set);
    todo!()
}
