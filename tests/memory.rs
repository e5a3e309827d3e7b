//! Memory per exchange: what the engine holds of a body of any length, by a counting allocator.
//!
//! `TIDEGATE_MEMORY_MIB=1024 cargo test --release --test memory` asks for longer bodies than the 64 MiB that are the default.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise"
)]

use std::sync::Arc;
use std::time::Instant;

use peak_alloc::PeakAlloc;
use tidegate::json::Limits;
use tidegate::json::automaton::{Otherwise, Program, Selection, Verb};
use tidegate::json::path::Path;
use tidegate::json::window::{Judge, Judgement, Leaf, Rewriter};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const CHUNK: usize = 16 << 10;

struct Mask;

impl Judge for Mask {
    fn judge(&mut self, _: Leaf<'_>, out: &mut Vec<u8>) -> Judgement {
        out.extend_from_slice(b"\"********\"");
        Judgement::Put
    }
}

fn program(rules: &[(Verb, &str)]) -> Arc<Program> {
    let selection = |(verb, path): &(Verb, &str)| Selection {
        path: Path::parse(path).unwrap(),
        except: Vec::new(),
        rank: if *verb == Verb::Transform { 1 } else { 9 },
        verb: verb.clone(),
        settings: 0,
        folded: false,
    };
    let limits = Limits { leaves: u64::MAX, ..Limits::default() };
    Arc::new(Program::new(rules.iter().map(selection).collect(), Otherwise::Keep, limits).unwrap())
}

/// The most bytes that are live at one time while `body` is fed in chunks, beside what was there before and the chunk.
fn peak(program: &Arc<Program>, records: bool, mut body: impl FnMut(&mut Vec<u8>) -> bool) -> usize {
    let (mut chunk, mut out) = (Vec::with_capacity(2 * CHUNK), Vec::with_capacity(4 * CHUNK));
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let mut rewriter = Rewriter::new(Arc::clone(program));
    loop {
        chunk.clear();
        let more = body(&mut chunk);
        rewriter.feed(&chunk, &mut Mask).unwrap();
        out.clear();
        rewriter.splice(std::iter::empty(), &mut out).unwrap();
        if records || !more {
            rewriter.finish(&mut Mask).unwrap();
            rewriter.splice(std::iter::empty(), &mut out).unwrap();
            rewriter.restart();
        }
        if !more {
            return ALLOCATOR.peak_usage() - before;
        }
    }
}

/// An array of dense orders, chunk by chunk.
fn array(bytes: usize) -> impl FnMut(&mut Vec<u8>) -> bool {
    let order = b"{\"id\":17,\"kind\":\"x\",\"email\":\"anna@example.org\",\"items\":[{\"sku\":\"A1\"},{\"sku\":\"B7\"}],\"total\":12.50}";
    let mut made = 0;
    move |chunk| {
        let first = made == 0;
        if first {
            chunk.extend_from_slice(b"{\"orders\":[");
        }
        while chunk.len() < CHUNK {
            if chunk.last() == Some(&b'}') || !first && chunk.is_empty() {
                chunk.push(b',');
            }
            chunk.extend_from_slice(order);
        }
        made += chunk.len();
        let more = made < bytes;
        if !more {
            chunk.extend_from_slice(b"]}");
        }
        more
    }
}

/// Bytes a record or a chunk; one record at a time.
fn records(bytes: usize) -> impl FnMut(&mut Vec<u8>) -> bool {
    let mut made = 0;
    move |chunk| {
        chunk.extend_from_slice(
            b"{\"id\":17,\"email\":\"anna@example.org\",\"items\":[{\"sku\":\"A1\"},{\"sku\":\"B7\"}]}",
        );
        made += chunk.len();
        made < bytes
    }
}

/// Where the documents state the constants: `docs/performance.md`, Memory. One test, because there is one allocator.
#[test]
fn memory_is_a_constant_whatever_the_length_of_the_body() {
    let asked = std::env::var("TIDEGATE_MEMORY_MIB").ok().and_then(|mib| mib.parse::<usize>().ok());
    let long = asked.unwrap_or(64) << 20;
    let usual = [(Verb::Transform, "$..email"), (Verb::Drop, "$..ssn")];
    let filter = [(Verb::Drop, "$.orders[?@.kind == 'x'].email")];
    let last = [(Verb::Drop, "$.orders[-3:].email")];
    for (name, rules, bytes) in
        [("an array", &usual[..], long), ("a filter", &filter, long / 8), ("the last elements", &last, long / 8)]
    {
        let (program, begun) = (program(rules), Instant::now());
        let held = peak(&program, false, array(bytes));
        println!("{name}: {} MiB, {held} bytes held, {:?}", bytes >> 20, begun.elapsed());
        assert!(held < 128 << 10, "{name}: {held}");
    }
    let (usual, begun) = (program(&usual), Instant::now());
    let bytes = if asked.is_some() { long * 10 } else { long / 8 };
    let held = peak(&usual, true, records(bytes));
    println!("records: {} MiB, {held} bytes held, {:?}", bytes >> 20, begun.elapsed());
    assert!(held < 16 << 10, "records: {held}");

    // The most: an element at its limit that is laid out whole, a node for each two bytes.
    let whole = program(&[(Verb::Drop, "$..[?@.a]")]);
    let mut pieces = 0;
    let held = peak(&whole, false, |chunk| {
        chunk.extend_from_slice(if pieces == 0 { b"[[1" } else { b"" });
        chunk.extend(b",1".repeat(CHUNK / 2));
        pieces += 1;
        chunk.extend_from_slice(if pieces == 63 { b"]]" } else { b"" });
        pieces < 63
    });
    println!("an element laid out whole: {held} bytes held");
    assert!(held < 56 << 20, "{held}");
}
