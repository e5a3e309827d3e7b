//! Rules inside strings, through the crossing: what changes, what does not, and what is refused.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use proptest::prelude::*;

use super::*;

const INSIDE: &str = r#"
[[inbound]]
match = "GET /v1/x"
upstream = "a"
[inbound.request]
fields = [{ query = "q", inside = "json", default = "drop", keep = ["$.open"] }]
[inbound.response]
keep = ["$.plain"]
fields = [
  { path = "$.json", inside = "json", keep = ["$.open"], fields = [
    { path = "$.email", is = "contact.email", do = "tokenize", as = "email" },
    { path = "$.deep", inside = "base64", fields = [{ path = "$.phone", do = "mask", keep_last = 2 }] },
  ] },
  { path = "$.base64", inside = "base64", keep = ["$.open"], fields = [
    { path = "$.json", inside = "json", default = "keep", fields = [{ path = "$.secret", do = "drop" }] },
  ] },
  { path = "$.url", inside = ["base64url", "base64url", "json"], keep = ["$.open"] },
]
[[inbound]]
match = "POST /v1/x"
upstream = "a"
[inbound.request]
fields = [
  { path = "$.json", inside = "json", reveal = [{ path = "$.email", is = "contact.email" }] },
  { path = "$.strict", inside = "json", default = "refuse", keep = ["$.a"] },
]
"#;

