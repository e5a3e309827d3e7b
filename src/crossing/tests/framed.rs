//! Bodies of many documents: the same whatever the cut, each document as if it were alone.

use proptest::prelude::*;

use super::*;

/// What may be taken of a body in pieces of these sizes, and why it ended early.
pub(super) fn taken(leg: &Arc<BoundLeg>, body: &[u8], step: usize) -> (Vec<u8>, Result<(), Refusal>) {
    let mut crossing = Crossing::new(Arc::clone(leg), NOW);
    let mut out = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let done = runtime.block_on(async {
        for chunk in body.chunks(step.max(1)) {
            let fed = crossing.feed(chunk).await;
            out.extend_from_slice(crossing.take().as_bytes());
            fed?;
        }
        crossing.finish().await
    });
    out.extend_from_slice(crossing.take().as_bytes());
    (out, done)
}

const RULES: &str = r#"
keep = ["$.keep", "$.list[*].keep"]
fields = [
  { path = "$.mask", do = "mask", keep_last = 2 },
  { path = "$.hash", is = "id", do = "pseudonymize" },
  { path = "$.list[0]", do = "drop" },
  { path = "$.const", do = "replace", with = "-" },
]
"#;

/// A route with one leg of this kind under [`RULES`], beside one of plain JSON under the same.
pub(super) fn beside_json(kind: &str) -> Bound {
    let route = |name: &str, kind: &str| {
        format!(
            "[[inbound]]\nmatch = \"GET /{name}\"\nupstream = \"a\"\n[inbound.response]\nbody = \"{kind}\"\n{RULES}\n"
        )
    };
    bind(&format!("{}{}", route("x", kind), route("y", "json")))
}

/// Documents that the rules look into, spelt with white space, some of them broken.
pub(super) fn documents() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "-1.50e2",
        "null",
        "true",
        "\"\"",
        "\"a\\u0041b\"",
        "\"secret secret\"",
        "[ ]",
        "[1, {\"keep\":2}]",
        "{}",
    ]);
    let name = prop::sample::select(vec!["keep", "mask", "hash", "const", "list", "other", "ke\\u0065p"]);
    let space = prop::sample::select(vec!["", " ", "\t "]);
    let member = (name, space, leaf).prop_map(|(name, space, leaf)| format!("{space}\"{name}\":{space}{leaf}"));
    let object = prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")));
    let broken = prop::sample::select(vec!["{\"keep\":", "{]", "1 2", "\"", "{\"keep\":01}"]);
    prop_oneof![8 => object, 1 => Just("[1]".to_owned()), 1 => broken.prop_map(str::to_owned)]
}

#[tokio::test]
async fn a_record_that_is_held_is_not_copied_with_every_piece_of_it() {
    let bound = beside_json("ndjson");
    let record = format!("{{\"list\":[0{}]}}", ",{\"keep\":1}".repeat(20_000));
    let wanted = cross_in(&bound.legs[3], &record, usize::MAX).await.unwrap();
    assert!(wanted.len() > 200_000);
    let body = format!("{{}}\n{record}\n{{\"ke");
    let mut crossing = Crossing::new(Arc::clone(&bound.legs[1]), NOW);
    let (mut out, mut moved) = (Vec::new(), 0);
    // The first piece ends in the record, so that what is before it leaves and the rest stays.
    let (first, rest) = body.as_bytes().split_at(1000);
    for piece in std::iter::once(first).chain(rest.chunks(1)) {
        crossing.feed(piece).await.unwrap();
        let room = (crossing.out.sink.bytes.as_ptr(), crossing.out.sink.bytes.capacity());
        out.extend_from_slice(crossing.take().as_bytes());
        let held = &crossing.out.sink.bytes;
        moved += usize::from(!held.is_empty() && room != (held.as_ptr(), held.capacity()));
    }
    assert_eq!(String::from_utf8(out).unwrap(), format!("{{}}\n{wanted}\n"));
    assert_eq!(moved, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_line_is_what_it_would_be_alone_however_the_body_is_cut(
        lines in prop::collection::vec((documents(), prop::sample::select(vec!["\n", "\r\n", "\n\n", "\n \t\r\n"])), 0..6),
        last in prop::option::of(documents()),
        step in 1_usize..40,
    ) {
        let bound = beside_json("ndjson");
        let (lines_leg, json_leg) = (&bound.legs[1], &bound.legs[3]);
        let (mut body, mut wanted, mut good) = (String::new(), String::new(), true);
        let ends = lines.into_iter().chain(last.map(|last| (last, "")));
        for (document, end) in ends {
            body.push_str(&document);
            body.push_str(end);
            let (alone, done) = taken(json_leg, document.as_bytes(), usize::MAX);
            good = good && done.is_ok();
            if good {
                wanted.push_str(std::str::from_utf8(&alone).unwrap());
                wanted.push_str(end);
            }
        }
        for step in [step, usize::MAX] {
            let (out, done) = taken(lines_leg, body.as_bytes(), step);
            prop_assert_eq!(String::from_utf8(out).unwrap(), wanted.as_str());
            prop_assert_eq!(done.is_ok(), good);
        }
    }
}

#[test]
fn counts_go_on_from_record_to_record() {
    let bound = beside_json("ndjson");
    let mut crossing = Crossing::new(Arc::clone(&bound.legs[1]), NOW);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(crossing.feed(b"{\"keep\":1}\n{\"keep\":2,\"const\":1}\n")).unwrap();
    runtime.block_on(crossing.finish()).unwrap();
    let tally = crossing.tally();
    let counts: Vec<_> = tally.iter().map(|(id, count)| (id.as_str(), *count)).collect();
    assert_eq!(counts, [("keep", 2), ("const", 1)]);
}

#[test]
fn the_place_of_a_fault_is_its_line_and_its_byte_in_the_body() {
    let bound = beside_json("ndjson");
    let (_, done) = taken(&bound.legs[1], b"{}\n\n  {\"keep\":01}", 3);
    let place = Refusal::BodyMalformed {
        leg: Leg::Response,
        fault: "json_number",
        location: "line 3: $['keep']".to_owned(),
        offset: 15,
    };
    assert_eq!(done, Err(place));
}

const EVENTS: &str = r#"
[[inbound]]
match = "GET /x"
upstream = "a"
[inbound.response]
body = "sse"
events = ["message", "made"]
literals = ["[DONE]"]
keep = ["$.keep", "$.list"]
fields = [{ event = "id", is = "id", do = "pseudonymize" }]
"#;

#[track_caller]
fn check_events(routes: &str, body: &str, wanted: &str) {
    let bound = bind(routes);
    for step in [1, 2, 5, usize::MAX] {
        let (out, done) = taken(&bound.legs[1], body.as_bytes(), step);
        done.unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), wanted, "in pieces of {step}");
    }
}

