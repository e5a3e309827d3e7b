//! The JSONPath compliance suite through the real rewriting path: what a path selects is what a rule drops, at every cut.

use std::path::PathBuf;

use serde_json::Value;
use tidegate::json::automaton::Otherwise::Keep;
use tidegate::json::path::{Path, Selector};

use crate::document::Step;
use crate::harness::{program, run_with};

/// The suite; none, and said so, where it is not there.
fn suite() -> Option<Value> {
    let folder = std::env::var_os("TIDEGATE_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let file = folder.join("jsonpath-cts/cts.json");
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            println!("SKIPPED: {}: {error}", file.display());
            None
        }
    }
}

/// The steps of a normalised path.
fn steps(path: &Value) -> Vec<Step> {
    let path = Path::parse(path.as_str().unwrap()).unwrap();
    let step = |selector: &Selector| match selector {
        Selector::Name(name) => Step::Name(name.to_string()),
        Selector::Index(index) => Step::Index(usize::try_from(*index).unwrap()),
        other => panic!("{other:?}"),
    };
    path.segments().iter().map(|segment| step(&segment.selectors[0])).collect()
}

/// The document without these places.
fn without(document: &Value, mut places: Vec<Vec<Step>>) -> Value {
    let mut document = document.clone();
    // From the back, so that indices stay what they were.
    places.sort();
    for place in places.iter().rev() {
        let Some((last, around)) = place.split_last() else { return Value::Null };
        let parent = around.iter().try_fold(&mut document, |value, step| match step {
            Step::Name(name) => value.get_mut(name),
            Step::Index(index) => value.get_mut(index),
        });
        match (parent, last) {
            (Some(Value::Object(members)), Step::Name(name)) => drop(members.remove(name)),
            (Some(Value::Array(items)), Step::Index(index)) => drop(items.remove(*index)),
            (parent, _) => panic!("{place:?}: {parent:?}"),
        }
    }
    document
}

#[test]
fn rules_select_what_the_compliance_suite_selects() {
    let Some(suite) = suite() else { return };
    let (mut valid, mut invalid) = (0, 0);
    for case in suite["tests"].as_array().unwrap() {
        let selector = case["selector"].as_str().unwrap();
        if case["invalid_selector"] == true {
            assert!(Path::parse(selector).is_err(), "{selector}");
            invalid += 1;
            continue;
        }
        valid += 1;
        let document = &case["document"];
        let paths = case.get("result_paths").unwrap_or_else(|| &case["results_paths"][0]);
        let places: Vec<_> = paths.as_array().unwrap().iter().map(steps).collect();
        let (mut each, expected) = (
            places.clone(),
            without(document, {
                let mut p = places;
                p.sort();
                p.dedup();
                p
            }),
        );
        each.sort();
        each.dedup();
        let rule = |verb: &str| [Path::parse(selector).unwrap()].map(|path| format!("{verb} {}", path.text()));
        let text = document.to_string();
        for chunk in [1, 2, 3, 5, 64, usize::MAX] {
            let [drop] = rule("drop");
            let ran = run_with(&program(Keep, &[&drop]), text.as_bytes(), chunk, true, false).0;
            let out: Value = serde_json::from_str(&ran.out.unwrap_or_else(|f| panic!("{selector}: {f}"))).unwrap();
            assert_eq!(out, expected, "{selector} on {text} at {chunk}");
            // What is kept is walked, so that every place that is selected counts, whatever is selected around it.
            let [keep] = rule("keep");
            let ran = run_with(&program(Keep, &[&keep]), text.as_bytes(), chunk, true, false).0;
            assert_eq!(
                (ran.matched[0], ran.out.as_deref()),
                (each.len() as u64, Ok(&text[..])),
                "{selector} on {text}"
            );
        }
    }
    assert!(valid + invalid >= 703, "a shortened suite: {valid} and {invalid}");
}
