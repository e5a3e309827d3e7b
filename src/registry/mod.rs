//! Policy files to a live snapshot: reads, compiles, binds, watches.
//!
//! A set is replaced whole or not at all: what does not compile leaves the old one in place, loudly. Start at
//! [`Registry::open`]; what it makes is a [`set::PolicySet`].

pub mod jwt;
pub mod set;
mod verified;
pub mod watch;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Time};
use crate::crossing::bind::{BindError, BoundLeg, ReadFile};
use crate::crossing::head::PathTemplate;
use crate::http::trust::Trust;
use crate::ids::{DomainId, Leg, UpstreamId};
use crate::keys::{self, fault::Fault};
use crate::policy::compile::CompiledPolicy;
use crate::policy::diagnostic::{Diagnostic, Severity};
use crate::policy::{compile, lint, rule};
use crate::vault::Vault;
use jwt::Verifier;
use set::{Index, Partner, PolicySet, Route};

/// Longest policy or key file, in bytes. A policy is some KiB; whoever has more has pointed us at the wrong file.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Where policies come from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the policies: every `*.toml` in it, not below it.
    pub folder: PathBuf,
    /// What `ca`, `jwks` and `to` in a policy are relative to.
    pub base: PathBuf,
    /// The upstreams that routes may name.
    pub upstreams: BTreeSet<UpstreamId>,
}

/// One thing that is wrong, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// `policies/parcelo.toml:12:3`, or a file or folder.
    pub place: String,
    /// `P021`, where it is a diagnostic.
    pub code: Option<&'static str>,
    /// What was found and what was wanted.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(code) = self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Why a set was not taken: all complaints at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policies: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Error(pub Vec<Complaint>);

/// What a reload did.
#[derive(Clone, Debug)]
pub enum Reload {
    /// Nothing: the files are as they were.
    Unchanged,
    /// Another set is in force.
    Changed(Arc<PolicySet>),
}

/// Keeps the set that is in force.
#[derive(Debug)]
pub struct Registry {
    settings: Settings,
    vault: Vault,
    clock: Clock,
    current: ArcSwap<PolicySet>,
    fault: ArcSwapOption<Error>,
    /// What the last attempt read, whether it came to anything or not; the lock also keeps reloads from overlapping.
    attempted: Mutex<Attempt>,
}

impl Registry {
    /// Reads the folder for the first time; here a set has to compile. Blocks on files.
    ///
    /// # Errors
    /// All complaints.
    pub fn open(settings: Settings, vault: Vault, clock: Clock) -> Result<Self, Error> {
        let files = Files::gather(&settings)?;
        let set = load(&settings, &files, &vault, clock.now())?;
        Ok(Self {
            attempted: Mutex::new(files.attempt(&vault)),
            settings,
            vault,
            clock,
            current: ArcSwap::from_pointee(set),
            fault: ArcSwapOption::empty(),
        })
    }

    /// The set that is in force.
    #[must_use]
    pub fn current(&self) -> Arc<PolicySet> {
        self.current.load_full()
    }

    /// What its policies are bound to.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Why the last reload was not taken; `None` while everything that was read is in force.
    #[must_use]
    pub fn fault(&self) -> Option<Arc<Error>> {
        self.fault.load_full()
    }

