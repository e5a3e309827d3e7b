//! Threads that serve connections, each with a runtime of its own.
//!
//! Where all threads share one runtime, whatever becomes ready on one of them wakes another to help, and what they help with is
//! cold there: for exchanges of a few microseconds that costs more than it brings. Here a connection stays with one thread, and
//! so does all that its exchanges wait for. The price is that a thread with much to do gets no help: so a new connection goes to
//! the thread with the fewest, and the exchanges of an HTTP/2 connection, which may be many at once, go to the shared runtime
//! (`SharedRuntime`). Start at [`Workers::start`].

use std::future::Future;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads. They end when it is dropped, and whatever they still serve is dropped with them.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// What it serves now.
    open: Arc<AtomicUsize>,
    /// Dropped to have the thread end.
    _stop: oneshot::Sender<()>,
}

/// One less to serve, when dropped.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// So many; `None`: one for each processor that we may use.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(count: Option<NonZero<usize>>) -> io::Result<Arc<Self>> {
        let count = count.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZero::get);
        (0..count).map(Worker::start).collect::<io::Result<Vec<_>>>().map(|workers| Arc::new(Self(workers)))
    }

    /// Serves something on the thread that has the least to serve.
    pub(super) fn spawn(&self, serve: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed)) else { return };
        worker.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&worker.open));
        worker.runtime.spawn(async move {
            serve.await;
            drop(open);
        });
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            // Its end is the loss of the other half.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, open: Arc::default(), _stop: stop })
    }
}

/// Runs hyper's tasks on the runtime that was current when it was made.
#[derive(Clone, Debug)]
pub(super) struct SharedRuntime(Handle);

impl SharedRuntime {
    /// Of the current runtime.
    pub(super) fn current() -> Self {
        Self(Handle::current())
    }
}

impl<F> hyper::rt::Executor<F> for SharedRuntime
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_are_asked_for_or_one_for_each_processor() {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        for (asked, threads) in [(NonZero::new(1), 1), (NonZero::new(3), 3), (None, processors)] {
            assert_eq!(Workers::start(asked).unwrap().0.len(), threads);
        }
    }

    #[tokio::test]
    async fn what_is_to_be_served_goes_to_the_thread_with_the_least_and_ends_with_the_threads() {
        let workers = Workers(vec![Worker::start(0).unwrap(), Worker::start(1).unwrap()]);
        let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
        let (hold, mut held) = tokio::sync::mpsc::channel::<()>(1);
        for _ in 0..4 {
            let (say, hold) = (say.clone(), hold.clone());
            workers.spawn(async move {
                say.send(std::thread::current().name().map(str::to_owned)).unwrap();
                std::future::pending::<()>().await;
                drop(hold);
            });
        }
        let mut names = Vec::new();
        for _ in 0..4 {
            names.push(said.recv().await.unwrap().unwrap());
        }
        names.sort();
        assert_eq!(names, ["worker-0", "worker-0", "worker-1", "worker-1"]);
        drop((workers, hold));
        assert_eq!(held.recv().await, None);
    }
}
