//! Event streams: `text/event-stream`, as WHATWG HTML (section 9.2) has them.
//!
//! Lines end with CR, LF or CRLF. A block of lines ends with an empty one; a comment that stands before any field is a block of its own,
//! because a heartbeat must not wait. A block is held until its end and has a greatest size. A byte order mark before the first line is left
//! out. What stands behind the last empty line is no event: receivers forget it, and so it is not given out. Start at [`Events::next`].

use memchr::memchr2;

use super::{Fault, FaultKind};

/// What was found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A block is whole: see [`Events::lines`].
    Block,
    /// The LF of a CRLF whose CR ended the last block: the block did not wait for it.
    LineFeed,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `: …`
    Comment,
    /// `event: …`
    Event,
    /// `data: …`
    Data,
    /// `id: …`
    Id,
    /// `retry: …`
    Retry,
    /// Any other: it means nothing to a receiver.
    Other,
    /// The end of the block.
    Blank,
}

/// One line of a block.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// What it is.
    pub field: Field,
    /// What stands before the value: name, colon, the one space.
    pub head: &'a str,
    /// The value.
    pub value: &'a str,
    /// How it ends.
    pub end: &'a str,
}

/// Cuts a stream into blocks. Holds one block.
#[derive(Debug)]
pub struct Events {
    /// The block so far.
    raw: Vec<u8>,
    /// Where its current line begins.
    line: usize,
    /// There is a line in it that is no comment.
    fields: bool,
    /// The last byte was a CR.
    returned: bool,
    /// The first line of the stream is through.
    begun: bool,
    /// `raw` is whole, and has been told of.
    whole: bool,
    bytes_max: usize,
    offset: u64,
    number: u64,
}

impl Events {
    /// `bytes_max`: of one block.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            raw: Vec::new(),
            line: 0,
            fields: false,
            returned: false,
            begun: false,
            whole: false,
            bytes_max,
            offset: 0,
            number: 1,
        }
    }

    /// The number of the current block, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of the body before the current block.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.offset.saturating_sub(self.raw.len() as u64)
    }

    /// Takes from the front of `input` up to the end of a block; `None` when there is no more of it.
    ///
    /// # Errors
    /// [`FaultKind::EventTooLong`], [`FaultKind::EventUtf8`].
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Step>, Fault> {
        if std::mem::take(&mut self.whole) {
            self.raw.clear();
            (self.line, self.fields) = (0, false);
            self.number += 1;
        }
        loop {
            let Some(first) = input.first() else { return Ok(None) };
            if std::mem::take(&mut self.returned) && *first == b'\n' {
                if self.raw.is_empty() {
                    (self.offset, *input) = (self.offset + 1, input.get(1..).unwrap_or_default());
                    return Ok(Some(Step::LineFeed));
                }
                self.take(input, 1)?;
                self.line = self.raw.len();
                continue;
            }
            let Some(at) = memchr2(b'\n', b'\r', input) else {
                self.take(input, input.len())?;
                return Ok(None);
            };
            self.take(input, at + 1)?;
            self.returned = self.raw.last() == Some(&b'\r');
            if self.end_line()? {
                return Ok(Some(Step::Block));
            }
        }
    }

    /// The lines of a block that is whole.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest = std::str::from_utf8(&self.raw).unwrap_or_default();
        std::iter::from_fn(move || {
            let at = memchr2(b'\n', b'\r', rest.as_bytes())?;
            let (line, behind) = rest.split_at_checked(at)?;
            let length = if behind.starts_with("\r\n") { 2 } else { 1 };
            let (end, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some(Line::new(line, end))
        })
    }

    fn take(&mut self, input: &mut &[u8], length: usize) -> Result<(), Fault> {
        let (taken, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
        *input = rest;
        // Before it is copied: a chunk may be larger than what is held.
        if self.raw.len() + taken.len() > self.bytes_max {
            return Err(self.fault(FaultKind::EventTooLong));
        }
        self.raw.extend_from_slice(taken);
        self.offset += taken.len() as u64;
        Ok(())
    }

    /// A line has ended; true if the block has.
    fn end_line(&mut self) -> Result<bool, Fault> {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        if !std::mem::replace(&mut self.begun, true) && self.raw.starts_with(MARK) {
            self.raw.drain(..MARK.len());
        }
        let end = self.raw.len().saturating_sub(1);
        let whole = match self.raw.get(self.line..end).unwrap_or_default() {
            [] => true,
            [b':', ..] => !self.fields,
            _ => {
                self.fields = true;
                false
            }
        };
        self.line = self.raw.len();
        if whole && simdutf8::basic::from_utf8(&self.raw).is_err() {
            return Err(self.fault(FaultKind::EventUtf8));
        }
        self.whole = whole;
        Ok(whole)
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault { kind, offset: self.start() }
    }
}

