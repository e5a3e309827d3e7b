//! From the tree of what was written to checked [`Settings`].
//!
//! Every part is read to its end whatever is wrong with it: where a value is missing or bad, the complaint is noted and a
//! stand-in is read on with, and settings with a complaint are never handed out. Start at [`settings`].

mod keys;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::http::listener::{self, ConnectionLimits};
use crate::http::pace::Pace;
use crate::http::{body, pem, trust};
use crate::ids::UpstreamId;
use crate::proxy::limits::Capacity;
use crate::secret::Secret;
use crate::{ledger, proxy::upstream, telemetry};

use super::file::{self, HEADER_HELP, KEYS, Key, Node, Table, Unwritten, Value, join, shown_item};
use super::value::{Checked, Wrong};
use super::{Complaint, Facing, ListenerSettings, Settings};

/// Reads, and remembers what was wrong.
pub(super) struct Reader<'r> {
    pub(super) file: &'r Path,
    /// Paths are relative to this.
    pub(super) folder: &'r Path,
    pub(super) environment: &'r BTreeMap<String, String>,
    pub(super) complaints: Vec<Complaint>,
}

/// A table that is read by the schema, and may not be there.
#[derive(Clone)]
pub(super) struct Section<'s> {
    /// In the schema.
    path: String,
    /// As the author knows it.
    shown: String,
    pub(super) place: String,
    pub(super) table: Option<&'s Table>,
}

impl<'s> Section<'s> {
    pub(super) fn node(&self, name: &str) -> Option<&'s Node> {
        self.table?.get(name)
    }

    /// The table `name` in it.
    pub(super) fn below(&self, name: &str) -> Self {
        let node = self.node(name);
        let table = match node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        Self {
            path: join(&self.path, name),
            shown: join(&self.shown, name),
            place: node.map_or_else(|| self.place.clone(), |node| node.key_place.clone()),
            table,
        }
    }

    /// The tables of a table whose names the author chooses.
    pub(super) fn named(&self, name: &str) -> Vec<(&'s str, Self)> {
        let section = self.below(name);
        let names = section.table.into_iter().flatten().filter_map(|(chosen, node)| {
            let Value::Table(table) = &node.value else { return None };
            let section = Self {
                path: format!("{}.*", section.path),
                shown: join(&section.shown, chosen),
                place: node.key_place.clone(),
                table: Some(table),
            };
            Some((chosen.as_str(), section))
        });
        names.collect()
    }

    /// Of a key in it, at the place of its value, or of its table where it is not written; of the table itself without a name.
    pub(super) fn complaint(&self, name: &str, message: impl Into<String>) -> Complaint {
        let place = self.node(name).map_or_else(|| self.place.clone(), |node| node.place.clone());
        let key = if name.is_empty() { self.shown.clone() } else { join(&self.shown, name) };
        Complaint::new(place, &key, message.into())
    }
}

/// Reads everything.
pub(super) fn settings(reader: &mut Reader<'_>, table: &Table) -> Settings {
    file::check(table, "", "", &mut reader.complaints);
    let root = Section {
        path: String::new(),
        shown: String::new(),
        place: reader.file.display().to_string(),
        table: Some(table),
    };
    let limits = root.below("limits");
    let pace = Pace {
        idle: reader.duration(&limits, "idle"),
        total: reader.duration(&limits, "body_time"),
        rate: reader.number(&limits, "body_rate"),
    };
    let keep_alive = reader.duration(&limits, "keep_alive");
    let connection = ConnectionLimits {
        handshake: reader.duration(&limits, "handshake"),
        head: reader.duration(&limits, "head"),
        idle: keep_alive,
        taking: Pace { idle: keep_alive, ..pace },
        head_bytes: reader.number(&limits, "head_bytes"),
        head_fields: reader.number(&limits, "head_fields"),
        streams: reader.number(&limits, "streams"),
        connections: reader.number(&limits, "connections"),
    };
    let admin = reader.admin(&root.below("admin"));
    let listeners = reader.listeners(&root, connection, admin);
    let upstreams =
        root.named("upstream").into_iter().filter_map(|(name, section)| reader.upstream(name, &section)).collect();
    Settings {
        file: reader.file.to_owned(),
        listeners,
        upstreams,
        body: body::Limits { body_bytes: reader.number(&limits, "body"), ratio: reader.number(&limits, "ratio"), pace },
        capacity: reader.capacity(&limits),
        threads: NonZero::new(reader.number(&limits, "threads")),
        drain: reader.duration(&limits, "drain"),
        keys: reader.keys(&root.below("keys")),
        vault: reader.vault(&root.below("vault")),
        reveal: reader.reveal(&root.below("reveal"), admin),
        vault_to: reader.path(&root.below("vault"), "to"),
        ledger: reader.ledger(&root.below("ledger")),
        policies: reader.folder(&root, "policies"),
        telemetry: reader.telemetry(&root.below("telemetry")),
        admin,
    }
}

