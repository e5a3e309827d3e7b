//! The one writer: writes all that waits with one call, syncs once, tells everyone.
//!
//! After any error of the disk the segment is given up: it is cut back to what was acknowledged and a new one is begun,
//! because a file whose sync has failed once may call lost pages clean. Not here: who writes, and when (`queue`). Start at
//! [`Writer::turn`].

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Time};
use crate::ids::ExchangeId;
use crate::telemetry::meters::LedgerMetrics;

use super::entry::{self, Gap};
use super::queue::Batch;
use super::segment::{Folder, Name, Segment};
use super::{Durability, Error, Settings};

/// What the writer makes of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacing {
    /// A commit that takes less, on average, is done by the caller: less than waking a thread costs, and no longer than a
    /// task may keep a runtime's thread to itself.
    pub quick: Duration,
    /// How long the writer waits before it tries the disk again by itself, with nobody asking: without this a process that
    /// is taken out of service because its record fails would never find out that the disk is well again.
    pub retry: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { quick: Duration::from_micros(50), retry: Duration::from_secs(1) }
    }
}

/// The segment that is being written.
struct Current {
    name: Name,
    segment: Box<dyn Segment>,
    /// Bytes that were acknowledged.
    acknowledged: u64,
}

/// Owns the folder.
pub(super) struct Writer {
    folder: Box<dyn Folder>,
    clock: Clock,
    durability: Durability,
    segment_bytes: u64,
    pacing: Pacing,
    metrics: LedgerMetrics,
    current: Option<Current>,
    /// The newest segment in which something stands.
    previous: Option<Name>,
    /// The newest number that was used; ahead of `previous` only by segments that could not be removed again.
    number: u64,
    /// Exchanges of this run that are open.
    open: BTreeSet<ExchangeId>,
    /// Since when acknowledged bytes wait for a sync (`batched`).
    unsynced: Option<Instant>,
    /// `Some` while the record cannot be written.
    gap: Option<Gap>,
    /// When to try again, then.
    retry: Option<Instant>,
    /// `close` lines that could not be written yet, and whose they are.
    kept: Vec<u8>,
    kept_closed: Vec<ExchangeId>,
    /// Reused for what goes before the entries.
    head: Vec<u8>,
    /// What is being written; empty between turns.
    batch: Batch,
    /// How long commits take: a moving average.
    pace: Duration,
    healthy: Arc<AtomicBool>,
}

/// So many names that are taken are passed over at one time.
const TAKEN_MAX: u64 = 64;

impl Writer {
    /// Goes on with `last` (a name and the bytes in it), where there is one. `previous` is the newest segment in which
    /// something stands.
    pub(super) fn new(
        folder: Box<dyn Folder>,
        last: Option<(Name, u64, Box<dyn Segment>)>,
        previous: Option<Name>,
        settings: &Settings,
        pacing: Pacing,
        clock: Clock,
        metrics: LedgerMetrics,
    ) -> Self {
        let number = last.as_ref().map_or(0, |last| last.0.number);
        let current = last.map(|(name, acknowledged, segment)| Current { name, segment, acknowledged });
        Self {
            folder,
            clock,
            durability: settings.durability,
            segment_bytes: settings.segment_bytes,
            pacing,
            metrics,
            current,
            previous,
            number,
            open: BTreeSet::new(),
            unsynced: None,
            gap: None,
            retry: None,
            kept: Vec::new(),
            kept_closed: Vec::new(),
            head: Vec::new(),
            batch: Batch::default(),
            pace: Duration::ZERO,
            healthy: Arc::default(),
        }
    }

