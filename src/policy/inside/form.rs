//! A form in a string: its pairs one by one, and what changes in the text.
//!
//! Read as strictly as a body that is a form ([`crate::frames::form`]). A pair that goes takes the `&` before it along, or the one behind it
//! where nothing stayed before; a value that changes is written anew from the first character that changes to the last. Start at
//! [`rewrite`].

use std::ops::Range;

use crate::frames::form::{Pairs, Step, encode};
use crate::json::patch::Patch;

use super::coding::Coding;
use super::{Fault, through};

/// One pair. Places are of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// From 1.
    pub number: u64,
    /// All of it.
    pub range: Range<usize>,
    /// Where its value begins; `None` where it has no `=`.
    value_at: Option<usize>,
    /// Its name, decoded.
    pub name: String,
    /// Its value, decoded.
    pub value: String,
}

/// What becomes of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// It has this value.
    New(String),
}

/// Why a form in a string is not rewritten.
#[derive(Debug)]
pub enum Stopped<E> {
    /// It is none, or not in the codings.
    Fault(Fault),
    /// Whoever decides refuses.
    Refused(E),
}

impl<E> From<Fault> for Stopped<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Asks `decide` about each pair of the form in `text`; gives what changes in `text`.
///
/// # Errors
/// See [`Stopped`].
pub fn rewrite<E>(
    codings: &[Coding],
    text: &str,
    mut decide: impl FnMut(&Pair) -> Result<Fate, E>,
) -> Result<Vec<Patch>, Stopped<E>> {
    through(codings, text, |inmost| {
        let pairs = pairs(inmost)?;
        let mut patches: Vec<Patch> = Vec::new();
        // The end of the last pair that was seen, once one has stayed.
        let mut behind = None;
        for (index, pair) in pairs.iter().enumerate() {
            let end = pair.range.end;
            match decide(pair).map_err(Stopped::Refused)? {
                Fate::Keep => behind = Some(end),
                Fate::New(value) => {
                    patches.extend(pair.changed(inmost, &value).ok_or(Fault::Plan)?);
                    behind = Some(end);
                }
                Fate::Drop => {
                    let next = pairs.get(index + 1).map_or(end, |next| next.range.start);
                    let range = behind.map_or(pair.range.start..next, |behind| behind..end);
                    patches.push(Patch { range, put: Vec::new() });
                    behind = behind.map(|_| end);
                }
            }
        }
        Ok(patches)
    })
}

/// The pairs of a form.
fn pairs(text: &[u8]) -> Result<Vec<Pair>, Fault> {
    let (mut read, mut input) = (Pairs::new(text.len()), text);
    let mut found: Vec<(String, String)> = Vec::new();
    loop {
        let step = match read.next(&mut input).map_err(Fault::Form)? {
            None => read.finish().map_err(Fault::Form)?,
            step => step,
        };
        match (step, found.last_mut()) {
            (None, _) => break,
            (Some(Step::Name), _) => found.push((read.text().to_owned(), String::new())),
            (Some(Step::Value), Some((_, value))) => value.push_str(read.text()),
            (Some(Step::Value | Step::End), _) => {}
        }
    }
    // In its spelling `&` and the first `=` are nothing but separators.
    let (mut at, mut pairs) = (0, Vec::with_capacity(found.len()));
    let mut found = found.into_iter();
    for spelt in text.split(|byte| *byte == b'&') {
        let range = at..at + spelt.len();
        at = range.end + 1;
        if spelt.is_empty() {
            continue;
        }
        let (name, value) = found.next().ok_or(Fault::Plan)?;
        let value_at = spelt.iter().position(|byte| *byte == b'=').map(|equals| range.start + equals + 1);
        pairs.push(Pair { number: pairs.len() as u64 + 1, range, value_at, name, value });
    }
    if found.next().is_some() { Err(Fault::Plan) } else { Ok(pairs) }
}

