//! What becomes of each value: from the edge that leads to it to what stands in the plan.
//!
//! It decides by `decide` (through `dfa`) alone. It reads no structure but the value's first byte. Start at [`Walker::value`].

use super::FaultKind;
use super::automaton::Program;
use super::decide::{Action, ContainerFate, LeafFate};
use super::dfa::{ChildKey, Edge, Found, State, StateId};
use super::nfa::{Test, takes_index, takes_slice};
use super::region::Region;
use super::scan::{self, Bad, Digits, Token};
use super::skim::Skim;
use super::trace::Line;
use super::walk::{Flow, Frame, Input, Kind, Mode, Stage, Walker};
use super::window::{self, Edit, Judge, Judgement, Leaf, Plan, Put, TraceOutcome};

/// States beside the cache have numbers from here: their level in [`Tally::loose`].
const LOOSE: StateId = 1 << 23;

/// What the walk counts and keeps beside its place.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) counts: Vec<u64>,
    pub(super) matched: Vec<u64>,
    /// Uses of each ruling of each action since the counts were brought up to date, and which are not zero.
    hits: Vec<[u64; 3]>,
    hit: Vec<u32>,
    pub(super) failed: Option<usize>,
    /// Filter steps left.
    steps: u64,
    /// States of open containers that the cache has no room for.
    loose: Vec<State>,
    /// The last edge, where the cache had no room for it.
    found: Option<(Box<Action>, Box<State>)>,
    /// Answers to the tests of a state.
    truth: Vec<u64>,
    /// What the judge writes.
    written: Vec<u8>,
}

impl Tally {
    pub(super) fn new(program: &Program) -> Self {
        let selections = program.selections.len();
        Self {
            counts: vec![0; selections],
            matched: vec![0; selections],
            hits: Vec::new(),
            hit: Vec::new(),
            failed: None,
            steps: program.limits.filter_steps,
            loose: Vec::new(),
            found: None,
            truth: Vec::new(),
            written: Vec::new(),
        }
    }

    /// A ruling of an edge in the cache was used.
    #[inline]
    pub(super) fn hit(&mut self, edge: Edge, ruled: Ruled) {
        let action = edge.action() as usize;
        match self.hits.get_mut(action) {
            Some(hits) => {
                if *hits == [0; 3] {
                    self.hit.push(edge.action());
                }
                if let Some(hits) = hits.get_mut(ruled as usize) {
                    *hits += 1;
                }
            }
            None => {
                self.hits.resize(action + 1, [0; 3]);
                self.hit(edge, ruled);
            }
        }
    }

    /// Brings the counts up to date.
    pub(super) fn settle(&mut self, program: &Program) {
        for number in self.hit.drain(..) {
            let Some(hits) = self.hits.get_mut(number as usize) else { continue };
            let Some(action) = program.machine.action(number) else { continue };
            for (ruled, times) in [Ruled::Leaf, Ruled::Null, Ruled::Container].into_iter().zip(std::mem::take(hits)) {
                if times > 0 {
                    add(&mut self.counts, &mut self.matched, action, ruled, times);
                }
            }
        }
    }
}

/// Which ruling of an action was used.
#[derive(Clone, Copy)]
pub(super) enum Ruled {
    Leaf = 0,
    Null = 1,
    Container = 2,
}

fn add(counts: &mut [u64], matched: &mut [u64], action: &Action, ruled: Ruled, times: u64) {
    for selection in &action.matched {
        if let Some(count) = matched.get_mut(*selection as usize) {
            *count += times;
        }
    }
    let (by, decided) = match ruled {
        Ruled::Leaf => (action.leaf.by, action.leaf.counts),
        Ruled::Null => (action.null.by, action.null.counts),
        Ruled::Container => (action.container.by, action.container.counts),
    };
    if decided && let Some(count) = by.and_then(|by| counts.get_mut(by as usize)) {
        *count += times;
    }
}

/// What leads to a value.
enum Way {
    /// This edge.
    Edge(Edge),
    /// The element has to be held first.
    Probe,
}

