//! Listeners over real sockets: protocols, limits, certificates, drain, reload.

use std::future::pending;
use std::pin::Pin;

use ::http::{StatusCode, Version};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::*;

const LIMITS: ConnectionLimits = ConnectionLimits {
    handshake: Duration::from_secs(20),
    head: Duration::from_secs(20),
    idle: Duration::from_secs(20),
    taking: TAKING,
    head_bytes: 8192,
    head_fields: 20,
    streams: 10,
    connections: 100,
};
const TAKING: Pace = Pace { idle: Duration::from_secs(20), total: Duration::from_secs(60), rate: 0 };
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const SHORT: Duration = Duration::from_millis(60);
/// Longer than any test should take; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(15);

type Answering = Pin<Box<dyn Future<Output = Response<Outgoing>> + Send>>;

struct Fun<F>(F);

impl<F: Fn(Arc<Peer>, Request<Incoming>) -> Answering + Send + Sync + 'static> Service for Fun<F> {
    fn call(&self, peer: Arc<Peer>, request: Request<Incoming>) -> impl Future<Output = Response<Outgoing>> + Send {
        (self.0)(peer, request)
    }
}

fn plain(limits: ConnectionLimits) -> Settings {
    Settings { name: "test".into(), address: "127.0.0.1:0".parse().unwrap(), tls: None, limits }
}

fn text(text: impl Into<Bytes>) -> Response<Outgoing> {
    Response::new(Outgoing::full(text.into()))
}

async fn start(
    settings: Settings,
    answer: impl Fn(Arc<Peer>, Request<Incoming>) -> Answering + Send + Sync + 'static,
) -> Listener {
    Listener::start(settings, Arc::new(Fun(answer))).await.unwrap()
}

/// Answers with the version of the request and the names in the client certificate.
async fn echo(settings: Settings) -> Listener {
    start(settings, |peer, request| {
        Box::pin(async move {
            let sans = peer.identity.as_ref().map(|identity| identity.sans.join(","));
            text(format!("{:?} {} {sans:?}", request.version(), peer.secure))
        })
    })
    .await
}

/// Sends raw bytes and reads until the other side closes.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    read_to_close(&mut stream).await
}

async fn read_to_close(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    // A reset is a close, too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("closed in time");
    String::from_utf8_lossy(&all).into_owned()
}

type H2 = http2::SendRequest<Empty<Bytes>>;

