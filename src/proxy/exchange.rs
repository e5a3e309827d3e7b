//! What is known of one exchange, and the one place that tells of its end.
//!
//! Log line, metrics and the record's `close` are made from the same facts, here, so that they cannot tell three stories. An
//! exchange that is dropped unfinished (its task was cut) tells of that too. Start at [`Exchange::finish`].

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Time};
use crate::crossing::Tally;
use crate::crossing::budget;
use crate::crossing::head::ReleasedHead;
use crate::http::body::Hold;
use crate::http::fate::Lost;
use crate::ids::{Direction, ExchangeId, Leg};
use crate::ledger::entry::{self, Close, Open};
use crate::ledger::{Ledger, Receipt};
use crate::telemetry::InFlight;
use crate::telemetry::meters::{LegMetrics, RouteMetrics};
use crate::vault::strays::Strays;
use crate::verdict::{Outcome, Refusal};

use super::alarm::Alarm;
use super::snapshot::{LivePartner, LiveRoute};

/// What a leg did.
#[derive(Debug, Default)]
pub struct Facts {
    /// Bytes of the body before the rules, un-coded.
    pub bytes_in: u64,
    /// Bytes of the body after the rules, before any coding.
    pub bytes_out: u64,
    /// How often each rule decided, beside the body and in it.
    pub tally: Tally,
    /// Values that did not fit their rule and were dropped.
    pub unfit: u64,
    /// Tokens that came up where they are not turned back.
    pub foreign: u64,
    /// Of those, some to ask whose they are.
    pub strays: Strays,
    /// Stored tokens that came up and were erased or have ended.
    pub gone: u64,
    /// What an operator has to know of the partner's budgets.
    pub budgets: Vec<budget::Alarm>,
    /// Whether the error leg's rules were applied.
    pub error: bool,
}

/// One exchange, from its first byte to its last.
#[derive(Debug)]
pub struct Exchange {
    /// Which.
    pub id: ExchangeId,
    /// Who calls.
    pub direction: Direction,
    /// When it began.
    pub now: Time,
    /// Who is on the far side, once that is known.
    pub partner: Option<Arc<LivePartner>>,
    /// What for, once that is known.
    pub route: Option<Arc<LiveRoute>>,
    /// The status that was answered; 0 until then.
    pub status: u16,
    /// Why nothing left, or why it was cut.
    pub refusal: Option<Refusal>,
    /// What the request leg did.
    pub request: Facts,
    /// What the response leg did.
    pub response: Facts,
    /// Whether an answer was begun that is yet to be ended.
    pub answered: bool,
    /// Whether a part of the request went on before all of it had passed.
    pub part_sent: bool,
    /// Its places in the process and among the partner's exchanges, until its answer has them.
    pub hold: Option<Hold>,
    receipt: Option<Receipt>,
    /// Of a disclosure that was recorded whole.
    whole: Option<Receipt>,
    /// What the record says of its end, once it does.
    recorded: Option<Outcome>,
    ledger: Ledger,
    nobody: Arc<RouteMetrics>,
    clock: Clock,
    start: Duration,
    finished: bool,
    in_flight: Option<InFlight>,
}

impl Exchange {
    /// Begins. `nobody`: the metrics of exchanges of which no route is known.
    #[must_use]
    pub fn open(
        id: ExchangeId,
        now: Time,
        direction: Direction,
        clock: Clock,
        ledger: Ledger,
        nobody: Arc<RouteMetrics>,
        in_flight: InFlight,
    ) -> Self {
        Self {
            id,
            direction,
            now,
            partner: None,
            route: None,
            status: 0,
            refusal: None,
            request: Facts::default(),
            response: Facts::default(),
            answered: false,
            part_sent: false,
            hold: None,
            receipt: None,
            whole: None,
            recorded: None,
            ledger,
            nobody,
            start: clock.steady(),
            clock,
            finished: false,
            in_flight: Some(in_flight),
        }
    }

    /// The half of the entry that is written before anything leaves.
    fn entry(&self) -> Result<Open, Refusal> {
        // No route, no record; no record, no sharing.
        let Some(route) = &self.route else { return Err(Refusal::LedgerUnavailable) };
        Ok(Open { exchange: self.id, time: self.now, of: Arc::clone(&route.disclosure) })
    }

    fn disclosing(&self) -> Leg {
        Leg::disclosing(self.direction)
    }

