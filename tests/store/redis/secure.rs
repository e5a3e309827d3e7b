//! TLS to a server: its certificate is verified, and ours is shown where it wants one.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tidegate::vault::store::TokenStore;
use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::redis::settings::{Settings, Tls};

use crate::entries::{entry, token};
use crate::servers::{DURABLE, Server};

use super::settings;

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// An authority `NAME.pem`, and what it has issued: `NAME-localhost.pem` with its key.
fn authority(folder: &Path, name: &str) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    write(folder, &format!("{name}.pem"), &issuer.pem());
    let key = KeyPair::generate().unwrap();
    let issued = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    write(folder, &format!("{name}-localhost.pem"), &issued.pem());
    write(folder, &format!("{name}-localhost.key"), &key.serialize_pem());
}

#[tokio::test]
async fn a_server_is_believed_by_its_certificate_alone_and_sees_ours() {
    let folder = TempDir::new().unwrap();
    authority(folder.path(), "ours");
    authority(folder.path(), "other");
    let at = |name: &str| folder.path().join(name);
    let text = |name: &str| at(name).display().to_string();
    let (ca, certificate, key) = (text("ours.pem"), text("ours-localhost.pem"), text("ours-localhost.key"));
    let options = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let client = ["--tls", "--cacert", &ca, "--cert", &certificate, "--key", &key, "-h", "localhost"];
    let server = Server::start_with(&[DURABLE, &options].concat(), &client);
    let with = |host: &str, tls: Option<Tls>| {
        let mut settings = Settings { tls, time: Duration::from_secs(2), ..settings(&[server.port], "tidegate") };
        host.clone_into(&mut settings.nodes[0].host);
        settings
    };
    let ours = |authority: &str, shown: Option<&str>| {
        let pair = |name: &str| (at(&format!("{name}-localhost.pem")), at(&format!("{name}-localhost.key")));
        Some(Tls { ca: Some(at(authority)), identity: shown.map(pair) })
    };
    let store = Redis::open(with("localhost", ours("ours.pem", Some("ours")))).await.unwrap();
    assert_eq!(store.put_if_absent(&[entry(1)]).await.unwrap(), [token(1, 0)]);
    for (host, tls) in [
        ("localhost", ours("other.pem", Some("ours"))),
        // A name that is not in its certificate.
        ("127.0.0.1", ours("ours.pem", Some("ours"))),
        // It wants to know who comes.
        ("localhost", ours("ours.pem", None)),
        ("localhost", ours("ours.pem", Some("other"))),
        ("localhost", None),
    ] {
        Redis::open(with(host, tls.clone())).await.expect_err(&format!("{host} {tls:?}"));
    }
}
