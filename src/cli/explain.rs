//! `tidegate explain`: a document in, a line per leaf out.
//!
//! Runs what traffic runs, with placeholders where keys would be needed: masks and coarser values are real, tokens are shown as
//! `<token:email>`. Shows values of the document, for it is the operator's own. Start at [`run`].

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::crossing::transform::{Generalized, Generalizer, Masker};
use crate::ids::{self, Direction, Shape};
use crate::json::automaton::Otherwise;
use crate::json::text;
use crate::json::window::{Judgement, Kind, Leaf, TraceOutcome};
use crate::policy::compile::{Asker, CompiledLeg, CompiledPolicy, CompiledRoute, compile};
use crate::policy::diagnostic::Severity;
use crate::policy::explain::{Line, explain};
use crate::policy::held::held;
use crate::policy::read;
use crate::policy::route::{Matched, NormalPath};
use crate::policy::rule::{Action, BodyKind, Leg, Locator, Place, Route};
use crate::vault::normalize;
use crate::vault::shaped::fits;

use super::{Exit, check};

/// Largest document.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The JSON document
    document: PathBuf,
    /// The policy file
    #[arg(short, long, value_name = "FILE")]
    policy: PathBuf,
    /// The route: as the policy writes it, or a method and a path [default: the only one]
    #[arg(short, long, value_name = "METHOD PATH")]
    route: Option<String>,
    /// Which leg the document crosses [default: the one that leaves to the partner]
    #[arg(short, long, value_enum)]
    leg: Option<Which>,
    /// The day for ages from dates of birth
    #[arg(long, value_name = "YYYY-MM-DD")]
    today: Option<jiff::civil::Date>,
}

/// A leg of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// The request
    Request,
    /// The response
    Response,
    /// A response with an error status
    Error,
}

/// Runs the command.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let Some(policy) = policy(&args, err) else { return Exit::Unusable };
    let Some((route, compiled)) = route(&policy, args.route.as_deref(), err) else { return Exit::Unusable };
    let which = args.leg.unwrap_or(match route.direction {
        Direction::Inbound => Which::Response,
        Direction::Outbound => Which::Request,
    });
    let leg = match which {
        Which::Request => Some(&compiled.request),
        Which::Response => Some(&compiled.response),
        Which::Error => compiled.error.as_ref(),
    };
    let Some(leg) = leg else {
        let _ = writeln!(err, "route `{}` has no error leg: of an error only the status leaves", route.pattern);
        return Exit::Unusable;
    };
    let document = match fs::metadata(&args.document).map(|meta| meta.len()) {
        Ok(length) if length > DOCUMENT_BYTES_MAX => Err(format!("larger than {DOCUMENT_BYTES_MAX} bytes")),
        _ => fs::read(&args.document).map_err(|error| format!("cannot be read: {}", error.kind())),
    };
    let document = match document {
        Ok(document) => document,
        Err(why) => {
            let _ = writeln!(err, "{}: {why}", args.document.display());
            return Exit::Unusable;
        }
    };
    let today = args.today.unwrap_or_else(check::today);
    let mut shown = head(&policy, route, which, &leg.leg);
    let exit = match &leg.leg.body {
        kind if kind.is_read() => {
            let explained = explain(leg, &document, &mut |leg, leaf, out| placeholder(leg, today, &leaf, out));
            if explained.refused.is_none() || kind.is_stream() {
                shown.push_str(&table(&explained.lines));
            }
            match explained.refused {
                None => Exit::Clean,
                Some(why) => {
                    let what = if kind.is_stream() { "the stream is cut off" } else { "the document is refused" };
                    shown.push_str(&format!("\n{RED}{what}{OFF}: {why}\n"));
                    Exit::Findings
                }
            }
        }
        BodyKind::Opaque { reason } => {
            shown.push_str(&format!("\nthe body passes unread: {reason}\n"));
            Exit::Clean
        }
        _ => {
            shown.push_str("\nthis leg has no body: one that is sent is refused\n");
            Exit::Findings
        }
    };
    match out.write_all(shown.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => exit,
        Err(_) => Exit::Unusable,
    }
}

fn policy(args: &Args, err: &mut dyn Write) -> Option<CompiledPolicy> {
    let texts = check::gather(std::slice::from_ref(&args.policy), err)?;
    let mut texts = texts.iter();
    let (Some((name, text)), None) = (texts.next(), texts.next()) else {
        let _ = writeln!(err, "{}: one policy file is wanted", args.policy.display());
        return None;
    };
    let (policy, mut found) = read(name, text);
    let compiled = policy.map(compile).and_then(|result| result.map_err(|more| found.extend(more)).ok());
    if compiled.is_none() {
        for diagnostic in found.iter().filter(|diagnostic| diagnostic.severity == Severity::Error) {
            let _ = writeln!(err, "{}\n", diagnostic.render(text, true));
        }
    }
    compiled
}

