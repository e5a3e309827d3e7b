//! The near side: a caller over real TCP and TLS, with certificate, key or token; and a raw socket for odd bytes.
//!
//! Start at [`Partner::get`]. Every reply is shown to the leak trap.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::canary::Canaries;
use super::pki::{self, Credential};
use super::trap::Trap;
use super::upstream::{Body, full};

/// Someone who calls, and with what.
#[derive(Clone)]
pub struct Partner {
    pub(super) whom: String,
    pub(super) plain: SocketAddr,
    pub(super) secure: SocketAddr,
    pub(super) trap: Trap,
    pub(super) canaries: Canaries,
    pub(super) authority: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) tls: bool,
    pub(super) http2: bool,
    pub(super) certificate: Option<Credential>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the message came to its proper end.
    pub complete: bool,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem document. Checks its form on the way.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        let exchange = self.header("tidegate-exchange");
        assert_eq!((exchange.len(), problem["exchange"].as_str()), (26, Some(exchange)), "{self:?}");
        let kind = problem["type"].as_str().expect("a type");
        kind.strip_prefix("urn:tidegate:problem:").expect("a problem of ours").to_owned()
    }

    /// Status and code: what a refusal is compared with.
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.code())
    }
}

/// A connection that can be used again.
pub struct Line {
    sender: Sender,
    partner: Partner,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Partner {
    /// Over TLS.
    pub fn secure(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Over HTTP/2.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Over TLS, with a client certificate.
    pub fn certificate(mut self, credential: &Credential) -> Self {
        self.certificate = Some(credential.clone());
        self.secure()
    }

    /// With a header more.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its API key.
    pub fn key(&self) -> &str {
        self.headers.iter().find(|(name, _)| name == "x-api-key").map_or("", |(_, key)| key)
    }

    /// Where it calls without TLS.
    pub fn plain_address(&self) -> SocketAddr {
        self.plain
    }

    /// With its API key twice.
    pub fn key_twice(mut self) -> Self {
        let key = self.headers.iter().find(|(name, _)| name == "x-api-key").cloned();
        self.headers.extend(key);
        self
    }

    /// Without the API key that it has by itself.
    pub fn without_key(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "x-api-key");
        self
    }

    /// With this bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// GET.
    pub async fn get(&self, target: &str) -> Reply {
        self.send("GET", target, None).await
    }

    /// POST of a JSON body, a template for canaries.
    pub async fn post(&self, target: &str, template: &str) -> Reply {
        let body = self.canaries.plant(template);
        self.clone().header("content-type", "application/json").send("POST", target, Some(full(body))).await
    }

    /// Anything.
    pub async fn send(&self, method: &str, target: &str, body: Option<Body>) -> Reply {
        self.connect().await.expect("a connection").send(method, target, body).await.expect("a reply")
    }

    /// Opens a connection to be used again.
    pub async fn connect(&self) -> Result<Line, String> {
        let partner = self.clone();
        super::spawn(async move {
            let sender = partner.open().await.map_err(|error| error.to_string())?;
            Ok(Line { sender, partner })
        })
        .await
    }

    async fn open(&self) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>> {
        if self.tls {
            let stream = TcpStream::connect(self.secure).await?;
            stream.set_nodelay(true)?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(self.tls_config()?));
            let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
            self.speak(stream).await
        } else {
            let stream = TcpStream::connect(self.plain).await?;
            stream.set_nodelay(true)?;
            self.speak(stream).await
        }
    }

    async fn speak<S>(&self, stream: S) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok(Sender::Http2(sender))
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok(Sender::Http1(sender))
        }
    }

    fn tls_config(&self) -> Result<rustls::ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pki::OURS.certificate.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(credential) => {
                let chain =
                    CertificateDer::pem_slice_iter(credential.certificate.as_bytes()).collect::<Result<_, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(credential.key.as_bytes())?)?
            }
        };
        config.alpn_protocols = vec![if self.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(config)
    }

    /// Writes these bytes to a plain connection and reads until the proxy closes it (after a while: what came until then).
    /// `@auth@` stands for the partner's headers.
    pub async fn raw(&self, bytes: &str) -> String {
        self.write(bytes, false).await
    }

    /// The same, but hangs up behind the bytes.
    pub async fn raw_cut(&self, bytes: &str) -> String {
        self.write(bytes, true).await
    }

    async fn write(&self, bytes: &str, cut: bool) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let bytes = bytes.replace("@auth@", &headers);
        let address = self.plain;
        let reply = super::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let (mut reader, mut writer) = stream.split();
            let mut reply = Vec::new();
            // The proxy may answer and close before everything is written; either side of that is fine.
            let both = async {
                tokio::join!(
                    async {
                        let _ = writer.write_all(bytes.as_bytes()).await;
                        if cut {
                            let _ = writer.shutdown().await;
                        }
                    },
                    async { while reader.read_buf(&mut reply).await.is_ok_and(|read| read > 0) {} }
                )
            };
            let _ = tokio::time::timeout(Duration::from_secs(5), both).await;
            reply
        })
        .await;
        self.trap.show(&self.whom, &reply);
        String::from_utf8_lossy(&reply).into_owned()
    }
}

impl Line {
    /// Sends one request and reads the reply to its end. `Err`: no reply came.
    pub async fn send(&mut self, method: &str, target: &str, body: Option<Body>) -> Result<Reply, String> {
        let partner = &self.partner;
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
        request = match self.sender {
            Sender::Http1(_) => request.uri(target).header("host", &partner.authority),
            Sender::Http2(_) => {
                let scheme = if partner.tls { "https" } else { "http" };
                request.version(Version::HTTP_2).uri(format!("{scheme}://{}{target}", partner.authority))
            }
        };
        for (name, value) in &partner.headers {
            request = request.header(name, value);
        }
        let request = request.body(body.unwrap_or_else(|| full(""))).map_err(|error| error.to_string())?;
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(|error| error.to_string())?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(|error| error.to_string())?;
                sender.send_request(request).await
            }
        };
        let (parts, mut body) = response.map_err(|error| format!("{error:?}"))?.into_parts();
        let (mut bytes, mut complete) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Err(_) => {
                    complete = false;
                    break;
                }
            }
        }
        let mut seen = format!("{}\n{:?}\n", parts.status, parts.headers).into_bytes();
        seen.extend_from_slice(&bytes);
        partner.trap.show(&partner.whom, &seen);
        let status = StatusCode::as_u16(&parts.status);
        Ok(Reply { status, version: parts.version, headers: parts.headers, body: bytes.into(), complete })
    }
}