    /// Records the disclosure before it begins; [`Exchange::close`] or [`Exchange::finish`] records its end.
    ///
    /// # Errors
    /// [`Refusal::LedgerUnavailable`]: then nothing may leave.
    pub async fn record_open(&mut self) -> Result<(), Refusal> {
        let receipt = self.ledger.open(self.entry()?).await.map_err(|_| Refusal::LedgerUnavailable)?;
        self.receipt = Some(receipt);
        Ok(())
    }

    /// Records a disclosure whole, before it leaves: its body has passed and will be handed on in one piece.
    ///
    /// # Errors
    /// [`Refusal::LedgerUnavailable`]: then nothing may leave.
    pub async fn record_whole(&mut self, status: u16) -> Result<(), Refusal> {
        let facts = match self.disclosing() {
            Leg::Request => &self.request,
            Leg::Response => &self.response,
        };
        let close = Close {
            rules: Cow::Borrowed(&facts.tally),
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            status,
            outcome: Outcome::Delivered,
        };
        let receipt = self.ledger.record(self.entry()?, close).await.map_err(|_| Refusal::LedgerUnavailable)?;
        self.whole = Some(receipt);
        Ok(())
    }

    /// Records the end of a disclosure that was recorded as open. Does nothing where none is.
    pub fn close(&mut self, outcome: Outcome) {
        let Some(receipt) = self.receipt.take() else { return };
        let (facts, status) = match self.disclosing() {
            Leg::Request => (&self.request, 0),
            Leg::Response => (&self.response, self.status),
        };
        let rules = Cow::Borrowed(&*facts.tally);
        let close = Close { rules, bytes_in: facts.bytes_in, bytes_out: facts.bytes_out, status, outcome };
        self.ledger.close(receipt, close);
        self.recorded = Some(outcome);
    }

    /// The end.
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    /// The end, for now: the answer has been handed over whole, and it is yet to be seen whether it is taken.
    pub fn hand_over(&mut self) {
        self.end(Outcome::Delivered);
        self.in_flight = None;
    }

    /// Tells that an answer that had been handed over was not taken.
    pub fn lost(&mut self, lost: Lost) {
        let outcome = match lost {
            Lost::Gone => Outcome::Abandoned,
            Lost::Slow | Lost::Cut => Outcome::Cut,
        };
        if lost == Lost::Slow {
            self.refusal = Some(Refusal::AnswerSlow);
        }
        self.receipt = self.whole.take();
        self.close(outcome);
        let code = self.refusal.as_ref().map(Refusal::code);
        self.log(outcome, code, self.clock.steady().saturating_sub(self.start));
    }

    fn end(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.close(outcome);
        // Where a disclosure is on record, log and metrics say of it what the record says. Outbound that was known before the
        // partner's answer was: what came of that is told by code and status.
        let outcome = self.recorded.unwrap_or(outcome);
        let code = self.refusal.as_ref().map(Refusal::code);
        let elapsed = self.clock.steady().saturating_sub(self.start);
        let route = self.route.as_ref();
        route.map_or(&self.nobody, |route| &route.metrics).finish(outcome, code, elapsed);
        if let Some(route) = route {
            count(&route.request, &self.request);
            let error = route.error.as_ref().filter(|_| self.response.error);
            count(error.unwrap_or(&route.response), &self.response);
        }
        self.tell_of_foreign_tokens();
        self.tell_of_budgets();
        self.log(outcome, code, elapsed);
    }

    /// Of tokens that were not turned back, with nobody waiting for it.
    fn tell_of_foreign_tokens(&mut self) {
        let foreign = self.request.foreign + self.response.foreign;
        let gone = self.request.gone + self.response.gone;
        let (Some(partner), Some(route)) = (&self.partner, &self.route) else { return };
        if foreign == 0 && gone == 0 {
            return;
        }
        let mut strays = std::mem::take(&mut self.request.strays);
        strays.add(&self.response.strays);
        let alarm = Alarm {
            exchange: self.id,
            time: self.now,
            direction: self.direction,
            partner: Arc::clone(partner),
            route: Arc::clone(route),
            ledger: self.ledger.clone(),
            foreign,
            strays,
            gone,
        };
        alarm.raise_aside();
    }

