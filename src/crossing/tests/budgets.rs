//! What a body may ask for: as many values and as much growth in any framing as in one document.

use super::framed::taken;
use super::*;

/// A route whose answers have this leg, under these limits.
fn limited(leg: &str, leaves: u64, growth: u64) -> Arc<BoundLeg> {
    let bound = bind(&format!(
        "[limits]\nleaves = {leaves}\ngrowth = {growth}\n[[inbound]]\nmatch = \"GET /x\"\nupstream = \"a\"\n[inbound.response]\n{leg}\n"
    ));
    Arc::clone(&bound.legs[1])
}

/// The leg takes `body` under these limits, and with one value or one byte less says why and where not.
#[track_caller]
fn costs(leg: &str, body: &str, leaves: u64, growth: u64, place: &str) {
    for (leaves, growth, code) in
        [(leaves, growth, ""), (leaves - 1, growth, "json_leaves"), (leaves, growth - 1, "json_growth")]
    {
        let leg = limited(leg, leaves, growth);
        for step in [1, 7, usize::MAX] {
            match (cross_set_apart(&leg, body, step), code) {
                (Ok(()), "") => {}
                (Err(Refusal::BodyMalformed { fault, location, .. }), code) => {
                    assert_eq!((fault, location.as_str()), (code, place), "{body} in pieces of {step}");
                }
                (done, _) => panic!("{leaves}, {growth}: {done:?}"),
            }
        }
    }
}

fn cross_set_apart(leg: &Arc<BoundLeg>, body: &str, step: usize) -> Result<(), Refusal> {
    let mut crossing = Crossing::new(Arc::clone(leg), NOW);
    crossing.set_apart("in".to_owned(), "out".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for chunk in body.as_bytes().chunks(step) {
            crossing.feed(chunk).await?;
        }
        crossing.finish().await
    })
}

#[tokio::test]
async fn values_and_growth_are_counted_for_all_strings_of_a_body_together() {
    let leaves = |leaves| {
        let fields = "fields = [{ path = \"$[*]\", inside = \"json\", fields = [\n\
             { path = \"$[*]\", inside = \"json\", fields = [{ path = \"$.a\", do = \"pseudonymize\" }] },\n\
             { path = \"$.b\", do = \"replace\", with = \"0123456789\" }] }]";
        limited(fields, leaves, 1 << 20)
    };
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let one = quoted(&format!("[{}]", quoted(r#"{"a":"x"}"#)));
    let body = format!("[{one},{one},{one}]");
    // A string in it and a leaf in that, for each of the three.
    cross(&leaves(6), &body).await.unwrap();
    // A string is charged when it is done, so that what it opens may take as much once more.
    assert_eq!(cross(&leaves(4), &body).await.unwrap_err().code(), "json_leaves");
    let body = format!("[{0},{0},{0}]", quoted(r#"{"b":""}"#));
    let replace = "fields = [{ path = \"$[*]\", inside = \"json\", fields = [{ path = \"$.b\", do = \"replace\", with = \"0123456789\" }] }]";
    cross(&limited(replace, 100, 30), &body).await.unwrap();
    assert_eq!(cross(&limited(replace, 100, 29), &body).await.unwrap_err().code(), "json_growth");
}

#[test]
fn of_a_form_each_pair_that_a_rule_has_to_see_counts_and_what_it_grows_by_as_it_is_written() {
    let leg = "body = \"form\"\nkeep = [\"kept\"]\nfields = [{ form = \"a\", do = \"mask\", keep_last = 1 }, { form = \"c\", do = \"replace\", with = \"ä\" }]";
    // Six stars and the sign that a bare name lacks; a constant counts whole, as it is encoded.
    costs(leg, "kept=1&c=123456789&a&a=abcdefgh&a=", 3, 7 + 7 + 6, "pair 5");
    let inside = "body = \"form\"\nfields = [{ form = \"a\", inside = \"json\", fields = [{ path = \"$[*]\", do = \"mask\", keep_last = 1 }] }]";
    let body = "a=%5B%221%22,%222%22%5D&a=%5B%223%22,%224%22%5D";
    cross_set_apart(&limited(inside, 6, 1 << 20), body, 9).unwrap();
    assert_eq!(cross_set_apart(&limited(inside, 5, 1 << 20), body, 9).unwrap_err().code(), "json_leaves");
}

#[test]
fn all_parts_share_what_one_body_may_ask_for() {
    let leg = "body = \"multipart\"\nfields = [{ part = \"a\", do = \"mask\", keep_last = 1 }, { part = \"c\", do = \"replace\", with = \"12345\" }, \
               { part = \"j\", path = \"$[*]\", do = \"mask\", keep_last = 1 }]";
    let part =
        |name: &str, content: &str| format!("--in\r\nContent-Disposition: form-data; name={name}\r\n\r\n{content}\r\n");
    let json = part("j", "[\"1\",\"\"]");
    let body = format!("{}{}{json}{json}--in--", part("a", "1"), part("c", "1"));
    costs(leg, &body, 5, 5 + 5 + 2 * (5 + 6), "part 4: $[1]");
    // The last to ask is a text.
    costs(leg, &format!("{json}{}{}--in--", part("c", ""), part("a", "")), 3, 5 + 6 + 5 + 6, "part 3");
}

#[test]
fn each_event_may_ask_for_as_much_and_a_stream_without_data_never_runs_out() {
    let leg = "body = \"sse\"\nfields = [{ path = \"$.a\", do = \"mask\", keep_last = 1 }, { event = \"id\", do = \"mask\", keep_last = 1 }, \
               { event = \"comment\", inside = \"json\", fields = [{ path = \"$.a\", do = \"mask\", keep_last = 1 }] }]";
    let event = "id: 1\n:{\"a\":\"1\"}\ndata: {\"a\":\"\"}\n\n";
    // The data's string, the id, the comment and what is in it.
    costs(leg, event, 4, 6 + 5 + 5, "event 1: $['a']");
    let quiet = "id: 1\n\n:{\"a\":\"1\"}\n\n".repeat(50);
    let (out, done) = taken(&limited(leg, 2, 5), quiet.as_bytes(), 11);
    done.unwrap();
    assert_eq!(out, "id: ******\n\n:{\"a\":\"******\"}\n\n".repeat(50).as_bytes());
    let (out, done) = taken(&limited(leg, 4, 16), event.repeat(3).as_bytes(), 11);
    done.unwrap();
    assert_eq!(out, "id: ******\n:{\"a\":\"******\"}\ndata: {\"a\":\"******\"}\n\n".repeat(3).as_bytes());
}
