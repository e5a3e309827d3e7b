use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const SHORT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn pool(keep_alive: Duration) -> (TcpListener, Arc<Pool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    (listener, Pool::new(HttpConnector::new(), origin, http1::Builder::new(), keep_alive, 8, metrics()))
}

fn metrics() -> Arc<UpstreamMetrics> {
    crate::telemetry::Metrics::new().upstream(&crate::ids::UpstreamId::parse("a").unwrap())
}

fn get() -> Request<Outgoing> {
    Request::get("/").header("host", "a").body(Outgoing::empty()).unwrap()
}

fn within(time: Duration) -> (Instant, Option<Instant>) {
    let now = Instant::now();
    (now, Some(now + time))
}

async fn send(pool: &Arc<Pool>) -> Result<Response<Answer>, Failure> {
    pool.send(get(), false, within(Duration::from_secs(10)), Places::default()).await
}

async fn text(response: Response<Answer>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Reads what there is of a request, until it ends with `end`.
async fn heard(stream: &mut TcpStream, end: &[u8]) {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the connection ended");
    }
}

/// Answers every request on the first connection, and takes no other.
fn answers(listener: TcpListener, answer: &'static str) {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        loop {
            heard(&mut stream, b"\r\n\r\n").await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_connection_is_used_again_when_its_answer_was_read() {
    for answer in [
        SHORT,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (listener, pool) = pool(LONG).await;
        answers(listener, answer);
        for _ in 0..3 {
            let read = text(send(&pool).await.unwrap()).await;
            assert!(read.is_empty() || read == "ok");
        }
    }
}

#[tokio::test]
async fn a_short_body_that_nobody_reads_does_not_cost_the_connection() {
    let (listener, pool) = pool(LONG).await;
    answers(listener, SHORT);
    for _ in 0..3 {
        drop(send(&pool).await.unwrap());
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_half_way_takes_its_connection_with_it() {
    let (listener, pool) = pool(LONG).await;
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        heard(&mut stream, b"\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nok").await.unwrap();
        stream.read(&mut [0]).await.unwrap_or(0)
    });
    drop(send(&pool).await.unwrap());
    assert_eq!(upstream.await.unwrap(), 0);
    assert!(pool.idle().is_empty());
}

#[tokio::test]
async fn a_body_that_upstream_breaks_off_is_not_whole() {
    let (listener, pool) = pool(LONG).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        heard(&mut stream, b"\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nok").await.unwrap();
    });
    send(&pool).await.unwrap().into_body().collect().await.unwrap_err();
}

