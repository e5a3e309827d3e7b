//! What is done on the server at once, as scripts in `scripts/`: each changes one bucket, whole or not at all.
//!
//! Start at [`Script`].

use std::sync::Arc;

use super::fault::Fault;
use super::settings::Address;
use super::wire::{self, Reply};

/// One of them; each file says what it takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Put,
    Point,
    Unpoint,
    Find,
    Get,
    Seek,
    Drop,
    Sift,
}

/// How many there are.
pub(super) const COUNT: usize = 8;

const LAYOUT: &str = include_str!("scripts/layout.lua");
const SOURCES: [&str; COUNT] = [
    include_str!("scripts/put.lua"),
    include_str!("scripts/point.lua"),
    include_str!("scripts/unpoint.lua"),
    include_str!("scripts/find.lua"),
    include_str!("scripts/get.lua"),
    include_str!("scripts/seek.lua"),
    include_str!("scripts/drop.lua"),
    include_str!("scripts/sift.lua"),
];

/// By what a server knows them: their SHA-1, which it tells us.
#[derive(Clone, Debug)]
pub(super) struct Shas(Arc<[Vec<u8>]>);

/// Has them loaded; gives how many answers that gets.
pub(super) fn load(out: &mut Vec<u8>) -> usize {
    for source in SOURCES {
        wire::push(out, &[b"SCRIPT", b"LOAD", [LAYOUT, source].concat().as_bytes()]);
    }
    COUNT
}

/// What loading was answered.
pub(super) fn shas(node: &Address, answers: &[Reply]) -> Result<Shas, Fault> {
    let sha = |answer: &Reply| match answer {
        Reply::Text(sha) => Ok(sha.clone()),
        Reply::Refused { code, .. } => Err(super::proof::refusal(node, code)),
        _ => Err(Fault::Garbled { node: node.clone() }),
    };
    let shas: Arc<[Vec<u8>]> = answers.iter().map(sha).collect::<Result<_, _>>()?;
    if shas.len() == COUNT { Ok(Shas(shas)) } else { Err(Fault::Garbled { node: node.clone() }) }
}

impl Shas {
    /// A call of a script.
    pub(super) fn call(&self, script: Script, keys: &[&[u8]], arguments: &[&[u8]]) -> Vec<u8> {
        let sha = self.0.get(script as usize).map(Vec::as_slice).unwrap_or_default();
        let count = keys.len().to_string();
        let parts: Vec<&[u8]> = [b"EVALSHA", sha, count.as_bytes()]
            .into_iter()
            .chain(keys.iter().copied())
            .chain(arguments.iter().copied())
            .collect();
        let length: usize = parts.iter().map(|part| part.len() + 16).sum();
        let mut frame = Vec::with_capacity(length);
        wire::push(&mut frame, &parts);
        frame
    }
}
