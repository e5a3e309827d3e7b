//! What waits for the store: gaps in what was written, the questions behind them, and how they are filled.
//!
//! Judging asks nothing: it leaves a gap, so that one round trip answers everything of a window. Whatever is not simply a value
//! in its place (a string with rules inside, a head) is run again once the answers are there. Nothing at or behind a gap
//! leaves. Start at [`Later`] for the questions and at [`Sink`] for the gaps.

use std::collections::VecDeque;
use std::ops::Range;

use zeroize::Zeroizing;

use crate::frames::form::encode;
use crate::json::patch;
use crate::json::text;
use crate::json::window::Budget;
use crate::policy::compile::Asker;
use crate::policy::rule::Plain;
use crate::vault::stored::Issuer;
use crate::vault::stored::ask::{Answer, Ask, Wanted};
use crate::vault::token::Value;
use crate::verdict::Refusal;

use super::bind::{Applied, BoundLeg, Input, Transformer};
use super::inside::Hand;
use super::look::{Known, Look, Question, Reply, Who};

/// What a crossing asks of the store. There is none while nothing was asked.
#[derive(Default)]
pub(super) struct Later {
    /// In the order in which they came up.
    pub(super) asks: Vec<Question>,
    /// So many of them are of documents that are whole, and know whose they are.
    pub(super) ended: usize,
    /// Those that a gap will be left for next, in order.
    waiting: VecDeque<Waiting>,
    /// Where something is run again: the answers that it gets, in order.
    replay: Option<VecDeque<Answer>>,
    /// Whose data the current document is.
    subject: Option<Zeroizing<String>>,
    /// The current document's number, and how much the one of that number has grown by what was filled in.
    document: u64,
    grown: (u64, u64),
}

/// What a gap waits for.
pub(super) struct Waiting {
    asker: Asker,
    /// One question, or those that came up inside a string.
    asks: Range<usize>,
    /// Of a string with rules inside: its value, where it does not stand in the gap's own spelling.
    text: Option<String>,
    /// What was left for strings before this one.
    budget: Budget,
}

/// What was written, and where something has to be filled in.
#[derive(Default)]
pub(super) struct Sink {
    pub(super) bytes: Vec<u8>,
    pub(super) gaps: Vec<Gap>,
}

/// A place without a value.
pub(super) struct Gap {
    /// Before this byte.
    pub(super) at: usize,
    waiting: Waiting,
    /// What stood there, as it was spelt: it comes back where a token is none that is turned back, and plain values pass.
    stood: Vec<u8>,
    dress: Dress,
    document: u64,
}

/// How a value is spelt at its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dress {
    /// A JSON value.
    Json,
    /// The value of a pair of a form.
    Form,
    /// As it is.
    Text,
    /// As it is, on one line.
    Line,
}

