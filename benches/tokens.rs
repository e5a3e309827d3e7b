//! Making and turning back tokens, on one thread: values a second of its CPU, and nanoseconds each; values of 20 bytes.
//!
//! `cargo bench --bench tokens [-- --quick] [PART OF A NAME]`. Medians over rounds in which all take turns. The `aes-siv` crate stands
//! beside ours over the same bytes: a value padded to two blocks, under the four strings that a token is bound to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise"
)]

use std::hint::black_box;
use std::sync::Arc;

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use rustix::time::{ClockId, clock_gettime};
use tidegate::ids::{Category, DomainId, Shape};
use tidegate::keys::{self, KeyRing};
use tidegate::vault::token::{Issued, Opened, Value};
use tidegate::vault::{Recipient, Sealer, Vault};

/// Values that a contender goes through in turn.
const VALUES: usize = 1024;

/// What is done with the value of this number.
type Run<'a> = Box<dyn FnMut(usize, &mut Vec<u8>) + 'a>;
/// A name, and a run.
type Contender<'a> = (&'static str, Run<'a>);

/// Nanoseconds of this thread's CPU.
fn clock() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// One round: nanoseconds a value.
fn time((_, run): &mut Contender<'_>, least: f64) -> f64 {
    let mut out = Vec::with_capacity(4096);
    let (begun, mut runs) = (clock(), 0usize);
    loop {
        for _ in 0..16 {
            out.clear();
            run(runs % VALUES, &mut out);
            black_box(&out);
            runs += 1;
        }
        let spent = clock() - begun;
        if spent >= least {
            return spent / runs as f64;
        }
    }
}

fn mails() -> Vec<String> {
    (0..VALUES).map(|n| format!("c{n:07}@example.org")).collect()
}

fn cards() -> Vec<String> {
    (0..VALUES).map(|n| format!("{:016}", 4_000_000_000_000_000 + n * 7_919_000_017)).collect()
}

fn orders() -> Vec<String> {
    (0..VALUES).map(|n| format!("KD{:08}", n * 7_919)).collect()
}

fn issue<'a>(sealer: Sealer, values: Vec<String>) -> Run<'a> {
    Box::new(move |n, out| assert_eq!(sealer.issue(Value::Text(&values[n]), out), Issued::Token))
}

/// One shape, both ways.
fn shape<'a>(vault: &Vault, shape: Shape, names: [&'static str; 2], values: Vec<String>) -> [Contender<'a>; 2] {
    let (domain, category) = (DomainId::parse("parcelo").unwrap(), Category::parse("contact.email").unwrap());
    let sealer = vault.sealer(&domain, Some(&category), shape).unwrap();
    let opener = vault.opener(&domain, &category, Some(shape)).unwrap();
    let token = |value: &String| {
        let mut out = Vec::new();
        sealer.issue(Value::Text(value), &mut out);
        String::from_utf8(out).unwrap()
    };
    let tokens: Vec<String> = values.iter().map(token).collect();
    let open = move |n: usize, out: &mut Vec<u8>| assert_eq!(opener.open(&tokens[n], out), Opened::Text);
    [(names[0], issue(sealer, values)), (names[1], Box::new(open))]
}

/// The crate as it is meant to be used; it takes the key and the strings anew for each value.
fn raw<'a>() -> Contender<'a> {
    let mut siv = Aes256Siv::new(&[7; 64].into());
    let context: [&[u8]; 4] = [b"tk1_", b"parcelo", &[0, 0, 0, 1], b"contact.email"];
    let values = mails();
    let run = move |n: usize, out: &mut Vec<u8>| {
        let mut block = [0; 32];
        block[1..21].copy_from_slice(values[n].as_bytes());
        let tag = siv.encrypt_inout_detached(context, block.as_mut_slice().into()).unwrap();
        out.extend_from_slice(&tag);
        out.extend_from_slice(&block);
    };
    ("the aes-siv crate, no text made", Box::new(run))
}

fn encrypt<'a>(name: &'static str, jwk: &str) -> Contender<'a> {
    let (recipient, values) = (Recipient::from_jwk(jwk).unwrap(), mails());
    (name, Box::new(move |n, out| recipient.encrypt(values[n].as_bytes(), out).unwrap()))
}

fn contenders<'a>(vault: &Vault) -> Vec<Contender<'a>> {
    let domain = DomainId::parse("parcelo").unwrap();
    let (pseudonymizer, values) = (vault.pseudonymizer(&domain, None).unwrap(), mails());
    let mut all = vec![raw()];
    all.extend(shape(vault, Shape::Opaque, ["opaque", "opaque, turned back"], mails()));
    all.extend(shape(vault, Shape::Email, ["email", "email, turned back"], mails()));
    all.extend(shape(vault, Shape::Digits, ["digits, 16", "digits, turned back"], cards()));
    all.extend(shape(vault, Shape::Alnum, ["alnum, 10", "alnum, turned back"], orders()));
    all.push(("pseudonym", Box::new(move |n, out| assert!(pseudonymizer.hash(Value::Text(&values[n]), out)))));
    // The examples of RFC 7518, appendix C, and RFC 7748, section 6.1.
    all.push(encrypt(
        "encrypt, P-256",
        r#"{"kty":"EC","crv":"P-256","x":"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ","y":"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck"}"#,
    ));
    all.push(encrypt(
        "encrypt, X25519",
        r#"{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}"#,
    ));
    all
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let part = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    let (rounds, least) = if quick { (3, 2e6) } else { (15, 4e7) };
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    keys::init(&keys).unwrap();
    let vault = Vault::new(Arc::new(KeyRing::open(&keys).unwrap()));
    let mut all = contenders(&vault);
    all.retain(|(name, _)| name.contains(&part));
    let mut times = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for (times, contender) in times.iter_mut().zip(&mut all) {
            times.push(time(contender, least));
        }
    }
    println!("{:<34} {:>12} {:>9} {:>9}", "", "a second", "ns", "best ns");
    for ((name, _), mut times) in all.into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!("{name:<34} {:>12.0} {median:>9.0} {:>9.0}", 1e9 / median, times[0]);
    }
}
