//! A document in, a line per leaf out: where, by which rule, what leaves.
//!
//! Runs the very program that traffic runs, with stand-ins for values that the caller brings. What is inside a string has lines of its
//! own. The lines hold values of the document: they are for the one who owns it, never for a log. Start at [`explain`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::frames::events::{Events, Field, Step};
use crate::frames::form::{self, Pairs};
use crate::frames::lines::{Lines, Piece};
use crate::frames::parts::{self, Parts};
use crate::ids::RuleId;
use crate::json::automaton::Otherwise;
use crate::json::patch::{self, Patch};
use crate::json::tape::{NodeId, NodeKind, Tape};
use crate::json::text;
use crate::json::window::{Judge, Judgement, Kind, Leaf, Rewriter, TraceLine, TraceOutcome};

use super::compile::{Asker, CompiledLeg};
use super::inside::coding::Coding;
use super::inside::form::{Fate, Stopped, rewrite as rewrite_form};
use super::inside::{Fault, Inside, rewrite};
use super::rule::{Action, BodyKind, Leg, Locator};

/// One leaf, or a container that was decided as a whole.
#[derive(Clone, Debug)]
pub struct Line {
    /// A normalised path (RFC 9535, section 2.7); inside a string, behind the string's and ` > `.
    pub location: String,
    /// The leg, or the rules inside the string.
    pub leg: Arc<Leg>,
    /// Who of it decided; `None` where its default did.
    pub asker: Option<Asker>,
    /// What became of it.
    pub outcome: TraceOutcome,
    /// The JSON that leaves, where something does and it is known.
    pub leaves: Option<String>,
}

/// Stands in for what keys would make of a leaf that a rule of the leg transforms. Must not answer `Later`: nobody resolves it here.
pub type StandIn<'a> = dyn FnMut(&CompiledLeg, Leaf<'_>, &mut Vec<u8>) -> Judgement + 'a;

/// What becomes of a body.
#[derive(Debug, Default)]
pub struct Explained {
    /// In its order; of a body of several documents, those before a fault.
    pub lines: Vec<Line>,
    /// Why it is refused, or cut off there.
    pub refused: Option<String>,
}

/// Explains one body.
pub fn explain(leg: &CompiledLeg, body: &[u8], stand_in: &mut StandIn<'_>) -> Explained {
    let mut explained = Explained::default();
    let done = match leg.leg.body {
        BodyKind::Multipart => parts(leg, body, stand_in, &mut explained.lines),
        BodyKind::Form => form(leg, body, stand_in, &mut explained.lines),
        BodyKind::Sse => events(leg, body, stand_in, &mut explained.lines),
        BodyKind::Ndjson => records(leg, body, stand_in, &mut explained.lines),
        _ => document(leg, body, stand_in, "", &mut explained.lines),
    };
    explained.refused = done.err();
    explained
}

/// Record by record, as traffic reads them.
fn records(leg: &CompiledLeg, body: &[u8], stand_in: &mut StandIn<'_>, out: &mut Vec<Line>) -> Result<(), String> {
    let (mut lines, mut input, mut number) = (Lines::default(), body, 1_u64);
    // A carriage return apart, all of a record is one piece here.
    while let Some(piece) = lines.next(&mut input).map_err(|fault| format!("{fault}, line {number}"))? {
        match piece {
            Piece::Blank(_) => {}
            Piece::Record(record) => document(leg, record, stand_in, &format!("line {number}: "), out)?,
            Piece::End(_) => number += 1,
        }
    }
    lines.finish().map_err(|fault| format!("{fault}, line {number}"))
}

