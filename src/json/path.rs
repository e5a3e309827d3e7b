//! RFC 9535 text to a checked [`Path`].
//!
//! The structure is found by jsonpath-rust's parser; the words, and all that the library is too lenient or too slow for, by
//! `lex`; function types and limits here. It evaluates nothing: see [`super::filter`]. Start at [`Path::parse`].

use std::fmt;
use std::sync::Arc;

use jsonpath_rust::parser::errors::JsonPathError;
use jsonpath_rust::parser::model as ast;
use jsonpath_rust::parser::parse_json_path;

use super::filter::{Comparison, Expr, Filter, Literal, Operand, Pattern, Query};
use super::regexp::{self, Regexp};
use super::text::Decimal;

mod class;
mod lex;

/// The longest path, in bytes: a hundred times any that people write, and little for the parser.
pub const PATH_BYTES_MAX: usize = 4096;
/// The most segments of one query. The automaton keeps a position for each.
pub const SEGMENTS_MAX: usize = 64;
/// The most selectors of one segment.
pub const SELECTORS_MAX: usize = 256;
/// The most brackets of any kind within each other. The parser takes stack for each.
pub const NESTING_MAX: usize = 24;
/// The most filters within each other.
pub const FILTERS_NESTED_MAX: usize = 6;
/// The most function calls within each other. The parser takes three times as long for each.
pub const CALLS_NESTED_MAX: usize = 4;
/// The greatest index either way (RFC 9535, section 2.1: what I-JSON carries exactly).
pub const INDEX_MAX: i64 = (1 << 53) - 1;

/// A checked JSONPath query.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    pub(crate) text: Arc<str>,
    pub(crate) segments: Vec<Segment>,
}

/// One segment (RFC 9535, section 2.5).
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// `..`
    pub descendant: bool,
    /// One or more.
    pub selectors: Vec<Selector>,
}

/// One selector (RFC 9535, section 2.3).
#[derive(Clone, Debug, PartialEq)]
pub enum Selector {
    /// A member's name, unescaped.
    Name(Arc<str>),
    /// `*`
    Wildcard,
    /// An array index; negative counts from the end.
    Index(i64),
    /// An array slice.
    Slice {
        /// First index.
        start: Option<i64>,
        /// End, exclusive.
        end: Option<i64>,
        /// Zero selects nothing (RFC 9535, section 2.3.4.2.2).
        step: i64,
    },
    /// `?…`
    Filter(Filter),
}

impl Selector {
    /// Can one pass decide it, without what comes later? (Then it is no filter, and counts from the front.)
    pub fn is_streamable(&self) -> bool {
        match self {
            Self::Name(_) | Self::Wildcard => true,
            Self::Index(index) => *index >= 0,
            Self::Slice { start, end, step } => {
                *step > 0 && start.is_none_or(|start| start >= 0) && end.is_none_or(|end| end >= 0)
            }
            Self::Filter(_) => false,
        }
    }
}

/// How much of a body must be held to decide a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing: one pass decides.
    Stream,
    /// One element.
    Element,
    /// The body.
    Body,
}

/// Why a text is no path that we run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// Byte offset in the text.
    pub offset: usize,
    /// What was found and what was wanted.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl PathError {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.message, self.offset)
    }
}

impl std::error::Error for PathError {}

impl Path {
    /// Parses and checks a path.
    ///
    /// # Errors
    /// What is no RFC 9535 query (its function types included), a literal pattern that is no I-Regexp (RFC 9485), and what
    /// passes the limits of this module.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let words = lex::read(text)?;
        let query = parse_json_path(&words.plain).map_err(|error| explain(&error, &words, text))?;
        let mut checker = Checker { words: &words, calls: 0 };
        Ok(Self { text: text.into(), segments: checker.segments(query.segments, 0)? })
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The segments behind `$`.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names that occur in name selectors on the main path, for printing locations and suggestions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(|s| &s.selectors).filter_map(|s| match s {
            Selector::Name(n) => Some(&**n),
            _ => None,
        })
    }
}

