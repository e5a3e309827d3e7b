//! How bytes have to be read (RFC 9112), written for clarity: what is not read in exactly one way by everybody is not read.
//!
//! Not the program's: a second reading, of which the program's may only ever be a part. Start at [`requests`].

use std::fmt;

/// One message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Method and target; of an answer, its status and reason.
    pub start: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Behind the body.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// The values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect()
    }

    /// The value of a field, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    /// Of an answer.
    pub fn status(&self) -> u16 {
        self.start.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.body.is_empty() { "" } else { " " };
        write!(f, "{}{gap}{}", self.start, String::from_utf8_lossy(&self.body))
    }
}

/// How a connection's bytes end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a message after which the connection is to be closed; whatever is behind it counts for nothing.
    Closed,
    /// Between two messages.
    Open,
    /// In the middle of a message.
    Cut,
    /// With something that is not to be read, and why.
    Wrong(&'static str),
}

/// What a connection's bytes are.
#[derive(Debug)]
pub struct Reading {
    pub messages: Vec<Message>,
    /// Where each message ends.
    pub ends: Vec<usize>,
    pub end: End,
}

type Read<T> = Result<T, End>;

/// Names and values, in their order.
type Fields = Vec<(String, String)>;

/// The requests that a client's bytes are.
pub fn requests(bytes: &[u8]) -> Reading {
    all(bytes, request)
}

/// The answers that a server's bytes are, to requests with these methods.
pub fn answers(bytes: &[u8], methods: &[String]) -> Reading {
    let mut finals = 0;
    all(bytes, |rest| {
        let head_only = methods.get(finals).is_some_and(|method| method == "HEAD");
        let read = answer(rest, head_only)?;
        finals += usize::from(read.0.status() >= 200);
        Ok(read)
    })
}

fn all(bytes: &[u8], mut one: impl FnMut(&mut &[u8]) -> Read<(Message, bool)>) -> Reading {
    let (mut rest, mut messages, mut ends) = (bytes, Vec::new(), Vec::new());
    let end = loop {
        if rest.is_empty() {
            break End::Open;
        }
        match one(&mut rest) {
            Ok((message, goes_on)) => {
                messages.push(message);
                ends.push(bytes.len() - rest.len());
                if !goes_on {
                    break End::Closed;
                }
            }
            Err(end) => break end,
        }
    };
    Reading { messages, ends, end }
}

/// One request, and whether the connection goes on behind it.
fn request(rest: &mut &[u8]) -> Read<(Message, bool)> {
    // An empty line before a request is to be overlooked (RFC 9112, section 2.2).
    while let Some(behind) = rest.strip_prefix(b"\r\n") {
        *rest = behind;
        if rest.is_empty() {
            return Err(End::Open);
        }
    }
    let line = line(rest)?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else { return Err(End::Wrong("not three words")) };
    if method.is_empty() || !method.bytes().all(token) {
        return Err(End::Wrong("a method that is no token"));
    }
    if target.is_empty() || !target.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        return Err(End::Wrong("a target that is none"));
    }
    let old = match version {
        "HTTP/1.0" => true,
        "HTTP/1.1" => false,
        _ => return Err(End::Wrong("a version that is none")),
    };
    let fields = fields(rest)?;
    let mut message = Message { start: format!("{method} {target}"), fields, body: Vec::new(), trailers: Vec::new() };
    match framing(&message)? {
        Framing::Chunks if old => return Err(End::Wrong("chunks in HTTP/1.0")),
        Framing::Chunks => (message.body, message.trailers) = chunks(rest)?,
        Framing::Length(length) => message.body = take(rest, length)?.to_vec(),
        Framing::None => {}
    }
    let says = |word: &str| options(&message).iter().any(|option| option == word);
    let goes_on = if old { says("keep-alive") } else { !says("close") };
    Ok((message, goes_on))
}

