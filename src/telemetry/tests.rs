//! What is exported, and that it is documented.

use std::time::Duration;

use super::*;
use crate::verdict::{Outcome, Refusal};

/// Everything has been counted once.
fn used() -> Metrics {
    let metrics = Metrics::new();
    let partner = PartnerId::parse("parcelo").unwrap();
    let route = metrics.route(Some(&partner), Some("GET /v1/orders/{id}"), Direction::Inbound);
    route.finish(Outcome::Delivered, None, Duration::from_millis(3));
    route.finish(Outcome::Refused, Some(Refusal::ConcurrencyExceeded.code()), Duration::from_millis(1));
    route.foreign(None, 1);
    route.budget("tokens", false);
    metrics.reveals().count("revealed");
    metrics.route(None, None, Direction::Inbound).finish(Outcome::Refused, Some("credential_missing"), Duration::ZERO);
    let email = RuleId::new("customer.email");
    let rules = [(email.clone(), "tokenize"), (RuleId::new("keep-2"), "keep")];
    metrics.leg(&partner, "GET /v1/orders/{id}", "response", rules).body(100, 40, &[(email, 2)]);
    metrics.upstream(&UpstreamId::parse("orders").unwrap()).response_seconds.observe(0.002);
    metrics.listener("partners").handshakes_failed.inc();
    metrics.ledger().sync_seconds.observe(0.001);
    metrics.policies_loaded("ab", 2, Time(1_790_000_000_000));
    metrics
}

#[test]
fn what_was_counted_is_exported() {
    let metrics = used();
    let in_flight = metrics.begin();
    assert_eq!(metrics.in_flight(), 1);
    drop(in_flight);
    let text = metrics.encode();
    for line in [
        r#"tidegate_build_info{version="0.1.0"} 1"#,
        r#"tidegate_exchanges_total{partner="parcelo",route="GET /v1/orders/{id}",direction="inbound",outcome="delivered",code="-"} 1"#,
        r#"tidegate_exchanges_total{partner="-",route="-",direction="inbound",outcome="refused",code="credential_missing"} 1"#,
        r#"tidegate_exchange_duration_seconds_count{partner="parcelo",route="GET /v1/orders/{id}",direction="inbound"} 2"#,
        r#"tidegate_exchanges_in_flight 0"#,
        r#"tidegate_body_bytes_total{partner="parcelo",route="GET /v1/orders/{id}",leg="response",side="out"} 40"#,
        r#"tidegate_rule_decisions_total{partner="parcelo",route="GET /v1/orders/{id}",leg="response",rule="customer.email",action="tokenize"} 2"#,
        r#"tidegate_rule_decisions_total{partner="parcelo",route="GET /v1/orders/{id}",leg="response",rule="keep-2",action="keep"} 0"#,
        r#"tidegate_limits_exceeded_total{partner="parcelo",limit="concurrent"} 1"#,
        r#"tidegate_policy_reloads_total{result="failed"} 0"#,
        r#"tidegate_policy_set{name="ab"} 1"#,
        r#"tidegate_policy_loaded_time_seconds 1790000000"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
    }
}

#[test]
fn only_the_set_in_force_is_exported() {
    let metrics = used();
    metrics.policies_loaded("cd", 1, Time(0));
    metrics.policies_failed(4, Time(0));
    let text = metrics.encode();
    assert!(text.contains(r#"tidegate_policy_set{name="cd"} 1"#) && !text.contains(r#"name="ab""#), "{text}");
    assert!(text.contains("tidegate_policy_complaints 4"), "{text}");
}

#[test]
fn every_metric_is_documented() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let documented = std::fs::read_to_string(file).unwrap();
    let text = used().encode();
    let mut seen = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(documented.contains(&format!("`{name}`")), "docs/operations.md has no line for `{name}`");
        seen += 1;
    }
    assert!(seen > 20, "{text}");
    for name in documented.split('`').filter(|word| word.starts_with("tidegate_")) {
        let name = name.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next().unwrap();
        assert!(text.contains(name), "docs/operations.md tells of `{name}`, which there is not");
    }
}

#[test]
fn a_connection_is_open_until_it_is_not() {
    let metrics = Metrics::new();
    let listener = metrics.listener("partners");
    let (one, two) = (listener.connection(), listener.connection());
    drop(one);
    let text = metrics.encode();
    assert!(text.contains("tidegate_connections{name=\"partners\"} 1\n"), "{text}");
    assert!(text.contains("tidegate_connections_accepted_total{name=\"partners\"} 2\n"), "{text}");
    drop(two);
    assert!(metrics.encode().contains("tidegate_connections{name=\"partners\"} 0\n"));
}