/// The library's complaint in our words, at its place in the path.
fn explain(error: &JsonPathError, words: &lex::Words, text: &str) -> PathError {
    // The one way to the place without naming the parser's parser: its report begins ` --> LINE:COLUMN`.
    let report = error.to_string();
    let column = report.split_once("--> 1:").and_then(|(_, rest)| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..digits)?.parse::<usize>().ok()
    });
    let Some(column) = column else {
        return PathError::new(0, "not a path of RFC 9535");
    };
    if column > words.plain.len() {
        return PathError::new(text.len(), "the path ends too early");
    }
    let offset = words.offset_of(column - 1);
    let found = text.get(offset..).and_then(|rest| rest.chars().next()).unwrap_or('$');
    let error = PathError::new(offset, format!("`{found}` cannot stand here"));
    let opened = text.get(..offset).is_some_and(|before| before.trim_end().ends_with('['));
    match found {
        ']' if opened => error.help("brackets hold names in quotes, indices, slices, `*` or a filter"),
        '$' | '@' | '(' if opened => error.help("a condition inside brackets is a filter: `[?@.…]`"),
        '=' | '!' | '<' | '>' => error.help(
            "what is compared is a literal, a function's value, or a path of single names and indices (no `*`, `..`, `,`, `:`)",
        ),
        _ => error,
    }
}

/// Makes our tree of the library's. It goes through it in the order of the text, so that the n-th call is the n-th of `words`.
struct Checker<'a> {
    words: &'a lex::Words,
    calls: usize,
}

/// What a function takes or gives (RFC 9535, section 2.4.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Value,
    Logical,
}

