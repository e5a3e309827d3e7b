//! Logs and metrics: what operators see. Never a value, a path, a query.
//!
//! A label's value is a name of the settings or of a policy, or one of our own words; whatever a stranger could choose is
//! `-`. No global registry: each running program has its own [`Metrics`], so that many can live in one process. Not here:
//! how metrics are served (`admin`). Start at [`Metrics`] for counting and at [`init`] for logging.

pub mod log;
pub mod meters;
pub mod readiness;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::clock::Time;
use crate::ids::{Direction, PartnerId, RuleId, UpstreamId};
use meters::{
    BodyLabels, BudgetLabels, DURATION_BUCKETS, ExchangeLabels, ForeignLabels, LedgerMetrics, LegMetrics, LimitLabels,
    ListenerMetrics, NameLabel, ReasonLabels, ReloadLabels, RevealMetrics, RouteLabels, RouteMetrics, RuleLabels,
    StoreMetrics, UpstreamMetrics, histogram,
};
use readiness::Readiness;

/// How logs look and what is in them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `error`, `warn`, `info` (default), `debug`. Libraries are capped at `warn` in code: their debug logs carry data.
    pub level: tracing::Level,
    /// JSON Lines instead of text.
    pub json: bool,
}

/// Sets logging up for the process: to standard error. Does nothing where it is set up already.
pub fn init(settings: &Settings) {
    log::init(settings);
}

