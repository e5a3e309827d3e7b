//! The file as written: TOML with the place of every key and value, and the complaints collected on the way.
//!
//! Knows nothing of what the keys mean. Not serde: it stops at the first fault, and an author wants all of them. Start at
//! [`Section`].

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::codes;
use super::diagnostic::{Diagnostic, Severity};
use super::rule::Place;

/// One file and what is wrong with it so far.
#[derive(Debug)]
pub struct Report<'t> {
    file: Arc<str>,
    text: &'t str,
    lines: Vec<usize>,
    found: Vec<Diagnostic>,
}

impl<'t> Report<'t> {
    /// For one file, named as the user did.
    pub fn new(file: &str, text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: file.into(), text, lines, found: Vec::new() }
    }

    /// The file as the user named it.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Adds an error.
    pub fn error(&mut self, code: &'static str, span: Range<usize>, message: impl Into<String>) {
        self.add(code, Severity::Error, span, message.into(), None);
    }

    /// Adds an error with a remedy.
    pub fn error_with(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(code, Severity::Error, span, message.into(), Some(help.into()));
    }

    /// Adds a warning with a remedy.
    pub fn warning_with(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(code, Severity::Warning, span, message.into(), Some(help.into()));
    }

    /// Adds what is listed on every run.
    pub fn note(&mut self, code: &'static str, span: Range<usize>, message: impl Into<String>) {
        self.add(code, Severity::Note, span, message.into(), None);
    }

    /// Adds an error whose remedy may be missing.
    pub fn error_maybe(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.add(code, Severity::Error, span, message.into(), help);
    }

    fn add(
        &mut self,
        code: &'static str,
        severity: Severity,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        self.found.push(Diagnostic { code, severity, file: self.file.clone(), span, message, help });
    }

    /// Where a span begins.
    pub fn place(&self, span: Range<usize>) -> Place {
        let line = self.lines.partition_point(|&start| start <= span.start).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..span.start).map_or(0, |before| before.chars().count()) + 1;
        Place { file: self.file.clone(), span, line, column }
    }

    /// Whether the source says there just `"text"`, without an escape, so that offsets in the value are offsets in the file.
    pub fn is_plain(&self, text: &Text<'_>) -> bool {
        self.text.get(text.span.start + 1..text.span.end.saturating_sub(1)) == Some(text.value)
    }

    /// Whether there is an error among the complaints.
    pub fn failed(&self) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error)
    }

    /// The complaints, in the file's order.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|d| (d.span.start, d.span.end, d.code));
        self.found
    }
}

/// A string and where it stands, quotes included.
#[derive(Clone, Debug)]
pub struct Text<'a> {
    /// The value.
    pub value: &'a str,
    /// Bytes of the file.
    pub span: Range<usize>,
}

