//! RFC 9535: the JSONPath compliance test suite, and two other implementations as a second opinion where they can be trusted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use jsonpath_rust::JsonPath;
use jsonpath_rust::parser::parse_json_path;
use proptest::prelude::*;
use serde_json::Value;

use tidegate::json::filter::select;
use tidegate::json::path::Path;
use tidegate::json::tape::{NodeId, Tape};
use tidegate::json::text::unescape;

mod oracle;

/// A file of the conformance data, which is not part of the repository.
fn conformance(file: &str) -> Option<String> {
    let folder = std::env::var_os("TIDEGATE_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let file = folder.join(file);
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(error) => {
            println!("SKIPPED: {}: {error}", file.display());
            None
        }
    }
}

/// A node's normalised path (RFC 9535, section 2.7).
fn location(tape: &Tape, bytes: &[u8], node: NodeId) -> String {
    let Some(parent) = tape.parent(node) else { return "$".to_owned() };
    let mut out = location(tape, bytes, parent);
    match tape.name_span(node) {
        None => out.push_str(&format!("[{}]", tape.children(parent).position(|child| child == node).unwrap())),
        Some(name) => {
            out.push_str("['");
            for char in unescape(&bytes[name]).chars() {
                match char {
                    '\'' | '\\' => out.extend(['\\', char]),
                    '\u{8}' => out.push_str("\\b"),
                    '\t' => out.push_str("\\t"),
                    '\n' => out.push_str("\\n"),
                    '\u{c}' => out.push_str("\\f"),
                    '\r' => out.push_str("\\r"),
                    c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                    c => out.push(c),
                }
            }
            out.push_str("']");
        }
    }
    out
}

/// What a path selects, as normalised paths.
fn selected(path: &str, document: &str) -> Result<Vec<String>, String> {
    let path = Path::parse(path).map_err(|error| format!("{error:?}"))?;
    let tape = Tape::build(document.as_bytes());
    assert!(tape.is_sound(), "no tape of {document}");
    let (mut steps, mut nodes) = (10_000_000, Vec::new());
    select(path.segments(), document.as_bytes(), &tape, Tape::ROOT, Tape::ROOT, &mut steps, &mut nodes)
        .map_err(|fault| format!("{fault:?}"))?;
    assert!(nodes.is_sorted_by(|a, b| a < b), "each once, in document order");
    Ok(nodes.iter().map(|node| location(&tape, document.as_bytes(), *node)).collect())
}

