//! A form (`application/x-www-form-urlencoded`): each pair by the rule of its name.
//!
//! Names are compared decoded; of a name that stands twice each pair gets the rule. A pair that stays keeps its bytes, name and
//! value; what is written anew is encoded as the standard says. A value that a rule has to see is held, up to the leg's `value`; others
//! pass however long they are. Start at [`Form::feed`].

use crate::frames;
use crate::frames::form::{Pairs, Step, encode};
use crate::json::automaton::Otherwise;
use crate::json::text;
use crate::policy::inside::form::{Fate as Changes, Pair};
use crate::policy::rule::Locator;
use crate::verdict::Refusal;

use super::beside::Pick;
use super::bind::{BoundLeg, Wanted};
use super::later::{Dress, Sink};
use super::place::{At, Crossed};
use super::{Bench, Out, malformed};

/// Bytes of a name: as those of a JSON member.
const NAME_MAX: usize = 64 << 10;

/// See the module.
pub(super) struct Form {
    pairs: Pairs,
    fate: Fate,
    /// A pair was written.
    written: bool,
    /// Of the pair that is held: as it came, and its value.
    raw: Vec<u8>,
    value: String,
    value_max: usize,
    /// Rules that have to match, and have.
    seen: Vec<usize>,
    number: u64,
}

/// What becomes of the current pair.
#[derive(Clone, Copy)]
enum Fate {
    Keep,
    Drop,
    Hold(Pick),
}

impl Form {
    pub(super) fn new(value_max: usize) -> Self {
        Self {
            pairs: Pairs::new(NAME_MAX),
            fate: Fate::Drop,
            written: false,
            raw: Vec::new(),
            value: String::new(),
            value_max,
            seen: Vec::new(),
            number: 0,
        }
    }

    pub(super) fn feed(&mut self, chunk: &[u8], bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        let mut input = chunk;
        loop {
            let step = self.pairs.next(&mut input);
            let step = step.map_err(|fault| malformed(bench.leg.side, fault, self.number))?;
            let Some(step) = step else { break };
            self.step(step, bench, &mut out.sink)?;
        }
        out.release();
        Ok(())
    }

    pub(super) fn finish(&mut self, bench: &mut Bench<'_>, out: &mut Out) -> Result<(), Refusal> {
        loop {
            let step = self.pairs.finish().map_err(|fault| malformed(bench.leg.side, fault, self.number))?;
            let Some(step) = step else { break };
            self.step(step, bench, &mut out.sink)?;
        }
        bench.must(|must| match must.what {
            Wanted::Rule(rule) => self.seen.contains(&rule),
            Wanted::Inside(slot, selection) => bench.hand.matched(slot, selection) > 0,
            Wanted::Selection(_) => false,
        })?;
        out.release();
        Ok(())
    }

    fn step(&mut self, step: Step, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        match (step, self.fate) {
            (Step::Name, _) => self.name(bench, out)?,
            (Step::Value, Fate::Keep) => out.extend_from_slice(self.pairs.raw()),
            (Step::Value, Fate::Drop) | (Step::End, Fate::Keep | Fate::Drop) => {}
            (Step::Value, Fate::Hold(_)) => {
                if self.value.len() + self.pairs.text().len() > self.value_max {
                    return Err(self.fault(frames::FaultKind::FormValue, bench));
                }
                self.raw.extend_from_slice(self.pairs.raw());
                self.value.push_str(self.pairs.text());
            }
            (Step::End, Fate::Hold(pick)) => {
                let mut made = Vec::new();
                match bench.cross(pick, &self.value, self.at(), &mut made)? {
                    Crossed::Same => self.begin(out),
                    Crossed::New => {
                        let from = self.forget_value();
                        self.write(&made, from, bench, out)?;
                    }
                    Crossed::Later => self.wait(bench, out)?,
                    Crossed::Gone => {}
                }
            }
        }
        Ok(())
    }

    /// A name is whole: what becomes of the pair?
    fn name(&mut self, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        self.number += 1;
        self.raw.clear();
        self.raw.extend_from_slice(self.pairs.raw());
        self.value.clear();
        let name = self.pairs.text();
        see(bench.leg, name, &mut self.seen);
        let Some(pick) = bench.leg.beside.form(name) else {
            self.fate = match bench.leg.compiled.leg.default {
                Otherwise::Keep => Fate::Keep,
                Otherwise::Drop => Fate::Drop,
                Otherwise::Refuse => return Err(self.fault(frames::FaultKind::FormUnlisted, bench)),
            };
            if matches!(self.fate, Fate::Keep) {
                self.begin(out);
            }
            return Ok(());
        };
        if !bench.is_blind(pick) {
            self.fate = Fate::Hold(pick);
            return Ok(());
        }
        let mut made = Vec::new();
        self.fate = match bench.cross(pick, "", self.at(), &mut made)? {
            Crossed::Same => {
                self.begin(out);
                Fate::Keep
            }
            Crossed::New => {
                self.forget_value();
                self.write(&made, 0, bench, out)?;
                Fate::Drop
            }
            // It decides without a store, since it decides without the value.
            Crossed::Later => return Err(bench.failed(None)),
            Crossed::Gone => Fate::Drop,
        };
        Ok(())
    }

