//! A store that fails, says nothing, or is asked by somebody who goes away.

use super::*;

/// Nothing but tokens that can be turned back has left, whatever the store does from its `at`-th call on.
pub(super) fn a_store_that_fails(house: &House, kind: &str, body: &str, at: usize) {
    house.store.calls.store(0, Ordering::Relaxed);
    house.store.fails_at.store(at, Ordering::Relaxed);
    let (out, done) = taken(&house.legs[1], body.as_bytes(), 40);
    if house.store.calls.load(Ordering::Relaxed) >= at {
        assert_eq!(done.unwrap_err().code(), "vault_unavailable");
    } else {
        done.unwrap();
    }
    house.store.fails_at.store(0, Ordering::Relaxed);
    let out = String::from_utf8(out).unwrap();
    assert!(!out.contains("secret"), "{out}");
    let tokens = out.matches("tk1_").count();
    if kind != "json" {
        assert!(out.is_empty() || out.ends_with('\n'), "whole records only: {out}");
        let back = String::from_utf8(passed(&house.legs[0], out.as_bytes(), 999)).unwrap();
        assert_eq!(back.matches("secret").count(), tokens, "{back}");
    }
    forget_all(house);
}

#[test]
fn where_the_store_fails_nothing_leaves_that_is_not_protected_or_cannot_be_turned_back() {
    let lines: String = (0..220).map(|n| format!("{{\"n\":{n},\"a\":\"secret {n}\",\"b\":\"{n}\"}}\n")).collect();
    let events: String = (0..220).map(|n| format!("id: 1\ndata:{{\"a\":\"secret {n}\"}}\n\n")).collect();
    let list: Vec<String> = (0..220).map(|n| format!("\"secret {n}, which is long\"")).collect();
    let list = format!("{{\"list\":[{}],\"a\":\"secret\"}}", list.join(","));
    for (kind, body) in [("ndjson", lines), ("sse", events), ("json", list)] {
        let [honest, lying] =
            [false, true].map(|lies| house(&json_routes(kind), Watched { lies, ..Watched::default() }));
        for at in 1..=200 {
            a_store_that_fails(if at % 2 == 0 { &honest } else { &lying }, kind, &body, at);
        }
    }
}

#[test]
fn a_store_that_says_nothing_is_waited_for_no_longer_than_its_time() {
    let house = house(&json_routes("json"), Watched { silent: true, ..Watched::default() });
    house.store.fails_at.store(1, Ordering::Relaxed);
    let begun = std::time::Instant::now();
    let (out, done) = taken(&house.legs[1], b"{\"a\":\"secret\"}", 99);
    assert_eq!((out.len(), done.unwrap_err().code()), (0, "vault_unavailable"));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_crossing_whose_question_was_dropped_gives_nothing_any_more() {
    let house = house(&json_routes("ndjson"), Watched { silent: true, ..Watched::default() });
    house.store.fails_at.store(1, Ordering::Relaxed);
    let mut crossing = Crossing::new(Arc::clone(&house.legs[1]), NOW);
    let fed = tokio::time::timeout(Duration::from_millis(5), crossing.feed(b"{\"b\":1}\n{\"a\":\"secret\"}\n")).await;
    assert!(fed.is_err());
    assert!(crossing.take().is_empty());
    assert!(crossing.feed(b"{\"b\":1}\n").await.is_err() && crossing.finish().await.is_err());
    assert!(crossing.take().is_empty());
}
