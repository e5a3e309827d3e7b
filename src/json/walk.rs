//! Walks a document along a program: grammar of containers, names, and where each value begins and ends.
//!
//! It says *where*; what becomes of a place is in `place`. It does not know windows: it is given the bytes that are there and goes
//! on where it stopped. No recursion: a frame for each open container. Start at [`Walker::run`].
//!
//! ```text
//! {"a": 1, "b": [2, 3]}
//!        ^^item^^ ^value
//!        sep: where the undecided part begins, here behind the 1
//! ```
//!
//! Separators (comma, white space around it) belong to the item behind them: an item that is removed takes its own along, and
//! an item before which nothing stayed loses its own. White space behind an opener and before a closer belongs to the
//! container. So of `[ 1, 2, 3 ]` without the 1 there stays `[ 2, 3 ]`, without the 2 `[ 1, 3 ]`, without all `[  ]`.

use super::automaton::Program;
use super::dfa::StateId;
use super::items::tents::Tent;
use super::marks::Marks;
use super::names::{OTHER, Symbol};
use super::pending::Pending;
use super::region::Region;
use super::scan::{self, Bad, Token};
use super::scout::Scout;
use super::skim::Skim;
use super::tally::Tally;
use super::trace::Trace;
use super::window::{Judge, Plan};
use super::{FaultKind, location, text};

/// What the grammar allows next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A value.
    Value,
    /// Behind `[`: a value or `]`.
    FirstValue,
    /// Behind `{`: a name or `}`.
    FirstName,
    /// Behind a comma in an object: a name.
    Name,
    /// Inside a name, up to here.
    InName,
    /// Behind a name: a colon.
    Colon,
    /// Inside a value that is not walked, or looked at ahead.
    Skim,
    /// Behind a value: a comma or the closer.
    After,
    /// Behind the document: white space.
    End,
}

/// What is done with a value while it is skimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its bytes stay.
    Keep,
    /// Its bytes are removed, with its name and separator.
    Drop,
    /// Its bytes are removed; something else is in their place already.
    Gone,
    /// It is held for the judge.
    Hold {
        /// The selection that asked.
        selection: u32,
    },
    /// It is held to be decided.
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Around the document's root.
    Root,
    Object,
    Array,
}

/// An open container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Has an item of it stayed?
    pub(super) kept: bool,
    pub(super) state: StateId,
    /// The current member's name.
    pub(super) symbol: Symbol,
    /// The current element.
    pub(super) index: u64,
    /// Elements, where the state asks for it: a number, or [`Frame::SCOUTED`]; else [`Frame::UNKNOWN`].
    pub(super) len: u64,
    /// Bytes that waited before it did.
    pub(super) mark: usize,
}

impl Frame {
    pub(super) const UNKNOWN: u64 = u64::MAX;
    /// The innermost scout knows.
    pub(super) const SCOUTED: u64 = u64::MAX - 1;

    pub(super) fn new(kind: Kind, state: StateId) -> Self {
        Self { kind, kept: false, state, symbol: OTHER, index: 0, len: Self::UNKNOWN, mark: 0 }
    }

    pub(super) fn elements(&self) -> Option<u64> {
        Some(self.len).filter(|len| *len < Self::SCOUTED)
    }
}

#[derive(Debug)]
pub(super) struct Walker {
    pub(super) stage: Stage,
    /// The containers around the current one, [`Kind::Root`] first.
    pub(super) stack: Vec<Frame>,
    /// The innermost open container.
    pub(super) top: Frame,
    /// Where the undecided part of the buffer begins.
    pub(super) sep: usize,
    /// Where the current item begins: its name, or the element.
    pub(super) item: usize,
    /// Where the current value begins.
    pub(super) value: usize,
    /// Does the current name hold an escape?
    escaped: bool,
    pub(super) skim: Skim,
    pub(super) mode: Mode,
    pub(super) pending: Pending,
    /// For the tightest loop alone; empty outside of it.
    pub(super) tents: Vec<Tent>,
    pub(super) region: Region,
    /// For the open arrays that are looked ahead in.
    pub(super) scouts: Vec<Scout>,
    pub(super) tally: Tally,
    pub(super) trace: Option<Trace>,
}