impl Walker {
    /// A value begins at `pos`, which is in the buffer.
    #[inline]
    pub(super) fn value(&mut self, program: &Program, buf: &[u8], pos: usize, plan: &mut Plan) -> Result<Flow, Bad> {
        self.value = pos;
        let edge = match self.way(program, buf, pos)? {
            Way::Edge(edge) => edge,
            Way::Probe => {
                self.begin_skim(Mode::Probe);
                return Ok(Flow::Go(pos));
            }
        };
        match buf.get(pos) {
            Some(b'"') => {
                let mode = self.begin_leaf(program, edge, Ruled::Leaf, edge.leaf(), plan)?;
                if self.trace.is_none()
                    && matches!(mode, Mode::Keep | Mode::Drop | Mode::Gone)
                    && let Token::Done(end) = scan::string(buf, pos + 1, false, &mut false)?
                {
                    self.end_leaf(mode, end, plan);
                    return Ok(Flow::Go(end));
                }
                self.begin_skim(mode);
                Ok(Flow::Go(pos))
            }
            Some(b'-' | b'0'..=b'9') => {
                let mode = self.begin_leaf(program, edge, Ruled::Leaf, edge.leaf(), plan)?;
                if self.trace.is_none()
                    && matches!(mode, Mode::Keep | Mode::Drop | Mode::Gone)
                    && let Token::Done(end) = scan::number(buf, pos, &mut Digits::Start)?
                {
                    self.end_leaf(mode, end, plan);
                    return Ok(Flow::Go(end));
                }
                self.begin_skim(mode);
                Ok(Flow::Go(pos))
            }
            Some(b't' | b'f') => {
                let mode = self.begin_leaf(program, edge, Ruled::Leaf, edge.leaf(), plan)?;
                self.begin_skim(mode);
                Ok(Flow::Go(pos))
            }
            Some(b'n') => {
                let mode = self.begin_leaf(program, edge, Ruled::Null, edge.null(), plan)?;
                self.begin_skim(mode);
                Ok(Flow::Go(pos))
            }
            Some(b'{') => self.container(program, pos, edge, Kind::Object, plan),
            Some(b'[') => self.container(program, pos, edge, Kind::Array, plan),
            _ => scan::bad(FaultKind::Syntax, pos),
        }
    }

    /// The edge to the value at `pos`.
    #[inline]
    fn way(&mut self, program: &Program, buf: &[u8], pos: usize) -> Result<Way, Bad> {
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
        self.long_way(program, buf, pos, child)
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
        self.region.as_ref().is_some_and(|region| region.covers(pos))
    }

