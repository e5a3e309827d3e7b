//! An element that was held until it could be decided, with its structure.
//!
//! It answers what the tests of a state ask about a value in it: an array's length, whether a filter holds. Start at
//! [`Region::node`].

use std::ops::Range;

use super::FaultKind;
use super::filter::reads::Reads;
use super::filter::{self, Filter};
use super::marks::Marks;
use super::tape::lay::Held;
use super::tape::{NodeId, Tape};

/// Empty where nothing is held.
#[derive(Debug, Default)]
pub(super) struct Region {
    range: Range<usize>,
    tape: Tape,
}

impl Region {
    /// Takes the value at `start`, if all of it is in `buf`, at most `room` levels deep, and JSON; and of its structure what `reads`
    /// asks for, or everything. A number at the end of `buf` is taken for whole.
    pub(super) fn hold(
        &mut self,
        marks: &mut Marks,
        buf: &[u8],
        start: usize,
        room: usize,
        reads: Option<&Reads>,
    ) -> bool {
        match self.tape.lay(marks, Held { buf, start }, 0, room, reads) {
            Some(len) => self.range = start..start + len,
            None => self.range = 0..0,
        }
        !self.range.is_empty()
    }

    /// Lets go of what is held.
    pub(super) fn clear(&mut self) {
        if !self.range.is_empty() {
            self.range = 0..0;
            self.tape.forget();
        }
    }

    /// How much it has grown.
    pub(super) fn room(&self) -> usize {
        self.tape.room()
    }

    /// Bytes that are held.
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    pub(super) fn covers(&self, pos: usize) -> bool {
        self.range.contains(&pos)
    }

    /// The node that begins at `pos`.
    pub(super) fn node(&self, pos: usize) -> Option<NodeId> {
        let at = pos.checked_sub(self.range.start)?;
        if at == 0 && !self.range.is_empty() {
            return Some(Tape::ROOT);
        }
        let (mut low, mut high) = (0, NodeId::try_from(self.tape.len()).ok()?);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.tape.span(middle).start.cmp(&at) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Where the value that begins at `pos` ends, if it is known.
    pub(super) fn end(&self, pos: usize) -> Option<usize> {
        if !self.covers(pos) {
            return None;
        }
        Some(self.range.start + self.tape.span(self.node(pos)?).end)
    }

    /// Elements of the array at a node.
    pub(super) fn count(&self, node: NodeId) -> u64 {
        self.tape.count(node) as u64
    }

    /// Does the filter hold for the node?
    pub(super) fn holds(&self, buf: &[u8], filter: &Filter, node: NodeId, steps: &mut u64) -> Result<bool, FaultKind> {
        let bytes = buf.get(self.range.clone()).unwrap_or_default();
        filter::holds(filter, bytes, &self.tape, Tape::ROOT, node, steps)
    }
}