/// The document's bytes that are there.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) buf: &'a [u8],
    /// No more will come.
    pub(super) end: bool,
}

/// Where the walk goes on: the stage is set.
pub(super) enum Flow {
    /// At this byte.
    Go(usize),
    /// At this byte, with more bytes.
    Wait(usize),
}

impl Default for Walker {
    fn default() -> Self {
        Self {
            stage: Stage::Value,
            stack: Vec::new(),
            top: Frame::new(Kind::Root, 0),
            sep: 0,
            item: 0,
            value: 0,
            escaped: false,
            skim: Skim::new(),
            mode: Mode::Keep,
            pending: Pending::default(),
            tents: Vec::new(),
            region: Region::default(),
            scouts: Vec::new(),
            tally: Tally::default(),
            trace: None,
        }
    }
}

impl Walker {
    /// Begins with the first document of a program.
    pub(super) fn begin(&mut self, program: &Program, trace: Option<Trace>) {
        self.tally.begin(program);
        self.trace = trace;
    }

    /// Begins anew with another document. What was counted stays counted; what matched does not.
    pub(super) fn restart(&mut self, program: &Program) {
        self.clear();
        self.tally.restart(program);
    }

    /// Forgets the document.
    pub(super) fn clear(&mut self) {
        self.stage = Stage::Value;
        self.stack.clear();
        self.top = Frame::new(Kind::Root, 0);
        (self.sep, self.item, self.value) = (0, 0, 0);
        self.escaped = false;
        self.skim.restart();
        self.mode = Mode::Keep;
        self.pending.clear();
        self.tents.clear();
        self.region.clear();
        self.scouts.clear();
    }

    /// How much it has grown.
    pub(super) fn room(&self) -> usize {
        self.region.room().max(self.tally.room()).max(self.pending.room())
    }

