//! A partner that reads the whole customer base in a night is stopped, and an operator told.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::harness::partner::Partner;
use super::harness::policy::Policy;
use super::harness::upstream::{Received, Upstream, answer, full};
use super::harness::{Tidegate, until};

const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/customers"
upstream = "crm"
[inbound.response]
fields = [{ path = "$[*].id", is = "id.customer", do = "tokenize" }]

[[inbound]]
match = "GET /v1/customers/{id}"
upstream = "crm"
[inbound.request]
reveal = [{ capture = "id", is = "id.customer" }]
[inbound.response]
subject = "$.id"
keep = ["$.name"]
fields = [{ path = "$.id", is = "id.customer", do = "tokenize" }]

[[inbound]]
match = "POST /v1/notes"
upstream = "crm"
[inbound.request]
reveal = [{ path = "$.of[*]", is = "id.customer" }]
"#;

const PEOPLE: usize = 10;

/// All customers at `/v1/customers`, one at each path below, named after it.
async fn crm() -> Upstream {
    let labels: Vec<String> = (0..PEOPLE).map(|number| format!("{{\"id\":\"<customer.{number}>\"}}")).collect();
    let all = format!("[{}]", labels.join(","));
    let handler = move |received: Received, canaries: &super::harness::canary::Canaries| {
        let body = match received.target.strip_prefix("/v1/customers/") {
            Some(id) => json!({"name": "open", "id": id}).to_string(),
            None if received.target == "/v1/customers" => canaries.plant(&all),
            None => "{}".to_owned(),
        };
        answer(200, "application/json", full(body))
    };
    Upstream::with(handler).start().await
}

fn policy(limits: &str) -> Policy {
    Policy::of("parcelo", ROUTES).limits(limits)
}

async fn tokens(partner: &Partner) -> Vec<String> {
    let all = partner.get("/v1/customers").await.json();
    all.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

async fn read(partner: &Partner, token: &str) -> u16 {
    partner.get(&format!("/v1/customers/{token}")).await.status
}

/// The `budget` lines of the record, without what differs each time.
fn told(tidegate: &Tidegate) -> Vec<Value> {
    let lines = tidegate.record().into_iter().filter(|line| line["kind"] == "budget");
    lines.map(|line| json!([line["budget"], line["used"], line["limit"], line["refused"], line["partner"]])).collect()
}

#[tokio::test]
async fn tokens_over_the_budget_are_refused_before_anything_leaves_and_the_same_costs_nothing() {
    let upstream = crm().await;
    let policy = policy("reveal = \"5/h\"");
    let builder = Tidegate::with(policy.clone()).upstream("crm", &upstream);
    let tidegate = builder.at("2026-11-24T10:00:00Z").start().await;
    let partner = tidegate.partner("parcelo");
    let tokens = tokens(&partner).await;
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), PEOPLE);
    for token in tokens[..5].iter().chain(&tokens[..5]) {
        assert_eq!(read(&partner, token).await, 200);
    }
    let before = upstream.received().len();
    let reply = partner.get(&format!("/v1/customers/{}", tokens[5])).await;
    assert_eq!(reply.refusal(), (429, "budget_exceeded".to_owned()));
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    assert_eq!(tidegate.cause(&reply).await, "budget_exceeded");
    // Not the sixth alone: all that came with it.
    let body = json!({"of": [tokens[0], tokens[6]]}).to_string();
    assert_eq!(partner.post("/v1/notes", &body).await.refusal().0, 429);
    assert_eq!(upstream.received().len(), before, "nothing went on");
    assert_eq!(partner.post("/v1/notes", &json!({"of": tokens[..5]}).to_string()).await.status, 200);
    // An operator is told of much and of too much, once each.
    let wanted = [json!(["tokens", 4, 5, false, "parcelo"]), json!(["tokens", 5, 5, true, "parcelo"])];
    assert!(until(async || told(&tidegate).len() == 2).await);
    assert_eq!(told(&tidegate), wanted);
    let metrics = tidegate.admin("/metrics").await.1;
    for (level, budget) in [("warned", "tokens"), ("refused", "tokens")] {
        let line =
            format!("tidegate_budget_alarms_total{{partner=\"parcelo\",budget=\"{budget}\",level=\"{level}\"}} 1");
        assert!(metrics.contains(&line), "{line}");
    }
    assert!(metrics.contains(r#"tidegate_limits_exceeded_total{partner="parcelo",limit="budget"} 2"#));
    assert!(tidegate.logs().contains("a partner's budget is almost used up"));
    // A reload takes nothing back, also with another number.
    tidegate.write_policy(&policy.limits("reveal = \"6/h\""));
    tidegate.reload().await.unwrap();
    assert_eq!((read(&partner, &tokens[7]).await, read(&partner, &tokens[8]).await), (200, 429));
    // The hour goes by.
    tidegate.set_time("2026-11-24T11:05:00Z");
    for token in &tokens[4..] {
        assert_eq!(read(&partner, token).await, 200);
    }
    assert_eq!(read(&partner, &tokens[0]).await, 429);
}

#[tokio::test]
async fn persons_over_the_budget_are_refused_before_anything_leaves() {
    let upstream = crm().await;
    let builder = Tidegate::with(policy("subjects = \"3/h\"")).upstream("crm", &upstream);
    let tidegate = builder.at("2026-11-24T10:00:00Z").start().await;
    let partner = tidegate.partner("parcelo");
    let tokens = tokens(&partner).await;
    for token in tokens[..3].iter().chain(&tokens[..3]) {
        assert_eq!(read(&partner, token).await, 200);
    }
    let reply = partner.get(&format!("/v1/customers/{}", tokens[3])).await;
    assert_eq!(reply.refusal(), (429, "budget_exceeded".to_owned()));
    assert!(!reply.text().contains("open"), "{}", reply.text());
    assert_eq!(partner.post("/v1/notes", &json!({"of": tokens}).to_string()).await.status, 200, "no data leaves there");
    assert!(until(async || told(&tidegate).len() == 2).await);
    assert_eq!(told(&tidegate)[1], json!(["subjects", 3, 3, true, "parcelo"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_at_once_get_no_more_than_there_is() {
    let upstream = crm().await;
    let builder = Tidegate::with(policy("reveal = \"4/h\"")).upstream("crm", &upstream);
    let tidegate = builder.start().await;
    let tokens = tokens(&tidegate.partner("parcelo")).await;
    let reading = tokens.iter().cycle().take(60).cloned().map(|token| {
        let partner = tidegate.partner("parcelo");
        tokio::spawn(async move { (read(&partner, &token).await, token) })
    });
    let mut passed = BTreeSet::new();
    for read in reading.collect::<Vec<_>>() {
        let (status, token) = read.await.unwrap();
        assert!([200, 429].contains(&status), "{status}");
        if status == 200 {
            passed.insert(token);
        }
    }
    assert_eq!(passed.len(), 4);
}