/// Event by event. What becomes of ids and comments is told by the rules alone.
fn events(leg: &CompiledLeg, body: &[u8], stand_in: &mut StandIn<'_>, out: &mut Vec<Line>) -> Result<(), String> {
    let most = usize::try_from(leg.unit_bytes).unwrap_or(usize::MAX);
    let (mut events, mut input) = (Events::new(most), body);
    let mut number = 0_u64;
    while let Some(step) = events.next(&mut input).map_err(|fault| fault.to_string())? {
        if step != Step::Block {
            continue;
        }
        let of = |field: Field| events.lines().filter(move |line| line.field == field).map(|line| line.value);
        let data: Vec<&str> = of(Field::Data).collect();
        let data = data.join("\n");
        if data.trim().is_empty() {
            continue;
        }
        number += 1;
        let name = of(Field::Event).last().filter(|name| !name.is_empty()).unwrap_or("message");
        let listed = leg.leg.events.as_ref().map_or_else(
            || name == "message" || leg.leg.default == Otherwise::Keep,
            |listed| listed.iter().any(|known| known == name),
        );
        let literal = leg.leg.literals.contains(&data);
        if listed && !literal {
            document(leg, data.as_bytes(), stand_in, &format!("event {number}: "), out)?;
            continue;
        }
        let (outcome, leaves) = if listed { (TraceOutcome::Kept, Some(data)) } else { (TraceOutcome::Dropped, None) };
        let location = format!("event {number} ({name})");
        out.push(Line { location, leg: Arc::clone(&leg.leg), asker: None, outcome, leaves });
    }
    Ok(())
}

/// Pair by pair.
fn form(leg: &CompiledLeg, body: &[u8], stand_in: &mut StandIn<'_>, out: &mut Vec<Line>) -> Result<(), String> {
    let (mut pairs, mut input) = (Pairs::new(body.len()), body);
    let (mut name, mut value) = (String::new(), String::new());
    loop {
        let step = match pairs.next(&mut input) {
            Ok(None) => pairs.finish(),
            step => step,
        };
        match step.map_err(|fault| fault.to_string())? {
            None => return Ok(()),
            Some(form::Step::Name) => {
                pairs.text().clone_into(&mut name);
                value.clear();
            }
            Some(form::Step::Value) => value.push_str(pairs.text()),
            Some(form::Step::End) => pair(leg, &name, &value, stand_in, out)?,
        }
    }
}

/// One pair of a form.
fn pair(
    leg: &CompiledLeg,
    name: &str,
    value: &str,
    stand_in: &mut StandIn<'_>,
    out: &mut Vec<Line>,
) -> Result<(), String> {
    let folded = |rule: &str| leg.leg.default == Otherwise::Keep && text::fold(rule) == text::fold(name);
    let is = |locator: &Locator| matches!(locator, Locator::Form(rule) if *rule == name || folded(rule));
    place(leg, format!("form {name}"), leg.strictest(is), value, stand_in, out)
}

/// Part by part. The boundary is what the first line says.
fn parts(leg: &CompiledLeg, body: &[u8], stand_in: &mut StandIn<'_>, out: &mut Vec<Line>) -> Result<(), String> {
    let first = body.split(|byte| matches!(byte, b'\r' | b'\n')).next().and_then(|line| line.strip_prefix(b"--"));
    let boundary = first.and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let mut parts = Parts::new(boundary.strip_suffix("--").unwrap_or(boundary));
    let mut content = Vec::new();
    parts.feed(body);
    while let Some(step) = parts.advance().map_err(|fault| fault.to_string())? {
        match step {
            parts::Step::Head => content.clear(),
            parts::Step::Content => content.extend_from_slice(parts.content()),
            parts::Step::End => {
                let name = parts.head().name.clone();
                if let Some(part) = leg.part(&name) {
                    document(&part.leg, &content, stand_in, &format!("part {name}: "), out)?;
                    continue;
                }
                let folded = |rule: &str| leg.leg.default == Otherwise::Keep && text::fold(rule) == text::fold(&name);
                let is = |locator: &Locator| matches!(locator, Locator::Part(rule) if *rule == name || folded(rule));
                let value = String::from_utf8_lossy(&content);
                place(leg, format!("part {name}"), leg.strictest(is), &value, stand_in, out)?;
            }
        }
    }
    parts.finish().map_err(|fault| fault.to_string())
}

