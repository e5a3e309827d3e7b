//! What a disclosure costs in the record: CPU and time for an entry, by number of callers, on disk and on tmpfs.
//!
//! `cargo bench --bench ledger [-- SECONDS]`. CPU is that of this whole process (callers, writer, runtime), from
//! `/proc/self/task/*/schedstat`; so it counts the wake-ups, which cost more than the write.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise"
)]

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate::clock::Clock;
use tidegate::ids::{Direction, ExchangeId, PartnerId, RuleId};
use tidegate::ledger::entry::{Close, Disclosure, Open};
use tidegate::ledger::{Durability, Ledger, Settings};
use tidegate::verdict::Outcome;

/// On-CPU time of all threads of this process, from the scheduler.
fn cpu() -> Duration {
    let mut nanos = 0u64;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path().join("schedstat");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanos)
}

async fn caller(ledger: Ledger, clock: Clock, stop: Arc<AtomicBool>, seed: u64) -> (u64, Vec<u64>) {
    let (partner, policy) = (PartnerId::parse("parcelo").unwrap(), "0123456789abcdef0123456789abcdef");
    let of = Arc::new(Disclosure::new(&partner, "GET /v1/orders/{id}", Direction::Inbound, policy));
    let ids = ["order.id", "customer.id", "customer.email", "customer.phone", "customer.birth_date", "keep-1"];
    let rules = ids.map(|id| (RuleId::new(id), 1));
    let (mut count, mut times) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let time = clock.now();
        let open = Open {
            exchange: ExchangeId::new(time.0, u128::from(seed) << 64 | u128::from(count)),
            time,
            of: Arc::clone(&of),
        };
        let close = Close {
            rules: Cow::Borrowed(&rules),
            bytes_in: 1024,
            bytes_out: 700,
            status: 200,
            outcome: Outcome::Delivered,
        };
        let begun = Instant::now();
        ledger.record(open, close).await.unwrap();
        times.push(begun.elapsed().as_nanos() as u64);
        count += 1;
    }
    (count, times)
}

fn measure(what: &str, folder: &Path, durability: Durability, callers: u64, time: Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let clock = Clock::system();
    let settings = Settings { folder: folder.to_owned(), durability, segment_bytes: 256 << 20 };
    let (ledger, _) = Ledger::start(settings, clock.clone()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (cpu_before, begun) = (cpu(), Instant::now());
    let (count, mut times) = runtime.block_on(async {
        let tasks: Vec<_> =
            (0..callers).map(|n| tokio::spawn(caller(ledger.clone(), clock.clone(), stop.clone(), n))).collect();
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        let (mut count, mut times) = (0, Vec::new());
        for task in tasks {
            let (n, t) = task.await.unwrap();
            count += n;
            times.extend(t);
        }
        (count, times)
    });
    let (used, took) = (cpu() - cpu_before, begun.elapsed());
    runtime.block_on(ledger.stop());
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "{what:22} {callers:3} callers: {:9.0} entries/s  {:6.2} us CPU an entry  p50 {:8.1} us  p99 {:8.1} us",
        count as f64 / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / count as f64,
        at(0.5),
        at(0.99)
    );
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1.0);
    let time = Duration::from_secs_f64(seconds);
    let disk = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&disk).unwrap();
    for (place, parent) in [("tmpfs", Path::new("/dev/shm")), ("disk", &disk)] {
        if !parent.is_dir() {
            println!("{place}: skipped, no {}", parent.display());
            continue;
        }
        for (promise, durability) in
            [("strict", Durability::Strict), ("batched", Durability::Batched(Duration::from_millis(50)))]
        {
            for callers in [1, 8, 64] {
                let folder = tempfile::TempDir::new_in(parent).unwrap();
                measure(&format!("{place}, {promise}"), folder.path(), durability, callers, time);
            }
        }
    }
}
