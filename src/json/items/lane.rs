//! Where the tightest loop is, and the loop itself: leaves and containers that no path mentions, one behind the other.
//!
//! It calls nothing, so that what it knows stays in registers; no reference to a [`Lane`] may leave what is inlined into it. Start at
//! [`Lane::stroll`].

use super::super::decide::ContainerFate;
use super::super::dfa::hot::Hot;
use super::super::dfa::{Edge, Machine, StateId};
use super::super::marks::View;
use super::super::names::{self, OTHER, Symbol};
use super::super::tally::{Ruled, Tally};
use super::super::walk::{Frame, Kind, Stage, Walker};
use super::super::window::Plan;
use super::here::Here;
use super::skip::skip;
use super::tents::Tent;

/// Where the loop is. Places are of the stretch; those in the plan are of the buffer.
#[derive(Clone, Copy)]
pub(super) struct Lane<'p> {
    pub(super) base: usize,
    /// Behind an item; at the container's opener where none was taken yet.
    pub(super) at: usize,
    /// The first quote that has not been passed.
    pub(super) next: usize,
    /// What stands before the next item: a comma, or the opener where no item was taken yet.
    pub(super) before: u8,
    pub(super) object: bool,
    pub(super) state: StateId,
    /// Of the last element taken; of none `MAX`. In an object it says nothing.
    pub(super) index: u64,
    /// What is asked in the container.
    pub(super) hot: &'p Hot,
    /// Where an item leads that no path mentions.
    pub(super) other: Edge,
    /// Do items go before the next one, or wait? If not, all before it have stayed.
    pub(super) gone: bool,
    /// Where they begin; the plan has not been told. Nothing is there to tell where openers wait.
    pub(super) gap: usize,
    /// Has an item stayed before them?
    pub(super) kept: bool,
    /// Does an opener wait?
    pub(super) waits: bool,
    /// Was there white space between tokens?
    pub(super) blanks: bool,
}

/// What the loop counts and remembers where names are asked.
pub(super) struct Extra<'w> {
    pub(super) tents: &'w mut Vec<Tent>,
    pub(super) tally: &'w mut Tally,
}

/// An item's places.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) item: usize,
    /// The closing quote of its name.
    pub(super) close: usize,
    pub(super) value: usize,
    pub(super) kind: u8,
    /// The first quote behind its name.
    pub(super) next: usize,
    /// Where its name may be one that is asked: the name's grain.
    pub(super) asked: Option<u32>,
}

impl Spot {
    pub(super) const NONE: Self = Self { item: 0, close: 0, value: 0, kind: 0, next: 0, asked: None };
}

/// Where the loop stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// In another container.
    On,
    /// Before an item whose places are told.
    Item,
    /// Before an item or closer in another spelling, or one that is not for it.
    Else,
}

impl<'p> Lane<'p> {
    #[inline(always)]
    pub(super) fn load(here: &Here<'_>, walker: &Walker, hot: &'p Hot) -> Self {
        let object = walker.top.kind == Kind::Object;
        Self {
            base: here.view.base,
            at: here.at - usize::from(here.first),
            next: here.view.next,
            before: if !here.first {
                b','
            } else if object {
                b'{'
            } else {
                b'['
            },
            object,
            state: walker.top.state,
            index: if here.first { u64::MAX } else { here.index },
            hot,
            other: if object { hot.member } else { hot.element },
            gone: here.waits || here.gap != here.sep || !here.kept && !here.first,
            gap: here.gap,
            kept: here.kept,
            waits: here.waits,
            blanks: here.view.has_controls(),
        }
    }

    #[inline(always)]
    pub(super) fn is_first(&self) -> bool {
        self.before != b','
    }

    /// Has an item of the container stayed?
    #[inline(always)]
    pub(super) fn has_kept(&self) -> bool {
        if self.gone { self.kept } else { !self.is_first() }
    }

    /// Tells the loop around, and the walker.
    #[inline(always)]
    pub(super) fn store(self, here: &mut Here<'_>, walker: &mut Walker) {
        let first = self.is_first();
        here.at = self.at + usize::from(first);
        here.sep = self.base + here.at;
        (here.first, here.symbol, here.view.next) = (first, OTHER, self.next);
        here.index = if first || self.object { 0 } else { self.index };
        here.gap = if self.gone && !self.waits { self.gap } else { here.sep };
        (here.kept, here.waits) = (self.has_kept(), self.waits);
        let (kind, stage, opener) = match self.object {
            true => (Kind::Object, Stage::FirstName, b'{'),
            false => (Kind::Array, Stage::FirstValue, b'['),
        };
        here.opener = opener;
        if first {
            walker.stage = stage;
        }
        (walker.top.kind, walker.top.state) = (kind, self.state);
    }

