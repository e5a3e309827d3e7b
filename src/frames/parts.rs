//! Parts of `multipart/form-data` (RFC 7578), read in one way only.
//!
//! The first part's delimiter is the body's first bytes, the last one's end its last (a CRLF may follow): no preamble, no epilogue. Lines of a
//! head end with CRLF and are not folded. What begins as a delimiter and goes on otherwise is a fault, and so are a second
//! `Content-Disposition`, a `filename*`, an encoding of the content. A head is held, content comes in pieces. Start at [`Parts::advance`].

use memchr::memmem;

use super::head::Head;
use super::{Fault, FaultKind};

/// Bytes of a part's head.
const HEAD_MAX: usize = 8 << 10;

/// What was found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A part begins: see [`Parts::head`].
    Head,
    /// More of its content: see [`Parts::content`].
    Content,
    /// The part ends.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first delimiter.
    Start,
    /// Behind a delimiter: CRLF or `--`.
    Behind,
    Head,
    Content,
    /// Behind the last part.
    Close,
}

/// Cuts a body into parts. Holds a head, or what may be the beginning of a delimiter.
#[derive(Debug)]
pub struct Parts {
    /// CRLF, two dashes, the boundary.
    finder: memmem::Finder<'static>,
    place: Place,
    buf: Vec<u8>,
    /// Where the walk goes on in `buf`, and how much behind it has been searched.
    pos: usize,
    searched: usize,
    content: std::ops::Range<usize>,
    head: Head,
    /// Bytes of the body before `buf`.
    gone: u64,
}

