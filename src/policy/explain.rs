//! A document in, a line per leaf out: where, by which rule, what leaves.
//!
//! Runs the very program that traffic runs, with a [`Judge`] that the caller brings. The lines hold values of the document: they
//! are for the one who owns it, never for a log. Start at [`explain`].

use std::collections::{HashMap, VecDeque};

use crate::json::Fault;
use crate::json::tape::{NodeId, NodeKind, Tape};
use crate::json::text;
use crate::json::window::{Judge, Rewriter, TraceOutcome};

use super::compile::{Asker, CompiledLeg};

/// One leaf, or a container that was decided as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// A normalised path (RFC 9535, section 2.7).
    pub location: String,
    /// Who decided; `None` where the leg's default did.
    pub asker: Option<Asker>,
    /// What became of it.
    pub outcome: TraceOutcome,
    /// The JSON that leaves, where something does and it is known.
    pub leaves: Option<String>,
}

/// Explains one document. `judge` must not answer `Later`: nobody resolves it here.
///
/// # Errors
/// Why the document is refused.
pub fn explain(leg: &CompiledLeg, document: &[u8], judge: &mut dyn Judge) -> Result<Vec<Line>, Fault> {
    let Some(program) = &leg.program else { return Ok(Vec::new()) };
    let mut rewriter = Rewriter::traced(program.clone());
    let mut sink = Vec::new();
    rewriter.feed(document, judge)?;
    let _ = rewriter.splice(std::iter::empty(), &mut sink);
    rewriter.finish(judge)?;
    let _ = rewriter.splice(std::iter::empty(), &mut sink);
    let mut leaves = leaves(document);
    let lines = rewriter.take_trace().into_iter().map(|line| {
        let original = leaves.get_mut(&line.location).and_then(VecDeque::pop_front);
        let leaves = match line.outcome {
            TraceOutcome::Kept => original,
            TraceOutcome::Dropped => None,
            TraceOutcome::Null => Some("null".to_owned()),
            TraceOutcome::Replaced | TraceOutcome::Transformed => {
                line.put.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            }
        };
        let asker = line.selection.and_then(|selection| leg.askers.get(selection)).copied();
        Line { location: line.location, asker, outcome: line.outcome, leaves }
    });
    Ok(lines.collect())
}

/// The spelling of every leaf, by its normalised path; several where a name is doubled.
fn leaves(document: &[u8]) -> HashMap<String, VecDeque<String>> {
    let tape = Tape::build(document);
    let mut found: HashMap<String, VecDeque<String>> = HashMap::new();
    let mut open: Vec<(NodeId, String)> = vec![(Tape::ROOT, "$".to_owned())];
    if tape.is_empty() {
        return found;
    }
    while let Some((node, location)) = open.pop() {
        if !tape.is_container(node) || tape.count(node) == 0 {
            let text = document.get(tape.span(node)).unwrap_or_default();
            found.entry(location).or_default().push_back(String::from_utf8_lossy(text).into_owned());
            continue;
        }
        let array = tape.kind(node) == NodeKind::Array;
        let children: Vec<NodeId> = tape.children(node).collect();
        // Last first, so that the first is taken off next.
        for (index, child) in children.into_iter().enumerate().rev() {
            let step = match tape.name_span(child) {
                Some(name) if !array => normal_name(document.get(name).unwrap_or_default()),
                _ => format!("[{index}]"),
            };
            open.push((child, format!("{location}{step}")));
        }
    }
    found
}

/// `['name']` as RFC 9535, section 2.7, spells it.
fn normal_name(raw: &[u8]) -> String {
    let mut out = String::from("['");
    for char in text::unescape(raw).chars() {
        match char {
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            char if char < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push_str("']");
    out
}
