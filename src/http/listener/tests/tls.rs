//! Listeners with TLS: protocols by ALPN, client certificates, resumption, reload.

use std::future::pending;

use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::http::testing::{Authority, Issued, authority};

struct Certificates {
    folder: TempDir,
    ours: Authority,
    partners: Authority,
}

impl Certificates {
    fn new() -> Self {
        let this =
            Self { folder: tempfile::tempdir().unwrap(), ours: authority("ours"), partners: authority("partners") };
        this.ours.write_self(this.folder.path(), "ours-ca");
        this.partners.write_self(this.folder.path(), "partners-ca");
        this.renew("localhost");
        this
    }

    fn renew(&self, name: &str) {
        self.ours.write(self.folder.path(), "server", &self.ours.issue_for_servers(&[name]));
    }

    fn settings(&self, client_ca: bool, required: bool, limits: ConnectionLimits) -> Settings {
        let file = |name: &str| self.folder.path().join(name);
        let tls = Tls {
            certificate: file("server.pem"),
            key: file("server.key"),
            client_ca: client_ca.then(|| file("partners-ca.pem")),
            client_crl: None,
            client_certificate_required: required,
        };
        Settings { tls: Some(tls), ..plain(limits) }
    }

    fn client(&self, shown: Option<&Authority>, alpn: &[&str]) -> TlsConnector {
        let issued = shown.map(|authority| (authority, authority.issue(&["api.northwind.example"])));
        self.client_with(issued.as_ref(), alpn)
    }

