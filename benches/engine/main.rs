//! The JSON engine, alone: MB/s (10^6 bytes of input a second) by policy and document, beside trees of values and a plain copy in the
//! same run.
//!
//! `cargo bench --bench engine [-- --quick]`. Each figure is the median over rounds in which all contenders take turns, by this
//! thread's CPU clock; the best round stands behind it. Each document is new to the engine: making and dropping a rewriter is in the figure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a bench may stop at the first surprise, and has no outside"
)]

mod contenders;
mod documents;
mod policies;

use std::hint::black_box;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use tidegate::json::automaton::Program;
use tidegate::json::window::Rewriter;

use contenders::ByValue;
use policies::{Act, Clerk, Policy, Vault};

/// A contender: a name, and one run over the document.
type Contender<'a> = (&'static str, Box<dyn FnMut(&[u8], &mut Vec<u8>) + 'a>);

/// Nanoseconds of this thread's CPU.
fn clock() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

struct Bench {
    rounds: usize,
    /// Nanoseconds of a round of one contender, at least.
    least: f64,
}

impl Bench {
    /// Nanoseconds a run of each contender: median and best.
    fn time(&self, body: &[u8], contenders: &mut [Contender<'_>]) -> Vec<(f64, f64)> {
        let mut times = vec![Vec::new(); contenders.len()];
        let mut out = Vec::new();
        for _ in 0..self.rounds {
            for (times, (_, run)) in times.iter_mut().zip(contenders.iter_mut()) {
                let (begun, mut runs) = (clock(), 0);
                let spent = loop {
                    run(body, &mut out);
                    runs += 1;
                    // A small document is run many times between two looks at the clock.
                    if runs % (1 + 20_000 / body.len()) == 0 {
                        let spent = clock() - begun;
                        if spent >= self.least {
                            break spent;
                        }
                    }
                };
                black_box(&out);
                times.push(spent / f64::from(runs as u32));
            }
        }
        let sorted = times.into_iter().map(|mut times| {
            times.sort_by(f64::total_cmp);
            (times[times.len() / 2], times[0])
        });
        sorted.collect()
    }

    fn print(&self, title: &str, body: &[u8], contenders: &mut [Contender<'_>]) {
        println!("{title}, {} bytes", body.len());
        let times = self.time(body, contenders);
        let first = times[0].0;
        for ((name, _), (median, best)) in contenders.iter().zip(times) {
            let rate = |nanos: f64| body.len() as f64 * 1e3 / nanos;
            let (a, b, times) = (rate(median), rate(best), median / first);
            println!("  {name:<28} {a:>9.0} MB/s  best {b:>9.0}  {median:>13.0} ns  time of the first x {times:.2}");
        }
    }
}

fn feed(program: &Arc<Program>, acts: &[Act], vault: &Vault, chunk: usize, body: &[u8], out: &mut Vec<u8>) {
    let mut clerk = Clerk { acts, vault };
    let mut rewriter = Rewriter::new(Arc::clone(program));
    out.clear();
    for piece in body.chunks(chunk) {
        rewriter.feed(piece, &mut clerk).unwrap();
        if chunk < body.len() {
            // As a stream goes out: what was written before is gone.
            out.clear();
            rewriter.splice(std::iter::empty(), out).unwrap();
        }
    }
    rewriter.finish(&mut clerk).unwrap();
    rewriter.splice(std::iter::empty(), out).unwrap();
}

fn engine<'a>(name: &'static str, policy: &'a Policy, vault: &'a Vault, chunk: usize) -> Contender<'a> {
    let program = policy.program();
    let acts: Vec<Act> = policy.rules.iter().map(|(act, _)| *act).collect();
    (name, Box::new(move |body, out| feed(&program, &acts, vault, chunk, body, out)))
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let bench = if quick { Bench { rounds: 3, least: 1e6 } } else { Bench { rounds: 15, least: 2e7 } };
    let (hashes, seals) = (Vault::hashes(), Vault::seals());
    let (block, allow, nothing, pass) = (policies::block(), policies::allow(), policies::nothing(), policies::pass());
    let (block_folded, nothing_folded) = (policies::block().folded(), policies::nothing().folded());
    let long =
        [("c, 10 rules", 10), ("c, 100 rules", 100), ("c, 1,000 rules", 1000)].map(|(n, r)| policies::long(n, r));
    let names = contenders::names(&block);
    let sizes: &[usize] = if quick { &[1 << 10, 256 << 10] } else { &[1 << 10, 16 << 10, 256 << 10, 10 << 20] };
    for size in sizes {
        let body = documents::dense(*size);
        let value = ByValue::new(&block);
        let mut all = vec![
            engine("a: drop, hash, mask", &block, &hashes, usize::MAX),
            engine("a, in chunks of 16 KiB", &block, &hashes, 16 << 10),
            engine("a', sealed tokens", &block, &seals, usize::MAX),
            engine("b: twelve fields", &allow, &hashes, usize::MAX),
            engine("d: nothing matches", &nothing, &hashes, usize::MAX),
            engine("no rules", &pass, &hashes, usize::MAX),
            engine("a, names folded", &block_folded, &hashes, usize::MAX),
            engine("d, names folded", &nothing_folded, &hashes, usize::MAX),
        ];
        all.extend(long.iter().map(|policy| engine(policy.name, policy, &hashes, usize::MAX)));
        all.push(("memcpy", Box::new(|body, out| body.clone_into(out))));
        all.push(("sonic-rs, a by names", Box::new(|body, out| contenders::by_sonic(&names, &hashes, body, out))));
        all.push(("simd-json, a by names", Box::new(|body, out| contenders::by_simd_json(&names, &hashes, body, out))));
        if *size <= 256 << 10 {
            all.push(("Value + jsonpath-rust, a", Box::new(|body, out| value.run(&hashes, body, out))));
        }
        bench.print("dense", &body, &mut all);
    }
    let size = 256 << 10;
    let others = [
        ("indented", documents::indented(size)),
        ("long text", documents::text(size)),
        ("base64", documents::base64(size)),
        ("numbers", documents::numbers(size)),
    ];
    let hostile = documents::hostile(size).into_iter().map(|document| (document.name, document.bytes));
    for (name, body) in others.into_iter().chain(hostile) {
        let mut all = [
            engine("a", &block, &hashes, usize::MAX),
            engine("b", &allow, &hashes, usize::MAX),
            engine("d", &nothing, &hashes, usize::MAX),
            engine("no rules", &pass, &hashes, usize::MAX),
            engine("a, names folded", &block_folded, &hashes, usize::MAX),
        ];
        bench.print(name, &body, &mut all);
    }
}
