//! The engine under its own name, so that targets and the harness of `tests/engine` find it.

#![allow(missing_docs, dead_code, unreachable_pub)]

#[path = "../../src/json/mod.rs"]
pub mod json;
