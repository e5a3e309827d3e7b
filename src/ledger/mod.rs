//! The record of disclosures: an entry is durable before what it records may leave.
//!
//! JSON Lines in segment files; one writer thread, group commit. Never a value from a body. Start at [`Ledger::start`].

pub mod entry;

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::ids::ExchangeId;
use entry::{Close, Open};

/// How the record is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where segment files are.
    pub folder: PathBuf,
    /// What is promised.
    pub durability: Durability,
    /// A segment is closed when it passes this size. Default 256 MiB.
    pub segment_bytes: u64,
}

/// What a receipt promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The entry is on the disk.
    Strict,
    /// The entry is with the kernel, and on the disk within this time: a crash of the machine may lose that much.
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
    /// Bytes of a torn tail that were set aside.
    pub torn_bytes: u64,
    /// Exchanges that were opened and never closed, in the last segment: outcome unknown.
    pub unclosed: u64,
    /// The last stop was not an orderly one, and durability was `batched` (so that entries may be missing).
    pub maybe_lost: bool,
}

/// The proof that an entry is durable. Only the ledger makes it.
#[derive(Debug)]
pub struct Receipt {
    #[allow(dead_code)]
    exchange: ExchangeId,
}

/// A handle to the one writer; cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {}

impl Ledger {
    /// Opens the folder, mends a torn tail, starts the writer.
    pub fn start(settings: Settings, clock: Clock) -> Result<(Self, Report), Error> {
        let _ = (settings, clock);
        todo!()
    }
    /// Appends an `open` entry; returns when it is durable.
    pub async fn open(&self, entry: Open) -> Result<Receipt, Error> {
        let _ = entry;
        todo!()
    }
    /// Appends one line with both halves; returns when it is durable.
    pub async fn record(&self, open: Open, close: Close) -> Result<Receipt, Error> {
        let _ = (open, close);
        todo!()
    }
    /// Appends the `close` entry. Not waited for; written with the next group.
    pub fn close(&self, receipt: Receipt, close: Close) {
        let _ = (receipt, close);
        todo!()
    }
    /// Whether the last write succeeded.
    pub fn healthy(&self) -> bool {
        todo!()
    }
    /// Writes what is queued, marks an orderly stop, ends the writer.
    pub async fn stop(&self) {
        todo!()
    }
}
