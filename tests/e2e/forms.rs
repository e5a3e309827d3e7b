//! Forms (`application/x-www-form-urlencoded`), in both directions, under the leak trap.

use super::harness::Tidegate;
use super::harness::policy::Policy;
use super::harness::upstream::{Upstream, answer, full};

const FORM: &str = "application/x-www-form-urlencoded";

const ROUTES: &str = r#"
[[inbound]]
match = "POST /v1/form"
upstream = "orders"
[inbound.request]
body = "form"
reveal = [{ form = "customer", is = "id.customer" }]
[inbound.response]
body = "form"
keep = ["status"]
fields = [{ form = "customer", is = "id.customer", do = "tokenize" }, { form = "phone", do = "mask", keep_last = 2 }]

[[outbound]]
match = "POST /notes"
upstream = "api"
[outbound.request]
body = "form"
fields = [{ form = "street", do = "keep", must = true }]
[outbound.response]
keep = ["$.ok"]
"#;

async fn serve(upstream: &Upstream, api: &Upstream) -> Tidegate {
    let policy = Policy::of("parcelo", ROUTES).partner("hosts = [\"api.parcelo.internal\"]");
    let policy = policy.limits("atomic = \"4KiB\"\nbody = \"8MiB\"");
    Tidegate::with(policy).upstream("orders", upstream).partner_api("api", api).start().await
}

#[tokio::test]
async fn a_form_crosses_both_legs_by_the_rules() {
    let upstream = Upstream::with(|_, canaries| {
        let body =
            canaries.plant("status=%6Fpen&customer=<customer>&phone=<phone>&secret=<secret>&Customer=<secret.2>");
        answer(200, FORM, full(body))
    });
    let upstream = upstream.start().await;
    let tidegate = serve(&upstream, &Upstream::json("{}").start().await).await;
    let partner = tidegate.partner("parcelo").header("content-type", FORM);
    let reply = partner.send("POST", "/v1/form", Some(full("a=1&b=%20"))).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, FORM), "{reply:?}");
    assert_eq!(upstream.last().body, "a=1&b=%20".as_bytes());
    let token = reply.text().split('&').find_map(|pair| pair.strip_prefix("customer=")).unwrap().to_owned();
    assert!(reply.text().starts_with("status=%6Fpen&customer=tk1_") && reply.text().contains("&phone=*"), "{reply:?}");
    let back = partner.send("POST", "/v1/form", Some(full(format!("customer={token}&x")))).await;
    assert_eq!(back.status, 200);
    assert_eq!(upstream.last().body, format!("customer={}&x", upstream.canary("customer")).as_bytes());
}

#[tokio::test]
async fn a_form_that_is_none_is_the_callers_fault() {
    let upstream = Upstream::bytes(200, FORM, "status=1").start().await;
    let tidegate = serve(&upstream, &Upstream::json("{}").start().await).await;
    let partner = tidegate.partner("parcelo");
    let send = async |kind: &str, body: &'static str| {
        let partner = partner.clone().header("content-type", kind);
        partner.send("POST", "/v1/form", Some(full(body))).await.refusal()
    };
    for (body, status, code) in [
        ("a=%4", 400, "form_escape"),
        ("a=1;b=2", 400, "form_byte"),
        ("a=%ff", 400, "form_utf8"),
        ("customer=plain", 422, "token_not_accepted"),
    ] {
        assert_eq!(send(FORM, body).await, (status, code.to_owned()), "{body}");
    }
    assert_eq!(send("application/json", "{}").await, (415, "body_type_wrong".to_owned()));
    assert!(upstream.received().is_empty(), "nothing may have reached the upstream");
}

#[tokio::test]
async fn a_long_form_streams_to_the_partner_and_its_secrets_stay() {
    let api = Upstream::bytes(200, "application/json", "{\"ok\":true}").start().await;
    let tidegate = serve(&Upstream::json("{}").start().await, &api).await;
    let caller = tidegate.caller("api.parcelo.internal").header("content-type", FORM);
    let street = "street=".to_owned() + &"a%C3%A4+".repeat(100_000);
    let secret = "secret=".to_owned() + &"b".repeat(300_000);
    // A rule that must match would hold it whole: it is over the atomic size.
    let refused = caller.send("POST", "/notes", Some(full(format!("{street}&{secret}")))).await;
    assert_eq!(refused.refusal(), (413, "body_too_large".to_owned()));
    let small = caller.send("POST", "/notes", Some(full("secret=1&street=2"))).await;
    assert_eq!((small.status, &api.last().body[..]), (200, &b"street=2"[..]));
    assert_eq!(caller.send("POST", "/notes", Some(full("secret=1"))).await.refusal().1, "rule_unmatched");
    let policy = Policy::of("parcelo", &ROUTES.replace(", must = true", ""));
    let policy = policy.partner("hosts = [\"api.parcelo.internal\"]").limits("atomic = \"4KiB\"\nbody = \"8MiB\"");
    tidegate.write_policy(&policy);
    tidegate.reload().await.unwrap();
    let streamed = caller.send("POST", "/notes", Some(full(format!("{secret}&{street}&{secret}")))).await;
    assert_eq!(streamed.status, 200, "{streamed:?}");
    assert_eq!(api.last().body, street.as_bytes());
}
