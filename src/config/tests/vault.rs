//! `[vault]`: kinds of store, and what each needs.

use super::*;
use crate::vault::store::password::Password;
use crate::vault::store::postgres::{Settings as Postgres, Tls};

/// A table of this, and what comes of it.
fn postgres(lines: &str, environment: &[(&str, &str)]) -> (Postgres, Folder) {
    let folder = Folder::new();
    let text = format!("{SMALLEST}[vault]\nkind = \"postgres\"\ntime = \"3s\"\n[vault.postgres]\n{lines}\n");
    let vault = folder.load(&text, environment, &[]).unwrap().vault.unwrap();
    let Kind::Postgres(postgres) = vault.kind else { panic!("{:?}", vault.kind) };
    assert_eq!((vault.time, postgres.time, postgres.patience), (secs(3), secs(3), secs(30)));
    (postgres, folder)
}

#[test]
fn a_server_has_defaults_for_all_but_where_it_is() {
    let (settings, _) = postgres("url = \"postgres://tidegate@db.internal/vault\"", &[]);
    assert!(matches!(&settings.tls, Tls::Verified { ca: None, identity: None }), "{settings:?}");
    assert_eq!((settings.connections, settings.connect), (2, secs(2)));
    assert!(settings.password.is_none() && format!("{:?}", settings.address).contains("db.internal:5432"));
}

#[test]
fn a_servers_password_is_in_a_variable_or_a_file_and_never_shown() {
    let url = "url = \"postgres://tidegate@a:5433,b/vault\"\n";
    let (settings, _) = postgres(&format!("{url}password = {{ env = \"PG\" }}"), &[("PG", "canary-password\n")]);
    let Some(Password::Here(password)) = &settings.password else { panic!("{settings:?}") };
    assert!(password.expose_secret() == "canary-password" && !format!("{settings:?}").contains("canary"));
    let (settings, folder) = postgres(&format!("{url}password = {{ file = \"certs/token\" }}"), &[]);
    let Some(Password::File(file)) = settings.password else { panic!("{settings:?}") };
    assert_eq!(file, folder.0.path().join("certs/token"));
}

#[test]
fn what_leaves_the_machine_is_protected_unless_the_settings_say_otherwise() {
    let tls = |lines: &str| postgres(lines, &[]).0.tls;
    let url = |host: &str| format!("url = \"postgres://t@{host}/v\"\n");
    for host in ["localhost", "127.0.0.1:5433", "[::1]", "%2Frun%2Fpostgresql"] {
        assert!(matches!(tls(&url(host)), Tls::Off), "{host}");
    }
    for host in ["db", "localhost,db", "10.0.0.1"] {
        assert!(matches!(tls(&url(host)), Tls::Verified { .. }), "{host}");
    }
    assert!(matches!(tls(&format!("{}danger_plain_text = true", url("db"))), Tls::Off));
    let ca = format!("{}ca = \"certs/partners-ca.pem\"", url("localhost"));
    assert!(matches!(tls(&ca), Tls::Verified { ca: Some(_), identity: None }));
    let shown = "client_certificate = { certificate = \"certs/server.pem\", key = \"certs/server.key\" }";
    assert!(matches!(tls(&format!("{}{shown}", url("db"))), Tls::Verified { ca: None, identity: Some(_) }));
}

#[test]
fn what_does_not_belong_to_the_kind_is_complained_of() {
    check(
        "[vault]",
        "postgres = { url = \"postgres://t@a/v\" }",
        "vault.postgres",
        "has no effect where the kind is `embedded`",
    );
    check("[vault]", "kind = \"postgres\"", "vault.kind", "nothing says where that is");
    let both = "[vault]\nkind = \"postgres\"\npostgres = { url = \"postgres://t@a/v\" }";
    check(both, "cache = \"64MiB\"", "vault.cache", "has no effect where the kind is `postgres`");
    check(both, "cache = \"64MiB\"", "vault.cache", "write `kind = \"embedded\"`, or leave it out");
}

#[test]
fn all_that_is_wrong_with_a_server_is_said_at_once_and_without_its_password() {
    let text = r#"[vault]
kind = "postgres"
[vault.postgres]
url = "postgres://tidegate:canary@db/vault"
password = { env = "NONE" }
ca = "certs/none.pem"
client_certificate = { certificate = "certs/server.pem", key = "certs/other.key" }
connections = 0
host = "db"
"#;
    let expected = [
        ("tidegate.toml:8:7", "vault.postgres.url", "give it as `password`"),
        ("tidegate.toml:9:20", "vault.postgres.password.env", "the variable `NONE` is not set"),
        ("tidegate.toml:10:6", "vault.postgres.ca", "no such file"),
        ("tidegate.toml:11:64", "vault.postgres.client_certificate.key", "is not the key of the certificate"),
        ("tidegate.toml:12:15", "vault.postgres.connections", "must be from 1 to 100"),
        ("tidegate.toml:13:1", "vault.postgres.host", "no such key"),
    ];
    check_all(&Folder::new(), &format!("{SMALLEST}{text}"), &expected);
    let lines = [
        ("password = { file = \"certs/loose.key\" }", "password.file", "can be read by others"),
        ("password = { env = \"A\", file = \"certs/token\" }", "password", "expected either `env` or `file`"),
        ("ca = \"certs/partners-ca.pem\"\ndanger_plain_text = true", "ca", "has no effect without TLS"),
    ];
    for (line, key, part) in lines {
        let section = "[vault]\nkind = \"postgres\"\n[vault.postgres]\nurl = \"postgres://t@db/v\"";
        check(section, line, &format!("vault.postgres.{key}"), part);
    }
    let section = "[vault]\nkind = \"postgres\"\n[vault.postgres]\nurl = \"postgres://t@%2Frun/v\"";
    check(section, "ca = \"certs/partners-ca.pem\"", "vault.postgres.ca", "has no effect on a socket");
}
