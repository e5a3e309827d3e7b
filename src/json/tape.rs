//! The structure of one document or element, as spans of its bytes.
//!
//! A flat list in document order, built without recursion. It holds no values and copies no bytes. Only what is asked for is laid
//! out: all of it, or what filters read. Of bytes that are no JSON it says [`Tape::is_sound`] = false. Start at [`Tape::build`].
//!
//! ```text
//! {"a":[1,2],"b":3}      0 {  1 a:[  2 1  3 2  4 b:3      next(0)=5, next(1)=4, next(2)=3 …
//! ```

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::filter::reads::Reads;
use super::filter::run::Memo;
use super::marks::Marks;
use super::scan;

pub(super) mod lay;

use lay::Held;

/// A node of a [`Tape`]. The nodes of a subtree are consecutive, an ancestor before all that is in it.
pub type NodeId = u32;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number.
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    start: u32,
    end: u32,
    next: NodeId,
    parent: NodeId,
    /// Of the name, with its quotes; empty where there is none.
    name_start: u32,
    name_end: u32,
    /// Children.
    count: u32,
    kind: NodeKind,
    /// An object in which two names are equal.
    doubled: bool,
}

/// The structure of one document or element.
#[derive(Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
    sound: bool,
    /// What is used again for the next layout.
    desk: lay::Desk,
    /// What filters found out about this document. Nothing here changes an answer, only how soon it is there.
    memo: Mutex<Memo>,
}

impl Tape {
    /// The root.
    pub const ROOT: NodeId = 0;

    /// All of `bytes`, which are one JSON value.
    ///
    /// Time: linear, but for objects with many members, whose names are sorted to find doubles.
    pub fn build(bytes: &[u8]) -> Tape {
        let mut tape = Tape::default();
        let start = scan::blank(bytes, 0);
        let held = Held { buf: bytes, start: 0 };
        let end = tape.lay(&mut Marks::default(), held, start, usize::MAX, None);
        let whole = end.is_some_and(|end| scan::blank(bytes, end) == bytes.len());
        if !whole {
            tape.forget();
        }
        tape
    }

    /// Lays out what `reads` asks for (`None`: everything) of the value that begins at `start` of what is held, in place of what was there
    /// before. No more than `room` containers may be open in it. Gives its end; `None`, and no nodes, where not all of it is
    /// there, or it is no JSON. A number at the end is whole. `marks` are of the same buffer.
    pub(super) fn lay(
        &mut self,
        marks: &mut Marks,
        held: Held<'_>,
        start: usize,
        room: usize,
        reads: Option<&Reads>,
    ) -> Option<usize> {
        self.forget();
        let fits = u32::try_from(held.bytes().len()).is_ok_and(|len| len < u32::MAX);
        let end = if fits { self.lay_out(marks, held, start, room, reads) } else { None };
        match end {
            Some(_) => self.sound = true,
            // Half a tape must not be walked as if it were a whole one.
            None => self.nodes.clear(),
        }
        end
    }

    /// How many nodes it has room for.
    pub(super) fn room(&self) -> usize {
        self.nodes.capacity()
    }

    /// Empties it; room beyond that of a usual element is given back.
    pub(super) fn forget(&mut self) {
        const USUAL: usize = 1 << 11;
        self.nodes.clear();
        if self.nodes.capacity() > USUAL {
            self.nodes = Vec::new();
            self.desk = lay::Desk::default();
        }
        self.sound = false;
        if let Ok(memo) = self.memo.get_mut()
            && !memo.is_empty()
        {
            *memo = Memo::default();
        }
    }

    /// False if the bytes were not one JSON value, or 4 GiB of them: then there are no nodes and the evaluator refuses.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// How many nodes there are; they are numbered from 0.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Is there no node at all? (Only where the tape is not sound.)
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where the node's text is.
    pub fn span(&self, node: NodeId) -> Range<usize> {
        self.node(node).map_or(0..0, |n| n.start as usize..n.end as usize)
    }

    /// Where the member's name is, with its quotes. `None` for elements and the root.
    pub fn name_span(&self, node: NodeId) -> Option<Range<usize>> {
        self.node(node).filter(|n| n.name_end > n.name_start).map(|n| n.name_start as usize..n.name_end as usize)
    }

    /// What the node is.
    pub fn kind(&self, node: NodeId) -> NodeKind {
        self.node(node).map_or(NodeKind::Null, |n| n.kind)
    }

