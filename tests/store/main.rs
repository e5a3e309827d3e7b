//! The contract of a store of tokens, as tests that each kind of store has to pass, and what is a kind's own.
//!
//! Not here: tokens and keys (the vault above a store seals before it puts). Start at [`conformance`]; [`kill`] ends processes while they put.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `TIDEGATE_STORE_RACES` | values that two handles race for, or two processes, for each kind of store | 4000 |
//! | `TIDEGATE_STORE_KILLS` | processes, and servers, that are killed under load, for each kind of store | 20 |
//! | `TIDEGATE_STORE_WAITED` | if set, Redis is asked by `WAITAOF`: for servers that know it (Redis 7.2, Valkey) | not set |
//! | `TIDEGATE_STORE_BREAKS` | answers at which a connection breaks, each once, for each kind of server | 40 |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise"
)]

#[macro_use]
mod conformance;
mod embedded;
mod entries;
mod erasure;
mod kill;
mod memory;
#[cfg(feature = "postgres")]
#[allow(dead_code, unreachable_pub, reason = "of the end-to-end tests, which use all of it")]
#[path = "../e2e/harness/pki.rs"]
mod pki;
#[cfg(feature = "postgres")]
mod postgres;
mod redis;
mod servers;
mod torn;
mod transfer;

#[cfg(feature = "postgres")]
/// Asks again and again until it is so; false if it is not within a minute.
pub(crate) async fn until(mut so: impl AsyncFnMut() -> bool) -> bool {
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
    let asked = async {
        while !so().await {
            tick.tick().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), asked).await.is_ok()
}
