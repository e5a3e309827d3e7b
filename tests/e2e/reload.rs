//! Policies that change while exchanges run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::harness::policy::Policy;
use super::harness::upstream::Upstream;
use super::harness::{Tidegate, until};
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
