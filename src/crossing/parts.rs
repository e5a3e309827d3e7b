//! Parts (`multipart/form-data`): each by the rules for its name.
//!
//! A part is text (the rule of its name), JSON (rules with a `path`: the part is a document of its own) or a file (only whole, by
//! permission). What leaves has our own boundary and heads written anew: of a file's name only that there was one, of other lines
//! nothing but the type. Start at [`Parts::feed`].

use std::sync::Arc;

use crate::frames;
use crate::frames::head::{Head, encode_name};
use crate::frames::parts::Step;
use crate::json::automaton::Otherwise;
use crate::json::text;
use crate::policy::compile::{Asker, CompiledLeg};
use crate::policy::rule::{Action, Locator};
use crate::verdict::Refusal;

use super::beside::Pick;
use super::bind::{BoundLeg, Wanted};
use super::document::Document;
use super::later::{Dress, Sink};
use super::place::{At, Crossed};
use super::{Bench, Out, add, malformed};

/// See the module.
pub(super) struct Parts {
    frames: frames::parts::Parts,
    boundary: String,
    fate: Fate,
    /// The value that is held; of text that stays, what is not a whole character yet.
    value: Vec<u8>,
    /// Rules that have to match, and have.
    seen: Vec<usize>,
    number: u64,
}

/// What becomes of the current part's content.
enum Fate {
    Drop,
    /// Passes unread.
    File,
    /// Text that stays.
    Text,
    /// Text that a rule has to see.
    Hold(Pick),
    Json(Box<Document>, Arc<[Asker]>),
}

impl Parts {
    /// `theirs` and `ours`: boundaries of what comes and of what leaves. Nobody who sends a part may know ours.
    pub(super) fn new(theirs: &str, ours: &str) -> Self {
        Self {
            frames: frames::parts::Parts::new(theirs),
            boundary: ours.to_owned(),
            fate: Fate::Drop,
            value: Vec::new(),
            seen: Vec::new(),
            number: 0,
        }
    }

    pub(super) fn feed(&mut self, chunk: &[u8], bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        self.frames.feed(chunk);
        while let Some(step) = self.next(bench)? {
            match step {
                Step::Head => {
                    self.number += 1;
                    self.head(bench, &mut out.sink)?;
                }
                Step::Content => self.content(bench, &mut out.sink)?,
                Step::End => self.end(bench, &mut out.sink)?,
            }
        }
        out.release();
        Ok(())
    }

    pub(super) fn finish(&mut self, bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        self.frames.finish().map_err(|fault| malformed(bench.leg.side, fault, self.number))?;
        bench.must(|must| match must.what {
            Wanted::Rule(rule) => self.seen.contains(&rule),
            Wanted::Inside(slot, selection) => bench.hand.matched(slot, selection) > 0,
            Wanted::Selection(_) => false,
        })?;
        out.sink.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        out.release();
        Ok(())
    }

    fn next(&mut self, bench: &Bench<'_>) -> Result<Option<Step>, Refusal> {
        self.frames.advance().map_err(|fault| malformed(bench.leg.side, fault, self.number))
    }

    /// A part begins: what becomes of it?
    fn head(&mut self, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        self.value.clear();
        let (leg, head) = (bench.leg, self.frames.head().clone());
        see(leg, &head.name, &mut self.seen);
        let default = leg.compiled.leg.default;
        self.fate = match (leg.compiled.part(&head.name), leg.beside.part(&head.name)) {
            (Some(part), _) => self.json(&head, &part.leg, bench, out)?,
            (None, Some(pick)) if is_file(leg, pick) => {
                if head.media.as_ref().is_some_and(|media| media.starts_with("multipart/")) {
                    return Err(self.fault(frames::FaultKind::PartType, bench));
                }
                bench.cross(pick, "", self.at(), &mut Vec::new())?;
                self.write_head(&head, out);
                Fate::File
            }
            (None, Some(pick)) => self.text(&head, pick, bench, out)?,
            (None, None) => match default {
                Otherwise::Drop => Fate::Drop,
                Otherwise::Refuse => return Err(self.fault(frames::FaultKind::PartUnlisted, bench)),
                Otherwise::Keep => self.unlisted(&head, bench, out)?,
            },
        };
        Ok(())
    }

    fn json(&self, head: &Head, leg: &CompiledLeg, bench: &Bench<'_>, out: &mut Sink) -> Result<Fate, Refusal> {
        let Some(program) = &leg.program else { return Err(self.fault(frames::FaultKind::PartType, bench)) };
        if !head.media.as_ref().is_none_or(|media| is_json(media)) {
            return Err(self.fault(frames::FaultKind::PartType, bench));
        }
        self.write_head(head, out);
        let mut document = Box::new(Document::new(program));
        document.share(bench.hand);
        Ok(Fate::Json(document, leg.askers.as_slice().into()))
    }

    fn text(&self, head: &Head, pick: Pick, bench: &mut Bench<'_>, out: &mut Sink) -> Result<Fate, Refusal> {
        let blind = bench.is_blind(pick);
        let mut made = Vec::new();
        let crossed = if blind { Some(bench.cross(pick, "", self.at(), &mut made)?) } else { None };
        if crossed == Some(Crossed::Gone) {
            return Ok(Fate::Drop);
        }
        if head.file || head.media.as_ref().is_some_and(|media| media != "text/plain") {
            return Err(self.fault(frames::FaultKind::PartType, bench));
        }
        Ok(match crossed {
            None => Fate::Hold(pick),
            Some(Crossed::New) => {
                bench.grow(made.len(), 0, self.at())?;
                self.write_head(head, out);
                out.extend_from_slice(&made);
                out.extend_from_slice(b"\r\n");
                Fate::Drop
            }
            Some(_) => {
                self.write_head(head, out);
                Fate::Text
            }
        })
    }