/// One text outside of documents, and what the rule of its place makes of it.
fn place(
    leg: &CompiledLeg,
    location: String,
    selection: Option<usize>,
    value: &str,
    stand_in: &mut StandIn<'_>,
    out: &mut Vec<Line>,
) -> Result<(), String> {
    let asker = selection.and_then(|selection| leg.asker(selection));
    let mut nest = Nest { leg, stand_in, opened: VecDeque::new(), patches: Vec::new(), refused: None };
    let mut raw = Vec::new();
    text::escape(value, &mut raw);
    let action = match asker {
        Some(Asker::Rule(rule)) => leg.leg.rules.get(rule).map(|rule| &rule.action),
        _ => None,
    };
    let (outcome, leaves) = match (action, selection) {
        (None, None) => match leg.leg.default {
            Otherwise::Keep => (TraceOutcome::Kept, Some(raw)),
            Otherwise::Drop => (TraceOutcome::Dropped, None),
            Otherwise::Refuse => return Err(format!("a field that the policy does not list at {location}")),
        },
        (Some(Action::Keep { .. }), _) => (TraceOutcome::Kept, Some(raw)),
        (Some(Action::Drop | Action::Null), _) => (TraceOutcome::Dropped, None),
        (Some(Action::Replace { with }), _) => (TraceOutcome::Replaced, Some(with.to_vec())),
        (_, selection) => {
            let mut made = Vec::new();
            let leaf = Leaf { selection: selection.unwrap_or(usize::MAX), kind: Kind::String, raw: &raw };
            let judgement = nest.judge(leaf, &mut made);
            if judgement == Judgement::Patch && patch::apply(&raw, &nest.patches, &mut made).is_none() {
                return Err(Fault::Plan.to_string());
            }
            match judgement {
                Judgement::Put | Judgement::Patch => (TraceOutcome::Transformed, Some(made)),
                Judgement::Pass => (TraceOutcome::Kept, Some(raw)),
                Judgement::Drop | Judgement::Later => (TraceOutcome::Dropped, None),
                Judgement::Refuse => {
                    let why = nest.refused.unwrap_or_else(|| "a value that a rule cannot be applied to".to_owned());
                    return Err(format!("{why} at {location}"));
                }
            }
        }
    };
    let leaves = leaves.map(|json| String::from_utf8_lossy(&json).into_owned());
    let inner = nest.opened.into_iter().flatten();
    let inner = inner.map(|inner| Line { location: format!("{location} > {}", inner.location), ..inner });
    let inner: Vec<Line> = inner.collect();
    out.push(Line { location, leg: Arc::clone(&leg.leg), asker, outcome, leaves });
    out.extend(inner);
    Ok(())
}

/// One document. `head` goes before every location.
fn document(
    leg: &CompiledLeg,
    document: &[u8],
    stand_in: &mut StandIn<'_>,
    head: &str,
    out: &mut Vec<Line>,
) -> Result<(), String> {
    let Some(program) = &leg.program else { return Ok(()) };
    let mut rewriter = Rewriter::traced(Arc::clone(program));
    let mut nest = Nest { leg, stand_in, opened: VecDeque::new(), patches: Vec::new(), refused: None };
    let run = rewriter.feed(document, &mut nest).and_then(|()| rewriter.finish(&mut nest));
    let Nest { opened, refused, .. } = nest;
    run.map_err(|fault| format!("{head}{}", refused.unwrap_or_else(|| fault.to_string())))?;
    tell(leg, document, rewriter.take_trace(), opened, head, out);
    Ok(())
}

/// Runs what is inside strings, and leaves other leaves to the stand-in.
struct Nest<'a, 's> {
    leg: &'a CompiledLeg,
    stand_in: &'a mut StandIn<'s>,
    /// The lines of each string that was opened, in order.
    opened: VecDeque<Vec<Line>>,
    patches: Vec<Patch>,
    refused: Option<String>,
}

