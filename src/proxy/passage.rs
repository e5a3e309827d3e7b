//! One body on its way through its leg: read under limits, crossed, handed on whole or in windows.
//!
//! Up to the leg's `atomic` size nothing comes out before the whole body has passed; above it [`Passage::collect`] gives what
//! has passed so far, and [`Passage::next`] the rest, window by window. Of a stream (`ndjson`) the unit is a record: each comes out
//! as soon as it is whole. Whoever stops half-way has a part that must be cut off visibly. Start at [`Passage::open`].

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use http_body::Body;

use crate::clock::Time;
use crate::crossing::bind::BoundLeg;
use crate::crossing::budget::RevealBudget;
use crate::crossing::{Crossing, Released, add};
use crate::http::body::{BodyError, Limits, Reader};
use crate::http::coding;
use crate::http::pace::Pace;
use crate::ids::Leg;
use crate::policy::rule::BodyKind;
use crate::verdict::Refusal;

use super::exchange::Facts;
use super::headers;

const FORM_DATA: &str = "multipart/form-data; boundary=";

/// What sets the parts of a body apart that we write. That it cannot stand in a part is because nobody can guess it: 128 random bits.
/// A system that gives none refuses the exchange, as one that is too busy.
fn boundary() -> Result<String, Refusal> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| Refusal::Overloaded)?;
    Ok(format!("tidegate-{:032x}", u128::from_ne_bytes(random)))
}

/// See the module.
pub struct Passage {
    /// `None`: there is no body.
    reader: Option<Reader>,
    crossing: Crossing,
    /// What the head says of the body's type. Matters with its first byte only: an absent body has no type.
    media: Result<HeaderValue, Refusal>,
    side: Leg,
    atomic: u64,
    must: bool,
    coded: bool,
    ended: bool,
    /// Records pass one by one.
    stream: bool,
    /// An answer of events: its head does not wait for the first of them.
    at_once: bool,
    /// Why it is broken off behind what has come out.
    broken: Option<Refusal>,
}

/// What came of collecting.
#[derive(Debug)]
pub enum Collected {
    /// The whole body.
    Whole(Released),
    /// What has passed of a body over the atomic size; there is more.
    Part(Released),
}

