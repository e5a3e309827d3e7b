//! Reads the framing of HTTP/1.1 requests before hyper does, and lets through only what everybody reads in one way.
//!
//! hyper follows RFC 9112 where that says MAY: it takes a bare LF for the end of a line, a length beside a coding, a list of codings
//! that ends with `chunked`, a length that is said twice, spaces behind a chunk's size. Whoever stands before us may read such bytes
//! otherwise, and then one request is two. Here they are refused (RFC 9112, sections 2.2, 3.2, 5.1, 5.2, 6.1, 6.3 and 7.1). hyper gets
//! a head when all of it has passed, and in the place of one that has not, a request with the method [`Unreadable::METHOD`], so that
//! it is answered in its turn. Not here: what a request asks for. Start at [`Gate::look`].

use memchr::memchr;

use super::listener::Unreadable;

/// Digits of a chunk's size: more than any body may have.
const SIZE_DIGITS: u8 = 15;

/// What has been read of a connection.
#[derive(Debug)]
pub(super) struct Gate {
    state: State,
    head: Head,
    /// Bytes of a head, and of what stands beside the data of a chunked body.
    most: usize,
    fields: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    /// So many bytes of a body are to come.
    Body(u64),
    Chunks {
        at: Chunk,
        /// Of the chunk, or (in [`Chunk::Size`]) what was read of that.
        size: u64,
        /// Bytes of extensions and trailers so far.
        beside: usize,
    },
}

/// Where in a chunked body (RFC 9112, section 7.1).
#[derive(Clone, Copy, Debug)]
enum Chunk {
    /// Behind so many digits.
    Size(u8),
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line behind the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

/// What is known of a head that is being read.
#[derive(Debug, Default)]
struct Head {
    /// Where the line begins that is not whole yet.
    line: usize,
    /// Up to where there is no end of a line.
    searched: usize,
    fields: usize,
    version: Option<Version>,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// How far bytes may pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// All.
    All,
    /// What stands before this place. There a head begins that is not whole: it is to be looked at again, with what follows.
    Before(usize),
    /// What stands before this place, and then nothing more. `None`: it is within a body.
    Never(usize, Option<Unreadable>),
}

impl Gate {
    pub(super) fn new(most: usize, fields: usize) -> Self {
        Self { state: State::Head, head: Head::default(), most, fields }
    }

    /// Looks at the bytes that follow those that passed.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Pass {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.state {
                State::Head => match self.head.look(rest, self.most, self.fields) {
                    Ok(None) => return Pass::Before(at),
                    Ok(Some(end)) => {
                        at += end;
                        self.state = std::mem::take(&mut self.head).body();
                    }
                    Err(unreadable) => return Pass::Never(at, Some(unreadable)),
                },
                State::Body(left) => {
                    let taken = left.min(rest.len() as u64);
                    at += usize::try_from(taken).unwrap_or(rest.len());
                    self.state = if taken == left { State::Head } else { State::Body(left - taken) };
                }
                State::Chunks { at: Chunk::Data, size, beside } => {
                    let taken = size.min(rest.len() as u64);
                    at += usize::try_from(taken).unwrap_or(rest.len());
                    let next = if taken == size { Chunk::DataCr } else { Chunk::Data };
                    self.state = State::Chunks { at: next, size: size - taken, beside };
                }
                State::Chunks { at: chunk, size, beside } => {
                    let byte = rest.first().copied().unwrap_or_default();
                    let Some(next) = chunk.next(byte, size, beside).filter(|_| beside < self.most) else {
                        return Pass::Never(at, None);
                    };
                    self.state = next;
                    at += 1;
                }
            }
        }
        Pass::All
    }
}

impl Head {
    /// Looks at a head from its beginning; what was looked at before is not looked at again. Where it ends, if it does.
    fn look(&mut self, bytes: &[u8], most: usize, fields: usize) -> Result<Option<usize>, Unreadable> {
        loop {
            let fresh = bytes.get(self.searched..).unwrap_or_default();
            let Some(found) = memchr(b'\n', fresh) else {
                // What can become no line is not waited for.
                let (body, last) = fresh.split_at(fresh.len().saturating_sub(1));
                if !body.iter().all(|byte| text(*byte)) || !last.iter().all(|byte| text(*byte) || *byte == b'\r') {
                    return Err(Unreadable::Malformed);
                }
                // The CR that ends a line may have come alone.
                self.searched = bytes.len().saturating_sub(1).max(self.line);
                return if bytes.len() > most { Err(Unreadable::TooLarge) } else { Ok(None) };
            };
            let end = self.searched + found + 1;
            let line = bytes.get(self.line..end).and_then(|line| line.strip_suffix(b"\r\n"));
            let line = line.filter(|line| line.iter().all(|byte| text(*byte))).ok_or(Unreadable::Malformed)?;
            (self.line, self.searched) = (end, end);
            if end > most {
                return Err(Unreadable::TooLarge);
            }
            match (self.version, line) {
                // An empty line before a request is overlooked (RFC 9112, section 2.2).
                (None, []) => {}
                (None, line) => self.version = Some(request_line(line).ok_or(Unreadable::Malformed)?),
                (Some(_), []) => return self.whole().map(|()| Some(end)),
                (Some(_), line) => {
                    self.fields += 1;
                    if self.fields > fields {
                        return Err(Unreadable::TooLarge);
                    }
                    self.field(line).ok_or(Unreadable::Malformed)?;
                }
            }
        }
    }

