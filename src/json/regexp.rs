//! I-Regexp (RFC 9485): the patterns of `match` and `search`.
//!
//! A pattern is checked against the RFC's grammar and spelt anew for the `regex` crate, so that nothing which that crate knows
//! and the RFC does not (`\d`, flags, lazy repeats, set operations) has a meaning here. It runs in linear time. Start at
//! [`Regexp::new`].
//!
//! `^` and `$` outside of brackets are anchors, as in the JSONPath compliance suite; XSD reads them as plain characters.

use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

/// What a pattern in a policy may take once compiled.
pub const LITERAL_BYTES_MAX: usize = 1 << 20;
/// What a pattern that a document brings may take once compiled.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// The longest pattern that a document may bring, in bytes.
pub const DOCUMENT_PATTERN_MAX: usize = 1024;

/// A compiled pattern. Equal if its text and its use are.
#[derive(Clone)]
pub struct Regexp {
    text: Arc<str>,
    whole: bool,
    regex: Regex,
    /// About how many places of the pattern a text can be at, at once.
    weight: u64,
}

/// Why a text is no pattern that we run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexpError {
    /// RFC 9485 does not know this.
    #[error("a pattern that is no I-Regexp: {what} at byte {at} of it")]
    Syntax {
        /// Bytes of the pattern before the place.
        at: usize,
        /// What was found.
        what: &'static str,
    },
    /// It would take too much memory.
    #[error("a pattern that is too great once compiled")]
    TooGreat,
}

impl RegexpError {
    /// How to mend it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => {
                r"patterns are those of RFC 9485: `[0-9]` for `\d`, `[a-zA-Z0-9_]` for `\w`, `[$]` for `\$`, no `(?…)`, no `*?`"
            }
            Self::TooGreat => "make the repeats smaller",
        }
    }
}

impl Regexp {
    /// Checks and compiles a pattern; `whole` for `match`, which must match from end to end. `bytes_max` limits what it takes.
    pub fn new(text: &str, whole: bool, bytes_max: usize) -> Result<Self, RegexpError> {
        let (plain, weight) =
            Translator { text, at: 0, out: String::with_capacity(text.len() * 2), last: 0, sum: 0, outer: vec![] }
                .run()?;
        let plain = if whole { format!("^(?:{plain})$") } else { plain };
        let regex = RegexBuilder::new(&plain).size_limit(bytes_max).dfa_size_limit(bytes_max).nest_limit(200).build();
        match regex {
            Ok(regex) => Ok(Self { text: text.into(), whole, regex, weight }),
            Err(regex::Error::CompiledTooBig(_)) => Err(RegexpError::TooGreat),
            Err(_) => Err(RegexpError::Syntax { at: 0, what: "more than can be read" }),
        }
    }

    /// Does it match?
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What matching a text of this many bytes may cost, in steps of a few dozen nanoseconds. Linear in the text, but by a
    /// factor that counted repeats can make great: `[ab]*a[ab]{1000}` takes microseconds a byte.
    pub fn steps(&self, bytes: usize) -> u64 {
        1 + (bytes as u64).saturating_mul(self.weight.max(8)) / 256
    }

    /// As written, and whether it must match from end to end.
    pub fn is(&self, text: &str, whole: bool) -> bool {
        &*self.text == text && self.whole == whole
    }
}

impl PartialEq for Regexp {
    fn eq(&self, other: &Self) -> bool {
        other.is(&self.text, self.whole)
    }
}

/// Without the text: it may be a document's.
impl fmt::Debug for Regexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Regexp").field("whole", &self.whole).finish_non_exhaustive()
    }
}

/// Goes through the grammar of RFC 9485, section 3, without recursion, and writes the same for the crate.
struct Translator<'a> {
    text: &'a str,
    at: usize,
    out: String,
    /// Weights: of the last atom, of the group so far, of the groups around it.
    last: u64,
    sum: u64,
    outer: Vec<u64>,
}

impl<'a> Translator<'a> {
    fn run(mut self) -> Result<(String, u64), RegexpError> {
        // Whether a repeat may follow.
        let mut atom = false;
        while let Some(char) = self.peek() {
            atom = match char {
                '(' => {
                    if self.rest().starts_with("(?") {
                        return Err(self.error("`(?`"));
                    }
                    self.outer.push(std::mem::take(&mut self.sum));
                    self.take("(?:");
                    false
                }
                ')' => {
                    let outer = self.outer.pop().ok_or_else(|| self.error("`)` that closes nothing"))?;
                    self.last = self.sum;
                    self.sum = self.sum.saturating_add(outer);
                    self.take(")");
                    true
                }
                '|' => {
                    self.take("|");
                    false
                }
                '*' | '+' | '?' | '{' => {
                    if !atom {
                        return Err(self.error("a repeat of nothing"));
                    }
                    self.repeat(char)?;
                    false
                }
                '.' => {
                    self.weigh();
                    self.take(r"[^\n\r]");
                    true
                }
                '[' => {
                    self.weigh();
                    self.class()?;
                    true
                }
                '\\' => {
                    self.weigh();
                    self.escape()?;
                    true
                }
                ']' | '}' => return Err(self.error("a closing bracket that closes nothing")),
                '^' | '$' => {
                    self.take(if char == '^' { "^" } else { "$" });
                    true
                }
                _ => {
                    self.weigh();
                    self.at += char.len_utf8();
                    self.put(char);
                    true
                }
            };
        }
        if !self.outer.is_empty() {
            return Err(self.error("a missing `)`"));
        }
        Ok((self.out, self.sum))
    }