#[test]
fn the_compliance_suite_passes_whole() {
    let Some(suite) = conformance("jsonpath-cts/cts.json") else { return };
    let suite: Value = serde_json::from_str(&suite).unwrap();
    let mut wrong = Vec::new();
    let cases = suite["tests"].as_array().unwrap();
    for case in cases {
        let (name, selector) = (case["name"].as_str().unwrap(), case["selector"].as_str().unwrap());
        if case["invalid_selector"] == true {
            match Path::parse(selector) {
                Ok(_) => wrong.push(format!("{name}: `{selector}` was taken")),
                Err(error) => {
                    assert!(error.offset <= selector.len() && selector.is_char_boundary(error.offset), "{name}")
                }
            }
            continue;
        }
        let set = |paths: &Value| -> BTreeSet<String> {
            paths.as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned()).collect()
        };
        let wanted: BTreeSet<_> = match case.get("results_paths") {
            Some(several) => several.as_array().unwrap().iter().map(set).collect(),
            None => [set(&case["result_paths"])].into(),
        };
        match selected(selector, &case["document"].to_string()) {
            Ok(found) if wanted.contains(&found.iter().cloned().collect()) => {}
            found => wrong.push(format!("{name}: `{selector}`: {found:?}, wanted {wanted:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 703, "a shortened suite");
}

/// Few names and values, so that paths meet them.
fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..4_i64).prop_map(Value::from),
        Just(Value::from(1.5)),
        prop::sample::select(vec!["", "a", "b", "ab", "é", "aé"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let object = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c", "x y"]), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

fn index() -> impl Strategy<Value = String> {
    (-4..5_i64).prop_map(|index| index.to_string())
}

fn plain_selector() -> impl Strategy<Value = String> {
    let bound = || prop_oneof![Just(String::new()), index()];
    prop_oneof![
        4 => prop::sample::select(vec!["'a'", "\"b\"", "'c'", "'x y'", "*"]).prop_map(str::to_owned),
        2 => index(),
        1 => (bound(), bound(), prop_oneof![Just(String::new()), index().prop_map(|step| format!(":{step}"))])
            .prop_map(|(start, end, step)| format!("{start}:{end}{step}")),
    ]
}

fn segments(selector: impl Strategy<Value = String> + Clone) -> impl Strategy<Value = String> {
    let bracket = prop::collection::vec(selector, 1..3).prop_map(|all| format!("[{}]", all.join(",")));
    let segment = prop_oneof![
        3 => bracket.clone(),
        1 => bracket.prop_map(|bracket| format!("..{bracket}")),
        3 => prop::sample::select(vec![".a", ".b", ".*", "..a", "..*"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(segment, 0..4).prop_map(|all| all.concat())
}

fn singular() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        prop::sample::select(vec![".a", ".b", "['c']"]).prop_map(str::to_owned),
        index().prop_map(|i| format!("[{i}]"))
    ];
    (prop::sample::select(vec!["@", "@", "$"]), prop::collection::vec(segment, 0..3))
        .prop_map(|(from, all)| from.to_owned() + &all.concat())
}

/// A filter, with filters in it down to a few levels.
fn filter() -> impl Strategy<Value = String> {
    let query = |inner: BoxedStrategy<String>| {
        (prop::sample::select(vec!["@", "@", "$"]), segments(inner)).prop_map(|(from, all)| from.to_owned() + &all)
    };
    let literal = prop::sample::select(vec![
        "null", "true", "false", "0", "-1", "2", "1.5", "15e-1", "1.0", "'a'", "'ab'", "\"\"",
    ]);
    let atom = move |inner: BoxedStrategy<String>| {
        let value = prop_oneof![
            3 => literal.clone().prop_map(str::to_owned),
            3 => singular(),
            1 => singular().prop_map(|query| format!("length({query})")),
            1 => query(inner.clone()).prop_map(|query| format!("count({query})")),
            1 => query(inner.clone()).prop_map(|query| format!("value({query})")),
        ];
        let operator = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
        let count = || query(plain_selector().boxed()).prop_map(|query| format!("count({query}..*..[0,*])"));
        let pattern = prop::sample::select(vec!["a.*", "a|b", "[^a]", "b?"]);
        prop_oneof![
            3 => query(inner),
            6 => (value.clone(), operator.clone(), value).prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
            1 => (count(), operator.clone(), 0..6_u8).prop_map(|(count, operator, n)| format!("{count} {operator} {n}")),
            1 => (count(), operator.clone(), count()).prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
            1 => (prop::sample::select(vec!["match", "search"]), singular(), pattern)
                .prop_map(|(name, text, pattern)| format!("{name}({text}, '{pattern}')")),
        ]
    };
    let flat = atom(plain_selector().boxed());
    flat.prop_recursive(3, 12, 2, move |inner| {
        let nested = prop_oneof![2 => plain_selector(), 1 => inner.clone().prop_map(|filter| format!("?{filter}"))];
        prop_oneof![
            2 => atom(nested.boxed()),
            1 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} && {right}")),
            1 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} || {right})")),
            1 => inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

fn set(paths: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    paths.into_iter().collect()
}

proptest! {
    #[test]
    fn without_filters_all_three_implementations_agree(tail in segments(plain_selector().boxed()), document in documents()) {
        let path = format!("${tail}");
        let ours = set(selected(&path, &document.to_string()).unwrap());
        let theirs = serde_json_path::JsonPath::parse(&path).unwrap();
        prop_assert_eq!(&ours, &set(theirs.query_located(&document).locations().map(ToString::to_string)), "{}", path);
        prop_assert_eq!(&ours, &set(document.query_only_path(&path).unwrap()), "{}", path);
        prop_assert_eq!(&ours, &set(oracle::query(&parse_json_path(&path).unwrap(), &document).into_iter().map(|node| node.0)), "{}", path);
    }

    #[test]
    fn filters_select_what_the_rfc_read_slowly_selects(
        head in prop_oneof![3 => Just(String::new()), 1 => segments(plain_selector().boxed())],
        filter in filter(),
        documents in prop::collection::vec(documents(), 2..6),
    ) {
        let document = Value::from(documents);
        let path = format!("${head}[?{filter}]");
        match Path::parse(&path) {
            Ok(_) => {}
            // Nested further than we read; never anything else.
            Err(error) => {
                prop_assert!(error.message.contains("nested"), "{}: {}", path, error);
                return Ok(());
            }
        }
        let ours = set(selected(&path, &document.to_string()).unwrap());
        let slow = oracle::query(&parse_json_path(&path).unwrap(), &document);
        prop_assert_eq!(ours, set(slow.into_iter().map(|node| node.0)), "{}", path);
    }

    #[test]
    fn what_is_a_path_and_what_is_none_is_agreed(text in r#"\$(\.[ab*]|\.\.a|\[[ ]?('a'|"b"|[0-9]|-1|1:|::2|\*|\?@\.a ?(==|<) ?1|\?!@|\?length\(@\) ?> ?1)[ ]?(,[ ]?'c')?\]|[\u{a0}.]){0,4}"#) {
        prop_assert_eq!(Path::parse(&text).is_ok(), serde_json_path::JsonPath::parse(&text).is_ok(), "{}", text);
    }
}