fn answer(rest: &mut &[u8], head_only: bool) -> Read<(Message, bool)> {
    let line = line(rest)?;
    let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    let status = status.ok_or(End::Wrong("no status line"))?;
    let fields = fields(rest)?;
    let mut message = Message { start: status.to_owned(), fields, body: Vec::new(), trailers: Vec::new() };
    let bare = head_only || message.status() < 200 || [204, 304].contains(&message.status());
    match framing(&message)? {
        _ if bare => {}
        Framing::Chunks => (message.body, message.trailers) = chunks(rest)?,
        Framing::Length(length) => message.body = take(rest, length)?.to_vec(),
        Framing::None => return Err(End::Wrong("an answer without a length")),
    }
    let goes_on = !options(&message).iter().any(|option| option == "close");
    Ok((message, goes_on))
}

fn options(message: &Message) -> Vec<String> {
    message.all("connection").join(",").split(',').map(|option| option.trim().to_ascii_lowercase()).collect()
}

enum Framing {
    None,
    Length(usize),
    Chunks,
}

fn framing(message: &Message) -> Read<Framing> {
    match (&message.all("transfer-encoding")[..], &message.all("content-length")[..]) {
        ([], []) => Ok(Framing::None),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunks),
        ([], [length]) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| End::Wrong("a length without bounds"))
        }
        ([], _) => Err(End::Wrong("lengths that are none, or several")),
        (_, []) => Err(End::Wrong("a transfer coding that is not `chunked`")),
        _ => Err(End::Wrong("a length and a transfer coding")),
    }
}

/// A line without its end. Neither CR nor LF stands in it.
fn line(rest: &mut &[u8]) -> Read<String> {
    let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).ok_or(End::Cut)?;
    match &rest[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] => return Err(End::Cut),
        _ => return Err(End::Wrong("a CR or LF of its own")),
    }
    // Bytes over 0x7f are allowed in values, and say nothing to us: each becomes a sign that no name has.
    let line = rest[..end].iter().map(|byte| char::from(*byte)).collect();
    *rest = &rest[end + 2..];
    Ok(line)
}

fn fields(rest: &mut &[u8]) -> Read<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(rest)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').ok_or(End::Wrong("a field without a colon"))?;
        if name.is_empty() || !name.bytes().all(token) {
            return Err(End::Wrong("a field's name that is no token"));
        }
        let printable = |sign: char| sign == '\t' || (sign >= ' ' && sign != '\u{7f}');
        if !value.chars().all(printable) {
            return Err(End::Wrong("a control character in a value"));
        }
        fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

/// The body, and the trailers behind it.
fn chunks(rest: &mut &[u8]) -> Read<(Vec<u8>, Fields)> {
    let mut body = Vec::new();
    loop {
        let line = line(rest)?;
        let size = line.split(';').next().unwrap();
        if size.is_empty() || size.len() > 15 || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(End::Wrong("a chunk's size that is none"));
        }
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return Ok((body, fields(rest)?));
        }
        body.extend_from_slice(take(rest, size)?);
        match rest {
            [b'\r', b'\n', ..] => *rest = &rest[2..],
            [] | [b'\r'] => return Err(End::Cut),
            _ => return Err(End::Wrong("a chunk that does not end where it should")),
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Read<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(count).ok_or(End::Cut)?;
    *rest = behind;
    Ok(taken)
}

fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[test]
fn what_can_be_read_in_two_ways_is_not_read() {
    let end = |bytes: &str| requests(bytes.as_bytes()).end;
    assert_eq!(end("GET / HTTP/1.1\r\na: b\r\n\r\n"), End::Open);
    assert_eq!(end("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{"), End::Cut);
    for wrong in [
        "GET / HTTP/1.1\na: b\r\n\r\n",
        "GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\na : b\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
        "GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert!(matches!(end(wrong), End::Wrong(_)), "{wrong}");
    }
    let two = requests(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nt: u\r\n\r\nGET /b HTTP/1.1\r\nconnection: x, close\r\n\r\nmore");
    let said: Vec<String> = two.messages.iter().map(ToString::to_string).collect();
    assert_eq!((said, two.end), (vec!["POST /a {}".to_owned(), "GET /b".to_owned()], End::Closed));
}
