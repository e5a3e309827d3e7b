//! What a thread keeps from one document to the next, so that a small body allocates next to nothing and meets warm memory.
//!
//! Room only: what was in it is not looked at again. Little of it, too: what a long document has grown is given back. Start at
//! [`Lent`] and [`marks`].

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};

use super::marks::Marks;
use super::window::Work;

/// As many as are likely to be under way on one thread.
const WORKS: usize = 4;
/// What has more room than this, in bytes or entries, is not kept.
const ROOM: usize = 1 << 15;

thread_local! {
    static MARKS: Cell<Marks> = Cell::default();
    #[expect(clippy::vec_box, reason = "what is large stays where it is")]
    static IDLE: RefCell<Vec<Box<Work>>> = const { RefCell::new(Vec::new()) };
}

/// Marks of nothing. Who asks while others are in use gets new ones.
pub(super) fn marks() -> Marks {
    let mut marks = MARKS.try_with(Cell::take).unwrap_or_default();
    marks.forget();
    marks
}

/// For the next who asks.
pub(super) fn keep_marks(marks: Marks) {
    // A thread that ends keeps nothing.
    let _ = MARKS.try_with(|place| place.set(marks));
}

/// What one rewriter works with, lent by its thread: it goes back when this is dropped, unless it has grown. In a box, because
/// it is large, and rewriters go from hand to hand.
pub(super) struct Lent(Option<Box<Work>>);

impl Lent {
    /// To begin with.
    pub(super) fn take() -> Self {
        let idle = IDLE.try_with(|idle| idle.try_borrow_mut().ok()?.pop());
        Self(Some(idle.ok().flatten().unwrap_or_default()))
    }
}

impl Deref for Lent {
    type Target = Work;

    #[expect(clippy::expect_used, reason = "it is taken out by `drop` alone")]
    fn deref(&self) -> &Work {
        self.0.as_deref().expect("not dropped yet")
    }
}

impl DerefMut for Lent {
    #[expect(clippy::expect_used, reason = "it is taken out by `drop` alone")]
    fn deref_mut(&mut self) -> &mut Work {
        self.0.as_deref_mut().expect("not dropped yet")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut work) = self.0.take() else { return };
        let room = [work.buf.capacity(), work.plan.edits.capacity(), work.plan.arena.capacity(), work.walker.room()];
        if room.into_iter().any(|room| room > ROOM) {
            return;
        }
        work.clear();
        work.walker.clear();
        let _ = IDLE.try_with(|idle| {
            if let Ok(mut idle) = idle.try_borrow_mut()
                && idle.len() < WORKS
            {
                idle.push(work);
            }
        });
    }
}
