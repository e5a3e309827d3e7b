//! What is JSON and what is not, by the public parsing suite and by hand, at every cut; and the limits.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate::json::automaton::Otherwise::{Drop, Keep};
use tidegate::json::automaton::Program;
use tidegate::json::window::Rewriter;
use tidegate::json::{FaultKind, Limits};

use crate::harness::{Scribe, limited, program, run, run_with, said};

/// The suite's files; none, and said so, where the suite is not there.
fn suite(kind: char) -> Vec<(String, Vec<u8>)> {
    let folder = std::env::var_os("TIDEGATE_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let folder = folder.join("json-test-suite/test_parsing");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: no parsing suite at {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<_> = (entries)
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .filter(|(name, _)| name.starts_with(kind))
        .collect();
    files.sort();
    files
}

/// Programs that copy whole, walk everything, hold everything and remove everything: the grammar is the same for all.
fn programs() -> Vec<Arc<Program>> {
    vec![
        program(Keep, &[]),
        program(Keep, &["mask $..nothing", "drop $..[?@.nothing]"]),
        program(Keep, &["drop $..nothing"]),
        program(Drop, &[]),
        program(Drop, &["keep $..nothing.nothing"]),
        program(Drop, &["null $.*"]),
        program(Keep, &["drop $[-1].nothing"]),
        program(Keep, &["drop $[?$.nothing]"]),
    ]
}

fn cut(document: &[u8], chunk: usize, program: &Arc<Program>) -> Result<String, FaultKind> {
    run_with(program, document, chunk, true, false).0.out.map_err(|fault| fault.kind)
}

#[test]
fn what_the_suite_calls_json_is_accepted_byte_for_byte() {
    for (name, document) in suite('y') {
        if name.contains("escaped_null_in_key") {
            // JSON, and refused all the same: readers in C end such a name early, and would read another one.
            for program in &programs() {
                assert_eq!(cut(&document, 3, program), Err(FaultKind::NulName), "{name}");
            }
            continue;
        }
        let keep_all = [program(Keep, &[]), program(Keep, &["drop $..nothing"]), program(Drop, &["whole $"])];
        for program in &keep_all {
            for chunk in [1, 2, 3, 5, 64, usize::MAX] {
                let out = cut(&document, chunk, program);
                assert_eq!(out.as_deref().map(str::as_bytes), Ok(&document[..]), "{name} at {chunk}");
            }
        }
        for program in &programs() {
            let out = match cut(&document, 3, program) {
                // JSON, but a filter that reads it cannot be decided.
                Err(FaultKind::DuplicateName) if name.contains("duplicated") => continue,
                out => out.unwrap_or_else(|kind| panic!("{name}: {kind:?}")),
            };
            assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{name} became {out}");
        }
    }
}

#[test]
fn what_the_suite_calls_no_json_is_refused_by_every_program() {
    for (name, document) in suite('n') {
        for (n, program) in programs().iter().enumerate() {
            let whole = run_with(program, &document, usize::MAX, true, false).0.out;
            assert!(whole.is_err(), "{name} by program {n}");
            for chunk in [1, 2, 3, 5, 64] {
                assert_eq!(run_with(program, &document, chunk, true, false).0.out, whole, "{name} at {chunk}");
            }
        }
    }
}

#[test]
fn what_the_suite_leaves_open_is_decided() {
    // Numbers of any size are JSON and are not computed with; 500 levels are within the limit. All that is no UTF-8, that is
    // half a surrogate pair, or that begins with a byte order mark is refused.
    for (name, document) in suite('i') {
        let accepted = name.starts_with("i_number") || name == "i_structure_500_nested_arrays.json";
        let said = run(&program(Keep, &[]), &document).out;
        assert_eq!(said.is_ok(), accepted, "{name}: {said:?}");
        if let Ok(out) = said {
            assert_eq!(out.as_bytes(), document, "{name}");
        }
    }
}

#[test]
fn every_file_of_the_suite_is_read_the_same_cut_at_every_byte() {
    let files: Vec<_> = ['y', 'n', 'i'].into_iter().flat_map(suite).collect();
    assert!(files.is_empty() || files.len() == 318, "{} files", files.len());
    let programs = [program(Keep, &[]), program(Drop, &["keep $..[?@.a]", "mask $[-1]"]), program(Drop, &["whole $"])];
    for ((name, document), program) in files.iter().flat_map(|file| programs.iter().map(move |program| (file, program)))
    {
        let whole = run_with(program, document, usize::MAX, true, false).0.out;
        // The two with a hundred thousand brackets are the same at every byte.
        for cut in (0..=document.len()).filter(|cut| document.len() < 5000 || cut % 4999 == 0) {
            let mut rewriter = Rewriter::new(Arc::clone(program));
            let mut out = Vec::new();
            let (before, behind) = document.split_at(cut);
            let mut said = Ok(());
            for piece in [before, behind] {
                said = said.and_then(|()| rewriter.feed(piece, &mut Scribe));
                if said.is_ok() {
                    rewriter.splice(std::iter::empty(), &mut out).unwrap();
                }
            }
            let said = said.and_then(|()| rewriter.finish(&mut Scribe)).map(|()| {
                rewriter.splice(std::iter::empty(), &mut out).unwrap();
                String::from_utf8(std::mem::take(&mut out)).unwrap()
            });
            assert_eq!(said, whole, "{name} cut at {cut}");
        }
    }
}

#[test]
fn each_fault_has_its_kind_and_place() {
    for (document, expected) in [
        ("", "json_empty $ +0"),
        (" \n ", "json_empty $ +3"),
        ("{\"a\":", "json_truncated $['a'] +5"),
        ("[1,2", "json_truncated $ +4"),
        ("\"abc", "json_truncated $ +4"),
        ("tru", "json_truncated $ +3"),
        ("-", "json_truncated $ +1"),
        ("{} {}", "json_trailing $ +3"),
        ("1 2", "json_trailing $ +2"),
        ("[1]]", "json_trailing $ +3"),
        ("\u{feff}{}", "json_bom $ +0"),
        ("nul ", "json_syntax $ +3"),
        ("NaN", "json_syntax $ +0"),
        ("[1,]", "json_syntax $[1] +3"),
        ("[,1]", "json_syntax $[0] +1"),
        ("{\"a\":1,}", "json_syntax $ +7"),
        ("{a:1}", "json_syntax $ +1"),
        ("{\"a\" 1}", "json_syntax $['a'] +5"),
        ("{\"a\":1 \"b\":2}", "json_syntax $ +7"),
        ("[1}", "json_syntax $ +2"),
        ("/**/1", "json_syntax $ +0"),
        ("[1 // x\n]", "json_syntax $ +3"),
        ("'a'", "json_syntax $ +0"),
        ("\u{a0}1", "json_syntax $ +0"),
        ("01", "json_number $ +1"),
        ("[1.]", "json_number $[0] +3"),
        ("[1.e1]", "json_number $[0] +3"),
        ("[-]", "json_number $[0] +2"),
        ("[1e+]", "json_number $[0] +4"),
        ("+1", "json_syntax $ +0"),
        ("[\"\\x\"]", "json_escape $[0] +2"),
        ("[\"\\u12g4\"]", "json_escape $[0] +6"),
        ("[\"\\ud800\"]", "json_surrogate $[0] +2"),
        ("[\"\\udc00\"]", "json_surrogate $[0] +2"),
        ("[\"\\ud800\\u0041\"]", "json_surrogate $[0] +2"),
        ("{\"\\ud800\":1}", "json_surrogate $[*] +2"),
        ("[\"a\tb\"]", "json_control $[0] +3"),
        ("{\"a\n\":1}", "json_control $[*] +3"),
        ("{\"a\\u0000\":1}", "json_nul_name $[*] +3"),
        ("{\"a\":\"\\u0000\"}", "{\"a\":\"\\u0000\"}"),
    ] {
        assert_eq!(said(Keep, &["mask $.a.z", "drop $..[5]"], document), expected, "{document}");
    }
    for (bytes, at) in
        [(&b"\xff\xfe1"[..], 0), (b"\"\xc3", 1), (b"\"\xed\xa0\x80\"", 1), (b"[\"\xc0\xaf\"]", 2), (b"\"\xf5\x80\"", 1)]
    {
        for program in programs() {
            let fault = run(&program, bytes).out.unwrap_err();
            assert_eq!((fault.kind, fault.offset), (FaultKind::Utf8, at), "{bytes:?}");
        }
    }
}

#[test]
fn a_fault_inside_what_no_rule_reaches_says_how_deep() {
    assert_eq!(said(Keep, &["drop $.a.b"], r#"{"a":{"x":{"y":[1,,]}}}"#), "json_syntax $['a'][*][*][*] +18");
    assert_eq!(said(Keep, &["drop $.a[?@.b]"], r#"{"a":[1,{"secret":}]}"#), "json_syntax $['a'][1][*] +18");
}

#[test]
fn a_location_prints_only_names_that_the_policy_mentions() {
    let said = said(Keep, &["drop $.a['it\\'s'].x"], r#"{"a":{"it's":{"anna@example.org":?"#);
    assert_eq!(said, "json_syntax $['a']['it\\'s'][*] +33");
}

#[test]
fn nesting_is_counted_the_same_whether_walked_or_not() {
    let limits = Limits { depth: 5, ..Limits::default() };
    for rules in [&["drop $..nothing"][..], &[], &["drop $[0][0].a"], &["drop $..[?@.nothing]"], &["keep $[-1].x"]] {
        let program = limited(Keep, rules, limits);
        assert_eq!(run(&program, b"[[[[[1]]]]]").out.unwrap(), "[[[[[1]]]]]");
        let fault = run(&program, b"[[[[[[1]]]]]]").out.unwrap_err();
        assert_eq!((fault.kind, fault.offset), (FaultKind::Depth, 5), "{rules:?}");
    }
    let deep = "[".repeat(1 << 20);
    for program in programs() {
        let fault = run_with(&program, deep.as_bytes(), 1 << 14, true, false).0.out.unwrap_err();
        assert_eq!((fault.kind, fault.offset), (FaultKind::Depth, 512));
    }
}

#[test]
fn what_is_held_is_limited_wherever_it_is_cut() {
    let limits = Limits { value_bytes: 16, element_bytes: 32, name_bytes: 64, ..Limits::default() };
    let long = |n: usize| "x".repeat(n);
    let cases: &[(&[&str], String, Result<(), FaultKind>)] = &[
        (&["mask $.a"], format!("{{\"a\":\"{}\"}}", long(14)), Ok(())),
        (&["mask $.a"], format!("{{\"a\":\"{}\"}}", long(15)), Err(FaultKind::ValueTooLong)),
        (&["mask $.a"], format!("{{\"a\":1{}}}", "0".repeat(20)), Err(FaultKind::ValueTooLong)),
        (&["mask $..*"], format!("[{}]", "6".repeat(15)), Ok(())),
        // A number ends with the byte behind it.
        (&["mask $..*"], format!("[{}]", "6".repeat(16)), Err(FaultKind::ValueTooLong)),
        (&["mask $.a"], format!("{{\"b\":\"{}\"}}", long(500)), Ok(())),
        (&["drop $.a", "null $.b"], format!("{{\"a\":\"{}\",\"b\":\"{}\"}}", long(500), long(500)), Ok(())),
        (&["drop $[?@.a]"], format!("[{{\"b\":\"{}\"}}]", long(24)), Ok(())),
        (&["drop $[?@.a]"], format!("[{{\"b\":\"{}\"}}]", long(25)), Err(FaultKind::ElementTooLong)),
        (&["drop $[?$.a]"], format!("[{}]", "1,".repeat(20)), Err(FaultKind::ElementTooLong)),
        // Counting from the end below `..` holds the array; elsewhere as many elements as count.
        (&["drop $.a[-1]"], format!("{{\"a\":[{}1]}}", "12345678,".repeat(20)), Ok(())),
        (&["drop $.a[-2:]"], format!("{{\"a\":[{}1]}}", "12345678,".repeat(20)), Ok(())),
        (&["keep $.a[-3]"], format!("{{\"a\":[{}1]}}", "1234567,".repeat(20)), Ok(())),
        (&["keep $.a[-5]"], format!("{{\"a\":[{}1]}}", "1234567,".repeat(20)), Err(FaultKind::ElementTooLong)),
        (&["drop $.a[::-1]"], format!("{{\"a\":[{}1]}}", "12345678,".repeat(20)), Err(FaultKind::ElementTooLong)),
        (&["drop $..[-1]"], format!("{{\"a\":[\"{}\"]}}", long(40)), Err(FaultKind::ElementTooLong)),
        (&["drop $..z"], format!("{{\"{}\":1}}", long(62)), Ok(())),
        (&["drop $..z"], format!("{{\"{}\":1}}", long(63)), Err(FaultKind::NameTooLong)),
        (&["drop $..z"], format!("{{\"{}\\q\":1}}", long(500)), Err(FaultKind::NameTooLong)),
        (&["drop $..z"], format!("{{\"\\q{}\":1}}", long(500)), Err(FaultKind::Escape)),
        (&["drop $.z"], format!("{{\"a\":{{\"{}\":1}}}}", long(500)), Ok(())),
        (&["drop $..z"], format!("{0}[{0}1{1},2]{0}", " ".repeat(100), " ".repeat(30)), Ok(())),
        (&["drop $..z"], format!("[1{0},{0}2]", " ".repeat(32)), Err(FaultKind::NameTooLong)),
        (&["drop $..z"], format!("[1{}?", " ".repeat(500)), Err(FaultKind::NameTooLong)),
    ];
    for (rules, document, expected) in cases {
        let said = run(&limited(Keep, rules, limits), document.as_bytes()).out;
        match expected {
            Ok(()) => drop(said.unwrap_or_else(|fault| panic!("{rules:?} {document}: {fault}"))),
            Err(kind) => assert_eq!(said.expect_err(document).kind, *kind, "{rules:?} {document}"),
        }
    }
    // Openers that wait count together.
    let waits = limited(Drop, &["keep $..z"], limits);
    let nested = |n: usize| format!("{}{{\"z\":1}}{}", "{\"12345\":".repeat(n), "}".repeat(n));
    assert_eq!(run(&waits, nested(6).as_bytes()).out.unwrap(), nested(6));
    assert_eq!(run(&waits, nested(8).as_bytes()).out.unwrap_err().kind, FaultKind::NameTooLong);
    // So does white space behind them, for all that follows in the same stretch.
    let limits = Limits { name_bytes: 40, ..Limits::default() };
    let blank = format!("{{\"0a\":{}\n\n2,3,12,2,31,2,2,\n[1", "[".repeat(33));
    let fault = run(&limited(Drop, &["keep $.a", "mask $..b"], limits), blank.as_bytes()).out.unwrap_err();
    assert_eq!((fault.kind, fault.offset), (FaultKind::NameTooLong, 56));
}

#[test]
fn what_rules_do_to_one_body_has_a_budget() {
    let limits = Limits { leaves: 3, growth_bytes: 20, ..Limits::default() };
    let many = |piece: &str, n: usize| format!("[{}]", vec![piece; n].join(","));
    type Case = (&'static str, String, Option<(FaultKind, u64)>);
    let cases: &[Case] = &[
        ("mask $..a", many("{\"a\":1}", 3), None),
        ("mask $..a", many("{\"a\":1}", 4), Some((FaultKind::Leaves, 30))),
        ("mask $..a", many("{\"b\":1}", 99), None),
        // `null` is not transformed.
        ("mask $..a", many("{\"a\":null}", 99), None),
        ("put:12345 $[*]", many("99", 4), None),
        ("put:12345 $[*]", many("99", 5), Some((FaultKind::Growth, 13))),
        ("put:12345 $[*]", many("[9]", 5), Some((FaultKind::Growth, 17))),
        ("null $[*]", many("9", 5), None),
        ("null $[*]", many("9", 6), Some((FaultKind::Growth, 11))),
        ("drop $[*]", many("9", 99), None),
    ];
    for (rule, document, expected) in cases {
        let said = run(&limited(Keep, &[rule], limits), document.as_bytes()).out;
        assert_eq!(said.err().map(|fault| (fault.kind, fault.offset)), *expected, "{rule} {document}");
    }
    // What was put is less what it stands for: four bytes more each.
    let limits = Limits { growth_bytes: 8, ..Limits::default() };
    let said = |n| run(&limited(Keep, &["mask $[*]"], limits), many("123456", n).as_bytes()).out;
    assert!(said(2).is_ok());
    assert_eq!(said(3).unwrap_err().kind, FaultKind::Growth);
    // By default the body that asks for most is refused long before it is four times as long.
    let hostile = many("{\"a\":\"\"}", 900_000);
    let (ran, _) = run_with(
        &limited(Keep, &["put:\"0123456789012345678901234567890123456789\" $..a"], Limits::default()),
        hostile.as_bytes(),
        1 << 16,
        true,
        false,
    );
    assert_eq!(ran.out.unwrap_err().kind, FaultKind::Growth);
}

#[test]
fn a_stream_of_usual_elements_never_runs_out_of_steps() {
    let limits = Limits { filter_steps: 100, ..Limits::default() };
    let program = limited(Drop, &["keep $[?@.k == 'x'].v"], limits);
    let long = format!("[{}0]", "{\"k\":\"x\",\"v\":1},".repeat(10_000));
    assert!(run_with(&program, long.as_bytes(), 4096, true, false).0.out.is_ok());
    // What looks at everything for each element does.
    let all = limited(Drop, &["keep $[?count(@..*..*) > 3]"], limits);
    let deep = format!("[{}{}]", "[".repeat(200), "]".repeat(200));
    assert_eq!(run(&all, deep.as_bytes()).out.unwrap_err().kind, FaultKind::FilterSteps);
}

#[test]
fn a_long_string_passes_without_being_held() {
    let long = "long text, caf\u{e9} ".repeat(4096);
    for (rules, stays) in
        [(&["mask $.b"][..], true), (&["drop $.a"], false), (&["null $.a"], false), (&["keep $.*.x"], false)]
    {
        let otherwise = if rules == ["keep $.*.x"] { Drop } else { Keep };
        let mut rewriter = Rewriter::new(program(otherwise, rules));
        let mut out = Vec::new();
        let mut feed = |bytes: &[u8]| {
            rewriter.feed(bytes, &mut Scribe).unwrap();
            rewriter.splice(std::iter::empty(), &mut out).unwrap();
            assert!(rewriter.held_bytes() < 16, "{rules:?} holds {}", rewriter.held_bytes());
        };
        feed(b"{\"w\":{},\"a\":\"");
        for _ in 0..20 {
            feed(long.as_bytes());
        }
        feed(b"\"}");
        rewriter.finish(&mut Scribe).unwrap();
        assert_eq!(out.len() > 20 * long.len(), stays, "{rules:?}");
    }
}

#[test]
fn counting_from_the_end_holds_no_more_than_the_last_elements() {
    let element = "{\"sku\":\"A1\",\"tags\":[1,[2]]}";
    for (rules, most, kept) in
        [(["drop $.a[-1].sku"], 2, 49_999), (["drop $.a[-3:].sku"], 4, 49_997), (["drop $.a[:-2].sku"], 3, 2)]
    {
        let mut rewriter = Rewriter::new(program(Keep, &rules));
        let mut out = Vec::new();
        rewriter.feed(b"{\"a\":[", &mut Scribe).unwrap();
        for n in 0..50_000 {
            rewriter.feed(if n == 0 { b"" } else { b"," }, &mut Scribe).unwrap();
            rewriter.feed(element.as_bytes(), &mut Scribe).unwrap();
            rewriter.splice(std::iter::empty(), &mut out).unwrap();
            assert!(rewriter.held_bytes() <= most * (element.len() + 1), "{rules:?}: {}", rewriter.held_bytes());
        }
        rewriter.feed(b"]}", &mut Scribe).unwrap();
        rewriter.finish(&mut Scribe).unwrap();
        rewriter.splice(std::iter::empty(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().matches("sku").count(), kept, "{rules:?}");
    }
}

#[test]
fn a_fault_that_is_seen_ahead_is_found_at_its_element() {
    for (document, expected) in [
        ("[1,2,{\"x\":[?]}]", "json_syntax $[2][*][*] +11"),
        ("[[1],[2] 3]", "json_syntax $[1] +9"),
        ("[1,2,]", "json_syntax $[2] +5"),
        ("[1,2", "json_truncated $[0] +4"),
    ] {
        assert_eq!(said(Keep, &["drop $[-3].a", "drop $[-1:]"], document), expected, "{document}");
    }
}

#[test]
fn after_a_fault_the_rewriter_is_spent() {
    let mut rewriter = Rewriter::new(program(Keep, &[]));
    let fault = rewriter.feed(b"[1,]", &mut Scribe).unwrap_err();
    assert_eq!(rewriter.feed(b"2]", &mut Scribe), Err(fault.clone()));
    assert_eq!(rewriter.finish(&mut Scribe), Err(fault));
}
