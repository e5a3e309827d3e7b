//! What crosses the boundary: policy and vault put together. The only maker of [`Released`].
//!
//! No HTTP framing, no identity, no record. Start at [`Crossing`] for bodies and [`head`] for what stands beside them.

pub mod bind;
pub mod head;
pub mod transform;

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::RuleId;
use crate::verdict::Refusal;
use bind::BoundLeg;

/// Bytes of a body that may leave.
#[derive(Debug)]
pub struct Released(Bytes);

impl Released {
    /// The bytes, for the wire.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Runs one body through its leg's rules.
pub struct Crossing {}

impl Crossing {
    /// For one body.
    pub fn new(leg: Arc<BoundLeg>) -> Self {
        let _ = leg;
        todo!()
    }
    /// Scans, plans, resolves, splices the next bytes.
    pub async fn feed(&mut self, chunk: &[u8]) -> Result<Released, Refusal> {
        let _ = chunk;
        todo!()
    }
    /// The body ends here. An empty body passes unless a rule says `must`.
    pub async fn finish(&mut self) -> Result<Released, Refusal> {
        todo!()
    }
    /// How often each rule decided; only those that did.
    pub fn tally(&self) -> Vec<(RuleId, u64)> {
        todo!()
    }
}
