//! What is JSON: accepted byte for byte, the same at every cut, and nothing refused that serde_json reads without good reason.

#![no_main]
#![allow(dead_code, clippy::all)]

#[path = "../../../tests/engine/harness.rs"]
mod harness;

use libfuzzer_sys::fuzz_target;
use tidegate::json::FaultKind;
use tidegate::json::automaton::Otherwise::{Drop, Keep};

thread_local! {
    static PROGRAMS: Vec<std::sync::Arc<tidegate::json::automaton::Program>> = vec![
        harness::program(Keep, &[]),
        harness::program(Keep, &["mask $..nothing", "drop $..[?@.nothing]"]),
        harness::program(Drop, &["whole $"]),
        harness::program(Keep, &["drop $[-1].nothing"]),
    ];
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, document)) = data.split_first() else { return };
    PROGRAMS.with(|programs| {
        for program in programs {
            let (whole, _) = harness::run_with(program, document, usize::MAX, false, false);
            let (pieces, _) = harness::run_with(program, document, usize::from(*cut % 32) + 1, true, false);
            assert_eq!(whole, pieces);
            match &whole.out {
                Ok(out) => assert_eq!(out.as_bytes(), document),
                Err(fault) => {
                    let ours = [FaultKind::NulName, FaultKind::DuplicateName, FaultKind::Depth];
                    let theirs = serde_json::from_slice::<serde_json::Value>(document);
                    assert!(theirs.is_err() || ours.contains(&fault.kind), "{fault}");
                }
            }
        }
    });
});
