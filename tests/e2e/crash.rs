//! The process is killed in the middle of its work: what a partner has received has its entry.

use std::sync::{Arc, Mutex};

use super::harness::policy::Policy;
use super::harness::process::Process;
use super::harness::upstream::{Upstream, answer, pieces};
use super::harness::{Tidegate, until};

const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/small"
upstream = "orders"
[inbound.response]
keep = ["$.open"]

[[inbound]]
match = "GET /v1/large"
upstream = "orders"
[inbound.response]
keep = ["$.items[*].open"]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_20_times_under_load_every_disclosure_that_a_partner_received_has_its_entry() {
    let upstream = Upstream::with(|received, canaries| {
        let text = if received.target == "/v1/small" {
            canaries.plant(r#"{"open":"yes","secret":"<secret>"}"#)
        } else {
            let item = canaries.plant(r#"{"open":1,"secret":"<secret>"}"#);
            format!("{{\"items\":[{}]}}", vec![item; 3_000].join(","))
        };
        let parts: Vec<_> = text.as_bytes().chunks(8_000).map(|c| Ok(bytes::Bytes::copy_from_slice(c))).collect();
        answer(200, "application/json", pieces(parts))
    })
    .start()
    .await;
    let policy = Policy::of("parcelo", ROUTES).limits("atomic = \"16KiB\"");
    let ground = Tidegate::with(policy).upstream("orders", &upstream).ground();
    let received: Arc<Mutex<Vec<String>>> = Arc::default();
    for round in 0..20_usize {
        let mut process = Process::start(&ground).await;
        let before = received.lock().unwrap().len();
        let mut clients = Vec::new();
        for client in 0..8 {
            let (partner, received) = (process.partner(&ground, "parcelo"), Arc::clone(&received));
            clients.push(tokio::spawn(async move {
                let Ok(mut line) = partner.connect().await else { return };
                let target = if client % 4 == 0 { "/v1/large" } else { "/v1/small" };
                // Until the process is gone.
                while let Ok(reply) = line.send("GET", target, None).await {
                    assert_eq!(reply.status, 200);
                    received.lock().unwrap().push(reply.header("tidegate-exchange").to_owned());
                    if !reply.complete {
                        break;
                    }
                }
            }));
        }
        assert!(until(async || received.lock().unwrap().len() > before + 20 + round).await, "{}", process.log());
        process.signal("KILL");
        process.ended().await;
        for client in clients {
            client.await.unwrap();
        }
    }
    // The last start mends what the last kill tore.
    let mut process = Process::start(&ground).await;
    process.signal("TERM");
    assert!(process.ended().await.success(), "{}", process.log());
    let entries: std::collections::BTreeSet<String> =
        ground.record().iter().filter_map(|entry| Some(entry.get("exchange")?.as_str()?.to_owned())).collect();
    let received = received.lock().unwrap();
    let missing: Vec<_> = received.iter().filter(|exchange| !entries.contains(*exchange)).collect();
    println!("{} disclosures received, {} entries", received.len(), entries.len());
    assert!(missing.is_empty(), "{} of {} without an entry: {missing:?}", missing.len(), received.len());
}