/// A table of the file, with the keys that it may have.
#[derive(Clone, Debug)]
pub struct Section<'a, 'i> {
    /// What messages call it: `[partner]`, `rule`.
    pub name: String,
    /// Bytes of the file: the header or the braces.
    pub span: Range<usize>,
    table: &'a DeTable<'i>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// Opens a table: keys that are not in `known` are errors.
    pub fn new(
        report: &mut Report<'_>,
        name: impl Into<String>,
        table: &'a DeTable<'i>,
        span: Range<usize>,
        known: &[&str],
    ) -> Self {
        let name = name.into();
        for key in table.keys() {
            let word: &str = key.get_ref();
            if !known.contains(&word) {
                let help = near(word, known, "keys");
                report.error_with(codes::UNKNOWN_KEY, key.span(), format!("{name}: unknown key {}", quote(word)), help);
            }
        }
        Self { name, span, table }
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The place of a key, or of the section where there is none.
    pub fn key_span(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    /// The place of a value, or of the section where there is none.
    pub fn value_span(&self, key: &str) -> Range<usize> {
        self.value(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// Complains of a key that is not there.
    pub fn missing(&self, report: &mut Report<'_>, key: &str) {
        report.error(codes::MISSING_KEY, self.span.clone(), format!("{}: `{key}` is missing", self.name));
    }

    fn wrong(&self, report: &mut Report<'_>, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        let message = format!("{}: `{key}` must be {wanted}, found {}", self.name, article(found));
        report.error(codes::WRONG_TYPE, value.span(), message);
    }

    /// A string. A complaint where it is of another type.
    pub fn text(&self, report: &mut Report<'_>, key: &str) -> Option<Text<'a>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Text { value: text, span: value.span() }),
            _ => {
                self.wrong(report, key, value, "a string");
                None
            }
        }
    }

    /// A string that must be there and must not be blank.
    pub fn required_text(&self, report: &mut Report<'_>, key: &str) -> Option<Text<'a>> {
        if !self.has(key) {
            self.missing(report, key);
        }
        let text = self.text(report, key)?;
        if text.value.trim().is_empty() {
            report.error(codes::BAD_VALUE, text.span, format!("{}: `{key}` is empty", self.name));
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub fn boolean(&self, report: &mut Report<'_>, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                self.wrong(report, key, value, "`true` or `false`");
                None
            }
        }
    }

    /// A whole number from `least` up to `most`.
    pub fn whole(&self, report: &mut Report<'_>, key: &str, least: u32, most: u32) -> Option<u32> {
        let value = self.value(key)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong(report, key, value, "a whole number");
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|n| (least..=most).contains(n));
        if number.is_none() {
            let message = format!("{}: `{key}` must be from {least} to {most}", self.name);
            report.error(codes::BAD_VALUE, value.span(), message);
        }
        number
    }

    /// An array of strings; empty where there is none.
    pub fn texts(&self, report: &mut Report<'_>, key: &str) -> Vec<Text<'a>> {
        let Some(items) = self.array(report, key, "an array of strings") else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(Text { value: text, span: item.span() }),
                _ => self.wrong(report, key, item, "an array of strings"),
            }
        }
        texts
    }

    /// A table.
    pub fn section(
        &self,
        report: &mut Report<'_>,
        key: &str,
        name: impl Into<String>,
        known: &[&str],
    ) -> Option<Section<'a, 'i>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(report, name, table, value.span(), known)),
            _ => {
                self.wrong(report, key, value, "a table");
                None
            }
        }
    }

    /// An array of tables; empty where there is none.
    pub fn sections(&self, report: &mut Report<'_>, key: &str, name: &str, known: &[&str]) -> Vec<Section<'a, 'i>> {
        let Some(items) = self.array(report, key, "an array of tables") else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => sections.push(Section::new(report, name, table, item.span(), known)),
                _ => self.wrong(report, key, item, "an array of tables"),
            }
        }
        sections
    }

    fn array(&self, report: &mut Report<'_>, key: &str, wanted: &str) -> Option<&'a DeArray<'i>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Array(items) => Some(items),
            _ => {
                self.wrong(report, key, value, wanted);
                None
            }
        }
    }

    /// All pairs whose values are strings, for tables with free keys.
    pub fn pairs(&self, report: &mut Report<'_>) -> Vec<(&'a str, Text<'a>)> {
        let mut pairs = Vec::new();
        for (key, value) in self.table.iter() {
            let key: &'a str = key.get_ref();
            match value.get_ref() {
                DeValue::String(text) => pairs.push((key, Text { value: text, span: value.span() })),
                _ => self.wrong(report, key, value, "a string"),
            }
        }
        pairs
    }

    /// Opens a table with free keys: see [`Section::pairs`].
    pub fn free_section(&self, report: &mut Report<'_>, key: &str, name: impl Into<String>) -> Option<Section<'a, 'i>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section { name: name.into(), span: value.span(), table }),
            _ => {
                self.wrong(report, key, value, "a table");
                None
            }
        }
    }

    /// A day, as a TOML date or as a string.
    pub fn date(&self, report: &mut Report<'_>, key: &str) -> Option<jiff::civil::Date> {
        let value = self.value(key)?;
        let date = match value.get_ref() {
            DeValue::Datetime(when) => match (when.date, when.time) {
                (Some(date), None) => {
                    let part = |n: u8| i8::try_from(n).ok();
                    let year = i16::try_from(date.year).ok();
                    year.zip(part(date.month))
                        .zip(part(date.day))
                        .and_then(|((year, month), day)| jiff::civil::Date::new(year, month, day).ok())
                }
                _ => None,
            },
            // jiff would also take a time behind the day and forget it.
            DeValue::String(text) if text.len() == 10 => text.parse().ok(),
            DeValue::String(_) => None,
            _ => {
                self.wrong(report, key, value, "a date such as 2027-06-30");
                return None;
            }
        };
        if date.is_none() {
            let message = format!("{}: `{key}` must be a day alone, such as 2027-06-30", self.name);
            report.error(codes::BAD_VALUE, value.span(), message);
        }
        date
    }

    /// A string or a whole number, as text: for sizes.
    pub fn amount(&self, report: &mut Report<'_>, key: &str) -> Option<(String, Range<usize>)> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some((text.to_string(), value.span())),
            DeValue::Integer(integer) if integer.radix() == 10 => Some((integer.as_str().to_owned(), value.span())),
            _ => {
                self.wrong(report, key, value, "a size such as \"2MiB\"");
                None
            }
        }
    }

    /// Any value, as the bytes of one JSON value. Tables and arrays too; dates and floats that are no numbers are refused.
    pub fn json(&self, report: &mut Report<'_>, key: &str) -> Option<Vec<u8>> {
        let value = self.value(key)?;
        let mut out = Vec::new();
        if json(value.get_ref(), &mut out) {
            return Some(out);
        }
        self.wrong(report, key, value, "a string, number, boolean, array or table");
        None
    }

    /// Whether the value is an array.
    pub fn is_array(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// Whether the value is a string.
    pub fn is_text(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().is_str())
    }
}

