//! The contract of a store of tokens, as tests that each kind of store has to pass, and what is a kind's own.
//!
//! Not here: tokens and keys (the vault above a store seals before it puts). Start at [`conformance`]; [`kill`] ends processes while they put.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `TIDEGATE_STORE_RACES` | values that two handles race for, for each kind of store | 4000 |
//! | `TIDEGATE_STORE_KILLS` | processes that are killed under load, for each kind of store | 20 |

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
mod torn;
