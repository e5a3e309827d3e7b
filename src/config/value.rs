//! What a single key can hold, and how it is written.
//!
//! Only spelling: whether a file is there or an address is wise is `check`'s. Start at [`Kind`].

use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::UpstreamId;
use crate::policy::source::{list, suggest};

use super::file::Value;

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text, not empty.
    Text,
    /// `a-z`, `0-9`, `-`, `_`, `.`; at most 128.
    Name,
    /// A file or folder, from the folder of the settings file.
    Path,
    /// An IP address with a port.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count {
        /// From here,
        least: u64,
        /// to here.
        most: u64,
    },
    /// Bytes: `2MiB`.
    Size {
        /// From here,
        least: u64,
        /// to here.
        most: u64,
    },
    /// A time: `250ms`.
    Duration {
        /// From here,
        least_ms: u64,
        /// to here.
        most_ms: u64,
    },
}

/// A value of the right kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    Text(String),
    Address(SocketAddr),
    Flag(bool),
    Number(u64),
    Duration(Duration),
}

/// What was found and wanted, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String, pub(super) Option<String>);

fn wrong<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(message.into(), None))
}

impl Kind {
    /// Reads a value as this kind.
    pub(super) fn check(self, value: &Value) -> Result<Checked, Wrong> {
        match (self, value) {
            (Self::Flag, Value::Flag(flag)) => Ok(Checked::Flag(*flag)),
            (Self::Count { least, most }, Value::Integer(integer)) => {
                in_range(*integer, least, most, |n| n.to_string())
            }
            (Self::Size { least, most }, Value::Integer(integer)) => in_range(*integer, least, most, size_text),
            (Self::Count { .. } | Self::Flag, Value::Text(_)) => {
                let mended =
                    Wrong(format!("expected {}, found a text", self.wanted()), Some("write it without quotes".into()));
                Err(mended)
            }
            (_, Value::Text(text)) => self.check_text(text),
            (_, Value::Raw(text)) => self.check_text(text.trim()),
            (Self::Duration { .. }, Value::Integer(integer)) => {
                Err(Wrong("a time needs a unit".into(), Some(format!("write `\"{integer}s\"` or `\"{integer}ms\"`"))))
            }
            (_, found) => wrong(format!("expected {}, found {}", self.wanted(), found.type_name())),
        }
    }

    fn check_text(self, text: &str) -> Result<Checked, Wrong> {
        match self {
            Self::Text | Self::Path if text.is_empty() => wrong("is empty"),
            Self::Text | Self::Path => Ok(Checked::Text(text.to_owned())),
            Self::Name if UpstreamId::parse(text).is_some() => Ok(Checked::Text(text.to_owned())),
            Self::Name => {
                wrong("a name is 1 to 128 of `a-z`, `0-9`, `-`, `_` and `.`, beginning with a letter or digit")
            }
            Self::Address => match text.parse() {
                Ok(address) => Ok(Checked::Address(address)),
                Err(_) => wrong(format!("expected {}, found `{text}`", self.wanted())),
            },
            Self::Choice(words) if words.contains(&text) => Ok(Checked::Text(text.to_owned())),
            Self::Choice(words) => Err(Wrong(
                format!("expected {}, found `{text}`", list(words).replace(" and ", " or ")),
                suggest(text, words).map(|word| format!("did you mean `{word}`?")),
            )),
            Self::Flag => match text {
                "true" => Ok(Checked::Flag(true)),
                "false" => Ok(Checked::Flag(false)),
                _ => wrong(format!("expected {}, found `{text}`", self.wanted())),
            },
            Self::Count { least, most } => match text.parse::<u64>() {
                Ok(number) => in_range(number, least, most, |n| n.to_string()),
                Err(_) => wrong(format!("expected {}, found `{text}`", self.wanted())),
            },
            Self::Size { least, most } => match parse_size(text) {
                Some(bytes) => in_range(bytes, least, most, size_text),
                None => Err(Wrong(
                    format!("expected {}, found `{text}`", self.wanted()),
                    text.ends_with("MB").then(|| "1 MiB is 1024 times 1024 bytes: write `MiB`".into()),
                )),
            },
            Self::Duration { least_ms, most_ms } => match parse_millis(text) {
                Some(millis) => match in_range(millis, least_ms, most_ms, time_text)? {
                    Checked::Number(millis) => Ok(Checked::Duration(Duration::from_millis(millis))),
                    other => Ok(other),
                },
                None => wrong(format!("expected {}, found `{text}`", self.wanted())),
            },
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Text | Self::Choice(_) => "a text",
            Self::Name => "a name",
            Self::Path => "a path",
            Self::Address => "an address such as `127.0.0.1:8443`",
            Self::Flag => "`true` or `false`",
            Self::Count { .. } => "a whole number",
            Self::Size { .. } => "a size such as `64KiB` or `10MiB`",
            Self::Duration { .. } => "a time such as `250ms`, `30s` or `2m`",
        }
    }
}

