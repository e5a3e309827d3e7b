//! What operators do with a running proxy: ask how it is, drain it, and what happens when its disk is full.

use std::process::Stdio;

use serde_json::json;

use super::harness::policy::Policy;
use super::harness::process::Process;
use super::harness::trap::{LOGS, cause};
use super::harness::upstream::{Upstream, answer, full};
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
    let counted = |line: &str| {
        line.starts_with("tidegate_exchanges_total{partner=\"parcelo\"")
            && line.contains("delivered")
            && line.ends_with(" 1")
    };
    assert!(until(async || tidegate.admin("/metrics").await.1.lines().any(counted)).await);
    // What a stranger can choose is in no label.
    for stranger in ["/v1/mystery", "/v1/small?mystery=1"] {
        tidegate.partner("parcelo").header("x-mystery", "mystery").get(stranger).await;
    }
    assert!(!tidegate.admin("/metrics").await.1.contains("mystery"));
    assert!(!tidegate.logs().contains("mystery"));
}

#[tokio::test]
async fn the_leak_trap_looks_at_log_record_keys_and_metrics() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    tidegate.ground().disarm();
    assert!(tidegate.ground().findings().is_empty());
    let secret = upstream.canary("secret");
    tracing::debug!(target: "tidegate", "a slip: {}", secret.to_uppercase());
    for part in ["record", "keys"] {
        let file = tidegate.ground().folder.path().join(part).join("slip");
        std::fs::write(file, data_encoding::BASE64.encode(format!("a slip: {secret}").as_bytes())).unwrap();
    }
    tidegate.ground().trap.show("metrics", format!("tidegate_slips{{label=\"{secret}\"}} 1").as_bytes());
    let found = tidegate.ground().findings();
    for (whom, disguise) in [("log", "plain"), ("record", "base64"), ("keys", "base64"), ("metrics", "plain")] {
        let line = format!("`{whom}` was shown <secret> ({disguise})");
        assert!(found.contains(&line), "{line} in {found:?}");
    }
}

#[tokio::test]
async fn a_drain_lets_open_exchanges_end() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    // Only the first exchange waits; others may come before the drain begins.
    let gate = std::sync::Mutex::new(Some(gate));
    let upstream = Upstream::with(move |_, canaries| {
        let first = gate.lock().unwrap().take();
        let _ = first.map(|gate| tokio::task::block_in_place(|| gate.recv()));
        answer(200, "application/json", full(canaries.plant(SMALL_BODY)))
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
            Ok(reply) => {
                let cause = cause(&LOGS.since(0), reply.header("tidegate-exchange"));
                reply.status == 503 && reply.code() == "temporarily_unavailable" && cause.as_deref() == Some("draining")
            }
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

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_term_signal_is_heard_while_the_start_waits_for_the_store() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("vault.postgres.url=postgres://tidegate@{}/tidegate", silent.local_addr().unwrap());
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let builder = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).set("vault.kind=postgres");
    let ground = builder.set(&url).set("vault.postgres.danger_plain_text=true").set("vault.wait=10m").ground();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["run", "--config"]).arg(ground.settings_file());
    command.args(ground.set().iter().flat_map(|set| ["--set", set])).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    // It asks, and is not answered.
    let asked = silent.accept().await.unwrap();
    let id = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let mut ended = None;
    until(async || {
        ended = process.try_wait().unwrap();
        ended.is_some()
    })
    .await;
    drop(asked);
    let _ = process.kill();
    assert_eq!(ended.and_then(|ended| ended.code()), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_in_no_core_dump_and_locked_where_there_is_no_limit() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let ground = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).ground();
    // A limit can be lowered by anybody, and taken away by few.
    for (shell, limited) in [("ulimit -l 64;", true), ("ulimit -l unlimited 2>/dev/null;", false)] {
        let process = Process::start_with(&ground, shell).await;
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", process.id())).unwrap();
        let (limits, status) = (read("limits"), read("status"));
        let row = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            line[name.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(row(&limits, "Max core file size")[..2], ["0", "0"]);
        let told = |line: &str| {
            process.log().lines().any(|text| text.contains("memory is closed to others") && text.contains(line))
        };
        assert!(told("\"no_core\":true"), "{}", process.log());
        let unlimited = row(&limits, "Max locked memory")[0] == "unlimited";
        assert!(!(limited && unlimited));
        let locked = row(&status, "VmLck:")[0] != "0";
        assert_eq!((locked, told(&format!("\"locked\":{unlimited}"))), (unlimited, true), "{status}");
        assert_eq!(process.partner(&ground, "parcelo").get("/v1/small").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_written_stops_all_sharing_until_it_can() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let ground = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).ground();
    // Files of this process end at some KiB, and a new one cannot be made where the folder should be: as on a full disk.
    let process = Process::start_with(&ground, "ulimit -f 16; trap '' XFSZ;").await;
    let [record, away] = ["record", "away"].map(|name| ground.folder.path().join(name));
    std::fs::rename(&record, &away).unwrap();
    std::fs::write(&record, "in the way").unwrap();
    let partner = process.partner(&ground, "parcelo");
    let (mut delivered, mut refused) = (Vec::new(), 0);
    for _ in 0..400 {
        let reply = partner.get("/v1/small").await;
        let exchange = reply.header("tidegate-exchange");
        if reply.status == 200 {
            assert_eq!(refused, 0, "nothing may leave after the first failure");
            delivered.push(exchange.to_owned());
        } else {
            assert_eq!(reply.refusal(), (503, "temporarily_unavailable".to_owned()));
            assert!(!reply.header("retry-after").is_empty());
            let said = async || cause(&process.log(), exchange).is_some_and(|code| code == "ledger_unavailable");
            assert!(until(said).await, "{}", process.log());
            refused += 1;
            if refused == 5 {
                break;
            }
        }
    }
    assert!(refused == 5 && !delivered.is_empty(), "{refused} {}", process.log());
    assert_eq!(process.admin("/readyz").await.0, 503);
    assert_eq!(process.admin("/livez").await.0, 200);

    std::fs::remove_file(&record).unwrap();
    std::fs::rename(&away, &record).unwrap();
    let mended = async || {
        let reply = partner.get("/v1/small").await;
        delivered.extend((reply.status == 200).then(|| reply.header("tidegate-exchange").to_owned()));
        reply.status == 200
    };
    assert!(until(mended).await, "it does not share again:\n{}", process.log());
    let told = |what: &str| process.log().lines().filter(|line| line.contains(what)).count();
    assert_eq!(told("the record cannot be written"), 1, "told once, and not for each exchange: {}", process.log());
    let again = async || told("the record can be written again") == 1 && told("\"refused\":") == 1;
    assert!(until(again).await, "{}", process.log());
    let entries = ground.record();
    for exchange in delivered {
        assert!(entries.iter().any(|entry| entry["exchange"] == exchange.as_str()), "{exchange} left without an entry");
    }
}
