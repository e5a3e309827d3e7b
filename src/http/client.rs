//! A client for the few calls that the program makes on its own behalf, such as to a key service. Blocks.
//!
//! Sends one request once: no redirects, no proxies, no retries (save where a kept connection turned out to be closed before
//! anything was sent). Not for exchanges: those go by `proxy::upstream`. Start at [`Client::send`].

use std::fmt;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::http::{HeaderMap, Method, Request, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::trust;

/// Whom to call, and within which bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `http` or `https`, host, port, and a path that is put before each path.
    pub url: Uri,
    /// PEM of its authority; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest answer.
    pub answer_bytes: usize,
}

/// Head and body of an answer; wiped when dropped.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer. Says nothing of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection.
    Unreachable,
    /// Not in time.
    Slow,
    /// Not HTTP, broken off, or too long.
    Broken,
}

/// Keeps its connections between calls.
pub struct Client {
    settings: Settings,
    /// Without a slash at its end.
    base: String,
    pooled: Pooled<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// `None` while a call has it, and when it is dropped.
    runtime: Mutex<Option<Runtime>>,
    /// Told when a call gives it back.
    free: Condvar,
}

/// The runtime, for one call.
struct Turn<'a> {
    client: &'a Client,
    runtime: Option<Runtime>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.client.runtime() = self.runtime.take();
        self.client.free.notify_one();
    }
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// What is wrong with the settings' files, or the system gives no threads.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect));
        let secure = settings.url.scheme_str() == Some("https");
        let tls = if secure {
            trust::client_config(settings.ca.as_deref(), None)?.0
        } else {
            trust::client_config_without_authorities()?
        };
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let builder = if secure { builder.https_only() } else { builder.https_or_http() };
        let pooled = Pooled::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(builder.enable_http1().wrap_connector(connector));
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime to call by: {}", error.kind()))?;
        let base = settings.url.to_string().trim_end_matches('/').to_owned();
        Ok(Self { settings, base, pooled, runtime: Mutex::new(Some(runtime)), free: Condvar::new() })
    }

    /// Where `path` is, for messages.
    #[must_use]
    pub fn place(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn runtime(&self) -> MutexGuard<'_, Option<Runtime>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runtime once no other call has it; `None`: not by then.
    fn turn(&self, until: Instant) -> Option<Turn<'_>> {
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.free.wait_timeout_while(self.runtime(), left, |runtime| runtime.is_none());
        let runtime = waited.unwrap_or_else(PoisonError::into_inner).0.take();
        runtime.is_some().then_some(Turn { client: self, runtime })
    }

    /// Sends a request and reads the whole answer, within `limit`. Of two at once the second waits for the first, and that counts.
    ///
    /// # Errors
    /// See [`Failure`]. An answer of any status is an answer.
    pub fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Zeroizing<Vec<u8>>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let mut request = Request::new(Full::new(Bytes::from_owner(body)));
        *request.method_mut() = method;
        *request.uri_mut() = self.place(path).parse().map_err(|_| Failure::Broken)?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        // A thread of its own, because whoever calls may be on one that serves others, where blocking is not allowed.
        let until = Instant::now() + limit;
        let call = || {
            let turn = self.turn(until).ok_or(Failure::Slow)?;
            let runtime = turn.runtime.as_ref().ok_or(Failure::Unreachable)?;
            let left = until.saturating_duration_since(Instant::now());
            runtime.block_on(async { timeout(left, self.exchange(request)).await.map_err(|_| Failure::Slow)? })
        };
        std::thread::scope(|scope| {
            match std::thread::Builder::new().name("client".to_owned()).spawn_scoped(scope, call) {
                Ok(thread) => thread.join().unwrap_or(Err(Failure::Broken)),
                Err(_) => Err(Failure::Unreachable),
            }
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let response = self.pooled.request(request).await;
        // A failure's own text may quote what was sent.
        let response = response.map_err(|e| if e.is_connect() { Failure::Unreachable } else { Failure::Broken })?;
        let status = response.status().as_u16();
        let mut reading = Limited::new(response.into_body(), self.settings.answer_bytes);
        let mut body = Zeroizing::new(Vec::with_capacity(self.settings.answer_bytes));
        while let Some(frame) = reading.frame().await {
            if let Some(data) = frame.map_err(|_| Failure::Broken)?.data_ref() {
                body.extend_from_slice(data);
            }
        }
        Ok(Answer { status, body })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Dropped as usual it would block, which is not allowed everywhere.
        if let Some(runtime) = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::http::testing::authority;

    /// Answers one request on each connection, over TLS with the certificate in `folder`.
    fn serve(folder: &Path) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let chain = crate::http::pem::certificates(&folder.join("server.pem")).unwrap();
        let key = crate::http::pem::key(&folder.join("server.key")).unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(trust::provider()).with_safe_default_protocol_versions();
        let config = Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
                let mut head = [0; 1024];
                if stream.read(&mut head).is_ok() {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                }
            }
        });
        address
    }

    #[test]
    fn who_waits_for_another_call_is_told_within_its_own_time() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = Settings {
            url: format!("http://{}", silent.local_addr().unwrap()).parse().unwrap(),
            ca: None,
            connect: Duration::from_secs(5),
            answer_bytes: 100,
        };
        let client = Client::new(settings).unwrap();
        let send = |limit| {
            let limit = Duration::from_millis(limit);
            let answer = client.send(Method::POST, "/", HeaderMap::new(), Zeroizing::default(), limit);
            assert_eq!(answer.map(|answer| answer.status), Err(Failure::Slow));
        };
        std::thread::scope(|scope| {
            let long = scope.spawn(|| send(2_000));
            // It has the turn once it has connected.
            let _held = silent.accept().unwrap();
            let start = Instant::now();
            send(50);
            assert!(!long.is_finished(), "{:?}", start.elapsed());
            // The silent one hangs up when the other has given up by itself.
            long.join().unwrap();
        });
    }

    #[test]
    fn a_server_is_believed_if_its_authority_is_and_its_name_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (authority("ours"), authority("other"));
        ours.write_self(folder.path(), "ours");
        other.write_self(folder.path(), "other");
        ours.write(folder.path(), "server", &ours.issue_for_servers(&["localhost"]));
        let port = serve(folder.path()).port();
        for (host, ca, wanted) in [
            ("localhost", "ours.pem", Ok(200)),
            ("localhost", "other.pem", Err(Failure::Unreachable)),
            ("127.0.0.1", "ours.pem", Err(Failure::Unreachable)),
        ] {
            let settings = Settings {
                url: format!("https://{host}:{port}/base/").parse().unwrap(),
                ca: Some(folder.path().join(ca)),
                connect: Duration::from_secs(5),
                answer_bytes: 100,
            };
            let client = Client::new(settings).unwrap();
            assert_eq!(client.place("/x"), format!("https://{host}:{port}/base/x"));
            let limit = Duration::from_secs(10);
            let answer = client.send(Method::POST, "/x", HeaderMap::new(), Zeroizing::default(), limit);
            assert_eq!(answer.map(|answer| answer.status), wanted, "{host} {ca}");
        }
    }
}
