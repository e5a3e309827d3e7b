//! An event stream (`sse`): the data of each event is a document of its own, by the leg's rules.
//!
//! A block of lines leaves as soon as it is whole. What of it leaves:
//!
//! - `data`: the lines of one event are joined by LF and are one document. Where no rule changed it the lines are as they were; else each
//!   line of what is left gets the first line's spelling.
//! - `event`: only names that the policy lists (`events`); an event of another name goes whole, for rules are written for a kind.
//! - `id`, comments: by a rule. Without one an id goes, and a comment leaves its colon, so that a heartbeat stays one.
//! - `retry`: where it is a number of milliseconds of at most a day. Other fields mean nothing to a receiver, and go.
//!
//! Start at [`Events::feed`].

use crate::frames;
use crate::frames::events::{Field, Line, Step};
use crate::json::automaton::Otherwise;
use crate::verdict::Refusal;

use super::beside::Pick;
use super::document::Document;
use super::later::{Dress, Sink};
use super::place::{At, Crossed};
use super::{Bench, Out, malformed};

/// The longest pause before a new attempt that is passed on, in milliseconds.
const RETRY_MAX: u32 = 86_400_000;

/// See the module.
pub(super) struct Events {
    frames: frames::events::Events,
    document: Document,
    /// The data of the current event, and what the rules made of it.
    data: Vec<u8>,
    made: Sink,
    /// Something of the last block left.
    left: bool,
}

/// What becomes of an event's data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    /// Its lines stay as they are.
    Same,
    /// [`Events::made`] takes their place.
    New,
}

