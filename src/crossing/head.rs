//! Headers, query, captures and cookies: the same verbs as in a body.
//!
//! Everything here passes by list: what no rule, no `headers = […]`, no `query = […]` and no default names stays behind. Which
//! headers are on the default list, and what their values may look like, is HTTP's affair and comes in as a function
//! (`proxy::headers`). Start at [`HeadCrossing`]; what it makes is a [`ReleasedHead`].

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::clock::Time;
use crate::policy;
use crate::policy::compile::Asker;
use crate::policy::route::{QueryPair, Template, TemplateSegment, encode_query, encode_segment};
use crate::vault::strays::Strays;
use crate::verdict::Refusal;

use super::beside::Pick;
use super::bind::{Applied, BoundLeg, Input, Transformer};
use super::budget::{Alarm, RevealBudget};
use super::inside::{self, Hand};
use super::{Tally, add};

/// What stands beside a body and may leave.
#[derive(Debug, Default)]
pub struct ReleasedHead {
    target: String,
    headers: HeaderMap,
    tally: Tally,
    unfit: u64,
    foreign: u64,
    gone: u64,
}

impl ReleasedHead {
    /// Path and query, encoded; empty for a response.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
    /// Path and query, and the headers, for the wire.
    #[must_use]
    pub fn into_parts(self) -> (String, HeaderMap) {
        (self.target, self.headers)
    }
    /// How often each rule decided.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
    /// Values that did not fit their rule and were dropped.
    #[must_use]
    pub fn unfit(&self) -> u64 {
        self.unfit
    }
    /// Tokens that came up where they are not turned back.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.foreign
    }
    /// Stored tokens that came up and were erased or have ended.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.gone
    }
}

/// A route's path, ready to be written again: literals already encoded and joined.
#[derive(Debug)]
pub struct PathTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    /// With its slashes.
    Literal(String),
    /// One segment, without its slash.
    Capture(String),
}

impl PathTemplate {
    /// From a checked template. `None` where a literal cannot be a segment of a normal path (`check` refuses such a template).
    #[must_use]
    pub fn new(template: &Template) -> Option<Self> {
        let (mut pieces, mut literal) = (Vec::new(), String::new());
        for segment in &template.segments {
            literal.push('/');
            match segment {
                // A path that ends in a slash has an empty last segment.
                TemplateSegment::Literal(text) if text.is_empty() => {}
                TemplateSegment::Literal(text) => literal.push_str(&encode_segment(text)?),
                TemplateSegment::Capture(name) => {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    pieces.push(Piece::Capture(name.clone()));
                }
            }
        }
        if literal.is_empty() && pieces.is_empty() {
            literal.push('/');
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Some(Self { pieces })
    }
}

/// Headers that never cross, whatever a policy says: those that no policy may name, and digests, because they speak of a body
/// that only we know.
#[must_use]
pub fn never(name: &HeaderName) -> bool {
    let name = name.as_str();
    policy::headers::is_never(name)
        || matches!(name, "content-digest" | "content-md5" | "digest" | "repr-digest" | "tidegate-exchange")
}

/// Runs what stands beside one body through its leg's rules.
pub struct HeadCrossing<'a> {
    leg: &'a BoundLeg,
    hand: Hand,
    value: Vec<u8>,
    released: ReleasedHead,
}

/// What became of one text.
enum Crossed {
    /// As it was.
    Same,
    /// What `HeadCrossing::value` holds.
    New,
    /// What the store says: then everything is crossed once more.
    Later,
    /// It goes.
    Gone,
}

impl<'a> HeadCrossing<'a> {
    /// For one head.
    #[must_use]
    pub fn new(leg: &'a BoundLeg, now: Time) -> Self {
        Self { leg, hand: Hand::new(now, &leg.compiled.limits), value: Vec::new(), released: ReleasedHead::default() }
    }

    /// Whatever is turned back is charged to this budget.
    pub fn charging(&mut self, budget: Option<Arc<RevealBudget>>) {
        self.hand.charging(budget);
    }

    /// Writes the path anew from its template. `discloses`: every capture needs a rule.
    ///
    /// # Errors
    /// A token that is not accepted; a value that cannot be a path segment.
    pub fn path(
        &mut self,
        template: &PathTemplate,
        captures: &[(String, String)],
        discloses: bool,
    ) -> Result<(), Refusal> {
        for piece in &template.pieces {
            let name = match piece {
                Piece::Literal(text) => {
                    self.released.target.push_str(text);
                    continue;
                }
                Piece::Capture(name) => name,
            };
            let captured = captures.iter().find(|(known, _)| known == name);
            let Some((_, text)) = captured else { return Err(self.failed(None)) };
            let pick = self.leg.beside.captures.iter().find(|(known, _)| **known == **name).map(|(_, pick)| *pick);
            if discloses && pick.is_none() {
                return Err(self.failed(None));
            }
            let encoded = match self.cross(pick, text)? {
                Crossed::Same => encode_segment(text),
                Crossed::New => std::str::from_utf8(&self.value).ok().and_then(encode_segment),
                Crossed::Later => continue,
                // A segment cannot be left out: the path would be another one.
                Crossed::Gone => None,
            };
            let Some(encoded) = encoded else { return Err(self.failed(pick)) };
            self.released.target.push_str(&encoded);
        }
        Ok(())
    }

