//! Logs and metrics: what operators see. Never a value, a path, a query.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// How logs look and what is in them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `error`, `warn`, `info` (default), `debug`. Libraries are capped at `warn` in code: their debug logs carry data.
    pub level: tracing::Level,
    /// JSON Lines instead of text.
    pub json: bool,
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

impl Default for LedgerMetrics {
    fn default() -> Self {
        Self {
            entries: Counter::default(),
            commits: Counter::default(),
            bytes: Counter::default(),
            failures: Counter::default(),
            sync_seconds: Histogram::new([
                1e-5, 1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0,
            ]),
            healthy: Gauge::default(),
        }
    }
}