impl Checker<'_> {
    fn segments(&mut self, segments: Vec<ast::Segment>, offset: usize) -> Result<Vec<Segment>, PathError> {
        if segments.len() > SEGMENTS_MAX {
            let message = format!("{} segments: at most {SEGMENTS_MAX} are read", segments.len());
            return Err(PathError::new(offset, message));
        }
        segments.into_iter().map(|segment| self.segment(segment, false)).collect()
    }

    fn segment(&mut self, segment: ast::Segment, descendant: bool) -> Result<Segment, PathError> {
        let selectors = match segment {
            ast::Segment::Descendant(inner) if !descendant => return self.segment(*inner, true),
            ast::Segment::Descendant(_) => return Err(PathError::new(0, "a descendant of a descendant")),
            ast::Segment::Selector(selector) => vec![selector],
            ast::Segment::Selectors(selectors) => selectors,
        };
        let selectors = selectors.into_iter().map(|s| self.selector(s)).collect::<Result<Vec<_>, _>>()?;
        if selectors.len() > SELECTORS_MAX {
            let message = format!("{} selectors in one bracket: at most {SELECTORS_MAX} are read", selectors.len());
            return Err(PathError::new(0, message));
        }
        Ok(Segment { descendant, selectors })
    }

    fn selector(&mut self, selector: ast::Selector) -> Result<Selector, PathError> {
        Ok(match selector {
            ast::Selector::Name(ordinal) => Selector::Name(self.string(&ordinal)?.text.clone()),
            ast::Selector::Wildcard => Selector::Wildcard,
            ast::Selector::Index(ordinal) => Selector::Index(self.integer(ordinal)?),
            ast::Selector::Slice(start, end, step) => {
                let integer = |ordinal: Option<i64>| ordinal.map(|o| self.integer(o)).transpose();
                Selector::Slice { start: integer(start)?, end: integer(end)?, step: integer(step)?.unwrap_or(1) }
            }
            ast::Selector::Filter(filter) => Selector::Filter(Filter::new(self.filter(filter)?)),
        })
    }

    fn word(&self, ordinal: Option<usize>) -> Result<&lex::Word, PathError> {
        let word = ordinal.and_then(|ordinal| self.words.words.get(ordinal));
        word.ok_or_else(|| PathError::new(0, "not a path of RFC 9535"))
    }

    fn string(&self, ordinal: &str) -> Result<&lex::Word, PathError> {
        self.word(ordinal.parse().ok())
    }

    fn number(&self, ordinal: i64) -> Result<&lex::Word, PathError> {
        self.word(usize::try_from(ordinal).ok())
    }

    fn integer(&self, ordinal: i64) -> Result<i64, PathError> {
        let word = self.number(ordinal)?;
        let error = |message: &str| PathError::new(word.offset, message);
        if &*word.text == "-0" {
            return Err(error("`-0` is no index").help("write `0`"));
        }
        if word.text.contains(['.', 'e', 'E']) {
            return Err(error("an index is a whole number"));
        }
        match word.text.parse::<i64>() {
            Ok(index) if (-INDEX_MAX..=INDEX_MAX).contains(&index) => Ok(index),
            _ => Err(error("an index beyond 2^53-1")),
        }
    }

    fn filter(&mut self, filter: ast::Filter) -> Result<Expr, PathError> {
        let mut all = |filters: Vec<ast::Filter>| filters.into_iter().map(|f| self.filter(f)).collect::<Result<_, _>>();
        Ok(match filter {
            ast::Filter::Or(filters) => Expr::Or(all(filters)?),
            ast::Filter::And(filters) => Expr::And(all(filters)?),
            ast::Filter::Atom(ast::FilterAtom::Filter { expr, not }) => negate(self.filter(*expr)?, not),
            ast::Filter::Atom(ast::FilterAtom::Test { expr, not }) => negate(self.test(*expr)?, not),
            ast::Filter::Atom(ast::FilterAtom::Comparison(comparison)) => self.comparison(*comparison)?,
        })
    }

    fn test(&mut self, test: ast::Test) -> Result<Expr, PathError> {
        Ok(match test {
            ast::Test::RelQuery(segments) => Expr::Exists(self.query(false, segments)?),
            ast::Test::AbsQuery(query) => Expr::Exists(self.query(true, query.segments)?),
            ast::Test::Function(function) => {
                let offset = self.next_call();
                match self.function(*function, offset, Kind::Logical)? {
                    Called::Logical(expr) => expr,
                    Called::Value(_) => return Err(wrong_kind(offset, Kind::Logical)),
                }
            }
        })
    }

    fn query(&mut self, root: bool, segments: Vec<ast::Segment>) -> Result<Query, PathError> {
        Ok(Query { root, segments: self.segments(segments, 0)? })
    }

    fn comparison(&mut self, comparison: ast::Comparison) -> Result<Expr, PathError> {
        let (op, left, right) = match comparison {
            ast::Comparison::Eq(left, right) => (Comparison::Equal, left, right),
            ast::Comparison::Ne(left, right) => (Comparison::NotEqual, left, right),
            ast::Comparison::Lt(left, right) => (Comparison::Less, left, right),
            ast::Comparison::Lte(left, right) => (Comparison::LessOrEqual, left, right),
            ast::Comparison::Gt(left, right) => (Comparison::Greater, left, right),
            ast::Comparison::Gte(left, right) => (Comparison::GreaterOrEqual, left, right),
        };
        Ok(Expr::Compare(op, self.comparable(left)?, self.comparable(right)?))
    }

    fn comparable(&mut self, comparable: ast::Comparable) -> Result<Operand, PathError> {
        match comparable {
            ast::Comparable::Literal(literal) => Ok(Operand::Literal(self.literal(&literal)?)),
            ast::Comparable::SingularQuery(query) => {
                let (root, segments) = match query {
                    ast::SingularQuery::Current(segments) => (false, segments),
                    ast::SingularQuery::Root(segments) => (true, segments),
                };
                let segments =
                    segments.into_iter().map(|segment| self.singular(segment)).collect::<Result<Vec<_>, _>>()?;
                if segments.len() > SEGMENTS_MAX {
                    return Err(PathError::new(0, format!("more than {SEGMENTS_MAX} segments")));
                }
                Ok(Operand::Query(Query { root, segments }))
            }
            ast::Comparable::Function(function) => {
                let offset = self.next_call();
                match self.function(function, offset, Kind::Value)? {
                    Called::Value(operand) => Ok(operand),
                    Called::Logical(_) => Err(wrong_kind(offset, Kind::Value)),
                }
            }
        }
    }

    fn singular(&mut self, segment: ast::SingularQuerySegment) -> Result<Segment, PathError> {
        let (word, selector) = match segment {
            ast::SingularQuerySegment::Name(ordinal) => {
                let word = self.string(&ordinal)?;
                (word, Selector::Name(word.text.clone()))
            }
            ast::SingularQuerySegment::Index(ordinal) => {
                (self.number(ordinal)?, Selector::Index(self.integer(ordinal)?))
            }
        };
        if word.loose {
            let message = "white space inside the brackets of a path that is compared";
            return Err(PathError::new(word.offset, message).help("RFC 9535 allows it in other paths only: remove it"));
        }
        Ok(Segment { descendant: false, selectors: vec![selector] })
    }

    fn literal(&self, literal: &ast::Literal) -> Result<Literal, PathError> {
        Ok(match literal {
            ast::Literal::Null => Literal::Null,
            ast::Literal::Bool(true) => Literal::True,
            ast::Literal::Bool(false) => Literal::False,
            ast::Literal::String(ordinal) => Literal::String(self.string(ordinal)?.text.clone()),
            ast::Literal::Int(ordinal) => {
                let word = self.number(*ordinal)?;
                if Decimal::parse(word.text.as_bytes()).is_none() {
                    return Err(PathError::new(word.offset, "a number with an exponent that is too great"));
                }
                Literal::Number(word.text.clone())
            }
            ast::Literal::Float(_) => return Err(PathError::new(0, "not a path of RFC 9535")),
        })
    }

    fn next_call(&mut self) -> usize {
        let offset = self.words.calls.get(self.calls).copied().unwrap_or(0);
        self.calls += 1;
        offset
    }

    fn function(&mut self, function: ast::TestFunction, offset: usize, wanted: Kind) -> Result<Called, PathError> {
        let gives = match function {
            ast::TestFunction::Match(..) | ast::TestFunction::Search(..) => Kind::Logical,
            _ => Kind::Value,
        };
        if gives != wanted {
            return Err(wrong_kind(offset, wanted));
        }
        Ok(match function {
            ast::TestFunction::Length(arg) => Called::Value(Operand::Length(Box::new(self.value_arg(*arg, offset)?))),
            ast::TestFunction::Count(arg) => Called::Value(Operand::Count(self.nodes_arg(arg, offset, "count")?)),
            ast::TestFunction::Value(arg) => Called::Value(Operand::Value(self.nodes_arg(arg, offset, "value")?)),
            ast::TestFunction::Match(text, pattern) => Called::Logical(self.matching(true, text, pattern, offset)?),
            ast::TestFunction::Search(text, pattern) => Called::Logical(self.matching(false, text, pattern, offset)?),
            ast::TestFunction::Custom(..) => return Err(PathError::new(offset, "no function of RFC 9535")),
        })
    }

    fn matching(
        &mut self,
        whole: bool,
        text: ast::FnArg,
        pattern: ast::FnArg,
        offset: usize,
    ) -> Result<Expr, PathError> {
        let text = self.value_arg(text, offset)?;
        let place = match &pattern {
            ast::FnArg::Literal(ast::Literal::String(ordinal)) => self.string(ordinal)?.offset,
            _ => offset,
        };
        let pattern = match self.value_arg(pattern, offset)? {
            Operand::Literal(Literal::String(pattern)) => {
                let regexp = Regexp::new(&pattern, whole, regexp::LITERAL_BYTES_MAX).map_err(|error| {
                    let PathError { message, help, .. } = PathError::new(0, error.to_string()).help(error.help());
                    PathError { offset: place, message, help }
                })?;
                Pattern::Fixed(regexp)
            }
            other => Pattern::Read(other),
        };
        Ok(Expr::Match { whole, text: Box::new(text), pattern: Box::new(pattern) })
    }

    /// An argument that is one value: a literal, a path that selects at most one node, or a function's value.
    fn value_arg(&mut self, arg: ast::FnArg, offset: usize) -> Result<Operand, PathError> {
        let (root, segments) = match arg {
            ast::FnArg::Literal(literal) => return Ok(Operand::Literal(self.literal(&literal)?)),
            ast::FnArg::Filter(_) => {
                return Err(PathError::new(offset, "an argument that is a condition, where a value is wanted"));
            }
            ast::FnArg::Test(test) => match *test {
                ast::Test::RelQuery(segments) => (false, segments),
                ast::Test::AbsQuery(query) => (true, query.segments),
                ast::Test::Function(function) => return self.comparable(ast::Comparable::Function(*function)),
            },
        };
        let query = self.query(root, segments)?;
        if !query.is_singular() {
            let help = "only single names and indices select at most one place; `value(…)` makes one of a list";
            let message = "an argument that may select several places, where one value is wanted";
            return Err(PathError::new(offset, message).help(help));
        }
        Ok(Operand::Query(query))
    }

    /// An argument that is a path.
    fn nodes_arg(&mut self, arg: ast::FnArg, offset: usize, name: &str) -> Result<Query, PathError> {
        if let ast::FnArg::Test(test) = arg {
            match *test {
                ast::Test::RelQuery(segments) => return self.query(false, segments),
                ast::Test::AbsQuery(query) => return self.query(true, query.segments),
                ast::Test::Function(_) => {}
            }
        }
        Err(PathError::new(offset, format!("`{name}` wants a path")).help(format!("write `{name}(@.…)`")))
    }
}

/// What a call amounts to.
enum Called {
    Value(Operand),
    Logical(Expr),
}

fn wrong_kind(offset: usize, wanted: Kind) -> PathError {
    match wanted {
        Kind::Logical => PathError::new(offset, "a function whose value is not compared with anything")
            .help("write for instance `length(…) > 0`; alone stand `match` and `search`"),
        Kind::Value => PathError::new(offset, "`match` and `search` hold or do not hold: they are no value")
            .help("write the call alone, or `!` before it"),
    }
}

fn negate(expr: Expr, not: bool) -> Expr {
    if not { Expr::Not(Box::new(expr)) } else { expr }
}

#[cfg(test)]
mod tests;
