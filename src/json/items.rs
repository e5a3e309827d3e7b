//! Items one behind the other: the walk where nothing is unusual, in one tight loop.
//!
//! Only speed. It takes whole items (separator, name, value) that are in the buffer entirely, with no escape in the name and no test
//! to ask; at anything else it stops before the item and leaves it to `walk`, which finds the faults too. Start at
//! [`Walker::items`].

use super::automaton::Program;
use super::decide::LeafFate;
use super::dfa::{ChildKey, Edge, State};
use super::names::OTHER;
use super::scan::{self, Bad, Digits, Token};
use super::tally::Ruled;
use super::walk::{Flow, Kind, Stage, Walker};
use super::window::Plan;

/// An item that is there entirely, up to its value.
struct Head {
    item: usize,
    value: usize,
    edge: Edge,
}

impl Walker {
    /// Takes items from `pos` on: the first item of a container (`first`), or the comma behind an item. `None` if it took none.
    /// Else the stage is set, and the walk goes on where it says.
    #[inline]
    pub(super) fn items(
        &mut self,
        program: &Program,
        buf: &[u8],
        mut pos: usize,
        mut first: bool,
        plan: &mut Plan,
    ) -> Result<Option<usize>, Bad> {
        let Some(state) = program.machine.state(self.top.state) else { return Ok(None) };
        if self.trace.is_some() || !state.tests.is_empty() {
            return Ok(None);
        }
        let start = pos;
        let object = self.top.kind == Kind::Object;
        while let Some(head) = self.head(program, state, buf, pos, first, object) {
            let Head { item, value, edge } = head;
            let (end, ruled, fate) = match buf.get(value) {
                Some(b'"') => match scan::string(buf, value + 1, false, &mut false) {
                    Ok(Token::Done(end)) => (end, Ruled::Leaf, edge.leaf()),
                    _ => break,
                },
                Some(b'{' | b'[') => {
                    let kind = if buf.get(value) == Some(&b'{') { Kind::Object } else { Kind::Array };
                    self.top.index += u64::from(!first && !object);
                    (self.item, self.value, self.stage) = (item, value, Stage::Value);
                    let (Flow::Go(at) | Flow::Wait(at)) = self.container(program, value, edge, kind, plan)?;
                    return Ok(Some(at));
                }
                Some(b'-' | b'0'..=b'9') => match scan::plain_number(buf, value) {
                    Some(end) => (end, Ruled::Leaf, edge.leaf()),
                    None => match scan::number(buf, value, &mut Digits::Start) {
                        Ok(Token::Done(end)) => (end, Ruled::Leaf, edge.leaf()),
                        _ => break,
                    },
                },
                Some(b't' | b'f') => match scan::literal(buf, value) {
                    Ok(Token::Done(end)) => (end, Ruled::Leaf, edge.leaf()),
                    _ => break,
                },
                Some(b'n') => match scan::literal(buf, value) {
                    Ok(Token::Done(end)) => (end, Ruled::Null, edge.null()),
                    _ => break,
                },
                _ => break,
            };
            match fate {
                LeafFate::Keep => {
                    (self.item, self.value) = (item, value);
                    self.keep(plan);
                    self.sep = end;
                }
                LeafFate::Drop => self.drop_to(end, plan),
                _ => {
                    // The walk takes it from its value on.
                    self.top.index += u64::from(!first && !object);
                    self.item = item;
                    self.stage = Stage::Value;
                    return Ok(Some(value));
                }
            }
            if !edge.is_quiet() {
                self.tally.hit(edge, ruled);
            }
            self.top.index += u64::from(!first && !object);
            first = false;
            pos = scan::blank(buf, end);
            match (buf.get(pos), object) {
                (Some(b','), _) => {}
                (Some(b'}'), true) | (Some(b']'), false) if pos == end => {
                    return Ok(Some(self.close(pos, plan)));
                }
                _ => {
                    // White space is measured there.
                    self.stage = Stage::After;
                    return Ok(Some(end));
                }
            }
        }
        if pos == start {
            return Ok(None);
        }
        self.stage = Stage::After;
        Ok(Some(self.sep))
    }

    /// An item's name and the edge to its value.
    #[inline(always)]
    fn head(
        &mut self,
        program: &Program,
        state: &State,
        buf: &[u8],
        pos: usize,
        first: bool,
        object: bool,
    ) -> Option<Head> {
        let machine = &program.machine;
        let item = if first { pos } else { scan::blank(buf, pos + 1) };
        let mut value = item;
        let mut child = ChildKey::Element;
        if object {
            if buf.get(item) != Some(&b'"') {
                return None;
            }
            let end = scan::plain(buf, item + 1);
            if buf.get(end) != Some(&b'"') {
                return None;
            }
            let mut symbol = OTHER;
            let len = end - item - 1;
            if state.lengths >> len.min(63) & 1 == 1 {
                symbol = machine.names.find(buf.get(item + 1..end)?);
            }
            self.top.symbol = symbol;
            child = ChildKey::Member(symbol);
            let mut colon = end + 1;
            if buf.get(colon) != Some(&b':') {
                colon = scan::blank(buf, colon);
                if buf.get(colon) != Some(&b':') {
                    return None;
                }
            }
            value = scan::blank(buf, colon + 1);
        }
        if self.pending.bytes() + (value - self.sep) > program.limits.name_bytes {
            return None;
        }
        let edge = machine.known(state, child)?;
        Some(Head { item, value, edge })
    }
}