    fn field(&mut self, line: &[u8]) -> Option<()> {
        let colon = memchr(b':', line)?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        if name.is_empty() || !name.iter().all(|byte| token(*byte)) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = trimmed(value);
            let number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(digits).ok().filter(|_| number)?.parse::<u64>().ok()?;
            // What hyper takes for a length.
            if length >= u64::MAX - 1 || self.length.replace(length).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding")
            && (!trimmed(value).eq_ignore_ascii_case(b"chunked") || std::mem::replace(&mut self.chunked, true))
        {
            return None;
        }
        Some(())
    }

    /// Whether the fields agree with each other.
    fn whole(&self) -> Result<(), Unreadable> {
        let chunks_in_1_0 = self.chunked && self.version == Some(Version::Http10);
        if chunks_in_1_0 || (self.chunked && self.length.is_some()) { Err(Unreadable::Malformed) } else { Ok(()) }
    }

    fn body(self) -> State {
        match self.length {
            _ if self.chunked => State::Chunks { at: Chunk::Size(0), size: 0, beside: 0 },
            Some(length @ 1..) => State::Body(length),
            _ => State::Head,
        }
    }
}

impl Chunk {
    /// What is expected behind this byte; `None`: it is not what is expected.
    fn next(self, byte: u8, size: u64, beside: usize) -> Option<State> {
        let to = |at| Some(State::Chunks { at, size, beside });
        let more = |at| Some(State::Chunks { at, size, beside: beside + 1 });
        match (self, byte) {
            (Self::Size(digits), _) if digits < SIZE_DIGITS && byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16)?;
                Some(State::Chunks { at: Self::Size(digits + 1), size: size * 16 + u64::from(digit), beside })
            }
            (Self::Size(1..), b';') => more(Self::Extension),
            (Self::Size(1..) | Self::Extension, b'\r') => to(Self::SizeLf),
            (Self::Extension, _) if text(byte) => more(Self::Extension),
            (Self::SizeLf, b'\n') if size == 0 => to(Self::Trailer),
            (Self::SizeLf, b'\n') => to(Self::Data),
            (Self::DataCr, b'\r') => to(Self::DataLf),
            (Self::DataLf, b'\n') => Some(State::Chunks { at: Self::Size(0), size: 0, beside }),
            (Self::Trailer, b'\r') => to(Self::EndLf),
            (Self::Trailer | Self::TrailerName, _) if token(byte) => more(Self::TrailerName),
            (Self::TrailerName, b':') => more(Self::TrailerValue),
            (Self::TrailerValue, b'\r') => to(Self::TrailerLf),
            (Self::TrailerValue, _) if text(byte) => more(Self::TrailerValue),
            (Self::TrailerLf, b'\n') => to(Self::Trailer),
            (Self::EndLf, b'\n') => Some(State::Head),
            _ => None,
        }
    }
}

/// Method, target, version, with a space between (RFC 9112, section 3).
fn request_line(line: &[u8]) -> Option<Version> {
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    // A path, `*`, or the beginning of a scheme or an authority.
    let begins = target.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'*'));
    let read = !method.is_empty() && method.iter().all(|byte| token(*byte)) && begins;
    if !read || !target.iter().all(|byte| in_target(*byte)) || words.next().is_some() {
        return None;
    }
    match version {
        b"HTTP/1.1" => Some(Version::Http11),
        b"HTTP/1.0" => Some(Version::Http10),
        _ => None,
    }
}

/// What may stand in a line: no control character but the tab.
fn text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110, section 5.6.2.
fn token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// What may stand in a target: all that is visible, but for the sign that begins a fragment, which no request has
/// (RFC 9112, section 3.2).
fn in_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of it passes, fed in pieces of so many bytes, and why no more does.
    fn passes(bytes: &[u8], piece: usize) -> (usize, Option<Option<Unreadable>>) {
        let mut gate = Gate::new(100, 3);
        let (mut passed, mut held) = (0, Vec::new());
        for piece in bytes.chunks(piece) {
            held.extend_from_slice(piece);
            match gate.look(&held) {
                Pass::All => passed += std::mem::take(&mut held).len(),
                Pass::Before(at) => {
                    passed += at;
                    held.drain(..at);
                }
                Pass::Never(at, why) => return (passed + at, Some(why)),
            }
        }
        (passed, None)
    }

    #[test]
    fn it_does_not_matter_how_bytes_are_cut() {
        let (malformed, large) = (Some(Some(Unreadable::Malformed)), Some(Some(Unreadable::TooLarge)));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100));
        for (bytes, passed, why) in [
            ("GET / HTTP/1.1\r\na: b\r\n\r\n", 24, None),
            ("\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n", 20, None),
            ("POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET", 41, None),
            ("POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc\n", 41, malformed),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nt: u\r\n\r\nGET", 68, None),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3 \r\nabc\r\n", 48, Some(None)),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd", 53, Some(None)),
            ("GET / HTTP/1.1\na: b\r\n\r\n", 0, malformed),
            ("GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n", 0, malformed),
            ("GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n", 0, large),
            (&long, 0, large),
            ("\u{16}\u{3}\u{1}", 0, malformed),
        ] {
            for piece in 1..=bytes.len() {
                assert_eq!(passes(bytes.as_bytes(), piece), (passed, why), "{bytes:?} in {piece}s");
            }
        }
    }

    #[test]
    fn what_stands_beside_the_data_of_a_body_is_limited() {
        let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let many = "1;x=y\r\na\r\n".repeat(50);
        for beside in [many, format!("1;{}", "x".repeat(200)), format!("0\r\n{}", "a: b\r\n".repeat(40))] {
            assert_eq!(passes(format!("{head}{beside}").as_bytes(), 7).1, Some(None));
        }
    }
}
