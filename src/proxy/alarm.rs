//! Tells of tokens that came up where they are not turned back.
//!
//! Whose they are is asked, logged and recorded by a thread that nobody waits for: the one who sent a token must not learn from
//! the time of the answer whether it is genuine. For a token that proves nothing the same thread is asked the same. Start at
//! [`Alarm::raise_aside`].

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::clock::Time;
use crate::ids::{Direction, ExchangeId};
use crate::ledger::Ledger;
use crate::ledger::entry::Foreign;
use crate::vault::strays::Strays;

use super::snapshot::{LivePartner, LiveRoute};

/// What one exchange has to tell.
pub struct Alarm {
    /// Which exchange.
    pub exchange: ExchangeId,
    /// When it began.
    pub time: Time,
    /// Who calls.
    pub direction: Direction,
    /// Who sent the tokens.
    pub partner: Arc<LivePartner>,
    /// Where.
    pub route: Arc<LiveRoute>,
    /// Where it is recorded.
    pub ledger: Ledger,
    /// Tokens that were not turned back.
    pub foreign: u64,
    /// Those that are to be asked about.
    pub strays: Strays,
    /// Tokens whose values were erased.
    pub gone: u64,
}

impl Alarm {
    /// Raises it on another thread; on this one where there is no runtime.
    pub fn raise_aside(self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || self.raise())),
            Err(_) => self.raise(),
        }
    }

    /// A token that comes up where it is not turned back is worth a line; one that another domain issued is an alarm: what one
    /// partner was given has reached another.
    fn raise(&self) {
        let (metrics, pattern) = (&self.route.metrics, &self.route.route.pattern);
        let (partner, own) = (&self.partner.partner.id, &self.partner.partner.domain);
        let mut unknown = self.foreign;
        for (issuer, count) in self.strays.issuers() {
            metrics.foreign(Some(&issuer), count);
            unknown = unknown.saturating_sub(count);
            if issuer == *own {
                continue;
            }
            tracing::error!(
                target: "tidegate",
                exchange = %self.exchange,
                partner = partner.as_str(),
                route = &**pattern,
                issuer = issuer.as_str(),
                count,
                "tokens of another domain came from this partner: what another was given has travelled"
            );
            self.ledger.foreign(Foreign {
                exchange: self.exchange,
                time: self.time,
                partner: partner.clone(),
                route: Arc::clone(pattern),
                direction: self.direction,
                issuer,
                count,
            });
        }
        if unknown > 0 {
            metrics.foreign(None, unknown);
        }
        for (count, message) in [(self.foreign, "foreign tokens came up"), (self.gone, "tokens came up that are gone")]
        {
            if count > 0 {
                tracing::warn!(
                    target: "tidegate",
                    exchange = %self.exchange,
                    partner = partner.as_str(),
                    route = &**pattern,
                    count,
                    "{message}"
                );
            }
        }
    }
}