    /// Of what is held only the name stays; gives the bytes of the rest.
    fn forget_value(&mut self) -> usize {
        let whole = self.raw.len();
        self.raw.truncate(self.raw.iter().position(|byte| *byte == b'=').unwrap_or(whole));
        whole - self.raw.len()
    }

    /// Writes the pair with another value, where one of `from` bytes stood.
    fn write(&mut self, made: &[u8], from: usize, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        self.begin(out);
        let start = out.bytes.len();
        out.push(b'=');
        // What rules make is text.
        encode(std::str::from_utf8(made).unwrap_or_default(), &mut out.bytes);
        bench.grow(out.bytes.len() - start, from, self.at())
    }

    /// Writes the held pair with a gap for its value.
    fn wait(&mut self, bench: &mut Bench<'_>, out: &mut Sink) -> Result<(), Refusal> {
        let name = self.raw.iter().position(|byte| *byte == b'=').unwrap_or(self.raw.len());
        let stood = self.raw.get(name + 1..).unwrap_or_default().to_vec();
        self.raw.truncate(name);
        self.begin(out);
        out.push(b'=');
        bench.leave_gap(&stood, Dress::Form, out)
    }

    /// Writes what is held of a pair, behind a separator.
    fn begin(&mut self, out: &mut Sink) {
        if std::mem::replace(&mut self.written, true) {
            out.push(b'&');
        }
        out.extend_from_slice(&self.raw);
    }

    fn at(&self) -> At {
        At { word: "pair", unit: self.number, offset: self.pairs.offset() }
    }

    fn fault(&self, kind: frames::FaultKind, bench: &Bench<'_>) -> Refusal {
        malformed(bench.leg.side, frames::Fault { kind, offset: self.pairs.offset() }, self.number)
    }
}

/// One pair of a form in a string. `seen`: as of a body. What it grows by is charged.
pub(super) fn in_string(pair: &Pair, bench: &mut Bench<'_>, seen: &mut Vec<usize>) -> Result<Changes, Refusal> {
    let at = At { word: "pair", unit: pair.number, offset: pair.range.start as u64 };
    see(bench.leg, &pair.name, seen);
    let Some(pick) = bench.leg.beside.form(&pair.name) else {
        return match bench.leg.compiled.leg.default {
            Otherwise::Keep => Ok(Changes::Keep),
            Otherwise::Drop => Ok(Changes::Drop),
            Otherwise::Refuse => {
                let fault = frames::Fault { kind: frames::FaultKind::FormUnlisted, offset: at.offset };
                Err(malformed(bench.leg.side, fault, at.unit))
            }
        };
    };
    let mut made = Vec::new();
    match bench.cross(pick, &pair.value, at, &mut made)? {
        Crossed::Same => Ok(Changes::Keep),
        Crossed::Gone => Ok(Changes::Drop),
        Crossed::New => {
            let mut encoded = Vec::new();
            // What rules make is text.
            let value = String::from_utf8(made).map_err(|_| bench.failed(None))?;
            encode(&value, &mut encoded);
            bench.grow(encoded.len(), pair.value.len(), at)?;
            Ok(Changes::New(value))
        }
        // Nothing waits for itself in a string.
        Crossed::Later => Err(bench.failed(None)),
    }
}

/// Marks the rules that have to match and look for this name.
fn see(leg: &BoundLeg, name: &str, seen: &mut Vec<usize>) {
    let folded = leg.compiled.leg.default == Otherwise::Keep;
    for must in &leg.musts {
        let (Wanted::Rule(index) | Wanted::Inside(_, index)) = must.what else { continue };
        let rule = leg.compiled.leg.rules.get(index);
        let looks = rule.is_some_and(|rule| match &rule.locator {
            Locator::Form(wanted) => wanted == name || (folded && text::fold(wanted) == text::fold(name)),
            _ => false,
        });
        if looks && !seen.contains(&index) {
            seen.push(index);
        }
    }
}
