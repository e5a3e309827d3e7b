//! Items one behind the other: the walk where nothing is unusual, in one tight loop.
//!
//! Only speed. It takes whole items (separator, name, value) that lie in a marked stretch entirely, with no escape in the name and no
//! test to ask, and goes in and out of containers; at anything else it stops before the item and leaves it to `walk`, which finds the
//! faults too. Start at [`Walker::items`].
//!
//! What the loop needs of the walker at every item is in [`Here`], so that it stays in registers; it is written back before the
//! walker's general ways are called.

mod here;
mod lane;
mod skip;
mod sprint;
pub(super) mod tents;

use super::automaton::Program;
use super::decide::{ContainerFate, LeafFate};
use super::dfa::{ChildKey, State, StateId};
use super::judge::Asked;
use super::marks::Marks;
use super::names::OTHER;
use super::place::ends_itself;
use super::scan::Bad;
use super::tally::Ruled;
use super::walk::{Flow, Frame, Kind, Stage, Walker};
use super::window::{Judge, Plan};
use here::{Around, Here, Item, Next};

/// How the loop goes on.
enum Then {
    On,
    /// The walk goes on here.
    Walk(usize),
}

impl Walker {
    /// Takes items from `pos` on: the first item of a container (`first`), or the comma behind an item. `None` if it took none.
    /// Else the stage is set, and the walk goes on where it says.
    #[expect(clippy::too_many_arguments, reason = "what the walk has at hand, once a stretch")]
    pub(super) fn items(
        &mut self,
        program: &Program,
        marks: &mut Marks,
        buf: &[u8],
        pos: usize,
        first: bool,
        plan: &mut Plan,
        judge: &mut dyn Judge,
    ) -> Result<Option<usize>, Bad> {
        if self.trace.is_some() {
            return Ok(None);
        }
        let Some(view) = marks.over(buf, pos) else { return Ok(None) };
        let mut here = Here::new(self, program, view, pos, first);
        let mut took = false;
        let mut last = None;
        loop {
            // Names are folded in policies that keep what is not listed; if they were elsewhere, the third way would do.
            match (program.machine.names.folds(), program.machine.asks()) {
                (true, _) => self.sprint::<false, true>(program, &mut here, &mut took, buf, plan, judge)?,
                (false, true) => self.sprint::<true, false>(program, &mut here, &mut took, buf, plan, judge)?,
                (false, false) => self.sprint::<false, false>(program, &mut here, &mut took, buf, plan, judge)?,
            }
            let Some(around) = self.around(program, &mut last) else { break };
            let Some(next) = here.next(&around) else { break };
            let then = match next {
                Next::Closer(at) => self.leave(program, &mut here, at, plan),
                Next::Item(at) => {
                    let Some(item) = here.item(program, &around, at) else { break };
                    here.find_name(program, around.state.lengths, &item);
                    let Some(first) = here.view.byte(item.value) else { break };
                    let taken = match first {
                        b'{' | b'[' => self.enter(program, &mut here, &item, first, plan)?,
                        _ => self.leaf(program, &mut here, &item, first, buf, plan, judge)?,
                    };
                    let Some(then) = taken else { break };
                    then
                }
            };
            if let Then::Walk(at) = then {
                let next = here.view.next;
                marks.passed(next);
                return Ok(Some(at));
            }
            took = true;
        }
        if !took {
            return Ok(None);
        }
        here.store(self, plan);
        if !here.first {
            self.stage = Stage::After;
        }
        let next = here.view.next;
        marks.passed(next);
        Ok(Some(self.sep))
    }

