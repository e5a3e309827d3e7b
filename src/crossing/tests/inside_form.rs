//! Forms in strings, through the crossing: at every cut, with tokens that are stored, and what is refused.

use data_encoding::BASE64;

use super::*;
use stored::{Watched, blanked, both, house, passed};

const FORMS: &str = r#"
[[inbound]]
match = "POST /v1/x"
upstream = "a"
[inbound.request]
fields = [
  { path = "$.raw", inside = "form", keep = ["id"], fields = [{ form = "mail", must = true, do = "keep" }] },
  { path = "$.strict", inside = "form", default = "refuse", keep = ["a"] },
  { path = "$.back", inside = "form", default = "keep", reveal = [{ form = "mail", is = "c.mail" }] },
]
[inbound.response]
keep = ["$.plain"]
fields = [
  { path = "$.raw", inside = "form", keep = ["id"], fields = [
    { form = "mail", is = "c.mail", do = "tokenize", as = "email" },
    { form = "phone", do = "mask", keep_last = 2 },
    { form = "fixed", do = "replace", with = "a b" },
    { form = "json", inside = "json", keep = ["$.open"] },
    { form = "deep", inside = ["base64url", "form"], keep = ["x"] },
  ] },
  { path = "$.block", inside = ["base64", "form"], default = "keep", fields = [{ form = "Secret", do = "drop" }] },
  { path = "$.text", inside = "json", fields = [{ path = "$.raw", inside = "form", keep = ["id"] }] },
]
"#;

/// Whole, and cut in two at every byte, and in pieces of one.
async fn at_every_cut(leg: &Arc<BoundLeg>, body: &str) -> Result<String, Refusal> {
    let whole = cross(leg, body).await;
    for cut in 1..body.len() {
        let mut crossing = Crossing::new(Arc::clone(leg), NOW);
        let run = async {
            crossing.feed(&body.as_bytes()[..cut]).await?;
            crossing.feed(&body.as_bytes()[cut..]).await?;
            crossing.finish().await
        };
        let run = run.await.map(|()| String::from_utf8(crossing.take().into_bytes().to_vec()).unwrap());
        assert_eq!(run, whole, "{body} cut at {cut}");
    }
    assert_eq!(cross_in(leg, body, 1).await, whole, "{body}");
    whole
}