    /// Is in a container of this kind and state.
    #[inline(always)]
    fn set(&mut self, object: bool, state: StateId, hot: &'p Hot) {
        (self.object, self.state, self.hot) = (object, state, hot);
        self.other = if object { hot.member } else { hot.element };
    }

    /// The item that begins at `item` goes.
    #[inline(always)]
    pub(super) fn remove(&mut self, item: usize) {
        if !self.gone {
            self.gap = self.base + if self.is_first() { item } else { self.at };
            (self.gone, self.kept) = (true, !self.is_first());
        }
    }

    /// The item that begins at `item` stays. Of the removed before it the separator behind goes, unless it is needed. No opener waits.
    #[inline(always)]
    pub(super) fn keep(&mut self, item: usize, plan: &mut Plan) {
        if self.gone {
            plan.remove(self.gap..self.base + if self.kept { self.at } else { item });
            self.gone = false;
        }
    }

    /// The item ends at `end`; `next` is the first quote behind it.
    #[inline(always)]
    pub(super) fn end(&mut self, end: usize, next: usize) {
        (self.at, self.next, self.before) = (end, next, b',');
        self.index = self.index.wrapping_add(1);
    }

    /// Behind the closer at `at`, in the container around.
    #[inline(always)]
    pub(super) fn leave(&mut self, hot: &'p Hot, around: &Frame, at: usize) {
        self.set(around.kind == Kind::Object, around.state, hot);
        (self.at, self.before, self.gone, self.index) = (at + 1, b',', false, around.index);
    }

    /// As [`Lane::leave`], where no opener waits, and only if what is around is for this loop.
    #[inline(always)]
    fn left<const ASKS: bool>(
        &mut self,
        machine: &'p Machine,
        stack: &mut Vec<Frame>,
        extra: &mut Extra<'_>,
        at: usize,
        plan: &mut Plan,
    ) -> bool {
        let level = stack.len();
        let Some(around) = stack.last() else { return false };
        let Some(hot) = machine.hot(around.state).filter(|_| around.kind != Kind::Root) else { return false };
        if ASKS && let Some(tent) = extra.tents.pop_if(|tent| tent.level == level) {
            self.leave(hot, around, at);
            tent.fold(self, plan);
        } else {
            if self.gone {
                plan.remove(self.gap..self.base + self.at);
            }
            self.leave(hot, around, at);
        }
        stack.pop();
        true
    }

    /// Goes into the container whose opener is at `at`. `next` is the first quote in it.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined into the loop")]
    pub(super) fn enter(
        &mut self,
        hot: &'p Hot,
        stack: &mut Vec<Frame>,
        symbol: Symbol,
        opener: (usize, u8),
        next: usize,
        state: StateId,
        around: (bool, usize),
    ) {
        let kind = if self.object { Kind::Object } else { Kind::Array };
        let index = self.index.wrapping_add(1);
        let (kept, mark) = around;
        stack.push(Frame { kind, kept, state: self.state, symbol, index, len: Frame::UNKNOWN, mark });
        let (at, opener) = opener;
        (self.at, self.next, self.before, self.gone, self.index) = (at, next, opener, false, u64::MAX);
        self.set(opener == b'{', state, hot);
    }

    /// Takes items and goes in and out of containers as long as nothing is unusual. `ASKS`: names that are asked too, and containers that
    /// wait or go. `FOLDS`: names are compared folded.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined into the loop")]
    pub(super) fn stroll<const BLANKS: bool, const ASKS: bool, const FOLDS: bool>(
        &mut self,
        view: &View<'_>,
        machine: &'p Machine,
        stack: &mut Vec<Frame>,
        depth: usize,
        extra: &mut Extra<'_>,
        plan: &mut Plan,
        spot: &mut Spot,
    ) -> Stop {
        loop {
            let goes = self.other.leaves_go();
            let stays = self.other.leaves_stay() && !self.waits;
            let stop = match self.object {
                _ if !goes && !stays => return Stop::Else,
                true => self.items::<true, BLANKS, ASKS, FOLDS>(view, machine, stack, depth, extra, plan, goes, spot),
                false => self.items::<false, BLANKS, ASKS, FOLDS>(view, machine, stack, depth, extra, plan, goes, spot),
            };
            if stop != Stop::On {
                return stop;
            }
        }
    }