#[test]
fn of_an_event_what_no_rule_changes_keeps_its_bytes() {
    for same in [
        "data: {\"keep\": 1.50}\n\n",
        "event:made\r\ndata:{\"keep\":\r\ndata:  \"a\\u0041\"}\r\n\r\n",
        "data:{\rdata: }\rretry: 3000\rdata\r\r",
        "data: [DONE]\n\ndata\n\n\n\n:\n",
    ] {
        check_events(EVENTS, same, same);
    }
}

#[test]
fn of_an_event_only_what_is_listed_leaves() {
    for (body, wanted) in [
        ("data:{\"keep\":1,\"no\":2}\r\r", "data:{\"keep\":1}\r\r"),
        ("data: {\"keep\":\ndata:1,\ndata:\"no\":2\ndata:}\n\n", "data: {\"keep\":\ndata: 1\ndata: }\n\n"),
        ("event: other\r\ndata: {\"keep\":1}\r\n\r\ndata:{}\n\n", "data:{}\n\n"),
        ("event: anna\nevent: made\ndata: {}\n\n", ""),
        (": anna\n:anna\ndata:{}\n: anna\n\n", ":\n:\ndata:{}\n:\n\n"),
        ("who: anna\nretry: anna\nretry: 99999999\nretry: 5\n\n", "retry: 5\n\n"),
        ("id: a\0b\nanna\n\n", ""),
        ("data: 1\n\ndata: {\"keep\":1}", "data: null\n\n"),
        ("\u{feff}data:{}\n\n", "data:{}\n\n"),
    ] {
        check_events(EVENTS, body, wanted);
    }
    let bound = bind(EVENTS);
    let (out, _) = taken(&bound.legs[1], b"id\nid: anna\ndata: {}\n\n", 3);
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("id: ") && !out.contains("anna") && out.ends_with("\ndata: {}\n\n"), "{out}");
    // Without a list, names and ids go.
    let bare = EVENTS.replace("events = [\"message\", \"made\"]", "").replace("fields =", "# fields =");
    check_events(&bare, "event: made\ndata:{}\n\nid: 1\ndata:{}\n\n", "data:{}\n\n");
}

#[test]
fn a_receiving_leg_keeps_events_and_ids_and_refuse_refuses_them() {
    let receives = EVENTS.replace("[inbound.response]", "[inbound.response]\ndefault = \"keep\"");
    let receives = receives.replace("events = [\"message\", \"made\"]", "").replace("fields =", "# fields =");
    let body = "event: new\nid: 7\n: note\ndata: {\"a\":1}\n\n";
    check_events(&receives, body, body);
    let refuses = bind(&receives.replace("\"keep\"", "\"refuse\""));
    let unlisted = "event 2";
    for (body, wanted) in
        [("event: new\ndata: {}\n\n", Some(unlisted)), ("id: 1\n\n", Some(unlisted)), ("data: {\"a\":1}\n\n", None)]
    {
        let (out, done) = taken(&refuses.legs[1], format!("data: {{}}\n\n{body}").as_bytes(), 4);
        assert_eq!(out, b"data: {}\n\n");
        let Err(Refusal::BodyMalformed { location, offset, .. }) = done else { panic!("{done:?}") };
        assert_eq!(offset, "data: {}\n\n".len() as u64);
        if let Some(wanted) = wanted {
            assert_eq!(location, wanted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_events_data_is_what_it_would_be_alone_however_the_body_is_cut(
        events in prop::collection::vec((documents(), prop::sample::select(vec!["\n", "\r\n", "\r"])), 0..6),
        step in 1_usize..40,
    ) {
        let bound = beside_json("sse");
        let (events_leg, json_leg) = (&bound.legs[1], &bound.legs[3]);
        let (mut body, mut wanted, mut good) = (String::new(), String::new(), true);
        for (document, end) in events {
            // A byte between two tokens may be a line's end.
            let document = document.replacen(',', &format!(",{end}data: "), 1);
            body.push_str(&format!("data: {document}{end}{end}"));
            let joined = document.replace(&format!("{end}data: "), "\n");
            let (alone, done) = taken(json_leg, joined.as_bytes(), usize::MAX);
            good = good && done.is_ok();
            if good {
                let alone = String::from_utf8(alone).unwrap().replace('\n', &format!("{end}data: "));
                wanted.push_str(&format!("data: {alone}{end}{end}"));
            }
        }
        for step in [step, usize::MAX] {
            let (out, done) = taken(events_leg, body.as_bytes(), step);
            prop_assert_eq!(String::from_utf8(out).unwrap(), wanted.as_str());
            prop_assert_eq!(done.is_ok(), good);
        }
    }
}
