//! The tight loop: items as most are, one behind the other, in and out of containers.
//!
//! What is usual and mentioned by no path is taken in [`Lane::stroll`], the rest here, an item at a time: names that are asked, white
//! space between tokens, containers that wait or are not looked into, what is put for a leaf. What is not for it (a token that goes beyond
//! the stretch, an escape in a name, tests, faults) is left to the loop around it, before the item. Start at [`Walker::sprint`].

use super::super::automaton::Program;
use super::super::decide::{ContainerFate, LeafFate};
use super::super::dfa::{ChildKey, Edge, Machine};
use super::super::judge::Asked;
use super::super::marks::{STRETCH, View};
use super::super::names::{OTHER, Symbol, grain};
use super::super::scan::Bad;
use super::super::tally::Ruled;
use super::super::text;
use super::super::walk::{Kind, Walker};
use super::super::window::{Judge, Judgement, Plan};
use super::here::{Here, Item};
use super::lane::{Extra, Lane, Spot, Stop};
use super::skip::{self, skip};

/// What comes next.
enum Next {
    /// And what is known of its name already.
    Item(Spot, Option<(Symbol, Edge)>),
    /// With white space before it, or none.
    Closer(usize),
}

/// What comes next, where white space may be between tokens, and escapes in a name.
#[inline(never)]
fn spaced(machine: &Machine, view: View<'_>, lane: Lane<'_>) -> Option<Next> {
    let first = lane.is_first();
    let mut item = view.blank(lane.at + usize::from(first))?;
    let byte = view.byte(item)?;
    if byte == if lane.object { b'}' } else { b']' } {
        return Some(Next::Closer(item));
    }
    if !first {
        if byte != b',' {
            return None;
        }
        item = view.blank(item + 1)?;
    }
    if !lane.object {
        let kind = view.byte(item).filter(|kind| *kind != b']')?;
        return Some(Next::Item(Spot { item, close: 0, value: item, kind, next: lane.next, asked: None }, None));
    }
    if view.byte(item)? != b'"' {
        return None;
    }
    let close = view.quote(lane.next + 1)?;
    let [last, quote, _, _] = view.four(close.wrapping_sub(1))?;
    let (mut close, mut next, mut known) = (close, lane.next + 2, None);
    if quote == b'\\' {
        (close, next) = skip::escaped(view, item, lane.next, true)?;
        known = Some(unescaped(machine, lane, view.bytes.get(item..=close)?)?);
    }
    let colon = view.blank(close + 1)?;
    if view.byte(colon)? != b':' || !view.is_clear(item, close) {
        return None;
    }
    let value = view.blank(colon + 1)?;
    let (initial, kind) = (view.byte(item + 1)?, view.byte(value)?);
    if known.is_some() {
        return Some(Next::Item(Spot { item, close: 0, value, kind, next, asked: None }, known));
    }
    let len = close.wrapping_sub(item + 1);
    let grain = grain(len, (initial, last));
    let asked =
        Some(grain).filter(|grain| lane.hot.may_ask::<true>(view.bytes, (item + 1, len), (initial, last), *grain));
    Some(Next::Item(Spot { item, close, value, kind, next, asked }, None))
}

/// What is asked of a name with escapes. `raw` is the name with its quotes.
fn unescaped(machine: &Machine, lane: Lane<'_>, raw: &[u8]) -> Option<(Symbol, Edge)> {
    let name = text::unescape(raw);
    if lane.hot.lengths >> name.len().min(63) & 1 == 0 {
        return Some((OTHER, lane.other));
    }
    let symbol = machine.names.find(name.as_bytes());
    Some((symbol, machine.known(machine.state(lane.state)?, ChildKey::Member(symbol))?))
}

