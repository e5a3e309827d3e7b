//! Policies that change while exchanges run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::harness::policy::Policy;
use super::harness::upstream::Upstream;
use super::harness::{Tidegate, pki, spawn, until};
use super::samples::SMALL;

const BODY: &str = r#"{"open": "yes", "new": "too", "secret": "<secret>"}"#;

/// [`SMALL`] with one field more.
fn wider() -> String {
    SMALL.replace("\"$.open\"", "\"$.open\", \"$.new\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_under_500_requests_a_second_fails_none_and_comes_into_force() {
    let upstream = Upstream::json(BODY).start().await;
    let policy = Policy::of("parcelo", SMALL);
    let tidegate = Tidegate::with(policy.clone()).upstream("orders", &upstream).start().await;
    let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), Vec::new());
    for _ in 0..10 {
        let (partner, stop) = (tidegate.partner("parcelo"), Arc::clone(&stop));
        clients.push(tokio::spawn(async move {
            // 50 a second each.
            let mut line = partner.connect().await.unwrap();
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            let (mut old, mut new) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                tick.tick().await;
                let reply = line.send("GET", "/v1/small", None).await.expect("no request may fail");
                assert_eq!(reply.status, 200, "{reply:?}");
                match reply.json() {
                    body if body == json!({"open": "yes"}) => {
                        old += 1;
                        assert_eq!(new, 0, "the old policy may not come back");
                    }
                    body if body == json!({"open": "yes", "new": "too"}) => new += 1,
                    body => panic!("a mixture: {body}"),
                }
            }
            (old, new)
        }));
    }
    assert!(until(async || upstream.received().len() > 500).await);
    // The folder is watched: nobody calls for a reload.
    tidegate.write_policy(&policy.routes(&wider()));
    let partner = tidegate.partner("parcelo");
    assert!(
        until(async || partner.get("/v1/small").await.json().get("new").is_some()).await,
        "the edit is not in force"
    );
    let seen = upstream.received().len();
    assert!(until(async || upstream.received().len() > seen + 500).await);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let (old, new) = client.await.unwrap();
        assert!(old > 0 && new > 0, "{old} {new}");
    }
}

#[tokio::test]
async fn a_broken_edit_leaves_the_old_rules_in_force_and_says_so() {
    let upstream = Upstream::json(BODY).start().await;
    let policy = Policy::of("parcelo", SMALL);
    let tidegate = Tidegate::with(policy.clone()).upstream("orders", &upstream).start().await;
    let (_, metrics) = tidegate.admin("/metrics").await;
    assert!(metrics.contains("tidegate_policy_complaints 0"), "{metrics}");

    tidegate.write_policy(&policy.clone().routes(&SMALL.replace("keep =", "keeep =")));
    assert!(
        until(async || tidegate.admin("/readyz").await.1.contains("failed")).await,
        "{:?}",
        tidegate.admin("/readyz").await
    );
    let reply = tidegate.partner("parcelo").get("/v1/small").await;
    assert_eq!(reply.json(), json!({"open": "yes"}), "the old rule is in force");
    let (status, _) = tidegate.admin("/readyz").await;
    assert_eq!(status, 200, "it still serves");
    let (_, metrics) = tidegate.admin("/metrics").await;
    assert!(!metrics.contains("tidegate_policy_complaints 0"), "{metrics}");
    assert!(tidegate.logs().contains("keeep"), "the log names what is wrong");

    tidegate.write_policy(&policy.routes(&wider()));
    let partner = tidegate.partner("parcelo");
    assert!(until(async || partner.get("/v1/small").await.json().get("new").is_some()).await);
    assert!(until(async || !tidegate.admin("/readyz").await.1.contains("failed")).await);
}

#[tokio::test]
async fn a_policy_that_goes_takes_its_partner_along() {
    let upstream = Upstream::json(BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL))
        .and(Policy::of("admira", SMALL))
        .upstream("orders", &upstream)
        .start()
        .await;
    assert_eq!(tidegate.partner("admira").get("/v1/small").await.status, 200);
    std::fs::remove_file(tidegate.ground().folder.path().join("policies/admira.toml")).unwrap();
    tidegate.reload().await.unwrap();
    assert_eq!(tidegate.partner("admira").get("/v1/small").await.refusal().0, 401);
    assert_eq!(tidegate.partner("parcelo").get("/v1/small").await.status, 200);
}

#[tokio::test]
async fn a_proxy_does_not_start_on_a_policy_that_does_not_compile() {
    let broken = Policy::of("parcelo", &SMALL.replace("$.open", "$..["));
    let upstream = Upstream::json(BODY).start().await;
    let error = Tidegate::with(broken).upstream("orders", &upstream).try_start().await.err().expect("no start");
    assert!(error.contains("parcelo.toml"), "{error}");
}

#[tokio::test]
async fn a_proxy_does_not_start_on_a_route_to_an_upstream_that_is_not_there() {
    let upstream = Upstream::json(BODY).start().await;
    let started = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("other", &upstream).try_start().await;
    let error = started.err().expect("no start");
    assert!(error.contains("orders"), "{error}");
}

/// Speaks TLS before an upstream, and takes only who shows a certificate of ours.
async fn tls_before(upstream: &Upstream) -> std::net::SocketAddr {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let ours = pki::OURS.server("localhost");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki::OURS.certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let chain = CertificateDer::pem_slice_iter(ours.certificate.as_bytes()).map(Result::unwrap).collect();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(ours.key.as_bytes()).unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let behind = upstream.url().trim_start_matches("http://").to_owned();
    spawn(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(stream).await else { return };
                    let mut far = tokio::net::TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        address
    })
    .await
}

#[tokio::test]
async fn authorities_and_certificates_towards_an_upstream_are_read_again() {
    let upstream = Upstream::json(BODY).start().await;
    let address = tls_before(&upstream).await;
    // `ours.pem` is a server's certificate: the upstream takes none such from a client.
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL))
        .upstream("orders", &upstream)
        .set(&format!("upstream.orders.url=https://localhost:{}", address.port()))
        .set("upstream.orders.ca=certs/admira-ca.pem")
        .set("upstream.orders.client_certificate.certificate=certs/ours.pem")
        .set("upstream.orders.client_certificate.key=certs/ours.key")
        .start()
        .await;
    let certs = tidegate.ground().folder.path().join("certs");
    let write = |name: &str, text: &str| std::fs::write(certs.join(name), text).unwrap();
    let partner = tidegate.partner("parcelo");
    assert_eq!(partner.get("/v1/small").await.refusal(), (502, "upstream_unreachable".to_owned()), "not its authority");
    write("admira-ca.pem", &pki::OURS.certificate);
    let client = pki::OURS.client("tidegate");
    tidegate.reload().await.unwrap();
    assert_eq!(partner.get("/v1/small").await.status, 502, "not a client's certificate");
    // The listeners have these files, too; they take a client's certificate for what it is.
    write("ours.pem", &client.certificate);
    write("ours.key", &client.key);
    tidegate.reload().await.unwrap();
    assert_eq!(partner.get("/v1/small").await.status, 200);
    write("admira-ca.pem", "nonsense");
    let error = tidegate.reload().await.unwrap_err();
    assert!(error.contains("upstream `orders`") && error.contains("admira-ca.pem"), "{error}");
    assert!(tidegate.logs().contains("the old ones stay"));
    assert_eq!(partner.get("/v1/small").await.status, 200, "what was read last and was good is in force");
}
