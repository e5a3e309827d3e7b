//! Parts: each by its rules, the same whatever the cut.

use proptest::prelude::*;

use super::*;

const PARTS: &str = r#"
[[inbound]]
match = "POST /x"
upstream = "a"
[inbound.request]
body = "multipart"
reveal = [{ part = "customer", is = "id.customer" }, { part = "order", path = "$.ref", is = "id.order" }]
fields = [{ part = "Note", do = "drop" }]
[inbound.response]
body = "multipart"
keep = ["city"]
fields = [
  { part = "customer", is = "id.customer", do = "tokenize" },
  { part = "phone", do = "mask", keep_last = 2 },
  { part = "source", do = "replace", with = "shop" },
  { part = "order", path = "$.ref", is = "id.order", do = "tokenize" },
  { part = "order", path = "$.n", do = "keep" },
  { part = "scan", do = "keep", whole = true, reason = "a label" },
]
"#;

/// A part's head, and its content.
fn part(head: &str, content: &str) -> String {
    format!("--in\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

/// What comes out, its boundary shortened; a refusal's code if none does.
fn cross_parts(leg: &Arc<BoundLeg>, body: &[u8], step: usize) -> Result<String, &'static str> {
    let mut crossing = Crossing::new(Arc::clone(leg), NOW);
    crossing.set_apart("in".to_owned(), "out".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let done = runtime.block_on(async {
        for chunk in body.chunks(step) {
            crossing.feed(chunk).await?;
        }
        crossing.finish().await
    });
    let out = crossing.take();
    match done {
        Ok(()) => Ok(String::from_utf8_lossy(out.as_bytes()).into_owned()),
        Err(refusal) => {
            assert!(out.is_empty());
            Err(refusal.code())
        }
    }
}

#[track_caller]
fn check(leg: &Arc<BoundLeg>, parts: &[String], wanted: Result<&[String], &'static str>) {
    let body = format!("{}--in--\r\n", parts.concat());
    let wanted = wanted.map(|parts| format!("{}--out--\r\n", parts.concat().replace("--in\r\n", "--out\r\n")));
    for step in [1, 2, 7, usize::MAX] {
        assert_eq!(cross_parts(leg, body.as_bytes(), step), wanted, "{body} in pieces of {step}");
    }
}

#[test]
fn of_parts_only_what_is_listed_leaves() {
    let bound = bind(PARTS);
    let leaves = &bound.legs[1];
    check(leaves, &[part("name=\"secret\"", "1"), part("name=\"City\"", "1")], Ok(&[]));
    let city = part("name=\"city\"", "a\r\n--i\r\n\u{e4}");
    check(leaves, &[city.clone(), part("name=\"x\"; filename=\"anna.pdf\"", "%PDF")], Ok(&[city]));
    check(leaves, &[part("name=phone", "030123456")], Ok(&[part("name=\"phone\"", "******56")]));
    check(leaves, &[part("name=source; filename=a", "1")], Err("part_type"));
    check(leaves, &[part("name=source", "1")], Ok(&[part("name=\"source\"", "shop")]));
    let scan = "name=scan; filename=\"anna.pdf\"\r\nContent-Type: application/pdf; name=anna\r\nX-Anna: 1";
    let kept = "name=\"scan\"; filename=\"file\"\r\nContent-Type: application/pdf";
    check(leaves, &[part(scan, "%PDF\u{0}")], Ok(&[part(kept, "%PDF\u{0}")]));
    let nested = "name=scan\r\nContent-Type: multipart/mixed; boundary=a";
    check(leaves, &[part(nested, "--a--")], Err("part_type"));
    check(leaves, &[part("name=city; filename=a", "1")], Err("part_type"));
    check(leaves, &[part("name=city\r\nContent-Transfer-Encoding: base64", "1")], Err("part_encoding"));
}

#[test]
fn a_json_part_is_a_document_of_its_own() {
    let bound = bind(PARTS);
    let leaves = &bound.legs[1];
    for (head, json) in [("name=order", ""), ("name=order; filename=blob\r\nContent-Type: application/json", " ")] {
        let kept = if json.is_empty() {
            "name=\"order\""
        } else {
            "name=\"order\"; filename=\"file\"\r\nContent-Type: application/json"
        };
        let sent = format!("{json}{{\"n\":1.50,\"m\":[\"secret\"]}}");
        check(leaves, &[part(head, &sent)], Ok(&[part(kept, &format!("{json}{{\"n\":1.50}}"))]));
    }
    check(leaves, &[part("name=order\r\nContent-Type: text/plain", "{}")], Err("part_type"));
    check(leaves, &[part("name=order", "{}{}")], Err("json_trailing"));
    check(leaves, &[part("name=order", "")], Err("json_empty"));
    let body = format!("{}--in--", part("name=order", "{\"ref\":\"o-1\"}"));
    let out = cross_parts(leaves, body.as_bytes(), 5).unwrap();
    assert!(out.contains("{\"ref\":\"tk1_") && !out.contains("o-1"), "{out}");
    let back = out.replace("--out", "--in");
    let back = cross_parts(&bound.legs[0], back.as_bytes(), 5).unwrap();
    assert!(back.contains("{\"ref\":\"o-1\"}"), "{back}");
}

#[test]
fn what_arrives_stays_but_for_files_and_what_a_rule_names_in_any_spelling() {
    let bound = bind(PARTS);
    let arrives = &bound.legs[0];
    let (text, json) = ("name=\"a\"", "name=\"b\"\r\nContent-Type: application/json");
    check(
        arrives,
        &[part(text, "1"), part(json, "{ }"), part("name=nOTE", "2")],
        Ok(&[part(text, "1"), part(json, "{ }")]),
    );
    check(arrives, &[part(json, "{")], Err("json_truncated"));
    check(arrives, &[part("name=a; filename=b", "1")], Err("part_file"));
    check(arrives, &[part("name=a\r\nContent-Type: image/png", "1")], Err("part_file"));
    check(arrives, &[part("name=customer", "plain")], Err("token_not_accepted"));
    let body = [b"--in\r\nContent-Disposition: form-data; name=a\r\n\r\n\xc3".as_slice(), b"\r\n--in--"].concat();
    assert_eq!(cross_parts(arrives, &body, 3), Err("part_utf8"));
    let refuses =
        bind(&PARTS.replace("fields = [{ part = \"Note\"", "default = \"refuse\"\nfields = [{ part = \"Note\""));
    check(&refuses.legs[0], &[part("name=a", "1")], Err("part_unlisted"));
}

#[test]
fn a_part_that_must_be_there_is_asked_for_and_counts() {
    let must =
        PARTS.replace("keep_last = 2", "keep_last = 2, must = true").replace("\"$.n\", do", "\"$.n\", must = true, do");
    let bound = bind(&must);
    let (phone, order) = (part("name=\"phone\"", "030123456"), part("name=\"order\"", "{\"n\":1}"));
    let masked = part("name=\"phone\"", "******56");
    check(&bound.legs[1], &[phone.clone(), order.clone()], Ok(&[masked, order.clone()]));
    check(&bound.legs[1], std::slice::from_ref(&phone), Err("rule_unmatched"));
    check(&bound.legs[1], &[phone, part("name=\"order\"", "{}")], Err("rule_unmatched"));
    check(&bound.legs[1], &[order], Err("rule_unmatched"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_unlisted_part_survives_and_kept_ones_keep_their_bytes(
        parts in prop::collection::vec((
            prop::sample::select(vec!["city", "secret", "scan", "order", "cit"]),
            prop::collection::vec(prop::sample::select(vec!["\r", "\n", "--in", "--", "secret", "\u{e4}", "\r\n--i"]), 0..6),
        ), 0..6),
        step in 1_usize..20,
    ) {
        let bound = bind(PARTS);
        let (mut body, mut wanted) = (String::new(), String::new());
        for (name, content) in &parts {
            let content = if *name == "order" { "{\"m\":\"secret\",\"n\":1}".to_owned() } else { content.concat() };
            // What looks like a delimiter is one.
            let content = content.replace("\r\n--in", "");
            let content = content.strip_prefix("--in").unwrap_or(&content);
            body.push_str(&part(&format!("name=\"{name}\""), content));
            let kept = match *name {
                "city" | "scan" => content,
                "order" => "{\"n\":1}",
                _ => continue,
            };
            wanted.push_str(&part(&format!("name=\"{name}\""), kept).replace("--in\r\nC", "--out\r\nC"));
        }
        let body = format!("{body}--in--");
        let out = cross_parts(&bound.legs[1], body.as_bytes(), step);
        prop_assert_eq!(out, Ok(format!("{wanted}--out--\r\n")));
    }
}
