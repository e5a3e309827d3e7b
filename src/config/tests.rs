//! Settings through their front door: what a file, the environment and the command line come to, and every complaint with
//! its place.

use tempfile::TempDir;

use super::*;
use crate::http::testing::{authority, write_secret};
use crate::ledger::Durability;
use crate::vault::store::open::Kind;

mod keys;
mod redis;
mod reveal;
#[cfg(feature = "postgres")]
mod vault;

/// The smallest file that is in order.
const SMALLEST: &str = "[[listener]]\nname = \"p\"\naddress = \"127.0.0.1:0\"\nfacing = \"partner\"\n";

/// The example of the documentation, whole.
const EXAMPLE: &str = r#"policies = "policies"
[[listener]]
name = "partners"
address = "127.0.0.1:8443"
facing = "partner"
tls = { certificate = "certs/server.pem", key = "certs/server.key", client_ca = "certs/partners-ca.pem", client_certificate = "optional" }
[upstream.orders]
url = "https://orders.internal:9000/api"
ca = "certs/partners-ca.pem"
client_certificate = { certificate = "certs/server.pem", key = "certs/server.key" }
headers = { authorization = { env = "ORDERS_TOKEN" }, x-key = { file = "certs/token" } }
connections = 256
http2 = false
connect = "2s"
response = "30s"
idle = "30s"
keep_alive = "60s"
[limits]
body = "10MiB"
ratio = 100
[keys]
folder = "keys"
[ledger]
folder = "ledger"
durability = "batched"
batch = "20ms"
segment = "256MiB"
[telemetry]
level = "info"
format = "text"
[admin]
address = "127.0.0.1:9901"
"#;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs");
        std::fs::create_dir(&certs).unwrap();
        let ours = authority("ours");
        ours.write_self(&certs, "partners-ca");
        ours.write(&certs, "server", &ours.issue_for_servers(&["localhost"]));
        ours.write(&certs, "other", &ours.issue_for_servers(&["localhost"]));
        write_secret(&certs.join("token"), "canary-token\n");
        std::fs::write(certs.join("loose.key"), std::fs::read(certs.join("server.key")).unwrap()).unwrap();
        std::fs::write(certs.join("empty"), "").unwrap();
        Self(folder)
    }

    fn load(&self, text: &str, environment: &[(&str, &str)], set: &[&str]) -> Result<Settings, Vec<Complaint>> {
        let file = self.0.path().join("tidegate.toml");
        std::fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
        load(&file, environment, &set).map_err(|mut complaints| {
            for complaint in &mut complaints {
                complaint.place = complaint.place.replace(&format!("{}/", self.0.path().display()), "");
            }
            complaints
        })
    }
}

/// Expects exactly these complaints: place, key, and a part of message or help.
fn check_all(folder: &Folder, text: &str, expected: &[(&str, &str, &str)]) {
    let complaints = folder.load(text, &[], &[]).map(drop).unwrap_err();
    for (index, (place, key, part)) in expected.iter().enumerate() {
        let Some(found) = complaints.get(index) else { panic!("missing: {place} {key} {part}\nin {complaints:#?}") };
        assert_eq!((found.place.as_str(), found.key.as_str()), (*place, *key), "{found}");
        assert!(found.to_string().contains(part), "`{part}` not in: {found}");
    }
    assert_eq!(complaints.len(), expected.len(), "{complaints:#?}");
}

/// Expects one complaint of a line put below a section of a file that is otherwise in order.
fn check(section: &str, line: &str, key: &str, part: &str) {
    thread_local!(static FOLDER: Folder = Folder::new());
    FOLDER.with(|folder| {
        let text = format!("{SMALLEST}{section}\n{line}\n");
        let complaints = folder.load(&text, &[("A", "canary")], &[]).map(drop).unwrap_err();
        let [complaint] = &complaints[..] else { panic!("{line}: {complaints:#?}") };
        assert_eq!(complaint.key, key, "{complaint}");
        assert!(complaint.to_string().contains(part), "`{part}` not in: {complaint}");
        assert!(complaint.place.starts_with("tidegate.toml:"), "{complaint}");
    });
}

