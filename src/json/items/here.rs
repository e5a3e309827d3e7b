//! Where the tight loop is: places, and the names and values found at them.
//!
//! It reads the stretch and decides nothing. Start at [`Here::item`].

use super::super::automaton::Program;
use super::super::dfa::{ChildKey, Edge, State};
use super::super::marks::View;
use super::super::names::{OTHER, Symbol};
use super::super::text;
use super::super::walk::Walker;
use super::super::window::Plan;

/// Where the loop is, in places of the stretch, and what it knows of the innermost container.
pub(super) struct Here<'a> {
    pub(super) view: View<'a>,
    /// Behind the last item, or behind the opener.
    pub(super) at: usize,
    /// What [`Walker::sep`] is, in the buffer. What lies between `gap` and it is removed; the plan does not say so yet.
    pub(super) sep: usize,
    pub(super) gap: usize,
    /// Is the next item the container's first? Then `opener` stands before it.
    pub(super) first: bool,
    pub(super) opener: u8,
    /// Does an opener wait?
    pub(super) waits: bool,
    /// Bytes that may be held back beside what waits.
    pub(super) room: usize,
    pub(super) kept: bool,
    pub(super) index: u64,
    pub(super) symbol: Symbol,
    /// A container that begins here goes beyond the stretch.
    pub(super) long: usize,
}

/// A container's kind, and what leads to its children.
pub(super) struct Around<'p> {
    pub(super) object: bool,
    pub(super) state: &'p State,
    /// To an element, or to a member with a name that no path mentions.
    pub(super) other: Edge,
}

/// An item whose value begins at `value`.
pub(super) struct Item {
    pub(super) item: usize,
    /// The closing quote of a name without escapes; else 0.
    pub(super) close: usize,
    pub(super) value: usize,
    pub(super) edge: Edge,
}

/// What comes next.
pub(super) enum Next {
    Item(usize),
    Closer(usize),
}

impl<'a> Here<'a> {
    pub(super) fn new(walker: &Walker, program: &Program, view: View<'a>, pos: usize, first: bool) -> Self {
        let at = pos - view.base;
        let mut here = Self {
            view,
            at,
            sep: 0,
            gap: 0,
            first,
            opener: 0,
            waits: false,
            room: 0,
            kept: false,
            index: 0,
            symbol: OTHER,
            long: usize::MAX,
        };
        here.load(walker, program);
        here
    }

    /// Takes over what the walker says.
    #[inline(always)]
    pub(super) fn load(&mut self, walker: &Walker, program: &Program) {
        (self.sep, self.gap) = (walker.sep, walker.sep);
        self.waits = walker.pending.is_active();
        self.room = program.limits.name_bytes.saturating_sub(walker.pending.bytes());
        (self.kept, self.index, self.symbol) = (walker.top.kept, walker.top.index, walker.top.symbol);
    }

    /// Tells the walker, and the plan.
    #[inline(always)]
    pub(super) fn store(&mut self, walker: &mut Walker, plan: &mut Plan) {
        plan.remove(self.gap..self.sep);
        self.gap = self.sep;
        walker.sep = self.sep;
        (walker.top.kept, walker.top.index, walker.top.symbol) = (self.kept, self.index, self.symbol);
    }

    /// Over the separator to the next item, or to the closer.
    #[inline(always)]
    pub(super) fn next(&mut self, around: &Around<'_>) -> Option<Next> {
        let at = self.view.blank(self.at)?;
        let byte = self.view.byte(at)?;
        if byte == b',' && !self.first {
            return self.view.blank(at + 1).map(Next::Item);
        }
        if byte == if around.object { b'}' } else { b']' } {
            // White space is measured in the walk.
            return (at - self.at <= self.room).then_some(Next::Closer(at));
        }
        self.first.then_some(Next::Item(at))
    }

    /// The item that begins at `at`: its name, and what leads to its value.
    #[inline(always)]
    pub(super) fn item(&mut self, program: &Program, around: &Around<'_>, at: usize) -> Option<Item> {
        let (mut value, mut edge, mut plain_close) = (at, around.other, 0);
        if around.object {
            if self.view.byte(at)? != b'"' {
                return None;
            }
            let (close, symbol) = match self.view.plain_string(at) {
                Some(close) => {
                    let name = self.view.bytes.get(at + 1..close)?;
                    let asked = around.state.may_mention(name);
                    plain_close = close;
                    (close, if asked { program.machine.names.find(name) } else { OTHER })
                }
                None => self.escaped_name(program, around.state, at)?,
            };
            self.symbol = symbol;
            if symbol != OTHER {
                edge = program.machine.known(around.state, ChildKey::Member(symbol))?;
            }
            let colon = self.view.blank(close + 1)?;
            if self.view.byte(colon)? != b':' {
                return None;
            }
            value = self.view.blank(colon + 1)?;
        }
        (self.view.base + value - self.sep <= self.room).then_some(Item { item: at, close: plain_close, value, edge })
    }

    /// The place of a fault names what any path mentions, as the walk does, not only what is asked here.
    #[inline(always)]
    pub(super) fn find_name(&mut self, program: &Program, lengths: u64, item: &Item) {
        if self.symbol == OTHER
            && let Some(name) = self.view.bytes.get(item.item + 1..item.close)
            && lengths >> name.len().min(63) & 1 == 1
        {
            self.symbol = program.machine.names.find(name);
        }
    }

    #[inline(never)]
    pub(super) fn escaped_name(&mut self, program: &Program, state: &State, at: usize) -> Option<(usize, Symbol)> {
        let close = self.view.escaped_string(at, true)?;
        let name = text::unescape(self.view.bytes.get(at..=close)?);
        let asked = state.may_have_length(name.as_bytes());
        Some((close, if asked { program.machine.names.find(name.as_bytes()) } else { OTHER }))
    }

    /// Behind the leaf that begins at `at`.
    #[inline(always)]
    pub(super) fn leaf_end(&mut self, at: usize, first: u8) -> Option<usize> {
        match first {
            b'"' => self.view.string(at, false).map(|close| close + 1),
            b'-' | b'0'..=b'9' => self.view.number(at),
            b't' | b'f' | b'n' => self.view.literal(at, first),
            _ => None,
        }
    }

    /// The item is taken: white space behind the opener belongs to the container, and waits with it.
    #[inline(always)]
    pub(super) fn begin(&mut self, walker: &mut Walker, item: usize) {
        if self.first {
            let item = self.view.base + item;
            if self.waits {
                self.room = self.room.saturating_sub(item - self.sep);
                walker.pending.add(self.sep..item);
            }
            (self.sep, self.gap) = (item, item);
        }
    }

    /// The item ended; `removed` if it goes.
    #[inline(always)]
    pub(super) fn end(&mut self, end: usize, removed: bool) {
        self.at = end;
        self.sep = self.view.base + end;
        if !removed || self.waits {
            self.gap = self.sep;
        }
        self.index += u64::from(!self.first);
        self.first = false;
    }
}
