//! The JSON engine, alone: MB/s (10^6 bytes of input a second) by size of the body and number of rules, beside `serde_json::Value`
//! with jsonpath-rust in the same run.
//!
//! `cargo bench --bench engine [-- --quick]`. The body is dense API JSON: compact, about four bytes for each structural token.
//! Every figure is a median of CPU time over rounds in which all contenders take turns. Each body is a new document to the engine, fed as
//! one chunk and spliced once; the `Value` way parses, queries (paths parsed once), prunes by the nodes found, and writes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise"
)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;
use tidegate::json::Limits;
use tidegate::json::automaton::{Otherwise, Program, Selection, Verb};
use tidegate::json::path::Path;
use tidegate::json::window::{Judge, Judgement, Leaf, Rewriter};

/// Orders, compact.
fn body(bytes: usize) -> Vec<u8> {
    let mut out = String::from("{\"orders\":[");
    let mut n = 0u64;
    while out.len() < bytes.saturating_sub(200) || n == 0 {
        if n > 0 {
            out.push(',');
        }
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        write!(
            out,
            "{{\"id\":{n},\"status\":\"open\",\"total\":{}.{:02},\"paid\":{},\"customer\":{{\"id\":{mixed},\"email\":\"c{mixed}@example.org\",\
             \"name\":\"Anna K\",\"vip\":false}},\"items\":[{{\"sku\":\"A{}\",\"quantity\":{},\"x3\":null}},{{\"sku\":\"B7\",\
             \"quantity\":1,\"x4\":[1,2,3]}}],\"x1\":{},\"x2\":\"{}\",\"internal\":{{\"margin\":0.2,\"note\":\"\"}}}}",
            mixed % 1000,
            n % 100,
            n.is_multiple_of(2),
            mixed % 97,
            n % 7,
            n % 1000,
            n % 10,
        )
        .unwrap();
        n += 1;
    }
    out.push_str("]}");
    out.into_bytes()
}

/// A rule's verb and path.
type Rule = (char, String);

/// Rules of an allow-list, and of a block-list. Beyond the first five every tenth looks everywhere.
fn rules(number: usize, allow: bool) -> Vec<Rule> {
    let first: [(char, &str); 5] = if allow {
        [
            ('k', "$.orders[*].id"),
            ('k', "$.orders[*].items[*]['sku','quantity']"),
            ('m', "$.orders[*].customer.email"),
            ('k', "$.orders[*].total"),
            ('d', "$..internal"),
        ]
    } else {
        [
            ('d', "$.orders[*].customer.name"),
            ('m', "$.orders[*].customer.email"),
            ('d', "$..internal"),
            ('d', "$.orders[*].items[*].x4"),
            ('d', "$.orders[*].paid"),
        ]
    };
    let verb = if allow { 'k' } else { 'd' };
    let more = (0..).map(|n| (verb, if n % 10 == 9 { format!("$..x{n}") } else { format!("$.orders[*].x{n}") }));
    first.map(|(verb, path)| (verb, path.to_owned())).into_iter().chain(more).take(number).collect()
}

fn program(rules: &[Rule], allow: bool) -> Arc<Program> {
    let selections = (rules.iter())
        .map(|(verb, path)| Selection {
            path: Path::parse(path).unwrap(),
            except: Vec::new(),
            verb: match verb {
                'k' => Verb::Keep { whole: false },
                'm' => Verb::Transform,
                _ => Verb::Drop,
            },
            rank: match verb {
                'k' => 0,
                'm' => 1,
                _ => 9,
            },
            settings: 0,
            folded: false,
        })
        .collect();
    let otherwise = if allow { Otherwise::Drop } else { Otherwise::Keep };
    Arc::new(Program::new(selections, otherwise, Limits::default()).unwrap())
}

struct Mask;

impl Judge for Mask {
    fn judge(&mut self, _: Leaf<'_>, out: &mut Vec<u8>) -> Judgement {
        out.extend_from_slice(b"\"********\"");
        Judgement::Put
    }
}

fn by_engine(program: &Arc<Program>, body: &[u8], out: &mut Vec<u8>) {
    let mut rewriter = Rewriter::new(Arc::clone(program));
    out.clear();
    rewriter.feed(body, &mut Mask).unwrap();
    rewriter.finish(&mut Mask).unwrap();
    rewriter.splice(std::iter::empty(), out).unwrap();
}

