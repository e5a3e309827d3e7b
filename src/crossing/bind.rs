//! A compiled leg bound to its partner's keys: what [`super::Crossing`] and [`super::head`] run.
//!
//! Binding happens once, when a policy is loaded, so that an exchange asks for no key and looks nothing up. A [`Transformer`]
//! is one action with all it needs, and `Transformer::apply` is the one place that knows what an action makes of a value,
//! whether that value stood in a body, a header, a query or a path. Start at [`BoundLeg::bind`].

use std::path::Path;
use std::sync::Arc;

use crate::clock::Time;
use crate::ids::{self, DomainId, RuleId, Shape};
use crate::json::{patch, text};
use crate::keys::{self, KeyRing};
use crate::policy::compile::{Asker, CompiledLeg, Guard};
use crate::policy::kept;
use crate::policy::rule::{Action, Plain};
use crate::vault::store::Spelling;
use crate::vault::stored::ask::{Ask, Stored};
use crate::vault::stored::{Finder, Issuer};
use crate::vault::token::{Issued, Opened, Value};
use crate::vault::{Opener, Pseudonymizer, Recipient, Sealer, Vault};
use crate::verdict::Refusal;

use super::beside::Beside;
use super::inside::{Hand, Opening};
use super::later;
use super::look::{Look, Who};
use super::transform::{Generalized, Generalizer, Masker};

/// One leg, ready for traffic.
#[derive(Debug)]
pub struct BoundLeg {
    /// The rules.
    pub compiled: CompiledLeg,
    /// Which half of the exchange.
    pub side: ids::Leg,
    /// By index of `Leg::rules`.
    pub rules: Vec<Transformer>,
    /// By index of `Leg::reveals`.
    pub reveals: Vec<Transformer>,
    /// By index of `CompiledLeg::guards`.
    pub guards: Vec<Transformer>,
    /// What happens beside the body.
    pub beside: Beside,
    /// The rules with `must` and a path: those that a body has to match. Where there is one, the body is atomic as a whole.
    pub musts: Vec<Must>,
    /// Where tokens are kept, if they are.
    pub stored: Option<Stored>,
    /// The rule whose value says whose data a document is, where it has stored tokens or persons are counted.
    pub subject: Option<usize>,
    /// What is read again for a token of an unknown epoch.
    pub keys: Arc<KeyRing>,
}

/// A rule that a body has to match.
#[derive(Clone, Debug)]
pub struct Must {
    /// Its name.
    pub rule: RuleId,
    /// What has to match.
    pub what: Wanted,
}

/// What has to match in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This selection of the leg's program.
    Selection(usize),
    /// In the strings that the opening of this number opens, this selection; where they hold forms, this rule.
    Inside(usize, usize),
    /// The place of this rule, outside of documents.
    Rule(usize),
}

/// Gives the bytes of a file that a policy names, or says why not.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> Result<Arc<[u8]>, String>;

/// Why a leg cannot be bound. For the operator; names a file or a domain, never a key.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No keys for the partner's domain.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// A rule stores its tokens, and the settings name no place for them.
    #[error("rule `{rule}`: `store = \"vault\"` needs a place to keep tokens: add `[vault]` to the settings")]
    NoStore {
        /// The rule.
        rule: RuleId,
    },
    /// The file that `encrypt` names.
    #[error("`{path}`: {message}")]
    Recipient {
        /// As written in the policy.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

impl BoundLeg {
    /// Binds the rules of one leg to the keys of `domain`. `read` gives the text of a file that the policy names.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(
        compiled: CompiledLeg,
        side: ids::Leg,
        domain: &DomainId,
        vault: &Vault,
        read: ReadFile<'_>,
    ) -> Result<Self, BindError> {
        Binder { side, domain, vault, read, slots: 0 }.bind(compiled, None)
    }

    /// Whether a body is held until all of it has passed: a rule has to match, or has to say whose data it is.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.musts.is_empty() || self.subject.is_some()
    }

    /// What an asker does.
    pub(super) fn transformer(&self, asker: Asker) -> Option<&Transformer> {
        match asker {
            Asker::Rule(index) => self.rules.get(index),
            Asker::Reveal(index) => self.reveals.get(index),
            Asker::Guard(index) => self.guards.get(index),
        }
    }

    /// What records and messages call an asker.
    pub(super) fn rule_id(&self, asker: Asker) -> Option<&RuleId> {
        match asker {
            Asker::Rule(index) => self.compiled.leg.rules.get(index).map(|rule| &rule.id),
            Asker::Reveal(index) => self.compiled.leg.reveals.get(index).map(|reveal| &reveal.id),
            Asker::Guard(index) => self.compiled.guards.get(index).map(|guard| &guard.rule),
        }
    }
}

