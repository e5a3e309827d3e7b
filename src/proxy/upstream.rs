//! The other side: pooled connections, limits, time.
//!
//! Sends one request once: no retries (save where a pooled connection turned out to be closed: [`super::retry`]), no redirects,
//! no proxies. Plain HTTP/1.1 goes by our own [`Pool`], TLS and HTTP/2 by hyper-util's client. What it refuses it refuses as [`Refusal::UpstreamUnreachable`], `UpstreamSlow`,
//! `UpstreamMalformed` or `Overloaded`. Start at [`Upstream::send`].

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;

use crate::http::body::{Hold, Outgoing};
use crate::http::trust::{self, Fingerprint};
use crate::secret::Secret;
use crate::telemetry::meters::UpstreamMetrics;
use crate::verdict::Refusal;

use super::pool::{Answer, Failure, Places, Pool};

/// One upstream's checked settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme, authority, and a path prefix that is put before each path.
    pub url: ::http::Uri,
    /// PEM of its authority; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Certificate and key (PEM) that we show.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Headers that we present there (the upstream's credential): read from environment or file, never written in the settings.
    pub headers: Vec<(::http::HeaderName, Secret<String>)>,
    /// Connections at once. Default 256.
    pub connections: usize,
    /// Speak HTTP/2 without asking (prior knowledge on plain text; by ALPN on TLS in any case).
    pub http2: bool,
    /// For a connection. Default 2 s.
    pub connect: Duration,
    /// To the end of the response's head. Default 30 s.
    pub response: Duration,
    /// Between two reads of a body. Default 30 s.
    pub idle: Duration,
    /// How long an unused connection is kept. Default 60 s.
    pub keep_alive: Duration,
}

/// Bytes of a response's head: as much as of a request's.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// One upstream, with its connections.
pub struct Upstream {
    settings: Settings,
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    prefix: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    client: Connections,
    /// Of what TLS believes and shows.
    fingerprint: Option<Fingerprint>,
    /// What plain HTTP/1.1 says in `Host`.
    host: HeaderValue,
    places: Arc<Semaphore>,
    metrics: Arc<UpstreamMetrics>,
}

/// Pooled connections. Plain text needs no authorities, so that a system without any can still speak it.
enum Connections {
    Plain(Arc<Pool>),
    Plain2(Client<HttpConnector, Outgoing>),
    Secure(Client<Within<HttpsConnector<HttpConnector>>, Outgoing>),
}

/// Whether nothing of a request can have been sent that came to this: there was no connection.
#[must_use]
pub fn unsent(refusal: &Refusal) -> bool {
    use Refusal as R;
    matches!(refusal, R::UpstreamUnreachable | R::Overloaded | R::Draining | R::PathNotNormal)
}

