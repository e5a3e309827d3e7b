//! A compiled leg bound to its partner's keys: what [`super::Crossing`] runs.

use std::sync::Arc;

use crate::policy::compile::CompiledLeg;
use crate::policy::rule::Plain;
use crate::vault::{Opener, Pseudonymizer, Recipient, Sealer};

use super::transform::{Generalizer, Masker};

/// One leg, ready for traffic.
#[derive(Debug)]
pub struct BoundLeg {
    /// The rules.
    pub compiled: Arc<CompiledLeg>,
    /// By index of `Leg::rules`.
    pub rules: Vec<Transformer>,
    /// By index of `Leg::reveals`.
    pub reveals: Vec<Transformer>,
}

/// An action with its keys.
#[derive(Debug)]
pub enum Transformer {
    /// The engine does it alone (keep, drop, null, replace).
    Plain,
    /// `mask`
    Mask(Masker),
    /// `generalize`
    Generalize(Generalizer),
    /// `tokenize`
    Tokenize(Sealer),
    /// `pseudonymize`
    Pseudonymize(Pseudonymizer),
    /// `encrypt`
    Encrypt(Recipient),
    /// `reveal`
    Reveal(Opener, Plain),
}
