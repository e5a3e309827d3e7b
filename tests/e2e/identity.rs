//! Who may call: certificate, key, token; wrong, missing, expired, doubled.

use serde_json::json;

use super::harness::partner::Partner;
use super::harness::policy::Policy;
use super::harness::upstream::Upstream;
use super::harness::{Tidegate, pki};
use super::samples::{SMALL, SMALL_BODY};

const CERTIFICATE: &str = r#"client_certificate = { san = "*.parcelo.example", ca = "certs/parcelo-ca.pem" }"#;
const API_KEY: &str = r#"api_key = { header = "x-api-key", sha256 = ["@key@"] }"#;
const JWT: &str = r#"jwt = { issuer = "https://id.parcelo.example", audience = "orders", algorithms = ["ES256"], claims = { azp = "parcelo" }, jwks = "certs/jwks.json" }"#;

/// 2026-06-01T00:00:00Z, at which the tests of this file happen.
const NOW: u64 = 1_780_272_000;

async fn proxy(identify: &str) -> Tidegate {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let parcelo = Policy::of("parcelo", SMALL).identify(identify);
    let admira = Policy::of("admira", SMALL).identify(
        "client_certificate = { san = \"gate.admira.example\", ca = \"certs/admira-ca.pem\" }\n\
         api_key = { header = \"x-api-key\", sha256 = [\"@key@\"] }",
    );
    let builder = Tidegate::with(parcelo).and(admira).upstream("orders", &upstream);
    builder.at("2026-06-01T00:00:00Z").start().await
}

async fn check(partner: &Partner, expected: Result<(), (u16, &str)>) {
    let reply = partner.get("/v1/small").await;
    match expected {
        Ok(()) => assert_eq!((reply.status, reply.json()), (200, json!({"open": "yes"})), "{reply:?}"),
        Err((status, code)) => assert_eq!(reply.refusal(), (status, code.to_owned())),
    }
}

#[tokio::test]
async fn a_client_certificate_names_its_partner() {
    let tidegate = proxy(CERTIFICATE).await;
    let parcelo = tidegate.partner("parcelo").without_key();
    check(&parcelo.clone().certificate(&pki::PARCELO.client("gate.parcelo.example")), Ok(())).await;
    check(&parcelo.clone().http2().certificate(&pki::PARCELO.client("gate.parcelo.example")), Ok(())).await;
    check(&parcelo.clone().secure(), Err((401, "credential_missing"))).await;
    check(&parcelo, Err((401, "credential_missing"))).await;
    // Of the right authority with another name; of another partner's authority with the right name.
    for wrong in [
        pki::PARCELO.client("gate.admira.example"),
        pki::PARCELO.client("a.b.parcelo.example"),
        pki::PARCELO.client("parcelo.example"),
        pki::ADMIRA.client("gate.parcelo.example"),
    ] {
        check(&parcelo.clone().certificate(&wrong), Err((401, "credential_wrong"))).await;
    }
}

#[tokio::test]
async fn a_certificate_of_nobody_we_know_or_out_of_date_ends_in_the_handshake() {
    let tidegate = proxy(CERTIFICATE).await;
    let parcelo = tidegate.partner("parcelo").without_key();
    for wrong in [
        pki::STRANGER.client("gate.parcelo.example"),
        pki::PARCELO.expired_client("gate.parcelo.example"),
        pki::PARCELO.server("gate.parcelo.example"),
    ] {
        // TLS 1.3 tells the client after the handshake: at the first request.
        match parcelo.clone().certificate(&wrong).connect().await {
            Err(_) => {}
            Ok(mut line) => assert!(line.send("GET", "/v1/small", None).await.is_err()),
        }
    }
}

#[tokio::test]
async fn an_api_key_names_its_partner() {
    let tidegate = proxy(API_KEY).await;
    let parcelo = tidegate.partner("parcelo");
    check(&parcelo, Ok(())).await;
    check(&parcelo.clone().secure(), Ok(())).await;
    check(&parcelo.clone().http2(), Ok(())).await;
    check(&parcelo.clone().without_key(), Err((401, "credential_missing"))).await;
    for wrong in ["", "nonsense", "0000000000000000000000000000000000000000000000000000000000000000"] {
        check(&parcelo.clone().without_key().header("x-api-key", wrong), Err((401, "credential_wrong"))).await;
    }
    // Twice, though the same.
    check(&parcelo.clone().key_twice(), Err((403, "credentials_disagree"))).await;
}