    /// The edge to the value at `pos`, where it has to be found or tests are asked.
    #[cold]
    fn long_way(&mut self, program: &Program, buf: &[u8], pos: usize, child: ChildKey) -> Result<Way, Bad> {
        let machine = &program.machine;
        let mut truth = std::mem::take(&mut self.tally.truth);
        truth.clear();
        let loose = self.top.state.checked_sub(LOOSE);
        let state = match loose {
            Some(level) => self.tally.loose.get(level as usize),
            None => machine.state(self.top.state),
        };
        let Some(state) = state else { return scan::bad(FaultKind::Rule, pos) };
        if state.asks_filter && !self.is_held(pos) {
            self.tally.truth = truth;
            return Ok(Way::Probe);
        }
        truth.resize(state.truth_words(), 0);
        for (n, number) in state.tests.iter().enumerate() {
            let holds = match (machine.nfa.tests().get(*number as usize), self.top.kind) {
                (Some(Test::Index(wanted)), Kind::Array) => takes_index(*wanted, self.top.index, self.top.len),
                (Some(Test::Slice { start, end, step }), Kind::Array) => {
                    takes_slice(*start, *end, *step, self.top.index, self.top.len)
                }
                (Some(Test::Filter(filter)), _) => {
                    let node = self.region.as_ref().and_then(|region| Some((region, region.node(pos)?)));
                    let Some((region, node)) = node else { return scan::bad(FaultKind::Rule, pos) };
                    let answer = region.holds(buf, filter, node, &mut self.tally.steps);
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

    /// Counts a decision.
    #[inline]
    fn count(&mut self, edge: Edge, ruled: Ruled) {
        if edge.is_loose() {
            if let Some((action, _)) = &self.tally.found {
                add(&mut self.tally.counts, &mut self.tally.matched, action, ruled, 1);
            }
        } else if !edge.is_quiet() {
            self.tally.hit(edge, ruled);
        }
    }

    /// The selection that made a decision.
    fn decider(&self, program: &Program, edge: Edge, ruled: Ruled) -> Option<u32> {
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
    fn begin_leaf(
        &mut self,
        program: &Program,
        edge: Edge,
        ruled: Ruled,
        fate: LeafFate,
        plan: &mut Plan,
    ) -> Result<Mode, Bad> {
        self.count(edge, ruled);
        let asks = self.trace.is_some() || matches!(fate, LeafFate::Put | LeafFate::Judge);
        let by = if asks { self.decider(program, edge, ruled) } else { None };
        if let Some(trace) = &mut self.trace {
            trace.decided = by;
        }
        match fate {
            LeafFate::Keep => {
                self.keep(plan);
                Ok(Mode::Keep)
            }
            LeafFate::Drop => Ok(Mode::Drop),
            LeafFate::Put => {
                self.put(program, by, plan);
                Ok(Mode::Gone)
            }
            LeafFate::Judge => match by {
                Some(selection) => Ok(Mode::Hold { selection }),
                None => scan::bad(FaultKind::Rule, self.value),
            },
            LeafFate::Unlisted => scan::bad(FaultKind::Unlisted, self.value),
        }
    }

    /// The current item stays, so what waits around it does.
    #[inline]
    pub(super) fn keep(&mut self, plan: &mut Plan) {
        if let Some(from) = self.pending.from() {
            self.pending.flush(self.item, plan);
            for frame in self.stack.iter_mut().skip(from.saturating_sub(1)) {
                frame.kept = true;
            }
        } else if !self.top.kept {
            plan.remove(self.sep..self.item);
        }
        self.top.kept = true;
        self.sep = self.value;
    }

    /// The current item stays with a constant as its value.
    fn put(&mut self, program: &Program, by: Option<u32>, plan: &mut Plan) {
        self.keep(plan);
        let constant = by.map_or(&b"null"[..], |by| program.constant(by));
        plan.put(self.value, constant);
        if let Some(trace) = &mut self.trace {
            trace.put = Some(constant.to_vec());
        }
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
    fn end_leaf(&mut self, mode: Mode, end: usize, plan: &mut Plan) {
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
        let mut len = None;
        if walks && kind == Kind::Array && edge.asks_length() {
            match self.region.as_ref().filter(|region| region.covers(pos)) {
                Some(region) => len = region.node(pos).map(|node| region.count(node)),
                None => {
                    self.begin_skim(Mode::Probe);
                    return Ok(Flow::Go(pos));
                }
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
                self.begin_skim(Mode::Keep);
                return Ok(Flow::Go(pos));
            }
            ContainerFate::Cut => {
                self.begin_skim(Mode::Drop);
                return Ok(Flow::Go(pos));
            }
            ContainerFate::Remove => {
                self.trace_line(by, TraceOutcome::Dropped, None);
                self.begin_skim(Mode::Drop);
                return Ok(Flow::Go(pos));
            }
            ContainerFate::Put => {
                self.put(program, by, plan);
                let constant = self.trace.as_mut().and_then(|trace| trace.put.take());
                self.trace_line(by, self.outcome_of(program, by), constant);
                self.begin_skim(Mode::Gone);
                return Ok(Flow::Go(pos));
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

    /// The innermost container closes: if its state was beside the cache, that goes.
    pub(super) fn drop_loose(&mut self) {
        if self.top.state >= LOOSE && self.top.kind != Kind::Root {
            self.tally.loose.pop();
        }
    }

    /// Goes on over a value that is not walked.
    pub(super) fn skim_on(
        &mut self,
        program: &Program,
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
        let end = match self.skim.run(within, pos, limits.depth.saturating_sub(self.stack.len()))? {
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
                let region = Region::new(input.buf, self.value..end);
                self.region = Some(region.map_err(|kind| Bad { kind, at: self.value })?);
                self.stage = Stage::Value;
                return Ok(Flow::Go(self.value));
            }
            Mode::Hold { selection } => self.judge(input.buf, end, selection, plan, judge)?,
            mode => {
                if self.trace.is_some() {
                    self.trace_leaf(program, input.buf, mode, end);
                }
                self.end_leaf(mode, end, plan);
            }
        }
        Ok(Flow::Go(end))
    }

    /// Gives a held leaf to the judge.
    fn judge(
        &mut self,
        buf: &[u8],
        end: usize,
        selection: u32,
        plan: &mut Plan,
        judge: &mut dyn Judge,
    ) -> Result<(), Bad> {
        let raw = buf.get(self.value..end).unwrap_or_default();
        let kind = kind_of(raw).unwrap_or(window::Kind::String);
        let mut written = std::mem::take(&mut self.tally.written);
        written.clear();
        let mut judgement = judge.judge(Leaf { selection: selection as usize, kind, raw }, &mut written);
        if judgement == Judgement::Put && !is_json(&written) {
            judgement = Judgement::Refuse;
        }
        let mut mode = Mode::Gone;
        let (outcome, put) = match judgement {
            Judgement::Put => {
                self.keep(plan);
                plan.put(self.value, &written);
                (TraceOutcome::Transformed, self.trace.is_some().then(|| written.clone()))
            }
            Judgement::Later => {
                self.keep(plan);
                let put = Put::Later { selection: selection as usize, kind };
                plan.edits.push(Edit { range: self.value..end, put });
                self.sep = end;
                (TraceOutcome::Transformed, None)
            }
            Judgement::Pass => {
                self.keep(plan);
                mode = Mode::Keep;
                (TraceOutcome::Kept, None)
            }
            Judgement::Drop => {
                mode = Mode::Drop;
                (TraceOutcome::Dropped, None)
            }
            Judgement::Refuse => {
                self.tally.failed = Some(selection as usize);
                return scan::bad(FaultKind::Rule, self.value);
            }
        };
        self.tally.written = written;
        if let Some(trace) = &mut self.trace {
            let line = Line { kind: Some(kind), by: Some(selection), outcome, put };
            trace.leaf(&self.stack, &self.top, line);
        }
        self.end_leaf(mode, end, plan);
        Ok(())
    }

    /// A line for the leaf that ends at `end`.
    fn trace_leaf(&mut self, program: &Program, buf: &[u8], mode: Mode, end: usize) {
        let raw = buf.get(self.value..end).unwrap_or_default();
        if matches!(raw.first(), Some(b'{' | b'[')) {
            // Its line stands already.
            return;
        }
        let Some(trace) = &mut self.trace else { return };
        let (by, put) = (trace.decided.take(), trace.put.take());
        let outcome = match mode {
            Mode::Keep => TraceOutcome::Kept,
            Mode::Gone => self.outcome_of(program, by),
            _ => TraceOutcome::Dropped,
        };
        let line = Line { kind: kind_of(raw), by, outcome, put };
        if let Some(trace) = &mut self.trace {
            trace.leaf(&self.stack, &self.top, line);
        }
    }

    fn trace_line(&mut self, by: Option<u32>, outcome: TraceOutcome, put: Option<Vec<u8>>) {
        if let Some(trace) = &mut self.trace {
            trace.leaf(&self.stack, &self.top, Line { kind: None, by, outcome, put });
        }
    }

    fn outcome_of(&self, program: &Program, by: Option<u32>) -> TraceOutcome {
        use super::automaton::Verb;
        match by.and_then(|by| program.selections.get(by as usize)).map(|s| &s.verb) {
            Some(Verb::Replace(_)) => TraceOutcome::Replaced,
            _ => TraceOutcome::Null,
        }
    }
}

/// The kind of a leaf by its first byte; `None` for null and containers.
fn kind_of(raw: &[u8]) -> Option<window::Kind> {
    match raw.first() {
        Some(b'"') => Some(window::Kind::String),
        Some(b't') => Some(window::Kind::True),
        Some(b'f') => Some(window::Kind::False),
        Some(b'-' | b'0'..=b'9') => Some(window::Kind::Number),
        _ => None,
    }
}

/// Are these bytes one JSON value, with nothing around it but white space?
pub(super) fn is_json(bytes: &[u8]) -> bool {
    /// Deep enough for any constant.
    const DEPTH: usize = 128;
    if simdutf8::basic::from_utf8(bytes).is_err() {
        return false;
    }
    let mut skim = Skim::new();
    match skim.run(bytes, 0, DEPTH) {
        Ok(Token::Done(end)) => scan::blank(bytes, end) == bytes.len(),
        Ok(Token::More(_)) => skim.is_whole_at_end(),
        Err(_) => false,
    }
}
