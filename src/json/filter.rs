//! What a path can ask of a value: our own evaluator, on a tape of spans.

use std::ops::Range;

use super::FaultKind;
use super::path::Segment;

/// A parsed, type-checked filter expression with its regular expressions compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {}

/// The structure of one document or element, as spans of its bytes.
#[derive(Debug)]
pub struct Tape {}

/// A node of a [`Tape`].
pub type NodeId = u32;

impl Tape {
    /// The root.
    pub const ROOT: NodeId = 0;
    /// `bytes` has passed the scanner already (strictly valid JSON); this may assume it and must still not panic.
    pub fn build(bytes: &[u8]) -> Tape {
        let _ = bytes;
        todo!()
    }
    /// Where the node's text is.
    pub fn span(&self, node: NodeId) -> Range<usize> {
        let _ = node;
        todo!()
    }
    /// The direct children in order. For members, the value nodes.
    pub fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let _ = node;
        std::iter::empty()
    }
}

/// Runs `segments` from `from` (with `root` for `$` in filters) and appends the nodes selected, each once.
pub fn select(
    segments: &[Segment],
    bytes: &[u8],
    tape: &Tape,
    root: NodeId,
    from: NodeId,
    steps: &mut u64,
    out: &mut Vec<NodeId>,
) -> Result<(), FaultKind> {
    let _ = (segments, bytes, tape, root, from, steps, out);
    todo!()
}

/// Does the filter hold for this one element? Errors: `FilterSteps`, `DuplicateName`.
pub fn holds(
    filter: &Filter,
    bytes: &[u8],
    tape: &Tape,
    root: NodeId,
    at: NodeId,
    steps: &mut u64,
) -> Result<bool, FaultKind> {
    let _ = (filter, bytes, tape, root, at, steps);
    todo!()
}
