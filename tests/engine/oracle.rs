//! A second evaluator of the policy language, slow and obvious, and random policies and documents to hold the engine against it.
//!
//! It works on places: all of them are listed, each rule's places are found by another crate's JSONPath, and the text of the
//! policy language is applied to each place by itself.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};
use tidegate::json::automaton::{Otherwise, Verb};
use tidegate::json::path::{Path, Selector};
use tidegate::json::{FaultKind, text};

use crate::document::{Document, NAMES, Place, Step, documents, tokens};
use crate::harness::{masked, program, rule, run, run_with};

/// A rule as it is written, and the places that it selects.
struct Rule {
    selection: tidegate::json::automaton::Selection,
    selected: HashSet<Place>,
    excepted: HashSet<Place>,
    /// Containers in which the path is still under way.
    under_way: HashSet<Place>,
    /// Those of them, and of the selected places, that names and indices alone lead to.
    plain: HashSet<Place>,
}

struct Oracle {
    rules: Vec<Rule>,
    otherwise: Otherwise,
    counts: Vec<u64>,
    matched: Vec<u64>,
}

/// All places of a document, containers before what is in them.
fn places(value: &Value) -> Vec<Place> {
    let mut found = vec![(Vec::new(), value)];
    let mut at = 0;
    while let Some((place, value)) = found.get(at).cloned() {
        let child = |step| [&place[..], &[step]].concat();
        match value {
            Value::Array(items) => found.extend(items.iter().enumerate().map(|(i, v)| (child(Step::Index(i)), v))),
            Value::Object(items) => found.extend(items.iter().map(|(n, v)| (child(Step::Name(n.clone())), v))),
            _ => {}
        }
        at += 1;
    }
    found.into_iter().map(|(place, _)| place).collect()
}

fn look_up<'v>(value: &'v Value, place: &[Step]) -> Option<&'v Value> {
    place.iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.get(name),
        Step::Index(index) => value.get(index),
    })
}

/// By serde_json_path.
fn query(path: &str, document: &Value) -> HashSet<Place> {
    let located = JsonPath::parse(path).unwrap_or_else(|e| panic!("{path}: {e}")).query_located(document);
    let place = |path: &serde_json_path::NormalizedPath<'_>| {
        path.iter()
            .map(|element| match element {
                PathElement::Name(name) => Step::Name((*name).to_owned()),
                PathElement::Index(index) => Step::Index(*index),
            })
            .collect()
    };
    located.locations().map(place).collect()
}

/// By plain reading, for what serde_json_path does not have: folded names, and which of the ways is plain.
fn naive(written: &[String], document: &Value, folded: bool, plain: bool) -> HashSet<Place> {
    let path = Path::parse(&format!("${}", written.concat())).unwrap();
    let mut nodes: HashSet<Place> = HashSet::from([Vec::new()]);
    for (segment, written) in path.segments().iter().zip(written) {
        let inner = written.strip_prefix("..").unwrap_or(written).strip_prefix('[').unwrap().strip_suffix(']').unwrap();
        let mut nested = 0i32;
        let comma = |c: char| {
            nested += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && nested == 0
        };
        let texts: Vec<&str> = inner.split(comma).collect();
        let mut next = HashSet::new();
        for place in places(document) {
            let Some((step, around)) = place.split_last() else { continue };
            let from = match segment.descendant {
                true if plain => false,
                true => (0..=around.len()).any(|n| nodes.contains(&around[..n])),
                false => nodes.contains(around),
            };
            let len = look_up(document, around).and_then(Value::as_array).map_or(0, |a| a.len() as i64);
            let takes = |(selector, text): (&Selector, &&str)| match (selector, step) {
                // Filters are the other crate's; they are never folded.
                (Selector::Filter(_), _) => {
                    !plain && query(&format!("{}[{text}]", normalized(around)), document).contains(&place)
                }
                (Selector::Name(wanted), Step::Name(name)) if folded => text::fold(wanted) == text::fold(name),
                (Selector::Name(wanted), Step::Name(name)) => **wanted == *name,
                (Selector::Index(wanted), Step::Index(index)) => {
                    *wanted == *index as i64 || *wanted < 0 && *wanted + len == *index as i64
                }
                (Selector::Wildcard, _) => !plain,
                (Selector::Slice { start, end, step }, Step::Index(index)) if !plain => {
                    let normal = |i: i64| if i < 0 { len + i } else { i };
                    let taken: Vec<i64> = match step.signum() {
                        1 => {
                            let lower = normal(start.unwrap_or(0)).clamp(0, len);
                            let upper = normal(end.unwrap_or(len)).clamp(0, len);
                            (lower..upper).step_by(*step as usize).collect()
                        }
                        -1 => {
                            let upper = normal(start.unwrap_or(len - 1)).clamp(-1, len - 1);
                            let lower = end.map_or(-1, normal).clamp(-1, len - 1);
                            (0..).map(|n| upper + n * step).take_while(|i| *i > lower).collect()
                        }
                        _ => Vec::new(),
                    };
                    taken.contains(&(*index as i64))
                }
                _ => false,
            };
            if from && segment.selectors.iter().zip(&texts).any(takes) {
                next.insert(place);
            }
        }
        nodes = next;
    }
    nodes
}