    fn client_with(&self, shown: Option<&(&Authority, Issued)>, alpn: &[&str]) -> TlsConnector {
        let folder = self.folder.path();
        let shown = shown.map(|(authority, pair)| authority.write(folder, "client", pair));
        let identity = shown.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let (mut config, _) = trust::client_config(Some(&folder.join("ours-ca.pem")), identity).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

async fn connect(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// One request on a TLS connection; empty where the server refused in the handshake.
async fn over_tls(connector: &TlsConnector, address: SocketAddr) -> String {
    let Ok(mut stream) = connect(connector, address).await else { return String::new() };
    // With TLS 1.3 the client believes in the connection before the server has looked at its certificate.
    let _ = stream.write_all(GET).await;
    read_to_close(&mut stream).await
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let certificates = Certificates::new();
    let listener = echo(certificates.settings(false, false, LIMITS)).await;
    let stream = connect(&certificates.client(None, &["h2", "http/1.1"]), listener.address()).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut send, _) = h2(stream).await;
    assert_eq!(body(send.send_request(get()).await.unwrap()).await, "HTTP/2.0 true None");
    for alpn in [&["http/1.1"][..], &[]] {
        let answer = over_tls(&certificates.client(None, alpn), listener.address()).await;
        assert!(answer.ends_with("HTTP/1.1 true None"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_certificate_counts_only_from_its_own_authority() {
    let certificates = Certificates::new();
    for required in [false, true] {
        let listener = echo(certificates.settings(true, required, LIMITS)).await;
        let ask = async |shown| over_tls(&certificates.client(shown, &[]), listener.address()).await;
        let named = "HTTP/1.1 true Some(\"api.northwind.example\")";
        assert!(ask(Some(&certificates.partners)).await.ends_with(named), "shown");
        assert_eq!(ask(Some(&certificates.ours)).await, "", "of another authority");
        let none = ask(None).await;
        assert_eq!(none.ends_with("HTTP/1.1 true None"), !required, "none: {none}");
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_from_the_reload_on_that_reads_the_list() {
    let certificates = Certificates::new();
    let list = certificates.folder.path().join("crl.pem");
    let partners = &certificates.partners;
    let (good, bad) = (partners.issue(&["api.northwind.example"]), partners.issue(&["api.northwind.example"]));
    std::fs::write(&list, partners.revokes(&[], false)).unwrap();
    let mut settings = certificates.settings(true, false, LIMITS);
    settings.tls.as_mut().unwrap().client_crl = Some(list.clone());
    let listener = echo(settings).await;
    let (good, bad) = ((partners, good), (partners, bad));
    let served =
        async |shown| !over_tls(&certificates.client_with(Some(shown), &[]), listener.address()).await.is_empty();
    assert!(served(&good).await && served(&bad).await);

    let old = connect(&certificates.client_with(Some(&bad), &["h2"]), listener.address()).await.unwrap();
    let (mut send, ended) = h2(old).await;
    assert_eq!(send.send_request(get()).await.unwrap().status(), 200);
    std::fs::write(&list, partners.revokes(&[&bad.1.0], false)).unwrap();
    listener.reload().unwrap();
    tokio::time::timeout(PATIENCE, ended).await.expect("the open connection of the revoked one ends").unwrap();
    assert!(served(&good).await && !served(&bad).await);

    std::fs::write(&list, "nonsense").unwrap();
    assert!(listener.reload().is_err());
    assert!(!served(&bad).await, "a list that cannot be read leaves the old one in place");
    std::fs::write(&list, partners.revokes(&[], true)).unwrap();
    listener.reload().unwrap();
    assert!(!served(&good).await, "a list that has ended says nothing of anybody");
    std::fs::write(&list, certificates.ours.revokes(&[], false)).unwrap();
    listener.reload().unwrap();
    assert!(!served(&good).await, "nor does one of another authority");
    let none = over_tls(&certificates.client_with(None, &[]), listener.address()).await;
    assert!(none.ends_with("HTTP/1.1 true None"), "{none}");
}

#[tokio::test]
async fn a_listener_that_takes_client_certificates_resumes_no_session() {
    let certificates = Certificates::new();
    for (client_ca, expected) in [(true, rustls::HandshakeKind::Full), (false, rustls::HandshakeKind::Resumed)] {
        let listener = echo(certificates.settings(client_ca, false, LIMITS)).await;
        let connector = certificates.client(Some(&certificates.partners), &[]);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = connect(&connector, listener.address()).await.unwrap();
            stream.write_all(GET).await.unwrap();
            read_to_close(&mut stream).await;
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        // The first may need a second round for its key exchange.
        assert_eq!(kinds[1], expected, "client CA: {client_ca}");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_shake_hands_is_cut() {
    let certificates = Certificates::new();
    let listener = echo(certificates.settings(false, false, ConnectionLimits { handshake: SHORT, ..LIMITS })).await;
    assert_eq!(raw(listener.address(), b"").await, "");
    assert_eq!(raw(listener.address(), &[22, 3, 1]).await, "");
}

#[tokio::test]
async fn a_reload_takes_the_new_certificate_and_ends_old_connections() {
    let certificates = Certificates::new();
    let listener = echo(certificates.settings(false, false, LIMITS)).await;
    let connector = certificates.client(None, &["h2"]);
    let old = connect(&connector, listener.address()).await.unwrap();
    let serial = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let before = serial(&old);
    let (mut send, ended) = h2(old).await;
    assert_eq!(send.send_request(get()).await.unwrap().status(), 200);

    std::fs::write(certificates.folder.path().join("server.key"), "no key").unwrap();
    assert!(listener.reload().is_err());
    assert_eq!(send.send_request(get()).await.unwrap().status(), 200, "a reload that fails changes nothing");

    certificates.renew("localhost");
    listener.reload().unwrap();
    tokio::time::timeout(PATIENCE, ended).await.expect("old connection ended").unwrap();
    assert_ne!(serial(&connect(&connector, listener.address()).await.unwrap()), before);
}

#[tokio::test]
async fn what_keeps_a_listener_from_starting_is_said() {
    let certificates = Certificates::new();
    let check = async |settings: Settings, expected: &str| {
        let service = Arc::new(Fun(|_, _| -> Answering { Box::pin(pending()) }));
        let error = Listener::start(settings, service).await.map(drop).unwrap_err().to_string();
        assert!(error.starts_with("listener `test`: ") && error.contains(expected), "{error}");
    };
    let taken = echo(plain(LIMITS)).await;
    check(Settings { address: taken.address(), ..plain(LIMITS) }, "cannot listen on").await;
    let with = |change: fn(&mut Tls)| {
        let mut settings = certificates.settings(true, true, LIMITS);
        change(settings.tls.as_mut().unwrap());
        settings
    };
    check(with(|tls| tls.certificate.set_file_name("none.pem")), "no such file").await;
    check(with(|tls| tls.key = tls.certificate.clone()), "can be read by others").await;
    check(with(|tls| tls.client_ca.as_mut().unwrap().set_file_name("server.key")), "no certificate in it").await;
    check(with(|tls| tls.certificate.set_file_name("ours-ca.pem")), "is not the key of the certificate").await;
}