/// By its pattern as written, or by a request that would take it.
fn route<'p>(
    policy: &'p CompiledPolicy,
    wanted: Option<&str>,
    err: &mut dyn Write,
) -> Option<(&'p Route, &'p CompiledRoute)> {
    let routes = &policy.policy.routes;
    let index = match wanted {
        None if routes.len() == 1 => Some(0),
        None => None,
        Some(wanted) => {
            routes.iter().position(|route| *route.pattern == *wanted).or_else(|| by_request(policy, wanted))
        }
    };
    let found = index.and_then(|index| routes.get(index).zip(policy.routes.get(index)));
    if found.is_none() {
        let what = wanted.map_or("which route?".to_owned(), |wanted| format!("no route `{}`", wanted.escape_debug()));
        let _ = writeln!(err, "{what}; `--route` is one of");
        for route in routes {
            let _ = writeln!(err, "  {}", route.pattern);
        }
    }
    found
}

fn by_request(policy: &CompiledPolicy, wanted: &str) -> Option<usize> {
    let (method, path) = wanted.split_once(' ')?;
    let path = NormalPath::parse(path).ok()?;
    [&policy.inbound, &policy.outbound].into_iter().find_map(|router| match router.find(method, &path) {
        Matched::Route { index, .. } => Some(index),
        Matched::Method { .. } | Matched::None => None,
    })
}

/// What applies to the leg as a whole.
fn head(policy: &CompiledPolicy, route: &Route, which: Which, leg: &Leg) -> String {
    let half = if which == Which::Request { ids::Leg::Request } else { ids::Leg::Response };
    let word = match which {
        Which::Request => "request",
        Which::Response => "response",
        Which::Error => "error",
    };
    let leaves = half.discloses(route.direction);
    let mut shown = format!(
        "{BOLD}{}{OFF}  {}  {}.{word}: {}\n",
        policy.policy.partner.id,
        route.pattern,
        route.direction.as_str(),
        if leaves { "leaves to the partner" } else { "arrives" },
    );
    for held in held(leg, &policy.policy.limits) {
        shown.push_str(&format!("  {} ({}) {held}\n", held.id, at(held.place)));
    }
    if let Some(must) = leg.rules.iter().find(|rule| rule.must) {
        shown.push_str(&format!("  nothing leaves before the whole body has passed: {} says `must`\n", must.id));
    }
    for rule in leg.rules.iter().filter(|rule| !matches!(rule.locator, Locator::Path(_))) {
        shown.push_str(&format!("  {}: {} ({})\n", beside(&rule.locator), rule.action.name(), at(&rule.place)));
    }
    for reveal in leg.reveals.iter().filter(|reveal| !matches!(reveal.locator, Locator::Path(_))) {
        shown.push_str(&format!("  {}: reveal {} ({})\n", beside(&reveal.locator), reveal.category, at(&reveal.place)));
    }
    shown
}

fn beside(locator: &Locator) -> String {
    match locator {
        Locator::Path(path) => path.text().to_owned(),
        Locator::Query(name) => format!("query {name}"),
        Locator::Header(name) => format!("header {name}"),
        Locator::Capture(name) => format!("capture {name}"),
        Locator::Cookie(name) => format!("cookie {name}"),
        Locator::Event(name) => format!("event {name}"),
        Locator::Form(name) => format!("form {name}"),
        Locator::Part(name) => format!("part {name}"),
        Locator::InPart { part, path } => format!("part {part}: {}", path.text()),
    }
}

fn at(place: &Place) -> String {
    format!("{}:{}", place.file, place.line)
}

const BOLD: &str = "\u{1b}[1m";
const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const DIM: &str = "\u{1b}[2m";
const OFF: &str = "\u{1b}[0m";

