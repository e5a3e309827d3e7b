//! The protocol of Redis (RESP 2): commands as bytes, and answers from a stream.
//!
//! Of what a server says when it refuses, only the first word is kept: the rest may repeat what it was sent. Start at [`push`] and
//! [`read`].

use std::io::{Error, ErrorKind};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Longest line: a status, a number, or what a server says when it refuses.
const LINE_MAX: usize = 16 << 10;
/// Longest text of an answer: a row with the longest value and all its subjects.
const TEXT_MAX: usize = 64 << 20;
/// Most parts of one answer.
const PARTS_MAX: usize = 1 << 24;
/// Lists in lists.
const DEPTH_MAX: usize = 4;

/// An answer.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// A text, or a status.
    Text(Vec<u8>),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
    /// The first word of what the server said: `MOVED`, `OOM`, …, and for `MOVED` and `ASK` where to.
    Refused {
        code: String,
        to: Option<String>,
    },
}

/// Adds a command.
pub(super) fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    head(out, b'*', parts.len());
    for part in parts {
        head(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn head(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Reads one answer.
pub(super) async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply, Error> {
    // Lists that are not whole yet, and how many parts each still lacks.
    let mut open: Vec<(Vec<Reply>, usize)> = Vec::new();
    loop {
        let mut whole = match read_part(stream).await? {
            Part::Whole(reply) => reply,
            Part::List(0) => Reply::List(Vec::new()),
            Part::List(parts) if open.len() < DEPTH_MAX => {
                open.push((Vec::with_capacity(parts.min(1024)), parts));
                continue;
            }
            Part::List(_) => return Err(garbled()),
        };
        loop {
            let Some((parts, lacking)) = open.last_mut() else { return Ok(whole) };
            parts.push(whole);
            *lacking -= 1;
            if *lacking > 0 {
                break;
            }
            whole = Reply::List(open.pop().map(|(parts, _)| parts).unwrap_or_default());
        }
    }
}

enum Part {
    Whole(Reply),
    List(usize),
}

async fn read_part(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Part, Error> {
    let line = read_line(stream).await?;
    let (kind, rest) = line.split_first().ok_or_else(garbled)?;
    Ok(Part::Whole(match kind {
        b'+' => Reply::Text(rest.to_vec()),
        b'-' => refused(rest),
        b':' => Reply::Number(number(rest)?),
        b'$' => match number(rest)? {
            -1 => Reply::Nothing,
            length => Reply::Text(read_text(stream, bounded(length, TEXT_MAX)?).await?),
        },
        b'*' => match number(rest)? {
            -1 => Reply::Nothing,
            parts => return Ok(Part::List(bounded(parts, PARTS_MAX)?)),
        },
        _ => return Err(garbled()),
    }))
}

/// A line without its end.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, Error> {
    let mut line = Vec::with_capacity(32);
    stream.take(LINE_MAX as u64).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    match line.strip_suffix(b"\r\n") {
        Some(text) => {
            let length = text.len();
            line.truncate(length);
            Ok(line)
        }
        None => Err(garbled()),
    }
}

async fn read_text(stream: &mut (impl AsyncBufRead + Unpin), length: usize) -> Result<Vec<u8>, Error> {
    // Grows as the bytes come: a length alone takes no memory.
    let mut text = Vec::with_capacity(length.min(64 << 10) + 2);
    stream.take(length as u64 + 2).read_to_end(&mut text).await?;
    match text.strip_suffix(b"\r\n") {
        Some(whole) if whole.len() == length => text.truncate(length),
        _ => return Err(garbled()),
    }
    Ok(text)
}

fn refused(text: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(text);
    let mut words = text.split(' ');
    let code: String = words.next().unwrap_or_default().chars().filter(char::is_ascii_uppercase).collect();
    // `MOVED 3999 127.0.0.1:6381`
    let to = match code.as_str() {
        "MOVED" | "ASK" => words.nth(1).map(str::to_owned),
        _ => None,
    };
    Reply::Refused { code, to }
}

fn number(text: &[u8]) -> Result<i64, Error> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(garbled)
}

fn bounded(number: i64, most: usize) -> Result<usize, Error> {
    usize::try_from(number).ok().filter(|number| *number <= most).ok_or_else(garbled)
}

fn garbled() -> Error {
    Error::new(ErrorKind::InvalidData, "what it says is not the protocol of Redis")
}

impl Reply {
    /// The text, where it is one.
    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The parts, where it is a list.
    pub(super) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(parts) => Some(parts),
            _ => None,
        }
    }

    /// The number, where it is one.
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(mut bytes: &[u8]) -> Result<Reply, Error> {
        futures_util::FutureExt::now_or_never(read(&mut bytes)).expect("no waiting for bytes that are there")
    }

    fn text(text: &str) -> Reply {
        Reply::Text(text.into())
    }

    #[test]
    fn answers_are_read() {
        let check = |bytes: &str, expected: Reply| assert!(parse(bytes.as_bytes()).unwrap() == expected, "{bytes:?}");
        check("+OK\r\n", text("OK"));
        check(":-12\r\n", Reply::Number(-12));
        check("$3\r\na\r\n\r\n", text("a\r\n"));
        check("$0\r\n\r\n", text(""));
        check("$-1\r\n", Reply::Nothing);
        check("*-1\r\n", Reply::Nothing);
        check("*0\r\n", Reply::List(vec![]));
        let list = Reply::List(vec![Reply::List(vec![text("x"), Reply::List(vec![])]), Reply::Nothing]);
        check("*2\r\n*2\r\n$1\r\nx\r\n*0\r\n$-1\r\n", list);
        let refused = |code: &str, to: Option<&str>| Reply::Refused { code: code.into(), to: to.map(Into::into) };
        check("-OOM command not allowed, with args beginning with: `x`\r\n", refused("OOM", None));
        check("-MOVED 3999 [::1]:6381\r\n", refused("MOVED", Some("[::1]:6381")));
        check("-ASK 3999 host:6381\r\n", refused("ASK", Some("host:6381")));
    }

    #[test]
    fn what_is_cut_short_or_is_something_else_is_refused() {
        let deep = "*1\r\n".repeat(DEPTH_MAX + 1);
        for bytes in ["", "+OK", "+OK\n", "x\r\n", "$3\r\nabcd\r\n", "$3\r\nab", "$-2\r\n", ":x\r\n", "*1\r\n", &deep] {
            assert!(parse(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
        assert!(parse(format!("${}\r\n", TEXT_MAX + 1).as_bytes()).is_err());
        assert!(parse(&[b'+'; LINE_MAX + 9]).is_err());
    }

    #[test]
    fn commands_are_written() {
        let mut out = Vec::new();
        push(&mut out, &[b"HGET", b"", b"a\r\n"]);
        assert_eq!(out, b"*3\r\n$4\r\nHGET\r\n$0\r\n\r\n$3\r\na\r\n\r\n");
    }

    proptest! {
        #[test]
        fn other_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