    /// Writes the query anew: what is listed as it was sent, what has a rule by its rule, nothing else.
    ///
    /// # Errors
    /// A token that is not accepted.
    pub fn query(&mut self, pairs: &[QueryPair]) -> Result<(), Refusal> {
        let leg = self.leg;
        let mut separator = '?';
        for pair in pairs {
            let pick = leg.beside.query.iter().find(|(known, _)| **known == *pair.name).map(|(_, pick)| *pick);
            if pick.is_none() && !leg.compiled.leg.query.contains(&pair.name) {
                continue;
            }
            let crossed = self.cross(pick, &pair.value)?;
            if matches!(crossed, Crossed::Gone | Crossed::Later) {
                continue;
            }
            self.released.target.push(separator);
            separator = '&';
            match crossed {
                Crossed::New => {
                    let text = std::str::from_utf8(&self.value).unwrap_or_default();
                    let (name, value) = (encode_query(&pair.name), encode_query(text));
                    self.released.target.push_str(&name);
                    self.released.target.push('=');
                    self.released.target.push_str(&value);
                }
                Crossed::Same | Crossed::Gone | Crossed::Later => self.released.target.push_str(&pair.raw),
            }
        }
        Ok(())
    }

    /// Chooses among the headers of a message. `exclude`: where the sender's credentials stand. `default`: the value as it
    /// may pass if the header is on the default list and its value fits.
    ///
    /// # Errors
    /// A token that is not accepted; a value that a header cannot carry.
    pub fn headers(
        &mut self,
        from: &HeaderMap,
        exclude: &[HeaderName],
        default: impl Fn(&HeaderName, &HeaderValue) -> Option<HeaderValue>,
    ) -> Result<(), Refusal> {
        let leg = self.leg;
        for (name, value) in from {
            // A credential goes nowhere, even where its header is one that passes by default.
            if exclude.contains(name) {
                continue;
            }
            // Where there are rules for single cookies, the field is written anew from them.
            if name == header::COOKIE && !leg.beside.cookies.is_empty() {
                continue;
            }
            let pick = leg.beside.headers.iter().find(|(known, _)| known == name).map(|(_, pick)| *pick);
            let passed = if pick.is_some() {
                self.header(pick, value)?
            } else if let Some(value) = default(name, value) {
                // `Sec-GPC` is a person's objection: no policy may silence it.
                let wanted = leg.compiled.leg.default_headers || name == "sec-gpc";
                wanted.then_some(value)
            } else if leg.beside.listed_headers.contains(name) {
                Some(value.clone())
            } else {
                None
            };
            if let Some(value) = passed {
                self.released.headers.append(name.clone(), value);
            }
        }
        if !leg.beside.cookies.is_empty() {
            self.cookies(from)?;
        }
        Ok(())
    }

