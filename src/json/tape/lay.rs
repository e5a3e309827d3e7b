//! Lays out a value: one strict pass over its bytes, with a node for each place that is read.
//!
//! What is not read is skimmed. A fault is not told here: the caller has the scanner find it. Start at [`Tape::lay_out`].

use std::ops::Range;

use super::super::filter::reads::{ReadId, Reads};
use super::super::marks::Marks;
use super::super::scan::{self, Digits, Token};
use super::super::skim::Skim;
use super::super::text;
use super::{Node, NodeId, NodeKind, Tape};

/// What a layout works with, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Desk {
    open: Vec<Open>,
    /// The names of the members of all open objects that are read: where they are, and what tells most apart.
    names: Vec<(Range<u32>, u64)>,
    sorted: Vec<u64>,
    skim: Skim,
}

/// What is laid out: the end of a buffer, of which there may be marks.
#[derive(Clone, Copy)]
pub(in crate::json) struct Held<'a> {
    pub(in crate::json) buf: &'a [u8],
    pub(in crate::json) start: usize,
}

impl<'a> Held<'a> {
    pub(in crate::json) fn bytes(self) -> &'a [u8] {
        self.buf.get(self.start..).unwrap_or_default()
    }
}

/// An open container.
#[derive(Debug)]
struct Open {
    node: NodeId,
    object: bool,
    /// Are its names compared?
    compares: bool,
    reads: ReadId,
    /// Where its names begin.
    names: usize,
    count: u32,
    /// Does one of its names hold an escape?
    escaped: bool,
}

impl Tape {
    pub(super) fn lay_out(
        &mut self,
        marks: &mut Marks,
        held: Held<'_>,
        start: usize,
        room: usize,
        reads: Option<&Reads>,
    ) -> Option<usize> {
        let bytes = held.bytes();
        self.desk.open.clear();
        self.desk.names.clear();
        let root = if reads.is_some() { Reads::ROOT } else { Reads::WHOLE };
        let mut at = self.value(marks, held, start, room, reads, Some(root), 0..0)?;
        while let Some(open) = self.desk.open.last_mut() {
            at = scan::blank(bytes, at);
            let byte = *bytes.get(at)?;
            if byte == if open.object { b'}' } else { b']' } {
                at += 1;
                self.close(bytes, at)?;
                continue;
            }
            if open.count > 0 {
                (byte == b',').then_some(())?;
                at = scan::blank(bytes, at + 1);
            }
            open.count += 1;
            let place = open.reads;
            if !open.object {
                let child = match reads {
                    Some(reads) => reads.element(place),
                    None => Some(Reads::WHOLE),
                };
                at = self.value(marks, held, at, room, reads, child, 0..0)?;
                continue;
            }
            (bytes.get(at) == Some(&b'"')).then_some(())?;
            let mut escaped = false;
            let Ok(Token::Done(end)) = scan::string(bytes, at + 1, true, &mut escaped) else { return None };
            open.escaped |= escaped;
            let name = at..end;
            let raw = bytes.get(name.clone())?;
            if open.compares {
                self.desk.names.push((narrow(name.start)?..narrow(name.end)?, key(raw)));
            }
            let child = match reads {
                Some(reads) => reads.member(place, |wanted| {
                    if escaped {
                        text::equals(raw, wanted)
                    } else {
                        raw.get(1..raw.len() - 1) == Some(wanted.as_bytes())
                    }
                }),
                None => Some(Reads::WHOLE),
            };
            at = scan::blank(bytes, end);
            (bytes.get(at) == Some(&b':')).then_some(())?;
            at = scan::blank(bytes, at + 1);
            at = self.value(marks, held, at, room, reads, child, name)?;
        }
        Some(at)
    }