fn normalized(place: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Name(name) => format!("['{name}']"),
        Step::Index(index) => format!("[{index}]"),
    };
    format!("${}", place.iter().map(step).collect::<String>())
}

impl Rule {
    fn new(text: &str, path: &[String], document: &Value) -> Self {
        let selection = rule(text);
        let folded = selection.folded;
        let find = |written: &[String]| {
            let found = naive(written, document, folded, false);
            if !folded {
                let whole = format!("${}", written.concat());
                assert_eq!(found, query(&whole, document), "two plain readings of {whole}");
            }
            found
        };
        let mut under_way = HashSet::new();
        let mut plain = HashSet::new();
        for n in 0..path.len() {
            let begun = find(&path[..n]);
            let descends = path[n].starts_with("..");
            for place in places(document) {
                if begun.contains(&place) || descends && (0..place.len()).any(|m| begun.contains(&place[..m])) {
                    under_way.insert(place);
                }
            }
            plain.extend(naive(&path[..n], document, folded, true));
        }
        if selection.verb == Verb::Transform {
            plain.extend(naive(path, document, folded, true));
        }
        let excepted = selection.except.iter().flat_map(|e| query(e.text(), document)).collect();
        Self { selected: find(path), selection, excepted, under_way, plain }
    }
    fn excepts(&self, place: &[Step]) -> bool {
        (0..=place.len()).any(|n| self.excepted.contains(&place[..n]))
    }
    fn selects(&self, place: &[Step]) -> bool {
        self.selected.contains(place) && !self.excepts(place)
    }
    /// A `keep` of the whole or a transformation of a container around the place, or of the place.
    fn reaches(&self, place: &[Step]) -> bool {
        matches!(self.selection.verb, Verb::Keep { whole: true } | Verb::Transform)
            && (0..=place.len()).any(|n| self.selected.contains(&place[..n]))
            && !self.excepts(place)
    }
    fn keeps(&self) -> bool {
        matches!(self.selection.verb, Verb::Keep { .. })
    }
}

impl Oracle {
    fn strictest(&self, candidates: impl Iterator<Item = usize>) -> Option<(usize, Option<&Verb>)> {
        let all: Vec<usize> = candidates.collect();
        let rank = all.iter().map(|n| self.rules[*n].selection.rank).max()?;
        let best: Vec<usize> = all.into_iter().filter(|n| self.rules[*n].selection.rank == rank).collect();
        let first = *best.iter().min()?;
        let agree = best.iter().all(|n| {
            let (a, b) = (&self.rules[*n], &self.rules[first]);
            a.selection.settings == b.selection.settings
                && (a.keeps() && b.keeps() || a.selection.verb == b.selection.verb)
        });
        Some((first, agree.then_some(&self.rules[first].selection.verb)))
    }

    /// What stays of a place: its text, or nothing.
    fn place(&mut self, place: &Place, document: &Document) -> Result<Option<String>, FaultKind> {
        let selecting: Vec<usize> = (0..self.rules.len()).filter(|n| self.rules[*n].selects(place)).collect();
        for n in &selecting {
            self.matched[*n] += 1;
        }
        match document {
            Document::Leaf(raw) => self.leaf(place, raw, &selecting),
            Document::Array(items) => {
                let children = items.iter().enumerate().map(|(i, item)| (Step::Index(i), item)).collect();
                self.container(place, children, &selecting, ["[", "]"])
            }
            Document::Object(items) => {
                let children = items.iter().map(|(name, item)| (Step::Name(name.clone()), item)).collect();
                self.container(place, children, &selecting, ["{", "}"])
            }
        }
    }

