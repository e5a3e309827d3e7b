//! The program as a process of its own, for what only a process can show: signals, crashes, limits of the system.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use super::partner::Partner;
use super::trap::Trap;
use super::{Ground, until};

/// A running `tidegate run`. Killed when dropped; what it logged is shown to the leak trap.
pub struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    trap: Trap,
    admin: Partner,
    addresses: [SocketAddr; 2],
}

impl Process {
    /// Starts it over the folder and waits until it listens.
    pub async fn start(ground: &Ground) -> Self {
        Self::start_with(ground, "").await
    }

    /// The same, behind some words of shell.
    pub async fn start_with(ground: &Ground, shell: &str) -> Self {
        let set: String = ground.set().iter().map(|setting| format!(" --set '{setting}'")).collect();
        let command = format!(
            "{shell} exec '{}' run --config '{}' --set telemetry.format=json{set}",
            env!("CARGO_BIN_EXE_tidegate"),
            ground.settings_file().display(),
        );
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log: Arc<Mutex<String>> = Arc::default();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let copy = Arc::clone(&log);
        std::thread::spawn(move || {
            let (mut found, mut sender) = ([None; 3], Some(sender));
            for line in lines.map_while(Result::ok) {
                for (slot, name) in found.iter_mut().zip(["partners", "secure", "admin"]) {
                    *slot = slot.or_else(|| address_of(&line, name));
                }
                *copy.lock().unwrap() += &format!("{line}\n");
                if let [Some(partners), Some(secure), Some(admin)] = found
                    && let Some(sender) = sender.take()
                {
                    let _ = sender.send([partners, secure, admin]);
                }
            }
            // Dropped here if the program ended before it listened.
            drop(sender);
        });
        let found = tokio::time::timeout(std::time::Duration::from_secs(30), receiver).await;
        let Ok(Ok([plain, secure, admin])) = found else {
            let _ = child.kill();
            panic!("it does not listen:\n{}", log.lock().unwrap())
        };
        let admin = Partner { trap: Trap::default(), ..ground.partner("admin", admin, admin) };
        Self { child, log, trap: ground.trap.clone(), admin, addresses: [plain, secure] }
    }

    /// A partner of it.
    pub fn partner(&self, ground: &Ground, id: &str) -> Partner {
        let [plain, secure] = self.addresses;
        ground.partner(id, plain, secure)
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.plain_address()
    }

    /// A page of the admin listener: status and text.
    pub async fn admin(&self, target: &str) -> (u16, String) {
        let reply = self.admin.get(target).await;
        (reply.status, reply.text().to_owned())
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = until(async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended.await, "the program does not end:\n{}", self.log());
        status.unwrap()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.trap.show("log", self.log().as_bytes());
    }
}

/// The address in a log line that says where the listener of this name listens.
fn address_of(line: &str, listener: &str) -> Option<SocketAddr> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    (fields.get("listener")?.as_str()? == listener).then_some(())?;
    fields.get("address")?.as_str()?.parse().ok()
}