/// What the response leg makes of one member.
async fn said(bound: &Bound, body: &str) -> String {
    cross(&bound.legs[1], body).await.unwrap_or_else(|refusal| panic!("{refusal:?}: {body}"))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[tokio::test]
async fn what_is_in_a_string_is_held_to_its_rules_and_the_rest_keeps_its_spelling() {
    let bound = bind(INSIDE);
    let said = async |body| said(&bound, body).await;
    assert_eq!(
        said(r#"{"json":"{ \"secret\" : 1, \u0022op\u0065n\u0022 : 2}"}"#).await,
        r#"{"json":"{ \u0022op\u0065n\u0022 : 2}"}"#
    );
    assert_eq!(
        said(r#"{"json":" {\"open\":\"\\u00e4\\\\\u00e4\"} "}"#).await,
        r#"{"json":" {\"open\":\"\\u00e4\\\\\u00e4\"} "}"#
    );
    assert_eq!(said(r#"{"json":"7"}"#).await, r#"{"json":"null"}"#);
    assert_eq!(said(r#"{"json":"","base64":null,"plain":1}"#).await, r#"{"json":"","base64":null,"plain":1}"#);
    let out = said(r#"{"json":"{\"email\":\"a@b.example\",\"x\":1}"}"#).await;
    assert!(out.starts_with(r#"{"json":"{\"email\":\""#) && out.ends_with(r#"@token.invalid\"}"}"#), "{out}");
}

#[tokio::test]
async fn base64_is_wrapped_again_as_it_was() {
    let bound = bind(INSIDE);
    let inner = r#"{"open":12,"shut":2,"json":"{\"a\":[1 ],\"secret\":0}"}"#;
    let kept = r#"{"open":12,"json":"{\"a\":[1 ]}"}"#;
    for padding in [true, false] {
        let wrap =
            |text: &str| BASE64.encode(text.as_bytes()).trim_end_matches(if padding { ' ' } else { '=' }).to_owned();
        let out = said(&bound, &format!(r#"{{"base64":"{}"}}"#, wrap(inner))).await;
        assert_eq!(out, format!(r#"{{"base64":"{}"}}"#, wrap(kept)));
    }
    // A solidus that is escaped and not touched stays escaped.
    let (inner, kept) = (r#"{"open":"???","x":1}"#, r#"{"open":"???"}"#);
    let escape = |text: &str| BASE64.encode(text.as_bytes()).replace('/', "\\/");
    assert!(escape(inner).contains("\\/"));
    assert_eq!(
        said(&bound, &format!(r#"{{"base64":"{}"}}"#, escape(inner))).await,
        format!(r#"{{"base64":"{}"}}"#, escape(kept))
    );
    let twice = |text: &str| BASE64URL_NOPAD.encode(BASE64URL_NOPAD.encode(text.as_bytes()).as_bytes());
    let out = said(&bound, &format!(r#"{{"url":"{}"}}"#, twice(r#"{"shut":1,"open":[2]}"#))).await;
    assert_eq!(out, format!(r#"{{"url":"{}"}}"#, twice("{}")), "a leaf is kept, a container is not");
    let deep = BASE64.encode(br#"{"phone":"+49 123","x":1}"#);
    let out = said(&bound, &format!(r#"{{"json":"{{\"deep\":\"{deep}\"}}"}}"#)).await;
    assert_eq!(out, format!(r#"{{"json":"{{\"deep\":\"{}\"}}"}}"#, BASE64.encode(br#"{"phone":"******23"}"#)));
}

#[tokio::test]
async fn what_cannot_be_opened_refuses_the_exchange() {
    let bound = bind(INSIDE);
    let depth = format!(r#"{{"json":{}}}"#, quoted(&"[".repeat(600)));
    for (body, rule) in [
        (r#"{"json":"{\"open\":1"}"#, "json"),
        (r#"{"json":"{\"open\":1} x"}"#, "json"),
        (r#"{"json":"\ufeff{}"}"#, "json"),
        (r#"{"json":" "}"#, "json"),
        (r#"{"json":7}"#, "json"),
        (r#"{"json":true}"#, "json"),
        (r#"{"json":["{"]}"#, "json"),
        (&depth, "json"),
        (r#"{"base64":"%%%"}"#, "base64"),
        (r#"{"base64":"e30"}"#, ""),
        (r#"{"base64":"e31="}"#, "base64"),
        (r#"{"base64":"_w=="}"#, "base64"),
        (r#"{"base64":"/w=="}"#, "base64"),
        (r#"{"json":"{\"deep\":\"!\"}"}"#, "json.deep"),
        (r#"{"json":"{\"deep\":\"e3\"}"}"#, "json.deep"),
    ] {
        let crossed = cross(&bound.legs[1], body).await;
        if rule.is_empty() {
            crossed.unwrap();
            continue;
        }
        let expected = Refusal::RuleFailed { leg: Leg::Response, rule: Some(RuleId::new(rule)) };
        assert_eq!(crossed.unwrap_err(), expected, "{body}");
    }
    let long = format!(r#"{{"json":"{}"}}"#, " ".repeat(70_000));
    assert_eq!(cross(&bound.legs[1], &long).await.unwrap_err().code(), "json_value_too_long");
}

#[tokio::test]
async fn a_field_that_is_not_listed_in_a_string_is_refused_with_its_place_and_not_its_name() {
    let bound = bind(INSIDE);
    assert_eq!(cross(&bound.legs[2], r#"{"strict":"{\"a\":1}"}"#).await.unwrap(), r#"{"strict":"{\"a\":1}"}"#);
    let refusal = cross(&bound.legs[2], r#"{"strict":"{\"a\":1,\"hidden\":1}"}"#).await.unwrap_err();
    let Refusal::BodyMalformed { leg: Leg::Request, fault, location, offset } = refusal else { panic!("{refusal:?}") };
    assert_eq!((fault, location.as_str(), offset), ("json_unlisted", "$['strict'] > $[*]", 10));
}

#[tokio::test]
async fn a_token_in_a_string_goes_out_and_comes_back_and_is_counted_under_its_own_rule() {
    let bound = bind(INSIDE);
    let body = r#"{"json":"{\"email\":\"a@b.example\",\"open\":1}","plain":0}"#;
    let mut crossing = Crossing::new(Arc::clone(&bound.legs[1]), NOW);
    crossing.feed(body.as_bytes()).await.unwrap();
    crossing.finish().await.unwrap();
    let tally = crossing.tally();
    let names: Vec<_> = tally.iter().map(|(id, count)| (id.as_str(), *count)).collect();
    assert_eq!(names, [("plain", 1), ("json", 1), ("json.open", 1), ("json.email", 1)]);
    let out = String::from_utf8(crossing.take().into_bytes().to_vec()).unwrap();
    let back = cross(&bound.legs[2], &out).await.unwrap();
    assert_eq!(back, body, "{out}");
    let refusal = cross(&bound.legs[2], r#"{"json":"{\"email\":\"plain\"}"}"#).await.unwrap_err();
    assert_eq!(refusal, Refusal::TokenNotAccepted { leg: Leg::Request, rule: RuleId::new("json.email") });
    // A token of another category, inside a string, raises the alarm as it does outside.
    let mut crossing = Crossing::new(Arc::clone(&bound.legs[2]), NOW);
    let token = "tk1_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    crossing.feed(format!(r#"{{"json":"{{\"email\":\"{token}\"}}"}}"#).as_bytes()).await.unwrap_err();
    assert!(crossing.take().is_empty());
}

#[tokio::test]
async fn a_rule_in_a_string_that_has_to_match_is_held_to_it_over_the_whole_body() {
    let bound = bind(
        r#"
[[inbound]]
match = "GET /v1/x"
upstream = "a"
[inbound.response]
fields = [{ path = "$[*]", inside = "json", keep = ["$.b"], fields = [{ path = "$.a", do = "keep", must = true }] }]
"#,
    );
    assert_eq!(bound.legs[1].musts.len(), 1);
    cross(&bound.legs[1], r#"["{\"b\":1}","{\"a\":1}"]"#).await.unwrap();
    for body in [r#"["{\"b\":1}"]"#, "[]", ""] {
        let refusal = cross(&bound.legs[1], body).await.unwrap_err();
        assert_eq!(refusal.code(), "rule_unmatched", "{body}");
    }
}

#[tokio::test]
async fn filter_steps_are_counted_for_all_strings_of_a_body_together() {
    let bound = bind(
        r#"
[[inbound]]
match = "GET /v1/x"
upstream = "a"
[inbound.response]
fields = [{ path = "$[*]", inside = "json", keep = ["$[?count(@..*) > 1000000].x"] }]
"#,
    );
    let inner = quoted(&format!("[{}]", vec!["[[[[[[[[]]]]]]]]"; 1500].join(",")));
    let body = |times: usize| format!("[{}]", vec![inner.as_str(); times].join(","));
    let cross = async |body: String| cross_in(&bound.legs[1], &body, usize::MAX).await;
    cross(body(2)).await.unwrap();
    let refusal = cross(body(400)).await.unwrap_err();
    assert_eq!(refusal.code(), "rule_failed");
}

#[test]
fn beside_the_body_a_string_is_opened_too() {
    let bound = bind(INSIDE);
    let head = |value: &str| {
        let mut crossing = HeadCrossing::new(&bound.legs[0], NOW);
        crossing.path(&bound.paths[0], &[], false)?;
        crossing.query(&parse_query(&format!("q={value}")).unwrap())?;
        crossing.finish()
    };
    let released = head("%7B%22open%22:1,%22x%22:2%7D").unwrap();
    assert_eq!(released.target(), "/v1/x?q=%7B%22open%22%3A1%7D");
    let names: Vec<_> = released.tally().iter().map(|(id, count)| (id.as_str(), *count)).collect();
    assert_eq!(names, [("query.q", 1), ("query.q.open", 1)]);
    assert_eq!(head("%7B").unwrap_err().code(), "rule_failed");
}

/// The slow way: everything decoded, changed and spelt anew. Members that no rule names are dropped, save behind `json` in
/// `base64`.
fn slow(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    let opened = |text: &Value, base64: bool| -> Value {
        let text = text.as_str().unwrap();
        let bytes = if base64 { BASE64.decode(text.as_bytes()).unwrap() } else { text.as_bytes().to_vec() };
        serde_json::from_slice(&bytes).unwrap()
    };
    let closed = |value: Value, base64: bool| -> Value {
        let text = value.to_string();
        Value::String(if base64 { BASE64.encode(text.as_bytes()) } else { text })
    };
    let leaf = |value: &Value| !value.is_object() && !value.is_array();
    let members = |value: &Value, change: &dyn Fn(&str, &Value) -> Option<Value>| match value {
        Value::Object(members) => {
            let kept = members.iter().filter_map(|(name, value)| Some((name.clone(), change(name, value)?)));
            Value::Object(kept.collect())
        }
        _ => Value::Null,
    };
    let deep = |value: &Value| {
        let inner = members(&opened(value, true), &|name, value| {
            let masked = |text: &str| {
                let keep = if text.chars().count() < 4 { "" } else { &text[text.len() - 2..] };
                Value::String(format!("******{keep}"))
            };
            (name == "phone").then(|| value.as_str().map_or(Value::Null, masked))
        });
        closed(inner, true)
    };
    let in_json = |value: &Value| {
        let inner = members(&opened(value, false), &|name, value| match name {
            "open" if leaf(value) => Some(value.clone()),
            "deep" => Some(deep(value)),
            _ => None,
        });
        closed(inner, false)
    };
    let in_base64 = |value: &Value| {
        let inner = members(&opened(value, true), &|name, value| match name {
            "open" if leaf(value) => Some(value.clone()),
            "json" => {
                let mut inner = opened(value, false);
                if let Some(members) = inner.as_object_mut() {
                    members.remove("secret");
                }
                Some(closed(inner, false))
            }
            _ => None,
        });
        closed(inner, true)
    };
    members(value, &|name, value| match name {
        "plain" if leaf(value) => Some(value.clone()),
        "json" => Some(in_json(value)),
        "base64" => Some(in_base64(value)),
        _ => None,
    })
}

/// Equal once every string that is opened has been.
fn alike(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;
    let open = |value: &Value| -> Option<Value> {
        let text = value.as_str()?;
        let bytes = BASE64.decode(text.as_bytes()).unwrap_or_else(|_| text.as_bytes().to_vec());
        serde_json::from_slice(&bytes).ok().filter(|value: &Value| value.is_object())
    };
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| alike(value, other)))
        }
        (a, b) => match (open(a), open(b)) {
            (Some(a), Some(b)) => alike(&a, &b),
            _ => a == b,
        },
    }
}

fn leaves() -> impl Strategy<Value = serde_json::Value> {
    let text = prop::sample::select(vec!["", "ab", "+49 151", "\u{e9}\"\\/\n", "\u{1f600}x", "{}", "null"]);
    prop_oneof![
        text.prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ]
}

fn object(names: &'static [&'static str]) -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    prop::collection::vec((prop::sample::select(names), leaves()), 0..5)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Bodies that the policy can be applied to, and how their strings are spelt.
fn bodies() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let phone = prop::sample::select(vec!["+49 151", "1", "12345678"]);
    let deep = (object(&["a", "b"]), phone).prop_map(|(mut inner, phone)| {
        inner.insert("phone".to_owned(), phone.into());
        BASE64.encode(Value::Object(inner).to_string().as_bytes())
    });
    let json = (object(&["open", "shut", "x"]), prop::option::of(deep)).prop_map(|(mut inner, deep)| {
        inner.extend(deep.map(|deep| ("deep".to_owned(), deep.into())));
        Value::Object(inner).to_string()
    });
    let kept = object(&["secret", "open", "other"]).prop_map(|inner| Value::Object(inner).to_string());
    let base64 = (object(&["open", "shut"]), prop::option::of(kept)).prop_map(|(mut inner, json)| {
        inner.extend(json.map(|json| ("json".to_owned(), json.into())));
        BASE64.encode(Value::Object(inner).to_string().as_bytes())
    });
    (object(&["plain", "x"]), prop::option::of(json), prop::option::of(base64)).prop_map(|(mut body, json, base64)| {
        body.extend(json.map(|json| ("json".to_owned(), json.into())));
        body.extend(base64.map(|base64| ("base64".to_owned(), base64.into())));
        Value::Object(body)
    })
}

/// Spells some characters of strings as escapes, as `taste` says.
fn respelt(text: &str, taste: &[u8]) -> String {
    let (mut out, mut inside, mut escaped, mut turn) = (String::new(), false, false, taste.iter().cycle());
    for char in text.chars() {
        let plain = inside && !escaped && !matches!(char, '"' | '\\') && u32::from(char) < 0x1_0000;
        if plain && turn.next().is_some_and(|choice| choice % 3 == 0) {
            out.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            out.push(char);
        }
        inside ^= char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
    }
    out
}

/// The shortest spelling of everything before and behind a change stands in the output as it stood.
fn shared(a: &str, b: &str) -> (usize, usize) {
    let head = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let tail = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    (head, tail)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_decoding_and_encoding_everything_however_it_is_spelt_and_cut(
        body in bodies(),
        taste in prop::collection::vec(any::<u8>(), 1..30),
    ) {
        thread_local! { static BOUND: Bound = bind(INSIDE) }
        let text = respelt(&body.to_string(), &taste);
        let leg = BOUND.with(|bound| Arc::clone(&bound.legs[1]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let out = runtime.block_on(cross(&leg, &text)).unwrap();
        let (said, expected): (serde_json::Value, _) = (serde_json::from_str(&out).unwrap(), slow(&body));
        prop_assert!(alike(&said, &expected), "{text}\n{out}\n{expected}");
        // Once a mask has its length, once more changes nothing: all that stays keeps its spelling.
        let masked = runtime.block_on(cross(&leg, &out)).unwrap();
        prop_assert_eq!(runtime.block_on(cross(&leg, &masked)).unwrap(), masked);
    }

    #[test]
    fn one_change_changes_one_stretch(taste in prop::collection::vec(any::<u8>(), 1..30), at in 0usize..6) {
        thread_local! { static BOUND: Bound = bind(INSIDE) }
        let leg = BOUND.with(|bound| Arc::clone(&bound.legs[1]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let inner: Vec<String> = (0..6).map(|n| if n == at { "\"shut\":1".into() } else { format!("\"open\":\"\u{e9}\\n{n}\"") }).collect();
        let text = respelt(&format!("{{\"json\":{}}}", quoted(&format!("{{{}}}", inner.join(",")))), &taste);
        let out = runtime.block_on(cross(&leg, &text)).unwrap();
        let (head, tail) = shared(&text, &out);
        prop_assert!(head + tail >= out.len(), "{text}\n{out}");
    }
}

#[tokio::test]
async fn records_events_and_fields_of_forms_have_strings_that_open_too() {
    let route = |body: &str, locator: &str| {
        format!(
            "[[outbound]]\nmatch = \"POST /x\"\nupstream = \"a\"\n[outbound.request]\nbody = \"{body}\"\nfields = [{{ {locator}, \
             inside = \"json\", keep = [\"$.b\"], fields = [{{ path = \"$.a\", do = \"keep\", must = true }}] }}]\n"
        )
    };
    let inner = r#"{\"a\":1,\"x\":2}"#;
    let lines = bind(&route("ndjson", "path = \"$.s\""));
    let out = cross(&lines.legs[0], &format!("{{\"s\":\"{inner}\"}}\n{{\"s\":\"{inner}\"}}\n")).await.unwrap();
    assert_eq!(out, "{\"s\":\"{\\\"a\\\":1}\"}\n".repeat(2));
    let refusal = cross(&lines.legs[0], &format!("{{\"s\":\"{inner}\"}}\n{{\"s\":\"{{}}\"}}\n")).await.unwrap_err();
    assert_eq!(refusal.code(), "rule_unmatched", "each record has to match");
    let form = bind(&route("form", "form = \"s\""));
    let out = cross(&form.legs[0], "t=1&s=%7b%22x%22:1,%22a%22:%22+%22%7d").await.unwrap();
    assert_eq!(out, "s=%7B%22a%22%3A%22+%22%7D");
    for (body, code) in [("t=1", "rule_unmatched"), ("s=%7B%7D", "rule_unmatched"), ("s=%7B", "rule_failed")] {
        assert_eq!(cross(&form.legs[0], body).await.unwrap_err().code(), code, "{body}");
    }
}