impl Parts {
    /// `boundary`: as the header has it.
    #[must_use]
    pub fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        Self {
            finder: memmem::Finder::new(delimiter.as_bytes()).into_owned(),
            place: Place::Start,
            buf: Vec::new(),
            pos: 0,
            searched: 0,
            content: 0..0,
            head: Head::default(),
            gone: 0,
        }
    }

    /// Bytes of the body before what is looked at next.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.gone + self.pos as u64
    }

    /// The head of the current part.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What was found of its content.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        self.buf.get(self.content.clone()).unwrap_or_default()
    }

    /// Gives it more bytes. What was told before is forgotten.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.buf.drain(..self.pos);
        self.gone += self.pos as u64;
        (self.pos, self.content) = (0, 0..0);
        self.buf.extend_from_slice(chunk);
    }

    /// The next piece; `None`: it wants more bytes.
    ///
    /// # Errors
    /// See [`FaultKind`].
    pub fn advance(&mut self) -> Result<Option<Step>, Fault> {
        loop {
            let rest = self.buf.get(self.pos..).unwrap_or_default();
            match self.place {
                Place::Start => {
                    let delimiter = self.finder.needle().get(2..).unwrap_or_default();
                    let length = rest.len().min(delimiter.len());
                    if rest.get(..length) != delimiter.get(..length) {
                        return Err(self.fault(FaultKind::PartsPreamble));
                    }
                    if length < delimiter.len() {
                        return Ok(None);
                    }
                    self.go(length, Place::Behind);
                }
                Place::Behind => match rest {
                    [b'\r', b'\n', ..] => self.go(2, Place::Head),
                    [b'-', b'-', ..] => self.go(2, Place::Close),
                    [] | [b'\r' | b'-'] => return Ok(None),
                    _ => return Err(self.fault(FaultKind::PartsDelimiter)),
                },
                Place::Head => {
                    // From a little before, for an end that was cut.
                    let from = self.searched.saturating_sub(3);
                    let end = memmem::find(rest.get(from..).unwrap_or_default(), b"\r\n\r\n").map(|at| from + at);
                    if end.unwrap_or(rest.len()) > HEAD_MAX {
                        return Err(self.fault(FaultKind::PartsHeadTooLong));
                    }
                    let Some(end) = end else {
                        self.searched = rest.len();
                        return Ok(None);
                    };
                    let head = Head::parse(rest.get(..end).unwrap_or_default());
                    self.head = head.map_err(|kind| self.fault(kind))?;
                    self.go(end + 4, Place::Content);
                    return Ok(Some(Step::Head));
                }
                Place::Content => return Ok(self.content_step()),
                Place::Close => {
                    let whole = matches!(rest, [] | [b'\r'] | [b'\r', b'\n']);
                    return if whole { Ok(None) } else { Err(self.fault(FaultKind::PartsEpilogue)) };
                }
            }
        }
    }

    /// The body ends here.
    ///
    /// # Errors
    /// [`FaultKind::PartsTruncated`], [`FaultKind::PartsEpilogue`].
    pub fn finish(&self) -> Result<(), Fault> {
        let rest = self.buf.get(self.pos..).unwrap_or_default();
        match (self.place, rest) {
            (Place::Close, [] | [b'\r', b'\n']) => Ok(()),
            (Place::Close, _) => Err(self.fault(FaultKind::PartsEpilogue)),
            _ => Err(self.fault(FaultKind::PartsTruncated)),
        }
    }

    fn content_step(&mut self) -> Option<Step> {
        let rest = self.buf.get(self.pos..).unwrap_or_default();
        let needle = self.finder.needle().len();
        let (length, found) = match self.finder.find(rest) {
            Some(at) => (at, true),
            // The end may be the beginning of a delimiter.
            None => (rest.len().saturating_sub(needle - 1), false),
        };
        if length > 0 {
            self.content = self.pos..self.pos + length;
            self.pos += length;
            return Some(Step::Content);
        }
        found.then(|| {
            self.go(needle, Place::Behind);
            Step::End
        })
    }

    fn go(&mut self, length: usize, place: Place) {
        self.pos += length;
        (self.place, self.searched) = (place, 0);
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault { kind, offset: self.offset() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name and content of each part.
    fn read(body: &[u8], step: usize) -> Result<Vec<(String, Vec<u8>)>, FaultKind> {
        let (mut parts, mut found) = (Parts::new("x1"), Vec::<(String, Vec<u8>)>::new());
        for chunk in body.chunks(step) {
            parts.feed(chunk);
            while let Some(step) = parts.advance().map_err(|fault| fault.kind)? {
                match step {
                    Step::Head => found.push((parts.head().name.clone(), Vec::new())),
                    Step::Content => found.last_mut().unwrap().1.extend_from_slice(parts.content()),
                    Step::End => {}
                }
            }
        }
        parts.finish().map_err(|fault| fault.kind)?;
        Ok(found)
    }

    fn part(name: &str, content: &str) -> String {
        format!("--x1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    }

    #[test]
    fn parts_are_read_with_everything_that_stands_in_them() {
        let contents = ["1", "", "\r\n", "--x1", "\r\n--x\r\n--", "\n--x1\n", "a\r\n\r\nb"];
        let body: String = contents.iter().map(|content| part("n", content)).collect();
        for end in ["--x1--", "--x1--\r\n"] {
            for step in [1, 2, 3, 7, 10_000] {
                let read = read(format!("{body}{end}").as_bytes(), step).unwrap();
                let read: Vec<_> = read.iter().map(|(_, content)| std::str::from_utf8(content).unwrap()).collect();
                assert_eq!(read, contents, "in pieces of {step}");
            }
        }
        assert_eq!(read(b"--x1--", 2), Ok(Vec::new()));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_a_fault() {
        use FaultKind as K;
        let one = part("a", "1");
        for (body, kind) in [
            (format!("\r\n{one}--x1--"), K::PartsPreamble),
            (format!("hello\r\n{one}--x1--"), K::PartsPreamble),
            ("--x2--".to_owned(), K::PartsPreamble),
            (format!("{one}--x1--\r\nmore"), K::PartsEpilogue),
            (format!("{one}--x1--\r"), K::PartsEpilogue),
            (format!("{one}--x1-- "), K::PartsEpilogue),
            (one.clone(), K::PartsTruncated),
            (String::new(), K::PartsTruncated),
            (format!("{one}--x1"), K::PartsTruncated),
            (part("a", "1\r\n--x12"), K::PartsDelimiter),
            (one.replace("--x1\r\n", "--x1 \r\n"), K::PartsDelimiter),
            (one.replace("--x1\r\n", "--x1\n"), K::PartsDelimiter),
            (format!("--x1\r\nX: {}\r\n\r\n", "a".repeat(9_000)), K::PartsHeadTooLong),
            ("--x1\r\n\r\n\r\n".to_owned(), K::PartsHead),
        ] {
            for step in [1, 3, 10_000] {
                assert_eq!(read(body.as_bytes(), step), Err(kind), "{body:?} in pieces of {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn parts_are_the_same_however_they_are_cut(
            contents in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["\r", "\n", "-", "--x1", "--x", "a", "\r\n"]), 0..8), 0..4),
            step in 1_usize..9,
        ) {
            let body: String = contents.iter().map(|content| part("n", &content.concat())).collect();
            let body = format!("{body}--x1--");
            let whole = read(body.as_bytes(), usize::MAX);
            prop_assert_eq!(read(body.as_bytes(), step), whole.clone());
            if !contents.iter().any(|content| format!("\r\n{}", content.concat()).contains("\r\n--x1")) {
                let wanted: Vec<_> = contents.iter().map(|c| ("n".to_owned(), c.concat().into_bytes())).collect();
                prop_assert_eq!(whole, Ok(wanted));
            }
        }
    }
}