#[test]
fn the_example_says_what_it_says() {
    let folder = Folder::new();
    let settings = folder.load(EXAMPLE, &[("ORDERS_TOKEN", "canary-env")], &[]).unwrap();
    let root = folder.0.path();
    assert_eq!(settings.policies, root.join("policies"));
    let [ListenerSettings { listener, facing }] = &settings.listeners[..] else { panic!() };
    assert_eq!((listener.name.as_str(), listener.address.port(), *facing), ("partners", 8443, Facing::Partner));
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(tls.client_ca, Some(root.join("certs/partners-ca.pem")));
    assert!(!tls.client_certificate_required);
    let upstream = &settings.upstreams[&UpstreamId::parse("orders").unwrap()];
    assert_eq!(upstream.url, "https://orders.internal:9000/api");
    let headers: Vec<_> = upstream.headers.iter().map(|(n, v)| (n.as_str(), v.expose_secret().as_str())).collect();
    assert_eq!(headers, [("authorization", "canary-env"), ("x-key", "canary-token")]);
    assert_eq!((settings.body.body_bytes, settings.body.ratio), (10 << 20, 100));
    assert_eq!(settings.ledger.durability, Durability::Batched(Duration::from_millis(20)));
    assert_eq!(settings.admin, Some("127.0.0.1:9901".parse().unwrap()));
    assert!(!format!("{settings:?}").contains("canary"), "a credential in `Debug`");
}

#[test]
fn what_is_not_written_has_its_default() {
    let settings = Folder::new().load(&format!("{SMALLEST}[upstream.o]\nurl = \"http://o\"\n"), &[], &[]).unwrap();
    let limits = settings.listeners[0].listener.limits;
    assert_eq!((limits.handshake, limits.head, limits.idle), (secs(10), secs(10), secs(60)));
    assert_eq!(
        (limits.head_bytes, limits.head_fields, limits.streams, limits.connections),
        (32 << 10, 100, 100, 10_000)
    );
    assert_eq!((settings.body.body_bytes, settings.body.ratio, settings.body.pace.idle), (64 << 20, 100, secs(30)));
    assert_eq!((settings.body.pace.total, settings.body.pace.rate), (secs(300), 1024));
    assert_eq!((settings.capacity.exchanges, settings.capacity.share, settings.drain), (10_000, 2_500, secs(30)));
    assert_eq!(settings.threads, None);
    assert_eq!(settings.ledger.durability, Durability::Strict);
    assert_eq!(settings.ledger.segment_bytes, 256 << 20);
    assert_eq!((settings.telemetry.level, settings.telemetry.json), (tracing::Level::INFO, false));
    assert_eq!(settings.admin, None);
    let upstream = settings.upstreams.values().next().unwrap();
    assert_eq!((upstream.connections, upstream.http2), (256, false));
    assert_eq!((upstream.connect, upstream.response), (secs(2), secs(30)));
    assert_eq!((upstream.idle, upstream.keep_alive), (secs(30), secs(60)));
}

