//! Who saw what: replies as they come, logs, metrics, and what is on the disk; searched when a test ends.
//!
//! Start at [`Trap::spring`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::canary::{Canaries, Haystack};

/// What was shown to whom, and who may see what. Copies are the same trap.
#[derive(Clone, Debug, Default)]
pub struct Trap(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    shown: BTreeMap<String, Vec<u8>>,
    allowed: BTreeSet<(String, String)>,
}

impl Trap {
    /// Remembers what someone was shown.
    pub fn show(&self, whom: &str, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap();
        let all = inner.shown.entry(whom.to_owned()).or_default();
        all.extend_from_slice(bytes);
        // Between two messages, so that nothing is found across them.
        all.push(b'\n');
    }

    /// Lets someone see what was planted under these labels.
    pub fn allow(&self, whom: &str, labels: &[&str]) {
        let mut inner = self.0.lock().unwrap();
        inner.allowed.extend(labels.iter().map(|label| (whom.to_owned(), (*label).to_owned())));
    }

    /// Everything that was found where it may not be: a line each, without the value.
    pub fn spring(&self, canaries: &[Canaries]) -> Vec<String> {
        let inner = self.0.lock().unwrap();
        let planted: Vec<_> = canaries.iter().flat_map(Canaries::all).collect();
        let mut found = Vec::new();
        for (whom, bytes) in &inner.shown {
            let haystack = Haystack::new(bytes);
            for (label, canary) in &planted {
                if inner.allowed.contains(&(whom.clone(), label.clone())) {
                    continue;
                }
                if let Some(disguise) = haystack.finds(canary) {
                    found.push(format!("`{whom}` was shown <{label}> ({disguise})"));
                }
            }
        }
        found
    }

    /// Shows every file below a folder under the folder's name.
    pub fn show_folder(&self, whom: &str, folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.is_dir() {
                self.show_folder(whom, &path);
            } else {
                self.show(whom, path.to_string_lossy().as_bytes());
                self.show(whom, &std::fs::read(&path).unwrap_or_default());
            }
        }
    }
}

/// Everything that the program logged in this process.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

/// The one that the subscriber writes to. Tests run side by side in one process and share it; canaries are unique.
pub static LOGS: LazyLock<Logs> = LazyLock::new(|| {
    let logs = Logs::default();
    // As the program does: its own events in full, foreign ones capped.
    let filter = EnvFilter::new("warn,tidegate=trace");
    let subscriber = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(logs.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("no other subscriber in this process");
    logs
});

impl Logs {
    /// How much there is: where a test begins.
    pub fn mark(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// What was logged since.
    pub fn since(&self, mark: usize) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()[mark..]).into_owned()
    }
}

/// The code of the line that says how an exchange ended.
pub fn cause(log: &str, exchange: &str) -> Option<String> {
    let lines = log.lines().filter(|line| line.contains(exchange));
    lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|event| {
        let fields = event.get("fields").unwrap_or(&event);
        Some(fields.get("code")?.as_str()?.to_owned())
    })
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn the_trap_springs_unless_the_test_asked() {
    let (trap, canaries) = (Trap::default(), Canaries::default());
    trap.show("parcelo", canaries.plant("{\"name\":\"<name>\"}").as_bytes());
    assert_eq!(trap.spring(std::slice::from_ref(&canaries)), ["`parcelo` was shown <name> (plain)"]);
    trap.allow("admira", &["name"]);
    assert_eq!(trap.spring(std::slice::from_ref(&canaries)).len(), 1);
    trap.allow("parcelo", &["name"]);
    assert!(trap.spring(&[canaries]).is_empty());
}