impl Events {
    pub(super) fn new(document: Document, bytes_max: u64) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let frames = frames::events::Events::new(bytes_max);
        Self { frames, document, data: Vec::new(), made: Sink::default(), left: false }
    }

    pub(super) fn document(&self) -> &Document {
        &self.document
    }

    pub(super) fn feed(&mut self, chunk: &[u8], bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        let mut input = chunk;
        loop {
            let step = self.frames.next(&mut input);
            match step.map_err(|fault| malformed(bench.leg.side, fault, self.frames.number()))? {
                None => return Ok(()),
                Some(Step::LineFeed) if self.left => out.sink.push(b'\n'),
                Some(Step::LineFeed) => {}
                Some(Step::Block) => {
                    let start = out.sink.len();
                    self.block(bench, &mut out.sink)?;
                    self.left = out.sink.len() > start;
                }
            }
            out.release();
        }
    }

    /// A block that is whole.
    fn block(&mut self, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        bench.hand.restart();
        let is_event = self.frames.lines().any(|line| !matches!(line.field, Field::Comment | Field::Blank));
        if is_event && !self.is_listed(bench)? {
            return Ok(());
        }
        let data = self.data(bench)?;
        let (mut told, mut empty) = (false, true);
        for line in self.frames.lines() {
            let start = out.len();
            match (line.field, data) {
                (Field::Blank, _) if is_event && empty => {}
                (Field::Event | Field::Blank, _) | (Field::Data, Data::Same) => put(&line, line.value, &mut out.bytes),
                (Field::Data, Data::New) => {
                    if !std::mem::replace(&mut told, true) {
                        put_data(&line, &mut self.made, out);
                    }
                }
                (Field::Retry, _) => {
                    let digits = (1..=8).contains(&line.value.len()) && line.value.bytes().all(|b| b.is_ascii_digit());
                    if digits && line.value.parse::<u32>().is_ok_and(|millis| millis <= RETRY_MAX) {
                        put(&line, line.value, &mut out.bytes);
                    }
                }
                (Field::Id | Field::Comment, _) => self.text(&line, bench, out)?,
                (Field::Other, _) => {}
            }
            empty = empty && out.len() == start;
        }
        // Ids and comments belong to whom the data belongs to.
        bench.hand.document_ended(bench.leg)
    }

    /// Whether the event's name is one that passes. Of several the last one counts.
    fn is_listed(&self, bench: &Bench<'_>) -> Result<bool, Refusal> {
        let leg = &bench.leg.compiled.leg;
        let named = self.frames.lines().filter(|line| line.field == Field::Event).last();
        let name = named.map_or("message", |line| if line.value.is_empty() { "message" } else { line.value });
        // Every name that stands there would leave.
        let mut names = self.frames.lines().filter(|line| line.field == Field::Event && line.value != name);
        let listed = match &leg.events {
            Some(listed) => listed.iter().any(|known| known == name) && names.all(|line| line.value.is_empty()),
            None => leg.default == Otherwise::Keep || (name == "message" && names.all(|line| line.value.is_empty())),
        };
        if !listed && leg.default == Otherwise::Refuse {
            return Err(self.unlisted(bench));
        }
        Ok(listed)
    }

    /// Runs the event's data through the rules.
    fn data(&mut self, bench: &mut Bench<'_>) -> Result<Data, Refusal> {
        self.data.clear();
        self.made = Sink::default();
        for (index, line) in self.frames.lines().filter(|line| line.field == Field::Data).enumerate() {
            if index > 0 {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(line.value.as_bytes());
        }
        let blank = self.data.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
        let literal = |literal: &String| literal.as_bytes() == self.data;
        if blank || bench.leg.compiled.leg.literals.iter().any(literal) {
            return Ok(Data::Same);
        }
        self.document.restart();
        self.document.share(bench.hand);
        let fed = self.document.feed(&self.data, bench, &mut self.made);
        let done = fed.and_then(|()| self.document.finish(bench, &mut self.made));
        done.map_err(|refusal| self.located(refusal))?;
        self.document.spend(bench.hand);
        bench.must_match(Some(&self.document))?;
        Ok(if self.made.gaps.is_empty() && self.made.bytes == self.data { Data::Same } else { Data::New })
    }

    fn located(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::BodyMalformed { leg, fault, location, .. } => {
                let location = format!("event {}: {location}", self.frames.number());
                Refusal::BodyMalformed { leg, fault, location, offset: self.frames.start() }
            }
            other => other,
        }
    }

    fn unlisted(&self, bench: &Bench<'_>) -> Refusal {
        let kind = frames::FaultKind::EventUnlisted;
        let fault = frames::Fault { kind, offset: self.frames.start() };
        malformed(bench.leg.side, fault, self.frames.number())
    }

    /// An id or a comment, by its rule.
    fn text(&self, line: &Line<'_>, bench: &mut Bench<'_>, sink: &mut Sink) -> Result<(), Refusal> {
        let comment = line.field == Field::Comment;
        let pick = bench.leg.beside.event(if comment { "comment" } else { "id" });
        // A receiver ignores an id with a NUL in it.
        if !comment && line.value.contains('\0') {
            return Ok(());
        }
        let default = bench.leg.compiled.leg.default;
        let out = &mut sink.bytes;
        let Some(pick) = pick else {
            match default {
                Otherwise::Keep => put(line, line.value, out),
                _ if comment => put(&Line { head: ":", ..*line }, "", out),
                Otherwise::Drop => {}
                Otherwise::Refuse => return Err(self.unlisted(bench)),
            }
            return Ok(());
        };
        let mut made = Vec::new();
        let at = At { word: "event", unit: self.frames.number(), offset: self.frames.start() };
        match bench.cross(pick, line.value, at, &mut made)? {
            Crossed::Same => put(line, line.value, out),
            Crossed::New => {
                let made = std::str::from_utf8(&made).ok().filter(|text| !text.contains(['\0', '\r', '\n']));
                let Some(made) = made else {
                    let Pick::One(asker) = pick else { return Ok(()) };
                    return Err(bench.failed(Some(asker)));
                };
                let from = if bench.is_blind(pick) { 0 } else { line.value.len() };
                bench.grow(made.len(), from, at)?;
                put(line, made, out);
            }
            Crossed::Later => {
                begin(line, false, out);
                bench.leave_gap(line.value.as_bytes(), Dress::Line, sink)?;
                sink.extend_from_slice(line.end.as_bytes());
            }
            Crossed::Gone if comment => put(&Line { head: ":", ..*line }, "", out),
            Crossed::Gone => {}
        }
        Ok(())
    }
}

/// A line with another value.
fn put(line: &Line<'_>, value: &str, out: &mut Vec<u8>) {
    begin(line, value.is_empty(), out);
    for text in [value, line.end] {
        out.extend_from_slice(text.as_bytes());
    }
}

/// A line up to its value.
fn begin(line: &Line<'_>, empty: bool, out: &mut Vec<u8>) {
    // `id` alone has an empty value; with another one it needs the colon.
    let colon = if line.head.ends_with([':', ' ']) || empty { "" } else { ": " };
    for text in [line.head, colon] {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Data, in as many lines as it has, each spelt as the first one.
fn put_data(line: &Line<'_>, data: &mut Sink, out: &mut Sink) {
    let mut gaps = data.gaps.drain(..).peekable();
    let mut copied = 0;
    for value in data.bytes.split(|byte| *byte == b'\n') {
        let end = copied + value.len();
        let has_gap = gaps.peek().is_some_and(|gap| gap.at <= end);
        begin(line, value.is_empty() && !has_gap, &mut out.bytes);
        while let Some(gap) = gaps.next_if(|gap| gap.at <= end) {
            out.extend_from_slice(data.bytes.get(copied..gap.at).unwrap_or_default());
            copied = gap.at;
            out.adopt(gap);
        }
        out.extend_from_slice(data.bytes.get(copied..end).unwrap_or_default());
        out.extend_from_slice(line.end.as_bytes());
        copied = end + 1;
    }
}