#[test]
fn there_is_a_store_only_where_there_is_a_table_for_it() {
    let folder = Folder::new();
    assert!(folder.load(SMALLEST, &[], &[]).unwrap().vault.is_none());
    let vault = folder.load(&format!("{SMALLEST}[vault]\n"), &[], &[]).unwrap().vault.unwrap();
    let Kind::Embedded(embedded) = vault.kind else { panic!() };
    assert_eq!((embedded.folder, embedded.cache_bytes), (folder.0.path().join("vault"), 64 << 20));
    assert_eq!((embedded.patience, vault.time), (secs(30), secs(2)));
    let over = [("TIDEGATE_VAULT__TIME", "1s")];
    let vault = folder.load(SMALLEST, &over, &["vault.folder=elsewhere"]).unwrap().vault.unwrap();
    let Kind::Embedded(embedded) = vault.kind else { panic!() };
    assert_eq!((embedded.folder, vault.time), (folder.0.path().join("elsewhere"), secs(1)));
    check("[vault]", "kind = \"sqlite\"", "vault.kind", "expected `embedded`, `postgres` or `redis`");
    check("[vault]", "time = \"0s\"", "vault.time", "must be from 1ms to 1m");
    check("[vault]", "cache = 5", "vault.cache", "must be from 1MiB");
    check("[vault]", "folder = \"certs/server.pem\"", "vault.folder", "expected a folder");
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn every_default_of_the_table_is_a_value_of_its_kind() {
    for key in file::KEYS {
        if let file::Unwritten::As(text) = key.default {
            assert!(key.kind.check(&file::Value::Raw(text.into())).is_ok(), "{}: {text}", key.path);
        }
    }
}

#[test]
fn all_complaints_come_at_once_in_the_order_of_the_file() {
    let text = r#"polices = "p"
[[listener]]
name = "Partners"
address = "127.0.0.1"
facing = "partners"
tls = { certificate = "certs/none.pem", key = "certs/loose.key" }
[upstream.orders]
url = "orders:9000"
conections = 5
[limits]
body = "10MB"
idle = 30
ratio = "100"
[ledger]
durability = true
batch = "20ms"
[admin]
address = "0.0.0.0:9901"
"#;
    check_all(
        &Folder::new(),
        text,
        &[
            ("tidegate.toml:1:1", "polices", "did you mean `policies`?"),
            ("tidegate.toml:3:8", "listener.Partners.name", "a name is 1 to 128"),
            ("tidegate.toml:4:11", "listener.Partners.address", "found `127.0.0.1`"),
            ("tidegate.toml:5:10", "listener.Partners.facing", "did you mean `partner`?"),
            ("tidegate.toml:6:23", "listener.Partners.tls.certificate", "no such file"),
            ("tidegate.toml:6:47", "listener.Partners.tls.key", "can be read by others"),
            ("tidegate.toml:8:7", "upstream.orders.url", "must begin with `http://` or `https://`"),
            ("tidegate.toml:9:1", "upstream.orders.conections", "did you mean `connections`?"),
            ("tidegate.toml:11:8", "limits.body", "write `MiB`"),
            ("tidegate.toml:12:8", "limits.idle", "write `\"30s\"` or `\"30ms\"`"),
            ("tidegate.toml:13:9", "limits.ratio", "write it without quotes"),
            ("tidegate.toml:15:14", "ledger.durability", "expected a text, found `true` or `false`"),
            ("tidegate.toml:16:9", "ledger.batch", "has no effect"),
            ("tidegate.toml:18:11", "admin.address", "open to other machines"),
        ],
    );
}

#[test]
fn complaints_are_rendered_for_a_terminal() {
    let complaints = Folder::new().load("[limits]\nidel = \"3s\"\n", &[], &[]).map(drop).unwrap_err();
    assert_eq!(
        render(&complaints),
        "error: limits.idel: no such key\n  --> tidegate.toml:2:1\n  help: did you mean `idle`?\n\n\
         error: listener: nothing listens\n  --> tidegate.toml\n  help: write a `[[listener]]`\n\n\
         2 complaints about the settings\n"
    );
}

#[test]
fn what_is_not_toml_is_complained_of_at_its_place() {
    let folder = Folder::new();
    let complaints = folder.load("a = 1\n\nb = = 2\n[x\n", &[], &[]).map(drop).unwrap_err();
    assert_eq!(complaints[0].place, "tidegate.toml:3:5", "{complaints:#?}");
    assert!(complaints[0].message.starts_with("not TOML: "));
    let twice = folder.load("policies = \"a\"\npolicies = \"b\"\n", &[], &[]).map(drop).unwrap_err();
    assert!(twice[0].place.starts_with("tidegate.toml:2:1") && twice[0].message.contains("duplicate"), "{twice:#?}");
    let none = load(&folder.0.path().join("none.toml"), std::iter::empty(), &[]).map(drop).unwrap_err();
    assert_eq!(none[0].message, "no such file");
}

#[test]
fn tables_and_lists_are_told_apart() {
    check("", "[ledger.folder]\na = 1", "ledger.folder", "expected a path, found a table");
    check("", "[[keys]]\nfolder = \"k\"", "keys", "expected a table, found a list");
    check("", "[upstream]\norders = 1", "upstream.orders", "expected a table, found an integer");
    check("", "[\"upstream.*\"]\nurl = \"http://a\"", "upstream.*", "no such key");
    let folder = Folder::new();
    check_all(&folder, "listener = 1\n", &[("tidegate.toml:1:1", "listener", "write `[[listener]]`")]);
    check_all(&folder, "[listener]\nname = \"a\"\n", &[("tidegate.toml:1:2", "listener", "write `[[listener]]`")]);
    let both = [("tidegate.toml:1:12", "listener", "nothing listens"), ("tidegate.toml:2:3", "x", "no such key")];
    check_all(&folder, "listener = []\n[[x]]\n", &both);
}

#[test]
fn keys_that_must_be_written_are_missed_at_their_table() {
    check_all(
        &Folder::new(),
        "[[listener]]\nname = \"a\"\ntls = {}\n[upstream.o]\n[admin]\n",
        &[
            ("tidegate.toml:1:1", "listener.a.address", "must be written"),
            ("tidegate.toml:1:1", "listener.a.facing", "must be written"),
            ("tidegate.toml:3:1", "listener.a.tls.certificate", "must be written"),
            ("tidegate.toml:3:1", "listener.a.tls.key", "must be written"),
            ("tidegate.toml:4:11", "upstream.o.url", "must be written"),
            ("tidegate.toml:5:2", "admin.address", "must be written"),
        ],
    );
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    check("[limits]", "ratio = 0", "limits.ratio", "must be from 1 to 100000");
    check("[limits]", "head_bytes = \"2MiB\"", "limits.head_bytes", "must be from 1KiB to 1MiB");
    check("[limits]", "idle = \"0s\"", "limits.idle", "must be from 1ms to 1h");
    check("[limits]", "streams = -1", "limits.streams", "must be from 1 to 10000");
    check("[limits]", "threads = 0", "limits.threads", "must be from 1 to 1024");
    check("[limits]", "streams = 1.5", "limits.streams", "found a number with a fraction");
    check("[limits]", "drain = 1979-05-27", "limits.drain", "found a date or time");
}

fn listener(lines: &str) -> String {
    format!("[[listener]]\nname = \"x\"\n{lines}")
}

#[test]
fn listeners_that_others_can_reach_must_know_their_callers() {
    let cert = "certificate = \"certs/server.pem\", key = \"certs/server.key\"";
    let ca = "client_ca = \"certs/partners-ca.pem\"";
    let open = "address = \"0.0.0.0:1\"\n";
    let key = "listener.x.address";
    check("", &listener(&format!("{open}facing = \"partner\"")), key, "danger_plain_text = true");
    check("", &listener("address = \"[::]:1\"\nfacing = \"partner\""), key, "without TLS");
    let inside = |tls: &str| listener(&format!("{open}facing = \"inside\"\n{tls}"));
    check("", &inside(""), key, "does not know who calls");
    check("", &inside(&format!("tls = {{ {cert} }}")), key, "does not know who calls");
    check(
        "",
        &inside(&format!("tls = {{ {cert}, {ca} }}")),
        key,
        "client_certificate = \\\"required\\\"".replace('\\', "").as_str(),
    );
    let on_inside = listener("address = \"127.0.0.1:1\"\nfacing = \"inside\"\ndanger_plain_text = true");
    check("", &on_inside, "listener.x.danger_plain_text", "is for listeners that face partners");

    let folder = Folder::new();
    for fine in [
        format!("{open}facing = \"partner\"\ntls = {{ {cert} }}"),
        format!("{open}facing = \"partner\"\ndanger_plain_text = true"),
        format!("{open}facing = \"inside\"\ntls = {{ {cert}, {ca}, client_certificate = \"required\" }}"),
        "address = \"[::1]:1\"\nfacing = \"inside\"".to_owned(),
        "address = \"[::ffff:127.0.0.1]:1\"\nfacing = \"partner\"".to_owned(),
    ] {
        folder.load(&listener(&fine), &[], &[]).unwrap_or_else(|complaints| panic!("{fine}: {complaints:#?}"));
    }
}

#[test]
fn certificates_and_keys_must_be_there_and_belong_together() {
    let tls = |tls: &str| listener(&format!("address = \"127.0.0.1:1\"\nfacing = \"partner\"\ntls = {{ {tls} }}"));
    let with_key = |key: &str| tls(&format!("certificate = \"certs/server.pem\", key = \"certs/{key}\""));
    check("", &with_key("other.key"), "listener.x.tls.key", "is not the key of the certificate");
    check("", &with_key("loose.key"), "listener.x.tls.key", "chmod 600");
    check("", &with_key("none.key"), "listener.x.tls.key", "no such file");
    check("", &with_key("token"), "listener.x.tls.key", "no private key in it");
    let with_ca = |more: &str| tls(&format!("certificate = \"certs/server.pem\", key = \"certs/server.key\", {more}"));
    check("", &with_ca("client_ca = \"certs/empty\""), "listener.x.tls.client_ca", "no certificate in it");
    check("", &with_ca("client_ca = \"certs\""), "listener.x.tls.client_ca", "is not a file");
    check("", &with_ca("client_crl = \"certs/empty\""), "listener.x.tls.client_crl", "needs `client_ca`");
    let crl = |file: &str| with_ca(&format!("client_ca = \"certs/partners-ca.pem\", client_crl = \"certs/{file}\""));
    check("", &crl("empty"), "listener.x.tls.client_crl", "no list in it");
    check("", &crl("none.pem"), "listener.x.tls.client_crl", "no such file");
    check("", &with_ca("client_certificate = \"required\""), "listener.x.tls.client_certificate", "needs `client_ca`");
}

#[test]
fn names_and_addresses_are_not_given_twice() {
    let same = "[[listener]]\nname = \"p\"\naddress = \"127.0.0.1:0\"\nfacing = \"inside\"";
    check("", same, "listener.p.name", "another listener has this name");
    let folder = Folder::new();
    let text =
        format!("{}[admin]\naddress = \"127.0.0.1:7\"\n", listener("address = \"127.0.0.1:7\"\nfacing = \"inside\"\n"));
    check_all(&folder, &text, &[("tidegate.toml:3:11", "listener.x.address", "`admin` listens on 127.0.0.1:7, too")]);
}

#[test]
fn an_upstream_is_a_plain_url_and_its_credential_is_never_in_the_file() {
    let url = |url: &str, part: &str| check("[upstream.o]", &format!("url = \"{url}\""), "upstream.o.url", part);
    url("ftp://a", "must begin with");
    url("a", "must begin with");
    url("http://", "not a URL");
    url("http://me:canary@a", "give the credential as one of `headers`");
    url("http://a/?x=1", "has a query or fragment");
    url("http://a/#x", "has a query or fragment");
    let plain = "[upstream.o]\nurl = \"http://a\"";
    check(plain, "ca = \"certs/partners-ca.pem\"", "upstream.o.ca", "has no effect on `http`");
    let key = "upstream.o.headers.authorization";
    let header =
        |value: &str, key: &str, part: &str| check(plain, &format!("headers.authorization = {value}"), key, part);
    header("\"Bearer canary\"", key, "never written in the settings");
    header("{}", key, "either `env` or `file`");
    header("{ env = \"A\", file = \"certs/token\" }", key, "either `env` or `file`");
    header("{ env = \"NOT_SET\" }", &format!("{key}.env"), "the variable `NOT_SET` is not set");
    header("{ file = \"certs/loose.key\" }", &format!("{key}.file"), "can be read by others");
    header("{ env = \"A\", value = \"canary\" }", &format!("{key}.value"), "keys here are `env` and `file`");
    check(plain, "headers.host = { file = \"certs/token\" }", "upstream.o.headers.host", "always Tidegate's own");
    check(plain, "headers.\"a b\" = { file = \"certs/token\" }", "upstream.o.headers.a b", "is no header name");
    check("", "[upstream.Orders]\nurl = \"http://a\"", "upstream.Orders", "a name is 1 to 128");
    let twice = "headers.X-A = { file = \"certs/token\" }\nheaders.x-a = { file = \"certs/token\" }";
    check(plain, twice, "upstream.o.headers.x-a", "written twice");
}

#[test]
fn no_complaint_repeats_a_credential() {
    let folder = Folder::new();
    let text = format!(
        "{SMALLEST}[upstream.o]\nurl = \"http://me:canary@h/?canary\"\n\
         headers = {{ a = \"canary\", b = {{ value = \"canary\" }}, c = {{ env = \"C\" }}, d = [\"canary\"] }}\n"
    );
    let complaints = folder.load(&text, &[("C", "canary\nx")], &[]).map(drop).unwrap_err();
    assert!(complaints.len() >= 5, "{complaints:#?}");
    assert!(!render(&complaints).contains("canary"), "{complaints:#?}");
}

#[test]
fn the_environment_lies_over_the_file_and_the_command_line_over_both() {
    let folder = Folder::new();
    let text = format!(
        "{SMALLEST}[upstream.my-orders]\nurl = \"http://file\"\n[limits]\nstreams = 1\nhead_fields = 1\nratio = 1\n"
    );
    let settings = folder
        .load(
            &text,
            &[
                ("TIDEGATE_LIMITS__STREAMS", "2"),
                ("TIDEGATE_LIMITS__HEAD_FIELDS", "2"),
                ("TIDEGATE_UPSTREAM__MY_ORDERS__URL", "http://environment"),
                ("TIDEGATE_UPSTREAM__NEW__URL", "http://new"),
                ("TIDEGATE_UPSTREAM__NEW__HEADERS__X_KEY__FILE", "certs/token"),
                ("TIDEGATE_LISTENER__P__ADDRESS", "127.0.0.1:5"),
                ("TIDEGATE_POLICIES", "elsewhere"),
                ("TIDEGATE_PORT_8443_TCP", "tcp://10.0.0.1:8443"),
                ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
                ("OTHER__THING", "1"),
            ],
            &["limits.streams=3", "upstream.\"new\".http2=true", "listener.0.facing=inside", "limits.body = 1GiB"],
        )
        .unwrap();
    let listener = &settings.listeners[0];
    let limits = listener.listener.limits;
    assert_eq!((limits.streams, limits.head_fields, settings.body.ratio), (3, 2, 1));
    assert_eq!((listener.listener.address.port(), listener.facing), (5, Facing::Inside));
    assert_eq!(settings.policies, folder.0.path().join("elsewhere"));
    let url = |name: &str| settings.upstreams[&UpstreamId::parse(name).unwrap()].url.to_string();
    assert_eq!((url("my-orders"), url("new")), ("http://environment/".into(), "http://new/".into()));
    assert!(settings.upstreams[&UpstreamId::parse("new").unwrap()].http2);
    assert_eq!(settings.body.body_bytes, 1 << 30);
}

#[test]
fn overrides_are_complained_of_where_they_come_from() {
    let folder = Folder::new();
    let check = |variable: (&str, &str), set: &str, expected: (&str, &str, &str)| {
        let environment = if variable.0.is_empty() { vec![] } else { vec![variable] };
        let set = if set.is_empty() { vec![] } else { vec![set] };
        let complaints = folder.load(SMALLEST, &environment, &set).map(drop).unwrap_err();
        let [complaint] = &complaints[..] else { panic!("{complaints:#?}") };
        assert_eq!((complaint.place.as_str(), complaint.key.as_str()), (expected.0, expected.1), "{complaint}");
        assert!(complaint.to_string().contains(expected.2), "{complaint}");
    };
    let none = ("", "");
    check(
        ("TIDEGATE_LIMITS__STREAM", "1"),
        "",
        ("TIDEGATE_LIMITS__STREAM", "limits.stream", "did you mean `streams`?"),
    );
    check(
        ("TIDEGATE_LIMITS__STREAMS", "x"),
        "",
        ("TIDEGATE_LIMITS__STREAMS", "limits.streams", "a whole number, found `x`"),
    );
    check(
        ("TIDEGATE_LISTENER__Q__NAME", "x"),
        "",
        ("TIDEGATE_LISTENER__Q__NAME", "listener.q", "no listener of this name"),
    );
    check(none, "limits", ("--set limits", "limits", "--set KEY=VALUE"));
    check(none, "limits=1", ("--set limits", "limits", "is a table"));
    check(none, "upstream=1", ("--set upstream", "upstream", "is a table"));
    check(none, "listener=1", ("--set listener", "listener", "is a list"));
    check(none, "limits.streams.x=1", ("--set limits.streams.x", "limits.streams.x", "no such key"));
    check(
        none,
        "ledger.durability=strickt",
        ("--set ledger.durability", "ledger.durability", "did you mean `strict`?"),
    );
    check(none, "=1", ("--set ", "", "no such key"));
}

#[test]
fn the_documentation_has_every_key_with_its_default() {
    let text = include_str!("../../docs/settings.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('|').trim()).collect())
        .collect();
    let mut documented: Vec<String> = Vec::new();
    for key in file::KEYS {
        let name = key.path.replace("[]", "").replacen(".*", ".NAME", 1).replace(".*", ".HEADER");
        let default = match key.default {
            file::Unwritten::Required => "must be written".to_owned(),
            file::Unwritten::Absent => "none".to_owned(),
            file::Unwritten::As(text) => format!("`{text}`"),
        };
        let row = rows.iter().find(|row| row[0] == format!("`{name}`"));
        let row = row.unwrap_or_else(|| panic!("`{name}` is not in docs/settings.md"));
        assert_eq!(row[1], default, "the default of `{name}` in docs/settings.md");
        assert!(row[2..].iter().all(|cell| cell.len() > 10), "`{name}`: meaning and reason");
        documented.push(format!("`{name}`"));
    }
    for row in &rows {
        assert!(documented.iter().any(|name| name == row[0]), "{} of docs/settings.md is no key", row[0]);
    }
}