impl Reader<'_> {
    pub(super) fn complain(&mut self, section: &Section<'_>, name: &str, message: impl Into<String>) {
        self.complaints.push(section.complaint(name, message));
    }

    pub(super) fn complain_with(
        &mut self,
        section: &Section<'_>,
        name: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.complaints.push(section.complaint(name, message).help(help));
    }

    /// A key's value, or its default. `None`: absent, or complained of.
    pub(super) fn get(&mut self, section: &Section<'_>, name: &str) -> Option<Checked> {
        let path = join(&section.path, name);
        let Key { kind, default, .. } = KEYS.iter().find(|key| key.path == path)?;
        let checked = match (section.node(name), default) {
            (Some(node), _) => kind.check(&node.value),
            (None, Unwritten::As(text)) => kind.check(&Value::Raw((*text).into())),
            (None, Unwritten::Required) => Err(Wrong("must be written".into(), None)),
            (None, Unwritten::Absent) => return None,
        };
        match checked {
            Ok(checked) => Some(checked),
            Err(Wrong(message, help)) => {
                let complaint = section.complaint(name, message);
                self.complaints.push(Complaint { help, ..complaint });
                None
            }
        }
    }

    pub(super) fn text(&mut self, section: &Section<'_>, name: &str) -> Option<String> {
        match self.get(section, name)? {
            Checked::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn flag(&mut self, section: &Section<'_>, name: &str) -> bool {
        self.get(section, name) == Some(Checked::Flag(true))
    }

    fn address(&mut self, section: &Section<'_>, name: &str) -> Option<SocketAddr> {
        match self.get(section, name)? {
            Checked::Address(address) => Some(address),
            _ => None,
        }
    }

    pub(super) fn duration(&mut self, section: &Section<'_>, name: &str) -> Duration {
        match self.get(section, name) {
            Some(Checked::Duration(duration)) => duration,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn number<T: TryFrom<u64> + Default>(&mut self, section: &Section<'_>, name: &str) -> T {
        match self.get(section, name) {
            // The schema's ranges fit the types; were one to grow out of its type, it would be refused, not cut.
            Some(Checked::Number(number)) => T::try_from(number).unwrap_or_else(|_| {
                self.complain(section, name, "is too large for this machine");
                T::default()
            }),
            _ => T::default(),
        }
    }

    pub(super) fn path(&mut self, section: &Section<'_>, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(self.text(section, name)?))
    }

    /// The folder need not be there yet: `tidegate keys init` makes one, the ledger another.
    pub(super) fn folder(&mut self, section: &Section<'_>, name: &str) -> PathBuf {
        let path = self.path(section, name).unwrap_or_default();
        if path.is_file() {
            self.complain(section, name, format!("`{}` is a file: expected a folder", path.display()));
        }
        path
    }

    fn capacity(&mut self, limits: &Section<'_>) -> Capacity {
        let (exchanges, percent): (u64, u64) = (self.number(limits, "exchanges"), self.number(limits, "share"));
        let share = u32::try_from(exchanges * percent / 100).unwrap_or(u32::MAX).max(1);
        Capacity { exchanges: usize::try_from(exchanges).unwrap_or(usize::MAX), share }
    }

    fn listeners(
        &mut self,
        root: &Section<'_>,
        limits: ConnectionLimits,
        admin: Option<SocketAddr>,
    ) -> Vec<ListenerSettings> {
        let none = Value::List(Vec::new());
        // Anything but a list was complained of by the schema.
        let Value::List(items) = root.node("listener").map_or(&none, |node| &node.value) else { return Vec::new() };
        if items.is_empty() {
            self.complain_with(root, "listener", "nothing listens", "write a `[[listener]]`");
        }
        let mut taken: Vec<(SocketAddr, String)> = admin.map(|address| (address, "admin".into())).into_iter().collect();
        let mut listeners: Vec<ListenerSettings> = Vec::new();
        for (index, node) in items.iter().enumerate() {
            let Value::Table(table) = &node.value else { continue };
            let section = Section {
                path: "listener[]".into(),
                shown: shown_item("listener", index, node),
                place: node.place.clone(),
                table: Some(table),
            };
            let listener = self.listener(&section, limits);
            if listeners
                .iter()
                .any(|other| other.listener.name == listener.listener.name && !other.listener.name.is_empty())
            {
                self.complain(&section, "name", "another listener has this name");
            }
            // One of the two would not start; of port 0 each gets its own.
            let address = listener.listener.address;
            if let Some((_, other)) = taken.iter().find(|(other, _)| *other == address && address.port() != 0) {
                self.complain(&section, "address", format!("`{other}` listens on {address}, too"));
            }
            taken.push((address, listener.listener.name.clone()));
            listeners.push(listener);
        }
        listeners
    }

    fn listener(&mut self, section: &Section<'_>, limits: ConnectionLimits) -> ListenerSettings {
        let name = self.text(section, "name").unwrap_or_default();
        let address = self.address(section, "address");
        let inside = self.text(section, "facing").as_deref() == Some("inside");
        let plain_allowed = self.flag(section, "danger_plain_text");
        let tls = section.node("tls").is_some().then(|| self.tls(&section.below("tls")));
        let exposed = address.is_some_and(|address| !is_loopback(address));
        if inside {
            let guarded = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some() && tls.client_certificate_required);
            if exposed && !guarded {
                let message = "an inside listener is open to other machines, and does not know who calls";
                let help =
                    "listen on `127.0.0.1`, or give it `tls` with `client_ca` and `client_certificate = \"required\"`";
                self.complain_with(section, "address", message, help);
            }
            if plain_allowed {
                self.complain(section, "danger_plain_text", "is for listeners that face partners");
            }
        } else if exposed && tls.is_none() && !plain_allowed {
            let message = "a partner listener without TLS is open to other machines";
            let help = "give it `tls`; or write `danger_plain_text = true` if what is before it speaks TLS and nobody else reaches it";
            self.complain_with(section, "address", message, help);
        }
        ListenerSettings {
            listener: listener::Settings {
                name,
                address: address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
                tls,
                limits,
            },
            facing: if inside { Facing::Inside } else { Facing::Partner },
        }
    }

    fn tls(&mut self, section: &Section<'_>) -> listener::Tls {
        let (certificate, key) = self.pair(section);
        let client_ca = self.path(section, "client_ca");
        if let Some(path) = &client_ca {
            self.authorities(section, "client_ca", path);
        }
        let client_crl = self.path(section, "client_crl");
        match (&client_ca, &client_crl) {
            (None, Some(_)) => {
                self.complain(section, "client_crl", "needs `client_ca`, whose certificates it is about")
            }
            (Some(ca), Some(path)) => {
                if let Err(error) = trust::check_revocations(ca, path) {
                    self.complain(section, "client_crl", error);
                }
            }
            (_, None) => {}
        }
        let required = self.text(section, "client_certificate").as_deref() == Some("required");
        if client_ca.is_none() && section.node("client_certificate").is_some() {
            self.complain(section, "client_certificate", "needs `client_ca`: without it no certificate is asked for");
        }
        listener::Tls { certificate, key, client_ca, client_crl, client_certificate_required: required }
    }

    /// `certificate` and `key`, which belong together.
    pub(super) fn pair(&mut self, section: &Section<'_>) -> (PathBuf, PathBuf) {
        let (certificate, key) = (self.path(section, "certificate"), self.path(section, "key"));
        let certificate_is_good = match &certificate {
            Some(path) => {
                pem::certificates(path).map(drop).map_err(|error| self.complain(section, "certificate", error))
            }
            None => Err(()),
        };
        let key_is_good = match &key {
            Some(path) => pem::key(path).map(drop).map_err(|error| self.complain(section, "key", error)),
            None => Err(()),
        };
        let (certificate, key) = (certificate.unwrap_or_default(), key.unwrap_or_default());
        if let (Ok(()), Ok(()), Err(error)) = (certificate_is_good, key_is_good, trust::check_pair(&certificate, &key))
        {
            self.complain(section, "key", error);
        }
        (certificate, key)
    }

    pub(super) fn authorities(&mut self, section: &Section<'_>, name: &str, path: &Path) {
        if let Err(error) = trust::check_authorities(path) {
            self.complain(section, name, error);
        }
    }

    fn upstream(&mut self, name: &str, section: &Section<'_>) -> Option<(UpstreamId, upstream::Settings)> {
        let id = UpstreamId::parse(name);
        if id.is_none() {
            let message = "a name is 1 to 128 of `a-z`, `0-9`, `-`, `_` and `.`, beginning with a letter or digit";
            self.complaints.push(Complaint::new(section.place.clone(), &section.shown, message.into()));
        }
        let url = self.url(section);
        let ca = self.path(section, "ca");
        if let Some(path) = &ca {
            self.authorities(section, "ca", path);
        }
        let shown = section.node("client_certificate").is_some();
        let client_certificate = shown.then(|| self.pair(&section.below("client_certificate")));
        for (name, written) in [("ca", ca.is_some()), ("client_certificate", shown)] {
            if written && url.scheme_str() == Some("http") {
                self.complain_with(section, name, "has no effect on `http`", "write the `url` with `https`");
            }
        }
        let settings = upstream::Settings {
            url,
            ca,
            client_certificate,
            headers: self.headers(section),
            connections: self.number(section, "connections"),
            http2: self.flag(section, "http2"),
            connect: self.duration(section, "connect"),
            response: self.duration(section, "response"),
            idle: self.duration(section, "idle"),
            keep_alive: self.duration(section, "keep_alive"),
        };
        Some((id?, settings))
    }

    fn url(&mut self, section: &Section<'_>) -> ::http::Uri {
        let Some(text) = self.text(section, "url") else { return ::http::Uri::default() };
        let Ok(url) = text.parse::<::http::Uri>() else {
            self.complain_with(section, "url", "not a URL", "such as `https://orders.internal:8443/api`");
            return ::http::Uri::default();
        };
        // A URL with a password in it is not repeated in any of these.
        let fault = match (url.scheme_str(), url.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                Some("has a user or password in it: give the credential as one of `headers`")
            }
            (Some("http" | "https"), Some(authority)) if authority.host().is_empty() => Some("has no host"),
            (Some("http" | "https"), Some(_)) if url.query().is_some() || text.contains('#') => {
                Some("has a query or fragment: only a path prefix may follow the host")
            }
            (Some("http" | "https"), Some(_)) => None,
            _ => Some("must begin with `http://` or `https://`"),
        };
        if let Some(fault) = fault {
            self.complain(section, "url", fault);
        }
        url
    }

    fn headers(&mut self, section: &Section<'_>) -> Vec<(::http::HeaderName, Secret<String>)> {
        let mut headers: Vec<(::http::HeaderName, Secret<String>)> = Vec::new();
        for (name, header) in section.named("headers") {
            let parsed = ::http::HeaderName::try_from(name).ok().filter(|name| !OURS.contains(&name.as_str()));
            match parsed {
                Some(parsed) => {
                    if headers.iter().any(|(other, _)| *other == parsed) {
                        self.complain(&header, "", "this header is written twice");
                    }
                    if let Some(value) = self.header_value(&header) {
                        headers.push((parsed, value));
                    }
                }
                None => {
                    self.complain(&header, "", "is no header name, or one that is always Tidegate's own");
                }
            }
        }
        headers
    }

    /// Never says anything of the value.
    fn header_value(&mut self, section: &Section<'_>) -> Option<Secret<String>> {
        let (variable, file) = (self.text(section, "env"), self.path(section, "file"));
        let (name, value) = match (variable, file) {
            (Some(variable), None) => match self.environment.get(&variable) {
                Some(value) => ("env", value.trim_end_matches(['\r', '\n']).to_owned()),
                None => {
                    self.complain(section, "env", format!("the variable `{variable}` is not set"));
                    return None;
                }
            },
            (None, Some(path)) => match pem::secret_text(&path) {
                Ok(text) => ("file", text.to_string()),
                Err(error) => {
                    self.complain(section, "file", error);
                    return None;
                }
            },
            _ => {
                self.complain_with(section, "", "expected either `env` or `file`", HEADER_HELP);
                return None;
            }
        };
        let value = Secret::new(value);
        let text = value.expose_secret();
        if text.is_empty() || ::http::HeaderValue::from_str(text).is_err() {
            self.complain(section, name, "what it holds is empty, or cannot be in a header");
            return None;
        }
        Some(value)
    }

    fn ledger(&mut self, section: &Section<'_>) -> ledger::Settings {
        let batched = self.text(section, "durability").as_deref() == Some("batched");
        let batch = self.duration(section, "batch");
        if !batched && section.node("batch").is_some() {
            let help = "write `durability = \"batched\"`, which may lose that much in a crash of the machine, or leave `batch` out";
            self.complain_with(section, "batch", "has no effect where durability is strict", help);
        }
        ledger::Settings {
            folder: self.folder(section, "folder"),
            durability: if batched { ledger::Durability::Batched(batch) } else { ledger::Durability::Strict },
            segment_bytes: self.number(section, "segment"),
        }
    }

    fn telemetry(&mut self, section: &Section<'_>) -> telemetry::Settings {
        let level = match self.text(section, "level").as_deref() {
            Some("error") => tracing::Level::ERROR,
            Some("warn") => tracing::Level::WARN,
            Some("debug") => tracing::Level::DEBUG,
            _ => tracing::Level::INFO,
        };
        telemetry::Settings { level, json: self.text(section, "format").as_deref() == Some("json") }
    }

    fn admin(&mut self, section: &Section<'_>) -> Option<SocketAddr> {
        section.table?;
        let address = self.address(section, "address")?;
        if !self.flag(section, "danger_admin_exposed") && !is_loopback(address) {
            let message = "the admin pages are open to other machines, and ask nobody who they are";
            let help =
                "listen on `127.0.0.1`; or write `danger_admin_exposed = true` if only your monitoring reaches it";
            self.complain_with(section, "address", message, help);
        }
        Some(address)
    }
}

/// Headers of the connection and of framing: setting one of them would make a request that can be read in two ways.
const OURS: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
