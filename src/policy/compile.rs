//! A checked policy, ready to run: automata and action tables for each leg.

use std::sync::Arc;

use crate::json::automaton::Program;

use super::diagnostic::Diagnostic;
use super::route::Router;
use super::rule::{Leg, Policy};

/// One partner's policy, ready to run. Shared by every exchange.
#[derive(Debug)]
pub struct CompiledPolicy {
    /// What it was made from.
    pub policy: Policy,
    /// Parallel to `policy.routes`.
    pub routes: Vec<CompiledRoute>,
    /// The partner calls us.
    pub inbound: Router,
    /// We call the partner.
    pub outbound: Router,
}

/// One route, ready to run.
#[derive(Debug)]
pub struct CompiledRoute {
    /// Request leg.
    pub request: CompiledLeg,
    /// Response leg.
    pub response: CompiledLeg,
    /// Error leg.
    pub error: Option<CompiledLeg>,
}

/// Who asked for a selection of a [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Index into `Leg::rules`.
    Rule(usize),
    /// Index into `Leg::reveals`.
    Reveal(usize),
}

/// One leg, ready to run.
#[derive(Debug)]
pub struct CompiledLeg {
    /// What it was made from (a copy, so that a leg can be used alone).
    pub leg: Arc<Leg>,
    /// For JSON bodies.
    pub program: Option<Arc<Program>>,
    /// By selection number of the program.
    pub askers: Vec<Asker>,
    /// The rules beside the body, as indices into `Leg::rules` / `Leg::reveals`, in the file's order.
    pub beside: Vec<Asker>,
    /// Whether a rule says `must`: then the leg is atomic as a whole.
    pub must: bool,
}

/// Compiles a policy. All complaints at once (routes that match the same request, programs that are too complex).
pub fn compile(policy: Policy) -> Result<CompiledPolicy, Vec<Diagnostic>> {
    let _ = policy;
    todo!()
}
