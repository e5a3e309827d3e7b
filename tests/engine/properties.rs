//! What holds for every program and document, whatever they are.

use proptest::prelude::*;
use serde_json::Value;
use tidegate::json::Limits;
use tidegate::json::automaton::Otherwise::{Drop, Keep};
use tidegate::json::automaton::{Program, ProgramError};
use tidegate::json::window::{Judge, Judgement, Leaf, Rewriter, SpliceError};

use crate::document::{documents, tokens};
use crate::harness::{Scribe, program, rule, run, run_with};

/// Bytes that are nearly JSON.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"a\":",
        "\\",
        "\\u00",
        "\\ud83d",
        "1",
        "-",
        "0",
        ".5",
        "e",
        "E+",
        "true",
        "fals",
        "null",
        " ",
        "\n",
        "\t",
        "\u{e9}",
        "\u{1f600}",
        "\u{1}",
        "\"b\":{",
        "[[",
        "]]",
        "\"x\",",
        "{\"a\":[{\"b\":",
    ]);
    let bytes = prop_oneof![8 => piece.prop_map(|s| s.as_bytes().to_vec()), 1 => any::<u8>().prop_map(|b| vec![b])];
    prop::collection::vec(bytes, 0..24).prop_map(|pieces| pieces.concat())
}

const SETS: &[&[&str]] = &[
    &[],
    &["keep $.a", "mask $..b"],
    &["keep $..b", "drop $.a[1]", "null $[0]"],
    &["whole $.*", "drop $..a.b"],
    &["keep $[?@.a]", "mask $.a[-1]"],
    &["drop $..[?@.b == 1]", "keep $..[?$.a]"],
    &["mask $..*"],
];

