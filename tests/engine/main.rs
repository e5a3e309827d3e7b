//! The JSON engine through its front door: tables, the public parsing suite, properties, and a slow evaluator beside it.
//!
//! Start at `harness`: a program in a few words, a document, and what comes out at many chunk sizes.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod document;
mod grammar;
mod growth;
mod harness;
mod oracle;
mod properties;
mod suite;
mod table;
