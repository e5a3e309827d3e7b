//! What stands beside Tidegate: the upstream, a bare hyper proxy, and one that does the job on `serde_json::Value`.
//!
//! Each is this very program, started again as a process of its own.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jsonpath_rust::JsonPath;
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;

use super::{KEPT, SIZES, TOKENS};

type Body = BoxBody<Bytes, hyper::Error>;

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed()
}

/// One order of about 500 bytes.
fn order(number: usize) -> String {
    format!(
        r#"{{"id":"ord-{number:06}","status":"packed","total":{}.{:02},"customer":{{"id":"cus-{:05}","name":"Zo\u00eb Lindqvist","email":"zoe.{number}@mail.example","phone":"+49151{:07}","birth_date":"1987-11-02"}},"delivery":{{"street":"Lindenallee {}","postcode":"10245","city":"Berlin"}},"items":[{{"sku":"SKU-{number}","quantity":2,"price":19.90,"cost":7.12}},{{"sku":"SKU-{}","quantity":1,"price":5.00,"cost":1.20}}],"note":"ring twice, then leave it with the neighbour","margin":0.31}}"#,
        number % 900,
        number % 100,
        number % 77_777,
        number * 7919 % 10_000_000,
        number % 120,
        number + 1,
    )
}

/// A list of orders of about so many bytes.
fn orders(bytes: usize) -> Bytes {
    let mut text = String::from("{\"orders\":[");
    let mut number = 0;
    while text.len() < bytes.max(900) - 300 {
        if number > 0 {
            text.push(',');
        }
        text += &order(number);
        number += 1;
    }
    text += "],\"page\":1}";
    text.into()
}

/// `/stream/N`: a list of orders of N MiB, made while it is sent.
fn stream(mebibytes: u64) -> Body {
    let many: Bytes = (0..128).map(order).collect::<Vec<_>>().join(",").into();
    let count = mebibytes * (1 << 20) / many.len() as u64;
    let middle = (0..count).flat_map(move |n| [Bytes::from_static(if n == 0 { b"" } else { b"," }), many.clone()]);
    let all = std::iter::once(Bytes::from_static(b"{\"orders\":[")).chain(middle).chain([Bytes::from_static(b"]}")]);
    let frames = all.filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes)));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

/// `/lines/N`: an order a line, N MiB, made while they are sent.
fn lines(mebibytes: u64) -> Body {
    let many: Bytes = (0..128).map(|n| format!("{{\"orders\":[{}]}}\n", order(n))).collect::<String>().into();
    let count = usize::try_from(mebibytes * (1 << 20) / many.len() as u64).expect("a number");
    let frames = std::iter::repeat_n(many, count).map(|bytes| Ok(Frame::data(bytes)));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

/// Microseconds of a clock that all processes share.
pub fn now() -> u64 {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    u64::try_from(time.as_micros()).expect("a time")
}

/// `/events/N`: so many events, one every 2 ms; each says when it was made.
fn events(count: u64) -> Response<Body> {
    let frames = futures_util::stream::unfold(0, move |n| async move {
        if n == count {
            return None;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let text = format!("data: {{\"page\":{n},\"made\":{},\"order\":{}}}\n\n", now(), order(7));
        Some((Ok(Frame::data(Bytes::from(text))), n + 1))
    });
    let body = BodyExt::boxed(StreamBody::new(frames));
    Response::builder().header("content-type", "text/event-stream").body(body).expect("an answer")
}

fn json(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(body).expect("an answer")
}

/// Plays a role until it is killed. Says on standard output where it listens.
pub fn play(role: &str, upstream: Option<SocketAddr>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address"));
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Client<_, Incoming> =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let bodies: Vec<_> = SIZES.iter().map(|(name, bytes, _)| (format!("/orders/{name}"), orders(*bytes))).collect();
        let bodies: &'static [(String, Bytes)] = bodies.leak();
        let paths: &'static [&'static str] = [KEPT, TOKENS].concat().leak();
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            let _ = socket.set_nodelay(true);
            let (role, client) = (role.to_owned(), client.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (role, client) = (role.clone(), client.clone());
                async move {
                    let answer = match (role.as_str(), upstream) {
                        ("bare", Some(upstream)) => forward(&client, request, upstream).await?.map(BodyExt::boxed),
                        ("value", Some(upstream)) => {
                            let (mut parts, body) = forward(&client, request, upstream).await?.into_parts();
                            let body = filter(&body.collect().await?.to_bytes(), paths);
                            parts.headers.remove("content-length");
                            Response::from_parts(parts, full(body))
                        }
                        _ => match request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/')) {
                            Some(("stream", size)) => json(stream(size.parse().unwrap_or(1))),
                            Some(("lines", size)) => {
                                let mut answer = json(lines(size.parse().unwrap_or(1)));
                                let lines = http::HeaderValue::from_static("application/x-ndjson");
                                answer.headers_mut().insert("content-type", lines);
                                answer
                            }
                            Some(("events", count)) => events(count.parse().unwrap_or(1)),
                            _ => {
                                let body = bodies.iter().find(|(path, _)| path == request.uri().path());
                                json(full(body.map(|(_, body)| body.clone()).unwrap_or_default()))
                            }
                        },
                    };
                    Ok::<_, hyper::Error>(answer)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::spawn(connection);
        }
    });
}

/// Sends the request on, with another authority.
async fn forward(
    client: &Client<HttpConnector, Incoming>,
    mut request: Request<Incoming>,
    upstream: SocketAddr,
) -> Result<Response<Incoming>, hyper::Error> {
    let uri: Uri = format!("http://{upstream}{}", request.uri().path()).parse().expect("a URI");
    *request.uri_mut() = uri;
    request.headers_mut().remove("host");
    Ok(client.request(request).await.expect("the upstream answers"))
}

/// The same rules on a `Value`: what one would write in an afternoon.
fn filter(body: &[u8], paths: &[&str]) -> Bytes {
    let value: Value = serde_json::from_slice(body).expect("JSON");
    let mut kept = HashSet::new();
    for path in paths {
        for found in value.query_with_path(path).expect("a path") {
            kept.insert(found.path());
        }
    }
    let tokens: HashSet<_> =
        TOKENS.iter().flat_map(|path| value.query_with_path(path).expect("a path")).map(|found| found.path()).collect();
    let key = Hmac::<Sha256>::new_from_slice(&[7; 32]).expect("a key");
    let pruned = prune(&value, "$", &kept, &tokens, &key).unwrap_or(Value::Null);
    serde_json::to_vec(&pruned).expect("JSON").into()
}

fn prune(
    value: &Value,
    path: &str,
    kept: &HashSet<String>,
    tokens: &HashSet<String>,
    key: &Hmac<Sha256>,
) -> Option<Value> {
    match value {
        Value::Object(members) => {
            let inner = members.iter().filter_map(|(name, value)| {
                Some((name.clone(), prune(value, &format!("{path}['{name}']"), kept, tokens, key)?))
            });
            Some(Value::Object(inner.collect()))
        }
        Value::Array(elements) => {
            let inner = elements.iter().enumerate();
            Some(inner.filter_map(|(n, value)| prune(value, &format!("{path}[{n}]"), kept, tokens, key)).collect())
        }
        _ if tokens.contains(path) => {
            let mut mac = key.clone();
            mac.update(value.to_string().as_bytes());
            Some(Value::String(data_encoding::BASE32_NOPAD.encode(&mac.finalize().into_bytes())))
        }
        leaf => kept.contains(path).then(|| leaf.clone()),
    }
}