const KEEPS: &[&[&str]] = &[
    &["keep $..a", "drop $.b", "keep $.*[0]"],
    &["keep $.*", "keep $[1:].*"],
    &["whole $.a", "keep $..*"],
    &["whole $"],
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_that_are_nearly_json_are_read_one_way_however_they_are_cut(
        bytes in nearly(),
        rules in prop::sample::select(SETS),
        drops in any::<bool>(),
    ) {
        let said = run(&program(if drops { Drop } else { Keep }, rules), &bytes);
        match said.out {
            // serde_json reads the same grammar, but for numbers that it cannot hold.
            Ok(out) => prop_assert!(serde_json::from_str::<Value>(&out).is_ok(), "{out}"),
            Err(fault) => {
                let reads: Result<Value, _> = serde_json::from_slice(&bytes);
                let ours = ["json_rule", "json_duplicate_name", "json_nul_name"].contains(&fault.kind.code());
                prop_assert!(reads.is_err() || ours, "{fault}");
            }
        }
    }

    #[test]
    fn what_stays_stands_in_the_order_and_spelling_of_the_document(
        document in documents(),
        taste in prop::collection::vec(any::<u8>(), 1..40),
        rules in prop::sample::select(KEEPS),
        chunk in 1usize..50,
    ) {
        let text = document.spell(&taste);
        let out = run_with(&program(Drop, rules), text.as_bytes(), chunk, true, false).0.out.unwrap();
        if rules == ["whole $"] {
            prop_assert_eq!(&out, &text);
        }
        let mut before = tokens(&text).into_iter();
        for token in tokens(&out) {
            prop_assert!(out.trim() == "null" || before.any(|known| known == token), "{token} of {out} from {text}");
        }
    }

    #[test]
    fn a_program_without_rules_keeps_every_byte_or_none(document in documents(), taste in prop::collection::vec(any::<u8>(), 1..9)) {
        let text = document.spell(&taste);
        prop_assert_eq!(run(&program(Keep, &[]), text.as_bytes()).out.unwrap(), text.clone());
        let dropped = run(&program(Drop, &[]), text.as_bytes()).out.unwrap();
        prop_assert_eq!(dropped.trim(), "null");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_document_longer_than_a_marked_stretch_is_read_one_way_however_it_is_cut(
        items in prop::collection::vec(documents(), 8..24),
        taste in prop::collection::vec(any::<u8>(), 1..40),
        rules in prop::sample::select(SETS),
        drops in any::<bool>(),
        chunk in 500usize..9000,
    ) {
        let text: Vec<String> = items.iter().map(|item| item.spell(&taste)).collect();
        let mut text = text.join(",");
        while text.len() < 20_000 {
            text = format!("{text},{text}");
        }
        let text = format!("[{text}]");
        let program = program(if drops { Drop } else { Keep }, rules);
        let whole = run_with(&program, text.as_bytes(), usize::MAX, false, false).0;
        // So short pieces are not marked, or hardly.
        for chunk in [7, chunk] {
            prop_assert!(run_with(&program, text.as_bytes(), chunk, true, false).0 == whole, "cut at {chunk}: {text}");
        }
    }
}

#[test]
fn what_waits_since_an_earlier_piece_comes_before_what_is_put() {
    let head = format!("{{\"x\":\"{}\",\"c\":{{\"d\":{{", "x".repeat(100));
    let text = format!("{head}\"z\":1,\"b\":\"{}\"}}}}}}", "secret".repeat(8));
    let program = program(Drop, &["keep $.a", "mask $..b"]);
    let whole = run_with(&program, text.as_bytes(), usize::MAX, false, false).0;
    assert!(whole.out.is_ok());
    assert_eq!(run_with(&program, text.as_bytes(), head.len(), true, false).0, whole);
}

#[test]
fn a_rewriter_begins_anew_where_the_last_document_ended_or_broke_off() {
    let mut rewriter = Rewriter::new(program(Keep, &["drop $.a", "drop $.b[1]"]));
    let documents = [
        (r#"{"a":1,"c":2}"#, Some(r#"{"c":2}"#)),
        (r#"{"b":[0,1"#, None),
        ("[1]", Some("[1]")),
        ("{]", None),
        (r#"{"b":[0,1]}"#, Some(r#"{"b":[0]}"#)),
    ];
    for (document, wanted) in documents {
        rewriter.restart();
        let said = rewriter.feed(document.as_bytes(), &mut Scribe).and_then(|()| rewriter.finish(&mut Scribe));
        let left = said.ok().map(|()| {
            let mut out = Vec::new();
            rewriter.splice(std::iter::empty(), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        });
        assert_eq!(left.as_deref(), wanted, "{document}");
    }
}

/// Leaves everything for later.
struct Later;

impl Judge for Later {
    fn judge(&mut self, _: Leaf<'_>, _: &mut Vec<u8>) -> Judgement {
        Judgement::Later
    }
}

#[test]
fn a_splice_with_the_wrong_replacements_writes_nothing_and_can_be_repeated() {
    let mut rewriter = Rewriter::new(program(Keep, &["mask $.*"]));
    rewriter.feed(b"{\"a\":1,\"b\":2}", &mut Later).unwrap();
    rewriter.finish(&mut Later).unwrap();
    let mut out = b"before".to_vec();
    let splice = |rewriter: &mut Rewriter, later: &[&str], out: &mut Vec<u8>| {
        rewriter.splice(later.iter().map(|l| l.as_bytes()), out)
    };
    assert_eq!(splice(&mut rewriter, &["\"x\""], &mut out), Err(SpliceError::Count));
    assert_eq!(splice(&mut rewriter, &["7", "8", "9"], &mut out), Err(SpliceError::Count));
    assert_eq!(splice(&mut rewriter, &["7", "8,9"], &mut out), Err(SpliceError::Value));
    assert_eq!(splice(&mut rewriter, &["7", ""], &mut out), Err(SpliceError::Value));
    assert_eq!(out, b"before");
    let long = format!("\"{}\"", "x".repeat(17 << 20));
    assert_eq!(splice(&mut rewriter, &["7", &long], &mut out), Err(SpliceError::Growth));
    assert_eq!(splice(&mut rewriter, &["7", "\"x\""], &mut out), Ok(()));
    assert_eq!(out, b"before{\"a\":7,\"b\":\"x\"}");
}

#[test]
fn more_states_than_the_cache_has_room_for_change_nothing() {
    // Each set of filters that hold leads to a state of its own, and which hold together only a document can tell.
    const RULES: usize = 13;
    let rules: Vec<String> = (0..RULES).map(|n| format!("keep $[?@.m{n}].b{n}")).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let members = |name: &str, has: &dyn Fn(usize) -> bool| -> Vec<String> {
        (0..RULES).filter(|n| has(*n)).map(|n| format!("\"{name}{n}\":{n}")).collect()
    };
    let (mut document, mut expected) = (Vec::new(), Vec::new());
    for hold in 0..1 << RULES {
        let holds = |n: usize| hold >> n & 1 == 1;
        document.push(format!("{{{}}}", [members("m", &holds), members("b", &|_| true)].concat().join(",")));
        let kept = members("b", &holds);
        expected.extend((!kept.is_empty()).then(|| format!("{{{}}}", kept.join(","))));
    }
    let program = program(Drop, &rules);
    let out = run_with(&program, format!("[{}]", document.join(",")).as_bytes(), 1 << 12, true, false).0.out.unwrap();
    assert!(out == format!("[{}]", expected.join(",")), "differs");
}

#[test]
fn a_program_beyond_the_bounds_is_not_made_and_the_dear_rules_are_named() {
    let make = |rules: &[String]| {
        let rules = rules.iter().map(|text| rule(text)).collect();
        Program::new(rules, Drop, Limits::default()).map(|_| ())
    };
    let mut rules: Vec<String> = (0..600).map(|n| format!("keep $..a{n}")).collect();
    assert_eq!(make(&rules), Ok(()));
    // What begins alike does not multiply.
    rules.extend((0..500).map(|n| format!("keep $..items..b{n}")));
    rules.extend((0..20).map(|n| format!("keep $.x{n}..b")));
    assert_eq!(make(&rules), Ok(()));
    let pairs = |pairs: usize| -> Vec<String> { (0..pairs).map(|n| format!("keep $..a{n}..b{n}")).collect() };
    assert_eq!(make(&pairs(11)), Ok(()));
    rules.truncate(20);
    rules.extend(pairs(12));
    rules.push("keep $..x..y..z".to_owned());
    let Err(ProgramError::TooComplex { selections }) = make(&rules) else { panic!("made") };
    assert_eq!(selections.first(), Some(&32));
    let wildcards = |wildcards: usize| vec![format!("keep $..a{}", ".*".repeat(wildcards))];
    assert_eq!(make(&wildcards(9)), Ok(()));
    assert_eq!(make(&wildcards(13)), Err(ProgramError::TooComplex { selections: vec![0] }));
}

#[test]
fn a_fresh_program_serves_many_threads_at_once() {
    let rules = ["keep $..a.b", "mask $.*[1:].c", "drop $..d", "keep $[?@.e].f", "whole $.g[-1]"];
    let names = ["a", "b", "c", "d", "g", "h", "i"];
    let value =
        |n: usize| format!("{{\"{}\":{{\"{}\":[{n},{{\"c\":1}}]}},\"e\":0,\"f\":1}}", names[n % 7], names[n / 7 % 7]);
    let document = format!("[{}]", (0..200).map(value).collect::<Vec<_>>().join(","));
    for _ in 0..5 {
        let program = program(Drop, &rules);
        let said: Vec<_> = std::thread::scope(|scope| {
            let run = || run_with(&program, document.as_bytes(), 100, true, false).0;
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(said[0].out.as_ref().unwrap().contains("\"f\":1"));
        assert!(said.iter().all(|other| *other == said[0]));
    }
}
