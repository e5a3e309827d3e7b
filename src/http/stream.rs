//! A connection to something that does not speak HTTP, such as a store: TCP, or TLS over it.
//!
//! Not here: what is said on it. The peer's certificate is verified, always. Start at [`connect`].

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::trust;

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// TLS towards a peer: whom to believe, and what to show.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Believes `ca`, or the system's authorities; shows the certificate and key `identity`.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn new(ca: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Self, String> {
        Ok(Self(Arc::new(trust::client_config(ca, identity)?.0)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Connects to a name or address. The caller sets the time limit. What was not sent yet when the stream is dropped is never sent: no
/// command arrives long after everybody has given it up.
///
/// # Errors
/// It is not reached, or is not who it should be.
pub async fn connect(host: &str, port: u16, tls: Option<&Tls>) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    stream.set_zero_linger()?;
    match tls {
        None => Ok(Box::new(stream)),
        Some(Tls(config)) => {
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "its name is none for TLS"))?;
            Ok(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
        }
    }
}