#[tokio::test]
async fn a_key_is_not_sent_on_even_in_a_header_that_passes_by_default() {
    for header in ["user-agent", "idempotency-key", "accept"] {
        let upstream = Upstream::json(SMALL_BODY).start().await;
        let policy = Policy::of("parcelo", SMALL);
        let policy = policy.identify(&API_KEY.replace("x-api-key", header));
        let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
        let partner = tidegate.partner("parcelo");
        let key = partner.key().to_owned();
        check(&partner.without_key().header(header, &key), Ok(())).await;
        let sent = upstream.last();
        assert!(sent.headers.values().all(|value| value.as_bytes() != key.as_bytes()), "{header}: {sent:?}");
    }
}

#[tokio::test]
async fn a_token_names_its_partner() {
    let tidegate = proxy(JWT).await;
    let parcelo = tidegate.partner("parcelo").without_key();
    let claims = |changes: serde_json::Value| {
        let mut claims = json!({
            "iss": "https://id.parcelo.example", "aud": "orders", "azp": "parcelo", "sub": "gate",
            "iat": NOW - 10, "exp": NOW + 300,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let token = |changes| pki::TOKENS.token(&claims(changes));
    let good = token(json!({}));
    check(&parcelo.clone().bearer(&good), Ok(())).await;
    check(&parcelo.clone().bearer(&token(json!({"aud": ["orders", "other"]}))), Ok(())).await;
    check(&parcelo, Err((401, "credential_missing"))).await;

    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
    let (body, signature) = good.rsplit_once('.').unwrap();
    let last = if signature.starts_with('A') { "B" } else { "A" };
    let bent = format!("{body}.{last}{}", &signature[1..]);
    for wrong in [
        token(json!({"iss": "https://id.admira.example"})),
        token(json!({"aud": "payments"})),
        token(json!({"azp": "admira"})),
        token(json!({"azp": null})),
        token(json!({"exp": NOW - 3600})),
        token(json!({"exp": null})),
        token(json!({"nbf": NOW + 3600})),
        pki::FORGED_TOKENS.token(&claims(json!({}))),
        unsigned,
        bent,
        "nonsense".to_owned(),
        String::new(),
    ] {
        check(&parcelo.clone().bearer(&wrong), Err((401, "credential_wrong"))).await;
    }
    check(&parcelo.clone().header("authorization", "Basic cGFyY2Vsbzp4"), Err((401, "credential_wrong"))).await;
    check(&parcelo.clone().bearer(&good).bearer(&good), Err((403, "credentials_disagree"))).await;
}

#[tokio::test]
async fn partners_of_one_issuer_are_told_apart_by_their_claims() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let policy =
        |id: &str| Policy::of(id, SMALL).identify(&JWT.replace("azp = \"parcelo\"", &format!("azp = \"{id}\"")));
    let builder = ["admira", "brevo"].into_iter().fold(Tidegate::with(policy("parcelo")), |b, id| b.and(policy(id)));
    let tidegate = builder.upstream("orders", &upstream).at("2026-06-01T00:00:00Z").start().await;
    let token = |azp: &str| json!({"iss": "https://id.parcelo.example", "aud": "orders", "azp": azp, "exp": NOW + 300});
    let partner = tidegate.partner("parcelo").without_key();
    for id in ["parcelo", "admira", "brevo"] {
        check(&partner.clone().bearer(&pki::TOKENS.token(&token(id))), Ok(())).await;
        assert_eq!(tidegate.record().last().unwrap()["partner"], id);
        let forged = partner.clone().bearer(&pki::FORGED_TOKENS.token(&token(id)));
        check(&forged, Err((401, "credential_wrong"))).await;
    }
    let nobody = partner.clone().bearer(&pki::TOKENS.token(&token("nobody")));
    check(&nobody, Err((401, "credential_wrong"))).await;
}

#[tokio::test]
async fn a_token_expires_while_the_proxy_runs() {
    let tidegate = proxy(JWT).await;
    let claims = json!({
        "iss": "https://id.parcelo.example", "aud": "orders", "azp": "parcelo", "exp": NOW + 300,
    });
    let parcelo = tidegate.partner("parcelo").without_key().bearer(&pki::TOKENS.token(&claims));
    check(&parcelo, Ok(())).await;
    tidegate.set_time("2026-06-01T01:00:00Z");
    check(&parcelo, Err((401, "credential_wrong"))).await;
}

#[tokio::test]
async fn credentials_that_name_two_partners_are_refused() {
    let tidegate = proxy(&format!("{CERTIFICATE}\n{API_KEY}")).await;
    let certificate = pki::PARCELO.client("gate.parcelo.example");
    check(&tidegate.partner("parcelo").certificate(&certificate), Ok(())).await;
    check(&tidegate.partner("admira").certificate(&certificate), Err((403, "credentials_disagree"))).await;
    // One that verifies does not make up for one that does not.
    let mixed = tidegate.partner("parcelo").without_key().header("x-api-key", "nonsense").certificate(&certificate);
    check(&mixed, Err((401, "credential_wrong"))).await;
}

#[tokio::test]
async fn several_credentials_are_demanded_where_the_policy_says_so() {
    let require = "require = [\"client_certificate\", \"api_key\"]";
    let tidegate = proxy(&format!("{require}\n{CERTIFICATE}\n{API_KEY}")).await;
    let certificate = pki::PARCELO.client("gate.parcelo.example");
    check(&tidegate.partner("parcelo").certificate(&certificate), Ok(())).await;
    check(&tidegate.partner("parcelo"), Err((401, "credential_incomplete"))).await;
    check(&tidegate.partner("parcelo").without_key().certificate(&certificate), Err((401, "credential_incomplete")))
        .await;
}

#[tokio::test]
async fn an_agreement_ends_with_its_last_day() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let policy = Policy::of("parcelo", SMALL).agreement("expires = 2026-06-30");
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).at("2026-06-30T23:59:59Z").start().await;
    check(&tidegate.partner("parcelo"), Ok(())).await;
    tidegate.set_time("2026-07-01T00:00:00Z");
    check(&tidegate.partner("parcelo"), Err((403, "agreement_expired"))).await;
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn a_suspended_agreement_shares_nothing() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let policy = Policy::of("parcelo", SMALL).agreement("suspended = true");
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
    check(&tidegate.partner("parcelo"), Err((403, "agreement_suspended"))).await;
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn who_brings_no_credential_is_told_the_kinds_and_nothing_of_partners() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let header = "api_key = { header = \"x-parcelo-key\", sha256 = [\"@key@\"] }";
    for (identify, kinds) in [
        (header.to_owned(), "ApiKey realm=\"tidegate\""),
        (JWT.to_owned(), "Bearer realm=\"tidegate\""),
        (format!("{header}\n{JWT}"), "Bearer realm=\"tidegate\", ApiKey realm=\"tidegate\""),
    ] {
        let policy = Policy::of("parcelo", SMALL).identify(&identify);
        let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
        let reply = tidegate.partner("parcelo").without_key().get("/v1/small").await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, kinds));
        assert!(!format!("{reply:?}").contains("parcelo"), "{reply:?}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_token_that_was_good_once_is_refused_when_it_expires_and_when_its_key_is_taken_away() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let policy = Policy::of("parcelo", SMALL).identify(JWT);
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).at("2027-01-01T00:00:00Z").start().await;
    let claims = |expires: u64| {
        let (issuer, audience) = ("https://id.parcelo.example", "orders");
        pki::TOKENS.token(&json!({"iss": issuer, "aud": audience, "azp": "parcelo", "exp": expires}))
    };
    let caller = |token: &str| tidegate.partner("parcelo").without_key().bearer(token);
    let (short, long) = (claims(1_798_761_600 + 60), claims(1_798_761_600 + 86_400));
    for _ in 0..3 {
        assert_eq!(caller(&short).get("/v1/small").await.status, 200);
        assert_eq!(caller(&long).get("/v1/small").await.status, 200);
    }
    tidegate.set_time("2027-01-01T00:02:00Z");
    assert_eq!(caller(&short).get("/v1/small").await.refusal(), (401, "credential_wrong".to_owned()));
    assert_eq!(caller(&long).get("/v1/small").await.status, 200);
    let jwks = tidegate.ground().folder.path().join("certs/jwks.json");
    std::fs::write(jwks, pki::FORGED_TOKENS.jwks()).unwrap();
    tidegate.reload().await.unwrap();
    assert_eq!(caller(&long).get("/v1/small").await.refusal(), (401, "credential_wrong".to_owned()));
}
