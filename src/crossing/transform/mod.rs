//! Mask and generalize: pure, on text.
//!
//! No keys, no policy beyond the rule's own settings, no clock: the day comes in. What does not fit a rule is
//! [`Generalized::Unfit`], and its caller drops it: nothing here passes a value on because it was not understood. Start at
//! [`Masker`] and [`Generalizer`].

mod decimal;
mod place;

use std::fmt::Write;

use jiff::civil::Date;
use unicode_segmentation::UnicodeSegmentation;

use crate::policy::rule::{Generalize, Mask};

/// `*` in a masked value, unless the rule asks for the same length: a fixed run, so that the length does not show.
const RUN: usize = 6;
/// An age above this, in years, is a mistake.
const AGE_MAX: i128 = 150;

/// `mask`, on grapheme clusters (UAX #29).
#[derive(Clone, Copy, Debug)]
pub struct Masker(pub Mask);

impl Masker {
    /// Appends the masked form of `text` to `out`. A fixed run of 6 `*`, save what is kept; where more than half of the clusters would stay, all are masked.
    pub fn mask(&self, text: &str, out: &mut String) {
        let Mask { keep_first, keep_last, same_length } = self.0;
        // Only ends are kept, so the middle of a long text is not looked at, unless its length is asked for.
        let keep = keep_first.saturating_add(keep_last);
        let enough = keep.saturating_mul(2);
        let count = if same_length { text.graphemes(true).count() } else { text.graphemes(true).take(enough).count() };
        let (first, last) = if enough > count { (0, 0) } else { (keep_first, keep_last) };
        let start = text.grapheme_indices(true).nth(first).map_or(text.len(), |(at, _)| at);
        let end = match last.checked_sub(1) {
            Some(back) => text.grapheme_indices(true).rev().nth(back).map_or(0, |(at, _)| at),
            None => text.len(),
        };
        out.push_str(if first == 0 { "" } else { text.get(..start).unwrap_or_default() });
        out.extend(std::iter::repeat_n('*', if same_length { count - first - last } else { RUN }));
        out.push_str(text.get(end..).unwrap_or_default());
    }
}

