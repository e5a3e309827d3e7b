//! Turns a partner's policy file into something that can be run.
//!
//! Pure: no I/O, no clock, nothing of HTTP, vaults or keys. A policy passes through types that are each harder to get
//! wrong than the last: [`source`] (as written, with spans), [`rule::Policy`] (checked), [`compile::CompiledPolicy`]
//! (ready to run). Start at [`read`].

pub mod compile;
pub mod diagnostic;
pub mod explain;
pub mod lint;
pub mod route;
pub mod rule;
pub mod source;

use diagnostic::Diagnostic;
use rule::Policy;

/// Reads and checks one policy file. All complaints at once; a `Policy` only if none of them is an error.
pub fn read(file: &str, text: &str) -> (Option<Policy>, Vec<Diagnostic>) {
    let _ = (file, text);
    todo!()
}