impl Sink {
    pub(super) fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.gaps.len()
    }

    /// A gap of another sink comes here.
    pub(super) fn adopt(&mut self, gap: Gap) {
        self.gaps.push(Gap { at: self.bytes.len(), ..gap });
    }

    /// Fills the first `count` gaps; gives by how much what stands before each of the rest has grown. What `value` appends takes the
    /// gap's place.
    fn fill(
        &mut self,
        count: usize,
        mut value: impl FnMut(&Gap, &mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<Vec<usize>, Refusal> {
        let mut filled = Vec::with_capacity(self.bytes.len().saturating_add(count * 64));
        let (mut copied, mut grown) = (0, Vec::with_capacity(count));
        for gap in self.gaps.drain(..count) {
            filled.extend_from_slice(self.bytes.get(copied..gap.at).unwrap_or_default());
            copied = gap.at;
            let start = filled.len();
            value(&gap, &mut filled)?;
            grown.push(filled.len() - start);
        }
        for gap in &mut self.gaps {
            gap.at = gap.at - copied + filled.len();
        }
        filled.extend_from_slice(self.bytes.get(copied..).unwrap_or_default());
        self.bytes = filled;
        Ok(grown)
    }
}

impl Hand {
    /// How many questions are open.
    pub(super) fn asked(&self) -> usize {
        self.later.as_ref().map_or(0, |later| later.asks.len())
    }

    /// Asks, or takes the answer where there is one. `plain`: what a token that is not turned back gets.
    pub(super) fn ask(&mut self, ask: impl FnOnce() -> Ask, plain: Plain, out: &mut Vec<u8>) -> Applied {
        let later = self.later.get_or_insert_default();
        match &mut later.replay {
            Some(answers) => answers.pop_front().map_or(Applied::Refuse { foreign: false }, |answer| {
                match answer {
                    Answer::Token(token) => out.extend_from_slice(&token),
                    Answer::Text(text) => out.extend_from_slice(text.as_bytes()),
                    Answer::Number(number) => {
                        out.extend_from_slice(number.as_bytes());
                        return Applied::Number;
                    }
                    Answer::Gone if plain == Plain::Pass => return Applied::Pass,
                    Answer::Gone => return Applied::Refuse { foreign: false },
                }
                Applied::Text
            }),
            None => {
                later.asks.push(Question::Ask(ask()));
                Applied::Later
            }
        }
    }

    /// The next gap waits for all that was asked from `start` on. `text`: the value of a string with rules inside.
    pub(super) fn wait(&mut self, asker: Asker, start: usize, text: Option<String>, budget: Budget) {
        let later = self.later.get_or_insert_default();
        later.waiting.push_back(Waiting { asker, asks: start..later.asks.len(), text, budget });
    }

    /// Leaves the next gap. False: nothing waits, which is a mismatch.
    pub(super) fn leave_gap(&mut self, at: usize, stood: &[u8], dress: Dress, gaps: &mut Vec<Gap>) -> bool {
        let Some(later) = &mut self.later else { return false };
        let Some(waiting) = later.waiting.pop_front() else { return false };
        gaps.push(Gap { at, waiting, stood: stood.to_vec(), dress, document: later.document });
        true
    }

    /// A value came up that says whose data this is.
    pub(super) fn belongs_to(&mut self, subject: &str) {
        let later = self.later.get_or_insert_default();
        later.subject = Some(Zeroizing::new(subject.to_owned()));
    }

    /// The document is whole: what it asked belongs to its subject, and so does what stands beside it and is looked at before the
    /// next one begins. One that stores something and names nobody is refused where the leg has a `subject`: nobody would find
    /// what it stored when the person is to be forgotten.
    pub(super) fn document_ended(&mut self, leg: &BoundLeg) -> Result<(), Refusal> {
        let Some(later) = &mut self.later else { return Ok(()) };
        let mut asks = later.asks.iter_mut().skip(later.ended);
        match (&later.subject, leg.subject.map(Asker::Rule)) {
            (Some(subject), _) => asks.for_each(|ask| ask.belongs_to(subject)),
            (None, Some(rule)) if asks.any(|ask| ask.stores()) => {
                let rule = leg.rule_id(rule).cloned();
                return Err(
                    rule.map_or(Refusal::VaultUnavailable, |rule| Refusal::RuleUnmatched { leg: leg.side, rule })
                );
            }
            (None, _) => {}
        }
        later.ended = later.asks.len();
        Ok(())
    }

    /// The next document begins.
    pub(super) fn next_document(&mut self) {
        if let Some(later) = &mut self.later {
            later.document += 1;
            later.subject = None;
        }
    }

    /// The answers to the first `count` questions: one round trip, and before it one look at the keys where that is asked for.
    pub(super) async fn resolve(&mut self, leg: &BoundLeg, count: usize) -> Result<Vec<Reply>, Refusal> {
        let Some(mut later) = self.later.take() else { return Err(Refusal::VaultUnavailable) };
        let asked = later.asks.get_mut(..count).unwrap_or_default();
        let known = super::look::settle(asked, leg, self).await;
        let asks: Vec<&Ask> = asked.iter().filter_map(Question::ask).collect();
        let answers = match &leg.stored {
            _ if asks.is_empty() => Ok(Vec::new()),
            Some(stored) => stored.resolve(&asks, self.now).await.map_err(|cause| {
                tracing::warn!(target: "tidegate", %cause, "the token store did not answer");
                Refusal::VaultUnavailable
            }),
            None => Err(Refusal::VaultUnavailable),
        };
        let (mut answers, mut known) = (answers?.into_iter(), known.into_iter());
        let replies = asked.iter().map(|question| match question {
            Question::Ask(_) => answers.next().map(Reply::Answer),
            Question::Look(_) => known.next().map(Reply::Known),
        });
        let replies: Option<Vec<Reply>> = replies.collect();
        self.later = Some(later);
        let replies = replies.ok_or(Refusal::VaultUnavailable)?;
        self.gone += replies.iter().filter(|reply| matches!(reply, Reply::Answer(Answer::Gone))).count() as u64;
        Ok(replies)
    }

    /// Everything is run again, and gets these answers.
    pub(super) fn replay(&mut self, replies: Vec<Reply>) {
        let answers = replies.into_iter().filter_map(Reply::answer).collect();
        self.later = Some(Box::new(Later { replay: Some(answers), ..Later::default() }));
    }

    /// Whether this is run again: then everything that could be waited for was.
    pub(super) fn is_replay(&self) -> bool {
        self.later.as_ref().is_some_and(|later| later.replay.is_some())
    }

    /// Whether there are answers that nothing has asked for when it was run again.
    pub(super) fn has_answers_left(&self) -> bool {
        let replay = self.later.as_ref().and_then(|later| later.replay.as_ref());
        replay.is_some_and(|answers| !answers.is_empty())
    }

    /// Runs `again` with these answers; gives back what it made, and whether it took them all.
    pub(super) fn with_answers<T>(
        &mut self,
        answers: VecDeque<Answer>,
        again: impl FnOnce(&mut Self) -> T,
    ) -> (T, bool) {
        let later = Some(Box::new(Later { replay: Some(answers), ..Later::default() }));
        let open = std::mem::replace(&mut self.later, later);
        let made = again(self);
        let replayed = std::mem::replace(&mut self.later, open);
        let all =
            replayed.is_some_and(|later| later.replay.is_some_and(|left| left.is_empty()) && later.asks.is_empty());
        (made, all)
    }
}

/// How many questions are behind these gaps.
pub(super) fn asked_by(gaps: &[Gap]) -> usize {
    gaps.iter().map(|gap| gap.waiting.asks.end).max().unwrap_or(0)
}

/// `tokenize` with a store.
pub(super) fn issue(issuer: &Issuer, input: Input<'_>, hand: &mut Hand, out: &mut Vec<u8>) -> Applied {
    let ask = |value: Value<'_>| Ask::Issue(Wanted::new(issuer, value));
    match input {
        Input::Text(text, _) if issuer.owns(text) => Applied::Pass,
        Input::Text(text, _) if issuer.is_unknown(text) && hand.may_look() => {
            let wanted = Wanted::new(issuer, Value::Text(text));
            hand.look(Look::new(text, Who::Issuer(issuer.clone(), Box::new(wanted))))
        }
        Input::Text(text, _) if !issuer.fits(Value::Text(text)) => Applied::Unfit,
        Input::Text(text, _) => hand.ask(|| ask(Value::Text(text)), Plain::Refuse, out),
        Input::Number(raw) => match text::canonical_number(raw.as_bytes()) {
            Some(number) if !issuer.fits(Value::Number(&number)) => Applied::Unfit,
            Some(number) => hand.ask(|| ask(Value::Number(&number)), Plain::Refuse, out),
            None => Applied::Unfit,
        },
        // It could be guessed.
        Input::Boolean(_) => Applied::Unfit,
    }
}

/// The answers of one round trip, given to the gaps that wait for them.
pub(super) struct Filler<'a> {
    pub(super) leg: &'a BoundLeg,
    pub(super) hand: &'a mut Hand,
    answers: Vec<Option<Reply>>,
}

