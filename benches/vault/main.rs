//! The vault's stores against their goals: new values, known values, tokens, size, and opening after a kill.
//!
//! ```sh
//! cargo bench --bench vault                        # briefly
//! cargo bench --bench vault -- --full              # a million tokens
//! cargo bench --bench vault -- --tokens 10000000   # as many as that
//! cargo bench --bench vault -- --postgres          # over PostgreSQL, with the same options
//! cargo bench --bench vault -- --redis             # over Redis, with the same options; `--cluster`: over three of them
//! ```
//!
//! Files are in the target folder, or in `$TIDEGATE_BENCH_FOLDER`. 64 exchanges at once, each with one value, each answer durable. Times are from the question to the answer, in a closed loop.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

#[cfg(feature = "postgres")]
mod postgres;
mod redis;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tidegate::vault::store::embedded::{Embedded, Settings};
use tidegate::vault::store::{Entry, Spelling, TokenStore};

/// Exchanges at once.
const CLIENTS: u64 = 64;
/// Values in one call while the store is filled.
const BATCH: u64 = 500;

#[derive(Clone, Copy)]
struct Plan {
    tokens: u64,
    time: Duration,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| arguments.iter().position(|one| one == name).and_then(|at| arguments.get(at + 1));
    let mut plan = Plan { tokens: 50_000, time: Duration::from_millis(1500) };
    if arguments.iter().any(|one| one == "--full") {
        plan = Plan { tokens: 1_000_000, time: Duration::from_secs(8) };
    }
    if let Some(tokens) = after("--tokens") {
        plan = Plan { tokens: tokens.parse().expect("a number"), time: Duration::from_secs(8) };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match after("--child") {
        Some(folder) => runtime.block_on(child(folder.as_ref(), plan)),
        #[cfg(feature = "postgres")]
        None if arguments.iter().any(|one| one == "--postgres") => runtime.block_on(postgres::bench(plan)),
        None if arguments.iter().any(|one| one == "--redis") => runtime.block_on(redis::bench(plan, false)),
        None if arguments.iter().any(|one| one == "--cluster") => runtime.block_on(redis::bench(plan, true)),
        None => runtime.block_on(bench(plan)),
    }
}

fn settings(folder: &Path, cache_bytes: usize) -> Settings {
    Settings { folder: folder.join("vault"), cache_bytes, patience: Duration::from_secs(60) }
}

async fn open(folder: &Path, cache_bytes: usize) -> Arc<dyn TokenStore> {
    let settings = settings(folder, cache_bytes);
    Arc::new(tokio::task::spawn_blocking(move || Embedded::open(&settings).unwrap()).await.unwrap())
}

/// Bytes that a number leads to.
fn bytes<const N: usize>(number: u64, salt: u64) -> [u8; N] {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mut out = [0; N];
    for chunk in out.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
    }
    out
}

fn token(number: u64) -> [u8; 16] {
    bytes(number, 2)
}

/// A value of up to 31 bytes, sealed; one in four is a person's.
fn entry(number: u64) -> Entry {
    Entry {
        digest: bytes(number, 1),
        token: token(number),
        domain: bytes(number % 3, 3),
        epoch: 1,
        spelling: Spelling::Opaque,
        sealed: bytes::<48>(number, 4).to_vec(),
        subjects: if number.is_multiple_of(4) { vec![bytes(number / 16, 5)] } else { vec![] },
        issued_ms: 1_700_000_000_000 + number,
        ends_ms: None,
    }
}

