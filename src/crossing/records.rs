//! A body of lines (`ndjson`): each record is a document of its own, by the leg's rules.
//!
//! A record leaves when all of it has passed; one over the unit's size (the leg's `atomic`) streams in windows, as a body does. Line
//! ends and lines of blanks stay as they are. A record whose root is dropped leaves `null`, so that lines keep their numbers. Start at
//! [`Records::feed`].

use crate::frames::lines::{Lines, Piece};
use crate::verdict::Refusal;

use super::document::Document;
use super::{Bench, Out, malformed};

/// See the module.
pub(super) struct Records {
    lines: Lines,
    document: Document,
    unit_bytes: u64,
    /// Is there a record in this line?
    open: bool,
    /// Where the current line begins in the body, and where its record does.
    line_start: u64,
    record_start: u64,
    /// From 1.
    number: u64,
}

impl Records {
    pub(super) fn new(document: Document, unit_bytes: u64) -> Self {
        Self { lines: Lines::default(), document, unit_bytes, open: false, line_start: 0, record_start: 0, number: 1 }
    }

    pub(super) fn document(&self) -> &Document {
        &self.document
    }

    pub(super) fn feed(&mut self, chunk: &[u8], bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        let mut input = chunk;
        loop {
            let start = self.lines.offset();
            let piece = self.lines.next(&mut input).map_err(|fault| malformed(bench.leg.side, fault, self.number))?;
            match piece {
                None => return Ok(()),
                Some(Piece::Blank(bytes)) => out.sink.extend_from_slice(bytes),
                Some(Piece::Record(bytes)) => {
                    if !self.open {
                        self.document.restart();
                        bench.hand.restart();
                        (self.open, self.record_start) = (true, start);
                    }
                    let fed = self.document.feed(bytes, bench, &mut out.sink);
                    fed.map_err(|refusal| self.located(refusal))?;
                }
                Some(Piece::End(end)) => {
                    self.end(bench, out)?;
                    out.sink.extend_from_slice(end.bytes());
                    out.release();
                    self.line_start = self.lines.offset();
                    self.number += 1;
                    continue;
                }
            }
            if self.lines.offset() - self.line_start > self.unit_bytes {
                // Held, it would be a body that is too large to be atomic; with a rule that must match, or say whose it is, it may not stream.
                if bench.leg.is_whole() {
                    return Err(Refusal::BodyTooLarge { leg: bench.leg.side });
                }
                out.release();
            }
        }
    }

    pub(super) fn finish(&mut self, bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        self.lines.finish().map_err(|fault| malformed(bench.leg.side, fault, self.number))?;
        self.end(bench, out)?;
        out.release();
        Ok(())
    }

    /// The record of this line ends, if there is one.
    fn end(&mut self, bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        if !self.open {
            return Ok(());
        }
        self.open = false;
        let finished = self.document.finish(bench, &mut out.sink);
        finished.map_err(|refusal| self.located(refusal))?;
        bench.must_match(Some(&self.document))
    }

    /// With the line's number, and the place counted from the body's first byte.
    fn located(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::BodyMalformed { leg, fault, location, offset } => {
                let location = format!("line {}: {location}", self.number);
                Refusal::BodyMalformed { leg, fault, location, offset: offset + self.record_start }
            }
            other => other,
        }
    }
}
