//! HTTP as plumbing: listeners, bodies, codings, trust, problem documents. No view on partners or policy.

mod activity;
pub mod body;
pub mod client;
mod codec;
pub mod coding;
mod connection;
pub mod fate;
mod gate;
pub mod listener;
pub mod pace;
pub mod pem;
pub mod problem;
pub mod stream;
pub mod trust;
pub mod workers;

#[cfg(test)]
pub(crate) mod testing;
