//! How a plan is written: removals and replacements in document order, joined where they touch.
//!
//! It decides nothing; it only keeps the list short and in order. Start at [`Plan::remove`].

use std::ops::Range;

use super::window::{Edit, Plan, Put};

impl Plan {
    /// Takes the stretch away.
    #[inline]
    pub(super) fn remove(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        match self.edits.last_mut() {
            Some(Edit { range: last, put: Put::Nothing | Put::Here(_) }) if last.end == range.start => {
                last.end = range.end;
            }
            _ => self.edits.push(Edit { range, put: Put::Nothing }),
        }
    }

    /// Where the plan is, to come back to.
    #[inline(always)]
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.edits.len(), self.edits.last().map_or(0, |last| last.range.end))
    }

    /// Takes back what was removed since the mark, where nothing was put.
    #[inline(always)]
    pub(super) fn undo(&mut self, (edits, end): (usize, usize)) {
        self.edits.truncate(edits);
        if let Some(last) = self.edits.last_mut() {
            last.range.end = end;
        }
    }

    /// Puts bytes at a place, behind what was put there before.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.place(at, start..self.arena.len());
    }

    /// As [`Plan::put`], of bytes that are in the arena already.
    pub(super) fn place(&mut self, at: usize, here: Range<usize>) {
        match self.edits.last_mut() {
            Some(Edit { range, put: put @ Put::Nothing }) if range.end == at => *put = Put::Here(here),
            Some(Edit { range, put: Put::Here(before) }) if range.end == at && before.end == here.start => {
                before.end = here.end;
            }
            _ => self.edits.push(Edit { range: at..at, put: Put::Here(here) }),
        }
    }

    /// Puts what is in the arena in the place of a stretch.
    #[inline]
    pub(super) fn replace(&mut self, range: Range<usize>, here: Range<usize>) {
        match self.edits.last() {
            Some(last) if last.range.end == range.start => {
                self.place(range.start, here);
                self.remove(range);
            }
            _ => self.edits.push(Edit { range, put: Put::Here(here) }),
        }
    }

    /// The bytes that an edit puts; `None` for [`Put::Later`].
    #[must_use]
    pub fn bytes(&self, put: &Put) -> Option<&[u8]> {
        match put {
            Put::Nothing => Some(&[]),
            Put::Here(range) => self.arena.get(range.clone()),
            Put::Later { .. } => None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.edits.clear();
        self.arena.clear();
    }
}