    fn leaf(&mut self, place: &Place, raw: &str, selecting: &[usize]) -> Result<Option<String>, FaultKind> {
        let reaching = (0..self.rules.len()).filter(|n| self.rules[*n].reaches(place));
        let winner = self.strictest(selecting.iter().copied().chain(reaching)).map(|(n, verb)| (n, verb.cloned()));
        let Some((winner, verb)) = winner else {
            return match self.otherwise {
                Otherwise::Keep => Ok(Some(raw.to_owned())),
                Otherwise::Drop => Ok(None),
                Otherwise::Refuse => Err(FaultKind::Unlisted),
            };
        };
        let counts = match verb {
            Some(Verb::Keep { .. }) => selecting.contains(&winner),
            Some(Verb::Transform) => raw != "null",
            _ => true,
        };
        self.counts[winner] += u64::from(counts);
        Ok(match verb {
            None | Some(Verb::Drop) => None,
            Some(Verb::Keep { .. }) => Some(raw.to_owned()),
            Some(Verb::Null) => Some("null".to_owned()),
            Some(Verb::Replace(with)) => Some(String::from_utf8(with.to_vec()).unwrap()),
            Some(Verb::Transform) if raw == "null" || raw.contains("pass") => Some(raw.to_owned()),
            Some(Verb::Transform) if raw.contains("drop") => None,
            Some(Verb::Transform) => Some(String::from_utf8(masked(raw.as_bytes())).unwrap()),
        })
    }

    fn container(
        &mut self,
        place: &Place,
        children: Vec<(Step, &Document)>,
        selecting: &[usize],
        [open, close]: [&str; 2],
    ) -> Result<Option<String>, FaultKind> {
        let whole = selecting
            .iter()
            .copied()
            .filter(|n| matches!(self.rules[*n].selection.verb, Verb::Drop | Verb::Null | Verb::Replace(_)));
        if let Some((winner, verb)) = self.strictest(whole).map(|(n, verb)| (n, verb.cloned())) {
            self.counts[winner] += 1;
            return Ok(match verb {
                Some(Verb::Null) => Some("null".to_owned()),
                Some(Verb::Replace(with)) => Some(String::from_utf8(with.to_vec()).unwrap()),
                _ => None,
            });
        }
        let keeper = (0..self.rules.len()).find(|n| self.rules[*n].keeps() && self.rules[*n].reaches(place));
        if let Some(keeper) = keeper {
            self.counts[keeper] += u64::from(selecting.contains(&keeper));
        }
        let dead = !self.rules.iter().any(|r| r.reaches(place) || r.under_way.contains(place) && !r.excepts(place));
        if dead && self.otherwise == Otherwise::Refuse {
            return Err(FaultKind::Unlisted);
        }
        let named =
            self.rules.iter().any(|r| r.selection.verb != Verb::Drop && r.plain.contains(place) && !r.excepts(place));
        let mut inside = Vec::new();
        for (step, child) in children {
            let name = match &step {
                Step::Name(name) => format!("{}:", serde_json::to_string(name).unwrap()),
                Step::Index(_) => String::new(),
            };
            let child = self.place(&[&place[..], &[step]].concat(), child)?;
            inside.extend(child.map(|child| name + &child));
        }
        let stays = self.otherwise == Otherwise::Keep || keeper.is_some() || named || !inside.is_empty();
        Ok(stays.then(|| format!("{open}{}{close}", inside.join(","))))
    }
}

