//! `tidegate check` and `tidegate explain`, by their command lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::ffi::OsString;
use std::path::Path;

use tidegate::cli::{self, Exit};

/// Runs a command; colours are taken out.
fn tidegate(args: &[&str]) -> (Exit, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = cli::run(["tidegate"].iter().chain(args).map(OsString::from), &mut out, &mut err);
    (exit, plain(&out), plain(&err))
}

fn plain(bytes: &[u8]) -> String {
    anstream::adapter::strip_str(std::str::from_utf8(bytes).unwrap()).to_string()
}

fn case(name: &str) -> String {
    format!("{}/tests/diagnostics/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

const TODAY: [&str; 2] = ["--today", "2026-06-01"];

#[test]
fn a_policy_without_fault_is_clean() {
    let (exit, out, err) = tidegate(&["check", &case("P054"), TODAY[0], TODAY[1], "--deny-warnings"]);
    assert_eq!((exit, err.as_str()), (Exit::Clean, ""), "{out}");
    assert!(out.starts_with("note[P054]") && out.ends_with("1 of 1 policy usable: 4 notes\n"), "{out}");
}

#[test]
fn warnings_are_findings_only_where_they_are_denied() {
    let args = ["check", &case("P038"), TODAY[0], TODAY[1]];
    assert_eq!(tidegate(&args).0, Exit::Clean);
    assert_eq!(tidegate(&[args.as_slice(), &["--deny-warnings"]].concat()).0, Exit::Findings);
}

#[test]
fn errors_are_findings_with_place_and_remedy() {
    let (exit, out, _) = tidegate(&["check", &case("P042"), TODAY[0], TODAY[1]]);
    assert_eq!(exit, Exit::Findings);
    assert!(out.contains("P042.toml:20:25") && out.contains("help: did you mean `drop`?"), "{out}");
    assert!(out.ends_with("0 of 1 policy usable: 3 errors\n"), "{out}");
}

#[test]
fn what_cannot_be_read_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(tidegate(&["check", &path("nowhere.toml")]).0, Exit::Unusable);
    let (exit, out, err) = tidegate(&["check", &path(".")]);
    assert_eq!((exit, out.as_str()), (Exit::Unusable, ""));
    assert!(err.contains("no policy file"), "{err}");
    std::fs::write(path("latin.toml"), b"# \xe9").unwrap();
    assert_eq!(tidegate(&["check", &path("latin.toml")]).0, Exit::Unusable);
    std::fs::write(path("large.toml"), vec![b'#'; (4 << 20) + 1]).unwrap();
    assert_eq!(tidegate(&["check", &path("large.toml")]).0, Exit::Unusable);
}

#[test]
fn complaints_are_written_for_machines_too() {
    let of = |format: &str| tidegate(&["check", &case("P042"), TODAY[0], TODAY[1], "--format", format]).1;
    let json: serde_json::Value = serde_json::from_str(&of("json")).unwrap();
    let first = &json[0];
    assert_eq!((&first["code"], &first["line"], &first["column"]), (&"P042".into(), &20.into(), &25.into()));
    assert_eq!((&first["end_column"], &first["severity"]), (&33.into(), &"error".into()));
    let sarif: serde_json::Value = serde_json::from_str(&of("sarif")).unwrap();
    let results = &sarif["runs"][0]["results"];
    assert_eq!(results.as_array().unwrap().len(), 3);
    assert_eq!(results[0]["locations"][0]["physicalLocation"]["region"]["startLine"], 20);
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"], "P042");
    let github = of("github");
    let line = "::error file=FILE,line=20,endLine=20,col=25,title=P042::rule: unknown action `remove`%0Ahelp: did you";
    assert!(github.starts_with(&line.replace("FILE", &case("P042"))), "{github}");
}

#[test]
fn with_the_settings_upstreams_and_named_files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(tidegate(&["init", &path("")]).0, Exit::Clean);
    let check = || tidegate(&["check", "--config", &path("tidegate.toml"), TODAY[0], TODAY[1]]);
    let (exit, out, err) = check();
    assert_eq!((exit, err.as_str()), (Exit::Clean, ""), "{out}");
    for name in ["P070", "P071"] {
        std::fs::copy(case(name), path(&format!("policies/{name}.toml"))).unwrap();
        let (exit, out, _) = check();
        assert_eq!(exit, Exit::Findings);
        assert!(out.contains(&format!("error[{name}]")), "{out}");
        std::fs::remove_file(path(&format!("policies/{name}.toml"))).unwrap();
    }
    assert_eq!(tidegate(&["check", "--config", &path("nowhere.toml")]).0, Exit::Unusable);
}