    /// Of what arrives and has no rule, text and JSON stay; whatever cannot be read needs a permission.
    fn unlisted(&self, head: &Head, bench: &Bench<'_>, out: &mut Sink) -> Result<Fate, Refusal> {
        match head.media.as_deref() {
            // No rule leads into it: the leg's own program keeps all.
            Some(media) if is_json(media) => self.json(head, &bench.leg.compiled, bench, out),
            None | Some("text/plain") if !head.file => {
                self.write_head(head, out);
                Ok(Fate::Text)
            }
            _ => Err(self.fault(frames::FaultKind::PartFile, bench)),
        }
    }

    fn content(&mut self, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        let content = self.frames.content();
        match &mut self.fate {
            Fate::Drop => {}
            Fate::File => out.extend_from_slice(content),
            Fate::Text => {
                self.value.extend_from_slice(content);
                let whole = match std::str::from_utf8(&self.value) {
                    Ok(text) => text.len(),
                    Err(error) if error.error_len().is_none() => error.valid_up_to(),
                    Err(_) => return Err(self.fault(frames::FaultKind::PartUtf8, bench)),
                };
                out.bytes.extend(self.value.drain(..whole));
            }
            Fate::Hold(_) => {
                if self.value.len() + content.len() > bench.leg.compiled.limits.value_bytes {
                    return Err(self.fault(frames::FaultKind::PartValue, bench));
                }
                self.value.extend_from_slice(content);
            }
            Fate::Json(document, askers) => {
                let fed = document.feed(content, &mut bench.with(askers), out);
                fed.map_err(|refusal| located(refusal, self.number))?;
            }
        }
        Ok(())
    }

    fn end(&mut self, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.fate, Fate::Drop) {
            Fate::Drop => return Ok(()),
            Fate::File => {}
            Fate::Text if self.value.is_empty() => {}
            Fate::Text => return Err(self.fault(frames::FaultKind::PartUtf8, bench)),
            Fate::Hold(pick) => {
                let value = std::mem::take(&mut self.value);
                let wrong = self.fault(frames::FaultKind::PartUtf8, bench);
                let value = String::from_utf8(value).map_err(|_| wrong)?;
                let mut made = Vec::new();
                let crossed = bench.cross(pick, &value, self.at(), &mut made)?;
                match crossed {
                    Crossed::Gone => return Ok(()),
                    Crossed::New => bench.grow(made.len(), value.len(), self.at())?,
                    Crossed::Same | Crossed::Later => {}
                }
                let head = self.frames.head().clone();
                self.write_head(&head, out);
                match crossed {
                    Crossed::Later => bench.leave_gap(value.as_bytes(), Dress::Text, out)?,
                    Crossed::Same => out.extend_from_slice(value.as_bytes()),
                    Crossed::New | Crossed::Gone => out.extend_from_slice(&made),
                }
            }
            Fate::Json(mut document, askers) => {
                let finished = document.finish(&mut bench.with(&askers), out);
                finished.map_err(|refusal| located(refusal, self.number))?;
                document.spend(bench.hand);
                for (asker, (count, matched)) in askers.iter().zip(document.counts().iter().zip(document.matched())) {
                    if let (1.., Some(id)) = (*count, bench.leg.rule_id(*asker)) {
                        add(&mut bench.hand.tally, id, *count);
                    }
                    if let (1.., Asker::Rule(rule)) = (*matched, asker) {
                        self.seen.push(*rule);
                    }
                }
                self.seen.sort_unstable();
                self.seen.dedup();
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn write_head(&self, head: &Head, out: &mut Sink) {
        out.extend_from_slice(format!("--{}\r\nContent-Disposition: form-data; name=\"", self.boundary).as_bytes());
        encode_name(&head.name, &mut out.bytes);
        out.extend_from_slice(if head.file { b"\"; filename=\"file\"\r\n" } else { b"\"\r\n" });
        if let Some(media) = &head.media {
            out.extend_from_slice(format!("Content-Type: {media}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    fn at(&self) -> At {
        At { word: "part", unit: self.number, offset: self.frames.offset() }
    }

    fn fault(&self, kind: frames::FaultKind, bench: &Bench<'_>) -> Refusal {
        malformed(bench.leg.side, frames::Fault { kind, offset: self.frames.offset() }, self.number)
    }
}

fn is_json(media: &str) -> bool {
    media == "application/json" || media.ends_with("+json")
}

/// Whether the rule lets the part pass unread.
fn is_file(leg: &BoundLeg, pick: Pick) -> bool {
    let Pick::One(Asker::Rule(rule)) = pick else { return false };
    leg.compiled.leg.rules.get(rule).is_some_and(|rule| rule.action == Action::Keep { whole: true })
}

/// Marks the rules that have to match and look for a part of this name.
fn see(leg: &BoundLeg, name: &str, seen: &mut Vec<usize>) {
    let folded = leg.compiled.leg.default == Otherwise::Keep;
    for must in &leg.musts {
        let Wanted::Rule(index) = must.what else { continue };
        let looks = leg.compiled.leg.rules.get(index).is_some_and(|rule| match &rule.locator {
            Locator::Part(wanted) => wanted == name || (folded && text::fold(wanted) == text::fold(name)),
            _ => false,
        });
        if looks && !seen.contains(&index) {
            seen.push(index);
        }
    }
}

/// With the part's number. The place is counted from the part's first byte.
fn located(refusal: Refusal, number: u64) -> Refusal {
    match refusal {
        Refusal::BodyMalformed { leg, fault, location, offset } => {
            Refusal::BodyMalformed { leg, fault, location: format!("part {number}: {location}"), offset }
        }
        other => other,
    }
}