    /// What the loop asks of the innermost container. `None` where it is not for the loop.
    #[inline(always)]
    fn around<'p>(&self, program: &'p Program, last: &mut Option<(StateId, &'p State)>) -> Option<Around<'p>> {
        let object = match self.top.kind {
            Kind::Object => true,
            Kind::Array => false,
            Kind::Root => return None,
        };
        let state = match *last {
            Some((id, state)) if id == self.top.state => state,
            _ => program.machine.state(self.top.state).filter(|state| state.tests.is_empty())?,
        };
        *last = Some((self.top.state, state));
        let other = if object { ChildKey::Member(OTHER) } else { ChildKey::Element };
        Some(Around { object, state, other: program.machine.known(state, other)? })
    }

    /// Takes a leaf.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined into the loop")]
    fn leaf(
        &mut self,
        program: &Program,
        here: &mut Here<'_>,
        item: &Item,
        first: u8,
        buf: &[u8],
        plan: &mut Plan,
        judge: &mut dyn Judge,
    ) -> Result<Option<Then>, Bad> {
        let Some(end) = here.leaf_end(item.value, first) else { return Ok(None) };
        let (ruled, fate) =
            if first == b'n' { (Ruled::Null, item.edge.null()) } else { (Ruled::Leaf, item.edge.leaf()) };
        let quiet = item.edge.is_quiet();
        match fate {
            LeafFate::Keep => {
                self.keep_here(program, here, item, plan);
                if !quiet {
                    self.tally.hit(item.edge, ruled);
                }
            }
            LeafFate::Drop => {
                here.begin(self, item.item);
                if !quiet {
                    self.tally.hit(item.edge, ruled);
                }
            }
            LeafFate::Put | LeafFate::Judge => {
                if !self.put_here(program, here, item, end, ruled, None, buf, plan, judge)? {
                    return Ok(None);
                }
            }
            LeafFate::Unlisted => return Ok(None),
        }
        here.end(end, fate == LeafFate::Drop);
        Ok(Some(Then::On))
    }

    /// The item stays: what waits around it does, and what was removed before it goes.
    #[inline(always)]
    fn keep_here(&mut self, program: &Program, here: &mut Here<'_>, item: &Item, plan: &mut Plan) {
        here.begin(self, item.item);
        if here.waits {
            here.store(self, plan);
            (self.item, self.value) = (here.view.base + item.item, here.view.base + item.value);
            self.keep(plan);
            here.load(self, program);
            return;
        }
        // Of the removed the separator behind goes, unless it is needed.
        let until = if here.kept { here.sep } else { here.view.base + item.item };
        plan.remove(here.gap..until);
        here.kept = true;
    }

    /// A leaf that something is put for. `false` if it is for the walk.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "the leaf and what is at hand")]
    fn put_here(
        &mut self,
        program: &Program,
        here: &mut Here<'_>,
        item: &Item,
        end: usize,
        ruled: Ruled,
        asked: Option<Result<Asked, Bad>>,
        buf: &[u8],
        plan: &mut Plan,
        judge: &mut dyn Judge,
    ) -> Result<bool, Bad> {
        let by = self.decider(program, item.edge, ruled);
        // As in the walk, which sees a number's end by the byte behind it only.
        let number = !ends_itself(here.view.byte(item.value).as_ref());
        let held = end - item.value + usize::from(number);
        let judged = match (item.edge.leaf(), by) {
            (LeafFate::Judge, Some(selection)) if held <= program.limits.value_bytes => Some(selection),
            (LeafFate::Judge, _) => return Ok(false),
            _ => None,
        };
        if asked.is_none() {
            self.count(item.edge, ruled);
        }
        here.begin(self, item.item);
        here.store(self, plan);
        self.top.index += u64::from(!here.first);
        (self.item, self.value) = (here.view.base + item.item, here.view.base + item.value);
        self.stage = Stage::Value;
        match (judged, asked) {
            (_, Some(asked)) => self.judged(asked?, here.view.base + end, plan)?,
            (Some(selection), None) => self.judge(buf, here.view.base + end, selection, plan, judge)?,
            (None, None) => {
                self.put(program, by, plan)?;
                self.drop_to(here.view.base + end, plan);
            }
        }
        here.load(self, program);
        here.index -= u64::from(!here.first);
        Ok(true)
    }

    /// Goes into a container, if there is something to ask in it.
    #[inline(always)]
    fn enter(
        &mut self,
        program: &Program,
        here: &mut Here<'_>,
        item: &Item,
        opener: u8,
        plan: &mut Plan,
    ) -> Result<Option<Then>, Bad> {
        let kind = if opener == b'{' { Kind::Object } else { Kind::Array };
        let edge = item.edge;
        if matches!(edge.container(), ContainerFate::Cut | ContainerFate::Remove | ContainerFate::Pass)
            && here.long != item.value
            && self.skim_here(program, here, item, plan)
        {
            return Ok(Some(Then::On));
        }
        if here.waits || edge.container() != ContainerFate::Show || edge.asks_length() {
            return self.enter_other(program, here, item, kind, plan).map(Some);
        }
        if self.stack.len() >= program.limits.depth {
            return Ok(None);
        }
        self.keep_here(program, here, item, plan);
        if !edge.is_quiet() {
            self.tally.hit(edge, Ruled::Container);
        }
        here.index += u64::from(!here.first);
        // Put together here: a copy of `top` would wait for the stores of its parts.
        self.stack.push(Frame { kept: true, symbol: here.symbol, index: here.index, ..self.top });
        self.top = Frame::new(kind, edge.to());
        self.stage = if kind == Kind::Object { Stage::FirstName } else { Stage::FirstValue };
        here.at = item.value + 1;
        here.opener = opener;
        here.sep = here.view.base + here.at;
        (here.gap, here.first, here.kept, here.index) = (here.sep, true, false, 0);
        Ok(Some(Then::On))
    }

    /// A container that nothing is asked in, if it ends in the stretch.
    #[inline(never)]
    fn skim_here(&mut self, program: &Program, here: &mut Here<'_>, item: &Item, plan: &mut Plan) -> bool {
        let quotes = here.view.next;
        self.skim.restart();
        let room = program.limits.depth.saturating_sub(self.stack.len());
        let end = self.skim.quick(&mut here.view, item.value, room);
        if !self.skim.is_done() {
            here.view.next = quotes;
            return false;
        }
        let stays = item.edge.container() == ContainerFate::Pass;
        if stays {
            self.keep_here(program, here, item, plan);
        } else {
            here.begin(self, item.item);
        }
        if !item.edge.is_quiet() {
            self.tally.hit(item.edge, Ruled::Container);
        }
        here.end(end, !stays);
        true
    }

    /// Any other container.
    #[inline(never)]
    fn enter_other(
        &mut self,
        program: &Program,
        here: &mut Here<'_>,
        item: &Item,
        kind: Kind,
        plan: &mut Plan,
    ) -> Result<Then, Bad> {
        here.begin(self, item.item);
        here.store(self, plan);
        self.top.index += u64::from(!here.first);
        (self.item, self.value) = (here.view.base + item.item, here.view.base + item.value);
        self.stage = Stage::Value;
        let (Flow::Go(at) | Flow::Wait(at)) = self.container(program, self.value, item.edge, kind, plan)?;
        if !matches!(self.stage, Stage::FirstName | Stage::FirstValue) {
            return Ok(Then::Walk(at));
        }
        here.load(self, program);
        // Whether openers wait is asked again at each item; the tightest loop is for where none does.
        (here.at, here.first, here.opener) = (item.value + 1, true, 0);
        Ok(Then::On)
    }

    /// The container ends.
    #[inline(always)]
    fn leave(&mut self, program: &Program, here: &mut Here<'_>, closer: usize, plan: &mut Plan) -> Then {
        if !here.waits && self.stack.len() > 1 {
            plan.remove(here.gap..here.sep);
            here.at = closer + 1;
            here.sep = here.view.base + here.at;
            (here.gap, here.first) = (here.sep, false);
            if let Some(around) = self.stack.pop() {
                (here.kept, here.index, here.symbol) = (around.kept, around.index, around.symbol);
                self.top = around;
            }
            return Then::On;
        }
        here.store(self, plan);
        let end = self.close(here.view.base + closer, plan);
        if self.stage == Stage::End {
            return Then::Walk(end);
        }
        here.load(self, program);
        (here.at, here.first) = (closer + 1, false);
        Then::On
    }
}