    /// One more atom that is no group.
    fn weigh(&mut self) {
        self.last = 1;
        self.sum = self.sum.saturating_add(1);
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, what: &'static str) -> RegexpError {
        RegexpError::Syntax { at: self.at, what }
    }

    /// Puts `plain` for the one ASCII character that stands here.
    fn take(&mut self, plain: &str) {
        self.out.push_str(plain);
        self.at += 1;
    }

    /// Puts a character so that the crate can only read it as itself.
    fn put(&mut self, char: char) {
        if char.is_ascii_alphanumeric() || !char.is_ascii() {
            self.out.push(char);
        } else {
            self.out.push_str(&format!("\\x{{{:x}}}", u32::from(char)));
        }
    }

    fn repeat(&mut self, char: char) -> Result<(), RegexpError> {
        if char != '{' {
            self.out.push(char);
            self.at += 1;
            return Ok(());
        }
        let inside = self.rest().get(1..).and_then(|rest| rest.split_once('}')).map(|(inside, _)| inside);
        let inside = inside.ok_or_else(|| self.error("a missing `}`"))?;
        let number = |digits: &str| {
            let ok = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            ok.then(|| digits.parse::<u32>().ok()).flatten()
        };
        let range = match inside.split_once(',') {
            None => number(inside).map(|n| (n, n, format!("{{{n}}}"))),
            Some((from, "")) => number(from).map(|n| (n, n, format!("{{{n},}}"))),
            Some((from, to)) => number(from).zip(number(to)).map(|(n, m)| (n, m, format!("{{{n},{m}}}"))),
        };
        let (from, to, plain) = range.ok_or_else(|| self.error("a malformed repeat"))?;
        if to < from {
            return Err(self.error("a repeat the wrong way round"));
        }
        self.sum = self.sum.saturating_add(self.last.saturating_mul(u64::from(to)));
        self.at += inside.len() + 2;
        self.out.push_str(&plain);
        Ok(())
    }

    /// The character of a `SingleCharEsc`, or a `\p{…}` that has been put.
    fn escape(&mut self) -> Result<(), RegexpError> {
        match self.single_escape() {
            Some(char) => {
                self.put(char);
                Ok(())
            }
            None => self.category(),
        }
    }

