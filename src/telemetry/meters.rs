//! Handles to count into, and the labels under which it is counted.
//!
//! A handle holds its counters, so that counting is an atomic addition. Handles are made by [`super::Metrics`].

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::ids::{DomainId, RuleId};
use crate::verdict::Outcome;

use super::UNKNOWN;

/// Upper bounds in seconds, for exchanges and upstreams.
pub(super) const DURATION_BUCKETS: [f64; 15] =
    [5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper bounds in seconds, for a sync of the disk.
const SYNC_BUCKETS: [f64; 13] = [1e-5, 1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

pub(super) fn histogram(buckets: &[f64]) -> Histogram {
    Histogram::new(buckets.iter().copied())
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabels {
    pub(super) partner: Arc<str>,
    pub(super) route: Arc<str>,
    pub(super) direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ExchangeLabels {
    partner: Arc<str>,
    route: Arc<str>,
    direction: &'static str,
    outcome: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ForeignLabels {
    partner: Arc<str>,
    issuer: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BudgetLabels {
    partner: Arc<str>,
    budget: &'static str,
    level: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BodyLabels {
    pub(super) partner: Arc<str>,
    pub(super) route: Arc<str>,
    pub(super) leg: &'static str,
    pub(super) side: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RuleLabels {
    pub(super) partner: Arc<str>,
    pub(super) route: Arc<str>,
    pub(super) leg: &'static str,
    pub(super) rule: Arc<str>,
    pub(super) action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabels {
    partner: Arc<str>,
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct NameLabel {
    pub(super) name: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) name: Arc<str>,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReloadLabels {
    pub(super) result: &'static str,
}

/// One route of one partner.
#[derive(Debug)]
pub struct RouteMetrics {
    labels: RouteLabels,
    exchanges: Family<ExchangeLabels, Counter>,
    delivered: Counter,
    duration: Histogram,
    limits: Family<LimitLabels, Counter>,
    foreign: Family<ForeignLabels, Counter>,
    budgets: Family<BudgetLabels, Counter>,
}

impl RouteMetrics {
    pub(super) fn new(
        labels: RouteLabels,
        exchanges: &Family<ExchangeLabels, Counter>,
        duration: Histogram,
        limits: &Family<LimitLabels, Counter>,
        foreign: &Family<ForeignLabels, Counter>,
        budgets: &Family<BudgetLabels, Counter>,
    ) -> Self {
        let delivered = exchanges.get_or_create_owned(&ending(&labels, Outcome::Delivered, UNKNOWN));
        Self {
            labels,
            exchanges: exchanges.clone(),
            delivered,
            duration,
            limits: limits.clone(),
            foreign: foreign.clone(),
            budgets: budgets.clone(),
        }
    }

    /// Tokens came up that are not turned back there. `issuer`: the domain that issued them, where that is proven.
    pub fn foreign(&self, issuer: Option<&DomainId>, count: u64) {
        let issuer = issuer.map_or(UNKNOWN, DomainId::as_str).into();
        let labels = ForeignLabels { partner: Arc::clone(&self.labels.partner), issuer };
        self.foreign.get_or_create(&labels).inc_by(count);
    }

    /// Much of a budget is used up, or all of it and something was refused.
    pub fn budget(&self, budget: &'static str, refused: bool) {
        let level = if refused { "refused" } else { "warned" };
        self.budgets.get_or_create(&BudgetLabels { partner: Arc::clone(&self.labels.partner), budget, level }).inc();
    }

    /// An exchange ended: how, with which code of a refusal (`None`: none), after how long.
    pub fn finish(&self, outcome: Outcome, code: Option<&'static str>, elapsed: Duration) {
        self.duration.observe(elapsed.as_secs_f64());
        let Some(code) = code else {
            if outcome == Outcome::Delivered {
                self.delivered.inc();
            } else {
                self.exchanges.get_or_create(&ending(&self.labels, outcome, UNKNOWN)).inc();
            }
            return;
        };
        self.exchanges.get_or_create(&ending(&self.labels, outcome, code)).inc();
        let limit = match code {
            "rate_exceeded" => "rate",
            "concurrency_exceeded" => "concurrent",
            "budget_exceeded" => "budget",
            _ => return,
        };
        self.limits.get_or_create(&LimitLabels { partner: Arc::clone(&self.labels.partner), limit }).inc();
    }
}

fn ending(labels: &RouteLabels, outcome: Outcome, code: &'static str) -> ExchangeLabels {
    ExchangeLabels {
        partner: Arc::clone(&labels.partner),
        route: Arc::clone(&labels.route),
        direction: labels.direction,
        outcome: outcome.as_str(),
        code,
    }
}

/// What operators have turned back outside of traffic.
#[derive(Clone, Debug, Default)]
pub struct RevealMetrics(pub(super) Family<ReloadLabels, Counter>);

impl RevealMetrics {
    /// An act: `asked`, `approved`, `revealed`, `denied` or `limited`.
    pub fn count(&self, result: &'static str) {
        self.0.get_or_create(&ReloadLabels { result }).inc();
    }
}

/// One leg of a route.
#[derive(Debug)]
pub struct LegMetrics {
    bytes_in: Counter,
    bytes_out: Counter,
    /// In the order of the policy.
    rules: Vec<(RuleId, Counter)>,
}

impl LegMetrics {
    pub(super) fn new(bytes_in: Counter, bytes_out: Counter, rules: Vec<(RuleId, Counter)>) -> Self {
        Self { bytes_in, bytes_out, rules }
    }

    /// A body passed: its bytes before and after the rules, and how often each rule decided. A rule of which the handle was
    /// not told is not counted.
    pub fn body(&self, bytes_in: u64, bytes_out: u64, rules: &[(RuleId, u64)]) {
        self.bytes_in.inc_by(bytes_in);
        self.bytes_out.inc_by(bytes_out);
        // What decided comes in the order of the policy, so that one walk finds all; whatever does not is looked for anew.
        let mut walk = self.rules.iter();
        for (rule, count) in rules {
            let found = walk.find(|(known, _)| known == rule).or_else(|| {
                walk = self.rules.iter();
                walk.find(|(known, _)| known == rule)
            });
            if let Some((_, counter)) = found {
                counter.inc_by(*count);
            }
        }
    }
}

/// One upstream.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    /// From the request's head to the head of the response.
    pub response_seconds: Histogram,
    /// No connection.
    pub unreachable: Counter,
    /// No answer in time.
    pub slow: Counter,
    /// An answer that is not HTTP.
    pub malformed: Counter,
    /// Requests that were sent a second time.
    pub repeated: Counter,
}

/// One listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerMetrics {
    /// Open connections.
    pub open: Gauge,
    /// Connections that were accepted.
    pub accepted: Counter,
    /// TLS handshakes that failed, were refused or took too long.
    pub handshakes_failed: Counter,
}

impl ListenerMetrics {
    /// Counts a connection as accepted, and as open until what is returned is dropped.
    pub(crate) fn connection(&self) -> impl Drop + Send + use<> {
        self.accepted.inc();
        self.open.inc();
        OneLess(self.open.clone())
    }
}

struct OneLess(Gauge);

impl Drop for OneLess {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What the ledger counts.
#[derive(Clone, Debug)]
pub struct LedgerMetrics {
    /// Entries that were acknowledged.
    pub entries: Counter,
    /// Groups that were written.
    pub commits: Counter,
    /// Bytes that were written.
    pub bytes: Counter,
    /// Groups that could not be written.
    pub failures: Counter,
    /// How long a sync took.
    pub sync_seconds: Histogram,
    /// 1 while the record can be written.
    pub healthy: Gauge,
}

/// What is counted of the store of tokens.
#[derive(Clone)]
pub struct StoreMetrics {
    pub(super) seconds: Family<ActLabels, Histogram, fn() -> Histogram>,
    pub(super) failures: Family<ActLabels, Counter>,
    pub(super) not_asked: Family<ActLabels, Counter>,
    /// 1 while the store answers.
    pub healthy: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ActLabels {
    act: &'static str,
}

impl StoreMetrics {
    /// A call that was made.
    pub fn asked(&self, act: &'static str, took: Duration, ok: bool) {
        self.seconds.get_or_create(&ActLabels { act }).observe(took.as_secs_f64());
        if !ok {
            self.failures.get_or_create(&ActLabels { act }).inc();
        }
    }

    /// A call that was not made, because the store is away.
    pub fn not_asked(&self, act: &'static str) {
        self.not_asked.get_or_create(&ActLabels { act }).inc();
    }
}

impl Default for StoreMetrics {
    fn default() -> Self {
        let metrics = Self {
            seconds: Family::new_with_constructor(|| histogram(&SYNC_BUCKETS)),
            failures: Family::default(),
            not_asked: Family::default(),
            healthy: Gauge::default(),
        };
        // From the start: an alarm on a rate needs a zero to rise from.
        for act in ["put_if_absent", "find", "seek", "forget", "visit", "health"].map(|act| ActLabels { act }) {
            let _ = metrics.seconds.get_or_create(&act);
            let _ = metrics.failures.get_or_create(&act);
            let _ = metrics.not_asked.get_or_create(&act);
        }
        metrics
    }
}

impl Default for LedgerMetrics {
    fn default() -> Self {
        Self {
            entries: Counter::default(),
            commits: Counter::default(),
            bytes: Counter::default(),
            failures: Counter::default(),
            sync_seconds: histogram(&SYNC_BUCKETS),
            healthy: Gauge::default(),
        }
    }
}