impl Masker {
    /// Whether a text could be what this makes of some value. One that it could be is taken for it: no partner writes a run of
    /// `*` in earnest where it reads one.
    pub fn made(&self, text: &str) -> bool {
        let Mask { keep_first, keep_last, same_length } = self.0;
        let masked = |middle: &str| {
            let run = middle.bytes().all(|byte| byte == b'*');
            run && if same_length { !middle.is_empty() } else { middle.len() == RUN }
        };
        if masked(text) {
            return true;
        }
        let start = text.grapheme_indices(true).nth(keep_first).map_or(text.len(), |(at, _)| at);
        let end = match keep_last.checked_sub(1) {
            Some(back) => text.grapheme_indices(true).rev().nth(back).map_or(0, |(at, _)| at),
            None => text.len(),
        };
        text.get(start..end).is_some_and(masked)
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
    /// Appends the coarse form to `out`. `text` is a string's value or a number's spelling; `today` is for ages from dates of
    /// birth (UTC).
    ///
    /// - Year and month: of a date (`1984-05-06`) or a date-time (RFC 3339; the offset may be absent), as it is written.
    /// - Age band: of whole years (`34`) or of a date of birth that is not in the future; `30-39`.
    /// - Prefix: of a text that is longer than the prefix: what would stay whole is not made coarser.
    /// - Network: of an IP address; IPv4 /24, IPv6 /48 (see `place.rs`).
    /// - Bucket: the greatest multiple that is not above the number; of numbers up to 36 digits.
    /// - Grid: of one coordinate in degrees (see `place.rs`).
    pub fn generalize(&self, text: &str, today: Date, out: &mut String) -> Generalized {
        let start = out.len();
        let result = match self.0 {
            Generalize::Year => date(text).map(|(year, _)| text_of(out, year)),
            Generalize::Month => date(text).map(|(_, month)| text_of(out, month)),
            Generalize::AgeBand(width) => age_band(text, width, today, out),
            Generalize::Prefix(length) => prefix(text, length).map(|prefix| text_of(out, prefix)),
            Generalize::IpNet => place::network(text, out).map(|()| Generalized::Text),
            Generalize::Bucket(width) => bucket(text, width, out),
            Generalize::Geo(metres) => place::grid(text, metres, out).map(|()| Generalized::Number),
        };
        result.unwrap_or_else(|| {
            out.truncate(start);
            Generalized::Unfit
        })
    }
}

fn text_of(out: &mut String, text: &str) -> Generalized {
    out.push_str(text);
    Generalized::Text
}

fn prefix(text: &str, length: usize) -> Option<&str> {
    let (end, _) = text.grapheme_indices(true).nth(length)?;
    text.get(..end).filter(|prefix| !prefix.is_empty())
}

fn bucket(text: &str, width: u64, out: &mut String) -> Option<Generalized> {
    let width = i128::from(width);
    let floor = decimal::floor(text, 0)?.value;
    let bucket = floor - floor.checked_rem_euclid(width)?;
    write!(out, "{bucket}").ok()?;
    Some(Generalized::Number)
}

fn age_band(text: &str, width: u32, today: Date, out: &mut String) -> Option<Generalized> {
    let age = match decimal::floor(text, 0) {
        Some(number) => number.exact.then_some(number.value)?,
        None => age(text, today)?,
    };
    if !(0..=AGE_MAX).contains(&age) {
        return None;
    }
    let width = i128::from(width);
    let low = age - age.checked_rem_euclid(width)?;
    match width {
        1 => write!(out, "{low}"),
        _ => write!(out, "{low}-{}", low + width - 1),
    }
    .ok()?;
    Some(Generalized::Text)
}

/// Completed years since a date of birth; one born on 29 February is a year older on 1 March where there is no such day.
fn age(text: &str, today: Date) -> Option<i128> {
    date(text)?;
    let birth = calendar_date(text.get(..10)?)?;
    if birth > today {
        return None;
    }
    let had_birthday = (today.month(), today.day()) >= (birth.month(), birth.day());
    Some(i128::from(today.year()) - i128::from(birth.year()) - i128::from(!had_birthday))
}

/// `1984` and `1984-05` of a date or date-time.
fn date(text: &str) -> Option<(&str, &str)> {
    let (day, rest) = text.split_at_checked(10)?;
    calendar_date(day)?;
    match rest.split_at_checked(1) {
        None => {}
        Some(("T" | "t" | " ", time)) if is_time(time) => {}
        Some(_) => return None,
    }
    Some((day.get(..4)?, day.get(..7)?))
}

/// `1984-05-06`, a day that there is.
fn calendar_date(text: &str) -> Option<Date> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes().as_array::<10>()? else { return None };
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0i16, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i16::from(digit - b'0')))
    };
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    Date::new(number(&[y1, y2, y3, y4])?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// The time of RFC 3339, section 5.6, whose offset may be absent: `10:20:30`, `10:20:30.5Z`, `10:20:30+02:00`.
fn is_time(text: &str) -> bool {
    let two = |text: &str, most: u8| {
        text.len() == 2
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|number| number <= most)
    };
    let clock = |text: &str| text.split_once(':').is_some_and(|(hours, minutes)| two(hours, 23) && two(minutes, 59));
    let Some((head, rest)) = text.split_at_checked(8) else { return false };
    let seconds = head.get(..5).is_some_and(clock)
        && head.get(5..6) == Some(":")
        // 60 is a leap second.
        && head.get(6..).is_some_and(|seconds| two(seconds, 60));
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => match fraction.trim_start_matches(|c: char| c.is_ascii_digit()) {
            same if same.len() == fraction.len() => return false,
            rest => rest,
        },
        None => rest,
    };
    let offset = match rest {
        "" | "Z" | "z" => true,
        _ => rest.strip_prefix(['+', '-']).is_some_and(clock),
    };
    seconds && offset
}

#[cfg(test)]
mod tests;