/// A rule: verb, path in segments, exceptions.
type Written = (&'static str, Vec<String>, Vec<Vec<String>>);

const SLICES: &[&str] = &[
    "::2", "1:", ":2", "1:3", "-2:", ":-1", "::-1", "3:0:-2", "1:2:0", "5:-4:-1", "-3:-1", "1:-1:2", "-2::2", "::3",
    "-1:", ":-2",
];

/// The other crate finds nothing under a negative index in a comparison; those are tried in `tests/jsonpath`.
const FILTERS: &[&str] = &[
    "?@.a",
    "?@['b'] == 1",
    "?@ == 'x'",
    "?@.a == $.a",
    "?count(@.*) > 1",
    "?length(@) == 2",
    "?@[0]",
    "?!@.c",
    "?$.b",
    "?@.a && @.b",
    "?@['a b'] || !@['E-Mail']",
    "?@.a.b",
    "?@.a == @.b",
    "?@.b != null",
    "?@ > 2",
    "?@.c >= 2",
    "?@[1] == 3",
    "?@[1:]",
    "?@[?@.a]",
    "?@[?@ == 1]",
    "?@.a[?@.b == true]",
    "?@..b",
    "?count(@..*) > 3",
    "?value(@.*) == 1",
    "?length(@.a) >= 1",
    "?match(@, '.')",
    "?search(@.a, 'te?x')",
    "?match(@['e-mail'], $.a)",
    "?@['é'] == false",
    "?@['longer-than-eight']",
    "?@.*.a",
    "?@[0].a || @[0]['b']",
    "?length(@.b) == 1 || @.b",
    "?@ == @",
    "?@.a == $[0]",
];

fn segment() -> impl Strategy<Value = String> {
    let name = prop::sample::select(NAMES).prop_map(|name| format!("'{name}'"));
    let selector = prop_oneof![
        6 => name,
        2 => Just("*".to_owned()),
        2 => prop::sample::select(vec!["0", "1", "2", "-1", "-2", "-3", "-9007199254740991"]).prop_map(String::from),
        1 => prop::sample::select(SLICES).prop_map(String::from),
        1 => prop::sample::select(FILTERS).prop_map(String::from),
    ];
    (prop::bool::weighted(0.15), prop::collection::vec(selector, 1..3))
        .prop_map(|(descends, selectors)| format!("{}[{}]", if descends { ".." } else { "" }, selectors.join(",")))
}

/// Longer than nearly all that it replaces.
const LONG: &str = "put:\"a-constant-longer-than-most\"";

fn rules() -> impl Strategy<Value = Vec<Written>> {
    let verb = prop::sample::select(vec![
        "keep", "keep", "keep", "whole", "whole", "drop", "null", "put:7", "put:[7]", "put:8", LONG, "mask", "mask:2",
        "token", "~drop", "~null", "~mask",
    ]);
    let path = || prop::collection::vec(segment(), 0..4);
    prop::collection::vec((verb, path(), prop::collection::vec(path(), 0..2)), 0..6)
}

fn holds(otherwise: Otherwise, rules: &[Written], document: &Document, taste: &[u8], chunk: usize) {
    let text = document.spell(taste);
    let value: Value = serde_json::from_str(&text).unwrap();
    let written: Vec<String> = (rules.iter())
        .map(|(verb, path, excepts)| {
            let excepts: String = excepts.iter().map(|e| format!(" except ${}", e.concat())).collect();
            format!("{verb} ${}{excepts}", path.concat())
        })
        .collect();
    let written: Vec<&str> = written.iter().map(String::as_str).collect();
    let rules: Vec<Rule> =
        written.iter().zip(rules).map(|(text, (_, path, _))| Rule::new(text, path, &value)).collect();
    let zeros = vec![0; rules.len()];
    let mut oracle = Oracle { rules, otherwise, counts: zeros.clone(), matched: zeros };
    let expected = oracle.place(&Vec::new(), document).map(|out| out.unwrap_or_else(|| "null".to_owned()));
    let program = program(otherwise, &written);
    let said = run(&program, text.as_bytes());
    assert_eq!(
        run_with(&program, text.as_bytes(), chunk, true, false).0,
        said,
        "cut at {chunk}: {written:?}\non {text}"
    );
    let context = || format!("{otherwise:?} {written:?}\non {text}");
    match (&said.out, &expected) {
        (Ok(out), Ok(expected)) => {
            let parsed: Value = serde_json::from_str(out).unwrap_or_else(|e| panic!("{e}: {out}\n{}", context()));
            assert_eq!(parsed, serde_json::from_str::<Value>(expected).unwrap(), "{}", context());
            assert_eq!(said.counts, oracle.counts, "counts: {}", context());
            assert_eq!(said.matched, oracle.matched, "matched: {}", context());
            // Nothing is spelt anew: every token was there before, or is what a rule put.
            let mut known: HashSet<String> = tokens(&text).into_iter().collect();
            let put: Vec<String> = known.iter().map(|t| String::from_utf8(masked(t.as_bytes())).unwrap()).collect();
            known.extend(put);
            known.extend(["null", "7", "8", &LONG[4..]].map(String::from));
            for token in tokens(out) {
                assert!(known.contains(&token), "{token} in {out}: {}", context());
            }
        }
        (Err(fault), Err(kind)) => assert_eq!(fault.kind, *kind, "{}", context()),
        (said, expected) => panic!("{said:?}\n{expected:?}\n{}", context()),
    }
}

/// Each case is cut in fourteen ways, so that these are 42,000 triples of policy, document and cut. `TIDEGATE_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("TIDEGATE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_a_plain_reading_of_the_policy_language(
        otherwise in prop::sample::select(vec![Otherwise::Drop, Otherwise::Drop, Otherwise::Keep, Otherwise::Refuse]),
        rules in rules(),
        document in documents(),
        taste in prop::collection::vec(any::<u8>(), 1..40),
        chunk in 1usize..200,
    ) {
        holds(otherwise, &rules, &document, &taste, chunk);
    }
}
