//! How `tidegate.toml` looks: every key with its kind and its default, and the file as a tree of values with places.
//!
//! There are no serde shapes here: serde stops at the first thing that it does not like, and a settings file is answered with
//! all complaints at once. The table [`KEYS`] is read by the checker, by the overrides (which take their types from it) and by
//! the test that holds `docs/settings.md` against it. Start at [`KEYS`].

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::policy::source::suggest;

use super::Complaint;
use super::value::Kind;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its path: `[]` after an array of tables, `*` for a name that the author chooses.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What holds where it is not written.
    pub default: Unwritten,
}

/// What holds where a key is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// It must be written, where its table is.
    Required,
    /// Nothing: what that means is the key's own.
    Absent,
    /// As if this were written.
    As(&'static str),
}

use Unwritten::{Absent, As, Required};

const fn key(path: &'static str, kind: Kind, default: Unwritten) -> Key {
    Key { path, kind, default }
}

const HOUR: u64 = 60 * 60 * 1000;

const fn time(least: u64, most: u64) -> Kind {
    Kind::Duration { least_ms: least, most_ms: most }
}

const fn count(least: u64, most: u64) -> Kind {
    Kind::Count { least, most }
}

const fn size(least: u64, most: u64) -> Kind {
    Kind::Size { least, most }
}

/// Every key that there is.
pub const KEYS: &[Key] = &[
    key("policies", Kind::Path, As("policies")),
    key("listener[].name", Kind::Name, Required),
    key("listener[].address", Kind::Address, Required),
    key("listener[].facing", Kind::Choice(&["partner", "inside"]), Required),
    key("listener[].danger_plain_text", Kind::Flag, As("false")),
    key("listener[].tls.certificate", Kind::Path, Required),
    key("listener[].tls.key", Kind::Path, Required),
    key("listener[].tls.client_ca", Kind::Path, Absent),
    key("listener[].tls.client_crl", Kind::Path, Absent),
    key("listener[].tls.client_certificate", Kind::Choice(&["optional", "required"]), As("optional")),
    key("upstream.*.url", Kind::Text, Required),
    key("upstream.*.ca", Kind::Path, Absent),
    key("upstream.*.client_certificate.certificate", Kind::Path, Required),
    key("upstream.*.client_certificate.key", Kind::Path, Required),
    key("upstream.*.headers.*.env", Kind::Text, Absent),
    key("upstream.*.headers.*.file", Kind::Path, Absent),
    key("upstream.*.connections", count(1, 100_000), As("256")),
    key("upstream.*.http2", Kind::Flag, As("false")),
    key("upstream.*.connect", time(1, HOUR), As("2s")),
    key("upstream.*.response", time(1, HOUR), As("30s")),
    key("upstream.*.idle", time(1, HOUR), As("30s")),
    key("upstream.*.keep_alive", time(0, HOUR), As("60s")),
    key("limits.body", size(1024, 1 << 50), As("64MiB")),
    key("limits.ratio", count(1, 100_000), As("100")),
    key("limits.idle", time(1, HOUR), As("30s")),
    key("limits.body_time", time(1, 24 * HOUR), As("5m")),
    key("limits.body_rate", size(0, 1 << 30), As("1KiB")),
    key("limits.exchanges", count(1, 1_000_000), As("10000")),
    key("limits.share", count(1, 100), As("25")),
    key("limits.connections", count(1, 1_000_000), As("10000")),
    key("limits.handshake", time(1, HOUR), As("10s")),
    key("limits.head", time(1, HOUR), As("10s")),
    key("limits.keep_alive", time(1, HOUR), As("60s")),
    key("limits.head_bytes", size(1024, 1 << 20), As("32KiB")),
    key("limits.head_fields", count(1, 1000), As("100")),
    key("limits.streams", count(1, 10_000), As("100")),
    key("limits.threads", count(1, 1024), Absent),
    key("limits.drain", time(0, 24 * HOUR), As("30s")),
    key("keys.folder", Kind::Path, As("keys")),
    key("keys.source", Kind::Choice(&["folder", "environment", "transit"]), As("folder")),
    key("keys.root_env", Kind::Text, As("TIDEGATE_ROOT_KEY")),
    key("keys.transit.url", Kind::Text, Required),
    key("keys.transit.ca", Kind::Path, Absent),
    key("keys.transit.mount", Kind::Text, As("transit")),
    key("keys.transit.key", Kind::Name, Required),
    key("keys.transit.namespace", Kind::Text, Absent),
    key("keys.transit.timeout", time(100, 60_000), As("5s")),
    key("keys.transit.token.env", Kind::Text, Absent),
    key("keys.transit.token.file", Kind::Path, Absent),
    key("keys.transit.approle.mount", Kind::Text, As("approle")),
    key("keys.transit.approle.role_id", Kind::Text, Required),
    key("keys.transit.approle.secret_id.env", Kind::Text, Absent),
    key("keys.transit.approle.secret_id.file", Kind::Path, Absent),
    key("vault.kind", Kind::Choice(&["embedded", "postgres", "redis"]), As("embedded")),
    key("vault.folder", Kind::Path, As("vault")),
    key("vault.cache", size(1 << 20, 1 << 40), As("64MiB")),
    key("vault.wait", time(0, HOUR), As("30s")),
    key("vault.time", time(1, 60_000), As("2s")),
    key("vault.postgres.url", Kind::Text, Required),
    key("vault.postgres.password.env", Kind::Text, Absent),
    key("vault.postgres.password.file", Kind::Path, Absent),
    key("vault.postgres.ca", Kind::Path, Absent),
    key("vault.postgres.client_certificate.certificate", Kind::Path, Required),
    key("vault.postgres.client_certificate.key", Kind::Path, Required),
    key("vault.postgres.danger_plain_text", Kind::Flag, As("false")),
    key("vault.postgres.connections", count(1, 100), As("2")),
    key("vault.postgres.connect", time(1, HOUR), As("2s")),
    key("vault.redis.url", Kind::Text, Required),
    key("vault.redis.password.env", Kind::Text, Absent),
    key("vault.redis.password.file", Kind::Path, Absent),
    key("vault.redis.ca", Kind::Path, Absent),
    key("vault.redis.client_certificate.certificate", Kind::Path, Required),
    key("vault.redis.client_certificate.key", Kind::Path, Required),
    key("vault.redis.danger_plain_text", Kind::Flag, As("false")),
    key("vault.redis.durability", Kind::Choice(&["always", "waited", "assured"]), As("always")),
    key("vault.redis.replicas", count(0, 100), Absent),
    key("vault.redis.prefix", Kind::Name, As("tidegate")),
    key("reveal.rate", count(1, 100_000), As("20")),
    key("reveal.two_operators", Kind::Flag, As("false")),
    key("reveal.within", time(1000, 24 * HOUR), As("15m")),
    key("reveal.operator.*.sha256", Kind::Text, Required),
    key("vault.to", Kind::Path, Absent),
    key("ledger.folder", Kind::Path, As("ledger")),
    key("ledger.durability", Kind::Choice(&["strict", "batched"]), As("strict")),
    key("ledger.batch", time(1, 60_000), As("20ms")),
    key("ledger.segment", size(1 << 16, 1 << 40), As("256MiB")),
    key("telemetry.level", Kind::Choice(&["error", "warn", "info", "debug"]), As("info")),
    key("telemetry.format", Kind::Choice(&["text", "json"]), As("text")),
    key("admin.address", Kind::Address, Required),
    key("admin.danger_admin_exposed", Kind::Flag, As("false")),
];