    /// Is it an object or an array?
    pub fn is_container(&self, node: NodeId) -> bool {
        matches!(self.kind(node), NodeKind::Object | NodeKind::Array)
    }

    /// How many children a container has; 0 for a leaf.
    pub fn count(&self, node: NodeId) -> usize {
        self.node(node).map_or(0, |n| n.count as usize)
    }

    /// The container that the node is in. `None` for the root.
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        self.node(node).filter(|_| node != Self::ROOT).map(|n| n.parent)
    }

    /// The first node behind the node's subtree: its next sibling if it has one.
    pub fn next(&self, node: NodeId) -> NodeId {
        self.node(node).map_or(NodeId::MAX, |n| n.next)
    }

    /// Is it an object in which two names are equal once unescaped?
    pub fn has_doubled_names(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(|n| n.doubled)
    }

    /// The direct children in order. For members, the value nodes.
    pub fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.node(node).map_or(0, |n| n.next);
        let mut at = node.saturating_add(1);
        std::iter::from_fn(move || {
            let child = at;
            (child < end).then(|| {
                at = self.next(child);
                child
            })
        })
    }

    /// Two evaluations at once would begin with nothing, and the later one's findings stay.
    pub(super) fn take_memo(&self) -> Memo {
        std::mem::take(&mut *self.memo.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put_memo(&self, memo: Memo) {
        *self.memo.lock().unwrap_or_else(PoisonError::into_inner) = memo;
    }

    fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(node as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, expected: &[&str]) {
        let tape = Tape::build(document.as_bytes());
        assert_eq!(tape.is_sound(), !expected.is_empty(), "{document}");
        let nodes = (0..u32::try_from(tape.len()).unwrap()).map(|node| &document[tape.span(node)]);
        assert_eq!(nodes.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nodes_stand_in_document_order_with_their_spans() {
        check(" 1.5e3 ", &["1.5e3"]);
        check(r#"{"a":[1,"x\"]"],"b":{}}"#, &[r#"{"a":[1,"x\"]"],"b":{}}"#, r#"[1,"x\"]"]"#, "1", r#""x\"]""#, "{}"]);
        check("[ true , null,false ]", &["[ true , null,false ]", "true", "null", "false"]);
    }

    #[test]
    fn what_is_no_document_gives_no_nodes() {
        for bad in [
            "", " ", "[", "[1", "[1 2]", "[1,]", "{\"a\"}", "{\"a\":}", "{1:2}", "]", "[]]", "\"a", "1 2", "[}", "{]",
            "x", "\"\\",
        ] {
            check(bad, &[]);
        }
    }

    #[test]
    fn a_node_knows_its_neighbours() {
        let document = br#"{"a":[1,[2]],"b":3}"#;
        let tape = Tape::build(document);
        assert_eq!(tape.children(Tape::ROOT).collect::<Vec<_>>(), [1, 5]);
        assert_eq!(tape.children(1).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((tape.next(1), tape.next(5), tape.parent(4), tape.parent(0)), (5, 6, Some(3), None));
        assert_eq!(tape.name_span(5).map(|span| &document[span]), Some(&b"\"b\""[..]));
        assert_eq!((tape.name_span(2), tape.count(0), tape.count(1), tape.count(2)), (None, 2, 2, 0));
        assert_eq!((tape.span(99), tape.children(99).count(), tape.kind(99)), (0..0, 0, NodeKind::Null));
    }

    #[test]
    fn doubled_names_are_seen_through_escapes_among_few_and_many() {
        let doubled = |document: &str| Tape::build(document.as_bytes()).has_doubled_names(Tape::ROOT);
        assert!(doubled(r#"{"a":1,"b":2,"\u0061":3}"#));
        assert!(doubled(r#"{"a":1,"a":1}"#));
        assert!(!doubled(r#"{"a":{"b":1},"b":{"a":1},"A":1}"#));
        let many = |last: &str| {
            let members: String = (0..50).map(|i| format!("\"n{i}\":{{\"x\":1,\"y\":2}},")).collect();
            format!("{{{members}\"{last}\":0}}")
        };
        assert!(doubled(&many("n7")) && doubled(&many(r"n\u0037")) && !doubled(&many("m")));
    }

    #[test]
    fn deep_documents_take_no_stack() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(Tape::build(deep.as_bytes()).len(), 200_000);
    }
}