impl Walker {
    /// Takes items as long as they are of the kind that it takes. Sets `took` if there was one.
    #[inline(never)]
    pub(super) fn sprint<const ASKS: bool, const FOLDS: bool>(
        &mut self,
        program: &Program,
        here: &mut Here<'_>,
        took: &mut bool,
        buf: &[u8],
        plan: &mut Plan,
        judge: &mut dyn Judge,
    ) -> Result<(), Bad> {
        // White space that the walk has passed is not seen here. What waits grows by a stretch at most.
        let apart = here.sep != here.view.base + here.at;
        if here.room < 2 * STRETCH || here.first && here.opener == 0 || apart || self.top.kind == Kind::Root {
            return Ok(());
        }
        let machine = &program.machine;
        let Some(hot) = machine.hot(self.top.state) else { return Ok(()) };
        let view = here.view;
        let mut lane = Lane::load(here, self, hot);
        let begun = lane.at;
        loop {
            let (stack, depth) = (&mut self.stack, program.limits.depth);
            let mut extra = Extra { tents: &mut self.tents, tally: &mut self.tally };
            let mut spot = Spot::NONE;
            let stop;
            if lane.blanks {
                (lane, stop, spot) = lane.stroll_spaced::<ASKS, FOLDS>(&view, machine, stack, depth, extra, plan, spot);
            } else {
                stop = lane.stroll::<false, ASKS, FOLDS>(&view, machine, stack, depth, &mut extra, plan, &mut spot);
            }
            let (spot, named) = match stop {
                Stop::Item => (spot, None),
                Stop::On | Stop::Else => match spaced(machine, view, lane) {
                    Some(Next::Item(spot, named)) => {
                        lane.blanks |= !matches!(view.byte(spot.item.wrapping_sub(1)), Some(b',' | b'{' | b'['));
                        (spot, named)
                    }
                    Some(Next::Closer(at)) => match self.leave_lane(program, &mut lane, at, plan) {
                        true => continue,
                        false => break,
                    },
                    None => break,
                },
            };
            let (symbol, edge) = match (spot.asked, named) {
                (_, Some(named)) => named,
                (None, None) => (OTHER, lane.other),
                (Some(grain), None) => {
                    let (at, len) = (spot.item + 1, spot.close.wrapping_sub(spot.item + 1));
                    let known = lane.hot.find::<FOLDS>(view.bytes, at, len, grain);
                    match known.or_else(|| program.mention(lane.state, view.bytes.get(at..at + len)?)) {
                        Some(known) => known,
                        None => break,
                    }
                }
            };
            let (end, next) = match spot.kind {
                b'"' => match view.quote(spot.next + 1) {
                    Some(close) if view.byte(close) == Some(b'"') && view.is_clear(spot.value, close) => {
                        (close + 1, spot.next + 2)
                    }
                    _ => match skip::escaped(view, spot.value, spot.next, false) {
                        Some((close, behind)) => (close + 1, behind),
                        None => break,
                    },
                },
                b'-' | b'0'..=b'9' => {
                    let Some(end) = view.number(spot.value) else { break };
                    (end, spot.next)
                }
                b't' | b'f' | b'n' => {
                    let Some(end) = view.literal(spot.value, spot.kind) else { break };
                    (end, spot.next)
                }
                b'{' | b'[' => match edge.container() {
                    ContainerFate::Show | ContainerFate::Wait | ContainerFate::Sink => {
                        if !self.enter_lane(program, &view, &mut lane, spot, edge, symbol, plan) {
                            break;
                        }
                        continue;
                    }
                    ContainerFate::Pass | ContainerFate::Cut | ContainerFate::Remove => {
                        let Some((end, next)) = self.over(program, view, spot) else {
                            here.long = spot.value;
                            break;
                        };
                        if edge.container() == ContainerFate::Pass {
                            self.stay(&mut lane, spot.item, plan);
                        } else {
                            self.go(&mut lane, spot.item);
                        }
                        if !edge.is_quiet() {
                            self.tally.hit(edge, Ruled::Container);
                        }
                        lane.end(end, next);
                        continue;
                    }
                    ContainerFate::Put | ContainerFate::Unlisted => break,
                },
                _ => break,
            };
            let (ruled, fate) = match spot.kind {
                b'n' => (Ruled::Null, edge.null()),
                _ => (Ruled::Leaf, edge.leaf()),
            };
            match fate {
                LeafFate::Keep => self.stay(&mut lane, spot.item, plan),
                LeafFate::Drop => self.go(&mut lane, spot.item),
                LeafFate::Unlisted => break,
                LeafFate::Put | LeafFate::Judge => {
                    *took |= lane.at > begun;
                    let number = spot.kind == b'-' || spot.kind.is_ascii_digit();
                    let held = end - spot.value + usize::from(number);
                    let asks = fate == LeafFate::Judge && held <= program.limits.value_bytes;
                    let by = if asks { self.decider(program, edge, ruled) } else { None };
                    let mut asked = None;
                    let (value, behind) = (lane.base + spot.value, lane.base + end);
                    if let Some(selection) = by {
                        self.count(edge, ruled);
                        let raw = buf.get(value..behind).unwrap_or_default();
                        match self.ask(raw, value, selection, plan, judge) {
                            Ok(Asked { judgement: Judgement::Put, written, .. }) => {
                                // What waits is put behind it in the arena.
                                let here = written..plan.arena.len();
                                self.stay(&mut lane, spot.item, plan);
                                plan.replace(value..behind, here);
                                lane.end(end, next);
                                continue;
                            }
                            other => asked = Some(other),
                        }
                    }
                    self.store_lane(program, here, lane, plan);
                    let item = Item { item: spot.item, close: spot.close, value: spot.value, edge };
                    here.symbol = symbol;
                    if lane.object {
                        here.find_name(program, lane.hot.lengths, &item);
                    }
                    if !self.put_here(program, here, &item, end, ruled, asked, buf, plan, judge)? {
                        return Ok(());
                    }
                    *took = true;
                    here.end(end, false);
                    here.view.next = next;
                    lane = Lane::load(here, self, lane.hot);
                    continue;
                }
            }
            if !edge.is_quiet() {
                self.tally.hit(edge, ruled);
            }
            lane.end(end, next);
        }
        if lane.at > begun {
            *took = true;
            self.store_lane(program, here, lane, plan);
        }
        Ok(())
    }

