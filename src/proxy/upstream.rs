//! The other side: pooled connections, limits, time.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

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