/// The media type of what [`Metrics::encode`] makes.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What stands for a name that is not known, or that a stranger could choose.
pub const UNKNOWN: &str = "-";

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that is counted; cheap to clone. Handles such as [`RouteMetrics`] are taken once (when policies are loaded)
/// and kept: counting into them hashes no labels and allocates nothing.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Mutex<Registry>,
    exchanges: Family<ExchangeLabels, Counter>,
    duration: Durations<RouteLabels>,
    in_flight: Gauge,
    bytes: Family<BodyLabels, Counter>,
    rules: Family<RuleLabels, Counter>,
    limits: Family<LimitLabels, Counter>,
    foreign: Family<ForeignLabels, Counter>,
    budgets: Family<BudgetLabels, Counter>,
    upstream_duration: Durations<NameLabel>,
    upstream_failures: Family<ReasonLabels, Counter>,
    upstream_repeats: Family<NameLabel, Counter>,
    connections: Family<NameLabel, Gauge>,
    accepted: Family<NameLabel, Counter>,
    handshakes_failed: Family<NameLabel, Counter>,
    ledger: LedgerMetrics,
    store: StoreMetrics,
    reloads: Family<ReloadLabels, Counter>,
    reveals: RevealMetrics,
    policy_set: Family<NameLabel, Gauge>,
    partners: Gauge,
    loaded: Gauge,
    complaints: Gauge,
    readiness: Readiness,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let durations: fn() -> Histogram = || histogram(&DURATION_BUCKETS);
        let families = Families {
            registry: Mutex::default(),
            exchanges: Family::default(),
            duration: Family::new_with_constructor(durations),
            in_flight: Gauge::default(),
            bytes: Family::default(),
            rules: Family::default(),
            limits: Family::default(),
            foreign: Family::default(),
            budgets: Family::default(),
            upstream_duration: Family::new_with_constructor(durations),
            upstream_failures: Family::default(),
            upstream_repeats: Family::default(),
            connections: Family::default(),
            accepted: Family::default(),
            handshakes_failed: Family::default(),
            ledger: LedgerMetrics::default(),
            store: StoreMetrics::default(),
            reloads: Family::default(),
            reveals: RevealMetrics::default(),
            policy_set: Family::default(),
            partners: Gauge::default(),
            loaded: Gauge::default(),
            complaints: Gauge::default(),
            readiness: Readiness::default(),
        };
        *families.registry.lock().unwrap_or_else(PoisonError::into_inner) = families.register();
        // Both from the start: an alarm on a rate needs a zero to rise from.
        for result in ["ok", "failed"] {
            let _ = families.reloads.get_or_create(&ReloadLabels { result });
        }
        Self(Arc::new(families))
    }

    /// The handle of one route. `partner` and `route` (its pattern) as they stand in the policy; `None` where they are not
    /// known: then the label is `-`.
    #[must_use]
    pub fn route(&self, partner: Option<&PartnerId>, route: Option<&str>, direction: Direction) -> Arc<RouteMetrics> {
        let labels = RouteLabels {
            partner: partner.map_or(UNKNOWN, PartnerId::as_str).into(),
            route: route.unwrap_or(UNKNOWN).into(),
            direction: direction.as_str(),
        };
        let duration = self.0.duration.get_or_create_owned(&labels);
        let of = &self.0;
        Arc::new(RouteMetrics::new(labels, &of.exchanges, duration, &of.limits, &of.foreign, &of.budgets))
    }

    /// The handle of one leg of a route: `leg` is `request`, `response` or `error`; `rules` are its rules, each with the word
    /// for what it does, so that a rule that never decides can be seen as a zero.
    #[must_use]
    pub fn leg(
        &self,
        partner: &PartnerId,
        route: &str,
        leg: &'static str,
        rules: impl IntoIterator<Item = (RuleId, &'static str)>,
    ) -> Arc<LegMetrics> {
        let (partner, route): (Arc<str>, Arc<str>) = (partner.as_str().into(), route.into());
        let body = |side| {
            let labels = BodyLabels { partner: Arc::clone(&partner), route: Arc::clone(&route), leg, side };
            self.0.bytes.get_or_create_owned(&labels)
        };
        let counter = |(rule, action): (RuleId, &'static str)| {
            let (partner, route) = (Arc::clone(&partner), Arc::clone(&route));
            let labels = RuleLabels { partner, route, leg, rule: rule.as_str().into(), action };
            let counter = self.0.rules.get_or_create_owned(&labels);
            (rule, counter)
        };
        Arc::new(LegMetrics::new(body("in"), body("out"), rules.into_iter().map(counter).collect()))
    }

    /// The handle of one upstream.
    #[must_use]
    pub fn upstream(&self, upstream: &UpstreamId) -> Arc<UpstreamMetrics> {
        let name: Arc<str> = upstream.as_str().into();
        let failed = |reason| {
            let labels = ReasonLabels { name: Arc::clone(&name), reason };
            self.0.upstream_failures.get_or_create_owned(&labels)
        };
        Arc::new(UpstreamMetrics {
            response_seconds: self.0.upstream_duration.get_or_create_owned(&NameLabel { name: Arc::clone(&name) }),
            unreachable: failed("unreachable"),
            slow: failed("slow"),
            malformed: failed("malformed"),
            repeated: self.0.upstream_repeats.get_or_create_owned(&NameLabel { name: Arc::clone(&name) }),
        })
    }

    /// The handle of one listener, by its name in the settings.
    #[must_use]
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        let label = NameLabel { name: name.into() };
        Arc::new(ListenerMetrics {
            open: self.0.connections.get_or_create_owned(&label),
            accepted: self.0.accepted.get_or_create_owned(&label),
            handshakes_failed: self.0.handshakes_failed.get_or_create_owned(&label),
        })
    }

    /// What the ledger counts into.
    #[must_use]
    pub fn ledger(&self) -> LedgerMetrics {
        self.0.ledger.clone()
    }

    /// What operators' reveals count into.
    #[must_use]
    pub fn reveals(&self) -> RevealMetrics {
        self.0.reveals.clone()
    }

    /// What the store of tokens counts into.
    #[must_use]
    pub fn store(&self) -> StoreMetrics {
        self.0.store.clone()
    }

    /// Counts an exchange as in flight until what is returned is dropped.
    #[must_use]
    pub fn begin(&self) -> InFlight {
        self.0.in_flight.inc();
        InFlight(self.0.in_flight.clone())
    }

    /// Exchanges in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.0.in_flight.get()).unwrap_or_default()
    }

    /// A set of policies is in force: its digest, how many partners it has, since when.
    pub fn policies_loaded(&self, digest: &str, partners: usize, now: Time) {
        self.0.reloads.get_or_create(&ReloadLabels { result: "ok" }).inc();
        self.0.policy_set.clear();
        self.0.policy_set.get_or_create(&NameLabel { name: digest.into() }).set(1);
        self.0.partners.set(i64::try_from(partners).unwrap_or(i64::MAX));
        self.0.loaded.set(i64::try_from(now.0 / 1000).unwrap_or(i64::MAX));
        self.0.complaints.set(0);
        self.0.readiness.policies_loaded(digest, partners, now);
    }

    /// A set of policies did not compile, with so many complaints; the old one, if any, is still in force.
    pub fn policies_failed(&self, complaints: usize, now: Time) {
        self.0.reloads.get_or_create(&ReloadLabels { result: "failed" }).inc();
        self.0.complaints.set(i64::try_from(complaints).unwrap_or(i64::MAX));
        self.0.readiness.policies_failed(complaints, now);
    }

    /// What `/readyz` tells.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    /// All of it as OpenMetrics text ([`MEDIA_TYPE`]).
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

