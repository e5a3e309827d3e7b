//! Openers that wait: containers that appear only once something in them stays.
//!
//! It remembers the text from the first waiting container on: separator, name, opener, white space, for each level. What is
//! removed in between is a gap. Nothing of a plan is written before it is known whether the openers stay, so that where
//! all of it stays there is no edit at all. Start at [`Pending::open`].
//!
//! The containers that wait are always the innermost ones: in a container that waits nothing has stayed yet.

use std::ops::Range;

use super::window::Plan;

#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The level of the outermost container that waits; `None` where none does.
    from: Option<usize>,
    /// Text whose place has left the window.
    text: Vec<u8>,
    /// Text that is still in the window, behind `text`.
    pieces: Vec<Range<usize>>,
    /// Where the plan ends: from here on only pieces and gaps.
    planned: usize,
    /// Of `text` and `pieces` together.
    bytes: usize,
}

impl Pending {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.pieces.clear();
        (self.from, self.planned, self.bytes) = (None, 0, 0);
    }

    /// How much it has grown.
    pub(super) fn room(&self) -> usize {
        self.text.capacity().max(self.pieces.capacity())
    }

    /// Does a container wait?
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.from.is_some()
    }

    /// The level of the outermost container that waits.
    pub(super) fn from(&self) -> Option<usize> {
        self.from
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A container begins to wait. `from` is where what hangs on it begins, its separator included. Gives the mark to close
    /// it with.
    pub(super) fn open(&mut self, level: usize, from: usize) -> usize {
        if self.from.is_none() {
            self.from = Some(level);
            self.planned = from;
        }
        self.bytes
    }

    /// More text that waits.
    pub(super) fn add(&mut self, range: Range<usize>) {
        self.bytes += range.len();
        match self.pieces.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if range.is_empty() => {}
            _ => self.pieces.push(range),
        }
    }

    /// The innermost container that waits ends at `end`, and nothing in it stayed.
    pub(super) fn close(&mut self, level: usize, mark: usize, end: usize, plan: &mut Plan) {
        while self.bytes > mark {
            let over = self.bytes - mark;
            match self.pieces.last_mut() {
                Some(last) if last.len() > over => {
                    last.end -= over;
                    self.bytes = mark;
                }
                Some(last) => {
                    self.bytes -= last.len();
                    self.pieces.pop();
                }
                None => {
                    self.text.truncate(mark);
                    self.bytes = mark;
                }
            }
        }
        if self.from == Some(level) {
            plan.remove(self.planned..end);
            self.from = None;
        }
    }

    /// Something stays at `at`: all that waits appears, and the rest up to there is removed.
    pub(super) fn flush(&mut self, at: usize, plan: &mut Plan) {
        if !self.text.is_empty() {
            plan.put(self.planned, &self.text);
            self.text.clear();
        }
        let mut planned = self.planned;
        for piece in self.pieces.drain(..) {
            plan.remove(planned..piece.start);
            planned = piece.end;
        }
        plan.remove(planned..at);
        self.bytes = 0;
        self.from = None;
    }

    /// The window ends at `end`: the text is taken out of it and kept.
    pub(super) fn settle(&mut self, buf: &[u8], end: usize, plan: &mut Plan) {
        if self.from.is_none() {
            return;
        }
        for piece in self.pieces.drain(..) {
            self.text.extend_from_slice(buf.get(piece).unwrap_or_default());
        }
        plan.remove(self.planned..end);
        self.planned = end;
    }

    /// The window's first `gone` bytes are gone.
    pub(super) fn shift(&mut self, gone: usize) {
        self.planned = self.planned.saturating_sub(gone);
    }
}