    /// Of budgets of the partner that are used up, or almost.
    fn tell_of_budgets(&self) {
        let (Some(partner), Some(route)) = (&self.partner, &self.route) else { return };
        for alarm in self.request.budgets.iter().chain(&self.response.budgets) {
            let budget::Alarm { what, count, limit, refused } = *alarm;
            route.metrics.budget(what.as_str(), refused);
            let says = if refused {
                "a partner was refused more than its budget"
            } else {
                "a partner's budget is almost used up"
            };
            tracing::error!(
                target: "tidegate",
                exchange = %self.id,
                partner = partner.partner.id.as_str(),
                route = &*route.route.pattern,
                budget = what.as_str(),
                used = count,
                limit,
                "{says}"
            );
            self.ledger.budget(entry::Budget {
                exchange: self.id,
                time: self.now,
                partner: partner.partner.id.clone(),
                route: Arc::clone(&route.route.pattern),
                direction: self.direction,
                budget: what.as_str(),
                count,
                limit,
                refused,
            });
        }
    }

    /// The record and the metrics tell of what went well; the log tells of it only to those who ask for `debug`.
    fn log(&self, outcome: Outcome, code: Option<&'static str>, elapsed: Duration) {
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    target: "tidegate",
                    exchange = %self.id,
                    partner = self.partner.as_ref().map(|partner| partner.partner.id.as_str()),
                    route = self.route.as_ref().map(|route| &*route.route.pattern),
                    direction = self.direction.as_str(),
                    outcome = outcome.as_str(),
                    code,
                    status = self.status,
                    rule = self.rule(),
                    location = self.location(),
                    bytes_in = self.request.bytes_in + self.response.bytes_in,
                    bytes_out = self.request.bytes_out + self.response.bytes_out,
                    elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                    $message
                )
            };
        }
        match (outcome, self.status) {
            (Outcome::Delivered, 400..) if code.is_some() => {
                line!(warn, "exchange delivered, its answer refused")
            }
            (Outcome::Delivered, _) if code.is_some() => {
                line!(info, "exchange delivered, its request refused half-way")
            }
            (Outcome::Delivered, _) => line!(debug, "exchange delivered"),
            (Outcome::Abandoned, _) => line!(info, "exchange abandoned"),
            (Outcome::Cut, _) => line!(warn, "exchange cut"),
            (Outcome::Refused, 500..) => line!(warn, "exchange refused"),
            (Outcome::Refused, _) => line!(info, "exchange refused"),
        }
    }

    fn rule(&self) -> Option<&str> {
        match self.refusal.as_ref()? {
            Refusal::TokenNotAccepted { rule, .. }
            | Refusal::MaskedValueReturned { rule, .. }
            | Refusal::RuleUnmatched { rule, .. } => Some(rule.as_str()),
            Refusal::RuleFailed { rule, .. } => rule.as_ref().map(|rule| rule.as_str()),
            _ => None,
        }
    }

    fn location(&self) -> Option<&str> {
        match self.refusal.as_ref()? {
            Refusal::BodyMalformed { location, .. } => Some(location),
            _ => None,
        }
    }
}

impl Drop for Exchange {
    /// An exchange whose task was cut: by the end of a drain, or by a fault of ours.
    fn drop(&mut self) {
        // What it was about to disclose may have left or not, and how much of it is not known: the record stays open, which
        // says just that.
        self.receipt = None;
        self.end(if self.answered || self.part_sent { Outcome::Cut } else { Outcome::Abandoned });
    }
}

impl Facts {
    /// Adds what stood beside the body.
    pub fn beside(&mut self, head: &ReleasedHead) {
        for (rule, count) in head.tally() {
            crate::crossing::add(&mut self.tally, rule, *count);
        }
        self.unfit += head.unfit();
        self.foreign += head.foreign();
        self.gone += head.gone();
    }
}

fn count(metrics: &LegMetrics, facts: &Facts) {
    if facts.bytes_in > 0 || !facts.tally.is_empty() {
        metrics.body(facts.bytes_in, facts.bytes_out, &facts.tally);
    }
}

/// Makes exchange ids: unique without asking the system for randomness each time.
#[derive(Debug, Default)]
pub struct Ids {
    /// Keyed by the system's randomness when it was made.
    keys: (RandomState, RandomState),
    count: AtomicU64,
}

impl Ids {
    /// The next one.
    #[must_use]
    pub fn next(&self, now: Time) -> ExchangeId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (self.keys.0.hash_one(count), self.keys.1.hash_one(count));
        ExchangeId::new(now.0, (u128::from(high) << 64) | u128::from(low))
    }
}
