//! The record of disclosures: an entry is durable before what it records may leave.
//!
//! JSON Lines in segment files; one writer thread, group commit: while one group is on its way to the disk the next one
//! gathers. Never a value from a body. Not here: tamper evidence, queries. The shape of the lines is in
//! `docs/record.md`. Start at [`Ledger::start`].
//!
//! ```text
//! open, record ──► queue ──► writer ──► ledger-20261124-000001.jsonl
//!        ▲                     │ one write, one sync
//!        └───── Receipt ◄──────┘
//! ```

pub mod entry;
mod queue;
mod recover;
mod segment;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::ids::ExchangeId;
use crate::telemetry::meters::LedgerMetrics;

use entry::{Close, Open};
use queue::Queue;
use segment::{Disk, Folder};
use writer::{Pacing, Writer};

/// How the record is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where segment files are.
    pub folder: PathBuf,
    /// What is promised.
    pub durability: Durability,
    /// A segment is closed before it passes this size. Default 256 MiB.
    pub segment_bytes: u64,
}

/// What a receipt promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The entry is on the disk.
    Strict,
    /// The entry is with the kernel, and on the disk within this time: a crash of the machine (not of the process) may
    /// lose the entries of so long a stretch, and the next start says so.
    Batched(Duration),
}

/// Why the record cannot be written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The writer met an I/O error, or is gone. The text names file and cause, never a value.
    #[error("ledger: {0}")]
    Unwritable(String),
}

/// What start-up found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of torn tails that were set aside into `….torn`.
    pub torn_bytes: u64,
    /// Lines in the midst of the last segment that cannot be read; they are left as they are.
    pub damaged_lines: u64,
    /// Exchanges that the last run opened and never closed: outcome unknown. Their ids are in the `start` line.
    pub unclosed: u64,
    /// The last stop was not an orderly one, and durability was `batched` (so that entries may be missing).
    pub maybe_lost: bool,
    /// Up to how many milliseconds of entries, then.
    pub maybe_lost_ms: u64,
}

/// The proof that an entry is durable. Only the ledger makes it.
#[derive(Debug)]
pub struct Receipt {
    exchange: ExchangeId,
}

/// A handle to the one writer; cheap to clone. When the last one goes without [`Ledger::stop`], what is queued is still
/// written.
#[derive(Clone)]
pub struct Ledger(Arc<Handle>);

struct Handle {
    queue: Arc<Queue>,
    clock: Clock,
}

impl Ledger {
    /// Opens the folder, mends a torn tail, starts the writer. `Err` where another process has the folder, or the
    /// `start` entry cannot be written.
    pub fn start(settings: Settings, clock: Clock) -> Result<(Self, Report), Error> {
        Self::start_measured(settings, clock, LedgerMetrics::default())
    }

    /// As [`Ledger::start`], and counts into `metrics`.
    pub fn start_measured(settings: Settings, clock: Clock, metrics: LedgerMetrics) -> Result<(Self, Report), Error> {
        Self::start_on(&settings, clock, metrics, Pacing::default(), |disk| Box::new(disk))
    }

    /// As [`Ledger::start_measured`], with a disk that `on` may put something before.
    fn start_on(
        settings: &Settings,
        clock: Clock,
        metrics: LedgerMetrics,
        pacing: Pacing,
        on: impl FnOnce(Disk) -> Box<dyn Folder>,
    ) -> Result<(Self, Report), Error> {
        let disk = Disk::open(&settings.folder).map_err(Error::Unwritable)?;
        let found = recover::mend(&disk).map_err(Error::Unwritable)?;
        let last = match found.last {
            Some((name, bytes)) => {
                let segment = disk.reopen(name).map_err(|error| Error::Unwritable(format!("`{name}`: {error}")))?;
                Some((name, bytes, segment))
            }
            None => None,
        };
        let lost = if found.orderly { None } else { found.batched_ms };
        let report = Report {
            torn_bytes: found.torn_bytes,
            damaged_lines: found.damaged_lines,
            unclosed: found.unclosed.len() as u64,
            maybe_lost: lost.is_some(),
            maybe_lost_ms: lost.unwrap_or_default(),
        };
        let mut line = Vec::new();
        entry::start_line(&mut line, clock.now(), settings.durability, &report, found.orderly, &found.unclosed);
        let mut writer = Writer::new(on(disk), last, found.previous, settings, pacing, clock.clone(), metrics);
        writer.line(&line).map_err(|error| Error::Unwritable(format!("cannot write the first entry: {error}")))?;
        Self::serve(writer, clock).map(|ledger| (ledger, report))
    }

    fn serve(writer: Writer, clock: Clock) -> Result<Self, Error> {
        let queue = Arc::new(Queue::new(writer));
        let serving = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || serving.serve())
            .map_err(|error| Error::Unwritable(format!("cannot start the writer: {error}")))?;
        Ok(Self(Arc::new(Handle { queue, clock })))
    }

    /// Appends an `open` entry; returns when it is durable. If the caller goes away first, the entry may stand with no
    /// disclosure; never the other way round.
    pub async fn open(&self, entry: Open) -> Result<Receipt, Error> {
        self.0.queue.append(Some(entry.exchange), |out| entry::open_line(out, &entry)).await?;
        Ok(Receipt { exchange: entry.exchange })
    }

    /// Appends one line with both halves; returns when it is durable.
    pub async fn record(&self, open: Open, close: Close<'_>) -> Result<Receipt, Error> {
        self.0.queue.append(None, |out| entry::exchange_line(out, &open, &close)).await?;
        Ok(Receipt { exchange: open.exchange })
    }

    /// Appends the `close` entry. Not waited for; written with the next group, and kept for the next try while the record
    /// cannot be written: as each needs a receipt, no more can wait than exchanges were open. After
    /// [`Ledger::record`] a close corrects what was foretold.
    pub fn close(&self, receipt: Receipt, close: Close<'_>) {
        let exchange = receipt.exchange;
        let time = self.0.clock.now();
        if !self.0.queue.close(exchange, |out| entry::close_line(out, exchange, time, &close)) {
            tracing::error!(%exchange, "the record ended before this exchange was closed in it");
        }
    }

    /// Appends a `foreign` entry. Not waited for, and nothing depends on it: while the record cannot be written, the log and
    /// the metrics alone have it.
    pub fn foreign(&self, foreign: entry::Foreign) {
        self.0.queue.note(|out| entry::foreign_line(out, &foreign));
    }

    /// Appends a `reveal` entry; returns when it is durable.
    ///
    /// # Errors
    /// It is not: then nothing may be told.
    pub async fn reveal(&self, reveal: &entry::Reveal) -> Result<(), Error> {
        self.0.queue.append(None, |out| entry::reveal_line(out, reveal)).await
    }

    /// As [`Ledger::foreign`], a `budget` entry.
    pub fn budget(&self, budget: entry::Budget) {
        self.0.queue.note(|out| entry::budget_line(out, &budget));
    }

    /// Whether the last write succeeded.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.0.queue.healthy()
    }

    /// Writes what is queued, marks an orderly stop, ends the writer. Entries that come later are refused.
    pub async fn stop(&self) {
        self.0.queue.stop().await;
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("healthy", &self.healthy()).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

#[cfg(test)]
mod tests;
