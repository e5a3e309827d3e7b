//! End to end: a real upstream over TCP, the real proxy, a real partner; and the leak trap under all of them.
//!
//! Start at [`harness`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

mod harness;

mod bodies;
mod budgets;
mod crash;
mod disclosure;
mod events;
mod forms;
mod identity;
mod inside;
mod keys;
mod limits;
#[cfg(feature = "postgres")]
mod moving;
mod operate;
mod outbound;
mod parts;
#[cfg(feature = "postgres")]
mod postgres;
mod protocol;
mod records;
mod reload;
mod requests;
mod reveals;
mod samples;
mod stored;
mod streams;
mod tokens;
mod ways;