/// A stream as it comes off a socket: in chunks, spliced after each.
fn by_stream(program: &Arc<Program>, body: &[u8], out: &mut Vec<u8>) {
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

/// The way through a tree of values.
fn by_value(rules: &[(char, JpQuery)], allow: bool, body: &[u8], out: &mut Vec<u8>) {
    fn prune(value: &Value, found: &HashMap<*const Value, char>, allow: bool) -> Option<Value> {
        match (found.get(&std::ptr::from_ref(value)), value) {
            (Some('d'), _) => None,
            (Some('m'), _) => Some("********".into()),
            (_, Value::Array(items)) => Some(items.iter().filter_map(|v| prune(v, found, allow)).collect()),
            (_, Value::Object(members)) => {
                Some(members.iter().filter_map(|(n, v)| Some((n.clone(), prune(v, found, allow)?))).collect())
            }
            (None, _) if allow => None,
            (_, leaf) => Some(leaf.clone()),
        }
    }
    let value: Value = serde_json::from_slice(body).unwrap();
    let mut found = HashMap::new();
    for (verb, query) in rules {
        for node in js_path_process(query, &value).unwrap() {
            found.insert(std::ptr::from_ref(node.clone().val()), *verb);
        }
    }
    out.clear();
    serde_json::to_writer(out, &prune(&value, &found, allow)).unwrap();
}

/// CPU time of this thread, from the scheduler: what others do on the machine does not count. Elsewhere than on Linux, time.
fn clock(begun: Instant) -> Duration {
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = read.and_then(|text| text.split(' ').next().and_then(|n| n.parse().ok()));
    nanos.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

/// Runs until `least` has passed; seconds a run.
fn time(least: Duration, run: &mut dyn FnMut()) -> f64 {
    let begun = Instant::now();
    let before = clock(begun);
    let (mut runs, mut batch) = (0u32, 1);
    loop {
        for _ in 0..batch {
            run();
        }
        runs += batch;
        let spent = clock(begun).saturating_sub(before);
        if spent >= least {
            return spent.as_secs_f64() / f64::from(runs);
        }
        // The clock costs a microsecond: it is read ever less often.
        batch = runs.min(1 << 10);
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, least) = if quick { (3, Duration::from_millis(4)) } else { (9, Duration::from_millis(40)) };
    // The way through values takes minutes where both are large; what would take longer than this a run is left out.
    let patience = Duration::from_millis(if quick { 250 } else { 4_000 });
    println!(
        "MB/s of input; allow: default drop, block: default keep, stream: block in chunks of 16 KiB, value: allow by serde_json::Value\n"
    );
    println!(
        "{:>8} {:>6} | {:>7} {:>7} {:>7} | {:>8} {:>8}",
        "bytes", "rules", "allow", "block", "stream", "value", "allow/v"
    );
    for bytes in [1 << 10, 16 << 10, 256 << 10, 10 << 20] {
        let body = body(bytes);
        let mut pace = Duration::ZERO;
        for number in [5, 50, 500, 1000] {
            let (allow, block) = (rules(number, true), rules(number, false));
            let queries: Vec<_> = allow.iter().map(|(verb, path)| (*verb, parse_json_path(path).unwrap())).collect();
            let (allow, block) = (program(&allow, true), program(&block, false));
            let mut out = Vec::new();
            let mut times: [Vec<f64>; 4] = Default::default();
            let with_value = pace * 5 < patience;
            for _ in 0..rounds {
                times[0].push(time(least, &mut || by_engine(&allow, &body, &mut out)));
                times[1].push(time(least, &mut || by_engine(&block, &body, &mut out)));
                times[2].push(time(least, &mut || by_stream(&block, &body, &mut out)));
                if with_value {
                    times[3].push(time(least, &mut || by_value(&queries, true, &body, &mut out)));
                }
            }
            let rate = |times: &Vec<f64>| body.len() as f64 / 1e6 / median(times.clone());
            let [allow, block, stream] = [0, 1, 2].map(|n| rate(&times[n]));
            print!("{:>8} {number:>6} | {allow:>7.0} {block:>7.0} {stream:>7.0} |", body.len());
            if with_value {
                let value = rate(&times[3]);
                pace = Duration::from_secs_f64(median(times[3].clone()));
                println!(" {value:>8.2} {:>8.0}", allow / value);
            } else {
                println!(" {:>8} {:>8}", "-", "-");
            }
        }
    }
}
