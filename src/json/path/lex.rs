//! The words of a path: what jsonpath-rust's parser must not be asked to read.
//!
//! The library's grammar skips white space inside names and numbers, trims names, reads numbers as floats, knows functions that
//! RFC 9535 does not, and takes exponential time over nested calls. So the words are read here, exactly as section 2 of the RFC
//! spells them, and the library gets a text without white space in which every name, string and number is its ordinal. It
//! decides what the words amount to; what they say, and where they stood, is kept in [`Words`]. Start at [`read`].
//!
//! ```text
//! $.items[?@.price <= 1e1].id      $['0'][?@['1']<=2]['3']      words: items price 1e1 id
//! ```

use std::sync::Arc;

use super::{CALLS_NESTED_MAX, FILTERS_NESTED_MAX, NESTING_MAX, PATH_BYTES_MAX, PathError};

/// A name, string or number.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) offset: usize,
    pub(super) text: Arc<str>,
    /// Stands in brackets with white space beside it, which a query that is compared may not have.
    pub(super) loose: bool,
}

/// A path's words, and the text that the library parses.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) plain: String,
    /// By the ordinal that stands in `plain`.
    pub(super) words: Vec<Word>,
    /// Where the functions are called, in order.
    pub(super) calls: Vec<usize>,
    /// Offsets in `plain` and in the path.
    places: Vec<(usize, usize)>,
}

impl Words {
    /// The place in the path of a place in `plain`.
    pub(super) fn offset_of(&self, plain: usize) -> usize {
        let after = self.places.partition_point(|(at, _)| *at <= plain);
        self.places.get(after.saturating_sub(1)).map_or(0, |(_, offset)| *offset)
    }
}

/// The functions of RFC 9535, section 2.4.
const FUNCTIONS: [&str; 5] = ["length", "count", "match", "search", "value"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Square { filter: bool },
    Round { call: bool },
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    out: Words,
    open: Vec<(usize, Bracket)>,
    /// The last word was a number, so that another one would run into it.
    after_number: bool,
}

