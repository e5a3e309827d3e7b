//! `[vault.redis]`: where the servers are, and how they are reached.

use super::*;
use crate::vault::store::password::Password;
use crate::vault::store::redis::settings::{Durability, Settings as Redis};

fn load(lines: &str) -> Redis {
    let folder = Folder::new();
    let text = format!("{SMALLEST}\n[vault]\nkind = \"redis\"\n[vault.redis]\n{lines}");
    let environment = [("REDIS_PASSWORD", "open sesame")];
    let vault = folder.load(&text, &environment, &[]).unwrap().vault.unwrap();
    let Kind::Redis(redis) = vault.kind else { panic!() };
    redis
}

#[test]
fn servers_on_this_machine_are_spoken_to_in_clear_and_others_never_unless_it_is_said() {
    let check = |lines: &str, secure: bool| assert_eq!(load(lines).tls.is_some(), secure, "{lines}");
    check("url = \"redis://127.0.0.1:6379\"", false);
    check("url = \"rediss://127.0.0.1:6379\"", true);
    check("url = \"redis://127.0.0.1:6379\"\nca = \"certs/partners-ca.pem\"", true);
    check("url = \"redis://redis.internal\"", true);
    check("url = \"redis://127.0.0.1,redis.internal\"", true);
    check("url = \"redis://redis.internal\"\ndanger_plain_text = true", false);
}

#[test]
fn what_is_written_is_what_holds() {
    let plain = load("url = \"redis://localhost\"");
    assert_eq!((plain.durability, plain.replicas, plain.prefix.as_str()), (Durability::Always, None, "tidegate"));
    assert!(plain.login.is_none() && plain.password.is_none());
    let all = load(
        "url = \"redis://tidegate@localhost:1,localhost:2\"\npassword = { env = \"REDIS_PASSWORD\" }\n\
         durability = \"assured\"\nreplicas = 0\nprefix = \"other\"",
    );
    assert_eq!((all.durability, all.replicas, all.prefix.as_str()), (Durability::Assured, Some(0), "other"));
    assert_eq!((all.login.as_deref(), all.nodes.len()), (Some("tidegate"), 2));
    assert!(matches!(&all.password, Some(Password::Here(text)) if text.expose_secret() == "open sesame"));
    assert!(!format!("{all:?}").contains("sesame"));
}

#[test]
fn what_does_not_fit_is_told() {
    check("[vault]", "kind = \"redis\"", "vault.kind", "nothing says where that is");
    let below = "[vault]\nkind = \"redis\"\n[vault.redis]";
    check(below, "url = \"redis://u:open@h\"", "vault.redis.url", "has a password in it");
    check(below, "url = \"redis://u@h\"", "vault.redis.url", "names a user, and there is no password");
    let with_url = format!("{below}\nurl = \"redis://h\"");
    check(&with_url, "durability = \"everysec\"", "vault.redis.durability", "expected `always`");
    check(&with_url, "replicas = -1", "vault.redis.replicas", "");
    let plain = format!("{with_url}\ndanger_plain_text = true");
    check(&plain, "ca = \"certs/partners-ca.pem\"", "vault.redis.ca", "has no effect without TLS");
}
