//! The whole program in one process, over TCP, spoken to by hand. `tests/e2e` has the wide net; here is what shows first
//! when two parts do not fit.

use std::fs;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::ListenerSettings;
use crate::http::body;
use crate::http::listener::ConnectionLimits;
use crate::http::pace::Pace;
use crate::proxy::limits::Capacity;
use crate::vault::store::embedded;
use crate::{keys, proxy, telemetry};

const PACE: Pace = Pace { idle: Duration::from_secs(5), total: Duration::from_secs(50), rate: 0 };

const POLICY: &str = r#"
[partner]
id = "parcelo"
name = "Parcelo"
countries = ["DE"]
purpose = "service.delivery"
hosts = ["parcelo.internal"]
[agreement]
reference = "A-1"
expires = 2035-12-31
[identify]
api_key = { header = "x-api-key", sha256 = ["KEY"] }
[limits]
atomic = "64KiB"
[[inbound]]
match = "GET /v1/orders/{id}"
upstream = "orders"
[inbound.request]
query = ["expand"]
reveal = [{ capture = "id", is = "id.order", plain = "pass" }]
[inbound.response]
keep = ["$.status", "$.total", "$.items[*].sku"]
fields = [{ path = "$.id", is = "id.order", do = "tokenize" }]
[[outbound]]
match = "POST /shipments"
upstream = "orders"
[outbound.request]
keep = ["$.parcel"]
[outbound.response]
reveal = [{ path = "$.ref", is = "id.order", plain = "pass" }]
"#;

/// An upstream that gives every request the same answer, and tells what it was sent.
struct Upstream {
    address: SocketAddr,
    received: tokio::sync::mpsc::UnboundedReceiver<String>,
}

async fn upstream(answer: impl Into<Vec<u8>>) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, received) = tokio::sync::mpsc::unbounded_channel();
    let answer = Arc::new(answer.into());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (tell, answer) = (tell.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                let request = read_message(&mut stream).await;
                let _ = tell.send(request);
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    Upstream { address, received }
}

/// Head and, where there is a length, body.
async fn read_message(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).and_then(|t| t.lines().next()?.parse().ok());
            let chunked = head.contains("chunked") && !rest.ends_with("0\r\n\r\n");
            if rest.len() >= length.unwrap_or(0) && !chunked {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

struct House {
    folder: TempDir,
    app: App,
}

impl House {
    async fn with(upstream: &Upstream) -> Self {
        Self::with_policy(upstream, POLICY).await
    }

    async fn with_policy(upstream: &Upstream, policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("policies")).unwrap();
        let key = data_encoding::HEXLOWER.encode(&Sha256::digest(b"secret"));
        fs::write(path.join("policies/parcelo.toml"), policy.replace("KEY", &key)).unwrap();
        keys::init(&path.join("keys")).unwrap();
        let listener = |name: &str, facing| ListenerSettings {
            listener: listener::Settings {
                name: name.to_owned(),
                address: "127.0.0.1:0".parse().unwrap(),
                tls: None,
                limits: ConnectionLimits {
                    handshake: Duration::from_secs(5),
                    head: Duration::from_secs(5),
                    idle: Duration::from_secs(5),
                    taking: PACE,
                    head_bytes: 32 << 10,
                    head_fields: 100,
                    streams: 100,
                    connections: 100,
                },
            },
            facing,
        };
        let orders = proxy::upstream::Settings {
            url: format!("http://{}/base", upstream.address).parse().unwrap(),
            ca: None,
            client_certificate: None,
            headers: Vec::new(),
            connections: 8,
            http2: false,
            connect: Duration::from_secs(2),
            response: Duration::from_secs(5),
            idle: Duration::from_secs(5),
            keep_alive: Duration::from_secs(5),
        };
        let settings = Settings {
            file: path.join("tidegate.toml"),
            listeners: vec![listener("partners", Facing::Partner), listener("inside", Facing::Inside)],
            upstreams: BTreeMap::from([(UpstreamId::parse("orders").unwrap(), orders)]),
            body: body::Limits { body_bytes: 8 << 20, ratio: 100, pace: PACE },
            capacity: Capacity { exchanges: 100, share: 100 },
            threads: None,
            drain: Duration::from_secs(5),
            keys: keys::source::Settings::folder(&path.join("keys")),
            vault: None,
            reveal: None,
            vault_to: None,
            ledger: ledger::Settings {
                folder: path.join("record"),
                durability: ledger::Durability::Strict,
                segment_bytes: 1 << 20,
            },
            policies: path.join("policies"),
            telemetry: telemetry::Settings { level: tracing::Level::INFO, json: false },
            admin: Some("127.0.0.1:0".parse().unwrap()),
        };
        let app = App::start(settings, Clock::system()).await.unwrap();
        Self { folder, app }
    }

    async fn send(&self, listener: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(self.app.address(listener).unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_message(&mut stream).await
    }

    async fn get(&self, target: &str, headers: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\n{headers}\r\n");
        self.send("partners", &request).await
    }

    /// Stops, and gives all lines of the record.
    async fn record(self) -> Vec<serde_json::Value> {
        assert!(self.app.stop().await);
        let mut lines = Vec::new();
        for entry in fs::read_dir(self.folder.path().join("record")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "jsonl") {
                lines.extend(fs::read_to_string(path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()));
            }
        }
        lines.retain(|line: &serde_json::Value| line.get("exchange").is_some());
        lines
    }
}

