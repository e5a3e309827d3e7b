//! When a token makes us read the keys again, and what is known without that.
//!
//! A token may be of an epoch that another process began and of which this one was not told yet. Then the source is read
//! again: on a thread of its own, one reading at a time, at a beat that nobody's tokens set. Anybody can make a text that names an
//! unknown key, so such a text costs the one who sent it a wait, and nobody else anything: not a reading more, not a lock, and
//! nothing in how long one waits tells what others did. Start at [`Living`] for what is in memory and at [`Looks`] for readings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::ring::Ring;
use super::{Epoch, Epochs};

/// Readings begin at multiples of this time, if somebody waits for one.
const BEAT: Duration = Duration::from_millis(500);
/// Longest wait for a reading that begins after the asking: two beats, and what a slow source takes.
const PATIENCE: Duration = Duration::from_secs(3);
/// For so many beats a name that a reading did not find is no reason for another one.
const MISSED_BEATS: u64 = 20;
/// Such names that are remembered for a domain.
const MISSED_MAX: usize = 1024;

/// The beat, and the readings that were asked for.
#[derive(Debug)]
pub struct Looks {
    every: Duration,
    start: Instant,
    state: Mutex<Asked>,
    /// The number of the last reading that has ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Asked {
    /// Readings that have begun.
    begun: u64,
    /// The number of the last reading that somebody waits for.
    wanted: u64,
    /// A thread reads, or waits for the beat.
    running: bool,
}

impl Default for Looks {
    fn default() -> Self {
        Self::every(BEAT)
    }
}

impl Looks {
    /// With another beat.
    pub(super) fn every(every: Duration) -> Self {
        let every = every.max(Duration::from_micros(1));
        Self { every, start: Instant::now(), state: Mutex::default(), ended: watch::Sender::new(0) }
    }

    /// The number of the beat that it is.
    fn beat(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos() / self.every.as_nanos()).unwrap_or(u64::MAX)
    }

    fn until_next_beat(&self) -> Duration {
        let into = self.start.elapsed().as_nanos() % self.every.as_nanos();
        self.every.saturating_sub(Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX)))
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody who waited for a reading at that beat may wait for another one: whoever sends many unknown names in
    /// one body waits once.
    #[must_use]
    pub fn may_wait_again(&self, waited: Option<u64>) -> bool {
        waited.is_none_or(|beat| self.beat() >= beat.saturating_add(MISSED_BEATS))
    }
}

/// Asks for a reading that begins from now on; its number. Waits for nothing.
fn ask(ring: &Arc<Ring>) -> u64 {
    let mut asked = ring.looks.asked();
    let number = asked.begun + 1;
    asked.wanted = number;
    if !asked.running {
        let looking = Arc::clone(ring);
        let spawned = std::thread::Builder::new().name("keys".to_owned()).spawn(move || run(&looking));
        asked.running = spawned.is_ok();
    }
    number
}

/// Reads as long as somebody asks for it.
fn run(ring: &Ring) {
    let _idle = Idle(ring);
    loop {
        std::thread::sleep(ring.looks.until_next_beat());
        let number = {
            let mut asked = ring.looks.asked();
            asked.begun += 1;
            asked.begun
        };
        for error in ring.look() {
            tracing::warn!(cause = %error, "a token of an unknown epoch came, and the keys could not be read again");
        }
        ring.looks.ended.send_replace(number);
        let mut asked = ring.looks.asked();
        if asked.wanted <= asked.begun {
            asked.running = false;
            return;
        }
    }
}

/// Lets another thread read when this one has ended, in whatever way.
struct Idle<'a>(&'a Ring);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.looks.asked().running = false;
        }
    }
}

/// Waits until the source has been read by a reading that begins from now on, and not longer than a moment. Gives the beat at
/// which that was.
pub(super) async fn look(ring: &Arc<Ring>) -> u64 {
    let number = ask(ring);
    let mut ended = ring.looks.ended.subscribe();
    // Whether it came in time shows in what is known then.
    let _ = tokio::time::timeout(PATIENCE, ended.wait_for(|ended| *ended >= number)).await;
    ring.looks.beat()
}

/// The living epochs of one domain, as they are known now. Looking takes no lock and reads nothing.
#[derive(Debug)]
pub struct Living {
    epochs: ArcSwap<Epochs>,
    looks: Arc<Looks>,
    /// What a reading did not find, and at which beat.
    missed: Mutex<HashMap<Vec<u8>, u64>>,
}

impl Living {
    pub(super) fn new(epochs: Epochs, looks: &Arc<Looks>) -> Self {
        Self { epochs: ArcSwap::from_pointee(epochs), looks: Arc::clone(looks), missed: Mutex::default() }
    }

    pub(super) fn epochs(&self) -> Epochs {
        Epochs::clone(&self.epochs.load())
    }

    pub(super) fn set(&self, epochs: Epochs) {
        self.epochs.store(Arc::new(epochs));
    }

    /// The domain's epochs, if there are newer ones than `known`.
    #[must_use]
    pub fn newer(&self, known: Epoch) -> Option<Epochs> {
        let epochs = self.epochs.load();
        (epochs.first()?.epoch() > known).then(|| Epochs::clone(&epochs))
    }

    /// Remembers that a reading has not found the key of this name.
    pub fn miss(&self, name: &[u8]) {
        let beat = self.looks.beat();
        let mut missed = self.missed();
        if missed.len() >= MISSED_MAX {
            missed.retain(|_, at| at.saturating_add(MISSED_BEATS) > beat);
        }
        // Whoever fills it makes others of this partner wait, and nobody else.
        if missed.len() < MISSED_MAX {
            missed.insert(name.to_vec(), beat);
        }
    }

    /// Whether a reading just now has not found the key of this name.
    #[must_use]
    pub fn has_missed(&self, name: &[u8]) -> bool {
        self.missed().get(name).is_some_and(|at| at.saturating_add(MISSED_BEATS) > self.looks.beat())
    }

    fn missed(&self) -> MutexGuard<'_, HashMap<Vec<u8>, u64>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
