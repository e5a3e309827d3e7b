//! The far side of the proxy: a server over real TCP that answers as a test tells it, and remembers what it was sent.
//!
//! Start at [`Upstream::json`]; for odd bytes, [`Upstream::raw`].

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::canary::Canaries;

/// What an upstream was sent.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    /// Path and query as they came.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Everything that was sent, for the leak trap.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = format!("{} {}\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            all.extend_from_slice(name.as_str().as_bytes());
            all.extend_from_slice(b": ");
            all.extend_from_slice(value.as_bytes());
            all.push(b'\n');
        }
        all.extend_from_slice(&self.body);
        all
    }
}

/// The body type of all answers. An error in it breaks the message off.
pub type Body = BoxBody<Bytes, std::io::Error>;
type Handler = Arc<dyn Fn(Received) -> Response<Body> + Send + Sync>;

#[derive(Clone)]
enum Manner {
    Answers(Handler),
    /// Reads a head, writes these bytes; then closes, or waits for ever.
    Raw {
        bytes: Vec<u8>,
        closes: bool,
    },
    /// Refuses connections.
    Gone,
}

/// What an upstream will do, before it runs.
pub struct Builder {
    manner: Manner,
    canaries: Canaries,
}

/// An upstream that runs.
#[derive(Clone)]
pub struct Upstream {
    address: SocketAddr,
    canaries: Canaries,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A whole body.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body in pieces, with no length announced. An `Err` breaks it off.
pub fn pieces(pieces: impl IntoIterator<Item = Result<Bytes, ()>, IntoIter: Send + Sync + 'static>) -> Body {
    let frames = pieces
        .into_iter()
        .map(|piece| piece.map(Frame::data).map_err(|()| std::io::Error::other("broken off, as the test wants it")));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

/// A body that begins and then never goes on.
pub fn stuck_after(bytes: &'static [u8]) -> Body {
    let begins = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(bytes)))]);
    BodyExt::boxed(StreamBody::new(begins.chain(futures_util::stream::pending())))
}

/// An answer with a type and a body.
pub fn answer(status: u16, media_type: &str, body: Body) -> Response<Body> {
    let builder = Response::builder().status(StatusCode::from_u16(status).unwrap());
    builder.header("content-type", media_type).body(body).unwrap()
}

/// Adds a member that no policy lists to a JSON object, as an upstream might tomorrow.
fn with_unlisted(body: &str) -> String {
    match body.trim_end().strip_suffix('}') {
        Some(open) if body.trim_start().starts_with('{') && !open.trim_end().ends_with('{') => {
            format!("{open},\"added_tomorrow\":{{\"note\":\"<unlisted>\",\"list\":[\"<unlisted.2>\"]}}}}")
        }
        _ => body.to_owned(),
    }
}

impl Upstream {
    /// Answers everything with this body, a template for canaries. An object gets a member more that no policy lists.
    pub fn json(template: &str) -> Builder {
        let canaries = Canaries::default();
        let body = Bytes::from(canaries.plant(&with_unlisted(template)));
        let handler = move |_| answer(200, "application/json", full(body.clone()));
        Builder { manner: Manner::Answers(Arc::new(handler)), canaries }
    }

    /// Answers with the bytes of the template as they are, under this status and media type.
    pub fn bytes(status: u16, media_type: &str, template: &str) -> Builder {
        let canaries = Canaries::default();
        let (media_type, body) = (media_type.to_owned(), Bytes::from(canaries.plant(template)));
        let handler = move |_| answer(status, &media_type, full(body.clone()));
        Builder { manner: Manner::Answers(Arc::new(handler)), canaries }
    }

    /// Answers by a function of the request, which may plant canaries in what it sends.
    pub fn with(handler: impl Fn(Received, &Canaries) -> Response<Body> + Send + Sync + 'static) -> Builder {
        let canaries = Canaries::default();
        let planted = canaries.clone();
        Builder { manner: Manner::Answers(Arc::new(move |received| handler(received, &planted))), canaries }
    }

    /// Writes these bytes (a template) to whoever sends a head, and closes.
    pub fn raw(template: &str) -> Builder {
        let canaries = Canaries::default();
        let bytes = canaries.plant(template).into_bytes();
        Builder { manner: Manner::Raw { bytes, closes: true }, canaries }
    }

    /// Writes these bytes (a template) to whoever sends a head, and then waits for ever.
    pub fn stuck_after(template: &str) -> Builder {
        let canaries = Canaries::default();
        let bytes = canaries.plant(template).into_bytes();
        Builder { manner: Manner::Raw { bytes, closes: false }, canaries }
    }

    /// Cannot be reached.
    pub fn gone() -> Builder {
        Builder { manner: Manner::Gone, canaries: Canaries::default() }
    }

    /// One that a test runs by itself, and that sends what was planted there.
    #[allow(dead_code, reason = "for the wire suite, which has this harness, too")]
    pub fn at(address: SocketAddr, canaries: &Canaries) -> Self {
        Self { address, canaries: canaries.clone(), received: Arc::default() }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The value planted under a label.
    pub fn canary(&self, label: &str) -> String {
        self.canaries.value(label)
    }

    /// All that it planted.
    pub fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    /// Everything that it was sent so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The last thing that it was sent.
    pub fn last(&self) -> Received {
        self.received().pop().expect("the upstream was sent nothing")
    }
}

impl Builder {
    /// Listens on a free port of loopback.
    pub async fn start(self) -> Upstream {
        let Self { manner, canaries } = self;
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        let address = super::spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            if !matches!(manner, Manner::Gone) {
                super::runtime().spawn(accept(listener, manner, log));
            }
            address
        })
        .await;
        Upstream { address, canaries, received }
    }
}

async fn accept(listener: TcpListener, manner: Manner, log: Arc<Mutex<Vec<Received>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let log = Arc::clone(&log);
        match manner.clone() {
            Manner::Answers(handler) => {
                tokio::spawn(serve(stream, handler, log));
            }
            Manner::Raw { bytes, closes } => {
                tokio::spawn(write_raw(stream, bytes, closes));
            }
            Manner::Gone => {}
        }
    }
}

async fn serve(stream: TcpStream, handler: Handler, log: Arc<Mutex<Vec<Received>>>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let received = Received { method: parts.method, target, headers: parts.headers, body };
            log.lock().unwrap().push(received.clone());
            Ok::<_, Infallible>(handler(received))
        }
    });
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn write_raw(mut stream: TcpStream, bytes: Vec<u8>, closes: bool) {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    if closes {
        let _ = stream.shutdown().await;
        // Reads on, so that the kernel does not answer the rest of the request with a reset that overtakes the bytes.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    } else {
        std::future::pending::<()>().await;
    }
}
