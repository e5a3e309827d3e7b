//! A real process that is killed while it writes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "TIDEGATE_TEST_CRASH_FOLDER";
const BATCHED: &str = "TIDEGATE_TEST_CRASH_BATCHED";
const ROUND: &str = "TIDEGATE_TEST_CRASH_ROUND";

/// Not a test of its own: what the killed process runs. Prints the id of each exchange once it has its receipt.
#[test]
fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let durability = match std::env::var_os(BATCHED) {
        Some(_) => Durability::Batched(Duration::from_millis(20)),
        None => Durability::Strict,
    };
    let settings = Settings { durability, segment_bytes: 20_000, ..settings(Path::new(&folder)) };
    let (ledger, _) = Ledger::start(settings, Clock::system()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..8u64 {
            let ledger = ledger.clone();
            callers.spawn(async move {
                for n in 0u64.. {
                    let mut open = an_open(0);
                    open.exchange = ExchangeId::new(round, u128::from(caller) << 64 | u128::from(n));
                    let receipt =
                        if n % 3 == 0 { ledger.open(open).await } else { ledger.record(open, a_close()).await };
                    let receipt = receipt.unwrap();
                    writeln!(std::io::stdout().lock(), "{}", receipt.exchange).unwrap();
                    if n % 3 == 0 {
                        ledger.close(receipt, a_close());
                    }
                }
            });
        }
        callers.join_all().await;
    });
}

fn check(batched: bool) {
    let folder = TempDir::new().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..4u64 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ledger::tests::crash::the_process_that_is_killed", "--nocapture"]);
        command.env(FOLDER, folder.path()).env(ROUND, round.to_string());
        if batched {
            command.env(BATCHED, "1");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut seen) = (String::new(), 0);
        while printed.read_line(&mut line).unwrap() > 0 {
            // What libtest prints beside is no id; a line that the kill cut short is none either.
            let id = line.strip_suffix('\n').filter(|id| id.len() == ExchangeId::LEN && !id.contains(' '));
            acknowledged.extend(id.map(str::to_owned));
            seen += 1;
            if seen == 100 + 150 * round {
                child.kill().unwrap();
            }
            line.clear();
        }
        assert!(!child.wait().unwrap().success());
        let durability = if batched { Durability::Batched(Duration::from_millis(20)) } else { Durability::Strict };
        let (ledger, report) =
            Ledger::start(Settings { durability, ..settings(folder.path()) }, Clock::system()).unwrap();
        run(ledger.stop());
        assert_eq!((report.maybe_lost, report.damaged_lines), (batched, 0));
        let entries = entries(folder.path());
        let missing: Vec<_> = acknowledged.difference(&entries).collect();
        assert!(missing.is_empty(), "round {round}: {} of {} missing", missing.len(), acknowledged.len());
    }
    assert!(acknowledged.len() > 1000);
}

#[test]
fn every_entry_that_was_acknowledged_before_a_kill_is_in_the_files() {
    check(false);
}

#[test]
fn a_kill_of_the_process_loses_nothing_when_batched_either() {
    check(true);
}
