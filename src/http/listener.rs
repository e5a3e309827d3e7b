//! Accepts connections, runs TLS, serves HTTP/1.1 and HTTP/2, drains.
//!
//! HTTP/2 by ALPN on TLS and by prior knowledge on plain text; HTTP/1.0 is served, and a request says its version. A request
//! that cannot be read in one way is told to the [`Service`] as such ([`Unreadable`]), and the connection is closed. What is left
//! (a target with signs that none has) hyper answers by itself, barely: 400 without a problem document. Not here: who the peer is to us,
//! and what it may. Start at [`Listener::start`].

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use arc_swap::ArcSwap;
use hyper::body::Incoming;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::telemetry::meters::ListenerMetrics;

use super::body::Outgoing;
use super::connection::{Agreed, Protocols, Stop, serve};
use super::pace::Pace;
use super::trust;
use super::trust::Identity;
use super::workers::Workers;

/// One listener's checked settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For logs and metrics.
    pub name: String,
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    /// `None`: plain text.
    pub tls: Option<Tls>,
    /// What a connection may cost.
    pub limits: ConnectionLimits,
}

/// TLS of a listener. 1.2 and 1.3.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM, chain.
    pub certificate: PathBuf,
    /// PEM; refused where others may read it.
    pub key: PathBuf,
    /// PEM bundle of the authorities whose client certificates are taken at all.
    pub client_ca: Option<PathBuf>,
    /// PEM bundle of the lists of certificates that these authorities revoked. With it each authority must have one that has not ended.
    pub client_crl: Option<PathBuf>,
    /// Whether a connection without a client certificate is refused in the handshake.
    pub client_certificate_required: bool,
}

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// From accept to the end of the TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// For a request's head. Default 10 s.
    pub head: Duration,
    /// Between requests. Default 60 s.
    pub idle: Duration,
    /// How long a peer may keep us waiting with an answer.
    pub taking: Pace,
    /// Bytes of a request's head. Default 32 KiB.
    pub head_bytes: usize,
    /// Header fields of a request. Default 100.
    pub head_fields: usize,
    /// Streams at once on HTTP/2. Default 100.
    pub streams: u32,
    /// Connections at once. Default 10,000.
    pub connections: usize,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The client certificate, where one was shown.
    pub identity: Option<Identity>,
    /// Whether the connection is TLS.
    pub secure: bool,
}

/// A request as it comes from a connection, for services outside of `http` and `proxy` (the demo's), which name no hyper.
pub type Call = Request<Incoming>;

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one.
    fn call(&self, peer: Arc<Peer>, request: Request<Incoming>) -> impl Future<Output = Response<Outgoing>> + Send;

    /// Answers one that cannot be read; the connection is closed behind the answer.
    fn refuse(&self, why: Unreadable) -> impl Future<Output = Response<Outgoing>> + Send {
        let mut response = Response::new(Outgoing::empty());
        *response.status_mut() = why.status();
        std::future::ready(response)
    }
}

/// Why a request's head cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It can be read in more than one way, or in none.
    Malformed,
    /// More bytes or fields than [`ConnectionLimits`] has.
    TooLarge,
}

impl Unreadable {
    /// Of the request that stands in the place of one that cannot be read. Whoever sends it by himself is refused as well.
    pub(super) const METHOD: &str = "TIDEGATE-UNREADABLE";

    /// Its target, where it was too large.
    pub(super) const LARGE: &str = "/large";