impl Upstream {
    /// Makes the client; connects to nothing yet.
    ///
    /// # Errors
    /// What is wrong with the settings' files or values.
    pub fn new(settings: Settings, metrics: Arc<UpstreamMetrics>) -> Result<Self, String> {
        let parts = settings.url.clone().into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("the url needs a scheme and a host".to_owned());
        };
        let prefix = parts.path_and_query.map_or_else(String::new, |path| path.path().trim_end_matches('/').to_owned());
        let mut headers = Vec::with_capacity(settings.headers.len());
        for (name, value) in &settings.headers {
            let mut value = HeaderValue::from_str(value.expose_secret())
                .map_err(|_| format!("the value of `{name}` is no header value"))?;
            value.set_sensitive(true);
            headers.push((name.clone(), value));
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect));
        connector.set_keepalive(Some(Duration::from_secs(60)));
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.keep_alive)
            .pool_max_idle_per_host(settings.connections)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http2_max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .http2_adaptive_window(true);
        let mut fingerprint = None;
        let client = if scheme == Scheme::HTTPS {
            let identity = settings.client_certificate.as_ref().map(|(chain, key)| (chain.as_path(), key.as_path()));
            let (tls, read) = trust::client_config(settings.ca.as_deref(), identity)?;
            fingerprint = Some(read);
            let secure = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
            let inner = secure.enable_http1().enable_http2().wrap_connector(connector);
            Connections::Secure(builder.build(Within { inner, limit: settings.connect }))
        } else if settings.http2 {
            Connections::Plain2(builder.http2_only(true).build(connector))
        } else {
            // As many header fields as hyper takes without an allocation for each answer: 100.
            let mut http1 = http1::Builder::new();
            http1.max_buf_size(HEAD_BYTES_MAX);
            let origin = Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query("/").build();
            let origin = origin.map_err(|error| error.to_string())?;
            Connections::Plain(Pool::new(
                connector,
                origin,
                http1,
                settings.keep_alive,
                settings.connections,
                Arc::clone(&metrics),
            ))
        };
        let host = match authority.port_u16() {
            Some(port) if port != 80 => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        let host = HeaderValue::from_str(&host).map_err(|error| error.to_string())?;
        let places = Arc::new(Semaphore::new(settings.connections.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { settings, scheme, authority, prefix, headers, client, fingerprint, host, places, metrics })
    }

    /// Reads its certificates again. `None`: they are what they were, and so are its connections.
    ///
    /// # Errors
    /// As [`Upstream::new`].
    pub fn renewed(&self) -> Result<Option<Self>, String> {
        if self.fingerprint.is_none() {
            return Ok(None);
        }
        let new = Self::new(self.settings.clone(), Arc::clone(&self.metrics))?;
        Ok(Some(new).filter(|new| new.fingerprint != self.fingerprint))
    }

    /// Longest wait for the next bytes of a body.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.settings.idle
    }

    /// How long to wait for the head of a response.
    #[must_use]
    pub fn response(&self) -> Duration {
        self.settings.response
    }

    /// Counts a request that was not answered, or taken, in time by the clock of another.
    pub fn slow(&self) {
        self.metrics.slow.inc();
    }

    /// Waits for a place among the connections, as long as for a connection.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let waited = timeout(self.settings.connect, Arc::clone(&self.places).acquire_owned()).await;
        waited.map_err(|_| Refusal::Overloaded)?.map_err(|_| Refusal::Draining)
    }

    /// Sends a request and waits for the head of the response. `target` is path and query; `headers` gain the upstream's own
    /// credential, which replaces whatever stood under its name. `limit`: how long to wait; `None` where the caller sees to
    /// that, because the body is still being sent. `hold`: kept until the answer's body has been read, or dropped.
    ///
    /// # Errors
    /// See the module.
    pub async fn send(
        &self,
        method: Method,
        target: &str,
        mut headers: HeaderMap,
        body: Outgoing,
        (limit, hold): (Option<Duration>, Option<Hold>),
    ) -> Result<Response<Answer>, Refusal> {
        let places = Places { connection: Some(self.place().await?), exchange: hold };
        let path = PathAndQuery::from_maybe_shared(bytes::Bytes::from([self.prefix.as_str(), target].concat()))
            .map_err(|_| Refusal::PathNotNormal)?;
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let start = Instant::now();
        let deadline = limit.map(|limit| start + limit);
        let answer = match &self.client {
            Connections::Plain(pool) => {
                *request.uri_mut() = path.into();
                request.headers_mut().insert(header::HOST, self.host.clone());
                pool.send(request, limit.is_none(), (start, deadline), places).await
            }
            client => {
                let mut uri = ::http::uri::Parts::default();
                (uri.scheme, uri.authority, uri.path_and_query) =
                    (Some(self.scheme.clone()), Some(self.authority.clone()), Some(path));
                *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Refusal::PathNotNormal)?;
                Box::pin(by_client(client, request, deadline, places)).await
            }
        };
        // A failure's own text goes to no log: it may quote what was sent.
        let refusal = match answer {
            Ok(response) => {
                let took = response.body().at().saturating_duration_since(start);
                self.metrics.response_seconds.observe(took.as_secs_f64());
                return Ok(response);
            }
            Err(Failure::Unreachable) => Refusal::UpstreamUnreachable,
            Err(Failure::Broken | Failure::Closed) => Refusal::UpstreamMalformed,
            Err(Failure::Slow) => Refusal::UpstreamSlow,
        };
        match refusal {
            Refusal::UpstreamSlow => self.metrics.slow.inc(),
            Refusal::UpstreamUnreachable => self.metrics.unreachable.inc(),
            _ => self.metrics.malformed.inc(),
        };
        Err(refusal)
    }
}

/// A connector that has so long for a whole connection: its own limit ends with the TCP handshake, before that of TLS.
#[derive(Clone)]
struct Within<C> {
    inner: C,
    limit: Duration,
}

type Foreign = Box<dyn std::error::Error + Send + Sync>;

