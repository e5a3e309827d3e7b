//! What is a path: never a panic, the place of a complaint inside the text, and what is taken runs within its budget.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::json::automaton::{Otherwise, Program, Selection, Verb};
use tidegate::json::filter::select;
use tidegate::json::path::Path;
use tidegate::json::tape::Tape;

const DOCUMENT: &[u8] = br#"{"a":[1,{"b":"x","a":[true,null,-1.5e3]},[[]],{}],"b":{"a":"a+","c":[3,2,1]},"c":"aaa"}"#;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Path::parse(text) {
        Err(error) => assert!(error.offset <= text.len() && text.is_char_boundary(error.offset)),
        Ok(path) => {
            let tape = Tape::build(DOCUMENT);
            let (mut steps, mut nodes) = (20_000, Vec::new());
            let selected = select(path.segments(), DOCUMENT, &tape, Tape::ROOT, Tape::ROOT, &mut steps, &mut nodes);
            assert!(selected.is_err() || nodes.is_sorted_by(|a, b| a < b));
            let selection = Selection { path, except: Vec::new(), verb: Verb::Drop, rank: 9, settings: 0, folded: text.len() % 2 == 0 };
            let _ = Program::new(vec![selection], Otherwise::Keep, Default::default());
        }
    }
});
