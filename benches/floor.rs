//! The engine where it is slowest: rules that have to hold and decide, and bodies made to hurt. MB/s (10^6 bytes of input a second).
//!
//! `cargo bench --bench floor [-- --quick] [PART OF A NAME]`. Each figure is a median of CPU time; a body is a new document to the
//! engine, fed in chunks of 16 KiB and spliced after each, as it comes off a socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::json::Limits;
use tidegate::json::automaton::{Otherwise, Program, Selection, Verb};
use tidegate::json::path::Path;
use tidegate::json::window::{Judge, Judgement, Leaf, Rewriter};

/// Dense orders in an array, every tenth of kind `x`.
fn orders(bytes: usize) -> String {
    let mut out = String::from("{\"orders\":[");
    for n in 0u64.. {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        write!(
            out,
            "{{\"id\":{n},\"kind\":\"{}\",\"total\":{}.{:02},\"customer\":{{\"id\":{mixed},\"email\":\"c{mixed}@example.org\",\"vip\":{}}},\
             \"items\":[{{\"sku\":\"A{}\",\"quantity\":{}}},{{\"sku\":\"B7\",\"quantity\":1}}],\"email\":\"c{mixed}@example.org\"}},",
            if n.is_multiple_of(10) { "x" } else { "open" },
            mixed % 1000,
            n % 100,
            n.is_multiple_of(2),
            mixed % 97,
            n % 7,
        )
        .unwrap();
        if out.len() > bytes {
            break;
        }
    }
    out.pop();
    out + "]}"
}

/// `[piece,piece,…]`
fn array(piece: &str, bytes: usize) -> String {
    format!("[{}{piece}]", format!("{piece},").repeat(bytes / (piece.len() + 1)))
}

fn selections(rules: &[&str]) -> Vec<Selection> {
    let rule = |rule: &&str| {
        let (verb, path) = rule.split_once(' ').unwrap();
        let (verb, rank) = match verb {
            "keep" => (Verb::Keep { whole: false }, 0),
            "whole" => (Verb::Keep { whole: true }, 0),
            "mask" => (Verb::Transform, 1),
            _ => (Verb::Drop, 9),
        };
        Selection { path: Path::parse(path).unwrap(), except: Vec::new(), verb, rank, settings: 0, folded: false }
    };
    rules.iter().map(rule).collect()
}

struct Mask;

impl Judge for Mask {
    fn judge(&mut self, _: Leaf<'_>, out: &mut Vec<u8>) -> Judgement {
        out.extend_from_slice(b"\"********\"");
        Judgement::Put
    }
}

fn run(program: &Arc<Program>, body: &[u8], out: &mut Vec<u8>) {
    let mut rewriter = Rewriter::new(Arc::clone(program));
    for chunk in body.chunks(16 << 10) {
        out.clear();
        rewriter.feed(chunk, &mut Mask).unwrap();
        rewriter.splice(std::iter::empty(), out).unwrap();
        black_box(&out);
    }
    rewriter.finish(&mut Mask).unwrap();
    rewriter.splice(std::iter::empty(), out).unwrap();
}