#[test]
fn with_the_settings_keys_are_looked_at_and_none_is_made() {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tidegate::ids::DomainId;
    use tidegate::keys::{self, KeyRing};

    let ground = tempfile::tempdir().unwrap();
    let path = |name: &str| ground.path().join(name);
    assert_eq!(tidegate(&["init", &path("").display().to_string()]).0, Exit::Clean);
    let settings = path("tidegate.toml").display().to_string();
    let check = || {
        let before = fs::read_dir(ground.path()).unwrap().count();
        let (exit, out, err) = tidegate(&["check", "--config", &settings, TODAY[0], TODAY[1]]);
        assert_eq!((err.as_str(), fs::read_dir(ground.path()).unwrap().count()), ("", before));
        (exit, out)
    };
    let wrong = |says: &[&str]| {
        let (exit, out) = check();
        assert_eq!(exit, Exit::Findings, "{out}");
        assert_eq!(out.matches("error[P072]").count(), says.len(), "{out}");
        // Terminals may break lines anywhere.
        let flat = |text: &str| text.split_whitespace().collect::<String>();
        assert!(says.iter().all(|says| flat(&out).contains(&flat(says))), "{out}");
        assert!(out.contains("1 of 1 policy usable"), "{out}");
    };
    let anew = || {
        fs::remove_dir_all(path("keys")).unwrap();
        keys::init(&path("keys")).unwrap();
        let ring = KeyRing::open(&path("keys")).unwrap();
        ring.epochs(&DomainId::parse("parcelo").unwrap()).unwrap();
        ring.rotate(&DomainId::parse("parcelo").unwrap(), false).unwrap();
    };
    let chmod = |name: &str, mode| fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    let cut = |name: &str| fs::write(path(name), &fs::read(path(name)).unwrap()[..60]).unwrap();

    assert_eq!(check().0, Exit::Clean, "no domain yet, and none was made");
    anew();
    assert_eq!(check().0, Exit::Clean);
    chmod("keys", 0o755);
    wrong(&["mode 0755 lets others in"]);
    chmod("keys", 0o700);
    chmod("keys/root.key", 0o640);
    wrong(&["mode 0640 lets others in"]);
    chmod("keys/root.key", 0o600);
    chmod("keys/parcelo@1.key", 0o604);
    cut("keys/parcelo@2.key");
    fs::write(path("keys/notes.txt"), "").unwrap();
    chmod("keys/notes.txt", 0o600);
    wrong(&["mode 0604 lets others in", "not a domain secret file, or damaged", "does not belong in a key folder"]);
    anew();
    for gone in ["parcelo@1.key", "parcelo@2.key"] {
        let kept = fs::read(path("keys").join(gone)).unwrap();
        fs::remove_file(path("keys").join(gone)).unwrap();
        wrong(&[&format!("Restore `{gone}` from the backup")]);
        fs::write(path("keys").join(gone), kept).unwrap();
        chmod(&format!("keys/{gone}"), 0o600);
    }
    KeyRing::open(&path("keys")).unwrap().destroy(&DomainId::parse("parcelo").unwrap(), None, None).unwrap();
    assert_eq!(check().0, Exit::Clean);
    fs::write(path("keys/parcelo@2.destroyed"), "").unwrap();
    wrong(&["not a record of a destroyed domain file, or damaged"]);
    fs::remove_file(path("keys/parcelo@2.destroyed")).unwrap();
    anew();
    cut("keys/root.key");
    wrong(&["not a root key file, or damaged"]);
    fs::remove_file(path("keys/root.key")).unwrap();
    wrong(&["there is no root key here"]);
    fs::remove_dir_all(path("keys")).unwrap();
    wrong(&["there is no key folder here"]);
    assert!(!path("keys").exists(), "nothing is made");
}

