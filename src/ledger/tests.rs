//! The record through its front door: receipts, torn tails, one process to a folder.

mod crash;
mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::clock::Time;
use crate::ids::{Direction, PartnerId, RuleId};
use crate::ledger::entry::Disclosure;
use crate::verdict::Outcome;

const DAY: u64 = 86_400_000;
const NOON: Time = Time(20_781 * DAY + DAY / 2);

fn settings(folder: &Path) -> Settings {
    Settings { folder: folder.to_owned(), durability: Durability::Strict, segment_bytes: 1 << 20 }
}

fn parcelo() -> PartnerId {
    PartnerId::parse("parcelo").unwrap()
}

fn an_open(n: u64) -> Open {
    Open {
        exchange: ExchangeId::new(n, 0),
        time: NOON,
        of: Arc::new(Disclosure::new(&parcelo(), "GET /v1/orders/{id}", Direction::Inbound, "sha256:ab")),
    }
}

fn a_close() -> Close<'static> {
    let rules = vec![(RuleId::new("customer.email"), 1)].into();
    Close { rules, bytes_in: 10, bytes_out: 5, status: 200, outcome: Outcome::Delivered }
}

/// A folder in memory where there is one: for tests that sync hundreds of times.
fn a_quick_folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// A runtime of one thread, as the tests need no more.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// All lines of all segments, in order; every one must be JSON.
fn lines(folder: &Path) -> Vec<Value> {
    let mut files = BTreeMap::new();
    for file in folder.read_dir().unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        if let Some(name) = segment::Name::parse(&name) {
            files.insert(name.number, std::fs::read(file.path()).unwrap());
        }
    }
    let text = String::from_utf8(files.into_values().flatten().collect()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(folder: &Path) -> Vec<String> {
    lines(folder).iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect()
}

/// The exchanges that have an entry.
fn entries(folder: &Path) -> BTreeSet<String> {
    let entries = lines(folder).into_iter().filter(|line| line["kind"] == "open" || line["kind"] == "exchange");
    entries.map(|line| line["exchange"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_receipt_means_that_the_entry_is_in_the_file() {
    let folder = TempDir::new().unwrap();
    let (ledger, report) = Ledger::start(settings(folder.path()), Clock::manual(NOON)).unwrap();
    assert_eq!(report, Report::default());
    run(async {
        let receipt = ledger.open(an_open(1)).await.unwrap();
        assert_eq!(entries(folder.path()).len(), 1);
        ledger.record(an_open(2), a_close()).await.unwrap();
        assert_eq!(entries(folder.path()).len(), 2);
        ledger.close(receipt, a_close());
        ledger.stop().await;
    });
    assert_eq!(kinds(folder.path()), ["segment", "start", "open", "exchange", "close", "stop"]);
    assert!(run(ledger.open(an_open(3))).is_err(), "nothing is recorded after the stop");
    assert!(!ledger.healthy());
}

#[test]
fn a_foreign_token_has_a_line_that_nobody_waits_for() {
    let folder = TempDir::new().unwrap();
    let (ledger, _) = Ledger::start(settings(folder.path()), Clock::manual(NOON)).unwrap();
    let open = an_open(1);
    ledger.foreign(entry::Foreign {
        exchange: open.exchange,
        time: NOON,
        partner: parcelo(),
        route: "GET /v1/orders/{id}".into(),
        direction: Direction::Inbound,
        issuer: crate::ids::DomainId::parse("admira").unwrap(),
        count: 2,
    });
    run(ledger.stop());
    assert_eq!(kinds(folder.path()), ["segment", "start", "foreign", "stop"]);
    let line = &lines(folder.path())[2];
    assert_eq!((line["issuer"].as_str(), line["count"].as_u64()), (Some("admira"), Some(2)), "{line}");
    assert_eq!(line["exchange"], open.exchange.to_string());
    // A start after it reads over it.
    let (again, report) = Ledger::start(settings(folder.path()), Clock::manual(NOON)).unwrap();
    assert_eq!(report, Report::default());
    run(again.stop());
}

/// The only segment of a folder.
fn segment(folder: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "jsonl"));
    assert_eq!(files.len(), 1);
    files.remove(0)
}

#[test]
fn a_tail_torn_at_any_byte_is_set_aside_and_told_of() {
    let folder = TempDir::new().unwrap();
    let clock = Clock::manual(NOON);
    let (ledger, _) = Ledger::start(settings(folder.path()), clock.clone()).unwrap();
    run(async {
        ledger.open(an_open(1)).await.unwrap();
        ledger.record(an_open(2), a_close()).await.unwrap();
        ledger.stop().await;
    });
    let whole = std::fs::read(segment(folder.path())).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let stop = text.find("{\"v\":1,\"kind\":\"stop\"").unwrap();
    let last = text.find("{\"v\":1,\"kind\":\"exchange\"").unwrap();
    for cut in last..stop {
        let folder = a_quick_folder();
        let file = folder.path().join("ledger-20261124-000001.jsonl");
        std::fs::write(&file, &whole[..cut]).unwrap();
        let (ledger, report) = Ledger::start(settings(folder.path()), clock.clone()).unwrap();
        run(ledger.stop());
        let torn = (cut - last) as u64;
        assert_eq!(report, Report { torn_bytes: torn, unclosed: 1, ..Report::default() }, "{cut}");
        assert_eq!(kinds(folder.path()), ["segment", "start", "open", "start", "stop"]);
        let start = &lines(folder.path())[3];
        assert_eq!((start["torn_bytes"].as_u64(), start["orderly"].as_bool()), (Some(torn), Some(false)));
        assert_eq!(start["unclosed"][0], ExchangeId::new(1, 0).to_string());
        let aside = folder.path().join("ledger-20261124-000001.jsonl.torn");
        assert_eq!(std::fs::read(aside).unwrap_or_default(), &whole[last..cut]);
    }
}

#[test]
fn a_tail_of_zeros_is_torn_and_a_damaged_line_before_whole_ones_stays() {
    let folder = TempDir::new().unwrap();
    let (ledger, _) = Ledger::start(settings(folder.path()), Clock::manual(NOON)).unwrap();
    run(ledger.record(an_open(1), a_close())).unwrap();
    run(ledger.stop());
    let mut bytes = std::fs::read(segment(folder.path())).unwrap();
    let start = String::from_utf8_lossy(&bytes).find("{\"v\":1,\"kind\":\"exchange\"").unwrap();
    bytes[start..start + 40].fill(0);
    bytes.extend([0; 100]);
    bytes.extend(b"\n{\n");
    std::fs::write(segment(folder.path()), &bytes).unwrap();
    let (ledger, report) = Ledger::start(settings(folder.path()), Clock::manual(NOON)).unwrap();
    run(ledger.stop());
    assert_eq!(report, Report { torn_bytes: 103, damaged_lines: 1, ..Report::default() });
    assert!(std::fs::read(segment(folder.path())).unwrap().starts_with(&bytes[..bytes.len() - 103]));
}

#[test]
fn one_folder_has_one_process_and_the_next_may_have_it_after_the_stop() {
    let folder = TempDir::new().unwrap();
    let (ledger, _) = Ledger::start(settings(folder.path()), Clock::system()).unwrap();
    let error = Ledger::start(settings(folder.path()), Clock::system()).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    run(ledger.stop());
    let (ledger, report) = Ledger::start(settings(folder.path()), Clock::system()).unwrap();
    assert_eq!(report, Report::default());
    run(ledger.stop());
}

#[test]
fn files_and_folder_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("deep/ledger");
    let (ledger, _) = Ledger::start(settings(&folder), Clock::system()).unwrap();
    run(ledger.stop());
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for file in folder.read_dir().unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_segment_is_followed_by_the_next_before_it_passes_its_size() {
    let folder = a_quick_folder();
    let settings = Settings { segment_bytes: 1500, ..settings(folder.path()) };
    let (ledger, _) = Ledger::start(settings.clone(), Clock::manual(NOON)).unwrap();
    run(async {
        let receipt = ledger.open(an_open(0)).await.unwrap();
        for n in 1..40 {
            ledger.record(an_open(n), a_close()).await.unwrap();
        }
        let lines = lines(folder.path());
        let last = lines.iter().rfind(|line| line["kind"] == "segment").unwrap();
        assert_eq!(last["open"][0], ExchangeId::new(0, 0).to_string(), "an exchange that is open is carried along");
        assert!(last["previous"].as_str().unwrap().starts_with("ledger-20261124-0000"));
        ledger.close(receipt, a_close());
        ledger.stop().await;
    });
    let mut segments = 0;
    for file in folder.path().read_dir().unwrap() {
        let file = file.unwrap();
        assert!(file.metadata().unwrap().len() <= 1500);
        segments += u32::from(file.file_name() != "lock");
    }
    assert!(segments > 10);
    assert_eq!(entries(folder.path()).len(), 40);
    let (ledger, report) = Ledger::start(settings, Clock::manual(NOON)).unwrap();
    run(ledger.stop());
    assert_eq!(report, Report::default());
}

#[test]
fn exchanges_that_were_opened_segments_ago_and_never_closed_are_told_once() {
    let folder = a_quick_folder();
    let settings = Settings { segment_bytes: 1500, ..settings(folder.path()) };
    let unclosed = |at_most: u64| {
        let (ledger, report) = Ledger::start(settings.clone(), Clock::manual(NOON)).unwrap();
        run(async {
            for n in 0..at_most {
                ledger.open(an_open(n)).await.unwrap();
            }
            for n in 100..130 {
                ledger.record(an_open(n), a_close()).await.unwrap();
            }
            ledger.stop().await;
        });
        report.unclosed
    };
    assert_eq!([unclosed(3), unclosed(0), unclosed(1), unclosed(0)], [0, 3, 0, 1]);
}

#[test]
fn a_new_day_begins_a_new_segment_and_a_clock_set_back_does_not() {
    let folder = TempDir::new().unwrap();
    let clock = Clock::manual(NOON);
    let (ledger, _) = Ledger::start(settings(folder.path()), clock.clone()).unwrap();
    run(async {
        for (n, day) in [(1, 0), (2, 1), (3, 0), (4, 1), (5, 2)] {
            clock.set(Time(NOON.0 + day * DAY));
            ledger.record(an_open(n), a_close()).await.unwrap();
        }
        ledger.stop().await;
    });
    let mut names: Vec<_> =
        folder.path().read_dir().unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected =
        ["ledger-20261124-000001.jsonl", "ledger-20261125-000002.jsonl", "ledger-20261126-000003.jsonl", "lock"];
    assert_eq!(names, expected);
    assert_eq!(entries(folder.path()).len(), 5);
}

#[test]
fn a_segment_that_a_crash_left_empty_follows_the_last_one_in_which_something_stands() {
    let folder = TempDir::new().unwrap();
    let start = || Ledger::start(settings(folder.path()), Clock::manual(NOON)).unwrap().0;
    run(start().stop());
    std::fs::write(folder.path().join("ledger-20261124-000002.jsonl"), b"").unwrap();
    run(start().stop());
    let lines = lines(folder.path());
    let last = lines.iter().rfind(|line| line["kind"] == "segment").unwrap();
    assert_eq!(last["previous"], "ledger-20261124-000001.jsonl");
}

#[test]
fn after_a_batched_run_that_did_not_stop_in_order_the_start_says_what_may_be_lost() {
    let folder = TempDir::new().unwrap();
    let batched = Durability::Batched(Duration::from_millis(50));
    let (ledger, _) =
        Ledger::start(Settings { durability: batched, ..settings(folder.path()) }, Clock::system()).unwrap();
    run(ledger.record(an_open(1), a_close())).unwrap();
    // As a crash leaves it.
    let crashed = std::fs::read(segment(folder.path())).unwrap();
    run(ledger.stop());
    let start = |bytes: Option<&[u8]>| {
        if let Some(bytes) = bytes {
            std::fs::write(segment(folder.path()), bytes).unwrap();
        }
        let (ledger, report) = Ledger::start(settings(folder.path()), Clock::system()).unwrap();
        run(ledger.stop());
        report
    };
    assert_eq!(start(None), Report::default(), "an orderly stop loses nothing");
    assert_eq!(start(Some(&crashed)), Report { maybe_lost: true, maybe_lost_ms: 50, ..Report::default() });
    assert_eq!(start(None), Report::default(), "it is told once");
}

#[test]
fn when_the_last_handle_goes_what_is_queued_is_written() {
    let folder = TempDir::new().unwrap();
    let (ledger, _) = Ledger::start(settings(folder.path()), Clock::system()).unwrap();
    let receipt = run(ledger.open(an_open(1))).unwrap();
    ledger.close(receipt, a_close());
    drop(ledger);
    let (ledger, report) = loop {
        match Ledger::start(settings(folder.path()), Clock::system()) {
            Ok(started) => break started,
            Err(_) => std::thread::yield_now(),
        }
    };
    run(ledger.stop());
    assert_eq!(report, Report::default());
    assert_eq!(kinds(folder.path()), ["segment", "start", "open", "close", "stop", "start", "stop"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_stands_in_the_last_segment_the_start_keeps_it_or_sets_it_aside(
        parts in proptest::collection::vec(proptest::prop_oneof![
            proptest::prelude::Just(b"{\"v\":1,\"kind\":\"open\",\"exchange\":\"A\"}\n".to_vec()),
            proptest::prelude::Just(b"{\"v\":1,\"kind\":\"stop\"}\n".to_vec()),
            proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
        ], 0..8)
    ) {
        let folder = a_quick_folder();
        let bytes = parts.concat();
        let file = folder.path().join("ledger-20261124-000001.jsonl");
        std::fs::write(&file, &bytes).unwrap();
        let (ledger, report) = Ledger::start(settings(folder.path()), Clock::manual(NOON)).unwrap();
        run(ledger.stop());
        let kept = bytes.len() - report.torn_bytes as usize;
        assert!(std::fs::read(&file).unwrap().starts_with(&bytes[..kept]));
        let aside = std::fs::read(folder.path().join("ledger-20261124-000001.jsonl.torn")).unwrap_or_default();
        assert_eq!(aside, &bytes[kept..]);
    }
}