impl<C> Service<Uri> for Within<C>
where
    C: Service<Uri, Error = Foreign>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = Foreign;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, Foreign>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Foreign>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, origin: Uri) -> Self::Future {
        let connecting = timeout(self.limit, self.inner.call(origin));
        Box::pin(async move { connecting.await.unwrap_or_else(|late| Err(late.into())) })
    }
}

/// By hyper-util's client, whose connections have tasks of their own.
async fn by_client(
    client: &Connections,
    mut request: Request<Outgoing>,
    deadline: Option<Instant>,
    places: Places,
) -> Result<Response<Answer>, Failure> {
    let connected = capture_connection(&mut request);
    let answering = match client {
        Connections::Plain2(client) => client.request(request),
        Connections::Secure(client) => client.request(request),
        Connections::Plain(_) => return Err(Failure::Broken),
    };
    let answer = match deadline {
        Some(deadline) => match timeout_at(deadline, answering).await {
            Ok(answer) => answer,
            // Whatever ran out of time: nothing was sent.
            Err(_) if connected.connection_metadata().is_none() => return Err(Failure::Unreachable),
            Err(_) => return Err(Failure::Slow),
        },
        None => answering.await,
    };
    match answer {
        Ok(response) => {
            let version = response.version();
            let mut response = response.map(|body| Answer::foreign(body, places));
            if version == Version::HTTP_2 {
                // A stream that is reset costs no connection.
                response.body_mut().endless();
            }
            Ok(response)
        }
        Err(error) if error.is_connect() => Err(Failure::Unreachable),
        Err(_) => Err(Failure::Broken),
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("authority", &self.authority.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing;
    use crate::ids::UpstreamId;
    use crate::telemetry::Metrics;

    fn settings(url: &str) -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            url: url.parse().unwrap(),
            ca: None,
            client_certificate: None,
            headers: Vec::new(),
            connections: 1,
            http2: false,
            connect: second,
            response: second,
            idle: second,
            keep_alive: second,
        }
    }

    fn metrics() -> Arc<UpstreamMetrics> {
        Metrics::new().upstream(&UpstreamId::parse("a").unwrap())
    }

    #[tokio::test]
    async fn whoever_never_ends_the_tls_handshake_was_sent_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, testing::authority("ours").pem()).unwrap();
        // It takes connections, and says nothing.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
        for (connect, response) in [(short, Some(long)), (long, Some(short)), (short, None)] {
            let settings = Settings { connect, ca: Some(ca.clone()), ..settings(&url) };
            let upstream = Upstream::new(settings, metrics()).unwrap();
            let body = Outgoing::full("1".into());
            let sent = upstream.send(Method::POST, "/", HeaderMap::new(), body, (response, None)).await;
            let refusal = sent.map(drop).unwrap_err();
            assert_eq!(refusal, Refusal::UpstreamUnreachable);
            assert!(unsent(&refusal));
        }
    }

    #[test]
    fn connections_are_kept_as_long_as_certificates_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, certificate, key) =
            (folder.path().join("ca.pem"), folder.path().join("ours.pem"), folder.path().join("ours.key"));
        let ours = testing::authority("ours");
        std::fs::write(&ca, ours.pem()).unwrap();
        ours.write(folder.path(), "ours", &ours.issue(&["tidegate"]));
        let client_certificate = Some((certificate, key));
        let settings = Settings { ca: Some(ca.clone()), client_certificate, ..settings("https://localhost:1/") };
        let metrics = metrics();
        let upstream = Upstream::new(settings.clone(), Arc::clone(&metrics)).unwrap();
        assert!(upstream.renewed().unwrap().is_none());
        std::fs::write(&ca, format!("{}{}", ours.pem(), testing::authority("theirs").pem())).unwrap();
        let renewed = upstream.renewed().unwrap().expect("one authority more");
        assert!(renewed.renewed().unwrap().is_none());
        ours.write(folder.path(), "ours", &ours.issue(&["tidegate"]));
        let renewed = renewed.renewed().unwrap().expect("another certificate");
        assert!(renewed.renewed().unwrap().is_none());
        std::fs::write(&ca, "nonsense").unwrap();
        assert!(renewed.renewed().is_err());
        let plain =
            Upstream::new(Settings { url: "http://localhost:1/".parse().unwrap(), ..settings }, metrics).unwrap();
        assert!(plain.renewed().unwrap().is_none(), "there is nothing to read");
    }
}
