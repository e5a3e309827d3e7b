//! What an exchange costs: Tidegate beside a bare hyper proxy and a proxy on `serde_json::Value`, over loopback, in one run.
//!
//! `cargo bench --bench proxy`, with `-- --quick` for a look, with `-- --streams` for long bodies and events. Each proxy is a process of its own; they take turns. What is
//! measured and how is in `docs/performance.md`. Start at [`measure`].

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a bench may stop at the first surprise, and prints"
)]

mod load;
mod processes;
mod roles;
mod streams;

use std::path::{Path, PathBuf};
use std::time::Duration;

use processes::Running;

/// The partner's key.
const KEY: &str = "bench";

/// Name, bytes, and requests per second in the runs at a fixed rate.
const SIZES: &[(&str, usize, u32)] =
    &[("1KiB", 1 << 10, 2000), ("16KiB", 16 << 10, 500), ("256KiB", 256 << 10, 30), ("10MiB", 10 << 20, 1)];

/// What the policy keeps.
const KEPT: &[&str] = &[
    "$.page",
    "$.orders[*].status",
    "$.orders[*].total",
    "$.orders[*].customer.name",
    "$.orders[*].items[*].sku",
    "$.orders[*].items[*].quantity",
];

/// What it tokenizes.
const TOKENS: &[&str] = &["$.orders[*].id", "$.orders[*].customer.id"];

/// What the options say.
struct Options {
    quick: bool,
    /// CPU per exchange only.
    cpu: bool,
    only: Option<String>,
    /// Open at once in the closed loop; two where the body is longer than 1 MiB.
    connections: usize,
    /// Only bare hyper and Tidegate with its record in memory: to compare builds.
    memory: bool,
    /// Other builds of the program, to be measured in turns with this one.
    beside: Vec<PathBuf>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--role", role] => roles::play(role, None),
        ["--role", role, upstream] => roles::play(role, Some(upstream.parse().expect("an address"))),
        words => {
            let quick = words.contains(&"--quick");
            let only = words.iter().find(|word| !word.starts_with("--")).copied();
            if let Some(number) = words.iter().find_map(|word| word.strip_prefix("--streams")) {
                let gibibytes = number.strip_prefix('=').map_or(10, |number| number.parse().expect("a number"));
                let wanted = streams::Wanted { gibibytes, quick, only };
                return streams::measure(tempfile::tempdir_in(target()).expect("a folder on disk").path(), &wanted);
            }
            let cpu = words.contains(&"--cpu");
            let memory = words.contains(&"--memory");
            let only = only.map(str::to_owned);
            let beside = words.iter().filter_map(|word| word.strip_prefix("--beside=")).map(PathBuf::from).collect();
            let connections = words.iter().find_map(|word| word.strip_prefix("--connections="));
            let connections = connections.map_or(8, |number| number.parse().expect("a number"));
            measure(&Options { quick, cpu, only, connections, memory, beside });
        }
    }
}

