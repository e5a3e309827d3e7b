//! Bodies that are long, and events that come one by one: memory, throughput beside the same in short bodies, and how much later an event
//! comes than without a proxy.
//!
//! `cargo bench --bench proxy -- --streams[=GIB] [lines|array|events] [--quick]`: so many GiB of lines (10), a tenth of that as one array, at
//! least 1 GiB. Everything is made while it is sent. Start at [`measure`].

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::load::{self, Client};
use super::processes::Running;

/// What is measured.
pub struct Wanted<'a> {
    pub gibibytes: u64,
    /// Seconds, not minutes: bodies of 128 MiB and 100 events.
    pub quick: bool,
    /// Of `lines`, `array`, `events` only this.
    pub only: Option<&'a str>,
}

/// How much a proxy held at a time.
struct Sample {
    seconds: f64,
    kib: u64,
}

pub fn measure(folder: &Path, wanted: &Wanted<'_>) {
    let upstream = Running::role("upstream", None);
    let is_wanted = |kind: &str| wanted.only.is_none_or(|only| only == kind);
    let of = |gibibytes: u64| if wanted.quick { 128 } else { gibibytes * 1024 };
    let bodies = [("lines", "lines", of(wanted.gibibytes)), ("array", "stream", of((wanted.gibibytes / 10).max(1)))];
    let bodies: Vec<_> = bodies.into_iter().filter(|(kind, ..)| is_wanted(kind)).collect();
    if !bodies.is_empty() {
        println!("\nLong bodies, one at a time, in turns with bodies of 10 MiB:\n");
        println!(
            "| body | proxy | MB/s in bodies of 10 MiB | MB/s in one | of that | CPU ns a byte, short | long | peak RSS MiB before | after |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
    }
    let mut curves = Vec::new();
    for (kind, target, mebibytes) in bodies {
        for name in ["bare", "tidegate"] {
            let proxy = start(name, &folder.join(format!("{kind}-{name}")), &upstream);
            curves.push((format!("{kind}, {mebibytes} MiB, {name}"), long(&proxy, kind, name, target, mebibytes)));
        }
    }
    for (title, samples) in curves {
        curve(&title, &samples);
    }
    if is_wanted("events") {
        events(&upstream, folder, if wanted.quick { 100 } else { 2000 });
    }
}

fn start(name: &str, folder: &Path, upstream: &Running) -> Running {
    match name {
        "bare" => Running::role("bare", Some(upstream.address)),
        _ => Running::tidegate(
            Path::new(env!("CARGO_BIN_EXE_tidegate")),
            folder,
            upstream.address,
            &["ledger.durability=strict"],
        ),
    }
}

/// A row of the table; gives what the process held meanwhile.
fn long(proxy: &Running, kind: &str, name: &str, target: &str, mebibytes: u64) -> Vec<Sample> {
    // Half of the short bodies before the long one and half behind it, so that what else the machine does hits both.
    let mut client = Client::new(proxy.address, &format!("/{target}/10"));
    client.exchange();
    let mut short = |count: u64| {
        let (began, cpu) = (Instant::now(), proxy.cpu());
        (0..count).for_each(|_| {
            client.exchange();
        });
        (began.elapsed(), proxy.cpu() - cpu)
    };
    let count = (mebibytes / 80).clamp(6, 30);
    let first = short(count);
    let before = proxy.peak_kib();
    let (long, samples) = watched(proxy, || {
        let (began, cpu) = (Instant::now(), proxy.cpu());
        Client::new(proxy.address, &format!("/{target}/{mebibytes}")).exchange();
        (began.elapsed(), proxy.cpu() - cpu)
    });
    let after = proxy.peak_kib();
    let last = short(count);
    let rate = |mebibytes: u64, time: Duration| mebibytes as f64 * 1.048_576 / time.as_secs_f64();
    let nanos = |mebibytes: u64, cpu: Duration| cpu.as_nanos() as f64 / (mebibytes << 20) as f64;
    let (of_short, of_long) = (rate(20 * count, first.0 + last.0), rate(mebibytes, long.0));
    println!(
        "| {kind}, {mebibytes} MiB | {name} | {of_short:.0} | {of_long:.0} | {:.2} | {:.3} | {:.3} | {:.1} | {:.1} |",
        of_long / of_short,
        nanos(20 * count, first.1 + last.1),
        nanos(mebibytes, long.1),
        mib(before),
        mib(after),
    );
    samples
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Does it, and looks at the process each 100 ms meanwhile.
fn watched<T>(proxy: &Running, work: impl FnOnce() -> T) -> (T, Vec<Sample>) {
    let (began, done) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut samples = Vec::new();
            while !done.load(Ordering::Relaxed) {
                samples.push(Sample { seconds: began.elapsed().as_secs_f64(), kib: proxy.resident_kib() });
                std::thread::park_timeout(Duration::from_millis(100));
            }
            samples
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        (result, watch.join().expect("a watch"))
    })
}

/// At most a dozen of the samples, from the first to the last.
fn curve(title: &str, samples: &[Sample]) {
    let step = samples.len().div_ceil(12).max(1);
    let shown: Vec<_> = samples.iter().step_by(step).collect();
    let line =
        |cell: &dyn Fn(&Sample) -> String| shown.iter().map(|sample| cell(sample)).collect::<Vec<_>>().join(" | ");
    println!("\nMemory, {title}:\n");
    println!("| s | {} |", line(&|sample| format!("{:.1}", sample.seconds)));
    println!("|---|{}", "---|".repeat(shown.len()));
    println!("| MiB | {} |", line(&|sample| format!("{:.1}", mib(sample.kib))));
}

fn events(upstream: &Running, folder: &Path, count: u32) {
    println!(
        "\nFrom the moment at which upstream makes an event, every 2 ms, to the moment at which it is read, in us:\n"
    );
    println!("| proxy | events | p50 | p99 | max |\n|---|---|---|---|---|");
    let proxies = [
        ("none", None),
        ("bare", Some(start("bare", folder, upstream))),
        ("tidegate", Some(start("tidegate", &folder.join("events"), upstream))),
    ];
    // In turns, in four parts each.
    let addresses = proxies.map(|(name, proxy)| {
        let address = proxy.as_ref().map_or(upstream.address, |proxy| proxy.address);
        (name, address, proxy)
    });
    let mut all: Vec<_> = addresses.iter().map(|_| load::no_times()).collect();
    for _ in 0..4 {
        for ((_, address, _), all) in addresses.iter().zip(&mut all) {
            all.add(load::events(*address, &format!("/events/{}", count / 4))).expect("histograms of one shape");
        }
    }
    for ((name, ..), times) in addresses.iter().zip(&all) {
        let (p50, p99, max) = (times.value_at_quantile(0.5), times.value_at_quantile(0.99), times.max());
        println!("| {name} | {} | {p50} | {p99} | {max} |", times.len());
    }
}
