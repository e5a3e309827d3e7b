//! `[keys]`: sources, and what each needs.

use super::*;
use crate::keys::source::Source;
use crate::keys::transit::{Credential, Login};

const TRANSIT: &str =
    "[keys]\nsource = \"transit\"\n[keys.transit]\nurl = \"https://bao.internal:8200\"\nkey = \"tidegate\"\n";

fn source(text: &str, environment: &[(&str, &str)], set: &[&str]) -> (Source, Folder) {
    let folder = Folder::new();
    let settings = folder.load(&format!("{SMALLEST}{text}"), environment, set).unwrap();
    assert_eq!(settings.keys.folder, folder.0.path().join("keys"));
    (settings.keys.root, folder)
}

#[test]
fn the_root_is_in_the_folder_unless_it_is_said() {
    assert!(matches!(source("", &[], &[]).0, Source::Folder));
    assert!(matches!(source("[keys]\nsource = \"folder\"\n", &[], &[]).0, Source::Folder));
}

#[test]
fn a_root_in_the_environment_is_read_from_its_variable() {
    let text = "[keys]\nsource = \"environment\"\n";
    let (root, _) = source(text, &[("TIDEGATE_ROOT_KEY", "canary-root")], &[]);
    assert!(
        matches!(&root, Source::Environment { variable, value } if variable == "TIDEGATE_ROOT_KEY" && value.expose_secret() == "canary-root")
    );
    assert!(!format!("{root:?}").contains("canary"));
    let set = ["keys.source=environment", "keys.root_env=OTHER"];
    let (root, _) = source("", &[("OTHER", "canary-root")], &set);
    assert!(matches!(root, Source::Environment { variable, .. } if variable == "OTHER"));
}

#[test]
fn a_key_service_has_defaults_for_all_but_where_and_who() {
    let text = format!("{TRANSIT}token = {{ env = \"BAO\" }}\n");
    let (Source::Transit(transit), _) = source(&text, &[("BAO", "canary-token\n")], &[]) else { panic!("transit") };
    assert_eq!((transit.mount.as_str(), transit.key.as_str(), transit.timeout), ("transit", "tidegate", secs(5)));
    assert!(matches!(&transit.login, Login::Token(Credential::Here(token)) if token.expose_secret() == "canary-token"));
    assert!(!format!("{transit:?}").contains("canary"));

    let text = format!(
        "{TRANSIT}ca = \"certs/partners-ca.pem\"\nnamespace = \"ours\"\ntimeout = \"2s\"\nmount = \"a/transit\"\n"
    );
    let text = format!("{text}[keys.transit.approle]\nrole_id = \"role\"\nsecret_id = {{ file = \"certs/token\" }}\n");
    let variable = ("TIDEGATE_KEYS__TRANSIT__APPROLE__MOUNT", "approle-2");
    let (Source::Transit(transit), folder) = source(&text, &[variable], &["keys.transit.key=other"]) else {
        panic!("transit")
    };
    let certs = folder.0.path().join("certs");
    assert_eq!((transit.mount.as_str(), transit.key.as_str(), transit.timeout), ("a/transit", "other", secs(2)));
    assert_eq!((transit.ca, transit.namespace.as_deref()), (Some(certs.join("partners-ca.pem")), Some("ours")));
    let Login::AppRole { mount, role, secret: Credential::File(file) } = transit.login else { panic!("a role") };
    assert_eq!((mount.as_str(), role.as_str(), file), ("approle-2", "role", certs.join("token")));
}

#[test]
fn what_does_not_belong_to_the_source_is_complained_of() {
    check("[keys]", "source = \"vault\"", "keys.source", "expected `folder`, `environment` or `transit`");
    check("[keys]", "root_env = \"X\"", "keys.root_env", "has no effect where the source is `folder`");
    check(
        "[keys]",
        "transit = { url = \"https://a\", key = \"k\" }",
        "keys.transit",
        "has no effect where the source is `folder`",
    );
    check("[keys]", "source = \"environment\"", "keys.root_env", "the variable `TIDEGATE_ROOT_KEY` is not set");
    check("[keys]", "source = \"transit\"", "keys.source", "nothing says where that is");
}

#[test]
fn all_that_is_wrong_with_a_key_service_is_said_at_once() {
    let text = r#"[keys]
source = "transit"
[keys.transit]
url = "http://bao.internal:8200"
mount = "/transit/../x"
ca = "certs/none.pem"
[keys.transit.approle]
secret_id = { env = "NOBODY" }
"#;
    check_all(
        &Folder::new(),
        &format!("{SMALLEST}{text}"),
        &[
            ("tidegate.toml:7:7", "keys.transit.key", "must be written"),
            ("tidegate.toml:8:7", "keys.transit.url", "secrets would cross the network for all to read"),
            ("tidegate.toml:9:9", "keys.transit.mount", "expected a path of"),
            ("tidegate.toml:10:6", "keys.transit.ca", "no such file"),
            ("tidegate.toml:10:6", "keys.transit.ca", "has no effect on `http`"),
            ("tidegate.toml:11:15", "keys.transit.approle.role_id", "must be written"),
            ("tidegate.toml:12:21", "keys.transit.approle.secret_id.env", "the variable `NOBODY` is not set"),
        ],
    );
    let both = "token = { env = \"A\" }\napprole = { role_id = \"r\", secret_id = {} }\n";
    check_all(
        &Folder::new(),
        &format!("{SMALLEST}{TRANSIT}{both}"),
        &[
            ("tidegate.toml:7:7", "keys.transit", "expected either `token` or `approle`"),
            ("tidegate.toml:11:28", "keys.transit.approle.secret_id", "expected either `env` or `file`"),
        ],
    );
    let loose = format!("{SMALLEST}{TRANSIT}token = {{ file = \"certs/loose.key\" }}\n");
    check_all(&Folder::new(), &loose, &[("tidegate.toml:10:18", "keys.transit.token.file", "can be read by others")]);
}