/// CPU time of this thread, from the scheduler: what others do on the machine does not count. Elsewhere than on Linux, time.
fn clock(begun: Instant) -> Duration {
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = read.and_then(|text| text.split(' ').next().and_then(|n| n.parse().ok()));
    nanos.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let part = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    // The scheduler's clock may tick as slowly as every 4 ms.
    let (rounds, least) = if quick { (1, Duration::from_millis(12)) } else { (5, Duration::from_millis(80)) };
    let size = 900_000;
    let orders = orders(size);
    let row = "{\"kind\":\"x\",\"email\":\"a@b.example\"}";
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let names: String = (0..200).map(|n| format!("\"field-{n}\":{n},")).collect();
    use Otherwise::{Drop, Keep};
    let kept = || vec!["drop $..ssn", "drop $..card", "mask $..email", "mask $..phone"];
    let allowed = || vec!["keep $[*].id", "keep $..name", "keep $.orders[*].total"];
    let cases: Vec<(&str, Otherwise, Vec<&str>, String)> = vec![
        ("filter: one in ten, allow-list", Drop, vec!["keep $.orders[?@.kind == 'x'].email"], orders.clone()),
        ("filter: one in ten, block-list", Keep, vec!["drop $.orders[?@.kind == 'x'].email"], orders.clone()),
        ("filter: nine in ten, allow-list", Drop, vec!["keep $.orders[?@.kind == 'open'].email"], orders.clone()),
        ("filter: whole element", Drop, vec!["whole $.orders[?@.customer.vip == true]"], orders.clone()),
        ("filter: elements dropped", Keep, vec!["drop $.orders[?@.total > 500]"], orders.clone()),
        ("filter: match", Keep, vec!["drop $.orders[?match(@.email, 'c1.*')].email"], orders.clone()),
        (
            "filter: wildcard in it",
            Keep,
            vec!["drop $.orders[?@.items[?@.sku == 'A1'] || count(@.*) > 7]"],
            orders.clone(),
        ),
        ("filter: small elements", Drop, vec!["keep $[?@.kind == 'x'].email"], array(row, size)),
        ("filter: below `..`", Keep, vec!["drop $..[?@.kind == 'x'].email"], orders.clone()),
        ("last element", Keep, vec!["drop $.orders[-1].email"], orders.clone()),
        ("last three elements", Drop, vec!["keep $.orders[-3:].email"], orders.clone()),
        ("hostile: [],[], kept", Keep, kept(), array("[]", size)),
        ("hostile: {},{}, kept", Keep, kept(), array("{}", size)),
        ("hostile: [],[], dropped", Drop, allowed(), array("[]", size)),
        ("hostile: {},{}, dropped", Drop, allowed(), array("{}", size)),
        ("hostile: 1,1, kept", Keep, kept(), array("1", size)),
        ("hostile: 1,1, dropped", Drop, allowed(), array("1", size)),
        ("hostile: deep, kept", Keep, kept(), array(&deep, size)),
        ("hostile: deep, dropped", Drop, allowed(), array(&deep, size)),
        ("hostile: {\"a\":{}} dropped", Drop, allowed(), array("{\"a\":{}}", size)),
        ("hostile: {\"ssn\":1}", Keep, kept(), array("{\"ssn\":1}", size)),
        ("hostile: {\"email\":\"\"}", Keep, kept(), array("{\"email\":\"\"}", size)),
        ("hostile: escapes in names", Keep, kept(), array("{\"\\u0061\\u0062\":1}", size)),
        ("hostile: escapes", Keep, kept(), array(&format!("\"{}\"", "\\n".repeat(40)), size)),
        ("hostile: many names", Keep, kept(), array(&format!("{{{names}\"x\":0}}"), size)),
        ("hostile: white space", Keep, kept(), array("1 \n , \t2", size)),
        ("hostile: filter on [],[],", Keep, vec!["drop $[?@.a]"], array("[]", size / 4)),
        ("hostile: filter on {\"a\":{}}", Keep, vec!["drop $[?@.a.b]"], array("{\"a\":{}}", size / 4)),
    ];
    println!("{:<36} {:>8}", "", "MB/s");
    let mut out = Vec::new();
    for (name, otherwise, rules, body) in cases.into_iter().filter(|case| case.0.contains(&part)) {
        let program = Arc::new(Program::new(selections(&rules), otherwise, Limits::default()).unwrap());
        let mut times: Vec<f64> = (0..rounds)
            .map(|_| {
                let begun = Instant::now();
                let before = clock(begun);
                for runs in 1.. {
                    run(&program, body.as_bytes(), &mut out);
                    let spent = clock(begun).saturating_sub(before);
                    if spent >= least {
                        return spent.as_secs_f64() / f64::from(runs);
                    }
                }
                unreachable!("it ends")
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{name:<36} {:>8.0}", body.len() as f64 / 1e6 / times[times.len() / 2]);
    }
}
