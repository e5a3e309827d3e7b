//! The wire suite: one reading of every message, on both sides.
//!
//! The real program between a partner and an upstream that can both send any bytes. A case is a line of a table: what is sent,
//! what may reach the upstream, what the partner may see. Whatever a case expects, [`rig`] holds it against the rules that
//! every case has to keep. Start at [`rig::Rig::run`]; how bytes have to be read is in [`reading`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise, and has the harness of the end-to-end tests"
)]

#[path = "../e2e/harness/mod.rs"]
mod harness;

mod answers;
mod beside;
mod bytes;
mod far;
mod frames;
mod framing;
mod h2;
mod methods;
mod paths;
mod reading;
mod rig;
