//! RFC 9535: the JSONPath compliance test suite, and two other implementations as a second opinion where they can be trusted.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use tidegate::json::filter::select;
use tidegate::json::path::Path;
use tidegate::json::tape::{NodeId, Tape};
use tidegate::json::text::unescape;

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
    assert_eq!(cases.len(), 703);
}
