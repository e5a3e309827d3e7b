//! Parts (`multipart/form-data`), in both directions, under the leak trap.

use super::harness::Tidegate;
use super::harness::policy::Policy;
use super::harness::upstream::{Upstream, answer, full};

const TYPE: &str = "multipart/form-data; boundary=\"in put\"";

const ROUTES: &str = r#"
[[inbound]]
match = "POST /v1/parts"
upstream = "orders"
[inbound.request]
body = "multipart"
reveal = [{ part = "customer", is = "id.customer" }]
[inbound.response]
body = "multipart"
keep = ["city"]
fields = [
  { part = "customer", is = "id.customer", do = "tokenize" },
  { part = "order", path = "$.n", do = "keep" },
  { part = "scan", do = "keep", whole = true, reason = "a label" },
]
"#;

fn part(head: &str, content: &str) -> String {
    format!("--in put\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

fn whole(parts: &[String]) -> String {
    format!("{}--in put--\r\n", parts.concat())
}

/// The boundary that the header names.
fn boundary(media: &str) -> String {
    media.strip_prefix("multipart/form-data; boundary=").unwrap_or_else(|| panic!("{media}")).to_owned()
}

#[tokio::test]
async fn parts_cross_both_legs_by_the_rules_with_a_boundary_of_ours() {
    let upstream = Upstream::with(|_, canaries| {
        let scan = "name=scan; filename=\"<name>.pdf\"\r\nContent-Type: application/pdf\r\nX-Who: <name.2>";
        let parts = [
            part("name=\"city\"", "Ulm"),
            part("name=\"<secret>\"", "<secret.2>"),
            part("name=\"customer\"", "<customer>"),
            part("name=\"order\"", "{\"n\":1,\"m\":\"<secret.3>\"}"),
            part(scan, "%PDF"),
        ];
        answer(200, TYPE, full(canaries.plant(&whole(&parts))))
    });
    let upstream = upstream.start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo");
    let typed = partner.clone().header("content-type", TYPE);
    let reply = typed.send("POST", "/v1/parts", Some(full(whole(&[part("name=a", "1")])))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let ours = boundary(reply.header("content-type"));
    let found: Vec<&str> = reply.text().split(&format!("--{ours}")).collect();
    assert_eq!(found.len(), 6, "{reply:?}");
    assert!(found[1].ends_with("name=\"city\"\r\n\r\nUlm\r\n"), "{reply:?}");
    assert!(found[2].contains("name=\"customer\"\r\n\r\ntk1_"), "{reply:?}");
    assert!(found[3].ends_with("\r\n\r\n{\"n\":1}\r\n"), "{reply:?}");
    assert!(found[4].contains("filename=\"file\"\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n"), "{reply:?}");
    assert_eq!(found[5], "--\r\n");
    let received = upstream.last();
    let theirs = boundary(received.headers["content-type"].to_str().unwrap());
    assert_ne!(theirs, ours);
    let sent = format!("--{theirs}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--{theirs}--\r\n");
    assert_eq!(received.body, sent.as_bytes());
    // The partner sends its token back, with the boundary that it was given.
    let back = partner.header("content-type", reply.header("content-type"));
    let token = format!("--{ours}{}--{ours}--", found[2]);
    assert_eq!(back.send("POST", "/v1/parts", Some(full(token))).await.status, 200);
    assert!(String::from_utf8_lossy(&upstream.last().body).contains(&upstream.canary("customer")));
}

#[tokio::test]
async fn parts_that_can_be_read_in_two_ways_are_the_callers_fault() {
    let upstream = Upstream::bytes(200, TYPE, "--in put--").start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo");
    let send = async |kind: &str, body: String| {
        let partner = partner.clone().header("content-type", kind);
        partner.send("POST", "/v1/parts", Some(full(body))).await.refusal()
    };
    let one = part("name=a", "1");
    for (body, status, code) in [
        (format!("x\r\n{}", whole(std::slice::from_ref(&one))), 400, "part_preamble"),
        (format!("{}x", whole(std::slice::from_ref(&one))), 400, "part_epilogue"),
        (one.clone(), 400, "part_truncated"),
        (whole(&[part("name=a; filename=b", "1")]), 422, "part_file"),
        (whole(&[part("name=a\r\nContent-Transfer-Encoding: base64", "MQ==")]), 400, "part_encoding"),
        (whole(&[part("name=customer\r\nContent-Type: image/png", "1")]), 415, "part_type"),
        (whole(&[part("name=customer", "plain")]), 422, "token_not_accepted"),
    ] {
        assert_eq!(send(TYPE, body.clone()).await, (status, code.to_owned()), "{body}");
    }
    for kind in ["multipart/form-data", "multipart/mixed; boundary=\"in put\"", "multipart/form-data; boundary=\"a;b\""]
    {
        assert_eq!(send(kind, whole(std::slice::from_ref(&one))).await, (415, "body_type_wrong".to_owned()), "{kind}");
    }
    assert!(upstream.received().is_empty(), "nothing may have reached the upstream");
}

#[tokio::test]
async fn long_parts_stream() {
    let long = "x".repeat(3_000_000);
    let sent = whole(&[part("name=city", &long), part("name=secret", &long), part("name=scan; filename=a", &long)]);
    let upstream = Upstream::bytes(200, TYPE, &sent).start().await;
    let policy = Policy::of("parcelo", ROUTES).limits("atomic = \"4KiB\"\nbody = \"16MiB\"");
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").send("POST", "/v1/parts", None).await;
    assert!(reply.complete && reply.header("content-length").is_empty());
    assert_eq!(reply.text().matches(&long).count(), 2);
}
