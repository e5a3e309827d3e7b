//! A program in a few words, and what it makes of a document.

use std::sync::Arc;

use tidegate::json::automaton::{Otherwise, Program, Selection, Verb};
use tidegate::json::path::Path;
use tidegate::json::window::{Judge, Judgement, Leaf, Put, Rewriter, TraceLine};
use tidegate::json::{Fault, Limits};

/// A rule as the tests write it: `keep $.a`, `whole $.a`, `drop $.a`, `null $.a`, `put:7 $.a`, `mask $.a`, each with
/// ` except $.b` as often as wanted. Ranks and settings as a policy has them.
pub fn rule(text: &str) -> Selection {
    let (verb, rest) = text.split_once(' ').expect("a verb and a path");
    let (folded, verb) = verb.strip_prefix('~').map_or((false, verb), |verb| (true, verb));
    let mut paths = rest.split(" except ").map(|path| Path::parse(path).unwrap_or_else(|e| panic!("{path}: {e:?}")));
    let (verb, rank, settings) = match verb.split_once(':') {
        Some(("put", with)) => (Verb::Replace(with.as_bytes().into()), 7, with.len() as u32),
        Some(("mask", n)) => (Verb::Transform, 1, n.parse().unwrap()),
        _ => match verb {
            "keep" => (Verb::Keep { whole: false }, 0, 0),
            "whole" => (Verb::Keep { whole: true }, 0, 0),
            "mask" => (Verb::Transform, 1, 0),
            "token" => (Verb::Transform, 4, 0),
            "null" => (Verb::Null, 8, 0),
            "drop" => (Verb::Drop, 9, 0),
            other => panic!("no verb {other}"),
        },
    };
    Selection { path: paths.next().unwrap(), except: paths.collect(), verb, rank, settings, folded }
}

pub fn program(otherwise: Otherwise, rules: &[&str]) -> Arc<Program> {
    limited(otherwise, rules, Limits::default())
}

pub fn limited(otherwise: Otherwise, rules: &[&str], limits: Limits) -> Arc<Program> {
    Arc::new(Program::new(rules.iter().map(|text| rule(text)).collect(), otherwise, limits).expect("a program"))
}

/// Puts `"<spelling>"` with what would break a string left out; what holds `drop`, `pass`, `later`, `refuse`, `broken` gets that.
pub struct Scribe;

pub fn masked(raw: &[u8]) -> Vec<u8> {
    let inner: Vec<u8> = raw.iter().copied().filter(|b| !matches!(b, b'"' | b'\\' | 0..=0x1f)).collect();
    [b"\"<", &inner[..], b">\""].concat()
}

impl Judge for Scribe {
    fn judge(&mut self, leaf: Leaf<'_>, out: &mut Vec<u8>) -> Judgement {
        let has = |word: &str| leaf.raw.windows(word.len()).any(|w| w == word.as_bytes());
        match () {
            () if has("drop") => Judgement::Drop,
            () if has("pass") => Judgement::Pass,
            () if has("later") => Judgement::Later,
            () if has("refuse") => Judgement::Refuse,
            () if has("broken") => {
                out.extend_from_slice(b"1,2");
                Judgement::Put
            }
            () => {
                out.extend_from_slice(&masked(leaf.raw));
                Judgement::Put
            }
        }
    }
}

/// All that a run says.
#[derive(Debug, PartialEq)]
pub struct Ran {
    pub out: Result<String, Fault>,
    pub counts: Vec<u64>,
    pub matched: Vec<u64>,
    pub failed: Option<usize>,
}

/// Feeds `chunk` bytes at a time and splices after each (`eager`) or once at the end.
pub fn run_with(
    program: &Arc<Program>,
    document: &[u8],
    chunk: usize,
    eager: bool,
    traced: bool,
) -> (Ran, Vec<TraceLine>) {
    let mut rewriter = if traced { Rewriter::traced(Arc::clone(program)) } else { Rewriter::new(Arc::clone(program)) };
    let mut out = Vec::new();
    let splice = |rewriter: &mut Rewriter, out: &mut Vec<u8>| {
        let (window, plan) = rewriter.window();
        let mut end = 0;
        let mut later = Vec::new();
        for edit in &plan.edits {
            assert!(end <= edit.range.start && edit.range.start <= edit.range.end && edit.range.end <= window.len());
            end = edit.range.end;
            if let Put::Later { .. } = edit.put {
                later.push(masked(&window[edit.range.clone()]));
            }
        }
        rewriter.splice(later.iter().map(Vec::as_slice), out).expect("as many as asked for");
    };
    let mut result = Ok(());
    for piece in document.chunks(chunk.max(1)) {
        result = rewriter.feed(piece, &mut Scribe);
        if result.is_err() {
            break;
        }
        if eager {
            splice(&mut rewriter, &mut out);
        }
    }
    result = result.and_then(|()| rewriter.finish(&mut Scribe));
    if result.is_ok() {
        splice(&mut rewriter, &mut out);
        assert_eq!(rewriter.held_bytes(), 0);
    }
    let ran = Ran {
        out: result.map(|()| String::from_utf8(out).expect("UTF-8")),
        counts: rewriter.counts().to_vec(),
        matched: rewriter.matched().to_vec(),
        failed: rewriter.failed(),
    };
    (ran, rewriter.take_trace())
}

/// Runs in one piece and in many, and checks that it makes no difference.
pub fn run(program: &Arc<Program>, document: &[u8]) -> Ran {
    let (whole, _) = run_with(program, document, usize::MAX, false, false);
    for chunk in [1, 2, 3, 7, 16] {
        for eager in [true, false] {
            let (cut, _) = run_with(program, document, chunk, eager, false);
            assert_eq!(cut, whole, "cut at {chunk}, eager {eager}: {}", String::from_utf8_lossy(document));
        }
    }
    let (traced, lines) = run_with(program, document, 5, true, true);
    if whole.out.is_ok() {
        assert_eq!(lines, run_with(program, document, usize::MAX, true, true).1);
    }
    match (&traced.out, &whole.out) {
        (Err(a), Err(b)) => assert_eq!((a.kind, a.offset), (b.kind, b.offset)),
        _ => assert_eq!(traced, whole, "traced: {}", String::from_utf8_lossy(document)),
    }
    whole
}

/// What `rules` make of a document; a fault as `code @location +offset`.
pub fn said(otherwise: Otherwise, rules: &[&str], document: &str) -> String {
    match run(&program(otherwise, rules), document.as_bytes()).out {
        Ok(out) => out,
        Err(fault) => format!("{} {} +{}", fault.kind.code(), fault.location, fault.offset),
    }
}