#[tokio::test]
async fn a_connection_that_upstream_closed_is_not_used_again() {
    let (listener, pool) = pool(LONG).await;
    tokio::spawn(async move {
        for end in ["", "connection: close\r\n", ""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            heard(&mut stream, b"\r\n\r\n").await;
            let answer = SHORT.replace("content-length", &format!("{end}content-length"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for _ in 0..3 {
        assert_eq!(text(send(&pool).await.unwrap()).await, "ok");
        while let Some(line) = pool.take(Instant::now()) {
            pool.give_back(line);
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_unused_connection_is_closed_when_its_time_is_over() {
    let (listener, pool) = pool(Duration::from_millis(20)).await;
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        heard(&mut stream, b"\r\n\r\n").await;
        stream.write_all(SHORT.as_bytes()).await.unwrap();
        stream.read(&mut [0]).await.unwrap()
    });
    text(send(&pool).await.unwrap()).await;
    assert_eq!(upstream.await.unwrap(), 0);
    assert!(pool.idle().is_empty());
}

#[tokio::test]
async fn an_exchange_that_goes_or_is_too_slow_takes_its_connection_with_it() {
    for wait in [LONG, Duration::from_millis(20)] {
        let (listener, pool) = pool(LONG).await;
        let sent = pool.clone();
        let exchange =
            tokio::spawn(async move { sent.send(get(), false, within(wait), Places::default()).await.map(drop) });
        let (mut stream, _) = listener.accept().await.unwrap();
        heard(&mut stream, b"\r\n\r\n").await;
        if wait == LONG {
            exchange.abort();
        } else {
            assert_eq!(exchange.await.unwrap(), Err(Failure::Slow));
        }
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn the_time_for_an_answer_is_its_own_whatever_the_one_before_had() {
    let (listener, pool) = pool(LONG).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            heard(&mut stream, b"\r\n\r\n").await;
            stream.write_all(SHORT.as_bytes()).await.unwrap();
        }
        heard(&mut stream, b"\r\n\r\n").await;
        stream.read(&mut [0]).await
    });
    for wait in [LONG, Duration::from_secs(30)] {
        text(pool.send(get(), false, within(wait), Places::default()).await.unwrap()).await;
    }
    let slow = pool.send(get(), false, within(Duration::from_millis(20)), Places::default()).await;
    assert_eq!(slow.map(drop).unwrap_err(), Failure::Slow);
}

#[tokio::test]
async fn what_is_no_http_or_no_connection_is_told_apart() {
    let (listener, pool) = pool(LONG).await;
    answers(listener, "what?\r\n\r\n");
    assert_eq!(send(&pool).await.map(drop).unwrap_err(), Failure::Broken);
    assert_eq!(send(&pool).await.map(drop).unwrap_err(), Failure::Unreachable);
}

#[tokio::test]
async fn a_request_goes_on_behind_an_early_answer_and_its_connection_is_used_again() {
    let (listener, pool) = pool(LONG).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        heard(&mut stream, b"one\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        heard(&mut stream, b"0\r\n\r\n").await;
        stream.write_all(b"2\r\nok\r\n0\r\n\r\n").await.unwrap();
        heard(&mut stream, b"\r\n\r\n").await;
        stream.write_all(SHORT.as_bytes()).await.unwrap();
    });
    let (mut writer, body) = Outgoing::stream();
    let request = Request::post("/").header("host", "a").body(body).unwrap();
    writer.write(Bytes::from_static(b"one")).await.unwrap();
    let response = pool.send(request, true, (Instant::now(), None), Places::default()).await.unwrap();
    // Nobody reads the answer here: the connection goes on by itself.
    writer.write(Bytes::from_static(b"two")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(text(response).await, "ok");
    while pool.idle().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(text(send(&pool).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn a_connection_that_upstream_has_closed_is_seen_by_a_task_without_budget_too() {
    let (listener, pool) = pool(LONG).await;
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        heard(&mut stream, b"\r\n\r\n").await;
        stream.write_all(SHORT.as_bytes()).await.unwrap();
        stream
    });
    text(send(&pool).await.unwrap()).await;
    let (_, mut line) = pool.idle().pop(here(), true).unwrap();
    drop(upstream.await.unwrap());
    let seen = poll_fn(|cx| {
        while tokio::task::coop::has_budget_remaining() {
            let _ = pin!(tokio::task::consume_budget()).poll(cx);
        }
        if line.alive() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    });
    tokio::time::timeout(Duration::from_secs(10), seen).await.expect("its end is seen");
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_has_sent_nothing() {
    let (_listener, pool) = pool(LONG).await;
    // The time is over before the connection can be there.
    let past = Instant::now() - Duration::from_millis(1);
    let answer = pool.send(get(), false, (Instant::now(), Some(past)), Places::default()).await;
    assert_eq!(answer.err(), Some(Failure::Unreachable));
}

#[tokio::test]
async fn what_an_answer_takes_up_is_free_when_its_body_has_been_read_and_not_before() {
    let (listener, pool) = pool(LONG).await;
    answers(listener, SHORT);
    let hold: Hold = Arc::new(());
    let places = Places { connection: None, exchange: Some(Arc::clone(&hold)) };
    let response = pool.send(get(), false, (Instant::now(), None), places).await.unwrap();
    assert_eq!(Arc::strong_count(&hold), 2);
    let mut body = response.into_body();
    while body.frame().await.is_some() {}
    assert_eq!(Arc::strong_count(&hold), 1, "though the body is still there");
}

/// An upstream that answers each request in two pieces, the second when it is told to, and counts its connections.
fn in_two(listener: TcpListener, first: String, second: String) -> (Arc<tokio::sync::Notify>, Arc<AtomicUsize>) {
    let (go_on, connections) = (Arc::new(tokio::sync::Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (told, counted) = (Arc::clone(&go_on), Arc::clone(&connections));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let (told, first, second) = (Arc::clone(&told), first.clone(), second.clone());
            tokio::spawn(async move {
                loop {
                    heard(&mut stream, b"\r\n\r\n").await;
                    stream.write_all(first.as_bytes()).await.unwrap();
                    told.notified().await;
                    stream.write_all(second.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (go_on, connections)
}

#[tokio::test]
async fn whoever_hangs_up_early_does_not_cost_a_connection_whose_answer_is_short_and_comes_soon() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n";
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n";
    for (first, second) in [
        // Nothing, a part of the head, the head, a part of the body.
        (String::new(), SHORT.to_owned()),
        ("HTTP/1.1 2".to_owned(), "00 OK\r\ncontent-length: 2\r\n\r\nok".to_owned()),
        (chunked.to_owned(), "1\r\nk\r\n0\r\n\r\n".to_owned()),
        (long.to_owned(), "x".repeat(10_000)),
        (format!("{long}xx"), "x".repeat(9_998)),
    ] {
        let (listener, pool) = pool(LONG).await;
        let (go_on, connections) = in_two(listener, first.clone(), second);
        let hold: Hold = Arc::new(());
        for _ in 0..3 {
            let places = Places { connection: None, exchange: Some(Arc::clone(&hold)) };
            let mut sending = Box::pin(pool.send(get(), false, (Instant::now(), None), places));
            if first.len() > 12 {
                drop(sending.await.unwrap());
            } else {
                // It is on its way: the connection is there.
                while pool.open.load(Ordering::Relaxed) == 0 {
                    assert!(poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending())).await);
                    tokio::task::yield_now().await;
                }
                assert!(poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending())).await);
                drop(sending);
            }
            assert_eq!(Arc::strong_count(&hold), 2, "it counts as long as it is read");
            go_on.notify_one();
            while pool.idle().is_empty() {
                assert_eq!(pool.open.load(Ordering::Relaxed), 1, "the connection was given up: {first}");
                tokio::task::yield_now().await;
            }
            assert_eq!((connections.load(Ordering::Relaxed), Arc::strong_count(&hold)), (1, 1), "{first}");
        }
    }
}

#[tokio::test]
async fn a_rest_that_is_long_or_has_no_end_is_not_read() {
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for first in [long, endless] {
        let (listener, pool) = pool(LONG).await;
        let (_go_on, _) = in_two(listener, first.to_owned(), String::new());
        let mut response = send(&pool).await.unwrap();
        if first == endless {
            response.body_mut().endless();
        }
        drop(response);
        assert_eq!(pool.open.load(Ordering::Relaxed), 0, "{first}");
    }
    // A length that is only found out.
    let (listener, pool) = pool(LONG).await;
    let (go_on, _) = in_two(listener, endless.to_owned(), format!("20000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x20000)));
    drop(send(&pool).await.unwrap());
    go_on.notify_one();
    while pool.open.load(Ordering::Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
    assert!(pool.idle().is_empty());
}

/// An upstream that answers the first request of each connection, and closes it when the second is there; how many it got.
fn closes_on_the_second(listener: TcpListener) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            heard(&mut stream, b"\r\n\r\n").await;
            counted.fetch_add(1, Ordering::Relaxed);
            stream.write_all(SHORT.as_bytes()).await.unwrap();
            heard(&mut stream, b"\r\n\r\n").await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

#[tokio::test]
async fn what_may_be_repeated_is_when_a_kept_connection_ends_under_it_within_the_budget() {
    let (listener, pool) = pool(LONG).await;
    let count = closes_on_the_second(listener);
    for n in 0..10_u64 {
        assert_eq!(text(send(&pool).await.unwrap()).await, "ok");
        assert_eq!(
            (pool.metrics.repeated.get(), count.load(Ordering::Relaxed)),
            (n, 1 + 2 * usize::try_from(n).unwrap())
        );
    }
    let post = Request::post("/").header("host", "a").body(Outgoing::empty()).unwrap();
    let sent = pool.send(post, false, within(Duration::from_secs(10)), Places::default()).await;
    assert_eq!(sent.map(drop).unwrap_err(), Failure::Closed, "what was done must not be done again");
    assert_eq!(pool.metrics.repeated.get(), 9);
    assert_eq!(text(send(&pool).await.unwrap()).await, "ok", "on a new connection");
    while pool.budget.spend() {}
    assert_eq!(send(&pool).await.map(drop).unwrap_err(), Failure::Closed, "the budget is spent");
}

#[tokio::test]
async fn a_new_connection_that_ends_without_an_answer_is_no_reason_to_ask_again() {
    let (listener, pool) = pool(LONG).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        heard(&mut stream, b"\r\n\r\n").await;
        drop(stream);
        std::future::pending::<()>().await;
        drop(listener);
    });
    assert_eq!(send(&pool).await.map(drop).unwrap_err(), Failure::Closed);
    assert_eq!(pool.metrics.repeated.get(), 0);
}

#[tokio::test]
async fn what_went_out_is_not_called_unsent_where_there_is_no_connection_to_repeat_it() {
    let (listener, pool) = pool(LONG).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        heard(&mut stream, b"\r\n\r\n").await;
        stream.write_all(SHORT.as_bytes()).await.unwrap();
        heard(&mut stream, b"\r\n\r\n").await;
    });
    assert_eq!(text(send(&pool).await.unwrap()).await, "ok");
    assert_eq!(send(&pool).await.map(drop).unwrap_err(), Failure::Closed);
    assert_eq!(pool.metrics.repeated.get(), 1);
}
