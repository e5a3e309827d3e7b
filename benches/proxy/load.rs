//! Clients: raw HTTP/1.1 connections kept alive, a thread each; as fast as they can, or at a fixed rate.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// One connection and the request that it sends again and again.
pub struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr, target: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_nodelay(true).expect("a socket option");
        let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\n\r\n", super::KEY);
        Self { stream, request: request.into_bytes(), buffer: vec![0; 1 << 16] }
    }

    /// Sends the request, reads the whole reply; returns the bytes of its body.
    pub fn exchange(&mut self) -> u64 {
        self.stream.write_all(&self.request).expect("a request is sent");
        let (head_end, filled) = read_head(&mut self.stream, &mut self.buffer);
        let text = String::from_utf8_lossy(&self.buffer[..head_end]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}{}", String::from_utf8_lossy(&self.buffer[head_end..filled]));
        let rest = filled - head_end;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<u64>().ok());
        match length {
            Some(length) => {
                let mut left = length.checked_sub(rest as u64).expect("no more than was announced");
                while left > 0 {
                    left -= self.read() as u64;
                }
                length
            }
            None => {
                assert!(text.contains("transfer-encoding: chunked"), "{text}");
                let mut chunks = Chunks::default();
                chunks.feed(&self.buffer[head_end..filled]);
                while !chunks.ended {
                    let read = self.read();
                    chunks.feed(&self.buffer[..read]);
                }
                chunks.body
            }
        }
    }

    fn read(&mut self) -> usize {
        let read = self.stream.read(&mut self.buffer).expect("the reply goes on");
        assert!(read > 0, "the reply was cut off");
        read
    }
}

/// Reads until the head is whole: where it ends, and how much was read.
fn read_head(stream: &mut TcpStream, buffer: &mut [u8]) -> (usize, usize) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).expect("a reply comes");
        assert!(read > 0, "no reply");
        filled += read;
        if let Some(at) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
            return (at + 4, filled);
        }
    }
}

/// Follows a chunked body without keeping it.
#[derive(Default)]
struct Chunks {
    /// Bytes of the chunk that are still to come, its line end included.
    left: u64,
    size: Vec<u8>,
    body: u64,
    last: bool,
    ended: bool,
}

impl Chunks {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.ended {
            if self.left > 0 {
                let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= step as u64;
                bytes = &bytes[step..];
                self.ended = self.last && self.left == 0;
                continue;
            }
            let (first, rest) = bytes.split_at(1);
            bytes = rest;
            self.size.extend_from_slice(first);
            if self.size.ends_with(b"\r\n") {
                let text = String::from_utf8_lossy(&self.size[..self.size.len() - 2]).into_owned();
                let size = u64::from_str_radix(&text, 16).expect("a chunk's size");
                self.size.clear();
                self.body += size;
                self.left = size + 2;
                self.last = size == 0;
            }
        }
    }
}

/// Of a stream of events that say when they were made: how long each was on its way, in microseconds.
pub fn events(address: SocketAddr, target: &str) -> Histogram<u64> {
    let mut client = Client::new(address, target);
    client.stream.write_all(&client.request).expect("a request is sent");
    let (head_end, filled) = read_head(&mut client.stream, &mut client.buffer);
    let head = String::from_utf8_lossy(&client.buffer[..head_end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("transfer-encoding: chunked"), "{head}");
    let (mut times, mut chunks, mut text) = (no_times(), Chunks::default(), Vec::new());
    let (mut start, mut end) = (head_end, filled);
    loop {
        let now = super::roles::now();
        let bytes = &client.buffer[start..end];
        // The framing tells where the stream ends; in the text only what has not been looked at is kept.
        chunks.feed(bytes);
        text.extend_from_slice(bytes);
        let mut seen = 0;
        while let Some(made) = memchr::memmem::find(&text[seen..], MADE).map(|place| seen + place + MADE.len()) {
            let digits = text[made..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if made + digits == text.len() {
                break;
            }
            let time: u64 = String::from_utf8_lossy(&text[made..made + digits]).parse().expect("a time");
            times.record(now.saturating_sub(time)).expect("a histogram that grows");
            seen = made + digits;
        }
        text.drain(..seen.max(text.len().saturating_sub(KEEP)));
        if chunks.ended {
            return times;
        }
        (start, end) = (0, client.read());
    }
}

/// What stands before the time at which an event was made.
const MADE: &[u8] = b"\"made\":";

/// So many bytes of a text may be the beginning of a time: its name and its digits.
const KEEP: usize = 32;

/// Of nothing yet.
pub fn no_times() -> Histogram<u64> {
    Histogram::new(3).expect("a histogram")
}

/// How many exchanges, and how many bytes of bodies, in a closed loop of so many connections.
pub fn closed(address: SocketAddr, target: &str, connections: usize, time: Duration) -> (u64, u64) {
    let run = move |mut client: Client| {
        let (began, mut done, mut bytes) = (Instant::now(), 0, 0);
        while began.elapsed() < time {
            bytes += client.exchange();
            done += 1;
        }
        (done, bytes)
    };
    let clients: Vec<_> = (0..connections).map(|_| Client::new(address, target)).collect();
    let threads: Vec<_> = clients.into_iter().map(|client| std::thread::spawn(move || run(client))).collect();
    threads.into_iter().map(|thread| thread.join().expect("a client")).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
}

/// Times from the moment at which a request was due to the end of its reply, in microseconds, at a fixed rate.
pub fn fixed(address: SocketAddr, target: &str, connections: u32, rate: u32, time: Duration) -> Histogram<u64> {
    let began = Instant::now() + Duration::from_millis(20);
    let gap = Duration::from_secs(1) / rate;
    let run = move |mut client: Client, number: u32| {
        let mut times = no_times();
        let mut due = began + gap * number;
        while due < began + time {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            client.exchange();
            // From when it was due: a stalled proxy makes all who wait for it late, and that counts.
            let late = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            times.record(late).expect("a histogram that grows");
            due += gap * connections;
        }
        times
    };
    let clients: Vec<_> = (0..connections).map(|number| (Client::new(address, target), number)).collect();
    let threads: Vec<_> = clients.into_iter().map(|(c, n)| std::thread::spawn(move || run(c, n))).collect();
    let mut all = no_times();
    for thread in threads {
        all.add(thread.join().expect("a client")).expect("histograms of one shape");
    }
    all
}