async fn h2(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> (H2, tokio::task::JoinHandle<()>) {
    let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    (send, tokio::spawn(async { drop(connection.await) }))
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("http://test/").body(Empty::new()).unwrap()
}

async fn body(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn http_1_is_answered_with_a_length_and_its_version_is_known() {
    let listener = echo(plain(LIMITS)).await;
    let answer = raw(listener.address(), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-length: 19\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nHTTP/1.1 false None"), "{answer}");
    let answer = raw(listener.address(), b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nHTTP/1.0 false None"), "{answer}");
}

#[tokio::test]
async fn http_2_is_spoken_on_plain_text_to_who_begins_with_it_even_in_pieces() {
    let listener = echo(plain(LIMITS)).await;
    let stream = TcpStream::connect(listener.address()).await.unwrap();
    let (mut send, _) = h2(stream).await;
    assert_eq!(body(send.send_request(get()).await.unwrap()).await, "HTTP/2.0 false None");

    let mut stream = TcpStream::connect(listener.address()).await.unwrap();
    for piece in [&b"PRI"[..], b" * HTTP/2.0\r\n\r\nSM\r\n", b"\r\n\0\0\0\x04\0\0\0\0\0"] {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut settings = [0; 9];
    stream.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "a SETTINGS frame");
    // A word that begins like the preface and is none.
    let answer = raw(listener.address(), b"PRIM / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn what_hyper_cannot_read_is_refused_before_any_service_hears_of_it() {
    let listener = start(plain(LIMITS), |_, _| panic!("called")).await;
    for (request, status) in [
        ("GARBAGE\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: \u{1}\r\n\r\n".to_owned(), "400"),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), "400"),
        ("POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(8192)), "431"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "x: 1\r\n".repeat(21)), "431"),
    ] {
        let answer = raw(listener.address(), request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:.60} -> {answer}");
    }
}

#[tokio::test]
async fn too_many_fields_are_refused_on_http_2_as_well() {
    let listener = start(plain(LIMITS), |_, _| panic!("called")).await;
    let (mut send, _) = h2(TcpStream::connect(listener.address()).await.unwrap()).await;
    let mut request = get();
    for _ in 0..21 {
        request.headers_mut().append("x", ::http::HeaderValue::from_static("1"));
    }
    let answer = send.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

/// Answers with a stream of which one chunk is sent; when told so, its writer is dropped.
async fn breaking() -> (Listener, Arc<tokio::sync::Notify>) {
    let arrived = Arc::new(tokio::sync::Notify::new());
    let listener = start(plain(LIMITS), {
        let arrived = arrived.clone();
        move |_, _| {
            let (mut writer, outgoing) = Outgoing::stream();
            let arrived = arrived.clone();
            tokio::spawn(async move {
                writer.write(Bytes::from_static(b"part")).await.unwrap();
                arrived.notified().await;
            });
            Box::pin(async { Response::new(outgoing) })
        }
    })
    .await;
    (listener, arrived)
}

#[tokio::test]
async fn a_broken_off_answer_has_no_final_chunk_on_http_1() {
    let (listener, arrived) = breaking().await;
    let mut stream = TcpStream::connect(listener.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"4\r\npart\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(String::from_utf8_lossy(&head).contains("transfer-encoding: chunked"));
    arrived.notify_one();
    assert_eq!(read_to_close(&mut stream).await, "", "no `0` chunk");
}

#[tokio::test]
async fn a_broken_off_answer_is_reset_on_http_2() {
    let (listener, arrived) = breaking().await;
    let (mut send, _) = h2(TcpStream::connect(listener.address()).await.unwrap()).await;
    let mut answer = send.send_request(get()).await.unwrap().into_body();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "part");
    arrived.notify_one();
    let error = answer.frame().await.unwrap().unwrap_err();
    assert!(format!("{error:?}").contains("Reset(StreamId(1), INTERNAL_ERROR"), "{error:?}");
}

#[tokio::test]
async fn a_finished_stream_is_whole_and_its_writer_hears_so() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = start(plain(LIMITS), move |_, _| {
        let tell = tell.clone();
        Box::pin(async move {
            let (mut writer, outgoing) = Outgoing::stream();
            tokio::spawn(async move {
                writer.write(Bytes::from_static(b"whole")).await.unwrap();
                tell.send(writer.finish().await).unwrap();
            });
            Response::new(outgoing)
        })
    })
    .await;
    let answer = raw(listener.address(), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("5\r\nwhole\r\n0\r\n\r\n"), "{answer:?}");
    assert_eq!(told.recv().await, Some(Ok(())));
    let (mut send, _) = h2(TcpStream::connect(listener.address()).await.unwrap()).await;
    assert_eq!(body(send.send_request(get()).await.unwrap()).await, "whole");
    assert_eq!(told.recv().await, Some(Ok(())));
}

#[tokio::test]
async fn peers_that_do_not_say_what_they_want_are_cut() {
    let listener = echo(plain(ConnectionLimits { head: SHORT, ..LIMITS })).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let beginnings = [
        &b""[..],
        b"P",
        b"PRI * HT",
        b"GET / HTTP/1.1\r\nhost",
        preface,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    for beginning in beginnings {
        let answer = raw(listener.address(), beginning).await;
        assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_drips_is_cut_although_something_always_comes() {
    let listener = echo(plain(ConnectionLimits { head: SHORT, head_bytes: 16 << 20, ..LIMITS })).await;
    let mut stream = TcpStream::connect(listener.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let drip = async {
        while stream.write_all(b"a").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, drip).await.expect("cut");
}

#[tokio::test]
async fn an_idle_connection_is_closed_on_either_protocol() {
    let listener = echo(plain(ConnectionLimits { idle: SHORT, ..LIMITS })).await;
    let answer = raw(listener.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (mut send, ended) = h2(TcpStream::connect(listener.address()).await.unwrap()).await;
    assert_eq!(send.send_request(get()).await.unwrap().status(), 200);
    tokio::time::timeout(PATIENCE, ended).await.expect("closed").unwrap();
}

#[tokio::test]
async fn an_exchange_may_take_longer_than_the_limits_between_exchanges() {
    let limits = ConnectionLimits { idle: SHORT, head: SHORT, ..LIMITS };
    let listener = start(plain(limits), |_, _| {
        Box::pin(async {
            let _ = tokio::time::timeout(SHORT * 4, pending::<()>()).await;
            text("late")
        })
    })
    .await;
    let answer = raw(listener.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.ends_with("late"), "{answer}");
    let (mut send, _) = h2(TcpStream::connect(listener.address()).await.unwrap()).await;
    assert_eq!(body(send.send_request(get()).await.unwrap()).await, "late");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_and_the_writer_hears_so() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = start(plain(ConnectionLimits { taking: Pace { idle: SHORT, ..TAKING }, ..LIMITS }), move |_, _| {
        let tell = tell.clone();
        Box::pin(async move {
            let (mut writer, outgoing) = Outgoing::stream();
            tokio::spawn(async move {
                let chunk = Bytes::from(vec![0; 1 << 20]);
                while writer.write(chunk.clone()).await.is_ok() {}
                tell.send(()).unwrap();
            });
            Response::new(outgoing)
        })
    })
    .await;
    let mut stream = TcpStream::connect(listener.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::time::timeout(PATIENCE, told.recv()).await.expect("given up").unwrap();
}

#[tokio::test]
async fn an_http_2_peer_that_opens_no_window_is_cut_although_it_answers_pings() {
    let limits = ConnectionLimits { idle: SHORT, taking: Pace { idle: SHORT, ..TAKING }, head: SHORT, ..LIMITS };
    let listener = start(plain(limits), |_, _| Box::pin(async { text(vec![b'x'; 100]) })).await;
    for window in [0, 10] {
        let stream = TcpStream::connect(listener.address()).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let (mut send, connection) =
            builder.initial_stream_window_size(window).handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        // Held without being read.
        let answer = send.send_request(get()).await.unwrap();
        let _ = tokio::time::timeout(PATIENCE, connection).await.expect("cut").unwrap();
        drop(answer);
    }
}

#[tokio::test]
async fn a_stream_that_is_silent_on_our_side_is_not_cut() {
    let limits = ConnectionLimits { idle: SHORT, head: SHORT, ..LIMITS };
    let listener = start(plain(limits), |_, _| {
        let (mut writer, outgoing) = Outgoing::stream();
        tokio::spawn(async move {
            for _ in 0..2 {
                writer.write(Bytes::from_static(b"event ")).await.unwrap();
                let _ = tokio::time::timeout(SHORT * 4, pending::<()>()).await;
            }
            writer.finish().await
        });
        Box::pin(async { Response::new(outgoing) })
    })
    .await;
    let (mut send, _) = h2(TcpStream::connect(listener.address()).await.unwrap()).await;
    assert_eq!(body(send.send_request(get()).await.unwrap()).await, "event event ");
    let answer = raw(listener.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let listener = echo(plain(ConnectionLimits { connections: 1, ..LIMITS })).await;
    let stream = TcpStream::connect(listener.address()).await.unwrap();
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let second = tokio::spawn(raw(listener.address(), GET));
    for _ in 0..50 {
        send.ready().await.unwrap();
        assert_eq!(body(send.send_request(get()).await.unwrap()).await, "HTTP/1.1 false None");
        assert!(!second.is_finished(), "served beside the first");
    }
    connection.abort();
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
}

/// Answers when it is told to.
async fn held() -> (Listener, mpsc::UnboundedReceiver<()>, Arc<tokio::sync::Notify>) {
    let (tell, told) = mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Notify::new());
    let listener = start(plain(LIMITS), {
        let go = go.clone();
        move |_, _| {
            let (tell, go) = (tell.clone(), go.clone());
            Box::pin(async move {
                tell.send(()).unwrap();
                go.notified().await;
                text("done")
            })
        }
    })
    .await;
    (listener, told, go)
}

#[tokio::test]
async fn a_drain_lets_open_exchanges_end_and_closes_the_rest() {
    let (listener, mut told, go) = held().await;
    let address = listener.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let one = tokio::spawn(raw(address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    let (mut send, ended) = h2(TcpStream::connect(address).await.unwrap()).await;
    let two = tokio::spawn(send.send_request(get()));
    told.recv().await.unwrap();
    told.recv().await.unwrap();
    let drain = tokio::spawn(listener.drain(PATIENCE));
    assert_eq!(read_to_close(&mut idle).await, "");
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    go.notify_one();
    let answer = one.await.unwrap();
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("done"), "{answer}");
    assert_eq!(body(two.await.unwrap().unwrap()).await, "done");
    drop(send);
    ended.await.unwrap();
    assert!(drain.await.unwrap(), "all ended by themselves");
}

#[tokio::test]
async fn a_drain_that_takes_too_long_cuts() {
    let (listener, mut told, _go) = held().await;
    let address = listener.address();
    let one = tokio::spawn(raw(address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    told.recv().await.unwrap();
    assert!(!listener.drain(SHORT).await);
    assert_eq!(one.await.unwrap(), "");
}

#[tokio::test]
async fn an_http_1_connection_serves_many_requests() {
    let listener = echo(plain(LIMITS)).await;
    let stream = TcpStream::connect(listener.address()).await.unwrap();
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let answer = send.send_request(get()).await.unwrap();
        assert_eq!((answer.version(), body(answer).await.as_str()), (Version::HTTP_11, "HTTP/1.1 false None"));
        send.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_long_answer_that_breaks_off_is_broken_off_on_either_protocol() {
    let listener = start(plain(LIMITS), |_, _| {
        let (mut writer, outgoing) = Outgoing::stream();
        tokio::spawn(async move {
            for _ in 0..100 {
                writer.write(Bytes::from(vec![b'x'; 50_000])).await.unwrap();
            }
        });
        Box::pin(async { Response::new(outgoing) })
    })
    .await;
    let stream = TcpStream::connect(listener.address()).await.unwrap();
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = send.send_request(get()).await.unwrap().into_body();
    assert!(tokio::time::timeout(PATIENCE, answer.collect()).await.expect("ended").is_err());
    let (mut send, _) = h2(TcpStream::connect(listener.address()).await.unwrap()).await;
    let answer = send.send_request(get()).await.unwrap().into_body();
    assert!(tokio::time::timeout(PATIENCE, answer.collect()).await.expect("ended").is_err());
}

mod tls;

#[tokio::test]
async fn an_http_2_peer_that_takes_an_answer_in_drips_is_cut() {
    let millis = Duration::from_millis;
    for taking in [
        Pace { idle: millis(200), total: millis(600), rate: 0 },
        Pace { idle: millis(200), total: Duration::from_secs(600), rate: 1 << 20 },
    ] {
        // Other exchanges keep the connection busy: that must not help.
        let limits = ConnectionLimits { idle: millis(200), taking, head: SHORT, ..LIMITS };
        let listener = start(plain(limits), |_, _| Box::pin(async { text(vec![b'x'; 100_000]) })).await;
        let stream = TcpStream::connect(listener.address()).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let (mut send, connection) =
            builder.initial_stream_window_size(10).handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut answer = send.send_request(get()).await.unwrap().into_body();
        let drip = async {
            while let Some(Ok(_)) = answer.frame().await {
                let _ = tokio::time::timeout(millis(40), pending::<()>()).await;
            }
        };
        tokio::time::timeout(PATIENCE, drip).await.expect("cut");
        let _ = tokio::time::timeout(PATIENCE, connection).await.expect("cut").unwrap();
    }
}
