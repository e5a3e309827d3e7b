//! Dates moved by whole days, all of one (domain, category) by as many. **Weak**: whoever knows one date and its token knows them all.
//!
//! What it is good for: intervals and the order of events stay, and the time of day. The day of the week and the season do not.
//! Start at [`DateShift`].

use std::io::Write;

use jiff::Span;
use jiff::civil::Date;

use super::seal::block::KEY_LEN;

/// Most days that dates are moved by: about ten years.
const DAYS_MAX: u64 = 3652;
/// Characters of `2026-11-24`.
const DATE_LEN: usize = 10;
/// Most digits of a fraction of a second.
const FRACTION_MAX: usize = 9;

/// How far dates are moved. A secret, and not much of one.
pub(super) struct DateShift(Span);

impl DateShift {
    /// By 1 to 3,652 days, earlier or later.
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Self {
        let drawn = key.first_chunk().copied().map_or(0, u64::from_be_bytes);
        let days = 1 + (drawn >> 1) % DAYS_MAX;
        let days = i64::try_from(days).unwrap_or(1);
        Self(Span::new().days(if drawn & 1 == 0 { days } else { -days }))
    }

    /// Appends the moved date, and what stood behind it. `false`, and nothing appended: not a date as in RFC 3339 with or without
    /// a time, or the result is not in the years 1 to 9999.
    pub(super) fn forth(&self, text: &str, out: &mut Vec<u8>) -> bool {
        moved(text, self.0, out).is_some()
    }

    /// The other way.
    pub(super) fn back(&self, text: &str, out: &mut Vec<u8>) -> bool {
        moved(text, -self.0, out).is_some()
    }
}

fn moved(text: &str, by: Span, out: &mut Vec<u8>) -> Option<()> {
    let (date, time) = text.split_at_checked(DATE_LEN)?;
    let part = |range: std::ops::Range<usize>| {
        let digits = date.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i16>().ok()
    };
    let dashes = date.get(4..5) == Some("-") && date.get(7..8) == Some("-");
    let date = Date::new(part(0..4)?, part(5..7)?.try_into().ok()?, part(8..10)?.try_into().ok()?).ok()?;
    let moved = date.checked_add(by).ok()?;
    let years = |date: Date| (1..=9999).contains(&date.year());
    if !(dashes && is_time(time) && years(date) && years(moved)) {
        return None;
    }
    write!(out, "{:04}-{:02}-{:02}{time}", moved.year(), moved.month(), moved.day()).ok()
}

/// Nothing, or a time with or without seconds, fraction and offset (RFC 3339, section 5.6): what stands there stays, so it has to be
/// nothing else.
fn is_time(text: &str) -> bool {
    let Some(time) = text.strip_prefix(['T', 't', ' ']) else { return text.is_empty() };
    let clock = |text: &mut &str| number(text, 23) && after(text, ":") && number(text, 59);
    let mut rest = time;
    if !clock(&mut rest) {
        return false;
    }
    if after(&mut rest, ":") {
        if !number(&mut rest, 60) {
            return false;
        }
        if after(&mut rest, ".") || after(&mut rest, ",") {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=FRACTION_MAX).contains(&digits) {
                return false;
            }
            rest = rest.get(digits..).unwrap_or_default();
        }
    }
    match rest.strip_prefix(['+', '-']) {
        Some(mut offset) => clock(&mut offset) && offset.is_empty(),
        None => matches!(rest, "" | "Z" | "z"),
    }
}

/// Takes two digits that are at most `max`.
fn number(text: &mut &str, max: u8) -> bool {
    let Some((digits, rest)) = text.split_at_checked(2) else { return false };
    *text = rest;
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u8>().is_ok_and(|number| number <= max)
}

/// Takes this word, if it is next.
fn after(text: &mut &str, word: &str) -> bool {
    let rest = text.strip_prefix(word);
    *text = rest.unwrap_or(text);
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::is_time;

    #[test]
    fn behind_a_date_stands_a_time_and_nothing_else() {
        for time in
            ["", "T09:30", " 09:30:59", "t23:59:60.123456789Z", "T09:30:00,5z", "T09:30+01:00", "T09:30:00.1-23:59"]
        {
            assert!(is_time(time), "{time}");
        }
        for other in [
            " ",
            "T",
            "T9:30",
            "T24:00",
            "T09:60",
            "T09:30:61",
            "T09:30:00.",
            "T09:30:00.1234567890",
            "T09:30+01",
            "T09:30+24:00",
            "T09:30ZZ",
            " 4929123412341234",
            " 1-555-867-5309",
            "T09:30:00.5 ",
            "T0930",
            "T+9:30",
            "T09:30:00+01:00:00",
        ] {
            assert!(!is_time(other), "{other}");
        }
    }
}
