//! Tokens that name a key which nobody here knows: the keys are read again before they are judged.
//!
//! Such a token leaves a gap as one does that waits for the store. Then the keys are looked at, once for all of a window, and each
//! is what it turns out to be: a question to the store, or something that is known now. Start at `settle`.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::keys::KeyRing;
use crate::vault::stored::ask::{Answer, Ask, Wanted};
use crate::vault::stored::{Finder, Issuer};
use crate::vault::token::{Issued, Opened, Value};
use crate::vault::{Opener, Sealer};

use super::bind::{Applied, BoundLeg};
use super::inside::Hand;

/// What something waits for.
pub(super) enum Question {
    /// The store.
    Ask(Ask),
    /// The keys, and then perhaps the store.
    Look(Box<Look>),
}

/// A text that names an unknown key.
pub(super) struct Look {
    text: Zeroizing<String>,
    who: Who,
}

/// Who wants to know what it is.
pub(super) enum Who {
    /// `reveal`
    Opener(Opener, Option<Finder>),
    /// `tokenize`
    Sealer(Sealer),
    /// `tokenize` with a store, and what is asked if it is no token.
    Issuer(Issuer, Box<Wanted>),
}

/// What a question is answered.
pub(super) enum Reply {
    /// By the store.
    Answer(Answer),
    /// By the keys.
    Known(Known),
}

/// What is known of a text once the keys have been read again.
pub(super) enum Known {
    /// What takes its place.
    Answer(Answer),
    /// It is a token already.
    Stays,
    /// It is a token that is not turned back here.
    Foreign,
    /// Nothing can take its place.
    Unfit,
}

impl Question {
    pub(super) fn ask(&self) -> Option<&Ask> {
        match self {
            Self::Ask(ask) => Some(ask),
            Self::Look(_) => None,
        }
    }

    /// Whether a value may be kept for it.
    pub(super) fn stores(&self) -> bool {
        match self {
            Self::Ask(ask) => matches!(ask, Ask::Issue(_)),
            Self::Look(look) => matches!(look.who, Who::Issuer(..)),
        }
    }

    /// Says whose the value is.
    pub(super) fn belongs_to(&mut self, subject: &str) {
        match self {
            Self::Ask(Ask::Issue(wanted)) => wanted.belongs_to(subject),
            Self::Look(look) => {
                if let Who::Issuer(_, wanted) = &mut look.who {
                    wanted.belongs_to(subject);
                }
            }
            Self::Ask(Ask::Find(_)) => {}
        }
    }
}

impl Reply {
    /// What something that is run again asks for once more: what the keys say it sees by itself.
    pub(super) fn answer(self) -> Option<Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Known(_) => None,
        }
    }
}

impl Look {
    pub(super) fn new(text: &str, who: Who) -> Self {
        Self { text: Zeroizing::new(text.to_owned()), who }
    }

    /// What it is now. `Err`: the store has to say.
    fn known(&self, hand: &mut Hand) -> Result<Known, Ask> {
        let text = self.text.as_str();
        Ok(match &self.who {
            Who::Opener(opener, finder) => {
                if let Some(genuine) = finder.as_ref().and_then(|finder| finder.genuine(text)) {
                    hand.reveals(text);
                    return Err(Ask::Find(genuine));
                }
                let known = open(opener, text);
                if matches!(known, Known::Answer(_)) {
                    hand.reveals(text);
                }
                if matches!(known, Known::Foreign) {
                    opener.have_looked(text);
                    hand.foreign = hand.foreign.saturating_add(1);
                    hand.strays.note(opener, text);
                }
                known
            }
            Who::Sealer(sealer) => seal(sealer, text),
            Who::Issuer(issuer, _) if issuer.owns(text) => Known::Stays,
            Who::Issuer(issuer, wanted) => {
                issuer.have_looked(text);
                if !issuer.fits(Value::Text(text)) {
                    return Ok(Known::Unfit);
                }
                return Err(Ask::Issue((**wanted).clone()));
            }
        })
    }
}

fn open(opener: &Opener, text: &str) -> Known {
    let mut opened = Zeroizing::new(Vec::new());
    let kind = opener.open(text, &mut opened);
    let value = || std::str::from_utf8(&opened).map(|text| Zeroizing::new(text.to_owned()));
    match (kind, value()) {
        (Opened::Text, Ok(text)) => Known::Answer(Answer::Text(text)),
        (Opened::Number, Ok(number)) => Known::Answer(Answer::Number(number)),
        _ => Known::Foreign,
    }
}

fn seal(sealer: &Sealer, text: &str) -> Known {
    let mut token = Vec::new();
    match sealer.issue(Value::Text(text), &mut token) {
        Issued::Already => Known::Stays,
        Issued::Token => {
            sealer.have_looked(text);
            Known::Answer(Answer::Token(token))
        }
        Issued::Unfit => Known::Unfit,
    }
}

impl Hand {
    /// Whether it may wait for the keys: not where something is run again, and not once more so soon.
    pub(super) fn may_look(&self) -> bool {
        !self.is_replay() && self.looked.as_ref().is_none_or(|(beat, keys)| keys.may_look_again(Some(*beat)))
    }

    /// Lets the value wait for the keys.
    pub(super) fn look(&mut self, look: Look) -> Applied {
        self.later.get_or_insert_default().asks.push(Question::Look(Box::new(look)));
        Applied::Later
    }
}

/// Looks at the keys if anything waits for that. What turns out to be a question to the store becomes one; what the others are is
/// given, in order.
pub(super) async fn settle(asked: &mut [Question], leg: &BoundLeg, hand: &mut Hand) -> Vec<Known> {
    if asked.iter().all(|question| matches!(question, Question::Ask(_))) {
        return Vec::new();
    }
    hand.looked = Some((leg.keys.look().await, Arc::clone(&leg.keys)));
    let mut known = Vec::new();
    for question in asked {
        let Question::Look(look) = question else { continue };
        match look.known(hand) {
            Ok(is) => known.push(is),
            Err(ask) => *question = Question::Ask(ask),
        }
    }
    known
}

/// The keys that a leg is bound to, and [`KeyRing::look`]'s answer.
pub(super) type Looked = Option<(u64, Arc<KeyRing>)>;