impl<'a> Line<'a> {
    fn new(line: &'a str, end: &'a str) -> Self {
        let name = line.find(':').unwrap_or(line.len());
        let behind = line.get(name..).unwrap_or_default();
        let mark = if behind.starts_with(": ") { 2 } else { behind.len().min(1) };
        let (head, value) = line.split_at_checked(name + mark).unwrap_or((line, ""));
        let field = match line.get(..name).unwrap_or_default() {
            "" if line.is_empty() => Field::Blank,
            "" => Field::Comment,
            "event" => Field::Event,
            "data" => Field::Data,
            "id" => Field::Id,
            "retry" => Field::Retry,
            _ => Field::Other,
        };
        Self { field, head, value, end }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The blocks as a text: `field=value` with a bar behind each, a line for each block.
    fn read(body: &[u8], step: usize, most: usize) -> Result<Vec<String>, Fault> {
        let (mut events, mut blocks) = (Events::new(most), Vec::new());
        for chunk in body.chunks(step) {
            let mut input = chunk;
            while let Some(found) = events.next(&mut input)? {
                blocks.push(match found {
                    Step::LineFeed => "+".to_owned(),
                    Step::Block => events.lines().map(|l| format!("{:?}={}|", l.field, l.value)).collect(),
                });
            }
        }
        Ok(blocks)
    }

    #[track_caller]
    fn check(body: &str, blocks: &[&str]) {
        for step in [1, 2, 3, usize::MAX] {
            let read = read(body.as_bytes(), step, 1000).unwrap();
            assert_eq!(read, blocks, "{body:?} in pieces of {step}");
        }
    }

    #[test]
    fn the_examples_of_the_standard_are_read_as_it_says() {
        check("data: YHOO\ndata: +2\ndata: 10\n\n", &["Data=YHOO|Data=+2|Data=10|Blank=|"]);
        check(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[
                "Comment=test stream|",
                "Blank=|",
                "Data=first event|Id=1|Blank=|",
                "Data=second event|Id=|Blank=|",
                "Data= third event|Blank=|",
            ],
        );
        check("data\n\ndata\ndata\n\ndata:", &["Data=|Blank=|", "Data=|Data=|Blank=|"]);
        check("data:test\n\ndata: test\n\n", &["Data=test|Blank=|", "Data=test|Blank=|"]);
    }

    #[test]
    fn every_line_end_is_one_and_no_event_waits_for_the_byte_behind_it() {
        check("data:1\r\rdata:2\r\n\r\ndata:3\n\n", &["Data=1|Blank=|", "Data=2|Blank=|", "+", "Data=3|Blank=|"]);
        check("\u{feff}data:1\r\r: \u{feff}\r", &["Data=1|Blank=|", "Comment=\u{feff}|"]);
        check("event:a\n:c\nx:y\nretry: 5\n\n", &["Event=a|Comment=c|Other=y|Retry=5|Blank=|"]);
        check("data: 1\n", &[]);
    }

    #[test]
    fn what_is_too_long_or_not_utf_8_is_no_event() {
        for (body, kind, offset) in [
            (&b":\ndata:12345678\n\n"[..], FaultKind::EventTooLong, 2),
            (b"data:1\n\ndata:\xff\n\n", FaultKind::EventUtf8, 8),
            (b":\xc3\n", FaultKind::EventUtf8, 0),
        ] {
            assert_eq!(read(body, usize::MAX, 12).map_err(|fault| fault.kind), Err(kind), "{body:?}");
            assert_eq!(read(body, usize::MAX, 12).unwrap_err().offset, offset, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn blocks_are_the_same_however_they_are_cut_and_hold_every_byte(
            pieces in prop::collection::vec(prop::sample::select(vec!["data", ":", " ", "id", "event", "\r", "\n", "\r\n", "x", "é"]), 0..30),
            step in 1_usize..6,
        ) {
            let body = pieces.concat();
            let whole = read(body.as_bytes(), usize::MAX, 1000);
            prop_assert_eq!(read(body.as_bytes(), step, 1000), whole);
            let (mut events, mut input, mut back) = (Events::new(1000), body.as_bytes(), String::new());
            while let Some(found) = events.next(&mut input).unwrap() {
                match found {
                    Step::LineFeed => back.push('\n'),
                    Step::Block => events.lines().for_each(|l| back.push_str(&[l.head, l.value, l.end].concat())),
                }
            }
            prop_assert!(body.starts_with(&back), "{:?} {:?}", body, back);
        }
    }
}