    /// A whole leaf, the opening of a container, or a whole container that is not read. Gives what comes behind it.
    #[expect(clippy::too_many_arguments, reason = "the value and what is at hand")]
    fn value(
        &mut self,
        marks: &mut Marks,
        held: Held<'_>,
        at: usize,
        room: usize,
        reads: Option<&Reads>,
        place: Option<ReadId>,
        name: Range<usize>,
    ) -> Option<usize> {
        let bytes = held.bytes();
        let kind = match bytes.get(at)? {
            b'{' => NodeKind::Object,
            b'[' => NodeKind::Array,
            b'"' => NodeKind::String,
            b't' => NodeKind::True,
            b'f' => NodeKind::False,
            b'n' => NodeKind::Null,
            b'-' | b'0'..=b'9' => NodeKind::Number,
            _ => return None,
        };
        let is_open = place.is_some_and(|place| reads.is_none_or(|reads| reads.is_open(place)));
        let end = match kind {
            NodeKind::Object | NodeKind::Array if is_open => at + 1,
            NodeKind::Object | NodeKind::Array => {
                self.desk.skim.restart();
                let room = room.checked_sub(self.desk.open.len())?;
                let token = self.desk.skim.run(marks, held.buf, held.start + at, room);
                let Ok(Token::Done(end)) = token else { return None };
                end - held.start
            }
            _ => leaf(bytes, at, kind)?,
        };
        let Some(place) = place else { return Some(end) };
        let id = NodeId::try_from(self.nodes.len()).ok()?;
        self.nodes.push(Node {
            start: narrow(at)?,
            end: narrow(end)?,
            next: id.checked_add(1)?,
            parent: self.desk.open.last().map_or(Tape::ROOT, |open| open.node),
            name_start: narrow(name.start)?,
            name_end: narrow(name.end)?,
            count: 0,
            kind,
            doubled: false,
        });
        if is_open && matches!(kind, NodeKind::Object | NodeKind::Array) {
            (self.desk.open.len() < room).then_some(())?;
            let object = kind == NodeKind::Object;
            let names = self.desk.names.len();
            let open = Open { node: id, object, compares: object, reads: place, names, count: 0, escaped: false };
            self.desk.open.push(open);
        }
        Some(end)
    }

    /// The innermost container ends before `end`.
    fn close(&mut self, bytes: &[u8], end: usize) -> Option<()> {
        let open = self.desk.open.pop()?;
        let doubled = open.compares && self.desk.has_doubles(bytes, &open);
        self.desk.names.truncate(open.names);
        let next = NodeId::try_from(self.nodes.len()).ok()?;
        let node = self.nodes.get_mut(open.node as usize)?;
        (node.end, node.next, node.count, node.doubled) = (narrow(end)?, next, open.count, doubled);
        Some(())
    }
}

impl Desk {
    /// Are two of the object's names equal once unescaped?
    fn has_doubles(&mut self, bytes: &[u8], open: &Open) -> bool {
        let names = self.names.get(open.names..).unwrap_or_default();
        let raw = |span: &Range<u32>| bytes.get(span.start as usize..span.end as usize).unwrap_or_default();
        if names.len() < 2 {
            return false;
        }
        if open.escaped {
            return are_doubled(names.iter().map(|(span, _)| text::unescape(raw(span))).collect());
        }
        // Names of one key are nearly always equal; what is not is told apart by its bytes.
        let maybe = match names {
            few if few.len() <= 16 => (1..).zip(few).any(|(i, a)| few.iter().skip(i).any(|b| a.1 == b.1)),
            many => {
                self.sorted.clear();
                self.sorted.extend(many.iter().map(|(_, key)| *key));
                self.sorted.sort_unstable();
                self.sorted.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
            }
        };
        maybe && are_doubled(names.iter().map(|(span, _)| raw(span)).collect())
    }
}

fn are_doubled<T: Ord>(mut names: Vec<T>) -> bool {
    names.sort_unstable();
    names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}

/// Equal names have equal keys.
#[inline]
fn key(raw: &[u8]) -> u64 {
    // With its quotes a name has at least two bytes.
    let (first, last) = match (raw.first_chunk::<8>(), raw.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (raw.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
    };
    (first ^ last.rotate_left(29) ^ raw.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn leaf(bytes: &[u8], at: usize, kind: NodeKind) -> Option<usize> {
    let token = match kind {
        NodeKind::String => scan::string(bytes, at + 1, false, &mut false),
        NodeKind::Number => {
            if let Some(end) = scan::plain_number(bytes, at) {
                return Some(end);
            }
            let mut digits = Digits::Start;
            match scan::number(bytes, at, &mut digits) {
                Ok(Token::More(end)) if end == bytes.len() && digits.is_number() => return Some(end),
                token => token,
            }
        }
        _ => scan::literal(bytes, at),
    };
    match token {
        Ok(Token::Done(end)) => Some(end),
        _ => None,
    }
}

fn narrow(at: usize) -> Option<u32> {
    u32::try_from(at).ok()
}
