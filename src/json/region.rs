//! An element that was held until it could be decided, with its structure.
//!
//! It answers what the tests of a state ask about a value in it: an array's length, whether a filter holds. Start at
//! [`Region::node`].

use std::ops::Range;

use super::FaultKind;
use super::filter::{self, Filter};
use super::tape::{NodeId, Tape};

#[derive(Debug)]
pub(super) struct Region {
    range: Range<usize>,
    tape: Tape,
}

impl Region {
    /// `range` of `buf` is one value that has passed the scanner.
    pub(super) fn new(buf: &[u8], range: Range<usize>) -> Result<Self, FaultKind> {
        let tape = Tape::build(buf.get(range.clone()).unwrap_or_default());
        if tape.is_sound() { Ok(Self { range, tape }) } else { Err(FaultKind::Rule) }
    }

    pub(super) fn covers(&self, pos: usize) -> bool {
        self.range.contains(&pos)
    }

    /// The node that begins at `pos`.
    pub(super) fn node(&self, pos: usize) -> Option<NodeId> {
        let at = pos.checked_sub(self.range.start)?;
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