    /// Reads the folder and the keys again. On an error the old set stays in force. Blocks on files.
    ///
    /// # Errors
    /// All complaints.
    pub fn reload(&self) -> Result<Reload, Arc<Error>> {
        let mut attempted = self.attempted.lock().unwrap_or_else(PoisonError::into_inner);
        // What is wrong with the keys of one domain keeps no policy from changing; what is destroyed has ended with this.
        let wrong = refresh(&self.vault);
        let mended = wrong.0.is_empty() && self.fault.load().is_some();
        let result = Files::gather(&self.settings).and_then(|files| {
            let digest = files.digest(&attempted.named);
            let unchanged = attempted.digest == digest && attempted.keys == self.vault.keys().stamp();
            // While something is wrong it is tried again: not everything that can be wrong is in the files.
            if unchanged && !attempted.failed && !mended {
                return Ok(None);
            }
            let set = load(&self.settings, &files, &self.vault, self.clock.now());
            *attempted = files.attempt(&self.vault);
            set.map(Some)
        });
        attempted.failed = result.is_err();
        match result {
            Ok(None) if wrong.0.is_empty() => Ok(Reload::Unchanged),
            Ok(None) => Err(self.blame(wrong)),
            Ok(Some(set)) => {
                let set = Arc::new(set);
                self.current.store(Arc::clone(&set));
                self.fault.store(None);
                if !wrong.0.is_empty() {
                    // Told as an error by the next look, which has nothing else to tell.
                    tracing::error!(target: "tidegate", cause = %wrong, "keys");
                }
                Ok(Reload::Changed(set))
            }
            Err(mut error) => {
                error.0.extend(wrong.0);
                Err(self.blame(error))
            }
        }
    }

    /// The same error keeps its identity, so that it is told once.
    fn blame(&self, error: Error) -> Arc<Error> {
        if let Some(known) = self.fault().filter(|known| **known == error) {
            return known;
        }
        let error = Arc::new(error);
        self.fault.store(Some(Arc::clone(&error)));
        error
    }
}

/// What a load read.
#[derive(Debug)]
struct Attempt {
    /// Over the policies and the files in `named`.
    digest: String,
    /// The files that the policies name, by full path.
    named: BTreeSet<PathBuf>,
    /// Which epochs of keys it was bound to.
    keys: String,
    /// No set came of it.
    failed: bool,
}

/// What is wrong with the keys.
fn refresh(vault: &Vault) -> Error {
    let complaint = |error: keys::Error| {
        let place = error.place.display().to_string();
        Complaint { place, code: None, message: error.fault.to_string(), help: None }
    };
    Error(vault.keys().refresh().err().unwrap_or_default().into_iter().map(complaint).collect())
}

/// A file's bytes, or why they cannot be read.
type Bytes = Result<Arc<[u8]>, String>;

/// What was read: the policies, and on demand the files that they name.
struct Files {
    base: PathBuf,
    policies: BTreeMap<String, Arc<[u8]>>,
    named: RefCell<HashMap<PathBuf, Bytes>>,
}

impl Files {
    fn gather(settings: &Settings) -> Result<Self, Error> {
        let place = settings.folder.display().to_string();
        let complaint = |place: String, message: String| Complaint { place, code: None, message, help: None };
        let entries = fs::read_dir(&settings.folder).map_err(|e| Error(vec![complaint(place, reason(&e))]))?;
        let (mut policies, mut complaints) = (BTreeMap::new(), Vec::new());
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    complaints.push(complaint(settings.folder.display().to_string(), reason(&error)));
                    continue;
                }
            };
            // What editors leave beside a file (`.#parcelo.toml`) is hidden, and no policy.
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            if path.extension().is_none_or(|ending| ending != "toml") || path.is_dir() {
                continue;
            }
            let name = path.strip_prefix(&settings.base).unwrap_or(&path).display().to_string();
            match read_file(&path) {
                Ok(bytes) => drop(policies.insert(name, bytes)),
                Err(message) => complaints.push(complaint(name, message)),
            }
        }
        if complaints.is_empty() {
            Ok(Self { base: settings.base.clone(), policies, named: RefCell::default() })
        } else {
            Err(Error(complaints))
        }
    }

    /// A file that a policy names, read once a load.
    fn named(&self, path: &Path) -> Bytes {
        let path = self.base.join(path);
        self.named.borrow_mut().entry(path).or_insert_with_key(|path| read_file(path)).clone()
    }

    /// What was read so far.
    fn attempt(&self, vault: &Vault) -> Attempt {
        let named = self.named.borrow().keys().cloned().collect();
        Attempt { digest: self.digest(&named), named, keys: vault.keys().stamp(), failed: false }
    }

    /// SHA-256 over names and contents of the policies and of these files that they name, hex: a rotated authority has to be
    /// noticed although no policy changed.
    fn digest(&self, named: &BTreeSet<PathBuf>) -> String {
        let mut hash = Sha256::new();
        let mut add = |name: &[u8], bytes: &[u8]| {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        for (name, bytes) in &self.policies {
            add(name.as_bytes(), bytes);
        }
        for path in named {
            // The same file as written in the policy, wherever the settings are.
            let name = path.strip_prefix(&self.base).unwrap_or(path).as_os_str().as_encoded_bytes();
            match self.named(path) {
                Ok(bytes) => add(name, &bytes),
                Err(_) => add(name, &[]),
            }
        }
        HEXLOWER.encode(&hash.finalize())
    }
}