/// Puts the entries from `first` on, some batches at once.
async fn fill(store: &Arc<dyn TokenStore>, first: u64, count: u64) -> Duration {
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(first)));
    let tasks = (0..4).map(|_| {
        let (store, next) = (Arc::clone(store), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let from = next.fetch_add(BATCH, Ordering::Relaxed);
                if from >= first + count {
                    return;
                }
                let batch: Vec<_> = (from..(from + BATCH).min(first + count)).map(entry).collect();
                store.put_if_absent(&batch).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    began.elapsed()
}

#[derive(Clone, Copy)]
enum Act {
    Put,
    Find,
}

/// All clients at once, each with one value a call; `pick` says which one for the n-th call.
async fn load(name: &str, store: &Arc<dyn TokenStore>, time: Duration, act: Act, pick: fn(u64, u64) -> u64, of: u64) {
    let (began, next, cpu) = (Instant::now(), Arc::new(AtomicU64::new(0)), cpu_time());
    let tasks = (0..CLIENTS).map(|_| {
        let (store, next) = (Arc::clone(store), Arc::clone(&next));
        tokio::spawn(async move {
            let mut times = Histogram::<u64>::new(3).unwrap();
            while began.elapsed() < time {
                let number = pick(next.fetch_add(1, Ordering::Relaxed), of);
                let asked = Instant::now();
                match act {
                    Act::Put => {
                        let tokens = store.put_if_absent(&[entry(number)]).await.unwrap();
                        assert_eq!(tokens, [token(number)]);
                    }
                    Act::Find => assert!(store.find(&[token(number)]).await.unwrap()[0].is_some()),
                }
                times.record(u64::try_from(asked.elapsed().as_nanos()).unwrap()).unwrap();
            }
            times
        })
    });
    let mut times = Histogram::<u64>::new(3).unwrap();
    for task in tasks.collect::<Vec<_>>() {
        times.add(task.await.unwrap()).unwrap();
    }
    let (rate, ms) =
        (rate(times.len(), began.elapsed()), |q| Duration::from_nanos(times.value_at_quantile(q)).as_secs_f64() * 1e3);
    let cpu = (cpu_time() - cpu).as_secs_f64() * 1e6 / times.len() as f64;
    println!("| {name} | {rate} | {:.3} | {:.3} | {:.3} | {cpu:.1} |", ms(0.5), ms(0.99), ms(0.999));
}

/// What this process has been on a processor, all its threads, those that have ended too. In steps of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which is in brackets: fields 14 and 15 of all.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

fn rate(count: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000_000 / time.as_nanos().max(1)).unwrap()
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { used(&entry.path()) }).sum()
}

/// What a file takes on the disk: a journal is reserved in advance.
fn used(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| std::os::unix::fs::MetadataExt::blocks(&file) * 512)
}

/// A sync of the disk beside, as what all else is to be seen by.
fn sync_time(folder: &Path) -> Duration {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("sync")).unwrap();
    let mut times: Vec<_> = (0..100)
        .map(|_| {
            file.write_all(&[7; 16 << 10]).unwrap();
            let began = Instant::now();
            file.sync_data().unwrap();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[50]
}

/// Fills a store, says so, and puts on until it is killed.
async fn child(folder: &Path, plan: Plan) {
    let store = open(folder, 64 << 20).await;
    let took = fill(&store, 0, plan.tokens).await;
    println!("filled {}", rate(plan.tokens, took));
    fill(&store, u64::MAX / 2, u64::MAX / 4).await;
}

async fn bench(plan: Plan) {
    let folder = tempfile::tempdir_in(
        std::env::var_os("TIDEGATE_BENCH_FOLDER").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into()),
    )
    .unwrap();
    let path = folder.path();
    println!("embedded: {} tokens; a sync of 16 KiB beside: {:?}", plan.tokens, sync_time(path));
    let mut filling = Command::new(std::env::current_exe().unwrap());
    filling.args(["--child", &path.display().to_string(), "--tokens", &plan.tokens.to_string()]);
    let mut filling = filling.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(filling.stdout.take().unwrap()).read_line(&mut line).unwrap();
    filling.kill().unwrap();
    filling.wait().unwrap();
    println!("{} a second in batches of {BATCH}, then killed", line.trim());
    let (began, cpu) = (Instant::now(), cpu_time());
    let store = open(path, 1 << 20).await;
    let (took, cpu) = (began.elapsed(), cpu_time() - cpu);
    println!("opened after the kill in {took:?} (CPU {cpu:?}); {} bytes a token on the disk", size(path) / plan.tokens);
    println!("\n| what | a second | p50 ms | p99 ms | p99.9 ms | CPU µs each |\n|---|---|---|---|---|---|");
    let spread: fn(u64, u64) -> u64 = |n, of| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % of;
    load("find, from the store", &store, plan.time, Act::Find, spread, plan.tokens).await;
    load("known value, from the store", &store, plan.time, Act::Put, spread, plan.tokens).await;
    drop(store);
    let store = open(path, 256 << 20).await;
    load("new value", &store, plan.time, Act::Put, |n, of| of + n, u64::MAX / 8).await;
    let few = plan.tokens.min(20_000);
    for number in 0..few {
        store.find(&[token(number)]).await.unwrap();
    }
    let all: Vec<_> = (0..few).map(entry).collect();
    store.put_if_absent(&all).await.unwrap();
    load("find, from the cache", &store, plan.time, Act::Find, spread, few).await;
    load("known value, from the cache", &store, plan.time, Act::Put, spread, few).await;
    println!("{} bytes a token on the disk at the end", size(path) / plan.tokens);
}
