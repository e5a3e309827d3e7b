//! What becomes of each value: from the edge that leads to it to what stands in the plan.
//!
//! It decides by `decide` (through `dfa`) alone. It reads no structure but the value's first byte. Start at [`Walker::value`].

use super::FaultKind;
use super::automaton::Program;
use super::decide::{ContainerFate, LeafFate};
use super::dfa::{ChildKey, Edge, Found, State, StateId};
use super::marks::Marks;
use super::nfa::{Test, takes_index, takes_slice};
use super::scan::{self, Bad, Digits, Token};
use super::scout::{Scout, Seen};
use super::tally::{Ruled, add};
use super::walk::{Flow, Frame, Input, Kind, Mode, Stage, Walker};
use super::window::{Judge, Plan};

/// States beside the cache have numbers from here: their level in `Tally::loose`.
const LOOSE: StateId = 1 << 23;

/// What leads to a value.
enum Way {
    /// This edge.
    Edge(Edge),
    /// The element has to be held first.
    Probe,
    /// More bytes have to be seen first.
    Wait,
}

impl Walker {
    /// A value begins at `pos`, which is in the buffer.
    #[inline]
    pub(super) fn value(
        &mut self,
        program: &Program,
        marks: &mut Marks,
        buf: &[u8],
        pos: usize,
        plan: &mut Plan,
    ) -> Result<Flow, Bad> {
        self.value = pos;
        let edge = match self.way(program, marks, buf, pos)? {
            Way::Edge(edge) => edge,
            Way::Probe => {
                self.begin_skim(Mode::Probe);
                return Ok(Flow::Go(pos));
            }
            Way::Wait => {
                self.stage = Stage::Value;
                return Ok(Flow::Wait(pos));
            }
        };
        match buf.get(pos) {
            Some(b'{') => self.container(program, pos, edge, Kind::Object, plan),
            Some(b'[') => self.container(program, pos, edge, Kind::Array, plan),
            Some(first @ (b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')) => {
                let mode = self.begin_leaf(program, edge, *first, plan)?;
                let whole = match (mode, first) {
                    (Mode::Hold { .. }, _) => Token::More(pos),
                    (_, b'"') => scan::string(buf, pos + 1, false, &mut false)?,
                    (_, b't' | b'f' | b'n') => scan::literal(buf, pos)?,
                    _ => scan::number(buf, pos, &mut Digits::Start)?,
                };
                if let Token::Done(end) = whole {
                    self.end_leaf(mode, end, plan);
                    return Ok(Flow::Go(end));
                }
                self.begin_skim(mode);
                Ok(Flow::Go(pos))
            }
            _ => scan::bad(FaultKind::Syntax, pos),
        }
    }

    /// The edge to the value at `pos`.
    #[inline]
    fn way(&mut self, program: &Program, marks: &mut Marks, buf: &[u8], pos: usize) -> Result<Way, Bad> {
        let machine = &program.machine;
        let child = match self.top.kind {
            Kind::Object => ChildKey::Member(self.top.symbol),
            Kind::Array => ChildKey::Element,
            Kind::Root => return self.root_way(program, pos),
        };
        if let Some(state) = machine.state(self.top.state)
            && state.tests.is_empty()
            && let Some(edge) = machine.known(state, child)
        {
            return Ok(Way::Edge(edge));
        }
        self.long_way(program, marks, buf, pos, child)
    }

    fn root_way(&self, program: &Program, pos: usize) -> Result<Way, Bad> {
        if program.holds_body && !self.is_held(pos) {
            return Ok(Way::Probe);
        }
        match program.machine.root(&program.selections) {
            Some(edge) => Ok(Way::Edge(edge)),
            None => scan::bad(FaultKind::Rule, pos),
        }
    }

    fn is_held(&self, pos: usize) -> bool {
        self.region.covers(pos)
    }

    /// The edge to the value at `pos`, where it has to be found or tests are asked.
    #[cold]
    fn long_way(
        &mut self,
        program: &Program,
        marks: &mut Marks,
        buf: &[u8],
        pos: usize,
        child: ChildKey,
    ) -> Result<Way, Bad> {
        let machine = &program.machine;
        let Some(len) = self.length(program, buf, pos)? else { return Ok(Way::Wait) };
        let mut truth = std::mem::take(&mut self.tally.truth);
        truth.clear();
        let loose = self.top.state.checked_sub(LOOSE);
        let state = match loose {
            Some(level) => self.tally.loose.get(level as usize),
            None => machine.state(self.top.state),
        };
        let Some(state) = state else { return scan::bad(FaultKind::Rule, pos) };
        if state.asks_filter && !self.region.covers(pos) {
            // If all of it is here, it is read and laid out at once. A number's end shows only by what comes behind it.
            let within = buf.get(..pos.saturating_add(program.limits.element_bytes)).unwrap_or(buf);
            let room = program.limits.depth.saturating_sub(self.stack.len());
            let held = self.region.hold(marks, within, pos, room, state.reads.as_deref());
            if !held || self.region.end(pos) == Some(within.len()) && !ends_itself(buf.get(pos)) {
                self.region.clear();
                self.tally.truth = truth;
                return Ok(Way::Probe);
            }
            self.tally.steps = self.tally.steps.saturating_add(self.region.len() as u64);
        }
        truth.resize(state.truth_words(), 0);
        for (n, number) in state.tests.iter().enumerate() {
            let holds = match (machine.nfa.tests().get(*number as usize), self.top.kind) {
                (Some(Test::Index(wanted)), Kind::Array) => takes_index(*wanted, self.top.index, len),
                (Some(Test::Slice { start, end, step }), Kind::Array) => {
                    takes_slice(*start, *end, *step, self.top.index, len)
                }
                (Some(Test::Filter(filter)), _) => {
                    let Some(node) = self.region.node(pos) else { return scan::bad(FaultKind::Rule, pos) };
                    let answer = self.region.holds(buf, filter, node, &mut self.tally.steps);
                    answer.map_err(|kind| Bad { kind, at: pos })?
                }
                _ => false,
            };
            if holds && let Some(word) = truth.get_mut(n / 64) {
                *word |= 1 << (n % 64);
            }
        }
        let found = machine.child(&program.selections, state, child, &truth);
        self.tally.truth = truth;
        Ok(Way::Edge(match found {
            Found::Edge(edge) => edge,
            Found::Loose(action, state) => {
                let edge = Edge::loose(&action, &state);
                self.tally.found = Some((action, state));
                edge
            }
        }))
    }

    /// The current array's length, as far as tests need it. `None` where more bytes have to be seen.
    fn length(&mut self, program: &Program, buf: &[u8], pos: usize) -> Result<Option<Option<u64>>, Bad> {
        if self.top.len != Frame::SCOUTED {
            return Ok(Some(self.top.elements()));
        }
        let Some(scout) = self.scouts.last_mut() else { return scan::bad(FaultKind::Rule, pos) };
        let bound = pos.saturating_add(program.limits.element_bytes);
        let within = buf.get(..bound).unwrap_or(buf);
        let room = program.limits.depth.saturating_sub(self.stack.len());
        match scout.look(within, pos, self.top.index, room) {
            Ok(Seen::Length(len)) => Ok(Some(Some(len))),
            Ok(Seen::More) if buf.len() >= bound => scan::bad(FaultKind::ElementTooLong, pos),
            Ok(Seen::More) => Ok(None),
            Err(bad) => {
                // The place is the one that was looked at.
                if let Some(scout) = self.scouts.pop() {
                    (self.top.index, self.skim) = scout.place();
                    self.stage = Stage::Skim;
                }
                Err(bad)
            }
        }
    }

    /// Counts a decision.
    #[inline]
    pub(super) fn count(&mut self, edge: Edge, ruled: Ruled) {
        if edge.is_loose() {
            if let Some((action, _)) = &self.tally.found {
                add(&mut self.tally.counts, &mut self.tally.matched, action, ruled, 1);
            }
        } else if !edge.is_quiet() {
            self.tally.hit(edge, ruled);
        }
    }

    /// The selection that made a decision.
    pub(super) fn decider(&self, program: &Program, edge: Edge, ruled: Ruled) -> Option<u32> {
        let action = match &self.tally.found {
            Some((action, _)) if edge.is_loose() => Some(&**action),
            _ => program.machine.action(edge.action()),
        }?;
        match ruled {
            Ruled::Leaf => action.leaf.by,
            Ruled::Null => action.null.by,
            Ruled::Container => action.container.by,
        }
    }

    /// Decides a leaf at its first byte.
    #[inline]
    fn begin_leaf(&mut self, program: &Program, edge: Edge, first: u8, plan: &mut Plan) -> Result<Mode, Bad> {
        let (ruled, fate) = if first == b'n' { (Ruled::Null, edge.null()) } else { (Ruled::Leaf, edge.leaf()) };
        self.count(edge, ruled);
        let asks = self.trace.is_some() || matches!(fate, LeafFate::Put | LeafFate::Judge);
        let by = if asks { self.decider(program, edge, ruled) } else { None };
        let mode = match fate {
            LeafFate::Keep => {
                self.keep(plan);
                Mode::Keep
            }
            LeafFate::Drop => Mode::Drop,
            LeafFate::Put => {
                self.put(program, by, plan)?;
                Mode::Gone
            }
            LeafFate::Judge => match by {
                Some(selection) => Mode::Hold { selection },
                None => return scan::bad(FaultKind::Rule, self.value),
            },
            LeafFate::Unlisted => return scan::bad(FaultKind::Unlisted, self.value),
        };
        if self.trace.is_some() {
            self.trace_begun(program, by, first, mode);
        }
        Ok(mode)
    }

    /// The current item stays, so what waits around it does.
    #[inline]
    pub(super) fn keep(&mut self, plan: &mut Plan) {
        if self.pending.is_active() {
            self.appear(plan);
        } else if !self.top.kept {
            plan.remove(self.sep..self.item);
        }
        self.top.kept = true;
        self.sep = self.value;
    }

    /// What waits around the current item appears.
    pub(super) fn appear(&mut self, plan: &mut Plan) {
        if let Some(from) = self.pending.from() {
            self.pending.flush(self.item, plan);
            for frame in self.stack.iter_mut().skip(from.saturating_sub(1)) {
                frame.kept = true;
            }
        }
    }

    /// The current item stays with a constant as its value.
    pub(super) fn put(&mut self, program: &Program, by: Option<u32>, plan: &mut Plan) -> Result<(), Bad> {
        let constant = by.map_or(&b"null"[..], |by| program.constant(by));
        // How long the value is shows only later.
        self.tally.grow(constant.len(), 0).map_err(|kind| Bad { kind, at: self.value })?;
        self.keep(plan);
        plan.put(self.value, constant);
        Ok(())
    }

    fn begin_skim(&mut self, mode: Mode) {
        self.mode = mode;
        self.skim.restart();
        self.stage = Stage::Skim;
    }

    /// What was removed up to `end`.
    #[inline]
    pub(super) fn drop_to(&mut self, end: usize, plan: &mut Plan) {
        // What waits has a gap there by itself.
        if !self.pending.is_active() {
            plan.remove(self.sep..end);
        }
        self.sep = end;
    }

    #[inline]
    pub(super) fn end_leaf(&mut self, mode: Mode, end: usize, plan: &mut Plan) {
        match mode {
            Mode::Drop | Mode::Gone => self.drop_to(end, plan),
            _ => self.sep = end,
        }
        self.end_value(end, mode == Mode::Drop, plan);
    }

    pub(super) fn container(
        &mut self,
        program: &Program,
        pos: usize,
        edge: Edge,
        kind: Kind,
        plan: &mut Plan,
    ) -> Result<Flow, Bad> {
        let mut fate = edge.container();
        if let Some(trace) = &mut self.trace {
            fate = trace.walked(fate, self.stack.len() + 1);
        }
        let walks = matches!(fate, ContainerFate::Show | ContainerFate::Wait | ContainerFate::Sink);
        let mut len = Frame::UNKNOWN;
        if walks && kind == Kind::Array && edge.asks_length() {
            let reach = self.child_state(program, edge).and_then(|state| state.reach);
            if self.region.covers(pos) {
                len = self.region.node(pos).map_or(Frame::UNKNOWN, |node| self.region.count(node));
            } else if let Some(reach) = reach {
                len = Frame::SCOUTED;
                self.scouts.push(Scout::new(reach));
            } else {
                self.begin_skim(Mode::Probe);
                return Ok(Flow::Go(pos));
            }
        }
        self.count(edge, Ruled::Container);
        let asks = matches!(fate, ContainerFate::Put | ContainerFate::Remove);
        let by = if asks { self.decider(program, edge, Ruled::Container) } else { None };
        let (level, item) = (self.stack.len() + 1, self.item);
        let mut frame = Frame { len, ..Frame::new(kind, edge.to()) };
        match fate {
            ContainerFate::Pass => {
                self.keep(plan);
                return Ok(self.pass_over(pos, Mode::Keep, plan));
            }
            ContainerFate::Cut => return Ok(self.pass_over(pos, Mode::Drop, plan)),
            ContainerFate::Remove => {
                self.trace_begun(program, by, b'{', Mode::Drop);
                return Ok(self.pass_over(pos, Mode::Drop, plan));
            }
            ContainerFate::Put => {
                self.put(program, by, plan)?;
                self.trace_begun(program, by, b'{', Mode::Gone);
                return Ok(self.pass_over(pos, Mode::Gone, plan));
            }
            ContainerFate::Unlisted => return scan::bad(FaultKind::Unlisted, pos),
            ContainerFate::Show => self.keep(plan),
            ContainerFate::Wait => {
                frame.mark = self.pending.open(level, self.sep);
                self.pending.add(if self.top.kept { self.sep } else { item }..pos + 1);
                if self.pending.bytes() > program.limits.name_bytes {
                    return scan::bad(FaultKind::NameTooLong, item);
                }
            }
            ContainerFate::Sink => frame.mark = self.pending.open(level, self.sep),
        }
        if edge.is_loose() {
            // Depth bounds how many there are.
            frame.state = LOOSE + u32::try_from(self.tally.loose.len()).unwrap_or(0);
            self.tally.loose.extend(self.tally.found.take().map(|(_, state)| *state));
        }
        self.push(program, pos, frame).map(Flow::Go)
    }

    /// The state that an edge leads to.
    fn child_state<'a>(&'a self, program: &'a Program, edge: Edge) -> Option<&'a State> {
        match &self.tally.found {
            Some((_, state)) if edge.is_loose() => Some(state),
            _ => program.machine.state(edge.to()),
        }
    }

    /// Goes over a container that is not walked: at once, if it was held and so its end is known.
    fn pass_over(&mut self, pos: usize, mode: Mode, plan: &mut Plan) -> Flow {
        match self.region.end(pos) {
            Some(end) => {
                self.end_leaf(mode, end, plan);
                Flow::Go(end)
            }
            None => {
                self.begin_skim(mode);
                Flow::Go(pos)
            }
        }
    }

    /// The innermost container closes: its scout goes, and its state if that was beside the cache.
    pub(super) fn drop_loose(&mut self) {
        if self.top.len == Frame::SCOUTED {
            self.scouts.pop();
        }
        if self.top.state >= LOOSE && self.top.kind != Kind::Root {
            self.tally.loose.pop();
        }
    }

    /// Goes on over a value that is not walked.
    pub(super) fn skim_on(
        &mut self,
        program: &Program,
        marks: &mut Marks,
        input: Input<'_>,
        pos: usize,
        plan: &mut Plan,
        judge: &mut dyn Judge,
    ) -> Result<Flow, Bad> {
        let limits = &program.limits;
        let bound = match self.mode {
            Mode::Hold { .. } => self.value.saturating_add(limits.value_bytes),
            Mode::Probe => self.value.saturating_add(limits.element_bytes),
            _ => usize::MAX,
        };
        let within = input.buf.get(..bound).unwrap_or(input.buf);
        let end = match self.skim.run(marks, within, pos, limits.depth.saturating_sub(self.stack.len()))? {
            Token::Done(end) => end,
            Token::More(_) if input.buf.len() >= bound => {
                let hold = matches!(self.mode, Mode::Hold { .. });
                let kind = if hold { FaultKind::ValueTooLong } else { FaultKind::ElementTooLong };
                return scan::bad(kind, self.value);
            }
            Token::More(at) if input.end && self.skim.is_whole_at_end() => at,
            Token::More(at) => {
                match self.mode {
                    Mode::Keep => self.sep = at,
                    Mode::Drop | Mode::Gone => self.drop_to(at, plan),
                    Mode::Hold { .. } | Mode::Probe => {}
                }
                return Ok(Flow::Wait(at));
            }
        };
        match self.mode {
            Mode::Probe => {
                let state = match self.top.state.checked_sub(LOOSE) {
                    Some(level) => self.tally.loose.get(level as usize),
                    None => program.machine.state(self.top.state),
                };
                let state = state.filter(|state| state.asks_filter && self.top.kind != Kind::Root);
                let reads = state.and_then(|state| state.reads.as_deref());
                let held = input.buf.get(..end).unwrap_or_default();
                if !self.region.hold(marks, held, self.value, limits.depth, reads) {
                    return scan::bad(FaultKind::Rule, self.value);
                }
                self.tally.steps = self.tally.steps.saturating_add(self.region.len() as u64);
                self.stage = Stage::Value;
                return Ok(Flow::Go(self.value));
            }
            Mode::Hold { selection } => self.judge(input.buf, end, selection, plan, judge)?,
            mode => self.end_leaf(mode, end, plan),
        }
        Ok(Flow::Go(end))
    }
}

/// Does a value that begins so show by itself where it ends?
pub(super) fn ends_itself(first: Option<&u8>) -> bool {
    !matches!(first, Some(b'-' | b'0'..=b'9'))
}