impl<'a> Filler<'a> {
    pub(super) fn new(leg: &'a BoundLeg, hand: &'a mut Hand, answers: Vec<Reply>) -> Self {
        Self { leg, hand, answers: answers.into_iter().map(Some).collect() }
    }

    /// Fills the gaps that wait for the questions that were answered, and forgets those. `ready`: how much of the sink may leave, in
    /// bytes and in gaps; brought up to date.
    pub(super) fn fill(mut self, sink: &mut Sink, ready: &mut (usize, usize)) -> Result<(), Refusal> {
        let answered = self.answers.len();
        let count = sink.gaps.iter().take_while(|gap| gap.waiting.asks.end <= answered).count();
        // An answer is given once: a gap behind one that waits on would never get its own.
        if let Some(gap) = sink.gaps.iter().skip(count).find(|gap| gap.waiting.asks.start < answered) {
            return Err(self.refusal(gap));
        }
        let grown = sink.fill(count, |gap, out| self.value(gap, out))?;
        let shift: usize = grown.iter().take(ready.1).sum();
        *ready = (ready.0 + shift, ready.1.saturating_sub(count));
        for gap in &mut sink.gaps {
            let asks = &mut gap.waiting.asks;
            *asks = asks.start.saturating_sub(answered)..asks.end.saturating_sub(answered);
        }
        if let Some(later) = &mut self.hand.later {
            later.asks.drain(..answered.min(later.asks.len()));
            later.ended = later.ended.saturating_sub(answered);
        }
        Ok(())
    }