    fn single_escape(&mut self) -> Option<char> {
        let char = match self.rest().chars().nth(1)? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            c @ ('('..='+' | '-' | '.' | '?' | '['..='^' | '{'..='}') => c,
            _ => return None,
        };
        self.at += 2;
        Some(char)
    }

    fn category(&mut self) -> Result<(), RegexpError> {
        const CATEGORIES: [(char, &str); 7] =
            [('L', "ultmo"), ('M', "nce"), ('N', "dlo"), ('P', "cdseifo"), ('Z', "slp"), ('S', "mcko"), ('C', "cfno")];
        let unknown = self.error("an escape that RFC 9485 does not know");
        let rest = self.rest();
        let (Some(kind @ ("\\p{" | "\\P{")), Some(inside)) = (rest.get(..3), rest.get(3..)) else {
            return Err(unknown);
        };
        let Some((name, _)) = inside.split_once('}') else { return Err(unknown) };
        let mut chars = name.chars();
        let known = match (chars.next(), chars.next(), chars.next()) {
            (Some(main), sub, None) => {
                CATEGORIES.iter().any(|(c, subs)| *c == main && sub.is_none_or(|s| subs.contains(s)))
            }
            _ => false,
        };
        if !known {
            return Err(self.error("a category of characters that RFC 9485 does not know"));
        }
        let plain = format!("{kind}{name}}}");
        self.at += plain.len();
        self.out.push_str(&plain);
        Ok(())
    }

    /// `[…]`: RFC 9485, `charClassExpr`.
    fn class(&mut self) -> Result<(), RegexpError> {
        self.take("[");
        if self.peek() == Some('^') {
            self.take("^");
        }
        let first = self.at;
        loop {
            match self.peek() {
                None => return Err(self.error("a missing `]`")),
                Some(']') if self.at > first => {
                    self.take("]");
                    return Ok(());
                }
                // A hyphen for itself: first or last.
                Some('-') if self.at == first || self.rest().starts_with("-]") => {
                    self.at += 1;
                    self.put('-');
                }
                Some(_) => self.range()?,
            }
        }
    }

    /// One character, a range of them or a category.
    fn range(&mut self) -> Result<(), RegexpError> {
        let Some(from) = self.class_char()? else { return self.category() };
        self.put(from);
        if self.rest().starts_with('-') && !self.rest().starts_with("-]") {
            self.at += 1;
            let to = self.class_char()?.ok_or_else(|| self.error("a range that ends in a category"))?;
            if to < from {
                return Err(self.error("a range the wrong way round"));
            }
            self.out.push('-');
            self.put(to);
        }
        Ok(())
    }

    /// `None` at an escape that stands for more than one character.
    fn class_char(&mut self) -> Result<Option<char>, RegexpError> {
        match self.peek() {
            Some('\\') => Ok(self.single_escape()),
            Some(c) if !matches!(c, '-' | '[' | ']') => {
                self.at += c.len_utf8();
                Ok(Some(c))
            }
            Some(_) => Err(self.error("a bracket or hyphen that wants a `\\`")),
            None => Err(self.error("a missing `]`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        let regexp = Regexp::new(pattern, true, LITERAL_BYTES_MAX).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        assert_eq!(regexp.matches(text), expected, "{pattern} on {text}");
    }

    #[test]
    fn patterns_mean_what_rfc_9485_says() {
        check("a.c", "a\u{2028}c", true);
        check("a.c", "a\nc", false);
        check("a|bc", "bc", true);
        check("a|bc", "abc", false);
        check("(ab){2,3}c{1}d{0,}", "ababcdd", true);
        check("[a-c-]+", "ab-c", true);
        check("[-a]+", "a-", true);
        check("[^a-c]", "b", false);
        check(r"[\^\-\]a]+", "^-]a", true);
        check(r"\p{Lu}\P{Lu}[\p{Nd}x]", "Ab7", true);
        check(r"\(\)\*\+\-\.\?\[\\\]\^\{\|\}\n\r\t", "()*+-.?[\\]^{|}\n\r\t", true);
        check("", "", true);
        check("a||b", "", true);
        check("^a[$]$", "a$", true);
    }

    #[test]
    fn what_is_dear_to_match_costs_more_steps() {
        let steps = |pattern: &str| Regexp::new(pattern, true, LITERAL_BYTES_MAX).unwrap().steps(10_000);
        assert!(steps("[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}") < 2_000);
        assert!(steps("(([ab]{5}){10}){20}") > 30_000);
        assert!(steps("[ab]*a[ab]{1000}") > 30_000);
    }

    #[test]
    fn what_only_the_crate_knows_has_no_meaning() {
        // Set operations, comments, flags: each sign stands for itself.
        check("[a&&b]", "&", true);
        check("[a~~b]", "~", true);
        check("a#b &-~/,'\"<>=!@%:;_`", "a#b &-~/,'\"<>=!@%:;_`", true);
        check("[a#]", "#", true);
    }

    #[test]
    fn what_is_no_i_regexp_is_refused() {
        for bad in [
            r"\d",
            r"\w",
            r"\b",
            r"\$",
            r"\/",
            r"\",
            "(?i)a",
            "(?:a)",
            "a*?",
            "a**",
            "*a",
            "a|*",
            "(*)",
            "(",
            ")",
            "[",
            "[]",
            "[^]",
            "[a",
            "[]a]",
            "[[a]]",
            "[a--z]",
            "[z-a]",
            r"[a-\p{L}]",
            "a{",
            "a{}",
            "a{,2}",
            "a{2,1}",
            "a{x}",
            "a{99999999999}",
            "a}",
            "]",
            r"\p{Cs}",
            r"\p{Latin}",
            r"\p{L",
            r"\pL",
            r"\x41",
            r"\u0041",
        ] {
            assert!(Regexp::new(bad, true, LITERAL_BYTES_MAX).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_that_would_grow_too_great_is_refused_at_once() {
        for great in ["(a{1000}){1000}", "((((a{99}){99}){99}){99}){99}", r"(\p{L}{100}){100}", &"(".repeat(1000)] {
            let error = Regexp::new(great, false, DOCUMENT_BYTES_MAX).unwrap_err();
            assert!(great.starts_with("((((((") || error == RegexpError::TooGreat, "{great}: {error}");
        }
        let nested = format!("{}a{}", "(".repeat(500), ")".repeat(500));
        assert!(Regexp::new(&nested, false, DOCUMENT_BYTES_MAX).is_err());
    }
}