/// Coloured always: the command's streams take the colours out where nobody sees them.
fn table(lines: &[Line]) -> String {
    const TITLES: [&str; 4] = ["where", "what it is", "rule", "what leaves"];
    let rows: Vec<([String; 4], &str)> = lines
        .iter()
        .map(|line| {
            let (category, rule) = match line.asker {
                None => (String::new(), default(line.leg.default).to_owned()),
                Some(Asker::Rule(index)) => line.leg.rules.get(index).map_or_else(Default::default, |rule| {
                    let category = rule.category.as_ref().map(ToString::to_string);
                    let name = format!("{} {} ({})", rule.action.name(), rule.id, at(&rule.place));
                    (category.unwrap_or_default(), name)
                }),
                Some(Asker::Reveal(index)) => line.leg.reveals.get(index).map_or_else(Default::default, |reveal| {
                    (reveal.category.to_string(), format!("reveal {} ({})", reveal.id, at(&reveal.place)))
                }),
                Some(Asker::Guard(_)) => (String::new(), "default keep, no masked value".to_owned()),
            };
            let (leaves, colour) = match (&line.leaves, line.outcome) {
                (Some(leaves), TraceOutcome::Kept) => (short(leaves), GREEN),
                (Some(leaves), _) => (short(leaves), YELLOW),
                (None, TraceOutcome::Kept) => ("as it is".to_owned(), GREEN),
                (None, _) => ("-".to_owned(), RED),
            };
            ([line.location.clone(), category, rule, leaves], colour)
        })
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|(cells, _)| cells.get(column)).map(|cell| cell.chars().count());
        cells.chain(TITLES.get(column).map(|title| title.len())).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let row = |cells: [&str; 4], colour: &str| {
        let [place, category, rule, leaves] = cells;
        let [a, b, c] = widths;
        format!("{place:a$}  {category:b$}  {rule:c$}  {colour}{leaves}{OFF}\n")
    };
    let mut shown = format!("\n{DIM}{}", row(TITLES, ""));
    for (cells, colour) in &rows {
        shown.push_str(&row(cells.each_ref().map(String::as_str), colour));
    }
    let left = lines.iter().filter(|line| line.outcome != TraceOutcome::Dropped).count();
    shown.push_str(&format!("\n{left} of {} places leave something\n", lines.len()));
    shown
}

fn default(otherwise: Otherwise) -> &'static str {
    match otherwise {
        Otherwise::Keep => "(default: keep)",
        Otherwise::Drop => "(default: drop)",
        Otherwise::Refuse => "(default: refuse)",
    }
}

/// A long value's beginning.
fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

/// What a rule makes of a value, with a placeholder where a key would be needed.
fn placeholder(leg: &CompiledLeg, today: jiff::civil::Date, leaf: &Leaf<'_>, out: &mut Vec<u8>) -> Judgement {
    let rule = match leg.asker(leaf.selection) {
        Some(Asker::Rule(index)) => leg.leg.rules.get(index),
        Some(Asker::Reveal(index)) => {
            let category = leg.leg.reveals.get(index).map(|reveal| reveal.category.as_str());
            return put(&format!("<revealed:{}>", category.unwrap_or_default()), out);
        }
        Some(Asker::Guard(_)) => return Judgement::Pass,
        None => None,
    };
    let Some(rule) = rule else { return Judgement::Refuse };
    let value = match leaf.kind {
        Kind::String => text::unescape(leaf.raw),
        Kind::Number | Kind::True | Kind::False => String::from_utf8_lossy(leaf.raw),
    };
    let boolean = matches!(leaf.kind, Kind::True | Kind::False);
    match &rule.action {
        Action::Encrypt { .. } => put("<encrypted>", out),
        // Whatever is done to a boolean, it can be guessed: so it goes.
        Action::Mask(_) | Action::Generalize(_) | Action::Tokenize(_) | Action::Store(_) | Action::Pseudonymize
            if boolean =>
        {
            Judgement::Drop
        }
        Action::Tokenize(_) | Action::Pseudonymize
            if rule.normalize.is_some_and(|how| !normalize::fits(how, &value)) =>
        {
            Judgement::Drop
        }
        Action::Pseudonymize => put("<pseudonym>", out),
        Action::Store(kept) if kept.shape == Shape::Uuid => put("<token:uuid>", out),
        Action::Store(kept) if kept.shape == Shape::Email => put("<token:email>", out),
        Action::Store(_) | Action::Tokenize(Shape::Opaque | Shape::Uuid) => put("<token>", out),
        Action::Tokenize(Shape::Email) => put("<token:email>", out),
        Action::Tokenize(shape) if fits(*shape, &value) => put(&format!("<token:{}>", shape.name()), out),
        Action::Tokenize(_) => Judgement::Drop,
        Action::Mask(mask) => {
            let mut masked = String::new();
            Masker(*mask).mask(&value, &mut masked);
            put(&masked, out)
        }
        Action::Generalize(to) => {
            let mut coarse = String::new();
            match Generalizer(*to).generalize(&value, today, &mut coarse) {
                Generalized::Unfit => Judgement::Drop,
                Generalized::Number if leaf.kind == Kind::Number => {
                    out.extend_from_slice(coarse.as_bytes());
                    Judgement::Put
                }
                Generalized::Number | Generalized::Text => put(&coarse, out),
            }
        }
        Action::Keep { .. } | Action::Inside(_) | Action::Replace { .. } | Action::Null | Action::Drop => {
            Judgement::Refuse
        }
    }
}

fn put(value: &str, out: &mut Vec<u8>) -> Judgement {
    text::escape(value, out);
    Judgement::Put
}
