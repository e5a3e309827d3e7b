//! Accepts connections, runs TLS, serves HTTP/1.1 and HTTP/2, drains.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use hyper::body::Incoming;

use super::body::Outgoing;
use super::trust::Identity;

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

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one.
    fn call(&self, peer: Arc<Peer>, request: Request<Incoming>) -> impl Future<Output = Response<Outgoing>> + Send;
}

/// A listener that is bound and serves until it is told to drain.
pub struct Listener {}

/// Why a listener does not start.
#[derive(Debug, thiserror::Error)]
#[error("listener `{name}`: {message}")]
pub struct Error {
    /// Which.
    pub name: String,
    /// What was found and what was wanted.
    pub message: String,
}

impl Listener {
    /// Reads the certificates, binds, begins to accept.
    pub async fn start<S: Service>(settings: Settings, service: Arc<S>) -> Result<Self, Error> {
        let _ = (settings, service);
        todo!()
    }
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }
    /// Stops accepting, lets open exchanges end (GOAWAY on HTTP/2, `Connection: close` on HTTP/1.1), at most for `limit`; then cuts. True if all ended by themselves.
    pub async fn drain(self, limit: Duration) -> bool {
        let _ = limit;
        todo!()
    }
}