    fn value(&mut self, gap: &Gap, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let start = out.len();
        let leg = self.leg;
        match leg.transformer(gap.waiting.asker) {
            Some(Transformer::Inside(_)) => self.opened(gap, out)?,
            Some(Transformer::Reveal { plain, .. }) => self.one(gap, *plain, out)?,
            _ => self.one(gap, Plain::Refuse, out)?,
        }
        self.charge(gap, (out.len() - start).saturating_sub(gap.stood.len()))
    }

    fn one(&mut self, gap: &Gap, plain: Plain, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let reply = self.answers.get_mut(gap.waiting.asks.start).and_then(Option::take);
        let answer = match reply {
            Some(Reply::Answer(answer) | Reply::Known(Known::Answer(answer))) => Some(answer),
            Some(Reply::Known(Known::Stays)) => {
                out.extend_from_slice(&gap.stood);
                return Ok(());
            }
            // Of the store's answers the one that is treated so.
            Some(Reply::Known(Known::Foreign)) => Some(Answer::Gone),
            Some(Reply::Known(Known::Unfit)) | None => None,
        };
        let fits = match answer {
            Some(Answer::Token(token)) => std::str::from_utf8(&token).is_ok_and(|token| dress(token, gap.dress, out)),
            Some(Answer::Text(text)) => dress(&text, gap.dress, out),
            Some(Answer::Number(number)) if gap.dress == Dress::Json => {
                out.extend_from_slice(number.as_bytes());
                text::canonical_number(number.as_bytes()).is_some()
            }
            Some(Answer::Number(number)) => dress(&number, gap.dress, out),
            Some(Answer::Gone) if plain == Plain::Pass => {
                out.extend_from_slice(&gap.stood);
                true
            }
            Some(Answer::Gone) | None => false,
        };
        if fits { Ok(()) } else { Err(self.refusal(gap)) }
    }

    /// A string with rules inside, once more.
    fn opened(&mut self, gap: &Gap, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Waiting { asker, asks, text, budget } = &gap.waiting;
        let leg = self.leg;
        let Some(Transformer::Inside(opening)) = leg.transformer(*asker) else { return Err(self.refusal(gap)) };
        let answers = self.answers.get_mut(asks.clone()).unwrap_or_default();
        let answers = answers.iter_mut().filter_map(Option::take).filter_map(Reply::answer).collect();
        let value = text.as_deref().map_or_else(|| text::unescape(&gap.stood), std::borrow::Cow::Borrowed);
        let (patches, all) = self.hand.with_answers(answers, |hand| opening.cross_again(&value, *budget, hand));
        let made = patches.filter(|_| all).and_then(|patches| {
            if gap.dress == Dress::Json {
                return patch::apply(&gap.stood, &patch::respell(&gap.stood, &patches)?, out);
            }
            let mut made = Vec::new();
            patch::apply(value.as_bytes(), &patches, &mut made)?;
            dress(std::str::from_utf8(&made).ok()?, gap.dress, out).then_some(())
        });
        made.ok_or_else(|| self.hand.cause.take().unwrap_or_else(|| self.refusal(gap)))
    }

    fn refusal(&self, gap: &Gap) -> Refusal {
        let side = self.leg.side;
        match (gap.waiting.asker, self.leg.rule_id(gap.waiting.asker).cloned()) {
            (Asker::Reveal(_), Some(rule)) => Refusal::TokenNotAccepted { leg: side, rule },
            (_, rule) => Refusal::RuleFailed { leg: side, rule },
        }
    }

    /// What is filled in counts against the document's growth.
    fn charge(&mut self, gap: &Gap, bytes: usize) -> Result<(), Refusal> {
        let Some(later) = &mut self.hand.later else { return Ok(()) };
        if later.grown.0 != gap.document {
            later.grown = (gap.document, 0);
        }
        later.grown.1 = later.grown.1.saturating_add(bytes as u64);
        if later.grown.1 <= self.leg.compiled.limits.growth_bytes {
            return Ok(());
        }
        let fault = crate::json::FaultKind::Growth.code();
        Err(Refusal::BodyMalformed { leg: self.leg.side, fault, location: "$".to_owned(), offset: 0 })
    }
}

/// Appends a text as it is spelt at its place. False: it cannot stand there.
fn dress(text: &str, dress: Dress, out: &mut Vec<u8>) -> bool {
    match dress {
        Dress::Json => text::escape(text, out),
        Dress::Form => encode(text, out),
        Dress::Text => out.extend_from_slice(text.as_bytes()),
        Dress::Line if text.contains(['\0', '\r', '\n']) => return false,
        Dress::Line => out.extend_from_slice(text.as_bytes()),
    }
    true
}
