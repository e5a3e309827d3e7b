//! Work grows with the body and not with its square: shapes made to hurt, and the same twice as long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::json::Limits;
use tidegate::json::automaton::Otherwise::{self, Drop, Keep};
use tidegate::json::automaton::Program;
use tidegate::json::window::Rewriter;

use crate::harness::{Scribe, limited};

/// CPU time of this thread, from the scheduler, so that what others do does not count. Elsewhere than on Linux, time.
fn clock(begun: Instant) -> Duration {
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = read.and_then(|text| text.split(' ').next().and_then(|n| n.parse().ok()));
    nanos.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

fn cost(program: &Arc<Program>, body: &[u8], runs: u32) -> Duration {
    let begun = Instant::now();
    let before = clock(begun);
    let mut out = Vec::new();
    for _ in 0..runs {
        let mut rewriter = Rewriter::new(Arc::clone(program));
        for piece in body.chunks(512) {
            rewriter.feed(piece, &mut Scribe).unwrap();
            out.clear();
            rewriter.splice(std::iter::empty(), &mut out).unwrap();
        }
        rewriter.finish(&mut Scribe).unwrap();
    }
    clock(begun).saturating_sub(before)
}

/// A body of `n` pieces.
type Shape = fn(usize) -> String;

fn array(piece: &str, n: usize) -> String {
    format!("[{}]", vec![piece; n].join(","))
}

const SHAPES: &[(&str, Otherwise, &[&str], Shape)] = &[
    ("empty arrays", Keep, &["drop $..a", "mask $..b"], |n| array("[]", n * 8)),
    ("empty objects that wait", Drop, &["keep $..a"], |n| array("{}", n * 8)),
    ("deep and deep again", Drop, &["keep $..a"], |n| {
        array(&format!("{}{}", "[".repeat(400), "]".repeat(400)), n / 32)
    }),
    ("one object of many names", Keep, &["drop $..a"], |n| {
        format!("{{{}}}", (0..n).map(|i| format!("\"n{i}\":{i}")).collect::<Vec<_>>().join(","))
    }),
    ("many names that a filter reads", Keep, &["drop $[?@.a]"], |n| {
        format!("[{{{}}}]", (0..n).map(|i| format!("\"n{i}\":{i}")).collect::<Vec<_>>().join(","))
    }),
    ("escapes in a long string", Keep, &["drop $..a"], |n| format!("[\"{}\"]", "\\u00e9\\n".repeat(n * 4))),
    ("escapes in names", Keep, &["mask $..abc"], |n| array("{\"\\u0061b\\u0063d\":1}", n)),
    ("many small matches", Keep, &["mask $..a"], |n| array("{\"a\":\"\"}", n * 2)),
    ("a member in two dropped", Keep, &["drop $..a"], |n| array("{\"a\":1,\"b\":2}", n)),
    ("white space", Keep, &["drop $..a"], |n| array("1 \n\t ", n * 4)),
    ("a filter on many elements", Drop, &["keep $[?@.k == 'x'].v"], |n| array("{\"k\":\"x\",\"v\":1}", n)),
    ("a filter on one large element", Keep, &["drop $[?@.k == 1]"], |n| format!("[{{\"v\":{}}}]", array("[1]", n * 4))),
    ("the last of many elements", Keep, &["drop $[-1]"], |n| array("[1,2]", n * 2)),
    ("far from the end", Keep, &["drop $[-4000:].a"], |n| array("{\"a\":1}", n * 2)),
    ("a filter below ..", Keep, &["drop $..[?@.a]"], |n| array("{\"b\":[{\"a\":1}]}", n)),
    ("the last below ..", Keep, &["drop $..[-1]"], |n| array("[[1],[2]]", n)),
    ("the root in a filter", Keep, &["drop $[?@ == $[0]]"], |n| array("[1]", n)),
    ("a long name", Keep, &["drop $..[?@.a]"], |n| format!("{{\"{}\":1}}", "n".repeat(n * 8))),
    ("numbers of many digits", Keep, &["drop $[?@ > 1]"], |n| array(&"7".repeat(100), n / 4)),
];

/// Twice as long may cost 2.2 times as much; what is quadratic costs four times. Time is never exact, so that a shape has several tries.
#[test]
fn a_body_twice_as_long_costs_twice_as_much() {
    const PIECES: usize = 3_000;
    for (name, otherwise, rules, shape) in SHAPES {
        let limits =
            Limits { element_bytes: 1 << 22, name_bytes: 1 << 20, filter_steps: u64::MAX, ..Limits::default() };
        let program = limited(*otherwise, rules, limits);
        let (short, long) = (shape(PIECES), shape(2 * PIECES));
        let mut runs = 1;
        let mut ratios = Vec::new();
        let linear = (0..12).any(|_| {
            let mut before = cost(&program, short.as_bytes(), runs);
            while before < Duration::from_millis(48) {
                runs *= 2;
                before = cost(&program, short.as_bytes(), runs);
            }
            ratios.push(cost(&program, long.as_bytes(), runs).as_secs_f64() / before.as_secs_f64());
            ratios.last().is_some_and(|ratio| *ratio <= 2.2)
        });
        assert!(linear, "{name}: {ratios:.2?}");
    }
}