/// Something that was written, and where.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where the value is: `tidegate.toml:12:9`.
    pub(super) place: String,
    /// Where its key is.
    pub(super) key_place: String,
    pub(super) value: Value,
}

/// What was written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
    Table(Table),
    List(Vec<Node>),
    /// Of a type that no key has.
    Other(&'static str),
    /// From the environment or the command line: text, whatever the type.
    Raw(String),
}

pub(super) type Table = BTreeMap<String, Node>;

impl Value {
    /// The type, for messages. Never the value.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Raw(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Flag(_) => "`true` or `false`",
            Self::Table(_) => "a table",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }
}

/// Reads a settings file's text. `name` is how the file is called in places.
pub(super) fn parse(name: &str, text: &str, complaints: &mut Vec<Complaint>) -> Table {
    let places = Places { name, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        complaints.push(Complaint::new(places.of(at), "", format!("not TOML: {}", error.message().replace('\n', " "))));
    }
    places.table(table.get_ref())
}

struct Places<'t> {
    name: &'t str,
    text: &'t str,
}

impl Places<'_> {
    fn of(&self, byte: usize) -> String {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.name)
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entries = table.iter().map(|(key, value)| {
            let node = Node {
                place: self.of(value.span().start),
                key_place: self.of(key.span().start),
                value: self.value(value.get_ref()),
            };
            (key.get_ref().to_string(), node)
        });
        entries.collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Value::Integer(integer),
                Err(_) => Value::Other("an integer that is too large"),
            },
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Float(_) => Value::Other("a number with a fraction"),
            DeValue::Datetime(_) => Value::Other("a date or time"),
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Array(items) => {
                let node = |item: &toml::Spanned<DeValue<'_>>| {
                    let place = self.of(item.span().start);
                    Node { key_place: place.clone(), place, value: self.value(item.get_ref()) }
                };
                Value::List(items.iter().map(node).collect())
            }
        }
    }
}