/// Everything, round by round, and the tables.
fn measure(options: &Options) {
    let upstream = Running::role("upstream", None);
    let disk = tempfile::tempdir_in(target()).expect("a folder on disk");
    // Where there is no tmpfs the column says what another folder on disk costs.
    let shared_memory = Path::new("/dev/shm");
    let shared_memory = if shared_memory.is_dir() { shared_memory.to_owned() } else { target() };
    let memory = tempfile::tempdir_in(shared_memory).expect("a folder in memory");
    let strict = ["ledger.durability=strict"];
    let batched = ["ledger.durability=batched"];
    let at = Some(upstream.address);
    let own = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let mut proxies = vec![
        ("bare".to_owned(), Running::role("bare", at)),
        ("value".to_owned(), Running::role("value", at)),
        ("tidegate tmpfs".to_owned(), Running::tidegate(own, &memory.path().join("strict"), upstream.address, &strict)),
        ("tidegate disk".to_owned(), Running::tidegate(own, &disk.path().join("strict"), upstream.address, &strict)),
        (
            "tidegate disk, batched".to_owned(),
            Running::tidegate(own, &disk.path().join("batched"), upstream.address, &batched),
        ),
    ];
    let one = [strict[0], "limits.threads=1"];
    proxies.push((
        "tidegate tmpfs, one thread".to_owned(),
        Running::tidegate(own, &memory.path().join("one"), upstream.address, &one),
    ));
    for (n, program) in options.beside.iter().enumerate() {
        let folder = memory.path().join(format!("beside-{n}"));
        proxies.push((
            format!("{} tmpfs", program.display()),
            Running::tidegate(program, &folder, upstream.address, &strict),
        ));
    }
    if options.memory {
        proxies.retain(|(name, _)| name == "bare" || name.contains("tmpfs"));
    }
    let (rounds, time) = if options.quick { (1, 400) } else { (5, 2000) };
    let time = Duration::from_millis(time);

    let connections = options.connections;
    println!(
        "\nCPU of the proxy's process per exchange, closed loop, {connections} connections, {rounds} rounds of {time:?}:\n"
    );
    println!("| body | proxy | CPU us | of bare | of value | exchanges/s |\n|---|---|---|---|---|---|");
    for (size, bytes, _) in sizes(options) {
        let target = format!("/orders/{size}");
        let connections = if *bytes > 1 << 20 { 2 } else { options.connections };
        for (_, proxy) in &proxies {
            load::closed(proxy.address, &target, connections, time / 8);
        }
        let mut sums = vec![(0_u64, Duration::ZERO, Duration::ZERO); proxies.len()];
        for _ in 0..rounds {
            for ((_, proxy), sum) in proxies.iter().zip(&mut sums) {
                let (began, cpu) = (std::time::Instant::now(), proxy.cpu());
                let (done, _) = load::closed(proxy.address, &target, connections, time);
                *sum = (sum.0 + done, sum.1 + (proxy.cpu() - cpu), sum.2 + began.elapsed());
            }
        }
        let value = proxies.iter().position(|(name, _)| name == "value");
        let micros = |n: usize| sums[n].1.as_secs_f64() * 1e6 / sums[n].0.max(1) as f64;
        for (n, (name, _)) in proxies.iter().enumerate() {
            let (done, _, wall) = sums[n];
            let (own, bare) = (micros(n), micros(0));
            let of_value = value.map_or_else(|| "-".to_owned(), |n| format!("{:.2}", own / micros(n)));
            let per_second = done as f64 / wall.as_secs_f64();
            println!("| {size} | {name} | {own:.1} | {:.2} | {of_value} | {per_second:.0} |", own / bare);
        }
    }

    if options.cpu {
        return;
    }

    let fixed_time = Duration::from_secs(if options.quick { 1 } else { 6 });
    println!("\nFrom the moment a request was due to the end of its reply, at a fixed rate, in ms:\n");
    println!("| body | rate/s | proxy | p50 | p99 | max |\n|---|---|---|---|---|---|");
    for (size, _, rate) in sizes(options) {
        for (name, proxy) in &proxies {
            let target = format!("/orders/{size}");
            let times = load::fixed(proxy.address, &target, 16, *rate, fixed_time);
            let ms = |value: u64| value as f64 / 1000.0;
            let (p50, p99, max) = (times.value_at_quantile(0.5), times.value_at_quantile(0.99), times.max());
            println!("| {size} | {rate} | {name} | {:.2} | {:.2} | {:.2} |", ms(p50), ms(p99), ms(max));
        }
    }

    let mebibytes = if options.quick { 128 } else { 1024 };
    println!("\nOne body of {mebibytes} MiB, streamed:\n");
    println!("| proxy | seconds | MB/s | bytes out | peak RSS MiB before | after |\n|---|---|---|---|---|---|");
    let fresh = Running::tidegate(own, &disk.path().join("stream"), upstream.address, &strict);
    let bare = Running::role("bare", at);
    for (name, proxy) in [("bare", &bare), ("tidegate disk", &fresh)] {
        let before = proxy.peak_kib();
        let began = std::time::Instant::now();
        let out = load::Client::new(proxy.address, &format!("/stream/{mebibytes}")).exchange();
        let seconds = began.elapsed().as_secs_f64();
        let (before, after) = (before as f64 / 1024.0, proxy.peak_kib() as f64 / 1024.0);
        let rate = mebibytes as f64 * 1.048_576 / seconds;
        println!("| {name} | {seconds:.2} | {rate:.0} | {out} | {before:.1} | {after:.1} |");
    }
}

fn sizes(options: &Options) -> impl Iterator<Item = &'static (&'static str, usize, u32)> {
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name == only);
    let quick = options.quick;
    SIZES.iter().filter(move |(_, bytes, _)| !quick || *bytes <= 256 << 10).filter(move |(name, ..)| wanted(name))
}

/// A folder on the disk that the build uses.
fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}
