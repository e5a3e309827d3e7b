//! HTTP/2 by hand: frames in any order, with anything in them, and what came back.
//!
//! Start at [`talk`].

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 32;

/// How a client begins.
pub fn preface() -> Vec<u8> {
    // No dynamic table, so that what is answered can be read without a memory.
    let settings = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat()
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals that nobody keeps (RFC 7541, section 6.2.3).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name, value] {
            let mut length = text.len();
            if length < 127 {
                block.push(u8::try_from(length).unwrap());
            } else {
                block.push(127);
                length -= 127;
                while length >= 128 {
                    block.push(u8::try_from(length % 128).unwrap() | 128);
                    length /= 128;
                }
                block.push(u8::try_from(length).unwrap());
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// What came back.
#[derive(Debug, Default)]
pub struct Heard {
    /// The status of each stream.
    pub statuses: Vec<(u32, u16)>,
    /// Streams that came to their end.
    pub ended: Vec<u32>,
    /// Streams that were reset.
    pub reset: Vec<u32>,
    pub goaway: bool,
    /// Of all frames.
    pub bytes: Vec<u8>,
}

impl Heard {
    /// In a word: the statuses, then `reset` and `closed` where that happened.
    pub fn row(&self) -> String {
        let mut words: Vec<String> = self.statuses.iter().map(|(_, status)| status.to_string()).collect();
        words.extend((!self.reset.is_empty()).then(|| "reset".to_owned()));
        words.extend(self.goaway.then(|| "closed".to_owned()));
        if words.is_empty() { "-".to_owned() } else { words.join(" ") }
    }
}

/// Sends bytes and reads until stream `until` has ended, or the connection has.
pub fn talk(near: SocketAddr, sends: &[u8], until: u32) -> Result<Heard, String> {
    let mut stream = TcpStream::connect(near).map_err(|error| format!("not accepted: {error}"))?;
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let sends = sends.to_vec();
    // Beside the reading, because a flood fills what lies between.
    let writer = std::thread::spawn(move || writing.write_all(&sends));
    let (mut heard, mut piece, mut waiting) = (Heard::default(), [0; 16 * 1024], Vec::new());
    let end = loop {
        match stream.read(&mut piece) {
            Ok(0) => {
                heard.goaway = true;
                break Ok(());
            }
            Ok(count) => waiting.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                heard.goaway = true;
                break Ok(());
            }
            Err(error) => break Err(format!("neither answered nor closed ({error}): {heard:?}")),
        }
        while let Some(length) = whole(&waiting) {
            let frame: Vec<u8> = waiting.drain(..length).collect();
            heard.take(&frame);
        }
        if heard.ended.contains(&until) || heard.reset.contains(&until) {
            break Ok(());
        }
    };
    let _ = stream.shutdown(std::net::Shutdown::Both);
    let _ = writer.join();
    end.map(|()| heard)
}

fn whole(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, ..] = bytes else { return None };
    let length = 9 + (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c));
    (bytes.len() >= length).then_some(length)
}

impl Heard {
    fn take(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        let (kind, flags) = (frame[3], frame[4]);
        let stream = u32::from_be_bytes(frame[5..9].try_into().unwrap());
        match kind {
            HEADERS => self.statuses.extend(status(&frame[9..]).map(|status| (stream, status))),
            RST_STREAM => self.reset.push(stream),
            GOAWAY => self.goaway = true,
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            self.ended.push(stream);
        }
    }
}

/// The status at the beginning of a block of fields, behind changes of the table's size.
fn status(block: &[u8]) -> Option<u16> {
    match block {
        [0x20..0x40, rest @ ..] => status(rest),
        [indexed @ 0x88..=0x8e, ..] => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
        [0x08 | 0x18 | 0x48, 3, digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
        // In Huffman's code: 0, 1 and 2 have five bits, the other digits six, from 0x19 on.
        [0x08 | 0x18 | 0x48, 0x82 | 0x83, digits @ ..] => {
            let bits: String = digits.iter().take(3).map(|byte| format!("{byte:08b}")).collect();
            let (mut rest, mut number) = (&bits[..], 0);
            for _ in 0..3 {
                let short = u16::from_str_radix(rest.get(..5)?, 2).ok()?;
                let long = u16::from_str_radix(rest.get(..6)?, 2).ok()?;
                let (digit, taken) = if short < 3 { (short, 5) } else { (long.checked_sub(0x19)? + 3, 6) };
                (rest, number) = (rest.get(taken..)?, number * 10 + digit);
            }
            Some(number)
        }
        _ => None,
    }
}