/// The rule that sees the value that says whose data this is; `None` where no token of the leg is stored and nobody is counted.
fn subject(compiled: &CompiledLeg) -> Option<usize> {
    let leg = &compiled.leg;
    let stores = leg.deep_rules().iter().any(|deep| matches!(deep.thing.action, Action::Store(_)));
    kept::sees_subject(leg).filter(|_| stores || compiled.counts_subjects)
}

/// Binds a leg, and the rules inside its strings.
struct Binder<'a> {
    side: ids::Leg,
    domain: &'a DomainId,
    vault: &'a Vault,
    read: ReadFile<'a>,
    /// Openings so far.
    slots: usize,
}

impl Binder<'_> {
    /// `slot`: the number of the opening whose rules these are.
    fn bind(&mut self, mut compiled: CompiledLeg, slot: Option<usize>) -> Result<BoundLeg, BindError> {
        let (domain, vault) = (self.domain, self.vault);
        let mut inside = std::mem::take(&mut compiled.inside);
        let mut musts = Vec::new();
        let selected = compiled.askers.iter().enumerate().filter_map(|(selection, asker)| match asker {
            Asker::Rule(index) => {
                Some((*index, slot.map_or(Wanted::Selection(selection), |slot| Wanted::Inside(slot, selection))))
            }
            Asker::Reveal(_) | Asker::Guard(_) => None,
        });
        let in_form = |index: &usize| compiled.leg.rules.get(*index).is_some_and(|rule| rule.locator.is_asked_for());
        // A form in a string has no selections: there a rule counts by its own number.
        let by_name = |index| slot.map_or(Wanted::Rule(index), |slot| Wanted::Inside(slot, index));
        let formed = (0..compiled.leg.rules.len()).filter(in_form).map(|index| (index, by_name(index)));
        for (index, what) in selected.chain(formed) {
            if let Some(rule) = compiled.leg.rules.get(index).filter(|rule| rule.must) {
                musts.push(Must { rule: rule.id.clone(), what });
            }
        }
        let mut rules = Vec::with_capacity(compiled.leg.rules.len());
        for (index, rule) in compiled.leg.rules.iter().enumerate() {
            let category = rule.category.as_ref();
            rules.push(match &rule.action {
                Action::Keep { .. } => Transformer::Keep,
                Action::Drop | Action::Null => Transformer::Remove,
                Action::Replace { with } => Transformer::Replace(constant_text(with)),
                Action::Inside(opened) => match inside.remove(&index) {
                    Some(inner) => {
                        let (number, codings) = (self.slots, opened.codings.clone());
                        self.slots += 1;
                        let leg = Box::new(self.bind(inner, Some(number))?);
                        musts.extend(leg.musts.iter().cloned());
                        Transformer::Inside(Opening { codings, leg, rule: rule.id.clone(), slot: number })
                    }
                    // Compiling makes one for each; without it nothing is known of what is in there.
                    None => Transformer::Remove,
                },
                Action::Mask(mask) => Transformer::Mask(Masker(*mask)),
                Action::Generalize(to) => Transformer::Generalize(Generalizer(*to)),
                Action::Tokenize(shape) => {
                    let sealer = vault.sealer(domain, category, *shape)?.normalizing(rule.normalize);
                    Transformer::Tokenize(sealer, *shape)
                }
                Action::Store(kept) => {
                    if vault.stored().is_none() {
                        return Err(BindError::NoStore { rule: rule.id.clone() });
                    }
                    let spelling = match kept.shape {
                        Shape::Email => Spelling::Mail,
                        Shape::Uuid => Spelling::Uuid,
                        _ => Spelling::Opaque,
                    };
                    let issuer = vault.issuer(domain, category, spelling, kept.once)?;
                    Transformer::Store(issuer.normalizing(rule.normalize))
                }
                Action::Pseudonymize => {
                    let pseudonymizer = vault.pseudonymizer(domain, category)?.normalizing(rule.normalize);
                    Transformer::Pseudonymize(pseudonymizer)
                }
                Action::Encrypt { to } => {
                    let wrong = |message| BindError::Recipient { path: to.display().to_string(), message };
                    let bytes = (self.read)(to).map_err(wrong)?;
                    let jwk = std::str::from_utf8(&bytes).map_err(|_| wrong("not UTF-8".to_owned()))?;
                    Transformer::Encrypt(Recipient::from_jwk(jwk).map_err(wrong)?)
                }
            });
        }
        let mut reveals = Vec::with_capacity(compiled.leg.reveals.len());
        for reveal in &compiled.leg.reveals {
            let opener = vault.opener(domain, &reveal.category, reveal.shape)?;
            let finder = vault.finder(domain, &reveal.category)?;
            reveals.push(Transformer::Reveal { opener, finder, plain: reveal.plain });
        }
        let masks: Arc<[Masker]> = compiled.guards.iter().map(|guard| Masker(guard.mask)).collect();
        let guard = |guard: &Guard| Transformer::Guard(guard.rule.clone(), self.side, Arc::clone(&masks));
        let guards = compiled.guards.iter().map(guard).collect();
        let beside = Beside::new(&compiled);
        let stored = vault.stored().cloned();
        let subject = if slot.is_none() { subject(&compiled) } else { None };
        let keys = Arc::clone(vault.keys());
        Ok(BoundLeg { keys, musts, compiled, side: self.side, rules, reveals, guards, beside, stored, subject })
    }
}