    /// Goes on from `pos` as far as the bytes reach. Gives where it stopped; the window may end at `sep`.
    pub(super) fn run(
        &mut self,
        program: &Program,
        marks: &mut Marks,
        input: Input<'_>,
        mut pos: usize,
        plan: &mut Plan,
        judge: &mut dyn Judge,
    ) -> Result<usize, Bad> {
        let buf = input.buf;
        loop {
            match self.stage {
                Stage::FirstName => {
                    pos = self.behind_opener(program, buf, pos)?;
                    match buf.get(pos) {
                        Some(b'"') => {
                            self.first_item(pos);
                            match self.items(program, marks, buf, pos, true, plan, judge)? {
                                Some(at) => pos = at,
                                None => {
                                    self.begin_name(pos);
                                    pos += 1;
                                }
                            }
                        }
                        Some(b'}') => pos = self.close(pos, plan),
                        Some(_) => return scan::bad(FaultKind::Syntax, pos),
                        None => return Ok(pos),
                    }
                }
                Stage::FirstValue => {
                    pos = self.behind_opener(program, buf, pos)?;
                    match buf.get(pos) {
                        Some(b']') => pos = self.close(pos, plan),
                        Some(_) => {
                            self.first_item(pos);
                            match self.items(program, marks, buf, pos, true, plan, judge)? {
                                Some(at) => pos = at,
                                None => self.stage = Stage::Value,
                            }
                        }
                        None => return Ok(pos),
                    }
                }
                Stage::Name => {
                    pos = self.blank(program, buf, pos)?;
                    match buf.get(pos) {
                        Some(b'"') => {
                            self.begin_name(pos);
                            pos += 1;
                        }
                        Some(_) => return scan::bad(FaultKind::Syntax, pos),
                        None => return Ok(pos),
                    }
                }
                Stage::InName => {
                    // The bound is on what is held back, and found in the same place however the input was cut.
                    let room = self.held_max(program).saturating_sub(self.pending.bytes());
                    let bound = self.sep.saturating_add(room);
                    let within = buf.get(..bound).unwrap_or(buf);
                    match scan::string(within, pos, true, &mut self.escaped)? {
                        Token::Done(end) => {
                            self.end_name(program, buf.get(self.item..end).unwrap_or_default());
                            self.stage = Stage::Colon;
                            pos = end;
                        }
                        Token::More(_) if buf.len() >= bound => return scan::bad(FaultKind::NameTooLong, self.item),
                        Token::More(at) => return Ok(at),
                    }
                }
                Stage::Colon => {
                    pos = self.blank(program, buf, pos)?;
                    match buf.get(pos) {
                        Some(b':') => {
                            self.stage = Stage::Value;
                            pos += 1;
                        }
                        Some(_) => return scan::bad(FaultKind::Syntax, pos),
                        None => return Ok(pos),
                    }
                }
                Stage::Value => {
                    pos = self.blank(program, buf, pos)?;
                    match self.top.kind {
                        Kind::Object => {}
                        Kind::Array => self.item = pos,
                        Kind::Root => (self.item, self.sep) = (pos, pos),
                    }
                    if pos >= buf.len() {
                        return Ok(pos);
                    }
                    match self.value(program, marks, buf, pos, plan)? {
                        Flow::Go(at) => pos = at,
                        Flow::Wait(at) => return Ok(at),
                    }
                }
                Stage::Skim => match self.skim_on(program, marks, input, pos, plan, judge)? {
                    Flow::Go(at) => pos = at,
                    Flow::Wait(at) => return Ok(at),
                },
                Stage::After => {
                    pos = self.blank(program, buf, pos)?;
                    match (buf.get(pos), self.top.kind) {
                        (Some(b','), Kind::Object | Kind::Array) => {
                            match self.items(program, marks, buf, pos, false, plan, judge)? {
                                Some(at) => pos = at,
                                None if self.top.kind == Kind::Object => {
                                    self.stage = Stage::Name;
                                    pos += 1;
                                }
                                None => {
                                    self.top.index += 1;
                                    self.stage = Stage::Value;
                                    pos += 1;
                                }
                            }
                        }
                        (Some(b'}'), Kind::Object) | (Some(b']'), Kind::Array) => pos = self.close(pos, plan),
                        (Some(_), _) => return scan::bad(FaultKind::Syntax, pos),
                        (None, _) => return Ok(pos),
                    }
                }
                Stage::End => {
                    pos = scan::blank(buf, pos);
                    self.sep = pos;
                    match buf.get(pos) {
                        Some(_) => return scan::bad(FaultKind::Trailing, pos),
                        None => return Ok(pos),
                    }
                }
            }
        }
    }

    /// Skips white space that is held back, within the limit on what is.
    #[inline(always)]
    fn blank(&self, program: &Program, buf: &[u8], pos: usize) -> Result<usize, Bad> {
        let at = scan::blank(buf, pos);
        // Only where there was some: then the answer does not depend on how the input was cut.
        if at != pos
            && self.top.kind != Kind::Root
            && self.pending.bytes() + at.saturating_sub(self.sep) > self.held_max(program)
        {
            return scan::bad(FaultKind::NameTooLong, self.sep);
        }
        Ok(at)
    }

    /// Bytes that may be held back here.
    #[inline]
    fn held_max(&self, program: &Program) -> usize {
        match &self.trace {
            Some(trace) if trace.is_beyond() => usize::MAX,
            _ => program.limits.name_bytes,
        }
    }

    /// White space behind an opener: it is held back only while the opener waits.
    fn behind_opener(&mut self, program: &Program, buf: &[u8], pos: usize) -> Result<usize, Bad> {
        if self.pending.is_active() {
            return self.blank(program, buf, pos);
        }
        self.sep = scan::blank(buf, pos);
        Ok(self.sep)
    }

    /// The first item of a container begins at `pos`.
    fn first_item(&mut self, pos: usize) {
        if self.pending.is_active() {
            self.pending.add(self.sep..pos);
        }
        self.sep = pos;
    }