    /// The status that says so.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

/// Why a listener does not start.
#[derive(Debug, thiserror::Error)]
#[error("listener `{name}`: {message}")]
pub struct Error {
    /// Which.
    pub name: String,
    /// What was found and what was wanted.
    pub message: String,
}

/// A listener that is bound and serves until it is told to drain. Dropped without [`Listener::drain`], it cuts all connections.
pub struct Listener {
    settings: Settings,
    address: SocketAddr,
    permits: Arc<Semaphore>,
    /// All connections.
    shared: Arc<Shared>,
}

struct Shared {
    /// Tells the accept loop.
    stop: Stop,
    epoch: ArcSwap<Epoch>,
    /// The epochs that may have connections still.
    epochs: Mutex<Vec<Weak<Epoch>>>,
}

/// What connections are accepted with, between two reloads.
struct Epoch {
    tls: Option<TlsAcceptor>,
    stop: Stop,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("name", &self.settings.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Reads the certificates, binds, begins to accept.
    pub async fn start<S: Service>(settings: Settings, service: Arc<S>) -> Result<Self, Error> {
        Self::start_measured(settings, service, Arc::default(), None).await
    }

    /// As [`Listener::start`], and counts connections into `metrics`. `workers`: the threads that serve them; `None`: the
    /// current runtime.
    pub async fn start_measured<S: Service>(
        settings: Settings,
        service: Arc<S>,
        metrics: Arc<ListenerMetrics>,
        workers: Option<Arc<Workers>>,
    ) -> Result<Self, Error> {
        let error = |message| Error { name: settings.name.clone(), message };
        let epoch = Arc::new(Epoch::new(&settings).map_err(error)?);
        let bound = TcpListener::bind(settings.address).await;
        let listener = bound.map_err(|e| error(format!("cannot listen on {}: {e}", settings.address)))?;
        let address = listener.local_addr().map_err(|e| error(e.to_string()))?;
        let permits = Arc::new(Semaphore::new(permits(&settings.limits) as usize));
        let epochs = Mutex::new(vec![Arc::downgrade(&epoch)]);
        let shared = Arc::new(Shared { stop: Stop::default(), epoch: ArcSwap::new(epoch), epochs });
        let accept = Accept {
            name: settings.name.clone(),
            service,
            metrics,
            workers,
            protocols: Protocols::new(settings.limits),
            limits: settings.limits,
            shared: shared.clone(),
            permits: permits.clone(),
        };
        tokio::spawn(async move { Arc::new(accept).run(listener).await });
        Ok(Self { settings, address, permits, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads certificate, key, client CA and its revocations again. New connections use the new ones; the old connections end as in a drain,
    /// without a limit of time, since what they were admitted by may be gone. `Err`: all stays as it is.
    pub fn reload(&self) -> Result<(), Error> {
        if self.settings.tls.is_none() {
            return Ok(());
        }
        let new = Epoch::new(&self.settings).map_err(|message| Error { name: self.settings.name.clone(), message })?;
        let new = Arc::new(new);
        let mut epochs = self.shared.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        epochs.retain(|epoch| epoch.strong_count() > 0);
        epochs.push(Arc::downgrade(&new));
        drop(epochs);
        self.shared.epoch.swap(new).stop.drain();
        Ok(())
    }

    /// Stops accepting, lets open exchanges end (GOAWAY on HTTP/2, `Connection: close` on HTTP/1.1), at most for `limit`; then cuts. True if all ended by themselves.
    pub async fn drain(self, limit: Duration) -> bool {
        self.shared.each_epoch(Stop::drain);
        let all = self.permits.acquire_many(permits(&self.settings.limits));
        // When it takes longer, dropping `self` cuts what is left.
        matches!(tokio::time::timeout(limit, all).await, Ok(Ok(_)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.each_epoch(Stop::cut);
    }
}

impl Shared {
    fn each_epoch(&self, tell: fn(&Stop)) {
        tell(&self.stop);
        let epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        for epoch in epochs.iter().filter_map(Weak::upgrade) {
            tell(&epoch.stop);
        }
    }
}

impl Epoch {
    fn new(settings: &Settings) -> Result<Self, String> {
        let tls = settings.tls.as_ref().map(server_config).transpose()?;
        Ok(Self { tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))), stop: Stop::default() })
    }
}

fn permits(limits: &ConnectionLimits) -> u32 {
    u32::try_from(limits.connections.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX).max(1)
}

/// TLS 1.2 and 1.3, h2 and HTTP/1.1 by ALPN.
///
/// A listener that takes client certificates resumes no sessions: a ticket would let a certificate live on that has expired or
/// whose authority was removed. One that takes none has nothing to skip, and resumes by tickets under a key of this epoch.
fn server_config(tls: &Tls) -> Result<ServerConfig, String> {
    let certified = trust::certified(&tls.certificate, &tls.key)?;
    let builder = ServerConfig::builder_with_provider(trust::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = match &tls.client_ca {
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
        Some(path) => {
            let verifier = trust::client_verifier(path, tls.client_crl.as_deref(), tls.client_certificate_required)?;
            builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver)
        }
    };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if tls.client_ca.is_some() {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The accept loop.
struct Accept<S> {
    name: String,
    service: Arc<S>,
    metrics: Arc<ListenerMetrics>,
    workers: Option<Arc<Workers>>,
    protocols: Protocols,
    limits: ConnectionLimits,
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

/// Between two tries when accepting fails for want of something (such as file descriptors): from, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

impl<S: Service> Accept<S> {
    async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut back_off = BACK_OFF.0;
        loop {
            // The permit comes first: over the limit connections wait in the kernel, and cost us nothing.
            let accepted = tokio::select! {
                accepted = async { (self.permits.clone().acquire_owned().await, listener.accept().await) } => accepted,
                () = self.shared.stop.draining() => return,
            };
            match accepted {
                (Err(_), _) => return,
                (Ok(permit), Ok((stream, address))) => {
                    back_off = BACK_OFF.0;
                    let (accept, epoch) = (self.clone(), self.shared.epoch.load_full());
                    let open = self.metrics.connection();
                    let held = (epoch, open, permit);
                    let Some(workers) = &self.workers else {
                        tokio::spawn(async move {
                            accept.connection(stream, address, &held.0).await;
                            drop(held);
                        });
                        continue;
                    };
                    // A socket belongs to the runtime that waits for it.
                    let Ok(stream) = stream.into_std() else { continue };
                    workers.spawn(async move {
                        if let Ok(stream) = TcpStream::from_std(stream) {
                            accept.connection(stream, address, &held.0).await;
                        }
                        drop(held);
                    });
                }
                // That connection's own misfortune.
                (Ok(_), Err(error)) if is_of_connection(&error) => {}
                (Ok(permit), Err(error)) => {
                    drop(permit);
                    tracing::warn!(listener = %self.name, %error, wait_ms = back_off.as_millis(), "cannot accept connections");
                    tokio::select! {
                        () = tokio::time::sleep(back_off) => {}
                        () = self.shared.stop.draining() => return,
                    }
                    back_off = (back_off * 2).min(BACK_OFF.1);
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream, address: SocketAddr, epoch: &Epoch) {
        // An answer is written as soon as it is there; waiting to fill a segment only adds time. A socket that cannot be told
        // so is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = &epoch.tls else {
            let peer = Peer { address, identity: None, secure: false };
            return serve(stream, Agreed::Unknown, peer, self.service.clone(), &self.protocols, &epoch.stop).await;
        };
        let stream = match tokio::time::timeout(self.limits.handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.handshake_failed(&error),
            Err(_) => {
                self.metrics.handshakes_failed.inc();
                return tracing::debug!(listener = %self.name, "tls handshake too slow");
            }
        };
        let (_, tls) = stream.get_ref();
        let agreed = if tls.alpn_protocol() == Some(b"h2") { Agreed::Http2 } else { Agreed::Http1 };
        let identity = match tls.peer_certificates() {
            None | Some([]) => None,
            Some(chain) => match Identity::from_chain(chain) {
                Some(identity) => Some(identity),
                // Verified, and yet not to be read: who it names cannot be said, so nobody is admitted by it.
                None => return tracing::info!(listener = %self.name, "client certificate cannot be read"),
            },
        };
        let peer = Peer { address, identity, secure: true };
        serve(stream, agreed, peer, self.service.clone(), &self.protocols, &epoch.stop).await;
    }

    /// What an operator is asked about goes to the log; what every scanner of the internet causes only to the detailed one.
    fn handshake_failed(&self, error: &std::io::Error) {
        self.metrics.handshakes_failed.inc();
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                tracing::info!(listener = %self.name, cause = %error, "client certificate refused");
            }
            _ => tracing::debug!(listener = %self.name, cause = %error, "tls handshake failed"),
        }
    }
}

fn is_of_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::Interrupted
    )
}

#[cfg(test)]
mod tests;