    /// Set with every turn: whether the last write succeeded.
    pub(super) fn healthy(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.healthy)
    }

    /// What time it is.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Where to put what the next turn writes.
    pub(super) fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// What time it is, if a turn with `bytes` will most likely take no longer than a caller may be held: the disk is quick, and
    /// nothing but a write is due.
    pub(super) fn quick(&self, bytes: usize) -> Option<Time> {
        let bytes = (self.kept.len() + bytes) as u64;
        let now = self.clock.now();
        let roomy = |current: &Current| !self.full(current, bytes, now);
        let quick = self.pace < self.pacing.quick
            && self.gap.is_none()
            && self.current.as_ref().is_some_and(roomy)
            && self.unsynced.is_none_or(|since| since.elapsed() < self.within());
        quick.then_some(now)
    }

    /// Writes and acknowledges the batch; syncs or tries again where it is time.
    pub(super) fn turn(&mut self, now: Time) {
        let mut batch = std::mem::take(&mut self.batch);
        // Before the write: what is acknowledged below must not lengthen a stretch that is already due.
        if self.unsynced.is_some_and(|since| since.elapsed() >= self.within())
            && let Err(error) = self.sync()
        {
            self.fail(&error, 0);
        }
        self.kept.append(&mut batch.closes);
        self.kept_closed.append(&mut batch.closed);
        let entries = batch.waiters.len() as u64;
        if entries > 0 || !self.kept.is_empty() || self.gap.is_some() {
            let told = match self.commit(&batch.awaited, now) {
                Ok(()) => {
                    self.open.extend(batch.opened.drain(..));
                    for exchange in self.kept_closed.drain(..) {
                        self.open.remove(&exchange);
                    }
                    self.kept.clear();
                    self.metrics.entries.inc_by(entries);
                    Ok(())
                }
                Err(error) => {
                    self.fail(&error, entries);
                    Err(Error::Unwritable(error.to_string()))
                }
            };
            // Before anyone is told, so that whoever was refused finds the ledger unhealthy.
            self.tell_health();
            batch.waiters.drain(..).for_each(|waiter| waiter.tell(told.clone()));
        }
        batch.clear();
        self.batch = batch;
    }

    fn tell_health(&self) {
        let healthy = self.gap.is_none();
        self.healthy.store(healthy, Ordering::Release);
        self.metrics.healthy.set(i64::from(healthy));
    }

    /// Writes one line that nobody waits for, such as the `start`; the caller must not go on after an error.
    pub(super) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let begun = self.commit(line, self.now()).map(|()| self.tell_health());
        begun.and_then(|()| self.sync())
    }

    /// Kept closes, then `awaited`, with one write; durable as far as was promised.
    fn commit(&mut self, awaited: &[u8], now: Time) -> io::Result<()> {
        self.head.clear();
        self.rotate(now, (self.kept.len() + awaited.len()) as u64)?;
        let Some(current) = &mut self.current else { return Err(io::Error::other("no segment")) };
        if let Some(gap) = &self.gap {
            entry::recovered_line(&mut self.head, now, gap);
        }
        let bytes = if self.head.is_empty() && self.kept.is_empty() {
            awaited
        } else {
            self.head.extend_from_slice(&self.kept);
            self.head.extend_from_slice(awaited);
            &self.head
        };
        let begun = Instant::now();
        current.segment.append(bytes)?;
        let strict = self.durability == Durability::Strict;
        if strict {
            current.segment.sync()?;
        } else {
            self.unsynced.get_or_insert(begun);
        }
        let took = begun.elapsed();
        if strict {
            self.metrics.sync_seconds.observe(took.as_secs_f64());
        }
        self.pace = if self.pace.is_zero() { took } else { (self.pace * 7 + took) / 8 };
        current.acknowledged += bytes.len() as u64;
        self.previous = Some(current.name);
        self.metrics.commits.inc();
        self.metrics.bytes.inc_by(bytes.len() as u64);
        self.retry = None;
        if let Some(gap) = self.gap.take() {
            tracing::info!(refused = gap.refused, "the record can be written again");
        }
        Ok(())
    }

    /// Sees to it that there is a segment with room, of today; a new one gets its first line into `head`.
    fn rotate(&mut self, now: Time, bytes: u64) -> io::Result<()> {
        let today = now.0 / 86_400_000;
        if self.current.as_ref().is_some_and(|current| self.full(current, bytes, now)) {
            self.sync()?;
            self.current = None;
        }
        if self.current.is_none() {
            self.current = Some(self.create(today)?);
        }
        if self.current.as_ref().is_some_and(|current| current.acknowledged == 0) {
            let previous = self.previous.map(|name| name.to_string());
            let open = self.open.iter().copied();
            entry::segment_line(&mut self.head, now, previous.as_deref(), self.durability, open);
        }
        Ok(())
    }

    /// A new segment. A name that is taken is one that was made and could be neither used nor removed: it stays, empty.
    fn create(&mut self, day: u64) -> io::Result<Current> {
        let mut taken = 0;
        loop {
            let name = Name { day, number: self.number.saturating_add(1 + taken) };
            match self.folder.create(name) {
                Ok(segment) => {
                    self.number = name.number;
                    return Ok(Current { name, segment, acknowledged: 0 });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && taken < TAKEN_MAX => taken += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a segment has no room for `bytes`, or is of another day. A day that lies back is a clock that was set back: no
    /// reason for a new segment.
    fn full(&self, current: &Current, bytes: u64, now: Time) -> bool {
        let fits = current.acknowledged.saturating_add(bytes) <= self.segment_bytes;
        current.acknowledged > 0 && (!fits || now.0 / 86_400_000 > current.name.day)
    }

    /// Makes everything that was acknowledged durable (`strict`: it is).
    fn sync(&mut self) -> io::Result<()> {
        if let (Some(current), Some(_)) = (&mut self.current, self.unsynced) {
            let begun = Instant::now();
            current.segment.sync()?;
            self.metrics.sync_seconds.observe(begun.elapsed().as_secs_f64());
        }
        self.unsynced = None;
        Ok(())
    }

    /// Gives the current segment up: cut back to what was acknowledged, and never written again.
    fn fail(&mut self, error: &io::Error, refused: u64) {
        self.metrics.failures.inc();
        if self.gap.is_none() {
            tracing::error!(cause = %error, "the record cannot be written: nothing is shared until it can");
        }
        let mut gap = self.gap.take().unwrap_or_default();
        gap.refused += refused;
        gap.maybe_lost |= self.unsynced.take().is_some();
        if let Some(Current { name, mut segment, acknowledged }) = self.current.take() {
            let cut = segment.cut(acknowledged);
            drop(segment);
            // Without this a full disk would collect one empty file with each try.
            let removed = acknowledged == 0 && self.folder.remove(name).is_ok();
            if removed {
                self.number = self.number.saturating_sub(1);
            } else if let Err(error) = cut {
                tracing::error!(segment = %name, cause = %error, "a segment cannot be cut back: it may hold entries that were refused");
                if gap.uncut.len() < Gap::UNCUT_MAX {
                    gap.uncut.push(name.to_string());
                }
            }
        }
        self.gap = Some(gap);
        self.retry = Some(Instant::now() + self.pacing.retry);
    }

    /// After how long a turn is due although nothing waits. `None`: never.
    pub(super) fn patience(&self) -> Option<Duration> {
        let due = self.retry.or_else(|| self.unsynced.map(|since| since + self.within()));
        due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    fn within(&self) -> Duration {
        match self.durability {
            Durability::Strict => Duration::ZERO,
            Durability::Batched(within) => within,
        }
    }

    /// Writes the last line.
    pub(super) fn stop(mut self: Box<Self>) {
        let mut line = Vec::new();
        entry::stop_line(&mut line, self.clock.now(), self.open.len());
        if let Err(error) = self.line(&line) {
            tracing::error!(cause = %error, closes = self.kept_closed.len(), "the record could not be closed in order");
        }
    }
}