    /// Whether something waits for the store: then nothing of this may leave before [`HeadCrossing::resolve`], and all of it has to be
    /// crossed once more.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.hand.asked() > 0
    }

    /// Asks the store, in one round trip, and begins anew with the answers.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn resolve(&mut self) -> Result<(), Refusal> {
        let answers = self.hand.resolve(self.leg, self.hand.asked()).await?;
        let (gone, purse) = (self.hand.gone, self.hand.purse.take());
        self.hand = Hand::new(self.hand.now, &self.leg.compiled.limits);
        (self.hand.gone, self.hand.purse) = (gone, purse);
        self.hand.replay(answers);
        self.released = ReleasedHead::default();
        Ok(())
    }

    /// Stored tokens that came up and were erased or have ended, so far.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.released.gone + self.hand.gone
    }

    /// Tokens that came up where they are not turned back, so far: a refusal does not make them less of an alarm.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.released.foreign + self.hand.foreign
    }

    /// Of those, some to ask whose they are.
    #[must_use]
    pub fn strays(&self) -> &Strays {
        &self.hand.strays
    }

    /// Pays for what was turned back, before anything of it goes on.
    ///
    /// # Errors
    /// It is more than the partner's budget has.
    pub fn pay(&mut self) -> Result<(), Refusal> {
        self.hand.pay()
    }

    /// What an operator has to know of the partner's budgets.
    #[must_use]
    pub fn alarms(&self) -> &[Alarm] {
        self.hand.alarms()
    }

    /// Everything has been looked at.
    ///
    /// # Errors
    /// A rule with `must` that matched nothing.
    pub fn finish(mut self) -> Result<ReleasedHead, Refusal> {
        // Run again, it asks for just what it asked for before: else a value would get the answer of another one.
        if self.waits() || self.hand.has_answers_left() {
            return Err(self.failed(None));
        }
        self.settle();
        for index in &self.leg.beside.musts {
            let Some(rule) = self.leg.rule_id(Asker::Rule(*index)) else { continue };
            if !self.released.tally.iter().any(|(id, _)| id == rule) {
                return Err(Refusal::RuleUnmatched { leg: self.leg.side, rule: rule.clone() });
            }
        }
        Ok(self.released)
    }

    /// As [`HeadCrossing::finish`], where the message is only the head of another one (`HEAD`): it may lack what a rule asks for.
    #[must_use]
    pub fn finish_unread(mut self) -> ReleasedHead {
        self.settle();
        self.released
    }

    /// Adds what was counted inside strings.
    fn settle(&mut self) {
        for transformer in &self.leg.rules {
            if let Transformer::Inside(opening) = transformer {
                inside::opened(opening, &self.hand, &mut self.released.tally);
            }
        }
        self.released.unfit += self.hand.unfit;
        self.released.foreign += std::mem::take(&mut self.hand.foreign);
        self.released.gone += std::mem::take(&mut self.hand.gone);
    }

    /// Runs one text through the rule of its place.
    fn cross(&mut self, pick: Option<Pick>, text: &str) -> Result<Crossed, Refusal> {
        let asker = match pick {
            None => return Ok(Crossed::Same),
            Some(Pick::Clash) => return Ok(Crossed::Gone),
            Some(Pick::One(asker)) => asker,
        };
        let (Some(transformer), Some(rule)) = (self.leg.transformer(asker), self.leg.rule_id(asker)) else {
            return Err(self.failed(None));
        };
        add(&mut self.released.tally, rule, 1);
        self.value.clear();
        Ok(match transformer.apply(Input::Text(text, None), &mut self.hand, &mut self.value) {
            Applied::Text | Applied::Number => Crossed::New,
            Applied::Pass => Crossed::Same,
            Applied::Later => Crossed::Later,
            Applied::Remove => Crossed::Gone,
            Applied::PassForeign => {
                self.released.foreign += 1;
                Crossed::Same
            }
            Applied::Unfit => {
                self.released.unfit += 1;
                Crossed::Gone
            }
            Applied::Refuse { foreign } => {
                self.released.foreign += u64::from(foreign);
                return Err(self.failed(pick));
            }
        })
    }

    fn header(&mut self, pick: Option<Pick>, value: &HeaderValue) -> Result<Option<HeaderValue>, Refusal> {
        let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
            self.released.unfit += 1;
            return Ok(None);
        };
        Ok(match self.cross(pick, text)? {
            Crossed::Same => Some(value.clone()),
            // Whatever could end a header early (CR, LF, NUL) cannot be one: refused, never repaired.
            Crossed::New => Some(HeaderValue::from_bytes(&self.value).map_err(|_| self.failed(pick))?),
            Crossed::Gone | Crossed::Later => None,
        })
    }

    fn cookies(&mut self, from: &HeaderMap) -> Result<(), Refusal> {
        let mut line = String::new();
        let fields = from.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        for (name, value) in fields.flat_map(|field| field.split(';')).filter_map(cookie_pair) {
            if let Some(value) = self.cookie(name, value)? {
                if !line.is_empty() {
                    line.push_str("; ");
                }
                line.push_str(name);
                line.push('=');
                line.push_str(&value);
            }
        }
        if !line.is_empty() {
            let value = HeaderValue::from_str(&line).map_err(|_| self.failed(None))?;
            self.released.headers.insert(header::COOKIE, value);
        }
        Ok(())
    }

    fn cookie(&mut self, name: &str, value: &str) -> Result<Option<String>, Refusal> {
        let leg = self.leg;
        let pick = leg.beside.cookies.iter().find(|(known, _)| **known == *name).map(|(_, pick)| *pick);
        if pick.is_none() {
            return Ok(None);
        }
        Ok(match self.cross(pick, value)? {
            Crossed::Gone | Crossed::Later => None,
            Crossed::Same => Some(value.to_owned()),
            Crossed::New => {
                let octet = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\');
                if !self.value.iter().all(octet) {
                    return Err(self.failed(pick));
                }
                Some(String::from_utf8_lossy(&self.value).into_owned())
            }
        })
    }

    fn failed(&mut self, pick: Option<Pick>) -> Refusal {
        let leg = self.leg.side;
        if let Some(cause) = self.hand.cause.take() {
            return cause;
        }
        match pick {
            Some(Pick::One(asker)) => match (asker, self.leg.rule_id(asker).cloned()) {
                (Asker::Reveal(_), Some(rule)) => Refusal::TokenNotAccepted { leg, rule },
                (_, rule) => Refusal::RuleFailed { leg, rule },
            },
            Some(Pick::Clash) | None => Refusal::RuleFailed { leg, rule: None },
        }
    }
}

fn cookie_pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.trim().split_once('=')?;
    (!name.is_empty()).then_some((name, value))
}