fn read_file(path: &Path) -> Bytes {
    let length = fs::metadata(path).map_err(|e| reason(&e))?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("{length} bytes are more than {FILE_BYTES_MAX}"));
    }
    fs::read(path).map(Into::into).map_err(|e| reason(&e))
}

fn reason(error: &std::io::Error) -> String {
    format!("cannot be read: {}", error.kind())
}

/// Files to a set, or all that is wrong with them.
fn load(settings: &Settings, files: &Files, vault: &Vault, now: Time) -> Result<PolicySet, Error> {
    let mut complaints = Vec::new();
    let mut compiled = Vec::with_capacity(files.policies.len());
    for (name, bytes) in &files.policies {
        let Ok(text) = std::str::from_utf8(bytes) else {
            let message = "not UTF-8".to_owned();
            complaints.push(Complaint { place: name.clone(), code: None, message, help: None });
            continue;
        };
        let (policy, diagnostics) = crate::policy::read(name, text);
        sort_out(diagnostics, files, &mut complaints);
        let Some(policy) = policy else { continue };
        match compile::compile(policy) {
            Ok(policy) => compiled.push(policy),
            Err(diagnostics) => sort_out(diagnostics, files, &mut complaints),
        }
    }
    if complaints.is_empty() {
        let today = jiff::Timestamp::from_millisecond(i64::try_from(now.0).unwrap_or(i64::MAX))
            .map(|timestamp| jiff::tz::TimeZone::UTC.to_datetime(timestamp).date());
        if let Ok(today) = today {
            sort_out(lint::lint(&compiled, today), files, &mut complaints);
        }
    }
    if !complaints.is_empty() {
        return Err(Error(complaints));
    }
    let (mut partners, mut index) = (Vec::with_capacity(compiled.len()), Index::default());
    for policy in compiled {
        let file = policy.policy.file.to_string();
        let complain = |message| Complaint { place: file.clone(), code: None, message, help: None };
        if let Err(message) = index.add(partners.len(), &policy.policy.partner.hosts, &policy.policy.identify) {
            complaints.push(complain(message));
        }
        match bind(policy, settings, files, vault) {
            Ok(partner) => partners.push(Arc::new(partner)),
            Err(message) => complaints.push(complain(message)),
        }
    }
    if complaints.is_empty() {
        Ok(PolicySet { digest: files.attempt(vault).digest.into(), partners, index })
    } else {
        Err(Error(complaints))
    }
}

/// Errors become complaints; warnings are told now, because the set may well be taken.
fn sort_out(diagnostics: Vec<Diagnostic>, files: &Files, complaints: &mut Vec<Complaint>) {
    for diagnostic in diagnostics {
        let bytes = files.policies.get(&*diagnostic.file);
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        let (line, column) = diagnostic.line_column(text);
        let complaint = Complaint {
            place: format!("{}:{line}:{column}", diagnostic.file),
            code: Some(diagnostic.code),
            message: diagnostic.message,
            help: diagnostic.help,
        };
        match diagnostic.severity {
            Severity::Error => complaints.push(complaint),
            Severity::Warning | Severity::Note => tracing::warn!(
                target: "tidegate",
                code = diagnostic.code,
                place = complaint.place,
                what = complaint.message,
                "policy warning"
            ),
        }
    }
}