/// An action with its keys.
#[derive(Debug)]
pub enum Transformer {
    /// `keep`: in a body the engine does it alone.
    Keep,
    /// `drop` and `null`: in a body the engine does them alone; beside it both remove.
    Remove,
    /// `replace`: in a body the engine does it alone; the text is for what stands beside it.
    Replace(String),
    /// `inside`
    Inside(Opening),
    /// `mask`
    Mask(Masker),
    /// `generalize`
    Generalize(Generalizer),
    /// `tokenize`
    Tokenize(Sealer, Shape),
    /// `tokenize` with a store
    Store(Issuer),
    /// `pseudonymize`
    Pseudonymize(Pseudonymizer),
    /// `encrypt`
    Encrypt(Recipient),
    /// No masked value comes back here: the rule that masks, the leg, and all ways in which values are masked.
    Guard(RuleId, ids::Leg, Arc<[Masker]>),
    /// `reveal`
    Reveal {
        /// For tokens that carry their value.
        opener: Opener,
        /// For stored ones, where there is a store.
        finder: Option<Finder>,
        /// What any other value gets.
        plain: Plain,
    },
}

/// One value, as a transformer sees it.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    /// A string's value, unescaped, and where it stood in a JSON body its spelling there.
    Text(&'a str, Option<&'a [u8]>),
    /// A number, as spelt.
    Number(&'a str),
    /// `true` or `false`, as spelt.
    Boolean(&'a str),
}

/// What came of a value. What was appended to `out` is unquoted and unescaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// A text was appended.
    Text,
    /// A number was appended.
    Number,
    /// The value stays as it is.
    Pass,
    /// What takes its place is known when the store has been asked.
    Later,
    /// The value does not fit the action and goes.
    Unfit,
    /// The value goes because the rule says so.
    Remove,
    /// The rule refuses this value, or cannot be evaluated on it.
    Refuse {
        /// It is a token, but none that this place turns back: a foreign one, which is worth an alarm.
        foreign: bool,
    },
    /// A token that this place does not turn back, at a place where plain values pass: stays a token.
    PassForeign,
}