fn json_answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn body_of(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

const ORDER: &str = r#"{"id":"o-1","status":"paid","total":12345678901234567890.10,"card":"4111","items":[{"sku":"\u0061","price":1}]}"#;

#[tokio::test]
async fn an_order_is_stripped_and_recorded_and_its_token_finds_the_way_back() {
    let mut upstream = upstream(json_answer(ORDER)).await;
    let house = House::with(&upstream).await;
    let reply = house.get("/v1/orders/o-1?expand=1&debug=2", "x-trace: 1\r\naccept: */*\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
    assert!(!reply.contains("4111") && !reply.contains("o-1") && !reply.contains("server:"), "{reply}");
    let body: serde_json::Value = serde_json::from_str(body_of(&reply)).unwrap();
    let token = body["id"].as_str().unwrap().to_owned();
    let kept = r#","status":"paid","total":12345678901234567890.10,"items":[{"sku":"\u0061"}]}"#;
    assert_eq!(body_of(&reply), format!("{{\"id\":\"{token}\"{kept}"));
    assert!(reply.contains("tidegate-exchange: ") && reply.contains("content-length: "), "{reply}");
    let request = upstream.received.recv().await.unwrap();
    assert!(request.starts_with("GET /base/v1/orders/o-1?expand=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {}", upstream.address)), "{request}");
    assert!(
        !request.contains("x-api-key") && !request.contains("x-trace") && request.contains("accept: */*"),
        "{request}"
    );
    house.get(&format!("/v1/orders/{token}"), "").await;
    let request = upstream.received.recv().await.unwrap();
    assert!(request.starts_with("GET /base/v1/orders/o-1 HTTP/1.1\r\n"), "{request}");
    let record = house.record().await;
    assert_eq!(record.len(), 2, "{record:?}");
    assert_eq!(record[0]["route"], "GET /v1/orders/{id}");
    assert_eq!(record[0]["outcome"], "delivered");
    assert!(!record[0].to_string().contains("o-1"));
}

#[tokio::test]
async fn what_is_not_admitted_never_reaches_the_upstream() {
    let mut upstream = upstream(json_answer(ORDER)).await;
    let house = House::with(&upstream).await;
    for (request, status, code) in [
        ("GET /v1/orders/1 HTTP/1.1\r\nhost: a\r\n\r\n", 401, "credential_missing"),
        ("GET /v1/orders/1 HTTP/1.1\r\nhost: a\r\nx-api-key: guess\r\n\r\n", 401, "credential_wrong"),
        (
            "GET /v1/orders/1 HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\nx-api-key: secret\r\n\r\n",
            403,
            "credentials_disagree",
        ),
        (
            "GET /v1/orders/1 HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\nauthorization: Bearer a.b.c\r\n\r\n",
            401,
            "credential_wrong",
        ),
        ("GET /v1/orders/1 HTTP/1.1\r\nhost: a\r\nhost: b\r\nx-api-key: secret\r\n\r\n", 400, "request_malformed"),
        ("GET http://b/v1/orders/1 HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\n\r\n", 400, "request_malformed"),
        ("GET /v1/orders/../x HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\n\r\n", 400, "path_not_normal"),
        ("GET /v1/orders/1?a=%zz HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\n\r\n", 400, "query_malformed"),
        ("GET /v2 HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\n\r\n", 404, "route_unknown"),
        ("PUT /v1/orders/1 HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\n\r\n", 405, "method_not_allowed"),
    ] {
        let reply = house.send("partners", request).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{request}{reply}");
        assert!(reply.contains(&format!("urn:tidegate:problem:{code}\"")), "{request}{reply}");
    }
    assert!(upstream.received.try_recv().is_err());
    assert!(house.record().await.is_empty(), "nothing was shared");
}

#[tokio::test]
async fn a_body_over_the_atomic_size_streams_under_two_entries() {
    let items = vec![r#"{"sku":"abcdefgh","price":1}"#; 10_000].join(",");
    let upstream = upstream(json_answer(&format!("{{\"id\":\"o-1\",\"items\":[{items}]}}"))).await;
    let house = House::with(&upstream).await;
    let reply = house.get("/v1/orders/1", "").await;
    assert!(reply.contains("transfer-encoding: chunked") && reply.ends_with("0\r\n\r\n"), "{}", &reply[..300]);
    assert!(!reply.contains("price"));
    assert_eq!(reply.matches("abcdefgh").count(), 10_000);
    let record = house.record().await;
    assert_eq!(record.len(), 2, "{record:?}");
    assert_eq!((&record[0]["kind"], &record[1]["kind"]), (&"open".into(), &"close".into()));
    assert_eq!(record[1]["outcome"], "delivered");
}

#[tokio::test]
async fn a_fault_late_in_a_stream_cuts_it_visibly() {
    let items = vec![r#"{"sku":"abcdefgh","price":1}"#; 10_000].join(",");
    let upstream = upstream(json_answer(&format!("{{\"id\":\"o-1\",\"items\":[{items},]}}"))).await;
    let house = House::with(&upstream).await;
    let reply = house.get("/v1/orders/1", "").await;
    assert!(reply.starts_with("HTTP/1.1 200") && !reply.ends_with("0\r\n\r\n"));
    let record = house.record().await;
    assert_eq!(record[1]["outcome"], "cut", "{record:?}");
}

#[tokio::test]
async fn a_receiver_on_http_1_0_gets_no_stream() {
    let items = vec![r#"{"sku":"abcdefgh"}"#; 10_000].join(",");
    let upstream = upstream(json_answer(&format!("{{\"items\":[{items}]}}"))).await;
    let house = House::with(&upstream).await;
    let reply = house.send("partners", "GET /v1/orders/1 HTTP/1.0\r\nx-api-key: secret\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.0 502"), "{reply}");
    assert!(!reply.contains("abcdefgh"));
}

#[tokio::test]
async fn a_tag_of_ours_answers_304_and_both_are_recorded() {
    let upstream = upstream(json_answer(ORDER).replace("server: x", "etag: \"theirs\"")).await;
    let house = House::with(&upstream).await;
    let reply = house.get("/v1/orders/1", "").await;
    let tag = reply.split("etag: ").nth(1).unwrap().lines().next().unwrap();
    assert!(tag.starts_with("W/\"") && !reply.contains("theirs"), "{reply}");
    let again = house.get("/v1/orders/1", &format!("if-none-match: \"x\", {tag}\r\n")).await;
    assert!(again.starts_with("HTTP/1.1 304") && body_of(&again).is_empty(), "{again}");
    // Another process with the same keys makes the same tag.
    let replica = App::start(
        Settings {
            ledger: ledger::Settings {
                folder: house.folder.path().join("another"),
                ..house.app.settings.ledger.clone()
            },
            ..house.app.settings.clone()
        },
        Clock::system(),
    );
    let replica = replica.await.unwrap();
    let mut stream = TcpStream::connect(replica.address("partners").unwrap()).await.unwrap();
    let request = format!("GET /v1/orders/1 HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\nif-none-match: {tag}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let elsewhere = read_message(&mut stream).await;
    assert!(elsewhere.starts_with("HTTP/1.1 304"), "{elsewhere}");
    replica.stop().await;
    let record = house.record().await;
    assert_eq!((record[1]["status"].as_u64(), record[1]["bytes_out"].as_u64()), (Some(304), Some(0)), "{record:?}");
}

#[tokio::test]
async fn head_is_served_where_get_is_without_a_length() {
    let upstream = upstream("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n").await;
    let house = House::with(&upstream).await;
    let reply = house.send("partners", "HEAD /v1/orders/1 HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("content-type: application/json"), "{reply}");
    assert!(!reply.contains("content-length"), "{reply}");
    assert_eq!(house.record().await.len(), 1);
}

#[tokio::test]
async fn an_error_status_gives_away_nothing_else() {
    let upstream = upstream(
        "HTTP/1.1 404 Anna Kern\r\ncontent-type: application/json\r\nx-a: b\r\ncontent-length: 8\r\n\r\n{\"a\":\"b\"}",
    )
    .await;
    let house = House::with(&upstream).await;
    let reply = house.get("/v1/orders/1", "").await;
    assert!(reply.starts_with("HTTP/1.1 404 Not Found") && reply.contains("problem:error_status"), "{reply}");
    assert!(!reply.contains("x-a") && !reply.contains("Anna"), "{reply}");
    let record = house.record().await;
    assert_eq!(record[0]["status"], 404, "{record:?}");
}

#[tokio::test]
async fn outbound_only_what_is_listed_leaves_and_the_partner_is_found_by_its_host() {
    let mut upstream = upstream(json_answer(r#"{"ref":"plain","note":"n"}"#)).await;
    let house = House::with(&upstream).await;
    let body = r#"{"parcel":"p","customer":"anna"}"#;
    let request = |host: &str| {
        let length = body.len();
        format!(
            "POST /shipments HTTP/1.1\r\nhost: {host}\r\nuser-agent: curl\r\nauthorization: Basic x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let reply = house.send("inside", &request("Parcelo.internal:80")).await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"note\":\"n\""), "{reply}");
    let sent = upstream.received.recv().await.unwrap();
    assert_eq!(body_of(&sent), r#"{"parcel":"p"}"#);
    assert!(sent.contains("user-agent: tidegate") && !sent.contains("authorization"), "{sent}");
    let reply = house.send("inside", &request("other.internal")).await;
    assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
    let record = house.record().await;
    assert_eq!(record.len(), 2, "{record:?}");
    assert_eq!((&record[0]["leg"], &record[1]["outcome"]), (&"request".into(), &"delivered".into()), "{record:?}");
}

#[tokio::test]
async fn outbound_the_record_says_whether_anything_was_sent() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (_, received) = tokio::sync::mpsc::unbounded_channel();
    let gone = Upstream { address: gone, received };
    for (upstream, code, outcome) in
        [(gone, "upstream_unreachable", "refused"), (upstream("what?").await, "upstream_malformed", "delivered")]
    {
        let house = House::with(&upstream).await;
        let head = "POST /shipments HTTP/1.1\r\nhost: parcelo.internal\r\ncontent-type: application/json\r\n";
        let reply = house.send("inside", &format!("{head}content-length: 2\r\n\r\n{{}}")).await;
        assert!(reply.starts_with("HTTP/1.1 502") && reply.contains(code), "{reply}");
        let record = house.record().await;
        assert_eq!(record.last().unwrap()["outcome"], outcome, "{record:?}");
    }
}

#[tokio::test]
async fn a_reload_changes_the_rules_and_a_broken_file_does_not() {
    let upstream = upstream(json_answer(ORDER)).await;
    let house = House::with(&upstream).await;
    let file = house.folder.path().join("policies/parcelo.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, "nonsense").unwrap();
    house.app.reload().await.unwrap_err();
    assert!(house.get("/v1/orders/1", "").await.contains("paid"));
    fs::write(&file, text.replace("\"$.status\", ", "")).unwrap();
    house.app.reload().await.unwrap();
    let reply = house.get("/v1/orders/1", "").await;
    assert!(reply.starts_with("HTTP/1.1 200") && !reply.contains("paid"), "{reply}");
}

#[tokio::test]
async fn a_request_over_the_atomic_size_streams_and_its_late_fault_is_the_callers() {
    let parcels = vec![r#""abcdefgh""#; 20_000].join(",");
    for (end, status, outcome) in [("]}", 200, "delivered"), (",]}", 400, "cut")] {
        let mut upstream = upstream(json_answer("{}")).await;
        let policy = POLICY.replace("keep = [\"$.parcel\"]", "keep = [\"$.parcel[*]\"]");
        let house = House::with_policy(&upstream, &policy).await;
        let body = format!("{{\"customer\":\"anna\",\"parcel\":[{parcels}{end}");
        let head = "POST /shipments HTTP/1.1\r\nhost: parcelo.internal\r\ncontent-type: application/json\r\n";
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let reply = house.send("inside", &request).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
        let sent = upstream.received.recv().await.unwrap();
        assert!(sent.contains("abcdefgh") && !sent.contains("anna"));
        assert_eq!(sent.ends_with("0\r\n\r\n"), status == 200, "what was broken off does not look whole");
        let record = house.record().await;
        assert_eq!(record.last().unwrap()["outcome"], outcome, "{record:?}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_before_the_answer_is_sent_nothing_and_nothing_is_recorded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_, received) = tokio::sync::mpsc::unbounded_channel();
    let silent = Upstream { address: listener.local_addr().unwrap(), received };
    let house = House::with(&silent).await;
    let mut caller = TcpStream::connect(house.app.address("partners").unwrap()).await.unwrap();
    caller.write_all(b"GET /v1/orders/1 HTTP/1.1\r\nhost: a\r\nx-api-key: secret\r\n\r\n").await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    assert!(read_message(&mut upstream).await.starts_with("GET /base/v1/orders/1"));
    drop(caller);
    // The exchange goes with its caller, and the connection to upstream with the exchange.
    assert_eq!(upstream.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(house.record().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vaults_store_is_opened_and_told_and_one_program_has_it_at_a_time() {
    let house = House::with(&upstream(json_answer(ORDER)).await).await;
    let folder = house.folder.path();
    let start = |name: &str, patience| {
        let mut settings = house.app.settings.clone();
        settings.ledger.folder = folder.join(name);
        let embedded = embedded::Settings { folder: folder.join("vault"), cache_bytes: 1 << 20, patience };
        settings.vault = Some(open::Settings { kind: open::Kind::Embedded(embedded), time: Duration::from_secs(5) });
        App::start(settings, Clock::system())
    };
    let first = start("one", Duration::ZERO).await.unwrap();
    let ask = |address| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        read_message(&mut stream).await
    };
    let ready = ask(first.admin_address().unwrap()).await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ok   vault: written\n"), "{ready}");
    assert!(!ask(house.app.admin_address().unwrap()).await.contains("vault"), "there is none");

    let error = start("two", Duration::ZERO).await.unwrap_err().to_string();
    assert!(error.contains(&format!("is in use by process {}: stop that one", std::process::id())), "{error}");
    // As in an upgrade: the second one waits until the first has ended.
    let (second, ended) = tokio::join!(start("three", Duration::from_secs(30)), first.stop());
    assert!(ended && second.unwrap().stop().await);
}