    fn begin_name(&mut self, pos: usize) {
        self.item = pos;
        self.escaped = false;
        self.stage = Stage::InName;
    }

    /// `raw` is the name with its quotes.
    #[inline]
    fn end_name(&mut self, program: &Program, raw: &[u8]) {
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        let machine = &program.machine;
        let lengths = match machine.state(self.top.state) {
            Some(state) => state.lengths,
            None => u64::MAX,
        };
        self.top.symbol = OTHER;
        if lengths != 0 {
            let fits = |name: &[u8]| lengths >> name.len().min(63) & 1 == 1;
            if !self.escaped {
                if fits(inner) {
                    self.top.symbol = machine.names.find(inner);
                }
            } else {
                let name = text::unescape(raw);
                if fits(name.as_bytes()) {
                    self.top.symbol = machine.names.find(name.as_bytes());
                }
            }
        }
        if let Some(trace) = &mut self.trace {
            trace.name(self.stack.len(), &text::unescape(raw));
        }
    }

    /// Opens a container. `pos` is its opener.
    pub(super) fn push(&mut self, program: &Program, pos: usize, frame: Frame) -> Result<usize, Bad> {
        if self.stack.len() >= program.limits.depth {
            return scan::bad(FaultKind::Depth, pos);
        }
        self.stack.push(self.top);
        self.stage = if frame.kind == Kind::Object { Stage::FirstName } else { Stage::FirstValue };
        self.top = frame;
        self.sep = pos + 1;
        Ok(pos + 1)
    }

    /// Closes the innermost container. `pos` is its closer.
    pub(super) fn close(&mut self, pos: usize, plan: &mut Plan) -> usize {
        let end = pos + 1;
        let level = self.stack.len();
        let waits = self.pending.is_active();
        if let Some(trace) = &mut self.trace {
            if self.stage != Stage::After {
                trace.empty(&self.stack, waits);
            }
            trace.close(level);
        }
        self.drop_loose();
        if waits {
            self.pending.close(level, self.top.mark, end, plan);
        }
        if let Some(around) = self.stack.pop() {
            self.top = around;
        }
        self.sep = end;
        self.end_value(end, waits, plan);
        end
    }

    /// The value ended; `removed` if nothing of it stayed.
    #[inline]
    pub(super) fn end_value(&mut self, end: usize, removed: bool, plan: &mut Plan) {
        self.stage = Stage::After;
        if self.top.kind == Kind::Root {
            if removed {
                plan.put(end, b"null");
            }
            self.stage = Stage::End;
        }
    }

    /// Where a fault is: the current place, and `[*]` for each level of what is skimmed below it.
    pub(super) fn location(&self, program: &Program) -> String {
        let mut out = String::from("$");
        let piece = |out: &mut String, frame: &Frame| match frame.kind {
            Kind::Root => {}
            Kind::Object => match program.machine.names.mention(frame.symbol) {
                Some(mention) => location::push_name(out, &mention.text),
                None => out.push_str("[*]"),
            },
            Kind::Array => location::push_index(out, frame.index),
        };
        for frame in &self.stack {
            piece(&mut out, frame);
        }
        match self.stage {
            // Between items the place is the container itself.
            Stage::FirstName | Stage::FirstValue | Stage::Name | Stage::After | Stage::End => {}
            Stage::InName => out.push_str("[*]"),
            Stage::Value | Stage::Colon => piece(&mut out, &self.top),
            Stage::Skim => {
                piece(&mut out, &self.top);
                out.extend(std::iter::repeat_n("[*]", self.skim.depth()));
            }
        }
        out
    }

    /// The buffer's first `gone` bytes are gone.
    pub(super) fn shift(&mut self, gone: usize) {
        for place in [&mut self.sep, &mut self.item, &mut self.value] {
            *place = place.saturating_sub(gone);
        }
        self.pending.shift(gone);
        self.scouts.iter_mut().for_each(|scout| scout.shift(gone));
    }
}