#[tokio::test]
async fn a_form_in_a_string_is_held_to_its_rules_and_the_rest_keeps_its_spelling() {
    let bound = bind(FORMS);
    for (value, expected) in [
        (r"id=1&x=2", "id=1"),
        (r"x=2&id=%31+%20\u0026", r"id=%31+%20\u0026"),
        (r"\u0069d=\/\u0031&x", r"\u0069d=\/\u0031"),
        (r"x&&id&y", "id"),
        (r"x", ""),
        (r"%69d=7&iD=8", "%69d=7"),
        (r"phone=%2B49+123&id=1", "phone=%2A%2A%2A%2A%2A%2A23&id=1".replace("%2A", "*").as_str()),
        (r"fixed=a+x&fixed", r"fixed=a+b&fixed=a+b"),
        (r"json=%7B%22open%22:1,%22x%22:2%7D", r"json=%7B%22open%22:1%7D"),
        (r"json=", "json="),
        (r"deep=eD0xJnk9Mg&id=%3d", "deep=eD0x&id=%3d"),
    ] {
        let (value, expected) = (value.replace("\\\\", "\\"), expected.replace("\\\\", "\\"));
        let out = at_every_cut(&bound.legs[1], &format!("{{\"raw\":\"{value}\",\"plain\":1}}")).await.unwrap();
        assert_eq!(out, format!("{{\"raw\":\"{expected}\",\"plain\":1}}"));
    }
    let block = |text: &str| format!("{{\"block\":\"{}\"}}", BASE64.encode(text.as_bytes()));
    assert_eq!(cross(&bound.legs[1], &block("a=1&sECRET=2&b=%62")).await.unwrap(), block("a=1&b=%62"));
    let text = r#"{"text":"{\"raw\":\"x=1&id=2\", \"no\":1}"}"#;
    assert_eq!(cross(&bound.legs[1], text).await.unwrap(), r#"{"text":"{\"raw\":\"id=2\"}"}"#);
    for same in [r#"{"raw":"","block":null}"#, r#"{"raw":"id&id=1&&id="}"#] {
        assert_eq!(cross(&bound.legs[1], same).await.unwrap(), same);
    }
}

#[tokio::test]
async fn its_rules_are_counted_behind_the_one_around_and_tokens_come_back() {
    let bound = bind(FORMS);
    let body = r#"{"raw":"mail=a%40b.example&id=1&json=%7B%22open%22:1%7D&x","plain":0}"#;
    let mut crossing = Crossing::new(Arc::clone(&bound.legs[1]), NOW);
    crossing.feed(body.as_bytes()).await.unwrap();
    crossing.finish().await.unwrap();
    let tally = crossing.tally();
    let names: Vec<_> = tally.iter().map(|(id, count)| (id.as_str(), *count)).collect();
    let wanted = [
        ("plain", 1),
        ("raw", 1),
        ("raw.form.mail", 1),
        ("raw.form.id", 1),
        ("raw.form.json", 1),
        ("raw.form.json.open", 1),
    ];
    assert_eq!(names, wanted);
    let out = String::from_utf8(crossing.take().into_bytes().to_vec()).unwrap();
    assert!(out.starts_with("{\"raw\":\"mail=") && out.contains("%40token.invalid&id=1&json="), "{out}");
    let back =
        format!("{{\"back\":{},\"raw\":\"mail\"}}", out.split_once(':').unwrap().1.split_once(",\"plain").unwrap().0);
    let back = cross(&bound.legs[0], &back).await.unwrap();
    assert_eq!(back, r#"{"back":"mail=a%40b.example&id=1&json=%7B%22open%22:1%7D","raw":"mail"}"#);
    let refusal = cross(&bound.legs[0], r#"{"raw":"mail","back":"mail=plain"}"#).await.unwrap_err();
    assert_eq!(refusal, Refusal::TokenNotAccepted { leg: Leg::Request, rule: RuleId::new("back.form.mail") });
}

#[tokio::test]
async fn what_is_no_form_or_not_listed_or_not_matched_is_refused() {
    let bound = bind(FORMS);
    for (value, rule) in [
        (r#""a=%4""#, "raw"),
        (r#""a b""#, "raw"),
        ("\"a=\u{e4}\"", "raw"),
        (r#""a=%ff""#, "raw"),
        ("7", "raw"),
        (r#""json=%7B""#, "raw.form.json"),
        (r#""deep=!""#, "raw.form.deep"),
    ] {
        let refusal = at_every_cut(&bound.legs[1], &format!("{{\"raw\":{value}}}")).await.unwrap_err();
        let expected = Refusal::RuleFailed { leg: Leg::Response, rule: Some(RuleId::new(rule)) };
        assert_eq!(refusal, expected, "{value}");
    }
    let must = |value: &str| format!("{{\"raw\":\"{value}\"}}");
    assert_eq!(cross(&bound.legs[0], &must("x=1&mail=2")).await.unwrap(), must("x=1&mail=2"));
    for value in ["", "id=1", "mal=1"] {
        assert_eq!(cross(&bound.legs[0], &must(value)).await.unwrap_err().code(), "rule_unmatched", "{value}");
    }
    let refusal = cross(&bound.legs[0], r#"{"raw":"mail","strict":"a=1&hidden=2"}"#).await.unwrap_err();
    let Refusal::BodyMalformed { fault, location, .. } = &refusal else { panic!("{refusal:?}") };
    assert_eq!((*fault, location.as_str()), ("form_unlisted", "$['strict'] > pair 2"));
}

#[tokio::test]
async fn what_pairs_in_strings_take_is_charged_to_the_body() {
    let routes = FORMS.replace("[[inbound]]", "[limits]\nleaves = 5\ngrowth = \"1KiB\"\n[[inbound]]");
    let bound = bind(&routes);
    let body = |pairs: usize, value: &str| format!("{{\"raw\":\"{}\"}}", vec![value; pairs].join("&"));
    cross(&bound.legs[1], &body(5, "phone=123456")).await.unwrap();
    let refusal = cross(&bound.legs[1], &body(6, "phone=123456")).await.unwrap_err();
    assert_eq!(refusal.code(), "json_leaves");
    let refusal = cross(&bound.legs[1], &body(400, "fixed")).await.unwrap_err();
    assert_eq!(refusal.code(), "json_growth");
}

#[test]
fn stored_tokens_in_forms_in_strings_are_filled_in_and_turned_back() {
    let fields = r#"
      { path = "$.raw", inside = "form", default = "keep", fields = [
        { form = "a", is = "c.a", do = "tokenize", STORE },
        { form = "j", inside = "json", default = "keep", fields = [{ path = "$.x", is = "c.x", do = "tokenize", STORE }] },
      ] }, { path = "$.b", is = "c.b", do = "tokenize", STORE },"#;
    let back = r#"
fields = [{ path = "$.raw", inside = "form", default = "keep", fields = [
  { form = "j", inside = "json", default = "keep", reveal = [{ path = "$.x", is = "c.x" }] },
], reveal = [{ form = "a", is = "c.a" }] }]
[inbound.response]"#;
    let text =
        |store| both("json", fields, r#"{ path = "$.b", is = "c.b" }"#, store).replace("[inbound.response]", back);
    let house = house(&format!("{}{}", text("vault"), text("none")), Watched::default());
    let body = br#"{"raw":"a=%41&b=%42&a=&j=%7B%22x%22:%22y%22,%22z%22:1%7D&a=c","b":"d","raw":"a=A"}"#;
    for step in [1, 2, 3, 7, 11, usize::MAX] {
        let out = passed(&house.legs[1], body, step);
        assert_eq!(blanked(&out), blanked(&passed(&house.legs[3], body, step)));
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("&b=%42&") && text.matches("tk1_").count() == 6, "{text}");
        let back = String::from_utf8(passed(&house.legs[0], text.as_bytes(), step)).unwrap();
        let wanted = r#"{"raw":"a=A&b=%42&a=&j=%7B%22x%22:%22y%22,%22z%22:1%7D&a=c","b":"d","raw":"a=A"}"#;
        assert_eq!(back, wanted);
    }
}