fn json(value: &DeValue<'_>, out: &mut Vec<u8>) -> bool {
    match value {
        DeValue::String(text) => serde_json::to_writer(out, text.as_ref()).is_ok(),
        DeValue::Boolean(true) => put(out, b"true"),
        DeValue::Boolean(false) => put(out, b"false"),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => put(out, number.to_string().as_bytes()),
            Err(_) => false,
        },
        DeValue::Float(float) => {
            // TOML's spelling of a finite float is JSON's but for a leading `+`; its underscores are gone already.
            let text = float.as_str().trim_start_matches('+');
            !text.contains(['n', 'i']) && put(out, text.as_bytes())
        }
        DeValue::Array(items) => {
            out.push(b'[');
            let mut all = true;
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                all &= json(item.get_ref(), out);
            }
            out.push(b']');
            all
        }
        DeValue::Table(table) => {
            out.push(b'{');
            let mut all = true;
            for (index, (name, value)) in table.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                all &= serde_json::to_writer(&mut *out, name.get_ref().as_ref()).is_ok();
                out.push(b':');
                all &= json(value.get_ref(), out);
            }
            out.push(b'}');
            all
        }
        DeValue::Datetime(_) => false,
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    out.extend_from_slice(bytes);
    true
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

/// A user's own word in backticks: at most 60 characters, nothing that a terminal would obey.
pub fn quote(word: &str) -> String {
    let mut shown: String = word.chars().take(60).flat_map(printable).collect();
    if word.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn printable(char: char) -> impl Iterator<Item = char> {
    let odd = char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let (escaped, plain) = if odd { (Some(char.escape_unicode()), None) } else { (None, Some(char)) };
    escaped.into_iter().flatten().chain(plain)
}

/// `a`, `b` and `c`, in backticks.
pub fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => "none".into(),
    }
}

/// The nearest of the words, where one is near enough to be meant (edit distance at most a third of its length, and 3).
pub fn suggest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    let word = word.to_lowercase();
    let near = words.iter().map(|candidate| (distance(&word, candidate), *candidate)).min_by_key(|pair| pair.0)?;
    let allowed = (near.1.chars().count().max(word.chars().count()) / 3).clamp(1, 3);
    (near.0 <= allowed && word.chars().count() < 80).then_some(near.1)
}

/// A remedy for an unknown word: the nearest known one, or all of them.
pub fn near(word: &str, words: &[&str], what: &str) -> String {
    match suggest(word, words) {
        Some(near) => format!("did you mean `{near}`?"),
        None if words.is_empty() => format!("there are no {what}"),
        None => format!("{what} are {}", list(words)),
    }
}

/// Edit distance with swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(80).collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&above, j) + usize::from(x != y)).min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let words = ["path", "query", "header", "capture"];
        assert_eq!(suggest("pahth", &words), Some("path"));
        assert_eq!(suggest("qeury", &words), Some("query"));
        assert_eq!(suggest("Headers", &words), Some("header"));
        assert_eq!(suggest("subject", &words), None);
        assert_eq!(suggest(&"x".repeat(100_000), &words), None);
    }

    #[test]
    fn a_place_has_line_and_column_in_characters() {
        let report = Report::new("f", "é\nab = 1\n");
        let place = report.place(4..5);
        assert_eq!((place.line, place.column), (2, 2));
        assert_eq!((report.place(0..1).line, report.place(0..1).column), (1, 1));
    }

    #[test]
    fn a_quoted_word_holds_nothing_that_a_terminal_obeys() {
        assert_eq!(quote("a\u{1b}[31m\u{202e}"), "`a\\u{1b}[31m\\u{202e}`");
        assert_eq!(quote(&"x".repeat(99)).chars().count(), 63);
    }

    #[test]
    fn a_constant_becomes_one_json_value() {
        let text = "a = [\"x\\u0000\\\"\", 1, -0x_, 1.50, true, {b = 1e3}]".replace("-0x_", "0x1F");
        let table = DeTable::parse(&text).unwrap();
        let mut report = Report::new("f", &text);
        let section = Section::new(&mut report, "f", table.get_ref(), 0..0, &["a"]);
        let json = String::from_utf8(section.json(&mut report, "a").unwrap()).unwrap();
        assert_eq!(json, "[\"x\\u0000\\\"\",1,31,1.50,true,{\"b\":1e3}]");
        let text = "a = nan\nb = 2020-01-01";
        let table = DeTable::parse(text).unwrap();
        let section = Section::new(&mut report, "f", table.get_ref(), 0..0, &["a", "b"]);
        assert_eq!((section.json(&mut report, "a"), section.json(&mut report, "b")), (None, None));
        assert!(report.failed());
    }
}
