//! Real Redis servers, started and ended by the test that wants them.
//!
//! Each is watched over by a shell that ends it, and takes its folder away, when this process is gone, whatever ended that. Start at
//! [`Server::start`] and [`Cluster::start`].

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// Starts the server, says its number, and ends it when nobody holds our end of the pipe any more.
const WATCH: &str =
    r#"redis-server "$@" >/dev/null 2>&1 </dev/null & echo $!; read -r _; kill -9 $! 2>/dev/null; wait"#;
/// What keeps what it is given.
pub(crate) const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
/// How long to wait for a server to come up, or for a cluster to agree.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs, or is down for a while.
pub(crate) struct Server {
    pub(crate) port: u16,
    folder: TempDir,
    options: Vec<String>,
    /// How the command line client gets in.
    login: Vec<String>,
    running: Option<(Child, ChildStdin, String)>,
}

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// With these options, on a port of its own.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_with(options, &[])
    }

    /// With a file of options in front.
    pub(crate) fn start_from(file: &Path, options: &[&str]) -> Self {
        let file = file.display().to_string();
        Self::start(&[&[file.as_str()], options].concat())
    }

    /// With these options, and these for the command line client.
    pub(crate) fn start_with(options: &[&str], login: &[&str]) -> Self {
        let owned = |options: &[&str]| options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>();
        // Somebody else may take the port in between.
        for _ in 0..10 {
            let (folder, port) = (TempDir::new().unwrap(), free_port());
            let mut server = Self { port, folder, options: owned(options), login: owned(login), running: None };
            if server.run() {
                return server;
            }
        }
        panic!("`redis-server` does not start with {options:?}");
    }

    /// Whether it came up.
    fn run(&mut self) -> bool {
        let mut shell = Command::new("sh");
        let file = self.options.iter().take_while(|option| !option.starts_with("--"));
        shell.args(["-c", WATCH, "redis-server"]).args(file).args([
            "--bind",
            "127.0.0.1",
            "--daemonize",
            "no",
            "--dir",
        ]);
        let port = self.port.to_string();
        let secure = self.options.iter().any(|option| option == "--tls-cert-file");
        let ports: &[&str] = if secure { &["--port", "0", "--tls-port", &port] } else { &["--port", &port] };
        shell
            .arg(self.folder.path())
            .args(ports)
            .args(self.options.iter().skip_while(|option| !option.starts_with("--")));
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("`sh`");
        let (watch, mut number) = (shell.stdin.take().unwrap(), String::new());
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let number = number.trim().to_owned();
        self.running = Some((shell, watch, number.clone()));
        let began = Instant::now();
        loop {
            let alive = Path::new("/proc").join(&number).exists();
            let answer = self.say(&["INFO", "server"]);
            if answer.contains(&format!("process_id:{number}\r")) {
                return true;
            }
            if !alive || began.elapsed() > PATIENCE {
                assert!(installed(), "`redis-server` and `redis-cli` are not here: `scripts/test` installs them");
                self.kill();
                return false;
            }
            std::thread::yield_now();
        }
    }

    /// What it answers to a command; whatever the client says where there is no answer.
    pub(crate) fn say(&self, command: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        client.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(&self.login).args(command);
        client.output().map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// As [`Self::say`], where the answer is to be this.
    pub(crate) fn ask(&self, command: &[&str], answer: &str) {
        assert_eq!(self.say(command), answer, "{command:?}");
    }

    /// Asks again and again until the answer has this in it.
    pub(crate) fn wait_for(&self, command: &[&str], part: &str) {
        let began = Instant::now();
        while !self.say(command).contains(part) {
            assert!(began.elapsed() < PATIENCE, "{command:?}: {}", self.say(command));
            std::thread::yield_now();
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some((mut shell, watch, _)) = self.running.take() {
            drop(watch);
            shell.wait().unwrap();
        }
    }

    /// Takes away what it has on its disk, while it is down.
    pub(crate) fn lose(&mut self) -> TempDir {
        std::mem::replace(&mut self.folder, TempDir::new().unwrap())
    }

    /// Gives it back what [`Self::lose`] took.
    pub(crate) fn bring_back(&mut self, folder: TempDir) {
        self.folder = folder;
    }

    /// Starts it again, on what is on its disk.
    pub(crate) fn revive(&mut self) {
        assert!(self.run(), "it starts again");
    }

    /// As [`Self::revive`], with other options behind the old ones.
    pub(crate) fn revive_with(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self.revive();
    }

    /// Stops or continues it.
    pub(crate) fn signal(&self, signal: Signal) {
        let number = self.running.as_ref().unwrap().2.parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(number).unwrap(), signal).unwrap();
    }

    /// All that it has on its disk.
    pub(crate) fn files(&self) -> Vec<Vec<u8>> {
        fn read(folder: &Path, found: &mut Vec<Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() {
                    read(&entry.path(), found)
                } else {
                    found.push(fs::read(entry.path()).unwrap())
                }
            }
        }
        let mut found = Vec::new();
        read(self.folder.path(), &mut found);
        found
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn installed() -> bool {
    let runs = |command: &str| Command::new(command).arg("--version").stdout(Stdio::null()).status().is_ok();
    runs("redis-server") && runs("redis-cli")
}

/// Three primaries that share the slots.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    /// With these options besides.
    pub(crate) fn start(options: &[&str]) -> Self {
        let nodes: Vec<_> = (0..3).map(|_| Self::node(options)).collect();
        for (node, (first, last)) in nodes.iter().zip([(0, 5460), (5461, 10922), (10923, 16383)]) {
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &format!("{first}"), &format!("{last}")], "OK");
        }
        let cluster = Self { nodes };
        for node in &cluster.nodes[1..] {
            cluster.join(node);
        }
        cluster.wait();
        cluster
    }

    fn node(options: &[&str]) -> Server {
        let bus = free_port().to_string();
        let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus];
        Server::start(&[DURABLE, &cluster, options].concat())
    }

    /// A replica of the first, in step with it.
    pub(crate) fn add_replica(&self) -> Server {
        let (replica, first) = (Self::node(&[]), self.nodes[0].say(&["CLUSTER", "MYID"]));
        self.join(&replica);
        replica.wait_for(&["CLUSTER", "NODES"], &first);
        replica.wait_for(&["CLUSTER", "REPLICATE", &first], "OK");
        replica.wait_for(&["INFO", "replication"], "master_link_status:up");
        // All have to know before it may take over.
        let name = replica.say(&["CLUSTER", "MYID"]);
        for node in &self.nodes {
            node.wait_for(&["CLUSTER", "REPLICAS", &first], &name);
        }
        replica
    }

    /// Makes a server that runs a node of it.
    fn join(&self, node: &Server) {
        let first = self.nodes[0].port;
        let bus = self.nodes[0].options.iter().skip_while(|option| *option != "--cluster-port").nth(1).unwrap();
        node.ask(&["CLUSTER", "MEET", "127.0.0.1", &first.to_string(), bus], "OK");
    }

    /// Until all see the same three, and all slots.
    pub(crate) fn wait(&self) {
        for node in &self.nodes {
            node.wait_for(&["CLUSTER", "INFO"], "cluster_state:ok");
            node.wait_for(&["CLUSTER", "INFO"], "cluster_slots_ok:16384");
        }
    }
}