impl Passage {
    /// For a message's body. `atomic`: bytes up to which it is held.
    ///
    /// # Errors
    /// A coding that cannot be undone.
    pub fn open<B>(
        body: B,
        headers: &HeaderMap,
        leg: &Arc<BoundLeg>,
        limits: Limits,
        atomic: u64,
        now: Time,
    ) -> Result<Self, Refusal>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut passage = Self::empty(leg, now);
        if body.is_end_stream() {
            return Ok(passage);
        }
        let side = passage.side;
        let codings = coding::parse(headers).map_err(|_| Refusal::BodyCodingWrong { leg: side })?;
        passage.coded = !codings.is_empty();
        passage.media = headers::media_type(headers, &leg.compiled.leg.body, side);
        passage.atomic = atomic;
        let kind = &leg.compiled.leg.body;
        let mut limits = limits;
        if kind.is_stream() && side == Leg::Response {
            // It may be silent for long and go on for ever; only how long it is silent at a time is limited.
            (limits.pace.total, limits.pace.rate) = (Duration::MAX, 0);
        }
        if *kind == BodyKind::Sse {
            limits.body_bytes = u64::MAX;
            passage.at_once = side == Leg::Response;
        }
        if *kind == BodyKind::Multipart && passage.media.is_ok() {
            let ours = boundary()?;
            passage.media = match (headers::boundary(headers), HeaderValue::from_str(&format!("{FORM_DATA}{ours}"))) {
                (Some(theirs), Ok(media)) => {
                    passage.crossing.set_apart(theirs, ours);
                    Ok(media)
                }
                _ => Err(Refusal::BodyTypeWrong { leg: side }),
            };
        }
        passage.reader = Some(Reader::new(body, &codings, limits));
        Ok(passage)
    }

    /// For a message that has no body.
    #[must_use]
    pub fn empty(leg: &Arc<BoundLeg>, now: Time) -> Self {
        Self {
            reader: None,
            media: Err(Refusal::BodyTypeWrong { leg: leg.side }),
            side: leg.side,
            atomic: 0,
            must: leg.is_whole(),
            coded: false,
            ended: false,
            stream: leg.compiled.leg.body.is_stream(),
            at_once: false,
            broken: None,
            crossing: Crossing::new(Arc::clone(leg), now),
        }
    }

    /// Whatever is turned back, and whosever data leaves, is charged to this budget.
    pub fn charging(&mut self, budget: Option<Arc<RevealBudget>>) {
        self.crossing.charging(budget);
    }

    /// Reads until the body ends or passes the atomic size.
    ///
    /// # Errors
    /// Whatever is wrong with the body. Nothing of it has come out then.
    pub async fn collect(&mut self) -> Result<Collected, Refusal> {
        if self.at_once {
            return match &self.media {
                Ok(_) => Ok(Collected::Part(Released::none())),
                Err(refusal) => Err(refusal.clone()),
            };
        }
        if self.stream {
            let first = self.next().await?;
            return Ok(first.map_or_else(|| Collected::Whole(Released::none()), Collected::Part));
        }
        let announced = self.reader.as_ref().and_then(Reader::expected);
        // What will be over the size in any case is not held until it is.
        let over = announced.is_some_and(|length| length > self.atomic);
        if over && self.must {
            return Err(Refusal::BodyTooLarge { leg: self.side });
        }
        let hold = if over { 0 } else { self.atomic };
        while self.read().await? {
            if self.crossing.bytes_in() <= hold {
                continue;
            }
            if self.must {
                return Err(Refusal::BodyTooLarge { leg: self.side });
            }
            let released = self.crossing.take();
            if !released.is_empty() {
                return Ok(Collected::Part(released));
            }
        }
        Ok(Collected::Whole(self.crossing.take()))
    }

    /// The next window, never empty; `None` at the end.
    ///
    /// # Errors
    /// Whatever is wrong with the body: what came out before is then a part.
    pub async fn next(&mut self) -> Result<Option<Released>, Refusal> {
        if let Some(refusal) = self.broken.take() {
            return Err(refusal);
        }
        while !self.ended {
            let read = self.read().await;
            let released = self.crossing.take();
            match read {
                // The good records before the fault go first, however the body was cut into chunks.
                Err(refusal) if self.stream && !released.is_empty() => self.broken = Some(refusal),
                Err(refusal) => return Err(refusal),
                Ok(_) => {}
            }
            if !released.is_empty() {
                return Ok(Some(released));
            }
        }
        Ok(None)
    }

    /// How the body's type is said on. `None` while there was no byte of it.
    #[must_use]
    pub fn media(&self) -> Option<HeaderValue> {
        self.media.as_ref().ok().filter(|_| self.at_once || self.crossing.bytes_in() > 0).cloned()
    }

    /// How long who takes it may keep us waiting: over an answer that is a stream, as long as it goes on, if not too slow.
    #[must_use]
    pub fn taking(&self, pace: Pace) -> Pace {
        if self.is_endless() { pace.endless() } else { pace }
    }

    /// Whether it is an answer that is a stream: such a one has no end of its own.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        self.stream && self.side == Leg::Response
    }

    /// Whether the body came in a coding.
    #[must_use]
    pub fn coded(&self) -> bool {
        self.coded
    }

    /// Adds what happened so far to what is known of the leg. Once, when nothing more will happen.
    pub fn tell(&self, facts: &mut Facts) {
        (facts.bytes_in, facts.bytes_out) = (self.crossing.bytes_in(), self.crossing.bytes_out());
        facts.unfit += self.crossing.unfit();
        facts.foreign += self.crossing.foreign();
        facts.strays.add(self.crossing.strays());
        facts.gone += self.crossing.gone();
        facts.budgets.extend_from_slice(self.crossing.alarms());
        let tally = self.crossing.tally();
        if facts.tally.is_empty() {
            facts.tally = tally;
            return;
        }
        for (rule, count) in tally {
            add(&mut facts.tally, &rule, count);
        }
    }

    /// Reads once and feeds it; false at the end.
    async fn read(&mut self) -> Result<bool, Refusal> {
        let leg = self.side;
        let chunk = match &mut self.reader {
            Some(reader) => reader.next().await.map_err(|error| match error {
                BodyError::TooLarge => Refusal::BodyTooLarge { leg },
                BodyError::Coding => Refusal::BodyCodingWrong { leg },
                BodyError::Incomplete => Refusal::BodyIncomplete { leg },
                BodyError::Slow => Refusal::BodySlow { leg },
            })?,
            None => None,
        };
        let Some(chunk) = chunk else {
            self.ended = true;
            self.crossing.finish().await?;
            return Ok(false);
        };
        if let Err(refusal) = &self.media {
            return Err(refusal.clone());
        }
        self.crossing.feed(&chunk).await?;
        Ok(true)
    }
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passage").field("side", &self.side).field("ended", &self.ended).finish_non_exhaustive()
    }
}