    /// As [`Lane::stroll`], where white space is between tokens.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "what the loop has at hand")]
    pub(super) fn stroll_spaced<const ASKS: bool, const FOLDS: bool>(
        mut self,
        view: &View<'_>,
        machine: &'p Machine,
        stack: &mut Vec<Frame>,
        depth: usize,
        mut extra: Extra<'_>,
        plan: &mut Plan,
        mut spot: Spot,
    ) -> (Self, Stop, Spot) {
        let stop = self.stroll::<true, ASKS, FOLDS>(view, machine, stack, depth, &mut extra, plan, &mut spot);
        (self, stop, spot)
    }

    /// Items of one container. `On`: it is in another.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined into the loop")]
    fn items<const OBJECT: bool, const BLANKS: bool, const ASKS: bool, const FOLDS: bool>(
        &mut self,
        view: &View<'_>,
        machine: &'p Machine,
        stack: &mut Vec<Frame>,
        depth: usize,
        extra: &mut Extra<'_>,
        plan: &mut Plan,
        goes: bool,
        spot: &mut Spot,
    ) -> Stop {
        // Where the loop for no white space runs, there is no control character in the stretch: line feeds are some.
        let stop = Stop::Else;
        let closer = if OBJECT { b'}' } else { b']' };
        loop {
            let mut next = self.next;
            let (mut grain, mut close, mut end_quote) = (0, 0, None);
            let (mut edge, mut symbol, mut asked) = (self.other, OTHER, None);
            // What begins where, and with which bytes.
            let (item, mut value, mut kind, initial, more);
            if BLANKS {
                // White space behind an opener that waits has to be told.
                if self.waits && self.is_first() {
                    return stop;
                }
                let Some(mut at) = view.blank(self.at + usize::from(self.is_first())) else { return stop };
                let Some(mut first) = view.byte(at) else { return stop };
                if first == closer {
                    return if !self.waits && self.left::<ASKS>(machine, stack, extra, at, plan) {
                        Stop::On
                    } else {
                        stop
                    };
                }
                if !self.is_first() {
                    if first != b',' {
                        return stop;
                    }
                    let Some(behind) = view.blank(at + 1) else { return stop };
                    at = behind;
                    let Some(byte) = view.byte(at) else { return stop };
                    first = byte;
                }
                let Some(second) = view.byte(at + 1) else { return stop };
                if OBJECT && first != b'"' {
                    return stop;
                }
                (item, value, kind, initial, more) = (at, at, first, second, b' ');
            } else {
                let Some([before, first, second, _]) = view.four(self.at) else { return stop };
                if before != self.before || !OBJECT && first == b']' || OBJECT && first != b'"' {
                    let empty = self.is_first() && before == self.before && first == closer;
                    let closes = empty || before == closer && !self.is_first();
                    let left = closes
                        && !self.waits
                        && self.left::<ASKS>(machine, stack, extra, self.at + usize::from(empty), plan);
                    return if left { Stop::On } else { stop };
                }
                (item, value, kind, initial, more) = (self.at + 1, self.at + 1, first, second, second);
            }
            if OBJECT {
                let Some([_, place, _, closes]) = view.four_quotes(next) else { return stop };
                let place = usize::from(place);
                end_quote = Some(usize::from(closes));
                let Some([last, quote, colon, first]) = view.four(place.wrapping_sub(1)) else { return stop };
                if quote != b'"' || BLANKS && !view.is_clear(item, place) {
                    return stop;
                }
                (close, value, kind) = (place, place + 2, first);
                if BLANKS {
                    let Some(colon) = view.blank(place + 1) else { return stop };
                    if view.byte(colon) != Some(b':') {
                        return stop;
                    }
                    let Some(behind) = view.blank(colon + 1) else { return stop };
                    let Some(first) = view.byte(behind) else { return stop };
                    (value, kind) = (behind, first);
                } else if colon != b':' {
                    return stop;
                }
                next += 2;
                let len = place.wrapping_sub(item + 1);
                grain = names::grain(len, (initial, last));
                if self.hot.may_ask::<FOLDS>(view.bytes, (item + 1, len), (initial, last), grain) {
                    asked = Some(grain);
                    let known = if ASKS { self.hot.find::<FOLDS>(view.bytes, item + 1, len, grain) } else { None };
                    let Some(known) = known else {
                        *spot = Spot { item, close, value, kind, next, asked };
                        return Stop::Item;
                    };
                    (symbol, edge) = known;
                }
            }
            let this = Spot { item, close, value, kind, next, asked };
            let end = match kind {
                b'"' => {
                    let Some(place) = end_quote.or_else(|| view.quote(next + 1)) else { return stop };
                    if view.byte(place) != Some(b'"') || BLANKS && !view.is_clear(value, place) {
                        *spot = this;
                        return Stop::Item;
                    }
                    next += 2;
                    place + 1
                }
                // One digit is enough to see in an array of digits.
                b'0'..=b'9' if !OBJECT && !BLANKS && (more == b',' || more == b']') => value + 1,
                b'0'..=b'9' | b'-' => {
                    let Some(end) = view.plain_number(value, kind) else {
                        *spot = this;
                        return Stop::Item;
                    };
                    end
                }
                b'{' | b'[' => {
                    if ASKS && edge.container() == ContainerFate::Cut && edge.is_quiet() && !self.waits {
                        let room = depth.saturating_sub(stack.len());
                        let Some((end, behind)) = skip::<BLANKS>(view, value, next, room) else {
                            *spot = this;
                            return Stop::Item;
                        };
                        self.remove(item);
                        (self.at, self.next, self.before) = (end, behind, b',');
                        if !OBJECT {
                            self.index = self.index.wrapping_add(1);
                        }
                        continue;
                    }
                    let (taken, name) = ((this, edge, symbol), (initial, grain, view.bytes));
                    if self.go_in::<OBJECT, ASKS, FOLDS>(machine, stack, depth, extra, plan, taken, name) {
                        return Stop::On;
                    }
                    *spot = this;
                    return Stop::Item;
                }
                _ => {
                    let Some(end) = view.literal(value, kind) else { return stop };
                    end
                }
            };
            let goes = if ASKS { edge.leaves_drop() } else { goes };
            if ASKS && !goes {
                if self.waits || !edge.leaves_keep() {
                    *spot = this;
                    return Stop::Item;
                }
                extra.tents.clear();
            }
            if goes != self.gone {
                if goes { self.remove(item) } else { self.keep(item, plan) }
            }
            if ASKS && !edge.is_quiet() {
                extra.tally.hit(edge, if kind == b'n' { Ruled::Null } else { Ruled::Leaf });
            }
            (self.at, self.next, self.before) = (end, next, b',');
            if !OBJECT {
                self.index = self.index.wrapping_add(1);
            }
        }
    }