impl Nest<'_, '_> {
    fn open(&mut self, codings: &[Coding], leg: &CompiledLeg, leaf: &Leaf<'_>) -> Result<Vec<Patch>, String> {
        if leaf.kind != Kind::String {
            return Err("it is no string".to_owned());
        }
        let value = text::unescape(leaf.raw);
        if value.is_empty() {
            self.opened.push_back(Vec::new());
            return Ok(Vec::new());
        }
        let Some(program) = &leg.program else { return self.open_form(codings, leg, leaf.raw, &value) };
        let mut rewriter = Rewriter::traced(Arc::clone(program));
        let opened = VecDeque::new();
        let mut nest = Nest { leg, stand_in: &mut *self.stand_in, opened, patches: Vec::new(), refused: None };
        let patches = rewrite(codings, &value, &mut rewriter, &mut nest);
        let Nest { opened, refused, .. } = nest;
        let patches = patches.map_err(|fault| refused.unwrap_or_else(|| fault.to_string()))?;
        let document = super::inside::unwrap(codings, &value).unwrap_or_default();
        let mut lines = Vec::new();
        tell(leg, &document, rewriter.take_trace(), opened, "", &mut lines);
        self.opened.push_back(lines);
        patch::respell(leaf.raw, &patches).ok_or_else(|| Fault::Plan.to_string())
    }
}

impl Nest<'_, '_> {
    fn open_form(
        &mut self,
        codings: &[Coding],
        leg: &CompiledLeg,
        raw: &[u8],
        value: &str,
    ) -> Result<Vec<Patch>, String> {
        let mut lines = Vec::new();
        let patches = rewrite_form(codings, value, |found| {
            let first = lines.len();
            pair(leg, &found.name, &found.value, self.stand_in, &mut lines)?;
            let line: Option<&Line> = lines.get(first);
            Ok(match line.map(|line| (line.outcome, &line.leaves)) {
                Some((TraceOutcome::Kept, _)) => Fate::Keep,
                Some((_, Some(leaves))) if leaves.starts_with('"') => {
                    Fate::New(text::unescape(leaves.as_bytes()).into_owned())
                }
                Some((_, Some(leaves))) => Fate::New(leaves.clone()),
                _ => Fate::Drop,
            })
        });
        let patches = patches.map_err(|stopped| match stopped {
            Stopped::Fault(fault) => fault.to_string(),
            Stopped::Refused(why) => why,
        })?;
        self.opened.push_back(lines);
        patch::respell(raw, &patches).ok_or_else(|| Fault::Plan.to_string())
    }
}

impl Judge for Nest<'_, '_> {
    fn judge(&mut self, leaf: Leaf<'_>, out: &mut Vec<u8>) -> Judgement {
        let Some((rule, inside, leg)) = opening(self.leg, leaf.selection) else {
            return (self.stand_in)(self.leg, leaf, out);
        };
        match self.open(&inside.codings, leg, &leaf) {
            Ok(patches) if patches.is_empty() => Judgement::Pass,
            Ok(patches) => {
                self.patches = patches;
                Judgement::Patch
            }
            Err(why) => {
                self.refused = Some(format!("rule `{rule}` cannot open a string: {why}"));
                Judgement::Refuse
            }
        }
    }

    fn patches(&mut self) -> Vec<Patch> {
        std::mem::take(&mut self.patches)
    }
}

/// The rule that opens strings, if it is one that asked for a selection.
fn opening(leg: &CompiledLeg, selection: usize) -> Option<(RuleId, &Inside, &CompiledLeg)> {
    let Some(Asker::Rule(index)) = leg.asker(selection) else { return None };
    let rule = leg.leg.rules.get(index)?;
    Some((rule.id.clone(), rule.inside()?, leg.inside.get(&index)?))
}

/// Adds the lines of a run, each followed by those of the string that it opened.
fn tell(
    leg: &CompiledLeg,
    document: &[u8],
    trace: Vec<TraceLine>,
    mut opened: VecDeque<Vec<Line>>,
    head: &str,
    lines: &mut Vec<Line>,
) {
    let mut leaves = leaves(document);
    for line in trace {
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
        // Whatever has a kind and is to be opened has been judged; null and containers have none.
        let opens = line.kind.and(line.selection).and_then(|selection| opening(leg, selection)).is_some();
        let inner = if opens { opened.pop_front() } else { None };
        let inner = inner.into_iter().flatten().map(|inner| {
            let location = format!("{head}{} > {}", line.location, inner.location);
            Line { location, ..inner }
        });
        let inner: Vec<Line> = inner.collect();
        let location = format!("{head}{}", line.location);
        lines.push(Line { location, leg: Arc::clone(&leg.leg), asker, outcome: line.outcome, leaves });
        lines.extend(inner);
    }
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
