//! Notices that the policies or the keys changed.
//!
//! Watches the folders and not the files, because editors and Kubernetes rename, and looks by itself every half minute; waits until it is quiet; leaves it to
//! [`Registry::reload`] to find out whether anything really changed. Start at [`watch`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::set::PolicySet;
use super::{Error, Registry, Reload};

/// How long it has to be quiet before the folder is read: an editor's save is several events.
const QUIET: Duration = Duration::from_millis(200);

/// How long at most a folder that is never quiet puts off the reading.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// How often the files are compared although nobody gave notice: the authorities and key sets that policies name lie in other
/// folders, and a notice can be lost.
const LOOK: Duration = Duration::from_secs(30);

/// Ends the watching when dropped.
#[derive(Debug)]
pub struct Watch {
    task: JoinHandle<()>,
    _watchers: Vec<RecommendedWatcher>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to watch. `publish` gets what came of each reload that did something. Where the folder cannot be watched this is
/// said in the log, and SIGHUP still works.
pub fn watch(
    registry: Arc<Registry>,
    publish: impl Fn(Result<Arc<PolicySet>, Arc<Error>>) + Send + Sync + 'static,
) -> Watch {
    // One place: whatever comes while one notice waits is covered by it.
    let (notice, mut noticed) = mpsc::channel::<()>(1);
    let folders = [Some(registry.settings.folder.as_path()), registry.vault.keys().folder()];
    let watchers = folders.into_iter().flatten().filter_map(|folder| watcher(folder, notice.clone())).collect();
    // Whatever changed between the first reading and now.
    let _ = notice.try_send(());
    let task = tokio::spawn(async move {
        // Keeps the channel open where there is no watcher.
        let _notice = notice;
        let mut told: Option<Arc<Error>> = None;
        // A look without a notice is a notice; the channel does not close.
        while !matches!(tokio::time::timeout(LOOK, noticed.recv()).await, Ok(None)) {
            let _ = tokio::time::timeout(QUIET_MAX, async {
                while tokio::time::timeout(QUIET, noticed.recv()).await.is_ok() {}
            })
            .await;
            let reloading = Arc::clone(&registry);
            match tokio::task::spawn_blocking(move || reloading.reload()).await {
                Ok(Ok(Reload::Changed(set))) => {
                    told = None;
                    publish(Ok(set));
                }
                Ok(Err(error)) => {
                    if !told.as_ref().is_some_and(|known| Arc::ptr_eq(known, &error)) {
                        publish(Err(Arc::clone(&error)));
                    }
                    told = Some(error);
                }
                Ok(Ok(Reload::Unchanged)) => {}
                Err(cause) => tracing::error!(
                    target: "tidegate",
                    panicked = cause.is_panic(),
                    "reading the policies was cut off: the old ones stay in force"
                ),
            }
        }
    });
    Watch { task, _watchers: watchers }
}

fn watcher(folder: &Path, notice: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let on_event = move |event: notify::Result<notify::Event>| {
        // Reading is not a change; an error may hide one.
        if !matches!(&event, Ok(event) if event.kind.is_access()) {
            let _ = notice.try_send(());
        }
    };
    let started = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    started
        .inspect_err(|error| {
            tracing::warn!(target: "tidegate", folder = %folder.display(), cause = %error.kind_text(), "a folder is not watched: reload by SIGHUP");
        })
        .ok()
}

/// The kind of a notify error in words, without its paths.
trait KindText {
    fn kind_text(&self) -> String;
}

impl KindText for notify::Error {
    fn kind_text(&self) -> String {
        match &self.kind {
            notify::ErrorKind::Io(error) => error.kind().to_string(),
            notify::ErrorKind::MaxFilesWatch => "too many watches in this system".to_owned(),
            _ => "the system cannot watch this folder".to_owned(),
        }
    }
}
