//! Tidegate: the boundary between business systems that lets through only what a partner's policy file lists.
//!
//! Where to start reading: `docs/architecture.md`, then [`proxy`], which is the way of one exchange.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crossing;
pub mod frames;
pub mod http;
pub mod ids;
pub mod json;
pub mod keys;
pub mod ledger;
pub mod policy;
pub mod proxy;
pub mod registry;
pub mod secret;
pub mod telemetry;
pub mod vault;
pub mod verdict;