/// Reads the words of a path and checks all that can be seen in them.
pub(super) fn read(text: &str) -> Result<Words, PathError> {
    if text.len() > PATH_BYTES_MAX {
        let message = format!("a path of {} bytes: at most {PATH_BYTES_MAX} are read", text.len());
        return Err(PathError::new(PATH_BYTES_MAX, message).help("make several rules of it"));
    }
    let out = Words { plain: String::with_capacity(text.len()), words: vec![], calls: vec![], places: vec![] };
    let mut reader = Reader { text, at: 0, out, open: vec![], after_number: false };
    let whole = if text.len() < 80 { text } else { "…" };
    match text.chars().next() {
        Some('$') => {}
        None => return Err(PathError::new(0, "an empty path").help("`$` is the whole document")),
        Some(c) if c.is_whitespace() => return Err(PathError::new(0, "white space before the path")),
        Some('.' | '[') => return Err(PathError::new(0, "a path begins with `$`").help(format!("write `${whole}`"))),
        Some('@') => return Err(PathError::new(0, "a path begins with `$`").help("`@` is known inside filters only")),
        Some(_) => return Err(PathError::new(0, "a path begins with `$`").help(format!("write `$.{whole}`"))),
    }
    while reader.at < text.len() {
        reader.word()?;
    }
    if text.ends_with([' ', '\t', '\n', '\r']) {
        return Err(PathError::new(text.trim_end().len(), "white space after the path"));
    }
    if let Some((offset, bracket)) = reader.open.last() {
        let what = if matches!(bracket, Bracket::Square { .. }) { '[' } else { '(' };
        return Err(PathError::new(*offset, format!("`{what}` is never closed")));
    }
    Ok(reader.out)
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Puts `plain` for the `len` bytes that stand here.
    fn put(&mut self, len: usize, plain: &str) {
        self.out.places.push((self.out.plain.len(), self.at));
        self.out.plain.push_str(plain);
        self.at += len;
    }

    /// Puts the ordinal of a name, string or number of `len` bytes.
    fn put_word(&mut self, len: usize, text: Arc<str>, around: [&str; 2]) {
        let beside = |c: Option<char>| c.is_some_and(is_blank);
        let before = self.text.get(..self.at).and_then(|t| t.chars().next_back());
        let after = self.text.get(self.at + len..).and_then(|t| t.chars().next());
        // A name behind a dot has been checked for what stands before it, and what stands after it is free.
        let loose = !around[0].starts_with('[') && (beside(before) || beside(after));
        let ordinal = self.out.words.len();
        self.out.words.push(Word { offset: self.at, text, loose });
        self.put(len, &format!("{}{ordinal}{}", around[0], around[1]));
    }

    fn word(&mut self) -> Result<(), PathError> {
        let rest = self.rest();
        let Some(char) = rest.chars().next() else { return Ok(()) };
        let after_number = std::mem::take(&mut self.after_number);
        match char {
            c if is_blank(c) => {
                self.at += 1;
                self.after_number = after_number;
            }
            '$' | '@' | '*' | ',' | ':' => self.put(1, rest.get(..1).unwrap_or_default()),
            '?' => {
                if let Some((_, Bracket::Square { filter })) = self.open.last_mut() {
                    *filter = true;
                }
                self.put(1, "?");
                self.limit_nesting()?;
            }
            '[' => self.open(Bracket::Square { filter: false })?,
            '(' => self.open(Bracket::Round { call: false })?,
            ']' | ')' => self.close(char)?,
            '.' => self.dots()?,
            '\'' | '"' => {
                let (text, len) = self.string(char)?;
                self.put_word(len, text.into(), ["'", "'"]);
            }
            '-' | '0'..='9' => {
                if after_number {
                    return Err(PathError::new(self.at, "two numbers with nothing between them"));
                }
                let number = self.number()?;
                self.put_word(number.len(), number.into(), ["", ""]);
                self.after_number = true;
            }
            'a'..='z' | 'A'..='Z' | '_' => self.ident()?,
            _ => self.operator()?,
        }
        Ok(())
    }

    fn open(&mut self, bracket: Bracket) -> Result<(), PathError> {
        self.open.push((self.at, bracket));
        self.put(1, if matches!(bracket, Bracket::Square { .. }) { "[" } else { "(" });
        self.limit_nesting()
    }

    fn close(&mut self, char: char) -> Result<(), PathError> {
        match (self.open.pop(), char) {
            (Some((_, Bracket::Square { .. })), ']') => self.put(1, "]"),
            (Some((_, Bracket::Round { .. })), ')') => self.put(1, ")"),
            (Some((offset, _)), _) => {
                return Err(PathError::new(self.at, format!("`{char}` does not close the bracket at byte {offset}")));
            }
            (None, _) => return Err(PathError::new(self.at, format!("`{char}` closes nothing"))),
        }
        Ok(())
    }

    /// What nests costs the library stack for each level, and for each call within a call three times the time.
    fn limit_nesting(&self) -> Result<(), PathError> {
        let count = |which: fn(&Bracket) -> bool| self.open.iter().filter(|(_, bracket)| which(bracket)).count();
        let too_deep = [
            (count(|b| matches!(b, Bracket::Square { filter: true })), FILTERS_NESTED_MAX, "filters"),
            (count(|b| matches!(b, Bracket::Round { call: true })), CALLS_NESTED_MAX, "function calls"),
            (self.open.len(), NESTING_MAX, "brackets"),
        ];
        match too_deep.iter().find(|(found, most, _)| found > most) {
            Some((_, most, what)) => {
                Err(PathError::new(self.at.saturating_sub(1), format!("{what} nested more than {most} deep")))
            }
            None => Ok(()),
        }
    }

    /// `.name`, `.*`, `..name`, `..*` or `..[`.
    fn dots(&mut self) -> Result<(), PathError> {
        let descendant = self.rest().starts_with("..");
        self.put(if descendant { 2 } else { 1 }, if descendant { ".." } else { "" });
        match self.peek() {
            Some('*') => self.put(1, "[*]"),
            Some('[') if descendant => {}
            Some(c) if is_name_first(c) => {
                let rest = self.rest();
                let len = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
                let name = rest.get(..len).unwrap_or_default();
                self.put_word(len, name.into(), ["['", "']"]);
                if self.peek() == Some('(') {
                    let message = format!("`{name}` is called on a path");
                    let help = format!("functions stand before: `{name}(@.…)`, inside a filter");
                    return Err(PathError::new(self.at, message).help(help));
                }
                if self.peek() == Some('-') {
                    let rest = self.rest();
                    let end = rest.find(|c: char| !is_name_char(c) && c != '-').unwrap_or(rest.len());
                    let help = format!("put the name in quotes: `['{name}{}']`", rest.get(..end).unwrap_or_default());
                    return Err(PathError::new(self.at, "`-` in a name without quotes").help(help));
                }
            }
            Some(c) if c.is_whitespace() => return Err(PathError::new(self.at, "white space after a dot")),
            Some('.') => return Err(PathError::new(self.at, "more than two dots")),
            Some('[') => {
                return Err(PathError::new(self.at, "`.` before a bracket").help("write `[` alone, or `..[`"));
            }
            Some(c) => {
                let help = "names that have other signs than letters, digits and `_` stand in quotes: `['…']`";
                return Err(PathError::new(self.at, format!("{} after a dot", show(c))).help(help));
            }
            None => return Err(PathError::new(self.at, "a dot at the end").help("a name or `*` is missing")),
        }
        Ok(())
    }

    /// The value of the string that begins here, and its length as written.
    fn string(&self, quote: char) -> Result<(String, usize), PathError> {
        let rest = self.rest();
        let mut out = String::new();
        let mut at = 1;
        while let Some(char) = rest.get(at..).and_then(|r| r.chars().next()) {
            let error = |message| PathError::new(self.at + at, message);
            match char {
                c if c == quote => return Ok((out, at + 1)),
                '\\' => {
                    let after = rest.get(at + 1..).unwrap_or_default();
                    let (char, len) = escape(after, quote).ok_or_else(|| {
                        error("an escape that is not known here")
                            .help(r"known are \b \f \n \r \t \/ \\ \uXXXX and the quote that the string stands in")
                    })?;
                    out.push(char);
                    at += 1 + len;
                }
                c if c < ' ' => return Err(error("a control character in a string")),
                c => {
                    out.push(c);
                    at += c.len_utf8();
                }
            }
        }
        Err(PathError::new(self.at, "a string that is never closed"))
    }

    fn number(&self) -> Result<&'a str, PathError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
        let byte = |at: usize| bytes.get(at).copied();
        let first = usize::from(byte(0) == Some(b'-'));
        let int = digits(first);
        let mut end = first + int;
        if int == 0 {
            return Err(PathError::new(self.at, "`-` without a number"));
        }
        if int > 1 && byte(first) == Some(b'0') {
            return Err(PathError::new(self.at, "a number with a leading zero"));
        }
        if byte(end) == Some(b'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
        }
        if matches!(byte(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(byte(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent > 0 {
                end += 1 + sign + exponent;
            }
        }
        match rest.get(end..).and_then(|r| r.chars().next()) {
            Some(c) if c == '.' || is_name_char(c) => {
                Err(PathError::new(self.at + end, format!("{} in a number", show(c))).help("strings stand in quotes"))
            }
            _ => Ok(rest.get(..end).unwrap_or_default()),
        }
    }

    /// `true`, `false`, `null` or a function's name.
    fn ident(&mut self) -> Result<(), PathError> {
        let rest = self.rest();
        let len = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
        let ident = rest.get(..len).unwrap_or_default();
        let after = rest.get(len..).unwrap_or_default();
        if FUNCTIONS.contains(&ident) {
            if !after.starts_with('(') {
                let blank = after.trim_start_matches(is_blank).starts_with('(');
                let message = if blank { "white space after a function's name" } else { "a function without `(`" };
                return Err(PathError::new(self.at, message).help(format!("write `{ident}(…)`")));
            }
            // The library says of these only that they are wrong, not where.
            let compares = |text: &str| ["==", "!=", "<", ">"].iter().any(|op| text.starts_with(op));
            let compared = self.out.plain.ends_with(['=', '<', '>']) || after_call(after).is_some_and(compares);
            if ["match", "search"].contains(&ident) && compared {
                return Err(super::wrong_kind(self.at, super::Kind::Value));
            }
            let argument = after.get(1..).unwrap_or_default().trim_start_matches(is_blank);
            if ident == "count" && !argument.starts_with(['$', '@']) {
                return Err(PathError::new(self.at, "`count` wants a path").help("write `count(@.…)`"));
            }
            self.out.calls.push(self.at);
            self.put(len, ident);
            return self.open(Bracket::Round { call: true });
        }
        if after.starts_with('(') {
            let help = "RFC 9535 has `length`, `count`, `match`, `search` and `value`";
            return Err(PathError::new(self.at, format!("`{ident}` is no function")).help(help));
        }
        if !["true", "false", "null"].contains(&ident) {
            let help = match (ident, self.open.last()) {
                ("and", _) => "`and` is `&&`".to_owned(),
                ("or", _) => "`or` is `||`".to_owned(),
                ("not", _) => "`not` is `!`".to_owned(),
                ("in" | "nin", _) => "compare with each value: `@.a == 'x' || @.a == 'y'`".to_owned(),
                (_, None) => "names with blanks stand in brackets and quotes: `['…']`".to_owned(),
                (_, Some((_, Bracket::Square { filter: false }))) => {
                    format!("names in brackets stand in quotes: `['{ident}']`")
                }
                _ => format!("a string stands in quotes: `'{ident}'`; a member of the element is `@.{ident}`"),
            };
            return Err(PathError::new(self.at, format!("`{ident}` without quotes")).help(help));
        }
        self.put(len, ident);
        Ok(())
    }

    fn operator(&mut self) -> Result<(), PathError> {
        let rest = self.rest();
        // The longer ones first.
        for operator in ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!"] {
            if rest.starts_with(operator) {
                self.put(operator.len(), operator);
                return Ok(());
            }
        }
        let error = |message: &str| PathError::new(self.at, message);
        Err(match rest.chars().next() {
            Some('=') if rest.starts_with("=~") => error("`=~` is no operator").help("use `match(@.…, '…')`"),
            Some('=') => error("`=` is no operator").help("equality is `==`"),
            Some('&') => error("`&` is no operator").help("`and` is `&&`"),
            Some('|') => error("`|` is no operator").help("`or` is `||`"),
            Some(c) if c.is_whitespace() => error("white space of a kind that is not read").help("use a plain space"),
            Some(c) => error(&format!("{} is not known here", show(c))),
            None => error("the path ends here"),
        })
    }
}

/// What stands behind the bracket that opens `text`, and behind white space.
fn after_call(text: &str) -> Option<&str> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, char) in text.char_indices() {
        match (quote, char) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == char => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(char),
            (None, '(') => depth += 1,
            (None, ')') if depth == 1 => return text.get(at + 1..).map(|rest| rest.trim_start_matches(is_blank)),
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}

/// Reads what follows a backslash: the character, and how many bytes (all ASCII) it takes.
fn escape(after: &str, quote: char) -> Option<(char, usize)> {
    let plain = match after.chars().next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '/' => '/',
        '\\' => '\\',
        c if c == quote => c,
        'u' => {
            let hex = |from: usize| {
                let four = after.get(from..from + 4)?;
                four.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(four, 16).ok())?
            };
            let high = hex(1)?;
            if let Some(char) = char::from_u32(high) {
                return Some((char, 5));
            }
            let low = hex(7).filter(|_| after.get(5..7) == Some("\\u") && high < 0xdc00)?;
            let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            return Some((char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + low)?, 11));
        }
        _ => return None,
    };
    Some((plain, 1))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_name_first(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c >= '\u{80}'
}

fn is_name_char(c: char) -> bool {
    is_name_first(c) || c.is_ascii_digit()
}

/// A character for a message.
fn show(c: char) -> String {
    if c.is_control() || (c.is_whitespace() && c != ' ') { format!("U+{:04X}", u32::from(c)) } else { format!("`{c}`") }
}