/// One exchange that is in flight.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Families {
    /// Names and help of all metrics; `docs/operations.md` has a line for each.
    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("tidegate");
        let r = &mut registry;
        r.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        r.register("exchanges", "Exchanges that ended, by how and why", self.exchanges.clone());
        let help = "From a request's head to the end of its response";
        r.register_with_unit("exchange_duration", help, Unit::Seconds, self.duration.clone());
        r.register("exchanges_in_flight", "Exchanges that have begun and not ended", self.in_flight.clone());
        let help = "Bytes of bodies, un-coded, before (in) and after (out) the rules";
        r.register_with_unit("body", help, Unit::Bytes, self.bytes.clone());
        r.register("rule_decisions", "Places at which a rule decided", self.rules.clone());
        r.register("limits_exceeded", "Exchanges over a partner's rate or concurrency", self.limits.clone());
        r.register("foreign_tokens", "Tokens that are not turned back where they came up", self.foreign.clone());
        r.register("operator_reveals", "Acts of operators who have tokens turned back", self.reveals.0.clone());
        r.register(
            "budget_alarms",
            "Much of a partner's budget used up, or something refused over it",
            self.budgets.clone(),
        );
        let help = "From a request's head to the head of the upstream's response";
        r.register_with_unit("upstream_response", help, Unit::Seconds, self.upstream_duration.clone());
        r.register("upstream_failures", "Requests that an upstream did not answer", self.upstream_failures.clone());
        let help = "Requests that were sent a second time, because a kept connection ended under them";
        r.register("upstream_repeats", help, self.upstream_repeats.clone());
        r.register("connections", "Open connections", self.connections.clone());
        r.register("connections_accepted", "Connections that were accepted", self.accepted.clone());
        let help = "TLS handshakes that failed, were refused or took too long";
        r.register("handshakes_failed", help, self.handshakes_failed.clone());
        let ledger = &self.ledger;
        r.register("ledger_entries", "Entries that are as durable as was promised", ledger.entries.clone());
        r.register("ledger_commits", "Groups of entries that were written", ledger.commits.clone());
        r.register_with_unit("ledger_written", "Bytes of the record", Unit::Bytes, ledger.bytes.clone());
        r.register("ledger_failures", "Groups of entries that could not be written", ledger.failures.clone());
        r.register_with_unit(
            "ledger_sync",
            "Time of a sync; under `strict`, of a write and its sync",
            Unit::Seconds,
            ledger.sync_seconds.clone(),
        );
        r.register(
            "ledger_healthy",
            "1 while the record can be written; at 0 nothing is shared",
            ledger.healthy.clone(),
        );
        let store = &self.store;
        r.register_with_unit(
            "vault_store",
            "Time of a call of the vault's store",
            Unit::Seconds,
            store.seconds.clone(),
        );
        r.register("vault_store_failures", "Calls of the store that failed", store.failures.clone());
        r.register(
            "vault_store_not_asked",
            "Calls that were refused while the store was away",
            store.not_asked.clone(),
        );
        r.register(
            "vault_store_healthy",
            "1 while the vault's store answers, 0 while it is away or there is none",
            store.healthy.clone(),
        );
        r.register("policy_reloads", "Sets of policies that were read", self.reloads.clone());
        r.register("policy_set", "1, with the digest of the set in force as its name", self.policy_set.clone());
        r.register("policy_partners", "Partners in the set in force", self.partners.clone());
        let help = "When the set in force was loaded, since 1970";
        r.register_with_unit("policy_loaded_time", help, Unit::Seconds, self.loaded.clone());
        let help = "Complaints about the newest set, 0 when it is in force";
        r.register("policy_complaints", help, self.complaints.clone());
        registry
    }
}

#[cfg(test)]
mod tests;