impl Transformer {
    /// Runs the action on one value and appends what results to `out`.
    pub(super) fn apply(&self, input: Input<'_>, hand: &mut Hand, out: &mut Vec<u8>) -> Applied {
        let mark = out.len();
        let applied = self.try_apply(input, hand, out);
        if !matches!(applied, Applied::Text | Applied::Number) {
            out.truncate(mark);
        }
        applied
    }

    fn try_apply(&self, input: Input<'_>, hand: &mut Hand, out: &mut Vec<u8>) -> Applied {
        let spelt = match input {
            Input::Text(text, _) | Input::Number(text) | Input::Boolean(text) => text,
        };
        match self {
            Self::Keep => Applied::Pass,
            Self::Guard(rule, leg, masks) => {
                if !masks.iter().any(|mask| mask.made(spelt)) {
                    return Applied::Pass;
                }
                hand.cause = Some(Refusal::MaskedValueReturned { leg: *leg, rule: rule.clone() });
                Applied::Refuse { foreign: false }
            }
            Self::Remove => Applied::Remove,
            Self::Replace(with) => {
                out.extend_from_slice(with.as_bytes());
                Applied::Text
            }
            // Two values only: whatever is done to a boolean, it can be guessed. So it goes, save where it is sealed with
            // randomness (encrypt) or cannot be a token (reveal).
            Self::Mask(_) | Self::Generalize(_) | Self::Tokenize(..) | Self::Store(_) | Self::Pseudonymize(_)
                if matches!(input, Input::Boolean(_)) =>
            {
                Applied::Unfit
            }
            Self::Inside(opening) => open(opening, input, hand, out),
            Self::Mask(masker) => {
                hand.scratch.clear();
                masker.mask(spelt, &mut hand.scratch);
                out.extend_from_slice(hand.scratch.as_bytes());
                Applied::Text
            }
            Self::Generalize(generalizer) => {
                hand.scratch.clear();
                let Some(today) = date(hand.now) else { return Applied::Refuse { foreign: false } };
                let applied = match generalizer.generalize(spelt, today, &mut hand.scratch) {
                    Generalized::Number if matches!(input, Input::Number(_)) => Applied::Number,
                    Generalized::Number | Generalized::Text => Applied::Text,
                    Generalized::Unfit => Applied::Unfit,
                };
                out.extend_from_slice(hand.scratch.as_bytes());
                applied
            }
            Self::Tokenize(sealer, _)
                if matches!(input, Input::Text(..)) && sealer.is_unknown(spelt) && hand.may_look() =>
            {
                hand.look(Look::new(spelt, Who::Sealer(sealer.clone())))
            }
            Self::Tokenize(sealer, shape) => tokenize(sealer, *shape, input, out),
            Self::Pseudonymize(pseudonymizer) => {
                let hashed = match input {
                    Input::Number(raw) => text::canonical_number(raw.as_bytes())
                        .is_some_and(|number| pseudonymizer.hash(Value::Number(&number), out)),
                    Input::Text(text, _) | Input::Boolean(text) => pseudonymizer.hash(Value::Text(text), out),
                };
                if hashed { Applied::Text } else { Applied::Unfit }
            }
            Self::Encrypt(recipient) => {
                let sealed = match input {
                    Input::Text(_, Some(raw)) => recipient.encrypt(raw, out),
                    Input::Text(text, None) => {
                        let mut json = Vec::with_capacity(text.len() + 2);
                        text::escape(text, &mut json);
                        recipient.encrypt(&json, out)
                    }
                    Input::Number(raw) | Input::Boolean(raw) => recipient.encrypt(raw.as_bytes(), out),
                };
                if sealed.is_ok() { Applied::Text } else { Applied::Refuse { foreign: false } }
            }
            Self::Store(issuer) => later::issue(issuer, input, hand, out),
            Self::Reveal { opener, finder, plain } => {
                if let Some(genuine) = finder.as_ref().and_then(|finder| finder.genuine(spelt)) {
                    hand.reveals(spelt);
                    return hand.ask(|| Ask::Find(genuine), *plain, out);
                }
                if opener.is_unknown(spelt) && hand.may_look() {
                    return hand.look(Look::new(spelt, Who::Opener(opener.clone(), finder.clone())));
                }
                let applied = reveal(opener, *plain, input, spelt, out);
                match applied {
                    Applied::PassForeign | Applied::Refuse { foreign: true } => hand.strays.note(opener, spelt),
                    Applied::Text | Applied::Number => hand.reveals(spelt),
                    _ => {}
                }
                applied
            }
        }
    }
}

