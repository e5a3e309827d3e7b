//! What operators do with a running proxy: ask how it is, drain it, and what happens when its disk is full.

use serde_json::json;

use super::harness::policy::Policy;
use super::harness::process::Process;
use super::harness::upstream::Upstream;
use super::harness::{Tidegate, until};
use super::samples::{SMALL, SMALL_BODY};

#[tokio::test]
async fn the_admin_listener_tells_how_it_is() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    assert_eq!(tidegate.admin("/livez").await.0, 200);
    assert_eq!(tidegate.admin("/readyz").await.0, 200);
    assert_eq!(tidegate.admin("/v1/small").await.0, 404);
    assert_eq!(tidegate.partner("parcelo").get("/v1/small").await.status, 200);
    let (status, metrics) = tidegate.admin("/metrics").await;
    assert_eq!(status, 200);
    let counted =
        metrics.lines().find(|line| line.starts_with("tidegate_exchanges_total{") && line.contains("delivered"));
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{metrics}");
    // What a stranger can choose is in no label.
    for stranger in ["/v1/mystery", "/v1/small?mystery=1"] {
        tidegate.partner("parcelo").header("x-mystery", "mystery").get(stranger).await;
    }
    assert!(!tidegate.admin("/metrics").await.1.contains("mystery"));
    assert!(!tidegate.logs().contains("mystery"));
}

#[tokio::test]
async fn a_drain_lets_open_exchanges_end() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::with(move |_, canaries| {
        let _ = tokio::task::block_in_place(|| gate.lock().unwrap().recv());
        super::harness::upstream::answer(
            200,
            "application/json",
            super::harness::upstream::full(canaries.plant(SMALL_BODY)),
        )
    })
    .start()
    .await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo");
    let open = tokio::spawn({
        let partner = partner.clone();
        async move { partner.get("/v1/small").await }
    });
    assert!(until(async || upstream.received().len() == 1).await);
    let stopping = tokio::spawn(tidegate.stop());
    // New connections are refused now, or answered with a refusal.
    let refused = until(async || match partner.connect().await {
        Err(_) => true,
        Ok(mut line) => match line.send("GET", "/v1/small", None).await {
            Err(_) => true,
            Ok(reply) => reply.refusal() == (503, "draining".to_owned()),
        },
    });
    assert!(refused.await);
    release.send(()).unwrap();
    let reply = open.await.unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!({"open": "yes"})));
    assert!(stopping.await.unwrap(), "everything ended by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_term_signal_drains_the_program() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let ground = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).ground();
    let mut process = Process::start(&ground).await;
    let reply = process.partner(&ground, "parcelo").get("/v1/small").await;
    assert_eq!(reply.json(), json!({"open": "yes"}));
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0), "{}", process.log());
    assert_eq!(
        ground.record().iter().filter(|entry| entry["exchange"] == reply.header("tidegate-exchange")).count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_written_stops_all_sharing() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let ground = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).ground();
    // Files of this process end at 16 blocks: the disk is full, as far as it can tell.
    let process = Process::start_with(&ground, "ulimit -f 16; trap '' XFSZ;").await;
    let partner = process.partner(&ground, "parcelo");
    let (mut delivered, mut refused) = (Vec::new(), 0);
    for _ in 0..400 {
        let reply = partner.get("/v1/small").await;
        if reply.status == 200 {
            assert_eq!(refused, 0, "nothing may leave after the first failure");
            delivered.push(reply.header("tidegate-exchange").to_owned());
        } else {
            assert_eq!(reply.refusal(), (503, "ledger_unavailable".to_owned()));
            assert!(!reply.header("retry-after").is_empty());
            refused += 1;
            if refused == 5 {
                break;
            }
        }
    }
    assert!(refused == 5 && !delivered.is_empty(), "{refused} {}", process.log());
    let record = ground.record();
    for exchange in delivered {
        assert!(record.iter().any(|entry| entry["exchange"] == exchange.as_str()), "{exchange} left without an entry");
    }
    assert_eq!(process.admin("/readyz").await.0, 503);
}
