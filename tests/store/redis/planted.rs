//! Values that are looked for in all that a server has on its disk.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidegate::clock::Time;
use tidegate::ids::{Category, DomainId};
use tidegate::keys::{self, KeyRing};
use tidegate::vault::Vault;
use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::{Spelling, TokenStore};
use tidegate::vault::stored::ask::{Answer, Ask, Stored, Wanted};
use tidegate::vault::token::Value;

use crate::servers::{DURABLE, Server};

use super::settings;

const VALUES: usize = 10_000;

fn value(number: usize) -> String {
    format!("anna.kern.{number}@planted.example")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_is_in_the_files_of_a_server() {
    let (server, folder) = (Server::start(&[DURABLE, &["--save", "1 1"]].concat()), TempDir::new().unwrap());
    let ring = folder.path().join("keys");
    keys::init(&ring).unwrap();
    let store: Arc<dyn TokenStore> = Arc::new(Redis::open(settings(&[server.port], "tidegate")).await.unwrap());
    let keys = Arc::new(KeyRing::open(&ring).unwrap());
    let vault = Vault::new(keys).with_store(Stored::new(store, Duration::from_secs(20)));
    let (domain, category) = (DomainId::parse("parcelo").unwrap(), Category::parse("contact.email").unwrap());
    let issuer = vault.issuer(&domain, Some(&category), Spelling::Opaque, None).unwrap();
    for first in (0..VALUES).step_by(1000) {
        let ask = |number| {
            let mut wanted = Wanted::new(&issuer, Value::Text(&value(number)));
            wanted.belongs_to(&value(number));
            Ask::Issue(wanted)
        };
        let asks: Vec<_> = (first..first + 1000).map(ask).collect();
        let answers = vault.stored().unwrap().resolve(&asks, Time(1_790_000_000_000)).await.unwrap();
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Token(_))));
    }
    // What all of them have in common.
    let look = |files: &[Vec<u8>]| {
        let count = |text: &str| files.iter().map(|file| memchr::memmem::find_iter(file, text).count()).sum::<usize>();
        (count("anna.kern"), count("@planted"), files.iter().map(Vec::len).sum::<usize>())
    };
    let (whole, names, bytes) = look(&server.files());
    assert_eq!((whole, names), (0, 0), "in the log");
    // More than the values would take, so that they were looked for in the right place.
    assert!(bytes > 100 * VALUES, "{bytes}");
    server.ask(&["BGREWRITEAOF"], "Background append only file rewriting started");
    server.wait_for(&["INFO", "persistence"], "aof_rewrite_in_progress:0");
    server.ask(&["SAVE"], "OK");
    let (whole, names, rewritten) = look(&server.files());
    assert_eq!((whole, names), (0, 0), "in the log that was written anew, and in the snapshot");
    println!("{VALUES} values in {bytes} bytes of log, {rewritten} rewritten and saved: none found");
}
