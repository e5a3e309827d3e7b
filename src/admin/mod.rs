//! The admin listener: `/metrics`, `/livez`, `/readyz`, for the operator's own monitoring, and `/reveal` where the settings name
//! operators who may have tokens turned back.
//!
//! Plain HTTP/1.1 on an address of its own that the settings hold to loopback. The pages ask nobody who they are, and tell of names and
//! counts, never of a value; `/reveal` asks for a credential ([`desk`]). Nothing here changes anything. Start at [`Admin::start`].

pub mod desk;
mod reveal;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::ledger::Ledger;
use crate::telemetry::{MEDIA_TYPE, Metrics};
use crate::vault::store::guard::Guard;

use desk::Desk;

/// Connections at once. A scraper or two and a few probes; more is something that does not close its connections.
const CONNECTIONS: usize = 64;

/// For a request's head, and between requests.
const HEAD: Duration = Duration::from_secs(30);

/// How long to wait after an accept that failed: there may be no file descriptor left, and that passes.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A listener that serves until it is dropped or stopped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    accepting: AbortHandle,
}

/// Why the listener does not start.
#[derive(Debug, thiserror::Error)]
#[error("admin listener: cannot listen on `{address}`: {source}")]
pub struct Error {
    address: SocketAddr,
    source: std::io::Error,
}

/// What is told.
struct Facts {
    metrics: Metrics,
    ledger: Ledger,
    store: Option<Arc<Guard>>,
    desk: Option<Arc<Desk>>,
}

impl Admin {
    /// Binds (port 0 takes a free one) and begins to accept, on the runtime that calls this.
    pub async fn start(
        address: SocketAddr,
        metrics: Metrics,
        ledger: Ledger,
        store: Option<Arc<Guard>>,
        desk: Option<Arc<Desk>>,
    ) -> Result<Self, Error> {
        let told = |source| Error { address, source };
        let listener = TcpListener::bind(address).await.map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        let facts = Arc::new(Facts { metrics, ledger, store, desk });
        let accepting = tokio::spawn(accept(listener, facts)).abort_handle();
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Stops accepting; an answer that is on its way is still given.
impl Drop for Admin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, facts: Arc<Facts>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let facts = Arc::clone(&facts);
                tokio::spawn(async move {
                    serve(stream, facts).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(cause = %error, "admin listener cannot accept");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, facts: Arc<Facts>) {
    let answering = service_fn(|request: Request<Incoming>| {
        let facts = Arc::clone(&facts);
        async move { Ok::<_, Infallible>(answer(request, &facts).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 * 1024);
    // Whoever sends what is no HTTP gets what hyper says; there is nobody to tell of it.
    let _ = http.serve_connection(TokioIo::new(stream), answering).await;
}

async fn answer(request: Request<Incoming>, facts: &Facts) -> Response<Full<Bytes>> {
    if let (Some(desk), true) = (&facts.desk, reveal::is_path(request.uri().path())) {
        if request.method() == Method::POST {
            return reveal::answer(request, desk).await;
        }
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    page(request.method(), request.uri().path(), facts).await
}

async fn page(method: &Method, path: &str, facts: &Facts) -> Response<Full<Bytes>> {
    if !["/livez", "/readyz", "/metrics"].contains(&path) {
        return text(StatusCode::NOT_FOUND, "not found\n".to_owned());
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/livez" => text(StatusCode::OK, "alive\n".to_owned()),
        "/readyz" => ready(facts).await,
        _ => {
            let mut response = text(StatusCode::OK, facts.metrics.encode());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
            response
        }
    }
}

async fn ready(facts: &Facts) -> Response<Full<Bytes>> {
    let store = match &facts.store {
        Some(store) => Some(store.status().await),
        None => None,
    };
    let checks = facts.metrics.readiness().checks(facts.ledger.healthy(), store);
    let ready = checks.iter().all(|check| check.ok);
    let line = |check: &crate::telemetry::readiness::Check| {
        format!("{} {}: {}\n", if check.ok { "ok  " } else { "fail" }, check.name, check.says)
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, checks.iter().map(line).collect())
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clock::{Clock, Time};
    use crate::ledger::{Durability, Settings};

    /// Asks, over TCP, and returns status line, head and body.
    async fn ask(admin: &Admin, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(admin.address()).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
    }

    fn check(test: impl AsyncFnOnce(&Admin, &Metrics, &Ledger)) {
        let folder = TempDir::new().unwrap();
        let settings =
            Settings { folder: folder.path().into(), durability: Durability::Strict, segment_bytes: 1 << 20 };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let metrics = Metrics::new();
            let (ledger, _) = Ledger::start_measured(settings, Clock::manual(Time(0)), metrics.ledger()).unwrap();
            let admin =
                Admin::start(([127, 0, 0, 1], 0).into(), metrics.clone(), ledger.clone(), None, None).await.unwrap();
            test(&admin, &metrics, &ledger).await;
            ledger.stop().await;
        });
    }

    #[test]
    fn metrics_are_open_metrics_text() {
        check(async |admin, metrics, _| {
            metrics.policies_loaded("ab", 2, Time(0));
            let (status, head, body) = ask(admin, "GET", "/metrics").await;
            assert_eq!(status, 200);
            assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
            assert!(body.contains("tidegate_policy_partners 2\n"), "{body}");
            assert!(body.contains("tidegate_ledger_healthy 1\n"), "{body}");
            assert!(body.ends_with("# EOF\n"), "{body}");
        });
    }

    #[test]
    fn readiness_says_what_stands_in_the_way() {
        check(async |admin, metrics, ledger| {
            assert_eq!(ask(admin, "GET", "/readyz").await.0, 503);
            metrics.policies_loaded("ab", 2, Time(0));
            let (status, _, body) = ask(admin, "GET", "/readyz").await;
            let loaded = "ok   policies: 2 partners, set ab, loaded 1970-01-01T00:00:00.000Z\n";
            assert_eq!((status, body), (200, format!("{loaded}ok   ledger: written\nok   draining: no\n")));
            metrics.policies_failed(3, Time(1000));
            let (status, _, body) = ask(admin, "GET", "/readyz").await;
            assert_eq!(status, 200);
            assert!(body.contains("reload failed since 1970-01-01T00:00:01.000Z with 3 complaints"), "{body}");
            metrics.readiness().drain();
            ledger.stop().await;
            let (status, _, body) = ask(admin, "GET", "/readyz").await;
            assert_eq!(status, 503);
            assert!(body.contains("fail ledger") && body.contains("fail draining: going down"), "{body}");
            assert_eq!(ask(admin, "GET", "/livez").await.0, 200);
        });
    }

    #[test]
    fn nothing_else_is_there_and_nothing_can_be_changed() {
        check(async |admin, _, _| {
            for path in ["/", "/reveal", "/reveal/take", "/metrics/", "/readyz/x", "/debug", "/..%2fmetrics"] {
                assert_eq!(ask(admin, "GET", path).await.0, 404, "{path}");
            }
            for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
                let (status, head, _) = ask(admin, method, "/metrics").await;
                assert_eq!(status, 405, "{method}");
                assert!(head.contains("allow: get, head"), "{head}");
            }
            let (status, head, body) = ask(admin, "HEAD", "/livez").await;
            assert_eq!((status, body.as_str()), (200, ""));
            assert!(head.contains("content-length: 6"), "{head}");
        });
    }
}
