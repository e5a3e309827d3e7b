//! Lines of JSON: `application/x-ndjson`, `application/jsonl`.
//!
//! A line ends with LF or CRLF; the last one may do without. A carriage return stands nowhere else: some readers would end a line
//! there, and see two records where others see one. A line of spaces and tabs alone is no record. Start at [`Lines::next`].
//!
//! ```text
//! {"a":1}␊   ␊{"a":2}␍␊     Record, End, Blank, End, Record, End
//! ```

use memchr::memchr2;

use super::{Fault, FaultKind};

/// What was found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Spaces and tabs before any other byte of a line.
    Blank(&'a [u8]),
    /// More bytes of the line's record.
    Record(&'a [u8]),
    /// The line ends.
    End(LineEnd),
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// `\n`
    Lf,
    /// `\r\n`
    CrLf,
}

impl LineEnd {
    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

/// Cuts a body into lines. Holds a byte at most.
#[derive(Debug, Default)]
pub struct Lines {
    /// Something other than a blank was seen in this line.
    record: bool,
    /// A carriage return waits for its line feed.
    returned: bool,
    offset: u64,
}

impl Lines {
    /// Bytes taken so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next piece from the front of `input`; `None` when there is no more of it.
    ///
    /// # Errors
    /// [`FaultKind::LineReturn`].
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Fault> {
        let Some(first) = input.first() else { return Ok(None) };
        if self.returned {
            if *first != b'\n' {
                return Err(self.lone_return());
            }
            self.take(input, 1);
            return Ok(Some(self.end(LineEnd::CrLf)));
        }
        match first {
            b'\n' => {
                self.take(input, 1);
                Ok(Some(self.end(LineEnd::Lf)))
            }
            b'\r' => {
                self.returned = true;
                self.take(input, 1);
                self.next(input)
            }
            b' ' | b'\t' if !self.record => {
                let length = input.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(input.len());
                Ok(Some(Piece::Blank(self.take(input, length))))
            }
            _ => {
                self.record = true;
                let length = memchr2(b'\n', b'\r', input).unwrap_or(input.len());
                Ok(Some(Piece::Record(self.take(input, length))))
            }
        }
    }

    /// The body ends here.
    ///
    /// # Errors
    /// [`FaultKind::LineReturn`].
    pub fn finish(&self) -> Result<(), Fault> {
        if self.returned { Err(self.lone_return()) } else { Ok(()) }
    }

    fn lone_return(&self) -> Fault {
        Fault { kind: FaultKind::LineReturn, offset: self.offset.saturating_sub(1) }
    }

    fn end<'a>(&mut self, end: LineEnd) -> Piece<'a> {
        (self.record, self.returned) = (false, false);
        Piece::End(end)
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], length: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
        *input = rest;
        self.offset += taken.len() as u64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pieces as a text: records in brackets, blanks in parentheses, `;` for LF and `:` for CRLF.
    fn read(chunks: &[&[u8]]) -> Result<String, Fault> {
        let (mut lines, mut out) = (Lines::default(), String::new());
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(piece) = lines.next(&mut input)? {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                out.push_str(&match piece {
                    Piece::Blank(bytes) => format!("({})", text(bytes)),
                    Piece::Record(bytes) => format!("[{}]", text(bytes)),
                    Piece::End(LineEnd::Lf) => ";".to_owned(),
                    Piece::End(LineEnd::CrLf) => ":".to_owned(),
                });
            }
            assert!(input.is_empty());
        }
        lines.finish()?;
        // Two pieces of one kind in a row are one piece that was cut.
        Ok(out.replace("][", "").replace(")(", ""))
    }

    #[test]
    fn a_line_ends_with_a_line_feed_or_both_and_the_last_one_may_do_without() {
        for (body, pieces) in [
            ("", ""),
            ("1", "[1]"),
            ("1\n", "[1];"),
            ("1\r\n2\n", "[1]:[2];"),
            ("\n\r\n \t\n 1 \n", ";:( \t);( )[1 ];"),
        ] {
            assert_eq!(read(&[body.as_bytes()]).as_deref(), Ok(pieces), "{body:?}");
        }
    }

    #[test]
    fn a_carriage_return_stands_before_a_line_feed_only() {
        for (body, offset) in [("1\r", 1), ("1\r2\n", 1), ("\r\r\n", 0), ("1\n {\r}", 4)] {
            let fault = Fault { kind: FaultKind::LineReturn, offset };
            assert_eq!(read(&[body.as_bytes()]), Err(fault), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            body in prop::collection::vec(prop::sample::select(b"1{\r\n\t ".to_vec()), 0..24),
            cut in 1_usize..5,
        ) {
            let whole = read(&[&body]);
            let chunks: Vec<&[u8]> = body.chunks(cut).collect();
            prop_assert_eq!(read(&chunks), whole.clone());
            if let Ok(pieces) = whole {
                let bytes: String = pieces.chars().filter(|c| !"[]()".contains(*c)).collect();
                prop_assert_eq!(bytes.replace(';', "\n").replace(':', "\r\n").into_bytes(), body);
            }
        }
    }
}