fn in_range<T: TryInto<u64>>(number: T, least: u64, most: u64, text: fn(u64) -> String) -> Result<Checked, Wrong> {
    match number.try_into() {
        Ok(number) if (least..=most).contains(&number) => Ok(Checked::Number(number)),
        _ => wrong(format!("must be from {} to {}", text(least), text(most))),
    }
}

/// Digits, then a unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    // A plain number can come from the environment only; in the file it would be an integer.
    let factor = if unit.is_empty() { 1 } else { SIZES.iter().find(|(name, _)| *name == unit)?.1 };
    number.checked_mul(factor)
}

fn parse_millis(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    number.checked_mul(TIMES.iter().find(|(name, _)| *name == unit)?.1)
}

fn size_text(bytes: u64) -> String {
    in_units(bytes, &SIZES)
}

fn time_text(millis: u64) -> String {
    in_units(millis, &TIMES)
}

fn in_units(number: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    unit.or(units.last()).map_or_else(String::new, |(name, factor)| format!("{}{name}", number / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_need_whole_numbers_and_known_units() {
        let size = Kind::Size { least: 0, most: u64::MAX };
        let time = Kind::Duration { least_ms: 0, most_ms: u64::MAX };
        let number = |kind: Kind, text: &str| match kind.check(&Value::Text(text.into())) {
            Ok(Checked::Number(number)) => Some(number),
            Ok(Checked::Duration(duration)) => u64::try_from(duration.as_millis()).ok(),
            _ => None,
        };
        for (text, bytes) in [("2MiB", 2 << 20), ("64 KiB", 64 << 10), ("0B", 0), ("1GiB", 1 << 30), ("7", 7)] {
            assert_eq!(number(size, text), Some(bytes), "{text}");
        }
        for (text, millis) in [("250ms", 250), ("2s", 2000), ("3m", 180_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(number(time, text), Some(millis), "{text}");
        }
        for text in ["", "MiB", "1MB", "1.5MiB", "-1MiB", "1mib", "99999999999TiB", "1 Mi B"] {
            assert_eq!(number(size, text), None, "{text}");
        }
        for text in ["", "s", "1", "1.5s", "-1s", "1 day", "1S"] {
            assert_eq!(number(time, text), None, "{text}");
        }
    }

    #[test]
    fn limits_are_said_in_the_units_that_are_written() {
        let kind = Kind::Size { least: 1024, most: 1 << 20 };
        let expected = Err(Wrong("must be from 1KiB to 1MiB".into(), None));
        assert_eq!(kind.check(&Value::Text("1B".into())), expected);
        assert_eq!(kind.check(&Value::Integer(-5)), expected);
        let kind = Kind::Duration { least_ms: 1, most_ms: 60_000 };
        assert_eq!(kind.check(&Value::Text("61s".into())), Err(Wrong("must be from 1ms to 1m".into(), None)));
    }

    #[test]
    fn text_from_outside_is_read_by_the_kind() {
        let raw = |text: &str| Value::Raw(text.into());
        assert_eq!(Kind::Flag.check(&raw("true")), Ok(Checked::Flag(true)));
        assert_eq!(Kind::Count { least: 0, most: 9 }.check(&raw(" 7 ")), Ok(Checked::Number(7)));
        assert!(Kind::Count { least: 0, most: 9 }.check(&Value::Text("7".into())).is_err(), "in a file it is a text");
    }
}
