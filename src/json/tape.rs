//! The structure of one document or element, as spans of its bytes.
//!
//! A flat list in document order, built without recursion. It holds no values and copies no bytes. It is no validator: the
//! bytes have passed the scanner; of others it says [`Tape::is_sound`] = false. Start at [`Tape::build`].
//!
//! ```text
//! {"a":[1,2],"b":3}      0 {  1 a:[  2 1  3 2  4 b:3      next(0)=5, next(1)=4, next(2)=3 …
//! ```

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::filter::run::Memo;
use super::text;

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
#[derive(Debug)]
pub struct Tape {
    nodes: Vec<Node>,
    sound: bool,
    /// What filters found out about this document. Nothing here changes an answer, only how soon it is there.
    memo: Mutex<Memo>,
}

/// An open container.
struct Open {
    node: NodeId,
    /// Where its names begin in the list of names of all open objects.
    names: usize,
}

impl Tape {
    /// The root.
    pub const ROOT: NodeId = 0;

    /// `bytes` has passed the scanner already (strictly valid JSON); this assumes it and still does not panic.
    ///
    /// Time: linear, but for objects with many members, whose names are sorted to find doubles.
    pub fn build(bytes: &[u8]) -> Tape {
        let mut builder = Builder { bytes, at: 0, nodes: Vec::new(), open: Vec::new(), names: Vec::new() };
        let sound = u32::try_from(bytes.len()).is_ok_and(|len| len < u32::MAX) && builder.run().is_some();
        // Half a tape must not be walked as if it were a whole one.
        Tape { nodes: if sound { builder.nodes } else { Vec::new() }, sound, memo: Mutex::default() }
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

struct Builder<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    open: Vec<Open>,
    /// The names of the members of all open objects.
    names: Vec<Range<usize>>,
}

impl Builder<'_> {
    fn run(&mut self) -> Option<()> {
        self.value(0..0)?;
        while let Some(open) = self.open.last() {
            let node = open.node;
            let object = self.nodes.get(node as usize)?.kind == NodeKind::Object;
            let first = self.nodes.get(node as usize)?.count == 0;
            let closer = if object { b'}' } else { b']' };
            match self.peek()? {
                byte if byte == closer => {
                    self.at += 1;
                    self.close()?;
                    continue;
                }
                b',' if !first => self.at += 1,
                _ if first => {}
                _ => return None,
            }
            let name = match object {
                true => {
                    self.peek()?;
                    let name = self.string()?;
                    (self.peek()? == b':').then_some(())?;
                    self.at += 1;
                    self.names.push(name.clone());
                    name
                }
                false => 0..0,
            };
            let parent = self.nodes.get_mut(node as usize)?;
            parent.count += 1;
            self.value(name)?;
        }
        self.peek().is_none().then_some(())
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
        None
    }

    /// A whole leaf, or the opening of a container.
    fn value(&mut self, name: Range<usize>) -> Option<()> {
        let byte = self.peek()?;
        let start = self.at;
        let kind = match byte {
            b'{' => NodeKind::Object,
            b'[' => NodeKind::Array,
            b'"' => NodeKind::String,
            b't' => NodeKind::True,
            b'f' => NodeKind::False,
            b'n' => NodeKind::Null,
            b'-' | b'0'..=b'9' => NodeKind::Number,
            _ => return None,
        };
        let id = NodeId::try_from(self.nodes.len()).ok()?;
        match kind {
            NodeKind::Object | NodeKind::Array => self.at += 1,
            NodeKind::String => {
                self.string()?;
            }
            _ => {
                let rest = self.bytes.get(start..)?;
                let leaf = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
                self.at += rest.iter().position(|b| !leaf(b)).unwrap_or(rest.len());
            }
        }
        self.nodes.push(Node {
            start: u32::try_from(start).ok()?,
            end: u32::try_from(self.at).ok()?,
            next: id.checked_add(1)?,
            parent: self.open.last().map_or(Tape::ROOT, |open| open.node),
            name_start: u32::try_from(name.start).ok()?,
            name_end: u32::try_from(name.end).ok()?,
            count: 0,
            kind,
            doubled: false,
        });
        if matches!(kind, NodeKind::Object | NodeKind::Array) {
            self.open.push(Open { node: id, names: self.names.len() });
        }
        Some(())
    }

    /// Past the string that begins here.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        (self.bytes.get(start) == Some(&b'"')).then_some(())?;
        let mut at = start + 1;
        loop {
            at += memchr::memchr2(b'"', b'\\', self.bytes.get(at..)?)?;
            match self.bytes.get(at)? {
                b'"' => break,
                _ => at += 2,
            }
        }
        self.at = at + 1;
        Some(start..self.at)
    }

    fn close(&mut self) -> Option<()> {
        let open = self.open.pop()?;
        let doubled = has_doubles(self.bytes, self.names.get(open.names..)?);
        self.names.truncate(open.names);
        let next = NodeId::try_from(self.nodes.len()).ok()?;
        let node = self.nodes.get_mut(open.node as usize)?;
        node.end = u32::try_from(self.at).ok()?;
        node.next = next;
        node.doubled = doubled;
        Some(())
    }
}

/// Are two of these names (spans with quotes) equal once unescaped?
fn has_doubles(bytes: &[u8], names: &[Range<usize>]) -> bool {
    let raw = |span: &Range<usize>| bytes.get(span.clone()).unwrap_or_default();
    if names.len() < 2 {
        return false;
    }
    if names.iter().any(|name| memchr::memchr(b'\\', raw(name)).is_some()) {
        return are_doubled(names.iter().map(|name| text::unescape(raw(name))).collect());
    }
    match names {
        // Few: each against each, which allocates nothing.
        few if few.len() <= 8 => (1..).zip(few).any(|(i, a)| few.iter().skip(i).any(|b| raw(a) == raw(b))),
        many => are_doubled(many.iter().map(raw).collect()),
    }
}

fn are_doubled<T: Ord>(mut names: Vec<T>) -> bool {
    names.sort_unstable();
    names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
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
