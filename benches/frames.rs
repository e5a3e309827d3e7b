//! Framed bodies through their rules: MB/s (10^6 bytes of input a second) and the process's memory, by kind of body.
//!
//! `cargo bench --bench frames [-- --quick | --long]`. The rules keep two fields and mask one; bodies come in pieces of 64 KiB, made from
//! one block again and again. `--long` sends 10 GiB of lines and prints the memory curve.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tidegate::clock::Time;
use tidegate::crossing::Crossing;
use tidegate::crossing::bind::BoundLeg;
use tidegate::ids::Leg;
use tidegate::keys::{self, KeyRing};
use tidegate::policy;
use tidegate::policy::compile::compile;
use tidegate::vault::Vault;

const MIB: u64 = 1 << 20;
const KINDS: [&str; 4] = ["ndjson", "sse", "form", "multipart"];

fn text() -> String {
    let mut text = String::from(
        "[partner]\nid = \"p\"\nname = \"P\"\ncountries = [\"DE\"]\npurpose = \"service\"\n[agreement]\nreference = \"A\"\n[identify]\n",
    );
    writeln!(text, "api_key = {{ header = \"x-api-key\", sha256 = [\"{}\"] }}", "ab".repeat(32)).unwrap();
    for kind in KINDS {
        let rules = match kind {
            "form" => "keep = [\"id\", \"status\"]\nfields = [{ form = \"phone\", do = \"mask\", keep_last = 2 }]",
            "multipart" => "keep = [\"id\", \"status\"]\nfields = [{ part = \"phone\", do = \"mask\", keep_last = 2 }]",
            _ => "keep = [\"$.id\", \"$.status\"]\nfields = [{ path = \"$.phone\", do = \"mask\", keep_last = 2 }]",
        };
        writeln!(
            text,
            "[[inbound]]\nmatch = \"GET /{kind}\"\nupstream = \"a\"\n[inbound.response]\nbody = \"{kind}\"\n{rules}"
        )
        .unwrap();
    }
    text
}

/// About 64 KiB of whole records.
fn block(kind: &str) -> Vec<u8> {
    let mut out = String::new();
    let mut n = 0_u64;
    while out.len() < 65_000 {
        let json = format!(
            "{{\"id\":{n},\"status\":\"open\",\"phone\":\"+49 30 12345{n}\",\"name\":\"Anna K\",\"items\":[{{\"sku\":\"A7\",\"q\":1}}],\"note\":\"{}\"}}",
            "n".repeat(100)
        );
        match kind {
            "ndjson" => writeln!(out, "{json}").unwrap(),
            "sse" => write!(out, "data: {json}\n\n").unwrap(),
            "form" => {
                write!(out, "id={n}&status=open&phone=%2B49+30+{n}&name=Anna+K&note={}&", "n".repeat(100)).unwrap()
            }
            _ => {
                for (name, value) in
                    [("id", "7"), ("status", "open"), ("phone", "+49 30 12345"), ("note", &"n".repeat(300))]
                {
                    write!(out, "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").unwrap();
                }
            }
        }
        n += 1;
    }
    out.into_bytes()
}

fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or("0 0");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Sends so many bytes; MB/s.
async fn send(leg: &Arc<BoundLeg>, block: &[u8], bytes: u64, each: impl Fn(u64)) -> f64 {
    let mut crossing = Crossing::new(Arc::clone(leg), Time(1_790_000_000_000));
    crossing.set_apart("b".to_owned(), "ours".to_owned());
    let start = Instant::now();
    let (mut sent, mut out) = (0_u64, 0_u64);
    while sent < bytes {
        crossing.feed(block).await.unwrap();
        out += crossing.take().len() as u64;
        sent += block.len() as u64;
        each(sent);
    }
    crossing.feed(b"").await.unwrap();
    assert!(out > 0 && out < sent);
    sent as f64 / 1e6 / start.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let long = std::env::args().any(|arg| arg == "--long");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    keys::init(&path).unwrap();
    let vault = Vault::new(Arc::new(KeyRing::open(&path).unwrap()));
    let (policy, found) = policy::read("p.toml", &text());
    let compiled = compile(policy.unwrap_or_else(|| panic!("{found:#?}"))).unwrap();
    let domain = compiled.policy.partner.domain.clone();
    let read = |_: &Path| Err("no files here".to_owned());
    let legs =
        compiled.routes.into_iter().map(|route| BoundLeg::bind(route.response, Leg::Response, &domain, &vault, &read));
    let legs: Vec<Arc<BoundLeg>> = legs.map(|leg| Arc::new(leg.unwrap())).collect();
    println!("MB/s by kind and length; memory of the process at its highest");
    for (kind, leg) in KINDS.iter().zip(&legs) {
        let block = block(kind);
        let lengths: &[u64] = if quick { &[1, 30] } else { &[1, 10, 100, 1000] };
        for mib in lengths {
            let rate = send(leg, &block, mib * MIB, |_| {}).await;
            println!("{kind:>10} {mib:>5} MiB {rate:>8.0} MB/s {:>6.1} MiB", memory("VmHWM"));
        }
    }
    if long {
        let block = block("ndjson");
        let rate = send(&legs[0], &block, 10 << 30, |sent| {
            if sent % (1 << 30) < block.len() as u64 {
                println!("{:>10} GiB: {:>6.1} MiB", sent >> 30, memory("VmRSS"));
            }
        });
        println!("    ndjson 10 GiB {:>8.0} MB/s", rate.await);
    }
}
