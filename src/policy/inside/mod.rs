//! Rules inside strings: a text in a string has rules of its own.
//!
//! [`Inside`] is what a rule says of it; its rules are a leg of their own, so that whatever runs a leg runs them. [`rewrite`] opens a
//! text, runs a program over what is in it, and gives the changes to the text. [`Leg::deep_rules`] is for those that must see
//! through: nothing that a rule inside a string does is hidden from them.

pub mod coding;
pub mod form;
pub mod parse;

use std::fmt;
use std::sync::Arc;

use crate::frames;
use crate::json;
use crate::json::patch::Patch;
use crate::json::window::{Judge, Rewriter};

use super::rule::{Action, BodyKind, Leg, Locator, Reveal, Rule};
use coding::{Coding, Unwrapped};

/// `inside = …` with its rules.
#[derive(Clone, Debug)]
pub struct Inside {
    /// What is undone first, outermost first.
    pub codings: Vec<Coding>,
    /// What then is read, and its rules.
    pub leg: Arc<Leg>,
}

impl PartialEq for Inside {
    /// Two lists of rules are never compared: on one place they disagree.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.leg, &other.leg)
    }
}

impl Inside {
    /// `base64, json`
    #[must_use]
    pub fn words(&self) -> String {
        let last = if self.leg.body == BodyKind::Form { "form" } else { "json" };
        self.codings.iter().map(|coding| coding.name()).chain([last]).collect::<Vec<_>>().join(", ")
    }
}

impl Rule {
    /// The rules inside the strings that it selects.
    #[must_use]
    pub fn inside(&self) -> Option<&Inside> {
        match &self.action {
            Action::Inside(inside) => Some(inside),
            _ => None,
        }
    }
}

/// A rule or reveal, with the way to it.
#[derive(Debug)]
pub struct Deep<'l, T> {
    /// Where it looks: of the strings around it, outermost first, then its own.
    pub way: Vec<&'l Locator>,
    /// The rule or reveal.
    pub thing: &'l T,
}

/// A leg, or the rules inside a string, with the way to it.
#[derive(Clone, Debug)]
pub struct DeepLeg<'l> {
    /// Where the strings around it are, outermost first.
    pub way: Vec<&'l Locator>,
    /// The rules.
    pub leg: &'l Leg,
}

impl Leg {
    /// The leg, and the rules inside strings, each behind what is around it. Strings in strings are bounded
    /// ([`parse::DEPTH_MAX`]).
    #[must_use]
    pub fn deep_legs(&self) -> Vec<DeepLeg<'_>> {
        let mut found = vec![DeepLeg { way: Vec::new(), leg: self }];
        let mut at = 0;
        while let Some(DeepLeg { way, leg }) = found.get(at).cloned() {
            let inner = leg.rules.iter().filter_map(|rule| Some((rule, rule.inside()?)));
            found.extend(inner.map(|(rule, inside)| DeepLeg { way: behind(&way, &rule.locator), leg: &inside.leg }));
            at += 1;
        }
        found
    }

    /// All rules, those inside strings too.
    #[must_use]
    pub fn deep_rules(&self) -> Vec<Deep<'_, Rule>> {
        let mut found = Vec::new();
        for DeepLeg { way, leg } in self.deep_legs() {
            found.extend(leg.rules.iter().map(|rule| Deep { way: behind(&way, &rule.locator), thing: rule }));
        }
        found
    }

    /// All reveals, those inside strings too.
    #[must_use]
    pub fn deep_reveals(&self) -> Vec<Deep<'_, Reveal>> {
        let mut found = Vec::new();
        for DeepLeg { way, leg } in self.deep_legs() {
            found.extend(leg.reveals.iter().map(|reveal| Deep { way: behind(&way, &reveal.locator), thing: reveal }));
        }
        found
    }
}

fn behind<'l>(way: &[&'l Locator], locator: &'l Locator) -> Vec<&'l Locator> {
    way.iter().copied().chain([locator]).collect()
}

/// Why what is in a string cannot be rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The text is not in the coding that the rule names.
    Coding,
    /// What is in it is refused.
    Json(json::Fault),
    /// It is no form.
    Form(frames::Fault),
    /// What was planned does not fit the text.
    Plan,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coding => f.write_str("it is not in the coding that `inside` names"),
            Self::Json(fault) => write!(f, "{fault}"),
            Self::Form(fault) => write!(f, "{fault}"),
            Self::Plan => f.write_str("what is in it cannot be put back"),
        }
    }
}

/// Runs `rewriter` over what is in `text`; gives what changes in `text`.
///
/// # Errors
/// See [`Fault`].
pub fn rewrite(
    codings: &[Coding],
    text: &str,
    rewriter: &mut Rewriter,
    judge: &mut dyn Judge,
) -> Result<Vec<Patch>, Fault> {
    through(codings, text, |inmost| {
        rewriter.feed(inmost, judge).map_err(Fault::Json)?;
        rewriter.finish(judge).map_err(Fault::Json)?;
        patches(rewriter).ok_or(Fault::Plan)
    })
}

/// What changes in `text` where `within` says what changes in it once its codings are undone.
fn through<E: From<Fault>>(
    codings: &[Coding],
    text: &str,
    within: impl FnOnce(&[u8]) -> Result<Vec<Patch>, E>,
) -> Result<Vec<Patch>, E> {
    let unwrapped = layers(codings, text).ok_or(Fault::Coding)?;
    let mut patches = within(unwrapped.last().map_or(text.as_bytes(), |inner| &inner.bytes))?;
    for around in unwrapped.iter().rev() {
        patches = around.wrap(&patches).ok_or(Fault::Plan)?;
    }
    Ok(patches)
}

/// What is in `text` once its codings are undone. `None` where it is not in them.
#[must_use]
pub fn unwrap(codings: &[Coding], text: &str) -> Option<Vec<u8>> {
    let bytes = layers(codings, text)?.pop().map(|inmost| inmost.bytes);
    Some(bytes.unwrap_or_else(|| text.as_bytes().to_vec()))
}

/// Every coding undone, outermost first.
fn layers(codings: &[Coding], text: &str) -> Option<Vec<Unwrapped>> {
    let mut layers: Vec<Unwrapped> = Vec::with_capacity(codings.len());
    for coding in codings {
        let around = layers.last().map_or(text.as_bytes(), |around| &around.bytes);
        let inner = coding.unwrap(around)?;
        layers.push(inner);
    }
    Some(layers)
}

/// All that is planned for the one window. `None` where an edit waits for its bytes.
fn patches(rewriter: &Rewriter) -> Option<Vec<Patch>> {
    let (_, plan) = rewriter.window();
    let patch =
        |edit: &json::window::Edit| Some(Patch { range: edit.range.clone(), put: plan.bytes(&edit.put)?.to_vec() });
    plan.edits.iter().map(patch).collect()
}
