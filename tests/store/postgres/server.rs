//! A real PostgreSQL server in a folder of its own, reached through a socket there, and through TCP where a test asks for it.
//!
//! It refuses to be root's, and so is nobody's where the tests are root's. Start at [`Server::start`].

#![allow(dead_code, reason = "who shares it uses a part each")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

/// A start after a crash syncs the file system at once, and not each file of a thousand.
const SYNCFS: &str = "recovery_init_sync_method=syncfs";

/// Debian's `nobody`.
const NOBODY: u32 = 65534;

/// A server; ended when it is dropped.
pub(crate) struct Server {
    folder: TempDir,
    options: Mutex<Vec<String>>,
    running: Mutex<Option<Running>>,
    log: Arc<Mutex<String>>,
}

/// Its first process, and what reads what all of them say: at its end when the last of them has gone.
struct Running {
    process: Child,
    reader: JoinHandle<()>,
}

/// The program of this name, of the newest version that is here.
///
/// # Panics
/// There is none: a test that needs a server does not pass without one.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<_> = versions.map(|version| version.path().join("bin").join(name)).collect();
    programs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).map(|path| path.join(name)));
    let version = |path: &PathBuf| {
        let version = path.iter().nth_back(2).and_then(|version| version.to_str()?.parse::<u32>().ok());
        version.unwrap_or_default()
    };
    let found = programs.into_iter().filter(|path| path.is_file()).max_by_key(version);
    found.unwrap_or_else(|| panic!("PostgreSQL's `{name}` is not here: `scripts/test` installs it"))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("/proc").uid() == 0
}

/// A command of PostgreSQL, as somebody who is not root.
pub(crate) fn command(name: &str) -> Command {
    if !is_root() {
        return Command::new(program(name));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program(name));
    command
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) {
    let output = command.current_dir("/").output().expect("a command that runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Gives a file to whoever runs the servers.
pub(crate) fn give(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

impl Server {
    /// A new one, with these settings: `NAME=VALUE`.
    pub(crate) fn start(options: &[&str]) -> Self {
        let server = Self::make();
        options.iter().for_each(|option| server.set(option));
        server.begin();
        server
    }

    /// One that is not started yet.
    pub(crate) fn make() -> Self {
        let server = Self::folder();
        run(command("initdb")
            .args(["--auth=trust", "--username=tidegate", "--no-sync", "--locale=C", "--pgdata"])
            .arg(server.data()));
        server
    }

    /// A standby of another one.
    pub(crate) fn standby_of(primary: &Self) -> Self {
        let server = Self::folder();
        let copy = command("pg_basebackup")
            .args(["--username=tidegate", "--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--host"])
            .arg(primary.folder.path())
            .arg("--pgdata")
            .arg(server.data())
            .output()
            .expect("pg_basebackup");
        assert!(copy.status.success(), "{}", String::from_utf8_lossy(&copy.stderr));
        server.begin();
        server
    }

    fn folder() -> Self {
        let folder = tempfile::Builder::new().prefix("tidegate-").tempdir_in("/tmp").expect("a folder");
        give(folder.path());
        Self { folder, options: Mutex::default(), running: Mutex::default(), log: Arc::default() }
    }

    /// Its files.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where its socket is, and everything else.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it (again), and waits until it takes connections.
    pub(crate) fn begin(&self) {
        let mut begin = command("postgres");
        begin.arg("-D").arg(self.data()).arg("-k").arg(self.path());
        let options = self.options.lock().unwrap().clone();
        let standard = ["listen_addresses=", "max_connections=200", "shared_buffers=32MB", "max_wal_senders=4", SYNCFS];
        for option in standard.into_iter().map(str::to_owned).chain(options) {
            begin.args(["-c", &option]);
        }
        begin.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).current_dir("/");
        let mut process = begin.spawn().expect("a server");
        let (ready, is_ready) = channel();
        let (said, log) = (process.stderr.take().expect("piped"), Arc::clone(&self.log));
        let reader = std::thread::spawn(move || listen(BufReader::new(said), &log, &ready));
        let up = is_ready.recv_timeout(Duration::from_secs(60));
        assert!(up.is_ok(), "no server: {}", self.log());
        *self.running.lock().unwrap() = Some(Running { process, reader });
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Kills it as a crash would, without a word, and waits until all of it has gone.
    pub(crate) fn kill(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            running.process.kill().unwrap();
            running.end();
        }
    }

    /// Stops it in order: `fast` or `immediate`.
    pub(crate) fn stop(&self, mode: &str) {
        if let Some(running) = self.running.lock().unwrap().take() {
            run(command("pg_ctl").args(["stop", "--wait", "--mode", mode, "--pgdata"]).arg(self.data()));
            running.end();
        }
    }

    /// Makes a primary of a standby.
    pub(crate) fn promote(&self) {
        run(command("pg_ctl").args(["promote", "--wait", "--pgdata"]).arg(self.data()));
    }

    /// Its first process, which is the parent of all others.
    pub(crate) fn id(&self) -> u32 {
        self.running.lock().unwrap().as_ref().map_or(0, |running| running.process.id())
    }

    fn port(&self) -> String {
        let options = self.options.lock().unwrap();
        options.iter().rev().find_map(|option| option.strip_prefix("port=")).unwrap_or("5432").to_owned()
    }

    /// Another value of a setting, from the next start on.
    pub(crate) fn set(&self, option: &str) {
        self.options.lock().unwrap().push(option.to_owned());
    }

    /// Runs statements.
    pub(crate) fn sql(&self, database: &str, statements: &str) -> String {
        let mut psql = command("psql");
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--username=tidegate",
            "--set=ON_ERROR_STOP=1",
        ]);
        psql.arg("--host").arg(self.path()).arg("--port").arg(self.port());
        psql.args(["--dbname", database, "--command", statements]);
        let output = psql.current_dir("/").output().expect("psql");
        assert!(output.status.success(), "{statements}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A URL of one of its databases, through the socket.
    pub(crate) fn url(&self, database: &str) -> String {
        let folder = self.path().display().to_string().replace('/', "%2F");
        format!("postgres://tidegate@{folder}:{}/{database}", self.port())
    }
}

impl Running {
    fn end(mut self) {
        self.process.wait().unwrap();
        self.reader.join().unwrap();
    }
}

/// Keeps what is said, and tells when connections are taken.
fn listen(said: impl BufRead, log: &Mutex<String>, ready: &Sender<()>) {
    for line in said.lines().map_while(Result::ok) {
        let up = line.contains("ready to accept");
        log.lock().unwrap().extend([&line, "\n"]);
        if up {
            let _ = ready.send(());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
