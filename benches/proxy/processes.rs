//! Processes to be measured: started, found by their address, read by `/proc`, killed at the end.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{KEPT, KEY, TOKENS};

/// A process that serves.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// This program again, in one of its roles.
    pub fn role(role: &str, upstream: Option<SocketAddr>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a program"));
        command.args(["--role", role]).args(upstream.map(|address| address.to_string()));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        Self { child, address: line.trim().parse().expect("an address") }
    }

    /// A program's `tidegate run` over a folder of its own.
    pub fn tidegate(program: &Path, folder: &Path, upstream: SocketAddr, set: &[&str]) -> Self {
        std::fs::create_dir(folder).expect("a folder");
        std::fs::create_dir(folder.join("policies")).expect("a folder");
        tidegate::keys::init(&folder.join("keys")).expect("keys");
        let settings = SETTINGS.replace("@upstream@", &upstream.to_string());
        std::fs::write(folder.join("tidegate.toml"), settings).expect("a file");
        let quoted = |paths: &[&str]| paths.iter().map(|path| format!("\"{path}\"")).collect::<Vec<_>>().join(", ");
        let fields: Vec<_> = TOKENS
            .iter()
            .enumerate()
            .map(|(n, path)| format!("{{ path = \"{path}\", is = \"id.{n}\", do = \"tokenize\" }}"))
            .collect();
        let policy = POLICY
            .replace("@kept@", &quoted(KEPT))
            .replace("@fields@", &fields.join(", "))
            .replace("@key@", &HEXLOWER.encode(&Sha256::digest(KEY.as_bytes())));
        std::fs::write(folder.join("policies/bench.toml"), policy).expect("a file");
        let mut command = Command::new(program);
        command.args(["run", "--set", "telemetry.format=json", "--config"]).arg(folder.join("tidegate.toml"));
        command.args(set.iter().flat_map(|setting| ["--set", setting]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut said = String::new();
        let found = lines.find_map(|line| {
            said += &format!("{line}\n");
            let event: serde_json::Value = serde_json::from_str(&line).ok()?;
            let fields = event.get("fields").unwrap_or(&event);
            (fields.get("listener")?.as_str()? == "partners").then_some(())?;
            fields.get("address")?.as_str()?.parse().ok()
        });
        // Reads on, so that the program does not wait for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: found.unwrap_or_else(|| panic!("tidegate does not listen:\n{said}")) }
    }

    /// Time on a processor so far: all its threads, user and system.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("a process");
        let nanos = |task: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(tasks.filter_map(nanos).sum())
    }

    /// The most memory that it ever had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory that it has, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a figure");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }
}

const SETTINGS: &str = r#"
[[listener]]
name = "partners"
address = "127.0.0.1:0"
facing = "partner"

[upstream.orders]
url = "http://@upstream@"

[ledger]
folder = "record"
"#;

const POLICY: &str = r#"
[partner]
id = "bench"
name = "Bench Ltd"
countries = ["DE"]
purpose = "service.delivery"

[agreement]
reference = "DSA-1"

[identify]
api_key = { header = "x-api-key", sha256 = ["@key@"] }

[limits]
rate = "1000000/s"
concurrent = 1000
body = "64GiB"
# For the body of 1 GiB, of which millions of values become tokens: the defaults bound bodies that nobody expects.
leaves = 100000000
growth = "4GiB"

[[inbound]]
match = "GET /orders/{size}"
upstream = "orders"
[inbound.response]
keep = [@kept@]
fields = [@fields@]

[[inbound]]
match = "GET /lines/{size}"
upstream = "orders"
[inbound.response]
body = "ndjson"
keep = [@kept@]
fields = [@fields@]

[[inbound]]
match = "GET /events/{count}"
upstream = "orders"
[inbound.response]
body = "sse"
keep = ["$.page", "$.made"]

[[inbound]]
match = "GET /stream/{size}"
upstream = "orders"
[inbound.response]
keep = [@kept@]
fields = [@fields@]
"#;