/// Why a policy's routes cannot be bound.
enum Unbound {
    /// For the operator.
    Wrong(String),
    /// The domain of its tokens was destroyed.
    Destroyed(keys::Error),
}

/// One policy and its keys, authorities and recipients.
fn bind(compiled: CompiledPolicy, settings: &Settings, files: &Files, vault: &Vault) -> Result<Partner, String> {
    let CompiledPolicy { mut policy, routes: compiled_routes, inbound, outbound } = compiled;
    let read = |path: &Path| files.named(path);
    let written = std::mem::take(&mut policy.routes).into_iter().zip(compiled_routes);
    let (routes, ended) = match bind_routes(written, &policy.partner.domain, settings, vault, &read) {
        Ok(routes) => (routes, false),
        Err(Unbound::Wrong(message)) => return Err(message),
        Err(Unbound::Destroyed(error)) => {
            // Nothing can be said to this partner any more; the others go on.
            let partner = policy.partner.id.as_str();
            tracing::error!(target: "tidegate", partner, cause = %error, "nothing is shared with this partner: its keys are destroyed");
            (Vec::new(), true)
        }
    };
    let (inbound, outbound) = if ended { Default::default() } else { (inbound, outbound) };
    let certificate = match policy.identify.client_certificate {
        Some(certificate) => {
            let name = certificate.ca.display().to_string();
            let pem = read(&certificate.ca).map_err(|message| format!("`{name}`: {message}"))?;
            let trust = Trust::from_pem(&pem).map_err(|message| format!("`{name}`: {message}"))?;
            Some((certificate.san, trust))
        }
        None => None,
    };
    let jwt = match policy.identify.jwt {
        Some(jwt) => {
            let name = jwt.jwks.display().to_string();
            let keys = read(&jwt.jwks).map_err(|message| format!("`{name}`: {message}"))?;
            Some(Verifier::new(jwt, &keys).map_err(|message| format!("`{name}`: {message}"))?)
        }
        None => None,
    };
    // A day whose end cannot be told is one that has ended.
    let expires = policy.agreement.expires.map(|date| set::end_of_day(date).unwrap_or(Time(0)));
    Ok(Partner {
        id: policy.partner.id,
        domain: policy.partner.domain,
        digest: policy.digest,
        expires,
        suspended: policy.agreement.suspended || ended,
        limits: policy.limits,
        require: policy.identify.require,
        certificate,
        jwt,
        inbound,
        outbound,
        routes,
    })
}

fn bind_routes(
    written: impl Iterator<Item = (rule::Route, compile::CompiledRoute)>,
    domain: &DomainId,
    settings: &Settings,
    vault: &Vault,
    read: ReadFile<'_>,
) -> Result<Vec<Arc<Route>>, Unbound> {
    let mut routes = Vec::new();
    for (route, legs) in written {
        let wrong = |message: String| Unbound::Wrong(format!("route `{}`: {message}", route.pattern));
        if !settings.upstreams.contains(&route.upstream) {
            return Err(wrong(format!("no upstream `{}` in the settings", route.upstream)));
        }
        let path = PathTemplate::new(&route.template)
            .ok_or_else(|| wrong("a path that is not in its normal form".to_owned()))?;
        let bound = |leg, side| match BoundLeg::bind(leg, side, domain, vault, read) {
            Ok(bound) => Ok(Arc::new(bound)),
            Err(BindError::Keys(error)) if matches!(error.fault, Fault::Destroyed(_)) => Err(Unbound::Destroyed(error)),
            Err(error) => Err(wrong(error.to_string())),
        };
        routes.push(Arc::new(Route {
            request: bound(legs.request, Leg::Request)?,
            response: bound(legs.response, Leg::Response)?,
            error: legs.error.map(|leg| bound(leg, Leg::Response)).transpose()?,
            pattern: route.pattern,
            direction: route.direction,
            upstream: route.upstream,
            path,
        }));
    }
    Ok(routes)
}

#[cfg(test)]
mod tests;