#[test]
fn with_the_settings_the_store_is_looked_at_and_not_opened() {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tidegate::vault::store::embedded::{Embedded, Settings};

    let ground = tempfile::tempdir().unwrap();
    let path = |name: &str| ground.path().join(name);
    assert_eq!(tidegate(&["init", &path("").display().to_string()]).0, Exit::Clean);
    let settings = path("tidegate.toml");
    fs::write(&settings, fs::read_to_string(&settings).unwrap() + "\n[vault]\n").unwrap();
    let check = || tidegate(&["check", "--config", &settings.display().to_string(), TODAY[0], TODAY[1]]);
    let flat = |text: &str| text.split_whitespace().collect::<String>();
    let wrong = |says: &str| {
        let (exit, out, _) = check();
        assert_eq!((exit, out.matches("error[P073]").count()), (Exit::Findings, 1), "{out}");
        assert!(flat(&out).contains(&flat(says)), "{out}");
    };
    assert_eq!(check().0, Exit::Clean, "no store yet, and none is made");
    assert!(!path("vault").exists());
    let store = Settings { folder: path("vault"), cache_bytes: 1 << 16, patience: std::time::Duration::from_secs(20) };
    let open = Embedded::open(&store).unwrap();
    assert_eq!(check().0, Exit::Clean, "also where a program has it open");
    drop(open);
    let keys = path("vault/value-keys");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    wrong("mode 0644 lets others in");
    // It waits until the one before has closed.
    assert!(Embedded::open(&store).unwrap_err().to_string().contains("mode 0644 lets others in"));
    let kept = [fs::read(&keys).unwrap(), vec![0; 64]].concat();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&keys, "").unwrap();
    wrong("it does not read: put back the newest copy of it");
    fs::remove_file(&keys).unwrap();
    wrong("there is no such file, and without it no value");
    fs::write(&keys, kept).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(check().0, Exit::Clean);
    fs::rename(path("vault/tables"), path("away")).unwrap();
    wrong("it has keys of a store whose tables are not here");
    // The settings of the store that it is moved to.
    fs::rename(path("away"), path("vault/tables")).unwrap();
    fs::write(&settings, fs::read_to_string(&settings).unwrap() + "to = \"other.toml\"\n").unwrap();
    wrong("`vault.to`: error: no such file");
}

