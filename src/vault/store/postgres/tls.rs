//! TLS to the server, by the same library and with the same trust as everywhere. Start at [`Connector`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes connections that are protected; the server's certificate has to be that of the host's name.
#[derive(Clone)]
pub(super) struct Connector(pub(super) Arc<ClientConfig>);

/// For one host.
pub(super) struct ToHost {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// A protected connection.
pub(super) struct Protected(TlsStream<Socket>);

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Protected;
    type TlsConnect = ToHost;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<ToHost, io::Error> {
        let name = ServerName::try_from(domain.to_owned());
        let name = name.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "its name is no name of a host"))?;
        Ok(ToHost { connector: TlsConnector::from(Arc::clone(&self.0)), name })
    }
}

impl TlsConnect<Socket> for ToHost {
    type Stream = Protected;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Protected>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, socket).await.map(Protected) })
    }
}

impl tokio_postgres::tls::TlsStream for Protected {
    /// Ties the password's proof to this very connection: who is in the middle cannot pass it on.
    fn channel_binding(&self) -> ChannelBinding {
        let shown = self.0.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        shown.and_then(end_point).map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// RFC 5929, section 4.1: the certificate under the hash of its own signature, or SHA-256 where that one is weaker. None where the
/// signature has no hash.
fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    use x509_parser::oid_registry as oid;
    let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let algorithm = &read.signature_algorithm.algorithm;
    let is = |oids: &[oid::Oid<'static>]| oids.contains(algorithm);
    let sha1 = [oid::OID_PKCS1_SHA1WITHRSA];
    if is(&sha1) || is(&[oid::OID_PKCS1_SHA256WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA256]) {
        return Some(Sha256::digest(certificate).to_vec());
    }
    if is(&[oid::OID_PKCS1_SHA384WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA384]) {
        return Some(Sha384::digest(certificate).to_vec());
    }
    let sha512 = is(&[oid::OID_PKCS1_SHA512WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA512]);
    sha512.then(|| Sha512::digest(certificate).to_vec())
}

impl AsyncRead for Protected {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Protected {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
