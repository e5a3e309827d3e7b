//! The engine and the framings under their own names, so that targets and the harness of `tests/engine` find them.

#![allow(missing_docs, dead_code, unreachable_pub)]

#[path = "../../src/frames/mod.rs"]
pub mod frames;
#[path = "../../src/json/mod.rs"]
pub mod json;

/// Cuts what a target gets into the bytes that decide how it is cut, and the body in pieces of that size.
pub fn pieces(data: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]>)> {
    let (cut, body) = data.split_first()?;
    Some((body, body.chunks(usize::from(*cut % 32) + 1)))
}
