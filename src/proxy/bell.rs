//! The waker of a connection that whoever uses it drives.
//!
//! hyper wakes a connection's task when the reader of a body asks for more, for it takes the two for two tasks. Here they are one, which
//! looks at the connection in the same breath: woken by itself, it would only look at everything once more. Start at [`Bell`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Wakes whoever drives the connection now.
#[derive(Debug)]
pub(super) struct Bell {
    user: Mutex<Waker>,
    muted: AtomicBool,
}

impl Bell {
    /// One that wakes nobody yet, and a waker that rings it.
    pub(super) fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self { user: Mutex::new(Waker::noop().clone()), muted: AtomicBool::new(false) });
        (Arc::clone(&bell), Waker::from(bell))
    }

    /// From now on it wakes `user`.
    pub(super) fn set(&self, user: &Waker) {
        self.user.lock().unwrap_or_else(PoisonError::into_inner).clone_from(user);
    }

    /// Does something while it wakes nobody: only what the connection is looked at after, before its user rests.
    pub(super) fn muted<T>(&self, act: impl FnOnce() -> T) -> T {
        self.muted.store(true, Ordering::Relaxed);
        let done = act();
        self.muted.store(false, Ordering::Relaxed);
        done
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.muted.load(Ordering::Relaxed) {
            self.user.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_wakes_its_user_unless_it_is_muted() {
        let (first, second) = (Arc::<Count>::default(), Arc::<Count>::default());
        let (bell, ring) = Bell::new();
        ring.wake_by_ref();
        bell.set(&Waker::from(Arc::clone(&first)));
        ring.wake_by_ref();
        bell.muted(|| ring.wake_by_ref());
        bell.set(&Waker::from(Arc::clone(&second)));
        ring.wake();
        assert_eq!([first, second].map(|count| count.0.load(Ordering::Relaxed)), [1, 1]);
    }
}