/// What may stand below a path of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A value.
    Leaf,
    /// A table with keys of the schema.
    Table,
    /// A table with names that the author chooses.
    Names,
    /// A list of tables.
    Tables,
}

/// `prefix.name`, or `name` at the top.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// The path of a name below a table's path, and what the schema says of it; `None`: nothing.
pub(super) fn below(path: &str, name: &str) -> Option<(String, Shape)> {
    // A name in quotes could otherwise spell a path, or a pattern of one.
    if name.contains(['.', '[', '*']) {
        return None;
    }
    let below = join(path, name);
    let shape = shape(&below)?;
    Some((below, shape))
}

fn shape(path: &str) -> Option<Shape> {
    KEYS.iter().find_map(|key| match key.path.strip_prefix(path)? {
        "" => Some(Shape::Leaf),
        rest if rest.starts_with(".*.") => Some(Shape::Names),
        rest if rest.starts_with("[].") => Some(Shape::Tables),
        rest if rest.starts_with('.') => Some(Shape::Table),
        _ => None,
    })
}

/// The names that the schema knows directly below a path.
pub(super) fn names_below(path: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for key in KEYS {
        let below = if path.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(path).and_then(|r| r.strip_prefix('.'))
        };
        let name = below.map(|below| below.split(['.', '[']).next().unwrap_or_default());
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    names
}

/// Complains of every key that the schema does not know and every table that is none. `shown` is the path as its author knows it.
pub(super) fn check(table: &Table, path: &str, shown: &str, complaints: &mut Vec<Complaint>) {
    for (name, node) in table {
        let shown = join(shown, name);
        match below(path, name) {
            None => complaints.push(unknown(&node.key_place, path, &shown, name)),
            Some((_, Shape::Leaf)) => {}
            Some((below, shape)) => check_node(node, shape, &below, &shown, complaints),
        }
    }
}

fn check_node(node: &Node, shape: Shape, path: &str, shown: &str, complaints: &mut Vec<Complaint>) {
    match (shape, &node.value) {
        (Shape::Table, Value::Table(table)) => check(table, path, shown, complaints),
        (Shape::Names, Value::Table(names)) => {
            let path = format!("{path}.*");
            for (name, node) in names {
                check_node(node, Shape::Table, &path, &join(shown, name), complaints);
            }
        }
        (Shape::Tables, Value::List(items)) => {
            let path = format!("{path}[]");
            for (index, node) in items.iter().enumerate() {
                check_node(node, Shape::Table, &path, &shown_item(shown, index, node), complaints);
            }
        }
        (Shape::Tables, found) => {
            let message = format!("expected a list of tables, found {}", found.type_name());
            let help = format!("write `[[{path}]]`");
            complaints.push(Complaint::new(node.key_place.clone(), shown, message).help(help));
        }
        (_, found) => {
            let complaint =
                Complaint::new(node.place.clone(), shown, format!("expected a table, found {}", found.type_name()));
            let is_header = path == "upstream.*.headers.*";
            complaints.push(if is_header { complaint.help(HEADER_HELP) } else { complaint });
        }
    }
}

/// A credential in a file that is shown around is no credential.
pub(super) const HEADER_HELP: &str =
    "a header's value is never written in the settings: `{ env = \"NAME\" }` or `{ file = \"PATH\" }`";

/// How a list's item is called: by its name, where it has one.
pub(super) fn shown_item(list: &str, index: usize, node: &Node) -> String {
    match &node.value {
        Value::Table(table) => match table.get("name").map(|node| &node.value) {
            Some(Value::Text(name) | Value::Raw(name)) => format!("{list}.{name}"),
            _ => format!("{list}.{index}"),
        },
        _ => format!("{list}.{index}"),
    }
}

/// A key that there is not.
pub(super) fn unknown(place: &str, parent: &str, shown: &str, name: &str) -> Complaint {
    let names = names_below(parent);
    let complaint = Complaint::new(place.to_owned(), shown, "no such key".to_owned());
    match suggest(name, &names) {
        Some(near) => complaint.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => complaint,
        None => complaint.help(format!("keys here are {}", crate::policy::source::list(&names))),
    }
}
