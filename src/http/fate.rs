//! What became of the bytes of an answer that was handed to a connection.
//!
//! A connection takes a whole answer at once and writes it when it can, so that whoever answered is done long before. A [`Fate`] goes
//! with the answer; asked when the last of its bytes is gone, it says whether they were written or lost. What a socket's buffer holds
//! counts as written, and over HTTP/2 also what the connection had taken when the peer ended it. Start at [`Fate::lost`].

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

/// Why bytes were lost that a connection had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The peer took them too slowly.
    Slow,
    /// The peer went away, or did not want them.
    Gone,
    /// We ended the connection.
    Cut,
}

/// How a connection ended; nothing while it lives, or ended well.
#[derive(Debug, Default)]
pub(super) struct Ended(AtomicU8);

const SLOW: u8 = 1;
const GONE: u8 = 2;
const CUT: u8 = 3;
const WELL: u8 = 4;

impl Ended {
    /// Ends it; what was said first stays.
    pub(super) fn by(&self, lost: Lost) {
        let word = match lost {
            Lost::Slow => SLOW,
            Lost::Gone => GONE,
            Lost::Cut => CUT,
        };
        self.with(word);
    }

    /// It ended by itself. What it still holds then has been written, as far as can be known.
    pub(super) fn well(&self) {
        self.with(WELL);
    }

    fn with(&self, word: u8) {
        let _ = self.0.compare_exchange(0, word, Ordering::AcqRel, Ordering::Acquire);
    }

    fn lost(&self) -> Option<Lost> {
        match self.0.load(Ordering::Acquire) {
            SLOW => Some(Lost::Slow),
            GONE => Some(Lost::Gone),
            CUT => Some(Lost::Cut),
            _ => None,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fate {
    connection: OnceLock<Arc<Ended>>,
    /// The connection asked for no more of it before its end.
    left: AtomicBool,
}

impl Fate {
    /// This connection has it now.
    pub(super) fn bind(&self, connection: &Arc<Ended>) {
        let _ = self.connection.set(Arc::clone(connection));
    }

    /// The connection wants no more of it, though there is more.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    /// To be asked when the last byte is gone: why it was lost. `None`: it was written.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        let Some(connection) = self.connection.get() else { return Some(Lost::Gone) };
        connection.lost().or_else(|| self.left.load(Ordering::Acquire).then_some(Lost::Gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_lost_with_their_connection_or_before_one_has_them() {
        let fate = || (Fate::default(), Arc::new(Ended::default()));
        assert_eq!(Fate::default().lost(), Some(Lost::Gone), "no connection ever had it");
        let (whole, connection) = fate();
        whole.bind(&connection);
        assert_eq!(whole.lost(), None);
        connection.by(Lost::Slow);
        connection.by(Lost::Cut);
        assert_eq!(whole.lost(), Some(Lost::Slow), "what came first");
        let (left, connection) = fate();
        left.bind(&connection);
        left.leave();
        assert_eq!(left.lost(), Some(Lost::Gone));
        let (written, connection) = fate();
        written.bind(&connection);
        connection.well();
        connection.by(Lost::Cut);
        assert_eq!(written.lost(), None);
    }
}
