//! Forms: pairs by their rules, the same whatever the cut.

use proptest::prelude::*;

use super::framed::taken;
use super::*;

const FORM: &str = r#"
[[inbound]]
match = "POST /x"
upstream = "a"
[inbound.request]
body = "form"
reveal = [{ form = "customer", is = "id.customer" }]
fields = [{ form = "e-mail", do = "drop" }, { form = "note", do = "keep", reason = "free" }]
[inbound.response]
body = "form"
keep = ["street", "straße x"]
fields = [
  { form = "phone", do = "mask", keep_last = 2 },
  { form = "customer", is = "id.customer", do = "tokenize" },
  { form = "source", do = "replace", with = "a b&c" },
]
"#;

#[track_caller]
fn check(leg: &Arc<BoundLeg>, body: &str, wanted: &str) {
    for step in [1, 2, 3, usize::MAX] {
        let (out, done) = taken(leg, body.as_bytes(), step);
        done.unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), wanted, "{body} in pieces of {step}");
    }
}

#[test]
fn of_a_form_only_what_is_listed_leaves_and_keeps_its_bytes() {
    let bound = bind(FORM);
    let leaves = &bound.legs[1];
    for (body, wanted) in [
        ("", ""),
        ("street=Main+St%2e&secret=1", "street=Main+St%2e"),
        ("secret=1&%73treet=a&&street", "%73treet=a&street"),
        ("stra%C3%9Fe+x=%c3%a4", "stra%C3%9Fe+x=%c3%a4"),
        ("phone=030+123%2045&phone=1", "phone=******45&phone=******"),
        ("source=anna&source", "source=a+b%26c&source=a+b%26c"),
        ("Street=1&street%20=2&street%5B%5D=3&streets=4", ""),
    ] {
        check(leaves, body, wanted);
    }
}

#[test]
fn a_token_of_a_form_comes_back_and_what_is_kept_by_default_is_compared_folded() {
    let bound = bind(FORM);
    let (out, _) = taken(&bound.legs[1], b"customer=c%261", 4);
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("customer=tk1_"), "{out}");
    check(&bound.legs[0], &out, "customer=c%261");
    check(&bound.legs[0], "E-Mail=1&a=%31&%EF%BD%85-mail=2&note=3&b", "a=%31&note=3&b");
    let (_, done) = taken(&bound.legs[0], b"customer=plain", 4);
    assert!(matches!(done, Err(Refusal::TokenNotAccepted { leg: Leg::Request, .. })), "{done:?}");
}

#[test]
fn a_form_that_can_be_read_in_two_ways_gives_nothing_out() {
    let bound = bind(FORM);
    for (body, code) in [
        ("street=1&secret=%zz", "form_escape"),
        ("street=1;a=2", "form_byte"),
        ("street=1&secret=%ff", "form_utf8"),
        ("street=1&phone=%E2%82", "form_utf8"),
    ] {
        for step in [1, 5, 100] {
            let mut crossing = Crossing::new(Arc::clone(&bound.legs[1]), NOW);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let done = runtime.block_on(async {
                for chunk in body.as_bytes().chunks(step) {
                    crossing.feed(chunk).await?;
                }
                crossing.finish().await
            });
            assert_eq!(done.unwrap_err().code(), code, "{body}");
            assert!(crossing.take().is_empty());
        }
    }
    let long = format!("phone={}", "1".repeat(70_000));
    assert_eq!(taken(&bound.legs[1], long.as_bytes(), 1000).1.unwrap_err().code(), "form_value_too_long");
    check(&bound.legs[1], &long.replace("phone", "street"), &long.replace("phone", "street"));
    let refuse = bind(&FORM.replace("keep = [\"street\", \"straße x\"]", "default = \"refuse\""));
    assert_eq!(taken(&refuse.legs[1], b"phone=1&a=2", 3).1.unwrap_err().code(), "form_unlisted");
}

#[test]
fn a_pair_that_must_be_there_is_asked_for() {
    let bound = bind(&FORM.replace("keep_last = 2", "keep_last = 2, must = true"));
    taken(&bound.legs[1], b"phone=123456", 3).1.unwrap();
    for body in [&b"street=1"[..], b""] {
        let done = taken(&bound.legs[1], body, 3).1;
        assert!(matches!(done, Err(Refusal::RuleUnmatched { leg: Leg::Response, .. })), "{done:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_unlisted_pair_survives_and_kept_ones_keep_their_bytes(
        pairs in prop::collection::vec((
            prop::sample::select(vec!["street", "s%74reet", "phone", "secret", "", "Street", "%C3%A4"]),
            prop::sample::select(vec!["", "=", "=1", "=secret%20x", "=%C3%A4+%f0%9F%98%80", "==?/@"]),
        ), 0..10),
        step in 1_usize..20,
    ) {
        let bound = bind(FORM);
        let spelt: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}{value}")).collect();
        let (out, done) = taken(&bound.legs[1], spelt.join("&").as_bytes(), step);
        prop_assert!(done.is_ok());
        let out = String::from_utf8(out).unwrap();
        let kept: Vec<&str> = out.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("phone")).collect();
        let wanted: Vec<&String> = spelt.iter().filter(|pair| pair.starts_with("street") || pair.starts_with("s%74reet")).collect();
        prop_assert_eq!(kept, wanted);
        prop_assert!(!out.split('&').any(|pair| pair.starts_with("phone") && pair.contains("secret")));
    }
}
