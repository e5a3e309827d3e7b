//! What an entry says.

use std::sync::Arc;

use crate::clock::Time;
use crate::ids::{Direction, ExchangeId, Leg, PartnerId, RuleId};
use crate::verdict::Outcome;

/// The half that is written before anything leaves.
#[derive(Clone, Debug)]
pub struct Open {
    /// Which exchange.
    pub exchange: ExchangeId,
    /// When.
    pub time: Time,
    /// To whom.
    pub partner: PartnerId,
    /// The route's pattern, never the path.
    pub route: Arc<str>,
    /// Who called.
    pub direction: Direction,
    /// Which leg leaves.
    pub leg: Leg,
    /// The policy's digest.
    pub policy: Arc<str>,
}

/// The half that says what became of it.
#[derive(Clone, Debug)]
pub struct Close {
    /// How often each rule decided; only those that did.
    pub rules: Vec<(RuleId, u64)>,
    /// Bytes of the body before the rules, un-coded.
    pub bytes_in: u64,
    /// Bytes of the body after the rules, before any coding.
    pub bytes_out: u64,
    /// The status of the response, 0 for a request leg.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
}