const POLICY: &str = r#"
[partner]
id = "p"
name = "P"
countries = ["DE"]
purpose = "test"
[agreement]
reference = "r"
[identify]
api_key = { header = "x-api-key", sha256 = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"] }
[[inbound]]
match = "GET /orders/{id}"
upstream = "orders"
[inbound.request]
reveal = [{ path = "$.ref", is = "id", plain = "pass" }]
[inbound.response]
keep = ["$.total", "$.items[?@.open].sku", "$.items[*].open"]
fields = [
  { path = "$.id", is = "id", do = "tokenize" },
  { path = "$.mail", is = "mail", do = "tokenize", as = "email" },
  { path = "$.account", do = "tokenize", as = "digits" },
  { path = "$.phone", do = "mask", keep_last = 2 },
  { path = "$.born", is = "birth", do = "generalize", to = "year" },
  { path = "$.who", do = "pseudonymize" },
  { path = "$.gone", do = "null" },
  { path = "$.note", do = "replace", with = ["x"] },
  { path = "$.event", inside = "base64", keep = ["$.kind"], fields = [{ path = "$.json", inside = "json", default = "keep", reason = "ours", fields = [{ path = "$.who", do = "drop" }] }] },
  { header = "x-who", do = "drop" },
  { path = "$.raw", inside = "form", keep = ["a"], fields = [{ form = "m", is = "mail", do = "tokenize" }] },
]
[[outbound]]
match = "GET /none"
upstream = "none"
[[inbound]]
match = "GET /lines"
upstream = "orders"
[inbound.response]
body = "ndjson"
keep = ["$.n"]
[[inbound]]
match = "GET /events"
upstream = "orders"
[inbound.response]
body = "sse"
literals = ["[DONE]"]
keep = ["$.n"]
fields = [{ event = "id", do = "keep" }]
[[inbound]]
match = "GET /form"
upstream = "orders"
[inbound.response]
body = "form"
keep = ["street"]
fields = [{ form = "phone", do = "mask", keep_last = 2 }]
[[inbound]]
match = "GET /parts"
upstream = "orders"
[inbound.response]
body = "multipart"
keep = ["city"]
fields = [{ part = "order", path = "$.id", is = "id", do = "tokenize" }]
"#;

fn explain(document: &str, more: &[&str]) -> (Exit, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let policy = POLICY.replace("purpose", "hosts = [\"p.internal\"]\npurpose");
    std::fs::write(path("p.toml"), policy).unwrap();
    std::fs::write(path("d.json"), document).unwrap();
    let (document, policy) = (path("d.json"), path("p.toml"));
    let (exit, out, err) = tidegate(&[&["explain", &document, "--policy", &policy], more].concat());
    (exit, out.replace(&folder.path().display().to_string(), "."), err)
}

/// The row of a place: its cells.
#[track_caller]
fn row(out: &str, place: &str) -> Vec<String> {
    let line =
        out.lines().find(|line| line.split("  ").next() == Some(place)).unwrap_or_else(|| panic!("{place}\n{out}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

#[test]
fn explain_says_for_every_leaf_what_leaves_and_why() {
    let document = r#"{"id":"7","mail":"a@b","account":"1234567","phone":"0301234567","born":"1984-02-03","who":1,"gone":{"a":1},
        "note":2,"total":1.50,"new":{"deep":true},"items":[{"sku":"A","open":true},{"sku":"B"}],"vip":true,
        "event":"eyJraW5kIjoiayIsImpzb24iOiJ7XCJhXCI6MSxcIndob1wiOjJ9IiwieCI6e319","raw":"x&a=%41&m=b"}"#;
    let (exit, out, err) = explain(document, &["--route", "GET /orders/{id}"]);
    assert_eq!((exit, err.as_str()), (Exit::Clean, ""), "{out}");
    for (place, cells) in [
        ("$['id']", &["id", "tokenize id (./p.toml:20)", "\"<token>\""] as &[&str]),
        ("$['mail']", &["mail", "tokenize mail (./p.toml:21)", "\"<token:email>\""]),
        ("$['account']", &["tokenize account (./p.toml:22)", "\"<token:digits>\""]),
        ("$['phone']", &["mask phone (./p.toml:23)", "\"******67\""]),
        ("$['born']", &["birth", "generalize born (./p.toml:24)", "\"1984\""]),
        ("$['who']", &["pseudonymize who (./p.toml:25)", "\"<pseudonym>\""]),
        ("$['gone']", &["null gone (./p.toml:26)", "null"]),
        ("$['note']", &["replace note (./p.toml:27)", "[\"x\"]"]),
        ("$['total']", &["keep total (./p.toml:18)", "1.50"]),
        ("$['new']['deep']", &["(default: drop)", "-"]),
        ("$['items'][0]['sku']", &["keep items.sku (./p.toml:18)", "\"A\""]),
        ("$['items'][1]['sku']", &["(default: drop)", "-"]),
        ("$['vip']", &["(default: drop)", "-"]),
        ("$['event']", &["inside event (./p.toml:28)", "\"eyJraW5kIjoiayIsImpzb24iOiJ7XCJhXCI6MX0ifQ==\""]),
        ("$['event'] > $['kind']", &["keep event.kind (./p.toml:28)", "\"k\""]),
        ("$['event'] > $['json']", &["inside event.json (./p.toml:28)", r#""{\"a\":1}""#]),
        ("$['event'] > $['json'] > $['a']", &["(default: keep)", "1"]),
        ("$['event'] > $['json'] > $['who']", &["drop event.json.who (./p.toml:28)", "-"]),
        ("$['event'] > $['x']", &["(default: drop)", "-"]),
        ("$['raw']", &["inside raw (./p.toml:30)", "\"a=%41&m=%3Ctoken%3E\""]),
        ("$['raw'] > form x", &["(default: drop)", "-"]),
        ("$['raw'] > form a", &["keep raw.form.a (./p.toml:30)", "\"A\""]),
        ("$['raw'] > form m", &["mail", "tokenize raw.form.m (./p.toml:30)", "\"<token>\""]),
    ] {
        assert_eq!(row(&out, place)[1..], *cells, "{place}\n{out}");
    }
    assert!(
        out.contains("items.sku (./p.toml:18) holds one element at a time to decide (at most 1048576 bytes): $.items[?@.open].sku"),
        "{out}"
    );
    assert!(
        out.contains("event (./p.toml:28) holds each string, at most 65536 bytes, to open it: base64, json"),
        "{out}"
    );
    assert!(out.contains("header x-who: drop (./p.toml:29)"), "{out}");
}

#[test]
fn explain_takes_a_request_for_a_route_and_any_leg() {
    let (exit, out, _) = explain("{\"ref\": \"tk1_x\", \"n\": 1}", &["-r", "GET /orders/7", "--leg", "request"]);
    assert_eq!(exit, Exit::Clean);
    assert_eq!(row(&out, "$['ref']")[1..], ["id", "reveal ref (./p.toml:16)", "\"<revealed:id>\""]);
    assert_eq!(row(&out, "$['n']")[1..], ["(default: keep)", "1"]);
}

#[test]
fn explain_reads_lines_as_traffic_does_up_to_the_fault() {
    let (exit, out, _) = explain("{\"n\": 1, \"m\": 2}\r\n\n{\"n\": 3}\n", &["-r", "GET /lines"]);
    assert_eq!(exit, Exit::Clean);
    assert_eq!(row(&out, "line 1: $['m']")[1..], ["(default: drop)", "-"]);
    assert_eq!(row(&out, "line 3: $['n']").last().unwrap(), "3");
    let (exit, out, _) = explain("{\"n\": 1}\n{\"n\": 1}\r{}", &["-r", "GET /lines"]);
    assert_eq!((exit, row(&out, "line 1: $['n']").len()), (Exit::Findings, 3));
    assert!(out.contains("the stream is cut off: a carriage return inside a line, byte 17, line 2"), "{out}");
}

#[test]
fn explain_reads_events_as_traffic_does() {
    let body = "id: 1\ndata: {\"n\":\ndata: 1, \"m\": 2}\n\nevent: x\ndata: {}\n\ndata: [DONE]\n\n";
    let (exit, out, _) = explain(body, &["-r", "GET /events"]);
    assert_eq!(exit, Exit::Clean);
    assert_eq!(row(&out, "event 1: $['m']")[1..], ["(default: drop)", "-"]);
    assert_eq!(row(&out, "event 2 (x)").last().unwrap(), "-");
    assert_eq!(row(&out, "event 3 (message)").last().unwrap(), "[DONE]");
    assert!(out.contains("event id: keep (./p.toml:"), "{out}");
    let (exit, out, _) = explain("data: {\n\n", &["-r", "GET /events"]);
    assert!(exit == Exit::Findings && out.contains("the stream is cut off: event 1: "), "{out}");
}

#[test]
fn explain_reads_forms_as_traffic_does() {
    let (exit, out, _) = explain("street=a+b&phone=0301234567&n=1", &["-r", "GET /form"]);
    assert_eq!(exit, Exit::Clean);
    assert_eq!(row(&out, "form street").last().unwrap(), "\"a b\"");
    assert_eq!(row(&out, "form phone").last().unwrap(), "\"******67\"");
    assert_eq!(row(&out, "form n")[1..], ["(default: drop)", "-"]);
    let (exit, out, _) = explain("street=%", &["-r", "GET /form"]);
    assert!(exit == Exit::Findings && out.contains("the document is refused: a malformed escape"), "{out}");
}

#[test]
fn explain_reads_parts_as_traffic_does() {
    let part =
        |name: &str, content: &str| format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{content}\r\n");
    let body = [part("city", "Ulm"), part("order", "{\"id\":\"7\",\"m\":1}"), part("x", "1")].concat();
    let (exit, out, _) = explain(&format!("{body}--b--"), &["-r", "GET /parts"]);
    assert_eq!(exit, Exit::Clean, "{out}");
    assert_eq!(row(&out, "part city").last().unwrap(), "\"Ulm\"");
    assert_eq!(row(&out, "part order: $['id']").last().unwrap(), "\"<token>\"");
    assert_eq!(row(&out, "part x")[1..], ["(default: drop)", "-"]);
    let (exit, out, _) = explain(&body, &["-r", "GET /parts"]);
    assert!(exit == Exit::Findings && out.contains("the document is refused: a body that ends too early"), "{out}");
}

#[test]
fn explain_refuses_what_traffic_refuses() {
    let (exit, out, _) = explain("{\"id\": 1,}", &["-r", "GET /orders/7"]);
    assert_eq!(exit, Exit::Findings);
    assert!(out.contains("the document is refused"), "{out}");
    let (_, out, _) = explain(r#"{"event": "e30", "id": 1}"#, &["-r", "GET /orders/7"]);
    assert!(!out.contains("refused"), "{out}");
    let (exit, out, _) = explain(r#"{"event": "eyJqc29uIjoie30sIn0="}"#, &["-r", "GET /orders/7"]);
    assert_eq!(exit, Exit::Findings);
    assert!(out.contains("rule `event.json` cannot open a string: bytes after the document at $"), "{out}");
    let (exit, out, err) = explain("{}", &["-r", "GET /other"]);
    assert_eq!((exit, out.as_str()), (Exit::Unusable, ""));
    assert!(err.contains("GET /orders/{id}") && err.contains("GET /none"), "{err}");
    assert_eq!(explain("{}", &["-r", "GET /orders/7", "--leg", "error"]).0, Exit::Unusable);
    assert!(
        !Path::new("nowhere").exists() && tidegate(&["explain", "nowhere", "-p", &case("P054")]).0 == Exit::Unusable
    );
}