    /// Goes into the container at `spot`. False: it is not for this loop.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined into the loop")]
    fn go_in<const OBJECT: bool, const ASKS: bool, const FOLDS: bool>(
        &mut self,
        machine: &'p Machine,
        stack: &mut Vec<Frame>,
        depth: usize,
        extra: &mut Extra<'_>,
        plan: &mut Plan,
        (spot, edge, symbol): (Spot, Edge, Symbol),
        (initial, grain, bytes): (u8, u32, &[u8]),
    ) -> bool {
        let fate = edge.container();
        let waits = ASKS && fate == ContainerFate::Wait;
        if self.waits || !edge.is_quiet() || fate != ContainerFate::Show && !waits {
            return false;
        }
        // Of a fault's place: a name that is mentioned elsewhere has to be looked up.
        let (at, len) = (spot.item + 1, spot.close.wrapping_sub(spot.item + 1));
        if OBJECT && symbol == OTHER && machine.names.may_mention::<FOLDS>(bytes, at, len, initial, grain) {
            return false;
        }
        let level = stack.len();
        let Some(hot) = machine.hot(edge.to()).filter(|_| level < depth) else { return false };
        if waits {
            extra.tents.push(Tent::new(self, &spot, level + 1, plan));
        } else if ASKS {
            extra.tents.clear();
        }
        self.keep(spot.item, plan);
        self.enter(hot, stack, symbol, (spot.value, spot.kind), spot.next, edge.to(), (true, 0));
        true
    }
}