    #[inline(always)]
    fn store_lane(&mut self, program: &Program, here: &mut Here<'_>, mut lane: Lane<'_>, plan: &mut Plan) {
        self.strike(&mut lane, plan);
        lane.store(here, self);
        here.room = program.limits.name_bytes.saturating_sub(self.pending.bytes());
    }

    /// The item stays, and what waits around it.
    #[inline(always)]
    fn stay(&mut self, lane: &mut Lane<'_>, item: usize, plan: &mut Plan) {
        if lane.waits {
            self.blank_behind_opener(lane, item);
            self.item = lane.base + item;
            self.appear(plan);
            (lane.waits, lane.gone) = (false, false);
        } else {
            self.tents.clear();
            lane.keep(item, plan);
        }
    }

    /// The item goes.
    #[inline(always)]
    fn go(&mut self, lane: &mut Lane<'_>, item: usize) {
        if lane.waits {
            self.blank_behind_opener(lane, item);
        } else {
            lane.remove(item);
        }
    }

    /// White space behind an opener that waits waits with it.
    #[inline(always)]
    fn blank_behind_opener(&mut self, lane: &Lane<'_>, item: usize) {
        if lane.is_first() && item > lane.at + 1 {
            self.pending.add(lane.base + lane.at + 1..lane.base + item);
        }
    }

    /// Behind the closer at `at`, unless what is around is not for this loop.
    #[inline(always)]
    fn leave_lane<'p>(&mut self, program: &'p Program, lane: &mut Lane<'p>, at: usize, plan: &mut Plan) -> bool {
        self.strike(lane, plan);
        let level = self.stack.len();
        let Some(around) = self.stack.last().copied().filter(|around| around.kind != Kind::Root) else { return false };
        let Some(hot) = program.machine.hot(around.state) else { return false };
        let end = lane.base + at + 1;
        if lane.waits {
            self.pending.close(level, self.top.mark, end, plan);
            self.top.mark = around.mark;
        } else if lane.gone {
            plan.remove(lane.gap..lane.base + lane.at);
        }
        self.stack.pop();
        let gone = lane.waits && !around.kept;
        lane.leave(hot, &around, at);
        (lane.waits, lane.gone, lane.gap, lane.kept) = (lane.waits && self.pending.is_active(), gone, end, around.kept);
        true
    }

    /// Goes into a container that is walked. `false`: not for this loop.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined into the loop")]
    fn enter_lane<'p>(
        &mut self,
        program: &'p Program,
        view: &View<'_>,
        lane: &mut Lane<'p>,
        spot: Spot,
        edge: Edge,
        mut symbol: Symbol,
        plan: &mut Plan,
    ) -> bool {
        let Some(hot) = program.machine.hot(edge.to()) else { return false };
        if self.stack.len() >= program.limits.depth {
            return false;
        }
        if !edge.is_quiet() {
            self.tally.hit(edge, Ruled::Container);
        }
        if lane.object
            && symbol == OTHER
            && spot.close != 0
            && lane.hot.lengths >> (spot.close - spot.item - 1).min(63) & 1 == 1
            && let Some(name) = view.bytes.get(spot.item + 1..spot.close)
        {
            symbol = program.machine.names.find(name);
        }
        if edge.container() != ContainerFate::Show {
            self.strike(lane, plan);
        }
        let mark = self.top.mark;
        if edge.container() == ContainerFate::Show {
            self.stay(lane, spot.item, plan);
        } else {
            let item = lane.base + spot.item;
            let sep = if lane.is_first() { item } else { lane.base + lane.at };
            if lane.waits {
                self.blank_behind_opener(lane, spot.item);
            } else if lane.gone {
                plan.remove(lane.gap..sep);
            }
            self.top.mark = self.pending.open(self.stack.len() + 1, sep);
            if edge.container() == ContainerFate::Wait {
                self.pending.add(if lane.has_kept() { sep } else { item }..lane.base + spot.value + 1);
            }
        }
        let waits = edge.container() != ContainerFate::Show;
        let around = (!waits || lane.has_kept(), mark);
        lane.enter(hot, &mut self.stack, symbol, (spot.value, spot.kind), spot.next, edge.to(), around);
        (lane.waits, lane.gone, lane.kept) = (waits, waits, false);
        true
    }

    /// Over a container that nothing is asked in, if it ends in the stretch: its end, and the first quote behind.
    #[inline(never)]
    fn over(&mut self, program: &Program, mut view: View<'_>, spot: Spot) -> Option<(usize, usize)> {
        let room = program.limits.depth.saturating_sub(self.stack.len());
        if let Some(end) = skip::<false>(&view, spot.value, spot.next, room) {
            return Some(end);
        }
        self.skim.restart();
        view.next = spot.next;
        let end = self.skim.quick(&mut view, spot.value, room);
        self.skim.is_done().then_some((end, view.next))
    }
}
