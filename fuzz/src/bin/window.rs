//! Rules on a body: the same at every cut, and what comes out is JSON.

#![no_main]
#![allow(dead_code, clippy::all)]

#[path = "../../../tests/engine/harness.rs"]
mod harness;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidegate::json::Limits;
use tidegate::json::automaton::Otherwise::{Drop, Keep, Refuse};
use tidegate::json::automaton::Program;

const SETS: &[&[&str]] = &[
    &["keep $.a", "mask $..b"],
    &["keep $..b", "drop $.a[1]", "null $[0]"],
    &["whole $.*", "drop $..a.b", "~mask $.B"],
    &["keep $[?@.a].b", "mask $.a[-1]", "drop $.b[-2:]"],
    &["drop $..[?@.b == 1]", "keep $..[?$.a]"],
    &["put:[\"long\",7] $..a[1:]", "whole $.b[:-1]", "mask $[?@[0] > 1 || count(@.*) == 2]"],
    &["mask $..*"],
    &["keep $[?match(@.a, 'a|b')]..b", "drop $[?@.a == @.b]", "null $[?@[?@.a]][0]"],
];

thread_local! {
    static PROGRAMS: Vec<Arc<Program>> = {
        let limits = Limits { name_bytes: 40, value_bytes: 48, element_bytes: 128, leaves: 8, growth_bytes: 40, ..Limits::default() };
        let of = |otherwise| SETS.iter().map(move |rules| harness::limited(otherwise, rules, limits));
        let roomy = SETS.iter().map(|rules| harness::program(Drop, rules));
        of(Keep).chain(of(Drop)).chain(of(Refuse)).chain(roomy).collect()
    };
}

fuzz_target!(|data: &[u8]| {
    let [which, cut, document @ ..] = data else { return };
    PROGRAMS.with(|programs| {
        let Some(program) = programs.get(usize::from(*which) % programs.len()) else { return };
        let (whole, _) = harness::run_with(program, document, usize::MAX, false, false);
        let (pieces, _) = harness::run_with(program, document, usize::from(*cut % 64) + 1, cut % 2 == 0, false);
        assert_eq!(whole, pieces);
        if let Ok(out) = &whole.out {
            let read = serde_json::from_str::<serde_json::Value>(out);
            assert!(read.is_ok() || serde_json::from_slice::<serde_json::Value>(document).is_err(), "{out}");
        }
    });
});