/// A text beside the body; in a body the patches go to the engine as they are.
fn open(opening: &Opening, input: Input<'_>, hand: &mut Hand, out: &mut Vec<u8>) -> Applied {
    let Input::Text(text, _) = input else { return Applied::Refuse { foreign: false } };
    let asked = hand.asked();
    match opening.cross(text, hand) {
        Some(_) if hand.asked() > asked => Applied::Later,
        Some(patches) if patches.is_empty() => Applied::Pass,
        Some(patches) if patch::apply(text.as_bytes(), &patches, out).is_some() => Applied::Text,
        _ => Applied::Refuse { foreign: false },
    }
}

fn tokenize(sealer: &Sealer, shape: Shape, input: Input<'_>, out: &mut Vec<u8>) -> Applied {
    let start = out.len();
    let issued = match input {
        // Digits are tokenized as they are spelt, so that they come back as they were.
        Input::Number(raw) if shape.is_digits() => sealer.issue(Value::Text(raw), out),
        Input::Number(raw) => match text::canonical_number(raw.as_bytes()) {
            Some(number) => sealer.issue(Value::Number(&number), out),
            None => Issued::Unfit,
        },
        Input::Text(text, _) | Input::Boolean(text) => sealer.issue(Value::Text(text), out),
    };
    match issued {
        Issued::Token if shape.is_digits() && matches!(input, Input::Number(_)) => {
            // A number may not begin with a zero; such a token leaves as a string.
            if out.get(start) == Some(&b'0') { Applied::Text } else { Applied::Number }
        }
        Issued::Token => Applied::Text,
        Issued::Already => Applied::Pass,
        Issued::Unfit => Applied::Unfit,
    }
}

fn reveal(opener: &Opener, plain: Plain, input: Input<'_>, spelt: &str, out: &mut Vec<u8>) -> Applied {
    let start = out.len();
    let opened = match input {
        Input::Boolean(_) => Opened::Plain,
        Input::Text(..) | Input::Number(_) => opener.open(spelt, out),
    };
    match (opened, plain) {
        // What stood as a number and comes back as one (digits) stays one.
        (Opened::Text, _) if matches!(input, Input::Number(_)) => {
            let number = out.get(start..).is_some_and(|bytes| text::canonical_number(bytes).is_some());
            if number { Applied::Number } else { Applied::Text }
        }
        (Opened::Text, _) => Applied::Text,
        (Opened::Number, _) => Applied::Number,
        (Opened::Plain, Plain::Pass) => Applied::Pass,
        (Opened::Plain, Plain::Refuse) => Applied::Refuse { foreign: false },
        (Opened::Foreign, Plain::Pass) => Applied::PassForeign,
        (Opened::Foreign, Plain::Refuse) => Applied::Refuse { foreign: true },
    }
}

/// The day in UTC.
fn date(now: Time) -> Option<jiff::civil::Date> {
    let timestamp = jiff::Timestamp::from_millisecond(i64::try_from(now.0).ok()?).ok()?;
    Some(jiff::tz::TimeZone::UTC.to_datetime(timestamp).date())
}

/// The constant of a `replace` as it stands beside a body: a string without its quotes, anything else as JSON spells it.
fn constant_text(json: &[u8]) -> String {
    if json.first() == Some(&b'"') {
        text::unescape(json).into_owned()
    } else {
        String::from_utf8_lossy(json).into_owned()
    }
}
