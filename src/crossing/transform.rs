//! Mask and generalize: pure, on text.

use crate::policy::rule::{Generalize, Mask};

/// `mask`, on grapheme clusters (UAX #29).
#[derive(Clone, Copy, Debug)]
pub struct Masker(pub Mask);

impl Masker {
    /// Appends the masked form of `text` to `out`. A fixed run of 6 `*`, save what is kept; where more than half of the clusters would stay, all are masked.
    pub fn mask(&self, text: &str, out: &mut String) {
        let _ = (text, out);
        todo!()
    }
}

/// `generalize`.
#[derive(Clone, Copy, Debug)]
pub struct Generalizer(pub Generalize);

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generalized {
    /// Text was appended: it leaves as a string.
    Text,
    /// A number was appended: it leaves as a number if the value was one, else as a string.
    Number,
    /// The value has another shape: drop it and count it.
    Unfit,
}

impl Generalizer {
    /// Appends the coarse form to `out`. `today` for ages from dates of birth (UTC).
    pub fn generalize(&self, text: &str, today: jiff::civil::Date, out: &mut String) -> Generalized {
        let _ = (text, today, out);
        todo!()
    }
}
