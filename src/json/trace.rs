//! What `explain` prints: a line for each leaf, with full names.
//!
//! A traced walk looks into everything, also where a plain one copies or cuts a container as a whole; what leaves is the
//! same. Start at [`Trace::leaf`].

use super::decide::ContainerFate;
use super::location;
use super::walk::{Frame, Kind};
use super::window::{self, TraceLine, TraceOutcome};

#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) lines: Vec<TraceLine>,
    /// The current name at each level.
    names: Vec<String>,
    /// The level of the outermost container that a plain walk would not look into.
    beyond: Option<usize>,
}

/// A line without its place.
pub(super) struct Line {
    pub(super) kind: Option<window::Kind>,
    pub(super) by: Option<u32>,
    pub(super) outcome: TraceOutcome,
    pub(super) put: Option<Vec<u8>>,
}

impl Trace {
    /// The name of the current member at a level.
    pub(super) fn name(&mut self, level: usize, name: &str) {
        if self.names.len() <= level {
            self.names.resize(level + 1, String::new());
        }
        if let Some(place) = self.names.get_mut(level) {
            name.clone_into(place);
        }
    }

    /// What is looked into although it need not be. `level` is the container's.
    pub(super) fn walked(&mut self, fate: ContainerFate, level: usize) -> ContainerFate {
        let walked = match fate {
            ContainerFate::Pass => ContainerFate::Show,
            ContainerFate::Cut => ContainerFate::Sink,
            other => return other,
        };
        self.beyond.get_or_insert(level);
        walked
    }

    /// The container at a level closes.
    pub(super) fn close(&mut self, level: usize) {
        self.beyond = self.beyond.filter(|beyond| *beyond < level);
    }

    /// Is this a place that only a traced walk looks into? Then nothing is held back there.
    pub(super) fn is_beyond(&self) -> bool {
        self.beyond.is_some()
    }

    /// A line for the current place.
    pub(super) fn leaf(&mut self, stack: &[Frame], top: &Frame, line: Line) {
        let location = self.location(stack.iter().chain(std::iter::once(top)));
        let selection = line.by.map(|by| by as usize);
        self.lines.push(TraceLine { location, kind: line.kind, selection, outcome: line.outcome, put: line.put });
    }

    /// A line for the container that closes with nothing in it.
    pub(super) fn empty(&mut self, stack: &[Frame], waits: bool) {
        let location = self.location(stack.iter());
        let outcome = if waits { TraceOutcome::Dropped } else { TraceOutcome::Kept };
        self.lines.push(TraceLine { location, kind: None, selection: None, outcome, put: None });
    }

    fn location<'a>(&self, frames: impl Iterator<Item = &'a Frame>) -> String {
        let mut out = String::from("$");
        for (level, frame) in frames.enumerate() {
            match frame.kind {
                Kind::Root => {}
                Kind::Object => location::push_name(&mut out, self.names.get(level).map_or("", String::as_str)),
                Kind::Array => location::push_index(&mut out, frame.index),
            }
        }
        out
    }
}