impl Pair {
    /// What changes in the text where the pair gets another value: nothing, or one stretch.
    fn changed(&self, text: &[u8], value: &str) -> Option<Option<Patch>> {
        let Some(from) = self.value_at else {
            let mut put = vec![b'='];
            encode(value, &mut put);
            let at = self.range.end;
            return Some((!value.is_empty()).then_some(Patch { range: at..at, put }));
        };
        let old = &self.value;
        let alike = |(a, b): &((usize, char), (usize, char))| a.1 == b.1;
        let start: usize =
            old.char_indices().zip(value.char_indices()).take_while(alike).map(|(a, _)| a.1.len_utf8()).sum();
        let (old_rest, new_rest) = (old.get(start..)?, value.get(start..)?);
        let same = |(a, b): &(char, char)| a == b;
        let pairs = old_rest.chars().rev().zip(new_rest.chars().rev());
        let behind: usize = pairs.take_while(same).map(|(a, _)| a.len_utf8()).sum();
        let spelt = text.get(from..self.range.end)?;
        let range = from + spelt_at(spelt, start)?..from + spelt_at(spelt, old.len() - behind)?;
        let mut put = Vec::new();
        encode(new_rest.get(..new_rest.len() - behind)?, &mut put);
        Some((!range.is_empty() || !put.is_empty()).then_some(Patch { range, put }))
    }
}

/// Where byte `wanted` of a decoded text is spelt.
fn spelt_at(spelt: &[u8], wanted: usize) -> Option<usize> {
    let mut at = 0;
    for _ in 0..wanted {
        at += if *spelt.get(at)? == b'%' { 3 } else { 1 };
    }
    (at <= spelt.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::patch;

    /// Pairs named `d…` go, those named `n…` get what stands behind the `n`.
    fn decide(pair: &Pair) -> Result<Fate, ()> {
        Ok(match pair.name.strip_prefix('n') {
            _ if pair.name.starts_with('d') => Fate::Drop,
            Some(value) => Fate::New(value.to_owned()),
            None => Fate::Keep,
        })
    }

    fn rewritten(text: &str) -> String {
        let mut out = Vec::new();
        patch::apply(text.as_bytes(), &rewrite(&[], text, decide).unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_goes_takes_one_separator_along_and_what_stays_keeps_its_spelling() {
        for (text, expected) in [
            ("", ""),
            ("a=%41+b&&c", "a=%41+b&&c"),
            ("d=1&a=2", "a=2"),
            ("a=2&d=1", "a=2"),
            ("a&d=1&d&b", "a&b"),
            ("d&d=2&a&d&b&d", "a&b"),
            ("&&d=1&&a=1&&", "&&a=1&&"),
            ("a=1&&d=1&&", "a=1&&"),
            ("d", ""),
            ("d&", "&"),
            ("%64=1&a", "a"),
            ("nx", "nx=x"),
            ("n", "n"),
            ("n=1", "n="),
            ("nx=1&n=", "nx=x&n="),
            ("nab%C3%A4=a%62%C3%A4", "nab%C3%A4=a%62%C3%A4"),
            ("nab%C3%A4=%61x%C3%A4", "nab%C3%A4=%61b%C3%A4"),
            ("n%C3%A4=%C3%B6", "n%C3%A4=%C3%A4"),
            ("na+c=a%20x", "na+c=a%20c"),
            ("naa=a", "naa=aa"),
            ("na=aa", "na=a"),
        ] {
            assert_eq!(rewritten(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_form_is_a_fault() {
        for text in ["a=%4", "a b", "a=1;b", "a=\u{e4}", "a=%FF", "a\n"] {
            assert!(matches!(rewrite(&[], text, decide), Err(Stopped::Fault(Fault::Form(_)))), "{text}");
        }
        assert!(matches!(rewrite(&[Coding::Base64], "!", decide), Err(Stopped::Fault(Fault::Coding))));
        let refuses = |_: &Pair| Err(7);
        assert!(matches!(rewrite(&[], "a", refuses), Err(Stopped::Refused(7))));
    }

    proptest! {
        #[test]
        fn it_reads_as_the_pairs_that_stay_with_their_values(
            given in prop::collection::vec(("[adn][a%+\u{e4}&=]{0,3}", prop::option::of(".{0,4}")), 0..6),
        ) {
            let mut text = Vec::new();
            for (index, (name, value)) in given.iter().enumerate() {
                text.extend_from_slice(if index > 0 { b"&" } else { b"" });
                encode(name, &mut text);
                if let Some(value) = value {
                    text.push(b'=');
                    encode(value, &mut text);
                }
            }
            let text = String::from_utf8(text).unwrap();
            let read = pairs(rewritten(&text).as_bytes()).unwrap();
            let read: Vec<_> = read.into_iter().map(|pair| (pair.name, pair.value)).collect();
            let wanted = given.into_iter().filter(|(name, _)| !name.starts_with('d')).map(|(name, value)| {
                let new = name.strip_prefix('n').map(str::to_owned);
                (name, new.or(value).unwrap_or_default())
            });
            prop_assert_eq!(read, wanted.collect::<Vec<_>>());
        }
    }
}
