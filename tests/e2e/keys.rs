//! Rotations and the end of domains, under traffic and in several processes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tidegate::ids::DomainId;
use tidegate::keys::{Epoch, KeyRing};

use super::harness::partner::Partner;
use super::harness::policy::Policy;
use super::harness::upstream::Upstream;
use super::harness::{Tidegate, until};
use super::samples::{COURIER, ORDER};

fn parcelo() -> DomainId {
    DomainId::parse("parcelo").unwrap()
}

/// Another process with the same keys, such as `tidegate keys`.
fn ring(tidegate: &Tidegate) -> KeyRing {
    KeyRing::open(&tidegate.ground().settings_file().with_file_name("keys")).unwrap()
}

async fn courier(upstream: &Upstream) -> Tidegate {
    let builder = Tidegate::with(Policy::of("parcelo", COURIER));
    builder.upstream("orders", upstream).may_see("parcelo", &["status"]).start().await
}

/// The tokens of order and customer that the partner gets now.
async fn tokens(partner: &Partner) -> (String, String) {
    let seen = partner.get("/v1/orders").await.json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&seen["id"]), text(&seen["customer"]["id"]))
}

/// Sends both back; the status.
async fn send_back(partner: &Partner, (order, customer): &(String, String)) -> u16 {
    let body = json!({"event": "delivered", "customer_ref": customer}).to_string();
    partner.post(&format!("/v1/orders/{order}/events"), &body).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_under_traffic_fail_nothing_and_old_and_new_tokens_are_turned_back() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = courier(&upstream).await;
    let first = tokens(&tidegate.partner("parcelo")).await;
    let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), Vec::new());
    for _ in 0..4 {
        let (partner, stop, first) = (tidegate.partner("parcelo"), Arc::clone(&stop), first.clone());
        clients.push(tokio::spawn(async move {
            let mut begins = HashSet::new();
            while !stop.load(Ordering::Relaxed) {
                let now = tokens(&partner).await;
                begins.insert(now.0[..9].to_owned());
                assert_eq!(send_back(&partner, &now).await, 200, "what was issued just now");
                assert_eq!(send_back(&partner, &first).await, 200, "what was issued at first");
            }
            begins
        }));
    }
    let ring = ring(&tidegate);
    for _ in 0..3 {
        let before = tokens(&tidegate.partner("parcelo")).await;
        ring.rotate(&parcelo(), false).unwrap();
        // The folder is watched: nobody calls for a reload.
        assert!(until(async || tokens(&tidegate.partner("parcelo")).await.0[..9] != before.0[..9]).await);
    }
    stop.store(true, Ordering::Relaxed);
    let mut begins = HashSet::new();
    for client in clients {
        begins.extend(client.await.unwrap());
    }
    assert!(begins.len() >= 3, "{begins:?}");
    let (sent, canary) = (upstream.last(), upstream.canary("order"));
    assert_eq!(sent.target, format!("/v1/orders/{canary}/events"));
    assert_eq!(sent.json(), json!({"event": "delivered", "customer_ref": upstream.canary("customer")}));
}

#[tokio::test]
async fn two_programs_with_one_folder_turn_each_others_tokens_back_whoever_was_told_first() {
    let upstream = Upstream::json(ORDER).start().await;
    let first = courier(&upstream).await;
    let folder = first.ground().settings_file().with_file_name("keys");
    let policy = Policy::of("parcelo", COURIER);
    let builder = Tidegate::with(policy).set(&format!("keys.folder={}", folder.display()));
    let second = builder.upstream("orders", &upstream).may_see("parcelo", &["status"]).start().await;
    let (one, other) = (first.partner("parcelo"), second.partner("parcelo"));
    assert_eq!(tokens(&one).await, tokens(&other).await);
    let old = tokens(&one).await;
    ring(&first).rotate(&parcelo(), false).unwrap();
    first.reload().await.unwrap();
    let new = tokens(&one).await;
    assert_ne!(new, old);
    // The second may or may not have noticed.
    assert_eq!((send_back(&other, &new).await, send_back(&other, &old).await), (200, 200));
    second.reload().await.unwrap();
    assert_eq!(tokens(&other).await, new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_tokens_of_an_epoch_are_all_turned_back_however_many_come_at_once() {
    let upstream = Upstream::json(ORDER).start().await;
    let first = courier(&upstream).await;
    let folder = first.ground().settings_file().with_file_name("keys");
    let builder = Tidegate::with(Policy::of("parcelo", COURIER)).set(&format!("keys.folder={}", folder.display()));
    let second = builder.upstream("orders", &upstream).may_see("parcelo", &["status"]).start().await;
    ring(&first).rotate(&parcelo(), false).unwrap();
    first.reload().await.unwrap();
    let fresh = tokens(&first.partner("parcelo")).await;
    let send =
        |partner: Partner, fresh: (String, String)| tokio::spawn(async move { send_back(&partner, &fresh).await });
    for _ in 0..8 {
        let eight: Vec<_> = (0..8).map(|_| send(second.partner("parcelo"), fresh.clone())).collect();
        for sent in eight {
            assert_eq!(sent.await.unwrap(), 200);
        }
    }
}

#[tokio::test]
async fn what_is_destroyed_is_dead_text_and_its_partner_gets_nothing_until_a_new_beginning() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = courier(&upstream).await;
    let (partner, ring) = (tidegate.partner("parcelo"), ring(&tidegate));
    let old = tokens(&partner).await;
    ring.rotate(&parcelo(), false).unwrap();
    tidegate.reload().await.unwrap();
    let new = tokens(&partner).await;
    ring.destroy(&parcelo(), Some(Epoch::FIRST), None).unwrap();
    tidegate.reload().await.unwrap();
    assert_eq!((send_back(&partner, &old).await, send_back(&partner, &new).await), (422, 200));
    ring.destroy(&parcelo(), None, None).unwrap();
    // The folder is watched.
    let suspended = (403, "agreement_suspended".to_owned());
    assert!(until(async || partner.get("/v1/orders").await.status == 403).await);
    assert_eq!(partner.get("/v1/orders").await.refusal(), suspended);
    assert_eq!(send_back(&partner, &new).await, 403);
    assert!(tidegate.logs().contains("nothing is shared with this partner: its keys are destroyed"));
    ring.rotate(&parcelo(), true).unwrap();
    tidegate.reload().await.unwrap();
    let anew = tokens(&partner).await;
    assert_eq!(send_back(&partner, &anew).await, 200);
    assert_eq!((send_back(&partner, &old).await, send_back(&partner, &new).await), (422, 422));
}
